"""Models and what they make of images."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Union

import numpy as np
import numpy.typing as npt

from . import _native
from . import _arguments as read
from ._html import table
from ._images import ImageLike, Images, batches, each, is_one
from ._progress import Progress, remark, reporting
from .errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float32]
Path = Union[str, "os.PathLike[str]"]


def floats(values: bytearray, shape: tuple[int, ...]) -> Floats:
    """An array of values of the native part, whose memory it takes over."""
    return np.frombuffer(values, dtype=np.float32).reshape(shape)


@dataclass(frozen=True, repr=False, eq=False)
class Features:
    """Descriptors of n images, in the order in which they were given.

    Attributes:
        global_: Global descriptors, float32 (n, d), each of unit length: the cosine of two images is their product.
        local: Local features, float32 (n, k, 3 + d'): x and y from 0 to 1, the attention, and a vector of d' values, the
            strongest first. Images with fewer than k have rows of zeros at the end. k is 0 for a global-only model.
        counts: Number of local features of each image, (n,).
        names: What each image is called: its path, its name, or "image" and its number.
    """

    global_: Floats
    local: Floats
    counts: npt.NDArray[np.intp]
    names: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.global_)

    def __getitem__(self, which: int | slice | Sequence[int] | npt.NDArray[np.intp]) -> Features:
        """The features of one image (n = 1) or of several."""
        if isinstance(which, (int, np.integer)):
            which = [int(which)]
        numbers = np.arange(len(self))[which]
        return Features(
            self.global_[numbers], self.local[numbers], self.counts[numbers], [self.names[i] for i in numbers]
        )

    def __iter__(self) -> Iterator[Features]:
        return (self[i] for i in range(len(self)))

    def rows(self, image: int = 0) -> Floats:
        """The local features of one image, (k, 3 + d'), without the rows of zeros."""
        return self.local[image, : self.counts[image]]

    def similarity(self, other: Features) -> Floats:
        """Cosines of all pairs, (n, m)."""
        cosines: Floats = self.global_ @ other.global_.T
        return cosines

    @staticmethod
    def concatenate(parts: Sequence[Features]) -> Features:
        """The features of several calls as one."""
        if not parts:
            raise RequestError("there is no image")
        most = max(part.local.shape[1] for part in parts)
        local = [np.pad(part.local, ((0, 0), (0, most - part.local.shape[1]), (0, 0))) for part in parts]
        return Features(
            np.concatenate([part.global_ for part in parts]),
            np.concatenate(local) if len(local) > 1 else local[0],
            np.concatenate([part.counts for part in parts]),
            [name for part in parts for name in part.names],
        )

    def __repr__(self) -> str:
        return f"<r2former.Features of {len(self)} images: global_ {self.global_.shape}, local {self.local.shape}>"

    def _repr_html_(self) -> str:
        rows = [(name, *np.round(self.global_[i, :4], 4), int(self.counts[i])) for i, name in enumerate(self.names[:10])]
        caption = f"{len(self)} images: global_ {self.global_.shape}, local {self.local.shape}"
        return table(["image", "global_[0]", "[1]", "[2]", "[3]", "local features"], rows, caption)


@dataclass(frozen=True, eq=False)
class Reranking:
    """References compared with a query by their local features.

    Attributes:
        scores: float32 (n,): the reranker's probability of the same place (0 to 1), or RANSAC's score or the
            number of mutual matches. For ranking only: see docs/answers.md.
        order: Numbers of the references, the highest score first; equal scores keep their order, (n,).
        similarity: Cosines of the global descriptors, float32 (n,); None where only local features were given.
        logits: The reranker's outputs (different place, same place), float32 (n, 2); None of another method.
        method: ``model``, ``ransac`` or ``mutual``.
    """

    scores: Floats
    order: npt.NDArray[np.intp]
    similarity: Floats | None
    logits: Floats | None
    method: str

    def to_dict(self) -> list[dict[str, Any]]:
        """The references in their new order: number, score and similarity."""
        return [
            {
                "reference": int(i),
                "score": float(self.scores[i]),
                "similarity": None if self.similarity is None else float(self.similarity[i]),
            }
            for i in self.order
        ]

    def to_pandas(self) -> pd.DataFrame:
        """The same as a table."""
        import pandas as pd

        return pd.DataFrame(self.to_dict())

    def _repr_html_(self) -> str:
        rows = [tuple(row.values()) for row in self.to_dict()]
        return table(["reference", "score", "similarity"], rows, f"{self.method}: {len(rows)} references")


@dataclass(frozen=True, eq=False)
class Matches:
    """Local features of two images that are each other's nearest, m pairs.

    Attributes:
        rows: Row of the query's feature and of the reference's, int (m, 2), sorted by the query's.
        similarity: Cosines of the features, float32 (m,).
        inliers: Whether the transformation explains a pair, bool (m,).
        homography: The transformation, a homography or the similarity that the model has in its place: from the query's
            pixels to the reference's, in images whose longer side is that of the network's input, float64 (3, 3) up to
            scale; None where fewer than four pairs agree.
    """

    rows: npt.NDArray[np.intp]
    similarity: Floats
    inliers: npt.NDArray[np.bool_]
    homography: npt.NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<r2former.Matches: {len(self)} pairs, {int(self.inliers.sum())} inliers>"


def _size(name: str, value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    height, width = read.wholes(name, value, "(height, width)")
    return f"{height}x{width}"


def _loaded_again(path: str | None, device: str, size: str | None, precision: str | None, fingerprint: str) -> Model:
    model = Model.load(path, device=device, image_size=size, precision=precision)
    if model.fingerprint != fingerprint:
        raise RequestError(f"{path or 'the built-in model'}: is another model than the one that was pickled")
    return model


def _unpacked(file: bytes, device: str) -> Model:
    return Model(_native.Model.load_bytes(file, device))


#: How each option of an import is read.
_IMPORT: dict[str, Callable[[str, Any], Any]] = {
    "name": read.text,
    "heads": read.whole,
    "image_size": _size,
    "grid": lambda name, value: read.wholes(name, value, "(rows, columns)"),
    "pooling": read.text,
    "normalisation": read.text,
    "resize": read.text,
    "position": read.text,
    "vocabulary": read.path,
    "layer": read.whole,
    "neighbours": read.whole,
    "local": read.text,
    "num_local": read.whole,
    "local_select": read.text,
    "local_layer": read.whole,
    "local_facet": read.text,
    "local_dim": lambda name, value: str(value) if isinstance(value, str) else str(read.whole(name, value)),
    "local_min_attention": read.number,
    "local_min_similarity": read.number,
    "local_geometry": read.text,
}


class Model:
    """A model on a device. Threads share it; it is put on its device when it is first needed."""

    def __init__(self, native: _native.Model, loaded: tuple[str | None, str, str | None, str | None] | None = None) -> None:
        self._native = native
        # Path, device, image size and precision, as load took them; None of an import.
        self._loaded = loaded

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        *,
        device: str = "cpu",
        image_size: str | tuple[int, int] | None = None,
        precision: str | None = None,
    ) -> Model:
        """Reads a model file, or takes the built-in model.

        Args:
            path: A file made by ``r2former model import``, ``train`` or :meth:`save`; None for the built-in model.
            device: ``cpu``; or ``cuda``, ``vulkan``, ``metal``, ``rocm``, ``wgpu`` in a build with that feature, with a
                number where there are several (``cuda:1``).
            image_size: ``(height, width)`` in pixels, or a rule such as ``"native"`` or ``"longest:640"``; the model's own by
                default.
            precision: ``f32``, ``bf16``, ``int8`` on the CPU, or ``auto``, the default: ``int8`` where the model's file says that
                rankings stay and this CPU is faster in it, else the model's own.

        Raises:
            NotFoundError: There is no such file.
            ModelError: It is damaged, or no model of r2former (:meth:`import_checkpoint` reads others' files).
            DeviceError: An unknown device, or one that computes something else than the CPU.
        """
        size, kind = read.given(_size, "image_size", image_size), read.given(read.text, "precision", precision)
        file = None if path is None else os.path.abspath(read.path("path", path))
        native = _native.Model.load_file(read.given(read.path, "path", path), read.text("device", device), size, kind)
        return cls(native, (file, device, size, kind))

    @classmethod
    def import_checkpoint(cls, path: Path, *, device: str = "cpu", **options: Any) -> Model:
        """Imports a published checkpoint: R2Former, MegaLoc, SALAD, BoQ, CosPlace, DINOv2 and others (docs/models.md).

        Args:
            path: The file, or a folder with config.json and model.safetensors. Pickles are parsed, never executed.
            device: As of :meth:`load`.
            **options: Those of ``r2former model import`` with underscores: name, heads, image_size, grid, pooling,
                normalisation, resize, position, vocabulary, layer, neighbours, local, num_local, local_select, ...

        Raises:
            ModelError: A file of another kind; the message names what was missing or unexpected.
        """
        for key in sorted(set(options) - set(_IMPORT)):
            raise RequestError(f"{key} is no option of an import: {', '.join(_IMPORT)}")
        options = {key: read.given(_IMPORT[key], key, value) for key, value in options.items()}
        file, document = read.path("path", path), json.dumps(options)
        native, leftovers, notes = _native.Model.import_file(file, read.text("device", device), document)
        remark(notes)
        if leftovers:
            remark([f"tensors not used: {', '.join(leftovers)}"])
        return cls(native)

    @property
    def name(self) -> str:
        """Its name."""
        return self._native.name

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its file; an index accepts the model that made it and no other."""
        return self._native.fingerprint

    @property
    def device(self) -> str:
        """Where it computes."""
        return self._native.device

    @property
    def image_size(self) -> str:
        """``HxW``, or the rule by which the size follows from the photograph's."""
        return self._native.image_size

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the network's input in pixels; of a rule, those of an ordinary photograph."""
        return self._native.input_size

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of red, green and blue, for pixels from 0 to 1."""
        return self._native.normalisation

    @property
    def global_dim(self) -> int:
        """d: dimensions of the global descriptor."""
        return self._native.global_dim

    @property
    def local_dim(self) -> int:
        """d': dimensions of a local feature's vector; 0 for a global-only model."""
        return max(self._native.local_row - 3, 0)

    def info(self) -> dict[str, Any]:
        """Architecture, preprocessing, licence and cost: the document of ``r2former model info --json``."""
        document: dict[str, Any] = json.loads(self._native.info())
        return document

    def save(self, path: Path, *, half: bool = False) -> None:
        """Writes the model file (.safetensors); ``half`` stores 16-bit floats."""
        self._native.save(read.path("path", path), read.flag("half", half))

    def extract(
        self,
        images: Images,
        batch: int = 32,
        *,
        names: Sequence[str] | None = None,
        progress: Progress = None,
    ) -> Features:
        """Descriptors of images.

        Args:
            images: One image or several: paths, bytes of image files, arrays (height, width, 3) of uint8 (RGB), PIL images,
                torch tensors (3, height, width) of uint8 or of floats from 0 to 1, anything with ``__array_interface__``
                or ``__dlpack__``; an array (n, height, width, 3); a folder; or an iterator of any of these. Each is resized
                as the model wants it.
            batch: Images that are decoded and computed at a time. More need more memory; results do not depend on it.
            names: What images are called; their paths by default.
            progress: True for a bar (tqdm), or a function of (what, done, total).

        Raises:
            DataError: An image that cannot be read: one bad image ends the call.
        """
        counted = list(each(images)) if progress and not hasattr(images, "__next__") else images
        total = len(counted) if isinstance(counted, list) else 0
        parts = []
        with reporting(progress) as report:
            done = 0
            for part in self.stream(counted, batch, names=names):
                parts.append(part)
                done += len(part)
                if report is not None:
                    report("images", done, max(total, done))
        return Features.concatenate(parts)

    def stream(self, images: Images, batch: int = 32, *, names: Sequence[str] | None = None) -> Iterator[Features]:
        """As :meth:`extract`, a batch at a time: for more images than fit into memory."""
        for items in batches(images, batch, names):
            yield self._features(self._native.extract(items), [name for name, _ in items])

    def _features(self, found: tuple[bytearray, bytearray, list[int]], names: list[str]) -> Features:
        global_, local, counts = found
        n, row = len(counts), self._native.local_row
        return Features(
            floats(global_, (n, self.global_dim)),
            floats(local, (n, max(counts, default=0), row)),
            np.asarray(counts, dtype=np.intp),
            names,
        )

    def extract_tensor(self, tensor: Any) -> Features:
        """Descriptors of images that are resized and normalised already, as the network takes them.

        Args:
            tensor: float32 (n, 3, height, width) of :attr:`input_size`, an array or a torch tensor, with
                :attr:`normalisation` applied.
        """
        if hasattr(tensor, "detach"):
            if not tensor.is_floating_point():
                raise TypeError(f"tensor: normalised floats are needed, not {tensor.dtype}: extract takes pixels")
            tensor = tensor.detach().cpu().float().numpy()
        if isinstance(tensor, np.ma.MaskedArray):
            raise RequestError("tensor: a masked array: fill what is masked first")
        try:
            array = np.asarray(tensor)
        except ValueError as error:
            raise RequestError(f"tensor: images of one shape are needed: {error}") from error
        if not np.issubdtype(array.dtype, np.floating):
            raise TypeError(f"tensor: normalised floats are needed, not {array.dtype}: extract takes pixels")
        array = np.ascontiguousarray(array, dtype=np.float32)
        if array.ndim == 3:
            array = array[None]
        if array.ndim != 4 or array.shape[1] != 3 or not array.size:
            raise RequestError(f"a tensor of shape {array.shape}: (n, 3, height, width) is needed")
        found = self._native.extract_tensor(array.shape[2], array.shape[3], array.tobytes())
        return self._features(found, [f"image {i}" for i in range(len(array))])

    def rerank(
        self,
        query: Features | ImageLike,
        references: Features | Images | Sequence[Floats],
        *,
        method: str = "model",
    ) -> Reranking:
        """Compares references with one query by their local features.

        Args:
            query: :class:`Features` of one image, an image, or local features (k, 3 + d').
            references: Features of one or of several images, images, or a list of local features.
            method: ``model`` (the reranker's probability), ``ransac`` (agreement under one homography or similarity) or ``mutual`` (mutual
                nearest neighbours).
        """
        if method not in ("model", "ransac", "mutual"):
            raise RequestError(f"'{method}' is not a method of comparing: model, ransac or mutual")
        self._needs_local(method)
        first, cosine = self._local(query)
        others, cosines = self._local(references)
        if len(first) != 1:
            raise RequestError(f"the query is one image, not {len(first)}")
        found, raw = self._native.rerank(first[0].tobytes(), [other.tobytes() for other in others], method)
        scores = floats(found, (len(others),))
        logits = None if raw is None else floats(raw, (len(others), 2))
        order = np.argsort(-scores, kind="stable")
        similarity = None
        if cosine is not None and cosines is not None:
            similarity = (cosines @ cosine.T)[:, 0]
        return Reranking(scores, order, similarity, logits, method)

    def match(self, query: Features | ImageLike | Floats, reference: Features | ImageLike | Floats) -> Matches:
        """Pairs of local features that are each other's nearest, verified by RANSAC: what ``r2former show matches`` draws.

        Args:
            query: :class:`Features` of one image, an image, or local features (k, 3 + d').
            reference: Likewise, (l, 3 + d').
        """
        self._needs_local("ransac")
        first, second = self._local(query)[0], self._local(reference)[0]
        if len(first) != 1 or len(second) != 1:
            raise RequestError(f"two images are matched, not {len(first)} with {len(second)}")
        pairs, homography = self._native.match_local(first[0].tobytes(), second[0].tobytes())
        return Matches(
            np.array([pair[:2] for pair in pairs], np.intp).reshape(-1, 2),
            np.array([pair[2] for pair in pairs], np.float32),
            np.array([pair[3] for pair in pairs], np.bool_),
            None if homography is None else np.array(homography).reshape(3, 3),
        )

    def keypoints(self, places: npt.NDArray[Any], size: tuple[int, int]) -> Floats:
        """Where local features lie in their image: the centres of patches, float32 (k, 2), x and y in pixels from the upper
        left corner of the first one.

        Args:
            places: x and y first, (k, 2 or more), as the rows of :attr:`Features.local`.
            size: Height and width of the image.
        """
        scale, corner = self._placed(size)
        at: Floats = ((places[:, :2] + corner) * scale).astype(np.float32)
        return at

    def _placed(self, size: tuple[int, int]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """What places, 0 to 1 of the longer side of the network's input, are multiplied with after the corner is added."""
        height, width = size
        resized, corner, seen = self._native.placement(height, width)
        longer = max(seen)
        scale = np.array([width / resized[1], height / resized[0]]) * longer
        return scale, np.array([corner[1], corner[0]]) / longer

    def _needs_local(self, method: str) -> None:
        if not self.local_dim:
            raise RequestError(f"model {self.name} has no local features: '{method}' compares them; Features.similarity compares descriptors")

    def _local(self, of: Any) -> tuple[list[Floats], Floats | None]:
        """Local features of each image, and global descriptors where they are known."""
        if isinstance(of, Features):
            return self._features_of([of])
        if self._is_table(of):
            return [self._rows(of)], None
        if isinstance(of, Iterable) and not is_one(of) and not isinstance(of, (str, os.PathLike, Mapping)):
            items = list(of) if not hasattr(of, "shape") else None
            if items and all(isinstance(one, Features) for one in items):
                return self._features_of(items)
            if items and all(self._is_table(one) for one in items):
                return [self._rows(one) for one in items], None
            if items and any(self._is_table(one) or isinstance(one, Features) for one in items):
                raise RequestError("images, Features and arrays of local features are not mixed in one list")
            of = of if items is None else items
        features = self.extract(of)
        return [features.rows(i) for i in range(len(features))], features.global_

    def _features_of(self, parts: Sequence[Features]) -> tuple[list[Floats], Floats]:
        rows = [self._rows(part.rows(i)) for part in parts for i in range(len(part))]
        if any(part.global_.shape[1:] != (self.global_dim,) for part in parts):
            raise RequestError(f"these are features of another model: global descriptors of {self.global_dim} dimensions are needed")
        return rows, np.concatenate([part.global_ for part in parts])

    def _is_table(self, of: Any) -> bool:
        """Whether these are local features, and not grey pixels, of which none is negative."""
        if not (isinstance(of, np.ndarray) and of.ndim == 2 and np.issubdtype(of.dtype, np.floating)):
            return False
        return of.shape[1] == self.local_dim + 3 or bool((of < 0).any())

    def _rows(self, of: Any) -> Floats:
        """Local features as the native part takes them."""
        width = self.local_dim + 3
        if of.shape[1] != width:
            raise RequestError(
                f"local features of shape {tuple(of.shape)}: (k, {width}) are needed, x, y, attention and the vector of {width - 3} values "
                "of this model"
            )
        rows: Floats = np.ascontiguousarray(of, dtype=np.float32)
        if not np.isfinite(rows).all():
            raise RequestError("local features with a value that is not finite")
        return rows

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: Any) -> Model:
        """A model does not change: copies are the model itself."""
        return self

    def __reduce__(self) -> Any:
        """Where its file is, or what was imported, and how it computes: another process loads it again."""
        if self._loaded is None:
            return _unpacked, (self._native.file(), self.device)
        return _loaded_again, (*self._loaded, self.fingerprint)

    def __repr__(self) -> str:
        return f"<r2former.Model {self.name} on {self.device}, images {self.image_size}, {self.global_dim} dimensions>"

    def _repr_html_(self) -> str:
        rows = [
            ("name", self.name),
            ("device", self.device),
            ("images", self.image_size),
            ("global descriptor", f"{self.global_dim} dimensions"),
            ("local features", f"{self.local_dim} dimensions" if self.local_dim else "none"),
        ]
        return table(["model", ""], rows)


def rerank(
    query: Features | ImageLike,
    references: Features | Images | Sequence[Floats],
    *,
    model: Model | None = None,
    method: str = "model",
) -> Reranking:
    """As :meth:`Model.rerank`, of the built-in model by default."""
    return model_or_default(model).rerank(query, references, method=method)


_default: Model | None = None


def default_model() -> Model:
    """The built-in model on the CPU, loaded once."""
    global _default
    if _default is None:
        _default = Model.load()
    return _default


def model_or_default(model: Any) -> Model:
    """A model that was given, or the built-in one."""
    if model is not None and not isinstance(model, Model):
        raise TypeError(f"model: a Model is needed, not {type(model).__name__}: Model.load(path) reads a file")
    return default_model() if model is None else model


__all__ = ["Features", "Matches", "Model", "Reranking", "default_model", "model_or_default", "rerank"]
