"""Toy data sets, the real digits and irises, and mini-batches.

Every generator returns X, a list of n points (lists of floats), and y, a list of n targets: -1.0 / 1.0
for two classes, 0, 1, 2, ... for more, a float for `linear`. noise is the standard deviation of what is
added to each coordinate (to y in `linear`). The same seed gives the same bits.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from . import examples, expect
from .examples import Examples
from .shards import shard as shard  # importable from here

Points = list[list[float]]
GAMMA = 0x9E3779B97F4A7C15  # by which the state of splitmix64 grows with each draw
S = TypeVar("S")
T = TypeVar("T")


def moons(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """Two interleaved half circles.

    >>> X, y = moons(4, noise=0.0)
    >>> [[round(a, 9), round(b, 9)] for a, b in X], y
    ([[1.0, 0.0], [0.0, 0.5], [-1.0, 0.0], [2.0, 0.5]], [-1.0, 1.0, -1.0, 1.0])
    """

    def at(side: float, u: float) -> tuple[float, float]:
        x, y = math.cos(math.pi * u), math.sin(math.pi * u)
        return (x, y) if side < 0 else (1.0 - x, 0.5 - y)

    return _two_classes(n, noise, seed, at)


def circles(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """A circle of radius 1 (class -1) around one of radius 1/2 (class 1)."""

    def at(side: float, u: float) -> tuple[float, float]:
        r = 1.0 if side < 0 else 0.5
        return r * math.cos(2 * math.pi * u), r * math.sin(2 * math.pi * u)

    return _two_classes(n, noise, seed, at, closed=True)


def spirals(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """Two spirals of one and a half turns, from radius 0.05 to radius 1; noise is scaled by 1/5."""

    def at(side: float, u: float) -> tuple[float, float]:
        angle, r = 3 * math.pi * u + (math.pi if side > 0 else 0.0), 0.05 + 0.95 * u
        return r * math.cos(angle), r * math.sin(angle)

    return _two_classes(n, noise, seed, at, scale=0.2)


def xor(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """Points around the corners of a square of side 2; class 1 where the signs of x and y differ."""
    n, rng = _generator(n, noise, seed)
    X, y = [], []
    for i in range(n):
        a, b = (-1.0 if i % 2 else 1.0), (-1.0 if i // 2 % 2 else 1.0)
        X.append([a + rng.gauss(0.0, noise), b + rng.gauss(0.0, noise)])
        y.append(-a * b)
    return X, y


def blobs(n: int = 100, noise: float = 0.1, seed: int = 0, centers: int = 3) -> tuple[Points, list[int]]:
    """Round clouds at equal distances on a circle of radius 1; classes 0, 1, ..., centers - 1."""
    (n, rng), centers = _generator(n, noise, seed), expect.whole("centers", centers)
    X, y = [], []
    for i in range(n):
        angle = 2 * math.pi * (i % centers) / centers
        X.append([math.cos(angle) + rng.gauss(0.0, noise), math.sin(angle) + rng.gauss(0.0, noise)])
        y.append(i % centers)
    return X, y


def linear(n: int = 100, noise: float = 0.1, seed: int = 0) -> tuple[Points, list[float]]:
    """A line to find again: y = 2 x - 1 + noise, x uniform in -1 .. 1 (one coordinate per point)."""
    n, rng = _generator(n, noise, seed)
    X = [[rng.uniform(-1.0, 1.0)] for _ in range(n)]
    return X, [2.0 * x - 1.0 + rng.gauss(0.0, noise) for (x,) in X]


def digits() -> tuple[Points, list[int]]:
    """1,797 handwritten digits: 64 pixels of 0 .. 1 and the class 0 .. 9 (Alpaydin and Kaynak 1998).

    Bundled with scikit-learn: ImportError names the extra where it is missing.
    """
    X, y = _bundled("load_digits")
    return [[pixel / 16.0 for pixel in row] for row in X], y


def iris() -> tuple[Points, list[int]]:
    """150 irises: four lengths in cm and the species 0 .. 2 (Fisher 1936). Bundled with scikit-learn."""
    return _bundled("load_iris")


def split(
    X: Examples[S], y: Examples[T], test: float = 0.2, seed: int = 0
) -> tuple[Sequence[S], Sequence[T], Sequence[S], Sequence[T]]:
    """X_train, y_train, X_test, y_test after shuffling.

    Parameters
    ----------
    X, y : examples and their targets, as many of both: lists stay lists; an array, a table or a tensor becomes an
        array of float64.
    test : the share to hold out, 0 to 1.
    seed : of the order.
    """
    X, y = examples.pairs("split", X, y)
    held = round(len(X) * expect.number("test", test))
    if not 0 < held < len(X):
        raise ValueError(f"split expects a share that leaves examples on both sides, got {test!r} of {len(X)}")
    order, _ = shuffled(len(X), expect.seed("seed", seed))
    train, out = order[held:], order[:held]
    return examples.taken(X, train), examples.taken(y, train), examples.taken(X, out), examples.taken(y, out)


def batches(
    X: Examples[S], y: Examples[T], size: int, seed: int = 0, replace: bool = False
) -> Iterator[tuple[Sequence[S], Sequence[T]]]:
    """One epoch of mini-batches (X, y), shuffled.

    Parameters
    ----------
    X, y : examples and their targets, as many of both: lists stay lists; an array, a table or a tensor becomes an
        array of float64.
    size : examples per batch; the last may be smaller.
    seed : of the order; give another one for the next epoch.
    replace : False shows every example once; True draws each independently, as the i_t of lectures 001 and 12.
    """
    X, y = examples.pairs("batches", X, y)
    size, seed = expect.whole("size", size, of="examples"), expect.seed("seed", seed)
    if replace:
        state, order = seed, []
        for _ in range(len(X)):
            state, bits = splitmix64(state)
            order.append(bits % len(X))
    else:
        order, _ = shuffled(len(X), seed)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        yield examples.taken(X, chosen), examples.taken(y, chosen)


def splitmix64(state: int) -> tuple[int, int]:
    """(next state, 64 random bits): Steele, Lea and Flood 2014. Small enough to run in compiled code."""
    state = (state + GAMMA) & 0xFFFFFFFFFFFFFFFF
    z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
    return state, z ^ (z >> 31)


def shuffled(n: int, state: int) -> tuple[list[int], int]:
    """0 .. n - 1 in random order (Fisher and Yates), and the state for the next shuffle."""
    order = list(range(n))
    for i in range(n - 1, 0, -1):
        state, bits = splitmix64(state)
        j = bits % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order, state


def order_state(seed: int, n: int, epochs: int) -> int:
    """The state that `shuffled` goes on from after so many shuffles of n examples, which began with this seed."""
    return (seed + epochs * (n - 1) * GAMMA) & 0xFFFFFFFFFFFFFFFF  # each draws n - 1 times


def _two_classes(
    n: int, noise: float, seed: int, at: Callable[[float, float], tuple[float, float]], scale: float = 1.0,
    closed: bool = False,
) -> tuple[Points, list[float]]:  # fmt: skip
    """Classes in turn, each spread evenly over its curve at(side, u), u from 0 to 1."""
    n, rng = _generator(n, noise, seed)
    noise *= scale
    X, y = [], []
    for i in range(n):
        side = 1.0 if i % 2 else -1.0
        count = (n + 1 - i % 2) // 2  # points of this class
        x1, x2 = at(side, (i // 2) / max(count if closed else count - 1, 1))
        X.append([x1 + rng.gauss(0.0, noise), x2 + rng.gauss(0.0, noise)])
        y.append(side)
    return X, y


def _generator(n: int, noise: float, seed: int) -> tuple[int, random.Random]:
    """n, checked, and the generator of this seed."""
    expect.not_negative("noise", noise)
    return expect.whole("n", n, of="points"), random.Random(expect.seed("seed", seed))


def _bundled(name: str) -> tuple[Points, list[int]]:
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError("the real data sets come with scikit-learn: pip install 'tinygrad_lite[demo]'") from None
    found = getattr(datasets, name)()
    return found.data.tolist(), found.target.tolist()
