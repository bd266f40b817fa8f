"""What the tests know about an operation: the record's form, and the kit that records are made of. No tests.

The records are in operations.py. Their interpreters: oracle.py (the truth at every point), accuracy.py (how far from it
a result may be), dual_numbers.py (forward mode), rewritings.py (other spellings), peers.py (other libraries),
random_graphs.py and compiler/error_bounds.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Any, NamedTuple

from mpmath import MPContext

from tinygrad_lite.ops import Op

inf, nan = math.inf, math.nan
mp = MPContext()  # not mpmath.mp, whose precision other tests may rely on
mp.dps = 50
mpf = mp.mpf

Point = tuple[float, ...]


class Edge(NamedTuple):
    """The operation at `point` has this value, its sign of zero included, and these partials; None: not even a 0 is
    sent. f: another function of the operands than the operation alone, as `text` says."""

    text: str
    point: Point
    value: float
    partials: tuple[float | None, ...]
    f: Callable[..., Any] | None = None
    op: Op | None = None  # set by the record


Bounds = tuple[float, float, float]


class Beyond(NamedTuple):
    """From this order on (1: partials, 2: second partials), at the operands `where`, the result is `instead` of the
    truth; None: it may be anything. why: for the reader of the table."""

    order: int
    where: Callable[..., bool]
    instead: float | None
    why: str


class Accuracy(NamedTuple):
    """eager, compiled: bounds for the value, the first and the second partials, in ulp: the spacing of floats at the
    true result, which below 2.2e-308 is 5e-324.

    units: for some orders the error is counted in 2^-52 x another number where that is larger: a function of the
    operands that gives one for each part, and what it is, for the reader.
    """

    eager: Bounds
    compiled: Bounds
    units: Mapping[int, tuple[Callable[..., list[Any]], str]] = MappingProxyType({})
    beyond: tuple[Beyond, ...] = ()


class Vectorised(NamedTuple):
    """For a function of compiler/vector_math.py: draws of its operands, from where its formula could go wrong, and
    points where its value is exact, the sign of zero included. One operand needs no tuple."""

    draws: tuple[Callable[[Random], float | Point], ...]
    exact: tuple[tuple[float | Point, float], ...]


def never(*_: Any) -> bool:
    return False


def at_0(xs: Sequence[float], es: Sequence[float]) -> bool:
    """A jump where the first operand changes its sign."""
    return bool(es[0]) and not abs(xs[0]) > es[0]


def between_ends(f: Callable[[float], float]) -> Callable[[Sequence[float], Sequence[float]], bool]:
    """A jump wherever the staircase f has another value."""
    return lambda xs, es: bool(es[0]) and f(xs[0] - es[0]) != f(xs[0] + es[0])


def at_roots(xs: Sequence[float], es: Sequence[float]) -> bool:
    """0 only at a root, never because a result is too small to hold."""
    return not any(es)


@dataclass(eq=False, kw_only=True)
class Operation:
    """One operation of the table. The first nine are needed for each; operands are flat, as in `Value.record`.

    samples     points, moderate, and at least 0.05 away from any kink or pole, so that finite differences apply
    draw        a random point of the domain, of large and small magnitudes where the operation is smooth there
    edges       what the table of edge cases, IEEE 754 or a one-sided limit says
    reference   operands as mpf -> (value, gradient, Hessian), a closed form written without a look at ops.py
    accuracy    units in the last place, eager and compiled
    dual        (numbers' functions m, *operands) -> (value, partials); None for a partial: nothing is sent
    rewritings  the same real function with the same derivative wherever the operation has one, at kinks too
    peers       its name in PyTorch, JAX and CasADi, or (library's functions m, *operands) -> result
    symbol      what a drawing prints, if not the name

    call        how users write it with flat operands, if not op(*operands)
    operator    Python's operator for it
    reordered   its operands in another order, which changes nothing

    kind        "smooth": has derivatives, but for kinks; "comparison", "jump" (sign, floor), "extreme" (maximum, clip),
                "choice" (where), "sum", "constant" (detach: its derivative is 0, though its value changes)
    index       the place of the operand that is a whole number and says which of the others is meant, if there is one
    chooses     an infinity or a zero is an operand like any other and its own limit
    nan_is_nan  where the value is nan every partial is; else partials are what IEEE 754 gives
    tame        smooth everywhere, without a pole
    turns_at_0  the first operand's sign decides which formula holds
    kink        do PyTorch and JAX choose another subgradient at these operands?
    one_sided   does the mixed second derivative not exist at these operands?
    same_bits   operands of equal bits give equal bits in every way to compute it
    true_zero   (operands, their errors): is a result of 0 exact, not a number too small to hold?
    near_pole   (operands, their errors, result): is infinity possible between the operands' ends?
    near_jump   (operands, their errors): is a jump possible there?
    scale       (operands, result): what the ulps of an error are of
    decreed     by repr of an operand: [value, partial, second], where IEEE 754, C99 or the table of edge cases say
                something else than the limit, or a pole is not at 0
    amended     (parts, *operands) -> parts, the same for more operands
    like        (*operands) -> a point whose answer holds for these operands too
    vectorised  where its vector code is tested most, if the compiler has its own
    """

    op: Op
    samples: tuple[Point, ...] = ()
    draw: Callable[[Random], Point] | None = None
    edges: tuple[Edge, ...] = ()
    reference: Callable[..., Any] | None = None
    accuracy: Accuracy | None = None
    dual: Callable[..., Any] | None = None
    rewritings: tuple[Callable[..., Any], ...] = ()
    peers: str | Callable[..., Any] | None = None
    symbol: str = ""

    call: Callable[..., Any] | None = None
    operator: Callable[..., Any] | None = None
    reordered: Callable[[Random, list[Any]], list[Any]] = lambda r, xs: xs

    kind: str = "smooth"
    index: int | None = None
    chooses: bool = False
    nan_is_nan: bool = True
    tame: bool = False
    turns_at_0: bool = False
    kink: Callable[..., bool] = never
    one_sided: Callable[..., bool] = never
    same_bits: bool = False
    true_zero: Callable[[Sequence[float], Sequence[float]], bool] = never
    near_pole: Callable[[Sequence[float], Sequence[float], float], bool] = never
    near_jump: Callable[[Sequence[float], Sequence[float]], bool] = never
    scale: Callable[[Sequence[float], float], float] = lambda xs, out: abs(out)
    decreed: Mapping[str, list[float]] = field(default_factory=dict)
    amended: Callable[..., list[Any]] = lambda parts, *operands: parts
    like: Callable[..., Point] = lambda *operands: operands
    vectorised: Vectorised | None = None

    def __post_init__(self) -> None:
        self.call = self.call or self.op
        self.edges = tuple(edge._replace(op=self.op, f=edge.f or self.call) for edge in self.edges)

    @property
    def operands(self) -> int:
        """How many at the first sample point."""
        return len(self.samples[0])

    def lacks(self) -> list[str]:
        """What every operation needs and this record does not have."""
        needed = {
            "two sample points (samples)": len(self.samples) >= 2,
            "random points (draw)": self.draw,
            "edge cases (edges)": self.edges,
            "a reference in mpmath (reference)": self.reference,
            "bounds of its error (accuracy)": self.accuracy,
            "a rule for dual numbers (dual)": self.dual,
            "another spelling (rewritings)": self.rewritings,
            "its name in PyTorch, JAX and CasADi (peers)": self.peers,
        }
        return [what for what, there in needed.items() if not there]


# --- random numbers


def near(r: Random, radius: float) -> float:
    return r.uniform(-radius, radius)


def size(r: Random, low: float, high: float) -> float:
    """A positive number between 10^low and 10^high, each magnitude as likely as any other."""
    return 10.0 ** r.uniform(low, high)


def wide(r: Random, low: float = -12.0, high: float = 12.0) -> float:
    return r.choice((-1.0, 1.0)) * size(r, low, high)


def number(r: Random) -> float:
    return r.choice((near(r, 5.0), wide(r)))


def numbers(least: int, most: int) -> Callable[[Random], Point]:
    return lambda r: tuple(number(r) for _ in range(r.randint(least, most)))


def one(draw: Callable[[Random], float]) -> Callable[[Random], Point]:
    return lambda r: (draw(r),)


def saturating(r: Random) -> float:
    return r.choice((near(r, 40.0), near(r, 700.0), wide(r, -12.0, 1.0)))


def exponent(r: Random) -> float:
    return r.choice((near(r, 700.0), wide(r, -12.0, 1.0)))


def plane(r: Random) -> Point:
    reach = r.choice((3.0, 60.0))
    return wide(r, -reach, reach), wide(r, -reach, reach)


# --- references: operands -> (value, gradient, Hessian)


def unary(f: Any, first: Any, second: Any, least: Any = -mp.inf, most: Any = mp.inf) -> Callable[..., Any]:
    """A function on least .. most; nan with all its derivatives outside."""

    def reference(x: Any) -> Any:
        if not least <= x <= most:
            return mp.nan, [mp.nan], [[mp.nan]]
        return f(x), [first(x)], [[second(x)]]

    return reference


def linear(value: Any, gradient: Sequence[Any]) -> Any:
    return value, gradient, [[0] * len(gradient) for _ in gradient]


def constant(value: Any, n: int) -> Any:
    return linear(value, [0] * n)


def constant_nan(n: int) -> Any:
    return mp.nan, [mp.nan] * n, [[mp.nan] * n] * n


def selected(xs: Sequence[Any], i: int) -> Any:
    """The i-th operand, and nothing of the others."""
    return linear(xs[i], [int(j == i) for j in range(len(xs))])


def periodic(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """f, or nan so far out that no float is there: the limit does not exist."""
    return lambda x: f(x) if mp.fabs(x) < mpf(10) ** 400 else mp.nan


def exp(x: Any) -> Any:
    """e^x. Beyond e^100000, where no float is, a power of two near it: its order alone matters, and the true one
    may have more digits than memory."""
    if mp.fabs(x) < 1e5 or mp.isnan(x):
        return mp.exp(x)
    return mp.ldexp(mpf(1), int(max(min(x, mpf(10) ** 450), -(mpf(10) ** 450)) / mp.ln2))


def sinh(x: Any) -> Any:
    return mp.sinh(x) if mp.fabs(x) < 1e5 else mp.sign(x) * exp(mp.fabs(x)) / 2


def cosh(x: Any) -> Any:
    return mp.cosh(x) if mp.fabs(x) < 1e5 else exp(mp.fabs(x)) / 2


def tanh(x: Any) -> Any:
    return mp.tanh(x) if mp.fabs(x) < 1e5 else mp.sign(x)


def sech(x: Any) -> Any:
    return 1 / cosh(x)


def softplus(x: Any) -> Any:
    return mp.log1p(exp(x)) if x < 0 else x + mp.log1p(exp(-x))


def logistic(x: Any) -> Any:
    return 1 / (1 + exp(-x)) if x > 0 else exp(x) / (1 + exp(x))


def power(x: Any, n: Any) -> Any:
    if n == 0 or x == 1:
        return mpf(1)
    if x == 0 and not mp.isnan(n):
        return x if n > 0 else 1 / x  # ZeroDivisionError: a pole
    if mp.isnan(x) or mp.isnan(n) or (x < 0 and n != mp.floor(n)):
        return mp.nan
    return (-1 if x < 0 and n % 2 == 1 else 1) * exp(n * mp.log(mp.fabs(x)))


# --- accuracy

LARGEST = mpf(1.7976931348623157e308)
LEAST_NORMAL = mpf(2.2250738585072014e-308)
LEAST_INVERSE = 5.562684646268008e-309  # 1 / x overflows below
EXACT = Accuracy((0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
ROUNDED = Accuracy((0.5, 0.0, 0.0), (0.5, 0.0, 0.0))  # correctly, as IEEE 754 asks
LIMIT = "infinite operands (nan for a limit)"


def everywhere(*bounds: float) -> Accuracy:
    """The same eager and compiled."""
    return Accuracy(bounds, bounds)


def small(factor: Any) -> Any:
    """A result below the normal floats is off by up to 5e-324, and a factor after it multiplies that."""
    return mp.fabs(factor) * LEAST_NORMAL


def whole(n: float) -> bool:
    """Is n a whole number? All large floats are, and infinity counts as even."""
    return math.isinf(n) or n % 1.0 == 0.0


def negative(x: float) -> bool:
    return math.copysign(1.0, x) < 0.0


def infinite(*xs: float) -> bool:
    return any(map(math.isinf, xs))


def overflows(f: Callable[..., Any]) -> Callable[..., bool]:
    """Does f of the finite operands, in exact numbers, give more than a float holds?"""
    return lambda *xs: f(*[mpf(x) if math.isfinite(x) else mpf(0) for x in xs]) > LARGEST


# --- dual rules: (m, *operands) -> value, and the partial derivative by each; None where nothing is sent


def dual(name: str, slope: Callable[..., Any]) -> Callable[..., Any]:
    """A function of m by its name; slope(m, x, value)."""

    def rule(m: Any, x: Any) -> Any:
        value = getattr(m, name)(x)
        return value, [slope(m, x, value) if value == value else nan]

    return rule


def jump(f: Callable[[Any], Any]) -> Callable[..., Any]:
    return lambda m, x: (m.number(f(x)) if x == x else x, [0])


def comparison(f: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    return lambda m, a, b: (m.number(1 if f(a, b) else 0), [None, None])


# --- operands in another order


def shuffled(r: Random, xs: list[Any]) -> list[Any]:
    return r.sample(xs, len(xs))


# --- where vector code is tested


def any_magnitude(r: Random) -> float:
    return r.choice((-1.0, 1.0)) * math.ldexp(r.uniform(1.0, 2.0), r.randint(-1074, 1022))


def moderate(r: Random) -> float:
    return r.uniform(-50.0, 50.0) if r.random() < 0.5 else r.uniform(-2.0, 2.0)


def around(*centres: float, spread: int = 40) -> Callable[[Random], float]:
    """Some units in the last place beside a centre, or some part of it."""

    def draw(r: Random) -> float:
        x = r.choice(centres)
        if r.random() < 0.5:
            return x + r.randint(-spread, spread) * math.ulp(x)
        return x + r.uniform(-1.0, 1.0) * 10.0 ** r.uniform(-16.0, -1.0) * max(abs(x), 1e-5)

    return draw


def between(low: float, high: float) -> Callable[[Random], float]:
    return lambda r: r.uniform(low, high)


def positive(draw: Callable[[Random], float]) -> Callable[[Random], float]:
    return lambda r: abs(draw(r))
