#!/usr/bin/env python3
"""A whole clip, process against process: ruyi and diffusers on one random checkpoint, in turns.

usage: benchmark_clip.py [--runs N] [--threads N] [--size WxH] [--frames N] [--steps N] [--only NAMES] [--keep DIR]

The checkpoint is HunyuanVideo's: its transformer at full width with two dual and four single blocks, its VAE, both with
random weights, and the small text encoders of the tests. Both sides draw noise from the same seed. A run is a process of
its own, from its start to the finished video (frames in a file for PyTorch, which gets no encoder); its memory is the largest that it had resident at one time.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALL = ROOT / "Tests/Goldens/hunyuanvideo/t2v-basic/model"
PROMPT = "A cat walks on the grass, realistic style"
CONTENDERS = ("PyTorch float32", "PyTorch bf16", "ruyi float32", "ruyi bf16", "ruyi int8")


def write_checkpoint(folder):
    """Real sizes but for the number of blocks and the text encoders."""
    import torch
    from diffusers import AutoencoderKLHunyuanVideo, HunyuanVideoTransformer3DModel

    for name in ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"):
        shutil.copytree(SMALL / name, folder / name)
    shutil.copy(SMALL / "model_index.json", folder)
    small = json.loads((SMALL / "transformer/config.json").read_text())
    torch.manual_seed(1)
    transformer = HunyuanVideoTransformer3DModel(
        num_layers=2, num_single_layers=4, text_embed_dim=small["text_embed_dim"],
        pooled_projection_dim=small["pooled_projection_dim"])
    transformer.bfloat16().save_pretrained(folder / "transformer")
    AutoencoderKLHunyuanVideo().half().save_pretrained(folder / "vae")


def peer(options):
    """Runs diffusers' own modules and says when it has done what."""
    import numpy
    import torch
    from diffusers import AutoencoderKLHunyuanVideo, FlowMatchEulerDiscreteScheduler, HunyuanVideoTransformer3DModel

    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    kind = {"float32": torch.float32, "bf16": torch.bfloat16}[options.peer]
    transformer = HunyuanVideoTransformer3DModel.from_pretrained(options.model, subfolder="transformer", torch_dtype=kind)
    vae = AutoencoderKLHunyuanVideo.from_pretrained(options.model, subfolder="vae", torch_dtype=kind)
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(options.model, subfolder="scheduler")
    config, tokens = transformer.config, 32
    width, height = options.size
    generator = torch.Generator().manual_seed(42)
    latents = torch.randn(1, 16, (options.frames - 1) // 4 + 1, height // 8, width // 8, generator=generator)
    text = torch.randn(1, tokens, config.text_embed_dim, generator=generator).to(kind)
    pooled = torch.randn(1, config.pooled_projection_dim, generator=generator).to(kind)
    mask = torch.ones(1, tokens, dtype=kind)
    scheduler.set_timesteps(sigmas=numpy.linspace(1, 0, options.steps + 1)[:-1])
    for time_step in scheduler.timesteps:
        print("step", flush=True)
        velocity = transformer(
            latents.to(kind), time_step.expand(1).to(kind), text, mask, pooled, torch.tensor([6000.0], dtype=kind))[0]
        latents = scheduler.step(velocity, time_step, latents)[0]
    print("decode", flush=True)
    video = vae.decode(latents.to(kind) / vae.config.scaling_factor)[0]
    print("done", flush=True)
    frames = ((video[0].float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(1, 2, 3, 0)
    numpy.save(options.output, frames.numpy())


def command_of(name, model, output, options):
    side, kind = name.split()
    width, height = options.size
    size, frames, steps = f"{width}x{height}", str(options.frames), str(options.steps)
    threads = str(options.threads)
    if side == "PyTorch":
        return [sys.executable, __file__, "--peer", kind, "--model", model, "--output", output, "--size", size, "--frames",
                frames, "--steps", steps, "--threads", threads]
    return [ROOT / ".build/release/ruyi", "--prompt", PROMPT, "--model", model, "--size", size, "--frames", frames,
            "--steps", steps, "--seed", "42", "--precision", kind, "--threads", threads, "--progress", "json", "-o", output,
            "--overwrite", "--no-config"]


def stage_of(line):
    """What a line of either side says: "step" before each, "decode" before and "done" after decoding, or None."""
    if not line.startswith("{"):
        return line.strip()
    event = json.loads(line)
    if event["event"] == "stage":
        return {"denoising": "step", "decoding": "decode"}.get(event["stage"])
    return None


def run(name, model, folder, options):
    """Seconds of the whole, of a step and of decoding, and the peak of the resident memory in bytes."""
    # An allocator that keeps what it has, which is what makes PyTorch fast.
    environment = {**os.environ, "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}
    started = time.monotonic()
    command = command_of(name, str(model), str(Path(folder) / "clip.mp4"), options)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    events, lines = [], []
    for line in process.stdout:
        lines.append(line)
        stage = stage_of(line)
        if stage in ("step", "decode", "done"):
            events.append((stage, time.monotonic()))
    _, status, usage = os.wait4(process.pid, 0)
    ended = time.monotonic()
    if status:
        sys.exit("benchmark: %s failed\n%s" % (name, "".join(lines[-5:])))
    first = next(moment for stage, moment in events if stage == "step")
    decode = next(moment for stage, moment in events if stage == "decode")
    done = next((moment for stage, moment in events if stage == "done"), ended)
    return ended - started, (decode - first) / options.steps, done - decode, usage.ru_maxrss * 1024


def size(text):
    width, height = text.split("x")
    return int(width), int(height)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each contender (default: 5)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of both (default: all)")
    parser.add_argument("--size", type=size, default=(256, 256), metavar="WxH", help="of the clip (default: 256x256)")
    parser.add_argument("--frames", type=int, default=17, help="of the clip (default: 17)")
    parser.add_argument("--steps", type=int, default=4, help="denoising steps (default: 4)")
    parser.add_argument("--only", default=",".join(CONTENDERS), help="contenders, with commas between them")
    parser.add_argument("--keep", metavar="DIR", help="keep the checkpoint here, or take it from here")
    parser.add_argument("--write", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--peer", choices=("float32", "bf16"), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    if options.write:
        return write_checkpoint(Path(options.write))
    names = options.only.split(",")
    with tempfile.TemporaryDirectory() as folder:
        model = Path(options.keep or folder) / "HunyuanVideo"
        if not model.exists():
            model.mkdir(parents=True)
            # In a process of its own: what this one has had in memory counts for those that it starts.
            subprocess.run([sys.executable, __file__, "--write", str(model)], check=True)
        found = {name: [] for name in names}
        for _ in range(options.runs):
            for name in names:
                found[name].append(run(name, model, folder, options))
                print(name, " ".join("%.2f" % value for value in found[name][-1]), file=sys.stderr, flush=True)
    print("| | whole | a step | decoding | peak memory |\n| --- | ---: | ---: | ---: | ---: |")
    for name in names:
        whole, step, decode, memory = (statistics.median(column) for column in zip(*found[name]))
        print("| %s | %.1f s | %.2f s | %.1f s | %.1f GB |" % (name, whole, step, decode, memory / 1e9))


if __name__ == "__main__":
    main()
