"""Which part of a program each Value of a graph belongs to, and what it is called.

While a graph is recorded, only what a module returns remembers its call, and what is recorded inside a
scope its scope (`engine.Call`, `engine.Scope`). All else is worked out here, when somebody looks.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from .engine import Call, Scope, Value
from .notation import printable as printable  # under its old address


class Module(Protocol):
    """What is asked of an `nn.Module`."""

    def named_modules(self) -> Iterator[tuple[str, Module]]: ...
    def named_parameters(self) -> Iterator[tuple[str, Value]]: ...


class Level(NamedTuple):
    """One step into a program: the name of a scope, or of a module inside the module around it.

    call: which run of it, an object of its own; None where a module's parts were used without a call.
    name: empty for a graph's only model, so that its first layer is `layers.0` and not `MLP.layers.0`.
    """

    name: str
    call: object
    module: Module | None = None

    # by identity: a module may define its own equality, as a dataclass does, and then has no hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Level) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[str, int, int]:
        return self.name, id(self.call), id(self.module)


Place = tuple[Level, ...]


class Located(NamedTuple):
    """place: where each computed Value belongs, outermost level first, () outside of all parts.
    home: the same for each parameter of the modules."""

    place: dict[Value, Place]
    home: dict[Value, Place]


# --- names


def names(order: Iterable[Value]) -> dict[Value, str]:
    """What to call Values of a graph: their labels, or a parameter's path in the model that was called.

    >>> from tinygrad_lite import nn
    >>> model = nn.MLP(2, [3, 1])
    >>> weight, out = model.layers[0].neurons[2].w[1], model([0.5, -1.0])
    >>> names([weight, out])[weight]
    'layers.0.neurons.2.w.1'
    """
    order = list(order)
    found = {p: name for tree in _trees(_calls(order)) for p, name in tree.names.items()}
    return {node: node.label or found[node] for node in order if node.label or node in found}


class Names(NamedTuple):
    """What every tool calls the Values of one graph.

    text: the name of each. path: the label, or the full path in the model, of those that have one."""

    text: dict[Value, str]
    path: dict[Value, str]


def called(nodes: Iterable[Value], root: Value) -> Names:
    """The names of these Values in the graph of root.

    A Value's label; the short path of a parameter; `out` for the root, or `result` where another is labelled out; for
    all others v1, v2, ... in their order, which should be that of `topological_order(root)`.

    >>> from tinygrad_lite import nn
    >>> from tinygrad_lite.engine import topological_order
    >>> model = nn.MLP(2, [3, 1])
    >>> out = model([0.5, -1.0])
    >>> found = called(topological_order(out), out)
    >>> found.text[out], found.text[model.layers[0].neurons[2].w[1]], found.path[model.layers[0].neurons[2].w[1]]
    ('out', 'L0.n2.w1', 'layers.0.neurons.2.w.1')
    """
    nodes = list(nodes)
    path = names(nodes)
    text = {node: node.label or brief(name) for node, name in path.items()}
    if root not in text:
        text[root] = "result" if "out" in text.values() else "out"
    return Names(numbered(nodes, text), path)


_INITIALS = {"layers": "L", "neurons": "n"}


def brief(path: str) -> str:
    """A parameter's path in few letters: L0.n3.w1 for layers.0.neurons.3.w.1."""
    steps: list[str] = []
    for step in path.split("."):
        if step.isdecimal() and steps:
            steps[-1] = _INITIALS.get(steps[-1], steps[-1]) + step
        else:
            steps.append(step)
    return ".".join(steps)


def numbered(nodes: Iterable[Value], names: Mapping[Value, str]) -> dict[Value, str]:
    """The names, and v1, v2, ... for the nodes without one, in their order; a number that is a name is left out."""
    found, taken = dict(names), set(names.values())
    free = (name for i in itertools.count(1) if (name := f"v{i}") not in taken)
    for node in nodes:
        if node not in found:
            found[node] = next(free)
    return found


def distinct(names: Mapping[Value, str]) -> dict[Value, str]:
    """The names; one that several Values have becomes a#1, a#2, ..."""
    often, seen = Counter(names.values()), Counter[str]()
    found = {}
    for node, name in names.items():
        seen[name] += 1
        found[node] = f"{name}#{seen[name]}" if often[name] > 1 else name
    return found


# --- places


def located(order: Sequence[Value]) -> Located:
    """order: every Value of a graph, operands before users, as of `topological_order`."""
    calls = _calls(order)
    trees = _trees(calls)
    tree_of = {key: tree for tree in trees for key in tree.modules}
    inside: dict[Value, list[_Call]] = {}
    for call in sorted(calls, key=lambda call: -len(call.nodes)):
        for node in call.nodes:
            inside.setdefault(node, []).append(call)  # the widest first
    place: dict[Value, Place] = {}
    chain: dict[Value, _Chain] = {}  # the modules around a node
    for node in order:
        if node.op is None:
            continue
        around = inside.get(node, [])
        scope = getattr(node, "scope", None)
        if around:
            tree = tree_of[id(around[0].module)]
            chain[node] = _modules_around(node, tree, inside, chain)
            place[node] = _levels(tree, chain[node], around, scope)
        else:
            place[node] = tuple(_scope_levels(scope, None))
    home = {p: tuple(_module_levels(tree, modules, {})) for tree in trees for p, modules in tree.owner.items()}
    return Located(place, home)


class _Call:
    """One call of a module. nodes: what it computed, from its results back to its inputs."""

    def __init__(self, call: Call) -> None:
        self.module: Module
        self.inputs: tuple[object, ...]
        self.module, self.inputs, self.scope = call
        self.results: list[Value] = []
        self.nodes: dict[Value, None] = {}


_Chain = tuple[Module, ...]  # modules, each one held by the one before


class _Tree:
    """A module that no other called module holds, and all below it.

    modules: id of every one -> the chain that leads to it. owner: parameter -> chain. names: of parameters.
    """

    def __init__(self, root: Module, name: str) -> None:
        paths: dict[str, _Chain] = {}
        self.step: dict[int, str] = {id(root): name}  # a module's name in the one around it
        self.modules: dict[int, _Chain] = {}
        for path, module in root.named_modules():
            above = _longest_prefix(path, paths)
            paths[path] = self.modules[id(module)] = (*(paths[above] if path else ()), module)
            if path:
                self.step[id(module)] = path[len(above) :].removeprefix(".")
        self.owner: dict[Value, _Chain] = {}
        self.names: dict[Value, str] = {}
        for path, parameter in root.named_parameters():
            self.owner[parameter] = paths[_longest_prefix(path, paths)]
            self.names[parameter] = f"{name}.{path}" if name else path


def _longest_prefix(path: str, known: Mapping[str, _Chain]) -> str:
    """The longest of the known dotted paths above this one; "" is above all."""
    above = path
    while above:
        above = above.rpartition(".")[0]
        if above in known:
            return above
    return ""


def _calls(order: Iterable[Value]) -> list[_Call]:
    """The calls that returned these Values."""
    found: dict[int, _Call] = {}
    for node in order:
        call = getattr(node, "call", None)
        if call is not None:
            if id(call) not in found:
                found[id(call)] = _Call(call)
            found[id(call)].results.append(node)
    calls = list(found.values())
    modules = {id(made.module): made.module for made in calls}  # a model is called for each example
    held = {key: {id(part) for _, part in module.named_modules()} for key, module in modules.items()}
    for made in calls:
        _walk_back(made, held[id(made.module)])
    return calls


def _walk_back(call: _Call, own: set[int]) -> None:
    """Collects the nodes of a call: to its inputs, to leaves, and to results of modules that are not its own."""
    given = set(_values(call.inputs))
    stack = [node for node in call.results if node not in given]
    while stack:
        node = stack.pop()
        if node in call.nodes or node.op is None:
            continue
        call.nodes[node] = None
        for x in node.args:
            if isinstance(x, Value) and x not in given:
                maker = getattr(x, "call", None)
                if maker is None or id(maker[0]) in own:
                    stack.append(x)


def _values(inputs: object) -> Iterator[Value]:
    if isinstance(inputs, Value):
        yield inputs
    elif isinstance(inputs, (list, tuple, dict)):
        for inner in inputs.values() if isinstance(inputs, dict) else inputs:
            yield from _values(inner)


def _trees(calls: Sequence[_Call]) -> list[_Tree]:
    """The outermost modules: without a name where there is but one, else with that of their class."""
    called = {id(call.module): call.module for call in calls}
    held = {key: {id(part) for _, part in module.named_modules()} for key, module in called.items()}
    below = {part for key, parts in held.items() for part in parts - {key}}
    roots = [module for key, module in called.items() if key not in below]
    known = {part for root in roots for part in held[id(root)]}
    for call in sorted(calls, key=lambda call: -len(call.nodes)):  # of modules that hold each other, the outermost
        if id(call.module) not in known:
            roots.append(call.module)
            known |= held[id(call.module)]
    if len(roots) == 1:
        return [_Tree(roots[0], "")]
    counts: Counter[str] = Counter()
    found = []
    for root in roots:
        name = type(root).__name__
        counts[name] += 1
        found.append(_Tree(root, f"{name}{counts[name]}" if counts[name] > 1 else name))
    return found


def _modules_around(
    node: Value, tree: _Tree, inside: Mapping[Value, list[_Call]], chain: Mapping[Value, _Chain]
) -> _Chain:
    """The module whose parameters a node uses; without any, what its operands have in common. In any case
    inside the innermost call, and not in what another call computed."""
    around = inside[node]
    chains = [tree.owner[x] for x in node.args if isinstance(x, Value) and x in tree.owner]
    ended: set[int] = set()
    if not chains:
        operands = [x for x in node.args if isinstance(x, Value) and x in around[0].nodes]
        chains = [chain[x] for x in operands]
        ended = {id(call.module) for x in operands for call in inside[x] if call not in around}
    shared = itertools.takewhile(lambda step: all(module is step[0] for module in step), zip(*chains))
    common = tuple(itertools.takewhile(lambda module: id(module) not in ended, (step[0] for step in shared)))
    called = tree.modules[id(around[-1].module)]
    return common if common[: len(called)] == called else called


def _levels(tree: _Tree, chain: _Chain, around: Sequence[_Call], scope: Scope | None) -> Place:
    """Scopes and modules in the order in which they were entered."""
    levels: list[Level] = []
    entered, done = None, 0
    calls = {id(call.module): call for call in around}
    for call in around:
        levels += _scope_levels(call.scope, entered)
        entered = call.scope or entered
        depth = len(tree.modules.get(id(call.module), ()))
        levels += _module_levels(tree, chain[done:depth], calls)
        done = max(done, depth)
    levels += _module_levels(tree, chain[done:], calls)
    return (*levels, *_scope_levels(scope, entered))


def _module_levels(tree: _Tree, modules: _Chain, calls: Mapping[int, _Call]) -> list[Level]:
    return [Level(tree.step[id(module)], calls.get(id(module)), module) for module in modules]


def _scope_levels(scope: Scope | None, entered: Scope | None) -> list[Level]:
    """The scopes from the outermost on, less those that were entered before."""
    found: list[Level] = []
    before = set()
    while entered is not None:
        before.add(entered)
        entered = entered.outer
    while scope is not None and scope not in before:
        found.append(Level(scope.name, scope))
        scope = scope.outer
    return found[::-1]
