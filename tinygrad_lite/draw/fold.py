"""Folding: many Values as one box, by module and scope; and what repeats, such as examples, as a stack.

Two steps. Values of one part of the program (see `parts.py`) and one call of it become a group. Groups of
Values that are computed alike, from alike operands and for alike users, become one stack of copies: colour
refinement, as when the states of an automaton are minimised.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from .. import ops
from ..engine import Value, topological_order
from ..parts import Located, Module, Place, located

READABLE = 50  # boxes on a screen
Fold = str | int | list[str]


@dataclass(eq=False)
class Part:
    """What is drawn as one box: a single Value (its name is then empty), or all that a module or a scope
    computed, or copies of either.

    values: what it computed, operands first. parameters: the modules' own that nobody else uses. outputs:
    the values that are used outside, or are the root.
    """

    key: str
    name: str
    values: list[Value]
    parameters: list[Value]
    outputs: list[Value]
    copies: int = 1
    module: Module | None = None

    @property
    def single(self) -> bool:
        """Is it one Value that is drawn as itself?"""
        return not self.name and self.copies == 1 and len(self.values) == 1


def parts_to_draw(root: Value, fold: Fold, rankdir: str, limit: int, asked: str, verb: str) -> list[Part]:
    """The parts of root's graph, after the arguments that are common to pictures are checked: TypeError for what is no
    Value, ValueError for an unknown rankdir and for more than `limit` parts. asked, verb: for the message."""
    if not isinstance(root, Value):
        what = f"a list: {verb} one of them, or their total(...)" if isinstance(root, (list, tuple)) else repr(root)
        raise TypeError(f"{asked} expects a Value, got {what}")
    if rankdir not in ("auto", "LR", "TB"):
        raise ValueError(f'rankdir is "auto", "LR" (left to right) or "TB" (top to bottom), got {rankdir!r}')
    found = folded(topological_order(root), fold)
    if len(found) > limit:
        raise ValueError(
            f"this picture has {len(found):,} boxes and stays readable to about 50: draw a part of the graph (one "
            f'neuron, one example), fold it (fold="auto", or name parts of it by modules or `with scope("loss"):`), '
            f"or lift the limit with {asked}(..., limit={len(found)})"
        )
    return found


def folded(order: Sequence[Value], fold: Fold = "auto") -> list[Part]:
    """The boxes of a graph, operands before users. order: all its Values, as of `topological_order`.

    fold: 0 is every Value by itself. A depth folds parts that far inside: 1 to layers, 2 to neurons. A
    list of names such as ["layers.1"] folds these. "auto": everything up to about 50 Values, else the
    deepest folding with about 50 boxes. Where something is folded, repetitions are stacks.
    """
    if isinstance(fold, bool) or not (fold == "auto" or isinstance(fold, (int, list, tuple))):
        raise TypeError(f'fold is "auto", a depth (0: nothing is folded) or a list of names, got {fold!r}')
    if fold == 0 or (fold == "auto" and len(order) <= READABLE):
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
    deepest = max([sum(1 for level in place if level.name) for place in where.place.values()], default=1)
    for depth in range(max(deepest, 1), 0, -1):
        found = _Folding(order, where, depth).parts()
        if _readable(found):
            break
    return found


def part_of(found: Iterable[Part]) -> dict[Value, Part]:
    """Which part each Value is drawn in."""
    return {v: part for part in found for v in (*part.parameters, *part.values)}


def _readable(found: Sequence[Part]) -> bool:
    """About 50 boxes, not many more arrows than two layers of 16 have, and few that carry a count."""
    owner = part_of(found)
    edges = Counter((owner[x], part) for part in found for v in part.values for x in v.args if x in owner)
    arrows = {(a, b): n for (a, b), n in edges.items() if a is not b}
    counted = sum(n > 1 and not (a.single and b.single) for (a, b), n in arrows.items())
    return len(found) <= READABLE and counted <= READABLE and len(arrows) <= 6 * READABLE


def _name(place: Place) -> str:
    return ".".join(level.name for level in place if level.name)


def _some(known: Iterable[str]) -> list[str]:
    found = sorted(known, key=lambda name: (name.count("."), name))
    return found if len(found) <= 8 else [*found[:8], "..."]


def _sorted(operands: Sequence[Iterable[int]]) -> list[int]:
    """Topological order (Kahn 1962), the earliest possible number first; what lies on or behind a cycle is
    left out."""
    users: list[list[int]] = [[] for _ in operands]
    waiting = [0] * len(operands)
    for i, xs in enumerate(operands):
        for x in set(xs):
            users[x].append(i)
            waiting[i] += 1
    ready = [i for i, count in enumerate(waiting) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for user in users[i]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, user)
    return order


class _Folding:
    """One way to fold one graph."""

    def __init__(
        self, order: Sequence[Value], where: Located, depth: int = 0, chosen: frozenset[str] = frozenset()
    ) -> None:
        self.order, self.where, self.depth, self.chosen = order, where, depth, chosen
        self.opened = {place[:k] for place in where.place.values() for k in range(len(place))}
        self.groups: list[list[Value]] = []
        self.places: list[Place] = []  # of each group, cut to what is folded; () for a Value by itself
        self.group_of: dict[Value, int] = {}
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
        known: dict[Place, int] = {}
        for node in self.order:
            if node in self.where.home:
                continue
            place = () if node in apart else self._cut(self.where.place.get(node, ()))
            g = known.setdefault(place, len(self.groups)) if place else len(self.groups)
            if g == len(self.groups):
                self.groups.append([])
                self.places.append(place)
            self.groups[g].append(node)
            self.group_of[node] = g

    def _outside(self, g: int) -> list[Value]:
        """The operands that come from other groups, in order."""
        return [x for node in self.groups[g] for x in node.args if self.group_of.get(x, g) != g]

    def _cyclic(self) -> list[int]:
        """The groups on cycles: those that sorting forwards and sorting backwards both leave out."""
        operands = [{self.group_of[x] for x in self._outside(g)} for g in range(len(self.groups))]
        users: list[set[int]] = [set() for _ in operands]
        for g, xs in enumerate(operands):
            for x in xs:
                users[x].add(g)
        free = {*_sorted(operands)} | {*_sorted(users)}
        return [g for g, nodes in enumerate(self.groups) if g not in free and len(nodes) > 1]

    # --- stacks

    def _colours(self) -> dict[Value, int]:
        """Equal for Values that are computed alike, from alike operands, for alike users, in alike parts."""
        home, place = self.where.home, {v: _name(self.places[g]) for v, g in self.group_of.items()}
        nodes = list(self.group_of)
        users: dict[Value, list[tuple[Value, int]]] = {node: [] for node in nodes}
        for node in nodes:
            for k, x in enumerate(node.args):
                if x in users:
                    users[x].append((node, _role(node, k)))

        colour: dict[Value, int] = {}
        for number, node in enumerate(nodes, 1):
            known = node.op is None and node.label  # one that has a name is itself and no other
            colour[node] = number if known else 0
        colours = 0
        while len(set(colour.values())) > colours:
            colours = len(set(colour.values()))
            number_of = _numbering()
            for node in nodes:
                operands = [id(x) if x in home else colour.get(x, -1) for x in node.args]  # -1: a plain number
                colour[node] = number_of[colour[node], node.op, node.label, place[node], *operands]
            number_of = _numbering()
            for node in reversed(nodes):
                around = Counter([(colour[user], role) for user, role in users[node]])
                colour[node] = number_of[colour[node], frozenset(around.items())]
        return colour

    def _stacks(self) -> list[list[int]]:
        """The groups whose Values have the same colours, stack by stack, operands before users."""
        colour, number_of = self._colours(), _numbering()
        stack_of = [number_of[tuple([colour[v] for v in nodes])] for nodes in self.groups]
        stacks: list[list[int]] = [[] for _ in number_of]
        for g, c in enumerate(stack_of):
            stacks[c].append(g)
        operands = [{stack_of[self.group_of[x]] for g in stack for x in self._outside(g)} for stack in stacks]
        return [stacks[c] for c in _sorted(operands)]

    def parts(self) -> list[Part]:
        found, owner = [], dict[Value, Part]()
        for stack in self._stacks():
            values = [v for g in stack for v in self.groups[g]]
            place = self.places[stack[0]]
            module = place[-1].module if place else None
            found.append(Part("", _name(place), values, [], [], len(stack), module))
            owner.update(dict.fromkeys(values, found[-1]))
        found = self._with_parameters(found, owner)
        edges = [(x, node) for node in self.order for x in node.args if isinstance(x, Value)]
        used_outside = {x for x, node in edges if owner[x] is not owner[node]} | {self.order[-1]}
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
        for node in self.order:
            inside = {id(level.module) for level in place.get(node, ())}
            for p in node.args:
                if p in home:
                    i = number[id(owner[node])]
                    users.setdefault(p, []).append((i, bool(found[i].name) and id(home[p][-1].module) in inside))
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


def _numbering() -> defaultdict[tuple[object, ...], int]:
    """Numbers keys 0, 1, 2, ... in the order in which they first appear."""
    return defaultdict(count().__next__)


def _role(node: Value, k: int) -> int:
    """What the k-th operand is to its operation: where any number of operands is taken, most are alike."""
    assert node.op is not None
    if not callable(node.op.partials):
        return k
    if node.op is ops.dot:
        return k // (len(node.args) // 2)
    return min(k, 1) if node.op is ops.pick else 0
