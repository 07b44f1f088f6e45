"""Writes docs/support.md, the table of ops, dtypes and gradients, by calling every row of the op table: `make support`."""
import os
import sys
import warnings

sys.path.insert(0, os.path.dirname(__file__))
from op_table import ROWS  # noqa: E402
from op_table.core import materialise, tensors_of  # noqa: E402
from under_test import ALL, FLOAT, lib, resolve  # noqa: E402

PATH = os.path.join(os.path.dirname(__file__), os.pardir, "docs", "support.md")
HEAD = """# What is supported

Made by `make support` from the op table (`tests/op_table`): every op is called with every dtype. The CPU:

- `G` works, gradients too; `g` works, and the gradient cannot be differentiated again; `f` works (no gradient);
- `(f)` works, but no test compares its values in this dtype; empty: raises an error that says so.
"""
SHORT = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16", "int64": "i64", "int32": "i32",
         "int16": "i16", "int8": "i8", "uint8": "u8", "bool": "bool"}


def results(value):
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in results(v)]
    return [value] if isinstance(value, lib.Tensor) else []


def works(row, f, sample, dtype, order):
    """True where the call, and derivatives up to `order`, run."""
    try:
        args, kwargs, tensors = tensors_of(sample, materialise(sample, dtype), requires_grad=order > 0)
        outputs = [y for y in results(f(*args, **kwargs)) if order == 0 or y.requires_grad]
        if order == 0:
            return True
        inputs = [x for x in tensors if x.requires_grad]
        for _ in range(order):
            if not outputs or not inputs:
                return False
            gs = lib.autograd.grad([y.double().sum() for y in outputs], inputs, create_graph=True, allow_unused=True)
            outputs = [g for g in gs if g is not None and g.requires_grad]
            if not outputs:  # a constant gradient: its own is zero
                return any(g is not None for g in gs)
        return True
    except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError):
        return False


def cell(row, f, dtype):
    samples = row.samples[:6]
    if not any(works(row, f, s, dtype, 0) for s in samples):
        return ""
    if dtype in FLOAT and row.grad and not row.writes:
        for order in range(min(row.grad, 2), 0, -1):
            if any(works(row, f, s, dtype, order) for s in samples):
                return "Gg"[2 - order]
    return "f" if dtype in row.dtypes else "(f)"


def make():
    """The page as text."""
    families = {}
    for row in ROWS:
        families.setdefault(row.family, {}).setdefault(row.name, []).append(row)
    lines = [HEAD]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family, rows in families.items():
            lines += [f"## {family}", "", "| op | " + " | ".join(SHORT[d] for d in ALL) + " |",
                      "|---|" + "---|" * len(ALL)]
            for name, group in sorted(rows.items(), key=lambda r: r[0].lower()):
                best = []
                for dtype in ALL:
                    cells = [cell(row, resolve(row.name), dtype) for row in group]
                    best.append(max(cells, key=["", "(f)", "f", "g", "G"].index))
                lines.append(f"| `{name}` | " + " | ".join(best) + " |")
            lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    with open(PATH, "w") as file:
        file.write(make())
