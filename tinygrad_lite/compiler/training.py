"""Whole epochs in native code: batches, gradients, the optimiser's rule, the shuffle."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..engine import Value, anomaly_active
from ..mistakes import not_a_loss
from ..ops import Op
from ..optim import Optimizer
from . import blame, check_demands, native
from .emit import LOWERINGS, Code
from .kernel import Kernel
from .plan import needed_terms
from .program import Program
from .record import Recording, Tracer, record, recorded_nodes, recording
from .simplify import CONSTANT, PARAMETER, STATE, Terms

# what the native loop returns
RUNNING, NO_LOSS, NO_STEP, STILL = 0, 1, 2, 3
# where the native loop stands: the next example of this epoch, steps and epochs done, loss of this epoch so
# far and over how many examples, largest move of the last step, is this epoch shuffled?
AT, STEPS, EPOCHS, LOSS, SEEN, MOVE, SHUFFLED, PLACES = range(8)
_KINDS = [ctypes.c_void_p] * 13


class Trainer:
    """Trains opt.params natively, some steps at a time; between calls everything stands in arrays.

    The optimiser's `update` is recorded once and runs on many parameters at a time. Parameters and
    optimiser state change together, after a step's numbers have all been found finite.
    """

    def __init__(
        self,
        loss: Callable[[Any, Any], Any],
        opt: Optimizer,
        X: Sequence[Any],
        y: Sequence[Any],
        batch: int,
        seed: int,
        penalty: Callable[[], Any] | None,
        tol: float | None,
    ) -> None:
        from . import Compiled

        compiled = Compiled(loss)
        columns, shapes, self.n = compiled._columns([X, y])
        self.loss, self.columns, self.shapes = loss, columns, shapes
        self.opt, self.batch, self.tol = opt, batch, tol
        recorded = self.recorded = record(loss, shapes)
        if isinstance(recorded.structure, list):
            raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(recorded.structure)}")
        check_demands(recorded, columns)
        self.penalty = record(penalty, []) if penalty is not None else None
        self._order_places()
        width = native.host()["width"]
        self.padded = -(-len(opt.params) // width) * width
        self._programs: dict[bool, _StepProgram] = {}
        self._settings = _settings(opt)
        self.exact = False
        self.rows = compiled._rows(self._program(), columns, self.n)
        self.order = np.arange(self.n)
        self.random = np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64)
        self.parameters = native.aligned(self.padded)
        self.state = native.aligned(max(1, self.padded * opt.state_size))
        self.news = native.aligned(self.padded * (1 + opt.state_size))
        self.made, self.yielded = 0, 0.0
        self.gradients: Any = None
        self.progress = np.zeros(PLACES)
        self.ahead = False  # have steps been made that the Values do not show yet?
        self.pull()

    def _order_places(self) -> None:
        """Placeholders in the order of opt.params, then of whatever else the loss uses."""
        place_of: dict[Value, Tracer] = {}
        self.joined: dict[Tracer, Tracer] = {}
        for recorded in (self.recorded, self.penalty):
            if recorded is not None:
                for value, place in zip(recorded.captured, recorded.places):
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

    def _program(self) -> _StepProgram:
        if self.exact not in self._programs:
            self._programs[self.exact] = _StepProgram(self)
        return self._programs[self.exact]

    def pull(self) -> None:
        """Reads parameters and optimiser state from their Values; what a callback set in the optimiser is compiled."""
        opt, k = self.opt, len(self.opt.params)
        if _settings(opt) != self._settings:
            self._settings = _settings(opt)
            self._programs.clear()
        self.parameters[:k] = [p.data for p in opt.params]
        for s in range(opt.state_size):
            self.state[s * self.padded : s * self.padded + k] = [state[s] for state in opt.state]
        self.made = self.steps if self.progress[STEPS] else self.made
        self.start_steps = opt.t
        self.progress[STEPS] = 0.0

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
        return float(self.progress[LOSS] * self.n / self.progress[SEEN]) if self.progress[SEEN] else None

    def blame(self) -> None:
        """Under anomaly(): FloatingPointError that names the example of this batch, the operation, the line."""
        if anomaly_active():
            at = int(self.progress[AT])
            for i in self.order[at : at + self.batch].tolist():
                blame(self.loss, self.shapes, self.columns, i)

    def run(self, rates: Any) -> tuple[int, list[float]]:
        """len(rates) steps at these learning rates. Returns RUNNING, or why it stopped early, and the mean
        loss of each epoch that ended."""
        program = self._program()
        self.rates, self.begun, self.ahead = rates, int(self.progress[STEPS]), True
        scalars, lanes = program._memory()
        count = len(self.opt.params)
        scalars[count : len(self.values)] = [v.data for v in self.values[count:]]
        status: Any = np.zeros(1, dtype=np.int64)
        losses = np.zeros(len(rates) + 1)
        sizes = np.array([self.n, self.batch, len(rates)], dtype=np.int64)
        numbers = np.array([-1.0 if self.tol is None else self.tol, float(self.start_steps)])
        self.progress[EPOCHS] = 0.0
        arrays = [
            scalars, lanes, self.rows, self.order, self.random, self.parameters, self.state, self.news,
            rates, losses, self.progress, sizes, numbers,
        ]  # fmt: skip
        program.train(*[a.ctypes.data for a in arrays], status.ctypes.data)
        self.gradients = scalars[program.slots[1 : 1 + count]]
        self.last_loss = float(scalars[program.slots[0]])
        program._work.append((scalars, lanes))
        return int(status[0]), losses[: int(self.progress[EPOCHS])].tolist()


def _settings(opt: Optimizer) -> dict[str, Any]:
    """What `update` may read, beside its arguments, as momentum and weight_decay."""
    return {name: x for name, x in vars(opt).items() if isinstance(x, (int, float)) and name not in ("_lr", "t")}


class _StepProgram(Program):
    """A step's program, and in the same module the update of parameters and the loop over steps."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        penalty = trainer.penalty
        super().__init__(
            trainer.recorded, "sum", False, trainer.exact, trainer.places,
            None if penalty is None else _with_places(penalty, trainer.joined),
        )  # fmt: skip
        del self.trainer  # a cycle: it would keep arrays and machine code until the collector comes by

    def _functions(self, kernel: Kernel) -> list[str]:
        return [*super()._functions(kernel), self._update(kernel), self._train(kernel)]

    def _link(self) -> None:
        super()._link()
        self.train = self.library.function("train", *_KINDS, ctypes.c_void_p)

    _names = ("run", "train")

    def _update(self, kernel: Kernel) -> str:
        """@update: the optimiser's rule for all parameters, into %news; %fine: is every number finite?"""
        opt, size = self.trainer.opt, self.trainer.opt.state_size
        terms = Terms(strict=False)
        with recording():
            p, g, lr, t, *state = places = [Tracer.leaf(i) for i in range(4 + size)]
            results = opt.update(p, g, lr, t, *state)
        if len(results) != 1 + size:
            raise ValueError(
                f"{type(opt).__name__}.update must return the parameter and {size} numbers of state (state_size), "
                f"got {len(results)} numbers"
            )
        leaves: dict[Any, int] = {
            x: terms.leaf(PARAMETER if i != 2 and i != 3 else STATE, i) for i, x in enumerate(places)
        }
        roots = terms.include([x if isinstance(x, Value) else float(x) for x in results], leaves)
        return _update_text(kernel, terms, leaves, places, roots, self, size, len(opt.params), self.trainer.padded)

    def _train(self, kernel: Kernel) -> str:
        return kernel.function(
            "train", ", ".join(f"ptr %{name}" for name in _ARGUMENTS), lambda c: _train_body(c, self)
        )


_ARGUMENTS = [
    "scalars", "lanes", "rows", "order", "random", "parameters", "state", "news", "rates", "losses", "progress",
    "sizes", "numbers", "status",
]  # fmt: skip


def _with_places(recorded: Recording, joined: dict[Tracer, Tracer]) -> Tracer:
    """The recording's output on the placeholders that the loss already has for the same Values."""
    (root,) = recorded.outputs
    new: dict[Any, Any] = dict(joined)
    for node in recorded_nodes(root, new):
        new[node] = Tracer.record(cast(Op, node.op), [new.get(x, x) for x in node.args])
    return cast(Tracer, new[root])


def _update_text(
    kernel: Kernel, terms: Terms, leaves: dict[Any, int], places: Sequence[Any], roots: Sequence[int], program: Program,
    size: int, count: int, padded: int,
) -> str:  # fmt: skip
    slots = program.slots[1 : 1 + count]
    side_by_side = bool((np.diff(slots) == 1).all()) if count > 1 else True

    def body(c: Code) -> None:
        def parameters(j: str, checks: list[str]) -> list[str]:
            value: dict[int, str] = {}
            p, g, lr, t, *state = [leaves[x] for x in places]
            value[p] = c.load(c.address("%parameters", j))
            if side_by_side:
                value[g] = c.load(c.address("%scalars", c.plus(str(slots[0]), j)))
            else:
                entry = c.emit(f"getelementptr i32, ptr @gradient_slots, i64 {j}")
                slot = c.emit(f"sext i32 {c.emit(f'load i32, ptr {entry}')} to i64")
                value[g] = c.load(c.address("%scalars", slot))
            value[lr], value[t] = c.broadcast("%lr"), c.broadcast("%t")
            for s, i in enumerate(state):
                value[i] = c.load(c.address("%state", c.plus(str(s * padded), j)))
            for i in needed_terms(terms, roots):
                if terms.ops[i] is CONSTANT:
                    value[i] = c.number(terms.args[i][0])
                elif i not in value:
                    value[i] = LOWERINGS[terms.ops[i]](c, *[value[a] for a in terms.args[i]])
            for s, i in enumerate(roots):
                c.store(value[i], c.address("%news", c.plus(str(s * padded), j)))
            total = checks[0]
            for i in [g, *roots]:  # x - x is 0, or nan where x is not finite
                total = c.add(total, c.sub(value[i], value[i]))
            return [total]

        wide = count - count % c.lanes if side_by_side else 0
        (first,) = c.fold("0", str(wide), c.lanes, [c.number(0.0)], parameters)
        lanes = [c.lane(first, m) for m in range(c.lanes)]
        c.width = 1
        whole = c.number(0.0)
        for lane in lanes:
            whole = c.add(whole, lane)
        (last,) = c.fold(str(wide), str(count), 1, [whole], parameters)
        c.do(f"store double {last}, ptr %fine")
        c.width = c.lanes

    text = kernel.function(
        "update", "ptr %scalars, ptr %parameters, ptr %state, ptr %news, double %lr, double %t, ptr %fine", body
    )
    if not side_by_side:
        entries = ", ".join(f"i32 {int(s)}" for s in slots)
        kernel.tables.append(f"@gradient_slots = private constant [{count} x i32] [{entries}]")
    return text.replace("define void", "define internal void")


def _train_body(c: Code, program: _StepProgram) -> None:
    """The loop over steps; its place is in %progress, so that it can go on where it ended."""
    trainer = program.trainer
    count, padded, size = len(trainer.opt.params), trainer.padded, trainer.opt.state_size
    c.width = 1

    def whole(pointer: str, k: int) -> str:
        return c.emit(f"load i64, ptr {c.emit(f'getelementptr i64, ptr {pointer}, i64 {k}')}")

    def field(k: int) -> str:
        return c.address("%progress", str(k))

    n, batch, steps = (whole("%sizes", k) for k in range(3))
    tol, before = (c.load(c.address("%numbers", str(k))) for k in range(2))
    n_number = c.emit(f"sitofp i64 {n} to double")
    fine = c.emit("alloca double")
    shuffles = c.emit(f"icmp slt i64 {batch}, {n}")
    keep = c.emit("alloca i64")
    c.do(f"store i64 0, ptr {keep}")

    def leave(why: int) -> None:
        c.do(f"store i64 {why}, ptr %status")
        c.do("ret void")

    def step(s: str) -> None:
        at = c.emit(f"fptosi double {c.load(field(AT))} to i64")
        fresh = c.compare("oeq", c.load(field(SHUFFLED)), c.number(0.0))

        def begin_epoch() -> None:
            _shuffle(c, n)
            c.store(c.number(1.0), field(SHUFFLED))

        c.when(c.emit(f"and i1 {fresh}, {shuffles}"), begin_epoch)
        left = c.emit(f"sub i64 {n}, {at}")
        here = c.smaller(left, batch)
        here_number = c.emit(f"sitofp i64 {here} to double")
        seed = c.div(c.number(1.0), here_number)
        _copy(c, "%parameters", "%scalars", count)
        chosen = c.emit(f"getelementptr i64, ptr %order, i64 {at}")
        c.do(
            f"call void @run(ptr %scalars, ptr %lanes, ptr %rows, ptr {chosen}, i64 {here}, double {seed}, "
            "ptr null, i64 0)"
        )
        value = c.load(c.address("%scalars", str(program.slots[0])))
        bad = c.compare("uno", c.sub(value, value), c.number(0.0))
        c.when_return(bad, lambda: leave(NO_LOSS))
        lr = c.load(c.address("%rates", s))
        done = c.load(field(STEPS))
        t = c.add(c.add(before, done), c.number(1.0))
        c.do(
            f"call void @update(ptr %scalars, ptr %parameters, ptr %state, ptr %news, double {lr}, double {t}, "
            f"ptr {fine})"
        )
        c.when_return(c.compare("une", c.load(fine), c.number(0.0)), lambda: leave(NO_STEP))
        if trainer.tol is not None:
            (largest,) = c.fold("0", str(count), 1, [c.number(0.0)], lambda j, m: [_larger_move(c, j, m[0])])
            c.store(largest, field(MOVE))
        _copy(c, "%news", "%parameters", count)
        for k in range(size):
            _copy(c, c.address("%news", str((k + 1) * padded)), c.address("%state", str(k * padded)), count)
        c.store(c.add(done, c.number(1.0)), field(STEPS))
        share = c.div(c.mul(value, here_number), n_number)
        c.store(c.add(c.load(field(LOSS)), share), field(LOSS))
        c.store(c.add(c.load(field(SEEN)), here_number), field(SEEN))
        following = c.emit(f"add i64 {at}, {here}")
        c.store(c.emit(f"sitofp i64 {following} to double"), field(AT))
        ends = c.emit(f"icmp sge i64 {following}, {n}")

        def end_epoch() -> None:
            k = c.emit(f"load i64, ptr {keep}")
            c.store(c.load(field(LOSS)), c.address("%losses", k))
            c.do(f"store i64 {c.emit(f'add i64 {k}, 1')}, ptr {keep}")
            c.store(c.add(c.load(field(EPOCHS)), c.number(1.0)), field(EPOCHS))
            for cleared in AT, LOSS, SEEN, SHUFFLED:
                c.store(c.number(0.0), field(cleared))

        c.when(ends, end_epoch)
        if trainer.tol is not None:
            c.when_return(c.compare("ole", c.load(field(MOVE)), tol), lambda: leave(STILL))

    c.loop("0", steps, 1, step)
    c.do(f"store i64 {RUNNING}, ptr %status")


def _copy(c: Code, source: str, target: str, count: int) -> None:
    c.declare("@llvm.memcpy.p0.p0.i64", "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    c.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {8 * count}, i1 false)")


def _larger_move(c: Code, j: str, largest: str) -> str:
    moved = c.absolute(c.sub(c.load(c.address("%news", j)), c.load(c.address("%parameters", j))))
    return c.select(c.compare("ogt", moved, largest), moved, largest)


def _shuffle(c: Code, n: str) -> None:
    """data.shuffled: 0 .. n - 1, then Fisher and Yates with SplitMix64."""

    def fill(i: str) -> None:
        c.do(f"store i64 {i}, ptr {c.emit(f'getelementptr i64, ptr %order, i64 {i}')}")

    c.loop("0", n, 1, fill)

    def exchange(k: str) -> None:
        i = c.emit(f"sub i64 {c.emit(f'sub i64 {n}, 1')}, {k}")
        state = c.emit(f"add i64 {c.emit('load i64, ptr %random')}, {0x9E3779B97F4A7C15 - 2**64}")
        c.do(f"store i64 {state}, ptr %random")
        z = state
        for shift, factor in (30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64):
            mixed = c.emit(f"xor i64 {z}, {c.emit(f'lshr i64 {z}, {shift}')}")
            z = c.emit(f"mul i64 {mixed}, {factor}")
        z = c.emit(f"xor i64 {z}, {c.emit(f'lshr i64 {z}, 31')}")
        j = c.emit(f"urem i64 {z}, {c.emit(f'add i64 {i}, 1')}")
        pi, pj = (c.emit(f"getelementptr i64, ptr %order, i64 {x}") for x in (i, j))
        a, b = c.emit(f"load i64, ptr {pi}"), c.emit(f"load i64, ptr {pj}")
        c.do(f"store i64 {b}, ptr {pi}")
        c.do(f"store i64 {a}, ptr {pj}")

    c.loop("0", c.emit(f"sub i64 {n}, 1"), 1, exchange)
