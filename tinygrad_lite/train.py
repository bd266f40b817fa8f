"""`fit`: the training loop, written once."""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

from . import examples, expect, nn, ops
from .data import order_state, shuffled
from .engine import Number, Value, no_grad_active, topological_order
from .examples import Examples
from .mistakes import look_for_forgotten, not_a_loss, warn, warn_if_rising
from .optim import Optimizer, clip_grad_norm
from .shards import Shards, shard

if TYPE_CHECKING:
    from distributed import Client
    from numpy import ndarray

    from .compiler.training import Trainer

Loss: TypeAlias = Callable[[Any, Any], Number]  # of one example and its target
_MISSING = cast(Examples[object], object())  # not given


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
    loss: Loss, opt: Optimizer, X: Examples[object] | Shards = _MISSING, y: Examples[object] = _MISSING, *, epochs: int,
    batch_size: int | None = None, seed: int = 0, compiled: bool | None = None, backend: str | None = None,
    schedule: Callable[[int], float] | None = None, penalty: Callable[[], Number] | None = None,
    clip_grad_norm: float | None = None, tol: float | None = None,
    callback: Callable[[int, History], object] | None = None, every: int | None = None,
    progress: bool = True, check: bool = True, client: Client | None = None,
) -> History:  # fmt: skip
    """Trains opt.params on examples.

    Parameters
    ----------
    loss : function (x, y) of one example that returns one Value; a step uses the mean over a batch.
    opt : optimiser of the parameters to train.
    X, y : examples and targets, as many of both, paired by position: lists, arrays, tables and columns, tensors. Lists
        stay lists; a row of anything else is an array of float64, read-only, and a target a float.
    epochs : how often each example is shown.
    batch_size : examples per step. None takes all at once; else they are shuffled every epoch, from `seed`.
    seed : of the shuffles. Which is due follows from opt.t, the steps made: k calls of one epoch are one call of k.
    compiled : True runs whole epochs in compiled code, which needs NumPy. None does so where it can, else the
        engine computes every scalar itself (RuntimeWarning that says why). Compiled, loss and penalty are recorded
        once, and again where a callback has changed a plain number that they close over, name as a global, or find in a
        list, dict or attribute there.
    backend : of compiled code, as of `jit`: "native", "numpy" or None; a name means compiled=True.
    schedule : function of the steps made, the learning rate in place of opt.lr.
    penalty : function that returns a Value to add once a batch, such as lambda: nn.l2(ps, 1e-4).
    clip_grad_norm : how long the gradient of a step may be; a longer one is scaled down, see `optim.clip_grad_norm`.
    tol : stop when no parameter moves more in a step (the lectures' |dtheta| < eps).
    callback : function (epoch, history), called after every `every` epochs, counted from 1, and at the end; a true
        answer stops the training. What it changes, also inside X and y, counts.
    every : None is after each epoch, but compiled a few times a second.
    progress : whether to show a bar on stderr (tqdm where it is installed).
    check : first compares a few examples and one update of compiled code with the engine's. Where they differ, the
        engine trains (RuntimeWarning), or compiled=True raises.
    client : a `distributed.Client`: its workers, which need the extra `dask`, compute the gradients, each compiled
        once, and this process makes the steps. X and y are sharded, see `data.shard`; shards made before are given
        as X, without y.

    Returns
    -------
    The History. An exception (also Ctrl-C) leaves the parameters of a whole step. TrainingWarning where the loss
    rises, is not made of some parameter, or is made of one that opt has forgotten: whole modules may be frozen, not
    a part of one.
    """
    _check_call(loss, opt, X, y)
    shards = X if isinstance(X, Shards) else shard(X, y, client) if client is not None else None
    epochs = expect.whole("epochs", epochs, least=0)
    if no_grad_active():
        raise RuntimeError("fit was called inside no_grad(): nothing is recorded, so nothing can be learnt")
    history, start = History(), time.perf_counter()
    run = _Run(
        loss, opt, ([], []) if isinstance(X, Shards) else (X, y), shards, epochs, batch_size,
        expect.seed("seed", seed), schedule, penalty, clip_grad_norm, tol, every, callback is not None, history,
        backend,
    )  # fmt: skip
    loop = _eager_epochs(run) if shards else _loop(run, compiled, check)
    bar = _progress_bar(epochs, progress)
    try:
        for epoch in loop:
            history.seconds = time.perf_counter() - start
            bar(epoch, history.loss[-1])
            if _is_over(run, epoch, callback):
                break
    finally:
        loop.close()
        history.seconds = time.perf_counter() - start
        bar(None, math.nan)
    return history


def _is_over(run: _Run, epoch: int, callback: Callable[[int, History], object] | None) -> bool:
    """After this epoch: warns about a rising loss, calls the callback where it is due. Was it the last?"""
    history, every = run.history, run.every
    run.rising = run.rising or warn_if_rising(history, run.penalty is not None)
    last = epoch >= run.epochs or history.stopped != History.stopped
    if callback is not None and (every is None or epoch % every == 0 or last) and callback(epoch, history):
        history.stopped = f"the callback stopped it after epoch {epoch}"
        return True
    return last


@dataclass
class _Run:
    """What `fit` was asked for, and what happened so far.

    given: X and y as the user has them. X, y: their rows. shards: what workers hold instead. size: examples per step.
    watched: is there a callback, which may change what was given?
    """

    loss: Loss
    opt: Optimizer
    given: tuple[Examples[object], Examples[object]]
    shards: Shards | None
    epochs: int
    batch_size: int | None
    seed: int
    schedule: Callable[[int], float] | None
    penalty: Callable[[], Number] | None
    clip: float | None
    tol: float | None
    every: int | None
    watched: bool
    history: History
    backend: str | None
    rising: bool = False  # has a warning said so?

    def __post_init__(self) -> None:
        if self.shards is None:
            self.read()
        else:
            from .compiler import jit

            self.function = jit(self.loss, backend=self.backend)
        self.size = n = self.n
        if self.batch_size is not None:
            self.size = min(n, expect.whole("batch_size", self.batch_size, of="examples (None: all of them)"))
        if self.every is not None:
            self.every = expect.whole("every", self.every, of="epochs")
        if self.tol is not None:
            self.tol = expect.not_negative("tol", self.tol)
        if self.clip is not None:
            self.clip = expect.not_negative("clip_grad_norm", self.clip)

    def read(self) -> None:
        """Takes X and y through the door."""
        X, y = examples.pairs("fit", *self.given)
        self.X, self.y = examples.one_by_one(X), examples.one_by_one(y)
        self.kept = list(map(examples.snapshot, self.given)) if self.watched else []

    def read_again(self) -> bool:
        """After a callback: has it changed X or y? They are then read again."""
        if self.shards or not self.watched or all(map(examples.unchanged, self.given, self.kept)):
            return False
        n = self.n
        self.read()
        if self.n != n:
            raise ValueError(f"fit began with {n} examples, and after a callback there are {self.n}")
        return True

    @property
    def n(self) -> int:
        """How many examples there are."""
        return len(self.X) if self.shards is None else len(self.shards)

    @property
    def order(self) -> int:
        """The state of the next shuffle, after as many as the optimiser's steps have taken."""
        per_epoch = -(-self.n // self.size)
        return order_state(self.seed, self.n, -(-self.opt.t // per_epoch))

    def has_stopped_moving(self) -> None:
        """Notes that the last step was the last."""
        self.history.stopped = f"no parameter moved more than tol={self.tol:g} in step {self.history.steps}"


def _loop(run: _Run, compiled: bool | None, check: bool) -> Generator[int]:
    """Compiled where it is wanted and possible, else the engine: yields the number of an epoch when it is done."""
    if run.backend is not None:
        if compiled is False:
            raise ValueError(f"backend={run.backend!r} is for compiled steps: leave compiled=False out")
        compiled = True
    if compiled is None and not importlib.util.find_spec("numpy"):
        compiled = False
    if compiled is False:
        return _eager_epochs(run)
    try:
        from .compiler.training import Trainer
    except ImportError:
        raise ImportError(
            "fit(compiled=True) needs numpy, and llvmlite for native code: pip install 'tinygrad_lite[jit]'"
        ) from None
    try:
        trainer = Trainer(
            run.loss, run.opt, run.X, run.y, run.size, run.order, run.penalty, run.tol, run.clip, check, run.backend
        )
        _check_skips(run.opt, trainer)
    except Exception as error:  # whatever the user's functions raise on placeholders
        if compiled:
            if hint := _whole_loss(run):
                raise TypeError(hint) from error
            raise
        return _eager_epochs(run, why=_why(error))
    look_for_forgotten([run.loss, run.penalty], run.opt, trainer.values)
    return _CompiledLoop(run, trainer).epochs()


def _why(error: Exception) -> str:
    """What a message says of an error; its type too, where that alone says what is wrong."""
    known = isinstance(error, (TypeError, ValueError, NotImplementedError))
    return str(error) if known else f"{type(error).__name__}: {error}"


def _check_skips(opt: Optimizer, trainer: Trainer) -> None:
    """NotImplementedError where parameters of the loss count their steps differently: native code has one t."""
    skipped = {p for p, skips in zip(opt.params, opt.skips) if skips}
    traces = [trainer.traced, *([trainer.penalty] if trainer.penalty else [])]
    if skipped and any(value in skipped for traced in traces for value in traced.captured):
        raise NotImplementedError(
            "earlier steps skipped some of these parameters, whose loss was not made of them: their step number t is "
            "another than the optimiser's"
        )


# --- the engine's loop, also of what workers have computed


def _eager_epochs(run: _Run, why: str = "") -> Generator[int]:
    """why: there is no compiled loop, though a compiler is installed."""
    n, history = run.n, run.history
    order = list(range(n))
    for epoch in range(1, run.epochs + 1):
        if run.size < n:
            order, _ = shuffled(n, run.order)
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
            if not history.steps:
                look_for_forgotten([run.loss, run.penalty], run.opt, topological_order(value))
            moved = _step(run.opt, value, run.clip, measured=run.tol is not None)
            history.steps += 1
            total += value.data * len(chosen) / n
            seen += len(chosen)
            if run.tol is not None and moved <= run.tol:
                run.has_stopped_moving()
                break
        history.loss.append(total if seen == n else total * n / seen)
        history.lr.append(run.opt.lr)
        yield epoch
        run.read_again()


def _objective(run: _Run, chosen: Sequence[int]) -> Value:
    """The mean loss of the chosen examples, plus the penalty, as one Value."""
    if run.shards is not None:
        return _with_penalty(run, run.function.mean(run.shards if run.size == run.n else run.shards.taken(chosen)))
    try:
        losses = [run.loss(run.X[i], run.y[i]) for i in chosen]
    except Exception as error:
        if not run.history.steps and (hint := _whole_loss(run)):
            raise TypeError(hint) from error
        raise
    for value in losses:
        if not isinstance(value, Value):
            if hint := _whole_loss(run):
                raise TypeError(hint)
            raise TypeError(f"loss(x, y) must return one Value, got {not_a_loss(value)}")
    return _with_penalty(run, ops.mean(losses))


def _with_penalty(run: _Run, mean: Value) -> Value:
    if run.penalty is None:
        return mean
    more = run.penalty()
    if not isinstance(more, Value):
        raise TypeError(f"penalty() must return one Value, such as nn.l2(model.parameters(), 1e-4), got {more!r}")
    return mean + more


def _whole_loss(run: _Run) -> str:
    """What to write, where a loss that fails with one example is one over many of them, or no loss at all."""
    if isinstance(run.loss, nn.Module):
        return (
            f"fit expects the loss of one example, got the model itself, {type(run.loss).__name__}: write "
            "lambda x, y: nn.mse(model(x), y)"
        )
    try:
        value = run.loss(run.X[:2], run.y[:2])
    except Exception:
        return ""
    if not isinstance(value, Value):
        return ""
    return (
        "fit expects the loss of one example, loss(x, y) -> one Value, and takes the mean itself; this one is over all "
        "examples: write what it adds up for each, such as lambda x, y: nn.mse(model(x), y)"
    )


def _step(opt: Optimizer, value: Value, clip: float | None, measured: bool) -> float:
    """One step of gradient descent; by how much the parameter that moved most did, where that is measured."""
    opt.zero_grad()
    value.backward()
    if clip is not None:
        clip_grad_norm(opt.params, clip)
    before = [p.data for p in opt.params] if measured else []
    opt.step()
    return max((abs(p.data - old) for p, old in zip(opt.params, before)), default=math.nan)


# --- the compiled loop


class _CompiledLoop:
    """Runs compiled steps for about a tenth of a second at a time, at most to the epoch that is asked for."""

    def __init__(self, run: _Run, trainer: Trainer) -> None:
        self.run, self.trainer, self.history = run, trainer, run.history
        self.first = run.opt.t
        self.per_epoch = -(-run.n // run.size)
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
                    self._pull()
                    self.shown_at = time.perf_counter()
                if errors:
                    raise errors.pop()  # which must not stay here, where its traceback leads to
        finally:
            trainer.push()

    def _pull(self) -> None:
        """What a callback has changed."""
        self.trainer.pull()
        self.first = self.run.opt.t - self.history.steps  # as it may have loaded another state
        self.trainer.random[0] = self.run.order
        if self.run.read_again():
            self.trainer.read(self.run.X, self.run.y)

    def _rates(self) -> tuple[ndarray, list[Exception]]:
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

    def _advance(self, rates: ndarray) -> tuple[int, int]:
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
        self.run.opt.spend(accumulate=True)  # these gradients are not used yet
        self.run.opt.step()  # says which gradient or parameter is not finite
        raise FloatingPointError("only compiled code made a number that is not finite: use compiled=False")


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


def _check_call(loss: object, opt: object, X: object, y: object) -> None:
    """TypeError that says what to write, unless there are a function, an optimiser, examples and targets."""
    write = "write fit(loss, opt, X, y, epochs=...)"
    if not isinstance(opt, Optimizer):
        made = "opt = optim.SGD(model.parameters(), lr=0.1)"
        if isinstance(loss, nn.Module):
            raise TypeError(
                f"{write}, with a function and an optimiser, got a model first: write "
                f"loss = lambda x, y: nn.mse(model(x), y), {made}"
            )
        if isinstance(opt, nn.Module) or (isinstance(opt, Sequence) and all(isinstance(p, Value) for p in opt)):
            got = type(opt).__name__ if isinstance(opt, nn.Module) else "a list of parameters"
            raise TypeError(f"{write}, with a function and an optimiser, got {got} in the second place: {made}")
    if not callable(loss) or not isinstance(opt, Optimizer):
        raise TypeError(f"{write}, with a function and an optimiser, got {loss!r}, {opt!r}")
    if isinstance(X, Shards):
        if y is not _MISSING:
            raise TypeError("shards hold their targets: write fit(loss, opt, shards, epochs=...)")
    elif X is _MISSING or y is _MISSING:
        raise TypeError(f"{write}, with examples X and their targets y, as many of both")


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
