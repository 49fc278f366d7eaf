"""Writes the folder formats: pictures by several encoders, and what Pillow makes of them.

Needs Pillow 12, pillow-heif, pillow-jxl-plugin, and the programs cwebp, cjxl, heif-enc, ffmpeg and convert. formats.tsv
has a row for each picture: its name, the picture that it is to equal within one level, and the options with which it is
read. Right values are Pillow's: turned by ImageOps.exif_transpose, converted by ImageCms, laid on black by
alpha_composite, 16-bit grey by its high byte. Files with the same right pixels share them. inks.icc is a profile of four
inks with two points an ink, written by Little CMS.
"""

import hashlib
import io
import pathlib
import struct
import subprocess
import zlib

import numpy
import pillow_heif
import pillow_jxl  # noqa: F401
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

HERE = pathlib.Path(__file__).parent / "formats"
WIDTH, HEIGHT = 48, 32
pillow_heif.register_heif_opener()
rows = []
known = {}


def right(image):
    """The name of the file with these pixels."""
    image = image.convert("RGB")
    key = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    if key not in known:
        known[key] = f"right-{len(known):02}.png"
        image.info.clear()
        image.save(HERE / known[key], optimize=True)
    return known[key]


def meant(path, profile=True, upright=True, blend=True):
    """The picture as it is meant, by Pillow."""
    image = Image.open(path)
    icc = image.info.get("icc_profile")
    image.load()
    if upright:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray((numpy.array(image).astype(numpy.uint32) >> 8).astype(numpy.uint8))
    if icc and profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if image.mode == "LA":
            image = image.convert("RGBA")
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        image = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    if blend and (image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image


def add(name, options="", image=None, **changes):
    rows.append((name, right(image or meant(HERE / name, **changes)), options))


def run(command):
    subprocess.run(command, shell=True, check=True, cwd=HERE)


def chunked(path, name, content):
    """A PNG file's bytes with a chunk behind its header."""
    data = path.read_bytes()
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    return data[:33] + chunk + data[33:]


def main():
    y, x = numpy.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = numpy.stack([x * 255 // (WIDTH - 1), y * 255 // (HEIGHT - 1), (x * 5 + y * 9) % 256], -1).astype(numpy.uint8)
    pixels[4:10, 30:44] = (233, 54, 40)
    pixels[14:24, 6:20] = numpy.random.default_rng(3).integers(0, 256, (10, 14, 3))
    photo = Image.fromarray(pixels)
    alpha = ((numpy.hypot(x - 24, y - 16) < 14) * 200 + (x < 6) * 55).astype(numpy.uint8)
    clear = Image.fromarray(numpy.dstack([pixels, alpha]))
    photo.save(HERE / "photo.png", optimize=True)
    clear.save(HERE / "alpha.png", optimize=True)
    add("photo.png")
    add("alpha.png")
    add("alpha.png", "--alpha drop", blend=False)
    white = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
    add("alpha.png", "--pad-color white", image=white)

    # Orientation: all values of one format, one of the others.
    for value in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = value
        photo.save(HERE / f"turned-{value}.png", exif=exif, optimize=True)
        photo.save(HERE / f"turned-{value}.avif", exif=exif, quality=100, subsampling="4:4:4")
        add(f"turned-{value}.png")
        add(f"turned-{value}.avif")
    add("turned-6.png", "--orientation ignore", upright=False)
    exif[0x0112] = 6
    photo.save(HERE / "turned.webp", exif=exif, lossless=True)
    photo.save(HERE / "turned.tiff", exif=exif, compression="tiff_adobe_deflate")
    photo.save(HERE / "turned.jpg", exif=exif, quality=90)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    photo.save(HERE / "xmp.jfif", "JPEG", xmp=xmp, quality=90)
    photo.save(HERE / "xmp.webp", xmp=xmp, lossless=True)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode(), zip=True)
    photo.save(HERE / "xmp.png", pnginfo=info, optimize=True)
    run("convert turned.jpg magick.png")
    block = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    for name, kind, packed in (("raw-exif.png", "exif", True), ("raw-app1.png", "APP1", False)):
        info = PngImagePlugin.PngInfo()
        info.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(block):8}\n{block.hex()}\n", zip=packed)
        photo.save(HERE / name, pnginfo=info, optimize=True)
    add("raw-exif.png")
    rows.append(("raw-app1.png", rows[-1][1], ""))
    tiled_heic(photo, HERE / "grid.heic")
    for name in ("turned.webp", "turned.tiff", "turned.jpg", "xmp.jfif", "xmp.webp", "xmp.png", "magick.png", "grid.heic"):
        add(name)

    # Formats.
    photo.save(HERE / "plain.heic", quality=-1, chroma=444, matrix_coefficients=0)
    clear.save(HERE / "alpha.heic", quality=-1, chroma=444, matrix_coefficients=0)
    photo.save(HERE / "lossy.heic", quality=70)
    photo.save(HERE / "lossy.avif", quality=70)
    photo.save(HERE / "lossy.webp", quality=70)
    clear.save(HERE / "alpha.avif", quality=100, subsampling="4:4:4")
    clear.save(HERE / "alpha.jxl", lossless=True)
    clear.save(HERE / "alpha.tif", compression="tiff_lzw")
    photo.convert("P", palette=Image.ADAPTIVE, colors=16).save(HERE / "palette.gif", transparency=3)
    photo.convert("P", palette=Image.ADAPTIVE, colors=16).save(HERE / "palette.png", transparency=3, optimize=True)
    photo.convert("LA").save(HERE / "grey-alpha.png", optimize=True)
    photo.save(HERE / "colour-key.png", transparency=(233, 54, 40), optimize=True)
    photo.convert("CMYK").save(HERE / "inks.tif", compression="tiff_lzw")
    photo.convert("CMYK").save(HERE / "inks.jpg", quality=90)
    Image.fromarray((x * 1300 + y * 130).astype(numpy.uint16)).save(HERE / "grey16.png")
    Image.fromarray((x * 1300 + y * 130).astype(numpy.uint16)).save(HERE / "grey16.tif", compression="tiff_lzw")
    photo.save(HERE / "animated.gif", save_all=True, append_images=[photo.rotate(180)])
    photo.save(HERE / "animated.webp", save_all=True, append_images=[photo.rotate(180)], lossless=True)
    photo.save(HERE / "pages.tif", save_all=True, append_images=[photo.rotate(180)], compression="tiff_lzw")
    run("cwebp -quiet -lossless alpha.png -o cwebp.webp")
    run("cjxl --quiet -d 0 photo.png cjxl.jxl")
    run("heif-enc -q 70 photo.png -o heif-enc.heic > /dev/null")
    run("ffmpeg -y -loglevel error -i photo.png ffmpeg.bmp")
    run("ffmpeg -y -loglevel error -i photo.png -pix_fmt rgb48le ffmpeg.tiff")
    run("convert photo.png -compress zip -define tiff:tile-geometry=32x32 tiles.tif")
    run("convert photo.png -type palette palette.bmp")
    run("convert alpha.png alpha.bmp")
    for name in (
        "plain.heic alpha.heic lossy.heic lossy.avif lossy.webp alpha.avif alpha.jxl alpha.tif palette.gif palette.png "
        "grey-alpha.png colour-key.png inks.tif inks.jpg grey16.png grey16.tif animated.gif animated.webp pages.tif cwebp.webp cjxl.jxl "
        "heif-enc.heic ffmpeg.bmp ffmpeg.tiff tiles.tif palette.bmp alpha.bmp"
    ).split():
        add(name)

    # Colours.
    inks = (HERE.parent / "inks.icc").read_bytes()
    photo.convert("CMYK").save(HERE / "inks-profile.jpg", icc_profile=inks, quality=90)
    photo.convert("CMYK").save(HERE / "inks-profile.tif", icc_profile=inks, compression="tiff_lzw")
    add("inks-profile.jpg")
    add("inks-profile.tif")
    profile = p3()
    photo.save(HERE / "p3.png", icc_profile=profile, optimize=True)
    photo.save(HERE / "p3.jpg", icc_profile=profile, quality=90)
    photo.save(HERE / "p3.webp", icc_profile=profile, lossless=True)
    photo.save(HERE / "p3.tif", icc_profile=profile, compression="tiff_lzw")
    photo.save(HERE / "p3.jxl", icc_profile=profile, lossless=True)
    clear.save(HERE / "p3-alpha.avif", icc_profile=profile, quality=100, subsampling="4:4:4")
    for name in ("p3.png", "p3.jpg", "p3.webp", "p3.tif", "p3.jxl", "p3-alpha.avif"):
        add(name)
    add("p3.png", "--color ignore", profile=False)
    # Display P3 by code points, and gamma 1 by its own chunk.
    (HERE / "cicp.png").write_bytes(chunked(HERE / "photo.png", b"cICP", bytes([12, 13, 0, 1])))
    rows.append(("cicp.png", right(from_linear(linear(pixels, standard_light) @ P3_TO_STANDARD.T)), ""))
    (HERE / "gamma.png").write_bytes(chunked(HERE / "photo.png", b"gAMA", struct.pack(">I", 100000)))
    rows.append(("gamma.png", right(from_linear(linear(pixels, lambda level: level))), ""))
    (HERE / "gamma-standard.png").write_bytes(chunked(HERE / "photo.png", b"gAMA", struct.pack(">I", 45455)))
    add("gamma-standard.png")

    (HERE.parent / "formats.tsv").write_text("".join("\t".join(row).rstrip("\t") + "\n" for row in rows))


def box(kind, *parts, version=None, flags=0):
    """A box of ISO media files; those with a version have flags too."""
    content = b"".join(parts)
    if version is not None:
        content = struct.pack(">I", version << 24 | flags) + content
    return struct.pack(">I", 8 + len(content)) + kind + content


def children(data):
    """The boxes in some bytes."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        yield kind, data[place:place + size], data[place + 8:place + size]
        place += size


def tiled_heic(photo, path):
    """A HEIC as telephones write it: tiles in a grid larger than the picture, lying on its side with `irot`."""
    turned = photo.rotate(90, expand=True).resize((96, 144), Image.NEAREST)
    side, columns, lines = 64, 2, 3
    canvas = Image.new("RGB", (columns * side, lines * side))
    canvas.paste(turned, (0, 0))
    tiles, settings = [], b""
    for row in range(lines):
        for column in range(columns):
            tile = canvas.crop((column * side, row * side, (column + 1) * side, (row + 1) * side))
            buffer = io.BytesIO()
            pillow_heif.from_pillow(tile).save(buffer, quality=-1, chroma=444, matrix_coefficients=0)
            top = {kind: content for kind, _, content in children(buffer.getvalue())}
            properties = dict((kind, content) for kind, _, content in children(top[b"meta"][4:]))[b"iprp"]
            inner = next(content for kind, _, content in children(properties) if kind == b"ipco")
            settings = next(whole for kind, whole, _ in children(inner) if kind == b"hvcC")
            colour = next(whole for kind, whole, _ in children(inner) if kind == b"colr")
            tiles.append(top[b"mdat"])
    grid = struct.pack(">BBBBHH", 0, 0, lines - 1, columns - 1, *turned.size)
    count = len(tiles) + 1
    entries = [box(b"infe", struct.pack(">HH4s", item, 0, kind), b"\0", version=2, flags=item > 1)
               for item, kind in [(1, b"grid")] + [(2 + n, b"hvc1") for n in range(len(tiles))]]
    ipco = box(
        b"ipco", settings, box(b"ispe", struct.pack(">II", side, side), version=0),
        box(b"ispe", struct.pack(">II", *turned.size), version=0), box(b"irot", b"\3"), colour)
    owners = struct.pack(">I", count) + struct.pack(">HBBBB", 1, 3, 3, 0x80 | 4, 5)
    owners += b"".join(struct.pack(">HBBBB", 2 + n, 3, 0x80 | 1, 2, 5) for n in range(len(tiles)))
    links = box(b"dimg", struct.pack(">HH", 1, len(tiles)), *(struct.pack(">H", 2 + n) for n in range(len(tiles))))

    def meta(start):
        places, place = b"", start
        for item, content in enumerate([grid] + tiles, 1):
            places += struct.pack(">HHHII", item, 0, 1, place, len(content))
            place += len(content)
        return box(
            b"meta", box(b"hdlr", bytes(4) + b"pict" + bytes(13), version=0), box(b"pitm", struct.pack(">H", 1), version=0),
            box(b"iloc", struct.pack(">BBH", 0x44, 0, count), places, version=0),
            box(b"iinf", struct.pack(">H", count), *entries, version=0), box(b"iref", links, version=0),
            box(b"iprp", ipco, box(b"ipma", owners, version=0)), version=0)

    head = box(b"ftyp", b"heic\0\0\0\0mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + box(b"mdat", grid, *tiles))


# Linear Display P3 to linear sRGB, both with the white of D65, from their primaries in SMPTE EG 432-1 and IEC 61966-2-1.
def to_xyz(primaries):
    columns = numpy.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = numpy.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
    return columns * numpy.linalg.solve(columns, white)


P3 = to_xyz([(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)])
STANDARD = to_xyz([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)])
P3_TO_STANDARD = numpy.linalg.inv(STANDARD) @ P3


def standard_light(level):
    return numpy.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)


def linear(pixels, curve):
    return curve(pixels.astype(float) / 255)


def from_linear(light):
    light = light.clip(0, 1)
    level = numpy.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return Image.fromarray((level * 255).round().astype(numpy.uint8))


def p3():
    """A profile of Display P3 with a curve of gamma 2.2: header, and nine tags of version 2."""
    def fixed(number):
        return struct.pack(">i", round(number * 65536))

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    # Adapted to the profile's white D50 by the method of Bradford.
    cone = numpy.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = numpy.array([0.9642, 1, 0.8249])
    white = P3.sum(1)
    adapted = numpy.linalg.inv(cone) @ numpy.diag((cone @ d50) / (cone @ white)) @ cone @ P3
    name = b"Display P3"
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" + bytes(78)
    tags = [
        (b"desc", text), (b"cprt", b"text\0\0\0\0public domain\0"), (b"wtpt", xyz(d50)), (b"rXYZ", xyz(adapted[:, 0])),
        (b"gXYZ", xyz(adapted[:, 1])), (b"bXYZ", xyz(adapted[:, 2])), (b"rTRC", curve), (b"gTRC", curve), (b"bTRC", curve),
    ]
    table, body, place = b"", b"", 128 + 4 + 12 * len(tags)
    for key, content in tags:
        content += bytes(-len(content) % 4)
        table += key + struct.pack(">II", place + len(body), len(content))
        body += content
    size = place + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    header += bytes(28) + b"".join(map(fixed, d50))
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    main()
