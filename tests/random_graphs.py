"""Random functions over all operations: the one generator of the tests that compare paths. No tests."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from tinygrad_lite import OPS, Value, ops
from tinygrad_lite.ops import Op

from .operation import inf, nan
from .operations import OPERATIONS
from .sampling import sample

UNARY = tuple(op for op in OPS if isinstance(op.partials, tuple) and len(op.partials) == 1)
BINARY = tuple(op for op in OPS if isinstance(op.partials, tuple) and len(op.partials) == 2)
TERNARY = tuple(op for op in OPS if isinstance(op.partials, tuple) and len(op.partials) == 3)
EDGE_NUMBERS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 5e-324, 1e-310, -2.2250738585072014e-308, 1e-160, 1e160, -1e200,
    1.7976931348623157e308, math.nextafter(1.0, 2.0), math.nextafter(-1.0, 0.0), math.pi / 2, -math.pi, 709.78, 710.0,
    -745.2, inf, -inf, nan,
)  # fmt: skip
TAME = tuple(op for op in OPS if OPERATIONS[op].tame)


class Recipe:
    """A random function: `build(leaves)` makes the same graph from any placeholders.

    steps: (op, operands, with operands places among leaves and results so far, or numbers). edges: the share of
    numbers at an edge, and of steps that are kept though their result is large or not finite.
    """

    def __init__(self, r: Random, leaves: int, nodes: int, operations: Sequence[Op] = OPS, edges: float = 0.15) -> None:
        self.steps: list[tuple[Op, list[Any]]] = []
        self.leaves = leaves
        self.point = [self._number(r, edges) for _ in range(leaves)]
        self._results = list(self.point)
        for n in range(leaves, leaves + nodes):
            self._step(r, operations, n, edges)
        used = {x for _, xs in self.steps for x in xs if isinstance(x, int)}
        ends = [n for n in range(leaves, leaves + nodes) if n not in used]
        self.outputs = ends[-3:]

    def _step(self, r: Random, operations: Sequence[Op], n: int, edges: float) -> None:
        for _ in range(5):
            op = r.choice(operations)
            operands = self._operands(r, op, n, edges)
            result = op.value(*[self._results[x] if isinstance(x, int) else x for x in operands])
            if abs(result) < 1e6 or r.random() < edges:
                break
        self.steps.append((op, operands))
        self._results.append(result)

    def _number(self, r: Random, edges: float) -> float:
        if r.random() < edges:
            return r.choice(EDGE_NUMBERS)
        return r.choice((r.uniform(-2.0, 2.0), r.uniform(0.1, 1.5), float(r.randint(-2, 3))))

    def _operands(self, r: Random, op: Op, n: int, edges: float) -> list[Any]:
        def one() -> Any:
            if r.random() < 0.1:
                return self._number(r, edges / 3)
            # a line of recent nodes gives deep graphs, any node shared subexpressions
            return place() if r.random() < 0.6 else r.randrange(n)

        def place() -> int:
            return r.randrange(max(0, n - 4), n)

        if op in UNARY:
            return [place()]
        if op in BINARY:
            return [place(), one()] if r.random() < 0.5 else [one(), place()]
        if op in TERNARY:
            return [one(), place(), one()]
        size = r.choice((1, 2, 3, 4, 5)) if r.random() < 0.95 else r.choice((8, 13, 40))
        if op is ops.dot:
            size = 2 * size + r.randint(0, 1)
        found = [place(), *(one() for _ in range(size - 1))]
        if (at := OPERATIONS[op].index) is not None:
            comparisons = (i for i, (made, _) in enumerate(self.steps, self.leaves) if is_comparison(made))
            index = next(comparisons, None)
            computed = index is not None and size > 1
            found.insert(at % (size + 1), index if computed else float(r.randrange(size)))
        return found

    def evaluate(self, leaves: Sequence[Any], apply: Callable[[Op, list[Any]], Any]) -> list[Any]:
        """The results of all outputs, where `apply(op, operands)` makes each step."""
        results = list(leaves)
        for op, places in self.steps:
            # a result made of numbers alone cannot happen: one operand is a place
            results.append(apply(op, [results[x] if isinstance(x, int) else x for x in places]))
        return [results[i] for i in self.outputs]

    def build(self, leaves: Sequence[Any], apply: Callable[[Op, list[Any]], Any] = Value.record) -> list[Any]:
        """The outputs, then their total, which is differentiated."""
        outputs = self.evaluate(leaves, apply)
        return [*outputs, outputs[0] if len(outputs) == 1 else apply(ops.total, outputs)]

    def trace(self) -> Iterator[tuple[Op, list[float], float]]:
        """Every step at the recipe's point: the operation, its operands, its result."""
        results = list(self.point)
        for op, places in self.steps:
            xs = [results[x] if isinstance(x, int) else x for x in places]
            results.append(op.value(*xs))
            yield op, xs, results[-1]

    def scalar(self, leaves: Sequence[Any]) -> Any:
        return self.build(leaves)[-1]

    def __repr__(self) -> str:
        lines = [f"v{i} = {x!r}" for i, x in enumerate(self.point)]
        for i, (op, xs) in enumerate(self.steps, self.leaves):
            lines.append(f"v{i} = {op.name}({', '.join(f'v{x}' if isinstance(x, int) else repr(x) for x in xs)})")
        return "\n".join([*lines, f"outputs {self.outputs}"])


def is_comparison(op: Op) -> bool:
    return OPERATIONS[op].kind == "comparison"


def block(b: int) -> list[Recipe]:
    """100 recipes of 1 + b % 4 leaves, the same ones each time."""
    r = Random(f"graphs {b}")
    return [Recipe(r, 1 + b % 4, r.randint(1, 10), edges=r.choice((0.0, 0.05, 0.3))) for _ in range(100)]


def _thousands(graphs: str) -> list[range]:
    blocks = range(int(graphs) // 100)
    return [blocks[start : start + 10] for start in range(0, len(blocks), 10)]


THOUSANDS = _thousands(os.environ.get("GRAPHS", sample("300", "5000")))  # blocks to compare in one test
