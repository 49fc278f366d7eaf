"""The parts of Scripts/check-gpu that need numbers: recorded stages, and PyTorch beside the program's workloads."""

import json
import re
import struct
import subprocess
import sys
import time
from array import array


def floats(path):
    """The float32 tensors of a safetensors file by name."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        data = file.read()
    found = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            found[name] = array("f", data[slice(*entry["data_offsets"])])
    return found


def compare(folder, trace):
    expected, found = floats(folder + "/expected.safetensors"), floats(trace)
    worst = (0.0, "nothing")
    for name in sorted(set(expected) & set(found)):
        if name.startswith("noise"):
            continue
        difference = sum((a - b) ** 2 for a, b in zip(found[name], expected[name]))
        worst = max(worst, ((difference / max(sum(b * b for b in expected[name]), 1e-60)) ** 0.5, name))
    print("* %s: %d stages, the furthest by %.1e (%s)" % (folder.split("Goldens/")[1], len(set(expected) & set(found)), *worst))


ROWS = [
    "linear-bf16-3072x3072-8192", "linear-bf16-3072x12288-8192", "attention-24x128-8192", "attention-16x176-4096",
    "convolution-512-4x92x160", "convolution-128-4x368x640", "ruyi-block-6048", "hunyuanvideo-dual-4096",
]
QUICK = ["linear-bf16-2816x2816-1024"]


def peer(name, kind):
    """What does the same in PyTorch on a GPU; None where nothing does."""
    import torch

    def values(*shape):
        return torch.randn(*shape, device="cuda", dtype=kind)

    numbers = [int(text) for text in re.findall(r"\d+", name.replace("bf16", ""))]
    if name.startswith("linear"):
        inputs, outputs, rows = numbers
        x, weight = values(rows, inputs), values(outputs, inputs)
        return lambda: torch.nn.functional.linear(x, weight)
    if name.startswith("attention"):
        heads, size, tokens = numbers
        q, k, v = (values(1, heads, tokens, size) for _ in range(3))
        return lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v)
    if name.startswith("convolution"):
        channels, frames, height, width = numbers
        x, weight = values(1, channels, frames + 2, height + 2, width + 2), values(channels, channels, 3, 3, 3)
        return lambda: torch.nn.functional.conv3d(x, weight)
    return None


def peer_seconds(name, kind):
    import torch

    function = peer(name, getattr(torch, kind))
    if function is None:
        return None
    times = []
    with torch.inference_mode():
        for _ in range(6):
            torch.cuda.synchronize()
            start = time.perf_counter()
            function()
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return sorted(times[1:])[2]


def speed(ruyi, device, quick):
    try:
        import torch

        has_peer = torch.cuda.is_available()
    except ImportError:
        has_peer = False
    if not has_peer:
        print("PyTorch sees no GPU here: the figures stand alone.\n")
    print("| work | ruyi float32 | bf16 | PyTorch float32 | bf16 |\n| --- | ---: | ---: | ---: | ---: |")
    for name in QUICK if quick else ROWS:
        found = [own_seconds(ruyi, device, name, precision) for precision in ("float32", "bf16")]
        found += [peer_seconds(name, kind) if has_peer else None for kind in ("float32", "bfloat16")]
        print("| %s | %s |" % (name, " | ".join("-" if value is None else "%.2f ms" % (1e3 * value) for value in found)), flush=True)


def own_seconds(ruyi, device, name, precision):
    """The median of five runs; None where the device does not have the precision, or something fails."""
    command = [ruyi, "bench", "--device", device, "--precision", precision, "--filter", name, "--all", "--repeat", "5", "--json"]
    answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if answer.returncode:
        return None
    return next(row["median_seconds"] for row in json.loads(answer.stdout)["workloads"] if row["name"] == name)


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(*sys.argv[2:4])
    else:
        speed(sys.argv[2], sys.argv[3], "--quick" in sys.argv)
