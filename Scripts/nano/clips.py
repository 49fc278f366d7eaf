"""Procedural pictures and clips: what the models are trained on. Everything follows from a seed; no outside data.

A scene is a background that continues as its mirror image beyond its borders, with layers in front of it that lie at
other depths or move on their own. Scenes are drawn at twice the clip's size; a camera that stands between two of their
pixels sees the mean of both by its distances.

    python clips.py OUT.png [SEED]      a contact sheet
"""

import sys
from dataclasses import dataclass

import cv2
import numpy as np

CAMERAS = ("static", "left", "right", "up", "down")
MOTIONS = (1, 2, 3, 4)
SPEEDS = {1: 0.3, 2: 0.55, 3: 0.8, 4: 1.1}  # clip pixels a frame where the longer side has LONG_SIDE pixels
LONG_SIDE = 640
SCALE = 2  # scene pixels to a clip pixel
DIRECTIONS = {"static": (0, 0), "left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
POOL_SIDE = 1280
HELD_OUT = 10**9  # the seed of clips that are only measured


def scene_speed(camera, motion, long_side=LONG_SIDE):
    """Scene pixels that the camera moves in a frame of a picture whose longer side is given in clip pixels."""
    return tuple(axis * SCALE * SPEEDS[motion] * long_side / LONG_SIDE for axis in DIRECTIONS[camera])


# Pictures: float32 [side, side, 3] in 0..1, drawn by one of several painters over one another.


def spectral_noise(rng, side, slope):
    """Noise whose amplitude falls as 1 / frequency^slope, with deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32)) / frequency**slope
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, (side, side)).astype(np.float32)
    return noise / noise.std()


def colours(rng, count):
    """Mostly muted colours, as photographs have them."""
    grey = rng.uniform(0.05, 0.95, (count, 1))
    return np.clip(grey + rng.normal(0, rng.uniform(0.02, 0.15), (count, 3)), 0, 1).astype(np.float32)


def texture(rng, side):
    """Coloured fractal noise around a colour."""
    slope = rng.uniform(0.7, 1.3)
    luma = spectral_noise(rng, side, slope)
    chroma = spectral_noise(rng, side, slope + 0.2)
    contrast = rng.uniform(0.04, 0.2)
    tint = rng.normal(0, 0.35, 3)
    return colours(rng, 1)[0] + contrast * (luma[..., None] + tint * chroma[..., None]).astype(np.float32)


def gradient(rng, side):
    """Two colours in a smooth or a hard transition, such as sky over land."""
    angle, place = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    axis = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    line = axis[None] * np.cos(angle) + axis[:, None] * np.sin(angle) - place
    blend = 1 / (1 + np.exp(-line * 10 ** rng.uniform(0.3, 2.5)))
    first, second = colours(rng, 2)
    return first + blend[..., None].astype(np.float32) * (second - first)


def outline(rng, centre, radius):
    """A random polygon or ellipse as points."""
    if rng.random() < 0.5:
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        radii = radius * np.array([1, rng.uniform(0.3, 1)])
        points = np.stack([np.cos(turns) * radii[0], np.sin(turns) * radii[1]], 1)
    else:
        turns = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        points = np.stack([np.cos(turns), np.sin(turns)], 1) * radius
    spin = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(spin), -np.sin(spin)], [np.sin(spin), np.cos(spin)]])
    return np.round(points @ turn + centre).astype(np.int32)


def dead_leaves(rng, picture, count, largest):
    """Shapes of power-law sizes over one another, each with a colour or a piece of texture and some shade."""
    side = len(picture)
    skin = texture(rng, side)
    shade = 1 + 0.25 * spectral_noise(rng, side, 2.2)[..., None]
    for colour in colours(rng, count):
        radius = min(4 / rng.uniform(0.004, 1) ** 1.2, largest)
        points = outline(rng, rng.uniform(0, side, 2), radius)
        low, high = np.maximum(points.min(0), 0), np.minimum(points.max(0) + 1, side)
        if (high <= low).any():
            continue
        mask = np.zeros(tuple(high - low)[::-1], np.uint8)
        cv2.fillPoly(mask, [points - low.astype(np.int32)], 1)
        place = (slice(low[1], high[1]), slice(low[0], high[0]))
        paint = colour * shade[place]
        if rng.random() < 0.5:
            paint = paint + (skin[place] - skin[place].mean((0, 1)))
        picture[place] = np.where(mask[..., None] > 0, paint, picture[place])
    return picture


def marks(rng, picture):
    """Writing and thin lines."""
    side = len(picture)
    for colour in colours(rng, rng.integers(2, 14)):
        place = tuple(rng.integers(0, side, 2).tolist())
        mask = np.zeros((side, side), np.uint8)
        if rng.random() < 0.5:
            letters = "".join(chr(code) for code in rng.integers(33, 127, rng.integers(2, 9)))
            size, width = float(rng.uniform(0.7, 4)), int(rng.integers(1, 7))
            cv2.putText(mask, letters, place, int(rng.integers(0, 8)), size, 255, width, cv2.LINE_AA)
        else:
            cv2.line(mask, place, tuple(rng.integers(0, side, 2).tolist()), 255, int(rng.integers(1, 7)), cv2.LINE_AA)
        picture = picture + (mask[..., None] / np.float32(255)) * (colour - picture)
    return picture


def stripes(rng, picture):
    """A patch of a regular pattern: bars, bricks, waves."""
    side = len(picture)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    turn, period = rng.uniform(0, np.pi), rng.uniform(8, 80)
    wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period)
    if rng.random() < 0.5:
        wave = wave * np.sin((y * np.cos(turn) - x * np.sin(turn)) * 2 * np.pi / (period * rng.uniform(0.5, 2)))
    wave = np.tanh(wave * rng.uniform(0.5, 6)) * rng.uniform(0.05, 0.25)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [outline(rng, rng.uniform(0, side, 2), side * rng.uniform(0.1, 0.5))], 1)
    return picture + (mask * wave)[..., None]


def paint(rng, side):
    """One picture."""
    picture = texture(rng, side) if rng.random() < 0.6 else gradient(rng, side)
    picture = picture.astype(np.float32)
    if rng.random() < 0.7:
        mask = 1 / (1 + np.exp(-3 * spectral_noise(rng, side, rng.uniform(1.5, 2.5))))[..., None]
        picture = picture * (1 - mask) + texture(rng, side) * mask
    if rng.random() < 0.8:
        picture = dead_leaves(rng, picture, int(rng.integers(10, 1200)), side * rng.uniform(0.05, 0.35))
    if rng.random() < 0.3:
        picture = stripes(rng, picture)
    if rng.random() < 0.4:
        picture = marks(rng, picture)
    if rng.random() < 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, 3))
    if rng.random() < 0.5:
        picture = picture * (1 + 0.2 * spectral_noise(rng, side, 2.5)[..., None])
    middle = picture.mean()
    picture = (picture - middle) * rng.uniform(0.7, 1.5) + np.clip(middle + rng.normal(0, 0.1), 0.15, 0.85)
    return np.clip(picture, 0, 1).astype(np.float32)


class Pictures:
    """Random pieces of a pool of pictures, which is renewed little by little."""

    def __init__(self, seed, pool=24, renewal=400):
        self.rng = np.random.default_rng(seed)
        self.limit, self.renewal, self.pool, self.draws = pool, renewal, [], 0

    def __call__(self, height, width):
        """[height, width, 3] in 0..1."""
        if len(self.pool) < self.limit and self.draws % 4 == 0:
            self.pool.append(paint(self.rng, POOL_SIDE))
        elif self.draws % self.renewal == 0:
            self.pool[self.rng.integers(len(self.pool))] = paint(self.rng, POOL_SIDE)
        self.draws += 1
        source = self.pool[self.rng.integers(len(self.pool))]
        zoom = min(self.rng.uniform(0.8, 2.2), POOL_SIDE / max(height, width))
        rows, columns = int(height * zoom), int(width * zoom)
        top = self.rng.integers(POOL_SIDE - rows + 1)
        left = self.rng.integers(POOL_SIDE - columns + 1)
        piece = source[top:top + rows, left:left + columns]
        if self.rng.random() < 0.5:
            piece = piece[:, ::-1]
        filtering = cv2.INTER_AREA if zoom > 1 else cv2.INTER_CUBIC
        piece = cv2.resize(np.ascontiguousarray(piece), (width, height), interpolation=filtering)
        order = self.rng.permutation(3)
        return np.clip(piece[..., order], 0, 1)


@dataclass
class Layer:
    """A shape in front of the background; positions and speeds in scene pixels."""

    picture: np.ndarray
    mask: np.ndarray
    place: np.ndarray
    speed: np.ndarray
    depth: float  # how much faster than the background it passes by

    def draw(self, view, camera, frame):
        place = np.round(self.place - self.depth * camera + self.speed * frame).astype(int)
        size = np.array(self.mask.shape[::-1])
        low = np.maximum(place, 0)
        high = np.minimum(place + size, view.shape[1::-1])
        if (high <= low).any():
            return
        (x0, y0), (x1, y1) = low - place, high - place
        target = view[low[1]:high[1], low[0]:high[0]]
        mask = self.mask[y0:y1, x0:x1, None]
        target += mask * (self.picture[y0:y1, x0:x1] - target)


def make_layers(rng, pictures, height, width, depths, speeds):
    """One shape for each depth and speed."""
    layers = []
    for depth, speed in zip(depths, speeds):
        side = int(rng.uniform(0.15, 0.45) * min(height, width))
        mask = np.zeros((side, side), np.float32)
        cv2.fillPoly(mask, [outline(rng, np.full(2, side / 2), side * 0.48)], 1.0)
        place = rng.uniform(0, [width, height]) - side / 2
        layers.append(Layer(pictures(side, side), mask, place, np.array(speed), depth))
    return layers


def between(world, top, left, height, width):
    """A piece of the world at a place between its pixels; one of the two coordinates is whole."""
    rows, columns = int(np.floor(top)), int(np.floor(left))
    part = np.float32(top - rows + left - columns)
    near = world[rows:rows + height, columns:columns + width]
    if part < 1e-3:
        return near
    down, right = int(top > rows), int(left > columns)
    far = world[rows + down:rows + down + height, columns + right:columns + right + width]
    return near + part * (far - near)


def render(background, layers, speed, frames):
    """A clip [frames, H, W, 3] in 0..1 of a scene [SCALE H, SCALE W, 3] whose camera moves by `speed` a frame."""
    height, width = background.shape[:2]
    speed = np.array(speed)
    x, y = np.ceil(np.abs(speed) * (frames - 1)).astype(int) + 1
    world = np.pad(background, ((y, y), (x, x), (0, 0)), mode="symmetric")
    clip = np.empty((frames, height // SCALE, width // SCALE, 3), np.float32)
    for frame in range(frames):
        camera = speed * frame
        view = between(world, y + camera[1], x + camera[0], height, width)
        if layers:
            view = view.copy()
        for layer in layers:
            layer.draw(view, camera, frame)
        clip[frame] = cv2.resize(view, (width // SCALE, height // SCALE), interpolation=cv2.INTER_AREA)
    return clip


class Clips:
    """Random clips: a camera move and a motion strength, now and then with nearer layers and moving objects."""

    def __init__(self, seed, layer_rate=0.25, pictures=None):
        self.rng = np.random.default_rng(seed)
        self.pictures = pictures or Pictures(seed + 1)
        self.layer_rate = layer_rate

    def control(self):
        return CAMERAS[self.rng.integers(len(CAMERAS))], int(self.rng.choice(MOTIONS))

    def long_side(self):
        """The longer side of a picture of which a clip may be a piece."""
        return 16 * self.rng.integers(16, 44)

    def clip(self, height, width, frames, camera, motion, long_side=LONG_SIDE):
        scene = self.pictures(SCALE * height, SCALE * width)
        layers = self.layers(SCALE * height, SCALE * width, motion) if self.rng.random() < self.layer_rate else []
        return render(scene, layers, scene_speed(camera, motion, long_side), frames)

    def layers(self, height, width, motion):
        count = self.rng.integers(1, 4)
        depths = self.rng.choice([1.25, 1.5], count)
        speeds = [self.rng.normal(0, SPEEDS[motion], 2) * (self.rng.random() < 0.5) for _ in range(count)]
        return make_layers(self.rng, self.pictures, height, width, depths, speeds)


def contact_sheet(seed):
    """Rows of clips: the first, a middle and the last frame."""
    clips, rows = Clips(seed), []
    for index in range(12):
        camera = CAMERAS[index % 5]
        clip = clips.clip(176, 320, 24, camera, 1 + index % 4)
        rows.append(np.concatenate([clip[0], clip[11], clip[23]], 1))
    return np.concatenate([np.concatenate(rows[i::2], 0) for i in range(2)], 1)


def main():
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    sheet = contact_sheet(seed)
    cv2.imwrite(sys.argv[1], np.round(sheet[..., ::-1] * 255).astype(np.uint8))


if __name__ == "__main__":
    main()
