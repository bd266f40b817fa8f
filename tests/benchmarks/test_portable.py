"""NumPy's backend beside native code and the engine: one process, one thread, interleaved, minima of processor time.

    pytest tests/benchmarks/test_portable.py

A step is the loss, all gradients and the SGD update of a full batch of 100 moons, inside fit, without compiling.
"""

import os

for _name in "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS":
    os.environ[_name] = "1"

import time

import pytest

from tinygrad_lite import data, fit, jit, nn, optim

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

WAYS = {
    "native": ({"backend": "native"}, 5000), "numpy": ({"backend": "numpy"}, 500), "eager": ({"compiled": False}, 4),
}  # fmt: skip
TIMES_NATIVE, TIMES_EAGER, SECONDS = 40.0, 1 / 30.0, 5.0


def seconds_a_step(options, epochs):
    """From the first half's end to the end, so that recording and compiling do not count."""
    X, y = data.moons(100, noise=0.1, seed=0)
    model, clock = nn.MLP(2, [16, 16, 1], activation="relu", seed=0), []

    def note(epoch, history):
        clock.append((time.process_time(), history.steps))

    opt = optim.SGD(model.parameters(), 0.1)
    fit(lambda x, t: nn.hinge(model(x), t), opt, X, y, epochs=epochs, every=epochs // 2, callback=note, progress=False,
        **options)  # fmt: skip
    (start, first), (end, last) = clock
    return (end - start) / (last - first)


def test_a_moons_step(capsys):
    found = {name: float("inf") for name in WAYS}
    for _ in range(7):
        for name, way in WAYS.items():
            found[name] = min(found[name], seconds_a_step(*way))
    with capsys.disabled():
        print("\nmoons step:", ", ".join(f"{name} {seconds * 1e6:,.1f} us" for name, seconds in found.items()))
        print(f"numpy / native {found['numpy'] / found['native']:.1f}, bar {TIMES_NATIVE:g}")
        print(f"eager / numpy {found['eager'] / found['numpy']:.0f}, bar {1 / TIMES_EAGER:.0f}")
    assert found["numpy"] <= TIMES_NATIVE * found["native"]
    assert found["numpy"] <= TIMES_EAGER * found["eager"]


def test_the_gradient_of_a_million_examples(capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10**6, 2))
    y = np.where(X[:, 0] * X[:, 1] > 0.0, 1.0, -1.0)
    model = nn.MLP(2, [16, 16, 1], activation="relu", seed=0)
    f = jit(lambda x, t: nn.hinge(model(x), t), backend="numpy")
    f.value_and_grad(X[:100], y[:100])
    start = time.perf_counter()
    f.value_and_grad(X, y)
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\na million examples, all 337 gradients: {seconds:.2f} s, bar {SECONDS:g} s")
    assert seconds <= SECONDS
