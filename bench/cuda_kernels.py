"""Times fireseed's CUDA kernels and training steps, PyTorch's beside them in the same process where it sees the GPU.

    python bench/cuda_kernels.py [--stage kernels|ceilings|overhead|end-to-end] [--only REGEX] [--json FILE]

A row of kernels is first compared with float64, then timed: libraries in turns, five groups of 20 ms, inputs that rotate
through 256 MB, calls under 20 us by a graph's replay. Rows: {"stage", "kernel", "shape", "dtype", "us", "us_spread",
"torch_us", "ratio", "bytes", "flops", "pct_ceiling", "relerr", "ok", "detail"}; ratio is the peer's time over fireseed's.
Without PyTorch on the GPU the peer of matrix products is cuBLAS, where it can be loaded. --emu compares only.
"""
import argparse
import importlib
import json
import re
import sys

import numpy as np
from cuda_check import models, timing
from cuda_check.cublas import Cublas
from cuda_check.rows import NAMES, ROWS, SIZES
from cuda_check.speed import START_AGAIN

TOLERANCE = {"f64": 1e-12, "f32": 2e-5, "tf32": 2e-3, "f16": 3e-3, "bf16": 2e-2}


class Bench:
    def __init__(self, args):
        self.args, self.fs = args, importlib.import_module("fireseed")
        self.torch, self.file = None, open(args.json, "a") if args.json else None
        self.ceilings = json.loads(args.ceilings or "{}")
        if not self.fs.cuda.is_available():
            sys.exit(f"fireseed sees no GPU: {self.fs.cuda.unavailable_reason()}")
        if not args.emu:
            try:
                torch = importlib.import_module("torch")
                self.torch = torch if torch.cuda.is_available() else None
            except ImportError:
                pass
        self.cublas = None
        if not self.torch and not args.emu:
            try:
                self.cublas = Cublas(self.fs.cuda.current_stream().cuda_stream)
            except (OSError, RuntimeError) as error:
                print(f"no yardstick for products: {error}")
        self.libraries = {"fireseed": self.fs, **({"torch": self.torch} if self.torch else {})}

    def write(self, line):
        if self.file:
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()

    def wanted(self, name):
        return re.search(self.args.only, name) and name not in self.args.skip.split("\n")

    def report(self, name, work, **base):
        """Runs work() -> dict as the row `name`; what it raises is the row's failure."""
        self.write({"begin": name})
        base = {"stage": self.args.stage, "name": name, "kernel": name, **base}
        try:
            row = {**base, "ok": True, "detail": "", **work()}
        except Exception as error:
            row = {**base, "ok": False, "detail": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        self.write(row)
        print(" ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items() if v not in ("", None)), flush=True)
        try:
            self.fs.cuda.synchronize()
            self.fs.cuda.empty_cache()
        except RuntimeError:
            sys.exit(START_AGAIN)

    # ---- kernels ---------------------------------------------------------------------------------------------

    def dtype(self, t, spec, row):
        return getattr(t, NAMES[spec.dtype or row.dtype])

    def compare(self, row):
        """The error of a small call against float64 on the CPU."""
        fs, rng = self.fs, np.random.default_rng(0)
        device, exact = [], []
        for spec in row.specs(*row.check):
            if spec.kind == "int":
                x = fs.tensor(rng.integers(0, spec.high, spec.shape))
                exact.append(x)
            else:
                x = fs.tensor(rng.standard_normal(spec.shape).astype(np.float32)).to(self.dtype(fs, spec, row))
                exact.append(x.to(fs.float64))
            device.append(x.to("cuda"))
        got = arrays(row.setup(fs, *device)())
        return error_of(got, arrays(row.setup(fs, *exact)())) if row.compared else None

    def compare_full(self, row):
        """The same at the size that is timed, against float64 on the GPU; and the inputs."""
        torch, fs = self.torch, self.fs
        specs = row.specs(*row.full)
        nbytes = sum(int(np.prod(s.shape)) * (8 if s.kind == "int" else SIZES[row.dtype]) for s in specs)
        sets = [self.inputs(row, specs) for _ in range(timing.sets_for(nbytes))]
        if not torch or not row.compared:
            return sets, None
        got = [torch.from_dlpack(x).double() for x in flat(row.setup(fs, *sets[0]["fireseed"])())]
        fs.cuda.synchronize()
        exact = [x.double() if x.is_floating_point() else x for x in sets[0]["torch"]]
        ref = flat(row.setup(torch, *exact)())
        return sets, max(float(torch.linalg.vector_norm(g - r) / torch.linalg.vector_norm(r)) for g, r in zip(got, ref))

    def inputs(self, row, specs):
        t = self.torch or self.fs
        made = []
        for spec in specs:
            made.append(t.randint(0, spec.high, spec.shape, device="cuda") if spec.kind == "int" else
                        t.randn(*spec.shape, device="cuda").to(self.dtype(t, spec, row)))
        t.cuda.synchronize()
        if not self.torch:
            return {"fireseed": made}
        return {"torch": made, "fireseed": [self.fs.from_dlpack(x) for x in made]}

    def kernel(self, row):
        for t in self.libraries.values():
            t.set_float32_matmul_precision("high" if row.dtype == "tf32" else "highest")
        small = self.compare(row)
        nbytes, flops = row.nbytes(*row.full), row.flops(*row.full)
        result = {"bytes": nbytes, "flops": flops, "relerr": small,
                  "ok": small is None or small <= TOLERANCE[row.dtype]}
        if self.args.emu:
            return {**result, "shape": "x".join(map(str, row.check)), "us": None}
        sets, full = self.compare_full(row)
        if full is not None:
            result["relerr"] = max(full, small)
            result["ok"] = result["relerr"] <= TOLERANCE[row.dtype]
        calls = {name: [row.setup(t, *s[name]) for s in sets] for name, t in self.libraries.items()}
        if self.args.once:
            for call in calls["fireseed"][:1] * 4:
                call()
            return result
        libraries = dict(self.libraries)
        if self.cublas and row.kernel == "matmul":
            m, n, k = row.full
            out = self.fs.empty(m, n, device="cuda", dtype=getattr(self.fs, NAMES[row.dtype]))
            libraries["cublas"] = self.fs
            calls["cublas"] = [lambda s=s: self.cublas.matmul(row.dtype, s["fireseed"][0].data_ptr(), s["fireseed"][1].data_ptr(),
                                                              out.data_ptr(), m, n, k) for s in sets]
        return {**result, **self.figures(timing.median_us(libraries, calls), nbytes, flops, row.dtype)}

    def figures(self, times, nbytes=0, flops=0, dtype="f32"):
        us, spread = times["fireseed"]
        peer = times.get("torch") or times.get("cublas")
        figures = {"us": us, "us_spread": spread, "torch_us": peer and peer[0], "ratio": peer and peer[0] / us}
        shares = []
        if nbytes and self.ceilings.get("copy"):
            shares.append(nbytes / us * 1e6 / self.ceilings["copy"])
        if flops and (rate := self.ceilings.get(dtype) or (self.ceilings.get("bf16") if dtype == "f16" else None)):
            shares.append(flops / us * 1e6 / rate)
        if shares:
            figures["pct_ceiling"] = 100 * max(shares)
        if peer and figures["ratio"] < 1 - max(spread, peer[1]):
            figures["verdict"] = "slower than " + ("torch" if "torch" in times else "cublas")
        return figures

    def kernels(self):
        for row in ROWS:
            if self.wanted(row.name):
                self.report(row.name, lambda row=row: self.kernel(row), kernel=row.kernel, shape=row.shape, dtype=row.dtype)

    # ---- ceilings --------------------------------------------------------------------------------------------

    def ceiling(self, kind):
        t = self.torch or self.fs
        peer = "torch" if self.torch else "cublas" if self.cublas and kind != "copy" else "fireseed"
        if self.args.emu:
            return {"detail": "not timed under emulation"}
        if kind == "copy":
            x = t.randn(1 << 29, device="cuda")
            y = t.empty_like(x)
            us, spread = timing.median_us({peer: t}, {peer: [lambda: y.copy_(x)]})[peer]
            rate = 2 * 4 * x.numel() / us * 1e6
        else:
            n = 8192 if kind == "bf16" else 4096
            t.set_float32_matmul_precision("high" if kind == "tf32" else "highest")
            a, b = (t.randn(n, n, device="cuda").to(getattr(t, NAMES[kind])) for _ in range(2))
            c = t.empty_like(a)
            call = (lambda: self.cublas.matmul(kind, a.data_ptr(), b.data_ptr(), c.data_ptr(), n, n, n)) if peer == "cublas" \
                else lambda: a @ b
            us, spread = timing.median_us({peer: t}, {peer: [call]})[peer]
            rate = 2 * n ** 3 / us * 1e6
        return {"us": us, "us_spread": spread, "rate": rate,
                "detail": f"{rate / 1e12:.4g} {'TB/s' if kind == 'copy' else 'TFLOP/s'} by {peer}"}

    def all_ceilings(self):
        for kind in ("copy", "bf16", "tf32", "f32"):
            if self.wanted(kind):
                self.report(kind, lambda kind=kind: self.ceiling(kind))

    # ---- calls and steps -------------------------------------------------------------------------------------

    def call(self, name, setup):
        calls = {key: setup(t) for key, t in self.libraries.items()}
        for call in calls.values():
            call()
        if self.args.emu:
            return {"detail": "not timed under emulation"}
        return self.figures({key: timing.host_us(t, calls[key]) for key, t in self.libraries.items()})

    def overhead(self):
        def of(make):
            return lambda t: make(t, lambda *shape: t.ones(*shape, device="cuda"))

        def linear(t, ones):
            x, w, b = ones(64, 64), ones(64, 64), ones(64)
            return lambda: t.nn.functional.linear(x, w, b)

        for name, make in {"add 16": lambda t, ones: (lambda x: lambda: x + x)(ones(16)),
                           "matmul 64": lambda t, ones: (lambda x: lambda: x @ x)(ones(64, 64)), "linear 64": linear,
                           "view": lambda t, ones: (lambda x: lambda: x.view(16))(ones(4, 4))}.items():
            if self.wanted(name):
                self.report(name, lambda name=name, make=make: self.call(name, of(make)))
        name = "captured MLP step"
        if self.wanted(name):
            self.report(name, lambda: self.step(models.MODELS[0], True))

    def losses(self, model, device, count=3):
        step, _ = model.make(self.fs, device, small=True)
        return [float(step()) for _ in range(count)]

    def step(self, model, captured):
        """Losses of a small step on the device against the CPU's, then the time of the real one."""
        got, expected = self.losses(model, "cuda"), self.losses(model, "cpu")
        result = {"shape": model.batch, "relerr": max(abs(a - b) / abs(b) for a, b in zip(got, expected))}
        result["ok"] = result["relerr"] < (2e-2 if "bf16" in model.name else 1e-3)
        calls = {}
        for key, t in self.libraries.items():
            step, items = model.make(t, "cuda", small=self.args.emu, capturable=captured)
            calls[key] = [self.capture(t, step) if captured else step]
            calls[key][0]()
        if self.args.emu:
            self.fs.cuda.synchronize()
            return {**result, "detail": "not timed under emulation"}
        times = timing.median_us(self.libraries, calls, rounds=3)
        detail = ", ".join(f"{key} {items / us * 1e6:.4g} {model.unit}/s" for key, (us, _) in times.items())
        return {**result, **self.figures(times), "detail": detail}

    def capture(self, t, step):
        side = t.cuda.Stream()
        side.wait_stream(t.cuda.current_stream())
        with t.cuda.stream(side):
            for _ in range(3):
                step()
        t.cuda.current_stream().wait_stream(side)
        graph = t.cuda.CUDAGraph()
        with t.cuda.graph(graph):
            step()
        return graph.replay

    def compiled(self, model):
        """fireseed's captured step against torch.compile's."""
        if not self.torch:
            return {"ok": None, "detail": "no PyTorch on the GPU"}
        step, _ = model.make(self.fs, "cuda", capturable=True)
        peer, _ = model.make(self.torch, "cuda")
        calls = {"fireseed": [self.capture(self.fs, step)], "torch": [self.torch.compile(peer)]}
        return {"shape": model.batch, **self.figures(timing.median_us(self.libraries, calls, rounds=3))}

    def end_to_end(self):
        for model in models.MODELS:
            for captured in (False, True):
                name = f"{model.name}, {'graph' if captured else 'eager'}"
                if self.wanted(name):
                    self.report(name, lambda model=model, captured=captured: self.step(model, captured))
        name = f"{models.MODELS[-1].name}, graph against torch.compile"
        if self.wanted(name):
            self.report(name, lambda: self.compiled(models.MODELS[-1]))


def flat(result):
    return list(result) if isinstance(result, (tuple, list)) else [result]


def arrays(result):
    return [np.asarray(x.detach().double().cpu()) for x in flat(result)]


def error_of(got, expected):
    def one(g, e):
        if g.shape != e.shape or not np.isfinite(g).all():
            return np.inf
        return float(np.linalg.norm(g - e) / max(np.linalg.norm(e), 1e-300))
    return max(one(g, e) for g, e in zip(got, expected))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", default="kernels", choices=["kernels", "ceilings", "overhead", "end-to-end"])
    parser.add_argument("--only", default="", help="rows whose name matches")
    parser.add_argument("--skip", default="", help="names of rows to leave out, one a line")
    parser.add_argument("--json", help="append the rows to this file")
    parser.add_argument("--ceilings", help="rates by kind, as JSON, of the ceilings stage")
    parser.add_argument("--emu", action="store_true", help="compare small sizes, time nothing")
    parser.add_argument("--once", action="store_true", help="run each kernel four times, for a profiler")
    bench = Bench(parser.parse_args())
    {"kernels": bench.kernels, "ceilings": bench.all_ceilings, "overhead": bench.overhead, "end-to-end": bench.end_to_end}[bench.args.stage]()


if __name__ == "__main__":
    main()
