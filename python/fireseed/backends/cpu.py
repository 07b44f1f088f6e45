"""PyTorch's torch.backends.cpu."""

__all__ = ["get_cpu_capability"]


def get_cpu_capability():
    """The instruction set of the kernels in use, in PyTorch's words: 'AVX512', 'AVX2', 'DEFAULT', …"""
    from .. import _C

    return {"v4": "AVX512", "v3": "AVX2"}.get(_C._isa(), "DEFAULT")
