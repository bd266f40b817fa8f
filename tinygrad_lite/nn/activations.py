"""Activation functions: from the weighted sum z of a neuron to its output."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

from .. import expect, ops
from ..engine import Value

N = TypeVar("N", Value, float)
Activation = str | Callable[[Value], Value]  # a name of ACTIVATIONS, or a function of one Value


def linear(z: N) -> N:
    """z itself."""
    return z


def silu(z: N) -> N:
    """z * sigmoid(z) (Hendrycks and Gimpel 2016)."""
    return z * ops.sigmoid(z)


def gelu(z: N) -> N:
    """z * Phi(z), with the standard normal distribution function Phi, exactly (Hendrycks and Gimpel 2016).

    Off by at most 2^-52 (1 + |z|) absolutely, as PyTorch's: relative to itself the left tail, where 1 + erf cancels, is
    not exact.
    """
    return 0.5 * z * (1.0 + ops.erf(z / math.sqrt(2.0)))


def elu(z: N) -> N:
    """z where z > 0, else exp(z) - 1: smooth at 0, and never below -1 (Clevert et al. 2016, alpha = 1)."""
    return ops.where(ops.less(0.0, z), z, ops.expm1(z))


# methods of Value where there are some: they skip the detour through Op.__call__
ACTIVATIONS: dict[str, Callable[[Value], Value]] = {
    "linear": linear,
    "relu": Value.relu,
    "leaky_relu": Value.leaky_relu,
    "tanh": Value.tanh,
    "sigmoid": Value.sigmoid,
    "softplus": Value.softplus,
    "silu": silu,
    "gelu": gelu,
    "elu": elu,
    "sin": Value.sin,
    "sign": Value.sign,
    "step": Value.step,
}


def activation_function(activation: Activation) -> Callable[[Value], Value]:
    """The function of this name, or the function itself; ValueError for a name that is none."""
    if callable(activation):
        return activation
    return ACTIVATIONS[expect.one_of("activation", activation, ACTIVATIONS, "a function of a Value")]


def activation_name(activation: Activation) -> str:
    """What to call it in a summary: its name in ACTIVATIONS, or that of the function."""
    return activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))
