"""The picture that people expect of a network: circles in columns, and an edge for each weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from .. import expect, nn
from ..engine import Number, Value
from ..modes import no_grad
from .canvas import BLUE, GREY, ORANGE, figure_of, need_numpy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from numpy import ndarray

Shown = Literal["weight", "gradient"]
WIDE, TALL = 3.0, 1.0  # from column to column, and from circle to circle
RADIUS, TILE = 0.34, 0.45  # of a circle; half the side of an image of weights
PIXELS = 16  # as many inputs, or more, are drawn as an image if they make a square


def network(
    model: nn.Module, x: Sequence[Number] | None = None, ax: Axes | None = None, edges: Shown = "weight",
    units: int = 10, tiles: bool | None = None,
) -> Axes:  # fmt: skip
    """A network as circles in columns, inputs to the left, outputs to the right, with an edge for each weight.

    An edge is orange where its weight is positive, blue where it is negative, and the wider and darker the larger
    that is beside the others of its layer. The rim of a circle tells its bias in the same way. With x, a circle is
    filled with what the unit gives for it, and a unit whose activation gave nothing is white.

    Parameters
    ----------
    model : an MLP, Layer or Neuron; or a Module whose Layers feed one another in the order of its attributes.
    x : one example, for the activations.
    edges : "gradient" draws d loss / d weight, after a backward pass, in place of the weights.
    units : how many circles a column may have. Of a larger layer the first and last are drawn, the rest is counted.
    tiles : whether the inputs are an image: the weights of each unit of the first layer are drawn as one, too.
        By default where there are 16 inputs or more that make a square, as of 8 x 8 or 28 x 28 pixels.

    Returns
    -------
    The Axes.

    >>> plot.network(nn.MLP(2, [4, 1], seed=0), x=[1.0, -0.5])                         # doctest: +SKIP
    """
    if edges not in ("weight", "gradient"):
        raise ValueError(f'edges is "weight" or "gradient", got {edges!r}')
    layers = _layers(model)
    nin = len(layers[0].neurons[0].w)
    side = _side(nin, tiles)
    given = None if x is None else _activations(layers, x)
    tables = _tables(layers, edges)
    columns = [_places(n, expect.whole("units", units)) for n in (nin, *(len(layer.neurons) for layer in layers))]
    if side:
        columns[0] = {}
    ax = _stage(ax, columns)
    for column, (weights, _) in enumerate(tables, start=1):
        if column > 1 or not side:
            _edges(ax, column, columns, weights)
    for column, places in enumerate(columns):
        biases = tables[column - 1][1] if column else None
        tile = tables[0][0].reshape(-1, side, side) if side and column == 1 else None
        _circles(ax, column, places, None if given is None else given[column], biases, tile)
    if side:
        _image(ax, None if given is None else given[0].reshape(side, side))
    names = [f"{side} x {side} inputs" if side else f"{nin} input{'s' * (nin > 1)}"]
    names += [f"{len(layer.neurons)} {nn.activation_name(layer.activation)}" for layer in layers]
    _titles(ax, names, edges, columns)
    return ax


# --- what is drawn


def _side(nin: int, tiles: bool | None) -> int:
    """How many pixels wide the image is that the inputs are drawn as; 0 where they are drawn as circles."""
    side = math.isqrt(nin)
    square = side * side == nin
    if tiles and not square:
        raise ValueError(f"tiles are of inputs that make a square, as 64 of 8 x 8 pixels, got {nin}: leave out tiles")
    return side if ((square and nin >= PIXELS) if tiles is None else tiles) else 0


def _layers(model: nn.Module) -> list[nn.Layer]:
    """The layers of a model, each of which reads what the one before gives."""
    if isinstance(model, nn.Neuron):
        layer = object.__new__(nn.Layer)
        layer.neurons = [model]
        return [layer]
    found = [m for _, m in model.named_modules() if isinstance(m, nn.Layer)] if isinstance(model, nn.Module) else []
    if not found:
        raise TypeError(f"network draws an nn.MLP, a Layer, a Neuron, or a Module that holds Layers, got {model!r}")
    for one, other in zip(found, found[1:]):
        gives, reads = len(one.neurons), len(other.neurons[0].w)
        if gives != reads:
            raise ValueError(
                f"network draws layers that feed one another; one of {gives} outputs is followed by one that reads "
                f"{reads}: draw them one by one, plot.network(model.layer)"
            )
    return found


def _activations(layers: Sequence[nn.Layer], x: Sequence[Number]) -> list[ndarray]:
    """The inputs, and what each layer gives for them."""
    np = need_numpy()
    with no_grad():
        outputs: list[Sequence[Number]] = [list(x)]
        for layer in layers:
            outputs.append(layer.outputs(outputs[-1]))
    return [np.array([v.data if isinstance(v, Value) else float(v) for v in out]) for out in outputs]


def _tables(layers: Sequence[nn.Layer], edges: Shown) -> list[tuple[ndarray, ndarray]]:
    """Weights and biases of each layer, from -1 to 1: 1 is the largest of the layer. Or their gradients."""
    np = need_numpy()
    read = attrgetter("grad" if edges == "gradient" else "data")
    tables = []
    for layer in layers:
        weights = np.array([[read(w) for w in n.w] for n in layer.neurons])
        biases = np.array([read(n.b) for n in layer.neurons])
        for numbers in weights, biases:
            numbers[~np.isfinite(numbers)] = 0.0
        largest = max(abs(weights).max(), abs(biases).max())
        tables.append((weights / (largest or 1.0), biases / (largest or 1.0)))
    if edges == "gradient" and not any(weights.any() or biases.any() for weights, biases in tables):
        raise ValueError("every gradient is 0: call loss.backward() first, and zero_grad() after the picture")
    return tables


# --- how it is drawn


def _places(count: int, units: int) -> dict[int, float]:
    """index of a unit -> its height; of more than `units` the first and last, with a gap between."""
    first = count if count <= units else -(-units // 2)
    shown = [*range(first), *range(count - (units - first), count)] if count > units else list(range(count))
    gap = 1.0 if count > units else 0.0
    tall = len(shown) - 1 + gap
    return {i: TALL * (tall / 2 - row - (gap if row >= first else 0.0)) for row, i in enumerate(shown)}


def _stage(ax: Axes | None, columns: Sequence[dict[int, float]]) -> Axes:
    tallest = max(max(places.values(), default=1.5) for places in columns) + 0.7 * TALL
    if ax is None:
        ax = figure_of((max(4.5, min(9.0, 2.1 * len(columns))), min(7.0, 1.4 + 0.9 * tallest))).subplots()
    ax.set(xlim=(-1.6, WIDE * (len(columns) - 1) + 1.0), ylim=(-tallest - 0.6, tallest + 0.9), aspect="equal")
    ax.set_axis_off()
    return ax


def _colour(strength: float, least: float = 0.12) -> tuple[float, float, float, float]:
    """Orange where it is positive, blue where it is negative, and the fainter the nearer to 0."""
    from matplotlib import colors

    return colors.to_rgba(ORANGE if strength > 0.0 else BLUE, least + (1.0 - least) * min(1.0, abs(strength)))


def _diverging() -> Colormap:
    from matplotlib import colors

    return colors.LinearSegmentedColormap.from_list("blue, white, orange", [BLUE, "white", ORANGE])


def _edges(ax: Axes, column: int, columns: Sequence[dict[int, float]], weights: ndarray) -> None:
    from matplotlib.collections import LineCollection

    pairs = [(i, j) for j in columns[column] for i in columns[column - 1]]
    pairs.sort(key=lambda pair: abs(weights[pair[1], pair[0]]))  # the largest on top
    strengths = [float(weights[j, i]) for i, j in pairs]
    lines = [[(WIDE * (column - 1), columns[column - 1][i]), (WIDE * column, columns[column][j])] for i, j in pairs]
    ax.add_collection(
        LineCollection(
            lines, linewidths=[0.3 + 2.7 * abs(s) for s in strengths],
            colors=[_colour(s) for s in strengths], zorder=1,
        )
    )  # fmt: skip


def _circles(
    ax: Axes,
    column: int,
    places: dict[int, float],
    given: ndarray | None,
    biases: ndarray | None,
    tiles: ndarray | None,
) -> None:
    """The units of one column; with tiles each is a square that holds its weights, on a scale of its own."""
    from matplotlib.patches import Circle, Rectangle

    scale = 1.0 if given is None else float(abs(given).max()) or 1.0
    fill = _diverging()
    for i, y in places.items():
        bias = 0.0 if biases is None else float(biases[i])
        edge, width = _colour(bias, 0.5) if bias else GREY, 1.0 + 2.0 * abs(bias)
        if tiles is not None:
            box = (WIDE * column - TILE, WIDE * column + TILE, y - TILE, y + TILE)
            largest = abs(tiles[i]).max() or 1.0
            ax.imshow(tiles[i], cmap=fill, vmin=-largest, vmax=largest, extent=box, zorder=3, interpolation="nearest")
            ax.add_patch(Rectangle((box[0], box[2]), 2 * TILE, 2 * TILE, fill=False, ec=edge, lw=width, zorder=4))
        if tiles is None or given is not None:
            at, radius = (WIDE * column, RADIUS) if tiles is None else (WIDE * column + TILE + 0.2, 0.14)
            share = 0.0 if given is None else float(given[i]) / scale
            ax.add_patch(Circle((at, y), radius, fc=fill(0.5 + 0.45 * share), ec=edge, lw=width, zorder=3))
        if tiles is None and given is not None:
            ax.text(at, y, f"{given[i]:.2g}", size=7, ha="center", va="center", color="black", zorder=5)
    rows = list(places)
    for one, other in zip(rows, rows[1:]):
        if other > one + 1:
            ax.text(
                WIDE * column, (places[one] + places[other]) / 2, f"{other - one - 1} more", size=8, ha="center",
                va="center", style="italic",
            )  # fmt: skip


def _image(ax: Axes, pixels: ndarray | None) -> None:
    from matplotlib.patches import Rectangle

    box = (-1.2, 1.0, -1.1, 1.1)
    if pixels is not None:
        ax.imshow(pixels, cmap="gray_r", extent=box, zorder=3, interpolation="nearest")
    ax.add_patch(Rectangle((box[0], box[2]), 2.2, 2.2, fill=False, edgecolor=GREY, zorder=4))
    ax.annotate("", (WIDE - TILE - 0.2, 0.0), (1.1, 0.0), arrowprops={"arrowstyle": "->", "color": GREY})


def _titles(ax: Axes, names: Sequence[str], edges: Shown, columns: Sequence[dict[int, float]]) -> None:
    from matplotlib.lines import Line2D

    top = ax.get_ylim()[1] - 0.3
    for column, name in enumerate(names):
        ax.text(WIDE * column, top, name, size=9, ha="center", va="top")
    what = "weight" if edges == "weight" else "gradient"
    keys = [Line2D([], [], color=colour, linewidth=2.5) for colour in (ORANGE, BLUE)]
    ax.legend(
        keys, [f"{what} > 0", f"{what} < 0"], loc="lower center", ncols=2, fontsize=8, frameon=False,
        bbox_to_anchor=(0.5, -0.02),
    )  # fmt: skip
