"""Losses of one example, to be averaged with `mean`; penalties on the parameters; the share of right answers.

Numbers give a number; any Value among them gives a Value. A target outside of a loss's domain is a ValueError, a
list in place of one number a TypeError; what the compiler records is asked for each example.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

from .. import examples, expect, ops
from ..engine import Number, Value
from ..examples import Examples
from .tensors import mapped

Numbers = Number | Sequence[Number]
Scalar = Value | Any  # of any Value a Value, else a float: of a union of both, each use would have to ask which


def mse(prediction: Numbers, target: Numbers) -> Scalar:
    """(f - y)^2; for two lists of one length, the mean of it over their entries (lecture 004)."""
    terms = [(f - y) ** 2 for f, y in expect.matched("mse", prediction, target)]
    return terms[0] if len(terms) == 1 else ops.mean(terms)


def half_squared_error(prediction: Numbers, target: Numbers) -> Scalar:
    """1/2 (f - y)^2, whose derivative is f - y; for lists, the sum of it (lectures 001 and 003)."""
    terms = [0.5 * (f - y) ** 2 for f, y in expect.matched("half_squared_error", prediction, target)]
    return terms[0] if len(terms) == 1 else ops.total(terms)


def huber(prediction: Numbers, target: Numbers, delta: Number = 1.0) -> Scalar:
    """1/2 r^2 of a residual r = f - y up to delta, delta (|r| - delta/2) beyond: outliers pull no harder than delta
    (Huber 1964). For two lists of one length, the mean of it over their entries.

    >>> huber(0.5, 0.0), huber(-3.0, 0.0)
    (0.125, 2.5)
    """
    message = "huber expects delta as a finite number above 0, got {:g}".format
    delta = expect.demand("delta", delta, lambda delta: 0.0 < delta < math.inf, message)
    residuals = [f - y for f, y in expect.matched("huber", prediction, target)]
    slopes = [ops.clip(r, -delta, delta) for r in residuals]
    terms = [slope * (r - 0.5 * slope) for r, slope in zip(residuals, slopes)]
    return terms[0] if len(terms) == 1 else ops.mean(terms)


def hinge(score: Number, y: Number) -> Scalar:
    """max(0, 1 - y score) for a class y of -1 or 1 (Cortes and Vapnik 1995).

    >>> hinge(0.25, -1)
    1.25
    """
    score = expect.one_score("hinge", score)
    message = "hinge expects the class y as -1 or 1, got {:g}; for labels 0 and 1 write 2 * y - 1".format
    y = expect.demand("y", y, lambda y: y in (-1.0, 1.0), message)
    return ops.relu(1.0 - y * score)


def bce_with_logits(z: Number, t: Number) -> Scalar:
    """-t log s - (1 - t) log(1 - s) with s = sigmoid(z), for a target t from 0 to 1; no overflow."""
    z = expect.one_score("bce_with_logits", z)
    message = "bce_with_logits expects a target from 0 to 1, got {:g}; for labels -1 and 1 write (y + 1) / 2".format
    t = expect.demand("t", t, lambda t: 0.0 <= t <= 1.0, message)
    if not isinstance(t, Value) and t in (0.0, 1.0):
        return ops.softplus(z if t == 0.0 else -z)
    return t * ops.softplus(-z) + (1.0 - t) * ops.softplus(z)


def cross_entropy(zs: Iterable[Number], k: Number) -> Scalar:
    """-log softmax(zs)[k]: scores zs, one per class, and the class k as a whole number from 0.

    >>> round(cross_entropy([0.0, 0.0], 1), 6)
    0.693147
    """
    zs = expect.scores("cross_entropy", zs)
    k = expect.one_class("cross_entropy", k, len(zs))
    return ops.cross_entropy(zs, k)


def softmax(zs: Iterable[Number]) -> list[Scalar]:
    """exp(z) / sum of exp, for each z: positive, sums to 1, right to a few units in the last place at every scale."""
    return ops.shares(expect.scores("softmax", zs))


def l1(parameters: Iterable[Number], strength: float = 1.0) -> Scalar:
    """strength * sum of |p|."""
    return strength * ops.total([ops.abs_(p) for p in expect.listed("l1", parameters)])


def l2(parameters: Iterable[Number], strength: float = 1.0) -> Scalar:
    """strength * sum of p^2."""
    parameters = expect.listed("l2", parameters)
    return strength * ops.dot(parameters, parameters)


def accuracy(outputs: Examples[object], targets: Examples[object]) -> float:
    """The share of right answers, from 0 to 1.

    Parameters
    ----------
    outputs : one score per example, right where its sign is the target's; or a list of scores per example, right
        where the largest is at the target's index. Values or numbers, in lists, arrays, tables, tensors.
    targets : -1 or 1; or 0, 1, 2, ... ValueError for a class that has no score. In what `fit` takes as y.

    >>> accuracy([0.3, -2.0], [1, 1]), accuracy([[0.1, 0.7, 0.2]], [1])
    (0.5, 1.0)
    """
    if str(getattr(outputs, "dtype", "")) == "object" and hasattr(outputs, "tolist"):  # an array of Values
        outputs = outputs.tolist()
    numbers = cast(Examples[object], mapped(lambda z: z.data if isinstance(z, Value) else z, outputs))
    found = examples.targets(numbers, "outputs")
    several = len(found) > 0 and hasattr(found[0], "__len__")
    y = examples.targets(targets, "targets", other=several)  # a text is then a class that has no score
    expect.pairs("accuracy", found, y, "outputs")
    right = 0
    for output, target in zip(map(_plain, found), map(_plain, y)):
        if not isinstance(output, (list, tuple)):
            if not isinstance(target, (int, float)):
                raise ValueError(f"accuracy expects the class of one score as one number, got {target!r}")
            right += (cast(float, output) > 0) == (target > 0)
        else:
            if isinstance(target, (list, tuple)) or target not in range(len(output)):
                raise ValueError(f"accuracy expects a class from 0 to {len(output) - 1}, got {target!r}")
            right += output.index(max(output)) == target
    return right / len(found)


def _plain(row: object) -> object:
    """A row of an array as a list, its number as a float."""
    return row.tolist() if hasattr(row, "tolist") else row
