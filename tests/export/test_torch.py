"""PyTorch's names, and its modules to and fro: with PyTorch where there is one, else with what looks like it."""

import sys
import types

import pytest

from tinygrad_lite import export, load, nn, save


class Array:
    """As much of a tensor as is asked for."""

    def __init__(self, numbers):
        self.numbers = numbers

    def tolist(self):
        return self.numbers

    def copy_(self, other):
        assert nn.shape(other.numbers) == nn.shape(self.numbers)
        self.numbers = other.numbers


class Linear:
    def __init__(self, nin, nout, bias=True, dtype=None):
        self.weight = Array([[0.0] * nin for _ in range(nout)])
        self.bias = Array([0.0] * nout) if bias else None


class Sequential(list):
    def __init__(self, *parts):
        super().__init__(parts)


class Setting:
    def __init__(self, **settings):
        vars(self).update(settings)


@pytest.fixture
def torch(monkeypatch):
    """PyTorch, or a stand-in that has nothing but what is asked for."""
    try:
        import torch
    except ImportError:
        kinds = {
            name: type(name, (Setting,), {})
            for name in (
                "ReLU",
                "LeakyReLU",
                "Tanh",
                "Sigmoid",
                "Softplus",
                "SiLU",
                "GELU",
                "ELU",
                "Identity",
                "Dropout",
            )
        }
        no_grad = type("no_grad", (), {"__enter__": lambda self: None, "__exit__": lambda *_: None})
        torch = types.SimpleNamespace(
            nn=types.SimpleNamespace(Linear=Linear, Sequential=Sequential, **kinds),
            no_grad=no_grad, float64="float64", tensor=lambda numbers, dtype: Array(numbers),
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "torch", torch)
    return torch


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "elu"])
def test_a_model_survives_the_way_there_and_back(torch, activation):
    model = nn.MLP(3, [4, 2], activation=activation, seed=0)
    sequential = export.torch(model)
    assert [type(part).__name__ for part in sequential][::2] == ["Linear", "Linear"]
    assert len(list(sequential)) == 3
    back = nn.MLP.from_torch(sequential)
    assert back.state_dict() == model.state_dict()
    assert [layer.activation for layer in back.layers] == [activation, "linear"]
    assert [v.data for v in back([0.1, -0.7, 2.0])] == [v.data for v in model([0.1, -0.7, 2.0])]


def test_real_pytorch_computes_the_same():
    torch = pytest.importorskip("torch")
    for activation in ("relu", "leaky_relu", "softplus", "gelu", "elu"):
        model = nn.MLP(3, [8, 2], activation=activation, seed=0)
        x = [0.1, -0.7, 2.0]
        found = export.torch(model)(torch.tensor(x, dtype=torch.float64)).tolist()
        assert found == pytest.approx([v.data for v in model(x)], rel=1e-12)


def test_what_is_another_function_is_refused(torch):
    with pytest.raises(NotImplementedError, match="the activation sin: PyTorch has no module for it"):
        export.torch(nn.MLP(2, [2, 1], activation="sin"))
    with pytest.raises(TypeError, match=r"takes an nn.MLP or an nn.Layer, got 3"):
        export.torch(3)
    leaky = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.LeakyReLU(negative_slope=0.01))
    with pytest.raises(ValueError, match=r"layer 1 is a LeakyReLU with negative_slope=0.01, here 'leaky_relu' has 0.1"):
        nn.MLP.from_torch(leaky)
    with pytest.raises(TypeError, match="Linear layers with a bias"):
        nn.MLP.from_torch(torch.nn.Sequential(torch.nn.Linear(2, 1, bias=False)))
    with pytest.raises(TypeError, match="layer 0 is"):
        nn.MLP.from_torch(torch.nn.Sequential(torch.nn.Tanh(), torch.nn.Linear(2, 1)))


def test_without_pytorch_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pip install torch"):
        export.torch(nn.MLP(2, [1]))


def renamed(model, *names):
    """The state of a model by other names, in another order."""
    state = model.state_dict()
    return dict(reversed([(name, state[own]) for own, name in zip(state, names, strict=True)]))


def test_the_names_of_a_sequential_are_taken_in_order():
    model, twin = nn.MLP(2, [12, 1], seed=0), nn.MLP(2, [12, 1], seed=1)
    for names in (
        ("0.weight", "0.bias", "2.weight", "2.bias"), ("net.2.weight", "net.2.bias", "net.10.weight", "net.10.bias"),
        ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"),
    ):  # fmt: skip
        twin = nn.MLP(2, [12, 1], seed=1)
        twin.load_state_dict(renamed(model, *names))
        assert twin.state_dict() == model.state_dict()


def test_two_sequences_and_other_shapes_are_refused():
    model = nn.MLP(2, [2, 2], seed=0)
    before = model.state_dict()
    two = renamed(model, "a.0.weight", "a.0.bias", "b.0.weight", "b.0.bias")
    with pytest.raises(ValueError, match=r"ambiguous: the names begin with 'a.', 'b.'; rename them to layers.0.weight"):
        model.load_state_dict(two)
    with pytest.raises(ValueError, match=r"missing: layers.0.bias"):
        model.load_state_dict({"0.weight": [[1.0, 2.0]] * 2, "0.bias": [0.0] * 2})
    with pytest.raises(ValueError, match="missing"):
        model.load_state_dict(renamed(nn.MLP(2, [3, 2]), "0.weight", "0.bias", "2.weight", "2.bias"))
    assert model.state_dict() == before


def test_load_reads_a_file_with_the_names_of_a_sequential(tmp_path):
    np, safetensors = pytest.importorskip("numpy"), pytest.importorskip("safetensors.numpy")
    model, twin = nn.MLP(2, [3, 1], seed=0), nn.MLP(2, [3, 1], seed=1)
    state = renamed(model, "0.weight", "0.bias", "2.weight", "2.bias")
    safetensors.save_file({name: np.array(x) for name, x in state.items()}, tmp_path / "m.safetensors")
    load(twin, tmp_path / "m.safetensors")
    assert twin.state_dict() == model.state_dict()
    with pytest.raises(ValueError, match="holds another model"):
        load(nn.MLP(2, [4, 1]), tmp_path / "m.safetensors")
    save(model, tmp_path / "own.safetensors")
    load(twin, tmp_path / "own.safetensors")
