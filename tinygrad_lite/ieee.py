"""Values on floats by IEEE 754, where `math` alone would raise or lose digits.

log(0) is -inf, 1/0 is inf, exp(710) is inf, (-2) ** 0.5 is nan. Python's `math` raises in some of these places
and not in others.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import cast

inf, nan = math.inf, math.nan


def same(a: float | None, b: float | None) -> bool:
    """Equal, where nan equals nan."""
    return a == b or (a != a and b != b)


def quiet(f: Callable[..., float], overflow: Callable[..., float] = lambda *x: inf) -> Callable[..., float]:
    """f from `math`, its exceptions turned into the values of IEEE 754."""

    def value(*x: float) -> float:
        try:
            return f(*x)
        except OverflowError:
            return overflow(*x)
        except ValueError:
            return nan

    return value


def div(a: float, b: float) -> float:
    try:
        return a / b
    except ZeroDivisionError:
        return nan if a == 0.0 or a != a else math.copysign(inf, a) * math.copysign(1.0, b)


def power(x: float, n: float) -> float:
    if not x.__class__ is n.__class__ is float:
        return cast(float, x**n)  # of another type, which the recorders see
    if n == 2.0:
        return x * x  # `pow` differs from x * x in the last bit at some points
    try:
        return math.pow(x, n)
    except (OverflowError, ValueError):  # too large; 0 ** -n; negative ** fraction
        if x < 0.0 and n != math.floor(n):
            return nan
        return math.copysign(inf, x) if abs(math.fmod(n, 2.0)) == 1.0 else inf  # n % 2.0 may round to 1


def log(x: float) -> float:
    return math.log(x) if x > 0.0 else -inf if x == 0.0 else nan


def log1p(x: float) -> float:
    return math.log1p(x) if x > -1.0 else -inf if x == -1.0 else nan


exp, expm1, sqrt, cosh = quiet(math.exp), quiet(math.expm1), quiet(math.sqrt), quiet(math.cosh)
sinh = quiet(math.sinh, lambda x: math.copysign(inf, x))
sin, cos, tan = quiet(math.sin), quiet(math.cos), quiet(math.tan)
asin, acos = quiet(math.asin), quiet(math.acos)
asinh, acosh = math.asinh, quiet(math.acosh)
exp2 = quiet(math.exp2)


def cbrt(x: float) -> float:
    y = math.cbrt(x)  # which may be two units off: one step of Newton's
    return y - (y - x / (y * y)) / 3.0 if y and y - y == 0.0 else y


def log2(x: float) -> float:
    return math.log2(x) if x > 0.0 else -inf if x == 0.0 else nan


def log10(x: float) -> float:
    return math.log10(x) if x > 0.0 else -inf if x == 0.0 else nan


def atanh(x: float) -> float:
    return math.atanh(x) if -1.0 < x < 1.0 else math.copysign(inf, x) if abs(x) == 1.0 else nan


def mod(a: float, b: float) -> float:
    """Python's a % b: its sign is that of b."""
    try:
        return a % b
    except ZeroDivisionError:
        return nan


def floor_div(a: float, b: float) -> float:
    try:
        return a // b
    except ZeroDivisionError:
        return div(a, b)


def floor(x: float) -> float:
    return math.copysign(math.floor(x), x) if x - x == 0.0 else x


def nearest(x: float) -> float:
    """The nearest whole number, of two the even one."""
    return math.copysign(round(x), x) if x - x == 0.0 else x


def detach(x: float) -> float:
    return x


def sigmoid(x: float) -> float:
    if x < 0.0:  # exp of the negative side never overflows, and keeps tiny results
        e = math.exp(x)
        return e / (1.0 + e)
    return 1.0 / (1.0 + math.exp(-x))


def relu(x: float) -> float:
    return 0.0 if x <= 0.0 else x


def leaky_relu(x: float, slope: float) -> float:
    return x if x > 0.0 else slope * x


def softplus(x: float) -> float:
    return (0.0 if x < 0.0 else x) + math.log1p(math.exp(-abs(x)))


def sign(x: float) -> float:
    return math.copysign(1.0, x) if x < 0.0 or x > 0.0 else x


def step(x: float) -> float:
    return 1.0 if x > 0.0 else 0.0 if x <= 0.0 else x


def equal(a: float, b: float) -> float:
    return float(a == b)


def less(a: float, b: float) -> float:
    return float(a < b)


def less_equal(a: float, b: float) -> float:
    return float(a <= b)


def where(condition: float, a: float, b: float) -> float:
    return a if condition else b


def maximum(*xs: float) -> float:
    largest = xs[0]
    for x in xs:
        if x > largest or x != x:
            largest = x
    return largest


def minimum(*xs: float) -> float:
    smallest = xs[0]
    for x in xs:
        if x < smallest or x != x:
            smallest = x
    return smallest


def clip(x: float, low: float, high: float) -> float:
    return minimum(maximum(x, low), high)


def pick(k: float, *xs: float) -> float:
    return xs[_place("pick", k, xs)]


def _place(name: str, k: float, xs: tuple[float, ...]) -> int:
    if not (0.0 <= k < len(xs) and k == math.floor(k)):
        raise ValueError(f"{name} expects a whole number from 0 to {len(xs) - 1}, got {k!r}")
    return int(k)


def total(*xs: float) -> float:
    s = 0.0  # not the builtin sum: from Python 3.12 on it compensates, and results would differ
    for x in xs:
        s += x
    return s


def mean(*xs: float) -> float:
    return total(*xs) / len(xs)


def dot(*ws_xs: float) -> float:
    n = len(ws_xs) // 2
    s = ws_xs[-1] if len(ws_xs) % 2 else 0.0
    for product in map(operator.mul, ws_xs[:n], ws_xs[n : 2 * n]):
        s += product
    return s


def exp_difference(a: float, b: float) -> float:
    """exp(a - b), though a - b rounds: what an error there leaves of exp(-40) is half its last four digits."""
    d = a - b
    e = exp(d)
    if not 0.0 < e < inf:
        return e
    back = d - a
    return e + e * ((a - (d - back)) - (b + back))  # exactly what rounding took of a - b (Knuth 1969)


def logsumexp(*xs: float) -> float:
    m = maximum(*xs)
    return m + _log_rest(m, xs) if m - m == 0.0 else m  # an infinity or nan decides alone


def cross_entropy(*xs_k: float) -> float:
    """logsumexp(xs) - xs[k], by differences alone: also where the scores are so large that the sum drowns in them."""
    xs = xs_k[:-1]
    x, m = xs[_place("cross_entropy", xs_k[-1], xs)], maximum(*xs)
    if m - m != 0.0:
        return 0.0 if x == m and xs.count(inf) == 1 else m - x
    return _log_rest(m, xs) if x == m else (m - x) + _log_rest(m, xs)


def _log_rest(m: float, xs: tuple[float, ...]) -> float:
    """log of the sum of exp(x - m), the largest x being m: apart from the others, a small rest is not rounded away."""
    i = xs.index(m)
    return math.log1p(total(*(exp_difference(x, m) for j, x in enumerate(xs) if j != i)))
