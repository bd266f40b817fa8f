"""Nested lists as tensors: their shape, their entries, a function of each entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from ..engine import Value

T = TypeVar("T")
Nested: TypeAlias = "T | Sequence[Nested[T]]"  # in lists nested as a tensor is
Tensor: TypeAlias = "Nested[Value]"  # parameters


def shape(tensor: object) -> tuple[int, ...]:
    """() of a number, (n,) of a list of n, (m, n) of m lists of n; ValueError where it is ragged."""
    if not isinstance(tensor, (list, tuple)):
        return tuple(getattr(tensor, "shape", []))  # a NumPy array's
    inner = {shape(part) for part in tensor}
    if len(inner) > 1:
        raise ValueError(f"expected rows of one length, got rows of shapes {sorted(inner)}")
    return (len(tensor), *(inner.pop() if inner else ()))


def flat(tensor: object) -> Iterator[Any]:
    """The entries of nested lists, or of an array of NumPy or PyTorch, row after row.

    >>> list(flat([[1, 2], [3, [4]]]))
    [1, 2, 3, 4]
    """
    if hasattr(tensor, "tolist"):
        tensor = tensor.tolist()
    if not isinstance(tensor, (list, tuple)):
        yield tensor
    elif any(issubclass(kind, (list, tuple)) or hasattr(kind, "tolist") for kind in set(map(type, tensor))):
        for part in tensor:
            yield from flat(part)
    else:
        yield from tensor


def mapped(f: Callable[[Any], T], tensor: object) -> Nested[T]:
    """f of every entry, in lists nested as those of tensor."""
    return [mapped(f, part) for part in tensor] if isinstance(tensor, (list, tuple)) else f(tensor)
