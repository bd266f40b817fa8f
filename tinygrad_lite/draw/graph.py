"""From Values to boxes and arrows."""

from __future__ import annotations

from typing import Any

from .. import ops
from ..engine import UNREACHED, Value, topological_order
from .picture import Arrow, Box, Picture


def number(x: float) -> str:
    """Four decimals, or four digits with an exponent where decimals would say little."""
    if x == 0.0 or 1e-3 <= abs(x) < 1e5 or x != x or x in (ops.inf, -ops.inf):
        return f"{x:.4f}"
    return f"{x:.3e}"


def picture(root: Value, rankdir: Any, expand: bool, edges: bool, limit: int) -> Picture:
    """Every node below root, operands before users. ValueError where there are more than `limit`."""
    order = topological_order(root)
    if len(order) > limit:
        raise ValueError(
            f"this graph has {len(order):,} nodes and a picture stays readable to about 50: draw a part of "
            f"it (one neuron, one example), or lift the limit with draw_dot(..., limit={len(order)})"
        )
    boxes: list[Box] = []
    arrows: list[Arrow] = []
    keys = {node: f"v{i}" for i, node in enumerate(order)}
    for node in order:
        key = keys[node]
        if node.op is not None:
            operands = _operands(node, key, keys, boxes)
            if expand and node.op is ops.dot:
                _expanded_dot(node, key, operands, boxes, arrows, edges)
            else:
                boxes.append(Box(f"{key}.op", (node.op.symbol,), "operation"))
                for operand, dx in zip(operands, node.local_grads):
                    arrows.append(Arrow(operand, f"{key}.op", _derivative(dx) if edges else ""))
            arrows.append(Arrow(f"{key}.op", key))
        boxes.append(_record(node, key))
    return Picture(tuple(boxes), tuple(arrows), rankdir)


def _record(node: Value, key: str) -> Box:
    grad = "-" if node.grad is UNREACHED else number(node.grad)
    label = (node.label,) if node.label else ()
    return Box(key, (*label, f"data {number(node.data)}", f"grad {grad}"), "value" if node.op else "parameter")


def _operands(node: Value, key: str, keys: dict[Value, str], boxes: list[Box]) -> list[str]:
    """The keys of the operands; a plain number gets a small box of its own."""
    found = []
    for i, x in enumerate(node.args):
        if isinstance(x, Value):
            found.append(keys[x])
        else:
            found.append(f"{key}.{i}")
            boxes.append(Box(f"{key}.{i}", (f"{x:g}",), "constant"))
    return found


def _expanded_dot(
    node: Value, key: str, operands: list[str], boxes: list[Box], arrows: list[Arrow], edges: bool
) -> None:
    """The products w * x and their sum, as many small operations; d product / d w = x, d sum = 1."""
    n = len(operands) // 2
    one = _derivative(1.0) if edges else ""
    data = [x.data if isinstance(x, Value) else x for x in node.args]
    for i in range(n):
        times, product = f"{key}.times{i}", f"{key}.product{i}"
        boxes.append(Box(times, (ops.mul.symbol,), "operation"))
        for j in i, n + i:
            arrows.append(Arrow(operands[j], times, _derivative(node.local_grads[j]) if edges else ""))
        grad = "-" if node.grad is UNREACHED else number(node.grad)
        boxes.append(Box(product, (f"data {number(data[i] * data[n + i])}", f"grad {grad}"), "value"))
        arrows.append(Arrow(times, product))
        arrows.append(Arrow(product, f"{key}.op", one))
    boxes.append(Box(f"{key}.op", (ops.total.symbol,), "operation"))
    if len(operands) % 2:
        arrows.append(Arrow(operands[-1], f"{key}.op", one))


def _derivative(dx: float | None) -> str:
    return "" if dx is None else number(dx)
