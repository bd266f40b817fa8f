"""explain: what it says is true, adds up, and can be read in a terminal and in a notebook."""

import itertools
import math
import random
import re
import subprocess
import sys

import pytest

import tinygrad_lite
from tinygrad_lite import (
    OPS,
    Op,
    Value,
    anomaly,
    clip,
    cos,
    data,
    dot,
    exp,
    jit,
    log,
    maximum,
    mean,
    minimum,
    nn,
    no_grad,
    ops,
    optim,
    pick,
    relu,
    sigmoid,
    tanh,
    total,
    where,
)
from tinygrad_lite.engine import topological_order
from tinygrad_lite.explanation import MOST, Table, explain, formulas, number, written

from .micrograds_example import micrograds_example
from .operation import inf, nan
from .operations import EDGES, OPERATIONS

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
NUMBER = r"-?[\d.]+(?:e[+-]\d+)?|-?inf|nan|-"
ROW = re.compile(rf"^  (\S.*?)\s+({NUMBER})\s+\*\s+({NUMBER})\s+=\s+({NUMBER})(?:\s+(\S.*))?$")


def printed(text):
    """[(who, upstream, local, product, formula)] of each row of a printed table, numbers as floats, "-" as None."""
    found = [ROW.match(line) for line in text.splitlines()]
    return [(m[1], *[None if x == "-" else float(x) for x in m.group(2, 3, 4)], m[5]) for m in found if m]


def same(a, b, tolerance=1e-12):
    return (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=tolerance, abs_tol=1e-300)


def added(contributions):
    return sum(use.product for use in contributions if use.product is not None)


def operands(point):
    return [Value(x, name) for x, name in zip(point, "abcdefgh")]


def neuron():
    w, x = [Value(-3.0, "w1"), Value(1.0, "w2")], [Value(2.0, "x1"), Value(0.5, "x2")]
    out = tanh(dot(w, x, Value(6.0, "b")))
    out.label = "out"
    out.backward()
    return w, x, out


def micrograd():
    a, b, g = micrograds_example()
    a.label, b.label, g.label = "abg"
    g.backward()
    return a, b, g


def moons(n=20):
    X, y = data.moons(n, noise=0.1, seed=1)
    model = nn.MLP(2, [16, 16, 1], seed=1)
    loss = mean([nn.hinge(model(x), side) for x, side in zip(X, y)])
    loss.label = "loss"
    loss.backward()
    return model, loss


def written_of(node):
    return number(0.0)._replace(text=node.label, latex=node.label)


def labelled(**values):
    return [Value(x, name) for name, x in values.items()]


# --- it adds up


@each_op
def test_the_contributions_to_each_operand_add_up_to_its_gradient(op):
    for point in OPERATIONS[op].samples:
        xs = operands(point)
        out = Value.record(op, xs)
        root = total([out * 0.7, out * out, *[x * 1.3 for x in xs]])  # more users, and an upstream that is not 1
        root.backward()
        for v in (out, *xs):
            found = explain(v, root)
            assert found.gradient == v.grad  # added up in the same order: the same bits
            assert same(added(found.contributions), v.grad)
            rows = printed(found.text)[: len(found.contributions)]
            size = sum(abs(use.product or 0.0) for use in found.contributions)
            assert abs(sum(row[3] or 0.0 for row in rows) - v.grad) <= 1e-5 * size
            for _, upstream, local, product, _ in rows:
                if product is not None:
                    assert same(upstream * local, product, 2e-5)


@each_op
def test_what_a_node_sends_is_what_its_operands_get_from_it(op):
    for point in OPERATIONS[op].samples:
        xs = operands(point)
        out = Value.record(op, xs)
        out.backward()
        sent = explain(out).sent
        assert [use.operand for use in sent] == xs
        assert [use.product or 0.0 for use in sent] == [x.grad for x in xs]
        assert [use.local for use in sent] == list(out.local_grads)


@pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.text)
def test_the_contributions_add_up_at_every_edge_too(edge):
    xs = operands(edge.point)
    root = edge.f(*xs)
    root.backward()
    for x in xs:
        found = explain(x, root)
        assert same(added(found.contributions), x.grad)
        assert found.text and found.latex
        assert same(0.0 if found.gradient is None else found.gradient, x.grad)
    assert explain(root).text and explain(root, wrt=xs[0]).latex


def test_contributions_of_a_parameter_with_many_users_are_the_largest_and_the_rest_summed_up():
    model, loss = moons()
    for p in model.parameters()[::9]:
        found = explain(p, loss)
        assert len(found.contributions) == 20
        assert (found.gradient or 0.0) == p.grad and same(added(found.contributions), p.grad, 1e-9)
        rows = printed(found.text)
        sent = [use.product for use in found.contributions if use.product is not None]
        listed = len(sent) if len(sent) < 19 else 20
        assert listed == 20 or f"  {20 - listed} users send nothing" in found.text
        rows = [row for row in rows if "send nothing" not in row[0]]
        assert len(rows) == min(listed, MOST)
        sizes = sorted(map(abs, sent), reverse=True)
        assert [abs(row[3] or 0.0) for row in rows] == pytest.approx(sizes[:MOST], rel=1e-5)
        rest = re.search(r"and (\d+) more, together.*?\s+(\S+)$", found.text, re.M)
        assert (int(rest[1]) if rest else 0) == listed - len(rows)
        rest = float(rest[2]) if rest else 0.0
        assert abs(sum(row[3] or 0.0 for row in rows) + rest - p.grad) <= sum(sizes) * 1e-4
        if found.gradient is not None:
            assert float(re.search(r"^  sum\s+(\S+)$", found.text, re.M)[1]) == pytest.approx(p.grad, rel=1e-5)


def test_a_dot_of_784_pairs_shows_the_largest_and_sums_up_the_rest():
    r = random.Random(1)
    ws, xs = [[Value(r.gauss(0, 1)) for _ in range(784)] for _ in range(2)]
    out = dot(ws, xs)
    out.backward()
    found = explain(out)
    assert len(found.sent) == 1568
    rows = printed(found.text)
    assert len(rows) == MOST and "dot([v1, ...], [v785, ...])" in found.text
    assert abs(rows[0][3]) == pytest.approx(max(abs(x.grad) for x in (*ws, *xs)), rel=1e-5)
    rest = float(re.search(r"and 1,560 more, together\s+(\S+)$", found.text, re.M)[1])
    assert sum(row[3] for row in rows) + rest == pytest.approx(added(found.sent), rel=1e-4)


def test_an_operand_used_twice_contributes_twice():
    (x,) = labelled(x=3.0)
    y = x * x
    y.label = "y"
    y.backward()
    found = explain(x, y)
    assert [(use.user, use.place, use.product) for use in found.contributions] == [(y, 0, 3.0), (y, 1, 3.0)]
    assert printed(found.text) == [
        ("y = x * x (operand 1)", 1.0, 3.0, 3.0, "x"),
        ("y = x * x (operand 2)", 1.0, 3.0, 3.0, "x"),
    ]
    assert "d y / d x = 6 comes from the only user of x" in found.text


def test_explaining_changes_neither_gradients_nor_the_graph():
    a, b, g = micrograd()
    order = topological_order(g)
    before = [(v.data, v.grad, v.label, v.op, v.args, v.local_grads) for v in order]
    for _ in range(2):
        explain(a, g), explain(g), explain(g, wrt=b), explain(order[9], g, wrt=a), repr(explain(b, g))
    assert [(v.data, v.grad, v.label, v.op, v.args, v.local_grads) for v in order] == before
    assert topological_order(g) == order


def test_the_same_graph_is_explained_in_the_same_words():
    assert explain(*micrograd()[::2]).text == explain(*micrograd()[::2]).text
    assert explain(*micrograd()[::2]).latex == explain(*micrograd()[::2]).latex


# --- formulas come from the table


@each_op
def test_the_printed_formula_evaluates_to_the_local_derivative(op):
    functions = {name: getattr(tinygrad_lite, name) for name in tinygrad_lite.__all__}
    for point in OPERATIONS[op].samples:
        for plain in (None, *range(1, len(point))):  # also with a plain number among the operands
            xs = operands(point)
            if plain is not None:
                xs[plain] = point[plain]
            out = Value.record(op, xs)
            out.label = "y"
            out.backward()
            numbers = {x.label: x.data for x in (*xs, out) if isinstance(x, Value)}
            rows = printed(explain(out).text)
            assert len(rows) == sum(isinstance(x, Value) for x in xs)
            for (_, _, local, _, formula), use in zip(rows, explain(out).sent):
                if use.local is None:
                    assert (local, formula) == (None, "not selected")
                else:
                    assert same(local, use.local, 1e-5)
                    # a plain number has six digits, also within a formula
                    exact = re.fullmatch(NUMBER, formula) is None and re.search(r"\d\.\d{4}", formula) is None
                    value = eval(formula, {**functions, **numbers})
                    assert same(float(value), use.local, 1e-12 if exact else 1e-5), f"{op}: {formula}"


FORMULAS = {
    ops.add: ["1", "1"],
    ops.mul: ["b", "a"],
    ops.div: ["1 / b", "-y / b"],
    ops.power: ["b * a**(b - 1)", "y * log(a)"],
    ops.abs_: ["sign(a)"],
    ops.exp: ["y"],
    ops.log: ["1 / a"],
    ops.log1p: ["1 / (1 + a)"],
    ops.sqrt: ["0.5 / sqrt(a)"],
    ops.hypot: ["a / y", "b / y"],
    ops.cos: ["-sin(a)"],
    ops.asin: ["1 / sqrt(1 - a**2)"],
    ops.acos: ["-1 / sqrt(1 - a**2)"],
    ops.atan2: ["b / (b**2 + a**2)", "-a / (b**2 + a**2)"],
    ops.tanh: ["1 - y**2"],
    ops.sigmoid: ["y * (1 - y)"],
    ops.softplus: ["sigmoid(a)"],
    ops.relu: ["step(a)"],
    ops.logsumexp: ["exp(a - y)", "exp(b - y)"],
}


@pytest.mark.parametrize("op", FORMULAS, ids=lambda op: op.name)
def test_formulas_read_as_in_a_textbook(op):
    xs = operands(OPERATIONS[op].samples[0])
    out = Value.record(op, xs)
    out.label = "y"
    out.backward()
    assert [row[4] for row in printed(explain(out).text)] == FORMULAS[op]


def test_a_new_operation_writes_its_own_formula():
    erf = Op("erf", "erf", math.erf, (lambda out, x: 2 / math.sqrt(math.pi) * exp(-x * x),))
    (x,) = labelled(x=0.5)
    y = erf(x)
    y.backward()
    assert [row[4] for row in printed(explain(y).text)] == ["1.12838 * exp(-x * x)"]
    assert explain(y).text.startswith("out = erf(x) = erf(0.5) = 0.5205\n")
    assert r"\operatorname{erf}\left(x\right)" in explain(y).latex


def test_a_wrong_derivative_is_shown_as_wrong_as_it_is():
    off = Op("tanh", "tanh", math.tanh, (lambda out, x: 1.001 * (1.0 - out * out),))
    (x,) = labelled(x=0.5)
    y = off(x)
    y.backward()
    assert explain(x, y).gradient == x.grad == 1.001 * (1.0 - math.tanh(0.5) ** 2)
    assert printed(explain(x, y).text)[0][4] == "1.001 * (1 - out**2)"


def test_partials_that_know_floats_only_are_shown_as_numbers():
    cube = Op("cube", "cube", lambda x: x**3, (lambda out, x: math.fsum([x * x, 2 * x * x]) if x.real else 0.0,))
    (x,) = labelled(x=2.0)
    y = cube(x)
    y.backward()
    assert printed(explain(y).text) == [("x = 2", 1.0, 12.0, 12.0, "12")]


def test_a_formula_of_any_depth_is_written_down():
    def deep(out, x):
        for _ in range(5000):
            x = 0.5 * x + out
        return x

    x = Value(1.0, "x")
    out = Op("deep", "deep", lambda x: x, (deep,))(x)
    (formula,) = formulas(out, written_of)
    assert len(formula.written.text) < 400 and "(...)" in formula.written.text
    assert formula.data == pytest.approx(2.0)


def test_a_compiled_function_is_one_node_with_the_numbers_it_recorded():
    pytest.importorskip("llvmlite", reason="needs the extra `jit`")
    (w,) = labelled(w=2.0)
    f = jit(lambda x: (w * x).tanh())
    loss = f.mean([0.1, 0.2])
    loss.backward()
    found = explain(w, loss)
    assert found.gradient == w.grad
    assert [row[0] for row in printed(found.text)] == ["out = jit(w)"]
    assert ".data changed" not in found.text
    (zero,) = labelled(z=0.0)
    flat = jit(lambda x: relu(zero * x))(0.0)
    assert "out = jit(z) is flat at z = 0: its local derivative is 0." in explain(zero, flat).text


NOTATION = [  # what is recorded of a, b, c, how it is written, and in LaTeX
    (lambda a, b, c: (a + b) * c, "(a + b) * c", r"\left(a + b\right) \cdot c"),
    (lambda a, b, c: a - (b - c), "a - (b - c)", r"a - \left(b - c\right)"),
    (lambda a, b, c: a - b - c, "a - b - c", "a - b - c"),
    (lambda a, b, c: a / (b * c), "a / (b * c)", r"\frac{a}{b \cdot c}"),
    (lambda a, b, c: (a * b) ** c, "(a * b)**c", r"\left(a \cdot b\right)^{c}"),
    (lambda a, b, c: -(a + b), "-(a + b)", r"-\left(a + b\right)"),
    (lambda a, b, c: a - -b, "a - (-b)", r"a - \left(-b\right)"),
    (lambda a, b, c: (-a) ** 2, "(-a)**2", r"\left(-a\right)^{2}"),
    (lambda a, b, c: a ** (b + c), "a**(b + c)", "a^{b + c}"),
    (lambda a, b, c: a * 1e-7, "a * 1e-07", r"a \cdot 1 \cdot 10^{-7}"),
    (lambda a, b, c: ops.sqrt(a + b), "sqrt(a + b)", r"\sqrt{a + b}"),
    (lambda a, b, c: abs(a), "abs(a)", r"\left|a\right|"),
    (lambda a, b, c: ops.tanh(a / b), "tanh(a / b)", r"\tanh\left(\frac{a}{b}\right)"),
    (lambda a, b, c: sigmoid(a), "sigmoid(a)", r"\operatorname{sigmoid}\left(a\right)"),
    (lambda a, b, c: dot([a, b], [c, 2], a), "dot([a, b], [c, 2], a)", r"a \cdot c + b \cdot 2 + a"),
    (lambda a, b, c: total([a, b]), "total([a, b])", "a + b"),
    (lambda a, b, c: mean([a, b]), "mean([a, b])", r"\operatorname{mean}\left(a, b\right)"),
    (lambda a, b, c: maximum(a, b), "maximum(a, b)", r"\max\left(a, b\right)"),
    (lambda a, b, c: pick(1, [a, b]), "pick(1, [a, b])", r"\operatorname{pick}\left(1, a, b\right)"),
    (lambda a, b, c: ops.less(a, b), "(a < b)", r"\left(a \lt b\right)"),
]


@pytest.mark.parametrize(("f", "text", "latex"), NOTATION, ids=[text for _, text, _ in NOTATION])
def test_expressions_have_the_parentheses_that_they_need(f, text, latex):
    leaves = labelled(a=2.0, b=3.0, c=5.0)
    out = f(*leaves)
    expressions = {x: written_of(x) for x in leaves}
    for node in topological_order(out):
        if node.op:
            expressions[node] = written(
                node.op, [expressions[x] if isinstance(x, Value) else number(x) for x in node.args]
            )
    assert (expressions[out].text, expressions[out].latex) == (text, latex)


@pytest.mark.parametrize(
    ("x", "text", "latex"),
    [
        (0.1 + 0.2, "0.3", "0.3"),
        (-0.0, "0", "0"),
        (1e-7, "1e-07", r"1 \cdot 10^{-7}"),
        (-2.5e30, "-2.5e+30", r"-2.5 \cdot 10^{30}"),
        (1234567.0, "1.23457e+06", r"1.23457 \cdot 10^{6}"),
        (inf, "inf", r"\infty"),
        (-inf, "-inf", r"-\infty"),
        (nan, "nan", r"\mathrm{nan}"),
    ],
)
def test_a_number_is_written_with_six_digits(x, text, latex):
    assert number(x)[:2] == (text, latex)


# --- names


def test_parameters_have_their_paths_labelled_values_their_labels_others_numbers_in_the_order_of_the_graph():
    model = nn.MLP(2, [3, 1], seed=0)
    loss = (model([0.5, 1.0]) - 1.0) ** 2
    loss.label = "loss"
    loss.backward()
    text = explain(model.layers[0].neurons[1].w[1], loss).text
    assert text.startswith("L0.n1.w1 (layers.0.neurons.1.w.1) = ")
    assert "v3 = dot([L0.n1.w0, L0.n1.w1], [0.5, 1], L0.n1.b)" in text
    again = explain(explain(model.layers[0].neurons[1].w[1], loss).contributions[0].user, loss).text
    assert again.startswith("v3 = dot([L0.n1.w0, L0.n1.w1], [0.5, 1], L0.n1.b)")


def test_labels_that_several_values_share_are_numbered_and_labels_like_v1_are_not_given_twice():
    x, y = Value(1.0, "x"), Value(2.0, "x")
    taken = Value(3.0, "v1")
    out = (x * y) * taken
    assert explain(out).text.startswith("out = v2 * v1 = 2 * 3 = 6\n")
    assert "x#1 = 1 is a leaf" in explain(x, out).text
    assert [row[0] for row in printed(explain(y, out).text)] == ["v2 = x#1 * x#2"]


def test_a_label_that_is_an_expression_stands_in_parentheses():
    n = Value(6.0, "x1*w1 + b")
    out = n * 2
    assert explain(out).text.startswith("out = (x1*w1 + b) * 2 = 6 * 2 = 12\n")
    assert "d out / d (x1*w1 + b)" in explain(n, out).text


# --- what it says


def test_a_leaf_an_interior_node_and_the_root_say_what_they_are():
    w, _, out = neuron()
    assert explain(w[0]).text.startswith("w1 = -3 is a leaf: no operation made it.\n")
    assert explain(out).text.startswith("out = tanh(v1) = tanh(0.5) = 0.462117\n")
    assert "d out / d out = 1: backward() starts here." in explain(out, out).text
    assert explain(out, out).gradient == 1.0 and explain(out, out).contributions == ()


def test_the_readme_neuron_in_full():
    out = neuron()[-1]
    assert explain(out.args[0], out).text == "\n".join(
        [
            "v1 = dot([w1, w2], [x1, x2], b) = 0.5",
            "",
            "d out / d v1 = 0.786448 comes from the only user of v1: upstream d out / d user times local",
            "derivative.",
            "",
            "  user            upstream      local   contribution  local is",
            "  out = tanh(v1)         1 * 0.786448 =     0.786448  1 - out**2",
            "",
            "To each operand v1 sends its own gradient times the local derivative d v1 / d operand:",
            "",
            "  operand   upstream   local        sent  local is",
            "  w1 = -3   0.786448 *   2   =  1.5729    x1",
            "  w2 = 1    0.786448 *   0.5 =  0.393224  x2",
            "  x1 = 2    0.786448 *  -3   = -2.35934   w1",
            "  x2 = 0.5  0.786448 *   1   =  0.786448  w2",
            "  b = 6     0.786448 *   1   =  0.786448  1",
        ]
    )


def explained(f, *leaves):
    """The explanation, on one line, of the first leaf in f(*leaves) after a backward pass."""
    root = f(*leaves)
    root.label = "root"
    root.backward()
    return flat(explain(leaves[0], root))


def flat(explanation):
    return " ".join(explanation.fitted(10_000).split())


WHY = {
    "saturated": (
        lambda x: 3 * tanh(x),
        {"x": 100.0},
        "v1 = tanh(x) is saturated: it stays 1 when x = 100 moves; its local derivative is 1 - v1**2 = 0.",
    ),
    "saturated below": (
        lambda x: sigmoid(x),
        {"x": -1000.0},
        "root = sigmoid(x) is saturated: it stays 0 when x = -1000 moves; its local derivative is root * (1 - root) =",
    ),
    "almost saturated": (
        lambda x: 3 * tanh(x),
        {"x": 15.0},
        "v1 = tanh(x) is almost flat at x = 15: its local derivative is 1 - v1**2 = 3.74367e-13.",
    ),
    "flat": (lambda x: cos(x), {"x": 0.0}, "root = cos(x) is flat at x = 0: its local derivative is -sin(x) = 0."),
    "square": (lambda x: x**2, {"x": 0.0}, "root = x**2 is flat at x = 0: its local derivative is 2 * x = 0."),
    "dead": (
        lambda x: relu(x) * 2,
        {"x": -1.2},
        "v1 = relu(x) is dead: x = -1.2 is not above 0, so nothing is sent back.",
    ),
    "dead further up": (
        lambda x, w: relu(w * x - 5) * 2,
        {"x": 2.0, "w": 1.0},
        "v3 = relu(v2) is dead: v2 = -3 is not above 0, so nothing is sent back.",
    ),
    "condition": (
        lambda c, a: where(c, a, 2.0),
        {"c": 1.0, "a": 5.0},
        "root = where(c, a, 2) = 5 took its value from elsewhere: c = 1 was not selected, so nothing is sent to it.",
    ),
    "where": (
        lambda a, c: where(c, a, 2.0),
        {"a": 5.0, "c": 0.0},
        "root = where(c, a, 2) = 2 took its value from elsewhere: a = 5 was not selected, so nothing is sent to it.",
    ),
    "maximum": (
        lambda a, b: maximum(a, b),
        {"a": 1.0, "b": 2.0},
        "root = maximum(a, b) = 2 took its value from elsewhere: a = 1 was not selected",
    ),
    "minimum of a number": (lambda a: minimum(a, 0.0), {"a": 1.0}, "root = minimum(a, 0) = 0 took its value from"),
    "clip": (lambda x: clip(x, -1, 1), {"x": 3.0}, "root = clip(x, -1, 1) = 1 took its value from elsewhere"),
    "pick": (lambda a, b: pick(1, [a, b]), {"a": 1.0, "b": 2.0}, "root = pick(1, [a, b]) = 2 took its value from"),
    "comparison": (
        lambda a: ops.less(a, 2.0) * 3,
        {"a": 1.0},
        "v1 = (a < 2) is piecewise constant, so nothing is sent to a.",
    ),
    "step": (lambda x: ops.step(x), {"x": 1.0}, "root = step(x) is flat at x = 1: its local derivative is 0."),
    "times 0": (lambda w, x: w * x, {"w": 3.0, "x": 0.0}, "root = w * x multiplies w by x = 0, so it sends 0 back."),
    "times a plain 0": (
        lambda w, b: dot([w, w], [0.0, 0.0], b),
        {"w": 3.0, "b": 1.0},
        "root = dot([w, w], [0, 0], b) multiplies w by 0, so it sends 0 back.",
    ),
    "too small": (
        lambda x: (x * 1e-200) * 1e-200,
        {"x": 1.0},
        "v1 = x * 1e-200 sends 0: upstream 1e-200 times local derivative 1e-200 is too small for a float.",
    ),
    "cancel": (
        lambda x: 2 * x - 2 * x,
        {"x": 3.0},
        "The contributions are not 0, but they cancel: their sizes add up to 4.",
    ),
    "almost cancel": (
        lambda x: total([1e12 * x, -1e12 * x, x]),
        {"x": 3.0},
        "The contributions are not 0, but they cancel: their sizes add up to 2e+12.",
    ),
    "cancel further up": (
        lambda x: (lambda y: 2 * y - 2 * y)(tanh(x)),
        {"x": 3.0},
        "The contributions to the gradient of v1 are not 0, but they cancel.",
    ),
    "bias": (
        lambda b, w: tanh(w * 2 + b),
        {"b": 0.0, "w": 0.3},
        "That b is 0 does not matter: its gradient says how root changes when b moves. "
        "Here it is only added, so every local derivative is 1.",
    ),
    "zero factor": (
        lambda w, x: w * x,
        {"w": 0.0, "x": 2.0},
        "That w is 0 does not matter: its gradient says how root changes when w moves.",
    ),
    "nan of 0 x inf": (
        lambda x: ops.sqrt(x) ** 2,
        {"x": 0.0},
        "The first nan on the way back is sent by v1 = sqrt(x) to x = 0: upstream 0 times local derivative "
        "0.5 / sqrt(x) = inf is nan.",
    ),
    "infinity": (
        lambda x: log(x),
        {"x": 0.0},
        "The first infinity on the way back is sent by root = log(x) to x = 0: upstream 1 times local derivative "
        "1 / x = inf is inf.",
    ),
    "inf - inf": (
        lambda x: log(x) - log(x * 2),
        {"x": 0.0},
        "Then inf and -inf are added, which gives nan.",
    ),
    "sum too large": (
        lambda x: total([1e308 * x, 1e308 * x]),
        {"x": 1.0},
        "No single product is infinite, but on the way a sum of them overflows.",
    ),
}


@pytest.mark.parametrize(("f", "leaves", "sentence"), WHY.values(), ids=WHY)
def test_a_gradient_says_why_it_is_what_it_is(f, leaves, sentence):
    assert sentence in explained(f, *labelled(**leaves))


@pytest.mark.parametrize(("f", "leaves", "sentence"), WHY.values(), ids=WHY)
def test_an_ordinary_gradient_gives_no_reasons(f, leaves, sentence):
    x, w = labelled(x=0.3, w=1.5)
    text = explained(lambda x, w: tanh(w * x) + x, x, w)
    assert sentence[-30:] not in text
    assert text.endswith(f"sum {x.grad:.6g}")


def test_a_reason_is_given_where_the_gradient_was_lost_and_nowhere_below():
    (x,) = labelled(x=100.0)
    text = explained(lambda x: 3 * tanh(2 * x), x)
    assert text.endswith(
        "v2 = tanh(v1) is saturated: it stays 1 when v1 = 200 moves; its local derivative is 1 - v2**2 = 0."
    )
    assert text.count("local derivative is") == 1 and "too small" not in text


def test_a_node_that_sends_something_gives_no_reason_for_what_it_did_not_select():
    a, b = labelled(a=1.0, b=2.0)
    assert explain(maximum(a, b)).text.endswith(
        "  a = 1        -  not selected\n  b = 2        1  1\n\nout.grad is still 0: no backward pass has reached out."
    )
    assert "took its value from elsewhere: a = 1 was not selected" in flat(explain(maximum(a, 2.0)))


def test_a_gradient_lost_in_many_places_names_three_and_counts_the_others():
    w = Value(1.0, "w")
    root = total([relu(w * -i) for i in range(1, 11)])
    root.backward()
    text = explain(w, root).text
    assert text.count("is dead") == 3
    assert "It is also lost in 7 other places on the way to w." in text
    assert explain(w, root).gradient is None and "Nothing is sent to w:" in text


def test_the_first_nan_and_the_infinity_that_it_came_from_are_named():
    x, y = labelled(x=0.0, y=2.0)
    n = log(x) * x + y
    n.label = "n"
    text = flat(explain(n * 2))
    assert "The first infinity on the way to out is v1 = log(x) = log(0) = -inf." in text
    assert "The first nan on the way to out is v2 = v1 * x = -inf * 0 = nan." in text
    assert "The first infinity on the way to out is out = exp(x) = exp(1000) = inf." in flat(
        explain(exp(Value(1000.0, "x")))
    )
    assert "The first nan on the way to out is x = nan." in flat(explain(Value(nan, "x") * 2))
    assert "The first nan on the way to out is out = log(x) = log(-1) = nan." in flat(explain(log(Value(-1.0, "x"))))


def test_an_infinity_beside_the_way_is_not_blamed():
    x, y = labelled(x=0.0, y=-1.0)
    text = flat(explain(where(1.0, log(y), log(x)) + relu(log(x))))
    assert "log(y) = log(-1) = nan" in text and "log(x)" not in text


# --- whether .grad is this gradient


def test_without_a_root_it_says_how_the_users_are_found():
    w, _, out = neuron()
    assert "w1.grad is 1.5729. It came from the users of w1." in flat(explain(w[0]))
    assert "explain(w1, root) finds them, where root is the Value on which backward() was called" in flat(explain(w[0]))
    assert "If backward() was called on out, this 1 is where it started." in flat(explain(out))
    assert explain(w[0]).gradient is None


def test_before_a_backward_pass_it_shows_local_derivatives_and_what_would_be_added():
    a, b = labelled(a=2.0, b=3.0)
    y = a * b
    assert "out.grad is still 0: no backward pass has reached out." in explain(y).text
    assert "operand  local  local is" in explain(y).text
    assert [use.product for use in explain(y).sent] == [None, None]
    text = explain(a, y).text
    assert "a.grad is still 0: no backward pass has reached a. out.backward() would add 3 to it." in text
    assert explain(a, y).gradient == 3.0 and a.grad == 0.0


def test_gradients_that_have_added_up_are_told_from_those_of_this_pass():
    (w,) = labelled(w=3.0)
    loss, other = w * 2, w * 5
    loss.label = "loss"
    loss.backward()
    assert "But" not in explain(w, loss).text
    loss.backward()
    text = flat(explain(w, loss))
    assert "But w.grad is 4, 2 times as much: backward passes add up in a leaf until zero_grad() is called." in text
    other.backward()
    assert "But w.grad is 9. Other backward passes have added to it" in flat(explain(w, loss))
    w.zero_grad()
    assert "w.grad is still 0: no backward pass has reached w. loss.backward() would add 2" in flat(explain(w, loss))
    w.grad = 0.0
    assert "But w.grad is 0. Other backward passes have added to it, it was changed" in flat(explain(w, loss))


def test_an_interior_gradient_of_another_root_is_not_taken_for_this_one():
    (x,) = labelled(x=0.5)
    h = tanh(x)
    one, two = h * 2, h * 3
    one.backward()
    assert explain(h, two).gradient == 3.0
    assert "But v1.grad is 2: the last backward pass to reach it did not start from out." in flat(explain(h, two))
    two.backward()
    assert "But" not in explain(h, two).text


def test_numbers_that_changed_after_the_recording_are_noticed():
    model, loss = moons()
    ps = model.parameters()
    assert ".data changed" not in explain(ps[-1], loss).text
    optim.SGD(ps, lr=0.1).step()
    ps = [p for p in ps[::20] if p.grad]
    before = [p.grad for p in ps]
    found = [explain(p, loss) for p in ps]
    assert all("Some .data changed after the graph was recorded" in flat(e) for e in found)
    assert [e.gradient for e in found] == before and len(ps) > 5


def test_no_path_says_so_and_where_one_may_have_ended():
    a, b = labelled(a=2.0, b=3.0)
    y = a * b.data
    y.label = "y"
    y.backward()
    text = flat(explain(b, y))
    assert "There is no path from b to y: b is not among the Values that y was made from." in text
    assert "where a number is taken out of the graph, by .data or under no_grad()." in text
    assert "The other way round" not in text
    assert "The other way round there is one: explain(a, y)." in flat(explain(y, a))
    assert explain(b, y).contributions == () and explain(b, y).gradient is None


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda v: explain([v]), r"explain expects a Value as v, got \[Value"),
        (lambda v: explain(3.0), "explain expects a Value as v, got 3.0"),
        (lambda v: explain(None), "explain expects a Value as v, got None"),
        (lambda v: explain(v, "loss"), "explain expects a Value as root, got 'loss'"),
        (lambda v: explain(v, wrt=[v]), r"explain expects a Value as wrt, got \[.*; one Value at a time, for example"),
    ],
)
def test_a_wrong_call_says_what_was_expected_and_what_was_got(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake(Value(1.0))


@pytest.mark.parametrize("mode", [no_grad, anomaly], ids=["no_grad", "anomaly"])
def test_an_explanation_does_not_depend_on_the_modes_of_the_thread(mode):
    a, b, g = micrograd()
    before = [explain(b, g).text, explain(g, wrt=a).text, explain(g).text]
    with mode():
        assert [explain(b, g).text, explain(g, wrt=a).text, explain(g).text] == before
        explain(log(Value(2.0)))


# --- paths


def all_paths(root, x):
    """Every path by brute force: (nodes from x up, local derivatives)."""
    if root is x:
        return [((x,), ())]
    return [
        ((*nodes, root), (*grads, dx))
        for a, dx in zip(root.args, root.local_grads)
        if dx is not None
        for nodes, grads in all_paths(a, x)
    ]


def random_graph(seed):
    r = random.Random(seed)
    nodes = [Value(r.uniform(-2.0, 2.0)) for _ in range(3)]
    for _ in range(12):
        a, b = r.choice(nodes[-5:]), r.choice(nodes[-5:])
        make = r.choice((lambda: a * b, lambda: a + b, lambda: tanh(a), lambda: maximum(a, b), lambda: relu(a) - b))
        nodes.append(make())
    return nodes


@pytest.mark.parametrize("seed", range(40))
def test_paths_are_the_largest_of_all_paths_counted_and_summed(seed):
    nodes = random_graph(seed)
    root = nodes[-1]
    for x in topological_order(root)[:-1]:
        expected = all_paths(root, x)
        found = explain(root, wrt=x)
        assert found.path_count == len(expected)
        assert len(found.paths) == min(MOST, len(expected))
        assert len({tuple(map(id, p.nodes)) + p.local_grads for p in found.paths}) <= len(found.paths)
        sizes = sorted((abs(math.prod(grads)) for _, grads in expected), reverse=True)
        assert [abs(p.product) for p in found.paths] == pytest.approx(sizes[:MOST], rel=1e-12, abs=1e-300)
        assert {(p.nodes, p.local_grads) for p in found.paths} <= set(expected)
        if expected:
            scale = sum(sizes) + 1e-300
            assert abs(found.derivative - sum(math.prod(grads) for _, grads in expected)) <= 1e-12 * scale
        else:
            assert found.derivative is None and "There is no path" in found.text


def test_the_derivative_along_paths_is_the_gradient():
    a, b, g = micrograd()
    for x in a, b:
        found = explain(g, wrt=x)
        assert same(found.derivative, x.grad)
        assert found.path_count == len(all_paths(g, x))
        assert f"is the sum over {found.path_count} paths" in found.text
        products = [float(line.split()[-1]) for line in found.text.splitlines() if "->" in line]
        rest = float(re.search(rf"and {found.path_count - 8} more, together\s+(\S+)", found.text)[1])
        assert sum(products) + rest == pytest.approx(x.grad, rel=1e-4)


def test_a_path_shows_its_nodes_and_few_local_derivatives():
    (x,) = labelled(x=2.0)
    y = tanh(x * x * -1.0)
    y.label = "y"
    text = explain(y, wrt=x).text
    assert re.search(r"^  x -> v1 -> v2 -> y  2 \* \(-1\) \* 0\.00134095 = -0\.0026819$", text, re.M)
    assert explain(x, wrt=x).derivative == explain(x, wrt=x).path_count == 1


def test_astronomically_many_paths_are_counted_not_walked():
    x = v = Value(1.0, "x")
    for _ in range(100):
        v = v * 0.5 + v * 0.6
    found = explain(v, wrt=x)
    assert found.path_count == 2**100
    assert found.derivative == pytest.approx(1.1**100)
    assert f"{2**100 - MOST:,} more, together" in found.text
    assert found.paths[0].product == pytest.approx(0.6**100)
    assert [p.product for p in found.paths[1:]] == pytest.approx([0.6**99 * 0.5] * (MOST - 1))
    assert len({p.nodes for p in found.paths}) == MOST
    for _ in range(1000):
        v = v * 0.5 + v * 0.5
    assert explain(v, wrt=x).path_count == inf
    assert "more than 1e308 paths" in explain(v, wrt=x).text


def test_what_was_not_selected_is_no_path():
    x, y = labelled(x=-1.0, y=2.0)
    out = maximum(x, y) * x + relu(x)
    found = explain(out, wrt=x)
    assert found.path_count == 1 and found.derivative == 2.0
    dead = explain(relu(x) * 3, wrt=x)
    assert dead.path_count == 0 and dead.derivative is None
    assert "There is no path from x to out on which anything is sent." in dead.text
    assert "v1 = relu(x) is dead: x = -1 is not above 0" in dead.text
    assert "The other way round" not in dead.text
    assert "The other way round there may be one: explain(v1, wrt=x)." in flat(explain(x, wrt=relu(x)))


def test_paths_and_users_can_be_asked_for_at_once():
    w, _, out = neuron()
    found = explain(out.args[0], out, wrt=w[0])
    assert found.gradient == out.args[0].grad and found.derivative == 2.0
    assert "comes from the only user of v1" in found.text and "comes along the only path" in found.text


# --- size

DEEP = """
import sys
sys.path[:] = {path!r}
from tinygrad_lite import Value
from tinygrad_lite.explanation import explain
def main():
    sys.setrecursionlimit(150)
    x = v = Value(1.0, "x")
    for _ in range(200_000):
        v = v * 1.0
    v.backward()
    assert explain(x, v).gradient == 1.0
    found = explain(v, wrt=x)
    assert found.derivative == found.path_count == 1.0
    assert "(199,991 more)" in found.text
    assert len(found.latex) < 2000
    print("deep enough")
main()
"""


@pytest.mark.long
def test_a_chain_of_200_000_nodes_is_explained_under_a_recursion_limit_of_150():
    done = subprocess.run(
        [sys.executable, "-c", DEEP.format(path=sys.path)], capture_output=True, text=True, timeout=300
    )
    assert done.stdout == "deep enough\n", done.stderr


def test_a_parameter_with_thousands_of_users_takes_a_page():
    (w,) = labelled(w=0.5)
    root = total([tanh(w * (i / 1000)) for i in range(5000)])
    root.backward()
    found = explain(w, root)
    assert len(found.contributions) == 5000 and found.gradient == w.grad
    assert len(found.text.splitlines()) < 20
    assert "and 4,992 more, together (1 of them 0)" in found.text


# --- how it is shown


def explanations():
    w, _, out = neuron()
    a, b, g = micrograd()
    model, loss = moons()
    p = model.layers[0].neurons[2].w[1]
    x = Value(0.0, "x")
    n = log(x) * x
    n.backward()
    return [
        explain(w[0], out), explain(out.args[0], out), explain(out, wrt=w[1]), explain(b, g), explain(g, wrt=a),
        explain(p, loss), explain(loss), explain(loss, wrt=p), explain(model.layers[1].neurons[3].w[5], loss),
        explain(n), explain(x, n), explain(out, w[0]), explain(Value(1.0)),
        *[explain(Value.record(op, operands(OPERATIONS[op].samples[0]))) for op in OPS],
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_text_fits_the_width_that_is_asked_for(width):
    for found in explanations():
        assert max(map(len, found.fitted(width).splitlines())) <= width
        assert not any(line != line.rstrip() for line in found.fitted(width).splitlines())


def test_a_narrow_terminal_loses_no_number():
    _, b, g = micrograd()
    wide, narrow = (printed(explain(b, g).fitted(width)) for width in (100, 52))
    assert [row[1:4] for row in narrow] == [row[1:4] for row in wide]


def test_the_text_is_100_columns_wide_wherever_and_the_repr_as_wide_as_the_terminal(monkeypatch):
    _, b, g = micrograd()
    found = explain(b, g)
    text = found.text
    monkeypatch.setenv("COLUMNS", "60")
    assert found.text == text == found.fitted(100)
    assert repr(found) == str(found) == found.fitted(60) != text


def test_columns_are_aligned_at_the_decimal_points_also_after_wide_letters():
    x = Value(2.0, "漢字")
    y = x * 3.25 + x * 10 + x
    y.backward()
    table = next(block for block in explain(x, y).blocks if isinstance(block, Table))
    lines = table.fitted(100).splitlines()
    assert lines[1:4] == [
        "  v1 = 漢字 * 3.25         1 *  3.25 =         3.25  3.25",
        "  v2 = 漢字 * 10           1 * 10    =        10     10",
        "  out = v3 + 漢字          1 *  1    =         1     1",
    ]


HOSTILE = [
    "w_1", "a&b", "$x$", "\\", "\\\\", "\\input{x}", "<script>alert(1)</script>", "{a}", "}{", "50%", "#1", "x^2", "~",
    "`k`", "**b**", "[a](javascript:alert(1))", "$$", "a\nb", "a\n\nb", "\x1b[31mred", "x\x00y", "naïve ∂ 漢字", "|a|",
    "&lt;b&gt;", "a'", "\u202egpj", "l" * 500, " ", "v1", "%d {} {0}",
]  # fmt: skip
KNOWN = {
    "begin", "end", "hline", "text", "mathrm", "mathtt", "operatorname", "frac", "partial", "cdot", "sqrt", "left",
    "right", "infty", "to", "le", "lt", "gt", "ldots", "backslash", "wedge", "sim", "ast", "vert", "grave", "prime",
    "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min",
}  # fmt: skip


def assert_sound_latex(latex):
    """Known commands, balanced braces and dollars, one kind of environment, nothing that HTML or Markdown reads."""
    assert set(re.findall(r"\\([A-Za-z]+)", latex.replace("\\\\", ""))) <= KNOWN
    bare = re.sub(r"\\.", "", latex.replace("\\\\", ""), flags=re.S)
    assert bare.count("$") % 2 == 0
    for math_part in re.findall(r"\$\$.*?\$\$|\$[^$]*\$", bare, re.S):
        depth = list(itertools.accumulate({"{": 1, "}": -1}.get(c, 0) for c in math_part))
        assert depth[-1] == 0 and min(depth) >= 0
        assert "\n\n" not in math_part
    prose = re.sub(r"\$\$.*?\$\$|\$[^$]*\$", "", bare, flags=re.S)
    assert not set(prose) & set("\\<>&_*`#%[]{}~^|")
    assert not set(bare) & set("<>`*\0\x1b\u202e")
    assert latex.count(r"\begin{array}") == latex.count(r"\end{array}") == latex.count("$$") / 2


def test_latex_uses_commands_that_mathjax_knows_and_prose_that_markdown_leaves_alone():
    for found in explanations():
        assert_sound_latex(found.latex)


@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_labels_are_data(label):
    x, y = Value(2.0, label), Value(3.0, label + "y")
    out = tanh(x * y) + x
    out.label = label + "out"
    out.backward()
    for found in explain(x, out), explain(out), explain(out, wrt=x), explain(out.args[0], out):
        assert_sound_latex(found.latex)
        assert found.text.isprintable() or all(c == "\n" or c.isprintable() for c in found.text)
        assert max(map(len, found.text.splitlines())) <= 130
        assert same(added(found.contributions), found.gradient or 0.0)


@pytest.mark.parametrize(
    ("label", "latex"),
    [
        ("a", "$a = 1$"),
        ("w1", "$w_{1} = 1$"),
        ("w_12", "$w_{12} = 1$"),
        ("loss", r"$\mathrm{loss} = 1$"),
        ("w_1_2", r"$\mathrm{w\_1\_2} = 1$"),
        ("layers.0.b", r"$\mathrm{layers{.}0{.}b} = 1$"),
        ("a&b", r"$\mathrm{a\&b} = 1$"),
        ("$x$", r"$\mathrm{\$x\$} = 1$"),
        ("\\frac", r"$\mathrm{\backslash{}frac} = 1$"),
        ("<b>", r"$\mathrm{\lt{}b\gt{}} = 1$"),
    ],
)
def test_a_label_is_written_upright_unless_it_is_a_letter_with_an_index(label, latex):
    assert explain(Value(1.0, label)).latex.startswith(latex)


def test_a_notebook_gets_markdown_with_arrays_and_the_text():
    w, _, out = neuron()
    found = explain(w[0], out)
    bundle = found._repr_mimebundle_()
    assert bundle["text/markdown"] == found.latex and bundle["text/plain"] == repr(found)
    assert found.latex == "\n".join(
        [
            "$w_{1} = -3$ is a leaf: no operation made it.",
            "",
            r"$\frac{\partial \mathrm{out}}{\partial w_{1}} = 1.5729$ comes from the only user of $w_{1}$: upstream "
            r"$\frac{\partial \mathrm{out}}{\partial \text{user}}$ times local derivative.",
            "",
            "$$",
            r"\begin{array}{lrcrcrl}",
            r"\text{user} & \text{upstream} &  & \text{local} &  & \text{contribution} & \text{local is} \\ \hline",
            r"v_{1} = w_{1} \cdot x_{1} + w_{2} \cdot x_{2} + b & 0.786448 & \cdot & 2 & = & 1.5729 & x_{1} \\",
            r"\end{array}",
            "$$",
        ]
    )


def test_matplotlib_can_set_the_formulas():
    mathtext = pytest.importorskip("matplotlib.mathtext", reason="needs matplotlib")
    parser = mathtext.MathTextParser("path")
    for op in OPS:
        out = Value.record(op, operands(OPERATIONS[op].samples[0]))
        for formula in formulas(out, lambda v: written_of(v) if v.label else number(0.0)):
            if isinstance(formula, Value):
                parser.parse(f"${formula.written.latex}$")
