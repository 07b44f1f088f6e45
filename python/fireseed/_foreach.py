"""torch._foreach_*: one operation over lists of tensors, as a loop (an optimizer's step is one op here without them)."""
from . import _C

_INPLACE_ONLY = {"zero": "zero_", "copy": "copy_"}


def foreach(name):
    """The function _foreach_<name> ("add", "mul_", "norm", …), or None where the tensors have no such method.

    Lists among the arguments go with the tensors one by one; everything else goes to each. In place (name_): returns
    None, as PyTorch's do; else a list of tensors.
    """
    method = getattr(_C.Tensor, name, None) or getattr(_C, name, None)
    if method is None:
        return None
    in_place = name.endswith("_")

    def run(tensors, *args, **kwargs):
        lists = [a for a in (*args, *kwargs.values()) if isinstance(a, (list, tuple))]
        if any(len(a) != len(tensors) for a in lists):
            raise RuntimeError(f"_foreach_{name}: Tensor lists must have the same number of tensors, got "
                               f"{len(tensors)} and {', '.join(str(len(a)) for a in lists)}")

        def pick(value, i):
            return value[i] if isinstance(value, (list, tuple)) else value

        out = [method(t, *(pick(a, i) for a in args), **{k: pick(v, i) for k, v in kwargs.items()})
               for i, t in enumerate(tensors)]
        return None if in_place else out

    run.__name__ = run.__qualname__ = "_foreach_" + name
    return run
