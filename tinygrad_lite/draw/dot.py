"""A picture in Graphviz's language, shown in notebooks, with or without the `dot` program."""

from __future__ import annotations

import html
import os
import re
import shutil
from pathlib import Path

import graphviz

from ..notation import one_line
from .picture import ARROW, BOXES, TEXTS, Box, Cell, Picture
from .svg import image, svg

_LEAST = 10  # px: of a text in a notebook
_LONGEST = 16_000  # bytes of a string that Graphviz's scanner reads, with some to spare
FileName = str | os.PathLike[str] | None


class Drawing(graphviz.Digraph):  # type: ignore[misc]
    """A graphviz.Digraph of a Picture. Its `.picture` is the plain data."""

    def __init__(self, picture: Picture, format: str = "svg") -> None:
        super().__init__(
            format=format,
            graph_attr={"rankdir": picture.rankdir, "bgcolor": "transparent", "nodesep": "0.18", "ranksep": "0.35"},
            node_attr={"fontname": "DejaVu Sans", "fontsize": "11", "style": "filled", "height": "0.3"},
            edge_attr={"fontname": "DejaVu Sans", "fontsize": "9", "color": ARROW, "arrowsize": "0.6"},
        )
        self.picture = picture
        for box in picture.boxes:
            self.node(box.key, **_attributes(box))
        for arrow in picture.arrows:
            self.edge(arrow.tail, arrow.head, **({"label": f"<{_font(arrow.text, ARROW)}>"} if arrow.text else {}))

    def __repr__(self) -> str:
        return f"Drawing({len(self.picture.boxes)} boxes, {len(self.picture.arrows)} arrows)"

    def svg(self) -> str:
        """The picture as SVG text, by `dot` where it is installed, else by our own layout; a folded one always
        by ours, which keeps neurons in order and copes with all the arrows from layer to layer."""
        return str(self.pipe("svg", encoding="utf-8"))

    def _ours(self, format: str) -> bool:
        """Does our own layout write this? RuntimeError where only `dot` could, and is not installed."""
        folded = any(box.kind == "part" for box in self.picture.boxes)
        longest = max((len(line.encode()) for line in self.body), default=0)
        if format == "svg" and (folded or longest > _LONGEST):
            return True
        if shutil.which("dot"):
            if longest > _LONGEST:
                raise ValueError(f"Graphviz reads labels of at most 16 kB, got {longest:,} bytes; use format='svg'")
            return False
        if format != "svg":
            raise RuntimeError(
                f"without Graphviz's `dot` program only svg can be written, got format={format!r}; install "
                "Graphviz (https://graphviz.org/download), or use format='svg'"
            )
        return True

    def _repr_mimebundle_(self, include: object = None, exclude: object = None, **_: object) -> dict[str, str]:
        document = self.svg()
        width = float(re.search(r'<svg[^>]* width="([\d.]+)', document)[1])  # type: ignore[index]
        font = 12 if self._ours("svg") else 11  # in the unit of the width
        return {"text/html": image(document, "computation graph", width * _LEAST / font)}

    def pipe(self, format: str | None = None, *args: object, **options: object) -> bytes | str:
        """The picture's bytes (text where encoding= is given), as graphviz.Digraph.pipe."""
        if self._ours(format or self.format):
            return svg(self.picture) if options.get("encoding") else svg(self.picture).encode()
        written: bytes | str = super().pipe(format, *args, **options)
        return written

    def render(self, filename: FileName = None, directory: FileName = None, *args: object, **options: object) -> str:
        """Writes the picture to `filename` + "." + format and returns that path, as graphviz does."""
        if str(filename or "").startswith("-"):
            raise ValueError(f"render takes a file name and a format: render('graph', format='png'), got {filename!r}")
        wanted = str(options.get("format") or self.format)
        if not self._ours(wanted):
            return str(super().render(filename, *args, directory=directory, **options))
        path = Path(directory or "") / f"{filename or 'Digraph.gv'}.{wanted}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg(self.picture), encoding="utf-8")
        return str(path)


def _attributes(box: Box) -> dict[str, str]:
    style, ink = BOXES[box.kind], TEXTS[box.cells[0].role]
    look = {"fillcolor": style.fill, "color": style.border, "fontcolor": ink}
    look |= {"tooltip": box.cells[0].about} if box.cells[0].about else {}
    cells = [_cell(cell, ink) for cell in box.cells]
    if box.kind == "operation":
        return look | {"label": f"<{cells[0]}>", "shape": "ellipse", "margin": "0.06,0.03"}
    if box.kind == "constant":
        return look | {"label": f"<{cells[0]}>", "shape": "box", "margin": "0.08,0.03", "height": "0.2"}
    if box.kind == "part":
        look |= {"peripheries": "3"} if box.copies > 1 else {}
        return look | {"label": _table([[cell] for cell in cells], 1), "shape": "box", "margin": "0.08,0.05"}
    return look | {"label": _table([cells], 4), "shape": "box", "style": "filled,rounded", "margin": "0.02"}


def _table(rows: list[list[str]], padding: int) -> str:
    """An HTML-like label of rows of cells."""
    body = "".join(f"<tr>{'<vr/>'.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="{padding}">{body}</table>>'


def _cell(cell: Cell, ink: str) -> str:
    """The cell's text in an HTML-like label; ink: the colour around it."""
    texts = [
        _escaped(one.text) if TEXTS[one.role] == ink else _font(one.text, TEXTS[one.role]) for one in (cell, *cell.more)
    ]
    return f"<b>{texts[0]}</b>" if cell.role == "title" else " · ".join(texts)


def _font(text: str, colour: str) -> str:
    return f'<font color="{colour}">{_escaped(text)}</font>'


def _escaped(text: str) -> str:
    """Text that an HTML-like label shows as it is: labels are data."""
    # a backslash twice: Graphviz puts a node's key in place of \N
    return html.escape(one_line(text)).replace("\\", "\\\\") or " "
