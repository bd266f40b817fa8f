"""What the forward and the backward pass do, told in frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple, cast

from .. import ops
from ..derivatives import gradients
from ..engine import Value, topological_order
from ..mistakes import has_changed
from ..notation import count_of, decimals, digits, is_infix, printable, shortened, span
from ..ops import Op
from ..parts import called
from .fold import Part, part_of
from .labels import cells, scalars, size, title
from .layout import text_width
from .picture import Cell, Phase, Picture
from .sketch import NEXT

SHOWN = 8  # leaves in a caption, and operands of one operation that get a frame each
FRAMES = 250  # a picture with more arrows than this gets one frame per operation, however few its operands


class Sent(NamedTuple):
    """What goes back along one scalar edge: upstream x local, added to the gradient of user.args[place]."""

    user: Value
    place: int
    upstream: float
    local: float

    @property
    def operand(self) -> Value:
        return cast(Value, self.user.args[self.place])

    @property
    def contribution(self) -> float:
        return self.local * self.upstream


class Frame(NamedTuple):
    """One step of the lesson.

    lines: the caption, its first line in words. boxes, arrows: what is lit, by key and by number in the
    picture. cells: those of the boxes that change. sent: the scalar edges that carry gradients here.
    grads: the gradients that change, each the sum of what has been sent so far.
    """

    phase: Phase
    lines: tuple[str, ...]
    boxes: tuple[str, ...]
    arrows: tuple[int, ...]
    cells: dict[str, tuple[Cell, ...]]
    sent: tuple[Sent, ...]
    grads: dict[Value, float]


class Lesson:
    """Writes the frames, forward and backward. `grads` is what a learner has seen so far."""

    def __init__(self, parts: Sequence[Part], sketch: Picture, root: Value) -> None:
        self.parts, self.sketch, self.root = parts, sketch, root
        self.order = topological_order(root)
        self.part_of = part_of(parts)
        self.names = called(self.order, root)
        self.arrows: dict[tuple[str, str], list[int]] = {}  # tail, head -> numbers of the arrows
        for i, arrow in enumerate(self.sketch.arrows):
            self.arrows.setdefault((arrow.tail, arrow.head), []).append(i)

        self.final = gradients(self.order)
        self.uses = Counter(use.operand for node in self.order for use in self._uses(node))  # that send something
        self.seen: Counter[Value] = Counter()
        self.grads: dict[Value, float] = {}
        self.brief = len(self.sketch.arrows) > FRAMES
        self.computed: set[str] = set()  # keys of parts
        self.frames: list[Frame] = []
        self._forward()
        self._backward()

    def picture(self) -> Picture:
        """The picture, with room in every box for the widest text that it will show."""
        widest: dict[str, tuple[Cell, ...]] = {}
        for frame in self.frames:
            for key, shown in frame.cells.items():
                pairs = zip(widest.get(key, shown), shown, strict=True)
                widest[key] = tuple([max(pair, key=lambda cell: text_width(cell.line)) for pair in pairs])
        return self.sketch.named(widest)

    def _uses(self, node: Value) -> list[Sent]:
        """What node sends to its operands; nothing where no gradient reaches it."""
        if node not in self.final:
            return []
        upstream = self.final[node]
        return [Sent(node, i, upstream, dx) for i, dx in enumerate(node.local_grads) if dx is not None]

    def _add(
        self,
        phase: Phase,
        lines: Sequence[str],
        lit: Iterable[str],
        arrows: Iterable[int] = (),
        changed: Iterable[Part] = (),
        sent: Sequence[Sent] = (),
    ) -> None:
        shown = {part.key: cells(part, self.names, self.grads.get, part.key in self.computed) for part in changed}
        grads = {use.operand: self.grads[use.operand] for use in sent}
        self.frames.append(Frame(phase, tuple(lines), tuple(lit), tuple(arrows), shown, tuple(sent), grads))

    # --- what things are called

    def _name(self, x: Value) -> str:
        """A Value drawn by itself by its name; in a folded part, as an output of the part."""
        part = self.part_of[x]
        alone = not part.name and part.copies == 1 and x is part.values[-1]
        if alone or x is self.root or x in self.names.path:
            return _short(self.names.text[x])
        return _short(title(part))

    def _slope(self, x: Value) -> str:
        return f"∂{self._name(self.root)}/∂{self._name(x)}"

    def _part_name(self, part: Part) -> str:
        if not part.name and part.copies == 1:
            return self._name(part.values[-1])
        return _short(title(part)) if part.name else f"{part.copies:,} × {_short(title(part))}"

    def _keys(self, part: Part) -> list[str]:
        return [f"{part.key}.op", part.key] if part.single and part.values[0].op else [part.key]

    def _equation(self, node: Value) -> str:
        assert node.op is not None
        operands = [self._name(x) if isinstance(x, Value) else digits(x) for x in node.args]
        data = [decimals(x.data) if isinstance(x, Value) else digits(x) for x in node.args]
        by_names, by_data = _expression(node.op, operands, "*"), _expression(node.op, data, "×")
        return f"{self._name(node)} = {by_names} = {by_data} = {decimals(node.data)}"

    # --- forward

    def _forward(self) -> None:
        leaves = [part for part in self.parts if all(v.op is None for v in part.values)]
        held = [self._held(part) for part in leaves]
        self.computed.update(part.key for part in leaves)
        lines = ["forward: inputs and parameters are given", *([_joined(held, ", ")] if held else [])]
        if any(map(has_changed, self.order)):
            lines.append("some .data was changed after the forward pass: run it again, or formulas will not add up")
        self._add("forward", lines, [part.key for part in leaves], changed=self.parts)  # all boxes, once
        for part in self.parts:
            if part.key not in self.computed:
                self.computed.add(part.key)
                keys = self._keys(part)
                into = [i for i, arrow in enumerate(self.sketch.arrows) if arrow.head in keys]
                lines = self._made(part.values[0]) if part.single else self._made_by(part, into)
                self._add("forward", ["forward", *lines], keys, into, [part])

    def _held(self, part: Part) -> str:
        name = self._part_name(part)
        return f"{name} = {decimals(part.values[0].data)}" if part.single else f"{name}: {size(part)}"

    def _made(self, node: Value) -> list[str]:
        name = self._name(node)
        edges = [(x, dx) for x, dx in zip(node.args, node.local_grads) if dx is not None and self.part_of[x].single]
        local = _joined([f"∂{name}/∂{self._name(x)} = {decimals(dx + 0.0)}" for x, dx in edges], ", ")
        return [self._equation(node), *([f"local derivatives: {local}"] if local else [])]

    def _made_by(self, part: Part, into: Iterable[int]) -> list[str]:
        known = {other.key: self._part_name(other) for other in self.parts}
        keys = dict.fromkeys(self.sketch.arrows[i].tail for i in into)
        tails = dict.fromkeys(known.get(key, NEXT if key.endswith(".next") else "numbers") for key in keys)
        given = f" from {_joined([*tails], ', ', 4)}" if tails else ""
        outputs = part.outputs or part.values[-1:]
        made = "output" if len(outputs) == 1 else count_of(len(outputs), "output")
        return [f"{self._part_name(part)} computes {scalars(part)}{given}", f"{made}: {span(v.data for v in outputs)}"]

    # --- backward

    def _backward(self) -> None:
        self.grads[self.root] = 1.0
        slope, top = self._slope(self.root), self.part_of[self.root]
        self._add("backward", ["backward: start at the result", f"{slope} = 1"], [top.key], (), [top])
        self.frames[-1].grads.update(self.grads)
        for part in reversed(self.parts):
            if part.single:
                self._send_from_one(part)
            else:
                self._send_from_many(part)
        self._finish()

    def _finish(self) -> None:
        """The gradients of all leaves, and what has none."""
        lines, lit = ["done: all gradients"], []
        leaves, folded, unreached = [], [], []
        for part in self.parts:
            below = [v for v in (*part.parameters, *part.values) if v.op is None]
            reached = [self.final[v] for v in below if v in self.final]
            lit += [part.key] if reached else []
            if reached and part.single:
                leaves.append(f"{self._slope(below[0])} = {decimals(reached[0])}")
            elif reached:
                folded.append(f"{self._part_name(part)}: {count_of(len(reached), 'gradient')} {span(reached)}")
            elif not any(v in self.final for v in part.values):
                unreached.append(self._part_name(part))
        lines += [_joined(texts, ", ") for texts in (leaves, folded) if texts]
        lines += [f"not reached, hence without a gradient: {_joined(unreached, ', ')}"] if unreached else []
        self._add("backward", lines, lit)

    def _send_from_one(self, part: Part) -> None:
        (node,) = part.values
        self._send_apart(part, self._uses(node))
        lost = [i for i, x in enumerate(node.args) if isinstance(x, Value) and node.local_grads[i] is None]
        if lost and node in self.final:
            them = _joined([*dict.fromkeys(self._name(node.args[i]) for i in lost)], ", ")
            words = f"it does not depend on {them} here: nothing is sent"
            lines = [f"backward: from {self._name(node)}", self._equation(node), words]
            self._add("backward", lines, self._keys(part), dict.fromkeys(self._arrow(part, node, i) for i in lost))

    def _send_from_many(self, part: Part) -> None:
        arrived = [self.final[v] for v in part.outputs if v in self.final]
        if not arrived or part.values[0].op is None:
            return
        uses = [use for node in reversed(part.values) for use in self._uses(node)]
        inside = [use for use in uses if self.part_of[use.operand] is part]
        self._receive(inside)
        name, root = self._part_name(part), self._name(self.root)
        came = f"∂{root}/∂{name} = {span(arrived)}"
        if len(part.outputs) > 1:
            came = f"∂{root}/∂output = {span(arrived)} at {count_of(len(arrived), 'output')}"
        words = f"the chain rule runs back through {scalars(part)}"
        own = [self.grads[p] for p in part.parameters if p in self.grads]
        if own:
            words += f"; gradients of its {count_of(len(own), 'parameter')}: {span(own)}"
        if not uses:
            words = "it does not depend on its operands here: nothing is sent"
        if inside or not uses:
            self._add("backward", [f"backward: through {name}", came, words], [part.key], (), [part], inside)
        self._send_apart(part, [use for use in uses if self.part_of[use.operand] is not part])

    def _send_apart(self, part: Part, uses: Sequence[Sent]) -> None:
        """A frame for every arrow; one for all where they are many."""
        bundles: dict[int, list[Sent]] = {}
        for use in uses:
            bundles.setdefault(self._arrow(part, use.user, use.place), []).append(use)
        if self.brief or len(bundles) > SHOWN:
            if uses:
                self._send(part, uses, bundles)
        else:
            for arrow, bundle in bundles.items():
                self._send(part, bundle, [arrow])

    def _arrow(self, part: Part, user: Value, place: int) -> int:
        """The number of the arrow that a scalar edge into a part, from user.args[place], is drawn as."""
        operand = user.args[place]
        drawn = self.arrows[self.part_of[operand].key, self._keys(part)[0]]
        # x * x has two arrows, in the order of operands
        return drawn[sum(x is operand for x in user.args[:place]) if len(drawn) > 1 else 0]

    def _receive(self, sent: Iterable[Sent]) -> None:
        for use in sent:
            x = use.operand
            self.seen[x] += 1
            self.grads[x] = self.grads.get(x, 0.0) + use.contribution
            if self.seen[x] == self.uses[x]:  # where parts are walked in another order, to the last bit
                self.grads[x] = self.final[x]

    def _send(self, part: Part, sent: Sequence[Sent], arrows: Iterable[int]) -> None:
        """A frame for what a part sends along some arrows."""
        targets = list(dict.fromkeys(use.operand for use in sent))
        before = self.grads.get(targets[0])
        self._receive(sent)
        tails = list(dict.fromkeys(self.part_of[x] for x in targets))
        whither = _joined([self._part_name(tail) for tail in tails], ", ", 4)
        lines = [f"backward: from {self._part_name(part)} to {whither}"]
        if len(targets) == 1:
            lines += self._sum(targets[0], sent, before)
        elif part.single and all(tail.single for tail in tails):
            slope, upstream = self._slope(part.values[0]), decimals(sent[0].upstream)
            lines.append(f"{slope} = {upstream} × the local derivatives of {count_of(len(sent), 'operand')}")
            each = [
                f"{self._name(use.operand)}: {decimals(use.local + 0.0)} → {decimals(use.contribution)}" for use in sent
            ]
            lines.append(_joined(each, ", "))
        else:
            example = (
                f"{decimals(sent[0].upstream)} × {decimals(sent[0].local + 0.0)} = {decimals(sent[0].contribution)}"
            )
            products = span(use.contribution for use in sent)
            lines.append(f"{len(sent):,} products upstream × local: {products}, such as {example}")
            lines.append(f"{len(targets):,} gradients so far: {span(self.grads[x] for x in targets)}")
        keys = self._keys(part)
        lit = [*keys, *(tail.key for tail in tails)]
        inner = self.arrows.get((keys[0], keys[-1]), [])  # from an operation to its result
        self._add("backward", lines, lit, [*inner, *arrows], tails, sent)

    def _sum(self, x: Value, sent: Sequence[Sent], before: float | None) -> list[str]:
        """upstream x local = contribution, and the sum so far."""
        total = decimals(sum(use.contribution for use in sent))
        if len(sent) == 1 and (use := sent[0]):
            local = f"∂{self._name(use.user)}/∂{self._name(x)}"
            product = f"{decimals(use.upstream)} × {decimals(use.local + 0.0)} = {total}"
            first = f"upstream {self._slope(use.user)} × local {local} = {product}"
        else:
            first = f"{len(sent):,} products upstream × local, in all {total}"
        addends = "" if before is None else f"{decimals(before)} + {total} = "
        so_far = f" ({self.seen[x]:,} of {self.uses[x]:,} contributions)" if self.uses[x] > len(sent) else ""
        return [first, f"{self._slope(x)} = {addends}{decimals(self.grads[x])}{so_far}"]


def _joined(texts: Sequence[str], by: str, most: int = SHOWN) -> str:
    """The texts, or the first of them and how many there are."""
    if len(texts) <= most:
        return by.join(texts)
    return by.join([*texts[: most - 2], "…"]) + f" ({len(texts):,} in all)"


def _short(name: str) -> str:
    """A name on one line of a formula."""
    return shortened(printable(name), 32)


def _expression(op: Op, xs: Sequence[str], times: str) -> str:
    """What the operation does to operands that are written like this."""
    if op is ops.dot or op is ops.total:
        n = len(xs) // 2 if op is ops.dot else 0
        terms = [f"{w} {times} {x}" for w, x in zip(xs, xs[n : 2 * n])] + [*xs[2 * n :]]
        return _joined(terms, " + ", 4)
    if op is ops.neg:
        return f"-({xs[0]})" if xs[0].startswith("-") else f"-{xs[0]}"
    if op is ops.power:
        return f"({xs[0]})**{xs[1]}" if xs[0].startswith("-") else f"{xs[0]}**{xs[1]}"
    if is_infix(op, len(xs)):
        return f"{xs[0]} {times if op is ops.mul else op.symbol} {xs[1]}"
    return f"{op.symbol}({_joined(xs, ', ', 5)})"
