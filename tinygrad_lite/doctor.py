"""What is wrong with this training? One step, under observation."""

from __future__ import annotations

import html
import math
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple

from . import nn, ops
from .engine import Value, anomaly, gradients, no_grad, no_grad_active, topological_order
from .mistakes import TrainingWarning, not_a_loss
from .optim import Optimizer

FLAT = 0.06  # of the steepest slope, which tanh has left at |tanh z| = 0.97
UNSCALED = 3.0  # root mean square of an input; of a standardised one it is 1
MOST = 0.5  # of a layer's units or outputs


class Finding(NamedTuple):
    """One thing that is probably wrong: its name, what was seen, and what to do about it."""

    name: str
    seen: str
    do: str


class Part(NamedTuple):
    """A layer, or parameters that belong to none, in one step.

    units: how many neurons, dead: of which no example sends a gradient back. saturated: the share of outputs, from
    0 to 1, where |phi'(z)| is below 0.06 of its steepest; None where the activation does not saturate. output: the
    root mean square of the outputs. gradient: the norm of d loss / d parameters. ratio: the norm of the step by the
    norm of the parameters; around 0.001 is usual.
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
            rows = [_HEADINGS, *map(_cells, self.parts)]
            widths = [max(map(len, column)) for column in zip(*rows)]
            lines += ["", *("  " + _line(row, widths) for row in rows)]
        for i, (name, seen, do) in enumerate(self.findings, start=1):
            lines.append("")
            for start, text in (f"{i}. ", f"{name}: {seen}"), ("   ", do):
                lines += textwrap.wrap(text, 100, initial_indent=start, subsequent_indent="   ")
        return "\n".join(lines if self.findings else [*lines, "", "Nothing found."])

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        def item(finding: Finding) -> str:
            name, seen, do = map(html.escape, finding)
            return f"<li><b>{name}</b>: {seen}<br>{do}</li>"

        table = "".join([row(_HEADINGS, "th"), *(row(_cells(part), "td") for part in self.parts)])
        found = f"<ol>{''.join(map(item, self.findings))}</ol>" if self.findings else "<p>Nothing found.</p>"
        return f"<p>{html.escape(self._headline())}</p>" + (f"<table>{table}</table>" if self.parts else "") + found

    def _headline(self) -> str:
        if not self.loss:
            return f"doctor, {self.examples} examples"
        numbers = " -> ".join(f"{x:.4g}" for x in self.loss)
        return f"doctor, {self.examples} examples: loss {numbers}{self.step}"


def doctor(
    model: nn.Module,
    loss: Callable[[Any, Any], Any],
    X: Sequence[Any],
    y: Sequence[Any],
    opt: Optimizer | None = None,
    examples: int = 100,
) -> Checkup:
    """Runs one training step, says what is wrong with it, and puts everything back as it was.

    loss(x, y): of one example, as for `fit`; or of all, as in a loop by hand: loss(X, y) -> one Value. opt: the
    optimiser whose step is tried; None tries a plain gradient step. X, y: the examples; of more than `examples` it
    takes every second, third, ... The result prints as a table, in a notebook as a page; see `Checkup`, `Part`.

    It looks for: a loss that is no Value, that raises (labels out of range), that was computed beforehand or sums where
    it should average; softmax before cross_entropy, sigmoid before bce_with_logits; numbers that are not finite, in the
    examples or where they were born; parameters that the loss or the optimiser does not know, or that were computed;
    inputs that saturate the first layer; layers dead or saturated; neurons that stay equal; a learning rate that is too
    high or too low.

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
        raise TypeError(f"doctor expects an optimiser, as optim.SGD(model.parameters(), lr=0.1), got {opt!r}")
    if not len(X) or len(X) != len(y):
        raise ValueError(f"doctor expects examples and a target for each, got {len(X)} and {len(y)}")
    if not isinstance(examples, Integral) or examples < 1:
        raise ValueError(f"examples is a whole number of at least 1, got {examples!r}")
    every = -(-len(X) // examples)
    with _unchanged([*model.parameters(), *(opt.params if opt else ())], opt):
        return _Examination(model, loss, X[::every], y[::every], opt).checkup()


class _Examination:
    """What is found out on the way: the findings so far, the step, the parts of the model."""

    def __init__(self, model: nn.Module, loss: Any, X: Sequence[Any], y: Sequence[Any], opt: Optimizer | None) -> None:
        self.model, self.loss, self.X, self.y, self.opt = model, loss, X, y, opt
        self.names = {p: name for name, p in model.named_parameters()}
        self.start = {p: p.data for p in self.names}
        self.computed = {v: name for name, v in nn._walk("", model, set(), Value) if v.op is not None}
        self.whole = False  # is loss(X, y) a function of all examples?
        self.findings: list[Finding] = []

    def checkup(self) -> Checkup:
        objective = self._objective()
        if objective is None:
            return Checkup(tuple(self.findings), examples=len(self.X))
        for p in self.names:
            p.zero_grad()
        objective.backward()
        order = topological_order(objective)
        self._look_at_parameters(order)
        if not all(map(math.isfinite, [objective.data, *(p.grad for p in self.names)])):
            self.found("not finite", *self._birth())
            return Checkup(tuple(self.findings), examples=len(self.X), loss=(objective.data,))
        if self.whole:
            self._look_at_a_sum(objective.data)
        self._look_at_the_loss(order)
        opt, before = self.opt, objective.data
        moves, step, after = self._try_a_step(opt, before) if opt else self._propose_a_step(before)
        parts = self._parts(order, moves)
        self._look_at_parts(parts)
        self._look_at_symmetry(moves)
        return Checkup(tuple(self.findings), tuple(parts), len(self.X), step, (before, after))

    def found(self, name: str, seen: str, do: str) -> None:
        self.findings.append(Finding(name, seen, do))

    # --- the loss

    def _objective(self) -> Value | None:
        """The loss of all examples, as the user's function gives it or as the mean; None where it gives no Value."""
        try:
            value = self._first_call()
            if isinstance(value, Value):
                value = self._loss_of()
        except ExceptionGroup as errors:
            one, of_all = map(_told, errors.exceptions)
            self.found(
                "the loss raises",
                f"with one example {one}; with all of them {of_all}.",
                "loss(x, y) takes one example of X and y, as for fit, or all of them.",
            )
            return None
        except Exception as error:
            self.found("the loss raises", f"{_told(error)}.", "It must do for every example.")
            return None
        if not isinstance(value, Value):
            self.found(
                "the loss is no Value",
                f"it returned {not_a_loss(value)}",
                "Nothing flows back from it; nor from functions of `math`.",
            )
            return None
        return value

    def _first_call(self) -> Any:
        try:
            return self.loss(self.X[0], self.y[0])
        except Exception as of_one:
            try:
                value = self.loss(self.X, self.y)
            except Exception as of_all:
                raise ExceptionGroup("", [of_one, of_all]) from None
            self.whole = True
            return value

    def _loss_of(self, twice: bool = False) -> Any:
        """twice: of every example two times."""
        if self.whole:
            return self.loss(_twice(self.X), _twice(self.y)) if twice else self.loss(self.X, self.y)
        return ops.mean([self.loss(x, t) for x, t in zip(self.X, self.y)])

    def _number(self, twice: bool = False) -> float:
        with no_grad():
            return float(self._loss_of(twice).data)

    def _birth(self) -> tuple[str, str]:
        """Where a number that is not finite comes from, and what to do."""
        for name, part in ("X", self.X), ("y", self.y):
            for example in part:
                for x in nn._flat(example):
                    if isinstance(x, Real) and not math.isfinite(x):
                        return f"{name} holds {x}, in {example!r}.", "Leave that example out, or fill the gap."
        place = "the loss or a gradient."
        try:
            with anomaly():
                self._loss_of().backward()
        except FloatingPointError as error:
            place = str(error)
        return place, "A smaller learning rate, smaller weights, or a safer formula."

    def _look_at_a_sum(self, once: float) -> None:
        twice = self._number(twice=True)
        if twice - once > 0.5 * abs(once):
            n = len(self.X)
            self.found(
                "a summed loss",
                f"with every example twice it is {twice:.4g}, not {once:.4g}: the {n} examples are added up, and the "
                "gradient and every step grow with their number.",
                f"Average: write mean([...]) or sum(...) / len(X), or divide the learning rate by {n}.",
            )

    def _look_at_the_loss(self, order: Sequence[Value]) -> None:
        for op, name, symptom, do in _DOUBLED:
            seen = [symptom(node) for node in order if node.op is op]
            if any(seen) and 2 * sum(seen) >= len(seen):  # softmax itself has another logsumexp, of the scores
                self.found(name, f"{op} reads what is a probability already, and takes it for a score.", do)

    # --- the parameters and the step

    def _look_at_parameters(self, order: Sequence[Value]) -> None:
        anew = set(topological_order(self._loss_of()))
        old = [node for node in order if node.op is not None and node in anew]
        computed = [node for node in old if node in self.computed]
        if computed:
            self.found(
                "a computed parameter",
                f"{self._listed(computed)} was made by {computed[0].op}, as p = p - lr * p.grad does.",
                "Write p.data -= lr * p.grad, which changes the parameter itself.",
            )
        elif old:
            self.found(
                "an old graph",
                f"{len(old)} of the graph's {len(order)} nodes, the first of them made by {old[0].op}, are older than "
                "this call of the loss, and stay as they are after a step.",
                "Compute the loss anew in every step, all of it.",
            )
        unreached = [p for p in self.names if p.before is None]
        if unreached:
            self.found(
                "not in the loss",
                f"the loss is not made of {self._listed(unreached)}: no backward pass reaches it.",
                "Compute the loss from the model's outputs, Values all the way, and not under no_grad().",
            )
        strangers = set(self.names) - set(self.opt.params) if self.opt else set()
        if strangers:
            self.found(
                "not in the optimiser",
                f"{self._listed([p for p in self.names if p in strangers])} is not in its list and stays as it is.",
                "Leave it out where that is meant, to freeze it; else give model.parameters(), of this very model.",
            )

    def _try_a_step(self, opt: Optimizer, before: float) -> tuple[dict[Value, float], str, float]:
        """How this optimiser moves each parameter, the words for it, and the loss after it."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TrainingWarning)
            try:
                opt.step()
            except FloatingPointError as error:
                self.found("no step", f"{error}.", "A smaller learning rate; a loss that is averaged.")
                return dict.fromkeys(self.start, 0.0), ", no step", before
        moves = {p: p.data - data for p, data in self.start.items()}
        after, far = self._after(moves, 1.0), self._after(moves, 1000.0)
        if not after <= before:  # also nan
            share = self._largest(moves, before, range(-1, -9, -1))
            self.found(
                "a learning rate too high",
                f"this step raises the loss from {before:.4g} to {after:.4g}.",
                f"With lr={opt.lr * share:g} it falls." if share else "No smaller one helps: is the gradient right?",
            )
        elif before - far > 500.0 * (before - after) > 0.0:
            self.found(
                "a learning rate too low",
                f"this step lowers the loss by {before - after:.2g}, one 1000 times as long by {before - far:.2g}.",
                f"Try lr={100.0 * opt.lr:g}.",
            )
        elif after == before and set(self.start) <= set(opt.params):
            _, lr, lowest = self._downhill(before)
            if before - lowest > 0.01 * abs(before):
                self.found(
                    "a learning rate too low",
                    f"this step leaves the loss as it is, to the last bit; a plain step with lr={lr:g} lowers it.",
                    f"Try lr={lr:g}.",
                )
        return moves, f" after a step of {type(opt).__name__} with lr={opt.lr:g}", after

    def _propose_a_step(self, before: float) -> tuple[dict[Value, float], str, float]:
        """The same for a plain gradient step, as long as may be."""
        moves, lr, after = self._downhill(before)
        words = f" after a plain step with lr={lr:g}, about the largest that lowers it" if lr else ""
        return moves, words, after

    def _downhill(self, before: float) -> tuple[dict[Value, float], float, float]:
        """The largest plain gradient step that lowers the loss: its moves, its learning rate, the loss after it."""
        downhill = {p: -p.grad for p in self.start}
        lr = self._largest(downhill, before, range(1, -9, -1))
        return {p: lr * move for p, move in downhill.items()}, lr, self._after(downhill, lr)

    def _largest(self, moves: dict[Value, float], before: float, exponents: range) -> float:
        """The first power of ten, times which these moves lower the loss; 0.0 where none does."""
        return next((10.0**k for k in exponents if self._after(moves, 10.0**k) < before), 0.0)

    def _after(self, moves: dict[Value, float], factor: float) -> float:
        """The loss after so many times these moves; nan where it cannot be computed there."""
        for p, data in self.start.items():
            p.data = data + factor * moves[p]
        try:
            return self._number()
        except Exception:
            return math.nan

    # --- the layers

    def _parts(self, order: Sequence[Value], moves: dict[Value, float]) -> list[Part]:
        outputs: dict[Value, list[tuple[float, float]]] = {}  # by the neuron's b: phi(z) and phi'(z)
        layers = self._layers()
        neurons = {n.b: n for ns in layers.values() for n in ns if isinstance(n, nn.Neuron)}
        for node in order:
            if node.op is ops.dot and node.args[-1] in neurons:
                b = node.args[-1]
                outputs.setdefault(b, []).append(respond(neurons[b], node.data))
        parts = []
        for name, members in layers.items():
            ps = [p for m in members for p in (m.parameters() if isinstance(m, nn.Module) else [m])]
            units = [n for n in members if isinstance(n, nn.Neuron)]
            seen = [outputs[n.b] for n in units if n.b in outputs]
            flat = [pair for pairs in seen for pair in pairs]
            curve = steepness(units[0]) if units else [0.0]
            saturates = FLAT * max(curve) > min(curve) > 0.0 and bool(flat)
            weights = math.hypot(*(self.start[p] for p in ps))
            parts.append(
                Part(
                    name,
                    nn.activation_name(units[0].activation) if units else "",
                    len(units),
                    sum(all(slope == 0.0 for _, slope in pairs) for pairs in seen),
                    sum(abs(s) < FLAT * max(curve) for _, s in flat) / len(flat) if saturates else None,
                    math.sqrt(ops.mean([out * out for out, _ in flat])) if flat else math.nan,
                    math.hypot(*(p.grad for p in ps)),
                    math.hypot(*(moves[p] for p in ps)) / weights if weights else math.nan,
                )
            )
        return parts

    def _layers(self) -> dict[str, list[Any]]:
        """The neurons of each layer, and the parameters outside of neurons, under their names."""
        found: dict[str, list[Any]] = {}
        inside: set[Any] = set()
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Layer):
                found[name or type(module).__name__] = list(module.neurons)
                inside.update(module.neurons)
            elif isinstance(module, nn.Neuron) and module not in inside:
                found[name or type(module).__name__] = [module]
        known = {p for ns in found.values() for n in ns for p in n.parameters()}
        for p, name in self.names.items():
            if p not in known:
                found.setdefault(name.rstrip("0123456789.") or name, []).append(p)
        return found

    def _look_at_parts(self, parts: Sequence[Part]) -> None:
        inputs = max(_sizes(self.X), default=0.0)
        for i, part in enumerate(parts):
            dead = part.dead > MOST * part.units
            if not dead and not (part.saturated is not None and part.saturated > MOST):
                continue
            state = f"{part.dead} of {part.units} units" if dead else f"{part.saturated:.0%} of the outputs"
            state += f" of {part.name} are {'dead' if dead else 'saturated'}"
            if i == 0 and inputs > UNSCALED:
                self.found(
                    "inputs not scaled",
                    f"they are as large as {inputs:.3g} (root mean square), and {state}.",
                    "Scale each input to mean 0 and standard deviation 1 over the training data.",
                )
            elif dead:
                self.found(
                    "a dead layer",
                    f"{state}: no example sends a gradient back through them.",
                    f"{part.activation} has derivative 0 there: smaller steps, biases nearer 0, or leaky_relu.",
                )
            elif i < len(parts) - 1:  # an output that is sure of its answer is meant to be
                self.found(
                    "a saturated layer",
                    f"{state}: |{part.activation}'(z)| is below {FLAT:.0%} of its steepest.",
                    'Smaller weights, as of init="lecun_normal" or "xavier_uniform"; or scaled inputs.',
                )

    def _look_at_symmetry(self, moves: dict[Value, float]) -> None:
        for name, members in self._layers().items():
            neurons = [n for n in members if isinstance(n, nn.Neuron)]
            before = {tuple(self.start[p] for p in n.parameters()) for n in neurons}
            after = {tuple(self.start[p] + moves[p] for p in n.parameters()) for n in neurons}
            if max(len(before), len(after)) < len(neurons):
                self.found(
                    "equal neurons",
                    f"{name} has {len(neurons)} neurons and only {len(after)} different, before this step and after "
                    "it: equal weights get equal gradients, for ever.",
                    "Start from random weights, as every init of nn does.",
                )

    def _listed(self, parameters: Sequence[Value]) -> str:
        more = f" and {len(parameters) - 3} more" if len(parameters) > 3 else ""
        names = self.names | self.computed
        return ", ".join(names[p] for p in parameters[:3]) + more


def demand_recording() -> None:
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


def _twice(examples: Sequence[Any]) -> Any:
    return examples.repeat(2, axis=0) if hasattr(examples, "repeat") else list(examples) * 2  # NumPy's, or a list


def _told(error: Exception) -> str:
    """The error, and where in the user's program it came: the innermost frame outside this package."""
    frames = traceback.extract_tb(error.__traceback__)
    here = str(Path(__file__).parent)
    frame = next((f for f in reversed(frames) if not f.filename.startswith(here)), frames[0])
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno}: {frame.line})"


def _sum_to_one(node: Value) -> bool:
    numbers = [x.data if isinstance(x, Value) else x for x in node.args]
    return len(numbers) > 1 and min(numbers) >= 0.0 and abs(sum(numbers) - 1.0) < 1e-9


def _is_sigmoid(node: Value) -> bool:
    (x,) = node.args
    if x.op is ops.neg:
        (x,) = x.args
    return x.op is ops.sigmoid


# an operation of a loss on scores, its finding, how its node gives it away, what to do
_DOUBLED: tuple[tuple[ops.Op, str, Callable[[Value], bool], str], ...] = (
    (
        ops.logsumexp, "softmax before cross_entropy", _sum_to_one,
        "Give cross_entropy the scores as they leave the last layer; it has softmax in it.",
    ),
    (
        ops.softplus, "sigmoid before bce_with_logits", _is_sigmoid,
        'Give it the score as it leaves the last layer (output="linear"); it has sigmoid in it.',
    ),
)  # fmt: skip


def _sizes(X: Sequence[Any]) -> list[float]:
    """The root mean square of each input over the examples; nothing where examples are no lists of numbers."""
    rows = [[x] if isinstance(x, (int, float)) else list(x) if hasattr(x, "__len__") else [] for x in X]
    try:
        return [math.sqrt(ops.mean([ops.as_float(x) ** 2 for x in column])) for column in zip(*rows)]
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
        part.name,
        part.activation or dash,
        str(part.units) if part.units else dash,
        str(part.dead) if part.units else dash,
        dash if part.saturated is None else f"{part.saturated:.0%}",
        dash if math.isnan(part.output) else f"{part.output:.3g}",
        f"{part.gradient:.3g}",
        dash if math.isnan(part.ratio) else f"{part.ratio:.2g}",
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [f"{cell:<{width}}" for cell, width in zip(cells[:2], widths)]
    return "  ".join([*left, *(f"{cell:>{width}}" for cell, width in zip(cells[2:], widths[2:]))]).rstrip()
