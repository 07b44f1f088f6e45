"""Random numbers in samples: keyed by seed, pass and index, the same for any workers; or PyTorch's global streams."""

import random
import subprocess
import sys

import fireseed as fs
import numpy as np
import pytest
from fireseed.utils import data as D
from parity import assert_same


class Noisy(D.Dataset):
    """Draws in every way that samples usually do, a number of times that depends on what was drawn."""

    def __len__(self):
        return 14

    def __getitem__(self, i):
        x = fs.randn(2)
        if fs.rand(()).item() < 0.5:
            x = x + fs.rand(2)
        pick = random.choice([1, 2, 3]) + random.random()
        words = list(range(5))
        random.shuffle(words)
        noise = np.random.randn(3) * np.random.uniform()  # an odd number of normals: numpy keeps the fourth
        return i, x, pick, random.gauss(0, 1), words, noise, np.random.randint(1000), np.random.permutation(4)


class NoisyStream(D.IterableDataset):
    def __iter__(self):
        for i in range(6):
            yield i, fs.rand(()), random.random(), np.random.rand()


def noisy_collate(samples):
    return D.default_collate(samples), fs.rand(2), np.random.rand(), random.random()


def run(workers, kind="thread", threads=None, dataset=None, epochs=2, **kwargs):
    fs.manual_seed(4)
    random.seed(5), np.random.seed(6)
    if threads is not None:
        fs.set_num_threads(threads)
    kwargs = {"batch_size": 4, "shuffle": True, "num_workers": workers, **kwargs}
    loader = D.DataLoader(Noisy() if dataset is None else dataset, **kwargs, **({"worker_type": kind} if workers else {}))
    batches = [list(loader) for _ in range(epochs)]
    # the program's own streams stand where they stood
    return batches, fs.rand(2), random.random(), np.random.rand()


WAYS = [(1, "thread"), (4, "thread"), (1, "process"), (4, "process")]


@pytest.mark.parametrize("workers,kind", WAYS)
def test_same_batches_for_any_workers(workers, kind):
    pytest.importorskip("cloudpickle")
    want = run(0)
    assert_same(run(workers, kind), want)
    assert_same(run(workers, kind, collate_fn=noisy_collate), run(0, collate_fn=noisy_collate))
    first, second = want[0]
    assert all(not np.allclose(a[5], b[5]) for a, b in zip(first, second, strict=True))  # passes differ
    assert len({round(float(v), 6) for batch in first + second for v in batch[3]}) == 28  # and so do all samples


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_same_batches_for_any_thread_count(threads):
    want = run(0)
    assert_same(run(3, threads=threads), want)


def test_a_sample_s_numbers_do_not_depend_on_order_or_batches():
    def table(**kwargs):
        # the seed of the pass is drawn first, so it is the same
        return {int(i): float(x) for batch in run(2, epochs=1, **kwargs)[0][0] for i, x in zip(batch[0], batch[3], strict=True)}

    want = table()
    assert table(batch_size=7) == want and table(shuffle=False) == want and table(batch_size=2) == want


def test_samples_read_twice_get_other_numbers():
    def batches(workers):
        fs.manual_seed(0)
        sampler = D.WeightedRandomSampler([1.0, 1.0], 12)
        return list(D.DataLoader(Noisy(), batch_size=5, sampler=sampler, num_workers=workers))

    want = batches(0)
    assert_same(batches(3), want)
    assert len({round(float(v), 6) for batch in want for v in batch[3]}) == 12


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_bulk_and_iterable_data(kind):
    class Bulk(Noisy):
        def __getitems__(self, indices):
            scale = fs.rand(())
            return [(i, fs.rand(2) * scale, np.random.rand()) for i in indices]

    pytest.importorskip("cloudpickle")
    for dataset in (Bulk(), D.Subset(Noisy(), range(3, 10)), D.Subset(Bulk(), range(3, 10)), D.ConcatDataset([Noisy(), Noisy()])):
        assert_same(run(2, kind, dataset=dataset), run(0, dataset=dataset))
    assert_same(run(1, kind, dataset=NoisyStream(), shuffle=None), run(0, dataset=NoisyStream(), shuffle=None))
    assert_same(run(2, kind, dataset=NoisyStream(), shuffle=None), run(2, dataset=NoisyStream(), shuffle=None))
    both = run(2, kind, dataset=NoisyStream(), shuffle=None)[0][0]
    assert not np.allclose(both[0][1], both[1][1])  # workers differ


class Draws(D.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return fs.rand(2) + i, fs.randint(0, 9, (1,))


def test_which_streams():
    """Without num_workers (or with sample_rng="global") samples draw from the global streams."""

    def run(**kwargs):
        fs.manual_seed(11)
        out = []
        for batch in D.DataLoader(Draws(), batch_size=3, shuffle=True, **kwargs):
            out += [batch, fs.rand(3)]  # as a step with dropout
        return out + [fs.rand(1)]

    assert_same(run(num_workers=0, sample_rng="global"), run())
    keyed = [run(num_workers=0), run(num_workers=3), run(sample_rng="keyed")]
    assert_same(keyed[0], keyed[1]), assert_same(keyed[0], keyed[2])
    order = lambda out: [b[0][:, 0].floor().tolist() for b in out[:-1:2]]  # noqa: E731
    assert order(keyed[0]) == order(run())  # the order is the same in all cases
    assert not np.allclose(keyed[0][0][0], run()[0][0])
    with pytest.raises(ValueError, match="sample_rng"):
        D.DataLoader(range(3), sample_rng="yes")


def test_worker_init_fn_that_seeds():
    """PyTorch's recipe: it seeds the worker's streams, not the program's; initial_seed() is the worker's."""
    seeds = []

    def init(worker):
        seeds.append(fs.initial_seed() - D.get_worker_info().seed)
        np.random.seed(fs.initial_seed() % 2**32)
        random.seed(fs.initial_seed())
        fs.manual_seed(1)

    want = run(0)
    assert_same(run(2, worker_init_fn=init), want)
    assert seeds == [0] * 4


def test_seeding_and_states_in_samples():
    class Seeds(D.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            fs.manual_seed(i), random.seed(i), np.random.seed(i)
            state = fs.get_rng_state()
            a = fs.rand(2)
            fs.set_rng_state(state)
            b = fs.rand(2, generator=fs.default_generator)
            state, numpy_state = random.getstate(), np.random.get_state()
            random.random(), np.random.rand()
            random.setstate(state), np.random.set_state(numpy_state)
            return a, b, random.random(), np.random.rand()

    fs.manual_seed(0), random.seed(0), np.random.seed(0)
    (batch,) = D.DataLoader(Seeds(), batch_size=4, num_workers=2)
    assert (batch[0] == batch[1]).all()
    after = fs.rand(1), random.random(), np.random.rand()
    want = []
    for i in range(4):
        want.append((random.Random(i).random(), np.random.RandomState(i).rand()))
    assert [float(x) for x in batch[2]] == [w[0] for w in want] and [float(x) for x in batch[3]] == [w[1] for w in want]
    fs.manual_seed(0), random.seed(0), np.random.seed(0)
    list(D.DataLoader(range(4), batch_size=4, num_workers=2))
    assert after == (fs.rand(1), random.random(), np.random.rand())


def test_draws_outside_samples_are_untouched():
    list(D.DataLoader(Noisy(), num_workers=1))
    random.seed(3), np.random.seed(3)
    assert random.random() == random.Random(3).random() and np.random.rand() == np.random.RandomState(3).rand()
    assert random.random.__name__ == "random" and np.random.rand.__name__ == "rand"

    class Fails(Noisy):
        def __getitem__(self, i):
            random.random()
            raise KeyError(i)

    with pytest.raises(KeyError):
        list(D.DataLoader(Fails(), num_workers=0))
    random.seed(3)
    assert random.random() == random.Random(3).random()  # the sample's streams were left


def test_a_loader_inside_a_sample():
    class Nested(D.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            before = random.random(), np.random.rand(), fs.rand(1).item()
            inner = [float(b[3]) for b in D.DataLoader(Noisy(), num_workers=0)]
            return before + (random.random(), np.random.rand(), fs.rand(1).item()), inner

    fs.manual_seed(1)
    want = list(D.DataLoader(Nested(), num_workers=0))
    fs.manual_seed(1)
    assert_same(list(D.DataLoader(Nested(), num_workers=3)), want)
    assert len({float(v) for sample in want for v in sample[0]}) == 18


def test_numpy_is_not_imported_for_nothing():
    program = """
import sys, fireseed
from fireseed.utils.data import DataLoader
assert len(list(DataLoader(list(range(8)), num_workers=2))) == 8
assert "numpy" not in sys.modules and "multiprocessing" not in sys.modules and "subprocess" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
