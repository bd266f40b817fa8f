"""Checks of arguments, once for the whole package: what was expected, what was got, what to write instead.

Each returns the argument as it is to be used. Standard library only: a Value is known by what it has
(`local_grads`, `demand`), not by its class.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, TypeVar, cast

if TYPE_CHECKING:
    from .engine import Number, Value

T = TypeVar("T")

# --- numbers and names


def number(name: str, x: object) -> float:
    """x as a float; TypeError unless it is one real number."""
    if type(x) is float:
        return x  # the usual case
    if not isinstance(x, SupportsFloat) or getattr(x, "shape", None):
        raise TypeError(f"{name} must be one real number, got {x!r}")
    if hasattr(x, "local_grads"):
        raise TypeError(f"{name} must be one real number, got {x!r}: write v.data")
    return float(x)


def not_negative(name: str, x: object) -> float:
    """x as a float; ValueError unless it is finite and at least 0."""
    value = number(name, x)
    if not 0.0 <= value < math.inf:
        raise ValueError(f"{name} must be a finite number of at least 0, got {x!r}")
    return value


def learning_rate(lr: object) -> float:
    """lr as a float; an error unless it is finite and at least 0, with a hint for a schedule."""
    if callable(lr):
        raise TypeError(
            "lr must be a number, got a function of the step: write fit(..., schedule=f), or opt.lr = f(opt.t)"
        )
    return not_negative("lr", lr)


def positive(name: str, x: object) -> float:
    """x as a float; ValueError unless it is finite and above 0."""
    value = number(name, x)
    if not 0.0 < value < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {x!r}")
    return value


def below_one(name: str, x: object) -> float:
    """x as a float; ValueError unless 0 <= x < 1, as a share of the past that is kept at each step."""
    value = number(name, x)
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be at least 0 and below 1, got {x!r}")
    return value


def whole(name: str, n: object, least: int = 1, of: str = "") -> int:
    """n as an int; ValueError unless it is a whole number of at least `least`, of Python's or NumPy's. of: what it
    counts."""
    found = _integer(n)
    if found is None or found < least:
        raise ValueError(f"{name} must be a whole number of {f'{of}, ' if of else ''}at least {least}, got {n!r}")
    return found


def seed(name: str, n: object) -> int:
    """n as an int; TypeError unless it is a whole number."""
    found = _integer(n)
    if found is None:
        raise TypeError(f"{name} must be a whole number, got {n!r}")
    return found


def _integer(n: object) -> int | None:
    """n as an int, None where it is no whole number: of Python, NumPy, or whatever else can be an index."""
    try:
        return operator.index(cast(SupportsIndex, n))
    except TypeError:
        return None


def one_of(name: str, x: T, names: Collection[T], otherwise: str) -> T:
    """x; ValueError unless it is one of these names. otherwise: what else it may be."""
    if x not in list(names):
        raise ValueError(f"{name} must be one of {', '.join(map(str, names))}, or {otherwise}; got {x!r}")
    return x


def demand(name: str, x: T, holds: Callable[[float], bool], message: Callable[[float], str]) -> T | float:
    """x, a number as a float; ValueError(message(x)) unless holds(x). A Value is asked itself, because a
    placeholder of the compiler has to wait for its numbers."""
    if hasattr(x, "demand"):
        x.demand(holds, message)
        return x
    value = number(name, x)
    if not holds(value):
        raise ValueError(message(value))
    return value


# --- lists


def listed(who: str, values: Iterable[T]) -> list[T]:
    """values as a list; TypeError for a model, its method or a single Value."""
    if not isinstance(values, Iterable):
        hint = "model.parameters()" if callable(values) else "[v]"
        raise TypeError(f"{who} expects a list of Values, got one {type(values).__name__}: write {hint}")
    return list(values)


def parameters(who: str, values: Iterable[Value]) -> list[Value]:
    """values as a list; an error unless they are leaves, at least one, each there once."""
    params = listed(who, values)
    if not params:
        raise ValueError(f"{who} got no parameters: write model.parameters()")
    for i, p in enumerate(params):
        if not hasattr(p, "local_grads"):
            raise TypeError(f"{who} expects a list of Values, got {p!r} at index {i}")
        if p.op is not None:
            raise ValueError(
                f"parameter {i} was computed by {p.op}, so moving it changes nothing: an optimiser moves leaves. "
                "p = p - lr * p.grad makes a new Value; write p.data -= lr * p.grad"
            )
    if len(set(params)) < len(params):
        first = next(i for i, p in enumerate(params) if p in set(params[:i]))
        raise ValueError(
            f"parameter {first} appears twice in the list and would be updated twice; model.parameters() gives each "
            "once"
        )
    return params


def inputs(who: str, nin: int, x: Sequence[T]) -> Sequence[T]:
    """x as a sequence; an error unless it is one example of nin inputs. A row of an array, a table or a tensor comes
    as a list, whose numbers are read faster, and by position whatever their labels are."""
    if x.__class__ is not list and hasattr(x, "tolist"):
        x = x.tolist()
    if isinstance(x, (str, dict, set, frozenset)) or not hasattr(x, "__len__"):
        raise TypeError(f"{who} expects a list of {nin} inputs, got {x!r}; for one input write [x]")
    if len(x) and hasattr(x[0], "__len__") and not isinstance(x[0], str):
        raise TypeError(
            f"{who} expects {nin} inputs, got {len(x)} lists; for many examples write [model(x) for x in X]"
        )
    if len(x) != nin:
        raise ValueError(f"{who} expects {nin} inputs, got {len(x)}")
    return x


def pairs(who: str, X: Sequence[object], y: Sequence[object], what: str = "examples") -> None:
    """ValueError unless there are as many X as y, and some."""
    if len(X) != len(y) or not len(X):
        raise ValueError(f"{who} expects as many {what} as targets, and at least one; got {len(X)} and {len(y)}")


# --- what a loss compares


def matched(
    who: str, prediction: Number | Sequence[Number], target: Number | Sequence[Number]
) -> list[tuple[Number, Number]]:
    """[(f, y), ...] of two numbers, or of two lists of one length."""
    f, y = (x.tolist() if hasattr(x, "tolist") else x for x in (prediction, target))
    if isinstance(f, (list, tuple)) and isinstance(y, (list, tuple)) and 0 < len(f) == len(y):
        return list(zip(f, y))
    if isinstance(f, (list, tuple)) or isinstance(y, (list, tuple)):
        got = [f"{len(x)} numbers" if isinstance(x, (list, tuple)) else f"{x!r}" for x in (f, y)]
        raise ValueError(f"{who} expects two numbers, or two lists of one length, got {' and '.join(got)}")
    return cast("list[tuple[Number, Number]]", [(f, y)])


def one_score(who: str, score: T) -> T:
    """score; TypeError for a list of them."""
    if isinstance(score, (list, tuple)):
        raise TypeError(f"{who} expects one score, got a list of {len(score)}; for several classes use cross_entropy")
    return score


def scores(who: str, zs: Iterable[T]) -> list[T]:
    """zs as a list; TypeError for a single score."""
    if not isinstance(zs, Iterable):
        raise TypeError(f"{who} expects a list of scores, one per class, got {zs!r}; for one score use bce_with_logits")
    zs = list(zs)
    if not zs:
        raise ValueError(f"{who} expects at least one score, got an empty list")
    return zs


def one_class(who: str, k: T, classes: int) -> T | float:
    """k, a number as a float; an error unless it is a whole number from 0 to classes - 1."""
    if isinstance(k, (list, tuple)) or getattr(k, "ndim", 0) > 0:
        got = list(cast(Iterable[object], k))
        raise TypeError(f"{who} expects the class as one number, got {got}; of a one-hot list it is k.index(1)")
    message = f"{who} expects a class from 0 to {classes - 1}, got {{:g}}"
    return demand(who, k, lambda k: k in range(classes), message.format)
