"""QR factors and products of Householder reflectors."""
from .. import _C
from ..autograd.function import Function
from . import _common as c
from ._triangular import tri_solve

LinalgQR = c.result("linalg_qr", ("Q", "R"))
QR = c.result("qr", ("Q", "R"))
Geqrf = c.result("geqrf", ("a", "tau"))


class _QR(Function):
    @staticmethod
    def forward(ctx, a, mode):
        q, r = (c.tensor(x, a) for x in c.lapack("linalg.qr", "qr", a, mode=mode))
        ctx.save_for_backward(q, r)
        ctx.mode = mode
        return q, r

    @staticmethod
    def backward(ctx, gq, gr):
        # Walter and Lehmann, "Algorithmic differentiation of linear algebra functions", 2010. Columns of R beyond the
        # square part are R2 = Q'A2: their gradient goes to A2 as Q gR2, and to Q.
        q, r = ctx.saved_tensors
        m, n = q.shape[-2], r.shape[-1]
        if ctx.mode == "complete" and m > n:
            raise RuntimeError("linalg.qr: The QR decomposition is not differentiable when mode='complete' and "
                               f"nrows > ncols ({m} > {n}); use mode='reduced'")
        rest = None
        if n > m:
            g2 = gr[..., m:]
            rest, gq = q @ g2, gq + q @ r[..., m:] @ g2.mT
            r, gr = r[..., :m], gr[..., :m]
        x = (gr @ r.mT - q.mT @ gq).triu()
        sym = x + x.mT - x.diagonal(dim1=-2, dim2=-1).diag_embed()
        ga = tri_solve(r.mT, gq + q @ sym, False, left=False)
        return (ga if rest is None else _C.cat((ga, rest), -1)), None


def _qr(name, a, mode):
    c.at_least_matrix(name, a)
    c.floats(name, a)
    if mode == "r":
        if a.requires_grad and _C.is_grad_enabled():
            raise RuntimeError(f"{name}: The derivative depends on Q, which is not computed when mode='r'. Use "
                               "mode='reduced' instead")
        return a.new_empty(0), c.tensor(c.lapack(name, "qr", a, mode="r"), a)
    if mode not in ("reduced", "complete"):
        raise RuntimeError(f"{name} received unrecognized mode {mode!r} but expected one of 'reduced' (default), 'r', or "
                           "'complete'")
    return _QR.apply(a, mode)


@c.takes_out
def qr(A, mode="reduced"):
    """(Q, R) with A = Q R for (..., m, n), k = min(m, n): Q (..., m, k), R (..., k, n); (m, m), (m, n) if "complete"."""
    return LinalgQR(*_qr("linalg.qr", A, mode))


@c.takes_out
def qr_legacy(input, some=True):
    """torch.qr: (Q, R) reduced (some) or complete."""
    return QR(*_qr("qr", input, "reduced" if some else "complete"))


@c.takes_out
def geqrf(input):
    """(a, tau) of (..., m, n): R in a's upper triangle, the reflectors' vectors below it, their factors (..., k)."""
    c.at_least_matrix("geqrf", input, "input")
    c.floats("geqrf", input)
    h, tau = c.lapack("geqrf", "qr", input, mode="raw")
    return Geqrf(c.tensor(h.swapaxes(-1, -2), input), c.tensor(tau, input))


def _reflectors(name, a, tau):
    c.at_least_matrix(name, a, "input")
    c.floats(name, a)
    c.same_dtype(name, a, tau, "input and tau")
    if a.shape[-2] < a.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1], got shape "
                           f"{list(a.shape)}")
    if tau.dim() != a.dim() - 1 or tau.shape[:-1] != a.shape[:-2]:
        raise RuntimeError(f"{name}: Expected tau with one dimension less than input and its batch shape, got shapes "
                           f"{list(tau.shape)} and {list(a.shape)}")
    if tau.shape[-1] > a.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1], got shapes "
                           f"{list(a.shape)} and {list(tau.shape)}")


def _compact(a, tau):
    """V (..., m, k) and T (..., k, k) with H1 ... Hk = I - V T V': T = (I + diag(tau) triu(V'V, 1))^-1 diag(tau)."""
    k = tau.shape[-1]
    v = a[..., :k].tril(-1) + _C.eye(a.shape[-2], k, dtype=a.dtype, device=a.device)
    scale = tau.unsqueeze(-1)
    return v, tri_solve(scale * (v.mT @ v), tau.diag_embed(), True, True)


@c.takes_out
def householder_product(A, tau):
    """The first n columns of H1 ... Hk, reflectors I - tau v v' with v below A's diagonal; A (..., m, n), tau (..., k)."""
    _reflectors("linalg.householder_product", A, tau)
    v, t = _compact(A, tau)
    m, n = A.shape[-2:]
    return _C.eye(m, n, dtype=A.dtype, device=A.device) - v @ (t @ v[..., :n, :].mT)


@c.takes_out
def orgqr(input, input2):
    """The first n columns of the product of geqrf's reflectors (householder_product)."""
    return householder_product(input, input2)


@c.takes_out
def ormqr(input, tau, other, left=True, transpose=False):
    """Q C (left) or C Q, Q' for Q with transpose: Q (m, m) the product of all reflectors, C = other."""
    name = "ormqr"
    c.at_least_matrix(name, input, "input")
    c.at_least_matrix(name, other, "other")
    c.floats(name, input)
    rows = other.shape[-2 if left else -1]
    if rows < tau.shape[-1]:
        raise RuntimeError(f"{name}: other.shape[{-2 if left else -1}] must be greater than or equal to tau.shape[-1], got "
                           f"shapes {list(other.shape)} and {list(tau.shape)}")
    if rows != input.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{-2 if left else -1}] must be equal to input.shape[-2], got shapes "
                           f"{list(other.shape)} and {list(input.shape)}")
    if tau.shape[-1] > input.shape[-1]:
        raise RuntimeError(f"{name}: tau.shape[-1] must be less than or equal to input.shape[-1], got shapes "
                           f"{list(tau.shape)} and {list(input.shape)}")
    if input.dim() - tau.dim() != 1 or input.dim() != other.dim():
        raise RuntimeError(f"{name}: Expected tau with one dimension less than input, and other with as many as input, got "
                           f"{tau.dim()}, {other.dim()} and {input.dim()}")
    if tau.shape[:-1] != input.shape[:-2] or other.shape[:-2] != input.shape[:-2]:
        raise RuntimeError(f"{name}: Expected batch dimensions of tau and other to be equal to input.shape[:-2], got shapes "
                           f"{list(tau.shape)}, {list(other.shape)} and {list(input.shape)}")
    c.same_dtype(name, tau, input, "tau and input")
    c.same_dtype(name, other, input, "other and input")
    v, t = _compact(input, tau)
    t = t.mT if transpose else t
    return other - v @ (t @ (v.mT @ other)) if left else other - ((other @ v) @ t) @ v.mT
