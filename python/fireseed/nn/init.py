"""Initialisation of parameters in place, with PyTorch's formulas and order of random draws."""
import math
import warnings

from .. import _C

_no_grad = _C.no_grad


def calculate_gain(nonlinearity, param=None):
    """The recommended gain of a nonlinearity: 1 (linear, conv*, sigmoid, selu uses 3/4), 5/3 (tanh), sqrt 2 (relu)."""
    linear = ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
    if nonlinearity in linear or nonlinearity == "sigmoid":
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        if param is None:
            slope = 0.01
        elif isinstance(param, (int, float)) and not isinstance(param, bool):
            slope = param
        else:
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor, a=0.0, b=1.0, generator=None):
    """Fills with U(a, b)."""
    with _no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean=0.0, std=1.0, generator=None):
    """Fills with N(mean, std^2)."""
    with _no_grad():
        return tensor.normal_(mean, std, generator=generator)


def _normal_cdf(x):
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def trunc_normal_(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0, generator=None):
    """Fills with N(mean, std^2) cut to [a, b], by rejection of normal draws, or of uniform ones if [a, b] is rare."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
                      "incorrect.", stacklevel=2)
    with _no_grad():
        if _normal_cdf((b - mean) / std) - _normal_cdf((a - mean) / std) > 0.3:
            low, high = (_C.tensor(limit, dtype=tensor.dtype).item() for limit in (a, b))
            result = tensor.normal_(mean, std, generator=generator)
            while True:
                outside = (result < low) | (result > high)
                if not bool(outside.any()):
                    break
                result = _C.where(outside, _C.empty_like(result).normal_(mean, std, generator=generator), result)
        else:
            mode = max(a, min(mean, b))
            log_peak = -0.5 * ((mode - mean) / std) ** 2
            def log_density(x):
                return ((x - mean) / std) ** 2 * -0.5 - log_peak
            def drawn(*limits):
                return _C.empty_like(tensor).uniform_(*limits, generator=generator)
            result = tensor.uniform_(a, b, generator=generator)
            pending = drawn().log_() > log_density(result)
            while bool(pending.any()):
                candidates = drawn(a, b)
                result = _C.where(pending, candidates, result)
                pending = pending & (drawn().log_() > log_density(candidates))
        return tensor if result is tensor else tensor.copy_(result)


def constant_(tensor, val):
    """Fills with a number."""
    with _no_grad():
        return tensor.fill_(val)


def ones_(tensor):
    """Fills with 1."""
    with _no_grad():
        return tensor.fill_(1.0)


def zeros_(tensor):
    """Fills with 0."""
    with _no_grad():
        return tensor.zero_()


def eye_(tensor):
    """Fills a matrix with the identity."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with _no_grad():
        tensor.zero_()
        for i in range(min(tensor.shape)):
            tensor[i, i] = 1.0
    return tensor


def dirac_(tensor, groups=1):
    """Fills a convolution's weight (3-, 4- or 5-d) so that it passes its input channels on."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    sizes = tuple(tensor.shape)
    if sizes[0] % groups:
        raise ValueError("dim 0 must be divisible by groups")
    per_group = sizes[0] // groups
    center = tuple(n // 2 for n in sizes[2:])
    with _no_grad():
        tensor.zero_()
        for g in range(groups):
            for d in range(min(per_group, sizes[1])):
                tensor[(g * per_group + d, d) + center] = 1.0
    return tensor


def _calculate_fan_in_and_fan_out(tensor):
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    field = math.prod(tensor.shape[2:])
    return tensor.size(1) * field, tensor.size(0) * field


def _calculate_correct_fan(tensor, mode):
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(tensor, gain=1.0, generator=None):
    """U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    a = math.sqrt(3.0) * gain * math.sqrt(2.0 / float(fan_in + fan_out))
    return uniform_(tensor, -a, a, generator)


def xavier_normal_(tensor, gain=1.0, generator=None):
    """N(0, std^2), std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def kaiming_uniform_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """U(-b, b), b = gain sqrt(3 / fan) (He et al. 2015); a: the negative slope of leaky_relu."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu", generator=None):
    """N(0, std^2), std = gain / sqrt(fan) (He et al. 2015)."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=2)
        return tensor
    std = calculate_gain(nonlinearity, a) / math.sqrt(_calculate_correct_fan(tensor, mode))
    return normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor, gain=1, generator=None):
    """A (semi-)orthogonal matrix of the flattened tensor (Saxe et al. 2013), by QR of a normal one."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, cols = tensor.size(0), tensor.numel() // tensor.size(0)
    flat = _C.empty((rows, cols), dtype=tensor.dtype, device=tensor.device).normal_(0, 1, generator=generator)
    if rows < cols:
        flat = flat.t()
    q, r = _qr(flat)
    q = q * _C.sign(r.diagonal())
    if rows < cols:
        q = q.t()
    with _no_grad():
        tensor.copy_(q.reshape(tensor.shape))
        tensor.mul_(gain)
    return tensor


def _qr(a):
    """Q (m, n) with orthonormal columns and R (n, n) of a tall matrix, by Householder reflections."""
    import fireseed
    linalg = getattr(fireseed, "linalg", None)
    if linalg is not None and hasattr(linalg, "qr"):
        return linalg.qr(a)
    with _no_grad():
        dtype, m, n = a.dtype, a.shape[0], a.shape[1]
        r = a.to(_C.float64).clone()
        q = _C.eye(m, dtype=_C.float64)
        for k in range(n):
            x = r[k:, k].clone()
            norm = float((x * x).sum()) ** 0.5
            if norm == 0.0 or k == m - 1:
                continue
            alpha = -norm if float(x[0]) > 0 else norm
            x[0] -= alpha
            scale = 2.0 / float((x * x).sum())
            column = x.unsqueeze(1)  # reflector I - scale x x^T
            r[k:, :] -= scale * (column @ (column.t() @ r[k:, :]))
            q[:, k:] -= scale * ((q[:, k:] @ column) @ column.t())
        return q[:, :n].to(dtype), r[:n].to(dtype)


def sparse_(tensor, sparsity, std=0.01, generator=None):
    """N(0, std^2) with a fraction of zeros in each column (Martens 2010); a matrix."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with _no_grad():
        tensor.normal_(0, std, generator=generator)
        for col in range(cols):
            tensor[_C.randperm(rows)[:zeros], col] = 0
    return tensor


def _deprecated(function, name):
    def old(*args, **kwargs):
        warnings.warn(f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)
    old.__name__ = name
    old.__doc__ = f"The old name of {name}_."
    return old


uniform = _deprecated(uniform_, "uniform")
normal = _deprecated(normal_, "normal")
constant = _deprecated(constant_, "constant")
eye = _deprecated(eye_, "eye")
dirac = _deprecated(dirac_, "dirac")
xavier_uniform = _deprecated(xavier_uniform_, "xavier_uniform")
xavier_normal = _deprecated(xavier_normal_, "xavier_normal")
kaiming_uniform = _deprecated(kaiming_uniform_, "kaiming_uniform")
kaiming_normal = _deprecated(kaiming_normal_, "kaiming_normal")
orthogonal = _deprecated(orthogonal_, "orthogonal")
sparse = _deprecated(sparse_, "sparse")
