"""PyTorch's torch.testing: assert_close and make_tensor."""
import math
from collections.abc import Mapping, Sequence

from . import _C

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

# dtype -> (rtol, atol), as PyTorch's; other dtypes must be equal.
_TOLERANCES = {_C.float16: (1e-3, 1e-5), _C.bfloat16: (1.6e-2, 1e-5), _C.float32: (1.3e-6, 1e-5),
               _C.float64: (1e-7, 1e-7)}


def _tolerances(dtypes, rtol, atol):
    if (rtol is None) != (atol is None):
        raise ValueError("Both 'rtol' and 'atol' must be either specified or omitted, but got no "
                         f"{'rtol' if rtol is None else 'atol'}.")
    if rtol is not None:
        return rtol, atol
    pairs = [_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


class _Options:
    """The arguments of assert_close."""

    def __init__(self, **options):
        self.__dict__.update(options)

    def fail(self, text, where):
        text = f"{text}\n\nThe failure occurred for item {where}" if where else text
        if callable(self.msg):
            text = self.msg(text)
        elif self.msg is not None:
            text = self.msg
        raise AssertionError(text)


def _tensors(actual, expected, o, where):
    if actual.shape != expected.shape:
        o.fail(f"The values for attribute 'shape' do not match: {actual.shape} != {expected.shape}.", where)
    for name, wanted in (("device", o.check_device), ("dtype", o.check_dtype)):
        if wanted and getattr(actual, name) != getattr(expected, name):
            o.fail(f"The values for attribute {name!r} do not match: {getattr(actual, name)} != "
                   f"{getattr(expected, name)}.", where)
    if o.check_stride and actual.stride() != expected.stride():
        o.fail(f"The values for attribute 'stride()' do not match: {actual.stride()} != {expected.stride()}.", where)
    rtol, atol = _tolerances((actual.dtype, expected.dtype), o.rtol, o.atol)
    dtype = _C.promote_types(actual.dtype, expected.dtype)
    a, e = actual.detach().to("cpu", dtype), expected.detach().to("cpu", dtype)
    if dtype == _C.bool:
        a, e = a.to(_C.uint8), e.to(_C.uint8)
    close = _C.isclose(a, e, rtol=rtol, atol=atol, equal_nan=o.equal_nan)
    if bool(close.all()):
        return
    wrong, count = ~close, close.numel()
    bad = int(wrong.sum())
    difference = (a.double() - e.double()).abs()
    relative = difference / e.double().abs()
    lines = ["Scalars are not close!" if count == 1 and not a.dim() else
             f"Tensor-likes are not {'equal' if rtol == atol == 0 else 'close'}!", ""]
    if a.dim():
        lines.append(f"Mismatched elements: {bad} / {count} ({100 * bad / count:.1f}%)")
    for kind, values, allowed in (("absolute", difference, atol), ("relative", relative, rtol)):
        values = _C.where(wrong, values, _C.full_like(values, -1.0)).flatten()
        k = int(values.argmax())
        at = tuple(int(i) for i in _unravel(k, a.shape))
        place = f" at index {at}" if a.dim() else ""
        limit = f" (up to {allowed} allowed)" if rtol or atol else ""
        lines.append(f"Greatest {kind} difference: {values[k].item()}{place}{limit}")
    o.fail("\n".join(lines), where)


def _unravel(k, shape):
    index = []
    for n in reversed(shape):
        index.append(k % n)
        k //= n
    return reversed(index)


def _compare(actual, expected, o, where=""):
    if not o.allow_subclasses and type(actual) is not type(expected):
        raise TypeError(f"{type(actual)} and {type(expected)} are not of one type and allow_subclasses is False")
    if isinstance(expected, _C.Tensor) and isinstance(actual, _C.Tensor):
        return _tensors(actual, expected, o, where)
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        if set(actual) != set(expected):
            o.fail("The keys of the mappings do not match:\n"
                   f"Missing keys in the actual mapping: {sorted(map(str, set(expected) - set(actual)))}\n"
                   f"Missing keys in the expected mapping: {sorted(map(str, set(actual) - set(expected)))}", where)
        for key in expected:
            _compare(actual[key], expected[key], o, f"{where}[{key!r}]")
        return None
    plain = (str, bytes)
    if isinstance(expected, Sequence) and isinstance(actual, Sequence) and not isinstance(expected, plain) \
            and not isinstance(actual, plain):
        if len(actual) != len(expected):
            o.fail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where)
        for i, (a, e) in enumerate(zip(actual, expected)):
            _compare(a, e, o, f"{where}[{i}]")
        return None
    if type(expected).__module__ == "numpy" and type(actual).__module__ == "numpy" and hasattr(expected, "dtype"):
        return _tensors(_C.as_tensor(actual), _C.as_tensor(expected), o, where)
    if expected is None or actual is None:
        if actual is not expected:
            o.fail(f"None mismatch: {actual} is not {expected}", where)
        return None
    numbers = (bool, int, float)
    if isinstance(expected, numbers) and isinstance(actual, numbers):
        a, e = _C.tensor(actual), _C.tensor(expected)
        if isinstance(actual, float) or isinstance(expected, float):
            rtol, atol = (1e-7, 1e-7) if o.rtol is None else (o.rtol, o.atol)
            same = math.isclose(actual, expected, rel_tol=0, abs_tol=atol + rtol * abs(expected)) or (
                o.equal_nan and actual != actual and expected != expected)
            if same:
                return None
            o.fail(f"Scalars are not close!\n\nExpected {expected} but got {actual}.", where)
        if o.check_dtype and type(actual) is not type(expected):
            o.fail(f"The (d)types do not match: {type(actual)} != {type(expected)}.", where)
        return None if bool(a == e) else o.fail(f"Scalars are not equal!\n\nExpected {expected} but got {actual}.", where)
    raise TypeError(f"assert_close: no way to compare {type(actual)} and {type(expected)}")


def assert_close(actual, expected, *, allow_subclasses=True, rtol=None, atol=None, equal_nan=False, check_device=True,
                 check_dtype=True, check_layout=True, check_stride=False, msg=None):
    """AssertionError unless |actual - expected| <= atol + rtol |expected|, for tensors, arrays, numbers, and sequences
    and mappings of them. The text says how many elements differ, by how much at most, and where.

    Without rtol and atol: 1.3e-6 and 1e-5 for float32, 1e-7 each for float64, equality for integers.
    """
    if (rtol is None) != (atol is None):
        _tolerances((), rtol, atol)
    _compare(actual, expected, _Options(
        allow_subclasses=allow_subclasses, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=check_device,
        check_dtype=check_dtype, check_stride=check_stride, msg=msg))


def assert_allclose(actual, expected, rtol=None, atol=None, equal_nan=True, msg=""):
    """assert_close of what becomes tensors, whatever their dtypes; PyTorch's deprecated form."""
    actual, expected = (x if isinstance(x, _C.Tensor) else _C.tensor(x) for x in (actual, expected))
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=False, check_dtype=False,
                 msg=msg or None)


def make_tensor(*shape, dtype, device="cpu", low=None, high=None, requires_grad=False, noncontiguous=False,
                exclude_zero=False, memory_format=None):
    """A tensor of random values in [low, high); by default [-9, 9) for floats, [-9, 10) for integers, [0, 10) for uint8.

    exclude_zero: zeros become 1 (integers) or the smallest normal number. noncontiguous: every second element of a
    larger tensor.
    """
    shape = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape
    full = (*shape[:-1], 2 * shape[-1]) if noncontiguous and shape else shape
    if dtype == _C.bool:
        out = _C.randint(0, 2, full, device=device).to(_C.bool)
    elif dtype.is_floating_point:
        low, high = -9.0 if low is None else low, 9.0 if high is None else high
        out = (_C.rand(full, device=device) * (high - low) + low).to(dtype)
    else:
        low = (0 if dtype == _C.uint8 else -9) if low is None else math.ceil(low)
        out = _C.randint(low, 10 if high is None else math.ceil(high), full, dtype=dtype, device=device)
    if noncontiguous and shape:
        out = out[..., ::2]
    if exclude_zero:
        from ._python_api import finfo
        out[out == 0] = finfo(dtype).tiny if dtype.is_floating_point else 1
    return out.requires_grad_(requires_grad)
