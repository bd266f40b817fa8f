"""What keeps a training whole: steps and states that are refused, and changes that no Ctrl-C divides."""

from __future__ import annotations

import math
import reprlib
from collections import deque
from collections.abc import Iterable, Mapping, MutableSequence, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar, cast

from .. import expect
from ..mistakes import parameter_name

if TYPE_CHECKING:
    from ..engine import Value
    from .optimizer import Optimizer

T = TypeVar("T")


def check_gradients(params: Sequence[Value]) -> None:
    """An error that names the parameter whose gradient is no finite number."""
    try:
        if math.isfinite(sum([p.grad for p in params])):  # one look at all of them, as it is nearly always
            return
    except TypeError:
        pass
    for i, p in enumerate(params):
        name = parameter_name(params, i)
        if p.grad is None or hasattr(p.grad, "record"):
            raise TypeError(f"the gradient of {name} is {p.grad!r}, not a number: write p.grad = g.data")
        if not math.isfinite(p.grad):
            raise FloatingPointError(
                f"the gradient of {name} is {p.grad}; nothing was updated. `with anomaly():` around forward and "
                "backward pass finds where it first appeared"
            )


def check_results(
    params: Sequence[Value], lr: float, numbers: Sequence[float], states: Sequence[tuple[float, ...]]
) -> None:
    """An error that names the parameter that would become, or whose state would become, no finite number."""
    if math.isfinite(sum(numbers)) and (not states[0] or math.isfinite(sum(map(sum, states)))):
        return
    for i, (p, new, state) in enumerate(zip(params, numbers, states)):
        name = parameter_name(params, i)
        if not math.isfinite(new):
            raise FloatingPointError(
                f"{name} would become {new} (from {p.data:g}, gradient {p.grad:g}, lr {lr:g}); nothing was updated. "
                "A smaller lr is the usual cure"
            )
        if not all(map(math.isfinite, state)):
            raise FloatingPointError(
                f"the state of {name} would become {state} (gradient {p.grad:g}); nothing was updated. A smaller "
                "gradient is needed: scale the loss"
            )


def check_updates(name: str, results: MutableSequence[Any], state_size: int) -> None:
    """An error unless each is what an `update` must return: the parameter and its state, as real numbers."""
    try:
        if set(map(len, results)) == {1 + state_size} and set(map(type, chain.from_iterable(results))) == {float}:
            return
    except TypeError:
        pass
    what = f"{name}.update must return a tuple of the parameter and {state_size} numbers of state (state_size)"
    for i, result in enumerate(results):
        if not isinstance(result, (tuple, list)):
            write = ": write return (p,), with the comma" if not state_size else ""
            raise TypeError(f"{what}, got {result!r}{write}")
        if len(result) != 1 + state_size:
            raise ValueError(f"{what}, got {len(result)} numbers")
        for x in result:
            if hasattr(x, "local_grads"):
                raise TypeError(f"{what}, got {x!r}: compute them from the arguments alone")
        results[i] = tuple([expect.number(f"what {name}.update returns", x) for x in result])


def check_skips(opt: Optimizer, state: Mapping[str, object], t: int) -> list[int]:
    """The skips of a `state_dict`, which has them only where there were any."""
    n = len(opt.params)
    skips = [expect.whole("skips", k, least=0) for k in _listed("skips", state.get("skips", [0] * n))]
    if len(skips) != n:
        raise ValueError(f"the optimiser has {n} parameters, got skips of {len(skips)}")
    if max(skips) > t:
        raise ValueError(f"skips are some of the steps made, t={t}, got {max(skips)}")
    return skips


def check_state(opt: Optimizer, state: Mapping[str, object]) -> tuple[float, int, list[tuple[float, ...]]]:
    """lr, t and the numbers of a `state_dict`; an error where it is not one of such an optimiser."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict expects a dict as of state_dict(), got {reprlib.repr(state)}")
    if missing := [name for name in ("lr", "t", "state") if name not in state]:
        raise ValueError(f"an optimiser's state is a dict with lr, t and state; missing: {', '.join(missing)}")
    rows = [_row(i, row) for i, row in enumerate(_listed("state", state["state"]))]
    got = list(map(len, rows))
    if got != [opt.state_size] * len(opt.params):
        raise ValueError(
            f"{type(opt).__name__} keeps {opt.state_size} numbers for each of {len(opt.params)} parameters, got a "
            f"state for {len(got)} parameters with {sorted(set(got))} numbers each"
        )
    return expect.learning_rate(_no_bool("lr", state["lr"])), _steps(state["t"]), rows


def _row(i: int, given: object) -> tuple[float, ...]:
    """The numbers that a state keeps for parameter i."""
    name = f"state[{i}]"
    row = tuple([expect.number(name, _no_bool(name, x)) for x in _listed(name, given)])
    if not all(map(math.isfinite, row)):
        raise ValueError(f"{name} must hold finite numbers, got {list(row)}")
    return row


def _steps(t: object) -> int:
    """The number of steps made: of any whole kind, such as an array's of one number."""
    steps = expect.whole("t", _no_bool("t", t), least=0, of="steps")
    if steps > 2**53:
        raise ValueError(f"t must be a whole number of steps, at least 0, got {steps}: beyond 2**53 t + 1.0 is t")
    return steps


def _listed(name: str, given: object) -> list[object]:
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__len__") or getattr(given, "shape", None) == ():
        raise TypeError(f"{name} must be a list, got {reprlib.repr(given)}")
    return list(cast(Iterable[object], given))


def _no_bool(name: str, x: T) -> T:
    if isinstance(x, bool) or getattr(getattr(x, "dtype", None), "kind", "") == "b":
        raise TypeError(f"{name} must be a number, got {x!r}")
    return x


def assign(owners: Iterable[object], names: Iterable[str], values: Iterable[object]) -> None:
    """setattr for each of them, in one call into C, so that Ctrl-C cannot fall between two."""
    deque(map(setattr, owners, names, values), maxlen=0)
