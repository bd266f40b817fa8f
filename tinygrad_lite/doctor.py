"""What is wrong with this training? One step, under observation."""

from __future__ import annotations

import html
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import NamedTuple

from . import expect, nn, ops
from .contents import brief
from .derivatives import gradients
from .engine import Value, topological_order
from .examples import one_by_one, pairs
from .mistakes import TrainingWarning, forgotten, not_a_loss, raised_at
from .modes import anomaly, no_grad, no_grad_active
from .notation import aligned, filled, printable
from .op import Op, as_float
from .optim import Optimizer

FLAT = 0.06  # of the steepest slope, which tanh has left at |tanh z| = 0.97
UNSCALED = 3.0  # root mean square of an input; of a standardised one it is 1
MOST = 0.5  # of a layer's units or outputs
Loss = Callable[..., Value]
Examples = Sequence[object]
Moves = dict[Value, float]  # what a step adds to each parameter
Responses = list[tuple[float, float]]  # phi(z) and phi'(z) of a neuron, for each example


class Finding(NamedTuple):
    """One thing that is probably wrong: its name, what was seen, and what to do about it."""

    name: str
    seen: str
    do: str


class Part(NamedTuple):
    """A layer, or parameters that belong to none, in one step.

    Attributes
    ----------
    units, dead : how many neurons, and of how many no example sends a gradient back
    saturated : the share of outputs, from 0 to 1, where |phi'(z)| is below 0.06 of its steepest; None where the
        activation does not saturate
    output : the root mean square of the outputs
    gradient : the norm of d loss / d parameters
    ratio : the norm of the step by the norm of the parameters; around 0.001 is usual
    """

    name: str
    activation: str
    units: int
    dead: int
    saturated: float | None
    output: float
    gradient: float
    ratio: float


@dataclass(frozen=True, repr=False)
class Checkup:
    """What `doctor` found. ok: nothing. step: which step was tried. loss: before and after it."""

    findings: tuple[Finding, ...]
    parts: tuple[Part, ...] = ()
    examples: int = 0
    step: str = ""
    loss: tuple[float, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.findings

    def __repr__(self) -> str:
        lines = [self._headline()]
        if self.parts:
            lines += ["", *aligned([_HEADINGS, *map(_cells, self.parts)], "llrrrrrr")]
        for i, (name, seen, do) in enumerate(self.findings, start=1):
            found, advice = printable(f"{i}. {name}: {seen}"), printable(f"   {do}")
            lines += ["", filled(found, indent="   "), filled(advice, indent="   ")]
        return "\n".join(lines if self.findings else [*lines, "", "Nothing found."])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        def item(finding: Finding) -> str:
            name, seen, do = map(html.escape, map(printable, finding))
            return f"<li><b>{name}</b>: {seen}<br>{do}</li>"

        table = "".join([row(_HEADINGS, "th"), *(row(_cells(part), "td") for part in self.parts)])
        found = f"<ol>{''.join(map(item, self.findings))}</ol>" if self.findings else "<p>Nothing found.</p>"
        return f"<p>{html.escape(self._headline())}</p>" + (f"<table>{table}</table>" if self.parts else "") + found

    def _headline(self) -> str:
        numbers = " -> ".join(f"{x:.4g}" for x in self.loss)
        return f"doctor, {self.examples} examples" + (f": loss {numbers}{self.step}" if self.loss else "")


def doctor(
    model: nn.Module, loss: Loss, X: Examples, y: Examples, opt: Optimizer | None = None, examples: int = 100
) -> Checkup:
    """Runs one training step, says what is wrong with it, and puts everything back as it was.

    It looks for: a loss that is not a Value, that raises (labels out of range), that was computed beforehand or sums
    where it should average; softmax before cross_entropy, sigmoid before bce_with_logits; numbers that are not finite,
    in the examples or where they first appear; parameters that the loss, the optimiser or the model does not know, or
    that were computed; inputs that saturate the first layer; dead or saturated layers; neurons that stay equal; a
    learning rate that is too high or too low.

    Parameters
    ----------
    loss : loss(x, y) of one example, as for `fit`; or of all, as in a loop by hand: loss(X, y) -> one Value
    X, y : the examples; of more than `examples` it takes every second, third, ...
    opt : the optimiser whose step is tried; None tries a plain gradient step

    Returns
    -------
    A `Checkup`, which prints as a table (see `Part`) and the findings, in a notebook as a page.

    >>> model = nn.MLP(1, [4, 1], activation="tanh", init=lambda nin, rng: 0.5)
    >>> doctor(model, lambda x, y: nn.mse(model(x), y), [[0.1], [0.9]], [0.0, 1.0]).findings[0].name
    'equal neurons'
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"doctor expects a model, an nn.Module, got {model!r}")
    demand_recording()
    if isinstance(loss, Value) or not callable(loss):
        raise TypeError(f"doctor expects the loss as a function, loss(x, y) -> one Value, got {loss!r}")
    if opt is not None and not isinstance(opt, Optimizer):
        raise TypeError(f"doctor expects an optimiser such as optim.SGD(model.parameters(), lr=0.1), got {opt!r}")
    X, y = pairs("doctor", X, y, other=True)
    every = -(-len(X) // expect.whole("examples", examples))
    with _unchanged([*model.parameters(), *(opt.params if opt else ())], opt):
        return _Examination(model, loss, X[::every], y[::every], opt).checkup()


class _Step(NamedTuple):
    """A step that was tried. words: which. after: the loss after it."""

    moves: Moves
    words: str
    after: float
    findings: Sequence[Finding] = ()


class _Examination:
    """A model, its loss and its examples. whole: its loss is a function of them all."""

    def __init__(self, model: nn.Module, loss: Loss, X: Examples, y: Examples, opt: Optimizer | None) -> None:
        self.model, self.loss, self.X, self.y, self.opt = model, loss, X, y, opt
        self.names = {p: name for name, p in model.named_parameters()}
        self.start = {p: p.data for p in self.names}
        self.whole = False

    def checkup(self) -> Checkup:
        objective, n = self.objective(), len(self.X)
        if isinstance(objective, Finding):
            return Checkup((objective,), examples=n)
        for p in self.names:
            p.zero_grad()
        objective.backward()
        before, order = objective.data, topological_order(objective)
        findings = list(self.look_at_parameters(order))
        if not all(map(math.isfinite, [before, *(p.grad for p in self.names)])):
            return Checkup((*findings, self.not_finite()), examples=n, loss=(before,))
        findings += [*self.look_at_a_sum(before), *_look_at_the_loss(order)]
        step = self.try_step(self.opt, before) if self.opt else self.propose_step(before)
        layers = self.layers()
        parts = self.parts(layers, order, step.moves)
        findings += [*step.findings, *_look_at_parts(parts, self.X), *self.look_at_symmetry(layers, step.moves)]
        return Checkup(tuple(findings), tuple(parts), n, step.words, (before, step.after))

    # --- the loss

    def objective(self) -> Value | Finding:
        """The loss of all examples, or why there is none."""
        try:
            value = self.loss(one_by_one(self.X)[0], one_by_one(self.y)[0])
        except Exception as of_one:
            try:
                value, self.whole = self.loss(self.X, self.y), True
            except Exception as of_all:
                seen = f"with one example {_told(of_one)}; with all of them {_told(of_all)}."
                do = "loss(x, y) takes one example of X and y, as for fit, or all of them."
                return Finding("the loss raises", seen, do)
        try:
            value = self.loss_of(self.X, self.y) if isinstance(value, Value) else value
        except Exception as error:
            return Finding("the loss raises", f"{_told(error)}.", "It must work for every example.")
        if isinstance(value, Value):
            return value
        do = "No gradient flows back from it, nor through functions of `math`."
        return Finding("the loss is not a Value", f"it returned {not_a_loss(value)}", do)

    def loss_of(self, X: Examples, y: Examples) -> Value:
        """As the user's function gives it for all of these examples, or the mean of what it gives for each."""
        if self.whole:
            return self.loss(X, y)
        return ops.mean([self.loss(x, t) for x, t in zip(one_by_one(X), one_by_one(y))])

    def number(self, X: Examples, y: Examples) -> float:
        with no_grad():
            return float(self.loss_of(X, y).data)

    def not_finite(self) -> Finding:
        """Where a number that is not finite comes from, and what to do."""
        for name, part in ("X", self.X), ("y", self.y):
            for example in part:
                for x in nn.flat(example):
                    if isinstance(x, Real) and not math.isfinite(x):
                        seen = f"{name} holds {x}, in {example!r}."
                        return Finding("not finite", seen, "Leave that example out, or fill the gap.")
        seen = "the loss or a gradient."
        try:
            with anomaly():
                self.loss_of(self.X, self.y).backward()
        except FloatingPointError as error:
            seen = str(error)
        return Finding("not finite", seen, "A smaller learning rate, smaller weights, or a safer formula.")

    def look_at_a_sum(self, once: float) -> Iterator[Finding]:
        twice = self.number(_twice(self.X), _twice(self.y)) if self.whole else once
        if twice - once > 0.5 * abs(once):
            n = len(self.X)
            seen = f"with every example twice it is {twice:.4g}, not {once:.4g}: the {n} examples are added up, "
            seen += "and the gradient and every step grow with their number."
            do = f"Average: write mean([...]) or sum(...) / len(X), or divide the learning rate by {n}."
            yield Finding("a summed loss", seen, do)

    # --- the parameters and the step

    def look_at_parameters(self, order: Sequence[Value]) -> Iterator[Finding]:
        anew = set(topological_order(self.loss_of(self.X, self.y)))
        old = [node for node in order if node.op is not None and node in anew]
        kept = {v: name for name, v in self.model.named_values() if v.op is not None}
        computed = [node for node in old if node in kept]
        if computed:
            seen = f"{_listed(computed, kept)} was made by {computed[0].op}, as by p = p - lr * p.grad."
            do = "Write p.data -= lr * p.grad, which changes the parameter itself."
            yield Finding("a computed parameter", seen, do)
        elif old:
            seen = f"{len(old)} of the graph's {len(order)} nodes, the first of them made by {old[0].op}, are older "
            seen += "than this call of the loss, and a step does not change them."
            yield Finding("an old graph", seen, "Compute the whole loss anew in every step.")
        unreached = [p for p in self.names if p.before is None]
        if unreached:
            seen = f"the loss is not made of {_listed(unreached, self.names)}: no backward pass reaches it."
            do = "Compute the loss from the model's outputs, Values all the way, and not under no_grad()."
            yield Finding("not in the loss", seen, do)
        known = set(self.opt.params if self.opt else self.names)
        strangers = [p for p in self.names if p not in known]
        if strangers:
            seen = f"{_listed(strangers, self.names)} is not in its list and stays as it is."
            do = "Leave it out if you mean to freeze it; else give model.parameters(), of this very model."
            yield Finding("not in the optimiser", seen, do)
        outside = {v: name for v, name in forgotten([self.model], known, order).items() if v not in self.names}
        if outside:
            seen = f"the loss is made of {_listed(list(outside), outside)}: it is neither trained nor saved."
            yield Finding("not in the model", seen, "Keep it in an attribute of the model; or use its number, .data.")

    def try_step(self, opt: Optimizer, before: float) -> _Step:
        """One step of this optimiser."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingWarning)
            try:
                opt.step()
            except FloatingPointError as error:
                finding = Finding("no step", f"{error}.", "A smaller learning rate; a loss that is averaged.")
                return _Step(dict.fromkeys(self.start, 0.0), ", no step", before, [finding])
        moves = {p: p.data - data for p, data in self.start.items()}
        after = self.after(moves)
        words = f" after a step of {type(opt).__name__} with lr={opt.lr:g}"
        return _Step(moves, words, after, list(self.look_at_the_rate(opt, moves, before, after)))

    def look_at_the_rate(self, opt: Optimizer, moves: Moves, before: float, after: float) -> Iterator[Finding]:
        far = self.after(moves, 1000.0)
        high, low = "a learning rate too high", "a learning rate too low"
        if not after <= before:  # also nan
            share = self.largest(moves, before, range(-1, -9, -1))
            do = f"With lr={opt.lr * share:g} it falls." if share else "No smaller one helps: is the gradient right?"
            yield Finding(high, f"this step raises the loss from {before:.4g} to {after:.4g}.", do)
        elif before - far > 500.0 * (before - after) > 0.0:
            seen = f"this step lowers the loss by {before - after:.2g}, one 1000 times as long by {before - far:.2g}."
            yield Finding(low, seen, f"Try lr={100.0 * opt.lr:g}.")
        elif after == before and set(self.start) <= set(opt.params):
            _, lr, lowest = self.downhill(before)
            if before - lowest > 0.01 * abs(before):
                seen = f"this step leaves the loss as it is, to the last bit; a plain step with lr={lr:g} lowers it."
                yield Finding(low, seen, f"Try lr={lr:g}.")

    def propose_step(self, before: float) -> _Step:
        """The longest plain gradient step that lowers the loss."""
        moves, lr, after = self.downhill(before)
        words = f" after a plain step with lr={lr:g}, about the largest that lowers it"
        return _Step(moves, words if lr else "", after)

    def downhill(self, before: float) -> tuple[Moves, float, float]:
        """The largest plain gradient step that lowers the loss: its moves, its learning rate, the loss after it."""
        downhill = {p: -p.grad for p in self.start}
        lr = self.largest(downhill, before, range(1, -9, -1))
        return {p: lr * move for p, move in downhill.items()}, lr, self.after(downhill, lr)

    def largest(self, moves: Moves, before: float, exponents: range) -> float:
        """The first power of ten, times which these moves lower the loss; 0.0 where none does."""
        return next((10.0**k for k in exponents if self.after(moves, 10.0**k) < before), 0.0)

    def after(self, moves: Moves, factor: float = 1.0) -> float:
        """The loss after so many times these moves; nan where it cannot be computed there."""
        for p, data in self.start.items():
            p.data = data + factor * moves[p]
        try:
            return self.number(self.X, self.y)
        except Exception:
            return math.nan

    # --- the layers

    def layers(self) -> dict[str, list[nn.Neuron]]:
        """The neurons of each layer, and those of no layer one by one."""
        found: dict[str, list[nn.Neuron]] = {}
        inside: set[int] = set()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Layer):
                found[name or type(module).__name__] = list(module.neurons)
                inside.update(map(id, module.neurons))
            elif isinstance(module, nn.Neuron) and id(module) not in inside:
                found[name or type(module).__name__] = [module]
        return found

    def parts(self, layers: dict[str, list[nn.Neuron]], order: Sequence[Value], moves: Moves) -> list[Part]:
        neuron_of = {n.b: n for ns in layers.values() for n in ns}
        responses: dict[Value, Responses] = {b: [] for b in neuron_of}
        for node in order:
            if node.op is ops.dot and (b := node.args[-1]) in responses:
                responses[b].append(respond(neuron_of[b], node.data))
        members = {name: [p for n in ns for p in n.parameters()] for name, ns in layers.items()}
        known = {p for ps in members.values() for p in ps}
        for p, name in self.names.items():
            if p not in known:
                members.setdefault(name.rstrip("0123456789.") or name, []).append(p)
        return [self.part(name, layers.get(name, []), ps, responses, moves) for name, ps in members.items()]

    def part(
        self, name: str, units: list[nn.Neuron], ps: list[Value], responses: dict[Value, Responses], moves: Moves
    ) -> Part:
        seen = [responses[n.b] for n in units if responses[n.b]]
        outputs, slopes = [out for pairs in seen for out, _ in pairs], [abs(s) for pairs in seen for _, s in pairs]
        curve = steepness(units[0]) if units else [0.0]
        saturates = FLAT * max(curve) > min(curve) > 0.0 and bool(slopes)
        weights = math.hypot(*(self.start[p] for p in ps))
        return Part(
            name,
            nn.activation_name(units[0].activation) if units else "",
            len(units),
            sum(all(slope == 0.0 for _, slope in pairs) for pairs in seen),
            sum(slope < FLAT * max(curve) for slope in slopes) / len(slopes) if saturates else None,
            math.sqrt(ops.mean([out * out for out in outputs])) if outputs else math.nan,
            math.hypot(*(p.grad for p in ps)),
            math.hypot(*(moves[p] for p in ps)) / weights if weights else math.nan,
        )

    def look_at_symmetry(self, layers: dict[str, list[nn.Neuron]], moves: Moves) -> Iterator[Finding]:
        for name, neurons in layers.items():
            before = {tuple(self.start[p] for p in n.parameters()) for n in neurons}
            after = {tuple(self.start[p] + moves[p] for p in n.parameters()) for n in neurons}
            if max(len(before), len(after)) < len(neurons):
                seen = f"{name} has {len(neurons)} neurons and only {len(after)} different, before this step and after "
                seen += "it: equal weights get equal gradients, forever."
                yield Finding("equal neurons", seen, "Start from random weights, as every init of nn does.")


def _look_at_the_loss(order: Sequence[Value]) -> Iterator[Finding]:
    for op, name, symptom, do in _DOUBLED:
        seen = [symptom(node) for node in order if node.op is op]
        if any(seen) and 2 * sum(seen) >= len(seen):
            yield Finding(name, f"{op} takes for a score what is a probability already.", do)


def _look_at_parts(parts: Sequence[Part], X: Examples) -> Iterator[Finding]:
    inputs = max(_sizes(X), default=0.0)
    for i, part in enumerate(parts):
        dead = part.dead > MOST * part.units
        if not dead and (part.saturated or 0.0) <= MOST:
            continue
        state = f"{part.dead} of {part.units} units" if dead else f"{part.saturated:.0%} of the outputs"
        state += f" of {part.name} are {'dead' if dead else 'saturated'}"
        if i == 0 and inputs > UNSCALED:
            seen = f"they are as large as {inputs:.3g} (root mean square), and {state}."
            do = "Scale each input to mean 0 and standard deviation 1 over the training data."
            yield Finding("inputs not scaled", seen, do)
        elif dead:
            seen = f"{state}: no example sends a gradient back through them."
            do = f"{part.activation} has derivative 0 there: smaller steps, biases nearer 0, or leaky_relu."
            yield Finding("a dead layer", seen, do)
        elif i < len(parts) - 1:  # an output that is sure of its answer is meant to be
            seen = f"{state}: |{part.activation}'(z)| is below {FLAT:.0%} of its steepest."
            do = 'Smaller weights, as from init="lecun_normal" or "xavier_uniform"; or scaled inputs.'
            yield Finding("a saturated layer", seen, do)


def _listed(values: Sequence[Value], names: dict[Value, str]) -> str:
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(v.label or brief(names[v]) for v in values[:3]) + more


def demand_recording() -> None:
    """RuntimeError inside no_grad()."""
    if no_grad_active():
        raise RuntimeError("inside no_grad() nothing is recorded, so there are no gradients to look at: leave it first")


def respond(neuron: nn.Neuron, z: float) -> tuple[float, float]:
    """phi(z) and phi'(z) of this neuron's activation phi. RuntimeError inside no_grad()."""
    demand_recording()
    leaf = Value(z)
    out = (nn.ACTIVATIONS[phi] if isinstance(phi := neuron.activation, str) else phi)(leaf)
    return out.data, gradients(topological_order(out)).get(leaf, 0.0)


def steepness(neuron: nn.Neuron) -> list[float]:
    """|phi'(z)| at z = -5, -4.9, ..., 5."""
    return [abs(respond(neuron, z / 10.0)[1]) for z in range(-50, 51)]


def _twice(examples: Examples) -> Examples:
    return examples.repeat(2, axis=0) if hasattr(examples, "repeat") else list(examples) * 2  # NumPy's, or a list


def _told(error: Exception) -> str:
    """The error, and where in the user's program it came: the innermost frame outside this package."""
    frame = raised_at(error)
    where = f" ({frame.filename}:{frame.lineno}: {frame.line})" if frame else ""
    return f"{type(error).__name__}: {error}{where}"


def _sum_to_one(node: Value) -> bool:
    scores = node.args[:-1] if node.op is ops.cross_entropy else node.args  # without the class
    numbers = [x.data if isinstance(x, Value) else x for x in scores]
    return len(numbers) > 1 and min(numbers) >= 0.0 and abs(sum(numbers) - 1.0) < 1e-9


def _is_sigmoid(node: Value) -> bool:
    (x,) = node.args
    if x.op is ops.neg:
        (x,) = x.args
    return x.op is ops.sigmoid


# an operation of a loss on scores, its finding, how its node gives it away, what to do
_DOUBLED: tuple[tuple[Op, str, Callable[[Value], bool], str], ...] = (
    *(
        (
            op, "softmax before cross_entropy", _sum_to_one,
            "Give cross_entropy the scores as they leave the last layer; it has softmax in it.",
        )
        for op in (ops.cross_entropy, ops.logsumexp)
    ),
    (
        ops.softplus, "sigmoid before bce_with_logits", _is_sigmoid,
        'Give it the score as it leaves the last layer (output="linear"); it has sigmoid in it.',
    ),
)  # fmt: skip


def _sizes(X: Examples) -> list[float]:
    """The root mean square of each input over the examples; nothing where examples are no lists of numbers."""
    rows = [list(x) if isinstance(x, Iterable) else [x] for x in X]
    try:
        return [math.sqrt(ops.mean([as_float(x) ** 2 for x in column])) for column in zip(*rows)]
    except TypeError:
        return []


@contextmanager
def _unchanged(parameters: Sequence[Value], opt: Optimizer | None) -> Iterator[None]:
    """Afterwards numbers, gradients and optimiser are as they were, whatever happens."""
    before = [(p, p.data, p.grad, getattr(p, "before", None)) for p in parameters]
    state = vars(opt).copy() if opt else {}
    try:
        yield
    finally:
        for p, data, grad, began in before:
            p.data, p.grad, p.before = data, grad, began
        if opt:
            vars(opt).update(state)


_HEADINGS = ("part", "activation", "units", "dead", "saturated", "|output|", "|gradient|", "step / weight")


def _cells(part: Part) -> tuple[str, ...]:
    dash = "-"
    return (
        printable(part.name),
        printable(part.activation) or dash,
        str(part.units) if part.units else dash,
        str(part.dead) if part.units else dash,
        dash if part.saturated is None else f"{part.saturated:.0%}",
        dash if math.isnan(part.output) else f"{part.output:.3g}",
        f"{part.gradient:.3g}",
        dash if math.isnan(part.ratio) else f"{part.ratio:.2g}",
    )
