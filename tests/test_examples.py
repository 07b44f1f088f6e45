"""Every example runs, says what its docstring promises, and writes its picture (digits*.py: tests/test_train.py)."""

import os
import re
import subprocess
import sys

import pytest
from under_test import IS_FIRESEED

pytestmark = pytest.mark.skipif(not IS_FIRESEED, reason="the examples import fireseed")
EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples")


def table(folder, name):
    """The printed table of `examples/<name>.py --quick`: {title: numbers of the row}, and the whole text."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, os.path.join(EXAMPLES, name + ".py"), "--quick", "--out", str(folder)],
        timeout=600,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "LintWarning" not in done.stderr, done.stderr  # the training linter has nothing to say of them
    picture = folder / (name + ".png")
    assert picture.read_bytes()[:4] == b"\x89PNG" and picture.stat().st_size > 10_000
    rows = {}
    for line in done.stdout.splitlines():
        found = re.match(r"(\S.*?) {1,}(-?[\d,.]+(?: {2,}.*)?)$", line)
        if found:
            rows[found[1].strip()] = [
                float(v.replace(",", "")) for v in re.findall(r"(?<!\S)-?[\d,]+\.?\d*(?!\S)", found[2])
            ]
    return rows, done.stdout


def test_gradient_descent(tmp_path):
    rows, _ = table(tmp_path, "gradient_descent")
    full, batches, single = (rows[n] for n in ("gradient descent", "mini-batch SGD (32)", "single-sample SGD"))
    assert [full[0], batches[0], single[0]] == [1, 15, 455]  # updates an epoch
    assert full[1] > 1.5 * batches[1] > 2 * single[1]  # loss after one epoch
    assert full[2] < full[1] and batches[2] < batches[1]  # and at the end
    assert min(full[3], batches[3], single[3]) > 0.93  # accuracy


def test_optimizers(tmp_path):
    rows, _ = table(tmp_path, "optimizers")
    assert list(rows) == ["gradient descent", "SGD (1 sample)", "mini-batch SGD (32)", "momentum", "Nesterov", "AdaGrad",
                          "RMSprop", "Adadelta", "Adam", "AdamW", "NAdam", "FTRL"]  # fmt: skip
    distance, loss = ({name: row[i] for name, row in rows.items()} for i in (0, 1))
    assert min(distance, key=distance.get) == "gradient descent"  # exact gradients end in the lowest point
    assert max(distance, key=distance.get) == "SGD (1 sample)"  # one sample's keep shaking
    assert max(loss, key=loss.get) == "gradient descent"  # one update an epoch
    assert max(loss["momentum"], loss["Nesterov"]) < loss["mini-batch SGD (32)"]
    assert all(row[2] > 0.85 for name, row in rows.items() if name != "gradient descent")


def test_overfitting(tmp_path):
    _, text = table(tmp_path, "overfitting")
    rows = {line[:24].strip(): line[24:].split(maxsplit=4) for line in text.splitlines()[1:-1]}
    verdict = {name: row[4] for name, row in rows.items()}
    training, validation, accuracy = ({name: float(row[i]) for name, row in rows.items()} for i in (1, 2, 3))
    assert len(rows) == 10
    assert verdict["too small"].startswith("Underfitting")
    assert verdict["too large"].startswith("Overfitting")
    for kind in ("weight decay", "L1", "L2", "original dropout", "inverted dropout", "early stopping"):
        assert not verdict["large, " + kind].startswith("Overfitting:")
        assert validation["large, " + kind] < validation["too large"] + 0.05
        assert accuracy["large, " + kind] > accuracy["too large"]
        assert training["large, " + kind] > training["too large"]
    assert accuracy["too small"] < accuracy["too large"] < accuracy["right"]


def test_tabular(tmp_path):
    rows, _ = table(tmp_path, "tabular")
    assert all(row[0] > 0.25 and row[1] > 0.25 for row in rows.values())  # R2
    plain, ridge, lasso = (rows[name][2:] for name in ("no penalty", "L2", "L1"))
    assert len(plain) == len(ridge) == len(lasso) == 8
    assert sum(v * v for v in ridge) < sum(v * v for v in plain)
    assert sum(abs(v) for v in lasso) < sum(abs(v) for v in ridge)
    assert sum(abs(v) < 0.015 for v in lasso) >= 3 > sum(abs(v) < 0.015 for v in plain)  # lasso chooses


def test_series(tmp_path):
    rows, _ = table(tmp_path, "series")
    assert list(rows) == ["Conv1d", "LSTM", "GRU"]
    assert rows["Conv1d"][1] > 0.95
    for name in ("LSTM", "GRU"):
        assert rows[name][1] > 0.75 and 0.5 < rows[name][2] < rows[name][1]  # after 4 of 8 rows, it knows some


def test_volumes(tmp_path):
    rows, _ = table(tmp_path, "volumes")
    assert list(rows) == ["Conv3d", "Linear"]
    assert rows["Conv3d"][2] > 0.88 and rows["Conv3d"][2] > rows["Linear"][2] - 0.02
