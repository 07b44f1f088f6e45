"""PyTorch's torch.multiprocessing: the standard library's module, and spawn.

Tensors travel between processes as copies: what one process writes the others do not see.
"""
import multiprocessing as _standard
from multiprocessing import *  # noqa: F403

from ._spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

__all__ = [*_standard.__all__, "ProcessContext", "ProcessException", "ProcessExitedException",
           "ProcessRaisedException", "SpawnContext", "get_all_sharing_strategies", "get_sharing_strategy",
           "set_sharing_strategy", "spawn", "start_processes"]


def get_all_sharing_strategies():
    """PyTorch's names; here tensors are copied whatever is chosen."""
    return {"file_descriptor", "file_system"}


_strategy = "file_descriptor"


def get_sharing_strategy():
    """What set_sharing_strategy was given."""
    return _strategy


def set_sharing_strategy(new_strategy):
    """Remembers one of get_all_sharing_strategies()."""
    global _strategy
    if new_strategy not in get_all_sharing_strategies():
        raise ValueError(f"set_sharing_strategy: unknown strategy {new_strategy!r}; expected one of "
                         f"{sorted(get_all_sharing_strategies())}")
    _strategy = new_strategy


def __getattr__(name):
    try:
        return getattr(_standard, name)
    except AttributeError:
        from .._namespaces import missing_attribute
        raise missing_attribute(__name__, name) from None
