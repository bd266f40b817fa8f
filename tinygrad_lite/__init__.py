"""tinygrad_lite: scalar reverse-mode automatic differentiation, to learn and teach how networks learn.

>>> from tinygrad_lite import Value
>>> x = Value(3.0)
>>> y = x * x + 1
>>> y.backward()
>>> y.data, x.grad
(10.0, 6.0)
"""

import importlib
from typing import TYPE_CHECKING

from . import data, derivatives, engine, mistakes, nn, ops, optim
from .check import check_op, gradcheck
from .compiler import jit
from .derivatives import grad, hessian, hvp, jacobian
from .doctor import doctor
from .draw import draw_dot
from .engine import Value
from .io import load, save
from .mistakes import TrainingWarning
from .modes import anomaly, no_grad, scope
from .ops import *  # noqa: F403
from .train import History, fit

if TYPE_CHECKING:
    from . import export
    from .draw.player import player
    from .explanation import explain


def __getattr__(name: str) -> object:
    """`explain`, `export` and `player` are loaded at their first use, which keeps the import quick."""
    if name not in ("explain", "export", "player"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "export":
        return importlib.import_module(".export", __name__)
    module = importlib.import_module(".draw.player" if name == "player" else ".explanation", __name__)
    return getattr(module, name)


__version__ = "0.1.0"
__all__ = [
    "History", "TrainingWarning", "Value", "anomaly", "check_op", "data", "doctor", "draw_dot", "explain", "export",
    "fit", "grad", "gradcheck", "hessian", "hvp", "jacobian", "jit", "load", "nn", "no_grad", "optim", "player", "save",
    "scope",
]  # fmt: skip
__all__ += ops.__all__

for _name in ("SELECTED_LATER", "adjoints", "grad", "gradients", "hessian"):  # importable from where they were
    setattr(engine, _name, getattr(derivatives, _name))
engine.has_changed = mistakes.has_changed  # type: ignore[attr-defined]
