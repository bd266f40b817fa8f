"""Gradient descent and its relatives: each rule is one formula on scalars.

`update(p, g, lr, t, *state) -> (p, *state)` is written once, with the operations of the table.
`step()` runs it on floats; the compiler records it.
"""

from __future__ import annotations

import math
import operator
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from . import ops
from .mistakes import warn

PATIENCE = 10  # steps in a row in which the same parameters go unreached; rows of a table go in turn


class Optimizer:
    """Base of all: keeps parameters, learning rate and state; a subclass writes `update`.

    params: Values. lr: the learning rate eta, in parameter units per gradient unit.
    state_size: how many numbers `update` carries from step to step for each parameter; they start at 0.

    >>> class SignDescent(Optimizer):
    ...     def update(self, p, g, lr, t):
    ...         return (p - lr * ops.sign(g),)
    """

    state_size = 0

    def __init__(self, params: Iterable[Any], lr: float) -> None:
        if not isinstance(params, Iterable):
            hint = "model.parameters()" if callable(params) else "[v]"  # a model, or its method without the brackets
            raise TypeError(
                f"{type(self).__name__} expects a list of Values, got one {type(params).__name__}: give it {hint}"
            )
        self.params = list(params)
        if not self.params:
            raise ValueError(f"{type(self).__name__} got no parameters: give it model.parameters()")
        for i, p in enumerate(self.params):
            if not hasattr(p, "local_grads"):
                raise TypeError(f"{type(self).__name__} expects a list of Values, got {p!r} at place {i}")
            if p.op is not None:
                raise ValueError(
                    f"parameter {i} was computed by {p.op}, so moving it changes nothing: an optimiser moves leaves. "
                    "p = p - lr * p.grad makes a new Value; write p.data -= lr * p.grad"
                )
        if len(set(self.params)) < len(self.params):
            first = next(i for i, p in enumerate(self.params) if p in set(self.params[:i]))
            raise ValueError(
                f"parameter {first} is in the list twice and would be updated twice; model.parameters() gives each once"
            )
        self.lr = lr
        self.t = 0  # steps made
        self.state = [(0.0,) * self.state_size] * len(self.params)
        self._spent: list[float | None] = [None] * len(self.params)  # the gradients that the last step used
        self._unreached: list[int] = []  # the places of parameters that no gradient reached in the last step,
        self._in_a_row = 0  # and in how many steps before it just these

    @property
    def lr(self) -> float:
        """The learning rate; ValueError where it is set to something below 0 or not finite."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        if callable(lr):
            raise TypeError(
                "lr is a number, got a function of the step: write fit(..., schedule=f), or opt.lr = f(opt.t)"
            )
        self._lr = _not_negative("lr", lr)

    def update(self, p: Any, g: Any, lr: Any, t: Any, *state: Any) -> tuple[Any, ...]:
        """The new parameter and state, from parameter p, gradient g, learning rate, step number t = 1,
        2, ... and the old state. Made of operations: the compiler runs it on placeholders."""
        raise NotImplementedError(f"{type(self).__name__} has no update(p, g, lr, t, *state) -> (p, *state)")

    def step(self, accumulate: bool = False) -> None:
        """Moves every parameter by its gradient. FloatingPointError, and nothing moved, where a
        gradient or a new parameter is not finite.

        TrainingWarning where no backward pass has reached any parameter since the last step, or the same
        few not for ten steps, and where one added to the gradient that the last step had already used.
        accumulate=True: that is meant, the next pass adds to the gradients as they are.
        """
        lr, t = self.lr, self.t + 1.0
        try:
            finite = math.isfinite(sum([p.grad for p in self.params]))
        except TypeError:
            finite = False
        if not finite:
            self._refuse_gradients()
        results = [self.update(p.data, p.grad, lr, t, *state) for p, state in zip(self.params, self.state)]
        numbers = [r[0] for r in results]
        state = [r[1:] for r in results] if self.state_size else self.state
        if not math.isfinite(sum(numbers)) or (self.state_size and not math.isfinite(sum(map(sum, state)))):
            self._refuse_results(results)
        self._look_for_mistakes()
        self.commit(numbers, state, self.t + 1)
        self.spend(accumulate)

    def spend(self, accumulate: bool = False) -> None:
        """Notes that a step has used the gradients as they are, and whether the next may add to them."""
        for p in self.params:
            p.before = None
            if p.grad:
                p.grad *= 1.0  # an object of its own, which nothing but this step has used
        self._spent = [None if accumulate else p.grad for p in self.params]

    def _look_for_mistakes(self) -> None:
        before = [getattr(p, "before", None) for p in self.params]
        unreached = [
            i
            for i, (p, began, spent) in enumerate(zip(self.params, before, self._spent))
            if began is None and (not p.grad or p.grad is spent)  # nor by hand
        ]
        self._in_a_row = self._in_a_row + 1 if unreached == self._unreached else 1
        self._unreached = unreached
        for_long = unreached and self._in_a_row == PATIENCE and before.count(None) < len(before)
        if for_long or len(unreached) == len(before):
            self.warn_unreached(unreached)
        if any(map(operator.is_, before, self._spent)):
            kept = [i for i, (began, spent) in enumerate(zip(before, self._spent)) if spent and began is spent]
            if kept:
                warn(
                    "zero_grad",
                    f"{self._names(kept)} still held the gradient of the last step, and backward added to it: call "
                    "zero_grad() before backward(), or step(accumulate=True) where that is meant",
                )

    def warn_unreached(self, which: list[int]) -> None:
        """TrainingWarning about the parameters at these places, which are not in the loss's graph."""
        if len(which) == len(self.params):
            warn(
                "no backward",
                "no backward pass has reached a parameter since the last step, or zero_grad() came after it: call "
                "zero_grad(), loss.backward(), step(), on a loss made of these parameters themselves, not of their "
                ".data and not under no_grad()",
            )
        else:
            warn(
                "unreached",
                f"the loss is not made of {self._names(which)}: no backward pass reaches it. Leave it out where that "
                "is meant; p = p - lr * p.grad makes a new Value, which the optimiser does not know: write "
                "p.data -= lr * p.grad",
            )

    def _refuse_gradients(self) -> None:
        for i, p in enumerate(self.params):
            if p.grad is None or hasattr(p.grad, "record"):
                raise TypeError(f"the gradient of {self._name(i)} is {p.grad!r}, not a number: write p.grad = g.data")
            if not math.isfinite(p.grad):
                raise FloatingPointError(
                    f"the gradient of {self._name(i)} is {p.grad}; nothing was updated. "
                    "`with anomaly():` around forward and backward pass finds where it was born"
                )

    def _refuse_results(self, results: list[tuple[float, ...]]) -> None:
        for i, (p, (new, *rest)) in enumerate(zip(self.params, results)):
            if not math.isfinite(new):
                raise FloatingPointError(
                    f"{self._name(i)} would become {new} (from {p.data:g}, gradient {p.grad:g}, lr "
                    f"{self.lr:g}); nothing was updated. A smaller lr is the usual cure"
                )
            if not all(map(math.isfinite, rest)):
                raise FloatingPointError(
                    f"the state of {self._name(i)} would become {tuple(rest)} (gradient {p.grad:g}); nothing was "
                    "updated. A smaller gradient is needed: scale the loss"
                )

    def commit(self, numbers: list[float], state: list[tuple[float, ...]], t: int) -> None:
        """Takes over the parameters and the state as they are after t steps, all together."""
        _assign([self, self, *self.params], ["state", "t", *["data"] * len(numbers)], [state, t, *numbers])

    def zero_grad(self) -> None:
        """Forget the gradients, as before every backward pass of a training step."""
        for p in self.params:
            p.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on: {"lr": ..., "t": steps made, "state": per parameter}."""
        return {"lr": self.lr, "t": self.t, "state": [list(s) for s in self.state]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a `state_dict`; ValueError, and nothing changed, where it does not fit."""
        shape, got = (len(self.params), self.state_size), [len(s) for s in state["state"]]
        if got != [self.state_size] * len(self.params):
            raise ValueError(
                f"{type(self).__name__} keeps {shape[1]} numbers for each of {shape[0]} parameters, got a "
                f"state for {len(got)} parameters with {sorted(set(got))} numbers each"
            )
        numbers = [tuple(map(ops.as_float, s)) for s in state["state"]]
        t, lr = int(state["t"]), _not_negative("lr", state["lr"])
        _assign([self, self, self], ["_lr", "t", "state"], [lr, t, numbers])

    def _names(self, which: list[int]) -> str:
        more = f" and {len(which) - 3} more" if len(which) > 3 else ""
        return ", ".join(self._name(i) for i in which[:3]) + more

    def _name(self, i: int) -> str:
        label = self.params[i].label
        return f"parameter {i}" + (f" ({label!r})" if label else "")


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in PyTorch's form: v <- mu v + (1 - dampening) g,
    w <- w - lr v (heavy ball, Polyak 1964); nesterov: w <- w - lr (g + mu v) (Sutskever et al. 2013).

    v starts at 0. The lectures' w <- w - gamma eta g + (1 - gamma) (w - w_before) is
    momentum = dampening = 1 - gamma. weight_decay: adds weight_decay * w to the gradient.
    average_gradients: T moves by the mean of the last T gradients (lecture 12).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        average_gradients: int = 1,
    ) -> None:
        self.momentum = _not_negative("momentum", momentum)
        self.dampening = ops.as_float(dampening)
        self.weight_decay = _not_negative("weight_decay", weight_decay)
        self.nesterov = nesterov
        self.average_gradients = average_gradients
        if nesterov and (momentum == 0.0 or dampening != 0.0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        if not isinstance(average_gradients, int) or average_gradients < 1:
            raise ValueError(f"average_gradients is a number of steps, at least 1, got {average_gradients!r}")
        self.state_size = (momentum != 0.0) + (average_gradients - 1)
        super().__init__(params, lr)

    def update(self, p: Any, g: Any, lr: Any, t: Any, *state: Any) -> tuple[Any, ...]:
        if not self.state_size and not self.weight_decay:
            return (p - lr * g,)
        if self.weight_decay:
            g = g + self.weight_decay * p
        velocity, *before = state if self.momentum else (None, *state)
        if before:  # the last T - 1 gradients, newest first
            before, g = [g, *before[:-1]], ops.total((g, *before)) / ops.minimum(t, self.average_gradients)
        if not self.momentum:
            return (p - lr * g, *before)
        v = self.momentum * velocity + (1.0 - self.dampening) * g
        move = g + self.momentum * v if self.nesterov else v
        return (p - lr * move, v, *before)


class Adam(Optimizer):
    """Steps of about lr, scaled by running means of g and g^2 (Kingma and Ba 2015, algorithm 1)."""

    state_size = 2

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.beta1, self.beta2 = betas
        for name, beta in ("betas[0]", self.beta1), ("betas[1]", self.beta2):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"{name} is at least 0 and below 1, got {beta!r}")
        self.eps = _not_negative("eps", eps)
        self.weight_decay = _not_negative("weight_decay", weight_decay)
        super().__init__(params, lr)

    def update(self, p: Any, g: Any, lr: Any, t: Any, *state: Any) -> tuple[Any, ...]:
        if self.weight_decay:
            p, g = self.decay(p, g, lr)
        m, v = state
        m = self.beta1 * m + (1.0 - self.beta1) * g
        v = self.beta2 * v + (1.0 - self.beta2) * g * g
        unbiased_m = m / (1.0 - ops.power(self.beta1, t))
        unbiased_v = v / (1.0 - ops.power(self.beta2, t))
        return p - lr * unbiased_m / (ops.sqrt(unbiased_v) + self.eps), m, v

    def decay(self, p: Any, g: Any, lr: Any) -> tuple[Any, Any]:
        """Parameter and gradient after weight decay."""
        return p, g + self.weight_decay * p


class AdamW(Adam):
    """Adam with weight decay applied to the weights, not to the gradient (Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    def decay(self, p: Any, g: Any, lr: Any) -> tuple[Any, Any]:
        return p - lr * self.weight_decay * p, g


class WeightAverage:
    """The mean of the parameters over the last T steps, which is quieter than the last step alone
    (Polyak and Juditsky 1992).

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

    def __init__(self, params: Iterable[Any], last: int) -> None:
        if not isinstance(last, int) or last < 1:
            raise ValueError(f"last is a number of steps, at least 1, got {last!r}")
        self.params = list(params)
        self.past: deque[list[float]] = deque(maxlen=last)

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
            _assign(self.params, repeat("data"), means)
            yield
        finally:
            deque(back, maxlen=0)  # in one call, as in _assign


class schedules:
    """Learning rates over time: each gives a function of the steps already made, t = 0, 1, 2, ...

    >>> warm = schedules.step_decay(0.1, every=100, factor=0.5)
    >>> warm(0), warm(99), warm(100)
    (0.1, 0.1, 0.05)
    """

    @staticmethod
    def constant(lr: float) -> Callable[[int], float]:
        """lr, always."""
        return lambda t: lr

    @staticmethod
    def step_decay(lr: float, every: int, factor: float = 0.1) -> Callable[[int], float]:
        """lr times factor after every so many steps."""
        return lambda t: lr * factor ** (t // every)

    @staticmethod
    def inverse_time(lr: float, half_after: float) -> Callable[[int], float]:
        """lr / (1 + t / half_after), the ~1/t under which SGD converges (Robbins and Monro 1951)."""
        return lambda t: lr / (1.0 + t / half_after)

    @staticmethod
    def cosine(lr: float, steps: int, end: float = 0.0) -> Callable[[int], float]:
        """Half a cosine from lr to end over so many steps, then end (Loshchilov and Hutter 2017)."""
        return lambda t: end + (lr - end) * 0.5 * (1.0 + math.cos(math.pi * min(t / steps, 1.0)))

    @staticmethod
    def linear(lr: float, steps: int, end: float = 0.0) -> Callable[[int], float]:
        """A straight line from lr to end over so many steps, then end."""
        return lambda t: end if t >= steps else lr + (end - lr) * t / steps


def _assign(owners: list[Any], names: Iterable[str], values: list[Any]) -> None:
    # one call into C, so that Ctrl-C cannot fall between two of them
    deque(map(setattr, owners, names, values), maxlen=0)


def _not_negative(name: str, x: Any) -> float:
    number = ops.as_float(x)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"{name} is a number of at least 0, got {x!r}")
    return number
