"""DataLoader: batches of a data set, read in the calling thread or ahead of it by worker threads or processes."""
import operator

from ... import _C
from ._utils.collate import default_collate, default_convert
from ._utils.worker import Pool, WorkerInfo, get_worker_info
from .dataset import IterableDataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]


class _Endless:
    """The sampler of iterable data sets: nothing to say but "one more"."""

    def __iter__(self):
        while True:
            yield None


# Note [Random numbers in samples]
# Two promises meet where a data set draws random numbers: with num_workers=0 PyTorch's samples draw from the global
# streams, so a script's numbers are PyTorch's; and batches should not depend on the number of workers, which no global
# stream can give, as the training step draws from it, too. What the caller wrote decides: a loader that does not name
# num_workers reads in the calling thread from the global streams; one that does, 0 included, gives every sample streams
# of its own, keyed by the seed of the pass and the sample's index (Note [Keyed samples] in cpp/bind/data_loader.cpp).
# sample_rng says either explicitly. The order of the samples is PyTorch's in all cases.


class DataLoader:
    """Iterates over a data set in batches: PyTorch's arguments and, for one seed, PyTorch's order.

    num_workers > 0: that many workers read ahead, prefetch_factor batches each; batches come in order. No
    `if __name__ == "__main__"` is needed and no shared memory is used. In-memory data sets (TensorDataset, arrays, and
    Subset, ConcatDataset and StackDataset of them) are gathered batch by batch, without single samples or workers.

    Beside PyTorch's arguments:
        worker_type: "thread" (the default: starts at once, shares the data set) or "process" (the default where
            multiprocessing_context is given; for samples that are long Python computations).
        persistent_workers: True by default: workers serve one pass after the other. Unless True is given explicitly,
            each pass still starts as with new workers: with the data set as it is then and a call of worker_init_fn.
        sample_rng: "keyed": random numbers drawn in samples depend on seed, pass and index only, so that batches are
            the same for any number and type of workers; "global": they come from the global streams, as PyTorch's do.
            By default "keyed" where num_workers is given (0, too), else "global". See docs/data.md.
    """

    _initialized = False
    _pool = _resume = _pass = None

    def __init__(self, dataset, batch_size=1, shuffle=None, sampler=None, batch_sampler=None, num_workers=None,
                 collate_fn=None, pin_memory=False, drop_last=False, timeout=0, worker_init_fn=None,
                 multiprocessing_context=None, generator=None, *, prefetch_factor=None, persistent_workers=None,
                 pin_memory_device="", in_order=True, worker_type=None, sample_rng=None):
        if sample_rng not in (None, "keyed", "global"):
            raise ValueError(f"sample_rng should be 'keyed', 'global' or None, but got {sample_rng!r}")
        self.sample_rng = sample_rng or ("global" if num_workers is None else "keyed")
        num_workers = 0 if num_workers is None else operator.index(num_workers)
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
        if hasattr(type(dataset), "iloc") and hasattr(type(dataset), "to_numpy"):
            raise TypeError(f"DataLoader: a pandas {type(dataset).__name__} is indexed by labels, not by positions; use "
                            "DataLoader(TensorDataset(...)) with it, or its .to_numpy()")
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
        self.in_order = in_order
        self._as_new = persistent_workers is not True
        self.persistent_workers = bool(num_workers) if persistent_workers is None else persistent_workers
        self.multiprocessing_context = multiprocessing_context
        if worker_type not in (None, "thread", "process"):
            raise ValueError(f"worker_type should be 'thread', 'process' or None, but got {worker_type!r}")
        self.worker_type = worker_type or ("thread" if multiprocessing_context is None else "process")
        self.collate_fn = collate_fn if collate_fn is not None else (
            default_collate if batch_sampler is not None else default_convert)
        self._initialized = True

    @property
    def multiprocessing_context(self):
        """A start method of multiprocessing or None. Any asks for worker processes; how they start does not differ."""
        return self._context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context):
        if context is not None:
            if self.num_workers == 0:
                raise ValueError("multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                                 f"but got num_workers={self.num_workers}")
            import multiprocessing
            known = multiprocessing.get_all_start_methods()
            if isinstance(context, str) and context not in known:
                raise ValueError("multiprocessing_context option should specify a valid start method in "
                                 f"{known!r}, but got multiprocessing_context={context!r}")
        self._context = context

    def __setattr__(self, name, value):
        if self._initialized and name in ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset",
                                          "persistent_workers"):
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    def __getstate__(self):
        return {name: value for name, value in self.__dict__.items() if name not in ("_pool", "_pass")}

    def __class_getitem__(cls, item):
        return cls

    @property
    def _auto_collation(self):
        return self.batch_sampler is not None

    @property
    def _index_sampler(self):
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __len__(self):
        if self._iterable:
            n = len(self.dataset)
            if self.batch_size is None:
                return n
            return n // self.batch_size if self.drop_last else -(-n // self.batch_size)
        return len(self._index_sampler)

    # --- Passes -------------------------------------------------------------------------------------------------------

    def __iter__(self):
        from ._utils import state
        from ._utils.iterators import Start

        saved, self._resume = self._resume, None
        if saved is None:
            origin = state.capture(self)
            # PyTorch draws this seed for its workers at the start of every pass, before the sampler draws its own.
            batches = self._start(self._draw_seed(), Start())
        else:
            before = saved["now"] or state.global_streams("random" in saved["streams"])
            state.restore(self, saved)
            origin = {name: saved[name] for name in ("streams", "generators", "sampler")}
            seed, skip, ahead = self._draw_seed(), saved["batches"], saved["asked"] - saved["batches"]
            if saved["asked"] == 0 and _C.default_generator.get_state().equal(before["fireseed"]):
                ahead = None  # the order was not drawn yet, and the streams are where they were
            batches = self._start(seed, Start(skip, ahead, saved["shares"]))
            state.set_global_streams(before)
        self._pass = origin, getattr(batches, "progress", batches)
        return batches

    def _draw_seed(self):
        return int(_C.empty((), dtype=_C.int64).random_(generator=self.generator).item())

    def _start(self, seed, start):
        """The iterator of a pass; start: see iterators.Start."""
        from ._utils.pin_memory import pinning

        keyed, pin = self.sample_rng == "keyed", pinning(self.pin_memory)
        if self.collate_fn is default_collate and not pin and self.worker_init_fn is None and not self._iterable:
            from ._utils.gather import gathered_batches

            batches = gathered_batches(self.dataset, self.batch_sampler, start.ahead is not None)
            if batches is not None:
                if start.skip:
                    batches.position = start.skip
                return batches
        from ._utils import iterators

        words = iterators.Words(self._auto_collation) if keyed and self._may_repeat() else None
        if self.num_workers:
            return iterators.WorkerIterator(self, self._take_pool(), seed, keyed, self._as_new, words, start, pin)
        key = seed if keyed else None
        if self._iterable:
            return iterators.IterableIterator(self, key, start, pin)
        return iterators.MapIterator(self, key, words, start, pin)

    def _may_repeat(self):
        """Whether a pass may read an index twice, or indices that are no ints."""
        sampler = self.batch_sampler.sampler if type(self.batch_sampler) is BatchSampler else self._index_sampler
        return not (type(sampler) is SequentialSampler
                    or type(sampler) is RandomSampler and not sampler.replacement and sampler._num_samples is None)

    def _take_pool(self):
        """Workers for one pass: those that are idle, else new ones."""
        pool, self._pool = self._pool, None
        if pool is not None and pool.usable() and (
                len(pool.workers), pool.kind) == (self.num_workers, self.worker_type):
            return pool
        return Pool(self.worker_type, self.num_workers)

    def _give_back(self, pool):
        """The workers of a pass that has ended."""
        if self.persistent_workers and pool.usable() and self._pool is None:
            pool.cancel()
            self._pool = pool
        else:
            pool.close()

    # --- Where it stands ----------------------------------------------------------------------------------------------

    def state_dict(self):
        """Where the loader stands, as numbers and tensors: the batches given out of the latest pass and what its order
        was drawn from. Between passes, just the states of the generators that the loader and its samplers were given.
        """
        from ._utils import state

        if self._resume is not None:
            return dict(self._resume)
        if self._pass is None or self._pass[1].done:
            return {"version": 1, "batches": None, **state.capture(self)}
        origin, progress = self._pass
        shares, now = None, None
        if self._iterable and self.num_workers:
            shares = {"given": list(progress.shares["given"]), "next": progress.shares["next"]}
        if self.sample_rng == "global" or not state.all_known(self):
            now = state.global_streams(True)
        asked = getattr(progress, "asked", progress.position)
        return {"version": 1, "batches": progress.position, "asked": asked, **origin, "shares": shares, "now": now}

    def load_state_dict(self, state_dict):
        """Goes back to where state_dict() was called: the next `iter()` gives the batches that were still to come, with
        the same random numbers in their samples. The loader must be made as it was then; the number and type of workers
        may differ, unless the data set is iterable.
        """
        from ._utils import state

        if not isinstance(state_dict, dict) or state_dict.get("version") != 1:
            got = f"the keys {sorted(map(str, state_dict))}" if isinstance(state_dict, dict) else f"{state_dict!r}"
            raise ValueError("DataLoader.load_state_dict: expected what DataLoader.state_dict() gave (version 1), got "
                             + got)
        if state_dict["batches"] is None:
            state.restore(self, state_dict, streams=False)
            self._resume = self._pass = None
            return
        shares = state_dict["shares"]
        if self._iterable and (len(shares["given"]) if shares else 0) != self.num_workers:
            raise ValueError(f"DataLoader.load_state_dict: the state of an iterable data set with "
                             f"{len(shares['given']) if shares else 0} workers does not fit num_workers="
                             f"{self.num_workers}")
        self._resume = dict(state_dict)
