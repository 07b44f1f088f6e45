"""summary: a table of a module's layers with their outputs and parameters."""
import math

from .. import _C

Tensor = _C.Tensor


class Summary:
    """What summary returns; printing it shows the table.

    `rows`: (name, class, output shape, parameters, multiply-adds), one a layer; `parameters`, `trainable`,
    `buffers` (numbers), `parameter_bytes`, `output_bytes` (of all layers' outputs, for this input), `multiply_adds`.
    """

    def __init__(self, rows, parameters, trainable, buffers, parameter_bytes, output_bytes):
        self.rows, self.parameters, self.trainable, self.buffers = rows, parameters, trainable, buffers
        self.parameter_bytes, self.output_bytes = parameter_bytes, output_bytes
        self.multiply_adds = sum(row[4] for row in rows)

    def __str__(self):
        heads = ("layer", "class", "output", "parameters", "multiply-adds")
        cells = [(name, kind, shape, f"{n:,}" if n else "-", f"{m:,}" if m else "-")
                 for name, kind, shape, n, m in self.rows]
        widths = [max(len(row[i]) for row in [heads, *cells]) for i in range(5)]
        lines = ["  ".join(cell.ljust(w) if i < 3 else cell.rjust(w)
                           for i, (cell, w) in enumerate(zip(row, widths))).rstrip() for row in [heads, *cells]]
        rule = "-" * max(len(line) for line in lines)
        frozen = self.parameters - self.trainable
        total = f"{self.parameters:,} parameters ({_size(self.parameter_bytes)})" + (
            f", {frozen:,} of them frozen" if frozen else "") + (f", {self.buffers:,} in buffers" if self.buffers else "")
        return "\n".join([lines[0], rule, *lines[1:], rule, total,
                          f"{self.multiply_adds:,} multiply-adds; outputs {_size(self.output_bytes)}"])

    __repr__ = __str__


def _size(n):
    for unit in ("bytes", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024
    return f"{n:.4g} GiB"


def _shape(output):
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, dict):
        return "{" + ", ".join(f"{k}: {_shape(v)}" for k, v in output.items()) + "}"
    if isinstance(output, (list, tuple)):
        return "[" + ", ".join(_shape(v) for v in output) + "]"
    return type(output).__name__


def _bytes(output):
    if isinstance(output, Tensor):
        return output.numel() * output.element_size()
    parts = output.values() if isinstance(output, dict) else output if isinstance(output, (list, tuple)) else ()
    return sum(_bytes(part) for part in parts)


def _multiply_adds(module, args, output):
    """Of the layers that do nearly all the work; 0 for others."""
    kind, weight = type(module).__name__, getattr(module, "weight", None)
    x = args[0] if args and isinstance(args[0], Tensor) else None
    if kind in ("RNN", "LSTM", "GRU") and x is not None:  # every matrix once a step and sample
        return x.numel() // x.shape[-1] * sum(p.numel() for p in module.parameters() if p.dim() == 2)
    if not isinstance(output, Tensor) or not isinstance(weight, Tensor):
        return 0
    if kind in ("Linear", "Bilinear") or kind.startswith("Conv") and "Transpose" not in kind:
        return output.numel() * math.prod(weight.shape[1:])
    if kind.startswith("ConvTranspose") and x is not None:  # each input element meets its group's filters
        return x.numel() * math.prod(weight.shape[1:])
    return 0


def _is_leaf(module):
    """A module that computes itself; MultiheadAttention uses its child's weights without calling it."""
    return not any(True for _ in module.children()) or type(module).__name__ == "MultiheadAttention"


def _shown(model, depth):
    """The modules that get a row, with their names: the leaves, and what lies at the depth at which to stop."""
    shown, inside = {}, set()
    for name, module in model.named_modules():
        if module in inside:
            continue
        if _is_leaf(module) or depth is not None and name and name.count(".") == depth - 1:
            shown[module] = name or type(module).__name__
            inside.update(module.modules())
    return shown


def _as_inputs(model, value):
    if isinstance(value, (tuple, list)) and value and all(isinstance(n, int) for n in value):
        like = next(model.parameters(), None)
        value = _C.zeros(*value, **({} if like is None else {"device": like.device, "dtype": like.dtype}))
    inputs = value if isinstance(value, (tuple, list)) else (value,)
    if not inputs or not all(isinstance(x, Tensor) for x in inputs):
        raise TypeError("summary: expected a tensor, a tuple of tensors or a shape, got "
                        f"{', '.join(type(x).__name__ for x in inputs) or 'nothing'}")
    return inputs


def summary(model, input, depth=None):
    """The layers of a model in the order in which they run on `input`, as a Summary (print it).

    input: a tensor, a tuple of them for several inputs, or a shape such as (1, 3, 32, 32), for which zeros are used.
    depth: how deep to look into nested modules; 1 shows the model's direct children. The model runs once in evaluation
    mode without gradients; modes, buffers and random generators stay as they were. Layers that run several times get a
    row each time; those that do not run come last. Shared parameters count once.
    """
    from ._snapshot import Snapshot
    if depth is not None and depth < 1:
        raise ValueError(f"summary: depth must be at least 1, got {depth}")
    inputs = _as_inputs(model, input)
    shown = _shown(model, depth)
    owner = {leaf: module for module in shown for leaf in module.modules() if _is_leaf(leaf)}
    rows, sizes, work, counted = [], [], dict.fromkeys(shown, 0), set()

    def add_row(module, shape):
        fresh = {id(p): p for p in module.parameters() if id(p) not in counted}
        counted.update(fresh)
        rows.append((shown[module], type(module).__name__, shape, sum(p.numel() for p in fresh.values()), work[module]))
        work[module] = 0

    def leaf_done(module, args, output):
        work[owner[module]] += _multiply_adds(module, args, output)

    def shown_done(module, args, output):
        ran.add(module)
        sizes.append(_bytes(output))
        add_row(module, _shape(output))

    ran, hooked = set(), [(m, m._hooked) for m in model.modules()]
    with Snapshot(model), _C.no_grad():
        model.eval()
        handles = [m.register_forward_hook(leaf_done) for m in owner]
        handles += [m.register_forward_hook(shown_done) for m in shown]
        try:
            model(*inputs)
        finally:
            for handle in handles:
                handle.remove()
            for module, was in hooked:
                module._hooked = was
    for module in shown:
        if module not in ran:
            add_row(module, "(not run)")
    for name, p in model.named_parameters():  # of modules that have children too
        if id(p) not in counted:
            counted.add(id(p))
            rows.append((name, "Parameter", str(tuple(p.shape)), p.numel(), 0))
    params = list(model.parameters())
    return Summary(rows, sum(p.numel() for p in params), sum(p.numel() for p in params if p.requires_grad),
                   sum(b.numel() for b in model.buffers()), sum(p.numel() * p.element_size() for p in params), sum(sizes))
