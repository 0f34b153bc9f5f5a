"""NetVLAD of hloc (cvg/Hierarchical-Localization) from a MATLAB file of its layout with generated weights: VGG16 at its full
widths, fewer clusters and dimensions. And two small files for the reader of the format.

    HLOC=.../Hierarchical-Localization python hloc_code.py [FILE.mat]

With a file's name, it writes a file of the published sizes there instead.
"""

import importlib
import json
import os
import pathlib
import sys
import tempfile
import types

import numpy as np
import torch
import torchvision
from generate import uniform
from safetensors.torch import save_file
from scipy.io import savemat

SIZES = [(64, 96), (97, 75), (128, 128)]
MEAN = [123.5, 116.25, 103.75]


def cell(members):
    array = np.empty((1, len(members)), dtype=object)
    for i, member in enumerate(members):
        array[0, i] = member
    return array


def network(clusters, whitened, shapes):
    """`net` as published: layers by MATLAB's index, of which only those with weights matter."""

    def weights(layer, *sizes, low=None):
        """Generated in MATLAB's order. A bound of its own keeps the variance through ReLUs."""
        out = []
        for i, size in enumerate(sizes):
            name = f"net.layers{{{layer}}}.weights{{{i + 1}}}"
            count = int(np.prod(size))
            bound = low if low else (6.0 / (count / size[-1])) ** 0.5 if len(size) > 2 else 0.1
            shapes[name] = [list(size), bound]
            out.append(uniform(name, (count,), -bound, bound).numpy().reshape(size, order="F"))
        return {"type": "layer", "weights": cell(out)}

    layers = [{"type": "relu"} for _ in range(34)]
    for i, module in enumerate(torchvision.models.vgg16(weights=None).features[:-2]):
        if isinstance(module, torch.nn.Conv2d):
            layers[i] = weights(i + 1, (3, 3, module.in_channels, module.out_channels), (1, module.out_channels))
    layers[30] = weights(31, (512, clusters), (512, clusters), low=1.0)
    layers[33] = weights(34, (1, 1, 512 * clusters, whitened), (1, whitened))
    mean = np.broadcast_to(np.array(MEAN, np.float32), (2, 3, 3))
    return {"layers": cell(layers), "meta": {"normalization": {"averageImage": mean, "interpolation": "bilinear"}}}


def image(index, height, width):
    """Values of 0 to 1, as in hloc_code.rs."""
    out = torch.zeros(1, 3, height, width)
    for size, share in [(32, 0.5), (8, 0.25), (1, 0.25)]:
        rows, columns = -(-height // size), -(-width // size)
        coarse = uniform(f"image {index} {size}", (1, 3, rows, columns), 0.0, share)
        out += coarse.repeat_interleave(size, 2).repeat_interleave(size, 3)[:, :, :height, :width]
    return out


def hloc(file):
    """Its extractor, which reads the file from torch's cache."""
    name = "VGG16-NetVLAD-Pitts30K"
    torch.hub.set_dir(file.parent)
    (file.parent / "netvlad").mkdir()
    file.rename(file.parent / "netvlad" / f"{name}.mat")
    for package, path in [("hloc", "hloc"), ("hloc.utils", "hloc/utils"), ("hloc.extractors", "hloc/extractors")]:
        # The packages import what the extractor does not need.
        sys.modules[package] = types.ModuleType(package)
        sys.modules[package].__path__ = [f"{os.environ['HLOC']}/{path}"]
    module = importlib.import_module("hloc.extractors.netvlad")
    return module.NetVLAD({"model_name": name}).eval()


def export(folder):
    small = {"net": {"layers": cell([{"weights": cell([np.array([[[0.5, 1.5], [2.5, 3.5]]], np.float32), np.int16(-7)])}])}}
    small["net"]["many"] = np.array([(1.0,), (2.0,)], dtype=[("a", object)])
    small["net"]["meta"] = {"mean": np.array([1.0, 2.0]), "text": "not a number"}
    small["alone"] = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    savemat(folder / "nested.mat", small)
    savemat(folder / "nested_compressed.mat", small, do_compression=True)

    outputs, shapes = {}, {}
    net = network(4, 64, shapes)
    with tempfile.TemporaryDirectory() as temporary:
        file = pathlib.Path(temporary) / "struct.mat"
        savemat(file, {"net": net})
        model = hloc(file)
        for index, size in enumerate(SIZES):
            with torch.no_grad():
                row = model._forward({"image": image(index, *size)})["global_descriptor"][0]
            outputs[f"{index}.{size[0]}x{size[1]}"] = row.contiguous()
    save_file(outputs, folder / "hloc.outputs.safetensors", metadata={"weights": json.dumps(shapes)})


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        savemat(sys.argv[1], {"net": network(64, 4096, {})}, do_compression=True)
    else:
        export(pathlib.Path(__file__).resolve().parent)
