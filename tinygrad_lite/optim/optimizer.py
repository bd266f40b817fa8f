"""`Optimizer`: what all rules share, from the step itself to saving its state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from .. import expect, mistakes
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
        self.state: list[tuple[float, ...]] = [(0.0,) * self.state_size] * len(self.params)
        self.last_step = mistakes.LastStep([None] * len(self.params), [], 0)

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
        lr, t = self.lr, self.t + 1.0
        results: Any = [self.update(p.data, p.grad, lr, t, *state) for p, state in zip(self.params, self.state)]
        numbers = [r[0] for r in results]
        state = [r[1:] for r in results] if self.state_size else self.state
        safety.check_results(self.params, lr, numbers, state)
        mistakes.look_at_step(self)
        self.commit(numbers, state, self.t + 1)
        self.spend(accumulate)

    def commit(self, numbers: list[float], state: list[tuple[float, ...]], t: int) -> None:
        """Sets the parameters and the state to those after t steps, all together."""
        safety.assign([self, self, *self.params], ["state", "t", *["data"] * len(numbers)], [state, t, *numbers])

    def spend(self, accumulate: bool = False) -> None:
        """Notes that a step has used the gradients as they are, and whether the next pass may add to them."""
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
        """What a later run needs to go on: {"lr": ..., "t": steps made, "state": per parameter}."""
        return {"lr": self.lr, "t": self.t, "state": [list(s) for s in self.state]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        mistakes.recognise_spent(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict`; ValueError or TypeError, and nothing changed, where it does not fit."""
        lr, t, numbers = safety.check_state(self, state)
        safety.assign([self, self, self], ["_lr", "t", "state"], [lr, t, numbers])
