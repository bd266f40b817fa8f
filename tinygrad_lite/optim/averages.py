"""Averages of the parameters over the steps."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING

from .. import expect, ops
from .safety import assign

if TYPE_CHECKING:
    from ..engine import Value


class WeightAverage:
    """The mean of the parameters over the last T steps, which is quieter than the last step alone
    (Polyak and Juditsky 1992).

    Parameters
    ----------
    params : Values, as of `model.parameters()`.
    last : T, at least 1.

    >>> from tinygrad_lite import Value
    >>> w = Value(1.0)
    >>> average = WeightAverage([w], last=2)
    >>> for w.data in 1.0, 2.0, 4.0:
    ...     average.update()
    >>> with average.applied():
    ...     w.data
    3.0
    >>> w.data
    4.0
    """

    def __init__(self, params: Iterable[Value], last: int) -> None:
        self.params = expect.listed("WeightAverage", params)
        self.past: deque[list[float]] = deque(maxlen=expect.whole("last", last, of="steps"))

    def update(self) -> None:
        """Notes the parameters as they are: call it after each step."""
        self.past.append([p.data for p in self.params])

    def mean(self) -> list[float]:
        """The mean of each parameter over the noted steps."""
        if not self.past:
            raise ValueError("nothing to average yet: call update() after each step")
        return [ops.mean(column) for column in zip(*self.past)]

    @contextmanager
    def applied(self) -> Iterator[None]:
        """`with average.applied():` the parameters are their means; afterwards as before."""
        back = map(setattr, self.params, repeat("data"), [p.data for p in self.params])
        means = self.mean()
        try:
            assign(self.params, repeat("data"), means)
            yield
        finally:
            deque(back, maxlen=0)  # in one call, as in assign
