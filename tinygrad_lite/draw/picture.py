"""What a graph looks like before anyone decides where to put it: boxes and arrows, and the table of their styles.

A `Picture` is plain data. `layout.py` places it, `svg.py`, `dot.py` and `player.py` write it, all in these colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

Kind = Literal["value", "parameter", "constant", "operation", "part"]
Role = Literal["label", "name", "data", "grad", "symbol", "constant", "title", "size", "derivative"]
Phase = Literal["forward", "backward"]


class Colour(NamedTuple):
    """On a light page, and on a dark one. What is equal in the light must be equal in the dark: see `svg.themed`."""

    light: str
    dark: str


class Style(NamedTuple):
    """Colours of a box."""

    fill: Colour
    border: Colour


# Tints after Okabe and Ito (2008), told apart by the colour-blind. Every text stands on a fill of its own, and arrows
# are of a middle grey: either column is legible on either page, whatever a browser takes the page for.
_BLUE = Colour("#0072b2", "#56b4e9")
INK = Colour("#1b2733", "#e8eef3")
PAPER = Colour("#ffffff", "#1a2027")
ARROW = Colour("#7b8894", "#84919d")
BOXES: dict[Kind, Style] = {
    "value": Style(Colour("#f4f7fa", "#232c35"), Colour("#66788a", "#8797a6")),
    "parameter": Style(Colour("#fdeecb", "#3b2e10"), Colour("#b37700", "#d9a23a")),
    "constant": Style(Colour("#f0f0f0", "#2c2c2c"), Colour("#a0a0a0", "#8a8a8a")),
    "operation": Style(Colour("#d6eaf8", "#0d3350"), _BLUE),
    "part": Style(Colour("#e3f3ec", "#10362b"), Colour("#00795a", "#3fb894")),
}
TEXTS: dict[Role, Colour] = dict.fromkeys(get_args(Role), INK) | {
    "constant": Colour("#5c5c5c", "#bdbdbd"),
    "derivative": Colour("#3a4652", "#c9d3dc"),
    "name": Colour("#5d6772", "#9fabb6"),  # faint: nobody gave it
}
PLATE = Style(PAPER, Colour("#c3cad1", "#4a5560"))  # under the text of an arrow
PHASES: dict[Phase, Colour] = {"forward": _BLUE, "backward": Colour("#d55e00", "#ff9d4d")}
HEADINGS: dict[Phase, Colour] = {  # small text on paper
    "forward": Colour("#005a8c", "#7cc6f0"),
    "backward": Colour("#a84a00", "#ffb37a"),
}


def colours() -> list[Colour]:
    """All there are in a picture."""
    boxes = [colour for style in (*BOXES.values(), PLATE) for colour in style]
    return [INK, PAPER, ARROW, *boxes, *TEXTS.values(), *PHASES.values(), *HEADINGS.values()]


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
