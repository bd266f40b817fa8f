"""What goes wrong from outside leaves whole steps: errors in the user's functions, Ctrl-C; and nothing runs data."""

import ast
import contextlib
import functools
import gc
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import pytest

import tinygrad_lite
from tinygrad_lite import Value, anomaly, data, engine, fit, mistakes, nn, no_grad, optim, softplus, sqrt, train
from tinygrad_lite.data import shuffled
from tinygrad_lite.engine import anomaly_active, current_scope, no_grad_active, scope

from .interrupts import interrupted

pytestmark = pytest.mark.sample(3)

ROOT = Path(tinygrad_lite.__file__).parents[1]
X, Y = data.moons(12, noise=0.1, seed=0)
BATCH = 4  # three steps an epoch
KINDS = {
    "momentum": lambda ps: optim.SGD(ps, 0.05, momentum=0.8),
    "Adam": lambda ps: optim.Adam(ps, 0.02),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
every_loop = pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])


@pytest.fixture(autouse=True)
def needs_llvmlite(request):
    """Compiled runs need llvmlite."""
    if getattr(request.node, "callspec", None) and request.node.callspec.params.get("compiled"):
        pytest.importorskip("llvmlite")


def start(kind):
    """(optimiser, loss), always the same. A third feature, where there is one, spoils the loss at 0."""
    model = nn.MLP(2, [3, 1], activation="tanh", seed=1)
    return KINDS[kind](model.parameters()), lambda x, y: softplus(-y * model(x[:2]))


def rate(t):
    return 0.1 / (1.0 + t)


def bits(opt):
    """Parameters, state and step count, to the last bit."""
    return [p.data.hex() for p in opt.params], [[x.hex() for x in state] for state in opt.state], opt.t


@functools.cache
def undisturbed(kind, compiled):
    """`bits` after 0, 1, ... 7 steps: each is a fit of its own on one batch."""
    opt, loss = start(kind)
    state, seen = 0, [bits(opt)]
    for t in range(7):
        if t % 3 == 0:
            order, state = shuffled(len(X), state)
        chosen = order[BATCH * (t % 3) :][:BATCH]
        opt.lr = rate(t)
        points, sides = [X[i] for i in chosen], [Y[i] for i in chosen]
        fit(loss, opt, points, sides, epochs=1, compiled=compiled, progress=False)
        seen.append(bits(opt))
    return seen


def assert_whole(opt, steps, kind, compiled, histories=()):
    """As after exactly so many steps; the learning rate is that of the last one, or of the one that failed."""
    assert bits(opt) == undisturbed(kind, compiled)[steps]
    assert opt.lr in (rate(steps - 1) if steps else KINDS[kind]([Value(0.0)]).lr, rate(steps))
    for history in histories:
        assert (len(history.loss), history.lr) == (steps // 3, [rate(t) for t in range(2, steps, 3)])
        assert history.steps == steps


def raise_at(call, result, error=LookupError):
    """result, but its so-manieth call raises."""
    calls = itertools.count(1)

    def function(*arguments):
        if next(calls) == call:
            raise error
        return result(*arguments)

    return function


def fails(error, opt, loss, compiled, x=X, **options):
    """Runs fit until it raises. Returns the history that its callback has seen, in a list, if it has."""
    seen = []
    options = {"schedule": rate, "callback": lambda epoch, history: seen.append(history)} | options
    with pytest.raises(error):
        fit(loss, opt, x, Y, epochs=9, batch_size=BATCH, compiled=compiled, every=1, progress=False, **options)
    return seen[:1]


# --- errors on the way


@every_loop
@every_kind
@pytest.mark.parametrize(
    ("wrong", "step", "error"),
    [(None, 0, LookupError), (None, 7, LookupError), (-0.1, 3, ValueError), ("fast", 2, TypeError)],
)
def test_a_schedule_that_fails_at_a_step_leaves_the_steps_before_it(wrong, step, error, kind, compiled):
    def schedule(t):
        if t == step and wrong is None:
            raise error
        return wrong if t == step else rate(t)

    opt, loss = start(kind)
    histories = fails(error, opt, loss, compiled, schedule=schedule)
    assert_whole(opt, step, kind, compiled, histories)


@every_loop
@every_kind
@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
def test_a_callback_that_raises_leaves_the_steps_before_it(error, kind, compiled):
    opt, loss = start(kind)
    histories = []
    callback = raise_at(2, lambda epoch, history: histories.append(history), error)
    fails(error, opt, loss, compiled, callback=callback)
    assert_whole(opt, 6, kind, compiled, histories)


@every_loop
@every_kind
@pytest.mark.parametrize("what", ["loss", "penalty", "update"])
def test_an_error_while_a_step_is_computed_leaves_the_steps_before_it(what, kind, compiled, monkeypatch):
    opt, loss = start(kind)
    options = {"loss": loss}
    steps = 0 if compiled else 4  # compiled, all three run only while they are recorded
    if what == "loss":  # the third example of its batch
        options["loss"] = raise_at(2 if compiled else 4 * BATCH + 3, loss)
    elif what == "penalty":
        options["penalty"] = raise_at(1 if compiled else 5, lambda: nn.l2(opt.params, 0.0))
    else:  # in the middle of the parameters
        monkeypatch.setattr(opt, "update", raise_at(1 if compiled else 4 * len(opt.params) + 5, opt.update))
    error = TypeError if compiled else LookupError  # while recording, one message for all, which names the line
    histories = fails(error, opt, compiled=compiled, **options)
    assert_whole(opt, steps, kind, compiled, histories)


@every_loop
@every_kind
@pytest.mark.parametrize("step", [0, 1, 2])
@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_number_that_is_not_finite_leaves_the_steps_before_it(what, step, kind, compiled):
    order, _ = shuffled(len(X), 0)
    bad = order[BATCH * step + 1]  # its third feature is 0, where sqrt has no slope and log no value
    x = [[*point, 0.0 if i == bad else 1.0] for i, point in enumerate(X)]
    opt, plain = start(kind)
    w = opt.params[0]
    spoil = (lambda z: (z - 1.0) * z.log()) if what == "loss" else (lambda z: 0.0 * sqrt(w * z))

    def loss(point, y):
        # at z = 1 both spoilers are 0 and send 0, so that the other steps are those of the plain loss
        return plain(point, y) + 0.0 * w * point[2] + spoil(point[2] + 0.0 * w)

    histories = fails(FloatingPointError, opt, loss, compiled, x=x)
    assert_whole(opt, step, kind, compiled, histories)


def test_a_number_that_is_not_finite_in_native_code_alone_ends_the_training(monkeypatch):
    pytest.importorskip("llvmlite")
    opt, loss = start("Adam")
    monkeypatch.setattr(opt, "step", lambda: None)  # as if the engine's own step had gone well
    histories = fails(FloatingPointError, opt, lambda x, y: sqrt(0.0 * loss(x, y)), compiled=True)
    assert_whole(opt, 0, "Adam", True, histories)


@every_loop
def test_what_a_callback_changes_stays_when_it_stops_or_raises(compiled):
    for end in (lambda: True), (lambda: 1 / 0):
        opt, loss = start("Adam")
        kept = {}

        def callback(epoch, history, opt=opt, kept=kept, end=end):
            if epoch == 2:
                kept.update(best=[p.data for p in opt.params], state=opt.state_dict())
            if epoch == 3:  # back to the best parameters, as in early stopping
                for p, number in zip(opt.params, kept["best"]):
                    p.data = number
                opt.load_state_dict(kept["state"])
            return epoch == 3 and end()

        with contextlib.suppress(ZeroDivisionError):
            fit(loss, opt, X, Y, epochs=9, every=1, callback=callback, compiled=compiled, progress=False)
        assert [p.data for p in opt.params] == kept["best"]
        assert opt.state_dict() == kept["state"] and opt.t == 2


@every_loop
def test_training_goes_on_after_an_error_as_if_there_had_been_none(compiled):
    opt, loss = start("Adam")
    fails(LookupError, opt, loss, compiled, schedule=raise_at(7, rate))
    other, loss_of_other = start("Adam")
    fit(loss_of_other, other, X, Y, epochs=2, batch_size=BATCH, schedule=rate, compiled=compiled, progress=False)
    assert bits(opt) == bits(other)
    for o, f in (opt, loss), (other, loss_of_other):
        fit(f, o, X, Y, epochs=3, batch_size=BATCH, schedule=rate, seed=1, compiled=compiled, progress=False)
    assert bits(opt) == bits(other) and opt.t == 15


@pytest.mark.parametrize("end", ["all epochs", "callback", "schedule", "loss"])
def test_a_compiled_training_that_is_over_leaves_nothing_to_the_cycle_collector(end, monkeypatch):
    pytest.importorskip("llvmlite")
    training = pytest.importorskip("tinygrad_lite.compiler.training")
    made = []

    class Watched(training.Trainer):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.extend(map(weakref.ref, (self, self.program())))

    monkeypatch.setattr(training, "Trainer", Watched)
    opt, loss = start("Adam")
    broken = {"schedule": raise_at(5, rate)} if end == "schedule" else {"callback": raise_at(2, print)}
    gc.collect()
    gc.disable()
    try:
        if end == "all epochs":
            fit(loss, opt, X, Y, epochs=2, compiled=True, progress=False)
        elif end == "loss":
            fails(FloatingPointError, opt, lambda x, y: (loss(x, y) * 1e6).exp(), compiled=True)
        else:
            fails(LookupError, opt, loss, compiled=True, **broken)
        assert [ref() for ref in made] == [None, None]
    finally:
        gc.enable()


# --- Ctrl-C


@pytest.fixture
def quick(monkeypatch):
    """Programs for the compiled loop are built once for each optimiser."""
    training = pytest.importorskip("tinygrad_lite.compiler.training")
    build, built = training.Trainer.program, {}

    def program(trainer):
        if type(trainer.opt) not in built:
            built[type(trainer.opt)] = build(trainer)
        return built[type(trainer.opt)]

    monkeypatch.setattr(training.Trainer, "program", program)
    return training


def line(kind):
    """Small and quick: two parameters, and three points that no line meets."""
    w, b = Value(0.5), Value(-1.0)
    return KINDS[kind]([w, b]), lambda x, y: (w * x + b - y) ** 2


@every_loop
@every_kind
def test_ctrl_c_at_every_moment_leaves_whole_steps_and_training_goes_on(kind, compiled, request):
    modules = [optim, mistakes, train, *([request.getfixturevalue("quick")] if compiled else [])]
    assert_ctrl_c_leaves_whole_steps(kind, modules, {"compiled": compiled})


@pytest.mark.long
@every_kind
def test_ctrl_c_at_every_moment_of_array_operations_leaves_whole_steps(kind, quick):
    portable = pytest.importorskip("tinygrad_lite.compiler.portable")
    assert_ctrl_c_leaves_whole_steps(kind, [mistakes, train, quick, portable], {"backend": "numpy", "check": False})


def assert_ctrl_c_leaves_whole_steps(kind, modules, options):
    def run(opt, loss, epochs):
        fit(loss, opt, [1.0, 2.0, 3.0], [1.0, -1.0, 1.0], epochs=epochs, every=1, progress=False, **options)

    whole = []
    for epochs in range(3):
        opt, loss = line(kind)
        run(opt, loss, epochs)
        whole.append(bits(opt))
    seen = set()
    for moment in itertools.count():
        opt, loss = line(kind)
        if not interrupted(functools.partial(run, opt, loss, 2), modules, moment):
            break
        assert bits(opt) == whole[opt.t], moment
        seen.add(opt.t)
        run(opt, loss, 2 - opt.t)
        assert bits(opt) == whole[2], moment
    assert moment > 50 and seen == {0, 1, 2}


ALARM_SCRIPT = """
import random, signal, time
from tinygrad_lite import Value, fit, optim

KINDS = [lambda ps: optim.SGD(ps, 0.05, momentum=0.8), lambda ps: optim.Adam(ps, 0.02)]

def start(kind):
    w, b = Value(0.5), Value(-1.0)
    return kind([w, b]), lambda x, y: (w * x + b - y) ** 2

def run(opt, loss):
    fit(loss, opt, [1.0, 2.0, 3.0], [1.0, -1.0, 1.0], epochs=100 - opt.t, compiled=False, progress=False)

def bits(opt):
    return [p.data.hex() for p in opt.params], [[x.hex() for x in state] for state in opt.state], opt.t

signal.signal(signal.SIGALRM, signal.default_int_handler)
rng, hits = random.Random(0), 0
for kind in KINDS:
    opt, loss = start(kind)
    began = time.perf_counter()
    run(opt, loss)
    seconds, end = time.perf_counter() - began, bits(opt)
    for _ in range(40):
        opt, loss = start(kind)
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, seconds))
            run(opt, loss)
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        except KeyboardInterrupt:
            hits += 1
        run(opt, loss)
        assert bits(opt) == end
print(hits)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer signals here")
def test_ctrl_c_at_random_moments_leaves_whole_steps_and_training_goes_on():
    # a process of its own: an exception out of nowhere in whoever measures coverage would leave its lock locked
    done = subprocess.run(
        [sys.executable, "-c", ALARM_SCRIPT],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_ctrl_c_at_every_moment_of_a_backward_pass_leaves_a_graph_that_can_be_walked_again():
    def graph():
        a, b = Value(2.0, "a"), Value(-3.0, "b")
        return [a, b], (a * b + a).tanh() * b

    leaves, out = graph()
    out.backward()
    expected = [p.grad for p in leaves]
    for moment in itertools.count():
        leaves, out = graph()
        if not interrupted(out.backward, [engine], moment):
            break
        assert [p.data for p in leaves] == [2.0, -3.0]
        for p in leaves:
            p.zero_grad()
        out.backward()
        assert [p.grad for p in leaves] == expected, moment
    assert moment > 10


def off():
    """No mode is active, and what is computed is recorded."""
    modes = no_grad_active(), anomaly_active(), current_scope()
    return modes == (False, False, None) and type(Value(2.0) * 3.0) is Value and gc.isenabled()


@pytest.mark.parametrize(
    ("where", "mode"),
    [
        ("engine", no_grad),
        ("engine", anomaly),
        ("engine", lambda: scope("part")),
        ("compiler.trace", "tracing"),
        ("compiler.native", "no_collector"),
    ],
    ids=["no_grad", "anomaly", "scope", "tracing", "no_collector"],
)
def test_ctrl_c_at_every_moment_on_the_way_into_and_out_of_a_mode_leaves_it_off(where, mode):
    module = pytest.importorskip(f"tinygrad_lite.{where}")
    mode = getattr(module, mode) if isinstance(mode, str) else mode

    def act():
        with mode():
            assert not off()

    assert off()
    for moment in itertools.count():
        stopped = interrupted(act, [engine, contextlib, module], moment)
        assert off(), moment
        if not stopped:
            break
    assert moment > 5


def test_ctrl_c_at_every_moment_gives_the_parameters_back_that_an_average_had_lent():
    w = [Value(1.0), Value(2.0)]
    average = optim.WeightAverage(w, last=2)
    average.update()
    for p in w:
        p.data += 1.0
    average.update()

    def act():
        with average.applied():
            assert [p.data for p in w] == [1.5, 2.5]

    for moment in itertools.count():
        stopped = interrupted(act, [optim, contextlib], moment)
        assert [p.data for p in w] == [2.0, 3.0], moment
        if not stopped:
            break
    assert moment > 5


@every_kind
def test_ctrl_c_at_every_moment_of_a_load_leaves_the_old_state_or_the_new_one(kind):
    opt, loss = line(kind)
    fit(loss, opt, [1.0, 2.0, 3.0], [1.0, -1.0, 1.0], epochs=2, compiled=False, progress=False)
    new = opt.state_dict() | {"lr": 0.5}
    reached = []
    for moment in itertools.count():
        other, _ = line(kind)
        old = other.state_dict()
        stopped = interrupted(lambda: other.load_state_dict(new), [optim], moment)
        assert other.state_dict() in (old, new), moment
        reached.append(other.state_dict() == new)
        if not stopped:
            break
    assert moment > 5 and set(reached) == {False, True}


TRIALS = int(os.environ.get("TINYGRAD_LITE_TRIALS", "4"))
SIGINT_SCRIPT = """
import json, signal, sys
from tinygrad_lite import data, fit, nn, optim, softplus

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may start us with it ignored
X, Y = data.moons(20, noise=0.1, seed=0)
KINDS = [lambda ps: optim.SGD(ps, 1e-3, momentum=0.9), lambda ps: optim.Adam(ps, 1e-4)]

def start(trial):
    model = nn.MLP(2, [3, 1], activation="tanh", seed=trial)
    return KINDS[trial % 2](model.parameters()), lambda x, y: softplus(-y * model(x))

def run(opt, loss, **options):
    fit(loss, opt, X, Y, batch_size=7, compiled=True, every=1000, progress=False, **options)

def say_once(epoch, history):
    if epoch == 1000:
        print("running", flush=True)

def bits(opt):
    return [p.data.hex() for p in opt.params], [[x.hex() for x in state] for state in opt.state], opt.t, opt.lr

def stop_at(steps, lr):
    def schedule(t):
        if t == steps:
            raise LookupError
        return lr
    return schedule

for trial in range(int(sys.argv[1])):
    (opt, loss), (other, loss_of_other) = start(trial), start(trial)
    run(opt, loss, epochs=0)  # so that all is imported
    try:
        print("ready", flush=True)
        run(opt, loss, epochs=10**9, callback=say_once)
    except KeyboardInterrupt:
        pass
    t, found = opt.t, [bits(opt)]
    try:
        run(other, loss_of_other, epochs=10**9, schedule=stop_at(t, opt.lr))
    except LookupError:
        pass
    expected = [bits(other)]
    for o, f, seen in (opt, loss, found), (other, loss_of_other, expected):
        run(o, f, epochs=7, seed=3)
        seen.append(bits(o))
    print(json.dumps([t, found == expected]), flush=True)
"""


@pytest.mark.long
def test_a_real_ctrl_c_in_compiled_training_leaves_whole_steps_and_training_goes_on():
    pytest.importorskip("llvmlite")
    rng = random.Random(1)
    child = subprocess.Popen(
        [sys.executable, "-c", SIGINT_SCRIPT, str(TRIALS)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    def hear(expected):
        """The next line that does not only say that training is running."""
        line = child.stdout.readline()
        while line == "running\n" != expected:
            line = child.stdout.readline()
        return line

    steps = []
    try:
        for trial in range(TRIALS):
            assert hear("ready\n") == "ready\n"
            if trial % 2:  # in the loop; else anywhere, also while the program is still made
                assert hear("running\n") == "running\n"
            time.sleep(rng.uniform(0.0, 0.3))
            child.send_signal(signal.SIGINT)
            t, same = json.loads(hear("[...]\n"))
            assert same, (trial, t)
            steps.append(t)
        assert child.wait(timeout=60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert min(steps[1::2]) >= 3000


# --- data is not run

MODULES = {"pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml", "codeop", "runpy"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
METHODS = {"system", "popen", "getoutput", "getstatusoutput", "read_pickle", "to_pickle"}
ALLOWED = {
    # programs made of the package's own text, which a reader's class is run on
    "practice/engines.py": {("_run", "exec"), ("_run", "eval"), ("_run", "compile")},
    # one of two modules of the package
    "__init__.py": {("__getattr__", "import_module")},
    # the module that a pickled operation names, as every pickle does; pickles are never read here
    "op.py": {("_find", "import_module")},
}


def dangers(source):
    """{(function around it, what could run data)}, from imports, names and calls."""
    found = set()

    def look(node, function):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".")[0] for alias in node.names]
            found.update((function, a.name) for a in node.names if a.asname and a.name in ("os", "builtins"))
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names if alias.name in BUILTINS | METHODS]
            names += [(node.module or "").split(".")[0]] if not node.level else []
        elif isinstance(node, ast.Name):
            names = [node.id] if node.id in BUILTINS else []
        elif isinstance(node, ast.Attribute):
            of = getattr(node.value, "id", "")
            harmless = {"compile": of != "builtins", "system": of != "os", "popen": of != "os"}  # re, platform
            names = [] if harmless.get(node.attr) else [node.attr]
        elif isinstance(node, ast.Constant):
            names = [node.value] if node.value in ("eval", "exec", "__import__") else []  # getattr(builtins, "eval")
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called == "import_module" and not isinstance(node.args[0], ast.Constant):
                found.add((function, called))
            for keyword in node.keywords:
                off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
                if keyword.arg in ("shell", "allow_pickle") and not off:
                    found.add((function, keyword.arg))
        found.update((function, name) for name in names if name in MODULES | BUILTINS | METHODS)
        function = node.name if isinstance(node, ast.FunctionDef) else function
        for child in ast.iter_child_nodes(node):
            look(child, function)

    look(ast.parse(source), "")
    return found


SOURCES = {path.relative_to(ROOT / "tinygrad_lite").as_posix(): path for path in (ROOT / "tinygrad_lite").rglob("*.py")}
SOURCES["notebooks/execute.py"] = ROOT / "notebooks" / "execute.py"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_nothing_in_the_package_runs_data(name):
    assert dangers(SOURCES[name].read_text(encoding="utf-8")) == ALLOWED.get(name, set())


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "import pickle as p", "from pickle import loads", "import _pickle", "import os, marshal",
        "def f():\n    import shelve",
        "from yaml import load", "import joblib.numpy_pickle", "from builtins import eval",
        "eval(text)", "exec(text)", "run = eval", "map(exec, texts)", "builtins.eval(text)",
        "compile(text, '', 'exec')",
        "getattr(builtins, 'exec')(text)", "__import__(name)", "__builtins__['eval'](text)",
        "importlib.import_module(name)", "import_module(header['module'])", "importlib.__import__(name)",
        "os.system(line)", "import os as o", "builtins.compile(text, '', 'exec')",
        "from os import system", "os.popen(line)", "subprocess.getoutput(line)",
        "subprocess.run(line, shell=True)", "Popen(line, shell=shell)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=trusted)", "pandas.read_pickle(path)",
    ],
)  # fmt: skip
def test_the_test_for_that_objects(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile(text)", "import json\njson.loads(text)", "model.evaluate(x)", "subprocess.run([dot])",
        "np.load(path, allow_pickle=False)", "subprocess.run([dot], shell=False)", "importlib.import_module('numpy')",
        "'a pickle, which could run code'", "importlib.util.find_spec(name)", "def evaluation(): pass",
        "platform.system()",
    ],
)  # fmt: skip
def test_the_test_for_that_does_not_object_to_what_is_harmless(source):
    assert not dangers(source)
