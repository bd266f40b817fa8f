"""draw_dot: what is drawn, that it is true, and that labels are data."""

import base64
import re
import shutil
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tinygrad_lite import Value, dot, draw_dot, nn, player, relu, tanh
from tinygrad_lite.draw.picture import HEADINGS, PHASES, TEXTS
from tinygrad_lite.draw.svg import svg

HOSTILE = [
    "<b>x</b>", 'say "hi"', "back\\slash \\n \\l", "\\N \\G \\", "{a|b}", "&lt;", "<script>alert(1)</script>",
    '"><img onerror=alert(1)>', "]]>", "naïve ∂ 漢字", "a\nb", "x\x00y",
]  # fmt: skip
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz's dot program is not installed")


@pytest.fixture
def without_dot(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)


def neuron():
    w, x = [Value(-3.0, "w1"), Value(1.0, "w2")], [Value(2.0, "x1"), 0.5]
    out = tanh(dot(w, x, Value(6.0, "b")))
    out.label = "out"
    return out


def texts(picture):
    return [box.texts for box in picture.boxes]


def test_records_show_label_data_and_gradient_and_operations_stand_between():
    a = Value(2.0, "a")
    y = a * 3
    before = texts(draw_dot(y).picture)
    assert ("a", "data 2.0000", "grad -") in before
    y.backward()
    after = draw_dot(y).picture
    assert texts(after) == [("a", "data 2.0000", "grad 3.0000"), ("3",), ("*",), ("out", "data 6.0000", "grad 1.0000")]
    assert [box.kind for box in after.boxes] == ["parameter", "constant", "operation", "value"]


def test_a_computed_zero_gradient_is_told_from_an_unreached_one():
    a, b = Value(1.0, "a"), Value(-2.0, "b")
    (a * 0 + relu(b)).backward()
    shown = texts(draw_dot(a * b).picture)
    assert ("a", "data 1.0000", "grad 0.0000") in shown
    assert ("b", "data -2.0000", "grad -") in shown


def test_every_edge_carries_the_local_derivative_of_its_operand():
    a, b = Value(2.0, "a"), Value(5.0, "b")
    picture = draw_dot(a * b).picture
    label = {box.key: box.texts[0] for box in picture.boxes}
    assert {(label[t], text) for t, h, text in picture.arrows if text} == {("a", "5.0000"), ("b", "2.0000")}
    assert all(text == "" for _, _, text in draw_dot(a * b, edges=False).picture.arrows)


def test_x_times_x_has_two_arrows():
    x = Value(3.0)
    arrows = draw_dot(x * x).picture.arrows
    assert sum(a.tail == arrows[0].tail for a in arrows) == 2


def test_an_expanded_dot_is_its_products_and_their_sum():
    out = neuron()
    out.backward()
    plain, expanded = draw_dot(out).picture, draw_dot(out, expand=True).picture
    symbols = [box.texts[0] for box in expanded.boxes if box.kind == "operation"]
    assert sorted(symbols) == ["*", "*", "sum", "tanh"]
    assert sorted(box.texts[0] for box in plain.boxes if box.kind == "operation") == ["dot", "tanh"]
    products = [box.texts[0] for box in expanded.boxes if ".product" in box.key]
    assert products == ["data -6.0000", "data 0.5000"]
    keys = {box.key for box in expanded.boxes}
    assert all(a.tail in keys and a.head in keys for a in expanded.arrows)


def test_very_large_and_small_numbers_keep_their_digits():
    shown = [texts(draw_dot(Value(x)).picture)[0][1] for x in (1234567.0, 0.00001234, -0.0, float("nan"), 1e300)]
    assert shown == ["data 1.235e+06", "data 1.234e-05", "data -0.0000", "data nan", "data 1.000e+300"]


def test_more_than_five_hundred_boxes_are_refused_with_what_to_do_instead():
    v = Value(1.0)
    for _ in range(500):
        v = -v
    with pytest.raises(ValueError, match=r'1,001 boxes .*one neuron.*fold="auto".*draw_dot\(\.\.\., limit=1001\)'):
        draw_dot(v, fold=0)
    assert len(draw_dot(v, fold=0, limit=1001).picture.boxes) == 1001


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3.0,), TypeError, "expects a Value, got 3.0"),
        (([Value(1.0)],), TypeError, "draw one of them"),
        ((nn.MLP(2, [1], seed=0),), TypeError, r"got the model MLP: call it .* draw_dot\(model\(x\)\)"),
        ((Value(1.0), "svg", "UP"), ValueError, 'rankdir is "auto", "LR" .* or "TB"'),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, error, message):
    with pytest.raises(error, match=message):
        draw_dot(*arguments)


def test_a_missing_graphviz_package_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ImportError, match="pip install graphviz"):
        draw_dot(Value(1.0))


def drawn_texts(svg):
    root = ET.fromstring(svg)
    return ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text")], root


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_are_text_and_never_markup_in_our_own_layout(label, without_dot):
    check_label(label)


@needs_dot
@pytest.mark.parametrize("label", HOSTILE)
def test_labels_are_text_and_never_markup_with_graphviz(label):
    check_label(label)


def check_label(label):
    v = Value(1.0, label) * Value(2.0)
    v.label = label
    shown, root = drawn_texts(draw_dot(v).svg())
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in label)
    near = {plain, label.replace("\n", "⏎").replace("\x00", "\N{REPLACEMENT CHARACTER}"), label.replace("\n", " ")}
    assert sum(text.replace("\xa0", " ").strip() in {n.strip() for n in near} for text in shown) == 2, shown
    assert not [e for e in root.iter() if e.tag.rpartition("}")[2] in ("script", "b", "img")]


def test_a_picture_appears_without_graphviz(without_dot, tmp_path):
    drawing = draw_dot(neuron())
    for path in drawing.render("a", tmp_path), drawing.render(tmp_path / "deep" / "b"):
        assert ET.parse(path).getroot().tag.endswith("svg")
    assert drawing.pipe() == drawing.pipe(encoding="utf-8").encode()
    assert "tanh" in drawing.pipe(encoding="utf-8")


@pytest.mark.parametrize("write", [lambda d: d.pipe("png"), lambda d: d.render("x", format="pdf")])
def test_another_format_without_graphviz_says_what_to_install(write, without_dot, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="without Graphviz's `dot` program only svg"):
        write(draw_dot(neuron()))
    assert list(tmp_path.iterdir()) == []


@needs_dot
def test_with_graphviz_every_format_renders(tmp_path):
    drawing = draw_dot(neuron(), format="png")
    assert Path(drawing.render("n", tmp_path, cleanup=True)).read_bytes().startswith(b"\x89PNG")
    assert drawing.pipe("pdf").startswith(b"%PDF")


def test_an_option_of_dots_for_a_file_name_says_what_to_write():
    with pytest.raises(ValueError, match=r"render\('graph', format='png'\), got '-Tpng'"):
        draw_dot(neuron()).render("-Tpng")


@needs_dot
def test_a_label_that_is_too_long_for_graphviz_is_drawn_by_our_own_layout():
    drawing = draw_dot(Value(1.0, "x" * 20_000) * 2)
    assert "x" * 20_000 in drawing.svg()
    with pytest.raises(ValueError, match=r"at most 16 kB, got 20,.* use format='svg'"):
        drawing.pipe("png")


@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_a_notebook_gets_one_img_and_nothing_that_runs(rankdir):
    (html,) = draw_dot(neuron(), rankdir=rankdir)._repr_mimebundle_().values()
    (data,) = re.fullmatch(r'<img [^>]*src="data:image/svg\+xml;base64,([^"]+)">', html).groups()
    shown, root = drawn_texts(base64.b64decode(data))
    assert "tanh" in [s.strip() for s in shown]
    assert not [e for e in root.iter() if e.tag.endswith("script")]


def test_a_wide_picture_keeps_texts_of_ten_pixels_in_a_notebook():
    drawing = draw_dot(nn.MLP(2, [3, 1], seed=0)([Value(0.5, "x"), 2.0]), fold=1, rankdir="LR")
    least = float(re.search(r"min-width:(\d+)px", drawing._repr_mimebundle_()["text/html"])[1])
    root = ET.fromstring(drawing.svg())
    assert float(root.get("font-size")) * least / float(root.get("width")) == pytest.approx(10, rel=0.01)


def test_the_same_graph_gives_the_same_source():
    assert draw_dot(neuron()).source == draw_dot(neuron()).source


# --- one table of styles


def texts_in(colour, document):
    found = [e for e in ET.fromstring(document).iter() if e.tag.rpartition("}")[2] in ("text", "tspan")]
    return {e.text.removeprefix(" · ") for e in found if e.get("fill") == colour}


def cells_of(boxes):
    return [cell for box in boxes for first in box for cell in (first, *first.more)]


@pytest.mark.parametrize("fold", [0, 1, 2])
@pytest.mark.parametrize("role", TEXTS)
def test_another_colour_of_a_role_is_another_colour_of_its_texts_wherever_they_are_drawn(role, fold, monkeypatch):
    out = nn.MLP(2, [3, 1], seed=0)([Value(0.5, "x"), 2.0])
    out.backward()
    monkeypatch.setitem(TEXTS, role, "#abcdef")
    picture, film = draw_dot(out, fold=fold).picture, player(out, fold=fold)
    shown = {cell.text for cell in cells_of(box.cells for box in picture.boxes) if cell.role == role}
    arrows = {arrow.text for arrow in picture.arrows if arrow.text and role == "derivative"}
    assert texts_in("#abcdef", svg(picture)) == shown | arrows
    source = draw_dot(out, fold=fold).source
    assert ("#abcdef" in source) == bool(shown)
    if role == "grad":  # inside a box of another colour
        assert all(f'<font color="#abcdef">{text}</font>' in source for text in shown)
    animated = cells_of(cells for frame in film.frames for cells in frame.cells.values())
    still = {"symbol": shown, "constant": shown, "derivative": arrows}.get(role, set())
    assert texts_in("#abcdef", film.svg) == {cell.text for cell in animated if cell.role == role and cell.text} | still


def test_every_role_has_texts_in_one_of_these_pictures():
    out = nn.MLP(2, [3, 1], seed=0)([Value(0.5, "x"), 2.0])
    boxes = [box for fold in (0, 1, 2) for box in draw_dot(out, fold=fold).picture.boxes]
    assert {cell.role for cell in cells_of(box.cells for box in boxes)} == set(TEXTS) - {"derivative"}


def test_the_players_script_takes_its_colours_from_the_table():
    script = player(Value(1.0) * 2.0).html
    assert not re.search(r"%[a-z-]+%", script)
    for colour in (*PHASES.values(), *HEADINGS.values()):
        assert colour in script
