"""Nanoseconds a call on tiny tensors: what the path from Python to the kernel costs, PyTorch beside it if installed.

    python bench/overhead.py [--only REGEX] [--threads N] [--repeat N] [--json FILE]

Each row is one statement, timed in turns for every library in one process; the figure is the smallest of the repeats,
less the cost of an empty loop. `ratio` is PyTorch's time over fireseed's.
"""

import argparse
import importlib
import json
import math
import re
import timeit

# name -> (set-up, statement); `t` is the library, `F` its nn.functional.
ROWS = {
    "add": ("x, y = t.ones(16), t.zeros(16)", "x + y"),
    "add number": ("x = t.ones(16)", "x + 1.0"),
    "add in place": ("x, y = t.ones(16), t.zeros(16)", "x += y"),
    "mul broadcast": ("x, y = t.ones(4, 16), t.ones(16)", "x * y"),
    "compare": ("x = t.ones(16)", "x > 0"),
    "exp": ("x = t.ones(16)", "x.exp()"),
    "relu": ("x = t.ones(16)", "t.relu(x)"),
    "gelu": ("x = t.ones(16)", "F.gelu(x)"),
    "where": ("x, y, c = t.ones(16), t.zeros(16), t.ones(16) > 0", "t.where(c, x, y)"),
    "sum": ("x = t.ones(16)", "x.sum()"),
    "sum dim": ("x = t.ones(4, 16)", "x.sum(1)"),
    "mean dim": ("x = t.ones(4, 16)", "x.mean(dim=1, keepdim=True)"),
    "max dim": ("x = t.ones(4, 16)", "x.max(1)"),
    "softmax": ("x = t.ones(4, 16)", "t.softmax(x, -1)"),
    "layer_norm": ("x, w, b = t.ones(4, 16), t.ones(16), t.zeros(16)", "F.layer_norm(x, (16,), w, b)"),
    "matmul 16": ("x = t.ones(16, 16)", "x @ x"),
    "linear": ("x, w, b = t.ones(4, 16), t.ones(8, 16), t.ones(8)", "F.linear(x, w, b)"),
    "conv2d": ("x, w = t.ones(1, 1, 8, 8), t.ones(4, 1, 3, 3)", "F.conv2d(x, w)"),
    "cross_entropy": ("x, y = t.ones(4, 10), t.zeros(4, dtype=t.int64)", "F.cross_entropy(x, y)"),
    "cat": ("x = t.ones(16)", "t.cat((x, x))"),
    "stack": ("x = t.ones(16)", "t.stack([x, x, x, x])"),
    "view": ("x = t.ones(16)", "x.view(4, 4)"),
    "reshape": ("x = t.ones(16)", "x.reshape(4, -1)"),
    "t": ("x = t.ones(4, 4)", "x.t()"),
    "permute": ("x = t.ones(2, 3, 4)", "x.permute(2, 0, 1)"),
    "unsqueeze": ("x = t.ones(16)", "x.unsqueeze(0)"),
    "index int": ("x = t.ones(16, 16)", "x[3]"),
    "index slice": ("x = t.ones(16, 16)", "x[:, 2:5]"),
    "index tensor": ("x, i = t.ones(16, 16), t.tensor([1, 3])", "x[i]"),
    "index mask": ("x, m = t.ones(16), t.ones(16) > 0", "x[m]"),
    "set slice": ("x = t.ones(16)", "x[2:6] = 0.0"),
    "item": ("x = t.ones(1)", "x.item()"),
    "shape": ("x = t.ones(4, 16)", "x.shape[0]"),
    "detach": ("x = t.ones(16)", "x.detach()"),
    "clone": ("x = t.ones(16)", "x.clone()"),
    "to same dtype": ("x = t.ones(16)", "x.to(t.float32)"),
    "zeros": ("", "t.zeros(16)"),
    "tensor of a list": ("", "t.tensor([1.0, 2.0, 3.0])"),
    "error caught": ("x, y = t.ones(3), t.ones(4)", "try: x + y\nexcept RuntimeError: pass"),
    "add with grad": ("x, y = t.ones(16, requires_grad=True), t.ones(16)", "x + y"),
    "sum backward": ("x = t.ones(16, requires_grad=True)", "x.sum().backward()"),
    "chain of 8 backward": (
        "x = t.ones(16, requires_grad=True)",
        "y = x * 2; y = y + 1; y = y.tanh(); y = y * y; y = y.exp(); y = -y; y = y.abs(); y.sum().backward()",
    ),
    "no_grad block": ("", "with t.no_grad(): pass"),
    "Linear module": ("m, x = t.nn.Linear(16, 16), t.ones(4, 16)", "m(x)"),
    "SGD step": (
        "p = [t.ones(16, requires_grad=True) for _ in range(10)]\n"
        "for q in p: q.grad = t.ones(16)\no = t.optim.SGD(p, lr=0.0)",
        "o.step()",
    ),
    "Adam step": (
        "p = [t.ones(16, requires_grad=True) for _ in range(10)]\n"
        "for q in p: q.grad = t.ones(16)\no = t.optim.Adam(p, lr=0.0)",
        "o.step()",
    ),
}


class Timed:
    """One statement bound to one library."""

    def __init__(self, library, setup, statement):
        functional = importlib.import_module(library.__name__ + ".nn.functional")
        self.timer = timeit.Timer(statement, setup or "pass", globals={"t": library, "F": functional})
        self.best = math.inf
        count = 1
        while self.timer.timeit(count) < 2e-3:
            count *= 4
        self.count = count

    def measure(self):
        self.best = min(self.best, self.timer.timeit(self.count) / self.count)


def libraries(threads):
    found = []
    for name in ("fireseed", "torch"):
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        library.set_num_threads(threads)
        found.append(library)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="rows whose name matches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", help="also write the figures here")
    args = parser.parse_args()

    empty = min(timeit.Timer("pass").repeat(20, 100_000)) / 100_000
    libs, results, ratios = libraries(args.threads), {}, []
    print(f"{args.threads} thread(s), nanoseconds a call, smallest of {args.repeat}")
    print(
        f"{'':22}"
        + "".join(f"{lib.__name__:>12}" for lib in libs)
        + ("       ratio" if len(libs) > 1 else "")
    )
    for name, (setup, statement) in ROWS.items():
        if not re.search(args.only, name):
            continue
        timed = [Timed(lib, setup, statement) for lib in libs]
        for _ in range(args.repeat):
            for t in timed:
                t.measure()
        ns = [max(t.best - empty, 1e-10) * 1e9 for t in timed]
        results[name] = dict(zip([lib.__name__ for lib in libs], ns, strict=True))
        line = f"{name:22}" + "".join(f"{v:12.0f}" for v in ns)
        if len(ns) > 1:
            ratios.append(ns[1] / ns[0])
            line += f"{ratios[-1]:12.1f}"
        print(line, flush=True)
    if ratios:
        print(
            f"geometric mean of the ratios {math.exp(sum(map(math.log, ratios)) / len(ratios)):.1f}, smallest {min(ratios):.1f}"
        )
    if args.json:
        with open(args.json, "w") as f:
            json.dump({"threads": args.threads, "ns": results}, f, indent=1)


if __name__ == "__main__":
    main()
