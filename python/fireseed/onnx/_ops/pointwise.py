"""Elementwise ops: functions of one, two and three numbers, comparisons, activations. Formulas: math/functors_*.h."""
import math

from .table import CONVERSIONS, conversion

# Ops that ONNX has under another name.
_ONE = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "reciprocal": "Reciprocal", "sqrt": "Sqrt", "exp": "Exp", "log": "Log",
    "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh", "erf": "Erf", "ceil": "Ceil", "floor": "Floor",
    "relu": "Relu", "sigmoid": "Sigmoid", "softsign": "Softsign", "isnan": "IsNaN", "isinf": "IsInf"}
_TWO = {"mul": "Mul", "div": "Div", "maximum": "Max", "minimum": "Min", "pow": "Pow", "bitwise_left_shift": None}
_COMPARE = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}
_LOGIC = {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}


def _one(c):
    return c.graph.op(_ONE[c.op], c.x())


def _two(c):
    return c.graph.op(_TWO[c.op], *operands(c))


CONVERSIONS.update(dict.fromkeys(_ONE, _one))
CONVERSIONS.update({name: _two for name, kind in _TWO.items() if kind})


def operands(c):
    """The names of all inputs in the result's dtype."""
    return [c.x(i, c.out_dtype()) for i in range(len(c.step.inputs))]


def scalar(c, value):
    """The name of a number in the result's dtype."""
    return c.graph.const(value, c.out_dtype())


@conversion("add", "sub")
def add(c):
    x, y = operands(c)
    if c.attr("alpha") != 1:
        y = c.graph.op("Mul", y, c.number("alpha", c.out_dtype()))
    return c.graph.op("Add" if c.op == "add" else "Sub", x, y)


@conversion("add_scalar", "mul_scalar", "div_scalar")
def with_number(c):
    kind = {"add_scalar": "Add", "mul_scalar": "Mul", "div_scalar": "Div"}[c.op]
    return c.graph.op(kind, c.x(), c.number("value", c.out_dtype()))


@conversion("rsub_scalar", "rdiv_scalar")
def number_with(c):
    return c.graph.op("Sub" if c.op == "rsub_scalar" else "Div", c.number("value", c.out_dtype()), c.x())


@conversion("pow_scalar")
def pow_scalar(c):
    exponent = c.attr("exponent")
    if exponent == 2:
        return c.graph.op("Mul", c.x(), c.x())
    if exponent == 0.5:
        return c.graph.op("Sqrt", c.x())
    return c.graph.op("Pow", c.x(), c.number("exponent", c.out_dtype()))


@conversion("square")
def square(c):
    return c.graph.op("Mul", c.x(), c.x())


@conversion("rsqrt")
def rsqrt(c):
    return c.graph.op("Reciprocal", c.graph.op("Sqrt", c.x()))


@conversion("exp2")
def exp2(c):
    return c.graph.op("Pow", scalar(c, 2.0), c.x())


@conversion("expm1")
def expm1(c):
    """exp(x) - 1 = 2 sinh(x/2) exp(x/2), which keeps small x exact."""
    g, half = c.graph, c.graph.op("Mul", c.x(), scalar(c, 0.5))
    return g.op("Mul", g.op("Mul", g.op("Sinh", half), g.op("Exp", half)), scalar(c, 2.0))


@conversion("log2", "log10")
def log_to_base(c):
    return c.graph.op("Div", c.graph.op("Log", c.x()), scalar(c, math.log(2 if c.op == "log2" else 10)))


@conversion("log1p")
def log1p(c):
    return c.graph.op("Log", c.graph.op("Add", c.x(), scalar(c, 1.0)))


@conversion("trunc", "frac")
def trunc(c):
    g = c.graph
    whole = g.op("Mul", g.op("Sign", c.x()), g.op("Floor", g.op("Abs", c.x())))
    return whole if c.op == "trunc" else g.op("Sub", c.x(), whole)


@conversion("round")
def round_(c):
    g, scale = c.graph, c.attr("scale")
    if scale == 1:
        return g.op("Round", c.x())
    there, back = ("Div", "Mul") if c.attr("negative") else ("Mul", "Div")
    return g.op(back, g.op("Round", g.op(there, c.x(), scalar(c, scale))), scalar(c, scale))


@conversion("clamp", "hardtanh")
def clamp(c):
    low, high = c.attr("low"), c.attr("high")
    whole = c.out_dtype() not in ("float16", "bfloat16", "float32", "float64")
    # -2^63 and 2^63 - 1 pass as floats: no bound of an int.
    low, high = (None if math.isinf(v) or whole and abs(v) >= 2**63 else int(v) if whole else v for v in (low, high))
    return c.graph.op("Clip", c.x(), *(None if v is None else scalar(c, v) for v in (low, high)))


@conversion("clamp_tensor")
def clamp_tensor(c):
    x, low, high = (c.x(i, c.out_dtype()) for i in range(3))
    return c.graph.op("Min", c.graph.op("Max", x, low), high)


@conversion("nan_to_num")
def nan_to_num(c):
    g, y = c.graph, c.x()
    for key, test in (("posinf", {"detect_negative": 0}), ("neginf", {"detect_positive": 0})):
        y = g.op("Where", g.op("IsInf", c.x(), **test), scalar(c, c.attr(key)), y)
    return g.op("Where", g.op("IsNaN", c.x()), scalar(c, c.attr("nan")), y)


@conversion("deg2rad", "rad2deg")
def angle(c):
    return c.graph.op("Mul", c.x(), scalar(c, math.pi / 180 if c.op == "deg2rad" else 180 / math.pi))


@conversion("erfc")
def erfc(c):
    return c.graph.op("Sub", scalar(c, 1.0), c.graph.op("Erf", c.x()))


def normal_cdf(c):
    """(1 + erf(x / sqrt 2)) / 2."""
    g = c.graph
    inner = g.op("Erf", g.op("Mul", c.x(), scalar(c, math.sqrt(0.5))))
    return g.op("Mul", g.op("Add", inner, scalar(c, 1.0)), scalar(c, 0.5))


@conversion("ndtr")
def ndtr(c):
    return normal_cdf(c)


# --- Activations ---

@conversion("gelu")
def gelu(c):
    return c.graph.op("Mul", c.x(), normal_cdf(c))


@conversion("gelu_tanh")
def gelu_tanh(c):
    """x sigmoid(2u), u = sqrt(2/pi) (x + 0.044715 x^3)."""
    g, root = c.graph, 2 * math.sqrt(2 / math.pi)
    cubic = g.op("Add", g.op("Mul", g.op("Mul", c.x(), c.x()), scalar(c, root * 0.044715)), scalar(c, root))
    return g.op("Mul", c.x(), g.op("Sigmoid", g.op("Mul", c.x(), cubic)))


@conversion("silu")
def silu(c):
    return c.graph.op("Mul", c.x(), c.graph.op("Sigmoid", c.x()))


@conversion("mish")
def mish(c):
    return c.graph.op("Mul", c.x(), c.graph.op("Tanh", c.graph.op("Softplus", c.x())))


@conversion("hardsigmoid", "hardswish")
def hardsigmoid(c):
    g = c.graph
    third = g.op("Clip", g.op("Add", g.op("Div", c.x(), scalar(c, 6.0)), scalar(c, 0.5)), scalar(c, 0.0), scalar(c, 1.0))
    return third if c.op == "hardsigmoid" else g.op("Mul", c.x(), third)


@conversion("leaky_relu")
def leaky_relu(c):
    return c.graph.op("LeakyRelu", c.x(), alpha=float(c.attr("slope")))


@conversion("elu")
def elu(c):
    """scale x where x > 0, scale alpha (exp(rate x) - 1) below."""
    alpha, scale, rate = c.attr("alpha"), c.attr("scale"), c.attr("rate")
    if rate == 1 and scale == 1:
        return c.graph.op("Elu", c.x(), alpha=float(alpha))
    if rate == 1:
        return c.graph.op("Selu", c.x(), alpha=float(alpha), gamma=float(scale))
    if scale == 1 and rate * alpha == 1:
        return c.graph.op("Celu", c.x(), alpha=float(alpha))
    return c.refuse(f"alpha={alpha}, scale={scale}, rate={rate}")


@conversion("softplus")
def softplus(c):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold."""
    g, beta, threshold = c.graph, c.attr("beta"), c.attr("threshold")
    t = c.x() if beta == 1 else g.op("Mul", c.x(), scalar(c, beta))
    y = g.op("Softplus", t)
    y = y if beta == 1 else g.op("Div", y, scalar(c, beta))
    return g.op("Where", g.op("Greater", t, scalar(c, threshold)), c.x(), y)


@conversion("log_sigmoid")
def log_sigmoid(c):
    return c.graph.op("Neg", c.graph.op("Softplus", c.graph.op("Neg", c.x())))


@conversion("tanhshrink")
def tanhshrink(c):
    return c.graph.op("Sub", c.x(), c.graph.op("Tanh", c.x()))


@conversion("hardshrink", "softshrink")
def shrink(c):
    lambd = float(c.attr("lambd"))
    return c.graph.op("Shrink", c.x(), lambd=lambd, bias=lambd if c.op == "softshrink" else 0.0)


@conversion("threshold")
def threshold(c):
    g = c.graph
    return g.op("Where", g.op("LessOrEqual", c.x(), scalar(c, c.attr("threshold"))), scalar(c, c.attr("value")), c.x())


@conversion("prelu")
def prelu(c):
    x, slope = operands(c)
    g = c.graph
    return g.op("Where", g.op("Greater", x, scalar(c, 0.0)), x, g.op("Mul", x, slope))


# --- Two and three inputs ---

@conversion("floor_divide", "div_trunc", "remainder", "fmod")
def divide(c):
    """Quotients and remainders, rounded down (floor_divide, remainder) or towards zero."""
    g, (x, y) = c.graph, operands(c)
    floats = c.out_dtype().startswith(("float", "bfloat"))
    if not floats:
        # ONNX divides ints towards zero; its Mod has the divisor's sign, with fmod=1 the dividend's.
        if c.op == "div_trunc":
            return g.op("Div", x, y)
        rest = g.op("Mod", x, y, fmod=int(c.op == "fmod"))
        return rest if c.op != "floor_divide" else g.op("Div", g.op("Sub", x, rest), y)
    if c.op == "fmod":
        return g.op("Mod", x, y, fmod=1)
    quotient = g.op("Div", x, y)
    if c.op == "div_trunc":
        return g.op("Mul", g.op("Sign", quotient), g.op("Floor", g.op("Abs", quotient)))
    whole = g.op("Floor", quotient)
    return whole if c.op == "floor_divide" else g.op("Sub", x, g.op("Mul", whole, y))


@conversion("lerp_scalar", "lerp")
def lerp(c):
    """x + w (y - x)."""
    g, (x, y) = c.graph, (c.x(0, c.out_dtype()), c.x(1, c.out_dtype()))
    w = c.number("weight", c.out_dtype()) if c.op == "lerp_scalar" else c.x(2, c.out_dtype())
    return g.op("Add", x, g.op("Mul", w, g.op("Sub", y, x)))


@conversion("addcmul", "addcdiv")
def addcmul(c):
    g, (x, a, b) = c.graph, operands(c)
    term = g.op("Mul" if c.op == "addcmul" else "Div", a, b)
    return g.op("Add", x, g.op("Mul", term, c.number("value", c.out_dtype())))


@conversion("mse_loss", "l1_loss")
def difference(c):
    x, y = operands(c)
    d = c.graph.op("Sub", x, y)
    return c.graph.op("Mul", d, d) if c.op == "mse_loss" else c.graph.op("Abs", d)


@conversion(*_COMPARE, "ne")
def compare(c):
    g = c.graph
    y = g.op(_COMPARE.get(c.op, "Equal"), c.x(0), c.x(1, c.dtype(0)))
    return g.op("Not", y) if c.op == "ne" else y


@conversion(*_LOGIC)
def logic(c):
    return c.graph.op(_LOGIC[c.op], c.x(0, "bool"), c.x(1, "bool"))


@conversion("bitwise_and", "bitwise_or", "bitwise_xor")
def bits(c):
    if c.out_dtype() == "bool":
        return c.graph.op({"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor"}[c.op], c.x(0), c.x(1))
    return c.graph.op({"bitwise_and": "BitwiseAnd", "bitwise_or": "BitwiseOr", "bitwise_xor": "BitwiseXor"}[c.op],
                      *operands(c))


@conversion("logical_not", "bitwise_not")
def not_(c):
    if c.op == "bitwise_not" and c.dtype() != "bool":
        return c.graph.op("BitwiseNot", c.x())
    return c.graph.op("Not", c.x(0, "bool"))


@conversion("where")
def where(c):
    return c.graph.op("Where", c.x(0, "bool"), c.x(1, c.out_dtype()), c.x(2, c.out_dtype()))


@conversion("masked_fill")
def masked_fill(c):
    real, whole = c.attr("value")
    value = real if c.out_dtype().startswith(("float", "bfloat")) else bool(whole) if c.out_dtype() == "bool" else whole
    return c.graph.op("Where", c.x(1), scalar(c, value), c.x(0))
