#!/usr/bin/env python3
"""Lets a finished model's decoder show fine detail more strongly, by its last kernel.

usage: sharpen.py MODEL_DIR PHOTOGRAPHS_DIR NEW_MODEL_DIR [--amount A] [--own N] [--drawn N] [--seed N]

What is nearest to the true frames in the mean is soft: detail that the latents settle in part is shown in part. The last
layer is linear, so the kernel that comes nearest to the true frames' fine detail (what a blur of three pixels takes away)
follows from sums over clips, without gradients. A times this kernel is added to the last one. It sees the mean of
the three frames, as the last kernel does, so that the move stays as even. The clips are the transformer's own and such
with errors of the same size.
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F

from basis import Linear, importance
from checkpoint import write_changed
from refine_decoder import VAE_FILE, Moves, Own, Refined, highpass, noisy, with_decoder
from train_vae import CHUNK, to_video
from training import device
from vae import fold, published

DRAWN_SIDE, OWN_SIDE = 96, 128  # pixels
SHARE = 0.25  # of the pixels that are looked at
EDGE_WEIGHT = 4.0  # of the pixels at the edges of the picture, beside which the layer sees nothing
HELD = 1e-6  # how strongly the kernel is held to nothing where the clips say little


class Sums:
    """What a linear layer over space sees in the mean of its three frames, and what it ought to show: sums of products."""

    def __init__(self):
        self.products, self.wanted, self.clip = 0, 0, []

    def watch(self, conv, x, chunk):
        """Keeps what the layer sees of a chunk [T, C, H, W]."""
        line = chunk.timeline(conv, x)
        count = line.shape[2] - 2
        self.clip.append(fold(sum(line[:, :, i:i + count] for i in range(3)) / 3))
        return x.new_zeros(len(x), conv.out_channels, count, *x.shape[3:])

    def add(self, goals):
        """The goals of the clip that was decoded, [T, 3, H, W]."""
        seen = torch.cat(self.clip)
        self.clip = []
        places = F.unfold(seen, 3, padding=1).unflatten(2, goals.shape[2:]).permute(0, 2, 3, 1)
        chosen = torch.rand(places.shape[:3], device=places.device) < SHARE
        weights = counts(goals)[chosen][:, None]
        places, goals = places[chosen], weights * goals.permute(0, 2, 3, 1)[chosen]
        places = weights * torch.cat([places, torch.ones_like(places[:, :1])], 1)
        self.products = self.products + (places.T @ places).double()
        self.wanted = self.wanted + (places.T @ goals).double()

    def solve(self):
        """The rows of weights and the bias [places + 1, 3] that come nearest to the goals."""
        ridge = HELD * self.products.diagonal().mean() * torch.eye(len(self.products), device=self.products.device)
        return torch.linalg.solve(self.products + ridge, self.wanted)


def counts(goals):
    """How much an error counts, as a root [T, H, W]."""
    weights = torch.ones_like(goals[:, 0])
    for axis in (1, 2):
        for place in (0, -1):
            weights.select(axis, place).mul_(EDGE_WEIGHT**0.5)
    return weights


@torch.no_grad()
def sharpen(vae, clips, amount):
    """Adds to the last kernel by clips: (latents, video) of one clip each."""
    conv = vae.decoder.conv_out
    sums, usual = Sums(), conv.forward
    conv.forward = lambda x, chunk: sums.watch(conv, x, chunk)
    for latents, video in clips:
        vae.decode(latents)
        sums.add(highpass(fold(video)))
    conv.forward = usual
    rows = amount * sums.solve().float().T
    conv.weight += rows[:, :-1].reshape(3, conv.in_channels, 1, 3, 3) / 3
    conv.bias += rows[:, -1]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("model", type=Path)
    arguments.add_argument("photographs", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--amount", type=float, default=1.0, help="of fine detail besides (default 1)")
    arguments.add_argument("--own", type=int, default=14, help="clips with the transformer's own latents (default 14)")
    arguments.add_argument("--drawn", type=int, default=4, help="clips with errors that are drawn (default 4)")
    arguments.add_argument("--seed", type=int, default=41)
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    source = published(options.model)
    linear, vae = Linear(source, device()), Refined(source.config).to(device()).eval()
    vae.begin_with(source)
    own = Own(options.model, linear, options.photographs, options.own, options.seed)
    moves, shares = Moves(options.photographs, options.seed), importance(linear).sqrt()

    def clips():
        for _ in range(options.own):
            video, latents = own.draw(1, OWN_SIDE)
            yield latents, video
        for _ in range(options.drawn):
            video = to_video(moves.clip(DRAWN_SIDE, DRAWN_SIDE, 3 * CHUNK))[None].to(device())
            yield noisy(linear(video), shares), video

    sharpen(vae, clips(), options.amount)
    write_changed(options.model, options.out, {VAE_FILE: with_decoder(options.model, vae)})


if __name__ == "__main__":
    main()
