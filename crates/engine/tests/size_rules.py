"""Network inputs of photographs in their own shape, as the code of published models makes them: python size_rules.py

Each rule is written with the calls of that code: PIL, or torchvision on tensors. Needs Pillow before 13 (see pil_resize.py in
crates/data/tests/parity). Of each input the file has its size and 48 values, spread over it.
"""

import json
import pathlib

import numpy
import PIL
import torch
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional as F
from torchvision.transforms.functional import InterpolationMode

assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes in another order"
HERE = pathlib.Path(__file__).resolve().parent
NORMALISE = transforms.Compose(
    [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
)


def noise(height, width):
    """Bytes of a linear congruential generator."""
    state, out = 1, bytearray()
    for _ in range(height * width * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    return Image.fromarray(numpy.frombuffer(bytes(out), dtype=numpy.uint8).reshape(height, width, 3))


def native(image):
    """CosPlace and EigenPlaces."""
    return NORMALISE(image)


def shorter(image, side):
    """CosPlace with resize_test_imgs."""
    return transforms.Compose([transforms.Resize(side, antialias=True), NORMALISE])(image)


def longest(image, side):
    """hloc's resize_max with its PIL interpolation."""
    width, height = image.size
    if max(width, height) > side:
        scale = side / max(width, height)
        image = image.resize(tuple(int(round(x * scale)) for x in (width, height)), Image.BILINEAR)
    return NORMALISE(image)


def megaloc(image):
    """MegaLoc: any size, to the nearest multiples of 14."""
    tensor = NORMALISE(image)
    size = [round(side / 14) * 14 for side in tensor.shape[-2:]]
    return F.resize(tensor, size, antialias=True)


def anyloc(image, side):
    """AnyLoc: the longer side at most `side`, then a central crop to multiples of 14."""
    tensor = NORMALISE(image)
    height, width = tensor.shape[-2:]
    if max(height, width) > side:
        if height == max(height, width):
            height, width = side, int(width * side / height)
        else:
            height, width = int(height * side / width), side
        tensor = F.resize(tensor, [height, width], interpolation=InterpolationMode.BICUBIC)
    return F.center_crop(tensor, [height // 14 * 14, width // 14 * 14])


SIZES = [(97, 131), (181, 97), (120, 161), (301, 287), (64, 64), (90, 250)]
cases = []
for rule, step, resize, make in [
    ("native", 1, "antialias", native),
    ("shorter:64", 1, "antialias", lambda image: shorter(image, 64)),
    ("shorter:150", 1, "antialias", lambda image: shorter(image, 150)),
    ("longest:100", 1, "antialias", lambda image: longest(image, 100)),
    ("longest:161", 1, "antialias", lambda image: longest(image, 161)),
    ("native", 14, "tensor_bilinear", megaloc),
    ("longest:150:crop", 14, "tensor_bicubic", lambda image: anyloc(image, 150)),
    ("longest:320:crop", 14, "tensor_bicubic", lambda image: anyloc(image, 320)),
]:
    for size in SIZES:
        tensor = make(noise(*size))
        flat = tensor.flatten()
        at = [i * (len(flat) - 1) // 47 for i in range(48)]
        values = [round(float(flat[i]), 7) for i in at]
        cases.append(
            dict(rule=rule, step=step, resize=resize, photograph=size, input=list(tensor.shape[-2:]), values=values)
        )
(HERE / "size_rules.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
