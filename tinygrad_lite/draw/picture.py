"""What a graph looks like before anyone decides where to put it: boxes and arrows, and the table of their styles.

A `Picture` is plain data. `layout.py` places it, `svg.py`, `dot.py` and `player.py` write it, all in these colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Kind = Literal["value", "parameter", "constant", "operation", "part"]
Role = Literal["label", "name", "data", "grad", "symbol", "constant", "title", "size", "derivative"]
Phase = Literal["forward", "backward"]


class Style(NamedTuple):
    """Colours of a box."""

    fill: str
    border: str


# Tints after Okabe and Ito (2008), told apart by the colour-blind, light with dark text so that they are
# legible on white and in dark notebooks.
BOXES: dict[Kind, Style] = {
    "value": Style("#f4f7fa", "#66788a"),
    "parameter": Style("#fdeecb", "#b37700"),
    "constant": Style("#f0f0f0", "#a0a0a0"),
    "operation": Style("#d6eaf8", "#0072b2"),
    "part": Style("#e3f3ec", "#00795a"),
}
INK = "#1b2733"
TEXTS: dict[Role, str] = dict.fromkeys(get_args(Role), INK) | {
    "constant": "#5c5c5c",
    "derivative": "#3a4652",
    "name": "#6b7580",  # faint: nobody gave it
}
ARROW = "#7b8894"
PLATE = Style("#ffffff", "#c3cad1")  # under the text of an arrow
PHASES: dict[Phase, str] = {"forward": "#0072b2", "backward": "#d55e00"}
HEADINGS: dict[Phase, str] = {"forward": "#005a8c", "backward": "#a84a00"}  # darker: small text on white


class Cell(NamedTuple):
    """A text, and what it says. label: the name of a Value; name: one that nobody gave it; data, grad: its numbers.
    title, size: what a part is called, and how many Values it stands for. derivative: the text of an arrow. more:
    what stands on the same line. about: what a pointer on it shows."""

    text: str
    role: Role
    more: tuple[Cell, ...] = ()
    about: str = ""

    @property
    def line(self) -> str:
        return " · ".join([self.text, *[cell.text for cell in self.more]])


class Box(NamedTuple):
    """key: unique name. cells: texts side by side, as in a record `a | data 2.0 | grad -24.0`.

    kind: "value" and "parameter" (a leaf) are records, "constant" a plain number, "operation" round;
    a "part" stands for many Values: its cells are lines below each other, the first one its title.
    copies: more than 1 is drawn as a stack of cards.
    """

    key: str
    cells: tuple[Cell, ...]
    kind: Kind
    copies: int = 1

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple([cell.line for cell in self.cells])


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

    def named(self, cells: Mapping[str, tuple[Cell, ...]]) -> Picture:
        """The picture with these cells in the boxes with these keys."""
        return self._replace(boxes=tuple([box._replace(cells=cells.get(box.key, box.cells)) for box in self.boxes]))
