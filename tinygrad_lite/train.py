"""`fit`: the training loop, written once."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import expect, ops
from .data import shuffled
from .engine import Number, Value, no_grad_active
from .mistakes import not_a_loss, warn, warn_if_rising
from .optim import Optimizer

if TYPE_CHECKING:
    from .compiler.training import Trainer

A = TypeVar("A")
B = TypeVar("B")


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
    loss: Callable[[A, B], Number],
    opt: Optimizer,
    X: Sequence[A],
    y: Sequence[B],
    *,
    epochs: int,
    batch_size: int | None = None,
    seed: int = 0,
    compiled: bool | None = None,
    schedule: Callable[[int], float] | None = None,
    penalty: Callable[[], Number] | None = None,
    tol: float | None = None,
    callback: Callable[[int, History], object] | None = None,
    every: int | None = None,
    progress: bool = True,
) -> History:
    """Trains opt.params on examples.

    Parameters
    ----------
    loss : function (x, y) of one example that returns one Value; a step uses the mean over a batch.
    opt : optimiser of the parameters to train.
    X, y : examples and their targets, as many of both.
    epochs : how often each example is shown.
    batch_size : examples per step. None takes all at once; else they are shuffled every epoch, from `seed`.
    compiled : True runs whole epochs in native code, which needs the extra `jit`. None does so where that is
        installed and the loss can be compiled; else the engine computes every scalar itself (RuntimeWarning that says
        why). Compiled, loss and penalty are recorded once: a Python number that they read stays what it was at the
        start, and one that a callback is to change has to be a Value.
    schedule : function of the steps made, the learning rate in place of opt.lr.
    penalty : function that returns a Value to add once a batch, such as lambda: nn.l2(ps, 1e-4).
    tol : stop when no parameter moves more in a step (the lectures' |dtheta| < eps).
    callback : function (epoch, history), called after every `every` epochs, counted from 1, and at the end; a true
        answer stops the training.
    every : None is after each epoch, but in native code a few times a second.
    progress : whether to show a bar on stderr (tqdm where it is installed).

    Returns
    -------
    The History. An exception (also Ctrl-C) leaves the parameters of a whole step. TrainingWarning where the loss
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
    loop = _loop(_Run(loss, opt, X, y, epochs, size, seed, schedule, penalty, tol, every, history), compiled)
    bar = _progress_bar(epochs, progress)
    rising = False
    try:
        for epoch in loop:
            history.seconds = time.perf_counter() - start
            rising = rising or warn_if_rising(history, penalty is not None)
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


@dataclass
class _Run:
    """What `fit` was asked for, and what happened so far. size: examples per step."""

    loss: Callable[[Any, Any], Number]
    opt: Optimizer
    X: Sequence[Any]
    y: Sequence[Any]
    epochs: int
    size: int
    seed: int
    schedule: Callable[[int], float] | None
    penalty: Callable[[], Number] | None
    tol: float | None
    every: int | None
    history: History

    def has_stopped_moving(self) -> None:
        """Notes that the last step was the last."""
        self.history.stopped = f"no parameter moved more than tol={self.tol:g} in step {self.history.steps}"


def _loop(run: _Run, compiled: bool | None) -> Generator[int]:
    """Native code where it is wanted and possible, else the engine: yields the number of an epoch when it is done."""
    if compiled is None and not (importlib.util.find_spec("llvmlite") and importlib.util.find_spec("numpy")):
        compiled = False
    if compiled is False:
        return _eager_epochs(run)
    try:
        from .compiler.training import Trainer
    except ImportError:
        raise ImportError("fit(compiled=True) needs llvmlite and numpy: pip install 'tinygrad_lite[jit]'") from None
    try:
        trainer = Trainer(run.loss, run.opt, run.X, run.y, run.size, run.seed, run.penalty, run.tol)
    except (TypeError, ValueError, NotImplementedError) as error:
        if compiled:
            raise
        return _eager_epochs(run, why=str(error))
    return _CompiledLoop(run, trainer).epochs()


# --- the engine's loop


def _eager_epochs(run: _Run, why: str = "") -> Generator[int]:
    """why: there is no compiled loop, though a compiler is installed."""
    n, history, state = len(run.X), run.history, run.seed
    order = list(range(n))
    for epoch in range(1, run.epochs + 1):
        if run.size < n:
            order, state = shuffled(n, state)
        total, seen = 0.0, 0
        for at in range(0, n, run.size):
            chosen = order[at : at + run.size]
            if run.schedule is not None:
                run.opt.lr = run.schedule(run.opt.t)
            value = _objective(run, chosen)
            _check_loss(value.data, epoch, history.steps)
            if why:  # a warning only where nothing worse is wrong
                warn("no compiler", f"fit runs without the compiler: {why}", RuntimeWarning)
                why = ""
            moved = _step(run.opt, value, measured=run.tol is not None)
            history.steps += 1
            total += value.data * len(chosen) / n
            seen += len(chosen)
            if run.tol is not None and moved <= run.tol:
                run.has_stopped_moving()
                break
        history.loss.append(total if seen == n else total * n / seen)
        history.lr.append(run.opt.lr)
        yield epoch


def _objective(run: _Run, chosen: Sequence[int]) -> Value:
    """The mean loss of the chosen examples, plus the penalty, as one Value."""
    losses = [run.loss(run.X[i], run.y[i]) for i in chosen]
    for value in losses:
        if not isinstance(value, Value):
            raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(value)}")
    mean: Value = ops.mean(losses)
    if run.penalty is None:
        return mean
    more = run.penalty()
    if not isinstance(more, Value):
        raise TypeError(f"penalty() must return one Value, such as nn.l2(model.parameters(), 1e-4), got {more!r}")
    return mean + more


def _step(opt: Optimizer, value: Value, measured: bool) -> float:
    """One step of gradient descent; by how much the parameter that moved most did, where that is measured."""
    opt.zero_grad()
    value.backward()
    before = [p.data for p in opt.params] if measured else []
    opt.step()
    return max((abs(p.data - old) for p, old in zip(opt.params, before)), default=math.nan)


# --- the compiled loop


class _CompiledLoop:
    """Runs native code for about a tenth of a second at a time, at most to the epoch that is asked for."""

    def __init__(self, run: _Run, trainer: Trainer) -> None:
        self.run, self.trainer, self.history = run, trainer, run.history
        self.first = run.opt.t
        self.per_epoch = -(-len(run.X) // run.size)
        self.chunk = 1  # steps to make at once
        self.shown, self.shown_at = 0, 0.0  # the last epoch that was yielded, and when

    def epochs(self) -> Generator[int]:
        """Yields the number of the last whole epoch: parameters and optimiser are then in their Values."""
        from .compiler import training

        trainer = self.trainer
        try:
            while len(self.history.loss) < self.run.epochs:
                rates, errors = self._rates()
                status, made = self._advance(rates)
                if status not in (training.RUNNING, training.STILL):
                    if trainer.exact:
                        self._fail(float(rates[made]))
                    trainer.exact = True  # 0 x inf, which the quick way alone may meet: retry exactly
                    continue
                if status == training.STILL:
                    self._end(float(rates[made - 1]))
                if self._is_due():
                    trainer.push()
                    self.shown = len(self.history.loss)
                    yield self.shown
                    trainer.pull()
                    self.shown_at = time.perf_counter()
                if errors:
                    raise errors.pop()  # which must not stay here, where its traceback leads to
        finally:
            trainer.push()

    def _rates(self) -> tuple[Any, list[Exception]]:
        """The learning rates of the next steps, each one as opt.lr accepts it. Where that fails on the way: the rates
        of the steps before, which are made first, and the error in a list."""
        import numpy as np

        opt, every, steps, epochs = self.run.opt, self.run.every, self.history.steps, self.run.epochs
        stop = epochs if every is None else min(epochs, (len(self.history.loss) // every + 1) * every)
        count = min(self.chunk, stop * self.per_epoch - steps)
        if self.run.schedule is None:
            return np.full(count, opt.lr), []
        rates: list[float] = []
        try:
            for t in range(self.first + steps, self.first + steps + count):
                opt.lr = self.run.schedule(t)
                rates.append(opt.lr)
        except Exception as error:
            if not rates:
                raise
            return np.array(rates), [error]
        return np.array(rates), []

    def _advance(self, rates: Any) -> tuple[int, int]:
        """Makes a step at each of these rates. Returns why it ended, and how many steps were made."""
        history, trainer, before = self.history, self.trainer, self.history.steps
        start = time.perf_counter()
        status, losses = trainer.run(rates)
        seconds = time.perf_counter() - start
        ends = range(self.per_epoch * (len(history.loss) + 1), trainer.steps + 1, self.per_epoch)
        history.loss += losses
        history.lr += [float(rates[end - 1 - before]) for end in ends]
        history.steps = trainer.steps
        if history.steps - before == len(rates):
            self.chunk = max(1, min(4 * self.chunk, int(len(rates) * 0.1 / max(seconds, 1e-9))))
        return status, history.steps - before

    def _end(self, rate: float) -> None:
        """The last step moved no parameter: also the epoch that it cuts short has its entry."""
        self.run.has_stopped_moving()
        if self.trainer.partial is not None:
            self.history.loss.append(self.trainer.partial)
            self.history.lr.append(rate)

    def _is_due(self) -> bool:
        """Is there an epoch to show, and are we asked to show it now?"""
        done, every = len(self.history.loss), self.run.every
        if self.history.stopped != History.stopped or done >= self.run.epochs:
            return True
        if done == self.shown:
            return False
        return time.perf_counter() - self.shown_at > 0.2 if every is None else done % every == 0

    def _fail(self, rate: float) -> NoReturn:
        """The error that the engine raises for the step at hand, which native code could not make."""
        self.trainer.push()
        self.run.opt.lr = rate
        self.trainer.blame()
        _check_loss(self.trainer.last_loss, len(self.history.loss) + 1, self.history.steps)
        self.run.opt.step()  # says which gradient or parameter is not finite
        raise FloatingPointError("only native code made a number that is not finite: use compiled=False")


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


def _check(
    X: Sequence[object], y: Sequence[object], epochs: int, batch_size: int | None, tol: float | None, every: int | None
) -> None:
    expect.pairs("fit", X, y)
    expect.whole("epochs", epochs, least=0)
    if batch_size is not None:
        expect.whole("batch_size", batch_size, of="examples (None: all of them)")
    if every is not None:
        expect.whole("every", every, of="epochs")
    if tol is not None:
        expect.not_negative("tol", tol)


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
