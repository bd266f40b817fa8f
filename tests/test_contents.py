"""What a model may hold: no weight is silently neither trained nor saved."""

import asyncio
import collections
import copy
import dataclasses
import enum
import functools
import itertools
import logging
import queue
import random
import threading
import types
import weakref

import numpy as np
import pytest

from tinygrad_lite import Value, doctor, draw_dot, explain, fit, jit, load, mean, nn, optim, player, save, total

Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Data:
    w: Value
    rest: list


@dataclasses.dataclass(frozen=True)
class Frozen:
    w: Value
    rest: tuple


@dataclasses.dataclass(slots=True)
class Slotted:
    w: Value
    rest: list


class Slots:
    __slots__ = ("__hidden", "empty", "w")

    def __init__(self, w, hidden):
        self.w, self.__hidden = w, hidden


class Plain:
    def __init__(self, w, inner):
        self.w, self.inner = w, inner


class Numbers(list):
    """A list with an attribute."""


def values(n):
    return [Value(float(i + 1)) for i in range(n)]


def array(*shape):
    found = np.empty(shape, dtype=object)
    found.ravel()[:] = values(found.size)
    return found


def structured():
    found = np.zeros(2, dtype=[("w", object), ("size", float)])
    found["w"] = values(2)
    return found


def filled(kind, *items):
    found = kind()
    for item in items:
        found.put_nowait(item)
    return found


def numbered(*items):
    found = Numbers(items[:-1])
    found.more = items[-1]
    return found


def local(w):
    found = threading.local()
    found.w = w
    return found


ONE, TWO, THREE = (functools.partial(values, n) for n in (1, 2, 3))
# what an attribute may be -> the paths of its parameters, whose numbers are 1, 2, ...
HELD = {
    "list": (TWO, ["0", "1"]),
    "tuple": (lambda: tuple(values(2)), ["0", "1"]),
    "namedtuple": (lambda: Pair(*values(2)), ["0", "1"]),
    "dict": (lambda: dict(zip("ab", values(2))), ["a", "b"]),
    "OrderedDict": (lambda: collections.OrderedDict(zip("ab", values(2))), ["a", "b"]),
    "defaultdict": (lambda: collections.defaultdict(list, a=values(2)), ["a.0", "a.1"]),
    "Counter": (lambda: collections.Counter(a=Value(1.0)), ["a"]),
    "deque": (lambda: collections.deque(values(2)), ["0", "1"]),
    "set": (lambda: set(values(3)), ["0", "1", "2"]),
    "frozenset": (lambda: frozenset(values(3)), ["0", "1", "2"]),
    "set of modules": (lambda: {Bias(v) for v in values(3)}, ["0.b", "1.b", "2.b"]),
    "set of tuples": (lambda: {tuple(values(2)), frozenset([Value(3.0)])}, ["0.0", "0.1", "1.0"]),
    "UserList": (lambda: collections.UserList(values(2)), ["0", "1"]),
    "UserDict": (lambda: collections.UserDict(zip("ab", values(2))), ["a", "b"]),
    "MappingProxyType": (lambda: types.MappingProxyType(dict(zip("ab", values(2)))), ["a", "b"]),
    "ChainMap": (lambda: collections.ChainMap(*[{"a": v} for v in values(2)]), ["maps.0.a", "maps.1.a"]),
    "a view": (lambda: dict(zip("ab", values(2))).values(), ["0", "1"]),
    "SimpleNamespace": (lambda: types.SimpleNamespace(a=Value(1.0), b=[Value(2.0)]), ["a", "b.0"]),
    "dataclass": (lambda: Data(Value(1.0), [Value(2.0)]), ["w", "rest.0"]),
    "frozen dataclass": (lambda: Frozen(Value(1.0), (Value(2.0),)), ["w", "rest.0"]),
    "slotted dataclass": (lambda: Slotted(Value(2.0), [Value(1.0)]), ["rest.0", "w"]),
    "slots": (lambda: Slots(Value(2.0), Value(1.0)), ["_Slots__hidden", "w"]),
    "a plain object": (lambda: Plain(Value(1.0), Plain(Value(2.0), None)), ["w", "inner.w"]),
    "a list with an attribute": (lambda: numbered(*values(2)), ["0", "more"]),
    "a member of an Enum": (lambda: enum.Enum("Kept", {"ONE": Value(1.0)}).ONE, ["_value_"]),
    "an attribute of a class": (lambda: type("Of", (), {"one": Value(1.0), "two": values(3)[1:2]})(), ["one", "two.0"]),
    "an array of objects": (lambda: array(2), ["0", "1"]),
    "a matrix of objects": (lambda: array(2, 2), ["0.0", "0.1", "1.0", "1.1"]),
    "an array of one object": (lambda: np.array(Value(1.0), dtype=object), ["0"]),
    "a structured array": (structured, ["0.0.0", "1.0.0"]),
    "Queue": (lambda: filled(queue.Queue, *values(2)), ["queue.0", "queue.1"]),
    "LifoQueue": (lambda: filled(queue.LifoQueue, *values(2)), ["queue.0", "queue.1"]),
    "asyncio.Queue": (lambda: filled(asyncio.Queue, *values(2)), ["_queue.0", "_queue.1"]),
    "threading.local": (lambda: local(Value(1.0)), ["w"]),
    "partial": (lambda: functools.partial(max, Value(1.0), key=Value(2.0)), ["args.0", "keywords.key"]),
    "a method of a module": (lambda: Bias(Value(1.0)).__call__, ["__self__.b"]),
    "a method of a list": (lambda: values(2).append, ["__self__.0", "__self__.1"]),
    "slice": (lambda: slice(*values(2)), ["start", "stop"]),
    "a method of a Value": (lambda: Value(1.0).tanh, ["__self__"]),
}


class Bias(nn.Module):
    def __init__(self, b):
        self.b = b

    def __call__(self, x):
        return x + self.b


class Holder(nn.Module):
    """Its output has the gradient 1 with respect to each parameter."""

    def __init__(self, part):
        self.part = part

    def __call__(self, x):
        return total(self.parameters()) * x


@pytest.mark.parametrize(("make", "paths"), HELD.values(), ids=HELD)
def test_what_an_attribute_holds_is_found_in_order(make, paths):
    model = Holder(make())
    assert [path for path, _ in model.named_parameters()] == [f"part.{path}" for path in paths]
    assert [p.data for p in model.parameters()] == [i + 1.0 for i in range(len(paths))]


@pytest.mark.parametrize(("make", "paths"), HELD.values(), ids=HELD)
def test_what_an_attribute_holds_is_trained_saved_and_loaded(make, paths, tmp_path):
    model = Holder(make())
    opt = optim.SGD(model.parameters(), 0.25)
    model(1.0).backward()
    opt.step()
    assert [p.data for p in model.parameters()] == [i + 0.75 for i in range(len(paths))]
    save(model, tmp_path / "m.safetensors")
    for p in opt.params:
        p.data = 0.0
    load(model, tmp_path / "m.safetensors")
    assert [p.data for p in model.parameters()] == [i + 0.75 for i in range(len(paths))]


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_has_the_order_in_which_its_values_were_made(kind):
    for n in 2, 100:
        made = values(n)
        shuffled = random.Random(n).sample(made, n)
        assert Holder(kind(shuffled)).parameters() == made


def test_a_set_whose_order_nobody_knows_is_refused_by_name():
    with pytest.raises(TypeError, match="part is a set of Values of which it is not known which was made first"):
        Holder({(v := Value(1.0)), copy.copy(v)}).parameters()
    assert Holder({"relu", 3, Value(1.0) * 2.0}).parameters() == []


def began(made):
    next(made)
    return made


def simple_queue():
    found = queue.SimpleQueue()
    found.put(Value(1.0))
    return found


def in_pandas(name, data):
    return getattr(pytest.importorskip("pandas"), name)(data)


HIDDEN = {
    "the key of a dict": lambda: {Value(1.0): 0.1},
    "in the key of a dict": lambda: {("lr", Value(1.0)): 0.1},
    "a module as a key": lambda: {Bias(Value(1.0)): 0.1},
    "list_iterator": lambda: iter(values(1)),
    "map": lambda: map(abs, values(1)),
    "enumerate": lambda: enumerate(values(1)),
    "itertools.cycle": lambda: itertools.cycle(values(1)),
    "generator": lambda: began(v for v in values(2)),
    "SimpleQueue": simple_queue,
    "an exception's arguments": lambda: ValueError(Value(1.0)),
    "pandas.Series": lambda: in_pandas("Series", values(2)),
    "pandas.DataFrame": lambda: in_pandas("DataFrame", {"a": values(2)}),
}


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
@pytest.mark.parametrize("ask", [nn.Module.parameters, nn.Module.state_dict])
def test_what_cannot_be_walked_and_holds_values_is_refused_by_name(ask, make):
    model = nn.Module()
    model.good, model.odd = Value(1.0), [make()]
    with pytest.raises(TypeError, match=r"^odd\.0.* is a .* that holds a Value where it is neither trained nor saved"):
        ask(model)
    assert repr(model) == "Module(1 parameters)"


def test_what_cannot_be_walked_is_fine_where_its_values_are_found_elsewhere():
    model = nn.Module()
    model.w = [Value(1.0), Value(2.0)]
    model.rates, model.turn = {model.w[0]: 0.1}, itertools.cycle(model.w)
    assert model.parameters() == model.w


NOT_HELD = {
    "a function": lambda v: lambda: v,
    "a weak reference": weakref.ref,
    "a weak proxy": weakref.proxy,
    "weak values": lambda v: weakref.WeakValueDictionary(a=v),
    "weak keys": lambda v: weakref.WeakKeyDictionary({v: 1.0}),
    "a weak set": lambda v: weakref.WeakSet([v]),
    "an optimiser": lambda v: optim.SGD([v], 0.1),
    "a computed Value": lambda v: v * 2.0,
    "a logger": lambda v: logging.getLogger(__name__),
    "a generator of numbers": lambda v: random.Random(1),
    "numbers": lambda v: np.ones(3),
    "a class": lambda v: type("Of", (), {"w": v}),
}


@pytest.mark.parametrize("make", NOT_HELD.values(), ids=NOT_HELD)
def test_what_is_no_part_of_a_model_is_not_followed(make):
    kept = Value(1.0)
    model = nn.Module()
    model.part, model.w = make(kept), Value(2.0)
    assert model.parameters() == [model.w] and list(model.state_dict()) == ["w"]


def test_a_jitted_function_and_its_placeholders_are_no_part_of_a_model():
    pytest.importorskip("llvmlite")
    model = nn.MLP(1, [1], seed=0)
    model.fast = jit(lambda x: model(x))
    model.fast.batch([[1.0], [2.0]])
    assert len(model.parameters()) == 2 and len(model.state_dict()) == 2


# --- modules of every make


class WithSlots(nn.Module):
    __slots__ = ("__b", "w")

    def __init__(self):
        self.w, self.__b, self.c = Value(1.0), [Value(2.0)], Value(3.0)


class WithClassValues(nn.Module):
    scale = Value(2.0)
    hidden_by_an_attribute = Value(3.0)

    def __init__(self):
        self.hidden_by_an_attribute = 5.0
        self.w = Value(1.0)

    @property
    def asked(self):
        raise AssertionError("a property is not asked")


def test_slots_and_attributes_of_the_class_belong_to_a_module():
    assert [path for path, _ in WithSlots().named_parameters()] == ["c", "_WithSlots__b.0", "w"]
    assert WithSlots().state_dict() == {"c": 3.0, "_WithSlots__b": [2.0], "w": 1.0}
    assert [path for path, _ in WithClassValues().named_parameters()] == ["w", "scale"]


class Slope(nn.Module):
    """A learnable activation."""

    def __init__(self):
        self.slope = Value(0.5)

    def __call__(self, z):
        return self.slope * z


class Gated(nn.Layer):
    def __init__(self, *sizes):
        super().__init__(*sizes, seed=0)
        self.gate = Value(1.0)


def test_a_layer_saves_also_what_is_in_its_activation_and_in_subclasses():
    model = nn.MLP(1, [2, 1], activation=Slope(), seed=0)
    assert list(model.state_dict()) == [
        "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "layers.0.neurons.0.activation.slope",
    ]  # fmt: skip
    assert list(Gated(2, 2).state_dict()) == ["weight", "bias", "gate"]
    twin = nn.MLP(1, [2, 1], activation=Slope(), seed=1)
    model.layers[0].neurons[1].activation.slope.data = 7.0
    twin.load_state_dict(model.state_dict())
    assert twin([1.0]).data == model([1.0]).data


def test_a_weight_that_was_frozen_as_a_number_leaves_the_others_to_be_saved():
    layer = nn.Layer(2, 2, seed=0)
    layer.neurons[1].w[1] = 0.5
    assert {name: nn.shape(x) for name, x in layer.state_dict().items()} == {
        "bias": (2,), "neurons.0.w": (2,), "neurons.1.w.0": (),
    }  # fmt: skip
    layer.load_state_dict(layer.state_dict())


class Own(nn.Module):
    """Names its tensors itself, and forgets one."""

    def __init__(self):
        self.a, self.b = Value(1.0), Value(2.0)

    def tensors(self):
        return {"mine": self.a}


def test_tensors_of_a_users_own_that_leave_out_a_parameter():
    with pytest.raises(ValueError, match=r"Own\.tensors\(\) leaves out b: add it"):
        Own().state_dict()
    assert Holder(Own()).state_dict() == {"part.mine": 1.0, "part.b": 2.0}


def linked():
    """A model of three children that know it and each other."""
    model = nn.Module()
    model.children = [Bias(Value(float(i))) for i in range(3)]
    for child in model.children:
        child.parent, child.siblings, child.me = model, model.children, weakref.proxy(child)
    return model


def test_links_to_parents_and_siblings_do_not_recurse():
    model = linked()
    assert [p.data for p in model.parameters()] == [0.0, 1.0, 2.0]
    assert sorted(model.state_dict().values()) == [0.0, 1.0, 2.0]
    model.load_state_dict({name: x + 1.0 for name, x in model.state_dict().items()})
    assert [child.b.data for child in model.children] == [1.0, 2.0, 3.0]
    assert len(model.children[1].parameters()) == 3
    many = nn.Module()
    many.children = [nn.Module() for _ in range(40)]  # of which there are 40! paths
    for i, child in enumerate(many.children):
        child.all, child.w = list(many.children), Value(float(i))
    assert len(many.state_dict()) == len(many.parameters()) == 40
    loop = nn.Module()
    loop.part = [Value(1.0)]
    loop.part.append(loop.part)
    assert len(loop.parameters()) == len(loop.state_dict()) == 1


def test_a_module_in_two_places_is_saved_in_both_and_cannot_be_two_things():
    model = nn.Module()
    model.first = model.again = Bias(Value(1.0))
    assert model.state_dict() == {"first.b": 1.0, "again.b": 1.0} and len(model.parameters()) == 1
    with pytest.raises(ValueError, match=r"again\.b holds a Value .* in another place as well: .* 2 for it, and 3"):
        model.load_state_dict({"first.b": 2.0, "again.b": 3.0})
    assert model.first.b.data == 1.0


def test_a_chain_of_modules_longer_than_the_recursion_limit_is_walked():
    model = last = Bias(Value(0.0))
    for _ in range(2000):
        last.next = last = Bias(Value(1.0))
    assert len(model.parameters()) == len(list(model.named_modules())) == 2001


# --- names


def with_dict(held):
    model = nn.Module()
    model.d = held
    return model


def with_attribute(name):
    model = nn.Module()
    vars(model)[name] = Value(1.0)
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (with_dict({"x.y": Value(1.0), "x": {"y": Value(2.0)}}), r"two parameters would both be saved as d\.x\.y"),
        (with_dict({0: Value(1.0), "0": Value(2.0)}), r"both be saved as d\.0"),
        (with_dict({None: Value(1.0), "None": Value(2.0)}), r"both be saved as d\.None"),
        (with_dict({"": Value(1.0)}), r"'d\.' cannot be saved: '' is no name for it in a file"),
        (with_dict({object(): Value(1.0)}), r"<object object at .* is no name for it in a file"),
        (with_dict({"\ud800": Value(1.0)}), r"'\\ud800' is no name for it in a file"),
        (with_attribute(""), "'' is no name for it"),
        (with_attribute("__metadata__"), "cannot be saved as __metadata__, a name of the file's own"),
    ],
    ids=range(8),
)
def test_a_name_that_a_file_could_not_keep_is_refused(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        model.state_dict()
    with pytest.raises(ValueError, match=message):
        save(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
    assert len(model.parameters()) == len({name for name, _ in model.named_parameters()}) or "both" in message


@pytest.mark.parametrize("state", [None, [], "abc", 3.0, [("w", 1.0)]])
def test_a_state_that_is_no_dict_is_refused(state):
    with pytest.raises(TypeError, match=r"load_state_dict expects a dict as of state_dict\(\), got"):
        nn.Neuron(1).load_state_dict(state)
    with pytest.raises(ValueError, match="missing: b, w; unknown: 1"):
        nn.Neuron(1).load_state_dict({1: 2.0})
    with pytest.raises(TypeError, match=r"^b: Value holds one real number, got 'x'"):
        nn.Neuron(1).load_state_dict({"w": [1.0], "b": "x"})


# --- modules that compare


class Tanh(nn.Module):
    def __init__(self, w, layer):
        self.w, self.layer = w, layer

    def __call__(self, x):
        return total(self.layer([self.w * x, x])).tanh()


@dataclasses.dataclass
class Compared(Tanh):
    """Has an __eq__ and no hash."""

    w: Value
    layer: nn.Module


class AllEqual(Bias):
    def __eq__(self, other):
        return True


class Outer(nn.Module):
    """parts: of a class, each of which knows the whole."""

    def __init__(self, kind):
        self.parts = [kind(Value(float(i))) for i in range(3)]
        for part in self.parts:
            part.parent = self

    def __call__(self, x):
        for part in self.parts:
            x = part(x)
        return x


def examined(model):
    """What one sees of a model."""
    loss = mean([(model(x) - 1.0) ** 2 for x in (0.1, 0.2, 0.3)])
    loss.backward()
    pictures = [draw_dot(loss, fold=fold).source for fold in (0, 1, 2, "auto")]
    checkup = doctor(model, lambda x, y: (model(x) - y) ** 2, [0.1, 0.2], [1.0, 1.0])
    words = [str(explain(p, loss)) for p in model.parameters()]
    opt = optim.SGD(model.parameters(), 0.1)
    history = fit(lambda x, y: (model(x) - y) ** 2, opt, [0.1, 0.2], [1.0, 1.0], epochs=3, progress=False)
    return pictures, str(checkup), words, player(loss).html, history.loss


@pytest.mark.parametrize(("compared", "other"), [(Compared, Tanh), (AllEqual, Bias)])
def test_a_module_with_an_equality_of_its_own_is_drawn_explained_played_and_examined_as_any_other(compared, other):
    def make(kind):
        return Outer(kind) if issubclass(kind, Bias) else kind(Value(0.1), nn.Layer(2, 3, "tanh", seed=0))

    assert examined(make(compared)) == examined(make(other))
