"""The encoder of ruyi-nano: the principal components of blocks of 8 x 8 pixels and 4 frames.

Components are found once from procedural clips; then the encoder's kernels are set so that its layers compute exactly
these linear functions. Its residual branches add nothing.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import config
from clips import Clips

SIDE, FRAMES = 8, 4  # of a block
CLIPS, CLIP_SIDE, SEED = 900, 96, 7
STILL_RATE = 0.3
LARGE = 1024.0  # what stands beside the latents in the group norm, so that it does not depend on them
GAIN, LIFT = 0.05, 12.0  # of the latents before the activation, where that is a straight line


def blocks(video):
    """[T, H, W, 3] as [blocks, values]; the values are ordered frame, row, column, channel."""
    frames, height, width, _ = video.shape
    parts = video.reshape(frames // FRAMES, FRAMES, height // SIDE, SIDE, width // SIDE, SIDE, 3)
    return parts.transpose(0, 2, 4, 1, 3, 5, 6).reshape(-1, FRAMES * SIDE * SIDE * 3)


def principal_components(count):
    """The mean block, the components as rows [count, values] and their standard deviations."""
    clips = Clips(SEED, layer_rate=0)
    total, products, number = 0, 0, 0
    for _ in range(CLIPS):
        still = clips.rng.random() < STILL_RATE
        camera, motion = ("static", 1) if still else clips.control()
        part = blocks(clips.clip(CLIP_SIDE, CLIP_SIDE, FRAMES, camera, motion) * 2 - 1).astype(np.float64)
        total, products, number = total + part.sum(0), products + part.T @ part, number + len(part)
    mean = total / number
    variances, vectors = np.linalg.eigh(products / number - np.outer(mean, mean))
    return mean, vectors[:, ::-1][:, :count].T, np.sqrt(variances[::-1][:count])


def latent_functions():
    """What the latents are: functions [16, 4, 8, 8, 3] and offsets [16].

    Their standard deviations are the square roots of the components', brought to a mean square of 1: strong
    components stay stronger, which keeps their errors small, without leaving the weak ones to the noise.
    """
    mean, components, deviations = principal_components(config.VAE["latent_channels"])
    wanted = np.sqrt(deviations)
    wanted /= np.sqrt(np.mean(wanted**2))
    functions = components * (wanted / deviations)[:, None]
    return functions.reshape(-1, FRAMES, SIDE, SIDE, 3), -(functions @ mean)


class Basis(nn.Module):
    """The latents' functions as they stand: what the encoder computes, at once."""

    def __init__(self):
        super().__init__()
        functions, offsets = latent_functions()
        self.functions, self.offsets = functions, offsets
        weight = np.ascontiguousarray(functions.transpose(0, 4, 1, 2, 3))
        self.register_buffer("weight", torch.from_numpy(weight).float())
        self.register_buffer("bias", torch.from_numpy(offsets).float())

    @torch.no_grad()
    def forward(self, video):
        """Latents of whole blocks of frames; a single frame stands for four."""
        with torch.autocast(video.device.type, enabled=False):
            weight = self.weight.sum(2, keepdim=True) if video.shape[2] == 1 else self.weight
            return F.conv3d(video.contiguous(), weight, self.bias, stride=(min(FRAMES, video.shape[2]), SIDE, SIDE))


class Linear:
    """The latents that a finished model's encoder computes, as one convolution: it is linear in blocks of pixels."""

    @torch.no_grad()
    def __init__(self, vae, device):
        count = FRAMES * SIDE * SIDE * 3
        blocks = torch.cat([torch.zeros(1, count), torch.eye(count)]).view(-1, 3, FRAMES, SIDE, SIDE)
        means = vae.encode(blocks)[0].flatten(1)
        self.bias = means[0].to(device)
        self.weight = (means[1:] - means[0]).T.reshape(-1, 3, FRAMES, SIDE, SIDE).contiguous().to(device)

    @torch.no_grad()
    def __call__(self, video):
        with torch.autocast(video.device.type, enabled=False):
            return F.conv3d(video.contiguous(), self.weight, self.bias, stride=(FRAMES, SIDE, SIDE))


def importance(basis):
    """How much an error of each latent shows: between their errors' count in pixels and in latents; mean 1."""
    weights = 1 / basis.weight.flatten(1).norm(dim=1)
    return (weights / weights.mean()).view(-1, 1, 1, 1)


def narrowed(functions, width):
    """The functions as two steps: `width` functions of each part of 4 x 4 pixels and 2 frames [width, 2, 4, 4, 3], and
    functions of these [16, width, 2, 2, 2] over the parts in the order frame, row, column."""
    count = len(functions)
    parts = functions.reshape(count, 2, 2, 2, 4, 2, 4, 3).transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(count * 8, -1)
    kept = np.linalg.svd(parts, full_matrices=False)[2][:width]
    second = (parts @ kept.T).reshape(count, 2, 2, 2, width).transpose(0, 4, 1, 2, 3)
    return kept.reshape(width, 2, 4, 4, 3), second


@torch.no_grad()
def set_encoder(vae, basis):
    """Makes the encoder compute the latents' functions."""
    functions, offsets = basis.functions, basis.offsets
    encoder, groups = vae.encoder, config.VAE["norm_num_groups"]
    for name, weight in list(encoder.named_parameters()) + list(vae.quant_conv.named_parameters()):
        if "norm" not in name:
            weight.zero_()
    width = encoder.down_blocks[1].downsampler.conv.weight.shape[0]
    first, second = narrowed(functions, width)
    encoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    half = encoder.down_blocks[0].downsampler.conv.weight  # channels become (row, column, colour)
    for row in range(2):
        for column in range(2):
            for colour in range(3):
                half[(row * 2 + column) * 3 + colour, colour, row, column] = 1
    encoder.down_blocks[1].convs[0].shortcut.weight[range(12), range(12), 0, 0, 0] = 1
    quarter = encoder.down_blocks[1].downsampler.conv.weight
    cells = first.reshape(width, 2, 2, 2, 2, 2, 3).transpose(0, 3, 5, 6, 1, 2, 4)  # inner place, then frame and cell
    quarter[:, :12, 1:, :2, :2] = torch.from_numpy(np.ascontiguousarray(cells).reshape(width, 12, 2, 2, 2))
    encoder.down_blocks[2].convs[0].shortcut.weight[range(width), range(width), 0, 0, 0] = 1
    eighth = encoder.down_blocks[2].downsampler.conv
    count = len(functions)
    eighth.weight[:count, :width, 1:, :2, :2] = torch.from_numpy(second)
    eighth.bias[:count] = torch.from_numpy(offsets)
    lift_over_norm(encoder, count, groups)
    vae.quant_conv.weight[range(2 * count), range(2 * count), 0, 0, 0] = 1


def lift_over_norm(encoder, count, groups):
    """Takes the latents through the last norm and activation: beside large constants that cancel, with both signs, far
    up on the straight part of the activation."""
    shortcut = encoder.down_blocks[3].convs[0].shortcut
    size = len(shortcut.bias) // groups
    share, quarter = count // groups, size // 4
    encoder.conv_norm_out.weight.fill_(GAIN * LARGE / 2**0.5)
    encoder.conv_norm_out.bias.fill_(LIFT)
    for group in range(groups):
        start = group * size
        shortcut.bias[start:start + quarter] = LARGE
        shortcut.bias[start + quarter:start + 2 * quarter] = -LARGE
        for index in range(share):
            latent, place = group * share + index, start + 2 * quarter + 2 * index
            for offset, sign in enumerate((1, -1)):
                shortcut.weight[place + offset, latent, 0, 0, 0] = sign
                encoder.conv_out.weight[latent, place + offset, 1, 1] = sign / (2 * GAIN)
    encoder.conv_out.bias[count:] = config.LOG_VARIANCE
