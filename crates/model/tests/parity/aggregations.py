"""MegaLoc, DINOv2-SALAD and BoQ by their own code, at reduced sizes with generated weights.

Their repositories are on PYTHONPATH, that of SALAD last: gmberton/MegaLoc, amaralibey/Bag-of-Queries (also its src),
serizba/salad. Nothing of them is copied; SALAD's code is GPL-3.0 and only run here.
"""

import json
from functools import partial

import megaloc_model
import torch
from boq import BoQ
from dinov2_code import PLAIN, transformer
from generate import fill, image
from safetensors.torch import save_file

SIZES = [(98, 98), (126, 84), (322, 322)]
# Three heads of 64, of which imports guess the number from the width.
DIM, DEPTH, HEADS = 192, 2, 3


class Network(torch.nn.Module):
    """How the training code of SALAD and BoQ names its two parts."""

    def __init__(self, backbone, aggregator):
        super().__init__()
        self.backbone = backbone
        self.aggregator = aggregator

    def forward(self, images):
        found = self.aggregator(self.backbone(images))
        return found[0] if isinstance(found, tuple) else found


def megaloc():
    megaloc_model.DINOv2 = partial(megaloc_model.DINOv2, embed_dim=DIM, depth=DEPTH, num_heads=HEADS)
    return megaloc_model.MegaLoc(feat_dim=96, num_clusters=16, cluster_dim=24, token_dim=32, mlp_dim=64)


def salad():
    from models.aggregators.salad import SALAD
    from models.backbones import dinov2

    dinov2.DINOV2_ARCHS["dinov2_vitb14"] = DIM
    backbone = dinov2.DINOv2(num_trainable_blocks=1, norm_layer=True, return_token=True)
    return Network(backbone, SALAD(num_channels=DIM, num_clusters=16, cluster_dim=24, token_dim=32))


def boq():
    from backbones import DinoV2

    aggregator = BoQ(in_channels=DIM, proj_channels=128, num_queries=12, num_layers=2, row_dim=4)
    return Network(DinoV2(unfreeze_n_blocks=1), aggregator)


def export(folder):
    torch.hub.load = lambda *_, **__: transformer(DIM, DEPTH, HEADS, **PLAIN)
    outputs, shapes = {}, {}
    for name, build in [("megaloc", megaloc), ("salad", salad), ("boq", boq)]:
        model = build()
        shapes[name] = json.dumps(fill(model))
        for height, width in SIZES:
            with torch.no_grad():
                outputs[f"{name}.{height}x{width}"] = model(image(height, width))[0].contiguous()
    save_file(outputs, folder / "aggregations.outputs.safetensors", metadata=shapes)
