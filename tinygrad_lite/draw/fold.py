"""Folding: many Values as one box, by module, scope and chain; and what repeats, such as examples, as a stack.

Two steps. Values of one part of the program (see `parts.py`) and one call of it become a group, and so do the links
of a chain (`terms.py`). Groups of Values that are computed alike, from alike operands and for alike users, become one
stack of copies: colour refinement, as when the states of an automaton are minimised. The steps of a repetition
(`repeats.py`) are alike from the beginning.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Literal, get_args

from ..engine import Value, topological_order
from ..parts import Located, Module, Place, located
from .repeats import Likeness, repeats
from .terms import Term, term, terms

READABLE = 50  # boxes on a screen
Fold = str | int | list[str]


@dataclass(eq=False)
class Part:
    """What is drawn as one box: a single Value (its name is then empty), or all that a module or a scope
    computed, or copies of either.

    values: what it computed, operands first. parameters: the modules' own that nobody else uses. outputs:
    the values that are used outside, or by the next copy, or are the root. chain: what its values add up
    or multiply, where they are one sum or product.
    """

    key: str
    name: str
    values: list[Value]
    parameters: list[Value]
    outputs: list[Value]
    copies: int = 1
    module: Module | None = None
    chain: Term | None = None

    @property
    def single(self) -> bool:
        """Is it one Value that is drawn as itself?"""
        return not self.name and self.copies == 1 and len(self.values) == 1


def parts_to_draw(root: Value, fold: Fold, rankdir: str, asked: str, verb: str) -> list[Part]:
    """The parts of root's graph, after the arguments that are common to pictures are checked: TypeError for what is no
    Value, ValueError for an unknown rankdir. asked, verb: for the message."""
    if not isinstance(root, Value):
        raise TypeError(f"{asked} expects a Value, got {_instead(root, asked, verb)}")
    if rankdir not in ("auto", "LR", "TB"):
        raise ValueError(f'rankdir is "auto", "LR" (left to right) or "TB" (top to bottom), got {rankdir!r}')
    return folded(topological_order(root), fold)


def _instead(root: object, asked: str, verb: str) -> str:
    """What was given for a Value, and what to write."""
    if isinstance(root, (list, tuple)):
        return f"a list: {verb} one of them, or their total(...)"
    if hasattr(root, "named_modules") and callable(root):
        return f"the model {type(root).__name__}: call it to make a graph, {asked}(model(x)) for an input x"
    return repr(root)


def folded(order: Sequence[Value], fold: Fold = "auto") -> list[Part]:
    """The boxes of a graph, operands before users but where a state goes back. order: all its Values, as of
    `topological_order`.

    fold: 0 is every Value by itself. A depth folds parts that far inside: 1 to layers, 2 to neurons. A
    list of names such as ["layers.1"] folds these. "auto": nothing where about 50 boxes show all, else the
    deepest folding with about 50 boxes, in which steps of a repetition are one. Where something is folded,
    what is computed alike is a stack.
    """
    if isinstance(fold, bool) or not (fold == "auto" or isinstance(fold, (int, list, tuple))):
        raise TypeError(f'fold is "auto", a depth (0: nothing is folded) or a list of names, got {fold!r}')
    if fold == 0 or (fold == "auto" and _boxes_in_full(order) <= READABLE):
        return [Part(f"v{i}", "", [node], [], [node]) for i, node in enumerate(order)]
    where = located(order)
    if isinstance(fold, int):
        if fold < 0:
            raise ValueError(f"fold as a depth is 0 or more, got {fold}")
        return _Folding(order, where, depth=fold).parts()
    if not isinstance(fold, str):
        known = {_name(place[:k]) for place in where.place.values() for k in range(1, len(place) + 1)} - {""}
        for name in fold:
            if name not in known:
                raise ValueError(f"fold names parts of this graph ({', '.join(_some(known))}), got {name!r}")
        return _Folding(order, where, chosen=frozenset(fold)).parts()
    return _readable_folding(order, where)


def _readable_folding(order: Sequence[Value], where: Located) -> list[Part]:
    """From the finest folding to coarser and coarser ones, the first that is readable; at last by operation alone."""
    deepest = max([sum(1 for level in place if level.name) for place in where.place.values()], default=1)
    for depth in range(max(deepest, 1), 0, -1):
        if found := _Folding(order, where, depth, likeness="shared").readable():
            return found
    for likeness in get_args(Likeness):
        for names in (True, False):
            if found := _Folding(order, where, 1, likeness=likeness, names=names).readable():
                return found
    return _Folding(order, Located({}, {}), likeness="all").parts()


def _boxes_in_full(order: Iterable[Value]) -> int:
    """How many boxes are drawn where nothing is folded: Values, operations, plain numbers."""
    return sum(1 + bool(node.op) + sum(isinstance(x, float) for x in node.args) for node in order)


def part_of(found: Iterable[Part]) -> dict[Value, Part]:
    """Which part each Value is drawn in."""
    return {v: part for part in found for v in (*part.parameters, *part.values)}


def _name(place: Place) -> str:
    return ".".join(level.name for level in place if level.name)


def _some(known: Iterable[str]) -> list[str]:
    found = sorted(known, key=lambda name: (name.count("."), name))
    return found if len(found) <= 8 else [*found[:8], "..."]


def _sorted(operands: Sequence[Iterable[int]], round_about: bool = False) -> list[int]:
    """Topological order (Kahn 1962), the earliest possible number first. What lies on or behind a cycle is left out;
    round_about: a cycle is entered at its least number."""
    users: list[list[int]] = [[] for _ in operands]
    waiting = [0] * len(operands)
    for i, xs in enumerate(operands):
        for x in set(xs) - {i}:
            users[x].append(i)
            waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if not count]
    order: dict[int, None] = {}
    for entry in (-1, *(range(len(operands)) if round_about else ())):
        if entry >= 0 and entry not in order:
            ready.append(entry)
        while ready:
            i = heapq.heappop(ready)
            order[i] = None
            for user in users[i]:
                waiting[user] -= 1
                if not waiting[user] and user not in order:
                    heapq.heappush(ready, user)
    return list(order)


class _Folding:
    """One way to fold one graph.

    depth, chosen: which parts of the program are boxes. likeness: what steps of a repetition share (`repeats.py`);
    "all": whatever has the same operation; None: steps are not looked for. names: whether labels tell Values apart.
    """

    def __init__(
        self,
        order: Sequence[Value],
        where: Located,
        depth: int = 0,
        chosen: frozenset[str] = frozenset(),
        likeness: Likeness | Literal["all"] | None = None,
        names: bool = True,
    ) -> None:
        self.order, self.where, self.depth, self.chosen = order, where, depth, chosen
        self.likeness, self.names = likeness, names
        self.opened = {place[:k] for place in where.place.values() for k in range(len(place))}
        self.terms: dict[Value, Term] = {}
        self.groups: list[list[Value]] = []
        self.places: list[Place] = []  # of each group, cut to what is folded; () for a Value by itself
        self.group_of: dict[Value, int] = {}
        self.before: list[set[int]] = []  # the groups that each has operands in
        apart: set[Value] = set()
        while True:  # a part that both feeds another and is fed by it cannot be one box
            self._group(apart)
            on_cycle = self._cyclic()
            if not on_cycle:
                break
            apart.update(node for g in on_cycle for node in self.groups[g])

    def _cut(self, place: Place) -> Place:
        """The beginning of a place that is one box, () where nothing is folded."""
        depth = 0
        for k, level in enumerate(place, 1):
            depth += bool(level.name)
            if (depth == self.depth and depth) or _name(place[:k]) in self.chosen:
                return place[:k]
        return place if 0 < depth < self.depth and place not in self.opened else ()

    def _group(self, apart: set[Value]) -> None:
        self.groups, self.places, self.group_of = [], [], {}
        cut = {node: () if node in apart else self._cut(self.where.place.get(node, ())) for node in self.order}
        if self.likeness == "all":
            self.terms = {node: term(node) for node in self.order}
        else:
            self.terms = terms(self.order, lambda x, user: cut[x] == cut[user])
        known: dict[Place, int] = {}
        for node, made in self.terms.items():
            if node in self.where.home:
                continue
            g = known.setdefault(cut[node], len(self.groups)) if cut[node] else len(self.groups)
            if g == len(self.groups):
                self.groups.append([])
                self.places.append(cut[node])
            self.groups[g] += [*made.links, node]
            self.group_of.update(dict.fromkeys((*made.links, node), g))

        self.before = [
            {self.group_of[x] for node in nodes for x in node.args if self.group_of.get(x, g) != g}
            for g, nodes in enumerate(self.groups)
        ]

    def _cyclic(self) -> list[int]:
        """The groups on cycles: those that sorting forwards and sorting backwards both leave out."""
        users: list[set[int]] = [set() for _ in self.groups]
        for g, xs in enumerate(self.before):
            for x in xs:
                users[x].add(g)
        free = {*_sorted(self.before)} | {*_sorted(users)}
        return [g for g, nodes in enumerate(self.groups) if g not in free and len(nodes) > 1]

    # --- stacks

    def _place_name(self, node: Value) -> str:
        """Which part a Value is folded into; for one by itself nothing, for a parameter its own name or itself."""
        if node in self.group_of:
            return _name(self.places[self.group_of[node]])
        return _name(self._cut(self.where.home[node])) or f"{id(node)}"

    def _colours(self) -> dict[Value, int]:
        """Equal for Values that are computed alike, from alike operands, for alike users, in alike parts."""
        if self.likeness == "all":
            number_of = _numbering()
            return {node: number_of[(node.op, node is self.order[-1])] for node in self.terms}
        steps = repeats(self.terms, self._place_name, self.likeness, self.names) if self.likeness else {}
        steps.pop(self.order[-1], None)  # the result is shown by itself
        users: dict[Value, list[tuple[Value, int]]] = {node: [] for node in self.terms}
        for node, made in self.terms.items():
            for role, x in made.operands:
                if isinstance(x, Value):
                    users[x].append((node, role))

        number_of = _numbering()
        what: dict[Value, int] = {}  # what tells Values apart before their neighbours are looked at
        for node, made in self.terms.items():
            label = node.label if self.names else ""
            itself = id(node) if node.op is None and label and node in self.group_of else 0
            what[node] = number_of[(made.op, len(made.links), self._place_name(node), label, itself)]
            if node in steps:  # told from each other by nothing
                what[node] = number_of[("step", id(steps[node]))]
        still = {*steps, *(node for node in self.terms if node not in self.group_of)}  # parameters go by their module
        moving = [(node, made) for node, made in self.terms.items() if node not in still]
        colour, colours = dict(what), 0
        while len(set(colour.values())) > colours:
            colours = len(set(colour.values()))
            number_of = _numbering(colour.values())
            for node, made in moving:
                # -1: a plain number
                operands = [(role, -1 if isinstance(x, float) else colour[x]) for role, x in made.operands]
                colour[node] = number_of[(colour[node], *(sorted(operands) if made.commutes else operands))]
            number_of = _numbering(colour.values())
            for node, _ in reversed(moving):
                around = Counter([(colour[user], role) for user, role in users[node]])
                colour[node] = number_of[(colour[node], frozenset(around.items()))]
        return colour

    def readable(self) -> list[Part]:
        """The parts, if they are about 50, with not many more arrows than two layers of 16 have, and few that carry a
        count or lead back; else none."""
        most = 6 * READABLE  # arrows
        names = [_name(place) for place in self.places]
        between = Counter([(names[x], names[g]) for g, xs in enumerate(self.before) for x in xs])
        # what runs from one part of the program to another is one arrow with a count, or many arrows
        if sum(sorted(between.values())[:-READABLE]) > most or len(self.stacks) > READABLE:
            return []
        found = self.parts()
        owner = part_of(found)
        number = {part: i for i, part in enumerate(found)}
        edges = Counter((owner[x], part) for part in found for v in part.values for x in v.args if x in owner)
        arrows = {(a, b): n for (a, b), n in edges.items() if a is not b}
        counted = sum(n > 1 and not (a.single and b.single) for (a, b), n in arrows.items())
        back = sum(number[a] > number[b] for a, b in arrows)
        few = len(found) <= READABLE and counted <= READABLE and len(arrows) <= most
        return found if few and back <= READABLE // 10 else []

    @cached_property
    def stacks(self) -> list[list[int]]:
        """The groups whose Values have the same colours, stack by stack, operands before users but in a repetition."""
        colour, number_of = self._colours(), _numbering()
        in_order = _sorted(self.before)
        stack_of = {g: number_of[tuple([colour[v] for v in self.groups[g] if v in colour])] for g in in_order}
        stacks: list[list[int]] = [[] for _ in number_of]
        for g, c in stack_of.items():
            stacks[c].append(g)
        return [
            stacks[c] for c in _sorted([{stack_of[x] for g in stack for x in self.before[g]} for stack in stacks], True)
        ]

    def parts(self) -> list[Part]:
        found, owner = [], dict[Value, Part]()
        for stack in self.stacks:
            values = [v for g in stack for v in self.groups[g]]
            place = self.places[stack[0]]
            module = place[-1].module if place else None
            found.append(Part("", _name(place), values, [], [], len(stack), module))
            owner.update(dict.fromkeys(values, found[-1]))
            if not place and len(values) > len(stack):
                found[-1].chain = self.terms[self.groups[stack[0]][-1]]
        found = self._with_parameters(found, owner)
        edges = [(x, node) for node in self.order for x in node.args if isinstance(x, Value)]
        used_outside = {x for x, node in edges if self.group_of.get(x) != self.group_of.get(node)} | {self.order[-1]}
        for i, part in enumerate(found):
            part.key = f"v{i}"
            part.outputs = [v for v in part.values if v in used_outside]
        return found

    def _with_parameters(self, found: list[Part], owner: dict[Value, Part]) -> list[Part]:
        """A module's parameters belong to the one box that computes with them in their own module; where there are
        several such boxes, or none, or something before it uses them, they are drawn once, on their own."""
        place, home = self.where.place, self.where.home
        number = {id(part): i for i, part in enumerate(found)}
        users: dict[Value, list[tuple[int, bool]]] = {}  # their part's number, and are they in the parameter's module?
        modules = {p: home[p][-1].module for p in home}
        for node in self.order:
            for p in node.args:
                if p in home:
                    i, module = number[id(owner[node])], modules[p]
                    inside = bool(found[i].name) and any(level.module is module for level in place.get(node, ()))
                    users.setdefault(p, []).append((i, inside))
        apart: dict[str, Part] = {}
        for p in self.order:
            if p in home:
                own = {i for i, in_module in users.get(p, ()) if in_module}
                if len(own) == 1 and own == {min(i for i, _ in users[p])}:
                    owner[p] = found[own.pop()]
                    owner[p].parameters.append(p)
                else:
                    name = _name(self._cut(home[p]))
                    owner[p] = apart.setdefault(name or f"{id(p)}", Part("", name, [], [], []))
                    owner[p].values.append(p)
        return [*apart.values(), *found]


def _numbering(taken: Iterable[int] = ()) -> defaultdict[tuple[object, ...], int]:
    """Numbers keys one by one in the order in which they first appear, above those that are taken."""
    return defaultdict(count(max(taken, default=-1) + 1).__next__)
