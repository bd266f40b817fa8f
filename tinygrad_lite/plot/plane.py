"""What depends on two numbers: a model's answers over the plane, a loss over two parameters, a gradient field."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeVar

from .. import examples
from ..engine import Value
from ..modes import no_grad
from .canvas import CLASSES, GREY, LINES, ON_COLOURS, axes_of, gradient_of, need_numpy, number, numbers, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from numpy import ndarray

T = TypeVar("T")
Points = Sequence[Sequence[float]]


def decision_boundary(
    model: Callable[[list[float]], object], X: Points, y: Sequence[float], ax: Axes | None = None, steps: int = 60
) -> Axes:
    """The plane as the model divides it, black lines where its answer changes, and the points.

    Parameters
    ----------
    model : 2 numbers -> one score, or K scores
        One score, for classes -1 and 1 or 0 and 1, changes sides at 0 (for a sigmoid output: lambda x: model(x) - 0.5)
        and deepens the colour. Of K scores, for classes 0 to K - 1, the largest owns the place.
    X, y : n points of 2 numbers, n classes
    steps : the model is asked at steps x steps places
    """
    X, y = examples.pairs("decision_boundary", X, y, "points")
    for row in X:
        if not hasattr(row, "__len__") or len(row) != 2:
            raise ValueError(f"decision_boundary draws a plane: each point is 2 numbers, got {row!r}")
    np = need_numpy()
    points, targets = np.array([numbers(row) for row in X]), np.array(numbers(y))
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.15 * max(*(high - low), 1e-9)
    grids = np.linspace(low - pad, high + pad, steps).T
    z = np.array(_on_grid(lambda a, b: numbers(model([a, b])), grids))
    _check_classes(z, sorted(set(targets.tolist())))
    ax = axes_of(ax)
    ax.set_facecolor("white")  # shines through the colours
    z[~np.isfinite(z)] = np.nan
    one = z.shape[2] == 1
    for margin in [_sides(ax, grids, z[:, :, 0])] if one else _regions(ax, grids, z):
        if margin.min() < 0.0 < margin.max():  # matplotlib warns where there is no line to draw
            ax.contour(*grids, margin, [0.0], colors="black", linewidths=1.5)
    two = [(1, "#5E2B7E", "o"), (min(0, *targets), "#8C4A00", "X")]
    for k, color, marker in two if one else [(k, *CLASSES[k % len(CLASSES)]) for k in range(z.shape[2])]:
        x1, x2 = points[targets == k].T
        if len(x1):
            ax.scatter(
                x1, x2, marker=marker, color=color, s=45, linewidth=0.7, edgecolor="white" if one else "black",
                label=f"class {k:g}",
            )  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    ax.legend(**ON_COLOURS)
    return ax


def landscape(
    loss: Callable[[], object],
    w1: Value,
    w2: Value,
    path: Points | Mapping[str, Points] | None = None,
    ax: Axes | None = None,
    span: float | None = None,
    xlim: tuple[float, float] | None = None,
    ylim: tuple[float, float] | None = None,
    steps: int = 41,
) -> Axes:
    """The loss over two parameters, the others held fixed, and the way an optimiser took.

    Contour lines are evenly spaced; at 1, 2, 5, 10, ... where no loss is negative and they span a factor of 30.

    Parameters
    ----------
    loss : no arguments -> the loss for w1.data and w2.data as they stand
        Asked steps x steps times, without recording; then both are put back, after an exception too.
    path : pairs (w1.data, w2.data), one for each step; or several paths by name
        A circle marks where a path starts, the star where w1 and w2 are now.
    span : from the star to the edges, in units of w1 and w2 (default: the picture holds the paths, or 2 each way)
    xlim, ylim : the limits of w1 and w2, instead

    >>> w, b, path = Value(0.0, "w"), Value(0.0, "b"), []
    >>> compiled = jit(lambda x, y: nn.mse(w * x + b, y))                              # doctest: +SKIP
    >>> plot.landscape(lambda: compiled.mean(X, Y), w, b, path)                        # doctest: +SKIP
    """
    if not (isinstance(w1, Value) and isinstance(w2, Value)) or w1 is w2:
        raise TypeError(f"landscape moves two different Values, got {w1!r} and {w2!r}")
    if not callable(loss):
        raise TypeError(f"landscape computes the loss anew at each place: write lambda: ..., got {loss!r}")
    several = path if isinstance(path, Mapping) else {"": () if path is None else path}
    paths = {name: _path(pairs) for name, pairs in several.items() if len(pairs)}
    now = (w1.data, w2.data)
    window = _window([now, *chain(*paths.values())] if span is None else [now], span)
    limits = [found if given is None else given for given, found in zip((xlim, ylim), window)]
    grids = [need_numpy().linspace(*limit, steps) for limit in limits]
    ax = _heights(ax, grids, _losses(loss, w1, w2, grids), "loss")
    for i, (name, pairs) in enumerate(paths.items()):
        _draw_path(ax, pairs, plain(name), *LINES[i % len(LINES)], start="start" if i + 1 == len(paths) else "")
    ax.plot(*now, "*", color="white", markeredgecolor="black", markersize=15, label="now", zorder=4)
    ax.set(xlim=limits[0], ylim=limits[1], xlabel=plain(w1.label) or "$w_1$", ylabel=plain(w2.label) or "$w_2$")
    ax.legend(**ON_COLOURS)
    return ax


def gradient_field(
    f: Callable[[Value, Value], Value],
    xlim: tuple[float, float] = (-3.0, 3.0),
    ylim: tuple[float, float] = (-3.0, 3.0),
    ax: Axes | None = None,
    steps: int = 15,
    descent: bool = False,
) -> Axes:
    """The gradient of f(x, y), or where descent leads, as steps x steps arrows over lines of equal f.

    An arrow stands for the gradient in its middle. Its colour is the length of the gradient; it is drawn as long as
    the logarithm of that, so that flat and steep places can be seen together. Unless one range is three times the
    other, x and y get one scale: arrows then cross the lines at right angles.

    Parameters
    ----------
    f : two Values -> one Value; each arrow is one backward pass
    descent : whether the arrows point against the gradient

    >>> plot.gradient_field(lambda x, y: x**2 - 4 * x + y**2 + 2 * y, xlim=(-2, 6))    # doctest: +SKIP
    """
    np = need_numpy()
    from matplotlib import colormaps, colors

    arrows = []
    for b in np.linspace(*ylim, 2 * steps + 1)[1::2].tolist():
        for a in np.linspace(*xlim, 2 * steps + 1)[1::2].tolist():
            x, y = Value(a, "x"), Value(b, "y")
            arrows.append((a, b, *gradient_of(f(x, y), [x, y])))
    grids = [np.linspace(*limits, 61) for limits in (xlim, ylim)]
    ax = _heights(ax, grids, _on_grid(lambda a, b: number(f(Value(a), Value(b))), grids))
    table = np.array(arrows)
    x, y, u, v = table[np.isfinite(table).all(axis=1)].T
    size = np.hypot(u, v)
    some = size[size > 0.0] if size.any() else np.ones(1)
    length = np.log1p(size / np.quantile(some, 0.1)) / np.log1p(some.max() / np.quantile(some, 0.1))
    length *= (-1.0 if descent else 1.0) / np.where(size > 0.0, size, 1.0)
    cells = steps * max(1.0, np.ptp(xlim) / np.ptp(ylim)) if ax.get_aspect() == 1.0 else 1.5 * steps
    field = ax.quiver(  # in the middle of its cell, so that no head is cut off at the edge
        x, y, u * length, v * length, size, angles="xy", pivot="mid", scale=cells, scale_units="width", width=0.005,
        zorder=3,
        cmap=colors.ListedColormap(colormaps["viridis"](np.linspace(0.65, 0.0, 256))),
        norm=colors.PowerNorm(0.5, 0.0, some.max()),
    )  # fmt: skip
    _colour_bar(ax, field, label="length of the gradient", format="{x:g}")
    ax.set(xlim=xlim, ylim=ylim, xlabel="$x$", ylabel="$y$")
    return ax


def _check_classes(z: ndarray, found: Sequence[float]) -> None:
    classes = z.shape[2]
    allowed = [range(classes)] if classes > 1 else [(-1, 1), (0, 1)]
    if not any(set(found) <= set(some) for some in allowed):
        raise ValueError(
            f"the model gives {classes} score{'s' * (classes > 1)} per point, which tells apart the classes "
            f"{' or '.join(str(list(some)) for some in allowed)}; got {found}"
        )
    if not need_numpy().isfinite(z).any():
        raise ValueError("the model's scores are not finite anywhere: has its training diverged?")


def _sides(ax: Axes, grids: ndarray, z: ndarray) -> ndarray:
    """Colours that deepen with the score; returns what is 0 where it changes sides."""
    np = need_numpy()
    largest = np.nanmax(abs(z)) or 1.0
    margin: ndarray = np.ma.masked_invalid(z)
    ax.contourf(*grids, margin, np.linspace(-largest, largest, 22), cmap="PuOr", alpha=0.7)
    return margin


def _regions(ax: Axes, grids: ndarray, z: ndarray) -> list[ndarray]:
    """A colour for each class where its score is the largest; returns what is 0 at the edges of each."""
    np, classes = need_numpy(), range(z.shape[2])
    margins = [np.ma.masked_invalid(z[:, :, k] - np.delete(z, k, axis=2).max(axis=2)) for k in classes]
    for margin, k in zip(margins, classes):
        if margin.max() > 0.0:
            ax.contourf(*grids, margin, [0.0, margin.max()], colors=[CLASSES[k % len(CLASSES)][0]], alpha=0.35)
    return margins


def _on_grid(f: Callable[[float, float], T], grids: Sequence[ndarray]) -> list[list[T]]:
    """f(a, b) for each b of grids[1], and in each row for each a of grids[0]; nothing is recorded."""
    with no_grad():
        return [[f(a, b) for a in grids[0].tolist()] for b in grids[1].tolist()]


def _losses(loss: Callable[[], object], w1: Value, w2: Value, grids: Sequence[ndarray]) -> list[list[float]]:
    now = w1.data, w2.data

    def at(a: float, b: float) -> float:
        w1.data, w2.data = a, b
        return number(loss())

    try:
        return _on_grid(at, grids)
    finally:
        w1.data, w2.data = now


def _draw_path(ax: Axes, pairs: Points, name: str, color: str, style: str, marker: str, start: str) -> None:
    from matplotlib.patheffects import withStroke

    ax.plot(
        *zip(*pairs), color=color, linestyle=style, marker=marker, markersize=4, markevery=-(-len(pairs) // 40),
        path_effects=[withStroke(linewidth=4, foreground="white")], label=name,
    )  # fmt: skip
    ax.plot(
        *pairs[0], "o", color="white", markeredgecolor=color, markersize=9, markeredgewidth=2, zorder=3, label=start
    )


def _heights(ax: Axes | None, grids: Sequence[ndarray], rows: Points, label: str = "") -> Axes:
    """Lines of equal height, and colours between them if they get a label; returns the Axes."""
    np = need_numpy()
    from matplotlib import colors

    z = np.ma.masked_invalid(rows)
    if not z.count():
        raise ValueError("there is no finite number in the whole picture: choose other limits")
    levels, extend, form = _levels(float(z.min()), float(z.max()))
    ax = axes_of(ax)
    ax.set_facecolor("white")
    if label:
        norm = colors.BoundaryNorm(levels, 256, extend=extend)
        filled = ax.contourf(*grids, z, levels, cmap="viridis", norm=norm, extend=extend)
        _colour_bar(ax, filled, label=label, ticks=levels, format=form)
    inside = [level for level in levels if z.min() < level < z.max()]
    if inside:  # matplotlib warns where there is no line to draw
        ax.contour(*grids, z, inside, colors="white" if label else GREY, linewidths=0.8, linestyles="solid", alpha=0.8)
    if 1 / 3 < np.ptp(grids[0]) / np.ptp(grids[1]) < 3:
        ax.set_aspect("equal")  # gradients are at right angles to the lines
    return ax


def _colour_bar(
    ax: Axes, colours: ScalarMappable, label: str, format: str | None, ticks: Sequence[float] | None = None
) -> None:
    """A bar beside the Axes and as tall as they are, whatever their aspect makes of them."""
    bar = ax.inset_axes((1.04, 0.0, 0.05, 1.0))
    ax.figure.colorbar(colours, cax=bar, label=label, format=format, ticks=ticks)


def _levels(low: float, high: float) -> tuple[Sequence[float], Literal["min", "neither"], str | None]:
    """Heights to draw lines at, whether lower ones are left out ("min"), and how labels are written."""
    from matplotlib import ticker

    if low < 0.0 or high <= 30.0 * low:
        pad = 0.0 if low < high else 0.1 * abs(low) or 1.0
        return ticker.MaxNLocator(12).tick_values(low - pad, high + pad), "neither", None
    extend: Literal["min", "neither"] = "min" if low < 1e-4 * high else "neither"
    low = max(low, 1e-4 * high)
    subs = (1, 2, 5) if high > 100.0 * low else (1, 1.5, 2, 3, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [sub * 10.0**power for power in powers for sub in subs]
    levels = [a for a, after in zip(every, every[1:]) if after > low]
    return levels[: 1 + next(i for i, level in enumerate(levels) if level >= high)], extend, "{x:g}"


def _window(pairs: Points, span: float | None) -> list[tuple[float, float]]:
    """Lowest and highest w1, and w2: span beyond the pairs on each side, or what suits how far they go."""
    finite = [pair for pair in pairs if all(map(math.isfinite, pair))] or [(0.0, 0.0)]
    ends = [(min(ws), max(ws)) for ws in zip(*finite)]
    if span is None:
        span = 0.3 * max(high - low for low, high in ends) or 2.0
    return [(low - span, high + span) for low, high in ends]


def _path(pairs: Points) -> list[tuple[float, float]]:
    for pair in pairs:
        if not hasattr(pair, "__len__") or len(pair) != 2 or any(isinstance(w, Value) for w in pair):
            raise TypeError(f"a path holds pairs of numbers (w1.data, w2.data), got {pair!r}")
    return [(float(a), float(b)) for a, b in pairs]
