"""Descriptors: every form of an image, and the same values as the program's."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former


def read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__":
            start, end = (8 + length + offset for offset in about["data_offsets"])
            tensors[name] = np.frombuffer(data[start:end], dtype="<f4").reshape(about["shape"])
    return tensors, header["__metadata__"]


class OnlyDLPack:
    """An array that shows itself by DLPack alone."""

    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape = array, array.shape

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


class OnlyInterface:
    def __init__(self, array: np.ndarray) -> None:
        self._array, self.shape = array, array.shape
        self.__array_interface__ = array.__array_interface__


def test_shapes(model: r2former.Model, queries: list[str]) -> None:
    features = model.extract(queries)
    n, k = len(queries), features.local.shape[1]
    assert features.global_.shape == (n, model.global_dim) and features.global_.dtype == np.float32
    assert features.local.shape == (n, k, 3 + model.local_dim) and features.local.dtype == np.float32
    assert features.counts.tolist() == [k] * n and features.names == queries
    np.testing.assert_allclose(np.linalg.norm(features.global_, axis=1), 1, atol=1e-5)
    assert (features.local[:, :, :2] >= 0).all() and (features.local[:, :, :2] <= 1).all()
    features.global_[0, 0] = 5  # theirs to change
    assert features[1].global_.shape == (1, model.global_dim) and features[1:3].names == queries[1:3]
    assert [len(each) for each in features] == [1] * n


def test_same_values_as_the_program(model: r2former.Model, queries: list[str], run: Any, tmp_path: Path) -> None:
    out = tmp_path / "features.safetensors"
    run("extract", *queries, "--out", out, "--json")
    tensors, header = read_safetensors(out)
    features = model.extract(queries)
    assert json.loads(header["names"]) == features.names
    np.testing.assert_array_equal(features.global_, tensors["global"])
    np.testing.assert_array_equal(features.local, tensors["local"])


def test_every_form_is_the_same_image(model: r2former.Model, image: np.ndarray, ppm: Path) -> None:
    expected = model.extract(ppm).global_
    floats = image.astype(np.float32) / 255
    forms: dict[str, Any] = {
        "text": str(ppm),
        "bytes": ppm.read_bytes(),
        "bytearray": bytearray(ppm.read_bytes()),
        "memoryview": memoryview(ppm.read_bytes()),
        "array": image,
        "read-only": np.frombuffer(image.tobytes(), np.uint8).reshape(image.shape),
        "not contiguous": np.asfortranarray(image),
        "mirrored twice": image[:, ::-1][:, ::-1],
        "floats": floats,
        "doubles": floats.astype(np.float64),
        "channels first": np.moveaxis(image, 2, 0),
        "alpha": np.dstack([image, np.full(image.shape[:2], 7, np.uint8)]),
        "one of four dimensions": image[None],
        "dlpack": OnlyDLPack(image),
        "interface": OnlyInterface(image),
    }
    for name, form in forms.items():
        np.testing.assert_array_equal(model.extract(form).global_, expected, err_msg=name)
    grey = image[:, :, 0]
    np.testing.assert_array_equal(
        model.extract(grey).global_, model.extract(np.repeat(grey[:, :, None], 3, axis=2)).global_
    )
    all_at_once = model.extract([ppm, image, ppm.read_bytes(), np.moveaxis(floats, 2, 0)])
    np.testing.assert_array_equal(all_at_once.global_, np.repeat(expected, 4, axis=0))
    assert all_at_once.names == [str(ppm), "image 1", "image 2", "image 3"]


def test_pil(model: r2former.Model, image: np.ndarray) -> None:
    pil = pytest.importorskip("PIL.Image")
    picture = pil.fromarray(image)
    np.testing.assert_array_equal(model.extract(picture).global_, model.extract(image).global_)
    for mode in ("RGBA", "L", "P"):
        assert model.extract(picture.convert(mode)).global_.shape == (1, model.global_dim)
    # A picture that lies on its side, as cameras write them.
    exif = pil.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    turned = pil.open(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(model.extract(turned).global_, model.extract(np.rot90(image, -1)).global_)


def test_torch(model: r2former.Model, image: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    expected = model.extract(image).global_
    last = torch.from_numpy(image)
    first = last.permute(2, 0, 1)
    for form in (last, first, first.float() / 255, first.double() / 255, (first.float() / 255).requires_grad_()):
        np.testing.assert_array_equal(model.extract(form).global_, expected)
    batch = torch.stack([first, first])
    np.testing.assert_array_equal(model.extract(batch).global_, np.repeat(expected, 2, axis=0))
    # What is handed over is the tensor's own memory.
    from r2former._images import pixels

    assert np.shares_memory(pixels(last), image)
    # Three rows: channels are first in a tensor, last in an array.
    np.testing.assert_array_equal(
        model.extract(torch.from_numpy(image[:3]).permute(2, 0, 1)).global_, model.extract(image[:3]).global_
    )


def test_no_copy_of_an_array(image: np.ndarray) -> None:
    from r2former._images import pixels

    assert pixels(image) is image or np.shares_memory(pixels(image), image)
    assert np.shares_memory(pixels(OnlyDLPack(image)), image)


def test_batches_do_not_matter(model: r2former.Model, queries: list[str]) -> None:
    whole = model.extract(queries)
    for batch in (1, 3):
        parts = list(model.stream(iter(queries), batch))
        assert [len(part) for part in parts][:-1] == [batch] * (len(parts) - 1)
        np.testing.assert_array_equal(r2former.Features.concatenate(parts).global_, whole.global_)
        np.testing.assert_array_equal(model.extract((q for q in queries), batch).local, whole.local)


def test_a_folder_is_all_of_its_images(model: r2former.Model, town: r2former.Town, queries: list[str]) -> None:
    assert model.extract(Path(town.dir, "queries")).names == queries


def test_normalised_tensors(model: r2former.Model) -> None:
    height, width = model.input_size
    image = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    mean, std = (np.asarray(values, np.float32) for values in model.normalisation)
    tensor = np.moveaxis((image.astype(np.float32) / 255 - mean) / std, 2, 0)[None]
    expected = model.extract(image)
    found = model.extract_tensor(tensor)
    np.testing.assert_allclose(found.global_, expected.global_, atol=1e-5)
    assert found.local.shape == expected.local.shape
    with pytest.raises(r2former.RequestError, match=f"takes {height} x {width}"):
        model.extract_tensor(tensor[:, :, :-1])
    with pytest.raises(r2former.RequestError, match="not a finite number"):
        model.extract_tensor(np.full_like(tensor, np.nan))


def test_other_sizes(queries: list[str]) -> None:
    small = r2former.Model.load(image_size=(160, 224))
    assert small.input_size == (160, 224) and small.image_size == "160x224"
    assert small.extract(queries[:2]).global_.shape == (2, small.global_dim)
    native = r2former.Model.load(image_size="native")
    features = native.extract([np.zeros((64, 96, 3), np.uint8), np.full((160, 96, 3), 9, np.uint8)])
    few, many = features.counts
    assert few < many == features.local.shape[1] and not features.local[0, few:].any()
    assert features.rows(0).shape == (few, 3 + native.local_dim)


def test_errors_are_the_programs(model: r2former.Model, program: Path, tmp_path: Path) -> None:
    import subprocess

    broken, missing = tmp_path / "broken.jpg", tmp_path / "missing.jpg"
    broken.write_bytes(b"no photograph")
    for path, kind in ((broken, r2former.DataError), (missing, r2former.NotFoundError)):
        with pytest.raises(kind) as caught:
            model.extract(path)
        done = subprocess.run(
            [str(program), "extract", str(path), "--out", str(tmp_path / "out.safetensors")], capture_output=True, text=True
        )
        assert done.stderr.strip().splitlines()[-1] == f"error: {caught.value}"
    with pytest.raises(FileNotFoundError):
        model.extract(missing)
    with pytest.raises(r2former.DataError, match="camera 1: "):
        model.extract([b"nothing"], names=["camera 1"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (np.zeros((6, 5, 7), np.uint8), r"\(6, 5, 7\) is no image"),
        (np.zeros((5,), np.uint8), "neither an image"),
        (np.full((4, 5, 3), 3.5), "floats from 0 to 1"),
        (np.full((4, 5, 3), np.nan), "floats from 0 to 1"),
        (np.zeros((4, 5, 3), np.int64), "int64"),
        (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
        (5, "int is no image"),
        ([None], "NoneType is no image"),
        ({"a": 1}, "dict is no image"),
        ([], "there is no image"),
    ],
)
def test_what_is_no_image(model: r2former.Model, images: Any, said: str) -> None:
    with pytest.raises(r2former.RequestError, match=said):
        model.extract(images)


def test_names_and_batches(model: r2former.Model, image: np.ndarray) -> None:
    assert model.extract(image, names=["frame"]).names == ["frame"]
    with pytest.raises(r2former.RequestError, match="1 names, and more"):
        model.extract([image, image], names=["a"])
    with pytest.raises(r2former.RequestError, match="3 names and 2 images"):
        model.extract([image, image], names=["a", "b", "c"])
    with pytest.raises(r2former.RequestError, match="batch=0"):
        model.extract(image, 0)
    seen: list[tuple[str, int, int]] = []
    model.extract([image] * 3, 2, progress=lambda *step: seen.append(step))
    assert seen == [("images", 2, 3), ("images", 3, 3)]
