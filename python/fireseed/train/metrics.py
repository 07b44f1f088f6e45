"""Metrics: functions of a batch's output and target that return one number, averaged over the samples of an epoch."""


def accuracy(output, target):
    """The fraction of right answers.

    output (N, C, *) of scores and target (N, *) of classes; or both of one shape: scores above 0 mean class 1
    (logits), unless all lie in [0, 1], when the limit is 0.5.
    """
    output = output.detach()
    if output.dim() == target.dim() + 1:
        return (output.argmax(1) == target).float().mean().item()
    if tuple(output.shape) != tuple(target.shape):
        raise ValueError(f"accuracy: output of shape {tuple(output.shape)} does not go with a target of shape "
                         f"{tuple(target.shape)}; expected scores (N, C, *) and classes (N, *), or equal shapes")
    limit = 0.5 if output.numel() and float(output.min()) >= 0 and float(output.max()) <= 1 else 0.0
    return ((output > limit) == (target > 0.5)).float().mean().item()


def mean_absolute_error(output, target):
    """The mean of |output - target|."""
    return (output.detach() - target).abs().mean().item()


def mean_squared_error(output, target):
    """The mean of (output - target)^2."""
    d = output.detach() - target
    return (d * d).mean().item()


NAMED = {"accuracy": accuracy, "mae": mean_absolute_error, "mse": mean_squared_error}


def resolve(metrics):
    """Names, functions or a dict of functions as a dict of functions."""
    if isinstance(metrics, dict):
        return dict(metrics)
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    out = {}
    for metric in metrics or ():
        if callable(metric):
            out[getattr(metric, "__name__", "metric")] = metric
        elif metric in NAMED:
            out[metric] = NAMED[metric]
        elif metric != "loss":  # the loss is always there
            raise ValueError(f"unknown metric {metric!r}; there are {', '.join(NAMED)}, or pass a function")
    return out
