"""The engine's operators once more, in straight lines: every scalar of every training step passes here.

Nothing new is said in this file. Each function does for its usual case, plain Values and floats while no mode
is on, what `Value.record` and `Op` do for every case, and hands the others over to them. `engine.py` installs
it at its end; without this file everything works bit for bit the same, in about twice the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import mul
from typing import Any, cast

from . import modes, ops
from .op import Op

Recorder = Callable[..., Any]


def install(Value: Any, unreached: float) -> None:
    """Puts the recorders over Value's plain operators and methods. unreached: the gradient of a new node."""
    for name, op in (("add", ops.add), ("sub", ops.sub), ("mul", ops.mul), ("truediv", ops.div), ("pow", ops.power)):
        record, reflected = _binary(op, Value, unreached)
        _set(Value, f"__{name}__", record)
        _set(Value, f"__r{name}__", reflected)
    for op in ops.OPS:
        if op.arity == 1 and op.name != "round":  # which takes digits
            name = f"__{op.name}__" if op.name in ops.OPERATORS else op.name
            _set(Value, name, _unary(op, Value, unreached))


def _set(Value: Any, name: str, record: Any) -> None:
    record.__module__, record.__qualname__ = Value.__module__, f"{Value.__qualname__}.{name}"  # where a pickle finds it
    setattr(Value, name, record)


def _unary(op: Op, Value: Any, unreached: float) -> Recorder:
    (d,), value, selects, new = cast(tuple[Any], op.partials), op.value, op.selects, object.__new__
    constant, active = None if callable(d) else (d,), modes.active

    def record(x: Any) -> Any:
        if active or x.__class__ is not Value:
            return op(x)
        data = x.data
        if data.__class__ is not float:  # of x.data = np.float32(0.1); `record` converts it
            return op(x)
        node: Any = new(Value)
        node.data = out = value(data)
        node.grad = unreached
        node.label = ""
        node.op = op
        node.args = (x,)
        node.local_grads = constant or (d(out, data),)
        if selects and node.local_grads[0] == 0.0:
            node.local_grads = (None,)
        return node

    record.__name__, record.__doc__ = op.name, f"{op.name} of this Value, as a new node."
    return record


def _binary(op: Op, Value: Any, unreached: float) -> tuple[Recorder, Recorder]:
    """The two methods of an operator: for `a op b`, and for `a op b` where a is a plain number."""
    (da, db), value, new = cast(tuple[Any, Any], op.partials), op.value, object.__new__
    constant, active = None if callable(da) else (da, db), modes.active

    def record(a: Any, b: Any) -> Any:
        if active or a.__class__ is not Value:
            return op(a, b)
        x = a.data
        try:
            if b.__class__ is Value:
                y = b.data
            elif b.__class__ is float or b.__class__ is int:
                y = b = float(b)
            else:
                return op(a, b)
            out = value(x, y)
        except (TypeError, OverflowError):  # of x.data = "1.5", of 10**400, which `record` refuses
            out = None
        if out.__class__ is not float:
            return op(a, b)
        node: Any = new(Value)
        node.data = out
        node.grad = unreached
        node.label = ""
        node.op = op
        node.args = (a, b)
        if y is b:  # a plain number
            node.local_grads = (da if constant else da(out, x, y), None)
        else:
            node.local_grads = constant or (da(out, x, y), db(out, x, y))
        return node

    def reflected(b: Any, a: Any) -> Any:
        if active or b.__class__ is not Value or not (a.__class__ is float or a.__class__ is int):
            return op(a, b)
        y = b.data
        try:
            x = float(a)
            out = value(x, y)
        except (TypeError, OverflowError):
            out = None
        if out.__class__ is not float:
            return op(a, b)
        node: Any = new(Value)
        node.data = out
        node.grad = unreached
        node.label = ""
        node.op = op
        node.args = (x, b)
        node.local_grads = (None, db if constant else db(out, x, y))
        return node

    record.__name__ = reflected.__name__ = op.name
    return record, reflected


def affine_of(Value: Any, unreached: float) -> Callable[..., list[Any]]:
    """`engine.affine` with the inputs read once for all rows."""
    active, dot, new = modes.active, ops.dot, object.__new__

    def affine(rows: Sequence[Sequence[Any]], xs: Sequence[Any], starts: Sequence[Any]) -> list[Any]:
        xs = tuple(xs)
        data = tuple([x.data for x in xs if x.__class__ is Value])
        no_path: tuple[None, ...] = ()
        if len(data) != len(xs):
            data, no_path = xs, (None,) * len(xs)  # plain numbers, as a first layer's inputs are
        usual = not active and (not no_path or set(map(type, xs)) == {float})
        nodes: list[Any] = []
        n = len(xs)
        for row, start in zip(rows, starts):
            weights = [w.data for w in row if w.__class__ is Value]
            if not usual or start.__class__ is not Value or not len(weights) == len(row) == n:
                nodes.append(dot(row, xs, start))
                continue
            s = start.data
            try:
                for product in map(mul, weights, data):
                    s = s + product  # not +=, which would write into a bias that is an array
            except TypeError:
                s = None
            if s.__class__ is not float:
                nodes.append(dot(row, xs, start))
                continue
            node = new(Value)
            node.data = s
            node.grad = unreached
            node.label = ""
            node.op = dot
            node.args = (*row, *xs, start)
            node.local_grads = (*data, *(no_path or weights), 1.0)
            nodes.append(node)
        return nodes

    return affine
