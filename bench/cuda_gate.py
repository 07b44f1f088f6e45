"""What runs on a GPU have shown: kernels that none has proven, rows that became slower. For machines without one.

    python bench/cuda_gate.py [--results DIR]        exit status 1 where a row regressed or failed

bench/results/*.json are runs of bench/cuda_check.py: {"commit", "date", "gpu", "rows"}; `--add OUT/rows.jsonl` makes one.
A row regressed where it takes longer than in the run before it by more than both runs' spread and a twentieth.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from cuda_check.report import ROOT, commit
from cuda_check.rows import ROWS


def load(folder):
    """Runs, oldest first."""
    runs = [json.loads(p.read_text()) for p in sorted(Path(folder).glob("*.json"))]
    return sorted(runs, key=lambda r: r["date"])


def key(row):
    return row["stage"], row.get("name") or row["kernel"], row.get("shape", "")


def regressions(runs):
    """(row before, row now) of what became slower in the newest run that has it."""
    last, found = {}, []
    for run in runs:
        for row in run["rows"]:
            if row.get("us") is None:
                continue
            before = last.get(key(row))
            last[key(row)] = row
            if run is not runs[-1] or before is None:
                continue
            noise = max(0.05, before.get("us_spread") or 0, row.get("us_spread") or 0)
            if row["us"] > before["us"] * (1 + noise):
                found.append((before, row))
    return found


def unproven(runs):
    """Kernels' rows that no run has found right on a GPU, and the newest run's failures."""
    proven = {key(r) for run in runs for r in run["rows"] if r["stage"] == "kernels" and r["ok"]}
    never = [row.name for row in ROWS if ("kernels", row.name, row.shape) not in proven]
    failed = [r for r in (runs[-1]["rows"] if runs else []) if r["ok"] is False]
    return never, failed


def changed_since(run):
    """Sources of kernels that changed after the commit that was measured."""
    p = subprocess.run(["git", "diff", "--name-only", run["commit"], "--", "cuda"], capture_output=True, text=True, cwd=ROOT)
    return p.stdout.split() if p.returncode == 0 else ["(the commit is not here)"]


def add(rows_file, folder):
    rows = [json.loads(line) for line in Path(rows_file).read_text().splitlines()]
    gpu = next((r["detail"] for r in rows if r["stage"] == "env" and r["kernel"] == "gpu"), "unknown")
    if gpu == "emulated":
        sys.exit("these rows are of the emulation; only runs on a GPU are kept")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    path = folder / f"{date[:10]}-{commit()}.json"
    run = {"commit": commit(), "date": date, "gpu": gpu, "rows": rows}
    path.write_text("{" + ",\n".join(f'"{k}": {json.dumps(v)}' for k, v in run.items() if k != "rows")
                    + ',\n"rows": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}\n")
    print(f"wrote {path}; commit it")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=ROOT / "bench/results")
    parser.add_argument("--add", metavar="ROWS", help="make a results file of a run's rows.jsonl")
    args = parser.parse_args()
    if args.add:
        return add(args.add, args.results)
    runs = load(args.results)
    if not runs:
        print(f"no results yet: no kernel has run on a GPU. {len(ROWS)} rows wait for `make cuda-check`.")
        return None
    never, failed = unproven(runs)
    slower = regressions(runs)
    print(f"{len(runs)} runs, the newest of {runs[-1]['date']} on {runs[-1]['gpu']}, commit {runs[-1]['commit']}")
    for name in never:
        print(f"never proven on a GPU: {name}")
    for row in failed:
        print(f"failed: {row['stage']} {row.get('name') or row['kernel']}: {row['detail'][:120]}")
    for before, row in slower:
        print(f"slower: {row.get('name') or row['kernel']}: {before['us']:.4g} -> {row['us']:.4g} us")
    if changed := changed_since(runs[-1]):
        print(f"changed since: {', '.join(changed[:20])}")
    return 1 if slower or failed else None


if __name__ == "__main__":
    sys.exit(main())
