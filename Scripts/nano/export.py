#!/usr/bin/env python3
"""Writes the trained model in the family's published layout, in bf16.

usage: export.py OUT_DIR [--vae FILE] [--transformer FILE | --untrained]
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import config
from checkpoint import write_sums, write_weights
from latents import load_vae
from refine_decoder import VAE_FILE
from train_transformer import Nano
from vae import VAE


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_model(folder, vae, nano):
    for path, state in (nano.published_states() | {VAE_FILE: vae.published_state()}).items():
        write_weights(folder / path, state)
    write_json(folder / "transformer/config.json", config.TRANSFORMER)
    write_json(folder / "vae/config.json", config.VAE | {"scaling_factor": 1.0})
    write_json(folder / "image_encoder/config.json", config.IMAGE_ENCODER)
    write_json(folder / "image_encoder/preprocessor_config.json", config.PREPROCESSOR)
    write_json(folder / "scheduler/scheduler_config.json", config.SCHEDULER)
    write_json(folder / "model_index.json", config.MODEL_INDEX)
    write_json(folder / "ruyi.json", config.DEFAULTS)
    card = Path(__file__).with_name("model-card.md")
    shutil.copy(card, folder / "README.md")
    write_sums(folder)


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
