"""What a program computes: a trace, its gradients and their sums over a batch, as terms."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .. import ops
from ..derivatives import adjoints
from ..engine import Value
from ..ops import Op
from ..optim import Optimizer
from .simplify import INPUT, LEAVES, PARAMETER, STATE, SUM, Args, Terms
from .trace import Number, Trace, Tracer, trace, tracing


class Computation:
    """Terms, and which of them are the results.

    kind "each": the outputs of every example of a batch. "sum": over a batch, each output and its
    gradient with respect to every place, weighted by a seed (1/n for a mean).

    places: the placeholders to differentiate with respect to, in order: the parameters; STATE 0 is the weight of
    the outputs' sums. The input after the last one is the seed, 0 in lanes that hold no example.
    penalty: a traced output of no inputs; it and its gradient are added once.
    exact: follow which operand was selected also where a local derivative is infinite; without it such
    a batch gives nan, and has to be run again exactly.
    """

    def __init__(
        self,
        traced: Trace,
        kind: str,
        strict: bool,
        exact: bool,
        places: Sequence[Tracer],
        penalty: Number | None = None,
    ) -> None:
        self.began = time.perf_counter()
        self.kind, self.strict, self.exact = kind, strict, strict or exact or kind == "each"
        self.inputs, self.outputs, self.parameters = len(traced.inputs), len(traced.outputs), len(places)
        terms = self.terms = Terms(strict)
        seed = Tracer.leaf(self.inputs)
        leaves: dict[Value, int] = {x: terms.leaf(INPUT, i) for i, x in enumerate([*traced.inputs, seed])}
        leaves |= {x: terms.leaf(PARAMETER, i) for i, x in enumerate(places)}
        weight = terms.leaf(STATE, 0)
        if kind == "each":
            self.results = terms.include(traced.outputs, leaves)
        else:
            wanted = terms.include(_with_gradients(traced.outputs, places, seed, strict or exact), leaves)
            sums = sums_over_examples(terms, wanted)
            sums[: self.outputs] = [terms.add(ops.mul, (i, weight)) for i in sums[: self.outputs]]
            if penalty is not None:
                extra = terms.include(_with_gradients([penalty], places, None, True), leaves)
                sums = [terms.add(ops.add, pair) for pair in zip(sums, extra)]
            self.results = sums
        self.traced_terms = len(leaves)


def _with_gradients(
    outputs: Sequence[Number], places: Sequence[Tracer], seed: Tracer | None, exact: bool
) -> list[Number]:
    """The outputs (of lanes that hold an example), then for each output its gradient times the seed."""
    gradients: list[Value] = []
    with tracing():
        for out in outputs:
            root = Tracer.record(ops.mul, (out, 1.0 if seed is None else seed))  # also of a constant
            gradients += adjoints(root, places, masked=exact)
        found = [out if seed is None else ops.where(seed, out, -0.0) for out in outputs]
    return [*found, *gradients]


def sums_over_examples(terms: Terms, wanted: Sequence[int]) -> list[int]:
    """For each wanted term the term of its sum over all examples. What is the same for all examples is
    taken out of the sum: the rest of the loop need not know of it."""
    varying = varying_terms(terms)
    found: dict[int, int] = {}

    def sum_of(i: int) -> int:
        if i not in found:
            factored = None if terms.ops[i] is INPUT else factor(terms.ops[i], terms.args[i])
            found[i] = terms.leaf(SUM, i) if factored is None else factored
        return found[i]

    def factor(op: Op, args: Args) -> int | None:
        fixed = [not varying[a] for a in args]
        if op is ops.neg:
            return terms.add(ops.neg, [sum_of(args[0])])
        if op is ops.mul and any(fixed):
            one, other = (args[1], args[0]) if fixed[0] else args
            return terms.add(ops.mul, [sum_of(one), other])
        if op is ops.div and fixed[1]:
            return terms.add(ops.div, [sum_of(args[0]), args[1]])
        if op is ops.total and any(terms.ops[a] in (ops.mul, ops.total, ops.dot) for a in args) and not any(fixed):
            return terms.add(ops.total, [sum_of(a) for a in args])
        if op is ops.dot and any(fixed) and not len(args) % 2:
            return factor_dot(args[: len(args) // 2], args[len(args) // 2 :])
        return None

    def factor_dot(ws: Args, xs: Args) -> int | None:
        both = [(w, x) for w, x in zip(ws, xs) if varying[w] and varying[x]]
        parts = [
            terms.add(ops.mul, (sum_of(w), x) if varying[w] else (sum_of(x), w))
            for w, x in zip(ws, xs)
            if varying[w] != varying[x]
        ]
        if len(both) + len(parts) < len(ws):
            return None
        if both:
            w, x = zip(*both)
            parts.append(
                terms.leaf(SUM, terms.add(ops.dot, (*w, *x)) if len(both) > 1 else terms.add(ops.mul, both[0]))
            )
        return terms.add(ops.total, parts)

    return [sum_of(i) if varying[i] else i for i in wanted]


def varying_terms(terms: Terms) -> list[bool]:
    """For every term: does it differ from example to example?"""
    varying: list[bool] = []
    for op, args in zip(terms.ops, terms.args):
        varying.append(op is INPUT or (op not in LEAVES and any(varying[i] for i in args)))
    return varying


def needed_terms(terms: Terms, roots: Sequence[int]) -> list[int]:
    """The terms below roots, operands first."""
    wanted = bytearray(len(terms.ops))
    for i in roots:
        wanted[i] = True
    for i in range(len(terms.ops) - 1, -1, -1):
        if wanted[i] and (terms.ops[i] not in LEAVES or terms.ops[i] is SUM):
            for a in terms.args[i]:
                wanted[a] = True
    return [i for i, want in enumerate(wanted) if want]


class Update:
    """An optimiser's rule for one parameter, as terms.

    places: of p, g, lr, t and the numbers of state. results: of the new p and state.
    """

    def __init__(self, opt: Optimizer) -> None:
        size, name = opt.state_size, type(opt).__name__

        calls = itertools.count()

        def update(p: Number, g: Number, lr: Number, t: Number, *state: Number) -> list[Number]:
            with _at_another_step(opt, next(calls)):
                found = opt.update(p, g, lr, t, *state)
            if not isinstance(found, (tuple, list)) or len(found) != 1 + size:
                got = f"{len(found)} numbers" if isinstance(found, (tuple, list)) else repr(found)
                raise ValueError(
                    f"{name}.update must return a tuple of the parameter and {size} numbers of state (state_size), "
                    f"got {got}"
                )
            return [x if isinstance(x, Value) else Value(x) for x in found]

        update.__name__ = f"{name}.update"
        # twice: a rule with a random number or a counter in it is refused, or that reads what changes with the steps
        traced = trace(update, [()] * (4 + size), opt.params)
        if traced.captured:
            raise ValueError(f"{name}.update uses {traced.captured[0]!r}: keep what changes in its state (state_size)")
        terms = self.terms = Terms(strict=False)
        self.places = [terms.leaf(STATE if i in (2, 3) else PARAMETER, i) for i in range(4 + size)]
        self.results = terms.include(traced.outputs, dict(zip(traced.inputs, self.places)))


@contextmanager
def _at_another_step(opt: Optimizer, later: int) -> Iterator[None]:
    """So many steps later, at a learning rate of its own: self.t and self.lr are no arguments."""
    t, lr = opt.t, opt.lr
    try:
        opt.t, opt.lr = t + later, lr + later
        yield
    finally:
        opt.t, opt.lr = t, lr
