"""What learners trip over: every warning, the words for it, and the line of their program that it speaks of."""

from __future__ import annotations

import linecache
import sys
import warnings
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from .ieee import same

if TYPE_CHECKING:
    from .engine import Value


class TrainingWarning(UserWarning):
    """A training that runs, and probably does not do what was meant.

    Shown once per place. Silence it, or make it an error that stops there, as any warning:
    `warnings.filterwarnings("ignore", category=TrainingWarning)`; "error" instead of "ignore".
    """


_first: dict[tuple[str, int, str], str] = {}  # (file, line, mistake) -> what was said there first


def warn(mistake: str, message: str, category: type[Warning] = TrainingWarning) -> None:
    """A warning at the user's line; the same mistake there is not repeated for another parameter."""
    frame, depth = _user_frame()
    shown = frame.f_globals.setdefault("__warningregistry__", {})  # the standard filters' notes
    first = _first.setdefault((frame.f_code.co_filename, frame.f_lineno, mistake), message)
    if shown.get((first, category, frame.f_lineno)):
        shown[message, category, frame.f_lineno] = True
    warnings.warn(message, category, stacklevel=depth)


def not_a_loss(value: object) -> str:
    """What a loss returned instead of one Value, and what to write."""
    if value is None:
        return "None: is there a `return`?"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}: write `return mean(...)`"
    return f"{value!r}; compute it from the model's outputs, not from their .data"


def user_line() -> str:
    """File, line and text of the innermost frame outside this package."""
    frame, _ = _user_frame()
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{number}: {linecache.getline(file, number).strip()}"


def _user_frame() -> tuple[FrameType, int]:
    """The innermost frame outside this package, and how many frames it lies above our caller, itself 1."""
    frame, depth = sys._getframe(1), 1
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, depth = frame.f_back, depth + 1
    return frame, depth


# --- how messages speak of Values


def name_of(x: Value) -> str:
    """w1=-3 of a labelled Value, else Value(-3)."""
    return f"{x.label}={x.data:g}" if x.label else f"Value({x.data:g})"


def equation(node: Value) -> str:
    """v = op(operands) at file:line of its making, where `anomaly` noted that."""
    operands = ", ".join(f"{x:g}" if x.__class__ is float else name_of(x) for x in node.args[:6])
    more = f", ... {len(node.args) - 6} more" if len(node.args) > 6 else ""
    line = getattr(node, "line", "")
    made = f"{node.op.name}({operands}{more})" if node.op else "a leaf"
    return f"{name_of(node)} = {made}" + (f" at {line}" if line else "")


# --- of the engine


def look_for_an_update(x: Value, other: object) -> None:
    """TrainingWarning for `p -= lr * p.grad` of a leaf p that has a gradient."""
    if x.grad and not x.args and not hasattr(other, "local_grads"):
        warn(
            "update in place",
            f"+= and -= make a new Value, of a graph that grows with every step, and leave {name_of(x)} as it is: "
            "write p.data -= lr * p.grad",
        )


def look_for_an_old_graph(root: Value, order: Sequence[Value]) -> None:
    """TrainingWarning for a further backward pass over a graph whose numbers were changed since it was recorded."""
    if any(map(has_changed, order)):
        warn(
            "old graph",
            f"a second backward() on {name_of(root)}, while .data was changed since it was computed: the gradients "
            "are those of the old numbers. Compute the loss anew, inside the loop",
        )


def note_leaf(leaf: Value) -> None:
    """Before a backward pass: where the leaf's adding up begins, for whoever looks for a forgotten zero_grad."""
    if not leaf.grad or getattr(leaf, "before", None) is None:
        leaf.before = leaf.grad
    if hasattr(leaf.data, "local_grads"):
        raise TypeError(f"the data of {name_of(leaf)} is a Value, not a number: write p.data -= lr * p.grad")
    if leaf.grad is None:
        raise TypeError(f"the grad of {name_of(leaf)} is None, not a number: write p.zero_grad()")


def has_changed(node: Value) -> bool:
    """Does a node's number no longer follow from its operands' numbers, as after an optimiser's step?"""
    if node.op is None:
        return False
    try:
        now = node.op.value(*[float(getattr(x, "data", x)) for x in node.args])
    except Exception:  # an operation that cannot be asked, like a compiled function
        return False
    return not same(now, node.data)
