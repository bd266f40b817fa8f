"""A plan by NumPy: one array operation for a group, over all members and a block of examples.

Memory is as in native code: a slot of the lanes is a row, one number for each example of the block. Operands are views
of it, made once for memory that is used again; only those that follow no pattern are gathered at each call.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NoReturn, TypeAlias, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import ops
from ..data import GAMMA, order_state, splitmix64
from .computation import Computation, Update, needed_terms
from .elementwise import ELEMENTWISE
from .loop import AT, EPOCHS, FACTOR, LOSS, MOVE, NO_LOSS, NO_STEP, RUNNING, SEEN, SHUFFLED, STEPS, STILL, Loop
from .plan import Group, Operand, Plan, Run
from .program import Program
from .simplify import CONSTANT
from .trace import Array

BLOCK_BYTES = 2 * 1024**2  # of a block of examples: long enough rows for NumPy, and not far beyond the caches
FEWEST = 32  # examples in a block, however much memory one takes
KEPT = 4  # lengths of blocks whose memory is kept
SUMS = (ops.dot, ops.total, ops.mean)  # rows of these are one product of matrices, or one sum along an axis

Call: TypeAlias = Callable[[], object]


class ArrayProgram(Program):
    """Array operations, by NumPy."""

    row_ops = frozenset((*SUMS, ops.logsumexp, ops.cross_entropy))

    def build(self) -> None:
        groups = self.plan.groups
        gathered = sum(o.table.size for group in groups for o in group.operands if o.table is not None)
        self.examples = max(FEWEST, BLOCK_BYTES // (8 * (self.plan.lanes + gathered)))  # in the longest block
        self.row = max(self.plan.inputs, 1)
        self.bytes = 8 * (self.plan.scalars + (self.plan.lanes + gathered) * self.examples)
        self.check_bytes()
        for group in groups:
            ELEMENTWISE[group.op]  # which names what is missing
        self._free: dict[int, list[Memory]] = {}

    def __call__(self, rows: Array, order: Array, seed: float, parameters: Array) -> Array:
        n = len(order)
        memory = self.take_memory(n)
        memory.scalars[: self.plan.parameters] = parameters
        out = np.empty((self.outputs, n)) if self.kind == "each" else None
        with np.errstate(all="ignore"):
            memory.run(rows, order, seed, out)
        found: Array = memory.scalars[self.slots] if out is None else out
        self.give_back(memory)
        return found

    def take_memory(self, n: int) -> Memory:
        """For one call with n examples at a time, which are split evenly into blocks."""
        examples = -(-n // -(-n // self.examples)) if n else 1
        try:
            return self._free[examples].pop()  # a list is safe between threads
        except LookupError:
            return Memory(self.plan, self.strict, examples)

    def give_back(self, memory: Memory) -> None:
        if memory.examples not in self._free and len(self._free) >= KEPT:
            self._free = {}
        self._free.setdefault(memory.examples, []).append(memory)

    @property
    def ir(self) -> str:
        phases = [("once", self.plan.before), ("each block", self.plan.blocks), ("at the end", self.plan.after)]
        return "\n".join(line for name, groups in phases for line in [f"# {name}", *map(_text, groups)])

    @property
    def asm(self) -> NoReturn:
        raise RuntimeError("NumPy runs array operations, see `ir`; machine code has jit(..., backend='native')")

    def measures(self) -> Iterator[tuple[str, str, int, str]]:
        yield "examples_per_block", "examples a block", self.examples, "worked on together"


def _text(group: Group) -> str:
    """One line: where the members' results go, the operation, where its operands are. [4 + 3*16]: 16 slots from 4 on,
    every third."""

    def slots(o: Operand, memory: str) -> str:
        if o.number is not None:
            return f"{o.number:g}"
        steps = zip((group.rows, group.columns, o.count), (o.dj, o.di, o.dk))
        along = [f" + {step}*{n}" for n, step in steps if n > 1 and step]
        return f"{memory}[{o.base}{''.join(along) if o.table is None else ', by a table'}]"

    memory = {True: "lanes", False: "scalars"}
    target = f"{memory[group.lanes]}[{group.base} + 1*{len(group.terms)}] ="
    if group.result is not None:
        target = f"{slots(group.result, 'scalars')} += sum of"
    return f"{target} {group.op.name}({', '.join(slots(o, memory[o.lanes]) for o in group.operands)})"


class Memory:
    """Scalars and lanes, for blocks of so many examples, and what to call, in order, to compute the plan in them."""

    def __init__(self, plan: Plan, strict: bool, examples: int) -> None:
        self.plan, self.strict, self.examples = plan, strict, examples
        self.scalars: Array = np.zeros(max(plan.scalars, 1))
        self.lanes: Array = np.zeros((plan.lanes, examples))
        for slot, number in plan.constants.items():
            self.scalars[slot] = number
        self._calls: list[Call] = []
        self.before, self.blocks, self.after = map(self._bind, (plan.before, plan.blocks, plan.after))

    def run(self, rows: Array, order: Array, seed: float, out: Array | None) -> None:
        """All examples, block by block. out: where the results of each go, else they are summed."""
        plan, lanes, n = self.plan, self.lanes, len(order)
        self.scalars[plan.parameters] = seed
        for call in self.before:
            call()
        first, count = plan.sums
        self.scalars[first : first + count] = -0.0  # which adds nothing, not even a sign
        for begin in range(0, n, self.examples):
            here = order[begin : begin + self.examples]
            whole = len(here) == self.examples
            # what is left over of the last block repeats an example, with seed 0
            padded = here if whole else np.concatenate([here, np.full(self.examples - len(here), here[-1])])
            lanes[: plan.inputs] = rows.take(padded, 0)[:, : plan.inputs].T
            lanes[plan.inputs] = seed
            lanes[plan.inputs, len(here) :] = 0.0
            for call in self.blocks:
                call()
            if out is not None:
                for k, (varying, slot) in enumerate(plan.results):
                    out[k, begin : begin + len(here)] = lanes[slot, : len(here)] if varying else self.scalars[slot]
        for call in self.after:
            call()

    # --- binding: views of operands, and calls

    def _bind(self, groups: Sequence[Group]) -> list[Call]:
        self._calls = []
        for group in groups:
            views = {id(o): self._view(group, o) for o in group.operands}
            if group.reduce:
                self._reduction(group, views)
                continue
            memory = self.lanes if group.lanes else self.scalars[:, None]
            out = memory[group.base : group.base + len(group.terms)].reshape(group.rows, group.columns, -1)
            if group.in_rows and group.op in SUMS and not self.strict:
                self._sums(group, views, out)
            else:
                self._elementwise(group, views, out)
        return self._calls

    def _add(self, function: Callable[..., object], *operands: object, out: Array) -> None:
        self._calls.append(partial(function, *operands, out=out))

    def _view(self, group: Group, o: Operand) -> Array:
        """(rows, columns, count, examples or 1)."""
        shape = group.rows, group.columns, o.count
        if o.number is not None:
            number: Array = np.broadcast_to(np.array(o.number), (*shape, 1))
            return number
        memory = self.lanes if o.lanes else self.scalars[:, None]
        if o.table is not None:
            gathered = np.zeros((o.table.size, memory.shape[1]))
            self._calls.append(partial(memory.take, o.table.ravel().astype(np.intp), 0, gathered, "clip"))
            rows: Array = gathered.reshape(*shape, -1)
            return rows
        slot, example = memory.strides
        strides = (o.dj * slot, o.di * slot, o.dk * slot, example)
        view: Array = as_strided(memory[o.base :], (*shape, memory.shape[1]), strides)
        return view

    def _elementwise(self, group: Group, views: dict[int, Array], out: Array) -> None:
        """The operands one by one, also those of a row."""
        operands = [views[id(o)][:, :, k] for o in group.operands for k in range(o.count)]
        self._add(ELEMENTWISE[group.op], *operands, out=out)

    def _sums(self, group: Group, views: dict[int, Array], out: Array) -> None:
        start = group.start
        for n, run in enumerate(group.runs):
            parts = _parts(run, views)
            width = max(part.shape[-1] for part in parts)  # 1 of scalars alone
            target = np.empty((*out.shape[:2], width)) if n or width < out.shape[-1] else out
            if len(parts) == 1:
                self._add(partial(np.add.reduce, parts[0], axis=2, initial=0.0), out=target)
            else:
                self._products(parts[0], parts[1], target)
            if target is not out:
                self._add(np.add, out if n else 0.0, target, out=out)
        if start is not None:
            self._add(np.add, out, views[id(start)][:, :, 0], out=out)
        if group.op is ops.mean:
            self._add(np.divide, out, float(group.length), out=out)

    def _products(self, w: Array, x: Array, out: Array) -> None:
        """sum over k of w[j, i, k] x[j, i, k, example]."""
        if w.shape[-1] > x.shape[-1]:
            w, x = x, w
        if w.strides[2] < 0 or x.strides[2] < 0:
            w, x = w[:, :, ::-1], x[:, :, ::-1]
        if w.shape[-1] > 1:
            self._add(partial(np.einsum, "jike,jike->jie", w, x), out=out)
        elif _is_same(x, 1):
            self._add(np.matmul, self._matrix(w[..., 0]), self._matrix(x[:, 0]), out=out)
        elif _is_same(x, 0):
            turned = w[..., 0].transpose(1, 0, 2)
            self._add(np.matmul, self._matrix(turned), self._matrix(x[0]), out=out.transpose(1, 0, 2))
        else:
            self._add(partial(np.einsum, "jik,jike->jie", w[..., 0], x), out=out)

    def _matrix(self, view: Array) -> Array:
        """The view, where the matrix product takes it as it is, else a copy made at each call."""
        steps = [step for n, step in zip(view.shape[-2:], view.strides[-2:]) if n > 1] or [view.itemsize]
        if min(steps) > 0 and view.itemsize in steps:
            return view
        copy: Array = np.empty(view.shape)
        self._calls.append(partial(np.copyto, copy, view))
        return copy

    def _reduction(self, group: Group, views: dict[int, Array]) -> None:
        """The sum over the block's examples, added to each member's slot."""
        found = np.empty((group.rows, group.columns))
        result = group.result
        assert result is not None
        if group.op is ops.total:
            (view,) = views.values()
            self._add(partial(np.add.reduce, view[:, :, 0], axis=2, initial=-0.0), out=found)
        elif self.strict and group.op is ops.dot:
            each = np.empty((group.rows, group.columns, self.examples))
            self._elementwise(group, views, each)
            self._add(partial(np.add.reduce, each, axis=2, initial=-0.0), out=found)
        else:
            (run,) = group.runs  # all operands are of the lanes
            a, b = _parts(run, views)
            self._weights(a, b, found)
        if result.table is not None:
            self._calls.append(partial(_add_at, self.scalars, result.table.ravel(), found.reshape(-1)))
            return
        step = self.scalars.itemsize
        view = as_strided(self.scalars[result.base :], found.shape, (result.dj * step, result.di * step))
        self._add(np.add, view, found, out=view)

    def _weights(self, a: Array, b: Array, out: Array) -> None:
        """sum over k and examples of a[j, i, k, example] b[j, i, k, example]: for each k a product of matrices, where
        one is the same for all rows and the other for all columns."""
        if _is_same(a, 0) and _is_same(b, 1):
            a, b = b, a
        if not (_is_same(a, 1) and _is_same(b, 0)):
            self._add(partial(np.einsum, "jike,jike->ji", a, b), out=out)
            return
        left, right = a[:, 0].transpose(1, 0, 2), b[0].transpose(1, 2, 0)
        if a.shape[2] == 1:
            self._add(np.matmul, self._matrix(left[0]), self._matrix(right[0]), out=out)
            return
        products = np.empty((a.shape[2], *out.shape))
        self._add(np.matmul, self._matrix(left), self._matrix(right), out=products)
        self._add(partial(np.add.reduce, products, axis=0), out=out)


def _parts(run: Run, views: dict[int, Array]) -> list[Array]:
    return [views[id(o)][:, :, at : at + run.count] for o, at in run.operands]


def _is_same(view: Array, axis: int) -> bool:
    """Are its numbers the same at every place of this axis?"""
    return bool(view.shape[axis] == 1 or view.strides[axis] == 0)


def _add_at(scalars: Array, slots: Array, numbers: Array) -> None:
    scalars[slots] += numbers  # each slot is there once


class ArraySteps(ArrayProgram):
    """The sum and gradient of a batch, with the update of parameters and the loop over steps."""

    def __init__(self, computation: Computation, update: Update, count: int, tol: bool, clip: bool) -> None:
        self.update, self.count, self.padded = update, count, count
        for i in needed_terms(update.terms, update.results):
            if i not in update.places and update.terms.ops[i] is not CONSTANT:
                ELEMENTWISE[update.terms.ops[i]]  # which names what is missing
        super().__init__(computation)

    def train(self, loop: Loop) -> tuple[int, float]:
        with np.errstate(all="ignore"):
            return _Steps(self, loop).run()


class _Steps:
    """One call of the loop. What a step changes, it changes in one call into C, so that Ctrl-C cannot fall between."""

    def __init__(self, program: ArraySteps, loop: Loop) -> None:
        self.program, self.loop, count = program, loop, program.count
        size = len(program.update.places) - 4
        self.numbers = np.concatenate([loop.parameters[:count], loop.others])  # as the program takes them
        self.gradients, self.progress = np.zeros(count), loop.progress.copy()
        state = loop.state[: size * count].reshape(size, count)
        self.news = loop.news[: (1 + size) * count].reshape(1 + size, count)
        self.lr, self.t = np.zeros(1), np.zeros(1)
        self.moves = self._update([loop.parameters[:count], self.gradients, self.lr, self.t, *state])
        self.made = [*self.news, self.gradients, self.progress]
        self.kept = [loop.parameters[:count], *state, loop.gradients, loop.progress]

    def _update(self, operands: list[Array]) -> list[Call]:
        """The optimiser's rule on all parameters, into the news."""
        update, calls = self.program.update, []
        value = dict(zip(update.places, operands))
        for i in needed_terms(update.terms, update.results):
            op, args = update.terms.ops[i], update.terms.args[i]
            if op is CONSTANT:
                value[i] = np.array([args[0]])
            elif i not in value:
                value[i] = np.empty(np.broadcast_shapes(*[value[a].shape for a in args]))
                calls.append(partial(ELEMENTWISE[op], *[value[a] for a in args], out=value[i]))
        return [*calls, *(partial(np.copyto, new, value[i]) for new, i in zip(self.news, update.results))]

    def run(self) -> tuple[int, float]:
        loop, progress, n = self.loop, self.progress, len(self.loop.order)
        value = 0.0
        for rate in loop.rates.tolist():
            if loop.batch < n and not progress[SHUFFLED]:
                state = int(loop.random[0])
                loop.order[:], loop.random[0] = _shuffled(n, state), order_state(state, n, 1)
                progress[SHUFFLED] = 1.0
            at = int(progress[AT])
            chosen = loop.order[at : at + loop.batch]
            value = self._differentiate(chosen)
            if value - value != 0.0:
                return self._stop(NO_LOSS), value
            if not self._move(rate):
                return self._stop(NO_STEP), value
            self._count(value, len(chosen))
            deque(map(np.positive, self.made, self.kept), maxlen=0)
            if loop.tol is not None and progress[MOVE] <= loop.tol:
                return STILL, value
        return RUNNING, value

    def _differentiate(self, chosen: Array) -> float:
        """The loss of these examples; the gradient goes to its place."""
        program, count = self.program, self.program.count
        self.numbers[:count] = self.loop.parameters[:count]
        found = program(self.loop.rows, chosen, 1.0 / len(chosen), self.numbers)
        self.gradients[:] = found[1 : 1 + count]
        return float(found[0])

    def _move(self, rate: float) -> bool:
        """The news of this step. Is every number finite?"""
        loop, progress = self.loop, self.progress
        if loop.clip is not None:
            progress[FACTOR] = factor = _factor(self.gradients, loop.clip)
            self.gradients *= factor
        self.lr[0], self.t[0] = rate, loop.before + progress[STEPS] + 1.0
        for call in self.moves:
            call()
        if loop.tol is not None:
            progress[MOVE] = np.abs(self.news[0] - loop.parameters[: self.program.count]).max()
        return bool(np.isfinite(self.gradients).all() and np.isfinite(self.news).all())

    def _stop(self, why: int) -> int:
        """No step: only what was tried, and the shuffle, are kept."""
        for made, kept in (self.gradients, self.loop.gradients), (self.progress, self.loop.progress):
            np.copyto(kept, made)
        return why

    def _count(self, value: float, seen: int) -> None:
        """Notes a step, and the epoch that it ends."""
        progress, n = self.progress, len(self.loop.order)
        progress[STEPS] += 1.0
        progress[LOSS] += value * seen / n
        progress[SEEN] += seen
        progress[AT] += seen
        if progress[AT] >= n:
            self.loop.losses[int(progress[EPOCHS])] = progress[LOSS]
            progress[EPOCHS] += 1.0
            progress[[AT, LOSS, SEEN, SHUFFLED]] = 0.0


def _shuffled(n: int, state: int) -> list[int]:
    """data.shuffled, whose random bits are computed together: `splitmix64` takes an array of states too."""
    states = np.arange(n - 1, dtype=np.uint64) * np.uint64(GAMMA) + np.uint64(state)
    bits = cast(Array, splitmix64(cast(int, states))[1])
    order = list(range(n))
    for i, j in zip(range(n - 1, 0, -1), (bits % np.arange(n, 1, -1, dtype=np.uint64)).tolist()):
        order[i], order[j] = order[j], order[i]
    return order


def _factor(gradients: Array, longest: float) -> float:
    """What `clip_grad_norm` scales the gradient by; 1 where it is short enough, or not finite."""
    largest = float(np.abs(gradients).max())
    if not 0.0 < largest < np.inf:
        return 1.0
    shares = gradients / largest  # whose squares do not overflow
    norm = largest * float(np.sqrt(np.dot(shares, shares)))
    return longest / (norm + 1e-6) if longest < norm + 1e-6 and norm < np.inf else 1.0
