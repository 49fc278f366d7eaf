#!/usr/bin/env python3
"""Trains the decoder of the VAE on procedural pictures, then on clips; the encoder is set by basis.py.

usage: train_vae.py [--state FILE] [--resume] [--stills] [--minutes N] [--batch N] [--side PIXELS] [--pictures DIR]
"""

from pathlib import Path

import cv2
import numpy as np
import torch

import config
from basis import Basis, set_encoder
from clips import HELD_OUT, MOTIONS, Clips
from training import Training, autocast, device, parser
from vae import STILL, VAE, Chunk

CHUNK = config.VAE["mini_batch_encoder"]
NOISE = 0.02  # of the latents in training; the transformer's are not exact either


def to_video(clip):
    """[T, H, W, 3] in 0..1 as [3, T, H, W] in -1..1."""
    return torch.from_numpy(clip).permute(3, 0, 1, 2) * 2 - 1


def masked(video):
    """The condition of the transformer: the first frame, then black."""
    return torch.cat([video[:, :1], torch.full_like(video[:, 1:], -1)], 1)


def draw_batch(clips, options):
    """Pictures [B, 3, 1, H, W], or clips of whole chunks."""
    side = options.side
    if options.stills:
        videos = [to_video(clips.pictures(side, side)[None]) for _ in range(options.batch)]
    else:
        videos = [to_video(clips.clip(side, side, CHUNK * options.chunks, *clips.control(), clips.long_side()))
                  for _ in range(options.batch)]
    return torch.stack(videos).to(device(), memory_format=torch.channels_last_3d)


def decoded(vae, basis, video, noise=0.0):
    """A batch through the VAE, with noise on its latents."""
    latents = basis(video)
    latents = latents + noise * torch.randn_like(latents)
    return vae.decode_chunk(latents, Chunk(STILL)) if video.shape[2] == 1 else vae.decode(latents)


def loss_of(vae, basis, video):
    """The training loss and the mean square error."""
    error = decoded(vae, basis, video, NOISE).float() - video
    square = error.square().mean()
    return 4 * square + 0.25 * error.abs().mean(), square


def decibels(square):
    """PSNR of a mean square error of values in -1..1."""
    return 10 * np.log10(4 / max(float(square), 1e-9))


@torch.no_grad()
def quality(vae, basis, videos):
    """PSNR of every clip [3, T, H, W] through the VAE."""
    results = []
    for video in videos:
        with autocast():
            result = decoded(vae, basis, video[None].to(device()))[0].float().clamp(-1, 1)
        results.append(decibels((result - video.to(device())).square().mean()))
    return results


def clip_quality(vae, basis, side=128):
    """PSNR of clips that training does not see: static, and each motion to the left."""
    clips, report = Clips(HELD_OUT, layer_rate=0), {}
    for name, camera, motion in [("static", "static", 1)] + [(f"left{m}", "left", m) for m in MOTIONS]:
        report[name] = np.mean(quality(vae, basis, [to_video(clips.clip(side, side, 2 * CHUNK, camera, motion))
                                             for _ in range(4)]))
    return report


def middle_of(path):
    """The middle of a picture in the size of the clips."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    picture = cv2.resize(np.ascontiguousarray(picture), (config.WIDTH, config.HEIGHT), interpolation=cv2.INTER_AREA)
    top, left = config.HEIGHT // 4, config.WIDTH // 4
    return picture[top:-top, left:-left].astype(np.float32) / 255


def picture_quality(vae, basis, folder, frames):
    """Mean PSNR of still clips of pictures."""
    paths = sorted(Path(folder).glob("*.[jp][pn]g"))
    return {"pictures": np.mean(quality(vae, basis, [to_video(np.repeat(middle_of(path)[None], frames, 0))
                                              for path in paths]))}


def report(training, basis, options):
    vae = training.average.module
    found = {} if options.stills else clip_quality(vae, basis)
    if options.pictures:
        found |= picture_quality(vae, basis, options.pictures, 1 if options.stills else CHUNK)
    print("  PSNR " + " ".join(f"{name} {value:.2f}" for name, value in found.items()), flush=True)


def main():
    arguments = parser("Trains the decoder of the VAE on procedural pictures or clips.", "vae.pt")
    arguments.add_argument("--side", type=int, default=128, help="pixels of a training clip's sides (default 128)")
    arguments.add_argument("--chunks", type=int, default=1, help="chunks of 8 frames in a clip (default 1)")
    arguments.add_argument("--stills", action="store_true", help="train the present slices of the kernels on pictures")
    arguments.add_argument("--pictures", help="folder of pictures to measure on, never trained on")
    arguments.add_argument("--report", type=int, default=250, help="steps between measurements (default 250)")
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    vae = VAE(config.VAE)
    vae.initialize()
    basis = Basis().to(device())
    set_encoder(vae, basis)
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)
    training = Training(vae, options, matrix_rate=0.01, rate=2e-3)
    clips = Clips(1000 * options.seed + training.step)
    squares = []
    while not training.is_over():
        batch = draw_batch(clips, options)
        with autocast():
            loss, square = loss_of(training.module, basis, batch)
        training.update(loss)
        squares.append(square.item())
        if training.step % 50 == 0:
            psnr = decibels(np.mean(squares[-50:]))
            print(f"step {training.step} minute {training.minutes():.1f} PSNR {psnr:.2f}", flush=True)
        if training.step % options.report == 0:
            report(training, basis, options)
    training.save()
    report(training, basis, options)


if __name__ == "__main__":
    main()
