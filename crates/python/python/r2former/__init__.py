"""Visual place recognition: where was this photo taken?

>>> import r2former
>>> index = r2former.Index.create("places")                    # doctest: +SKIP
>>> index.add("photos/")                                       # doctest: +SKIP
>>> index.query("holiday.jpg").matches[0].position             # doctest: +SKIP
LatLon(lat=51.999797, lon=-0.000333)
"""

from __future__ import annotations

from . import _arguments, _native
from .data import FeatureLoader, PhotoDataset
from .errors import (
    BusyError,
    DamagedError,
    DataError,
    DeviceError,
    Error,
    InternalError,
    ModelError,
    NotFoundError,
    PlaceIndexError,
    RequestError,
)
from .evaluation import Evaluation, Town, evaluate, town
from .index import Index
from .model import Features, Matches, Model, Reranking, rerank
from .neighbors import PlaceNeighbors
from .results import AddReport, Answer, Answers, Ellipse, Estimate, LatLon, LocalPoint, Match, Place, Places
from .sequence import Fix, LiveSequence, Track, TrackPoint

__version__, features = _native.build()


def set_threads(threads: int) -> None:
    """Sizes the thread pool of this process; all cores by default. To be called before anything is computed."""
    _native.set_threads(_arguments.whole("threads", threads))


__all__ = [
    "AddReport",
    "Answer",
    "Answers",
    "BusyError",
    "DamagedError",
    "DataError",
    "DeviceError",
    "Ellipse",
    "Error",
    "Estimate",
    "Evaluation",
    "FeatureLoader",
    "Features",
    "Fix",
    "Index",
    "InternalError",
    "LatLon",
    "LiveSequence",
    "LocalPoint",
    "Match",
    "Matches",
    "Model",
    "ModelError",
    "NotFoundError",
    "PhotoDataset",
    "Place",
    "PlaceIndexError",
    "PlaceNeighbors",
    "Places",
    "RequestError",
    "Reranking",
    "Town",
    "Track",
    "TrackPoint",
    "__version__",
    "evaluate",
    "features",
    "rerank",
    "set_threads",
    "town",
]
