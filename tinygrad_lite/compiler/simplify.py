"""The recorded graph as a table of terms in which nothing stands twice and nothing is computed in vain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from .. import ops
from ..engine import Value
from ..ops import Op
from .record import recorded_nodes

# leaves of a term table: the args of a term are then (index,) or (number,)
INPUT, PARAMETER, CONSTANT, STATE, SUM = (
    Op(name, name, lambda x: x, (1.0,)) for name in ("input", "parameter", "constant", "state", "sum over examples")
)
LEAVES = frozenset((INPUT, PARAMETER, CONSTANT, STATE, SUM))


class Terms:
    """Term i is (ops[i], args[i]): an operation on earlier terms. Equal terms are one term.

    strict: only rewritings that keep every bit; otherwise also small powers as products.
    """

    def __init__(self, strict: bool) -> None:
        self.ops: list[Op] = []
        self.args: list[tuple[Any, ...]] = []
        self.strict = strict
        self._place: dict[tuple[Any, ...], int] = {}

    def leaf(self, kind: Op, index: Any) -> int:
        """The term of an input, parameter or state number with this index, of a constant, or of the sum
        over all examples of term `index`."""
        if kind is CONSTANT:
            return self._term(kind, (index,), (kind, index, math.copysign(1.0, index), index != index))
        return self._term(kind, (index,), (kind, index))

    def number(self, i: int) -> float | None:
        """The constant that term i is, else None."""
        return self.args[i][0] if self.ops[i] is CONSTANT else None

    def add(self, op: Op, args: Sequence[int]) -> int:
        """The term of op on these terms, simplified."""
        numbers = [self.args[i][0] for i in args if self.ops[i] is CONSTANT]
        if numbers:
            if len(numbers) == len(args):
                return self.leaf(CONSTANT, op.value(*numbers))
            found = self._with_constant(op, args)
            if found is not None:
                return found
        if op in (ops.maximum, ops.minimum) and len(args) == 1:
            return args[0]
        if op is ops.neg and self.ops[args[0]] is ops.neg:
            return int(self.args[args[0]][0])
        if op is ops.add and self.ops[args[1]] is ops.neg:
            return self.add(ops.sub, (args[0], self.args[args[1]][0]))
        if op is ops.where and args[1] == args[2]:
            return args[1]
        args = tuple(args)
        return self._term(op, args, (op, args))

    def _with_constant(self, op: Op, args: Sequence[int]) -> int | None:
        """What holds for every operand, NaN, infinities and the sign of zero included."""
        first, last = self.number(args[0]), self.number(args[-1])
        if op is ops.mul:
            for this, other in (first, args[1]), (last, args[0]):
                if this == 1.0:
                    return other
                if this == -1.0:
                    return self.add(ops.neg, (other,))
        elif (op is ops.div and last == 1.0) or (op is ops.sub and last == 0.0 and math.copysign(1.0, last) > 0):
            return args[0]
        elif op is ops.where and first is not None:
            return args[1] if first else args[2]
        elif op is ops.power and last is not None:
            if last == 1.0:
                return args[0]
            if last == 0.0:
                return self.leaf(CONSTANT, 1.0)
            if last in (2.0,) if self.strict else last in (2.0, 3.0, 4.0):
                square = self.add(ops.mul, (args[0], args[0]))
                return {2.0: lambda: square, 3.0: lambda: self.add(ops.mul, (square, args[0]))}.get(
                    last, lambda: self.add(ops.mul, (square, square))
                )()
        elif op is ops.dot and not self.strict:
            n = len(args) // 2
            if n > 1 and all(self.number(i) == 1.0 for i in args[n : 2 * n]):
                return self.add(ops.total, (*args[2 * n :], *args[:n]))
        return None

    def _term(self, op: Op, args: tuple[Any, ...], key: tuple[Any, ...]) -> int:
        i = self._place.get(key)
        if i is None:
            i = self._place[key] = len(self.ops)
            self.ops.append(op)
            self.args.append(args)
        return i

    def include(self, roots: Sequence[Any], leaves: dict[Value, int]) -> list[int]:
        """The terms of these recorded Values (or plain numbers). leaves: the terms of placeholders;
        extended by every node seen, so that a second call goes on where the first ended."""

        def term(x: Any) -> int:
            if x.__class__ is float:
                return self.leaf(CONSTANT, x)
            if x not in leaves:  # a plain Value that the recording itself made
                leaves[x] = self.leaf(CONSTANT, x.data)
            return leaves[x]

        for root in roots:
            for node in recorded_nodes(root, leaves):
                leaves[node] = self.add(cast(Op, node.op), [term(x) for x in node.args])
        return [term(root) for root in roots]
