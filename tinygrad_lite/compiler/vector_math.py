"""Elementary functions on vectors: range reduction and a polynomial, a few units in the last place.

LLVM's own exp, log, sin of a vector call the C library once per lane. Written once for any width; `c` is
the `Code` that emits instructions, values are names of LLVM registers. Polynomials: exp's was fitted
by Chebyshev interpolation of (exp(r) - 1 - r) / r^2 on |r| <= ln(2)/2 (error 3e-19); those of log, sin,
cos and of erf near 0 are FDLIBM's (Sun Microsystems 1993), those of erf beyond are W. J. Cody's (1969).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .code import Code

_EXP = [float.fromhex(h) for h in (
    "0x1.0000000000000p-1", "0x1.5555555555557p-3", "0x1.5555555555556p-5", "0x1.1111111110036p-7",
    "0x1.6c16c16c16276p-10", "0x1.a01a01ac41f85p-13", "0x1.a01a01a70bf0fp-16", "0x1.71de0115a8b98p-19",
    "0x1.27e4dac236f7ap-22", "0x1.af503572d408ep-26", "0x1.1f74532e4ad59p-29",
)]  # fmt: skip
_LOG = [
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01,
    1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01,
]  # fmt: skip
_SIN = [
    -1.66666666666666324348e-01, 8.33333333332248946124e-03, -1.98412698298579493134e-04,
    2.75573137070700676789e-06, -2.50507602534068634195e-08, 1.58969099521155010221e-10,
]  # fmt: skip
_COS = [
    4.16666666666666019037e-02, -1.38888888888741095749e-03, 2.48015872894767294178e-05,
    -2.75573143513906633035e-07, 2.08757232129817482790e-09, -1.13596475577881948265e-11,
]  # fmt: skip
ERF_TOP = [
    1.28379167095512558561e-01, -3.25042107247001499370e-01, -2.84817495755985104766e-02,
    -5.77027029648944159157e-03, -2.37630166566501626084e-05,
]  # fmt: skip
ERF_BOTTOM = [
    1.0, 3.97917223959155352819e-01, 6.50222499887672944485e-02, 5.08130628187576562776e-03,
    1.32494738004321644526e-04, -3.96022827877536812320e-06,
]  # fmt: skip
ERFC_TOP = [
    1230.33935479799725, 2051.07837782607147, 1712.04761263407058, 881.952221241769090, 298.635138197400131,
    66.1191906371416295, 8.88314979438837594, 0.564188496988670089, 2.15311535474403846e-08,
]  # fmt: skip
ERFC_BOTTOM = [
    1230.33935480374942, 3439.36767414372164, 4362.61909014324716, 3290.79923573345963, 1621.38957456669019,
    537.181101862009858, 117.693950891312499, 15.7449261107098347, 1.0,
]  # fmt: skip
_LN2_HI, _LN2_LO = float.fromhex("0x1.62e42fefa39efp-1"), float.fromhex("0x1.abc9e3b39803fp-56")
_LN2_SHORT, _LN2_REST = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # k * short is exact
_PIO2 = [float.fromhex(h) for h in ("0x1.921fb54442d18p+0", "0x1.1a62633145c07p-54", "-0x1.f1976b7ed8fbcp-110")]
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer, whose bits are then the last ones
_ROUND_BITS = 0x4338000000000000
_SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
_ONE_BITS = 0x3FF0000000000000
_MANTISSA = 0x000FFFFFFFFFFFFF


def polynomial(c: Code, x: str, coefficients: list[float]) -> str:
    """sum of coefficients[i] x^i, by Horner's rule on x^2 for the even and the odd terms apart."""
    if len(coefficients) <= 3:
        return _horner(c, x, coefficients)
    square = c.mul(x, x)
    return c.fma(x, _horner(c, square, coefficients[1::2]), _horner(c, square, coefficients[::2]))


def _horner(c: Code, x: str, coefficients: list[float]) -> str:
    total = c.number(coefficients[-1])
    for a in reversed(coefficients[:-1]):
        total = c.fma(total, x, c.number(a))
    return total


def _reduced(c: Code, x: str) -> tuple[str, str, str, Callable[[], str]]:
    """x = k ln 2 + r with |r| <= ln(2)/2: r, k as a number, k as an integer, and how to find what r lost."""
    shifted = c.fma(x, c.number(1.4426950408889634), c.number(_ROUND))
    k = c.sub(shifted, c.number(_ROUND))
    inner = c.fma(k, c.number(-_LN2_HI), x)
    r = c.fma(k, c.number(-_LN2_LO), inner)
    whole = c.integer("sub", c.bits(shifted), _ROUND_BITS)
    return r, k, whole, lambda: c.fma(k, c.number(-_LN2_LO), c.sub(inner, r))


def _power_of_two(c: Code, k: str) -> str:
    """2^k for an integer k of -1022 .. 1023."""
    return c.from_bits(c.integer("shl", c.integer("add", k, 1023), 52))


def exp(c: Code, x: str) -> str:
    x = c.select(c.compare("olt", x, c.number(-746.0)), c.number(-746.0), x)
    x = c.select(c.compare("ogt", x, c.number(710.0)), c.number(710.0), x)
    r, _, k, _ = _reduced(c, x)
    y = c.fma(c.mul(r, r), polynomial(c, r, _EXP), r)
    y = c.add(y, c.number(1.0))
    half = c.integer("ashr", k, 1)  # 2^1024 and 2^-1074 are not normal numbers, their halves are
    return c.mul(c.mul(y, _power_of_two(c, half)), _power_of_two(c, c.integers("sub", k, half)))


def exp2(c: Code, x: str) -> str:
    x = c.select(c.compare("olt", x, c.number(-1076.0)), c.number(-1076.0), x)
    x = c.select(c.compare("ogt", x, c.number(1024.0)), c.number(1024.0), x)
    shifted = c.add(x, c.number(_ROUND))
    r = c.mul(c.sub(x, c.sub(shifted, c.number(_ROUND))), c.number(0.6931471805599453))
    k = c.integer("sub", c.bits(shifted), _ROUND_BITS)
    y = c.add(c.fma(c.mul(r, r), polynomial(c, r, _EXP), r), c.number(1.0))
    half = c.integer("ashr", k, 1)
    return c.mul(c.mul(y, _power_of_two(c, half)), _power_of_two(c, c.integers("sub", k, half)))


def exp_difference(c: Code, a: str, b: str) -> str:
    """exp(a - b) and its change by what rounding took of a - b (Knuth 1969)."""
    d = c.sub(a, b)
    e, back = exp(c, d), c.sub(d, a)
    lost = c.sub(c.sub(a, c.sub(d, back)), c.add(b, back))
    known = c.both(  # infinities lose nothing
        c.compare("oeq", c.sub(lost, lost), c.number(0.0)), c.compare("olt", e, c.number(float("inf")))
    )
    return c.select(known, c.fma(e, lost, e), e)


def _plus_expm1(c: Code, start: str, r: str, lost: str) -> str:
    """start + expm1(r + lost) for |r| <= ln(2)/2, rounded little more than once. start: 0 or larger than r."""
    high = c.add(start, r)
    rest = c.add(lost, c.sub(r, c.sub(high, start)))
    return c.add(high, c.fma(c.mul(r, r), polynomial(c, r, _EXP), rest))


def expm1(c: Code, x: str) -> str:
    low = c.select(c.compare("olt", x, c.number(-40.0)), c.number(-40.0), x)
    bounded = c.select(c.compare("ogt", low, c.number(710.0)), c.number(710.0), low)
    r, k_number, k, lost = _reduced(c, bounded)
    # 2^k (expm1(r) + (1 - 2^-k)): nothing cancels, and 2^k alone might overflow
    least = c.select(c.compare("ogt", k_number, c.number(60.0)), c.whole(60), k)
    inverse = c.select(
        c.compare("ogt", k_number, c.number(60.0)),
        c.number(0.0),
        _power_of_two(c, c.integers("sub", c.whole(0), least)),
    )
    sum_ = _plus_expm1(c, c.sub(c.number(1.0), inverse), r, lost())
    half = c.integer("ashr", k, 1)
    result = c.mul(c.mul(sum_, _power_of_two(c, half)), _power_of_two(c, c.integers("sub", k, half)))
    return c.select(c.compare("olt", c.absolute(x), c.number(1e-300)), x, result)  # keeps -0.0


def _log_of(c: Code, f: str, k: str, correction: str | None) -> str:
    """k ln 2 + log(1 + f) (+ correction) for sqrt(1/2) <= 1 + f < sqrt(2)."""
    s = c.div(f, c.add(f, c.number(2.0)))
    z = c.mul(s, s)
    r = c.mul(z, polynomial(c, z, _LOG))
    half_square = c.mul(c.mul(c.number(0.5), f), f)
    low = c.mul(k, c.number(_LN2_REST))
    if correction is not None:
        low = c.add(low, correction)
    inner = c.fma(s, c.add(half_square, r), low)
    return c.sub(c.mul(k, c.number(_LN2_SHORT)), c.sub(c.sub(half_square, inner), f))


def _mantissa(c: Code, x: str) -> tuple[str, str]:
    """x = 2^k m for a normal x > 0 and sqrt(1/2) <= m < sqrt(2): m, and k as an integer."""
    shifted = c.integer("add", c.bits(x), _ONE_BITS - _SQRT_HALF_BITS)
    k = c.integer("sub", c.integer("lshr", shifted, 52), 1023)
    m = c.from_bits(c.integer("add", c.integer("and", shifted, _MANTISSA), _SQRT_HALF_BITS))
    return m, k


def _to_number(c: Code, k: str) -> str:
    return c.sub(c.from_bits(c.integer("add", k, _ROUND_BITS)), c.number(_ROUND))


def log(c: Code, x: str) -> str:
    tiny = c.compare("olt", x, c.number(2.2250738585072014e-308))
    normal = c.select(tiny, c.mul(x, c.number(2.0**54)), x)
    m, k = _mantissa(c, normal)
    k_number = c.sub(_to_number(c, k), c.select(tiny, c.number(54.0), c.number(0.0)))
    result = _log_of(c, c.sub(m, c.number(1.0)), k_number, None)
    return _log_edges(c, x, x, result)


def log2(c: Code, x: str) -> str:
    """k + log(m) / ln 2 for x = 2^k m: exact for powers of two."""
    tiny = c.compare("olt", x, c.number(2.2250738585072014e-308))
    m, k = _mantissa(c, c.select(tiny, c.mul(x, c.number(2.0**54)), x))
    k_number = c.sub(_to_number(c, k), c.select(tiny, c.number(54.0), c.number(0.0)))
    natural = _log_of(c, c.sub(m, c.number(1.0)), c.number(0.0), None)
    return _log_edges(c, x, x, c.fma(natural, c.number(1.4426950408889634), k_number))


def log1p(c: Code, x: str) -> str:
    u = c.add(c.number(1.0), x)
    m, k = _mantissa(c, u)
    k_number = _to_number(c, k)
    lost = c.select(  # what rounding took from 1 + x
        c.compare("oge", k_number, c.number(2.0)),
        c.sub(c.number(1.0), c.sub(u, x)),
        c.sub(x, c.sub(u, c.number(1.0))),
    )
    correction = c.select(c.compare("olt", k_number, c.number(54.0)), c.div(lost, u), c.number(0.0))
    near = c.compare("oeq", k_number, c.number(0.0))  # 1 + x needs no scaling: f is x itself
    f = c.select(near, x, c.sub(m, c.number(1.0)))
    result = _log_of(c, f, k_number, c.select(near, c.number(0.0), correction))
    result = c.select(c.compare("olt", c.absolute(x), c.number(2.0**-54)), x, result)
    return _log_edges(c, x, u, result)


def _log_edges(c: Code, x: str, argument: str, result: str) -> str:
    """-inf at 0, nan below, inf at inf, nan at nan."""
    result = c.select(c.compare("oeq", argument, c.number(0.0)), c.number(float("-inf")), result)
    result = c.select(c.compare("olt", argument, c.number(0.0)), c.number(float("nan")), result)
    return c.select(c.compare("ult", x, c.number(float("inf"))), c.select(c.compare("uno", x, x), x, result), x)


def tanh(c: Code, x: str) -> str:
    """t / (t + 2) with t = expm1(2 |x|), whose parts need no care for their extremes below 2 * 22."""
    size = c.absolute(x)
    bounded = c.select(c.compare("ogt", size, c.number(22.0)), c.number(22.0), size)
    r, _, k, lost = _reduced(c, c.add(bounded, bounded))
    start = c.sub(c.number(1.0), _power_of_two(c, c.integers("sub", c.whole(0), k)))
    t = c.mul(_power_of_two(c, k), _plus_expm1(c, start, r, lost()))
    return c.copysign(c.div(t, c.add(t, c.number(2.0))), x)


def sigmoid(c: Code, x: str) -> str:
    e = exp(c, c.negative(c.absolute(x)))
    top = c.select(c.compare("olt", x, c.number(0.0)), e, c.number(1.0))
    return c.div(top, c.add(c.number(1.0), e))


def softplus(c: Code, x: str) -> str:
    positive = c.select(c.compare("olt", x, c.number(0.0)), c.number(0.0), x)
    return c.add(positive, log1p(c, exp(c, c.negative(c.absolute(x)))))


def erf(c: Code, x: str) -> str:
    """Near 0 x + x P(x^2) / Q(x^2), beyond 1 - exp(-x^2) P(x) / Q(x), from 6 on 1: one division for both."""
    size = c.absolute(x)
    size = c.select(c.compare("ogt", size, c.number(6.0)), c.number(6.0), size)
    square = c.mul(size, size)
    near = c.compare("olt", size, c.number(0.84375))
    top = c.select(near, polynomial(c, square, ERF_TOP), polynomial(c, size, ERFC_TOP))
    bottom = c.select(near, polynomial(c, square, ERF_BOTTOM), polynomial(c, size, ERFC_BOTTOM))
    ratio = c.div(top, bottom)
    beyond = c.fma(c.negative(exp(c, c.negative(square))), ratio, c.number(1.0))
    return c.copysign(c.select(near, c.fma(size, ratio, size), beyond), x)


_LARGEST_ANGLE = 1e5  # beyond, three parts of pi/2 do not suffice: the C library reduces


def _quadrant(c: Code, x: str) -> tuple[str, str]:
    """x = k pi/2 + r: r and the integer k."""
    shifted = c.fma(x, c.number(0.6366197723675814), c.number(_ROUND))
    k = c.sub(shifted, c.number(_ROUND))
    r = x
    for part in _PIO2:
        r = c.fma(k, c.number(-part), r)
    return r, c.integer("sub", c.bits(shifted), _ROUND_BITS)


def _sin_or_cos(c: Code, x: str, turn: int) -> str:
    r, k = _quadrant(c, x)
    if turn:
        k = c.integer("add", k, turn)
    z = c.mul(r, r)
    sine = c.fma(c.mul(z, r), polynomial(c, z, _SIN), r)
    half = c.mul(c.number(0.5), z)
    w = c.sub(c.number(1.0), half)
    rest = c.add(c.sub(c.sub(c.number(1.0), w), half), c.mul(c.mul(z, z), polynomial(c, z, _COS)))
    cosine = c.add(w, rest)
    value = c.select(c.is_zero(c.integer("and", k, 1)), sine, cosine)
    return c.select(c.is_zero(c.integer("and", k, 2)), value, c.negative(value))


def sin(c: Code, x: str) -> str:
    result = _sin_or_cos(c, x, 0)
    return _unless_far(c, "sin", x, c.select(c.compare("oeq", x, c.number(0.0)), x, result))  # keeps -0.0


def cos(c: Code, x: str) -> str:
    return _unless_far(c, "cos", x, _sin_or_cos(c, x, 1))


def _unless_far(c: Code, name: str, x: str, near: str) -> str:
    """near, but in lanes beyond the largest angle what the C library gives."""
    far = c.compare("ogt", c.absolute(x), c.number(_LARGEST_ANGLE))
    exact = c.choose(c.in_any_lane(far), lambda: c.per_lane(name, x), near)
    return c.select(far, exact, near)  # lane by lane: a result does not depend on its neighbours
