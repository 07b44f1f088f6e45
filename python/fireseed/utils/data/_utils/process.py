"""Workers that are processes: fresh interpreters that never import the program's main module, joined by sockets.

A worker is started as `python -c …` with one end of a socket pair, not through multiprocessing: so no start method, no
`if __name__ == "__main__"`, no semaphores and no shared memory files are involved. It ends when its socket does.
"""
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading

from . import errors, wire
from .worker import Failure, Job, Shared, work

_START = "import sys; sys.path[:] = {path!r}; from fireseed.utils.data._utils.process import main; main({fd}, {id}, {count})"


class ProcessWorker:
    """A worker process, as its parent sees it: tasks go straight into the socket, a thread takes the results out."""

    def __init__(self, shared, id, count):
        if not sys.executable:
            raise RuntimeError("DataLoader(worker_type='process'): this program has no Python interpreter to start "
                               "(sys.executable is not set); use worker_type='thread'")
        wire.cloudpickle()
        self.socket, theirs = socket.socketpair()
        self.closing = self.broken = False
        environment = {**os.environ, "FIRESEED_NUM_THREADS": "1"}
        start = _START.format(path=sys.path, fd=theirs.fileno(), id=id, count=count)
        self.process = subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", start], pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL, env=environment)
        theirs.close()
        self.seen = None  # the data set that was sent last, and its attributes then
        self.thread = threading.Thread(target=self._listen, args=(shared,), daemon=True,
                                       name=f"DataLoader receiver {id}")
        self.thread.start()

    def _listen(self, shared):
        try:
            while True:
                data, buffers = wire.receive(self.socket)
                (turn, number), data = pickle.loads(data), None
                if turn == shared.turn:
                    shared.results.put((turn, number, _Packed(buffers)))
                buffers = None
        except (EOFError, OSError):
            pass
        code = self.process.wait()
        self.socket.close()
        if not self.closing:
            shared.results.put((None, None, _obituary(self.process.pid, code)))

    def send(self, task):
        """Gives the worker a task: anything but a Job."""
        self._post(*wire.dumps(task))

    def send_file(self, message, fd):
        """Gives the worker a Job: where it lies in a file, and the file."""
        self._post(b"", [memoryview(message)], fd)  # no data: a job

    def _post(self, data, buffers, fd=None):
        try:
            wire.send(self.socket, data, buffers)
            if fd is not None:
                socket.send_fds(self.socket, [b"f"], [fd])
        except OSError:  # it is gone: the receiver says so
            pass
        except BaseException:  # Ctrl-C in the middle of a message: what follows could not be read
            self.broken = True
            self.stop()
            raise

    def stop(self):
        """Ends the worker, also in the middle of a sample: it listens for the end of the socket."""
        self.closing = True
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def join(self, timeout):
        """Waits for its end; kills it after timeout."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()


class _Packed:
    """A result on its way: unpickled by the caller's thread, as this may run code of the program."""

    def __init__(self, buffers):
        self.buffers = buffers

    def open(self):
        """The result: a batch or a Failure."""
        data, *buffers = self.buffers
        result = wire.loads(memoryview(data), buffers)
        if isinstance(result, _RemoteFailure):
            return result.failure()
        return result


class _RemoteTraceback(Exception):
    """The traceback of a worker process, as text: the cause of its exception here."""

    def __str__(self):
        return f'\n"""\n{self.args[0]}"""'


class _RemoteFailure:
    """A Failure that can be pickled: the exception where it can be, and its traceback."""

    def __init__(self, error):
        import traceback

        self.text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        try:
            data, buffers = wire.dumps(errors.parts(error), whole=True)
            errors.remake(*wire.loads(data, buffers))
            self.error = bytes(data), [bytes(b) for b in buffers]
        except Exception:  # an exception that cannot be pickled, or not be made again
            self.error = None

    def failure(self):
        """The Failure in the parent."""
        error = RuntimeError(self.text) if self.error is None else errors.remake(*wire.loads(*self.error))
        if error.__cause__ is None:
            error.__cause__ = _RemoteTraceback(self.text)
        return Failure(error)


def _obituary(pid, code):
    if code is not None and code < 0:
        name = signal.strsignal(-code) or f"signal {-code}"
        end = f"is killed by signal: {name}."
        if -code == signal.SIGKILL:
            end += " It is possible that the system ran out of memory."
    else:
        end = f"exited unexpectedly with code {code}."
    return (f"DataLoader worker (pid {pid}) {end} Its last words, if any, are on stderr; num_workers=0 or "
            "worker_type='thread' runs the data set in this process")


# --- Passes -----------------------------------------------------------------------------------------------------------

def _state(dataset):
    return dict(dataset.__dict__) if hasattr(dataset, "__dict__") else {}


def send_job(workers, job):
    """Starts a pass. The data set goes out once, in one file that all workers map; later only attributes that were
    set since (dataset.epoch = 3). What changes inside an attribute is not noticed.
    """
    dataset, state, last = job.dataset, _state(job.dataset), workers[0].seen
    if last is not None and last[0] is dataset:
        missing = object()
        changes = {name: value for name, value in state.items() if last[1].get(name, missing) is not value}
        update = changes, [name for name in last[1] if name not in state]
        job = Job(**{**job.__dict__, "dataset": None, "collate_fn": None, "worker_init_fn": None})
        content = job, update
    else:
        content = job, None
    try:
        fd, places = wire.to_file(content)
    except Exception as error:
        raise RuntimeError("DataLoader(worker_type='process') cannot send its data set, collate_fn or worker_init_fn to "
                           f"a worker: {type(error).__name__}: {error}. Open files and connections in __getitem__ "
                           "rather than in __init__, or use worker_type='thread'") from error
    try:
        for worker in workers:
            worker.seen = dataset, state
            worker.send_file(pickle.dumps((job.turn, places)), fd)
    finally:
        os.close(fd)


class _Tasks:
    """The tasks of a worker process, listened for in a thread: what was overtaken by a later pass can be skipped."""

    def __init__(self, sock, shared):
        self.queue, self.socket, self.shared = queue.SimpleQueue(), sock, shared
        self.job = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while True:
                message = wire.receive(self.socket)
                fd = None
                if not message[0]:  # a job; the file follows
                    _, (fd,), _, _ = socket.recv_fds(self.socket, 1, 1)
                    self.shared.turn = None  # what was asked for before is not wanted any more
                self.queue.put((fd, message))
        except (EOFError, OSError):
            pass
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(0)

    def get(self):
        """The next task."""
        fd, (data, buffers) = self.queue.get()
        if fd is None:
            return wire.loads(data, buffers)
        self.shared.turn, places = pickle.loads(memoryview(buffers[0]))
        job, update = wire.from_file(fd, places)
        if update is not None:
            changes, gone = update
            dataset = self.job.dataset
            for name in gone:
                dataset.__dict__.pop(name, None)
            for name, value in changes.items():
                dataset.__dict__[name] = value
            job = Job(**{**job.__dict__, "dataset": dataset, "collate_fn": self.job.collate_fn,
                         "worker_init_fn": self.job.worker_init_fn})
        self.job = job
        return job


def main(fd, id, count):
    """A worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it ends us
    sock = socket.socket(fileno=fd)
    shared = Shared()

    def put(turn, number, result):
        if isinstance(result, Failure):
            result = _RemoteFailure(result.error)
        try:
            data, buffers = wire.dumps(result)
        except Exception as error:
            what = RuntimeError(f"DataLoader: a batch cannot be sent to the main process: {type(error).__name__}: {error}")
            data, buffers = wire.dumps(_RemoteFailure(what))
        wire.send(sock, pickle.dumps((turn, number)), [data, *buffers])

    try:
        work(shared, _Tasks(sock, shared), id, count, put, True)
    except (BrokenPipeError, ConnectionError):
        pass
