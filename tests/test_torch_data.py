"""utils.data beside PyTorch: same batches, orders and random numbers in samples for one seed."""

import numpy as np
import pytest

pytest.importorskip("torch")
from parity import against_peer  # noqa: E402

X, Y = np.arange(66, dtype=np.float32).reshape(22, 3), np.arange(22)


def table(n, lib):
    return lib.utils.data.TensorDataset(lib.tensor(X[:n]), lib.tensor(Y[:n]))


@pytest.mark.parametrize("name", ["concat", "stack", "subset"])
def test_same_as_pytorch(name):
    def run(lib):
        d = lib.utils.data
        lib.manual_seed(0)
        data = {
            "concat": lambda: d.ConcatDataset([table(5, lib), table(9, lib)]),
            "stack": lambda: d.StackDataset(a=table(9, lib), b=table(9, lib)),
            "subset": lambda: d.random_split(table(9, lib), [0.5, 0.5])[0],
        }[name]()
        loader = d.DataLoader(data, batch_size=4, shuffle=True, generator=lib.Generator().manual_seed(3))
        batches = list(loader) + list(loader)
        return [sorted(b.items()) if isinstance(b, dict) else b for b in batches] + [lib.rand(2)]

    against_peer(run)


@pytest.mark.parametrize("kwargs", [{}, {"shuffle": True}, {"batch_size": None}], ids=str)
def test_random_numbers_in_samples(kwargs):
    """A script that does not name num_workers sees PyTorch's streams."""

    def run(lib):
        d = lib.utils.data

        class Draws(d.Dataset):
            def __len__(self):
                return 10

            def __getitem__(self, i):
                return lib.rand(2) + i, lib.randint(0, 9, (1,)), np.random.rand()

        lib.manual_seed(11), np.random.seed(3)
        out = []
        for batch in d.DataLoader(Draws(), **{"batch_size": 3, **kwargs}):
            out += [batch, lib.rand(3)]  # as a step with dropout
        return out + [lib.rand(1)]

    against_peer(run)


@pytest.mark.parametrize("workers", [0, 2])
def test_order_with_workers(workers):
    """The order does not depend on workers, nor what the program draws after a pass."""

    def run(lib):
        lib.manual_seed(5)
        here = lib.__name__ == "fireseed"
        loader = lib.utils.data.DataLoader(list(range(30)), batch_size=4, shuffle=True, num_workers=workers if here else 0)
        return [list(loader), list(loader), lib.rand(2)]

    against_peer(run)


@pytest.mark.parametrize("n,replicas,drop,shuffle", [(10, 3, False, True), (10, 3, True, True), (2, 5, False, False), (9, 3, False, True)])
def test_distributed_sampler(n, replicas, drop, shuffle):
    def run(lib):
        d = lib.utils.data
        out = []
        for rank in range(replicas):
            sampler = d.distributed.DistributedSampler(range(n), replicas, rank, shuffle, seed=3, drop_last=drop)
            out += [len(sampler), list(sampler)]
            sampler.set_epoch(2)
            out += [list(sampler), list(d.DataLoader(range(n), batch_size=2, sampler=sampler))]
        return out

    against_peer(run)
