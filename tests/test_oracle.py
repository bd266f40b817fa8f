"""Every operation at every pair of edge values and at random points, eager and compiled: mpmath's and IEEE's answer."""

import functools
import itertools
import math
from random import Random

import pytest

from tinygrad_lite import OPS, Value, grad, ops
from tinygrad_lite.compiler import jit

from .accuracy import README, error, misses, table
from .operation import inf, mp, mpf, nan
from .operations import OPERATIONS
from .oracle import EDGE_NUMBERS, as_float, edge_points, random_points, truth
from .sampling import sample

np = pytest.importorskip("numpy")
pytest.importorskip("llvmlite")

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def everything(op, xs):
    """The value, all first and all second partials, as one list of Values."""
    out = Value.record(op, xs)
    first = grad(out, xs)
    return [out, *first, *(h for g in first for h in grad(g, xs))]


def eager(op, points):
    return [[part.data for part in everything(op, [Value(x) for x in point])] for point in points]


def compiled(op, points, strict=False):
    return jit(lambda *xs: everything(op, xs), strict=strict).batch(*np.array(points).T).tolist()


WAYS = {"eager": eager, "compiled": compiled, "compiled, strict": functools.partial(compiled, strict=True)}


@functools.cache
def questions(op):
    """By the number of operands: points, and the true parts at each."""
    groups = {}
    points = edge_points(op) + random_points(op)
    for point in Random(op.name).sample(points, sample(100, len(points))):
        groups.setdefault(len(point), []).append(point)
    return {n: (points, [truth(op, point) for point in points]) for n, points in groups.items()}


@functools.cache
def nearest(op, n):
    return [[as_float(part) for part in parts] for parts in questions(op)[n][1]]


@functools.cache
def answers(op, way):
    return {n: WAYS[way](op, points) for n, (points, _) in questions(op).items()}


def bounds_of(op, way):
    return OPERATIONS[op].accuracy.eager if way == "eager" else OPERATIONS[op].accuracy.compiled


def worst(op, way):
    """For each order: (largest error, where and what it was), or (0, "") where all are surely within the bound."""
    found = [(0.0, "")] * 3
    bounds = bounds_of(op, way)
    for n, (points, exact) in questions(op).items():
        for point, rows in zip(points, zip(answers(op, way)[n], nearest(op, n), exact, strict=True), strict=True):
            for i, (got, near, true) in enumerate(zip(*rows, strict=True)):
                order = (i > 0) + (i > n)
                surely = (bounds[order] - 0.5) * math.ulp(near)  # the truth is within half an ulp of near
                if got == near or abs(got - near) <= surely < inf or (got != got and near != near):
                    continue
                off = misses(op, order, point, i - (0, 1, 1 + n)[order], got, true, bounds[order])
                if off > found[order][0]:
                    text = f"{op}{point}, part {i}: got {got!r}, expected {mp.nstr(true, 20)}, off by {off:.4g}"
                    found[order] = off, text
    return found


measured = functools.cache(worst)
each_way = pytest.mark.parametrize("way", WAYS)
ORDERS = "value", "first partials", "second partials"


@pytest.mark.sample(1000)  # all operations
@each_op
@each_way
@pytest.mark.parametrize("order", range(3), ids=ORDERS)
def test_every_result_is_within_its_bound_of_the_truth(op, way, order):
    bound = bounds_of(op, way)[order]
    off, what = measured(op, way)[order]
    assert off <= bound, f"{what}, of which {bound} are allowed"


# of a sum IEEE 754 says another thing than the limit, of equal zeros any may be chosen
SIGNED = [op for op in OPS if not OPERATIONS[op].chooses and not callable(op.partials)]


@pytest.mark.parametrize("op", SIGNED, ids=lambda op: op.name)
@each_way
def test_a_zero_has_the_sign_of_the_limit(op, way):
    for n, (points, _) in questions(op).items():
        for point, answer, parts in zip(points, answers(op, way)[n], nearest(op, n), strict=True):
            if answer[0] == 0.0 == parts[0]:
                assert math.copysign(1.0, answer[0]) == math.copysign(1.0, parts[0]), f"{op}{point}: {answer[0]!r}"


@each_op
def test_strictly_compiled_code_is_finite_infinite_or_nan_where_eager_is(op):
    """Also where no promise is made."""
    for n, (points, _) in questions(op).items():
        both = zip(points, answers(op, "eager")[n], answers(op, "compiled, strict")[n], strict=True)
        for point, expected, got in both:
            for i, (e, g) in enumerate(zip(expected, got, strict=True)):
                same = g == e or (g != g and e != e) or (math.isfinite(g) and math.isfinite(e))
                assert same, f"{op}{point}, part {i}: eager {e!r}, compiled {g!r}"


# --- the table, the oracle and the measure


@each_op
def test_no_value_is_allowed_more_than_two_and_a_half_ulp_and_no_partial_more_than_four(op):
    accuracy = OPERATIONS[op].accuracy
    assert max(accuracy.eager[0], accuracy.compiled[0]) <= 2.5  # tanh and acosh of the C library
    assert max(accuracy.eager + accuracy.compiled) <= 4.0


def missed(op, order, accuracy, monkeypatch):
    """Is a bound of this order missed, in any way, with this row of the table?"""
    monkeypatch.setattr(OPERATIONS[op], "accuracy", accuracy)
    return any(worst(op, way)[order][0] > bounds_of(op, way)[order] for way in WAYS)


@pytest.mark.long  # few points may miss no bound
@pytest.mark.parametrize(
    ("op", "order"), [(op, order) for op in OPS for order in OPERATIONS[op].accuracy.units], ids=lambda x: str(x)
)
def test_units_of_their_own_are_stated_only_where_ulps_are_too_few(op, order, monkeypatch):
    accuracy = OPERATIONS[op].accuracy
    others = {k: unit for k, unit in accuracy.units.items() if k != order}
    assert missed(op, order, accuracy._replace(units=others), monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize(
    ("op", "i"), [(op, i) for op in OPS for i in range(len(OPERATIONS[op].accuracy.beyond))], ids=lambda x: str(x)
)
def test_an_end_of_the_promise_is_stated_only_where_the_promise_would_be_broken(op, i, monkeypatch):
    accuracy = OPERATIONS[op].accuracy
    others = accuracy.beyond[:i] + accuracy.beyond[i + 1 :]
    assert missed(op, accuracy.beyond[i].order, accuracy._replace(beyond=others), monkeypatch)


def test_the_readme_shows_the_table():
    assert "\n".join(table()) in README.read_text(encoding="utf-8")


def test_there_are_forty_edge_values_and_every_pair_of_them_is_asked():
    assert len({repr(x) for x in EDGE_NUMBERS}) >= 40
    pairs = {(repr(a), repr(b)) for a in EDGE_NUMBERS for b in EDGE_NUMBERS}
    for op in OPS:
        points = edge_points(op)
        if len(points[0]) == 1:
            assert {repr(x) for (x,) in points} >= {repr(x) for x in EDGE_NUMBERS}
        else:
            seen = {(repr(a), repr(b)) for point in points for a, b in itertools.combinations(point, 2)}
            assert seen >= pairs


@pytest.mark.parametrize(
    ("op", "point", "parts"),
    [
        (ops.mul, (0.0, inf), [nan, inf, 0.0, 0.0, 1.0, 1.0, 0.0]),
        (ops.add, (inf, -inf), [nan, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
        (ops.div, (-1.0, inf), [-0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
        (ops.exp, (-inf,), [0.0, 0.0, 0.0]),
        (ops.log, (0.0,), [-inf, inf, -inf]),
        (ops.sin, (inf,), [nan, nan, nan]),
        (ops.tanh, (-inf,), [-1.0, 0.0, 0.0]),
        (ops.power, (-2.0, -inf), [0.0, 0.0, nan, 0.0, nan, nan, nan]),
        (ops.power, (1.0, inf), [1.0, inf, 0.0, inf, 1.0, 1.0, 0.0]),
        (ops.hypot, (inf, 1.0), [inf, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_the_oracle_knows_limits(op, point, parts):
    value, *partials = map(as_float, truth(op, point))
    assert repr(value) == repr(parts[0])
    assert list(map(repr, map(abs, partials))) == list(map(repr, map(abs, parts[1:])))


def test_the_measure_counts_ulps_and_sees_infinities_and_nans():
    assert error(1.0 + 2.0**-51, mpf(1)) == 2.0
    assert error(5e-324, mpf(0)) == error(0.0, mpf(5e-324)) == error(1e-323, mpf(5e-324)) == 1.0
    assert error(1.0 + 2.0**-51, mpf(1), unit=8) == 0.25 and error(1.5, mpf(1), unit=2.0**-60) == 2.0**51
    assert error(inf, mpf(10) ** 309) == error(nan, mp.nan) == error(-inf, -mp.inf) == 0.0
    for got, exact in (inf, mpf(1)), (1.0, mp.inf), (inf, -mp.inf), (nan, mpf(1)), (1.0, nan):
        assert error(got, exact) == inf
