"""How far the results of each operation may be from the truth: one table. No tests.

`python -m tests.accuracy` prints it as tests/README.md shows it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from tinygrad_lite import ops

from .edge_table import inf, nan
from .oracle import logistic, logsumexp_reference, mp, mpf, negative, power, tanh, whole

LARGEST = mpf(1.7976931348623157e308)
LEAST_NORMAL = mpf(2.2250738585072014e-308)
LEAST_INVERSE = 5.562684646268008e-309  # 1 / x overflows below


Bounds = tuple[float, float, float]


class Beyond(NamedTuple):
    """From this order on (1: partials, 2: second partials), at the operands `where`, the result is `instead` of the
    truth; None: it may be anything. why: for the reader of the table."""

    order: int
    where: Callable[..., bool]
    instead: float | None
    why: str

    def allows(self, order, point, got):
        return order >= self.order and self.where(*point) and (self.instead is None or error(got, self.instead) == 0.0)


class Accuracy(NamedTuple):
    """eager, compiled: bounds for the value, the first and the second partials, in ulp: the spacing of floats at the
    true result, which below 2.2e-308 is 5e-324.

    units: for some orders the error is counted in 2^-52 x another number where that is larger: a function of the
    operands that gives one for each part, and what it is, for the reader.
    """

    eager: Bounds
    compiled: Bounds
    units: Mapping[int, tuple[Callable[..., list[Any]], str]] = MappingProxyType({})
    beyond: tuple[Beyond, ...] = ()


# --- what the error is counted in


def small(factor):
    """A result below the normal floats is off by up to 5e-324, and a factor after it multiplies that."""
    return mp.fabs(factor) * LEAST_NORMAL


def rounded_away(n, k):
    """What float arithmetic loses of n - k when it subtracts k times 1, in units of 2^-52."""
    left = float(n)
    for _ in range(k):
        left -= 1.0
    return mp.fabs(mpf(left) - (n - k)) * 2**52


def power_first(x, n):
    log = mp.log(mp.fabs(x))
    value, slope = mp.fabs(power(x, n)), mp.fabs(n * power(x, n - 1))
    return [slope * (1 + rounded_away(n, 1) * mp.fabs(log)) + small(n), value * mp.fabs(log) + small(log)]


def power_second(x, n):
    log, below = mp.fabs(mp.log(mp.fabs(x))), mp.fabs(power(x, n - 1))
    once, twice = 1 + rounded_away(n, 1) * log, 1 + rounded_away(n, 2) * log
    curved = mp.fabs(n * (n - 1) * power(x, n - 2)) * twice + small(n * n)
    mixed = below * (1 + mp.fabs(n) * log) * once + small(1 + n * log)
    return [curved, mixed, mixed + small(1 / x), mp.fabs(power(x, n)) * log**2 + small(log**2)]


def radius(a, b):
    return mp.sqrt(a * a + b * b)


def hypot_first(a, b):
    return [1 + LEAST_NORMAL / radius(a, b)] * 2


def hypot_second(a, b):
    r = radius(a, b)
    mixed = mp.fabs(a * b) / r**3
    return [1 / r + a * a / r**3, mixed, mixed, 1 / r + b * b / r**3]


def atan2_second(y, x):
    r = radius(x, y)
    lost = small(2 * (mp.fabs(x) + mp.fabs(y)) if 1e-75 < r < 1e75 else 2)  # where it divides once, and twice
    pure = 2 * mp.fabs(x * y) / r**4 + lost
    return [pure, 1 / r**2 + 2 * x * x / r**4 + lost, 1 / r**2 + 2 * y * y / r**4 + lost, pure]


def terms(*xs):
    return sum(map(mp.fabs, xs))


def products(*ws_xs):
    n = len(ws_xs) // 2
    return terms(*[w * x for w, x in zip(ws_xs, ws_xs[n:])], *ws_xs[2 * n :]) + small(n)


def logsumexp_value(*xs):
    return [terms(max(xs), logsumexp_reference(*xs)[0] - max(xs))]


def logsumexp_first(*xs):
    out, p, _ = logsumexp_reference(*xs)
    return [p_i * (1 + mp.fabs(x) + mp.fabs(out)) for p_i, x in zip(p, xs)]


def logsumexp_second(*xs):
    out, p, _ = logsumexp_reference(*xs)
    n = range(len(xs))
    return [p[i] * ((i == j) + p[j]) * (1 + terms(xs[i], xs[j], out)) for i in n for j in n]


# --- where the promise ends


def infinite(*xs):
    return any(map(math.isinf, xs))


def overflows(f):
    """Does f of the finite operands, in exact numbers, give more than a float holds?"""
    return lambda *xs: f(*[mpf(x) if math.isfinite(x) else mpf(0) for x in xs]) > LARGEST


def power_overflows(x, n, k):
    """x^(n - k) does."""
    return math.isfinite(x) and math.isfinite(n) and x != 0.0 and mp.fabs(power(mpf(x), mpf(n) - k)) > LARGEST


LIMIT = "infinite operands (nan for a limit)"

# --- the table

EXACT = 0.0, 0.0, 0.0
ROUNDED = 0.5, 0.0, 0.0  # correctly, as IEEE 754 asks
AT_ITS_ENDS = (Beyond(2, lambda x: abs(x) == 1.0, nan, "+-1 (nan)"),)
ON_THE_WAY = Beyond(0, overflows(terms), None, "a sum overflows on the way")

ACCURACY: dict[ops.Op, Accuracy] = {
    ops.add: Accuracy(ROUNDED, ROUNDED),
    ops.sub: Accuracy(ROUNDED, ROUNDED),
    ops.mul: Accuracy(ROUNDED, ROUNDED),
    ops.div: Accuracy(
        (0.5, 2.0, 3.0), (0.5, 2.0, 3.0),
        beyond=(Beyond(2, lambda a, b: a == 0.0 and abs(b) < LEAST_INVERSE, nan, "0 / b where 1 / b overflows (nan)"),),
    ),
    ops.power: Accuracy(
        (1.0, 4.0, 4.0), (1.0, 4.0, 4.0),
        {
            1: (power_first, "the slope times ln |x| times what n - 1 loses"),
            2: (power_second, "the same, and terms that cancel"),
        },
        (
            Beyond(1, infinite, nan, LIMIT),
            Beyond(1, lambda x, n: negative(x) and abs(n) >= 2.0**53, None, "x < 0 and |n| >= 2^53 (n - 1 rounds)"),
            Beyond(1, lambda x, n: x == 0.0 and negative(x) and not whole(n), None, "x is -0 and n not whole"),
            Beyond(1, lambda x, n: power_overflows(x, n, 1), None, "x^(n-1) overflows"),
            Beyond(2, lambda x, n: power_overflows(x, n, 2), None, "x^(n-2) overflows"),
            Beyond(2, lambda x, n: power_overflows(x, n, 0), None, "x^n overflows"),
            Beyond(2, lambda x, n: 0.0 < abs(x) < LEAST_INVERSE, None, "1 / x overflows"),
            Beyond(2, lambda x, n: x == 0.0 and (n <= 1.0 or negative(x)), None, "x is 0 and n <= 1, or x is -0"),
        ),
    ),
    ops.neg: Accuracy(EXACT, EXACT),
    ops.abs_: Accuracy(EXACT, EXACT),
    ops.exp: Accuracy((1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
    ops.expm1: Accuracy((1.0, 1.0, 1.0), (2.0, 1.5, 1.5)),
    ops.log: Accuracy((1.0, 0.5, 2.0), (1.0, 0.5, 2.0)),
    ops.log1p: Accuracy((1.0, 2.0, 3.0), (1.0, 2.0, 3.0)),
    ops.sqrt: Accuracy((0.5, 1.0, 1.0), (0.5, 1.0, 1.0)),
    ops.hypot: Accuracy(
        (1.0, 2.0, 4.0), (1.0, 2.0, 4.0),
        {1: (hypot_first, "1 + 2^-1022 / r"), 2: (hypot_second, "1 / r + a^2 / r^3, which cancel, or the truth")},
        (
            Beyond(1, infinite, nan, LIMIT),
            Beyond(1, overflows(radius), None, "r overflows"),
            Beyond(2, lambda a, b: math.hypot(a, b) < LEAST_INVERSE, nan, "1 / r overflows (nan)"),
        ),
    ),
    ops.sin: Accuracy((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
    ops.cos: Accuracy((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
    ops.tan: Accuracy((1.0, 2.0, 4.0), (1.0, 2.0, 4.0)),
    ops.asin: Accuracy((1.0, 2.0, 4.0), (1.0, 2.0, 4.0), beyond=AT_ITS_ENDS),
    ops.acos: Accuracy((1.0, 2.0, 4.0), (1.0, 2.0, 4.0), beyond=AT_ITS_ENDS),
    ops.atan: Accuracy(
        (1.0, 2.0, 4.0), (1.0, 2.0, 4.0),
        {2: (lambda x: [small(2 * x)], "2^-1022 x 2 |x|")},
        (Beyond(1, lambda x: x * x == inf, 0.0, "x^2 overflows (0)"), Beyond(2, infinite, nan, LIMIT)),
    ),
    ops.atan2: Accuracy(
        (1.0, 3.0, 4.0), (1.0, 3.0, 4.0),
        {2: (atan2_second, "1 / r^2 + 2 x^2 / r^4, which cancel, or the truth")},
        (
            Beyond(1, infinite, nan, LIMIT),
            Beyond(1, overflows(radius), 0.0, "r overflows (0)"),
            Beyond(2, lambda y, x: math.hypot(x, y) < 1e-102, None, "1 / r^3 overflows"),
        ),
    ),
    ops.sinh: Accuracy((2.0, 2.0, 2.0), (2.0, 2.0, 2.0)),
    ops.cosh: Accuracy((2.0, 2.0, 2.0), (2.0, 2.0, 2.0)),
    # 1 - out^2 and out (1 - out) where out is near 1
    ops.tanh: Accuracy(
        (2.0, 2.0, 2.0), (2.5, 2.0, 2.0),
        {1: (lambda x: [1], "1"), 2: (lambda x: [2 * mp.fabs(tanh(x))], "2 |tanh x|")},
    ),
    # s errs by up to 1.8 ulp, and s (1 - s) (1 - 2 s) rounds thrice: 2.2 seen in 10,000 points
    ops.sigmoid: Accuracy(
        (2.0, 2.0, 3.0), (2.0, 2.0, 3.0), dict.fromkeys((1, 2), (lambda x: [logistic(x)], "sigmoid x")),
    ),
    ops.softplus: Accuracy((2.0, 2.0, 2.0), (2.0, 2.0, 2.0), {2: (lambda x: [logistic(x)], "sigmoid x")}),
    ops.relu: Accuracy(EXACT, EXACT),
    ops.leaky_relu: Accuracy(ROUNDED, ROUNDED),
    ops.sign: Accuracy(EXACT, EXACT),
    ops.step: Accuracy(EXACT, EXACT),
    ops.equal: Accuracy(EXACT, EXACT),
    ops.less: Accuracy(EXACT, EXACT),
    ops.less_equal: Accuracy(EXACT, EXACT),
    ops.where: Accuracy(EXACT, EXACT),
    ops.clip: Accuracy(EXACT, EXACT),
    ops.maximum: Accuracy((0.0, 0.5, 0.0), (0.0, 0.5, 0.0)),  # 1/k at a tie
    ops.minimum: Accuracy((0.0, 0.5, 0.0), (0.0, 0.5, 0.0)),
    ops.pick: Accuracy(EXACT, EXACT),
    ops.dot: Accuracy(
        (2.0, 0.0, 0.0), (2.0, 0.0, 0.0), {0: (lambda *xs: [products(*xs)], "the sum of |w x|")},
        (Beyond(0, overflows(products), None, "a sum overflows on the way"),),
    ),
    ops.total: Accuracy(
        (2.0, 0.0, 0.0), (2.0, 0.0, 0.0), {0: (lambda *xs: [terms(*xs)], "the sum of |x|")}, (ON_THE_WAY,)
    ),
    ops.mean: Accuracy(
        (2.0, 0.5, 0.0), (2.0, 0.5, 0.0), {0: (lambda *xs: [terms(*xs) / len(xs)], "the mean of |x|")}, (ON_THE_WAY,)
    ),
    ops.logsumexp: Accuracy(
        (2.0, 2.0, 2.0), (2.0, 2.0, 2.0),
        {
            0: (logsumexp_value, "|max| + |out - max|"),
            1: (logsumexp_first, "p_i (1 + |x_i| + |out|)"),
            2: (logsumexp_second, "p_i (1 + p_j) (1 + |x_i| + |x_j| + |out|)"),
        },
        (Beyond(2, infinite, nan, LIMIT),),
    ),
}  # fmt: skip

# --- the measure


def error(got, exact, unit=0):
    """|got - exact| in ulp of exact, or in 2^-52 x unit where that is larger. Of what is not finite, 0 or inf."""
    nearest = float(exact)
    if not math.isfinite(nearest) or not math.isfinite(got):
        return 0.0 if got == nearest or (got != got and nearest != nearest) else inf
    ulp = mpf(math.ulp(nearest))
    if unit and mp.isfinite(unit):
        ulp = max(ulp, mpf(unit) * mpf(2) ** -52)
    return float(mp.fabs(mpf(got) - exact) / ulp)


def misses(op, order, point, i, got, exact, bound):
    """How far part i of this order is off, in its units; 0 where the promise ends and the answer is as stated there."""
    off = error(got, exact)
    if off > bound and any(end.allows(order, point, got) for end in ACCURACY[op].beyond):
        return 0.0
    if off > bound and order in ACCURACY[op].units:
        return error(got, exact, units(op, order, point)[i])
    return off


@functools.cache
def units(op, order, point):
    try:
        return ACCURACY[op].units[order][0](*map(mpf, point))
    except ZeroDivisionError:  # a pole
        return [0] * len(point) ** order


# --- for the reader

ORDERS = "value", "first", "second"


def table():
    """The lines of the table in tests/README.md."""
    lines = [
        "| operation | eager | compiled | counted in | nothing is promised for |",
        "|---|---|---|---|---|",
    ]
    for op, row in ACCURACY.items():
        eager, compiled = (" / ".join(f"{bound:g}" for bound in bounds) for bounds in (row.eager, row.compiled))
        same = "same" if compiled == eager else compiled
        units = [f"{ORDERS[order]}: {text}" for order, (_, text) in row.units.items()]
        ends = [
            f"{ORDERS[order]}: " + ", or ".join(end.why for end in row.beyond if end.order == order)
            for order in sorted({end.order for end in row.beyond})
        ]
        cells = op.name, eager, same, "; ".join(units) or "ulp", "; ".join(ends)
        lines.append(" | ".join(cell.replace("|", "\\|") for cell in ("", *cells, "")).strip())
    return lines


if __name__ == "__main__":
    print(*table(), sep="\n")
