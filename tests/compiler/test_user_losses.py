"""Losses as users write them, who have not read our pages: default `fit` equals the engine, or says why it does not
compile. Where native code trains, its numbers are the engine's; where it cannot, one message says what to write."""

import collections
import copy
import functools
import itertools
import math
import operator
import random
import warnings

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("llvmlite")

from tinygrad_lite import Op, Value, clip, detach, exp, fit, jit, mean, nn, ops, optim, pick, total, where  # noqa: E402

ROWS = [[1.0, 2.0], [3.0, -1.0], [0.5, 0.25], [2.0, 2.0], [0.0, 1.0]]
LABELS = [0.0, 1.0, 1.0, 0.0, 1.0]
PARAMETERS = [Value(0.5, label="w0"), Value(-1.0, label="w1"), Value(0.25, label="b")]
W, B = PARAMETERS[:2], PARAMETERS[2]
WEIGHTS, ONE_HOT = {0.0: 1.0, 1.0: 10.0}, [[1.0, 0.0], [0.0, 1.0]]

# of a row of an array: what it adds up to, in both engines
COMPILE = {
    "2 * x": lambda x: total(2 * x),
    "x + x": lambda x: mean(x + x),
    "x * np.int64(2)": lambda x: total(x * np.int64(2)),
    "np.float32(2) * x": lambda x: total(np.float32(2) * x),
    "-x, x / 2, x ** 2": lambda x: total(-x) + total(x / 2) * total(x**2),
    "1 / x, 2 ** x, x % 2, x // 2": lambda x: total(1 / (x + 5)) + total(2**x) + total(x % 2) + total(x // 2),
    "sum, mean, prod": lambda x: x.sum() + x.mean() * x.prod(),
    "np.sum, np.mean, np.prod": lambda x: np.sum(x) + np.mean(x) * np.prod(x),
    "std, var": lambda x: x.std() + x.var(),
    "max, min, ptp": lambda x: x.max() + 2 * x.min() + np.ptp(x),
    "np.max, np.min along an axis": lambda x: np.max(x, axis=0) + np.amin(x),
    "shape, size, ndim, len": lambda x: (x.shape[0] + x.size + x.ndim + len(x)) * x[0],
    "T": lambda x: x.T[0] * 1.0,
    "x @ w": lambda x: x @ W,
    "w @ x": lambda x: np.array(W) @ x,
    "x @ x": lambda x: x @ x,
    "x.dot, np.dot, np.inner": lambda x: x.dot(W) + np.dot(W, x) * np.inner(x, x),
    "np.matmul, einsum, outer": lambda x: np.matmul(x, W) + np.einsum("i,i", x, x) + np.outer(x, x)[0, 1],
    "np.linalg.norm": lambda x: np.linalg.norm(x + 4),
    "x[::-1]": lambda x: total(x[::-1] * [1.0, 2.0]),
    "x[-1], x[:1]": lambda x: x[-1] + total(x[:1]),
    "x[[1, 0, 1]]": lambda x: total(x[[1, 0, 1]]),
    "x[mask]": lambda x: total(x[np.array([True, False])]),
    "x[None], x[..., 0]": lambda x: x[None][0][1] + x[..., 0],
    "a, b = x": lambda x: (lambda a, b: a * b)(*x),
    "enumerate": lambda x: sum(i * v for i, v in enumerate(x)),
    "zip": lambda x: sum(w * v for w, v in zip(W, x)),
    "reversed": lambda x: next(reversed(x)) * 2.0,
    "list, tuple, iter": lambda x: total(list(x) + [1.0]) + total(tuple(x)) * next(iter(x)),
    "tolist": lambda x: total(x.tolist() + [1.0]),
    "reshape, ravel, flatten": lambda x: x.reshape(-1)[0] + x.ravel()[1] * x.flatten()[0],
    "np.maximum, np.minimum": lambda x: total(np.maximum(x, 0)) * total(np.minimum(x, 1.5)),
    "clip, np.clip": lambda x: total(np.clip(x, -1, 1)) + total(x.clip(0.0, 0.7)),
    "astype": lambda x: total(x.astype(float)),
    "round": lambda x: total(x.round()) + total(np.round(x / 8, 1)) + total(np.rint(x)),
    "np.abs, np.sign, np.sqrt": lambda x: total(np.abs(x)) + total(np.sign(x)) * total(np.sqrt(abs(x) + 1)),
    "np.exp, np.log, np.tanh, np.sin": lambda x: total(np.exp(x / 4) + np.log(x + 2) + np.tanh(x) + np.sin(x)),
    "np.floor, np.ceil": lambda x: total(np.floor(x)) + total(np.ceil(x)),
    "np.where": lambda x: total(np.where(x > 0, x, 0.1 * x)),
    "np.isnan": lambda x: total(np.where(np.isnan(x), 0, x)),
    "x > 0": lambda x: total((x > 0) * x) + (x <= 0.5).sum() * (x != 1).mean(),
    "x == x[::-1]": lambda x: total((x == x[::-1]) * 1.0),
    "& | ~": lambda x: total(np.where((x > 0) & (x < 2) | ~(x > -0.5), x, 3.0)),
    "append, hstack, concatenate, stack": lambda x: (
        total(np.append(x, 1.0)) + total(np.hstack([x, [1.0]])) + np.stack([x, np.concatenate([x])])[1, 0]
    ),
    "a comparison of what was joined": lambda x: total(np.where(np.concatenate([x, [1.5]]) > 1, 2.0, 3.0)),
    "cumsum, diff, roll, flip": lambda x: x.cumsum()[-1] + np.diff(x)[0] + np.roll(x, 1)[0] * np.flip(x)[0],
    "copy, array": lambda x: total(x.copy()) + total(np.array(x) * 2),
    "a changed copy": lambda x: (lambda y: (operator.setitem(y, 0, 2.0), total(y))[1])(x.copy()),
    "zeros_like, ones_like": lambda x: total(np.zeros_like(x) + x) + total(np.ones_like(x) * x),
    "functools.reduce": lambda x: functools.reduce(operator.mul, x),
    "isinstance of an array": lambda x: (1.0 if isinstance(x, np.ndarray) else 2.0) * x[0],
}


def once(x, t):
    return (x[0] * W[0] + x[1] * W[1] + B - t) ** 2


def of(factor):
    """A loss whose factor depends on the target."""
    return lambda x, t: once(x, t) * factor(t)


def aimed(target):
    return lambda x, t: once(x, target(t))


def tried(question, otherwise=1.0, caught=Exception):
    def factor(t):
        try:
            return question(t)
        except caught:
            return otherwise

    return factor


def only_placeholders_fail(error):
    def loss(x, t):
        if not isinstance(t, float):
            raise error
        return once(x, t)

    return loss


swish = Op(
    "users_swish", "swish", lambda x: x * ops.sigmoid(x),
    (lambda out, x: ops.sigmoid(x) * (1.0 + x * (1.0 - ops.sigmoid(x))),),
)  # fmt: skip
erf = Op("users_erf", "erf", math.erf, (lambda out, x: 2 / math.sqrt(math.pi) * exp(-x * x),))

COMPILE_TOO = {
    "(t == k) for each class": lambda x, t: sum(once(x, k) * (t == k) for k in range(2)),
    "t == t": of(lambda t: 2.0 if t == t else 1.0),
    "a number equal to a number": lambda x, t: once(x, t) * (1.0 + (x[0] == x[1])),
    "a number equal to a Value": lambda x, t: once(x, t) * (1.0 + (t + 0.5 == W[0])),
    "a Value equal to a number": lambda x, t: once(x, t) * (1.0 + (W[0] == 0.5) + (B * 0.0 == 0)),
    "a Value equal to a Value": lambda x, t: once(x, t) * (2.0 if W[0] * 1.0 == W[0] * 1.0 else 1.0),
    "not equal": lambda x, t: once(x, t) * (1.0 + (x[0] != 2.0 * t)),
    "in a list of Values": lambda x, t: once(x, t) * (2.0 if B in PARAMETERS else 1.0) * PARAMETERS.index(B),
    "conditions by & |": lambda x, t: once(x, t) * (1.0 + ((t > 0) & (x[0] < 2) | (x[0] == 0))),
    "where": aimed(lambda t: where(t > 0, 1.0, 2.0)),
    "pick": lambda x, t: -ops.log(pick(t, nn.softmax([x[0] * W[0], B]))),
    "cross_entropy": lambda x, t: nn.cross_entropy([x[0] * W[0], B, W[1]], t),
    "2 t - 1": lambda x, t: nn.hinge(x[0] * W[0] + B, 2 * t - 1),
    "detach": lambda x, t: once(x, t) * detach(x[0] * W[0] + B),
    "clip": lambda x, t: clip(once(x, t), 0.0, 3.0),
    "own Op": lambda x, t: (swish(x[0] * W[0]) + B - t) ** 2,
}
ANSWER_ONLY_NUMBERS = {
    "dict.get": of(lambda t: WEIGHTS.get(t, 1.0)),
    "dict[t]": of(lambda t: WEIGHTS[t]),
    "dict[int(t)]": of(lambda t: WEIGHTS[int(t)]),
    "in a set": of(lambda t: 2.0 if t in {1} else 1.0),
    "in a list": of(lambda t: 2.0 if t in [1] else 1.0),
    "in a range": of(lambda t: 2.0 if t in range(1, 3) else 1.0),
    "isinstance": of(lambda t: 2.0 if isinstance(t, float) else 1.0),
    "type": of(lambda t: 2.0 if type(t) is float else 1.0),
    "hasattr": of(lambda t: 2.0 if hasattr(t, "is_integer") else 1.0),
    "str": of(lambda t: 2.0 if str(t) == "1.0" else 1.0),
    "repr": of(lambda t: 2.0 if repr(t) == "1.0" else 1.0),
    "f-string": of(lambda t: 2.0 if f"{t:.0f}" == "1" else 1.0),
    "int": aimed(int),
    "range(int(t))": aimed(lambda t: sum(1.0 for _ in range(int(t)))),
    "one-hot by index": aimed(lambda t: ONE_HOT[int(t)][1]),
    "np.eye by index": aimed(lambda t: np.eye(2)[int(t)][0]),
    "if": of(lambda t: 2.0 if t > 0 else 1.0),
    "if t": of(lambda t: 2.0 if t else 1.0),
    "t or": aimed(lambda t: t or 0.5),
    "0 < t < 2": of(lambda t: 2.0 if 0 < t < 2 else 1.0),
    "max": aimed(lambda t: max(t, 0.5)),
    "sorted": aimed(lambda t: sorted([t, 0.5])[0]),
    "math": aimed(math.exp),
    "np.float64": aimed(np.float64),
    "list.index": aimed([0.0, 1.0].index),
    "Counter": of(lambda t: 1.0 + collections.Counter([t])[1.0]),
    "lru_cache": aimed(functools.lru_cache(lambda t: 2.0 * t)),
    "copy": lambda x, t: once(copy.deepcopy(x), t),
    "try a branch": of(tried(lambda t: 2.0 if t > 0 else 1.0, caught=TypeError)),
    "try an index": of(tried(lambda t: [1.0, 3.0][int(t)], 2.0)),
    "try a look-up": of(tried(WEIGHTS.__getitem__)),
    "try, all caught": of(tried(lambda t: float(t), 9.0, BaseException)),
    "a prediction's .data": lambda x, t: once(x, t) * (2.0 if (x[0] * W[0]).data > 0 else 1.0),
    "a parameter's .data": lambda x, t: once(x, t) + W[0].data * B,
    "a branch on a parameter's .data": lambda x, t: once(x, t) * (2.0 if W[1].data < 0 else 1.0),
    "own Op on floats": lambda x, t: (erf(x[0] * W[0]) + B - t) ** 2,
    **{
        f"{type(error).__name__} on placeholders": only_placeholders_fail(error)
        for error in (
            AttributeError("a"), KeyError("a"), IndexError("a"), AssertionError("a"), ZeroDivisionError("a"),
            OverflowError("a"), RecursionError("a"), RuntimeError("a"), MemoryError("a"), OSError("a"),
            StopIteration(), UnicodeError("a"), LookupError("a"), ArithmeticError("a"), type("Own", (Exception,), {})(),
        )
    },
}  # fmt: skip


def counting():
    calls = itertools.count()
    return of(lambda t: 1.0 + 0.1 * next(calls))


def warming_up():
    calls = []
    return of(lambda t: (calls.append(t), 2.0 if len(calls) > 2 else 1.0)[1])


def dropping_out():
    r = random.Random(0)
    return lambda x, t: once([v if r.random() < 0.5 else 0.0 for v in x], t)


def adding_noise():
    r = np.random.default_rng(0)
    return lambda x, t: once(x, t + r.normal())


def setting_data():
    def loss(x, t):
        W[0].data = 0.1
        return once(x, t)

    return loss


def changing_its_example():
    def loss(x, t):
        x[0] = 2.0
        return once(x, t)

    return loss


def popping():
    return lambda x, t: W[0] * x.pop() + B * t


TO_DO = ("write", "Look for", "take random", "use tinygrad_lite", "print outside", "compute with it")  # in a message
HIDDEN = [counting, warming_up, dropping_out, adding_noise, setting_data]


def trained(loss, X, y=LABELS, **options):
    """The losses and parameters of two epochs, and what was warned about."""
    for p, start in zip(PARAMETERS, (0.5, -1.0, 0.25)):
        p.data = start
        p.zero_grad()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        opt = optim.SGD(PARAMETERS, 0.01, momentum=0.5)
        history = fit(loss, opt, X, y, epochs=2, batch_size=2, progress=False, **options)
    return [*history.loss, *[p.data for p in PARAMETERS]], " ".join(str(w.message) for w in warned)


@pytest.mark.sample(20)
@pytest.mark.parametrize("name", COMPILE)
def test_a_row_of_an_array_compiles_to_what_the_engine_computes(name):
    f = COMPILE[name]
    loss = lambda x, t: (x[0] * W[0] + f(x) * W[1] * 0.1 + B - t) ** 2  # noqa: E731
    X = np.array(ROWS)
    expected, _ = trained(loss, X, compiled=False)
    assert trained(loss, X, compiled=True)[0] == pytest.approx(expected, rel=1e-9)
    of_rows = [f(x) for x in X]
    expected = [v.data if isinstance(v, Value) else float(v) for v in of_rows]
    assert jit(lambda x: f(x) * Value(1.0)).batch(X) == pytest.approx(expected, rel=1e-12)


@pytest.mark.sample(8)
@pytest.mark.parametrize("name", COMPILE_TOO)
def test_what_asks_nothing_of_a_placeholder_compiles(name):
    expected, _ = trained(COMPILE_TOO[name], ROWS, compiled=False)
    got, said = trained(COMPILE_TOO[name], ROWS)
    assert got == pytest.approx(expected, rel=1e-9) and "without the compiler" not in said


@pytest.mark.sample(20)
@pytest.mark.parametrize("name", ANSWER_ONLY_NUMBERS)
def test_what_only_numbers_can_answer_is_trained_by_the_engine_and_told(name):
    loss = ANSWER_ONLY_NUMBERS[name]
    expected, said = trained(loss, ROWS, compiled=False)
    assert "without the compiler" not in said
    with pytest.raises((TypeError, ValueError, NotImplementedError)) as refused:
        trained(loss, ROWS, compiled=True)
    assert any(words in str(refused.value) for words in TO_DO)
    got, said = trained(loss, ROWS)
    assert got == expected and "fit runs without the compiler: " in said


@pytest.mark.parametrize("make", HIDDEN)
def test_hidden_state_is_trained_by_the_engine_and_told(make):
    with pytest.raises(ValueError, match=r"different graph|does something else|sets the \.data of a parameter"):
        trained(make(), ROWS, compiled=True)
    assert "fit runs without the compiler: " in trained(make(), ROWS)[1]


def test_an_example_that_is_changed_is_refused():
    for make in changing_its_example, popping:
        with pytest.raises(TypeError, match=r"loss|<lambda> changes its own arguments, .*: write x = list\(x\) first"):
            trained(make(), copy.deepcopy(ROWS), compiled=True)
        assert "changes its own arguments" in trained(changing_its_example(), copy.deepcopy(ROWS))[1]
    for compiled in False, None, True:  # a row of an array is read-only, whatever the user's own array is
        X = np.array(ROWS)
        with pytest.raises((TypeError, ValueError), match="read-only"):
            trained(changing_its_example(), X, compiled=compiled)
        assert X.tolist() == ROWS and X.flags.writeable


@pytest.mark.parametrize("compiled", [False, None, True])
@pytest.mark.parametrize("loss", [lambda x, t: t, lambda x, t: 2.0 * x[0]])
def test_a_loss_that_is_a_number_is_refused(loss, compiled):
    with pytest.raises(TypeError, match="must return one Value, got"):
        trained(loss, ROWS, compiled=compiled)


def test_an_array_of_numbers_takes_no_value_in_either_engine():
    X = np.array(ROWS)
    for f in (lambda x: total(x * W[0])), (lambda x: total(W[0] * x)), (lambda x: total(np.maximum(x, W[0]))):
        for call in (lambda f=f: f(X[0])), jit(f).batch:
            with pytest.raises(TypeError, match=r"an array holds plain numbers|Value holds one real number"):
                call(*([X] if call.__name__ == "batch" else []))


def test_what_has_no_counterpart_says_so():
    for f in (lambda x: total(np.deg2rad(x)) * B), (lambda x: total(np.frexp(x)[0]) * B):
        with pytest.raises(
            TypeError, match=r"np\.\w+ has no counterpart for recorded numbers: see .* at .*test_user_losses.py"
        ):
            jit(f).batch(np.array(ROWS))
    with pytest.raises(TypeError, match="~ combines conditions"):
        jit(lambda x: ~x[0] * B).batch(ROWS)
