"""fit(compiled=True) is fit(compiled=False), faster."""

import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from tinygrad_lite import TrainingWarning, Value, data, fit, jit, nn, ops, optim, softplus, where

from ..test_optim import RECORDS

pytest.importorskip("numpy")
program = pytest.importorskip("tinygrad_lite.compiler.program")
native = pytest.importorskip("tinygrad_lite.compiler.native")

pytestmark = [pytest.mark.sample(2), pytest.mark.usefixtures("backend")]

X, Y = data.moons(20, noise=0.1, seed=1)
N = len(X)


class Rmsprop(optim.Optimizer):
    """A user's own rule: with state, with a choice and with a bound in its formula."""

    state_size = 2

    def update(self, p, g, lr, t, *state):
        mean_square, largest = state
        mean_square = 0.9 * mean_square + 0.1 * g * g
        largest = ops.maximum(largest * 0.99, abs(g))
        step = ops.where(ops.less(largest, 1e-3), g, g / (ops.sqrt(mean_square) + 1e-3))
        return p - lr * ops.clip(step, -2.0, 2.0) / ops.sqrt(t), mean_square, largest


OPTIMIZERS = {
    "SGD": lambda ps: optim.SGD(ps, 0.1),
    "momentum": lambda ps: optim.SGD(ps, 0.05, momentum=0.9),
    "Nesterov": lambda ps: optim.SGD(ps, 0.05, momentum=0.9, nesterov=True),
    "dampening": lambda ps: optim.SGD(ps, 0.1, momentum=0.5, dampening=0.5),
    "weight decay": lambda ps: optim.SGD(ps, 0.1, weight_decay=0.01),
    "average of 3 gradients": lambda ps: optim.SGD(ps, 0.1, average_gradients=3),
    "everything": lambda ps: optim.SGD(ps, 0.05, momentum=0.8, weight_decay=0.01, average_gradients=4),
    "Adam": lambda ps: optim.Adam(ps, 0.02),
    "Adam, weight decay": lambda ps: optim.Adam(ps, 0.02, weight_decay=0.1),
    "AdamW": lambda ps: optim.AdamW(ps, 0.02, weight_decay=0.1),
    "one's own": lambda ps: Rmsprop(ps, 0.05),
}


def model_and_loss(seed=0, activation="tanh"):
    model = nn.MLP(2, [4, 1], activation=activation, seed=seed)
    return model, lambda x, y: ops.softplus(-y * model(x))


def train(
    compiled, make_optimizer=OPTIMIZERS["SGD"], x=X, y=Y, epochs=100, penalty=None, order=list, fits=1, **options
):
    """One run from the same start. Returns (model, optimiser, histories)."""
    model, loss = model_and_loss()
    opt = make_optimizer(order(model.parameters()))
    options["penalty"] = None if penalty is None else lambda: penalty(model.parameters())
    histories = [fit(loss, opt, x, y, epochs=epochs, compiled=compiled, progress=False, **options) for _ in range(fits)]
    return model, opt, histories


def both_agree(rel=1e-9, **options):
    (model, opt, eager), (model_c, opt_c, native) = train(False, **options), train(True, **options)
    for a, b in zip(eager, native, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=rel)
        assert (b.lr, b.steps, b.stopped) == (a.lr, a.steps, a.stopped)
    numbers = [p.data for p in model.parameters()]
    assert [p.data for p in model_c.parameters()] == pytest.approx(numbers, rel=rel, abs=1e-9)
    assert (opt_c.t, opt_c.lr) == (opt.t, opt.lr)
    for a, b in zip(opt.state, opt_c.state, strict=True):
        assert b == pytest.approx(a, rel=1e-8, abs=1e-9)
    gradients = [p.grad for p in model.parameters()]
    assert [p.grad for p in model_c.parameters()] == pytest.approx(gradients, rel=1e-7, abs=1e-9)
    return native


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
def test_every_optimiser_of_the_package_follows_the_eager_path(kind):
    options = {"lr": 0.05} | RECORDS[kind].options[-1]
    # 30 steps: where a gradient is near 0, its rounding decides which way a scaled step goes, and grows from there
    (history,) = both_agree(make_optimizer=lambda ps: kind(ps, **options), epochs=10, batch_size=8)
    assert history.steps == 30 and history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_option_of_an_optimiser_follows_the_eager_path(make_optimizer):
    (history,) = both_agree(make_optimizer=make_optimizer)
    assert history.steps == len(history.loss) == 100 and history.loss[-1] < history.loss[0]


@pytest.mark.parametrize("batch_size", [1, 7, 8, N - 1, N, 32])
def test_every_batch_size_follows_the_eager_path(batch_size):
    (history,) = both_agree(batch_size=batch_size, epochs=10, seed=3, make_optimizer=OPTIMIZERS["momentum"])
    assert history.steps == 10 * math.ceil(N / min(batch_size, N)) and len(history.loss) == 10


@pytest.mark.parametrize("backend", ["native"], indirect=True)
@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
def test_machines_of_other_registers_follow_the_eager_path(monkeypatch, width, registers):
    monkeypatch.setattr(native.host(), "width", width)
    monkeypatch.setattr(native.host(), "registers", registers)
    both_agree(batch_size=7, epochs=20, seed=1, make_optimizer=OPTIMIZERS["Adam"], penalty=lambda ps: nn.l1(ps, 1e-3))


@pytest.mark.parametrize("seed", [0, 1, -1, 2**64 + 5])
def test_any_seed_shuffles_as_eager_does(seed):
    both_agree(batch_size=3, epochs=4, seed=seed)


@pytest.mark.parametrize(
    "schedule",
    [
        optim.schedules.constant(0.05), optim.schedules.step_decay(0.1, every=7, factor=0.5),
        optim.schedules.inverse_time(0.1, half_after=5.0), optim.schedules.cosine(0.1, 30),
        optim.schedules.linear(0.1, 20), lambda t: 0.0 if t == 3 else 0.1,
    ],
    ids=["constant", "step decay", "inverse time", "cosine", "linear", "one's own"],
)  # fmt: skip
def test_schedules_follow_the_eager_path(schedule):
    both_agree(schedule=schedule, batch_size=8, epochs=15)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda ps: nn.l2(ps, 1e-2),
        lambda ps: nn.l1(ps, 1e-2),
        lambda ps: ops.logsumexp([p * p for p in ps]) * 0.1,
        lambda ps: ops.sin(ps[0]) * ps[3] + 0.5,
    ],
    ids=["l2", "l1", "logsumexp", "of two parameters"],
)
def test_penalties_count_once_a_batch(penalty):
    both_agree(penalty=penalty, batch_size=8, epochs=20)


@pytest.mark.parametrize("longest", [0.0, 0.05, 100.0])
def test_gradients_are_clipped_as_in_eager(longest):
    both_agree(clip_grad_norm=longest, batch_size=8, epochs=10, make_optimizer=OPTIMIZERS["momentum"])


@pytest.mark.parametrize("batch_size", [None, 7])
def test_tol_stops_at_the_step_that_moves_least(batch_size):
    (history,) = both_agree(
        tol=2e-3, batch_size=batch_size, epochs=400, schedule=optim.schedules.inverse_time(0.1, half_after=3.0)
    )
    assert history.stopped.startswith("no parameter moved more than tol=0.002 in step")
    assert history.steps < 400


@pytest.mark.parametrize("every", [1, 3])
def test_a_callback_sees_and_stops_whole_epochs(every):
    seen = {False: [], True: []}

    for compiled in seen:
        model, loss = model_and_loss()
        opt = optim.SGD(model.parameters(), 0.1)

        def note(epoch, history, compiled=compiled, model=model):
            seen[compiled].append((epoch, len(history.loss), history.steps, model.parameters()[0].data))
            return epoch >= 6

        history = fit(loss, opt, X, Y, epochs=50, batch_size=8, compiled=compiled, callback=note, every=every,
                      progress=False)  # fmt: skip
        assert history.stopped == "the callback stopped it after epoch 6"
        assert len(history.loss) == 6 and history.steps == 18
    assert [row[:3] for row in seen[True]] == [row[:3] for row in seen[False]]
    for a, b in zip(seen[False], seen[True]):
        assert b[3] == pytest.approx(a[3], rel=1e-9)


def test_a_callback_at_every_epoch_is_called_for_each_also_at_the_end():
    model, loss = model_and_loss()
    epochs = []
    fit(loss, optim.SGD(model.parameters(), 0.1), X, Y, epochs=10, compiled=True, every=4, progress=False,
        callback=lambda epoch, history: epochs.append(epoch))  # fmt: skip
    assert epochs == [4, 8, 10]


def test_what_a_callback_changes_counts_from_then_on():
    ends = []
    for compiled in False, True:
        model, loss = model_and_loss()
        first = model.parameters()[0]
        opt = optim.SGD(model.parameters(), 0.1, momentum=0.5)

        def change(epoch, history, first=first, opt=opt):
            if epoch == 3:
                first.data, opt.lr = 1.5, 0.02

        fit(loss, opt, X, Y, epochs=6, compiled=compiled, every=1, callback=change, progress=False)
        ends.append([p.data for p in model.parameters()])
    assert ends[1] == pytest.approx(ends[0], rel=1e-9)


def test_a_parameter_that_the_loss_does_not_use_is_skipped_state_and_all():
    for compiled in False, True:
        w, unused = Value(1.0), Value(2.0)
        opt = optim.SGD([unused, w], 0.1, momentum=0.1, weight_decay=0.5)
        opt.load_state_dict(opt.state_dict() | {"state": [[3.0], [0.0]]})
        with pytest.warns(TrainingWarning, match="the loss is not made of parameter 0: no backward pass reaches it"):
            fit(
                lambda x, y: (w * x - y) ** 2, opt, [1.0, 2.0], [2.0, 4.0], epochs=10, compiled=compiled, progress=False
            )
        assert (unused.data, opt.state[0], opt.skips) == (2.0, (3.0,), [10, 0]) and w.data > 1.1


def test_a_parameter_that_the_optimiser_does_not_hold_stays_and_counts():
    ends = []
    for compiled in False, True:
        w, fixed = Value(1.0), Value(0.5)
        opt = optim.SGD([w], 0.1)
        fit(lambda x, y: (fixed * w * x - y) ** 2, opt, [1.0, 2.0], [2.0, 4.0], epochs=9, compiled=compiled,
            progress=False)  # fmt: skip
        assert fixed.data == 0.5
        ends.append(w.data)
    assert ends[1] == pytest.approx(ends[0], rel=1e-12) and ends[1] > 2.0


@pytest.mark.parametrize("order", [lambda ps: ps[::-1], lambda ps: ps[1::2] + ps[::2]], ids=["reversed", "mixed"])
def test_the_order_of_the_optimisers_parameters_does_not_matter(order):
    both_agree(order=order, make_optimizer=OPTIMIZERS["Adam"], batch_size=8, epochs=10)


@pytest.mark.parametrize("name", ["momentum", "Adam", "everything", "one's own"])
def test_the_optimisers_state_goes_on_in_a_second_fit(name):
    first, second = both_agree(make_optimizer=OPTIMIZERS[name], fits=2, epochs=12, batch_size=8)
    assert first.steps == second.steps == 36
    (whole,) = train(True, OPTIMIZERS[name], epochs=12)[2]
    model, loss = model_and_loss()
    opt = OPTIMIZERS[name](model.parameters())
    parts = [fit(loss, opt, X, Y, epochs=6, compiled=c, progress=False).loss for c in (True, False)]
    assert parts[0] + parts[1] == pytest.approx(whole.loss, rel=1e-9)


def test_one_example_one_parameter_one_step():
    w = Value(3.0)
    history = fit(lambda x, y: (w * x - y) ** 2, optim.SGD([w], 0.25), [1.0], [1.0], epochs=1, compiled=True,
                  progress=False)  # fmt: skip
    assert w.data == 2.0 and w.grad == 4.0 and history.loss == [4.0]
    assert (history.lr, history.steps, history.stopped) == ([0.25], 1, "all epochs done")
    assert 0.0 < history.seconds < 60.0


def test_no_epochs_change_nothing():
    model, opt, (history,) = train(True, epochs=0)
    assert history.loss == [] and history.steps == 0 and opt.t == 0
    assert [p.data for p in model.parameters()] == [p.data for p in model_and_loss()[0].parameters()]


def test_classes_and_images_train_as_in_eager():
    X3, Y3 = data.blobs(15, seed=2)
    losses = []
    for compiled in False, True:
        model = nn.MLP(2, [5, len(set(Y3))], activation="relu", seed=1)
        history = fit(lambda x, k: nn.cross_entropy(model(x), k), optim.Adam(model.parameters(), 0.05), X3, Y3,
                      epochs=30, batch_size=4, compiled=compiled, progress=False)  # fmt: skip
        losses.append(history.loss)
    assert losses[1] == pytest.approx(losses[0], rel=1e-9)


# --- what goes wrong


@pytest.mark.parametrize(
    ("loss_of", "start", "x", "match"),
    [
        (lambda w, x, y: ops.log(w * x), 1.0, [1.0, 0.0], "the loss is -inf in epoch 1"),
        (lambda w, x, y: ops.log(w - 1.0) * x, 2.0, [1.0, 1.0], "the loss is nan in epoch"),
        (lambda w, x, y: ops.sqrt(w * x), 1.0, [0.0, 1.0], "the gradient of parameter 0 is "),
        (lambda w, x, y: ops.exp(w * w * x), 1.0, [1.0, 1.0], "the loss is|the gradient|would become"),
    ],
    ids=["loss -inf", "loss nan later", "gradient inf", "explosion"],
)
@pytest.mark.filterwarnings("ignore:the loss rose:tinygrad_lite.TrainingWarning")
def test_what_is_not_finite_raises_and_keeps_the_last_whole_step(loss_of, start, x, match):
    ends = []
    for compiled in False, True:
        w = Value(start)
        opt = optim.SGD([w], 0.5, momentum=0.5)
        with pytest.raises(FloatingPointError, match=match) as error:
            fit(lambda x, y, w=w: loss_of(w, x, y), opt, x, [0.0] * 2, epochs=50, compiled=compiled, progress=False)
        ends.append((w.data, opt.t, opt.state, str(error.value).replace("-nan", "nan")))
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-12)
    assert ends[1][1] == ends[0][1]
    assert ends[1][2][0] == pytest.approx(ends[0][2][0], rel=1e-9)


def test_a_parameter_that_would_become_infinite_is_not_updated():
    for compiled in False, True:
        w, v = Value(1e300), Value(1.0)
        opt = optim.SGD([v, w], 1e304)
        with pytest.raises(FloatingPointError, match="parameter 1 would become -inf"):
            fit(lambda x, y: w * 1e5 * x + v, opt, [1.0], [1.0], epochs=3, compiled=compiled, progress=False)
        assert (v.data, w.data, opt.t) == (1.0, 1e300, 0)


def test_examples_that_need_the_exact_way_train_as_in_eager():
    ends = []
    for compiled in False, True:
        w = Value(1.0)
        history = fit(lambda x, y: ops.relu(ops.log(w * x)) + (w - y) ** 2, optim.SGD([w], 0.05), [0.0, 2.0, 3.0],
                      [2.0] * 3, epochs=20, compiled=compiled, progress=False)  # fmt: skip
        ends.append(history.loss)
    assert ends[1] == pytest.approx(ends[0], rel=1e-12) and len(ends[1]) == 20


def test_a_batch_that_needs_the_exact_way_goes_on_as_in_eager():
    ends = []
    for compiled in False, True:
        w = Value(1.0)
        history = fit(lambda x, y: ops.relu(ops.log(w * x)) + (w - y) ** 2, optim.SGD([w], 0.05),
                      [0.0, 2.0, 0.0, 3.0], [2.0] * 4, epochs=20, batch_size=2, compiled=compiled,
                      progress=False)  # fmt: skip
        ends.append((history.loss, w.data, history.steps))
    assert ends[1][0] == pytest.approx(ends[0][0], rel=1e-12)
    assert ends[1][1] == pytest.approx(ends[0][1], rel=1e-12) and ends[1][2] == 40


def test_a_loss_that_branches_falls_back_with_a_warning_and_is_refused_on_demand():
    w = Value(1.0)

    def loss(x, y):
        return w * x if w * x > y else w * y

    with pytest.warns(RuntimeWarning, match="fit runs without the compiler: .*a branch depends on it"):
        history = fit(loss, optim.SGD([w], 0.1), [1.0, 2.0], [1.5, 1.0], epochs=2, progress=False)
    assert history.steps == 2 and w.data < 1.0
    with pytest.raises(TypeError, match="a branch depends on it"):
        fit(loss, optim.SGD([w], 0.1), [1.0, 2.0], [1.5, 1.0], epochs=2, compiled=True, progress=False)


def test_a_loss_that_asks_whether_a_target_equals_a_number_is_not_compiled_to_one_answer():
    X, y = [[-1.0], [-0.5], [0.5], [1.0]], [0, 0, 1, 1]
    branches = [lambda t: t == 1, lambda t: bool(t != 0), lambda t: t in (1.0, 2.0)]
    for is_one in branches:
        w = Value(0.1)
        loss = lambda x, t, w=w, is_one=is_one: softplus(-w * x[0]) if is_one(t) else softplus(w * x[0])  # noqa: E731
        with pytest.raises(TypeError, match="a branch depends on it"):
            fit(loss, optim.SGD([w], 1.0), X, y, epochs=20, compiled=True, progress=False)
        with pytest.warns(RuntimeWarning, match="fit runs without the compiler"):
            history = fit(loss, optim.SGD([w], 1.0), X, y, epochs=20, progress=False)
        assert history.loss[-1] < 0.5 * history.loss[0] and w.data > 1.0


def test_equality_with_a_number_is_a_condition_for_where():
    w = Value(0.1)
    f = jit(lambda x, t: where(t == 1, w * x, where(t != 2, -w * x, 0.0)))
    assert f.batch([10.0, 10.0, 10.0], [1, 0, 2]).tolist() == [1.0, -1.0, 0.0]


@pytest.mark.parametrize("setting", ["momentum", "weight_decay", "dampening", "nesterov"])
def test_what_a_callback_sets_in_the_optimiser_counts_from_then_on(setting):
    ends = []
    for compiled in False, True:
        w = Value(1.0)
        opt = optim.SGD([w], 0.1, momentum=0.5)

        def later(epoch, history, opt=opt):
            if epoch == 3:
                setattr(opt, setting, True if setting == "nesterov" else 0.25)

        fit(lambda x, y, w=w: (w * x - y) ** 2, opt, [1.0, 2.0], [2.0, 4.0], epochs=6, compiled=compiled,
            callback=later, every=1, progress=False)  # fmt: skip
        ends.append(w.data)
    assert ends[1] == pytest.approx(ends[0], rel=1e-12)
    plain = Value(1.0)
    fit(lambda x, y: (plain * x - y) ** 2, optim.SGD([plain], 0.1, momentum=0.5), [1.0, 2.0], [2.0, 4.0], epochs=6,
        compiled=True, progress=False)  # fmt: skip
    assert abs(plain.data - ends[1]) > 1e-6


def test_a_loss_in_a_list_is_refused():
    w = Value(1.0)
    with pytest.raises(TypeError, match=r"must return one Value, got a list of 1: write `return mean\(...\)`"):
        fit(lambda x, y: [(w * x - y) ** 2], optim.SGD([w], 0.1), [1.0], [2.0], epochs=1, compiled=True, progress=False)


def test_the_compiler_is_used_without_being_asked_for(monkeypatch):
    monkeypatch.setattr(program, "cache", {})
    model, loss = model_and_loss()
    calls = []
    fit(lambda x, y: calls.append(1) or loss(x, y), optim.SGD(model.parameters(), 0.1), X, Y, epochs=5, progress=False)
    assert len(calls) == 2 + 4  # recorded twice, compared at four examples, run natively


def test_a_value_computed_outside_of_the_loss_is_refused():
    w = Value(1.0)
    outside = w * 2.0
    with pytest.raises(ValueError, match="computed outside of it and would not be computed again"):
        fit(lambda x, y: outside * w * x, optim.SGD([w], 0.1), [1.0], [1.0], epochs=1, compiled=True, progress=False)


def test_targets_out_of_their_domain_are_refused_before_anything_moves():
    w = Value(1.0)
    with pytest.raises(ValueError, match="example 1: hinge expects the class y as -1 or 1, got 0"):
        fit(lambda x, y: nn.hinge(w * x, y), optim.SGD([w], 0.1), [1.0, 2.0], [1, 0], epochs=1, compiled=True,
            progress=False)  # fmt: skip
    assert w.data == 1.0


def test_an_optimiser_whose_rule_gives_too_few_numbers_is_refused():
    class Broken(optim.Optimizer):
        state_size = 1

        def update(self, p, g, lr, t, *state):
            return (p - lr * g,)

    w = Value(1.0)
    with pytest.raises(ValueError, match=r"Broken\.update must return a tuple of the parameter and 1 numbers of state"):
        fit(lambda x, y: w * x, Broken([w], 0.1), [1.0], [1.0], epochs=1, compiled=True, progress=False)


def test_an_optimiser_whose_rule_has_an_operation_without_a_lowering_is_refused_by_its_name():
    gamma = ops.Op("gamma", "gamma", math.gamma, (0.0,))

    class Stepwise(optim.Optimizer):
        def update(self, p, g, lr, t, *state):
            return (p - lr * gamma(g),)

    w = Value(1.0)
    with pytest.raises(NotImplementedError, match="jit cannot compile gamma yet"):
        fit(lambda x, y: w * x, Stepwise([w], 0.1), [1.0], [1.0], epochs=1, compiled=True, progress=False)


def test_two_fits_at_once_do_not_disturb_each_other():
    found = {}

    def run(name):
        found[name] = train(True, OPTIMIZERS[name], epochs=50)[2][0].loss

    threads = [threading.Thread(target=run, args=(name,)) for name in ("SGD", "Adam", "momentum", "AdamW")]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name, losses in found.items():
        assert losses == train(True, OPTIMIZERS[name], epochs=50)[2][0].loss
    assert len(found) == 4


def test_ctrl_c_stops_within_a_second_and_leaves_whole_steps():
    script = textwrap.dedent("""
        import json, signal, sys, time
        from tinygrad_lite import Value, fit, optim
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start us with it ignored
        a, b = Value(0.0), Value(0.0)
        class Count(optim.Optimizer):
            state_size = 1
            def update(self, p, g, lr, t, *state):
                return p + lr, state[0] + 1.0
        opt = Count([a, b], 1.0)
        def ready(epoch, history):
            if epoch and not ready.done:
                ready.done = True
                print("ready", flush=True)
        ready.done = False
        try:
            fit(lambda x, y: (a * x - b * y) ** 2, opt, [1.0] * 500, [1.0] * 500, epochs=10**9, batch_size=100,
                compiled=True, progress=False, callback=ready)
        except KeyboardInterrupt:
            print(json.dumps([time.time(), a.data, b.data, opt.t, opt.state]), flush=True)
    """)
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(root)}
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert child.stdout.readline() == "ready\n"
        time.sleep(0.5)
        sent = time.time()
        child.send_signal(signal.SIGINT)
        answer, _ = child.communicate(timeout=10)
    finally:
        child.kill()
    when, a, b, t, state = json.loads(answer)
    assert when - sent < 1.0
    assert a == b == t > 100 and state == [[t], [t]]
