"""From clips to what the transformer is trained on: latents, condition, picture and control set."""

import numpy as np
import torch

import config
from clip import preprocess
from clips import Clips
from controls import SETS
from train_vae import masked, to_video
from training import autocast, device
from vae import VAE, sample_posterior

CHUNK = config.VAE["mini_batch_encoder"]
MEASURED_CLIPS, MEASURED_SIDE = 48, 128


def load_vae(path):
    """The trained VAE, its latents brought to mean 0 and deviation 1, its weights rounded as they are published."""
    vae = VAE(config.VAE)
    vae.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    vae = vae.to(device()).eval().requires_grad_(False)
    standardize(vae)
    for weight in vae.parameters():
        weight.copy_(weight.bfloat16())
    return vae


def standardize(vae):
    """Folds the mean and deviation of every latent channel into the two convolutions around the latents."""
    clips = Clips(5, layer_rate=0)
    videos = [to_video(clips.clip(MEASURED_SIDE, MEASURED_SIDE, CHUNK, *clips.control()))
              for _ in range(MEASURED_CLIPS)]
    latents = torch.cat([vae.encode(video[None].to(device()))[0] for video in videos])
    mean, deviation = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4))
    count = len(mean)
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:count] /= deviation[:, None, None, None, None]
    into.bias[:count] = (into.bias[:count] - mean) / deviation
    into.bias[count:] -= 2 * deviation.log()
    out.bias += out.weight[:, :, 0, 0, 0] @ mean
    out.weight *= deviation[:, None, None, None]


class Latents:
    """Encodes clips and their conditions as the pipeline of the family does."""

    def __init__(self, vae):
        self.vae, self.constants = vae, {}

    @torch.no_grad()
    def sample(self, video):
        with autocast():
            moments = self.vae.encode(video.to(device(), memory_format=torch.channels_last_3d))
        mean, log_variance = (part.float() for part in moments)
        return sample_posterior(mean, log_variance, torch.randn_like(mean))

    def constant(self, first, rest, height, width):
        """Latents of a chunk whose first frame has one value and whose others have another."""
        key = (first, rest, height, width)
        if key not in self.constants:
            video = torch.full((1, 3, CHUNK, height, width), float(rest))
            video[:, :, 0] = first
            self.constants[key] = self.sample(video)
        return self.constants[key]

    def condition(self, video):
        """Latents of the mask and of the clip of which only the first frame is known [B, 32, f, h, w]."""
        height, width = video.shape[3:]
        later = video.shape[2] // CHUNK - 1
        known = self.sample(torch.stack([masked(clip) for clip in video[:, :, :CHUNK]]))
        black = [self.constant(-1, -1, height, width)] * later
        mask = [self.constant(0, 1, height, width)] + [self.constant(1, 1, height, width)] * later
        parts = [torch.cat(mask, 2).expand(len(video), -1, -1, -1, -1),
                 torch.cat([known] + [part.expand(len(video), -1, -1, -1, -1) for part in black], 2)]
        return torch.cat(parts, 1)


class Pool:
    """Encoded clips of one size in a ring; every clip is used several times before another takes its place."""

    def __init__(self, latents, clips, rows, columns, capacity, renewal):
        self.latents, self.clips, self.size = latents, clips, (16 * rows, 16 * columns)
        self.capacity, self.renewal, self.next, self.parts = capacity, renewal, 0, None

    def draw(self, count):
        """Random clips: latents, condition, pictures for the image encoder, control sets."""
        missing = 0 if self.parts is None else len(self.parts[0])
        self.add(count if missing < self.capacity else max(1, round(count * self.renewal)))
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

    def encoded(self, count):
        controls = [self.clips.control() for _ in range(count)]
        frames = [self.clips.clip(*self.size, config.FRAMES, *control) for control in controls]
        video = torch.stack([to_video(np.ascontiguousarray(clip)) for clip in frames]).to(device())
        pictures = preprocess(video[:, :, 0] / 2 + 0.5, config.PREPROCESSOR["size"])
        sets = torch.tensor([SETS.index(control) for control in controls], device=device())
        return self.latents.sample(video), self.latents.condition(video), pictures, sets
