"""Published global descriptors with random weights, by their own classes: what `peers.py` measures r2former beside.

`SOURCES` names a folder with clones of gmberton/MegaLoc, gmberton/CosPlace and amaralibey/Bag-of-Queries, under those names
without their owner; `benches/run peers` makes them. SALAD is MegaLoc's aggregation at its own sizes, without the linear
layer; MixVPR is written down here, as its repository needs the training framework. Position embeddings are
interpolated beforehand, as r2former does it.
"""

import os
import pathlib
import sys

import torch
import torch.nn.functional as F
import torchvision

SOURCES = pathlib.Path(os.environ.get("SOURCES", pathlib.Path(__file__).resolve().parent.parent / "target/peers/sources"))

# Image size, height by width, of each preset.
SIZES = {"megaloc": (322, 322), "salad": (322, 322), "boq-dinov2": (322, 322), "cosplace-r50": (480, 640), "mixvpr": (320, 320)}


def source(folder):
    path = str(SOURCES / folder)
    if path not in sys.path:
        sys.path.insert(0, path)


class Network(torch.nn.Module):
    """A backbone and an aggregation."""

    def __init__(self, backbone, aggregation):
        super().__init__()
        self.backbone, self.aggregation = backbone, aggregation

    def forward(self, images):
        found = self.aggregation(self.backbone(images))
        return F.normalize(found[0] if isinstance(found, tuple) else found, dim=-1)


class Patches(torch.nn.Module):
    """DINOv2's map of patches without its last norm, as BoQ takes it."""

    def __init__(self, dino):
        super().__init__()
        dino.norm = torch.nn.Identity()
        self.dino = dino

    def forward(self, images):
        return self.dino(images)[0]


def dinov2(size):
    source("MegaLoc")
    from megaloc_model import DINOv2

    return fitted(DINOv2(), size)


def fitted(dino, size):
    """With the position embedding of one size."""
    tokens = 1 + (size[0] // 14) * (size[1] // 14)
    dino.pos_embed = torch.nn.Parameter(torch.randn(1, tokens, dino.embed_dim))
    return dino


def megaloc(size):
    source("MegaLoc")
    from megaloc_model import MegaLoc

    model = MegaLoc()
    fitted(model.backbone, size)
    return model


def salad(size):
    dino = dinov2(size)
    from megaloc_model import FeatureAggregator

    return Network(dino, FeatureAggregator(768, num_clusters=64, cluster_dim=128, token_dim=256, mlp_dim=512, dropout=0))


def boq(size):
    source("Bag-of-Queries/src")
    from boq import BoQ

    aggregation = BoQ(in_channels=768, proj_channels=384, num_queries=64, num_layers=2, row_dim=32)
    return Network(Patches(dinov2(size)), aggregation)


def cosplace(_):
    source("CosPlace")
    from cosplace_model import cosplace_network

    cosplace_network.get_pretrained_torchvision_model = lambda name: getattr(torchvision.models, name.lower())(weights=None)
    return cosplace_network.GeoLocalizationNet("ResNet50", 2048)


class MixVPR(torch.nn.Module):
    """Ali-bey et al. (WACV 2023): `x + W2 relu(W1 norm(x))` over positions, then projections of channels and of positions."""

    def __init__(self, width, positions, channels, rows, depth=4):
        super().__init__()
        mixer = lambda: torch.nn.Sequential(
            torch.nn.LayerNorm(positions),
            torch.nn.Linear(positions, positions),
            torch.nn.ReLU(),
            torch.nn.Linear(positions, positions),
        )
        self.mix = torch.nn.ModuleList([mixer() for _ in range(depth)])
        self.channel_proj = torch.nn.Linear(width, channels)
        self.row_proj = torch.nn.Linear(positions, rows)

    def forward(self, x):
        x = x.flatten(2)
        for mixer in self.mix:
            x = x + mixer(x)
        x = self.channel_proj(x.permute(0, 2, 1)).permute(0, 2, 1)
        return self.row_proj(x).flatten(1)


def mixvpr(size):
    backbone = torch.nn.Sequential(*list(torchvision.models.resnet50(weights=None).children())[:-3])
    return Network(backbone, MixVPR(1024, (size[0] // 16) * (size[1] // 16), 1024, 4))


BUILD = {"megaloc": megaloc, "salad": salad, "boq-dinov2": boq, "cosplace-r50": cosplace, "mixvpr": mixvpr}


def model(name):
    """The network of a preset in evaluation mode, and a random image of its size."""
    torch.manual_seed(0)
    return BUILD[name](SIZES[name]).eval(), torch.randn(1, 3, *SIZES[name])
