"""torchvision's antialiased Resize of tensors, bilinear and bicubic: python tensor_resize.py"""

import json
import pathlib

import numpy
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, functional

HERE = pathlib.Path(__file__).resolve().parent
MODES = dict(tensor_bilinear=InterpolationMode.BILINEAR, tensor_bicubic=InterpolationMode.BICUBIC)
torch.set_num_threads(1)

cases = []
for file, sizes in [
    ("png_rgb.png", [(24, 32), (7, 9), (1, 1), (17, 40)]),
    ("resize_large.png", [(30, 41), (12, 9), (67, 30), (120, 170)]),
]:
    tensor = torch.from_numpy(numpy.array(Image.open(HERE / file))).permute(2, 0, 1).float() / 255
    tensor = functional.normalize(tensor, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    for height, width in sizes:
        case = dict(file=file, height=height, width=width)
        # Every n-th value, so that there are at most about 150.
        case["step"] = 3 * height * width // 150 + 1
        for name, mode in MODES.items():
            small = functional.resize(tensor, [height, width], mode, antialias=True)
            case[name] = [round(v, 7) for v in small.flatten()[:: case["step"]].tolist()]
        cases.append(case)
(HERE / "tensor_resize.json").write_text(json.dumps(cases) + "\n")
