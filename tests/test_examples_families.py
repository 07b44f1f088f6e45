"""Every model family of examples/families trains with --quick, reaches the figure it promises, and draws its picture."""

import json
import os
import re
import subprocess
import sys

import pytest
from under_test import IS_FIRESEED

pytestmark = pytest.mark.skipif(not IS_FIRESEED, reason="the examples run fireseed by default")
FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "examples", "families")

# Script: (its figure, what --quick must reach, whether the figure must be below, picture). A network that has learned
# nothing gets: accuracy 0.1 (digits), 0.33 (wine), 0.5 (gcn); variance explained 0; perplexity 25 and more; return 20.
FAMILIES = {
    "mlp": ("test accuracy", 0.9, False, None),
    "lenet": ("test accuracy", 0.9, False, None),
    "resnet18": ("test accuracy", 0.6, False, None),
    "vae": ("share of the test pixels' variance explained", 0.5, False, "vae.png"),
    "dcgan": ("score of the drawn digits", 4.0, False, "dcgan.png"),
    "char_lstm": ("perplexity of unseen text", 16, True, None),
    "seq2seq": ("characters right", 0.5, False, "seq2seq.png"),
    "minigpt": ("perplexity of unseen text", 19, True, None),
    "vit": ("test accuracy", 0.5, False, "vit.png"),
    "reinforce": ("mean return of the last episodes", 35, False, "reinforce.png"),
    "dqn": ("mean return without exploration", 60, False, None),
    "lbfgs": ("digits in which all parameters agree", 5, False, "lbfgs.png"),
    "autograd_function": ("test accuracy", 0.85, False, None),
    "gcn": ("accuracy on the other 32", 0.85, False, "gcn.png"),
}


def run(name, *options, threads=None):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    command = [sys.executable, os.path.join(FOLDER, name + ".py"), *options]
    env = dict(os.environ, FIRESEED_NUM_THREADS=threads) if threads else None
    return subprocess.run(command, timeout=600, capture_output=True, text=True, env=env)


def test_every_family_is_tested():
    scripts = {name[:-3] for name in os.listdir(FOLDER) if name.endswith(".py")}
    assert scripts - {"common", "cartpole"} == set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name, tmp_path):
    what, bound, below, picture = FAMILIES[name]
    losses = tmp_path / "losses.json"
    done = run(name, "--quick", "--out", str(tmp_path), "--losses", str(losses))
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(r"(.+): (-?[\d.]+) \(expected: at (most|least) ([\d.]+)\)", last)
    assert found, last
    assert found[1] == what and found[3] == ("most" if below else "least")
    figure, expected = float(found[2]), float(found[4])
    assert figure <= expected <= bound if below else figure >= expected >= bound
    history = json.loads(losses.read_text())
    assert len(history) >= 20 and all(v == v and abs(v) < 1e6 for v in history)
    if picture:
        data = (tmp_path / picture).read_bytes()
        assert data[:4] == b"\x89PNG" and len(data) > 10_000


def test_language_models_write(tmp_path):
    """Sampling, one character after the other; the state of the LSTM and the context of the transformer move on."""
    for name in ("char_lstm", "minigpt"):
        done = run(name, "--steps", "2")
        assert done.returncode == 0, done.stderr
        text = done.stdout.split("It writes: ")[1].rsplit("perplexity", 1)[0]
        assert text.startswith("The for statement ") and len(text) == len("The for statement ") + 300 + 1


def test_seeds_and_threads(tmp_path):
    """The same seed gives the same bits whatever the number of threads; another seed gives others."""
    history = {}
    for seed, threads in ((3, "1"), (3, "2"), (4, "2")):
        path = tmp_path / "losses.json"
        done = run("lenet", "--steps", "5", "--seed", str(seed), "--losses", str(path), threads=threads)
        assert done.returncode == 0, done.stderr
        history[seed, threads] = json.loads(path.read_text())
    assert history[3, "1"] == history[3, "2"] != history[4, "2"]


def test_wrong_steps():
    done = run("mlp", "--steps", "0")
    assert done.returncode == 2 and "--steps: expected at least 1, got 0" in done.stderr


def test_broken_promise(tmp_path):
    """A script that misses its figure says so and ends with status 1."""
    code = f"import sys; sys.path.insert(0, {FOLDER!r}); import common; "
    code += "a = common.arguments('x', 5, 1); common.report(a, [], 'accuracy', 0.5, full=0.9, quick=0.4)"
    for options, status in (([], 1), (["--quick"], 0), (["--steps", "3"], 0)):
        command = [sys.executable, "-c", code, *options, "--out", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        assert ("accuracy is not what this script promises" in done.stderr) == bool(status)
