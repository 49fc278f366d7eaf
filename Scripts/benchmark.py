"""Runs ruyi and PyTorch on the same work in turns and compares them. Started by Scripts/benchmark."""

import argparse
import gc
import json
import os
import re
import statistics
import subprocess
import sys
import time
import warnings

import torch

import benchmark_report as report
import benchmark_torch as peers


class Ruyi:
    """The program under test, which runs one workload at a time on request and keeps its weights ready."""

    def __init__(self, path, threads, precision="float32"):
        self.path = path
        self.names = self.output("bench", "--list").split()
        self.version = self.output("--version").strip()
        command = [path, "bench", "--interactive", "--precision", precision] + (["--threads", str(threads)] if threads else [])
        # The allocator's settings are PyTorch's.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.machine = self.answer()

    def output(self, *arguments):
        return subprocess.run([self.path, *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit("benchmark: ruyi ended with exit code %s" % self.process.wait())
        return json.loads(line)

    def run(self, name):
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self.answer()

    def measure_peak(self):
        self.machine = self.run("peak")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Row:
    """A workload of ruyi, and what does the same in PyTorch.

    `make` returns {label: function}. `measures` says against which of them the workload is held, and how many times as
    fast it has to be at least: its keys are the first words of labels, or "" for all. The fastest of each counts.
    """

    def __init__(self, workload, kind, make, measures):
        self.workload, self.kind, self.make, self.measures = workload, kind, make, measures


# ---------------------------------------------------------------------------------------- What is compared


def linear(dtype, inputs, outputs, rows, with_bf16=False):
    measures = {"float32": 0.95, "bf16": 4.0} if with_bf16 else {"float32": 0.95}
    name = "linear-%s-%dx%d-%d" % (dtype, inputs, outputs, rows)
    return Row(name, "Linear layers", peers.linear(rows, inputs, outputs, with_bf16), measures)


def int8(names):
    rows = []
    for name in names:
        match = re.fullmatch(r"linear-int8-(\d+)x(\d+)-(\d+)", name)
        if match:
            inputs, outputs, count = (int(text) for text in match.groups())
            make = peers.linear(count, inputs, outputs, False, int8=True)
            rows.append(Row(name, "Linear layers", make, {"int8": 1.2, "float32": 2.2}))
    return rows


def attention(heads, size, queries, keys=None):
    name = "attention-%dx%d-%d" % (heads, size, queries) + ("x%d" % keys if keys else "")
    return Row(name, "Attention", peers.attention(heads, size, queries, keys or queries), {"": 1.3})


def convolution(channels, *shape):
    name = "convolution-%d-%dx%dx%d" % (channels, *shape)
    return Row(name, "Convolutions", peers.convolution(channels, *shape), {"": 1.3})


def group_norm(channels, *shape):
    name = "group-norm-silu-%d-%dx%dx%d" % (channels, *shape)
    return Row(name, "Norms and activations", peers.group_norm_silu(channels, *shape), {"": 1.5})


def pointwise(name, make):
    return Row(name, "Norms and activations", make, {"": 1.5})


def block(frames, rows, columns, with_bf16=False):
    measures = {"float32": 1.35, "bf16": 5.0} if with_bf16 else {"float32": 1.35}
    name = "ruyi-block-%d" % (frames * rows * columns)
    return Row(name, "A whole block", peers.block(frames, rows, columns, with_bf16), measures)


def hunyuan_block(kind):
    return Row("hunyuanvideo-%s-4096" % kind, "A whole block", peers.hunyuan_block(kind, 4, 32, 32), {"float32": 1.2})


def framepack_call():
    return Row("framepack-packed-17970", "A whole block", peers.framepack_call(), {"float32": 2.0})


def plain_block(name, make):
    return Row(name, "A whole block", make, {"float32": 2.0})


def quick_rows(names):
    return [
        block(2, 32, 32), linear("bf16", 2816, 2816, 1024, True), *int8(names)[:1], attention(16, 176, 4096, 333),
        convolution(512, 4, 46, 80), pointwise("layer-norm-modulate-4096x2816", peers.layer_norm_modulate(4096, 2816)),
        pointwise("head-norm-rope-4096x16x176", peers.head_norm_rope(4096, 16, 176)),
        pointwise("silu-4096x12288", peers.activation("silu")),
    ]


def standard_rows(names):
    return [
        block(2, 32, 32, True), block(6, 24, 42), hunyuan_block("dual"), hunyuan_block("single"),
        linear("bf16", 2816, 2816, 1024, True), linear("bf16", 2816, 12288, 4096), linear("bf16", 3072, 3072, 8192),
        linear("bf16", 3072, 12288, 2048), linear("f32", 2816, 12288, 2048), *int8(names)[:4],
        attention(16, 176, 4096, 333), attention(16, 176, 4096), attention(24, 128, 4096),
        convolution(512, 4, 46, 80), convolution(512, 4, 92, 160), convolution(128, 4, 368, 640),
        group_norm(128, 4, 368, 640), group_norm(512, 4, 92, 160),
        pointwise("layer-norm-modulate-4096x2816", peers.layer_norm_modulate(4096, 2816)),
        pointwise("head-norm-rope-4096x16x176", peers.head_norm_rope(4096, 16, 176)),
        *(pointwise(name + "-4096x12288", peers.activation(name)) for name in ("gelu", "gelu-tanh", "silu")),
        Row("ruyi-vae-last-368x640", "Convolutions", peers.last_up_block(368, 640), {"": 1.3}),
        Row("pyramid-flow-vae-decode-128x128x9", "Convolutions", peers.pyramid_decoder(2, 16), {"": 1.3}),
        Row("step-video-vae-decode-128x128x17", "Convolutions", peers.step_decoder(8), {"": 1.5}),
        Row("hunyuanvideo-vae-decode-256x256x17", "Convolutions", peers.hunyuan_decoder(5, 32), {"": 2.5}),
        attention(24, 128, 8192), convolution(256, 1, 368, 640), framepack_call(),
        *(plain_block("pyramid-flow-%s-11888" % kind, peers.pyramid_block(kind)) for kind in ("dual", "single")),
        *(plain_block("step-video-block-%d" % count, peers.step_block(count)) for count in (4080, 16320)),
    ]


def half_rows(names):
    """What --precision bf16 is for, held against PyTorch in bf16."""
    fast, convolutions = {"bf16": 1.4}, {"": 1.6}
    rows = [
        Row("ruyi-block-1008", "A whole block", peers.block(1, 24, 42, False), fast),
        Row("ruyi-block-6048", "A whole block", peers.block(6, 24, 42, False), {"bf16": 1.8}),
        *(Row("hunyuanvideo-%s-4096" % kind, "A whole block", peers.hunyuan_block(kind, 4, 32, 32), {"bf16": 1.8})
          for kind in ("dual", "single")),
        *(Row("pyramid-flow-%s-11888" % kind, "A whole block", peers.pyramid_block(kind), {"bf16": 1.8})
          for kind in ("dual", "single")),
        Row("step-video-block-4080", "A whole block", peers.step_block(4080), {"bf16": 1.8}),
        *(Row("linear-bf16-%dx%d-%d" % shape, "Linear layers", peers.linear(shape[2], *shape[:2], False), {"bf16": 0.95})
          for shape in ((2816, 2816, 1024), (2816, 12288, 4096), (3072, 3072, 8192))),
        attention(16, 176, 4096, 333), attention(16, 176, 4096), attention(24, 128, 8192),
        convolution(512, 4, 92, 160), convolution(128, 4, 368, 640),
        Row("ruyi-vae-last-368x640", "Convolutions", peers.last_up_block(368, 640), convolutions),
        Row("pyramid-flow-vae-decode-128x128x9", "Convolutions", peers.pyramid_decoder(2, 16), convolutions),
        Row("step-video-vae-decode-128x128x17", "Convolutions", peers.step_decoder(8), convolutions),
        Row("hunyuanvideo-vae-decode-256x256x17", "Convolutions", peers.hunyuan_decoder(5, 32), convolutions),
    ]
    return [row for row in rows if row.workload in names]


def all_rows(names):
    shapes = [(2816, 2816), (2816, 12288), (3072, 3072), (3072, 12288)]
    rows = standard_rows(names) + int8(names) + [
        *(linear("bf16", *shape, count) for shape in shapes for count in (1024, 2048, 4096, 8192)),
        attention(16, 176, 8192), attention(16, 176, 16384), attention(24, 128, 16384),
    ]
    return list({row.workload: row for row in reversed(rows)}.values())[::-1]


# What one thread and all threads are compared on, and what is run on more and more tokens.
ON_ALL_THREADS = [
    "linear-bf16-2816x2816-2048", "linear-bf16-2816x12288-2048", "linear-int8-2816x12288-2048", "attention-16x176-4096",
    "attention-24x128-4096", "convolution-512-4x92x160", "convolution-128-4x368x640", "group-norm-silu-128-4x368x640",
    "gelu-4096x12288",
]
OF_GROWING_LENGTH = [
    "ruyi-block-1008", "ruyi-block-2048", "ruyi-block-6048", "ruyi-block-12096", "ruyi-vae-2-192x336",
    "ruyi-vae-4-192x336", "ruyi-vae-8-192x336",
]


# ---------------------------------------------------------------------------------------- Measuring


# Seconds in which PyTorch's threads, which wait actively for their next work, come to rest.
REST = 0.1


def timed(function):
    start = time.perf_counter()
    with torch.inference_mode():
        result = function()
    seconds = time.perf_counter() - start
    del result
    return seconds


def contenders(functions, measures):
    """Of the functions for each measure, those that a first trial cannot tell from the fastest; and a round's time."""
    trials = {}
    for label, function in functions.items():
        try:
            first = timed(function)
            trials[label] = min([first] + [timed(function) for _ in range(4)]) if first < 1 else first
        except RuntimeError as error:
            report.note("PyTorch cannot run %s: %s" % (label, str(error).split("\n")[0]))
    chosen = {}
    for prefix in measures:
        labels = [label for label in trials if label.startswith(prefix)]
        best = min((trials[label] for label in labels), default=0)
        chosen[prefix] = [label for label in labels if trials[label] <= 1.15 * best]
    return chosen, sum(trials[label] for labels in chosen.values() for label in labels)


def compare(row, ruyi, runs, seconds_left):
    """Runs both sides in turns; returns the row's results, or None where the time does not suffice for three runs."""
    if seconds_left <= 0:
        return None
    ruyi.measure_peak()
    functions = row.make()
    chosen, round_time = contenders(functions, row.measures)
    first = ruyi.run(row.workload)  # Its warm-up.
    round_time += first["seconds"][0]
    runs = min(runs, max(3, int(seconds_left / round_time)))
    if round_time * runs > max(seconds_left, 20):
        return None
    own, others = [], {label: [] for labels in chosen.values() for label in labels}
    for _ in range(runs):
        time.sleep(REST)
        answer = ruyi.run(row.workload)
        own.append(answer["seconds"][0])
        for label, times in others.items():
            times.append(timed(functions[label]))
    results = []
    for prefix, least in row.measures.items():
        if chosen[prefix]:
            label = min(chosen[prefix], key=lambda label: statistics.median(others[label]))
            results.append(report.Result(row, ruyi.machine, answer, own, label, others[label], least, prefix))
    return results


def wait_for_quiet():
    """Waits until the load that building and loading left behind has gone, but not for other programs."""
    end = time.monotonic() + 150
    while os.getloadavg()[0] > 0.3 and time.monotonic() < end:
        time.sleep(5)


def scaling(ruyi, path, runs):
    """The fastest runs on one thread and on all, in turns, by workload."""
    single = Ruyi(path, 1)
    found = []
    for name in ON_ALL_THREADS:
        for side in (ruyi, single):
            side.run(name)
        pairs = [(single.run(name)["seconds"][0], ruyi.run(name)["seconds"][0]) for _ in range(runs)]
        found.append(report.Scaling(name, *map(min, zip(*pairs))))
    single.close()
    return found


def main():
    parser = argparse.ArgumentParser(prog="Scripts/benchmark", description="Compares ruyi with PyTorch on this machine.")
    parser.add_argument("--quick", action="store_true", help="a few rows and three runs each, printed and not written")
    parser.add_argument("--all", action="store_true", help="every shape; takes long")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only workloads whose name contains this")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), default="float32",
        help="what both multiply (default: float32); the page of bf16 goes where --output says")
    parser.add_argument("--threads", metavar="N", type=int, help="threads of both (default: all physical cores)")
    parser.add_argument("--runs", metavar="N", type=int, help="runs of each side (default: 5; 3 with --quick)")
    parser.add_argument(
        "--minutes", metavar="N", type=float,
        help="rows that no longer fit get three runs, or none (default: 10; 240 with --all)")
    parser.add_argument("--model", metavar="DIR", help="also time how long this checkpoint takes until it is ready")
    parser.add_argument(
        "--output", metavar="FILE", help="where the page goes (default: Documentation/Benchmarks.md; none with --quick "
        "or --filter)")
    options = parser.parse_args()
    started = time.monotonic()
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.ao")  # Its quantization is to be moved.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    path = ".build/release/ruyi"
    half = options.precision == "bf16"
    if half:
        peers.DTYPE = torch.bfloat16
    ruyi = Ruyi(path, options.threads, options.precision)
    threads = ruyi.machine["threads"]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows = (half_rows if half else quick_rows if options.quick else all_rows if options.all else standard_rows)(ruyi.names)
    rows = [row for row in rows if options.filter in row.workload and row.workload in ruyi.names]
    if not rows:
        sys.exit("benchmark: no row's name contains '%s'" % options.filter)
    limit = 60 * (options.minutes or (240 if options.all else 10))
    runs = options.runs or (3 if options.quick else 5)
    if not options.quick:
        wait_for_quiet()
    page = report.Page(ruyi, torch, threads)
    report.progress_head()
    for row in rows:
        results = compare(row, ruyi, runs, limit - (time.monotonic() - started))
        if results is None:
            report.note("%s is left out: it does not fit into the time" % row.workload)
            page.left_out.append(row.workload)
        else:
            for result in results:
                report.progress(result)
            page.results += results
        gc.collect()
    if not options.quick and not options.filter and not half:
        if threads > 1:
            page.scalings = scaling(ruyi, path, runs)
        page.lengths = [ruyi.run(name) for name in OF_GROWING_LENGTH if name in ruyi.names]
    ruyi.measure_peak()
    page.machine = ruyi.machine
    ruyi.close()
    if options.model:
        text = ruyi.output("bench", "--filter", "layer-norm", "--repeat", "1", "--json", "--model", options.model)
        page.loading = json.loads(text)["loading"]
    output = options.output or (None if options.quick or options.filter or half else "Documentation/Benchmarks.md")
    if output:
        page.write(output)
        report.note("wrote " + output)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
