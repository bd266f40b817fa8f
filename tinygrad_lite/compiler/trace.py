"""Tracing: run a function of one example on placeholders and keep the graph that it makes."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat, takewhile
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeAlias, cast

from .. import engine, ops
from ..derivatives import SELECTED_LATER
from ..engine import UNREACHED, Value
from ..mistakes import in_package, line_of, user_line
from ..op import Op, as_float, is_number
from ..optim.safety import assign
from ..protocols import condition, number_of, refuse_as_condition
from .native import no_collector

if TYPE_CHECKING:
    import numpy as np

Array: TypeAlias = "np.ndarray"
Number: TypeAlias = Value | float
LIST, TUPLE, ARRAY = "list", "tuple", "array"
Shape: TypeAlias = tuple[tuple[str, int], ...]  # of an argument of one example: () a number, ((LIST, n),) a list, ...
Structure: TypeAlias = "int | list[Structure]"  # of a result: the place of a Value among all, or lists of places


def _most_operands() -> int:
    """As many as half of this machine's memory holds: an operation of two operands takes up to two
    kilobytes on its way to native code (measured)."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not known here
        memory = 8 * 2**30
    return memory // 2 // 1024


class Budget(threading.local):
    """Of this thread: operands that it may still record, whether a function of the user's is running on placeholders,
    and what was refused to it last."""

    most = left = _most_operands()
    watching = False
    refused: TypeError | None = None


_budget = Budget()


@contextmanager
def tracing() -> Iterator[None]:
    """Every operation of this thread records a Tracer. MemoryError where the graph is too large to compile."""
    _budget.left = _budget.most
    with _no_handlers(), engine.recording(Tracer):
        yield


@contextmanager
def _no_handlers() -> Iterator[None]:
    """No signal handler of the user's runs meanwhile: what it computes would be recorded. Ctrl-C still interrupts."""
    if threading.current_thread() is not threading.main_thread():  # handlers run in the main thread alone
        yield
        return
    handlers = {int(number): signal.getsignal(number) for number in signal.valid_signals()}
    own = {s: h for s, h in handlers.items() if callable(h) and h is not signal.default_int_handler}
    late: list[tuple[int, FrameType | None]] = []
    for number in own:
        signal.signal(number, lambda number, frame: late.append((number, frame)))
    try:
        yield
    finally:
        for number, handler in own.items():
            signal.signal(number, handler)
        for number, frame in late:
            own[number](number, frame)


def _is_condition(x: object) -> bool:
    """True, False, a recorded comparison, or conditions combined by & | ^ ~."""
    if not isinstance(x, Tracer):
        return type(x).__name__ in ("bool", "bool_")  # Python's, NumPy's
    return x.op in (ops.less, ops.less_equal, ops.equal) or hasattr(x, "combined")


class Tracer(Value):
    """A placeholder for a number that is not known yet: it records operations like any Value, and has
    neither data nor a truth value.

    While a function is traced, every result is a Tracer, also one made of parameters alone: nothing
    may depend on what the numbers happen to be at that time.
    """

    __slots__ = ("checked", "combined", "index", "preconditions")
    index: int  # of an input or parameter; unset for results
    combined: bool  # set where it is a condition made of others by & | ^ ~
    preconditions: list[tuple[Callable[[float], bool], Callable[[float], str]]]
    checked: bytes  # the numbers that met all preconditions last

    @classmethod
    def leaf(cls, index: int) -> Tracer:
        """A placeholder for an input or a parameter."""
        node = cls._node(None, ())
        node.index, node.preconditions, node.checked = index, [], b""
        return node

    @classmethod
    def record(cls, op: Op, operands: Sequence[Number]) -> Tracer:
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
    def _node(cls, op: Op | None, args: tuple[Number, ...]) -> Tracer:
        node = object.__new__(cls)
        node.grad, node.label, node.op, node.args, node.local_grads = UNREACHED, "", op, args, ()
        return node

    def demand(self, holds: Callable[[float], bool], message: Callable[[float], str]) -> None:
        """Asked of each example before native code runs; only an input can be asked."""
        if self.op is None:
            self.preconditions.append((holds, message))

    def check_unchanged(self) -> None:
        """A placeholder has no number that could have changed."""

    def __lt__(self, other: Number) -> bool:
        return condition(ops.less, self, other)

    def __le__(self, other: Number) -> bool:
        return condition(ops.less_equal, self, other)

    def __gt__(self, other: Number) -> bool:
        return condition(ops.less, other, self)

    def __ge__(self, other: Number) -> bool:
        return condition(ops.less_equal, other, self)

    def _watched_hash(self) -> int:
        if _budget.watching and not in_package(sys._getframe(1)):  # a dict or set looks for an equal number
            self._refuse("a dict or set was asked for it", "write where(x == 1, a, b), or pick(k, numbers)")
        return object.__hash__(self)

    __hash__ = object.__hash__  # but while a function of the user's runs, see `called`

    def __eq__(self, other: object) -> bool:
        """A condition where the engine compares numbers, which a branch on it refuses; between nodes identity."""
        if self is other or not self._compared_by_number(other):
            return self is other
        return condition(ops.equal, self, cast(Number, other))

    def __ne__(self, other: object) -> bool:
        equal = self == other
        return not equal if isinstance(equal, bool) else ~equal

    def _compared_by_number(self, other: object) -> bool:
        """Is one of both a number in the engine, or are both conditions?"""
        if isinstance(other, Value):
            both = _is_condition(self) and _is_condition(other)
            return both or made_of_arguments(self) or made_of_arguments(other)
        return is_number(other)

    def __and__(self, other: object) -> Tracer:
        return self._combined(ops.mul, "&", other)

    def __or__(self, other: object) -> Tracer:
        return self._combined(ops.maximum, "|", other)

    def __xor__(self, other: object) -> Tracer:
        return ~self._combined(ops.equal, "^", other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> Tracer:
        if not _is_condition(self):
            refuse_as_condition("~")
        node = self.record(ops.sub, (1.0, self))
        node.combined = True
        return node

    def _combined(self, op: Op, sign: str, other: object) -> Tracer:
        if not (_is_condition(self) and _is_condition(other)):
            refuse_as_condition(sign)
        node = self.record(op, (self, cast(Number, other)))
        node.combined = True
        return node

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

    def __str__(self) -> str:
        if _budget.watching:
            self._refuse("its text was asked for (str, print, an f-string)", "print outside the function")
        return repr(self)

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def _refuse(self, what: str, instead: str) -> NoReturn:
        _budget.refused = TypeError(
            f"a recorded value has no number yet, but {what} at {user_line()}. The function is run once "
            f"for all examples: {instead}"
        )
        raise _budget.refused


def made_of_arguments(x: Value) -> bool:
    """Is it a number in the engine: an argument, or computed from nothing else?"""
    nodes, seen = [x], {x}
    while nodes:
        node = nodes.pop()
        if not isinstance(node, Tracer):
            return False
        fresh = [arg for arg in node.args if isinstance(arg, Value) and arg not in seen]
        seen.update(fresh)
        nodes += fresh
    return True


@dataclass
class Trace:
    """The graph of one example.

    inputs: a placeholder for each number of an example, in order. outputs: the results, flat; structure: the lists
    they came in. captured: the Values from outside that the function uses, parameters (leaves) and others, in
    order of first use; places[i] is the placeholder for captured[i].
    """

    inputs: list[Tracer]
    outputs: list[Number]
    structure: Structure
    captured: list[Value]
    places: list[Tracer]

    def __post_init__(self) -> None:
        self.conditioned = [x for x in self.inputs if x.preconditions]


def trace(function: Callable[..., object], shapes: Sequence[Shape], parameters: Sequence[Value] = ()) -> Trace:
    """Calls function twice on placeholders of these shapes, and keeps its graph.

    Leaves that are the same Values in both calls are parameters; new ones are constants; results made outside
    are inputs too, whose gradient flows on. ValueError where the two graphs differ.

    parameters: will change from step to step. In the second call they have other numbers, so that a graph made of
    their .data, or chosen by it, differs.
    """
    before = [p.data for p in parameters]
    with no_collector(), tracing():
        inputs, arguments = placeholders(shapes)
        outputs, structure = flatten(called(function, arguments), function)
        _check_kept(function, arguments, inputs)
        if any(p.data is not x and p.data != x for p, x in zip(parameters, before)):
            assign(parameters, repeat("data"), before)
            raise ValueError(f"{_name(function)} sets the .data of a parameter: leave that to the optimiser")
        _, twin_arguments = placeholders(shapes)
        with _moved(parameters):
            twin_outputs, twin_structure = flatten(called(function, twin_arguments), function)
    if structure != twin_structure:
        _differs(function, f"{len(outputs)} outputs", f"{len(twin_outputs)}")
    outside = _compare(function, outputs, twin_outputs)
    return _replace_captured(inputs, outputs, structure, outside)


_ROWS = os.path.join(os.path.dirname(__file__), "arrays.py")  # whose errors belong to the line that uses an array


def called(function: Callable[..., object], arguments: Sequence[object]) -> object:
    """The function of these placeholders. TypeError where it asks them for what they do not have yet, also where it
    catches that error itself; where a line of the user's fails in another way, TypeError that names the line."""
    before, _budget.watching, _budget.refused = _budget.watching, True, None
    Tracer.__hash__ = Tracer._watched_hash  # type: ignore[method-assign, assignment]
    try:
        found = function(*arguments)
    except Exception as error:
        frames = traceback.walk_tb(error.__traceback__)
        *_, (innermost, line) = takewhile(lambda place: place[0].f_code.co_filename != _ROWS, frames)
        if error is _budget.refused or in_package(innermost):
            raise
        raise TypeError(
            f"{_name(function)} cannot be compiled: {type(error).__name__}: {error}, at {line_of(innermost, line)}. It "
            "is run once for all examples, on placeholders for their numbers: write it with arithmetic and "
            "functions of tinygrad_lite, where(condition, a, b) for a branch, pick(k, numbers) for a look-up"
        ) from error
    finally:
        _budget.watching = before
        if not before:  # the compiler asks for millions of hashes
            Tracer.__hash__ = object.__hash__  # type: ignore[method-assign, assignment]
    if _budget.refused is not None:
        raise _budget.refused
    return found


def placeholders(shapes: Sequence[Shape]) -> tuple[list[Tracer], list[object]]:
    """A Tracer for each number of an example, and the arguments that they make: lists, tuples, arrays of objects."""
    inputs: list[Tracer] = []

    def leaf() -> Tracer:
        inputs.append(Tracer.leaf(len(inputs)))
        return inputs[-1]

    def build(shape: Shape) -> object:
        if not shape:
            return leaf()
        (kind, n), rest = shape[0], shape[1:]
        if kind == ARRAY:
            import numpy as np

            from .arrays import row_of

            array: Array = np.empty([size for _, size in shape], dtype=object)
            for place in np.ndindex(*array.shape):
                array[place] = leaf()
            return row_of(array)
        parts = [build(rest) for _ in range(n)]
        return tuple(parts) if kind == TUPLE else parts

    arguments = [build(shape) for shape in shapes]
    return inputs, arguments


@contextmanager
def _moved(parameters: Sequence[Value]) -> Iterator[None]:
    """Other numbers of the other sign in these parameters."""
    back = map(setattr, parameters, repeat("data"), [p.data for p in parameters])
    others = [-1.234 * number_of(p) - 0.271 for p in parameters]
    try:
        deque(map(setattr, parameters, repeat("data"), others), 0)
        yield
    finally:
        deque(back, 0)  # one call, before which no Ctrl-C can fall, nor within it


def _check_kept(function: Callable[..., object], arguments: object, inputs: Sequence[Tracer]) -> None:
    """TypeError where the function has changed a list that it was given: the next call would see that."""

    def leaves(part: object) -> Iterator[object]:
        for inner in part.ravel() if hasattr(part, "ravel") else part if isinstance(part, (list, tuple)) else ():
            if isinstance(inner, Value):
                yield inner
            else:
                yield from leaves(inner)

    found = list(leaves(arguments))
    if len(found) != len(inputs) or any(a is not b for a, b in zip(found, inputs)):
        raise TypeError(
            f"{_name(function)} changes its own arguments, as x[0] = ..., x += ... and x.pop() do: write x = list(x) "
            "first, and change the copy"
        )


def kind_of(part: object) -> str:
    """What an example, or a part of one, is."""
    return LIST if isinstance(part, list) else TUPLE if isinstance(part, tuple) else ARRAY


def flatten(result: object, function: Callable[..., object]) -> tuple[list[Value], Structure]:
    """The Values of nested lists, and the same lists with their places (0: one Value alone)."""
    found: list[Value] = []

    def walk(part: object) -> Structure:
        if hasattr(part, "tolist"):  # an array of Values
            part = part.tolist()
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


def _compare(function: Callable[..., object], outputs: list[Value], twins: list[Value]) -> dict[Value, bool]:
    """Walks both graphs side by side. Returns the plain Values reached: True for one from outside,
    False for a fresh constant."""
    outside: dict[Value, bool] = {}
    partner: dict[Value, Value] = {}
    stack: list[tuple[Number, Number]] = list(zip(outputs, twins))
    while stack:
        a, b = stack.pop()
        if not isinstance(a, Value) or not isinstance(b, Value):
            if isinstance(a, Value) or isinstance(b, Value) or not _same(a, b):
                _differs(function, _what(a), _what(b))
        elif a in partner:
            if partner[a] is not b:
                _differs(function, _what(a), "the same elsewhere")
        else:
            partner[a] = b
            if not _alike(a, b):
                _differs(function, _what(a), _what(b))
            if isinstance(a, Tracer):
                stack.extend(zip(a.args, b.args))
            else:
                outside[a] = a is b
    return outside


def _alike(a: Value, b: Value) -> bool:
    """Can these be the same node of two traces, operands aside?"""
    if isinstance(a, Tracer) and isinstance(b, Tracer):
        return a.op is b.op and (len(a.args) == len(b.args) if a.op else a.index == b.index)
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    return a is b or (not a.args and not b.args and _same(a.data, b.data))


def _replace_captured(
    inputs: list[Tracer], outputs: list[Value], structure: Structure, outside: dict[Value, bool]
) -> Trace:
    """The same graph on placeholders alone, in the order of recording."""
    new: dict[Value, Number] = {x: x for x in inputs}
    captured: list[Value] = []
    places: list[Tracer] = []

    def place(x: Number) -> Number:
        if not isinstance(x, Value):
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
        for node in traced_nodes(output, new):
            new[node] = Tracer.record(cast(Op, node.op), [place(x) for x in node.args])
    return Trace(inputs, [place(x) for x in outputs], structure, captured, places)


def traced_nodes(root: Number, done: Container[Value]) -> Iterator[Tracer]:
    """The traced results below root that are not in `done`, operands first; nothing made outside. To walk over
    several roots, add each node to `done` as it comes."""
    if not isinstance(root, Tracer) or root in done:
        return
    seen = {root}
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


def _differs(function: Callable[..., object], first: str, second: str) -> NoReturn:
    raise ValueError(
        f"{_name(function)} records a different graph on its second call ({first}, then {second}). A compiled "
        "function must compute the same way every time: take random numbers, counters and other hidden state "
        "out of it, or pass them in as inputs; for the number of a parameter write detach(p), not p.data"
    )


def _what(x: Number) -> str:
    if not isinstance(x, Value):
        return f"the number {x:g}"
    if isinstance(x, Tracer):
        return f"{x.op.name} of {len(x.args)}" if x.op else f"input {x.index}"
    return f"a Value of {x.data:g}"


def _name(function: Callable[..., object]) -> str:
    return getattr(function, "__name__", repr(function))
