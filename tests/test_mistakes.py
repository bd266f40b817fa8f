"""Warnings that teach: each is provoked as a learner would, names the line, and stays silent where all is well."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tinygrad_lite import TrainingWarning, Value, anomaly, data, fit, nn, no_grad, ops, optim

X, Y = [[0.5], [1.0], [-1.0]], [1.0, 2.0, -2.0]


def line_of_my_model():
    model = nn.MLP(1, [1], seed=0)
    model.layers[0].neurons[0].w[0].label = "slope"
    return model, optim.SGD(model.parameters(), 0.01)


def mean_loss(model):
    return ops.mean([(model(x) - y) ** 2 for x, y in zip(X, Y)])


def told(caught, line):
    """The one warning that was caught, and that it is about this line of this file."""
    (warning,) = caught
    assert warning.category is TrainingWarning
    text = Path(warning.filename).read_text(encoding="utf-8").splitlines()[warning.lineno - 1]
    assert Path(warning.filename) == Path(__file__) and text.strip() == line
    return str(warning.message)


@pytest.fixture
def caught():
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        yield found


# --- forgotten zero_grad


def test_a_forgotten_zero_grad_is_told_at_the_step(caught):
    model, opt = line_of_my_model()
    for _ in range(2):
        mean_loss(model).backward()
        opt.step()
    message = told(caught, "opt.step()")
    assert message.startswith("parameter 0 ('slope'), parameter 1 still held the gradient of the last step")
    assert "zero_grad() before backward()" in message and "step(accumulate=True)" in message


def test_a_forgotten_zero_grad_is_told_also_after_a_second_backward_pass(caught):
    model, opt = line_of_my_model()
    for passes in 1, 2:
        for _ in range(passes):
            mean_loss(model).backward()
        opt.step()
    assert "still held the gradient of the last step" in told(caught, "opt.step()")


def test_many_parameters_are_named_by_the_first_three(caught):
    model = nn.MLP(1, [4, 1], seed=0, activation="tanh")
    opt = optim.SGD(model.parameters(), 0.01)
    for _ in range(2):
        mean_loss(model).backward()
        opt.step()
    assert "parameter 0, parameter 1, parameter 2 and 10 more still held" in str(caught[0].message)


def test_a_forgotten_zero_grad_after_a_compiled_fit_is_told(caught):
    pytest.importorskip("llvmlite")
    model, opt = line_of_my_model()
    fit(lambda x, y: (model(x) - y) ** 2, opt, X, Y, epochs=2, compiled=True, progress=False)
    mean_loss(model).backward()
    opt.step()
    assert "still held the gradient of the last step" in told(caught, "opt.step()")


@pytest.mark.parametrize("forget", ["opt", "model", "by hand", "before the first step too"])
def test_no_way_to_forget_the_gradients_is_mistaken(forget, caught):
    model, opt = line_of_my_model()
    for _ in range(4):
        if forget == "opt":
            opt.zero_grad()
        elif forget == "model":
            model.zero_grad()
        else:
            for p in model.parameters():
                p.grad = 0.0
        mean_loss(model).backward()
        opt.step()
        if forget == "before the first step too":
            model.zero_grad()
    assert caught == []


def test_gradients_zeroed_by_hand_between_two_passes_are_forgotten(caught):
    model, opt = line_of_my_model()
    mean_loss(model).backward()
    opt.step()
    mean_loss(model).backward()  # onto what the step has used, which then is zeroed
    for p in model.parameters():
        p.grad = 0.0
    mean_loss(model).backward()
    opt.step()
    assert caught == []


def test_several_backward_passes_before_a_step_are_meant(caught):
    model, opt = line_of_my_model()
    for _ in range(3):
        opt.zero_grad()
        for x, y in zip(X, Y):
            ((model(x) - y) ** 2 / len(X)).backward()
        opt.step()
    assert caught == []


def test_accumulation_over_steps_can_be_declared(caught):
    model, opt = line_of_my_model()
    p = model.parameters()[0]
    for _ in range(3):
        before = p.grad
        mean_loss(model).backward()
        assert p.grad != before
        opt.step(accumulate=True)
    assert caught == []
    mean_loss(model).backward()
    opt.step()
    mean_loss(model).backward()
    opt.step()
    assert "still held" in told(caught, "opt.step()")


def test_gradients_that_another_models_pass_leaves_behind_do_not_matter_once_zeroed(caught):
    """As where two networks train against each other: the first one's pass runs through the second."""
    first, second = nn.Neuron(1, "tanh", seed=1), nn.Neuron(1, "tanh", seed=2)
    opts = [optim.SGD(n.parameters(), 0.1) for n in (first, second)]
    for _ in range(3):
        for opt, target in zip(opts, (1.0, -1.0)):
            opt.zero_grad()
            ((second([first([0.5])]) - target) ** 2).backward()
            opt.step()
    assert caught == []


# --- step without backward, and parameters that no backward reaches


def test_a_step_before_any_backward_is_told(caught):
    _, opt = line_of_my_model()
    opt.step()
    assert "no backward pass has reached a parameter since the last step, or zero_grad() came after it: call" in told(
        caught, "opt.step()"
    )


def test_a_second_step_on_one_backward_is_told(caught):
    model, opt = line_of_my_model()
    mean_loss(model).backward()
    opt.step()
    assert caught == []
    opt.step()
    assert "no backward pass has reached a parameter since the last step" in told(caught, "opt.step()")


@pytest.mark.parametrize("cut", ["data", "no_grad"])
def test_a_loss_that_was_cut_from_its_parameters_is_told(cut, caught):
    model, opt = line_of_my_model()
    if cut == "data":
        loss = ops.mean([(Value(model(x).data) - y) ** 2 for x, y in zip(X, Y)])
    else:
        with no_grad():
            loss = mean_loss(model)
    loss.backward()
    opt.step()
    assert "not of their .data and not under no_grad()" in told(caught, "opt.step()")


@pytest.mark.parametrize("reached", [0, 3])
def test_a_parameter_that_was_replaced_by_a_new_value_is_told(reached, caught):
    w, b = Value(0.5, "w"), Value(0.0, "b")
    opt = optim.SGD([w, b], 0.1)
    for k in range(reached + 12):
        assert len(caught) == (k >= reached + 10)  # ten steps later, and never again
        if k == reached:
            b = Value(1.0, "b")
        opt.zero_grad()
        ((w * 2.0 + b - 1.0) ** 2).backward()
        opt.step()
        if k >= reached:
            with no_grad():  # as one would write it in PyTorch
                b = b - 0.1 * b.grad
    message = told(caught, "opt.step()")
    assert "the loss is not made of parameter 1 ('b')" in message and "p.data -= lr * p.grad" in message


def test_an_optimiser_refuses_what_was_computed():
    w = Value(2.0, "w")
    w.grad = 1.0
    with pytest.raises(ValueError, match=r"computed by sub, so moving it changes nothing: .* p.data -= lr \* p.grad"):
        optim.SGD([w - 0.1 * w.grad], 0.1)


@pytest.mark.parametrize("sign", ["-", "+"])
def test_an_update_that_makes_a_new_value_is_told(sign, caught):
    w = Value(2.0, "w")
    (w * w).backward()
    p = w
    if sign == "-":
        p -= 0.1 * p.grad
    else:
        p += -0.1 * p.grad
    message = told(caught, f"p {sign}= {'-' if sign == '+' else ''}0.1 * p.grad")
    assert "leave w=2 as it is" in message and "p.data -= lr * p.grad" in message
    assert (w.data, p.data) == (2.0, 1.6)


def test_an_update_of_many_parameters_is_told_once():
    model, _ = line_of_my_model()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            mean_loss(model).backward()
            for p in model.parameters():
                p -= 0.1 * p.grad
    assert "leave slope=" in told(caught, "p -= 0.1 * p.grad")


def test_adding_up_in_place_is_no_update(caught):
    total, w = Value(0.0), Value(2.0)
    count = Value(1.0)
    count += 0.5
    count -= 0.5
    for _ in range(2):
        total += w * w
        total -= 1.0
        total += w
    total.backward()
    total += 1.0
    again = w  # a leaf that has a gradient, and grows by a Value
    again += w * w
    assert caught == [] and total.data == 11.0


def test_a_dead_unit_is_no_missing_parameter(caught):
    model = nn.MLP(1, [3, 1], seed=0)
    for neuron in model.layers[0].neurons:
        neuron.b.data = -100.0
    opt = optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        opt.zero_grad()
        mean_loss(model).backward()
        opt.step()
    assert caught == [] and model.layers[0].neurons[0].b.data == -100.0


def test_gradients_written_by_hand_need_no_backward(caught):
    w, frozen = Value(1.0), Value(2.0)
    opt = optim.SGD([w, frozen], 0.5)
    for _ in range(12):
        w.grad = 1.0  # one object: the constant of this line
        opt.step()
    assert caught == [] and w.data == -5.0


def test_a_step_that_a_warning_stops_moves_nothing():
    w = Value(1.0)
    opt = optim.SGD([w], 0.5, momentum=0.9)
    (w * w).backward()
    opt.step()
    before = w.data, opt.t, opt.state
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        with pytest.raises(TrainingWarning, match="no backward pass"):
            opt.step()
    assert (w.data, opt.t, opt.state) == before


def test_zero_grad_between_backward_and_step_is_told(caught):
    model, opt = line_of_my_model()
    for forget in opt.zero_grad, model.zero_grad:
        mean_loss(model).backward()
        forget()
        opt.step()
    assert "or zero_grad() came after it: call zero_grad(), loss.backward(), step()" in told(caught[1:], "opt.step()")


def test_a_loss_that_is_computed_once_outside_the_loop_is_told(caught):
    w = Value(0.0, "w")
    opt = optim.SGD([w], 0.1)
    loss = (w - 1.0) ** 2
    for _ in range(2):
        opt.zero_grad()
        loss.backward()
        opt.step()
    message = told(caught, "loss.backward()")
    assert message.startswith("a second backward() on Value(1), while .data was changed since it was computed")
    assert "Compute the loss anew, inside the loop" in message


def test_a_second_backward_on_the_same_numbers_is_no_mistake(caught):
    w = Value(0.5)
    half = w * 2.0
    whole = half + w
    for _ in range(2):
        whole.backward()
        half.backward()
    assert caught == [] and w.grad == 10.0


def test_rows_of_a_table_that_no_example_chose_are_no_mistake(caught):
    table = [Value(0.1 * i) for i in range(27)]
    opt = optim.SGD(table, 0.1)
    for i in [0, 3, 1, 3, 3, 2, 0, 1, 4, 0, 0, 0, 13, 1, 26]:
        opt.zero_grad()
        ((table[i] - 1.0) ** 2).backward()
        opt.step()
    assert caught == []


def test_two_heads_that_are_trained_in_turn_are_no_mistake(caught):
    body, heads = Value(1.0), [Value(1.0), Value(2.0)]
    opt = optim.SGD([body, *heads], 0.01)
    for k in range(24):
        opt.zero_grad()
        ((body * heads[k // 6 % 2] - 3.0) ** 2).backward()
        opt.step()
    assert caught == []


def test_two_optimisers_may_share_a_parameter(caught):
    shared, a, b = Value(1.0), Value(1.0), Value(1.0)
    opts = [optim.SGD([shared, a], 0.01), optim.SGD([shared, b], 0.01), optim.SGD([shared], 0.01)]
    for _ in range(12):
        for opt in opts:
            opt.zero_grad()
        ((shared * a - 2.0) ** 2 + (shared * b - 3.0) ** 2).backward()
        for opt in opts:
            opt.step()
    assert caught == []


# --- fit


@pytest.mark.parametrize("compiled", [False, True])
def test_fit_tells_a_loss_that_rises_and_in_which_epoch(compiled, caught):
    if compiled:
        pytest.importorskip("llvmlite")
    model, opt = line_of_my_model()
    opt.lr = 1.5
    history = fit(
        lambda x, y: (model(x) - y) ** 2, opt, X, Y, epochs=6, compiled=compiled, callback=lambda *_: False,
        every=1, progress=False,
    )  # fmt: skip
    assert history.loss[5] > 2 * history.loss[0]
    (warning,) = caught
    message = str(warning.message)
    assert f"the loss rose from {history.loss[0]:.4g} in epoch 1 to {history.loss[3]:.4g} in epoch 4" in message
    assert "the learning rate of 1.5 is probably too high" in message
    assert warning.filename == __file__


def test_a_loss_that_rises_by_its_penalty_is_not_blamed_on_the_learning_rate_alone(caught):
    model, opt = line_of_my_model()
    strength = Value(1.0)

    def ramp(epoch, history):
        strength.data *= 3.0

    fit(
        lambda x, y: (model(x) - y) ** 2, opt, X, Y, epochs=5, penalty=lambda: strength * (1.0 + nn.l2(opt.params)),
        compiled=False, callback=ramp, progress=False,
    )  # fmt: skip
    assert "is probably too high, unless the penalty has grown; try a tenth" in str(caught[0].message)


def test_a_loss_that_only_swings_is_not_called_rising(caught):
    """As where a training with momentum goes on near its end: it overshoots, and comes back."""
    w = Value(1e-3)
    opt = optim.SGD([w], 0.5, momentum=0.9)
    opt.state = [(-0.004,)]
    history = fit(lambda x, y: (w * x) ** 2, opt, [1.0], [0.0], epochs=4, compiled=False, progress=False)
    assert max(history.loss) > 2 * history.loss[0] and caught == []


@pytest.mark.parametrize("compiled", [False, True])
def test_fit_tells_parameters_that_the_loss_does_not_use(compiled, caught):
    if compiled:
        pytest.importorskip("llvmlite")
    model, other = nn.Neuron(1, "linear", seed=0), nn.Neuron(1, "linear", seed=1)
    opt = optim.SGD(model.parameters() + other.parameters(), 0.1)
    fit(lambda x, y: (model(x) - y) ** 2, opt, X, Y, epochs=10, compiled=compiled, progress=False)
    (warning,) = caught
    assert "the loss is not made of parameter 2, parameter 3" in str(warning.message) and warning.filename == __file__


def test_a_training_that_goes_well_says_nothing(caught):
    points, sides = data.moons(40, seed=1)
    for compiled in (False, None):
        model = nn.MLP(2, [8, 1], seed=1)
        loss = lambda x, y, model=model: nn.hinge(model(x), y)  # noqa: E731
        for opt in optim.SGD(model.parameters(), 0.1, momentum=0.9), optim.Adam(model.parameters()):
            fit(loss, opt, points, sides, epochs=5, batch_size=16, compiled=compiled, progress=False)
    assert caught == []


def test_fit_says_what_is_wrong_with_a_loss_before_it_tells_that_it_cannot_be_compiled(caught):
    _, opt = line_of_my_model()
    with pytest.raises(TypeError, match=r"loss\(x, y\) must return one Value, got 1.0"):
        fit(lambda x, y: 1.0, opt, X, Y, epochs=1, progress=False)
    assert caught == []


# --- the standard filters


PROGRAM = """
import warnings
from tinygrad_lite import TrainingWarning, Value, optim
{filter}
w = Value(1.0, "w")
opt = optim.SGD([w], 0.1)
for _ in range(5):
    (w * w).backward()
    opt.step()
print(w.data)
"""


@pytest.mark.parametrize(
    ("line", "times"), [("", 1), ("warnings.filterwarnings('ignore', category=TrainingWarning)", 0)]
)
def test_a_warning_comes_once_per_place_and_is_silenced_by_the_standard_filter(line, times, tmp_path):
    path = tmp_path / "training.py"
    path.write_text(PROGRAM.format(filter=line), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, check=True, env={"PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert done.stderr.count("TrainingWarning: parameter 0 ('w') still held the gradient of the last step") == times
    assert done.stderr.count("training.py:9:") == times and ("opt.step()" in done.stderr) == bool(times)


def test_another_mistake_or_another_place_is_told_too():
    v, w = Value(1.0, "v"), Value(1.0, "w")
    opt = optim.SGD([v, w], 0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for i in range(4):
            if i:
                (w * w if i == 1 else v * w).backward()
            opt.step()
        (v * w).backward()
        opt.step()
    said = [str(warning.message).partition(":")[0] for warning in caught]
    assert said == [
        "no backward pass has reached a parameter since the last step, or zero_grad() came after it",
        "parameter 1 ('w') still held the gradient of the last step, and backward added to it",
        "parameter 0 ('v'), parameter 1 ('w') still held the gradient of the last step, and backward added to it",
    ]
    assert len({warning.lineno for warning in caught}) == 2


# --- errors that say what to write


MODEL, CLASSIFIER = nn.MLP(2, [3, 1], seed=0), nn.MLP(2, [3, 3], seed=0)
OPT, SCORE, SCORES = optim.SGD(MODEL.parameters(), 0.1), MODEL([1, 2]), CLASSIFIER([1, 2])


@pytest.mark.parametrize(
    ("mistake", "error", "says"),
    [
        (lambda: nn.hinge(SCORE, 0), ValueError, r"the class y as -1 or 1, got 0; for labels 0 and 1 write 2 \* y - 1"),
        (
            lambda: nn.hinge(SCORES, 1),
            TypeError,
            "hinge expects one score, got a list of 3; for several classes use cross_entropy",
        ),
        (lambda: nn.bce_with_logits(SCORE, -1), ValueError, r"got -1; for labels -1 and 1 write \(y \+ 1\) / 2"),
        (lambda: nn.bce_with_logits(SCORES, 1), TypeError, "bce_with_logits expects one score, got a list of 3"),
        (lambda: nn.cross_entropy(SCORES, 3), ValueError, "cross_entropy expects a class from 0 to 2, got 3"),
        (lambda: nn.cross_entropy(SCORES, [0, 1, 0]), TypeError, r"the class as one number, .* it is k.index\(1\)"),
        (
            lambda: nn.cross_entropy(SCORE, 0),
            TypeError,
            "cross_entropy expects a list of scores, one per class, .* bce_with_logits",
        ),
        (lambda: nn.softmax(SCORE), TypeError, "softmax expects a list of scores, one per class"),
        (lambda: Value(1.0, 5), TypeError, "the label of a Value is a string, got 5"),
        (lambda: MODEL([1, 2, 3]), ValueError, "MLP expects 2 inputs, got 3"),
        (lambda: optim.SGD(MODEL, 0.1), TypeError, r"a list of Values, got one MLP: write model.parameters\(\)"),
        (lambda: fit(OPT, abs, X, Y, epochs=1), TypeError, r"write fit\(loss, opt, X, y, epochs=...\)"),
        (
            lambda: fit(lambda x, y: 1.0, MODEL, X, Y, epochs=1),
            TypeError,
            r"got MLP in the second place",
        ),
    ],
)
def test_an_error_says_what_was_expected_and_what_to_write(mistake, error, says):
    with pytest.raises(error, match=says):
        mistake()


def test_a_value_put_into_data_is_refused_before_any_gradient_changes():
    w, b = Value(2.0, "w"), Value(1.0)
    (w * w + b).backward()
    w.data = w - 0.1 * w.grad
    with pytest.raises(TypeError, match=r"the data of w=1.6 is a Value, not a number: write p.data -= lr \* p.grad"):
        (w * 3.0 + b).backward()
    assert (w.grad, b.grad) == (4.0, 1.0)


def test_a_message_holds_nothing_that_a_terminal_obeys():
    x = Value(0.0, label="x\x1b[2J\n")
    with pytest.raises(FloatingPointError, match=r"'x\\x1b\[2J\\n'=0") as caught, anomaly():
        x.log()
    assert "\x1b" not in str(caught.value)
