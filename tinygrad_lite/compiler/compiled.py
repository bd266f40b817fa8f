"""What `jit` returns: from arguments to a backend's program and back to Values."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import NoReturn, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike

from ..engine import Value, anomaly_active, no_grad_active
from ..nn.tensors import flat
from ..op import Op, as_float
from ..shards import Shards
from . import native, trust
from .backends import Backend
from .batches import Batch, batch_of, blame, check_preconditions, numbers_of
from .program import Program, Stats, cached_program
from .trace import Array, Shape, Structure, Trace, Tracer, kind_of, trace

Nested: TypeAlias = "Value | list[Nested]"


class Compiled:
    """What `jit` returns. Compiles at the first call for each shape of arguments, and again only where
    these change; graphs that were compiled before are taken from a cache."""

    def __init__(
        self, function: Callable[..., object], strict: bool = False, check: bool = True, backend: str | None = None
    ) -> None:
        self._function = function
        self.strict, self.check, self._wanted = strict, check, backend
        self._backend = Backend.chosen(backend)
        self._traces: dict[tuple[Shape, ...], Trace] = {}
        self._programs: dict[tuple[object, ...], Program] = {}
        self._checked: set[tuple[tuple[Shape, ...], str]] = set()
        self._lock = native.lock
        self._latest: Program | None = None
        self.__name__ = getattr(function, "__name__", "function")
        self.__doc__ = getattr(function, "__doc__", None)
        self._op = Op("jit", "jit", _not_here, _not_here)

    # --- one example

    def __call__(self, *arguments: object) -> object:
        """One example -> what the function gives, each result one node over the captured Values (and
        over arguments that are Values)."""
        flat, shapes = _flatten_arguments(arguments)
        if any(isinstance(x, Tracer) for x in flat):
            return self._function(*arguments)  # inside another function that is being compiled
        traced = self._trace(shapes)
        example = Batch.of_one([x.data if isinstance(x, Value) else x for x in flat], shapes, arguments)
        outer = [(i, x) for i, x in enumerate(flat) if isinstance(x, Value)]  # these count as parameters
        wrt = tuple([i for i, _ in outer])
        program = self._program(traced, shapes, "sum", wrt)
        check_preconditions(traced, example)
        operands = (*traced.captured, *[x for _, x in outer])
        if not outer:
            self._compare(program, traced, example, "sum")
        found = self._run(program, traced, example, 1.0, numbers_of(operands), wrt)
        n, m = len(traced.outputs), len(operands)
        gradients = found[n:].reshape(n, m).tolist()
        return _rebuild(traced.structure, [self._node(x, operands, g) for x, g in zip(found.tolist(), gradients)])

    def _node(self, data: float, operands: Sequence[Value], local_grads: Sequence[float]) -> Value:
        node = Value(data)
        if operands and not no_grad_active():
            node.op, node.args, node.local_grads = self._op, tuple(operands), tuple(local_grads)
        return node

    # --- batches

    def batch(self, *arrays: ArrayLike) -> Array:
        """Batches of arguments -> a NumPy array of the results: (n,) for one Value, (n, ...) for lists."""
        batch = self._batch(arrays)
        traced = self._trace(batch.shapes)
        check_preconditions(traced, batch)
        program = self._program(traced, batch.shapes, "each")
        rows = batch.rows(program.row)
        self._compare(program, traced, batch, "each")
        found = program(rows, _first(batch.n), 1.0, numbers_of(traced.captured))
        if anomaly_active() and not np.isfinite(found).all():
            blame(self._function, batch, [int(np.flatnonzero(~np.isfinite(found).all(axis=0))[0])])
        return _shape_like(traced.structure, found)

    def mean(self, *arrays: ArrayLike | Shards) -> Value:
        """Batches of arguments, or their `data.shard` -> the mean result as one Value; backward() sends the mean's
        gradient to the captured Values. ValueError for an empty batch."""
        traced, found = self._mean(arrays, None)
        return self._node(float(found[0]), traced.captured, found[1:].tolist())

    def value_and_grad(self, *arrays: ArrayLike | Shards, parameters: ArrayLike | None = None) -> tuple[float, Array]:
        """Batches of arguments, or their `data.shard` -> (mean, its gradient as an array in the order of
        `self.parameters`).

        parameters: their numbers, in place of those that the Values hold.
        """
        _, found = self._mean(arrays, parameters)
        return float(found[0]), found[1:]

    def _mean(self, arrays: Sequence[ArrayLike | Shards], parameters: ArrayLike | None) -> tuple[Trace, Array]:
        if len(arrays) == 1 and isinstance(arrays[0], Shards):
            shards = arrays[0]
            traced = self._trace(self._batch(shards.first()).shapes)
            return traced, shards.sums(self, _numbers(traced, parameters)) / len(shards)
        batch = self._batch(arrays)
        if batch.n == 0:
            raise ValueError(f"the mean of {self.__name__} over an empty batch has no value: give it an example")
        traced = self._trace(batch.shapes)
        if len(traced.outputs) != 1:
            raise TypeError(f"a mean needs one result per example, {self.__name__} returns {len(traced.outputs)}")
        check_preconditions(traced, batch)
        program = self._program(traced, batch.shapes, "sum")
        numbers = _numbers(traced, parameters)
        self._compare(program, traced, batch, "sum")
        found = self._run(program, traced, batch, 1.0 / batch.n, numbers)
        if anomaly_active() and not np.isfinite(found).all():
            blame(self._function, batch, range(batch.n))
        return traced, found

    # --- trust

    def _compare(self, program: Program, traced: Trace, batch: Batch, kind: str) -> None:
        """Before a program is used for the first time: ValueError where it differs from the engine, see trust.py."""
        if not self.check or (batch.shapes, kind) in self._checked or no_grad_active() or anomaly_active():
            return
        at = trust.places(batch.n, len(traced.inputs) + len(traced.captured))
        if not at:
            return
        rows, numbers, n = batch.rows(program.row), numbers_of(traced.captured), len(traced.outputs)

        def compiled(i: int) -> Array:
            found = program(rows, np.array([i]), 1.0, numbers).ravel()
            both: Array = np.column_stack([found[:n], found[n:].reshape(n, -1)])
            return both

        results = lambda *arguments: list(flat(self._function(*arguments)))  # noqa: E731
        wrt = traced.captured if kind == "sum" else []
        trust.check_examples(self.__name__, batch.given, at, results, compiled, wrt)
        self._checked.add((batch.shapes, kind))

    def __copy__(self) -> Compiled:
        return Compiled(self._function, self.strict, self.check, self._wanted)

    def __deepcopy__(self, memo: dict[int, object]) -> Compiled:
        """Of a copied model the copy: what is compiled belongs to the original's parameters."""
        return Compiled(copy.deepcopy(self._function, memo), self.strict, self.check, self._wanted)

    def __reduce__(self) -> tuple[type[Compiled], tuple[object, ...]]:
        return Compiled, (self._function, self.strict, self.check, self._wanted)

    # --- what it became

    @property
    def parameters(self) -> list[Value]:
        """The Values from outside that the function uses, in the order of gradients."""
        if not self._traces:
            raise RuntimeError(f"{self.__name__} has not been recorded yet: call it once")
        return list(next(reversed(self._traces.values())).captured)

    @property
    def ir(self) -> str:
        """The program compiled last as text: optimised LLVM, or NumPy's operations on slots of memory, one a line."""
        return self._last().ir

    @property
    def asm(self) -> str:
        """The machine code of the program compiled last, as assembly text; NumPy makes none: RuntimeError."""
        return self._last().asm

    @property
    def stats(self) -> Stats:
        """How big the graph was, and what became of it: prints as a small table."""
        return Stats(self._last())

    def _last(self) -> Program:
        if self._latest is None:
            raise RuntimeError(f"{self.__name__} has not been compiled yet: call it once")
        return self._latest

    # --- from arguments to a program

    def _batch(self, arrays: Sequence[ArrayLike]) -> Batch:
        batch, known = batch_of(arrays), list(self._traces)
        if known and batch.n == 0 and len(known[-1]) == len(arrays):  # no example says how many numbers one has
            batch = Batch.empty(known[-1])
        if known and batch.shapes not in self._traces and len(known[0]) != len(arrays):
            raise TypeError(f"{self.__name__} takes {len(known[0])} arguments, got {len(arrays)}")
        return batch

    def _trace(self, shapes: tuple[Shape, ...]) -> Trace:
        with self._lock:
            found = self._traces.get(shapes)
            if found is None:
                found = self._traces[shapes] = trace(self._function, shapes)
            return found

    def _program(
        self, traced: Trace, shapes: tuple[Shape, ...], kind: str, wrt: tuple[int, ...] = (), exact: bool = False
    ) -> Program:
        """wrt: inputs to differentiate with respect to, beside the captured Values."""
        key = (shapes, kind, wrt, exact)
        with self._lock:
            found = self._programs.get(key)
            if found is None:
                places = [*traced.places, *[traced.inputs[i] for i in wrt]]
                found = self._programs[key] = cached_program(
                    traced, kind, self.strict, exact, places, self._backend.program
                )
            self._latest = found
            return found

    def _run(
        self, program: Program, traced: Trace, batch: Batch, seed: float, parameters: Array, wrt: tuple[int, ...] = ()
    ) -> Array:
        """The vector of sums; retried exactly where the quick way met an infinity."""
        rows, order = batch.rows(program.row), _first(batch.n)
        found = program(rows, order, seed, parameters)
        if not program.exact and not np.isfinite(found).all():
            found = self._program(traced, batch.shapes, "sum", wrt, exact=True)(rows, order, seed, parameters)
        return found


_places: Array = np.arange(0)


def _first(n: int) -> Array:
    """0, 1, ..., n - 1: the places of a whole batch, kept for as many as the longest one had."""
    global _places
    places = _places  # a name of our own: another thread may replace the array
    if len(places) < n:
        places = _places = np.arange(n)
    first: Array = places[:n]
    return first


def _not_here(*_: object) -> NoReturn:
    raise RuntimeError(
        "grad cannot look into a compiled function; differentiate inside it, jit(lambda x: grad(f(x), ws)), or use "
        "backward(), which has the compiled gradient"
    )


def _numbers(traced: Trace, parameters: ArrayLike | None) -> Array:
    """The numbers of the captured Values, or these in their place."""
    numbers = numbers_of(traced.captured) if parameters is None else np.ascontiguousarray(parameters, dtype=float)
    if numbers.shape != (len(traced.captured),):
        raise ValueError(f"parameters has shape {numbers.shape}, expected ({len(traced.captured)},)")
    return numbers


def _flatten_arguments(arguments: Sequence[object]) -> tuple[list[Value | float], tuple[Shape, ...]]:
    """The numbers of one example in order, and the shape of each argument."""
    flat: list[Value | float] = []

    def flatten(part: object, place: int) -> Shape:
        if isinstance(part, Value):
            flat.append(part)
            return ()
        if isinstance(part, (list, tuple)) or getattr(part, "ndim", False) or getattr(part, "shape", False):
            inner = [flatten(x, place) for x in cast(Iterable[object], part)]
            if len(set(inner)) > 1:
                raise ValueError(
                    f"argument {place} is ragged: lists inside lists need one length, got shapes {sorted(set(inner))}"
                )
            return ((kind_of(part), len(inner)), *(inner[0] if inner else ()))
        flat.append(as_float(part))
        return ()

    return flat, tuple([flatten(argument, place) for place, argument in enumerate(arguments)])


def _rebuild(structure: Structure, nodes: Sequence[Value]) -> Nested:
    return [_rebuild(part, nodes) for part in structure] if isinstance(structure, list) else nodes[structure]


def _shape_like(structure: Structure, found: Array) -> Array:
    """(outputs, n) -> (n,) or (n, ...) after the structure of the result."""
    if not isinstance(structure, list):
        return found[0].copy()
    shape: list[int] = []
    part: Structure = structure
    while isinstance(part, list):
        shape.append(len(part))
        part = part[0] if part else 0
    if np.prod(shape) != len(found):
        raise ValueError("a batch of ragged results has no array: let the function return lists of one length")
    return found.T.reshape(found.shape[1], *shape)
