"""Tensors as text, exactly as PyTorch prints them."""
import math

from . import _C

__all__ = ["set_printoptions", "get_printoptions", "printoptions"]

_PROFILES = {"default": (4, 1000, 3, 80), "short": (2, 1000, 2, 80), "full": (4, math.inf, 3, 80)}


class _Options:
    precision, threshold, edgeitems, linewidth = _PROFILES["default"]
    sci_mode = None


PRINT_OPTS = _Options()


def set_printoptions(precision=None, threshold=None, edgeitems=None, linewidth=None, profile=None, sci_mode=None):
    """How tensors are printed.

    precision: digits after the point; threshold: more elements than this are summarised, with edgeitems at each end
    of a dimension; linewidth: characters a line; profile: "default", "short" or "full"; sci_mode: always (True) or
    never (False) the scientific notation, None: as the values need it.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions: profile must be one of {list(_PROFILES)}, got {profile!r}")
        PRINT_OPTS.precision, PRINT_OPTS.threshold, PRINT_OPTS.edgeitems, PRINT_OPTS.linewidth = _PROFILES[profile]
    for name, value in (("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems),
                        ("linewidth", linewidth)):
        if value is not None:
            setattr(PRINT_OPTS, name, value)
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions():
    """The options as keyword arguments of set_printoptions."""
    return {name: getattr(PRINT_OPTS, name) for name in ("precision", "threshold", "edgeitems", "linewidth",
                                                         "sci_mode")}


class printoptions:
    """A context in which the options of set_printoptions hold."""

    def __init__(self, **options):
        self.options = options

    def __enter__(self):
        self.old = get_printoptions()
        set_printoptions(**self.options)

    def __exit__(self, *exc):
        set_printoptions(**self.old)


def _values(t, summarize):
    """The elements that are shown, as nested lists (a number for 0-d)."""
    edge = PRINT_OPTS.edgeitems
    if t.dim() == 0:
        return t.item()
    n = t.shape[0]
    if not summarize:
        return t.tolist()
    if t.dim() == 1:
        return t[:edge].tolist() + t[n - edge:].tolist() if n > 2 * edge else t.tolist()
    rows = [*range(edge), *range(n - edge, n)] if n > 2 * edge else range(n)
    return [_values(t[i], summarize) for i in rows]


def _flat(values):
    if not isinstance(values, list):
        yield values
    elif values and isinstance(values[0], list):
        for row in values:
            yield from _flat(row)
    else:
        yield from values


class _Formatter:
    """One width and notation for all elements of a tensor."""

    def __init__(self, values, floating):
        self.floating, self.sci, self.whole, self.width = floating, False, True, 1
        if not floating:
            self.width = max([1, *(len(str(v)) for v in values)])
            return
        finite = [v for v in values if v != 0 and math.isfinite(v)]
        if not finite:
            return
        precision = PRINT_OPTS.precision
        sizes = [abs(v) for v in finite]
        low, high = min(sizes), max(sizes)
        self.whole = all(v == math.ceil(v) for v in finite)
        self.sci = (high / low > 1000.0 or high > 1.0e8 or low < 1.0e-4 if PRINT_OPTS.sci_mode is None
                    else PRINT_OPTS.sci_mode)
        if self.sci:
            self.width = max(1, *(len(f"{v:.{precision}e}") for v in finite), 1)
        elif self.whole:
            self.width = max(1, *(len(f"{v:.0f}") + 1 for v in finite), 1)
        else:
            self.width = max(1, *(len(f"{v:.{precision}f}") for v in finite), 1)

    def format(self, value):
        if not self.floating:
            text = str(value)
        elif self.sci:
            text = f"{value:{self.width}.{PRINT_OPTS.precision}e}"
        elif self.whole:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{PRINT_OPTS.precision}f}"
        return text.rjust(self.width)


def _nested(shape, values, indent, summarize, formatter):
    """The text of nested lists; `...` stands where elements were left out."""
    if not shape:
        return formatter.format(values)
    edge = PRINT_OPTS.edgeitems
    cut = summarize and shape[0] > 2 * edge
    if len(shape) == 1:
        per_line = max(1, (PRINT_OPTS.linewidth - indent) // (formatter.width + 2))
        data = [formatter.format(v) for v in values]
        if summarize and not edge:
            data = ["..."]
        elif cut:
            data.insert(edge, " ...")
        lines = [", ".join(data[i:i + per_line]) for i in range(0, len(data), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    rows = [_nested(shape[1:], v, indent + 1, summarize, formatter) for v in values]
    if cut:
        rows.insert(edge, "...")
    return "[" + ("," + "\n" * (len(shape) - 1) + " " * (indent + 1)).join(rows) + "]"


def _grad_fn_name(t):
    node = t.grad_fn
    if node is None:
        return None
    name = getattr(node, "name", None)
    return name().rpartition("::")[2] if callable(name) else type(node).__name__


def _add_suffixes(text, suffixes, indent):
    parts = [text]
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > PRINT_OPTS.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            used += len(suffix) + 2
    return "".join(parts) + ")"


def _str(tensor):
    """The text of a tensor: repr(tensor) and str(tensor)."""
    kind = type(tensor)
    plain = kind is _C.Tensor or kind.__name__ in ("Parameter", "Buffer") and kind.__module__.endswith("nn.parameter")
    prefix = "tensor(" if plain else kind.__name__ + "("
    suffixes = []
    if tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    dtype = tensor.dtype
    default = _C.get_default_dtype()
    with _C.no_grad():
        t = tensor.detach()
        if t.numel() == 0:
            if t.dim() != 1:
                suffixes.append(f"size={tuple(t.shape)}")
            if dtype != default:
                suffixes.append(f"dtype={dtype}")
            text = "[]"
        else:
            if not PRINT_OPTS.edgeitems:
                suffixes.append(f"size={tuple(t.shape)}")
            if dtype not in (default, _C.int64, _C.bool):
                suffixes.append(f"dtype={dtype}")
            summarize = t.numel() > PRINT_OPTS.threshold
            values = _values(t, summarize)
            formatter = _Formatter(list(_flat(values)), dtype.is_floating_point)
            text = _nested(tuple(t.shape), values, len(prefix), summarize, formatter)
    name = _grad_fn_name(tensor)
    if name is not None:
        suffixes.append(f"grad_fn=<{name}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _add_suffixes(prefix + text, suffixes, len(prefix))
