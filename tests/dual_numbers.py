"""Forward-mode differentiation by the records' rules, written from the mathematics: no derivative is the library's.
No tests.

The rules run on two kinds of numbers: NumPy's float64, by IEEE 754, and mpmath's at 50 digits, which decides where
float64 results disagree.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lite import ops
from tinygrad_lite.ops import Op

from .operation import mp, mpf, nan
from .operations import OPERATIONS


class Dual:
    """value + sum of tangents[i] e_i with e_i e_j = 0; tangents[i] is None where no path leads to leaf i."""

    def __init__(self, value: Any, tangents: Sequence[Any]) -> None:
        self.value, self.tangents = value, tangents


class Floats:
    """IEEE 754 as NumPy has it, which shares no code with the library's wrappers of `math`; what it lacks, from `math`.

    number: makes one. store: what is left of a result that is kept.
    """

    number = np.float64
    asin, acos, atan, atan2 = np.arcsin, np.arccos, np.arctan, np.arctan2
    asinh, acosh, atanh, nint = np.arcsinh, np.arccosh, np.arctanh, np.rint

    def __getattr__(self, name: str) -> Any:
        f = getattr(np, name, None) or getattr(math, name)
        setattr(self, name, f)
        return f

    @staticmethod
    def store(x: Any) -> Any:
        return x


class FiftyDigits:
    """mpmath's numbers. ArithmeticError where a value is no real number, or larger than any float64."""

    number = mpf

    def __getattr__(self, name: str) -> Any:
        def real(*xs: Any) -> Any:
            y = getattr(mp, name)(*xs)
            if isinstance(y, mp.mpc):
                raise ArithmeticError(f"{name}{xs} is complex")
            return y

        f = real if callable(getattr(mp, name)) and not isinstance(getattr(mp, name), mpf) else getattr(mp, name)
        setattr(self, name, f)
        return f

    @staticmethod
    def store(x: Any) -> Any:
        if not abs(x) <= sys.float_info.max:
            raise ArithmeticError(f"{x} is out of the range of float64")
        return mpf(x)


def apply(m: Any, op: Op, operands: Sequence[Any]) -> Dual:
    """op on Duals and plain numbers, of the kind of numbers m."""
    xs = [x.value if isinstance(x, Dual) else m.number(x) for x in operands]
    value, partials = OPERATIONS[op].dual(m, *xs)
    value = m.store(value)
    if OPERATIONS[op].nan_is_nan and value != value:
        partials = [m.number(nan)] * len(xs)
    if op is ops.power and not isinstance(operands[1], Dual) and xs[1] == 0:
        partials[0] = m.number(0)  # whatever x is: 1 is a constant
    tangents: list[Any] = [None] * max(len(x.tangents) for x in operands if isinstance(x, Dual))
    for x, d in zip(operands, partials, strict=True):
        if isinstance(x, Dual) and d is not None:
            for i, t in enumerate(x.tangents):
                if t is not None:
                    tangents[i] = d * t if tangents[i] is None else tangents[i] + d * t
    return Dual(value, tangents)


def derive(m: Any, recipe: Any, point: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """A recipe's outputs and their total, and the derivative of the total by each leaf."""
    units = [[m.number(1) if i == j else None for j in range(len(point))] for i in range(len(point))]
    leaves = [Dual(m.store(m.number(x)), unit) for x, unit in zip(point, units)]
    with np.errstate(all="ignore"):
        outputs = recipe.build(leaves, functools.partial(apply, m))
    return [d.value for d in outputs], [m.number(0) if t is None else t for t in outputs[-1].tangents]
