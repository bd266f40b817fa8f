"""Learning rates over time: each gives a function of the steps already made, t = 0, 1, 2, ...

lr is the rate at t = 0, in parameter units per gradient unit; every, half_after and steps count steps.

>>> halved = step_decay(0.1, every=100, factor=0.5)
>>> halved(0), halved(99), halved(100)
(0.1, 0.1, 0.05)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from .. import expect

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """lr, always."""
    return partial(_constant, expect.learning_rate(lr))


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr, multiplied by factor after every `every` steps."""
    lr, factor = expect.learning_rate(lr), expect.not_negative("factor", factor)
    return partial(_step_decay, lr, expect.positive("every", every), factor)


def inverse_time(lr: float, half_after: float) -> Schedule:
    """lr / (1 + t / half_after), the ~1/t under which SGD converges (Robbins and Monro 1951)."""
    return partial(_inverse_time, expect.learning_rate(lr), expect.positive("half_after", half_after))


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine from lr to end over so many steps, then end (Loshchilov and Hutter 2017)."""
    lr, end = expect.learning_rate(lr), expect.not_negative("end", end)
    return partial(_cosine, lr, expect.positive("steps", steps), end)


def linear(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """A straight line from lr to end over so many steps, then end."""
    lr, end = expect.learning_rate(lr), expect.not_negative("end", end)
    return partial(_linear, lr, expect.positive("steps", steps), end)


# --- the formulas, which a pickle finds by their names


def _constant(lr: float, t: int) -> float:
    return lr


def _step_decay(lr: float, every: float, factor: float, t: int) -> float:
    return lr * float(factor ** (_made(t) // every))


def _inverse_time(lr: float, half_after: float, t: int) -> float:
    return lr / (1.0 + _made(t) / half_after)


def _cosine(lr: float, steps: float, end: float, t: int) -> float:
    return end + (lr - end) * 0.5 * (1.0 + math.cos(math.pi * min(_made(t) / steps, 1.0)))


def _linear(lr: float, steps: float, end: float, t: int) -> float:
    return end if _made(t) >= steps else lr + (end - lr) * t / steps


def _made(t: int) -> float:
    """t, the steps already made; ValueError unless it is at least 0."""
    return expect.not_negative("t", t)
