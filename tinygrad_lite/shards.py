"""Examples in shards, in this process or on the workers of a Dask cluster, each of which sums up its own gradients.

The shards' sums are added in the order of the shards: any number of workers gives the bits that one process gives.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from . import examples, expect
from .examples import Examples

if TYPE_CHECKING:
    import numpy as np
    from distributed import Client, Future

    Array: TypeAlias = np.ndarray
    Rows: TypeAlias = Sequence[object]
    Columns: TypeAlias = tuple[Rows, ...]  # X, or X and y

LEAST = 8  # shards, where nobody says how many: as many for every cluster, so that the bits do not depend on it
MOST_EXAMPLES = 100_000  # in one of them, where nobody says
MOST_FUNCTIONS = 8  # that a worker keeps compiled


class Summed(Protocol):
    """What shards are summed with: a jitted function."""

    def value_and_grad(self, *arrays: Rows, parameters: Array) -> tuple[float, Array]: ...


class Shards:
    """Examples that stay where they are. len(): how many they are. Made by `data.shard`; `jit(loss).value_and_grad`,
    `.mean` and `fit` take it in place of examples and targets."""

    def __init__(
        self, parts: Sequence[object], counts: Sequence[int], client: Client | None, timeout: float,
        places: Sequence[Sequence[int]] | None = None,
    ) -> None:  # fmt: skip
        self.parts, self.counts, self.client, self.timeout, self.places = parts, counts, client, timeout, places
        self._sent: dict[int, tuple[Summed, str, object]] = {}

    def __len__(self) -> int:
        return sum(self.counts if self.places is None else map(len, self.places))

    def __repr__(self) -> str:
        where = "in this process" if self.client is None else "on a cluster"
        return f"{len(self):,} examples in {len(self.parts)} shards {where}"

    def first(self) -> Columns:
        """The first example, as a batch of one."""
        return cast("Columns", self._gathered([self._submit(_head, self.parts[0])])[0])

    def taken(self, chosen: Iterable[int]) -> Shards:
        """These examples alone, by their places in all shards one after the other."""
        ends, places = list(accumulate(self.counts)), [list[int]() for _ in self.parts]
        for place in sorted(chosen):
            shard = bisect_right(ends, place)
            places[shard].append(place - ends[shard] + self.counts[shard])
        some = Shards(self.parts, self.counts, self.client, self.timeout, places)
        some._sent = self._sent
        return some

    def sums(self, function: Summed, parameters: Array) -> Array:
        """The sum of function's values over all examples, then of their gradients.

        TimeoutError where a worker does not answer; the shards of one that died are made again by another.
        """
        token, sent = self._on_workers(function)
        places: Sequence[Sequence[int] | None] = self.places or [None] * len(self.parts)
        wanted = [(part, some) for part, some in zip(self.parts, places) if some is None or len(some)]
        if self.client is None:
            found = [_summed(function, cast("Columns", part), some, parameters) for part, some in wanted]
        else:
            found = self._gathered([self._submit(_travelled, token, sent, *one, parameters) for one in wanted])
        total = found[0].copy()
        for part in found[1:]:
            total += part
        return total

    def _on_workers(self, function: Summed) -> tuple[str, object]:
        """The function on the cluster, and its name there."""
        if self.client is None:
            return "", None
        if id(function) not in self._sent:
            future = self._submit(_same, function)
            self._sent[id(function)] = (function, cast("Future", future).key, future)
        return self._sent[id(function)][1:]

    def _submit(self, function: Callable[..., object], *arguments: object) -> object:
        """A future of the cluster, which knows how to compute it again; here, the result."""
        if self.client is None:
            return function(*arguments)
        return self.client.submit(function, *arguments, pure=False)

    def _gathered(self, futures: Sequence[object]) -> list[Array]:
        if self.client is None:
            return cast("list[Array]", list(futures))
        import distributed

        try:
            distributed.wait(cast("list[Future]", futures), timeout=self.timeout)
        except TimeoutError:
            silent = sum(not cast("Future", future).done() for future in futures)
            self.client.cancel(futures)
            raise TimeoutError(
                f"{silent} of {len(futures)} shards gave no answer in {self.timeout:g} s, and nothing was updated: "
                f"look at the workers ({self.client.dashboard_link}), or allow more, data.shard(..., timeout=...)"
            ) from None
        return cast("list[Array]", self.client.gather(futures))


def shard(
    X: Examples[object],
    y: Examples[object] | None = None,
    client: Client | None = None,
    shards: int | None = None,
    timeout: float = 600.0,
) -> Shards:
    """Examples and targets in shards, left on the workers of a Dask cluster.

    Parameters
    ----------
    X, y : examples and their targets, as `fit` takes them; or two Dask arrays, bags or dataframes, whose chunks become
        the shards and never come to this process. Without y: of a function that takes one argument.
    client : a `distributed.Client`. None keeps the shards here, for the same bits without a cluster.
    shards : how many, of examples side by side. By default 8, and more where they would hold over 100,000 examples.
    timeout : how many seconds a worker may take for an answer.

    >>> from tinygrad_lite import data
    >>> X, y = data.moons(100)
    >>> data.shard(X, y)
    100 examples in 8 shards in this process
    """
    given = [X] if y is None else [X, y]
    timeout = expect.positive("timeout", timeout)
    empty = Shards([], [], client, timeout)
    if any(hasattr(column, "__dask_graph__") for column in given):
        parts = [empty._submit(_rows, *chunk) for chunk in _chunks(given, client)]
    else:
        columns = [examples.rows(X)] if y is None else list(examples.pairs("shard", X, y))
        n = len(columns[0])
        count = max(LEAST, -(-n // MOST_EXAMPLES)) if shards is None else expect.whole("shards", shards)
        ends = [n * i // min(count, n) for i in range(min(count, n) + 1)]
        blocks = [[column[start:stop] for column in columns] for start, stop in zip(ends, ends[1:])]
        parts = [empty._submit(_rows, *block) for block in blocks]
    counts = [int(k) for k in empty._gathered([empty._submit(_count, part) for part in parts])]
    full = [(part, k) for part, k in zip(parts, counts) if k]
    if not full:
        raise ValueError("shard expects at least one example")
    return Shards([part for part, _ in full], [k for _, k in full], client, timeout)


def _chunks(columns: Sequence[object], client: Client | None) -> list[tuple[object, ...]]:
    """The chunks of Dask collections, side by side, as tasks."""
    if client is None:
        raise ValueError("the chunks of a Dask collection stay on its workers: write data.shard(X, y, client)")
    chunks = []
    for given in columns:
        if not hasattr(given, "__dask_graph__"):
            raise TypeError(f"shard takes X and y both as Dask collections, or neither, got {type(given).__name__}")
        column: Any = given  # an array, bag or dataframe of Dask's
        if getattr(column, "ndim", 1) > 1 and hasattr(column, "rechunk"):
            column = column.rechunk(dict.fromkeys(range(1, column.ndim), -1))
        delayed = column.to_delayed()
        chunks.append(client.compute(list(delayed.ravel() if hasattr(delayed, "ravel") else delayed)))
    if len({len(parts) for parts in chunks}) > 1:
        counts = " and ".join(str(len(parts)) for parts in chunks)
        raise ValueError(f"shard pairs the chunks of X with those of y, got {counts}: give both the same chunks")
    return list(zip(*chunks))


# --- on a worker


def _rows(X: Examples[object], y: Examples[object] | None = None) -> Columns:
    return (examples.rows(X),) if y is None else examples.pairs("shard", X, y)


def _count(columns: Columns) -> int:
    return len(columns[0])


def _head(columns: Columns) -> Columns:
    return tuple(column[:1] for column in columns)


def _same(x: object) -> object:
    return x


def _summed(function: Summed, columns: Columns, places: Sequence[int] | None, parameters: Array) -> Array:
    import numpy as np

    if places is not None:
        columns = tuple(examples.taken(column, places) for column in columns)
    mean, gradient = function.value_and_grad(*columns, parameters=parameters)
    return np.append(mean, gradient) * len(columns[0])


_functions: dict[str, Summed] = {}  # that have travelled here, each compiled at its first use


def _travelled(
    token: str, function: Summed, columns: Columns, places: Sequence[int] | None, parameters: Array
) -> Array:
    """A copy of the function may come more than once; the first one has been compiled."""
    function = _functions.pop(token, function)
    _functions[token] = function  # the latest used is last
    while len(_functions) > MOST_FUNCTIONS:
        del _functions[next(iter(_functions))]
    return _summed(function, columns, places, parameters)
