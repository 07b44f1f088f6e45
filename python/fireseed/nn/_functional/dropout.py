"""Dropout as it was first published, scaled at test time."""
from ... import _C


def original_dropout(input, p=0.5, training=True, inplace=False):
    """Zeroes elements with probability p in training; multiplies all of them by 1 - p otherwise (Srivastava et al. 2014).

    `dropout` is the inverted form: it scales by 1 / (1 - p) in training and does nothing at test time. The expected
    output is the same up to the factor 1 - p, and with the same seed both drop the same elements. input: any shape,
    floating point. Raises ValueError if p is not in [0, 1].
    """
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    kept = _C.empty_like(input).bernoulli_(1.0 - p) if training else 1.0 - p
    return input.mul_(kept) if inplace else input * kept
