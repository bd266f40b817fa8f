"""Pictures: what they show is what the engine computes, and looking changes nothing."""

import itertools
import math
import random
import subprocess
import sys

import pytest

from tinygrad_lite import Value, data, fit, nn, no_grad, optim
from tinygrad_lite.train import History

pytest.importorskip("matplotlib")
import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import colors, contour, image, quiver
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle

from tinygrad_lite import plot

pytestmark = pytest.mark.sample(2)

POINTS = [[-1.0, 0.5], [1.0, 1.0], [0.5, -1.0], [2.0, 0.0]]
SIDES = [-1, 1, -1, 1]
THREE = [0, 1, 2, 0]


@pytest.fixture(autouse=True)
def nothing_is_shown_and_all_is_closed(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot called show"))
    plt.close("all")  # what other tests left
    yield
    plt.close("all")


def drawn(axes):
    """The figure of the Axes, after everything in it has been laid out and drawn."""
    figure = np.asarray(axes).flat[0].figure
    figure.canvas.draw()
    return figure


def network(activation="tanh", nouts=(4, 1), seed=0):
    return nn.MLP(2, list(nouts), activation=activation, seed=seed)


def hinge(model):
    return lambda x, side: nn.hinge(model(x), side)


def watched(activation="tanh", epochs=6):
    model = network(activation, (5, 4, 1))
    watch = plot.Watch(model, hinge(model), POINTS, SIDES)
    opt = optim.SGD(model.parameters(), lr=0.1)
    fit(hinge(model), opt, POINTS, SIDES, epochs=epochs, compiled=False, callback=watch, progress=False)
    return watch


def a_landscape(**options):
    w, b = Value(0.5, "w"), Value(-1.0, "b")
    return plot.landscape(lambda: (w - 1) ** 2 + 10 * (b + w) ** 2, w, b, **options)


SINGLE = {
    "history": lambda **ax: plot.history(History(loss=[3.0, 2.0, 0.1]), **ax),
    "histories": lambda **ax: plot.history({"SGD": History(loss=[3.0, 0.1]), "Adam": History(loss=[2.0])}, **ax),
    "two classes": lambda **ax: plot.decision_boundary(network(), POINTS, SIDES, steps=9, **ax),
    "three classes": lambda **ax: plot.decision_boundary(network(nouts=[3]), POINTS, THREE, steps=9, **ax),
    "landscape": lambda **ax: a_landscape(path={"SGD": [(0, 0), (1, 1)], "Adam": [(0, 0), (0, 1)]}, steps=9, **ax),
    "gradient_field": lambda **ax: plot.gradient_field(lambda x, y: x * y, steps=5, **ax),
    "network": lambda **ax: plot.network(network(), [0.5, -1.0], **ax),
    "network of an image": lambda **ax: plot.network(nn.MLP(64, [30, 10], seed=0), [0.5] * 64, **ax),
}
SEVERAL = {
    "activations": lambda **ax: plot.activations(watched(), **ax),
    "activations, ReLU": lambda **ax: plot.activations(watched("relu"), **ax),
    "activations now": lambda **ax: plot.activations(network(nouts=(5, 4, 1)), POINTS, **ax),
    "gradients": lambda **ax: plot.gradients(watched(), **ax),
    "digits": lambda **ax: plot.digits([[0.5] * 64] * 3, ["one", "two", "three"], columns=3, **ax),
}
each_single = pytest.mark.parametrize("draw", SINGLE.values(), ids=SINGLE)
each_several = pytest.mark.parametrize("draw", SEVERAL.values(), ids=SEVERAL)
every_plot = pytest.mark.parametrize("draw", (SINGLE | SEVERAL).values(), ids=SINGLE | SEVERAL)

# --- all of them


@each_single
def test_the_axes_given_is_the_axes_returned_and_no_figure_is_made(draw):
    figure, (left, right) = plt.subplots(1, 2, layout="constrained")
    assert draw(ax=right) is right
    assert not left.has_data() and right.has_data()
    assert plt.get_fignums() == [figure.number]


@each_several
def test_an_array_of_axes_is_filled(draw):
    figure, axes = plt.subplots(1, 3, layout="constrained")
    assert list(draw(ax=axes).flat) == list(axes)
    assert all(ax.has_data() for ax in axes)
    assert plt.get_fignums() == [figure.number]


@each_several
@pytest.mark.parametrize("layout", ["constrained", None])
def test_several_axes_take_the_place_of_one(draw, layout):
    figure, (left, right) = plt.subplots(1, 2, figsize=(16, 4), layout=layout)
    panels = draw(ax=right)
    assert drawn(panels) is figure and panels.size == 3
    place = right.get_position()
    for panel in panels.flat:
        assert panel.has_data()
        assert place.x0 - 0.05 <= panel.get_position().x0 < panel.get_position().x1 <= place.x1 + 0.05
    assert not left.has_data()


@every_plot
def test_without_ax_there_is_one_new_figure_of_the_width_of_a_notebook(draw):
    figure = drawn(draw())
    assert plt.get_fignums() == [figure.number]
    assert figure.get_figwidth() * figure.dpi <= 900
    inside = figure.get_tightbbox()  # in inches: nothing is cut off
    assert 0 <= inside.x0 < inside.x1 <= figure.get_figwidth()
    assert 0 <= inside.y0 < inside.y1 <= figure.get_figheight()


@every_plot
def test_the_random_state_stays(draw):
    random.seed(5)
    before = random.getstate()
    draw()
    assert random.getstate() == before


def test_importing_plot_loads_neither_matplotlib_nor_numpy():
    code = "import sys, tinygrad_lite.plot; sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@every_plot
def test_without_matplotlib_the_error_names_the_extra(draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'tinygrad_lite\[notebooks\]'"):
        draw()


# --- colours


def luminance(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colors.to_rgb(color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    """From 1 to 21 (WCAG 2.1): text needs 4.5, a line or a mark 3."""
    dark, light = sorted([luminance(a), luminance(b)])
    return (light + 0.05) / (dark + 0.05)


STYLES = {
    "default": {},
    "dark_background": plt.style.library["dark_background"],
    "transparent": {"figure.facecolor": (1, 1, 1, 0)},  # ipykernel's default once, before a dark notebook
    "transparent dark": plt.style.library["dark_background"] | {"figure.facecolor": "none"},
}


def behind(text, ax):
    """The colour of the circle that a text stands in."""
    for circle in circles_of(ax):
        if tuple(circle.center) == text.get_position():
            return circle.get_facecolor()
    return None


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
@every_plot
def test_all_text_can_be_read_whatever_is_behind_the_picture(draw, style):
    with plt.rc_context(style):
        figure = drawn(draw())
        around = figure.get_facecolor()
        assert around[3] == 1.0
        for ax in figure.axes:
            axis_on = ax.axison
            texts = [ax.title, *ax.texts]
            if axis_on:
                texts += [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_yticklabels()]
            for text in texts:
                if text.get_text():
                    assert contrast(text.get_color(), behind(text, ax) or around) > 4.5, text
            if ax.get_legend():
                for text in ax.get_legend().get_texts():
                    assert contrast(text.get_color(), ax.get_legend().get_frame().get_facecolor()) > 4.5


@pytest.mark.parametrize("name", ["two classes", "three classes", "landscape", "gradient_field"])
def test_what_is_drawn_in_colours_has_white_behind_it_in_every_style(name):
    with plt.style.context("dark_background"):
        ax = SINGLE[name]()
        assert colors.to_rgb(ax.get_facecolor()) == (1, 1, 1)
        legend = ax.get_legend()
        assert legend is None or colors.to_rgb(legend.get_frame().get_facecolor()) == (1, 1, 1)


def test_a_saved_picture_is_opaque(tmp_path):
    with plt.rc_context({"figure.facecolor": (1, 1, 1, 0)}):
        drawn(plot.history(History(loss=[2.0, 1.0]))).savefig(tmp_path / "loss.png")
    assert plt.imread(tmp_path / "loss.png")[:, :, 3].min() == 1.0


@pytest.mark.parametrize("color", [plot.BLUE, plot.ORANGE, plot.GREEN, plot.PURPLE, plot.GREY])
def test_lines_stand_out_on_white_and_on_black(color):
    assert contrast(color, "white") > 3 and contrast(color, "black") > 3


# linear RGB as seen without one kind of cone (Machado, Oliveira and Fernandes 2009)
SIGHT = {
    "full": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("matrix", SIGHT.values(), ids=SIGHT)
def test_colours_differ_for_the_colour_blind(matrix):
    def seen(color):
        """CIELAB."""
        c = np.array(colors.to_rgb(color))
        linear = np.clip(matrix @ np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4), 0, 1)
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        xyz = to_xyz @ linear / [0.9505, 1, 1.089]
        x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for one, other in itertools.combinations([color for color, _ in plot.CLASSES], 2):
        assert np.linalg.norm(seen(one) - seen(other)) > 15  # 2.3 is just noticeable


def test_shape_tells_apart_what_colour_tells_apart():
    assert len({marker for _, marker in plot.CLASSES}) == len(plot.CLASSES)
    assert len({(color, style) for color, style, _ in plot.LINES}) == len(plot.LINES)
    for one, other in itertools.combinations(plot.LINES[:3], 2):
        assert not set(one) & set(other)


# --- history


def test_a_list_of_losses_is_a_history():
    for losses in [1, 0.5], (1.0, 0.5), np.array([1.0, 0.5], np.float32), [Value(1.0), Value(0.5)]:
        (line,) = plot.history(losses).lines
        assert line.get_ydata().tolist() == [1.0, 0.5]
    assert len(plot.history({"SGD": [1.0, 0.5], "Adam": History(loss=[2.0])}).lines) == 2
    for none in 3.0, ["a"], None:
        with pytest.raises(TypeError, match="a history is what fit returned, or a list of losses, got"):
            plot.history(none)


def test_history_draws_the_loss_of_each_epoch_from_1():
    (line,) = plot.history(History(loss=[3.0, 2.0, 1.5])).lines
    assert list(line.get_xdata()) == [1, 2, 3] and list(line.get_ydata()) == [3.0, 2.0, 1.5]


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([5.0, 1.0], "log"), ([5.0, 1.01], "linear"), ([5.0, 0.0], "linear"), ([5.0, -1.0], "linear"), ([], "linear")],
)
def test_the_axis_is_logarithmic_where_losses_are_positive_and_span_a_factor_of_5(losses, scale):
    assert plot.history(History(loss=losses)).get_yscale() == scale


@pytest.mark.parametrize("decades", [0.71, 0.9, 1.0, 1.1, 1.5, 1.9, 2.0, 2.5, 4, 9, 30])
@pytest.mark.parametrize("top", [0.9, 1.0, 2.3, 7.0])
def test_labels_of_the_logarithmic_axis_are_several_and_do_not_touch(decades, top):
    figure, (ax, _) = plt.subplots(1, 2, figsize=(8, 3.5), layout="constrained")
    plot.history(History(loss=[top, top * 10**-decades]), ax=ax)
    figure.canvas.draw()
    low, high = ax.get_ylim()
    labels = [
        label.get_window_extent()
        for label in [*ax.get_yticklabels(), *ax.get_yticklabels(minor=True)]
        if label.get_text() and low <= label.get_position()[1] <= high
    ]
    assert 2 <= len(labels) <= 10
    for one, other in itertools.combinations(labels, 2):
        assert not one.overlaps(other)


def test_several_histories_have_each_its_name_colour_and_style():
    histories = {0.1: History(loss=[3.0, 1.0]), "Adam $x$": History(loss=[3.0, 2.0]), "c": History(loss=[1.0])}
    ax = plot.history(histories, label="held-out loss")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0.1", r"Adam \$x\$", "c"]
    for look in "color", "linestyle", "marker":
        assert len({plt.getp(line, look) for line in ax.lines}) == 3
    assert ax.get_ylabel() == "held-out loss"
    drawn(ax)


def test_a_second_call_adds_a_curve_and_the_axis_suits_both():
    ax = plot.history(History(loss=[3.0, 2.0]), label="training")
    assert ax.get_legend() is None and ax.get_yscale() == "linear"
    plot.history(History(loss=[3.0, 0.1]), ax=ax, label="held out")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training", "held out"]
    assert ax.lines[0].get_color() != ax.lines[1].get_color()
    assert ax.get_yscale() == "log" and ax.get_ylabel() == "loss"


def test_epochs_are_whole_numbers():
    ax = plot.history(History(loss=[3.0, 2.0]))
    drawn(ax)
    assert all(tick == round(tick) for tick in ax.get_xticks())


# --- decision_boundary


def black_lines(ax):
    """The corners of every black contour line, n x 2."""
    found = [c for c in ax.collections if isinstance(c, contour.QuadContourSet) and not c.filled]
    return [path.vertices for c in found for path in c.get_paths() if len(path.vertices)]


def test_the_line_separates_positive_from_negative_scores():
    ax = plot.decision_boundary(lambda x: 2 * x[0] - x[1] + 0.25, POINTS, SIDES)
    (line,) = black_lines(ax)
    assert len(line) > 10
    np.testing.assert_allclose(2 * line[:, 0] - line[:, 1] + 0.25, 0.0, atol=1e-9)


def test_where_two_of_three_scores_are_the_largest_there_is_a_line():
    def scores(x):
        return [Value(x[0]), -x[0], x[1]]

    lines = np.concatenate(black_lines(plot.decision_boundary(scores, POINTS, THREE, steps=101)))
    z = np.sort(np.stack([lines[:, 0], -lines[:, 0], lines[:, 1]]), axis=0)
    assert len(lines) > 50
    np.testing.assert_allclose(z[-1], z[-2], atol=0.05)  # the grid's spacing
    assert {0, 1, 2} == {int(k) for k in np.argmax([lines[:, 0], -lines[:, 0], lines[:, 1]], axis=0)}


@pytest.mark.parametrize("y", [SIDES, [0, 1, 0, 1], np.array([0, 1, 0, 1]), [0, 1, 2, 1]], ids=str)
def test_the_points_are_drawn_by_class(y):
    model = network(nouts=[3 if 2 in list(y) else 1])
    ax = plot.decision_boundary(model, np.array(POINTS), y, steps=9)
    handles, labels = ax.get_legend_handles_labels()
    assert sorted(labels) == sorted({f"class {k}" for k in y})
    for dots, label in zip(handles, labels):
        assert dots.get_offsets().tolist() == [p for p, k in zip(POINTS, y) if label == f"class {k}"]
    markers = {str(dots.get_paths()[0].vertices.tolist()) for dots in handles}
    assert len(markers) == len(labels)


@pytest.mark.parametrize("score", [1.0, 0.0, -1.0])
def test_a_model_of_one_opinion_has_no_line(score):
    assert not black_lines(plot.decision_boundary(lambda x: score, POINTS, SIDES, steps=5))
    assert not black_lines(plot.decision_boundary(lambda x: [score, 3.0, 2.0], POINTS, THREE, steps=5))


def test_places_without_a_finite_score_stay_white():
    drawn(plot.decision_boundary(lambda x: Value(x[0]).log(), POINTS, SIDES, steps=9))
    drawn(plot.decision_boundary(lambda x: [Value(x[0]).log(), 0.0, math.inf], POINTS, THREE, steps=9))


@pytest.mark.parametrize(
    ("model", "X", "y", "message"),
    [
        (lambda x: 1.0, [[1.0, 2.0, 3.0]], [1], r"each point is 2 numbers, got \[1.0, 2.0, 3.0\]"),
        (lambda x: 1.0, [1.0], [1], "each point is 2 numbers, got 1.0"),
        (lambda x: 1.0, [], [], "expects as many points as targets, and at least one; got 0 and 0"),
        (lambda x: 1.0, POINTS, [1], "got 4 and 1"),
        (lambda x: 1.0, POINTS, THREE, r"1 score per point.*\[-1, 1\] or \[0, 1\]; got \[0.0, 1.0, 2.0\]"),
        (lambda x: [1.0, 2.0], POINTS, SIDES, r"2 scores per point.*\[0, 1\]; got \[-1.0, 1.0\]"),
        (lambda x: math.nan, POINTS, SIDES, "not finite anywhere"),
    ],
)
def test_decision_boundary_says_what_it_expects_and_leaves_no_empty_figure(model, X, y, message):
    with pytest.raises(ValueError, match=message):
        plot.decision_boundary(model, X, y, steps=5)
    assert not plt.get_fignums()


def test_decision_boundary_leaves_gradients_alone():
    model = network()
    model(POINTS[0]).backward()
    before = [(p.data, p.grad) for p in model.parameters()]
    plot.decision_boundary(model, POINTS, SIDES, steps=5)
    assert [(p.data, p.grad) for p in model.parameters()] == before


# --- landscape


def test_the_loss_is_asked_on_a_grid_from_corner_to_corner():
    w, b = Value(0.5), Value(-1.0)
    asked = []

    def loss():
        asked.append((w.data, b.data))
        return w * w + b

    ax = plot.landscape(loss, w, b, xlim=(-1, 2), ylim=(3, 4), steps=4)
    assert asked == [(w, b) for b in np.linspace(3, 4, 4) for w in np.linspace(-1, 2, 4)]
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-1, 2, 3, 4)


@pytest.mark.parametrize(
    ("f", "levels"),
    [
        (lambda w, b: w + 2 * b, "even"),
        (lambda w, b: w * w + b * b, "logarithmic"),
        (lambda w, b: (2 * w).exp() + b * b + 0.1, "logarithmic"),
        (lambda w, b: (1 - w) ** 2 + 100 * (b - w * w) ** 2, "logarithmic"),
        (lambda w, b: w * w + b * b + 5, "even"),
        (lambda w, b: (w * b).sin(), "even"),
    ],
)
def test_every_line_and_every_colour_is_at_its_loss(f, levels):
    w, b = Value(0.3), Value(-0.2)
    ax = plot.landscape(lambda: f(w, b), w, b, steps=161)
    filled, lines = (c for c in ax.collections if isinstance(c, contour.QuadContourSet))
    count = 0
    for level, path in zip(lines.levels, lines.get_paths()):
        for x, y in path.vertices:
            slope = np.hypot(*np.gradient([[f(Value(x + i), Value(y + j)).data for i in (0, 0.02)] for j in (0, 0.02)]))
            assert f(Value(x), Value(y)).data == pytest.approx(level, abs=slope.max())
            count += 1
    assert count > 50
    if levels == "even":
        assert np.diff(filled.levels) == pytest.approx(filled.levels[1] - filled.levels[0])
    else:
        assert (np.array(filled.levels[1:]) / filled.levels[:-1]).max() <= 2.51
        assert all(f"{level:.1e}"[:3] in ("1.0", "1.5", "2.0", "3.0", "5.0", "7.0") for level in filled.levels)
    zs = [f(Value(x), Value(y)).data for x in np.linspace(*ax.get_xlim(), 99) for y in np.linspace(*ax.get_ylim(), 99)]
    assert filled.levels[-1] >= max(zs) and len(filled.levels) <= 15
    assert filled.levels[0] <= min(zs) or filled.extend == "min"
    drawn(ax)


def test_the_path_is_drawn_with_its_coordinates_from_circle_to_star():
    path = [(0.0, 0.0), (1.0, 0.5), (1.5, 0.25)]
    w, b = Value(1.5), Value(0.25)
    line, start, now = plot.landscape(lambda: w + b, w, b, path, steps=5).lines
    assert line.get_xydata().tolist() == [list(pair) for pair in path]
    assert (start.get_xydata().tolist(), start.get_label(), start.get_marker()) == ([[0.0, 0.0]], "start", "o")
    assert (now.get_xydata().tolist(), now.get_label(), now.get_marker()) == ([[1.5, 0.25]], "now", "*")


def test_several_paths_have_each_its_name_and_the_picture_holds_them():
    w, b = Value(0.0, "w_1"), Value(0.0, "$b$")
    paths = {"SGD": [(0, 0), (3, -4)], "Adam": np.array([(0, 0), (-5, 1)]), "none": []}
    ax = plot.landscape(lambda: w + b, w, b, paths, steps=5)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["SGD", "Adam", "start", "now"]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < -5 and right > 3 and bottom < -4 and top > 1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("w_1", r"\$b\$")
    drawn(ax)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (-1.5, 2.5)),
        ({"span": 0.25}, (0.25, 0.75)),
        ({"path": [(0.5, -1.0)]}, (-1.5, 2.5)),
        ({"path": [(2.5, 0.0)]}, (-0.1, 3.1)),
        ({"xlim": (3, 9)}, (3, 9)),
    ],
    ids=str,
)
def test_the_picture_is_around_the_parameters(options, expected):
    assert a_landscape(steps=5, **options).get_xlim() == pytest.approx(expected)


def test_span_wins_over_the_path():
    assert a_landscape(path=[(100.0, 100.0)], span=1, steps=5).get_xlim() == (-0.5, 1.5)


def test_what_diverged_does_not_stretch_the_picture_to_infinity():
    ax = a_landscape(path=[(0, 0), (math.inf, math.nan)], steps=5)
    assert -3 < ax.get_xlim()[0] < ax.get_xlim()[1] < 3
    drawn(ax)


@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_parameters_are_put_back_whatever_happens(error):
    w, b = Value(0.1), Value(0.2)
    (w * b).backward()
    calls = []

    def loss():
        calls.append(1)
        if error and len(calls) == 7:
            raise error
        return w * b

    if error:
        with pytest.raises(error):
            plot.landscape(loss, w, b, steps=4)
        assert not plt.get_fignums()
    else:
        plot.landscape(loss, w, b, steps=4)
    assert (w.data, b.data, w.grad, b.grad) == (0.1, 0.2, 0.2, 0.1)


def test_landscape_records_nothing():
    w, b, made = Value(1.0), Value(2.0), []

    def loss():
        made.append(w * b)
        return made[-1]

    plot.landscape(loss, w, b, steps=3)
    assert len(made) == 9 and all(value.op is None for value in made)


@pytest.mark.parametrize("value", [3.0, 0.0, -1e9, 1e200])
def test_a_flat_landscape_is_drawn_too(value):
    w, b = Value(1.0), Value(2.0)
    drawn(plot.landscape(lambda: value, w, b, steps=3))


def test_landscape_says_what_it_expects():
    w, b = Value(1.0), Value(2.0)
    with pytest.raises(TypeError, match=r"moves two different Values, got 1.0 and Value"):
        plot.landscape(lambda: w, 1.0, b)
    with pytest.raises(TypeError, match="two different Values"):
        plot.landscape(lambda: w, w, w)
    with pytest.raises(TypeError, match=r"anew at each place: write lambda: ..., got Value"):
        plot.landscape(w * b, w, b)
    with pytest.raises(TypeError, match=r"pairs of numbers \(w1.data, w2.data\), got \(Value"):
        plot.landscape(lambda: w, w, b, path=[(w, b)])
    with pytest.raises(TypeError, match=r"pairs of numbers .*, got \(1, 2, 3\)"):
        plot.landscape(lambda: w, w, b, path=[(1, 2, 3)])
    with pytest.raises(ValueError, match="no finite number in the whole picture"):
        plot.landscape(lambda: math.nan, w, b, steps=3)
    assert not plt.get_fignums()


def test_a_compiled_loss_can_be_drawn():
    pytest.importorskip("llvmlite")
    from tinygrad_lite import jit

    w, b = Value(0.5), Value(0.0)
    compiled, X, Y = jit(lambda x, y: nn.mse(w * x + b, y)), [1.0, 2.0], [2.0, 3.0]
    eager = plot.landscape(lambda: (nn.mse(w + b, 2.0) + nn.mse(2 * w + b, 3.0)) / 2, w, b, steps=5)
    native = plot.landscape(lambda: compiled.mean(X, Y), w, b, steps=5)
    for one, other in zip(black_lines(eager), black_lines(native)):
        np.testing.assert_allclose(one, other, rtol=1e-9)


# --- gradient_field


def arrows(ax):
    """x, y, and the gradient that each arrow stands for."""
    (field,) = (c for c in ax.collections if isinstance(c, quiver.Quiver))
    length = np.hypot(field.U, field.V)
    scale = np.where(length > 0.0, field.get_array() / np.where(length > 0.0, length, 1.0), 0.0)
    return list(zip(field.X, field.Y, field.U * scale, field.V * scale)), length, field.get_array()


@pytest.mark.parametrize("descent", [False, True])
def test_every_arrow_is_the_gradient_that_backward_finds(descent):
    def f(x, y):
        return (1 - x) ** 2 + 100 * (y - x * x) ** 2

    ax = plot.gradient_field(f, xlim=(-2, 2), ylim=(-1, 3), steps=6, descent=descent)
    found, _, _ = arrows(ax)
    assert len(found) == 36
    for a, b, u, v in found:
        x, y = Value(a), Value(b)
        f(x, y).backward()
        assert (u, v) == pytest.approx((-x.grad, -y.grad) if descent else (x.grad, y.grad))


def test_a_larger_gradient_is_a_longer_arrow_and_none_leaves_its_cell():
    ax = plot.gradient_field(lambda x, y: (3 * x).exp() + y * y, steps=8)
    _, length, size = arrows(ax)
    order = np.argsort(size)
    assert (np.diff(length[order]) >= -1e-12).all() and length.max() == pytest.approx(1.0)
    assert length.min() > 0.01 > size.min() / size.max()  # which nobody would see
    (field,) = (c for c in ax.collections if isinstance(c, quiver.Quiver))
    assert field.scale == 8 and field.scale_units == "width"  # 1.0 is an eighth of the width


def test_arrows_stand_at_right_angles_to_the_lines():
    assert plot.gradient_field(lambda x, y: x * y, steps=3).get_aspect() == 1.0
    assert plot.gradient_field(lambda x, y: x * y, xlim=(0, 100), ylim=(0, 1), steps=3).get_aspect() == "auto"


@pytest.mark.parametrize(
    "f",
    [lambda x, y: x * 0 + y * 0, lambda x, y: x.step() + y * 0, lambda x, y: x.log() + y.sqrt(), lambda x, y: x + y],
)
def test_fields_without_direction_or_with_holes_are_drawn(f):
    drawn(plot.gradient_field(f, steps=4))


def test_gradient_field_leaves_the_parameters_of_f_alone():
    w = Value(2.0)
    (w * 3.0).backward()
    plot.gradient_field(lambda x, y: w * x * y, steps=3)
    assert (w.data, w.grad) == (2.0, 3.0)


def test_gradient_field_says_what_it_expects():
    with pytest.raises(TypeError, match=r"those of one Value, got 3.0; compute it from Values, not from their .data"):
        plot.gradient_field(lambda x, y: 3.0)
    with no_grad(), pytest.raises(RuntimeError, match=r"inside no_grad\(\) nothing is recorded"):
        plot.gradient_field(lambda x, y: x * y)
    assert not plt.get_fignums()


# --- Watch, activations, gradients


def by_hand(activation, zs):
    """A model of one unit per z0, phi(x0 + z0), and one output, the sum of them."""
    model = nn.MLP(2, [len(zs), 1], activation=activation, seed=0)
    for neuron, z in zip(model.layers[0].neurons, zs):
        neuron.w[0].data, neuron.w[1].data, neuron.b.data = 1.0, 0.0, z
    for w in model.layers[1].neurons[0].w:
        w.data = 1.0
    return model


def test_the_share_of_saturated_outputs_is_counted():
    X = [[0.0, 0.0], [1.0, 0.0]]
    watch = plot.Watch(by_hand("tanh", [0.0, 1.5, -4.0, 9.0]), None, X)
    outputs = [math.tanh(x + z) for x, _ in X for z in (0.0, 1.5, -4.0, 9.0)]
    assert watch.activations[0][0].ravel().tolist() == pytest.approx(outputs)
    assert watch.saturated == [[sum(abs(out) > 0.97 for out in outputs) / 8, 0.0]]
    assert watch.saturated[0][0] == 5 / 8
    assert watch.dead == [[0, 0]]
    first, last = plot.activations(watch)
    assert [text.get_text() for text in first.texts] == ["62%\nsaturated"]
    assert [text.get_text() for text in last.texts] == [""]


def test_sigmoid_saturates_where_tanh_of_half_its_input_does():
    zs = [0.0, 2.0, 4.0, 4.3, -4.3, -8.0]
    watch = plot.Watch(by_hand("sigmoid", zs), None, [[0.0, 0.0]])
    assert watch.saturated[0][0] == sum(abs(math.tanh(z / 2)) > 0.97 for z in zs) / 6 == 3 / 6


def test_a_unit_whose_output_is_0_for_every_example_is_dead():
    X = [[0.0, 0.0], [1.0, 0.0]]
    model = by_hand("relu", [0.5, -0.5, -1.5, -3.0])
    watch = plot.Watch(model, None, X)
    assert watch.dead == [[2, 0]]
    first, _ = plot.activations(watch)
    assert [text.get_text() for text in first.texts] == ["62% at 0\n2 of 4 dead"]
    (histogram,) = first.patches
    assert np.count_nonzero(histogram.get_data().values) == 2  # outputs 0.5 twice and 1.5; five zeros are not drawn


@pytest.mark.parametrize("activation", [*nn.ACTIVATIONS, lambda z: z.clip(-1, 1)])
def test_every_activation_is_watched(activation):
    model = nn.MLP(2, [3, 3, 3, 1], activation=activation, seed=3)
    panels = plot.activations(model, data.moons(20)[0])
    assert len(panels) == 4
    drawn(panels)
    X = POINTS
    for layer, outputs in zip(model.layers, plot.Watch(model, None, POINTS).activations[0]):
        X = [[out.data for out in layer.outputs(x)] for x in X]
        np.testing.assert_array_equal(outputs, X)


def test_gradients_are_those_of_the_mean_loss():
    model = network("tanh", (5, 4, 1))
    watch = plot.Watch(model, hinge(model), POINTS, SIDES)
    model.zero_grad()
    (sum(hinge(model)(x, y) for x, y in zip(POINTS, SIDES)) / len(POINTS)).backward()
    for layer, found in zip(model.layers, watch.gradients[0]):
        np.testing.assert_allclose(found, [p.grad for p in layer.parameters()], rtol=1e-12, atol=1e-15)


def test_watching_changes_nothing():
    def train(**callback):
        model = network("relu", (6, 1), seed=1)
        opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        random.seed(1)
        run = fit(hinge(model), opt, POINTS, SIDES, epochs=9, batch_size=2, compiled=False, progress=False,
                  **{name: make(model) for name, make in callback.items()})  # fmt: skip
        return run.loss, [(p.data, p.grad) for p in model.parameters()], random.getstate()

    assert train() == train(callback=lambda model: plot.Watch(model, hinge(model), POINTS, SIDES))


def test_gradients_of_values_outside_the_model_stay_too():
    model, scale = network(), Value(2.0)
    (scale * 5.0).backward()
    plot.Watch(model, lambda x, y: nn.hinge(scale * model(x), y), POINTS, SIDES)
    assert scale.grad == 5.0 and all(p.grad == 0.0 for p in model.parameters())


def test_a_watch_looks_before_training_and_at_each_call_and_counts_on_in_a_second_fit():
    model = network()
    watch, opt = plot.Watch(model, hinge(model), POINTS, SIDES), optim.SGD(model.parameters(), lr=0.1)
    start = model.parameters()[0].data
    options = {"compiled": False, "progress": False, "callback": watch}
    fit(hinge(model), opt, POINTS, SIDES, epochs=4, every=2, **options)
    fit(hinge(model), opt, POINTS, SIDES, epochs=3, every=2, **options)
    assert watch.epochs == [0, 2, 4, 6, 7]
    for record in watch.activations, watch.gradients, watch.saturated, watch.dead:
        assert len(record) == 5 and all(len(look) == 2 for look in record)
    assert model.parameters()[0].data != start
    np.testing.assert_array_equal(watch.activations[-1][1].ravel(), [model(x).data for x in POINTS])


def test_a_compiled_fit_can_be_watched():
    pytest.importorskip("llvmlite")
    model = network()
    watch = plot.Watch(model, hinge(model), POINTS, SIDES)
    opt = optim.SGD(model.parameters(), lr=0.1)
    fit(hinge(model), opt, POINTS, SIDES, epochs=20, every=5, compiled=True, progress=False, callback=watch)
    assert watch.epochs == [0, 5, 10, 15, 20]
    np.testing.assert_array_equal(watch.activations[-1][1].ravel(), [model(x).data for x in POINTS])


def test_of_many_examples_it_looks_at_some_from_everywhere():
    X = data.moons(250)[0]
    watch = plot.Watch(network(), None, X, examples=100)
    assert [X.index(x) for x in watch.X] == list(range(0, 250, 3))
    assert watch.activations[0][0].shape == (84, 4)


def test_the_first_and_the_last_epoch_are_always_drawn():
    watch = watched(epochs=9)
    for draw in plot.activations, plot.gradients:
        for rows in 1, 2, 4, 50:
            panels = draw(watch, rows=rows)
            labels = [int(label.get_text()) for label in panels[0].get_yticklabels()]
            assert labels[-1] == 9 and (labels[0] == 0 or rows == 1)
            assert len(labels) == len(panels[0].patches) == min(rows, 10)
            assert labels == sorted(labels)
            ticks = panels[0].get_yticks()
            assert list(ticks) == sorted(ticks, reverse=True)  # time goes down


def test_a_histogram_counts_all_outputs():
    watch = watched(epochs=3)
    for l, panel in enumerate(plot.activations(watch)):
        for t, patch in enumerate(panel.patches):
            heights, edges, base = patch.get_data()
            counts = np.histogram(watch.activations[t][l], edges)[0]
            assert counts.sum() == watch.activations[t][l].size
            np.testing.assert_allclose(heights - base, 0.9 * counts / counts.max())


def test_vanishing_gradients_lie_to_the_left_of_one_common_axis():
    model = nn.MLP(2, [6, 6, 6, 6, 1], activation="sigmoid", seed=0)
    watch = plot.Watch(model, hinge(model), POINTS, SIDES)
    panels = plot.gradients(watch)
    assert len({panel.get_xlim() for panel in panels}) == 1
    assert {panel.get_xscale() for panel in panels} == {"log"}
    left, right = panels[0].get_xlim()
    assert all(left < g < right for layer in watch.gradients[0] for g in abs(layer) if g)

    def middle(panel):
        heights, edges, _ = panel.patches[0].get_data()
        return np.average(np.log(edges[1:]), weights=heights)

    assert middle(panels[0]) < middle(panels[2]) < middle(panels[4])


def test_gradients_that_are_exactly_0_are_counted_beside():
    model = by_hand("relu", [0.5, -3.0])
    watch = plot.Watch(model, lambda x, y: model(x) * y, [[1.0, 1.0]], [1])
    first, last = plot.gradients(watch)
    assert [text.get_text() for text in first.texts] == ["50% are 0"]  # two weights and a bias of the dead unit
    assert [text.get_text() for text in last.texts] == ["33% are 0"]  # its weight further on
    drawn(plot.gradients(plot.Watch(model, lambda x, y: model(x) * 0.0, [[1.0, 1.0]], [1])))


def test_outputs_that_are_all_the_same_huge_or_not_finite_are_drawn():
    for scale in 0.0, 1e-200, 1e200, math.inf:
        model = network("relu")
        for p in model.parameters():
            p.data = scale if p.data == 0.0 else p.data * scale
        drawn(plot.activations(model, POINTS))


def test_watch_says_what_it_expects():
    model = network()
    with pytest.raises(TypeError, match=r"layers of an nn.MLP, got Layer\(2, 3, activation='relu'\)"):
        plot.activations(nn.Layer(2, 3), POINTS)
    with pytest.raises(ValueError, match="Watch expects as many examples as targets, and at least one; got 0 and 0"):
        plot.activations(model)
    with pytest.raises(ValueError, match="got 4 and 1"):
        plot.Watch(model, hinge(model), POINTS, [1])
    with pytest.raises(ValueError, match="expects 2 inputs, got 3"):
        plot.activations(model, [[1.0, 2.0, 3.0]])
    with pytest.raises(TypeError, match=r"gradients expects a Watch\(model, loss, X, y\) made with a loss"):
        plot.gradients(plot.Watch(model, None, POINTS))
    with pytest.raises(TypeError, match="gradients expects a Watch"):
        plot.gradients(model)
    with pytest.raises(TypeError, match=r"those of one Value, got 1.0"):
        plot.Watch(model, lambda x, y: 1.0, POINTS, SIDES)
    with no_grad(), pytest.raises(RuntimeError, match=r"inside no_grad\(\)"):
        plot.activations(model, POINTS)
    assert not plt.get_fignums()


def test_too_few_axes_are_refused():
    with pytest.raises(ValueError, match="the model has 2 layers to draw, got 1 Axes"):
        plot.activations(network(), POINTS, ax=plt.subplots(1, 1, squeeze=False)[1])
    with pytest.raises(ValueError, match="made by subplots"):
        plot.activations(network(), POINTS, ax=plt.figure().add_axes([0, 0, 1, 1]))


# --- digits


def test_digits_are_drawn_in_reading_order_under_their_titles():
    images = [[k / 64 for k in range(64)], [0.25] * 64, [1.0] * 64]
    sheet = plot.digits(images, ["a", "b", "c"], columns=2)
    assert sheet.shape == (2, 2)
    for ax, picture, title in zip(sheet.flat, images, "abc"):
        (shown,) = (i for i in ax.get_images() if isinstance(i, image.AxesImage))
        assert np.ravel(shown.get_array()).tolist() == picture and ax.get_title() == title
    assert not sheet[1, 1].get_images() and not sheet[1, 1].axison


def test_the_older_name_of_digits_axes_still_works():
    axes = plt.subplots(1, 2)[1]
    assert plot.digits([[0.0] * 64], ["0"], axes=axes) is axes
    assert plot.digits([[0.0] * 64], ["0"], axes) is axes
    assert plot.digits([], []).shape == (1, 8)


# --- network


def edges_of(ax):
    """What LineCollections draw: (from, to, colour, width)."""
    (lines,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [
        (tuple(a), tuple(b), tuple(colour), width)
        for (a, b), colour, width in zip(lines.get_segments(), lines.get_colors(), lines.get_linewidths())
    ]


def circles_of(ax):
    return [patch for patch in ax.patches if isinstance(patch, Circle)]


def words_of(ax):
    return [text.get_text() for text in ax.texts]


def test_an_edge_is_coloured_by_its_sign_and_the_largest_is_the_widest():
    layer = nn.Layer(3, 1, activation="linear")
    for w, number in zip(layer.neurons[0].w, (0.5, -2.0, 1.0)):
        w.data = number
    edges = {start: (colour[:3], width) for start, _, colour, width in edges_of(plot.network(layer))}
    top, middle, bottom = (edges[at] for at in sorted(edges, key=lambda at: -at[1]))
    assert top[0] == bottom[0] == colors.to_rgb(plot.ORANGE) and middle[0] == colors.to_rgb(plot.BLUE)
    assert top[1] < bottom[1] < middle[1]


def test_with_x_every_unit_shows_what_it_gives():
    model = network(nouts=(3, 1))
    x = [0.5, -1.0]
    hidden = [v.data for v in model.layers[0](x)]
    words = words_of(plot.network(model, x))
    for number in [*x, *hidden, model(x).data]:
        assert f"{number:.2g}" in words
    assert "0.5" not in words_of(plot.network(model))


def test_gradients_are_drawn_after_a_backward_pass_and_asked_for_before_one():
    model = nn.Neuron(2, activation="linear", seed=0)
    with pytest.raises(ValueError, match=r"every gradient is 0: call loss.backward\(\) first"):
        plot.network(model, edges="gradient")
    model([3.0, -1.0]).backward()
    edges = {start: colour[:3] for start, _, colour, _ in edges_of(plot.network(model, edges="gradient"))}
    upper, lower = sorted(edges, key=lambda at: -at[1])
    assert edges[upper] == colors.to_rgb(plot.ORANGE) and edges[lower] == colors.to_rgb(plot.BLUE)
    assert [w.grad for w in model.w] == [3.0, -1.0]


def test_of_large_layers_the_first_and_last_are_drawn_and_the_rest_is_counted():
    ax = plot.network(nn.MLP(3, [300, 16, 2], seed=0))
    assert {"290 more", "6 more", "300 relu", "3 inputs"} <= set(words_of(ax))
    assert len(circles_of(ax)) == 3 + 10 + 10 + 2
    assert sum(len(c.get_segments()) for c in ax.collections) == 3 * 10 + 10 * 10 + 10 * 2
    assert len(circles_of(plot.network(nn.MLP(3, [300, 16, 2], seed=0), units=16))) == 3 + 16 + 16 + 2


@pytest.mark.parametrize("side", [8, 28])
def test_weights_on_an_image_are_drawn_as_images(side):
    model = nn.MLP(side * side, [12, 10], seed=0)
    pixels = [i / side**2 for i in range(side * side)]
    ax = plot.network(model, pixels)
    tiles = [picture.get_array() for picture in ax.images]
    assert len(tiles) == 11
    numbers = [[w.data for w in neuron.w] for neuron in model.layers[0].neurons]
    largest = np.abs([[*ws, neuron.b.data] for ws, neuron in zip(numbers, model.layers[0].neurons)]).max()
    weights = [np.reshape(ws, (side, side)) / largest for ws in numbers]
    drawn_weights = [w for w in weights if any(tile.shape == w.shape and np.allclose(tile, w) for tile in tiles)]
    assert len(drawn_weights) == 10 and any(np.array_equal(tile, np.reshape(pixels, (side, side))) for tile in tiles)
    assert f"{side} x {side} inputs" in words_of(ax)
    assert not plot.network(nn.MLP(16, [2], seed=0), tiles=False).images


class Stacked(nn.Module):
    def __init__(self, first, second):
        self.first, self.second = first, second

    def __call__(self, x):
        return self.second(self.first(x))


def test_a_module_of_layers_is_drawn_and_what_is_none_is_refused():
    assert len(circles_of(plot.network(Stacked(nn.Layer(2, 3), nn.Layer(3, 1))))) == 6
    with pytest.raises(ValueError, match="one of 3 outputs is followed by one that reads 2"):
        plot.network(Stacked(nn.Layer(2, 3), nn.Layer(2, 1)))
    with pytest.raises(TypeError, match=r"network draws an nn.MLP, .* got Value"):
        plot.network(Value(1.0))
    with pytest.raises(ValueError, match=r'edges is "weight" or "gradient", got "bias"|got \'bias\''):
        plot.network(network(), edges="bias")
    with pytest.raises(ValueError, match="tiles are of inputs that make a square"):
        plot.network(network(), tiles=True)
    with pytest.raises(ValueError, match="2"):
        plot.network(network(), [1.0, 2.0, 3.0])


def test_a_network_of_infinite_or_no_weights_is_drawn():
    model = nn.Neuron(2)
    model.w[0].data, model.w[1].data = math.inf, 0.0
    assert len(edges_of(plot.network(model, [1.0, math.nan]))) == 2


# --- what a picture may not do


@pytest.mark.parametrize("limits", [((-2, 6), (-3, 3)), ((-2, 2), (-1, 1)), ((-1, 1), (-2, 2)), ((-2, 6), (-100, 100))])
def test_no_arrow_of_a_field_is_cut_off_at_the_edge(limits):
    ax = plot.gradient_field(lambda x, y: (x - 0.5) ** 2 + y * y / 9, *limits, steps=7)
    drawn(ax)
    (field,) = [c for c in ax.collections if isinstance(c, quiver.Quiver)]
    box = ax.get_window_extent()
    middle = ax.transData.transform(field.XY)
    ahead = ax.transData.transform(field.XY + 1e-6 * np.column_stack([field.U, field.V])) - middle
    ahead /= np.hypot(*ahead.T)[:, None]
    half = 0.5 * np.hypot(field.U, field.V)[:, None] / field.scale * box.width
    for end in middle + half * ahead, middle - half * ahead:
        assert (end >= [box.x0 - 1, box.y0 - 1]).all() and (end <= [box.x1 + 1, box.y1 + 1]).all()


@pytest.mark.parametrize("draw", [SINGLE["landscape"], SINGLE["gradient_field"]], ids=["landscape", "gradient_field"])
def test_a_colour_bar_is_as_tall_as_its_picture(draw):
    axes = plt.subplots(1, 3, figsize=(9, 4), layout="constrained")[1]
    ax = draw(ax=axes[1])
    drawn(ax)
    (bar,) = ax.child_axes
    assert bar.get_window_extent().height == pytest.approx(ax.get_window_extent().height)
    assert bar.get_tightbbox().x1 < axes[2].get_tightbbox().x0
