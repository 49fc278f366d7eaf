#!/usr/bin/env python3
"""Trains the transformer, the image encoder and the control embeddings together, on the latents of clips.

usage: train_transformer.py [--state FILE] [--resume] [--minutes N] [--sizes LIST] [--tokens N]
                            [--model MODEL_DIR] [--photographs DIR] [--out NEW_MODEL_DIR]

A size is ROWSxCOLUMNSxFRAMES in tokens of 16 x 16 pixels and latent frames, of which a clip has 6; 22x40x6 is the whole
clip of 352 x 640 pixels. Small sizes are windows of it: their tokens lie as far apart as in the whole picture. Train on
small ones first.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import config
from basis import Basis, Linear, importance
from checkpoint import write_changed
from clip import CLIPVision
from clips import HELD_OUT, Clips
from controls import NONE, Controls
from latents import Pool
from photographs import MixedPictures
from schedule import TIMESTEPS, Schedule
from training import Training, autocast, device, parser
from transformer import CLIP_OFF_FRACTION, Transformer, rotary_positions, rotary_table
from vae import published

TRANSFORMER_FILE = "transformer/diffusion_pytorch_model.safetensors"
CLIP_FILE, EMBEDDINGS_FILE = "image_encoder/model.safetensors", "embeddings.safetensors"
BLIND_RATE, NEGATIVE_RATE = 0.5, 0.1
MEASURED_CLIPS = 64
NEARBY = ((0, 0), (0, 0), (0, 0), (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))  # where heads look, (x, y) on the base grid
LOCAL_RATES = 2  # the fastest of the rotations of each axis


class Nano(nn.Module):
    """The transformer with everything that is trained along with it."""

    def __init__(self):
        super().__init__()
        self.transformer = Transformer(config.TRANSFORMER, config.IMAGE_ENCODER["hidden_size"])
        self.clip = CLIPVision(config.IMAGE_ENCODER)
        self.controls = Controls(config.TRANSFORMER)
        self.initialize()

    @torch.no_grad()
    def initialize(self):
        """Attention that begins by looking around the same place, and blocks that begin by changing little."""
        nn.init.zeros_(self.transformer.proj_out.weight)
        nn.init.zeros_(self.transformer.proj_out.bias)
        for block in self.transformer.blocks:
            localize(block.attn1)
            nn.init.constant_(block.norm_clip_out.weight, 0.1)
            for linear in (block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[2]):
                linear.weight *= 0.5

    @torch.no_grad()
    def standardize(self, inputs):
        """Sets the first layer so that each of its inputs [B, 48, f, h, w] comes with mean 0 and deviation 1."""
        proj = self.transformer.pos_embed.proj
        mean, deviation = inputs.mean((0, 2, 3, 4)), inputs.std((0, 2, 3, 4)).clamp_min(0.02)
        nn.init.orthogonal_(proj.weight.flatten(1))
        proj.weight *= 2 / deviation[:, None, None]
        proj.bias.copy_(-(proj.weight.sum((2, 3)) @ mean))

    def begin_with(self, folder):
        """Takes the weights of a published model of the same sizes, in float32."""
        folder = Path(folder)
        for module, path in ((self.transformer, TRANSFORMER_FILE), (self.clip, CLIP_FILE)):
            module.load_state_dict({name: value.float() for name, value in load_file(folder / path).items()})
        self.controls.begin_with(load_file(folder / EMBEDDINGS_FILE))

    def published_states(self):
        """The weights by the files and names under which they are published."""
        return {TRANSFORMER_FILE: self.transformer.state_dict(), CLIP_FILE: self.clip.state_dict(),
                EMBEDDINGS_FILE: self.controls.published_state()}

    def forward(self, noisy, condition, time, sets, pictures, sees, places, frames):
        """The predicted velocity [B, 16, f, h, w]."""
        first, second, *masks = self.controls(sets)
        text = self.transformer.text(first, second, *masks)
        picture = self.transformer.picture(self.clip(pictures), sees)
        heights, widths = (16 * places[:, :2]).to(device()).T
        vector = self.transformer.time_extra_emb(time, second, heights, widths)
        rotary = windows(places, noisy.shape[3] // 2, noisy.shape[4] // 2)
        x = torch.cat([noisy, condition], 1)
        return self.transformer(x, vector, text, picture, rotary, frames)[:, :noisy.shape[1]]


@torch.no_grad()
def localize(attention):
    """Queries and keys that are hardly about content at first: every head looks at a place nearby, in all frames."""
    quarter = config.TRANSFORMER["attention_head_dim"] // 4
    q, k = (part.bias.zero_().unflatten(0, (attention.heads, 2, quarter, 2)) for part in (attention.to_q, attention.to_k))
    rates = 10000.0 ** (-torch.arange(LOCAL_RATES) / quarter)
    for head, offsets in enumerate(NEARBY):
        for axis, offset in enumerate(offsets):
            angles = offset * rates - torch.pi / 4
            k[head, axis, :LOCAL_RATES] = torch.tensor([1.0, -1.0]) * 2
            q[head, axis, :LOCAL_RATES] = 8**0.5 * torch.stack([angles.cos(), angles.sin()], 1)
    for part, norm in ((attention.to_q, attention.norm_q), (attention.to_k, attention.norm_k)):
        part.weight *= 0.3
        nn.init.constant_(norm.weight, 2)


def windows(places, rows, columns):
    """The rotary tables [B, 1, rows x columns, head size] of windows of whole pictures."""
    size, tables = config.TRANSFORMER["attention_head_dim"], []
    for all_rows, all_columns, top, left in places.tolist():
        down, across = rotary_positions(all_rows, all_columns)
        tables.append(rotary_table(down[top:top + rows], across[left:left + columns], size))
    return tuple(torch.stack(parts)[:, None].to(device()) for parts in zip(*tables))


def kept_frames(total, kept):
    """The first latent frame and some of the others."""
    others = torch.randperm(total - 1)[:kept - 1] + 1
    return torch.cat([torch.zeros(1, dtype=torch.long), others.sort().values]).to(device())


def loss_of(nano, schedule, batch, frames, weights):
    latents, condition, pictures, sets, places = batch
    latents, condition = latents[:, :, frames], condition[:, :, frames]
    count = len(latents)
    time = torch.randint(TIMESTEPS, (count,), device=device())
    noisy, velocity = schedule.mix(latents, torch.randn_like(latents), time)
    negative = torch.rand(count, device=device()) < NEGATIVE_RATE
    sees = (torch.rand(count, device=device()) >= BLIND_RATE) & ~negative
    sets = torch.where(negative, NONE, sets)
    with autocast():
        predicted = nano(noisy, condition, time.float(), sets, pictures, sees, places, frames)
    return (weights * (predicted.float() - velocity).square()).mean()


@torch.no_grad()
def explained(nano, batch):
    """How much of the latents' variance the model knows from the condition alone, for each frame."""
    latents, condition, pictures, sets, places = batch
    time = torch.full((len(latents),), float(TIMESTEPS - 1), device=device())
    sees = torch.zeros(len(latents), dtype=torch.bool, device=device())
    frames = torch.arange(latents.shape[2], device=device())
    with autocast():
        velocity = nano(torch.randn_like(latents), condition, time, sets, pictures, sees, places, frames)
    error = (velocity.float() + latents).square().mean((0, 1, 3, 4))
    return 1 - error / latents.var((0, 1, 3, 4))


@torch.no_grad()
def sampled(nano, condition, pictures, sets, places, steps=config.DEFAULTS["steps"]):
    """The latents that the program gets from noise in this many steps."""
    schedule, count = Schedule(device()), len(condition)
    latents = torch.randn(count, config.VAE["latent_channels"], *condition.shape[2:], device=device())
    frames = torch.arange(condition.shape[2], device=device())
    for index, time in enumerate(schedule.timesteps(steps)):
        sees = torch.full((count,), index >= CLIP_OFF_FRACTION * steps, device=device())
        with autocast():
            velocity = nano(latents, condition, torch.full((count,), float(time), device=device()), sets, pictures, sees,
                            places, frames)
        latents = schedule.ddim_step(velocity.float(), time, steps, latents)
    return latents


def report(training, batches):
    for name, batch in batches.items():
        values = explained(training.average.module, batch).tolist()
        print(f"  explained {name} " + " ".join(f"{value:.3f}" for value in values), flush=True)


def held_out(basis):
    """Clips that training does not see: still ones and moving ones."""
    pool = Pool(basis, Clips(HELD_OUT, layer_rate=0), 8, 8, 16, 1)
    batches = {}
    for name, camera, motion in (("static", "static", 1), ("left2", "left", 2), ("down4", "down", 4)):
        pool.clips.control = lambda: (camera, motion)
        batches[name] = pool.encoded(16)
    return batches


def measured_inputs(basis):
    """What the transformer's first layer sees without noise."""
    parts = Pool(basis, Clips(6, layer_rate=0), 8, 8, MEASURED_CLIPS, 1).encoded(MEASURED_CLIPS)
    return torch.cat([torch.randn_like(parts[0]), parts[1]], 1)


def main():
    arguments = parser("Trains the transformer on clips.", "transformer.pt")
    arguments.add_argument("--sizes", default="8x8x3", help="in tokens and frames, such as 8x8x6,22x40x3 (default 8x8x3)")
    arguments.add_argument("--tokens", type=int, default=3072, help="tokens a step (default 3072)")
    arguments.add_argument("--report", type=int, default=500, help="steps between measurements, 0: none (default 500)")
    arguments.add_argument("--renewal", type=float, default=0.06, help="new clips for every one used (default 0.06)")
    arguments.add_argument("--layers", type=float, default=0.1, help="share of clips with layers (default 0.1)")
    arguments.add_argument("--model", help="folder of a published model to go on from, with its encoder")
    arguments.add_argument("--out", help="folder to write the finished model to, beside the other files of --model")
    arguments.add_argument("--photographs", help="folder that photographs.py filled")
    arguments.add_argument("--share", type=float, default=0.7, help="share of clips of photographs (default 0.7)")
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    basis, nano = Linear(published(options.model), device()) if options.model else Basis().to(device()), Nano()
    if options.model:
        nano.begin_with(options.model)
    elif not options.resume:
        nano.standardize(measured_inputs(basis).cpu())
    training = Training(nano, options, matrix_rate=0.02, rate=1e-3)
    seed = 1000 * options.seed + training.step
    pictures = MixedPictures(options.photographs, seed, options.share) if options.photographs else None
    clips = Clips(seed, options.layers, pictures)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    pools = [Pool(basis, clips, rows, columns, capacity=max(16, 2**15 // (rows * columns)), renewal=options.renewal)
             for rows, columns, _ in sizes]
    schedule, losses, weights = Schedule(device()), [], importance(basis) if options.model else 1.0
    batches = held_out(basis) if options.report else {}
    while not training.is_over():
        turn = training.step % len(sizes)
        rows, columns, kept = sizes[turn]
        count = max(1, options.tokens // (rows * columns * kept))
        frames = kept_frames(config.FRAMES // 4, kept)
        loss = loss_of(training.module, schedule, pools[turn].draw(count), frames, weights)
        training.update(loss)
        losses.append(loss.item())
        if training.step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"step {training.step} minute {training.minutes():.1f} loss {mean:.4f}", flush=True)
        if options.report and training.step % options.report == 0:
            report(training, batches)
    training.save()
    if options.out:
        write_changed(Path(options.model), Path(options.out), training.average.module.published_states())
    report(training, batches)


if __name__ == "__main__":
    main()
