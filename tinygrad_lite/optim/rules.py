"""The rules of gradient descent and its relatives: each is one formula on scalars.

`update(p, g, lr, t, *state) -> (p, *state)` gives the new parameter and state, from the parameter p, its
gradient g, the learning rate, the step number t = 1, 2, ... and the old state, which starts at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .. import expect, ops
from .optimizer import Optimizer

if TYPE_CHECKING:
    from ..engine import Number, Value


class SGD(Optimizer):
    """Stochastic gradient descent, in PyTorch's form: v <- mu v + (1 - dampening) g, w <- w - lr v.

    Parameters
    ----------
    momentum : mu of the heavy ball (Polyak 1964); 0 moves by the gradient itself. v starts at 0.
    dampening : the lectures' w <- w - gamma eta g + (1 - gamma) (w - w_before) is momentum = dampening = 1 - gamma.
    weight_decay : adds weight_decay * w to the gradient.
    nesterov : w <- w - lr (g + mu v) (Sutskever et al. 2013).
    average_gradients : T moves by the mean of the last T gradients (lecture 12).
    """

    def __init__(
        self, params: Iterable[Value], lr: float, momentum: float = 0.0, dampening: float = 0.0,
        weight_decay: float = 0.0, nesterov: bool = False, average_gradients: int = 1,
    ) -> None:  # fmt: skip
        self.momentum = expect.not_negative("momentum", momentum)
        self.dampening = expect.number("dampening", dampening)
        self.weight_decay = expect.not_negative("weight_decay", weight_decay)
        self.nesterov = bool(nesterov)
        self.average_gradients = expect.whole("average_gradients", average_gradients, of="steps")
        if nesterov and (self.momentum == 0.0 or self.dampening != 0.0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        self.state_size = (self.momentum != 0.0) + (self.average_gradients - 1)
        super().__init__(params, lr)

    def update(self, p: Number, g: Number, lr: Number, t: Number, *state: Number) -> tuple[Number, ...]:
        if not self.state_size and not self.weight_decay:
            return (p - lr * g,)
        if self.weight_decay:
            g = g + self.weight_decay * p
        velocity, *before = state if self.momentum else (0.0, *state)
        if before:  # the last T - 1 gradients, newest first
            before, g = [g, *before[:-1]], ops.total((g, *before)) / ops.minimum(t, self.average_gradients)
        if not self.momentum:
            return (p - lr * g, *before)
        v = self.momentum * velocity + (1.0 - self.dampening) * g
        move = g + self.momentum * v if self.nesterov else v
        return (p - lr * move, v, *before)


class Adagrad(Optimizer):
    """Steps of lr g / sqrt(sum of all g^2 so far), smaller and smaller (Duchi, Hazan and Singer 2011).

    Parameters
    ----------
    weight_decay : adds weight_decay * w to the gradient.
    eps : added to the root, against a division by 0.
    """

    state_size = 1

    def __init__(
        self, params: Iterable[Value], lr: float = 0.01, weight_decay: float = 0.0, eps: float = 1e-10
    ) -> None:
        self.weight_decay = expect.not_negative("weight_decay", weight_decay)
        self.eps = expect.positive("eps", eps)
        super().__init__(params, lr)

    def update(self, p: Number, g: Number, lr: Number, t: Number, *state: Number) -> tuple[Number, ...]:
        if self.weight_decay:
            g = g + self.weight_decay * p
        squares = state[0] + g * g
        return p - lr * g / (ops.sqrt(squares) + self.eps), squares


class RMSprop(Optimizer):
    """Steps scaled by a running mean of g^2 (Tieleman and Hinton 2012), in PyTorch's form.

    Parameters
    ----------
    alpha : share of the running mean that is kept at each step.
    eps : added to the root, against a division by 0.
    momentum : mu of v <- mu v + the scaled gradient, w <- w - lr v; 0 moves by the scaled gradient.
    centered : scale by the variance of g, not by the mean of g^2 (Graves 2013).
    """

    def __init__(
        self, params: Iterable[Value], lr: float = 0.01, alpha: float = 0.99, eps: float = 1e-8,
        weight_decay: float = 0.0, momentum: float = 0.0, centered: bool = False,
    ) -> None:  # fmt: skip
        self.alpha = expect.below_one("alpha", alpha)
        self.eps = expect.positive("eps", eps)
        self.weight_decay = expect.not_negative("weight_decay", weight_decay)
        self.momentum = expect.not_negative("momentum", momentum)
        self.centered = bool(centered)
        self.state_size = 1 + (self.momentum != 0.0) + self.centered
        super().__init__(params, lr)

    def update(self, p: Number, g: Number, lr: Number, t: Number, *state: Number) -> tuple[Number, ...]:
        if self.weight_decay:
            g = g + self.weight_decay * p
        square = scale = self.alpha * state[0] + (1.0 - self.alpha) * g * g
        kept = [square]
        if self.centered:
            mean = self.alpha * state[-1] + (1.0 - self.alpha) * g
            scale = ops.maximum(square - mean * mean, 0.0)  # rounding may take it below 0
            kept.append(mean)
        move = g / (ops.sqrt(scale) + self.eps)
        if self.momentum:
            move = self.momentum * state[1] + move
            kept.insert(1, move)
        return (p - lr * move, *kept)


class Adam(Optimizer):
    """Steps of about lr: the running mean of g over the root of that of g^2 (Kingma and Ba 2015, algorithm 1).

    Parameters
    ----------
    betas : shares of the two running means that are kept at each step.
    eps : added to the root, against a division by 0.
    weight_decay : adds weight_decay * w to the gradient.
    """

    state_size = 2

    def __init__(
        self, params: Iterable[Value], lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:  # fmt: skip
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be two numbers, such as (0.9, 0.999), got {betas!r}")
        self.beta1, self.beta2 = [expect.below_one(f"betas[{i}]", beta) for i, beta in enumerate(betas)]
        self.eps = expect.positive("eps", eps)  # 0 / 0 where every gradient has been 0
        self.weight_decay = expect.not_negative("weight_decay", weight_decay)
        super().__init__(params, lr)

    def update(self, p: Number, g: Number, lr: Number, t: Number, *state: Number) -> tuple[Number, ...]:
        if self.weight_decay:
            p, g = self.decay(p, g, lr)
        m, v = state
        m = self.beta1 * m + (1.0 - self.beta1) * g
        v = self.beta2 * v + (1.0 - self.beta2) * g * g
        unbiased_m = m / (1.0 - ops.power(self.beta1, t))
        unbiased_v = v / (1.0 - ops.power(self.beta2, t))
        return p - lr * unbiased_m / (ops.sqrt(unbiased_v) + self.eps), m, v

    def decay(self, p: Number, g: Number, lr: Number) -> tuple[Number, Number]:
        """Parameter and gradient after weight decay."""
        return p, g + self.weight_decay * p


class AdamW(Adam):
    """Adam with weight decay applied to the weights, not to the gradient (Loshchilov and Hutter 2019)."""

    def __init__(
        self, params: Iterable[Value], lr: float = 0.001, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay)

    def decay(self, p: Number, g: Number, lr: Number) -> tuple[Number, Number]:
        return p - lr * self.weight_decay * p, g
