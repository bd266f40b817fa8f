"""`fit`: the training loop, written once."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import ops
from .data import shuffled
from .engine import Value
from .optim import Optimizer


@dataclass
class History:
    """What happened during `fit`.

    loss: the mean loss of each epoch (penalty included), summed up during the forward passes, so it
    is that of the parameters as they were on the way. lr: the learning rate at each epoch's end.
    steps: how many updates were made. seconds: how long it took. stopped: why it ended.
    """

    loss: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    stopped: str = "all epochs done"


def fit(
    loss: Callable[[Any, Any], Any],
    opt: Optimizer,
    X: Sequence[Any],
    y: Sequence[Any],
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    compiled: bool | None = None,
    schedule: Callable[[int], float] | None = None,
    penalty: Callable[[], Any] | None = None,
    tol: float | None = None,
    callback: Callable[[int, History], Any] | None = None,
    progress: bool = True,
) -> History:
    """Trains opt.params on examples X, y and returns the History.

    loss(x, y): one example -> one Value; a step uses the mean over a batch. batch_size: None takes all
    examples at once; else they are shuffled, from `seed`, every epoch. schedule(t): the learning rate
    after t steps, in place of opt.lr. penalty(): a Value added once a batch, such as nn.l2(ps, 1e-4).
    tol: stop when no parameter moves more in a step (the lectures' |dtheta| < eps).
    callback(epoch, history): after every epoch, counted from 1; a true answer stops the training.
    progress: a bar on stderr (tqdm where it is installed).
    compiled: True runs native code; None does where it is available.

    An exception (also Ctrl-C) leaves the parameters of a whole step.
    """
    _check(X, y, epochs, batch_size, tol)
    if compiled:
        raise NotImplementedError("fit(compiled=True) needs the compiler, which this version does not have yet")
    history, start = History(), time.perf_counter()
    size = len(X) if batch_size is None else min(batch_size, len(X))
    order, state = list(range(len(X))), seed
    bar = _progress_bar(epochs, progress)
    try:
        for epoch in range(1, epochs + 1):
            if size < len(X):
                order, state = shuffled(len(X), state)
            epoch_loss, seen = 0.0, 0
            for at in range(0, len(X), size):
                chosen = order[at : at + size]
                if schedule is not None:
                    opt.lr = schedule(opt.t)
                value = _objective(loss, [X[i] for i in chosen], [y[i] for i in chosen], penalty)
                if not math.isfinite(value.data):
                    raise FloatingPointError(
                        f"the loss is {value.data} in epoch {epoch}; the parameters are those before this "
                        "step. Often the learning rate is too high; `with anomaly():` finds the place"
                    )
                opt.zero_grad()
                value.backward()
                before = [p.data for p in opt.params] if tol is not None else []
                opt.step()
                history.steps += 1
                epoch_loss += value.data * len(chosen) / len(X)
                seen += len(chosen)
                if tol is not None:
                    moved = max(abs(p.data - old) for p, old in zip(opt.params, before))
                    if moved <= tol:
                        history.stopped = f"no parameter moved more than tol={tol:g} in step {history.steps}"
                        break
            if seen < len(X):  # tol cut it short
                epoch_loss *= len(X) / seen
            history.loss.append(epoch_loss)
            history.lr.append(opt.lr)
            history.seconds = time.perf_counter() - start
            bar(epoch, epoch_loss)
            if callback is not None and callback(epoch, history):
                history.stopped = f"the callback stopped it after epoch {epoch}"
            if history.stopped != History.stopped:
                break
    finally:
        history.seconds = time.perf_counter() - start
        bar(None, math.nan)
    return history


def _objective(loss: Callable[[Any, Any], Any], X: Sequence[Any], y: Sequence[Any], penalty: Any) -> Value:
    """The mean loss of a batch, plus the penalty, as one Value."""
    losses = [loss(xi, yi) for xi, yi in zip(X, y)]
    for value in losses:
        if not isinstance(value, Value):
            raise TypeError(
                f"loss(x, y) must return one Value, got {value!r}; compute it from the model's outputs, "
                "not from their .data"
            )
    value = ops.mean(losses)
    if value.op is None:
        raise RuntimeError("fit was called inside no_grad(): nothing is recorded, so nothing can be learnt")
    return value if penalty is None else value + penalty()  # type: ignore[no-any-return]


def _check(X: Sequence[Any], y: Sequence[Any], epochs: int, batch_size: int | None, tol: float | None) -> None:
    if len(X) != len(y):
        raise ValueError(f"fit expects as many examples as targets, got {len(X)} and {len(y)}")
    if not len(X):
        raise ValueError("fit expects at least one example, got none")
    if not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs is a whole number of at least 0, got {epochs!r}")
    if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size is None (all examples) or a whole number of at least 1, got {batch_size!r}")
    if tol is not None and not tol >= 0.0:
        raise ValueError(f"tol is a largest step of at least 0, got {tol!r}")


def _progress_bar(epochs: int, wanted: bool) -> Callable[[int | None, float], None]:
    """A function of (epoch, loss), or of (None, ...) at the end."""
    if not wanted:
        return lambda epoch, loss: None
    if importlib.util.find_spec("tqdm"):
        from tqdm import tqdm

        bar = tqdm(total=epochs, unit="epoch", desc="fit")

        def advance(epoch: int | None, loss: float) -> None:
            if epoch is None:
                bar.close()
            else:
                bar.set_postfix(loss=f"{loss:.4g}", refresh=False)
                bar.update(epoch - bar.n)

        return advance

    last = [0.0]

    def line(epoch: int | None, loss: float) -> None:
        now = time.monotonic()
        if epoch is not None and (now - last[0] > 1.0 or epoch == epochs):
            last[0] = now
            print(f"fit: epoch {epoch} of {epochs}, loss {loss:.4g}", file=sys.stderr, flush=True)

    return line
