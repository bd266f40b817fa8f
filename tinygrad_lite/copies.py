"""Copies and pickles of Values: nothing is lost, and nothing recurses, however deep a graph is."""

from __future__ import annotations

import copy
import copyreg
import re
import sys
import threading
import types
import weakref
from collections.abc import Callable, Container, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from . import contents
from .contents import ATOMS
from .mistakes import in_package

if TYPE_CHECKING:
    from .engine import Value

State: TypeAlias = tuple[dict[str, object] | None, dict[str, object]]  # the attributes, and those in slots
_PICKLERS = {"cloudpickle", "copyreg", "dill", "joblib", "multiprocessing", "pickle"}


def shallow(node: Value) -> Value:
    """`copy.copy` of a Value: another one, with the same operands and attributes."""
    twin: Value = object.__new__(type(node))
    for name, held in _held(node).items():
        setattr(twin, name, held)
    return twin


def deep(node: Value, memo: dict[int, Any]) -> Value:
    """`copy.deepcopy` of a Value, with all that it is made from and the modules that were called on the way."""
    nodes = [*_below(node, memo), node]
    memo.setdefault(id(memo), []).extend(nodes)  # as `copy` does: an id is that of a node only while that lives
    memo.update([(id(x), object.__new__(type(x))) for x in nodes])
    for x in nodes:
        twin = memo[id(x)]
        for name, held in _held(x).items():
            if name == "args":  # they have their twins by now
                held = tuple([memo.get(id(operand), operand) for operand in x.args])
            elif type(held) not in ATOMS and name not in _CONSTANT:
                held = copy.deepcopy(held, memo)
            setattr(twin, name, held)
    found: Value = memo[id(node)]
    return found


_CONSTANT = {"op", "local_grads"}  # beside numbers and texts


def _held(node: Value) -> dict[str, object]:
    """The attributes of a Value, by name; those that are not set left out."""
    try:
        own, slots = cast(State, object.__getstate__(node))
    except TypeError:  # a placeholder of the compiler, which refuses to be asked for its data
        return dict(contents.attributes(node))
    return {**slots, **(own or {})}


def _below(root: Value, known: Container[int]) -> list[Value]:
    """All that root is made from, operands before users, and the Values that the modules on the way were called with;
    without what is known, by id, and without what only that is made from."""
    if not root.args and not hasattr(root, "call"):
        return []
    order: list[Value] = []
    seen, calls = {id(root)}, set[int]()
    path = [(root, iter(_operands(root, calls)))]  # explicit, as in the engine
    while path:
        node, operands = path[-1]
        for x in operands:
            if id(x) not in seen and id(x) not in known:
                seen.add(id(x))
                if below := _operands(x, calls):
                    path.append((x, iter(below)))
                    break
                order.append(x)
        else:
            order.append(node)
            path.pop()
    return order[:-1]


def _operands(node: Value, calls: set[int]) -> list[Value]:
    """The operands of a node; and once for each call of a module, the Values among its inputs. calls: ids of those
    that were looked at."""
    found = [x for x in node.args if x.__class__ is not float]
    call = getattr(node, "call", None)
    if call is not None and id(call) not in calls:
        calls.add(id(call))
        stack = [call[1]]
        while stack:
            part = stack.pop()
            if isinstance(part, (list, tuple)):
                stack += part
            elif hasattr(type(part), "local_grads"):
                found.append(part)
    return found


# --- pickles


class _Run:
    """One run of a pickler: where it was started, and by id the Values that it has begun to write."""

    __slots__ = ("__weakref__", "begun", "place")

    def __init__(self, place: object) -> None:
        self.place = place
        self.begun: set[int] = set()


class _Order(list[Any]):
    """A list in a pickle, by which its pickler, which remembers it, keeps the run alive as long as itself."""

    __slots__ = ("run",)

    def __init__(self, nodes: list[Value], run: _Run) -> None:
        super().__init__(nodes)
        self.run = run

    def __reduce__(self) -> tuple[object, ...]:
        return list, (), None, iter(self)


class _Here(threading.local):
    run: Callable[[], _Run | None] = staticmethod(lambda: None)  # a weak reference


_here = _Here()


def reduced(node: Value, unreached: float) -> tuple[object, ...]:
    """What a pickler is to write for a Value: before it, one by one, all that it is made from and that is not written
    yet, so that each finds its operands written and the pickler need not recurse.

    unreached: the gradient of a Value that no backward pass has reached, told from others by what it is.
    """
    held = _held(node)
    if held["grad"] is unreached:
        del held["grad"]
    order: list[Value] = []
    if node.args or "call" in held:
        run, place = _here.run(), _place()
        if run is None or run.place != place:
            run = _Run(place)
            _here.run = weakref.ref(run)
            order = _Order([], run)
        run.begun.add(id(node))
        order += [x for x in _below(node, run.begun) if x.args or hasattr(x, "call")]
    return copyreg.__newobj__, (type(node),), (order, held), None, None, restore  # type: ignore[attr-defined]


def restore(node: Value, state: tuple[object, dict[str, object]]) -> None:
    """Gives a new Value what `reduced` wrote of it."""
    node.zero_grad()  # unreached
    for name, held in state[1].items():
        setattr(node, name, held)


def _place() -> tuple[int, int]:
    """The place in a program that called a pickler, other than a pickler's own."""
    for frame in _frames():
        if _module(frame).partition(".")[0] not in _PICKLERS:
            return id(frame), frame.f_lasti
    return 0, 0


def refuse_nameless(holder: object) -> None:
    """Where a pickler asks: its own error, and what to write, for an attribute that is a function without a name of its
    own, as a lambda. Copies share functions, and cloudpickle and dill write their code."""
    functions = {name: x for name, x in vars(holder).items() if isinstance(x, types.FunctionType) and not _is_named(x)}
    if not functions or any(re.search(r"\b(copy|cloudpickle|dill)\b", _module(frame)) for frame in _frames()):
        return
    name, function = next(iter(functions.items()))
    error = getattr(sys.modules.get("pickle"), "PicklingError", TypeError)
    raise error(
        f"{name} of this {type(holder).__name__} is {function.__qualname__}, which a pickle cannot name: define it "
        "with def at the top of a module"
    )


def _is_named(function: types.FunctionType) -> bool:
    """Is it found again by its name in its module?"""
    found: object = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _frames() -> Iterator[types.FrameType]:
    """The frames outside this package, the innermost first."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        if not in_package(frame):
            yield frame
        frame = frame.f_back


def _module(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
