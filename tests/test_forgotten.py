"""A loss that is made of a parameter which the optimiser has forgotten: told by `fit`, by the first step of a
hand-written loop, and by `doctor`."""

import functools
import warnings

import pytest

from tinygrad_lite import TrainingWarning, Value, doctor, fit, mean, nn, optim

X, Y = [[0.1], [0.5], [-1.0]], [1.0, 2.0, -1.0]
SLOPE, BETA = Value(0.25), Value(0.5, label="beta")


class Scaled(nn.Module):
    """A model with a parameter beside its layers."""

    def __init__(self):
        self.net = nn.MLP(1, [2, 1], seed=0)
        self.scale = Value(1.0)

    def forward(self, x):
        return self.net(x) * self.scale

    def __call__(self, x):
        return self.forward(x)


class Global(nn.Module):
    """Computes with a Value that it does not hold."""

    def __init__(self):
        self.layer = nn.Layer(1, 1, "linear", seed=0)

    def __call__(self, x):
        return self.layer(x) * BETA


class Task:
    def __init__(self, model):
        self.model = model

    def loss(self, x, y):
        return nn.mse(self.model(x), y)

    def __call__(self, x, y):
        return self.loss(x, y)


MODEL = Scaled()


def of_a_global(x, y):
    return nn.mse(MODEL(x), y)


def through_another_function(x, y):
    return of_a_global(x, y)


LOSSES = {
    "a closure": lambda model: lambda x, y: nn.mse(model(x), y),
    "a method": lambda model: lambda x, y: nn.mse(model.forward(x), y),
    "a global": lambda model: of_a_global,
    "a function it calls": lambda model: through_another_function,
    "partial": lambda model: functools.partial(lambda m, x, y: nn.mse(m(x), y), model),
    "a bound method": lambda model: Task(model).loss,
    "an object": Task,
    "a default": lambda model: lambda x, y, m=model: nn.mse(m(x), y),
}
engines = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


def told(loss, params, compiled, **options):
    """What fit warns of."""
    if compiled:
        pytest.importorskip("llvmlite")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(loss, optim.SGD(params, 0.001), X, Y, epochs=2, compiled=compiled, progress=False, **options)
    assert {w.category for w in caught} <= {TrainingWarning} and {w.filename for w in caught} <= {__file__}
    return [str(w.message) for w in caught]


@engines
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_parameter_that_came_after_the_optimiser_is_told_by_its_path(loss, compiled):
    (message,) = told(loss(MODEL), MODEL.net.parameters(), compiled)
    assert message.startswith("the loss is made of scale of Scaled, which the optimiser does not know and never moves")
    assert "model.parameters()" in message and "silence this TrainingWarning" in message


@engines
def test_a_weight_in_the_closure_of_an_activation_is_told(compiled):
    slope = Value(0.25)
    model = nn.MLP(1, [2, 1], activation=lambda z: z * slope, seed=0)
    (message,) = told(lambda x, y: nn.mse(model(x), y), model.parameters(), compiled)
    assert "made of Value(0.25) (used by MLP, and not held)" in message
    assert "made of beta=0.5 (used by Global, and not held)" in told(Task(m := Global()), m.parameters(), compiled)[0]


@engines
def test_a_penalty_on_a_forgotten_parameter_is_told(compiled):
    model = Scaled()
    loss = lambda x, y: nn.mse(model.net(x), y)  # noqa: E731
    messages = told(loss, model.net.parameters(), compiled, penalty=lambda: nn.l2([model.scale], 0.1))
    assert len(messages) == 1 and "scale of Scaled" in messages[0]


def test_biases_without_the_weights_beside_them_are_named_up_to_three():
    model = nn.MLP(1, [4, 1], seed=0)
    weights = [p for name, p in model.named_parameters() if ".w." in name]
    (message,) = told(Task(model), weights, compiled=False)
    names = ", ".join(f"L0.n{i}.b of MLP" for i in range(3))
    assert message.startswith(f"the loss is made of {names} and 2 more, which")


def silent_cases():
    model, teacher, strength = nn.MLP(1, [2, 1], seed=0), nn.MLP(1, [2, 1], seed=1), Value(0.5)
    w, b = Value(0.5), Value(0.1)
    return {
        "everything is trained": (Task(model), model.parameters()),
        "a layer is frozen": (Task(model), model.layers[1].parameters()),
        "another layer is frozen": (Task(model), model.layers[0].parameters()),
        "a teacher": (lambda x, y: nn.mse(model(x), teacher(x)), model.parameters()),
        "a constant of the loss": (lambda x, y: nn.mse(model(x) * Value(2.0), y), model.parameters()),
        "a setting that a callback may change": (lambda x, y: nn.mse(model(x), y) * strength, model.parameters()),
        "Values without a model": (lambda x, y: (w * x[0] + b - y) ** 2 * strength, [w, b]),
        "a frozen number": (lambda x, y: nn.mse(MODEL.net(x) * MODEL.scale.data, y), MODEL.net.parameters()),
    }


@engines
@pytest.mark.parametrize("name", silent_cases())
def test_what_is_meant_is_not_told(name, compiled):
    assert told(*silent_cases()[name], compiled) == []


def test_it_can_be_silenced_and_be_an_error():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=TrainingWarning)
        fit(of_a_global, optim.SGD(MODEL.net.parameters(), 0.001), X, Y, epochs=1, progress=False)
        warnings.filterwarnings("error", category=TrainingWarning)
        before = MODEL.net.state_dict()
        with pytest.raises(TrainingWarning, match="scale of Scaled"):
            fit(of_a_global, optim.SGD(MODEL.net.parameters(), 0.001), X, Y, epochs=1, progress=False)
        assert MODEL.net.state_dict() == before


def test_doctor_finds_weights_that_a_model_uses_and_does_not_hold():
    model = nn.MLP(1, [3, 1], activation=lambda z: z * SLOPE, seed=0)
    for opt in None, optim.SGD(model.parameters(), 0.01):
        (finding,) = [f for f in doctor(model, Task(model), X, Y, opt).findings if f.name == "not in the model"]
        assert "Value(0.25) (used by MLP, and not held): it is neither trained nor saved" in finding.seen
        assert "an attribute of the model" in finding.do
    assert not [f for f in doctor(MODEL, of_a_global, X, Y).findings if f.name == "not in the model"]


# --- a loop written by hand


def stepped(loss, opt, steps=3):
    """What a hand-written loop warns of, all at its step."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(steps):
            opt.zero_grad()
            value = mean([loss(x, y) for x, y in zip(X, Y)])
            value.backward()
            opt.step()
    assert {w.filename for w in caught} <= {__file__}
    return [str(w.message) for w in caught]


def test_a_hand_written_loop_is_told_once_at_its_first_step():
    model = Scaled()
    loss = lambda x, y: nn.mse(model(x), y)  # noqa: E731
    (message,) = stepped(loss, optim.SGD(model.net.parameters(), 0.001))
    assert message.startswith("the loss is made of scale of Scaled, which the optimiser does not know and never moves")
    assert stepped(loss, optim.SGD(model.parameters(), 0.001)) == []


def test_a_hand_written_loop_with_two_optimisers_knows_what_either_knows():
    model = nn.MLP(1, [3, 1], seed=0)
    biases = [p for name, p in model.named_parameters() if name.endswith("b")]
    weights = [p for name, p in model.named_parameters() if not name.endswith("b")]
    loss = lambda x, y: nn.mse(model(x), y)  # noqa: E731
    first, second = optim.SGD(weights, 0.001, weight_decay=0.1), optim.SGD(biases, 0.001)
    assert stepped(loss, first) == stepped(loss, second) == []
    del second
    assert "which the optimiser does not know" in stepped(loss, optim.SGD(weights, 0.001))[0]


def test_what_a_hand_written_loop_freezes_whole_or_computes_without_modules_is_not_told():
    model = nn.MLP(1, [3, 1], seed=0)
    assert stepped(lambda x, y: nn.mse(model(x), y), optim.SGD(model.layers[-1].parameters(), 0.001)) == []
    w, b = Value(1.0), Value(0.5)
    assert stepped(lambda x, y: nn.mse(w * x[0] + b, y), optim.SGD([w], 0.001)) == []
    gone = optim.SGD([w], 0.001)
    (w * b).backward()  # its graph is gone by the time of the step
    gone.step()
