"""The plain engine, without fast.py: the same bits, and the engine's own tests pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_lite import engine, fast, ops

ROOT = Path(__file__).parent.parent
WITHOUT_FAST = "import sys; sys.modules['tinygrad_lite.fast'] = None\n"

BITS = """
from random import Random
from tinygrad_lite import Value, data, engine, mean, nn, ops

rng, out = Random(1), []
for op in ops.OPS:
    if op.arity > 0:
        for _ in range(20):
            xs = [Value(rng.uniform(-2.0, 2.0)) for _ in op.partials]
            methods = {"power": "__pow__", "div": "__truediv__", "less": "__lt__", "less_equal": "__le__"}
            methods["floor_div"] = "__floordiv__"
            method = methods.get(op.name) or (op.name if op.name not in ops.OPERATORS else f"__{op.name}__")
            made = getattr(type(xs[0]), method, op)(*xs)
            if not isinstance(made, Value):
                made = op(*xs)
            mixed = [3.0 / made, 2 - made, made * 0.5, made + 1]
            mean([made, *mixed]).backward()
            out += [made.data, made.local_grads, *[x.grad for x in xs], *[(m.data, m.local_grads) for m in mixed]]
X, y = data.moons(30, seed=1)
model = nn.MLP(2, [8, 8, 1], activation="tanh", seed=0)
loss = mean([nn.hinge(model(x), t) for x, t in zip(X, y)])
loss.backward()
out += [loss.data, *[p.grad for p in model.parameters()]]
print(repr(out))
"""


def run(program, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


def test_fast_is_installed_over_the_plain_operators():
    for function in engine.Value.__add__, engine.Value.tanh, engine.affine:
        assert function.__code__.co_filename == fast.__file__


def test_both_paths_give_the_same_bits():
    assert run(BITS) == run(WITHOUT_FAST + BITS)


@pytest.mark.long
def test_the_engine_passes_its_tests_on_the_plain_path():
    program = WITHOUT_FAST + "import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    said = run(program, "-q", "--long", "-n0", "tests/test_engine.py", "-k", "not million and not scale and not depth")
    assert " passed" in said and "failed" not in said


def test_every_operation_of_one_operand_has_a_recorder():
    for op in ops.OPS:
        if op.arity == 1 and op is not ops.round_:
            name = f"__{op.name}__" if op.name in ops.OPERATORS else op.name
            assert getattr(engine.Value, name).__code__.co_filename == fast.__file__, op
