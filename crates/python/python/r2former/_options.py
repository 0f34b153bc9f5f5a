"""How an index is searched, as documents of the native part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any, TypedDict, Union

from ._progress import Progress
from .errors import RequestError

#: Seconds since 1970 UTC, a datetime with its zone, a date, or a text such as "2024-05".
Time = Union[int, float, str, date, datetime]
#: (lat, lon) in degrees, (x, y) or (x, y, z) in local metres.
Coordinates = Sequence[float]


class SearchOptions(TypedDict, total=False):
    """How an index is searched, for type checkers: the options that :meth:`Index.query` explains."""

    top: int
    candidates: int
    rerank: str | None
    cascade: int | None
    adaptive: float | None
    approximate: bool
    min_confidence: float | str | None
    near: Coordinates | str | None
    radius: float | None
    tags: Mapping[str, str] | None
    since: Time | None
    until: Time | None


class QueryOptions(SearchOptions, total=False):
    """Options of :meth:`Index.query`, for type checkers."""

    names: Sequence[str] | str | None
    progress: Progress


def time_of(time: Time | None) -> int | float | str | None:
    if isinstance(time, datetime):
        if time.tzinfo is None:
            raise RequestError(f"{time}: its zone is not known: use datetime(..., tzinfo=timezone.utc)")
        return int(time.astimezone(timezone.utc).timestamp())
    return time.isoformat() if isinstance(time, date) else time


def numbers_of(position: Any) -> list[float]:
    if isinstance(position, Mapping):
        position = [position[key] for key in ("lat", "lon", "x", "y", "z") if position.get(key) is not None]
    return [float(value) for value in position if value is not None]


def filter_of(
    near: Coordinates | str | None,
    radius: float | None,
    tags: Mapping[str, str] | None,
    since: Time | None,
    until: Time | None,
) -> dict[str, Any]:
    options = {
        "near": near if near is None or isinstance(near, str) else numbers_of(near),
        "radius": None if radius is None else float(radius),
        "tags": None if tags is None else {str(key): str(value) for key, value in tags.items()},
        "since": time_of(since),
        "until": time_of(until),
    }
    return {key: value for key, value in options.items() if value is not None}


def search_of(**given: Any) -> dict[str, Any]:
    """The document of how an index is searched; what is None is left out."""
    unknown = sorted(set(given) - set(SearchOptions.__annotations__))
    if unknown:
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}: the options are those of Index.query")
    where = filter_of(*(given.pop(key, None) for key in ("near", "radius", "tags", "since", "until")))
    return {**{key: value for key, value in given.items() if value is not None}, **where}
