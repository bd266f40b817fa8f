"""`Module`: what a network is made of, and how its parameters are found, named, saved and loaded."""

from __future__ import annotations

import functools
import reprlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, Concatenate, ParamSpec, SupportsIndex, TypeVar

from ..copies import refuse_nameless
from ..engine import Value, current_scope
from ..ieee import same
from ..ops import as_float
from .parameters import Part, parameters, path, walk
from .sequences import in_sequence
from .tensors import Tensor, flat, mapped, shape

M = TypeVar("M", bound="Module")
P = ParamSpec("P")
T = TypeVar("T")


class Module(Part):
    """A part of a network: finds the Values in its attributes, in modules below, and in whatever Python holds them.

    That is in lists, dicts and the other containers of the standard library, in NumPy's arrays of objects, in
    dataclasses, slots, plain objects and attributes of the class. Weak references are not followed, nor what a
    function closes over. A set has the order in which its Values were made. TypeError, which names the attribute,
    where a Value is held in another way, as by an iterator.

    What a module's `__call__` returns remembers that call, so that a picture can fold it.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _remembered(vars(cls)["__call__"])  # type: ignore[method-assign]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module ("") and of every module below, such as ("layers.0", Layer)."""
        for place, part in walk(self):
            if isinstance(part, Module):
                yield path(place), part

    def named_values(self) -> Iterator[tuple[str, Value]]:
        """(path, Value) of every Value in here, also of one that was computed and kept, and of one found twice."""
        for place, part in walk(self):
            if isinstance(part, Value):
                yield path(place), part

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """(path, Value) of every parameter, such as ("layers.0.neurons.3.w.1", Value); each Value once.

        A parameter is a leaf: a Value that was computed, like an output that a module keeps, is none.
        """
        for value, place in parameters(self).items():
            yield path(place), value

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of the attributes."""
        return list(parameters(self))

    def zero_grad(self) -> None:
        """Forget the gradients, as before every backward pass of a training step."""
        for p in self.parameters():
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """The numbers in `tensors()`: {"layers.0.weight": nout lists of nin floats, "layers.0.bias": ...}"""
        return {name: mapped(lambda v: v.data, tensor) for name, tensor in self._all_tensors().items()}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Loads the numbers of a `state_dict`, also of PyTorch's nn.Sequential, whose layers "0.weight", "0.bias",
        "2.weight", ... are taken in order. ValueError, and nothing changed, where names or shapes differ; TypeError
        where something is not a number."""
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict expects a dict as of state_dict(), got {reprlib.repr(state)}")
        tensors = self._all_tensors()
        state = _renamed(tensors, state)
        missing, unknown = tensors.keys() - state.keys(), state.keys() - tensors.keys()
        if missing or unknown:
            raise ValueError(
                f"this model has {_names(tensors)}; the state has {_names(state)}"
                + (f"; missing: {_names(missing)}" if missing else "")
                + (f"; unknown: {_names(unknown)}" if unknown else "")
            )
        numbers: dict[Value, float] = {}
        for name, tensor in tensors.items():
            for value, number in zip(flat(tensor), _numbers(name, state[name], shape(tensor))):
                if not same(numbers.setdefault(value, number), number):
                    raise ValueError(
                        f"{name} holds a Value that this model has in another place as well: the state has "
                        f"{numbers[value]:g} for it, and {number:g}"
                    )
        # one call into C, so that Ctrl-C cannot fall between two parameters
        deque(map(setattr, numbers.keys(), repeat("data"), numbers.values()), maxlen=0)

    def _all_tensors(self) -> dict[str, Tensor]:
        """`tensors()`; ValueError where a class that has its own leaves out a parameter."""
        found = self.tensors()
        if type(self).tensors is not Part.tensors:
            listed = set(flat(list(found.values())))
            for p, place in parameters(self).items():
                if p not in listed:
                    raise ValueError(f"{type(self).__name__}.tensors() leaves out {path(place)}: add it")
        return found

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[object, ...]:
        refuse_nameless(self)
        return super().__reduce_ex__(protocol)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(parameters(self, checked=False))} parameters)"


def _remembered(call: Callable[Concatenate[M, P], T]) -> Callable[Concatenate[M, P], T]:
    """A module's __call__ whose results know that it made them."""

    @functools.wraps(call)
    def remembered(self: M, /, *inputs: P.args, **options: P.kwargs) -> T:
        out = call(self, *inputs, **options)
        this = self, inputs, current_scope()
        if isinstance(out, Value):
            out.call = this
        else:
            for part in flat(out):
                if isinstance(part, Value):
                    part.call = this
        return out

    return remembered


def _renamed(tensors: Mapping[str, Tensor], state: Mapping[str, object]) -> Mapping[str, object]:
    """The state by our names, where it has those of a sequence."""
    if tensors.keys() == state.keys() or not all(isinstance(name, str) for name in state):
        return state
    try:
        expected, got = ({name: shape(x) for name, x in both.items()} for both in (tensors, state))
    except ValueError:  # of a ragged list, which is refused by its name later
        return state
    names = in_sequence(expected, got)
    return state if names is None else {name: state[other] for name, other in names.items()}


def _numbers(name: str, given: object, expected: tuple[int, ...]) -> list[float]:
    """The numbers of one tensor of a state, row after row; an error that names it where its shape is another."""
    try:
        got = shape(given)
        numbers = list(map(as_float, flat(given))) if got == expected else []
    except (TypeError, ValueError, OverflowError) as error:
        raise type(error)(f"{name}: {error}") from None
    if got != expected:
        shown = f"shape {got}" if got else reprlib.repr(given)
        raise ValueError(f"{name} has shape {expected} in this model, got {shown}")
    return numbers


def _names(names: Iterable[object]) -> str:
    return ", ".join(sorted(map(str, names))) or "nothing"
