"""PyTorch's torch.utils._pytree, as far as scripts use it: nested containers taken apart and put together."""
from .._tree import flatten, tree_map, unflatten

__all__ = ["TreeSpec", "tree_all", "tree_any", "tree_flatten", "tree_iter", "tree_leaves", "tree_map", "tree_map_only",
           "tree_unflatten"]


class TreeSpec:
    """The structure of a tree; num_leaves: how many leaves it has."""

    def __init__(self, structure, num_leaves):
        self.structure, self.num_leaves = structure, num_leaves

    def __eq__(self, other):
        return isinstance(other, TreeSpec) and self.structure == other.structure

    __hash__ = None


def tree_flatten(tree):
    """(leaves, TreeSpec)."""
    leaves, structure = flatten(tree)
    return leaves, TreeSpec(structure, len(leaves))


def tree_unflatten(leaves, treespec):
    """The tree with these leaves; ValueError if there are not as many as the structure has."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten: {len(leaves)} leaves for a structure of {treespec.num_leaves}")
    return unflatten(treespec.structure, leaves)


def tree_leaves(tree):
    """The leaves, in order."""
    return flatten(tree)[0]


def tree_iter(tree):
    """An iterator over the leaves."""
    return iter(flatten(tree)[0])


def tree_map_only(kinds, func, tree):
    """The tree with func applied to the leaves of a type, or of a tuple of types."""
    return tree_map(lambda leaf: func(leaf) if isinstance(leaf, kinds) else leaf, tree)


def tree_any(pred, tree):
    """Does pred hold for some leaf?"""
    return any(pred(leaf) for leaf in flatten(tree)[0])


def tree_all(pred, tree):
    """Does pred hold for all leaves?"""
    return all(pred(leaf) for leaf in flatten(tree)[0])
