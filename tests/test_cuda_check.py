"""bench/cuda_check.py and its gate, rehearsed on the emulated plugin: rows as they come, comparisons, the table."""
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from under_test import IS_FIRESEED, lib

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"
CONFORMANCE = ROOT / "build/cuda_host/cuda_conformance"
pytestmark = pytest.mark.skipif(not BENCH.is_dir() or not IS_FIRESEED, reason="the sources are not at hand")
needs_plugin = pytest.mark.skipif(not os.environ.get("FIRESEED_CUDA_PLUGIN"), reason="no emulated plugin in FIRESEED_CUDA_PLUGIN (make test-cuda-emu)")


@pytest.fixture
def bench(monkeypatch):
    """Imports modules of bench/."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def check(out, *arguments):
    package = Path(lib.__file__).parent.parent
    env = dict(os.environ, OUT=str(out), PYTHONPATH=os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")]))
    p = subprocess.run([sys.executable, BENCH / "cuda_check.py", "--emu", *arguments], capture_output=True, text=True, env=env)
    assert p.returncode == 0, p.stderr
    return p.stdout, [json.loads(line) for line in (out / "rows.jsonl").read_text().splitlines()]


@pytest.mark.skipif(not CONFORMANCE.exists(), reason="build/cuda_host/cuda_conformance is not built (make cuda-host-test)")
def test_emulated_intrinsics_do_not_depend_on_the_order_of_threads(tmp_path):
    printed, rows = check(tmp_path, "--stages", "env,conform,table")
    conform = [r for r in rows if r["stage"] == "conform"]
    assert len(conform) > 50 and all(r["ok"] for r in conform)
    assert {"shuffle", "cp_async", "ldmatrix", "mma_bf16", "tma", "wgmma_f16", "philox"} <= {r["kernel"] for r in conform}
    assert len((tmp_path / "table.txt").read_text().splitlines()) <= 100
    assert f"{len(conform)} checks" in printed


@needs_plugin
def test_kernels_are_compared_and_failures_come_first(tmp_path):
    printed, rows = check(tmp_path, "--stages", "ceilings,kernels,overhead,table", "--only", "softmax|copy|^add/|add 16|cumsum")
    kernels = {r["kernel"]: r for r in rows if r["stage"] == "kernels"}
    assert kernels["softmax"]["ok"] and kernels["softmax"]["relerr"] < 1e-2 and kernels["add"]["bytes"] > 0
    assert [r["kernel"] for r in rows if r["stage"] == "overhead"] == ["add 16"]
    assert len(list(tmp_path.iterdir())) <= 8


def test_a_stage_that_fails_ends_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRESEED_CUDA_PLUGIN", str(tmp_path / "none.so"))
    printed, rows = check(tmp_path, "--stages", "ceilings,overhead,table")
    assert [(r["stage"], r["ok"]) for r in rows] == [("ceilings", False), ("overhead", False)]
    assert "2 failed" in printed and "sees no GPU" in rows[0]["detail"]


def test_words_are_compared_in_units_in_the_last_place(bench):
    correct = bench("cuda_check.correct")

    def compare(a, b, ulps=0):
        return correct.compare(correct.Section(ulps, a), correct.Section(ulps, b))

    assert compare(["3f800000"], ["3f800000"])[0]
    assert not compare(["3f800000"], ["3f800001"])[0]
    assert compare(["3f800000"], ["3f800002"], 2)[0] and not compare(["3f800000"], ["3f800003"], 2)[0]
    assert compare(["00000001"], ["80000001"], 2)[0]  # across zero
    assert compare(["7fc00000"], ["ffc00001"], 2)[0] and not compare(["7fc00000"], ["3f800000"], 2)[0]
    assert not compare(["3f800000"], [])[0]


def test_ptxas_reports_are_read(bench):
    report = """ptxas info    : Compiling entry function '_Z1kPf' for 'sm_90'
ptxas info    : Function properties for _Z1kPf
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 4096 bytes smem, 16 bytes cumulative stack size
"""
    (f,) = bench("cuda_check.ptxas").functions(report)
    assert (f.name, f.arch, f.registers, f.spill_stores, f.spill_loads, f.shared) == ("_Z1kPf", "sm_90", 40, 12, 20, 4096)


def test_gate_lists_what_regressed_and_what_was_never_proven(bench, tmp_path):
    gate = bench("cuda_gate")
    row = {"stage": "kernels", "kernel": "softmax", "name": "softmax/f32/16384x4096", "shape": "16384x4096", "ok": True, "detail": "",
           "us": 100.0, "us_spread": 0.02}
    for day, us in ((1, 100.0), (2, 120.0)):
        run = {"commit": "abc", "date": f"2030-01-0{day}", "gpu": "a GPU", "rows": [{**row, "us": us}]}
        (tmp_path / f"{day}.json").write_text(json.dumps(run))
    runs = gate.load(tmp_path)
    ((before, now),) = gate.regressions(runs)
    assert (before["us"], now["us"]) == (100.0, 120.0)
    never, failed = gate.unproven(runs)
    assert row["name"] not in never and len(never) > 30 and failed == []
    assert gate.load(tmp_path / "none") == []


@needs_plugin
def test_timing_on_the_device(bench):
    """Events, graphs and groups; the figures mean nothing here."""
    timing = bench("cuda_check.timing")
    if not lib.cuda.is_available():
        pytest.skip(lib.cuda.unavailable_reason())
    x = lib.ones(64, device="cuda")
    times = timing.median_us({"a": lib, "b": lib}, {"a": [lambda: x + x], "b": [lambda: x * 2, lambda: x * 3]}, rounds=2)
    assert all(us > 0 and spread >= 0 for us, spread in times.values())
    assert timing.graphed(lib, [lambda: x + 1]) is not None
    assert timing.graphed(lib, [lambda: x.sum().item()]) is None  # waits for the device
    assert float((x + x).sum()) == 128
