"""How each operation becomes instructions: one row of LOWERINGS for each record of the table.

Everything here is a value on floats: derivatives arrive as operations like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .. import ops
from ..ops import Op
from . import vector_math
from .code import Code, Function

# (carried at first, step(carried, *operands) -> carried next) -> carried last; a step of dot takes a weight and its x
Fold = Callable[[Sequence[str], Callable[..., list[str]]], list[str]]


@dataclass(frozen=True)
class Lowering:
    """One operation as instructions.

    value: (code, *operands) -> its value. long: many instructions, not to be repeated for every place of a tile.
    row: the same in a loop over a row of operands: (code, fold, what a sum starts from, operands in the row) -> its
    value. None: operands are loaded one by one, however many they are.
    """

    value: Function
    long: bool = False
    row: Callable[[Code, Fold, str, int], str] | None = None


class _Lowerings(dict[Op, Lowering]):
    def __missing__(self, op: Op) -> Lowering:
        raise NotImplementedError(
            f"jit cannot compile {op.name} yet: nothing says how it becomes instructions. Add a row to "
            f"compiler/lowerings.py, or write {op.name} with operations of the table"
        )


def _function(name: str, function: Function | None = None) -> Lowering:
    """A long function, called where a program has many: ours, or the C library's of that name."""
    return Lowering(lambda c, *xs: c.call(name, function or _of_c(name), *xs), long=True)


def _of_c(name: str) -> Function:
    return lambda c, *xs: c.per_lane(name, *xs)


def _relu(c: Code, x: str) -> str:
    return c.select(c.compare("ole", x, c.number(0.0)), c.number(0.0), x)


def _step(c: Code, x: str) -> str:
    not_positive = _relu(c, x)  # nan stays
    return c.select(c.compare("ogt", x, c.number(0.0)), c.number(1.0), not_positive)


def _sign(c: Code, x: str) -> str:
    return c.select(c.compare("one", x, c.number(0.0)), c.copysign(c.number(1.0), x), x)


def _where(c: Code, condition: str, a: str, b: str) -> str:
    return c.select(c.compare("une", condition, c.number(0.0)), a, b)


def _leaky_relu(c: Code, x: str, slope: str) -> str:
    return c.select(c.compare("ogt", x, c.number(0.0)), x, c.mul(slope, x))


def _cbrt(c: Code, x: str) -> str:
    y = c.per_lane("cbrt", x)
    better = c.sub(y, c.div(c.sub(y, c.div(x, c.mul(y, y))), c.number(3.0)))
    # 0 and infinity stay: their correction is nan
    return c.select(c.compare("ord", better, better), better, y)


def _power(c: Code, x: str, n: str) -> str:
    return c.select(c.compare("oeq", n, c.number(2.0)), c.mul(x, x), c.call("pow", _of_c("pow"), x, n))


def _mod(c: Code, a: str, b: str) -> str:
    """Python's: C's remainder, moved to the side of b."""
    r = c.per_lane("fmod", a, b)
    zero = c.number(0.0)
    moved = c.select(_other_side(c, r, b), c.add(r, b), r)
    return c.select(c.compare("oeq", r, zero), c.copysign(zero, b), moved)


def _floor_div(c: Code, a: str, b: str) -> str:
    """Python's: the quotient of what divides exactly, so that no rounding of a / b reaches the next whole number."""
    r, zero, one = c.per_lane("fmod", a, b), c.number(0.0), c.number(1.0)
    quotient = c.div(c.sub(a, r), b)
    quotient = c.select(_other_side(c, r, b), c.sub(quotient, one), quotient)
    low = c.floor(quotient)
    whole = c.select(c.compare("ogt", c.sub(quotient, low), c.number(0.5)), c.add(low, one), low)
    signed = c.select(c.compare("oeq", quotient, zero), c.copysign(zero, c.div(a, b)), whole)
    return c.select(c.compare("oeq", b, zero), c.div(a, b), signed)


def _other_side(c: Code, r: str, b: str) -> str:
    zero = c.number(0.0)
    return c.both(c.compare("une", r, zero), c.differ(c.compare("olt", r, zero), c.compare("olt", b, zero)))


def _comparison(how: str) -> Lowering:
    return Lowering(lambda c, a, b: c.truth(c.compare(how, a, b)))


def _extreme(how: str) -> Function:
    def lower(c: Code, *xs: str) -> str:
        found = xs[0]
        for x in xs[1:]:
            found = c.select(c.either(c.compare(how, x, found), c.compare("uno", x, x)), x, found)
        return found

    return lower


_maximum, _minimum = _extreme("ogt"), _extreme("olt")


def _clip(c: Code, x: str, low: str, high: str) -> str:
    return _minimum(c, _maximum(c, x, low), high)


def _pick(c: Code, k: str, *xs: str) -> str:
    found = c.number(float("nan"))  # of a computed index that is none
    for i, x in enumerate(xs):
        found = c.select(c.compare("oeq", k, c.number(float(i))), x, found)
    return found


# --- sums: of operands at hand, and of rows


def accumulate(c: Code, s: str, *operands: str) -> str:
    """s + x, or s + w * x of a dot."""
    return c.multiply_add(*operands, s) if len(operands) == 2 else c.add(s, *operands)


def _total(c: Code, *xs: str) -> str:
    s = c.number(0.0)
    for x in xs:
        s = c.add(s, x)
    return s


def _mean(c: Code, *xs: str) -> str:
    return c.div(_total(c, *xs), c.number(float(len(xs))))


def _dot(c: Code, *ws_xs: str) -> str:
    n = len(ws_xs) // 2
    s = ws_xs[-1] if len(ws_xs) % 2 else c.number(0.0)
    for w, x in zip(ws_xs[:n], ws_xs[n:]):
        s = c.multiply_add(w, x, s)
    return s


def _total_row(c: Code, fold: Fold, start: str, n: int) -> str:
    (s,) = fold([start], lambda sums, *operands: [accumulate(c, *sums, *operands)])
    return s


def _mean_row(c: Code, fold: Fold, start: str, n: int) -> str:
    return c.div(_total_row(c, fold, start, n), c.number(float(n)))


# --- logsumexp: the largest + log(1 + the others' exp(x - largest)), so that a small rest is not rounded away


def _logsumexp(c: Code, *xs: str) -> str:
    return _logsumexp_row(c, _at_hand(xs), c.number(0.0), len(xs))


def _logsumexp_row(c: Code, fold: Fold, start: str, n: int) -> str:
    (largest,) = fold([c.number(float("-inf"))], lambda found, x: [_maximum(c, *found, x)])
    finite = c.compare("oeq", c.sub(largest, largest), c.number(0.0))
    return c.select(finite, c.add(largest, _log_rest(c, fold, largest)), largest)


def _cross_entropy(c: Code, *xs_k: str) -> str:
    return _cross_entropy_row(c, _at_hand(xs_k[:-1]), xs_k[-1], len(xs_k))


def _cross_entropy_row(c: Code, fold: Fold, k: str, n: int) -> str:
    """logsumexp(xs) - xs[k], by differences alone."""
    inf, zero, one = c.number(float("inf")), c.number(0.0), c.number(1.0)

    def look(found: Sequence[str], x: str) -> list[str]:
        largest, chosen, infinite, i = found
        here, is_inf = c.compare("oeq", k, i), c.truth(c.compare("oeq", x, inf))
        return [_maximum(c, largest, x), c.select(here, x, chosen), c.add(infinite, is_inf), c.add(i, one)]

    largest, x, infinite, _ = fold([c.number(float("-inf")), c.number(float("nan")), zero, zero], look)
    apart = c.sub(largest, x)
    rest = _log_rest(c, fold, largest)
    usual = c.select(c.compare("oeq", x, largest), rest, c.add(apart, rest))
    alone = c.both(c.compare("oeq", x, largest), c.compare("oeq", infinite, one))
    finite = c.compare("oeq", c.sub(largest, largest), zero)
    return c.select(finite, usual, c.select(alone, zero, apart))


def _log_rest(c: Code, fold: Fold, largest: str) -> str:
    """log of the sum of exp(x - largest), the largest itself apart. seen: 1.0 once the first such x has come by."""

    def further(found: Sequence[str], x: str) -> list[str]:
        rest, seen = found
        this = c.truth(c.compare("oeq", x, largest))
        first = c.compare("ogt", this, seen)
        e = c.select(first, c.number(0.0), c.call("exp_difference", vector_math.exp_difference, x, largest))
        return [c.add(rest, e), c.select(first, this, seen)]

    rest, _ = fold([c.number(0.0), c.number(0.0)], further)
    return c.call("log1p", vector_math.log1p, rest)


def _at_hand(xs: Sequence[str]) -> Fold:
    """A fold over operands that are loaded already."""

    def fold(carried: Sequence[str], step: Callable[..., list[str]]) -> list[str]:
        found = list(carried)
        for x in xs:
            found = step(found, x)
        return found

    return fold


LOWERINGS: dict[Op, Lowering] = _Lowerings({
    ops.add: Lowering(Code.add),
    ops.sub: Lowering(Code.sub),
    ops.mul: Lowering(Code.mul),
    ops.div: Lowering(Code.div),
    ops.neg: Lowering(Code.negative),
    ops.abs_: Lowering(Code.absolute),
    ops.sqrt: Lowering(Code.sqrt),
    ops.power: Lowering(_power, long=True),
    ops.mod: Lowering(_mod, long=True),
    ops.floor_div: Lowering(_floor_div, long=True),
    ops.floor: Lowering(Code.floor),
    ops.round_: Lowering(Code.nearest),
    ops.detach: Lowering(lambda c, x: x),
    ops.exp: _function("exp", vector_math.exp),
    ops.expm1: _function("expm1", vector_math.expm1),
    ops.log: _function("log", vector_math.log),
    ops.exp2: _function("exp2", vector_math.exp2),
    ops.log2: _function("log2", vector_math.log2),
    ops.log10: Lowering(lambda c, x: c.mul(c.call("log", vector_math.log, x), c.number(0.4342944819032518)), long=True),
    ops.exp_difference: _function("exp_difference", vector_math.exp_difference),
    ops.log1p: _function("log1p", vector_math.log1p),
    ops.cbrt: _function("cbrt", _cbrt),
    ops.hypot: _function("hypot"),
    ops.sin: _function("sin", vector_math.sin),
    ops.cos: _function("cos", vector_math.cos),
    ops.tan: _function("tan"),
    ops.asin: _function("asin"),
    ops.acos: _function("acos"),
    ops.atan: _function("atan"),
    ops.atan2: _function("atan2"),
    ops.sinh: _function("sinh"),
    ops.cosh: _function("cosh"),
    ops.asinh: _function("asinh"),
    ops.acosh: _function("acosh"),
    ops.atanh: _function("atanh"),
    ops.erf: _function("erf", vector_math.erf),
    ops.tanh: _function("tanh", vector_math.tanh),
    ops.sigmoid: _function("sigmoid", vector_math.sigmoid),
    ops.softplus: _function("softplus", vector_math.softplus),
    ops.relu: Lowering(_relu),
    ops.leaky_relu: Lowering(_leaky_relu),
    ops.sign: Lowering(_sign),
    ops.step: Lowering(_step),
    ops.equal: _comparison("oeq"),
    ops.less: _comparison("olt"),
    ops.less_equal: _comparison("ole"),
    ops.where: Lowering(_where),
    ops.clip: Lowering(_clip),
    ops.maximum: Lowering(_maximum),
    ops.minimum: Lowering(_minimum),
    ops.pick: Lowering(_pick),
    ops.dot: Lowering(_dot, row=_total_row),
    ops.total: Lowering(_total, row=_total_row),
    ops.mean: Lowering(_mean, row=_mean_row),
    ops.logsumexp: Lowering(_logsumexp, long=True, row=_logsumexp_row),
    ops.cross_entropy: Lowering(_cross_entropy, long=True, row=_cross_entropy_row),
})  # fmt: skip
