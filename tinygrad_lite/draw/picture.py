"""What a graph looks like before anyone decides where to put it: boxes and arrows.

A `Picture` is plain data. `dot.py` writes it in Graphviz's language, `layout.py` places it without
Graphviz; both draw the same picture.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["value", "parameter", "constant", "operation", "part"]


# fill, line and text of each kind: tints after Okabe and Ito (2008), told apart by the colour-blind, light
# with dark text so that they are legible on white and in dark notebooks
COLORS: dict[Kind, tuple[str, str, str]] = {
    "value": ("#f4f7fa", "#66788a", "#1b2733"),
    "parameter": ("#fdeecb", "#b37700", "#1b2733"),
    "constant": ("#f0f0f0", "#a0a0a0", "#5c5c5c"),
    "operation": ("#d6eaf8", "#0072b2", "#1b2733"),
    "part": ("#e3f3ec", "#00795a", "#1b2733"),
}
ARROW_COLOR = "#7b8894"


class Box(NamedTuple):
    """key: unique name. cells: texts side by side, as in a record `a | data 2.0 | grad -24.0`.

    kind: "value" and "parameter" (a leaf) are records, "constant" a plain number, "operation" round;
    a "part" stands for many Values: its cells are lines below each other, the first one its name.
    copies: more than 1 is drawn as a stack of cards.
    """

    key: str
    cells: tuple[str, ...]
    kind: Kind
    copies: int = 1


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
