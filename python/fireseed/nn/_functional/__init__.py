"""The parts of nn.functional that are composed in Python, by subject. `_nn`: the extension's functional namespace."""
from ... import _C

_nn = _C._nn
