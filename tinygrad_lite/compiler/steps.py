"""Training steps in native code: batches, gradients, the optimiser's rule, the shuffle."""

from __future__ import annotations

import ctypes

import numpy as np

from .code import Code, Module
from .computation import Computation, Update, needed_terms
from .loop import AT, EPOCHS, FACTOR, LOSS, MOVE, NO_LOSS, NO_STEP, RUNNING, SEEN, SHUFFLED, STEPS, STILL, Loop
from .lowerings import LOWERINGS
from .program import NativeProgram
from .simplify import CONSTANT
from .trace import Array

_ARGUMENTS = [
    "scalars", "lanes", "rows", "order", "random", "parameters", "state", "news", "rates", "losses", "progress",
    "sizes", "numbers", "status",
]  # fmt: skip


class StepProgram(NativeProgram):
    """The sum and gradient of a batch, and in the same module the update of parameters and the loop over steps.

    count: how many parameters move, the first ones. tol: stop where none moves more than %numbers says. clip: scale
    gradients that are longer than %numbers says.
    """

    names = ("run", "train")

    def __init__(self, computation: Computation, update: Update, count: int, tol: bool, clip: bool) -> None:
        self.update, self.count, self.tol, self.clip = update, count, tol, clip
        super().__init__(computation)

    def write(self, module: Module) -> None:
        super().write(module)
        self.padded = -(-self.count // self.layout.width) * self.layout.width  # whole vectors
        self._write_update(module)
        parameters = ", ".join(f"ptr %{name}" for name in _ARGUMENTS)
        module.function("train", parameters, lambda code: _Loop(code, self).write())

    def link(self) -> None:
        super().link()
        self._train = self.library.function("train", *[ctypes.c_void_p] * len(_ARGUMENTS))

    def train(self, loop: Loop) -> tuple[int, float]:
        memory = scalars, lanes = self.take_memory()
        scalars[self.count : self.count + len(loop.others)] = loop.others
        status: Array = np.zeros(1, dtype=np.int64)
        sizes = np.array([len(loop.order), loop.batch, len(loop.rates)], dtype=np.int64)
        numbers = np.array([-1.0 if loop.tol is None else loop.tol, loop.before, loop.clip or 0.0], dtype=float)
        arrays = [
            scalars, lanes, loop.rows, loop.order, loop.random, loop.parameters, loop.state, loop.news, loop.rates,
            loop.losses, loop.progress, sizes, numbers, status,
        ]  # fmt: skip
        self._train(*[a.ctypes.data for a in arrays])
        loop.gradients[:] = scalars[self.slots[1 : 1 + self.count]] * (loop.progress[FACTOR] if self.clip else 1.0)
        value = float(scalars[self.slots[0]])
        self.give_back(memory)
        return int(status[0]), value

    def _write_update(self, module: Module) -> None:
        """@update: the optimiser's rule for all parameters, into %news; %fine: is every number finite?"""
        slots = self.slots[1 : 1 + self.count].tolist()
        side_by_side = slots == list(range(slots[0], slots[0] + self.count))
        table = "" if side_by_side else module.table(slots, "@gradient_slots")

        def gradient(c: Code, j: str) -> str:
            slot = c.plus(str(slots[0]), j) if side_by_side else c.load_entry(table, j)
            return c.load(c.address("%scalars", slot))

        self.gradient = gradient

        def body(c: Code) -> None:
            def parameters(j: str, checks: list[str]) -> list[str]:
                return [self._update_members(c, j, checks[0])]

            wide = self.count - self.count % c.lanes if side_by_side else 0
            (vector,) = c.fold("0", str(wide), c.lanes, [c.number(0.0)], parameters)
            lanes = [c.lane(vector, m) for m in range(c.lanes)]
            with c.at_width(1):
                check = c.number(0.0)
                for lane in lanes:
                    check = c.add(check, lane)
                (last,) = c.fold(str(wide), str(self.count), 1, [check], parameters)
                c.do(f"store double {last}, ptr %fine")

        module.function(
            "update", "ptr %scalars, ptr %parameters, ptr %state, ptr %news, double %lr, double %t, "
            "double %factor, ptr %fine", body,
            linkage="internal ",
        )  # fmt: skip

    def _update_members(self, c: Code, j: str, check: str) -> str:
        """The parameters from j on, as many as the code is wide. Returns check + 0, or nan where a number is not
        finite."""
        terms, results = self.update.terms, self.update.results
        p, g, lr, t, *state = self.update.places
        gradient = self.gradient(c, j)
        if self.clip:
            gradient = c.mul(gradient, c.broadcast("%factor"))
        value = {p: c.load(c.address("%parameters", j)), g: gradient, lr: c.broadcast("%lr"), t: c.broadcast("%t")}
        for s, i in enumerate(state):
            value[i] = c.load(c.address("%state", c.plus(str(s * self.padded), j)))
        for i in needed_terms(terms, results):
            if terms.ops[i] is CONSTANT:
                value[i] = c.number(terms.args[i][0])
            elif i not in value:
                value[i] = LOWERINGS[terms.ops[i]].value(c, *[value[a] for a in terms.args[i]])
        for s, i in enumerate(results):
            c.store(value[i], c.address("%news", c.plus(str(s * self.padded), j)))
        for i in [g, *results]:
            check = c.add(check, c.sub(value[i], value[i]))
        return check


class _Loop:
    """Writes the loop over steps; where it is, is in %progress, so that the next call continues there."""

    def __init__(self, code: Code, program: StepProgram) -> None:
        self.code, self.program = code, program

    def write(self) -> None:
        c = self.code
        with c.at_width(1):
            self.n, self.batch, steps = (c.load_whole("%sizes", str(k)) for k in range(3))
            self.tol, self.before, self.longest = (c.load(c.address("%numbers", str(k))) for k in range(3))
            self.n_number = c.emit(f"sitofp i64 {self.n} to double")
            self.fine = c.emit("alloca double")
            self.shuffles = c.emit(f"icmp slt i64 {self.batch}, {self.n}")
            self.epochs = c.emit("alloca i64")  # that ended in this call
            c.do(f"store i64 0, ptr {self.epochs}")
            c.loop("0", steps, 1, self.step)
            c.do(f"store i64 {RUNNING}, ptr %status")

    def field(self, k: int) -> str:
        return self.code.address("%progress", str(k))

    def leave(self, why: int) -> None:
        self.code.do(f"store i64 {why}, ptr %status")
        self.code.do("ret void")

    def step(self, s: str) -> None:
        c = self.code
        at = c.emit(f"fptosi double {c.load(self.field(AT))} to i64")
        fresh = c.compare("oeq", c.load(self.field(SHUFFLED)), c.number(0.0))
        c.when(c.emit(f"and i1 {fresh}, {self.shuffles}"), self.begin_epoch)
        here = c.smaller(c.emit(f"sub i64 {self.n}, {at}"), self.batch)
        here_number = c.emit(f"sitofp i64 {here} to double")
        value = self.differentiate(at, here, here_number)
        self.move(s)
        share = c.div(c.mul(value, here_number), self.n_number)
        c.store(c.add(c.load(self.field(LOSS)), share), self.field(LOSS))
        c.store(c.add(c.load(self.field(SEEN)), here_number), self.field(SEEN))
        following = c.emit(f"add i64 {at}, {here}")
        c.store(c.emit(f"sitofp i64 {following} to double"), self.field(AT))
        c.when(c.emit(f"icmp sge i64 {following}, {self.n}"), self.end_epoch)
        if self.program.tol:
            still = c.compare("ole", c.load(self.field(MOVE)), self.tol)
            c.when(still, lambda: self.leave(STILL), leaves=True)

    def begin_epoch(self) -> None:
        _shuffle(self.code, self.n)
        self.code.store(self.code.number(1.0), self.field(SHUFFLED))

    def differentiate(self, at: str, here: str, here_number: str) -> str:
        """The loss of `here` examples from `at` on, with its gradient in the scalars."""
        c = self.code
        seed = c.div(c.number(1.0), here_number)
        _copy(c, "%parameters", "%scalars", self.program.count)
        c.do(
            f"call void @run(ptr %scalars, ptr %lanes, ptr %rows, ptr {c.address('%order', at, 'i64')}, i64 {here}, "
            f"double {seed}, ptr null, i64 0)"
        )
        value = c.load(c.address("%scalars", str(self.program.slots[0])))
        bad = c.compare("uno", c.sub(value, value), c.number(0.0))
        c.when(bad, lambda: self.leave(NO_LOSS), leaves=True)
        return value

    def move(self, s: str) -> None:
        """Parameters and state after step s, all together."""
        c, count, padded = self.code, self.program.count, self.program.padded
        lr = c.load(c.address("%rates", s))
        done = c.load(self.field(STEPS))
        t = c.add(c.add(self.before, done), c.number(1.0))
        c.do(
            f"call void @update(ptr %scalars, ptr %parameters, ptr %state, ptr %news, double {lr}, double {t}, "
            f"double {self.factor() if self.program.clip else c.number(1.0)}, ptr {self.fine})"
        )
        bad = c.compare("une", c.load(self.fine), c.number(0.0))
        c.when(bad, lambda: self.leave(NO_STEP), leaves=True)
        if self.program.tol:
            (largest,) = c.fold("0", str(count), 1, [c.number(0.0)], lambda j, m: [_larger_move(c, j, m[0])])
            c.store(largest, self.field(MOVE))
        _copy(c, "%news", "%parameters", count)
        for k in range(len(self.program.update.results) - 1):
            _copy(c, c.address("%news", str((k + 1) * padded)), c.address("%state", str(k * padded)), count)
        c.store(c.add(done, c.number(1.0)), self.field(STEPS))

    def factor(self) -> str:
        """What `clip_grad_norm` scales the gradient by; 1 where it is short enough, or not finite."""
        c, count, one = self.code, str(self.program.count), self.code.number(1.0)

        def larger(j: str, m: list[str]) -> list[str]:
            size = c.absolute(self.program.gradient(c, j))
            return [c.select(c.compare("ogt", size, m[0]), size, m[0])]

        def squares(j: str, m: list[str]) -> list[str]:
            share = c.div(self.program.gradient(c, j), largest)  # whose square does not overflow
            return [c.add(m[0], c.mul(share, share))]

        (largest,) = c.fold("0", count, 1, [c.number(0.0)], larger)
        (total,) = c.fold("0", count, 1, [c.number(0.0)], squares)
        norm = c.mul(largest, c.sqrt(total))
        limit = c.add(norm, c.number(1e-6))
        factor = c.select(c.compare("olt", self.longest, limit), c.div(self.longest, limit), one)
        factor = c.select(c.compare("oeq", c.sub(norm, norm), c.number(0.0)), factor, one)
        c.store(factor, self.field(FACTOR))
        return factor

    def end_epoch(self) -> None:
        c = self.code
        k = c.emit(f"load i64, ptr {self.epochs}")
        c.store(c.load(self.field(LOSS)), c.address("%losses", k))
        c.do(f"store i64 {c.emit(f'add i64 {k}, 1')}, ptr {self.epochs}")
        c.store(c.add(c.load(self.field(EPOCHS)), c.number(1.0)), self.field(EPOCHS))
        for cleared in AT, LOSS, SEEN, SHUFFLED:
            c.store(c.number(0.0), self.field(cleared))


def _copy(c: Code, source: str, target: str, count: int) -> None:
    c.declared["@llvm.memcpy.p0.p0.i64"] = "declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"
    c.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {8 * count}, i1 false)")


def _larger_move(c: Code, j: str, largest: str) -> str:
    moved = c.absolute(c.sub(c.load(c.address("%news", j)), c.load(c.address("%parameters", j))))
    return c.select(c.compare("ogt", moved, largest), moved, largest)


def _shuffle(c: Code, n: str) -> None:
    """data.shuffled: 0 .. n - 1, then Fisher and Yates with SplitMix64."""
    c.loop("0", n, 1, lambda i: c.do(f"store i64 {i}, ptr {c.address('%order', i, 'i64')}"))

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
        pi, pj = (c.address("%order", x, "i64") for x in (i, j))
        a, b = c.emit(f"load i64, ptr {pi}"), c.emit(f"load i64, ptr {pj}")
        c.do(f"store i64 {b}, ptr {pi}")
        c.do(f"store i64 {a}, ptr {pj}")

    c.loop("0", c.emit(f"sub i64 {n}, 1"), 1, exchange)
