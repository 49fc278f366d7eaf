"""Runs ruyi and PyTorch on the same work in turns and compares them. Started by Scripts/benchmark."""

import argparse
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


class Ended(Exception):
    """ruyi has ended where an answer was due."""


class Ruyi:
    """The program under test, which runs one workload at a time on request and keeps its weights ready."""

    def __init__(self, path, threads, precision="float32", device=None):
        self.path, self.device = path, device
        self.names = self.output("bench", "--list").split()
        self.version = self.output("--version").splitlines()[0]
        command = [path, "bench", "--interactive", "--precision", precision]
        command += ["--threads", str(threads)] if threads else []
        command += ["--device", device] if device else []
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
            raise Ended("ruyi ended with exit code %s" % self.process.wait())
        return json.loads(line)

    def run(self, name):
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self.answer()

    def measure_peak(self):
        if not self.device:  # Other programs disturb the processor.
            self.machine = self.run("peak")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Row:
    """A workload of ruyi. `make` returns {label: function}: what does the same in PyTorch.

    `measures` says against which of them the workload is held, and how many times as fast it has to be at least: its
    keys are the first words of labels, or "" for all. The fastest of each counts.
    """

    def __init__(self, workload, measures):
        self.workload, self.measures = workload, measures
        self.kind = next(kind for prefix, kind in KINDS.items() if prefix in workload)
        self.make = peers.named(workload, with_bf16="bf16" in measures)


# ---------------------------------------------------------------------------------------- What is compared


# Headings by a part of the names.
KINDS = {
    "linear": "Linear layers", "attention": "Attention", "convolution": "Convolutions", "vae": "Convolutions",
    "norm": "Norms and activations", "gelu": "Norms and activations", "silu": "Norms and activations", "": "A whole block",
}
POINTWISE = [
    "layer-norm-modulate-4096x2816", "head-norm-rope-4096x16x176", "gelu-4096x12288", "gelu-tanh-4096x12288",
    "silu-4096x12288",
]


def rows_of(measures, *names):
    return [Row(name, measures) for name in names]


def int8(names):
    return rows_of({"int8": 1.2, "float32": 2.2}, *(name for name in names if name.startswith("linear-int8")))


def quick_rows(names):
    return [
        *rows_of({"float32": 1.35}, "ruyi-block-2048"),
        *rows_of({"float32": 0.95, "bf16": 4.0}, "linear-bf16-2816x2816-1024"), *int8(names)[:1],
        *rows_of({"": 1.3}, "attention-16x176-4096x333", "convolution-512-4x46x80"),
        *rows_of({"": 1.5}, *(name for name in POINTWISE if "gelu" not in name)),
    ]


def standard_rows(names):
    return [
        *rows_of({"float32": 1.35, "bf16": 5.0}, "ruyi-block-2048"), *rows_of({"float32": 1.35}, "ruyi-block-6048"),
        *rows_of({"float32": 1.2}, "hunyuanvideo-dual-4096", "hunyuanvideo-single-4096"),
        *rows_of({"float32": 0.95, "bf16": 4.0}, "linear-bf16-2816x2816-1024"),
        *rows_of(
            {"float32": 0.95}, "linear-bf16-2816x12288-4096", "linear-bf16-3072x3072-8192", "linear-bf16-3072x12288-2048",
            "linear-f32-2816x12288-2048"),
        *int8(names)[:4],
        *rows_of(
            {"": 1.3}, "attention-16x176-4096x333", "attention-16x176-4096", "attention-24x128-4096",
            "convolution-512-4x46x80", "convolution-512-4x92x160", "convolution-128-4x368x640"),
        *rows_of({"": 1.5}, "group-norm-silu-128-4x368x640", "group-norm-silu-512-4x92x160", *POINTWISE),
        *rows_of({"": 1.3}, "ruyi-vae-last-368x640", "pyramid-flow-vae-decode-128x128x9"),
        *rows_of({"": 1.5}, "step-video-vae-decode-128x128x17"),
        *rows_of({"": 2.5}, "hunyuanvideo-vae-decode-256x256x17"),
        *rows_of({"": 1.3}, "attention-24x128-8192", "convolution-256-1x368x640"),
        *rows_of(
            {"float32": 2.0}, "framepack-packed-17970", "pyramid-flow-dual-11888", "pyramid-flow-single-11888",
            "step-video-block-4080", "step-video-block-16320"),
    ]


def half_rows(kind):
    """What --precision bf16 and f16 are for, held against PyTorch in the same."""
    return [
        *rows_of({kind: 1.4}, "ruyi-block-1008"),
        *rows_of(
            {kind: 1.8}, "ruyi-block-6048", "hunyuanvideo-dual-4096", "hunyuanvideo-single-4096",
            "pyramid-flow-dual-11888", "pyramid-flow-single-11888", "step-video-block-4080"),
        *rows_of(
            {kind: 0.95}, "linear-bf16-2816x2816-1024", "linear-bf16-2816x12288-4096", "linear-bf16-3072x3072-8192"),
        *rows_of(
            {"": 1.3}, "attention-16x176-4096x333", "attention-16x176-4096", "attention-24x128-8192",
            "convolution-512-4x92x160", "convolution-128-4x368x640"),
        *rows_of(
            {"": 1.6}, "ruyi-vae-last-368x640", "pyramid-flow-vae-decode-128x128x9", "step-video-vae-decode-128x128x17",
            "hunyuanvideo-vae-decode-256x256x17"),
    ]


def all_rows(names):
    shapes = ["2816x2816", "2816x12288", "3072x3072", "3072x12288"]
    rows = standard_rows(names) + int8(names) + [
        *rows_of({"float32": 0.95}, *("linear-bf16-%s-%d" % (shape, 1024 << step) for shape in shapes for step in range(4))),
        *rows_of({"": 1.3}, "attention-16x176-8192", "attention-16x176-16384", "attention-24x128-16384"),
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


def contenders(functions, measures):
    """Of the functions for each measure, those that a first trial cannot tell from the fastest; and a round's time."""
    trials = {}
    for label, function in functions.items():
        try:
            if peers.DEVICE != "cpu":
                peers.timed(function)  # Loads and chooses kernels.
            first = peers.timed(function)
            trials[label] = min([first] + [peers.timed(function) for _ in range(4)]) if first < 1 else first
        except RuntimeError as error:
            report.note("PyTorch cannot run %s: %s" % (label, str(error).split("\n")[0]))
    chosen = {}
    for prefix in measures:
        labels = [label for label in trials if label.startswith(prefix)]
        best = min((trials[label] for label in labels), default=0)
        chosen[prefix] = [label for label in labels if trials[label] <= 1.15 * best]
    return chosen, sum(trials[label] for labels in chosen.values() for label in labels)


def compare(row, ruyi, runs, seconds_left, with_peer):
    """Runs both sides in turns; returns the row's results, or None where the time does not suffice for three runs."""
    if seconds_left <= 0:
        return None
    ruyi.measure_peak()
    functions = {}
    if with_peer:
        try:
            functions = peers.built(row.make)
        except (RuntimeError, ImportError) as error:
            report.note("PyTorch cannot run %s: %s" % (row.workload, str(error).split("\n")[0]))
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
            times.append(peers.timed(functions[label]))
    if not others:
        return [report.Result(row, ruyi.machine, answer, own)]
    results = []
    for prefix, least in row.measures.items():
        if chosen[prefix]:
            least = None if ruyi.device else least  # It is of the processor.
            label = min(chosen[prefix], key=lambda label: statistics.median(others[label]))
            results.append(report.Result(row, ruyi.machine, answer, own, (label, others[label], least, prefix)))
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


def device(text):
    if not re.fullmatch(r"gpu(:\d+)?", text):
        raise argparse.ArgumentTypeError("'%s' is not gpu or gpu:N" % text)
    return text


def gpu_of(path, options):
    """What `ruyi doctor` says of the GPU, on which PyTorch is to compute as well; ends where it cannot."""
    command = [path, "doctor", "--device", options.device, "--json"]
    checks = json.loads(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout)["checks"]
    text = next(check["text"] for check in checks if check["name"] == "operations")
    if not options.alone and peers.use_gpu(text) is None:
        report.note("PyTorch %s sees no such GPU; --alone measures ruyi by itself" % torch.__version__)
        sys.exit(69)
    return text


def main():
    parser = argparse.ArgumentParser(prog="Scripts/benchmark", description="Compares ruyi with PyTorch on this machine.")
    parser.add_argument("--quick", action="store_true", help="a few rows and three runs each, printed and not written")
    parser.add_argument("--all", action="store_true", help="every shape; takes long")
    parser.add_argument("--filter", metavar="TEXT", default="", help="only workloads whose name contains this")
    parser.add_argument(
        "--precision", choices=tuple(peers.PRECISIONS), default="float32",
        help="what both multiply (default: float32); the page of another goes where --output says")
    parser.add_argument(
        "--device", metavar="gpu[:N]", type=device,
        help="both compute on this GPU (default: on the processor); the page goes where --output says")
    parser.add_argument("--alone", action="store_true", help="with --device: ruyi's figures alone, without PyTorch's")
    parser.add_argument("--threads", metavar="N", type=int, help="threads of both (default: all physical cores)")
    parser.add_argument("--runs", metavar="N", type=int, help="runs of each side (default: 5; 3 with --quick)")
    parser.add_argument(
        "--minutes", metavar="N", type=float,
        help="rows that no longer fit get three runs, or none (default: 10; 240 with --all)")
    parser.add_argument("--model", metavar="DIR", help="also time how long this checkpoint takes until it is ready")
    parser.add_argument(
        "--output", metavar="FILE", help="where the page goes (default: Documentation/Benchmarks.md; none with --quick, "
        "--filter, --precision or --device)")
    options = parser.parse_args()
    if options.alone and not options.device:
        parser.error("--alone goes with --device")
    started = time.monotonic()
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.ao")  # Its quantization is to be moved.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    path = os.environ.get("RUYI", ".build/release/ruyi")
    gpu = gpu_of(path, options) if options.device else None
    half = options.precision != "float32"
    peers.DTYPE = peers.PRECISIONS[options.precision]

    def start():
        return Ruyi(path, options.threads, options.precision, options.device)

    ruyi = start()
    threads = ruyi.machine["threads"]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if half:
        rows = half_rows(options.precision)
    else:
        rows = (quick_rows if options.quick else all_rows if options.all else standard_rows)(ruyi.names)
    rows = [row for row in rows if options.filter in row.workload and row.workload in ruyi.names]
    if not rows:
        sys.exit("benchmark: no row's name contains '%s'" % options.filter)
    limit = 60 * (options.minutes or (240 if options.all else 10))
    runs = options.runs or (3 if options.quick else 5)
    if not options.quick and not options.device:
        wait_for_quiet()
    page = report.Page(ruyi, torch, threads, gpu, options.alone)
    report.progress_head()
    for row in rows:
        try:
            results = compare(row, ruyi, runs, limit - (time.monotonic() - started), not options.alone)
        except Ended as error:
            report.note("%s is left out: %s" % (row.workload, error))
            ruyi = start()
            continue
        if results is None:
            report.note("%s is left out: it does not fit into the time" % row.workload)
            page.left_out.append(row.workload)
        else:
            for result in results:
                report.progress(result)
            page.results += results
    whole = not (options.quick or options.filter or half or options.device)
    if whole:
        if threads > 1:
            page.scalings = scaling(ruyi, path, runs)
        page.lengths = [ruyi.run(name) for name in OF_GROWING_LENGTH if name in ruyi.names]
    ruyi.measure_peak()
    page.machine = ruyi.machine
    ruyi.close()
    if options.model:
        text = ruyi.output("bench", "--filter", "layer-norm", "--repeat", "1", "--json", "--model", options.model)
        page.loading = json.loads(text)["loading"]
    output = options.output or ("Documentation/Benchmarks.md" if whole else None)
    if output:
        page.write(output)
        report.note("wrote " + output)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Ended as error:
        sys.exit("benchmark: %s" % error)
