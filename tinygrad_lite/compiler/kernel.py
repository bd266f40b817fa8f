"""The loops of a plan as a function in LLVM's language.

A block of examples is laid out structure of arrays: a slot of the lanes holds some vectors, one number
for as many examples. The innermost loops of a `dot` keep a tile of members x vectors in
registers, so that a loaded weight serves several vectors and a loaded vector several weights.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from .. import ops
from .code import Code, Module
from .lowerings import LOWERINGS, accumulate
from .nests import Nest, kept_groups, nested
from .plan import Group, Operand, Plan, Run

# members x vectors whose running sums stay in registers, with a vector of each kind that is added to them
TILES = {16: (6, 2), 32: (4, 4)}  # by how many registers there are
UNROLLED = 4  # the longest row of a dot that is written out instead of looped over
SUMS = (ops.dot, ops.total, ops.mean)  # long rows of these are computed for all places of a tile together

Place: TypeAlias = tuple[str, str, str]  # member (j, i) of a nest, and a vector of the block


@dataclass(frozen=True)
class Layout:
    """How a block of examples lies in memory.

    width: numbers in a vector. vectors: at most so many in a block. stride: doubles from slot to slot of the lanes.
    row: doubles of an example's inputs, padded to whole vectors. tile: members and vectors of a dot that are computed
    together.
    """

    width: int
    vectors: int
    stride: int
    row: int
    tile: tuple[int, int]


class Kernel:
    """Writes one plan as the body of @run."""

    def __init__(self, code: Code, module: Module, plan: Plan, layout: Layout) -> None:
        self.code, self.module, self.plan, self.layout = code, module, plan, layout

    def run(self, each: bool) -> None:
        """The whole batch, block by block. each: the results of every example are kept, else they are summed."""
        c, plan, w = self.code, self.plan, self.layout.width
        before, blocks, after = map(nested, (plan.before, plan.blocks, plan.after))
        self.kept = kept_groups([*before, *blocks, *after])
        c.do(f"store double %seed, ptr {c.address('%scalars', str(plan.parameters))}")
        for nest in before:
            self.scalar_nest(nest)
        first, count = plan.sums
        c.loop(str(first), str(first + count), 1, lambda i: c.do(f"store double -0.0, ptr {c.address('%scalars', i)}"))

        def block(begin: str) -> None:
            left = c.emit(f"sub i64 %n, {begin}")
            here = c.smaller(left, str(self.layout.vectors * w))
            c.do(f"%rounded = add i64 {here}, {w - 1}")
            c.do(f"%vectors = sdiv i64 %rounded, {w}")
            c.do(f"%ragged = srem i64 %vectors, {self.layout.tile[1]}")
            c.do("%whole = sub i64 %vectors, %ragged")
            self.load_inputs(begin, not each)
            for nest in blocks:
                if nest.groups[0].reduce:
                    self.reduction(nest)
                else:
                    self.lane_nest(nest)
            if each:
                self.store_outputs(begin)

        c.loop("0", "%n", self.layout.vectors * w, block)
        for nest in after:
            self.scalar_nest(nest)

    # --- memory

    def slot(self, o: Operand, j: str, i: str, k: str) -> str:
        """The slot of an operand of member (j, i), at place k of its row."""
        c = self.code
        if o.table is None:
            moved = c.plus(c.plus(c.times(j, o.dj), c.times(i, o.di)), c.times(k, o.dk))
            return c.plus(str(o.base), moved)
        member = c.plus(c.times(j, o.columns), i)
        at = c.plus(c.times(member, o.count), k)
        return c.load_entry(self.module.table(o.table.ravel().tolist()), at)

    def load(self, place: Place, o: Operand, k: str = "0") -> str:
        """An operand for one vector of examples: a vector, or a scalar in every lane."""
        return self.row_loader(place, o)(k)

    def row_loader(self, place: Place, o: Operand) -> Callable[[str], str]:
        """How to load the k-th operand of a row: what does not depend on k is computed now, once."""
        c, (j, i, v), number = self.code, place, o.number
        if number is not None:
            return lambda k: c.number(number)

        def pointer(k: str) -> str:
            slot = self.slot(o, j, i, k)
            return self.lane_address(slot, v) if o.lanes else c.address("%scalars", slot)

        def load(pointer: str) -> str:
            return c.load(pointer) if o.lanes else c.broadcast(c.load_one(pointer))

        if o.table is not None:
            return lambda k: load(pointer(k))
        start, step = pointer("0"), o.dk * (self.layout.stride if o.lanes else 1)
        return lambda k: load(start if k == "0" else c.address(start, c.times(k, step)))

    def lane_address(self, slot: str, v: str) -> str:
        c = self.code
        at = c.plus(c.times(slot, self.layout.stride), c.times(v, self.layout.width))
        return c.address("%lanes", at)

    def load_inputs(self, begin: str, seeded: bool) -> None:
        """Rows of examples -> lanes: width examples at a time are transposed in registers. Lanes past the
        last example repeat it, with seed 0."""
        c, w, inputs = self.code, self.layout.width, self.plan.inputs
        last = c.emit("sub i64 %n, 1")

        def vector(v: str) -> None:
            pointers, seeds = self.example_pointers(c.plus(begin, c.times(v, w)), last)
            if seeded:
                c.store(seeds, self.lane_address(str(inputs), v))

            def columns(at: str, count: int = w) -> None:
                rows = [c.load(c.address(p, at)) for p in pointers]
                for m, column in enumerate(c.transpose(rows)[:count]):
                    c.store(column, self.lane_address(c.plus(at, str(m)), v))

            whole = inputs - inputs % w
            if whole:
                self.over(whole, w, columns)
            if whole < inputs:
                columns(str(whole), inputs - whole)

        c.loop("0", "%vectors", 1, vector)

    def example_pointers(self, first: str, last: str) -> tuple[list[str], str]:
        """Where the rows of a vector of examples are, and a vector of their seeds."""
        c, w = self.code, self.layout.width
        pointers, seeds = [], "poison"
        for lane in range(w):
            at = c.plus(first, str(lane))
            near = c.smaller(at, last)
            pointers.append(c.address("%rows", c.times(c.load_whole("%order", near), self.layout.row)))
            valid = c.emit(f"icmp sle i64 {at}, {last}")
            one = c.emit(f"select i1 {valid}, double %seed, double 0.0")
            seeds = c.emit(f"insertelement {c.type} {seeds}, double {one}, i32 {lane}") if w > 1 else one
        return pointers, seeds

    def store_outputs(self, begin: str) -> None:
        """The results that differ from example to example, each in a row of %out, of %stride doubles."""
        c = self.code
        for k, (varying, slot) in enumerate(self.plan.results):
            if not varying:
                continue

            def vector(v: str, k: int = k, slot: int = slot) -> None:
                value = c.load(self.lane_address(str(slot), v))
                row = c.emit(f"mul i64 %stride, {k}")
                c.store(value, c.address("%out", c.plus(row, c.plus(begin, c.times(v, self.layout.width)))))

            c.loop("0", "%vectors", 1, vector)

    # --- loops over the members of a nest, for lanes

    def over(self, count: int, step: int, body: Callable[[str], None], start: int = 0) -> None:
        """for index in range(start, count, step), without a loop where it runs once."""
        if count - start <= step:
            body(str(start))
        else:
            self.code.loop(str(start), str(count), step, body)

    def lane_nest(self, nest: Nest) -> None:
        """All groups of a nest for every member and every vector of the block (%vectors of them)."""
        c = self.code
        heavy = any(o.count > UNROLLED for group in nest.groups if not LOWERINGS[group.op].long for o in group.operands)
        if heavy:
            vectors = self.layout.tile[1]
            c.loop("0", "%whole", vectors, lambda v: self.tiles(nest, v, vectors))
            c.loop("%whole", "%vectors", 1, lambda v: self.tiles(nest, v, 1))
            return

        def member(j: str, i: str) -> None:
            c.loop("0", "%vectors", 1, lambda v: self.tile(nest, j, i, 1, v, 1))

        self.over(nest.rows, 1, lambda j: self.over(nest.columns, 1, lambda i: member(j, i)))

    def tiles(self, nest: Nest, v: str, vectors: int) -> None:
        """All members for vectors v .. v + vectors, several members of a row at a time."""
        size = min(self.layout.tile[0], nest.columns)
        rest = nest.columns % size

        def row(j: str) -> None:
            self.over(nest.columns - rest, size, lambda i: self.tile(nest, j, i, size, v, vectors))
            if rest:
                self.tile(nest, j, str(nest.columns - rest), rest, v, vectors)

        self.over(nest.rows, 1, row)

    def tile(self, nest: Nest, j: str, i: str, members: int, v: str, vectors: int) -> None:
        """The groups of a nest for members i .. i + members and vectors v .. v + vectors."""
        c = self.code
        places = [(j, c.plus(i, str(m)), c.plus(v, str(n))) for m in range(members) for n in range(vectors)]
        results: dict[int, list[str]] = {}
        for group in nest.groups:
            values = results[group.index] = self.values(group, places, results)
            if group.index in self.kept:
                for value, (_, member, vector) in zip(values, places):
                    slot = c.plus(str(group.base), c.plus(c.times(j, nest.columns), member))
                    c.store(value, self.lane_address(slot, vector))

    def values(self, group: Group, places: Sequence[Place], results: dict[int, list[str]]) -> list[str]:
        """A group's values at these places. results: of the groups before it in its nest."""

        def at_hand(at: int, o: Operand) -> str:
            return results[o.source][at] if o.source in results else self.load(places[at], o)

        if not group.in_rows:
            value = LOWERINGS[group.op].value
            return [value(self.code, *[at_hand(at, o) for o in group.operands]) for at in range(len(places))]
        if group.op not in SUMS:
            return [self.row(group, partial(self.load, place)) for place in places]
        start = group.start
        return self.sums(group, places, None if start is None else [at_hand(at, start) for at in range(len(places))])

    def sums(self, group: Group, places: Sequence[Place], starts: list[str] | None) -> list[str]:
        """dot, total or mean of long rows: every place of the tile has its running sum."""
        c = self.code
        sums = starts or [c.number(0.0)] * len(places)
        for run in group.runs:
            further = self.summand(run, places)
            if run.count <= UNROLLED:
                for k in range(run.count):
                    sums = further(str(k), sums)
            else:
                sums = c.fold("0", str(run.count), 1, sums, further)
        if group.op is ops.mean:
            sums = [c.div(s, c.number(float(group.length))) for s in sums]
        return sums

    def summand(self, run: Run, places: Sequence[Place]) -> Callable[[str, list[str]], list[str]]:
        """(k, running sums) -> the sums with the k-th operands of a run; places that read the same share them."""
        c = self.code
        loaders: dict[Hashable, Callable[[str], str]] = {}
        rows = []
        for place in places:
            row = []
            for o, at in run.operands:
                key = (id(o), at, place[1] if o.table is not None or o.di else "", place[2] if o.lanes else "")
                if key not in loaders:
                    shifted = replace(o, base=o.base + at * o.dk) if o.table is None else o
                    loaders[key] = self.row_loader(place, shifted)
                row.append((key, at if o.table is not None else 0))
            rows.append(row)

        def further(k: str, sums: list[str]) -> list[str]:
            loaded: dict[Hashable, str] = {}
            found = []
            for s, row in zip(sums, rows):
                for key, at in row:
                    if key not in loaded:
                        loaded[key] = loaders[key](c.plus(str(at), k))
                found.append(accumulate(c, s, *[loaded[key] for key, _ in row]))
            return found

        return further

    def row(self, group: Group, load: Callable[[Operand, str], str]) -> str:
        """The value of one member whose operands are read in a loop. load: (operand, place in its row) -> a value."""
        c, lower = self.code, LOWERINGS[group.op].row
        assert lower is not None

        def fold(initial: Sequence[str], step: Callable[..., list[str]]) -> list[str]:
            values = list(initial)
            for run in group.runs:

                def further(k: str, values: list[str], run: Run = run) -> list[str]:
                    return step(values, *[load(o, c.plus(str(at), k)) for o, at in run.operands])

                values = c.fold("0", str(run.count), 1, values, further)
            return values

        start = c.number(0.0) if group.start is None else load(group.start, "0")
        return lower(c, fold, start, group.length)

    # --- sums over the examples

    def reduction(self, nest: Nest) -> None:
        """Adds the sum over the block's examples to each member's scalar slot."""
        (group,), w = nest.groups, self.layout.width
        width = min(w, nest.columns)
        height = min(2 if width == w else 2 * w // width, nest.rows)

        def all_rows(i: str, columns: int) -> None:
            whole = nest.rows - nest.rows % height
            self.over(whole, height, lambda j: self.reduce(group, j, i, height, columns))
            if whole < nest.rows:
                self.over(nest.rows, 1, lambda j: self.reduce(group, j, i, 1, columns), whole)

        # columns outside: a tile of them stays in the first-level cache while the rows, usually fewer, pass
        whole = nest.columns - nest.columns % width
        self.over(whole, width, lambda i: all_rows(i, width))
        if whole < nest.columns:
            all_rows(str(whole), nest.columns - whole)

    def reduce(self, group: Group, j: str, i: str, rows: int, columns: int) -> None:
        """The members from (j, i) on: a vector of running sums each, then across lanes into the slots."""
        c, w = self.code, self.layout.width
        members = [(c.plus(j, str(a)), c.plus(i, str(b))) for a in range(rows) for b in range(columns)]
        sums = [c.number(-0.0)] * len(members)  # -0.0 adds nothing, not even a sign
        for run in group.runs:

            def over_examples(k: str, sums: list[str], run: Run = run) -> list[str]:
                def further(v: str, sums: list[str]) -> list[str]:
                    return [
                        accumulate(c, s, *[self.load((*member, v), o, c.plus(str(at), k)) for o, at in run.operands])
                        for s, member in zip(sums, members)
                    ]

                return c.fold("0", "%vectors", 1, sums, further)

            sums = over_examples("0", sums) if run.count == 1 else c.fold("0", str(run.count), 1, sums, over_examples)
        for first in range(0, len(members), w):
            few = sums[first : first + w]
            added = c.sum_lanes(few) if w > 1 else few[0]
            self.add_to_slots(group, members[first : first + w], added, side_by_side=columns == w == len(few))

    def add_to_slots(self, group: Group, members: Sequence[tuple[str, str]], added: str, side_by_side: bool) -> None:
        """Adds lane m to the result of member m."""
        c, result = self.code, group.result
        assert result is not None
        if side_by_side and result.di == 1 and result.table is None and c.width > 1:
            pointer = c.address("%scalars", self.slot(result, *members[0], "0"))
            c.store(c.add(c.load(pointer), added), pointer)
            return
        for m, (row, column) in enumerate(members):
            pointer = c.address("%scalars", self.slot(result, row, column, "0"))
            old = c.load_one(pointer)
            new = c.emit(f"fadd double {old}, {c.lane(added, m)}")
            c.do(f"store double {new}, ptr {pointer}, align 8")

    # --- loops over scalars: before and after the examples

    def scalar_nest(self, nest: Nest) -> None:
        """All groups of a nest for every member; several members at a time where they lie side by side."""
        c, w = self.code, self.layout.width
        side_by_side = all(
            o.count == 1 and o.table is None and o.di in (0, 1) for group in nest.groups for o in group.operands
        )
        whole = nest.columns - nest.columns % w if side_by_side and w > 1 else 0

        def row(j: str) -> None:
            for width, start, stop in (w, 0, whole), (1, whole, nest.columns):
                if start < stop:
                    with c.at_width(width):
                        self.over(stop, width, lambda i: self.scalar_members(nest, j, i), start)

        self.over(nest.rows, 1, row)

    def scalar_members(self, nest: Nest, j: str, i: str) -> None:
        """As many members from (j, i) on as the code is wide."""
        c = self.code
        results: dict[int, str] = {}

        def load(o: Operand, k: str) -> str:
            if o.source in results:
                return results[o.source]
            if o.number is not None:
                return c.number(o.number)
            pointer = c.address("%scalars", self.slot(o, j, i, k))
            if c.width > 1 and o.di == 0:
                return c.broadcast(c.load_one(pointer))
            return c.load(pointer)

        for group in nest.groups:
            if group.in_rows:
                value = self.row(group, load)
            else:
                value = LOWERINGS[group.op].value(c, *[load(o, "0") for o in group.operands])
            results[group.index] = value
            if group.index in self.kept:
                slot = c.plus(str(group.base), c.plus(c.times(j, nest.columns), i))
                c.store(value, c.address("%scalars", slot))
