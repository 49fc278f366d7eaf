"""The results of Scripts/benchmark: lines while it runs, and the page that it writes."""

import datetime
import os
import platform
import re
import statistics
import subprocess
import sys

BLOCK_PEAK = 0.80  # Of the machine's float32 peak, which a whole block has to reach.
BF16_FLAGS = ("avx512_bf16", "amx_bf16", "avx_ne_convert")


def note(text):
    print("benchmark: " + text, file=sys.stderr, flush=True)


def times_as_fast(ratio):
    return "-" if ratio is None else "%.2f" % ratio


def duration(seconds):
    if seconds is None:
        return "-"
    return "%.3f s" % seconds if seconds >= 1 else "%.1f ms" % (1000 * seconds)


class Result:
    """A workload, and one way of doing it in PyTorch: its label, times, the least ratio and what that is held against."""

    def __init__(self, row, machine, answer, own, peer=None):
        self.name, self.kind, self.runs = row.workload, row.kind, len(own)
        self.label, others, self.least, self.prefix = peer or ("-", [], None, "")
        self.own, self.other = statistics.median(own), statistics.median(others) if others else None
        self.ratio = self.other / self.own if others else None
        self.spread = max((max(times) - min(times)) / statistics.median(times) for times in (own, others) if times)
        # The answer describes its last run; the rate belongs to the median.
        self.speed, self.unit = answer["rate"] * answer["seconds"][0] / self.own, answer["unit"]
        self.rate = "%.*f %s" % (1 if self.speed < 100 else 0, self.speed, self.unit)
        self.share = self.share_of(machine)
        self.memory = answer["memory_bytes"]

    def share_of(self, machine):
        return self.speed / machine["peak_gflops"] if self.unit == "GFLOP/s" else None

    def verdict(self):
        if self.least is None:
            return "-"
        if self.kind == "Linear layers" and self.prefix == "bf16" and has_bf16_units():
            return "does not apply"
        return "yes" if self.ratio >= self.least else "no"


class Scaling:
    """A workload on one thread and on all."""

    def __init__(self, name, single, all_threads):
        self.name, self.single, self.all_threads = name, single, all_threads


COLUMNS = "%-32s %10s %6s  %-38s %10s %6s %6s  %-14s %s"


def progress_head():
    print(COLUMNS % ("work", "ruyi", "peak", "PyTorch", "time", "ratio", "least", "reached", "spread"))


def progress(result):
    share = "%.0f %%" % (100 * result.share) if result.share is not None else "-"
    print(
        COLUMNS % (
            result.name, duration(result.own), share, result.label, duration(result.other), times_as_fast(result.ratio),
            times_as_fast(result.least), result.verdict(), "%.0f %%" % (100 * result.spread)),
        flush=True)


# ---------------------------------------------------------------------------------------- The machine


def text_of(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def flags():
    match = re.search(r"^(?:flags|Features)\s*:(.*)$", text_of("/proc/cpuinfo"), re.MULTILINE)
    return match.group(1).split() if match else []


def has_bf16_units():
    return any(flag in flags() for flag in BF16_FLAGS[:2])


def processor():
    match = re.search(r"^model name\s*:\s*(.*)$", text_of("/proc/cpuinfo"), re.MULTILINE)
    return match.group(1) if match else platform.machine()


def memory():
    match = re.search(r"^MemTotal:\s*(\d+) kB", text_of("/proc/meminfo"), re.MULTILINE)
    return "%.0f GiB" % (int(match.group(1)) / (1 << 20)) if match else "unknown"


def system():
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', text_of("/etc/os-release"), re.MULTILINE)
    return "%s, Linux %s" % (match.group(1) if match else platform.system(), platform.release())


def libraries(torch):
    """The libraries that PyTorch computes with, as its build says."""
    text = torch.__config__.show()
    found = re.findall(r"(oneAPI Math Kernel Library|MKL-DNN) (?:Version |v)?([0-9.]+)", text)
    level = re.search(r"CPU capability usage: (\S+)", text)
    names = {"oneAPI Math Kernel Library": "MKL", "MKL-DNN": "oneDNN"}
    return ", ".join(["%s %s" % (names.get(name, name), version) for name, version in found]
                     + ([level.group(1)] if level else []))


def commit():
    try:
        def git(*arguments):
            return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
        return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "Sources") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


# ---------------------------------------------------------------------------------------- The page


class Page:
    """Documentation/Benchmarks.md, or the page of a GPU, which this text of `ruyi doctor` describes."""

    def __init__(self, ruyi, torch, threads, gpu=None, alone=False):
        self.gpu, self.alone = gpu, alone
        self.machine, self.version, self.threads = ruyi.machine, ruyi.version, threads
        self.torch, self.libraries = torch.__version__, libraries(torch)
        self.results, self.left_out, self.loading = [], [], None
        self.scalings, self.lengths = [], []
        self.load = os.getloadavg()[0]
        if self.is_busy():
            note("the machine is busy (load %.1f): the figures are not to be relied on" % self.load)

    def is_busy(self):
        """Whether other programs were running: PyTorch, whose threads wait actively, suffers most from them."""
        return self.load > 0.5 and not self.gpu

    def write(self, path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "w") as file:
            file.write(self.text())

    def text(self):
        for result in self.results:  # The peak may have been found after a row.
            result.share = result.share_of(self.machine)
        parts = [
            "# Benchmarks%s\n\nWritten by `Scripts/benchmark`; a new run replaces it.\n\n" % (" on a GPU" if self.gpu else "")
            + self.environment(),
            *(self.section(kind) for kind in dict.fromkeys(result.kind for result in self.results)),
            *([self.scaling()] if self.scalings else []),
            *([self.growth()] if self.lengths else []),
            self.closing_of_gpu() if self.gpu else self.closing(),
        ]
        return "\n".join(parts)

    def environment(self):
        wanted = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
        present = [flag for flag in wanted if flag in flags()]
        arguments = " ".join(["Scripts/benchmark", *sys.argv[1:]])
        lines = [
            ("processor", processor()),
            ("processors seen, threads used", "%d, %d" % (os.cpu_count() or 1, self.threads)),
            ("instruction sets", " ".join(present)),
            ("memory", memory()),
            ("system", system()),
            ("load before the run", "%.2f" % self.load),
            ("ruyi", "%s at %s, %s kernels" % (self.version, commit(), self.machine["kernels"])),
            ("float32 peak", "%.0f GFLOP/s, the best of the engine's own large matrix products, measured before %s"
             % (self.machine["peak_gflops"], "the first row" if self.gpu else "every row")),
            *([("GPU", self.gpu)] if self.gpu else []),
            *([] if self.alone else [
                ("PyTorch", "%s (%s), Python %s" % (self.torch, self.libraries, platform.python_version()))]),
            ("date and command", "%s, `%s`" % (datetime.date.today().isoformat(), arguments)),
        ]
        return "| | |\n| --- | --- |\n" + "".join("| %s | %s |\n" % line for line in lines)

    def section(self, kind):
        lines = [
            "## %s\n" % kind,
            "| work | ruyi | rate | of peak | fastest in PyTorch | its time | ratio |%s runs |"
            % ("" if self.gpu else " at least | reached |"),
            "| --- | ---: | ---: | ---: | --- | ---: | ---: |%s --- |" % ("" if self.gpu else " ---: | --- |"),
        ]
        for result in self.results:
            if result.kind != kind:
                continue
            share = "%.0f %%" % (100 * result.share) if result.share is not None else "-"
            cells = [
                result.name, duration(result.own), result.rate, share, result.label, duration(result.other),
                "**%s**" % times_as_fast(result.ratio), *([] if self.gpu else [times_as_fast(result.least), result.verdict()]),
                "%d, spread %.0f %%" % (result.runs, 100 * result.spread),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        if kind == "A whole block" and not self.gpu:
            shares = {result.name: result.share for result in self.results if result.kind == kind}
            said = ["%s reaches %.0f %%" % (name, 100 * share) for name, share in shares.items()]
            lines.append("\nA block has to reach %.0f %% of the float32 peak: %s. Its operations are counted as those of "
                         "its matrix products." % (100 * BLOCK_PEAK, ", ".join(said)))
        return "\n".join(lines) + "\n"

    def scaling(self):
        lines = [
            "## Threads\n",
            "| work | 1 thread | %d threads | times as fast |" % self.threads,
            "| --- | ---: | ---: | ---: |",
        ]
        for item in self.scalings:
            lines.append("| %s | %s | %s | **%.2f** |" % (
                item.name, duration(item.single), duration(item.all_threads), item.single / item.all_threads))
        lines.append("\nEach time is the fastest of several runs. The element-wise rows are bound by memory, which one "
                     "thread already uses to a large part.")
        return "\n".join(lines) + "\n"

    def growth(self):
        lines = [
            "## Length\n",
            "A transformer block's matrix products grow as its tokens do, its attention as their square; the VAE's decoder "
            "works on one latent frame after the other. Where the rate stays the same, nothing else grows:\n",
            "| work | time | rate | of peak | peak memory |",
            "| --- | ---: | ---: | ---: | ---: |",
        ]
        for answer in self.lengths:
            lines.append("| %s | %s | %.0f GFLOP/s | %.0f %% | %.0f MiB |" % (
                answer["name"], duration(answer["seconds"][0]), answer["rate"],
                100 * answer["rate"] / self.machine["peak_gflops"], answer["memory_bytes"] / (1 << 20)))
        return "\n".join(lines) + "\n"

    def closing_of_gpu(self):
        lines = [
            "## How it was measured\n",
            "Times are medians, after warming up, with weights and inputs on the GPU, and end when the result is there.\n",
        ]
        if not self.alone:
            lines.append(
                "Both programs did the same work on the same GPU in turns, in one run. The ratio is PyTorch's time over "
                "ruyi's. Each way of doing the work in PyTorch was tried first, and the fastest counts. Its float32 is "
                "that, without TF32, and it may look for its fastest convolution.\n")
        if self.left_out:
            lines.append("Left out for lack of time: %s.\n" % ", ".join(self.left_out))
        return "\n".join(lines)

    def closing(self):
        lines = [
            "## How it was measured\n",
            "Both programs did the same work in turns, in one run, with the same number of threads: ruyi, PyTorch, "
            "ruyi, and so on, after warming up, with a short rest after PyTorch, whose threads wait actively. Weights and "
            "inputs were ready beforehand. Times are medians; the ratio "
            "is PyTorch's time over ruyi's; the spread is the larger of both sides' distances between the slowest and "
            "the fastest run, as a share of the median.\n",
            "Each way of doing the work in PyTorch was tried first, and the fastest counts: matrix products through "
            "MKL and through oneDNN with weights packed beforehand, convolutions and group norms in both layouts, "
            "attention on views and on contiguous heads, norms in place and not. PyTorch ran with a "
            "memory allocator that keeps what it has (`MALLOC_MMAP_MAX_=0`), which makes its element-wise operations "
            "faster than they are by default. ruyi computes in float32 from weights "
            "in bf16 (`linear-f32`: in float32; `linear-int8`: in int8, with activations in int8); PyTorch has its "
            "weights in the type that its column names, float32 where it names none.\n",
        ]
        if self.is_busy():
            lines.append("**The machine was busy with other work before the run, so these figures are not to be relied "
                         "on.** PyTorch's threads wait actively and suffer more from it.\n")
        if has_bf16_units():
            lines.append("This processor has bf16 units. The measure for linear layers against PyTorch in bf16 is for "
                         "processors without them, and the block in bf16 uses them as well.\n")
        if self.left_out:
            lines.append("Left out for lack of time: %s.\n" % ", ".join(self.left_out))
        if self.loading:
            lines.append("%s was ready to render %s after its folder was opened.\n"
                         % (self.loading["family"], duration(self.loading["seconds"])))
        return "\n".join(lines)
