"""Timer: timeit with warm-up, threads and repetition until the median stands."""
import timeit

from ... import _C
from ._measurement import Measurement, TaskSpec


def _synchronize():
    from ... import cuda
    if cuda.is_available():
        cuda.synchronize()


def _clock():
    _synchronize()
    return timeit.default_timer()


class Timer:
    """Times a statement (Python source); names in it come from `globals`. num_threads: 1 as in PyTorch's Timer."""

    def __init__(self, stmt="pass", setup="pass", global_setup="", timer=None, globals=None, label=None, sub_label=None,
                 description=None, env=None, num_threads=1, language="python"):
        if str(language).lower() not in ("python", "language.python"):
            raise NotImplementedError("benchmark.Timer: only Python statements can be timed")
        if not isinstance(stmt, str):
            raise ValueError("Only a string stmt is supported.")
        import fireseed

        names = {"torch": fireseed, **(globals or {})}
        self._globals = names
        self._task_spec = TaskSpec(stmt.strip(), setup, global_setup, label, sub_label, description, env, num_threads)
        self._timer = timeit.Timer(stmt.strip(), setup, timer or _clock, names)

    def _run(self, number):
        threads = _C.get_num_threads()
        _C.set_num_threads(self._task_spec.num_threads)
        try:
            return max(self._timer.timeit(number), 1e-9)
        finally:
            _C.set_num_threads(threads)

    def timeit(self, number=1000000):
        """A Measurement of one run of `number` calls, after a warm-up of a hundredth of them (two at least)."""
        self._run(max(number // 100, 2))
        return Measurement(number, [self._run(number)], self._task_spec)

    def _block_size(self, min_run_time):
        number = 1
        while True:
            taken = self._run(number)
            if taken >= min_run_time / 1000 or taken >= 0.01:
                return number
            number *= 10

    def blocked_autorange(self, callback=None, min_run_time=0.2):
        """A Measurement of blocks of calls that take min_run_time seconds together; blocks are long against the clock."""
        number = self._block_size(min_run_time)
        times, total = [], 0.0
        while total < min_run_time or len(times) < 1:
            times.append(self._run(number))
            total += times[-1]
            if callback is not None:
                callback(number, times[-1])
        return Measurement(number, times, self._task_spec)

    def adaptive_autorange(self, threshold=0.1, *, min_run_time=0.01, max_run_time=10.0, callback=None):
        """As blocked_autorange, until the quartiles' distance is below threshold of the median or time is up."""
        number = self._block_size(min_run_time)
        times, total = [], 0.0
        while total < max_run_time:
            times.append(self._run(number))
            total += times[-1]
            if callback is not None:
                callback(number, times[-1])
            m = Measurement(number, times, self._task_spec)
            if total >= min_run_time and len(times) > 3 and m.iqr < threshold * m.median:
                break
        return Measurement(number, times, self._task_spec)

    autorange = blocked_autorange
