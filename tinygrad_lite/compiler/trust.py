"""Before native code is trusted, a few examples are computed by both engines and compared.

Recording stands in for real data, and not everything that a function may ask of a number can be refused
(`isinstance(t, int)`, a counter that is read but not used): where such a thing decides, the numbers differ.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from .. import ops
from ..derivatives import gradients
from ..engine import Value, topological_order
from ..optim import Optimizer
from .trace import Array, Number

MANY = 50_000  # operands of an example from which on one of them is compared instead of four
EPS = 2.0**-52
# operations whose value or derivative jumps: where their first operand changes its sign, where two operands meet, ...
AT_ZERO = frozenset((ops.sign, ops.step, ops.abs_, ops.relu, ops.leaky_relu, ops.where))
AT_TIES = frozenset((ops.maximum, ops.minimum, ops.clip))
STAIRS = frozenset((ops.equal, ops.less, ops.less_equal, ops.floor, ops.round_, ops.mod, ops.floor_div))


def places(n: int, operands: int) -> list[int]:
    """The first example, the last, and some between; of very large ones the last."""
    return sorted({n - 1} if operands > MANY else {0, n // 3, 2 * n // 3, n - 1}) if n else []


def difference(results: Sequence[Value], native: Array, wrt: Sequence[Value]) -> str:
    """What differs between the engine's results and native code's, or "".

    native: of each result its number, then its gradient with respect to each Value of wrt. An engine's result that is
    not finite says nothing, nor does one that a rounding decides: the floor of 0.1 * 30 may be 2 or 3.
    """
    order = topological_order(results[0] if len(results) == 1 else ops.total(results))
    errors = _errors(order)
    if any(_decided_by_rounding(node, errors) for node in order):
        return ""
    for result, (number, *gradient) in zip(results, native.tolist()):
        # a gradient that is not finite: such a batch is computed again, exactly
        if math.isfinite(result.data) and all(map(math.isfinite, gradient)):
            told = _value_differs(result, number, errors[result])
            if wrt and not told:
                told = _gradient_differs(order if len(results) == 1 else topological_order(result), gradient, wrt)
            if told:
                return told
    return ""


def _value_differs(result: Value, native: float, error: float) -> str:
    """The bound is that of the operations: rounding errors of a few units in each, carried forward along the graph."""
    if math.isfinite(native) and not abs(result.data - native) > 1e4 * error + 1e-9 * abs(result.data) + 1e-300:
        return ""  # also without a bound (nan), where an operand is infinite
    return f"the engine computes {result.data!r}, compiled code {native!r}"


def _gradient_differs(order: Sequence[Value], native: Sequence[float], wrt: Sequence[Value]) -> str:
    """The bound is 1e-6 of the sum of |products| on all paths, with 1e-8 of the largest such sum in the graph."""
    arrived, weight = gradients(order), _weights(order)
    if not all(map(math.isfinite, arrived.values())):
        return ""
    largest = max(weight.values())
    for x, got in zip(wrt, native):
        expected = arrived.get(x, 0.0)
        if abs(expected - got) > 1e-6 * weight.get(x, 0.0) + 1e-8 * largest:
            name = x.label or f"a parameter of {x.data:g}"
            return f"the engine's derivative with respect to {name} is {expected!r}, compiled code's {got!r}"
    return ""


def _decided_by_rounding(node: Value, errors: Mapping[Value, float]) -> bool:
    """Might a rounding or two below this node put it on the other side of a jump, or select another operand?"""
    op = node.op
    if op is None or not any(op in known for known in (AT_ZERO, AT_TIES, STAIRS)):
        return False
    reach = [(x.data, 4.0 * errors[x]) if isinstance(x, Value) else (x, 0.0) for x in node.args]
    if not any(e for _, e in reach):
        return False
    if op in AT_ZERO:
        number, error = reach[0]
        return bool(abs(number) <= error > 0.0)
    if op in AT_TIES:
        return sum(bool(abs(x - node.data) <= e + 4.0 * errors[node]) for x, e in reach) > 1
    stair = ops.floor_div if op is ops.mod else op
    around = itertools.product(*[(x - e, x, x + e) for x, e in reach])
    return len({stair.value(*point) for point in around}) > 1


def _errors(order: Sequence[Value]) -> dict[Value, float]:
    """For each node a bound on its rounding error."""
    errors: dict[Value, float] = {}
    for node in order:
        error = EPS * abs(node.data) if node.args else 0.0
        carried = 0.0
        for x, dx in zip(node.args, node.local_grads):
            if dx is not None:
                error += abs(dx) * (errors[x] + EPS * abs(x.data)) if dx else 0.0  # 0 x infinity would be nan
                carried += errors[x]
        errors[node] = error + carried * carried  # second order: (a - b)^2 where a is b
    return errors


def _weights(order: Sequence[Value]) -> dict[Value, float]:
    """For each node the sum of |products| that its gradient is."""
    weights = {order[-1]: 1.0}
    for node in reversed(order):
        if node in weights:
            for x, dx in zip(node.args, node.local_grads):
                if dx is not None:
                    weights[x] = weights.get(x, 0.0) + abs(dx) * weights[node]
    return weights


def check_examples(
    name: str, examples: Sequence[Sequence[object]], at: Sequence[int], function: Callable[..., Sequence[Number]],
    native: Callable[[int], Array], wrt: Sequence[Value],
) -> None:  # fmt: skip
    """ValueError that shows example and both numbers where native code differs from the engine.

    Parameters
    ----------
    examples : for each argument its examples. at : the indices of those to compare.
    function : one example -> the engine's results. native : index of an example -> a row for each result, its number
        and gradient. wrt : the Values of the gradient.
    """
    for i in at:
        results = _computed(function, [argument[i] for argument in examples])
        told = difference(results, native(i), wrt) if results else ""
        if told:
            raise ValueError(
                f"{name} does something else with placeholders than with numbers: for example {i} {told}. Look for "
                "what asks an argument for its type, or changes from call to call; check=False switches this "
                "comparison off"
            )


def check_update(opt: Optimizer, before: Sequence[tuple[float, ...]], gradient: Sequence[float], after: Array) -> None:
    """The same for one update: the first parameter, the last, and one between.

    before: of each parameter its number and state. gradient: of each. after: (parameters, 1 + state) of native code.
    """
    for i in sorted({0, len(before) // 2, len(before) - 1}):
        p, *state = before[i]
        expected = [float(x) for x in opt.update(p, gradient[i], opt.lr, opt.t + 1.0, *state)]
        scale = max(map(abs, (p, gradient[i], *expected)))
        if any(
            math.isfinite(e) and not abs(e - a) <= 1e-9 * scale + 1e-300 for e, a in zip(expected, after[i].tolist())
        ):
            raise ValueError(
                f"{type(opt).__name__}.update does something else with placeholders than with numbers: parameter {i} "
                f"becomes {expected[0]!r} in the engine, {after[i].tolist()[0]!r} in compiled code; check=False "
                "switches this comparison off"
            )


def _computed(function: Callable[..., Sequence[Number]], example: Sequence[object]) -> list[Value]:
    """The engine's results with their graphs; none where the function takes placeholders alone."""
    try:
        results = list(function(*example))
    except Exception:  # such as `grad` with respect to an argument
        results = []
    if results and all(isinstance(x, Value) for x in results):
        return cast(list[Value], results)
    try:  # of plain numbers alone: what they are rounded to on the way, Values tell
        graphs = list(function(*map(_as_values, example)))
    except Exception:
        graphs = results
    found = [x if isinstance(x, Value) else Value(x) for x in graphs]
    for value, result in zip(found, results):
        value.data = result.data if isinstance(result, Value) else float(result)
    return found


def _as_values(part: object) -> object:
    """An example, or a part of one, with Values for its numbers."""
    if isinstance(part, (list, tuple)):
        return type(part)(map(_as_values, part))
    if hasattr(part, "shape") and part.shape:
        array: Array = np.empty(part.shape, dtype=object)
        for place in np.ndindex(*part.shape):
            array[place] = Value(part[place])  # type: ignore[index]
        return array
    return Value(cast(float, part))
