"""Times fireseed, and PyTorch beside it in the same run where it is installed: calls, kernels, training steps.

    python bench/run.py [--only REGEX] [--threads N] [--json FILE]

Each row runs the same function on both libraries, in turns, and prints the median time of each and their ratio.
"""
import argparse
import importlib
import json
import math
import re
import statistics
import time


def mlp_step(torch, batch=32):
    """One Adam step of an MLP 784-128-10."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(batch, 784), torch.randint(0, 10, (batch,))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return step


def cnn_step(torch, batch=32):
    """One SGD step of a small CNN with batch norm on 28 x 28 images."""
    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Linear(32 * 49, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return step


def adam_step(torch, tensors=10, size=64):
    """Adam alone, over small tensors."""
    parameters = [torch.zeros(size, requires_grad=True) for _ in range(tensors)]
    for p in parameters:
        p.grad = torch.ones(size)
    return torch.optim.Adam(parameters).step


def unary(name, n):
    def make(torch):
        x, f = torch.randn(n), getattr(torch, name)
        return lambda: f(x)
    return make


def add(n):
    def make(torch):
        x, y = torch.randn(n), torch.randn(n)
        return lambda: x + y
    return make


def matmul(n, transposed=False):
    def make(torch):
        a, b = torch.randn(n, n), torch.randn(n, n)
        b = b.t() if transposed else b
        return lambda: a @ b
    return make


def conv(batch, channels, size):
    def make(torch):
        x, layer = torch.randn(batch, channels, size, size), torch.nn.Conv2d(channels, channels, 3, padding=1)
        return lambda: layer(x)
    return make


def backward(torch):
    """x.sum().backward() of 16 floats."""
    x = torch.randn(16, requires_grad=True)

    def step():
        x.grad = None
        x.sum().backward()
    return step


def view(torch):
    x = torch.randn(4, 4)
    return lambda: x.view(16)


def tracked_add(torch):
    x, y = torch.randn(16, requires_grad=True), torch.randn(16)
    return lambda: x + y


ROWS = {
    "call/add 16": add(16), "call/view": view, "call/add 16 with gradient": tracked_add,
    "call/sum.backward 16": backward, "call/Adam, 10 tensors of 64": adam_step,
    **{f"pointwise/add {n}": add(n) for n in (1 << 16, 1 << 22)},
    **{f"pointwise/{name} {n}": unary(name, n) for name in ("relu", "exp", "tanh", "sigmoid") for n in (1 << 16, 1 << 22)},
    **{f"reduce/sum {n}": unary("sum", n) for n in (1 << 16, 1 << 22)},
    **{f"matmul/{n}": matmul(n) for n in (16, 64, 128, 256, 512, 1024)},
    "matmul/512 transposed": matmul(512, True),
    "conv/3x3 of 8x32x28x28": conv(8, 32, 28), "conv/3x3 of 4x64x56x56": conv(4, 64, 56),
    "step/MLP 784-128-10, batch 32, Adam": mlp_step, "step/CNN 28x28, batch 32, SGD": cnn_step,
}


def calibrate(f, seconds=0.02):
    """How often to call f so that a measurement takes about `seconds`."""
    f()
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            f()
        spent = time.perf_counter() - start
        if spent >= seconds / 4:
            return max(1, round(count * seconds / spent))
        count *= 4


PAUSE = 0.03  # seconds


def measure(functions, rounds=11):
    """Median seconds of a call of each function, measured in turns; a pause before each lets the other's threads park."""
    counts = []
    for f in functions:
        time.sleep(PAUSE)
        counts.append(calibrate(f))
    times = [[] for _ in functions]
    for _ in range(rounds):
        for f, count, record in zip(functions, counts, times):
            time.sleep(PAUSE)
            f()
            start = time.perf_counter()
            for _ in range(count):
                f()
            record.append((time.perf_counter() - start) / count)
    return [statistics.median(t) for t in times]


def format_seconds(t):
    for unit, scale in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if t >= scale:
            return f"{t / scale:.3g} {unit}"
    return f"{t * 1e9:.0f} ns"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name matches this regular expression")
    parser.add_argument("--threads", type=int, default=0, help="threads of both libraries (default: their own choice)")
    parser.add_argument("--json", help="write the figures to this file")
    args = parser.parse_args()
    names, libraries = [], []
    for name in ("fireseed", "torch"):
        try:
            libraries.append(importlib.import_module(name))
            names.append(name)
        except ModuleNotFoundError:
            print(f"{name} is not installed; its column is left out")
    for library in libraries:
        if args.threads:
            library.set_num_threads(args.threads)
        print(f"{library.__name__} {library.__version__}, {library.get_num_threads()} threads")
    figures, ratios = {}, []
    for row, make in ROWS.items():
        if not re.search(args.only, row):
            continue
        times = measure([make(library) for library in libraries])
        figures[row] = dict(zip(names, times))
        line = f"{row:40}" + "".join(f"{format_seconds(t):>12}" for t in times)
        if len(times) == 2:
            ratios.append(times[1] / times[0])
            line += f"{ratios[-1]:9.2f} x"
        print(line, flush=True)
    if ratios:
        print(f"geometric mean of torch's time / fireseed's: {math.exp(statistics.fmean(map(math.log, ratios))):.2f}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(figures, file, indent=1)


if __name__ == "__main__":
    main()
