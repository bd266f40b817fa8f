"""Nested lists as tensors: their shape, their entries, a function of each entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from ..engine import Value

Tensor: TypeAlias = "Value | Sequence[Tensor]"  # parameters, in lists nested as a tensor is


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
    if isinstance(tensor, (list, tuple)):
        for part in tensor:
            yield from flat(part)
    else:
        yield tensor


def mapped(f: Callable[[Any], object], tensor: object) -> object:
    """f of every entry, in lists nested as those of tensor."""
    return [mapped(f, part) for part in tensor] if isinstance(tensor, (list, tuple)) else f(tensor)
