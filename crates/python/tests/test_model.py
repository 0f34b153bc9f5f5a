"""Models: loading, importing, saving, reranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import r2former


def test_built_in(model: r2former.Model, run: Any) -> None:
    info = run("model", "info", "--json")
    assert model.info() == info
    assert model.name == info["config"]["name"] and model.fingerprint == info["fingerprint"]
    assert repr(model).startswith("<r2former.Model r2former-tiny on cpu")
    assert "r2former-tiny" in model._repr_html_()


def test_saved_is_the_same(model: r2former.Model, queries: list[str], tmp_path: Path) -> None:
    file = tmp_path / "copy.safetensors"
    model.save(file)
    again = r2former.Model.load(file)
    np.testing.assert_array_equal(again.extract(queries[0]).global_, model.extract(queries[0]).global_)
    file.write_bytes(b"something else")
    with pytest.raises(r2former.ModelError):
        again.info()


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(r2former.NotFoundError, match="missing.safetensors"):
        r2former.Model.load(tmp_path / "missing.safetensors")
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no model")
    with pytest.raises(r2former.ModelError, match="bad.safetensors"):
        r2former.Model.load(bad)
    with pytest.raises(r2former.DeviceError, match="abacus"):
        r2former.Model.load(device="abacus")
    with pytest.raises(r2former.RequestError, match="f64"):
        r2former.Model.load(precision="f64")
    with pytest.raises(r2former.RequestError, match="abcxdef|size"):
        r2former.Model.load(image_size="abcxdef")
    with pytest.raises(r2former.ModelError):
        r2former.Model.import_checkpoint(bad)
    with pytest.raises(r2former.RequestError, match="colour"):
        r2former.Model.import_checkpoint(bad, colour="blue")
    assert issubclass(r2former.NotFoundError, (r2former.Error)) and issubclass(r2former.RequestError, ValueError)


def test_messages_do_not_name_the_programs_options(model: r2former.Model, queries: list[str], tmp_path: Path) -> None:
    short = tmp_path / "short.jpg"
    short.write_bytes(Path(queries[0]).read_bytes()[:2000])
    with pytest.raises(r2former.DataError, match="copy or download it again$"):
        model.extract(short)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(r2former.DataError, match="convert it to JPEG or PNG") as caught:
        model.extract(heic)
    assert "magick" not in str(caught.value)
    (tmp_path / "photo.heic").write_bytes(heic)
    with pytest.raises(r2former.DataError, match="magick"):
        model.extract(tmp_path / "photo.heic")


def test_import(tmp_path: Path, image: np.ndarray) -> None:
    """A ResNet-18 of random weights, as torchvision writes it."""
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    file = tmp_path / "resnet18.pth"
    torch.save(network.state_dict(), file)
    model = r2former.Model.import_checkpoint(file, name="random", image_size=(96, 128))
    assert (model.name, model.input_size) == ("random", (96, 128))
    features = model.extract(image)
    assert np.isfinite(features.global_).all()
    saved = tmp_path / "random.safetensors"
    model.save(saved)
    np.testing.assert_array_equal(r2former.Model.load(saved).extract(image).global_, features.global_)


def test_reranking_is_the_programs(model: r2former.Model, queries: list[str], run: Any) -> None:
    query, references = queries[0], queries[1:4]
    features = model.extract(queries[:4])
    for given in ((query, references), (features[0], features[1:4])):
        found = model.rerank(*given)
        assert found.logits is not None and found.similarity is not None
        for i, reference in enumerate(references):
            pair = run("match", query, reference, "--json")
            assert found.scores[i] == pytest.approx(pair["score"], abs=1e-6)
            np.testing.assert_allclose(found.logits[i], pair["logits"], atol=1e-5)
            assert found.similarity[i] == pytest.approx(pair["similarity"], abs=1e-6)
    assert found.scores[found.order].tolist() == sorted(found.scores, reverse=True)
    rows = model.rerank(features.rows(0), [features.rows(1), features.rows(2)])
    assert rows.similarity is None and rows.scores.tolist() == found.scores[:2].tolist()
    again = r2former.rerank(query, references)
    assert again.scores.tolist() == found.scores.tolist()
    assert [row["reference"] for row in again.to_dict()] == found.order.tolist()
    assert again._repr_html_().count("<tr>") == 4 and "global_ (4, 256)" in repr(features)


def test_methods(model: r2former.Model, queries: list[str]) -> None:
    features = model.extract(queries[:2])
    for method in ("ransac", "mutual"):
        same = model.rerank(features[0], features, method=method)
        assert same.logits is None and same.method == method
        assert same.order[0] == 0 and float(same.scores[0]).is_integer() and same.scores[0] > same.scores[1]
    with pytest.raises(r2former.RequestError, match="vote"):
        model.rerank(features[0], features, method="vote")
    with pytest.raises(r2former.RequestError, match="one image"):
        model.rerank(features, features)
