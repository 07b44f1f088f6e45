"""PyTorch's torch.functional: names of the top level under a second path."""
# ruff: noqa: F822
import fireseed as _fireseed

__all__ = ["atleast_1d", "atleast_2d", "atleast_3d", "block_diag", "broadcast_shapes", "broadcast_tensors",
           "cartesian_prod", "cdist", "chain_matmul", "einsum", "lu", "meshgrid", "norm", "pca_lowrank", "split",
           "svd_lowrank", "tensordot", "unique", "unique_consecutive", "unravel_index"]


def __getattr__(name):
    if name in __all__:
        return getattr(_fireseed, name)
    from ._namespaces import missing_attribute
    raise missing_attribute(__name__, name)
