"""torch.__version__ of a script that runs under as_torch(): a string that compares as a version, as PyTorch's does."""
import re

from . import _C

__all__ = ["TorchVersion", "PYTORCH"]

PYTORCH = "2.13.0"  # the release whose API is followed


def _release(version):
    """(2, 13, 0) of "2.13.0+cpu", (2, 1) or ("2", 1)."""
    if isinstance(version, str):
        found = re.match(r"v?(\d+(?:\.\d+)*)", version.strip())
        if not found:
            raise ValueError(f"Invalid version: {version!r}")
        version = found[1].split(".")
    parts = [int(part) for part in version]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


class TorchVersion(str):
    """A version string; <, <=, ==, >=, > against strings and tuples compare release numbers ("2.9" < "2.13").

    What no version can be read from is compared as a string. Pre-release and local parts do not count.
    """

    __slots__ = ()

    def _compare(self, other, name):
        try:
            return getattr(_release(self), name)(_release(other))
        except (ValueError, TypeError):
            return getattr(str, name)(self, other)

    def __lt__(self, other):
        return self._compare(other, "__lt__")

    def __le__(self, other):
        return self._compare(other, "__le__")

    def __gt__(self, other):
        return self._compare(other, "__gt__")

    def __ge__(self, other):
        return self._compare(other, "__ge__")

    def __eq__(self, other):
        return self._compare(other, "__eq__")

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


__version__ = TorchVersion(f"{PYTORCH}+fireseed.{_C.__version__}")
