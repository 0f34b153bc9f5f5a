"""Writes small images of every format that is read, and what PIL decodes of them.

Run: python formats.py   (pillow 13.0.0, numpy 2.4.6)
Deterministic but for the libraries' versions; the Rust tests read the files and need no Python.
"""

import io
import pathlib
import struct
import zlib

import numpy
from PIL import Image, ImageOps, PngImagePlugin, TiffImagePlugin

HERE = pathlib.Path(__file__).parent
rng = numpy.random.default_rng(11)


def scene(width=23, height=17):
    """Smooth colour, an edge and a little noise."""
    y, x = numpy.mgrid[0:height, 0:width].astype(float)
    image = numpy.stack([128 + 90 * numpy.sin(x / 5), 255 * x * y / (width * height), 40 + 9 * y], -1)
    image[height // 3 : height // 2, width // 4 : width // 2] = (220, 30, 40)
    return Image.fromarray((image + rng.normal(0, 3, image.shape)).clip(0, 255).astype("uint8"))


def dump(name, image):
    """Pixels as PIL sees them, losslessly."""
    image.convert("RGB").save(HERE / f"{name}.expected.png", optimize=True)


def decoded(file):
    dump(file.split(".")[0], Image.open(HERE / file))


def tiffs():
    image = scene()
    for name, mode, options in [
        ("tiff_rgb", "RGB", {}),
        ("tiff_lzw", "RGB", dict(compression="tiff_lzw")),
        ("tiff_deflate", "RGB", dict(compression="tiff_adobe_deflate")),
        ("tiff_packbits", "RGB", dict(compression="packbits")),
        ("tiff_big", "RGB", dict(big_tiff=True)),
        ("tiff_grey", "L", {}),
        ("tiff_bit", "1", {}),
        ("tiff_palette", "P", {}),
        ("tiff_cmyk", "CMYK", {}),
    ]:
        converted = image.quantize(16) if mode == "P" else image.convert(mode)
        converted.save(HERE / f"{name}.tif", **options)
        if mode != "P":
            decoded(f"{name}.tif")
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (17, 23), dtype="uint8")))
    alpha.save(HERE / "tiff_rgba.tif")
    decoded("tiff_rgba.tif")
    first, second = scene(), scene(9, 9)
    first.save(HERE / "tiff_pages.tif", save_all=True, append_images=[second])
    decoded("tiff_pages.tif")
    deep = rng.integers(0, 65536, (17, 23), dtype="uint16")
    Image.fromarray(deep).save(HERE / "tiff_grey16.tif")
    high = (deep >> 8).astype("uint8")
    dump("tiff_grey16", Image.fromarray(numpy.stack([high] * 3, -1)))


def gifs():
    frames = [scene(), scene()]
    frames[0].quantize(32).save(HERE / "gif.gif")
    frames[0].save(HERE / "gif_animated.gif", save_all=True, append_images=frames[1:], duration=100)
    for file in ["gif.gif", "gif_animated.gif"]:
        decoded(file)


def qoi():
    """Written by hand after qoiformat.org (runs, indices, differences, literals); PIL reads it back."""
    image = numpy.array(scene())
    image[5:9] = image[5, 3]
    out = bytearray(b"qoif" + struct.pack(">IIBB", 23, 17, 3, 0))
    seen = [(0, 0, 0, 0)] * 64
    last, run = (0, 0, 0, 255), 0
    for r, g, b in image.reshape(-1, 3).tolist():
        pixel = (r, g, b, 255)
        if pixel == last and run < 61:
            run += 1
            continue
        if run:
            out.append(0xC0 | run - 1)
            run = 0
        if pixel == last:
            run = 1
            continue
        at = (r * 3 + g * 5 + b * 7 + 255 * 11) % 64
        steps = [(a - c + 128) % 256 - 128 for a, c in zip(pixel, last)]
        if seen[at] == pixel:
            out.append(at)
        elif all(-2 <= s <= 1 for s in steps[:3]):
            out.append(0x40 | steps[0] + 2 << 4 | steps[1] + 2 << 2 | steps[2] + 2)
        elif -32 <= steps[1] <= 31 and all(-8 <= steps[c] - steps[1] <= 7 for c in (0, 2)):
            out += bytes([0x80 | steps[1] + 32, steps[0] - steps[1] + 8 << 4 | steps[2] - steps[1] + 8])
        else:
            out += bytes([0xFE, r, g, b])
        seen[at], last = pixel, pixel
    if run:
        out.append(0xC0 | run - 1)
    (HERE / "qoi.qoi").write_bytes(bytes(out) + b"\0" * 7 + b"\1")
    decoded("qoi.qoi")
    assert numpy.array_equal(numpy.array(Image.open(HERE / "qoi.qoi").convert("RGB")), image)


def png(name, colour_type, samples, extra=b""):
    """16-bit PNG by hand: PIL writes none in colour. `samples`: rows x columns x channels of uint16."""
    rows, columns = samples.shape[:2]
    data = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    header = struct.pack(">IIBBBBB", columns, rows, 16, colour_type, 0, 0, 0)
    (HERE / f"{name}.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))
    colours = samples if colour_type & 2 else samples[:, :, :1].repeat(3, 2)
    dump(name, Image.fromarray((colours[:, :, :3] >> 8).astype("uint8")))


def pngs():
    for name, colour_type, channels in [("png_grey16", 0, 1), ("png_rgb16", 2, 3), ("png_greya16", 4, 2),
                                        ("png_rgba16", 6, 4)]:
        png(name, colour_type, rng.integers(0, 65536, (17, 23, channels), dtype="uint16"))
    # PIL takes the high byte of colour too.
    for name in ["png_rgb16", "png_rgba16"]:
        ours = numpy.array(Image.open(HERE / f"{name}.expected.png"))
        assert numpy.array_equal(numpy.array(Image.open(HERE / f"{name}.png").convert("RGB")), ours)
    palette = scene().quantize(16)
    palette.save(HERE / "png_palette_alpha.png", transparency=bytes(range(0, 256, 16)))
    decoded("png_palette_alpha.png")
    grey = scene().convert("LA")
    grey.putalpha(Image.fromarray(rng.integers(0, 256, (17, 23), dtype="uint8")))
    grey.save(HERE / "png_greya.png")
    decoded("png_greya.png")


def jpegs():
    # Photoshop's: inks are inverted, and with transform 2 they are YCC of the inks.
    inks = ImageOps.invert(scene(61, 47)).convert("YCbCr")
    black = Image.fromarray((numpy.mgrid[0:47, 0:61][0] * 2).astype("uint8"))
    stored = Image.merge("CMYK", [ImageOps.invert(band) for band in inks.split()] + [black])
    buffer = io.BytesIO()
    stored.save(buffer, "JPEG", quality=90)
    bytes_ = bytearray(buffer.getvalue())
    adobe = bytes_.index(b"Adobe")
    assert bytes_[adobe + 11] == 0
    bytes_[adobe + 11] = 2
    (HERE / "jpeg_ycck.jpg").write_bytes(bytes_)
    decoded("jpeg_ycck.jpg")
    scene(61, 47).save(HERE / "jpeg_411.jpg", quality=90, subsampling="4:1:1")
    decoded("jpeg_411.jpg")
    first, second = scene(61, 47), scene(16, 16)
    first.save(HERE / "jpeg_mpo.mpo", "MPO", save_all=True, append_images=[second], quality=90)
    decoded("jpeg_mpo.mpo")
    scene(61, 47).save(HERE / "jpeg_444_progressive.jpg", quality=90, progressive=True, subsampling=0)
    decoded("jpeg_444_progressive.jpg")


def orientations():
    for value in range(1, 9):
        exif = Image.Exif()
        exif[274] = value
        for name, options in [("jpg", dict(quality=95, subsampling=0)), ("tif", {}), ("webp", dict(lossless=True))]:
            file = HERE / f"turn_{name}_{value}.{name}"
            scene(16, 9).save(file, exif=exif, **options)
            dump(f"turn_{name}_{value}", ImageOps.exif_transpose(Image.open(file)))


def packets():
    xmp = ("<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description exif:GPSLatitude='52,12.324N' "
           "exif:GPSLongitude='0,7.134E'/></rdf:RDF></x:xmpmeta>")
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp)
    image = scene(8, 8)
    image.save(HERE / "xmp_png.png", pnginfo=info)
    image.save(HERE / "xmp_webp.webp", xmp=xmp.encode(), lossless=True)
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[700] = xmp.encode()
    image.save(HERE / "xmp_tiff.tif", tiffinfo=tags)


tiffs()
gifs()
qoi()
pngs()
jpegs()
orientations()
packets()
