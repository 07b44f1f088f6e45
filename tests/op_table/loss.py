# Rows of the losses.
import numpy as np
from scipy import special as sp

from .core import E, S, i, row, t

fn = "nn.functional."
WIDE = ("float64", "float32")
PROB = {"lo": 0.05, "hi": 0.95}


def reduced(f):
    """f gives the loss of every element; adds PyTorch's `reduction`."""

    def ref(*args, reduction="mean", **kw):
        y = f(*args, **kw)
        return {"none": y, "sum": y.sum(), "mean": y.mean()}[reduction]

    return ref


def three(x, y, **kw):
    """The three reductions on one pair of tensors."""
    return [S(x, y, reduction=r, **kw) for r in ("none", "sum", "mean")] + [S(x, y, **kw)]


def elementwise(name, f, x=None, y=None, extra=(), **fields):
    x, y = x or {}, y or {}
    fields.setdefault("tol", 4)
    fields.setdefault("gtol", 2)
    row(
        fn + name,
        reduced(f),
        three(t(3, 4, **x), t(3, 4, **y)) + list(extra),
        big=S(t(301, 402, **x), t(301, 402, **y)),
        **fields,
    )


elementwise(
    "mse_loss",
    lambda x, y: (x - y) ** 2,
    errors=[E(RuntimeError, ("3", "4"), t(2, 3), t(2, 4)), E(ValueError, "", t(3), t(3), reduction="men")],
)
elementwise("l1_loss", lambda x, y: np.abs(x - y), x={"hi": -0.1}, y={"lo": 0.1})


def smooth_l1(x, y, beta=1.0):
    d = np.abs(x - y)
    return np.where(d < beta, d * d / (2 * beta) if beta else d, d - beta / 2)


elementwise("smooth_l1_loss", smooth_l1, extra=[S(t(3, 4), t(3, 4), beta=0.3)], gtol=4)
elementwise(
    "huber_loss",
    lambda x, y, delta=1.0: np.where(
        np.abs(x - y) < delta, (x - y) ** 2 / 2, delta * (np.abs(x - y) - delta / 2)
    ),
    extra=[S(t(3, 4), t(3, 4), delta=0.4)],
)
elementwise("soft_margin_loss", lambda x, y: np.logaddexp(0, -x * y), y={"grad": False})
elementwise(
    "kl_div",
    lambda x, y: sp.xlogy(y, y) - y * x,
    y=PROB,
    extra=[S(t(3, 4), t(3, 4, lo=-3, hi=-0.1), log_target=True)][:0],
)
row(
    fn + "kl_div",
    lambda x, y, log_target, reduction: (np.exp(y) * (y - x)).sum() / x.shape[0],
    [S(t(3, 4), t(3, 4), log_target=True, reduction="batchmean")],
    tol=4,
    gtol=2,
    covers="kl_div_log",
)
elementwise("poisson_nll_loss", lambda x, y: np.exp(x) - y * x, y={"lo": 0.1, "hi": 3, "grad": False})
elementwise(
    "hinge_embedding_loss",
    lambda x, y, margin=1.0: np.where(y == 1, x, np.maximum(0, margin - x)),
    x={"hi": 0.9, "away": (0,)},
    y={"fill": None, "grad": False, "lo": -1, "hi": -1},
    dtypes=WIDE,
)


def bce(x, y, weight=None):
    z = -(y * np.maximum(np.log(x), -100) + (1 - y) * np.maximum(np.log1p(-x), -100))
    return z if weight is None else z * weight


def bce_logits(x, y, weight=None, pos_weight=None):
    p = 1 if pos_weight is None else pos_weight
    z = (1 - y) * x + (1 + (p - 1) * y) * np.logaddexp(0, -x)
    return z if weight is None else z * weight


elementwise(
    "binary_cross_entropy",
    bce,
    x=PROB,
    y=PROB,
    extra=[
        S(t(3, 4, **PROB), t(3, 4, grad=False, **PROB), t(4, lo=0.5, grad=False)),
        S(t(2, fill=[0.0, 1.0], grad=False), t(2, fill=[1.0, 1.0], grad=False)),
    ],
    dtypes=WIDE,
    covers="bce_loss",
    errors=[
        E((ValueError, RuntimeError), "", t(3, **PROB), t(4, **PROB)),
        E(RuntimeError, "", t(3, fill=[2.0, 0.5, 0.1]), t(3, **PROB)),
    ],
)
elementwise(
    "binary_cross_entropy_with_logits",
    bce_logits,
    y=PROB,
    covers="bce_with_logits_loss",
    extra=[
        S(t(3, 4), t(3, 4, **PROB), pos_weight=t(4, lo=0.5, grad=False)),
        S(t(3, 4), t(3, 4, **PROB), t(4, lo=0.5, grad=False)),
        S(t(2, fill=[90.0, -90.0]), t(2, fill=[0.0, 1.0], grad=False)),
    ],
    errors=[E(ValueError, ("3", "4"), t(3), t(4))],
)


def nll(logp, target, weight=None, ignore_index=-100, reduction="mean"):
    n, c = (logp.shape + (1,))[:2] if logp.ndim > 1 else (1, logp.shape[0])
    if logp.ndim == 1:
        y = nll(logp[None], np.reshape(target, (1,)), weight, ignore_index, "none")[0]
        w = (1.0 if weight is None else weight[target]) if target != ignore_index else 0.0
        return y if reduction != "mean" else y / w
    w = np.ones(c) if weight is None else weight
    keep = target != ignore_index
    safe = np.where(keep, target, 0)
    y = -np.take_along_axis(logp, safe[:, None], 1)[:, 0] * w[safe] * keep
    with np.errstate(all="ignore"):
        return {"none": y, "sum": y.sum(), "mean": y.sum() / (w[safe] * keep).sum()}[reduction]


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    axis = 1 if x.ndim > 1 else 0
    logp = sp.log_softmax(x, axis=axis)
    c = x.shape[axis]
    if isinstance(target, np.ndarray) and target.dtype.kind == "f":
        q = target * (1 - label_smoothing) + label_smoothing / c
        w = np.ones(c) if weight is None else weight
        y = -(q * logp * w.reshape((-1,) + (1,) * (x.ndim - axis - 1))).sum(axis)
        return {"none": y, "sum": y.sum(), "mean": y.sum() / max(y.size, 1)}[reduction]
    hard = nll(logp, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return hard
    w = np.ones(c) if weight is None else weight
    keep = target != ignore_index
    smooth = -(logp * w.reshape((-1,) + (1,) * (x.ndim - axis - 1))).sum(axis) * keep
    total = {
        "none": smooth,
        "sum": smooth.sum(),
        "mean": smooth.sum() / (w[np.where(keep, target, 0)] * keep).sum(),
    }[reduction]
    return (1 - label_smoothing) * hard + label_smoothing / c * total


SKIP = i(fill=[0, -100, 2])
W4 = t(4, lo=0.3, hi=2, grad=False)
CLASS = [
    S(t(3, 4), i(3)),
    S(t(3, 4), i(3), reduction="none"),
    S(t(3, 4), i(3), reduction="sum"),
    S(t(3, 4), i(3), weight=W4),
    S(t(3, 4), SKIP),
    S(t(3, 4), SKIP, W4, reduction="none"),
    S(t(3, 4), i(fill=[1, 1, 2]), ignore_index=1),
    S(t(4), i()),
    S(t(2, 4, 3), i(2, 3)),
    S(t(2, 4, 2, 2), i(2, 2, 2), weight=W4),
]
BAD = [
    E(IndexError, ("{}", "4"), t(3, 4), i(fill=[0, 1, 4])),
    E(IndexError, ("{}", "-1"), t(3, 4), i(fill=[0, 1, -1])),
    E(ValueError, ("{}", "3", "2"), t(3, 4), i(2)),
    E(RuntimeError, ("{}",), t(3, 4), i(3), weight=t(3)),
]


def bad(name):
    return [
        E(e.error, tuple(w.format(name) for w in e.words), *e.sample.args, **e.sample.kwargs) for e in BAD
    ]


row(
    fn + "nll_loss",
    nll,
    CLASS,
    tol=4,
    errors=bad("nll_loss"),
    dtypes=WIDE + ("bfloat16",),
    big=S(t(3000, 40), i(3000, hi=40)),
)
row(
    fn + "cross_entropy",
    cross_entropy,
    CLASS
    + [
        S(t(3, 4), i(3), label_smoothing=0.2),
        S(t(3, 4), SKIP, W4, label_smoothing=0.1),
        S(t(2, 4, 3), i(2, 3), label_smoothing=0.3, reduction="none"),
    ],
    tol=4,
    gtol=2,
    errors=bad("cross_entropy"),
    dtypes=WIDE + ("bfloat16",),
    big=S(t(3000, 40), i(3000, hi=40)),
    covers="cross_entropy cross_entropy_backward",
)
row(
    fn + "cross_entropy",
    cross_entropy,
    [
        S(t(3, 4), t(3, 4, lo=0, hi=1)),
        S(t(3, 4), t(3, 4, lo=0, hi=1), W4, reduction="sum", label_smoothing=0.2),
        S(t(2, 4, 3), t(2, 4, 3, lo=0, hi=1), reduction="none"),
        S(t(4), t(4, lo=0, hi=1)),
    ],
    tol=4,
    gtol=2,
    dtypes=WIDE,
)
row(
    fn + "cross_entropy",
    cross_entropy,
    [S(t(2, 2, fill=[[1e4, 0], [-1e4, 0]], grad=False), i(fill=[0, 1])), S(t(2, 3), i(fill=[-100, -100]))],
    grad=1,
    gtol=np.inf,
    dtypes=WIDE,
)

# ---- margins
elem = {"tol": 4, "gtol": 2, "dtypes": WIDE}
ONES = t(3, fill=[1.0, -1.0, 1.0], grad=False)
for r in ("none", "sum", "mean"):
    row(
        fn + "margin_ranking_loss",
        reduced(lambda x, y, z, margin=0.0: np.maximum(0, -z * (x - y) + margin)),
        [S(t(3, lo=0.1), t(3, hi=-0.1), ONES, margin=0.3, reduction=r)],
        **elem,
    )
    row(
        fn + "triplet_margin_loss",
        reduced(
            lambda a, p, n, margin=1.0: np.maximum(
                0, np.linalg.norm(a - p + 1e-6, axis=-1) - np.linalg.norm(a - n + 1e-6, axis=-1) + margin
            )
        ),
        [S(t(3, 4), t(3, 4), t(3, 4), margin=9.0, reduction=r)],
        **elem,
    )
    row(
        fn + "cosine_embedding_loss",
        reduced(
            lambda x, y, z, margin=0.0: (lambda c: np.where(z > 0, 1 - c, np.maximum(0, c - margin)))(
                (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))
            )
        ),
        [S(t(3, 4), t(3, 4), ONES, margin=-0.9, reduction=r)],
        **elem,
    )
    row(
        fn + "gaussian_nll_loss",
        reduced(lambda x, y, v: (np.log(v) + (x - y) ** 2 / v) / 2),
        [S(t(3, 4), t(3, 4), t(3, 4, lo=0.5), reduction=r)],
        **elem,
    )
    row(
        fn + "multilabel_soft_margin_loss",
        reduced(lambda x, y: (y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)).mean(-1)),
        [S(t(3, 4), t(3, 4, grad=False, **PROB), reduction=r)],
        **elem,
    )
    row(
        fn + "multi_margin_loss",
        reduced(
            lambda x, y: (
                np.maximum(0, 1 - x[np.arange(len(y)), y][:, None] + x)
                * (np.arange(x.shape[1]) != y[:, None])
            ).mean(1)
        ),
        [S(t(3, 4), i(3), reduction=r)],
        **{**elem, "grad": 1},
    )


def ctc(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """Graves et al. (2006), forward variables; log_probs (T, N, C), targets (N, S)."""
    losses = []
    for n, (time, length) in enumerate(zip(input_lengths, target_lengths)):
        labels = [blank]
        for k in targets[n, :length]:
            labels += [int(k), blank]
        a = np.full(len(labels), -np.inf)
        a[:2] = log_probs[0, n, labels[:2]]
        for step in log_probs[1:time, n]:
            b = a.copy()
            b[1:] = np.logaddexp(b[1:], a[:-1])
            for s in range(2, len(labels)):
                if labels[s] != blank and labels[s] != labels[s - 2]:
                    b[s] = np.logaddexp(b[s], a[s - 2])
            a = b + step[labels]
        losses.append(-np.logaddexp(a[-1], a[-2]) if len(labels) > 1 else -a[-1])
    y = np.array(losses)
    if zero_infinity:
        y = np.where(np.isinf(y), 0, y)
    total = {"none": y, "sum": y.sum()}
    return total[reduction] if reduction in total else (y / np.maximum(target_lengths, 1)).mean()


LOGP = t(6, 2, 4, lo=-3, hi=0)
TARGETS = i(fill=[[1, 2, 2], [3, 1, 0]])
row(
    fn + "ctc_loss",
    ctc,
    [
        S(LOGP, TARGETS, i(fill=[6, 5]), i(fill=[3, 2])),
        S(LOGP, TARGETS, i(fill=[6, 5]), i(fill=[3, 2]), reduction="none"),
        S(LOGP, TARGETS, i(fill=[6, 1]), i(fill=[3, 2]), reduction="sum", zero_infinity=True),
    ],
    dtypes=WIDE,
    tol=4,
    grad=1,
    gtol=np.inf,
    why="PyTorch's gradient holds only for normalised log_probs",
)
