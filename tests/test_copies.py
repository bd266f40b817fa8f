"""Copies and pickles: what a user holds comes back with nothing lost, however deep a graph is."""

import copy
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import weakref

import pytest

import tinygrad_lite
from tinygrad_lite import History, Op, TrainingWarning, Value, data, draw_dot, explain, fit, maximum, nn, optim, total
from tinygrad_lite.engine import UNREACHED, topological_order


class Measured(Value):
    """A user's own, with an attribute."""

    def __init__(self, number, unit):
        super().__init__(number)
        self.unit = unit


class Slotted(Value):
    __slots__ = ("__secret", "unset")

    def __init__(self, number, secret):
        super().__init__(number)
        self.__secret = secret

    @property
    def secret(self):
        return self.__secret


def by_pickle(protocol, dumps):
    return lambda x: pickle.loads(dumps(x, protocol))


def by_joblib(x):
    joblib = pytest.importorskip("joblib")
    file = io.BytesIO()
    joblib.dump(x, file)
    file.seek(0)
    return joblib.load(file)


def by_cloudpickle(x):
    return pickle.loads(pytest.importorskip("cloudpickle").dumps(x))


PICKLES = {
    **{f"pickle {p}": by_pickle(p, pickle.dumps) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)},
    **{f"pickle {p} in Python": by_pickle(p, pickle._dumps) for p in (2, pickle.HIGHEST_PROTOCOL)},
    "joblib": by_joblib,
    "cloudpickle": by_cloudpickle,
}
WAYS = {"deepcopy": copy.deepcopy, **PICKLES}
ways = pytest.mark.parametrize("twin_of", WAYS.values(), ids=WAYS)


def graph():
    """One of everything that a Value may carry, after a backward pass."""
    layer, x = nn.Layer(2, 2, "tanh", seed=0), Value(0.5, label="x")
    with tinygrad_lite.anomaly(), tinygrad_lite.scope("inside"):
        hidden = layer([x, Measured(2.0, "m")])
    left_out = x * -3.0
    loss = maximum(total(hidden) ** 2.0, left_out) + Slotted(1.0, [7]) * 2
    loss.label = "loss"
    loss.backward()
    return loss


def seen(root):
    """All that one can ask of a graph, with places in it for Values."""
    order = topological_order(root)
    place = {node: i for i, node in enumerate(order)}

    def shown(node):
        call, scope = getattr(node, "call", None), getattr(node, "scope", None)
        return (
            type(node), node.data, node.grad, node.grad is UNREACHED, node.label, node.op, node.local_grads,
            tuple(place.get(x, x) for x in node.args), getattr(node, "line", None), getattr(node, "before", None),
            scope and (scope.name, scope.outer), getattr(node, "unit", None), getattr(node, "secret", None),
            call and (type(call[0]), [place[p] for p in call[0].parameters()], len(call[1]), call[2].name),
        )  # fmt: skip

    return [shown(node) for node in order]


@ways
def test_a_graph_comes_back_with_everything(twin_of):
    loss = graph()
    twin = twin_of(loss)
    assert seen(twin) == seen(loss)
    assert not set(topological_order(twin)) & set(topological_order(loss))
    assert len({id(node.call) for node in topological_order(twin) if hasattr(node, "call")}) == 1
    assert draw_dot(twin, fold=1).source == draw_dot(loss, fold=1).source and str(explain(twin)) == str(explain(loss))
    unreached = [node for node in topological_order(twin) if node.grad is UNREACHED]
    assert [node.op.name for node in unreached] == ["mul"]  # by maximum
    before = seen(loss)
    twin.backward()
    assert seen(loss) == before and seen(twin) != before


def test_copy_copy_of_a_value_shares_its_operands_and_nothing_else():
    loss = graph()
    twin = copy.copy(loss)
    assert (twin.data, twin.label, twin.op, twin.grad, twin.args) == (loss.data, "loss", loss.op, 1.0, loss.args)
    twin.data, twin.label = 5.0, "twin"
    assert (loss.label, loss.data == 5.0) == ("loss", False)
    leaf = copy.copy(Measured(1.0, "s"))
    assert (type(leaf), leaf.unit, leaf.grad is UNREACHED) == (Measured, "s", True)
    assert copy.copy(Slotted(1.0, "mine")).secret == "mine"


@ways
def test_what_is_shared_stays_shared(twin_of):
    x = Value(2.0)
    a, b, leaf, again = twin_of([x * 2.0, x * 3.0, x, x])
    assert a.args[0] is b.args[0] is leaf is again


@ways
def test_a_model_that_keeps_its_outputs_shares_its_parameters_with_them(twin_of):
    model = nn.MLP(2, [3, 1], seed=0)
    model.out = model([1.0, 2.0])
    twin = twin_of(model)
    assert set(twin.parameters()) <= set(topological_order(twin.out)) and twin.out.call[0] is twin
    assert twin.state_dict() == model.state_dict() and repr(twin) == repr(model)


# --- deep graphs

DEEP = """
import copy, pickle, sys, threading
sys.path[:0] = {path!r}
from tinygrad_lite import Value, nn
class Cell(nn.Module):
    def __init__(self): self.w = Value(0.9)
    def __call__(self, h): self.last = self.w * h; return self.last
class Ignoring(nn.Module):
    def __init__(self): self.w = Value(0.9)
    def __call__(self, h): return self.w * 2.0
def main():
    sys.setrecursionlimit(150)
    x = v = Value(1.0, label="x")
    for _ in range({n}):
        v = v * 1.0
    v.backward()
    cell, h = Cell(), Value(1.0)
    for _ in range({n} // 20):
        h = cell(h)
    ignoring, k = Ignoring(), Value(1.0)
    for _ in range({n} // 20):
        k = ignoring(k)
    for twin_of in copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v)):
        twin, twin_of_k, twin_of_cell = twin_of(v), twin_of(k), twin_of(cell)
        assert twin_of_cell.last.data == h.data and twin_of_k.call[1][0].call[1][0].data == 1.8
        while twin.args:
            assert twin.grad == 1.0
            twin = twin.args[0]
        assert (twin.label, twin.grad) == ("x", 1.0)
    print("deep enough")
threading.stack_size(256 * 1024)
thread = threading.Thread(target=main)
thread.start(); thread.join()
"""


def test_a_graph_50_000_deep_on_a_small_stack_under_a_recursion_limit_of_150():
    code = DEEP.format(path=sys.path, n=50_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "deep enough\n", done.stderr


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("dumps", [pickle.dumps, pickle._dumps], ids=["C", "Python"])
def test_all_states_of_a_simulation_take_no_more_room_than_the_last(dumps, backwards):
    states = [Value(1.0)]
    for _ in range(1500):
        states.append(states[-1] * 0.999)
    one, all_ = dumps(states[-1]), dumps(states[::-1] if backwards else states)
    assert len(all_) < 1.2 * len(one)
    twins = pickle.loads(all_)[:: -1 if backwards else 1]
    assert all(twin.args[0] is before for before, twin in zip(twins, twins[1:]))


class Inside:
    """An object whose own pickle has another pickle in it."""

    def __init__(self, value):
        self.value = value

    def __reduce__(self):
        return pickle.loads, (pickle.dumps(self.value),)


def chain(n):
    v = Value(1.0)
    for _ in range(n):
        v = v * 1.5
    return v


def test_pickles_inside_pickles_after_failures_and_side_by_side():
    v = chain(3000)
    outer, inner = pickle.loads(pickle.dumps([v, Inside(v)]))
    assert outer.data == inner.data == v.data and outer is not inner
    bad = Op("bad", "bad", float, (1.0,))(v)
    del bad.op.home  # found in no module
    bad.op.home = ""
    for _ in range(2):
        with pytest.raises(TypeError, match="the operation bad cannot be pickled"):
            pickle.dumps(bad)
    twins = []
    threads = [threading.Thread(target=lambda: twins.append(pickle.loads(pickle.dumps(v)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [twin.data for twin in twins] == [v.data] * 3
    pickler = pickle.Pickler(file := io.BytesIO())  # which remembers from one dump to the next
    written = []
    for value in v, v * 2.0:
        pickler.dump(value)
        written.append(file.tell())
    assert written[1] - written[0] < 1000


def test_a_pickle_leaves_nothing_behind():
    v = chain(5)
    alive = weakref.ref(v)
    pickle.dumps(v)
    copy.deepcopy(v)
    del v
    assert alive() is None


# --- other processes


def gradients(model):
    """In another process: the output and the gradients there."""
    out = model([1.0, -2.0])
    out.backward()
    return out, [p.grad for p in model.parameters()], os.getpid()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_model_goes_to_another_process_and_its_output_comes_back(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"there is no {method} here")
    model = nn.MLP(2, [3, 1], "tanh", seed=0)
    with multiprocessing.get_context(method).Pool(1) as pool:
        states = pool.map(nn.Module.state_dict, [model, copy.deepcopy(model)])
        out = pool.apply(nn.MLP.__call__, (model, [1.0, -2.0]))
    assert states == [model.state_dict()] * 2
    expected, grads, _ = gradients(model)
    out.backward()
    assert out.data == expected.data and out.call[0].state_dict() == model.state_dict()
    assert [p.grad for p in out.call[0].parameters()] == grads


# --- modules, optimisers and the rest


def cube(z):
    return z**3


@ways
def test_a_module_keeps_the_name_of_its_activation_and_a_function_stays_itself(twin_of):
    for activation in (*nn.ACTIVATIONS, cube):
        model = nn.MLP(2, [2, 1], activation=activation, seed=0)
        twin = twin_of(model)
        neuron = twin.layers[0].neurons[0]
        assert neuron.activation == activation and neuron.phi is model.layers[0].neurons[0].phi
        assert twin([0.3, -0.2]).data == model([0.3, -0.2]).data


def test_a_lambda_is_refused_by_pickle_with_what_to_write_and_taken_by_what_can():
    model = nn.MLP(1, [2, 1], activation=lambda z: z * z, seed=0)
    for refused in pickle.dumps, pickle._dumps:
        with pytest.raises(pickle.PicklingError, match=r"activation .*<lambda>.* define it with def at"):
            refused(model)
    for twin in copy.deepcopy(model), copy.copy(model), by_cloudpickle(model):
        assert twin([3.0]).data == model([3.0]).data


RULES = {
    "SGD": lambda ps: optim.SGD(ps, 0.1, momentum=0.9),
    "average": lambda ps: optim.SGD(ps, 0.1, average_gradients=3),
    "Adam": lambda ps: optim.Adam(ps, 0.01),
    "AdamW": lambda ps: optim.AdamW(ps, 0.01),
}


@ways
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_training_goes_on_after_a_copy_bit_for_bit(rule, twin_of):
    X, y = data.moons(12, seed=0)

    def train(model, opt, epochs):
        loss = lambda x, side: nn.hinge(model(x), side)  # noqa: E731
        return fit(loss, opt, X, y, epochs=epochs, batch_size=5, compiled=False, progress=False)

    model = nn.MLP(2, [3, 1], "tanh", seed=0)
    opt = rule(model.parameters())
    train(model, opt, 2)
    twin, twin_opt = twin_of((model, opt))
    assert twin_opt.params == twin.parameters() and twin_opt.state_dict() == opt.state_dict()
    assert train(twin, twin_opt, 2).loss == train(model, opt, 2).loss
    assert twin.state_dict() == model.state_dict()


@ways
def test_a_copied_optimiser_still_sees_a_forgotten_zero_grad(twin_of):
    w = Value(1.0)
    opt = optim.SGD([w], 0.1)
    (w * 2.0).backward()
    opt.step()
    twin = twin_of(opt)
    (twin.params[0] * 2.0).backward()
    with pytest.warns(TrainingWarning, match="still held the gradient of the last step"):
        twin.step()
    again = twin_of(opt)
    again.zero_grad()
    (again.params[0] * 2.0).backward()
    again.step()


@ways
def test_what_else_a_user_holds(twin_of):
    history = History([1.0, 0.5], [0.1, 0.1], 2, 0.25, "all epochs done")
    assert twin_of(history) == history
    average = optim.WeightAverage([Value(1.0)], last=2)
    average.update()
    assert twin_of(average).mean() == [1.0]
    loss = graph()
    assert str(twin_of(explain(loss))) == str(explain(loss))
    with tinygrad_lite.no_grad():
        out = nn.Neuron(1, seed=0)([2.0])
    twin = twin_of(out)
    assert (twin.data, twin.op, twin.call[1]) == (out.data, None, ([2.0],))


@ways
@pytest.mark.parametrize(
    "schedule",
    [
        optim.schedules.constant(0.1), optim.schedules.step_decay(0.1, 2, 0.5), optim.schedules.inverse_time(0.1, 3),
        optim.schedules.cosine(0.1, 9), optim.schedules.linear(0.1, 9, end=0.01),
    ],
)  # fmt: skip
def test_a_schedule_gives_the_same_rates(schedule, twin_of):
    assert [twin_of(schedule)(t) for t in range(12)] == [schedule(t) for t in range(12)]


def test_a_set_keeps_its_order_through_a_copy():
    model = nn.Module()
    model.ws = {Value(float(i)) for i in range(50)}
    order = [p.data for p in model.parameters()]
    for twin_of in copy.deepcopy, pickle_and_back:
        assert [p.data for p in twin_of(model).parameters()] == order == sorted(order)


def pickle_and_back(x):
    return pickle.loads(pickle.dumps(x))
