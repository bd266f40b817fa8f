"""Grouping: isomorphic terms become one array operation, for any backend.

Two terms of the same operation on terms that are themselves isomorphic are at the same height of the graph, so
neither needs the other: the neurons of a layer, their activations, their gradients. Such a group gets
consecutive slots of memory, and where the slots of its operands form an arithmetic pattern (weights of a row,
rows of a matrix) an address is computed, else looked up in a table. The size of a program then depends on how
many kinds of terms there are, not on how wide a layer is.
"""

from __future__ import annotations

import itertools
from collections.abc import Container, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from .. import ops
from ..ops import Op
from .computation import needed_terms, varying_terms
from .simplify import CONSTANT, INPUT, LEAVES, PARAMETER, STATE, SUM, Terms

Slots: TypeAlias = np.ndarray  # integers


@dataclass
class Operand:
    """Where the k-th operand of member (j, i) of a group is: slot base + j*dj + i*di + k*dk of the lanes (a number
    per example) or of the scalars; or the slot in `table` at [(j, i), k]; or it is a number. count: how many
    operands in a row follow this pattern."""

    lanes: bool
    base: int = 0
    dj: int = 0
    di: int = 0
    dk: int = 0
    count: int = 1
    table: Slots | None = None
    columns: int = 1  # members in a row of the table
    number: float | None = None
    source: int = -1  # the group that makes it, where it is made for this very member
    makers: frozenset[int] = frozenset()  # the groups that make it, for whichever member


@dataclass
class Run:
    """A stretch of a row over which every operand follows one pattern: the operands (of a dot the weights and the
    xs), where in each the stretch begins, and its length."""

    operands: list[tuple[Operand, int]]
    count: int


@dataclass
class Group:
    """Members (j, i), j < rows, i < columns, of one operation; their results are in consecutive slots from base on.

    reduce: the results are not kept but summed over all examples, into the scalar slots of `result`.
    wanted: results of the program are among its own.
    """

    index: int
    op: Op
    lanes: bool
    terms: list[int]
    base: int = 0
    rows: int = 1
    columns: int = 1
    operands: list[Operand] = field(default_factory=list)
    reduce: bool = False
    result: Operand | None = None
    wanted: bool = False

    @property
    def makers(self) -> set[int]:
        """The groups that make its operands."""
        return {g for operand in self.operands for g in operand.makers}

    @property
    def in_rows(self) -> bool:
        """Are operands read in rows?"""
        return any(o.count > 1 for o in self.operands)

    @property
    def length(self) -> int:
        """How many operands a member has."""
        return sum(o.count for o in self.operands)

    @property
    def start(self) -> Operand | None:
        """What a dot starts from, where that is given; the class of a cross-entropy."""
        apart = self.op is ops.cross_entropy or (self.op is ops.dot and self.length % 2)
        return self.operands[-1] if apart else None

    @property
    def runs(self) -> list[Run]:
        """The row of operands without the start; in pairs for a product or a dot."""
        row = self.operands[: -1 if self.start else None]
        if self.op not in (ops.dot, ops.mul):
            return [Run([(o, 0)], o.count) for o in row]
        half = self.length // 2
        sides: tuple[list[tuple[Operand, int]], ...] = [], []
        at = 0
        for o in row:
            sides[at >= half].append((o, at % half))
            at += o.count
        cuts = sorted({begin for side in sides for _, begin in side} | {half})
        runs = []
        for begin, end in itertools.pairwise(cuts):
            parts = [[(o, begin - first) for o, first in side if first <= begin][-1] for side in sides]
            runs.append(Run(parts, end - begin))
        return runs


@dataclass
class Plan:
    """All groups, in the order in which they can be computed, and the memory they use.

    before, blocks, after: groups of scalars, of lanes (numbers that differ from example to example), and of scalars
    that need sums over the examples. Scalars begin with the parameters and the weight of `Computation`, lanes with
    the inputs and the seed.
    """

    groups: list[Group]
    before: list[Group]
    blocks: list[Group]
    after: list[Group]
    inputs: int
    parameters: int
    scalars: int
    lanes: int
    results: list[tuple[bool, int]]  # of each result: is it of the lanes, and its slot
    constants: dict[int, float]  # scalar slot -> number
    sums: tuple[int, int]  # first slot, count
    simplified_terms: int


class Planned(Protocol):
    """A `Computation`, or whatever has terms, results among them, and so many inputs and parameters."""

    terms: Terms
    results: list[int]
    inputs: int
    parameters: int


def plan(computation: Planned, rows: Container[Op]) -> Plan:
    """The groups of a computation. rows: operations whose operands the backend reads in a loop over slots."""
    return _Planner(computation, rows).plan()


class _Planner:
    def __init__(self, computation: Planned, rows: Container[Op]) -> None:
        self.terms, self.results, self.row_ops = computation.terms, computation.results, rows
        self.varying = varying_terms(self.terms)
        self.order = needed_terms(self.terms, self.results)
        self.inputs, self.parameters = computation.inputs, computation.parameters
        self.scalars, self.lanes = self.parameters + 1, self.inputs + 1
        self.first_slot = {INPUT: 0, PARAMETER: 0, STATE: self.parameters}
        self.slot: dict[int, int] = {}
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
        after = self._after_sums()
        before: list[Group] = []
        blocks: list[Group] = []
        later: list[Group] = []
        for colour in sorted(members, key=lambda c: (heights[c], c)):
            found = members[colour]
            first = found[0]
            if self.terms.ops[first] in LEAVES:
                self._place_leaves(found)
                continue
            kept = [i for i in found if i not in only_summed]
            if kept:
                phase = blocks if self.varying[first] else later if first in after else before
                phase.append(self._place(kept))
        blocks += [self._reduce(alike) for alike in self._reductions(sums, only_summed)]
        for i in self.results:
            if i in self.group_of:
                self.groups[self.group_of[i]].wanted = True
        return Plan(
            self.groups, before, blocks, later, self.inputs, self.parameters, self.scalars, self.lanes,
            [(self.varying[i], self.slot[i]) for i in self.results], self.constants, (first_sum, len(sums)),
            simplified_terms=sum(self.terms.ops[i] not in (SUM, STATE, CONSTANT) for i in self.order),
        )  # fmt: skip

    def _colour(self) -> tuple[dict[int, list[int]], dict[int, int]]:
        """colour -> its terms, and colour -> height. Equal colours: isomorphic terms."""
        number: dict[Hashable, int] = {}
        colour: dict[int, int] = {}
        members: dict[int, list[int]] = {}
        heights: dict[int, int] = {}
        for i in self.order:
            op, args = self.terms.ops[i], self.terms.args[i]
            key: Hashable = op
            height = 0
            if op not in LEAVES:
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
        elif kind is not SUM:
            self.slot.update({i: self.first_slot[kind] + index for i, index in number.items()})

    def _place(self, found: list[int]) -> Group:
        """A group of these terms, its members in the order of their operands' slots."""
        table = np.array([[self.slot[a] for a in self.terms.args[i]] for i in found])
        by_operands = np.lexsort(table.T[::-1])
        found = [found[i] for i in by_operands]
        lanes = self.varying[found[0]]
        group = self._group(self.terms.ops[found[0]], lanes, found, self.lanes if lanes else self.scalars)
        for m, i in enumerate(found):
            self.slot[i] = group.base + m
            self.group_of[i] = group.index
        if lanes:
            self.lanes += len(found)
        else:
            self.scalars += len(found)
        self._describe(group, table[by_operands])
        return group

    def _group(self, op: Op, lanes: bool, terms: list[int], base: int = 0) -> Group:
        self.groups.append(Group(len(self.groups), op, lanes, terms, base))
        return self.groups[-1]

    def _describe(self, group: Group, table: Slots, result: Slots | None = None) -> None:
        """Finds the arithmetic patterns in the members x operands table of slots."""
        self._shape(group, [*table.T] if result is None else [*table.T, result])
        first = self.terms.args[group.terms[0]]
        start, n = 0, table.shape[1]
        ends = {ops.dot: (n // 2, n // 2 * 2, n), ops.cross_entropy: (n - 1, n)}.get(group.op, (n,))
        while start < n:
            lanes, stop = self.varying[first[start]], start + 1
            limit = next(end for end in ends if start < end)
            if group.op in self.row_ops and limit - start > 1:
                while stop < limit and self.varying[first[stop]] == lanes:
                    stop += 1
            group.operands.append(self._operand(group, table[:, start:stop], lanes, first[start:stop]))
            start = stop
        if result is not None:
            group.result = _pattern(group, result[:, None], lanes=False)

    def _shape(self, group: Group, columns: list[Slots]) -> None:
        members = len(columns[0])
        group.columns = next((n for n in map(_period, columns) if n), members)
        group.rows = members // group.columns

    def _operand(self, group: Group, part: Slots, lanes: bool, terms: Sequence[int]) -> Operand:
        """These columns of the table. terms: the operands of the first member; the others' are alike."""
        members, count = part.shape
        if count == 1 and self.terms.ops[terms[0]] is CONSTANT and (part == part[0, 0]).all():
            return Operand(False, number=self.constants[int(part[0, 0])])
        made_by = self.group_of.get(terms[0], -1)
        operand = _pattern(group, part, lanes)
        operand.makers = frozenset(self.group_of[i] for i in terms if i in self.group_of)
        if count == 1 and made_by >= 0 and (members == 1 or _is_all_of(self.groups[made_by], part[:, 0])):
            operand.source = made_by
        return operand

    def _only_summed(self, sums: list[int]) -> set[int]:
        """Products and dots used by nothing but one sum over the examples: they need no memory."""
        used = set(self.results)
        for i in self.order:
            if self.terms.ops[i] not in LEAVES:
                used.update(self.terms.args[i])
        inner = {self.terms.args[i][0] for i in sums}
        return {i for i in inner - used if self.terms.ops[i] in (ops.mul, ops.dot) and len(self.terms.args[i]) % 2 == 0}

    def _reductions(self, sums: list[int], only_summed: set[int]) -> list[list[int]]:
        """Groups of sums whose summands are alike."""
        found: dict[Hashable, list[int]] = {}
        for i in sums:
            inner = self.terms.args[i][0]
            key: Hashable = "kept"
            if inner in only_summed:
                args = self.terms.args[inner]
                key = (self.terms.ops[inner], *_runs([(self.group_of.get(a, -1), self.varying[a]) for a in args]))
            found.setdefault(key, []).append(i)
        return list(found.values())

    def _reduce(self, sums: list[int]) -> Group:
        inner = [self.terms.args[i][0] for i in sums]
        result = np.array([self.slot[i] for i in sums])
        if inner[0] in self.slot:  # the summand itself is the operand
            group = self._group(ops.total, True, inner)
            slots = np.array([self.slot[i] for i in inner])
            self._shape(group, [slots, result])
            operand = _pattern(group, slots[:, None], lanes=True)
            operand.makers = frozenset(self.group_of[i] for i in inner if i in self.group_of)
            group.operands, group.result = [operand], _pattern(group, result[:, None], lanes=False)
        else:
            group = self._group(self.terms.ops[inner[0]], True, inner)
            self._describe(group, np.array([[self.slot[a] for a in self.terms.args[i]] for i in inner]), result)
        group.reduce = True
        return group

    def _after_sums(self) -> set[int]:
        """Scalar terms that wait for a sum over the examples."""
        after: set[int] = set()
        for i in self.order:
            op = self.terms.ops[i]
            if op is SUM or (op not in LEAVES and not self.varying[i] and any(a in after for a in self.terms.args[i])):
                after.add(i)
        return after


def _pattern(group: Group, part: Slots, lanes: bool) -> Operand:
    """One Operand for these columns of a table of slots, with equal strides or the table itself."""
    count = part.shape[1]
    if part.size == 1:
        return Operand(lanes, int(part[0, 0]))
    grid = part.reshape(group.rows, group.columns, count)
    base = int(grid[0, 0, 0])
    dj = int(grid[1, 0, 0]) - base if group.rows > 1 else 0
    di = int(grid[0, 1, 0]) - base if group.columns > 1 else 0
    dk = int(grid[0, 0, 1]) - base if count > 1 else 0
    expected = (
        dj * np.arange(group.rows)[:, None, None] + di * np.arange(group.columns)[:, None] + dk * np.arange(count)
    )
    operand = Operand(lanes, base, dj, di, dk, count)
    if not (grid == base + expected).all():
        operand.table, operand.columns = np.ascontiguousarray(part, dtype=np.int32), group.columns
    return operand


def _is_all_of(group: Group, slots: Slots) -> bool:
    return len(group.terms) == len(slots) and bool((slots == group.base + np.arange(len(slots))).all())


def _runs(colours: Sequence[Hashable]) -> list[tuple[Hashable, int]]:
    """(1, 1, 1, 2) as [(1, 3), (2, 1)]."""
    return [(c, len(list(run))) for c, run in itertools.groupby(colours)]


def _period(column: Slots) -> int:
    """After how many members the stride of a column breaks, where that repeats to the end; 0: never."""
    if len(column) < 4:
        return 0
    steps = np.diff(column)
    breaks = np.flatnonzero(steps != steps[0])
    if not len(breaks):
        return 0
    n = int(breaks[0]) + 1
    return n if len(column) % n == 0 and n > 1 else 0
