"""What stands in the boxes: names, numbers, gradients."""

from __future__ import annotations

from collections.abc import Callable

from .. import ops
from ..engine import UNREACHED, Value
from ..notation import count_of, decimals, span
from ..parts import Names
from .fold import Part
from .picture import Cell

Gradient = Callable[[Value], float | None]


def recorded(node: Value) -> float | None:
    """The gradient that backward has left in a Value; None where it has not reached it."""
    return None if node.grad is UNREACHED else node.grad


def cells(part: Part, names: Names, grad: Gradient = recorded, computed: bool = True) -> tuple[Cell, ...]:
    """The cells of a part's box. computed=False: before its turn in the forward pass, without numbers."""
    if not part.single:
        return _lines(part, names, grad, computed)
    (node,) = part.values
    data, gradient = numbers(node.data, grad(node))
    return _name(node, names), data if computed else Cell("", "data"), gradient


def _name(node: Value, names: Names) -> Cell:
    """What a Value is called; faint where nobody named it, with the full path of a parameter behind a short one."""
    if node not in names.path:
        return Cell(names.text[node], "name")
    return Cell(names.text[node], "label", about="" if node.label else names.path[node])


def numbers(data: float, grad: float | None) -> tuple[Cell, Cell]:
    """A number and its gradient, None where there is none."""
    return Cell(f"data {decimals(data)}", "data"), Cell(f"grad {'-' if grad is None else decimals(grad)}", "grad")


def title(part: Part) -> str:
    """What a part of many Values is called: by its module or scope, else by what it does."""
    node = part.values[0]
    if part.chain and part.chain.op:
        count = sum(isinstance(x, Value) or x != 0.0 for _, x in part.chain.operands)  # sum(xs) starts with 0
        if count > 1:
            return f"{'product' if part.chain.op is ops.mul else part.chain.op.symbol} of {count:,}"
    if part.name or not node.op:
        return part.name or (node.label if len(part.values) == 1 else "inputs")
    return node._op if all(v._op == node._op for v in part.values) else node.op.symbol


def size(part: Part) -> str:
    """How many Values a part is: 3 parameters + 100 × 2 scalars."""
    return f"{count_of(len(part.parameters), 'parameter')} + {scalars(part)}" if part.parameters else scalars(part)


def scalars(part: Part) -> str:
    """How many Values a part computes: 100 × 2 scalars."""
    each = count_of(len(part.values) // part.copies, "scalar")
    return f"{part.copies:,} × {each}" if part.copies > 1 else each


def _lines(part: Part, names: Names, grad: Gradient, computed: bool) -> tuple[Cell, ...]:
    """What a box of many says: name and activation, its numbers and gradients, and how many Values it is."""
    outputs = part.outputs or part.values[-1:]
    kind = getattr(part.module, "activation", "") if part.values[0].op else "parameters"
    kind = kind if isinstance(kind, str) else getattr(kind, "__name__", "")
    head = Cell(f"{title(part)} · {kind}" if part.name and kind else title(part), "title")
    tail = (Cell(size(part), "size"),) if part.name else ()
    if len(outputs) == 1:
        number, gradient = numbers(outputs[0].data, grad(outputs[0]))
        one = number._replace(more=(gradient,))
        if not part.name and part.copies == 1:
            one = _name(outputs[0], names)._replace(more=(number, gradient))
        return head, one if computed else one._replace(text="", more=()), *tail
    reached = [g for g in map(grad, outputs) if g is not None]
    data = f"{len(outputs):,} × data {span(v.data for v in outputs)}"
    gradients = f"{len(outputs):,} × grad {span(reached) if reached else '-'}"
    return head, Cell(data if computed else "", "data"), Cell(gradients if computed else "", "grad"), *tail
