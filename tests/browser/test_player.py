"""player in a real browser: in JupyterLab, trusted and not, and as a page without a network."""

import io
import json
import time

import pytest

from tinygrad_lite import Value, dot, draw_dot, tanh
from tinygrad_lite.draw.picture import INK, PAPER
from tinygrad_lite.draw.player import player
from tinygrad_lite.engine import topological_order
from tinygrad_lite.notation import decimals

from ..draw.gallery import gated_recurrent_unit, hundred_moons_with_sum

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "]]>",
    "</script><svg onload=alert(3)>",
    "a'b&lt;",
]

# what is seen in each box of a player, and in its caption
BOXES = """host => Object.fromEntries([...host.shadowRoot.querySelectorAll('[data-key]')].map(box => [box.dataset.key,
    [...box.querySelectorAll('text')].filter(t => getComputedStyle(t).opacity !== '0').map(t => t.textContent)]))"""
CAPTION = "host => [...host.shadowRoot.querySelectorAll('.caption p')].map(p => p.textContent)"


def neuron():
    w, x = [Value(-3.0, "w1"), Value(1.0, "w2")], [Value(2.0, "x1"), Value(0.5, "x2")]
    out = tanh(dot(w, x, Value(6.0, "b")))
    out.label = "out"
    return out


def product():
    return Value(2.0, "x") * Value(-3.0, "y")


def hostile():
    labels = iter(HOSTILE)
    root = Value(1.0, next(labels))
    for label in labels:
        root = root * Value(2.0, label)
    return root


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "this did not come true in a minute"
        time.sleep(0.05)


def captions(film):
    """What the frames of a player say, in a browser."""
    n = len(film.frames)
    return [[f"{i} / {n} · {frame.lines[0]}", *frame.lines[1:]] for i, frame in enumerate(film.frames, 1)]


def check_final_numbers(host, root):
    """Every box shows the data and .grad of its Value."""
    root.backward()
    boxes = host.evaluate(BOXES)
    for i, node in enumerate(topological_order(root)):
        assert boxes[f"v{i}"][-2:] == [f"data {decimals(node.data)}", f"grad {decimals(node.grad)}"]


def players(one):
    hosts = one.page.locator(".tinygrad-player")
    one.page.locator(".player").first.wait_for()
    return hosts


# the parts of a player, the screen, the boxes that are lit, and how large its texts are, in px
SIZES = """host => {
    const place = name => host.shadowRoot.querySelector(name).getBoundingClientRect().toJSON();
    const svg = host.shadowRoot.querySelector('.stage svg');
    const lights = svg.querySelector(`[id="${svg.querySelector('.lit').getAttribute('href').slice(1)}"]`);
    const keys = [...lights.children].map(use => use.getAttribute('href')).filter(href => href.startsWith('#h'));
    return {lit: keys.map(href => place(`[data-key="${href.slice(2)}"]`)),
            player: place('.player'), caption: place('.caption'), stage: place('.stage'),
            screen: {top: 0, left: 0, right: innerWidth, bottom: innerHeight},
            text: 12 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width};
}"""


def inside(part, whole):
    return (part["left"] >= whole["left"] and part["right"] <= whole["right"]) and (
        part["top"] >= whole["top"] and part["bottom"] <= whole["bottom"]
    )


def check_the_screen(host):
    """Bar, caption and stage are in view, the stage is not a slit, shows what is lit, and its texts are legible."""
    sizes = host.evaluate(SIZES)
    assert inside(sizes["player"], sizes["screen"])
    assert inside(sizes["caption"], sizes["player"]) and inside(sizes["stage"], sizes["player"])
    assert sizes["stage"]["height"] >= 150
    assert any(inside(box, sizes["stage"]) for box in sizes["lit"]) or not sizes["lit"]
    assert 9.99 <= sizes["text"] <= 12.01


# what a player, or what an image of one, looks like: its paper, and the text in its first box
COLOURS = """host => [getComputedStyle(host.shadowRoot.querySelector('.player')).backgroundColor,
    getComputedStyle(host.shadowRoot.querySelector('.box text')).fill]"""


def in_column(column):
    """What COLOURS finds with the colours of this column of the table."""
    pairs = [getattr(colour, column) for colour in (PAPER, INK)]
    return [f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})" for colour in pairs]


def brightness(picture):
    """The share of light pixels of what a browser shows, transparent or not."""
    image = pytest.importorskip("PIL.Image")
    grey = image.open(io.BytesIO(picture.screenshot())).convert("L")
    return sum(grey.histogram()[128:]) / (grey.width * grey.height)


# --- a page


@pytest.fixture
def saved(tab, tmp_path):
    """Opens a saved player from its file, without a network."""

    def open_saved(film, **options):
        path = tmp_path / "saved.html"
        film.save(path)
        one = tab(path.as_uri(), offline=True, **options)
        one.page.goto(path.as_uri())
        return one

    return open_saved


def test_a_saved_page_steps_through_every_frame_without_a_network(saved):
    root = neuron()
    film = player(root)
    one = saved(film)
    host = players(one)
    host.locator(".player").focus()
    for caption in captions(film):
        assert host.evaluate(CAPTION) == caption
        one.page.keyboard.press("ArrowRight")
    assert host.evaluate(CAPTION) == captions(film)[-1]
    check_final_numbers(host, root)
    assert one.errors == []


def test_buttons_and_keys_and_the_slider_agree(saved):
    film = player(neuron())
    one = saved(film)
    host, words, last = players(one), captions(film), len(film.frames) - 1

    def at(i):
        assert host.evaluate(CAPTION) == words[i]
        assert host.get_by_label("frame", exact=True).input_value() == str(i + 1)

    def click(name):
        host.get_by_role("button", name=name).click()

    at(0)  # it does not start by itself
    click("next frame")
    click("next frame")
    at(2)
    click("one frame back")
    at(1)
    one.page.keyboard.press("ArrowRight")  # the focus is on a button
    at(2)
    click("last frame")
    at(last)
    one.page.keyboard.press("ArrowLeft")
    at(last - 1)
    one.page.keyboard.press("Home")
    at(0)
    one.page.keyboard.press("ArrowLeft")
    at(0)
    one.page.keyboard.press("End")
    at(last)
    click("first frame")
    at(0)
    host.get_by_label("frame", exact=True).fill("4")
    at(3)
    one.page.keyboard.press("ArrowRight")
    at(4)


def test_it_plays_to_the_end_and_pauses(saved):
    film = player(product())
    one = saved(film)
    host, words = players(one), captions(film)
    host.get_by_label("speed").select_option("4")
    host.locator(".player").focus()
    one.page.keyboard.press(" ")
    host.get_by_role("button", name="pause").wait_for()
    until(lambda: host.evaluate(CAPTION) != words[0])
    one.page.keyboard.press(" ")
    host.get_by_role("button", name="play").wait_for()
    one.page.keyboard.press("Home")
    host.get_by_role("button", name="play").click()
    until(lambda: host.evaluate(CAPTION) == words[-1])
    host.get_by_role("button", name="play").wait_for()  # and not "pause"
    host.get_by_role("button", name="play").click()  # once more, from the beginning
    until(lambda: host.evaluate(CAPTION) in words[1:-1])
    assert one.errors == []


def test_hostile_labels_are_text_on_a_page(saved):
    film = player(hostile())
    one = saved(film)
    host = players(one)
    host.locator(".player").focus()
    one.page.keyboard.press("End")
    check_hostile(one, host)
    assert one.errors == []


def check_hostile(one, host):
    shown = [texts[0] for texts in host.evaluate(BOXES).values()]
    assert set(HOSTILE) <= set(shown)
    inside = "host => [...host.shadowRoot.querySelectorAll('script, img, iframe, [onerror], [onload]')].length"
    assert host.evaluate(inside) == 0
    assert one.dialogs == []


def test_the_lit_node_is_scrolled_into_view(saved):
    root = Value(0.5, "x")
    for _ in range(40):
        root = root.sin()
    one = saved(player(root))
    host = players(one)
    seen = """host => {
        const stage = host.shadowRoot.querySelector('.stage').getBoundingClientRect();
        const box = host.shadowRoot.querySelector('[data-key="v40"]').getBoundingClientRect();
        return box.top >= stage.top && box.bottom <= stage.bottom && box.left >= stage.left && box.right <= stage.right;
    }"""
    assert not host.evaluate(seen)
    host.get_by_label("frame", exact=True).fill("41")
    assert host.evaluate(seen)


@pytest.mark.sample(1)
@pytest.mark.parametrize("make", [gated_recurrent_unit, hundred_moons_with_sum])
@pytest.mark.parametrize("size", [(900, 600), (390, 664), (1366, 640)], ids=["output", "phone", "laptop"])
def test_a_saved_page_takes_keys_at_once_and_fits_the_screen_after_twenty_steps(size, make, saved):
    film = player(make())
    one = saved(film)
    one.page.set_viewport_size(dict(zip(("width", "height"), size)))
    one.page.reload()
    host, words = players(one), captions(film)
    for step in range(21):
        assert host.evaluate(CAPTION) == words[step]
        check_the_screen(host)
        one.page.keyboard.press("ArrowRight")  # nothing has been clicked
    one.page.mouse.click(5, 5)  # beside the player
    one.page.keyboard.press("End")
    assert host.evaluate(CAPTION) == words[-1]
    check_the_screen(host)


@pytest.mark.long
def test_a_saved_page_is_dark_on_a_dark_system_and_light_when_that_changes(saved):
    one = saved(player(neuron()), color_scheme="dark")
    host = players(one)
    assert host.evaluate(COLOURS) == in_column("dark")
    one.page.emulate_media(color_scheme="light")
    until(lambda: host.evaluate(COLOURS) == in_column("light"))
    one.page.evaluate("document.body.style.color = 'white'")  # as a notebook's dark theme, on a light system
    until(lambda: host.evaluate(COLOURS) == in_column("dark"))


@pytest.mark.long
def test_a_page_shows_the_animated_picture_where_scripts_do_not_run(tab, tmp_path):
    path = tmp_path / "saved.html"
    player(product()).save(path)
    one = tab(path.as_uri(), java_script_enabled=False)
    one.page.goto(path.as_uri())
    check_it_moves(one.page.locator("img"))


def check_it_moves(picture):
    first = picture.screenshot()
    until(lambda: picture.screenshot() != first)


# --- JupyterLab


@pytest.mark.long
def test_a_notebook_that_is_not_trusted_shows_the_graph_and_the_animated_player(lab, tab):
    root = neuron()
    one = lab.open(tab, lab.write("untrusted", ("draw_dot(out)", draw_dot(root)), ("player(out)", player(product()))))
    pictures = one.page.locator(".jp-OutputArea-output img")
    pictures.nth(1).wait_for()
    until(lambda: pictures.evaluate_all("all => all.every(img => img.complete && img.naturalWidth > 100)"))
    assert pictures.count() == 2
    assert one.page.locator(".jp-OutputArea-output script, .player").count() == 0
    check_it_moves(pictures.nth(1))
    assert set(one.errors) <= lab.usual_errors


@pytest.mark.long
def test_a_trusted_notebook_steps_by_keys_and_buttons_to_the_gradients(lab, tab):
    root = neuron()
    film = player(root)
    one = lab.open(tab, lab.write("trusted", "# 1", ("player(out)", film), "# 2", trusted=True))
    host, words = players(one), captions(film)
    active = (
        "[...document.querySelectorAll('.jp-Notebook .jp-Cell')].findIndex(c => c.classList.contains('jp-mod-active'))"
    )
    host.get_by_role("button", name="next frame").click()
    assert host.evaluate(CAPTION) == words[1]
    assert one.page.evaluate(active) == 1
    for caption in words[2:]:
        one.page.keyboard.press("ArrowRight")
        assert host.evaluate(CAPTION) == caption
    check_final_numbers(host, root)
    for key, caption in ("ArrowLeft", words[-2]), ("Home", words[0]), ("End", words[-1]), ("Home", words[0]):
        one.page.keyboard.press(key)
        assert host.evaluate(CAPTION) == caption
    host.locator(".player").focus()
    one.page.keyboard.press(" ")
    host.get_by_role("button", name="pause").wait_for()
    one.page.keyboard.press(" ")
    host.get_by_role("button", name="play").wait_for()
    assert one.page.evaluate(active) == 1  # no key went to the notebook
    assert one.page.locator(".jp-Notebook .jp-Cell").count() == 3
    assert set(one.errors) <= lab.usual_errors


@pytest.mark.long
def test_players_on_one_page_do_not_interfere(lab, tab):
    film, other = player(neuron()), player(product())
    cells = [("player(out)", film), ("player(out)", film), ("player(x * y)", other)]
    one = lab.open(tab, lab.write("several", *cells, trusted=True))
    hosts = players(one)
    one.page.locator(".player").nth(2).wait_for()
    assert one.page.locator(".player").count() == 3
    hosts.nth(1).locator(".player").focus()
    one.page.keyboard.press("ArrowRight")
    hosts.nth(2).get_by_role("button", name="last frame").click()
    shown = [hosts.nth(i).evaluate(CAPTION) for i in range(3)]
    assert shown == [captions(film)[0], captions(film)[1], captions(other)[-1]]
    assert set(one.errors) <= lab.usual_errors


@pytest.mark.long
def test_running_a_cell_again_makes_a_new_player(lab, tab):
    source = (
        "from tinygrad_lite import Value\n"
        "from tinygrad_lite.draw.player import player\n"
        "player(Value(2.0, 'x') * Value(-3.0, 'y'))"
    )
    one = lab.open(tab, lab.write("rerun", source))
    words = captions(player(product()))
    for count in "[1]:", "[2]:":
        one.page.locator(".jp-Notebook .jp-Cell .cm-content").first.click()
        one.page.keyboard.press("Control+Enter")
        one.page.locator(".jp-OutputPrompt", has_text=count).wait_for()
        host = players(one)
        assert one.page.locator(".player").count() == 1
        assert host.evaluate(CAPTION) == words[0]
        host.locator(".player").focus()
        one.page.keyboard.press("End")
        assert host.evaluate(CAPTION) == words[-1]
    assert set(one.errors) <= lab.usual_errors


@pytest.mark.long
@pytest.mark.parametrize("trusted", [False, True], ids=["untrusted", "trusted"])
def test_hostile_labels_are_text_in_a_notebook(trusted, lab, tab):
    root = hostile()
    cells = [("draw_dot(root)", draw_dot(root)), ("player(root)", player(root))]
    one = lab.open(tab, lab.write(f"hostile{trusted}", *cells, trusted=trusted))
    if trusted:
        check_hostile(one, players(one))
    else:
        pictures = one.page.locator(".jp-OutputArea-output img")
        pictures.nth(1).wait_for()
        until(lambda: pictures.evaluate_all("all => all.every(img => img.complete && img.naturalWidth > 100)"))
    assert set(one.errors) <= lab.usual_errors


@pytest.mark.long
def test_a_wide_picture_scrolls_in_a_notebook_and_its_texts_stay_legible(lab, tab):
    cells = [("draw_dot(gru)", draw_dot(gated_recurrent_unit())), ("player(gru)", player(gated_recurrent_unit()))]
    one = lab.open(tab, lab.write("wide", *cells))
    one.page.set_viewport_size({"width": 900, "height": 700})
    pictures = one.page.locator(".jp-OutputArea-output img")
    pictures.nth(1).wait_for()
    until(lambda: pictures.evaluate_all("all => all.every(img => img.complete && img.naturalWidth > 100)"))
    for shrunk in pictures.evaluate_all("all => all.map(img => img.width / img.naturalWidth)"):
        assert 12 * shrunk >= 9.99
    overflow = "all => all.map(out => out.scrollWidth > out.clientWidth && getComputedStyle(out).overflowX)"
    assert one.page.locator(".jp-OutputArea-output").evaluate_all(overflow) == ["auto", "auto"]
    assert "To pause it" in one.page.locator(".jp-OutputArea-output p").inner_text()


@pytest.mark.long
def test_a_trusted_player_fits_between_the_menus_of_a_laptop(lab, tab):
    film = player(hundred_moons_with_sum())
    one = lab.open(tab, lab.write("laptop", ("player(moons)", film), trusted=True))
    one.page.set_viewport_size({"width": 1366, "height": 680})
    host, words = players(one), captions(film)
    host.get_by_role("button", name="next frame").click()
    for step in range(1, min(21, len(words) - 1)):
        assert host.evaluate(CAPTION) == words[step]
        check_the_screen(host)
        notebook = one.page.locator(".jp-WindowedPanel-outer").evaluate("x => x.getBoundingClientRect().toJSON()")
        assert inside(host.evaluate(SIZES)["player"], notebook)
        one.page.keyboard.press("ArrowRight")


@pytest.mark.long
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_pictures_follow_the_theme_of_the_notebook_not_that_of_the_system(theme, lab, tab):
    settings = lab.notebooks.parent / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": f"JupyterLab {theme}"}))
    try:
        cells = [("draw_dot(out)", draw_dot(neuron())), ("player(out)", player(neuron()))]
        name = lab.write(f"theme{theme}", *cells, trusted=True)
        one = lab.open(lambda *allowed: tab(*allowed, color_scheme="dark" if theme == "Light" else "light"), name)
        assert players(one).evaluate(COLOURS) == in_column(theme.lower())
        picture = one.page.locator(".jp-OutputArea-output img").first
        until(lambda: picture.evaluate("img => img.complete && img.naturalWidth > 100"))
        assert (brightness(picture) > 0.5) == (theme == "Light")
    finally:
        (settings / "themes.jupyterlab-settings").unlink()
