"""The traced graph as a table of terms: common subexpressions merged, constants folded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

from .. import ops
from ..engine import Value
from ..ops import OPS, Op
from .trace import LIST, Number, Tracer, called, placeholders, traced_nodes, tracing

Args: TypeAlias = tuple[Any, ...]  # the operands of a term, which are earlier terms; of a leaf its index or number

# leaves of a term table: the args of a term are then (index,) or (number,)
INPUT, PARAMETER, CONSTANT, STATE, SUM = (
    Op(name, name, lambda x: x, (1.0,)) for name in ("input", "parameter", "constant", "state", "sum over examples")
)
LEAVES = frozenset((INPUT, PARAMETER, CONSTANT, STATE, SUM))


class Terms:
    """Term i is (ops[i], args[i]): an operation on earlier terms. Equal terms are one term.

    strict: only rewritings that keep every bit; otherwise also small powers as products.
    """

    reader, rows = "jit cannot compile", "compiler/lowerings.py"  # who reads the terms, for messages

    def __init__(self, strict: bool) -> None:
        self.ops: list[Op] = []
        self.args: list[Args] = []
        self.strict = strict
        self._place: dict[Args, int] = {}

    def leaf(self, kind: Op, index: float) -> int:
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
        if op is ops.detach or (op in (ops.maximum, ops.minimum) and len(args) == 1):
            return args[0]  # derivatives are taken by now
        if op is ops.neg and self.ops[args[0]] is ops.neg:
            return int(self.args[args[0]][0])
        if op is ops.add and self.ops[args[1]] is ops.neg:
            return self.add(ops.sub, (args[0], self.args[args[1]][0]))
        if op is ops.where:
            args = self._chosen(*args)
            if args[1] == args[2]:
                return args[1]
        args = tuple(args)
        return self._term(op, args, (op, args))

    def _chosen(self, condition: int, this: int, other: int) -> tuple[int, int, int]:
        """The operands of a where, without what an inner one asks again, as masks of what was selected do."""
        while self.ops[condition] is ops.where and self.number(self.args[condition][2]) == 0.0:
            inner, yes, _ = self.args[condition]
            if not self.number(yes):  # not known, or 0
                break
            condition = inner
        while self.ops[this] is ops.where and self.args[this][0] == condition:
            this = self.args[this][1]
        while self.ops[other] is ops.where and self.args[other][0] == condition:
            other = self.args[other][2]
        return condition, this, other

    def _with_constant(self, op: Op, args: Sequence[int]) -> int | None:
        """What holds for every operand, NaN, infinities and the sign of zero included."""
        first, last = self.number(args[0]), self.number(args[-1])
        if op is ops.mul:
            return self._multiple(args[1], first) if first is not None else self._multiple(args[0], last)
        if op is ops.power and last is not None:
            return self._power(args[0], last)
        if (op is ops.div and last == 1.0) or (op is ops.sub and last == 0.0 and math.copysign(1.0, last) > 0):
            return args[0]
        if op is ops.where and first is not None:
            return args[1] if first else args[2]
        if op is ops.dot and not self.strict:
            n = len(args) // 2
            if n > 1 and all(self.number(i) == 1.0 for i in args[n : 2 * n]):
                return self.add(ops.total, (*args[2 * n :], *args[:n]))
        return None

    def _multiple(self, i: int, factor: float | None) -> int | None:
        return i if factor == 1.0 else self.add(ops.neg, (i,)) if factor == -1.0 else None

    def _power(self, i: int, n: float) -> int | None:
        if n == 1.0:
            return i
        if n == 0.0:
            return self.leaf(CONSTANT, 1.0)
        if n != 2.0 and (self.strict or n not in (3.0, 4.0)):
            return None
        square = self.add(ops.mul, (i, i))
        return square if n == 2.0 else self.add(ops.mul, (square, i if n == 3.0 else square))

    def _term(self, op: Op, args: Args, key: Args) -> int:
        i = self._place.get(key)
        if i is None:
            i = self._place[key] = len(self.ops)
            self.ops.append(op)
            self.args.append(args)
        return i

    def _expand(self, op: Op, args: Sequence[int]) -> int:
        """An operation of the user's: its value is run on placeholders, and is then made of the table's operations."""
        if all(self.ops[i] is CONSTANT for i in args):
            return self.leaf(CONSTANT, op.value(*[self.args[i][0] for i in args]))
        (places,) = placeholders([((LIST, len(args)),)])[1:]
        inputs = cast(list[Tracer], places[0])
        with tracing():
            try:
                found = called(op.value, inputs)
            except TypeError as error:
                raise NotImplementedError(
                    f"{self.reader} {op.name} yet: its value is not made of operations of the table ({error}). "
                    f"Add a row to {self.rows}, or write {op.name} with operations of the table"
                ) from None
        if not isinstance(found, (Value, int, float)):
            raise NotImplementedError(f"{self.reader} {op.name} yet: its value returns {found!r}, not a number")
        root = found if isinstance(found, Value) else float(found)
        return self.include([root], dict(zip(inputs, args)))[0]

    def include(self, roots: Sequence[Number], leaves: dict[Value, int]) -> list[int]:
        """The terms of these traced Values (or plain numbers). leaves: the terms of placeholders;
        extended by every node seen, so that a second call goes on where the first ended."""

        def term(x: Number) -> int:
            if not isinstance(x, Value):
                return self.leaf(CONSTANT, x)
            if x not in leaves:  # a plain Value that the recording itself made
                leaves[x] = self.leaf(CONSTANT, x.data)
            return leaves[x]

        for root in roots:
            for node in traced_nodes(root, leaves):
                op = cast(Op, node.op)
                add = self.add if op in TABLE else self._expand
                leaves[node] = add(op, [term(x) for x in node.args])
        return [term(root) for root in roots]


TABLE = frozenset(OPS)
