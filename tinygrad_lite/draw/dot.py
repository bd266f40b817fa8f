"""A picture in Graphviz's language, shown in notebooks, with or without the `dot` program."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import graphviz

from ..parts import printable
from .layout import svg
from .picture import ARROW_COLOR, COLORS, Box, Picture


class Drawing(graphviz.Digraph):  # type: ignore[misc]
    """A graphviz.Digraph of a Picture. Its `.picture` is the plain data."""

    def __init__(self, picture: Picture, format: str = "svg") -> None:
        super().__init__(
            format=format,
            graph_attr={"rankdir": picture.rankdir, "bgcolor": "transparent", "nodesep": "0.18", "ranksep": "0.35"},
            node_attr={"fontname": "DejaVu Sans", "fontsize": "11", "style": "filled", "height": "0.3"},
            edge_attr={"fontname": "DejaVu Sans", "fontsize": "9", "color": ARROW_COLOR, "arrowsize": "0.6"},
        )
        self.picture = picture
        for box in picture.boxes:
            self.node(box.key, **_attributes(box))
        for arrow in picture.arrows:
            text = f' <<font color="{ARROW_COLOR}">{_html(arrow.text)}</font>>' if arrow.text else ""
            self.edge(arrow.tail, arrow.head, **({"label": text[1:]} if text else {}))

    def __repr__(self) -> str:
        return f"Drawing({len(self.picture.boxes)} boxes, {len(self.picture.arrows)} arrows)"

    def svg(self) -> str:
        """The picture as SVG text, by `dot` where it is installed, else by our own layout; a folded one always
        by ours, which keeps neurons in order and copes with all the arrows from layer to layer."""
        return str(self.pipe("svg", encoding="utf-8"))

    def _ours(self, format: str) -> bool:
        """Does our own layout write this? RuntimeError where only `dot` could, and is not installed."""
        folded = any(box.kind == "part" for box in self.picture.boxes)
        if format == "svg" and folded:
            return True
        if shutil.which("dot"):
            return False
        if format != "svg":
            raise RuntimeError(
                f"without Graphviz's `dot` program only svg can be written, got format={format!r}; install "
                "Graphviz (https://graphviz.org/download), or use format='svg'"
            )
        return True

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None, **_: Any) -> dict[str, str]:
        # JupyterLab strips inline <svg> from a notebook it does not trust, but shows an <img>
        data = base64.b64encode(self.svg().encode()).decode()
        return {
            "text/html": f'<img style="max-width:100%" alt="computation graph" src="data:image/svg+xml;base64,{data}">'
        }

    def pipe(self, format: str | None = None, *args: Any, **options: Any) -> Any:
        """The picture's bytes (text where encoding= is given), as graphviz.Digraph.pipe."""
        if not self._ours(format or self.format):
            return super().pipe(format, *args, **options)
        return svg(self.picture) if options.get("encoding") else svg(self.picture).encode()

    def render(self, filename: Any = None, directory: Any = None, *args: Any, **options: Any) -> str:
        """Writes the picture to `filename` + "." + format and returns that path, as graphviz does."""
        wanted = options.get("format") or self.format
        if not self._ours(wanted):
            return str(super().render(filename, *args, directory=directory, **options))
        path = Path(directory or "") / f"{filename or 'Digraph.gv'}.{wanted}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg(self.picture), encoding="utf-8")
        return str(path)


def _attributes(box: Box) -> dict[str, str]:
    fill, line, text = COLORS[box.kind]
    look = {"fillcolor": fill, "color": line, "fontcolor": text}
    if box.kind == "operation":
        return look | {"label": f"<{_html(box.cells[0])}>", "shape": "ellipse", "margin": "0.06,0.03"}
    if box.kind == "constant":
        return look | {"label": f"<{_html(box.cells[0])}>", "shape": "box", "margin": "0.08,0.03", "height": "0.2"}
    if box.kind == "part":
        name, *lines = [_html(cell) for cell in box.cells]
        rows = "".join(f"<tr><td>{line}</td></tr>" for line in (f"<b>{name}</b>", *lines))
        table = f'<table border="0" cellborder="0" cellspacing="0" cellpadding="1">{rows}</table>'
        stack = {"peripheries": "3"} if box.copies > 1 else {}
        return look | stack | {"label": f"<{table}>", "shape": "box", "margin": "0.08,0.05"}
    cells = "<vr/>".join(f"<td>{_html(cell)}</td>" for cell in box.cells)
    table = f'<table border="0" cellborder="0" cellspacing="0" cellpadding="4"><tr>{cells}</tr></table>'
    return look | {"label": f"<{table}>", "shape": "box", "style": "filled,rounded", "margin": "0.02"}


def _html(text: str) -> str:
    """Text that an HTML-like label shows as it is: labels are data."""
    # a backslash twice: Graphviz puts a node's key in place of \N
    for raw, escaped in ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\\", "\\\\"):
        text = text.replace(raw, escaped)
    return printable(text) or " "
