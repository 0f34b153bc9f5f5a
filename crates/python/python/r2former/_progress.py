"""Progress of long calls, and what they remark."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias, Union

from .errors import RequestError

#: True for a bar of tqdm; or a function that is called with what is counted, the number of steps done, and that of all.
Progress: TypeAlias = Union[bool, Callable[[str, int, int], object], None]

logger = logging.getLogger("r2former")


class _Bar:
    def __init__(self) -> None:
        self._bar: Any = None
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        from tqdm.auto import tqdm

        if self._bar is None or self._what != what:
            self.close()
            self._bar = tqdm(total=total, desc=what)
            self._what = what
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class reporting:
    """A context that gives the function to report to, and closes what it opened."""

    def __init__(self, progress: Progress) -> None:
        if progress is not None and not isinstance(progress, bool) and not callable(progress):
            raise TypeError(f"progress: True, or a function of (what, done, total), is needed, not {type(progress).__name__}")
        if progress is True:
            try:
                import tqdm.auto  # noqa: F401
            except ImportError as error:
                raise RequestError("progress=True needs tqdm: pip install tqdm") from error
        self._bar = _Bar() if progress is True else None
        self._function: Callable[[str, int, int], object] | None = (
            self._bar if self._bar is not None else progress if callable(progress) else None
        )

    def __enter__(self) -> Callable[[str, int, int], object] | None:
        return self._function

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def remark(notes: Iterable[str]) -> None:
    """Passes notes on to the log of the name r2former."""
    for note in notes:
        logger.info("%s", note)
