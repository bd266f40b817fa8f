"""Repetition in depth: a cell whose result is its own operand at the next step, as in a network unrolled in time.

Colour refinement (`fold.py`) tells every step from the next: one is two steps from the start, one is three. So steps
are found first, in the manner of unification: where an operation with the same shared numbers comes after itself twice
or more, its occurrences are one, hence also their first operands, hence their second ones, and so on down and round.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from typing import Literal

from ..engine import Number, Value
from .terms import Term

Likeness = Literal["shared", "neighbours", "operation"]
Kind = tuple[Hashable, ...]


def repeats(
    terms: Mapping[Value, Term], place: Callable[[Value], str], likeness: Likeness, names: bool
) -> dict[Value, Value]:
    """For each Value that is computed at several steps of a repetition, one of them that stands for all.

    likeness: what occurrences must share to begin with: numbers that are used again and again, such as weights; or
    only operations and those of their operands; or only their operation. place: the name of the part that a Value
    is folded into. names: whether a label tells Values apart.
    """
    search = _Search(terms, place, names)
    for kind in search.recurring(likeness):
        *others, last = kind
        for node in others:
            search.unify(last, node)
    search.close()
    return search.found()


class _Search:
    """Classes of Values that are alike, as a forest (union-find)."""

    def __init__(self, terms: Mapping[Value, Term], place: Callable[[Value], str], names: bool) -> None:
        self.terms, self.place, self.names = terms, place, names
        # the latest of each class is its root: all its operands are computed, those of the first are where states start
        self.above: dict[Value, Value] = {}
        self.number = {node: i for i, node in enumerate(terms)}
        uses = Counter(x for term in terms.values() for _, x in term.operands)
        self.shared = {x for x, n in uses.items() if n > 2 and isinstance(x, Value) and x.op is None}

    def root(self, x: Value) -> Value:
        while x in self.above:
            if (up := self.above[x]) in self.above:
                self.above[x] = self.above[up]
            x = up
        return x

    def what(self, node: Value) -> Kind:
        """What cannot differ between steps."""
        term = self.terms[node]
        return term.op, self.place(node), len(term.operands), len(term.links), node.label if self.names else ""

    # --- where to begin

    def kind(self, node: Value, likeness: Likeness) -> Kind | None:
        """Equal for occurrences of one operation, None for what is not an occurrence."""
        operands = self.terms[node].operands
        if likeness == "operation":
            return self.what(node)
        shared = tuple([id(x) if x in self.shared else 0 for _, x in operands])
        if likeness == "shared":
            return (*self.what(node), shared) if any(shared) else None
        kinds = [x if isinstance(x, float) else self.terms[x].op for _, x in operands]
        return (*self.what(node), shared, *kinds)

    def recurring(self, likeness: Likeness) -> list[list[Value]]:
        """Occurrences of one operation, three or more of which lie on one path."""
        kinds: defaultdict[Kind, list[Value]] = defaultdict(list)
        for node, term in self.terms.items():
            kind = self.kind(node, likeness) if term.op else None
            if kind is not None:
                kinds[kind].append(node)
        many = [nodes for nodes in kinds.values() if len(nodes) > 2]
        bit = {node: 1 << i for i, nodes in enumerate(many) for node in nodes}
        # as bits, the kinds of which there is an occurrence below a node (or at it), two of them, three of them
        once: dict[Value, int] = {}
        twice: dict[Value, int] = {}
        thrice = 0
        for node, term in self.terms.items():
            below = [x for _, x in term.operands if isinstance(x, Value)]
            own, one, two = bit.get(node, 0), 0, 0
            for x in below:
                one |= once[x]
                two |= twice[x]
            thrice |= own & two
            once[node], twice[node] = one | own, two | (own & one)
        return [nodes for i, nodes in enumerate(many) if thrice >> i & 1]

    # --- what follows

    def unify(self, a: Value, b: Value) -> None:
        """Makes two occurrences one, and what they are computed from as far down as it is alike."""
        pairs: list[tuple[Number, Number]] = [(a, b)]
        while pairs:
            x, y = pairs.pop()
            if isinstance(x, float) or isinstance(y, float):
                continue
            y, x = sorted((self.root(x), self.root(y)), key=self.number.__getitem__)
            # a leaf is no step: it is where the state starts, or what is read at each
            if x is not y and self.terms[x].op and self.what(x) == self.what(y):
                self.above[y] = x
                pairs.extend((u, v) for (_, u), (_, v) in zip(self.terms[x].operands, self.terms[y].operands))

    def close(self) -> None:
        """Takes in what is computed as a step is from what steps computed, such as the last state."""
        known: dict[Kind, Value] = {}
        members = self.found()
        for node in members:
            known.setdefault(self.step(node), members[node])
        for node, term in self.terms.items():
            if term.op and node not in members and any(x in members for _, x in term.operands):
                one = known.get(self.step(node))
                if one is not None:
                    self.above[node] = self.root(one)
                    members[node] = one

    def step(self, node: Value) -> Kind:
        classes = [
            x if x in self.shared else self.root(x) if isinstance(x, Value) and self.terms[x].op else None
            for _, x in self.terms[node].operands
        ]
        return (*self.what(node), *map(id, classes))

    def found(self) -> dict[Value, Value]:
        ends = {x: self.root(x) for x in (*self.above, *self.above.values())}
        return {node: ends[node] for node in self.terms if node in ends}
