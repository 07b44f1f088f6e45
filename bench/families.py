"""Times training of the model families of examples/families under fireseed and under PyTorch, script by script.

    python bench/families.py [--only NAMES] [--threads 2] [--repeat 3] [--json FILE]

Each script runs in a process of its own, the two libraries in turns. A run is timed from its first progress line to its
last, so imports, data and pictures do not count; printed are the medians of milliseconds a step, their ratio (below 1:
fireseed is faster), and the medians of the whole run's seconds.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "families")
STEPS = {"mlp": 2000, "lenet": 300, "resnet18": 20, "vae": 1000, "dcgan": 80, "char_lstm": 60, "seq2seq": 60, "minigpt": 40,
         "vit": 100, "reinforce": 60, "dqn": 1500, "lbfgs": 20, "autograd_function": 400, "gcn": 400}  # fmt: skip


def run(name, steps, threads, library):
    """Milliseconds a step, and seconds of the whole run."""
    command = [sys.executable, os.path.join(FOLDER, name + ".py"), "--steps", str(steps)]
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), FIRESEED_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as folder:
        command += ["--out", folder, "--losses", os.path.join(folder, "losses.json"), *library]
        start, times, texts = time.perf_counter(), [], []
        with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                texts.append(line)
                if line.startswith("step"):
                    times.append((time.perf_counter(), int(re.match(r"step +(\d+)", line)[1])))
        seconds = time.perf_counter() - start
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
    (first, a), (last, b) = times[0], times[-1]
    if name == "lbfgs":  # its second fit counts its steps anew
        b += steps
    return 1e3 * (last - first) / (b - a), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(STEPS), choices=list(STEPS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{args.threads} threads, medians of {args.repeat} runs in turns")
    print("                     ms a step            fireseed   whole run, s")
    print("                     fireseed   PyTorch  / PyTorch   fireseed  PyTorch")
    rows = {}
    for name in args.only:
        runs = {"fireseed": [], "torch": []}
        for _ in range(args.repeat):
            runs["fireseed"].append(run(name, STEPS[name], args.threads, []))
            runs["torch"].append(run(name, STEPS[name], args.threads, ["--torch"]))
        (a, whole_a), (b, whole_b) = ([statistics.median(v) for v in zip(*runs[n])] for n in ("fireseed", "torch"))
        rows[name] = {"fireseed_ms": a, "torch_ms": b, "ratio": a / b, "fireseed_s": whole_a, "torch_s": whole_b}
        print(f"{name:18s} {a:10.3f} {b:9.3f}   {a / b:7.3f}   {whole_a:9.2f} {whole_b:8.2f}", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
