"""Where weights start: random numbers whose spread keeps the signal's scale from layer to layer."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import cast

from .. import expect

Init = Callable[[int, random.Random], float]  # a user's own: (nin, rng) -> one weight
Seed = int | random.Random | None

# nin, nout, generator -> one weight. Biases start at 0.
INITS: dict[str, Callable[[int, int, random.Random], float]] = {
    # the lectures' N(0, sigma^2 / m) with sigma = 1: z keeps the variance of x (LeCun et al. 1998)
    "lecun_normal": lambda nin, nout, rng: rng.gauss(0.0, math.sqrt(1.0 / nin)),
    "uniform": lambda nin, nout, rng: rng.uniform(-1.0, 1.0),  # micrograd's
    "xavier_uniform": lambda nin, nout, rng: rng.uniform(-1.0, 1.0) * math.sqrt(6.0 / (nin + nout)),
    "he_normal": lambda nin, nout, rng: rng.gauss(0.0, math.sqrt(2.0 / nin)),  # for ReLU (He et al. 2015)
}


def initialiser(init: str | Init | None) -> Callable[[int, int, random.Random], float]:
    """(nin, nout, rng) -> one weight, from a name of INITS, a function of (nin, rng), or None for lecun_normal."""
    if callable(init):
        return lambda nin, nout, rng: init(nin, rng)
    return INITS[expect.one_of("init", "lecun_normal" if init is None else init, INITS, "a function of (nin, rng)")]


def generator(seed: Seed) -> random.Random:
    """A generator of its own for a seed; None: the one behind random.gauss, so that random.seed() reproduces."""
    if seed is None:
        return cast(random.Random, random.gauss.__self__)  # type: ignore[attr-defined]
    return seed if isinstance(seed, random.Random) else random.Random(expect.seed("seed", seed))
