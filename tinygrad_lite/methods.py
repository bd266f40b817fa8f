"""The table's functions as methods of a Value, `x.tanh()` for `tanh(x)`.

The block between the marks follows from the table: `python tests/generated.py` writes it anew.
"""

# self is a Value: nothing else is made of this class
# mypy: disable-error-code="misc"

from __future__ import annotations

from typing import TYPE_CHECKING

from . import ops

if TYPE_CHECKING:
    from .engine import Number, Value


class Methods:
    """Base class of Value: the functions of one operand, and the two that read better as methods."""

    __slots__ = ()

    # <generated>

    def exp(self: Value) -> Value:
        return ops.exp(self)

    def expm1(self: Value) -> Value:
        return ops.expm1(self)

    def log(self: Value) -> Value:
        return ops.log(self)

    def log1p(self: Value) -> Value:
        return ops.log1p(self)

    def exp2(self: Value) -> Value:
        return ops.exp2(self)

    def log2(self: Value) -> Value:
        return ops.log2(self)

    def log10(self: Value) -> Value:
        return ops.log10(self)

    def sqrt(self: Value) -> Value:
        return ops.sqrt(self)

    def cbrt(self: Value) -> Value:
        return ops.cbrt(self)

    def sin(self: Value) -> Value:
        return ops.sin(self)

    def cos(self: Value) -> Value:
        return ops.cos(self)

    def tan(self: Value) -> Value:
        return ops.tan(self)

    def asin(self: Value) -> Value:
        return ops.asin(self)

    def acos(self: Value) -> Value:
        return ops.acos(self)

    def atan(self: Value) -> Value:
        return ops.atan(self)

    def sinh(self: Value) -> Value:
        return ops.sinh(self)

    def cosh(self: Value) -> Value:
        return ops.cosh(self)

    def asinh(self: Value) -> Value:
        return ops.asinh(self)

    def acosh(self: Value) -> Value:
        return ops.acosh(self)

    def atanh(self: Value) -> Value:
        return ops.atanh(self)

    def erf(self: Value) -> Value:
        return ops.erf(self)

    def tanh(self: Value) -> Value:
        return ops.tanh(self)

    def sigmoid(self: Value) -> Value:
        return ops.sigmoid(self)

    def softplus(self: Value) -> Value:
        return ops.softplus(self)

    def relu(self: Value) -> Value:
        return ops.relu(self)

    def sign(self: Value) -> Value:
        return ops.sign(self)

    def step(self: Value) -> Value:
        return ops.step(self)

    def floor(self: Value) -> Value:
        return ops.floor(self)

    def detach(self: Value) -> Value:
        return ops.detach(self)

    # </generated>

    def leaky_relu(self: Value, slope: Number = 0.1) -> Value:
        """x where x > 0, else slope * x; the lectures' slope is 0.1."""
        return ops.leaky_relu(self, slope)

    def clip(self: Value, low: Number, high: Number) -> Value:
        """self, moved into low .. high."""
        return ops.clip(self, low, high)
