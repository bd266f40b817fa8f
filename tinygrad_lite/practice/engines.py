"""A reader's own engine: which idea does it lack first?"""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import NamedTuple, SupportsFloat, TypeAlias, TypeVar, cast

from ..engine import Value
from ..notation import filled
from .words import EXERCISE, Report, close, is_stub, plain, short, still_empty, told_by

T = TypeVar("T")
Trace: TypeAlias = "Callable[[FrameType, str, object], Trace]"  # a function for sys.settrace


class _Idea(NamedTuple):
    """What an engine needs. programs: lines, between semicolons, in which V is the reader's class; after them the
    watched numbers are those of Value."""

    name: str
    why: str
    watched: str
    programs: Sequence[str]


_ORDER, _AGAIN = "a topological order", "a second backward pass"
_PAIR, _DIAMOND = "a = V(2.0); b = V(3.0); ", "x = V(3.0); s = x * x; t = s + x; "
_IDEAS = (
    _Idea("a number in a node", "A node keeps its number in .data.", "a.data", ["a = V(2.0)"]),
    _Idea("a gradient that starts at 0", "Nothing has been sent to a new node yet.", "a.grad", ["a = V(2.0)"]),
    _Idea("addition", "a + b makes a new node. Python calls a.__add__(b).", "c.data", [_PAIR + "c = a + b"]),
    _Idea("multiplication", "a * b makes a new node. Python calls a.__mul__(b).", "c.data", [_PAIR + "c = a * b"]),
    _Idea(
        "numbers on either side",
        "A plain number may stand on the right or on the left. For 2 + a Python calls a.__radd__(2), for 2 * a it "
        "calls a.__rmul__(2).",
        "b.data",
        [f"a = V(3.0); b = {b}" for b in ("a + 2", "a * 2", "2 + a", "2 * a")],
    ),
    _Idea(
        "the local derivative",
        "backward() gives the result itself the gradient 1. Then an operation sends to each operand how fast the "
        "result moves when that operand moves.",
        "c.grad a.grad b.grad",
        [_PAIR + f"c = a {op} b; c.backward()" for op in "+*"],
    ),
    _Idea(
        "the upstream gradient",
        "Along a path, rates multiply. What an operation sends is the local derivative times the gradient of its own "
        "result, which has arrived from above.",
        "a.grad b.grad",
        [_PAIR + f"m = a {op} b; y = m * 4; y.backward()" for op in "+*"],
    ),
    _Idea(
        "shares that accumulate",
        "A node that is used more than once gets a share from each use, and the shares add up: +=, not =.",
        "a.grad",
        [f"a = V(3.0); b = a {op} a; b.backward()" for op in "+*"]
        + [_PAIR + "p = a * b; q = a + b; y = p * q; y.backward()"],
    ),
    _Idea(
        _ORDER,
        "A node passes its gradient on once, when the shares of all its users have arrived. A topological order, "
        "walked backwards, guarantees that.",
        "x.grad",
        [_DIAMOND + f"y = {y}; y.backward()" for y in ("s * t", "t * s")]
        + [_DIAMOND + f"u = {u}; y = {y}; y.backward()" for u in ("s * t", "t * s") for y in ("u * s", "s * u")],
    ),
    _Idea(
        "each node once",
        "Following each path on its own is right, but hopeless: these 61 nodes have 2**60 paths. Visit each node once.",
        "x.grad",
        ["x = V(1.0); y = x; for _ in range(60): y = y + y; y.backward()"],
    ),
    _Idea(
        "long chains",
        "A function that calls itself goes as deep as the graph, and Python stops it after some 1,000 calls. A list "
        "used as a stack has no such limit.",
        "x.grad",
        ["x = V(1.0); y = x; for _ in range(5000): y = y + x; y.backward()"],
    ),
    _Idea(
        _AGAIN,
        "A second pass adds to the gradients of the inputs, which collects those of many examples. The gradients in "
        "between belong to one pass, and start from 0 in each.",
        "a.grad b.grad",
        [_PAIR + "m = a * b; y = m * 4; y.backward(); y.backward()"],
    ),
)
_OPERATORS = {
    "__neg__": "-x", "__abs__": "abs(x)", "__sub__": "x - z", "__rsub__": "2 - x", "__truediv__": "x / z",
    "__rtruediv__": "2 / x", "__pow__": "x ** 3", "exp": "x.exp()", "log": "z.log()", "sqrt": "z.sqrt()",
    "sin": "x.sin()", "cos": "x.cos()", "tanh": "x.tanh()", "sigmoid": "x.sigmoid()", "relu": "x.relu()",
}  # fmt: skip
_MOST_STEPS = 1_000_000  # lines of Python that a program may take


def check_value_class(my_class: object, upto: str | None = None) -> Report:
    """Which idea does this engine lack first? Small programs, from one node to long chains, run on the reader's
    class and on Value, and must leave the same numbers.

    Parameters
    ----------
    my_class : a class, of which MyValue(2.0) is a leaf with .data, .grad, + and *, .backward()
        What else it has of Value's operators and functions is tried at the end. A program that does not end is
        stopped after a million lines.
    upto : the last idea that is asked for, as in upto="a topological order" (default: all)

    >>> class Half:
    ...     def __init__(self, data):
    ...         self.data, self.grad = data, 0.0
    >>> check_value_class(Half)
    Right so far: a number in a node, a gradient that starts at 0.
    <BLANKLINE>
    The next idea: addition. a + b makes a new node. Python calls a.__add__(b).
    <BLANKLINE>
        a = Half(2.0)
        b = Half(3.0)
        c = a + b
    <BLANKLINE>
    Python says: TypeError: unsupported operand type(s) for +: 'Half' and 'Half'
    """
    if my_class is None or my_class is ...:
        return Report(None, "Not answered yet.")
    if not isinstance(my_class, type):
        raise TypeError(f"check_value_class expects a class, as in check_value_class(MyValue), got {my_class!r}")
    if all(is_stub(f) for cls in my_class.__mro__[:-1] for f in vars(cls).values() if inspect.isfunction(f)):
        return Report(None, f"Not answered yet: {my_class.__name__} is still empty.")
    more = [term for name, term in _OPERATORS.items() if hasattr(my_class, name)]
    programs = [f"x = V({x}); z = V(4.0); t = {term}; y = t * z; y.backward()" for x in (0.5, -0.5) for term in more]
    why = "Not asked for, but what is there should be right. To look closer: diagnose(MyValue.tanh)."
    ideas = [*_IDEAS, _Idea("its other operations", why, "t.data x.grad z.grad", programs)]
    known = [idea.name for idea in ideas]
    if upto is not None and upto not in known:
        raise ValueError(f"upto expects one of {', '.join(map(repr, known))}; got {upto!r}")
    asked = ideas[: None if upto is None else known.index(upto) + 1]
    for i, idea in enumerate(asked):
        for program in idea.programs:
            told = _compare(my_class, program.replace("; ", "\n"), idea)
            if told is not None:
                before = f"Right so far: {', '.join(known[:i])}." if i else "Let's start with one node."
                head = f"{'Next to write' if told.ok is None else 'The next idea'}: {idea.name}. {idea.why}"
                shown = program.replace("; ", "\n").replace("V(", f"{my_class.__name__}(")
                parts = filled(before), filled(head), textwrap.indent(shown, "    "), told.text
                return Report(told.ok, "\n\n".join(parts))
    there = f"All of it is there: {', '.join(idea.name for idea in asked if idea.programs)}."
    return Report(True, filled(there))


def _compare(my_class: type, program: str, idea: _Idea) -> Report | None:
    """Runs a program on the reader's class and on Value. None where they agree, else what to tell."""
    called: set[CodeType] = set()
    try:
        found = _limited(lambda: _run(my_class, program, idea.watched), called)
    except _Endless:
        return Report(False, f"It was stopped after {_MOST_STEPS:,} lines of Python.")
    except Exception as error:
        empty = still_empty(called) if "NoneType" in str(error) else ""
        return Report(None, empty) if empty else told_by(error).report
    values = cast(list[float], _run(Value, program, idea.watched))
    for what, expected, got in zip(idea.watched.split(), values, found):
        if got is ...:
            return Report(None, f"Not answered yet: {what} is still open.")
        number = float(got) if isinstance(got, SupportsFloat) and not isinstance(got, Value) else None
        if number is not None and close(number, expected):
            continue
        if (got is None or number == 0.0) and (empty := still_empty(called)):
            return Report(None, empty)
        is_ = short(repr(got)) if number is None else plain(number)
        remark = "" if number is None else _remark(idea, expected, number)
        return Report(False, filled(f"{what} should be {plain(expected)}, but is {is_}. {remark}"))
    return None


def _run(my_class: type, program: str, watched: str) -> list[object]:
    namespace: dict[str, object] = {"V": my_class}
    exec(compile(program, EXERCISE, "exec"), namespace)
    return [eval(compile(what, EXERCISE, "eval"), namespace) for what in watched.split()]


class _Endless(BaseException):
    """Out of steps. No Exception, so that no `except Exception` in the reader's code goes on."""


def _limited(run: Callable[[], T], called: set[CodeType]) -> T:
    """run(), stopped by _Endless after _MOST_STEPS lines. Adds the code that was called."""
    steps, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, arg: object) -> Trace:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise _Endless
        if event == "call":
            called.add(frame.f_code)
        return trace

    sys.settrace(trace)
    try:
        return run()
    finally:
        sys.settrace(before)


def _remark(idea: _Idea, expected: float, got: float) -> str:
    """What else the two numbers say."""
    if idea.name == _ORDER and 0.0 < got < expected:
        return "That is too little: some node passed its gradient on before all its shares had arrived."
    if idea.name == _ORDER and got > expected:
        return "That is too much: some node passed on the same share more than once."
    if idea.name == _AGAIN and close(2.0 * got, expected):
        return "The second pass has thrown away what the first one had collected."
    if idea.name == _AGAIN and got > expected:
        return "That is too much: gradients in between were still there from the first pass."
    return ""
