"""Grouping: isomorphic terms become one loop.

Two terms of the same operation on terms that are themselves alike stand at the same height of the
graph, so neither needs the other: the neurons of a layer, their activations, their gradients. Such a
group gets consecutive slots of memory, and where the slots of its operands form an arithmetic pattern
(weights of a row, rows of a matrix) an address is computed, else looked up in a table. Code size then
depends on how many kinds of terms there are and not on how wide a layer is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops
from ..ops import Op
from .simplify import CONSTANT, INPUT, LEAVES, SUM, Terms

# at most so many operations in one straight piece of code: LLVM's time per operation grows beyond
LONGEST = 256

# many operands, computed in a loop over them
ROWS = frozenset((ops.dot, ops.total, ops.mean, ops.logsumexp))
# many instructions: not to be repeated for every place of a dot's tile
LONG = frozenset((
    ops.exp, ops.expm1, ops.log, ops.log1p, ops.sin, ops.cos, ops.tan, ops.asin, ops.acos, ops.atan, ops.atan2,
    ops.sinh, ops.cosh, ops.hypot, ops.power, ops.tanh, ops.sigmoid, ops.softplus, ops.logsumexp,
))  # fmt: skip


@dataclass
class Operand:
    """Where the k-th operand of member (j, i) of a group stands: slot base + j*dj + i*di + k*dk of the
    lanes (a vector per example block) or of the scalars; or in `table` at [(j, i), k]; or it is a
    number. count: how many operands in a row follow this pattern."""

    lanes: bool
    base: int = 0
    dj: int = 0
    di: int = 0
    dk: int = 0
    count: int = 1
    table: Any = None
    number: float | None = None
    source: int = -1  # the group that makes it, where it is made for this very member


@dataclass
class Group:
    """Members (j, i), j < rows, i < columns, of one operation; their results stand in consecutive slots.

    reduce: the results are not kept but summed over all examples, into scalar slots.
    """

    op: Op
    lanes: bool
    terms: list[int]
    base: int = 0
    rows: int = 1
    columns: int = 1
    operands: list[Operand] = field(default_factory=list)
    reduce: bool = False
    result: Operand | None = None
    kept: bool = True


@dataclass
class Nest:
    """Groups computed in one loop over their members. tiled: a dot of long rows is among them; long: a
    function of many instructions."""

    groups: list[int]
    size: int
    rows: int = 1
    columns: int = 1
    tiled: bool = False
    long: bool = False


@dataclass
class Plan:
    """All loops, in order, and the memory they use.

    before, blocks, after: nests of scalars, of lanes (once a block of examples), of scalars again.
    """

    groups: list[Group]
    before: list[Nest]
    blocks: list[Nest]
    after: list[Nest]
    scalars: int
    lanes: int
    slot: dict[int, int]  # term -> slot, of the scalars or of the lanes
    varying: list[bool]
    constants: dict[int, float]  # scalar slot -> number
    sums: tuple[int, int]  # first slot, count


def needed_terms(terms: Terms, roots: Sequence[int]) -> list[int]:
    """The terms below roots, operands first."""
    wanted = bytearray(len(terms.ops))
    for i in roots:
        wanted[i] = True
    for i in range(len(terms.ops) - 1, -1, -1):
        if wanted[i] and (terms.ops[i] not in LEAVES or terms.ops[i] is SUM):
            for a in terms.args[i]:
                wanted[a] = True
    return [i for i, want in enumerate(wanted) if want]


def varying_terms(terms: Terms) -> list[bool]:
    """For every term: does it differ from example to example?"""
    varying: list[bool] = []
    for op, args in zip(terms.ops, terms.args):
        varying.append(op is INPUT or (op not in LEAVES and any(varying[i] for i in args)))
    return varying


class Planner:
    """terms, the fixed scalar slots of leaves, and the terms wanted -> a Plan."""

    def __init__(self, terms: Terms, fixed: dict[int, int], scalars: int, inputs: int, roots: Sequence[int]) -> None:
        self.terms = terms
        self.varying = varying_terms(terms)
        self.order = needed_terms(terms, roots)
        self.roots = set(roots)
        self.slot = dict(fixed)
        self.scalars, self.lanes = scalars, inputs
        self.constants: dict[int, float] = {}
        self.groups: list[Group] = []
        self.group_of: dict[int, int] = {}

    def plan(self) -> Plan:
        members, heights = self._colour()
        sums = [i for i in self.order if self.terms.ops[i] is SUM]
        first_sum = self.scalars
        for i in sums:
            self.slot[i] = self.scalars
            self.scalars += 1
        only_summed = self._only_summed(sums)
        phases: list[list[int]] = [[], [], []]
        after = self._after_sums()
        for colour in sorted(members, key=lambda c: (heights[c], c)):
            found = members[colour]
            first = found[0]
            if self.terms.ops[first] in LEAVES:
                self._place_leaves(found)
                continue
            kept = [i for i in found if i not in only_summed]
            if kept:
                self._place(kept)
                phases[1 if self.varying[first] else 2 if first in after else 0].append(len(self.groups) - 1)
        for reduced in self._reductions(sums, only_summed):
            self._reduce(reduced)
            phases[1].append(len(self.groups) - 1)
        before, blocks, after_nests = nests = [self._nests(phase) for phase in phases]
        self._find_kept(nests)
        return Plan(
            self.groups, before, blocks, after_nests, self.scalars, self.lanes, self.slot, self.varying,
            self.constants, (first_sum, len(sums)),
        )  # fmt: skip

    def _colour(self) -> tuple[dict[int, list[int]], dict[int, int]]:
        """colour -> its terms, and colour -> height. Equal colours: isomorphic terms."""
        number: dict[Any, int] = {}
        colour: dict[int, int] = {}
        members: dict[int, list[int]] = {}
        heights: dict[int, int] = {}
        for i in self.order:
            op, args = self.terms.ops[i], self.terms.args[i]
            if op in LEAVES:
                key: Any = op
                height = 0
            else:
                inner = [colour[a] for a in args]
                key = (op, *(_runs(inner) if len(inner) > 4 else inner))
                height = 1 + max([heights[c] for c in inner])
            c = number.setdefault(key, len(number))
            colour[i] = c
            members.setdefault(c, []).append(i)
            heights[c] = max(height, heights.get(c, 0))
        return members, heights

    def _place_leaves(self, found: list[int]) -> None:
        """Constants by size: what compares with class 0, 1, 2, ... is then in the order of the classes."""
        kind, number = self.terms.ops[found[0]], {i: self.terms.args[i][0] for i in found}
        if kind is CONSTANT:
            for i in sorted(found, key=lambda i: (number[i] != number[i], number[i])):
                self.slot[i] = self.scalars
                self.constants[self.scalars] = number[i]
                self.scalars += 1
        elif kind is INPUT:
            self.slot.update(number)

    def _place(self, found: list[int]) -> None:
        """A group of these terms, its members in the order of their operands' slots."""
        table = np.array([[self.slot[a] for a in self.terms.args[i]] for i in found])
        by_operands = np.lexsort(table.T[::-1])
        found = [found[i] for i in by_operands]
        lanes = self.varying[found[0]]
        base = self.lanes if lanes else self.scalars
        group = Group(self.terms.ops[found[0]], lanes, found, base)
        for m, i in enumerate(found):
            self.slot[i] = base + m
            self.group_of[i] = len(self.groups)
        if lanes:
            self.lanes += len(found)
        else:
            self.scalars += len(found)
        self._describe(group, table[by_operands])
        self.groups.append(group)

    def _describe(self, group: Group, table: Any, result: Any = None) -> None:
        """Finds the arithmetic patterns in the members x operands table of slots."""
        columns = list(table.T) + ([] if result is None else [result])
        group.columns = next((n for n in map(_period, columns) if n), len(table))
        group.rows = len(table) // group.columns
        first = self.terms.args[group.terms[0]]
        start, n = 0, table.shape[1]
        n_pairs = n // 2 if group.op is ops.dot else 0
        while start < n:
            lanes, stop = self.varying[first[start]], start + 1
            limit = n_pairs if start < n_pairs else 2 * n_pairs if start < 2 * n_pairs else n
            made_by = self.group_of.get(first[start])
            if group.op in ROWS and limit - start > 1:
                while stop < limit and self.varying[first[stop]] == lanes:
                    stop += 1
            group.operands += self._patterns(group, table[:, start:stop], lanes, first[start], made_by)
            start = stop
        if result is not None:
            group.result = self._patterns(group, result[:, None], False, -1, None)[0]

    def _patterns(self, group: Group, part: Any, lanes: bool, term: int, made_by: int | None) -> list[Operand]:
        """One Operand for these columns of the table, or one per run of equal strides along k."""
        members, count = part.shape
        if members == 1 and count == 1 and term >= 0:
            if self.terms.ops[term] is CONSTANT:
                return [Operand(False, number=self.constants[int(part[0, 0])])]
            return [Operand(lanes, int(part[0, 0]), source=-1 if made_by is None else made_by)]
        if term >= 0 and count == 1 and self.terms.ops[term] is CONSTANT and (part == part[0, 0]).all():
            return [Operand(False, number=self.constants[int(part[0, 0])])]
        grid = part.reshape(group.rows, group.columns, count)
        base = int(grid[0, 0, 0])
        dj = int(grid[1, 0, 0]) - base if group.rows > 1 else 0
        di = int(grid[0, 1, 0]) - base if group.columns > 1 else 0
        dk = int(grid[0, 0, 1]) - base if count > 1 else 0
        j, i, k = np.ogrid[: group.rows, : group.columns, :count]
        operand = Operand(lanes, base, dj, di, dk, count)
        if not (grid == base + dj * j + di * i + dk * k).all():
            operand.table = np.ascontiguousarray(part, dtype=np.int32)
        elif count == 1 and made_by is not None:
            source = self.groups[made_by]
            if (
                source.base == base
                and len(source.terms) == members
                and bool((part[:, 0] == base + np.arange(members)).all())
            ):
                operand.source = made_by
        return [operand]

    def _only_summed(self, sums: list[int]) -> set[int]:
        """Products and dots that nobody uses but one sum over the examples: they need no memory."""
        users: dict[int, int] = {}
        for i in self.order:
            if self.terms.ops[i] not in LEAVES:
                for a in self.terms.args[i]:
                    users[a] = users.get(a, 0) + 1
        found = set()
        for i in sums:
            inner = self.terms.args[i][0]
            if inner not in users and inner not in self.roots and self.terms.ops[inner] in (ops.mul, ops.dot):
                found.add(inner)
        return found

    def _reductions(self, sums: list[int], only_summed: set[int]) -> list[list[int]]:
        """Groups of sums whose summands are alike."""
        found: dict[Any, list[int]] = {}
        for i in sums:
            inner = self.terms.args[i][0]
            key: Any = "kept"
            if inner in only_summed:
                args = self.terms.args[inner]
                key = (self.terms.ops[inner], *_runs([(self.group_of.get(a, -1), self.varying[a]) for a in args]))
            found.setdefault(key, []).append(i)
        return list(found.values())

    def _reduce(self, sums: list[int]) -> None:
        inner = [self.terms.args[i][0] for i in sums]
        kept = inner[0] in self.slot
        group = Group(ops.total if kept else self.terms.ops[inner[0]], True, inner, reduce=True, kept=False)
        args = [[i] if kept else self.terms.args[i] for i in inner]
        table = np.array([[self.slot[a] for a in row] for row in args])
        result = np.array([self.slot[i] for i in sums])
        if kept:  # the summand itself is the operand
            group.columns = next((n for n in map(_period, [table[:, 0], result]) if n), len(table))
            group.rows = len(table) // group.columns
            group.operands = self._patterns(group, table, True, -1, None)
            group.result = self._patterns(group, result[:, None], False, -1, None)[0]
        else:
            self._describe(group, table, result)
        self.groups.append(group)

    def _after_sums(self) -> set[int]:
        """Scalar terms that wait for a sum over the examples."""
        after: set[int] = set()
        for i in self.order:
            op = self.terms.ops[i]
            if op is SUM or (op not in LEAVES and not self.varying[i] and any(a in after for a in self.terms.args[i])):
                after.add(i)
        return after

    def _nests(self, phase: list[int]) -> list[Nest]:
        """Puts a group into the loop of its operands where it has as many members and needs only its own."""
        nests: list[Nest] = []
        nest_of: dict[int, int] = {}
        for g in phase:
            group = self.groups[g]
            tiled = group.op is ops.dot and any(o.count > 4 for o in group.operands)
            makers = {nest_of[m]: () for m in self._makers(group) if m in nest_of}
            latest = max(makers, default=-1)
            for n in [latest, len(nests) - 1]:
                if n < max(latest, 0) or n >= len(nests) or group.reduce != self.groups[nests[n].groups[0]].reduce:
                    continue
                nest = nests[n]
                own = {m for m in self._makers(group) if nest_of.get(m) == n}
                fits = (nest.rows, nest.columns) == (group.rows, group.columns) and own <= {
                    o.source for o in group.operands
                }
                apart = (nest.tiled and group.op in LONG) or (tiled and nest.long)
                if fits and not group.reduce and nest.size < LONGEST and not apart and self._simple(group, own):
                    break
            else:
                n = len(nests)
                nests.append(Nest([], 0, group.rows, group.columns))
            nests[n].groups.append(g)
            nests[n].size += 1
            nests[n].tiled |= tiled
            nests[n].long |= group.op in LONG
            nest_of[g] = n
        return nests

    def _simple(self, group: Group, own: set[int]) -> bool:
        """Operands from the same loop are this very member's, and not part of a row, which is read from
        memory."""
        args, at = self.terms.args[group.terms[0]], 0
        rows = any(operand.count > 1 for operand in group.operands)
        for operand in group.operands:
            inside = any(self.group_of.get(term) in own for term in args[at : at + operand.count])
            if inside and (rows or operand.source < 0):
                return False
            at += operand.count
        return True

    def _makers(self, group: Group) -> set[int]:
        if group.reduce and group.op is ops.total:
            return {self.group_of[i] for i in group.terms if i in self.group_of}
        terms = group.terms
        return {self.group_of[a] for i in terms for a in self.terms.args[i] if a in self.group_of}

    def _find_kept(self, nests: list[list[Nest]]) -> None:
        """A result that is used only inside its own loop stays in a register."""
        used: set[int] = {self.group_of[i] for i in self.roots if i in self.group_of}
        for phase in nests:
            for nest in phase:
                inside = set(nest.groups)
                for g in nest.groups:
                    group = self.groups[g]
                    for maker in self._makers(group):
                        if maker not in inside:
                            used.add(maker)
        for g, group in enumerate(self.groups):
            group.kept = g in used and not group.reduce


def _runs(colours: Sequence[Any]) -> list[Any]:
    """(1, 1, 1, 2) as [(1, 3), (2, 1)]."""
    found: list[Any] = []
    last, count = colours[0], 0
    for c in colours:
        if c == last:
            count += 1
        else:
            found.append((last, count))
            last, count = c, 1
    return [*found, (last, count)]


def _period(column: Any) -> int:
    """After how many members the stride of a column breaks, where that repeats to the end; 0: never."""
    if len(column) < 4:
        return 0
    steps = np.diff(column)
    breaks = np.flatnonzero(steps != steps[0])
    if not len(breaks):
        return 0
    n = int(breaks[0]) + 1
    return n if len(column) % n == 0 and n > 1 else 0
