"""The iterators of a DataLoader: batches made in the calling thread, or ahead of it by workers."""
import itertools
import threading

from . import streams
from .fetch import END, IterableFetcher, MapFetcher
from .pin_memory import pin_memory
from .worker import Failure, raise_failure


class Words:
    """Numbers that stand for the indices of a pass in keys: a sample that is read again gets other random numbers."""

    def __init__(self, batched):
        self.batched, self.times = batched, {}

    def __call__(self, index):
        out = []
        for i in index if self.batched else (index,):
            word = streams.word(i)
            times = self.times.get(word, 0)
            self.times[word] = times + 1
            out.append(streams.word(word, times))
        return out


class Progress:
    """Where a pass stands. position: batches given out; asked: those that the sampler has given, with those that workers
    make ahead; done: the end was reached; shares: of the workers of an iterable data set, how many batches each gave and
    whose comes next.
    """

    def __init__(self, position, shares=None):
        self.position, self.asked, self.done, self.shares = position, position, False, shares


class Start:
    """Where a pass starts: after `skip` batches. Of a resumed pass, whose order is drawn again now: `ahead`, how many
    batches more the sampler had given; `shares` as in Progress. ahead is None where nothing is drawn before it is needed.
    """

    def __init__(self, skip=0, ahead=None, shares=None):
        self.skip, self.ahead, self.shares = skip, ahead, shares


class _Batches:
    """`progress` outlives the iterator, and holds nothing but numbers."""

    def __iter__(self):
        return self

    def _indices(self, loader, words, start):
        """The indices of the batches from start on."""
        indices = iter(loader._index_sampler)
        for index in itertools.islice(indices, start.skip):
            if words is not None:
                words(index)
        if start.ahead is not None:
            indices = itertools.chain(list(itertools.islice(indices, max(1, start.ahead) if start.skip == 0 else start.ahead)), indices)
        return indices


class MapIterator(_Batches):
    """Batches of a data set read by index, in the calling thread."""

    def __init__(self, loader, seed, words, start, pin):
        self.fetch = MapFetcher(loader.dataset, loader.collate_fn, loader._auto_collation, seed).fetch
        self.words, self.progress, self.pin = words, Progress(start.skip), pin
        self.indices = self._indices(loader, words, start)

    def __next__(self):
        try:
            index = next(self.indices)
        except StopIteration:
            self.progress.done = True
            raise
        try:
            batch = self.fetch(self.progress.position, index, None if self.words is None else self.words(index))
        except StopIteration as error:  # would end the loop silently
            raise RuntimeError("the data set raised StopIteration") from error
        self.progress.position += 1
        self.progress.asked += 1
        return pin_memory(batch) if self.pin else batch


class IterableIterator(_Batches):
    """Batches of a data set read by iteration, in the calling thread."""

    def __init__(self, loader, seed, start, pin):
        self.fetch = IterableFetcher(loader.dataset, loader.collate_fn, loader.batch_size, loader.drop_last, seed,
                                     skip=start.skip).fetch
        self.progress, self.pin = Progress(start.skip), pin

    def __next__(self):
        batch = self.fetch(self.progress.position)
        if batch is END:
            self.progress.done = True
            raise StopIteration
        self.progress.position += 1
        return pin_memory(batch) if self.pin else batch


class WorkerIterator(_Batches):
    """Batches made ahead by workers, handed out in the order in which they were asked for (unless not in_order).

    Batch n is worker n % num_workers's; a worker of an iterable data set iterates its own copy until that ends.
    """

    def __init__(self, loader, pool, seed, keyed, fresh, words, start, pin):
        count, self.lock = len(pool.workers), threading.Lock()
        self.loader, self.pool, self.timeout, self.pin = loader, pool, loader.timeout or None, pin
        self.words, self.in_order = words, loader.in_order
        skip, shares = start.skip, start.shares
        if shares is None:
            shares = {"given": [0] * count, "next": skip % count}
        self.progress = Progress(skip, {"given": list(shares["given"]), "next": shares["next"]})
        self.next_worker = shares["next"]
        self.next_number = self.asked = skip
        self.owner, self.ready, self.alive = {}, {}, [True] * count
        self.indices = None if loader._iterable else self._indices(loader, words, start)
        self.turn = pool.begin(
            dataset=loader.dataset, collate_fn=loader.collate_fn, iterable=loader._iterable,
            batch_size=loader.batch_size, drop_last=loader.drop_last, batched=loader._auto_collation,
            worker_init_fn=loader.worker_init_fn, seed=seed, keyed=keyed, fresh=fresh, skip=list(shares["given"]))
        for _ in range(max(1, loader.prefetch_factor) * count):
            self._ask()

    def _ask(self):
        """Asks the next worker for the next batch, if there is one."""
        index = words = None
        if self.indices is not None:
            index = next(self.indices, END)
            if index is END:
                return
            words = None if self.words is None else self.words(index)
        elif not any(self.alive):
            return
        while not self.alive[self.next_worker]:
            self.next_worker = (self.next_worker + 1) % len(self.alive)
        w, self.next_worker = self.next_worker, (self.next_worker + 1) % len(self.alive)
        self.owner[self.asked] = w
        self.pool.workers[w].send((self.turn, self.asked, index, words))
        self.asked += 1
        self.progress.asked = self.asked

    def _take(self):
        """(worker, result) of the next batch."""
        while self.next_number not in self.owner and self.next_number < self.asked:
            self.next_number += 1  # given out of order before
        number = self.next_number
        if not self.in_order and self.ready:
            number = next(iter(self.ready))
        while number not in self.ready:
            try:
                found, result = self.pool.get(self.timeout)
            except RuntimeError:
                self._end()
                raise
            self.ready[found] = result
            if not self.in_order:
                number = found
        result = self.ready.pop(number)
        return self.owner.pop(number), result

    def __next__(self):
        with self.lock:  # threads may share an iterator
            return self._next()

    def _next(self):
        while self.owner:
            w, result = self._take()
            if hasattr(result, "open"):  # from another process
                result = result.open()
            if isinstance(result, str) and result == END:
                self.alive[w] = False
                self._ask()
                continue
            self._ask()
            if isinstance(result, Failure):
                raise_failure(result, w)
            self.progress.position += 1
            self.progress.shares["given"][w] += 1
            self.progress.shares["next"] = self.owner[min(self.owner)] if self.owner else self.next_worker
            return pin_memory(result) if self.pin else result
        self.progress.done = True
        self._end()
        raise StopIteration

    def _end(self):
        """Gives the workers back."""
        pool, self.pool = self.pool, None
        self.owner, self.ready = {}, {}
        if pool is not None:
            self.loader._give_back(pool)

    def __del__(self):
        if getattr(self, "pool", None) is not None:
            self._end()
