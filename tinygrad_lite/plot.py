"""Matplotlib pictures of training. Each function returns the Axes, takes `ax=`, and never shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .engine import Value, no_grad

if TYPE_CHECKING:
    from .train import History

# Okabe and Ito 2008: told apart by the colour-blind
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A7A7A"


def history(history: History, ax: Any = None, label: str = "training loss") -> Any:
    """The loss of each epoch, on a logarithmic axis where it is positive throughout."""
    ax = _axes(ax)
    epochs = range(1, len(history.loss) + 1)
    ax.plot(epochs, history.loss, color=BLUE, label=label, marker="." if len(epochs) < 30 else None)
    if history.loss and min(history.loss) > 0:
        ax.set_yscale("log")
    ax.set(xlabel="epoch", ylabel=label)
    ax.grid(alpha=0.3, which="both")
    return ax


def decision_boundary(
    model: Callable[[list[float]], Any],
    X: Sequence[Sequence[float]],
    y: Sequence[float],
    ax: Any = None,
    steps: int = 60,
) -> Any:
    """The plane coloured by model's score, its zero line, and the points: circles for class 1, crosses
    for class -1.

    model: 2 numbers -> one score. X: n points of 2 numbers. y: n classes, -1 or 1. steps: grid per side.
    """
    ax = _axes(ax)
    xs, ys = ([row[i] for row in X] for i in (0, 1))
    pad = 0.15 * max(max(xs) - min(xs), max(ys) - min(ys), 1e-9)
    grid_x, grid_y = (
        [min(v) - pad + (max(v) - min(v) + 2 * pad) * i / (steps - 1) for i in range(steps)] for v in (xs, ys)
    )
    with no_grad():
        scores = [[_number(model([a, b])) for a in grid_x] for b in grid_y]
    largest = max(abs(s) for row in scores for s in row) or 1.0
    ax.contourf(grid_x, grid_y, scores, levels=20, cmap="PuOr", vmin=-largest, vmax=largest, alpha=0.7)
    ax.contour(grid_x, grid_y, scores, levels=[0.0], colors="black", linewidths=1.5)
    for side, marker, color, name in (1, "o", "#5E2B7E", "class 1"), (-1, "X", "#8C4A00", "class -1"):
        chosen = [row for row, target in zip(X, y) if (target > 0) == (side > 0)]
        ax.scatter(
            [row[0] for row in chosen], [row[1] for row in chosen],
            marker=marker, color=color, edgecolor="white", linewidth=0.7, s=45, label=name,
        )  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    ax.legend(loc="upper right", fontsize="small")
    return ax


def digits(images: Sequence[Sequence[float]], titles: Sequence[str], axes: Any = None, columns: int = 8) -> Any:
    """A sheet of 8 x 8 pictures (64 grey values each, 0 to 1) with a title over each; returns the array
    of Axes."""
    import numpy as np

    rows = max(1, -(-len(images) // columns))
    if axes is None:
        axes = (
            _pyplot()
            .figure(figsize=(columns * 1.05, rows * 1.3), layout="constrained")
            .subplots(rows, columns, squeeze=False)
        )
    for ax in np.asarray(axes).flat:
        ax.set_axis_off()
    for ax, image, title in zip(np.asarray(axes).flat, images, titles):
        ax.imshow(np.reshape(image, (8, 8)), cmap="gray_r", vmin=0, vmax=1)
        ax.set_title(title, fontsize=9)
    return axes


def _axes(ax: Any) -> Any:
    return ax if ax is not None else _pyplot().subplots(figsize=(6, 4), layout="constrained")[1]


def _pyplot() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'tinygrad_lite[demo]'") from None
    return pyplot


def _number(x: Any) -> float:
    return x.data if isinstance(x, Value) else float(x)
