"""Pictures of computation graphs.

A picture flows one way: its Values are ordered (`engine.topological_order`), located in the program (`parts.py`),
read by structure (`terms.py`, `repeats.py`), folded (`fold.py`), sketched as boxes and arrows (`sketch.py`), named
(`labels.py`), laid out (`layout.py`) and written: as SVG (`svg.py`), in Graphviz's language (`dot.py`), or
step by step (`lesson.py`, `player.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..engine import Value, topological_order

if TYPE_CHECKING:
    from .dot import Drawing
    from .fold import Fold
    from .picture import Picture

__all__ = ["draw_dot"]


def draw_dot(
    root: Value,
    format: str = "svg",
    rankdir: str = "auto",
    fold: Fold = "auto",
    expand: bool = False,
    edges: bool = True,
    limit: int = 500,
) -> Drawing:
    """The graph that root was made from, as a graphviz.Digraph that shows itself in a notebook.

    A record per Value: its name (see `parts.called`), data, and its gradient ("-" where no backward pass has reached
    it); a round node per operation. What would take more than about 50 boxes is folded: a green box stands for all
    that a neuron, a layer or a `with scope(...)` computed, or for a chain such as `sum(losses)`; a stack of boxes for
    what is computed alike many times, as for every example. A cell unrolled in time is drawn once: dashed arrows
    lead to its next step.

    Parameters
    ----------
    root : Value
    format : str
        What `.render("name")` and `.pipe()` write with Graphviz's `dot` program, such as "png"; where that is not
        installed, a layout of our own writes "svg".
    rankdir : str
        "LR" (left to right), "TB" (top to bottom), or "auto": left to right where that fits a page.
    fold : "auto", int or list of str
        "auto", until about 50 boxes show the whole graph, whatever it is; 0, nothing; a depth, 1 to layers, 2 to
        neurons; or names such as ["layers.1"].
    expand, edges : bool
        Draw a `dot` as its products and sum; write on every edge its local derivative d result / d operand, or how many
        scalar edges it stands for.
    limit : int
        The most boxes that are drawn, operations and plain numbers among them.

    Raises
    ------
    TypeError
        For what is no Value: a model is called first, draw_dot(model(x)).
    ValueError
        For more boxes than limit; for a name in fold that the graph does not have.
    ImportError
        Without the graphviz package.
    """
    picture = _picture(root, rankdir, fold, expand, edges, limit)
    try:
        import graphviz  # noqa: F401
    except ImportError:
        raise ImportError("drawing needs the graphviz package: pip install graphviz") from None
    from .dot import Drawing

    return Drawing(picture, format)


def _picture(root: Value, rankdir: str, fold: Fold, expand: bool, edges: bool, limit: int) -> Picture:
    from ..parts import called
    from .fold import parts_to_draw
    from .labels import cells
    from .layout import arranged
    from .sketch import sketched, within

    parts = parts_to_draw(root, fold, rankdir, "draw_dot", "draw")
    known = called(topological_order(root), root)
    sketch = within(sketched(parts, expand, edges), limit, "draw_dot")
    return arranged(sketch.named({part.key: cells(part, known) for part in parts}), rankdir)
