"""What the layers of a network do while it learns; sheets of images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from .. import examples, expect, nn
from ..doctor import FLAT, Examples, Loss, respond, steepness
from ..engine import affine
from .canvas import BLUE, GREY, gradient_of, need_numpy, panels_of, plain

if TYPE_CHECKING:
    from numpy import ndarray

    from ..train import History
    from .canvas import Panels

Points = Sequence[Sequence[float]]


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
        np, layers = need_numpy(), self.model.layers
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
            mean = sum(np.array(gradient_of(self.loss(x, t), flat)) for x, t in zip(self.X, self.y)) / len(self.X)
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
    np, rows = need_numpy(), max(1, -(-len(images) // columns))
    axes = panels_of(axes if ax is None else ax, rows, columns, (columns * 1.05, rows * 1.3))
    for panel in np.asarray(axes).flat:
        panel.set_axis_off()
    for panel, image, title in zip(np.asarray(axes).flat, images, titles):
        panel.imshow(np.reshape(image, (8, 8)), cmap="gray_r", vmin=0, vmax=1)
        panel.set_title(title, fontsize=9)
    return axes


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
    np, layers, last = need_numpy(), watch.model.layers, len(watch.epochs) - 1
    looks = sorted({last - round(i * last / max(rows - 1, 1)) for i in range(max(rows, 1))})
    columns = min(3, len(layers))
    lines = -(-len(layers) // columns)
    size = (3.0 * columns, lines * (0.45 * max(len(looks), 2) + 0.8))
    panels: ndarray = np.asarray(panels_of(ax, lines, columns, size)).ravel()
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
        panel.set_title(plain(f"layers.{l}, {nn.activation_name(layer.activation)}"), fontsize=10)
    return panels[: len(layers)]


def _edges(values: ndarray, scale: str) -> ndarray:
    """The edges of 30 bins for all the values; logarithmic ones end ten decades below the largest."""
    np = need_numpy()
    low, high = (values.min(), values.max()) if len(values) else (1.0, 1.0)
    pad = max(0.02 * (high - low), 1e-3 * max(abs(low), abs(high))) or 0.5
    edges: ndarray = np.linspace(low - pad, high + pad, 31)
    if scale == "log":
        edges = np.geomspace(max(low, high * 1e-10) / 3.2, high * 3.2, 31)  # a decade or more: room for a label
    return edges


def _watched(X: Points, y: Examples) -> tuple[Points, Examples]:
    X, y = examples.pairs("Watch", X, y)
    return examples.one_by_one(X), examples.one_by_one(y)
