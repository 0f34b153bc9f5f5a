"""An index of photographs with known positions."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast, overload

from . import _native
from . import _arguments as read
from ._html import table
from ._images import ImageLike, Images, batches, is_one
from ._options import Coordinates, QueryOptions, SearchOptions, Time, moment_of, search_of
from ._progress import Progress, remark, reporting
from .errors import Error, RequestError
from .model import Floats, Model, Path, floats, model_or_default
from .results import AddReport, Answer, Answers, Places
from .sequence import FrameTime, LiveSequence, Track, seconds

if TYPE_CHECKING:
    from typing_extensions import Unpack


def _shard(name: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    part, of = read.wholes(name, value, "(i, n)")
    return f"{part}/{of}"


class _Closed:
    """Stands for the native part of an index that was closed."""

    def __getattr__(self, name: str) -> Any:
        raise RequestError("this index is closed: Index.open opens it again")


class Index:
    """An index with the model that fills it: a folder, or a collection of a Qdrant cluster, whose address
    (``"qdrant://HOST:PORT/COLLECTION"``) stands wherever a folder can. Threads share it; any number of processes may read it while one
    writes. What :meth:`add` has returned from would survive a power cut, and every reader's next call sees it."""

    def __init__(self, native: _native.Index) -> None:
        self._native = native

    @classmethod
    def create(
        cls,
        path: Path,
        model: Model | None = None,
        *,
        positions: str = "wgs84",
        origin: Coordinates | None = None,
        shards: int | None = None,
        replicas: int | None = None,
        write_consistency: int | None = None,
        quantization: str | None = None,
        on_disk: bool = False,
    ) -> Index:
        """Creates an empty index in a new or empty folder, or as a new collection. It keeps a copy of the model.

        Args:
            path: The folder, or the address of the collection.
            model: The built-in one by default.
            positions: ``wgs84`` (latitude and longitude), ``local`` (metres x, y, z of a map of your own) or ``none``.
            origin: Of local positions: ``(lat, lon)`` or ``(lat, lon, altitude)`` of their origin; x is east, y north.
            shards: Parts of a collection; one for each node by default.
            replicas: Copies of each part, on different nodes; 1 by default.
            write_consistency: Copies that have applied a change before it counts as made; 1 by default.
            quantization: ``int8`` for smaller copies of the descriptors in memory, for the approximate search.
            on_disk: Keep the descriptors and their graph on disk.
        """
        numbers = read.given(read.coordinates, "origin", origin)
        given = {
            "shards": read.given(read.whole, "shards", shards),
            "replicas": read.given(read.whole, "replicas", replicas),
            "write_consistency": read.given(read.whole, "write_consistency", write_consistency),
            "quantization": read.given(read.text, "quantization", quantization),
            "on_disk": read.flag("on_disk", on_disk),
        }
        collection = json.dumps({key: value for key, value in given.items() if value is not None})
        own, kind = model_or_default(model)._native, read.text("positions", positions)
        return cls(_native.Index.create(read.path("path", path), own, kind, numbers, collection))

    @classmethod
    def open(cls, path: Path, *, device: str = "cpu", model: Model | None = None) -> Index:
        """Opens an index.

        Args:
            path: The folder, or the address of the collection.
            device: Where its model computes; it is loaded when it is first needed.
            model: One that is loaded already: it has to be the index's own, under the same settings.
        """
        index = cls(_native.Index.open(read.path("path", path), read.text("device", device)))
        if model is not None:
            index._native.share(model_or_default(model)._native)
        return index

    @classmethod
    def restore(cls, snapshot: Path, path: Path, *, device: str = "cpu") -> Index:
        """Creates an index in a new folder from a snapshot of :meth:`export`."""
        return cls(_native.Index.restore(read.path("snapshot", snapshot), read.path("path", path), read.text("device", device)))

    @property
    def path(self) -> str:
        """The folder, or the address of the collection."""
        return os.fspath(self._native.path)

    @property
    def positions(self) -> str:
        """``wgs84``, ``local`` or ``none``."""
        return self._native.positions

    def close(self) -> None:
        """Lets go of the folder once calls of other threads, and sequences that began here, have ended. An index that nobody
        refers to any more is closed by itself; ``with Index.open(...) as index:`` closes it at the end."""
        self._native = cast(_native.Index, _Closed())

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        """Number of images."""
        return self._native.count()

    def add(
        self,
        source: Path,
        *,
        label: str | None = None,
        kind: str | None = None,
        update: bool = False,
        skip_duplicates: bool = False,
        moved: bool = False,
        utm_zone: str | None = None,
        cities: Sequence[str] | None = None,
        panorama: str = "views",
        panorama_views: int | None = None,
        panorama_fov: float | None = None,
        panorama_offset: float = 0.0,
        shard: tuple[int, int] | str | None = None,
        manifest: Path | None = None,
        progress: Progress = None,
    ) -> AddReport:
        """Adds the photographs of a source; those that are in the index already are skipped, so an interrupted call
        resumes. Unreadable ones are listed in the report.

        Args:
            source: A folder of photographs with GPS, a photograph, a table (CSV: path,lat,lon,...), a panorama set, a
                datasets_vg or MSLS tree (docs/photos.md); ``"s3://BUCKET/PREFIX"``, ``"gs://BUCKET/PREFIX"``,
                ``"https://HOST/LIST"``, or a table that names such addresses (docs/SCALE.md).
            label: What names in the index begin with; the folder's or table's name by default.
            kind: ``exif``, ``csv``, ``panoramas``, ``vg`` or ``msls``; detected by default.
            update: Take what has changed since it was added.
            skip_duplicates: Leave out files that have another name in the index already.
            moved: The source was moved: its label stands for where it is now.
            utm_zone: Of a table in metres without a column for it, as in ``33U``.
            cities: Of an MSLS tree: names of cities, or ``train``, ``val``, ``test`` for the official lists; ``val`` by
                default.
            panorama: ``views`` (cut into perspective views), ``whole`` or ``skip``.
            panorama_views: Views of a panorama.
            panorama_fov: Their horizontal field of view in degrees.
            panorama_offset: Degrees clockwise from the panorama's middle to the first view.
            shard: ``(i, n)`` or ``"i/n"``: part i of n of the photographs, counted from 0, where n workers share them. A
                photograph's name alone decides which part it is in (docs/SCALE.md).
            manifest: A file that says what this call did, for ``r2former shards check``.
            progress: True for a bar (tqdm), or a function of (what, done, total).

        Raises:
            BusyError: Another process is writing.
        """
        if not isinstance(source, (str, os.PathLike)):
            raise RequestError("add takes a folder, a table or a photograph; add_images takes images in memory")
        options = {
            "label": read.given(read.text, "label", label),
            "kind": read.given(read.text, "kind", kind),
            "update": read.flag("update", update),
            "skip_duplicates": read.flag("skip_duplicates", skip_duplicates),
            "moved": read.flag("moved", moved),
            "utm_zone": read.given(read.text, "utm_zone", utm_zone),
            "cities": read.given(read.texts, "cities", cities),
            "panorama": read.text("panorama", panorama),
            "panorama_views": read.given(read.whole, "panorama_views", panorama_views),
            "panorama_fov": read.given(read.number, "panorama_fov", panorama_fov),
            "panorama_offset": read.number("panorama_offset", panorama_offset),
            "shard": read.given(_shard, "shard", shard),
            "manifest": read.given(read.path, "manifest", manifest),
        }
        with reporting(progress) as report:
            document, notes = self._native.add_source(os.fspath(source), json.dumps(options), report)
        remark(notes)
        return AddReport(json.loads(document))

    def add_images(
        self,
        images: Images,
        names: Sequence[str] | str,
        positions: Sequence[Coordinates | None] | Coordinates | None = None,
        *,
        headings: Sequence[float | None] | float | None = None,
        altitudes: Sequence[float | None] | float | None = None,
        times: Sequence[Time | None] | Time | None = None,
        tags: Sequence[Mapping[str, str]] | Mapping[str, str] | None = None,
        update: bool = False,
        batch: int = 32,
        progress: Progress = None,
    ) -> AddReport:
        """Adds images from memory (or files) under names of your own. What is not given, their EXIF says.

        Args:
            images: As of :meth:`Model.extract`.
            names: A name for each: an image's identity in the index.
            positions: ``(lat, lon)``, or ``(x, y)`` or ``(x, y, z)`` in metres, for each image.
            headings: Degrees clockwise from north, for each; one number stands for all.
            altitudes: Metres above sea level, likewise.
            times: When they were taken, likewise.
            tags: Tags, likewise.
            update: Replace images that are in the index with other data.
            batch: Images that are computed and written at a time; each batch is durable once written.
            progress: True for a bar (tqdm), or a function of (what, done, total).
        """
        one = is_one(images)
        names = read.texts("names", names)

        def is_point(value: Any) -> bool:
            if isinstance(value, Mapping):
                return True
            if not one or read.is_scalar(value) or hasattr(value, "columns"):
                return False
            return bool(values := list(value)) and read.is_number(values[0])

        columns = {
            "position": read.each_of("positions", positions, names, read.coordinates, is_point),
            "heading": read.each_of("headings", headings, names, read.number, read.is_scalar),
            "altitude": read.each_of("altitudes", altitudes, names, read.number, read.is_scalar),
            "time": read.each_of("times", times, names, moment_of, read.is_scalar),
            "tags": read.each_of("tags", tags, names, read.tags, read.is_scalar),
        }
        update = read.flag("update", update)
        total: dict[str, Any] = {}
        number = 0
        started = perf_counter()
        # Opening the writer looks through the index: once for all batches.
        with reporting(progress) as report, self.writing():
            for items in batches(images, batch, names):
                fields = []
                for i in range(number, number + len(items)):
                    own = {key: values[i] for key, values in columns.items() if values[i] is not None}
                    fields.append(json.dumps(own))
                number += len(items)
                document = json.loads(self._native.add_images(items, fields, update, None))
                for key, value in document.items():
                    total[key] = total[key] + value if key in total else value
                if report is not None:
                    report("images", number, len(names))
        if not total:
            raise RequestError("there is no image")
        extracted = total["added"] + len(total["updated"])
        total["images_per_second"] = extracted / (perf_counter() - started)
        return AddReport(total)

    @contextmanager
    def writing(self) -> Iterator[Index]:
        """Locks the index for writing, and keeps it locked between calls, as each call otherwise opens it again and looks through
        it. Another process that writes makes this a :class:`BusyError`::

            with index.writing():
                for frame, position in robot:
                    index.add_images(frame, next(names), position)
        """
        native = self._native
        native.keep_writer()
        try:
            yield self
        finally:
            native.release_writer()

    # The options of each overload are those of the method below.
    @overload
    def query(self, images: str | os.PathLike[str] | bytes, **options: Unpack[QueryOptions]) -> Answer: ...
    @overload
    def query(
        self, images: builtins.list[Any] | tuple[Any, ...] | Iterator[Any], **options: Unpack[QueryOptions]
    ) -> Answers: ...
    @overload
    def query(self, images: Any, **options: Unpack[QueryOptions]) -> Any: ...
    def query(
        self,
        images: ImageLike | Images,
        *,
        top: int = 5,
        candidates: int = 100,
        rerank: str | None = None,
        cascade: int | None = None,
        adaptive: float | None = None,
        approximate: bool = False,
        min_confidence: float | str | None = None,
        near: Coordinates | str | None = None,
        radius: float | None = None,
        tags: Mapping[str, str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
        names: Sequence[str] | str | None = None,
        progress: Progress = None,
    ) -> Any:
        """Where were these photographs taken?

        Args:
            images: One image, or several (a list, an iterator, an array (n, height, width, 3), a folder), as of
                :meth:`Model.extract`.
            top: Matches in each answer, 1 to 10,000.
            candidates: Candidates of the global search that are reranked.
            rerank: ``model``, ``ransac``, ``mutual`` or ``none``; the model's best by default.
            cascade: Rerank by the model only this many candidates, those that geometry ranks first.
            adaptive: Skip reranking if the top-1 margin (a difference of cosines, 0 to 2) is at least this.
            approximate: Search a collection by its graph: faster where it is large, and not exact.
            min_confidence: Answer ``not_in_index`` below this probability; ``"auto"`` is the model's own threshold.
            near: Search only around this position: ``(lat, lon)``, or ``(x, y[, z])`` in metres; ``"exif"`` for each
                query's own GPS position.
            radius: Metres around ``near``.
            tags: Consider only images with all of these tags.
            since: Consider only images taken at this time or later.
            until: Consider only images taken at this time or before; of a date, its end.
            names: What queries are called in the answers; their paths by default.
            progress: True for a bar (tqdm), or a function of (what, done, total).

        Returns:
            An :class:`Answer` for one image, :class:`Answers` for several. A query that cannot be read has the status
            ``unreadable``.
        """
        one = is_one(images)
        options = search_of(
            top=top,
            candidates=candidates,
            rerank=rerank,
            cascade=cascade,
            adaptive=adaptive,
            approximate=approximate,
            min_confidence=min_confidence,
            near=near,
            radius=radius,
            tags=tags,
            since=since,
            until=until,
        )
        items = [item for part in batches(images, 256, names) for item in part]
        with reporting(progress) as report:
            answers = Answers(self._native.query(items, json.dumps(options), report))
        return answers[0] if one else answers

    def sequence(
        self,
        *,
        max_speed: float | None = None,
        max_step: float | None = None,
        **options: Unpack[SearchOptions],
    ) -> LiveSequence:
        """Begins a sequence: frames that come one after the other, as those of a robot, each fused with those before it::

            sequence = index.sequence(max_speed=3)
            for frame, time in camera:
                fix = sequence.push(frame, time=time)

        Args:
            max_speed: Metres per second that are not exceeded, where frames have times, 15 by default; not in an index
                without positions.
            max_step: Metres between two frames that are not exceeded where a time is missing, 15 by default; in an index
                without positions, places in the order of their names, 3 by default.
            **options: How each frame is searched, as of :meth:`query`: top, candidates, rerank, cascade, adaptive,
                approximate, min_confidence, near, radius, tags, since, until.
        """
        bounds = {"max_speed": max_speed, "max_step": max_step}
        stated = {name: read.number(name, bound) for name, bound in bounds.items() if bound is not None}
        document = {**search_of(**options), **stated}
        return LiveSequence(self._native.sequence(json.dumps(document)))

    def locate_sequence(
        self,
        frames: Images,
        *,
        times: Sequence[FrameTime | None] | None = None,
        moved: Sequence[float | None] | None = None,
        max_speed: float | None = None,
        max_step: float | None = None,
        names: Sequence[str] | None = None,
        progress: Progress = None,
        **options: Unpack[SearchOptions],
    ) -> Track:
        """Where were these frames taken, one after the other? As ``r2former query --sequence``: a hidden Markov model over
        the places that the searches found fuses them, as nobody moves faster than ``max_speed``.

        Args:
            frames: n images in order (a list, an iterator, an array (n, height, width, 3), a folder sorted by name), as of
                :meth:`Model.extract`.
            times: When each was taken, (n,): seconds from any start, or datetimes, where they are known; where none is,
                those of their EXIF.
            moved: Metres travelled since the frame before, (n,), where odometry knows them.
            max_speed: Metres per second that are not exceeded, where frames have times, 15 by default; not in an index
                without positions.
            max_step: Metres between two frames that are not exceeded where a time is missing, 15 by default; in an index
                without positions, places in the order of their names, 3 by default.
            names: What frames are called; their paths by default.
            progress: True for a bar (tqdm), or a function of (what, done, total).
            **options: How each frame is searched, as of :meth:`query`: top, candidates, rerank, cascade, adaptive,
                approximate, min_confidence, near, radius, tags, since, until.

        Returns:
            A :class:`Track` of n frames. One that cannot be read is where the motion puts it.
        """
        items = [item for part in batches(frames, 256, names) for item in part]
        known = [name for name, _ in items]

        def column(what: str, values: Any, check: Any) -> builtins.list[Any]:
            if values is not None and len(own := read.listed(what, values)) != len(known):
                raise RequestError(f"there are {len(known)} frames and {len(own)} {what}")
            return read.each_of(what, values, known, check, lambda _: False)

        own_times, own_moved = column("times", times, seconds), column("moved", moved, read.number)
        sequence = self.sequence(max_speed=max_speed, max_step=max_step, **options)
        with reporting(progress) as report:
            sequence._native.push(items, own_times, own_moved, report)
        return sequence.track()

    def remove(self, names: Sequence[str] | str) -> int:
        """Removes images by name; returns how many there were.

        Raises:
            RequestError: A name that is not in the index; the others are removed all the same.
        """
        document = json.loads(self._native.remove(read.texts("names", names)))
        if document["unknown"]:
            raise RequestError(
                f"not in the index: {', '.join(document['unknown'][:5])} ({document['removed']} others were removed)"
            )
        return int(document["removed"])

    def list(
        self,
        *,
        near: Coordinates | None = None,
        radius: float | None = None,
        tags: Mapping[str, str] | None = None,
        since: Time | None = None,
        until: Time | None = None,
    ) -> Places:
        """The images, sorted by name; the filters are those of :meth:`query`."""
        where = search_of(near=near, radius=radius, tags=tags, since=since, until=until)
        origin = self.info()["config"]["positions"].get("origin") if self.positions == "local" else None
        numbers = None if origin is None else [origin[key] for key in ("lat", "lon", "altitude") if origin.get(key) is not None]
        return Places(json.loads(self._native.list(json.dumps(where))), self.positions, numbers)

    def descriptors(self, names: Sequence[str]) -> Floats:
        """Global descriptors of images by name, float32 (n, d)."""
        names = read.texts("names", names)
        values, dim = self._native.descriptors(names)
        return floats(values, (len(names), dim))

    def info(self) -> dict[str, Any]:
        """Images, bytes, extent and model: the document of ``r2former index info --json``."""
        document: dict[str, Any] = json.loads(self._native.info())
        return document

    def verify(self) -> dict[str, Any]:
        """Reads everything: the document of ``r2former index verify --json``, whose ``problems`` should be empty."""
        document: dict[str, Any] = json.loads(self._native.verify())
        return document

    def compact(self) -> None:
        """Writes the index again without the room that removed images left."""
        self._native.compact()

    def export(self, file: Path) -> None:
        """Writes a snapshot to one new file."""
        self._native.export(read.path("file", file))

    def __repr__(self) -> str:
        if isinstance(self._native, _Closed):
            return "<r2former.Index: closed>"
        try:
            count = f"{len(self)} images"
        except Error as error:
            count = type(error).__name__
        return f"<r2former.Index {self.path}: {count}, model {self._native.model_name}>"

    def _repr_html_(self) -> str:
        info = self.info()
        rows = [
            ("folder", self.path),
            ("images", info["images"]),
            ("model", info["config"]["model"]),
            ("positions", self.positions),
            ("bytes per image", round(info["bytes_per_image"])),
            ("extent", json.dumps(info["extent"])),
        ]
        return table(["index", ""], rows)
