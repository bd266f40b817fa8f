"""What every picture shares: colours, figures and Axes, text, and numbers for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from ..derivatives import gradients as gradients_of
from ..doctor import demand_recording
from ..engine import Value, topological_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy import ndarray

    Panels = Axes | ndarray | None

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#7A7A7A"
LINES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE) * 3, ("-", "--", "-.") * 4, "os^DvP" * 2))  # 12 that differ
CLASSES = tuple(zip((BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#F0E442"), "osD^vXP"))
ON_COLOURS = {"fontsize": "small", "facecolor": "white", "labelcolor": "black"}  # a legend, in any style


def panels_of(ax: Panels, rows: int, columns: int, size: tuple[float, float]) -> ndarray:
    """rows x columns Axes: those given, or in the place of one given, or in a new figure of size (inches)."""
    if ax is None:
        panels: ndarray = figure_of(size).subplots(rows, columns, squeeze=False)
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


def axes_of(ax: Axes | None) -> Axes:
    return ax if ax is not None else figure_of((6.0, 4.0)).subplots()


def figure_of(size: tuple[float, float]) -> Figure:
    need_numpy()
    from matplotlib import colors, pyplot, rcParams

    figure: Figure = pyplot.figure(figsize=size, layout="constrained")
    if colors.to_rgba(figure.get_facecolor())[3] < 1.0:
        light_text = sum(colors.to_rgb(rcParams["text.color"])) > 1.5
        figure.set_facecolor("black" if light_text else "white")
    return figure


def need_numpy() -> ModuleType:
    """numpy, which comes with matplotlib; or an error that says what to install."""
    try:
        import matplotlib  # noqa: F401
        import numpy
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'tinygrad_lite[notebooks]'") from None
    return numpy


def plain(label: object) -> str:
    return str(label).replace("$", r"\$")  # between two of them matplotlib reads a formula


def numbers(out: object) -> list[float]:
    return list(map(number, out)) if isinstance(out, Iterable) else [number(out)]


def number(x: object) -> float:
    return x.data if isinstance(x, Value) else float(x)  # type: ignore[arg-type]


def gradient_of(out: object, wrt: Sequence[Value]) -> list[float]:
    """d out / d x for each x of wrt by one backward pass, which leaves every grad as it was."""
    if not isinstance(out, Value):
        raise TypeError(f"gradients are those of one Value, got {out!r}; compute it from Values, not from their .data")
    demand_recording()
    reached = gradients_of(topological_order(out))
    return [reached.get(x, 0.0) for x in wrt]
