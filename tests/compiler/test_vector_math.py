"""exp, log, sin ... on vectors: the same whatever the lane and whoever the neighbours. How close to the true values,
test_million_points.py asks."""

import math
from random import Random

import pytest

from tinygrad_lite import Value
from tinygrad_lite.compiler import jit, native

from ..operation import inf, mp, mpf, nan
from ..operations import OPERATIONS
from ..sampling import sample

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

LARGEST = float.fromhex("0x1.fffffffffffffp1023")
COUNT = sample(500, 20_000)

FUNCTIONS = [op for op, record in OPERATIONS.items() if record.vectorised]
COMPILED = {op: jit(lambda *xs, op=op: op(*xs)) for op in FUNCTIONS}
each_function = pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.name)


def true(op, point):
    return OPERATIONS[op].reference(*map(mpf, point))[0]


def as_point(x):
    return x if isinstance(x, tuple) else (x,)


def points(op, count):
    r = Random(op.name)
    found = [as_point(r.choice(OPERATIONS[op].vectorised.draws)(r)) for _ in range(count)]
    return [point for point in found if all(map(math.isfinite, point))]


def batch(op, found):
    return COMPILED[op].batch(*np.array(found).T).tolist()


def ulps(got, exact):
    """|got - exact| in units of the spacing of doubles at exact."""
    if got != got:
        return inf
    if math.isinf(got):
        return 0.0 if exact * math.copysign(1.0, got) >= mpf(LARGEST) * (1 - mpf(2) ** -51) else inf
    unit = math.ulp(min(abs(float(exact)), LARGEST))
    return float(mp.fabs(mpf(got) - exact) / unit)


def test_the_measure_sees_a_value_that_is_five_ulp_off():
    exact = mp.exp(1)
    assert 4.4 < ulps(float(exact) + 5 * math.ulp(2.7), exact) < 5.6
    assert ulps(inf, mpf(10) ** 308) == inf and ulps(-inf, mpf(10) ** 309) == inf and ulps(nan, exact) == inf
    assert ulps(inf, mpf(10) ** 309) == 0.0 and ulps(0.0, mpf(10) ** -320) > 4.0


def same(got, expected):
    return (got == expected and math.copysign(1.0, got) == math.copysign(1.0, expected)) or (
        got != got and expected != expected
    )


@each_function
def test_special_values_are_exact_in_every_lane(op):
    width = native.host().width
    operands = OPERATIONS[op].operands
    for x, value in [*OPERATIONS[op].vectorised.exact, ((nan,) * operands, nan)]:
        for n in 1, width, 2 * width + 1:
            for lane in range(n):
                found = batch(op, [(0.5,) * operands] * lane + [as_point(x)] + [(0.5,) * operands] * (n - 1 - lane))
                assert same(found[lane], value), f"{op.name}({x!r}) in lane {lane} of {n}: {found[lane]!r}"


def interesting(op):
    special = [as_point(x) for x, _ in OPERATIONS[op].vectorised.exact]
    others = [nan, 1e5, 123456.789, 1e300, -1e22, 709.0, -720.0, 1e-310, 0.3, -0.7, 22.5]
    return special + [(x,) * OPERATIONS[op].operands for x in others] + points(op, 40)


def bits(values):
    return [x.hex() if x == x else "nan" for x in values]


@each_function
def test_a_value_depends_on_its_own_number_alone(op):
    width, r = native.host().width, Random(0)
    asked = interesting(op)
    alone = {tuple(bits(point)): bits(batch(op, [point]))[0] for point in asked}  # by bits: 0.0 == -0.0
    for n in 2, width - 1, width, width + 1, 3 * width + 2, 16 * width + 1:
        for _ in range(8):
            found = [r.choice(asked) for _ in range(n)]
            assert bits(batch(op, found)) == [alone[tuple(bits(point))] for point in found]


@each_function
def test_vectors_of_any_width_and_scalars_compute_alike(op):
    # a function of no inputs runs on scalars, before the examples
    ws = [Value(0.0) for _ in range(OPERATIONS[op].operands)]
    scalar = jit(lambda: op(*ws), strict=True)
    for point in points(op, 300):
        for w, x in zip(ws, point):
            w.data = x
        got = scalar.batch()[0]
        assert ulps(got, true(op, point)) <= OPERATIONS[op].accuracy.compiled[0], f"{op.name}{point}: {got!r}"
