"""From Values to boxes and arrows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .. import ops
from ..engine import UNREACHED, Value
from ..parts import names
from .fold import Fold, Part, parts
from .layout import layout
from .picture import Arrow, Box, Picture

WIDE = 1100.0  # px: what a notebook's cell of about 900 px still shows at a legible size


def number(x: float) -> str:
    """Four decimals, or four digits with an exponent where decimals would say little."""
    if x == 0.0 or 1e-3 <= abs(x) < 1e5 or x != x or x in (ops.inf, -ops.inf):
        return f"{x:.4f}"
    return f"{x:.3e}"


def picture(root: Value, rankdir: Any, fold: Fold, expand: bool, edges: bool, limit: int) -> Picture:
    """Every part of root's graph, operands before users. ValueError where there are more than `limit`."""
    found = parts(root, fold)
    if len(found) > limit:
        raise ValueError(
            f"this picture has {len(found):,} boxes and stays readable to about 50: draw a part of the graph (one "
            f'neuron, one example), fold it (fold="auto", or name parts of it by modules or `with scope("loss"):`), '
            f"or lift the limit with draw_dot(..., limit={len(found)})"
        )
    sketch = _Sketch(found, expand, edges)
    if rankdir == "auto":
        across = layout(sketch.picture("LR")).width
        rankdir = "LR" if across <= WIDE or across <= layout(sketch.picture("TB")).width else "TB"
    return sketch.picture(rankdir)


class _Sketch:
    """Collects boxes and arrows."""

    def __init__(self, found: Sequence[Part], expand: bool, edges: bool) -> None:
        self.parts, self.expand, self.edges = found, expand, edges
        self.part_of = {v: part for part in found for v in (*part.parameters, *part.values)}
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.names = names(self.part_of)
        self.inputs: dict[Any, str] = {}  # rows of numbers that parts read -> the key of their box

        for part in self.parts:
            if not part.single:
                self._box_of_many(part)
            elif part.values[0].op is None:
                self._record(part.key, part.values[0])
            elif self.expand and part.values[0].op is ops.dot and self._all_single(part.values[0]):
                self._expanded_dot(part.key, part.values[0])
            else:
                self._operation(part.key, part.values[0])

    def picture(self, rankdir: Any) -> Picture:
        return Picture(tuple(self.boxes), tuple(self.arrows), rankdir)

    def _all_single(self, node: Value) -> bool:
        return all(self.part_of[x].single for x in node.args if isinstance(x, Value))

    # --- one Value: its operation, and its record

    def _operation(self, key: str, node: Value) -> None:
        assert node.op is not None
        operands = self._operands(key, node)
        self.boxes.append(Box(f"{key}.op", (node.op.symbol,), "operation"))
        self._arrows_to(f"{key}.op", [node])
        for operand, x in zip(operands, node.args):
            if not isinstance(x, Value):
                self.arrows.append(Arrow(operand, f"{key}.op"))
        self.arrows.append(Arrow(f"{key}.op", key))
        self._record(key, node)

    def _record(self, key: str, node: Value) -> None:
        label = (self.names[node],) if node in self.names else ()
        cells = (*label, f"data {number(node.data)}", f"grad {_grad(node)}")
        self.boxes.append(Box(key, cells, "value" if node.op else "parameter"))

    def _operands(self, key: str, node: Value) -> list[str]:
        """The keys of the operands; a plain number gets a small box of its own."""
        found = []
        for i, x in enumerate(node.args):
            if isinstance(x, Value):
                found.append(self.part_of[x].key)
            else:
                found.append(f"{key}.{i}")
                self.boxes.append(Box(f"{key}.{i}", (f"{x:g}",), "constant"))
        return found

    def _expanded_dot(self, key: str, node: Value) -> None:
        """The products w * x and their sum, as many small operations; d product / d w = x, d sum = 1."""
        operands = self._operands(key, node)
        n = len(operands) // 2
        one = number(1.0) if self.edges else ""
        data = [x.data if isinstance(x, Value) else x for x in node.args]
        for i in range(n):
            times, product = f"{key}.times{i}", f"{key}.product{i}"
            self.boxes.append(Box(times, (ops.mul.symbol,), "operation"))
            for j in i, n + i:
                self.arrows.append(Arrow(operands[j], times, self._derivative(node, j)))
            cells = f"data {number(data[i] * data[n + i])}", f"grad {_grad(node)}"
            self.boxes.append(Box(product, cells, "value"))
            self.arrows.append(Arrow(times, product))
            self.arrows.append(Arrow(product, f"{key}.op", one))
        self.boxes.append(Box(f"{key}.op", (ops.total.symbol,), "operation"))
        if len(operands) % 2:
            self.arrows.append(Arrow(operands[-1], f"{key}.op", one))
        self.arrows.append(Arrow(f"{key}.op", key))
        self._record(key, node)

    def _derivative(self, node: Value, i: int) -> str:
        dx = node.local_grads[i]
        return number(dx) if self.edges and dx is not None else ""

    # --- many Values as one box

    def _box_of_many(self, part: Part) -> None:
        self._numbers_into(part)
        self._arrows_to(part.key, part.values)
        self.boxes.append(Box(part.key, tuple(_lines(part)), "part", part.copies))

    def _numbers_into(self, part: Part) -> None:
        """The plain numbers in the part's rows of operands, such as an example's: one box for all that read
        the same ones."""
        rows: dict[tuple[float, ...], int] = {}
        for node in part.values:
            given = tuple([x for x in node.args if not isinstance(x, Value)])
            if given and node.op is ops.dot:
                rows[given] = rows.get(given, 0) + len(given)
        if not rows:
            return
        known = tuple(rows)
        if known not in self.inputs:
            key = self.inputs[known] = f"{part.key}.numbers"
            (first, *more), each = known, len(known[0])
            text = ", ".join(f"{x:.4g}" for x in first) if not more and each <= 3 else _count(each, "number")
            if more:
                text = f"{len(known):,} × {text}" if all(len(row) == each for row in known) else "numbers"
            self.boxes.append(Box(key, (text,), "constant"))
        self.arrows.append(Arrow(self.inputs[known], part.key, self._times(sum(rows.values()))))

    def _arrows_to(self, key: str, nodes: Sequence[Value]) -> None:
        """From every part that these nodes have operands in. One scalar edge shows its local derivative, many
        show their count."""
        here = self.part_of[nodes[0]]
        alone = here.single
        edges: dict[tuple[str, int], list[tuple[Value, int]]] = {}
        for node in nodes:
            for i, x in enumerate(node.args):
                if isinstance(x, Value) and (tail := self.part_of[x]) is not here:
                    # a Value by itself that is used twice has two arrows: x * x
                    edges.setdefault((tail.key, i if alone and tail.single else -1), []).append((node, i))
        for (tail_key, _), scalar in edges.items():
            text = self._derivative(*scalar[0]) if len(scalar) == 1 and alone else self._times(len(scalar))
            self.arrows.append(Arrow(tail_key, key, text))

    def _times(self, count: int) -> str:
        return f"×{count:,}" if count > 1 and self.edges else ""


def _grad(node: Value) -> str:
    return "-" if node.grad is UNREACHED else number(node.grad)


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _lines(part: Part) -> list[str]:
    """What a box of many says: name and activation, its numbers and gradients, and how many scalars it is."""
    outputs = part.outputs or part.values[-1:]
    kind = getattr(part.module, "activation", "") if part.values[0].op else "parameters"
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    each = len(part.values) // part.copies
    if not part.name:
        node = part.values[0]
        name, kind = node.op.symbol if node.op else node.label or "inputs", ""
    else:
        name = part.name
    lines = [f"{name} · {kind}" if kind else name]
    if len(outputs) == 1:
        lines.append(f"data {number(outputs[0].data)} · grad {_grad(outputs[0])}")
    else:
        reached = [v.grad for v in outputs if v.grad is not UNREACHED]
        lines.append(f"{len(outputs):,} × data {_range(v.data for v in outputs)}")
        lines.append(f"{len(outputs):,} × grad {_range(reached) if reached else '-'}")
    scalars = f"{part.copies:,} × {_count(each, 'scalar')}" if part.copies > 1 else _count(each, "scalar")
    if part.parameters:
        scalars = f"{_count(len(part.parameters), 'parameter')} + {scalars}"
    if part.name:
        lines.append(scalars)
    return lines


def _range(numbers: Iterable[float]) -> str:
    found = list(numbers)
    if any(x != x for x in found):
        return f"nan in {sum(x != x for x in found):,} of {len(found):,}" if len(found) > 1 else "nan"
    low, high = number(min(found)), number(max(found))
    return low if low == high else f"{low} .. {high}"
