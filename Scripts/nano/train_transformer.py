#!/usr/bin/env python3
"""Trains the transformer, the image encoder and the control embeddings together, on the latents of procedural clips.

usage: train_transformer.py --vae FILE [--state FILE] [--resume] [--minutes N] [--sizes LIST] [--kept N] [--tokens N]

A size is ROWSxCOLUMNS in tokens of 16 x 16 pixels; 22x40 is the whole picture of 352 x 640 pixels. Small sizes are
windows of it: their tokens lie as far apart as in the whole picture. Train on small ones first.
"""

import torch
import torch.nn.functional as F
from torch import nn

import config
from clip import CLIPVision
from clips import HELD_OUT, Clips
from controls import NONE, SETS, Controls
from latents import Latents, Pool, load_vae
from schedule import TIMESTEPS, Schedule
from training import Training, autocast, device, parser
from transformer import Transformer, rotary_positions, rotary_table

ROWS, COLUMNS = config.HEIGHT // 16, config.WIDTH // 16
BLIND_RATE, NEGATIVE_RATE = 0.5, 0.1


class Nano(nn.Module):
    """The transformer with everything that is trained along with it."""

    def __init__(self):
        super().__init__()
        self.transformer = Transformer(config.TRANSFORMER, config.IMAGE_ENCODER["hidden_size"])
        self.clip = CLIPVision(config.IMAGE_ENCODER)
        self.controls = Controls(config.TRANSFORMER)
        self.initialize()

    def initialize(self):
        """Sharper attention over places, and blocks that begin by changing little."""
        nn.init.zeros_(self.transformer.proj_out.weight)
        for block in self.transformer.blocks:
            for norm in (block.attn1.norm_q, block.attn1.norm_k):
                nn.init.constant_(norm.weight, 2)
            nn.init.constant_(block.norm_clip_out.weight, 0.1)
            for linear in (block.attn1.to_out[0], block.attn2.to_out[0], block.ff.net[2]):
                linear.weight.data *= 0.5

    def forward(self, noisy, condition, time, sets, pictures, sees, rotary, frames):
        """The predicted velocity [B, 16, f, h, w]."""
        first, second, *masks = self.controls(sets)
        text = self.transformer.text(first, second, *masks)
        picture = self.transformer.picture(self.clip(pictures), sees)
        vector = self.transformer.time_extra_emb(time, second, config.HEIGHT, config.WIDTH)
        x = torch.cat([noisy, condition], 1)
        return self.transformer(x, vector, text, picture, rotary, frames)[:, :noisy.shape[1]]


def window(rows, columns):
    """The rotary table of a random window of the whole picture."""
    all_rows, all_columns = rotary_positions(ROWS, COLUMNS)
    top = torch.randint(ROWS - rows + 1, ()).item()
    left = torch.randint(COLUMNS - columns + 1, ()).item()
    size = config.TRANSFORMER["attention_head_dim"]
    table = rotary_table(all_rows[top:top + rows], all_columns[left:left + columns], size)
    return tuple(part.to(device()) for part in table)


def kept_frames(total, kept):
    """The first latent frame and some of the others."""
    others = torch.randperm(total - 1)[:kept - 1] + 1
    return torch.cat([torch.zeros(1, dtype=torch.long), others.sort().values]).to(device())


def loss_of(nano, schedule, batch, rotary, frames):
    latents, condition, pictures, sets = batch
    latents, condition = latents[:, :, frames], condition[:, :, frames]
    count = len(latents)
    time = torch.randint(TIMESTEPS, (count,), device=device())
    noisy, velocity = schedule.mix(latents, torch.randn_like(latents), time)
    negative = torch.rand(count, device=device()) < NEGATIVE_RATE
    sees = (torch.rand(count, device=device()) >= BLIND_RATE) & ~negative
    sets = torch.where(negative, NONE, sets)
    with autocast():
        predicted = nano(noisy, condition, time.float(), sets, pictures, sees, rotary, frames)
    return F.mse_loss(predicted.float(), velocity)


@torch.no_grad()
def explained(nano, batch):
    """How much of the latents' variance the model knows from the condition alone, for each frame."""
    latents, condition, pictures, sets = batch
    rows, columns = latents.shape[3] // 2, latents.shape[4] // 2
    time = torch.full((len(latents),), float(TIMESTEPS - 1), device=device())
    sees = torch.zeros(len(latents), dtype=torch.bool, device=device())
    frames = torch.arange(latents.shape[2], device=device())
    with autocast():
        velocity = nano(torch.randn_like(latents), condition, time, sets, pictures, sees, window(rows, columns), frames)
    error = (velocity.float() + latents).square().mean((0, 1, 3, 4))
    return 1 - error / latents.var((0, 1, 3, 4))


def report(training, batches):
    for name, batch in batches.items():
        values = explained(training.average.module, batch).tolist()
        print(f"  explained {name} " + " ".join(f"{value:.3f}" for value in values), flush=True)


def held_out(latents, rows, columns):
    """Encoded clips that training does not see: still ones and fast ones."""
    pool = Pool(latents, Clips(HELD_OUT, layer_rate=0), rows, columns, 8, 1)
    batches = {}
    for name, camera, motion in (("static", "static", 1), ("left2", "left", 2), ("down4", "down", 4)):
        pool.clips.control = lambda: (camera, motion)
        batches[name] = pool.encoded(8)
    return batches


def main():
    arguments = parser("Trains the transformer on procedural clips.", "transformer.pt")
    arguments.add_argument("--vae", default="vae.pt", help="state of the VAE's training (default vae.pt)")
    arguments.add_argument("--sizes", default="8x8", help="sizes in tokens, such as 8x8,4x16,22x40 (default 8x8)")
    arguments.add_argument("--kept", type=int, default=3, help="latent frames of a training clip, of 6 (default 3)")
    arguments.add_argument("--tokens", type=int, default=3072, help="tokens a step (default 3072)")
    arguments.add_argument("--report", type=int, default=500, help="steps between measurements (default 500)")
    arguments.add_argument("--renewal", type=float, default=0.06, help="new clips for every one used (default 0.06)")
    arguments.add_argument("--layers", type=float, default=0.1, help="share of clips with layers (default 0.1)")
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    latents = Latents(load_vae(options.vae))
    training = Training(Nano(), options, matrix_rate=0.02, rate=1e-3)
    clips = Clips(1000 * options.seed + training.step, layer_rate=options.layers)
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes.split(",")]
    pools = [Pool(latents, clips, *size, capacity=max(16, 2**15 // (size[0] * size[1])), renewal=options.renewal)
             for size in sizes]
    batches, schedule, losses = held_out(latents, 8, 8), Schedule(device()), []
    while not training.is_over():
        turn = training.step % len(sizes)
        rows, columns = sizes[turn]
        count = max(1, options.tokens // (rows * columns * options.kept))
        frames = kept_frames(config.FRAMES // 4, options.kept)
        loss = loss_of(training.module, schedule, pools[turn].draw(count), window(rows, columns), frames)
        training.update(loss)
        losses.append(loss.item())
        if training.step % 50 == 0:
            mean = sum(losses[-50:]) / len(losses[-50:])
            print(f"step {training.step} minute {training.minutes():.1f} loss {mean:.4f}", flush=True)
        if training.step % options.report == 0:
            report(training, batches)
    training.save()
    report(training, batches)


if __name__ == "__main__":
    main()
