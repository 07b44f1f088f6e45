"""Losses composed of other operations, and the old names of the reductions."""
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


def _reduce(loss, reduction, size_average=None, reduce=None):
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def _pair(name, input, target):
    """Broadcasts input and target as PyTorch does: with a warning, since it is seldom meant."""
    if input.shape != target.shape:
        warnings.warn(f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This "
                      "will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
                      stacklevel=4)


def mse_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """(input - target)^2, any shapes; reduction: mean, sum or none."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.shape != target.shape:
        _pair("mse_loss", input, target)
    if weight is not None:
        loss = _nn.mse_loss(input, target, reduction="none") * weight
        return loss.sum() / weight.expand_as(loss).sum() if reduction == "mean" else _reduce(loss, reduction)
    return _nn.mse_loss(input, target, reduction=reduction)


def l1_loss(input, target, size_average=None, reduce=None, reduction="mean", weight=None):
    """|input - target|."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.shape != target.shape:
        _pair("l1_loss", input, target)
    if weight is not None:
        loss = _nn.l1_loss(input, target, reduction="none") * weight
        return loss.sum() / weight.expand_as(loss).sum() if reduction == "mean" else _reduce(loss, reduction)
    return _nn.l1_loss(input, target, reduction=reduction)


def smooth_l1_loss(input, target, size_average=None, reduce=None, reduction="mean", beta=1.0):
    """0.5 d^2 / beta where |d| < beta, |d| - beta / 2 elsewhere, d = input - target."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.shape != target.shape:
        _pair("smooth_l1_loss", input, target)
    if beta == 0.0:
        return _nn.l1_loss(input, target, reduction=reduction)
    return _nn.smooth_l1_loss(input, target, reduction=reduction, beta=beta)


def huber_loss(input, target, reduction="mean", delta=1.0, weight=None):
    """0.5 d^2 where |d| < delta, delta (|d| - delta / 2) elsewhere."""
    if input.shape != target.shape:
        _pair("huber_loss", input, target)
    if weight is not None:
        loss = _nn.huber_loss(input, target, reduction="none", delta=delta) * weight
        return loss.sum() / weight.expand_as(loss).sum() if reduction == "mean" else _reduce(loss, reduction)
    return _nn.huber_loss(input, target, reduction=reduction, delta=delta)


def nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean"):
    """-input[target]: log-probabilities (N, C, *), int64 classes (N, *)."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    return _nn.nll_loss(input, target, weight, ignore_index=ignore_index, reduction=reduction)


def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction="mean",
                  label_smoothing=0.0):
    """-log softmax(input)[target]: logits (N, C, *); int64 classes (N, *) or probabilities (N, C, *)."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    return _nn.cross_entropy(input, target, weight, ignore_index=ignore_index, reduction=reduction,
                            label_smoothing=label_smoothing)


def binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """-(t log p + (1 - t) log(1 - p)), logarithms clamped at -100; probabilities and targets of one shape."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
                         "deprecated. Please ensure they have the same size.")
    return _nn.binary_cross_entropy(input, target, weight, reduction=reduction)


def binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None, reduction="mean",
                                     pos_weight=None):
    """binary_cross_entropy(sigmoid(input), target), computed stably; pos_weight multiplies the positive term."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    return _nn.binary_cross_entropy_with_logits(input, target, weight, reduction=reduction, pos_weight=pos_weight)


def kl_div(input, target, size_average=None, reduce=None, reduction="mean", log_target=False):
    """target (log target - input): log-probabilities against probabilities; batchmean divides by N."""
    if size_average is not None or reduce is not None:
        reduction = legacy_reduction(size_average, reduce)
    if reduction == "mean":
        warnings.warn("reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' "
                      "divides only by the batch size, and aligns with the KL div math definition.'mean' will be changed to "
                      "behave the same as 'batchmean' in the next major release.", stacklevel=2)
    loss = target.exp() * (target - input) if log_target else _C.xlogy(target, target) - target * input
    if reduction == "batchmean":
        loss = loss.sum()
        return loss / input.shape[0] if input.dim() else loss
    return _reduce(loss, reduction)


def poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
                     reduction="mean"):
    """exp(x) - t x (log_input) or x - t log(x + eps); full: plus Stirling's approximation of log t! where t > 1."""
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * math.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return _reduce(loss, reduction, size_average, reduce)


def gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction="mean"):
    """0.5 (log var + (input - target)^2 / var), var clamped to at least eps (without gradient)."""
    if not isinstance(var, _C.Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * _C.ones_like(input)
    elif int((var < 0).any()):
        raise ValueError("var has negative entry/entries")
    if var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = var.unsqueeze(-1)
        elif not (input.dim() == var.dim() and all(a == b or b == 1 for a, b in zip(input.shape, var.shape))):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    var = var.clone()
    with _C.no_grad():
        var.clamp_(min=eps)
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduce(loss, reduction)


def hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction="mean"):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    zeros = _C.zeros_like(input)
    loss = (_C.where(target != 1, (margin - input).clamp_min(0), zeros)
            + _C.where(target != -1, input, zeros))
    return _reduce(loss, reduction, size_average, reduce)


def cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """1 - cos for target 1, max(0, cos - margin) for target -1: (N, D), (N, D), (N)."""
    if target.dim() not in (0, 1) or input1.dim() != target.dim() + 1 or input2.dim() != target.dim() + 1:
        raise RuntimeError(f"cosine_embedding_loss: {target.dim()}D target tensor expects {target.dim() + 1}D input tensors, "
                           f"but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}.")
    eps = 1e-12
    dim = target.dim()
    cos = (input1 * input2).sum(dim) / (((input1 * input1).sum(dim) + eps) * ((input2 * input2).sum(dim) + eps)).sqrt()
    zeros = _C.zeros_like(cos)
    loss = _C.where(target == 1, 1 - cos, zeros) + _C.where(target == -1, (cos - margin).clamp_min(0), zeros)
    return _reduce(loss, reduction, size_average, reduce)


def margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction="mean"):
    """max(0, -target (input1 - input2) + margin)."""
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError("margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
                           f"{input1.size()}, input2: {input2.size()}, target: {target.size()} ")
    return _reduce((-target * (input1 - input2) + margin).clamp_min(0), reduction, size_average, reduce)


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """log(1 + exp(-target input)), targets 1 or -1."""
    return _reduce(_C.log1p((-target * input).exp()), reduction, size_average, reduce)


def multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction="mean"):
    """The mean over classes of the binary cross-entropy of logits: (N, C) or (C)."""
    loss = -(target * _nn.logsigmoid(input) + (1 - target) * _nn.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduce(loss.sum(-1) / input.shape[-1], reduction, size_average, reduce)


def multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction="mean"):
    """sum over wrong classes of max(0, margin - x[target] + x)^p / C: (N, C), (N)."""
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    single = input.dim() < 2
    x, t = (input.reshape(1, -1), target.reshape(1)) if single else (input, target)
    if x.dim() != 2 or t.dim() != 1 or x.shape[0] != t.shape[0]:
        raise RuntimeError(f"multi_margin_loss: inconsistent shapes: input {list(input.shape)}, target {list(target.shape)}; "
                           "expected (N, C) and (N) or (C) and ()")
    t = t.unsqueeze(1)
    loss = (margin - x.gather(1, t) + x).clamp_min(0)
    loss = loss if p == 1 else loss * loss
    if weight is not None:
        loss = loss * weight.index_select(0, t.reshape(-1)).unsqueeze(1)
    mask = _C.ones_like(x.detach()).scatter_(1, t, 0.0)
    loss = (loss * mask).sum(1) / x.shape[1]
    return _reduce(loss[0] if single else loss, reduction, size_average, reduce)


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction="mean"):
    """sum over targets j and other classes i of max(0, 1 - x[j] + x[i]) / C; target rows end at the first -1."""
    single = input.dim() < 2
    x, t = (input.reshape(1, -1), target.reshape(1, -1)) if single else (input, target)
    if x.shape != t.shape or x.dim() != 2:
        raise RuntimeError(f"multilabel_margin_loss: inconsistent target size: {list(target.shape)} for input of size: "
                           f"{list(input.shape)}")
    valid = ((t < 0).to(_C.int64).cumsum(1) == 0)  # up to the first negative entry
    safe = _C.where(valid, t, _C.zeros_like(t))
    is_target = _C.zeros_like(x.detach()).scatter_add_(1, safe, valid.to(x.dtype)) > 0
    chosen = x.gather(1, safe)  # (N, C)
    terms = (1 - chosen.unsqueeze(2) + x.unsqueeze(1)).clamp_min(0)  # (N, targets, classes)
    mask = valid.unsqueeze(2) & ~is_target.unsqueeze(1)
    loss = (terms * mask.to(x.dtype)).sum((1, 2)) / x.shape[1]
    return _reduce(loss[0] if single else loss, reduction, size_average, reduce)


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None, reduce=None,
                        reduction="mean"):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm over the last dimension."""
    from .norm import pairwise_distance
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of dimensions, "
                           f"but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and negative {negative.dim()}D "
                           "inputs")
    d_pos = pairwise_distance(anchor, positive, p, eps)
    d_neg = pairwise_distance(anchor, negative, p, eps)
    if swap:
        d_neg = _C.minimum(d_neg, pairwise_distance(positive, negative, p, eps))
    return _reduce((margin + d_pos - d_neg).clamp_min(0), reduction, size_average, reduce)


def triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0, swap=False,
                                      reduction="mean"):
    """triplet_margin_loss with any distance function of two tensors."""
    from .norm import pairwise_distance
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance = pairwise_distance if distance_function is None else distance_function
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
        lp = log_probs[:t_len[b], b].index_select(1, _C.tensor(extended, dtype=_C.int64))  # (T, 2S + 1)
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
        losses.append(lp[0, 0] * 0 + math.inf if float(top) == -math.inf else -((last - top).exp().sum().log() + top))
    loss = _C.stack(losses)
    if zero_infinity:
        loss = _C.where(loss == math.inf, _C.zeros_like(loss), loss)
    if reduction == "mean":
        return (loss / _C.tensor([float(max(s, 1)) for s in s_len], dtype=loss.dtype)).mean()
    return _reduce(loss[0] if single and reduction == "none" else loss, reduction)
