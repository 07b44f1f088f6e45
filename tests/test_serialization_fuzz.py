"""Mutated files of each format never crash load, hang it or make it allocate without bound; see bench/fuzz_files.py."""

import os
import subprocess
import sys

import pytest

SCRIPT = os.path.join(os.path.dirname(__file__), "..", "bench", "fuzz_files.py")


@pytest.mark.skipif(not os.path.exists(SCRIPT), reason="the sources are not at hand")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="address space is limited and read as on Linux")
@pytest.mark.parametrize("kind", ["safetensors", "torch-zip", "torch-legacy"])
def test_mutated_files(kind):
    done = subprocess.run([sys.executable, SCRIPT, "--count", "600", "--seed", "7", "--format", kind], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{kind} {{'files': 600, 'loaded': ")
