"""The model families of examples/families give the same losses, step by step, under fireseed and under PyTorch."""

import json
import os
import subprocess
import sys

import pytest
from under_test import IS_FIRESEED

pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not IS_FIRESEED, reason="compares fireseed with PyTorch")
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "families")

# Steps to compare in float32. Where it is fewer than 30, training amplifies the rounding of single precision: batch
# norm over 29 to 32 values (resnet18), two networks that chase each other (dcgan), Adam's first steps, which divide
# gradients near 0 by their size (minigpt). Those three are compared over more steps in float64 below.
STEPS = {"mlp": 60, "lenet": 40, "resnet18": 2, "vae": 60, "dcgan": 5, "char_lstm": 30, "seq2seq": 30, "minigpt": 10,
         "vit": 30, "reinforce": 30, "dqn": 60, "lbfgs": 10, "autograd_function": 40, "gcn": 60}  # fmt: skip
FLOAT64 = {"resnet18": 8, "dcgan": 30, "minigpt": 30}


def losses(name, folder, *options):
    """The losses of a run under fireseed, and under PyTorch."""
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    both, path = [], os.path.join(folder, "losses.json")
    env = dict(os.environ, OMP_NUM_THREADS="1")  # PyTorch rounds otherwise with other numbers of threads
    for library in ([], ["--torch"]):
        command = [sys.executable, os.path.join(FOLDER, name + ".py"), "--losses", path, "--out", str(folder)]
        done = subprocess.run([*command, *options, *library], timeout=600, capture_output=True, text=True, env=env)
        assert done.returncode == 0, done.stderr
        with open(path) as file:
            both.append(json.load(file))
    return both


def check(ours, theirs, tolerance, scale=0.0):
    assert len(ours) == len(theirs) > 1
    for step, (a, b) in enumerate(zip(ours, theirs)):
        assert abs(a - b) <= tolerance * max(abs(b), scale), f"step {step}: fireseed {a!r}, PyTorch {b!r}"


@pytest.mark.parametrize("name", STEPS)
def test_same_losses(name, tmp_path):
    ours, theirs = losses(name, tmp_path, "--steps", str(STEPS[name]))
    # A loss of REINFORCE is a sum over an episode whose terms, of size 1, cancel almost to 0.
    check(ours, theirs, 1e-4, scale=1.0 if name == "reinforce" else 0.0)


@pytest.mark.parametrize("name", FLOAT64)
def test_same_losses_in_double_precision(name, tmp_path):
    ours, theirs = losses(name, tmp_path, "--steps", str(FLOAT64[name]), "--float64")
    check(ours, theirs, 1e-9)


def test_another_seed_differs(tmp_path):
    """The comparison can fail: another seed gives other losses under both."""
    (a, _), (b, _) = losses("mlp", tmp_path, "--steps", "3"), losses("mlp", tmp_path, "--steps", "3", "--seed", "1")
    with pytest.raises(AssertionError, match="step 0"):
        check(a, b, 1e-4)
