"""The one door for examples and targets: what people hand over becomes rows, by position, of real numbers.

Lists stay lists and tuples tuples; an array, a table or a tensor becomes an array of float64, whose rows are arrays
again, so that integers cannot wrap and a label of a table cannot pick another row. What holds no real numbers is
refused by name. NumPy is imported only where something of its kind comes in.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, MappingView, Sequence, Set, Sized
from numbers import Real
from typing import TYPE_CHECKING, Protocol, SupportsFloat, TypeAlias, TypeGuard, TypeVar, cast

from . import expect
from .op import as_float, is_value

if TYPE_CHECKING:
    from numpy import ndarray

Array: TypeAlias = "ndarray"  # of float64
S = TypeVar("S")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Examples(Protocol[T_co]):
    """What counts its examples and gives them by position: a list, an array, a tensor, a table."""

    def __len__(self) -> int: ...
    def __getitem__(self, i: int, /) -> T_co: ...


def rows(X: Examples[T], name: str = "X", other: bool = False) -> Sequence[T]:
    """X as a sequence of examples: a list, or an array of float64 whose first axis counts them.

    Parameters
    ----------
    X : a list or tuple of examples, each a number, a list, a tuple or an array; or an array, a pandas or polars table
        or column, a tensor, anything with `__array__`. A list of arrays of one shape becomes one array.
    name : what the caller names it, in messages.
    other : whether texts and dicts may be examples of a list, for a caller that only hands them on.

    Raises
    ------
    TypeError for masked and sparse arrays, records, texts, dates, complex numbers, objects and None; for generators,
    sets and dicts. ValueError for an array without an axis that counts examples.

    A missing number of a table is nan, as everywhere in pandas; None in a list is refused.

    >>> rows([[1, 2.0], [3, 4]]), rows((1, 2))
    ([[1, 2.0], [3, 4]], [1, 2])
    """
    if is_array(X):
        array = _read_only(_array(X, name))
        if not array.ndim:
            raise ValueError(f"{name} is one number, expected examples: a list or an array of them")
        return cast(Sequence[T], array)
    found = [
        x if other and isinstance(x, (str, Mapping)) else _row(x, name, i) for i, x in enumerate(_by_position(X, name))
    ]
    shapes = {getattr(x, "shape", None) for x in found}
    return cast(Sequence[T], _stacked(found) if len(shapes) == 1 and None not in shapes else found)


def targets(y: Examples[T], name: str = "y", other: bool = False) -> Sequence[T]:
    """`rows` of targets: an array of one column, shape (n, 1), is that column, shape (n,)."""
    found = rows(y, name, other)
    return cast(Sequence[T], cast(Array, found)[:, 0]) if getattr(found, "shape", ())[1:] == (1,) else found


def pairs(
    who: str, X: Examples[S], y: Examples[T], what: str = "examples", other: bool = False
) -> tuple[Sequence[S], Sequence[T]]:
    """Examples and their targets, as many of both and at least one; who: the function, in messages."""
    found = rows(X, other=other), targets(y)
    expect.pairs(who, *found, what)
    return found


def one_by_one(X: Sequence[T]) -> Sequence[T]:
    """Rows to be read one at a time: plain floats in place of an array's numbers."""
    return cast(Sequence[T], cast(Array, X).tolist()) if getattr(X, "ndim", 0) == 1 else X


def taken(X: Sequence[T], places: Sequence[int]) -> Sequence[T]:
    """The rows at these places: an array's as an array, others as a list."""
    return [X[i] for i in places] if isinstance(X, list) else cast(Sequence[T], cast(Array, X)[list(places)])


def snapshot(X: object) -> object:
    """What `unchanged` compares X with later: copies of its lists and arrays."""
    if is_array(X):
        return _array(X, "X").copy()
    if isinstance(X, (str, bytes)) or not isinstance(X, Iterable):
        return X
    parts = [x if isinstance(x, (float, int)) else snapshot(x) for x in X]
    return tuple(parts) if isinstance(X, tuple) else parts


def unchanged(X: object, kept: object) -> bool:
    """Is X, also inside, as it was when this `snapshot` of it was taken?"""
    if is_array(X):
        import numpy as np

        return np.array_equal(_array(X, "X"), kept, equal_nan=True)
    if not isinstance(kept, (list, tuple)):
        return bool(X is kept or kept == X)
    try:
        if kept == X:  # the usual case, in C: numbers that stayed are the same objects
            return True
    except ValueError:  # arrays inside have no one answer
        pass
    return isinstance(X, Sized) and isinstance(X, Iterable) and len(X) == len(kept) and all(map(unchanged, X, kept))


def is_array(X: object) -> bool:
    """Does X come as a whole of numbers, as arrays, tables and tensors do?"""
    kinds = ("__array__", "__dataframe__", "__array_interface__")
    return isinstance(X, memoryview) or (not isinstance(X, type) and any(hasattr(X, kind) for kind in kinds))


def _by_position(X: object, name: str) -> Sequence[object]:
    """What is in a container that can be read by position, or an error that says how to make one of it."""
    if isinstance(X, (list, tuple)):
        return X
    if hasattr(X, "toarray"):
        raise TypeError(f"{name} is a {type(X).__name__}, a sparse array: write .toarray()")
    if hasattr(X, "collect") and hasattr(X, "explain"):
        raise TypeError(f"{name} is a {type(X).__name__}, which holds no rows yet: write .collect()")
    if isinstance(X, Mapping):
        raise TypeError(f"{name} is a {type(X).__name__}: write list(d.values()), or a list of rows")
    if isinstance(X, Set) and not isinstance(X, KeysView | ItemsView):
        raise TypeError(f"{name} is a {type(X).__name__}, which has no order: write sorted(...) or a list")
    if isinstance(X, (Iterator, MappingView)):
        raise TypeError(f"{name} is a {type(X).__name__}, which cannot be read by position: write list(...)")
    if not isinstance(X, (str, bytes, bytearray, type)) and hasattr(X, "__len__") and hasattr(X, "__getitem__"):
        listed = cast(Sequence[object], X)
        try:
            return [listed[i] for i in range(len(listed))]
        except (KeyError, IndexError, TypeError) as error:
            raise TypeError(
                f"{name} is a {type(X).__name__}, which cannot be read by position ({type(error).__name__}: {error}): "
                "write a list of examples"
            ) from None
    raise TypeError(f"{name} is {_got(X)}, expected examples: a list or an array of them{_hint(X)}")


def _row(x: object, name: str, i: int) -> object:
    """One example of a list, checked: numbers as they are, what is like an array as an array."""
    if type(x) is float:
        return x
    if isinstance(x, (list, tuple)):
        kinds = set(map(type, x))
        if kinds <= {float, bool}:
            return x
        parts = [_row(part, name, i) for part in x]
        if isinstance(x, list):
            return parts
        return x._make(parts) if hasattr(x, "_make") else tuple(parts)
    if is_array(x):
        found = _array(x, f"{name}[{i}]")
        return _read_only(found) if found.ndim else float(found)
    if isinstance(x, int):
        as_float(x)  # an error where it is too large for one
        return x
    if isinstance(x, SupportsFloat) and not isinstance(x, complex) and not is_value(x):
        return float(x)  # Fraction, Decimal and the like
    if isinstance(x, Sequence) and not isinstance(x, (str, bytes, bytearray)):
        return [_row(part, name, i) for part in x]
    if hasattr(x, "toarray"):
        raise TypeError(f"{name}[{i}] is a {type(x).__name__}, a sparse array: write .toarray()")
    raise TypeError(f"{name}[{i}] holds {_got(x)}, expected real numbers or lists of them{_hint(x)}")


def _stacked(arrays: Sequence[object]) -> Array:
    import numpy as np

    return _read_only(np.stack(arrays))


def _read_only(array: Array) -> Array:
    """A view that cannot be written to: a loss that changes its example would change it for good."""
    view = array.view()
    view.flags.writeable = False
    return view


class _Table(Protocol):
    """Columns by their labels, as pandas and polars have it."""

    columns: Sequence[object]

    def __getitem__(self, label: object, /) -> object: ...
    def __len__(self) -> int: ...


def _is_table(X: object) -> TypeGuard[_Table]:
    return hasattr(X, "columns") and hasattr(X, "dtypes")


def _array(X: object, name: str) -> Array:
    """An array, table or tensor as float64; TypeError that names the column or the kind of what is no number."""
    import numpy as np

    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: write .filled(value), or drop the masked examples")
    if hasattr(X, "detach"):  # a tensor, also one that requires a gradient or lies on another device
        tensor = X.detach().cpu()
        X = tensor.double() if tensor.is_floating_point() else tensor
    if _is_table(X):  # column by column, so that one of texts can be named
        labels = list(X.columns)
        columns = [X.iloc[:, k] if hasattr(X, "iloc") else X[label] for k, label in enumerate(labels)]
        reals = [_real(column, f"{name}[{str(label)!r}]") for column, label in zip(columns, labels)]
        return np.stack(reals, axis=1) if reals else np.zeros((len(X), 0))
    return _real(X, name)


_KINDS = {"c": "complex numbers", "M": "dates", "m": "times", "U": "texts", "S": "texts", "T": "texts", "V": "records"}


def _real(X: object, name: str) -> Array:
    """An array or a column as float64; TypeError that shows the first of its entries that is no real number."""
    import numpy as np

    array: Array = np.asarray(X)
    if array.dtype.kind == "O":
        array = _with_gaps(X, array)
    elif array.dtype.kind == "V" and array.dtype.names is None:  # a float that NumPy does not know, as bfloat16
        array = np.asarray(array, dtype=np.float64)
    if array.dtype.kind in "biuf":
        array = np.asarray(array, dtype=np.float64)
        return array
    entries = array.ravel()
    items = entries if array.dtype.kind in "mMV" else entries.tolist()
    example = next((x for x in items if not isinstance(x, Real) or array.dtype.kind in "mMV"), None)
    if array.dtype.kind == "V":
        fields = list(array.dtype.names or [])
        raise TypeError(f"{name} holds records of {fields}: write np.stack([a[field] for field in {fields}], axis=1)")
    if len(items) and array.dtype.kind == "O" and all(isinstance(x, Real) for x in items):
        raise TypeError(f"{name} holds numbers as objects: write .astype(float)")
    kind = _KINDS.get(array.dtype.kind, "texts" if isinstance(example, str) else "objects")
    shown, hint = _short(example), _hint(example)
    if array.dtype.kind in "mM":
        shown = str(example)
        hint = f": write {'(x - x.min())' if array.dtype.kind == 'M' else 'x'} / np.timedelta64(1, 'D'), the days"
    raise TypeError(f"{name} holds {kind}, such as {shown}, expected real numbers{hint}")


def _with_gaps(X: object, array: Array) -> Array:
    """A column of numbers with a place for missing ones, which pandas and polars give as objects: missing is nan."""
    import numpy as np

    dtype: object = getattr(X, "dtype", None)
    if hasattr(X, "null_count") and hasattr(X, "cast") and hasattr(dtype, "is_numeric"):  # of polars
        if dtype.is_numeric() or str(dtype) == "Boolean":
            array = np.asarray(X.cast(float))
    elif hasattr(X, "isna") and hasattr(X, "to_numpy") and getattr(dtype, "kind", "O") in "biuf":  # of pandas
        array = X.to_numpy(dtype=float, na_value=np.nan)
    return array


def _got(x: object) -> str:
    return "None" if x is None else f"{_short(x)} ({type(x).__name__})"


def _short(x: object) -> str:
    shown = repr(x)
    return shown if len(shown) <= 40 else shown[:37] + "..."


def _hint(x: object) -> str:
    """What to write instead of x, after a colon; nothing where that is not known."""
    if isinstance(x, str):
        return ": give each class a number, or float(text) of a text that is one"
    if isinstance(x, Mapping):
        return ': write [row["a"], row["b"]] for each row'
    if isinstance(x, complex):
        return ": write z.real, z.imag"
    if is_value(x):
        return ": write v.data"
    if isinstance(x, (list, tuple)) or isinstance(getattr(x, "ndim", None), int):
        return ": a column of lists is .tolist() (pandas) or .to_list() (polars)"
    if isinstance(x, Iterable):
        return ": write list(...)"
    return ""
