"""What a graph looks like before anyone decides where to put it: boxes and arrows.

A `Picture` is plain data. `dot.py` writes it in Graphviz's language, `layout.py` places it without
Graphviz; both draw the same picture.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["value", "parameter", "constant", "operation"]


class Box(NamedTuple):
    """key: unique name. cells: texts side by side, as in a record `a | data 2.0 | grad -24.0`.

    kind: "value" and "parameter" (a leaf) are records, "constant" a plain number, "operation" round.
    """

    key: str
    cells: tuple[str, ...]
    kind: Kind


class Arrow(NamedTuple):
    """From box `tail` to box `head`; text: what stands beside it (a local derivative), or nothing."""

    tail: str
    head: str
    text: str = ""


class Picture(NamedTuple):
    """Boxes with operands before users, arrows in the order of operands. rankdir: "LR" or "TB"."""

    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    rankdir: Literal["LR", "TB"] = "LR"
