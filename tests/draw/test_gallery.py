"""The gallery, drawn: few boxes, none over another, every scalar edge accounted for, in little work."""

import itertools
import re
import shutil
from collections import Counter
from xml.etree import ElementTree

import pytest

from tinygrad_lite import Value, draw_dot, player
from tinygrad_lite.draw import layout as layouts
from tinygrad_lite.draw.fold import folded, part_of
from tinygrad_lite.draw.layout import layout
from tinygrad_lite.engine import topological_order

from .gallery import GALLERY, hundred_moons_with_sum, recurrent_by_hand

EVERY = pytest.mark.parametrize("name", GALLERY)
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot program is not installed")


@pytest.fixture(scope="module")
def drawn():
    """name -> the graph and its picture, each made once."""
    made = {}

    def draw(name):
        if name not in made:
            root = GALLERY[name][0]()
            made[name] = root, draw_dot(root)
        return made[name]

    return draw


def scalar_edges(root):
    """(box, box) -> how many scalar edges run between them, and (box, itself) between its copies, one by one."""
    parts = folded(topological_order(root))
    owner, copy = part_of(parts), {}
    for part in parts:
        for i, v in enumerate(part.values):
            copy[v] = i * part.copies // len(part.values)
    edges = Counter()
    for node in topological_order(root):
        for x in node.args:
            if isinstance(x, Value):
                tail, head = owner[x], owner[node]
                if tail is not head or copy.get(x, copy[node]) != copy[node]:
                    edges[tail.key, head.key] += 1
    return edges


def drawn_edges(picture):
    """The same by what the arrows say; the box of a state's way to the next step, or of an operation, is on the way."""
    edges = Counter()
    keys = {box.key for box in picture.boxes if box.kind in ("value", "parameter", "part")}
    for tail, head, text in picture.arrows:
        count = re.search(r"×([\d,]+)$", text)
        if tail in keys and head.removesuffix(".op").removesuffix(".next") in keys:
            head = head.removesuffix(".op").removesuffix(".next")
            edges[tail, head] += int(count[1].replace(",", "")) if count else 1
    return edges


@EVERY
@pytest.mark.sample(6)
def test_a_graph_by_any_hand_is_drawn_in_few_boxes(name, drawn):
    root, drawing = drawn(name)
    assert 2 <= len(drawing.picture.boxes) <= GALLERY[name][1]
    assert set(part_of(folded(topological_order(root)))) == set(topological_order(root))


@EVERY
@pytest.mark.sample(3)
def test_its_arrows_account_for_every_scalar_edge(name, drawn):
    root, drawing = drawn(name)
    assert drawn_edges(drawing.picture) == scalar_edges(root)


@EVERY
@pytest.mark.sample(3)
def test_none_of_its_boxes_covers_another(name, drawn):
    placed = layout(drawn(name)[1].picture)
    for a, b in itertools.combinations(placed.boxes.values(), 2):
        apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y or b.y + b.height <= a.y
        assert apart
    for box in placed.boxes.values():
        assert box.x >= 0 and box.x + box.width <= placed.width and box.y + box.height <= placed.height


@EVERY
@pytest.mark.sample(3)
def test_it_appears_without_graphviz(name, drawn, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    drawing = drawn(name)[1]
    boxes = [e for e in ElementTree.fromstring(drawing.svg()).iter() if e.get("class", "").startswith("box")]
    assert len(boxes) == len(drawing.picture.boxes)


@needs_dot
@EVERY
@pytest.mark.sample(2)
def test_graphviz_draws_it_too(name, drawn):
    drawing = drawn(name)[1]
    written = drawing.pipe("plain", encoding="utf-8")
    assert sum(line.startswith("node ") for line in written.splitlines()) == len(drawing.picture.boxes)


@EVERY
@pytest.mark.sample(2)
def test_the_player_ends_with_the_gradients_of_backward(name, drawn):
    root = drawn(name)[0]
    frames, grads = player(root).frames, {}
    for frame in frames:
        grads.update(frame.grads)
    root.backward()
    reached = [v for v in topological_order(root) if v in grads]
    assert {v: grads[v] for v in reached} == {v: v.grad for v in reached}


@pytest.mark.long
def test_the_work_for_a_hundred_examples_is_that_for_ten_and_their_own(monkeypatch):
    """Work is counted: a timing would depend on the machine. One layout per direction, of the same few boxes."""
    sizes = []
    ordered = layouts._ordered
    monkeypatch.setattr(layouts, "_ordered", lambda nodes: (sizes.append(len(nodes)), ordered(nodes))[1])
    layout.cache_clear()
    draw_dot(hundred_moons_with_sum())
    assert 1 <= len(sizes) <= 2 and max(sizes) < 60


def test_a_cell_unrolled_in_time_is_drawn_once_with_the_state_going_back():
    picture = draw_dot(recurrent_by_hand()).picture
    (tanh,) = [box for box in picture.boxes if box.texts[0] == "tanh"]
    assert tanh.copies == 12
    (back,) = [arrow for arrow in picture.arrows if "next step" in arrow.text]
    assert back.tail == tanh.key and back.text == "next step ×11"
