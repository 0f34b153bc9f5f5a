"""CosPlace (EigenPlaces is the identical network), MixVPR, the NetVLAD of Patch-NetVLAD and BoQ over a ResNet by their own
classes, with generated weights.

    COSPLACE=gmberton/CosPlace MIXVPR=amaralibey/MixVPR PATCHNETVLAD=QVPR/Patch-NetVLAD BOQ=amaralibey/Bag-of-Queries \
        python cnns.py [FOLDER PHOTO...]

where each variable is the folder of a clone.

Names and shapes of the weights go into the header of the outputs; both sides generate the values from the names. With a
folder and photographs, it instead writes files of full size in the published layouts there, the photographs' descriptors,
and prints images per second on two threads.
"""

import importlib.util
import json
import os
import pathlib
import sys
import time
import types

import numpy as np
import torch
import torchvision
from generate import uniform
from safetensors.torch import save_file

SIZES = [(64, 96), (97, 75), (128, 128)]
PICTURES = 3


def module(folder, path):
    """A Python file of a clone."""
    sys.path.insert(0, os.environ[folder])
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), f"{os.environ[folder]}/{path}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


cosplace = module("COSPLACE", "cosplace_model/cosplace_network")
cosplace.get_pretrained_torchvision_model = lambda name: getattr(torchvision.models, name.lower())(weights=None)
mixvpr = module("MIXVPR", "models/aggregators/mixvpr")
resnet = module("MIXVPR", "models/backbones/resnet")
# Used to initialise clusters only.
for name, member in [("faiss", None), ("sklearn", None), ("sklearn.neighbors", "NearestNeighbors")]:
    sys.modules[name] = types.ModuleType(name)
    if member:
        setattr(sys.modules[name], member, None)
netvlad = module("PATCHNETVLAD", "patchnetvlad/models/netvlad")
boq = module("BOQ", "src/boq")
boq_backbones = module("BOQ", "src/backbones")


class MixVPR(torch.nn.Module):
    """Backbone and aggregator under the names of `VPRModel`, which needs the training framework."""

    def __init__(self, channels, rows):
        super().__init__()
        self.backbone = resnet.ResNet("resnet50", pretrained=False, layers_to_crop=[4])
        self.aggregator = mixvpr.MixVPR(1024, 20, 20, out_channels=channels, mix_depth=4, mlp_ratio=1, out_rows=rows)

    def forward(self, x):
        return self.aggregator(self.backbone(x))


class PatchNetVLAD(torch.nn.Module):
    """The parts of `get_model` whose file is published; `dim` is None without whitening."""

    def __init__(self, clusters, dim):
        super().__init__()
        self.encoder = torch.nn.Sequential(*list(torchvision.models.vgg16(weights=None).features.children())[:-2])
        self.pool = netvlad.NetVLAD(num_clusters=clusters, dim=512)
        if dim:
            self.WPCA = torch.nn.Sequential(torch.nn.Conv2d(512 * clusters, dim, 1))

    def forward(self, x):
        x = self.pool(self.encoder(x))
        if hasattr(self, "WPCA"):
            x = torch.nn.functional.normalize(self.WPCA(x[:, :, None, None]).flatten(1), dim=-1)
        return x


class BoQ(torch.nn.Module):
    """`VPRModel` of the published hubconf.py, with the queries and rows of the published model or fewer."""

    def __init__(self, queries, rows, channels):
        super().__init__()
        self.backbone = boq_backbones.ResNet("resnet50", pretrained=False, unfreeze_n_blocks=0)
        self.aggregator = boq.BoQ(1024, proj_channels=channels, num_queries=queries, num_layers=2, row_dim=rows)

    def forward(self, x):
        return self.aggregator(self.backbone(x))[0]


def weight(name, shape):
    """As in cnns.rs. Convolutions keep the variance through ReLUs, so that no layer fades out."""
    last = name.rsplit(".", 1)[-1]
    if last == "num_batches_tracked":
        return torch.tensor(7)
    if last == "p":
        return uniform(name, shape, 2.5, 3.5)
    if name == "pool.conv.weight":
        return uniform(name, shape, -4.0, 4.0)
    if last == "running_var":
        return uniform(name, shape, 0.7, 1.3)
    if len(shape) > 1:
        bound = (6.0 / int(np.prod(shape[1:]))) ** 0.5
        return uniform(name, shape, -bound, bound)
    # The last norm of a block is small, or a hundred blocks would add up.
    return uniform(name, shape, 0.2, 0.5) if last == "weight" else uniform(name, shape, -0.1, 0.1)


def picture(index, height, width):
    """A normalised picture with structure at every scale, as in cnns.rs: (1, 3, height, width)."""
    out = torch.zeros(1, 3, height, width)
    for cell, low in [(32, -1.2), (8, -0.6), (2, -0.3), (1, -0.1)]:
        rows, columns = -(-height // cell), -(-width // cell)
        coarse = uniform(f"picture {index} {cell}", (1, 3, rows, columns), low, -low)
        fine = coarse.repeat_interleave(cell, 2).repeat_interleave(cell, 3)
        out += fine[:, :, :height, :width]
    return out


def case(outputs, shapes, name, model, sizes):
    state = model.eval().state_dict()
    shapes[name] = json.dumps({key: list(value.shape) for key, value in state.items()})
    model.load_state_dict({key: weight(key, tuple(value.shape)) for key, value in state.items()})
    with torch.no_grad():
        for index, (height, width) in enumerate(sizes):
            outputs[f"{name}.{index}.{height}x{width}"] = model(picture(index, height, width))[0].contiguous()
    rows = [value for key, value in outputs.items() if key.startswith(name + ".")]
    print(name, "cosine of first and second", float(rows[0] @ rows[1]), "largest", float(rows[0].abs().max()))


def export(folder):
    outputs, shapes = {}, {}
    for backbone, dim in [("ResNet18", 512), ("ResNet50", 2048), ("ResNet101", 128), ("ResNet152", 64), ("VGG16", 512)]:
        case(outputs, shapes, f"{backbone}_{dim}", cosplace.GeoLocalizationNet(backbone, dim), SIZES)
    for channels, rows in [(1024, 4), (256, 2), (64, 2)]:
        case(outputs, shapes, f"MixVPR_{channels * rows}", MixVPR(channels, rows), [(320, 320)] * PICTURES)
    for clusters, dim in [(8, 128), (2, None)]:
        case(outputs, shapes, f"NetVLAD_{clusters}_{dim}", PatchNetVLAD(clusters, dim), SIZES)
    case(outputs, shapes, "BoQ_512", BoQ(12, 4, 128), SIZES)
    save_file(outputs, folder / "cnns.outputs.safetensors", metadata=shapes)


def full_size(folder, photos):
    """Files as published, and what PyTorch makes of photographs."""
    from PIL import Image
    from torchvision import transforms

    torch.set_num_threads(2)
    models = {
        "ResNet18_512_cosplace.pth": (cosplace.GeoLocalizationNet("ResNet18", 512), (480, 640)),
        "ResNet50_2048_cosplace.pth": (cosplace.GeoLocalizationNet("ResNet50", 2048), (480, 640)),
        "VGG16_512_eigenplaces.pth": (cosplace.GeoLocalizationNet("VGG16", 512), (480, 640)),
        "resnet50_MixVPR_4096_channels(1024)_rows(4).ckpt": (MixVPR(1024, 4), (320, 320)),
        "mapillary_WPCA512.pth.tar": (PatchNetVLAD(64, 512), (480, 640)),
    }
    for file, (model, size) in models.items():
        state = {key: weight(key, tuple(value.shape)) for key, value in model.eval().state_dict().items()}
        model.load_state_dict(state)
        torch.save({"epoch": 3, "state_dict": state} if file.endswith(".tar") else state, folder / file)
        resize = transforms.Resize(size, transforms.InterpolationMode.BILINEAR)
        normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        prepare = transforms.Compose([resize, transforms.ToTensor(), normal])
        inputs = [prepare(Image.open(photo).convert("RGB"))[None] for photo in photos]
        with torch.no_grad():
            rows = [model(x) for x in inputs]
            times = []
            for _ in range(5):
                start = time.perf_counter()
                for x in inputs:
                    model(x)
                times.append((time.perf_counter() - start) / len(inputs))
        save_file({"global": torch.cat(rows)}, folder / f"{file}.outputs.safetensors")
        print(f"{file}: {1 / min(times):.2f} images/s")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        full_size(pathlib.Path(sys.argv[1]), sys.argv[2:])
    else:
        torch.set_num_threads(1)
        export(pathlib.Path(__file__).resolve().parent)
