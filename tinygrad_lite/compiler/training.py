"""Whole epochs of `fit`, compiled; parameters and state are in arrays meanwhile."""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import cast

import numpy as np

from ..contents import is_own, leading_to
from ..engine import Value, anomaly_active
from ..examples import Examples
from ..mistakes import not_a_loss
from ..ops import Op
from ..optim import Optimizer
from . import native, trust
from .backends import Backend
from .batches import batch_of, blame, check_preconditions, numbers_of
from .computation import Computation, Update
from .loop import AT, EPOCHS, LOSS, PLACES, RUNNING, SEEN, STEPS, STILL, Loop
from .program import Program, graph_key
from .trace import Array, Number, Trace, Tracer, trace, traced_nodes

__all__ = ["RUNNING", "STILL", "Trainer"]
ATOMS = (bool, int, float, str, np.generic)
SHORT, MOST_READ = 64, 2000  # entries of a list that may be settings; parts that are looked at


class Trainer:
    """Trains opt.params by a backend, some steps at a time.

    The optimiser's `update` is traced once and runs on many parameters at a time. Parameters and
    optimiser state change together, after a step's numbers have all been found finite.
    """

    def __init__(
        self,
        loss: Callable[..., object],
        opt: Optimizer,
        X: Examples[object],
        y: Examples[object],
        batch: int,
        seed: int,
        penalty: Callable[[], object] | None,
        tol: float | None,
        clip: float | None = None,
        check: bool = True,
        backend: str | None = None,
    ) -> None:
        self.backend = Backend.chosen(backend)
        self.examples = batch_of([X, y])
        self.loss, self.opt, self.batch, self.tol, self.clip = loss, opt, batch, tol, clip
        self.penalty_function, self.check = penalty, check
        self._record()
        self._programs: dict[bool, Program] = {}
        self._settings = _settings(opt)
        self.exact = False
        program = self.program()
        self.rows, self.padded = self.examples.rows(program.row), program.padded
        self.order = np.arange(self.examples.n)
        self.random = np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
        self.parameters = native.aligned(self.padded)
        self.state = native.aligned(max(1, self.padded * opt.state_size))
        self.news = native.aligned(self.padded * (1 + opt.state_size))
        self.made = 0
        self.gradients: Array | None = None
        self.progress = np.zeros(PLACES)
        self.ahead = False  # have steps been made that the Values do not show yet?
        self._read: list[object] | None = None
        self.pull()
        if check:
            self._check()
        self._read = numbers_read([loss, penalty])

    def _record(self) -> None:
        """Traces loss and penalty, with the numbers that they read now."""
        loss, opt, penalty = self.loss, self.opt, self.penalty_function
        self.traced = trace(loss, self.examples.shapes, opt.params)
        if not self.traced.captured:  # is it a number, or a Value that no parameter takes part in?
            result = loss(*self.examples.example(0))
            if not isinstance(result, Value):
                raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(result)}")
        if isinstance(self.traced.structure, list):
            raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(self.traced.structure)}")
        check_preconditions(self.traced, self.examples)
        self.penalty = trace(penalty, [], opt.params) if penalty is not None else None
        if self.penalty is not None and isinstance(self.penalty.structure, list):
            raise TypeError("penalty() must return one Value, such as nn.l2(model.parameters(), 1e-4), got a list")
        self._order_places()

    def _records_anew(self) -> bool:
        """Traces again. Is the graph another one?"""
        before, values = self._key(), self.values
        self._record()
        return self._key() != before or self.values != values

    def _key(self) -> list[Hashable]:
        return [graph_key(traced, traced.places) for traced in (self.traced, self.penalty) if traced]

    def _check(self) -> None:
        """ValueError where native code computes another loss, gradient or step than the engine. See trust.py."""
        loss, penalty, program = self.loss, self.penalty_function, self.program()
        numbers = numbers_of(self.values)

        def native(i: int) -> Array:
            return program(self.rows, np.array([i]), 1.0, numbers).reshape(1, -1)

        def engine(*example: object) -> list[Number]:
            value = cast(Value, loss(*example))
            return [value if penalty is None else value + cast(Value, penalty())]

        at = trust.places(self.examples.n, len(self.traced.inputs) + len(self.values))
        trust.check_examples("the loss", self.examples.given, at, engine, native, self.values)
        opt, k = self.opt, len(self.opt.params)
        before = [(p.data, *state) for p, state in zip(opt.params, opt.state)]
        kept = [a.copy() for a in (self.parameters, self.state, self.order, self.random, self.progress)]
        status, _ = self.run(np.full(1, opt.lr))
        if status == RUNNING and self.gradients is not None:
            after = self.news.reshape(1 + opt.state_size, self.padded)[:, :k].T
            trust.check_update(opt, before, self.gradients.tolist(), after)
        for array, old in zip((self.parameters, self.state, self.order, self.random, self.progress), kept):
            array[:] = old
        self.ahead, self.gradients = False, None

    def read(self, X: Examples[object], y: Examples[object]) -> None:
        """Other examples, as many and of the same shapes."""
        examples = batch_of([X, y])
        if examples.shapes != self.examples.shapes:
            raise ValueError(f"fit began with examples of shapes {self.examples.shapes}, got {examples.shapes}")
        check_preconditions(self.traced, examples)
        self.examples, self.rows = examples, examples.rows(self.rows.shape[1])

    def _order_places(self) -> None:
        """Placeholders in the order of opt.params, then of what else the loss uses."""
        place_of: dict[Value, Tracer] = {}
        self.joined: dict[Value, Tracer] = {}
        for traced in (self.traced, self.penalty):
            if traced is not None:
                for value, place in zip(traced.captured, traced.places):
                    self.joined[place] = place_of.setdefault(value, place)
        own = set(self.opt.params)
        self.unreached = [i for i, p in enumerate(self.opt.params) if p not in place_of]  # every step skips them
        if self.unreached:
            self.opt.warn_unreached(self.unreached)
        others = [value for value in place_of if value not in own]
        self.values = [*self.opt.params, *others]
        self.places = [place_of[value] if value in place_of else Tracer.leaf(0) for value in self.values]
        for value in others:
            if value.op is not None:
                raise ValueError(
                    f"the loss uses {value!r}, which was computed outside of it and would not be computed again; "
                    "compute it inside the loss, or train with compiled=False"
                )

    def program(self) -> Program:
        """The program of a step, quick or exact."""
        if self.exact not in self._programs:
            penalty = None if self.penalty is None else _on_places(self.penalty, self.joined)
            with native.no_collector():
                step = Computation(self.traced, "sum", False, self.exact, self.places, penalty)
                update = Update(self.opt)
                if _settings(self.opt) != self._settings:
                    raise ValueError(
                        f"{type(self.opt).__name__}.update changes attributes of its own, which a step in native code "
                        "does not: keep what changes in its state (state_size)"
                    )
                made = self.backend.steps(
                    step, update, len(self.opt.params), self.tol is not None, self.clip is not None
                )
            self._programs[self.exact] = made
        return self._programs[self.exact]

    def pull(self) -> None:
        """Reads parameters and optimiser state from their Values; what a callback set in the optimiser is compiled, and
        a number that the loss reads."""
        opt, k = self.opt, len(self.opt.params)
        read = None if self._read is None else numbers_read([self.loss, self.penalty_function])
        anew = read != self._read and self._records_anew()
        if anew or _settings(opt) != self._settings:
            self._settings = _settings(opt)
            self._programs.clear()
        self.parameters[:k] = numbers_of(opt.params)
        for s in range(opt.state_size):
            self.state[s * self.padded : s * self.padded + k] = [state[s] for state in opt.state]
        self.made = self.steps if self.progress[STEPS] else self.made
        self.start_steps = opt.t
        self.progress[STEPS] = 0.0
        if anew and self.check:
            self._check()
        if read != self._read:
            self._read = numbers_read([self.loss, self.penalty_function])

    def push(self) -> None:
        """Writes them back, as they are after the last whole step, once: what a callback changes stays."""
        if not self.ahead:
            return
        opt, k = self.opt, len(self.opt.params)
        numbers = self.parameters[:k].tolist()
        columns = [self.state[s * self.padded : s * self.padded + k].tolist() for s in range(opt.state_size)]
        steps = int(self.progress[STEPS])
        opt.lr = float(self.rates[max(0, steps - self.begun - 1)])  # of the last step, or of the one that is due
        opt.commit(numbers, list(zip(*columns)) if columns else [()] * k, self.start_steps + steps, self.unreached)
        self.ahead = False
        if self.gradients is not None:
            for p, g in zip(opt.params, self.gradients.tolist()):
                p.grad = g
            opt.spend()

    @property
    def steps(self) -> int:
        """Updates made since the start."""
        return self.made + int(self.progress[STEPS])

    @property
    def partial(self) -> float | None:
        """The mean loss of the examples seen in an epoch that is not over; None between epochs."""
        return float(self.progress[LOSS] * self.examples.n / self.progress[SEEN]) if self.progress[SEEN] else None

    def blame(self) -> None:
        """Under anomaly(): FloatingPointError that names the example of this batch, the operation, the line."""
        if anomaly_active():
            at = int(self.progress[AT])
            blame(self.loss, self.examples, self.order[at : at + self.batch].tolist())

    def run(self, rates: Array) -> tuple[int, list[float]]:
        """len(rates) steps at these learning rates. Returns RUNNING, or why it stopped early, and the mean
        loss of each epoch that ended."""
        program, k = self.program(), len(self.opt.params)
        self.rates, self.begun, self.ahead = rates, int(self.progress[STEPS]), True
        self.progress[EPOCHS] = 0.0
        loop = Loop(
            self.rows, self.order, self.random, numbers_of(self.values[k:]), self.parameters, self.state, self.news,
            np.zeros(k), rates, np.zeros(len(rates) + 1), self.progress, self.batch, self.start_steps, self.tol,
            self.clip,
        )  # fmt: skip
        status = RUNNING
        try:
            status, self.last_loss = program.train(loop)
        finally:  # also of the whole steps before Ctrl-C
            if status != RUNNING or self.progress[STEPS] > self.begun:
                self.gradients = loop.gradients
        return status, loop.losses[: int(self.progress[EPOCHS])].tolist()


def _settings(opt: Optimizer) -> dict[str, str]:
    """What `update` may read, beside its arguments, as momentum and weight_decay."""
    own = {"_lr", "t", "params", "state", "last_step"}
    return {name: repr(x) for name, x in vars(opt).items() if name not in own}


def numbers_read(functions: Sequence[object]) -> list[object]:
    """The plain numbers and texts that these functions read: closed over or global, their own or those of functions
    that they call, in short lists and dicts, as attributes of objects. A Value is read at each step anyway."""
    found: list[object] = []
    parts, seen = list(functions), set(map(id, functions))
    for part in itertools.islice(parts, MOST_READ):  # which grows meanwhile
        if isinstance(part, ATOMS):
            found.append((type(part), part))
            continue
        inside = [x for x in _read_from(part) if isinstance(x, ATOMS) or id(x) not in seen]
        seen.update(map(id, inside))
        parts += inside
    return found


def _read_from(part: object) -> Iterable[object]:
    """What code that names this object may read next."""
    if isinstance(part, (types.FunctionType, types.MethodType, functools.partial)):
        own = str(getattr(part, "__module__", "")).partition(".")[0] == __name__.partition(".")[0]
        return () if own else leading_to(part)
    if isinstance(part, np.ndarray):
        return part.ravel().tolist() if part.size <= SHORT else ()
    held: object = part
    if hasattr(part, "__dict__") and not isinstance(part, (Value, Optimizer, type, types.ModuleType)):
        held = [x for x in vars(part).values() if isinstance(x, (*ATOMS, dict)) or not is_own(type(part))]
    if not isinstance(held, (list, tuple, dict)) or len(held) > SHORT:
        return ()
    return held.values() if isinstance(held, dict) else held


def _on_places(traced: Trace, joined: dict[Value, Tracer]) -> Number:
    """The trace's output on the placeholders that the loss already has for the same Values."""
    (root,) = traced.outputs
    new: dict[Value, Tracer] = dict(joined)
    for node in traced_nodes(root, new):
        new[node] = Tracer.record(cast(Op, node.op), [new.get(x, x) for x in node.args])
    return new[root] if isinstance(root, Value) else root
