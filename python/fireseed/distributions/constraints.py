"""Constraints: which values a parameter may have, or a distribution may give."""

from __future__ import annotations

import fireseed as fs

__all__ = [
    "Constraint",
    "boolean",
    "dependent",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "less_than",
    "lower_cholesky",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "positive",
    "positive_definite",
    "positive_integer",
    "real",
    "real_vector",
    "simplex",
    "unit_interval",
]


class Constraint:
    """Base class: ``check(value)`` is a bool tensor with ``event_dim`` trailing dimensions less than value."""

    is_discrete = False
    event_dim = 0

    def check(self, value):
        raise NotImplementedError

    def __repr__(self):
        return type(self).__name__[1:] + "()"


class _Dependent(Constraint):
    """Depends on other parameters; not checked."""

    def check(self, value):
        raise ValueError("Cannot determine validity of dependent constraint")


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value):
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value):
        is_boolean = (value == 0) | (value == 1)
        return is_boolean.all(-1) & (value.sum(-1) == 1)


class _Real(Constraint):
    def check(self, value):
        return value == value  # not NaN


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value):
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _Bounded(Constraint):
    """Between bounds; each may be included or not."""

    def __init__(self, text, low=None, high=None, open_low=False, open_high=False, integer=False):
        self._text = text
        self.lower_bound, self.upper_bound = low, high
        self._open_low, self._open_high, self.is_discrete = open_low, open_high, integer

    def check(self, value):
        ok = value == value
        if self.lower_bound is not None:
            ok = ok & ((value > self.lower_bound) if self._open_low else (value >= self.lower_bound))
        if self.upper_bound is not None:
            ok = ok & ((value < self.upper_bound) if self._open_high else (value <= self.upper_bound))
        return ok & (value % 1 == 0) if self.is_discrete else ok

    def __repr__(self):
        return self._text


def greater_than(low):
    return _Bounded(f"GreaterThan(lower_bound={low})", low, open_low=True)


def greater_than_eq(low):
    return _Bounded(f"GreaterThanEq(lower_bound={low})", low)


def less_than(high):
    return _Bounded(f"LessThan(upper_bound={high})", high=high, open_high=True)


def interval(low, high):
    return _Bounded(f"Interval(lower_bound={low}, upper_bound={high})", low, high)


def half_open_interval(low, high):
    return _Bounded(f"HalfOpenInterval(lower_bound={low}, upper_bound={high})", low, high, open_high=True)


def integer_interval(low, high):
    return _Bounded(f"IntegerInterval(lower_bound={low}, upper_bound={high})", low, high, integer=True)


class independent(Constraint):
    """A constraint on elements, with their last ``count`` dimensions taken together."""

    def __init__(self, base, count):
        self.base_constraint = base
        self.reinterpreted_batch_ndims = count
        self.event_dim = base.event_dim + count
        self.is_discrete = base.is_discrete

    def check(self, value):
        ok = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        return ok.reshape(*ok.shape[: ok.dim() - n], -1).all(-1) if n else ok

    def __repr__(self):
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class multinomial(Constraint):
    """Counts that add up to ``upper_bound``."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound):
        self.upper_bound = upper_bound

    def check(self, value):
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)

    def __repr__(self):
        return f"Multinomial(upper_bound={self.upper_bound})"


class _PositiveDefinite(Constraint):
    """Symmetric matrices with a Cholesky factor."""

    event_dim = 2

    def check(self, value):
        symmetric = fs.isclose(value, value.mT, atol=1e-6).all(-1).all(-1)
        if not symmetric.all():
            return symmetric
        return fs.linalg.cholesky_ex(value).info == 0


class _LowerCholesky(Constraint):
    """Lower triangular matrices with a positive diagonal."""

    event_dim = 2

    def check(self, value):
        lower = (value.tril() == value).all(-1).all(-1)
        return lower & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


dependent = _Dependent()
boolean = _Boolean()
one_hot = _OneHot()
real = _Real()
real_vector = independent(real, 1)
simplex = _Simplex()
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
nonnegative_integer = _Bounded("IntegerGreaterThan(lower_bound=0)", 0, integer=True)
positive_integer = _Bounded("IntegerGreaterThan(lower_bound=1)", 1, integer=True)
positive_definite = _PositiveDefinite()
lower_cholesky = _LowerCholesky()
