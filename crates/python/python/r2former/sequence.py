"""Frames in order, and the track that they give together: docs/answers.md explains how they are fused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Union

from . import _native
from ._arguments import given, number, text
from ._html import table
from ._images import ImageLike, item
from ._listed import Listed
from .errors import RequestError
from .results import Answers, Kept, Match, Position, coordinates, match_of, position_of, shown

if TYPE_CHECKING:
    import pandas as pd

#: Seconds from any start, or a datetime with its zone.
FrameTime = Union[int, float, datetime]


def seconds(name: str, time: Any) -> float:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise RequestError(f"{name}: {time}: its zone is not known: use datetime(..., tzinfo=timezone.utc)")
        return time.astimezone(timezone.utc).timestamp()
    return number(name, time)


@dataclass(frozen=True)
class Fix:
    """Where a frame was taken, by several frames together.

    Attributes:
        place: The most probable place.
        position: The mean of the probable places within 25 m of it.
        probability: What the model gives to all of these, 0 to 1. It is no calibrated confidence: it knows only the places
            that the frames' searches found.
    """

    place: Match
    position: Position | None
    probability: float


def fix_of(document: Mapping[str, Any] | None) -> Fix | None:
    if document is None:
        return None
    return Fix(match_of(document["place"]), position_of(document["position"]), document["probability"])


@dataclass(frozen=True)
class TrackPoint:
    """A frame of a track.

    Attributes:
        frame: Its number, from 1.
        query: Its name.
        time: Its time in seconds.
        best: Where it was taken, by all frames; None before the first candidate.
        live: By this frame and those before it: as it was known at the time.
    """

    frame: int
    query: str
    time: float | None
    best: Fix | None
    live: Fix | None


class Track(Listed[TrackPoint]):
    """The frames of a sequence in their order, n of them.

    Attributes:
        answers: The answer of each frame by itself, n of them.
    """

    def __init__(self, answers: Answers, native: _native.Track | Kept) -> None:
        self.answers = answers
        self._native = native
        self._documents: list[dict[str, Any]] = json.loads(native.json())
        self._items = [
            TrackPoint(
                entry["frame"], entry["query"], entry["time"], fix_of(entry["best"]), fix_of(entry["live"])
            )
            for entry in self._documents
        ]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``r2former query --sequence --json``: ``answers`` and ``track``."""
        return {**self.answers.to_dict(), "track": list(self._documents)}

    def to_geojson(self) -> dict[str, Any]:
        """The FeatureCollection of ``r2former query --sequence --track FILE.geojson``: a line, and a point for each frame.

        Raises:
            RequestError: An index without positions, or in local metres without an origin.
        """
        collection: dict[str, Any] = json.loads(self._native.geojson())
        return collection

    def to_pandas(self) -> pd.DataFrame:
        """A row for each frame, (n, columns), as ``r2former query --sequence --track FILE.csv`` has them."""
        import pandas as pd

        def columns(fix: Fix | None, prefix: str) -> dict[str, Any]:
            return {
                f"{prefix}path": fix.place.path if fix else None,
                **coordinates(fix.position if fix else None, prefix),
                f"{prefix}probability": fix.probability if fix else None,
            }

        about = [{"frame": point.frame, "query": point.query, "time": point.time} for point in self._items]
        rows = [
            {**own, **columns(point.best, ""), **columns(point.live, "live_")}
            for own, point in zip(about, self._items)
        ]
        return pd.DataFrame(rows)

    def __reduce__(self) -> Any:
        return Track, (self.answers, Kept.of(self._native))

    def __repr__(self) -> str:
        return f"<r2former.Track of {len(self)} frames>"

    def _repr_html_(self) -> str:
        columns = ["frame", "query", "time", "position", "path", "probability", "live"]
        rows = []
        for point in self._items:
            best, live = point.best, point.live
            rows.append(
                (
                    point.frame,
                    point.query,
                    point.time,
                    shown(best.position) if best else "",
                    best.place.path if best else "",
                    round(best.probability, 3) if best else None,
                    live.place.path if live else "",
                )
            )
        return table(columns, rows, f"{len(self)} frames")


class LiveSequence:
    """Frames that come one after the other; see :meth:`Index.sequence`. Each keeps its candidates for the track: some 30 kB
    with 100 of them."""

    def __init__(self, native: _native.Sequence) -> None:
        self._native = native

    def push(
        self, frame: ImageLike, *, time: FrameTime | None = None, moved: float | None = None, name: str | None = None
    ) -> Fix | None:
        """Takes the next frame, and says where it was taken by it and those before it.

        Args:
            frame: One image, as of :meth:`Model.extract`. One that cannot be read is a frame without candidates.
            time: When it was taken, in seconds from any start or as a datetime; that of its EXIF by default.
            moved: Metres travelled since the frame before, by odometry.
            name: What it is called; its path by default.

        Returns:
            None while no frame had a candidate.
        """
        own = item(frame, given(text, "name", name), len(self))
        at, metres = given(seconds, "time", time), given(number, "moved", moved)
        return fix_of(json.loads(self._native.push([own], [at], [metres], None)))

    def __len__(self) -> int:
        """Number of frames."""
        return self._native.count()

    def track(self) -> Track:
        """The most probable way through all frames so far."""
        answers, track = self._native.track()
        return Track(Answers(answers), track)

    def __repr__(self) -> str:
        return f"<r2former.LiveSequence of {len(self)} frames>"
