"""Our own layered layout: nothing overlaps, arrows run from border to border, the same picture gives
the same bytes, and labels are data."""

import os
import random
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import combinations, cycle, pairwise
from pathlib import Path

import pytest

from tinygrad_lite.draw.layout import layout, text_width
from tinygrad_lite.draw.picture import Arrow, Box, Cell, Picture
from tinygrad_lite.draw.svg import svg
from tinygrad_lite.notation import one_line

pytestmark = pytest.mark.sample(4)

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


# --- pictures, written as one writes an expression


def a_box(key, texts, kind, copies=1):
    """A box with these texts; the first line of a part is its title."""
    roles = ["title" if kind == "part" else "label", *["data"] * len(texts)]
    return Box(key, tuple(Cell(text, role) for text, role in zip(texts, roles)), kind, copies)


class Sketch:
    """Collects boxes and arrows: `leaf` and `constant` return a key, `op` the key of the result."""

    def __init__(self, rankdir="LR", edges=True):
        self.boxes, self.arrows, self.rankdir, self.edges = [], [], rankdir, edges

    def leaf(self, name, kind="value"):
        self.boxes.append(a_box(f"v{len(self.boxes)}", (name, "data 2.0000", "grad -24.0000"), kind))
        return self.boxes[-1].key

    def constant(self, text):
        self.boxes.append(a_box(f"c{len(self.boxes)}", (text,), "constant"))
        return self.boxes[-1].key

    def part(self, *lines, copies=1, operands=(), text=""):
        key = f"v{len(self.boxes)}"
        self.boxes.append(a_box(key, lines, "part", copies))
        self.arrows += [Arrow(operand, key, text if self.edges else "") for operand in operands]
        return key

    def op(self, symbol, *operands):
        key = f"v{len(self.boxes)}"
        self.boxes += [
            a_box(f"{key}.op", (symbol,), "operation"),
            a_box(key, ("data 6.0000", "grad 1.0000"), "value"),
        ]
        for i, operand in enumerate(operands):
            text = f"{7.3 * i - 3:.4f}" if self.edges and operand[0] == "v" else ""
            self.arrows.append(Arrow(operand, f"{key}.op", text))
        self.arrows.append(Arrow(f"{key}.op", key))
        return key

    @property
    def picture(self):
        return Picture(tuple(self.boxes), tuple(self.arrows), self.rankdir)


def square(s):
    x = s.leaf("x")
    s.op("*", x, x)


def diamond(s):
    x = s.leaf("x")
    s.op("+", s.op("exp", x), s.op("sin", x))


def polynomial(s):
    a, b, c = s.leaf("a"), s.leaf("b"), s.leaf("c")
    s.op("**", s.op("+", s.op("*", a, b), c), s.constant("2"))


def neuron(inputs):
    def sketch(s):
        terms = [key for i in range(inputs) for key in (s.leaf(f"w{i}", "parameter"), s.leaf(f"x{i}"))]
        s.op("ReLU", s.op("dot", *terms, s.leaf("b", "parameter")))

    return sketch


def micrograd(s):
    """The example of micrograd's README."""
    a, b = s.leaf("a"), s.leaf("b")
    c, d = s.op("+", a, b), s.op("+", s.op("*", a, b), s.op("**", b, s.constant("3")))
    c = s.op("+", c, s.op("+", c, s.constant("1")))
    c = s.op("+", s.op("+", s.op("+", s.constant("1"), c), c), s.op("neg", a))
    d = s.op("+", d, s.op("+", s.op("*", d, s.constant("2")), s.op("ReLU", s.op("+", b, a))))
    d = s.op("+", d, s.op("+", s.op("*", s.constant("3"), d), s.op("ReLU", s.op("-", b, a))))
    e = s.op("-", c, d)
    f = s.op("**", e, s.constant("2"))
    s.op("+", s.op("/", f, s.constant("2")), s.op("/", s.constant("10"), f))


def ladder(s, rungs=6):
    """Two chains side by side, joined by an operation on every level."""
    a, b = s.leaf("a"), s.leaf("b")
    for _ in range(rungs):
        a, b = s.op("exp", a), s.op("*", a, b)


def unrolled(s, steps=8):
    """One parameter used at every step: long arrows from one tail."""
    w, h = s.leaf("w", "parameter"), s.leaf("h")
    for i in range(steps):
        h = s.op("tanh", s.op("+", s.op("*", w, h), s.leaf(f"x{i}")))


def layers(s, width=4):
    xs = [s.leaf(f"x{i}") for i in range(width)]
    for _ in range(2):
        xs = [s.op("dot", *(k for x in xs for k in (s.leaf("w", "parameter"), x))) for _ in range(width)]


def fan_in(s):
    s.op("sum", *(s.leaf(f"x{i}") for i in range(40)))


def chain(s, length=300):
    x = s.leaf("x")
    while len(s.boxes) < length:
        x = s.op("tanh", x)


def disconnected(s):
    square(s)
    s.leaf("alone")
    diamond(s)
    s.constant("3.14")


def tangle(seed, boxes=60):
    def sketch(s):
        rng = random.Random(seed)
        keys = [s.leaf(f"x{i}") for i in range(6)]
        while len(s.boxes) < boxes:
            operands = rng.choices(keys, k=rng.choice([1, 2, 2, 3]))
            keys.append(s.op("op", *operands))

    return sketch


def scores(s):
    """The cross-entropy of three scores: logsumexp less the one picked."""
    zs = [s.leaf(f"z{i}") for i in range(3)]
    s.op("-", s.op("logsumexp", *zs), s.op("pick", s.constant("1"), *zs))


def perceptron(s):
    """Two inputs, three neurons, one output."""
    xs = [s.leaf("x0"), s.leaf("x1")]
    for width in (3, 1):
        weights = [[s.leaf(f"w{i}.{j}", "parameter") for j in range(len(xs) + 1)] for i in range(width)]
        xs = [s.op("ReLU", s.op("dot", *w[:-1], *xs, w[-1])) for w in weights]


def expanded(s):
    """A dot product as its products and their sum."""
    products = [s.op("*", s.leaf(f"w{i}"), s.leaf(f"x{i}")) for i in range(4)]
    s.op("ReLU", s.op("sum", *products))


def second_derivative(s):
    """The graph of d/dx x sin(x^2), as `grad` builds it."""
    x = s.leaf("x")
    square = s.op("*", x, x)
    cosine, sine = s.op("*", s.op("cos", square), x), s.op("sin", square)
    s.op("dot", cosine, cosine, s.constant("1"), x, x, sine)


def neurons(s, widths=(16, 16, 1)):
    """A network, one box for each neuron: 256 arrows from layer to layer."""
    xs = [s.leaf("x0"), s.leaf("x1")]
    for i, width in enumerate(widths):
        name = f"layers.{i}.neurons"
        xs = [s.part(f"{name}.{j}", f"{len(xs) + 1} parameters", "relu", operands=xs) for j in range(width)]
    s.part("loss", operands=xs)


def folded(s):
    """The same, one box for each layer; the first one unfolded."""
    x = s.part("x", "2 inputs", copies=2)
    xs = [s.part(f"layers.0.neurons.{j}", "3 parameters", operands=[x], text="×2") for j in range(16)]
    layer = s.part("layers.1", "16 neurons, 272 parameters", "relu", copies=16, operands=xs, text="×16")
    score = s.part("layers.2", "1 neuron, 17 parameters", operands=[layer], text="×16")
    s.part("loss", "hinge", "data 0.5620", operands=[score, s.leaf("y")])


def long_names(s):
    x = s.leaf("a_rather_long_label_for_a_value")
    for name in ("leaky_relu", "binary_cross_entropy", "W@m%W@m%W@m%", "∂Σ∇Φ", ""):
        x = s.op(name, x, s.constant("-1234567.0000"))


def nothing(s):
    pass


SMALL = [nothing, square, diamond, polynomial, disconnected, long_names]
LARGE = [micrograd, ladder, unrolled, layers, fan_in, chain]
TAUGHT = [scores, perceptron, expanded, second_derivative, neurons, folded]
PICTURES = {sketch.__name__: sketch for sketch in SMALL + LARGE + TAUGHT}
PICTURES |= {f"neuron{n}": neuron(n) for n in (2, 3, 16)} | {f"tangle{i}": tangle(i) for i in range(6)}


def draw(name, rankdir="LR", edges=True):
    sketch = Sketch(rankdir, edges)
    PICTURES[name](sketch)
    return sketch.picture


CASES = [(name, rankdir, edges) for name in PICTURES for rankdir in ("LR", "TB") for edges in (True, False)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}" + ("" if case[2] else "-no texts"))
def picture(request):
    return draw(*request.param)


# --- geometry


def overlap(a, b, least=0.0):
    """Whether two rectangles (x, y, width, height) come closer than `least`, in both directions."""
    return (
        a[0] < b[0] + b[2] + least
        and b[0] < a[0] + a[2] + least
        and a[1] < b[1] + b[3] + least
        and b[1] < a[1] + a[3] + least
    )


def pairs_too_close(rectangles, least):
    """Sweep by x, so that 500 rectangles are no 125,000 comparisons."""
    found, open_ = [], []
    for r in sorted(rectangles):
        open_ = [o for o in open_ if o[0] + o[2] + least > r[0]]
        found += [(o, r) for o in open_ if overlap(o, r, least)]
        open_.append(r)
    return found


def crossings(placed):
    """Pairs of chords of different arrows that properly cross."""
    chords = [(i, p, q) for i, route in enumerate(placed.arrows) for p, q in pairwise(route.points)]

    def side(p, q, r):
        turn = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
        return (turn > 1e-9) - (turn < -1e-9)

    return sum(
        i != j and side(p, q, r) * side(p, q, s) < 0 and side(r, s, p) * side(r, s, q) < 0
        for (i, p, q), (j, r, s) in combinations(chords, 2)
    )


# --- placing


def test_boxes_and_texts_keep_apart_and_stay_on_the_page(picture):
    placed = layout(picture)
    rectangles = [*placed.boxes.values(), *(route.plate for route in placed.arrows if route.plate)]
    assert not pairs_too_close(rectangles, least=7.5)
    for x, y, width, height in rectangles:
        assert x >= 7.9
        assert y >= 7.9
        assert x + width <= placed.width - 7.9
        assert y + height <= placed.height - 7.9
    for route in placed.arrows:
        assert all(0 < x < placed.width and 0 < y < placed.height for x, y in route.points)


def test_the_overlap_checker_sees_an_overlap():
    assert pairs_too_close([(0, 0, 10, 10), (9, 9, 10, 10)], 0)
    assert pairs_too_close([(0, 0, 10, 10), (12, 0, 10, 10)], 3)
    assert not pairs_too_close([(0, 0, 10, 10), (12, 0, 10, 10)], 1)


def test_every_box_and_arrow_is_placed_in_the_pictures_order(picture):
    placed = layout(picture)
    assert list(placed.boxes) == [box.key for box in picture.boxes]
    assert len(placed.arrows) == len(picture.arrows)
    assert [route.plate is not None for route in placed.arrows] == [a.text != "" for a in picture.arrows]


def test_arrows_run_forward_from_the_tails_border_to_the_heads(picture):
    placed = layout(picture)
    kinds = {box.key: box.kind for box in picture.boxes}
    along, across = (0, 1) if picture.rankdir == "LR" else (1, 0)
    for arrow, route in zip(picture.arrows, placed.arrows):
        tail, head = placed.boxes[arrow.tail], placed.boxes[arrow.head]
        first, last = route.points[0], route.points[-1]
        assert first[along] == pytest.approx(tail[along] + tail[along + 2], abs=0.11)
        assert first[across] == pytest.approx(tail[across] + tail[across + 2] / 2, abs=0.11)
        assert head[across] < last[across] < head[across] + head[across + 2]
        if kinds[arrow.head] == "operation":
            u, v = ((last[i] - head[i]) / head[i + 2] * 2 - 1 for i in (along, across))
            assert u < 0
            assert u * u + v * v == pytest.approx(1, abs=0.03)
        else:
            assert last[along] == pytest.approx(head[along], abs=0.11)
        assert all(q[along] > p[along] for p, q in pairwise(route.points))
        before = route.points[-2]
        assert before[across] == last[across]
        assert last[along] - before[along] >= 7.9  # room for the arrowhead


def test_arrows_touch_no_other_box_and_no_other_text(picture):
    """A curve stays in the rectangle of its two ends, so the rectangles of the steps are enough."""
    placed = layout(picture)
    boxes = [(key, None, rectangle) for key, rectangle in placed.boxes.items()]
    plates = [(None, i, route.plate) for i, route in enumerate(placed.arrows) if route.plate]
    obstacles = sorted(boxes + plates, key=lambda o: o[2])
    for i, (arrow, route) in enumerate(zip(picture.arrows, placed.arrows)):
        for (x0, y0), (x1, y1) in pairwise(route.points):
            step = (min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0))
            hit = [o for o in obstacles if overlap(step, o[2], -0.15) and o[0] != arrow.head and o[1] != i]
            assert not hit, (arrow, hit)


def test_the_text_of_an_arrow_stands_on_it(picture):
    for route in layout(picture).arrows:
        if route.plate:
            x, y, width, height = route.plate
            centre = (x + width / 2, y + height / 2)
            assert any(
                min(p[0], q[0]) - 0.11 <= centre[0] <= max(p[0], q[0]) + 0.11
                and min(p[1], q[1]) - 0.11 <= centre[1] <= max(p[1], q[1]) + 0.11
                for p, q in pairwise(route.points)
            )


@pytest.mark.parametrize("rankdir", ["LR", "TB"])
@pytest.mark.parametrize(
    "name",
    ["square", "diamond", "polynomial", "neuron2", "neuron16", "ladder", "unrolled", "fan_in", "expanded", "folded"],
)
def test_planar_pictures_are_drawn_without_a_crossing(name, rankdir):
    assert crossings(layout(draw(name, rankdir))) == 0


def test_the_crossing_checker_sees_a_crossing():
    """Three operations on the same three leaves (K3,3) cannot be drawn without one."""
    s = Sketch()
    leaves = [s.leaf(name) for name in "abc"]
    for _ in range(3):
        s.op("sum", *leaves)
    assert crossings(layout(s.picture)) >= 1


@pytest.mark.parametrize("rankdir", ["LR", "TB"])
@pytest.mark.parametrize(
    ("name", "most"),
    # in parentheses: the splines of `dot` (Graphviz 2.43) from left to right, from top to bottom
    [
        ("micrograd", 6),  # (6, 8)
        ("scores", 3),  # (2, 3): three operands of two operations cross three times in any order
        ("perceptron", 9),  # (12, 11)
        ("second_derivative", 0),  # (0, 1)
        ("layers", 140),  # (168, 160)
    ],
)
def test_there_are_about_as_few_crossings_as_dot_draws(name, most, rankdir):
    assert crossings(layout(draw(name, rankdir))) <= most


@pytest.mark.parametrize(("rankdir", "across"), [("LR", 1), ("TB", 0)])
def test_a_long_arrow_keeps_its_level(rankdir, across):
    """Tail, two levels on the way past what is beside it, and the port at the head."""
    for name in ("unrolled", "second_derivative"):
        for route in layout(draw(name, rankdir)).arrows:
            assert len({point[across] for point in route.points}) <= 4


@pytest.mark.parametrize("name", ["micrograd", "layers", "perceptron", "expanded", "second_derivative"])
@pytest.mark.parametrize(("rankdir", "across"), [("LR", 1), ("TB", 0)])
def test_an_operation_stands_in_line_with_its_result(name, rankdir, across):
    placed = layout(draw(name, rankdir))
    for key, result in placed.boxes.items():
        if f"{key}.op" in placed.boxes:
            operation = placed.boxes[f"{key}.op"]
            shift = result[across] + result[across + 2] / 2 - operation[across] - operation[across + 2] / 2
            assert abs(shift) < 0.11, key


def test_arrowheads_at_one_box_keep_apart(picture):
    across = 1 if picture.rankdir == "LR" else 0
    arrowheads = {}
    for group in ET.fromstring(svg(picture)).findall(f"{SVG}g[@class='arrow']"):
        corners = [float(number) for number in group.find(SVG + "polygon").get("points").split(" ")]
        arrowheads.setdefault(group.get("data-head"), []).append(sorted(corners[across::2]))
    for side_by_side in arrowheads.values():
        for (*_, end), (start, *_) in pairwise(sorted(side_by_side)):
            assert start > end - 0.11


@pytest.mark.parametrize(("rankdir", "across"), [("LR", 1), ("TB", 0)])
def test_a_chain_is_straight(rankdir, across):
    placed = layout(draw("chain", rankdir))
    centres = {round(r[across] + r[across + 2] / 2) for r in placed.boxes.values()}
    assert len(centres) == 1
    assert all(len(route.points) == 2 for route in placed.arrows)


def test_the_longest_chain_is_straight_and_leaves_hang_beside_it():
    picture = draw("unrolled")
    placed = layout(picture)
    spine = [placed.boxes[box.key] for box in picture.boxes if box.kind == "operation"]
    assert len({r.y + r.height / 2 for r in spine}) == 1


def test_a_leaf_stands_beside_its_user_and_not_at_the_far_end():
    picture = draw("unrolled")
    placed = layout(picture)
    for arrow in picture.arrows:
        leaf = placed.boxes[arrow.tail]
        if arrow.tail in {b.key for b in picture.boxes if b.texts[0].startswith("x")}:
            assert placed.boxes[arrow.head].x - (leaf.x + leaf.width) < 120


def test_leaves_end_where_their_rank_ends():
    picture = draw("polynomial")
    placed = layout(picture)
    constant = next(placed.boxes[box.key] for box in picture.boxes if box.kind == "constant")
    ends = [r.x + r.width for r in placed.boxes.values() if r != constant]
    assert min(abs(constant.x + constant.width - end) for end in ends) < 0.11


def test_equals_share_a_rank():
    centres = {
        box.texts[0]: rectangle.x + rectangle.width / 2
        for box, rectangle in zip(draw("diamond").boxes, layout(draw("diamond")).boxes.values())
    }
    assert centres["exp"] == pytest.approx(centres["sin"], abs=0.11)


def test_an_operation_with_more_operands_than_users_stands_beside_its_operands():
    """One long arrow to the user instead of two from the operands; its result stays with it."""
    s = Sketch()
    x, y = s.leaf("x"), s.leaf("y")
    h, product = s.op("+", x, y), s.op("*", x, y)
    for _ in range(5):
        h = s.op("tanh", h)
    s.op("+", s.op("+", h, product), product)
    placed = layout(s.picture)
    operation, result = placed.boxes[f"{product}.op"], placed.boxes[product]
    assert operation.x - (placed.boxes[y].x + placed.boxes[y].width) < 120
    assert result.x - (operation.x + operation.width) < 60


def test_operands_stand_in_their_order():
    for rankdir, across in (("LR", 1), ("TB", 0)):
        placed = layout(draw("neuron3", rankdir))
        leaves = [r[across] + r[across + 2] / 2 for r in list(placed.boxes.values())[:7]]
        assert leaves == sorted(leaves)


@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_both_arrows_of_x_times_x_are_seen(rankdir, edges):
    first, second, _ = layout(draw("square", rankdir, edges)).arrows
    assert first.points[0] == second.points[0]
    across = 1 if rankdir == "LR" else 0
    assert abs(first.points[-1][across] - second.points[-1][across]) >= 5
    assert (first.plate is not None) == (second.plate is not None) == edges


def test_parallel_arrows_over_several_ranks_keep_apart():
    s = Sketch(edges=False)
    x = s.leaf("x")
    s.op("f", x, s.op("tanh", s.op("exp", x)), x)
    first, _, second = (route.points for route in layout(s.picture).arrows[-4:-1])
    assert first != second
    assert not set(first[1:]) & set(second[1:])


def test_an_empty_picture_and_a_lonely_box_are_pictures():
    assert layout(Picture((), ())).boxes == {}
    assert ET.fromstring(svg(Picture((), ()))).tag == SVG + "svg"
    placed = layout(Picture((Box("a", (), "value"),), ()))
    assert placed.width > placed.boxes["a"].width > 0


def test_pictures_that_break_the_contract_are_refused_with_the_reason():
    a, b = a_box("a", ("a",), "value"), a_box("b", ("b",), "value")
    with pytest.raises(ValueError, match="a key of its own, got 2 boxes with the key 'a'"):
        layout(Picture((b, a, a), ()))
    for arrow in (Arrow("a", "a"), Arrow("a", "z"), Arrow("z", "a")):
        with pytest.raises(ValueError, match=rf"from a box to another box .*tail='{arrow.tail}'"):
            layout(Picture((a, b), (arrow,)))


@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_an_arrow_to_an_earlier_box_goes_back_from_border_to_border(rankdir):
    a, b = a_box("a", ("a",), "value"), a_box("b", ("b",), "value")
    placed = layout(Picture((a, b), (Arrow("a", "b"), Arrow("b", "a", "next step")), rankdir))
    onward, back = placed.arrows
    assert (onward.back, back.back) == (False, True)
    i = ["LR", "TB"].index(rankdir)
    assert back.points[0][i] == placed.boxes["b"][i]  # leaves b where arrows arrive
    assert back.points[-1][i] == placed.boxes["a"][i] + placed.boxes["a"][i + 2]
    assert onward.points[0] == back.points[-1] and back.plate.width > 0


# --- texts


def test_every_text_fits_its_cell(picture):
    """Measured in the font itself, not by the table under test."""
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager, ft2font

    def width(text):
        name = font_manager.FontProperties(family="DejaVu Sans", weight=text.get("font-weight", "normal"))
        font = ft2font.FT2Font(font_manager.findfont(name))
        font.set_size(12, 72)
        font.set_text(text.text or "", 0.0)
        return font.get_width_height()[0] / 64

    for group in ET.fromstring(svg(picture)):
        *_, rect = group.findall(SVG + "rect") or [None]  # of a stack the card in front
        if rect is None:
            continue
        x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
        texts = group.findall(SVG + "text")
        if group.get("class") == "box part":  # lines below each other, the name in bold
            walls = [x, x + w]
            assert [text.get("font-weight") for text in texts] == ["bold", *[None] * (len(texts) - 1)]
            assert all(float(b.get("y")) - float(a.get("y")) >= 15 for a, b in pairwise(texts))
        elif group.get("class") == "arrow":
            walls = [x, x + w]
            assert len(texts) == 1
        else:
            walls = [x, *(float(p.get("d")[1:].split(" ")[0]) for p in group.findall(SVG + "path")), x + w]
            assert len(texts) == len(walls) - 1
        for text, (left, right) in zip(texts, cycle(pairwise(walls))):
            half, middle = width(text) / 2, float(text.get("x"))
            assert left + 2 <= middle - half
            assert middle + half <= right - 2
            assert y < float(text.get("y")) - 9
            assert float(text.get("y")) + 3 < y + h
            if group.get("class") == "box operation":  # the corners of the text, in the ellipse's units
                assert (half / w * 2) ** 2 + (5 / h * 2) ** 2 < 1


def test_widths_are_those_of_the_font_or_more():
    pytest.importorskip("matplotlib")
    from matplotlib import font_manager, ft2font

    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    font.set_size(12, 72)
    greek = "αβγδεζηθικλμνξοπρστυφχψωΣΔΠΩ∂∇∞≤≥×·²³₀₁äöüéñ"
    for character in [chr(c) for c in range(32, 127)] + list(greek):
        advance = font.load_char(ord(character)).linearHoriAdvance / 65536
        assert advance <= text_width(character) + 1e-9, character
    assert text_width("漢字") >= 24
    assert text_width("🙂") >= 16


HOSTILE = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>", "<![CDATA[", "<!--", "&lt;&amp;",
    "'\"`", "{a|b}", "back\\slash\\n", "100 %", "naïve ∂ Σ 漢字 🙂 ́", "", " ", "\u202e right to left", "a\tb",
]  # fmt: skip
REPLACED = {
    "two\nlines": "two⏎lines",
    "a\r\nb": "a⏎b",
    "x\x00y\x1bz": "x\ufffdy\ufffdz",
    "\ud800": "\ufffd",
    "\ufffe": "\ufffd",
}


@pytest.mark.parametrize("label", [*HOSTILE, *REPLACED], ids=ascii)
def test_labels_are_text_and_never_markup(label):
    boxes = (
        a_box(label + "k", (label, "data 1.0"), "parameter"),
        a_box("c", (label,), "constant"),
        a_box("o", (label,), "operation"),
        a_box("p", (label, label), "part", 2),
    )
    picture = Picture(boxes, (Arrow(label + "k", "o", label), Arrow("c", "o"), Arrow("o", "p")))
    document = svg(picture)
    root = ET.fromstring(document.encode("utf-8"))
    assert {e.tag for e in root.iter()} <= {SVG + t for t in ("svg", "g", "rect", "path", "polygon", "text")}
    names = {name for e in root.iter() for name in e.keys()}  # noqa: SIM118
    assert not [n for n in names if n in ("id", "href", "style") or n.startswith(("on", "{"))]
    shown = REPLACED.get(label, label.replace("\t", " "))
    assert one_line(label) == shown
    assert [e.text or "" for e in root.iter(SVG + "text")].count(shown) == (6 if label else 5)
    key = re.sub("[\x00\x1b\ud800\ufffe]", "\ufffd", label + "k")
    assert [g.get("data-key") for g in root.iter(SVG + "g") if g.get("data-key")] == [key, "c", "o", "p"]
    assert root.find(f"{SVG}g[@class='arrow']").get("data-tail") == key


def test_the_document_needs_nothing_else(picture):
    document = svg(picture)
    root = ET.fromstring(document)
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}"
    assert not re.search(r"<style|<script|<marker|\bid=|href|url\(", document)
    assert re.findall(r"https?:[^\"]*", document) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"\d\.\d\d|\de[+-]\d|nan|inf", re.sub(r">[^<]*<|data-\w+=\S*", "", document))
    groups = [g.get("class") for g in root]
    assert groups == ["arrow"] * len(picture.arrows) + [f"box {box.kind}" for box in picture.boxes]
    for arrow, group in zip(picture.arrows, root):
        assert (group.get("data-tail"), group.get("data-head")) == (arrow.tail, arrow.head)


# --- the machine


def run(code, **environment):
    """What the code prints in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
def test_the_same_picture_gives_the_same_bytes_under_every_hash_seed():
    cases = [(name, rankdir) for name in ("micrograd", "layers", "tangle1") for rankdir in ("LR", "TB")]
    pictures = tuple(draw(*case) for case in cases)
    code = (
        "from hashlib import sha256\n"
        "from tinygrad_lite.draw.picture import Arrow, Box, Cell, Picture\n"
        "from tinygrad_lite.draw.svg import svg\n"
        f"for p in {pictures!r}: print(sha256(svg(p).encode()).hexdigest())"
    )
    outputs = {run(code, PYTHONHASHSEED=seed) for seed in ("0", "1", "4242")}
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 6


def test_long_chains_are_drawn_within_a_recursion_limit_of_100():
    code = (
        "import sys\n"
        "from tinygrad_lite.draw.picture import Arrow, Box, Cell, Picture\n"
        "from tinygrad_lite.draw.svg import svg\n"
        "boxes = tuple(Box(str(i), (Cell(str(i), 'label'),), 'value') for i in range(3000))\n"
        "arrows = tuple(Arrow(str(i), str(i + 1), '1.0') for i in range(2999))\n"
        "sys.setrecursionlimit(100)\n"
        "print(len(svg(Picture(boxes, arrows)).split('<g ')))"
    )
    assert run(code).strip() == "6000"


@pytest.mark.parametrize("sketch", [tangle(0, 500), lambda s: unrolled(s, 70)], ids=["tangle", "unrolled"])
def test_500_boxes_are_drawn(sketch):
    s = Sketch()
    sketch(s)
    placed = layout(s.picture)
    assert len(s.boxes) >= 490
    assert not pairs_too_close(placed.boxes.values(), least=7.5)


def test_the_layout_needs_the_standard_library_alone():
    code = (
        "import sys\n"
        "from tinygrad_lite.draw.svg import svg\n"
        "print([m for m in ('numpy', 'graphviz', 'matplotlib') if m in sys.modules])"
    )
    assert run(code).strip() == "[]"
