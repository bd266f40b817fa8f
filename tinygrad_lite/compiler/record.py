"""Recording: run a function of one example on placeholders and keep the graph that it makes."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, NoReturn, cast

from .. import engine, ops
from ..derivatives import SELECTED_LATER
from ..engine import UNREACHED, Value
from ..mistakes import user_line
from ..op import Op, as_float
from .native import no_collector


def _most_operands() -> int:
    """As many as half of this machine's memory holds: an operation of two operands takes up to two
    kilobytes on its way to native code (measured)."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known here
        memory = 8 * 2**30
    return memory // 2 // 1024


class _Budget(threading.local):
    """Operands that this thread may still record."""

    most = left = _most_operands()


_budget = _Budget()


@contextmanager
def recording() -> Iterator[None]:
    """Every operation of this thread records a Tracer. MemoryError for a graph too large to compile."""
    _budget.left = _budget.most
    with engine.recording(Tracer):
        yield


class Tracer(Value):
    """A placeholder for a number that is not known yet: it records operations like any Value, and has
    neither data nor a truth value.

    While a function is recorded, every result is a Tracer, also one made of parameters alone: nothing
    may depend on what the numbers happen to be at that time.
    """

    __slots__ = ("checked", "demands", "index")
    index: int  # of an input or parameter; unset for results
    demands: list[tuple[Callable[[float], bool], Callable[[float], str]]]
    checked: bytes  # the numbers that met all demands last

    @classmethod
    def leaf(cls, index: int) -> Tracer:
        """A placeholder for an input or a parameter."""
        node = cls._node(None, ())
        node.index, node.demands, node.checked = index, [], b""
        return node

    @classmethod
    def record(cls, op: Op, operands: Sequence[Any]) -> Tracer:
        args = tuple([x if isinstance(x, Value) else as_float(x) for x in operands])
        node = cls._node(op, args)
        _budget.left -= len(args)
        if _budget.left < 0:
            raise MemoryError(
                f"the graph of one example has more than {_budget.most:,} operands, which this machine's memory "
                "may not hold: record a smaller part (one example, not a loop over the data), or use dot and "
                "total, which are one operation each"
            )
        if op is ops.pick and isinstance(args[0], Value):
            n = len(args) - 1
            args[0].demand(
                lambda k: k in range(n), lambda k: f"pick expects a whole number from 0 to {n - 1}, got {k:g}"
            )
        selects = op.selects if isinstance(op.selects, tuple) else (op.selects,) * len(args)
        node.local_grads = tuple(
            [None if not isinstance(x, Value) else SELECTED_LATER if s else 1.0 for x, s in zip(args, selects)]
        )
        return node

    @classmethod
    def _node(cls, op: Op | None, args: tuple[Any, ...]) -> Tracer:
        node = object.__new__(cls)
        node.grad, node.label, node.op, node.args, node.local_grads = UNREACHED, "", op, args, ()
        return node

    def demand(self, holds: Callable[[float], bool], message: Callable[[float], str]) -> None:
        """Asked of each example before native code runs; only an input can be asked."""
        if self.op is None:
            self.demands.append((holds, message))

    def check_unchanged(self) -> None:
        pass

    def __lt__(self, other: Any) -> Any:
        return ops.less(self, other)

    def __le__(self, other: Any) -> Any:
        return ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return ops.less(other, self)

    def __ge__(self, other: Any) -> Any:
        return ops.less_equal(other, self)

    __hash__ = Value.__hash__

    def __eq__(self, other: Any) -> Any:
        """A condition where `other` is a number, which a branch on it refuses; between nodes identity, as ever."""
        return ops.equal(self, other) if isinstance(other, Real) else self is other

    def __ne__(self, other: Any) -> Any:
        return 1.0 - ops.equal(self, other) if isinstance(other, Real) else self is not other

    @property
    def data(self) -> float:  # type: ignore[override]
        self._refuse("its .data was asked for", "compute with it, or compile a function that returns it")

    def __bool__(self) -> bool:
        self._refuse(
            "a branch depends on it (if, and, or, in, max, sorted)",
            "write where(condition, a, b), relu(x) or maximum(a, b): both sides are recorded, each example chooses",
        )

    def __float__(self) -> float:
        self._refuse("float() or a function of `math` was applied", "use tinygrad_lite.exp and the like")

    def __int__(self) -> int:
        self._refuse("int() or an index was made of it", "to choose from a list write pick(k, xs)")

    __index__ = __int__

    def __repr__(self) -> str:
        return f"Tracer({self.op.name})" if self.op else f"Tracer(leaf {self.index})"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TypeError(
            f"a recorded value has no number yet, but {what} at {user_line()}. The function is run once "
            f"for all examples: {instead}"
        )


class Recording:
    """One example's graph.

    inputs: a placeholder per input number, in order. outputs: the results, flat. captured: the Values
    from outside that it uses, parameters (leaves) and others, in the order of first use; places[i] is
    the placeholder that stands for captured[i].
    """

    def __init__(
        self, inputs: list[Tracer], outputs: list[Any], structure: Any, captured: list[Value], places: list[Tracer]
    ) -> None:
        self.inputs, self.outputs, self.structure = inputs, outputs, structure
        self.captured, self.places = captured, places
        self.demanding = [x for x in inputs if x.demands]


Shape = tuple[int, ...]


def record(function: Callable[..., Any], shapes: Sequence[Shape]) -> Recording:
    """Calls function twice on placeholders of these shapes (() a number, (n,) a list of n, ...).

    Leaves that are the same Values in both graphs are parameters; fresh ones are constants; results made
    outside are inputs as well, whose gradient flows on. ValueError where the two graphs differ.
    """
    with no_collector(), recording():
        inputs, arguments = _placeholders(shapes)
        outputs, structure = flatten(function(*arguments), function)
        _, twin_arguments = _placeholders(shapes)
        twin_outputs, twin_structure = flatten(function(*twin_arguments), function)
    if structure != twin_structure:
        _differs(function, f"{len(outputs)} outputs", f"{len(twin_outputs)}")
    outside = _compare(function, outputs, twin_outputs)
    return _replace_captured(inputs, outputs, structure, outside)


def _placeholders(shapes: Sequence[Shape]) -> tuple[list[Tracer], list[Any]]:
    inputs: list[Tracer] = []

    def build(shape: Shape) -> Any:
        if shape:
            return [build(shape[1:]) for _ in range(shape[0])]
        inputs.append(Tracer.leaf(len(inputs)))
        return inputs[-1]

    arguments = [build(shape) for shape in shapes]
    return inputs, arguments


def flatten(result: Any, function: Any) -> tuple[list[Any], Any]:
    """The Values of nested lists, and the same lists with their places (None: one Value alone)."""
    found: list[Any] = []

    def walk(part: Any) -> Any:
        if isinstance(part, (list, tuple)):
            return [walk(inner) for inner in part]
        if not isinstance(part, Value):
            raise TypeError(
                f"{_name(function)} must return a Value or lists of Values, got {part!r}; compute the result "
                "from the inputs and the model's outputs, not from their .data"
            )
        found.append(part)
        return len(found) - 1

    structure = walk(result)
    if not found:
        raise TypeError(f"{_name(function)} must return at least one Value, got {result!r}")
    return found, structure


def _compare(function: Any, outputs: list[Any], twins: list[Any]) -> dict[Value, bool]:
    """Walks both graphs side by side. Returns the plain Values reached: True for one from outside,
    False for a fresh constant."""
    outside: dict[Value, bool] = {}
    partner: dict[Value, Value] = {}
    stack: list[tuple[Any, Any]] = list(zip(outputs, twins))
    while stack:
        a, b = stack.pop()
        if a.__class__ is float or b.__class__ is float:
            if a.__class__ is not b.__class__ or not _same(a, b):
                _differs(function, _what(a), _what(b))
            continue
        if a in partner:
            if partner[a] is not b:
                _differs(function, _what(a), "the same elsewhere")
            continue
        partner[a] = b
        if not isinstance(a, Tracer):
            if a is not b and (isinstance(b, Tracer) or a.args or b.args or not _same(a.data, b.data)):
                _differs(function, _what(a), _what(b))
            outside[a] = a is b
        elif not isinstance(b, Tracer) or a.op is not b.op or len(a.args) != len(b.args):
            _differs(function, _what(a), _what(b))
        elif a.op is None:
            if a.index != b.index:
                _differs(function, f"input {a.index}", f"input {b.index}")
        else:
            stack.extend(zip(a.args, b.args))
    return outside


def _replace_captured(
    inputs: list[Tracer], outputs: list[Any], structure: Any, outside: dict[Value, bool]
) -> Recording:
    """The same graph on placeholders alone, in the order of recording."""
    new: dict[Value, Any] = {x: x for x in inputs}
    captured: list[Value] = []
    places: list[Tracer] = []

    def place(x: Any) -> Any:
        if x.__class__ is float:
            return x
        found = new.get(x)
        if found is None:
            if not outside[x]:
                found = x.data
            else:
                found = Tracer.leaf(len(captured))
                captured.append(x)
                places.append(found)
            new[x] = found
        return found

    for output in outputs:
        for node in recorded_nodes(output, new):
            new[node] = Tracer.record(cast(Op, node.op), [place(x) for x in node.args])
    return Recording(inputs, [place(x) for x in outputs], structure, captured, places)


def recorded_nodes(root: Any, done: Container[Any]) -> Iterator[Tracer]:
    """The recorded results below root that are not in `done`, operands first; nothing made outside. Whoever
    walks over several roots adds each node to `done` as it comes."""
    if root.__class__ is float or root in done or not isinstance(root, Tracer):
        return
    seen: set[Any] = {root}
    path, operands = [root], [iter(root.args)]
    while path:
        for x in operands[-1]:
            if isinstance(x, Tracer) and x not in done and x not in seen:
                seen.add(x)
                path.append(x)
                operands.append(iter(x.args))
                break
        else:
            yield path.pop()
            operands.pop()


def _same(a: float, b: float) -> bool:
    """Equal with the same sign, or both nan."""
    return (a == b and math.copysign(1.0, a) == math.copysign(1.0, b)) or (a != a and b != b)


def _differs(function: Any, first: str, second: str) -> NoReturn:
    raise ValueError(
        f"{_name(function)} records a different graph on its second call ({first}, then {second}). A compiled "
        "function must compute the same way every time: take random numbers, counters and other hidden state "
        "out of it, or pass them in as inputs"
    )


def _what(x: Any) -> str:
    if x.__class__ is float:
        return f"the number {x:g}"
    if isinstance(x, Tracer):
        return f"{x.op.name} of {len(x.args)}" if x.op else f"input {x.index}"
    return f"a Value of {x.data:g}"


def _name(function: Any) -> str:
    return getattr(function, "__name__", repr(function))
