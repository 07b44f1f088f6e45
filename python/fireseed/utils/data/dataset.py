"""Data sets: by index, by iteration, and made of other data sets."""
import bisect
import math
import warnings

from ... import _C


class Dataset:
    """Base class of data sets read by index: subclasses define `__getitem__` and usually `__len__`.

    `__getitems__(indices)`, where there is one, returns the samples of a whole batch.
    """

    def __getitem__(self, index):
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other):
        return ConcatDataset([self, other])

    def __class_getitem__(cls, item):
        return cls


class IterableDataset(Dataset):
    """Base class of data sets read by iteration: subclasses define `__iter__`."""

    def __iter__(self):
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __getitem__(self, index):
        raise NotImplementedError(f"{type(self).__name__} is read by iteration, not by index")

    def __add__(self, other):
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Samples are tuples of rows of tensors with one first dimension: TensorDataset(x, y)[i] == (x[i], y[i]).

    numpy arrays, pandas data frames and series, and lists are taken, too: integers and truth values as they are, floating
    numbers in `dtype`, the default dtype if None. Rows count by position.
    """

    def __init__(self, *tensors, dtype=None):
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        if any(not isinstance(tensor, _C.Tensor) for tensor in tensors):
            from ._utils.tables import column

            dtype = _C.get_default_dtype() if dtype is None else dtype
            tensors = tuple(column(t, f"TensorDataset: argument {i + 1}", dtype) for i, t in enumerate(tensors))
        if any(tensors[0].size(0) != tensor.size(0) for tensor in tensors):
            raise AssertionError("Size mismatch between tensors: their first dimensions are "
                                 f"{[tensor.size(0) for tensor in tensors]}, they must be equal")
        self.tensors = tensors

    def __getitem__(self, index):
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self):
        return self.tensors[0].size(0)


class StackDataset(Dataset):
    """Samples of several data sets side by side: tuples (StackDataset(a, b)) or dictionaries (StackDataset(x=a))."""

    def __init__(self, *args, **kwargs):
        if args:
            if kwargs:
                raise ValueError("Supported either ``tuple``- (via ``args``) or``dict``- (via ``kwargs``) like "
                                 "input/output, "
                                 "but both types are given.")
            self.datasets = args
        elif kwargs:
            self.datasets = kwargs
        else:
            raise ValueError("At least one dataset should be passed")
        parts = list(self._parts())
        self._length = len(parts[0])
        if any(len(part) != self._length for part in parts):
            raise ValueError("Size mismatch between datasets")

    def _parts(self):
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def __getitem__(self, index):
        if isinstance(self.datasets, dict):
            return {name: part[index] for name, part in self.datasets.items()}
        return tuple(part[index] for part in self.datasets)

    def __getitems__(self, indices):
        return [self[i] for i in indices]

    def __len__(self):
        return self._length


class ConcatDataset(Dataset):
    """Data sets one after the other."""

    @staticmethod
    def cumsum(sequence):
        """The running total of lengths."""
        total, out = 0, []
        for part in sequence:
            total += len(part)
            out.append(total)
        return out

    def __init__(self, datasets):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(part, IterableDataset) for part in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset")
        self.cumulative_sizes = self.cumsum(self.datasets)

    def __len__(self):
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx):
        if idx < 0:
            if -idx > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            idx += len(self)
        which = bisect.bisect_right(self.cumulative_sizes, idx)
        return self.datasets[which][idx - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """Iterable data sets one after the other."""

    def __init__(self, datasets):
        self.datasets = datasets

    def __iter__(self):
        for part in self.datasets:
            if not isinstance(part, IterableDataset):
                raise AssertionError("ChainDataset only supports IterableDataset")
            yield from part

    def __len__(self):
        return sum(len(part) for part in self.datasets)


class Subset(Dataset):
    """The samples of a data set at given indices."""

    def __init__(self, dataset, indices):
        truth = str(getattr(indices, "dtype", "")).endswith("bool") or (
            isinstance(indices, (list, tuple)) and len(indices) > 0 and isinstance(indices[0], bool))
        if truth:  # True would count as 1, or add a dimension
            raise TypeError("Subset: expected positions of samples, got truth values; use mask.nonzero().flatten() of a "
                            "tensor, np.flatnonzero(mask) of an array")
        self.dataset, self.indices = dataset, indices
        if type(self).__getitem__ is not Subset.__getitem__ and type(self).__getitems__ is Subset.__getitems__:
            raise NotImplementedError(f"{type(self).__name__} overrides __getitem__ but not __getitems__. When "
                                      "subclassing "
                                      "Subset and overriding __getitem__, you must also override __getitems__ "
                                      "to ensure "
                                      "DataLoader works correctly with your custom logic, for example:\n\n"
                                      "def __getitems__(self, indices):\n"
                                      "    return [self.__getitem__(idx) for idx in indices]")

    def __getitem__(self, idx):
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices):
        chosen = [self.indices[i] for i in indices]
        whole = getattr(self.dataset, "__getitems__", None)
        return whole(chosen) if callable(whole) else [self.dataset[i] for i in chosen]

    def __len__(self):
        return len(self.indices)


def _lengths(lengths, n):
    """The lengths of the parts of n samples, from lengths or fractions."""
    total = sum(lengths)
    if math.isclose(total, 1) and total <= 1:
        counts = []
        for i, fraction in enumerate(lengths):
            if not 0 <= fraction <= 1:
                raise ValueError(f"Fraction at index {i} is not between 0 and 1")
            counts.append(math.floor(n * fraction))
        for i in range(n - sum(counts)):
            counts[i % len(counts)] += 1
        lengths = counts
        for i, length in enumerate(lengths):
            if length == 0:
                warnings.warn(f"Length of split at index {i} is 0. This might result in an empty "
                              "dataset.", stacklevel=3)
    if any(length < 0 for length in lengths):
        raise ValueError(f"Lengths of splits must not be negative, got {list(lengths)}")
    if sum(lengths) != n:
        raise ValueError("Sum of input lengths does not equal the length of the input dataset! "
                         f"({sum(lengths)} and {n})")
    return lengths


def random_split(dataset, lengths, generator=None):
    """Splits a data set at random into Subsets of the given lengths, or fractions that add up to 1.

    What rounding leaves over goes to the first parts, one each. generator: the default one if None.
    """
    n = len(dataset)
    lengths = _lengths(lengths, n)
    indices = _C.randperm(n, generator=_C.default_generator if generator is None else generator).tolist()
    parts, at = [], 0
    for length in lengths:
        parts.append(Subset(dataset, indices[at:at + length]))
        at += length
    return parts


def stratified_split(dataset, lengths, labels=None, generator=None):
    """random_split in which every part has the classes in the same shares, as nearly as can be (not in PyTorch).

    labels: the class of each sample (list or 1-d tensor); the last element of each sample if None. lengths: as in
    random_split; exact. A part's samples come in random order. generator: the default one if None.
    """
    n = len(dataset)
    lengths = _lengths(lengths, n)
    if labels is None:
        labels = [dataset[i][-1] for i in range(n)]
    labels = [label.item() if hasattr(label, "item") else label for label in labels]
    if len(labels) != n:
        raise ValueError(f"stratified_split: expected a label for each of {n} samples, got {len(labels)} labels")
    generator = _C.default_generator if generator is None else generator
    classes = {}
    for i in _C.randperm(n, generator=generator).tolist():
        classes.setdefault(labels[i], []).append(i)
    # Class after class, each sample goes to the part that is furthest behind its share.
    parts = [[] for _ in lengths]
    for members in classes.values():
        for i in members:
            part = min((p for p in range(len(parts)) if lengths[p]), key=lambda p: (len(parts[p]) + 0.5) / lengths[p])
            parts[part].append(i)
    return [Subset(dataset, [part[i] for i in _C.randperm(len(part), generator=generator).tolist()]) for part in parts]
