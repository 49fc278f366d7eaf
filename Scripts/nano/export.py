#!/usr/bin/env python3
"""Writes the trained model in the family's published layout, in bf16.

usage: export.py OUT_DIR [--vae FILE] [--transformer FILE | --untrained]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

import config
from latents import load_vae
from train_transformer import Nano
from vae import VAE


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_weights(path, state):
    path.parent.mkdir(parents=True, exist_ok=True)
    rounded = {name: value.bfloat16() if value.is_floating_point() else value for name, value in state.items()}
    save_file({name: value.contiguous().cpu() for name, value in rounded.items()}, path, {"format": "pt"})
    path.chmod(0o644)


def write_model(folder, vae, nano):
    transformer = nano.transformer.state_dict()
    write_weights(folder / "transformer/diffusion_pytorch_model.safetensors", transformer)
    write_weights(folder / "vae/diffusion_pytorch_model.safetensors", vae.published_state())
    write_weights(folder / "image_encoder/model.safetensors", nano.clip.state_dict())
    write_weights(folder / "embeddings.safetensors", nano.controls.published_state())
    write_json(folder / "transformer/config.json", config.TRANSFORMER)
    write_json(folder / "vae/config.json", config.VAE | {"scaling_factor": 1.0})
    write_json(folder / "image_encoder/config.json", config.IMAGE_ENCODER)
    write_json(folder / "image_encoder/preprocessor_config.json", config.PREPROCESSOR)
    write_json(folder / "scheduler/scheduler_config.json", config.SCHEDULER)
    write_json(folder / "model_index.json", config.MODEL_INDEX)
    write_json(folder / "ruyi.json", config.DEFAULTS)
    card = Path(__file__).with_name("model-card.md")
    shutil.copy(card, folder / "README.md")


@torch.no_grad()
def main():
    arguments = argparse.ArgumentParser(description="Writes the trained model in the family's published layout.")
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--vae", default="vae.pt")
    arguments.add_argument("--transformer", default="transformer.pt")
    arguments.add_argument("--untrained", action="store_true", help="random weights, to try the layout")
    options = arguments.parse_args()
    nano = Nano()
    if not options.untrained:
        state = torch.load(options.transformer, map_location="cpu", weights_only=True)
        nano.load_state_dict(state["average"])
    write_model(options.out, VAE(config.VAE) if options.untrained else load_vae(options.vae), nano)
    size = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
