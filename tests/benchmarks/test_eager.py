"""Eager speed and memory beside micrograd, interleaved in one process; the collector as Python ships it.

pytest tests/benchmarks/test_eager.py --benchmark-enable
"""

import gc
import itertools
import random
import statistics
import time
import tracemalloc

import pytest

from tinygrad_lite import Value, data, nn, optim

micrograd_engine = pytest.importorskip("micrograd.engine")
micrograd_nn = pytest.importorskip("micrograd.nn")


class SpelledNeuron(nn.Neuron):
    """A product and a sum per weight, as micrograd spells its neuron."""

    def __call__(self, x):
        return self.phi(sum((wi * xi for wi, xi in zip(self.w, x)), self.b))


class SpelledMLP(nn.MLP):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        for layer in self.layers:
            for neuron in layer.neurons:
                neuron.__class__ = SpelledNeuron

    def __call__(self, x):
        for layer in self.layers:
            x = [neuron(x) for neuron in layer.neurons]
        return x[0]


def micrograd_step(value, model, X, y):
    """Forward, backward and update in micrograd's own words, on either library's Values."""
    inputs = [list(map(value, row)) for row in X]
    losses = [(1 + -yi * score).relu() for yi, score in zip(y, map(model, inputs))]
    total = sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in model.parameters())
    model.zero_grad()
    total.backward()
    for p in model.parameters():
        p.data -= 0.1 * p.grad
    return total.data


def our_step(model, opt, parameters, X, y):
    from tinygrad_lite import mean

    total = mean([nn.hinge(model(x), side) for x, side in zip(X, y)]) + nn.l2(parameters, 1e-4)
    opt.zero_grad()
    total.backward()
    opt.step()
    return total.data


def interleaved(functions, rounds):
    """name -> median seconds a step, the functions in turn. Each runs on for a few steps, the first of them
    untimed: what the collector has to clear up of a step falls into the next one's time, its maker's."""
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, (function, repeats) in functions.items():
            gc.collect()
            function()
            for _ in range(repeats):
                start = time.perf_counter()
                function()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def test_eager_moons_step_beside_micrograd(benchmark, capsys):
    X, y = data.moons(100, noise=0.1, seed=1)
    random.seed(1)
    theirs = micrograd_nn.MLP(2, [16, 16, 1])
    spelled, model = SpelledMLP(2, [16, 16, 1], seed=1), nn.MLP(2, [16, 16, 1], seed=1)
    parameters = model.parameters()
    opt = optim.SGD(parameters, lr=0.1)
    found = interleaved(
        {
            "micrograd": (lambda: micrograd_step(micrograd_engine.Value, theirs, X, y), 2),
            "spelled": (lambda: micrograd_step(Value, spelled, X, y), 4),
            "MLP": (lambda: our_step(model, opt, parameters, X, y), 10),
        },
        rounds=9,
    )
    benchmark.pedantic(our_step, (model, opt, parameters, X, y), rounds=20)
    with capsys.disabled():
        print("\n| one step on the moons, eager | ms | micrograd / this |\n|---|---|---|")
        for name, seconds in found.items():
            print(f"| {name} | {seconds * 1e3:.1f} | {found['micrograd'] / seconds:.1f} |")
    assert found["micrograd"] / found["spelled"] >= 6
    assert found["micrograd"] / found["MLP"] >= 60


@pytest.mark.parametrize("value", [micrograd_engine.Value, Value], ids=["micrograd", "tinygrad_lite"])
def test_bytes_per_two_operand_node(value, capsys):
    xs = [value(float(i) + 0.5) for i in range(2000)]
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    nodes = [x * y for x, y in itertools.pairwise(xs)]
    for node in nodes:
        node.backward()
    used = (tracemalloc.get_traced_memory()[0] - before) / len(nodes)
    tracemalloc.stop()
    with capsys.disabled():
        print(f"\n{value.__module__}: {used:.0f} bytes a node")
    if value is Value:
        assert used <= 350
