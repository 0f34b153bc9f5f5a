"""hloc: descriptors, local features and matches as its files have them; against hloc itself where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import r2former


def _fake_hloc() -> dict[str, ModuleType]:
    """As much of hloc as the integration touches."""
    torch = pytest.importorskip("torch")
    hloc, utils = ModuleType("hloc"), ModuleType("hloc.utils")
    extract, match = ModuleType("hloc.extract_features"), ModuleType("hloc.match_features")
    base = ModuleType("hloc.utils.base_model")

    class BaseModel(torch.nn.Module):  # type: ignore[name-defined, misc]
        default_conf: dict[str, Any] = {}
        required_inputs: list[str] = []

        def __init__(self, conf: dict[str, Any]) -> None:
            super().__init__()
            self.conf = {**self.default_conf, **conf}
            self._init(self.conf)

        def forward(self, data: dict[str, Any]) -> Any:
            assert all(key in data for key in self.required_inputs)
            return self._forward(data)

    base.BaseModel = BaseModel  # type: ignore[attr-defined]
    extract.confs, match.confs = {}, {}  # type: ignore[attr-defined]
    hloc.extract_features, hloc.match_features = extract, match  # type: ignore[attr-defined]
    modules = [hloc, utils, extract, match, base]
    return {module.__name__: module for module in modules}


@pytest.fixture
def integration(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, module in _fake_hloc().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("extractors.r2former", "extractors.r2former_local", "matchers.r2former"):
        monkeypatch.setitem(sys.modules, f"hloc.{name}", ModuleType("replaced"))
    from r2former.integrations import hloc

    return hloc


def _tensor(image: np.ndarray) -> Any:
    """An image as hloc's dataset makes it."""
    import torch

    return torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1) / 255.0)[None]


def test_global_descriptors(integration: Any, model: r2former.Model, image: np.ndarray) -> None:
    conf = integration.register()
    assert conf["preprocessing"] == {"resize_max": None} and conf["output"] == "global-feats-r2former"
    cls = sys.modules["hloc.extractors.r2former"].R2Former  # type: ignore[attr-defined]
    assert cls.required_inputs == ["image"] and cls.__module__ == "hloc.extractors.r2former"
    found = cls(conf["model"]).eval()({"image": _tensor(image)})["global_descriptor"]
    np.testing.assert_array_equal(found.numpy(), model.extract(image).global_)


def test_matches(integration: Any, model: r2former.Model, image: np.ndarray) -> None:
    extractor, matcher = integration.register_local()
    local = sys.modules["hloc.extractors.r2former_local"].R2FormerLocal  # type: ignore[attr-defined]
    matches = sys.modules["hloc.matchers.r2former"].R2FormerMatcher  # type: ignore[attr-defined]
    extract = local(extractor["model"]).eval()
    # The second image is a part of the first, in another size and shape.
    images = [image, image[:, 20:]]
    data: dict[str, Any] = {}
    for i, one in enumerate(images):
        found = extract({"image": _tensor(one)})
        rows = model.extract(one).rows()
        assert found["keypoints"].shape == (1, len(rows), 2) and found["descriptors"].shape == (1, model.local_dim, len(rows))
        height, width = one.shape[:2]
        keypoints = found["keypoints"][0].numpy()
        assert keypoints.min() >= 0 and (keypoints <= [width - 1, height - 1]).all()
        data.update({f"{key}{i}": value for key, value in found.items()})
        # As hloc's pairs: images stand for their size.
        data[f"image{i}"] = found["keypoints"].new_empty(1, 1, height, width)
    direct = model.match(*images)
    for verify in (False, True):
        made = matches({**matcher["model"], "verify": verify}).eval()(data)
        matched, scores = made["matches0"][0].numpy(), made["matching_scores0"][0].numpy()
        kept = direct.inliers if verify else np.ones(len(direct), bool)
        assert matched.shape == scores.shape == (len(model.extract(image).rows()),)
        np.testing.assert_array_equal(np.flatnonzero(matched >= 0), direct.rows[kept, 0])
        np.testing.assert_array_equal(matched[matched >= 0], direct.rows[kept, 1])
        np.testing.assert_allclose(scores[matched >= 0], (direct.similarity[kept] + 1) / 2, atol=1e-6)
        assert (scores[matched < 0] == 0).all()
    # An image without local features has no matches.
    for key in ("keypoints", "scores"):
        data[f"{key}1"] = data[f"{key}1"][:, :0]
    data["descriptors1"] = data["descriptors1"][:, :, :0]
    assert (matches(matcher["model"]).eval()(data)["matches0"] == -1).all()


def test_an_image_matches_itself(model: r2former.Model, image: np.ndarray) -> None:
    found = model.match(image, image)
    np.testing.assert_array_equal(found.rows[:, 0], found.rows[:, 1])
    assert len(found) > 4 and found.inliers.all() and found.homography is not None
    homography = found.homography / found.homography[2, 2]
    np.testing.assert_allclose(homography, np.eye(3), atol=1e-3)
    np.testing.assert_allclose(found.similarity, 1, atol=1e-3)
    scores = model.rerank(image, [image], method="ransac").scores
    assert scores[0] == pytest.approx(found.inliers.sum(), rel=1e-3) and "inliers" in repr(found)
    with pytest.raises(r2former.RequestError, match="two images"):
        model.match(image, [image, image])


def test_keypoints_are_where_the_image_is(model: r2former.Model) -> None:
    rng = np.random.default_rng(3)
    height, width = 150, 400
    noisy = np.full((height, width, 3), 90, np.uint8)
    noisy[20:120, 280:380] = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
    for loaded in (model, r2former.Model.load(image_size="longest:320"), r2former.Model.load(image_size="shorter:320:crop")):
        rows = loaded.extract(noisy).rows()
        at = loaded.keypoints(rows, (height, width))
        assert (at > 0).all() and (at < [width, height]).all()


def test_hloc_itself(town: r2former.Town, tmp_path: Path) -> None:
    """Its commands from images to matches; every query's best reference is one that was taken nearby."""
    h5py = pytest.importorskip("h5py")
    extract_features = pytest.importorskip("hloc.extract_features")
    match_features = pytest.importorskip("hloc.match_features")
    from hloc import pairs_from_retrieval
    from hloc.utils.io import get_matches
    from r2former.integrations import hloc

    images = Path(town.dir)
    features = extract_features.main(hloc.register(), images, tmp_path)
    pairs = tmp_path / "pairs.txt"
    pairs_from_retrieval.main(features, pairs, num_matched=3, query_prefix="queries", db_prefix="database")
    extractor, matcher = hloc.register_local()
    local = extract_features.main(extractor, images, tmp_path)
    found = match_features.main(matcher, pairs, local, matches=tmp_path / "matches.h5")
    model = r2former.Model.load()
    for line in pairs.read_text().splitlines():
        query, reference = line.split()
        matches, scores = get_matches(found, query, reference)
        with h5py.File(local, "r") as file:
            assert matches[:, 0].max(initial=-1) < len(file[query]["keypoints"])
            assert matches[:, 1].max(initial=-1) < len(file[reference]["keypoints"])
        # Half precision moves a keypoint by less than a patch, and ties between neighbours.
        direct = int(model.match(str(images / query), str(images / reference)).inliers.sum())
        assert abs(len(matches) - direct) <= max(5, 0.2 * direct), (len(matches), direct)
        assert ((scores > 0) & (scores <= 1)).all()
