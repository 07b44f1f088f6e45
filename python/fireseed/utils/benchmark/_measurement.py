"""What a Timer found: times of a statement, and how they are printed."""
import dataclasses
import statistics

_UNITS = ((1e-9, "ns"), (1e-6, "us"), (1e-3, "ms"), (1.0, "s"))


def select_unit(t):
    """(unit, seconds in it) that suits the time t: 3.2e-6 gives ("us", 1e-6)."""
    for size, name in reversed(_UNITS):
        if t >= size:
            return name, size
    return "ns", 1e-9


@dataclasses.dataclass(frozen=True)
class TaskSpec:
    """What was timed."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self):
        """label and sub_label, or the statement."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        return self.stmt if "\n" not in self.stmt else "stmt:\n" + self.stmt

    @property
    def as_row_name(self):
        """The name of its row in a table."""
        return self.sub_label or self.stmt or "[Unknown]"


class Measurement:
    """Raw times of `number_per_run` calls each (seconds); mean, median and iqr are for one call."""

    def __init__(self, number_per_run, raw_times, task_spec, metadata=None):
        self.number_per_run, self.raw_times, self.task_spec = number_per_run, list(raw_times), task_spec
        self.metadata = metadata

    def __getattr__(self, name):
        if name.startswith("_") or name == "task_spec":
            raise AttributeError(name)
        return getattr(self.task_spec, name)

    @property
    def times(self):
        return [t / self.number_per_run for t in self.raw_times]

    @property
    def mean(self):
        return statistics.fmean(self.times)

    @property
    def median(self):
        return statistics.median(self.times)

    @property
    def iqr(self):
        """Distance of the quartiles, 0 for fewer than two times."""
        if len(self.raw_times) < 2:
            return 0.0
        q = statistics.quantiles(self.times, n=4, method="inclusive")
        return q[2] - q[0]

    @property
    def has_warnings(self):
        return len(self.raw_times) > 1 and self.iqr > 0.25 * self.median

    def __repr__(self):
        unit, scale = select_unit(self.median)
        many = len(self.raw_times) > 1
        lines = [f"<{__package__}.Measurement>", self.task_spec.title]
        if self.task_spec.setup and self.task_spec.setup != "pass":
            lines.append(f"setup: {self.task_spec.setup}")
        lines.append(f"  {'Median' if many else 'Time'}: {self.median / scale:.2f} {unit}")
        if many:
            lines.append(f"  IQR:    {self.iqr / scale:.2f} {unit}")
        runs = len(self.raw_times)
        threads = self.task_spec.num_threads
        lines.append(f"  {runs} measurement{'s' if many else ''}, {self.number_per_run} runs {'per measurement, ' if many else ', '}"
                     f"{threads} thread{'s' if threads > 1 else ''}")
        if self.has_warnings:
            lines.append("  WARNING: the quartiles are far apart: the machine was busy, or the work varies")
        return "\n".join(lines)
