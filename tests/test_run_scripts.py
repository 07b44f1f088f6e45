"""The scripts of tests/scripts, written for PyTorch, run unchanged under python -m fireseed.run, and check finds no fault."""
import functools
import re
import tempfile
from pathlib import Path

import pytest
from fireseed.check import check_source
from test_run import execute

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


def losses(text):
    return [float(v) for v in re.findall(r"(?i)(?:loss\w*|adam \d+|lbfgs \d+)[:=]? ?([-\d.]+)", text)]


@functools.cache
def run_script(path):
    """The finished run of a script under fireseed.run, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return execute("-W", "ignore", "-m", "fireseed.run", path, cwd=folder)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_script_runs(path):
    done = run_script(path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    found = losses(done.stdout)
    if path.stem not in ("printing", "functional_ensemble", "custom_function", "ppo", "dqn"):
        assert len(found) >= 3 and min(found[-2:]) < found[0], done.stdout


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.stem)
def test_check_finds_nothing_missing(path):
    uses = check_source(path.read_bytes(), str(path))
    assert len(uses) > 20
    assert [use for use in uses if use.status == "missing"] == []


def test_script_takes_arguments(tmp_path):
    path = Path(__file__).parent / "scripts" / "mnist_cnn.py"
    done = execute("-m", "fireseed.run", path, "--epochs", "1", "--dry-run", "--save-model", tmp_path / "net.pt")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and lines[1] == lines[2].replace("epoch", "")  # the loaded net tests as the saved one
