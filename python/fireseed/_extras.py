"""Functions and methods of PyTorch that few scripts use, composed in Python."""
from . import _C

# --- functions


def is_signed(input):
    """Can the dtype of input hold negative numbers?"""
    return input.dtype.is_signed


def is_same_size(input, other):
    """Do both tensors have the same shape?"""
    return input.shape == other.shape


def get_device_module(device=None):
    """fireseed.cpu or fireseed.cuda, by a device or its name; None: of the accelerator, else of the processor."""
    import fireseed

    if device is None:
        return fireseed.cuda if fireseed.cuda.is_available() else fireseed.cpu
    return fireseed.cuda if _C.device(device).type == "cuda" else fireseed.cpu


def get_device(input):
    """Index of the GPU a tensor is on; -1 on the processor."""
    return input.get_device()


def is_deterministic_algorithms_warn_only_enabled():
    """False: there is nothing to warn of, as results are always deterministic."""
    return False


def _assert(condition, message):
    """assert condition, message."""
    assert condition, message


def frobenius_norm(input, dim=None, keepdim=False):
    """Square root of the sum of squares, over all elements or over one or two dims."""
    import fireseed
    return fireseed.linalg.vector_norm(input, 2, dim, keepdim)


def nuclear_norm(input, dim=(-2, -1), keepdim=False):
    """Sum of the singular values of matrices."""
    import fireseed
    return fireseed.linalg.matrix_norm(input, "nuc", dim, keepdim)


def vander(x, N=None, increasing=False):
    """Powers of x (n,) as columns: (n, N), falling unless increasing; N: n by default."""
    if x.dim() != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got shape {tuple(x.shape)}")
    import fireseed
    out = fireseed.linalg.vander(x, N=x.shape[0] if N is None else N)
    return out if increasing else out.flip(-1)


def set_flush_denormal(mode):
    """False: denormal numbers are always kept; there is no switch."""
    return False


_warn_always = False


def set_warn_always(b):
    """Remembers whether PyTorch should repeat its warnings; fireseed's come through Python's warnings."""
    global _warn_always
    if not isinstance(b, bool):
        raise TypeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _warn_always = b


def is_warn_always_enabled():
    """What set_warn_always was given."""
    return _warn_always


def get_deterministic_debug_mode():
    """2, 'error': results are always deterministic."""
    return 2


def set_deterministic_debug_mode(debug_mode):
    """Checks the mode ('default', 'warn', 'error' or 0 to 2); results are always deterministic."""
    if debug_mode not in ("default", "warn", "error", 0, 1, 2):
        raise RuntimeError("invalid value of debug_mode, expected one of `default`, `warn`, `error`, 0, 1, 2, "
                           f"but got {debug_mode!r}")


def _from_nn(name):
    def call(*args, **kwargs):
        import fireseed
        return getattr(fireseed.nn.functional, name)(*args, **kwargs)
    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"fireseed.nn.functional.{name}."
    return call


bilinear, pdist, rrelu, rrelu_ = (_from_nn(name) for name in ("bilinear", "pdist", "rrelu", "rrelu_"))


# --- methods of Tensor


def new(self, *args, device=None):
    """A tensor of self's dtype: from data, or of given sizes with memory as it comes."""
    if len(args) == 1 and not isinstance(args[0], (int, _C.Size)):
        return _C.tensor(args[0], dtype=self.dtype, device=device or self.device)
    return _C.empty(*(args or (0,)), dtype=self.dtype, device=device or self.device)


def fill_diagonal_(self, fill_value, wrap=False):
    """Writes fill_value to the main diagonal, in place; wrap: in tall matrices it starts anew after each n + 1 rows."""
    if self.dim() < 2:
        raise RuntimeError(f"fill_diagonal_(): dimensions must be larger than 1, got shape {tuple(self.shape)}")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError(f"fill_diagonal_(): all dimensions of input must be of equal length, got {tuple(self.shape)}")
    rows, columns = self.shape[0], self.shape[1]
    if self.dim() == 2 and wrap and rows > columns:
        index = _C.arange(0, rows * columns, columns + 1)
        self[index // columns, index % columns] = fill_value
        return self
    index = _C.arange(min(self.shape))
    self[(index,) * self.dim()] = fill_value
    return self


def apply_(self, callable):
    """Replaces every element by callable(element), in place, in Python: slow."""
    with _C.no_grad():
        return self.copy_(_C.tensor([callable(v) for v in self.flatten().tolist()], dtype=self.dtype).reshape(self.shape))


def map_(self, tensor, callable):
    """Replaces every element a by callable(a, b), b from tensor (broadcast), in place, in Python: slow."""
    others = tensor.expand(self.shape).flatten().tolist()
    with _C.no_grad():
        values = [callable(a, b) for a, b in zip(self.flatten().tolist(), others)]
        return self.copy_(_C.tensor(values, dtype=self.dtype).reshape(self.shape))


def as_subclass(self, cls):
    """self's data as an object of a subclass of Tensor; gradients are not recorded through it."""
    return _C.Tensor._make_subclass(cls, self.detach(), self.requires_grad)


def to_dense(self, dtype=None, *, masked_grad=True):
    """self, in dtype where it is given: every tensor is dense."""
    return self if dtype is None else self.to(dtype)
