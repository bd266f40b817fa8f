"""tinygrad_lite: scalar reverse-mode automatic differentiation, to learn and teach how networks learn.

>>> from tinygrad_lite import Value
>>> x = Value(3.0)
>>> y = x * x + 1
>>> y.backward()
>>> y.data, x.grad
(10.0, 6.0)
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import data, nn, optim
from .check import check_op, gradcheck
from .compiler import jit
from .doctor import doctor
from .draw import draw_dot
from .engine import Value, anomaly, grad, hessian, no_grad, scope
from .io import load, save
from .mistakes import TrainingWarning
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

if TYPE_CHECKING:
    from .draw.player import player
    from .explanation import explain


def __getattr__(name: str) -> Any:
    """`explain` and `player` are loaded at their first use, which keeps the import quick."""
    if name not in ("explain", "player"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(".draw.player" if name == "player" else ".explanation", __name__)
    return getattr(module, name)


__version__ = "0.1.0"
__all__ = [
    "OPS", "History", "Op", "TrainingWarning", "Value",
    "acos", "anomaly", "asin", "atan", "atan2", "check_op", "clip", "cos", "cosh", "data", "doctor",
    "dot", "draw_dot", "equal", "exp", "explain", "expm1", "fit", "grad", "gradcheck", "hessian", "hypot", "jit",
    "leaky_relu",
    "load", "log", "log1p", "logsumexp", "maximum", "mean", "minimum", "nn", "no_grad", "optim", "pick", "player",
    "power", "relu", "save", "scope", "sigmoid", "sign", "sin", "sinh", "softplus", "sqrt", "step", "tan", "tanh",
    "total", "where",
]  # fmt: skip
