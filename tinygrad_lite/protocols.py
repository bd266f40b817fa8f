"""How a Value answers Python and micrograd's notebooks: refusals, formats, copies, old names."""

# self is a Value: nothing else is made of this class
# mypy: disable-error-code="misc"

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, cast

from . import copies, modes, ops
from .ieee import same
from .mistakes import equation, refuse_value_as_data
from .op import Op, as_float, is_number, is_value

if TYPE_CHECKING:
    from numpy import ndarray, ufunc

    from .engine import Number, Value


class Protocols:
    """Base class of Value: whatever is not the idea, but is asked of it."""

    __slots__ = ()

    # Comparisons are of numbers, and two Values are equal when they are the same node, as their hash says. While
    # the compiler records, a comparison with a number is a condition, for `where`.

    def __lt__(self: Value, other: Number) -> bool:
        return condition(ops.less, self, other) if modes.here.recording else self.data < _number(other)

    def __le__(self: Value, other: Number) -> bool:
        return condition(ops.less_equal, self, other) if modes.here.recording else self.data <= _number(other)

    def __gt__(self: Value, other: Number) -> bool:
        return condition(ops.less, other, self) if modes.here.recording else self.data > _number(other)

    def __ge__(self: Value, other: Number) -> bool:
        return condition(ops.less_equal, other, self) if modes.here.recording else self.data >= _number(other)

    def __eq__(self: Value, other: object) -> bool:
        if self is other:
            return True
        if is_value(other) or not is_number(other):
            return NotImplemented
        return condition(ops.equal, self, as_float(other)) if modes.here.recording else self.data == float(other)

    def __ne__(self: Value, other: object) -> bool:
        equal = self.__eq__(other)
        if equal is NotImplemented:
            return NotImplemented
        return cast(bool, ~equal) if hasattr(equal, "local_grads") else not equal

    __hash__ = object.__hash__

    # what NumPy's functions and scalars do with a Value they leave to the table

    def __array_ufunc__(self: Value, ufunc: ufunc, method: str, *inputs: object, **options: object) -> object:
        arrays = [x for x in inputs if getattr(x, "shape", ())]
        if {getattr(getattr(x, "dtype", None), "kind", "") for x in arrays} == {"O"}:  # an array of Values: one by one
            return getattr(ufunc, method)(*[_boxed(x) if is_value(x) else x for x in inputs], **options)
        if method == "reduce" and not arrays:  # np.sum(v)
            return getattr(ufunc, method)(*map(_boxed, inputs), **options)
        if method != "__call__" or options or arrays:
            raise TypeError(
                f"np.{ufunc.__name__} of an array and a Value: an array holds plain numbers. Write [v * x for x in xs] "
                "or make an array of Values, np.array([Value(x) for x in xs], dtype=object)"
            )
        numbers = [_plain(x) for x in inputs]
        operation = _UFUNCS.get(ufunc.__name__, ufunc.__name__)
        found = getattr(operator, operation, None) or getattr(ops, operation, None)
        if found is not None:
            return found(*numbers)
        try:
            return ufunc(*map(_boxed, numbers))  # NumPy's own, for objects: square, reciprocal, ceil
        except TypeError:
            raise TypeError(
                f"np.{ufunc.__name__} has no counterpart for Values: see tinygrad_lite.OPS for what there is"
            ) from None

    # conditions are Python's True and False, which & | ~ combine; while the compiler records, its own

    def __and__(self, other: object) -> object:
        refuse_as_condition("&")

    def __or__(self, other: object) -> object:
        refuse_as_condition("|")

    def __xor__(self, other: object) -> object:
        refuse_as_condition("^")

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__

    def __invert__(self) -> object:
        refuse_as_condition("~")

    def __pos__(self: Value) -> Value:
        return self

    def __divmod__(self: Value, other: Number) -> tuple[Value, Value]:
        return self // other, self % other

    def __rdivmod__(self: Value, other: Number) -> tuple[Value, Value]:
        return other // self, other % self

    def __round__(self: Value, digits: int | None = None) -> Value:
        """To so many decimals, as NumPy and PyTorch do it: v * 10^digits to the nearest whole number, then back."""
        if digits is None:
            return ops.round_(self)
        digits = max(-308, min(operator.index(digits), 308))  # powers of 10 that are floats
        if digits < 0:
            return ops.round_(self / 10.0**-digits) * 10.0**-digits
        shifted = self * 10.0**digits  # from 2^52 on, there are no more digits to round
        return ops.where(ops.less(ops.abs_(shifted), 2.0**52), ops.round_(shifted) / 10.0**digits, ops.detach(self))

    def __floor__(self: Value) -> Value:
        return ops.floor(self)

    def __ceil__(self: Value) -> Value:
        return -ops.floor(-self)

    def __trunc__(self: Value) -> Value:
        return ops.where(ops.less(self, 0.0), -ops.floor(-self), ops.floor(self))

    # methods that NumPy's round, var and std ask of what an array of objects holds

    def rint(self: Value) -> Value:
        return ops.round_(self)

    def conjugate(self: Value) -> Value:
        return self

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
        """The operands; a plain number as a leaf made on demand, but for an exponent, which is part of `_op`."""
        from .engine import Value as Leaf

        args = self.args[:1] if _has_plain_exponent(self) else self.args
        return {Leaf(x) if isinstance(x, float) else x for x in args}

    @_prev.setter
    def _prev(self: Value, children: object) -> None:
        raise TypeError(f"_prev is not to be set: {OWN_OPERATION}")

    @property
    def _op(self: Value) -> str:
        """What made it, as a drawing prints it: +, *, tanh, **2; empty for a leaf."""
        if self.op is None:
            return ""
        return f"**{self.args[1]:g}" if _has_plain_exponent(self) else self.op.symbol

    @_op.setter
    def _op(self: Value, op: object) -> None:
        raise TypeError(f"_op is not to be set: {OWN_OPERATION}")

    @property
    def _backward(self: Value) -> Callable[[], None]:
        def backward() -> None:
            for x, dx in zip(self.args, self.local_grads):
                if dx is not None:
                    x.grad += dx * self.grad

        return backward

    @_backward.setter
    def _backward(self: Value, function: object) -> None:
        raise TypeError(f"_backward is not to be set: {OWN_OPERATION}")

    def __init_subclass__(cls, **options: object) -> None:
        """TypeError for a class that defines what would be ignored: operations carry their derivatives themselves."""
        super().__init_subclass__(**options)
        for name in ("_backward", "_prev", "_op"):
            if name in vars(cls) and "local_grads" in dir(cls.__base__):
                raise TypeError(f"{cls.__name__} defines {name}, which nothing would call: {OWN_OPERATION}")

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


def _has_plain_exponent(v: Value) -> bool:
    return v.op is ops.power and isinstance(v.args[1], float)


OWN_OPERATION = (
    "an operation is a record of its value and its derivative. Write, for a cube,\n"
    '    cube = Op("cube", "^3", lambda x: x**3, (lambda out, x: 3 * x**2,))\n'
    "    y = cube(x)"
)


def refuse_as_condition(sign: str) -> NoReturn:
    """TypeError for v & w and the like, of Values that are no conditions."""
    if sign == "^":
        raise TypeError("^ combines conditions, as in (v > 0) ^ (w > 0); for a power write v ** 2")
    example = "~(v > 0)" if sign == "~" else f"(v > 0) {sign} (w > 0)"
    raise TypeError(f"{sign} combines conditions, and a Value is a number: compare it, as in {example}")


def refuse_arguments(label: object, children: tuple[object, ...], names: dict[str, object]) -> NoReturn:
    """TypeError for what `Value(data, label)` does not take: micrograd's way to make a node."""
    if unknown := set(names) - {"_children", "_op", "children", "op", "_prev"}:
        raise TypeError(f"Value takes data and label, got {', '.join(sorted(unknown))}")
    if children or names or isinstance(label, (tuple, set, list)):
        raise TypeError(f"Value(data, children, op) is micrograd's way to make a node; here {OWN_OPERATION}")
    raise TypeError(f"the label of a Value is a string, got {label!r}; a Value holds one number")


def condition(comparison: Op, a: Number, b: Number) -> bool:
    """What stands for True or False while the compiler records."""
    return cast(bool, comparison(a, b))


def _number(x: Number) -> float:
    return x if type(x) is float else x.data if is_value(x) else as_float(x)


def number_of(x: Number) -> float:
    """The number of an operand; a Value whose .data was set to another type than float is converted."""
    if not is_value(x):
        return as_float(x)
    if is_value(x.data):
        refuse_value_as_data(x)
    x.data = as_float(x.data)
    return x.data


def _plain(x: object) -> Number:
    """An operand of NumPy's as Python has it: a Value, True or False, a float."""
    if is_value(x):
        return x
    return bool(x) if type(x).__name__ in ("bool", "bool_") else as_float(x)


def _boxed(x: object) -> ndarray:
    """A Value as a NumPy array of no dimensions."""
    import numpy as np

    box: ndarray = np.empty((), dtype=object)
    box[()] = x
    return box


# names of NumPy's that are not ours: operators, so that comparisons and refusals are those of a Value
_UFUNCS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv", "true_divide": "truediv",
    "power": "pow", "float_power": "pow", "remainder": "mod", "floor_divide": "floordiv", "negative": "neg",
    "absolute": "abs", "fabs": "abs", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
    "equal": "eq", "not_equal": "ne", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "positive": "pos", "rint": "round_",
    "logical_and": "and_", "logical_or": "or_", "logical_xor": "xor", "logical_not": "invert", "bitwise_and": "and_",
    "bitwise_or": "or_", "bitwise_xor": "xor", "invert": "invert",
}  # fmt: skip
