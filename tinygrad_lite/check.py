"""Is this gradient right? Derivatives compared with finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from .derivatives import grad
from .engine import Value
from .ieee import same
from .ops import Op


def gradcheck(
    f: Callable[..., Value], inputs: Sequence[float], h: float = 1e-4, rtol: float = 1e-6, atol: float = 1e-8
) -> bool:
    """True where backward and `grad` give the gradient of f that differences give.

    Parameters
    ----------
    f : a function of len(inputs) Values to one Value, smooth at these inputs.
    h : the step of the central difference (f(x + h) - f(x - h)) / 2h, in the units of x, relative for |x| > 1. It is
        extrapolated from steps h and h/2: error O(h^4) + O(eps / h).
    rtol, atol : how far the two may be apart, relative to the larger and absolutely.

    Raises
    ------
    AssertionError, which says which input, what was got and what was expected.

    >>> gradcheck(lambda a, b: (a * b).tanh(), [0.5, -1.0])
    True
    """
    if not callable(f) or isinstance(inputs, str) or not hasattr(inputs, "__len__"):
        raise TypeError(f"gradcheck expects a function and a list of numbers, got {f!r} and {inputs!r}")
    values = [Value(x) for x in inputs]
    out = f(*values)
    if not isinstance(out, Value):
        raise TypeError(f"gradcheck expects a function that returns one Value, got {out!r}")
    out.backward()
    replayed = grad(out, values)
    for i, value in enumerate(values):
        expected = _difference(f, inputs, i, h)
        for how, got in ("backward", value.grad), ("grad", replayed[i].data):
            close = math.isclose(got, expected, rel_tol=rtol, abs_tol=atol)
            if not close and not same(got, expected):  # not `assert`, which python -O skips
                raise AssertionError(
                    f"d f / d input {i} at {list(inputs)}: {how} gives {got!r}, the central difference {expected!r}"
                )
    return True


def check_op(op: Op, inputs: Sequence[float], order: int = 2, rtol: float = 1e-5) -> bool:
    """True where the partials of an operation, and their own derivatives up to `order`, agree with central
    differences at these flat operands; else AssertionError. rtol: how far they may be apart, relative.

    >>> from tinygrad_lite.ops import tanh
    >>> check_op(tanh, [0.3])
    True
    """
    if not isinstance(op, Op) or isinstance(inputs, str) or not hasattr(inputs, "__len__"):
        raise TypeError(f"check_op expects an Op and a list of numbers, got {op!r} and {inputs!r}")
    if len(inputs) != op.arity >= 0:
        raise ValueError(f"{op} takes {op.arity} operands, got {len(inputs)} numbers")

    def derivative(path: tuple[int, ...]) -> Callable[..., Value]:
        def f(*xs: Value) -> Value:
            out = Value.record(op, xs)
            for i in path:
                (out,) = grad(out, [xs[i]])
            return out

        return f

    paths: list[tuple[int, ...]] = [()]
    for _ in range(order):
        for path in paths:
            gradcheck(derivative(path), inputs, h=1e-3, rtol=rtol, atol=1e-7)
        paths = [(*path, i) for path in paths for i in range(len(inputs))]
    return True


def _difference(f: Callable[..., Value], inputs: Sequence[float], i: int, h: float) -> float:
    def central(h: float) -> float:
        sides = []
        for shift in h, -h:
            at = [Value(x + shift if j == i else x) for j, x in enumerate(inputs)]
            sides.append((f(*at).data, at[i].data))
        (above, x_above), (below, x_below) = sides
        return float((above - below) / (x_above - x_below))  # the step as rounded, not as asked for

    h *= max(1.0, abs(inputs[i]))
    return (4.0 * central(h / 2) - central(h)) / 3.0
