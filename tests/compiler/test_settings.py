"""What a callback changes in the plain numbers that a loss or penalty reads counts in native code as in the engine."""

import functools
import types

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("llvmlite")

from tinygrad_lite import Value, fit, nn, optim  # noqa: E402
from tinygrad_lite.compiler import training  # noqa: E402

BETA, STEPS = 1.0, {"seen": 0, "beta": 1.0}


class Scaled(nn.Module):
    def __init__(self):
        self.w, self.beta = Value(0.5), 1.0

    def __call__(self, x):
        return self.w * x * self.beta


def a_closure():
    beta = 1.0

    def change(epoch):
        nonlocal beta
        beta = 0.5**epoch

    w = Value(0.5)
    return w, lambda x, y: (w * x - y) ** 2 * beta, change


def a_global():
    global BETA
    BETA = 1.0

    def change(epoch):
        global BETA
        BETA = 0.5**epoch

    w = Value(0.5)
    return w, lambda x, y: (w * x - y) ** 2 * BETA, change


def a_dict():
    STEPS["beta"] = 1.0
    w = Value(0.5)
    return w, lambda x, y: (w * x - y) ** 2 * STEPS["beta"], lambda epoch: STEPS.update(beta=0.5**epoch, seen=epoch)


def a_list_in_a_namespace():
    settings = types.SimpleNamespace(betas=[1.0, 0.0])
    w = Value(0.5)
    change = lambda epoch: settings.betas.__setitem__(0, 0.5**epoch)  # noqa: E731
    return w, lambda x, y: (w * x - y) ** 2 * settings.betas[0], change


def an_array():
    beta = np.array([1.0])
    w = Value(0.5)
    return w, lambda x, y: (w * x - y) ** 2 * beta[0], lambda epoch: beta.fill(0.5**epoch)


def an_attribute_of_the_model():
    model = Scaled()
    return model.w, lambda x, y: nn.mse(model(x), y), lambda epoch: setattr(model, "beta", 0.5**epoch)


def a_partial_of_a_function_that_calls_one():
    settings = {"beta": 1.0}
    w = Value(0.5)

    def scaled(x):
        return x * settings["beta"]

    def loss(w, x, y):
        return scaled((w * x - y) ** 2)

    return w, functools.partial(loss, w), lambda epoch: settings.update(beta=0.5**epoch)


KINDS = [
    a_closure, a_global, a_dict, a_list_in_a_namespace, an_array, an_attribute_of_the_model,
    a_partial_of_a_function_that_calls_one,
]  # fmt: skip


def trained(make, compiled, **options):
    w, loss, change = make()
    history = fit(
        loss, optim.SGD([w], 0.05, momentum=0.5), [1.0, 2.0, 3.0], [3.0, 5.0, 8.0], epochs=4, batch_size=2, every=1,
        callback=lambda epoch, history: change(epoch), compiled=compiled, progress=False, **options,
    )  # fmt: skip
    return [*history.loss, w.data]


@pytest.mark.parametrize("make", KINDS)
def test_a_number_that_a_callback_changes_counts(make):
    expected = trained(make, False)
    assert trained(make, True) == pytest.approx(expected, rel=1e-12)
    assert trained(lambda: (*make()[:2], lambda epoch: None), False) != pytest.approx(expected, rel=1e-3)


def test_a_penalty_reads_its_strength_anew_too():
    found = []
    for compiled in False, True:
        w, strength = Value(0.5), [1.0]
        fit(lambda x, y: (w * x - y) ** 2, optim.SGD([w], 0.05), [1.0], [3.0], epochs=4, every=1, compiled=compiled,
            penalty=lambda w=w, strength=strength: strength[0] * w * w, progress=False,
            callback=lambda epoch, history, strength=strength: strength.__setitem__(0, 0.1))  # fmt: skip
        found.append(w.data)
    assert found[1] == pytest.approx(found[0], rel=1e-12)


def test_what_does_not_change_the_graph_compiles_nothing(monkeypatch):
    made = []
    step = training.Update
    monkeypatch.setattr(training, "Update", lambda *arguments: made.append(1) or step(*arguments))
    w, log = Value(0.5), {"epoch": 0}

    def loss(x, y):
        log["calls"] = 1
        return (w * x - y) ** 2

    fit(loss, optim.SGD([w], 0.05), [1.0, 2.0], [1.0, 2.0], epochs=5, every=1, compiled=True, progress=False,
        callback=lambda epoch, history: log.update(epoch=epoch))  # fmt: skip
    assert len(made) == 1
