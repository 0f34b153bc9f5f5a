"""What people hand over as images, as the native part takes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeAlias, Union

import numpy as np
import numpy.typing as npt

from . import _native
from ._arguments import given, texts, whole
from .errors import DataError, RequestError

#: A path, the bytes of an image file, an array (height, width, 3) of uint8, a PIL image, a torch tensor.
ImageLike: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, "npt.NDArray[Any]", Any
]
#: One of them, several, an array or tensor (n, height, width, 3), or a folder of images.
Images: TypeAlias = Union[ImageLike, Iterable[ImageLike]]

#: Name, and a path, the bytes of a file, or height, width and bytes of red, green and blue.
Item: TypeAlias = "tuple[str, Union[str, bytes, tuple[int, int, bytes]]]"

_PATHS = (str, os.PathLike)
_BYTES = (bytes, bytearray, memoryview)


def _is_pil(image: Any) -> bool:
    return hasattr(image, "convert") and hasattr(image, "getexif")


def _is_torch(image: Any) -> bool:
    return hasattr(image, "detach") and hasattr(image, "cpu")


def _is_array(image: Any) -> bool:
    return any(hasattr(image, name) for name in ("__array_interface__", "__array__", "__dlpack__"))


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(array.shape if hasattr(array, "shape") else _array(array, "image").shape)


def _items(images: Any) -> list[Any] | None:
    """The items of an array or a column of a table that holds no numbers: paths, PIL images."""
    if _is_torch(images) or not (hasattr(images, "shape") and hasattr(images, "__array__")):
        return None
    array = np.asarray(images)
    if array.dtype.kind not in "OUST":
        return None
    if array.ndim != 1:
        raise RequestError(f"an array of shape {array.shape} of {array.dtype}: a list of images, (n,), is needed")
    return list(images)


def is_one(images: Any) -> bool:
    """Whether this is one image, and not several."""
    if isinstance(images, _PATHS):
        return not os.path.isdir(images)
    if isinstance(images, _BYTES) or _is_pil(images):
        return True
    return _is_array(images) and _items(images) is None and len(_shape(images)) in (2, 3)


def each(given: Images) -> Iterable[ImageLike]:
    """The images one by one; a folder stands for every image in it, at any depth, sorted by name."""
    images: Any = given
    if isinstance(images, _PATHS) and os.path.isdir(images):
        _, paths, notes = _native.photos(os.fspath(images), None, False)
        if notes:
            # Rows are matched to images by number: none may be missing.
            raise DataError(notes[0])
        return paths
    if is_one(images):
        return [images]
    if (items := _items(images)) is not None:
        return items
    if _is_array(images):
        shape = _shape(images)
        if len(shape) != 4:
            raise RequestError(f"an array of shape {shape} is neither an image (height, width, 3) nor several (n, height, width, 3)")
        several_of = images if hasattr(images, "__getitem__") else _array(images, "images")
        return (several_of[i] for i in range(shape[0]))
    if isinstance(images, dict) or not isinstance(images, Iterable):
        raise RequestError(f"{type(images).__name__} is no image, and holds none")
    several: Iterable[ImageLike] = images
    return several


def batches(images: Images, size: int, names: Sequence[str] | None = None) -> Iterator[list[Item]]:
    """Items for the native part, `size` at a time; images are taken from an iterator as they are needed."""
    size = whole("batch", size)
    if size < 1:
        raise RequestError(f"batch={size}: must be 1 or more")
    names = given(texts, "names", names)
    rest = iter(each(images))
    number = 0
    while chunk := list(islice(rest, min(size, sys.maxsize))):
        items = []
        for image in chunk:
            if names is not None and number >= len(names):
                raise RequestError(f"there are {len(names)} names, and more images")
            items.append(item(image, None if names is None else names[number], number))
            number += 1
        yield items
    if names is not None and number != len(names):
        raise RequestError(f"there are {len(names)} names and {number} images")


def item(image: ImageLike, name: str | None, number: int) -> Item:
    """An image with the name that messages and answers call it by."""
    if isinstance(image, _PATHS):
        path = os.fspath(image)
        # Bytes that are no text cannot be in a name: as the program shows them.
        return (os.fsencode(path).decode("utf-8", "replace") if name is None else name, path)
    if name is None:
        own = getattr(image, "filename", None)
        name = own if isinstance(own, str) and own else f"image {number}"
    if isinstance(image, _BYTES):
        return (name, bytes(image))
    array = pixels(image, name)
    return (name, (array.shape[0], array.shape[1], array.tobytes()))


def pixels(image: Any, name: str = "image") -> npt.NDArray[np.uint8]:
    """The pixels of an image as a contiguous array (height, width, 3) of uint8; not copied where they are that already.

    Arrays and tensors may be (height, width), (height, width, 1, 3 or 4) or (1, 3 or 4, height, width), of uint8 or of
    floats from 0 to 1; an alpha channel is left out. PIL images are turned upright by their EXIF.
    """
    if _is_pil(image):
        return np.ascontiguousarray(_upright(image, name))
    channels_first = _is_torch(image)
    array = _array(image, name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3:
        raise RequestError(f"{name}: an array of shape {array.shape} is no image: (height, width, 3) is needed")
    channels = (1, 3, 4)
    last, first = array.shape[2] in channels, array.shape[0] in channels
    if first and (channels_first or not last):
        array = np.moveaxis(array, 0, 2)
    elif not last:
        raise RequestError(
            f"{name}: an array of shape {array.shape} is no image: (height, width, 3) is needed; several grey images are a list of them"
        )
    if array.shape[2] == 1:
        array = np.repeat(array, 3, axis=2)
    array = array[:, :, :3]
    if array.dtype != np.uint8:
        array = _to_bytes(array, name)
    return np.ascontiguousarray(array)


def _upright(image: Any, name: str) -> npt.NDArray[np.uint8]:
    if image.getexif().get(0x0112, 1) != 1:
        from PIL import ImageOps

        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # The high byte, as of a file with 16 bits: PIL's own conversion clips at 255.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise RequestError(
            f"{name}: a PIL image of mode {image.mode} does not say which value is white: hand over "
            "np.asarray(image, np.float32) / WHITE, whose values go from 0 to 1"
        )
    if image.mode != "RGB":
        image = image.convert("RGB")
    return np.asarray(image, dtype=np.uint8)


def _array(image: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(image, np.ma.MaskedArray):
        raise RequestError(f"{name}: a masked array: fill what is masked first, with image.filled(0) for black")
    if isinstance(image, np.ndarray):
        # A matrix stays one when it is sliced.
        return np.asarray(image)
    if _is_torch(image):
        # Of a tensor on the CPU this is its own memory.
        image = image.detach().cpu()
        if str(image.dtype) == "torch.bfloat16":
            image = image.float()
        return np.asarray(image.numpy())
    if hasattr(image, "__array_interface__") or hasattr(image, "__array__"):
        return np.asarray(image)
    if hasattr(image, "__dlpack__"):
        try:
            return np.from_dlpack(image)
        except (BufferError, RuntimeError, TypeError) as error:
            raise RequestError(f"{name}: its memory cannot be read here: {error}") from error
    raise RequestError(f"{name}: {type(image).__name__} is no image")


def _to_bytes(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    if not np.issubdtype(array.dtype, np.floating):
        raise RequestError(f"{name}: pixels are {array.dtype}: uint8 from 0 to 255 or floats from 0 to 1 are needed")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    # NaN is in no range.
    if not (low >= -1e-3 and high <= 1.001):
        raise RequestError(
            f"{name}: its values go from {low:.3g} to {high:.3g}: pixels are uint8 from 0 to 255 or floats from 0 to 1 (a tensor "
            "that is normalised already goes to Model.extract_tensor)"
        )
    found: npt.NDArray[np.uint8] = np.rint(np.clip(array, 0.0, 1.0) * 255.0).astype(np.uint8)
    return found
