"""Rows of results: written as they come, and the table made of them."""
import json
import os
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 100
DETAILED = ("env", "ceilings", "kernels", "overhead", "end-to-end", "ncu")  # stages whose good rows are in the table too


class Rows:
    """Appends rows (dicts) to a file of JSON lines, each on disk before the next one is measured."""

    def __init__(self, path):
        self.path, self.rows = Path(path), []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def add(self, stage, kernel, ok, detail="", **more):
        row = {"stage": stage, "kernel": kernel, "ok": ok, "detail": detail, **more}
        self.rows.append(row)
        with open(self.path, "a") as f:
            f.write(json.dumps(row) + "\n")
            f.flush()
            os.fsync(f.fileno())
        print(f"  {'ok  ' if ok else 'SKIP' if ok is None else 'FAIL'} {kernel}"
              + (f": {detail.splitlines()[0][:150]}" if detail else ""), flush=True)
        return row

    def of(self, stage):
        return [r for r in self.rows if r["stage"] == stage]


class Context:
    """What all stages know: where things are, what was asked for."""

    def __init__(self, out, emulated, only, python_package, budget):
        self.out, self.emulated, self.only = Path(out), emulated, re.compile(only or "")
        self.python_package = python_package  # folder for PYTHONPATH, or None for the installed package
        self.budget, self.started = budget, time.monotonic()
        self.scale = budget / 480  # of the stages' limits, which are for eight minutes
        self.rows = Rows(self.out / "rows.jsonl")
        self.plugin = None
        self.jobs = len(os.sched_getaffinity(0))

    def seconds_left(self):
        return max(0.0, self.budget - (time.monotonic() - self.started))

    def environment(self, **more):
        env = dict(os.environ, PYTHONUNBUFFERED="1", **more)
        if self.python_package:
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(self.python_package), env.get("PYTHONPATH", "")]))
        if self.plugin:
            env["FIRESEED_CUDA_PLUGIN"] = str(self.plugin)
        return env

    def run(self, command, timeout, log=None, env=None, cwd=ROOT):
        """(exit status or None after the timeout, output) of a program and all it started; the output goes to the log."""
        timeout = max(1.0, min(timeout * self.scale, self.seconds_left()))
        with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", env=env or self.environment(), cwd=cwd, start_new_session=True) as p:
            try:
                output, status = p.communicate(timeout=timeout)[0], p.returncode
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, 9)
                output, status = p.communicate()[0], None
        if log:
            with open(self.out / log, "a") as f:
                f.write(f"$ {' '.join(map(str, command))}\n{output[-4_000_000:]}\n")
        return status, output


def ended(status):
    return "timed out" if status is None else f"signal {-status}" if status < 0 else f"exit status {status}"


def number(x, digits=3):
    if x is None:
        return ""
    return f"{x:.{digits}g}" if abs(x) < 10 ** digits else f"{x:.0f}"


def commit():
    p = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT)
    return p.stdout.strip() or "unknown"


def verdict(row):
    if row["ok"] is None:
        return "skipped"
    if not row["ok"]:
        return "FAILED"
    return row.get("verdict", "ok")


def table(rows):
    """At most MAX_LINES lines: failures first, then what is slower than the peer, then the rest."""
    def rank(row):
        failed = row["ok"] is not None and not row["ok"]
        return (not failed, row["ok"] is None, row.get("ratio") is None, row.get("ratio") or 0)

    counts = {"ok": 0, "FAILED": 0, "skipped": 0}
    for r in rows:
        v = verdict(r)
        counts[v if v in counts else "ok"] += 1
    lines = [f"{counts['ok']} ok, {counts['FAILED']} failed, {counts['skipped']} skipped; commit {commit()}",
             f"{'stage':11}{'name':34}{'us':>9}{'ratio':>7}{'%ceil':>7}{'spread':>8}{'error':>9}  verdict"]
    shown = [r for r in rows if not r["ok"] or r["stage"] in DETAILED]
    for stage in dict.fromkeys(r["stage"] for r in rows):
        if stage not in DETAILED and (fine := [r for r in rows if r["stage"] == stage and r["ok"]]):
            shown.append({"stage": stage, "kernel": f"{len(fine)} checks", "ok": True, "detail": ""})
    for r in sorted(shown, key=rank):
        name = " ".join(filter(None, [r["kernel"], r.get("dtype"), r.get("shape")]))
        spread = r.get("us_spread")
        line = (f"{r['stage'][:10]:11}{name[:33]:34}{number(r.get('us')):>9}{number(r.get('ratio')):>7}"
                f"{number(r.get('pct_ceiling')):>7}{'' if spread is None else f'{100 * spread:.0f}%':>8}"
                f"{number(r.get('relerr'), 2):>9}  {verdict(r)}")
        if r["detail"] and (not r["ok"] or r.get("us") is None):
            line += ": " + r["detail"].splitlines()[0]
        lines.append(line[:160])
    if len(lines) > MAX_LINES:
        lines = lines[:MAX_LINES - 1] + [f"… {len(lines) - MAX_LINES + 1} more in rows.jsonl"]
    return lines
