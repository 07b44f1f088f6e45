"""Orthogonal matrices as a parametrization (Lezcano-Casado, "Trivializations for gradient-based optimization", 2019)."""
from ... import _C
from ...linalg import householder_product, matrix_exp, solve
from ...linalg._qr import geqrf
from ..modules.module import Module
from . import parametrize

_MAPS = ("matrix_exp", "cayley", "householder")


def _is_orthogonal(q):
    eps = 10.0 * q.shape[-2] * (2.0**-52 if q.dtype == _C.float64 else 2.0**-23)
    return _C.allclose(q.mT @ q, _C.eye(q.shape[-1], dtype=q.dtype, device=q.device), atol=eps)


def _make_orthogonal(a):
    """The Q of a tall matrix's QR decomposition with a positive diagonal of R."""
    x, tau = geqrf(a)
    return householder_product(x, tau) * x.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)


class _Orthogonal(Module):
    """X (..., n, k) to Q with orthonormal columns (rows, if n < k): a map of X's lower triangle, times `base` if any."""

    def __init__(self, weight, orthogonal_map, *, use_trivialization=True):
        super().__init__()
        self.shape, self.orthogonal_map = weight.shape, orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        transposed = x.shape[-2] < x.shape[-1]
        if transposed:
            x = x.mT
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            a = x.tril(-1)
            q = householder_product(a, 2 / (1 + (a * a).sum(-2)))
            q = q * x.diagonal(dim1=-2, dim2=-1).detach().trunc().unsqueeze(-2)  # 1 and -1
        else:
            x = x.tril()
            if n != k:
                x = _C.cat([x, x.new_zeros(*x.shape[:-1], n - k)], -1)
            a = x - x.mT  # skew-symmetric
            if self.orthogonal_map == "matrix_exp":
                q = matrix_exp(a)
            else:
                one = _C.eye(n, dtype=a.dtype, device=a.device)
                q = solve(one - 0.5 * a, one + 0.5 * a)
            q = q[..., :k]
        if "base" in self._buffers:
            q = self.base @ q
        return q.mT if transposed else q

    def right_inverse(self, q):
        """The X for an orthogonal q (a matrix that is not is made so by QR)."""
        if q.shape != self.shape:
            raise ValueError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape "
                             f"{q.shape}.")
        with _C.no_grad():
            transposed = q.shape[-2] < q.shape[-1]
            tall = q.mT if transposed else q
            n, k = tall.shape[-2:]
            if "base" not in self._buffers:
                if self.orthogonal_map != "householder":
                    raise NotImplementedError("It is not possible to assign to the matrix exponential or the Cayley "
                                              "parametrizations when use_trivialization=False.")
                a, tau = geqrf(tall)
                diagonal = a.diagonal(dim1=-2, dim2=-1)  # of R, made positive: 1 and -1 keep the signs
                diagonal.copy_(diagonal.sign() * _C.where(tau == 0, -1.0, 1.0).to(a.dtype))
                return a.mT if transposed else a
            if n != k:  # completed to a square orthogonal matrix
                more = _C.randn(*tall.shape[:-2], n, n - k, dtype=q.dtype, device=q.device)
                self.base = _make_orthogonal(_C.cat([tall, more], -1))
            else:
                self.base = tall.clone() if _is_orthogonal(tall) else _make_orthogonal(tall)
            start = _C.zeros_like(q)
            start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
            return start


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """Keeps module.<name> (..., m, n) orthogonal: orthonormal columns, or rows where m < n.

    orthogonal_map: "matrix_exp" (default of square ones), "cayley" or "householder"; use_trivialization multiplies by a
    fixed `base`, so that training starts from the present value.
    """
    weight = getattr(module, name, None)
    if not isinstance(weight, _C.Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] else "householder"
    if orthogonal_map not in _MAPS:
        raise ValueError('orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: '
                         f"{orthogonal_map}")
    return parametrize.register_parametrization(
        module, name, _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization), unsafe=True)
