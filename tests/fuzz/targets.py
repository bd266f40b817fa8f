"""What is fuzzed: functions of bytes that raise where something is not as it should be.

`load` takes the bytes as a file; the others read them as choices, of which they make a graph with hostile labels,
whose pictures and explanations are then parsed back.
"""

import base64
import math
import re
import struct
import tempfile
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import safetensors.numpy

from tinygrad_lite import Value, dot, draw_dot, explain, maximum, nn, ops, player, total, where
from tinygrad_lite import load as load_model
from tinygrad_lite.draw import svg as writer
from tinygrad_lite.engine import gradients, scope, topological_order

HOSTILE = [
    "<b>x</b>", "</text><script>alert(1)</script>", '" onload="alert(1)', "&lt;&#60;&nope;", "]]>", "<!-- ",
    "\\N \\l\\", '\\"', "{a|b}", "a\nb\r\nc\td", "\0\x07\x1b[2J", "\u2028\u202e\u200b\x85", "\ud800", "\ufffe\uffff",
    "$x$ \\frac{1}{0} }{", "`*_#~^%", "漢字 🙂 e\u0301", "x" * 300, "node", "a:b", "v0", "<<B>>", " ",
]  # fmt: skip
NUMBERS = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 1e300, 5e-324, math.inf, -math.inf, math.nan, 123456.789]


class Choices:
    """Bytes as decisions, one after the other; where they have run out, each is 0."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at].ljust(count, b"\0")

    def below(self, n):
        return self.take(1)[0] % n

    def of(self, options):
        return options[self.below(len(options))]

    def number(self):
        which = self.take(1)[0]
        return NUMBERS[which] if which < len(NUMBERS) else struct.unpack("<d", self.take(8))[0]

    def text(self):
        """Nothing, something hostile, or bytes as they come, with half surrogates for what is no UTF-8."""
        which = self.take(1)[0]
        if which < 64:
            return ""
        if which < 160:
            return HOSTILE[which % len(HOSTILE)]
        return self.take(which % 32).decode(errors="surrogateescape")


UNARY = [ops.exp, ops.log, ops.sqrt, ops.tanh, ops.relu, ops.sin, ops.neg, ops.sign, ops.abs_]
BINARY = [ops.add, ops.sub, ops.mul, ops.div, ops.power, ops.hypot, ops.less]


def graph(choices):
    """A Value that was made of a few others, in modules and scopes, with labels on some."""
    nodes = [Value(choices.number(), choices.text()) for _ in range(1 + choices.below(4))]

    def operand():
        return choices.number() if choices.below(8) == 0 else choices.of(nodes)

    def make(kind):
        a, b = choices.of(nodes), operand()
        if kind < 2:
            return choices.of(UNARY)(a)
        if kind < 5:
            return choices.of(BINARY)(a, b)
        many = [a, *(operand() for _ in range(choices.below(5)))]
        if kind == 5:
            return dot(many, [operand() for _ in many], b)
        if kind == 6:
            return choices.of([total, lambda xs: maximum(*xs)])(many)
        if kind == 7:
            return where(ops.less(a, b), many[0], many[-1])
        if kind == 8:  # the same neuron on several examples: what repeats becomes a stack
            return total([neuron([x, b]) for x in many])
        return module(a)

    neuron = nn.Neuron(2, activation=choices.of(["tanh", "relu", "linear"]), seed=0)
    module = Holder(choices)
    for _ in range(choices.below(10)):
        name = choices.text()
        if name and choices.below(2):
            with scope(name):
                nodes.append(make(choices.below(10)))
        else:
            nodes.append(make(choices.below(10)))
            nodes[-1].label = name
    if choices.below(2):
        nodes[-1].backward()
    return nodes[-1]


class Holder(nn.Module):
    """A module whose parameter has any name."""

    def __init__(self, choices):
        setattr(self, choices.text() or "p", Value(choices.number()))

    def __call__(self, x):
        (p,) = self.parameters()
        return p * x


def options(choices):
    return {"rankdir": choices.of(["auto", "LR", "TB"]), "fold": choices.of(["auto", 0, 1, 2])}


# --- files

PATH = Path(tempfile.mkdtemp()) / "m.safetensors"
MODELS = [nn.Neuron(1, seed=0), nn.Layer(2, 1, seed=0), nn.MLP(1, [1, 1], seed=0)]


def bits(model):
    return [struct.pack("<d", p.data) for p in model.parameters()]


def load(data):
    """A file is refused with a ValueError that names it, the model as before; or it has what safetensors finds."""
    PATH.write_bytes(data)
    for model in MODELS:
        before = bits(model)
        try:
            load_model(model, PATH)
        except ValueError as error:
            message = str(error)
            assert str(PATH) in message and message.isprintable() and len(message) < 5000, message
            assert bits(model) == before
            continue
        found = {name: array.astype(float).tolist() for name, array in safetensors.numpy.load(data).items()}
        assert repr(sorted(found.items())) == repr(sorted(model.state_dict().items()))
        for p in model.parameters():
            p.data = 1.0


# --- pictures


def printable(text):
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def one_line(text):
    text = re.sub("\r\n|[\n\r\v\f\x85\u2028\u2029]", "\u23ce", text).replace("\t", " ")
    return re.sub("[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def picture_of(data):
    """The drawing of a graph. Where nothing is folded, labels must be in the boxes as they are."""
    choices = Choices(data)
    given = options(choices) | {"expand": bool(choices.below(2)), "edges": bool(choices.below(2))}
    root = graph(choices)
    drawing = draw_dot(root, **given)
    if given["fold"] == 0:
        shown = {box.key: box.texts[0] for box in drawing.picture.boxes}
        for i, node in enumerate(topological_order(root)):
            assert not node.label or shown[f"v{i}"] == node.label
    return drawing


def dot_source(data):
    """Graphviz's language, read by a parser of it: the boxes and arrows of the picture, texts as texts."""
    drawing = picture_of(data)
    boxes, arrows = drawing.picture.boxes, drawing.picture.arrows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydot calls its own parser by old names
        import pydot  # here: the other targets do without

        (parsed,) = pydot.graph_from_dot_data(drawing.source)
    nodes = [node for node in parsed.get_nodes() if node.get_name() not in ("node", "edge", "graph")]
    assert [node.get_name().strip('"') for node in nodes] == [box.key for box in boxes]
    assert not parsed.get_subgraphs()
    for node, box in zip(nodes, boxes):
        look = {
            "label",
            "shape",
            "fillcolor",
            "color",
            "fontcolor",
            "margin",
            "style",
            "height",
            "peripheries",
            "tooltip",
        }
        assert node.get_attributes().keys() <= look
        assert html_like(node.get_label()) == [one_line(text) or " " for text in box.texts]
    edges = [(edge.get_source(), edge.get_destination(), edge) for edge in parsed.get_edges()]
    ends = [(tail.strip('"'), head.strip('"')) for tail, head, _ in edges]
    assert sorted(ends) == sorted((arrow.tail, arrow.head) for arrow in arrows)
    shown = [html_like(edge.get_label())[0] for _, _, edge in edges if edge.get_label()]
    assert sorted(shown) == sorted(arrow.text for arrow in arrows if arrow.text)


def html_like(label):
    """The texts in an HTML-like label, which is XML with few elements."""
    assert label[0] + label[-1] == "<>"
    root = ElementTree.fromstring(f"<label>{label[1:-1]}</label>")
    for element in root.iter():
        assert element.tag in {"label", "table", "tr", "td", "vr", "b", "font"}
        assert element.attrib.keys() <= {"border", "cellborder", "cellspacing", "cellpadding", "color", "bgcolor"}
    cells = list(root.iter("td")) or [root]
    texts = ["".join(cell.itertext()) for cell in cells]
    assert not any("\\" in text.replace("\\\\", "") for text in texts)  # Graphviz puts a node's key in place of \N
    return [text.replace("\\\\", "\\") for text in texts]


SVG = {"svg", "g", "rect", "path", "polygon", "text", "title"}
SHAPES = {
    "x", "y", "width", "height", "rx", "ry", "d", "points", "fill", "stroke", "stroke-width", "stroke-opacity",
    "font-weight", "font-family", "font-size", "text-anchor", "viewBox", "class", "stroke-dasharray",
}  # fmt: skip
ANIMATED = {
    "id", "href", "color", "opacity", "transform", "dy", "overflow", "attributeName", "values", "keyTimes", "dur",
    "calcMode", "repeatCount", "data-key", "data-tail", "data-head", "data-frames", "data-seconds", "data-view",
}  # fmt: skip
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
COLOUR = "#[0-9a-f]{6}"
RULES = re.compile(rf'(\[(fill|stroke|color)="{COLOUR}"\]\{{\2:{COLOUR}\}})*')


def elements(text):
    """The elements of an SVG document, with their names as they are written; without the style sheet, which gives dark
    colours for light ones and nothing else."""
    root = ElementTree.fromstring(text)
    sheet = root[0]
    assert sheet.tag.endswith("}style") and sheet.attrib == {"media": "(prefers-color-scheme: dark)"}
    assert RULES.fullmatch(sheet.text or "") and not len(sheet)
    root.remove(sheet)
    for element in root.iter():
        element.tag = element.tag.removeprefix("{http://www.w3.org/2000/svg}")
        for name in "x", "y", "width", "height", "rx", "ry":
            assert NUMBER.fullmatch(element.get(name, "0").removesuffix("%")), element.attrib
    return list(root.iter())


def svg(data):
    """The picture without Graphviz: boxes, arrows and texts in their order, and nothing else."""
    drawing = picture_of(data)
    text = writer.svg(drawing.picture)
    found = elements(text)
    assert {e.tag for e in found} <= SVG
    assert {name for e in found for name in e.attrib} <= SHAPES | {"data-key", "data-tail", "data-head"}
    groups = list(found[0])
    count = len(drawing.picture.arrows)
    for group, arrow in zip(groups[:count], drawing.picture.arrows, strict=True):
        assert (group.get("data-tail"), group.get("data-head")) == (arrow.tail, arrow.head)
        assert [e.text for e in group.iter("text")] == ([one_line(arrow.text)] if arrow.text else [])
    for group, box in zip(groups[count:], drawing.picture.boxes, strict=True):
        assert group.get("data-key") == box.key
        assert [e.text or "" for e in group.iter("text")] == [one_line(text) for text in box.texts]
    (html,) = drawing._repr_mimebundle_().values()
    (tag, attributes), *rest = Page(html).events
    assert not rest and tag == "img" and attributes.keys() == {"style", "alt", "src"}
    assert decoded(attributes["src"]) == drawing.svg()


class Page(HTMLParser):
    """What a browser would see: elements with their attributes, and text that is not blank."""

    def __init__(self, text):
        super().__init__(convert_charrefs=False)
        self.events = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs)
        self.events.append((tag, dict(attrs)))

    def handle_data(self, data):
        if data.strip():
            self.events.append(("", data))

    def handle_entityref(self, name):
        self.events.append(("&", name))

    handle_charref = handle_comment = handle_pi = unknown_decl = handle_entityref


def decoded(src):
    return base64.b64decode(src.removeprefix("data:image/svg+xml;base64,"), validate=True).decode()


def lesson(data):
    """The animated picture and its page: known elements, unique ids, references to them, only the script."""
    choices = Choices(data)
    given = options(choices)
    film = player(graph(choices), **given)
    found = elements(film.svg)
    assert {e.tag for e in found} <= SVG | {"tspan", "defs", "use", "animate"}
    assert {name for e in found for name in e.attrib} <= SHAPES | ANIMATED
    ids = [e.get("id") for e in found if e.get("id")]
    assert len(ids) == len(set(ids))
    assert {e.get("href") for e in found if e.get("href")} <= {f"#{i}" for i in ids}
    captions = "".join(text for e in found if e.tag in ("text", "tspan") for text in e.itertext())
    assert printable(captions) == captions or not captions.isascii()
    page = Page(Path(film.save(PATH.with_name("page.html"))).read_text(encoding="utf-8"))
    tags = " ".join(tag or "text" for tag, _ in page.events)
    assert tags == "html head meta meta meta title text style text body div img p text script text"
    assert page.events[-1][1] == film._script() and decoded(page.events[-5][1]["src"]) == film.svg
    assert Page(film.html).events == page.events[-6:]


# --- explanations


def explanation(data):
    """Text that is printable, LaTeX and Markdown in which labels are data, and the gradient of backward."""
    choices = Choices(data)
    root = graph(choices)
    order = topological_order(root)
    v, x = choices.of(order), choices.of(order)
    flow = gradients(order)
    for found in explain(v), explain(v, root), explain(root, wrt=x), explain(v, root, wrt=x):
        assert all(c == "\n" or c.isprintable() for c in found.text)
        assert_sound(found.latex)
    found = explain(v, root)
    assert repr(found.gradient) == repr(flow.get(v))


COMMANDS = re.compile(r"\\[A-Za-z]+|\\.", re.S)


def assert_sound(latex):
    """Braces and dollars in pairs, and nothing that HTML or Markdown would read outside of formulas."""
    assert {kind for kind, _ in Page(latex).events} <= {"", "&"}  # the & of tables, and of labels as \\&
    bare = COMMANDS.sub("x", latex)
    formulas = re.findall(r"\$\$.*?\$\$|\$[^$]*\$", bare, re.S)
    assert bare.count("$") % 2 == 0
    for formula in formulas:
        depth = 0
        for c in formula:
            depth += (c == "{") - (c == "}")
            assert depth >= 0
        assert depth == 0
    prose = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "", bare, flags=re.S)
    assert not set(prose) & set("\\<>&_*`#%[]{}~^|"), prose
    assert not set(bare) & set("<>`*"), bare


TARGETS = {"load": load, "dot": dot_source, "svg": svg, "player": lesson, "explain": explanation}
