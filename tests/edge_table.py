"""Where the operations are tested: at their edges, at sample points, at random points. Data, no tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from tinygrad_lite import nn, ops
from tinygrad_lite.ops import Op

inf, nan = math.inf, math.nan


class Edge(NamedTuple):
    """f(*point) is `value`, its sign of zero included, and has these `partials`; None: not even a 0 is sent.

    op is the operation that the row is about; f may wrap it in others, as the row's `text` says.
    """

    op: Op
    text: str
    f: Callable[..., Any]
    point: tuple[float, ...]
    value: float
    partials: tuple[float | None, ...]


def _softmax(*xs: Any) -> Any:
    return nn.softmax(xs)[0]


def _list(op: Op) -> Callable[..., Any]:
    return lambda *xs: op(xs)


EDGES: tuple[Edge, ...] = (
    Edge(ops.relu, "relu(0)", ops.relu, (0.0,), 0.0, (0.0,)),
    Edge(ops.relu, "relu(nan)", ops.relu, (nan,), nan, (nan,)),
    Edge(ops.relu, "relu(-0.0)", ops.relu, (-0.0,), 0.0, (0.0,)),
    Edge(ops.leaky_relu, "leaky_relu(0), slope .01", lambda x: ops.leaky_relu(x, 0.01), (0.0,), 0.0, (0.01,)),
    Edge(ops.leaky_relu, "leaky_relu(nan), slope V(.01)", ops.leaky_relu, (nan, 0.01), nan, (nan, nan)),
    Edge(ops.abs_, "abs(0)", abs, (0.0,), 0.0, (0.0,)),
    Edge(ops.abs_, "abs(-0.0)", abs, (-0.0,), 0.0, (0.0,)),
    Edge(ops.sign, "sign(0)", ops.sign, (0.0,), 0.0, (0.0,)),
    Edge(ops.sign, "sign(nan)", ops.sign, (nan,), nan, (nan,)),
    Edge(ops.maximum, "max at a tie", ops.maximum, (3.0, 3.0), 3.0, (0.5, 0.5)),
    Edge(ops.minimum, "min at a tie", ops.minimum, (3.0, 3.0), 3.0, (0.5, 0.5)),
    Edge(ops.maximum, "max(inf, inf)", ops.maximum, (inf, inf), inf, (0.5, 0.5)),
    Edge(ops.minimum, "min(inf, inf)", ops.minimum, (inf, inf), inf, (0.5, 0.5)),
    Edge(ops.maximum, "max(-inf, -inf)", ops.maximum, (-inf, -inf), -inf, (0.5, 0.5)),
    Edge(ops.minimum, "min(-inf, -inf)", ops.minimum, (-inf, -inf), -inf, (0.5, 0.5)),
    Edge(ops.maximum, "max of 3 equal of 4", ops.maximum, (7.0, 7.0, 1.0, 7.0), 7.0, (1 / 3, 1 / 3, None, 1 / 3)),
    Edge(ops.minimum, "min of 3 equal of 4", ops.minimum, (7.0, 7.0, 9.0, 7.0), 7.0, (1 / 3, 1 / 3, None, 1 / 3)),
    Edge(ops.maximum, "max(nan, 1)", ops.maximum, (nan, 1.0), nan, (nan, nan)),
    Edge(ops.maximum, "max(1, nan)", ops.maximum, (1.0, nan), nan, (nan, nan)),
    Edge(ops.minimum, "min(nan, 1)", ops.minimum, (nan, 1.0), nan, (nan, nan)),
    Edge(ops.minimum, "min(1, nan)", ops.minimum, (1.0, nan), nan, (nan, nan)),
    Edge(ops.clip, "clip at the lower bound", ops.clip, (-1.0, -1.0, 1.0), -1.0, (1.0, None, None)),
    Edge(ops.clip, "clip at the upper bound", ops.clip, (1.0, -1.0, 1.0), 1.0, (1.0, None, None)),
    Edge(ops.clip, "clip at the upper of exchanged bounds", ops.clip, (1.0, 2.0, 1.0), 1.0, (None, None, 1.0)),
    Edge(ops.clip, "clip(nan)", ops.clip, (nan, -1.0, 1.0), nan, (nan, nan, nan)),
    Edge(ops.power, "V(0) ** 0", lambda x: x**0, (0.0,), 1.0, (0.0,)),
    Edge(ops.power, "V(0) ** V(0)", ops.power, (0.0, 0.0), 1.0, (0.0, 0.0)),
    Edge(ops.power, "V(0) ** 2", lambda x: x**2, (0.0,), 0.0, (0.0,)),
    Edge(ops.power, "V(0) ** V(2)", ops.power, (0.0, 2.0), 0.0, (0.0, 0.0)),
    Edge(ops.power, "V(0) ** V(-1)", ops.power, (0.0, -1.0), inf, (-inf, -inf)),
    Edge(ops.power, "V(-2) ** .5", lambda x: x**0.5, (-2.0,), nan, (nan,)),
    Edge(ops.power, "V(-2) ** V(.5)", ops.power, (-2.0, 0.5), nan, (nan, nan)),
    Edge(ops.power, "V(-2) ** 2", lambda x: x**2, (-2.0,), 4.0, (-4.0,)),
    Edge(ops.power, "V(-2) ** V(2)", ops.power, (-2.0, 2.0), 4.0, (-4.0, nan)),
    Edge(ops.log, "log(0)", ops.log, (0.0,), -inf, (inf,)),
    Edge(ops.log, "log(-0.0)", ops.log, (-0.0,), -inf, (-inf,)),
    Edge(ops.log, "log(-1)", ops.log, (-1.0,), nan, (nan,)),
    Edge(ops.log1p, "log1p(-2)", ops.log1p, (-2.0,), nan, (nan,)),
    Edge(ops.log1p, "log1p(-1)", ops.log1p, (-1.0,), -inf, (inf,)),
    Edge(ops.sqrt, "sqrt(0)", ops.sqrt, (0.0,), 0.0, (inf,)),
    Edge(ops.sqrt, "sqrt(-1)", ops.sqrt, (-1.0,), nan, (nan,)),
    Edge(ops.div, "1/0", ops.div, (1.0, 0.0), inf, (inf, -inf)),
    Edge(ops.div, "inf/inf", ops.div, (inf, inf), nan, (0.0, nan)),
    Edge(ops.exp, "exp(710)", ops.exp, (710.0,), inf, (inf,)),
    Edge(ops.exp, "exp(-1000)", ops.exp, (-1000.0,), 0.0, (0.0,)),
    Edge(ops.tanh, "tanh(1000)", ops.tanh, (1000.0,), 1.0, (0.0,)),
    Edge(ops.tanh, "tanh(-1000)", ops.tanh, (-1000.0,), -1.0, (0.0,)),
    Edge(ops.sigmoid, "sigmoid(1000)", ops.sigmoid, (1000.0,), 1.0, (0.0,)),
    Edge(ops.sigmoid, "sigmoid(-1000)", ops.sigmoid, (-1000.0,), 0.0, (0.0,)),
    Edge(ops.softplus, "softplus(1000)", ops.softplus, (1000.0,), 1000.0, (1.0,)),
    Edge(ops.softplus, "softplus(-1000)", ops.softplus, (-1000.0,), 0.0, (0.0,)),
    Edge(ops.softplus, "softplus(inf)", ops.softplus, (inf,), inf, (1.0,)),
    Edge(ops.softplus, "softplus(-inf)", ops.softplus, (-inf,), 0.0, (0.0,)),
    Edge(ops.softplus, "softplus(21)", ops.softplus, (21.0,), 21.000000000758256, (0.999999999241744,)),
    Edge(ops.logsumexp, "logsumexp(1000, -1000)", _list(ops.logsumexp), (1000.0, -1000.0), 1000.0, (1.0, 0.0)),
    Edge(ops.logsumexp, "logsumexp(inf, 0)", _list(ops.logsumexp), (inf, 0.0), inf, (1.0, 0.0)),
    Edge(ops.logsumexp, "logsumexp(inf, nan)", _list(ops.logsumexp), (inf, nan), nan, (nan, nan)),
    Edge(ops.logsumexp, "logsumexp(inf, inf)", _list(ops.logsumexp), (inf, inf), inf, (nan, nan)),
    Edge(ops.logsumexp, "logsumexp(-inf, -inf)", _list(ops.logsumexp), (-inf, -inf), -inf, (nan, nan)),
    Edge(ops.logsumexp, "softmax(inf, inf)", _softmax, (inf, inf), nan, (nan, nan)),
    Edge(ops.atan2, "atan2(0, 0)", ops.atan2, (0.0, 0.0), 0.0, (nan, nan)),
    Edge(ops.hypot, "hypot(0, 0)", ops.hypot, (0.0, 0.0), 0.0, (0.0, 0.0)),
    Edge(ops.hypot, "hypot(3e200, 4e200)", ops.hypot, (3e200, 4e200), 4.9999999999999995e200, (0.6, 0.8)),
    Edge(ops.mul, "1e-310 * 1.0", ops.mul, (1e-310, 1.0), 1e-310, (1.0, 1e-310)),
    Edge(ops.mul, "2.2250738585072014e-308 * 0.5", ops.mul, (2.0**-1022, 0.5), 2.0**-1023, (0.5, 2.0**-1022)),
    Edge(ops.mul, "0 * nan", ops.mul, (0.0, nan), nan, (nan, 0.0)),
    Edge(
        ops.where,
        "where(x > 0, log x, 0) at 0",
        lambda x: ops.where(ops.less(0.0, x), ops.log(x), 0.0),
        (0.0,),
        0.0,
        (0.0,),
    ),
    Edge(ops.relu, "relu(log x) at 0", lambda x: ops.relu(ops.log(x)), (0.0,), 0.0, (0.0,)),
    Edge(ops.sqrt, "sqrt(x) ** 2 at 0", lambda x: ops.sqrt(x) ** 2, (0.0,), 0.0, (nan,)),
    # --- operations the table above does not speak of: IEEE 754, or one-sided limits
    Edge(ops.add, "inf + -inf", ops.add, (inf, -inf), nan, (1.0, 1.0)),
    Edge(ops.add, "-0.0 + -0.0", ops.add, (-0.0, -0.0), -0.0, (1.0, 1.0)),
    Edge(ops.sub, "inf - inf", ops.sub, (inf, inf), nan, (1.0, -1.0)),
    Edge(ops.neg, "-(0.0)", ops.neg, (0.0,), -0.0, (-1.0,)),
    Edge(ops.div, "1/-0.0", ops.div, (1.0, -0.0), -inf, (-inf, -inf)),
    Edge(ops.div, "0/0", ops.div, (0.0, 0.0), nan, (inf, nan)),
    Edge(
        ops.power,
        "V(-0.0) ** V(-0.9999999999999999), which % 2 is 1",
        ops.power,
        (-0.0, -0.9999999999999999),
        inf,
        (-inf, -inf),
    ),
    Edge(ops.power, "V(-0.0) ** V(-1)", ops.power, (-0.0, -1.0), -inf, (-inf, inf)),
    Edge(ops.expm1, "expm1(710)", ops.expm1, (710.0,), inf, (inf,)),
    Edge(ops.expm1, "expm1(-1000)", ops.expm1, (-1000.0,), -1.0, (0.0,)),
    Edge(ops.expm1, "expm1(1e-300)", ops.expm1, (1e-300,), 1e-300, (1.0,)),
    Edge(ops.log1p, "log1p(1e-300)", ops.log1p, (1e-300,), 1e-300, (1.0,)),
    Edge(ops.hypot, "hypot(1e-200, 0)", ops.hypot, (1e-200, 0.0), 1e-200, (1.0, 0.0)),
    Edge(ops.sin, "sin(inf)", ops.sin, (inf,), nan, (nan,)),
    Edge(ops.cos, "cos(inf)", ops.cos, (inf,), nan, (nan,)),
    Edge(ops.tan, "tan(inf)", ops.tan, (inf,), nan, (nan,)),
    Edge(ops.asin, "asin(1)", ops.asin, (1.0,), math.pi / 2, (inf,)),
    Edge(ops.asin, "asin(2)", ops.asin, (2.0,), nan, (nan,)),
    Edge(ops.acos, "acos(1)", ops.acos, (1.0,), 0.0, (-inf,)),
    Edge(ops.acos, "acos(-2)", ops.acos, (-2.0,), nan, (nan,)),
    Edge(ops.atan, "atan(-inf)", ops.atan, (-inf,), -math.pi / 2, (0.0,)),
    Edge(ops.atan2, "atan2(1, 0)", ops.atan2, (1.0, 0.0), math.pi / 2, (0.0, -1.0)),
    Edge(ops.atan2, "atan2(-0.0, -1)", ops.atan2, (-0.0, -1.0), -math.pi, (-1.0, 0.0)),
    Edge(ops.sinh, "sinh(-1000)", ops.sinh, (-1000.0,), -inf, (inf,)),
    Edge(ops.cosh, "cosh(-1000)", ops.cosh, (-1000.0,), inf, (-inf,)),
    Edge(ops.step, "step(0)", ops.step, (0.0,), 0.0, (0.0,)),
    Edge(ops.step, "step(nan)", ops.step, (nan,), nan, (nan,)),
    Edge(ops.equal, "0.0 == -0.0", ops.equal, (0.0, -0.0), 1.0, (None, None)),
    Edge(ops.equal, "nan == nan", ops.equal, (nan, nan), 0.0, (None, None)),
    Edge(ops.less, "nan < 1", ops.less, (nan, 1.0), 0.0, (None, None)),
    Edge(ops.less, "1 < 1", ops.less, (1.0, 1.0), 0.0, (None, None)),
    Edge(ops.less_equal, "1 <= 1", ops.less_equal, (1.0, 1.0), 1.0, (None, None)),
    Edge(ops.less_equal, "1 <= nan", ops.less_equal, (1.0, nan), 0.0, (None, None)),
    Edge(ops.where, "where(0, inf, 2)", ops.where, (0.0, inf, 2.0), 2.0, (None, None, 1.0)),
    Edge(ops.where, "where(1, 2, nan)", ops.where, (1.0, 2.0, nan), 2.0, (None, 1.0, None)),
    Edge(ops.pick, "pick(1, [nan, 2, inf])", lambda *xs: ops.pick(1, xs), (nan, 2.0, inf), 2.0, (None, 1.0, None)),
    Edge(ops.pick, "pick(-0.0, [2, nan])", lambda *xs: ops.pick(-0.0, xs), (2.0, nan), 2.0, (1.0, None)),
    Edge(ops.dot, "dot([0], [inf])", lambda w, x: ops.dot([w], [x]), (0.0, inf), nan, (inf, 0.0)),
    Edge(ops.dot, "dot([], [], b)", lambda b: ops.dot([], [], b), (5.0,), 5.0, (1.0,)),
    Edge(ops.total, "total([1e308, 1e308])", _list(ops.total), (1e308, 1e308), inf, (1.0, 1.0)),
    Edge(ops.mean, "mean([inf, -inf])", _list(ops.mean), (inf, -inf), nan, (0.5, 0.5)),
)


# --- points where the operations are smooth, as flat operands


def _near(r: Random, radius: float) -> float:
    return r.uniform(-radius, radius)


def _size(r: Random, low: float, high: float) -> float:
    """A positive number between 10^low and 10^high, each magnitude as likely as any other."""
    return 10.0 ** r.uniform(low, high)


def _wide(r: Random, low: float = -12.0, high: float = 12.0) -> float:
    return r.choice((-1.0, 1.0)) * _size(r, low, high)


def _number(r: Random) -> float:
    return r.choice((_near(r, 5.0), _wide(r)))


def _numbers(least: int, most: int) -> Callable[[Random], tuple[float, ...]]:
    return lambda r: tuple(_number(r) for _ in range(r.randint(least, most)))


def _inside_one(r: Random) -> float:
    return r.choice((_near(r, 1.0), _wide(r, -12.0, -0.001), math.copysign(1.0 - _size(r, -12.0, -1.0), _near(r, 1.0))))


def _saturating(r: Random) -> float:
    return r.choice((_near(r, 40.0), _near(r, 700.0), _wide(r, -12.0, 1.0)))


def _exponent(r: Random) -> float:
    return r.choice((_near(r, 700.0), _wide(r, -12.0, 1.0)))


def _plane(r: Random) -> tuple[float, ...]:
    reach = r.choice((3.0, 60.0))
    return _wide(r, -reach, reach), _wide(r, -reach, reach)


def _power_point(r: Random) -> tuple[float, ...]:
    x = r.choice((r.uniform(0.1, 5.0), _size(r, -20.0, 20.0)))
    n = r.choice((_near(r, 5.0), float(r.randint(-8, 8)), _wide(r, -6.0, 0.0)))
    return (-x if n == math.floor(n) != 0.0 and r.random() < 0.5 else x), n


def _clip_point(r: Random) -> tuple[float, ...]:
    low, high = sorted((_number(r), _number(r)))
    return _number(r), low, high


def _pick_point(r: Random) -> tuple[float, ...]:
    xs = _numbers(1, 4)(r)
    return float(r.randrange(len(xs))), *xs


def _logsumexp_point(r: Random) -> tuple[float, ...]:
    radius = r.choice((1e-6, 1.0, 20.0, 700.0))
    return tuple(_near(r, radius) for _ in range(r.randint(1, 4)))


class Points(NamedTuple):
    """samples: moderate, and at least 0.05 away from any kink or pole, so that finite differences apply.
    random: draws a point of the domain, of large and of small magnitude where the operation is smooth there."""

    samples: tuple[tuple[float, ...], ...]
    random: Callable[[Random], tuple[float, ...]]


def _unary(*samples: float, random: Callable[[Random], float]) -> Points:
    return Points(tuple((x,) for x in samples), lambda r: (random(r),))


POINTS: dict[Op, Points] = {
    ops.add: Points(((2.0, -3.0), (0.1, 0.2)), _numbers(2, 2)),
    ops.sub: Points(((2.0, -3.0), (0.1, 0.2)), _numbers(2, 2)),
    ops.mul: Points(((2.0, -3.0), (0.1, 0.2)), _numbers(2, 2)),
    ops.div: Points(((2.0, -3.0), (0.1, 0.7), (-5.0, 1.5)), _numbers(2, 2)),
    ops.power: Points(((2.0, 3.0), (1.7, -0.4), (0.6, 2.5), (3.0, 0.0), (1.3, 1.0)), _power_point),
    ops.neg: _unary(2.0, -0.3, random=_number),
    ops.abs_: _unary(2.0, -0.3, random=_number),
    ops.exp: _unary(0.0, 1.5, -3.0, random=_exponent),
    ops.expm1: _unary(0.0, 1.5, -3.0, random=_exponent),
    ops.log: _unary(0.5, 1.0, 8.0, random=lambda r: r.choice((_size(r, -100.0, 100.0), 1.0 + _wide(r, -15.0, -1.0)))),
    ops.log1p: _unary(
        -0.5, 0.0, 8.0, random=lambda r: r.choice((_size(r, -15.0, 100.0), -_size(r, -15.0, 0.0), _near(r, 0.999)))
    ),
    ops.sqrt: _unary(
        0.5, 1.0, 4.06826432907524, random=lambda r: r.choice((_size(r, -100.0, 100.0), r.uniform(0.1, 10.0)))
    ),
    ops.hypot: Points(((3.0, 4.0), (-0.5, 1.0), (2.0, -7.0)), _plane),
    ops.sin: _unary(0.3, -2.0, 5.0, random=_number),
    ops.cos: _unary(0.3, -2.0, 5.0, random=_number),
    ops.tan: _unary(0.3, -1.2, 2.5, random=_number),
    ops.asin: _unary(0.1, -0.4, 0.7, random=_inside_one),
    ops.acos: _unary(0.1, -0.4, 0.7, random=_inside_one),
    ops.atan: _unary(0.1, -1.0, 6.0, random=lambda r: r.choice((_near(r, 5.0), _wide(r, -12.0, 50.0)))),
    ops.atan2: Points(((1.0, 2.0), (-1.5, -0.5), (0.3, -2.0), (-3.0, 1.0)), _plane),
    ops.sinh: _unary(0.3, -2.0, 4.0, random=_exponent),
    ops.cosh: _unary(0.3, -2.0, 4.0, random=_exponent),
    ops.tanh: _unary(0.3, -2.0, 4.0, random=lambda r: r.choice((_near(r, 25.0), _wide(r, -12.0, 3.0)))),
    ops.sigmoid: _unary(0.3, -2.0, 4.0, random=_saturating),
    ops.softplus: _unary(0.3, -2.0, 4.0, random=_saturating),
    ops.relu: _unary(0.3, -2.0, random=_number),
    ops.leaky_relu: Points(((0.3, 0.1), (-2.0, 0.01), (-0.7, -0.5), (4.0, 2.0)), _numbers(2, 2)),
    ops.sign: _unary(0.3, -2.0, random=_number),
    ops.step: _unary(0.3, -2.0, random=_number),
    ops.equal: Points(((0.3, -2.0), (1.0, 2.0)), _numbers(2, 2)),
    ops.less: Points(((0.3, -2.0), (1.0, 2.0)), _numbers(2, 2)),
    ops.less_equal: Points(((0.3, -2.0), (1.0, 2.0)), _numbers(2, 2)),
    # a condition of 0 is no smooth point, but its partial is 0 by definition there too
    ops.where: Points(
        ((1.0, 2.0, -3.0), (-0.4, 0.1, 0.2)), lambda r: (r.choice((0.0, 1.0, _number(r))), _number(r), _number(r))
    ),
    ops.clip: Points(((0.3, -1.0, 1.0), (-2.0, -1.0, 1.0), (5.0, -1.0, 1.0)), _clip_point),
    ops.maximum: Points(((2.0, -3.0), (0.1, 0.2, -0.3, 0.4), (1.5,)), _numbers(1, 4)),
    ops.minimum: Points(((2.0, -3.0), (0.1, 0.2, -0.3, 0.4), (1.5,)), _numbers(1, 4)),
    ops.pick: Points(((0.0, 2.0, -3.0), (2.0, 0.1, 0.2, 0.3)), _pick_point),
    ops.dot: Points(((2.0, -3.0), (1.0, 2.0, 3.0, 4.0, 5.0), (0.5, -0.2, 0.7, 1.1)), _numbers(1, 7)),
    ops.total: Points(((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), _numbers(1, 5)),
    ops.mean: Points(((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), _numbers(1, 5)),
    ops.logsumexp: Points(((2.0, -3.0), (0.1, 0.2, 0.3), (1.5,)), _logsumexp_point),
}
