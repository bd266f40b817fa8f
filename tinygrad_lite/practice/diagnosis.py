"""The derivative of one operation: what is wrong with it?"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from types import MethodType
from typing import Any, NamedTuple

from ..notation import filled
from ..op import Op
from .words import Report, Told, close, is_stub, listed, plain, short, told_by


class Node:
    """A number and a place for its gradient: all that is needed to write one operation by hand.

    >>> def my_mul(a, b):
    ...     out = Node(a.data * b.data, (a, b))
    ...     def backward():
    ...         a.grad += b.data * out.grad
    ...         b.grad = a.data * out.grad
    ...     out._backward = backward
    ...     return out
    >>> diagnose(my_mul)
    assigned instead of accumulated, for b: another use of b may have sent its share already, which b.grad = ...
    throws away. Write b.grad += ...
      Example: a = 2, b = 3, out.grad = 1, and b.grad is 10 from another use: b.grad should become 12, but becomes 2.
    """

    def __init__(self, data: float, operands: Sequence[object] = ()) -> None:
        self.data, self.grad, self._prev = data, 0.0, tuple(operands)
        self._backward: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"Node(data={self.data}, grad={self.grad})"


AnyNode = Any  # a Node, or what the reader takes for one: nothing is known of it before it is tried


def diagnose(my_op: object, node: Callable[[float], AnyNode] | None = None) -> Report:
    """What is wrong with the derivative of one operation? The truth is the central difference of its own values.

    Nodes have .data, .grad and ._backward(), and ._prev where the operation is made of several. It is tried at numbers
    of both signs, with two upstream gradients, with gradients that are not 0 before, and with the same node for all
    operands.

    Parameters
    ----------
    my_op : the operation, written in one of four ways
        diagnose(my_mul)                           a function of Nodes, one for each operand, that returns a Node
        diagnose(MyValue.tanh)                     a method of your own class
        diagnose(lambda x: x ** 3, MyValue)        anything that your class can do
        diagnose(Op("mul", "*", ..., (..., ...)))  a record like those of the table: only its partials can be wrong
    node : a number -> a node of your own class, where it cannot be told from my_op

    >>> diagnose(Op("minus", "-", lambda a, b: a - b, (1.0, 1.0)))
    sign, for b: the derivative has the right size and the wrong sign.
      Example: a = 2, b = 3, out.grad = 1: b.grad should become -1, but becomes 1.
    """
    if my_op is None or my_op is ... or is_stub(my_op):
        return Report(None, "Not answered yet.")
    try:
        return _Rule(my_op, node).report()
    except Told as told:
        return told.report


class _Trial(NamedTuple):
    """What happened to one operand at xs. slope: what its grad should become for out.grad = 1. once, tripled: what it
    becomes for out.grad = 1 and 3. kept: what it becomes where it was 10. slopes: those of all operands."""

    xs: tuple[float, ...]
    out: float
    slopes: list[float]
    slope: float
    once: float
    tripled: float
    kept: float


_NUMBERS = (2.0, 3.0, -2.0, 0.5, -3.0, 0.25, -0.5, 1.5)  # none where functions usually have a kink: 0, 1


class _Rule:
    """One operation, whichever way it is written: f of nodes, make a node of a number, the operands' names."""

    f: Callable[..., AnyNode]
    make: Callable[[float], AnyNode]

    def __init__(self, my_op: object, node: Callable[[float], AnyNode] | None) -> None:
        if isinstance(my_op, type):
            raise TypeError(f"diagnose looks at one operation; for a class write check_value_class({my_op.__name__})")
        if isinstance(my_op, Op):
            partials: object = my_op.partials
            if partials is ...:
                raise Told(None, "Not answered yet: the partials are still open.")
            self.operands = _operands(my_op.value, len(partials) if isinstance(partials, Sequence) else None)
            self.f, self.make = _as_function(my_op), Node
        elif callable(my_op):
            self.f, self.make = getattr(my_op, "__func__", my_op), node or _class_of(my_op) or Node
            self.operands = _operands(self.f)
        else:
            raise TypeError(f"diagnose expects an Op or a function of nodes, got {my_op!r}")

    def report(self) -> Report:
        faults: dict[str, list[tuple[str, str, str]]] = {}  # by name: the operand, what it means, an example
        tried = self.trials()
        for i, (x, trials) in enumerate(zip(self.operands, tried)):
            for fault, meaning, example in self.faults(trials, i):
                faults.setdefault(fault, []).append((x, meaning, example))
        faults = faults or self.used_twice()
        if not faults:
            what = f"{len(tried[0])} points of both signs, out.grad = 1 and 3, gradients that were not 0 before"
            twice = ", the same node for all operands" if len(self.operands) > 1 else ""
            return Report(True, filled(f"No fault found. Tried: {what}{twice}."))
        lines = []
        for fault, found in faults.items():
            (_, meaning, example), whose = found[0], listed([x for x, _, _ in found])
            lines += [filled(f"{fault}, for {whose}: {meaning}"), filled(f"  Example: {example}", indent="  ")]
        return Report(False, "\n".join(lines))

    # --- trying it

    def points(self) -> list[tuple[float, ...]]:
        """The simplest first."""
        n, k = len(self.operands), len(_NUMBERS)
        found = [tuple(_NUMBERS[(i + step * j) % k] for j in range(n)) for step in (1, 2, 3) for i in range(k)]
        return list(dict.fromkeys(found))

    def trials(self) -> list[list[_Trial]]:
        """For each operand, what happens to it at each point where there is a value and a slope."""
        found: list[list[_Trial]] = [[] for _ in self.operands]
        for xs in self.points():
            out, n = self.value(xs), len(xs)
            slopes = [self.slope(xs, [float(i == j) for j in range(n)]) for i in range(n)]
            if all(map(math.isfinite, (out, *slopes))):
                results = zip(slopes, self.backward(xs), self.backward(xs, 3.0), self.backward(xs, before=10.0))
                for trials, result in zip(found, results):
                    trials.append(_Trial(xs, out, slopes, *result))
        if not found[0]:
            self.backward(self.points()[0])  # tells what is raised
            raise Told(False, "It has no finite value with a slope at any of the numbers tried.")
        return found

    def forward(self, nodes: Sequence[AnyNode]) -> AnyNode:
        out = self.f(*nodes)
        if out is None or out is ...:
            raise Told(False, "It returns no node. Does it end in `return out`?")
        if not hasattr(out, "data"):
            raise Told(False, f"It returns {short(repr(out))}, which is not a node: it has no .data.")
        if out.data is None or out.data is ...:
            raise Told(None, "Not answered yet: .data of the result is still open.")
        return out

    def value(self, xs: Sequence[float]) -> float:
        """Its value; nan where it has none."""
        try:
            return float(self.forward([self.make(x) for x in xs]).data)
        except Told:
            raise
        except Exception:
            return math.nan

    def slope(self, xs: Sequence[float], along: Sequence[float]) -> float:
        """Central difference, extrapolated from two steps; nan where these disagree, as at a kink."""

        def central(h: float) -> float:
            above, below = [self.value([x + side * d for x, d in zip(xs, along)]) for side in (h, -h)]
            return (above - below) / (2.0 * h)

        coarse, fine = central(2e-4), central(1e-4)
        return (4.0 * fine - coarse) / 3.0 if math.isclose(coarse, fine, rel_tol=1e-4, abs_tol=1e-6) else math.nan

    def backward(
        self, xs: Sequence[float], upstream: float = 1.0, before: float = 0.0, same: bool = False
    ) -> list[float]:
        """What is in the operands' grad after the backward step, where it was `before`."""
        try:
            nodes = [self.make(xs[0])] * len(xs) if same else [self.make(x) for x in xs]
            for x in nodes:
                x.grad = before
            out = self.forward(nodes)
            out.grad = upstream
            for node in _users_first(out):
                if hasattr(node, "_backward"):
                    node._backward()
            if not hasattr(out, "_backward"):
                raise Told(False, "The result has no _backward. Write out._backward = backward.")
            if is_stub(out._backward) and out._backward.__name__ != "<lambda>":
                raise Told(None, "Not answered yet: the backward step is still empty.")
            if any(x.grad is None or x.grad is ... for x in nodes):
                raise Told(None, "Not answered yet: a gradient is still open.")
            return [float(x.grad) for x in nodes]
        except Told:
            raise
        except Exception as error:
            hint = ""
            if self.make is Node:
                hint = "If it is written for a class of yours: diagnose(my_op, MyValue)."
            elif len(self.operands) > 1:
                hint = "If an operand has to be a plain number, hold it still: diagnose(lambda x: x ** 3, MyValue)."
            raise told_by(error, hint) from error

    # --- what is wrong

    def faults(self, trials: Sequence[_Trial], i: int) -> Iterator[tuple[str, str, str]]:
        """What is wrong with what operand i is sent: the fault, what it means, the simplest example."""
        x, out, slope = self.operands[i], [t.out for t in trials], [t.slope for t in trials]
        once, tripled, kept = ([getattr(t, of) for t in trials] for of in ("once", "tripled", "kept"))

        def example(before: str, expected: Sequence[float], got: Sequence[float]) -> str:
            k = next((k for k, pair in enumerate(zip(expected, got)) if not close(*pair)), 0)
            numbers = ", ".join(f"{name} = {number:g}" for name, number in zip(self.operands, trials[k].xs))
            return f"{numbers}, {before}: {x}.grad should become {plain(expected[k])}, but becomes {plain(got[k])}."

        local = once  # what is taken for the local derivative
        if not _equal(tripled, [3.0 * d for d in once]):
            fault, meaning = "the upstream gradient is misused", "three times out.grad must give three times as much."
            if _equal(tripled, [d + 2.0 for d in once]):
                fault, meaning = "the upstream gradient is added", "rates multiply along a path. Write * out.grad."
                local = [d - 1.0 for d in once]
            elif _equal(tripled, once):
                fault, meaning = "forgot the upstream gradient", f"{x} is sent the same, whatever out.grad is."
                if _equal(once, [d * y for d, y in zip(slope, out)]):
                    local, meaning = slope, "it multiplies by out.data instead of out.grad."
            yield fault, meaning, example("out.grad = 3", [3.0 * d for d in slope], tripled)
        if not _equal(local, slope):
            yield *self.wrong_derivative(local, trials, i), example("out.grad = 1", slope, local)
        right = [10.0 + d for d in once]
        if not _equal(kept, right):
            meaning = f"another use of {x} may have sent its share already, which {x}.grad = ... throws away"
            before = f"out.grad = 1, and {x}.grad is 10 from another use"
            yield "assigned instead of accumulated", f"{meaning}. Write {x}.grad += ...", example(before, right, kept)

    def wrong_derivative(self, local: Sequence[float], trials: Sequence[_Trial], i: int) -> tuple[str, str]:
        """local: what operand i takes for the local derivative at each trial."""
        x, slope = self.operands[i], [t.slope for t in trials]
        if _equal(local, [0.0] * len(local)):
            return "nothing is sent", f"the result moves when {x} moves, but {x}.grad stays as it was."
        if _equal(local, [-d for d in slope]):
            return "sign", "the derivative has the right size and the wrong sign."
        for j, other in enumerate(self.operands):
            if j != i and _equal(local, [t.slopes[j] for t in trials]):
                return "swapped operands", f"what is sent to {x} belongs to {other}."
        if all(close(d, t.slope) for d, t in zip(local, trials) if t.xs[i] > 0.0):
            return "wrong for negative numbers", f"the derivative is right where {x} is above 0, but not below."
        k = next((d / right for d, right in zip(local, slope) if right), 0.0)
        if _equal(local, [k * d for d in slope]):
            return "a factor", f"the derivative is always {plain(k)} times what it should be."
        if _equal(local, [t.out for t in trials]):
            return "value instead of derivative", "what is sent is the value of the operation itself."
        return "wrong derivative", "it is not the slope of the operation's own values."

    def used_twice(self) -> dict[str, list[tuple[str, str, str]]]:
        """What is wrong where one node is all operands at once."""
        for number in _NUMBERS if len(self.operands) > 1 else ():
            xs = [number] * len(self.operands)
            slope = self.slope(xs, [1.0] * len(xs))
            if math.isfinite(slope) and not close(slope, got := self.backward(xs, same=True)[0]):
                meaning = "a node that is several operands at once must get the sum of their shares."
                where = f"{' = '.join(self.operands)} = {number:g}, one and the same node, out.grad = 1"
                example = f"{where}: its grad should become {plain(slope)}, but becomes {plain(got)}."
                return {"wrong where the input is used twice": [(listed(self.operands), meaning, example)]}
        return {}


def _equal(xs: Sequence[float], ys: Sequence[float]) -> bool:
    return all(map(close, xs, ys))


def _class_of(my_op: object) -> type | None:
    """The class that a method was written in; None for a plain function."""
    if isinstance(my_op, MethodType):
        return type(my_op.__self__)
    owner, _, name = getattr(my_op, "__qualname__", "").rpartition(".")
    if not owner or owner.endswith("<locals>"):
        return None
    found = getattr(my_op, "__globals__", {}).get(owner)
    if not isinstance(found, type):
        cls = owner.rpartition(".")[2]
        raise TypeError(f"diagnose needs the class of this method too: write diagnose({cls}.{name}, {cls})")
    return found


def _operands(f: Callable[..., object], count: int | None = None) -> list[str]:
    """The names of the operands of f; letters where it has none."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have no signature
        parameters = []
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
    if count is None:
        count = 3 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(found)
    if not 0 < count <= 8:
        raise TypeError(f"diagnose expects an operation on 1 to 8 operands, got one on {count}")
    return found if len(found) == count else list("abcdefgh"[:count])


def _as_function(op: Op) -> Callable[..., Node]:
    def apply(*nodes: Node) -> Node:
        xs = [x.data for x in nodes]
        out = Node(op.value(*xs), nodes)

        def backward() -> None:
            for x, dx in zip(nodes, op.local_grads(out.data, xs)):
                if dx is not None:
                    x.grad += dx * out.grad

        out._backward = backward
        return out

    return apply


def _users_first(out: AnyNode) -> list[AnyNode]:
    """The nodes that out is made of, as far as ._prev tells; by id, since a reader's nodes may not be hashable."""
    order, seen = [], set()

    def visit(node: AnyNode) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for x in getattr(node, "_prev", ()):
                visit(x)
            order.append(node)

    visit(out)
    return order[::-1]
