"""Each operation on NumPy arrays: one row of ELEMENTWISE for each record of the table.

A row is a function (*operands, out): operands are float64 arrays that broadcast to the shape of `out`, which gets the
values and shares no memory with them. Values are those of ieee.py, edges included, to the accuracy of NumPy's
functions; sums run from the first operand to the last, as in the engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from .. import ops
from ..ops import Op
from .trace import Array

Elementwise: TypeAlias = Callable[..., object]


class _Elementwise(dict[Op, Elementwise]):
    def __missing__(self, op: Op) -> Elementwise:
        raise NotImplementedError(
            f"jit cannot compile {op.name} yet: nothing says how it is computed on arrays. Add a row to "
            f"compiler/elementwise.py, or write {op.name} with operations of the table"
        )


def _where(condition: Array, a: Array, b: Array, out: Array) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition != 0.0)  # nan counts as true


def _relu(x: Array, out: Array) -> None:
    np.maximum(x, 0.0, out=out)
    np.add(out, 0.0, out=out)  # -0 becomes 0


def _leaky_relu(x: Array, slope: Array, out: Array) -> None:
    np.multiply(slope, x, out=out)
    np.copyto(out, x, where=x > 0.0)


def _step(x: Array, out: Array) -> None:
    np.heaviside(x, 0.0, out=out)


def _sign(x: Array, out: Array) -> None:
    np.sign(x, out=out)
    np.copysign(out, x, out=out)  # of -0


def _power(x: Array, n: Array, out: Array) -> None:
    np.power(x, n, out=out)
    np.multiply(x, x, out=out, where=n == 2.0)  # `pow` differs from x * x in the last bit at some points


def _cbrt(x: Array, out: Array) -> None:
    y = np.cbrt(x)  # which may be two units off: one step of Newton's
    better = y - (y - x / (y * y)) / 3.0
    np.copyto(out, np.where(np.isfinite(better), better, y))


def _erf(x: Array, out: Array) -> None:
    out[...] = _erf_of_each(x)


_erf_of_each = np.frompyfunc(math.erf, 1, 1)  # NumPy has none


def _sigmoid(x: Array, out: Array) -> None:
    e = np.exp(-np.abs(x))  # of the negative side, which never overflows and keeps tiny results
    np.divide(np.where(x < 0.0, e, 1.0), 1.0 + e, out=out)


def _softplus(x: Array, out: Array) -> None:
    np.add(np.where(x < 0.0, 0.0, x), np.log1p(np.exp(-np.abs(x))), out=out)


def _extreme(better: Callable[[Array, Array], Array]) -> Elementwise:
    """The first of the largest (smallest), or the last nan."""

    def extreme(*xs: Array, out: Array) -> None:
        np.copyto(out, xs[0])
        for x in xs[1:]:
            np.copyto(out, x, where=better(x, out) | (x != x))

    return extreme


_maximum, _minimum = _extreme(np.greater), _extreme(np.less)


def _clip(x: Array, low: Array, high: Array, out: Array) -> None:
    largest = np.empty_like(out)
    _maximum(x, low, out=largest)
    _minimum(largest, high, out=out)


def _pick(k: Array, *xs: Array, out: Array) -> None:
    out[...] = np.nan  # of a computed index that is none
    for i, x in enumerate(xs):
        np.copyto(out, x, where=k == i)


def _total(*xs: Array, out: Array) -> None:
    np.add(xs[0], 0.0, out=out)
    for x in xs[1:]:
        np.add(out, x, out=out)


def _mean(*xs: Array, out: Array) -> None:
    _total(*xs, out=out)
    np.divide(out, float(len(xs)), out=out)


def _dot(*ws_xs: Array, out: Array) -> None:
    n = len(ws_xs) // 2
    np.copyto(out, ws_xs[-1] if len(ws_xs) % 2 else 0.0)
    product = np.empty_like(out)
    for w, x in zip(ws_xs[:n], ws_xs[n : 2 * n]):
        np.multiply(w, x, out=product)
        np.add(out, product, out=out)


def _exp_difference(a: Array, b: Array, out: Array) -> None:
    """ieee.exp_difference: exp(a - b), with what rounding took of a - b."""
    d = a - b
    e = np.exp(d)
    back = d - a
    better = e + e * ((a - (d - back)) - (b + back))
    np.copyto(out, np.where((e > 0.0) & (e < np.inf), better, e))


def _log_rest(xs: Array, largest: Array) -> Array:
    """log of the sum of exp(x - largest), the first largest itself apart: so a small rest is not rounded away."""
    powers = np.empty_like(xs)
    rest: Array = np.zeros_like(largest)
    _exp_difference(xs, largest, out=powers)
    np.put_along_axis(powers, xs.argmax(axis=0)[None], 0.0, axis=0)
    for e in powers:
        rest += e
    np.log1p(rest, out=rest)
    return rest


def _stacked(xs: Sequence[Array], out: Array) -> Array:
    stack: Array = np.stack([np.broadcast_to(x, out.shape) for x in xs])
    return stack


def _logsumexp(*xs: Array, out: Array) -> None:
    stack = _stacked(xs, out)
    largest = stack.max(axis=0)
    np.copyto(out, np.where(np.isfinite(largest), largest + _log_rest(stack, largest), largest))


def _cross_entropy(*xs_k: Array, out: Array) -> None:
    """logsumexp(xs) - xs[k], by differences alone."""
    xs, k = _stacked(xs_k[:-1], out), xs_k[-1]
    largest, x = xs.max(axis=0), np.empty_like(out)
    _pick(k, *xs, out=x)
    rest, apart, chosen = _log_rest(xs, largest), largest - x, x == largest
    alone = chosen & ((xs == np.inf).sum(axis=0) == 1)
    usual = np.where(chosen, rest, apart + rest)
    np.copyto(out, np.where(np.isfinite(largest), usual, np.where(alone, 0.0, apart)))


ELEMENTWISE: dict[Op, Elementwise] = _Elementwise({
    ops.add: np.add,
    ops.sub: np.subtract,
    ops.mul: np.multiply,
    ops.div: np.divide,
    ops.neg: np.negative,
    ops.abs_: np.absolute,
    ops.sqrt: np.sqrt,
    ops.power: _power,
    ops.mod: np.mod,
    ops.floor_div: np.floor_divide,
    ops.floor: np.floor,
    ops.round_: np.rint,
    ops.detach: np.positive,
    ops.exp: np.exp,
    ops.expm1: np.expm1,
    ops.log: np.log,
    ops.exp2: np.exp2,
    ops.log2: np.log2,
    ops.log10: np.log10,
    ops.exp_difference: _exp_difference,
    ops.log1p: np.log1p,
    ops.cbrt: _cbrt,
    ops.hypot: np.hypot,
    ops.sin: np.sin,
    ops.cos: np.cos,
    ops.tan: np.tan,
    ops.asin: np.arcsin,
    ops.acos: np.arccos,
    ops.atan: np.arctan,
    ops.atan2: np.arctan2,
    ops.sinh: np.sinh,
    ops.cosh: np.cosh,
    ops.asinh: np.arcsinh,
    ops.acosh: np.arccosh,
    ops.atanh: np.arctanh,
    ops.erf: _erf,
    ops.tanh: np.tanh,
    ops.sigmoid: _sigmoid,
    ops.softplus: _softplus,
    ops.relu: _relu,
    ops.leaky_relu: _leaky_relu,
    ops.sign: _sign,
    ops.step: _step,
    ops.equal: np.equal,
    ops.less: np.less,
    ops.less_equal: np.less_equal,
    ops.where: _where,
    ops.clip: _clip,
    ops.maximum: _maximum,
    ops.minimum: _minimum,
    ops.pick: _pick,
    ops.dot: _dot,
    ops.total: _total,
    ops.mean: _mean,
    ops.logsumexp: _logsumexp,
    ops.cross_entropy: _cross_entropy,
})  # fmt: skip
