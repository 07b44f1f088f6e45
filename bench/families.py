"""Times training of the model families of examples/families under fireseed and under PyTorch, script by script.

    python bench/families.py [--only NAMES] [--threads 2] [--repeat 3] [--json FILE]

Each script runs in a process of its own, the two libraries in turns. A run is timed from its first progress line to its
last, so imports, data and pictures do not count. Printed are medians: milliseconds a step by the clock, their ratio
(below 1: fireseed is faster); the same in processor time of all threads, which a busy machine disturbs less (Linux); and
the seconds of the whole run.
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
STEPS = {"mlp": 3000, "lenet": 200, "resnet18": 10, "vae": 500, "dcgan": 40, "char_lstm": 20, "seq2seq": 30, "minigpt": 20,
         "vit": 50, "reinforce": 50, "dqn": 1000, "lbfgs": 20, "autograd_function": 300, "gcn": 600}  # fmt: skip


def processor_seconds(pid):
    """Processor time that a process has used, of all its threads, from /proc."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(name, steps, threads, library):
    """Milliseconds a step by the clock and in processor time, and seconds of the whole run."""
    command = [sys.executable, os.path.join(FOLDER, name + ".py"), "--steps", str(steps)]
    env = dict(os.environ, OMP_NUM_THREADS=str(threads), FIRESEED_NUM_THREADS=str(threads))
    with tempfile.TemporaryDirectory() as folder:
        command += ["--out", folder, "--losses", os.path.join(folder, "losses.json"), *library]
        start, times = time.perf_counter(), []
        with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                if line.startswith("step"):
                    step = int(re.match(r"step +(\d+)", line)[1])
                    times.append((time.perf_counter(), processor_seconds(process.pid), step))
        seconds = time.perf_counter() - start
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with status {process.returncode}")
    (first, first_cpu, a), (last, last_cpu, b) = times[0], times[-1]
    if name == "lbfgs":  # its second fit counts its steps anew
        b += steps
    return 1e3 * (last - first) / (b - a), 1e3 * (last_cpu - first_cpu) / (b - a), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(STEPS), choices=list(STEPS), metavar="NAME")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    print(f"{args.threads} threads, medians of {args.repeat} runs in turns")
    print("                    ms a step                     processor ms a step           whole run, s")
    print("                    fireseed   PyTorch    ratio   fireseed   PyTorch    ratio   fireseed  PyTorch")
    rows = {}
    for name in args.only:
        runs = {"fireseed": [], "torch": []}
        for _ in range(args.repeat):
            runs["fireseed"].append(run(name, STEPS[name], args.threads, []))
            runs["torch"].append(run(name, STEPS[name], args.threads, ["--torch"]))
        (a, a_cpu, a_run), (b, b_cpu, b_run) = ([statistics.median(v) for v in zip(*r)] for r in runs.values())
        rows[name] = {"fireseed_ms": a, "torch_ms": b, "fireseed_processor_ms": a_cpu, "torch_processor_ms": b_cpu,
                      "fireseed_s": a_run, "torch_s": b_run}  # fmt: skip
        print(f"{name:18s} {a:9.3f} {b:9.3f}  {a / b:7.3f}  {a_cpu:9.3f} {b_cpu:9.3f}  {a_cpu / b_cpu:7.3f}  {a_run:9.2f} "
              f"{b_run:8.2f}", flush=True)  # fmt: skip
    if args.json:
        with open(args.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
