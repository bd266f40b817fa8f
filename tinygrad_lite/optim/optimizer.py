"""`Optimizer`: what all rules share, from the step itself to saving its state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import expect, mistakes
from ..engine import UNREACHED
from . import safety

if TYPE_CHECKING:
    from ..engine import Number, Value


class Optimizer:
    """Keeps parameters, learning rate and state; a subclass writes `update`.

    Parameters
    ----------
    params : Values, as of `model.parameters()`: leaves, each once.
    lr : the learning rate eta, in parameter units per gradient unit.

    `state_size` says how many numbers `update` carries from step to step for each parameter; they start at 0.

    A parameter that is not in the graph of a step's loss is skipped, as in PyTorch: it stays as it is, with its state
    and its step number t. One that is in the graph and was not selected, as by a relu at 0, has gradient 0 and moves by
    momentum, decay or Adam.

    >>> from tinygrad_lite import sign
    >>> class SignDescent(Optimizer):
    ...     def update(self, p, g, lr, t):
    ...         return (p - lr * sign(g),)
    """

    state_size = 0

    def __init__(self, params: Iterable[Value], lr: float) -> None:
        self.params = expect.parameters(type(self).__name__, params)
        self.lr = lr
        self.t = 0  # steps made
        self.skips = [0] * len(self.params)  # how many of them each parameter had no part in
        self.state: list[tuple[float, ...]] = [(0.0,) * self.state_size] * len(self.params)
        self.last_step = mistakes.LastStep([None] * len(self.params), [], 0)
        mistakes.note_optimiser(self)

    def update(self, p: Number, g: Number, lr: Number, t: Number, *state: Number) -> tuple[Number, ...]:
        """The new parameter and state, from parameter p, gradient g, learning rate, step number t = 1,
        2, ... and the old state. Written once, with operations: `step` runs it on floats, the compiler records it."""
        raise NotImplementedError(f"{type(self).__name__} has no update(p, g, lr, t, *state) -> (p, *state)")

    def step(self, accumulate: bool = False) -> None:
        """Moves every parameter by its gradient. FloatingPointError, and nothing moved, where a
        gradient or a new parameter is not finite.

        TrainingWarning where no backward pass has reached any parameter since the last step, or the same
        few not for ten steps, and where one added to the gradient that the last step had already used.
        accumulate=True: that is meant, the next pass adds to the gradients as they are.
        """
        safety.check_gradients(self.params)
        skipped, lr, t = self._not_in_the_graph(), self.lr, self.t + 1.0
        results: list[Any] = [
            self.update(p.data, p.grad, lr, t - skips, *state)
            for p, state, skips in zip(self.params, self.state, self.skips)
        ]
        safety.check_updates(type(self).__name__, results, self.state_size)
        for i in skipped:
            results[i] = (self.params[i].data, *self.state[i])
        numbers = [r[0] for r in results]
        states = [r[1:] for r in results] if self.state_size else self.state
        safety.check_results(self.params, lr, numbers, states)
        mistakes.look_at_step(self)
        self.commit(numbers, states, self.t + 1, skipped)
        self.spend(accumulate)

    def _not_in_the_graph(self) -> list[int]:
        """The indices of parameters that no backward pass has found in a graph since the last step, and whose gradient
        was not set by hand either."""
        return [
            i
            for i, (p, spent) in enumerate(zip(self.params, self.last_step.spent))
            if (p.grad is UNREACHED or p.grad is spent) and getattr(p, "before", None) is None
        ]

    def commit(
        self, numbers: list[float], state: list[tuple[float, ...]], t: int, skipped: Collection[int] = ()
    ) -> None:
        """Sets the parameters and the state to those after t steps, all together; those at the indices `skipped` stay
        as they are."""
        skips = self.skips
        if skipped:
            numbers, state, skips = list(numbers), list(state), list(skips)
        for i in skipped:
            numbers[i], state[i], skips[i] = self.params[i].data, self.state[i], skips[i] + t - self.t
        owners, names = [self, self, self, *self.params], ["state", "skips", "t", *["data"] * len(numbers)]
        safety.assign(owners, names, [state, skips, t, *numbers])

    def spend(self, accumulate: bool = False) -> None:
        """Notes that a step has used the gradients as they are, and whether the next pass may add to them."""
        for p in self.params:
            if not p.grad and p.grad is not UNREACHED:
                p.grad *= 1.0  # an object of its own, so that one that is set again counts as set again
        mistakes.spend(self, accumulate)

    def warn_unreached(self, which: list[int]) -> None:
        """TrainingWarning about the parameters at these indices, which are not in the loss's graph."""
        mistakes.warn_unreached(self.params, which)

    def zero_grad(self) -> None:
        """Forget the gradients, as before every backward pass of a training step."""
        for p in self.params:
            p.zero_grad()

    @property
    def lr(self) -> float:
        """The learning rate; ValueError where it is set to something below 0 or not finite."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = expect.learning_rate(lr)

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to go on: {"lr": ..., "t": steps made, "state": per parameter}; and "skips", how many
        steps each parameter had no part in, where there were any."""
        found: dict[str, Any] = {"lr": self.lr, "t": self.t, "state": [list(s) for s in self.state]}
        if any(self.skips):
            found["skips"] = list(self.skips)
        return found

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        mistakes.note_optimiser(self)
        mistakes.recognise_spent(self)

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Goes on from a `state_dict`; ValueError or TypeError, and nothing changed, where it does not fit."""
        lr, t, numbers = safety.check_state(self, state)
        skips = safety.check_skips(self, state, t)
        safety.assign([self] * 4, ["_lr", "t", "state", "skips"], [lr, t, numbers, skips])
