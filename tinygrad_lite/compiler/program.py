"""From a recording to native code: differentiate, simplify, group, emit, compile."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import ops
from ..derivatives import adjoints
from . import native
from .emit import Code
from .kernel import Kernel
from .plan import Planner, varying_terms
from .record import Recording, Tracer, recorded_nodes, recording
from .simplify import CONSTANT, INPUT, PARAMETER, STATE, SUM, Terms

# a block of examples should stay in the second-level cache
_BLOCK_BYTES = 512 * 1024
_MOST_BYTES = 2 * 1024**3


class Program:
    """Native code for one recording.

    kind "each": the outputs of every example of a batch. "sum": over a batch, each output and its
    gradient with respect to every place, weighted by a seed (1/n for a mean).

    places: the placeholders to differentiate with respect to, in order; also the first scalar slots.
    penalty: another recording, of no inputs, whose output and gradient are added once.
    exact: follow which operand was selected also where a local derivative is infinite; without it such
    a batch gives nan, and has to be run again exactly.
    """

    def __init__(
        self,
        recorded: Recording,
        kind: str,
        strict: bool,
        exact: bool = False,
        places: Sequence[Tracer] | None = None,
        penalty: Tracer | None = None,
    ) -> None:
        start = time.perf_counter()
        with native.no_collector():
            self._build(recorded, kind, strict, exact, places, penalty)
        self.seconds = time.perf_counter() - start
        self._work: list[Any] = []

    def _build(
        self, recorded: Recording, kind: str, strict: bool, exact: bool, places: Sequence[Tracer] | None,
        penalty: Tracer | None,
    ) -> None:  # fmt: skip
        self.kind, self.strict, self.exact = kind, strict, strict or exact or kind == "each"
        self.inputs, self.outputs = len(recorded.inputs), len(recorded.outputs)
        places = recorded.places if places is None else places
        self.parameters = len(places)
        terms = self.terms = Terms(strict)
        seed = Tracer.leaf(self.inputs)
        leaves: dict[Any, int] = {x: terms.leaf(INPUT, i) for i, x in enumerate([*recorded.inputs, seed])}
        own = [terms.leaf(PARAMETER, i) for i in range(self.parameters)]
        leaves |= dict(zip(places, own))
        weight = terms.leaf(STATE, 0)
        if kind == "each":
            self.results = terms.include(recorded.outputs, leaves)
        else:
            wanted = terms.include(_with_gradients(recorded.outputs, places, seed, strict or exact), leaves)
            sums = reduced(terms, wanted)
            sums[: self.outputs] = [terms.add(ops.mul, (i, weight)) for i in sums[: self.outputs]]
            if penalty is not None:
                extra = terms.include(_with_gradients([penalty], places, None, True), leaves)
                sums = [terms.add(ops.add, pair) for pair in zip(sums, extra)]
            self.results = sums
        self.recorded_terms = len(leaves)
        fixed = {i: place for place, i in enumerate(own)} | {weight: self.parameters}
        planner = Planner(terms, fixed, self.parameters + 1, self.inputs + 1, self.results)
        self.plan = planner.plan()
        self.simplified_terms = sum(terms.ops[i] not in (SUM, STATE, CONSTANT) for i in planner.order)
        self._compile(strict)

    def _compile(self, strict: bool) -> None:
        host = native.host()
        width = self.width = host["width"]
        plan = self.plan
        fits = _BLOCK_BYTES // (8 * width * max(plan.lanes, 1))
        self.vectors = max(1, min(16, fits if fits < 4 else fits // 4 * 4))
        # an odd stride: powers of two would crowd into few sets of the cache
        self.stride = (self.vectors | 1) * width
        self.bytes = 8 * (plan.scalars + plan.lanes * self.stride)
        if self.bytes > _MOST_BYTES:
            raise MemoryError(
                f"this graph needs {self.bytes / 2**30:.1f} GiB of working memory, more than {_MOST_BYTES >> 30}"
            )
        self.row = -(-(self.inputs or 1) // width) * width  # doubles per example, padded to whole vectors
        kernel = Kernel(plan, width, self.stride, fused=not strict)
        self.slots = np.array([plan.slot[i] for i in self.results])
        functions = self._functions(kernel)
        functions += kernel.long_functions()
        self.text = "\n".join([*kernel.tables, *kernel.declared.values(), *functions])
        self.library = native.Library(self.text, list(self._names))
        self._link()

    _names: tuple[str, ...] = ("run",)

    def _functions(self, kernel: Kernel) -> list[str]:
        run = kernel.function(
            "run", "ptr %scalars, ptr %lanes, ptr %rows, ptr %order, i64 %n, double %seed, ptr %out, i64 %stride",
            lambda c: self._run(kernel, c),
        )  # fmt: skip
        return [run]

    def _link(self) -> None:
        self._native = self.library.function(
            "run", *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p, ctypes.c_int64
        )

    def _run(self, kernel: Kernel, c: Code) -> None:
        plan, w = self.plan, self.width
        c.do(f"store double %seed, ptr {c.address('%scalars', str(self.parameters))}")
        for nest in plan.before:
            kernel.scalar_nest(nest)
        first, count = plan.sums
        c.loop(str(first), str(first + count), 1, lambda i: c.do(f"store double -0.0, ptr {c.address('%scalars', i)}"))

        def block(begin: str) -> None:
            left = c.emit(f"sub i64 %n, {begin}")
            most = self.vectors * w
            here = c.smaller(left, str(most))
            c.do(f"%rounded = add i64 {here}, {w - 1}")
            c.do(f"%vectors = sdiv i64 %rounded, {w}")
            c.do("%whole = and i64 %vectors, -4")
            self._load_inputs(c, kernel, begin)
            for nest in plan.blocks:
                if plan.groups[nest.groups[0]].reduce:
                    kernel.reduction(nest)
                else:
                    kernel.lane_nest(nest)
            if self.kind == "each":
                self._store_outputs(c, kernel, begin)

        c.loop("0", "%n", self.vectors * w, block)
        for nest in plan.after:
            kernel.scalar_nest(nest)

    def _load_inputs(self, c: Code, kernel: Kernel, begin: str) -> None:
        """Rows of examples -> lanes: width examples at a time are transposed in registers. Lanes past the
        last example repeat it, with seed 0."""
        w = self.width
        last = c.emit("sub i64 %n, 1")

        def vector(v: str) -> None:
            first = c.plus(begin, c.times(v, w))
            pointers, seeds = [], "poison"
            for lane in range(w):
                at = c.plus(first, str(lane))
                near = c.smaller(at, last)
                index = c.emit(f"load i64, ptr {c.emit(f'getelementptr i64, ptr %order, i64 {near}')}")
                pointers.append(c.address("%rows", c.times(index, self.row)))
                valid = c.emit(f"icmp sle i64 {at}, {last}")
                one = c.emit(f"select i1 {valid}, double %seed, double 0.0")
                seeds = c.emit(f"insertelement {c.type} {seeds}, double {one}, i32 {lane}") if w > 1 else one
            if self.kind == "sum":
                c.store(seeds, kernel.lane_address(str(self.inputs), v))

            def columns(at: str) -> None:
                rows = [c.load(c.address(p, at)) for p in pointers]
                for m, column in enumerate(transposed(c, rows)):
                    c.store(column, kernel.lane_address(c.plus(at, str(m)), v))

            whole = self.inputs - self.inputs % w
            if whole:
                kernel.over(whole, w, columns)
            if whole < self.inputs:
                rows = [c.load(c.address(p, str(whole))) for p in pointers]
                for m, column in enumerate(transposed(c, rows)[: self.inputs - whole]):
                    c.store(column, kernel.lane_address(str(whole + m), v))

        c.loop("0", "%vectors", 1, vector)

    def _store_outputs(self, c: Code, kernel: Kernel, begin: str) -> None:
        for k, i in enumerate(self.results):
            if not self.plan.varying[i]:
                continue

            def vector(v: str, k: int = k, i: int = i) -> None:
                value = c.load(kernel.lane_address(str(self.plan.slot[i]), v))
                row = c.emit(f"mul i64 %stride, {k}")
                c.store(value, c.address("%out", c.plus(row, c.plus(begin, c.times(v, self.width)))))

            c.loop("0", "%vectors", 1, vector)

    # --- calling

    def __call__(self, rows: Any, order: Any, n: int, seed: float, parameters: Any) -> Any:
        """rows: (examples, self.row) float64; order: n int64 places in it; parameters: float64.

        Returns (outputs, n) for kind "each", else the vector of sums: outputs, then gradients.
        """
        scalars, lanes = self._memory()
        scalars[: self.parameters] = parameters
        stride = -(-n // self.width) * self.width
        out = np.empty((self.outputs, stride)) if self.kind == "each" else None
        self._native(
            scalars.ctypes.data, lanes.ctypes.data, rows.ctypes.data, order.ctypes.data, n, seed,
            out.ctypes.data if out is not None else None, stride,
        )  # fmt: skip
        if out is not None:
            for k, i in enumerate(self.results):
                if not self.plan.varying[i]:
                    out[k] = scalars[self.plan.slot[i]]
            found = out[:, :n]
        else:
            found = scalars[self.slots]
        self._work.append((scalars, lanes))  # for the next call; a list is safe between threads
        return found

    def _memory(self) -> tuple[Any, Any]:
        try:
            return self._work.pop()  # type: ignore[no-any-return]
        except IndexError:
            scalars = native.aligned(max(self.plan.scalars, 1))
            for slot, number in self.plan.constants.items():
                scalars[slot] = number
            return scalars, native.aligned(max(self.plan.lanes, 1) * self.stride)


_cache: dict[Any, Program] = {}
_CACHED = 64


def cached_program(recorded: Recording, kind: str, strict: bool, exact: bool, places: Sequence[Tracer]) -> Program:
    """A Program, or the one compiled before for an equal graph: its numbers are read at each call."""
    key = (graph_key(recorded, places), kind, strict, exact)
    found = _cache.pop(key, None)
    if found is None:
        found = Program(recorded, kind, strict, exact, places)
    _cache[key] = found  # the latest used stands last
    while len(_cache) > _CACHED:
        del _cache[next(iter(_cache))]
    return found


def graph_key(recorded: Recording, places: Sequence[Tracer]) -> tuple[Any, ...]:
    """The recording as plain data: equal for equal graphs."""
    number: dict[Any, int] = {x: i for i, x in enumerate([*recorded.inputs, *recorded.places])}

    def reference(x: Any) -> Any:
        return x.hex() if x.__class__ is float else number[x]

    nodes: list[Any] = []
    for root in recorded.outputs:
        for node in recorded_nodes(root, number):
            nodes.append((node.op, *map(reference, node.args)))
            number[node] = len(number)
    return (len(recorded.inputs), tuple(nodes), tuple(map(reference, recorded.outputs)), tuple(map(reference, places)))


class Stats:
    """What became of a graph. str() and repr() are a small table."""

    def __init__(self, program: Program) -> None:
        plan = program.plan
        nests = [*plan.before, *plan.blocks, *plan.after]
        self.scalars_recorded = program.recorded_terms
        self.scalars_simplified = program.simplified_terms
        self.groups = len(plan.groups)
        self.loops = len(nests)
        self.lanes = program.width
        self.examples_per_block = program.width * program.vectors
        self.instructions = sum(
            line.startswith("\t") and not line.startswith("\t.") for line in program.library.asm.splitlines()
        )
        self.compile_seconds = program.seconds
        self.bytes = program.bytes

    def __repr__(self) -> str:
        rows = [
            ("scalars recorded", f"{self.scalars_recorded:,}", "values and derivatives, one by one"),
            ("after simplification", f"{self.scalars_simplified:,}", "equal ones once, constants folded"),
            ("groups", f"{self.groups:,}", "scalars that are computed alike"),
            ("loops", f"{self.loops:,}", "groups that share a loop over their members"),
            ("lanes", f"{self.lanes:,}", "examples in one vector instruction"),
            ("examples a block", f"{self.examples_per_block:,}", "worked on together, in the cache"),
            ("machine instructions", f"{self.instructions:,}", "whatever the width of the layers"),
            ("working memory", f"{self.bytes:,} bytes", ""),
            ("compile time", f"{self.compile_seconds:.3f} s", ""),
        ]
        return "\n".join(f"{name:<22}{count:>14}  {meaning}".rstrip() for name, count, meaning in rows)


def _with_gradients(outputs: Sequence[Any], places: Sequence[Tracer], seed: Any, exact: bool) -> list[Any]:
    """The outputs (of lanes that hold an example), then for each output its gradient times the seed."""
    gradients: list[Any] = []
    with recording():
        for out in outputs:
            root = ops.mul(out, 1.0 if seed is None else seed)
            gradients += adjoints(root, places, masked=exact)
        found = [out if seed is None else ops.where(seed, out, -0.0) for out in outputs]
    return [*found, *gradients]


def reduced(terms: Terms, wanted: Sequence[int]) -> list[int]:
    """For each wanted term the term of its sum over all examples. What is the same for all examples is
    taken out of the sum: the rest of the loop need not know of it."""
    varying = varying_terms(terms)
    found: dict[int, int] = {}

    def sum_of(i: int) -> int:
        if i not in found:
            found[i] = build(i)
        return found[i]

    def build(i: int) -> int:
        op, args = terms.ops[i], terms.args[i]
        fixed = [not varying[a] for a in args] if op is not INPUT else []
        if op is ops.neg:
            return terms.add(ops.neg, [sum_of(args[0])])
        if op is ops.mul and any(fixed):
            one, other = (args[1], args[0]) if fixed[0] else args
            return terms.add(ops.mul, [sum_of(one), other])
        if op is ops.div and fixed[1]:
            return terms.add(ops.div, [sum_of(args[0]), args[1]])
        if op is ops.total and any(terms.ops[a] in (ops.mul, ops.total, ops.dot) for a in args) and not any(fixed):
            parts = [sum_of(a) for a in args]
            return terms.add(ops.total, parts)
        if op is ops.dot and any(fixed) and not len(args) % 2:
            half = len(args) // 2
            both = [(a, b) for a, b in zip(args[:half], args[half:]) if varying[a] and varying[b]]
            parts = [
                terms.add(ops.mul, (sum_of(a), b) if varying[a] else (sum_of(b), a))
                for a, b in zip(args[:half], args[half:])
                if varying[a] != varying[b]
            ]
            if len(both) + len(parts) == half:
                if both:
                    a, b = zip(*both)
                    inner = terms.add(ops.dot, (*a, *b)) if len(both) > 1 else terms.add(ops.mul, both[0])
                    varying.extend([True] * (len(terms.ops) - len(varying)))
                    parts.append(terms.leaf(SUM, inner))
                return terms.add(ops.total, parts)
        return terms.leaf(SUM, i)

    return [sum_of(i) if varying[i] else i for i in wanted]


def transposed(c: Code, rows: Sequence[str]) -> list[str]:
    """width vectors of width numbers -> their columns, by exchanging halves, quarters, ..."""
    w, work, span = c.width, list(rows), c.width // 2
    while span:
        following = list(work)
        for a in range(w):
            if a & span:
                continue
            b = a | span
            low = [m if not m & span else w + (m ^ span) for m in range(w)]
            high = [m | span if not m & span else w + m for m in range(w)]
            for target, mask in (a, low), (b, high):
                text = ", ".join(f"i32 {m}" for m in mask)
                following[target] = c.emit(
                    f"shufflevector {c.type} {work[a]}, {c.type} {work[b]}, <{w} x i32> <{text}>"
                )
        work, span = following, span // 2
    return work
