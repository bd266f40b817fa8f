"""exp, log, sin ... on vectors: within their bounds of mpmath, whatever the lane and whoever the neighbours."""

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
COMPILED = {op: jit(lambda x, op=op: op(x)) for op in FUNCTIONS}
each_function = pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.name)


def true(op, x):
    return OPERATIONS[op].reference(mpf(x))[0]


def points(op, count):
    r = Random(op.name)
    found = [r.choice(OPERATIONS[op].vectorised.draws)(r) for _ in range(count)]
    return [x for x in found if math.isfinite(x)]


def ulps(got, exact):
    """|got - exact| in units of the spacing of doubles at exact."""
    if got != got:
        return inf
    if math.isinf(got):
        return 0.0 if exact * math.copysign(1.0, got) >= mpf(LARGEST) * (1 - mpf(2) ** -51) else inf
    unit = math.ulp(min(abs(float(exact)), LARGEST))
    return float(mp.fabs(mpf(got) - exact) / unit)


@each_function
def test_every_value_is_within_its_bound_of_mpmath(op):
    xs, bound = points(op, COUNT), OPERATIONS[op].accuracy.compiled[0]
    assert len(xs) > 0.98 * COUNT
    off, x, got = max((ulps(y, true(op, x)), x, y) for x, y in zip(xs, COMPILED[op].batch(xs).tolist()))
    assert off <= bound, f"{op.name}({x!r}) is {mp.nstr(true(op, x), 20)}, got {got!r}: {off:.3g} ulp"


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
    width = native.host()["width"]
    for x, value in [*OPERATIONS[op].vectorised.exact, (nan, nan)]:
        for n in 1, width, 2 * width + 1:
            for lane in range(n):
                batch = [0.5] * n
                batch[lane] = x
                found = COMPILED[op].batch(batch).tolist()
                assert same(found[lane], value), f"{op.name}({x!r}) in lane {lane} of {n}: {found[lane]!r}"


def interesting(op):
    special = [x for x, _ in OPERATIONS[op].vectorised.exact]
    others = [nan, 1e5, 123456.789, 1e300, -1e22, 709.0, -720.0, 1e-310, 0.3, -0.7, 22.5]
    return special + others + points(op, 40)


def bits(values):
    return [x.hex() if x == x else "nan" for x in values]


@each_function
def test_a_value_depends_on_its_own_number_alone(op):
    f, width, r = COMPILED[op], native.host()["width"], Random(0)
    xs = interesting(op)
    alone = dict(zip(bits(xs), bits([f.batch([x])[0] for x in xs])))  # by bits: 0.0 == -0.0
    for n in 2, width - 1, width, width + 1, 3 * width + 2, 16 * width + 1:
        for _ in range(8):
            batch = [r.choice(xs) for _ in range(n)]
            assert bits(f.batch(batch).tolist()) == [alone[x] for x in bits(batch)]


@each_function
def test_vectors_of_any_width_and_scalars_compute_alike(op):
    # a function of no inputs runs on scalars, before the examples
    w = Value(0.0)
    scalar = jit(lambda: op(w), strict=True)
    for x in points(op, 300):
        w.data = x
        got = scalar.batch()[0]
        assert ulps(got, true(op, x)) <= OPERATIONS[op].accuracy.compiled[0], f"{op.name}({x!r}): {got!r}"
