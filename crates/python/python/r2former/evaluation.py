"""Recall of a model on a dataset, and the rendered town to try it on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from . import _native
from . import _arguments as read
from ._html import table
from ._progress import Progress, remark, reporting
from .errors import RequestError
from .model import Model, Path, model_or_default

if TYPE_CHECKING:
    import pandas as pd


class Evaluation:
    """Metrics of an evaluation: the document of ``r2former eval ... --json``."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    @property
    def recall(self) -> dict[str, dict[int, float]]:
        """Recall@N of each ranking, 0 to 1: ``evaluation.recall["global"][1]``. Rankings are ``global``, ``ransac``,
        ``mutual``, and ``reranked`` by the model."""
        return {
            ranking: {int(n): float(value) for n, value in values.items()}
            for ranking, values in self._document["recall"].items()
        }

    @property
    def queries(self) -> int:
        """Queries that count."""
        return int(self._document["protocol"]["queries"])

    @property
    def unusable(self) -> list[dict[str, str]]:
        """Images that could not be used: ``path`` and ``reason``."""
        return list(self._document["unusable"])

    def to_dict(self) -> dict[str, Any]:
        """The document."""
        return dict(self._document)

    def to_pandas(self) -> pd.DataFrame:
        """A row for each ranking, a column for each N."""
        import pandas as pd

        frame = pd.DataFrame.from_dict(self.recall, orient="index")
        frame.columns = [f"recall@{n}" for n in frame.columns]
        frame.index.name = "ranking"
        return frame

    def __repr__(self) -> str:
        best = ", ".join(f"{ranking} {100 * values[1]:.1f}" for ranking, values in self.recall.items() if 1 in values)
        return f"<r2former.Evaluation of {self.queries} queries: recall@1 in percent: {best}>"

    def _repr_html_(self) -> str:
        ns = sorted({n for values in self.recall.values() for n in values})
        rows = [[ranking, *(f"{100 * values[n]:.1f}" for n in ns)] for ranking, values in self.recall.items()]
        protocol = self._document["protocol"]
        caption = f"{protocol['dataset']}: {protocol['queries']} queries, {protocol['database']} references; recall in %"
        return table(["ranking", *(f"R@{n}" for n in ns)], rows, caption)


def evaluate(
    database: Path | None = None,
    queries: Path | None = None,
    *,
    dataset: Mapping[str, Any] | None = None,
    model: Model | None = None,
    radius: float = 25.0,
    heading: float | None = None,
    rerank: Sequence[str] | str | None = None,
    candidates: int = 100,
    cascade: int | None = None,
    adaptive: float | None = None,
    empty: str | None = None,
    per_city: bool = False,
    by: Sequence[str] | str = (),
    query_preprocessing: str | None = None,
    unknown: float | None = None,
    seed: int | None = None,
    window: int | None = None,
    max_speed: float | None = None,
    max_step: float | None = None,
    features: Path | None = None,
    progress: Progress = None,
) -> Evaluation:
    """Recall@N of a model, with exact search.

    Args:
        database: References: a table of positions, or a folder of photographs with GPS.
        queries: Queries, likewise.
        dataset: Any other kind of dataset in place of the two, as in the configuration of ``eval suite``
            (docs/datasets.md): ``{"kind": "vg", "path": "pitts30k", "split": "test"}``; also pairs, panoramas, msls, frames,
            dbstruct, st-lucia.
        model: The built-in one by default.
        radius: References within this many metres of a query are positives.
        heading: Positives also look within this many degrees of the query's heading.
        rerank: Methods to evaluate beside the global ranking: ``model``, ``ransac``, ``mutual``; ``()`` for none of them; the
            model's best by default.
        candidates: Candidates to rerank per query.
        cascade: Rerank by the model only this many of them, those that geometry ranks first.
        adaptive: Skip queries whose top-1 margin is at least this.
        empty: Queries without positives ``fail`` or are ``drop``-ped.
        per_city: Search each city on its own.
        by: Tags of the queries for whose values recall is reported, too.
        query_preprocessing: ``hard_resize``, ``single_query``, ``central_crop``, ``five_crops``, ...
        unknown: Share of the queries that is made unknown, to measure confidence.
        seed: Of their choice.
        window: Measure recall@1 with windows of this many queries, as frames of a sequence.
        max_speed: Metres per second that its frames do not exceed, where queries have times (15).
        max_step: Metres between two frames that are not exceeded where a time is missing (15), or without positions
            references in their order (3).
        features: A folder that keeps extracted features, so that an interrupted call resumes.
        progress: True for a bar (tqdm), or a function of (what, done, total).
    """
    if (dataset is None) == (database is None or queries is None):
        raise RequestError("a database and queries are needed, or a dataset")
    if dataset is None:
        assert database is not None and queries is not None
        dataset = {"kind": "photos", "database": read.path("database", database), "queries": read.path("queries", queries)}
    if not isinstance(dataset, Mapping):
        raise TypeError(f"dataset: a dictionary with a kind is needed, not {type(dataset).__name__}")
    options = {
        "radius": read.number("radius", radius),
        "heading": read.given(read.number, "heading", heading),
        "rerank": read.given(read.texts, "rerank", rerank),
        "candidates": read.whole("candidates", candidates),
        "cascade": read.given(read.whole, "cascade", cascade),
        "adaptive": read.given(read.number, "adaptive", adaptive),
        "empty": read.given(read.text, "empty", empty),
        "per_city": read.flag("per_city", per_city),
        "by": read.texts("by", by),
        "query_preprocessing": read.given(read.text, "query_preprocessing", query_preprocessing),
        "unknown": read.given(read.number, "unknown", unknown),
        "seed": read.given(read.whole, "seed", seed),
        "window": read.given(read.whole, "window", window),
        "max_speed": read.given(read.number, "max_speed", max_speed),
        "max_step": read.given(read.number, "max_step", max_step),
        "features": read.given(read.path, "features", features),
    }
    with reporting(progress) as report:
        document, notes = _native.evaluate(
            json.dumps(dataset, default=os.fspath), model_or_default(model)._native, json.dumps(options), report
        )
    remark(notes)
    return Evaluation(json.loads(document))


@dataclass(frozen=True)
class Town:
    """A rendered town on disk.

    Attributes:
        dir: Its folder.
        database: Number of photographs with positions, in ``database.csv`` and ``database/``.
        queries: Number of queries, in ``queries.csv`` and ``queries/CONDITION/``.
        images_per_minute: How fast it was rendered.
    """

    dir: str
    database: int
    queries: int
    images_per_minute: float

    @property
    def database_table(self) -> str:
        """The table of the database: path,lat,lon,heading,altitude,timestamp,condition."""
        return os.path.join(self.dir, "database.csv")

    @property
    def queries_table(self) -> str:
        """The table of the queries."""
        return os.path.join(self.dir, "queries.csv")

    def to_dict(self) -> dict[str, Union[str, int, float]]:
        """The document of ``r2former town --json``."""
        return {
            "dir": self.dir,
            "database": self.database,
            "queries": self.queries,
            "images_per_minute": self.images_per_minute,
        }


def town(
    path: Path,
    *,
    seed: int = 1,
    blocks: tuple[int, int] = (4, 4),
    spacing: float = 12.0,
    queries: int = 100,
    conditions: Sequence[str] | str = ("day", "dusk", "night", "rain"),
    size: tuple[int, int] = (240, 320),
    walk: int | None = None,
    progress: Progress = None,
) -> Town:
    """Renders a synthetic town: photographs with exact positions, in several kinds of light and weather.

    Args:
        path: Folder to write, new or empty.
        seed: The town and its photographs follow from it.
        blocks: Blocks of 50 to 110 m, west to east and south to north, each 1 to 64.
        spacing: Metres between positions of the database along the streets.
        queries: Queries per condition.
        conditions: day, overcast, dusk, night, rain, snow.
        size: Height and width in pixels, each 16 to 8192.
        walk: Take the queries as frames of walks, this many each.
        progress: True for a bar (tqdm), or a function of (what, done, total).
    """
    options = {
        "seed": read.whole("seed", seed),
        "blocks": read.wholes("blocks", blocks, "(east, north)"),
        "spacing": read.number("spacing", spacing),
        "queries": read.whole("queries", queries),
        "walk": read.given(read.whole, "walk", walk),
        "conditions": read.texts("conditions", conditions),
        "size": read.wholes("size", size, "(height, width)"),
    }
    with reporting(progress) as report:
        document = json.loads(_native.town(read.path("path", path), json.dumps(options), report))
    # JSON has no bytes that are no text.
    return Town(**{**document, "dir": os.fspath(path)})
