"""Data sets in memory: batches of rows, gathered in C++ without making single samples."""
import sys

from .... import _C
from ..dataset import ConcatDataset, StackDataset, Subset, TensorDataset
from ..sampler import BatchSampler, RandomSampler, SequentialSampler, SubsetRandomSampler


def _leaf(value):
    """A tensor, or the tensor on a numeric array's memory, whose rows are samples; None for anything else."""
    if type(value) is not _C.Tensor:
        numpy = sys.modules.get("numpy")
        if numpy is None or type(value) is not numpy.ndarray or value.ndim < 2 or value.dtype.kind not in "fiub":
            return None  # rows of a vector are numpy numbers, which collate differently
        try:
            value = _C.from_numpy(value)
        except (TypeError, ValueError):  # a dtype or strides that tensors do not have
            return None
    return value if value.dim() and not value.requires_grad and value.device.type == "cpu" else None


def _plan(dataset):
    """(columns, form) of a data set, or None where it is not plain.

    columns: a list of lists of tensors, the column's parts one after the other. form: how a batch is made of them: an
    int is a column, a list or dict has forms in it.
    """
    kind = type(dataset)
    if kind is TensorDataset:
        leaves = [_leaf(t) for t in dataset.tensors]
        return None if any(t is None for t in leaves) else ([[t] for t in leaves], list(range(len(leaves))))
    if kind is ConcatDataset and len(dataset):
        plans = [_plan(part) for part in dataset.datasets]
        if any(plan is None or plan[1] != plans[0][1] for plan in plans):
            return None
        columns = [[t for part in parts for t in part] for parts in zip(*(plan[0] for plan in plans), strict=True)]
        for parts in columns:
            first = parts[0]
            for t in parts:
                row = t[:0]  # rows lie in one piece where the strides of a dense tensor fit
                if t.dtype != first.dtype or t.shape[1:] != first.shape[1:] or (
                        t.stride()[1:] != _C.empty(row.shape).stride()[1:]):
                    return None
        return columns, plans[0][1]
    if kind is StackDataset:
        named = isinstance(dataset.datasets, dict)
        columns, forms = [], []
        for part in dataset._parts():
            plan = _plan(part)
            if plan is None or sum(t.size(0) for t in plan[0][0]) != len(dataset):
                return None
            forms.append(_shift(plan[1], len(columns)))
            columns += plan[0]
        return columns, dict(zip(dataset.datasets, forms, strict=True)) if named else forms
    leaf = _leaf(dataset)
    return None if leaf is None else ([[leaf]], 0)


def _shift(form, by):
    if isinstance(form, int):
        return form + by
    if isinstance(form, dict):
        return {name: _shift(f, by) for name, f in form.items()}
    return [_shift(f, by) for f in form]


def _fill(form, columns):
    if isinstance(form, int):
        return columns[form]
    if isinstance(form, dict):
        return {name: _fill(f, columns) for name, f in form.items()}
    return [_fill(f, columns) for f in form]


class _Formed:
    """The batches of a gatherer in the form that the data set's samples have."""

    def __init__(self, batches, form):
        self.batches, self.form = batches, form

    def __iter__(self):
        return self

    def __next__(self):
        return _fill(self.form, next(self.batches))

    @property
    def done(self):
        """Whether the end was reached."""
        return self.batches.done

    @property
    def position(self):
        """Batches given out so far."""
        return self.batches.position

    @position.setter
    def position(self, value):
        self.batches.position = value


def _order_of(sampler, dataset):
    """(begin, finish, number of indices) of a sampler that is known to give each index at most once; None for others."""
    n = len(dataset)
    if type(sampler) is SequentialSampler and sampler.data_source is dataset:
        return None, None, n
    if type(sampler) is RandomSampler and not sampler.replacement and sampler._num_samples is None:
        if len(sampler.data_source) != n:
            return None
        own = sampler.generator

        def finish():  # RandomSampler ends with an empty round of its generator
            _C.randperm(n, generator=own)

        return (lambda: _C.randperm(n, generator=sampler._pass_generator())), own is not None and finish or None, n
    if type(sampler) is SubsetRandomSampler:
        indices = sampler.indices

        def begin():
            order = _C.randperm(len(indices), generator=sampler.generator)
            return _rows(indices).index_select(0, order)

        return begin, None, len(indices)
    return None


def _rows(indices):
    """A Subset's indices as an int64 tensor."""
    if type(indices) is range:
        return _C.arange(indices.start, indices.stop, indices.step)
    rows = _C._int64s(indices)
    return _C.as_tensor(indices, dtype=_C.int64) if rows is None else rows


def gathered_batches(dataset, batch_sampler, now=False):
    """An iterator over what default_collate makes of the batches of a data set in memory, with the number of batches
    given out as `position`; None where data set or sampler is not plain. The order is drawn before the first batch, as
    samplers do; now: right away.
    """
    if type(batch_sampler) is not BatchSampler:
        return None
    subsets, whole = [], dataset
    while type(whole) is Subset:
        subsets.append(whole.indices)
        whole = whole.dataset
    plan = _plan(whole)
    order = None if plan is None or not plan[0] else _order_of(batch_sampler.sampler, dataset)
    if order is None:
        return None
    begin, finish, n = order
    columns, form = plan
    if subsets:
        try:
            subsets = [_rows(indices) for indices in subsets]
        except (TypeError, ValueError, RuntimeError):
            return None
        if any(indices.dim() != 1 or indices.numel() and indices.min().item() < 0 for indices in subsets):
            return None
        first = begin

        def begin():
            rows = None if first is None else first()
            for indices in subsets:
                rows = indices if rows is None else indices.index_select(0, rows)
            return rows

    if now and begin is not None:
        rows = begin()

        def begin():
            return rows

    batches = _C._gather(columns, begin, finish, n, batch_sampler.batch_size, batch_sampler.drop_last)
    return batches if form == list(range(len(columns))) else _Formed(batches, form)
