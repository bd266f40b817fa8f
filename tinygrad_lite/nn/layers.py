"""Neurons, layers and multi-layer perceptrons, made of Values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import expect
from ..engine import Number, Value, affine
from ..ops import dot
from .activations import Activation, activation_function, activation_name
from .from_torch import layers_of
from .initialisers import Init, Seed, generator, initialiser
from .module import Module
from .tensors import Tensor


class Neuron(Module):
    """activation(w . x + b).

    Parameters
    ----------
    nin : how many inputs.
    activation : a name of `ACTIVATIONS`, or a function of one Value.
    init : a name of `INITS`, or a function (nin, rng) -> one weight. The bias starts at 0.
    seed : None draws from `random`, so random.seed() reproduces.
    nonlin : False is micrograd's way to say activation="linear".
    nout : how many neurons its layer has, which init="xavier_uniform" asks.

    >>> n = Neuron(2, activation="linear", seed=1)
    >>> n.w[0].data, n.w[1].data, n.b.data = 2.0, -1.0, 0.5
    >>> n([3, 4]).data
    2.5
    """

    def __init__(
        self, nin: int, activation: Activation = "relu", init: str | Init | None = None, seed: Seed = None,
        nonlin: bool = True, nout: int = 1,
    ) -> None:  # fmt: skip
        nin, rng, weight = expect.whole("nin", nin, of="inputs"), generator(seed), initialiser(init)
        self.activation = activation if nonlin else "linear"
        self.phi = activation_function(self.activation)
        self.w = [Value(weight(nin, nout, rng)) for _ in range(nin)]
        self.b = Value(0.0)

    @property
    def nonlin(self) -> bool:
        return self.activation != "linear"

    def __call__(self, x: Sequence[Number]) -> Value:
        """x: nin numbers or Values. Returns one Value."""
        x = expect.inputs("Neuron", len(self.w), x)
        return self.phi(dot(self.w, x, self.b))

    def __repr__(self) -> str:
        return f"Neuron({len(self.w)}, activation={activation_name(self.activation)!r})"


class Layer(Module):
    """nout neurons that read the same nin inputs: activation(W x + b), W of shape (nout, nin).

    Parameters
    ----------
    nin, nout : how many inputs, and how many neurons.
    activation, init, seed, nonlin : as for a Neuron.
    """

    def __init__(
        self, nin: int, nout: int, activation: Activation = "relu", init: str | Init | None = None,
        seed: Seed = None, nonlin: bool = True,
    ) -> None:  # fmt: skip
        nout, rng = expect.whole("nout", nout, of="outputs"), generator(seed)
        self.neurons = [Neuron(nin, activation, init, rng, nonlin, nout) for _ in range(nout)]

    @property
    def activation(self) -> Activation:
        """That of its neurons."""
        return self.neurons[0].activation

    def outputs(self, x: Sequence[Number]) -> list[Value]:
        """x: nin numbers or Values. Returns nout Values, also where nout is 1."""
        neurons = self.neurons
        x = expect.inputs("Layer", len(neurons[0].w), x)
        zs = affine([n.w for n in neurons], x, [n.b for n in neurons])
        return [n.phi(z) for n, z in zip(neurons, zs)]

    def __call__(self, x: Sequence[Number]) -> Any:
        """x: nin numbers or Values. Returns nout Values, or the one Value of a single neuron."""
        out = self.outputs(x)
        return out[0] if len(out) == 1 else out

    def stacked(self) -> dict[str, Tensor]:
        return {"weight": [n.w for n in self.neurons], "bias": [n.b for n in self.neurons]}

    def __repr__(self) -> str:
        return f"Layer({len(self.neurons[0].w)}, {len(self.neurons)}, activation={activation_name(self.activation)!r})"


class MLP(Module):
    """A multi-layer perceptron: nin inputs, then layers of nouts[0], nouts[1], ... neurons.

    Parameters
    ----------
    nin, nouts : how many inputs, and how many neurons in each layer.
    activation, output : the activation of the hidden layers, and of the last.
    init, seed : as for a Neuron.

    >>> model = MLP(2, [16, 16, 1], seed=0)
    >>> len(model.parameters()), type(model([1.0, -1.0])).__name__
    (337, 'Value')
    """

    def __init__(
        self, nin: int, nouts: Sequence[int], activation: Activation = "relu", output: Activation = "linear",
        init: str | Init | None = None, seed: Seed = None,
    ) -> None:  # fmt: skip
        if not hasattr(nouts, "__len__") or not len(nouts):
            raise ValueError(f"MLP expects a list of layer sizes such as [16, 16, 1], got {nouts!r}")
        activation_function(activation)  # also where there is no hidden layer to use it
        rng, sizes = generator(seed), [nin, *nouts]
        activations = [activation] * (len(nouts) - 1) + [output]
        self.layers = [Layer(m, n, phi, init, rng) for m, n, phi in zip(sizes, nouts, activations)]

    @classmethod
    def from_torch(cls, sequential: Any) -> MLP:
        """The MLP that a PyTorch nn.Sequential of Linear layers and activations is, with its numbers."""
        found = layers_of(sequential)
        model = cls(found[0].nin, [layer.nout for layer in found])
        model.layers = [Layer(layer.nin, layer.nout, layer.activation) for layer in found]
        model.load_state_dict({f"layers.{i}.{k}": x for i, layer in enumerate(found) for k, x in layer.state.items()})
        return model

    def __call__(self, x: Sequence[Number]) -> Any:
        """x: nin numbers or Values. Returns the last layer's Values, or its one Value."""
        x = expect.inputs("MLP", len(self.layers[0].neurons[0].w), x)
        for layer in self.layers[:-1]:
            x = layer.outputs(x)
        return self.layers[-1](x)

    def __repr__(self) -> str:
        rows = [f"  layers.{i}  {layer!r}" for i, layer in enumerate(self.layers)]
        counts = [len(layer.parameters()) for layer in self.layers]
        width = max(map(len, rows))
        lines = [f"{row:<{width}}  {count:>7,}" for row, count in zip(rows, counts)]
        return "\n".join(["MLP", *lines, f"{'  parameters':<{width}}  {sum(counts):>7,}"])
