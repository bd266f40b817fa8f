"""Scalar graphs at machine speed: `jit(function)` records, differentiates and compiles.

record.py    the function runs on placeholders, its graph is kept
simplify.py  equal terms become one, constants are folded
plan.py      isomorphic terms become loops over slots of memory
kernel.py    the loops, with tiles in registers;  emit.py  each operation as LLVM instructions
vector_math.py  exp, log, sin ... on vectors;  native.py  LLVM, ctypes
program.py   all of these in order;  training.py  whole epochs of `fit`
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from ..engine import Value, anomaly_active, no_grad_active
from ..op import Op, as_float
from .record import Recording, Shape, Tracer, flatten, record

__all__ = ["Compiled", "jit"]


def jit(function: Callable[..., Any], strict: bool = False) -> Compiled:
    """Compiles a function of ONE example: its arguments are numbers or lists of numbers (also nested),
    its result is a Value or lists of Values.

    strict: no fused multiply-add and no reordering, each example as the engine computes it. Python
    numbers and branches in the function are fixed when it is first called, a branch on an argument is a
    TypeError, and a dict or set does not find an argument by its number; parameters are read at every
    call. Needs the extra `jit` (llvmlite, numpy): ImportError otherwise.

    >>> from tinygrad_lite import Value
    >>> w = Value(3.0)
    >>> f = jit(lambda x: (w * x).tanh())
    >>> f.batch([0.0, 1.0]).round(6).tolist()
    [0.0, 0.995055]
    """
    return Compiled(function, strict)


class Compiled:
    """What `jit` returns. Compiles at the first call for each shape of arguments, and again only where
    these change; graphs that were compiled before are taken from a cache."""

    def __init__(self, function: Callable[..., Any], strict: bool = False) -> None:
        from . import native

        native.host()
        self._function = function
        self.strict = strict
        self._recordings: dict[tuple[Shape, ...], Recording] = {}
        self._programs: dict[Any, Any] = {}
        self._lock = threading.RLock()
        self._latest: Any = None
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__ = getattr(function, "__doc__", None)
        self._op = Op("jit", "jit", _not_here, _not_here)

    # --- one example

    def __call__(self, *arguments: Any) -> Any:
        """One example -> what the function gives, each result one node over the captured Values (and
        over arguments that are Values)."""
        flat, shapes = _flatten_arguments(arguments)
        if any(isinstance(x, Tracer) for x in flat):
            return self._function(*arguments)  # inside another function that is being compiled
        recorded = self._recording(shapes)
        outer = [(i, x) for i, x in enumerate(flat) if isinstance(x, Value)]
        wrt = tuple(i for i, _ in outer)
        np = _numpy()
        program = self._program(recorded, shapes, "sum", wrt)
        row = np.array([[x.data if isinstance(x, Value) else x for x in flat]], dtype=float).reshape(1, -1)
        check_demands(recorded, [row])
        rows = self._rows(program, [row], 1)
        operands = (*recorded.captured, *[x for _, x in outer])  # arguments that are Values count as parameters
        found = self._run(program, recorded, shapes, rows, 1.0, [v.data for v in operands], wrt)
        n, m = len(recorded.outputs), len(operands)
        nodes = [
            self._node(float(found[k]), operands, tuple(found[n + k * m : n + (k + 1) * m].tolist())) for k in range(n)
        ]
        return _rebuild(recorded.structure, nodes)

    def _node(self, data: float, operands: tuple[Value, ...], local_grads: tuple[float, ...]) -> Value:
        node = Value(data)
        if operands and not no_grad_active():
            node.op, node.args, node.local_grads = self._op, operands, local_grads
        return node

    # --- batches

    def batch(self, *arrays: Any) -> Any:
        """Batches of arguments -> a NumPy array of the results: (n,) for one Value, (n, ...) for lists."""
        columns, shapes, n = self._columns(arrays)
        recorded = self._recording(shapes)
        check_demands(recorded, columns)
        program = self._program(recorded, shapes, "each")
        np = _numpy()
        parameters = np.array([p.data for p in recorded.captured])
        found = program(self._rows(program, columns, n), self._order(n), n, 1.0, parameters)
        if anomaly_active() and not np.isfinite(found).all():
            blame(self._function, shapes, columns, int(np.flatnonzero(~np.isfinite(found).all(axis=0))[0]))
        return _shape_like(recorded.structure, found)

    def mean(self, *arrays: Any) -> Value:
        """Batches of arguments -> the mean result as one Value; backward() sends the mean's gradient to
        the captured Values. ValueError for an empty batch."""
        recorded, found = self._mean(arrays, None)
        return self._node(float(found[0]), tuple(recorded.captured), tuple(found[1:].tolist()))

    def value_and_grad(self, *arrays: Any, parameters: Any = None) -> tuple[float, Any]:
        """Batches of arguments -> (mean, its gradient as an array in the order of `self.parameters`).

        parameters: their numbers, in place of those that the Values hold.
        """
        _, found = self._mean(arrays, parameters)
        return float(found[0]), found[1:]

    def _mean(self, arrays: Sequence[Any], parameters: Any) -> tuple[Recording, Any]:
        columns, shapes, n = self._columns(arrays)
        if n == 0:
            raise ValueError(f"the mean of {self.__name__} over an empty batch has no value: give it an example")
        recorded = self._recording(shapes)
        if len(recorded.outputs) != 1:
            raise TypeError(f"a mean needs one result per example, {self.__name__} returns {len(recorded.outputs)}")
        check_demands(recorded, columns)
        program = self._program(recorded, shapes, "sum")
        rows = self._rows(program, columns, n)
        found = self._run(program, recorded, shapes, rows, 1.0 / n, parameters)
        if anomaly_active() and not _numpy().isfinite(found).all():
            for i in range(n):
                blame(self._function, shapes, columns, i)
        return recorded, found

    # --- what it became

    @property
    def parameters(self) -> list[Value]:
        """The Values from outside that the function uses, in the order of gradients."""
        return list(self._one_recording().captured)

    @property
    def ir(self) -> str:
        """The optimised LLVM text of the program compiled last."""
        return str(self._last().library.ir)

    @property
    def asm(self) -> str:
        """The machine code of the program compiled last, as assembly text."""
        return str(self._last().library.asm)

    @property
    def stats(self) -> Any:
        """How big the graph was, and what became of it: prints as a small table."""
        from .program import Stats

        return Stats(self._last())

    def _last(self) -> Any:
        if self._latest is None:
            raise RuntimeError(f"{self.__name__} has not been compiled yet: call it once")
        return self._latest

    def _one_recording(self) -> Recording:
        if not self._recordings:
            raise RuntimeError(f"{self.__name__} has not been recorded yet: call it once")
        return next(reversed(self._recordings.values()))

    # --- from arguments to native code

    def _columns(self, arrays: Sequence[Any]) -> tuple[list[Any], tuple[Shape, ...], int]:
        """Arrays of float64 (n, numbers per example), the shapes of one example, and n."""
        np = _numpy()
        columns, shapes, lengths = [], [], []
        for place, given in enumerate(arrays):
            try:
                array = np.asarray(given)
            except ValueError:
                raise ValueError(
                    f"argument {place} is ragged: every example needs the same number of numbers"
                ) from None
            if array.dtype.kind not in "biuf":
                raise TypeError(
                    f"argument {place} holds {array.dtype} entries, expected real numbers: a list or an array "
                    "of examples"
                )
            if array.ndim == 0:
                raise TypeError(f"argument {place} is one number, expected a batch: a list or array of examples")
            lengths.append(len(array))
            shapes.append(tuple(array.shape[1:]))
            columns.append(np.ascontiguousarray(array, dtype=float).reshape(len(array), -1 if array.size else 0))
        if anomaly_active():
            refuse_non_finite(columns)
        if len(set(lengths)) > 1:
            raise ValueError(f"the arguments hold different numbers of examples: {lengths}")
        if 0 in lengths:
            known = next(reversed(self._recordings), None)
            shapes = list(known) if known and len(known) == len(shapes) else shapes
            columns = [np.zeros((0, _size(shape))) for shape in shapes]
        known = next(iter(self._recordings), None)
        if known is not None and tuple(shapes) not in self._recordings and len(known) != len(shapes):
            raise TypeError(f"{self.__name__} takes {len(known)} arguments, got {len(shapes)}")
        return columns, tuple(shapes), lengths[0] if lengths else 1

    def _recording(self, shapes: tuple[Shape, ...]) -> Recording:
        with self._lock:
            found = self._recordings.get(shapes)
            if found is None:
                found = self._recordings[shapes] = record(self._function, shapes)
            return found

    def _program(
        self, recorded: Recording, shapes: tuple[Shape, ...], kind: str, wrt: tuple[int, ...] = (), exact: bool = False
    ) -> Any:
        key = (shapes, kind, wrt, exact)
        with self._lock:
            found = self._programs.get(key)
            if found is None:
                from .program import cached_program

                places = [*recorded.places, *[recorded.inputs[i] for i in wrt]]
                found = self._programs[key] = cached_program(recorded, kind, self.strict, exact, places)
            self._latest = found
            return found

    def _run(
        self, program: Any, recorded: Recording, shapes: tuple[Shape, ...], rows: Any, seed: float, parameters: Any,
        wrt: tuple[int, ...] = (),
    ) -> Any:  # fmt: skip
        """The vector of sums; once more, exactly, where the quick way met an infinity."""
        np = _numpy()
        n = len(rows)
        if parameters is None:
            numbers = np.array([p.data for p in recorded.captured])
        else:
            numbers = np.ascontiguousarray(parameters, dtype=float)
            if numbers.shape != (program.parameters,):
                raise ValueError(f"parameters has shape {numbers.shape}, expected ({program.parameters},)")
        found = program(rows, self._order(n), n, seed, numbers)
        if not program.exact and not np.isfinite(found).all():
            program = self._program(recorded, shapes, "sum", wrt, exact=True)
            found = program(rows, self._order(n), n, seed, numbers)
        return found

    def _rows(self, program: Any, columns: Sequence[Any], n: int) -> Any:
        """One row per example, padded to whole vectors."""
        rows = _numpy().zeros((n, program.row))
        at = 0
        for column in columns:
            rows[:, at : at + column.shape[1]] = column
            at += column.shape[1]
        return rows

    _orders: dict[int, Any] = {}  # noqa: RUF012

    @classmethod
    def _order(cls, n: int) -> Any:
        found = cls._orders.get(n)
        if found is None:
            found = cls._orders[n] = _numpy().arange(n)
        return found


def check_demands(recorded: Recording, columns: Sequence[Any]) -> None:
    """What losses ask of their targets, asked of a batch: ValueError names the first example that fails."""
    at = 0
    for column in columns:
        width = column.shape[1]
        for place in recorded.demanding:
            if not at <= place.index < at + width:
                continue
            numbers = column[:, place.index - at]
            seen = numbers.tobytes()
            if place.checked == seen:
                continue
            first: dict[float, int] = {}
            for i, number in enumerate(numbers.tolist()):
                first.setdefault(number, i)
            for number, i in first.items():
                for holds, message in place.demands:
                    if not holds(number):
                        raise ValueError(f"example {i}: {message(number)}")
            place.checked = seen
        at += width


def refuse_non_finite(columns: Sequence[Any]) -> None:
    """Under anomaly(): FloatingPointError names the first example whose numbers are not all finite."""
    np = _numpy()
    for place, column in enumerate(columns):
        bad = np.argwhere(~np.isfinite(column))
        if len(bad):
            i, k = map(int, bad[0])
            raise FloatingPointError(f"example {i} of argument {place} holds {column[i, k]} at place {k}")


def blame(function: Callable[..., Any], shapes: Sequence[Shape], columns: Sequence[Any], i: int) -> None:
    """Under anomaly(): computes example i with the engine, which raises where a nan or inf is born."""
    arguments = [column[i].reshape(shape).tolist() for column, shape in zip(columns, shapes)]
    try:
        results, _ = flatten(function(*arguments), function)
        for result in results:
            result.backward()
    except FloatingPointError as error:
        raise FloatingPointError(f"example {i}: {error}") from None


def _not_here(*_: Any) -> Any:
    raise RuntimeError(
        "grad cannot look into a compiled function; differentiate inside it, jit(lambda x: grad(f(x), ws)), or use "
        "backward(), which has the compiled gradient"
    )


def _flatten_arguments(arguments: Sequence[Any]) -> tuple[list[Any], tuple[Shape, ...]]:
    """The numbers of one example in order, and the shape of each argument."""
    flat: list[Any] = []
    shapes: list[Shape] = []
    for place, argument in enumerate(arguments):
        shapes.append(_flatten_one(argument, flat, place))
    return flat, tuple(shapes)


def _flatten_one(part: Any, flat: list[Any], place: int) -> Shape:
    if isinstance(part, Value):
        flat.append(part)
        return ()
    if isinstance(part, (list, tuple)) or (hasattr(part, "ndim") and part.ndim):
        inner = [_flatten_one(x, flat, place) for x in part]
        if len(set(inner)) > 1:
            raise ValueError(
                f"argument {place} is ragged: lists inside lists need one length, got shapes {sorted(set(inner))}"
            )
        return (len(inner), *(inner[0] if inner else ()))
    flat.append(as_float(part))
    return ()


def _rebuild(structure: Any, nodes: Sequence[Any]) -> Any:
    return [_rebuild(part, nodes) for part in structure] if isinstance(structure, list) else nodes[structure]


def _shape_like(structure: Any, found: Any) -> Any:
    """(outputs, n) -> (n,) or (n, ...) after the structure of the result."""
    if not isinstance(structure, list):
        return found[0].copy()
    shape: list[int] = []
    part: Any = structure
    while isinstance(part, list):
        shape.append(len(part))
        part = part[0] if part else 0
    if _size(tuple(shape)) != len(found):
        raise ValueError("a batch of ragged results has no array: let the function return lists of one length")
    return found.T.reshape(found.shape[1], *shape)


def _size(shape: Shape) -> int:
    n = 1
    for k in shape:
        n *= k
    return n


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise ImportError("compiling needs llvmlite and numpy: pip install 'tinygrad_lite[jit]'") from None
    return numpy
