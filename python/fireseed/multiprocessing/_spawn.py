"""spawn: a function run in several processes, and their errors brought home."""
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import tempfile


class ProcessException(Exception):
    """A process of spawn failed: error_index is its number, pid its process id."""

    def __init__(self, msg, error_index, pid):
        super().__init__(msg)
        self.msg, self.error_index, self.pid = msg, error_index, pid

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid)


class ProcessRaisedException(ProcessException):
    """The process raised; the message holds its traceback."""


class ProcessExitedException(ProcessException):
    """The process ended with an exit code, or by a signal (signal_name)."""

    def __init__(self, msg, error_index, error_pid, exit_code, signal_name=None):
        super().__init__(msg, error_index, error_pid)
        self.exit_code, self.signal_name = exit_code, signal_name

    def __reduce__(self):
        return type(self), (self.msg, self.error_index, self.pid, self.exit_code, self.signal_name)


def _call(fn, i, args, error_file):
    try:
        fn(i, *args)
    except KeyboardInterrupt:
        pass
    except Exception:
        import traceback
        with open(error_file, "w") as out:
            out.write(traceback.format_exc())
        sys.exit(1)


class ProcessContext:
    """The processes of a spawn with join=False."""

    def __init__(self, processes, error_files):
        self.processes, self.error_files = processes, error_files
        self.sentinels = {p.sentinel: i for i, p in enumerate(processes)}

    def pids(self):
        """Their process ids."""
        return [int(p.pid) for p in self.processes]

    def join(self, timeout=None, grace_period=None):
        """Waits for one of them to end. True when all are done; the first failure ends the others and is raised."""
        if not self.sentinels:
            return True
        ready = multiprocessing.connection.wait(self.sentinels.keys(), timeout=timeout)
        failed = None
        for sentinel in ready:
            index = self.sentinels.pop(sentinel)
            self.processes[index].join()
            if self.processes[index].exitcode:
                failed = index
                break
        if failed is None:
            if not self.sentinels:
                self._clean()
            return not self.sentinels
        for p in self.processes:
            if p.is_alive():
                p.terminate()
            p.join(grace_period)
            if p.is_alive():
                p.kill()
                p.join()
        error = self._error(failed)
        self._clean()
        raise error

    def _error(self, index):
        process = self.processes[index]
        with open(self.error_files[index]) as file:
            text = file.read()
        if text:
            return ProcessRaisedException(f"\n\n-- Process {index} terminated with the following error:\n{text}", index,
                                          process.pid)
        code = process.exitcode
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"<Unknown signal {-code}>"
            return ProcessExitedException(f"process {index} terminated with signal {name}", index, process.pid, code,
                                          name)
        return ProcessExitedException(f"process {index} terminated with exit code {code}", index, process.pid, code)

    def _clean(self):
        for path in self.error_files:
            if os.path.exists(path):
                os.unlink(path)


SpawnContext = ProcessContext


def start_processes(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """Runs fn(i, *args) for i in range(nprocs), each in a process of its own.

    join: waits for all and returns None, raising ProcessRaisedException or ProcessExitedException for the first that
    fails; else returns a ProcessContext.
    """
    context = multiprocessing.get_context(start_method)
    processes, files = [], []
    for i in range(nprocs):
        handle, path = tempfile.mkstemp(prefix="fireseed_spawn_", suffix=".txt")
        os.close(handle)
        process = context.Process(target=_call, args=(fn, i, args, path), daemon=daemon)
        process.start()
        processes.append(process)
        files.append(path)
    running = ProcessContext(processes, files)
    if not join:
        return running
    while not running.join():
        pass
    return None


def spawn(fn, args=(), nprocs=1, join=True, daemon=False, start_method="spawn"):
    """start_processes with fresh interpreters ('spawn'), the only method PyTorch's spawn takes."""
    if start_method != "spawn":
        raise ValueError(f"spawn: start_method must be 'spawn', got {start_method!r}; use start_processes")
    return start_processes(fn, args, nprocs, join, daemon, start_method)
