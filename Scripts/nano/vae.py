"""The causal video autoencoder of the family (AutoencoderKLMagvit): 8 x 8 pixels and 4 frames to one latent.

Videos are [B, 3, T, H, W] in -1..1, latents [B, C, t, h, w]. Parameters are named as in the published files.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

REPLICATED, SINGLE, INDEPENDENT, CONTINUING = "replicated", "single", "independent", "continuing"
STILL = "still"  # every frame on its own: how a picture trains the kernels' present slices
NORM_EPSILON = 1e-6
ANCHOR = 3.0


class Chunk:
    """How convolutions see the frames around a chunk of a video, and what they remember of the chunks before."""

    def __init__(self, mode, memory=None):
        self.mode = mode
        self.memory = {} if memory is None else memory

    def timeline(self, conv, x):
        """The frames of x with the two frames that a kernel of three needs around them."""
        if self.mode in (SINGLE, INDEPENDENT):
            return F.pad(x, (0, 0, 0, 0, 1, 1))
        past = self.memory.get(conv) if self.mode == CONTINUING else None
        past = x[:, :, :1].expand(-1, -1, 2, -1, -1) if past is None else past
        line = torch.cat([past.to(x.dtype), x], 2)
        self.memory[conv] = line[:, :, -2:]
        return line


def fold(x):
    """[B, C, T, H, W] as [B T, C, H, W]."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], *x.shape[3:])


def unfold(x, batch):
    """The inverse of fold."""
    return x.reshape(batch, -1, *x.shape[1:]).transpose(1, 2)


class CausalConv3d(nn.Conv3d):
    """A convolution over space and time, padded in time as the chunk says."""

    def __init__(self, inputs, outputs, kernel=3, stride=(1, 1, 1), present=None):
        super().__init__(inputs, outputs, kernel, stride)
        self.present = present

    def forward(self, x, chunk):
        if self.kernel_size[0] == 1:
            return unfold(F.conv2d(fold(x), self.weight[:, :, 0], self.bias), x.shape[0])
        if chunk.mode == STILL:
            frames, border = spatial_padding(fold(x), self.stride[1])
            weight = self.weight[:, :, self.present].contiguous(memory_format=torch.channels_last)
            return unfold(F.conv2d(frames, weight, self.bias, self.stride[1], border), x.shape[0])
        x, border = spatial_padding(chunk.timeline(self, x), self.stride[1])
        if self.stride[0] == 1:  # kernels over space with the three frames as channels are several times as fast on CPUs
            count = x.shape[2] - 2
            line = torch.cat([x[:, :, i:i + count] for i in range(3)], 1)
            weight = self.weight.transpose(1, 2).flatten(1, 2)
            return unfold(F.conv2d(fold(line), weight, self.bias, self.stride[1], border), x.shape[0])
        return F.conv3d(x, self.weight, self.bias, self.stride, (0, border, border))


class FrameConv(nn.Conv2d):
    """A convolution of every frame on its own: in the family's layout, the slice `present` of a kernel whose other
    slices are zero."""

    def __init__(self, inputs, outputs, present, stride=1):
        super().__init__(inputs, outputs, 3, stride)
        self.present = present

    def forward(self, x, chunk):
        frames, border = spatial_padding(fold(x), self.stride[0])
        return unfold(F.conv2d(frames, self.weight, self.bias, self.stride, border), x.shape[0])

    def published_weight(self):
        weight = self.weight.new_zeros(*self.weight.shape[:2], 3, 3, 3)
        weight[:, :, self.present] = self.weight
        return weight


def spatial_padding(x, stride):
    """A stride of one pads with zeros all around; two pads one row and column at the bottom and right."""
    return (x, 1) if stride == 1 else (F.pad(x, (0, 1, 0, 1)), 0)


def convolution(inputs, outputs, present, stride=(1, 1, 1), in_time=False):
    """Over space and time, or of the present frame alone."""
    if present is None or in_time or stride[0] > 1:
        return CausalConv3d(inputs, outputs, stride=stride, present=present)
    return FrameConv(inputs, outputs, present, stride[1])


class ChunkNorm(nn.GroupNorm):
    """Group norm over a whole chunk, or over each frame."""

    def __init__(self, channels, config):
        super().__init__(config["norm_num_groups"], channels, NORM_EPSILON)
        self.per_frame = config["spatial_group_norm"]

    def forward(self, x):
        return unfold(super().forward(fold(x)), x.shape[0]) if self.per_frame else super().forward(x)


class ResBlock(nn.Module):
    def __init__(self, inputs, outputs, config, present, in_time=False):
        super().__init__()
        self.norm1 = ChunkNorm(inputs, config)
        self.conv1 = convolution(inputs, outputs, present, in_time=in_time)
        self.norm2 = ChunkNorm(outputs, config)
        self.conv2 = convolution(outputs, outputs, present)
        self.shortcut = CausalConv3d(inputs, outputs, kernel=1) if inputs != outputs else None

    def forward(self, x, chunk):
        h = self.conv1(F.silu(self.norm1(x)), chunk)
        h = self.conv2(F.silu(self.norm2(h)), chunk)
        return h + (x if self.shortcut is None else self.shortcut(x, chunk))


class FrameAttention(nn.Module):
    """Attention over the positions of each frame."""

    def __init__(self, width, config):
        super().__init__()
        self.group_norm = nn.GroupNorm(config["norm_num_groups"], width, NORM_EPSILON)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(width, width) for _ in range(4))
        self.heads = config.get("mid_block_num_attention_heads", 1)

    def forward(self, x):
        frames = fold(x)
        tokens = self.group_norm(frames).flatten(2).transpose(1, 2)
        q, k, v = (part(tokens).unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for part in (self.to_q, self.to_k, self.to_v))
        y = self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + unfold(y.transpose(1, 2).reshape(frames.shape), x.shape[0])


class MidBlock(nn.Module):
    def __init__(self, width, config, present):
        super().__init__()
        layers = config["layers_per_block"]
        self.convs = nn.ModuleList(ResBlock(width, width, config, present) for _ in range(layers))
        has_attention = config.get("mid_block_use_attention", True)
        self.attentions = nn.ModuleList(FrameAttention(width, config) for _ in range(layers - 1) if has_attention)

    def forward(self, x, chunk):
        x = self.convs[0](x, chunk)
        for index, block in enumerate(self.convs[1:]):
            if self.attentions:
                x = self.attentions[index](x)
            x = block(x, chunk)
        return x


class Downsampler(nn.Module):
    def __init__(self, width, stride, present):
        super().__init__()
        self.conv = convolution(width, width, present, stride)

    def forward(self, x, chunk):
        return self.conv(x, chunk)


class DownBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, config, present):
        super().__init__()
        self.convs = nn.ModuleList(
            ResBlock(inputs if i == 0 else outputs, outputs, config, present)
            for i in range(config["layers_per_block"]))
        self.downsampler = Downsampler(outputs, stride, present) if stride else None

    def forward(self, x, chunk):
        for block in self.convs:
            x = block(x, chunk)
        return self.downsampler(x, chunk) if self.downsampler else x


class Upsampler(nn.Module):
    """Doubles height and width, then the frames: interpolated linearly, or repeated where norms are per frame."""

    def __init__(self, width, in_time, config, present):
        super().__init__()
        self.conv = convolution(width, width, present)
        self.in_time = in_time
        self.repeats = config["spatial_group_norm"]

    def forward(self, x, chunk):
        x = F.interpolate(x, scale_factor=(1, 2, 2), mode="nearest")
        x = self.conv(x, chunk)
        if not self.in_time or chunk.mode in (SINGLE, STILL):
            return x
        if chunk.mode == REPLICATED:
            return torch.cat([x[:, :, :1], self.doubled(x[:, :, 1:])], 2) if x.shape[2] > 1 else x
        return self.doubled(x)

    def doubled(self, x):
        if self.repeats:
            return x.repeat_interleave(2, 2)
        before = torch.cat([x[:, :, :1], x[:, :, :-1]], 2)
        after = torch.cat([x[:, :, 1:], x[:, :, -1:]], 2)
        both = torch.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], 3)
        return both.flatten(2, 3)


class UpBlock(nn.Module):
    def __init__(self, inputs, outputs, upsampling, config, present):
        super().__init__()
        self.convs = nn.ModuleList(
            ResBlock(inputs if i == 0 else outputs, outputs, config, present, in_time=i == 0 and upsampling is not None)
            for i in range(config["layers_per_block"] + 1))
        self.upsampler = Upsampler(outputs, upsampling == "time", config, present) if upsampling else None

    def forward(self, x, chunk):
        for block in self.convs:
            x = block(x, chunk)
        return self.upsampler(x, chunk) if self.upsampler else x


def widths(config):
    return [config["ch"] * multiplier for multiplier in config["ch_mult"]]


class Encoder(nn.Module):
    def __init__(self, config, present):
        super().__init__()
        sizes = widths(config)
        strides = [(1, 2, 2), (2, 2, 2), (2, 2, 2), None]
        self.conv_in = convolution(3, sizes[0], present)
        self.down_blocks = nn.ModuleList(
            DownBlock(sizes[max(i - 1, 0)], sizes[i], strides[i], config, present) for i in range(4))
        self.mid_block = MidBlock(sizes[3], config, present)
        self.conv_norm_out = ChunkNorm(sizes[3], config)
        self.conv_out = convolution(sizes[3], 2 * config["latent_channels"], present)

    def forward(self, x, chunk):
        x = self.conv_in(x, chunk)
        for block in self.down_blocks:
            x = block(x, chunk)
        x = self.mid_block(x, chunk)
        return self.conv_out(F.silu(self.conv_norm_out(x)), chunk)


class Decoder(nn.Module):
    def __init__(self, config, present):
        super().__init__()
        sizes = widths(config)[::-1]
        kinds = ["space", "time", "time", None]
        self.conv_in = convolution(config["latent_channels"], sizes[0], present, in_time=True)
        self.mid_block = MidBlock(sizes[0], config, present)
        self.up_blocks = nn.ModuleList(
            UpBlock(sizes[max(i - 1, 0)], sizes[i], kinds[i], config, present) for i in range(4))
        self.conv_norm_out = ChunkNorm(sizes[3], config)
        self.conv_out = convolution(sizes[3], 3, present)

    def forward(self, x, chunk):
        x = self.mid_block(self.conv_in(x, chunk), chunk)
        for block in self.up_blocks:
            x = block(x, chunk)
        return self.conv_out(F.silu(self.conv_norm_out(x)), chunk)


class VAE(nn.Module):
    """With `is_sparse`, most kernels reach over space only, which makes training three times as fast."""

    def __init__(self, config, is_sparse=True):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config, 1 if is_sparse else None)
        self.decoder = Decoder(config, 2 if is_sparse else None)
        latent = config["latent_channels"]
        self.quant_conv = CausalConv3d(2 * latent, 2 * latent, kernel=1)
        self.post_quant_conv = CausalConv3d(latent, latent, kernel=1)

    def initialize(self):
        """Before training: residual branches add nothing, and the path beside them keeps what goes through it."""
        for name, module in self.named_modules():
            if not isinstance(module, (CausalConv3d, FrameConv)):
                continue
            nn.init.zeros_(module.bias)
            if name.endswith("conv2"):
                nn.init.zeros_(module.weight)
            else:
                initialize_path(module.weight, module.present)
        anchor(self.decoder.up_blocks[3].convs[0].shortcut, self.config["norm_num_groups"])

    def encode(self, video):
        """Mean and log variance of the posterior, not scaled."""
        chunk_size, count = self.config["mini_batch_encoder"], video.shape[2]
        chunks = [(video[:, :, :1], SINGLE)] if count % 2 else []
        chunks += [(part, INDEPENDENT) for part in video[:, :, count % 2:].split(chunk_size, 2) if part.shape[2]]
        moments = [self.quant_conv(self.encoder(part, Chunk(mode)), Chunk(mode)) for part, mode in chunks]
        mean, log_variance = torch.cat(moments, 2).chunk(2, 1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, latents):
        """Frames of latents that are not scaled; not clamped."""
        if latents.shape[2] == 1:
            return self.decode_chunk(latents, Chunk(SINGLE))
        chunk = Chunk(CONTINUING)
        parts = latents.split(self.config["mini_batch_decoder"], 2)
        return torch.cat([self.decode_chunk(part, chunk) for part in parts], 2)

    def published_state(self):
        """The weights by their published names and shapes."""
        state = dict(self.state_dict())
        for name, module in self.named_modules():
            if isinstance(module, FrameConv):
                state[name + ".weight"] = module.published_weight()
        return state

    def decode_chunk(self, latents, chunk):
        return self.decoder(self.post_quant_conv(latents, chunk), chunk)


@torch.no_grad()
def initialize_path(weight, present):
    """Orthogonal over space; the present frame alone."""
    flat = weight if weight.dim() == 4 else weight[:, :, 0].clone()
    nn.init.orthogonal_(flat.flatten(1))
    if weight.dim() == 5:
        weight.zero_()[:, :, present or 0] = flat


@torch.no_grad()
def anchor(shortcut, groups):
    """Makes a quarter of every group's channels a large constant and another quarter its negative, so that the group
    norm behind them hardly depends on the picture: its brightness and contrast go through."""
    weights, biases = (part.unflatten(0, (groups, 4, -1)) for part in (shortcut.weight, shortcut.bias))
    weights[:, :2] = 0
    biases[:, 0], biases[:, 1] = ANCHOR, -ANCHOR


def sample_posterior(mean, log_variance, noise):
    return mean + torch.exp(0.5 * log_variance) * noise


def published(folder):
    """A model's VAE as it is published."""
    folder = Path(folder) / "vae"
    vae = VAE(json.loads((folder / "config.json").read_text()), is_sparse=False)
    weights = load_file(folder / "diffusion_pytorch_model.safetensors")
    vae.load_state_dict({name: value.float() for name, value in weights.items()})
    return vae.eval()
