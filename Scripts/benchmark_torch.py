"""The work of `ruyi bench` in plain PyTorch: each function returns what makes {label: function}, ready to be timed.

`benchmark_torch.py PRECISION GPU` answers like `ruyi bench --interactive`: a name a line, one run each, timed on the GPU
that this text of `ruyi doctor` names.
"""

import gc
import json
import re
import sys
import time

import torch
import torch.nn.functional as F


PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
# What everything is, but for what a row has beside it in another type.
DTYPE = torch.float32
# What computes.
DEVICE = "cpu"


def kind():
    return next(name for name, dtype in PRECISIONS.items() if dtype == DTYPE)


def use_gpu(text):
    """Computes on the GPU that this text of `ruyi doctor` names, and gives its name; None where PyTorch sees none such."""
    global DEVICE
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found = [index for index, name in enumerate(names) if name in text]
    if len(names) == 1 and "llvmpipe" not in text:
        found = [0]  # Whatever the drivers call it.
    if not found:
        return None
    DEVICE = "cuda:%d" % found[0]
    torch.cuda.set_device(found[0])
    # Both sides multiply float32 as such, and PyTorch may look for its fastest convolution.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    return names[found[0]]


def built(make):
    """What a row's `make` gives, with its weights and inputs where they are needed."""
    gc.collect()
    if DEVICE == "cpu":
        return make()
    torch.cuda.empty_cache()
    with torch.device(DEVICE):
        return make()


def timed(function):
    """The seconds of one run."""
    wait = torch.cuda.synchronize if DEVICE != "cpu" else lambda: None
    with torch.inference_mode():
        wait()
        start = time.perf_counter()
        result = function()
        wait()
        seconds = time.perf_counter() - start
    del result
    return seconds


def uniform(*shape, spread=1.0, centre=0.0, dtype=None):
    return torch.empty(shape).uniform_(centre - spread, centre + spread).to(dtype or DTYPE)


def linear(rows, inputs, outputs, with_bf16, int8=False):
    def make():
        x = uniform(rows, inputs)
        weight, bias = uniform(outputs, inputs, spread=0.02), uniform(outputs)
        peers = {kind() + " F.linear": lambda: F.linear(x, weight, bias)}
        if torch.backends.mkldnn.is_available() and DTYPE == torch.float32 and DEVICE == "cpu":
            dense, packed, added = x.to_mkldnn(), weight.to_mkldnn(), bias.to_mkldnn()
            peers["float32 oneDNN linear"] = lambda: torch._C._nn.mkldnn_linear(dense, packed, added)
        if with_bf16:
            short = [t.bfloat16() for t in (x, weight, bias)]
            peers["bf16 F.linear"] = lambda: F.linear(*short)
        if int8 and DEVICE == "cpu":
            module = torch.nn.Linear(inputs, outputs)
            quantized = torch.ao.quantization.quantize_dynamic(
                torch.nn.Sequential(module), {torch.nn.Linear}, dtype=torch.qint8)
            peers["int8 dynamic"] = lambda: quantized(x)
        return peers

    return make


def attention(heads, size, queries, keys):
    def make():
        # As a model has them: [1, tokens, heads x size] from the projections, viewed as heads, and put back together.
        q = uniform(1, queries, heads * size)
        k, v = uniform(1, keys, heads * size), uniform(1, keys, heads * size)

        def run(prepare):
            parts = [prepare(t.view(1, -1, heads, size).transpose(1, 2)) for t in (q, k, v)]
            out = F.scaled_dot_product_attention(*parts)
            return out.transpose(1, 2).reshape(1, queries, heads * size)

        ready = [t.view(1, -1, heads, size).transpose(1, 2).contiguous() for t in (q, k, v)]
        return {
            "scaled_dot_product_attention on views": lambda: run(lambda t: t),
            "scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(*ready),
        }

    return make


def convolution(channels, frames, height, width):
    def make():
        x = uniform(1, channels, frames + 2, height, width)
        weight, bias = uniform(channels, channels, 3, 3, 3, spread=0.02), uniform(channels)
        last, packed = (t.to(memory_format=torch.channels_last_3d) for t in (x, weight))
        return {
            "conv3d channels_last_3d": lambda: F.conv3d(last, packed, bias, padding=(0, 1, 1)),
            "conv3d": lambda: F.conv3d(x, weight, bias, padding=(0, 1, 1)),
        }

    return make


def group_norm_silu(channels, frames, height, width):
    def make():
        x = uniform(frames, channels, height, width)
        weight, bias = uniform(channels, centre=1, spread=0.1), uniform(channels)
        last = x.to(memory_format=torch.channels_last)

        def run(x):
            return F.silu(F.group_norm(x, 32, weight, bias, 1e-6), inplace=True)

        return {"group_norm, silu": lambda: run(x), "the same, channels_last": lambda: run(last)}

    return make


def layer_norm_modulate(tokens, width):
    def make():
        x, weight, bias = uniform(1, tokens, width), uniform(width, centre=1, spread=0.1), uniform(width)
        scale, shift = uniform(1, 1, width), uniform(1, 1, width)

        def plain():
            return F.layer_norm(x, (width,), weight, bias, 1e-6) * (1 + scale) + shift

        def in_place():
            return F.layer_norm(x, (width,), weight, bias, 1e-6).mul_(1 + scale).add_(shift)

        return {"layer_norm, mul, add": plain, "the same in place": in_place}

    return make


def rotate(x, cosines, sines):
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)
    return x * cosines + torch.stack((-second, first), -1).flatten(-2) * sines


def head_norm_rope(tokens, heads, size):
    def make():
        x = uniform(1, tokens, heads * size)
        weight, bias = uniform(size, centre=1, spread=0.1), uniform(size)
        cosines, sines = uniform(tokens, 1, size), uniform(tokens, 1, size)
        complex_table = torch.complex(uniform(tokens, 1, size // 2), uniform(tokens, 1, size // 2))

        def norm():
            return F.layer_norm(x.view(1, tokens, heads, size), (size,), weight, bias, 1e-6)

        def as_complex():
            pairs = torch.view_as_complex(norm().unflatten(-1, (-1, 2)))
            return torch.view_as_real(pairs * complex_table).flatten(-2)

        return {
            "layer_norm, rotation by pairs": lambda: rotate(norm(), cosines, sines),
            "layer_norm, complex rotation": as_complex,
        }

    return make


def activation(name):
    function = {"gelu": F.gelu, "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"), "silu": F.silu}[name]

    def make():
        x = uniform(4096, 12288)
        return {"F." + name: lambda: function(x)}

    return make


class Block:
    """A block of Ruyi in plain PyTorch: full attention, two cross-attentions, a gate, a feed-forward layer."""

    def __init__(self, frames, rows, columns, dtype, width=2816, heads=16, inner=12288, context=1024):
        self.dtype, self.width, self.heads, self.size = dtype, width, heads, width // heads
        self.frames, self.tokens = frames, frames * rows * columns

        def layer(outputs, inputs):
            spread = (3 / inputs) ** 0.5
            return uniform(outputs, inputs, spread=spread, dtype=dtype), uniform(outputs, spread=0.1, dtype=dtype)

        def norm(size):
            return uniform(size, centre=1, spread=0.1), uniform(size, spread=0.1)

        self.attentions = [
            {
                "q": layer(width, width), "k": layer(width, source), "v": layer(width, source),
                "out": layer(width, width), "q norm": norm(self.size), "k norm": norm(self.size),
            }
            for source in (width, context, context)
        ]
        self.norms = [norm(width) for _ in range(6)]
        self.shift, self.gate = layer(width, width), layer(2 * width, width)
        self.inner, self.outer = layer(inner, width), layer(width, inner)
        self.positions = uniform(frames, 1, width, dtype=dtype)
        self.cosines, self.sines = uniform(self.tokens, 1, self.size), uniform(self.tokens, 1, self.size)
        self.x = uniform(1, self.tokens, width, dtype=dtype)
        self.embedding = uniform(1, width, dtype=dtype)
        self.text, self.picture = (uniform(1, count, context, dtype=dtype) for count in (333, 16))

    def norm(self, x, weights, epsilon=1e-6):
        # The reference's norms compute in float32.
        return F.layer_norm(x.float(), weights[0].shape, *(w.float() for w in weights), epsilon).to(self.dtype)

    def attend(self, x, context, parts, turns_keys):
        def split(t):
            return t.view(1, -1, self.heads, self.size)

        q = rotate(self.norm(split(F.linear(x, *parts["q"])), parts["q norm"]).float(), self.cosines, self.sines)
        k = self.norm(split(F.linear(context, *parts["k"])), parts["k norm"])
        if turns_keys:
            k = rotate(k.float(), self.cosines, self.sines)
        v = split(F.linear(context, *parts["v"]))
        heads = [t.to(self.dtype).transpose(1, 2) for t in (q, k, v)]
        out = F.scaled_dot_product_attention(*heads)
        return F.linear(out.transpose(1, 2).reshape(1, -1, self.width), *parts["out"])

    def __call__(self):
        h = (self.x.view(self.frames, -1, self.width) + self.positions).view(1, -1, self.width)
        a = self.norm(h, self.norms[0]) + F.linear(self.embedding, *self.shift)[:, None]
        h = h + self.attend(a, a, self.attentions[0], True)
        h = h + self.attend(self.norm(h, self.norms[1]), self.text, self.attentions[1], False)
        c = self.attend(self.norm(h, self.norms[2]), self.picture, self.attentions[2], False)
        c, gate = F.linear(self.norm(c, self.norms[3], self.width), *self.gate).chunk(2, -1)
        h = h + self.norm(c * F.gelu(gate), self.norms[4])
        inner = F.linear(self.norm(h, self.norms[5]), *self.inner)
        return h + F.linear(F.gelu(inner, approximate="tanh"), *self.outer)


def block(tokens, with_bf16):
    def make():
        shape = {2048: (2, 32, 32)}.get(tokens, (tokens // 1008, 24, 42))
        peers = {kind() + " block": Block(*shape, DTYPE)}
        if with_bf16:
            peers["bf16 block"] = Block(*shape, torch.bfloat16)
        return peers

    return make


def hunyuan_block(stream, tokens, texts=256):
    """A block of HunyuanVideo in plain PyTorch and, where that is there, as diffusers has it, all of whose text is seen."""

    def make():
        plain = stream_block(stream, (1,), (tokens,), texts, 3072, 24)()
        try:
            from diffusers.models.transformers import transformer_hunyuan_video as reference
        except ImportError:
            return plain
        block = {
            "dual": reference.HunyuanVideoTransformerBlock, "single": reference.HunyuanVideoSingleTransformerBlock,
        }[stream](24, 128, 4.0, "rms_norm").eval().to(DTYPE)
        x, text, embedding = (uniform(1, count, 3072) for count in (tokens, texts, 1))
        turns = tuple(uniform(tokens, 128) for _ in range(2))
        return {**plain, kind() + " diffusers": lambda: block(x, text, embedding[:, 0], None, turns)[0]}

    return make


def hunyuan_decoder(latents, side):
    """HunyuanVideo's VAE decoder as diffusers has it, without tiles."""

    def make():
        from diffusers import AutoencoderKLHunyuanVideo

        vae = AutoencoderKLHunyuanVideo().eval().to(DTYPE)
        x = uniform(1, 16, latents, side, side)

        def layout(memory_format):
            def run():
                vae.to(memory_format=memory_format)
                return vae.decoder(vae.post_quant_conv(x.contiguous(memory_format=memory_format)))

            return run

        return {
            "diffusers": layout(torch.contiguous_format), "diffusers, channels_last_3d": layout(torch.channels_last_3d),
        }

    return make


def modulated(x, scale, shift, weight=None, bias=None, epsilon=1e-6):
    return F.layer_norm(x, x.shape[-1:], weight, bias, epsilon) * (1 + scale) + shift


def split_heads(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def step_block(tokens, texts=237, width=6144, heads=48):
    """A block of Step-Video, by the same operations; the halves of a head's parts are rotated as one."""

    def make():
        size = width // heads
        layers = {name: uniform(rows, columns) for name, rows, columns in (
            ("wqkv", 3 * width, width), ("wo", width, width), ("wq", width, width), ("wo2", width, width),
            ("inner", 4 * width, width), ("outer", width, 4 * width))}
        x, key, value = uniform(1, tokens, width), uniform(1, heads, texts, size), uniform(1, heads, texts, size)
        rows = [uniform(1, 1, width) for _ in range(6)]
        norms = [(uniform(width, centre=1, spread=0.1), uniform(width)) for _ in range(2)]
        gain, cosines, sines = uniform(size, centre=1, spread=0.1), uniform(tokens, size), uniform(tokens, size)

        def turn(x):
            x = F.rms_norm(x, (size,), gain, 1e-6)
            first, second = x.chunk(2, -1)
            return x * cosines + torch.cat((-second, first), -1) * sines

        def joined(x):
            return x.transpose(1, 2).flatten(2)

        def run():
            parts = F.linear(modulated(x, rows[0], rows[1], *norms[0], 1e-5), layers["wqkv"])
            query, keys, values = split_heads(parts, heads).chunk(3, -1)
            attended = F.scaled_dot_product_attention(turn(query), turn(keys), values)
            y = x + rows[2] * F.linear(joined(attended), layers["wo"])
            query = F.rms_norm(split_heads(F.linear(y, layers["wq"]), heads), (size,), gain, 1e-6)
            y = y + F.linear(joined(F.scaled_dot_product_attention(query, key, value)), layers["wo2"])
            inner = F.gelu(F.linear(modulated(y, rows[3], rows[4], *norms[1], 1e-5), layers["inner"]), approximate="tanh")
            return y + rows[5] * F.linear(inner, layers["outer"])

        return {kind() + " plain": run}

    return make


def stream_block(part, frames=(13, 1, 1, 1), areas=(240, 960, 3840, 3840), texts=128, width=1920, heads=30):
    """A block of Pyramid Flow's miniFLUX form, by the same operations: frames see the text and the frames before them."""

    def make():
        size, count = width // heads, sum(a * b for a, b in zip(frames, areas))
        ends, end = [], texts
        for number, area in zip(frames, areas):
            for _ in range(number):
                end += area
                ends += [end] * (area + (texts if not ends else 0))
        mask = None if len(frames) == 1 else torch.arange(texts + count)[None] < torch.tensor(ends)[:, None]
        video, text = uniform(1, count, width), uniform(1, texts, width)
        gain, cosines, sines = uniform(size, centre=1, spread=0.1), uniform(count, size), uniform(count, size)

        def layer(outputs, inputs=width):
            return uniform(outputs, inputs), uniform(outputs)

        def stream():
            return {"qkv": layer(3 * width), "out": layer(width), "inner": layer(4 * width),
                    "outer": layer(width, 4 * width), "rows": [uniform(1, 1, width) for _ in range(6)]}

        def heads_of(x, layers, turns):
            parts = split_heads(F.linear(x, *layers["qkv"]), 3).unflatten(-1, (heads, size))
            query, key, value = (part.transpose(1, 2) for part in parts.unbind(1))
            query, key = (F.rms_norm(part, (size,), gain, 1e-6) for part in (query, key))
            return (rotate(query, *turns), rotate(key, *turns), value) if turns else (query, key, value)

        def finish(x, attended, layers):
            rows = layers["rows"]
            y = x + rows[2] * F.linear(attended, *layers["out"])
            inner = F.gelu(F.linear(modulated(y, rows[3], rows[4]), *layers["inner"]), approximate="tanh")
            return y + rows[5] * F.linear(inner, *layers["outer"])

        turns = (cosines, sines)
        first, second = stream(), stream()

        def dual():
            a = heads_of(modulated(text, *second["rows"][:2]), second, None)
            b = heads_of(modulated(video, *first["rows"][:2]), first, turns)
            joined = (torch.cat(parts, 2) for parts in zip(a, b))
            attended = F.scaled_dot_product_attention(*joined, attn_mask=mask).transpose(1, 2).flatten(2)
            finish(text, attended[:, :texts], second)
            return finish(video, attended[:, texts:], first)

        both = torch.cat((text, video), 1)
        still = torch.ones(texts, size, dtype=DTYPE), torch.zeros(texts, size, dtype=DTYPE)
        all_turns = [torch.cat(parts) for parts in zip(still, turns)]
        last = layer(width, 5 * width)

        def single():
            normed = modulated(both, *first["rows"][:2])
            query, key, value = heads_of(normed, first, all_turns)
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
            inner = F.gelu(F.linear(normed, *first["inner"]), approximate="tanh")
            return both + first["rows"][2] * F.linear(torch.cat((attended, inner), -1), *last)

        return {kind() + " plain": {"dual": dual, "single": single}[part]}

    return make


def framepack_call(rows=60, columns=104, frames=9, texts=256):
    """A call of FramePack's transformer as diffusers has it, with one block of each kind and its whole history."""

    def make():
        from diffusers import HunyuanVideoFramepackTransformer3DModel as Transformer

        model = Transformer(
            num_layers=1, num_single_layers=1, has_image_proj=True, has_clean_x_embedder=True).eval().requires_grad_(False).to(DTYPE)

        def latents(count):
            return uniform(1, 16, count, rows, columns)

        def places(*range_):
            return torch.arange(*range_)

        inputs = dict(
            hidden_states=latents(frames), timestep=torch.tensor([900.0]), encoder_hidden_states=uniform(1, texts, 4096),
            encoder_attention_mask=torch.ones(1, texts), pooled_projections=uniform(1, 768),
            image_embeds=uniform(1, 729, 1152), indices_latents=places(10, 19), guidance=torch.tensor([10000.0]),
            latents_clean=latents(2), indices_latents_clean=torch.tensor([0, 19]), latents_history_2x=latents(2),
            indices_latents_history_2x=places(20, 22), latents_history_4x=latents(16),
            indices_latents_history_4x=places(22, 38), return_dict=False)
        return {kind() + " diffusers": lambda: model(**inputs)[0]}

    return make


class LastUpBlock:
    """The last level of Ruyi's VAE decoder for one frame, whose past is itself."""

    def __init__(self, height, width, layout):
        def layer(outputs, inputs, kernel=3):
            weight = uniform(outputs, inputs, kernel, kernel, kernel, spread=0.02).contiguous(memory_format=layout)
            return weight, uniform(outputs, spread=0.1)

        def norm(size):
            return uniform(size, centre=1, spread=0.1), uniform(size, spread=0.1)

        self.blocks = [
            (norm(first), layer(128, first), norm(128), layer(128, 128)) for first in (256, 128, 128)
        ]
        self.shortcut, self.norm_out, self.conv_out = layer(128, 256, 1), norm(128), layer(3, 128)
        self.x = uniform(1, 256, 1, height, width).contiguous(memory_format=layout)

    @staticmethod
    def norm(x, weights):
        return F.silu(F.group_norm(x, 32, *weights, 1e-6), inplace=True)

    @staticmethod
    def convolve(x, layer):
        return F.conv3d(torch.cat((x, x, x), 2), *layer, padding=(0, 1, 1))

    def __call__(self):
        x = self.x
        for index, (norm1, conv1, norm2, conv2) in enumerate(self.blocks):
            hidden = self.convolve(self.norm(x, norm1), conv1)
            shortcut = F.conv3d(x, *self.shortcut) if index == 0 else x
            x = self.convolve(self.norm(hidden, norm2), conv2) + shortcut
        return self.convolve(self.norm(x, self.norm_out), self.conv_out)


def last_up_block(height, width):
    def make():
        return {
            "channels_last_3d": LastUpBlock(height, width, torch.channels_last_3d),
            "plain layout": LastUpBlock(height, width, torch.contiguous_format),
        }

    return make


class PyramidDecoder:
    """Pyramid Flow's VAE decoder at its published size, a latent a chunk, two in the first."""

    def __init__(self, latents, side, layout):
        def layer(outputs, inputs, kernel=3):
            spread = (3 / (inputs * kernel ** 3)) ** 0.5
            weight = uniform(outputs, inputs, kernel, kernel, kernel, spread=spread).contiguous(memory_format=layout)
            return weight, uniform(outputs, spread=0.1)

        def norm(size):
            return uniform(size, centre=1, spread=0.1), uniform(size, spread=0.1)

        def block(inputs, outputs):
            shortcut = None if inputs == outputs else layer(outputs, inputs, 1)
            return norm(inputs), layer(outputs, inputs), norm(outputs), layer(outputs, outputs), shortcut

        widths = [512, 512, 256, 128]
        self.post, self.first = layer(16, 16, 1), layer(512, 16)
        self.middle = [block(512, 512), block(512, 512)]
        self.attention = [norm(512)] + [(uniform(512, 512, spread=0.04), uniform(512)) for _ in range(4)]
        self.levels = []
        for level, width in enumerate(widths):
            blocks = [block(widths[max(level - 1, 0)] if index == 0 else width, width) for index in range(3)]
            self.levels.append((blocks, (layer(4 * width, width), layer(2 * width, width)) if level < 3 else None))
        self.last = norm(128), layer(3, 128)
        self.latents, self.layout = uniform(1, 16, latents, side, side), layout

    def convolve(self, x, layer):
        past = self.memory.get(id(layer))
        x = F.pad(x, (0, 0, 0, 0, 2, 0)) if past is None else torch.cat((past, x), 2)
        self.memory[id(layer)] = x[:, :, -2:].clone()
        return F.conv3d(x, *layer, padding=(0, 1, 1))

    @staticmethod
    def norm(x, weights):
        # Each frame by itself.
        frames = x.transpose(1, 2).flatten(0, 1)
        return F.group_norm(frames, 32, *weights, 1e-6).unflatten(0, (1, -1)).transpose(1, 2)

    def block(self, x, weights):
        norm1, conv1, norm2, conv2, shortcut = weights
        hidden = self.convolve(F.silu(self.norm(x, norm1), inplace=True), conv1)
        hidden = self.convolve(F.silu(self.norm(hidden, norm2), inplace=True), conv2)
        return hidden + (x if shortcut is None else F.conv3d(x, *shortcut))

    def attend(self, x):
        norm, query, key, value, output = self.attention
        tokens = self.norm(x, norm)[0].permute(1, 2, 3, 0).flatten(1, 2)
        q, k, v = (F.linear(tokens, *weights)[:, None] for weights in (query, key, value))
        result = F.linear(F.scaled_dot_product_attention(q, k, v)[:, 0], *output)
        return x + result.transpose(1, 2).unflatten(2, x.shape[3:]).transpose(0, 1)[None]

    def decode(self, x, is_first):
        x = self.convolve(F.conv3d(x, *self.post), self.first)
        x = self.block(self.attend(self.block(x, self.middle[0])), self.middle[1])
        for blocks, samplers in self.levels:
            for weights in blocks:
                x = self.block(x, weights)
            if samplers:
                x = self.convolve(x, samplers[0])
                x = x.unflatten(1, (-1, 2, 2)).permute(0, 1, 4, 5, 2, 6, 3).flatten(3, 4).flatten(4, 5)
                x = self.convolve(x.contiguous(memory_format=self.layout), samplers[1])
                x = x.unflatten(1, (-1, 2)).permute(0, 1, 3, 2, 4, 5).flatten(2, 3)
                x = x[:, :, 1 if is_first else 0:].contiguous(memory_format=self.layout)
        return self.convolve(F.silu(self.norm(x, self.last[0]), inplace=True), self.last[1])

    def __call__(self):
        self.memory = {}
        result = self.decode(self.latents[:, :, :2], True)
        for place in range(2, self.latents.shape[2]):
            result = self.decode(self.latents[:, :, place:place + 1], False)
        return result


def pyramid_decoder(latents, side):
    def make():
        return {
            "channels_last_3d": PyramidDecoder(latents, side, torch.channels_last_3d),
            "plain layout": PyramidDecoder(latents, side, torch.contiguous_format),
        }

    return make


class StepDecoder:
    """Step-Video's VAE decoder at its published size, a chunk of three latents."""

    def __init__(self, side, layout):
        def layer(outputs, inputs, *kernel):
            spread = (3 / (inputs * torch.Size(kernel).numel())) ** 0.5
            weight = uniform(outputs, inputs, *kernel, spread=spread)
            planar = {torch.channels_last_3d: torch.channels_last}.get(layout, layout)
            return weight.contiguous(memory_format=layout if len(kernel) == 3 else planar), uniform(outputs, spread=0.1)

        def norm(size):
            return uniform(size, centre=1, spread=0.1), uniform(size, spread=0.1)

        def block(inputs, outputs):
            shortcut = None if inputs == outputs else layer(outputs, inputs, 1, 1, 1)
            return norm(inputs), layer(outputs, inputs, 3, 3, 3), norm(outputs), layer(outputs, outputs, 3, 3, 3), shortcut

        self.first, self.unpatchify = layer(2048, 64, 3, 3, 3), layer(4096, 2048, 3, 3, 3)
        self.middle = [block(512, 512), block(512, 512)]
        self.attention = [norm(512)] + [(uniform(512, 512, spread=0.04), uniform(512)) for _ in range(4)]
        self.levels = []
        for inputs, width, kind in ((512, 512, "3d"), (512, 512, "3d"), (512, 256, "2d"), (256, 128, None)):
            blocks = [block(inputs if index == 0 else width, width) for index in range(3)]
            sampler = None
            if kind == "2d":
                sampler = layer(width, width, 3, 3)
            elif kind:
                sampler = layer(width, width, 3, 3, 3), norm(width), layer(width, width, 3, 3, 3), norm(width)
            self.levels.append((blocks, kind, sampler))
        self.last = norm(128), layer(3, 128, 3, 3, 3)
        self.latents, self.layout = uniform(1, 64, 3, side, side), layout

    @staticmethod
    def convolve(x, layer):
        return F.conv3d(F.pad(x, (0, 0, 0, 0, 2, 0)), *layer, padding=(0, 1, 1))

    @staticmethod
    def norm(x, weights):
        # Each frame by itself.
        frames = x.transpose(1, 2).flatten(0, 1)
        return F.group_norm(frames, 32, *weights, 1e-5).unflatten(0, (1, -1)).transpose(1, 2)

    def block(self, x, weights):
        norm1, conv1, norm2, conv2, shortcut = weights
        hidden = self.convolve(F.silu(self.norm(x, norm1), inplace=True), conv1)
        hidden = self.convolve(F.silu(self.norm(hidden, norm2), inplace=True), conv2)
        return hidden + (x if shortcut is None else F.conv3d(x, *shortcut))

    def attend(self, x):
        norm, query, key, value, output = self.attention
        tokens = self.norm(x, norm)[0].permute(1, 2, 3, 0).flatten(0, 2)[None]
        q, k, v = (F.linear(tokens, *weights)[:, None] for weights in (query, key, value))
        result = F.linear(F.scaled_dot_product_attention(q, k, v, is_causal=True)[:, 0], *output)
        return x + result.transpose(1, 2).unflatten(2, x.shape[2:])

    def shuffle(self, x):
        x = x.unflatten(1, (-1, 2, 2, 2)).permute(0, 1, 5, 2, 6, 3, 7, 4)
        x = x.flatten(6, 7).flatten(4, 5).flatten(2, 3)[:, :, 1:]
        return x.contiguous(memory_format=self.layout)

    def double(self, x, kind, sampler):
        if kind == "2d":
            frames = F.interpolate(x.transpose(1, 2).flatten(0, 1), scale_factor=2, mode="nearest")
            x = F.conv2d(frames, *sampler, padding=1).unflatten(0, (1, -1)).transpose(1, 2)
            return x.contiguous(memory_format=self.layout)
        conv1, norm1, conv2, norm2 = sampler
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        hidden = F.silu(self.norm(self.convolve(x, conv1), norm1), inplace=True)
        return F.silu(self.norm(self.convolve(hidden, conv2), norm2) + x, inplace=True) + x

    def __call__(self):
        x = self.convolve(self.latents, self.first) + self.latents.repeat_interleave(32, 1)
        x = self.shuffle(self.convolve(x, self.unpatchify)) + self.shuffle(x.repeat_interleave(2, 1))
        x = self.block(self.attend(self.block(x, self.middle[0])), self.middle[1])
        for blocks, kind, sampler in self.levels:
            for weights in blocks:
                x = self.block(x, weights)
            if kind:
                x = self.double(x, kind, sampler)
        x = self.convolve(F.silu(self.norm(x, self.last[0]), inplace=True), self.last[1])
        return x[:, :, 3:]


def step_decoder(side):
    def make():
        return {
            "channels_last_3d": StepDecoder(side, torch.channels_last_3d),
            "plain layout": StepDecoder(side, torch.contiguous_format),
        }

    return make


# ---------------------------------------------------------------------------------------- By name


NAMED = [
    (r"linear-(?:bf16|f32)-(\d+)x(\d+)-(\d+)", lambda short, i, o, rows: linear(rows, i, o, short)),
    (r"linear-int8-(\d+)x(\d+)-(\d+)", lambda short, i, o, rows: linear(rows, i, o, short, int8=True)),
    (r"attention-(\d+)x(\d+)-(\d+)", lambda short, heads, size, tokens: attention(heads, size, tokens, tokens)),
    (r"attention-(\d+)x(\d+)-(\d+)x(\d+)", lambda short, *sizes: attention(*sizes)),
    (r"convolution-(\d+)-(\d+)x(\d+)x(\d+)", lambda short, *sizes: convolution(*sizes)),
    (r"group-norm-silu-(\d+)-(\d+)x(\d+)x(\d+)", lambda short, *sizes: group_norm_silu(*sizes)),
    (r"layer-norm-modulate-(\d+)x(\d+)", lambda short, *sizes: layer_norm_modulate(*sizes)),
    (r"head-norm-rope-(\d+)x(\d+)x(\d+)", lambda short, *sizes: head_norm_rope(*sizes)),
    (r"(gelu|gelu-tanh|silu)-4096x12288", lambda short, name: activation(name)),
    (r"ruyi-block-(\d+)", lambda short, tokens: block(tokens, short)),
    (r"hunyuanvideo-(dual|single)-(\d+)", lambda short, part, tokens: hunyuan_block(part, tokens)),
    (r"framepack-packed-17970", lambda short: framepack_call()),
    (r"pyramid-flow-(dual|single)-11888", lambda short, part: stream_block(part)),
    (r"step-video-block-(\d+)", lambda short, tokens: step_block(tokens)),
    (r"ruyi-vae-last-(\d+)x(\d+)", lambda short, *sizes: last_up_block(*sizes)),
    (r"hunyuanvideo-vae-decode-256x256x17", lambda short: hunyuan_decoder(5, 32)),
    (r"pyramid-flow-vae-decode-128x128x9", lambda short: pyramid_decoder(2, 16)),
    (r"step-video-vae-decode-128x128x17", lambda short: step_decoder(8)),
]


def named(name, with_bf16=False):
    """What makes the functions that do the work of this name; None where there are none."""
    for pattern, maker in NAMED:
        match = re.fullmatch(pattern, name)
        if match:
            return maker(with_bf16, *(int(text) if text.isdigit() else text for text in match.groups()))
    return None


def fastest(name):
    """The fastest function for a name's work. Each is warmed up and, unless that took long, tried once."""
    make = named(name)
    if make is None:
        raise RuntimeError("nothing does the same")
    found, errors = {}, []
    for function in built(make).values():
        try:
            first = timed(function)
            found[function] = timed(function) if first < 2 else first
        except RuntimeError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return min(found, key=found.get)


def answer(precision, text):
    global DTYPE
    DTYPE = PRECISIONS[precision]
    gpu = use_gpu(text)
    if gpu is None:
        print(json.dumps({"error": "PyTorch %s sees no such GPU" % torch.__version__}))
        return
    print(json.dumps({"torch": torch.__version__, "gpu": gpu}), flush=True)
    current = function = None
    for line in sys.stdin:
        name = line.strip()
        try:
            if name != current:
                current = function = None
                current, function = name, fastest(name)
            found = {"seconds": [timed(function)]}
        except (RuntimeError, ImportError, TypeError) as error:
            found = {"error": str(error).split("\n")[0]}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    answer(*sys.argv[1:])
