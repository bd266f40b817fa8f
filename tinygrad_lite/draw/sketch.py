"""From Values to boxes and arrows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .. import ops
from ..engine import UNREACHED, Value
from ..notation import count_of
from ..parts import names
from .fold import Fold, Part, part_of, parts
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
    found = some_parts(root, fold, rankdir, limit, "draw_dot", "draw")
    return arranged(sketched(found, names(part_of(found)), expand, edges), rankdir)


def some_parts(root: Value, fold: Fold, rankdir: str, limit: int, asked: str, verb: str) -> list[Part]:
    """`parts(root, fold)`, after the arguments that are common to pictures are checked: TypeError for what is no
    Value, ValueError for an unknown rankdir and for more than `limit` parts. asked, verb: for the message."""
    if not isinstance(root, Value):
        what = f"a list: {verb} one of them, or their total(...)" if isinstance(root, (list, tuple)) else repr(root)
        raise TypeError(f"{asked} expects a Value, got {what}")
    if rankdir not in ("auto", "LR", "TB"):
        raise ValueError(f'rankdir is "auto", "LR" (left to right) or "TB" (top to bottom), got {rankdir!r}')
    found = parts(root, fold)
    if len(found) > limit:
        raise ValueError(
            f"this picture has {len(found):,} boxes and stays readable to about 50: draw a part of the graph (one "
            f'neuron, one example), fold it (fold="auto", or name parts of it by modules or `with scope("loss"):`), '
            f"or lift the limit with {asked}(..., limit={len(found)})"
        )
    return found


def sketched(found: Sequence[Part], names: dict[Value, str], expand: bool = False, edges: bool = True) -> Picture:
    """The parts as boxes and arrows, from left to right. A Value that is drawn as itself is a box with the
    part's key, the operation that made it one with the key + ".op"; a folded part is one box."""
    sketch = _Sketch(found, names, expand, edges)
    return Picture(tuple(sketch.boxes), tuple(sketch.arrows))


def arranged(picture: Picture, rankdir: Any) -> Picture:
    """The picture in the direction rankdir; "auto" is from left to right where that fits a page."""
    if rankdir == "auto":
        turned = picture._replace(rankdir="TB")
        across = layout(picture).width
        return picture if across <= WIDE or across <= layout(turned).width else turned
    return picture._replace(rankdir=rankdir)


class _Sketch:
    """Collects boxes and arrows."""

    def __init__(self, found: Sequence[Part], names: dict[Value, str], expand: bool, edges: bool) -> None:
        self.parts, self.expand, self.edges = found, expand, edges
        self.part_of = part_of(found)
        self.boxes: list[Box] = []
        self.arrows: list[Arrow] = []
        self.names = names
        self.inputs: dict[Any, str] = {}  # rows of numbers that parts read -> the key of their box

        for part in self.parts:
            if not part.single:
                self._box_of_many(part)
            elif part.values[0].op is None:
                self._record(part)
            elif self.expand and part.values[0].op is ops.dot and self._all_single(part.values[0]):
                self._expanded_dot(part)
            else:
                self._operation(part)

    def _all_single(self, node: Value) -> bool:
        return all(self.part_of[x].single for x in node.args if isinstance(x, Value))

    # --- one Value: its operation, and its record

    def _operation(self, part: Part) -> None:
        key, node = part.key, part.values[0]
        assert node.op is not None
        operands = self._operands(key, node)
        self.boxes.append(Box(f"{key}.op", (node.op.symbol,), "operation"))
        self._arrows_to(f"{key}.op", [node])
        for operand, x in zip(operands, node.args):
            if not isinstance(x, Value):
                self.arrows.append(Arrow(operand, f"{key}.op"))
        self.arrows.append(Arrow(f"{key}.op", key))
        self._record(part)

    def _record(self, part: Part) -> None:
        node = part.values[0]
        self.boxes.append(Box(part.key, cells(part, self.names.get(node)), "value" if node.op else "parameter"))

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

    def _expanded_dot(self, part: Part) -> None:
        """The products w * x and their sum, as many small operations; d product / d w = x, d sum = 1."""
        key, node = part.key, part.values[0]
        operands = self._operands(key, node)
        n = len(operands) // 2
        one = number(1.0) if self.edges else ""
        data = [x.data if isinstance(x, Value) else x for x in node.args]
        for i in range(n):
            times, product = f"{key}.times{i}", f"{key}.product{i}"
            self.boxes.append(Box(times, (ops.mul.symbol,), "operation"))
            for j in i, n + i:
                self.arrows.append(Arrow(operands[j], times, self._derivative(node, j)))
            shown = f"data {number(data[i] * data[n + i])}", f"grad {_number(recorded(node))}"
            self.boxes.append(Box(product, shown, "value"))
            self.arrows.append(Arrow(times, product))
            self.arrows.append(Arrow(product, f"{key}.op", one))
        self.boxes.append(Box(f"{key}.op", (ops.total.symbol,), "operation"))
        if len(operands) % 2:
            self.arrows.append(Arrow(operands[-1], f"{key}.op", one))
        self.arrows.append(Arrow(f"{key}.op", key))
        self._record(part)

    def _derivative(self, node: Value, i: int) -> str:
        dx = node.local_grads[i]
        return number(dx + 0.0) if self.edges and dx is not None else ""  # + 0.0: never -0

    # --- many Values as one box

    def _box_of_many(self, part: Part) -> None:
        self._numbers_into(part)
        self._arrows_to(part.key, part.values)
        self.boxes.append(Box(part.key, cells(part), "part", part.copies))

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
            text = ", ".join(f"{x:.4g}" for x in first) if not more and each <= 3 else count_of(each, "number")
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


# --- what a box says


Gradient = Callable[[Value], float | None]


def recorded(node: Value) -> float | None:
    """The gradient that backward has left in a Value; None where it has not come by."""
    return None if node.grad is UNREACHED else node.grad


def cells(part: Part, label: str | None = None, grad: Gradient = recorded, computed: bool = True) -> tuple[str, ...]:
    """The texts in a part's box. computed=False: before its turn in the forward pass, without numbers."""
    if not part.single:
        return tuple(_lines(part, grad, computed))
    (node,) = part.values
    data = f"data {number(node.data)}" if computed else ""
    return *([] if label is None else [label]), data, f"grad {_number(grad(node))}"


def title(part: Part) -> str:
    """What a part of many Values is called: by its module or scope, else by what it does."""
    node = part.values[0]
    return part.name or (node.op.symbol if node.op else node.label or "inputs")


def _number(grad: float | None) -> str:
    return "-" if grad is None else number(grad)


def _lines(part: Part, grad: Gradient, computed: bool) -> list[str]:
    """What a box of many says: name and activation, its numbers and gradients, and how many scalars it is."""
    outputs = part.outputs or part.values[-1:]
    kind = getattr(part.module, "activation", "") if part.values[0].op else "parameters"
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    lines = [f"{title(part)} · {kind}" if part.name and kind else title(part)]
    if len(outputs) == 1:
        lines.append(f"data {number(outputs[0].data)} · grad {_number(grad(outputs[0]))}" if computed else "")
    else:
        reached = [g for g in map(grad, outputs) if g is not None]
        lines.append(f"{len(outputs):,} × data {span(v.data for v in outputs)}" if computed else "")
        lines.append(f"{len(outputs):,} × grad {span(reached) if reached else '-'}" if computed else "")
    if part.name:
        lines.append(size(part))
    return lines


def size(part: Part) -> str:
    """How many Values a part is: 3 parameters + 100 × 2 scalars."""
    each = count_of(len(part.values) // part.copies, "scalar")
    scalars = f"{part.copies:,} × {each}" if part.copies > 1 else each
    return f"{count_of(len(part.parameters), 'parameter')} + {scalars}" if part.parameters else scalars


def span(numbers: Iterable[float]) -> str:
    """One number, or the least and the greatest of many."""
    found = list(numbers)
    if any(x != x for x in found):
        return f"nan in {sum(x != x for x in found):,} of {len(found):,}" if len(found) > 1 else "nan"
    low, high = number(min(found)), number(max(found))
    return low if low == high else f"{low} .. {high}"
