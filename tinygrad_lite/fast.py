"""The engine's operators once more, in straight lines: every scalar of every training step passes here.

Nothing new is said in this file. Each function does for its usual case, plain Values and floats while no mode
is on, what `Value.record` and `Op` do for every case, and hands the others over to them. `engine.py` installs
it at its end; without this file everything works bit for bit the same, in about twice the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import mul
from typing import TYPE_CHECKING, TypeAlias, cast

from . import modes, ops
from .op import Op

if TYPE_CHECKING:
    from .engine import Number, Value

Unary: TypeAlias = "Callable[[Value], Number]"
Binary: TypeAlias = "Callable[[Value, Number], Number]"
Slope: TypeAlias = Callable[..., float]  # a partial of floats; one that is a number is used as a `constant` only


def install(cls: type[Value], unreached: float) -> None:
    """Puts the recorders over the plain operators and methods of a Value class. unreached: a new node's gradient."""
    for name, op in (("add", ops.add), ("sub", ops.sub), ("mul", ops.mul), ("truediv", ops.div), ("pow", ops.power)):
        _set(cls, f"__{name}__", _binary(op, cls, unreached))
        _set(cls, f"__r{name}__", _reflected(op, cls, unreached))
    for op in ops.OPS:
        if op.arity == 1 and op.name != "round":  # which takes digits
            name = f"__{op.name}__" if op.name in ops.OPERATORS else op.name
            _set(cls, name, _unary(op, cls, unreached))


def _set(cls: type[Value], name: str, record: Unary | Binary) -> None:
    record.__module__, record.__qualname__ = cls.__module__, f"{cls.__qualname__}.{name}"  # where a pickle finds it
    setattr(cls, name, record)


def _unary(op: Op, cls: type[Value], unreached: float) -> Unary:
    (d,), value, selects, new = cast(tuple[Slope], op.partials), op.value, op.selects, object.__new__
    constant, active = None if callable(d) else (d,), modes.active

    def record(x: Value) -> Number:
        if active or x.__class__ is not cls:
            return op(x)
        data = x.data
        if data.__class__ is not float:  # of x.data = np.float32(0.1); `record` converts it
            return op(x)
        node = new(cls)
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


def _binary(op: Op, cls: type[Value], unreached: float) -> Binary:
    """The method of an operator, `a op b`."""
    (da, db), value, new = cast(tuple[Slope, Slope], op.partials), op.value, object.__new__
    constant, active = None if callable(da) else (da, db), modes.active

    def record(a: Value, b: Number) -> Number:
        if active or a.__class__ is not cls:
            return op(a, b)
        x = a.data
        try:
            if b.__class__ is cls:
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
        node = new(cls)
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

    record.__name__ = op.name
    return record


def _reflected(op: Op, cls: type[Value], unreached: float) -> Binary:
    """The reflected method of an operator, `a op b` where a is a plain number."""
    (_, db), value, new = cast(tuple[Slope, Slope], op.partials), op.value, object.__new__
    constant, active = None if callable(db) else (None, db), modes.active

    def record(b: Value, a: Number) -> Number:
        if active or b.__class__ is not cls or not (a.__class__ is float or a.__class__ is int):
            return op(a, b)
        y = b.data
        try:
            x = float(a)
            out = value(x, y)
        except (TypeError, OverflowError):
            out = None
        if out.__class__ is not float:
            return op(a, b)
        node = new(cls)
        node.data = out
        node.grad = unreached
        node.label = ""
        node.op = op
        node.args = (x, b)
        node.local_grads = constant or (None, db(out, x, y))
        return node

    record.__name__ = op.name
    return record


def affine_of(cls: type[Value], unreached: float) -> Callable[..., list[Value]]:
    """`engine.affine` with the inputs read once for all rows."""
    active, dot, new = modes.active, ops.dot, object.__new__

    def affine(rows: Sequence[Sequence[Value]], xs: Sequence[Number], starts: Sequence[Value]) -> list[Value]:
        xs = tuple(xs)
        n = len(xs)
        data = tuple([x.data for x in xs if x.__class__ is cls])
        no_path: tuple[None, ...] = ()
        if len(data) != n:
            data, no_path = tuple([x for x in xs if x.__class__ is float]), (None,) * n  # as a first layer's inputs are
        usual = not active and len(data) == n
        nodes: list[Value] = []
        for row, start in zip(rows, starts):
            weights = [w.data for w in row if w.__class__ is cls]
            if not usual or start.__class__ is not cls or not len(weights) == len(row) == n:
                nodes.append(dot(row, xs, start))
                continue
            s: float | None = start.data
            try:
                for product in map(mul, weights, data):
                    s = s + product  # not +=, which would write into a bias that is an array
            except TypeError:
                s = None
            if s.__class__ is not float:
                nodes.append(dot(row, xs, start))
                continue
            node = new(cls)
            node.data = s
            node.grad = unreached
            node.label = ""
            node.op = dot
            node.args = (*row, *xs, start)
            node.local_grads = (*data, *(no_path or weights), 1.0)
            nodes.append(node)
        return nodes

    return affine
