"""tinygrad_lite: scalar reverse-mode automatic differentiation, to learn and teach how networks learn.

>>> from tinygrad_lite import Value
>>> x = Value(3.0)
>>> y = x * x + 1
>>> y.backward()
>>> y.data, x.grad
(10.0, 6.0)
"""

from . import data, nn, optim
from .check import check_op, gradcheck
from .compiler import jit
from .draw import draw_dot
from .draw.player import player
from .engine import Value, anomaly, grad, hessian, no_grad, scope
from .explanation import explain
from .io import load, save
from .ops import (
    OPS,
    Op,
    acos,
    asin,
    atan,
    atan2,
    clip,
    cos,
    cosh,
    dot,
    equal,
    exp,
    expm1,
    hypot,
    leaky_relu,
    log,
    log1p,
    logsumexp,
    maximum,
    mean,
    minimum,
    pick,
    power,
    relu,
    sigmoid,
    sign,
    sin,
    sinh,
    softplus,
    sqrt,
    step,
    tan,
    tanh,
    total,
    where,
)
from .train import History, fit

__version__ = "0.1.0"
__all__ = [
    "OPS", "History", "Op", "Value",
    "acos", "anomaly", "asin", "atan", "atan2", "check_op", "clip", "cos", "cosh", "data", "dot",
    "draw_dot", "equal", "exp", "explain", "expm1", "fit", "grad", "gradcheck", "hessian", "hypot", "jit",
    "leaky_relu",
    "load", "log", "log1p", "logsumexp", "maximum", "mean", "minimum", "nn", "no_grad", "optim", "pick", "player",
    "power", "relu", "save", "scope", "sigmoid", "sign", "sin", "sinh", "softplus", "sqrt", "step", "tan", "tanh",
    "total", "where",
]  # fmt: skip
