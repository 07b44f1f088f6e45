"""DataLoader.state_dict(): a pass goes on in the middle, with the same batches and random numbers, in another process, too."""

import random

import fireseed as fs
import numpy as np
import pytest
from fireseed.utils import data as D
from parity import assert_same
from test_data_random import Noisy, NoisyStream


class OddSampler(D.Sampler):
    """Draws from random and numpy, too."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        order = list(range(self.n))
        random.shuffle(order)
        for i in order:
            yield (i + np.random.randint(3)) % self.n

    def __len__(self):
        return self.n


MAKERS = {
    "map": lambda **k: D.DataLoader(Noisy(), batch_size=3, shuffle=True, **k),
    "own generator": lambda **k: D.DataLoader(Noisy(), batch_size=3, shuffle=True, generator=fs.Generator(), **k),
    "global streams": lambda **k: D.DataLoader(Noisy(), batch_size=3, shuffle=True, sample_rng="global"),
    "weighted": lambda **k: D.DataLoader(Noisy(), 3, sampler=D.WeightedRandomSampler([1.0] * 14, 14, generator=fs.Generator()), **k),
    "replacement": lambda **k: D.DataLoader(Noisy(), 3, sampler=D.RandomSampler(Noisy(), True, 14, generator=fs.Generator()), **k),
    "odd sampler": lambda **k: D.DataLoader(Noisy(), batch_size=3, sampler=OddSampler(14), **k),
    "memory": lambda **k: D.DataLoader(D.TensorDataset(fs.arange(14), fs.rand(14)), batch_size=3, shuffle=True, **k),
    "memory, own": lambda **k: D.DataLoader(D.Subset(D.TensorDataset(fs.arange(15)), range(14)), 3, shuffle=True, generator=fs.Generator(), **k),
    "iterable": lambda **k: D.DataLoader(NoisyStream(), batch_size=2, **k),
}  # fmt: skip


def seed():
    fs.manual_seed(9), random.seed(9), np.random.seed(9)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_resumes_exactly(name, workers, after, tmp_path):
    make = MAKERS[name]
    seed()
    data_seed = fs.get_rng_state()
    loader = make(num_workers=workers)
    list(loader)  # a first pass
    iterator, state = iter(loader), None
    for _ in range(min(after, len(loader) if name != "iterable" else 3)):
        next(iterator)
        fs.rand(3)  # a training step
    state = loader.state_dict()
    streams = fs.get_rng_state()
    rest = list(iterator)
    last = fs.rand(2), list(loader)

    # a new process: streams are elsewhere, the loader is new
    fs.save({"loader": state}, tmp_path / "state.safetensors")
    state = fs.load(tmp_path / "state.safetensors")["loader"]
    fs.set_rng_state(data_seed)
    again = make(num_workers=workers)
    fs.manual_seed(77), random.seed(78), np.random.seed(79)
    fs.rand(5)
    again.load_state_dict(state)
    assert again.state_dict() is not None
    fs.set_rng_state(streams)  # as a checkpoint does for the program's own streams
    assert_same(list(again), rest)
    if name != "odd sampler":  # which needs the program's random and numpy streams, too
        assert_same((fs.rand(2), list(again)), last)


@pytest.mark.parametrize("workers,others", [(0, 3), (3, 1), (2, 0)])
def test_another_number_of_workers(workers, others):
    seed()
    loader = MAKERS["map"](num_workers=workers)
    iterator = iter(loader)
    next(iterator), next(iterator)
    again = MAKERS["map"](num_workers=others)
    again.load_state_dict(loader.state_dict())
    assert_same(list(again), list(iterator))


def test_worker_processes_resume():
    pytest.importorskip("cloudpickle")
    seed()
    loader = MAKERS["map"](num_workers=2, worker_type="process")
    iterator = iter(loader)
    next(iterator), next(iterator)
    again = MAKERS["map"](num_workers=2, worker_type="process")
    again.load_state_dict(loader.state_dict())
    assert_same(list(again), list(iterator))


def test_a_pass_that_was_left():
    """break, then state_dict(); and a state that is loaded and saved before it is used."""
    seed()
    loader = MAKERS["map"](num_workers=2)
    want = list(loader)
    seed()
    loader = MAKERS["map"](num_workers=2)
    for i, _ in enumerate(loader):
        if i == 1:
            break
    again = MAKERS["map"](num_workers=2)
    again.load_state_dict(loader.state_dict())
    third = MAKERS["map"](num_workers=0)
    third.load_state_dict(again.state_dict())
    assert_same(list(again), want[2:]), assert_same(list(third), want[2:])
    assert len(list(third)) == len(want)  # then whole passes


def test_after_the_last_batch_and_after_the_pass():
    loader = D.DataLoader(D.TensorDataset(fs.arange(6)), batch_size=3)
    iterator = iter(loader)
    next(iterator), next(iterator)
    state = loader.state_dict()  # in the last step of a pass
    loader.load_state_dict(state)
    assert list(loader) == [] and len(list(loader)) == 2
    loader.load_state_dict(loader.state_dict())  # between passes
    assert len(list(loader)) == 2


def test_sampler_with_a_state():
    class Epochs(D.Sampler):
        epoch = 0

        def __iter__(self):
            self.epoch += 1
            return iter([self.epoch * 10 + i for i in range(4)])

        def __len__(self):
            return 4

        def state_dict(self):
            return {"epoch": self.epoch}

        def load_state_dict(self, state):
            self.epoch = state["epoch"]

    loader = D.DataLoader(range(100), sampler=Epochs(), batch_size=None)
    list(loader), list(loader)
    iterator = iter(loader)
    next(iterator)
    again = D.DataLoader(range(100), sampler=Epochs(), batch_size=None)
    again.load_state_dict(loader.state_dict())
    assert list(again) == [31, 32, 33] and list(again) == [40, 41, 42, 43]


def test_errors():
    loader = D.DataLoader(range(4), shuffle=True)
    with pytest.raises(ValueError, match="expected what DataLoader.state_dict"):
        loader.load_state_dict({"epoch": 3})
    own = D.DataLoader(range(4), shuffle=True, generator=fs.Generator())
    own.load_state_dict(own.state_dict())
    with pytest.raises(ValueError, match="generators"):
        loader.load_state_dict(own.state_dict())
    stream = D.DataLoader(NoisyStream(), num_workers=2)
    next(iter(stream))
    with pytest.raises(ValueError, match="2 workers does not fit num_workers=3"):
        D.DataLoader(NoisyStream(), num_workers=3).load_state_dict(stream.state_dict())
