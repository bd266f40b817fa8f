"""The one door for examples and targets: what people hand over becomes rows, by position, of real numbers.

Lists stay lists and tuples tuples; an array, a table or a tensor becomes an array of float64, whose rows are arrays
again, so that integers cannot wrap and a label of a table cannot pick another row. What holds no real numbers is
refused by name. NumPy is imported only where something of its kind comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import Any, NoReturn, TypeAlias

Array: TypeAlias = Any  # of float64
Row: TypeAlias = Any  # a number, a list or tuple of rows, or an array of float64


def rows(X: Any, name: str = "X") -> Sequence[Row]:
    """X as a sequence of examples: a list, or an array of float64 whose first axis counts them.

    Parameters
    ----------
    X : a list or tuple of examples, each a number, a list, a tuple or an array; or an array, a pandas or polars table
        or column, a tensor, anything with `__array__`.
    name : what the caller names it, in messages.

    Raises
    ------
    TypeError for masked arrays, texts, dates, complex numbers, objects and None; for generators, sets and dicts.
    ValueError for an array without an axis that counts examples.

    >>> rows([[1, 2.0], [3, 4]]), rows((1, 2))
    ([[1, 2.0], [3, 4]], [1, 2])
    """
    if _is_array(X):
        found: Any = _array(X, name)
        if not found.ndim:
            raise ValueError(f"{name} is one number, expected examples: a list or an array of them")
        return found  # type: ignore[no-any-return]
    if isinstance(X, (str, bytes, dict)) or hasattr(X, "local_grads") or not hasattr(X, "__len__"):
        _refuse_container(X, name)
    if not hasattr(X, "__getitem__"):
        raise TypeError(f"{name} is a {type(X).__name__}, which has no order: write list(...) or sorted(...)")
    return [_row(x, name, i) for i, x in enumerate(X)]


def targets(y: Any, name: str = "y") -> Sequence[Row]:
    """`rows` of targets: numbers of an array are floats, and a table or an array of one column is that column."""
    found: Any = rows(y, name)
    if isinstance(found, list):
        return found
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    return found.tolist() if found.ndim == 1 else found  # type: ignore[no-any-return]


def pairs(who: str, X: Any, y: Any) -> tuple[Sequence[Row], Sequence[Row]]:
    """Examples and their targets, as many of both and at least one; who: the function, in messages."""
    X, y = rows(X), targets(y)
    if len(X) != len(y) or not len(X):
        raise ValueError(f"{who} expects as many examples as targets, and at least one; got {len(X)} and {len(y)}")
    return X, y


def taken(X: Any, places: Sequence[int]) -> Sequence[Row]:
    """The rows at these places: an array's as an array, others as a list."""
    return [X[i] for i in places] if isinstance(X, list) else X[list(places)]


def _is_array(X: Any) -> bool:
    """Does X come as a whole of numbers, as arrays, tables and tensors do?"""
    return hasattr(X, "__array__") or hasattr(X, "__dataframe__")


def _row(x: Any, name: str, i: int) -> Row:
    """One example of a list, checked: numbers as they are, what is like an array as an array."""
    if isinstance(x, Real):
        return x if isinstance(x, (int, float)) and type(x).__module__ != "numpy" else float(x)
    if _is_array(x):
        found = _array(x, f"{name}[{i}]")
        return found if found.ndim else float(found)
    if isinstance(x, list):
        return x if set(map(type, x)) <= {float, int, bool} else [_row(part, name, i) for part in x]
    if isinstance(x, tuple):
        return x if set(map(type, x)) <= {float, int, bool} else tuple([_row(part, name, i) for part in x])
    if hasattr(x, "__float__") and not hasattr(x, "local_grads") and not isinstance(x, complex):
        return float(x)  # Decimal and the like
    got = "None" if x is None else f"{_short(x)} ({type(x).__name__})"
    raise TypeError(f"{name}[{i}] holds {got}, expected real numbers or lists of them{_hint(x)}")


def _array(X: Any, name: str) -> Array:
    """An array, table or tensor as float64; TypeError that names the column or the kind of what is no number."""
    import numpy as np

    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: write X.filled(value), or drop the masked examples")
    if hasattr(X, "detach"):  # a tensor, also one that requires a gradient or lies on another device
        X = X.detach().cpu()
        X = X.double() if X.is_floating_point() else X
    if hasattr(X, "columns") and hasattr(X, "dtypes"):
        columns = [_column(X, c, f"{name}[{str(c)!r}]") for c in X.columns]
        return np.stack(columns, axis=1) if columns else np.zeros((len(X), 0))
    return _real(X, name)


def _column(table: Any, name: Any, shown: str) -> Array:
    """One column of a table, by its label even where another one has the same: pandas then gives a table."""
    column = table[name]
    if hasattr(column, "columns"):
        raise TypeError(f"{shown} names {len(column.columns)} columns: give each a name of its own")
    return _real(column, shown)


def _real(X: Any, name: str) -> Array:
    import numpy as np

    array = np.asarray(X)
    if array.dtype.kind == "O" and hasattr(X, "isna"):  # pandas' numbers with a place for NA
        with suppress(TypeError, ValueError):
            array = X.to_numpy(dtype=float, na_value=np.nan) if X.dtype != object else array
    if array.dtype.kind not in "biuf":
        kind = {"c": "complex numbers", "M": "dates", "m": "times", "U": "texts", "S": "texts", "T": "texts"}.get(
            array.dtype.kind, "objects"
        )
        example = next(iter(array.ravel().tolist()), None) if array.size else None
        raise TypeError(f"{name} holds {kind}, such as {_short(example)}, expected real numbers{_hint(example)}")
    return np.asarray(array, dtype=np.float64)


def _short(x: object) -> str:
    shown = repr(x)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _hint(x: object) -> str:
    if isinstance(x, str):
        return ": give each class a number, or float(text) of a text that is one"
    if isinstance(x, dict):
        return ': write [row["a"], row["b"]] for each row'
    if isinstance(x, complex):
        return ": write z.real, z.imag"
    return ""


def _refuse_container(X: Any, name: str) -> NoReturn:
    if isinstance(X, dict):
        raise TypeError(f"{name} is a dict: write list({name}.values()), or a list of rows")
    if hasattr(X, "__iter__") and not isinstance(X, (str, bytes)):
        raise TypeError(f"{name} is a {type(X).__name__}, which can be read only once: write list(...)")
    raise TypeError(f"{name} is {_short(X)} ({type(X).__name__}), expected examples: a list or an array of them")
