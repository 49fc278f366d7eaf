#!/usr/bin/env python3
"""Checks that the models trained here compute what the family computes: runs the recorded case of the reference.

usage: check_goldens.py [CASE_DIR]      default: ruyi/i2v-ddim-left of the complete set that RUYI_GOLDENS names

Every stage is computed from the recorded stage before it; prints the relative error of each.
"""

import json
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

from clip import CLIPVision
from schedule import Schedule
from transformer import Transformer, rotary_positions, rotary_table
from vae import VAE, sample_posterior

TOLERANCE = 5e-5
CASE = Path(os.environ.get("RUYI_GOLDENS", "")) / "ruyi/i2v-ddim-left"


def load(module, state):
    wanted = module.state_dict()
    module.load_state_dict({key: value for key, value in state.items() if key in wanted})
    return module.eval()


def models(folder):
    def config(path):
        return json.loads((folder / path).read_text())

    vision = config("image_encoder/config.json")["vision_config"]
    clip_state = torch.load(folder / "image_encoder/pytorch_model.bin", weights_only=True)
    clip = load(CLIPVision(vision), clip_state)
    vae_config = config("vae/config.json")
    vae = load(VAE(vae_config, is_sparse=False), load_file(folder / "vae/diffusion_pytorch_model.safetensors"))
    state = load_file(folder / "transformer/diffusion_pytorch_model.safetensors")
    transformer = load(Transformer(config("transformer/config.json"), vision["hidden_size"]), state)
    return clip, vae, transformer


class Comparison:
    def __init__(self, expected):
        self.expected, self.worst = expected, 0.0

    def __call__(self, name, value):
        wanted = self.expected[name]
        error = ((value - wanted).norm() / wanted.norm()).item()
        self.worst = max(self.worst, error)
        print(f"{name:28} {error:.1e}")


def check_vae(vae, seen, compare):
    scale = vae.config["scaling_factor"]
    mask = seen["cond.frame_mask"][None, None, :, None, None].expand_as(seen["cond.masked_video"])
    for name, video, noise, latents in (("mask", mask, "noise.001", "cond.mask"),
                                        ("video", seen["cond.masked_video"], "noise.002", "cond.latents")):
        mean, log_variance = vae.encode(video)
        compare(f"cond.{name}_vae.mean", mean)
        compare(f"cond.{name}_vae.logvar", log_variance)
        compare(latents, sample_posterior(mean, log_variance, seen[noise]) * scale)
    compare("vae.decode.out", vae.decode(seen["vae.decode.in"]))


def check_transformer(transformer, seen, negative, compare):
    config = transformer.config
    height, width = seen["image.pixels"].shape[2:]
    rotary = rotary_table(*rotary_positions(height // 16, width // 16), config["attention_head_dim"])
    compare("rope.cos", rotary[0])
    compare("rope.sin", rotary[1])
    first = torch.cat([negative["emb1"], seen["text.embeds"]])
    second = torch.cat([negative["emb2"], seen["text.embeds.2"]])
    masks = [torch.cat([negative[f"mask{i}"], seen[name]]) for i, name in ((1, "text.mask"), (2, "text.mask.2"))]
    text = transformer.text(first, second, *masks)
    compare("text.context", text)
    features = seen["image.embeds"].expand(2, -1, -1)
    condition = torch.cat([seen["cond.mask"], seen["cond.latents"]], 1)
    for step, latents in ((0, seen["latents.initial"]), (3, seen["step.002.latents"])):
        picture = transformer.picture(features, torch.tensor([False, step >= 3]))
        compare("clip.context" if step == 0 else f"step.{step:03}.clip.context", picture)
        vector = transformer.time_extra_emb(
            seen[f"step.{step:03}.t"].expand(2), second, torch.full((2,), height), torch.full((2,), width))
        if step == 0:
            compare("temb", vector)
        x = torch.cat([latents, condition], 1).expand(2, -1, -1, -1, -1)
        compare(f"step.{step:03}.model_output", transformer(x, vector, text, picture, rotary))


def check_schedule(schedule, seen, compare):
    latents, times = seen["latents.initial"], schedule.timesteps(len(seen["timesteps"]))
    assert times == seen["timesteps"].tolist()[0:len(times)], "timesteps"
    for index, time in enumerate(times):
        latents = schedule.ddim_step(seen[f"step.{index:03}.guided"], time, len(times), latents)
        compare(f"step.{index:03}.latents", latents)


@torch.no_grad()
def main():
    case = Path(sys.argv[1]) if len(sys.argv) > 1 else CASE
    seen = load_file(case / "expected.safetensors")
    compare = Comparison(seen)
    clip, vae, transformer = models(case / "model")
    embeddings = load_file(case / "model/embeddings.safetensors")
    negative = {name: embeddings[f"n.default.{name}"] for name in ("emb1", "mask1", "emb2", "mask2")}
    compare("image.embeds", clip(seen["image.clip_pixels"]))
    check_vae(vae, seen, compare)
    check_transformer(transformer, seen, negative, compare)
    check_schedule(Schedule(), seen, compare)
    print(f"worst {compare.worst:.1e}, allowed {TOLERANCE:.0e}")
    sys.exit(compare.worst > TOLERANCE)


if __name__ == "__main__":
    main()
