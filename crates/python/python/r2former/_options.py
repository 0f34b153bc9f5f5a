"""How an index is searched, as documents of the native part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any, TypedDict, Union

import numpy as np

from ._arguments import coordinates, flag, is_number, number, tags, text, whole
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


def time_of(name: str, time: Any) -> int | float | str:
    if isinstance(time, np.datetime64):
        raise TypeError(f"{name}: {time}: its zone is not known: use datetime(..., tzinfo=timezone.utc)")
    if isinstance(time, datetime):
        # NaT of pandas.
        if time != time:
            raise RequestError(f"{name}: {time} is no time: None stands for one that is not known")
        if time.tzinfo is None:
            raise RequestError(f"{name}: {time}: its zone is not known: use datetime(..., tzinfo=timezone.utc)")
        return int(time.astimezone(timezone.utc).timestamp())
    if isinstance(time, date):
        return time.isoformat()
    if isinstance(time, str):
        return str(time)
    if not is_number(time):
        raise TypeError(f"{name}: seconds since 1970, a datetime or a date are needed, not {type(time).__name__}")
    return number(name, time)


def moment_of(name: str, time: Any) -> int | float:
    """The same of when an image was taken: a date stands for its beginning, in UTC."""
    if isinstance(time, date) and not isinstance(time, datetime):
        time = datetime(time.year, time.month, time.day, tzinfo=timezone.utc)
    found = time_of(name, time)
    if isinstance(found, str):
        raise RequestError(f"{name}: {found!r}: seconds since 1970 or a datetime are needed")
    return found


def near_of(name: str, near: Any) -> str | list[float]:
    return str(near) if isinstance(near, str) else coordinates(name, near)


def _confidence(name: str, value: Any) -> float | str:
    return str(value) if isinstance(value, str) else number(name, value)


#: How each option of a search is read.
_READ: dict[str, Callable[[str, Any], Any]] = {
    "top": whole,
    "candidates": whole,
    "rerank": text,
    "cascade": whole,
    "adaptive": number,
    "approximate": flag,
    "min_confidence": _confidence,
    "near": near_of,
    "radius": number,
    "tags": tags,
    "since": time_of,
    "until": time_of,
}


def search_of(**given: Any) -> dict[str, Any]:
    """The document of how an index is searched; what is None is left out."""
    for name in sorted(set(given) - set(_READ)):
        raise TypeError(f"unexpected keyword argument {name!r}: the options are those of Index.query")
    return {name: _READ[name](name, value) for name, value in given.items() if value is not None}
