"""PyTorch's torch.backends.cuda: switches for products and attention on GPUs, remembered for those who read them."""
import contextlib

__all__ = ["cudnn_sdp_enabled", "enable_cudnn_sdp", "enable_flash_sdp", "enable_math_sdp", "enable_mem_efficient_sdp",
           "flash_sdp_enabled", "is_built", "math_sdp_enabled", "matmul", "mem_efficient_sdp_enabled", "sdp_kernel"]


class _Matmul:
    """Switches of matrix products."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False

    @property
    def allow_tf32(self):
        """True unless set_float32_matmul_precision is 'highest'."""
        from .. import _python_api
        return _python_api.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, value):
        from .. import _python_api
        _python_api.set_float32_matmul_precision("high" if value else "highest")

    @property
    def fp32_precision(self):
        return "tf32" if self.allow_tf32 else "ieee"

    @fp32_precision.setter
    def fp32_precision(self, value):
        if value not in ("ieee", "tf32", "none"):
            raise RuntimeError(f"fp32_precision must be 'ieee', 'tf32' or 'none', got {value!r}")
        self.allow_tf32 = value == "tf32"


matmul = _Matmul()
_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built():
    """Does this fireseed have its CUDA kernels?"""
    from .. import cuda
    return cuda.is_available()


def _pair(name):
    def enable(enabled):
        """Remembers the switch; fireseed has one attention kernel, which is exact and linear in memory."""
        _sdp[name] = bool(enabled)

    def is_enabled():
        """The switch as it was set."""
        return _sdp[name]
    return enable, is_enabled


enable_flash_sdp, flash_sdp_enabled = _pair("flash")
enable_mem_efficient_sdp, mem_efficient_sdp_enabled = _pair("mem_efficient")
enable_math_sdp, math_sdp_enabled = _pair("math")
enable_cudnn_sdp, cudnn_sdp_enabled = _pair("cudnn")


@contextlib.contextmanager
def sdp_kernel(enable_flash=True, enable_math=True, enable_mem_efficient=True, enable_cudnn=True):
    """Sets the switches of attention within a with block."""
    old = dict(_sdp)
    _sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _sdp.update(old)
