"""Modules, initialisers and losses: what design.md section 4 promises of `nn`."""

import math
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from mpmath import mp

import tinygrad_lite
from tinygrad_lite import Value, dot, nn, no_grad, ops, total
from tinygrad_lite.engine import topological_order
from tinygrad_lite.nn import losses

ROOT = Path(tinygrad_lite.__file__).parents[1]


class Special(Value):
    """A user's own Value."""

    __slots__ = ()


def numbers(values):
    return [v.data for v in values]


def snapshot(module):
    return [(path, p.data) for path, p in module.named_parameters()]


def gradients(module, out):
    module.zero_grad()
    out.backward()
    return [p.grad for p in module.parameters()]


# --- micrograd's spelling


def micrograd_demo(engine, library, steps):
    """The training loop of micrograd's demo notebook, line for line, from fixed weights and points."""
    rng = random.Random(7)
    Xb = [[rng.uniform(-1, 1), rng.uniform(-1, 1)] for _ in range(10)]
    yb = [1 if a * b > 0 else -1 for a, b in Xb]
    model = library.MLP(2, [16, 16, 1])
    for p in model.parameters():
        p.data = rng.uniform(-1, 1)
    losses, accuracies = [], []
    for k in range(steps):
        inputs = [list(map(engine.Value, xrow)) for xrow in Xb]
        scores = list(map(model, inputs))
        margins = [(1 + -yi * scorei).relu() for yi, scorei in zip(yb, scores)]
        data_loss = sum(margins) * (1.0 / len(margins))
        alpha = 1e-4
        reg_loss = alpha * sum(p * p for p in model.parameters())
        total_loss = data_loss + reg_loss
        accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(yb, scores)]
        model.zero_grad()
        total_loss.backward()
        learning_rate = 1.0 - 0.9 * k / 100
        for p in model.parameters():
            p.data -= learning_rate * p.grad
        losses.append(total_loss.data)
        accuracies.append(sum(accuracy) / len(accuracy))
    return model, losses, accuracies


def test_micrograds_demo_runs_unchanged_and_learns():
    model, losses, accuracies = micrograd_demo(tinygrad_lite, nn, 10)
    assert len(model.parameters()) == 337
    assert losses[-1] < losses[0]
    assert all(share in [k / 10 for k in range(11)] for share in accuracies)


def test_micrograds_demo_gives_micrograds_numbers():
    engine = pytest.importorskip("micrograd.engine")
    library = pytest.importorskip("micrograd.nn")
    theirs, their_losses, their_accuracies = micrograd_demo(engine, library, 5)
    ours, our_losses, our_accuracies = micrograd_demo(tinygrad_lite, nn, 5)
    assert our_losses == pytest.approx(their_losses, rel=1e-11)
    assert our_accuracies == their_accuracies
    # the same order of parameters, or these would not be pairs
    assert numbers(ours.parameters()) == pytest.approx(numbers(theirs.parameters()), rel=1e-9, abs=1e-12)


def test_micrograds_classes_and_attributes_are_there():
    neuron, layer, model = nn.Neuron(2), nn.Layer(2, 3), nn.MLP(2, [16, 16, 1])
    first = model.layers[0].neurons[0]
    assert (len(neuron.w), len(layer.neurons), len(model.layers)) == (2, 3, 3)
    assert all(isinstance(v, Value) for v in [*first.w, first.b])
    assert [len(part.parameters()) for part in (neuron, layer, model)] == [3, 9, 337]
    assert first.nonlin and not model.layers[-1].neurons[0].nonlin
    assert nn.Neuron(2, "leaky_relu").nonlin


@pytest.mark.parametrize("part", [nn.Neuron(2, nonlin=False, seed=0), nn.Layer(2, 1, nonlin=False, seed=0)], ids=repr)
def test_nonlin_false_is_an_affine_function(part):
    f = [part([x, 1.0]).data for x in (-3.0, 0.0, 3.0)]
    assert f[1] - f[0] == pytest.approx(f[2] - f[1], rel=1e-15)
    assert min(f) < 0 and "activation='linear'" in repr(part)


def test_zero_grad_forgets_every_gradient():
    model = nn.MLP(2, [3, 1], seed=0)
    model([1.0, 2.0]).backward()
    assert any(p.grad != 0.0 for p in model.parameters())
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [0.0] * 13


# --- parameters and their names


class Tagged:
    """Not a module: a base that a user's own module may have besides."""

    def __init_subclass__(cls, tag="none", **options):
        super().__init_subclass__(**options)
        cls.tag = tag


def test_a_module_may_have_another_base_with_class_options_of_its_own():
    class Both(nn.Module, Tagged, tag="mine"):
        def __call__(self, x):
            """Doubles x."""
            return 2.0 * x

    assert (Both.tag, Both.__call__.__doc__, Both.__call__.__name__) == ("mine", "Doubles x.", "__call__")
    assert Both()(Value(3.0)).data == 6.0


def test_the_whole_model_comes_first_among_its_modules_and_has_an_empty_path():
    model = nn.MLP(2, [1], seed=0)
    assert list(model.named_modules()) == [
        ("", model), ("layers.0", model.layers[0]), ("layers.0.neurons.0", model.layers[0].neurons[0]),
    ]  # fmt: skip


def test_an_empty_list_is_no_tensor():
    part = nn.Neuron(1, seed=0)
    part.memory = []
    assert set(part.state_dict()) == {"w", "b"}


class Nested(nn.Module):
    """Values in every place where a user may put them."""

    def __init__(self):
        self.scale = Value(1.0)
        self.pair = (Value(2.0), Value(3.0))
        self.matrix = [[Value(4.0), Value(5.0)], [Value(6.0), Value(7.0)]]
        self.by_name = {"low": Value(8.0), "high": [Value(9.0)]}
        self.parts = [nn.Neuron(1, seed=0), {"inner": nn.Layer(1, 2, seed=1)}]
        self.name, self.size, self.nothing = "not a parameter", 3, None

    def __call__(self, x):
        return total([self.scale * x, *self.pair, *self.matrix[0], *self.by_name["high"]])


NESTED_PATHS = [
    "scale", "pair.0", "pair.1", "matrix.0.0", "matrix.0.1", "matrix.1.0", "matrix.1.1",
    "by_name.low", "by_name.high.0", "parts.0.w.0", "parts.0.b",
    "parts.1.inner.neurons.0.w.0", "parts.1.inner.neurons.0.b",
    "parts.1.inner.neurons.1.w.0", "parts.1.inner.neurons.1.b",
]  # fmt: skip


def test_named_parameters_are_paths_through_attributes_lists_dicts_and_modules():
    module = Nested()
    assert [path for path, _ in module.named_parameters()] == NESTED_PATHS
    assert all(value is by_path(module, path) for path, value in module.named_parameters())


def test_named_values_are_also_those_that_were_computed_or_are_kept_twice():
    module = nn.Module()
    module.w = Value(2.0)
    module.kept = [module.w, module.w * 3.0]
    assert [(path, v.data) for path, v in module.named_values()] == [("w", 2.0), ("kept.0", 2.0), ("kept.1", 6.0)]


def by_path(part, path):
    for name in path.split("."):
        part = part[name] if isinstance(part, dict) else part[int(name)] if name.isdigit() else getattr(part, name)
    return part


def test_parameters_come_in_the_order_of_named_parameters_every_time():
    module = Nested()
    assert module.parameters() == [v for _, v in module.named_parameters()] == module.parameters()


def test_parameters_yield_a_shared_value_once():
    class Tied(nn.Module):
        def __init__(self):
            self.first = nn.Neuron(2, seed=0)
            self.again = self.first
            self.bias = self.first.b

    tied = Tied()
    assert [path for path, _ in tied.named_parameters()] == ["first.w.0", "first.w.1", "first.b"]
    assert len(tied.parameters()) == 3


def test_a_module_without_values_has_no_parameters():
    assert nn.Module().parameters() == []
    assert nn.Module().state_dict() == {}


def test_state_dict_of_a_users_module_keeps_lists_of_values_as_tensors():
    state = Nested().state_dict()
    assert {name: nn.shape(x) for name, x in state.items()} == {
        "scale": (), "pair": (2,), "matrix": (2, 2), "by_name.low": (), "by_name.high": (1,),
        "parts.0.w": (1,), "parts.0.b": (), "parts.1.inner.weight": (2, 1), "parts.1.inner.bias": (2,),
    }  # fmt: skip
    assert state["matrix"] == [[4.0, 5.0], [6.0, 7.0]]


@pytest.mark.parametrize("make", [Nested, lambda: nn.MLP(2, [3, 2], seed=5)], ids=["nested", "mlp"])
def test_load_state_dict_of_state_dict_copies_every_number(make):
    source, target = make(), make()
    for i, p in enumerate(source.parameters()):
        p.data = 100.0 + i
    target.load_state_dict(source.state_dict())
    assert snapshot(target) == snapshot(source)


def test_state_dict_is_a_copy():
    model = nn.MLP(1, [1], seed=0)
    before = snapshot(model)
    model.state_dict()["layers.0.weight"][0][0] = 99.0
    assert snapshot(model) == before


def test_state_dict_has_pytorchs_names_and_shapes():
    state = nn.MLP(2, [16, 1], seed=0).state_dict()
    assert {name: nn.shape(x) for name, x in state.items()} == {
        "layers.0.weight": (16, 2), "layers.0.bias": (16,), "layers.1.weight": (1, 16), "layers.1.bias": (1,),
    }  # fmt: skip


@pytest.mark.parametrize("convert", [lambda t: t.tolist(), lambda t: t.numpy()], ids=["lists", "numpy"])
def test_a_pytorch_model_with_the_same_layers_loads_and_gives_the_same_scores(convert):
    torch = pytest.importorskip("torch")

    class Torch(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 5), torch.nn.Linear(5, 3)])

        def forward(self, x):
            return self.layers[1](torch.tanh(self.layers[0](x)))

    torch.manual_seed(0)
    theirs, ours = Torch().double(), nn.MLP(2, [5, 3], activation="tanh")
    ours.load_state_dict({name: convert(t.detach()) for name, t in theirs.state_dict().items()})
    x = [0.3, -1.7]
    expected = theirs(torch.tensor(x, dtype=torch.float64)).tolist()
    assert numbers(ours(x)) == pytest.approx(expected, rel=1e-13, abs=1e-15)


GOOD = {"weight": [[1.0, 2.0], [3.0, 4.0]], "bias": [5.0, 6.0]}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({"weight": GOOD["weight"]}, ValueError, "missing: bias"),
        ({}, ValueError, "this model has bias, weight; the state has nothing; missing: bias, weight"),
        (GOOD | {"extra": 1.0}, ValueError, "unknown: extra"),
        ({"weight": GOOD["weight"], "biases": [5.0, 6.0]}, ValueError, "missing: bias; unknown: biases"),
        (GOOD | {"bias": [5.0]}, ValueError, r"bias has shape \(2,\) in this model, got shape \(1,\)"),
        (GOOD | {"bias": 5.0}, ValueError, r"bias has shape \(2,\) in this model, got 5.0"),
        (GOOD | {"bias": "ab"}, ValueError, r"bias has shape \(2,\) in this model, got 'ab'"),
        (GOOD | {"bias": None}, ValueError, r"bias has shape \(2,\) in this model, got None"),
        (GOOD | {"bias": [[1.0], 2.0]}, ValueError, r"bias: expected rows of one length, got rows of shapes"),
        (GOOD | {"bias": [1.0, 1j]}, TypeError, r"bias: Value holds one real number, got 1j"),
        (GOOD | {"bias": [1.0, 10**400]}, OverflowError, r"bias: a float holds at most 1.8e308"),
        (GOOD | {"weight": [[1.0, 2.0]]}, ValueError, r"weight has shape \(2, 2\) in this model, got shape \(1, 2\)"),
        (GOOD | {"weight": np.ones((2, 3))}, ValueError, r"got shape \(2, 3\)"),
        (
            GOOD | {"weight": [[1.0, 2.0], [3.0]]},
            ValueError,
            r"rows of one length, got rows of shapes \[\(1,\), \(2,\)",
        ),
        (GOOD | {"bias": [5.0, "six"]}, TypeError, "one real number, got 'six'"),
        (GOOD | {"bias": [5.0, None]}, TypeError, "one real number, got None"),
        (GOOD | {"bias": [5.0, 1j]}, TypeError, "one real number, got 1j"),
        (GOOD | {"bias": [5.0, Value(6.0)]}, TypeError, "one real number, got Value"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state, error, message):
    layer = nn.Layer(2, 2, seed=3)
    before = snapshot(layer)
    with pytest.raises(error, match=message):
        layer.load_state_dict(state)
    assert snapshot(layer) == before


def test_a_number_among_values_in_a_list_is_no_parameter_and_no_obstacle():
    class Mixed(nn.Module):
        def __init__(self):
            self.terms = [Value(1.0), 3.0]

    mixed = Mixed()
    assert numbers(mixed.parameters()) == [1.0]
    mixed.load_state_dict(mixed.state_dict())


def test_a_triangle_of_values_can_be_loaded_again():
    class Triangle(nn.Module):
        def __init__(self):
            self.rows = [[Value(1.0)], [Value(2.0), Value(3.0)]]

    triangle = Triangle()
    triangle.load_state_dict(triangle.state_dict())


def test_a_part_that_points_back_to_its_whole_is_walked_once():
    whole, part = nn.Module(), nn.Module()
    whole.part, part.whole, part.v = part, whole, Value(1.0)
    assert whole.parameters() == [part.v]


# --- calls


@pytest.mark.parametrize(
    "x",
    [
        [3, 4],
        (3.0, 4.0),
        [Fraction(3), Fraction(4)],
        [Value(3.0), Value(4)],
        [3, Value(4.0)],
        np.array([3.0, 4.0]),
        np.array([3, 4]),
        np.array([[3.0, 4.0]], dtype=np.float32)[0],
        np.array([Value(3.0), Value(4.0)]),
    ],
    ids=lambda x: f"{type(x).__name__} of {type(x[0]).__name__}, {type(x[1]).__name__}",
)
def test_inputs_of_any_kind_give_the_same_number(x):
    neuron, model = nn.Neuron(2, seed=1), nn.MLP(2, [3, 1], seed=1)
    assert neuron(x).data == neuron([3.0, 4.0]).data
    assert model(x).data == model([3.0, 4.0]).data


CALLED = [nn.Neuron(3, seed=0), nn.Layer(3, 2, seed=0), nn.MLP(3, [2, 1], seed=0)]


@pytest.mark.parametrize("part", CALLED, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("length", [0, 2, 4])
def test_a_wrong_number_of_inputs_is_refused(part, length):
    with pytest.raises(ValueError, match=f"{type(part).__name__} expects 3 inputs, got {length}"):
        part([1.0] * length)


@pytest.mark.parametrize("part", CALLED, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("rows", [2, 3])
def test_many_examples_at_once_are_refused_with_the_line_to_write(part, rows):
    with pytest.raises(
        TypeError, match=rf"expects 3 inputs, got {rows} lists; for many examples write \[model\(x\) for x in X\]"
    ):
        part([[1.0, 2.0, 3.0]] * rows)


def test_a_wrong_numpy_row_is_refused_with_the_same_words():
    with pytest.raises(ValueError, match="Neuron expects 3 inputs, got 2"):
        nn.Neuron(3)(np.ones(2))


@pytest.mark.parametrize("part", CALLED, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize(
    "x", [Value(1.0), "1.0", 1.0, None, np.float64(1.0), iter([1.0])], ids=lambda x: type(x).__name__
)
def test_what_is_no_list_of_inputs_is_refused_with_the_line_to_write(part, x):
    with pytest.raises(TypeError, match=r"expects a list of 3 inputs, got .*; for one input write \[x\]"):
        part(x)


@pytest.mark.parametrize(
    "x", [["1", 2.0, 3.0], [1.0, "2", 3.0], [1.0, [2.0], 3.0], [None] * 3], ids=["first", "str", "list", "None"]
)
@pytest.mark.parametrize("part", CALLED, ids=lambda part: type(part).__name__)
def test_an_input_that_is_no_real_number_is_refused(part, x):
    with pytest.raises(TypeError, match="one real number"):
        part(x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Neuron(0), "nin must be a whole number of inputs, at least 1, got 0"),
        (lambda: nn.Neuron(2.0), "nin must be a whole number of inputs, at least 1, got 2.0"),
        (lambda: nn.Neuron([1, 2]), r"nin must be a whole number of inputs, at least 1, got \[1, 2\]"),
        (lambda: nn.Layer(2, 0), "nout must be a whole number of outputs, at least 1, got 0"),
        (lambda: nn.Layer(2, -1), "nout must be a whole number of outputs, at least 1, got -1"),
        (lambda: nn.MLP(2, 3), r"MLP expects a list of layer sizes such as \[16, 16, 1\], got 3"),
        (lambda: nn.MLP(2, []), r"MLP expects a list of layer sizes such as \[16, 16, 1\], got \[\]"),
        (lambda: nn.MLP(2, [4, 0]), "nout must be a whole number of outputs, at least 1, got 0"),
        (lambda: nn.MLP(0, [4]), "nin must be a whole number of inputs, at least 1, got 0"),
    ],
)
def test_a_size_that_is_none_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda name: nn.Neuron(2, name),
            "activation must be one of .*leaky_relu.*, or a function of a Value; got 'rulu'",
        ),
        (lambda name: nn.Layer(2, 2, activation=name), "activation must be one of .*; got 'rulu'"),
        (lambda name: nn.MLP(2, [2, 1], activation=name), "activation must be one of .*; got 'rulu'"),
        (lambda name: nn.MLP(2, [2, 1], output=name), "activation must be one of .*; got 'rulu'"),
        (lambda name: nn.MLP(2, [1], activation=name), "activation must be one of .*; got 'rulu'"),  # without a use
        (
            lambda name: nn.Neuron(2, init=name),
            r"init must be one of .*he_normal.*, or a function of \(nin, rng\); got 'rulu'",
        ),
        (lambda name: nn.Layer(2, 2, init=name), "init must be one of .*; got 'rulu'"),
        (lambda name: nn.MLP(2, [2, 1], init=name), "init must be one of .*; got 'rulu'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_list_of_known_ones(make, message):
    with pytest.raises(ValueError, match=message):
        make("rulu")


class Activation(NamedTuple):
    """What the tests know of an activation, which is then held against it, PyTorch and the compiler."""

    value: Callable[[Any], Any]  # its formula for mpmath
    torch: Callable[[Any, Any], Any]  # (torch, tensor) -> tensor


ACTIVATIONS = {
    "linear": Activation(lambda x: x, lambda torch, x: 1.0 * x),
    "relu": Activation(lambda x: max(x, 0), lambda torch, x: torch.relu(x)),
    "leaky_relu": Activation(
        lambda x: max(x, x * mp.mpf(0.1)), lambda torch, x: torch.nn.functional.leaky_relu(x, 0.1)
    ),
    "tanh": Activation(mp.tanh, lambda torch, x: torch.tanh(x)),
    "sigmoid": Activation(lambda x: 1 / (1 + mp.exp(-x)), lambda torch, x: torch.sigmoid(x)),
    "softplus": Activation(
        lambda x: mp.log(1 + mp.exp(x)), lambda torch, x: torch.nn.functional.softplus(x, threshold=100)
    ),
    "silu": Activation(lambda x: x / (1 + mp.exp(-x)), lambda torch, x: torch.nn.functional.silu(x)),
    "gelu": Activation(lambda x: x * mp.ncdf(x), lambda torch, x: torch.nn.functional.gelu(x)),
    "elu": Activation(lambda x: x if x > 0 else mp.expm1(x), lambda torch, x: torch.nn.functional.elu(x)),
    "sin": Activation(mp.sin, lambda torch, x: torch.sin(x)),
    "sign": Activation(mp.sign, lambda torch, x: torch.sign(x)),
    "step": Activation(lambda x: (mp.sign(x) + 1) / 2, lambda torch, x: (torch.sign(x) + 1) / 2),
}


def missing_of_activations(known, records, offered):
    """What is still to write for an activation, and where."""
    for name, function in known.items():
        if name not in records:
            yield f"activation {name}: ACTIVATIONS in tests/test_nn.py, with its formula for mpmath and in PyTorch"
        if function.__module__.startswith("tinygrad_lite.nn") and name not in offered:
            yield f"activation {name}: __all__ in tinygrad_lite/nn/__init__.py"


TO_WRITE = [*missing_of_activations(nn.ACTIVATIONS, ACTIVATIONS, nn.__all__)]
INPUTS = [-30.0, -3.0, -0.75, -0.01, 0.01, 0.7, 3.0, 30.0]


@pytest.mark.parametrize("name", ["gelu", "elu", "silu"])
def test_a_composed_activation_is_right_to_the_stated_bound_on_both_tails(name):
    points = [0.125 * i for i in range(-80, 81)]
    compiled = pytest.importorskip("llvmlite") and tinygrad_lite.jit(nn.ACTIVATIONS[name]).batch(points).tolist()
    for x, fast in zip(points, compiled, strict=True):
        true, eager = ACTIVATIONS[name].value(mp.mpf(x)), nn.ACTIVATIONS[name](Value(x)).data
        for got in (eager, fast):
            assert abs(got - true) <= 2.0**-52 * (1.0 + abs(x)), (x, got)


def test_an_activation_that_nobody_entered_anywhere_is_found_with_all_that_is_missing():
    forgotten = {"swish": nn.silu, "silu": nn.silu, "cosine": Value.cos}
    assert [line.split(", ")[0] for line in missing_of_activations(forgotten, ACTIVATIONS, nn.__all__)] == [
        "activation swish: ACTIVATIONS in tests/test_nn.py",
        "activation swish: __all__ in tinygrad_lite/nn/__init__.py",
        "activation cosine: ACTIVATIONS in tests/test_nn.py",
    ]


@pytest.mark.parametrize("x", INPUTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_has_the_value_and_slope_of_its_formula(name, x):
    with mp.workdps(50):
        value, slope = float(ACTIVATIONS[name].value(mp.mpf(x))), float(mp.diff(ACTIVATIONS[name].value, mp.mpf(x)))
    got, (got_slope,) = evaluate(nn.ACTIVATIONS[name], x)
    assert got == pytest.approx(value, rel=1e-15, abs=1e-15)
    assert got_slope == pytest.approx(slope, rel=2e-15, abs=1e-15 + abs(x) * 2.0**-52)  # x s (1 - s), s = 1 - 2^-53


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_is_that_of_a_neuron_which_says_so(name):
    neuron, v = nn.Neuron(1, activation=name), Value(0.7) * 1.5 - 0.2
    neuron.w[0].data, neuron.b.data = 1.5, -0.2
    assert neuron([0.7]).data == pytest.approx(nn.ACTIVATIONS[name](v).data, rel=1e-15)
    assert f"activation={name!r}" in repr(neuron)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_is_pytorchs(name):
    torch = pytest.importorskip("torch")
    xs = torch.tensor(INPUTS, dtype=torch.float64, requires_grad=True)
    out = ACTIVATIONS[name].torch(torch, xs)
    out.sum().backward()
    ours = [evaluate(nn.ACTIVATIONS[name], x) for x in INPUTS]
    assert [value for value, _ in ours] == pytest.approx(out.tolist(), rel=1e-14, abs=1e-14)
    assert [slope for _, (slope,) in ours] == pytest.approx(xs.grad.tolist(), rel=1e-14, abs=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_named_activation_is_compiled_as_it_is_computed(name):
    pytest.importorskip("llvmlite")
    w = Value(1.0)
    f = tinygrad_lite.jit(lambda x: nn.ACTIVATIONS[name](w * x))
    assert f.batch(INPUTS).tolist() == pytest.approx(
        [nn.ACTIVATIONS[name](x).data for x in map(Value, INPUTS)], rel=1e-14, abs=1e-15
    )
    _, (slope,) = f.value_and_grad(INPUTS)
    slopes = [x * evaluate(nn.ACTIVATIONS[name], x)[1][0] for x in INPUTS]
    assert slope == pytest.approx(math.fsum(slopes) / len(slopes), rel=1e-13)


def test_the_leaky_slope_is_the_lectures_tenth():
    neuron = nn.Neuron(1, activation="leaky_relu", init=lambda nin, rng: 1.0)
    assert neuron([-2.0]).data == -0.2


def test_an_activation_may_be_a_function_of_a_value():
    def cube(v):
        return v**3

    model = nn.MLP(1, [1, 1], activation=cube, init=lambda nin, rng: 2.0)
    assert model([1.0]).data == 16.0
    assert "activation='cube'" in repr(model)


def test_output_is_the_activation_of_the_last_layer_alone():
    model = nn.MLP(1, [1, 1], activation="relu", output="sigmoid", init=lambda nin, rng: -1.0)
    assert model([1.0]).data == 0.5  # relu(-1) = 0, sigmoid(0)
    assert model([-1.0]).data == pytest.approx(1 / (1 + math.e), rel=1e-15)


@pytest.mark.parametrize(
    ("nouts", "outputs"), [([1], 1), ([1, 1], 1), ([3, 1, 2], 2), ([2, 1], 1), ([1, 4], 4)], ids=str
)
def test_a_last_layer_of_one_neuron_gives_one_value_else_a_list(nouts, outputs):
    out = nn.MLP(2, nouts, seed=0)([1.0, 2.0])
    assert isinstance(out, Value) if outputs == 1 else [type(v) for v in out] == [Value] * outputs


def test_hidden_layers_of_width_one_pass_their_value_on():
    model = nn.MLP(1, [1, 1, 1], activation="linear", init=lambda nin, rng: 3.0)
    out = model([2.0])
    assert out.data == 54.0
    assert gradients(model, out) == [18.0, 9.0, 18.0, 3.0, 18.0, 1.0]  # w1, b1, w2, b2, w3, b3


def test_a_neuron_is_one_dot_with_its_bias():
    neuron = nn.Neuron(2, activation="linear", seed=0)
    out = neuron([3.0, 4.0])
    assert out.op is dot
    assert out.args == (*neuron.w, 3.0, 4.0, neuron.b)


ROWS = {
    "floats": lambda: [0.1, -0.2, 0.3],
    "ints": lambda: [1, -2, 3],
    "bools": lambda: [True, False, True],
    "numpy": lambda: np.array([0.1, -0.2, 0.3]),
    "Values": lambda: [Value(0.1), Value(-0.2), Value(0.3)],
    "one Value": lambda: [0.1, Value(-0.2), 0.3],
    "the same Value twice": lambda: [v := Value(0.1), v, 0.3],
    "Specials": lambda: [Special(0.1), Special(-0.2), Special(0.3)],
    "Value and Special": lambda: [Value(0.1), Special(-0.2), Value(0.3)],
    "Special and float": lambda: [0.1, Special(-0.2), 0.3],
    "extremes": lambda: [math.inf, -1e308, 5e-324],
    "nan": lambda: [0.1, math.nan, 0.3],
}


def everything(layer, x, outputs):
    """All that one can see of outputs(x), as exact bits: data, operands, gradients."""
    zs = outputs(x)
    seen = [(z.data.hex(), type(z).__name__, len(z.args)) for z in zs]
    total([z * float(i + 1) for i, z in enumerate(zs)]).backward()
    leaves = [v for v in layer.parameters() + list(x) if isinstance(v, Value)]
    grads = [v.grad.hex() for v in leaves]
    for v in leaves:
        v.zero_grad()
    return seen, grads


def frozen(layer):
    layer.neurons[1].w[2] = 0.5


def special_weight(layer):
    layer.neurons[0].w[1] = Special(0.5)


def special_bias(layer):
    layer.neurons[0].b = Special(0.5)


def plain_bias(layer):
    layer.neurons[2].b = 0.0


@pytest.mark.parametrize("change", [None, frozen, special_weight, special_bias, plain_bias])
@pytest.mark.parametrize("kind", ROWS)
def test_a_layer_is_its_neurons_bit_for_bit(kind, change):
    layer = nn.Layer(3, 4, activation="linear", seed=2)
    if change is not None:
        change(layer)
    x = ROWS[kind]()
    one_by_one = everything(layer, x, lambda x: [dot(n.w, x, n.b) for n in layer.neurons])
    assert everything(layer, x, layer.outputs) == one_by_one


@pytest.mark.parametrize("kind", ROWS)
def test_a_layer_under_no_grad_gives_the_same_bits_and_records_nothing(kind):
    layer, x = nn.Layer(3, 4, activation="linear", seed=2), ROWS[kind]()
    recorded = layer.outputs(x)
    with no_grad():
        outputs = layer.outputs(x)
        alone = [n(x) for n in layer.neurons]
    assert [z.data.hex() for z in outputs] == [z.data.hex() for z in alone] == [z.data.hex() for z in recorded]
    assert all(z.args == () and z.op is None for z in outputs)


def test_a_users_value_class_goes_through_a_network():
    out = nn.MLP(2, [3, 1], seed=0)([Special(1.0), 2.0])
    assert type(out) is Special


def test_the_summary_names_every_layer_and_counts_its_parameters():
    lines = repr(nn.MLP(64, [32, 10], activation="tanh")).splitlines()
    assert [line.split()[-1] for line in lines[1:]] == ["2,080", "330", "2,410"]
    assert lines[0] == "MLP" and len(lines) == 4
    assert lines[1].startswith("  layers.0") and "Layer(64, 32, activation='tanh')" in lines[1]
    assert repr(Nested()) == "Nested(15 parameters)"


# --- initial weights

NIN, NOUT = 50, 80  # 4,000 weights: the standard error of their standard deviation is 1.1 %


@pytest.mark.parametrize(
    ("init", "std", "bound"),
    [
        (None, math.sqrt(1 / NIN), math.inf),
        ("lecun_normal", math.sqrt(1 / NIN), math.inf),
        ("he_normal", math.sqrt(2 / NIN), math.inf),
        ("uniform", math.sqrt(1 / 3), 1.0),
        ("xavier_uniform", math.sqrt(2 / (NIN + NOUT)), math.sqrt(6 / (NIN + NOUT))),
    ],
)
def test_initial_weights_have_the_promised_spread(init, std, bound):
    layer = nn.Layer(NIN, NOUT, init=init, seed=0)
    weights = np.array([numbers(n.w) for n in layer.neurons])
    assert weights.std() == pytest.approx(std, rel=0.04)
    assert abs(weights.mean()) < 4 * std / math.sqrt(weights.size)
    # 4,000 draws: a uniform comes within 1 % of its bounds, a normal goes past 3 sigma and not past 6
    for largest in (weights.max(), -weights.min()):
        assert 0.99 * bound < largest <= bound if bound < math.inf else 3 * std < largest < 6 * std
    assert [n.b.data for n in layer.neurons] == [0.0] * NOUT


def test_the_spread_follows_each_layers_own_inputs():
    model = nn.MLP(100, [100, 4], seed=0)
    first, second = (np.std([numbers(n.w) for n in layer.neurons]) for layer in model.layers)
    assert first == pytest.approx(0.1, rel=0.05)
    assert second == pytest.approx(0.1, rel=0.15)
    wide = nn.MLP(1, [400, 4], seed=0)
    assert np.std([numbers(n.w) for n in wide.layers[1].neurons]) == pytest.approx(0.05, rel=0.1)


def test_a_neuron_alone_counts_as_one_output():
    (w,) = nn.Neuron(1, init="xavier_uniform", seed=0).w
    assert w.data == random.Random(0).uniform(-1.0, 1.0) * math.sqrt(6.0 / (1 + 1))


def test_the_default_is_lecun_normal():
    assert snapshot(nn.MLP(2, [3], seed=1)) == snapshot(nn.MLP(2, [3], seed=1, init="lecun_normal"))


def test_init_may_be_a_function_of_nin_and_the_generator():
    asked = []

    def init(nin, rng):
        asked.append(nin)
        return rng.random() + nin

    model = nn.MLP(2, [3, 1], init=init, seed=0)
    rng = random.Random(0)
    assert asked == [2] * 6 + [3] * 3
    assert [w.data for layer in model.layers for n in layer.neurons for w in n.w] == [
        rng.random() + nin for nin in asked
    ]


@pytest.mark.parametrize("make", [lambda seed: nn.Neuron(3, seed=seed), lambda seed: nn.MLP(2, [4, 1], seed=seed)])
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make):
    random.seed(1)
    first = snapshot(make(5))
    random.seed(2)
    assert snapshot(make(5)) == first
    assert snapshot(make(6)) != first


def test_a_seed_leaves_the_global_generator_alone():
    random.seed(0)
    state = random.getstate()
    nn.MLP(2, [4, 1], seed=3)
    assert random.getstate() == state


@pytest.mark.parametrize("init", list(nn.INITS))
def test_without_a_seed_weights_follow_random_seed(init):
    def drawn():
        random.seed(11)
        return snapshot(nn.MLP(2, [4, 1], init=init))

    first = drawn()
    assert drawn() == first
    assert snapshot(nn.MLP(2, [4, 1], init=init)) != first  # the generator went on


def test_neurons_of_a_layer_differ():
    first, second = nn.Layer(2, 2, seed=0).neurons
    assert numbers(first.w) != numbers(second.w)


SCRIPT = """
from tinygrad_lite import Value, nn
model = nn.MLP(2, [3, 1], seed=4)
loss = nn.hinge(model([0.5, -0.25]), 1) + nn.l2(model.parameters(), 1e-3)
loss.backward()
print([(name, p.data.hex(), p.grad.hex()) for name, p in model.named_parameters()])
print(list(model.state_dict()), loss.data.hex())
"""


def test_names_weights_and_gradients_do_not_depend_on_the_hash_seed():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    assert "layers.0.neurons.0.w.0" in outputs.pop()


# --- losses


def evaluate(loss, *scores):
    """The loss and its derivatives with respect to the scores."""
    values = [Value(s) for s in scores]
    out = loss(*values)
    out.backward()
    return out.data, [v.grad for v in values]


S = 1 / (1 + math.exp(-0.3))  # sigmoid(0.3)
BCE_QUARTER = -0.25 * math.log(S) - 0.75 * math.log(1 - S)
TARGETS = [-1.0, -0.25, 0.3, 2.0]


class Loss(NamedTuple):
    """What the tests know of a loss, which is then held against these numbers, PyTorch and the compiler."""

    forms: list[tuple[str, Callable[..., Any], list[float], float, list[float]]]
    # what is special, a function of some scores, these scores, its value there, its derivatives
    call: Callable[..., Any]  # (scores, k) -> the loss of four scores, k = 0, 1, ..., classes - 1
    torch: Callable[..., Any]  # (torch, scores, k) -> the same of a tensor
    classes: int = 1


LOSSES = {
    "mse": Loss(
        [
            ("numbers", lambda f: nn.mse(f, 2.0), [0.5], 2.25, [-3.0]),
            ("lists", lambda f, g: nn.mse([f, g], [1.0, 5.0]), [3.0, 1.0], 10.0, [2.0, -4.0]),
            ("lists of one", lambda f: nn.mse([f], [2.0]), [0.5], 2.25, [-3.0]),
            ("tuple and list", lambda f, g: nn.mse((f, g), [1, 5]), [3.0, 1.0], 10.0, [2.0, -4.0]),
            ("two Values", nn.mse, [0.5, 2.0], 2.25, [-3.0, 3.0]),
        ],
        lambda s, k: nn.mse(s, TARGETS),
        lambda torch, s, k: torch.nn.functional.mse_loss(s, torch.tensor(TARGETS, dtype=torch.float64)),
    ),
    "half_squared_error": Loss(
        [
            ("numbers", lambda f: nn.half_squared_error(f, 2.0), [0.5], 1.125, [-1.5]),
            ("lists", lambda f, g: nn.half_squared_error([f, g], [1.0, 5.0]), [3.0, 1.0], 10.0, [2.0, -4.0]),
        ],
        lambda s, k: nn.half_squared_error(s, TARGETS),
        lambda torch, s, k: 0.5 * ((s - torch.tensor(TARGETS, dtype=torch.float64)) ** 2).sum(),
    ),
    "huber": Loss(
        [
            ("inside", lambda f: nn.huber(f, 2.0), [1.5], 0.125, [-0.5]),
            ("beyond", lambda f: nn.huber(f, 2.0), [-1.0], 2.5, [-1.0]),
            ("at the corner", lambda f: nn.huber(f, 2.0), [3.0], 0.5, [1.0]),
            ("delta 1/2", lambda f: nn.huber(f, 2.0, delta=0.5), [4.0], 0.875, [0.5]),
            ("lists", lambda f, g: nn.huber([f, g], [1.0, 5.0]), [1.5, 1.0], 1.8125, [0.25, -0.5]),
            ("Values", nn.huber, [5.0, 2.0, 0.5], 1.375, [0.5, -0.5, 2.5]),
            ("an infinite residual", lambda f: nn.huber(f, 2.0), [math.inf], math.inf, [1.0]),
        ],
        lambda s, k: nn.huber(s, TARGETS, delta=k + 0.5),
        lambda torch, s, k: torch.nn.functional.huber_loss(
            s, torch.tensor(TARGETS, dtype=torch.float64), delta=float(k) + 0.5
        ),
        classes=2,
    ),
    "hinge": Loss(
        [
            ("inside", lambda s: nn.hinge(s, 1), [0.25], 0.75, [-1.0]),
            ("inside, class -1", lambda s: nn.hinge(s, -1), [0.25], 1.25, [1.0]),
            ("beyond", lambda s: nn.hinge(s, 1.0), [1.5], 0.0, [0.0]),
            ("at the kink", lambda s: nn.hinge(s, 1), [1.0], 0.0, [0.0]),
            ("a Value class", nn.hinge, [0.25, -1.0], 1.25, [1.0, -0.25]),
        ],
        lambda s, k: nn.hinge(s[0], 2 * k - 1),
        lambda torch, s, k: torch.relu(1 - (2 * k - 1) * s[0]),
        classes=2,
    ),
    "bce_with_logits": Loss(
        [
            ("1", lambda z: nn.bce_with_logits(z, 1), [0.3], -math.log(S), [S - 1]),
            ("0", lambda z: nn.bce_with_logits(z, 0.0), [0.3], -math.log(1 - S), [S]),
            ("1/4", lambda z: nn.bce_with_logits(z, 0.25), [0.3], BCE_QUARTER, [S - 0.25]),
            ("a Value target", nn.bce_with_logits, [0.3, 0.25], BCE_QUARTER, [S - 0.25, -0.3]),
        ],
        lambda s, k: nn.bce_with_logits(s[0], k / 4),
        lambda torch, s, k: torch.nn.functional.binary_cross_entropy_with_logits(s[0], torch.tensor(k / 4).double()),
        classes=5,
    ),
    "cross_entropy": Loss(
        [
            ("a list", lambda a, b: nn.cross_entropy([a, b], 1), [0.3, 0.0], math.log(1 + math.exp(0.3)), [S, -S]),
            ("a tuple", lambda a, b: nn.cross_entropy((a, b), 0), [7.0, 7.0], math.log(2), [-0.5, 0.5]),
            ("one class", lambda a: nn.cross_entropy([a], 0), [7.0], 0.0, [0.0]),
        ],
        lambda s, k: nn.cross_entropy(s, k),
        lambda torch, s, k: torch.nn.functional.cross_entropy(s, torch.tensor(k)),
        classes=4,
    ),
    "softmax": Loss(
        [("a list", lambda a, b: nn.softmax([a, b])[0], [0.3, 0.0], S, [S * (1 - S), -S * (1 - S)])],
        lambda s, k: ops.pick(k, nn.softmax(s)),
        lambda torch, s, k: torch.softmax(s, 0)[k],
        classes=4,
    ),
    "l1": Loss(
        [
            ("strength 1/2", lambda a, b, c: nn.l1([a, b, c], 0.5), [2.0, -3.0, 0.0], 2.5, [0.5, -0.5, 0.0]),
            ("strength 1", lambda a, b, c: nn.l1([a, b, c]), [2.0, -3.0, 0.0], 5.0, [1.0, -1.0, 0.0]),
        ],
        lambda s, k: nn.l1(s, 0.1),
        lambda torch, s, k: 0.1 * s.abs().sum(),
    ),
    "l2": Loss(
        [
            ("strength 1/2", lambda a, b: nn.l2([a, b], 0.5), [2.0, -3.0], 6.5, [2.0, -3.0]),
            ("a generator", lambda a, b: nn.l2(p for p in (a, b)), [2.0, -3.0], 13.0, [4.0, -6.0]),
        ],
        lambda s, k: nn.l2(s, 0.1),
        lambda torch, s, k: 0.1 * (s**2).sum(),
    ),
}
CLOSED_FORMS = [(f"{name}: {form[0]}", *form[1:]) for name, loss in LOSSES.items() for form in loss.forms]


def missing_of_losses(known, records, offered, readme):
    """What is still to write for a loss, and where."""
    for name in known:
        if name not in records:
            yield f"loss {name}: LOSSES in tests/test_nn.py, with values, derivatives and what PyTorch calls it"
        if name not in offered:
            yield f"loss {name}: __all__ in tinygrad_lite/nn/__init__.py"
        if not re.search(rf"\b{name}\b", readme):
            yield f"loss {name}: README.md, under 'What is there', in the row of `nn`"


README = (ROOT / "README.md").read_text(encoding="utf-8")
OURS = [
    name for name, f in vars(losses).items()
    if getattr(f, "__module__", "") == losses.__name__ and not name.startswith("_") and name != "accuracy"
]  # fmt: skip
TO_WRITE += missing_of_losses(OURS, LOSSES, nn.__all__, README)
assert not TO_WRITE, "a loss or an activation is not complete; add\n" + "\n".join(TO_WRITE)


def test_a_loss_that_nobody_entered_anywhere_is_found_with_all_that_is_missing():
    assert list(LOSSES) == OURS
    assert [line.split(", ")[0] for line in missing_of_losses(["mse", "mae"], LOSSES, nn.__all__, README)] == [
        "loss mae: LOSSES in tests/test_nn.py",
        "loss mae: __all__ in tinygrad_lite/nn/__init__.py",
        "loss mae: README.md",
    ]


@pytest.mark.parametrize(
    ("loss", "operations"),
    [
        (lambda z: nn.mse(z, 1.0), ["sub", "power"]),
        (lambda z: nn.half_squared_error([z], [1.0]), ["sub", "power", "mul"]),
        (lambda z: nn.bce_with_logits(z, 0), ["softplus"]),
        (lambda z: nn.bce_with_logits(z, 1), ["neg", "softplus"]),
        (lambda z: nn.bce_with_logits(z, 0.5), ["neg", "softplus", "mul", "softplus", "mul", "add"]),
    ],
)
def test_a_loss_is_drawn_with_no_operation_too_many(loss, operations):
    assert [node.op.name for node in topological_order(loss(Value(2.0))) if node.op] == operations


@pytest.mark.parametrize(
    ("loss", "scores", "value", "grads"), [c[1:] for c in CLOSED_FORMS], ids=[c[0] for c in CLOSED_FORMS]
)
def test_losses_have_their_closed_forms_and_derivatives(loss, scores, value, grads):
    got, got_grads = evaluate(loss, *scores)
    assert got == pytest.approx(value, rel=1e-14, abs=1e-15)
    assert got_grads == pytest.approx(grads, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize(("loss", "scores", "value"), [c[1:4] for c in CLOSED_FORMS], ids=[c[0] for c in CLOSED_FORMS])
def test_losses_of_plain_numbers_are_plain_numbers(loss, scores, value):
    assert type(loss(*scores)) is float
    assert loss(*scores) == pytest.approx(value, rel=1e-14, abs=1e-15)


def at_random(loss, scale):
    """(k, four scores) for every class k."""
    rng = random.Random(3)
    return [(k, [rng.uniform(-scale, scale) for _ in range(4)]) for k in range(loss.classes) for _ in range(3)]


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_pytorchs(name, scale):
    torch = pytest.importorskip("torch")
    for k, scores in at_random(LOSSES[name], scale):
        tensor = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
        expected = LOSSES[name].torch(torch, tensor, k)
        expected.backward()
        value, grads = evaluate(lambda *s, k=k: LOSSES[name].call(list(s), k), *scores)
        assert value == pytest.approx(expected.item(), rel=1e-12, abs=1e-14)
        assert grads == pytest.approx(tensor.grad.tolist(), rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_compiled_as_they_are_computed(name, scale):
    pytest.importorskip("llvmlite")
    rows, ws = at_random(LOSSES[name], scale), [Value(1.0) for _ in range(4)]
    f = tinygrad_lite.jit(lambda s, k: LOSSES[name].call([w * x for w, x in zip(ws, s)], k))
    eager = [evaluate(lambda *s, k=k: LOSSES[name].call(list(s), k), *scores) for k, scores in rows]
    examples = [scores for _, scores in rows], [k for k, _ in rows]
    assert f.batch(*examples).tolist() == pytest.approx([value for value, _ in eager], rel=1e-13, abs=1e-15)
    read = [ws.index(w) for w in f.parameters]  # some losses take one score alone
    mean = [math.fsum(g[i] * x[i] for (_, g), x in zip(eager, examples[0])) / len(rows) for i in read]
    assert f.value_and_grad(*examples)[1].tolist() == pytest.approx(mean, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize(
    ("loss", "scores", "value", "grads"),
    [
        (lambda s: nn.hinge(s, 1), [-1000.0], 1001.0, [-1.0]),
        (lambda s: nn.hinge(s, 1), [1000.0], 0.0, [0.0]),
        (lambda z: nn.bce_with_logits(z, 0), [1000.0], 1000.0, [1.0]),
        (lambda z: nn.bce_with_logits(z, 1), [1000.0], 0.0, [0.0]),
        (lambda z: nn.bce_with_logits(z, 0), [-1000.0], 0.0, [0.0]),
        (lambda z: nn.bce_with_logits(z, 1), [-1000.0], 1000.0, [-1.0]),
        (lambda z: nn.bce_with_logits(z, 0.5), [-1000.0], 500.0, [-0.5]),
        (lambda a, b: nn.cross_entropy([a, b], 0), [1000.0, -1000.0], 0.0, [0.0, 0.0]),
        (lambda a, b: nn.cross_entropy([a, b], 1), [1000.0, -1000.0], 2000.0, [1.0, -1.0]),
        (lambda a, b: nn.cross_entropy([a, b], 1), [1000.0, 1000.0], math.log(2), [0.5, -0.5]),
        (lambda a, b: nn.softmax([a, b])[0], [1000.0, -1000.0], 1.0, [0.0, 0.0]),
        (lambda a, b: nn.softmax([a, b])[1], [1000.0, -1000.0], 0.0, [0.0, 0.0]),
        (lambda f: nn.mse(f, 0.0), [1000.0], 1e6, [2000.0]),
    ],
)
def test_extreme_scores_stay_finite_and_right(loss, scores, value, grads):
    got, got_grads = evaluate(loss, *scores)
    assert got == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert got_grads == pytest.approx(grads, abs=1e-12)


def test_a_confident_right_answer_keeps_its_tiny_loss():
    assert nn.bce_with_logits(40.0, 1) == pytest.approx(math.exp(-40.0), rel=1e-15)
    assert nn.bce_with_logits(-700.0, 0) == pytest.approx(math.exp(-700.0), rel=1e-12)


@pytest.mark.parametrize("zs", [[0.3, -1.0, 2.0], [1000.0, 0.0, -1000.0], [-1000.0] * 3, [5.0]], ids=str)
def test_softmax_is_positive_and_sums_to_one(zs):
    shares = nn.softmax([Value(z) for z in zs])
    assert sum(numbers(shares)) == pytest.approx(1.0, abs=1e-12)
    assert min(numbers(shares)) >= 0.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: nn.huber(s, 1.0, delta=0.0), ValueError, "huber expects delta as a finite number above 0, got 0"),
        (
            lambda s: nn.huber(s, 1.0, delta=math.inf),
            ValueError,
            "huber expects delta as a finite number above 0, got inf",
        ),
        (lambda s: nn.huber([s, s], [1.0]), ValueError, "huber expects two numbers, or two lists of one length"),
        (lambda s: nn.hinge(s, 0), ValueError, r"class y as -1 or 1, got 0; for labels 0 and 1 write 2 \* y - 1"),
        (lambda s: nn.hinge(s, 2), ValueError, "class y as -1 or 1, got 2"),
        (lambda s: nn.hinge(s, math.nan), ValueError, "class y as -1 or 1, got nan"),
        (lambda s: nn.hinge(s, "1"), TypeError, "one real number, got '1'"),
        (lambda s: nn.hinge(s, [1]), TypeError, r"one real number, got \[1\]"),
        (lambda s: nn.bce_with_logits(s, -1), ValueError, r"target from 0 to 1, got -1; .* write \(y \+ 1\) / 2"),
        (lambda s: nn.bce_with_logits(s, 1.5), ValueError, "target from 0 to 1, got 1.5"),
        (lambda s: nn.bce_with_logits(s, math.nan), ValueError, "target from 0 to 1, got nan"),
        (lambda s: nn.bce_with_logits(s, None), TypeError, "one real number, got None"),
        (lambda s: nn.cross_entropy([s, s], 2), ValueError, "class from 0 to 1, got 2"),
        (lambda s: nn.cross_entropy([s, s], -1), ValueError, "class from 0 to 1, got -1"),
        (lambda s: nn.cross_entropy([s, s], 0.5), ValueError, "class from 0 to 1, got 0.5"),
        (lambda s: nn.cross_entropy([s, s], math.nan), ValueError, "class from 0 to 1, got nan"),
        (lambda s: nn.cross_entropy([s, s], "0"), TypeError, "one real number, got '0'"),
        (lambda s: nn.cross_entropy([s, s], [0, 1]), TypeError, r"the class as one number, got \[0, 1\]"),
        (lambda s: nn.mse([s, s], [1.0]), ValueError, "two lists of one length, got 2 numbers and 1 numbers"),
        (lambda s: nn.mse([s, s], 1.0), ValueError, "two lists of one length, got 2 numbers and 1.0"),
        (lambda s: nn.mse(s, [1.0]), ValueError, "mse expects two numbers, or two lists of one length, got Value"),
        (lambda s: nn.mse([], []), ValueError, "got 0 numbers and 0 numbers"),
        (lambda s: nn.half_squared_error([s], [1.0, 2.0]), ValueError, "half_squared_error expects two numbers"),
        (lambda s: nn.mse(s, "1"), TypeError, "one real number, got '1'"),
        (lambda s: nn.softmax([]), ValueError, "softmax expects at least one score"),
    ],
)
def test_targets_outside_a_losss_domain_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(Value(0.5))


@pytest.mark.parametrize("k", [1, 1.0, True, np.int64(1), np.float32(1.0)], ids=lambda k: type(k).__name__)
def test_a_class_may_be_any_kind_of_whole_number(k):
    assert nn.cross_entropy([0.0, 0.0], k) == pytest.approx(math.log(2))
    assert nn.hinge(0.0, k) == 1.0


def test_the_row_of_a_numpy_array_is_a_list_of_targets():
    loss = nn.mse([Value(1.0), Value(2.0)], np.array([0.0, 2.0]))
    assert loss.data == 0.5


@pytest.mark.parametrize(
    ("outputs", "targets", "share"),
    [
        ([0.5, -0.5, 2.0, -2.0], [1, -1, -1, 1], 0.5),
        ([Value(0.5), Value(-0.5)], [1.0, -1.0], 1.0),
        ([0.5, -0.5], [1, 0], 1.0),
        (np.array([0.5, -0.5]), np.array([1.0, 1.0]), 0.5),
        ([[0.1, 0.9], [0.9, 0.1], [0.2, 0.3], [5, 1]], [1, 0, 0, 0], 0.75),
        ([[Value(0.1), Value(0.9)], (Value(3), Value(2))], [1, 1], 0.5),
        (np.array([[1.0, 2.0, 3.0]]), [2], 1.0),
        ([[1.0, 1.0]], [0], 1.0),  # of equals, the first
        ([0.5], [-1], 0.0),
        ([0.0], [-1], 1.0),  # as in micrograd: class 1 is a score above 0
    ],
)
def test_accuracy_is_the_share_of_right_answers(outputs, targets, share):
    assert nn.accuracy(outputs, targets) == share


@pytest.mark.parametrize(
    ("outputs", "targets"), [([1.0], [1, 1]), ([1.0, 2.0], [1]), ([], [])], ids=["1:2", "2:1", "0:0"]
)
def test_accuracy_of_unequal_or_empty_lists_is_refused(outputs, targets):
    with pytest.raises(
        ValueError, match=f"as many outputs as targets, and at least one; got {len(outputs)} and {len(targets)}"
    ):
        nn.accuracy(outputs, targets)


def test_l2_of_a_model_adds_twice_the_strength_times_the_weight_to_its_gradient():
    model = nn.MLP(2, [2, 1], seed=0)
    grads = gradients(model, nn.l2(model.parameters(), 0.25))
    assert grads == [0.5 * p.data for p in model.parameters()]


def test_a_target_that_is_a_value_is_checked_as_well():
    with pytest.raises(ValueError, match="hinge expects the class y as -1 or 1, got 0"):
        nn.hinge(Value(0.5), Value(0.0))


def test_what_a_module_returns_beside_values_is_left_alone():
    class Two(nn.Module):
        def __call__(self, x):
            return [2.0 * x, 3.0, "text"]

    two, x = Two(), Value(1.0)
    out = two(x)
    assert out[0].call[0] is two and out[0].call[1] == (x,) and out[1:] == [3.0, "text"]


def test_a_state_may_be_made_of_arrays():
    model, twin = nn.MLP(2, [3, 1], seed=0), nn.MLP(2, [3, 1], seed=1)
    twin.load_state_dict({name: np.array(numbers) for name, numbers in model.state_dict().items()})
    assert twin.state_dict() == model.state_dict()


# --- what a module keeps


class Keeping(nn.Module):
    """A module that keeps its output and a computed weight, as people do who look at activations."""

    def __init__(self):
        self.raw = Value(0.5)
        self.scale = self.raw.softplus()
        self.layer = nn.Layer(2, 2, "tanh", seed=0)

    def __call__(self, x):
        self.out = self.layer(x)
        self.last = self.out[0] * self.scale
        return self.last


def test_what_a_module_computed_and_kept_is_no_parameter(tmp_path):
    model, twin = Keeping(), Keeping()
    names, tensors = [name for name, _ in model.named_parameters()], list(model.tensors())
    assert names[0] == "raw" and len(names) == 7 and tensors == ["raw", "layer.weight", "layer.bias"]
    model([1.0, 2.0]).backward()
    assert [name for name, _ in model.named_parameters()] == names and list(model.tensors()) == tensors
    tinygrad_lite.optim.SGD(model.parameters(), 0.1).step()
    twin.load_state_dict(model.state_dict())
    assert [p.data for p in twin.parameters()] == [p.data for p in model.parameters()]
    assert repr(model) == "Keeping(7 parameters)"


def test_sizes_may_be_numpy_integers():
    model = nn.MLP(np.int64(2), np.array([3, 1]), seed=0)
    assert [p.data for p in model.parameters()] == [p.data for p in nn.MLP(2, [3, 1], seed=0).parameters()]
    with pytest.raises(ValueError, match="expects a list of layer sizes"):
        nn.MLP(2, np.array([], dtype=int))
    with pytest.raises(ValueError, match="expects a list of layer sizes"):
        nn.MLP(2, 3)


@pytest.mark.parametrize("penalty", [nn.l1, nn.l2])
def test_a_penalty_on_a_model_itself_says_what_to_write(penalty):
    with pytest.raises(
        TypeError, match=rf"{penalty.__name__} expects a list .* got one MLP: write model.parameters\(\)"
    ):
        penalty(nn.MLP(2, [1], seed=0))


@pytest.mark.parametrize("target", [2, -1, 0.5, [0, 1], "1", np.array([1, 0])])
def test_accuracy_refuses_a_class_that_no_score_stands_for(target):
    with pytest.raises(ValueError, match="accuracy expects a class from 0 to 1, got"):
        nn.accuracy([[0.1, 0.2]], [target])


def test_accuracy_takes_a_class_of_any_whole_kind():
    assert nn.accuracy([[0.1, 0.2], [Value(3.0), 0.0]], [np.int64(1), 1.0]) == 0.5


@pytest.mark.parametrize("k", [[0, 1, 0], np.array([0, 1, 0])])
def test_a_one_hot_class_says_what_to_write(k):
    with pytest.raises(TypeError, match=r"got \[.*0.*1.*0.*\]; of a one-hot list it is k.index\(1\)"):
        nn.cross_entropy([0.0, 1.0, 2.0], k)


def test_a_cross_entropy_of_two_classes_is_compiled_like_any_other():
    pytest.importorskip("llvmlite")
    w, targets = Value(0.7), [0.0, 1.0, 0.25]
    found = tinygrad_lite.jit(lambda x, t: nn.bce_with_logits(w * x, t)).batch([1.0, 2.0, -3.0], targets)
    eager = [nn.bce_with_logits(w * x, t).data for x, t in zip([1.0, 2.0, -3.0], targets)]
    assert found.tolist() == pytest.approx(eager, rel=1e-14)
