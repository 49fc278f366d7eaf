"""What Scripts/check-gpu asks of a GPU: operations, recorded cases, a whole clip, and speed beside PyTorch on the same card.

Every part has a time limit, and so has the whole. What fails is told in a line, and the rest goes on.
"""

import json
import math
import os
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

WHOLE = 570  # seconds of everything
ROW = 90  # of a workload in one column
START = 300  # until a side is ready; a slow device takes long to tell its peak
ROWS = [
    *("linear-bf16-3072x%d-%d" % (outputs, rows) for rows in (10000, 30000, 120000) for outputs in (3072, 12288, 9216)),
    "attention-16x176-4096", "attention-24x128-10000", "attention-24x128-30000",
    "convolution-512-4x92x160", "convolution-256-1x368x640", "convolution-128-4x368x640", "ruyi-vae-last-368x640",
    "hunyuanvideo-vae-decode-256x256x17", "pyramid-flow-vae-decode-128x128x9", "step-video-vae-decode-128x128x17",
    "ruyi-block-6048", "hunyuanvideo-dual-4096", "hunyuanvideo-single-4096", "framepack-packed-17970",
    "pyramid-flow-dual-11888", "pyramid-flow-single-11888", "step-video-block-4080", "step-video-block-16320",
    "attention-24x128-120000",
]
QUICK = ["layer-norm-modulate-4096x2816", "silu-4096x12288", "linear-bf16-2816x2816-1024"]
CLIP = ["Tests/Pictures/lake.jpg", "--model", "Sources/BundledModel/ruyi-nano"]
QUICK_CLIP = ["--size", "64x48", "--frames", "8", "--steps", "2"]
RUNS = ("i2v-", "t2v-", "f1-", "sd3-", "miniflux-")  # beginnings of the names of whole runs

started = time.monotonic()


def left(limit):
    """The seconds that something may take."""
    return max(0, min(limit, WHOLE - (time.monotonic() - started)))


def say(text=""):
    print(text, flush=True)


class Failed(Exception):
    """Why something gave no result, in a line."""


def reason(errors, code):
    lines = [line for line in errors.splitlines() if line.strip()] or ["exit code %s" % code]
    return next((line[13:] for line in lines if line.startswith("ruyi: error: ")), lines[-1])


def run(command, limit):
    """Standard output and the seconds of a whole process."""
    limit = left(limit)
    if not limit:
        raise Failed("no time left")
    start = time.monotonic()
    try:
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed("not done in %.0f s" % limit) from None
    if answer.returncode:
        raise Failed(reason(answer.stderr, answer.returncode))
    return answer.stdout, time.monotonic() - start


# ---------------------------------------------------------------------------------------- What it is


def describe(ruyi, device):
    """Prints what `ruyi doctor` says of the device, and gives what it says of the operations, which names it."""
    command = [ruyi, "doctor", "--device", device, "--json"]
    try:
        # Its exit code is of the whole machine.
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=left(180))
        checks = {check["name"]: check for check in json.loads(answer.stdout)["checks"]}
    except subprocess.TimeoutExpired:
        say("* `ruyi doctor` gave no answer in 180 s")
        return ""
    except ValueError:
        say("* `ruyi doctor` gave no answer: %s" % reason(answer.stderr, answer.returncode))
        return ""
    for name in ("processor", "GPU", "operations"):
        say("* %s: %s" % (name, checks[name]["text"]))
    return checks["operations"]["text"]


# ---------------------------------------------------------------------------------------- Recorded cases


def tensors(path):
    """Shapes and numbers of a safetensors file's float32 and integer tensors by name."""
    data = Path(path).read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    found = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        kind = {"F32": "f", "I64": "q"}.get(entry.get("dtype"))
        if kind:
            first, last = entry["data_offsets"]
            found[name] = entry["shape"], array(kind, data[8 + size + first:8 + size + last])
    return found


def stage(name, found):
    """A recorded stage of what a run gave: `x[i]` is part i of x along the first axis."""
    if name == "video.sample":  # Every eighth row and column.
        (frames, rows, columns, _), values = found["video"]
        sample = array("f")
        for frame in range(frames):
            for row in range(0, rows, 8):
                for column in range(0, columns, 8):
                    place = 3 * ((frame * rows + row) * columns + column)
                    sample += values[place:place + 3]
        return [frames, -(-rows // 8), -(-columns // 8), 3], sample
    whole, _, part = name.partition("[")
    if not part:
        return found[name]
    shape, values = found[whole]
    size = math.prod(shape[1:])
    start = int(part[:-1]) * size
    return shape[1:], values[start:start + size]


def error_of(name, expected, found):
    """The relative error of a stage; infinite where it is missing or has another shape, or integers differ."""
    try:
        shape, values = stage(name, found)
    except KeyError:
        return math.inf
    if shape != expected[0]:
        return math.inf
    if values.typecode == "q":
        return 0 if values == expected[1] else math.inf
    distance = math.fsum((a - b) ** 2 for a, b in zip(values, expected[1]))
    error = math.sqrt(distance / max(math.fsum(b * b for b in expected[1]), 1e-60))
    return math.inf if math.isnan(error) else error


def judge(folder, trace):
    """Whether every recorded stage is within its tolerance, and a sentence."""
    expected, found = tensors(folder / "expected.safetensors"), tensors(trace)
    limits = json.loads((folder / "tolerance.json").read_text())
    names = [name for name in expected if not name.startswith("noise")]
    wrong, closest = [], (-1, "nothing")
    for name in names:
        limit = limits[max((key for key in limits if name.startswith(key)), key=len, default="default")]
        error = error_of(name, expected[name], found)
        share = error / limit if limit else error
        closest = max(closest, (share, "%s by %.1e of %.1e" % (name, error, limit)))
        if error > limit:
            wrong.append(name)
    return not wrong, "%d of %d stages, the closest to its limit %s" % (len(names) - len(wrong), len(names), closest[1])


def cases(ruyi, device):
    folders = sorted(path.parent for path in Path("Tests/Goldens").glob("*/*/request.json") if path.parent.name.startswith(RUNS))
    right = 0
    with tempfile.TemporaryDirectory() as scratch:
        trace = scratch + "/trace.safetensors"
        for folder in folders:
            command = [
                ruyi, "--request", folder / "request.json", "--model", folder / "model", "--noise",
                folder / "expected.safetensors", "--device", device, "--precision", "float32", "--trace", trace, "-o", scratch + "/%03d.png",
                "--overwrite", "--no-config", "-q",
            ]
            try:
                run(command, 60)
                is_right, text = judge(folder, trace)
                right += is_right
                verdict = "right" if is_right else "WRONG"
            except Failed as error:
                verdict, text = "no result", error
            say("* %s/%s: %s, %s" % (folder.parent.name, folder.name, verdict, text))
    say("\n%d of %d cases are right." % (right, len(folders)))


# ---------------------------------------------------------------------------------------- Speed


class Side:
    """A process that answers a name a line with a run of that workload."""

    def __init__(self, title, command):
        self.title, self.command, self.process = title, command, None

    def start(self):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True)
        return self.answer(START)

    def answer(self, limit):
        limit = left(limit)
        if not select.select([self.process.stdout], [], [], limit)[0]:
            self.close()
            raise Failed("no answer in %.0f s" % limit)
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            self.errors.seek(0)
            text = self.errors.read()
            self.close()
            raise Failed(reason(text, code))
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def measure(self, name):
        """The median of five runs, fewer of those that take seconds, and the work in a second where it is told."""
        if not left(ROW):
            raise Failed("no time left")
        if self.process is None:
            self.start()
        end = time.monotonic() + ROW
        times = []
        while len(times) < 5 and sum(times) < 4:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
            answer = self.answer(end - time.monotonic())
            times += answer["seconds"]
        median = statistics.median(times)
        rate = "%.3g %s" % (answer["rate"] * times[-1] / median, answer["unit"]) if "rate" in answer else None
        return median, rate

    def close(self):
        if self.process:
            self.process.kill()
            self.process.communicate()
            self.errors.close()
            self.process = None


def open_sides(ruyi, device, text):
    """The sides that there are; what each of the others lacks is told."""
    sides = []
    for title in ("ruyi bf16", "ruyi f16", "PyTorch bf16", "ruyi float32", "PyTorch float32"):
        program, precision = title.split()
        own = [ruyi, "bench", "--interactive", "--device", device, "--precision", precision]
        peer = [sys.executable, "Scripts/benchmark_torch.py", precision, text]
        sides.append(Side(title, own if program == "ruyi" else peer))
    open_ones = []
    for side in sides:
        try:
            facts = side.start()
            open_ones.append(side)
            if "torch" in facts:
                say("* %s: PyTorch %s on %s" % (side.title, facts["torch"], facts["gpu"]))
            else:
                say("* %s: kernels %s, a large product in float32 at %.1f GFLOP/s" % (
                    side.title, facts["kernels"], facts["peak_gflops"]))
        except Failed as error:
            side.close()
            say("* %s: - (%s)" % (side.title, error))
    return [side.title for side in sides], open_ones


def speed(ruyi, titles, sides, names):
    known = subprocess.run([ruyi, "bench", "--list"], stdout=subprocess.PIPE, text=True).stdout.split()
    say("Times are medians. The last ratio is PyTorch's time in bf16 over the shortest of ruyi's.\n")
    say("| work | %s | ruyi's rate | ratio | what is missing |" % " | ".join(titles))
    say("| --- |%s ---: | ---: | --- |" % (" ---: |" * len(titles)))
    for name in names:
        found, rates, missing = {}, {}, []
        for side in sides:
            if side.title.startswith("ruyi") and name not in known:
                missing.append("%s: no such workload" % side.title)
                continue
            if name.endswith("-120000"):  # Which needs the memory that the others keep for their last work.
                for other in sides:
                    if other is not side:
                        other.close()
            try:
                found[side.title], rate = side.measure(name)
                if rate:
                    rates[found[side.title]] = rate
            except (Failed, OSError) as error:
                side.close()
                missing.append("%s: %s" % (side.title, error))
        own, other = min(rates, default=None), found.get("PyTorch bf16")
        cells = ["%.2f ms" % (1e3 * found[title]) if title in found else "-" for title in titles]
        cells += [rates.get(own, "-"), "%.2f" % (other / own) if own and other else "-", "; ".join(missing)]
        say("| %s | %s |" % (name, " | ".join(cells)))
    for side in sides:
        side.close()


def clip(ruyi, device, sides, quick):
    """Whole processes, from the picture to the finished file; a second run finds compiled kernels."""
    precisions = [side.title.split()[1] for side in sides if side.title.startswith("ruyi")]
    say("| | first | second |\n| --- | ---: | ---: |")
    with tempfile.TemporaryDirectory() as scratch:
        for where, precision in [("cpu", "float32"), *((device, precision) for precision in precisions)]:
            command = [
                ruyi, *CLIP, *(QUICK_CLIP if quick else []), "--device", where, "--precision", precision, "-o",
                scratch + "/clip.mp4", "--overwrite", "--no-config", "-q",
            ]
            cells = []
            for _ in range(2):
                try:
                    cells.append("%.2f s" % run(command, 60)[1])
                except Failed as error:
                    cells.append("- (%s)" % error)
                    break
            say("| %s, %s | %s |" % (where, precision, " | ".join((cells + ["-"])[:2])))


def main():
    ruyi, device, quick = os.path.abspath(sys.argv[1]), sys.argv[2], "--quick" in sys.argv
    say("## What it is\n")
    text = describe(ruyi, device)
    say("\n## Recorded cases\n")
    cases(ruyi, device)
    say("\n## What is compared\n")
    titles, sides = open_sides(ruyi, device, text)
    say("\n## The bundled model\n")
    clip(ruyi, device, sides, quick)
    say("\n## Speed\n")
    speed(ruyi, titles, sides, QUICK if quick else ROWS)
    say("\n%.0f s in all." % (time.monotonic() - started))


if __name__ == "__main__":
    main()
