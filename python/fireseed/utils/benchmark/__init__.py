"""PyTorch's torch.utils.benchmark: Timer, Measurement and Compare."""
from ._compare import Compare
from ._measurement import Measurement, TaskSpec, select_unit
from ._timer import Timer

__all__ = ["Compare", "Measurement", "TaskSpec", "Timer", "select_unit", "timer"]


def timer():
    """Seconds on a monotonic clock."""
    import time
    return time.perf_counter()


def __getattr__(name):
    from ..._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
