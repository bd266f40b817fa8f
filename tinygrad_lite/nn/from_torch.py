"""Layers of PyTorch's nn.Sequential, and what each activation is called there. Nothing of PyTorch's is imported."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

# ours -> the class in torch.nn and the settings by which it is the same function
TORCH: dict[str, tuple[str, dict[str, float | str]]] = {
    "linear": ("Identity", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": 0.1}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 40.0}),  # beyond, what it leaves out is below a rounding
    "silu": ("SiLU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "elu": ("ELU", {"alpha": 1.0}),
}
_OURS = {name: (ours, settings) for ours, (name, settings) in TORCH.items()}
_LAYERS = "Linear layers with a bias, each with at most one activation after it"


class Linear(NamedTuple):
    """state: {"weight": nout rows of nin numbers, "bias": nout numbers}"""

    nin: int
    nout: int
    activation: str
    state: dict[str, Any]


def layers_of(sequential: Iterable[Any]) -> list[Linear]:
    """Each Linear layer with the activation after it.

    TypeError for what is no such module; ValueError for an activation that is another function here, with what it is.
    """
    found: list[Linear] = []
    free = False  # may the layer still get an activation?
    for i, part in enumerate(sequential):
        kind = type(part).__name__
        if kind == "Dropout":  # which does nothing where a model is used
            continue
        if kind == "Linear" and part.bias is not None:
            weight, bias = part.weight.tolist(), part.bias.tolist()
            found.append(Linear(len(weight[0]), len(weight), "linear", {"weight": weight, "bias": bias}))
            free = True
        elif kind in _OURS and free:
            ours, settings = _OURS[kind]
            for name, expected in settings.items():
                got = getattr(part, name, expected)
                if got != expected and (kind, name) != ("Softplus", "threshold"):  # which is near the same function
                    raise ValueError(f"layer {i} is a {kind} with {name}={got!r}, here {ours!r} has {expected!r}")
            found[-1], free = found[-1]._replace(activation=ours), False
        else:
            raise TypeError(f"from_torch takes an nn.Sequential of {_LAYERS}; layer {i} is {part!r}")
    if not found:
        raise TypeError(f"from_torch takes an nn.Sequential of {_LAYERS}, got {sequential!r}")
    return found
