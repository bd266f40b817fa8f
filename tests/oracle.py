"""What is true of every operation, and at which points to ask it. No tests.

Where the truth is finite it is mpmath's, at 50 digits, from closed forms written without a look at ops.py. An
infinite operand, a zero where a pole or a jump is, and a negative zero stand for a limit, as in IEEE 754: `limit` puts
numbers in their place that are larger, or smaller, than any float, at several rates. Where all rates lead to one
float, that is the truth; else nan. `BY_DECREE` are the few answers that IEEE 754, C99 or our table of edge cases
give otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from random import Random

from mpmath import MPContext

from tinygrad_lite import ops

from .edge_table import POINTS, inf, nan

mp = MPContext()  # not mpmath.mp, whose precision other tests may rely on
mp.dps = 50
mpf = mp.mpf

# --- operands -> (value, gradient, Hessian)


def exp(x):
    """e^x. Beyond e^100000, where no float is, a power of two near it: its order alone matters, and the true one
    may have more digits than memory."""
    if mp.fabs(x) < 1e5 or mp.isnan(x):
        return mp.exp(x)
    return mp.ldexp(mpf(1), int(max(min(x, mpf(10) ** 450), -(mpf(10) ** 450)) / mp.ln2))


def sinh(x):
    return mp.sinh(x) if mp.fabs(x) < 1e5 else mp.sign(x) * exp(mp.fabs(x)) / 2


def cosh(x):
    return mp.cosh(x) if mp.fabs(x) < 1e5 else exp(mp.fabs(x)) / 2


def tanh(x):
    return mp.tanh(x) if mp.fabs(x) < 1e5 else mp.sign(x)


def sech(x):
    return 1 / cosh(x)


def softplus(x):
    return mp.log1p(exp(x)) if x < 0 else x + mp.log1p(exp(-x))


def logistic(x):
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def periodic(f):
    """f, or nan so far out that no float is there: the limit does not exist."""
    return lambda x: f(x) if mp.fabs(x) < mpf(10) ** 400 else mp.nan


def unary(f, first, second, least=-mp.inf, most=mp.inf):
    """A function on least .. most; nan with all its derivatives outside."""

    def reference(x):
        if not least <= x <= most:
            return mp.nan, [mp.nan], [[mp.nan]]
        return f(x), [first(x)], [[second(x)]]

    return reference


def linear(value, gradient):
    return value, gradient, [[0] * len(gradient) for _ in gradient]


def constant(value, n):
    return linear(value, [0] * n)


def constant_nan(n):
    return mp.nan, [mp.nan] * n, [[mp.nan] * n] * n


def selected(xs, i):
    """The i-th operand, and nothing of the others."""
    return linear(xs[i], [int(j == i) for j in range(len(xs))])


def power(x, n):
    if n == 0 or x == 1:
        return mpf(1)
    if x == 0 and not mp.isnan(n):
        return x if n > 0 else 1 / x  # ZeroDivisionError: a pole
    if mp.isnan(x) or mp.isnan(n) or (x < 0 and n != mp.floor(n)):
        return mp.nan
    return (-1 if x < 0 and n % 2 == 1 else 1) * exp(n * mp.log(mp.fabs(x)))


def power_reference(x, n):
    value = power(x, n)
    if mp.isnan(value):
        return value, [value] * 2, [[value] * 2] * 2
    log, below = mp.log(x) if x > 0 else mp.nan, power(x, n - 1)
    mixed = below * (1 + n * log)
    return value, [n * below, value * log], [[n * (n - 1) * power(x, n - 2), mixed], [mixed, value * log**2]]


def hypot_reference(a, b):
    r = mp.sqrt(a * a + b * b)
    mixed = -a * b / r**3
    return r, [a / r, b / r], [[b * b / r**3, mixed], [mixed, a * a / r**3]]


def atan2_reference(y, x):
    r2 = x * x + y * y
    yy, yx = -2 * x * y / r2**2, (y * y - x * x) / r2**2
    return mp.atan2(y, x), [x / r2, -y / r2], [[yy, yx], [yx, -yy]]


def dot_reference(*ws_xs):
    n = len(ws_xs) // 2
    ws, xs, start = ws_xs[:n], ws_xs[n : 2 * n], ws_xs[2 * n :]
    partner = {**{i: i + n for i in range(n)}, **{i + n: i for i in range(n)}}
    hessian = [[int(partner.get(i) == j) for j in range(len(ws_xs))] for i in range(len(ws_xs))]
    return sum([w * x for w, x in zip(ws, xs)], sum(start)), [*xs, *ws, *(1 for _ in start)], hessian


def logsumexp_reference(*xs):
    *others, largest = sorted(xs)
    s = sum([exp(x - largest) for x in others])
    p = [exp(x - largest) / (1 + s) for x in xs]
    n = range(len(xs))
    return largest + mp.log1p(s), p, [[p[i] * ((i == j) - p[j]) for j in n] for i in n]


def leaky_relu_reference(x, slope):
    if x > 0:
        return linear(x, [1, 0])
    hessian = [[0, 1], [x != 0, 0]]  # at the kink x = 0 there is nothing to select
    if mp.isnan(x):
        return mp.nan, [mp.nan] * 2, [[mp.nan] * 2, hessian[1]]
    return slope * x, [slope, x], hessian


def extreme_reference(choose):
    def reference(*xs):
        if any(map(mp.isnan, xs)):
            return linear(mp.nan, [mp.nan] * len(xs))
        best = choose(xs)
        ties = sum(x == best for x in xs)
        return linear(best, [mpf(x == best) / ties for x in xs])

    return reference


def clip_reference(x, low, high):
    if any(map(mp.isnan, (x, low, high))):
        return constant_nan(3)
    if high < low:
        return selected((x, low, high), 2)
    return selected((x, low, high), 1 if x < low else 2 if x > high else 0)


REFERENCE = {
    ops.add: lambda a, b: linear(a + b, [1, 1]),
    ops.sub: lambda a, b: linear(a - b, [1, -1]),
    ops.mul: lambda a, b: (a * b, [b, a], [[0, 1], [1, 0]]),
    ops.div: lambda a, b: (a / b, [1 / b, -a / b**2], [[0, -1 / b**2], [-1 / b**2, 2 * a / b**3]]),
    ops.power: power_reference,
    ops.neg: lambda x: linear(-x, [-1]),
    ops.abs_: unary(mp.fabs, mp.sign, lambda x: 0),
    ops.exp: unary(exp, exp, exp),
    ops.expm1: unary(lambda x: mp.expm1(x) if mp.fabs(x) < 1e5 else exp(x) - 1, exp, exp),
    ops.log: unary(mp.log, lambda x: 1 / x, lambda x: -1 / x**2, least=0),
    ops.log1p: unary(mp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2, least=-1),
    ops.sqrt: unary(mp.sqrt, lambda x: 1 / (2 * mp.sqrt(x)), lambda x: -1 / (4 * x * mp.sqrt(x)), least=0),
    ops.hypot: hypot_reference,
    ops.sin: unary(periodic(mp.sin), periodic(mp.cos), periodic(lambda x: -mp.sin(x))),
    ops.cos: unary(periodic(mp.cos), periodic(lambda x: -mp.sin(x)), periodic(lambda x: -mp.cos(x))),
    ops.tan: unary(
        periodic(mp.tan), periodic(lambda x: mp.sec(x) ** 2), periodic(lambda x: 2 * mp.sec(x) ** 2 * mp.tan(x))
    ),
    ops.asin: unary(mp.asin, lambda x: 1 / mp.sqrt(1 - x * x), lambda x: x / mp.sqrt(1 - x * x) ** 3, -1, 1),
    ops.acos: unary(mp.acos, lambda x: -1 / mp.sqrt(1 - x * x), lambda x: -x / mp.sqrt(1 - x * x) ** 3, -1, 1),
    ops.atan: unary(mp.atan, lambda x: 1 / (1 + x * x), lambda x: -2 * x / (1 + x * x) ** 2),
    ops.atan2: atan2_reference,
    ops.sinh: unary(sinh, cosh, sinh),
    ops.cosh: unary(cosh, sinh, cosh),
    ops.tanh: unary(tanh, lambda x: sech(x) ** 2, lambda x: -2 * tanh(x) * sech(x) ** 2),
    ops.sigmoid: unary(
        logistic,
        lambda x: logistic(x) * logistic(-x),
        lambda x: -logistic(x) * logistic(-x) * tanh(x / 2),
    ),
    ops.softplus: unary(softplus, logistic, lambda x: logistic(x) * logistic(-x)),
    ops.relu: unary(lambda x: max(x, mpf(0)), lambda x: x > 0, lambda x: 0),
    ops.leaky_relu: leaky_relu_reference,
    ops.sign: unary(mp.sign, lambda x: 0, lambda x: 0),
    ops.step: unary(lambda x: mpf(x > 0), lambda x: 0, lambda x: 0),
    ops.equal: lambda a, b: constant(mpf(a == b), 2),
    ops.less: lambda a, b: constant(mpf(a < b), 2),
    ops.less_equal: lambda a, b: constant(mpf(a <= b), 2),
    ops.where: lambda c, a, b: selected((c, a, b), 1 if c != 0 else 2),
    ops.clip: clip_reference,
    ops.maximum: extreme_reference(max),
    ops.minimum: extreme_reference(min),
    ops.pick: lambda k, *xs: selected((k, *xs), 1 + int(mp.nint(k))),
    ops.dot: dot_reference,
    ops.total: lambda *xs: linear(sum(xs), [1] * len(xs)),
    ops.mean: lambda *xs: linear(sum(xs) / len(xs), [mpf(1) / len(xs)] * len(xs)),
    ops.logsumexp: logsumexp_reference,
}


# --- where that is not finite

BEYOND_FLOATS = mpf(2) ** (10**400)
RATES = 1, 3


def whole(n):
    """Is n a whole number? All large floats are, and infinity counts as even."""
    return math.isinf(n) or n % 1.0 == 0.0


def negative(x):
    return math.copysign(1.0, x) < 0.0


# operations that compare and choose: an infinity or zero is a number like any other, and its own limit
CHOOSING = frozenset((
    ops.neg, ops.abs_, ops.relu, ops.leaky_relu, ops.sign, ops.step, ops.equal, ops.less, ops.less_equal, ops.where,
    ops.clip, ops.maximum, ops.minimum, ops.pick,
))  # fmt: skip


def flat(triple):
    """(value, gradient, Hessian) -> [value, *gradient, *Hessian]"""
    value, gradient, hessian = triple
    return [value, *gradient, *itertools.chain(*hessian)]


def as_float(x):
    """The nearest float, with the sign of a zero that stands for less than any float."""
    nearest = float(x)
    return -0.0 if nearest == 0.0 > x else nearest


def limit(op, point):
    """The float that each part tends to when infinite operands grow and zeros shrink, whichever is faster; else nan."""
    special = [i for i, x in enumerate(point) if x == 0.0 or math.isinf(x)]
    found = []
    for rates in itertools.product(RATES, repeat=len(special)):
        operands = [mpf(x) for x in point]
        for i, rate in zip(special, rates):
            scale = BEYOND_FLOATS**rate if point[i] else BEYOND_FLOATS**-rate
            operands[i] = scale if math.copysign(1.0, point[i]) > 0.0 else -scale
        found.append([as_float(part) for part in flat(REFERENCE[op](*operands))])
    # a zero of both signs is 0.0, as in IEEE's sums
    return [max(parts, key=lambda x: math.copysign(1.0, x)) if len({*parts}) == 1 else nan for parts in zip(*found)]


# where IEEE 754, C99 or the table of edge cases say something else than the limit, or a pole is not at 0
DECREED = {
    (ops.log, "-0.0"): [-inf, -inf, -inf],  # of 0, but IEEE's 1 / -0 is -inf
    (ops.sqrt, "-0.0"): [-0.0, inf, -inf],
    (ops.log1p, "-1.0"): [-inf, inf, -inf],
    (ops.asin, "1.0"): [math.pi / 2, inf, inf],
    (ops.asin, "-1.0"): [-math.pi / 2, inf, -inf],
    (ops.acos, "1.0"): [0.0, -inf, -inf],
    (ops.acos, "-1.0"): [math.pi, -inf, inf],
}


def decreed(op, x, y, parts):
    """The same for operations of two operands."""
    both_zero, both_infinite = x == 0.0 == y, math.isinf(x) and math.isinf(y)
    if op is ops.div and (both_zero or both_infinite):
        parts[2] = parts[6] = nan  # -(a / b) / b, as IEEE gives it
    elif op is ops.hypot and both_zero:
        parts = [0.0] * 7  # a kink: the subgradient of least norm
    elif op is ops.hypot and (math.isinf(x) or math.isinf(y)):
        parts[0] = inf  # also beside nan
    elif op is ops.atan2 and (both_zero or both_infinite):
        parts = [math.atan2(x, y)] + [nan] * 6  # C99 has a value
    elif op is ops.power:
        if negative(x) and (x == 0.0 or math.isinf(x)) and not whole(y):
            return truth(op, (-x, y))  # where the function ends, like the square root of -0
        if y == 0.0:
            parts[0], parts[1], parts[3] = 1.0, 0.0, 0.0  # also of nan and infinities
            parts[4] = 0.0 if x != x else parts[4]  # the derivative of that 0
        if x == 0.0:
            parts[2] = 0.0 if y >= 0.0 else parts[0] * -inf  # 0^n is constant in n, or x^n log x
    elif op is ops.atan2 and x == 0.0:
        parts[0] = math.atan2(x, y)  # -pi at -0
    return parts


def truth(op, point):
    """[value, *gradient, *Hessian], each an mpf, or a float where it is a limit or decreed."""
    if len(point) == 1:
        if (op, repr(point[0])) in DECREED:
            return DECREED[op, repr(point[0])]
        if point[0] != point[0] and op is not ops.neg:
            return [nan] * 3
    if op in CHOOSING:
        return [mpf(part) for part in flat(REFERENCE[op](*map(mpf, point)))]
    parts = None
    if not any(map(math.isinf, point)):
        with contextlib.suppress(ZeroDivisionError):
            parts = [mpf(part) for part in flat(REFERENCE[op](*map(mpf, point)))]
    if parts is None or not all(map(mp.isfinite, parts)) or (parts[0] == 0 and 0.0 in point):
        ends = limit(op, point)
        parts = ends if parts is None else [a if mp.isfinite(a) else b for a, b in zip(parts, ends)]
        if parts[0] == 0 and not math.isnan(ends[0]):
            parts[0] = ends[0]  # with its sign
    if op is ops.dot:
        n = len(point) // 2
        if any(math.isnan(w * x) for w, x in zip(point, point[n : 2 * n])):
            parts[0] = nan  # 0 x infinity, however large the other terms are
    return parts if len(point) != 2 else decreed(op, *point, parts)


# --- points

EDGE_NUMBERS = [sign * x for x in (
    0.0, 5e-324, 2.225073858507201e-308, 2.2250738585072014e-308, 1e-200, 1e-100,
    0.5, 0.9999999999999999, 1.0, 1.0000000000000002, math.pi / 2, 2.0, 3.0, math.pi,
    709.782712893384, 709.7827128933841, 745.1332191019411, 1e15, 2.0**53, 1e100, 1e200,
    1.7976931348623157e308, inf,
) for sign in (1.0, -1.0)] + [nan]  # fmt: skip
# for operations of one operand: multiples of pi/2, where they change their formula, where a result is last not 0 or inf
MORE_NUMBERS = [sign * x for x in (
    3 * math.pi / 2, 2 * math.pi, 100 * math.pi, 1e5 * math.pi / 2, 1e5, 100000.00000000001, 1e22,
    1e-20, 1e-16, 1.1102230246251565e-16, 2.0**-52, 0.1, 0.34657359027997264, 0.7071067811865475, 0.7071067811865476,
    1.4142135623730951, 19.0, 22.0, 36.7, 40.0, 710.0, 710.4758600739439, 710.475860073944, 745.1332191019412, 746.0,
    1e160, 1e154, 1.3e154, 1e78, 1e-160, 1e-154, 1e-78, 1e-8,
) for sign in (1.0, -1.0)]  # fmt: skip


@functools.cache
def edge_points(op):
    """Operations of one operand: every number. Of two: every pair. Of more: every pair at two changing places, while
    the other operands run through all numbers; and the largest of both signs, whose sums overflow on the way."""
    arity = len(POINTS[op].samples[0])
    if arity == 1:
        return [(x,) for x in EDGE_NUMBERS + MORE_NUMBERS]
    if arity == 2 and isinstance(op.partials, tuple):
        return list(itertools.product(EDGE_NUMBERS, repeat=2))
    size, found = 5 if op is ops.dot else 3, []
    places = list(itertools.combinations(range(size), 2))
    for n, pair in enumerate(itertools.product(EDGE_NUMBERS, repeat=2)):
        point = [EDGE_NUMBERS[(7 * n + 5 * i) % len(EDGE_NUMBERS)] for i in range(size)]
        for i, x in zip(places[n % len(places)], pair):
            point[i] = x
        found.append(tuple(point))
    found += itertools.product((max(EDGE_NUMBERS[:-3]), min(EDGE_NUMBERS[:-3])), repeat=size)
    return found if op is not ops.pick else [(float(n % size), *point) for n, point in enumerate(found)]


@functools.cache
def random_points(op):
    """The sample points and 1,000 random ones, which may have any number of operands."""
    r = Random(op.name)
    return [*POINTS[op].samples, *(POINTS[op].random(r) for _ in range(1000))]
