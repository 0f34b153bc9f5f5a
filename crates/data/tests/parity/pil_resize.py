"""PIL's bilinear and bicubic resizing, as a checksum (FNV-1a, 64 bits) of all pixels: python pil_resize.py

Needs Pillow before 13, which resizes down first where the height shrinks more than the width; the versions that published
models were evaluated with resize across first.
"""

import json
import pathlib

import numpy
import PIL
from PIL import Image

assert int(PIL.__version__.split(".")[0]) < 13, "Pillow 13 resizes in another order"
HERE = pathlib.Path(__file__).resolve().parent
MODES = dict(antialias=Image.BILINEAR, antialias_bicubic=Image.BICUBIC)


def noise(height, width):
    """Bytes of a linear congruential generator; each third row black or white, for values that overshoot."""
    state, out = 1, bytearray()
    for _ in range(height * width * 3):
        state = (state * 1664525 + 1013904223) % 2**32
        out.append(state >> 24)
    image = numpy.frombuffer(bytes(out), dtype=numpy.uint8).reshape(height, width, 3).copy()
    image[::3] = (image[::3] > 127) * 255
    return Image.fromarray(image)


def checksum(image):
    value = 0xCBF29CE484222325
    for byte in image.tobytes():
        value = ((value ^ byte) * 0x100000001B3) % 2**64
    return f"{value:016x}"


cases = []
for size, targets in [
    ((97, 131), [(97, 131), (97, 60), (40, 131), (24, 32), (1, 1), (7, 200), (150, 33), (194, 262)]),
    ((480, 640), [(224, 224), (322, 322), (480, 641)]),
    ((3, 2), [(1, 1), (8, 9), (2, 2), (3, 1)]),
    ((1, 500), [(1, 3), (2, 499)]),
]:
    image = noise(*size)
    for height, width in targets:
        sums = {name: checksum(image.resize((width, height), mode)) for name, mode in MODES.items()}
        cases.append(dict(size=size, height=height, width=width, **sums))
(HERE / "pil_resize.json").write_text(json.dumps(cases, indent=0) + "\n")
