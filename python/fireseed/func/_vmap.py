"""vmap: a function of one sample, called for each sample of a batch."""
from .. import _C
from .._tree import flatten, unflatten


def _dims(dims, tree, what):
    """One dim (int or None) for each leaf of the tree; dims is an int, None, or nested like a prefix of the tree."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(flatten(tree)[0])
    if isinstance(tree, dict):
        if not isinstance(dims, dict) or set(dims) != set(tree):
            raise ValueError(f"vmap: {what} {dims!r} does not fit an argument with the keys {list(tree)}")
        return [d for key in tree for d in _dims(dims[key], tree[key], what)]
    if not isinstance(tree, (tuple, list)) or len(dims) != len(tree):
        raise ValueError(f"vmap: {what} {dims!r} does not have the structure of the inputs or outputs it is for")
    return [d for one, item in zip(dims, tree) for d in _dims(one, item, what)]


def vmap(func, in_dims=0, out_dims=0, randomness="error", *, chunk_size=None):
    """The function that maps func over a dimension of its tensor arguments: func is called once a sample.

    in_dims, out_dims: the mapped dimension, or None for what is the same for all (nested like the arguments, the
    results). Keyword arguments are mapped over dimension 0. randomness: 'same' gives every sample the random numbers of
    the first; 'different' and 'error' draw them one after another (random calls are not refused). chunk_size has no
    effect: the memory of one sample is used at a time.

    Results and gradients are those of PyTorch's vmap; the time grows with the batch, so code that can be written on
    whole batches should be.
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    def mapped(*args, **kwargs):
        leaves, structure = flatten((args, kwargs))
        if isinstance(in_dims, list):
            raise ValueError("vmap: in_dims is an int, None or a tuple as long as the arguments, not a list")
        dims = _dims(in_dims, args, "in_dims") + [0 if isinstance(x, _C.Tensor) else None
                                                  for x in flatten(kwargs)[0]]
        sizes = set()
        for k, (leaf, dim) in enumerate(zip(leaves, dims)):
            if dim is None:
                continue
            if not isinstance(leaf, _C.Tensor):
                raise ValueError(f"vmap: Got in_dim={dim} for an input of type {type(leaf).__name__}; only tensors can "
                                 "be mapped over: give None for it")
            if not -leaf.dim() <= dim < leaf.dim():
                raise ValueError(f"vmap: Got in_dim={dim} for an input of shape {tuple(leaf.shape)}, which has "
                                 f"{leaf.dim()} dimensions")
            dims[k] = dim % leaf.dim()
            sizes.add(leaf.shape[dim])
        if len(sizes) != 1:
            raise ValueError("vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                             f"{sorted(sizes)} for the mapped dimension" if sizes else
                             "vmap: at least one input must be mapped over: all in_dims are None")
        size = sizes.pop()
        if size == 0:
            raise ValueError("vmap: the mapped dimension is empty; the shape of the result is not known")
        state = _C.default_generator.get_state() if randomness == "same" else None
        rows, shape = [], None
        for i in range(size):
            if state is not None:
                _C.default_generator.set_state(state)
            row = [x if d is None else x.select(d, i) for x, d in zip(leaves, dims)]
            a, k = unflatten(structure, row)
            out = func(*a, **k)
            values, shape = flatten(out)
            for value in values:
                if not isinstance(value, _C.Tensor):
                    raise ValueError("vmap: the function must return tensors (or tuples, lists, dicts of them), got "
                                     f"{type(value).__name__}")
            rows.append(values)
        outs = _dims(out_dims, out, "out_dims")
        return unflatten(shape, [column[0] if d is None else _C.stack(column, d) for column, d in zip(zip(*rows), outs)])

    return mapped
