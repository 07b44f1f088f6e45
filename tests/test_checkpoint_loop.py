"""A loop written by hand, as the documentation shows it, survives kill -9 with the same bits."""

import os
import re
import subprocess
import sys

import pytest

SOURCES = os.path.join(os.path.dirname(__file__), "..")


@pytest.mark.skipif(not os.path.exists(os.path.join(SOURCES, "docs")), reason="the sources are not at hand")
def test_documentation_runs(tmp_path, monkeypatch):
    """The examples of docs/checkpoints.md, one after the other; and the last again, as after a restart."""
    with open(os.path.join(SOURCES, "docs", "checkpoints.md")) as file:
        blocks = re.findall(r"```python\n(.*?)```", file.read(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in (*blocks, blocks[-1]):
        exec(block, names)
    assert names["step"] == 24 and names["at"] == {"epoch": 2, "step": 20}


@pytest.mark.skipif(not os.path.exists(os.path.join(SOURCES, "bench")), reason="the sources are not at hand")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the runs are forked")
def test_200_kills_do_not_change_a_bit(tmp_path):
    """Kills a run 200 times at random moments; what it ends with is that of a run nobody touched."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else str(tmp_path)  # kill -9 leaves the system's cache: no disk needed
    command = [sys.executable, os.path.join(SOURCES, "bench", "kill_resume.py"), "--kills", "200", "--fork", "--folder", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.startswith("200 kills (kill -9), "), done.stdout + done.stderr
