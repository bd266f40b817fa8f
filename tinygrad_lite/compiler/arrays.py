"""A row of an array while a function is recorded: an array of placeholders that computes as one of numbers."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import ops
from ..engine import Value
from .trace import Array, made_of_arguments

# what NumPy decides by truth, or asks the numbers themselves for, when an array holds objects
_RECORDED: dict[object, tuple[Callable[..., object], int]] = {
    np.less: (operator.lt, 2), np.less_equal: (operator.le, 2),
    np.greater: (operator.gt, 2), np.greater_equal: (operator.ge, 2),
    np.equal: (operator.eq, 2), np.not_equal: (operator.ne, 2),
    np.logical_and: (operator.and_, 2), np.logical_or: (operator.or_, 2), np.logical_not: (operator.invert, 1),
    np.maximum: (ops.maximum, 2), np.minimum: (ops.minimum, 2),
    np.sign: (ops.sign, 1), np.rint: (ops.round_, 1), np.fabs: (ops.abs_, 1), np.conjugate: (lambda x: x, 1),
    np.isnan: (lambda x: 1.0 - ops.equal(x, x), 1), np.isfinite: (lambda x: ops.equal(x - x, 0.0), 1),
}  # fmt: skip
_ELEMENTWISE = {ufunc: np.frompyfunc(function, n, 1) for ufunc, (function, n) in _RECORDED.items()}
_where, _clip = np.frompyfunc(ops.where, 3, 1), np.frompyfunc(ops.clip, 3, 1)


class Row(np.ndarray):
    """An array of objects, read-only as the rows of the data are; `x > 0`, `np.maximum(x, 0)`, `x.max()` record."""

    __array_priority__ = 1.0

    def __getitem__(self, key: object) -> object:  # type: ignore[override]
        return _as_row(_plain(self)[key])

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: object, out: tuple[object, ...] = (), **options: object
    ) -> object:
        for x in inputs:
            if isinstance(x, Value) and not made_of_arguments(
                x
            ):  # an array of numbers takes no Value: the engine's answer
                numbers = [np.zeros(y.shape) if isinstance(y, Row) else y for y in inputs]
                return x.__array_ufunc__(ufunc, method, *numbers, **options)
        if out:
            options["out"] = tuple(map(_plain, out))
        with _told(ufunc):
            return _as_row(getattr(_ELEMENTWISE.get(ufunc, ufunc), method)(*map(_plain, inputs), **options))

    def __array_function__(
        self, function: Callable[..., object], types: Iterable[type], args: Iterable[object],
        kwargs: Mapping[str, object],
    ) -> object:  # fmt: skip
        args = tuple(args)
        if function is np.where and len(args) == 3:
            return _as_row(_where(*map(_plain, args)))
        with _told(function):
            return _as_row(super().__array_function__(function, types, args, kwargs))

    def clip(  # type: ignore[override]
        self, min: object = None, max: object = None, out: None = None, **options: object
    ) -> object:  # fmt: skip
        low, high = -np.inf if min is None else min, np.inf if max is None else max
        return _as_row(_clip(*map(_plain, (self, low, high))))

    def round(self, decimals: int = 0, out: None = None) -> object:  # type: ignore[override]
        scale = 10.0**decimals
        return np.rint(self * scale) / scale if decimals else np.rint(self)

    def astype(self, dtype: object, **options: object) -> object:  # type: ignore[override]
        return self.copy() if np.dtype(dtype) == np.float64 else _plain(self).astype(dtype, **options)


def row_of(array: Array) -> Array:
    """This array of placeholders as a Row."""
    array.flags.writeable = False
    return array.view(Row)


@contextmanager
def _told(function: np.ufunc | Callable[..., object]) -> Iterator[None]:
    """NumPy's own words for an operation that objects do not have, in ours."""
    try:
        yield
    except (AttributeError, TypeError) as error:
        if isinstance(error, TypeError) and "ufunc" not in str(error):
            raise
        raise TypeError(
            f"np.{function.__name__} has no counterpart for recorded numbers: see tinygrad_lite.OPS for what there is"
        ) from None


def _plain(x: object) -> Any:
    return x.view(np.ndarray) if isinstance(x, Row) else x


def _as_row(x: object) -> object:
    if not isinstance(x, np.ndarray) or x.dtype != object:
        return x
    return x.view(Row) if x.ndim else x.item()
