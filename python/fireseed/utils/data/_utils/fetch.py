"""Makes the batches of a data set, in the calling thread or in a worker."""
from .... import _C
from . import streams
from .collate import default_collate, default_convert
from .errors import locate

END = "the end of an iterable data set"


def bulk_reader(dataset):
    """A data set's `__getitems__`, or None where it has none or only reads sample by sample itself."""
    from ..dataset import StackDataset, Subset

    read = getattr(dataset, "__getitems__", None)
    if not callable(read):
        return None
    own = type(dataset).__getitems__ if hasattr(type(dataset), "__getitems__") else None
    if own is Subset.__getitems__:
        return read if bulk_reader(dataset.dataset) else None
    if own is StackDataset.__getitems__:
        return read if any(bulk_reader(part) for part in dataset._parts()) else None
    return read


class Fetcher:
    """Reads batches; `seed` keys the samples' random streams, None leaves them to the global ones."""

    def __init__(self, dataset, collate_fn, batched, seed):
        self.dataset, self.collate_fn, self.batched, self.seed = dataset, collate_fn, batched, seed
        self.whole = bulk_reader(dataset) if batched else None
        # What draws no random numbers needs no streams of its own.
        self.plain_collate = seed is None or collate_fn is default_collate or collate_fn is default_convert
        if seed is not None:
            streams.install()

    def collate(self, number, samples, where):
        """collate_fn(samples) for batch `number`; where: says what is collated, for errors."""
        try:
            if self.plain_collate:
                return self.collate_fn(samples)
            return _C._call_keyed(_C._sample_key(self.seed, -1 - number), self.collate_fn, (samples,))
        except Exception as error:
            locate(error, where() if callable(where) else where)
            raise


class MapFetcher(Fetcher):
    """Batches of a data set read by index."""

    def fetch(self, number, index, words):
        """Batch `number`: the samples at `index` (a list, or one index without batching); words: see streams.word."""
        if self.batched and type(index) is not list:
            index = list(index)
        if self.whole is not None and index:
            try:
                if self.seed is None:
                    samples = self.whole(index)
                else:
                    key = _C._sample_key(self.seed, streams.word(index[0]) if words is None else words[0])
                    samples = _C._call_keyed(key, self.whole, (index,))
            except Exception as error:
                locate(error, f"reading samples {_short(index)}")
                raise
            return self.collate(number, samples, lambda: f"collating samples {_short(index)}")
        samples = []
        indices = index if self.batched else (index,)
        try:
            _C._read_samples(self.dataset, indices, samples, self.seed, words)
        except Exception as error:
            if len(samples) < len(indices):
                locate(error, f"reading sample {indices[len(samples)]!r}")
            raise
        if self.batched:
            return self.collate(number, samples, lambda: f"collating samples {_short(index)}")
        return self.collate(number, samples[0], lambda: f"converting sample {index!r}")


class IterableFetcher(Fetcher):
    """Batches of a data set read by iteration, in a worker or (worker 0) the calling thread; skip: batches to leave out."""

    def __init__(self, dataset, collate_fn, batch_size, drop_last, seed, worker=0, skip=0):
        super().__init__(dataset, collate_fn, batch_size is not None, seed)
        self.batch_size, self.drop_last = batch_size, drop_last
        if seed is not None:
            self.seed = _C._sample_key(seed, worker)
        self.count, self.ended = 0, False  # samples read
        self.samples = self._keyed(iter, dataset)
        for _ in range(skip):
            self._batch()

    def _keyed(self, function, argument):
        if self.seed is None:
            return function(argument)
        return _C._call_keyed(_C._sample_key(self.seed, self.count), function, (argument,))

    def _batch(self):
        """A list of up to batch_size samples, or one sample without batching; END at the end."""
        batch = []
        while not self.ended and len(batch) < (self.batch_size or 1):
            self.count += 1
            try:
                batch.append(self._keyed(next, self.samples))
            except StopIteration:
                self.ended = True
            except Exception as error:
                locate(error, f"reading sample {self.count - 1} of the iteration")
                raise
        if not batch or self.batched and self.drop_last and len(batch) < self.batch_size:
            return END
        return batch if self.batched else batch[0]

    def fetch(self, number, index=None, words=None):
        """The next batch, or END."""
        first = self.count
        batch = self._batch()
        return END if batch is END else self.collate(
            number, batch, lambda: f"collating samples {first} to {self.count - 1} of the iteration")


def _short(index):
    return repr(index) if len(index) <= 8 else f"[{', '.join(map(repr, index[:6]))}, … {len(index)} in all]"
