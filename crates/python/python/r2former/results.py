"""Answers: what an index says of photographs. Fields, units and JSON are those of docs/answers.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union

from . import _native
from ._html import table
from ._listed import Listed
from .errors import RequestError

if TYPE_CHECKING:
    import pandas as pd


class LatLon(NamedTuple):
    """A position in degrees of WGS 84."""

    lat: float
    lon: float

    def __str__(self) -> str:
        return f"{self.lat:.6f}, {self.lon:.6f}"


class LocalPoint(NamedTuple):
    """A position in metres of a map of its own."""

    x: float
    y: float
    z: float | None = None


Position: TypeAlias = Union[LatLon, LocalPoint]


def position_of(document: Mapping[str, Any] | None) -> Position | None:
    if document is None:
        return None
    if "lat" in document:
        return LatLon(document["lat"], document["lon"])
    return LocalPoint(document["x"], document["y"], document.get("z"))


def coordinates(position: Position | None, prefix: str = "") -> dict[str, float | None]:
    """Columns of a table."""
    if isinstance(position, LocalPoint):
        return {f"{prefix}x": position.x, f"{prefix}y": position.y, f"{prefix}z": position.z}
    if position is None:
        return {f"{prefix}lat": None, f"{prefix}lon": None}
    return {f"{prefix}lat": position.lat, f"{prefix}lon": position.lon}


@dataclass(frozen=True)
class Match:
    """A place that may show what the query shows.

    Attributes:
        rank: Place in the ranking, from 1.
        id: Identifier of the reference in the index: the UUID of its name.
        path: Its name in the index: the label of its source and its path in it.
        tags: Its tags.
        position: Where it was taken.
        heading: Where it looks, degrees clockwise from north.
        time: When it was taken, seconds since 1970 UTC.
        distance_m: Metres from the prior position, where one was given.
        similarity: Cosine of the two global descriptors, -1 to 1.
        score: What reranking sorted by; None if it was not reranked.
        score_kind: ``reranker_probability``, ``ransac_inliers`` or ``mutual_matches``.
    """

    rank: int
    id: str
    path: str
    tags: dict[str, str]
    position: Position | None
    heading: float | None
    time: int | None
    distance_m: float | None
    similarity: float
    score: float | None
    score_kind: str | None


def match_of(document: Mapping[str, Any]) -> Match:
    return Match(**{**document, "position": position_of(document["position"])})


@dataclass(frozen=True)
class Ellipse:
    """The region around the weighted position that holds the true one in 90 % of correct answers.

    Attributes:
        major_m: Half the major axis in metres.
        minor_m: Half the minor axis in metres.
        angle_deg: Direction of the major axis, degrees clockwise from north.
    """

    major_m: float
    minor_m: float
    angle_deg: float


@dataclass(frozen=True)
class Estimate:
    """Where the query was taken.

    Attributes:
        best: Position of the first match.
        weighted: Mean position of the matches that agree, weighted by score and overlap.
        heading: Where the query looks, degrees clockwise from north.
        ellipse: The uncertainty; None of a model that is not calibrated.
        agreeing: Matches within 25 m of the first one, itself included.
        considered: Of the first 10 matches, those with a position.
        spread_m: Largest distance from the first match to one that agrees, in metres.
    """

    best: Position
    weighted: Position
    heading: float | None
    ellipse: Ellipse | None
    agreeing: int
    considered: int
    spread_m: float


class Answer:
    """The answer for one query photograph."""

    def __init__(self, document: Mapping[str, Any], answers: Answers | None = None) -> None:
        self._document = dict(document)
        self._answers = answers

    @property
    def query(self) -> str:
        """The query's name."""
        return str(self._document["query"])

    @property
    def status(self) -> str:
        """``answered``, ``not_in_index``, ``no_match`` or ``unreadable``."""
        return str(self._document["status"])

    @property
    def error(self) -> str | None:
        """Why the query is unreadable."""
        return self._document.get("error")

    @property
    def confidence(self) -> float | None:
        """Probability that the first match is within 25 m of the truth, 0 to 1; None of a model that is not calibrated."""
        return self._document.get("confidence")

    @property
    def matches(self) -> list[Match]:
        """Places, best first."""
        return [match_of(match) for match in self._document.get("matches", [])]

    @property
    def estimate(self) -> Estimate | None:
        """Where it was taken; None if the first match has no position."""
        document = self._document.get("estimate")
        if document is None:
            return None
        best, weighted = position_of(document["best"]), position_of(document["weighted"])
        assert best is not None and weighted is not None
        ellipse = document.get("ellipse")
        return Estimate(
            best,
            weighted,
            document.get("heading"),
            None if ellipse is None else Ellipse(ellipse["major_m"], ellipse["minor_m"], ellipse["angle_deg"]),
            document["agreeing"],
            document["considered"],
            document["spread_m"],
        )

    @property
    def rerank(self) -> str | None:
        """``model``, ``ransac``, ``mutual`` or ``none``: what the ranking is by."""
        return self._document.get("rerank")

    @property
    def reranking_skipped(self) -> bool:
        """Whether the top-1 margin was large enough to keep the global ranking."""
        return bool(self._document.get("reranking_skipped", False))

    @property
    def notes(self) -> list[str]:
        """Reasons to distrust the answer."""
        return list(self._document.get("notes", []))

    @property
    def timing(self) -> dict[str, float]:
        """Milliseconds of each stage: decode_ms, extract_ms, search_ms, fetch_ms, rerank_ms."""
        return dict(self._document.get("timing", {}))

    def to_dict(self) -> dict[str, Any]:
        """The entry of ``r2former query --json``."""
        return dict(self._document)

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection, as of ``r2former query --geojson``."""
        answers = self._answers
        if answers is None:
            raise TypeError("this answer does not belong to a query")
        collection = answers.to_geojson()
        if len(answers) > 1:
            raise TypeError("several queries: Answers.to_geojson() has the features of all")
        return collection

    def to_pandas(self) -> pd.DataFrame:
        """A row for each match."""
        return _frame([self])

    def __repr__(self) -> str:
        estimate = self.estimate
        at = f" at {estimate.best}" if estimate is not None else ""
        return f"<r2former.Answer {self.query}: {self.status}{at}, {len(self._document.get('matches', []))} matches>"

    def _repr_html_(self) -> str:
        columns = ["rank", "path", "position", "heading", "similarity", "score"]
        rows = [
            (m.rank, m.path, shown(m.position), m.heading, round(m.similarity, 4), m.score) for m in self.matches
        ]
        return table(columns, rows, _caption(self))


def shown(position: Position | None) -> str:
    if position is None:
        return ""
    return str(position) if isinstance(position, LatLon) else ", ".join(f"{v:.2f}" for v in position if v is not None)


def _caption(answer: Answer) -> str:
    caption = f"{answer.query}: {answer.status}"
    if answer.error:
        caption += f": {answer.error}"
    if answer.confidence is not None:
        caption += f", confidence {100 * answer.confidence:.0f} %"
    estimate = answer.estimate
    if estimate is not None:
        caption += (
            f", at {shown(estimate.best)} ({estimate.agreeing} of {estimate.considered} matches agree, spread "
            f"{estimate.spread_m:.0f} m)"
        )
    return caption


class Kept:
    """Documents of the native part, as they travel to another process."""

    def __init__(self, json: str, geojson: str, refused: str | None) -> None:
        self._json, self._geojson, self._refused = json, geojson, refused

    @classmethod
    def of(cls, native: _native.Answers | _native.Track | Kept) -> Kept:
        """What they say, and why they have no GeoJSON where they have none."""
        if isinstance(native, Kept):
            return native
        try:
            return cls(native.json(), native.geojson(), None)
        except RequestError as error:
            return cls(native.json(), "", str(error))

    def json(self) -> str:
        return self._json

    def geojson(self) -> str:
        if self._refused is not None:
            raise RequestError(self._refused)
        return self._geojson


class Answers(Listed[Answer]):
    """Answers in the order of their queries."""

    def __init__(self, native: _native.Answers | Kept) -> None:
        self._native = native
        self._items = [Answer(document, self) for document in json.loads(native.json())["answers"]]

    def to_dict(self) -> dict[str, Any]:
        """The document of ``r2former query --json``."""
        return {"answers": [answer.to_dict() for answer in self._items]}

    def to_geojson(self) -> dict[str, Any]:
        """The FeatureCollection of ``r2former query --geojson``: longitude first, as in RFC 7946.

        Raises:
            RequestError: An index without positions, or in local metres without an origin.
        """
        collection: dict[str, Any] = json.loads(self._native.geojson())
        return collection

    def to_pandas(self) -> pd.DataFrame:
        """A row for each match, and one for each query without any."""
        return _frame(self._items)

    def __reduce__(self) -> Any:
        return Answers, (Kept.of(self._native),)

    def __repr__(self) -> str:
        return f"<r2former.Answers of {len(self)} queries>"

    def _repr_html_(self) -> str:
        columns = ["query", "status", "confidence", "position", "path", "similarity", "score", "agreeing"]
        rows = []
        for answer in self._items:
            first = answer.matches[0] if answer.matches else None
            estimate = answer.estimate
            rows.append(
                (
                    answer.query,
                    answer.status,
                    answer.confidence,
                    shown(estimate.best) if estimate else "",
                    first.path if first else "",
                    round(first.similarity, 4) if first else None,
                    first.score if first else None,
                    f"{estimate.agreeing} of {estimate.considered}" if estimate else "",
                )
            )
        return table(columns, rows)


def _frame(answers: Sequence[Answer]) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for answer in answers:
        estimate = answer.estimate
        about: dict[str, Any] = {"query": answer.query, "status": answer.status}
        later: dict[str, Any] = {
            **coordinates(estimate.best if estimate else None, "best_"),
            **coordinates(estimate.weighted if estimate else None, "weighted_"),
            "agreeing": estimate.agreeing if estimate else None,
            "considered": estimate.considered if estimate else None,
            "spread_m": estimate.spread_m if estimate else None,
            "confidence": answer.confidence,
            "error": answer.error,
        }
        for match in answer.matches:
            own = {
                "rank": match.rank,
                "path": match.path,
                **coordinates(match.position),
                "heading": match.heading,
                "time": match.time,
                "distance_m": match.distance_m,
                "similarity": match.similarity,
                "score": match.score,
                "score_kind": match.score_kind,
                "tags": match.tags,
            }
            rows.append({**about, **own, **later})
        if not answer.matches:
            rows.append({**about, **later})
    return pd.DataFrame(rows)


class AddReport:
    """What adding photographs did: the document of ``r2former index add --json``."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = dict(document)

    @property
    def added(self) -> int:
        """Images added."""
        return int(self._document["added"])

    @property
    def already_indexed(self) -> int:
        """Images that were in the index already, unchanged."""
        return int(self._document["already_indexed"])

    @property
    def updated(self) -> list[dict[str, Any]]:
        """Images that were taken again, each with its name and what differed."""
        return list(self._document["updated"])

    @property
    def changed(self) -> list[dict[str, Any]]:
        """Images that differ from the index and were not taken, as ``update`` was not given."""
        return list(self._document["changed"])

    @property
    def left_out(self) -> list[dict[str, str]]:
        """Files that were not added: ``path`` and ``reason``."""
        kinds = ("without_position", "unreadable", "unsupported")
        return [entry for kind in kinds for entry in self._document[kind]]

    def to_dict(self) -> dict[str, Any]:
        """The document."""
        return dict(self._document)

    def __repr__(self) -> str:
        parts = [f"{self.added} added", f"{self.already_indexed} already indexed"]
        for words, all_of in (("updated", self.updated), ("changed", self.changed), ("left out", self.left_out)):
            if all_of:
                parts.append(f"{len(all_of)} {words}")
        return f"<r2former.AddReport: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        rows = [(key, len(value) if isinstance(value, list) else value) for key, value in self._document.items()]
        return table(["", "images"], rows)


@dataclass(frozen=True)
class Place:
    """An image of an index.

    Attributes:
        id: The UUID of its name.
        name: The label of its source and its path in it.
        position: Where it was taken.
        heading: Degrees clockwise from north.
        altitude: Metres above sea level.
        time: Seconds since 1970 UTC.
        tags: Its tags.
    """

    id: str
    name: str
    position: Position | None
    heading: float | None
    altitude: float | None
    time: int | None
    tags: dict[str, str]


class Places(Listed[Place]):
    """Images of an index, sorted by name."""

    def __init__(
        self, documents: Sequence[Mapping[str, Any]], positions: str = "wgs84", origin: Sequence[float] | None = None
    ) -> None:
        self._documents = list(documents)
        self._positions, self._origin = positions, origin
        self._items = [
            Place(
                entry["id"],
                entry["place"]["name"],
                position_of(entry["place"].get("position")),
                entry["place"].get("heading"),
                entry["place"].get("altitude"),
                entry["place"].get("time"),
                dict(entry["place"].get("tags", {})),
            )
            for entry in self._documents
        ]

    def to_dict(self) -> list[Mapping[str, Any]]:
        """The document of ``r2former index list --json``."""
        return list(self._documents)

    def to_geojson(self) -> dict[str, Any]:
        """A FeatureCollection of the places with a position: longitude first, as in RFC 7946.

        Raises:
            RequestError: An index without positions, or in local metres without an origin.
        """
        features = []
        for place, at in zip(self._items, self._coordinates()):
            if at is not None:
                properties = {
                    "name": place.name,
                    "heading": place.heading,
                    "altitude": place.altitude,
                    "time": place.time,
                    "tags": place.tags,
                }
                point = {"type": "Point", "coordinates": at}
                features.append({"type": "Feature", "id": place.id, "geometry": point, "properties": properties})
        return {"type": "FeatureCollection", "features": features}

    def _coordinates(self) -> list[list[float] | None]:
        """Longitude, latitude and, of a local position with a known height, metres."""
        points = [place.position for place in self._items]
        if self._positions == "wgs84":
            return [[at.lon, at.lat] if isinstance(at, LatLon) else None for at in points]
        if self._positions == "none":
            raise RequestError("this index has no positions, and GeoJSON needs them")
        if self._origin is None:
            raise RequestError(
                "this index has positions in local metres without an origin, and GeoJSON needs degrees: create it with an origin"
            )
        local = [(at.x, at.y, at.z) for at in points if isinstance(at, LocalPoint)]
        found = iter(_native.degrees(self._origin, local))
        return [next(found) if isinstance(at, LocalPoint) else None for at in points]

    def to_pandas(self) -> pd.DataFrame:
        """A row for each image."""
        import pandas as pd

        rows = [
            {
                "name": place.name,
                **coordinates(place.position),
                "heading": place.heading,
                "altitude": place.altitude,
                "time": place.time,
                "tags": place.tags,
                "id": place.id,
            }
            for place in self._items
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        return f"<r2former.Places: {len(self)} images>"

    def _repr_html_(self) -> str:
        rows = [(p.name, shown(p.position), p.heading, p.time) for p in self._items[:20]]
        return table(["name", "position", "heading", "time"], rows, f"{len(self)} images")
