"""The loops of a plan as functions in LLVM's language.

A block of examples is laid out structure of arrays: a slot of the lanes holds some vectors, one number
for as many examples. The innermost loops of a `dot` keep a tile of members x vectors in
registers, so that a loaded weight serves several vectors and a loaded vector several weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

from .. import ops
from .emit import LOWERINGS, Code, add_exp, larger, log_sum, long_function
from .plan import LONG, Group, Nest, Operand, Plan

TILE_MEMBERS, TILE_VECTORS = 4, 4
MANY_LONG = 12  # from so many exp, tanh, ... on they are called instead of written out
UNROLLED = 4  # the longest row of a dot that is written out instead of looped over


class Kernel:
    """Writes one plan. stride: doubles from slot to slot of the lanes."""

    def __init__(self, plan: Plan, width: int, stride: int, fused: bool) -> None:
        self.plan, self.width, self.stride, self.fused = plan, width, stride, fused
        self.tables: list[str] = []
        many = sum(group.op in LONG for group in plan.groups) > MANY_LONG
        self.shared: set[tuple[str, int, int]] | None = set() if many else None
        self.code = Code(width, fused)
        self.declared: dict[str, str] = {}

    def function(self, name: str, parameters: str, body: Callable[[Code], None]) -> str:
        """define void @name(parameters) with this body."""
        code = self.code = Code(self.width, self.fused, self.shared)
        body(code)
        self.declared |= code.declared
        return "\n".join(
            [f"define void @{name}({parameters}) nounwind {{", "entry:", *code.lines, "  ret void", "}", ""]
        )

    def long_functions(self) -> list[str]:
        """The definitions of the functions that the code calls."""
        texts = []
        for name, count, width in sorted(self.shared or ()):
            code = Code(width, self.fused)
            value = long_function(code, name, *[f"%x{i}" for i in range(count)])
            self.declared |= code.declared
            parameters = ", ".join(f"{code.type} %x{i}" for i in range(count))
            head = f"define internal {code.type} @{name}.{width}({parameters}) nounwind noinline {{"
            texts.append("\n".join([head, "entry:", *code.lines, f"  ret {code.type} {value}", "}", ""]))
        return texts

    # --- memory

    def slot(self, o: Operand, j: str, i: str, k: str) -> str:
        """The slot of an operand of member (j, i), at place k of its row."""
        c = self.code
        if o.table is None:
            moved = c.plus(c.plus(c.times(j, o.dj), c.times(i, o.di)), c.times(k, o.dk))
            return c.plus(str(o.base), moved)
        member = c.plus(c.times(j, self.columns), i)
        at = c.plus(c.times(member, o.count), k)
        entry = c.emit(f"getelementptr i32, ptr {self._table(o)}, i64 {at}")
        return c.emit(f"sext i32 {c.emit(f'load i32, ptr {entry}')} to i64")

    def _table(self, o: Operand) -> str:
        name = f"@table{len(self.tables)}"
        entries = ", ".join(f"i32 {int(x)}" for x in o.table.ravel())
        self.tables.append(f"{name} = private constant [{o.table.size} x i32] [{entries}]")
        return name

    def load(self, o: Operand, j: str, i: str, k: str, v: str) -> str:
        """An operand for one vector of examples: a vector, or a scalar in every lane."""
        return self.row_of(o, j, i, v)(k)

    def row_of(self, o: Operand, j: str, i: str, v: str) -> Callable[[str], str]:
        """How to load the k-th operand of a row: what does not depend on k is computed now, once."""
        c = self.code
        if o.number is not None:
            return lambda k: c.number(cast(float, o.number))
        step = self.stride if o.lanes else 1
        if o.table is None:
            first = self.slot(o, j, i, "0")
            start = self.lane_address(first, v) if o.lanes else c.address("%scalars", first)

            def pointer(k: str) -> str:
                return start if k == "0" else c.address(start, c.times(k, o.dk * step))
        else:

            def pointer(k: str) -> str:
                slot = self.slot(o, j, i, k)
                return self.lane_address(slot, v) if o.lanes else c.address("%scalars", slot)

        if o.lanes:
            return lambda k: c.load(pointer(k))
        return lambda k: c.broadcast(c.emit(f"load double, ptr {pointer(k)}, align 8"))

    def lane_address(self, slot: str, v: str) -> str:
        c = self.code
        at = c.plus(c.times(slot, self.stride), c.times(v, self.width))
        return c.address("%lanes", at)

    # --- loops over the members of a nest, for lanes

    def lane_nest(self, nest: Nest) -> None:
        """All groups of a nest for every member and every vector of the block (%vectors of them)."""
        groups = [self.plan.groups[g] for g in nest.groups]
        self.columns = nest.columns
        heavy = any(o.count > UNROLLED for group in groups for o in group.operands if group.op is not ops.logsumexp)
        tile_v = TILE_VECTORS if heavy else 1
        tile_m = min(TILE_MEMBERS, nest.columns) if heavy else 1
        c = self.code

        def members(v: str, vectors: int) -> None:
            def row(j: str) -> None:
                whole = nest.columns - nest.columns % tile_m
                if whole:
                    self.over(whole, tile_m, lambda i: self.tile(nest, j, i, tile_m, v, vectors))
                if whole < nest.columns:
                    self.over(nest.columns, 1, lambda i: self.tile(nest, j, i, 1, v, vectors), whole)

            self.over(nest.rows, 1, row)

        if tile_v == 1:

            def row(j: str) -> None:
                self.over(
                    nest.columns, 1,
                    lambda i: c.loop("0", "%vectors", 1, lambda v: self.tile(nest, j, i, 1, v, 1)),
                )  # fmt: skip

            self.over(nest.rows, 1, row)
            return
        c.loop("0", "%whole", tile_v, lambda v: members(v, tile_v))
        c.loop("%whole", "%vectors", 1, lambda v: members(v, 1))

    def over(self, count: int, step: int, body: Callable[[str], None], start: int = 0) -> None:
        """for index in range(start, count, step), without a loop where it runs once."""
        if count - start <= step:
            body(str(start))
        else:
            self.code.loop(str(start), str(count), step, body)

    def tile(self, nest: Nest, j: str, i: str, members: int, v: str, vectors: int) -> None:
        """The groups of a nest for members i .. i + members and vectors v .. v + vectors."""
        c = self.code
        places = [(c.plus(i, str(m)), c.plus(v, str(n))) for m in range(members) for n in range(vectors)]
        results: dict[int, list[str]] = {}
        for g in nest.groups:
            group = self.plan.groups[g]
            if group.op is ops.logsumexp and any(o.count > 1 for o in group.operands):
                values = [self.logsumexp(group, partial(self.place_load, j, m, v)) for m, v in places]
            elif any(o.count > 1 for o in group.operands):
                values = self.rows(group, j, places, results)
            else:
                values = []
                for at, (member, vector) in enumerate(places):
                    operands = [
                        results[o.source][at] if o.source in results else self.load(o, j, member, "0", vector)
                        for o in group.operands
                    ]
                    values.append(LOWERINGS[group.op](c, *operands))
            results[g] = values
            if group.kept:
                for value, (member, vector) in zip(values, places):
                    slot = c.plus(str(group.base), c.plus(c.times(j, nest.columns), member))
                    c.store(value, self.lane_address(slot, vector))

    def place_load(self, j: str, i: str, v: str, o: Operand, k: str) -> str:
        """`load`, for a place that is given first."""
        return self.load(o, j, i, k, v)

    def rows(self, group: Group, j: str, places: list[tuple[str, str]], results: dict[int, list[str]]) -> list[str]:
        """dot, total or mean of long rows: every place of the tile has its running sum."""
        c = self.code
        pairs, rest = _aligned(group)
        n = sum(o.count for o in group.operands)
        sums = [c.number(0.0)] * len(places)
        start = [o for o in rest if group.op is ops.dot]
        if start:
            sums = [
                results[o.source][at] if (o := start[0]).source in results else self.load(o, j, member, "0", vector)
                for at, (member, vector) in enumerate(places)
            ]
        for parts in pairs:
            count = parts[0][2]
            loads: dict[Any, Callable[[str], str]] = {}  # places that read the same numbers share them
            rows = []
            for member, vector in places:
                row = []
                for o, at, _ in parts:
                    key = (id(o), at, member if o.table is not None or o.di else "", vector if o.lanes else "")
                    if key not in loads:
                        shifted = replace(o, base=o.base + at * o.dk) if o.table is None else o
                        loads[key] = self.row_of(shifted, j, member, vector)
                    row.append((key, at if o.table is not None else 0))
                rows.append(row)

            def further(k: str, sums: list[str], rows: Any = rows, loads: Any = loads) -> list[str]:
                loaded: dict[Any, str] = {}
                found = []
                for s, row in zip(sums, rows):
                    for key, at in row:
                        if key not in loaded:
                            loaded[key] = loads[key](c.plus(str(at), k))
                    xs = [loaded[key] for key, _ in row]
                    found.append(c.multiply_add(xs[0], xs[1], s) if len(xs) == 2 else c.add(s, xs[0]))
                return found

            if count <= UNROLLED:
                for k in range(count):
                    sums = further(str(k), sums)
            else:
                sums = c.fold("0", str(count), 1, sums, further)
        if group.op is ops.mean:
            sums = [c.div(s, c.number(float(n))) for s in sums]
        return sums

    def logsumexp(self, group: Group, load: Callable[[Operand, str], str]) -> str:
        """Two loops over the row: its maximum, then the sum of the others' exp(x - maximum)."""
        c = self.code
        largest = c.number(float("-inf"))
        for o in group.operands:

            def maximum(k: str, found: list[str], o: Operand = o) -> list[str]:
                return [larger(c, load(o, k), found[0])]

            (largest,) = c.fold("0", str(o.count), 1, [largest], maximum)
        sums = [c.number(0.0), c.number(0.0)]
        for o in group.operands:

            def further(k: str, found: list[str], o: Operand = o) -> list[str]:
                return add_exp(c, load(o, k), largest, *found)

            sums = c.fold("0", str(o.count), 1, sums, further)
        return log_sum(c, largest, sums[0])

    # --- sums over the examples

    def reduction(self, nest: Nest) -> None:
        """Adds the sum over the block's examples to each member's scalar slot."""
        c, w = self.code, self.width
        (group,) = (self.plan.groups[g] for g in nest.groups)
        self.columns = nest.columns
        width = min(w, nest.columns)
        height = max(1, min(2 if width == w else 2 * w // max(width, 1), nest.rows))

        def block(j: str, i: str, rows: int, columns: int) -> None:
            members = [(c.plus(j, str(a)), c.plus(i, str(b))) for a in range(rows) for b in range(columns)]
            sums = [c.number(-0.0)] * len(members)  # -0.0 adds nothing, not even a sign
            pairs, _ = _aligned(group)
            if group.op is ops.mul:
                pairs = [[(o, 0, 1) for o in group.operands]]
            for parts in pairs:
                count = parts[0][2]

                def further(v: str, sums: list[str], k: str, parts: Any = parts) -> list[str]:
                    found = []
                    for s, (row, column) in zip(sums, members):
                        xs = [self.load(o, row, column, c.plus(str(at), k), v) for o, at, _ in parts]
                        found.append(c.multiply_add(xs[0], xs[1], s) if len(xs) == 2 else c.add(s, xs[0]))
                    return found

                def inner(k: str, sums: list[str], further: Any = further) -> list[str]:
                    return c.fold("0", "%vectors", 1, sums, lambda v, s: further(v, s, k))

                sums = inner("0", sums) if count == 1 else c.fold("0", str(count), 1, sums, inner)
            result = group.result
            assert result is not None
            for first in range(0, len(members), w):
                row, column = members[first]
                few = sums[first : first + w]
                added = c.sum_lanes(few) if w > 1 else few[0]
                contiguous = result.di == 1 and result.table is None and columns == w == len(few)
                if contiguous and w > 1:
                    pointer = c.address("%scalars", self.slot(result, row, column, "0"))
                    c.store(c.add(c.load(pointer), added), pointer)
                    continue
                for m, (row, column) in enumerate(members[first : first + w]):
                    pointer = c.address("%scalars", self.slot(result, row, column, "0"))
                    old = c.emit(f"load double, ptr {pointer}, align 8")
                    new = c.emit(f"fadd double {old}, {c.lane(added, m)}")
                    c.do(f"store double {new}, ptr {pointer}, align 8")

        def all_rows(i: str, columns: int) -> None:
            whole = nest.rows - nest.rows % height
            self.over(whole, height, lambda j: block(j, i, height, columns))
            if whole < nest.rows:
                self.over(nest.rows, 1, lambda j: block(j, i, 1, columns), whole)

        # columns outside: a tile of them stays in the first-level cache while the rows, usually fewer, pass
        whole = nest.columns - nest.columns % width
        self.over(whole, width, lambda i: all_rows(i, width))
        if whole < nest.columns:
            all_rows(str(whole), nest.columns - whole)

    # --- loops over scalars: before and after the examples

    def scalar_nest(self, nest: Nest) -> None:
        """All groups of a nest for every member; several members at a time where they lie side by side."""
        groups = [self.plan.groups[g] for g in nest.groups]
        self.columns = nest.columns
        c = self.code
        side_by_side = all(
            o.count == 1 and o.table is None and o.di in (0, 1) for group in groups for o in group.operands
        )
        widths = [self.width, 1] if side_by_side and nest.columns >= self.width > 1 else [1]

        def row(j: str) -> None:
            start = 0
            for width in widths:
                stop = nest.columns - (nest.columns - start) % width
                if stop > start:

                    def members(i: str, width: int = width) -> None:
                        c.width = width
                        self.scalar_members(nest, j, i)
                        c.width = self.width

                    self.over(stop, width, members, start)
                start = stop

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
                return c.broadcast(c.emit(f"load double, ptr {pointer}, align 8"))
            return c.load(pointer)

        for g in nest.groups:
            group = self.plan.groups[g]
            if group.op is ops.logsumexp and any(o.count > 1 for o in group.operands):
                value = self.logsumexp(group, load)
            elif any(o.count > 1 for o in group.operands):
                value = self.scalar_row(group, load)
            else:
                value = LOWERINGS[group.op](c, *[load(o, "0") for o in group.operands])
            results[g] = value
            if group.kept:
                slot = c.plus(str(group.base), c.plus(c.times(j, nest.columns), i))
                c.store(value, c.address("%scalars", slot))

    def scalar_row(self, group: Group, load: Callable[[Operand, str], str]) -> str:
        c = self.code
        pairs, rest = _aligned(group)
        total = load(rest[0], "0") if rest and group.op is ops.dot else c.number(0.0)
        for parts in pairs:

            def further(k: str, sums: list[str], parts: Any = parts) -> list[str]:
                xs = [load(o, c.plus(str(at), k)) for o, at, _ in parts]
                return [c.multiply_add(xs[0], xs[1], sums[0]) if len(xs) == 2 else c.add(sums[0], xs[0])]

            (total,) = c.fold("0", str(parts[0][2]), 1, [total], further)
        return c.div(total, c.number(float(sum(o.count for o in group.operands)))) if group.op is ops.mean else total


def _aligned(group: Group) -> tuple[list[list[tuple[Operand, int, int]]], list[Operand]]:
    """Runs in which every part of a row follows one pattern: for each the operands, where in them the
    run begins, and its length. For a dot pairs of (w, x), and apart the start."""
    if group.op is not ops.dot:
        return [[(o, 0, o.count)] for o in group.operands], []
    n = sum(o.count for o in group.operands)
    half = n // 2
    first: list[tuple[Operand, int]] = []
    second: list[tuple[Operand, int]] = []
    rest: list[Operand] = []
    at = 0
    for o in group.operands:
        if at < 2 * half:
            (first if at < half else second).append((o, at % half))
        else:
            rest.append(o)
        at += o.count
    cuts = sorted({begin for _, begin in first + second} | {half})
    runs = []
    for start, stop in itertools.pairwise(cuts):
        run = []
        for part in first, second:
            o, begin = [(o, begin) for o, begin in part if begin <= start][-1]
            run.append((o, start - begin, stop - start))
        runs.append(run)
    return runs, rest
