"""Losses composed of other operations, and the old arguments of reductions."""
import math
import warnings

from ... import _C
from . import _nn


def legacy_reduction(size_average, reduce):
    """The reduction that the deprecated arguments size_average and reduce mean."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    reduction = ("mean" if size_average else "sum") if reduce else "none"
    warnings.warn(f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
                  stacklevel=3)
    return reduction


def _reduce(loss, reduction):
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
                                      reduction="mean"):
    """triplet_margin_loss with any distance function of two tensors."""
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = _nn.pairwise_distance if distance_function is None else distance_function
    d_pos, d_neg = distance(anchor, positive), distance(anchor, negative)
    if swap:
        d_neg = _C.minimum(d_neg, distance(positive, negative))
    return _reduce((margin + d_pos - d_neg).clamp_min(0), reduction)


def ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    """Connectionist temporal classification (Graves et al. 2006), by the forward recursion in log space.

    log_probs: (T, N, C) or (T, C); targets: (N, S) padded or (sum of lengths); lengths: ints (N).
    """
    single = log_probs.dim() == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
        targets = targets.unsqueeze(0) if targets.dim() == 1 else targets
    as_list = lambda v: v.reshape(-1).tolist() if isinstance(v, _C.Tensor) else [v] if isinstance(v, int) else list(v)
    t_len, s_len = as_list(input_lengths), as_list(target_lengths)
    steps, n, _ = log_probs.shape
    if len(t_len) != n or len(s_len) != n:
        raise RuntimeError(f"ctc_loss: input_lengths and target_lengths must be of size batch_size {n}, got {len(t_len)} and "
                           f"{len(s_len)}")
    if max(t_len, default=0) > steps:
        raise RuntimeError(f"ctc_loss: Expected input_lengths to have value at most {steps}, but got value {max(t_len)}")
    flat = targets.dim() == 1
    rows, at = targets.tolist(), 0
    losses = []
    for b in range(n):
        labels = rows[at:at + s_len[b]] if flat else rows[b][:s_len[b]]
        at += s_len[b]
        extended = [blank]
        for label in labels:
            extended += [label, blank]
        own = log_probs[:t_len[b], b]  # (T, C)
        lp = own.index_select(1, _C.tensor(extended, dtype=_C.int64))  # (T, 2S + 1)
        width = len(extended)
        skip = [i > 1 and extended[i] != blank and extended[i] != extended[i - 2] for i in range(width)]
        low = _C.full((width,), -math.inf, dtype=lp.dtype)
        if t_len[b] == 0:
            losses.append(lp.sum() * 0 + (0.0 if not labels else math.inf))
            continue
        start = _C.tensor([i < 2 for i in range(width)])
        alpha = _C.where(start, lp[0], low)
        no_skip = _C.tensor([0.0 if s else -math.inf for s in skip], dtype=lp.dtype)
        for t in range(1, t_len[b]):
            one = _C.cat([low[:1], alpha[:-1]])
            two = (_C.cat([low[:2], alpha[:-2]]) if width > 2 else low) + no_skip
            stacked = _C.stack([alpha, one, two])
            top = stacked.detach().max(0)[0]
            top = _C.where(top == -math.inf, _C.zeros_like(top), top)
            total = (stacked - top).exp().sum(0)
            dead = total == 0
            alpha = _C.where(dead, low, _C.where(dead, _C.ones_like(total), total).log() + top) + lp[t]
        last = alpha[-2:] if width > 1 else alpha[-1:]
        top = last.detach().max()
        if float(top) == -math.inf:
            losses.append(lp[0, 0] * 0 + math.inf)
            continue
        # PyTorch's gradient is that of the scores behind log_softmax: it has a term exp(log_probs), added here to a zero.
        total = own.exp().sum()
        losses.append(total - total.detach() - ((last - top).exp().sum().log() + top))
    loss = _C.stack(losses)
    if zero_infinity:
        loss = _C.where(loss == math.inf, _C.zeros_like(loss), loss)
    if reduction == "mean":
        return (loss / _C.tensor([float(max(s, 1)) for s in s_len], dtype=loss.dtype)).mean()
    return _reduce(loss[0] if single and reduction == "none" else loss, reduction)
