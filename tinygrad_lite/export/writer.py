"""The groups of a plan as statements of C or JavaScript: a loop over the members of each nest, and inside it a loop
over the operands of a row, so that the code does not grow with the width of a layer.

Memory: p parameters, x the numbers of an example, m results that are the same for all examples, z of one example,
g what is handed back, r the operands of one operation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from .. import ops
from ..compiler.computation import needed_terms
from ..compiler.nests import Nest, kept_groups, nested
from ..compiler.plan import Group, Operand, plan
from ..compiler.simplify import CONSTANT
from ..op import Op
from .language import C, JavaScript
from .recording import Recorded
from .rows import IN_ROWS, OF_ARRAYS, ROWS

MOST_GROUPS = 20_000  # statements that are not alike: beyond, a compiler takes minutes
UNROLLED = 4  # the longest row that is written out instead of looped over


class Writer:
    """Writes what was recorded as the inside of one function."""

    def __init__(self, language: C | JavaScript, found: Recorded) -> None:
        self.language, self.found, self.plan = language, found, plan(found, IN_ROWS)
        if len(self.plan.groups) > MOST_GROUPS:
            raise ValueError(
                f"this graph has {len(self.plan.groups):,} operations that no loop can hold, and export writes at most "
                f"{MOST_GROUPS:,}: export a smaller part, or write it with dot, total and layers"
            )
        self.lines: list[str] = []
        self.tables: list[str] = []
        self.indent, self.longest = 1, 1
        # operands in memory, and their slots
        self.read = [(o.lanes, slots_of(g, o)) for g in self.plan.groups for o in g.operands if o.number is None]
        # p and m, or x and z, are one memory where some operation reads a row across both
        self.joined = {
            lanes: any(self._crosses(slots, lanes) for varying, slots in self.read if varying == lanes)
            for lanes in (True, False)
        }

    # --- text

    def do(self, text: str) -> None:
        self.lines.append("  " * self.indent + text)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        self.do(head)
        self.indent += 1
        yield
        self.indent -= 1
        self.do("}")

    @contextmanager
    def loop(self, index: str, count: int | str) -> Iterator[str]:
        """A loop over index, unless it runs once."""
        if count == 1:
            yield "0"
        else:
            with self.block(self.language.loop(index, str(count))):
                yield index

    # --- memory

    def _kept_apart(self, lanes: bool) -> int:
        """How many slots come first that are the caller's: parameters, or numbers of an example."""
        return self.plan.inputs if lanes else self.plan.parameters

    def _crosses(self, slots: Sequence[int], lanes: bool) -> bool:
        return min(slots) < self._kept_apart(lanes) <= max(slots)

    def place(self, lanes: bool, slot: int) -> tuple[str, int]:
        """The array that holds a slot, and where in it."""
        own, first = self._kept_apart(lanes), 0 if self.joined[lanes] else self._kept_apart(lanes)
        if slot >= own or self.joined[lanes]:
            return ("z" if lanes else "m"), slot - first
        return ("x" if lanes else "p"), slot

    def load(self, o: Operand, j: str, i: str, k: str = "0", at: int = 0) -> str:
        """The operand at place at + k of the row of member (j, i)."""
        if o.number is not None:
            return self.language.number(o.number)
        if o.table is None:
            array, base = self.place(o.lanes, o.base)
            base += at * o.dk
            index = _sum(base, (o.dj, j), (o.di, i), (o.dk, k))
        else:
            entries = o.table.ravel().tolist()
            array, shift = self.place(o.lanes, first := min(entries))
            table = self.table([entry - first + shift for entry in entries])
            index = f"{table}[{_sum(at, (o.columns * o.count, j), (o.count, i), (1, k))}]"
        if array == "x" and self.found.update:
            index = f"at + {index}"
        return f"{array}[{index}]"

    def table(self, entries: Sequence[int]) -> str:
        text = self.language.table("t#", entries)
        if text not in self.tables:
            self.tables.append(text)
        return f"t{self.tables.index(text)}"

    # --- statements

    def write(self) -> None:
        """All of it: for one example, or with an optimiser a loop over examples and the update."""
        before, blocks, after = map(nested, (self.plan.before, self.plan.blocks, self.plan.after))
        self.kept = kept_groups([*before, *blocks, *after])
        self._constants()
        if not self.found.update:
            self._copy_joined(True)
            for nest in [*before, *blocks]:
                self.nest(nest)
            self.results()
            return
        self.do(f"{self._at(False, self.plan.parameters)} = 1.0 / n;")
        for nest in before:
            self.nest(nest)
        first, count = self.plan.sums
        with self.loop("i", count) as i:
            self.do(f"{self._at(False, first, i)} = -0.0;")  # which adds nothing, not even a sign
        with self.block(self.language.loop("e", "n")):
            self.do(self._local("int at", f"e * {self.plan.inputs}"))
            self._copy_joined(True)
            for nest in blocks:
                self.nest(nest)
        for nest in after:
            self.nest(nest)
        self.results()
        self.update()

    def _local(self, name: str, expression: str) -> str:
        """A declaration: C's int is a let in JavaScript."""
        if isinstance(self.language, C):
            return f"{name} = {expression};"
        return f"let {name.split()[-1]} = {expression};"

    def _at(self, lanes: bool, slot: int, index: str = "0") -> str:
        array, base = self.place(lanes, slot)
        return f"{array}[{_sum(base, (1, index))}]"

    def _constants(self) -> None:
        """Numbers that are read as part of a row."""
        self._copy_joined(False)
        constants = self.plan.constants
        read = {slot for varying, slots in [*self.read, *[(v, [s]) for v, s in self.plan.results]] if not varying
                for slot in slots if slot in constants}  # fmt: skip
        for run in _runs(sorted(read)):
            if len(run) <= UNROLLED:
                for s in run:
                    self.do(f"{self._at(False, s)} = {self.language.number(constants[s])};")
            else:
                self.tables.append(self.language.numbers("t#", [constants[s] for s in run]))
                with self.loop("i", len(run)) as i:
                    self.do(f"{self._at(False, run[0], i)} = t{len(self.tables) - 1}[{i}];")

    def _copy_joined(self, lanes: bool) -> None:
        if self.joined[lanes]:
            with self.loop("i", self._kept_apart(lanes)) as i:
                own = ("x", "at + " if self.found.update else "") if lanes else ("p", "")
                self.do(f"{'z' if lanes else 'm'}[{i}] = {own[0]}[{own[1]}{i}];")

    def nest(self, nest: Nest) -> None:
        with self.loop("j", nest.rows) as j, self.loop("i", nest.columns) as i:
            known: dict[int, str] = {}
            for group in nest.groups:
                if group.reduce:
                    self.reduction(group, j, i)
                    continue
                name = known[group.index] = f"v{group.index}"
                self.member(name, group, j, i, known)
                if group.index in self.kept:
                    array, base = self.place(group.lanes, group.base)
                    self.do(f"{array}[{_sum(base, (nest.columns, j), (1, i))}] = {name};")

    def member(self, name: str, group: Group, j: str, i: str, known: dict[int, str]) -> None:
        """One member's value, as a local variable."""

        def one(o: Operand) -> str:
            return known[o.source] if o.source in known else self.load(o, j, i)

        if not group.in_rows:
            self.apply(name, group.op, [one(o) for o in group.operands])
            return
        start = None if group.start is None else one(group.start)
        if group.op in OF_ARRAYS:
            self.gather(group, j, i, start)
            self.do(self.language.local(name, f"{ROWS[group.op]}(r, {group.length})"))
            return
        self.do(self.language.local(name, start or "0.0"))
        self.rows(group, j, i, lambda product: self.do(f"{name} = {name} + {product};"))
        if group.op is ops.mean:
            self.do(f"{name} = {name} / {self.language.number(float(group.length))};")

    def rows(self, group: Group, j: str, i: str, further: Callable[[str], None]) -> None:
        """further(operand, or product of two) for each place of a row."""
        for run in group.runs:
            written_out = run.count if run.count <= UNROLLED else 1
            for at in range(written_out):
                with self.loop("k", 1 if run.count <= UNROLLED else run.count) as k:
                    further(" * ".join(self.load(o, j, i, k, begin + at) for o, begin in run.operands))

    def gather(self, group: Group, j: str, i: str, last: str | None) -> None:
        """Copies a row of operands side by side."""
        self.longest, at = max(self.longest, group.length), 0
        for run in group.runs:
            with self.loop("k", run.count) as k:
                ((o, begin),) = run.operands
                self.do(f"r[{_sum(at, (1, k))}] = {self.load(o, j, i, k, begin)};")
            at += run.count
        if last is not None:
            self.do(f"r[{at}] = {last};")

    def reduction(self, group: Group, j: str, i: str) -> None:
        """Adds this example to a sum over the examples."""
        assert group.result is not None
        target = self.load(group.result, j, i)
        self.rows(group, j, i, lambda product: self.do(f"{target} = {target} + {product};"))

    def apply(self, name: str, op: Op, operands: Sequence[str]) -> None:
        """An operation on operands at hand."""
        row = ROWS[op]
        if op in OF_ARRAYS:
            self.longest = max(self.longest, len(operands))
            for k, x in enumerate(operands):
                self.do(f"r[{k}] = {x};")
            row = f"{row}(r, {len(operands)})"
        elif row is None:
            n = len(operands) // 2
            terms = list(operands)
            start = "0.0"
            if op is ops.dot:
                start = operands[-1] if len(operands) % 2 else start
                terms = [f"{w} * {x}" for w, x in zip(operands[:n], operands[n : 2 * n])]
            row = " + ".join([start, *terms])
            if op is ops.mean:
                row = f"({row}) / {self.language.number(float(len(terms)))}"
        else:
            row = row.format(*operands)
        self.do(self.language.local(name, row))

    # --- results

    def results(self) -> None:
        """Copies the results, in order, to g."""
        places = [self.place(varying, slot) for varying, slot in self.plan.results]
        begin = 0
        for array, members in itertools.groupby(places, key=lambda place: place[0]):
            slots = [slot for _, slot in members]
            prefix = "at + " if array == "x" and self.found.update else ""
            for run in _runs(slots) if sum(1 for _ in _runs(slots)) <= max(UNROLLED, len(slots) // 4) else [slots]:
                step = run[1] - run[0] if len(run) > 1 else 1
                even = run == list(range(run[0], run[0] + step * len(run), step)) if step else False
                with self.loop("i", len(run)) as i:
                    index = _sum(run[0], (step, i)) if even else f"{self.table(run)}[{i}]"
                    self.do(f"g[{_sum(begin, (1, i))}] = {array}[{prefix}{index}];")
                begin += len(run)

    def update(self) -> None:
        """Moves the parameters by the optimiser's rule, unless the loss is not a number."""
        found, update = self.found, self.found.update
        assert update is not None
        terms, (p, g, lr, t, *state) = update.terms, update.places
        self.do("if (g[0] - g[0] != 0.0) return g[0];")
        with self.block(self.language.loop("i", str(found.moved))):
            values = {p: "p[i]", g: "g[1 + i]", lr: "lr", t: "t"}
            values |= {term: f"state[{_sum(s * found.moved, (1, 'i'))}]" for s, term in enumerate(state)}
            for i in needed_terms(terms, update.results):
                if terms.ops[i] is CONSTANT:
                    values[i] = self.language.number(terms.args[i][0])
                elif i not in values:
                    self.apply(f"u{i}", terms.ops[i], [values[a] for a in terms.args[i]])
                    values[i] = f"u{i}"
            new = [values[i] for i in update.results]
            for n, text in enumerate(new):  # all are read before any is written
                if not re.fullmatch(r"u\d+", text):
                    self.do(self.language.local(f"n{n}", text))
                    new[n] = f"n{n}"
            for text, target in zip(new, ["p[i]", *[values[term] for term in state]]):
                self.do(f"{target} = {text};")
        self.do("return g[0];")

    # --- as a whole

    def memory(self) -> dict[str, int]:
        """Arrays that the function works in, and their sizes."""
        plan = self.plan
        sizes = {
            "m": plan.scalars - (0 if self.joined[False] else plan.parameters),
            "z": plan.lanes - (0 if self.joined[True] else plan.inputs),
            "r": self.longest, **({"g": len(plan.results)} if self.found.update else {}),
        }  # fmt: skip
        text = "\n".join(self.lines)
        return {name: size for name, size in sizes.items() if re.search(rf"\b{name}\[|\({name}, ", text)}

    def uses(self, name: str) -> bool:
        return bool(re.search(rf"\b{name}\b", "\n".join(self.lines)))


def slots_of(group: Group, o: Operand) -> list[int]:
    """Of all operands that follow a pattern, member after member."""
    if o.table is not None:
        listed: list[int] = o.table.ravel().tolist()
        return listed
    places = itertools.product(range(group.rows), range(group.columns), range(o.count))
    return [o.base + j * o.dj + i * o.di + k * o.dk for j, i, k in places]


def _sum(base: int, *terms: tuple[int, str]) -> str:
    """base + factor * index + ..., without what is 0."""
    parts = [index if factor == 1 else f"{factor} * {index}" for factor, index in terms if factor and index != "0"]
    return " + ".join([*([str(base)] if base or not parts else []), *parts])


def _runs(slots: Sequence[int]) -> Iterator[list[int]]:
    """Stretches of consecutive slots."""
    run: list[int] = []
    for slot in slots:
        if run and slot != run[-1] + 1:
            yield run
            run = []
        run.append(slot)
    if run:
        yield run
