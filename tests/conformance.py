"""Runs the conformance scorer and fails where something fails that tests/conformance_known.txt does not name.

python tests/conformance.py SCORER [--core] [--update]: SCORER is the scorer's folder. It scores the installed fireseed
against the installed PyTorch 2.13 (CPU) and writes a JSON file, which is compared. --update rewrites the list.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

KNOWN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance_known.txt")
HEAD = "# What PyTorch's databases find missing or different (tests/conformance.py --update writes this file).\n"


def score(scorer, options):
    """The scorer's report: {item: {failing units}} and its summary."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        command = [sys.executable, scorer, "--lib", "fireseed", "--jobs", str(os.cpu_count()), "--json", path, *options]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        with open(path) as file:
            report = json.load(file)
    failing = {}
    for item in report["items"]:
        name = f"{item['group']} {item['name']}"
        if item["failures"] or item["crashes"]:
            whole = item["failures"] and not item["present"]
            failing[name] = {"missing"} if whole else {f["unit"] for f in item["failures"]} or {"crash"}
    return failing, output.split("\n\n")[1]


def lines(failing):
    return sorted(f"{name}: {unit}" for name, units in failing.items() for unit in units)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scorer")
    parser.add_argument("--core", action="store_true", help="only the core ops")
    parser.add_argument("--update", action="store_true", help="rewrite the list of known failures")
    args = parser.parse_args()
    failing, summary = score(args.scorer, ["--core"] if args.core else [])
    print(summary)
    if args.update:
        with open(KNOWN, "w") as file:
            file.write(HEAD + "".join(line + "\n" for line in lines(failing)))
        return 0
    with open(KNOWN) as file:
        known = {line.rstrip("\n") for line in file if not line.startswith("#")}
    new = [line for line in lines(failing) if line not in known]
    if new:  # random ops are judged by statistics, slow machines by the clock: once more
        names = {re.escape(line.split(": ")[0].partition(" ")[2]) for line in new}
        again, _ = score(args.scorer, ["--only", f"^({'|'.join(sorted(names))})$"])
        new = [line for line in new if line in lines(again)]
    gone = known - set(lines(failing)) if not args.core else set()
    if gone:
        print("these do not fail any more; take them off the list (--update):", *sorted(gone), sep="\n  ")
    if new:
        print("new failures:", *new, sep="\n  ")
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
