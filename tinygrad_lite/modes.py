"""What is switched on in this thread: no_grad, anomaly, recording for the compiler, scopes for pictures."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from .mistakes import equation, name_of, user_line

if TYPE_CHECKING:
    from .engine import Value
    from .nn import Module


class _Mode(threading.local):
    no_grad = False
    anomaly = False
    recording: type[Value] | None = None  # the class of placeholders, where the compiler records
    scope: Scope | None = None


here = _Mode()  # of this thread
active: list[str] = []  # of all threads: one glance tells the fast path that no mode is on


@contextmanager
def _switched(name: str, to: object = True) -> Iterator[None]:
    before = getattr(here, name)
    active.append(name)
    try:
        setattr(here, name, to)  # in here: Ctrl-C may fall after it
        yield
    finally:
        setattr(here, name, before)
        active.remove(name)


def no_grad() -> AbstractContextManager[None]:
    """`with no_grad():` computes and records nothing: results are leaves. For this thread."""
    return _switched("no_grad")


def no_grad_active() -> bool:
    """Is this thread inside no_grad()?"""
    return here.no_grad


def anomaly() -> AbstractContextManager[None]:
    """`with anomaly():` raises FloatingPointError where the first nan or inf appears, forward or backward, naming
    operation, operands and your source line. Slow; for this thread."""
    return _switched("anomaly")


def anomaly_active() -> bool:
    """Is this thread inside anomaly()?"""
    return here.anomaly


def recording(placeholder: type[Value]) -> AbstractContextManager[None]:
    """`with recording(Tracer):` every operation of this thread records a Tracer, for the compiler."""
    return _switched("recording", placeholder)


# --- where in a program a Value was made, for whoever draws it later


class Scope:
    """One `with scope(name):`, entered inside `outer`; kept on every Value recorded there."""

    __slots__ = ("name", "outer")

    def __init__(self, name: str, outer: Scope | None) -> None:
        self.name, self.outer = name, outer


# One call of a module, kept on the Values that it returned: the module, the arguments (one object for all
# results of a call) and where it was called. A plain tuple, because one is made at every call.
Call = tuple["Module", tuple[object, ...], Scope | None]


def scope(name: str) -> AbstractContextManager[None]:
    """`with scope("loss"):` what is recorded inside is one part with this name, which `draw_dot` can fold
    into one box; scopes nest. Recording is slower inside. For this thread.

    >>> from tinygrad_lite import Value
    >>> with scope("loss"):
    ...     loss = (Value(3.0) - 1.0) ** 2
    >>> loss.scope.name
    'loss'
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f'scope expects a name, as in `with scope("loss"):`, got {name!r}')
    return _switched("scope", Scope(name, here.scope))


def current_scope() -> Scope | None:
    """The innermost scope that this thread is in."""
    return here.scope


# --- what the modes do to a node, and to a backward pass


def apply(node: Value) -> None:
    """To a node that was just recorded. FloatingPointError under anomaly() where its number is not finite."""
    if here.anomaly:
        node.line = user_line()
        if not math.isfinite(node.data):
            raise FloatingPointError(f"{node.data} first appeared in the forward pass: {equation(node)}")
    if here.no_grad:
        node.op, node.args, node.local_grads = None, (), ()
    if here.scope is not None:
        node.scope = here.scope


def check_backward(order: Sequence[Value]) -> None:
    """Under anomaly(): the backward pass on the side, so that no gradient is changed when it fails."""
    if not here.anomaly:
        return
    grads = {order[-1]: 1.0}
    for node in reversed(order):
        if node in grads:
            for x, dx in zip(node.args, node.local_grads):
                if dx is not None:
                    grads[x] = grads.get(x, 0.0) + dx * grads[node]
                    if not math.isfinite(grads[x]):
                        raise FloatingPointError(
                            f"{grads[x]} first appeared in the backward pass: upstream gradient {grads[node]:g} x "
                            f"local derivative {dx:g} for operand {name_of(x)} of {equation(node)}"
                        )
