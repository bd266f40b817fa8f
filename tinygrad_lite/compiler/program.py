"""Programs: a computation that a backend has planned and compiled; native code; the cache."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Container, Hashable, Iterator, Sequence

import numpy as np

from ..engine import Value
from ..ops import Op
from . import native
from .code import Module
from .computation import Computation
from .kernel import TILES, Kernel, Layout
from .loop import Loop
from .lowerings import LOWERINGS
from .nests import nested
from .plan import Plan, plan
from .trace import Array, Number, Trace, Tracer, traced_nodes

BLOCK_BYTES = 512 * 1024  # of a block of examples, which should stay in the second-level cache
MOST_VECTORS = 16  # of a block
MOST_BYTES = 2 * 1024**3
MANY_LONG = 12  # beyond so many, exp, tanh, ... are called instead of written out
MOST_PROGRAMS = 64  # that the cache keeps


class Program:
    """A computation that can be called: what those of all backends have in common.

    row: doubles of an example's inputs. bytes: of working memory. padded, in programs of training steps: numbers from
    one row of parameters or state to the next.
    """

    row_ops: Container[Op]  # whose operands the backend reads in rows
    row: int
    bytes: int
    padded: int

    def __init__(self, computation: Computation) -> None:
        self.kind, self.exact, self.strict = computation.kind, computation.exact, computation.strict
        self.outputs, self.traced_terms = computation.outputs, computation.traced_terms
        self.plan = plan(computation, self.row_ops)
        self.slots = np.array([slot for _, slot in self.plan.results])
        self.build()
        self.seconds = time.perf_counter() - computation.began

    def build(self) -> None:
        """From the plan to what can be called; sets row and bytes."""
        raise NotImplementedError

    def check_bytes(self) -> None:
        """MemoryError where the plan asks for too many."""
        if self.bytes > MOST_BYTES:
            raise MemoryError(
                f"this graph needs {self.bytes / 2**30:.1f} GiB of working memory, more than {MOST_BYTES >> 30}"
            )

    def __call__(self, rows: Array, order: Array, seed: float, parameters: Array) -> Array:
        """rows: (examples, self.row) float64; order: n int64 places in it; parameters: float64.

        Returns (outputs, n) for kind "each", else the vector of sums: outputs, then gradients.
        """
        raise NotImplementedError

    def train(self, loop: Loop) -> tuple[int, float]:
        """Steps until the loop ends: why it did, and the loss of the last batch. Programs of training steps have it."""
        raise NotImplementedError

    @property
    def ir(self) -> str:
        """What the plan became, as text."""
        raise NotImplementedError

    @property
    def asm(self) -> str:
        """The machine code, as assembly text."""
        raise NotImplementedError

    def measures(self) -> Iterator[tuple[str, str, int, str]]:
        """What `Stats` shows of the backend: name of the attribute, name in the table, number, meaning."""
        raise NotImplementedError


class NativeProgram(Program):
    """Machine code, by LLVM."""

    row_ops = frozenset(op for op, lowering in LOWERINGS.items() if lowering.row)
    names: tuple[str, ...] = ("run",)  # of the functions that are called from here

    def build(self) -> None:
        self.layout = _layout(self.plan)
        self.row = self.layout.row
        self.bytes = 8 * (self.plan.scalars + self.plan.lanes * self.layout.stride)
        self.check_bytes()
        many = sum(LOWERINGS[group.op].long for group in self.plan.groups) > MANY_LONG
        module = Module(self.layout.width, fused=not self.strict, shared=many)
        self.write(module)
        self.text = module.text()
        self.library = native.Library(self.text, self.names)
        self.link()
        self._free: list[tuple[Array, Array]] = []

    def write(self, module: Module) -> None:
        """The functions of the program."""
        module.function(
            "run", "ptr %scalars, ptr %lanes, ptr %rows, ptr %order, i64 %n, double %seed, ptr %out, i64 %stride",
            lambda code: Kernel(code, module, self.plan, self.layout).run(each=self.kind == "each"),
        )  # fmt: skip

    def link(self) -> None:
        """The compiled functions as Python's."""
        self._run = self.library.function(
            "run", *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_double, ctypes.c_void_p, ctypes.c_int64
        )

    def __call__(self, rows: Array, order: Array, seed: float, parameters: Array) -> Array:
        n = len(order)
        memory = scalars, lanes = self.take_memory()
        scalars[: self.plan.parameters] = parameters
        stride = -(-n // self.layout.width) * self.layout.width
        out = np.empty((self.outputs, stride)) if self.kind == "each" else None
        self._run(
            scalars.ctypes.data, lanes.ctypes.data, rows.ctypes.data, order.ctypes.data, n, seed,
            out.ctypes.data if out is not None else None, stride,
        )  # fmt: skip
        if out is not None:
            for k, (varying, slot) in enumerate(self.plan.results):
                if not varying:
                    out[k] = scalars[slot]
            found = out[:, :n]
        else:
            found = scalars[self.slots]
        self.give_back(memory)
        return found

    def take_memory(self) -> tuple[Array, Array]:
        """Scalars and lanes, for one call at a time; `give_back` keeps them for the next."""
        try:
            return self._free.pop()  # a list is safe between threads
        except IndexError:
            scalars = native.aligned(max(self.plan.scalars, 1))
            for slot, number in self.plan.constants.items():
                scalars[slot] = number
            return scalars, native.aligned(max(self.plan.lanes, 1) * self.layout.stride)

    def give_back(self, memory: tuple[Array, Array]) -> None:
        self._free.append(memory)

    @property
    def ir(self) -> str:
        return self.library.ir

    @property
    def asm(self) -> str:
        return self.library.asm

    def measures(self) -> Iterator[tuple[str, str, int, str]]:
        plan, layout = self.plan, self.layout
        loops = sum(len(nested(phase)) for phase in (plan.before, plan.blocks, plan.after))
        yield "loops", "loops", loops, "groups that share a loop over their members"
        yield "lanes", "lanes", layout.width, "examples in one vector instruction"
        examples = layout.width * layout.vectors
        yield "examples_per_block", "examples a block", examples, "worked on together, in the cache"
        instructions = sum(line.startswith("\t") and not line.startswith("\t.") for line in self.asm.splitlines())
        yield "instructions", "machine instructions", instructions, "whatever the width of the layers"


def _layout(plan: Plan) -> Layout:
    host = native.host()
    width, tile = host.width, TILES[host.registers]
    fits = BLOCK_BYTES // (8 * width * max(plan.lanes, 1))
    vectors = max(1, min(MOST_VECTORS, fits))
    vectors -= vectors % tile[1] if vectors > tile[1] else 0
    # an odd stride: powers of two would crowd into few sets of the cache
    row = -(-max(plan.inputs, 1) // width) * width
    return Layout(width, vectors, stride=(vectors | 1) * width, row=row, tile=tile)


cache: dict[Hashable, Program] = {}


def cached_program(
    trace: Trace, kind: str, strict: bool, exact: bool, places: Sequence[Tracer], make: Callable[[Computation], Program]
) -> Program:
    """A Program, or the one made before for an equal graph: its numbers are read at each call. make: the backend's."""
    key = (graph_key(trace, places), kind, strict, exact, make)
    found = cache.pop(key, None)
    if found is None:
        with native.no_collector():
            found = make(Computation(trace, kind, strict, exact, places))
    cache[key] = found  # the latest used is last
    while len(cache) > MOST_PROGRAMS:
        del cache[next(iter(cache))]
    return found


def graph_key(trace: Trace, places: Sequence[Tracer]) -> Hashable:
    """The trace as plain data: equal for equal graphs."""
    number: dict[Value, int] = {x: i for i, x in enumerate([*trace.inputs, *trace.places])}

    def reference(x: Number) -> str | int:
        return number[x] if isinstance(x, Value) else x.hex()

    nodes: list[tuple[object, ...]] = []
    for root in trace.outputs:
        for node in traced_nodes(root, number):
            nodes.append((node.op, *map(reference, node.args)))
            number[node] = len(number)
    return (len(trace.inputs), tuple(nodes), tuple(map(reference, trace.outputs)), tuple(map(reference, places)))


class Stats:
    """What became of a graph. str() and repr() are a small table."""

    loops: int
    lanes: int
    examples_per_block: int
    instructions: int

    def __init__(self, program: Program) -> None:
        self.scalars_recorded = program.traced_terms
        self.scalars_simplified = program.plan.simplified_terms
        self.groups = len(program.plan.groups)
        self.compile_seconds = program.seconds
        self.bytes = program.bytes
        self._measures = list(program.measures())
        for name, _, count, _ in self._measures:
            setattr(self, name, count)

    def __repr__(self) -> str:
        rows = [
            ("scalars recorded", f"{self.scalars_recorded:,}", "values and derivatives, one by one"),
            ("after simplification", f"{self.scalars_simplified:,}", "equal ones once, constants folded"),
            ("groups", f"{self.groups:,}", "scalars that are computed alike"),
            *[(label, f"{count:,}", meaning) for _, label, count, meaning in self._measures],
            ("working memory", f"{self.bytes:,} bytes", ""),
            ("compile time", f"{self.compile_seconds:.3f} s", ""),
        ]
        return "\n".join(f"{name:<22}{count:>14}  {meaning}".rstrip() for name, count, meaning in rows)
