"""The same recipes in PyTorch, JAX and CasADi, where these are installed. No tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lite.ops import Op

from .operations import OPERATIONS

INSTALLED = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]


def derive(name: str, recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    """For each recipe at its point: its outputs and their total, and the gradient of the total."""
    return {"torch": _torch, "jax": _jax}[name](recipes)


class Library:
    """A library's functions, each from the first of its modules that has it. number: of a float a tensor of float64."""

    def __init__(self, number: Callable[[float], Any], *modules: Any) -> None:
        self.modules, self._number = modules, number

    def __getattr__(self, name: str) -> Any:
        return next(getattr(module, name) for module in self.modules if hasattr(module, name))

    def number(self, x: Any) -> Any:
        return x if hasattr(x, "shape") else self._number(x)

    def truth(self, condition: Any) -> Any:
        return self.where(condition, self.number(1.0), self.number(0.0))

    def stacked(self, *xs: Any) -> Any:
        return self.stack([self.number(x) for x in xs])

    def apply(self, op: Op, xs: Sequence[Any]) -> Any:
        """The operation as the library's users write it."""
        peers = OPERATIONS[op].peers
        return peers(self, *xs) if callable(peers) else getattr(self, peers)(*map(self.number, xs))


def _torch(recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    import torch

    library = Library(lambda x: torch.tensor(x, dtype=torch.float64), torch, torch.nn.functional)
    found = []
    for recipe in recipes:
        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in recipe.point]
        outputs = recipe.build(leaves, library.apply)
        if outputs[-1].requires_grad:
            outputs[-1].backward()
        gradient = [0.0 if x.grad is None else x.grad.item() for x in leaves]
        found.append(([x.item() for x in outputs], gradient))
    return found


def _jax(recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    library = Library(lambda x: jnp.asarray(x, dtype=float), jnp, jax.nn, jax.scipy.special, jax.lax)

    def everything(points: Any) -> Any:
        outputs = [recipe.build(xs, library.apply) for recipe, xs in zip(recipes, points)]
        return sum(out[-1] for out in outputs), outputs

    points = [[jnp.asarray(x, dtype=float) for x in recipe.point] for recipe in recipes]
    gradients, outputs = jax.grad(everything, has_aux=True)(points)
    return [([float(x) for x in out], [float(x) for x in g]) for out, g in zip(outputs, gradients)]
