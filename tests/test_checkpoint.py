"""save_state, load_state and Checkpoint: a run goes on with the same bits; damaged files are named and passed over."""

import os
import random

import fireseed as fs
import numpy as np
import pytest
from fireseed import nn
from fireseed.serialization import DamagedFileError
from fireseed.train import Checkpoint, load_state, save_state


def make(seed=0):
    fs.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
    opt = fs.optim.Adam(net.parameters(), lr=0.05)
    return {"model": net, "optimizer": opt, "scheduler": fs.optim.lr_scheduler.StepLR(opt, 3, gamma=0.5)}


def train(parts, steps):
    for _ in range(steps):
        x = fs.randn(6, 4) + random.random() + float(np.random.rand())
        parts["optimizer"].zero_grad()
        parts["model"](x).square().mean().backward()
        parts["optimizer"].step()
        parts["scheduler"].step()


def bits(parts):
    return [t.flatten().tolist() for t in parts["model"].state_dict().values()]


def test_state_goes_on_with_the_same_bits(tmp_path):
    parts = make()
    train(parts, 4)
    save_state(tmp_path / "s", {"step": 4, "best": fs.tensor(0.5)}, **parts)
    train(parts, 5)
    other = make(seed=9)
    extra = load_state(tmp_path / "s", **other)
    assert extra["step"] == 4 and extra["best"].item() == 0.5
    train(other, 5)
    assert bits(parts) == bits(other)
    assert other["optimizer"].param_groups[0]["lr"] == parts["optimizer"].param_groups[0]["lr"]


def test_random_state_of_all_generators(tmp_path):
    own = fs.Generator().manual_seed(3)
    fs.randn(3, generator=own)
    save_state(tmp_path / "s", generator=own)
    expected = [fs.rand(2).tolist(), random.random(), np.random.rand(), fs.randn(2, generator=own).tolist()]
    load_state(tmp_path / "s", generator=own)
    assert [fs.rand(2).tolist(), random.random(), np.random.rand(), fs.randn(2, generator=own).tolist()] == expected
    save_state(tmp_path / "s", random=False)
    drawn = fs.rand(1).item()
    load_state(tmp_path / "s")
    assert fs.rand(1).item() != drawn


def test_parts_that_do_not_fit(tmp_path):
    with pytest.raises(TypeError, match="model is a dict, which has no state_dict"):
        save_state(tmp_path / "s", model={"w": 1})
    with pytest.raises(TypeError, match="cannot be called 'extra'"):
        Checkpoint(tmp_path, extra=make()["model"])
    with pytest.raises(ValueError, match="keep must be at least 1"):
        Checkpoint(tmp_path, keep=0)
    save_state(tmp_path / "s", model=nn.Linear(1, 1), scheduler=None)
    with pytest.raises(KeyError, match="no state for 'optimizer'; it has model"):
        load_state(tmp_path / "s", **{k: v for k, v in make().items() if k == "optimizer"})
    fs.save({"w": fs.zeros(1)}, tmp_path / "w")
    with pytest.raises(ValueError, match="not a training state"):
        load_state(tmp_path / "w")
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_state(tmp_path / "s", model=nn.Linear(1, 2))


def test_checkpoint_keeps_and_resumes(tmp_path):
    parts = make()
    checkpoint = Checkpoint(tmp_path / "a" / "run", keep=2, **parts)
    assert checkpoint.resume() == {} and checkpoint.files() == []
    for step in range(4):
        train(parts, 1)
        path = checkpoint.save(step=step, note="x")
    assert [os.path.basename(p) for p in checkpoint.files()] == [
        "checkpoint-000003.safetensors", "checkpoint-000004.safetensors"] and path == checkpoint.files()[-1]
    train(parts, 3)
    again = make(1)
    second = Checkpoint(tmp_path / "a" / "run", **again)
    assert second.resume() == {"step": 3, "note": "x"}
    train(again, 3)
    assert bits(again) == bits(parts)
    assert second.save(step=0).endswith("checkpoint-000005.safetensors")  # the newest is what was written last
    assert Checkpoint(tmp_path / "a" / "run", **make(2)).resume() == {"step": 0}


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "header"])
def test_damaged_newest_is_named_and_passed_over(tmp_path, damage):
    parts = make()
    checkpoint = Checkpoint(tmp_path, **parts)
    good = checkpoint.save(step=1)
    before = bits(parts)
    train(parts, 2)
    newest = checkpoint.save(step=2)
    data = bytearray(open(newest, "rb").read())
    if damage == "flip":
        data[-100] ^= 4
    elif damage == "header":
        data[data.index(b'\\"step\\",2') + 9] ^= 1  # the 2 becomes a 3
    with open(newest, "wb") as file:
        file.write({"cut": data[:-7], "empty": b""}.get(damage, data))
    again = make(5)
    with pytest.warns(RuntimeWarning, match=f"{os.path.basename(newest)}.*damaged.*resuming from .*{os.path.basename(good)}"):
        assert Checkpoint(tmp_path, **again).resume() == {"step": 1}
    assert bits(again) == before
    assert sorted(os.listdir(tmp_path)) == [os.path.basename(good), os.path.basename(newest) + ".damaged"]


def test_all_damaged_is_an_error_and_changes_nothing(tmp_path):
    parts = make()
    checkpoint = Checkpoint(tmp_path, **parts)
    for step in range(2):
        with open(checkpoint.save(step=step), "r+b") as file:
            file.seek(-1, 2)
            file.write(b"\x7f")
    names, before = sorted(os.listdir(tmp_path)), bits(parts)
    for _ in range(2):
        with pytest.raises(DamagedFileError, match="no checkpoint can be read.*000002.*000001"):
            checkpoint.resume()
    assert sorted(os.listdir(tmp_path)) == names and bits(parts) == before


def test_leftovers_of_killed_processes_are_removed(tmp_path):
    with open(tmp_path / ".checkpoint-000001.safetensors.99999999.tmp", "wb"):
        pass
    mine = f".x.{os.getpid()}.tmp"
    with open(tmp_path / mine, "wb"):
        pass
    Checkpoint(tmp_path, model=nn.Linear(1, 1)).save()
    assert sorted(os.listdir(tmp_path)) == [mine, "checkpoint-000001.safetensors"]


def test_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    save_state(tmp_path / "s", {"n": 1})
    real = os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result((4096, 4096, *real(path)[2:3], 0, 0, *real(path)[5:])))
    with pytest.raises(OSError, match="are needed, 0.0 MB are free"):
        save_state(tmp_path / "s", {"n": 2})
    assert load_state(tmp_path / "s") == {"n": 1} and os.listdir(tmp_path) == ["s"]
