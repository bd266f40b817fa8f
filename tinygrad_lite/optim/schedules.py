"""Learning rates over time: each gives a function of the steps already made, t = 0, 1, 2, ...

lr is the rate at t = 0, in parameter units per gradient unit; every, half_after and steps count steps.

>>> halved = step_decay(0.1, every=100, factor=0.5)
>>> halved(0), halved(99), halved(100)
(0.1, 0.1, 0.05)
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .. import expect

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """lr, always."""
    lr = expect.learning_rate(lr)
    return lambda t: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr, multiplied by factor after every `every` steps."""
    lr, factor = expect.learning_rate(lr), expect.not_negative("factor", factor)
    expect.positive("every", every)
    return lambda t: lr * factor ** (t // every)


def inverse_time(lr: float, half_after: float) -> Schedule:
    """lr / (1 + t / half_after), the ~1/t under which SGD converges (Robbins and Monro 1951)."""
    lr, half_after = expect.learning_rate(lr), expect.positive("half_after", half_after)
    return lambda t: lr / (1.0 + t / half_after)


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine from lr to end over so many steps, then end (Loshchilov and Hutter 2017)."""
    lr, end = expect.learning_rate(lr), expect.not_negative("end", end)
    expect.positive("steps", steps)
    return lambda t: end + (lr - end) * 0.5 * (1.0 + math.cos(math.pi * min(t / steps, 1.0)))


def linear(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """A straight line from lr to end over so many steps, then end."""
    lr, end = expect.learning_rate(lr), expect.not_negative("end", end)
    expect.positive("steps", steps)
    return lambda t: end if t >= steps else lr + (end - lr) * t / steps
