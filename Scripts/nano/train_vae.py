#!/usr/bin/env python3
"""Trains the VAE on procedural clips of 8 frames.

usage: train_vae.py [--state FILE] [--resume] [--minutes N] [--batch N] [--side PIXELS] [--pictures DIR]
"""

from pathlib import Path

import cv2
import numpy as np
import torch

import config
from clips import HELD_OUT, MOTIONS, Clips
from training import Training, autocast, device, parser
from vae import VAE, sample_posterior

FRAMES = config.VAE["mini_batch_encoder"]
MASKED_RATE, UNIFORM_RATE = 0.15, 0.02
BLACK_WEIGHT = 0.02  # of the frames of a condition that are not known
KL_WEIGHT = 1e-6


def to_video(clip):
    """[T, H, W, 3] in 0..1 as [3, T, H, W] in -1..1."""
    return torch.from_numpy(clip).permute(3, 0, 1, 2) * 2 - 1


def masked(video):
    """The condition of the transformer: the first frame, then black."""
    return torch.cat([video[:, :1], torch.full_like(video[:, 1:], -1)], 1)


def draw_clip(clips, side, chunks):
    """A clip as the VAE meets it: moving, a condition, or a mask of one value; and the weight of each frame's error."""
    count, kind = FRAMES * chunks, clips.rng.random()
    weights = torch.ones(count)
    if kind < UNIFORM_RATE:
        return torch.full((3, count, side, side), float(clips.rng.integers(-1, 2))), weights
    video = to_video(clips.clip(side, side, count, *clips.control()))
    if kind < UNIFORM_RATE + MASKED_RATE:
        video = masked(video)
        weights[1:] = BLACK_WEIGHT
    return video, weights


def draw_batch(clips, options):
    pairs = [draw_clip(clips, options.side, options.chunks) for _ in range(options.batch)]
    videos, weights = (torch.stack(parts) for parts in zip(*pairs))
    return videos.to(device(), memory_format=torch.channels_last_3d), weights.to(device())


def losses(vae, video, weights):
    """Reconstruction and divergence from the unit Gaussian, and the mean square error."""
    mean, log_variance = vae.encode(video)
    mean, log_variance = mean.float(), log_variance.float()
    latents = sample_posterior(mean, log_variance, torch.randn_like(mean))
    error = (vae.decode(latents).float() - video).transpose(1, 2).flatten(2)  # [B, T, values of a frame]
    absolute, square = (((e.mean(2) * weights).sum() / weights.sum()) for e in (error.abs(), error.square()))
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
    return absolute + 2 * square + KL_WEIGHT * divergence, square


def decibels(square):
    """PSNR of a mean square error of values in -1..1."""
    return 10 * np.log10(4 / max(float(square), 1e-9))


@torch.no_grad()
def round_trip(vae, videos):
    """Clips [B, 3, T, H, W] decoded from their latents, and the clips, on the device."""
    videos = videos.to(device(), memory_format=torch.channels_last_3d)
    with autocast():
        return vae.decode(vae.encode(videos)[0]).float().clamp(-1, 1), videos


def clip_quality(vae, side=128):
    """PSNR of clips that training does not see: static, and each motion to the left."""
    clips, report = Clips(HELD_OUT, layer_rate=0), {}
    for name, camera, motion in [("static", "static", 1)] + [(f"left{m}", "left", m) for m in MOTIONS]:
        videos = torch.stack([to_video(clips.clip(side, side, 2 * FRAMES, camera, motion)) for _ in range(4)])
        decoded, videos = round_trip(vae, videos)
        report[name] = np.mean([decibels(s) for s in (decoded - videos).square().mean((1, 2, 3, 4)).tolist()])
    return report


def middle_of(path):
    """The middle of a picture in the size of the clips."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    picture = cv2.resize(np.ascontiguousarray(picture), (config.WIDTH, config.HEIGHT), interpolation=cv2.INTER_AREA)
    top, left = config.HEIGHT // 4, config.WIDTH // 4
    return picture[top:-top, left:-left].astype(np.float32) / 255


def picture_quality(vae, folder):
    """Mean PSNR of still clips of pictures, and of the first frames of their conditions."""
    still, first = [], []
    for path in sorted(Path(folder).glob("*.[jp][pn]g")):
        video = to_video(np.repeat(middle_of(path)[None], FRAMES, 0))
        decoded, videos = round_trip(vae, torch.stack([video, masked(video)]))
        still.append(decibels((decoded[0] - videos[0]).square().mean()))
        first.append(decibels((decoded[1, :, 0] - videos[1, :, 0]).square().mean()))
    return {"pictures": np.mean(still), "known": np.mean(first)}


def report(training, options):
    vae = training.average.module
    quality = clip_quality(vae)
    if options.pictures:
        quality |= picture_quality(vae, options.pictures)
    print("  PSNR " + " ".join(f"{name} {value:.2f}" for name, value in quality.items()), flush=True)


def main():
    arguments = parser("Trains the VAE on procedural clips.", "vae.pt")
    arguments.add_argument("--side", type=int, default=96, help="pixels of a training clip's sides (default 96)")
    arguments.add_argument("--chunks", type=int, default=1, help="chunks of 8 frames in a clip (default 1)")
    arguments.add_argument("--pictures", help="folder of pictures to measure on, never trained on")
    arguments.add_argument("--report", type=int, default=500, help="steps between measurements (default 500)")
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    vae = VAE(config.VAE)
    vae.initialize()
    training = Training(vae, options, matrix_rate=0.01, rate=2e-3)
    clips = Clips(1000 * options.seed + training.step)
    squares = []
    while not training.is_over():
        batch = draw_batch(clips, options)
        with autocast():
            loss, square = losses(training.module, *batch)
        training.update(loss)
        squares.append(square.item())
        if training.step % 50 == 0:
            psnr = decibels(np.mean(squares[-50:]))
            print(f"step {training.step} minute {training.minutes():.1f} PSNR {psnr:.2f}", flush=True)
        if training.step % options.report == 0:
            report(training, options)
    training.save()
    report(training, options)


if __name__ == "__main__":
    main()
