"""Photographs and their features in the manner of torch.utils.data, without needing torch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _native
from ._arguments import flag, given, path, text, whole
from ._images import each, item
from ._progress import remark
from .errors import RequestError
from .model import Features, Floats, Model, Path, model_or_default
from .results import Position, position_of


@dataclass(frozen=True)
class Photo:
    """A photograph of a source.

    Attributes:
        path: Its file.
        name: Its path relative to the source.
        position: Where it was taken.
        heading: Degrees clockwise from north.
        altitude: Metres above sea level.
        time: Seconds since 1970 UTC.
        tags: Other columns of the table.
    """

    path: str
    name: str
    position: Position | None
    heading: float | None
    altitude: float | None
    time: int | None
    tags: dict[str, str]


class PhotoDataset(Sequence[Any]):
    """The photographs of a source as a map-style dataset: ``dataset[i]`` is a :class:`Photo`, or what ``transform`` makes
    of it. A ``torch.utils.data.DataLoader`` takes it; without a ``transform`` with ``collate_fn=list``, as torch stacks numbers and
    texts alone. (For type checkers it is none of torch's own datasets: ``DataLoader(cast(Dataset[Any], dataset))``.) ::

        dataset = PhotoDataset("database.csv", transform=lambda photo: (to_tensor(Image.open(photo.path)), photo.name))
        loader = torch.utils.data.DataLoader(dataset, batch_size=32, num_workers=4)

    Args:
        source: A folder or a table, as of ``Index.add``.
        kind: ``exif``, ``csv``, ``panoramas``, ``vg`` or ``msls``; detected by default.
        positions: Only photographs with a position; False for every image of a folder.
        transform: A function of a :class:`Photo`.
    """

    def __init__(
        self,
        source: Path,
        *,
        kind: str | None = None,
        positions: bool = True,
        transform: Callable[[Photo], Any] | None = None,
    ) -> None:
        listing, paths, notes = _native.photos(path("source", source), given(text, "kind", kind), flag("positions", positions))
        remark(notes)
        self.photos = [
            Photo(**{**photo, "path": file, "position": position_of(photo["position"])})
            for photo, file in zip(json.loads(listing), paths)
        ]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, which: Any) -> Any:
        if isinstance(which, slice):
            return [self[i] for i in range(*which.indices(len(self)))]
        photo = self.photos[which]
        return photo if self.transform is None else self.transform(photo)

    @property
    def paths(self) -> list[str]:
        """Files, for :class:`FeatureLoader` and :meth:`Model.extract`."""
        return [photo.path for photo in self.photos]


@dataclass(frozen=True)
class FeatureBatch:
    """A batch of :class:`FeatureLoader`.

    Attributes:
        indices: Numbers of its images in the dataset, (b,).
        features: As :meth:`Model.extract` gives them.
    """

    indices: npt.NDArray[np.intp]
    features: Features

    @property
    def names(self) -> list[str]:
        """What its images are called."""
        return self.features.names

    @property
    def global_(self) -> Floats:
        """Global descriptors, float32 (b, d)."""
        return self.features.global_

    @property
    def local(self) -> Floats:
        """Local features, float32 (b, k, 3 + d')."""
        return self.features.local


class FeatureLoader:
    """Batches of features of images, in the manner of a ``torch.utils.data.DataLoader``: it has a length, can be iterated
    again, and decodes on r2former's own threads, so that no worker processes are needed.

    Args:
        images: A list of images, a folder, a :class:`PhotoDataset`, an array (n, height, width, 3).
        model: The built-in one by default.
        batch_size: Images of a batch.
        shuffle: Another order in every pass.
        drop_last: Leave out a last batch that is smaller.
        seed: Of the orders.
    """

    def __init__(
        self,
        images: Any,
        model: Model | None = None,
        *,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
    ) -> None:
        batch_size = whole("batch_size", batch_size)
        if batch_size < 1:
            raise RequestError(f"batch_size={batch_size}: must be 1 or more")
        self.images = images.paths if isinstance(images, PhotoDataset) else list(each(images))
        self.model = model_or_default(model)
        self.batch_size, self.shuffle, self.drop_last = batch_size, flag("shuffle", shuffle), flag("drop_last", drop_last)
        self._random = random.Random(seed)

    def __len__(self) -> int:
        """Number of batches."""
        count, size = len(self.images), self.batch_size
        return count // size if self.drop_last else -(-count // size)

    def __iter__(self) -> Iterator[FeatureBatch]:
        order = list(range(len(self.images)))
        if self.shuffle:
            self._random.shuffle(order)
        for i in range(len(self)):
            own = order[i * self.batch_size : (i + 1) * self.batch_size]
            named = [item(self.images[j], None, j) for j in own]
            features = self.model._features(self.model._native.extract(named), [name for name, _ in named])
            yield FeatureBatch(np.asarray(own, dtype=np.intp), features)
