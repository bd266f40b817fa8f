"""From what people hand over (a Value, a function of one example, a model, a loss with its optimiser) to terms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from .. import ops
from ..compiler.computation import Update, sums_over_examples, varying_terms
from ..compiler.native import lock, no_collector
from ..compiler.simplify import INPUT, PARAMETER, STATE, Terms
from ..compiler.trace import ARRAY, Number, Shape, Trace, Tracer, kind_of, trace, traced_nodes, tracing
from ..contents import leading_to, reached
from ..derivatives import adjoints
from ..engine import Value, topological_order
from ..nn import Module, flat, shape
from ..op import Op
from ..optim import Optimizer
from ..parts import names, numbered

Gradient = bool | str  # True: by the parameters, or the leaves of a Value; "inputs": by the numbers of an example


# whose local derivatives are finite at finite operands: what was not selected gets 0 x local = 0 without a mask
_FINITE = frozenset({
    ops.add, ops.sub, ops.mul, ops.neg, ops.abs_, ops.dot, ops.total, ops.mean, ops.tanh, ops.sigmoid, ops.softplus,
    ops.relu, ops.leaky_relu, ops.sin, ops.cos, ops.atan, ops.erf, ops.sign, ops.step, ops.floor, ops.round_,
    ops.detach, ops.equal, ops.less, ops.less_equal, ops.where, ops.clip, ops.maximum, ops.minimum, ops.pick,
    ops.logsumexp, ops.cross_entropy,
})  # fmt: skip


class _Terms(Terms):
    reader, rows = "export cannot write", "export/rows.py"


@dataclass
class Recorded:
    """Terms and what their results mean.

    inputs, parameters: how many numbers of an example, and of parameters. values: the parameters, those that an
    optimiser moves first; tensors: their names and shapes, as PyTorch lays them out, in this order.
    arguments, meanings: what each number of an example, and each result, is. update: an optimiser's rule.
    """

    terms: Terms
    results: list[int]
    inputs: int
    parameters: int = field(init=False)
    values: list[Value] = field(default_factory=list)
    tensors: dict[str, tuple[int, ...]] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    meanings: list[str] = field(default_factory=list)
    update: Update | None = None
    state_size: int = 0
    moved: int = 0  # how many parameters an optimiser moves

    def __post_init__(self) -> None:
        self.parameters = len(self.values)


def recorded(
    f: object, example: Sequence[object], gradient: Gradient, nodes: bool, optimizer: Optimizer | None
) -> Recorded:
    """What f computes of one example, or with an optimizer a step of training on some."""
    if gradient not in (False, True, "inputs"):
        raise ValueError(f'gradient must be True, False or "inputs", got {gradient!r}')
    if optimizer is not None and gradient:
        raise TypeError("a training step has the gradient in it: leave gradient out, or export it on its own")
    if nodes and (not isinstance(f, Value) or gradient):
        raise TypeError("nodes=True expects a Value, and writes its gradients too: leave gradient out")
    if isinstance(f, Value) and (example or optimizer is not None):
        raise TypeError("the arguments of a Value are its leaves: for a training step or an example write a function")
    with lock, no_collector():
        if isinstance(f, Value):
            return _of_graph(f, gradient, nodes)
        if not callable(f):
            raise TypeError(f"export expects a Value, a model or a function of one example, got {f!r}")
        if not example and isinstance(f, Module):
            example = [[0.0] * _inputs(f)]
        if optimizer is not None:
            return _of_step(f, example, optimizer)
        return _of_function(f, example, gradient)


def _of_graph(root: Value, gradient: Gradient, nodes: bool) -> Recorded:
    """The same graph on placeholders for its leaves."""
    order = topological_order(root)
    called = numbered(order, names(order))
    new: dict[Value, Tracer] = {}
    leaves = [node for node in order if node.op is None]
    with tracing():
        for i, leaf in enumerate(leaves):
            new[leaf] = Tracer.leaf(i)
        for node in order:
            if node.op is not None:
                new[node] = Tracer.record(node.op, [new[x] if isinstance(x, Value) else x for x in node.args])
        results: list[Number] = [new[x] for x in (order if nodes else [root])]
        meanings = [called[x] for x in (order if nodes else [root])]
        wrt = order if nodes else leaves if gradient else []
        if wrt:
            results += adjoints(new[root], [new[x] for x in wrt])
            meanings += [f"d {called[root]} / d {called[x]}" for x in wrt]
        for node in order if nodes else ():
            if node.op is not None:
                results += _local(new[node])
                meanings += [f"d {called[node]} / d operand {k}" for k in range(len(node.args))]
    terms = _Terms(strict=True)
    found = terms.include(results, {new[x]: terms.leaf(INPUT, i) for i, x in enumerate(leaves)})
    return Recorded(terms, found, len(leaves), arguments=[called[x] for x in leaves], meanings=meanings)


def _local(node: Tracer) -> list[Number]:
    """d node / d operand for each operand; 0 where nothing is sent."""
    op = cast(Op, node.op)
    wanted = [isinstance(x, Value) for x in node.args]
    return [0.0 if d is None else d for d in op.local_grads(node, node.args, wanted)]


def _of_function(f: Callable[..., object], example: Sequence[object], gradient: Gradient) -> Recorded:
    traced = _trace(f, example)
    values, tensors = _in_order(f, traced.captured)
    place_of = dict(zip(traced.captured, traced.places))
    places = [place_of[value] for value in values]
    results, meanings = list(traced.outputs), [f"result {i}" for i in range(len(traced.outputs))]
    arguments = _arguments(example)
    if gradient:
        wrt, of = (traced.inputs, arguments) if gradient == "inputs" else (places, list(_each(tensors)))
        if len(results) != 1:
            raise TypeError(f"a gradient is that of one result, and this function returns {len(results)}: return one")
        if not wrt:
            raise ValueError('this function has no parameters to differentiate by: write gradient="inputs"')
        results += _gradient(results[0], wrt)
        meanings += [f"d result 0 / d {name}" for name in of]
    terms = _Terms(strict=True)
    leaves: dict[Value, int] = {x: terms.leaf(INPUT, i) for i, x in enumerate(traced.inputs)}
    leaves |= {x: terms.leaf(PARAMETER, i) for i, x in enumerate(places)}
    found = terms.include(results, leaves)
    return Recorded(terms, found, len(traced.inputs), values, tensors, arguments, meanings)


def _of_step(loss: Callable[..., object], example: Sequence[object], opt: Optimizer) -> Recorded:
    """The mean loss of some examples, and its gradient by the parameters that the optimiser moves."""
    traced = _trace(loss, example, opt.params)
    if len(traced.outputs) != 1:
        raise TypeError(f"a training step needs a loss of one Value, and this one returns {len(traced.outputs)}")
    own = set(opt.params)
    values, tensors = _in_order(loss, [x for x in traced.captured if x in own])
    others, more = _in_order(loss, [x for x in traced.captured if x not in own])
    if not values:
        raise ValueError("the loss uses none of the optimiser's parameters: make both with the same model")
    place_of = dict(zip(traced.captured, traced.places))
    places = [place_of[value] for value in (*values, *others)]
    moved = len(values)
    terms = _Terms(strict=False)
    leaves: dict[Value, int] = {x: terms.leaf(INPUT, i) for i, x in enumerate(traced.inputs)}
    leaves |= {x: terms.leaf(PARAMETER, i) for i, x in enumerate(places)}
    masked = any(node.op not in _FINITE for node in traced_nodes(traced.outputs[0], leaves))
    wanted = terms.include([traced.outputs[0], *_gradient(traced.outputs[0], places[:moved], masked)], leaves)
    varying, weight = varying_terms(terms), terms.leaf(STATE, 0)  # 1 / examples
    sums = sums_over_examples(terms, wanted)
    means = [terms.add(ops.mul, (s, weight)) if varying[i] else i for s, i in zip(sums, wanted)]
    return Recorded(
        terms, means, len(traced.inputs), values + others, tensors | more, _arguments(example),
        ["mean loss", *[f"d mean loss / d {name}" for name in _each(tensors)]], Update(opt), opt.state_size, moved,
    )  # fmt: skip


def _gradient(root: Number, wrt: Sequence[Tracer], masked: bool = True) -> list[Value]:
    with tracing():
        return adjoints(Tracer.record(ops.mul, (root, 1.0)), wrt, masked)  # also of a constant


def _trace(f: Callable[..., object], example: Sequence[object], parameters: Sequence[Value] = ()) -> Trace:
    try:
        inspect.signature(f).bind(*example)
    except TypeError as error:
        name = getattr(f, "__name__", type(f).__name__)
        raise TypeError(f"export needs an example of the arguments of {name}, as f, [0.0, 0.0], 1 ({error})") from None
    except ValueError:  # a function of C has no signature
        pass
    return trace(f, [_shape(part) for part in example], parameters)


def _shape(part: object) -> Shape:
    """The shape of an argument, as the compiler has it."""
    if not isinstance(part, (list, tuple)) and hasattr(part, "shape"):
        return tuple((ARRAY, n) for n in cast(tuple[int, ...], part.shape))
    return ((kind_of(part), len(part)), *(_shape(part[0]) if part else ())) if isinstance(part, (list, tuple)) else ()


def _arguments(example: Sequence[object]) -> list[str]:
    """argument 0, argument 1[0], argument 1[1], ..."""
    return [name for i, part in enumerate(example) for name in _each({f"argument {i}": shape(part)})]


def _each(tensors: dict[str, tuple[int, ...]]) -> Iterable[str]:
    """The name of each number of these tensors."""
    for name, sizes in tensors.items():
        for i in range(math.prod(sizes)):
            at: list[str] = []
            for n in reversed(sizes):
                i, k = divmod(i, n)
                at.insert(0, f"[{k}]")
            yield name + "".join(at)


def _in_order(f: object, captured: Sequence[Value]) -> tuple[list[Value], dict[str, tuple[int, ...]]]:
    """The parameters as PyTorch lays them out: whole tensors of the models that f reads, then what is left."""
    left = dict.fromkeys(captured)
    tensors: dict[str, tuple[int, ...]] = {}
    values: list[Value] = []
    models = [
        x for x in reached([f], lambda kind: issubclass(kind, Value), leading_to, 10_000) if isinstance(x, Module)
    ]
    for model in models:  # the nearest first: the whole before its parts
        for name, tensor in model.tensors().items():
            inside, name = list(flat([tensor])), f"{name} ({len(tensors)})" if name in tensors else name
            if len(set(inside)) == len(inside) and all(x in left for x in inside):
                tensors[name] = shape(tensor)
                values += inside
                for x in inside:
                    del left[x]
    for i, x in enumerate(left):
        tensors[x.label if x.label and x.label not in tensors else f"parameter {i}"] = ()
    return values + list(left), tensors


def _inputs(model: Module) -> int:
    """How many numbers a model takes: the columns of its first weight."""
    for tensor in model.tensors().values():
        if len(sizes := shape(tensor)):
            return sizes[-1]
    raise TypeError(f"export needs an example of what {model!r} takes: write it after the model, as [0.0, 0.0]")
