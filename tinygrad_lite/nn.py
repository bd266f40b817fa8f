"""Neurons, layers and multi-layer perceptrons made of Values, and the losses that train them."""

from __future__ import annotations

import functools
import math
import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from numbers import Integral
from typing import Any, cast

from . import ops
from .engine import Value, affine, current_scope

Init = Callable[[int, random.Random], float]

# nin, nout, generator -> one weight. Biases start at 0.
INITS: dict[str, Callable[[int, int, random.Random], float]] = {
    # the lectures' N(0, sigma^2 / m) with sigma = 1: z keeps the variance of x (LeCun et al. 1998)
    "lecun_normal": lambda nin, nout, rng: rng.gauss(0.0, math.sqrt(1.0 / nin)),
    "uniform": lambda nin, nout, rng: rng.uniform(-1.0, 1.0),  # micrograd's
    "xavier_uniform": lambda nin, nout, rng: rng.uniform(-1.0, 1.0) * math.sqrt(6.0 / (nin + nout)),
    "he_normal": lambda nin, nout, rng: rng.gauss(0.0, math.sqrt(2.0 / nin)),  # for ReLU (He et al. 2015)
}


def silu(x: Any) -> Any:
    """x * sigmoid(x) (Hendrycks and Gimpel 2016)."""
    return x * ops.sigmoid(x)


# methods of Value where there are some: they skip the detour through Op.__call__
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda z: z,
    "relu": Value.relu,
    "leaky_relu": Value.leaky_relu,
    "tanh": Value.tanh,
    "sigmoid": Value.sigmoid,
    "softplus": Value.softplus,
    "silu": silu,
    "sin": Value.sin,
    "sign": Value.sign,
    "step": Value.step,
}
Activation = str | Callable[[Any], Any]


def _remembered(call: Callable[..., Any]) -> Callable[..., Any]:
    """A module's __call__ whose results know that it made them."""

    @functools.wraps(call)
    def remembered(self: Module, *inputs: Any, **options: Any) -> Any:
        out = call(self, *inputs, **options)
        this = self, inputs, current_scope()
        if isinstance(out, Value):
            out.call = this
        else:
            for part in _flat(out):
                if isinstance(part, Value):
                    part.call = this
        return out

    return remembered


class Module:
    """A part of a network: finds the Values in its attributes, in lists and in modules below.

    What a module's `__call__` returns remembers that call, so that a picture can fold it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__call__" in vars(cls):
            cls.__call__ = _remembered(vars(cls)["__call__"])  # type: ignore[method-assign]

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """(path, module) of this module ("") and of every module below, such as ("layers.0", Layer)."""
        yield from _walk("", self, set(), Module)

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """(path, Value) of every parameter, such as ("layers.0.neurons.3.w.1", Value); each Value once.

        A parameter is a leaf: what was computed, like an output that a module keeps, is none.
        """
        seen: set[Value] = set()
        for name, value in _walk("", self, set(), Value):
            if value.op is None and value not in seen:
                seen.add(value)
                yield name, value

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of the attributes."""
        return [value for _, value in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients, as before every backward pass of a training step."""
        for p in self.parameters():
            p.zero_grad()

    def tensors(self) -> dict[str, Any]:
        """Parameters as PyTorch names and shapes them: name -> a Value, or nested lists of Values."""
        found: dict[str, Any] = {}
        for name, attribute in vars(self).items():
            for path, part in _modules_and_tensors(name, attribute):
                if isinstance(part, Module):
                    found |= {f"{path}.{inner}": tensor for inner, tensor in part.tensors().items()}
                else:
                    found[path] = part
        return found

    def state_dict(self) -> dict[str, Any]:
        """The numbers in `tensors()`: {"layers.0.weight": nout lists of nin floats, "layers.0.bias": ...}"""
        return {name: _map(lambda v: v.data, tensor) for name, tensor in self.tensors().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over the numbers of a `state_dict`. ValueError, and nothing changed, where names or
        shapes differ; TypeError where something is not a number."""
        tensors = self.tensors()
        missing, unknown = tensors.keys() - state.keys(), state.keys() - tensors.keys()
        if missing or unknown:
            raise ValueError(
                f"this model has {_names(tensors)}; the state has {_names(state)}"
                + (f"; missing: {_names(missing)}" if missing else "")
                + (f"; unknown: {_names(unknown)}" if unknown else "")
            )
        values: list[Value] = []
        numbers: list[float] = []
        for name, tensor in tensors.items():
            expected, got = shape(tensor), shape(state[name])
            if expected != got:
                raise ValueError(f"{name} has shape {expected} in this model, got shape {got}")
            values += _flat(tensor)
            numbers += map(ops.as_float, _flat(state[name]))
        # one call into C, so that Ctrl-C cannot fall between two parameters
        deque(map(setattr, values, repeat("data"), numbers), maxlen=0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.parameters())} parameters)"


class Neuron(Module):
    """activation(w . x + b).

    nin: how many inputs. activation: a name of `ACTIVATIONS`, or a function of one Value. init: a name
    of `INITS`, or a function (nin, rng) -> one weight. seed: None draws from `random`, so random.seed()
    reproduces. nonlin=False: micrograd's way to say activation="linear".

    >>> n = Neuron(2, activation="linear", seed=1)
    >>> n.w[0].data, n.w[1].data, n.b.data = 2.0, -1.0, 0.5
    >>> n([3, 4]).data
    2.5
    """

    def __init__(
        self,
        nin: int,
        activation: Activation = "relu",
        init: str | Init | None = None,
        seed: int | random.Random | None = None,
        nonlin: bool = True,
        nout: int = 1,
    ) -> None:
        _check_size("Neuron", "inputs", nin)
        rng = _generator(seed)
        draw = _initialiser(init)
        self.activation = activation if nonlin else "linear"
        self._phi = _activation(self.activation)
        self.w = [Value(draw(nin, nout, rng)) for _ in range(nin)]
        self.b = Value(0.0)

    @property
    def nonlin(self) -> bool:
        return self.activation != "linear"

    def __call__(self, x: Sequence[Any]) -> Value:
        """x: nin numbers or Values. Returns one Value."""
        x = _check_inputs("Neuron", len(self.w), x)
        return self._phi(ops.dot(self.w, x, self.b))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"Neuron({len(self.w)}, activation={activation_name(self.activation)!r})"


class Layer(Module):
    """nout neurons that read the same nin inputs: activation(W x + b), W of shape (nout, nin)."""

    def __init__(
        self,
        nin: int,
        nout: int,
        activation: Activation = "relu",
        init: str | Init | None = None,
        seed: int | random.Random | None = None,
        nonlin: bool = True,
    ) -> None:
        _check_size("Layer", "outputs", nout)
        rng = _generator(seed)
        self.neurons = [Neuron(nin, activation, init, rng, nonlin, nout) for _ in range(nout)]

    @property
    def activation(self) -> Activation:
        """That of its neurons."""
        return self.neurons[0].activation

    def outputs(self, x: Sequence[Any]) -> list[Value]:
        """x: nin numbers or Values. Returns nout Values, also where nout is 1."""
        neurons = self.neurons
        x = _check_inputs("Layer", len(neurons[0].w), x)
        zs = affine([n.w for n in neurons], x, [n.b for n in neurons])
        return [n._phi(z) for n, z in zip(neurons, zs)]

    def __call__(self, x: Sequence[Any]) -> Any:
        """x: nin numbers or Values. Returns nout Values, or the one Value of a single neuron."""
        out = self.outputs(x)
        return out[0] if len(out) == 1 else out

    def tensors(self) -> dict[str, Any]:
        return {"weight": [n.w for n in self.neurons], "bias": [n.b for n in self.neurons]}

    def __repr__(self) -> str:
        return f"Layer({len(self.neurons[0].w)}, {len(self.neurons)}, activation={activation_name(self.activation)!r})"


class MLP(Module):
    """A multi-layer perceptron: nin inputs, then layers of nouts[0], nouts[1], ... neurons.

    activation: of the hidden layers; output: of the last. init, seed: as for a Neuron.

    >>> model = MLP(2, [16, 16, 1], seed=0)
    >>> len(model.parameters()), type(model([1.0, -1.0])).__name__
    (337, 'Value')
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int],
        activation: Activation = "relu",
        output: Activation = "linear",
        init: str | Init | None = None,
        seed: int | random.Random | None = None,
    ) -> None:
        if not hasattr(nouts, "__len__") or not len(nouts):
            raise ValueError(f"MLP expects a list of layer sizes such as [16, 16, 1], got {nouts!r}")
        rng = _generator(seed)
        sizes = [nin, *nouts]
        last = len(nouts) - 1
        self.layers = [
            Layer(sizes[i], sizes[i + 1], output if i == last else activation, init, rng) for i in range(len(nouts))
        ]

    def __call__(self, x: Sequence[Any]) -> Any:
        """x: nin numbers or Values. Returns the last layer's Values, or its one Value."""
        x = _check_inputs("MLP", len(self.layers[0].neurons[0].w), x)
        for layer in self.layers[:-1]:
            x = layer.outputs(x)
        return self.layers[-1](x)

    def __repr__(self) -> str:
        rows = [f"  layers.{i}  {layer!r}" for i, layer in enumerate(self.layers)]
        counts = [len(layer.parameters()) for layer in self.layers]
        width = max(map(len, rows))
        lines = [f"{row:<{width}}  {count:>7,}" for row, count in zip(rows, counts)]
        return "\n".join(["MLP", *lines, f"{'  parameters':<{width}}  {sum(counts):>7,}"])


# --- losses: of one example; average them with `mean`


def mse(prediction: Any, target: Any) -> Any:
    """(f - y)^2; for two lists of one length, the mean of it over their entries (lecture 004)."""
    terms = [(f - y) ** 2 for f, y in _pairs("mse", prediction, target)]
    return terms[0] if len(terms) == 1 else ops.mean(terms)


def half_squared_error(prediction: Any, target: Any) -> Any:
    """1/2 (f - y)^2, whose derivative is f - y; for lists, the sum of it (lectures 001 and 003)."""
    terms = [0.5 * (f - y) ** 2 for f, y in _pairs("half_squared_error", prediction, target)]
    return terms[0] if len(terms) == 1 else ops.total(terms)


def hinge(score: Any, y: Any) -> Any:
    """max(0, 1 - y score) for a class y of -1 or 1 (Cortes and Vapnik 1995).

    >>> hinge(0.25, -1)
    1.25
    """
    _demand(
        y,
        lambda y: y in (-1.0, 1.0),
        lambda y: f"hinge expects the class y as -1 or 1, got {y:g}; for labels 0 and 1 write 2 * y - 1",
    )
    return ops.relu(1.0 - y * _one_score("hinge", score))


def bce_with_logits(z: Any, t: Any) -> Any:
    """-t log s - (1 - t) log(1 - s) with s = sigmoid(z), for a target t from 0 to 1; no overflow."""
    _demand(
        t,
        lambda t: 0.0 <= t <= 1.0,
        lambda t: f"bce_with_logits expects a target from 0 to 1, got {t:g}; for labels -1 and 1 write (y + 1) / 2",
    )
    z = _one_score("bce_with_logits", z)
    if not isinstance(t, Value) and t in (0.0, 1.0):
        return ops.softplus(z if t == 0.0 else -z)
    return t * ops.softplus(-z) + (1.0 - t) * ops.softplus(z)


def cross_entropy(zs: Sequence[Any], k: Any) -> Any:
    """-log softmax(zs)[k]: scores zs, one per class, and the class k as a whole number from 0.

    >>> round(cross_entropy([0.0, 0.0], 1), 6)
    0.693147
    """
    zs = _scores("cross_entropy", zs)
    if isinstance(k, (list, tuple)) or getattr(k, "ndim", 0) > 0:
        raise TypeError(
            f"cross_entropy expects the class as one number, got {list(k)}; of a one-hot list it is k.index(1)"
        )
    _demand(
        k,
        lambda k: k in range(len(zs)),
        lambda k: f"cross_entropy expects a class from 0 to {len(zs) - 1}, got {k:g}",
    )
    return ops.logsumexp(zs) - ops.pick(k, zs)


def softmax(zs: Sequence[Any]) -> list[Any]:
    """exp(z) / sum of exp, for each z: positive, sums to 1, and safe where exp(z) overflows."""
    zs = _scores("softmax", zs)
    log_sum = ops.logsumexp(zs)
    return [ops.exp(z - log_sum) for z in zs]


def l1(parameters: Iterable[Any], strength: float = 1.0) -> Any:
    """strength * sum of |p|."""
    return strength * ops.total([abs(p) for p in _listed("l1", parameters)])


def l2(parameters: Iterable[Any], strength: float = 1.0) -> Any:
    """strength * sum of p^2."""
    parameters = _listed("l2", parameters)
    return strength * ops.dot(parameters, parameters)


def accuracy(outputs: Sequence[Any], targets: Sequence[Any]) -> float:
    """The share of right answers, from 0 to 1.

    outputs: one score per example, right where its sign is the target's (-1 or 1); or a list of scores
    per example, right where the largest stands at the target's place (0, 1, 2, ...). ValueError for a
    target that no such place can be.
    """
    if len(outputs) != len(targets) or not len(outputs):
        raise ValueError(f"accuracy expects as many outputs as targets, got {len(outputs)} and {len(targets)}")
    right = 0
    for output, target in zip(outputs, targets):
        if not hasattr(output, "__len__"):
            right += (output > 0) == (target > 0)
        else:
            numbers = [z.data if isinstance(z, Value) else z for z in output]
            if hasattr(target, "__len__") or target not in range(len(numbers)):
                raise ValueError(f"accuracy expects a class from 0 to {len(numbers) - 1}, got {target!r}")
            right += numbers.index(max(numbers)) == target
    return right / len(outputs)


# --- what the above share


def shape(tensor: Any) -> tuple[int, ...]:
    """() of a number, (n,) of a list of n, (m, n) of m lists of n; ValueError where it is ragged."""
    if not isinstance(tensor, (list, tuple)):
        return tuple(tensor.shape) if hasattr(tensor, "shape") else ()  # a NumPy array's
    inner = {shape(part) for part in tensor}
    if len(inner) > 1:
        raise ValueError(f"expected rows of one length, got rows of shapes {sorted(inner)}")
    return (len(tensor), *(inner.pop() if inner else ()))


def _walk(path: str, part: Any, entered: set[int], kind: type) -> Iterator[tuple[str, Any]]:
    """Depth first, each module once: (path, part) of every part of this kind."""
    if isinstance(part, Module):
        if id(part) in entered:
            return
        entered.add(id(part))
    if isinstance(part, kind):
        yield path, part
    if isinstance(part, Value):  # the usual case, spared the questions below
        return
    inside: Iterable[tuple[Any, Any]] = ()
    if isinstance(part, Module):
        inside = vars(part).items()
    elif isinstance(part, dict):
        inside = part.items()
    elif isinstance(part, (list, tuple)):
        inside = enumerate(part)
    for name, inner in inside:
        yield from _walk(f"{path}.{name}" if path else str(name), inner, entered, kind)


def _modules_and_tensors(path: str, part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Module) or _is_tensor(part):
        yield path, part
    elif isinstance(part, (list, tuple, dict)):
        for name, inner in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _modules_and_tensors(f"{path}.{name}", inner)


def _is_tensor(part: Any) -> bool:
    """Whether part is a parameter, or a list of them or of rows of one length, all the way down."""
    if isinstance(part, Value):
        return part.op is None
    return isinstance(part, (list, tuple)) and all(map(_is_tensor, part)) and len(set(map(shape, part))) == 1


def _flat(tensor: Any) -> Iterator[Any]:
    if hasattr(tensor, "tolist"):  # NumPy's and PyTorch's
        tensor = tensor.tolist()
    if isinstance(tensor, (list, tuple)):
        for part in tensor:
            yield from _flat(part)
    else:
        yield tensor


def _map(f: Callable[[Any], Any], tensor: Any) -> Any:
    return [_map(f, part) for part in tensor] if isinstance(tensor, (list, tuple)) else f(tensor)


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _listed(who: str, parameters: Any) -> list[Any]:
    if not isinstance(parameters, Iterable):
        got = type(parameters).__name__
        raise TypeError(f"{who} expects a list of Values, got one {got}: write model.parameters()")
    return list(parameters)


def _scores(who: str, zs: Any) -> list[Any]:
    if not isinstance(zs, Iterable):
        raise TypeError(f"{who} expects a list of scores, one per class, got {zs!r}; for one score bce_with_logits")
    return list(zs)


def _one_score(who: str, score: Any) -> Any:
    if isinstance(score, (list, tuple)):
        raise TypeError(f"{who} expects one score, got a list of {len(score)}; for several classes cross_entropy")
    return score


def _demand(target: Any, holds: Callable[[float], bool], message: Callable[[float], str]) -> None:
    """ValueError(message(target)) unless holds(target); of a recorded target it is asked later."""
    if isinstance(target, Value):
        target.demand(holds, message)
    elif not holds(ops.as_float(target)):
        raise ValueError(message(ops.as_float(target)))


def _check_size(who: str, what: str, n: Any) -> None:
    if not isinstance(n, Integral) or n < 1:
        raise ValueError(f"{who} expects a whole number of {what}, at least 1, got {n!r}")


def _check_inputs(who: str, nin: int, x: Any) -> Sequence[Any]:
    if isinstance(x, (Value, str)) or not hasattr(x, "__len__"):
        raise TypeError(f"{who} expects a list of {nin} inputs, got {x!r}; for one input write [x]")
    if len(x) and hasattr(x[0], "__len__") and not isinstance(x[0], str):
        raise TypeError(
            f"{who} expects {nin} inputs, got {len(x)} lists; for many examples write [model(x) for x in X]"
        )
    if len(x) != nin:
        raise ValueError(f"{who} expects {nin} inputs, got {len(x)}")
    return x  # type: ignore[no-any-return]


def _generator(seed: int | random.Random | None) -> random.Random:
    if seed is None:  # the generator behind random.gauss and random.uniform, so random.seed() reproduces
        return cast(random.Random, random.gauss.__self__)  # type: ignore[attr-defined]
    return seed if isinstance(seed, random.Random) else random.Random(seed)


def _initialiser(init: str | Init | None) -> Callable[[int, int, random.Random], float]:
    if callable(init):
        return lambda nin, nout, rng: init(nin, rng)
    name = "lecun_normal" if init is None else init
    if name not in INITS:
        raise ValueError(f"init is one of {', '.join(INITS)}, or a function of (nin, rng); got {init!r}")
    return INITS[name]


def _activation(activation: Activation) -> Callable[[Any], Any]:
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        names = ", ".join(ACTIVATIONS)
        raise ValueError(f"activation is one of {names}, or a function of a Value; got {activation!r}")
    return ACTIVATIONS[activation]


def activation_name(activation: Activation) -> str:
    return activation if isinstance(activation, str) else getattr(activation, "__name__", repr(activation))


def _pairs(who: str, prediction: Any, target: Any) -> list[tuple[Any, Any]]:
    prediction, target = (list(x) if getattr(x, "ndim", 0) else x for x in (prediction, target))
    lists = [isinstance(x, (list, tuple)) for x in (prediction, target)]
    if not any(lists):
        return [(prediction, target)]
    if not all(lists) or len(prediction) != len(target) or not prediction:
        raise ValueError(
            f"{who} expects two numbers, or two lists of one length, got "
            + " and ".join(
                f"{len(x)} numbers" if isinstance(x, (list, tuple)) else f"{x!r}" for x in (prediction, target)
            )
        )
    return list(zip(prediction, target))
