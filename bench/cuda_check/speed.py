"""Stages ceilings, kernels, overhead, end-to-end and ncu: bench/cuda_kernels.py in processes of its own."""
import json
import shutil
import sys
import time

from .report import ROOT, ended

PROGRAM = ROOT / "bench/cuda_kernels.py"
START_AGAIN = 75  # its exit status where a row lost the device


def measure(c, stage, seconds):
    """Runs the stage's rows; after a crash or a row that hangs, in a new process from the row behind it."""
    done, file = set(), c.out / f"{stage}.part"
    deadline = time.monotonic() + min(seconds * c.scale, c.seconds_left())
    while time.monotonic() < deadline:
        file.write_text("")
        command = [sys.executable, PROGRAM, "--stage", stage, "--json", file, "--only", c.only.pattern,
                   "--skip", "\n".join(sorted(filter(None, done)))]
        if c.emulated:
            command.append("--emu")
        ceilings = {r["kernel"]: r["rate"] for r in c.rows.of("ceilings") if r.get("rate")}
        command += ["--ceilings", json.dumps(ceilings)]
        status, output = c.run(command, max(5.0, deadline - time.monotonic()) / c.scale, "speed.log")
        begun = None
        for line in file.read_text().splitlines():
            row = json.loads(line)
            if "begin" in row:
                begun = row["begin"]
                continue
            done.add(begun)
            begun = None
            c.rows.add(**row)
        if status == 0:
            break
        if status == START_AGAIN and begun is None:
            continue
        if begun is None:  # it failed outside of a row
            c.rows.add(stage, "process", False, f"{ended(status)}: {output.strip()[-300:]}")
            break
        c.rows.add(stage, begun, False, f"{ended(status)}: {(output.strip().splitlines() or [''])[-1][:200]}")
        done.add(begun)
    file.unlink(missing_ok=True)


def ceilings(c):
    """The rates that this machine reaches: copies, and products by the peer's library or else our own."""
    measure(c, "ceilings", 20)


def kernels(c):
    """Every kernel beside the peer's, in one process."""
    measure(c, "kernels", 110)


def overhead(c):
    """Nanoseconds that an eager call costs."""
    measure(c, "overhead", 15)


def end_to_end(c):
    """Training steps."""
    measure(c, "end-to-end", 75)


def ncu(c):
    """Hardware counters of the three worst rows."""
    program = shutil.which("ncu")
    if c.emulated or not program:
        return c.rows.add("ncu", "ncu", None, "not with the emulation" if c.emulated else "ncu not found")
    rows = [r for r in c.rows.of("kernels") if r["ok"] and (r.get("ratio") or r.get("pct_ceiling"))]
    rows.sort(key=lambda r: r.get("ratio") or r["pct_ceiling"] / 100)
    for r in rows[:3]:
        status, output = c.run([program, "--clock-control", "none", "--section", "SpeedOfLight", "--section", "Occupancy",
                                "--section", "MemoryWorkloadAnalysis", "--section", "LaunchStats", "--launch-skip", "2",
                                "--launch-count", "2", sys.executable, PROGRAM, "--stage", "kernels",
                                "--once", "--only", f"^{r['name']}$"], 25, "ncu.txt")
        line = next((x.strip() for x in output.splitlines() if "Memory Throughput" in x or "Compute (SM) Throughput" in x), "")
        c.rows.add("ncu", r["name"], status == 0, line if status == 0 else f"{ended(status)}: {output.strip()[-150:]}")
