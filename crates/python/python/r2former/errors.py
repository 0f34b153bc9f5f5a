"""Exceptions. Their text is that of the program's own messages."""

from __future__ import annotations


class Error(Exception):
    """Anything that r2former raises."""


class RequestError(Error, ValueError):
    """A request that cannot be met: an option out of range, a model without what it needs."""


class DataError(Error):
    """A photograph, a table or a dataset that cannot be used."""


class NotFoundError(Error, FileNotFoundError):
    """A file or folder that does not exist, or a folder that holds no index."""


class ModelError(Error):
    """A model or checkpoint that is damaged, or not supported."""


class DeviceError(Error):
    """A device that is unknown, fails, or computes something else than the CPU."""


class PlaceIndexError(Error):
    """An index that cannot be read or written: another model's, of another format, no room left."""


class BusyError(PlaceIndexError):
    """Another process is writing to the index: try again when it is done."""


class DamagedError(PlaceIndexError):
    """A damaged index: restore an export, or build it again."""


class InternalError(Error):
    """A fault of r2former; please report it."""
