"""The calculus: one record per operation, and nothing about graphs.

An `Op` knows its value on floats and its partial derivatives. The partials are written with the
operations themselves, so the same lines run on floats (backpropagation), on Values (derivatives
of derivatives) and on placeholders (compiled gradients): no derivative is written twice.

Arithmetic is IEEE 754, as `ieee.py` has it: log(0) is -inf, 1/0 is inf, (-2) ** 0.5 is nan.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import ieee
from .ieee import inf
from .op import Op, pack_class, pack_dot, pack_list, pack_pick, pack_slope, pack_some, pack_where
from .op import as_float as as_float  # importable from here since ever

if TYPE_CHECKING:
    from .engine import Number

# the functions that users import; operators are written + - * / < <=
__all__ = [
    "OPS",
    "Op",
    "acos",
    "acosh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "clip",
    "cos",
    "cosh",
    "cross_entropy",
    "detach",
    "dot",
    "equal",
    "erf",
    "exp",
    "exp2",
    "exp_difference",
    "expm1",
    "floor",
    "hypot",
    "leaky_relu",
    "log",
    "log1p",
    "log2",
    "log10",
    "logsumexp",
    "maximum",
    "mean",
    "minimum",
    "pick",
    "power",
    "relu",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "softplus",
    "sqrt",
    "step",
    "tan",
    "tanh",
    "total",
    "where",
]  # fmt: skip
OPERATORS = ("add", "sub", "mul", "div", "neg", "abs", "less", "less_equal", "mod", "floor_div", "round")

LN2, LOG2_E, LOG10_E = 0.6931471805599453, 1.4426950408889634, 0.4342944819032518

# --- partial derivatives that need more than a line


def _unless_nan(out: Number, partial: Number) -> Number:
    """A function that has no value has no derivative either: nan, as log(-1) has."""
    return where(equal(out, out), partial, out)


def _flat(out: Number, *inputs: Number) -> Number:
    """0 along each stair of a staircase."""
    return _unless_nan(out, 0.0)


def _bell(x: Number) -> Number:
    """exp(-x^2). x^2 rounds, and 27^2 to 12 digits of exp: so it is h^2 + (x - h)(x + h) with an h of few digits."""
    h = detach(clip(round_(x * 2.0**20) * 2.0**-20, -32.0, 32.0))  # beyond, exp(-x^2) is 0
    return exp_difference(-h * h, (x - h) * (x + h))


def _one_minus_square(x: Number) -> Number:
    """1 - x^2: factored where x is near 1, whole where the factors' derivatives would cancel."""
    return where(less(abs_(x), 0.5), 1.0 - x * x, (1.0 - x) * (1.0 + x))


def _base_partial(out: Number, x: Number, n: Number) -> Number:
    """n x^(n-1), but 0 where n is 0, also where x is 0 or nan."""
    if hasattr(n, "record"):
        constant = equal(n, 0.0) * equal(less(5.6e-309, abs_(x)), 0.0)  # 1/x is infinite there, and 0 * inf nan
        return _unless_nan(out, where(constant, 0.0, n * power(x, n - 1.0)))
    if n == 0.0:  # a plain number is known: nothing to select later
        return 0.0
    slope = n * power(x, n - 1.0)
    # x^1 and, where n - 1 rounds to a whole number, also negative x hide that x^n is nan
    return slope if n - 1.0 + 1.0 == n != 1.0 else _unless_nan(out, slope)


def _exponent_partial(out: Number, x: Number, n: Number) -> Number:
    """x^n log x, but 0 where 0^n is constant in n."""
    if not hasattr(x, "record") and x:
        return out * log(x)
    return where(equal(x, 0.0) * less_equal(0.0, n), 0.0, out * log(x))


def _share(out: Number, x: Number) -> Number:
    """x / out, but 0 where both are 0."""
    return where(out, div(x, out), 0.0)


def _over_square(a: Number, x: Number, y: Number) -> Number:
    """a / (x^2 + y^2), divided twice where the square, or its square in the derivative, would overflow or vanish."""
    r = hypot(x, y)
    ordinary = less(1e-75, r) * less(r, 1e75)
    return where(ordinary, div(a, x * x + y * y), div(div(a, r), r))


def _largest_partials(out: Number, *xs: Number) -> Sequence[Number]:
    """Of k operands equal to the maximum (or minimum) each gets 1/k, the least-norm subgradient."""
    ties = [equal(x, out) for x in xs]
    count = total(ties)  # 0 where the result is nan: 0/0 makes every partial nan too
    return [div(tie, count) for tie in ties]


def _dot_partials(out: Number, *ws_xs: Number) -> Sequence[Number]:
    n = len(ws_xs) // 2
    return ws_xs[n : 2 * n] + ws_xs[:n] + (1.0,) * (len(ws_xs) % 2)


def shares(xs: Sequence[Number]) -> list[Number]:
    """softmax(xs): exp of the differences from the largest, so that no digit is lost at any scale of xs."""
    largest = detach(maximum(*xs))
    powers = [exp_difference(x, largest) for x in xs]
    whole = total(powers)
    return [div(e, whole) for e in powers]


def _logsumexp_partials(out: Number, *xs: Number) -> list[Number]:
    """softmax(xs). One infinite operand alone is all of the sum, though inf - inf is nan."""
    infinite = [equal(x, inf) for x in xs]
    alone = equal(total(infinite), 1.0) * equal(maximum(*xs), inf)  # the second: not where another one is nan
    return [where(alone, i, p) for p, i in zip(shares(xs), infinite)]


def _cross_entropy_partials(out: Number, *xs_k: Number) -> Sequence[Number | None]:
    """softmax(xs), less 1 at place k: where p is almost 1, p - 1 is exp(-out) - 1, which keeps its digits."""
    *xs, k = xs_k
    ps, rest = _logsumexp_partials(out, *xs), expm1(-out)
    for i in range(len(xs)) if hasattr(k, "record") else [int(k)]:
        less_one = where(less(ps[i], 0.5), ps[i] - 1.0, rest)
        ps[i] = where(equal(k, float(i)), less_one, ps[i])
    return [*ps, None]


# --- the table

add = Op("add", "+", operator.add, (1.0, 1.0))
sub = Op("sub", "-", operator.sub, (1.0, -1.0))
mul = Op("mul", "*", operator.mul, (lambda out, a, b: b, lambda out, a, b: a))
div: Op = Op("div", "/", ieee.div, (lambda out, a, b: div(1.0, b), lambda out, a, b: div(-out, b)))
power: Op = Op("power", "**", ieee.power, (_base_partial, _exponent_partial))
mod = Op("mod", "%", ieee.mod, (1.0, lambda out, a, b: -floor_div(a, b)))
floor_div: Op = Op("floor_div", "//", ieee.floor_div, (_flat, _flat))
neg = Op("neg", "neg", operator.neg, (-1.0,))
abs_ = Op("abs", "abs", abs, (lambda out, x: sign(x),))

exp = Op("exp", "exp", ieee.exp, (lambda out, x: out,))
expm1 = Op("expm1", "expm1", ieee.expm1, (lambda out, x: exp(x),))
log: Op = Op("log", "log", ieee.log, (lambda out, x: _unless_nan(out, div(1.0, x)),))
log1p = Op("log1p", "log1p", ieee.log1p, (lambda out, x: _unless_nan(out, div(1.0, 1.0 + x)),))
exp2 = Op("exp2", "exp2", ieee.exp2, (lambda out, x: LN2 * out,))
log2 = Op("log2", "log2", ieee.log2, (lambda out, x: _unless_nan(out, div(LOG2_E, x)),))
log10 = Op("log10", "log10", ieee.log10, (lambda out, x: _unless_nan(out, div(LOG10_E, x)),))
sqrt = Op("sqrt", "sqrt", ieee.sqrt, (lambda out, x: _unless_nan(out, 0.5 * power(x, -0.5)),))
cbrt = Op("cbrt", "cbrt", ieee.cbrt, (lambda out, x: div(power(out, -2.0), 3.0),))
hypot = Op("hypot", "hypot", math.hypot, (lambda out, a, b: _share(out, a), lambda out, a, b: _share(out, b)))

sin = Op("sin", "sin", ieee.sin, (lambda out, x: cos(x),))
cos: Op = Op("cos", "cos", ieee.cos, (lambda out, x: -sin(x),))
tan = Op("tan", "tan", ieee.tan, (lambda out, x: 1.0 + out * out,))
asin = Op("asin", "asin", ieee.asin, (lambda out, x: _unless_nan(out, power(_one_minus_square(x), -0.5)),))
acos = Op("acos", "acos", ieee.acos, (lambda out, x: _unless_nan(out, -power(_one_minus_square(x), -0.5)),))
atan = Op("atan", "atan", math.atan, (lambda out, x: div(1.0, 1.0 + x * x),))
atan2 = Op(
    "atan2", "atan2", math.atan2, (lambda out, y, x: _over_square(x, x, y), lambda out, y, x: _over_square(-y, x, y))
)
sinh = Op("sinh", "sinh", ieee.sinh, (lambda out, x: cosh(x),))
cosh: Op = Op("cosh", "cosh", ieee.cosh, (lambda out, x: sinh(x),))
asinh = Op("asinh", "asinh", ieee.asinh, (lambda out, x: div(1.0, hypot(1.0, x)),))
acosh = Op(
    "acosh", "acosh", ieee.acosh, (lambda out, x: _unless_nan(out, power(x - 1.0, -0.5) * power(x + 1.0, -0.5)),)
)
atanh = Op("atanh", "atanh", ieee.atanh, (lambda out, x: _unless_nan(out, div(1.0, _one_minus_square(x))),))
erf = Op("erf", "erf", math.erf, (lambda out, x: 2.0 / math.sqrt(math.pi) * _bell(x),))

# 1 - out^2 and out (1 - out) are exact to an absolute 2^-52: where the unit saturates, that is all
tanh = Op("tanh", "tanh", math.tanh, (lambda out, x: 1.0 - out * out,))
sigmoid = Op("sigmoid", "sigmoid", ieee.sigmoid, (lambda out, x: out * (1.0 - out),))
softplus = Op("softplus", "softplus", ieee.softplus, (lambda out, x: sigmoid(x),))
relu = Op("relu", "ReLU", ieee.relu, (lambda out, x: step(x),), selects=True)
leaky_relu = Op(
    "leaky_relu",
    "leaky ReLU",
    ieee.leaky_relu,
    (
        lambda out, x, slope: where(equal(x, x), where(step(x), 1.0, slope), out),
        lambda out, x, slope: where(less(0.0, x), 0.0, x),
    ),
    selects=(False, True),  # x counts on both sides, also where the slope is 0
    pack=pack_slope,
)

sign: Op = Op("sign", "sign", ieee.sign, (lambda out, x: 0.0 * out,))
step: Op = Op("step", "step", ieee.step, (lambda out, x: 0.0 * out,))
floor = Op("floor", "floor", ieee.floor, (_flat,))
round_ = Op("round", "round", ieee.nearest, (_flat,))
detach: Op = Op("detach", "detach", ieee.detach, (0.0,), selects=True)  # a constant copy: nothing is sent back
equal: Op = Op("equal", "==", ieee.equal, (0.0, 0.0), selects=True)
less: Op = Op("less", "<", ieee.less, (0.0, 0.0), selects=True)
less_equal: Op = Op("less_equal", "<=", ieee.less_equal, (0.0, 0.0), selects=True)
where: Op = Op(
    "where",
    "where",
    ieee.where,
    (0.0, lambda out, c, a, b: where(c, 1.0, 0.0), lambda out, c, a, b: where(c, 0.0, 1.0)),
    selects=True,
    pack=pack_where,
)
clip = Op(
    "clip",
    "clip",
    ieee.clip,
    (
        lambda out, x, low, high: _unless_nan(out, less_equal(low, x) * less_equal(x, high)),
        lambda out, x, low, high: _unless_nan(out, less(x, low) * equal(out, low)),
        lambda out, x, low, high: _unless_nan(out, less(high, where(less(x, low), low, x)) * equal(out, high)),
    ),
    selects=True,
)
maximum = Op("maximum", "max", ieee.maximum, _largest_partials, selects=True, pack=pack_some("maximum"))
minimum = Op("minimum", "min", ieee.minimum, _largest_partials, selects=True, pack=pack_some("minimum"))
pick = Op(
    "pick",
    "pick",
    ieee.pick,
    lambda out, k, *xs: [0.0, *(equal(k, float(i)) for i in range(len(xs)))],
    selects=True,
    pack=pack_pick,
)

dot = Op("dot", "dot", ieee.dot, _dot_partials, pack=pack_dot)  # sum of w * x, from start if given
total = Op("total", "sum", ieee.total, lambda out, *xs: (1.0,) * len(xs), pack=pack_list("total"))
mean = Op("mean", "mean", ieee.mean, lambda out, *xs: (1.0 / len(xs),) * len(xs), pack=pack_list("mean", 1))
logsumexp = Op("logsumexp", "logsumexp", ieee.logsumexp, _logsumexp_partials, pack=pack_list("logsumexp", 1))
exp_difference: Op = Op(
    "exp_difference", "exp of -", ieee.exp_difference, (lambda out, a, b: out, lambda out, a, b: -out)
)
cross_entropy = Op("cross_entropy", "cross-entropy", ieee.cross_entropy, _cross_entropy_partials, pack=pack_class)

OPS: tuple[Op, ...] = tuple([record for record in list(vars().values()) if isinstance(record, Op)])
