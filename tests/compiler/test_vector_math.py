"""exp, log, sin ... on vectors: within their bounds of mpmath, whatever the lane and whoever the neighbours."""

import math
from random import Random

import pytest

from tinygrad_lite import Op, Value, ops
from tinygrad_lite.compiler import jit, native, vector_math
from tinygrad_lite.compiler.lowerings import LOWERINGS, Lowering

from ..accuracy import ACCURACY
from ..edge_table import inf, nan
from ..oracle import REFERENCE, mp, mpf

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

LARGEST = float.fromhex("0x1.fffffffffffffp1023")
COUNT = 20_000

FUNCTIONS = ops.exp, ops.expm1, ops.log, ops.log1p, ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.softplus
COMPILED = {op: jit(lambda x, op=op: op(x)) for op in FUNCTIONS}
each_function = pytest.mark.parametrize("op", FUNCTIONS, ids=lambda op: op.name)


def true(op, x):
    return REFERENCE[op](mpf(x))[0]


# --- where to look: a function of a generator -> one number


def any_magnitude(r):
    return r.choice((-1.0, 1.0)) * math.ldexp(r.uniform(1.0, 2.0), r.randint(-1074, 1022))


def moderate(r):
    return r.uniform(-50.0, 50.0) if r.random() < 0.5 else r.uniform(-2.0, 2.0)


def around(*centres, spread=40):
    """Some units in the last place beside a centre, or some part of it."""

    def draw(r):
        x = r.choice(centres)
        if r.random() < 0.5:
            return x + r.randint(-spread, spread) * math.ulp(x)
        return x + r.uniform(-1.0, 1.0) * 10.0 ** r.uniform(-16.0, -1.0) * max(abs(x), 1e-5)

    return draw


def between(low, high):
    return lambda r: r.uniform(low, high)


def between_halves_of_ln2(r):  # where the integer of the range reduction changes
    x = (r.randint(-1075, 1024) + 0.5) * math.log(2.0)
    return x + r.randint(-6, 6) * math.ulp(x)


def near_multiple_of_half_pi(r):
    k = r.choice((r.randint(-20, 20), r.randint(-63_662, 63_662), r.randint(0, 10**15), r.randint(0, 10**22)))
    x = float(k * mp.pi / 2)
    return x + r.randint(-3, 3) * math.ulp(x)


def large_angle(r):
    return r.choice((-1.0, 1.0)) * 10.0 ** r.uniform(4.5, 300.0)


def near_power_of_two_or_its_root(r):  # where the mantissa is split
    return math.ldexp(r.choice((1.0, math.sqrt(2.0))), r.randint(-1074, 1023)) * (1 + r.randint(-9, 9) * 2.0**-52)


def near_minus_one(r):
    return -1.0 + 2.0 ** r.uniform(-53.0, -1.0)


def positive(draw):
    return lambda r: abs(draw(r))


EXP_ENDS = 709.782712893384, -745.1332191019411, -708.3964185322641, 0.0, 710.0, -746.0
WHERE = {
    ops.exp: (any_magnitude, moderate, between(-745.2, 709.8), between(-745.2, -708.0), around(*EXP_ENDS),
              between_halves_of_ln2),
    ops.expm1: (any_magnitude, moderate, between(-45.0, 709.8), around(*EXP_ENDS, -40.0, -37.4, 41.6, 1e-300, 0.3466),
                between_halves_of_ln2),
    ops.log: (positive(any_magnitude), positive(moderate), around(1.0), around(2.0, 0.5, LARGEST / 2),
              near_power_of_two_or_its_root, lambda r: r.randint(1, 2**52) * 2.0**-1074),
    ops.log1p: (positive(any_magnitude), between(-1.0, 1.0), around(1e-300, -1e-300, 2.0**-54, -(2.0**-54), 2.0**53),
                near_minus_one, around(math.sqrt(2.0) - 1.0, math.sqrt(0.5) - 1.0, 2.0 * math.sqrt(2.0) - 1.0, 1.0),
                near_power_of_two_or_its_root),
    ops.sin: (any_magnitude, moderate, between(-1e5, 1e5), around(1e5, -1e5), large_angle, near_multiple_of_half_pi),
    ops.cos: (any_magnitude, moderate, between(-1e5, 1e5), around(1e5, -1e5), large_angle, near_multiple_of_half_pi),
    ops.tanh: (any_magnitude, moderate, between(-23.0, 23.0), around(22.0, 19.06, 0.1733, 1e-300, 5e-301, -22.0)),
    ops.sigmoid: (any_magnitude, moderate, between(-745.2, 745.2), around(*EXP_ENDS, 36.7, -36.7),
                  between(-745.2, -708.0)),
    ops.softplus: (any_magnitude, moderate, between(-745.2, 745.2), around(*EXP_ENDS, 36.7, -36.7, 37.4),
                   between(-745.2, -708.0)),
}  # fmt: skip


def points(op, count):
    r = Random(op.name)
    found = [r.choice(WHERE[op])(r) for _ in range(count)]
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
    xs, bound = points(op, COUNT), ACCURACY[op].compiled[0]
    assert len(xs) > 0.98 * COUNT
    off, x, got = max((ulps(y, true(op, x)), x, y) for x, y in zip(xs, COMPILED[op].batch(xs).tolist()))
    assert off <= bound, f"{op.name}({x!r}) is {mp.nstr(true(op, x), 20)}, got {got!r}: {off:.3g} ulp"


def test_the_measure_sees_a_value_that_is_five_ulp_off():
    exact = mp.exp(1)
    assert 4.4 < ulps(float(exact) + 5 * math.ulp(2.7), exact) < 5.6
    assert ulps(inf, mpf(10) ** 308) == inf and ulps(-inf, mpf(10) ** 309) == inf and ulps(nan, exact) == inf
    assert ulps(inf, mpf(10) ** 309) == 0.0 and ulps(0.0, mpf(10) ** -320) > 4.0


# (x, value): to the bit, the sign of zero included
SPECIAL = {
    ops.exp: [(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (710.0, inf), (-1000.0, 0.0), (1000.0, inf),
              (-745.2, 0.0), (5e-324, 1.0), (LARGEST, inf), (-LARGEST, 0.0)],
    ops.expm1: [(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0), (710.0, inf), (-1000.0, -1.0), (1000.0, inf),
                (5e-324, 5e-324), (-5e-324, -5e-324), (1e-310, 1e-310), (LARGEST, inf)],
    ops.log: [(0.0, -inf), (-0.0, -inf), (inf, inf), (-inf, nan), (-1.0, nan), (1.0, 0.0), (-5e-324, nan),
              (5e-324, -744.4400719213812), (-LARGEST, nan)],
    ops.log1p: [(0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (inf, inf), (-inf, nan), (-2.0, nan), (5e-324, 5e-324),
                (-5e-324, -5e-324), (1e-310, 1e-310), (-1.0000000000000002, nan)],
    ops.sin: [(0.0, 0.0), (-0.0, -0.0), (inf, nan), (-inf, nan), (5e-324, 5e-324), (-5e-324, -5e-324)],
    ops.cos: [(0.0, 1.0), (-0.0, 1.0), (inf, nan), (-inf, nan), (5e-324, 1.0)],
    ops.tanh: [(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (1000.0, 1.0), (-1000.0, -1.0), (-5e-324, -5e-324),
               (5e-324, 5e-324)],
    ops.sigmoid: [(0.0, 0.5), (-0.0, 0.5), (inf, 1.0), (-inf, 0.0), (1000.0, 1.0), (-1000.0, 0.0), (745.2, 1.0)],
    ops.softplus: [(inf, inf), (-inf, 0.0), (1000.0, 1000.0), (-1000.0, 0.0), (745.2, 745.2), (LARGEST, LARGEST)],
}  # fmt: skip


def same(got, expected):
    return (got == expected and math.copysign(1.0, got) == math.copysign(1.0, expected)) or (
        got != got and expected != expected
    )


@each_function
def test_special_values_are_exact_in_every_lane(op):
    width = native.host().width
    for x, value in [*SPECIAL[op], (nan, nan)]:
        for n in 1, width, 2 * width + 1:
            for lane in range(n):
                batch = [0.5] * n
                batch[lane] = x
                found = COMPILED[op].batch(batch).tolist()
                assert same(found[lane], value), f"{op.name}({x!r}) in lane {lane} of {n}: {found[lane]!r}"


def interesting(op):
    special = [x for x, _ in SPECIAL[op]] + [nan, 1e5, 123456.789, 1e300, -1e22, 709.0, -720.0, 1e-310, 0.3, -0.7, 22.5]
    return special + points(op, 40)


def bits(values):
    return [x.hex() if x == x else "nan" for x in values]


@each_function
def test_a_value_depends_on_its_own_number_alone(op):
    f, width, r = COMPILED[op], native.host().width, Random(0)
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
        assert ulps(got, true(op, x)) <= ACCURACY[op].compiled[0], f"{op.name}({x!r}): {got!r}"


# --- functions that no operation of the table uses yet

ERF = Op("erf", "erf", math.erf, (lambda out, x: 2.0 / math.sqrt(math.pi) * ops.exp(-x * x),))
ERF_BOUND = 1.5  # ulp
ERF_SPECIAL = [
    (0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (nan, nan), (5e-324, 5e-324), (-5e-324, -5e-324),
    (LARGEST, 1.0), (1e-310, 1.1283791670955e-310), (6.0, 1.0), (-6.5, -1.0),
]  # fmt: skip


@pytest.fixture(params=[1, 2, 4, 8])
def compiled_erf(request, monkeypatch):
    """erf of a batch, for vectors of some width."""
    from tinygrad_lite.compiler import program

    monkeypatch.setattr(program, "cache", {})
    monkeypatch.setattr(native.host(), "width", request.param)
    monkeypatch.setitem(LOWERINGS, ERF, Lowering(vector_math.erf, long=True))
    return jit(lambda x: ERF(x)).batch


def test_erf_is_within_its_bound_of_mpmath(compiled_erf):
    r = Random("erf")
    where = any_magnitude, between(-6.5, 6.5), between(-1.0, 1.0), between(0.8, 1.6), around(0.84375, -0.84375, 6.0)
    xs = [r.choice(where)(r) for _ in range(COUNT // 4)]
    off, x, got = max((ulps(y, mp.erf(mpf(x))), x, y) for x, y in zip(xs, compiled_erf(xs).tolist()))
    assert off <= ERF_BOUND, f"erf({x!r}) is {mp.nstr(mp.erf(mpf(x)), 20)}, got {got!r}: {off:.3g} ulp"


def test_erf_of_special_values_is_exact_in_every_lane_and_odd(compiled_erf):
    for x, value in ERF_SPECIAL:
        for lane in range(9):
            batch = [0.5] * 9
            batch[lane] = x
            found = compiled_erf(batch).tolist()
            assert same(found[lane], value), f"erf({x!r}) in lane {lane}: {found[lane]!r}"
            assert found.count(found[(lane + 1) % 9]) == 8  # the neighbours'
    r = Random(0)
    xs = [r.uniform(-6.5, 6.5) for _ in range(1000)]
    assert compiled_erf([-x for x in xs]).tolist() == [-y for y in compiled_erf(xs).tolist()]
