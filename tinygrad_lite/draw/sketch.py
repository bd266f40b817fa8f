"""From parts of a graph to boxes and arrows, still without names."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..engine import Value
from ..notation import count_of, decimals, digits
from .fold import Part, part_of
from .labels import numbers, recorded
from .picture import Arrow, Box, Cell, Picture, Role

NEXT = "next step"  # of a repetition: on the arrows that lead back to its beginning


def sketched(parts: Sequence[Part], expand: bool = False, edges: bool = True) -> Picture:
    """The parts as boxes and arrows, from left to right, with empty boxes for what is still to be named.

    A Value that is drawn as itself is a box with the part's key, the operation that made it one with the key +
    ".op"; a folded part is one box. expand: draw a `dot` as its products and sum. edges: write on the arrows.
    """
    sketch = _Sketch(parts, edges)
    for part in parts:
        if not part.single:
            sketch.fold(part)
        elif part.values[0].op is None:
            sketch.record(part)
        elif expand and part.values[0].op is ops.dot and sketch.can_expand(part.values[0]):
            sketch.expanded_dot(part)
        else:
            sketch.operation(part)
    return Picture(tuple(sketch.boxes), tuple(sketch.arrows))


def within(picture: Picture, limit: int, asked: str) -> Picture:
    """The picture, if it has no more than `limit` boxes, else ValueError. asked: for the message."""
    if (count := len(picture.boxes)) > limit:
        raise ValueError(
            f"this picture has {count:,} boxes and stays readable to about 50: draw a part of the graph (one neuron, "
            f'one example), leave the folding to fold="auto", which ends in about 50, or lift the limit with '
            f"{asked}(..., limit={count})"
        )
    return picture


class _Sketch:
    """Collects boxes and arrows."""

    def __init__(self, parts: Sequence[Part], edges: bool) -> None:
        self.part_of, self.edges = part_of(parts), edges
        self.place = {part.key: i for i, part in enumerate(parts)}
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.inputs: dict[
            tuple[tuple[float, ...], ...], str
        ] = {}  # rows of numbers that parts read -> key of their box

    def small_box(self, key: str, text: str, role: Role) -> None:
        self.boxes.append(Box(key, (Cell(text, role),), "operation" if role == "symbol" else "constant"))

    # --- one Value: its operation, and its record

    def operation(self, part: Part) -> None:
        key, node = part.key, part.values[0]
        assert node.op is not None
        operands = self.operands(key, node)
        self.small_box(f"{key}.op", node.op.symbol, "symbol")
        self.arrows_to(f"{key}.op", [node])
        for operand, x in zip(operands, node.args):
            if not isinstance(x, Value):
                self.arrows.append(Arrow(operand, f"{key}.op"))
        self.arrows.append(Arrow(f"{key}.op", key))
        self.record(part)

    def record(self, part: Part) -> None:
        self.boxes.append(Box(part.key, (), "value" if part.values[0].op else "parameter"))

    def operands(self, key: str, node: Value) -> list[str]:
        """The keys of the operands; a plain number gets a small box of its own."""
        found = []
        for i, x in enumerate(node.args):
            if isinstance(x, Value):
                found.append(self.part_of[x].key)
            else:
                found.append(f"{key}.{i}")
                self.small_box(f"{key}.{i}", digits(x), "constant")
        return found

    def can_expand(self, node: Value) -> bool:
        return all(self.part_of[x].single for x in node.args if isinstance(x, Value))

    def expanded_dot(self, part: Part) -> None:
        """The products w * x and their sum, as many small operations; d product / d w = x, d sum = 1."""
        key, node = part.key, part.values[0]
        operands = self.operands(key, node)
        n = len(operands) // 2
        one = decimals(1.0) if self.edges else ""
        data = [x.data if isinstance(x, Value) else x for x in node.args]
        for i in range(n):
            times, product = f"{key}.times{i}", f"{key}.product{i}"
            self.small_box(times, ops.mul.symbol, "symbol")
            for j in i, n + i:
                self.arrows.append(Arrow(operands[j], times, self.derivative(node, j)))
            self.boxes.append(Box(product, numbers(data[i] * data[n + i], recorded(node)), "value"))
            self.arrows.append(Arrow(times, product))
            self.arrows.append(Arrow(product, f"{key}.op", one))
        self.small_box(f"{key}.op", ops.total.symbol, "symbol")
        if len(operands) % 2:
            self.arrows.append(Arrow(operands[-1], f"{key}.op", one))
        self.arrows.append(Arrow(f"{key}.op", key))
        self.record(part)

    def derivative(self, node: Value, i: int) -> str:
        dx = node.local_grads[i]
        return decimals(dx + 0.0) if self.edges and dx is not None else ""  # + 0.0: never -0

    # --- many Values as one box

    def fold(self, part: Part) -> None:
        self.numbers_into(part)
        self.arrows_to(part.key, part.values)
        self.boxes.append(Box(part.key, (), "part", part.copies))
        each = len(part.values) // part.copies
        copy = {v: i // each for i, v in enumerate(part.values)}
        between = [x for v in part.values for x in v.args if x in copy and copy[x] != copy[v]]
        if between:
            self.small_box(f"{part.key}.next", NEXT, "constant")
            self.arrows.append(Arrow(part.key, f"{part.key}.next", self.times(len(between))))
            self.arrows.append(Arrow(f"{part.key}.next", part.key))

    def numbers_into(self, part: Part) -> None:
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
            text = ", ".join([digits(x, 4) for x in first]) if not more and each <= 3 else count_of(each, "number")
            if more:
                text = f"{len(known):,} × {text}" if all(len(row) == each for row in known) else "numbers"
            self.small_box(key, text, "constant")
        self.arrows.append(Arrow(self.inputs[known], part.key, self.times(sum(rows.values()))))

    def arrows_to(self, key: str, nodes: Sequence[Value]) -> None:
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
            text = self.derivative(*scalar[0]) if len(scalar) == 1 and alone else self.times(len(scalar))
            if self.edges and self.place[tail_key] > self.place[here.key]:
                text = f"{NEXT} {text}".rstrip()
            self.arrows.append(Arrow(tail_key, key, text))

    def times(self, count: int) -> str:
        return f"×{count:,}" if count > 1 and self.edges else ""
