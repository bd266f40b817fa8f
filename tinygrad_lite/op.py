"""What an operation is: one record of a value and its derivatives, and nothing about graphs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from inspect import CO_VARARGS
from numbers import Real
from types import FunctionType
from typing import TYPE_CHECKING, Any, NoReturn, SupportsFloat, TypeAlias, TypeGuard, TypeVar, overload

if TYPE_CHECKING:
    from typing_extensions import TypeIs

    from .engine import Number, Value

N = TypeVar("N", bound="Number")
# d out / d input: a number, or a function of (out, *inputs)
Partial: TypeAlias = "float | Callable[..., Number]"
Pack: TypeAlias = "Callable[..., tuple[Number, ...]]"  # from the user's arguments to the operands


def as_float(x: object) -> float:
    """The one real number x (int, float, bool, Fraction, Decimal, NumPy's or PyTorch's scalar) as a float, else
    TypeError."""
    if x.__class__ is float:
        return x  # the usual case
    if is_number(x):
        try:
            return float(x)
        except OverflowError:
            got = f"an integer of {x.bit_length()} bits" if isinstance(x, int) else type(x).__name__
            raise OverflowError(f"a float holds at most 1.8e308, got {got}; scale it first") from None
    shown = repr(x)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    raise TypeError(f"Value holds one real number, got {shown} ({type(x).__name__}){_hint(x)}")


def is_number(x: object) -> TypeGuard[SupportsFloat]:
    """Is x one real number: a Real, a Decimal, an array or tensor without dimensions?"""
    if isinstance(x, Real):
        return getattr(getattr(x, "dtype", None), "kind", "f") != "m"  # a span of time is one of NumPy's integers
    if hasattr(x, "record") or hasattr(x, "mask") or isinstance(x, str):
        return False
    kind = getattr(getattr(x, "dtype", None), "kind", "f")  # b, i, u, f: real numbers; O, c, M, m, ... : none
    return hasattr(type(x), "__float__") and not getattr(x, "shape", None) and kind in "biuf"


def is_value(x: object) -> TypeIs[Value]:
    """Is x a Value? Told by what it has, because the engine is above this module."""
    return hasattr(x, "local_grads")


def _hint(x: object) -> str:
    if hasattr(x, "record"):
        return "; for a constant copy of a Value write Value(v.data) or v.detach()"
    if isinstance(x, str):
        return "; for a text that holds a number write Value(float(text))"
    if isinstance(x, complex):
        return "; for its size write Value(abs(z))"
    if x is None:
        return ": is there a `return`?"
    if isinstance(x, (list, tuple)) or (hasattr(x, "shape") and x.shape):
        return "; for a vector write [Value(v) for v in xs]"
    return ""


class Op:
    """One operation. Calling it on numbers gives a number, on any Value a Value.

    Parameters
    ----------
    name : what Python calls it.
    symbol : what a drawing prints.
    value : floats -> float, by IEEE 754.
    partials : d out / d input for each input, a number or a function of (out, *inputs); for an operation on
        any number of inputs, one function that returns them all. Generic: made of operations only, so no
        Python `if` on an input.
    selects : True where a partial of exactly 0 means "not selected". Nothing at all is sent to that input, so
        an infinity that the operation did not choose cannot become 0 * inf = nan. A tuple says so for each.
    pack : turns the user's arguments (`dot(ws, xs)`) into the flat operands.

    >>> from tinygrad_lite import dot, exp, log, maximum
    >>> exp(0), maximum(1, 5, 3), dot([1, 2], [3, 4]), log(0)
    (1.0, 5.0, 11.0, -inf)
    """

    __slots__ = ("arity", "home", "name", "pack", "partials", "selects", "symbol", "value")

    def __init__(
        self,
        name: str,
        symbol: str,
        value: Callable[..., float],
        partials: tuple[Partial, ...] | Callable[..., Sequence[Number | None]],
        selects: bool | tuple[bool, ...] = False,
        pack: Pack | None = None,
    ) -> None:
        self.name, self.symbol, self.value = name, symbol, value
        if not callable(value) and not _is_open(value):
            raise TypeError(f"the value of {name} is a function of floats, got {value!r}")
        open_or_counted = _is_open(partials) or isinstance(partials, (tuple, list))
        if not open_or_counted and (not callable(partials) or _takes(partials, 2, exactly=True)):  # (out, x) alone
            got = "a function" if callable(partials) else repr(partials)
            raise TypeError(f"the partials of {name} are a tuple, one for each operand, got {got}: write (f,)")
        self.partials = tuple(partials) if isinstance(partials, (tuple, list)) else partials
        self.selects, self.pack = selects, pack
        self.arity = len(self.partials) if isinstance(self.partials, tuple) else -1  # -1: any number of operands
        self.home = sys._getframe(1).f_globals.get("__name__", "")  # the module where a pickle finds it again
        if isinstance(self.partials, tuple):
            self._check_partials(self.partials)

    def _check_partials(self, partials: tuple[Partial, ...]) -> None:
        """TypeError unless there is one for each operand of the value: a number, or a function of (out, *inputs)."""
        if not self.arity or not _takes(self.value, self.arity):
            raise TypeError(
                f"{self.name} has {self.arity} partial{'s' * (self.arity != 1)}, and its value takes another number of "
                "operands: write one partial for each operand"
            )
        for d in partials:
            if not callable(d) and not is_number(d) and not _is_open(d):
                raise TypeError(f"a partial of {self.name} is a number or a function of (out, *inputs), got {d!r}")
            if not _takes(d, 1 + self.arity):
                raise TypeError(
                    f"a partial of {self.name} takes the result and the operands, {1 + self.arity} numbers: write "
                    f"lambda out, {', '.join('xyzabc'[: self.arity]) or 'x'}: ..."
                )

    @overload
    def __call__(self, *inputs: float | Iterable[float]) -> float: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, *inputs: Value | float | Iterable[Value | float]) -> Value: ...
    def __call__(self, *inputs: Any) -> Any:
        """Numbers give a number; any Value among them gives a Value, recorded by its class."""
        if self.pack is not None:
            try:
                inputs = self.pack(*inputs)
            except TypeError as error:
                if error.__traceback__ and error.__traceback__.tb_next is None:  # raised by the call itself
                    self._refuse_count(inputs)
                raise
        elif len(inputs) != self.arity and (self.arity >= 0 or not inputs):
            self._refuse_count(inputs)
        elif len(inputs) == 1 and inputs[0].__class__ is float:
            return self.number(self.value(*inputs))
        for x in inputs:
            if x.__class__ is not float and hasattr(x, "record"):
                return x.record(self, inputs)
        return self.number(self.value(*map(as_float, inputs)))

    @overload
    def local_grads(
        self, out: float, inputs: Sequence[float], wanted: Sequence[bool] | None = None
    ) -> tuple[float | None, ...]: ...
    @overload
    def local_grads(
        self, out: N, inputs: Sequence[N], wanted: Sequence[bool] | None = None
    ) -> tuple[N | float | None, ...]: ...
    def local_grads(
        self, out: Number, inputs: Sequence[Number], wanted: Sequence[bool] | None = None
    ) -> tuple[Number | None, ...]:
        """d out / d input for each input; None for one not wanted, and where nothing is sent."""
        grads: Sequence[Number | None]
        if callable(self.partials):
            grads = self.partials(out, *inputs)
            if not isinstance(grads, (tuple, list)) or len(grads) != len(inputs):
                self._refuse_partials(grads, inputs)
            if wanted is not None:
                grads = [d if want else None for d, want in zip(grads, wanted)]
        else:
            want_all = wanted or (True,) * len(inputs)
            grads = [
                None if not want else d(out, *inputs) if callable(d) else d for d, want in zip(self.partials, want_all)
            ]
        if out.__class__ is float and set(map(type, grads)) != {float}:
            grads = self._numbers(grads, wanted)
        if self.selects is True:
            grads = [None if d.__class__ is float and d == 0.0 else d for d in grads]
        elif self.selects:
            grads = [None if s and d.__class__ is float and d == 0.0 else d for s, d in zip(self.selects, grads)]
        return tuple(grads)

    def number(self, x: object, what: str = "the value") -> float:
        """What a function of the operation returned as a float; TypeError where it is no real number."""
        if x.__class__ is float:
            return x
        if _is_open(x):
            raise NotImplementedError(f"{what} of {self.name} is still open")
        if not is_number(x):
            missing = ": is there a `return`?" if x is None else ""
            raise TypeError(f"{what} of {self.name} must be one real number, got {x!r}{missing}")
        return as_float(x)

    def _numbers(self, grads: Sequence[object], wanted: Sequence[bool] | None) -> list[float | None]:
        """Partials as floats, None where nothing is sent; TypeError for another None, and for what is no number."""
        want_all = wanted or (True,) * len(grads)
        if isinstance(self.partials, tuple) and any(d is None and want for d, want in zip(grads, want_all)):
            raise TypeError(f"a partial of {self.name} returned None: is there a `return`?")
        return [d if d is None else self.number(d, "a partial") for d in grads]

    def _refuse_count(self, inputs: Sequence[object]) -> NoReturn:
        takes = {-1: "at least one number", 1: "1 number"}.get(self.arity, f"{self.arity} numbers")
        if self.pack is not None:
            names = self.pack.__code__.co_varnames[: self.pack.__code__.co_argcount]
            takes = f"({', '.join(names)})"
            if names == ("xs",):
                takes += f", one list of numbers: write {self.name}([a, b, ...])"
        raise TypeError(f"{self.name} takes {takes}, got {len(inputs)} argument{'s' * (len(inputs) != 1)}")

    def _refuse_partials(self, grads: object, inputs: Sequence[object]) -> NoReturn:
        if isinstance(grads, (tuple, list)):
            got = f"{len(grads)} of them for {len(inputs)} operands"
        else:
            got = f"{grads!r}, not a tuple: for one operand write (f,), with its comma"
        raise TypeError(f"the partials of {self.name} must give d out / d input for each input, got {got}")

    def __repr__(self) -> str:
        return self.name

    def __copy__(self) -> Op:
        return self

    def __deepcopy__(self, memo: object) -> Op:
        return self

    def __reduce__(self) -> tuple[Callable[[str, str], Op], tuple[str, str]]:
        """A pickle names the record, which must stand in a module."""
        for name, found in vars(sys.modules.get(self.home)).items() if self.home in sys.modules else ():
            if found is self:
                return _find, (self.home, name)
        raise TypeError(
            f"the operation {self.name} cannot be pickled: define it at the top of a module, not in a function"
        )


def _is_open(part: object) -> bool:
    """Is it the `...` of an exercise, still to be filled in?"""
    return part is ...


def _takes(f: object, n: int, exactly: bool = False) -> bool:
    """Can a function be called with n arguments? True of what does not say. exactly: and with no other number."""
    if not isinstance(f, FunctionType):
        return not exactly
    most, rest = f.__code__.co_argcount, f.__code__.co_flags & CO_VARARGS
    least = most - len(f.__defaults__ or ())
    return least == n == most and not rest if exactly else least <= n and (n <= most or bool(rest))


def _find(module: str, name: str) -> Op:
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


# --- packing: what the user writes -> flat operands


def pack_dot(ws: Iterable[Number], xs: Iterable[Number], start: Number | None = None) -> tuple[Number, ...]:
    try:
        ws, xs = tuple(ws), tuple(xs)
    except TypeError:
        raise TypeError(f"dot takes two lists of numbers, got {ws!r} and {xs!r}: write dot([...], [...])") from None
    if len(ws) != len(xs):
        raise ValueError(f"dot expects two lists of one length, got {len(ws)} and {len(xs)} numbers")
    return ws + xs if start is None else (*ws, *xs, start)


def pack_list(name: str, least: int = 0, call: str = "") -> Callable[[Iterable[Number]], tuple[Number, ...]]:
    """One list of at least so many numbers. call: how it is written, if not name([...])."""

    def pack(xs: Iterable[Number]) -> tuple[Number, ...]:
        try:
            xs = tuple(xs)
        except TypeError:
            raise TypeError(f"{name} takes one list of numbers, got {xs!r}: write {call or name + '([...])'}") from None
        if len(xs) < least:
            raise ValueError(f"{name} expects at least one number, got an empty list")
        return xs

    return pack


def pack_some(name: str) -> Pack:
    def pack(*xs: Number) -> tuple[Number, ...]:
        if not xs:
            raise ValueError(f"{name} expects at least one number: write {name}(a, b, ...)")
        if hasattr(xs[0], "__iter__") and not isinstance(xs[0], str) and getattr(xs[0], "shape", True):
            raise TypeError(f"{name} takes its numbers one by one, got a {type(xs[0]).__name__}: write {name}(*xs)")
        return xs

    return pack


def pack_slope(x: Number, slope: Number = 0.1) -> tuple[Number, ...]:
    return x, slope


def pack_where(condition: Number, a: Number, b: Number) -> tuple[Number, ...]:
    if condition.__class__ is int and -2 <= condition < 0:  # ~True is -2 in Python, and ~False -1
        condition += 2
    return condition, a, b


def pack_pick(k: Number, xs: Iterable[Number]) -> tuple[Number, ...]:
    return (k, *pack_list("pick", 1, "pick(k, [...])")(xs))


def pack_class(xs: Iterable[Number], k: Number) -> tuple[Number, ...]:
    return (*pack_list("cross_entropy", 1, "cross_entropy([...], k)")(xs), k)
