"""The forward and the backward pass, step by step: an animated picture, and buttons where scripts may run.

A `Lesson` walks the graph twice and writes down `Frame`s; `_animated` draws all of them into one SVG, in which SMIL
shows one after the other (it runs also where a notebook is not trusted); the script `player.js` takes that picture
apart and puts a slider and buttons to it. There is no other copy of the data.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import os
from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from ..engine import Value
from .fold import Fold, parts_to_draw
from .layout import arranged, layout, text_width
from .lesson import Frame, Lesson
from .picture import ARROW, HEADINGS, INK, PHASES, PLATE, Cell, Picture
from .sketch import sketched, within
from .svg import document, drawn, image, outline_of, write

SECONDS = 1.5  # a frame of the animated picture is shown


class Player:
    """The forward and the backward pass as frames. Shows itself in a notebook; `save` writes a page.

    frames: what there is to see. html: a notebook's output. svg: the animated picture.
    """

    def __init__(self, picture: Picture, frames: Sequence[Frame]) -> None:
        self.frames = tuple(frames)
        self.svg = _animated(picture, frames)

    def __repr__(self) -> str:
        return f"Player({len(self.frames)} frames)"

    @property
    def html(self) -> str:
        """The animated picture, and a script that replaces it by one with buttons."""
        picture = image(self.svg, "forward and backward pass, step by step")
        holder = f'<div class="tinygrad-player" data-player="{self._digest()}">{picture}</div>'
        return f"{holder}\n<script>{self._script()}</script>\n"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None, **_: object) -> dict[str, str]:
        return {"text/html": self.html}

    def save(self, path: str | os.PathLike[str]) -> str:
        """Writes one self-contained page, which opens without a network, and returns its path."""
        path = Path(path)
        allowed = base64.b64encode(hashlib.sha256(self._script().encode()).digest()).decode()
        page = (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            f"style-src 'unsafe-inline'; script-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'\">\n"
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            "<title>Forward and backward pass, step by step</title>\n"
            "<style>body { margin: 16px; background: #fff; }</style>\n</head>\n"
            f"<body>\n{self.html}</body>\n</html>\n"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(page.encode())  # bytes: a line end that changes would change the script's hash
        return str(path)

    def _digest(self) -> str:
        return hashlib.sha256((self.svg + _javascript()).encode()).hexdigest()[:16]

    def _script(self) -> str:
        return f'{_javascript()}("{self._digest()}");'


def player(root: Value, fold: Fold = "auto", rankdir: str = "auto", limit: int = 500) -> Player:
    """The forward pass that made root, node by node, then the backward pass that root.backward() would do.

    Forward, numbers appear one after the other. Backward, from users to operands, every edge shows
    upstream x local = contribution and the sum so far. In a notebook: buttons, a slider, arrow keys, Home, End,
    space; in one that is not trusted, an animated picture. `player(root).save("x.html")` writes a page.
    Gradients are computed on the side, from zero: root's graph is left as it is.

    Parameters
    ----------
    root : Value
    fold, rankdir, limit
        As for `draw_dot`: a folded part computes, and sends, in one go.

    >>> x, y = Value(2.0, label="x"), Value(-3.0, label="y")
    >>> f = x * y + x
    >>> f.label = "f"
    >>> lesson = player(f)
    >>> for frame in lesson.frames[1], lesson.frames[-2]:
    ...     print(*frame.lines, sep=" | ")
    forward | v1 = x * y = 2.0000 × -3.0000 = -6.0000 | local derivatives: ∂v1/∂x = -3.0000, ∂v1/∂y = 2.0000
    backward: from v1 to y | upstream ∂f/∂v1 × local ∂v1/∂y = 1.0000 × 2.0000 = 2.0000 | ∂f/∂y = 2.0000
    """
    parts = parts_to_draw(root, fold, rankdir, "player", "play")
    lesson = Lesson(parts, within(sketched(parts), limit, "player"), root)
    return Player(arranged(lesson.picture(), rankdir), lesson.frames)


# --- the animated picture

_WIDTH = 640.0  # px: the least, for captions
_PAPER = "#ffffff"


class _Clock:
    """Attributes that change from frame to frame, as SMIL; where nothing animates, the last frame."""

    def __init__(self, frames: int) -> None:
        self.frames = frames

    def animate(self, element: Element, attribute: str, states: dict[int, str]) -> None:
        """states: the attribute's value from this frame on, frame 0 among them."""
        changes = [(i, states[i]) for i in sorted(states) if i < self.frames]
        changes = [changes[0], *(now for before, now in pairwise(changes) if now[1] != before[1])]
        if (attribute, changes[-1][1]) != ("opacity", "1"):
            element.set(attribute, changes[-1][1])
        if len(changes) > 1:
            times = ";".join([f"{i / self.frames:.5f}".rstrip("0").rstrip(".") for i, _ in changes])
            about = {"attributeName": attribute, "values": ";".join([v for _, v in changes]), "keyTimes": times}
            timing = {"dur": f"{self.frames * SECONDS:g}s", "calcMode": "discrete", "repeatCount": "indefinite"}
            SubElement(element, "animate", about | timing)


def _animated(picture: Picture, frames: Sequence[Frame]) -> str:
    """One SVG: captions, and below them the picture. For the script, as data-*: the number of frames, the
    seconds that one is shown, and the place of the picture."""
    clock, found = _Clock(len(frames)), drawn(picture)
    groups, n = list(found), len(picture.arrows)
    turn: dict[str, int] = {}  # the frame at which a box appears
    for t, frame in enumerate(frames):
        turn |= dict.fromkeys(frame.boxes, t) if frame.phase == "forward" else {}
    arrows, labels = _arrows(picture, groups[:n], turn, clock)
    boxes, halos = _boxes(picture, groups[n:], turn, clock, frames)
    lit = Element("use", {"class": "lit", "fill": "none", "stroke-width": "3"})
    clock.animate(lit, "href", {t: f"#f{t}" for t in range(len(frames))})

    width, height = float(found.attrib["width"]), float(found.attrib["height"])
    whole = max(width, _WIDTH)
    captions = _captions(frames, clock, whole)
    above, left = float(captions.attrib["height"]), (whole - width) / 2
    root = Element("svg", found.attrib)
    root.attrib |= {"width": f"{whole:g}", "height": f"{above + height:g}"}
    root.attrib |= {"viewBox": f"0 0 {whole:g} {above + height:g}", "data-frames": f"{len(frames)}"}
    root.attrib |= {"data-seconds": f"{SECONDS:g}", "data-view": f"{left:g} {above:g} {width:g} {height:g}"}
    SubElement(root, "rect", {"width": "100%", "height": "100%", "rx": "6", "fill": _PAPER})
    root.append(captions)
    SubElement(root, "defs").extend([*halos, *_lights(frames)])
    stage = SubElement(root, "g", {"transform": f"translate({left:g} {above:g})"})
    stage.extend([arrows, lit, *labels, *boxes])
    return document(root)


def _lights(frames: Sequence[Frame]) -> list[Element]:
    """For each frame its arrows, and halos of its boxes, to be drawn once more in colour."""
    lights = []
    for t, frame in enumerate(frames):
        colour = PHASES[frame.phase]
        lights.append(Element("g", {"id": f"f{t}", "color": colour, "stroke": colour}))
        for what in *(f"#a{i}" for i in frame.arrows), *(f"#h{key}" for key in frame.boxes):
            SubElement(lights[-1], "use", {"href": what})
    return lights


def _arrows(
    picture: Picture, groups: Sequence[Element], turn: dict[str, int], clock: _Clock
) -> tuple[Element, list[Element]]:
    """The arrows, which take their colour from around them; and what is written on them, by the frame at
    which the operation at the head has its turn."""
    arrows = Element("g", {"color": ARROW, "stroke": ARROW, "stroke-width": "1.4", "fill": "none"})
    texts = {0: Element("g")}
    for i, (arrow, group) in enumerate(zip(picture.arrows, groups, strict=True)):
        line, head, *label = group
        line.attrib = {"d": line.attrib["d"]}
        head.attrib |= {"fill": "currentColor", "stroke": "none"}
        group.set("id", f"a{i}")
        arrows.append(group)
        for element in label:
            group.remove(element)
            texts.setdefault(turn.get(arrow.head, 0), Element("g")).append(element)
    for t, element in texts.items():
        clock.animate(element, "opacity", {0: "0"} | {t: "1"})
    return arrows, list(texts.values())


def _boxes(
    picture: Picture, groups: Sequence[Element], turn: dict[str, int], clock: _Clock, frames: Sequence[Frame]
) -> tuple[list[Element], list[Element]]:
    """The boxes, pale before their turn; and halos, of which only what lies outside of a box will show."""
    shown: dict[str, dict[int, tuple[Cell, ...]]] = {}
    for t, frame in enumerate(frames):
        for key, cells in frame.cells.items():
            shown.setdefault(key, {})[t] = cells
    boxes, halos = [], []
    for t, pairs in groupby(zip(picture.boxes, groups, strict=True), lambda pair: turn.get(pair[0].key, 0)):
        boxes.append(Element("g"))
        for box, group in pairs:
            if box.key in shown:
                _animate_texts(group, clock, shown[box.key])
            boxes[-1].append(group)
            if box.key in turn:
                outline = outline_of(box, layout(picture).boxes[box.key])
                halos.append(Element("rect", {"id": f"h{box.key}"} | outline | {"stroke-width": "6"}))
        clock.animate(boxes[-1], "opacity", {0: "0.35"} | {t: "1"})
    return boxes, halos


def _animate_texts(group: Element, clock: _Clock, shown: dict[int, tuple[Cell, ...]]) -> None:
    """An element for each text that a box shows at some time. shown: its cells, by the frames where they change."""
    for i, place in enumerate(group.findall("text")):
        states: dict[Cell, dict[int, str]] = {}
        for t, cells in shown.items():
            for state in states.values():
                state[t] = "0"
            states.setdefault(cells[i], {0: "0"})[t] = "1"
        group.remove(place)
        for cell, state in states.items():
            if cell.text:
                clock.animate(write(SubElement(group, "text", place.attrib), cell), "opacity", state)


def _captions(frames: Sequence[Frame], clock: _Clock, width: float) -> Element:
    """All captions on one strip, which moves behind a window."""
    scale = max(1.0, width / 900.0)  # a notebook shows a wide picture smaller
    window = Element("svg", {"class": "captions", "text-anchor": "start", "font-size": "14", "fill": INK})
    strip = SubElement(window, "svg", {"overflow": "visible"})
    lines = [
        [
            _wrapped(line, 12 / 14 * (width / scale - 24))
            for line in (f"{t} / {len(frames)} · {frame.lines[0]}", *frame.lines[1:])
        ]
        for t, frame in enumerate(frames, 1)
    ]
    each = 20 * max(sum(map(len, pieces)) for pieces in lines) + 16
    for t, (frame, pieces) in enumerate(zip(frames, lines)):
        caption = SubElement(strip, "g", {"class": frame.phase})
        y = t * each + 8
        for i, (first, *more) in enumerate(pieces):
            text = SubElement(caption, "text", {"y": f"{y + 14}"} | ({} if i else {"fill": PHASES[frame.phase]}))
            text.text = first
            for piece in more:
                SubElement(text, "tspan", {"x": "0", "dy": "20"}).text = piece
            y += 20 * (1 + len(more))
    clock.animate(strip, "y", {t: f"{-t * each}" for t in range(len(frames))})
    size = {"width": f"{width:g}", "height": f"{each * scale:g}", "viewBox": f"-12 0 {width / scale:g} {each}"}
    window.attrib |= size
    return window


def _wrapped(line: str, width: float) -> list[str]:
    """The line in pieces that are no wider than this at 12 px, if words allow; together they are the line."""
    pieces = [""]
    for word in line.split(" "):
        if pieces[-1] and text_width(pieces[-1] + word) > width:
            pieces.append("")
        pieces[-1] += word + " "
    pieces[-1] = pieces[-1].removesuffix(" ")
    return pieces


@functools.cache
def _javascript() -> str:
    """The script, with the colours of `picture.py` for %ink%, %forward%, ..."""
    script = Path(__file__).with_suffix(".js").read_text(encoding="utf-8").strip()
    for name, colour in ("ink", INK), ("border", PLATE.border), *PHASES.items():
        script = script.replace(f"%{name}%", colour)
    for phase, colour in HEADINGS.items():
        script = script.replace(f"%{phase}-heading%", colour)
    return script
