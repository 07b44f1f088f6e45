"""Nested tuples, lists, dicts and named tuples of tensors: taken apart into leaves and put together again."""


def flatten(tree):
    """(leaves, structure): unflatten(structure, leaves) gives the tree back. None is a leaf."""
    leaves = []
    return leaves, _walk(tree, leaves)


def _walk(tree, leaves):
    if isinstance(tree, dict):
        return type(tree), list(tree), [_walk(tree[k], leaves) for k in tree]
    if isinstance(tree, (tuple, list)):
        return type(tree), None, [_walk(item, leaves) for item in tree]
    leaves.append(tree)
    return None


def unflatten(structure, leaves):
    """The tree of this structure with these leaves (any iterable)."""
    return _build(structure, iter(leaves))


def _build(structure, leaves):
    if structure is None:
        return next(leaves)
    kind, keys, below = structure
    items = [_build(s, leaves) for s in below]
    if keys is not None:
        made = dict(zip(keys, items))
        return made if kind is dict else kind(made)
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def tree_map(function, tree, *others):
    """The tree with function applied to every leaf, and to the leaves of other trees of its structure beside it."""
    leaves, structure = flatten(tree)
    columns = [leaves]
    for other in others:
        more, theirs = flatten(other)
        if theirs != structure:
            raise ValueError("tree_map: the trees do not have the same structure")
        columns.append(more)
    return unflatten(structure, [function(*row) for row in zip(*columns)])
