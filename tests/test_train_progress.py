"""The progress bar: in a terminal, in a notebook, in a file."""

import os
import struct
import subprocess
import sys

import pytest

pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
SCRIPT = """
import fireseed as fs
from fireseed import nn, train
net = nn.Linear(4, 3)
data = [(fs.randn(16, 4), fs.zeros(16, dtype=fs.int64))] * 50
t = train.Trainer(net, fs.optim.SGD(net.parameters(), lr=0.1), nn.CrossEntropyLoss(), metrics=["accuracy"])
t.fit(data, 2, validation=data[:1])
"""


@pytest.mark.parametrize("columns", [120, 0])
def test_terminal(tmp_path, columns):
    """tqdm's bar on a pseudo-terminal; at the end of each epoch a line with its figures stays."""
    pytest.importorskip("tqdm")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([sys.executable, str(script)], stdout=theirs, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # the terminal is closed
            break
        if not chunk:
            break
        text += chunk
    assert process.wait(timeout=60) == 0
    os.close(ours)
    assert "0/50" in text.decode()
    lines = [line.split("\r")[-1] for line in text.decode().replace("\r\n", "\n").splitlines()]
    ended = [line for line in lines if "50 batches in" in line]
    assert len(ended) == 2 and ended[0].startswith("Epoch 1/2: 50 batches in 00:00, loss=")
    assert columns == 0 or "val_accuracy=" in ended[1]


def test_file(tmp_path):
    """Without a terminal: one line an epoch on the standard output, nothing on the other."""
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60)
    first, second = done.stdout.splitlines()
    assert first.startswith("Epoch 1/2: loss=") and "val_accuracy=" in second and second.endswith(" s)")
    assert done.stderr == ""


def test_notebook(tmp_path):
    """In a real kernel: a widget an epoch."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for package in ("ipykernel", "ipywidgets", "tqdm"):
        pytest.importorskip(package)
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SCRIPT)])
    nbclient.NotebookClient(book, timeout=120, kernel_name="python3").execute()
    outputs = book.cells[0].outputs
    widgets = [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]
    assert len(widgets) == 2
    state = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    texts = [w["state"]["value"].replace("\u2007", " ") for w in state if w["model_name"] == "HTMLModel"]
    assert any("val_accuracy=" in text for text in texts) and any("Epoch 2/2" in text for text in texts)
    bars = [w["state"] for w in state if w["model_name"] == "FloatProgressModel"]
    assert len(bars) == 2 and all(bar["value"] == 50 and bar["bar_style"] == "success" for bar in bars)
