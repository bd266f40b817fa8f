"""Batches of examples: from what people hand over to columns, one per argument, and rows, one per example."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from ..engine import Value, anomaly_active
from ..examples import Examples, rows
from ..protocols import number_of
from .trace import ARRAY, Array, Shape, Trace, flatten, kind_of


def size(shape: Shape) -> int:
    """Numbers in an argument of this shape."""
    return math.prod([n for _, n in shape])


@dataclass
class Batch:
    """n examples. columns: for each argument an array of float64 (n, numbers per example). shapes: of one example.
    given: for each argument its examples as the function takes them one by one."""

    columns: list[Array]
    shapes: tuple[Shape, ...]
    n: int
    given: list[Sequence[object]]

    @classmethod
    def empty(cls, shapes: tuple[Shape, ...]) -> Batch:
        return cls([np.zeros((0, size(shape))) for shape in shapes], shapes, 0, [[] for _ in shapes])

    @classmethod
    def of_one(cls, numbers: Sequence[float], shapes: tuple[Shape, ...], arguments: Sequence[object]) -> Batch:
        """The batch of one example, whose numbers are in the order of the arguments."""
        row, columns, at = np.array([numbers], dtype=float).reshape(1, -1), [], 0
        for count in map(size, shapes):
            columns.append(row[:, at : at + count])
            at += count
        return cls(columns, shapes, 1, [[argument] for argument in arguments])

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
        """The arguments of example i."""
        return [examples[i] for examples in self.given]


def batch_of(arrays: Sequence[Examples[object]]) -> Batch:
    """The batch that these arguments are, each of which holds examples."""
    given = [rows(argument, f"argument {place}") for place, argument in enumerate(arrays)]
    columns, shapes, lengths = [], [], [len(examples) for examples in given]
    for place, examples in enumerate(given):
        try:
            array = np.asarray(examples, dtype=float)
        except ValueError:
            raise ValueError(f"argument {place} is ragged: every example needs the same number of numbers") from None
        shapes.append(_shape(examples, array.shape[1:], place))
        columns.append(np.ascontiguousarray(array).reshape(len(array), size(shapes[-1])))
    if anomaly_active():
        _refuse_non_finite(columns)
    if len(set(lengths)) > 1:
        raise ValueError(f"the arguments hold different numbers of examples: {lengths}")
    return Batch(columns, tuple(shapes), lengths[0] if lengths else 1, given)


def _shape(examples: Sequence[object], sizes: tuple[int, ...], place: int) -> Shape:
    """The sizes of an example, with its kinds: list, tuple or array, which all examples share."""
    kinds: list[str] = []
    parts: Sequence[object] = examples
    for _ in sizes:
        found = {kind_of(part) for part in parts} if isinstance(parts, list) else {ARRAY}
        if len(found) > 1:
            raise TypeError(f"argument {place} mixes {' and '.join(sorted(found))}s: give all examples in one kind")
        kinds.append(found.pop() if found else ARRAY)
        parts = cast(Sequence[object], parts[0]) if len(parts) else []
        if kinds[-1] == ARRAY:
            return tuple(zip([*kinds, *[ARRAY] * (len(sizes) - len(kinds))], sizes))
    return tuple(zip(kinds, sizes))


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


def numbers_of(values: Sequence[Value]) -> Array:
    """Their .data, as floats; TypeError for what is no number."""
    try:
        found: Array = np.array([v.data for v in values])
    except ValueError:  # of a list among them
        found = np.array([], dtype=object)
    if found.dtype != float or found.ndim != 1:  # of x.data = np.int8(100), or "1.5"
        found = np.array([number_of(v) for v in values])
    return found


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
