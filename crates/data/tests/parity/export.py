"""Writes this folder's reference data with PIL, torch and pyproj.

Run: python export.py   (pillow 13.0.0, torch 2.15.0, pyproj 3.7.2, numpy 2.4.6)
Deterministic but for the libraries' versions; the Rust test reads the files and needs no Python.
"""

import io
import json
import pathlib

import numpy
import pyproj
import torch
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
rng = numpy.random.default_rng(7)


def scene(width, height):
    """Smooth colour with edges and a little noise: like a photograph, where noise alone is not."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    red = 128 + 90 * numpy.sin(x / 9) + 30 * numpy.cos(y / 5)
    green = 255 * (x / max(width - 1, 1)) * (y / max(height - 1, 1))
    blue = 128 + 100 * numpy.sin((x + 2 * y) / 17)
    image = numpy.stack([red, green, blue], -1)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 30, 40)
    image[height // 2 :, 2 * width // 3 :] = (20, 60, 200)
    image += rng.normal(0, 4, image.shape)
    return Image.fromarray(image.clip(0, 255).astype("uint8"))


def dump(name, image):
    """Pixels as PIL sees them, losslessly."""
    image.convert("RGB").save(HERE / f"{name}.expected.png", optimize=True)


def jpegs():
    for name, size, mode, options in [
        ("jpeg_444", (64, 48), "RGB", dict(subsampling=0)),
        ("jpeg_422", (64, 48), "RGB", dict(subsampling=1)),
        ("jpeg_420", (64, 48), "RGB", dict(subsampling=2)),
        ("jpeg_420_odd", (61, 47), "RGB", dict(subsampling=2)),
        ("jpeg_444_odd", (33, 51), "RGB", dict(subsampling=0)),
        ("jpeg_420_progressive", (61, 47), "RGB", dict(subsampling=2, progressive=True)),
        ("jpeg_420_restart", (61, 47), "RGB", dict(subsampling=2, restart_marker_blocks=2)),
        ("jpeg_420_low", (61, 47), "RGB", dict(subsampling=2, quality=30)),
        ("jpeg_grey", (61, 47), "L", {}),
        ("jpeg_grey_progressive", (61, 47), "L", dict(progressive=True)),
        ("jpeg_cmyk", (61, 47), "CMYK", {}),
        ("jpeg_tiny", (1, 1), "RGB", dict(subsampling=2)),
        ("jpeg_thin", (7, 40), "RGB", dict(subsampling=2)),
    ]:
        options = {"quality": 90, **options}
        scene(*size).convert(mode).save(HERE / f"{name}.jpg", **options)
        dump(name, Image.open(HERE / f"{name}.jpg"))


def lossless():
    image = scene(23, 17)
    image.save(HERE / "png_rgb.png")
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (17, 23), dtype="uint8")))
    alpha.save(HERE / "png_rgba.png")
    image.quantize(16).save(HERE / "png_palette.png")
    image.convert("L").save(HERE / "png_grey.png")
    image.convert("1").save(HERE / "png_bit.png")
    image.save(HERE / "webp_lossless.webp", lossless=True)
    image.save(HERE / "bmp.bmp")
    image.save(HERE / "ppm.ppm")
    for file in ["png_rgb.png", "png_rgba.png", "png_palette.png", "png_grey.png", "png_bit.png",
                 "webp_lossless.webp", "bmp.bmp", "ppm.ppm"]:
        dump(file.split(".")[0], Image.open(HERE / file))
    scene(61, 47).save(HERE / "webp_lossy.webp", quality=80)
    dump("webp_lossy", Image.open(HERE / "webp_lossy.webp"))


def orientations():
    for value in range(1, 9):
        exif = Image.Exif()
        exif[274] = value
        scene(7, 5).save(HERE / f"orient_{value}.png", exif=exif)
        dump(f"orient_{value}", ImageOps.exif_transpose(Image.open(HERE / f"orient_{value}.png")))
    exif = Image.Exif()
    exif[274] = 6
    scene(16, 8).save(HERE / "orient_jpeg.jpg", exif=exif, quality=95)
    dump("orient_jpeg", ImageOps.exif_transpose(Image.open(HERE / "orient_jpeg.jpg")))
    scene(16, 8).save(HERE / "orient_webp.webp", exif=exif, lossless=True)
    dump("orient_webp", ImageOps.exif_transpose(Image.open(HERE / "orient_webp.webp")))


def resizes():
    """Both preprocessings of png_rgb.png and of a larger image, to several sizes."""
    scene(90, 67).save(HERE / "resize_large.png")
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    cases = []
    for file, sizes in [("png_rgb.png", [(24, 32), (7, 9), (1, 1), (17, 40)]),
                        ("resize_large.png", [(30, 41), (12, 9), (67, 30)])]:
        image = Image.open(HERE / file)
        for height, width in sizes:
            tensor = torch.from_numpy(numpy.array(image)).permute(2, 0, 1).float() / 255
            tensor = (tensor - mean[:, None, None]) / std[:, None, None]
            direct = torch.nn.functional.interpolate(
                tensor[None], (height, width), mode="bilinear", align_corners=False)[0]
            small = numpy.array(image.resize((width, height), Image.BILINEAR))
            flat = direct.flatten()
            at = sorted(rng.choice(len(flat), min(len(flat), 150), replace=False).tolist())
            cases.append(dict(
                file=file, height=height, width=width, at=at,
                direct=[float(flat[i]) for i in at],
                antialias=[int(small.transpose(2, 0, 1).flatten()[i]) for i in at]))
    (HERE / "resize.json").write_text(json.dumps(cases))


def utm():
    points = [(float(a), float(o)) for a, o in zip(rng.uniform(-80, 84, 200), rng.uniform(-180, 180, 200))]
    points += [(60.39, 5.32), (56.0, 3.0), (63.999, 11.999), (78.2, 15.6), (72.0, 0.0), (83.9, 8.999),
               (80.0, 9.0), (79.0, 20.999), (79.0, 21.0), (79.0, 33.0), (79.0, 41.999), (0.0, 0.0),
               (-0.0001, 36.8), (-33.9, 18.4), (-79.999, 179.999), (83.999, -179.999)]
    for west in range(-180, 180, 12):  # zone edges, from either side
        points += [(45.5, west + 1e-7), (-21.3, west + 6 - 1e-7)]
    rows = ["lat,lon,number,north,easting,northing"]
    for lat, lon in points:
        own = int((lon + 180) // 6) % 60 + 1
        if 56 <= lat < 64 and 3 <= lon < 12:
            own = 32
        elif 72 <= lat and 0 <= lon < 42:
            own = 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
        for number in {own, own % 60 + 1}:  # its own zone, and the eastern neighbour
            plane = pyproj.Proj(proj="utm", zone=number, ellps="WGS84", south=lat < 0)
            easting, northing = plane(lon, lat)
            rows.append(f"{lat!r},{lon!r},{number},{int(lat >= 0)},{easting!r},{northing!r}")
    (HERE / "utm.csv").write_text("\n".join(rows) + "\n")


def geodesics():
    geod = pyproj.Geod(ellps="WGS84")
    rows = ["lat1,lon1,lat2,lon2,metres,azimuth"]
    for i in range(100):
        lat, lon = rng.uniform(-85, 85), rng.uniform(-180, 180)
        reach = 180.0 if i % 4 == 0 else 0.5
        lat2 = float(numpy.clip(lat + rng.uniform(-reach, reach) / 2, -89, 89))
        lon2 = float((lon + rng.uniform(-reach, reach) + 180) % 360 - 180)
        azimuth, _, metres = geod.inv(lon, lat, lon2, lat2)
        rows.append(f"{float(lat)!r},{float(lon)!r},{lat2!r},{lon2!r},{metres!r},{azimuth % 360!r}")
    (HERE / "geodesic.csv").write_text("\n".join(rows) + "\n")


jpegs()
lossless()
orientations()
resizes()
utm()
geodesics()
import pil_resize  # noqa: E402,F401  (writes pil_resize.json)
import tensor_resize  # noqa: E402,F401  (writes tensor_resize.json)
