"""What is true of every operation, and at which points to ask it. No tests.

Where the truth is finite it is mpmath's, at 50 digits, from the closed form of the operation's record. An infinite
operand, a zero where a pole or a jump is, and a negative zero stand for a limit, as in IEEE 754: `limit` puts numbers
in their place that are larger, or smaller, than any float, at several rates. Where all rates lead to one float, that
is the truth; else nan. A record's `decreed` and `amended` are the few answers that IEEE 754, C99 or our table of edge
cases give otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from random import Random

from tinygrad_lite import ops

from .operation import inf, mp, mpf, nan
from .operations import OPERATIONS
from .sampling import sample

BEYOND_FLOATS = mpf(2) ** (10**400)
RATES = 1, 3


def flat(triple):
    """(value, gradient, Hessian) -> [value, *gradient, *Hessian]"""
    value, gradient, hessian = triple
    return [value, *gradient, *itertools.chain(*hessian)]


def as_float(x):
    """The nearest float, with the sign of a zero that stands for less than any float."""
    nearest = float(x)
    return -0.0 if nearest == 0.0 > x else nearest


def limit(record, point):
    """The float that each part tends to when infinite operands grow and zeros shrink, whichever is faster; else nan."""
    special = [i for i, x in enumerate(point) if x == 0.0 or math.isinf(x)]
    found = []
    for rates in itertools.product(RATES, repeat=len(special)):
        operands = [mpf(x) for x in point]
        for i, rate in zip(special, rates):
            scale = BEYOND_FLOATS**rate if point[i] else BEYOND_FLOATS**-rate
            operands[i] = scale if math.copysign(1.0, point[i]) > 0.0 else -scale
        found.append([as_float(part) for part in flat(record.reference(*operands))])
    # a zero of both signs is 0.0, as in IEEE's sums
    return [max(parts, key=lambda x: math.copysign(1.0, x)) if len({*parts}) == 1 else nan for parts in zip(*found)]


def truth(op, point):
    """[value, *gradient, *Hessian], each an mpf, or a float where it is a limit or decreed."""
    record = OPERATIONS[op]
    point = record.like(*point)
    if len(point) == 1:
        if repr(point[0]) in record.decreed:
            return record.decreed[repr(point[0])]
        if point[0] != point[0] and record.nan_is_nan:
            return [nan] * 3
    if record.chooses:
        return record.amended([mpf(part) for part in flat(record.reference(*map(mpf, point)))], *point)
    parts = None
    if not any(map(math.isinf, point)):
        with contextlib.suppress(ZeroDivisionError):
            parts = [mpf(part) for part in flat(record.reference(*map(mpf, point)))]
    if parts is None or not all(map(mp.isfinite, parts)) or (parts[0] == 0 and 0.0 in point):
        ends = limit(record, point)
        parts = ends if parts is None else [a if mp.isfinite(a) else b for a, b in zip(parts, ends)]
        if parts[0] == 0 and not math.isnan(ends[0]):
            parts[0] = ends[0]  # with its sign
    return record.amended(parts, *point)


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
    arity = OPERATIONS[op].operands
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
    if (at := OPERATIONS[op].index) is not None:
        at %= size + 1
        found = [(*point[:at], float(n % size), *point[at:]) for n, point in enumerate(found)]
    return found


@functools.cache
def random_points(op):
    """The sample points and 1,000 random ones (a sample: 100), which may have any number of operands."""
    r = Random(op.name)
    return [*OPERATIONS[op].samples, *(OPERATIONS[op].draw(r) for _ in range(sample(100, 1000)))]
