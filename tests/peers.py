"""The same recipes in PyTorch and in JAX, where these are installed. No tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from tinygrad_lite import ops
from tinygrad_lite.ops import Op

INSTALLED = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]


def derive(name: str, recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    """For each recipe at its point: its outputs and their total, and the gradient of the total."""
    return {"torch": _torch, "jax": _jax}[name](recipes)


def _torch(recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    import torch

    f = torch.nn.functional
    functions = table(
        SimpleNamespace(
            **{name: getattr(torch, name) for name in SHARED}, number=lambda x: torch.tensor(x, dtype=torch.float64),
            sigmoid=torch.sigmoid, softplus=f.softplus, relu=torch.relu, leaky_relu=f.leaky_relu, stack=torch.stack,
            logsumexp=lambda v: torch.logsumexp(v, 0), largest=torch.amax, smallest=torch.amin,
        )
    )  # fmt: skip
    found = []
    for recipe in recipes:
        leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in recipe.point]
        outputs = recipe.build(leaves, lambda op, xs: functions[op](*xs))
        if outputs[-1].requires_grad:
            outputs[-1].backward()
        gradient = [0.0 if x.grad is None else x.grad.item() for x in leaves]
        found.append(([x.item() for x in outputs], gradient))
    return found


def _jax(recipes: Sequence[Any]) -> list[tuple[list[float], list[float]]]:
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)
    functions = table(
        SimpleNamespace(
            **{name: getattr(jnp, name) for name in SHARED}, number=lambda x: jnp.asarray(x, dtype=float),
            sigmoid=jax.nn.sigmoid, softplus=jax.nn.softplus, relu=jax.nn.relu, leaky_relu=jax.nn.leaky_relu,
            stack=jnp.stack, logsumexp=jax.nn.logsumexp, largest=jnp.max, smallest=jnp.min,
        )
    )  # fmt: skip

    def everything(points: Any) -> Any:
        outputs = [recipe.build(xs, lambda op, xs: functions[op](*xs)) for recipe, xs in zip(recipes, points)]
        return sum(out[-1] for out in outputs), outputs

    points = [[jnp.asarray(x, dtype=float) for x in recipe.point] for recipe in recipes]
    gradients, outputs = jax.grad(everything, has_aux=True)(points)
    return [([float(x) for x in out], [float(x) for x in g]) for out, g in zip(outputs, gradients)]


SHARED = [
    "abs", "sign", "exp", "expm1", "log", "log1p", "sqrt", "hypot", "sin", "cos", "tan", "arcsin", "arccos", "arctan",
    "arctan2", "sinh", "cosh", "tanh", "where", "clip", "sum", "mean",
]  # fmt: skip


def table(m: SimpleNamespace) -> dict[Op, Callable[..., Any]]:
    """Each operation by the functions of a library, as its users write it."""

    def dot(*ws_xs: Any) -> Any:
        n = len(ws_xs) // 2
        products = [w * x for w, x in zip(ws_xs[:n], ws_xs[n:])]
        return sum_of(*ws_xs[2 * n :], *products)

    def stacked(*xs: Any) -> Any:
        return m.stack([x if hasattr(x, "shape") else m.number(x) for x in xs])

    def sum_of(*xs: Any) -> Any:
        return m.sum(stacked(*xs))

    def on_tensors(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *xs: f(*[x if hasattr(x, "shape") else m.number(x) for x in xs])

    def truth(condition: Any) -> Any:
        return m.where(condition, m.number(1.0), m.number(0.0))

    found = {
        ops.add: lambda a, b: a + b,
        ops.sub: lambda a, b: a - b,
        ops.mul: lambda a, b: a * b,
        ops.div: on_tensors(lambda a, b: a / b),
        ops.power: lambda a, b: a**b,
        ops.neg: lambda x: -x,
        ops.abs_: abs,
        ops.hypot: on_tensors(m.hypot),
        ops.asin: m.arcsin,
        ops.acos: m.arccos,
        ops.atan: m.arctan,
        ops.atan2: on_tensors(m.arctan2),
        ops.sigmoid: m.sigmoid,
        ops.softplus: m.softplus,
        ops.relu: m.relu,
        ops.leaky_relu: lambda x, slope: (
            m.leaky_relu(x, slope) if isinstance(slope, float) and not isinstance(x, float)
            else m.where(m.number(x) > 0 if isinstance(x, float) else x > 0, x, slope * x)
        ),
        ops.step: lambda x: truth(x > 0),
        ops.equal: on_tensors(lambda a, b: truth(a == b)),
        ops.less: on_tensors(lambda a, b: truth(a < b)),
        ops.less_equal: on_tensors(lambda a, b: truth(a <= b)),
        ops.where: on_tensors(lambda c, a, b: m.where(c != 0, a, b)),
        ops.clip: on_tensors(m.clip),
        ops.maximum: lambda *xs: m.largest(stacked(*xs)),
        ops.minimum: lambda *xs: m.smallest(stacked(*xs)),
        ops.pick: lambda k, *xs: stacked(*xs)[int(k)],
        ops.dot: dot,
        ops.total: sum_of,
        ops.mean: lambda *xs: m.mean(stacked(*xs)),
        ops.logsumexp: lambda *xs: m.logsumexp(stacked(*xs)),
    }  # fmt: skip
    for op in ops.OPS:
        if op not in found:
            found[op] = getattr(m, op.name)
    return found
