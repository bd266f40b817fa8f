"""Forward-mode differentiation, written from the mathematics: no derivative here is the library's. No tests.

The rules run on two kinds of numbers: NumPy's float64, by IEEE 754, and mpmath's at 50 digits, which decides where
float64 results disagree.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from mpmath import MPContext

from tinygrad_lite import ops
from tinygrad_lite.ops import Op

inf, nan = math.inf, math.nan


class Dual:
    """value + sum of tangents[i] e_i with e_i e_j = 0; tangents[i] is None where no path leads to leaf i."""

    def __init__(self, value: Any, tangents: Sequence[Any]) -> None:
        self.value, self.tangents = value, tangents


def floats() -> SimpleNamespace:
    """IEEE 754 as NumPy has it, which shares no code with the library's wrappers of `math`."""
    return SimpleNamespace(
        number=np.float64, exp=np.exp, expm1=np.expm1, log=np.log, log1p=np.log1p, sqrt=np.sqrt, hypot=np.hypot,
        sin=np.sin, cos=np.cos, tan=np.tan, asin=np.arcsin, acos=np.arccos, atan=np.arctan, atan2=np.arctan2,
        sinh=np.sinh, cosh=np.cosh, tanh=np.tanh, power=np.power, store=lambda x: x,
    )  # fmt: skip


def fifty_digits() -> SimpleNamespace:
    """mpmath's numbers. ArithmeticError where a value is no real number, or larger than any float64."""
    mp = MPContext()  # not mpmath.mp, whose precision other tests may rely on
    mp.dps = 50

    def store(x: Any) -> Any:
        if not abs(x) <= sys.float_info.max:
            raise ArithmeticError(f"{x} is out of the range of float64")
        return mp.mpf(x)

    def function(name: str) -> Callable[..., Any]:
        def real(*xs: Any) -> Any:
            y = getattr(mp, name)(*xs)
            if isinstance(y, mp.mpc):
                raise ArithmeticError(f"{name}{xs} is complex")
            return y

        return real

    names = [name for name in vars(floats()) if name not in ("number", "store")]
    return SimpleNamespace(number=mp.mpf, store=store, **{name: function(name) for name in names})


def apply(m: SimpleNamespace, op: Op, operands: Sequence[Any]) -> Dual:
    """op on Duals and plain numbers, of the kind of numbers m."""
    xs = [x.value if isinstance(x, Dual) else m.number(x) for x in operands]
    value, partials = RULES[op](m, *xs)
    value = m.store(value)
    if op in UNDEFINED_TOGETHER and value != value:
        partials = [m.number(nan)] * len(xs)
    if op is ops.power and not isinstance(operands[1], Dual) and xs[1] == 0:
        partials[0] = m.number(0)  # whatever x is: 1 is a constant
    tangents: list[Any] = [None] * max(len(x.tangents) for x in operands if isinstance(x, Dual))
    for x, d in zip(operands, partials, strict=True):
        if isinstance(x, Dual) and d is not None:
            for i, t in enumerate(x.tangents):
                if t is not None:
                    tangents[i] = d * t if tangents[i] is None else tangents[i] + d * t
    return Dual(value, tangents)


def derive(m: SimpleNamespace, recipe: Any, point: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """A recipe's outputs and their total, and the derivative of the total by each leaf."""
    units = [[m.number(1) if i == j else None for j in range(len(point))] for i in range(len(point))]
    leaves = [Dual(m.store(m.number(x)), unit) for x, unit in zip(point, units)]
    with np.errstate(all="ignore"):
        outputs = recipe.build(leaves, functools.partial(apply, m))
    return [d.value for d in outputs], [m.number(0) if t is None else t for t in outputs[-1].tangents]


# --- the rules: numbers -> value, and the partial derivative by each; None where nothing is sent


def _power(m: Any, x: Any, n: Any) -> Any:
    value = x * x if n == 2 else m.power(x, n)
    log = m.log(x) if x > 0 else nan
    by_x = 0 if n == 0 and not abs(x) > 0 else n * m.power(x, n - 1)
    by_n = (0 if n >= 0 else value * m.number(-inf)) if x == 0 else value * log
    return value, [m.number(by_x), m.number(by_n)]


def _hypot(m: Any, a: Any, b: Any) -> Any:
    r = m.hypot(a, b)
    return r, [a / r, b / r] if r != 0 else [m.number(0), m.number(0)]


def _atan2(m: Any, y: Any, x: Any) -> Any:
    r = m.hypot(y, x)
    if r == 0:
        return m.atan2(y, x), [m.number(nan)] * 2
    return m.atan2(y, x), [x / r / r, -y / r / r]


def _sigmoid(m: Any, x: Any) -> Any:
    e = m.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e), [e / (1 + e) / (1 + e)]


def _softplus(m: Any, x: Any) -> Any:
    slope, _ = _sigmoid(m, x)
    return (x if x > 0 else 0) + m.log1p(m.exp(-abs(x))), [slope]


def _relu(m: Any, x: Any) -> Any:
    return (x, [x / x if x != x else 1]) if not x <= 0 else (m.number(0), [None])


def _leaky_relu(m: Any, x: Any, slope: Any) -> Any:
    if x > 0:
        return x, [1, None]
    return slope * x, [slope if x == x else x, None if x == 0 else x]


def _jump(f: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda m, x: (m.number(f(x)) if x == x else x, [0])


def _comparison(f: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    return lambda m, a, b: (m.number(1 if f(a, b) else 0), [None, None])


def _where(m: Any, c: Any, a: Any, b: Any) -> Any:
    return (a, [None, 1, None]) if c != 0 else (b, [None, None, 1])


def _clip(m: Any, x: Any, low: Any, high: Any) -> Any:
    if not (x == x and low == low and high == high):
        return m.number(nan), [m.number(nan)] * 3
    if high < max(x, low):
        return high, [None, None, 1]
    return (x, [1, None, None]) if x >= low else (low, [None, 1, None])


def _extreme(choose: Callable[..., Any]) -> Callable[..., Any]:
    def rule(m: Any, *xs: Any) -> Any:
        if any(x != x for x in xs):
            return m.number(nan), [m.number(nan)] * len(xs)
        value = choose(xs)
        share = m.number(1) / sum(1 for x in xs if x == value)
        return value, [share if x == value else None for x in xs]

    return rule


def _pick(m: Any, k: Any, *xs: Any) -> Any:
    return xs[int(k)], [None, *(1 if i == int(k) else None for i in range(len(xs)))]


def _dot(m: Any, *ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    ws, xs, start = ws_xs[:n], ws_xs[n : 2 * n], ws_xs[2 * n :]
    value = start[0] if start else m.number(0)
    for w, x in zip(ws, xs):
        value = m.store(value + m.store(w * x))
    return value, [*xs, *ws, *(1 for _ in start)]


def _total(m: Any, *xs: Any) -> Any:
    value = m.number(0)
    for x in xs:
        value = m.store(value + x)
    return value, [1] * len(xs)


def _mean(m: Any, *xs: Any) -> Any:
    n = len(xs)
    return _total(m, *xs)[0] / n, [m.number(1) / n] * n


def _logsumexp(m: Any, *xs: Any) -> Any:
    top = m.number(nan) if any(x != x for x in xs) else max(xs)
    if top - top != 0:  # an infinity or nan is all of the sum
        value = top
    else:
        i = xs.index(top)
        value = top + m.log1p(_total(m, *(m.exp(x - top) for j, x in enumerate(xs) if j != i))[0])
    alone = value == inf and sum(1 for x in xs if x == inf) == 1
    return value, [m.number(1) if alone and x == inf else m.exp(x - value) for x in xs]


def _unary(name: str, slope: Callable[..., Any]) -> Callable[..., Any]:
    def rule(m: Any, x: Any) -> Any:
        value = getattr(m, name)(x)
        return value, [slope(m, x, value) if value == value else nan]

    return rule


RULES: dict[Op, Callable[..., Any]] = {
    ops.add: lambda m, a, b: (a + b, [1, 1]),
    ops.sub: lambda m, a, b: (a - b, [1, -1]),
    ops.mul: lambda m, a, b: (a * b, [b, a]),
    ops.div: lambda m, a, b: (a / b, [1 / b, -(a / b) / b]),
    ops.power: _power,
    ops.neg: lambda m, x: (-x, [-1]),
    ops.abs_: lambda m, x: (abs(x), [1 if x > 0 else -1 if x < 0 else 0]),
    ops.exp: _unary("exp", lambda m, x, y: y),
    ops.expm1: _unary("expm1", lambda m, x, y: m.exp(x)),
    ops.log: _unary("log", lambda m, x, y: 1 / x),
    ops.log1p: _unary("log1p", lambda m, x, y: 1 / (1 + x)),
    ops.sqrt: _unary("sqrt", lambda m, x, y: 1 / (2 * abs(y))),  # from the right, also at -0.0
    ops.hypot: _hypot,
    ops.sin: _unary("sin", lambda m, x, y: m.cos(x)),
    ops.cos: _unary("cos", lambda m, x, y: -m.sin(x)),
    ops.tan: _unary("tan", lambda m, x, y: 1 / m.cos(x) / m.cos(x)),
    ops.asin: _unary("asin", lambda m, x, y: 1 / m.sqrt((1 - x) * (1 + x))),
    ops.acos: _unary("acos", lambda m, x, y: -1 / m.sqrt((1 - x) * (1 + x))),
    ops.atan: _unary("atan", lambda m, x, y: 1 / (1 + x * x)),
    ops.atan2: _atan2,
    ops.sinh: _unary("sinh", lambda m, x, y: m.cosh(x)),
    ops.cosh: _unary("cosh", lambda m, x, y: m.sinh(x)),
    ops.tanh: _unary("tanh", lambda m, x, y: 1 / m.cosh(x) / m.cosh(x)),
    ops.sigmoid: _sigmoid,
    ops.softplus: _softplus,
    ops.relu: _relu,
    ops.leaky_relu: _leaky_relu,
    ops.sign: _jump(lambda x: 1 if x > 0 else -1 if x < 0 else x),
    ops.step: _jump(lambda x: 1 if x > 0 else 0),
    ops.equal: _comparison(lambda a, b: a == b),
    ops.less: _comparison(lambda a, b: a < b),
    ops.less_equal: _comparison(lambda a, b: a <= b),
    ops.where: _where,
    ops.clip: _clip,
    ops.maximum: _extreme(max),
    ops.minimum: _extreme(min),
    ops.pick: _pick,
    ops.dot: _dot,
    ops.total: _total,
    ops.mean: _mean,
    ops.logsumexp: _logsumexp,
}  # fmt: skip

# a nan of these is a nan in every derivative; the others follow IEEE 754
UNDEFINED_TOGETHER = frozenset((
    ops.abs_, ops.exp, ops.expm1, ops.log, ops.log1p, ops.sqrt, ops.hypot, ops.power, ops.relu, ops.sign, ops.step,
    ops.sin, ops.cos, ops.tan, ops.asin, ops.acos, ops.atan, ops.atan2, ops.sinh, ops.cosh, ops.tanh, ops.sigmoid,
    ops.softplus,
))  # fmt: skip
