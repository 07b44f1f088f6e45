"""utils.data: data sets, samplers, the DataLoader; PyTorch's batches for one seed."""

import os
import threading

import fireseed as fs
import numpy as np
import pytest
from fireseed.utils import data as D
from parity import against_peer, assert_same

X, Y = np.arange(22, dtype=np.float32).reshape(11, 2), np.arange(11)


class Squares(D.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, i):
        return i, float(i * i)


class Count(D.IterableDataset):
    def __init__(self, n=10):
        self.n = n

    def __iter__(self):
        info = D.get_worker_info()
        return iter(range(self.n) if info is None else range(info.id, self.n, info.num_workers))


LOADERS = [
    {"batch_size": 3},
    {"batch_size": 3, "shuffle": True},
    {"batch_size": 4, "shuffle": True, "drop_last": True},
    {"batch_size": None},
    {"shuffle": True},
    {"batch_size": 11, "drop_last": True},
]


@pytest.mark.parametrize("kwargs", LOADERS, ids=str)
@pytest.mark.parametrize("split", [0, 1, 2])
@pytest.mark.parametrize("own_generator", [False, True])
def test_same_batches(kwargs, split, own_generator):
    def run(lib):
        d = lib.utils.data
        lib.manual_seed(3)
        dataset = d.TensorDataset(lib.tensor(X), lib.tensor(Y))
        for _ in range(split):
            dataset = d.random_split(dataset, [0.7, 0.3])[0]
        extra = {"generator": lib.Generator().manual_seed(8)} if own_generator else {}
        loader = d.DataLoader(dataset, **kwargs, **extra)
        batches = [list(loader) for _ in range(2)]
        return [len(loader), batches, lib.rand(2)]  # and the default generator stands where PyTorch's does

    against_peer(run)


@pytest.mark.parametrize(
    "make",
    [
        lambda d: d.RandomSampler(range(7)),
        lambda d: d.RandomSampler(range(7), replacement=True, num_samples=70),
        lambda d: d.RandomSampler(range(7), num_samples=17),
        lambda d: d.SubsetRandomSampler([4, 5, 9]),
        lambda d: d.WeightedRandomSampler([0.1, 0.5, 0.0, 2.0], 20),
        lambda d: d.WeightedRandomSampler([1.0, 2.0, 3.0], 2, False),
        lambda d: d.BatchSampler(d.RandomSampler(range(7)), 3, False),
        lambda d: d.BatchSampler(d.SequentialSampler(range(7)), 3, True),
    ],
)
def test_samplers(make):
    def run(lib):
        lib.manual_seed(5)
        sampler = make(lib.utils.data)
        return [len(sampler), list(sampler), list(sampler)]

    against_peer(run)


def test_datasets():
    t = D.TensorDataset(fs.tensor(X), fs.tensor(Y))
    assert len(t) == 11 and t[2][1].item() == 2 and t[-1][0].tolist() == [20, 21]
    with pytest.raises(AssertionError, match="Size mismatch"):
        D.TensorDataset(fs.zeros(2), fs.zeros(3))
    s = D.Subset(t, [5, 1])
    assert len(s) == 2 and s[0][1].item() == 5
    c = D.ConcatDataset([s, t]) + s
    assert len(c) == 15 and c[2][1].item() == 0 and c[-1][1].item() == 1
    assert list(D.ChainDataset([Count(2), Count(3)])) == [0, 1, 0, 1, 2] and list(Count(1) + Count(2)) == [0, 0, 1]
    stack = D.StackDataset(a=Squares(), b=list(range(10)))
    assert stack[3] == {"a": (3, 9.0), "b": 3} and len(stack) == 10 and D.StackDataset([1], [2])[0] == (1, 2)
    with pytest.raises(ValueError, match="Sum of input lengths"):
        D.random_split(t, [3, 3])
    assert [len(p) for p in D.random_split(t, [0.5, 0.25, 0.25])] == [6, 3, 2]


@pytest.mark.parametrize("lengths", [[0.65, 0.15, 0.2], [70, 30], [1, 98, 1], [0.2] * 5, [0, 100]])
def test_stratified_split(lengths):
    """Every part has the classes in the shares they have in all, whatever the order of the data."""
    labels = [0] * 60 + [1] * 30 + [2] * 10
    data = D.TensorDataset(fs.arange(100), fs.tensor(labels))
    for given in (None, labels, fs.tensor(labels)):
        fs.manual_seed(3)
        parts = D.stratified_split(data, lengths, given)
        sizes = [len(p) for p in parts]
        assert sizes == [round(v * 100) if isinstance(v, float) else v for v in lengths]
        assert sorted(i for p in parts for i in p.indices) == list(range(100))
        for part in parts:
            for c, count in enumerate((60, 30, 10)):
                assert abs(sum(labels[i] == c for i in part.indices) - count * len(part) / 100) <= 1
    fs.manual_seed(3)
    assert [p.indices for p in D.stratified_split(data, lengths)] == [p.indices for p in parts]
    assert len(parts[1]) < 30 or parts[1].indices != sorted(parts[1].indices)
    own = fs.Generator().manual_seed(1)
    assert [p.indices for p in D.stratified_split(data, lengths, generator=own)] != [p.indices for p in parts]
    with pytest.raises(ValueError, match="a label for each of 100 samples, got 2"):
        D.stratified_split(data, lengths, [0, 1])
    with pytest.raises(ValueError, match="Sum of input lengths"):
        D.stratified_split(data, [50, 51])


def test_collate():
    batch = D.default_collate(
        [{"a": 1, "b": (2.0, "x"), "c": np.float32([1, 2])}, {"a": 3, "b": (4.0, "y"), "c": np.float32([3, 4])}]
    )
    assert batch["a"].tolist() == [1, 3] and batch["a"].dtype == fs.int64
    assert batch["b"][0].dtype == fs.float64 and batch["b"][1] == ("x", "y") or batch["b"][1] == ["x", "y"]
    assert batch["c"].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(TypeError, match="default_collate: batch must contain"):
        D.default_collate([object()])
    with pytest.raises(RuntimeError, match="equal size"):
        D.default_collate([[1, 2], [3]])
    assert D.default_convert([np.ones(2), "x"])[0].tolist() == [1, 1]


def test_loader_forms():
    assert [b[0].tolist() for b in D.DataLoader(Squares(), batch_size=4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert (
        len(D.DataLoader(Squares(), batch_size=4)) == 3
        and len(D.DataLoader(Squares(), batch_size=4, drop_last=True)) == 2
    )
    assert list(D.DataLoader(Squares(), batch_size=None))[3] == [3, 9.0] or list(
        D.DataLoader(Squares(), batch_size=None)
    )[3] == (3, 9.0)
    assert [b.tolist() for b in D.DataLoader(Count(), batch_size=4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    own = D.DataLoader(Squares(), batch_sampler=[[1, 2], [5]], collate_fn=lambda samples: samples)
    assert list(own) == [[(1, 1.0), (2, 4.0)], [(5, 25.0)]] and len(own) == 2
    x = fs.zeros(4)
    first = next(iter(D.DataLoader(D.TensorDataset(x), batch_size=2)))
    first[0].add_(1)
    assert x.tolist() == [0, 0, 0, 0]  # batches are copies


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_give_the_same(workers):
    for kwargs in ({"batch_size": 3}, {"batch_size": 2, "shuffle": True}, {"batch_size": None}):
        fs.manual_seed(1)
        want = list(D.DataLoader(Squares(), **kwargs))
        fs.manual_seed(1)
        got = list(D.DataLoader(Squares(), num_workers=workers, **kwargs))
        assert_same(got, want)
    assert sorted(i for b in D.DataLoader(Count(23), batch_size=3, num_workers=workers) for i in b.tolist()) == list(
        range(23)
    )


def test_worker_failures_and_info():
    class Bad(Squares):
        def __getitem__(self, i):
            if i == 4:
                raise KeyError("sample 4")
            return i

    with pytest.raises(KeyError, match="sample 4"):
        list(D.DataLoader(Bad(), num_workers=2))
    ids = []
    list(D.DataLoader(Squares(), num_workers=3, worker_init_fn=ids.append))
    assert sorted(ids) == [0, 1, 2] and D.get_worker_info() is None
    before = threading.active_count()
    iterator = iter(D.DataLoader(Squares(), num_workers=2))
    next(iterator)
    del iterator
    for thread in threading.enumerate():
        if thread.name.startswith("DataLoader"):
            thread.join(5)
    assert threading.active_count() <= before


def test_worker_timeout():
    wait = threading.Event()

    class Slow(Squares):
        def __getitem__(self, i):
            wait.wait(5)
            return i

    with pytest.raises(RuntimeError, match="timed out after 0.05"):
        next(iter(D.DataLoader(Slow(), num_workers=1, timeout=0.05)))
    wait.set()


@pytest.mark.parametrize(
    "kwargs,text",
    [
        ({"num_workers": -1}, "num_workers"),
        ({"timeout": -1}, "timeout"),
        ({"prefetch_factor": 2}, "prefetch_factor"),
        ({"persistent_workers": True}, "persistent_workers"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "4"}, "batch_size='4'"),
        ({"shuffle": True, "sampler": [1]}, "mutually exclusive"),
        ({"batch_sampler": [[1]], "drop_last": True}, "mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, "auto-batching"),
    ],
)
def test_loader_errors(kwargs, text):
    with pytest.raises(ValueError, match=text):
        D.DataLoader(Squares(), **kwargs)


def test_sampler_errors():
    with pytest.raises(ValueError, match="IterableDataset"):
        D.DataLoader(Count(), shuffle=True)
    with pytest.raises(ValueError, match="num_samples"):
        D.RandomSampler([])
    with pytest.raises(NotImplementedError):
        D.Dataset()[0]


def test_masks_are_no_positions():
    """PyTorch takes True for 1: a Subset of the wrong samples."""
    mask = fs.tensor([True, False] * 5)
    for wrong in (mask, mask.numpy(), mask.tolist()):
        with pytest.raises(TypeError, match="got truth values; use mask.nonzero"):
            D.Subset(Squares(), wrong)
    assert len(D.Subset(Squares(), mask.nonzero().flatten())) == 5


def test_odd_arguments():
    data = D.TensorDataset(fs.arange(10))
    loader = D.DataLoader(data, batch_size=2, sampler=np.array([7, 1, 3]))
    assert [batch[0].tolist() for batch in loader] == [[7, 1], [3]]
    with pytest.raises(TypeError):
        D.DataLoader(data, num_workers=1.5)
    with pytest.raises(ValueError, match="must not be negative"):
        D.random_split(data, [-1, 11])
    with pytest.raises(ValueError, match="load_state_dict: expected .* got None"):
        D.DataLoader(data).load_state_dict(None)


def test_threads_may_share_an_iterator():
    """Each sample comes once, and no thread waits for ever."""
    iterator, got = iter(D.DataLoader(Squares(), batch_size=None, num_workers=2)), []
    threads = [threading.Thread(target=lambda: got.extend(i for i, _ in iterator), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads) and sorted(got) == list(range(10))


def test_documentation_runs():
    """The examples of docs/data.md, one after the other."""
    page = os.path.join(os.path.dirname(__file__), "..", "docs", "data.md")
    with open(page, encoding="utf-8") as file:
        blocks = file.read().split("```python\n")[1:]
    names = {"__name__": "docs"}
    for block in blocks:
        exec(compile(block.split("```")[0], page, "exec"), names)
    assert len(blocks) == 4 and len(names["data"]) == 150
