"""How a Value answers Python and micrograd's notebooks: refusals, formats, copies, old names."""

# self is a Value: nothing else is made of this class
# mypy: disable-error-code="misc"

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import copies
from .ieee import same
from .mistakes import equation

if TYPE_CHECKING:
    from .engine import Value


class Protocols:
    """Base class of Value: whatever is not the idea, but is asked of it."""

    __slots__ = ()

    # a plain number made of a Value would drop it out of the graph without a word

    def __bool__(self) -> bool:
        raise TypeError("bool(v) would drop v out of the graph: compare it, `if v > 0:`, or write v.data")

    def __float__(self) -> float:
        raise TypeError(
            "float(v) or a function of `math` would drop v out of the graph: "
            "write tinygrad_lite.exp(v) for math.exp(v), or v.data for the plain number"
        )

    def __int__(self) -> int:
        raise TypeError("int(v) would drop v out of the graph: write int(v.data) for the plain number")

    __index__ = __int__

    def __repr__(self: Value) -> str:
        name = f", label={self.label!r}" if self.label else ""
        return f"{type(self).__name__}(data={self.data}, grad={self.grad}{name})"

    def __format__(self: Value, spec: str) -> str:
        return format(self.data, spec) if spec else repr(self)

    # micrograd's names, for the notebooks written against it

    @property
    def _prev(self: Value) -> set[Value]:
        return {x for x in self.args if x.__class__ is not float}

    @property
    def _op(self: Value) -> str:
        return self.op.symbol if self.op else ""

    def _backward(self: Value) -> None:
        for x, dx in zip(self.args, self.local_grads):
            if dx is not None:
                x.grad += dx * self.grad

    def __copy__(self: Value) -> Value:
        return copies.shallow(self)

    def __deepcopy__(self: Value, memo: dict[int, object]) -> Value:
        return copies.deep(self, memo)

    # what a placeholder of the compiler answers in its own way

    def demand(self: Value, holds: Callable[[float], bool], message: Callable[[float], str]) -> None:
        """ValueError(message(data)) unless holds(data); a placeholder asks it of each example later."""
        if not holds(self.data):
            raise ValueError(message(self.data))

    def check_unchanged(self: Value) -> None:
        """RuntimeError unless this node's number and local gradients still follow from its operands."""
        assert self.op is not None
        data = [getattr(x, "data", x) for x in self.args]
        now = self.op.value(*data)
        local = self.op.local_grads(now, data, [x.__class__ is not float for x in self.args])
        if not all(map(same, [now, *local], [self.data, *self.local_grads])):
            raise RuntimeError(
                f"grad rebuilds gradients from .data, but .data changed after {equation(self)} was "
                "recorded; run the forward pass again, or use backward(), which kept the old numbers"
            )
