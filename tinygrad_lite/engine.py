"""The engine: numbers that remember how they were made, and the chain rule walked backwards.

A `Value` is one node of a computation graph. It is made by an operation of the table in `ops.py`,
keeps its operands and the derivative of itself with respect to each of them, and `backward` walks
the graph once, users before operands, adding up  upstream gradient x local derivative.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import mul
from typing import Any, cast

from . import ops
from .mistakes import user_line, warn
from .ops import Op, as_float

# The gradient of a node that no backward has reached. It is 0.0; `is UNREACHED` tells it from a
# gradient that was computed and came out as 0.0, which matters to whoever looks at the graph.
UNREACHED = float("0")

# --- recording: the table's records bound to the operators of Value, in straight lines because every
# scalar of every training step passes here. `Value.record` says the same for any operation.


def _unary(op: Op) -> Callable[[Value], Value]:
    (d,), value, selects, new = cast(tuple[Any], op.partials), op.value, op.selects, object.__new__
    constant = None if callable(d) else (d,)

    def record(x: Value) -> Value:
        if _modes or x.__class__ is not Value:
            return cast(Value, op(x))
        node = new(Value)
        node.data = out = value(x.data)
        node.grad = UNREACHED
        node.label = ""
        node.op = op
        node.args = (x,)
        node.local_grads = constant or (d(out, x.data),)
        if selects and node.local_grads[0] == 0.0:
            node.local_grads = (None,)
        return node

    record.__name__, record.__doc__ = op.name, f"{op.name} of this Value, as a new node."
    return record


def _binary(op: Op) -> tuple[Callable[[Value, Any], Value], Callable[[Value, Any], Value]]:
    """The two methods of an operator: for `a op b`, and for `a op b` where a is a plain number."""
    (da, db), value, new = cast(tuple[Any, Any], op.partials), op.value, object.__new__
    constant = None if callable(da) else (da, db)

    def record(a: Value, b: Any) -> Value:
        if _modes or a.__class__ is not Value:
            return cast(Value, op(a, b))
        if b.__class__ is Value:
            x, y = a.data, b.data
            out = value(x, y)
            local = constant or (da(out, x, y), db(out, x, y))
        elif b.__class__ is float or b.__class__ is int:
            x, y = a.data, float(b)
            b = y
            out = value(x, y)
            local = (da if constant else da(out, x, y), None)
        else:
            return cast(Value, op(a, b))
        node = new(Value)
        node.data = out
        node.grad = UNREACHED
        node.label = ""
        node.op = op
        node.args = (a, b)
        node.local_grads = local
        return node

    def reflected(b: Value, a: Any) -> Value:
        if _modes or b.__class__ is not Value or not (a.__class__ is float or a.__class__ is int):
            return cast(Value, op(a, b))
        x, y = float(a), b.data
        node = new(Value)
        node.data = out = value(x, y)
        node.grad = UNREACHED
        node.label = ""
        node.op = op
        node.args = (x, b)
        node.local_grads = (None, db if constant else db(out, x, y))
        return node

    record.__name__ = reflected.__name__ = op.name
    return record, reflected


class Value:
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

    # set only where there is something to say: `line` under `anomaly`, `scope` and `call` for pictures, and
    # `before`, the gradient from which a leaf's adding up began (None: nothing was added), for `Optimizer.step`
    __slots__ = ("__weakref__", "args", "before", "call", "data", "grad", "label", "line", "local_grads", "op", "scope")
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

    __array_ufunc__ = None  # numpy_scalar * v comes to __rmul__; array * v is refused there

    def __init__(self, data: Any, label: str = "") -> None:
        if not isinstance(label, str):
            raise TypeError(f"the label of a Value is a string, got {label!r}; a Value holds one number")
        self.data = as_float(data)
        self.grad = UNREACHED
        self.label = label
        self.op = None
        self.args = ()
        self.local_grads = ()

    @classmethod
    def record(cls, op: Op, operands: Sequence[Any]) -> Value:
        """A new node: op applied to operands, of which at least one is a Value."""
        if _mode.recording:
            return _mode.recording.record(op, operands)
        args, wanted = tuple(operands), None
        data = [x.data for x in operands if x.__class__ is cls]
        if len(data) != len(operands):
            for x in operands:
                if x.__class__ is not cls and isinstance(x, cls):  # more derived: its class decides
                    return x.record(op, operands)
            wanted = [isinstance(x, Value) for x in operands]
            args = tuple([x if is_value else as_float(x) for x, is_value in zip(operands, wanted)])
            data = [x.data if is_value else x for x, is_value in zip(args, wanted)]
        node = object.__new__(cls)
        node.data = op.value(*data)
        node.grad = UNREACHED
        node.label = ""
        node.op = op
        node.args = args
        node.local_grads = op.local_grads(node.data, data, wanted)
        if _modes:
            _apply_modes(node)
        return node

    def backward(self) -> None:
        """Adds d self / d leaf to the grad of every leaf; gradients between belong to this pass.

        Topological order: a node passes its gradient on when all its users have passed theirs.
        TrainingWarning where this is not the first pass, and .data was changed since the forward pass.
        """
        order = topological_order(self)
        if self.grad is not UNREACHED and any(map(has_changed, order)):
            warn(
                "old graph",
                f"a second backward() on {_name(self)}, while .data was changed since it was computed: the gradients "
                "are those of the old numbers. Compute the loss anew, inside the loop",
            )
        for node in order:
            if node.args:
                node.grad = UNREACHED
                continue
            if not node.grad or getattr(node, "before", None) is None:
                node.before = node.grad
            if isinstance(node.data, Value):
                raise TypeError(f"the data of {_name(node)} is a Value, not a number: write p.data -= lr * p.grad")
            if node.grad is None:
                raise TypeError(f"the grad of {_name(node)} is None, not a number: write p.zero_grad()")
        self.grad = 1.0 if self.args else self.grad + 1.0
        if _mode.anomaly:
            _check_backward(self, order)
        for node in reversed(order):
            upstream = node.grad
            if upstream is UNREACHED or not node.args:
                continue
            for x, dx in zip(node.args, node.local_grads):
                if dx is not None:
                    x.grad += dx * upstream

    def zero_grad(self) -> None:
        """Forget the gradient: 0.0, as before any backward pass."""
        self.grad = UNREACHED
        self.before = None

    __add__, __radd__ = _binary(ops.add)
    __sub__, __rsub__ = _binary(ops.sub)
    __mul__, __rmul__ = _binary(ops.mul)
    __truediv__, __rtruediv__ = _binary(ops.div)
    __pow__, __rpow__ = _binary(ops.power)
    __neg__, __abs__ = _unary(ops.neg), _unary(ops.abs_)
    exp, expm1, log, log1p = _unary(ops.exp), _unary(ops.expm1), _unary(ops.log), _unary(ops.log1p)
    sqrt, sign, step = _unary(ops.sqrt), _unary(ops.sign), _unary(ops.step)
    sin, cos, tan = _unary(ops.sin), _unary(ops.cos), _unary(ops.tan)
    asin, acos, atan = _unary(ops.asin), _unary(ops.acos), _unary(ops.atan)
    sinh, cosh, tanh = _unary(ops.sinh), _unary(ops.cosh), _unary(ops.tanh)
    sigmoid, softplus, relu = _unary(ops.sigmoid), _unary(ops.softplus), _unary(ops.relu)

    def __iadd__(self, other: Any) -> Any:
        self._look_for_an_update(other)
        return self + other

    def __isub__(self, other: Any) -> Any:
        self._look_for_an_update(other)
        return self - other

    def _look_for_an_update(self, other: Any) -> None:
        if self.grad and not self.args and not isinstance(other, Value):
            warn(
                "update in place",
                f"+= and -= make a new Value, of a graph that grows with every step, and leave {_name(self)} as it is: "
                "write p.data -= lr * p.grad",
            )

    def leaky_relu(self, slope: Any = 0.1) -> Value:
        """x where x > 0, else slope * x; the lectures' slope is 0.1."""
        return cast(Value, ops.leaky_relu(self, slope))

    def clip(self, low: Any, high: Any) -> Value:
        """self, moved into low .. high."""
        return cast(Value, ops.clip(self, low, high))

    def __lt__(self, other: Any) -> Any:
        return ops.less(self, other) if _mode.recording else self.data < _data(other)

    def __le__(self, other: Any) -> Any:
        return ops.less_equal(self, other) if _mode.recording else self.data <= _data(other)

    def __gt__(self, other: Any) -> Any:
        return ops.less(other, self) if _mode.recording else self.data > _data(other)

    def __ge__(self, other: Any) -> Any:
        return ops.less_equal(other, self) if _mode.recording else self.data >= _data(other)

    def __bool__(self) -> bool:
        raise TypeError("bool(v) would drop v out of the graph: compare it, `if v > 0:`, or write v.data")

    def __float__(self) -> float:
        raise TypeError(
            "float(v) or a function of `math` would drop v out of the graph: "
            "write tinygrad_lite.exp(v) for math.exp(v), or v.data for the plain number"
        )

    def __int__(self) -> int:
        raise TypeError("int(v) would drop v out of the graph: write int(v.data) for the plain number")

    __index__ = __int__

    def __repr__(self) -> str:
        name = f", label={self.label!r}" if self.label else ""
        return f"{type(self).__name__}(data={self.data}, grad={self.grad}{name})"

    def __format__(self, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Value:
        for node in topological_order(self):
            if id(node) not in memo:
                copy = memo[id(node)] = object.__new__(type(node))
                copy.data, copy.grad, copy.label, copy.op = node.data, node.grad, node.label, node.op
                copy.args = tuple([memo[id(x)] if isinstance(x, Value) else x for x in node.args])
                copy.local_grads = node.local_grads
                memo.setdefault(id(memo), []).append(node)  # as `copy` does: keeps ids unique
        return cast(Value, memo[id(self)])

    # micrograd's names, for the notebooks written against it

    @property
    def _prev(self) -> set[Value]:
        return {x for x in self.args if isinstance(x, Value)}

    @property
    def _op(self) -> str:
        return self.op.symbol if self.op else ""

    def _backward(self) -> None:
        for x, dx in zip(self.args, self.local_grads):
            if dx is not None:
                x.grad += dx * self.grad

    def demand(self, holds: Callable[[float], bool], message: Callable[[float], str]) -> None:
        """ValueError(message(data)) unless holds(data); a placeholder asks it of each example later."""
        if not holds(self.data):
            raise ValueError(message(self.data))

    def _check_unchanged(self) -> None:
        """RuntimeError unless this node's number and local gradients still follow from its operands."""
        assert self.op is not None
        data = [x.data if isinstance(x, Value) else x for x in self.args]
        now = self.op.value(*data)
        local = self.op.local_grads(now, data, [isinstance(x, Value) for x in self.args])
        for new, old in zip([now, *local], [self.data, *self.local_grads]):
            if _differ(new, old):
                raise RuntimeError(
                    f"grad rebuilds gradients from .data, but .data changed after {_equation(self)} was "
                    "recorded; run the forward pass again, or use backward(), which kept the old numbers"
                )


def affine(rows: Sequence[Sequence[Any]], xs: Sequence[Any], starts: Sequence[Any]) -> list[Any]:
    """A layer's W x + b: [dot(row, xs, start) for row, start in zip(rows, starts)], with xs read once.

    rows: m lists of n operands. xs: n operands. starts: m operands. Returns m.
    """
    xs = tuple(xs)
    data = tuple([x.data for x in xs if x.__class__ is Value])
    no_path: tuple[None, ...] = ()
    if len(data) != len(xs):
        data, no_path = xs, (None,) * len(xs)  # plain numbers, as a first layer's inputs are
    usual = not _modes and (not no_path or set(map(type, xs)) == {float})
    nodes, n, new, dot = [], len(xs), object.__new__, ops.dot
    for row, start in zip(rows, starts):
        weights = [w.data for w in row if w.__class__ is Value]
        if not usual or start.__class__ is not Value or not len(weights) == len(row) == n:
            nodes.append(dot(row, xs, start))
            continue
        s = start.data
        for product in map(mul, weights, data):
            s += product
        node = new(Value)
        node.data = s
        node.grad = UNREACHED
        node.label = ""
        node.op = dot
        node.args = (*row, *xs, start)
        node.local_grads = (*data, *(no_path or weights), 1.0)
        nodes.append(node)
    return nodes


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


def gradients(order: Sequence[Value], instead: Mapping[Value, float] | None = None) -> dict[Value, float]:
    """d root / d node for every node of order that a gradient reaches, to the bit as `root.backward()` adds
    them up from zero; nothing in the graph changes. order: as of `topological_order`. instead: numbers that
    nodes pass on in place of what arrived.
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


def has_changed(node: Value) -> bool:
    """Does a node's number no longer follow from its operands' numbers, as after an optimiser's step?"""
    if node.op is None:
        return False
    try:
        now = node.op.value(*[_data(x) for x in node.args])
    except Exception:  # an operation that cannot be asked, like a compiled function
        return False
    return _differ(now, node.data)


# --- derivatives as graphs


def grad(out: Value, wrt: Iterable[Value]) -> list[Value]:
    """d out / d x for each x of wrt, as new graph nodes: differentiate, draw or compile them.

    The chain rule once more, with Values for numbers. RuntimeError where .data was changed since the
    forward pass.

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


def adjoints(out: Value, wrt: Sequence[Value], masked: bool = True) -> list[Value]:
    """`grad` without its checks. masked=False: of placeholders, trusts that 0 x local is 0, which holds
    unless a local derivative is not finite."""
    order = topological_order(out)
    needed: set[Value | float] = set(wrt)  # the nodes on a path from wrt to out
    for node in order:
        if not needed.isdisjoint(node.args):
            needed.add(node)
    adjoint: dict[Value, Any] = {out: 1.0}
    reach: dict[Value, Any] = {out: True}  # a condition, where selection is not known yet
    sent: dict[Value, list[tuple[Any, Any, Any]]] = {}  # what users sent: upstream, local, condition
    for node in reversed(order):
        if node in sent:
            adjoint[node], reach[node] = _gather(sent.pop(node))
        if node not in adjoint or node.op is None:
            continue
        node._check_unchanged()
        wanted = [dx is not None and x in needed for x, dx in zip(node.args, node.local_grads)]
        locals_ = node.op.local_grads(node, node.args, wanted)
        for x, dx, known in zip(node.args, locals_, node.local_grads):
            if dx is not None:
                condition = reach[node]
                if masked and known is SELECTED_LATER:
                    condition = _where(condition, dx, 0.0)
                sent.setdefault(x, []).append((adjoint[node], dx, condition))
    found = [adjoint.get(x, 0.0) for x in wrt]
    return [g if isinstance(g, Value) else Value(g) for g in found]


# In `local_grads` of a placeholder: whether this operand is selected depends on the example.
SELECTED_LATER = float("nan")


def _gather(sent: list[tuple[Any, Any, Any]]) -> tuple[Any, Any]:
    """The sum over users of upstream x local, one node however many they are; and where it is sent."""
    if all(condition is True for _, _, condition in sent):
        if len(sent) == 1:
            return _times(*sent[0][:2]), True
        upstreams, locals_ = [g for g, _, _ in sent], [dx for _, dx, _ in sent]
        if all(dx.__class__ is float and dx == 1.0 for dx in locals_):
            return ops.total(upstreams), True
        return ops.dot(upstreams, locals_), True
    terms, reach = [], 0.0
    for g, dx, condition in sent:
        terms.append(_where(condition, _times(g, dx), 0.0))
        reach = reach is True or _where(condition, True, reach)
    return (terms[0] if len(terms) == 1 else ops.total(terms)), reach


def _where(condition: Any, this: Any, other: Any) -> Any:
    """`ops.where`, without a node where the condition is known."""
    return this if condition is True else ops.where(condition, this, other)


def _times(g: Any, dx: Any) -> Any:
    if dx.__class__ is float and dx == 1.0:
        return g
    if g.__class__ is float and g == 1.0:
        return dx
    recorder = g if isinstance(g, Value) else dx
    return recorder.record(ops.mul, (g, dx)) if isinstance(recorder, Value) else g * dx


def hessian(out: Value, wrt: Iterable[Value]) -> list[list[Value]]:
    """Row i, column j: d^2 out / d wrt[i] d wrt[j], as graph nodes.

    >>> x, y = Value(2.0), Value(3.0)
    >>> [[h.data for h in row] for row in hessian(x * x * y, [x, y])]
    [[6.0, 4.0], [4.0, 0.0]]
    """
    wrt = wrt if isinstance(wrt, Value) else list(wrt)
    return [grad(g, wrt) for g in grad(out, wrt)]


# --- modes of this thread


class _Mode(threading.local):
    no_grad = False
    anomaly = False
    recording: type[Value] | None = None  # the class of placeholders, where the compiler records
    scope: Scope | None = None


_mode = _Mode()
_modes = 0  # how many are active in all threads: one glance tells the fast path that none is
_modes_lock = threading.Lock()


def _apply_modes(node: Value) -> None:
    if _mode.anomaly:
        node.line = user_line()
        if not math.isfinite(node.data):
            raise FloatingPointError(f"{node.data} was born in the forward pass: {_equation(node)}")
    if _mode.no_grad:
        node.op, node.args, node.local_grads = None, (), ()
    if _mode.scope is not None:
        node.scope = _mode.scope


@contextmanager
def _set_mode(name: str, to: Any = True) -> Iterator[None]:
    global _modes
    before = getattr(_mode, name)
    with _modes_lock:
        _modes += 1
    try:
        setattr(_mode, name, to)  # in here: Ctrl-C may fall after it
        yield
    finally:
        setattr(_mode, name, before)
        with _modes_lock:
            _modes -= 1


def no_grad() -> Any:
    """`with no_grad():` computes and records nothing: results are leaves. For this thread."""
    return _set_mode("no_grad")


def no_grad_active() -> bool:
    """Is this thread inside no_grad()?"""
    return _mode.no_grad


def anomaly_active() -> bool:
    """Is this thread inside anomaly()?"""
    return _mode.anomaly


def anomaly() -> Any:
    """`with anomaly():` raises FloatingPointError where the first nan or inf is born, forward or
    backward, naming operation, operands and your source line. Slow; for this thread."""
    return _set_mode("anomaly")


def recording(placeholder: type[Value]) -> Any:
    """`with recording(Tracer):` every operation of this thread records a Tracer, for the compiler."""
    return _set_mode("recording", placeholder)


# --- where in a program a Value was made, for whoever draws it later


class Scope:
    """One `with scope(name):`, entered inside `outer`; kept on every Value recorded there."""

    __slots__ = ("name", "outer")

    def __init__(self, name: str, outer: Scope | None) -> None:
        self.name, self.outer = name, outer


# One call of a module, kept on the Values that it returned: the module, the arguments (one object for all
# results of a call) and where it was called. A plain tuple, because one is made at every call.
Call = tuple[Any, tuple[Any, ...], Scope | None]


def scope(name: str) -> Any:
    """`with scope("loss"):` what is recorded inside is one part with this name, which `draw_dot` can fold
    into one box; scopes nest. Recording is slower inside. For this thread.

    >>> with scope("loss"):
    ...     loss = (Value(3.0) - 1.0) ** 2
    >>> loss.scope.name
    'loss'
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f'scope expects a name, as in `with scope("loss"):`, got {name!r}')
    return _set_mode("scope", Scope(name, current_scope()))


def current_scope() -> Scope | None:
    """The innermost scope that this thread is in."""
    return _mode.scope


def _check_backward(root: Value, order: list[Value]) -> None:
    """The backward pass on the side, so that no gradient is changed when it fails."""
    grads = dict.fromkeys(order, 0.0)
    grads[root] = 1.0
    reached = {root}
    for node in reversed(order):
        if node in reached:
            for x, dx in zip(node.args, node.local_grads):
                if dx is not None:
                    grads[x] += dx * grads[node]
                    reached.add(x)
                    if not math.isfinite(grads[x]):
                        raise FloatingPointError(
                            f"{grads[x]} was born in the backward pass: upstream gradient {grads[node]:g} x "
                            f"local derivative {dx:g} for operand {_name(x)} of {_equation(node)}"
                        )


def _equation(node: Value) -> str:
    operands = ", ".join(_name(x) if isinstance(x, Value) else f"{x:g}" for x in node.args[:6])
    more = f", ... {len(node.args) - 6} more" if len(node.args) > 6 else ""
    line = getattr(node, "line", "")
    made = f"{node.op.name}({operands}{more})" if node.op else "a leaf"
    return f"{_name(node)} = {made}" + (f" at {line}" if line else "")


def _name(x: Value) -> str:
    return f"{x.label}={x.data:g}" if x.label else f"Value({x.data:g})"


def _differ(a: float | None, b: float | None) -> bool:
    """Are they two numbers? nan and nan are one."""
    return a != b and not (a != a and b != b)


def _data(x: Any) -> float:
    return x.data if isinstance(x, Value) else as_float(x)
