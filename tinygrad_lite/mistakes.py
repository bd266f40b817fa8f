"""What learners trip over: every warning, the words for it, and the line of their program that it speaks of."""

from __future__ import annotations

import itertools
import linecache
import os
import sys
import threading
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import is_
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeGuard, cast

from .contents import leading_to, reached
from .ieee import same

if TYPE_CHECKING:
    from .engine import Value
    from .nn import Module
    from .optim import Optimizer
    from .train import History


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
    return line_of(frame, frame.f_lineno)


def line_of(frame: FrameType, number: int) -> str:
    """File, number and text of this line of a frame's code."""
    file = frame.f_code.co_filename
    return f"{file}:{number}: {linecache.getline(file, number).strip()}"


def raised_at(error: BaseException, besides: str = "<frozen") -> traceback.FrameSummary | None:
    """The innermost place outside this package that an exception passed. besides: how the names of files begin that
    are no user's either."""
    here = os.path.dirname(__file__)
    frames = traceback.extract_tb(error.__traceback__)
    return next((f for f in reversed(frames) if not f.filename.startswith((here, besides))), None)


def in_package(frame: FrameType) -> bool:
    """Does this frame run a function of the package?"""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == __name__.partition(".")[0]


def _user_frame() -> tuple[FrameType, int]:
    """The innermost frame outside this package, and how many frames it lies above our caller, itself 1."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back and (in_package(frame) or frame.f_globals.get("__name__", "").startswith("numpy.")):
        frame, depth = frame.f_back, depth + 1
    return frame, depth


# --- how messages speak of Values


def name_of(x: Value) -> str:
    """w1=-3 of a labelled Value, else Value(-3)."""
    label = x.label if x.label.isprintable() else repr(x.label)  # nothing that a terminal obeys
    return f"{label}={x.data:g}" if label else f"Value({x.data:g})"


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
        refuse_value_as_data(leaf)
    if leaf.grad is None:
        raise TypeError(f"the grad of {name_of(leaf)} is None, not a number: write p.zero_grad()")


class _Here(threading.local):
    root: Callable[[], Value | None] = staticmethod(lambda: None)  # a weak reference to that of the last backward pass


_here = _Here()


def note_pass(root: Value) -> None:
    """After a backward pass: of what it was, for the first step that follows."""
    _here.root = weakref.ref(root)


def refuse_value_as_data(x: Value) -> NoReturn:
    """TypeError of p.data = p - lr * p.grad, which makes a Value of what has to be its number."""
    raise TypeError(f"the data of {name_of(x)} is a Value, not a number: write p.data -= lr * p.grad")


def has_changed(node: Value) -> bool:
    """Does a node's number no longer follow from its operands' numbers, as after an optimiser's step?"""
    if node.op is None:
        return False
    try:
        now = node.op.value(*[float(getattr(x, "data", x)) for x in node.args])
    except Exception:  # an operation that cannot be asked, like a compiled function
        return False
    return not same(now, node.data)


# --- what an optimiser's steps show of the loop around them

_optimisers: weakref.WeakKeyDictionary[Optimizer, bool] = weakref.WeakKeyDictionary()
PATIENCE = 10  # steps in a row in which the same parameters go unreached; rows of a table go in turn


class LastStep(NamedTuple):
    """What a step leaves for the next to be compared with. Replaced, never changed: a copy of an optimiser's
    attributes restores it.

    spent: the gradients that it used; None where the next pass may add to them. unreached: the indices of
    parameters that no gradient reached, in_a_row: in how many steps by now just these.
    """

    spent: list[float | None]
    unreached: list[int]
    in_a_row: int


def look_at_step(opt: Optimizer) -> None:
    """TrainingWarning where no backward pass has reached any parameter since the last step, or the same few not
    for `PATIENCE` steps, and where one added to the gradient that the last step had already used."""
    if not _optimisers[opt]:
        _look_at_first_step(opt)
    last, before = opt.last_step, [getattr(p, "before", None) for p in opt.params]
    unreached = [
        i
        for i, (p, began, spent) in enumerate(zip(opt.params, before, last.spent))
        if began is None and (not p.grad or p.grad is spent)  # nor by hand
    ]
    in_a_row = last.in_a_row + 1 if unreached == last.unreached else 1
    opt.last_step = LastStep(last.spent, unreached, in_a_row)
    for_long = unreached and in_a_row == PATIENCE and before.count(None) < len(before)
    if for_long or len(unreached) == len(before):
        warn_unreached(opt.params, unreached)
    if any(map(is_, before, last.spent)):
        kept = [i for i, (began, spent) in enumerate(zip(before, last.spent)) if spent and began is spent]
        if kept:
            warn(
                "zero_grad",
                f"{_parameter_names(opt.params, kept)} still held the gradient of the last step, and backward added "
                "to it: call zero_grad() before backward(), or step(accumulate=True) where that is meant",
            )


def note_optimiser(opt: Optimizer) -> None:
    """Of all there are, one may know what another does not."""
    _optimisers[opt] = False  # whether its loss was looked at


def _look_at_first_step(opt: Optimizer) -> None:
    """TrainingWarning where the loss of a hand-written loop is made of a parameter that no optimiser knows."""
    root = _here.root()
    found = reached([root], lambda kind: False, lambda x: getattr(x, "args", ())) if root is not None else ()
    values = cast("list[Value]", list(found))  # numbers are no objects to reach
    modules = {id(v.call[0]): v.call[0] for v in values if hasattr(v, "call")}
    others = {p for other in list(_optimisers) if other is not opt for p in other.params}
    look_for_forgotten(modules.values(), opt, [v for v in values if v not in others])


def spend(opt: Optimizer, accumulate: bool) -> None:
    """Notes that a step has used the gradients as they are, and whether the next pass may add to them."""
    for p in opt.params:
        p.before = None
        if p.grad:
            p.grad *= 1.0  # an object of its own, which nothing but this step has used
    _, unreached, in_a_row = opt.last_step
    opt.last_step = LastStep([None if accumulate else p.grad for p in opt.params], unreached, in_a_row)


def recognise_spent(opt: Optimizer) -> None:
    """After a pickle, which does not keep which numbers are one object: a gradient that the last step used is the one
    that its parameter still holds."""
    for p, spent in zip(opt.params, opt.last_step.spent):
        if spent and getattr(p, "grad", None) == spent:
            p.grad = spent
        if spent and getattr(p, "before", None) == spent:
            p.before = spent


def warn_unreached(params: Sequence[Value], which: list[int]) -> None:
    """TrainingWarning about the parameters at these indices, which are not in the loss's graph."""
    if len(which) == len(params):
        warn(
            "no backward",
            "no backward pass has reached a parameter since the last step, or zero_grad() came after it: call "
            "zero_grad(), loss.backward(), step(), on a loss made of these parameters themselves, not of their "
            ".data and not under no_grad()",
        )
    else:
        warn(
            "unreached",
            f"the loss is not made of {_parameter_names(params, which)}: no backward pass reaches it. Leave it out "
            "where that is meant; p = p - lr * p.grad makes a new Value, which the optimiser does not know: write "
            "p.data -= lr * p.grad",
        )


def parameter_name(params: Sequence[Value], i: int) -> str:
    """What to call the parameter at index i: its index, and its label if it has one."""
    label = params[i].label
    return f"parameter {i}" + (f" ({label!r})" if label else "")


def _parameter_names(params: Sequence[Value], which: list[int]) -> str:
    more = f" and {len(which) - 3} more" if len(which) > 3 else ""
    return ", ".join(parameter_name(params, i) for i in which[:3]) + more


# --- what `fit` sees


def look_for_forgotten(functions: Iterable[object], opt: Optimizer, values: Iterable[Value]) -> None:
    """TrainingWarning where a loss is made of a parameter that this optimiser ought to know: see `forgotten`.

    functions: the loss and the penalty. values: of their graph.
    """
    _optimisers[opt] = True
    found = forgotten(functions, opt.params, values)
    if found:
        names = list(found.values())
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        warn(
            "forgotten",
            f"the loss is made of {', '.join(names[:3])}{more}, which the optimiser does not know and never moves: "
            "give it model.parameters() once the model is complete and holds what it uses. Where that is meant to stay "
            "as it is, use its number, .data, or silence this TrainingWarning",
        )


def forgotten(functions: Iterable[object], params: Iterable[Value], values: Iterable[Value]) -> dict[Value, str]:
    """Leaves that look like forgotten parameters, and what to call them: not among params, and

    - held by a module that these functions lead to and that has a parameter among params (whole modules are frozen on
      purpose);
    - or held by no module, but used by the code of one that is trained: such are neither trained nor saved.
    """
    known = set(params)
    unknown = [v for v in dict.fromkeys(values) if v.op is None and v not in known]
    models = [part for part in _reached(functions) if _is_module(part)] if unknown else []  # the outermost first
    homes = [{v: path for path, v in model.named_values() if v.op is None} for model in models]
    trained = [not known.isdisjoint(home) for home in homes]
    outermost = {v: i for i, home in reversed(list(enumerate(homes))) for v in home}
    innermost = {v: i for i, home in sorted(enumerate(homes), key=lambda place: -len(place[1])) for v in home}
    found = {}
    for v in unknown:
        if v in innermost and trained[innermost[v]]:
            i = outermost[v]
            found[v] = v.label or f"{homes[i][v]} of {type(models[i]).__name__}"
        for model in itertools.compress(models, trained) if v not in innermost else ():
            if any(part is v for part in _reached([model])):
                found[v] = f"{name_of(v)} (used by {type(model).__name__}, and not held)"
                break
    return found


def _is_module(part: object) -> TypeGuard[Module]:
    return hasattr(type(part), "named_values")


def _reached(start: Iterable[object]) -> Iterator[object]:
    """All that can be reached from these, through functions and the methods of modules as well."""

    def leads_to(part: object) -> Iterable[object]:
        if hasattr(type(part), "local_grads"):  # what a Value was computed from is no part of anything
            return ()
        methods = [x for base in type(part).__mro__ for x in vars(base).values()] if _is_module(part) else []
        return [*leading_to(part), *methods]

    return reached(start, skip=lambda kind: False, leads_to=leads_to)


def warn_if_rising(history: History, penalised: bool) -> bool:
    """TrainingWarning, and True, where the loss has risen for three epochs and is twice that of the first."""
    first, now = history.loss[0], history.loss[-1]
    last = history.loss[-4:]
    rising = len(last) == 4 and last == sorted(set(last)) and now - first > abs(first)
    if rising:
        warn(
            "rising loss",
            f"the loss rose from {first:.4g} in epoch 1 to {now:.4g} in epoch {len(history.loss)}: the learning rate "
            f"of {history.lr[-1]:g} is probably too high{', unless the penalty has grown' if penalised else ''}; try a "
            "tenth; doctor(model, loss, X, y, opt) looks closer",
        )
    return rising
