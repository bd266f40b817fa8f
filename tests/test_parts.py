"""Where the Values of a graph belong: modules, scopes, and which call of them."""

import copy
import threading

import pytest

from tinygrad_lite import Value, nn, no_grad, relu, scope, sin
from tinygrad_lite.engine import topological_order
from tinygrad_lite.parts import located, names


def path(place):
    return ".".join(level.name for level in place if level.name)


def paths(root):
    """(operation, path) of every computed Value, operands first."""
    order = topological_order(root)
    place = located(order).place
    return [(node.op.name, path(place[node])) for node in order if node.op]


class Net(nn.Module):
    """Two called modules, with scopes and operations between and around them."""

    def __init__(self):
        self.first, self.second = nn.Layer(2, 2, seed=0), nn.Neuron(2, activation="linear", seed=1)

    def __call__(self, x):
        with scope("encoder"):
            h = [2.0 * v for v in self.first(x)]
        with scope("decoder"):
            return self.second(h) + 1.0


class Cell(nn.Module):
    """A recurrent unit: called again and again, each time on what it gave before."""

    def __init__(self):
        self.unit = nn.Neuron(2, activation="tanh", seed=0)

    def __call__(self, x, h):
        return self.unit([x, h])


def test_the_neurons_of_a_model_are_told_apart_by_their_parameters():
    model = nn.MLP(2, [2, 1], activation="tanh", seed=0)
    assert paths(model([1.0, -1.0]) ** 2) == [
        ("dot", "layers.0.neurons.0"), ("tanh", "layers.0.neurons.0"),
        ("dot", "layers.0.neurons.1"), ("tanh", "layers.0.neurons.1"),
        ("dot", "layers.1.neurons.0"), ("power", ""),
    ]  # fmt: skip


def test_an_activation_of_several_operations_stays_in_its_neuron():
    out = nn.Layer(1, 2, activation="silu", seed=0)([0.5])
    assert paths(out[0] * out[1])[-1] == ("mul", "")
    assert [p for op, p in paths(out[1])] == ["neurons.1"] * 3


def test_scopes_nest_and_stand_where_they_were_entered():
    x = Value(0.5)
    with scope("outer"):
        a = sin(x)
        with scope("inner"):
            b = relu(a)
    assert paths(b * 2.0) == [("sin", "outer"), ("relu", "outer.inner"), ("mul", "")]


def test_scopes_inside_a_module_wrap_the_modules_that_they_call():
    assert paths(Net()([1.0, 2.0])) == [
        ("dot", "encoder.first.neurons.0"), ("relu", "encoder.first.neurons.0"), ("mul", "encoder"),
        ("dot", "encoder.first.neurons.1"), ("relu", "encoder.first.neurons.1"), ("mul", "encoder"),
        ("dot", "decoder.second"), ("add", "decoder"),
    ]  # fmt: skip


def test_a_scope_around_a_model_is_outside_of_it():
    model = nn.MLP(1, [1, 1], seed=0)
    with scope("loss"):
        loss = nn.hinge(model([2.0]), 1)
    found = paths(loss)
    assert found[0] == ("dot", "loss.layers.0.neurons.0") and found[-1] == ("relu", "loss")


def test_two_calls_of_one_module_are_two_places_and_one_call_is_one():
    model = nn.MLP(1, [1, 1], seed=0)
    order = topological_order(model([1.0]) + model([2.0]))
    place = located(order).place
    dots = [place[node] for node in order if node.op and node.op.name == "dot"]
    assert path(dots[0]) == path(dots[2]) and dots[0] != dots[2]
    assert dots[0][0] == dots[1][0]  # the same call of the model


def test_a_recurrent_module_is_called_anew_each_time():
    cell, h = Cell(), Value(0.0)
    for x in 1.0, 2.0, 3.0:
        h = cell(x, h)
    order = topological_order(h)
    place = located(order).place
    assert [path(place[node]) for node in order if node.op] == ["unit"] * 6
    assert len({place[node][0].call for node in order if node.op}) == 3


def test_what_a_caller_computes_from_a_result_is_not_the_modules():
    layer = nn.Layer(1, 1, activation="linear", seed=0)
    inputs = [sin(Value(0.5))]
    out = layer(inputs) * 3.0
    assert paths(out) == [("sin", ""), ("dot", "neurons.0"), ("mul", "")]


def test_several_models_have_names_of_their_own():
    first, second = nn.MLP(1, [1], seed=0), nn.MLP(1, [1], seed=1)
    out = first([1.0]) + second([1.0])
    assert paths(out)[:2] == [("dot", "MLP.layers.0.neurons.0"), ("dot", "MLP2.layers.0.neurons.0")]
    found = names(topological_order(out))
    assert found[first.layers[0].neurons[0].b] == "MLP.layers.0.neurons.0.b"
    assert found[second.layers[0].neurons[0].b] == "MLP2.layers.0.neurons.0.b"


def test_names_are_labels_or_the_paths_of_parameters():
    model = nn.MLP(2, [2, 1], seed=0)
    x = Value(1.0, label="x")
    model.layers[0].neurons[1].b.label = "bias"
    order = topological_order(model([x, 0.5]))
    found = names(order)
    assert found[x] == "x" and found[model.layers[0].neurons[1].b] == "bias"
    assert found[model.layers[1].neurons[0].w[1]] == "layers.1.neurons.0.w.1"
    assert len(found) == 1 + len(model.parameters())


def test_named_modules_are_those_of_the_attributes_each_once():
    model = nn.MLP(1, [2, 1], seed=0)
    assert [name for name, _ in model.named_modules()] == [
        "", "layers.0", "layers.0.neurons.0", "layers.0.neurons.1", "layers.1", "layers.1.neurons.0",
    ]  # fmt: skip
    model.again = model.layers[0]
    assert "again" not in dict(model.named_modules())


def test_stamps_change_no_number_and_no_gradient():
    def step(model):
        out = nn.hinge(model([1.0, -2.0]), 1)
        out.backward()
        return out.data, [p.grad for p in model.parameters()]

    plain = step(nn.MLP(2, [3, 1], seed=0))
    with scope("anything"):
        assert step(nn.MLP(2, [3, 1], seed=0)) == plain


def test_scopes_are_of_their_thread():
    found = []
    with scope("here"):
        thread = threading.Thread(target=lambda: found.append(sin(Value(1.0))))
        thread.start()
        thread.join()
    assert paths(found[0]) == [("sin", "")]


def test_an_exception_leaves_the_scope():
    with pytest.raises(ZeroDivisionError), scope("loss"):
        raise ZeroDivisionError
    assert paths(sin(Value(1.0))) == [("sin", "")]


def test_a_scope_inside_no_grad_records_nothing():
    with no_grad(), scope("loss"):
        assert sin(Value(1.0)).args == ()


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_scope_needs_a_name(name):
    with pytest.raises(TypeError, match=r'scope expects a name, as in `with scope\("loss"\):`, got'):
        scope(name)


def test_a_model_with_results_copies_and_its_results_too():
    model = nn.MLP(1, [1], seed=0)
    out = model([1.0])
    assert copy.deepcopy(out).data == out.data
    assert copy.deepcopy(model)([1.0]).data == out.data


def test_results_in_lists_of_lists_are_all_stamped():
    class Pair(nn.Module):
        def __init__(self):
            self.unit = nn.Neuron(1, seed=0)

        def __call__(self, x):
            return [[self.unit(x)], self.unit(x) * 2.0]

    (a,), b = Pair()([1.0])
    assert paths(a + b) == [
        ("dot", "unit"),
        ("relu", "unit"),
        ("dot", "unit"),
        ("relu", "unit"),
        ("mul", ""),
        ("add", ""),
    ]
