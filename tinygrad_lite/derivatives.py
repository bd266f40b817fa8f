"""Gradients as graphs: the chain rule once more, with Values for numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from . import ops
from .engine import Number, Value, topological_order

Sent: TypeAlias = tuple[Number, Number, Number]  # what a user sends: upstream, local derivative, condition

# In `local_grads` of a placeholder: whether this operand is selected depends on the example.
SELECTED_LATER = float("nan")


def gradients(order: Sequence[Value], instead: Mapping[Value, float] | None = None) -> dict[Value, float]:
    """d root / d node for every node of order that a gradient reaches, bit for bit as `root.backward()` adds
    them up from zero; nothing in the graph changes.

    Parameters
    ----------
    order : the nodes of a graph, as of `topological_order`.
    instead : numbers that nodes pass on in place of what arrived.
    """
    instead = instead or {}
    arrived = {order[-1]: 1.0}
    for node in reversed(order):
        if node in arrived:
            upstream = instead.get(node, arrived[node])
            for x, dx in zip(node.args, node.local_grads):
                if dx is not None:
                    arrived[x] = arrived.get(x, 0.0) + dx * upstream
    return arrived


def grad(out: Value, wrt: Iterable[Value]) -> list[Value]:
    """d out / d x for each x of wrt, as new graph nodes: differentiate, draw or compile them.

    RuntimeError where .data was changed since the forward pass.

    >>> x = Value(3.0)
    >>> (first,) = grad(x ** 3, [x])
    >>> (second,) = grad(first, [x])
    >>> first.data, second.data
    (27.0, 18.0)
    """
    if not isinstance(out, Value):
        raise TypeError(f"grad expects a Value to differentiate, got {out!r}")
    if isinstance(wrt, Value):
        raise TypeError("grad expects a list of Values: write grad(out, [x])")
    wrt = list(wrt)
    for x in wrt:
        if not isinstance(x, Value):
            raise TypeError(f"grad differentiates with respect to Values, got {x!r} in the list")
    return adjoints(out, wrt)


def hessian(out: Value, wrt: Iterable[Value]) -> list[list[Value]]:
    """Row i, column j: d^2 out / d wrt[i] d wrt[j], as graph nodes.

    >>> x, y = Value(2.0), Value(3.0)
    >>> [[h.data for h in row] for row in hessian(x * x * y, [x, y])]
    [[6.0, 4.0], [4.0, 0.0]]
    """
    wrt = wrt if isinstance(wrt, Value) else list(wrt)
    return jacobian(grad(out, wrt), wrt)


def jacobian(outs: Iterable[Value], wrt: Iterable[Value]) -> list[list[Value]]:
    """Row i, column j: d outs[i] / d wrt[j], as graph nodes.

    >>> x, y = Value(2.0), Value(3.0)
    >>> [[d.data for d in row] for row in jacobian([x * y, x + y], [x, y])]
    [[3.0, 2.0], [1.0, 1.0]]
    """
    if isinstance(outs, Value):
        raise TypeError("jacobian expects a list of Values to differentiate: write jacobian([out], wrt)")
    wrt = wrt if isinstance(wrt, Value) else list(wrt)
    return [grad(out, wrt) for out in outs]


def hvp(out: Value, wrt: Iterable[Value], vector: Sequence[Number]) -> list[Value]:
    """The Hessian of out times a vector, without the Hessian: d/dwrt of (gradient . vector) (Pearlmutter 1994).

    >>> x, y = Value(2.0), Value(3.0)
    >>> [h.data for h in hvp(x * x * y, [x, y], [1.0, 0.5])]
    [8.0, 4.0]
    """
    wrt = wrt if isinstance(wrt, Value) else list(wrt)
    gradient = grad(out, wrt)
    if isinstance(vector, str) or not hasattr(vector, "__len__"):
        raise TypeError(f"hvp expects the vector as a list of numbers, got {vector!r}")
    if len(vector) != len(gradient):
        raise ValueError(f"hvp expects one number of the vector for each of {len(gradient)} Values, got {len(vector)}")
    return grad(ops.dot(gradient, vector), wrt)


def adjoints(out: Value, wrt: Sequence[Value], masked: bool = True) -> list[Value]:
    """`grad` without its checks. masked=False: of placeholders, trusts that 0 x local is 0, which holds
    unless a local derivative is not finite."""
    order = topological_order(out)
    needed: set[Number] = set(wrt)  # the nodes on a path from wrt to out
    for node in order:
        if not needed.isdisjoint(node.args):
            needed.add(node)
    adjoint: dict[Value, Number] = {out: 1.0}
    # Where a selection differs from example to example (relu, where, max while recording), a gradient of 0 that was
    # not sent and one of 0 that was sent must be told apart: the second, times an infinite local derivative further
    # down, is nan, the first is nothing. So beside its adjoint every node carries the condition under which any
    # gradient reaches it; it is True, and vanishes, wherever nothing was selected on the way.
    reach: dict[Value, Number] = {out: True}
    sent: dict[Value, list[Sent]] = {}
    for node in reversed(order):
        if node in sent:
            adjoint[node], reach[node] = _gather(sent.pop(node))
        if node not in adjoint or node.op is None:
            continue
        node.check_unchanged()
        wanted = [dx is not None and x in needed for x, dx in zip(node.args, node.local_grads)]
        locals_ = node.op.local_grads(node, node.args, wanted)
        for x, dx, known in zip(node.args, locals_, node.local_grads):
            if dx is not None:
                condition = reach[node]
                if masked and known is SELECTED_LATER:  # sent where the node is reached and this operand was chosen
                    condition = _where(condition, dx, 0.0)
                sent.setdefault(x, []).append((adjoint[node], dx, condition))
    found = [adjoint.get(x, 0.0) for x in wrt]
    return [g if isinstance(g, Value) else Value(g) for g in found]


def _gather(sent: list[Sent]) -> tuple[Number, Number]:
    """The sum over users of upstream x local, one node however many they are; and where it is sent."""
    if all(condition is True for _, _, condition in sent):
        if len(sent) == 1:
            return _times(*sent[0][:2]), True
        upstreams, locals_ = [g for g, _, _ in sent], [dx for _, dx, _ in sent]
        if all(dx.__class__ is float and dx == 1.0 for dx in locals_):
            return ops.total(upstreams), True
        return ops.dot(upstreams, locals_), True
    terms: list[Number] = []
    reach: Number = 0.0
    for g, dx, condition in sent:
        terms.append(_where(condition, _times(g, dx), 0.0))  # the product only where it is sent: 0 x inf is nan
        reach = reach is True or _where(condition, True, reach)  # reached by any of the users
    return (terms[0] if len(terms) == 1 else ops.total(terms)), reach


def _where(condition: Number, this: Number, other: Number) -> Number:
    """`ops.where`, without a node where the condition is known."""
    return this if condition is True else ops.where(condition, this, other)


def _times(g: Number, dx: Number) -> Number:
    if dx.__class__ is float and dx == 1.0:
        return g
    if g.__class__ is float and g == 1.0:
        return dx
    recorder = g if isinstance(g, Value) else dx
    return recorder.record(ops.mul, (g, dx)) if isinstance(recorder, Value) else g * dx
