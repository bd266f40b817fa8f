"""doctor: each mistake is made as a learner makes it, and found; where all is well, nothing is."""

import copy
import math
import re
from pathlib import Path

import pytest

from tinygrad_lite import Value, data, doctor, fit, log, mean, nn, no_grad, optim
from tinygrad_lite.nn import MLP

pytestmark = pytest.mark.sample(4)

X, Y = data.moons(60, noise=0.1, seed=1)
CLASSES = [int(side > 0) for side in Y]


def hinge(model):
    return lambda x, side: nn.hinge(model(x), side)


def whole(model, average):
    def loss(X, Y):
        terms = [nn.hinge(model(x), side) for x, side in zip(X, Y)]
        return sum(terms) / len(X) if average else sum(terms)

    return loss


def names(checkup):
    return [finding.name for finding in checkup.findings]


def only(checkup):
    (finding,) = checkup.findings
    return finding


# --- where all is well


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu"])
@pytest.mark.parametrize("seed", range(3))
def test_a_healthy_model_has_nothing(activation, seed):
    model = MLP(2, [16, 16, 1], activation=activation, seed=seed)
    for opt in None, optim.SGD(model.parameters(), 0.1), optim.Adam(model.parameters()):
        assert doctor(model, hinge(model), X, Y, opt).findings == ()


def test_a_model_in_training_has_nothing():
    model = MLP(2, [8, 3], activation="tanh", seed=0)
    loss = lambda x, k: nn.cross_entropy(model(x), k)  # noqa: E731
    opt = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    fit(loss, opt, X, CLASSES, epochs=5, compiled=False, progress=False)
    checkup = doctor(model, loss, X, CLASSES, opt)
    assert checkup.ok and checkup.findings == ()
    probability = MLP(2, [8, 1], activation="tanh", seed=0)
    assert doctor(probability, lambda x, k: nn.bce_with_logits(probability(x), k), X, CLASSES).ok
    soft = lambda x, k: nn.bce_with_logits(probability(x), 0.1 + 0.8 * k)  # noqa: E731
    assert doctor(probability, soft, X, CLASSES).ok


def test_a_perfect_model_has_nothing():
    model = MLP(1, [1])
    model.layers[0].neurons[0].w[0].data = 1.0
    checkup = doctor(model, lambda x, y: nn.mse(model(x), y), [[1.0], [2.0]], [1.0, 2.0])
    assert checkup.ok and checkup.loss == (0.0, 0.0)
    opt = optim.SGD(model.parameters(), 0.1)
    assert doctor(model, lambda x, y: nn.mse(model(x), y), [[1.0], [2.0]], [1.0, 2.0], opt).ok


def test_a_loss_of_all_examples_is_taken_as_well_as_one_of_each():
    model = MLP(2, [4, 1], seed=0)
    each, all_ = doctor(model, hinge(model), X, Y), doctor(model, whole(model, average=True), X, Y)
    assert all_.ok and all_.loss == pytest.approx(each.loss) and len(all_.parts) == len(each.parts) == 2


# --- nothing is changed


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_everything_is_put_back(kind):
    model = MLP(2, [4, 1], seed=0)
    options = {"momentum": 0.9} if kind is optim.SGD else {}
    opt = kind(model.parameters(), 0.1, **options)
    twin, twins = copy.deepcopy(model), []
    twin_opt = kind(twin.parameters(), 0.1, **options)
    for m, o, looks in (model, opt, True), (twin, twin_opt, False):
        for _ in range(3):
            o.zero_grad()
            mean([nn.hinge(m(x), side) for x, side in zip(X, Y)]).backward()
            if looks:
                before = [(p.data, p.grad) for p in m.parameters()], o.state, o.t, o.lr
                assert doctor(m, hinge(m), X, Y, o).loss[1] < math.inf
                assert before == ([(p.data, p.grad) for p in m.parameters()], o.state, o.t, o.lr)
            o.step()
        twins.append([p.data for p in m.parameters()])
    assert twins[0] == twins[1]


def test_everything_is_put_back_after_an_exception():
    model, calls = MLP(2, [4, 1], seed=0), []

    def loss(x, side):
        calls.append(1)
        if len(calls) > len(X) + 10:
            raise KeyboardInterrupt
        return nn.hinge(model(x), side)

    opt = optim.SGD(model.parameters(), 0.5)
    before = [(p.data, p.grad) for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt):
        doctor(model, loss, X, Y, opt)
    assert [(p.data, p.grad) for p in model.parameters()] == before and opt.t == 0


# --- the loss


def test_a_loss_that_is_a_plain_number():
    model = MLP(2, [4, 1], seed=0)
    finding = only(doctor(model, lambda x, side: nn.hinge(model(x).data, side), X, Y))
    assert finding.name == "the loss is not a Value" and re.search(r"returned [\d.]+; compute it from", finding.seen)
    assert "not from their .data" in finding.seen
    loss = lambda X, Y: sum(nn.hinge(model(x).data, s) for x, s in zip(X, Y)) / len(X)  # noqa: E731
    assert only(doctor(model, loss, X, Y)).name == "the loss is not a Value"


def test_a_forgotten_mean_or_return_is_named_without_printing_the_values():
    model = MLP(2, [4, 1], seed=0)
    finding = only(doctor(model, lambda X, y: [nn.hinge(model(x), s) for x, s in zip(X, y)], X, Y))
    assert finding.seen == f"it returned a list of {len(X)}: write `return mean(...)`"
    assert only(doctor(model, lambda x, s: None, X, Y)).seen == "it returned None: is there a `return`?"


@pytest.mark.parametrize(
    ("loss", "targets", "says"),
    [
        (
            lambda model, x, t: nn.hinge(model(x), t),
            CLASSES,
            r"hinge expects the class y as -1 or 1, got 0; .*2 \* y - 1",
        ),
        (lambda model, x, t: nn.cross_entropy([model(x)] * 2, t + 1), CLASSES, "expects a class from 0 to 1, got 2"),
        (lambda model, x, t: nn.bce_with_logits(model(x), t), Y, r"a target from 0 to 1, got -1; .*\(y \+ 1\) / 2"),
        (lambda model, x, t: nn.mse(model(x[:1]), t), Y, "MLP expects 2 inputs, got 1"),
    ],
)
def test_a_loss_that_raises_is_reported_with_the_line(loss, targets, says):
    model = MLP(2, [4, 1], seed=0)
    checkup = doctor(model, lambda x, t: loss(model, x, t), X, targets)
    finding = only(checkup)
    assert finding.name == "the loss raises" and re.search(says, finding.seen) and f"{__file__}:" in finding.seen
    assert checkup.parts == () and "the loss raises" in repr(checkup)


def test_a_summed_loss_with_exploding_steps():
    model = MLP(2, [8, 1], seed=0)
    checkup = doctor(model, whole(model, average=False), X, Y, optim.SGD(model.parameters(), 1.0))
    assert names(checkup) == ["a summed loss", "a learning rate too high"]
    assert "the 60 examples are added up" in checkup.findings[0].seen
    assert "divide the learning rate by 60" in checkup.findings[0].do


def test_softmax_before_cross_entropy():
    model = MLP(2, [8, 3], activation="tanh", seed=0)
    finding = only(doctor(model, lambda x, k: nn.cross_entropy(nn.softmax(model(x)), k), X, CLASSES))
    assert finding.name == "softmax before cross_entropy" and "the scores as they leave the last layer" in finding.do


@pytest.mark.parametrize("target", [lambda k: k, lambda k: 0.25 + 0.5 * k])
def test_sigmoid_before_bce_with_logits(target):
    model = MLP(2, [8, 1], activation="tanh", output="sigmoid", seed=0)
    finding = only(doctor(model, lambda x, k: nn.bce_with_logits(model(x), target(k)), X, CLASSES))
    assert finding.name == "sigmoid before bce_with_logits" and 'output="linear"' in finding.do


def test_numbers_that_are_not_finite_are_traced_to_their_birth():
    model = MLP(2, [4, 1], seed=0)
    checkup = doctor(model, lambda x, side: log(model(x) - model(x)) * side, X, Y)
    finding = only(checkup)
    assert finding.name == "not finite" and "log(Value(0)) at " in finding.seen and __file__ in finding.seen
    checkup = doctor(model, lambda x, side: (model(x) - model(x)) ** 0.5, X, Y)
    assert "first appeared in the backward pass" in only(checkup).seen


def test_a_loss_that_is_not_finite_only_sometimes():
    model, calls = MLP(2, [2, 1], seed=0), []

    def loss(x, side):
        calls.append(1)
        return nn.hinge(model(x), side) + (math.nan if len(calls) == 5 else 0.0)

    assert only(doctor(model, loss, X, Y)).seen == "the loss or a gradient."


@pytest.mark.parametrize(("X", "y", "seen"), [
    ([[0.5, 1.0], [math.nan, 2.0], [1.0, 1.0]], [1.0, -1.0, 1.0], "X holds nan, in [nan, 2.0]."),
    ([[0.5, 1.0], [1.0, 2.0]], [1.0, math.inf], "y holds inf, in inf."),
])  # fmt: skip
def test_a_number_of_the_examples_that_is_not_finite_is_found_there(X, y, seen):
    model = MLP(2, [4, 1], seed=0)
    finding = only(doctor(model, lambda x, t: nn.mse(model(x), t), X, y))
    assert finding.name == "not finite" and finding.seen == seen
    assert finding.do == "Leave that example out, or fill the gap."


def test_a_loss_of_all_examples_that_raises_is_not_taken_for_one_of_one_example():
    model = MLP(2, [4, 1], seed=0)
    finding = only(doctor(model, whole(model, average=True), X, CLASSES))
    assert re.search(r"with one example TypeError: 'int' object is not iterable \(.*test_doctor", finding.seen)
    assert re.search(
        r"with all of them ValueError: hinge expects the class y as -1 or 1, got 0.*test_doctor", finding.seen
    )


def test_a_loss_of_all_examples_may_read_numpy_arrays():
    np = pytest.importorskip("numpy")
    model = MLP(2, [8, 1], activation="tanh", seed=0)

    def loss(X, y):
        return sum(nn.hinge(model(X[i]), y[i]) for i in range(X.shape[0])) / X.shape[0]

    rows = doctor(model, loss, np.array(X), np.array(Y))
    assert rows.ok and rows.loss == doctor(model, hinge(model), X, Y).loss
    assert names(doctor(model, lambda X, y: loss(X, y) * X.shape[0], np.array(X), np.array(Y)))[0] == "a summed loss"


def test_a_loss_that_was_computed_before_it_is_called():
    model = MLP(2, [4, 1], seed=0)
    loss = whole(model, average=True)(X, Y)
    finding = only(doctor(model, lambda X, y: loss, X, Y, optim.SGD(model.parameters(), 0.1)))
    assert finding.name == "an old graph" and "older than this call of the loss" in finding.seen
    score = MLP(2, [1], seed=1)(X[0])  # one part of it is enough
    finding = only(doctor(model, lambda x, s: nn.hinge(model(x), s) + 1e-3 * score, X, Y))
    assert finding.name == "an old graph" and "1 of the graph's" in finding.seen and "made by dot" in finding.seen


# --- parameters and optimiser


def test_parameters_that_the_loss_does_not_use():
    model, other = MLP(2, [4, 1], seed=0), MLP(2, [4, 1], seed=1)
    finding = only(doctor(model, hinge(other), X, Y))
    assert finding.name == "not in the loss"
    assert "L0.n0.w0, L0.n0.w1, L0.n0.b and 14 more" in finding.seen


def test_an_optimiser_of_another_model():
    model, other = MLP(2, [4, 1], seed=0), MLP(2, [4, 1], seed=1)
    checkup = doctor(model, hinge(model), X, Y, optim.SGD(other.parameters(), 0.1))
    assert names(checkup) == ["not in the optimiser"] and "model.parameters()" in checkup.findings[0].do
    frozen = doctor(model, hinge(model), X, Y, optim.SGD(model.layers[1].parameters(), 0.1))
    assert names(frozen) == ["not in the optimiser"] and "if you mean to freeze it" in frozen.findings[0].do


def test_a_parameter_that_was_replaced_by_a_computed_one():
    model = MLP(2, [1], seed=0)
    neuron = model.layers[0].neurons[0]
    neuron.b = neuron.b - 0.1
    finding = only(doctor(model, lambda x, side: nn.hinge(model(x), side), X, Y))
    assert finding.name == "a computed parameter" and "L0.n0.b was made by sub" in finding.seen
    assert "p.data -= lr * p.grad" in finding.do


def test_neurons_that_stay_equal():
    model = MLP(2, [5, 1], activation="tanh", init=lambda nin, rng: 0.3)
    checkup = doctor(model, hinge(model), X, Y)
    assert names(checkup) == ["equal neurons"]
    assert "layers.0 has 5 neurons and only 1 different" in checkup.findings[0].seen


def test_equal_neurons_with_different_futures_are_well():
    model = MLP(2, [3, 1], activation="tanh", init=lambda nin, rng: 0.3)
    for neuron, weight in zip(model.layers[0].neurons, (0.1, -0.2, 0.3)):
        model.layers[1].neurons[0].w[model.layers[0].neurons.index(neuron)].data = weight
    assert doctor(model, hinge(model), X, Y).ok


# --- the learning rate


@pytest.mark.parametrize(("kind", "lr"), [(optim.SGD, 300.0), (optim.Adam, 30.0)])
def test_a_learning_rate_too_high_and_one_that_works(kind, lr):
    model = MLP(2, [8, 1], activation="tanh", seed=0)
    finding = only(doctor(model, hinge(model), X, Y, kind(model.parameters(), lr)))
    assert finding.name == "a learning rate too high" and "raises the loss from" in finding.seen
    (better,) = re.findall(r"With lr=([\d.e-]+) it falls", finding.do)
    assert doctor(model, hinge(model), X, Y, kind(model.parameters(), float(better))).ok


def test_a_gradient_that_points_the_wrong_way():
    class Ascent(optim.Optimizer):
        def update(self, p, g, lr, t):
            return (p + lr * g,)

    model = MLP(2, [8, 1], activation="tanh", seed=0)
    finding = only(doctor(model, hinge(model), X, Y, Ascent(model.parameters(), 0.1)))
    assert finding.name == "a learning rate too high" and "No smaller one helps: is the gradient right?" in finding.do


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_a_learning_rate_too_low(kind):
    model = MLP(2, [8, 1], activation="tanh", seed=0)
    finding = only(doctor(model, hinge(model), X, Y, kind(model.parameters(), 1e-7)))
    assert finding.name == "a learning rate too low" and finding.do == "Try lr=1e-05."


@pytest.mark.parametrize("lr", [0.0, 1e-30])
def test_a_learning_rate_that_changes_nothing(lr):
    model = MLP(2, [8, 1], activation="tanh", seed=0)
    finding = only(doctor(model, hinge(model), X, Y, optim.SGD(model.parameters(), lr)))
    assert finding.name == "a learning rate too low" and "leaves the loss as it is, to the last bit" in finding.seen
    (better,) = re.findall(r"Try lr=([\d.e-]+)\.$", finding.do)
    assert doctor(model, hinge(model), X, Y, optim.SGD(model.parameters(), float(better))).ok


def test_a_model_at_its_minimum_is_well():
    model = MLP(1, [1], seed=0)
    model.layers[0].neurons[0].w[0].data, model.layers[0].neurons[0].b.data = 2.0, 1.0
    inputs = [[-1.0], [0.5], [1.0]]
    targets = [-1.0 + 1e-9, 2.0, 3.0 - 1e-9]
    assert doctor(model, lambda x, t: nn.mse(model(x), t) + 1.0, inputs, targets, optim.SGD(model.parameters(), 0.1)).ok


def test_a_step_beyond_all_numbers():
    model = MLP(2, [2, 1], activation="tanh", seed=0)
    finding = only(doctor(model, lambda x, y: 1e10 * nn.mse(model(x), y), X, Y, optim.SGD(model.parameters(), 1e300)))
    assert finding.name == "no step" and "would become" in finding.seen


def test_a_loss_that_raises_far_away_is_no_obstacle():
    model = MLP(2, [8, 1], activation="tanh", seed=0)

    def loss(x, side):
        score = model(x)
        if abs(score) > 5.0:
            raise ArithmeticError("too large for me")
        return nn.hinge(score, side)

    checkup = doctor(model, loss, X, Y, optim.SGD(model.parameters(), 0.1))
    assert checkup.ok and checkup.loss[1] < checkup.loss[0]
    high = only(doctor(model, loss, X, Y, optim.SGD(model.parameters(), 100.0)))
    assert high.name == "a learning rate too high" and "to nan" in high.seen


def test_without_an_optimiser_a_rate_is_proposed():
    model = MLP(2, [8, 1], activation="tanh", seed=0)
    checkup = doctor(model, hinge(model), X, Y)
    (rate,) = re.findall(r"after a plain step with lr=([\d.]+), about the largest that lowers it", checkup.step)
    stepped = doctor(model, hinge(model), X, Y, optim.SGD(model.parameters(), float(rate)))
    assert stepped.loss == pytest.approx(checkup.loss, rel=1e-12) and stepped.loss[1] < stepped.loss[0]
    assert "a learning rate too high" in names(
        doctor(model, hinge(model), X, Y, optim.SGD(model.parameters(), 100 * float(rate)))
    )


# --- layers


def test_inputs_that_saturate_the_first_layer():
    model = MLP(2, [8, 1], activation="tanh", seed=0)
    finding = only(doctor(model, hinge(model), [[1000.0 * a, b] for a, b in X], Y))
    assert finding.name == "inputs not scaled" and "mean 0 and standard deviation 1" in finding.do
    assert re.search(r"as large as [\d.e+]+ .*, and \d+% of the outputs of layers.0 are saturated", finding.seen)


def test_large_weights_saturate_a_layer():
    model = MLP(2, [8, 8, 1], activation="tanh", init=lambda nin, rng: rng.gauss(0.0, 20.0), seed=0)
    checkup = doctor(model, hinge(model), X, Y)
    assert names(checkup) == ["a saturated layer"] * 2
    assert "layers.1 are saturated" in checkup.findings[1].seen and "lecun_normal" in checkup.findings[1].do


def test_a_dead_layer():
    model = MLP(2, [6, 1], seed=0)
    for neuron in model.layers[0].neurons[:4]:
        neuron.b.data = -50.0
    finding = only(doctor(model, hinge(model), X, Y))
    assert finding.name == "a dead layer" and "4 of 6 units of layers.0 are dead" in finding.seen
    assert "relu has derivative 0 there" in finding.do and "leaky_relu" in finding.do


def test_a_sign_has_no_derivative_anywhere():
    model = MLP(2, [4, 1], activation="sign", seed=0)
    assert only(doctor(model, hinge(model), X, Y)).seen.startswith("4 of 4 units of layers.0 are dead")


def test_the_numbers_of_a_part():
    model = MLP(1, [2, 1], activation="relu", seed=0)
    first, last = model.layers[0].neurons, model.layers[1].neurons[0]
    numbers = (first[0], [1.0], 0.0), (first[1], [-1.0], -5.0), (last, [1.0, 1.0], 0.0)
    for neuron, weights, bias in numbers:
        for w, number in zip(neuron.w, weights):
            w.data = number
        neuron.b.data = bias
    checkup = doctor(
        model, lambda x, y: nn.mse(model(x), y), [[3.0], [4.0]], [3.0, 5.0], optim.SGD(model.parameters(), 0.1)
    )
    hidden, out = checkup.parts  # errors 0 and -1, so d mean loss / d output = 0 and -1
    assert hidden[:5] == ("layers.0", "relu", 2, 1, None)
    assert hidden.output == pytest.approx(math.sqrt((9 + 16) / 4))
    assert hidden.gradient == pytest.approx(math.hypot(4.0, 1.0))
    assert hidden.ratio == pytest.approx(0.1 * math.hypot(4.0, 1.0) / math.sqrt(27))
    assert out[:5] == ("layers.1", "linear", 1, 0, None) and out.output == pytest.approx(math.sqrt((9 + 16) / 2))
    assert out.gradient == pytest.approx(math.hypot(4.0, 1.0)) and checkup.loss[0] == 0.5


def test_saturation_is_counted_as_the_share_of_outputs():
    model = MLP(1, [2, 1], activation="tanh", seed=0)
    for neuron, weight in zip(model.layers[0].neurons, (0.1, 5.0)):
        neuron.w[0].data = weight
    part = doctor(model, hinge(model), [[1.0], [-1.0]], [1.0, -1.0]).parts[0]
    assert part.saturated == 0.5 and part.dead == 0


def test_a_model_of_ones_own_is_looked_at_as_well():
    class Mine(nn.Module):
        def __init__(self):
            self.scale = [Value(1.0), Value(0.5)]
            self.gate = nn.Neuron(2, "sigmoid", seed=0)
            self.body = nn.Layer(2, 3, "tanh", seed=0)

        def __call__(self, x):
            scaled = [s * a for s, a in zip(self.scale, x)]
            return self.gate(scaled) * sum(self.body(scaled))

    model = Mine()
    checkup = doctor(model, hinge(model), X, Y)
    assert checkup.ok
    assert [(p.name, p.activation, p.units) for p in checkup.parts] == [
        ("gate", "sigmoid", 1), ("body", "tanh", 3), ("scale", "", 0),
    ]  # fmt: skip
    assert all(p.gradient > 0.0 and p.ratio > 0.0 for p in checkup.parts)
    assert math.isnan(checkup.parts[2].output) and checkup.parts[1].output > 0.0


@pytest.mark.parametrize("model", [nn.Neuron(2, "tanh", seed=0), nn.Layer(2, 1, "tanh", seed=0)])
def test_a_neuron_or_a_layer_alone_is_a_model(model):
    (part,) = doctor(model, hinge(model), X, Y).parts
    assert part.name == type(model).__name__ and part.units == 1


def test_of_many_examples_it_takes_some():
    points, sides = data.moons(1000, seed=0)
    model = MLP(2, [2, 1], activation="tanh", seed=0)
    assert doctor(model, hinge(model), points, sides).examples == 100
    assert doctor(model, hinge(model), points, sides, examples=30).examples == 30


@pytest.mark.parametrize(
    "make", [lambda x: x, tuple, lambda x: {"a": x[0], "b": x[1]}, lambda x: " ".join(map(str, x))]
)
def test_examples_may_be_anything_that_the_loss_understands(make):
    model = MLP(2, [4, 1], activation="tanh", seed=0)

    def numbers(x):
        return list(x.values()) if isinstance(x, dict) else list(map(float, x.split())) if isinstance(x, str) else x

    assert doctor(model, lambda x, s: nn.hinge(model(numbers(x)), s), list(map(make, X)), Y).ok


def test_a_number_may_be_an_example():
    model = MLP(1, [4, 1], activation="tanh", seed=0)
    checkup = doctor(model, lambda x, y: nn.mse(model([x]), y), [100.0 * i for i in range(-5, 6)], [0.0] * 11)
    assert "inputs not scaled" in names(checkup)


# --- what is shown


def test_the_table_in_a_terminal():
    model = MLP(2, [6, 1], seed=0)
    for neuron in model.layers[0].neurons:
        neuron.b.data = -50.0
    text = repr(doctor(model, hinge(model), X, Y, optim.SGD(model.parameters(), 0.01)))
    lines = text.splitlines()
    assert re.fullmatch(r"doctor, 60 examples: loss \S+ -> \S+ after a step of SGD with lr=0.01", lines[0])
    assert lines[2].split() == ["part", "activation", "units", "dead", "saturated", "|output|", "|gradient|", "step", "/", "weight"]  # noqa: E501  # fmt: skip
    assert lines[3].split()[:5] == ["layers.0", "relu", "6", "6", "-"]
    assert lines[6].startswith("1. a dead layer: 6 of 6 units of layers.0") and lines[7].startswith("   relu has")
    assert max(map(len, lines)) <= 100 and not any(line.endswith(" ") for line in lines)
    healthy = MLP(2, [6, 1], seed=0)
    assert repr(doctor(healthy, hinge(healthy), X, Y)).endswith("\n\nNothing found.")


def test_the_readme_shows_what_is_printed():
    points, sides = data.moons(100, seed=1)
    model = MLP(2, [16, 16, 1], seed=0)
    checkup = doctor(model, whole(model, average=False), points, sides, optim.SGD(model.parameters(), 0.4))
    assert repr(checkup) in (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_page_in_a_notebook_escapes_what_it_shows():
    class Odd(nn.Module):
        def __init__(self):
            setattr(self, "<script>", Value(0.5))

        def __call__(self, x):
            return 0.5

    model = Odd()
    page = doctor(model, lambda x, s: Value(1.0) + x[0], X, Y)._repr_html_()
    assert "&lt;script&gt;" in page and "<script>" not in page
    assert page.count("<tr>") == page.count("</tr>") == 2 and "<li><b>not in the loss</b>" in page
    healthy = MLP(2, [6, 1], seed=0)
    assert doctor(healthy, hinge(healthy), X, Y)._repr_html_().endswith("</table><p>Nothing found.</p>")
    assert "<table>" not in doctor(healthy, lambda x, s: 1.0, X, Y)._repr_html_()


# --- arguments


@pytest.mark.parametrize(
    ("arguments", "options", "error", "says"),
    [
        (([Value(1.0)], X, Y), {}, TypeError, "doctor expects a model, an nn.Module, got \\["),
        ((MLP(2, [1]), X, Y[1:]), {}, ValueError, "as many examples as targets, and at least one; got 60 and 59"),
        ((MLP(2, [1]), [], []), {}, ValueError, "at least one; got 0 and 0"),
        ((MLP(2, [1]), X, Y), {"examples": 0}, ValueError, "examples must be a whole number of at least 1, got 0"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, options, error, says):
    model, *rest = arguments
    with pytest.raises(error, match=says):
        doctor(model, lambda x, y: Value(1.0), *rest, **options)


@pytest.mark.parametrize("loss", [Value(1.0), 0.5, None])
def test_a_loss_that_is_no_function_is_refused(loss):
    with pytest.raises(TypeError, match=r"doctor expects the loss as a function, loss\(x, y\) -> one Value, got"):
        doctor(MLP(2, [1]), loss, X, Y)


@pytest.mark.parametrize("opt", [0.1, optim.SGD, []])
def test_what_is_no_optimiser_is_refused(opt):
    model = MLP(2, [1])
    with pytest.raises(
        TypeError, match=r"doctor expects an optimiser such as optim.SGD\(model.parameters\(\), lr=0.1\), got"
    ):
        doctor(model, hinge(model), X, Y, opt)


def test_under_no_grad_it_says_so():
    model = MLP(2, [2, 1], seed=0)
    with no_grad(), pytest.raises(RuntimeError, match=r"inside no_grad\(\) nothing is recorded"):
        doctor(model, hinge(model), X, Y)


def test_control_characters_of_names_are_not_sent_to_the_terminal():
    class Odd(nn.Module):
        def __init__(self):
            setattr(self, "w\x1b[31m\r\n\x07", Value(1.0))
            self.unused = {"\x1b]0;title\x07": Value(2.0)}

        def __call__(self, x):
            return vars(self)["w\x1b[31m\r\n\x07"] * x

    model = Odd()
    checkup = doctor(model, lambda x, y: (model(x) - y) ** 2, [1.0, 2.0], [2.0, 4.0])
    assert "not in the loss" in names(checkup)
    for text in repr(checkup), checkup._repr_html_():
        assert "title" in text and "[31m" in text
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "[31m\n" not in text
