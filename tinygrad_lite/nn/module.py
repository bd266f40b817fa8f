"""`Module`: what a network is made of, and how its parameters are found, named, saved and loaded."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any, TypeVar

from ..engine import Value, current_scope
from ..ops import as_float
from .tensors import Tensor, flat, mapped, shape

K = TypeVar("K")


class Module:
    """A part of a network: finds the Values in its attributes, in lists and in modules below.

    What a module's `__call__` returns remembers that call, so that a picture can fold it.
    """

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _remembered(vars(cls)["__call__"])  # type: ignore[method-assign]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module ("") and of every module below, such as ("layers.0", Layer)."""
        yield from _walk("", self, set(), Module)

    def named_values(self) -> Iterator[tuple[str, Value]]:
        """(path, Value) of every Value in here, also of one that was computed and kept, and of one found twice."""
        yield from _walk("", self, set(), Value)

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """(path, Value) of every parameter, such as ("layers.0.neurons.3.w.1", Value); each Value once.

        A parameter is a leaf: a Value that was computed, like an output that a module keeps, is none.
        """
        seen: set[Value] = set()
        for name, value in _walk("", self, set(), Value):
            if value.op is None and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of the attributes."""
        return [value for _, value in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients, as before every backward pass of a training step."""
        for p in self.parameters():
            p.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """Parameters as PyTorch names and shapes them: name -> a Value, or nested lists of Values."""
        found: dict[str, Tensor] = {}
        for name, attribute in vars(self).items():
            for path, part in _modules_and_tensors(name, attribute):
                if isinstance(part, Module):
                    found |= {f"{path}.{inner}": tensor for inner, tensor in part.tensors().items()}
                else:
                    found[path] = part
        return found

    def state_dict(self) -> dict[str, Any]:
        """The numbers in `tensors()`: {"layers.0.weight": nout lists of nin floats, "layers.0.bias": ...}"""
        return {name: mapped(lambda v: v.data, tensor) for name, tensor in self.tensors().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads the numbers of a `state_dict`. ValueError, and nothing changed, where names or shapes
        differ; TypeError where something is not a number."""
        tensors = self.tensors()
        missing, unknown = tensors.keys() - state.keys(), state.keys() - tensors.keys()
        if missing or unknown:
            raise ValueError(
                f"this model has {_names(tensors)}; the state has {_names(state)}"
                + (f"; missing: {_names(missing)}" if missing else "")
                + (f"; unknown: {_names(unknown)}" if unknown else "")
            )
        values: list[Value] = []
        numbers: list[float] = []
        for name, tensor in tensors.items():
            expected, got = shape(tensor), shape(state[name])
            if expected != got:
                raise ValueError(f"{name} has shape {expected} in this model, got shape {got}")
            values += flat(tensor)
            numbers += map(as_float, flat(state[name]))
        # one call into C, so that Ctrl-C cannot fall between two parameters
        deque(map(setattr, values, repeat("data"), numbers), maxlen=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.parameters())} parameters)"


def _remembered(call: Callable[..., Any]) -> Callable[..., Any]:
    """A module's __call__ whose results know that it made them."""

    @functools.wraps(call)
    def remembered(self: Module, *inputs: Any, **options: Any) -> Any:
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


def _walk(path: str, part: object, entered: set[int], kind: type[K]) -> Iterator[tuple[str, K]]:
    """Depth first, each module once: (path, part) of every part of this kind."""
    if isinstance(part, Module):
        if id(part) in entered:
            return
        entered.add(id(part))
    if isinstance(part, kind):
        yield path, part
    if isinstance(part, Value):  # the usual case, spared the questions below
        return
    inside: Iterable[tuple[object, object]] = ()
    if isinstance(part, Module):
        inside = vars(part).items()
    elif isinstance(part, dict):
        inside = part.items()
    elif isinstance(part, (list, tuple)):
        inside = enumerate(part)
    for name, inner in inside:
        yield from _walk(f"{path}.{name}" if path else str(name), inner, entered, kind)


def _modules_and_tensors(path: str, part: object) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Module) or _is_tensor(part):
        yield path, part
    elif isinstance(part, (list, tuple, dict)):
        for name, inner in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _modules_and_tensors(f"{path}.{name}", inner)


def _is_tensor(part: object) -> bool:
    """Whether part is a parameter, or a list of them or of rows of one length, all the way down."""
    if isinstance(part, Value):
        return part.op is None
    return isinstance(part, (list, tuple)) and all(map(_is_tensor, part)) and len(set(map(shape, part))) == 1


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
