"""r2former as a global descriptor of hloc (https://github.com/cvg/Hierarchical-Localization).

::

    from hloc import extract_features, pairs_from_retrieval
    from r2former.integrations import hloc as r2former_hloc

    conf = r2former_hloc.register()
    features = extract_features.main(conf, images, outputs)
    pairs_from_retrieval.main(features, outputs / "pairs.txt", num_matched=20, db_prefix="db", query_prefix="query")

hloc finds extractors by module name: :func:`register` puts this one where it looks, as ``hloc.extractors.r2former``. Images
come at their own size, since the model resizes them itself; hloc does not turn photographs upright by their EXIF.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..model import Model

#: The configuration, with the keys of ``hloc.extract_features.confs``.
CONF: dict[str, Any] = {
    "output": "global-feats-r2former",
    "model": {"name": "r2former"},
    "preprocessing": {"resize_max": None},
}


def register(model: str | None = None, name: str = "r2former", **conf: Any) -> dict[str, Any]:
    """Makes the extractor known to hloc, and its configuration a choice of ``extract_features``.

    Args:
        model: A model file; the built-in model by default.
        name: What hloc calls it.
        **conf: ``device``, ``image_size`` and ``precision``, as of :meth:`r2former.Model.load`.

    Returns:
        A configuration for ``extract_features.main``.
    """
    from hloc import extract_features
    from hloc.utils.base_model import BaseModel

    module_name = f"hloc.extractors.{name}"

    class R2Former(BaseModel):  # type: ignore[misc]
        default_conf = {"model": None, "device": "cpu", "image_size": None, "precision": None}
        required_inputs = ["image"]

        def _init(self, conf: dict[str, Any]) -> None:
            options = {key: conf[key] for key in ("device", "image_size", "precision")}
            self.r2former = Model.load(conf["model"], **options)

        def _forward(self, data: dict[str, Any]) -> dict[str, Any]:
            import torch

            # RGB from 0 to 1, (b, 3, height, width): exactly the bytes that hloc divided by 255.
            images = data["image"].detach().cpu().clamp(0, 1)
            images = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
            found = self.r2former.extract(np.asarray(images)).global_
            return {"global_descriptor": torch.from_numpy(found).to(data["image"].device)}

    # hloc takes the one class that the module defines.
    R2Former.__module__ = module_name
    module = ModuleType(module_name)
    module.R2Former = R2Former  # type: ignore[attr-defined]
    sys.modules[module_name] = module
    own = {**CONF, "output": f"global-feats-{name}", "model": {"name": name, "model": model, **conf}}
    extract_features.confs[name] = own
    return own
