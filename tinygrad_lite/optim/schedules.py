"""Learning rates over time: each gives a function of the steps already made, t = 0, 1, 2, ...

>>> halved = step_decay(0.1, every=100, factor=0.5)
>>> halved(0), halved(99), halved(100)
(0.1, 0.1, 0.05)
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """lr, always."""
    return lambda t: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """lr, multiplied by factor after every `every` steps."""
    return lambda t: lr * factor ** (t // every)


def inverse_time(lr: float, half_after: float) -> Schedule:
    """lr / (1 + t / half_after), the ~1/t under which SGD converges (Robbins and Monro 1951)."""
    return lambda t: lr / (1.0 + t / half_after)


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """Half a cosine from lr to end over so many steps, then end (Loshchilov and Hutter 2017)."""
    return lambda t: end + (lr - end) * 0.5 * (1.0 + math.cos(math.pi * min(t / steps, 1.0)))


def linear(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """A straight line from lr to end over so many steps, then end."""
    return lambda t: end if t >= steps else lr + (end - lr) * t / steps
