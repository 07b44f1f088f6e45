"""cuBLAS through ctypes: the yardstick of matrix products where there is no PyTorch."""
import ctypes

from .build import cublas

R_32F, R_16F, R_16BF = 0, 2, 14
COMPUTE_32F, COMPUTE_32F_FAST_TF32 = 68, 77
TYPES = {"f32": (R_32F, COMPUTE_32F), "tf32": (R_32F, COMPUTE_32F_FAST_TF32), "f16": (R_16F, COMPUTE_32F),
         "bf16": (R_16BF, COMPUTE_32F)}


class Cublas:
    """c = a b for row-major matrices given by their addresses."""

    def __init__(self, stream):
        place = cublas()
        if place is None:
            raise OSError("libcublas not found")
        self.library, self.handle = ctypes.CDLL(place), ctypes.c_void_p()
        self.check("cublasCreate", self.library.cublasCreate_v2(ctypes.byref(self.handle)))
        self.check("cublasSetStream", self.library.cublasSetStream_v2(self.handle, ctypes.c_void_p(stream)))
        self.one, self.zero = ctypes.c_float(1), ctypes.c_float(0)

    @staticmethod
    def check(name, status):
        if status != 0:
            raise RuntimeError(f"{name}: status {status}")

    def matmul(self, dtype, a, b, c, m, n, k):
        # Column-major, as cuBLAS has it: c^T = b^T a^T.
        kind, compute = TYPES[dtype]
        p = ctypes.c_void_p
        self.check("cublasGemmEx", self.library.cublasGemmEx(
            self.handle, 0, 0, n, m, k, ctypes.byref(self.one), p(b), kind, n, p(a), kind, k, ctypes.byref(self.zero),
            p(c), kind, n, compute, -1))
