"""The work of Scripts/benchmark in plain PyTorch: each function returns what makes {label: function}, ready to be timed."""

import torch
import torch.nn.functional as F


def uniform(*shape, spread=1.0, centre=0.0, dtype=torch.float32):
    return torch.empty(shape).uniform_(centre - spread, centre + spread).to(dtype)


def linear(rows, inputs, outputs, with_bf16, int8=False):
    def make():
        x = uniform(rows, inputs)
        weight, bias = uniform(outputs, inputs, spread=0.02), uniform(outputs)
        peers = {"float32 F.linear": lambda: F.linear(x, weight, bias)}
        if torch.backends.mkldnn.is_available():
            dense, packed, added = x.to_mkldnn(), weight.to_mkldnn(), bias.to_mkldnn()
            peers["float32 oneDNN linear"] = lambda: torch._C._nn.mkldnn_linear(dense, packed, added)
        if with_bf16:
            short = [t.bfloat16() for t in (x, weight, bias)]
            peers["bf16 F.linear"] = lambda: F.linear(*short)
        if int8:
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
        return F.layer_norm(x.float(), weights[0].shape, *weights, epsilon).to(self.dtype)

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


def block(frames, rows, columns, with_bf16):
    def make():
        peers = {"float32 block": Block(frames, rows, columns, torch.float32)}
        if with_bf16:
            peers["bf16 block"] = Block(frames, rows, columns, torch.bfloat16)
        return peers

    return make


def hunyuan_block(kind, frames, rows, columns, texts=256):
    """A block of HunyuanVideo as diffusers has it, all of whose text is seen."""

    def make():
        from diffusers.models.transformers import transformer_hunyuan_video as reference

        block = {
            "dual": reference.HunyuanVideoTransformerBlock, "single": reference.HunyuanVideoSingleTransformerBlock,
        }[kind](24, 128, 4.0, "rms_norm").eval()
        x, text, embedding = (uniform(1, count, 3072) for count in (frames * rows * columns, texts, 1))
        turns = tuple(uniform(frames * rows * columns, 128) for _ in range(2))
        return {"float32 diffusers": lambda: block(x, text, embedding[:, 0], None, turns)[0]}

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
