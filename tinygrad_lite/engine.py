"""The engine: numbers that remember how they were made, and the chain rule walked backwards.

A `Value` is one node of a computation graph. It is made by an operation of the table in `ops.py`,
keeps its operands and the derivative of itself with respect to each of them, and `backward` walks
the graph once, users before operands, adding up  upstream gradient x local derivative.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, SupportsFloat

from . import mistakes, modes, ops
from .copies import reduced
from .methods import Methods
from .modes import Call, Scope, anomaly, anomaly_active, current_scope, no_grad, no_grad_active, recording, scope
from .op import Op, as_float
from .protocols import Protocols, number_of, refuse_arguments

__all__ = [
    "UNREACHED", "Call", "Number", "Scope", "Value", "affine", "anomaly", "anomaly_active", "current_scope", "no_grad",
    "no_grad_active", "recording", "scope", "topological_order",
]  # fmt: skip

# The gradient of a node that no backward has reached. It is 0.0; `is UNREACHED` tells it from a
# gradient that was computed and came out as 0.0, which matters to whoever looks at the graph.
UNREACHED = float("0")
_serials = count()


class Value(Methods, Protocols):
    """One real number in a computation graph.

    data         the number, a float. label: its name in pictures and messages.
    grad         d root / d self after `root.backward()`; 0.0 until then.
    op, args     the operation that made it (None for a leaf) and its operands, Values or floats.
    local_grads  d self / d operand, floats as of the time of recording, aligned with args; None where
                 nothing flows (a plain number, or an operand that was not selected).

    >>> a, b = Value(2.0, label="a"), Value(-3.0)
    >>> loss = (a * b + 10) ** 2
    >>> loss.backward()
    >>> loss.data, a.grad, b.grad
    (16.0, -24.0, 16.0)
    """

    # set only where there is something to say: `line` under `anomaly`, `scope` and `call` for pictures, `before`,
    # the gradient from which a leaf's adding up began (None: nothing was added), for `Optimizer.step`, and `serial`,
    # the order in which leaves were made, for sets of parameters
    __slots__ = (
        "__weakref__", "args", "before", "call", "data", "grad", "label", "line", "local_grads", "op", "scope",
        "serial",
    )  # fmt: skip
    data: float
    grad: float
    label: str
    op: Op | None
    args: tuple[Any, ...]
    local_grads: tuple[float | None, ...]
    line: str
    scope: Scope
    call: Call
    before: float | None
    serial: int

    def __init__(self, data: SupportsFloat, label: str = "", *children: object, **micrograds: object) -> None:
        if children or micrograds or not isinstance(label, str):
            refuse_arguments(label, children, micrograds)
        self.data = as_float(data)
        self.grad = UNREACHED
        self.label = label
        self.op = None
        self.args = ()
        self.local_grads = ()
        self.serial = next(_serials)

    # --- forward: every operation makes a node

    @classmethod
    def record(cls, op: Op, operands: Sequence[Any]) -> Value:
        """A new node: op applied to operands, of which at least one is a Value."""
        if modes.here.recording:
            return modes.here.recording.record(op, operands)
        args, wanted = tuple(operands), None
        data = [x.data for x in operands if x.__class__ is cls]
        if len(data) != len(operands):
            for x in operands:
                if x.__class__ is not cls and isinstance(x, cls):  # more derived: its class decides
                    return x.record(op, operands)
            wanted = [isinstance(x, Value) for x in operands]
            args = tuple([x if is_value else as_float(x) for x, is_value in zip(operands, wanted)])
            data = [x.data if is_value else x for x, is_value in zip(args, wanted)]
        if set(map(type, data)) != {float}:  # x.data = np.float32(0.1)
            data = [number_of(x) for x in operands]
        node = object.__new__(cls)
        out = op.value(*data)
        node.data = out = out if out.__class__ is float else op.number(out)
        node.grad = UNREACHED
        node.label = ""
        node.op = op
        node.args = args
        node.local_grads = op.local_grads(out, data, wanted)
        if modes.active:
            modes.apply(node)
        return node

    def __add__(self, other: Number) -> Value:
        return ops.add(self, other)

    def __radd__(self, other: Number) -> Value:
        return ops.add(other, self)

    def __sub__(self, other: Number) -> Value:
        return ops.sub(self, other)

    def __rsub__(self, other: Number) -> Value:
        return ops.sub(other, self)

    def __mul__(self, other: Number) -> Value:
        return ops.mul(self, other)

    def __rmul__(self, other: Number) -> Value:
        return ops.mul(other, self)

    def __truediv__(self, other: Number) -> Value:
        return ops.div(self, other)

    def __rtruediv__(self, other: Number) -> Value:
        return ops.div(other, self)

    def __pow__(self, other: Number) -> Value:
        return ops.power(self, other)

    def __rpow__(self, other: Number) -> Value:
        return ops.power(other, self)

    def __mod__(self, other: Number) -> Value:
        return ops.mod(self, other)

    def __rmod__(self, other: Number) -> Value:
        return ops.mod(other, self)

    def __floordiv__(self, other: Number) -> Value:
        return ops.floor_div(self, other)

    def __rfloordiv__(self, other: Number) -> Value:
        return ops.floor_div(other, self)

    def __neg__(self) -> Value:
        return ops.neg(self)

    def __abs__(self) -> Value:
        return ops.abs_(self)

    def __iadd__(self, other: Number) -> Value:
        mistakes.look_for_an_update(self, other)
        return self + other

    def __isub__(self, other: Number) -> Value:
        mistakes.look_for_an_update(self, other)
        return self - other

    # --- backward: the chain rule

    def backward(self) -> None:
        """Adds d self / d leaf to the grad of every leaf; gradients between belong to this pass.

        Topological order: a node passes its gradient on when all its users have passed theirs.
        TrainingWarning where this is not the first pass, and .data was changed since the forward pass.
        """
        order = topological_order(self)
        if self.grad is not UNREACHED:
            mistakes.look_for_an_old_graph(self, order)
        for node in order:
            if node.args:
                node.grad = UNREACHED
            else:
                mistakes.note_leaf(node)
        modes.check_backward(order)
        self.grad = 1.0 if self.args else self.grad + 1.0
        for node in reversed(order):
            upstream = node.grad
            if upstream is not UNREACHED:
                for x, dx in zip(node.args, node.local_grads):
                    if dx is not None:
                        x.grad += dx * upstream
        mistakes.note_pass(self)

    def zero_grad(self) -> None:
        """Forget the gradient: 0.0, as before any backward pass."""
        self.grad = UNREACHED
        self.before = None

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return reduced(self, UNREACHED)


Number = Value | float  # what an operand may be; a float stands for any real number


def topological_order(root: Value) -> list[Value]:
    """Every node that root is made from, operands before users, root last; the same order each time."""
    order: list[Value] = []
    seen = {root}
    path, operands = [root], [iter(root.args)]  # explicit: a 1,000-term sum exceeds the recursion limit
    while path:
        for x in operands[-1]:
            if x not in seen and x.__class__ is not float:
                seen.add(x)
                if seen.issuperset(x.args):  # all in order already, as for every leaf
                    order.append(x)
                else:
                    path.append(x)
                    operands.append(iter(x.args))
                    break
        else:
            order.append(path.pop())
            operands.pop()
    return order


def affine(rows: Sequence[Sequence[Value]], xs: Sequence[Number], starts: Sequence[Value]) -> list[Value]:
    """A layer's W x + b: one dot for each row. rows: m lists of n operands. xs: n. starts: m. Returns m."""
    return [ops.dot(row, xs, start) for row, start in zip(rows, starts)]


try:  # the same in straight lines, as CPython's heapq does it: without that file nothing changes but the time
    from . import fast
except ImportError:
    pass
else:
    fast.install(Value, UNREACHED)
    affine = fast.affine_of(Value, UNREACHED)
