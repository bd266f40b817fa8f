"""Gradients that are too long, shortened before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import expect

if TYPE_CHECKING:
    from ..engine import Value


def clip_grad_norm(params: Iterable[Value], largest: float) -> float:
    """Scales the gradients, all by one factor, so that together they are no longer than `largest` (Pascanu, Mikolov
    and Bengio 2013); PyTorch's clip_grad_norm_, with its 1e-6 in the factor largest / (norm + 1e-6).

    Parameters
    ----------
    params : Values whose backward pass is done, as of `model.parameters()`.
    largest : the length that they may have, at least 0.

    Returns
    -------
    The norm before: the square root of the sum of all g^2. Where it is not finite nothing is scaled, and `step` says
    which gradient it is.

    >>> from tinygrad_lite import Value
    >>> a, b = Value(3.0), Value(4.0)
    >>> ((a * a + b * b) / 2).backward()
    >>> clip_grad_norm([a, b], 1.0), round(a.grad, 6), round(b.grad, 6)
    (5.0, 0.6, 0.8)
    """
    params = expect.listed("clip_grad_norm", params)
    largest = expect.not_negative("largest", largest)
    norm = math.hypot(*[p.grad for p in params])  # which does not overflow where the squares do
    if largest < norm + 1e-6 and math.isfinite(norm):
        for p in params:
            if p.grad:
                p.grad *= largest / (norm + 1e-6)
    return norm
