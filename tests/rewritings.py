"""One graph in several spellings: `apply(op, operands)` for `Recipe.build`. No tests."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tinygrad_lite import Value
from tinygrad_lite.ops import Op

from .operations import OPERATIONS


def as_written(op: Op, xs: list[Any]) -> Any:
    """By the operator or the method where there is one, else by the function: as users write it."""
    record = OPERATIONS[op]
    if record.operator and record.kind != "comparison":  # whose operators give a bool
        return record.operator(*xs)
    if isinstance(xs[0], Value) and hasattr(Value, op.name):
        return getattr(xs[0], op.name)(*xs[1:])
    return record.call(*xs)


def permuted(r: Random) -> Callable[[Op, list[Any]], Any]:
    """Operands in another order, where the result does not depend on it."""
    return lambda op, xs: Value.record(op, OPERATIONS[op].reordered(r, xs))


def rewritten(r: Random) -> Callable[[Op, list[Any]], Any]:
    """The same function by other operations, and with shared subexpressions computed anew."""

    def apply(op: Op, xs: list[Any]) -> Any:
        xs = [Value.record(x.op, x.args) if isinstance(x, Value) and x.op and r.random() < 0.2 else x for x in xs]
        if r.random() < 0.3:
            return Value.record(op, xs)
        return r.choice(OPERATIONS[op].rewritings)(*xs)

    return apply
