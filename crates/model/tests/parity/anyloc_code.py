"""AnyLoc-VLAD-DINOv2 by its own code over DINOv2's, with a small transformer and vocabulary of generated weights.

    XFORMERS_DISABLED=1 PYTHONPATH=.../dinov2:.../AnyLoc-DINO python anyloc_code.py

where AnyLoc-DINO is a clone of AnyLoc/DINO. Also writes the vocabulary as published, a tensor alone.
"""

import json
import pathlib
import sys
import types

import torch
from dinov2_code import PLAIN, transformer
from generate import fill, image, uniform
from safetensors.torch import save_file

SIZES = [(98, 98), (126, 84), (322, 322)]
DIM, DEPTH, HEADS, LAYER, CLUSTERS = 48, 4, 3, 2, 6
VOCABULARY = f"dinov2_small_l{LAYER}_value_c{CLUSTERS}_urban_c_centers.pt"


class KMeans:
    """Only holds the centres when a vocabulary is given."""

    def __init__(self, *_, **__):
        self.centroids = None


def export(folder):
    sys.modules["fast_pytorch_kmeans"] = types.ModuleType("fast_pytorch_kmeans")
    sys.modules["fast_pytorch_kmeans"].KMeans = KMeans
    import model_wrapper

    torch.hub.load = lambda *_, **__: transformer(DIM, DEPTH, HEADS, **PLAIN)
    centres = uniform("centres", (CLUSTERS, DIM), -0.3, 0.3)
    torch.save(centres, folder / VOCABULARY)
    model = model_wrapper.AnyLocVladDinov2(centres, dino_model="dinov2_small", layer=LAYER, num_c=CLUSTERS)
    shapes = {"dinov2": json.dumps(fill(model.dino_extractor.dino_model))}
    outputs = {f"{h}x{w}": model(image(h, w))[0].contiguous() for h, w in SIZES}
    for name, row in outputs.items():
        used = (row.reshape(CLUSTERS, DIM).norm(dim=1) > 0).sum()
        print(f"{name}: {used} clusters are used")
    save_file(outputs, folder / "anyloc.outputs.safetensors", metadata=shapes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    export(pathlib.Path(__file__).resolve().parent)
