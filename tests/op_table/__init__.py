# The op table: one row per op. Everything in tests/test_ops.py is a loop over ROWS.
#
# How to add an op: one line in the file of its family.
#
#   unary("exp", np.exp, out="float")                        pointwise, one tensor
#   binary("maximum", np.maximum, dtypes=ALL)                pointwise, two tensors
#   row("softmax", softmax_ref, [S(t(3, 4), dim=1)])         anything else: samples are given
#
# A row is Row(...) of core.py; its fields are documented there. The most used ones:
#   name      the function's path: "softmax", "nn.functional.gelu", "Tensor.expand"
#   ref       the reference: the same arguments with numpy arrays (float64, int64 or bool) for the tensors
#   samples   S(*args, **kwargs); tensors are specs: t(3, 4) float, i(5, hi=3) indices, b(2, 3) mask;
#             t(..., distinct=True) for ops that compare values, away=(0,) keeps them off a kink
#   dtypes    what the op takes for its t() inputs: FLOAT (default), NUM, ALL or a tuple of names
#   out       result dtype: "same" (default), "float", "bool", "int64", "sum"; a tuple for several results
#   also      other paths that must give the same: also="Tensor.softmax nn.functional.softmax"
#   method / inplace   shorthand: Tensor.<name> / Tensor.<name>_ exist
#   grad      highest order of derivative to check by finite differences (2; 0 = not differentiable)
#   errors    E(type, "words of the text", *args, **kwargs): calls that must fail
#   covers    names of cpp/ops.def that the row exercises besides its own
#
# What a row buys: values in every dtype, non-contiguous, empty, 0-dim and broadcast inputs, NaN and
# infinities, every calling form, gradients to second order, fused = composite backward, error texts, the
# same bits for any number of threads.
from importlib import import_module

from .core import ROWS, E, Row, S, b, i, t

FAMILIES = (
    "pointwise activation compare reduce softmax shape index linalg conv pool norm loss creation rnn attention "
    "special numeric"
).split()
for _family in FAMILIES:
    import_module("." + _family, __name__)

__all__ = ["ROWS", "Row", "S", "E", "t", "i", "b"]
