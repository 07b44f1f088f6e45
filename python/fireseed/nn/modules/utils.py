"""Small helpers for the arguments of layers."""


def _ntuple(n, name):
    def parse(x):
        if isinstance(x, (tuple, list)):
            return tuple(x)
        return (x,) * n

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t, n):
    """(a, b) -> (b, b, a, a) for n = 2: per-dimension amounts in the order F.pad wants them."""
    return tuple(x for x in reversed(t) for _ in range(n))


def consume_prefix_in_state_dict_if_present(state_dict, prefix):
    """Strips prefix ("module." of DistributedDataParallel) from the keys of state_dict and its _metadata, in place."""
    for entries in (state_dict, getattr(state_dict, "_metadata", {})):
        for key in list(entries):  # _metadata names the wrapped module itself "module"
            if key.startswith(prefix) or entries is not state_dict and key + "." == prefix:
                entries[key[len(prefix):]] = entries.pop(key)
