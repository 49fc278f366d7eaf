"""Writes the fixtures of this folder with Pillow 13 (`make.py PHOTO`), and resize-old.tsv with Pillow 10.

Pillow decides what the right pixels are: `NAME.png` or `NAME.jpg` is an input, `NAME.rgb.png` what
`Image.open(f).convert("RGB")` makes of it, of 16-bit grey the high byte. The PNG inputs are assembled here
byte by byte, because Pillow writes few of the forms that it reads.

Not made here: jpeg-made-*.jpg and scans-180.jpg, which libjpeg's encoder wrote with settings that Pillow
lacks (YCCK, arithmetic coding, 4:1:1, 4:4:0, one scan for each coefficient), and the folder reference, the
picture cases of four families' reference implementations (cases.tsv: input, expected, how, filter, pass
order, width, height).
"""

import pathlib
import random
import struct
import sys
import zlib

import PIL
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 21, 13
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def packed(samples, depth):
    if depth == 16:
        return b"".join(struct.pack(">H", s) for s in samples)
    if depth == 8:
        return bytes(samples)
    row, per = bytearray(), 8 // depth
    for at in range(0, len(samples), per):
        group = samples[at : at + per] + [0] * (per - len(samples[at : at + per]))
        value = 0
        for sample in group:
            value = value << depth | sample
        row.append(value)
    return bytes(row)


def png(image, colour, depth, interlaced, palette=b"", transparency=b"", extra=b""):
    """`image` is rows of pixels, a pixel being a list of samples."""
    width, height = len(image[0]), len(image)
    lines = b""
    steps = ADAM7 if interlaced else [(0, 0, 1, 1)]
    for x0, y0, dx, dy in steps:
        for y in range(y0, height, dy):
            samples = [s for x in range(x0, width, dx) for s in image[y][x]]
            if samples:
                lines += b"\0" + packed(samples, depth)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    out += extra
    if palette:
        out += chunk(b"PLTE", palette)
    if transparency:
        out += chunk(b"tRNS", transparency)
    return out + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


def write(name, data):
    (HERE / name).write_bytes(data)
    image = Image.open(HERE / name)
    if image.mode.startswith("I"):
        # Pillow's conversion of 16-bit grey saturates.
        high = bytes(sample >> 8 for sample in image.getdata())
        image = Image.frombytes("L", image.size, high)
    image = image.convert("RGB")
    image.info.clear()
    image.save(HERE / (name.split(".")[0] + ".rgb.png"))


def forms():
    pick = random.Random(7)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        for depth in depths:
            top = (1 << depth) - 1
            image = [[[pick.randint(0, top) for _ in range(SAMPLES[colour])] for _ in range(WIDTH)] for _ in range(HEIGHT)]
            if colour == 0 and depth == 16:
                image[0][:6] = [[0], [1], [254], [255], [256], [65535]]
                image[1] = [[pick.randint(0, 300)] for _ in range(WIDTH)]
            palette = bytes(pick.randint(0, 255) for _ in range(3 * (top + 1))) if colour == 3 else b""
            see = {0: b"\0\1", 2: b"\0\1\0\2\0\3", 3: b"\0\x80"}.get(colour, b"")
            for interlaced in (0, 1):
                clear = see if interlaced else b""
                write(f"form-{colour}-{depth:02}-{interlaced}.png", png(image, colour, depth, interlaced, palette, clear))
    short = [[[x % 16] for x in range(WIDTH)] for _ in range(HEIGHT)]
    write("form-short-palette.png", png(short, 3, 4, 0, bytes(range(9, 30))))
    plain = [[[x * 9, y * 9, 77] for x in range(WIDTH)] for y in range(HEIGHT)]
    notes = chunk(b"gAMA", struct.pack(">I", 100000)) + chunk(b"tEXt", b"Comment\0text") + chunk(b"sBIT", b"\5\6\5")
    write("form-with-gamma.png", png(plain, 2, 8, 0, extra=notes))
    write("form-one-pixel.png", png([[[1, 2, 3]]], 2, 8, 1))


def jpegs(photo):
    crop = photo.crop((60, 40, 143, 99))
    grey = crop.convert("L")
    ink = crop.convert("CMYK")
    kinds = {
        "420": (crop, {"subsampling": 2}), "422": (crop, {"subsampling": 1}), "444": (crop, {"subsampling": 0}),
        "420-progressive": (crop, {"subsampling": 2, "progressive": True}),
        "422-progressive": (crop, {"subsampling": 1, "progressive": True}),
        "444-progressive": (crop, {"subsampling": 0, "progressive": True}),
        "420-low": (crop, {"subsampling": 2, "quality": 20}), "444-high": (crop, {"subsampling": 0, "quality": 98}),
        "optimised": (crop, {"optimize": True}), "restarts": (crop, {"restart_marker_blocks": 2}),
        "restart-rows": (crop, {"restart_marker_rows": 1, "progressive": True}),
        "rgb": (crop, {"keep_rgb": True}), "rgb-progressive": (crop, {"keep_rgb": True, "progressive": True}),
        "grey": (grey, {}), "grey-progressive": (grey, {"progressive": True}),
        "cmyk": (ink, {}), "cmyk-progressive": (ink, {"progressive": True, "quality": 90}),
        "one-pixel": (crop.crop((0, 0, 1, 1)), {}), "thin": (crop.crop((0, 0, 83, 1)), {}),
        "comment": (crop, {"comment": b"a comment", "dpi": (300, 300)}),
    }
    for name, (image, options) in kinds.items():
        image.save(HERE / f"jpeg-{name}.jpg", **{"quality": 80, **options})
        write(f"jpeg-{name}.jpg", (HERE / f"jpeg-{name}.jpg").read_bytes())
    for path in sorted(HERE.glob("jpeg-made-*.jpg")):
        write(path.name, path.read_bytes())
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        small = crop.crop((0, 0, 24, 16))
        small.save(HERE / f"turned-{orientation}.jpg", quality=90, exif=exif)
        ImageOps.exif_transpose(Image.open(HERE / f"turned-{orientation}.jpg")).convert("RGB").save(
            HERE / f"turned-{orientation}.rgb.png")


def digest(image):
    value = 0xCBF29CE484222325
    for byte in image.tobytes():
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def resizing(name, count):
    source = Image.open(HERE / "photo.rgb.png")
    pick = random.Random(11)
    rows = []
    for at in range(count):
        filter_name = list(FILTERS)[at % 3]
        width, height = (pick.choice([pick.randint(1, 40), pick.randint(1, 300), side]) for side in source.size)
        left, top = pick.randint(0, 100), pick.randint(0, 60)
        box = (left, top, pick.randint(left + 1, source.width), pick.randint(top + 1, source.height))
        result = source.crop(box).resize((width, height), FILTERS[filter_name])
        rows.append("\t".join(map(str, [*box, width, height, filter_name, digest(result)])))
    (HERE / name).write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    if PIL.__version__.startswith("13."):
        photo = Image.open(sys.argv[1]).convert("RGB")
        large = photo.resize((photo.width // 3, photo.height // 3), Image.LANCZOS).crop((300, 180, 620, 372))
        large.save(HERE / "video.jpg", quality=92, subsampling=0)
        side = min(photo.size)
        photo = photo.resize((photo.width * 320 // side, 320), Image.LANCZOS).crop((128, 88, 128 + 224, 88 + 144))
        photo.save(HERE / "photo.jpg", quality=92, subsampling=0)
        write("photo.jpg", (HERE / "photo.jpg").read_bytes())
        forms()
        jpegs(photo)
        resizing("resize.tsv", 300)
    else:
        resizing("resize-old.tsv", 150)
