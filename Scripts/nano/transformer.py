"""The transformer of the family (HunyuanTransformer3DModel): a U of blocks with full attention over space and time.

Parameters are named as in the published files; the shapes in the comments use D = heads x head size, C =
cross_attention_dim, N = frames x rows x columns.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

SINUSOID_WIDTH = 256
BASE_GRID = 32
MAX_FRAMES = 512
CLIP_OFF_FRACTION = 1 - 0.40  # of the model calls of a run


def sinusoid(values, width=SINUSOID_WIDTH):
    """Cosines, then sines, of numbers of any shape; the last axis is new."""
    half = width // 2
    rates = torch.exp(-math.log(10000) * torch.arange(half, device=values.device, dtype=torch.float32) / half)
    angles = values.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


def frame_positions(width, count=MAX_FRAMES):
    """The stored table of frame positions [1, count, D]."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[None]


def rotary_positions(rows, columns):
    """The places of a picture's rows and columns of tokens on the base grid."""
    if rows > columns:
        height, width = BASE_GRID, round(BASE_GRID / rows * columns)
    else:
        height, width = round(BASE_GRID / columns * rows), BASE_GRID
    top, left = round((BASE_GRID - height) / 2), round((BASE_GRID - width) / 2)
    return (top + torch.arange(rows, dtype=torch.float64) * height / rows,
            left + torch.arange(columns, dtype=torch.float64) * width / columns)


def rotary_table(row_positions, column_positions, head_size):
    """Cosines and sines [rows x columns, head size]: columns turn the first half of a head, rows the second."""
    axis = head_size // 2
    rates = 10000.0 ** (-2 * torch.arange(axis // 2, dtype=torch.float64) / axis)

    def angles(positions):
        turned = positions.float()[:, None] * rates.float()
        return turned.repeat_interleave(2, 1)

    rows, columns = angles(row_positions), angles(column_positions)
    grid = (len(rows), len(columns), axis)
    joined = torch.cat([columns[None].expand(grid), rows[:, None].expand(grid)], -1).flatten(0, 1)
    return joined.cos(), joined.sin()


def rotate(x, rotary):
    """x [B, heads, N, head size]; the table, one [places, head size] for all or for each [B, 1, places, head size],
    holds for every frame."""
    cosines, sines = (part.unsqueeze(-3) for part in rotary)
    frames = x.float().unflatten(2, (-1, cosines.shape[-2]))
    pairs = frames.unflatten(-1, (-1, 2))
    turned = torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(-2)
    return (frames * cosines + turned * sines).flatten(2, 3).to(x.dtype)


class FloatLayerNorm(nn.LayerNorm):
    """Layer norm with statistics in float32."""

    def forward(self, x):
        return F.layer_norm(x.float(), self.normalized_shape, self.weight, self.bias, self.eps)


def layer_norm(width, epsilon=1e-6):
    return FloatLayerNorm(width, eps=epsilon)


class Attention(nn.Module):
    def __init__(self, config, context):
        super().__init__()
        self.heads, size = config["num_attention_heads"], config["attention_head_dim"]
        width = self.heads * size
        self.to_q = nn.Linear(width, width)
        self.to_k, self.to_v = nn.Linear(context, width), nn.Linear(context, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        self.norm_q, self.norm_k = layer_norm(size), layer_norm(size)

    def forward(self, x, context, rotary, key_rotary=None):
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for part in (self.to_q(x), self.to_k(context), self.to_v(context)))
        q = rotate(self.norm_q(q), rotary)
        k = self.norm_k(k) if key_rotary is None else rotate(self.norm_k(k), key_rotary)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v)
        return self.to_out[0](y.transpose(1, 2).flatten(2))


class ShiftedNorm(nn.Module):
    """Layer norm and a shift by the conditioning vector."""

    def __init__(self, width):
        super().__init__()
        self.linear, self.norm = nn.Linear(width, width), layer_norm(width)

    def forward(self, x, activated):
        return self.norm(x) + self.linear(activated)[:, None]


class Gate(nn.Module):
    """The picture's gate; the family's norm here has an epsilon equal to the width."""

    def __init__(self, width):
        super().__init__()
        self.norm, self.proj = layer_norm(width, epsilon=width), nn.Linear(width, 2 * width)

    def forward(self, x):
        x, gate = self.proj(self.norm(x)).chunk(2, -1)
        return x * F.gelu(gate)


class ApproximateGELU(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.proj = nn.Linear(width, inner)

    def forward(self, x):
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.net = nn.Sequential(ApproximateGELU(width, inner), nn.Identity(), nn.Linear(inner, width))

    def forward(self, x):
        return self.net(x)


class FramePositions(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.register_buffer("pe", frame_positions(width).bfloat16().float())


class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        width, context = config["hidden_size"], config["cross_attention_dim"]
        if index > config["num_layers"] // 2:
            self.skip_norm, self.skip_linear = layer_norm(2 * width), nn.Linear(2 * width, width)
        self.t_embed = FramePositions(width)
        self.norm1, self.attn1 = ShiftedNorm(width), Attention(config, width)
        self.norm2, self.attn2 = layer_norm(width), Attention(config, context)
        self.norm_clip, self.attn_clip = layer_norm(width), Attention(config, context)
        self.gate_clip, self.norm_clip_out = Gate(width), layer_norm(width)
        self.norm3, self.ff = layer_norm(width), FeedForward(width, int(width * config["mlp_ratio"]))

    def forward(self, h, skip, frames, activated, text, picture, rotary):
        if skip is not None:
            h = self.skip_linear(self.skip_norm(torch.cat([h, skip], -1)))
        if frames is not None:
            h = h + self.t_embed.pe[0, frames].repeat_interleave(h.shape[1] // len(frames), 0)
        a = self.norm1(h, activated)
        h = h + self.attn1(a, a, rotary, rotary)
        h = h + self.attn2(self.norm2(h), text, rotary)
        h = h + self.norm_clip_out(self.gate_clip(self.attn_clip(self.norm_clip(h), picture, rotary)))
        return h + self.ff(self.norm3(h))


class TimestepEmbedder(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(SINUSOID_WIDTH, width), nn.Linear(width, width)

    def forward(self, time):
        return self.linear_2(F.silu(self.linear_1(sinusoid(time))))


class TwoLinears(nn.Module):
    def __init__(self, inputs, inner, outputs):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inputs, inner), nn.Linear(inner, outputs)

    def forward(self, x):
        return self.linear_2(F.silu(self.linear_1(x)))


class AttentionPooler(nn.Module):
    """Pools the second text stream by attention from its mean."""

    heads = 8

    def __init__(self, config):
        super().__init__()
        width = config["cross_attention_dim_t5"]
        self.positional_embedding = nn.Parameter(torch.randn(1 + config["text_len_t5"], width) / width**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, config["pooled_projection_dim"])

    def forward(self, x):
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2)
                   for part in (self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))


class TimeExtraEmbedding(nn.Module):
    """The conditioning vector: time, pooled second text stream, output size, style."""

    def __init__(self, config):
        super().__init__()
        width = config["hidden_size"]
        self.timestep_embedder = TimestepEmbedder(width)
        self.pooler = AttentionPooler(config)
        self.style_embedder = nn.Embedding(1, width)
        self.extra_embedder = TwoLinears(
            config["pooled_projection_dim"] + 6 * SINUSOID_WIDTH + width, 4 * width, width)

    def forward(self, time, second, heights, widths):
        """Times, heights and widths [B]."""
        large, none = torch.full_like(heights, 1024), torch.zeros_like(heights)
        waves = sinusoid(torch.stack([large, large, heights, widths, none, none], 1)).flatten(1)
        style = self.style_embedder.weight.expand(len(second), -1)
        extra = self.extra_embedder(torch.cat([self.pooler(second), waves, style], 1))
        return self.timestep_embedder(time) + extra


class Resampler(nn.Module):
    """A few tokens that learned queries draw from the picture's patches."""

    def __init__(self, config, picture_width):
        super().__init__()
        width, count = config["cross_attention_dim"], config["n_query"]
        self.query = nn.Parameter(torch.randn(count, width) * 0.02)
        self.pos_embed = nn.Parameter(torch.randn(count, width) * 0.02)
        self.kv_proj = nn.Linear(picture_width, width, bias=False) if picture_width != width else nn.Identity()
        self.ln_q, self.ln_kv = layer_norm(width, 1e-5), layer_norm(width, 1e-5)
        self.attn = nn.MultiheadAttention(width, config["num_attention_heads"], batch_first=True)

    def forward(self, features):
        q, kv = self.ln_q(self.query), self.ln_kv(self.kv_proj(features))
        q = (q + self.pos_embed).expand(len(features), -1, -1)
        keys = kv + self.patch_positions(features.shape[1])
        return self.attn(q, keys, kv, need_weights=False)[0]

    def patch_positions(self, patches):
        side, target = math.isqrt(len(self.pos_embed)), math.isqrt(patches)
        grid = self.pos_embed.T.reshape(1, -1, side, side)
        larger = F.interpolate(grid, size=(target, target), mode="bicubic", align_corners=False)
        return larger.flatten(2).transpose(1, 2)


class OutputNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, 2 * width)

    def forward(self, h, activated):
        scale, shift = self.linear(activated)[:, None].chunk(2, -1)
        return F.layer_norm(h.float(), h.shape[-1:], eps=1e-6) * (1 + scale) + shift


class PatchEmbed(nn.Module):
    def __init__(self, inputs, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(inputs, width, patch, patch)

    def forward(self, x):
        """[B, channels, f, h, w] as tokens in the order frame, row, column; in float32, for conditions are large."""
        with torch.autocast(x.device.type, enabled=False):
            frames = self.proj(x.transpose(1, 2).flatten(0, 1))
        return frames.flatten(2).transpose(1, 2).reshape(x.shape[0], -1, frames.shape[1])


class Transformer(nn.Module):
    def __init__(self, config, picture_width):
        super().__init__()
        self.config = config
        width, context = config["hidden_size"], config["cross_attention_dim"]
        second = config["cross_attention_dim_t5"]
        self.pos_embed = PatchEmbed(config["in_channels"], width, config["patch_size"])
        tokens = config["text_len"] + config["text_len_t5"]
        self.text_embedding_padding = nn.Parameter(torch.randn(tokens, context))
        self.clip_padding = nn.Parameter(torch.randn(config["n_query"], context))
        self.text_embedder = TwoLinears(second, 4 * second, context)
        self.time_extra_emb = TimeExtraEmbedding(config)
        self.clip_projection = Resampler(config, picture_width)
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config["num_layers"]))
        self.norm_out = OutputNorm(width)
        self.proj_out = nn.Linear(width, config["patch_size"] ** 2 * config["out_channels"])

    def text(self, first, second, first_mask, second_mask):
        """Both text streams [B, tokens, C]; padding stands where a mask is 0."""
        joined = torch.cat([first, self.text_embedder(second)], 1)
        mask = torch.cat([first_mask, second_mask], 1).bool()
        return torch.where(mask[..., None], joined, self.text_embedding_padding)

    def picture(self, features, sees):
        """The picture's tokens [B, queries, C] where `sees`, else padding."""
        return torch.where(sees[:, None, None], self.clip_projection(features), self.clip_padding)

    def forward(self, x, vector, text, picture, rotary, frames=None):
        """x [B, channels, f, h, w], the conditioning vector [B, D]; frames: their places in time, 0, 1, ... if None."""
        activated = F.silu(vector)
        if frames is None:
            frames = torch.arange(x.shape[2], device=x.device)
        shape, h, skips = x.shape, self.pos_embed(x), []
        half = len(self.blocks) // 2
        for index, block in enumerate(self.blocks):
            skip = skips.pop() if index > half else None
            h = block(h, skip, frames if shape[2] > 1 else None, activated, text, picture, rotary)
            if index < half - 1:
                skips.append(h)
        return self.unpatchify(self.proj_out(self.norm_out(h, activated)), shape)

    def unpatchify(self, y, shape):
        batch, _, frames, height, width = shape
        patch = self.config["patch_size"]
        y = y.reshape(batch, frames, height // patch, width // patch, patch, patch, -1)
        return y.permute(0, 6, 1, 2, 4, 3, 5).reshape(batch, -1, frames, height, width)
