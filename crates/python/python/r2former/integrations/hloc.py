"""r2former in hloc (https://github.com/cvg/Hierarchical-Localization): global descriptors, local features, their matches.

::

    from hloc import extract_features, match_features, pairs_from_retrieval
    from r2former.integrations import hloc as r2former_hloc

    features = extract_features.main(r2former_hloc.register(), images, outputs)
    pairs_from_retrieval.main(features, outputs / "pairs.txt", num_matched=20, db_prefix="db", query_prefix="query")

    extractor, matcher = r2former_hloc.register_local()
    local = extract_features.main(extractor, images, outputs)
    match_features.main(matcher, outputs / "pairs.txt", local, matches=outputs / "matches.h5")

hloc finds extractors and matchers by module name: the functions put these where it looks, as ``hloc.extractors.r2former``,
``hloc.extractors.r2former_local`` and ``hloc.matchers.r2former``. Images come at their own size, since the model resizes them
itself; hloc does not turn photographs upright by their EXIF.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model import Model

#: The configuration, with the keys of ``hloc.extract_features.confs``.
CONF: dict[str, Any] = {
    "output": "global-feats-r2former",
    "model": {"name": "r2former"},
    "preprocessing": {"resize_max": None},
}

#: How a model is loaded, as of :meth:`r2former.Model.load`.
_LOADED: dict[str, Any] = {"model": None, "device": "cpu", "image_size": None, "precision": None}


def _load(conf: dict[str, Any]) -> Model:
    return Model.load(conf["model"], **{key: conf[key] for key in ("device", "image_size", "precision")})


def _pixels(images: Any) -> npt.NDArray[np.uint8]:
    """RGB from 0 to 1, (b, 3, height, width): exactly the bytes that hloc divided by 255, (b, height, width, 3)."""
    import torch

    images = (images.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    found: npt.NDArray[np.uint8] = images.permute(0, 2, 3, 1).contiguous().numpy()
    return found


def _found_as(module_name: str, cls: type) -> None:
    """Lets hloc find a class, which takes the one that a module defines."""
    cls.__module__ = module_name
    module = ModuleType(module_name)
    setattr(module, cls.__name__, cls)
    sys.modules[module_name] = module


def register(model: str | None = None, name: str = "r2former", **conf: Any) -> dict[str, Any]:
    """Makes the extractor of global descriptors known to hloc, and its configuration a choice of ``extract_features``.

    Args:
        model: A model file; the built-in model by default.
        name: What hloc calls it.
        **conf: ``device``, ``image_size`` and ``precision``, as of :meth:`r2former.Model.load`.

    Returns:
        A configuration for ``extract_features.main``.
    """
    from hloc import extract_features
    from hloc.utils.base_model import BaseModel

    class R2Former(BaseModel):  # type: ignore[misc]
        default_conf = _LOADED
        required_inputs = ["image"]

        def _init(self, conf: dict[str, Any]) -> None:
            self.r2former = _load(conf)

        def _forward(self, data: dict[str, Any]) -> dict[str, Any]:
            import torch

            found = self.r2former.extract(_pixels(data["image"])).global_
            return {"global_descriptor": torch.from_numpy(found).to(data["image"].device)}

    _found_as(f"hloc.extractors.{name}", R2Former)
    own = {**CONF, "output": f"global-feats-{name}", "model": {"name": name, "model": model, **conf}}
    extract_features.confs[name] = own
    return own


def register_local(
    model: str | None = None, name: str = "r2former", verify: bool = True, **conf: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Makes the extractor of local features and their matcher known to hloc.

    Keypoints are the centres of the patches that the model's attention selects: they say where, to half a patch, so their
    matches verify that two images show the same place, and are too coarse for poses of centimetres.

    Args:
        model: A model file with local features; the built-in model by default.
        name: What hloc calls the matcher; the extractor is called that with ``_local``.
        verify: Keep only the matches that one homography, or the model's similarity, explains (RANSAC), not all mutual nearest neighbours.
        **conf: ``device``, ``image_size`` and ``precision``, as of :meth:`r2former.Model.load`.

    Returns:
        Configurations for ``extract_features.main`` and ``match_features.main``.
    """
    from hloc import extract_features, match_features
    from hloc.utils.base_model import BaseModel

    class R2FormerLocal(BaseModel):  # type: ignore[misc]
        default_conf = _LOADED
        required_inputs = ["image"]

        def _init(self, conf: dict[str, Any]) -> None:
            self.r2former = _load(conf)

        def _forward(self, data: dict[str, Any]) -> dict[str, Any]:
            import torch

            images = _pixels(data["image"])
            # hloc extracts one image at a time: images have different numbers of features.
            rows = self.r2former.extract(images[:1]).rows()
            # hloc counts from the centre of the first pixel.
            keypoints = self.r2former.keypoints(rows, images.shape[1:3]) - 0.5
            found = {"keypoints": keypoints, "scores": rows[:, 2], "descriptors": rows[:, 3:].T}
            device = data["image"].device
            return {key: torch.from_numpy(np.array(value)[None]).to(device) for key, value in found.items()}

    class R2FormerMatcher(BaseModel):  # type: ignore[misc]
        default_conf = {**_LOADED, "verify": True}
        required_inputs = [
            f"{key}{i}" for i in (0, 1) for key in ("image", "keypoints", "scores", "descriptors")
        ]

        def _init(self, conf: dict[str, Any]) -> None:
            self.r2former = _load(conf)

        def _forward(self, data: dict[str, Any]) -> dict[str, Any]:
            import torch

            query, reference = self._rows(data, 0), self._rows(data, 1)
            matches, scores = np.full(len(query), -1), np.zeros(len(query), np.float32)
            if len(query) and len(reference):
                found = self.r2former.match(query, reference)
                kept = found.inliers if self.conf["verify"] else np.ones(len(found), bool)
                matches[found.rows[kept, 0]] = found.rows[kept, 1]
                # From 0 to 1, as hloc's nearest neighbours have them.
                scores[found.rows[kept, 0]] = (found.similarity[kept] + 1) / 2
            made = {"matches0": matches, "matching_scores0": scores}
            device = data["keypoints0"].device
            return {key: torch.from_numpy(value[None]).to(device) for key, value in made.items()}

        def _rows(self, data: dict[str, Any], i: int) -> npt.NDArray[np.float32]:
            """The local features of one image, (k, 3 + d'), as the model made them."""
            of = {key: data[f"{key}{i}"][0].cpu().numpy() for key in ("keypoints", "scores", "descriptors")}
            scale, corner = self.r2former._placed(tuple(data[f"image{i}"].shape[-2:]))
            places = (of["keypoints"] + 0.5) / scale - corner
            rows = np.concatenate([places, of["scores"][:, None], of["descriptors"].T], axis=1)
            return np.ascontiguousarray(rows, np.float32)

    _found_as(f"hloc.extractors.{name}_local", R2FormerLocal)
    _found_as(f"hloc.matchers.{name}", R2FormerMatcher)
    extractor = {**CONF, "output": f"feats-{name}", "model": {"name": f"{name}_local", "model": model, **conf}}
    matcher = {
        "output": f"matches-{name}",
        "model": {"name": name, "model": model, "verify": verify, **conf},
    }
    extract_features.confs[f"{name}_local"] = extractor
    match_features.confs[name] = matcher
    return extractor, matcher
