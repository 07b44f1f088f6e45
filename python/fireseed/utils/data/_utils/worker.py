"""What workers do, in threads and processes alike; and workers that are threads."""
import atexit
import copy
import os
import queue
import threading
import time
import weakref

from . import streams
from .errors import from_worker, locate
from .fetch import IterableFetcher, MapFetcher

_local = threading.local()


class WorkerInfo:
    """What get_worker_info() tells a worker: id, num_workers, seed, dataset (the worker's own copy)."""

    def __init__(self, id, num_workers, seed, dataset):
        self.id, self.num_workers, self.seed, self.dataset = id, num_workers, seed, dataset

    def __repr__(self):
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed}, dataset={self.dataset})"


def get_worker_info():
    """The WorkerInfo of the worker that calls it; None in the main thread."""
    return getattr(_local, "info", None)


def own_copy(dataset):
    """A shallow copy of a data set for one worker: what it sets on itself (an open file, its share of the samples) stays
    its own, what it holds is shared. Data sets of data sets are copied through. Containers, and what says itself how it
    is copied (a numpy.memmap would be read whole), are shared.
    """
    from ..dataset import ChainDataset, ConcatDataset, StackDataset, Subset

    kind = type(dataset)
    if (not hasattr(dataset, "__dict__") or isinstance(dataset, (list, tuple, dict, set, frozenset))
            or hasattr(kind, "__copy__") or kind.__reduce_ex__ is not object.__reduce_ex__
            or kind.__reduce__ is not object.__reduce__):
        return dataset
    try:
        mine = copy.copy(dataset)
    except Exception:  # a data set that cannot be copied is shared
        return dataset
    if isinstance(mine, Subset):
        mine.dataset = own_copy(mine.dataset)
    elif isinstance(mine, (ConcatDataset, ChainDataset)) and isinstance(mine.datasets, (list, tuple)):
        mine.datasets = [own_copy(part) for part in mine.datasets]
    elif isinstance(mine, StackDataset):
        parts = mine.datasets
        mine.datasets = ({name: own_copy(part) for name, part in parts.items()} if isinstance(parts, dict)
                         else tuple(own_copy(part) for part in parts))
    return mine


class Job:
    """What workers need for one pass.

    turn: number of the pass among those of the workers; skip: batches that each worker leaves out (a list, for
    iterable data sets); fresh: start on a new copy of the data set and call worker_init_fn, as workers that are new.
    """

    def __init__(self, turn, dataset, collate_fn, iterable, batch_size, drop_last, batched, worker_init_fn, seed, keyed,
                 fresh, skip):
        self.turn, self.dataset, self.collate_fn, self.iterable = turn, dataset, collate_fn, iterable
        self.batch_size, self.drop_last, self.batched, self.worker_init_fn = batch_size, drop_last, batched, worker_init_fn
        self.seed, self.keyed, self.fresh, self.skip = seed, keyed, fresh, skip


class Failure:
    """An exception on its way from a worker to the caller."""

    def __init__(self, error):
        self.error = error


class Shared:
    """What workers and the caller share: results (turn, number, batch), and the turn that is wanted."""

    def __init__(self):
        self.results, self.turn = queue.SimpleQueue(), 0


def _start(job, id, count, dataset):
    """(data set, fetcher) of a worker at the start of a pass."""
    if dataset is None or job.fresh:
        dataset = own_copy(job.dataset)
        _local.info = WorkerInfo(id, count, job.seed + id, dataset)
        if job.worker_init_fn is not None:
            job.worker_init_fn(id)
        dataset = _local.info.dataset
    else:
        _local.info = WorkerInfo(id, count, job.seed + id, dataset)
    seed = job.seed if job.keyed else None
    if job.iterable:
        return dataset, IterableFetcher(dataset, job.collate_fn, job.batch_size, job.drop_last, seed, id, job.skip[id])
    return dataset, MapFetcher(dataset, job.collate_fn, job.batched, seed)


def work(shared, tasks, id, count, put, separate):
    """A worker's life. tasks: a Job starts a pass, (turn, number, index, words) asks for a batch, None ends it.

    put(turn, number, result) delivers; separate: this process is the worker's own.
    """
    from .... import _C

    dataset = fetcher = failed = None
    while True:
        try:
            task = tasks.get()
        except Exception as error:  # a data set that came in pieces that this process cannot put together
            locate(error, "starting")
            failed = Failure(error)
            continue
        if task is None:
            return
        if isinstance(task, Job):
            if task.turn != shared.turn:
                continue
            fetcher = failed = None
            try:
                if separate:
                    streams.seed_process(task.seed + id)
                if task.keyed:  # what worker_init_fn seeds or draws is this thread's affair
                    streams.install()
                    dataset, fetcher = _C._call_keyed(task.seed + id, _start, (task, id, count, dataset))
                else:
                    dataset, fetcher = _start(task, id, count, dataset)
            except BaseException as error:
                locate(error, "starting")
                failed = Failure(error)
            continue
        turn, number, index, words = task
        if turn != shared.turn:
            continue
        try:
            result = failed if failed is not None else fetcher.fetch(number, index, words)
        except BaseException as error:
            result = Failure(error)
        put(turn, number, result)
        task = result = None  # nothing is held while waiting


class ThreadWorker:
    """A worker that is a thread of this process."""

    broken = False

    def __init__(self, shared, id, count):
        self.tasks = queue.SimpleQueue()
        put = shared.results.put
        self.thread = threading.Thread(
            target=work, args=(shared, self.tasks, id, count, lambda *result: put(result), False), daemon=True,
            name=f"DataLoader worker {id}")
        self.thread.start()

    def send(self, task):
        """Gives the worker a task."""
        self.tasks.put(task)

    def stop(self):
        """Asks the worker to end."""
        self.tasks.put(None)

    def join(self, timeout):
        """Waits for its end."""
        if self.thread is not threading.current_thread():
            self.thread.join(timeout)


def _close(shared, workers, pid):
    """Asks workers to end."""
    if os.getpid() == pid:  # a forked child does not have them
        shared.turn = -1
        for worker in workers:
            worker.stop()


_pools = weakref.WeakSet()


@atexit.register
def _close_all(seconds=1.0):
    """At exit: no thread may be in the middle of a kernel when Python goes, so it waits a moment for them."""
    pools = [pool for pool in _pools if pool.pid == os.getpid()]
    for pool in pools:
        pool.close()
    until = time.monotonic() + seconds
    for pool in pools:
        for worker in pool.workers:
            worker.join(max(0.0, until - time.monotonic()))


class Pool:
    """The workers of one pass after the other."""

    def __init__(self, kind, count):
        if kind == "process":
            from .process import ProcessWorker as Worker
        else:
            Worker = ThreadWorker
        self.shared, self.kind, self.pid, self.broken, self.turn = Shared(), kind, os.getpid(), False, 0
        self.workers = []
        self.close = weakref.finalize(self, _close, self.shared, self.workers, self.pid)
        self.close.atexit = False
        _pools.add(self)
        for id in range(count):
            self.workers.append(Worker(self.shared, id, count))

    def begin(self, **job):
        """Starts a pass: what is under way of an earlier one is dropped. Returns the pass's turn."""
        self.turn = self.shared.turn = self.turn + 1
        job = Job(turn=self.turn, **job)
        if self.kind == "process":
            from .process import send_job
            send_job(self.workers, job)
        else:
            for worker in self.workers:
                worker.send(job)
        return self.turn

    def usable(self):
        """Whether it can serve another pass: no worker has died, timed out or was interrupted in a message."""
        return not self.broken and self.pid == os.getpid() and not any(worker.broken for worker in self.workers)

    def cancel(self):
        """What is under way is not wanted any more."""
        self.turn = self.shared.turn = self.turn + 1
        results = self.shared.results
        while not results.empty():
            results.get_nowait()

    def get(self, timeout):
        """The next (number, result) of the pass; RuntimeError after timeout seconds, or where a worker has died."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            try:
                turn, number, result = self.shared.results.get(
                    timeout=None if until is None else max(0.0, until - time.monotonic()))
            except queue.Empty:
                self.broken = True
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds") from None
            if turn is None:  # a death
                self.broken = True
                raise RuntimeError(result)
            if turn == self.turn:
                return number, result


def raise_failure(failure, worker):
    """Raises a worker's exception in the caller."""
    if not isinstance(failure.error, Exception):
        raise failure.error  # SystemExit and the like
    raise from_worker(failure.error, worker)
