"""fireseed.special: special functions."""
from . import _C
from ._namespaces import fill

fill(globals(), _C._special)
