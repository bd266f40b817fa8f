"""Matplotlib pictures of training. Each function draws in `ax` (default: a new figure), returns it, and never shows it.

Colours are Okabe and Ito's (2008), which the colour-blind can tell apart, and maps of even lightness; a marker, a
line style or a number says the same again. A figure made here is never transparent, so a dark notebook shows it as
drawn. Looking changes nothing: not .data, not .grad, not the random state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import examples, expect, nn
from .derivatives import gradients as gradients_of
from .doctor import FLAT, Examples, Loss, demand_recording, respond, steepness
from .engine import Value, affine, topological_order
from .modes import no_grad

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy import ndarray

    from .train import History

    Panels = Axes | ndarray | None
    Curve = History | Sequence[float]

T = TypeVar("T")
Points = Sequence[Sequence[float]]
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A7A7A"
LINES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE) * 3, ("-", "--", "-.") * 4, "os^DvP" * 2))  # 12 that differ
CLASSES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#F0E442"), "osD^vXP"))
ON_COLOURS = {"fontsize": "small", "facecolor": "white", "labelcolor": "black"}  # a legend, in any style

# --- training


def history(history: Curve | Mapping[str, Curve], ax: Axes | None = None, label: str = "training loss") -> Axes:
    """The loss of each epoch, on a logarithmic axis where all losses are positive and span a factor of 5.

    Parameters
    ----------
    history : what `fit` returned, or a list of losses; or several by name, {"SGD": h1, "Adam": h2}, to compare
    label : what this loss is; another call with the same ax adds a curve under its own label
    """
    several = history if isinstance(history, Mapping) else {label: history}
    curves = {name: _curve(one) for name, one in several.items()}
    ax = _axes(ax)
    ax.set_ylabel("loss" if ax.lines else _text(label))
    for name, curve in curves.items():
        color, style, marker = LINES[len(ax.lines) % len(LINES)]
        ax.plot(
            range(1, len(curve) + 1), curve, color=color, linestyle=style, label=_text(name),
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
    np = _numpy()
    points, targets = np.array([_numbers(row) for row in X]), np.array(_numbers(y))
    low, high = points.min(axis=0), points.max(axis=0)
    pad = 0.15 * max(*(high - low), 1e-9)
    grids = np.linspace(low - pad, high + pad, steps).T
    z = np.array(_on_grid(lambda a, b: _numbers(model([a, b])), grids))
    _check_classes(z, sorted(set(targets.tolist())))
    ax = _axes(ax)
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
    grids = [_numpy().linspace(*limit, steps) for limit in limits]
    ax = _heights(ax, grids, _losses(loss, w1, w2, grids), "loss")
    for i, (name, pairs) in enumerate(paths.items()):
        _draw_path(ax, pairs, _text(name), *LINES[i % len(LINES)], start="start" if i + 1 == len(paths) else "")
    ax.plot(*now, "*", color="white", markeredgecolor="black", markersize=15, label="now", zorder=4)
    ax.set(xlim=limits[0], ylim=limits[1], xlabel=_text(w1.label) or "$w_1$", ylabel=_text(w2.label) or "$w_2$")
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

    An arrow's colour is the length of the gradient; it is drawn as long as the logarithm of that, so that flat and
    steep places can be seen together. Unless one range is three times the other, x and y get one scale: arrows then
    cross the lines at right angles.

    Parameters
    ----------
    f : two Values -> one Value; each arrow is one backward pass
    descent : whether the arrows point against the gradient

    >>> plot.gradient_field(lambda x, y: x**2 - 4 * x + y**2 + 2 * y, xlim=(-2, 6))    # doctest: +SKIP
    """
    np = _numpy()
    from matplotlib import colormaps, colors

    arrows = []
    for b in np.linspace(*ylim, 2 * steps + 1)[1::2].tolist():
        for a in np.linspace(*xlim, 2 * steps + 1)[1::2].tolist():
            x, y = Value(a, "x"), Value(b, "y")
            arrows.append((a, b, *_gradient(f(x, y), [x, y])))
    grids = [np.linspace(*limits, 61) for limits in (xlim, ylim)]
    ax = _heights(ax, grids, _on_grid(lambda a, b: _number(f(Value(a), Value(b))), grids))
    table = np.array(arrows)
    x, y, u, v = table[np.isfinite(table).all(axis=1)].T
    size = np.hypot(u, v)
    some = size[size > 0.0] if size.any() else np.ones(1)
    length = np.log1p(size / np.quantile(some, 0.1)) / np.log1p(some.max() / np.quantile(some, 0.1))
    length *= (-1.0 if descent else 1.0) / np.where(size > 0.0, size, 1.0)
    field = ax.quiver(
        x, y, u * length, v * length, size, angles="xy", scale=steps, scale_units="width", width=0.005, zorder=3,
        cmap=colors.ListedColormap(colormaps["viridis"](np.linspace(0.65, 0.0, 256))),
        norm=colors.PowerNorm(0.5, 0.0, some.max()),
    )  # fmt: skip
    ax.figure.colorbar(field, ax=ax, label="length of the gradient", format="{x:g}")
    ax.set(xlim=xlim, ylim=ylim, xlabel="$x$", ylabel="$y$")
    return ax


# --- layers


class Watch:
    """What the layers of an MLP do while it learns: a callback for `fit`; then draw it, or read its numbers.

    Parameters
    ----------
    loss : as for fit, of one example; None where only activations are wanted
    X, y : the examples to look at; of more than `examples` it takes every second, third, ...

    Attributes
    ----------
    epochs[t] : the epoch of look t; the first, epoch 0, is when the Watch is made
    activations[t][l] : outputs of layer l, an array (examples, units)
    saturated[t][l] : the share of them where |phi'(z)| is below 0.06 of its steepest, for tanh |tanh z| > 0.97
    dead[t][l] : how many units pass back no gradient from any example, as ReLU's whose output is always 0
    gradients[t][l] : d mean loss / d p for each parameter, an array

    >>> watch = plot.Watch(model, loss, X, y)                                          # doctest: +SKIP
    >>> fit(loss, opt, X, y, epochs=100, callback=watch)                               # doctest: +SKIP
    >>> plot.activations(watch), plot.gradients(watch)                                 # doctest: +SKIP
    """

    def __init__(self, model: nn.MLP, loss: Loss | None, X: Points, y: Examples = (), examples: int = 100) -> None:
        if not isinstance(model, nn.MLP):
            raise TypeError(f"Watch looks at the layers of an nn.MLP, got {model!r}")
        X, y = _watched(X, X if loss is None else y)
        model.layers[0].outputs(X[0])  # complains where an example has the wrong length
        step = -(-len(X) // expect.whole("examples", examples))
        self.model, self.loss, self.X, self.y = model, loss, X[::step], y[::step]
        self.epochs: list[int] = []
        self.activations: list[list[ndarray]] = []
        self.saturated: list[list[float]] = []
        self.dead: list[list[int]] = []
        self.gradients: list[list[ndarray]] = []
        self._before: int = 0
        self._fit: History | None = None
        self._look(0)

    def __call__(self, epoch: int, history: History) -> None:
        if history is not self._fit:  # another fit: its epochs come after
            self._fit, self._before = history, self.epochs[-1]
        self._look(self._before + epoch)

    def _look(self, epoch: int) -> None:
        np, layers = _numpy(), self.model.layers
        inputs, outputs, saturated, dead = self.X, [], [], []
        for layer in layers:
            weights, biases = [n.w for n in layer.neurons], [n.b for n in layer.neurons]
            pairs = [[respond(n, z.data) for n, z in zip(layer.neurons, affine(weights, x, biases))] for x in inputs]
            out, slopes = np.array(pairs).transpose(2, 0, 1)
            inputs = out.tolist()
            outputs.append(out)
            saturated.append(float((abs(slopes) < FLAT * max(steepness(layer.neurons[0]))).mean()))
            dead.append(int((slopes == 0.0).all(axis=0).sum()))
        if self.loss is not None:
            parameters = [layer.parameters() for layer in layers]
            flat = [p for ps in parameters for p in ps]
            mean = sum(np.array(_gradient(self.loss(x, t), flat)) for x, t in zip(self.X, self.y)) / len(self.X)
            self.gradients.append(np.split(mean, np.cumsum([len(ps) for ps in parameters])[:-1]))
        self.epochs.append(epoch)
        self.activations.append(outputs)
        self.saturated.append(saturated)
        self.dead.append(dead)


def activations(watch: Watch | nn.MLP, X: Points = (), ax: Panels = None, rows: int = 6) -> ndarray:
    """How the outputs of each layer are distributed: an Axes per layer, a histogram per epoch, time downwards.

    Beside each the share of outputs that are saturated; or, where the activation is flat for some z, as ReLU is, how
    many are 0, which the histogram leaves out, and how many units are dead (see Watch). Histograms are scaled to one
    height.

    Parameters
    ----------
    watch : a Watch that fit has called; or a model, to look at it now, on examples X
    ax : an array of Axes, or one whose place they take
    rows : how many epochs to draw, with the first and the last

    Returns
    -------
    The array of Axes.
    """
    if not isinstance(watch, Watch):
        watch = Watch(watch, None, X)
    data, notes = [], []
    for l, layer in enumerate(watch.model.layers):
        curve, units = steepness(layer.neurons[0]), len(layer.neurons)
        outputs = [look[l].ravel() for look in watch.activations]
        if curve.count(0.0) > 1:
            notes.append([f"{(o == 0.0).mean():.0%} at 0\n{d[l]} of {units} dead" for o, d in zip(outputs, watch.dead)])
            outputs = [o[o != 0.0] for o in outputs]
        else:
            saturates = min(curve) < FLAT * max(curve)
            notes.append([f"{share[l]:.0%}\nsaturated" if saturates else "" for share in watch.saturated])
        data.append(outputs)
    return _ridges(watch, data, notes, ax, rows, "output")


def gradients(watch: Watch, ax: Panels = None, rows: int = 6) -> ndarray:
    """How large the gradients of each layer's parameters are: as `activations`, on one logarithmic axis.

    |d mean loss / d p|: where it vanishes on its way back, the first layers lie to the left. Beside each
    histogram the share that is exactly 0, which it leaves out. Without fit: gradients(Watch(model, loss, X, y)).
    """
    if not isinstance(watch, Watch) or watch.loss is None:
        raise TypeError(f"gradients expects a Watch(model, loss, X, y) made with a loss, got {watch!r}")
    layers = [[abs(look[l]) for look in watch.gradients] for l in range(len(watch.model.layers))]
    notes = [[f"{(g == 0.0).mean():.0%} are 0" for g in looks] for looks in layers]
    return _ridges(watch, [[g[g > 0.0] for g in looks] for looks in layers], notes, ax, rows, "|gradient|", "log")


def digits(images: Points, titles: Sequence[str], axes: Panels = None, columns: int = 8, ax: Panels = None) -> ndarray:
    """A sheet of 8 x 8 pictures with a title over each; returns the array of Axes.

    Parameters
    ----------
    images : 64 grey values each, from 0 to 1
    ax : an array of Axes, or one whose place they take (axes: its older name)
    """
    images = examples.rows(images, "images")
    np, rows = _numpy(), max(1, -(-len(images) // columns))
    axes = _panels(axes if ax is None else ax, rows, columns, (columns * 1.05, rows * 1.3))
    for panel in np.asarray(axes).flat:
        panel.set_axis_off()
    for panel, image, title in zip(np.asarray(axes).flat, images, titles):
        panel.imshow(np.reshape(image, (8, 8)), cmap="gray_r", vmin=0, vmax=1)
        panel.set_title(title, fontsize=9)
    return axes


# --- parts of pictures


def _check_classes(z: ndarray, found: Sequence[float]) -> None:
    classes = z.shape[2]
    allowed = [range(classes)] if classes > 1 else [(-1, 1), (0, 1)]
    if not any(set(found) <= set(some) for some in allowed):
        raise ValueError(
            f"the model gives {classes} score{'s' * (classes > 1)} per point, which tells apart the classes "
            f"{' or '.join(str(list(some)) for some in allowed)}; got {found}"
        )
    if not _numpy().isfinite(z).any():
        raise ValueError("the model's scores are not finite anywhere: has its training diverged?")


def _sides(ax: Axes, grids: ndarray, z: ndarray) -> ndarray:
    """Colours that deepen with the score; returns what is 0 where it changes sides."""
    np = _numpy()
    largest = np.nanmax(abs(z)) or 1.0
    margin: ndarray = np.ma.masked_invalid(z)
    ax.contourf(*grids, margin, np.linspace(-largest, largest, 22), cmap="PuOr", alpha=0.7)
    return margin


def _regions(ax: Axes, grids: ndarray, z: ndarray) -> list[ndarray]:
    """A colour for each class where its score is the largest; returns what is 0 at the edges of each."""
    np, classes = _numpy(), range(z.shape[2])
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
        return _number(loss())

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


def _ridges(
    watch: Watch,
    data: list[list[ndarray]],
    notes: list[list[str]],
    ax: Panels,
    rows: int,
    xlabel: str,
    scale: str = "linear",
) -> ndarray:
    """data[l][t]: the numbers of layer l at look t; notes[l][t]: the text beside them."""
    np, layers, last = _numpy(), watch.model.layers, len(watch.epochs) - 1
    looks = sorted({last - round(i * last / max(rows - 1, 1)) for i in range(max(rows, 1))})
    columns = min(3, len(layers))
    lines = -(-len(layers) // columns)
    size = (3.0 * columns, lines * (0.45 * max(len(looks), 2) + 0.8))
    panels: ndarray = np.asarray(_panels(ax, lines, columns, size)).ravel()
    if len(panels) < len(layers):
        raise ValueError(f"the model has {len(layers)} layers to draw, got {len(panels)} Axes")
    for panel in panels[len(layers) :]:
        panel.set_axis_off()
    data = [[of_layer[t][np.isfinite(of_layer[t])] for t in looks] for of_layer in data]
    edges = [_edges(np.concatenate(of_layer), scale) for of_layer in data]
    if scale == "log":
        edges = [_edges(np.concatenate(list(chain(*data))), scale)] * len(layers)
    for l, (layer, panel, bins) in enumerate(zip(layers, panels, edges)):
        for row, t in enumerate(looks):
            counts = np.histogram(np.clip(data[l][row], bins[0], bins[-1]), bins)[0]
            panel.stairs(0.9 * counts / max(*counts, 1) - row, bins, baseline=-row, fill=True, color=BLUE)
            panel.axhline(-row, color=GREY, linewidth=0.6)
            panel.text(1.03, 0.1 - row, notes[l][t], transform=panel.get_yaxis_transform(), fontsize=8)
        labelled = l % columns == 0 and last > 0
        panel.set_yticks([-row for row in range(len(looks))] if last else [])
        panel.set_yticklabels([watch.epochs[t] if labelled else "" for t in looks] if last else [])
        panel.set(xscale=scale, xlim=bins[[0, -1]], ylim=(0.9 - len(looks), 1.0))
        if scale == "log":
            panel.xaxis.set_minor_formatter("")
        else:
            panel.locator_params("x", nbins=4)
        panel.set(xlabel=xlabel, ylabel="epoch" if labelled else "")
        panel.set_title(_text(f"layers.{l}, {nn.activation_name(layer.activation)}"), fontsize=10)
    return panels[: len(layers)]


def _edges(values: ndarray, scale: str) -> ndarray:
    """The edges of 30 bins for all the values; logarithmic ones end ten decades below the largest."""
    np = _numpy()
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    pad = max(0.02 * (high - low), 1e-3 * max(abs(low), abs(high))) or 0.5
    edges: ndarray = np.linspace(low - pad, high + pad, 31)
    if scale == "log":
        edges = np.geomspace(max(low, high * 1e-10) / 3.2, high * 3.2, 31)  # a decade or more: room for a label
    return edges


def _heights(ax: Axes | None, grids: Sequence[ndarray], rows: Points, label: str = "") -> Axes:
    """Lines of equal height, and colours between them if they get a label; returns the Axes."""
    np = _numpy()
    from matplotlib import colors

    z = np.ma.masked_invalid(rows)
    if not z.count():
        raise ValueError("there is no finite number in the whole picture: choose other limits")
    levels, extend, form = _levels(float(z.min()), float(z.max()))
    ax = _axes(ax)
    ax.set_facecolor("white")
    if label:
        norm = colors.BoundaryNorm(levels, 256, extend=extend)
        filled = ax.contourf(*grids, z, levels, cmap="viridis", norm=norm, extend=extend)
        ax.figure.colorbar(filled, ax=ax, label=label, ticks=levels, format=form)
    inside = [level for level in levels if z.min() < level < z.max()]
    if inside:  # matplotlib warns where there is no line to draw
        ax.contour(*grids, z, inside, colors="white" if label else GREY, linewidths=0.8, linestyles="solid", alpha=0.8)
    if 1 / 3 < np.ptp(grids[0]) / np.ptp(grids[1]) < 3:
        ax.set_aspect("equal")  # gradients are at right angles to the lines
    return ax


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


def _panels(ax: Panels, rows: int, columns: int, size: tuple[float, float]) -> ndarray:
    """rows x columns Axes: those given, or in the place of one given, or in a new figure of size (inches)."""
    if ax is None:
        panels: ndarray = _figure(size).subplots(rows, columns, squeeze=False)
        return panels
    from matplotlib.axes import Axes

    if not isinstance(ax, Axes):
        return ax
    place = ax.get_subplotspec()
    if place is None:
        raise ValueError("only an Axes made by subplots can give its place to several: pass such a one, or an array")
    ax.set_axis_off()
    gaps = {} if ax.figure.get_layout_engine() else {"wspace": 0.5, "hspace": 0.8}
    return place.subgridspec(rows, columns, **gaps).subplots(squeeze=False)


def _axes(ax: Axes | None) -> Axes:
    return ax if ax is not None else _figure((6.0, 4.0)).subplots()


def _figure(size: tuple[float, float]) -> Figure:
    _numpy()
    from matplotlib import colors, pyplot, rcParams

    figure: Figure = pyplot.figure(figsize=size, layout="constrained")
    if colors.to_rgba(figure.get_facecolor())[3] < 1.0:
        light_text = sum(colors.to_rgb(rcParams["text.color"])) > 1.5
        figure.set_facecolor("black" if light_text else "white")
    return figure


def _numpy() -> ModuleType:
    """numpy, which comes with matplotlib; or an error that says what to install."""
    try:
        import matplotlib  # noqa: F401
        import numpy
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'tinygrad_lite[notebooks]'") from None
    return numpy


# --- numbers for them


def _gradient(out: object, wrt: Sequence[Value]) -> list[float]:
    """d out / d x for each x of wrt by one backward pass, which leaves every grad as it was."""
    if not isinstance(out, Value):
        raise TypeError(f"gradients are those of one Value, got {out!r}; compute it from Values, not from their .data")
    demand_recording()
    reached = gradients_of(topological_order(out))
    return [reached.get(x, 0.0) for x in wrt]


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


def _watched(X: Points, y: Examples) -> tuple[Sequence[Any], Sequence[Any]]:
    X, y = examples.pairs("Watch", X, y)
    return examples.one_by_one(X), examples.one_by_one(y)


def _curve(history: Curve) -> Sequence[float]:
    """The loss of each epoch."""
    try:
        losses: Any = getattr(history, "loss", history)
        return list(map(_number, losses))
    except (TypeError, ValueError):
        raise TypeError(f"a history is what fit returned, or a list of losses, got {history!r}") from None


def _text(label: object) -> str:
    return str(label).replace("$", r"\$")  # between two of them matplotlib reads a formula


def _numbers(out: object) -> list[float]:
    return list(map(_number, out)) if isinstance(out, Iterable) else [_number(out)]


def _number(x: object) -> float:
    return x.data if isinstance(x, Value) else float(x)  # type: ignore[arg-type]
