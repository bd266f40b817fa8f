"""One record for each operation of `tinygrad_lite.ops.OPS`: all that the tests need to know about it.

Its form, and what a record is made of, is in operation.py. `missing()` tells what a new operation still needs.
"""

from __future__ import annotations

import math
import operator
from pathlib import Path
from random import Random
from typing import Any

import tinygrad_lite
from tinygrad_lite import nn, ops
from tinygrad_lite.compiler import vector_math
from tinygrad_lite.compiler.elementwise import ELEMENTWISE
from tinygrad_lite.compiler.lowerings import LOWERINGS
from tinygrad_lite.export.rows import ROWS

from .operation import *

# --- references


def power_reference(x: Any, n: Any) -> Any:
    value = power(x, n)
    if mp.isnan(value):
        return value, [value] * 2, [[value] * 2] * 2
    log, below = mp.log(x) if x > 0 else mp.nan, power(x, n - 1)
    mixed = below * (1 + n * log)
    return value, [n * below, value * log], [[n * (n - 1) * power(x, n - 2), mixed], [mixed, value * log**2]]


def whole_quotient(a: Any, b: Any) -> Any:
    """a / b rounded down, as Python's // has it."""
    if b == 0:
        return a * mp.inf
    if any(map(mp.isnan, (a, b))) or mp.isinf(a):
        return mp.nan
    if mp.isinf(b):
        return mpf(-1 if a * b < 0 else 0)
    return mp.nint((a - a % b) / b)  # mpmath's % is exact, its a / b is not


def remainder(a: Any, b: Any) -> Any:
    """What is left of a after whole b's, of the sign of b."""
    if any(map(mp.isnan, (a, b))) or mp.isinf(a) or b == 0:
        return mp.nan
    if mp.isinf(b):
        return b if a * b < 0 else a
    return a % b


def mod_reference(a: Any, b: Any) -> Any:
    whole = whole_quotient(a, b)
    return remainder(a, b), [1, -whole], [[0, 0], [mp.nan if mp.isnan(whole) else 0] * 2]


def floor_div_reference(a: Any, b: Any) -> Any:
    whole = whole_quotient(a, b)
    return constant_nan(2) if mp.isnan(whole) else constant(whole, 2)


def hypot_reference(a: Any, b: Any) -> Any:
    r = mp.sqrt(a * a + b * b)
    mixed = -a * b / r**3
    return r, [a / r, b / r], [[b * b / r**3, mixed], [mixed, a * a / r**3]]


def atan2_reference(y: Any, x: Any) -> Any:
    r2 = x * x + y * y
    yy, yx = -2 * x * y / r2**2, (y * y - x * x) / r2**2
    return mp.atan2(y, x), [x / r2, -y / r2], [[yy, yx], [yx, -yy]]


def dot_reference(*ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    ws, xs, start = ws_xs[:n], ws_xs[n : 2 * n], ws_xs[2 * n :]
    partner = {**{i: i + n for i in range(n)}, **{i + n: i for i in range(n)}}
    hessian = [[int(partner.get(i) == j) for j in range(len(ws_xs))] for i in range(len(ws_xs))]
    return sum([w * x for w, x in zip(ws, xs)], sum(start)), [*xs, *ws, *(1 for _ in start)], hessian


def logsumexp_reference(*xs: Any) -> Any:
    *others, largest = sorted(xs)
    s = sum([exp(x - largest) for x in others])
    p = [exp(x - largest) / (1 + s) for x in xs]
    n = range(len(xs))
    return largest + mp.log1p(s), p, [[p[i] * ((i == j) - p[j]) for j in n] for i in n]


def cross_entropy_reference(*xs_k: Any) -> Any:
    """log of the sum of exp(x - x_k), for the class k; by the class itself there is no derivative."""
    xs, k = xs_k[:-1], int(mp.nint(xs_k[-1]))
    *others, largest = sorted(xs)
    _, p, hessian = logsumexp_reference(*xs)
    wrong = sum([p_i for i, p_i in enumerate(p) if i != k], mpf(0))
    value = largest - xs[k] + mp.log1p(sum([exp(x - largest) for x in others]))
    gradient = [-wrong if i == k else p_i for i, p_i in enumerate(p)]
    return value, [*gradient, 0], [*([*row, 0] for row in hessian), [0] * len(xs_k)]


def exp_difference_reference(a: Any, b: Any) -> Any:
    e = exp(a - b)
    return e, [e, -e], [[e, -e], [-e, e]]


def power_of_two(x: Any) -> Any:
    return mp.power(2, x) if mp.fabs(x) < 1e5 else exp(x * mp.ln2)


def cube_root(x: Any) -> Any:
    return mp.sign(x) * mp.cbrt(mp.fabs(x))


def cbrt_second(x: Any) -> Any:
    return -2 / (9 * x * cube_root(x) ** 2)


def erf(x: Any) -> Any:
    return mp.erf(x) if mp.fabs(x) < 1e3 else mp.sign(x)


def bell(x: Any) -> Any:
    """erf's slope."""
    return 2 / mp.sqrt(mp.pi) * exp(-x * x)


def leaky_relu_reference(x: Any, slope: Any) -> Any:
    if x > 0:
        return linear(x, [1, 0])
    hessian = [[0, 1], [x != 0, 0]]  # at the kink x = 0 there is nothing to select
    if mp.isnan(x):
        return mp.nan, [mp.nan] * 2, [[mp.nan] * 2, hessian[1]]
    return slope * x, [slope, x], hessian


def extreme_reference(choose: Any) -> Any:
    def reference(*xs: Any) -> Any:
        if any(map(mp.isnan, xs)):
            return linear(mp.nan, [mp.nan] * len(xs))
        best = choose(xs)
        ties = sum(x == best for x in xs)
        return linear(best, [mpf(x == best) / ties for x in xs])

    return reference


def clip_reference(x: Any, low: Any, high: Any) -> Any:
    if any(map(mp.isnan, (x, low, high))):
        return constant_nan(3)
    if high < low:
        return selected((x, low, high), 2)
    return selected((x, low, high), 1 if x < low else 2 if x > high else 0)


# --- what IEEE 754, C99 or the table of edge cases say, and no limit


def div_amended(parts: list[Any], a: float, b: float) -> list[Any]:
    if a == 0.0 == b or (math.isinf(a) and math.isinf(b)):
        parts[2] = parts[6] = nan  # -(a / b) / b, as IEEE gives it
    return parts


def hypot_amended(parts: list[Any], a: float, b: float) -> list[Any]:
    if a == 0.0 == b:
        return [0.0] * 7  # a kink: the subgradient of least norm
    if math.isinf(a) or math.isinf(b):
        parts[0] = inf  # also beside nan
    return parts


def atan2_amended(parts: list[Any], y: float, x: float) -> list[Any]:
    if y == 0.0 == x or (math.isinf(y) and math.isinf(x)):
        return [math.atan2(y, x)] + [nan] * 6  # C99 has a value
    if y == 0.0:
        parts[0] = math.atan2(y, x)  # -pi at -0
    return parts


def power_ends_at_0(x: float, n: float) -> bool:
    """Like the square root of -0, and a power of -infinity."""
    return negative(x) and (x == 0.0 or math.isinf(x)) and not whole(n)


def power_amended(parts: list[Any], x: float, n: float) -> list[Any]:
    if n == 0.0:
        parts[0], parts[1], parts[3] = 1.0, 0.0, 0.0  # also of nan and infinities
        parts[4] = 0.0 if x != x else parts[4]  # the derivative of that 0
    if x == 0.0:
        parts[2] = 0.0 if n >= 0.0 else parts[0] * -inf  # 0^n is constant in n, or x^n log x
    return parts


def dot_amended(parts: list[Any], *ws_xs: float) -> list[Any]:
    n = len(ws_xs) // 2
    if any(math.isnan(w * x) for w, x in zip(ws_xs, ws_xs[n : 2 * n])):
        parts[0] = nan  # 0 x infinity, however large the other terms are
    return parts


# --- what errors are counted in


def rounded_away(n: Any, k: int) -> Any:
    """What float arithmetic loses of n - k when it subtracts k times 1, in units of 2^-52."""
    left = float(n)
    for _ in range(k):
        left -= 1.0
    return mp.fabs(mpf(left) - (n - k)) * 2**52


def power_first(x: Any, n: Any) -> list[Any]:
    log = mp.log(mp.fabs(x))
    value, slope = mp.fabs(power(x, n)), mp.fabs(n * power(x, n - 1))
    return [slope * (1 + rounded_away(n, 1) * mp.fabs(log)) + small(n), value * mp.fabs(log) + small(log)]


def power_second(x: Any, n: Any) -> list[Any]:
    log, below = mp.fabs(mp.log(mp.fabs(x))), mp.fabs(power(x, n - 1))
    once, twice = 1 + rounded_away(n, 1) * log, 1 + rounded_away(n, 2) * log
    curved = mp.fabs(n * (n - 1) * power(x, n - 2)) * twice + small(n * n)
    mixed = below * (1 + mp.fabs(n) * log) * once + small(1 + n * log)
    return [curved, mixed, mixed + small(1 / x), mp.fabs(power(x, n)) * log**2 + small(log**2)]


def power_overflows(x: float, n: float, k: int) -> bool:
    """x^(n - k) does."""
    return math.isfinite(x) and math.isfinite(n) and x != 0.0 and mp.fabs(power(mpf(x), mpf(n) - k)) > LARGEST


def radius(a: Any, b: Any) -> Any:
    return mp.sqrt(a * a + b * b)


def hypot_first(a: Any, b: Any) -> list[Any]:
    return [1 + LEAST_NORMAL / radius(a, b)] * 2


def hypot_second(a: Any, b: Any) -> list[Any]:
    r = radius(a, b)
    mixed = mp.fabs(a * b) / r**3
    return [1 / r + a * a / r**3, mixed, mixed, 1 / r + b * b / r**3]


def atan2_second(y: Any, x: Any) -> list[Any]:
    r = radius(x, y)
    lost = small(2 * (mp.fabs(x) + mp.fabs(y)) if 1e-75 < r < 1e75 else 2)  # where it divides once, and twice
    pure = 2 * mp.fabs(x * y) / r**4 + lost
    return [pure, 1 / r**2 + 2 * x * x / r**4 + lost, 1 / r**2 + 2 * y * y / r**4 + lost, pure]


def terms(*xs: Any) -> Any:
    return sum(map(mp.fabs, xs))


def products(*ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    return terms(*[w * x for w, x in zip(ws_xs, ws_xs[n:])], *ws_xs[2 * n :]) + small(n)


def logsumexp_value(*xs: Any) -> list[Any]:
    return [terms(max(xs), logsumexp_reference(*xs)[0] - max(xs))]


def shares_second(*xs: Any) -> list[Any]:
    """What cancels in p_i (1 - p_i), which is p_i - p_i p_i; beside the diagonal two probabilities' errors add up."""
    _, p, _ = logsumexp_reference(*xs)
    n = range(len(xs))
    return [p[i] * (1 + p[i]) if i == j else 2 * p[i] * p[j] for i in n for j in n]


def scores_second(*xs_k: Any) -> list[Any]:
    units, n = shares_second(*xs_k[:-1]), len(xs_k) - 1
    return [units[i * n + j] if i < n > j else mpf(0) for i in range(n + 1) for j in range(n + 1)]


AT_ITS_ENDS = (Beyond(2, lambda x: abs(x) == 1.0, nan, "+-1 (nan)"),)
SEVERAL_INFINITE = Beyond(1, lambda *xs: xs.count(inf) > 1, nan, "several infinite operands (nan)")
ON_THE_WAY = (Beyond(0, overflows(terms), None, "a sum overflows on the way"),)

# --- rules for dual numbers


def power_dual(m: Any, x: Any, n: Any) -> Any:
    value = x * x if n == 2 else m.power(x, n)
    log = m.log(x) if x > 0 else nan
    by_x = 0 if n == 0 and not abs(x) > 0 else n * m.power(x, n - 1)
    by_n = (0 if n >= 0 else value * m.number(-inf)) if x == 0 else value * log
    return value, [m.number(by_x), m.number(by_n)]


def exp_difference_dual(m: Any, a: Any, b: Any) -> Any:
    """The larger part of a - b, and what rounding leaves of it, apart: exact for 53 bits."""
    d = a - b
    e = m.exp(d)
    if 0 < e < inf:
        back = d - a
        e *= 1 + ((a - (d - back)) - (b + back))
    return e, [e, -e]


def hypot_dual(m: Any, a: Any, b: Any) -> Any:
    r = m.hypot(a, b)
    return r, [a / r, b / r] if r != 0 else [m.number(0), m.number(0)]


def atan2_dual(m: Any, y: Any, x: Any) -> Any:
    r = m.hypot(y, x)
    if r == 0:
        return m.atan2(y, x), [m.number(nan)] * 2
    return m.atan2(y, x), [x / r / r, -y / r / r]


def mod_dual(m: Any, a: Any, b: Any) -> Any:
    whole, _ = floor_div_dual(m, a, b)
    if abs(b) == inf and a - a == 0:
        return (b if whole < 0 else a), [1, -whole]
    return a % b, [1, -whole]


def floor_div_dual(m: Any, a: Any, b: Any) -> Any:
    if abs(b) == inf and a - a == 0:
        return m.number(-1 if a * b < 0 else 0), [0, 0]
    return (a / b if b == 0 else m.floor((a - a % b) / b + m.number(0.5))), [0, 0]


def cbrt_dual(m: Any, x: Any) -> Any:
    y = -m.cbrt(-x) if x < 0 else m.cbrt(x)
    return y, [1 / (3 * y * y)]


def acosh_slope(m: Any, x: Any, y: Any) -> Any:
    return 1 / m.sqrt(x - 1) / m.sqrt(x + 1)


def sigmoid_dual(m: Any, x: Any) -> Any:
    e = m.exp(-abs(x))
    return (1 if x >= 0 else e) / (1 + e), [e / (1 + e) / (1 + e)]


def softplus_dual(m: Any, x: Any) -> Any:
    slope, _ = sigmoid_dual(m, x)
    return (x if x > 0 else 0) + m.log1p(m.exp(-abs(x))), [slope]


def relu_dual(m: Any, x: Any) -> Any:
    return (x, [x / x if x != x else 1]) if not x <= 0 else (m.number(0), [None])


def leaky_relu_dual(m: Any, x: Any, slope: Any) -> Any:
    if x > 0:
        return x, [1, None]
    return slope * x, [slope if x == x else x, None if x == 0 else x]


def where_dual(m: Any, c: Any, a: Any, b: Any) -> Any:
    return (a, [None, 1, None]) if c != 0 else (b, [None, None, 1])


def clip_dual(m: Any, x: Any, low: Any, high: Any) -> Any:
    if not (x == x and low == low and high == high):
        return m.number(nan), [m.number(nan)] * 3
    if high < max(x, low):
        return high, [None, None, 1]
    return (x, [1, None, None]) if x >= low else (low, [None, 1, None])


def extreme_dual(choose: Any) -> Any:
    def rule(m: Any, *xs: Any) -> Any:
        if any(x != x for x in xs):
            return m.number(nan), [m.number(nan)] * len(xs)
        value = choose(xs)
        share = m.number(1) / sum(1 for x in xs if x == value)
        return value, [share if x == value else None for x in xs]

    return rule


def pick_dual(m: Any, k: Any, *xs: Any) -> Any:
    return xs[int(k)], [None, *(1 if i == int(k) else None for i in range(len(xs)))]


def dot_dual(m: Any, *ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    ws, xs, start = ws_xs[:n], ws_xs[n : 2 * n], ws_xs[2 * n :]
    value = start[0] if start else m.number(0)
    for w, x in zip(ws, xs):
        value = m.store(value + m.store(w * x))
    return value, [*xs, *ws, *(1 for _ in start)]


def total_dual(m: Any, *xs: Any) -> Any:
    value = m.number(0)
    for x in xs:
        value = m.store(value + x)
    return value, [1] * len(xs)


def mean_dual(m: Any, *xs: Any) -> Any:
    n = len(xs)
    return total_dual(m, *xs)[0] / n, [m.number(1) / n] * n


def logsumexp_dual(m: Any, *xs: Any) -> Any:
    top = m.number(nan) if any(x != x for x in xs) else max(xs)
    if top - top != 0:  # an infinity or nan is all of the sum
        value = top
    else:
        i = xs.index(top)
        value = top + m.log1p(total_dual(m, *(m.exp(x - top) for j, x in enumerate(xs) if j != i))[0])
    alone = value == inf and sum(1 for x in xs if x == inf) == 1
    return value, [m.number(1) if alone and x == inf else m.exp(x - value) for x in xs]


def cross_entropy_dual(m: Any, *xs_k: Any) -> Any:
    xs, k = xs_k[:-1], int(xs_k[-1])
    top = m.number(nan) if any(x != x for x in xs) else max(xs)
    alone = top == inf and sum(1 for x in xs if x == inf) == 1
    if top - top != 0:
        value = m.number(0) if alone and xs[k] == inf else top - xs[k]
        p = [m.number(1 if x == inf else 0) if alone else m.number(nan) for x in xs]
    else:
        powers = [exp_difference_dual(m, x, top)[0] for x in xs]
        rest = total_dual(m, *(e for i, e in enumerate(powers) if i != xs.index(top)))[0]
        value = (top - xs[k]) + m.log1p(rest)
        p = [e / (1 + rest) for e in powers]
    p[k] = m.expm1(-value)
    return value, [*p, None]


# --- calls, other spellings and orders


def call_dot(*ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    return ops.dot(ws_xs[:n], ws_xs[n : 2 * n], *ws_xs[2 * n :])


def dot_reordered(r: Random, xs: list[Any]) -> list[Any]:
    n = len(xs) // 2
    pairs = [r.sample(pair, 2) for pair in zip(xs[:n], xs[n : 2 * n])]
    r.shuffle(pairs)
    return [*(w for w, _ in pairs), *(x for _, x in pairs), *xs[2 * n :]]


def scores_reordered(r: Random, xs_k: list[Any]) -> list[Any]:
    """The class moves with its score, if it is a number."""
    *xs, k = xs_k
    if not isinstance(k, float):
        return xs_k
    order = r.sample(range(len(xs)), len(xs))
    return [*(xs[i] for i in order), float(order.index(int(k)))]


def times(xs: Any) -> list[Any]:
    n = len(xs) // 2
    return [ops.mul(w, x) for w, x in zip(xs[:n], xs[n : 2 * n])] + list(xs[2 * n :])


def clip_in_two_steps(x: Any, low: Any, high: Any) -> Any:
    raised = ops.where(ops.less(x, low), low, x)
    return ops.where(ops.less(high, raised), high, raised)


# --- as peers have it


def peers_leaky_relu(m: Any, x: Any, slope: Any) -> Any:
    if isinstance(slope, float) and not isinstance(x, float):
        return m.leaky_relu(x, slope)
    return m.where(m.number(x) > 0, x, slope * x)


def peers_detach(m: Any, x: Any) -> Any:
    x = m.number(x)
    return x.detach() if hasattr(x, "detach") else m.stop_gradient(x)


def peers_cross_entropy(m: Any, *xs_k: Any) -> Any:
    scores = m.stacked(*xs_k[:-1])
    return m.logsumexp(scores, 0) - scores[int(xs_k[-1])]


def peers_dot(m: Any, *ws_xs: Any) -> Any:
    n = len(ws_xs) // 2
    return m.sum(m.stacked(*ws_xs[2 * n :], *[w * x for w, x in zip(ws_xs[:n], ws_xs[n:])]))


def logarithm(m: Any, x: Any, base: int) -> Any:
    log = m.log(m.number(base))
    return (m.log(x) / log, [1 / log / x]) if not x < 0 else (m.number(nan), [m.number(nan)])


def jump_of(name: str) -> Any:
    """A staircase of m by its name; mpmath's floor of nan is 0."""
    return lambda m, x: (getattr(m, name)(x) if x == x else x, [0])


def same_quotient(xs: Any, es: Any) -> bool:
    """Is a // b the same at all ends of the operands? Then it is between them, too."""
    (a, b), (ea, eb) = xs, es
    return abs(b) > eb and len({ops.floor_div(a + s * ea, b + t * eb) for s in (-1, 1) for t in (-1, 1)}) == 1


# --- random points


def inside_one(r: Random) -> float:
    return r.choice((near(r, 1.0), wide(r, -12.0, -0.001), math.copysign(1.0 - size(r, -12.0, -1.0), near(r, 1.0))))


def power_point(r: Random) -> Point:
    x = r.choice((r.uniform(0.1, 5.0), size(r, -20.0, 20.0)))
    n = r.choice((near(r, 5.0), float(r.randint(-8, 8)), wide(r, -6.0, 0.0)))
    return (-x if n == math.floor(n) != 0.0 and r.random() < 0.5 else x), n


def clip_point(r: Random) -> Point:
    low, high = sorted((number(r), number(r)))
    return number(r), low, high


def difference_point(r: Random) -> Point:
    """Two numbers of a moderate difference, however far from zero."""
    d, far = exponent(r), r.choice((0.0, number(r), wide(r, 0.0, 17.0)))
    return r.choice(((far + d, far), (far, far - d), (number(r), number(r))))


def scores_point(r: Random) -> Point:
    """A class's scores: some far from zero, some far apart, some equal."""
    far, distance = r.choice((0.0, wide(r, 0.0, 17.0))), r.choice((1e-6, 1.0, 20.0, 700.0))
    scores = [far + near(r, distance) for _ in range(r.randint(1, 4))]
    return (*r.choice((scores, scores[:1] * len(scores), [*scores[:-1], scores[0]])), float(r.randrange(len(scores))))


def pick_point(r: Random) -> Point:
    xs = numbers(1, 4)(r)
    return float(r.randrange(len(xs))), *xs


def logsumexp_point(r: Random) -> Point:
    distance = r.choice((1e-6, 1.0, 20.0, 700.0))
    return tuple(near(r, distance) for _ in range(r.randint(1, 4)))


# --- where vector code is tested

EXP_ENDS = 709.782712893384, -745.1332191019411, -708.3964185322641, 0.0, 710.0, -746.0
MOST = float(LARGEST)


def between_halves_of_ln2(r: Random) -> float:  # where the integer of the range reduction changes
    x = (r.randint(-1075, 1024) + 0.5) * math.log(2.0)
    return x + r.randint(-6, 6) * math.ulp(x)


def between_halves(r: Random) -> float:
    return r.randint(-1076, 1024) + 0.5 + r.randint(-6, 6) * 2.0**-43


def near_multiple_of_half_pi(r: Random) -> float:
    k = r.choice((r.randint(-20, 20), r.randint(-63_662, 63_662), r.randint(0, 10**15), r.randint(0, 10**22)))
    x = float(k * mp.pi / 2)
    return x + r.randint(-3, 3) * math.ulp(x)


def large_angle(r: Random) -> float:
    return r.choice((-1.0, 1.0)) * 10.0 ** r.uniform(4.5, 300.0)


def near_power_of_two_or_its_root(r: Random) -> float:  # where the mantissa is split
    return math.ldexp(r.choice((1.0, math.sqrt(2.0))), r.randint(-1074, 1023)) * (1 + r.randint(-9, 9) * 2.0**-52)


def near_minus_one(r: Random) -> float:
    return -1.0 + 2.0 ** r.uniform(-53.0, -1.0)


ANGLES = (any_magnitude, moderate, between(-1e5, 1e5), around(1e5, -1e5), large_angle, near_multiple_of_half_pi)

# --- the records

ARITHMETIC = [
    Operation(
        op=ops.add, symbol="+", operator=operator.add,
        samples=((2.0, -3.0), (0.1, 0.2)), draw=numbers(2, 2),
        edges=(
            Edge("inf + -inf", (inf, -inf), nan, (1.0, 1.0)),
            Edge("-0.0 + -0.0", (-0.0, -0.0), -0.0, (1.0, 1.0)),
        ),
        reference=lambda a, b: linear(a + b, [1, 1]),
        accuracy=ROUNDED,
        dual=lambda m, a, b: (a + b, [1, 1]),
        rewritings=(lambda a, b: a - (-b), lambda a, b: ops.total([b, a]), lambda a, b: ops.dot([a, b], [1.0, 1.0])),
        reordered=shuffled,
        peers=lambda m, a, b: a + b,
        nan_is_nan=False, tame=True, same_bits=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.sub, symbol="-", operator=operator.sub,
        samples=((2.0, -3.0), (0.1, 0.2)), draw=numbers(2, 2),
        edges=(Edge("inf - inf", (inf, inf), nan, (1.0, -1.0)),),
        reference=lambda a, b: linear(a - b, [1, -1]),
        accuracy=ROUNDED,
        dual=lambda m, a, b: (a - b, [1, -1]),
        rewritings=(lambda a, b: a + (-b), lambda a, b: -(b - a), lambda a, b: ops.dot([-1.0], [b], a)),
        peers=lambda m, a, b: a - b,
        nan_is_nan=False, tame=True, same_bits=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.mul, symbol="*", operator=operator.mul,
        samples=((2.0, -3.0), (0.1, 0.2)), draw=numbers(2, 2),
        edges=(
            Edge("1e-310 * 1.0", (1e-310, 1.0), 1e-310, (1.0, 1e-310)),
            Edge("2.2250738585072014e-308 * 0.5", (2.0**-1022, 0.5), 2.0**-1023, (0.5, 2.0**-1022)),
            Edge("0 * nan", (0.0, nan), nan, (nan, 0.0)),
        ),
        reference=lambda a, b: (a * b, [b, a], [[0, 1], [1, 0]]),
        accuracy=ROUNDED,
        dual=lambda m, a, b: (a * b, [b, a]),
        rewritings=(lambda a, b: ops.dot([a], [b]), lambda a, b: -(a * (-b)), lambda a, b: (2.0 * a) * (0.5 * b)),
        reordered=shuffled,
        peers=lambda m, a, b: a * b,
        nan_is_nan=False, tame=True, same_bits=True,
        true_zero=lambda xs, es: any(x == 0.0 and not e for x, e in zip(xs, es)),
    ),
    Operation(
        op=ops.div, symbol="/", operator=operator.truediv,
        samples=((2.0, -3.0), (0.1, 0.7), (-5.0, 1.5)), draw=numbers(2, 2),
        edges=(
            Edge("1/0", (1.0, 0.0), inf, (inf, -inf)),
            Edge("inf/inf", (inf, inf), nan, (0.0, nan)),
            Edge("1/-0.0", (1.0, -0.0), -inf, (-inf, -inf)),
            Edge("0/0", (0.0, 0.0), nan, (inf, nan)),
        ),
        reference=lambda a, b: (a / b, [1 / b, -a / b**2], [[0, -1 / b**2], [-1 / b**2, 2 * a / b**3]]),
        amended=div_amended,
        accuracy=everywhere(0.5, 2.0, 3.0)._replace(
            beyond=(
                Beyond(2, lambda a, b: a == 0.0 and abs(b) < LEAST_INVERSE, nan, "0 / b where 1 / b overflows (nan)"),
            ),
        ),
        dual=lambda m, a, b: (a / b, [1 / b, -(a / b) / b]),
        rewritings=(
            lambda a, b: a * ops.div(1.0, b), lambda a, b: -a / (-b), lambda a, b: a * ops.power(b, -1.0),
        ),
        peers=lambda m, a, b: m.number(a) / m.number(b),
        nan_is_nan=False, same_bits=True,
        true_zero=lambda xs, es: xs[0] == 0.0 and not es[0],
        near_pole=lambda xs, es, out: bool(es[1]) and abs(xs[1]) <= es[1],
    ),
    Operation(
        op=ops.power, symbol="**", operator=operator.pow,
        samples=((2.0, 3.0), (1.7, -0.4), (0.6, 2.5), (3.0, 0.0), (1.3, 1.0)), draw=power_point,
        edges=(
            Edge("V(0) ** 0", (0.0,), 1.0, (0.0,), f=lambda x: x**0),
            Edge("V(0) ** V(0)", (0.0, 0.0), 1.0, (0.0, 0.0)),
            Edge("V(0) ** 2", (0.0,), 0.0, (0.0,), f=lambda x: x**2),
            Edge("V(0) ** V(2)", (0.0, 2.0), 0.0, (0.0, 0.0)),
            Edge("V(0) ** V(-1)", (0.0, -1.0), inf, (-inf, -inf)),
            Edge("V(-2) ** .5", (-2.0,), nan, (nan,), f=lambda x: x**0.5),
            Edge("V(-2) ** V(.5)", (-2.0, 0.5), nan, (nan, nan)),
            Edge("V(-2) ** 2", (-2.0,), 4.0, (-4.0,), f=lambda x: x**2),
            Edge("V(-2) ** V(2)", (-2.0, 2.0), 4.0, (-4.0, nan)),
            Edge("V(-0.0) ** V(-0.9999999999999999), which % 2 is 1", (-0.0, -0.9999999999999999), inf, (-inf, -inf)),
            Edge("V(-0.0) ** V(-1)", (-0.0, -1.0), -inf, (-inf, inf)),
        ),
        reference=power_reference,
        like=lambda x, n: (-x, n) if power_ends_at_0(x, n) else (x, n),
        amended=power_amended,
        accuracy=Accuracy(
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
        dual=power_dual,
        rewritings=(lambda x, n: x * x if n.__class__ is float and n == 2.0 else 1.0 / x ** (-n),),
        peers=lambda m, x, n: x**n,
        kink=lambda x, n: x == 0.0,
        one_sided=lambda x, n: x == 0.0 and n <= 1.0,
        true_zero=lambda xs, es: xs[0] == 0.0 and not es[0],
        near_pole=lambda xs, es, out: bool(es[0]) and abs(xs[0]) <= es[0] and not xs[1] - es[1] >= 0.0,
    ),
    Operation(
        op=ops.mod, symbol="%", operator=operator.mod,
        samples=((2.0, -3.0), (5.5, 1.5), (-0.7, 0.3)), draw=numbers(2, 2),
        edges=(
            Edge("6 % -3", (6.0, -3.0), -0.0, (1.0, 2.0)),
            Edge("-6 % 3", (-6.0, 3.0), 0.0, (1.0, 2.0)),
            Edge("-5 % inf", (-5.0, inf), inf, (1.0, 1.0)),
            Edge("5 % inf", (5.0, inf), 5.0, (1.0, 0.0)),
            Edge("-1e-20 % 1", (-1e-20, 1.0), 1.0, (1.0, 1.0)),
            Edge("1 % 0.1", (1.0, 0.1), 0.09999999999999995, (1.0, -9.0)),
            Edge("1 % 0", (1.0, 0.0), nan, (1.0, -inf)),
            Edge("inf % 2", (inf, 2.0), nan, (1.0, nan)),
        ),
        reference=mod_reference,
        amended=lambda parts, a, b: [*parts[:2], -a * math.copysign(inf, b), *parts[3:]] if b == 0.0 else parts,
        accuracy=everywhere(0.5, 1.0, 0.0),
        dual=mod_dual,
        rewritings=(lambda a, b: a - b * ops.floor_div(a, b), lambda a, b: -ops.mod(-a, -b)),
        peers="remainder",
        chooses=True, nan_is_nan=False, same_bits=True,
        near_jump=lambda xs, es: any(es) and not same_quotient(xs, es),
    ),
    Operation(
        op=ops.floor_div, symbol="//", operator=operator.floordiv, kind="jump",
        samples=((2.0, -3.0), (5.5, 1.5), (-0.7, 0.3)), draw=numbers(2, 2),
        edges=(
            Edge("1 // 0.1", (1.0, 0.1), 9.0, (0.0, 0.0)),
            Edge("0 // -1", (0.0, -1.0), -0.0, (0.0, 0.0)),
            Edge("-5 // inf", (-5.0, inf), -1.0, (0.0, 0.0)),
            Edge("-1 // 0", (-1.0, 0.0), -inf, (0.0, 0.0)),
            Edge("0 // 0", (0.0, 0.0), nan, (nan, nan)),
            Edge("inf // 2", (inf, 2.0), nan, (nan, nan)),
        ),
        reference=floor_div_reference,
        amended=lambda parts, a, b: [parts[0] * math.copysign(1.0, b) if b == 0.0 else parts[0], *parts[1:]],
        accuracy=everywhere(1.0, 0.0, 0.0),
        dual=floor_div_dual,
        rewritings=(lambda a, b: ops.floor_div(-a, -b), lambda a, b: ops.floor(a / b)),
        peers="floor_divide",
        chooses=True, same_bits=True,
        near_jump=lambda xs, es: any(es) and not same_quotient(xs, es),
    ),
    Operation(
        op=ops.neg, operator=operator.neg,
        samples=((2.0,), (-0.3,)), draw=one(number),
        edges=(Edge("-(0.0)", (0.0,), -0.0, (-1.0,)),),
        reference=lambda x: linear(-x, [-1]),
        accuracy=EXACT,
        dual=lambda m, x: (-x, [-1]),
        rewritings=(lambda x: -1.0 * x, lambda x: 0.0 - x, lambda x: x - 2.0 * x),
        peers=lambda m, x: -x,
        chooses=True, nan_is_nan=False, same_bits=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.abs_, operator=abs,
        samples=((2.0,), (-0.3,)), draw=one(number),
        edges=(
            Edge("abs(0)", (0.0,), 0.0, (0.0,)),
            Edge("abs(-0.0)", (-0.0,), 0.0, (0.0,)),
        ),
        reference=unary(mp.fabs, mp.sign, lambda x: 0),
        accuracy=EXACT,
        dual=lambda m, x: (abs(x), [1 if x > 0 else -1 if x < 0 else 0]),
        rewritings=(lambda x: ops.sign(x) * x, lambda x: ops.relu(x) + ops.relu(-x)),
        peers=lambda m, x: abs(x),
        chooses=True, same_bits=True, true_zero=at_roots, kink=lambda x: x == 0.0,
    ),
]  # fmt: skip

ANALYSIS = [
    Operation(
        op=ops.exp,
        samples=((0.0,), (1.5,), (-3.0,)), draw=one(exponent),
        edges=(
            Edge("exp(710)", (710.0,), inf, (inf,)),
            Edge("exp(-1000)", (-1000.0,), 0.0, (0.0,)),
        ),
        reference=unary(exp, exp, exp),
        accuracy=Accuracy((1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
        dual=dual("exp", lambda m, x, y: y),
        rewritings=(
            lambda x: 1.0 / ops.exp(-x), lambda x: ops.exp(0.5 * x) ** 2, lambda x: ops.sinh(x) + ops.cosh(x),
        ),
        peers="exp", tame=True,
        vectorised=Vectorised(
            (
                any_magnitude, moderate, between(-745.2, 709.8), between(-745.2, -708.0), around(*EXP_ENDS),
                between_halves_of_ln2,
            ),
            (
                (0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (710.0, inf), (-1000.0, 0.0), (1000.0, inf),
                (-745.2, 0.0), (5e-324, 1.0), (MOST, inf), (-MOST, 0.0),
            ),
        ),
    ),
    Operation(
        op=ops.expm1,
        samples=((0.0,), (1.5,), (-3.0,)), draw=one(exponent),
        edges=(
            Edge("expm1(710)", (710.0,), inf, (inf,)),
            Edge("expm1(-1000)", (-1000.0,), -1.0, (0.0,)),
            Edge("expm1(1e-300)", (1e-300,), 1e-300, (1.0,)),
        ),
        reference=unary(lambda x: mp.expm1(x) if mp.fabs(x) < 1e5 else exp(x) - 1, exp, exp),
        accuracy=Accuracy((1.0, 1.0, 1.0), (1.5, 1.5, 1.5)),
        dual=dual("expm1", lambda m, x, y: m.exp(x)),
        rewritings=(lambda x: ops.exp(x) - 1.0,),
        peers="expm1", tame=True, true_zero=at_roots,
        vectorised=Vectorised(
            (
                any_magnitude, moderate, between(-45.0, 709.8),
                around(*EXP_ENDS, -40.0, -37.4, 41.6, 1e-300, 0.3466), between_halves_of_ln2,
            ),
            (
                (0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0), (710.0, inf), (-1000.0, -1.0), (1000.0, inf),
                (5e-324, 5e-324), (-5e-324, -5e-324), (1e-310, 1e-310), (MOST, inf),
            ),
        ),
    ),
    Operation(
        op=ops.log,
        samples=((0.5,), (1.0,), (8.0,)),
        draw=one(lambda r: r.choice((size(r, -100.0, 100.0), 1.0 + wide(r, -15.0, -1.0)))),
        edges=(
            Edge("log(0)", (0.0,), -inf, (inf,)),
            Edge("log(-0.0)", (-0.0,), -inf, (-inf,)),
            Edge("log(-1)", (-1.0,), nan, (nan,)),
        ),
        reference=unary(mp.log, lambda x: 1 / x, lambda x: -1 / x**2, least=0),
        decreed={"-0.0": [-inf, -inf, -inf]},  # of 0, but IEEE's 1 / -0 is -inf
        accuracy=everywhere(1.0, 0.5, 2.0),
        dual=dual("log", lambda m, x, y: 1 / x),
        rewritings=(
            lambda x: -ops.log(1.0 / x), lambda x: 2.0 * ops.log(ops.sqrt(x)), lambda x: ops.log1p(x - 1.0),
        ),
        peers="log", true_zero=at_roots,
        vectorised=Vectorised(
            (
                positive(any_magnitude), positive(moderate), around(1.0), around(2.0, 0.5, MOST / 2),
                near_power_of_two_or_its_root, lambda r: r.randint(1, 2**52) * 2.0**-1074,
            ),
            (
                (0.0, -inf), (-0.0, -inf), (inf, inf), (-inf, nan), (-1.0, nan), (1.0, 0.0), (-5e-324, nan),
                (5e-324, -744.4400719213812), (-MOST, nan),
            ),
        ),
    ),
    Operation(
        op=ops.log1p,
        samples=((-0.5,), (0.0,), (8.0,)),
        draw=one(lambda r: r.choice((size(r, -15.0, 100.0), -size(r, -15.0, 0.0), near(r, 0.999)))),
        edges=(
            Edge("log1p(-2)", (-2.0,), nan, (nan,)),
            Edge("log1p(-1)", (-1.0,), -inf, (inf,)),
            Edge("log1p(1e-300)", (1e-300,), 1e-300, (1.0,)),
        ),
        reference=unary(mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2, least=-1),
        decreed={"-1.0": [-inf, inf, -inf]},
        accuracy=everywhere(1.0, 2.0, 3.0),
        dual=dual("log1p", lambda m, x, y: 1 / (1 + x)),
        rewritings=(lambda x: ops.log(1.0 + x),),
        peers="log1p", true_zero=at_roots,
        vectorised=Vectorised(
            (
                positive(any_magnitude), between(-1.0, 1.0), around(1e-300, -1e-300, 2.0**-54, -(2.0**-54), 2.0**53),
                near_minus_one, around(math.sqrt(2.0) - 1.0, math.sqrt(0.5) - 1.0, 2.0 * math.sqrt(2.0) - 1.0, 1.0),
                near_power_of_two_or_its_root,
            ),
            (
                (0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (inf, inf), (-inf, nan), (-2.0, nan), (5e-324, 5e-324),
                (-5e-324, -5e-324), (1e-310, 1e-310), (-1.0000000000000002, nan),
            ),
        ),
    ),
    Operation(
        op=ops.exp2,
        samples=((0.0,), (1.5,), (-3.0,)),
        draw=one(lambda r: r.choice((near(r, 1020.0), wide(r, -12.0, 1.0), r.uniform(1020.0, 1024.6)))),
        edges=(
            Edge("exp2(10)", (10.0,), 1024.0, (1024.0 * math.log(2.0),)),
            Edge("exp2(-1074)", (-1074.0,), 5e-324, (5e-324,)),
            Edge("exp2(1024)", (1024.0,), inf, (inf,)),
            Edge("exp2(-1080)", (-1080.0,), 0.0, (0.0,)),
        ),
        reference=unary(power_of_two, lambda x: mp.ln2 * power_of_two(x), lambda x: mp.ln2**2 * power_of_two(x)),
        accuracy=Accuracy(
            (1.0, 2.0, 3.0), (1.5, 2.0, 3.0), beyond=(Beyond(1, lambda x: x >= 1024.0, inf, "2^x overflows (inf)"),)
        ),
        dual=lambda m, x: (m.number(2) ** x, [m.number(2) ** x * m.log(m.number(2))]),
        rewritings=(
            lambda x: ops.exp(math.log(2.0) * x), lambda x: ops.power(2.0, x), lambda x: ops.exp2(0.5 * x) ** 2,
        ),
        peers="exp2", tame=True,
        vectorised=Vectorised(
            (
                any_magnitude, moderate, between(-1076.0, 1024.5), between(-1076.0, -1020.0),
                around(1024.0, -1074.0, -1022.0, -1075.0, 0.0), between_halves,
            ),
            (
                (0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (1024.0, inf), (-1080.0, 0.0), (10.0, 1024.0),
                (-1074.0, 5e-324), (1023.0, 2.0**1023), (-1023.0, 2.0**-1023), (5e-324, 1.0), (MOST, inf),
                (-MOST, 0.0),
            ),
        ),
    ),
    Operation(
        op=ops.log2,
        samples=((0.5,), (1.0,), (9.0,)),
        draw=one(lambda r: r.choice((size(r, -100.0, 100.0), 1.0 + wide(r, -15.0, -1.0)))),
        edges=(
            Edge("log2(1024)", (1024.0,), 10.0, (1.0 / 1024.0 / math.log(2.0),)),
            Edge("log2(0)", (0.0,), -inf, (inf,)),
            Edge("log2(-0.0)", (-0.0,), -inf, (-inf,)),
            Edge("log2(-1)", (-1.0,), nan, (nan,)),
        ),
        reference=unary(
            lambda x: mp.log(x) / mp.ln2, lambda x: 1 / (x * mp.ln2), lambda x: -1 / (x**2 * mp.ln2), least=0
        ),
        decreed={"-0.0": [-inf, -inf, -inf]},
        accuracy=Accuracy((1.0, 1.0, 2.0), (2.0, 1.0, 2.0)),
        dual=lambda m, x: logarithm(m, x, 2),
        rewritings=(
            lambda x: ops.log(x) / math.log(2.0), lambda x: -ops.log2(1.0 / x), lambda x: 2.0 * ops.log2(ops.sqrt(x)),
        ),
        peers="log2", true_zero=at_roots,
        vectorised=Vectorised(
            (
                positive(any_magnitude), positive(moderate), around(1.0), around(2.0, 0.5, MOST / 2),
                near_power_of_two_or_its_root, lambda r: r.randint(1, 2**52) * 2.0**-1074,
            ),
            (
                (0.0, -inf), (-0.0, -inf), (inf, inf), (-inf, nan), (-1.0, nan), (1.0, 0.0), (-5e-324, nan),
                (5e-324, -1074.0), (2.0**1023, 1023.0), (8.0, 3.0), (0.125, -3.0), (-MOST, nan),
            ),
        ),
    ),
    Operation(
        op=ops.log10,
        samples=((0.5,), (1.0,), (9.0,)),
        draw=one(lambda r: r.choice((size(r, -100.0, 100.0), 1.0 + wide(r, -15.0, -1.0)))),
        edges=(
            Edge("log10(1000)", (1000.0,), 3.0, (1.0 / 1000.0 / math.log(10.0),)),
            Edge("log10(0)", (0.0,), -inf, (inf,)),
            Edge("log10(-0.0)", (-0.0,), -inf, (-inf,)),
            Edge("log10(-1)", (-1.0,), nan, (nan,)),
        ),
        reference=unary(
            lambda x: mp.log(x) / mp.ln10, lambda x: 1 / (x * mp.ln10), lambda x: -1 / (x**2 * mp.ln10), least=0
        ),
        decreed={"-0.0": [-inf, -inf, -inf]},
        accuracy=everywhere(2.0, 1.0, 2.0),
        dual=lambda m, x: logarithm(m, x, 10),
        rewritings=(lambda x: ops.log(x) / math.log(10.0), lambda x: ops.log2(x) / math.log2(10.0)),
        peers="log10", true_zero=at_roots,
    ),
    Operation(
        op=ops.exp_difference, symbol="exp of -",
        samples=((2.0, 1.5), (-3.0, 0.1), (0.5, 0.5)), draw=difference_point,
        edges=(
            Edge("exp_difference(1e16, 1e16 - 2)", (1e16, 1e16 - 2.0), math.exp(2.0), (math.exp(2.0), -math.exp(2.0))),
            # 40.3 - 0.1 rounds, by 3e-15
            Edge(
                "exp_difference(-40.3, -0.1)", (-40.3, -0.1), 3.4782582787769414e-18,
                (3.4782582787769414e-18, -3.4782582787769414e-18),
            ),
            Edge("exp_difference(-MAX, MAX)", (-MOST, MOST), 0.0, (0.0, 0.0)),
            Edge("exp_difference(MAX, -MAX)", (MOST, -MOST), inf, (inf, -inf)),
            Edge("exp_difference(1, inf)", (1.0, inf), 0.0, (0.0, 0.0)),
            Edge("exp_difference(inf, inf)", (inf, inf), nan, (nan, nan)),
        ),
        reference=exp_difference_reference,
        accuracy=Accuracy((1.5, 1.5, 1.5), (2.0, 2.0, 2.0)),
        dual=exp_difference_dual,
        rewritings=(lambda a, b: ops.exp(a - b), lambda a, b: 1.0 / ops.exp_difference(b, a)),
        peers=lambda m, a, b: m.exp(m.number(a) - b),
        tame=True,
        vectorised=Vectorised(
            (
                difference_point, lambda r: (any_magnitude(r), any_magnitude(r)),
                lambda r: (around(*EXP_ENDS)(r), r.choice((0.0, near(r, 1e-13)))),
            ),
            (
                ((1e16, 1e16), 1.0), ((-inf, 1.0), 0.0), ((1.0, inf), 0.0), ((inf, 1.0), inf), ((inf, inf), nan),
                ((-MOST, MOST), 0.0), ((MOST, -MOST), inf), ((0.0, 800.0), 0.0), ((1.0, nan), nan),
            ),
        ),
    ),
    Operation(
        op=ops.cbrt,
        samples=((0.5,), (-1.0,), (27.5,)), draw=one(lambda r: r.choice((number(r), wide(r, -100.0, 100.0)))),
        edges=(
            Edge("cbrt(-27)", (-27.0,), -3.0, (1.0 / 27.0,)),
            Edge("cbrt(0)", (0.0,), 0.0, (inf,)),
            Edge("cbrt(-0.0)", (-0.0,), -0.0, (inf,)),
            Edge("cbrt(-inf)", (-inf,), -inf, (0.0,)),
            Edge("cbrt(MAX)", (MOST,), 5.643803094122362e102, (1.046489893941144e-206,)),
        ),
        reference=unary(cube_root, lambda x: 1 / (3 * cube_root(x) ** 2), cbrt_second),
        accuracy=everywhere(1.0, 4.0, 3.0)._replace(
            units={2: (lambda x: [2 * mp.fabs(cbrt_second(x))], "twice itself: -2/9 out^-5, out being rounded")}
        ),
        dual=cbrt_dual,
        rewritings=(lambda x: -ops.cbrt(-x), lambda x: x / ops.cbrt(x) ** 2),
        peers=lambda m, x: m.sign(x) * abs(m.number(x)) ** (1.0 / 3.0),
        true_zero=at_roots, kink=lambda x: x == 0.0,
    ),
    Operation(
        op=ops.sqrt,
        samples=((0.5,), (1.0,), (4.06826432907524,)),
        draw=one(lambda r: r.choice((size(r, -100.0, 100.0), r.uniform(0.1, 10.0)))),
        edges=(
            Edge("sqrt(0)", (0.0,), 0.0, (inf,)),
            Edge("sqrt(-1)", (-1.0,), nan, (nan,)),
            Edge("sqrt(x) ** 2 at 0", (0.0,), 0.0, (nan,), f=lambda x: ops.sqrt(x) ** 2),
        ),
        reference=unary(mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), lambda x: -1 / (4 * x * mp.sqrt(x)), least=0),
        decreed={"-0.0": [-0.0, inf, -inf]},
        accuracy=everywhere(0.5, 1.0, 1.0),
        dual=dual("sqrt", lambda m, x, y: 1 / (2 * abs(y))),  # from the right, also at -0.0
        rewritings=(lambda x: x**0.5, lambda x: x / ops.sqrt(x)),
        peers="sqrt", same_bits=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.hypot,
        samples=((3.0, 4.0), (-0.5, 1.0), (2.0, -7.0)), draw=plane,
        edges=(
            Edge("hypot(0, 0)", (0.0, 0.0), 0.0, (0.0, 0.0)),
            Edge("hypot(3e200, 4e200)", (3e200, 4e200), 4.9999999999999995e200, (0.6, 0.8)),
            Edge("hypot(1e-200, 0)", (1e-200, 0.0), 1e-200, (1.0, 0.0)),
        ),
        reference=hypot_reference,
        amended=hypot_amended,
        accuracy=Accuracy(
            (1.0, 2.0, 4.0), (1.0, 2.0, 4.0),
            {1: (hypot_first, "1 + 2^-1022 / r"), 2: (hypot_second, "1 / r + a^2 / r^3, which cancel, or the truth")},
            (
                Beyond(1, infinite, nan, LIMIT),
                Beyond(1, overflows(radius), None, "r overflows"),
                Beyond(2, lambda a, b: math.hypot(a, b) < LEAST_INVERSE, nan, "1 / r overflows (nan)"),
            ),
        ),
        dual=hypot_dual,
        rewritings=(lambda a, b: ops.sqrt(a * a + b * b),),
        reordered=shuffled,
        peers="hypot", true_zero=at_roots, kink=lambda a, b: a == 0.0 == b,
    ),
    Operation(
        op=ops.sin,
        samples=((0.3,), (-2.0,), (5.0,)), draw=one(number),
        edges=(Edge("sin(inf)", (inf,), nan, (nan,)),),
        reference=unary(periodic(mp.sin), periodic(mp.cos), periodic(lambda x: -mp.sin(x))),
        accuracy=Accuracy((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
        dual=dual("sin", lambda m, x, y: m.cos(x)),
        rewritings=(lambda x: -ops.sin(-x), lambda x: 2.0 * ops.sin(0.5 * x) * ops.cos(0.5 * x)),
        peers="sin", tame=True, true_zero=at_roots,
        vectorised=Vectorised(
            ANGLES, ((0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (5e-324, 5e-324), (-5e-324, -5e-324))
        ),
    ),
    Operation(
        op=ops.cos,
        samples=((0.3,), (-2.0,), (5.0,)), draw=one(number),
        edges=(Edge("cos(inf)", (inf,), nan, (nan,)),),
        reference=unary(periodic(mp.cos), periodic(lambda x: -mp.sin(x)), periodic(lambda x: -mp.cos(x))),
        accuracy=Accuracy((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)),
        dual=dual("cos", lambda m, x, y: -m.sin(x)),
        rewritings=(lambda x: ops.cos(-x), lambda x: 1.0 - 2.0 * ops.sin(0.5 * x) ** 2),
        peers="cos", tame=True,
        vectorised=Vectorised(ANGLES, ((0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan), (5e-324, 1.0))),
    ),
    Operation(
        op=ops.tan,
        samples=((0.3,), (-1.2,), (2.5,)), draw=one(number),
        edges=(Edge("tan(inf)", (inf,), nan, (nan,)),),
        reference=unary(
            periodic(mp.tan), periodic(lambda x: mp.sec(x) ** 2), periodic(lambda x: 2 * mp.sec(x) ** 2 * mp.tan(x))
        ),
        accuracy=everywhere(1.0, 2.0, 4.0),
        dual=dual("tan", lambda m, x, y: 1 / m.cos(x) / m.cos(x)),
        rewritings=(lambda x: ops.sin(x) / ops.cos(x),),
        peers="tan", true_zero=at_roots,
        near_pole=lambda xs, es, out: abs(out) * es[0] > 0.5,  # tan x is about 1 / (distance from the pole)
    ),
    Operation(
        op=ops.asin,
        samples=((0.1,), (-0.4,), (0.7,)), draw=one(inside_one),
        edges=(
            Edge("asin(1)", (1.0,), math.pi / 2, (inf,)),
            Edge("asin(2)", (2.0,), nan, (nan,)),
        ),
        reference=unary(mp.asin, lambda x: 1 / mp.sqrt(1 - x * x), lambda x: x / mp.sqrt(1 - x * x) ** 3, -1, 1),
        decreed={"1.0": [math.pi / 2, inf, inf], "-1.0": [-math.pi / 2, inf, -inf]},
        accuracy=everywhere(1.0, 2.0, 4.0)._replace(beyond=AT_ITS_ENDS),
        dual=dual("asin", lambda m, x, y: 1 / m.sqrt((1 - x) * (1 + x))),
        rewritings=(lambda x: -ops.asin(-x), lambda x: ops.atan2(x, ops.sqrt(1.0 - x * x))),
        peers="asin", true_zero=at_roots,
    ),
    Operation(
        op=ops.acos,
        samples=((0.1,), (-0.4,), (0.7,)), draw=one(inside_one),
        edges=(
            Edge("acos(1)", (1.0,), 0.0, (-inf,)),
            Edge("acos(-2)", (-2.0,), nan, (nan,)),
        ),
        reference=unary(mp.acos, lambda x: -1 / mp.sqrt(1 - x * x), lambda x: -x / mp.sqrt(1 - x * x) ** 3, -1, 1),
        decreed={"1.0": [0.0, -inf, -inf], "-1.0": [math.pi, -inf, inf]},
        accuracy=everywhere(1.0, 2.0, 4.0)._replace(beyond=AT_ITS_ENDS),
        dual=dual("acos", lambda m, x, y: -1 / m.sqrt((1 - x) * (1 + x))),
        rewritings=(lambda x: 2.0 * ops.atan2(ops.sqrt(1.0 - x), ops.sqrt(1.0 + x)),),
        peers="acos", true_zero=at_roots,
    ),
    Operation(
        op=ops.atan,
        samples=((0.1,), (-1.0,), (6.0,)), draw=one(lambda r: r.choice((near(r, 5.0), wide(r, -12.0, 50.0)))),
        edges=(Edge("atan(-inf)", (-inf,), -math.pi / 2, (0.0,)),),
        reference=unary(mp.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
        accuracy=Accuracy(
            (1.0, 2.5, 4.0), (1.0, 2.5, 4.0),
            {2: (lambda x: [small(2 * x)], "2^-1022 x 2 |x|")},
            (Beyond(1, lambda x: x * x == inf, 0.0, "x^2 overflows (0)"), Beyond(2, infinite, nan, LIMIT)),
        ),
        dual=dual("atan", lambda m, x, y: 1 / (1 + x * x)),
        rewritings=(lambda x: ops.atan2(x, 1.0), lambda x: ops.asin(x / ops.hypot(1.0, x))),
        peers="atan", tame=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.atan2,
        samples=((1.0, 2.0), (-1.5, -0.5), (0.3, -2.0), (-3.0, 1.0)), draw=plane,
        edges=(
            Edge("atan2(0, 0)", (0.0, 0.0), 0.0, (nan, nan)),
            Edge("atan2(1, 0)", (1.0, 0.0), math.pi / 2, (0.0, -1.0)),
            Edge("atan2(-0.0, -1)", (-0.0, -1.0), -math.pi, (-1.0, 0.0)),
        ),
        reference=atan2_reference,
        amended=atan2_amended,
        accuracy=Accuracy(
            (1.0, 3.0, 4.0), (1.0, 3.0, 4.0),
            {2: (atan2_second, "1 / r^2 + 2 x^2 / r^4, which cancel, or the truth")},
            (
                Beyond(1, infinite, nan, LIMIT),
                Beyond(1, overflows(radius), 0.0, "r overflows (0)"),
                Beyond(2, lambda y, x: math.hypot(x, y) < 1e-102, None, "1 / r^3 overflows"),
            ),
        ),
        dual=atan2_dual,
        rewritings=(lambda y, x: -ops.atan2(-y, x), lambda y, x: ops.atan2(2.0 * y, 2.0 * x)),
        peers="atan2", true_zero=at_roots, kink=lambda y, x: y == 0.0 == x,
    ),
    Operation(
        op=ops.sinh,
        samples=((0.3,), (-2.0,), (4.0,)), draw=one(exponent),
        edges=(Edge("sinh(-1000)", (-1000.0,), -inf, (inf,)),),
        reference=unary(sinh, cosh, sinh),
        accuracy=everywhere(2.0, 2.0, 2.0),
        dual=dual("sinh", lambda m, x, y: m.cosh(x)),
        rewritings=(lambda x: 0.5 * (ops.exp(x) - ops.exp(-x)),),
        peers="sinh", true_zero=at_roots,
    ),
    Operation(
        op=ops.asinh,
        samples=((0.3,), (-2.0,), (40.0,)), draw=one(lambda r: r.choice((near(r, 5.0), wide(r, -12.0, 150.0)))),
        edges=(
            Edge("asinh(-0.0)", (-0.0,), -0.0, (1.0,)),
            Edge("asinh(1e300)", (1e300,), 691.4686750787736, (1e-300,)),
            Edge("asinh(-inf)", (-inf,), -inf, (0.0,)),
        ),
        reference=unary(mp.asinh, lambda x: 1 / mp.sqrt(1 + x * x), lambda x: -x / mp.sqrt(1 + x * x) ** 3),
        accuracy=everywhere(2.0, 2.0, 4.0)._replace(beyond=(Beyond(2, infinite, nan, LIMIT),)),
        dual=dual("asinh", lambda m, x, y: 1 / m.hypot(x, 1)),
        rewritings=(lambda x: -ops.asinh(-x), lambda x: ops.log(x + ops.hypot(1.0, x))),
        peers="asinh", tame=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.acosh,
        samples=((1.2,), (2.0,), (40.0,)),
        draw=one(lambda r: 1.0 + r.choice((r.uniform(0.0, 5.0), size(r, -12.0, 150.0)))),
        edges=(
            Edge("acosh(1)", (1.0,), 0.0, (inf,)),
            Edge("acosh(0.5)", (0.5,), nan, (nan,)),
            Edge("acosh(-2)", (-2.0,), nan, (nan,)),
            Edge("acosh(1e300)", (1e300,), 691.4686750787736, (1e-300,)),
        ),
        reference=unary(
            mp.acosh, lambda x: 1 / mp.sqrt((x - 1) * (x + 1)), lambda x: -x / mp.sqrt((x - 1) * (x + 1)) ** 3, least=1
        ),
        decreed={"1.0": [0.0, inf, -inf]},
        accuracy=everywhere(2.5, 2.5, 3.0),
        dual=dual("acosh", acosh_slope),
        rewritings=(lambda x: ops.log(x + ops.sqrt(x - 1.0) * ops.sqrt(x + 1.0)),),
        peers="acosh", true_zero=at_roots,
    ),
    Operation(
        op=ops.atanh,
        samples=((0.1,), (-0.4,), (0.7,)), draw=one(inside_one),
        edges=(
            Edge("atanh(1)", (1.0,), inf, (inf,)),
            Edge("atanh(-1)", (-1.0,), -inf, (inf,)),
            Edge("atanh(2)", (2.0,), nan, (nan,)),
            Edge("atanh(-0.0)", (-0.0,), -0.0, (1.0,)),
        ),
        reference=unary(
            mp.atanh, lambda x: 1 / ((1 - x) * (1 + x)), lambda x: 2 * x / ((1 - x) * (1 + x)) ** 2, -1, 1
        ),
        decreed={"1.0": [inf, inf, inf], "-1.0": [-inf, inf, -inf]},
        accuracy=everywhere(2.0, 2.0, 4.0)._replace(beyond=AT_ITS_ENDS),
        dual=dual("atanh", lambda m, x, y: 1 / ((1 - x) * (1 + x))),
        rewritings=(lambda x: -ops.atanh(-x), lambda x: 0.5 * (ops.log1p(x) - ops.log1p(-x))),
        peers="atanh", true_zero=at_roots,
        near_pole=lambda xs, es, out: bool(es[0]) and not abs(xs[0]) + es[0] < 1.0,
    ),
    Operation(
        op=ops.erf,
        samples=((0.3,), (-1.0,), (2.5,)),
        draw=one(lambda r: r.choice((near(r, 6.0), near(r, 27.5), wide(r, -12.0, 1.0)))),
        edges=(
            Edge("erf(-0.0)", (-0.0,), -0.0, (2.0 / math.sqrt(math.pi),)),
            Edge("erf(10)", (10.0,), 1.0, (4.197656231354417e-44,)),
            Edge("erf(26.5)", (26.5,), 1.0, (1.172614183000784e-305,)),
            Edge("erf(-1000)", (-1000.0,), -1.0, (0.0,)),
            Edge("erf(inf)", (inf,), 1.0, (0.0,)),
        ),
        reference=unary(erf, bell, lambda x: -2 * x * bell(x)),
        accuracy=Accuracy(
            (1.0, 2.0, 3.0), (1.5, 2.5, 3.0), {2: (lambda x: [small(2 * x)], "2^-1022 x 2 |x|")},
            (Beyond(2, infinite, nan, LIMIT),),
        ),
        dual=dual("erf", lambda m, x, y: 1 / m.sqrt(m.atan(m.number(1))) * m.exp(-x * x)),
        rewritings=(lambda x: -ops.erf(-x),),
        peers="erf", tame=True, true_zero=at_roots,
        vectorised=Vectorised(
            (any_magnitude, between(-6.5, 6.5), between(-1.0, 1.0), between(0.8, 1.6), around(0.84375, -0.84375, 6.0)),
            (
                (0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (5e-324, 5e-324), (-5e-324, -5e-324), (MOST, 1.0),
                (1e-310, 1.1283791670955e-310), (6.0, 1.0), (-6.5, -1.0),
            ),
        ),
    ),
    Operation(
        op=ops.cosh,
        samples=((0.3,), (-2.0,), (4.0,)), draw=one(exponent),
        edges=(Edge("cosh(-1000)", (-1000.0,), inf, (-inf,)),),
        reference=unary(cosh, sinh, cosh),
        accuracy=everywhere(2.0, 2.0, 2.0),
        dual=dual("cosh", lambda m, x, y: m.sinh(x)),
        rewritings=(lambda x: ops.mean([ops.exp(x), ops.exp(-x)]),),
        peers="cosh",
    ),
]  # fmt: skip

UNITS_OF_A_NETWORK = [
    Operation(
        op=ops.tanh,
        samples=((0.3,), (-2.0,), (4.0,)), draw=one(lambda r: r.choice((near(r, 25.0), wide(r, -12.0, 3.0)))),
        edges=(
            Edge("tanh(1000)", (1000.0,), 1.0, (0.0,)),
            Edge("tanh(-1000)", (-1000.0,), -1.0, (0.0,)),
        ),
        reference=unary(tanh, lambda x: sech(x) ** 2, lambda x: -2 * tanh(x) * sech(x) ** 2),
        # 1 - out^2 where out is near 1
        accuracy=Accuracy(
            (2.5, 2.0, 2.0), (2.5, 2.0, 2.0),
            {1: (lambda x: [1], "1"), 2: (lambda x: [2 * mp.fabs(tanh(x))], "2 |tanh x|")},
        ),
        dual=dual("tanh", lambda m, x, y: 1 / m.cosh(x) / m.cosh(x)),
        rewritings=(lambda x: ops.sinh(x) / ops.cosh(x), lambda x: 2.0 * ops.sigmoid(2.0 * x) - 1.0),
        peers="tanh", tame=True, true_zero=at_roots,
        vectorised=Vectorised(
            (any_magnitude, moderate, between(-23.0, 23.0), around(22.0, 19.06, 0.1733, 1e-300, 5e-301, -22.0)),
            (
                (0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (1000.0, 1.0), (-1000.0, -1.0),
                (-5e-324, -5e-324), (5e-324, 5e-324),
            ),
        ),
    ),
    Operation(
        op=ops.sigmoid,
        samples=((0.3,), (-2.0,), (4.0,)), draw=one(saturating),
        edges=(
            Edge("sigmoid(1000)", (1000.0,), 1.0, (0.0,)),
            Edge("sigmoid(-1000)", (-1000.0,), 0.0, (0.0,)),
        ),
        reference=unary(
            logistic,
            lambda x: logistic(x) * logistic(-x),
            lambda x: -logistic(x) * logistic(-x) * tanh(x / 2),
        ),
        # out (1 - out) where out is near 1; s errs by up to 1.8 ulp, and s (1 - s) (1 - 2 s) rounds thrice: 2.2 seen in
        # 10,000 points
        accuracy=everywhere(2.5, 2.0, 3.0)._replace(
            units=dict.fromkeys((1, 2), (lambda x: [logistic(x)], "sigmoid x"))
        ),
        dual=sigmoid_dual,
        rewritings=(lambda x: 1.0 / (1.0 + ops.exp(-x)), lambda x: 0.5 * (1.0 + ops.tanh(0.5 * x))),
        peers="sigmoid", tame=True,
        vectorised=Vectorised(
            (
                any_magnitude, moderate, between(-745.2, 745.2), around(*EXP_ENDS, 36.7, -36.7),
                between(-745.2, -708.0),
            ),
            (
                (0.0, 0.5), (-0.0, 0.5), (inf, 1.0), (-inf, 0.0), (1000.0, 1.0), (-1000.0, 0.0), (745.2, 1.0),
            ),
        ),
    ),
    Operation(
        op=ops.softplus,
        samples=((0.3,), (-2.0,), (4.0,)), draw=one(saturating),
        edges=(
            Edge("softplus(1000)", (1000.0,), 1000.0, (1.0,)),
            Edge("softplus(-1000)", (-1000.0,), 0.0, (0.0,)),
            Edge("softplus(inf)", (inf,), inf, (1.0,)),
            Edge("softplus(-inf)", (-inf,), 0.0, (0.0,)),
            Edge("softplus(21)", (21.0,), 21.000000000758256, (0.999999999241744,)),
        ),
        reference=unary(softplus, logistic, lambda x: logistic(x) * logistic(-x)),
        accuracy=everywhere(2.0, 2.5, 2.0)._replace(units={2: (lambda x: [logistic(x)], "sigmoid x")}),
        dual=softplus_dual,
        rewritings=(
            lambda x: ops.logsumexp([0.0, x]), lambda x: ops.log1p(ops.exp(x)), lambda x: x + ops.softplus(-x),
        ),
        peers="softplus", tame=True,
        vectorised=Vectorised(
            (
                any_magnitude, moderate, between(-745.2, 745.2), around(*EXP_ENDS, 36.7, -36.7, 37.4),
                between(-745.2, -708.0),
            ),
            ((inf, inf), (-inf, 0.0), (1000.0, 1000.0), (-1000.0, 0.0), (745.2, 745.2), (MOST, MOST)),
        ),
    ),
    Operation(
        op=ops.relu, symbol="ReLU",
        samples=((0.3,), (-2.0,)), draw=one(number),
        edges=(
            Edge("relu(0)", (0.0,), 0.0, (0.0,)),
            Edge("relu(nan)", (nan,), nan, (nan,)),
            Edge("relu(-0.0)", (-0.0,), 0.0, (0.0,)),
            Edge("relu(log x) at 0", (0.0,), 0.0, (0.0,), f=lambda x: ops.relu(ops.log(x))),
        ),
        reference=unary(lambda x: max(x, mpf(0)), lambda x: x > 0, lambda x: 0),
        accuracy=EXACT,
        dual=relu_dual,
        rewritings=(
            lambda x: ops.where(ops.less(0.0, x), x, 0.0), lambda x: ops.step(x) * x, lambda x: ops.leaky_relu(x, 0.0),
        ),
        peers="relu", chooses=True, turns_at_0=True, same_bits=True, kink=lambda x: x == 0.0,
    ),
    Operation(
        op=ops.leaky_relu, symbol="leaky ReLU",
        samples=((0.3, 0.1), (-2.0, 0.01), (-0.7, -0.5), (4.0, 2.0)), draw=numbers(2, 2),
        edges=(
            Edge("leaky_relu(0), slope .01", (0.0,), 0.0, (0.01,), f=lambda x: ops.leaky_relu(x, 0.01)),
            Edge("leaky_relu(nan), slope V(.01)", (nan, 0.01), nan, (nan, nan)),
        ),
        reference=leaky_relu_reference,
        accuracy=ROUNDED,
        dual=leaky_relu_dual,
        rewritings=(lambda x, slope: ops.where(ops.less(0.0, x), x, slope * x),),
        peers=peers_leaky_relu,
        chooses=True, nan_is_nan=False, turns_at_0=True, same_bits=True,
        kink=lambda x, slope: x == 0.0,
        one_sided=lambda x, slope: x == 0.0,
    ),
]  # fmt: skip

CHOICES = [
    Operation(
        op=ops.sign, kind="jump",
        samples=((0.3,), (-2.0,)), draw=one(number),
        edges=(
            Edge("sign(0)", (0.0,), 0.0, (0.0,)),
            Edge("sign(nan)", (nan,), nan, (nan,)),
        ),
        reference=unary(mp.sign, lambda x: 0, lambda x: 0),
        accuracy=EXACT,
        dual=jump(lambda x: 1 if x > 0 else -1 if x < 0 else x),
        rewritings=(lambda x: ops.step(x) - ops.step(-x),),
        peers="sign", chooses=True, same_bits=True, near_jump=at_0,
    ),
    Operation(
        op=ops.step, kind="jump",
        samples=((0.3,), (-2.0,)), draw=one(number),
        edges=(
            Edge("step(0)", (0.0,), 0.0, (0.0,)),
            Edge("step(nan)", (nan,), nan, (nan,)),
        ),
        reference=unary(lambda x: mpf(x > 0), lambda x: 0, lambda x: 0),
        accuracy=EXACT,
        dual=jump(lambda x: 1 if x > 0 else 0),
        rewritings=(lambda x: ops.relu(ops.sign(x)),),
        peers=lambda m, x: m.truth(x > 0), chooses=True, same_bits=True, near_jump=at_0,
    ),
    Operation(
        op=ops.floor, kind="jump",
        samples=((0.3,), (-2.4,), (7.5,)), draw=one(number),
        edges=(
            Edge("floor(-0.0)", (-0.0,), -0.0, (0.0,)),
            Edge("floor(-0.5)", (-0.5,), -1.0, (0.0,)),
            Edge("floor(3)", (3.0,), 3.0, (0.0,)),
            Edge("floor(-inf)", (-inf,), -inf, (0.0,)),
            Edge("floor(nan)", (nan,), nan, (nan,)),
        ),
        reference=unary(mp.floor, lambda x: 0, lambda x: 0),
        accuracy=EXACT,
        dual=jump_of("floor"),
        rewritings=(lambda x: ops.floor_div(x, 1.0), lambda x: x - ops.mod(x, 1.0)),
        peers="floor", chooses=True, same_bits=True, near_jump=between_ends(math.floor),
    ),
    Operation(
        op=ops.round_, operator=round, kind="jump",
        samples=((0.3,), (-2.4,), (7.6,)), draw=one(number),
        edges=(
            Edge("round(2.5)", (2.5,), 2.0, (0.0,)),
            Edge("round(3.5)", (3.5,), 4.0, (0.0,)),
            Edge("round(-0.5)", (-0.5,), -0.0, (0.0,)),
            Edge("round(0.49999999999999994)", (0.49999999999999994,), 0.0, (0.0,)),
            Edge("round(inf)", (inf,), inf, (0.0,)),
            Edge("round(nan)", (nan,), nan, (nan,)),
        ),
        reference=unary(mp.nint, lambda x: 0, lambda x: 0),
        accuracy=EXACT,
        dual=jump_of("nint"),
        rewritings=(lambda x: -ops.round_(-x),),
        peers="round", chooses=True, same_bits=True, near_jump=between_ends(round),
    ),
    Operation(
        op=ops.detach, kind="constant",
        samples=((0.3,), (-2.0,)), draw=one(number),
        edges=(
            Edge("detach(-0.0)", (-0.0,), -0.0, (None,)),
            Edge("detach(inf)", (inf,), inf, (None,)),
            Edge("detach(nan)", (nan,), nan, (None,)),
            Edge("x * detach(x)", (3.0,), 9.0, (3.0,), f=lambda x: x * ops.detach(x)),
            Edge("detach(log x) at 0", (0.0,), -inf, (None,), f=lambda x: ops.detach(ops.log(x))),
        ),
        reference=lambda x: linear(x, [0]),
        accuracy=EXACT,
        dual=lambda m, x: (x, [None]),
        rewritings=(lambda x: 0.5 * ops.detach(2.0 * x), lambda x: -ops.detach(-x)),
        peers=peers_detach,
        chooses=True, nan_is_nan=False, same_bits=True, true_zero=at_roots,
    ),
    Operation(
        op=ops.equal, symbol="==", kind="comparison",
        samples=((0.3, -2.0), (1.0, 2.0)), draw=numbers(2, 2),
        edges=(
            Edge("0.0 == -0.0", (0.0, -0.0), 1.0, (None, None)),
            Edge("nan == nan", (nan, nan), 0.0, (None, None)),
        ),
        reference=lambda a, b: constant(mpf(a == b), 2),
        accuracy=EXACT,
        dual=comparison(lambda a, b: a == b),
        rewritings=(lambda a, b: ops.less_equal(a, b) * ops.less_equal(b, a),),
        reordered=shuffled,
        peers=lambda m, a, b: m.truth(m.number(a) == m.number(b)),
        chooses=True, nan_is_nan=False, same_bits=True,
    ),
    Operation(
        op=ops.less, symbol="<", operator=operator.lt, kind="comparison",
        samples=((0.3, -2.0), (1.0, 2.0)), draw=numbers(2, 2),
        edges=(
            Edge("nan < 1", (nan, 1.0), 0.0, (None, None)),
            Edge("1 < 1", (1.0, 1.0), 0.0, (None, None)),
        ),
        reference=lambda a, b: constant(mpf(a < b), 2),
        accuracy=EXACT,
        dual=comparison(lambda a, b: a < b),
        rewritings=(lambda a, b: ops.less_equal(a, b) * (1.0 - ops.equal(a, b)),),
        peers=lambda m, a, b: m.truth(m.number(a) < m.number(b)),
        chooses=True, nan_is_nan=False, same_bits=True,
    ),
    Operation(
        op=ops.less_equal, symbol="<=", operator=operator.le, kind="comparison",
        samples=((0.3, -2.0), (1.0, 2.0)), draw=numbers(2, 2),
        edges=(
            Edge("1 <= 1", (1.0, 1.0), 1.0, (None, None)),
            Edge("1 <= nan", (1.0, nan), 0.0, (None, None)),
        ),
        reference=lambda a, b: constant(mpf(a <= b), 2),
        accuracy=EXACT,
        dual=comparison(lambda a, b: a <= b),
        rewritings=(lambda a, b: ops.maximum(ops.less(a, b), ops.equal(a, b)),),
        peers=lambda m, a, b: m.truth(m.number(a) <= m.number(b)),
        chooses=True, nan_is_nan=False, same_bits=True,
    ),
    Operation(
        op=ops.where, kind="choice",
        samples=((1.0, 2.0, -3.0), (-0.4, 0.1, 0.2)),
        # a condition of 0 is no smooth point, but its partial is 0 by definition there too
        draw=lambda r: (r.choice((0.0, 1.0, number(r))), number(r), number(r)),
        edges=(
            Edge(
                "where(x > 0, log x, 0) at 0", (0.0,), 0.0, (0.0,),
                f=lambda x: ops.where(ops.less(0.0, x), ops.log(x), 0.0),
            ),
            Edge("where(0, inf, 2)", (0.0, inf, 2.0), 2.0, (None, None, 1.0)),
            Edge("where(1, 2, nan)", (1.0, 2.0, nan), 2.0, (None, 1.0, None)),
        ),
        reference=lambda c, a, b: selected((c, a, b), 1 if c != 0 else 2),
        accuracy=EXACT,
        dual=where_dual,
        rewritings=(
            lambda c, a, b: ops.where(ops.equal(c, 0.0), b, a), lambda c, a, b: ops.pick(ops.equal(c, 0.0), [a, b]),
        ),
        peers=lambda m, c, a, b: m.where(m.number(c) != 0, m.number(a), m.number(b)),
        chooses=True, nan_is_nan=False, turns_at_0=True, same_bits=True,
    ),
    Operation(
        op=ops.clip, kind="extreme",
        samples=((0.3, -1.0, 1.0), (-2.0, -1.0, 1.0), (5.0, -1.0, 1.0)), draw=clip_point,
        edges=(
            Edge("clip at the lower bound", (-1.0, -1.0, 1.0), -1.0, (1.0, None, None)),
            Edge("clip at the upper bound", (1.0, -1.0, 1.0), 1.0, (1.0, None, None)),
            Edge("clip at the upper of exchanged bounds", (1.0, 2.0, 1.0), 1.0, (None, None, 1.0)),
            Edge("clip(nan)", (nan, -1.0, 1.0), nan, (nan, nan, nan)),
        ),
        reference=clip_reference,
        accuracy=EXACT,
        dual=clip_dual,
        rewritings=(clip_in_two_steps,),
        peers=lambda m, x, low, high: m.clip(m.number(x), m.number(low), m.number(high)),
        chooses=True, same_bits=True,
        kink=lambda x, low, high: x in (low, high) or not low < high,
    ),
    Operation(
        op=ops.maximum, symbol="max", kind="extreme",
        samples=((2.0, -3.0), (0.1, 0.2, -0.3, 0.4), (1.5,)), draw=numbers(1, 4),
        edges=(
            Edge("max at a tie", (3.0, 3.0), 3.0, (0.5, 0.5)),
            Edge("max(inf, inf)", (inf, inf), inf, (0.5, 0.5)),
            Edge("max(-inf, -inf)", (-inf, -inf), -inf, (0.5, 0.5)),
            Edge("max of 3 equal of 4", (7.0, 7.0, 1.0, 7.0), 7.0, (1 / 3, 1 / 3, None, 1 / 3)),
            Edge("max(nan, 1)", (nan, 1.0), nan, (nan, nan)),
            Edge("max(1, nan)", (1.0, nan), nan, (nan, nan)),
        ),
        reference=extreme_reference(max),
        accuracy=everywhere(0.0, 0.5, 0.0),  # 1/k at a tie
        dual=extreme_dual(max),
        rewritings=(lambda *xs: -ops.minimum(*[-x for x in xs]), lambda *xs: ops.maximum(*xs, -inf)),
        reordered=shuffled,
        peers=lambda m, *xs: m.amax(m.stacked(*xs)),
        chooses=True, same_bits=True,
    ),
    Operation(
        op=ops.minimum, symbol="min", kind="extreme",
        samples=((2.0, -3.0), (0.1, 0.2, -0.3, 0.4), (1.5,)), draw=numbers(1, 4),
        edges=(
            Edge("min at a tie", (3.0, 3.0), 3.0, (0.5, 0.5)),
            Edge("min(inf, inf)", (inf, inf), inf, (0.5, 0.5)),
            Edge("min(-inf, -inf)", (-inf, -inf), -inf, (0.5, 0.5)),
            Edge("min of 3 equal of 4", (7.0, 7.0, 9.0, 7.0), 7.0, (1 / 3, 1 / 3, None, 1 / 3)),
            Edge("min(nan, 1)", (nan, 1.0), nan, (nan, nan)),
            Edge("min(1, nan)", (1.0, nan), nan, (nan, nan)),
        ),
        reference=extreme_reference(min),
        accuracy=everywhere(0.0, 0.5, 0.0),
        dual=extreme_dual(min),
        rewritings=(lambda *xs: -ops.maximum(*[-x for x in xs]), lambda *xs: ops.minimum(inf, *xs)),
        reordered=shuffled,
        peers=lambda m, *xs: m.amin(m.stacked(*xs)),
        chooses=True, same_bits=True,
    ),
    Operation(
        op=ops.pick, kind="choice", index=0, call=lambda k, *xs: ops.pick(k, xs),
        samples=((0.0, 2.0, -3.0), (2.0, 0.1, 0.2, 0.3)), draw=pick_point,
        edges=(
            Edge(
                "pick(1, [nan, 2, inf])", (nan, 2.0, inf), 2.0, (None, 1.0, None), f=lambda *xs: ops.pick(1, xs),
            ),
            Edge("pick(-0.0, [2, nan])", (2.0, nan), 2.0, (1.0, None), f=lambda *xs: ops.pick(-0.0, xs)),
        ),
        reference=lambda k, *xs: selected((k, *xs), 1 + int(mp.nint(k))),
        accuracy=EXACT,
        dual=pick_dual,
        rewritings=(lambda k, *xs: ops.dot([ops.equal(k, float(i)) for i in range(len(xs))], xs),),
        peers=lambda m, k, *xs: m.stacked(*xs)[int(k)],
        chooses=True, nan_is_nan=False, same_bits=True,
    ),
]  # fmt: skip

SUMS = [
    Operation(
        op=ops.dot, kind="sum", call=call_dot,
        samples=((2.0, -3.0), (1.0, 2.0, 3.0, 4.0, 5.0), (0.5, -0.2, 0.7, 1.1)), draw=numbers(1, 7),
        edges=(
            Edge("dot([0], [inf])", (0.0, inf), nan, (inf, 0.0)),
            Edge("dot([], [], b)", (5.0,), 5.0, (1.0,)),
        ),
        reference=dot_reference,
        amended=dot_amended,
        accuracy=everywhere(2.0, 0.0, 0.0)._replace(
            units={0: (lambda *xs: [products(*xs)], "the sum of |w x|")},
            beyond=(Beyond(0, overflows(products), None, "a sum overflows on the way"),),
        ),
        dual=dot_dual,
        rewritings=(
            lambda *xs: ops.total(times(xs)), lambda *xs: ops.dot(times(xs), [1.0] * len(times(xs))),
        ),
        reordered=dot_reordered,
        peers=peers_dot,
        nan_is_nan=False, tame=True,
    ),
    Operation(
        op=ops.total, symbol="sum", kind="sum", call=lambda *xs: ops.total(xs),
        samples=((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), draw=numbers(1, 5),
        edges=(Edge("total([1e308, 1e308])", (1e308, 1e308), inf, (1.0, 1.0)),),
        reference=lambda *xs: linear(sum(xs), [1] * len(xs)),
        accuracy=everywhere(2.0, 0.0, 0.0)._replace(
            units={0: (lambda *xs: [terms(*xs)], "the sum of |x|")}, beyond=ON_THE_WAY
        ),
        dual=total_dual,
        rewritings=(lambda *xs: ops.dot([1.0] * len(xs), xs), lambda *xs: len(xs) * ops.mean(xs)),
        reordered=shuffled,
        peers=lambda m, *xs: m.sum(m.stacked(*xs)),
        nan_is_nan=False, tame=True, same_bits=True,
    ),
    Operation(
        op=ops.mean, kind="sum", call=lambda *xs: ops.mean(xs),
        samples=((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), draw=numbers(1, 5),
        edges=(Edge("mean([inf, -inf])", (inf, -inf), nan, (0.5, 0.5)),),
        reference=lambda *xs: linear(sum(xs) / len(xs), [mpf(1) / len(xs)] * len(xs)),
        accuracy=everywhere(2.0, 0.5, 0.0)._replace(
            units={0: (lambda *xs: [terms(*xs) / len(xs)], "the mean of |x|")}, beyond=ON_THE_WAY
        ),
        dual=mean_dual,
        rewritings=(
            lambda *xs: ops.total(xs) / len(xs), lambda *xs: ops.dot([1.0 / len(xs)] * len(xs), xs),
        ),
        reordered=shuffled,
        peers=lambda m, *xs: m.mean(m.stacked(*xs)),
        nan_is_nan=False, tame=True, same_bits=True,
    ),
    Operation(
        op=ops.logsumexp, call=lambda *xs: ops.logsumexp(xs),
        samples=((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), draw=logsumexp_point,
        edges=(
            Edge("logsumexp(1000, -1000)", (1000.0, -1000.0), 1000.0, (1.0, 0.0)),
            Edge("logsumexp(inf, 0)", (inf, 0.0), inf, (1.0, 0.0)),
            Edge("logsumexp(inf, nan)", (inf, nan), nan, (nan, nan)),
            Edge("logsumexp(inf, inf)", (inf, inf), inf, (nan, nan)),
            Edge("logsumexp(-inf, -inf)", (-inf, -inf), -inf, (nan, nan)),
            Edge("softmax(inf, inf)", (inf, inf), nan, (nan, nan), f=lambda *xs: nn.softmax(xs)[0]),
        ),
        reference=logsumexp_reference,
        accuracy=everywhere(2.0, 4.0, 4.0)._replace(
            units={
                0: (logsumexp_value, "|max| + |out - max|"),
                2: (shares_second, "p_i (1 + p_i), beside the diagonal 2 p_i p_j"),
            },
            beyond=(SEVERAL_INFINITE,),
        ),
        dual=logsumexp_dual,
        rewritings=(
            lambda *xs: ops.log(ops.total([ops.exp(x) for x in xs])),
            lambda *xs: xs[0] + ops.logsumexp([x - xs[0] for x in xs]),
        ),
        reordered=shuffled,
        peers=lambda m, *xs: m.logsumexp(m.stacked(*xs), 0),
        nan_is_nan=False, tame=True,
        scale=lambda xs, out: max(map(abs, xs), default=0.0) + len(xs),
    ),
    Operation(
        op=ops.cross_entropy, symbol="cross-entropy", index=-1,
        call=lambda *xs_k: ops.cross_entropy(xs_k[:-1], xs_k[-1]),
        samples=((2.0, -3.0, 1.0), (0.1, 0.2, 0.3, 0.0), (1.5, 0.0)), draw=scores_point,
        edges=(
            Edge("cross_entropy([1e16, 1e16], 0)", (1e16, 1e16, 0.0), math.log(2.0), (-0.5, 0.5, None)),
            Edge("cross_entropy([1000, -1000], 1)", (1000.0, -1000.0, 1.0), 2000.0, (1.0, -1.0, None)),
            Edge(
                "cross_entropy([50, 0], 0)", (50.0, 0.0, 0.0), 1.9287498479639178e-22,
                (-1.9287498479639178e-22, 1.9287498479639178e-22, None),
            ),
            Edge("cross_entropy([inf, 0], 0)", (inf, 0.0, 0.0), 0.0, (0.0, 0.0, None)),
            Edge("cross_entropy([inf, 0], 1)", (inf, 0.0, 1.0), inf, (1.0, -1.0, None)),
            Edge("cross_entropy([inf, inf], 0)", (inf, inf, 0.0), nan, (nan, nan, None)),
            Edge("cross_entropy([-inf, 0], 0)", (-inf, 0.0, 0.0), inf, (-1.0, 1.0, None)),
            Edge("cross_entropy([1, nan], 0)", (1.0, nan, 0.0), nan, (nan, nan, None)),
            Edge("cross_entropy([inf, nan], 0)", (inf, nan, 0.0), nan, (nan, nan, None)),
        ),
        reference=cross_entropy_reference,
        accuracy=everywhere(2.0, 4.0, 4.0)._replace(
            units={2: (scores_second, "as of logsumexp")},
            beyond=(SEVERAL_INFINITE,),
        ),
        dual=cross_entropy_dual,
        rewritings=(
            lambda *xs_k: ops.logsumexp(xs_k[:-1]) - ops.pick(xs_k[-1], xs_k[:-1]),
            lambda *xs_k: ops.logsumexp([x - ops.pick(xs_k[-1], xs_k[:-1]) for x in xs_k[:-1]]),
        ),
        reordered=scores_reordered,
        peers=peers_cross_entropy,
        nan_is_nan=False, tame=True, true_zero=at_roots,
    ),
]  # fmt: skip

OPERATIONS = {record.op: record for record in (*ARITHMETIC, *ANALYSIS, *UNITS_OF_A_NETWORK, *CHOICES, *SUMS)}
OPERATIONS = {op: OPERATIONS[op] for op in (*ops.OPS, *OPERATIONS) if op in OPERATIONS}  # in the order of the table
EDGES = [edge for record in OPERATIONS.values() for edge in record.edges]


# --- what is missing

README = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")


def missing(table: tuple[ops.Op, ...] = ops.OPS) -> list[str]:
    """For each operation of the table (and for what is not in it) one line that tells all that is still to add."""
    found = []
    for op in table:
        record = OPERATIONS.get(op) or Operation(op=op)
        lacks = record.lacks()
        if op not in OPERATIONS:
            lacks = [f"record in tests/operations.py with {', '.join(lacks)}"]
        if op not in LOWERINGS:
            lacks.append("row in tinygrad_lite/compiler/lowerings.py (LOWERINGS)")
        if op not in ELEMENTWISE:
            lacks.append("row in tinygrad_lite/compiler/elementwise.py (ELEMENTWISE)")
        if op not in ROWS:
            lacks.append("row in tinygrad_lite/export/rows.py (ROWS)")
        if callable(getattr(vector_math, op.name, None)) and record.vectorised is None:
            lacks.append("operands that try its code in vector_math.py (vectorised, in its record)")
        if record.operator is None and not (
            op.name in tinygrad_lite.__all__ and getattr(tinygrad_lite, op.name, None) is op
        ):
            lacks.append("export in tinygrad_lite/__init__.py")
        one_operand = isinstance(op.partials, tuple) and len(op.partials) == 1
        if one_operand and record.operator is None and not hasattr(tinygrad_lite.Value, op.name):
            lacks.append("method of Value in tinygrad_lite/methods.py (`python tests/generated.py` writes it)")
        if f"\n| {op.name} |" not in README:
            lacks.append("row in tests/README.md (`python -m tests.accuracy --write` writes it)")
        if lacks:
            found.append(f"{op.name} is in OPS and has no: " + "; no: ".join(lacks))
    elsewhere = {
        "is a record of ops.py": [op for op in vars(ops).values() if isinstance(op, ops.Op)],
        "has a record in tests/operations.py": OPERATIONS,
        "has a lowering (LOWERINGS)": LOWERINGS,
        "has a row for arrays (ELEMENTWISE)": ELEMENTWISE,
        "has a row of C and JavaScript (ROWS)": ROWS,
    }
    for what, known in elsewhere.items():
        found += [f"{op.name} {what} and is not in OPS" for op in known if op not in table]
    return found
