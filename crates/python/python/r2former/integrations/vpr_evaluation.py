"""r2former as a method of VPR-methods-evaluation (https://github.com/gmberton/VPR-methods-evaluation).

``examples/vpr-methods-evaluation.patch`` adds the method to the tool; then

    python main.py --method r2former --database_folder ... --queries_folder ... --device cpu

The tool hands over images that are normalised as ImageNet's; they are turned back into the bytes that they were made of, since
a model of r2former resizes and normalises by itself. Pass no ``--image_size``; photographs of different sizes need
``--batch_size 1``, as with the tool's other methods.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..model import Model

if TYPE_CHECKING:
    from torch.nn import Module
else:
    try:
        from torch.nn import Module
    except ImportError:  # the module can be read without torch, for its documentation
        Module = object

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class R2FormerMethod(Module):  # type: ignore[misc]
    """A torch module: normalised images (b, 3, height, width) to descriptors (b, d).

    Args:
        model: A model or the path of its file; by default that of the environment variable ``R2FORMER_MODEL``, or else the
            built-in one.
    """

    def __init__(self, model: Model | str | None = None) -> None:
        super().__init__()
        model = model or os.environ.get("R2FORMER_MODEL")
        self.r2former = model if isinstance(model, Model) else Model.load(model)

    @property
    def descriptors_dimension(self) -> int:
        """d."""
        return self.r2former.global_dim

    def forward(self, images: Any) -> Any:
        """Descriptors of unit length."""
        import torch

        mean = torch.tensor(_MEAN, device=images.device).view(1, 3, 1, 1)
        std = torch.tensor(_STD, device=images.device).view(1, 3, 1, 1)
        pixels = ((images * std + mean).clamp(0, 1) * 255).round().to(torch.uint8)
        pixels = pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(self.r2former.extract(pixels).global_).to(images.device)


def get_model(model: Model | str | None = None) -> R2FormerMethod:
    """What ``vpr_models.get_model`` returns for the method ``r2former``."""
    return R2FormerMethod(model)
