"""Models, functions, losses, training steps and graphs in C and JavaScript: as Python computes them."""

import ctypes
import math
import re

import pytest

from tinygrad_lite import Op, Value, data, dot, exp, export, fit, grad, nn, ops, optim

from ..sampling import sample
from .running import by_node, call, compiled


def numbers_of(model_or_source):
    return [p.data for p in model_or_source.parameters]


def close(got, expected, digits=1e-12):
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        assert a == pytest.approx(b, rel=digits, abs=digits)


@pytest.fixture(scope="module")
def digits():
    """A network, and the digits that it has not seen."""
    X, y = data.digits()
    X, y, X_test, y_test = data.split(X, y, test=0.2, seed=0)
    model = nn.MLP(64, [32, 10], activation="tanh", seed=0)

    def loss(x, k):
        return nn.cross_entropy(model(x), k)

    if sample(False, True):  # also untrained it has an opinion of each
        fit(loss, optim.Adam(model.parameters(), 0.01), X, y, epochs=2, batch_size=32, progress=False)
    return model, X_test, y_test


def largest(scores):
    return scores.index(max(scores))


def test_the_held_out_digits_are_read_as_python_reads_them(digits, tmp_path):
    model, X, y = digits
    assert len(X) == 359
    scores = [[v.data for v in model(x)] for x in X]
    assert nn.accuracy(scores, y) > sample(0.0, 0.85)
    c, javascript = export.c(model, name="digits"), export.javascript(model, name="digits")
    library = compiled(tmp_path, c)
    answers = by_node((javascript, "digits", [[x] for x in X]))
    for x, expected, (answer, *_) in zip(X, scores, answers):
        got = call(library, "digits", c, x)
        close(got, expected)
        close(answer, expected)
        assert largest(got) == largest(answer) == largest(expected)


def test_code_does_not_grow_with_the_width_of_layers():
    def code(n, **options):
        model = nn.MLP(n, [n, n, 10], activation="tanh", seed=0)

        def loss(x, k):
            return nn.cross_entropy(model(x), k)

        options = {"parameters": "argument", **options}
        if options.pop("step", False):
            options["optimizer"] = optim.Adam(model.parameters(), 0.01)
        text = export.c(loss, [0.0] * n, 0, **options)
        return len([line for line in text.splitlines() if line.startswith("  ") and not re.match(r"  +\d", line)])

    for options in {}, {"gradient": True}, {"step": True}:
        assert code(16, **options) <= code(12, **options) + 5 < 400


def size_of_a_step(n):
    model = nn.MLP(n, [n, 10], activation="relu", seed=0)

    def loss(x, k):
        return nn.cross_entropy(model(x), k)

    return len(export.c(loss, [0.0] * n, 0, optimizer=optim.SGD(model.parameters(), 0.1)))


def test_a_training_step_has_no_table_with_an_entry_for_each_weight():
    assert size_of_a_step(24) - size_of_a_step(12) < 24 * 12


OPTIMISERS = {
    "sgd": lambda ps: optim.SGD(ps, 0.1),
    "momentum": lambda ps: optim.SGD(ps, 0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "average": lambda ps: optim.SGD(ps, 0.05, average_gradients=3),
    "adagrad": lambda ps: optim.Adagrad(ps, 0.05),
    "rmsprop": lambda ps: optim.RMSprop(ps, 0.01, momentum=0.5, centered=True),
    "adam": lambda ps: optim.Adam(ps, 0.01),
    "adamw": lambda ps: optim.AdamW(ps, 0.01),
}


class Training:
    """Steps of fit on moons, and what an exported step needs to repeat them."""

    def __init__(self, optimiser):
        X, y = data.moons(20, seed=0)
        model = nn.MLP(2, [8, 8, 1], activation="tanh", seed=0)
        self.loss = lambda x, side: nn.bce_with_logits(model(x), (side + 1) / 2)
        self.optimiser = optimiser(model.parameters())
        self.example = [0.0, 0.0], 1.0
        self.rows = [number for x, side in zip(X, y) for number in (*x, side)]
        self.steps, self.n, self.X, self.y = sample(25, 100), len(X), X, y

    def fitted(self, source):
        """The losses, and the parameters at the end."""
        history = fit(self.loss, self.optimiser, self.X, self.y, epochs=self.steps, compiled=False, progress=False)
        return history.loss, numbers_of(source)


@pytest.mark.sample(2)
@pytest.mark.parametrize("rule", OPTIMISERS)
def test_a_training_step_in_c_is_that_of_fit(rule, tmp_path):
    training = Training(OPTIMISERS[rule])
    source = export.c(training.loss, *training.example, optimizer=training.optimiser, name="train")
    library = compiled(tmp_path, source)
    library.train.restype = ctypes.c_double
    parameters = (ctypes.c_double * len(source.parameters))(*numbers_of(source))
    size = int(re.search(r"TRAIN_STATE (\d+)", source)[1])
    state = [(ctypes.c_double * size)()] if size else []
    rows = (ctypes.c_double * len(training.rows))(*training.rows)
    losses = [
        library.train(parameters, *state, rows, training.n, *map(ctypes.c_double, (training.optimiser.lr, t)))
        for t in range(1, training.steps + 1)
    ]
    expected, numbers = training.fitted(source)
    close(losses, expected, 1e-9)
    close(list(parameters), numbers, 1e-9)


@pytest.mark.sample(1)
@pytest.mark.parametrize("rule", OPTIMISERS)
def test_a_training_step_in_javascript_is_that_of_fit(rule):
    training = Training(OPTIMISERS[rule])
    source = export.javascript(training.loss, *training.example, optimizer=training.optimiser, name="train")
    size = re.search(r"state = (\d+)", source)
    state = [[0.0] * int(size[1])] if size else []
    run = f"""{source}
export function all(p, {"state, " if size else ""}rows) {{
  const losses = [];
  for (let t = 1; t <= {training.steps}; t++)
    losses.push(train(p, {"state, " if size else ""}rows, {training.n}, {training.optimiser.lr}, t));
  return losses;
}}"""
    ((losses, parameters, *_),) = by_node((run, "all", [[numbers_of(source), *state, training.rows]]))
    expected, numbers = training.fitted(source)
    close(losses, expected, 1e-9)
    close(parameters, numbers, 1e-9)


def test_a_loss_that_is_not_finite_moves_nothing(tmp_path):
    w = Value(2.0)
    source = export.c(lambda x: ops.log(x) * w, 1.0, optimizer=optim.SGD([w], 0.1), name="train")
    library = compiled(tmp_path, source)
    library.train.restype = ctypes.c_double
    parameters, rows = (ctypes.c_double * 1)(2.0), (ctypes.c_double * 2)(1.0, -1.0)
    assert math.isnan(library.train(parameters, rows, 2, ctypes.c_double(0.1), ctypes.c_double(1.0)))
    assert list(parameters) == [2.0]


def both(tmp_path, f, *example, inputs, **options):
    """What C and JavaScript return for the same inputs."""
    c, javascript = export.c(f, *example, **options), export.javascript(f, *example, **options)
    (answer, *_), *_ = by_node((javascript, "f", [inputs]))
    return call(compiled(tmp_path, c), "f", c, *inputs), answer


def test_a_value_has_its_leaves_as_arguments(tmp_path):
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    y = (a * b + 10.0).tanh() * a
    assert export.c(y).inputs == ["a", "b"]
    a.data, b.data = 0.5, 0.25
    leaves = Value(0.5), Value(0.25)
    again = (leaves[0] * leaves[1] + 10.0).tanh() * leaves[0]
    again.backward()
    for got in both(tmp_path, y, gradient=True, inputs=[[0.5, 0.25]]):
        close(got, [again.data, leaves[0].grad, leaves[1].grad])


def test_all_nodes_of_a_graph_give_numbers_gradients_and_local_derivatives(tmp_path):
    a, b = Value(0.75, label="a"), Value(-1.5, label="b")
    y = (a * b + ops.relu(b) + a**2).tanh()
    y.backward()
    order = y_nodes(y)
    source = export.javascript(y, nodes=True)
    assert source.results[0] == "a" and len(source.results) == 2 * len(order) + sum(len(v.args) for v in order)
    expected = [v.data for v in order] + [v.grad for v in order]
    expected += [d or 0.0 for v in order for d in v.local_grads]
    for got in both(tmp_path, y, nodes=True, inputs=[[0.75, -1.5]]):
        close(got, expected)


def y_nodes(root):
    from tinygrad_lite.engine import topological_order

    return topological_order(root)


def test_a_gradient_is_that_of_the_parameters_in_pytorchs_layout(tmp_path):
    model = nn.MLP(3, [4, 2], activation="relu", seed=1)

    def loss(x, k):
        return nn.cross_entropy(model(x), k)

    source = export.c(loss, [0.0] * 3, 0, gradient=True)
    assert source.tensors == {
        "layers.0.weight": (4, 3), "layers.0.bias": (4,), "layers.1.weight": (2, 4), "layers.1.bias": (2,),
    }  # fmt: skip
    out = loss([0.3, -0.2, 0.9], 1)
    out.backward()
    for got in both(tmp_path, loss, [0.0] * 3, 0, gradient=True, inputs=[[0.3, -0.2, 0.9, 1.0]]):
        close(got, [out.data, *[p.grad for p in source.parameters]])
    weights = [0.01 * i for i in range(len(source.parameters))]
    for p, number in zip(source.parameters, weights):
        p.data = number
    out = loss([0.3, -0.2, 0.9], 1)
    options = {"gradient": True, "parameters": "argument"}
    c = export.c(loss, [0.0] * 3, 0, **options)
    got = call(compiled(tmp_path, c), "f", c, [0.3, -0.2, 0.9, 1.0], weights)
    assert got[0] == pytest.approx(out.data)


def test_a_gradient_by_the_inputs_and_functions_without_parameters(tmp_path):
    def f(x, k):
        return k * x**2

    for got in both(tmp_path, f, 0.0, 0.0, gradient="inputs", inputs=[[3.0, 2.0]]):
        close(got, [18.0, 12.0, 9.0])
    with pytest.raises(ValueError, match='gradient="inputs"'):
        export.c(f, 0.0, 0.0, gradient=True)


def test_rows_that_cross_parameters_inputs_and_results(tmp_path):
    ws = [Value(0.5), Value(-1.25), Value(2.0)]

    def f(xs):
        h = ws[0] * ws[1]
        inner = dot([*ws, h, 3.0], [h, *xs, 1.0, h])  # parameters beside what is computed of them
        return ops.logsumexp([xs[0], inner, *ws]) + ops.maximum(xs[0], inner * xs[1], *xs) + ops.total([*ws, h, 1.0])

    point = [0.3, 0.7]
    f_data = f([Value(x) for x in point])
    (gradient,) = [grad(f_data, ws)]
    for got in both(tmp_path, f, [0.0, 0.0], gradient=True, inputs=[point]):
        close(got, [f_data.data, *[g.data for g in gradient]])


def test_a_float_network_is_near_and_all_in_float(tmp_path):
    model = nn.MLP(4, [8, 3], activation="silu", seed=3)
    source = export.c(model, real="float")
    code = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    assert "double" not in code
    assert all(number.endswith("f") for number in re.findall(r"(?<!\w)\d+\.\d*(?:e[-+]?\d+)?f?", code))
    library = compiled(tmp_path, source, flags=["-Wdouble-promotion"])
    got = call(library, "f", source, [0.1, -0.5, 0.25, 2.0], kind=ctypes.c_float)
    close(got, [v.data for v in model([0.1, -0.5, 0.25, 2.0])], 1e-5)


def test_the_header_declares_what_the_file_defines(tmp_path):
    model = nn.MLP(2, [3, 1], seed=0)
    source = export.c(model, name="net")
    source.save(tmp_path / "net.c")
    assert (tmp_path / "net.c").read_text() == source
    user = '#include "net.h"\nvoid twice(const double *x, double *out) { net(x, out); out[0] *= NET_RESULTS * 2.0; }\n'
    (tmp_path / "net.c").write_text('#include "net.h"\n' + source)  # the compiler compares both
    c = compiled(tmp_path, (tmp_path / "net.c").read_text(), user, flags=[f"-I{tmp_path}"])
    assert call(c, "twice", source, [0.5, -1.0])[0] == 2.0 * model([0.5, -1.0]).data


def test_a_label_is_data(tmp_path):
    x = Value(1.0, label="*/ int a[-1]; /*/*/ ??/\\\n#error")
    source = export.c(x * x + 1.0)
    assert call(compiled(tmp_path, source), "f", source, [3.0]) == [10.0]
    (answer, *_), *_ = by_node((export.javascript(x * x + 1.0), "f", [[[3.0]]]))
    assert answer == [10.0]


cube = Op("cube", "^3", lambda x: x**3, (lambda out, x: 3.0 * x**2,))
erfc = Op("erfc", "erfc", math.erfc, (lambda out, x: -2.0 / math.sqrt(math.pi) * exp(-x * x),))


def test_an_operation_of_ones_own_is_written_with_those_of_the_table_or_refused_by_name(tmp_path):
    for got in both(tmp_path, lambda x: cube(x), 0.0, gradient="inputs", inputs=[[2.0]]):
        close(got, [8.0, 12.0])
    with pytest.raises(NotImplementedError, match=r"export cannot write erfc yet: .* row to export/rows.py, or write"):
        export.c(lambda x: erfc(x), 0.0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: export.c(3.0), TypeError, "a Value, a model or a function of one example, got 3.0"),
        (lambda: export.c(lambda x: 3.0, 0.0), TypeError, "must return a Value"),
        (lambda: export.c(lambda x: x), TypeError, "an example of the arguments of <lambda>"),
        (lambda: export.c(lambda x: [x, x], 0.0, gradient="inputs"), TypeError, "returns 2: return one"),
        (lambda: export.c(lambda x: x, 0.0, nodes=True), TypeError, "nodes=True expects a Value"),
        (lambda: export.c(Value(1.0), 0.0), TypeError, "the arguments of a Value are its leaves"),
        (lambda: export.c(Value(1.0), gradient="all"), ValueError, 'True, False or "inputs", got \'all\''),
        (
            lambda: export.c(lambda x: x, 0.0, gradient=True, optimizer=optim.SGD([Value(1.0)], 0.1)), TypeError,
            "a training step has the gradient in it",
        ),
        (lambda: export.c(lambda x: x, 0.0, name="while"), ValueError, "such as net, got 'while'"),
        (lambda: export.c(lambda x: x, 0.0, name="t1"), ValueError, "such as net, got 't1'"),
        (lambda: export.c(lambda x: x, 0.0, real="half"), ValueError, '"double" or "float", got'),
        (lambda: export.c(lambda x: x, 0.0, parameters="no"), ValueError, '"const" or "argument", got'),
        (
            lambda: export.c(lambda x: x, 0.0, optimizer=optim.SGD([Value(1.0)], 0.1)), ValueError,
            "uses none of the optimiser's parameters",
        ),
    ],
)  # fmt: skip
def test_errors_say_what_to_write(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_a_graph_without_likeness_is_refused_beyond_a_limit(monkeypatch):
    from tinygrad_lite.export import writer

    monkeypatch.setattr(writer, "MOST_GROUPS", 20)

    def chain(x):
        for i in range(30):
            x = ops.sin(x) * (1.0 + i)
        return x

    with pytest.raises(ValueError, match="writes at most 20: export a smaller part"):
        export.c(chain, 0.0)


def test_results_that_are_an_input_a_parameter_a_number_or_nothing_of_an_example(tmp_path):
    w = Value(2.5)

    def f(x):
        return [x, w, Value(3.0) * 1.0, x * w, w * w, w]

    for got in both(tmp_path, f, 0.0, inputs=[[-1.5]]):
        assert got == [-1.5, 2.5, 3.0, -3.75, 6.25, 2.5]
    for got in both(tmp_path, lambda: [w * 2.0, w.exp()], inputs=[]):
        close(got, [5.0, math.exp(2.5)])
    for got in both(tmp_path, Value(4.0), nodes=True, inputs=[[7.0]]):
        assert got == [7.0, 1.0]
