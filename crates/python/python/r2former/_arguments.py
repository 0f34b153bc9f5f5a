"""Arguments as the native part takes them. What is wrong with one is said under its own name: `TypeError` for a kind of thing
that it never is, `RequestError` for a value out of range."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .errors import RequestError

_LARGEST = sys.float_info.max


def _plain(value: Any) -> Any:
    """A number or a truth value of NumPy, or of an array or tensor without dimensions, as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def number(name: str, value: Any) -> float:
    """A finite number."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, (int, float)):
        raise TypeError(f"{name}: a number is needed, not {_kind(value)}")
    if not -_LARGEST <= plain <= _LARGEST:
        # NaN is in no range.
        raise RequestError(f"{name}={plain}: a finite number is needed")
    return plain


def whole(name: str, value: Any) -> int:
    """A whole number, 0 or more."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise TypeError(f"{name}: a whole number is needed, not {_kind(value)}")
    if not 0 <= plain < 1 << 64:
        raise RequestError(f"{name}={plain}: a whole number of 0 or more is needed")
    return plain


def flag(name: str, value: Any) -> bool:
    """True or False."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise TypeError(f"{name}: True or False is needed, not {value!r}")
    return plain


def text(name: str, value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise TypeError(f"{name}: a text is needed, not {_kind(value)}")
    return str(value)


def texts(name: str, value: Any) -> list[str]:
    """Texts; one stands for a list of it."""
    if isinstance(value, str):
        return [str(value)]
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"{name}: a text or several are needed, not {_kind(value)}")
    return [text(f"{name}[{i}]", one) for i, one in enumerate(value)]


def path(name: str, value: Any) -> str:
    """A path."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}: a path is needed, not {_kind(value)}")
    return os.fspath(value)


def wholes(name: str, value: Any, words: str) -> list[int]:
    """Whole numbers, as many as `words` has parts: ``(height, width)``."""
    count = words.count(",") + 1
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, (Sequence, np.ndarray)):
        raise TypeError(f"{name}: {words} is needed, not {_kind(value)}")
    if len(value) != count:
        raise RequestError(f"{name}={tuple(value)!r}: {words} is needed")
    return [whole(name, one) for one in value]


def tags(name: str, value: Any) -> dict[str, str]:
    """Tags: texts by name; numbers are written out."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name}: a dictionary of texts is needed, not {_kind(value)}")
    found = {}
    for key, own in value.items():
        plain = _plain(own)
        if not isinstance(plain, (str, int, float)):
            raise TypeError(f"{name}: {key!r}: a text is needed, not {_kind(own)}")
        found[text(f"{name}: the key {key!r}", key)] = str(plain)
    return found


def given(check: Any, name: str, value: Any) -> Any:
    """The same of an argument that may be None."""
    return None if value is None else check(name, value)


def coordinates(name: str, value: Any) -> list[float]:
    """A position: two or three numbers, or a dictionary of them."""
    if isinstance(value, Mapping):
        keys = next((keys for keys in (("lat", "lon"), ("x", "y", "z")) if set(keys[:2]) <= set(value)), None)
        if keys is None:
            raise RequestError(f"{name}: a position has the keys lat and lon, or x, y and z, not {', '.join(map(str, value))}")
        return [number(f"{name}: {key}", value[key]) for key in keys if value.get(key) is not None]
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) != 1:
        raise TypeError(f"{name}: (lat, lon), (x, y) or (x, y, z) is needed, not {_kind(value)}")
    numbers = list(value)
    # A point of local metres may have no height.
    if len(numbers) == 3 and numbers[2] is None:
        numbers.pop()
    if not 2 <= len(numbers) <= 3:
        raise RequestError(f"{name}: (lat, lon), (x, y) or (x, y, z) is needed, not {len(numbers)} values")
    return [number(name, one) for one in numbers]


def listed(name: str, values: Any) -> list[Any]:
    """The items of a list, an array, a column of a table, in their order."""
    if hasattr(values, "columns") and hasattr(values, "itertuples"):
        return _rows(values)
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        raise TypeError(f"{name}: a list is needed, not {_kind(values)}")
    return list(values)


def _rows(table: Any) -> list[Any]:
    """The rows of a table, by the names of its columns where these say what they hold."""
    rows = [list(row) for row in table.itertuples(index=False, name=None)]
    columns = list(table.columns)
    if {"lat", "lon"} <= set(columns) or {"x", "y"} <= set(columns):
        return [dict(zip(columns, row)) for row in rows]
    return rows


def each_of(name: str, values: Any, names: list[str], check: Any, is_one: Any) -> list[Any]:
    """A value for each image: one for all, or a list in the order of their names."""
    if values is None:
        return [None] * len(names)
    if is_one(values):
        return [given(check, name, values)] * len(names)
    own = listed(name, values)
    if len(own) != len(names):
        raise RequestError(f"there are {len(names)} names and {len(own)} {name}")
    return [given(check, f"{name}: {image}", value) for image, value in zip(names, own)]


def is_scalar(value: Any) -> bool:
    """Whether this is one value, and no list."""
    return isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable) or getattr(value, "ndim", 1) == 0


def is_number(value: Any) -> bool:
    """Whether this is a number."""
    plain = _plain(value)
    return isinstance(plain, (int, float)) and not isinstance(plain, bool)
