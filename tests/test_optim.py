"""Optimisers, schedules and averages: what design.md section 4 promises of `optim`."""

import json
import math
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from tinygrad_lite import TrainingWarning, Value, exp, nn, ops, optim
from tinygrad_lite.optim import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop, WeightAverage, schedules

START = [1.0, -2.0, 0.5, 3.0, -0.1]


def gradient(w, i, t):
    """A gradient that depends on the weight, so that a wrong step shows in all later ones."""
    return math.sin(3.0 * w + i + 0.7 * t) + 0.1 * w


def trajectory(opt, steps, start_at=0):
    """The parameters after each of so many steps."""
    path = []
    for t in range(start_at, start_at + steps):
        for i, p in enumerate(opt.params):
            p.grad = gradient(p.data, i, t)
        opt.step()
        path.append([p.data for p in opt.params])
    return path


def fresh():
    return [Value(w) for w in START]


def flat(path):
    return [w for row in path for w in row]


# --- the rules


def by_hand(rule, steps=20):
    """rule(w, g, t, memory) -> w, for one parameter whose memory is a dict; t = 1, 2, ..."""
    columns = []
    for i, w in enumerate(START):
        memory, column = {}, []
        for t in range(steps):
            w = rule(w, gradient(w, i, t), t + 1, memory)
            column.append(w)
        columns.append(column)
    return [list(row) for row in zip(*columns)]


def sgd_rule(lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    def rule(w, g, t, memory):
        g += weight_decay * w
        v = memory["v"] = momentum * memory.get("v", 0.0) + g
        return w - lr * (g + momentum * v if nesterov else v)

    return rule


def adam_rule(lr=0.001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    """Sums over all past gradients, not running means, so that it is another computation."""

    def rule(w, g, t, memory):
        if decoupled:
            w *= 1.0 - lr * weight_decay
        else:
            g += weight_decay * w
        past = memory.setdefault("g", [])
        past.append(g)
        m, v = (
            math.fsum(b ** (t - s) * g**k for s, g in enumerate(past, 1))
            / math.fsum(b ** (t - s) for s in range(1, t + 1))
            for k, b in zip((1, 2), betas)
        )
        return w - lr * m / (math.sqrt(v) + eps)

    return rule


def adagrad_rule(lr=0.01, weight_decay=0.0, eps=1e-10):
    def rule(w, g, t, memory):
        g += weight_decay * w
        past = memory.setdefault("g", [])
        past.append(g)
        return w - lr * g / (math.hypot(*past) + eps)

    return rule


def rmsprop_rule(lr=0.01, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """Sums over all past gradients, too."""

    def rule(w, g, t, memory):
        g += weight_decay * w
        past = memory.setdefault("g", [])
        past.append(g)
        m, v = ((1.0 - alpha) * math.fsum(alpha ** (t - s) * g**k for s, g in enumerate(past, 1)) for k in (1, 2))
        move = memory["v"] = momentum * memory.get("v", 0.0) + g / (math.sqrt(v - m * m if centered else v) + eps)
        return w - lr * move

    return rule


class Record(NamedTuple):
    """What the tests know of an optimiser, which is then held against its formula, PyTorch and the compiled loop."""

    rule: Callable[..., Any]  # (**options) -> rule(w, g, t, memory) -> w: its formula, in another computation
    options: list[dict[str, Any]]  # to try, in PyTorch's words; the last ones together use all of them


SGD_OPTIONS = [
    {"momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
    for momentum, nesterov, decay in product((0.0, 0.5, 0.9), (False, True), (0.0, 0.01))
    if momentum or not nesterov
]
RECORDS = {
    SGD: Record(sgd_rule, [{"lr": 0.1, **options} for options in SGD_OPTIONS]),
    Adagrad: Record(adagrad_rule, [{}, {"lr": 0.1}, {"lr": 0.1, "weight_decay": 0.1, "eps": 0.01}]),
    RMSprop: Record(
        rmsprop_rule,
        [
            {}, {"alpha": 0.0, "eps": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.02, "centered": True},
            {"lr": 0.02, "alpha": 0.9, "eps": 0.01, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
        ],
    ),
    Adam: Record(
        adam_rule,
        [
            {}, {"lr": 0.1}, {"lr": 0.1, "betas": (0.0, 0.0)}, {"lr": 0.1, "weight_decay": 0.1},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1},
        ],
    ),
    AdamW: Record(
        lambda weight_decay=0.01, **options: adam_rule(weight_decay=weight_decay, decoupled=True, **options),
        [
            {}, {"lr": 0.1, "weight_decay": 0.0},
            {"lr": 0.1, "betas": (0.5, 0.9), "eps": 0.1, "weight_decay": 0.2},
        ],
    ),
}  # fmt: skip


def optimisers(base=Optimizer):
    """Every optimiser of the package."""
    for kind in base.__subclasses__():
        if kind.__module__.startswith("tinygrad_lite.") and kind in vars(sys.modules[kind.__module__]).values():
            yield kind  # no doctest's or test's
        yield from optimisers(kind)


def missing(kinds, records, offered, readme):
    """What is still to write for an optimiser, and where."""
    for kind in kinds:
        name = kind.__name__
        if kind not in records:
            yield f"{name}: RECORDS in tests/test_optim.py, with its formula in another computation and options to try"
        if name not in offered:
            yield f"{name}: __all__ in tinygrad_lite/optim/__init__.py"
        if f"`{name}`" not in readme:
            yield f"{name}: README.md, under 'What is there', in the row of `optim`"


README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
TO_WRITE = [*missing(optimisers(), RECORDS, optim.__all__, README)]
assert not TO_WRITE, "an optimiser is not complete; add\n" + "\n".join(TO_WRITE)

OPTIONS = [(kind, options) for kind, record in RECORDS.items() for options in record.options]
IDS = [f"{kind.__name__} {options}" for kind, options in OPTIONS]


def test_an_optimiser_that_nobody_entered_anywhere_is_found_with_all_that_is_missing():
    class Forgotten(SGD):
        pass

    assert set(optimisers()) == RECORDS.keys() >= {SGD, Adam, AdamW}
    places = [line.split(", ")[0] for line in missing([Forgotten, SGD], RECORDS, optim.__all__, README)]
    assert places == [
        "Forgotten: RECORDS in tests/test_optim.py",
        "Forgotten: __all__ in tinygrad_lite/optim/__init__.py",
        "Forgotten: README.md",
    ]


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
def test_twenty_steps_are_those_of_the_formula(kind, options):
    expected = by_hand(RECORDS[kind].rule(**options))
    assert flat(trajectory(kind(fresh(), **options), 20)) == pytest.approx(flat(expected), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=IDS)
def test_twenty_steps_are_pytorchs(kind, options):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    theirs = getattr(torch.optim, kind.__name__)([tensor], **options)
    expected = []
    for t in range(20):
        tensor.grad = torch.tensor([gradient(w, i, t) for i, w in enumerate(tensor.tolist())], dtype=torch.float64)
        theirs.step()
        expected.append(tensor.tolist())
    assert flat(trajectory(kind(fresh(), **options), 20)) == pytest.approx(flat(expected), rel=1e-12, abs=1e-12)


def test_a_gradient_that_never_changes_has_no_variance_below_zero():
    g = 1.595353151871974  # the mean of g^2, as rounded, is below the square of the mean of g
    opt = RMSprop([Value(0.0)], alpha=0.5, centered=True)
    for _ in range(200):
        opt.params[0].grad = g
        opt.step()  # refused, if it were nan
    ((square, mean),) = opt.state
    assert square - mean * mean < 0.0
    assert (square, mean) == pytest.approx((g * g, g), rel=1e-15)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
def test_the_lectures_heavy_ball_is_momentum_and_dampening_of_one_minus_gamma(gamma):
    eta = 0.05

    def lecture(w, g, t, memory):
        before = memory.get("w", w)
        memory["w"] = w
        return w - gamma * eta * g + (1 - gamma) * (w - before)

    opt = SGD(fresh(), eta, momentum=1 - gamma, dampening=1 - gamma)
    ours, lectures = trajectory(opt, 20), by_hand(lecture)
    assert flat(ours[:1]) == pytest.approx(flat(lectures[:1]), rel=1e-15, abs=0)
    # gradients here have slopes of about 3, so rounding grows a little on the way
    assert flat(ours) == pytest.approx(flat(lectures), rel=2e-14, abs=2e-15)


def test_dampening_scales_the_first_gradient_too():
    w = Value(1.0)
    w.grad = 2.0
    SGD([w], 0.5, momentum=0.9, dampening=0.75).step()
    assert w.data == 1.0 - 0.5 * 0.25 * 2.0  # PyTorch's first velocity would be the whole gradient


@pytest.mark.parametrize("options", SGD_OPTIONS, ids=str)
@pytest.mark.parametrize("T", [1, 2, 5])
def test_average_gradients_moves_by_the_mean_of_the_last_gradients(T, options):
    def rule(w, g, t, memory):
        past = memory.setdefault("g", [])
        past.append(g + options["weight_decay"] * w)
        mean = sum(past[-T:]) / len(past[-T:])
        return plain(w, mean, t, memory)

    plain = sgd_rule(0.1, **options | {"weight_decay": 0.0})
    opt = SGD(fresh(), 0.1, average_gradients=T, **options)
    assert flat(trajectory(opt, 20)) == pytest.approx(flat(by_hand(rule)), rel=1e-12, abs=1e-12)


def test_lr_may_be_changed_between_steps():
    w = Value(1.0)
    opt = SGD([w], 0.5)
    for opt.lr in (0.5, 0.25):
        w.grad = 1.0
        opt.step()
    assert w.data == 0.25


def test_zero_grad_and_step_touch_only_their_own_parameters():
    mine, other = Value(1.0), Value(1.0)
    opt = SGD([mine], 0.1)
    mine.grad = other.grad = 1.0
    opt.step()
    opt.zero_grad()
    assert (mine.data, mine.grad, other.data, other.grad) == (0.9, 0.0, 1.0, 1.0)


def test_parameters_may_come_from_a_generator():
    model = nn.MLP(1, [1], seed=0)
    assert SGD((p for p in model.parameters()), 0.1).params == model.parameters()


def test_training_a_model_step_by_step_lowers_its_loss():
    model = nn.MLP(1, [1], seed=0)
    opt, losses = Adam(model.parameters(), 0.1), []
    for _ in range(50):
        loss = (model([2.0]) - 3.0) ** 2
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.data)
    assert losses[-1] < 1e-2 * losses[0]


# --- a rule of one's own


class SignDescent(Optimizer):
    def update(self, p, g, lr, t):
        return (p - lr * ops.sign(g),)


class ByLargest(Optimizer):
    """Steps scaled by the largest gradient so far."""

    state_size = 1

    def update(self, p, g, lr, t, largest):
        largest = ops.maximum(largest, abs(g))
        return p - lr * g / largest, largest


class Warm(Optimizer):
    def update(self, p, g, lr, t):
        return (p - lr * (1.0 - exp(-t)) * g,)


def largest_rule(w, g, t, memory):
    memory["s"] = max(memory.get("s", 0.0), abs(g))
    return w - 0.1 * g / memory["s"]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        (SignDescent, lambda w, g, t, memory: w - 0.1 * math.copysign(1.0, g)),
        (ByLargest, largest_rule),
        (Warm, lambda w, g, t, memory: w - 0.1 * (1.0 - math.exp(-t)) * g),
    ],
)
def test_a_users_own_update_is_a_whole_optimiser(kind, rule):
    path = trajectory(kind(fresh(), 0.1), 20)
    assert flat(path) == pytest.approx(flat(by_hand(rule)), rel=1e-12, abs=1e-12)


def test_an_optimiser_without_update_says_what_to_write():
    class Empty(Optimizer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty has no update\(p, g, lr, t, \*state\) -> \(p, \*state\)"):
        Empty([Value(1.0)], 0.1).step()


# --- what is refused


@pytest.mark.parametrize("kind", [*RECORDS, SignDescent])
@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "{kind} got no parameters: write model.parameters()"),
        (nn.Module().parameters(), ValueError, "{kind} got no parameters"),
        ([Value(1.0), 2.0], TypeError, "{kind} expects a list of Values, got 2.0 at index 1"),
        (["w"], TypeError, "{kind} expects a list of Values, got 'w' at index 0"),
        ([[Value(1.0)]], TypeError, r"{kind} expects a list of Values, got \[Value"),
        (
            [Value(1.0), v := Value(2.0), v],
            ValueError,
            "parameter 2 appears twice in the list and would be updated twice",
        ),
    ],
    ids=["empty", "no parameters", "number", "str", "nested", "twice"],
)
def test_what_is_no_list_of_distinct_values_is_refused(kind, params, error, message):
    with pytest.raises(error, match=message.format(kind=kind.__name__)):
        kind(params, lr=0.1)


@pytest.mark.parametrize("kind", [*RECORDS, SignDescent])
@pytest.mark.parametrize(
    ("one", "hint"), [(nn.MLP(1, [1]), "MLP: write model.parameters()"), (Value(1.0), "Value: write [v]")]
)
def test_what_is_no_list_is_refused_with_what_to_write(kind, one, hint):
    with pytest.raises(TypeError) as caught:
        kind(one, lr=0.1)
    assert str(caught.value) == f"{kind.__name__} expects a list of Values, got one {hint}"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda ps: SGD(ps, -0.1), ValueError, "lr must be a finite number of at least 0, got -0.1"),
        (lambda ps: Adam(ps, -0.1), ValueError, "lr must be a finite number of at least 0, got -0.1"),
        (lambda ps: SignDescent(ps, -0.1), ValueError, "lr must be a finite number of at least 0, got -0.1"),
        (lambda ps: SGD(ps, math.nan), ValueError, "lr must be a finite number of at least 0, got nan"),
        (lambda ps: SGD(ps, math.inf), ValueError, "lr must be a finite number of at least 0, got inf"),
        (lambda ps: SGD(ps, "0.1"), TypeError, "one real number, got '0.1'"),
        (lambda ps: SGD(ps, 0.1, momentum=-1), ValueError, "momentum must be a finite number of at least 0, got -1"),
        (
            lambda ps: SGD(ps, 0.1, weight_decay=-1),
            ValueError,
            "weight_decay must be a finite number of at least 0, got -1",
        ),
        (lambda ps: SGD(ps, 0.1, dampening=None), TypeError, "one real number, got None"),
        (lambda ps: SGD(ps, 0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0 and no dampening"),
        (lambda ps: SGD(ps, 0.1, 0.9, 0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0 and no"),
        (lambda ps: SGD(ps, 0.1, 0.9, -0.1, nesterov=True), ValueError, "nesterov needs a momentum above 0 and no"),
        (
            lambda ps: SGD(ps, 0.1, average_gradients=0),
            ValueError,
            "average_gradients must be a whole number of steps, at least 1, got 0",
        ),
        (
            lambda ps: SGD(ps, 0.1, average_gradients=1.5),
            ValueError,
            "average_gradients must be a whole number of steps, at least 1, got 1.5",
        ),
        (lambda ps: Adam(ps, betas=(1.0, 0.9)), ValueError, r"betas\[0\] must be at least 0 and below 1, got 1.0"),
        (lambda ps: Adam(ps, betas=(1.5, 0.9)), ValueError, r"betas\[0\] must be at least 0 and below 1, got 1.5"),
        (lambda ps: AdamW(ps, betas=(0.9, -0.1)), ValueError, r"betas\[1\] must be at least 0 and below 1, got -0.1"),
        (lambda ps: Adagrad(ps, eps=-1e-8), ValueError, "eps must be a finite number above 0, got -1e-08"),
        (lambda ps: Adagrad(ps, weight_decay=-1), ValueError, "weight_decay must be a finite number of at least 0"),
        (lambda ps: RMSprop(ps, alpha=1.0), ValueError, "alpha must be at least 0 and below 1, got 1.0"),
        (lambda ps: RMSprop(ps, eps=-1e-8), ValueError, "eps must be a finite number above 0, got -1e-08"),
        (lambda ps: RMSprop(ps, momentum=-1), ValueError, "momentum must be a finite number of at least 0, got -1"),
        (lambda ps: RMSprop(ps, weight_decay=-1), ValueError, "weight_decay must be a finite number of at least 0"),
        (lambda ps: Adam(ps, eps=-1e-8), ValueError, "eps must be a finite number above 0, got -1e-08"),
        (
            lambda ps: Adam(ps, weight_decay=-1),
            ValueError,
            "weight_decay must be a finite number of at least 0, got -1",
        ),
        (
            lambda ps: AdamW(ps, weight_decay=-1),
            ValueError,
            "weight_decay must be a finite number of at least 0, got -1",
        ),
        (lambda ps: WeightAverage(ps, 0), ValueError, "last must be a whole number of steps, at least 1, got 0"),
        (lambda ps: WeightAverage(ps, 2.5), ValueError, "last must be a whole number of steps, at least 1, got 2.5"),
    ],
)
def test_an_option_out_of_range_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make(fresh())


def everything(opt):
    return [p.data for p in opt.params], opt.state_dict()


@pytest.mark.parametrize("grad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [*RECORDS, lambda ps, lr: SGD(ps, lr, momentum=0.9), ByLargest])
def test_a_gradient_that_is_not_finite_moves_nothing(kind, grad):
    opt = kind([Value(1.0), Value(2.0, label="bias of layer 1"), Value(3.0)], lr=0.1)
    trajectory(opt, 3)
    before = everything(opt)
    opt.params[1].grad = grad
    with pytest.raises(FloatingPointError, match=rf"parameter 1 \('bias of layer 1'\) is {grad}; nothing was updated"):
        opt.step()
    assert everything(opt) == before


def test_a_gradient_that_is_not_finite_is_found_in_the_last_parameter_too():
    opt = SGD(fresh(), 0.1)
    opt.params[-1].grad = math.nan
    with pytest.raises(FloatingPointError, match="the gradient of parameter 4 is nan"):
        opt.step()
    assert [p.data for p in opt.params] == START


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_an_update_that_would_not_be_finite_moves_nothing(options):
    opt = SGD(fresh(), 1e10, **options)
    opt.params[0].grad, opt.params[3].grad = 1.0, -1e300
    before = everything(opt)
    with pytest.raises(
        FloatingPointError, match=r"parameter 3 would become inf \(from 3, gradient -1e\+300, lr 1e\+10\)"
    ):
        opt.step()
    assert everything(opt) == before


def test_an_update_that_raises_moves_nothing():
    class Stubborn(Optimizer):
        def update(self, p, g, lr, t):
            if p == START[2]:
                raise ArithmeticError("not this one")
            return (p - lr * g,)

    opt = Stubborn(fresh(), 0.1)
    before = everything(opt)
    with pytest.raises(ArithmeticError, match="not this one"):
        trajectory(opt, 1)
    assert everything(opt) == before


def test_a_state_that_would_not_be_finite_moves_nothing():
    opt = Adam(fresh(), 0.1)
    before = everything(opt)
    opt.params[1].grad = 1e200
    with pytest.raises(FloatingPointError, match="parameter 1"):
        opt.step()
    assert everything(opt) == before


@pytest.mark.parametrize("kind", RECORDS)
def test_an_optimiser_shows_the_weight_decay_it_uses(kind):
    assert kind(fresh(), lr=0.1, weight_decay=0.2).weight_decay == 0.2


@pytest.mark.parametrize(("unreached", "named"), [(3, "parameter 3:"), (4, "parameter 3 and 1 more:")])
def test_a_warning_names_three_parameters_and_counts_the_rest(unreached, named):
    opt = SGD([Value(1.0) for _ in range(unreached + 1)], 0.1)
    for _ in range(9):
        opt.zero_grad()
        (opt.params[0] * 2.0).backward()
        opt.step()
    opt.zero_grad()
    (opt.params[0] * 2.0).backward()
    with pytest.warns(TrainingWarning, match=f"not made of parameter 1, parameter 2, {named} no backward"):
        opt.step()


# --- going on later

KINDS = [
    *((kind, options) for kind, options in OPTIONS),
    (SGD, {"lr": 0.1, "momentum": 0.9, "average_gradients": 3}),
    (ByLargest, {"lr": 0.1}),
    (SignDescent, {"lr": 0.1}),
]


@pytest.mark.parametrize(("kind", "options"), KINDS, ids=[f"{k.__name__} {o}" for k, o in KINDS])
def test_a_loaded_state_goes_on_bit_for_bit(kind, options):
    whole = kind(fresh(), **options)
    path = trajectory(whole, 20)
    first = kind(fresh(), **options)
    trajectory(first, 7)
    second = kind([Value(p.data) for p in first.params], **options | {"lr": 123.0})
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))  # so it fits into a file
    assert trajectory(second, 13, start_at=7) == path[7:]
    assert everything(second) == everything(whole)


def test_state_dict_is_a_copy():
    opt = Adam(fresh(), 0.1)
    before = everything(opt)
    opt.state_dict()["state"][0][0] = 99.0
    assert everything(opt) == before


STATE = {"lr": 0.5, "t": 4, "state": [[1.0, 2.0]] * 5}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (
            SGD(fresh(), 0.1).state_dict(),
            ValueError,
            r"Adam keeps 2 numbers for each of 5 parameters, got .* \[0\] numbers",
        ),
        (Adam(fresh()[:4], 0.1).state_dict(), ValueError, "5 parameters, got a state for 4 parameters"),
        (STATE | {"state": [[1.0, 2.0]] * 4 + [[1.0]]}, ValueError, r"for 5 parameters with \[1, 2\] numbers each"),
        (STATE | {"state": []}, ValueError, "got a state for 0 parameters"),
        (STATE | {"state": [[1.0, 2.0]] * 6}, ValueError, "got a state for 6 parameters"),
        (STATE | {"state": [[1.0, 2.0, 3.0]] * 5}, ValueError, r"for 5 parameters with \[3\] numbers each"),
        (STATE | {"state": [[1.0, 2.0]] * 4 + [[1.0, "2"]]}, TypeError, "one real number, got '2'"),
        (STATE | {"lr": -1.0}, ValueError, "lr must be a finite number of at least 0, got -1.0"),
        (STATE | {"lr": None}, TypeError, "one real number, got None"),
        (STATE | {"t": "now"}, ValueError, "now"),
        ({"lr": 0.5, "t": 4}, ValueError, "a dict with lr, t and state; missing: state"),
        ({"t": 4, "state": STATE["state"]}, ValueError, "missing: lr"),
        ({}, ValueError, "missing: lr, t, state"),
        ([("lr", 0.5)], TypeError, r"load_state_dict expects a dict as of state_dict\(\), got \[\('lr', 0.5\)\]"),
        (None, TypeError, "got None"),
        *(
            (STATE | {"t": t}, ValueError, "t must be a whole number of steps, at least 0, got")
            for t in (
                -5,
                10**400,
                1.5,
                math.nan,
                math.inf,
                None,
                "4",
                [4],
                Value(4.0),
                np.array([1, 2]),
            )
        ),
        *((STATE | {"t": t}, TypeError, "t must be a number, got") for t in (True, np.bool_(True))),
        *((STATE | {"lr": lr}, ValueError, "lr must be a finite number") for lr in (math.nan, math.inf)),
        *((STATE | {"lr": lr}, TypeError, "lr must be ") for lr in ("0.5", True, [0.5], 1j, Value(0.5))),
        (STATE | {"skips": [5, 0, 0, 0, 0]}, ValueError, "skips are some of the steps made, t=4, got 5"),
        *((STATE | {"skips": skips}, TypeError, "skips must be a list, got") for skips in (None, "ab", 3)),
        *(
            (STATE | {"state": rows}, TypeError, "state must be a list, got")
            for rows in (7, "ab", None, {0: [1.0, 2.0]})
        ),
        *(
            (STATE | {"state": [row] * 5}, TypeError, r"state\[0\] must be a list, got")
            for row in (1.0, "ab", np.array(1.0))
        ),
        *(
            (STATE | {"state": [[1.0, 2.0]] * 4 + [[1.0, x]]}, ValueError, r"state\[4\] must hold finite numbers, got")
            for x in (math.nan, -math.inf)
        ),
        *(
            (STATE | {"state": [[1.0, 2.0]] * 4 + [[1.0, x]]}, TypeError, r"state\[4\] must be ")
            for x in (True, "2", None, [2.0], 1j, Value(2.0))
        ),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state, error, message):
    opt = Adam(fresh(), 0.1)
    trajectory(opt, 3)
    before = everything(opt)
    with pytest.raises(error, match=message):
        opt.load_state_dict(state)
    assert everything(opt) == before
    opt.load_state_dict(STATE)
    assert opt.state_dict() == STATE


@pytest.mark.parametrize("t", [np.int64(4), np.array(4), 4])
@pytest.mark.parametrize("rows", [np.array([[1.0, 2.0]] * 5), [(1, np.float32(2.0))] * 5, STATE["state"]])
def test_a_state_may_be_made_of_arrays(t, rows):
    opt = Adam(fresh(), 0.1)
    opt.load_state_dict({"lr": np.float64(0.5), "t": t, "state": rows})
    assert opt.state_dict() == STATE and type(opt.t) is int
    assert all(type(x) is float for row in opt.state for x in row)


# --- averages


@pytest.mark.parametrize("steps", [1, 4])
def test_weight_average_is_the_mean_over_the_last_steps(steps):
    opt = SGD(fresh(), 0.1)
    average, path = WeightAverage(opt.params, last=steps), []
    for t in range(10):
        path += trajectory(opt, 1, start_at=t)
        average.update()
        last = path[-steps:]
        assert average.mean() == pytest.approx([sum(column) / len(last) for column in zip(*last)], rel=1e-15)


def test_applied_lends_the_means_and_gives_the_parameters_back():
    w = Value(1.0)
    average = WeightAverage([w], last=2)
    for w.data in (1.0, 2.0, 4.0):
        average.update()
    with average.applied():
        assert w.data == 3.0
    assert w.data == 4.0
    with pytest.raises(KeyError, match="inside"), average.applied():
        raise KeyError("inside")
    assert w.data == 4.0


def test_an_average_of_nothing_is_refused_and_changes_nothing():
    w = Value(1.0)
    average = WeightAverage([w], last=2)
    with pytest.raises(ValueError, match=r"nothing to average yet: call update\(\) after each step"):
        average.mean()
    with pytest.raises(ValueError, match="nothing to average yet"), average.applied():
        pass
    assert w.data == 1.0


# --- schedules


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (schedules.constant(0.3), {0: 0.3, 1: 0.3, 10**6: 0.3}),
        (schedules.step_decay(0.8, every=10), {0: 0.8, 9: 0.8, 10: 0.08, 19: 0.08, 20: 0.008}),
        (schedules.step_decay(0.8, every=3, factor=0.5), {2: 0.8, 3: 0.4, 5: 0.4, 6: 0.2, 9: 0.1}),
        (schedules.inverse_time(0.6, half_after=10), {0: 0.6, 10: 0.3, 20: 0.2, 50: 0.1}),
        (schedules.cosine(0.4, steps=100), {0: 0.4, 50: 0.2, 100: 0.0, 1000: 0.0}),
        (schedules.cosine(0.4, steps=3, end=0.2), {0: 0.4, 1: 0.35, 2: 0.25, 3: 0.2, 4: 0.2}),
        (schedules.linear(1.0, steps=10), {0: 1.0, 1: 0.9, 5: 0.5, 10: 0.0, 11: 0.0}),
        (schedules.linear(0.0, steps=4, end=0.2), {0: 0.0, 1: 0.05, 3: 0.15, 4: 0.2, 99: 0.2}),
    ],
)
def test_schedules_have_their_values(schedule, values):
    assert {t: schedule(t) for t in values} == pytest.approx(values, rel=1e-14, abs=1e-16)


@pytest.mark.parametrize("make", [schedules.cosine, schedules.linear])  # fmt: skip
def test_a_schedule_ends_at_its_end_exactly(make):
    assert make(1.0, 10, end=0.1)(10) == 0.1


@pytest.mark.parametrize("make", [schedules.cosine, schedules.linear])
def test_a_schedule_to_an_end_never_turns_round(make):
    rates = [make(1.0, 50, end=0.1)(t) for t in range(60)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: schedules.constant(-0.1), "lr must be a finite number of at least 0, got -0.1"),
        (lambda: schedules.step_decay(0.1, 0), "every must be a finite number above 0, got 0"),
        (lambda: schedules.step_decay(0.1, 3, factor=-1), "factor must be a finite number of at least 0, got -1"),
        (lambda: schedules.inverse_time(0.1, 0.0), "half_after must be a finite number above 0, got 0.0"),
        (lambda: schedules.cosine(0.1, 0), "steps must be a finite number above 0, got 0"),
        (lambda: schedules.cosine(0.1, 5, end=-1), "end must be a finite number of at least 0, got -1"),
        (lambda: schedules.linear(0.1, -2), "steps must be a finite number above 0, got -2"),
        (lambda: schedules.linear(math.nan, 2), "lr must be a finite number of at least 0, got nan"),
    ],
)
def test_a_schedule_of_nothing_is_refused_when_it_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "schedule",
    [schedules.step_decay(0.1, 5), schedules.inverse_time(0.1, 5), schedules.cosine(0.1, 5), schedules.linear(0.1, 5)],
)
def test_a_schedule_knows_no_time_before_the_first_step(schedule):
    for t in (-1, -50, math.nan):
        with pytest.raises(ValueError, match="t must be a finite number of at least 0, got"):
            schedule(t)
    with pytest.raises(TypeError, match="t must be one real number, got 'now'"):
        schedule("now")
    assert schedule(np.int64(3)) == schedule(3) == schedule(3.0)


@pytest.mark.parametrize("betas", [0.9, (0.9,), (0.9, 0.99, 0.999), None, "ab"])
def test_betas_are_two_numbers(betas):
    with pytest.raises(TypeError, match="betas"):
        Adam([Value(1.0)], 0.1, betas=betas)


# --- parameters that a step's loss is not made of

OWN_RULES = [
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "weight_decay": 0.3}),
    (SGD, {"lr": 0.1, "average_gradients": 3}),
    (Adam, {"lr": 0.1}),
    (Adam, {"lr": 0.1, "weight_decay": 0.3}),
    (AdamW, {"lr": 0.1}),
]
OWN_IDS = [f"{k.__name__} {o}" for k, o in OWN_RULES]
PART = [True, True, False, False, True, False, True]  # is the second parameter part of this step's loss?


def steps_with_and_without(opt, a, b, part=PART):
    for with_b in part:
        opt.zero_grad()
        loss = (a - 1.0) ** 2 + ((b - 3.0) ** 2 if with_b else 0.0)
        loss.backward()
        opt.step()


@pytest.mark.parametrize(("kind", "options"), OWN_RULES, ids=OWN_IDS)
def test_a_parameter_that_is_not_in_the_graph_is_skipped_state_and_all(kind, options):
    a, b, alone, other = Value(0.5), Value(2.0), Value(2.0), Value(0.5)
    opt, own = kind([a, b], **options), kind([alone], **options)
    steps_with_and_without(opt, a, b)
    for _ in range(PART.count(True)):  # the same as if those steps had never been
        own.zero_grad()
        ((alone - 3.0) ** 2).backward()
        own.step()
    assert (b.data, opt.state[1]) == (alone.data, own.state[0])
    assert (opt.t, opt.skips) == (len(PART), [0, PART.count(False)])
    whole = kind([other], **options)
    for _ in PART:
        whole.zero_grad()
        ((other - 1.0) ** 2).backward()
        whole.step()
    assert (a.data, opt.state[0]) == (other.data, whole.state[0])


@pytest.mark.filterwarnings("ignore:no backward pass:tinygrad_lite.TrainingWarning")
@pytest.mark.parametrize(("kind", "options"), OWN_RULES, ids=OWN_IDS)
def test_a_parameter_that_was_only_not_selected_has_gradient_zero_and_moves(kind, options):
    a, b = Value(0.5), Value(-2.0)
    opt, expected = kind([a, b], **options), kind([Value(0.5), Value(-2.0)], **options)
    for used in True, False:
        opt.zero_grad()
        (a + 2.0 * b if used else (-(a**2) - b**2).relu()).backward()
        opt.step()
        for p, g in zip(expected.params, (1.0, 2.0) if used else (0.0, 0.0)):
            p.grad = g
        expected.step()
    assert everything(opt) == everything(expected)
    assert opt.skips == [0, 0]


@pytest.mark.parametrize(("kind", "options"), OWN_RULES, ids=OWN_IDS)
def test_pytorch_skips_and_moves_the_same_parameters(kind, options):
    if "average_gradients" in options:
        pytest.skip("not in PyTorch")
    torch = pytest.importorskip("torch")
    a, b = Value(0.5), Value(2.0)
    steps_with_and_without(kind([a, b], **options), a, b)
    ta, tb = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (0.5, 2.0))
    steps_with_and_without(getattr(torch.optim, kind.__name__)([ta, tb], **options), ta, tb)
    assert (a.data, b.data) == pytest.approx((ta.item(), tb.item()), rel=1e-12)


@pytest.mark.filterwarnings("ignore:no backward pass:tinygrad_lite.TrainingWarning")
def test_a_gradient_of_zero_that_is_set_by_hand_counts_every_time():
    w = Value(1.0)
    opt = SGD([w], 0.1, momentum=0.5)
    for g in 1.0, 0.0, 0.0:
        w.grad = g
        opt.step()
    assert w.data == pytest.approx(1.0 - 0.1 * (1.0 + 0.5 + 0.25))
    assert opt.skips == [0]


def test_skips_are_saved_and_go_on():
    a, b = Value(0.5), Value(2.0)
    opt = Adam([a, b], 0.1)
    steps_with_and_without(opt, a, b)
    again = Adam([Value(a.data), Value(b.data)], 0.1)
    again.load_state_dict(json.loads(json.dumps(opt.state_dict())))
    steps_with_and_without(opt, a, b)
    steps_with_and_without(again, *again.params)
    assert everything(again) == everything(opt) and again.skips == opt.skips == [0, 6]
    with pytest.raises(ValueError, match="the optimiser has 2 parameters, got skips of 3"):
        again.load_state_dict(opt.state_dict() | {"skips": [0, 0, 0]})
    with pytest.raises(ValueError, match="skips must be a whole number of at least 0, got -1"):
        again.load_state_dict(opt.state_dict() | {"skips": [0, -1]})


# --- what update returns


@pytest.mark.parametrize(
    ("size", "result", "error", "message"),
    [
        (0, lambda p: p, TypeError, r"numbers of state \(state_size\), got 1\.0: write return \(p,\), with the comma"),
        (0, lambda p: None, TypeError, r"must return a tuple of the parameter and 0 numbers .*, got None"),
        (0, lambda p: (p, 2.0), ValueError, r"the parameter and 0 numbers of state \(state_size\), got 2 numbers"),
        (2, lambda p: (p, 2.0), ValueError, r"the parameter and 2 numbers of state \(state_size\), got 2 numbers"),
        (1, lambda p: (p, None), TypeError, "what Odd.update returns must be one real number, got None"),
        (
            0,
            lambda p: (Value(p),),
            TypeError,
            r"must return a tuple .*, got Value\(data=1\.0.*from the arguments alone",
        ),
    ],
)
def test_what_update_must_return_is_said_and_nothing_moves(size, result, error, message):
    class Odd(Optimizer):
        state_size = size

        def update(self, p, g, lr, t, *state):
            return result(p)

    w = Value(1.0)
    opt = Odd([w], 0.1)
    w.grad = 0.5
    with pytest.raises(error, match=message):
        opt.step()
    assert (w.data, opt.t) == (1.0, 0)


def test_numbers_of_numpy_that_update_returns_become_floats():
    np = pytest.importorskip("numpy")

    class Rounded(Optimizer):
        def update(self, p, g, lr, t):
            return (np.float64(p - lr * g),)

    w = Value(1.0)
    w.grad = 0.5
    Rounded([w], 0.1).step()
    assert type(w.data) is float and w.data == 0.95


# --- long gradients


def clipped(gradients, largest):
    params = [Value(0.0) for _ in gradients]
    for p, g in zip(params, gradients):
        p.grad = g
    return optim.clip_grad_norm(params, largest), [p.grad for p in params]


@pytest.mark.parametrize("gradients", [[3.0, -4.0], [0.3, 0.4], [0.0, 0.0], [1e200, 1e200], [5e-324, 0.0]])
@pytest.mark.parametrize("largest", [1.0, 0.5, 0.0, 1e3])
def test_a_gradient_is_at_most_so_long_and_keeps_its_direction(gradients, largest):
    norm, after = clipped(gradients, largest)
    assert norm == math.hypot(*gradients)
    factor = min(1.0, largest / (norm + 1e-6))
    assert after == pytest.approx([g * factor for g in gradients], rel=1e-15)
    assert math.hypot(*after) <= max(largest, 0.0) or norm <= largest


def test_clipping_is_pytorchs():
    torch = pytest.importorskip("torch")
    for gradients in [3.0, -4.0], [0.3, 0.4], [0.6, 0.8], [1e-9, 0.0]:
        tensors = [torch.zeros((), dtype=torch.float64) for _ in gradients]
        for x, g in zip(tensors, gradients):
            x.grad = torch.tensor(g, dtype=torch.float64)
        norm, after = clipped(gradients, 1.0)
        assert norm == pytest.approx(torch.nn.utils.clip_grad_norm_(tensors, 1.0).item(), rel=1e-15)
        assert after == pytest.approx([x.grad.item() for x in tensors], rel=1e-14)


def test_what_cannot_be_clipped():
    assert clipped([math.inf, 1.0], 1.0) == (math.inf, [math.inf, 1.0])  # step says which one it is
    with pytest.raises(ValueError, match="largest must be a finite number of at least 0, got -1"):
        clipped([1.0], -1)
    with pytest.raises(TypeError, match=r"clip_grad_norm expects a list .* write model\.parameters\(\)"):
        optim.clip_grad_norm(nn.MLP(1, [1]), 1.0)


def test_a_parameter_that_no_pass_has_reached_stays_unreached_when_clipped():
    a, b = Value(1.0), Value(1.0)
    opt = SGD([a, b], 0.1, weight_decay=0.1)
    (a * 5.0).backward()
    optim.clip_grad_norm(opt.params, 1.0)
    opt.step()
    assert opt.skips == [0, 1] and b.data == 1.0


def test_adam_without_eps_is_refused():
    """0 / 0, as soon as a parameter's gradients have all been 0."""
    for kind in Adam, AdamW:
        with pytest.raises(ValueError, match=r"eps must be a finite number above 0, got 0\.0"):
            kind(fresh(), eps=0.0)


def test_optim_offers_the_names_of_the_design():
    offered = {"SGD", "Adam", "AdamW", "schedules", "WeightAverage", "clip_grad_norm"}
    assert offered <= vars(optim).keys()
    assert {"constant", "step_decay", "inverse_time", "cosine", "linear"} <= vars(schedules).keys()


def test_numbers_that_are_finite_one_by_one_are_taken_though_their_sum_is_not():
    params = [Value(1.7e308) for _ in range(2)]
    for p in params:
        p.grad = 1.7e308
    optim.SGD(params, 1e-300).step()
    assert [p.data for p in params] == [1.7e308] * 2
    for p in params:
        p.grad = 1.2e308
    opt = optim.SGD(params, 1e-300, momentum=0.5)
    opt.step()
    assert opt.state == [(1.2e308,)] * 2


# --- what is no number


def test_a_schedule_in_the_place_of_a_learning_rate_says_where_it_goes():
    schedule = optim.schedules.cosine(0.1, 10)
    with pytest.raises(
        TypeError, match=r"lr must be a number, got a function of the step: write fit\(..., schedule=f\)"
    ):
        SGD([Value(1.0)], schedule)


@pytest.mark.parametrize("gradient", [None, Value(2.0)])
def test_a_gradient_that_is_no_number_is_refused(gradient):
    opt = SGD([Value(1.0), Value(3.0, "w")], 0.1)
    opt.params[1].grad = gradient
    with pytest.raises(
        TypeError, match=r"the gradient of parameter 1 \('w'\) is .*, not a number: write p.grad = g.data"
    ):
        opt.step()
    assert opt.params[1].data == 3.0


def test_a_method_that_was_not_called_says_so():
    model = nn.MLP(1, [1], seed=0)
    with pytest.raises(TypeError, match=r"SGD expects a list of Values, got one method: write model.parameters\(\)"):
        SGD(model.parameters, 0.1)
