"""In-memory data sets: gathered batches equal those made sample by sample; tables of pandas, numpy and lists."""

import fireseed as fs
import numpy as np
import pytest
from fireseed.utils import data as D
from fireseed.utils.data._utils.gather import gathered_batches
from parity import assert_same

X, Y = np.arange(66, dtype=np.float32).reshape(22, 3), np.arange(22)


def plain(value):
    """Tensors as (dtype, shape, elements); nan-free, so that == compares exactly."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {name: plain(v) for name, v in value.items()}
    return (str(value.dtype).split(".")[-1], tuple(value.shape), value.tolist())


def table(n=22):
    return D.TensorDataset(fs.tensor(X[:n]), fs.tensor(Y[:n]))


PLAIN = {
    "tensors": lambda: table(),
    "halves, bools, images": lambda: D.TensorDataset(
        fs.rand(22, 2, 3).half(), fs.rand(22).bfloat16(), fs.rand(22, 1) > 0.5, fs.arange(22).to(fs.int8)
    ),
    "strided": lambda: D.TensorDataset(fs.rand(22, 8)[:, ::2], fs.rand(3, 22).t(), fs.rand(44, 2)[::2], fs.rand(1, 22)[0]),
    "broadcast": lambda: D.TensorDataset(fs.rand(1, 3).expand(22, 3), fs.rand(22, 1).expand(22, 3)),
    "no elements": lambda: D.TensorDataset(fs.rand(22, 0), fs.arange(22)),
    "subset": lambda: D.Subset(table(), [3, 1, 4, 1, 5, 9, 2, 6]),
    "subset of subset": lambda: D.Subset(D.Subset(table(), range(20, 2, -2)), fs.tensor([7, 0, 3])),
    "random_split": lambda: D.random_split(table(), [0.5, 0.5])[1],
    "concat": lambda: D.ConcatDataset([table(5), table(1), table()]),
    "subset of concat": lambda: D.Subset(table(5) + table(7), [11, 0, 5, 4, 6]),
    "stack": lambda: D.StackDataset(table(), D.TensorDataset(fs.rand(22))),
    "stack by name": lambda: D.StackDataset(image=table(), pair=D.StackDataset(table(), table())),
    "tensor": lambda: fs.rand(22, 3),
    "vector": lambda: fs.rand(22),
    "array": lambda: X,
    "array of bytes": lambda: X.astype(np.uint8).reshape(22, 3, 1),
}
SLOW = {
    "negative": lambda: D.Subset(table(), [-1, 2, -3]),
    "array vector": lambda: X[:, 0].copy(),
    "unlike parts": lambda: table() + D.TensorDataset(fs.rand(3, 3).double(), fs.arange(3)),
    "strided parts": lambda: D.TensorDataset(fs.rand(3, 22).t()) + D.TensorDataset(fs.rand(4, 3)),
    "list": lambda: [(fs.rand(3), i) for i in range(9)],
    "backwards array": lambda: X[::-1],
}


@pytest.mark.parametrize("name", [*PLAIN, *SLOW])
@pytest.mark.parametrize("kwargs", [{}, {"shuffle": True}, {"shuffle": True, "drop_last": True}, {"sampler": "subset"}], ids=str)
@pytest.mark.parametrize("workers", [0, 2])
def test_gathered_batches(name, kwargs, workers):
    fs.manual_seed(1)
    data = {**PLAIN, **SLOW}[name]()
    kwargs = dict(kwargs)

    def run(**more):
        fs.manual_seed(2)
        if "sampler" in kwargs:
            kwargs["sampler"] = D.SubsetRandomSampler([2, 0, 1])
        loader = D.DataLoader(data, batch_size=4, **kwargs, **more)
        assert (gathered_batches(data, loader.batch_sampler) is not None) == (name in PLAIN)
        return plain([list(loader), list(loader), fs.rand(1)])

    assert run(num_workers=workers) == run(collate_fn=lambda samples: D.default_collate(samples))


def test_batches_are_copies_and_gradients_are_kept():
    x = fs.zeros(4)
    next(iter(D.DataLoader(D.TensorDataset(x), batch_size=2)))[0].add_(1)
    assert x.tolist() == [0] * 4
    w = fs.ones(4, requires_grad=True)
    (batch,) = next(iter(D.DataLoader(D.TensorDataset(w), batch_size=3)))
    batch.sum().backward()
    assert w.grad.tolist() == [1, 1, 1, 0]


def test_the_data_are_read_when_a_batch_is_made():
    x = fs.zeros(4)
    iterator = iter(D.DataLoader(D.TensorDataset(x), batch_size=2))
    next(iterator)
    x.fill_(3)
    assert next(iterator)[0].tolist() == [3, 3]


def test_bad_indices():
    for indices in ([0, 22], [1, 99, 2]):
        with pytest.raises(IndexError, match="out of range"):
            list(D.DataLoader(D.Subset(table(), indices), batch_size=2))
        with pytest.raises(IndexError, match="out of range"):
            list(D.DataLoader(table(), batch_size=2, sampler=D.SubsetRandomSampler(indices)))
    iterator = iter(D.DataLoader(D.Subset(table(), [30]), batch_size=2))
    with pytest.raises(IndexError):
        next(iterator)
    assert list(iterator) == []
    assert list(D.DataLoader(D.TensorDataset(fs.empty(0, 3)), batch_size=2)) == []
    assert list(D.DataLoader(D.Subset(table(), []), batch_size=2)) == []


def test_a_tensor_that_is_resized_during_a_pass():
    x = fs.arange(40.0).view(10, 4)
    iterator = iter(D.DataLoader(D.TensorDataset(x), batch_size=2, shuffle=True))
    next(iterator)
    x.resize_(2, 4)
    with pytest.raises(RuntimeError, match="resized during the pass"):
        next(iterator)


# --- Tables -----------------------------------------------------------------------------------------------------------


def test_arrays_and_lists():
    data = D.TensorDataset(np.ones((3, 2)), [1, 2, 3], (0.5, 1.5, 2.5), range(3), np.array([True, False, True]))
    assert [t.dtype for t in data.tensors] == [fs.float32, fs.int64, fs.float32, fs.int64, fs.bool]
    assert D.TensorDataset(np.ones((3, 2)), dtype=fs.float64).tensors[0].dtype == fs.float64
    assert D.TensorDataset(fs.ones(3).double(), [1.0] * 3).tensors[0].dtype == fs.float64  # tensors stay as they are
    odd = D.TensorDataset(np.arange(3, dtype=np.uint16), np.arange(6.0)[::-2], np.arange(3, dtype=">i4"), np.asfortranarray(X[:3]))
    assert [t.tolist() for t in odd.tensors] == [[0, 1, 2], [5, 3, 1], [0, 1, 2], X[:3].tolist()]
    array = np.zeros((2, 2), np.float32)
    data = D.TensorDataset(array)
    array += 1
    assert data.tensors[0].sum() == 0  # a copy
    (x, y), *_ = D.DataLoader(D.TensorDataset(X.astype(float), Y), batch_size=22)
    fs.nn.Linear(3, 1)(x)  # of the type that layers take
    assert y.tolist() == Y.tolist()


@pytest.mark.parametrize(
    "args,error,text",
    [
        ((np.array(["a", "b"]),), TypeError, "argument 1 is an array of <U1: numbers are needed"),
        ((X, ["a", "b"]), TypeError, "argument 2 is a list that is no table of numbers"),
        ((X, {"a": 1}), TypeError, "argument 2: expected a tensor, an array, a data frame, a series or a list, got a dict"),
        ((X, [1, 2]), AssertionError, r"Size mismatch.*\[22, 2\]"),
        (([[1, 2], [3]],), TypeError, "no table of numbers"),
        ((), ValueError, "at least one"),
    ],
)
def test_bad_tables(args, error, text):
    with pytest.raises(error, match=text):
        D.TensorDataset(*args)


def test_pandas():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1.5, 2.5, None], "b": [1, 2, 3], "c": [True, False, True]}, index=["x", "y", "z"])
    target = pd.Series([3, 4, 5], index=[7, 8, 9])  # rows count by position, not by label
    data = D.TensorDataset(frame, target)
    assert data.tensors[0].dtype == fs.float32 and data.tensors[1].dtype == fs.int64
    assert data[1][0].tolist() == [2.5, 2, 0] and data[1][1].item() == 4
    assert fs.isnan(data[2][0][0])
    assert D.TensorDataset(frame[["b"]]).tensors[0].dtype == fs.int64
    assert D.TensorDataset(frame["c"]).tensors[0].dtype == fs.bool
    nullable = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": pd.array([1, 2, 3], dtype="Int64")})
    assert D.TensorDataset(nullable).tensors[0].dtype == fs.float32 and D.TensorDataset(nullable["b"]).tensors[0].tolist() == [1, 2, 3]
    with pytest.raises(TypeError, match=r"columns without numbers: 'name' \((object|str)\).*get_dummies"):
        D.TensorDataset(pd.DataFrame({"name": ["a", "b"], "v": [1, 2]}))
    with pytest.raises(TypeError, match="without numbers"):
        D.TensorDataset(pd.Series(pd.to_datetime(["2020-01-01"]), name="day"))
    with pytest.raises(TypeError, match="TensorDataset"):
        D.DataLoader(frame)
    batches = list(D.DataLoader(D.TensorDataset(frame, target), batch_size=2))
    assert [b[1].tolist() for b in batches] == [[3, 4], [5]]
    parts = D.stratified_split(D.TensorDataset(frame, target), [2, 1], labels=pd.Series([0, 0, 1]))
    assert [len(p) for p in parts] == [2, 1]


def test_scikit_learn():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_iris(return_X_y=True, as_frame=True)
    a, b = D.TensorDataset(x, y), D.TensorDataset(*datasets.load_iris(return_X_y=True))
    assert_same(a.tensors, b.tensors)
    scipy_sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match="sparse.*toarray"):
        D.TensorDataset(scipy_sparse.eye(3))


def test_distributed_sampler():
    parts = [list(D.DistributedSampler(range(10), 3, rank, shuffle=False)) for rank in range(3)]
    assert parts == [[0, 3, 6, 9], [1, 4, 7, 0], [2, 5, 8, 1]]
    with pytest.raises(ValueError, match="Invalid rank"):
        D.DistributedSampler(range(3), 2, 2)
    sampler = D.DistributedSampler(range(100), 2, 0)
    first = list(sampler)
    assert list(sampler) == first
    sampler.set_epoch(1)
    assert list(sampler) != first
