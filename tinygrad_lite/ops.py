"""The calculus: one record per operation, and nothing about graphs.

An `Op` knows its value on floats and its partial derivatives. The partials are written with the
operations themselves, so the same lines run on floats (backpropagation), on Values (derivatives
of derivatives) and on placeholders (compiled gradients): no derivative is written twice.

Arithmetic is IEEE 754: log(0) is -inf, 1/0 is inf, exp(710) is inf, (-2) ** 0.5 is nan. Python's
`math` raises in some of these places and not in others.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any

inf, nan = math.inf, math.nan


def as_float(x: Any) -> float:
    """The one real number x (int, float, bool, Fraction, NumPy scalar) as a float, else TypeError."""
    if x.__class__ is float:
        return x  # the usual case
    # numpy.bool_ is the one real scalar of NumPy's that does not register as a Real
    if isinstance(x, Real) or (getattr(getattr(x, "dtype", None), "kind", "") == "b" and not x.shape):
        try:
            return float(x)
        except OverflowError:
            raise OverflowError(
                f"a float holds at most 1.8e308, got an integer of {x.bit_length()} bits; scale it first"
                if isinstance(x, int)
                else f"a float holds at most 1.8e308, got {type(x).__name__}; scale it first"
            ) from None
    if hasattr(x, "record"):
        hint = "for a constant copy of a Value write Value(v.data)"
    elif isinstance(x, str):
        hint = "for a text that holds a number write Value(float(text))"
    else:
        hint = "for a vector write [Value(v) for v in xs]"
    shown = repr(x)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise TypeError(f"Value holds one real number, got {shown} ({type(x).__name__}); {hint}")


class Op:
    """One operation.

    name      what Python calls it, `symbol` what a drawing prints.
    value     floats -> float, by IEEE 754.
    partials  d out / d input for each input: a number, or a function of (out, *inputs); for an operation
              on any number of inputs, one function that returns them all. Generic: made of operations
              only, so no Python `if` on an input.
    selects   True: a partial of exactly 0 means "not selected". Nothing at all is sent to that
              input, so an infinity that the operation did not choose cannot become 0 * inf = nan.
              A tuple says so for each input.
    pack      turns the user's arguments (`dot(ws, xs)`) into the flat operands.

    >>> exp(0), maximum(1, 5, 3), dot([1, 2], [3, 4]), log(0)
    (1.0, 5.0, 11.0, -inf)
    """

    __slots__ = ("name", "pack", "partials", "selects", "symbol", "value")

    def __init__(
        self,
        name: str,
        symbol: str,
        value: Callable[..., float],
        partials: tuple[float | Callable[..., Any], ...] | Callable[..., Sequence[Any]],
        selects: bool | tuple[bool, ...] = False,
        pack: Callable[..., tuple[Any, ...]] | None = None,
    ) -> None:
        self.name, self.symbol, self.value = name, symbol, value
        self.partials, self.selects, self.pack = partials, selects, pack

    def __call__(self, *inputs: Any) -> Any:
        """Numbers give a number; any Value among them gives a Value, recorded by its class."""
        if self.pack is not None:
            inputs = self.pack(*inputs)
        elif inputs[0].__class__ is float and len(inputs) == 1:
            return self.value(*inputs)
        for x in inputs:
            if x.__class__ is not float and hasattr(x, "record"):
                return x.record(self, inputs)
        return self.value(*map(as_float, inputs))

    def local_grads(self, out: Any, inputs: Sequence[Any], wanted: Sequence[bool] | None = None) -> tuple[Any, ...]:
        """d out / d input for each input; None for one not wanted, and where nothing is sent."""
        grads: Sequence[Any]
        if callable(self.partials):
            grads = self.partials(out, *inputs)
            if wanted is not None:
                grads = [d if want else None for d, want in zip(grads, wanted)]
        else:
            want_all = wanted or (True,) * len(inputs)
            grads = [
                None if not want else d(out, *inputs) if callable(d) else d for d, want in zip(self.partials, want_all)
            ]
        if self.selects is True:
            grads = [None if d.__class__ is float and d == 0.0 else d for d in grads]
        elif self.selects:
            grads = [None if s and d.__class__ is float and d == 0.0 else d for s, d in zip(self.selects, grads)]
        return tuple(grads)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> str:  # copies and pickles are the record itself
        return {"abs": "abs_"}.get(self.name, self.name)


# --- values on floats, where `math` alone would raise or lose digits


def _ieee(f: Callable[..., float], overflow: Callable[..., float] = lambda *x: inf) -> Callable[..., float]:
    """f from `math`, its exceptions turned into the values of IEEE 754."""

    def value(*x: float) -> float:
        try:
            return f(*x)
        except OverflowError:
            return overflow(*x)
        except ValueError:
            return nan

    return value


def _div(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        return nan if a == 0.0 or a != a else math.copysign(inf, a) * math.copysign(1.0, b)


def _power(x: float, n: float) -> float:
    if n == 2.0:
        return x * x  # `pow` differs from x * x in the last bit at some points
    try:
        return math.pow(x, n)
    except (OverflowError, ValueError):  # too large; 0 ** -n; negative ** fraction
        if x < 0.0 and n != math.floor(n):
            return nan
        return math.copysign(inf, x) if abs(math.fmod(n, 2.0)) == 1.0 else inf  # n % 2.0 may round to 1


def _log(x: float) -> float:
    return math.log(x) if x > 0.0 else -inf if x == 0.0 else nan


def _log1p(x: float) -> float:
    return math.log1p(x) if x > -1.0 else -inf if x == -1.0 else nan


def _sigmoid(x: float) -> float:
    if x < 0.0:  # exp of the negative side never overflows, and keeps tiny results
        e = math.exp(x)
        return e / (1.0 + e)
    return 1.0 / (1.0 + math.exp(-x))


def _relu(x: float) -> float:
    return 0.0 if x <= 0.0 else x


def _softplus(x: float) -> float:
    return (0.0 if x < 0.0 else x) + math.log1p(math.exp(-abs(x)))


def _sign(x: float) -> float:
    return math.copysign(1.0, x) if x < 0.0 or x > 0.0 else x


def _step(x: float) -> float:
    return 1.0 if x > 0.0 else 0.0 if x <= 0.0 else x


def _maximum(*xs: float) -> float:
    largest = xs[0]
    for x in xs:
        if x > largest or x != x:
            largest = x
    return largest


def _minimum(*xs: float) -> float:
    smallest = xs[0]
    for x in xs:
        if x < smallest or x != x:
            smallest = x
    return smallest


def _clip(x: float, low: float, high: float) -> float:
    return _minimum(_maximum(x, low), high)


def _pick(k: float, *xs: float) -> float:
    if not (0.0 <= k < len(xs) and k == math.floor(k)):
        raise ValueError(f"pick expects a whole number from 0 to {len(xs) - 1}, got {k!r}")
    return xs[int(k)]


def _total(*xs: float) -> float:
    s = 0.0  # not the builtin sum: from Python 3.12 on it compensates, and results would differ
    for x in xs:
        s += x
    return s


def _mean(*xs: float) -> float:
    return _total(*xs) / len(xs)


def _dot(*ws_xs: float) -> float:
    n = len(ws_xs) // 2
    s = ws_xs[-1] if len(ws_xs) % 2 else 0.0
    for product in map(operator.mul, ws_xs[:n], ws_xs[n : 2 * n]):
        s += product
    return s


def _logsumexp(*xs: float) -> float:
    m = _maximum(*xs)
    if m - m != 0.0:  # an infinity or nan decides alone
        return m
    i = xs.index(m)
    return m + math.log1p(_total(*(math.exp(x - m) for j, x in enumerate(xs) if j != i)))


# --- packing: what the user writes -> flat operands


def _pack_dot(ws: Iterable[Any], xs: Iterable[Any], start: Any = None) -> tuple[Any, ...]:
    try:
        ws, xs = tuple(ws), tuple(xs)
    except TypeError:
        raise TypeError(f"dot takes two lists of numbers, got {ws!r} and {xs!r}: write dot([...], [...])") from None
    if len(ws) != len(xs):
        raise ValueError(f"dot expects two lists of one length, got {len(ws)} and {len(xs)} numbers")
    return ws + xs if start is None else (*ws, *xs, start)


def _pack_list(name: str, least: int = 0) -> Callable[..., tuple[Any, ...]]:
    def pack(xs: Iterable[Any]) -> tuple[Any, ...]:
        try:
            xs = tuple(xs)
        except TypeError:
            raise TypeError(f"{name} takes one list of numbers, got {xs!r}: write {name}([...])") from None
        if len(xs) < least:
            raise ValueError(f"{name} expects at least one number, got an empty list")
        return xs

    return pack


def _pack_some(name: str) -> Callable[..., tuple[Any, ...]]:
    def pack(*xs: Any) -> tuple[Any, ...]:
        if not xs:
            raise ValueError(f"{name} expects at least one number: write {name}(a, b, ...)")
        if isinstance(xs[0], (list, tuple)):
            raise TypeError(f"{name} takes its numbers one by one, got a list: write {name}(*xs)")
        return xs

    return pack


def _pack_pick(k: Any, xs: Iterable[Any]) -> tuple[Any, ...]:
    return (k, *_pack_list("pick", least=1)(xs))


# --- partial derivatives that need more than a line


def _unless_nan(out: Any, partial: Any) -> Any:
    """A function that has no value has no derivative either: nan, as log(-1) has."""
    return where(equal(out, out), partial, out)


def _one_minus_square(x: Any) -> Any:
    """1 - x^2: factored where x is near 1, whole where the factors' derivatives would cancel."""
    return where(less(abs_(x), 0.5), 1.0 - x * x, (1.0 - x) * (1.0 + x))


def _base_partial(out: Any, x: Any, n: Any) -> Any:
    """n x^(n-1), but 0 where n is 0, also where x is 0 or nan."""
    if hasattr(n, "record"):
        constant = equal(n, 0.0) * equal(less(0.0, abs_(x)), 0.0)
        return _unless_nan(out, where(constant, 0.0, n * power(x, n - 1.0)))
    if n == 0.0:  # a plain number is known: nothing to select later
        return 0.0
    slope = n * power(x, n - 1.0)
    # x^1 and, where n - 1 rounds to a whole number, also negative x hide that x^n is nan
    return slope if n - 1.0 + 1.0 == n != 1.0 else _unless_nan(out, slope)


def _exponent_partial(out: Any, x: Any, n: Any) -> Any:
    """x^n log x, but 0 where 0^n is constant in n."""
    if not hasattr(x, "record") and x:
        return out * log(x)
    return where(equal(x, 0.0) * less_equal(0.0, n), 0.0, out * log(x))


def _over_square(a: Any, x: Any, y: Any) -> Any:
    """a / (x^2 + y^2), divided twice where the square, or its square in the derivative, would overflow or vanish."""
    r = hypot(x, y)
    ordinary = less(1e-75, r) * less(r, 1e75)
    return where(ordinary, div(a, x * x + y * y), div(div(a, r), r))


def _largest_partials(out: Any, *xs: Any) -> Sequence[Any]:
    """Of k operands equal to the maximum (or minimum) each gets 1/k, the least-norm subgradient."""
    ties = [equal(x, out) for x in xs]
    count = total(ties)  # 0 where the result is nan: 0/0 makes every partial nan too
    return [div(tie, count) for tie in ties]


def _dot_partials(out: Any, *ws_xs: Any) -> Sequence[Any]:
    n = len(ws_xs) // 2
    return ws_xs[n : 2 * n] + ws_xs[:n] + (1.0,) * (len(ws_xs) % 2)


def _logsumexp_partials(out: Any, *xs: Any) -> Sequence[Any]:
    """softmax(xs). One infinite operand alone is all of the sum, though inf - inf is nan."""
    infinite = [equal(x, inf) for x in xs]
    alone = equal(total(infinite), 1.0) * equal(out, inf)
    return [where(alone * i, 1.0, exp(x - out)) for x, i in zip(xs, infinite)]


# --- the table

add = Op("add", "+", operator.add, (1.0, 1.0))
sub = Op("sub", "-", operator.sub, (1.0, -1.0))
mul = Op("mul", "*", operator.mul, (lambda out, a, b: b, lambda out, a, b: a))
div: Op = Op("div", "/", _div, (lambda out, a, b: div(1.0, b), lambda out, a, b: div(-out, b)))
power: Op = Op("power", "**", _power, (_base_partial, _exponent_partial))
neg = Op("neg", "neg", operator.neg, (-1.0,))
abs_ = Op("abs", "abs", abs, (lambda out, x: sign(x),))

exp = Op("exp", "exp", _ieee(math.exp), (lambda out, x: out,))
expm1 = Op("expm1", "expm1", _ieee(math.expm1), (lambda out, x: exp(x),))
log: Op = Op("log", "log", _log, (lambda out, x: _unless_nan(out, div(1.0, x)),))
log1p = Op("log1p", "log1p", _log1p, (lambda out, x: _unless_nan(out, div(1.0, 1.0 + x)),))
sqrt = Op("sqrt", "sqrt", _ieee(math.sqrt), (lambda out, x: _unless_nan(out, 0.5 * power(x, -0.5)),))
hypot = Op(
    "hypot",
    "hypot",
    math.hypot,
    (lambda out, a, b: where(out, div(a, out), 0.0), lambda out, a, b: where(out, div(b, out), 0.0)),
)

sin = Op("sin", "sin", _ieee(math.sin), (lambda out, x: cos(x),))
cos: Op = Op("cos", "cos", _ieee(math.cos), (lambda out, x: -sin(x),))
tan = Op("tan", "tan", _ieee(math.tan), (lambda out, x: 1.0 + out * out,))
asin = Op("asin", "asin", _ieee(math.asin), (lambda out, x: _unless_nan(out, power(_one_minus_square(x), -0.5)),))
acos = Op("acos", "acos", _ieee(math.acos), (lambda out, x: _unless_nan(out, -power(_one_minus_square(x), -0.5)),))
atan = Op("atan", "atan", math.atan, (lambda out, x: div(1.0, 1.0 + x * x),))
atan2 = Op(
    "atan2",
    "atan2",
    math.atan2,
    (lambda out, y, x: _over_square(x, x, y), lambda out, y, x: _over_square(-y, x, y)),
)
sinh = Op("sinh", "sinh", _ieee(math.sinh, lambda x: math.copysign(inf, x)), (lambda out, x: cosh(x),))
cosh: Op = Op("cosh", "cosh", _ieee(math.cosh), (lambda out, x: sinh(x),))

# 1 - out^2 and out (1 - out) are exact to an absolute 2^-52: where the unit saturates, that is all
tanh = Op("tanh", "tanh", math.tanh, (lambda out, x: 1.0 - out * out,))
sigmoid = Op("sigmoid", "sigmoid", _sigmoid, (lambda out, x: out * (1.0 - out),))
softplus = Op("softplus", "softplus", _softplus, (lambda out, x: sigmoid(x),))
relu = Op("relu", "ReLU", _relu, (lambda out, x: step(x),), selects=True)
leaky_relu = Op(
    "leaky_relu",
    "leaky ReLU",
    lambda x, slope: x if x > 0.0 else slope * x,
    (
        lambda out, x, slope: where(equal(x, x), where(step(x), 1.0, slope), out),
        lambda out, x, slope: where(less(0.0, x), 0.0, x),
    ),
    selects=(False, True),  # x counts on both sides, also where the slope is 0
)

sign: Op = Op("sign", "sign", _sign, (lambda out, x: 0.0 * out,))
step: Op = Op("step", "step", _step, (lambda out, x: 0.0 * out,))
equal: Op = Op("equal", "==", lambda a, b: float(a == b), (0.0, 0.0), selects=True)
less: Op = Op("less", "<", lambda a, b: float(a < b), (0.0, 0.0), selects=True)
less_equal: Op = Op("less_equal", "<=", lambda a, b: float(a <= b), (0.0, 0.0), selects=True)
where: Op = Op(
    "where",
    "where",
    lambda c, a, b: a if c else b,
    (
        0.0,
        lambda out, c, a, b: where(c, 1.0, 0.0),
        lambda out, c, a, b: where(c, 0.0, 1.0),
    ),
    selects=True,
)
clip = Op(
    "clip",
    "clip",
    _clip,
    (
        lambda out, x, low, high: _unless_nan(out, less_equal(low, x) * less_equal(x, high)),
        lambda out, x, low, high: _unless_nan(out, less(x, low) * equal(out, low)),
        lambda out, x, low, high: _unless_nan(out, less(high, where(less(x, low), low, x)) * equal(out, high)),
    ),
    selects=True,
)
maximum = Op("maximum", "max", _maximum, _largest_partials, selects=True, pack=_pack_some("maximum"))
minimum = Op("minimum", "min", _minimum, _largest_partials, selects=True, pack=_pack_some("minimum"))
pick = Op(
    "pick",
    "pick",
    _pick,
    lambda out, k, *xs: [0.0, *(equal(k, float(i)) for i in range(len(xs)))],
    selects=True,
    pack=_pack_pick,
)

dot = Op("dot", "dot", _dot, _dot_partials, pack=_pack_dot)  # sum of w * x, from start if given
total = Op("total", "sum", _total, lambda out, *xs: (1.0,) * len(xs), pack=_pack_list("total"))
mean = Op("mean", "mean", _mean, lambda out, *xs: (1.0 / len(xs),) * len(xs), pack=_pack_list("mean", 1))
logsumexp = Op("logsumexp", "logsumexp", _logsumexp, _logsumexp_partials, pack=_pack_list("logsumexp", 1))

OPS: tuple[Op, ...] = (
    add, sub, mul, div, power, neg, abs_,
    exp, expm1, log, log1p, sqrt, hypot,
    sin, cos, tan, asin, acos, atan, atan2, sinh, cosh,
    tanh, sigmoid, softplus, relu, leaky_relu,
    sign, step, equal, less, less_equal, where, clip, maximum, minimum, pick,
    dot, total, mean, logsumexp,
)  # fmt: skip
