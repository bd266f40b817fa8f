"""Curves: the loss, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .canvas import LINES, axes_of, number, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..train import History

    Curve = History | Sequence[float]


def history(history: Curve | Mapping[str, Curve], ax: Axes | None = None, label: str = "training loss") -> Axes:
    """The loss of each epoch, on a logarithmic axis where all losses are positive and span a factor of 5.

    Parameters
    ----------
    history : what `fit` returned, or a list of losses; or several by name, {"SGD": h1, "Adam": h2}, to compare
    label : what this loss is; another call with the same ax adds a curve under its own label
    """
    several = history if isinstance(history, Mapping) else {label: history}
    curves = {name: _curve(one) for name, one in several.items()}
    ax = axes_of(ax)
    ax.set_ylabel("loss" if ax.lines else plain(label))
    for name, curve in curves.items():
        color, style, marker = LINES[len(ax.lines) % len(LINES)]
        ax.plot(
            range(1, len(curve) + 1), curve, color=color, linestyle=style, label=plain(name),
            marker=marker if len(curve) < 30 else "", markersize=4,
        )  # fmt: skip
    losses = [loss for line in ax.lines for loss in line.get_ydata() if math.isfinite(loss)]
    low, high = min(losses, default=0.0), max(losses, default=0.0)
    logarithmic = 0.0 < 5.0 * low <= high
    ax.set_yscale("log" if logarithmic else "linear")
    if logarithmic:
        from matplotlib import ticker

        # below two decades, powers of ten alone are too few labels, and all their multiples too many
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5) if high < 100.0 * low else (1,)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())
    ax.locator_params("x", integer=True)
    ax.set_xlabel("epoch")
    ax.grid(visible=True, alpha=0.3)
    if len(ax.lines) > 1:
        ax.legend()
    return ax


def _curve(history: Curve) -> Sequence[float]:
    """The loss of each epoch."""
    try:
        return list(map(number, history.loss if hasattr(history, "loss") else history))
    except (TypeError, ValueError):
        raise TypeError(f"a history is what fit returned, or a list of losses, got {history!r}") from None
