"""Batches of examples: from what people hand over to columns, one per argument, and rows, one per example."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..engine import anomaly_active
from .trace import Array, Shape, Trace, flatten


@dataclass
class Batch:
    """n examples. columns: for each argument an array of float64 (n, numbers per example). shapes: of one example."""

    columns: list[Array]
    shapes: tuple[Shape, ...]
    n: int

    @classmethod
    def empty(cls, shapes: tuple[Shape, ...]) -> Batch:
        return cls([np.zeros((0, math.prod(shape))) for shape in shapes], shapes, 0)

    @classmethod
    def of_one(cls, numbers: Sequence[float], shapes: tuple[Shape, ...]) -> Batch:
        """The batch of one example, whose numbers are in the order of the arguments."""
        row, columns, at = np.array([numbers], dtype=float).reshape(1, -1), [], 0
        for size in map(math.prod, shapes):
            columns.append(row[:, at : at + size])
            at += size
        return cls(columns, shapes, 1)

    def rows(self, width: int) -> Array:
        """One row per example, of all arguments, padded with zeros."""
        rows = np.zeros((self.n, width))
        at = 0
        for column in self.columns:
            rows[:, at : at + column.shape[1]] = column
            at += column.shape[1]
        return rows

    def inputs(self, k: int) -> Array:
        """The k-th number of every example."""
        columns = iter(self.columns)
        while k >= (column := next(columns)).shape[1]:
            k -= column.shape[1]
        return column[:, k]

    def example(self, i: int) -> list[object]:
        """The arguments of example i: numbers and lists of numbers."""
        return [column[i].reshape(shape).tolist() for column, shape in zip(self.columns, self.shapes)]


def batch_of(arrays: Sequence[ArrayLike]) -> Batch:
    """The batch that these arguments are, one array of examples each."""
    columns, shapes, lengths = [], [], []
    for place, given in enumerate(arrays):
        try:
            array = np.asarray(given)
        except ValueError:
            raise ValueError(f"argument {place} is ragged: every example needs the same number of numbers") from None
        if array.dtype.kind not in "biuf":
            raise TypeError(
                f"argument {place} holds {array.dtype} entries, expected real numbers: a list or an array of examples"
            )
        if array.ndim == 0:
            raise TypeError(f"argument {place} is one number, expected a batch: a list or array of examples")
        shape = array.shape[1:]
        lengths.append(len(array))
        shapes.append(shape)
        columns.append(np.ascontiguousarray(array, dtype=float).reshape(len(array), math.prod(shape)))
    if anomaly_active():
        _refuse_non_finite(columns)
    if len(set(lengths)) > 1:
        raise ValueError(f"the arguments hold different numbers of examples: {lengths}")
    return Batch(columns, tuple(shapes), lengths[0] if lengths else 1)


def check_preconditions(traced: Trace, batch: Batch) -> None:
    """What losses ask of their targets, asked of a batch: ValueError names the first example that fails."""
    for place in traced.conditioned:
        numbers = batch.inputs(place.index)
        seen = numbers.tobytes()
        if place.checked == seen:
            continue
        first: dict[float, int] = {}
        for i, number in enumerate(numbers.tolist()):
            first.setdefault(number, i)
        for number, i in first.items():
            for holds, message in place.preconditions:
                if not holds(number):
                    raise ValueError(f"example {i}: {message(number)}")
        place.checked = seen


def blame(function: Callable[..., object], batch: Batch, examples: Sequence[int]) -> None:
    """Under anomaly(): computes these examples with the engine, which raises where a nan or inf first appears."""
    for i in examples:
        try:
            results, _ = flatten(function(*batch.example(i)), function)
            for result in results:
                result.backward()
        except FloatingPointError as error:
            raise FloatingPointError(f"example {i}: {error}") from None


def _refuse_non_finite(columns: Sequence[Array]) -> None:
    """Under anomaly(): FloatingPointError names the first example whose numbers are not all finite."""
    for place, column in enumerate(columns):
        bad = np.argwhere(~np.isfinite(column))
        if len(bad):
            i, k = map(int, bad[0])
            raise FloatingPointError(f"example {i} of argument {place} holds {column[i, k]} at place {k}")
