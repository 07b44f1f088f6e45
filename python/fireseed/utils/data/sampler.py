"""Samplers: the order in which a DataLoader reads a data set. Same seed, same order as PyTorch."""
from itertools import islice

from ... import _C


class Sampler:
    """Base class: subclasses define `__iter__` over indices (or lists of them) and usually `__len__`."""

    def __init__(self, data_source=None):
        pass

    def __iter__(self):
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")

    def __class_getitem__(cls, item):
        return cls


def _permutation(n, generator):
    """randperm in the smallest memory; the numbers do not depend on the dtype."""
    return _C.randperm(n, dtype=_C.int32 if n < 2**31 else _C.int64, generator=generator)


def _ints(tensor):
    """The elements of a 1-dim tensor as ints, some at a time: a list of all would take five times the memory."""
    for part in tensor.split(4096):
        yield from part.tolist()


class SequentialSampler(Sampler):
    """0, 1, 2, ..."""

    def __init__(self, data_source):
        self.data_source = data_source

    def __iter__(self):
        return iter(range(len(self.data_source)))

    def __len__(self):
        return len(self.data_source)


class RandomSampler(Sampler):
    """A random order, or (replacement) random indices; num_samples: how many, all by default.

    Without a generator each pass draws a seed from the default one, as PyTorch does.
    """

    def __init__(self, data_source, replacement=False, num_samples=None, generator=None):
        self.data_source, self.replacement = data_source, replacement
        self._num_samples, self.generator = num_samples, generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError("num_samples should be a positive integer value, but got num_samples="
                             f"{self.num_samples}")

    @property
    def num_samples(self):
        """How many indices one pass gives."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def _pass_generator(self):
        if self.generator is not None:
            return self.generator
        generator = _C.Generator()
        generator.manual_seed(int(_C.empty((), dtype=_C.int64).random_().item()))
        return generator

    def __iter__(self):
        n, total = len(self.data_source), self.num_samples
        generator = self._pass_generator()
        if self.replacement:
            for count in [32] * (total // 32) + [total % 32]:
                yield from _C.randint(0, n, (count,), dtype=_C.int64, generator=generator).tolist()
        else:
            for _ in range(total // n):
                yield from _ints(_permutation(n, generator))
            yield from _ints(_permutation(n, generator)[:total % n])

    def __len__(self):
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Given indices in random order."""

    def __init__(self, indices, generator=None):
        self.indices, self.generator = indices, generator

    def __iter__(self):
        for i in _ints(_permutation(len(self.indices), self.generator)):
            yield self.indices[i]

    def __len__(self):
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """num_samples indices drawn with probabilities proportional to weights."""

    def __init__(self, weights, num_samples, replacement=True, generator=None):
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"num_samples should be a positive integer value, but got num_samples={num_samples}")
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        weights = _C.as_tensor(weights, dtype=_C.float64)
        if weights.dim() != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {tuple(weights.shape)}")
        self.weights, self.num_samples, self.replacement, self.generator = weights, num_samples, replacement, generator

    def __iter__(self):
        yield from _ints(_C.multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator))

    def __len__(self):
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of batch_size indices of another sampler; drop_last: without the shorter last one."""

    def __init__(self, sampler, batch_size, drop_last):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"batch_size should be a positive integer value, but got batch_size={batch_size!r}")
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler, self.batch_size, self.drop_last = sampler, batch_size, drop_last

    def __iter__(self):
        sampler = self.sampler
        if type(sampler) is RandomSampler and not sampler.replacement and sampler.generator is None and (
                sampler._num_samples is None):  # one permutation: cut without going over its elements
            n = len(sampler.data_source)
            order = _permutation(n, sampler._pass_generator())
            for start in range(0, n - n % self.batch_size if self.drop_last else n, self.batch_size):
                yield order[start:start + self.batch_size].tolist()
            return
        indices = iter(sampler)
        while True:
            batch = list(islice(indices, self.batch_size))
            if not batch or self.drop_last and len(batch) < self.batch_size:
                return
            yield batch

    def __len__(self):
        n = len(self.sampler)
        return n // self.batch_size if self.drop_last else (n + self.batch_size - 1) // self.batch_size
