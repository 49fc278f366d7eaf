"""From clips to what the transformer is trained on: latents, condition, picture, control set and place."""

import numpy as np
import torch

import config
from clip import preprocess
from controls import SETS
from train_vae import masked, to_video
from training import device
from vae import VAE

LONG_SIDES = range(16, 49)  # of whole pictures, in tokens of 16 x 16 pixels
USUAL_LONG_SIDES = (39, 40)
USUAL_RATE = 0.4
SQUAREST, WIDEST = 1.0, 2.5  # shapes of pictures


def load_vae(path):
    """The trained VAE, its weights rounded as they are published."""
    vae = VAE(config.VAE)
    vae.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    vae = vae.to(device()).eval().requires_grad_(False)
    for weight in vae.parameters():
        weight.copy_(weight.bfloat16())
    return vae


def condition(basis, video):
    """Latents of the mask and of the clip of which only the first frame is known [B, 32, f, h, w]."""
    known = torch.stack([masked(clip) for clip in video])
    mask = torch.ones_like(video[:1])
    mask[:, :, 0] = 0
    return torch.cat([basis(mask).expand(len(video), -1, -1, -1, -1), basis(known)], 1)


def draw_grid(rng):
    """Rows and columns of tokens of a whole picture."""
    long = int(rng.choice(USUAL_LONG_SIDES) if rng.random() < USUAL_RATE else rng.choice(LONG_SIDES))
    short = max(1, round(long / (16 / 9 if long in USUAL_LONG_SIDES else rng.uniform(SQUAREST, WIDEST))))
    return (long, short) if rng.random() < 0.3 else (short, long)


class Pool:
    """Clips of windows of one size, as latents in a ring; each is used several times before another takes its place."""

    def __init__(self, basis, clips, rows, columns, capacity, renewal):
        self.basis, self.clips, self.tokens = basis, clips, (rows, columns)
        self.capacity, self.renewal, self.next, self.parts = capacity, renewal, 0, None

    def draw(self, count):
        """Random clips: latents, condition, pictures for the image encoder, control sets, places."""
        present = 0 if self.parts is None else len(self.parts[0])
        wanted = count if present < self.capacity else count * self.renewal
        whole = int(wanted + self.clips.rng.random())
        if whole:
            self.add(whole)
        chosen = torch.randint(len(self.parts[0]), (count,), device=self.parts[0].device)
        return tuple(part[chosen] for part in self.parts)

    def add(self, count):
        new = self.encoded(count)
        if self.parts is None:
            self.parts = new
        elif len(self.parts[0]) < self.capacity:
            self.parts = tuple(torch.cat(pair) for pair in zip(self.parts, new))
        else:
            places = (self.next + torch.arange(count)) % len(self.parts[0])
            self.next += count
            for part, values in zip(self.parts, new):
                part[places] = values

    def videos(self, count):
        """New clips [B, 3, T, H, W], control sets, and places: the whole picture's size and the window's corner."""
        rows, columns = self.tokens
        controls, places, frames = [], [], []
        for _ in range(count):
            control = self.clips.control()
            grid = draw_grid(self.clips.rng)
            grid = (max(grid[0], rows), max(grid[1], columns))
            corner = [int(self.clips.rng.integers(whole - part + 1)) for whole, part in zip(grid, self.tokens)]
            clip = self.clips.clip(16 * rows, 16 * columns, config.FRAMES, *control, 16 * max(grid))
            controls.append(control)
            places.append([*grid, *corner])
            frames.append(to_video(np.ascontiguousarray(clip)))
        sets = torch.tensor([SETS.index(control) for control in controls], device=device())
        return torch.stack(frames).to(device()), sets, torch.tensor(places)

    def encoded(self, count):
        video, sets, places = self.videos(count)
        pictures = preprocess(video[:, :, 0] / 2 + 0.5, config.PREPROCESSOR["size"])
        return self.basis(video), condition(self.basis, video), pictures, sets, places
