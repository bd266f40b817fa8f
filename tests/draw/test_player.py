"""player: what its frames say is what backward computes, and what it writes is one safe, small page."""

import base64
import hashlib
import math
import random
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tinygrad_lite import Value, data, dot, jit, maximum, mean, nn, relu, sin, where
from tinygrad_lite.draw.fold import folded
from tinygrad_lite.draw.player import player
from tinygrad_lite.draw.sketch import sketched
from tinygrad_lite.engine import scope, topological_order
from tinygrad_lite.notation import decimals

pytestmark = pytest.mark.sample(4)

HOSTILE = [
    "<b>x</b>", 'say "hi"', "back\\slash \\n", "{a|b}", "&lt;", "<script>alert(1)</script>", "</script>",
    '"><img src=x onerror=alert(1)>', "]]>", "naïve ∂ 漢字", "a\nb", "x\x00y", "a;b", "#f0", "<!--", "\u202e", "\u2028",
    "v1", "x" * 200,
]  # fmt: skip


def random_graph(seed, size=30, leaves=5):
    """Many users of the same Values, x * x, dead relus and operands that are not selected."""
    rng = random.Random(seed)
    values = [Value(rng.uniform(-2, 2), f"x{i}") for i in range(leaves)]
    while len(values) < size:
        a, b, c = (rng.choice(values[-8:]) for _ in range(3))
        make = rng.choice(
            [
                lambda: a * b, lambda: a + b, lambda: a - b, lambda: a * a, lambda: a * 0.5, lambda: 1 + a,
                lambda: relu(a), lambda: sin(a), lambda: a.tanh(), lambda: maximum(a, b, c),
                lambda: where(a > 0, b, c), lambda: dot([a, b], [c, a]),
                lambda: mean([a, b, b]), lambda: -a, lambda: a.clip(-0.5, 0.5),
            ]
        )  # fmt: skip
        values.append(make())
    return values[-1]


def mlp():
    return nn.MLP(2, [16, 16, 1], seed=1)([Value(0.5, "x"), Value(-1.0, "y")])


def loss():
    X, y = data.moons(20, noise=0.1, seed=1)
    model = nn.MLP(2, [4, 4, 1], seed=1)
    with scope("loss"):
        return mean([nn.hinge(model(x), side) for x, side in zip(X, y)])


def fifty():
    """50 Values: 13 leaves and 37 operations of two operands."""
    rng = random.Random(3)
    values = [Value(rng.uniform(-1, 1), f"x{i}") for i in range(13)]
    unused = list(values)
    for _ in range(25):
        a, b = unused.pop(0), rng.choice(values[-8:])
        values.append(rng.choice([a * b, a + b, a - b, dot([a], [b])]))
        unused.append(values[-1])
    while len(unused) > 1:
        unused.append(unused.pop(0) + unused.pop(0))
    return unused[0]


GRAPHS = {f"random{seed}": (lambda seed=seed: random_graph(seed)) for seed in range(25)}
FOLDED = {"mlp": mlp, "loss": loss}
every_graph = pytest.mark.parametrize("make", (GRAPHS | FOLDED).values(), ids=GRAPHS | FOLDED)
every_unfolded = pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)


def final(frames):
    """The gradients that are shown in the end."""
    shown = {}
    for frame in frames:
        shown |= frame.grads
    return shown


# --- the frames are true


@every_graph
def test_the_last_gradients_are_those_of_backward_to_the_last_bit(make):
    root = make()
    shown = final(player(root).frames)
    root.backward()
    for node in topological_order(root):
        if node in shown:
            assert shown[node] == node.grad or (math.isnan(shown[node]) and math.isnan(node.grad))
        else:
            assert node.grad == 0.0


@every_graph
def test_every_scalar_edge_that_sends_something_is_shown_once_with_its_true_numbers(make):
    root = make()
    frames = player(root).frames
    root.backward()
    sent = [use for frame in frames for use in frame.sent]
    reached = final(frames)
    edges = [
        (id(node), i)
        for node in topological_order(root)
        for i, dx in enumerate(node.local_grads)
        if node in reached and dx is not None
    ]
    assert sorted((id(use.user), use.place) for use in sent) == sorted(edges)
    for use in sent:
        assert (use.upstream, use.local) == (use.user.grad, use.user.local_grads[use.place])


@every_graph
def test_running_sums_add_up_contribution_by_contribution(make):
    root = make()
    sums, sizes = {root: 1.0}, {root: 1.0}
    for frame in player(root).frames:
        for use in frame.sent:
            sums[use.operand] = sums.get(use.operand, 0.0) + use.contribution
            sizes[use.operand] = sizes.get(use.operand, 0.0) + abs(use.contribution)
        for node, shown in frame.grads.items():
            assert shown == pytest.approx(sums[node], rel=0, abs=1e-14 * sizes[node], nan_ok=True)


@every_unfolded
def test_a_node_sends_only_when_its_own_sum_is_complete(make):
    root = make()
    shown = {}
    complete = final(player(root).frames)
    for frame in player(root).frames:
        for use in frame.sent:
            assert shown[use.user] == complete[use.user]
        shown |= frame.grads


def test_the_graph_is_left_as_it_was_and_what_is_in_grad_does_not_matter():
    root = random_graph(1)
    before = player(root).html
    root.backward()
    root.backward()
    grads = [node.grad for node in topological_order(root)]
    assert player(root).html == before
    assert [node.grad for node in topological_order(root)] == grads


def lesson():
    x, y = Value(2.0, "x"), Value(-3.0, "y")
    f = x * y + x.sin()
    f.label = "f"
    return player(f)


def test_a_lesson_reads_like_this():
    assert [" | ".join(frame.lines) for frame in lesson().frames] == [
        "forward: inputs and parameters are given | x = 2.0000, y = -3.0000",
        "forward | v1 = x * y = 2.0000 × -3.0000 = -6.0000 | local derivatives: ∂v1/∂x = -3.0000, ∂v1/∂y = 2.0000",
        "forward | v2 = sin(x) = sin(2.0000) = 0.9093 | local derivatives: ∂v2/∂x = -0.4161",
        "forward | f = v1 + v2 = -6.0000 + 0.9093 = -5.0907 | local derivatives: ∂f/∂v1 = 1.0000, ∂f/∂v2 = 1.0000",
        "backward: start at the result | ∂f/∂f = 1",
        "backward: from f to v1 | upstream ∂f/∂f × local ∂f/∂v1 = 1.0000 × 1.0000 = 1.0000 | ∂f/∂v1 = 1.0000",
        "backward: from f to v2 | upstream ∂f/∂f × local ∂f/∂v2 = 1.0000 × 1.0000 = 1.0000 | ∂f/∂v2 = 1.0000",
        "backward: from v2 to x | upstream ∂f/∂v2 × local ∂v2/∂x = 1.0000 × -0.4161 = -0.4161 | "
        "∂f/∂x = -0.4161 (1 of 2 contributions)",
        "backward: from v1 to x | upstream ∂f/∂v1 × local ∂v1/∂x = 1.0000 × -3.0000 = -3.0000 | "
        "∂f/∂x = -0.4161 + -3.0000 = -3.4161 (2 of 2 contributions)",
        "backward: from v1 to y | upstream ∂f/∂v1 × local ∂v1/∂y = 1.0000 × 2.0000 = 2.0000 | ∂f/∂y = 2.0000",
        "done: all gradients | ∂f/∂x = -3.4161, ∂f/∂y = 2.0000",
    ]


def test_the_node_and_the_edge_of_a_frame_are_lit():
    frames, picture = lesson().frames, sketched(folded(topological_order(small()), 0))
    assert frames[3].boxes == ("v4.op", "v4")
    from_v1_to_x = frames[8]
    assert from_v1_to_x.boxes == ("v2.op", "v2", "v0")
    assert [picture.arrows[i][:2] for i in from_v1_to_x.arrows] == [("v2.op", "v2"), ("v0", "v2.op")]


def small():
    x, y = Value(2.0, "x"), Value(-3.0, "y")
    return x * y + x.sin()


def test_x_times_x_lights_one_of_its_two_arrows_at_a_time():
    x = Value(3.0, "x")
    first, second = [frame for frame in player(x * x).frames if frame.sent]
    assert set(first.arrows) != set(second.arrows)
    assert second.lines[-1] == "∂out/∂x = 3.0000 + 3.0000 = 6.0000 (2 of 2 contributions)"


def test_what_is_not_selected_is_sent_nothing_and_keeps_its_dash():
    x, z = Value(-1.0, "x"), Value(2.0, "z")
    frames = player(relu(x) + z).frames
    (words,) = [frame.lines[-1] for frame in frames if "nothing is sent" in frame.lines[-1]]
    assert words == "it does not depend on x here: nothing is sent"
    assert x not in final(frames)
    assert frames[-1].lines[-1] == "not reached, hence without a gradient: x"
    assert "grad -" in shown(player(relu(x) + z), len(frames) - 1)["v0"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a, b: -b, "out = -b = -(-3.0000) = 3.0000"),
        (lambda a, b: b**2, "out = b**2 = (-3.0000)**2 = 9.0000"),
        (lambda a, b: 2 * a, "out = 2 * a = 2 × 2.0000 = 4.0000"),
        (
            lambda a, b: dot([a, b], [b, 0.5], a),
            "out = a * b + b * 0.5 + a = 2.0000 × -3.0000 + -3.0000 × 0.5 + 2.0000",
        ),
        (lambda a, b: mean([a, b]), "out = mean(a, b) = mean(2.0000, -3.0000) = -0.5000"),
        (lambda a, b: maximum(a, b, 1.0, 2.5, 0.25, 7.0), "out = max(a, b, 1, … (6 in all)) = max(2.0000"),
        (lambda a, b: abs(b), "out = abs(b) = abs(-3.0000) = 3.0000"),
    ],
)
def test_formulas_are_written_as_one_would(make, words):
    assert player(make(Value(2.0, "a"), Value(-3.0, "b"))).frames[1].lines[1].startswith(words)


def test_a_node_with_many_operands_gets_one_frame():
    xs = [Value(i / 10, f"x{i}") for i in range(20)]
    (frame,) = [frame for frame in player(dot(xs[:10], xs[10:])).frames if frame.sent]
    assert len(frame.sent) == 20
    assert frame.lines[1] == "∂out/∂out = 1.0000 × the local derivatives of 20 operands"
    assert frame.lines[2].startswith("x0: 1.0000 → 1.0000, x1: 1.1000 → 1.1000")


def test_folded_parts_compute_and_send_in_one_go():
    text = "\n".join([" | ".join(frame.lines) for frame in player(mlp(), fold=1).frames])
    for wanted in (
        r"forward \| layers.0 computes 32 scalars from x, y \| 16 outputs: 0.0000 .. ",
        r"backward: through layers.1 \| ∂out/∂output = .* at 16 outputs \| the chain rule runs back through 32 scalars",
        r"backward: from layers.1 to layers.0 \| \d+ products upstream × local: .*, such as .* = .* \| 16 gradients",
        r"done: all gradients \| ∂out/∂x = .*, ∂out/∂y = .* \| layers.0: \d+ gradients",
    ):
        assert re.search(wanted, text), text


def test_a_stack_is_called_by_how_many_and_what():
    heads = [frame.lines[0] for frame in player(loss()).frames]
    assert "backward: from out to 20 × ReLU" in heads and "backward: from 20 × ReLU to 20 × -" in heads


def test_a_part_that_passes_nothing_on_says_so():
    x, y = Value(-1.0, "x"), Value(3.0, "y")
    with scope("dead"):
        z = relu(x)
    frames = player(z + y, fold=["dead"]).frames
    assert "it does not depend on its operands here: nothing is sent" in [frame.lines[-1] for frame in frames]


def test_a_folded_parameter_that_others_use_too_shows_the_whole_sum():
    model = nn.MLP(2, [2, 1], seed=1)
    root = model([1.0, 2.0]) + nn.l2(model.parameters(), 0.1)
    (frame,) = [frame for frame in player(root, fold=1).frames if frame.lines[0] == "backward: through layers.1"]
    root.backward()
    grads = [p.grad for p in model.layers[1].parameters()]
    assert frame.lines[-1].endswith(f"gradients of its 3 parameters: {decimals(min(grads))} .. {decimals(max(grads))}")


def test_numbers_that_changed_after_the_forward_pass_are_pointed_out():
    w = Value(2.0, "w")
    root = w * Value(math.nan, "x") + w * 3
    assert player(root).frames[0].lines[1:] == ("w = 2.0000, x = nan",)
    w.data -= 0.1
    assert player(root).frames[0].lines[-1].startswith("some .data was changed after the forward pass")


def test_a_compiled_loss_has_a_lesson_too():
    pytest.importorskip("llvmlite")
    model = nn.MLP(2, [3, 1], seed=1)
    root = jit(lambda x: model(x)).mean([[1.0, 2.0], [0.5, -1.0]])
    shown = final(player(root).frames)
    root.backward()
    assert [shown[p] for p in root.args] == [p.grad for p in root.args]


def test_names_are_not_given_twice():
    v1 = Value(1.0, "v1")
    out = Value(2.0, "out")
    frames = player((v1 + 1) * out).frames
    assert frames[1].lines[1].startswith("v2 = v1 + 1")
    assert frames[2].lines[1].startswith("result = v2 * out")


@pytest.mark.parametrize("x", [math.nan, math.inf, -0.0, 1e300, 5e-324])
def test_numbers_at_the_edge_are_shown(x):
    a = Value(x, "a")
    frames = player(a * 2.0 + a).frames
    assert decimals(x) in frames[0].lines[1]
    assert final(frames)[a] == 3.0


def test_a_leaf_alone_is_a_short_lesson():
    frames = player(Value(3.0, "x")).frames
    assert [frame.lines[-1] for frame in frames] == ["x = 3.0000", "∂x/∂x = 1", "∂x/∂x = 1.0000"]


def test_a_long_chain_is_refused_with_what_to_do_instead():
    v = Value(1.0)
    for _ in range(10_000):
        v = -v
    with pytest.raises(ValueError, match=r"20,001 boxes .*one neuron.*player\(\.\.\., limit=20001\)"):
        player(v, fold=0)


def test_a_long_chain_in_one_part_needs_no_recursion():
    limit = sys.getrecursionlimit()
    with scope("long"):
        v = Value(1.0, "x")
        for _ in range(10_000):
            v = -v
    sys.setrecursionlimit(200)
    try:
        frames = player(v).frames
    finally:
        sys.setrecursionlimit(limit)
    assert sum(len(frame.sent) for frame in frames) == 10_000


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3.0,), TypeError, "player expects a Value, got 3.0"),
        (([Value(1.0)],), TypeError, "play one of them"),
        ((Value(1.0), "auto", "UP"), ValueError, 'rankdir is "auto", "LR" .* or "TB"'),
        ((Value(1.0), ["layers.7"]), ValueError, "layers.7"),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, error, message):
    with pytest.raises(error, match=message):
        player(*arguments)


def test_it_works_without_the_graphviz_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "graphviz", None)
    assert "<script>" in player(Value(1.0) + 2)._repr_mimebundle_()["text/html"]


# --- the animated picture shows the frames


def tag(element):
    return element.tag.rpartition("}")[2]


def at_frame(element, name, t, frames):
    """An attribute's value at a frame, by SMIL's rules for calcMode="discrete"."""
    value = element.get(name)
    for animate in element:
        if tag(animate) == "animate" and animate.get("attributeName") == name:
            begins = [float(time) * frames for time in animate.get("keyTimes").split(";")]
            value = [v for v, begin in zip(animate.get("values").split(";"), begins, strict=True) if begin <= t + 0.01][
                -1
            ]
    return value


def shown(lesson, t):
    """Box -> the texts that are seen at a frame."""
    found = {}
    for group in ET.fromstring(lesson.svg).iter():
        if group.get("data-key"):
            texts = [e for e in group if tag(e) == "text" and at_frame(e, "opacity", t, len(lesson.frames)) != "0"]
            found[group.get("data-key")] = [e.text for e in texts]
    return found


@pytest.mark.parametrize("make", [*GRAPHS.values()][:5] + [*FOLDED.values()])
def test_the_picture_shows_each_frame_as_it_says(make):
    lesson = player(make())
    root = ET.fromstring(lesson.svg)
    (use,) = [e for e in root.iter() if e.get("class") == "lit"]
    ids = {e.get("id"): e for e in root.iter() if e.get("id")}
    cells = {}
    for t, frame in enumerate(lesson.frames):
        cells |= frame.cells
        if t % 7 == 0 or t > len(lesson.frames) - 3:
            seen = shown(lesson, t)
            assert {key: sorted(seen[key]) for key in cells} == {
                key: sorted(cell.line for cell in changed if cell.line) for key, changed in cells.items()
            }
        lit = ids[at_frame(use, "href", t, len(lesson.frames)).removeprefix("#")]
        wanted = [f"#a{i}" for i in frame.arrows] + [f"#h{key}" for key in frame.boxes]
        assert [e.get("href") for e in lit] == wanted
        assert all(href.removeprefix("#") in ids for href in wanted)


def test_numbers_appear_when_their_node_has_its_turn_and_gradients_when_they_are_reached():
    film = lesson()
    assert shown(film, 0)["v4"] == ["f", "grad -"]
    assert shown(film, 0)["v0"] == ["x", "data 2.0000", "grad -"]
    assert shown(film, 3)["v4"] == ["f", "data -5.0907", "grad -"]
    assert [shown(film, t)["v0"][-1] for t in (6, 7, 8, 10)] == [
        "grad -",
        "grad -0.4161",
        "grad -3.4161",
        "grad -3.4161",
    ]


def test_without_animation_the_picture_shows_the_last_frame():
    film = lesson()
    root = ET.fromstring(film.svg)
    for element in root.iter():
        for animate in [e for e in element if tag(e) == "animate"]:
            last = animate.get("values").split(";")[-1]
            assert element.get(animate.get("attributeName"), "1") == last


def test_captions_are_in_the_picture_word_for_word():
    film = player(nn.MLP(2, [3, 1], seed=1)([Value(0.5, "x"), Value(-1.0, "y")]))
    (captions,) = [e for e in ET.fromstring(film.svg).iter() if e.get("class") == "captions"]
    groups = [e for e in captions.iter() if tag(e) == "g"]
    assert [g.get("class") for g in groups] == [frame.phase for frame in film.frames]
    for t, (group, frame) in enumerate(zip(groups, film.frames, strict=True), 1):
        head, *lines = ["".join(text.itertext()) for text in group]
        assert (head, *lines) == (f"{t} / {len(film.frames)} · {frame.lines[0]}", *frame.lines[1:])


# --- what is written


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.data, self.inside = [], [], {}, ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        self.data[self.inside] = self.data.get(self.inside, "") + data


def picture_of(page):
    (src,) = [value for name, value in page.attributes if name == "src"]
    return base64.b64decode(src.removeprefix("data:image/svg+xml;base64,"), validate=True).decode()


def test_a_notebook_gets_one_img_and_one_script():
    film = lesson()
    page = Page(film._repr_mimebundle_()["text/html"])
    assert page.tags == ["div", "img", "script"]
    assert picture_of(page) == film.svg
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "innerHTML" not in page.data["script"] and "eval(" not in page.data["script"]


def test_a_saved_page_is_complete_and_may_run_only_its_own_script(tmp_path):
    film = lesson()
    path = film.save(tmp_path / "deep" / "x.html")
    assert path == str(tmp_path / "deep" / "x.html")
    text = Path(path).read_bytes().decode()
    assert text.startswith("<!DOCTYPE html>")
    page = Page(text)
    (policy,) = re.findall(r'content="(default-src[^"]*)"', text)
    digest = base64.b64encode(hashlib.sha256(page.data["script"].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert page.tags.count("script") == 1 and picture_of(page) == film.svg
    assert set(re.findall(r"https?://[^\"'\s<)]*", text + film.svg)) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("label", HOSTILE)
def test_labels_are_text_and_never_markup(label, tmp_path):
    v = Value(1.0, label) * Value(2.0, "w")
    v.label = label
    film = player(v)
    page = Page(Path(film.save(tmp_path / "x.html")).read_text(encoding="utf-8"))
    assert page.tags == ["html", "head", "meta", "meta", "meta", "title", "style", "body", "div", "img", "script"]
    root = ET.fromstring(film.svg)
    known = {"svg", "g", "rect", "path", "polygon", "text", "tspan", "defs", "use", "animate"}
    assert {tag(e) for e in root.iter()} <= known
    plain = label.replace("\n", "⏎").replace("\x00", "\ufffd").replace("\u2028", "⏎")
    assert sum(e.text == plain for e in root.iter() if tag(e) == "text") == 2
    assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]


def test_ids_are_unique_in_a_picture():
    ids = [e.get("id") for e in ET.fromstring(player(mlp()).svg).iter() if e.get("id")]
    assert len(ids) == len(set(ids))


def test_different_lessons_have_different_names_and_the_same_lesson_the_same_bytes(tmp_path):
    name = re.compile(r'data-player="(\w+)"')
    first, second, other = lesson(), lesson(), player(Value(1.0) + 2)
    assert first.html == second.html
    assert name.search(first.html)[1] != name.search(other.html)[1]
    pages = [Path(film.save(tmp_path / f"{i}.html")).read_bytes() for i, film in enumerate((first, second))]
    assert pages[0] == pages[1]


@pytest.mark.long
def test_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    code = (
        "import hashlib\n"
        "from tinygrad_lite import Value, data, mean, nn\n"
        "from tinygrad_lite.draw.player import player\n"
        "X, y = data.moons(8, noise=0.1, seed=1)\n"
        "model = nn.MLP(2, [4, 1], seed=1)\n"
        "root = mean([nn.hinge(model(x), side) for x, side in zip(X, y)])\n"
        "for fold in 'auto', 1, 0:\n"
        "    print(hashlib.sha256(player(root, fold=fold).html.encode()).hexdigest())\n"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(runs) == 1


def test_fifty_nodes_take_less_than_a_second_and_300_kb():
    root = fifty()
    assert len(topological_order(root)) == 50
    begin = time.process_time()
    html = player(root).html
    assert time.process_time() - begin < 1.0
    assert len(html.encode()) < 300_000
