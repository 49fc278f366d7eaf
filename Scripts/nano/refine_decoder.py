#!/usr/bin/env python3
"""Goes on training a finished model's decoder, on photographs under an even camera; its encoder stays as it is.

usage: refine_decoder.py MODEL_DIR PHOTOGRAPHS_DIR [--state FILE] [--resume] [--minutes N] [--out NEW_MODEL_DIR]
"""

import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import config
from basis import SIDE, Linear
from checkpoint import write_changed
from clip import preprocess
from clips import Clips
from latents import Pool, condition
from photographs import MixedPictures, Photographs, window_clip
from train_transformer import Nano, sampled
from train_vae import decibels, to_video
from training import Training, autocast, device, parser
from vae import VAE, CausalConv3d, published

VAE_FILE = "vae/diffusion_pytorch_model.safetensors"
LEAST_NOISE, MOST_NOISE = 0.02, 0.2  # of the latents: the transformer's are wrong by 0.12 to 0.2
STILL_RATE, ZOOM_RATE, LAYER_RATE = 0.15, 0.12, 0.2
OWN_RATE = 0.6  # of the clips where there are such with the transformer's own latents
FASTEST = 1.3  # pixels a frame
CHECK_SIDE = 128
LEAST_CHANGE = 1e-5  # mean square of what changes from frame to frame in a clip that counts as moving
AHEAD, MEAN = (0, -0.5, 1.5), (1 / 3, 1 / 3, 1 / 3)  # of a kernel's slices in time


def in_time(conv):
    """A convolution over space and time in place of one over space."""
    if isinstance(conv, CausalConv3d):
        return conv
    return CausalConv3d(conv.in_channels, conv.out_channels, present=conv.present)


class Refined(VAE):
    """A sparse VAE of whose decoder the layers after the frames are doubled reach over time as well."""

    def __init__(self, vae_config):
        super().__init__(vae_config)
        for block in self.decoder.up_blocks[2:]:
            for part in block.convs:
                part.conv1, part.conv2 = in_time(part.conv1), in_time(part.conv2)
        for block in self.decoder.up_blocks[1:3]:
            block.upsampler.conv = in_time(block.upsampler.conv)
        self.decoder.conv_out = in_time(self.decoder.conv_out)

    @torch.no_grad()
    def begin_with(self, source):
        """Takes the weights of another decoder of the same sizes."""
        theirs = dict(source.decoder.named_parameters())
        for name, weight in self.decoder.named_parameters():
            values = theirs[name]
            weight.copy_(values if values.dim() == weight.dim() else values[:, :, -1])  # the present frame's slice
        self.post_quant_conv.load_state_dict(source.post_quant_conv.state_dict())

    def is_even(self):
        """Whether the layers after the frames are doubled see the frames before."""
        return bool(self.decoder.conv_out.weight[:, :, :-1].any())

    @torch.no_grad()
    def even_out(self):
        """Before training: what a chunk shows moves in its middle and stands at its ends, for frames are interpolated
        between its two latents alone. Means over the frames before spread its jump over all frames; looking ahead from
        the latents before makes up for a part of the delay."""
        ahead, half, whole = (self.decoder.up_blocks[1].upsampler.conv, self.decoder.up_blocks[2].upsampler.conv,
                              self.decoder.conv_out)
        for conv, shares in ((ahead, AHEAD), (half, MEAN), (whole, MEAN)):
            present = conv.weight[:, :, -1].clone()
            for index, share in enumerate(shares):
                conv.weight[:, :, index] = share * present


def with_decoder(model, vae):
    """The state of a model's VAE with the decoder of another."""
    state, mine = load_file(Path(model) / VAE_FILE), vae.published_state()
    return {name: mine[name] if name.startswith(("decoder.", "post_quant_conv.")) else state[name] for name in state}


class Moves:
    """Clips of photographs: still, moving evenly in any direction, growing, and with a nearer layer."""

    def __init__(self, folder, seed):
        self.photographs, self.rng = Photographs(folder, seed), np.random.default_rng(seed + 1)

    def speed(self):
        turn = self.rng.uniform(0, 2 * np.pi)
        if self.rng.random() < 0.5:
            turn = np.pi / 2 * self.rng.integers(4)
        return self.rng.uniform(0.1, FASTEST**0.5) ** 2 * np.array([np.cos(turn), np.sin(turn)])

    def clip(self, height, width, frames):
        chance = self.rng.random()
        speed, growth = self.speed(), 1.0
        if chance < STILL_RATE:
            speed = np.zeros(2)
        elif chance < STILL_RATE + ZOOM_RATE:
            growth = 1 + self.rng.uniform(-0.1, 0.1) * frames / 24
            speed = speed * 0.3
        clip = self.textured(height, width, frames, speed, growth)
        if self.rng.random() < LAYER_RATE:
            clip = self.with_layer(clip, speed)
        return clip

    def textured(self, *arguments):
        """One clip of two, the one with more to see in it, mostly."""
        first = self.photographs.clip(*arguments)
        if self.rng.random() < 0.3:
            return first
        second = self.photographs.clip(*arguments)
        return max(first, second, key=lambda clip: np.abs(np.diff(clip[0], axis=1)).mean())

    def with_layer(self, clip, speed):
        frames, height, width = clip.shape[:3]
        other = self.photographs.clip(height, width, frames, speed * self.rng.uniform(1.2, 1.8))
        nearer = speed * 1.5
        side = 2 * max(height, width)
        mask = np.zeros((side, side), np.uint8)
        centre = self.rng.uniform(0.3, 0.7, 2) * side
        turns = np.sort(self.rng.uniform(0, 2 * np.pi, 9))
        radii = self.rng.uniform(0.1, 0.35, 9) * side / 2
        points = centre + np.stack([np.cos(turns), np.sin(turns)], 1) * radii[:, None]
        cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        masks = window_clip(cv2.merge([mask] * 3), height, width, frames, nearer).astype(np.float32) / 255
        return clip + masks * (other - clip)


class Own:
    """Clips with the latents that the model's own transformer makes of their first frames. Where these are far off, as a
    move too short is, they count in part: a decoder that is to undo that learns to blur."""

    def __init__(self, model, linear, photographs, count, seed, tokens=(12, 18)):
        nano = Nano().to(device()).eval()
        nano.begin_with(model)
        pool = Pool(linear, Clips(seed, 0, MixedPictures(photographs, seed, 1.0)), *tokens, count, 1)
        self.clips, errors = [], []
        for _ in range(count):
            video, sets, places = pool.videos(1)
            pictures = preprocess(video[:, :, 0] / 2 + 0.5, config.PREPROCESSOR["size"])
            latents = sampled(nano, condition(linear, video), pictures, sets, places)
            true = linear(video)
            error = latents - true
            size = error.square().mean((1, 3, 4), keepdim=True).sqrt()
            self.clips.append((video.half(), true + (MOST_NOISE / size).clamp(max=1) * error))
            errors.append(size.mean().item())
        print(f"  {count} clips of the transformer's own, wrong by {np.mean(errors):.3f}", flush=True)

    def draw(self, count, side):
        """Pieces of the clips [B, 3, T, side, side] and their latents."""
        videos, latents = [], []
        for index in torch.randint(len(self.clips), (count,)).tolist():
            video, mine = self.clips[index]
            top, left = (SIDE * int(torch.randint(part - side // SIDE + 1, (1,))) for part in mine.shape[3:])
            videos.append(video[:, :, :, top:top + side, left:left + side].float())
            latents.append(mine[..., top // SIDE:(top + side) // SIDE, left // SIDE:(left + side) // SIDE])
        return torch.cat(videos), torch.cat(latents)


def highpass(frames):
    """What is finer than a blur of three pixels; frames [N, C, H, W]."""
    return frames - F.avg_pool2d(F.pad(frames, (1, 1, 1, 1), mode="replicate"), 3, 1)


def energy(frames):
    """The root mean square of fine detail around every place, but for the pixels at the borders of cells: a grid is no
    detail."""
    inside = torch.ones(SIDE, SIDE, device=frames.device)
    inside[[0, -1]] = inside[:, [0, -1]] = 0
    inside = inside.repeat(frames.shape[2] // SIDE, frames.shape[3] // SIDE) / inside.mean()
    squares = frames.square().mean(1, keepdim=True) * inside
    return (F.avg_pool2d(squares, SIDE, SIDE // 2) + 1e-4).sqrt()


def noisy(latents, shares=1.0):
    """Latents with errors as the transformer's: of another strength in every clip, half of them the same in all frames;
    `shares` says how much of them each latent gets."""
    strength = LEAST_NOISE + (MOST_NOISE - LEAST_NOISE) * torch.rand(len(latents), 1, 1, 1, 1, device=latents.device)
    lasting = torch.randn_like(latents[:, :, :1])
    return latents + shares * strength * 0.5**0.5 * (lasting + torch.randn_like(latents))


def unevenness(decoded, video):
    """How far the change of every frame, measured along the true one, is from being as large."""
    mine, true = (F.avg_pool3d(part, (1, 4, 4)).diff(dim=2) for part in (decoded, video))
    strength = true.square().sum((1, 3, 4))
    share = (mine * true).sum((1, 3, 4)) / (strength + 1e-6)
    is_moving = strength.mean(1, keepdim=True) > LEAST_CHANGE * mine[0, :, 0].numel()
    return (is_moving * F.smooth_l1_loss(share, torch.ones_like(share), reduction="none", beta=0.5)).mean()


def loss_of(decoded, video, options):
    """The training loss and its parts; the first is the mean square error."""
    error = decoded - video
    square = error.square().mean()
    loss = 4 * square + 0.25 * error.abs().mean()
    step = error[:, :, 1:] - error[:, :, :-1]
    coarse = F.avg_pool3d(step, (1, 4, 4))
    moving = step.square().mean() + 8 * coarse.square().mean()
    flat, goal = (part.transpose(1, 2).flatten(0, 1) for part in (decoded, video))
    wrong = flat - goal
    edges = 0
    for axis in (2, 3):
        change = wrong.diff(dim=axis).abs()
        weight = torch.ones(change.shape[axis], device=change.device)
        weight[7::8] = options.grid
        shape = [1, 1, 1, 1]
        shape[axis] = -1
        edges = edges + (change * weight.view(shape)).mean()
    fine, wanted = highpass(flat), highpass(goal)
    detail = (energy(fine) - energy(wanted)).abs().mean()
    uneven = unevenness(decoded, video)
    loss = loss + options.moving * moving + options.even * uneven + options.edges * edges + options.detail * detail
    return loss, (square, moving, edges, detail, uneven)


def sharpness(frames):
    """The variance of the Laplacian of grey pictures [N, 3, H, W] in -1..1."""
    grey = (frames * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True) * 127.5
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return F.conv2d(grey, kernel).flatten(1).var(1)


def grid_ratio(frames):
    """The mean step between pixels across the borders of blocks over that beside them."""
    change = frames.diff(dim=3).abs().mean((0, 1, 2))
    return float(change[7::8].mean() / torch.cat([change[6::8], change[8::8]]).mean())


def jolts(clip):
    """The largest over the smallest change between adjacent frames, of a clip [3, T, H, W]."""
    change = F.avg_pool2d(clip.transpose(0, 1), 4).diff(dim=0).abs().mean((1, 2, 3))
    return float(change.max() / change.min())


class Check:
    """Clips of photographs that training does not see."""

    def __init__(self, folder):
        self.clips = {"still": [], "pan": []}
        for index, path in enumerate(sorted(Path(folder).glob("check/*.png"))):
            picture = cv2.imread(str(path))[..., ::-1]
            scale = 560 / max(picture.shape[:2])
            picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            picture = np.ascontiguousarray(picture)
            speed = np.array([[0.7, 0], [0, 0.7], [-1.4, 0], [0.5, 0.5]][index % 4])
            for name, frames, move in (("still", 8, (0, 0)), ("pan", 16, speed)):
                clip = window_clip(picture, CHECK_SIDE, CHECK_SIDE, frames, move)
                self.clips[name].append(to_video(clip.astype(np.float32) / 255))

    @torch.no_grad()
    def __call__(self, vae, linear):
        words = []
        for name, clips in self.clips.items():
            found = []
            for clip in clips:
                with autocast():
                    decoded = vae.decode(linear(clip[None].to(device())))[0].float().clamp(-1, 1).cpu()
                frames, truth = decoded.transpose(0, 1), clip.transpose(0, 1)
                ratio = (sharpness(frames) / sharpness(truth)).mean()
                found.append([decibels((decoded - clip).square().mean()), float(ratio),
                              grid_ratio(frames) / grid_ratio(truth),
                              jolts(decoded) / jolts(clip) if name == "pan" else 0])
            means = np.mean(found, 0)
            words.append(f"{name} {means[0]:.2f} dB sharp {means[1]:.3f} grid {means[2]:.3f} jolts {means[3]:.2f}")
        return "; ".join(words)


def main():
    arguments = parser(__doc__.split("\n")[0], "decoder.pt")
    arguments.add_argument("model")
    arguments.add_argument("photographs")
    arguments.add_argument("--out", help="folder to write the finished model to")
    arguments.add_argument("--side", type=int, default=96, help="pixels of the sides of a clip (default 96)")
    arguments.add_argument("--frames", type=int, default=24, help="of a clip (default 24)")
    arguments.add_argument("--moving", type=float, default=2.0, help="weight of the changes between frames")
    arguments.add_argument("--even", type=float, default=0.4, help="weight of the evenness of the move")
    arguments.add_argument("--edges", type=float, default=0.3, help="weight of the differences of neighbours")
    arguments.add_argument("--grid", type=float, default=10.0, help="how much more they count at the borders of blocks")
    arguments.add_argument("--detail", type=float, default=0.3, help="weight of the strength of fine detail")
    arguments.add_argument("--own", type=int, default=0, help="clips with the transformer's own latents (default none)")
    arguments.add_argument("--report", type=int, default=100, help="steps between measurements (default 100)")
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    source = published(options.model)
    linear = Linear(source, device())
    vae = Refined(source.config)
    vae.begin_with(source)
    if not vae.is_even():
        vae.even_out()
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)
    check = Check(options.photographs)
    print("  begins with", check(vae.to(device()), linear), flush=True)
    training = Training(vae, options, matrix_rate=0.01, rate=2e-3, keep=0.99)
    seed = 1000 * options.seed + training.step
    moves, sums = Moves(options.photographs, seed), []
    own = Own(options.model, linear, options.photographs, options.own, seed) if options.own else None
    training.begin = time.monotonic()
    while not training.is_over():
        if own and np.random.random() < OWN_RATE:
            video, latents = own.draw(options.batch, options.side)
        else:
            video = torch.stack([to_video(moves.clip(options.side, options.side, options.frames))
                                 for _ in range(options.batch)]).to(device())
            latents = noisy(linear(video))
        with autocast():
            decoded = training.module.decode(latents)
        loss, parts = loss_of(decoded.float(), video, options)
        training.update(loss)
        sums.append([part.item() for part in parts])
        if training.step % 50 == 0:
            means = np.mean(sums[-50:], 0)
            print(f"step {training.step} minute {training.minutes():.1f} PSNR {decibels(means[0]):.2f} moving "
                  f"{means[1]:.5f} edges {means[2]:.4f} detail {means[3]:.4f} uneven {means[4]:.3f}", flush=True)
        if training.step % options.report == 0:
            print("  " + check(training.average.module, linear), flush=True)
    training.save()
    if options.out:
        state = with_decoder(options.model, training.average.module)
        write_changed(Path(options.model), Path(options.out), {VAE_FILE: state})
    print("  " + check(training.average.module, linear), flush=True)


if __name__ == "__main__":
    main()
