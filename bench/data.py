"""Times and memory of data loading, beside PyTorch's where it is installed: python bench/data.py

Prints, for batches gathered from memory, the time a batch against plain indexing (the goal is <= 1.3); the time to the
first batch and of a pass with workers; and how memory grows over three passes on a list of strings with four workers.
"""

import gc
import importlib
import os
import statistics
import subprocess
import sys
import time


def libraries():
    """fireseed, and PyTorch where it is installed."""
    found = []
    for name in ("fireseed", "torch"):
        try:
            found.append(importlib.import_module(name))
            importlib.import_module(name + ".utils.data")
        except ImportError:
            pass
    return found


def ratios(run, plain, rounds):
    """(median seconds of run, median of run/plain), the two timed by turns, in processor time of this thread."""
    times, factors = [], []
    run(), plain()
    gc.disable()
    for _ in range(rounds):
        a = time.thread_time()
        plain()
        b = time.thread_time()
        run()
        c = time.thread_time()
        times.append(c - b)
        factors.append((c - b) / (b - a))
    gc.enable()
    return statistics.median(times), statistics.median(factors)


def consume(loader):
    for _ in loader:
        pass


def in_memory(lib):
    d = lib.utils.data
    for rows, width, batch in ((32 * 1000, 64, 32), (60000, 784, 64), (20000, 64, 512), (4000, 3072, 256)):
        x, y = lib.randn(rows, width), lib.arange(rows)
        half, thirds = rows // 2, [rows // 3, rows // 3, rows - 2 * (rows // 3)]
        kinds = {
            "TensorDataset(x)": (d.TensorDataset(x), rows, lambda i, x=x: x[i]),
            "TensorDataset(x, y)": (d.TensorDataset(x, y), rows, lambda i, x=x, y=y: (x[i], y[i])),
            "Subset": (d.Subset(d.TensorDataset(x), range(half)), half, lambda i, x=x: x[i]),
            "random_split": (d.random_split(d.TensorDataset(x), thirds)[0], thirds[0], lambda i, x=x: x[i]),
            "ConcatDataset": (d.ConcatDataset([d.TensorDataset(x[:half]), d.TensorDataset(x[half:])]), rows, lambda i, x=x: x[i]),
            "numpy array": (x.numpy(), rows, lambda i, x=x: x[i]),
        }
        for name, (data, n, index) in kinds.items():
            loader = d.DataLoader(data, batch_size=batch, shuffle=True)

            def plain(n=n, index=index, batch=batch):
                order = lib.randperm(n)
                for i in order.split(batch):
                    index(i)

            seconds, factor = ratios(lambda loader=loader: consume(loader), plain, 25 if lib.__name__ == "fireseed" else 3)
            batches = len(loader)
            yield f"{rows} x {width}, batch {batch}: {name}", 1e6 * seconds / batches, factor


class Rows:
    """Samples that take some Python."""

    def __init__(self, lib):
        self.lib, self.x = lib, lib.rand(2000, 28, 28)

    def __len__(self):
        return 2000

    def __getitem__(self, i):
        return ((self.x[i] - 0.13) / 0.31).unsqueeze(0), i % 10


def workers(lib):
    d = lib.utils.data
    kinds = [("thread", 4), ("process", 4)] if lib.__name__ == "fireseed" else [("process", 4)]
    for kind, count in [("none", 0), *kinds]:
        more = {} if kind == "none" or lib.__name__ != "fireseed" else {"worker_type": kind}
        loader = d.DataLoader(Rows(lib), batch_size=64, num_workers=count, persistent_workers=count > 0, **more)
        start = time.perf_counter()
        iterator = iter(loader)
        next(iterator)
        first = time.perf_counter() - start
        consume(iterator)
        passes = []
        for _ in range(3):
            start = time.perf_counter()
            consume(loader)
            passes.append(time.perf_counter() - start)
        yield f"{count} workers ({kind})", 1e3 * first, 1e3 * statistics.median(passes)


MEMORY = """
import os, sys
import {lib}
from {lib}.utils.data import DataLoader

def memory():  # KB of this process and its children, shared pages counted once
    mine, total = os.getpid(), 0
    for p in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(open(f"/proc/{{p}}/stat").read().rpartition(")")[2].split()[1])
            if mine in (int(p), parent):
                total += int(next(l for l in open(f"/proc/{{p}}/smaps_rollup") if l.startswith("Pss:")).split()[1])
        except OSError:
            pass
    return total

words = ["a sentence that is number %d of all of them" % i for i in range(2_000_000)]
before, figures = memory(), []
loader = DataLoader(words, batch_size=1000, shuffle=True, num_workers=4, persistent_workers=True{more})
for _ in range(3):
    for i, batch in enumerate(loader):
        if i == 1900:
            figures.append(memory())
print(before // 1000, *(f // 1000 for f in figures))
"""


def memory(lib):
    for kind in ("thread", "process") if lib == "fireseed" else ("process",):
        program = MEMORY.format(lib=lib, more=f", worker_type={kind!r}" if lib == "fireseed" else "")
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=os.environ)
        if out.returncode == 0:
            before, first, _, third = map(int, out.stdout.split())
            yield (f"{lib}, 4 workers ({kind}): {before} MB with the data, {first} in the first pass, {third} in the third "
                   f"({100 * (third / first - 1):+.1f} %; over all {100 * (third / before - 1):+.1f} %)")  # fmt: skip
        else:
            yield f"{lib}: failed: {out.stderr.strip().splitlines()[-1]}"


def main():
    libs = libraries()
    for lib in libs:
        lib.set_num_threads(1)
        print(f"{lib.__name__} {lib.__version__}: batches from memory, shuffled, 1 thread: us a batch, times plain x[i]")
        for name, micros, factor in in_memory(lib):
            print(f"  {name:55} {micros:9.2f} us  {factor:6.2f} x")
    for lib in libs:
        print(f"{lib.__name__}: 2000 samples of 28 x 28, batch 64: ms to the first batch, ms a pass")
        for name, first, whole in workers(lib):
            print(f"  {name:55} {first:9.1f} ms {whole:8.1f} ms")
    print("2 million strings, 3 shuffled passes")
    for lib in libs:
        for line in memory(lib.__name__):
            print("  " + line)


if __name__ == "__main__":
    main()
