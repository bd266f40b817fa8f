"""A picture as SVG that needs nothing else: no scripts, style sheets or fonts."""

from __future__ import annotations

import base64
from itertools import pairwise
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from ..notation import one_line, xml_legal
from .layout import CARD, HEAD, LINE, Rectangle, Route, cell_widths, layout, turned
from .picture import ARROW, BOXES, PLATE, TEXTS, Arrow, Box, Cell, Picture, Style

_FONT = "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif"


def svg(picture: Picture) -> str:
    """The picture as one SVG document."""
    return document(drawn(picture))


def drawn(picture: Picture) -> Element:
    """The picture's elements: `<g class="arrow" data-tail data-head>` of the line, the head, and the text on its plate;
    then `<g class="box value" data-key>` of the cards and a text for each cell. Both are in the picture's order."""
    placed = layout(picture)
    width, height = px(placed.width), px(placed.height)
    root = Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "width": width, "height": height})
    root.attrib |= {"viewBox": f"0 0 {width} {height}", "font-family": _FONT, "font-size": "12"}
    root.set("text-anchor", "middle")
    root.text = "\n"
    root.extend([_arrow(*pair, picture.rankdir) for pair in zip(picture.arrows, placed.arrows, strict=True)])
    root.extend([_box(box, placed.boxes[box.key]) for box in picture.boxes])
    return root


def document(root: Element) -> str:
    """The text of an SVG document; what is data in it is escaped."""
    return xml_legal(ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")) + "\n"


def image(document: str, alt: str, least: float = 0.0) -> str:
    """An HTML image of an SVG document, as wide as the page at most, but `least` px at least: then one scrolls.
    JupyterLab strips inline <svg> from a notebook it does not trust, but shows an <img>."""
    data = base64.b64encode(document.encode()).decode()
    style = "max-width:100%" + (f";min-width:{least:.0f}px" if least else "")
    return f'<img style="{style}" alt="{alt}" src="data:image/svg+xml;base64,{data}">'


def px(*lengths: float) -> str:
    """Numbers as SVG writes them, to a tenth of a pixel: 12 and 12.5, never 12.0 or 1e+06."""
    return " ".join(f"{length:.1f}".removesuffix(".0") for length in lengths)


def _group(kind: str, *elements: Element, **data: str) -> Element:
    group = Element("g", {"class": kind} | {f"data-{name}": value for name, value in data.items()})
    group.extend(elements)
    group.tail = "\n"
    return group


def _text(cell: Cell, x: float, y: float) -> Element:
    """The cell's text with its middle at x, y; not every renderer knows `dominant-baseline`, hence 4.3."""
    weight = {"font-weight": "bold"} if cell.role == "title" else {}
    return write(Element("text", weight | {"x": px(x), "y": px(y + 4.3), "fill": TEXTS[cell.role]}), cell)


def write(element: Element, cell: Cell) -> Element:
    """Puts the cell's text into the element, which has its colour."""
    if all(TEXTS[other.role] == TEXTS[cell.role] for other in cell.more):
        element.text = one_line(cell.line)
    else:
        element.text = one_line(cell.text)
        for other in cell.more:
            SubElement(element, "tspan", {"fill": TEXTS[other.role]}).text = f" · {one_line(other.text)}"
    if cell.about:
        SubElement(element, "title").text = one_line(cell.about)
    return element


def outline_of(box: Box, place: Rectangle) -> dict[str, str]:
    """The attributes of a rect; an operation's corners are so round that it is an ellipse."""
    corners = (place.width / 2, place.height / 2) if box.kind == "operation" else (5.0, 5.0)
    return _rounded(place, *corners)


def _rounded(place: Rectangle, rx: float, ry: float) -> dict[str, str]:
    return dict(zip(("x", "y", "width", "height", "rx", "ry"), map(px, (*place, rx, ry))))


def _box(box: Box, place: Rectangle) -> Element:
    style, cards = BOXES[box.kind], _cards(box, place)
    look = {"fill": style.fill, "stroke": style.border}
    inside = _lines(box, cards[-1]) if box.kind == "part" else _record(box, place, style)
    rects = [Element("rect", outline_of(box, card) | look) for card in cards]
    return _group(f"box {box.kind}", *rects, *inside, key=box.key)


def _cards(box: Box, place: Rectangle) -> list[Rectangle]:
    """One card, or a stack of three with the front one last."""
    if box.copies == 1:
        return [place]
    x, y, width, height = place
    front = Rectangle(x, y + 2 * CARD, width - 2 * CARD, height - 2 * CARD)
    return [front._replace(x=x + shift, y=front.y - shift) for shift in (2 * CARD, CARD, 0.0)]


def _lines(box: Box, front: Rectangle) -> list[Element]:
    """Cells below each other."""
    middle = front.x + front.width / 2
    return [_text(cell, middle, front.y + 5.0 + LINE * (i + 0.5)) for i, cell in enumerate(box.cells)]


def _record(box: Box, place: Rectangle, style: Style) -> list[Element]:
    """Cells side by side, divided by lines."""
    widths = [place.width] if box.kind == "operation" else cell_widths(box)
    elements, left = [], place.x
    for cell, width in zip(box.cells, widths):
        if left > place.x:
            line = f"M{px(left, place.y)}V{px(place.y + place.height)}"
            elements.append(Element("path", {"d": line, "stroke": style.border, "stroke-opacity": "0.5"}))
        elements.append(_text(cell, left + width / 2, place.y + place.height / 2))
        left += width
    return elements


def _arrow(arrow: Arrow, route: Route, rankdir: str) -> Element:
    """Bezier curves that are level at the points of the route, a polygon as arrowhead, and the text."""
    *points, (along, across) = [turned(*point, rankdir) for point in route.points]
    onward = -1.0 if route.back else 1.0
    back, side = along - onward * HEAD * route.scale, 3.5 * route.scale
    path = "M" + px(*route.points[0])
    for (a0, c0), (a1, c1) in pairwise([*points, (back, across)]):
        bend = onward * min(abs(a1 - a0) / 2, 22.0)  # steep lines are straight between their ends and so keep apart
        curve = [(a0 + bend, c0), (a1 - bend, c1), (a1, c1)] if c0 != c1 else [(a1, c1)]
        path += "LC"[c0 != c1] + " ".join(px(*turned(a, c, rankdir)) for a, c in curve)
    corners = [(along, across), (back, across - side), (back, across + side)]
    points_of_head = " ".join(px(*turned(a, c, rankdir)) for a, c in corners)
    line = Element("path", {"d": path, "fill": "none", "stroke": ARROW, "stroke-width": px(0.4 + route.scale)})
    if route.back:
        line.set("stroke-dasharray", "5 3")
    head = Element("polygon", {"points": points_of_head, "fill": ARROW})
    label = []
    if route.plate:
        x, y, width, height = route.plate
        label = [
            Element("rect", _rounded(route.plate, 8, 8) | {"fill": PLATE.fill, "stroke": PLATE.border}),
            _text(Cell(arrow.text, "derivative"), x + width / 2, y + height / 2),
        ]
    return _group("arrow", line, head, *label, tail=arrow.tail, head=arrow.head)
