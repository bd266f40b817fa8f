"""`fit`: the training loop, written once."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any

from . import ops
from .data import shuffled
from .engine import Value, no_grad_active
from .mistakes import not_a_loss, warn
from .optim import Optimizer

if TYPE_CHECKING:
    from .compiler.training import Trainer


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
    every: int | None = None,
    progress: bool = True,
) -> History:
    """Trains opt.params on examples X, y and returns the History.

    loss(x, y): one example -> one Value; a step uses the mean over a batch. batch_size: None takes all
    examples at once; else they are shuffled, from `seed`, every epoch. schedule(t): the learning rate
    after t steps, in place of opt.lr. penalty(): a Value added once a batch, such as nn.l2(ps, 1e-4).
    tol: stop when no parameter moves more in a step (the lectures' |dtheta| < eps).
    callback(epoch, history): after every `every` epochs, counted from 1, and at the end; a true answer
    stops the training. every=None: after each epoch, but in native code a few times a second.
    progress: a bar on stderr (tqdm where it is installed).
    compiled: True runs whole epochs in native code, which needs the extra `jit`; None does where that is
    installed and the loss can be compiled, else the engine computes every scalar by itself (RuntimeWarning
    that says why). Compiled, loss and penalty are recorded once: a Python number that they read is that of
    the start, and one that a callback should change has to be a Value.

    An exception (also Ctrl-C) leaves the parameters of a whole step. TrainingWarning where the loss
    rises, and where it is not made of some parameter.
    """
    if not callable(loss) or not isinstance(opt, Optimizer):
        raise TypeError(
            f"write fit(loss, opt, X, y, epochs=...), with a function and an optimiser, got {loss!r}, {opt!r}"
        )
    _check(X, y, epochs, batch_size, tol, every)
    if no_grad_active():
        raise RuntimeError("fit was called inside no_grad(): nothing is recorded, so nothing can be learnt")
    size = len(X) if batch_size is None else min(batch_size, len(X))
    history, start = History(), time.perf_counter()
    trainer = _trainer(compiled, loss, opt, X, y, size, seed, penalty, tol)
    bar = _progress_bar(epochs, progress)
    if isinstance(trainer, str):
        loop = _eager_epochs(loss, opt, X, y, size, seed, schedule, penalty, tol, epochs, history, trainer)
    else:
        loop = _compiled_epochs(trainer, opt, epochs, -(-len(X) // size), schedule, every, history)
    rising = False
    try:
        for epoch in loop:
            history.seconds = time.perf_counter() - start
            rising = rising or _warn_if_rising(history, penalty is not None)
            bar(epoch, history.loss[-1])
            last = epoch >= epochs or history.stopped != History.stopped
            if callback is not None and (every is None or epoch % every == 0 or last) and callback(epoch, history):
                history.stopped = f"the callback stopped it after epoch {epoch}"
                last = True
            if last:
                break
    finally:
        loop.close()
        history.seconds = time.perf_counter() - start
        bar(None, math.nan)
    return history


def _eager_epochs(
    loss: Any, opt: Optimizer, X: Sequence[Any], y: Sequence[Any], size: int, seed: int, schedule: Any, penalty: Any,
    tol: float | None, epochs: int, history: History, why: str,
) -> Generator[int]:  # fmt: skip
    """Yields the number of each epoch when it is done. why: no compiler, though one is installed, or ""."""
    order, state = list(range(len(X))), seed
    for epoch in range(1, epochs + 1):
        if size < len(X):
            order, state = shuffled(len(X), state)
        epoch_loss, seen = 0.0, 0
        for at in range(0, len(X), size):
            chosen = order[at : at + size]
            if schedule is not None:
                opt.lr = schedule(opt.t)
            value = _objective(loss, [X[i] for i in chosen], [y[i] for i in chosen], penalty)
            _check_loss(value.data, epoch, history.steps)
            if why:  # told where it is all that is wrong
                warn("no compiler", f"fit runs without the compiler: {why}", RuntimeWarning)
                why = ""
            opt.zero_grad()
            value.backward()
            before = [p.data for p in opt.params] if tol is not None else []
            opt.step()
            history.steps += 1
            epoch_loss += value.data * len(chosen) / len(X)
            seen += len(chosen)
            if tol is not None and max(abs(p.data - old) for p, old in zip(opt.params, before)) <= tol:
                history.stopped = _no_move(tol, history.steps)
                break
        history.loss.append(epoch_loss if seen == len(X) else epoch_loss * len(X) / seen)
        history.lr.append(opt.lr)
        yield epoch


def _compiled_epochs(
    trainer: Trainer, opt: Optimizer, epochs: int, per_epoch: int, schedule: Any, every: int | None, history: History
) -> Generator[int]:
    """Runs native code for about a tenth of a second at a time, at most to the epoch that is asked for, and
    yields the number of the last whole epoch: parameters and optimiser then stand in their Values."""
    from .compiler import training

    first, chunk, shown = opt.t, 1, 0
    try:
        while len(history.loss) < epochs:
            epoch = len(history.loss)
            stop = epochs if every is None else min(epochs, (epoch // every + 1) * every)
            steps = min(chunk, stop * per_epoch - history.steps)
            rates, errors = _rates(opt, schedule, first + history.steps, steps)
            start = time.perf_counter()
            status, losses = trainer.run(rates)
            seconds = time.perf_counter() - start
            made = trainer.steps - history.steps
            ends = range(per_epoch * (epoch + 1), trainer.steps + 1, per_epoch)
            history.loss += losses
            history.lr += [float(rates[end - 1 - history.steps]) for end in ends]
            history.steps = trainer.steps
            if status == training.STILL:
                history.stopped = _no_move(trainer.tol or 0.0, history.steps)
                if trainer.partial is not None:
                    history.loss.append(trainer.partial)
                    history.lr.append(float(rates[made - 1]))
            elif status != training.RUNNING:
                if trainer.exact:
                    trainer.push()
                    opt.lr = float(rates[made])
                    trainer.blame()
                    _check_loss(trainer.last_loss, len(history.loss) + 1, history.steps)
                    opt.step()  # says which gradient or parameter is not finite
                    raise FloatingPointError("only native code made a number that is not finite: use compiled=False")
                trainer.exact = True  # a 0 x inf may only be the quick way's: once more, with care
                continue
            chunk = max(1, min(4 * chunk, int(steps * 0.1 / max(seconds, 1e-9))))
            if len(history.loss) > shown or history.stopped != History.stopped:
                waited = time.perf_counter() - trainer.yielded > 0.2 if every is None else len(history.loss) == stop
                if waited or len(history.loss) >= epochs or status:
                    trainer.push()
                    shown = len(history.loss)
                    yield shown
                    trainer.pull()
                    trainer.yielded = time.perf_counter()
            if errors:
                raise errors.pop()  # which must not stay here, where its traceback leads to
    finally:
        trainer.push()


def _rates(opt: Optimizer, schedule: Any, first: int, steps: int) -> tuple[Any, list[Exception]]:
    """The learning rates of these steps, each one as opt.lr accepts it. Where that fails on the way: the rates of
    the steps before, which are made first, and the error in a list."""
    import numpy as np

    if schedule is None:
        return np.full(steps, opt.lr), []
    rates: list[float] = []
    try:
        for t in range(first, first + steps):
            opt.lr = schedule(t)
            rates.append(opt.lr)
    except Exception as error:
        if not rates:
            raise
        return np.array(rates), [error]
    return np.array(rates), []


def _trainer(compiled: bool | None, loss: Any, opt: Optimizer, X: Any, y: Any, *options: Any) -> Trainer | str:
    """The native loop; where the engine is to do it, why, or "" where that is meant."""
    if compiled is False:
        return ""
    if compiled is None and not (importlib.util.find_spec("llvmlite") and importlib.util.find_spec("numpy")):
        return ""
    try:
        from .compiler.training import Trainer
    except ImportError:
        raise ImportError("fit(compiled=True) needs llvmlite and numpy: pip install 'tinygrad_lite[jit]'") from None
    try:
        return Trainer(loss, opt, X, y, *options)
    except (TypeError, ValueError, NotImplementedError) as error:
        if compiled:
            raise
        return str(error)


def _no_move(tol: float, step: int) -> str:
    return f"no parameter moved more than tol={tol:g} in step {step}"


def _check_loss(value: float, epoch: int, steps: int) -> None:
    if not math.isfinite(value):
        cause = (
            "Often the learning rate is too high"
            if steps
            else "It was so before the first step: look for nan in X and y"
        )
        raise FloatingPointError(
            f"the loss is {value} in epoch {epoch}; the parameters are those before this step. {cause}; "
            "`with anomaly():` finds the place"
        )


def _warn_if_rising(history: History, penalised: bool) -> bool:
    """TrainingWarning, and True, where the loss has risen for three epochs and is twice that of the first."""
    first, now = history.loss[0], history.loss[-1]
    last = history.loss[-4:]
    rising = len(last) == 4 and last == sorted(set(last)) and now - first > abs(first)
    if rising:
        warn(
            "rising loss",
            f"the loss rose from {first:.4g} in epoch 1 to {now:.4g} in epoch {len(history.loss)}: the learning rate "
            f"of {history.lr[-1]:g} is probably too high{', unless the penalty has grown' if penalised else ''}; try a "
            "tenth; doctor(model, loss, X, y, opt) looks closer",
        )
    return rising


def _objective(loss: Callable[[Any, Any], Any], X: Sequence[Any], y: Sequence[Any], penalty: Any) -> Value:
    """The mean loss of a batch, plus the penalty, as one Value."""
    losses = [loss(xi, yi) for xi, yi in zip(X, y)]
    for value in losses:
        if not isinstance(value, Value):
            raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(value)}")
    mean: Value = ops.mean(losses)
    if penalty is None:
        return mean
    more = penalty()
    if not isinstance(more, Value):
        raise TypeError(f"penalty() must return one Value, such as nn.l2(model.parameters(), 1e-4), got {more!r}")
    return mean + more


def _check(
    X: Sequence[Any], y: Sequence[Any], epochs: int, batch_size: int | None, tol: float | None, every: int | None
) -> None:
    if len(X) != len(y):
        raise ValueError(f"fit expects as many examples as targets, got {len(X)} and {len(y)}")
    if not len(X):
        raise ValueError("fit expects at least one example, got none")
    if not isinstance(epochs, Integral) or epochs < 0:
        raise ValueError(f"epochs is a whole number of at least 0, got {epochs!r}")
    if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
        raise ValueError(f"batch_size is None (all examples) or a whole number of at least 1, got {batch_size!r}")
    if every is not None and (not isinstance(every, Integral) or every < 1):
        raise ValueError(f"every is a whole number of epochs, at least 1, got {every!r}")
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
