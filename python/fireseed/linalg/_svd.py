"""Singular values, eigenvalues of symmetric matrices, and what is made of them: pseudoinverse, rank, least squares."""
from .. import _C
from ..autograd.function import Function
from . import _common as c
from ._solve import inv_ex

LinalgSVD = c.result("linalg_svd", ("U", "S", "Vh"))
SVD = c.result("svd", ("U", "S", "V"))
Eigh = c.result("linalg_eigh", ("eigenvalues", "eigenvectors"))
Lstsq = c.result("linalg_lstsq", ("solution", "residuals", "rank", "singular_values"))


class _SVD(Function):
    @staticmethod
    def forward(ctx, a, full_matrices):
        u, s, vh = (c.tensor(x, a) for x in c.lapack("linalg.svd", "svd", a, full_matrices=full_matrices))
        ctx.save_for_backward(u, s, vh)
        ctx.set_materialize_grads(False)
        return u, s, vh

    @staticmethod
    def backward(ctx, gu, gs, gvh):
        # Giles, 2008, section 3.4, with what leaves the column and row spaces; E_ij = s_j^2 - s_i^2.
        u, s, vh = ctx.saved_tensors
        k = s.shape[-1]
        m, n = u.shape[-2], vh.shape[-1]
        u, vh = u[..., :k], vh[..., :k, :]
        if gu is None and gvh is None:
            return (u * gs.unsqueeze(-2)) @ vh, None
        row, col = s.unsqueeze(-2), s.unsqueeze(-1)
        e = (row - col) * (row + col) + c.eye(k, s)
        inner, up, vp = 0, 0, 0
        if gu is not None:
            gu = gu[..., :k]
            up = u.mT @ gu
            inner = (up - up.mT) / e * row
        if gvh is not None:
            gv = gvh[..., :k, :].mT
            vp = vh @ gv
            inner = inner + col * ((vp - vp.mT) / e)
        if gs is not None:
            inner = inner + gs.diag_embed()
        ga = u @ inner
        if m > k and gu is not None:
            ga = ga + (gu - u @ up) / row
        ga = ga @ vh
        if n > k and gvh is not None:
            ga = ga + (u / row) @ (gv.mT - vp.mT @ vh)
        return ga, None


def _svd(name, a, full_matrices):
    c.at_least_matrix(name, a)
    c.floats(name, a)
    return _SVD.apply(a, full_matrices)


def _no_driver(name, driver):
    if driver is not None:
        raise RuntimeError(f"{name}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend.")


@c.takes_out
def svd(A, full_matrices=True, *, driver=None):
    """(U, S, Vh) with A = U diag(S) Vh for (..., m, n); S (..., k) descends; U (..., m, k), Vh (..., k, n) if not full."""
    _no_driver("torch.linalg.svd", driver)
    return LinalgSVD(*_svd("linalg.svd", A, full_matrices))


@c.takes_out
def svdvals(A, *, driver=None):
    """Singular values (..., k) of (..., m, n), in descending order."""
    _no_driver("torch.linalg.svdvals", driver)
    return _svdvals("linalg.svdvals", A)


def _svdvals(name, a):
    if a.requires_grad and _C.is_grad_enabled():
        return _svd(name, a, False)[1]
    c.at_least_matrix(name, a)
    c.floats(name, a)
    return c.tensor(c.lapack(name, "svd", a, compute_uv=False), a)


@c.takes_out
def svd_legacy(input, some=True, compute_uv=True):
    """torch.svd: (U, S, V) with V not transposed; zeros for U and V without compute_uv."""
    if compute_uv:
        u, s, vh = _svd("svd", input, not some)
        return SVD(u, s, vh.mT)
    s = _svdvals("svd", input)
    m, n = input.shape[-2:]
    return SVD(input.new_zeros(*input.shape[:-2], m, m), s, input.new_zeros(*input.shape[:-2], n, n))


class _Eigh(Function):
    @staticmethod
    def forward(ctx, a, uplo):
        values, vectors = (c.tensor(x, a) for x in c.lapack("linalg.eigh", "eigh", a, UPLO=uplo))
        ctx.save_for_backward(values, vectors)
        ctx.set_materialize_grads(False)
        return values, vectors

    @staticmethod
    def backward(ctx, gl, gv):
        values, v = ctx.saved_tensors
        if gv is None:
            return (v * gl.unsqueeze(-2)) @ v.mT, None
        e = values.unsqueeze(-2) - values.unsqueeze(-1)
        off = 1 - c.eye(values.shape[-1], values)
        inner = (v.mT @ gv) * off / (e + (1 - off))
        if gl is not None:
            inner = inner + gl.diag_embed()
        return v @ inner @ v.mT, None


def _eigh(name, a, uplo):
    c.square(name, a)
    c.floats(name, a)
    if uplo not in ("L", "U", "l", "u"):
        raise RuntimeError(f"{name}: Expected UPLO argument to be 'L' or 'U', but got {uplo}")
    return a, uplo.upper()


@c.takes_out
def eigh(A, UPLO="L"):
    """(eigenvalues ascending (..., n), eigenvectors in columns) of symmetric (..., n, n); one triangle is read."""
    return Eigh(*_Eigh.apply(*_eigh("linalg.eigh", A, UPLO)))


@c.takes_out
def eigvalsh(A, UPLO="L"):
    """Eigenvalues (..., n), ascending, of symmetric matrices (..., n, n); one triangle is read."""
    a, uplo = _eigh("linalg.eigvalsh", A, UPLO)
    if a.requires_grad and _C.is_grad_enabled():
        return _Eigh.apply(a, uplo)[0]
    return c.tensor(c.lapack("linalg.eigvalsh", "eigvalsh", a, UPLO=uplo), a)


def eig(A, *, out=None):
    """Eigenvalues of general matrices are complex, which fireseed has not."""
    raise NotImplementedError("linalg.eig: eigenvalues of a general matrix are complex, and complex tensors are not part of "
                              "fireseed; for symmetric matrices use linalg.eigh")


def eigvals(A, *, out=None):
    """Eigenvalues of general matrices are complex, which fireseed has not."""
    raise NotImplementedError("linalg.eigvals: eigenvalues of a general matrix are complex, and complex tensors are not part "
                              "of fireseed; for symmetric matrices use linalg.eigvalsh")


# --- Tolerances: singular values below max(atol, rtol * the largest) count as zero --------------------------------

def _threshold(name, a, largest, atol, rtol):
    """The bound (..., 1) for singular values of a whose largest are (..., 1)."""
    for key, value in (("atol", atol), ("rtol", rtol)):
        if isinstance(value, _C.Tensor) and not (value.is_floating_point() or value.dtype == _C.int64):
            raise RuntimeError(f"{name}: {key} tensor of {value.dtype} is not supported")
    if rtol is None:
        default = c.epsilon(a.dtype) * max(a.shape[-2:])
        if isinstance(atol, _C.Tensor):
            rtol = _C.where(atol > 0, 0.0, default)
        else:
            rtol = 0.0 if atol is not None and atol > 0 else default
    atol = 0.0 if atol is None else atol
    atol, rtol = (t.detach().unsqueeze(-1) if isinstance(t, _C.Tensor) else t for t in (atol, rtol))
    bound = rtol * largest.detach()
    return _C.maximum(bound, atol.to(bound.dtype)) if isinstance(atol, _C.Tensor) else bound.clamp(min=atol)


@c.takes_out
def matrix_rank(A, tol=None, hermitian=False, *, atol=None, rtol=None):
    """Number of singular values (of eigenvalues' sizes, if hermitian) above max(atol, rtol * largest): (...) int64."""
    c.at_least_matrix("linalg.matrix_rank", A)
    if tol is not None:
        atol, rtol = tol, 0.0
    a = A.detach()
    if hermitian:
        c.square("linalg.matrix_rank", A)
        s = eigvalsh(a).abs()
    else:
        s = _svdvals("linalg.matrix_rank", a)
    if s.numel() == 0:
        return _C.zeros(s.shape[:-1], dtype=_C.int64, device=A.device)
    return (s > _threshold("linalg.matrix_rank", a, s.amax(-1, True), atol, rtol)).sum(-1)


def pinv_gradient(g, p, a):
    """Gradient of A for the pseudoinverse p of a, given that of p (Golub and Pereyra, 1973)."""
    gt, pt = g.mT, p.mT
    if a.shape[-2] <= a.shape[-1]:
        k = gt @ p
        kp = k @ pt
        return -(p @ k).mT + kp - (a @ p) @ kp + (pt @ p) @ (gt - k @ a)
    k = p @ gt
    pk = pt @ k
    return -(k @ p).mT + (gt - a @ k) @ p @ pt + pk - (pk @ p) @ a


class _Pinv(Function):
    @staticmethod
    def forward(ctx, a, p):
        p = p.view_as(p)
        ctx.save_for_backward(a, p)
        return p

    @staticmethod
    def backward(ctx, g):
        a, p = ctx.saved_tensors
        return pinv_gradient(g, p, a), None


def pinv(A, rcond=None, hermitian=False, *, atol=None, rtol=None, out=None):
    """Pseudoinverse (..., n, m) of (..., m, n); singular values up to max(atol, rtol * the largest) count as zero."""
    name = "linalg.pinv"
    c.at_least_matrix(name, A)
    c.floats(name, A)
    rtol = rcond if rtol is None else rtol
    a = A.detach()
    if hermitian:
        c.square(name, A)
        values, u = eigh(a)
        s, vt = values.abs(), u.mT
    else:
        u, s, vt = svd(a, full_matrices=False)
        values = s
    if a.numel() == 0:
        p = a.mT.contiguous()
    else:
        keep = s > _threshold(name, a, s.amax(-1, True), atol, rtol)
        p = (vt.mT * _C.where(keep, 1 / values, 0.0).unsqueeze(-2)) @ u.mT
    p = _Pinv.apply(A, p)
    return p if out is None else c._copy_out(name, p, out)


def pinverse(input, rcond=1e-15):
    """torch.pinverse: the pseudoinverse with singular values up to rcond * the largest taken as zero."""
    return pinv(input, rcond)


@c.takes_out
def cond(A, p=None):
    """Condition number (...) in the norm p: None or 2, -2 by singular values; 'fro', 'nuc', 1, -1, inf, -inf by the inverse."""
    name = "linalg.cond"
    c.at_least_matrix(name, A)
    c.floats(name, A)
    if p is None or p in (2, -2):
        if A.numel() == 0:
            return A.new_zeros(A.shape[:-2])
        s = svdvals(A)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    if p not in ("fro", "nuc", 1, -1, float("inf"), -float("inf")):
        raise RuntimeError(f"{name} got an invalid norm type: {p}")
    c.square(name, A)
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2])
    from . import matrix_norm
    inverse, info = inv_ex(A)
    result = matrix_norm(A, p) * matrix_norm(inverse, p)
    return result.masked_fill(info != 0, float("inf")) if info.any() else result


def singular_value_norm(A, ord, dim, keepdim=False):
    """Matrix norms of singular values over the two dimensions dim: 'nuc' their sum, 2 the largest, -2 the smallest."""
    rows, cols = (d % A.dim() for d in dim)
    s = _svdvals("linalg.matrix_norm", A.movedim((rows, cols), (-2, -1)))
    if ord == "nuc" or (ord > 0 and s.shape[-1] == 0):
        value = s.sum(-1)
    else:
        value = s.amax(-1) if ord > 0 else s.amin(-1)
    if keepdim:
        for d in sorted((rows, cols)):
            value = value.unsqueeze(d)
    return value


# --- Least squares ---------------------------------------------------------------------------------------------------

class _Lstsq(Function):
    @staticmethod
    def forward(ctx, a, b, x):
        ctx.save_for_backward(a, b)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        p = pinv(a)
        return pinv_gradient(g @ b.mT, p, a), p.mT @ g, None


@c.takes_out
def lstsq(A, B, rcond=None, *, driver=None):
    """(solution, residuals, rank, singular_values) of min |A X - B| for A (..., m, n), B (..., m, k) or (..., m).

    As PyTorch's drivers do: residuals where m > n and all ranks are n (not gelsy), rank unless gels, singular_values of
    gelsd and gelss; otherwise empty. All of them go through the singular values, and give the shortest X.
    """
    name = "torch.linalg.lstsq"
    c.at_least_matrix(name, A, "input")
    c.floats(name, A)
    if B.dim() < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    c.same_dtype(name, A, B, "input and other")
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    driver = driver or "gelsy"
    vector = A.dim() - 1 == B.dim() and A.shape[:-1] == B.shape
    b = B.unsqueeze(-1) if vector else B
    if b.dim() < 2 or A.shape[-2] != b.shape[-2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size({-1 if vector else -2}), got shapes "
                           f"{list(A.shape)} and {list(B.shape)}")
    a, b = c.broadcast_batch(A, b)
    m, n = a.shape[-2:]
    u, s, vt = svd(a.detach(), full_matrices=False)
    batch = a.shape[:-2]
    if s.shape[-1] == 0:
        rank = _C.zeros(batch, dtype=_C.int64, device=A.device)
        x = b.new_zeros(*batch, n, b.shape[-1])
    else:
        rtol = 0.0 if driver == "gels" else rcond
        keep = s > _threshold(name, a, s[..., :1], None, rtol)
        rank = keep.sum(-1)
        x = vt.mT @ (_C.where(keep, 1 / s, 0.0).unsqueeze(-1) * (u.mT @ b.detach()))
    x = _Lstsq.apply(a, b, x)
    residuals = x.flatten()[:0]
    if m > n and driver != "gelsy" and (driver == "gels" or bool((rank == n).all())):
        residuals = (a @ x - b).square().sum(-2)
    return Lstsq(x.squeeze(-1) if vector else x, residuals.squeeze(-1) if vector and residuals.numel() else residuals,
                 rank if driver != "gels" else rank.new_empty(0),
                 s if driver in ("gelsd", "gelss") else a.new_empty(0))


