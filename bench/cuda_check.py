"""Builds, proves, tests and times everything of CUDA on a machine with a GPU, in at most eight minutes: one table last.

    make cuda-check                                 or: python bench/cuda_check.py [--stages a,b] [--only REGEX]
    python bench/cuda_check.py --emu                rehearses on a machine without a GPU: all but the timing, small sizes

Each stage has a time limit of its own and none ends the others; rows go to OUT/rows.jsonl as they come (OUT: the
environment variable, or out/), logs beside them, the table to OUT/table.txt. The exit status is 0.
"""
import argparse
import os
import sys
import time
import traceback

from cuda_check import build, correct, report, speed

STAGES = {
    "env": build.env, "build": build.build, "conform": correct.conform, "tests": correct.tests,
    "sanitizer": correct.sanitize, "ceilings": speed.ceilings, "kernels": speed.kernels, "overhead": speed.overhead,
    "end-to-end": speed.end_to_end, "ncu": speed.ncu,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", default="all", help="some of " + ",".join([*STAGES, "table"]))
    parser.add_argument("--only", default="", help="rows whose name matches")
    parser.add_argument("--emu", action="store_true", help="on the emulated plugin")
    parser.add_argument("--minutes", type=float, default=None, help="of all stages together; 8, with --emu 60")
    args = parser.parse_args()
    wanted = [*STAGES, "table"] if args.stages == "all" else args.stages.split(",")
    if unknown := [s for s in wanted if s not in STAGES and s != "table"]:
        parser.error(f"unknown stages {unknown}; there are {', '.join([*STAGES, 'table'])}")

    folder = build.ROOT / "build/dev/python" if args.emu else build.BUILD / "python"
    c = report.Context(os.environ.get("OUT") or "out", args.emu, args.only,
                       folder if (folder / "fireseed").is_dir() and "PYTHONPATH" not in os.environ else None,
                       60 * (args.minutes or (60 if args.emu else 8)))
    if args.emu:
        plugin = os.environ.get("FIRESEED_CUDA_PLUGIN") or build.ROOT / "build/dev/cuda_emu/libfireseed_cuda_emu.so"
        c.plugin = plugin
    for name, stage in STAGES.items():
        if name not in wanted:
            continue
        print(f"== {name} ({c.seconds_left():.0f} s left)", flush=True)
        started = time.monotonic()
        try:
            stage(c)
        except Exception:
            c.rows.add(name, "stage", False, traceback.format_exc().strip().splitlines()[-1])
            traceback.print_exc()
        print(f"   {time.monotonic() - started:.1f} s", flush=True)
    if "table" in wanted:
        lines = report.table(c.rows.rows)
        (c.out / "table.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


if __name__ == "__main__":
    main()
    sys.exit(0)
