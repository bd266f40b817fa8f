"""One graph in several spellings: `apply(op, operands)` for `Recipe.build`. No tests."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tinygrad_lite import Value, ops
from tinygrad_lite.ops import Op

inf = math.inf

OPERATORS: dict[Op, Callable[..., Any]] = {
    ops.add: operator.add, ops.sub: operator.sub, ops.mul: operator.mul, ops.div: operator.truediv,
    ops.power: operator.pow, ops.neg: operator.neg, ops.abs_: abs,
}  # fmt: skip


def as_written(op: Op, xs: list[Any]) -> Any:
    """By the operator or the method where there is one, else by the function: as users write it."""
    if op in OPERATORS:
        return OPERATORS[op](*xs)
    if isinstance(xs[0], Value) and hasattr(Value, op.name):
        return getattr(xs[0], op.name)(*xs[1:])
    if op is ops.dot:
        n = len(xs) // 2
        return op(xs[:n], xs[n : 2 * n], *xs[2 * n :])
    if op in (ops.total, ops.mean, ops.logsumexp):
        return op(xs)
    return op(xs[0], xs[1:]) if op is ops.pick else op(*xs)


COMMUTATIVE = frozenset((
    ops.add, ops.mul, ops.hypot, ops.equal, ops.maximum, ops.minimum, ops.total, ops.mean, ops.logsumexp,
))  # fmt: skip


def permuted(r: Random) -> Callable[[Op, list[Any]], Any]:
    """Operands in another order, where the result does not depend on it."""

    def apply(op: Op, xs: list[Any]) -> Any:
        if op in COMMUTATIVE:
            return Value.record(op, r.sample(xs, len(xs)))
        if op is ops.dot:
            n = len(xs) // 2
            pairs = [r.sample(pair, 2) for pair in zip(xs[:n], xs[n : 2 * n])]
            r.shuffle(pairs)
            return Value.record(op, [*(w for w, _ in pairs), *(x for _, x in pairs), *xs[2 * n :]])
        return Value.record(op, xs)

    return apply


def _times(xs: Sequence[Any]) -> list[Any]:
    n = len(xs) // 2
    return [ops.mul(w, x) for w, x in zip(xs[:n], xs[n : 2 * n])] + list(xs[2 * n :])


def _clip_in_two_steps(x: Any, low: Any, high: Any) -> Any:
    raised = ops.where(ops.less(x, low), low, x)
    return ops.where(ops.less(high, raised), high, raised)


# the same real function with the same derivative wherever the operation has one, at kinks too
REWRITINGS: dict[Op, tuple[Callable[..., Any], ...]] = {
    ops.add: (lambda a, b: a - (-b), lambda a, b: ops.total([b, a]), lambda a, b: ops.dot([a, b], [1.0, 1.0])),
    ops.sub: (lambda a, b: a + (-b), lambda a, b: -(b - a), lambda a, b: ops.dot([-1.0], [b], a)),
    ops.mul: (lambda a, b: ops.dot([a], [b]), lambda a, b: -(a * (-b)), lambda a, b: (2.0 * a) * (0.5 * b)),
    ops.div: (lambda a, b: a * ops.div(1.0, b), lambda a, b: -a / (-b), lambda a, b: a * ops.power(b, -1.0)),
    ops.power: (lambda x, n: x * x if n.__class__ is float and n == 2.0 else 1.0 / x ** (-n),),
    ops.neg: (lambda x: -1.0 * x, lambda x: 0.0 - x, lambda x: x - 2.0 * x),
    ops.abs_: (lambda x: ops.sign(x) * x, lambda x: ops.relu(x) + ops.relu(-x)),
    ops.exp: (lambda x: 1.0 / ops.exp(-x), lambda x: ops.exp(0.5 * x) ** 2, lambda x: ops.sinh(x) + ops.cosh(x)),
    ops.expm1: (lambda x: ops.exp(x) - 1.0,),
    ops.log: (lambda x: -ops.log(1.0 / x), lambda x: 2.0 * ops.log(ops.sqrt(x)), lambda x: ops.log1p(x - 1.0)),
    ops.log1p: (lambda x: ops.log(1.0 + x),),
    ops.sqrt: (lambda x: x**0.5, lambda x: x / ops.sqrt(x)),
    ops.hypot: (lambda a, b: ops.sqrt(a * a + b * b),),
    ops.sin: (lambda x: -ops.sin(-x), lambda x: 2.0 * ops.sin(0.5 * x) * ops.cos(0.5 * x)),
    ops.cos: (lambda x: ops.cos(-x), lambda x: 1.0 - 2.0 * ops.sin(0.5 * x) ** 2),
    ops.tan: (lambda x: ops.sin(x) / ops.cos(x),),
    ops.asin: (lambda x: -ops.asin(-x), lambda x: ops.atan2(x, ops.sqrt(1.0 - x * x))),
    ops.acos: (lambda x: 2.0 * ops.atan2(ops.sqrt(1.0 - x), ops.sqrt(1.0 + x)),),
    ops.atan: (lambda x: ops.atan2(x, 1.0), lambda x: ops.asin(x / ops.hypot(1.0, x))),
    ops.atan2: (lambda y, x: -ops.atan2(-y, x), lambda y, x: ops.atan2(2.0 * y, 2.0 * x)),
    ops.sinh: (lambda x: 0.5 * (ops.exp(x) - ops.exp(-x)),),
    ops.cosh: (lambda x: ops.mean([ops.exp(x), ops.exp(-x)]),),
    ops.tanh: (lambda x: ops.sinh(x) / ops.cosh(x), lambda x: 2.0 * ops.sigmoid(2.0 * x) - 1.0),
    ops.sigmoid: (lambda x: 1.0 / (1.0 + ops.exp(-x)), lambda x: 0.5 * (1.0 + ops.tanh(0.5 * x))),
    ops.softplus: (lambda x: ops.logsumexp([0.0, x]), lambda x: ops.log1p(ops.exp(x)), lambda x: x + ops.softplus(-x)),
    ops.relu: (
        lambda x: ops.where(ops.less(0.0, x), x, 0.0), lambda x: ops.step(x) * x, lambda x: ops.leaky_relu(x, 0.0),
    ),
    ops.leaky_relu: (lambda x, slope: ops.where(ops.less(0.0, x), x, slope * x),),
    ops.sign: (lambda x: ops.step(x) - ops.step(-x),),
    ops.step: (lambda x: ops.relu(ops.sign(x)),),
    ops.equal: (lambda a, b: ops.less_equal(a, b) * ops.less_equal(b, a),),
    ops.less: (lambda a, b: ops.less_equal(a, b) * (1.0 - ops.equal(a, b)),),
    ops.less_equal: (lambda a, b: ops.maximum(ops.less(a, b), ops.equal(a, b)),),
    ops.where: (
        lambda c, a, b: ops.where(ops.equal(c, 0.0), b, a), lambda c, a, b: ops.pick(ops.equal(c, 0.0), [a, b]),
    ),
    ops.clip: (_clip_in_two_steps,),
    ops.maximum: (lambda *xs: -ops.minimum(*[-x for x in xs]), lambda *xs: ops.maximum(*xs, -inf)),
    ops.minimum: (lambda *xs: -ops.maximum(*[-x for x in xs]), lambda *xs: ops.minimum(inf, *xs)),
    ops.pick: (lambda k, *xs: ops.dot([ops.equal(k, float(i)) for i in range(len(xs))], xs),),
    ops.dot: (lambda *xs: ops.total(_times(xs)), lambda *xs: ops.dot(_times(xs), [1.0] * len(_times(xs)))),
    ops.total: (lambda *xs: ops.dot([1.0] * len(xs), xs), lambda *xs: len(xs) * ops.mean(xs)),
    ops.mean: (lambda *xs: ops.total(xs) / len(xs), lambda *xs: ops.dot([1.0 / len(xs)] * len(xs), xs)),
    ops.logsumexp: (
        lambda *xs: ops.log(ops.total([ops.exp(x) for x in xs])),
        lambda *xs: xs[0] + ops.logsumexp([x - xs[0] for x in xs]),
    ),
}  # fmt: skip


def rewritten(r: Random) -> Callable[[Op, list[Any]], Any]:
    """The same function by other operations, and with shared subexpressions computed anew."""

    def apply(op: Op, xs: list[Any]) -> Any:
        xs = [Value.record(x.op, x.args) if isinstance(x, Value) and x.op and r.random() < 0.2 else x for x in xs]
        if r.random() < 0.3:
            return Value.record(op, xs)
        return r.choice(REWRITINGS[op])(*xs)

    return apply
