"""DataLoader: batches of a data set, read in the calling thread or ahead of it by worker threads."""

from ... import _C
from ._utils.collate import default_collate, default_convert
from .dataset import IterableDataset, Subset, TensorDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler


class _Endless:
    """The sampler of iterable data sets: nothing to say but "one more"."""

    def __iter__(self):
        while True:
            yield None


class WorkerInfo:
    """What get_worker_info() tells a worker: id, num_workers, seed, dataset."""

    def __init__(self, id, num_workers, seed, dataset):
        self.id, self.num_workers, self.seed, self.dataset = id, num_workers, seed, dataset

    def __repr__(self):
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed})"


_local = None  # threading.local, made with the first worker


def get_worker_info():
    """The WorkerInfo of the worker that calls it; None in the main thread."""
    return getattr(_local, "info", None)


class DataLoader:
    """Iterates over a data set in batches: PyTorch's arguments and, for one seed, PyTorch's order.

    num_workers > 0: that many threads read ahead, prefetch_factor batches each; batches come in order and no
    `if __name__ == "__main__"` is needed. A TensorDataset (or a Subset of one) with the default collate_fn is
    gathered batch by batch, without making single samples.
    """

    def __init__(self, dataset, batch_size=1, shuffle=None, sampler=None, batch_sampler=None, num_workers=0,
                 collate_fn=None, pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None,
                 multiprocessing_context=None, generator=None, *, prefetch_factor=None, persistent_workers=False,
                 pin_memory_device="", in_order=True):
        if num_workers < 0:
            raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError("prefetch_factor option could only be specified in multiprocessing.let num_workers > 0 to "
                             "enable multiprocessing, otherwise set prefetch_factor to None.")
        if prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            for name, value in (("shuffle", shuffle or None), ("sampler", sampler), ("batch_sampler", batch_sampler)):
                if value is not None:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got "
                                     f"{name}={value}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and "
                                 "drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            sampler = (_Endless() if self._iterable else RandomSampler(dataset, generator=generator) if shuffle
                       else SequentialSampler(dataset))
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.dataset, self.batch_size, self.drop_last = dataset, batch_size, drop_last
        self.sampler, self.batch_sampler, self.generator = sampler, batch_sampler, generator
        self.num_workers, self.timeout, self.worker_init_fn = num_workers, timeout, worker_init_fn
        self.prefetch_factor = 2 if num_workers and prefetch_factor is None else prefetch_factor
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.persistent_workers, self.in_order = persistent_workers, in_order
        self.multiprocessing_context = multiprocessing_context
        self.collate_fn = collate_fn if collate_fn is not None else (
            default_collate if batch_sampler is not None else default_convert)

    def __iter__(self):
        # PyTorch draws this seed for its workers at the start of every pass, before the sampler draws its own.
        seed = int(_C.empty((), dtype=_C.int64).random_(generator=self.generator).item())
        if self.num_workers:
            return _ThreadedIterator(self, seed)
        if self._iterable:
            return self._iterate(iter(self.dataset))
        gathered = _gathered_batches(self)
        return self._map() if gathered is None else gathered

    def __len__(self):
        if self._iterable:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)

    def _fetch(self, index):
        """One batch of a data set read by index: index is a list, or one index without batching."""
        if self.batch_sampler is None:
            return self.collate_fn(self.dataset[index])
        whole = getattr(self.dataset, "__getitems__", None)
        samples = whole(index) if callable(whole) else [self.dataset[i] for i in index]
        return self.collate_fn(samples)

    def _map(self):
        for index in self.sampler if self.batch_sampler is None else self.batch_sampler:
            yield self._fetch(index)

    def _iterate(self, samples):
        """The batches of an iterator over samples."""
        if self.batch_size is None:
            for sample in samples:
                yield self.collate_fn(sample)
            return
        batch = []
        for sample in samples:
            batch.append(sample)
            if len(batch) == self.batch_size:
                yield self.collate_fn(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.collate_fn(batch)


def _gathered_batches(loader):
    """An iterator over the batches of an in-memory data set, or None where the loader or data set is not plain.

    Yields what default_collate would: a list of tensors, each one index_select (or one copied slice).
    """
    if loader.collate_fn is not default_collate or type(loader.batch_sampler) is not BatchSampler:
        return None
    dataset, subsets = loader.dataset, []
    while type(dataset) is Subset:
        subsets.append(dataset.indices)
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset or not all(type(t) is _C.Tensor for t in dataset.tensors):
        return None
    sampler, size, drop_last = loader.sampler, loader.batch_sampler.batch_size, loader.batch_sampler.drop_last
    if loader.batch_sampler.sampler is not sampler:
        return None
    shuffled = type(sampler) is RandomSampler and not sampler.replacement and sampler._num_samples is None
    if not shuffled and type(sampler) is not SequentialSampler or len(sampler.data_source) != len(loader.dataset):
        return None
    return _gather(dataset.tensors, subsets, len(loader.dataset), sampler if shuffled else None, size, drop_last)


def _gather(tensors, subsets, n, shuffler, size, drop_last):
    order = None
    if shuffler is not None:
        generator = shuffler._pass_generator()
        order = _C.randperm(n, generator=generator)
    for indices in subsets:
        indices = _C.as_tensor(indices, dtype=_C.int64)
        order = indices if order is None else indices.index_select(0, order)
    stop = n - n % size if drop_last else n
    for start in range(0, stop, size):
        end = min(start + size, n)
        if order is None:
            yield [t[start:end].clone() for t in tensors]
        else:
            index = order[start:end]
            yield [t.index_select(0, index) for t in tensors]
    if shuffler is not None:
        _C.randperm(n, generator=generator)  # as RandomSampler, which ends with an empty round of a given generator


class _Failure:
    """An exception on its way from a worker to the caller."""

    def __init__(self, error):
        self.error = error


_END = object()


class _ThreadedIterator:
    """Batches read ahead by threads, handed out in order.

    Each worker has its own queue of tasks and of results; batch i is worker i % num_workers's, so that order needs no
    bookkeeping. A worker of an iterable data set iterates its own `iter(dataset)`, as PyTorch's worker processes do.
    """

    def __init__(self, loader, seed):
        import queue
        import threading

        global _local
        if _local is None:
            _local = threading.local()
        self.loader, self.timeout, self.Empty = loader, loader.timeout or None, queue.Empty
        self.indices = None if loader._iterable else iter(
            loader.sampler if loader.batch_sampler is None else loader.batch_sampler)
        self.workers = []
        for i in range(loader.num_workers):
            tasks, results = queue.SimpleQueue(), queue.SimpleQueue()
            info = WorkerInfo(i, loader.num_workers, seed + i, loader.dataset)
            thread = threading.Thread(target=_work, args=(loader, info, tasks, results), daemon=True,
                                      name=f"DataLoader worker {i}")
            thread.start()
            self.workers.append((tasks, results))
        self.alive = [True] * len(self.workers)
        self.order = []  # workers in the order of the batches asked for
        self.next_worker = 0
        for _ in range(max(1, loader.prefetch_factor) * len(self.workers)):
            self._ask()

    def _ask(self):
        """Gives the next batch to the next worker, if there is one."""
        if self.indices is None:
            for _ in self.workers:
                w, self.next_worker = self.next_worker, (self.next_worker + 1) % len(self.workers)
                if self.alive[w]:
                    break
            else:
                return
            self.workers[w][0].put(_END)
        else:
            index = next(self.indices, _END)
            if index is _END:
                return
            w, self.next_worker = self.next_worker, (self.next_worker + 1) % len(self.workers)
            self.workers[w][0].put(index)
        self.order.append(w)

    def __iter__(self):
        return self

    def __next__(self):
        while self.order:
            w = self.order.pop(0)
            try:
                result = self.workers[w][1].get(timeout=self.timeout)
            except self.Empty:
                self.close()
                raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds") from None
            if result is _END:  # an iterable data set ended in this worker
                self.alive[w] = False
                self._ask()
                continue
            if isinstance(result, _Failure):
                self.close()
                raise result.error
            self._ask()
            return result
        self.close()
        raise StopIteration

    def close(self):
        """Lets the workers end."""
        for tasks, _ in self.workers:
            tasks.put(None)
        self.order, self.workers = [], []

    def __del__(self):
        self.close()


def _work(loader, info, tasks, results):
    """What a worker thread does: tasks are indices, _END (the next batch of an iterable data set) or None (stop)."""
    _local.info = info
    batches = None
    try:
        if loader.worker_init_fn is not None:
            loader.worker_init_fn(info.id)
        failed = None
    except BaseException as error:
        failed = _Failure(error)
    while True:
        task = tasks.get()
        if task is None:
            return
        try:
            if failed is not None:
                results.put(failed)
            elif task is _END:
                if batches is None:
                    batches = loader._iterate(iter(loader.dataset))
                results.put(next(batches, _END))
            else:
                results.put(loader._fetch(task))
        except BaseException as error:
            results.put(_Failure(error))
