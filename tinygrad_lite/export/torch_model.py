"""A model as PyTorch's nn.Sequential."""

from __future__ import annotations

from typing import Any

from ..nn import MLP, Layer, activation_name
from ..nn.from_torch import TORCH


def sequential(model: MLP | Layer) -> Any:
    """See `export.torch`."""
    try:
        import torch
    except ImportError:
        raise ImportError("torch is missing: pip install torch") from None
    if not isinstance(model, (MLP, Layer)):
        raise TypeError(f"export.torch takes an nn.MLP or an nn.Layer, got {model!r}")
    parts: list[Any] = []
    for layer in model.layers if isinstance(model, MLP) else [model]:
        neurons = layer.neurons
        linear = torch.nn.Linear(len(neurons[0].w), len(neurons), dtype=torch.float64)
        with torch.no_grad():
            for name, tensor in layer.state_dict().items():
                getattr(linear, name).copy_(torch.tensor(tensor, dtype=torch.float64))
        parts.append(linear)
        name = activation_name(layer.activation)
        if layer.activation not in TORCH:
            raise NotImplementedError(
                f"export.torch cannot write the activation {name}: PyTorch has no module for it; there are "
                f"{', '.join(TORCH)}"
            )
        kind, settings = TORCH[name]
        if name != "linear":
            parts.append(getattr(torch.nn, kind)(**settings))
    return torch.nn.Sequential(*parts)
