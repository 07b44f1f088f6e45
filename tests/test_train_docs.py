"""docs/training.md: its code runs, from the first block to the last, and what it names is there."""

import re
import warnings
from pathlib import Path

import pytest
from fireseed import train

PAGE = Path(__file__).resolve().parent.parent / "docs" / "training.md"


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    for package in ("sklearn", "matplotlib", "tqdm"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    scope = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the classifier's short run does not converge
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S):
            exec(block, scope)
    assert scope["scores"]["accuracy"] > 0.8 and scope["outputs"].shape == (100, 3)
    assert (tmp_path / "curves.png").exists() and len(list((tmp_path / "runs/a").glob("*-*.safetensors"))) == 3
    out = capsys.readouterr().out
    assert "multiply-adds" in out and "learns one batch by heart" in out and "[" not in out.splitlines()[-1]


def test_names_exist():
    names = set(re.findall(r"train\.(\w+)", PAGE.read_text())) - {"md"}
    assert not [name for name in names if not hasattr(train, name)]
    for name in train.__all__:
        assert getattr(train, name).__doc__
