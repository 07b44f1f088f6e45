"""DistributedSampler: the share of one process of a data set that several processes read together."""
import math

from ... import _C
from .sampler import Sampler


class DistributedSampler(Sampler):
    """Every num_replicas-th index from `rank` on, of an order that is the same in all processes; PyTorch's order.

    shuffle: a new order each time `set_epoch` is given another number. The order is filled up with its own beginning so
    that all shares are equally long, or cut (drop_last). num_replicas and rank default to those of the process group.
    """

    def __init__(self, dataset, num_replicas=None, rank=None, shuffle=True, seed=0, drop_last=False):
        if num_replicas is None or rank is None:
            try:
                from ... import distributed
            except ImportError as error:
                raise RuntimeError("Requires distributed package to be available: give num_replicas and rank") from error
            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if rank >= num_replicas or rank < 0:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset, self.num_replicas, self.rank = dataset, num_replicas, rank
        self.shuffle, self.seed, self.drop_last, self.epoch = shuffle, seed, drop_last, 0
        n = len(dataset)
        if drop_last and n % num_replicas != 0:
            self.num_samples = math.ceil((n - num_replicas) / num_replicas)
        else:
            self.num_samples = math.ceil(n / num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self):
        n = len(self.dataset)
        if self.shuffle:
            indices = _C.randperm(n, generator=_C.Generator().manual_seed(self.seed + self.epoch)).tolist()
        else:
            indices = list(range(n))
        if not self.drop_last and n:
            while len(indices) < self.total_size:
                indices += indices[:self.total_size - len(indices)]
        indices = indices[:self.total_size]
        return iter(indices[self.rank::self.num_replicas])

    def __len__(self):
        return self.num_samples

    def set_epoch(self, epoch):
        """The number of the pass: call it before each, so that each has an order of its own."""
        self.epoch = epoch
