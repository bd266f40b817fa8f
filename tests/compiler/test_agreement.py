"""Random graphs over all operations: eager and compiled agree in value, gradient and Hessian."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lite import OPS, Value, grad, hessian, no_grad, ops
from tinygrad_lite.compiler import jit

from .error_bounds import error_bounds

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

inf, nan = math.inf, math.nan

UNARY = tuple(op for op in OPS if isinstance(op.partials, tuple) and len(op.partials) == 1)
BINARY = tuple(op for op in OPS if isinstance(op.partials, tuple) and len(op.partials) == 2)
TERNARY = (ops.where, ops.clip)
MANY = tuple(op for op in OPS if callable(op.partials))
EDGE_NUMBERS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-310, 1e-160, 1e160, 710.0, -745.2, inf, -inf, nan)
SMOOTH = (
    ops.add, ops.sub, ops.mul, ops.exp, ops.expm1, ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.softplus, ops.atan,
    ops.dot, ops.total, ops.mean, ops.logsumexp,
)  # fmt: skip


class Recipe:
    """A random function: `build(leaves)` makes the same graph from any placeholders.

    steps: (op, operands, with operands places among leaves and results so far, or numbers).
    """

    def __init__(self, r, leaves, nodes, operations=OPS, edges=0.15):
        self.steps = []
        self.leaves = leaves
        self.point = [self._number(r, edges) for _ in range(leaves)]
        for n in range(leaves, leaves + nodes):
            op = r.choice(operations)
            self.steps.append((op, self._operands(r, op, n, edges)))
        used = {x for _, xs in self.steps for x in xs if isinstance(x, int)}
        ends = [n for n in range(leaves, leaves + nodes) if n not in used]
        self.outputs = ends[-3:]

    def _number(self, r, edges):
        if r.random() < edges:
            return r.choice(EDGE_NUMBERS)
        return r.choice((r.uniform(-2.0, 2.0), r.uniform(0.1, 1.5), float(r.randint(-2, 3))))

    def _operands(self, r, op, n, edges):
        def one():
            if r.random() < 0.1:
                return self._number(r, edges / 3)
            # a line of recent nodes gives deep graphs, any node shared subexpressions
            return r.randrange(max(0, n - 4), n) if r.random() < 0.6 else r.randrange(n)

        if op in UNARY:
            return [self._place(r, n)]
        if op in BINARY:
            return [self._place(r, n), one()] if r.random() < 0.5 else [one(), self._place(r, n)]
        if op in TERNARY:
            return [one(), self._place(r, n), one()]
        size = r.choice((1, 2, 3, 5, 8, 13, 40))
        if op is ops.dot:
            size = 2 * size + r.randint(0, 1)
        if op is ops.pick:
            return [float(r.randrange(size)), self._place(r, n), *(one() for _ in range(size - 1))]
        return [self._place(r, n), *(one() for _ in range(size - 1))]

    def _place(self, r, n):
        return r.randrange(max(0, n - 4), n)

    def build(self, leaves):
        results = list(leaves)
        for op, places in self.steps:
            operands = [results[x] if isinstance(x, int) else x for x in places]
            # a result made of numbers alone cannot happen: one operand is a place
            results.append(Value.record(op, operands))
        return [results[i] for i in self.outputs]

    def scalar(self, leaves):
        outputs = self.build(leaves)
        return outputs[0] if len(outputs) == 1 else ops.total(outputs)

    def __repr__(self):
        lines = [f"v{i} = {x!r}" for i, x in enumerate(self.point)]
        for i, (op, xs) in enumerate(self.steps, self.leaves):
            lines.append(f"v{i} = {op.name}({', '.join(f'v{x}' if isinstance(x, int) else repr(x) for x in xs)})")
        return "\n".join([*lines, f"outputs {self.outputs}"])


class Tally:
    """How many numbers were compared, and how many stood aside near a jump or an overflow."""

    def __init__(self):
        self.compared = self.aside = self.not_finite = 0

    def check(self, what, got, eager, bound, recipe):
        if bound == inf:
            self.aside += 1
        elif not math.isfinite(eager):
            self.not_finite += 1
            assert not math.isfinite(got), f"{what}: eager {eager!r}, compiled {got!r}\n{recipe}"
        else:
            self.compared += 1
            assert abs(got - eager) <= bound, (
                f"{what}: eager {eager!r}, compiled {got!r}, {abs(got - eager) / max(bound, 5e-324):.3g} bounds away\n"
                f"{recipe}"
            )


def compare(recipe, tally, strict=True, second=True):
    leaves = [Value(x) for x in recipe.point]
    outputs = recipe.build(leaves)
    out = recipe.scalar(leaves)
    first = grad(out, leaves)
    rows = hessian(out, leaves) if second else []
    flat = [h for row in rows for h in row]
    bound = error_bounds([*outputs, out, *first, *flat], strict=strict)

    def everything(*xs):
        out = recipe.scalar(xs)
        rows = hessian(out, xs) if second else []
        return [*recipe.build(xs), out, *grad(out, xs), *[h for row in rows for h in row]]

    # three examples, the other two of other numbers: lanes must not mix
    columns = [np.array([0.5, x, -1.0]) for x in recipe.point]
    with np.errstate(all="ignore"):
        found = jit(everything, strict=strict).batch(*columns)[1].tolist()
    names = [f"output {i}" for i in range(len(outputs))] + ["total"]
    names += [f"gradient {i}" for i in range(len(leaves))]
    names += [f"Hessian {i}, {j}" for i in range(len(leaves)) for j in range(len(leaves)) if second]
    for name, got, node in zip(names, found, [*outputs, out, *first, *flat], strict=True):
        tally.check(name, got, node.data, bound[node], recipe)

    # the compiler's own gradient, of parameters
    parameters = [Value(x) for x in recipe.point]
    mean = jit(lambda: recipe.scalar(parameters), strict=strict).mean()
    tally.check("mean", mean.data, out.data, bound[out], recipe)
    if mean.args:
        mean.backward()
        out.backward()
        for i, (p, x, g) in enumerate(zip(parameters, leaves, first)):
            tally.check(f"backward {i}", p.grad, x.grad, 2.0 * bound[g], recipe)


def enough(tally, compared, aside):
    assert tally.compared >= compared, vars(tally)
    assert tally.aside <= aside * (tally.compared + tally.not_finite), vars(tally)


@pytest.mark.parametrize("seed", range(5))
def test_random_graphs_agree_in_value_gradient_and_hessian(seed):
    r, tally = Random(seed), Tally()
    for _ in range(30):
        compare(Recipe(r, leaves=r.randint(1, 4), nodes=r.randint(1, 9)), tally)
    enough(tally, compared=200, aside=1.0)


@pytest.mark.parametrize("seed", range(4))
def test_larger_random_graphs_agree_in_value_and_gradient(seed):
    r, tally = Random(100 + seed), Tally()
    for _ in range(15):
        compare(Recipe(r, leaves=r.randint(1, 6), nodes=r.randint(10, 30), edges=0.05), tally, second=False)
    enough(tally, compared=50, aside=2.0)


def test_graphs_of_edge_values_agree():
    r, tally = Random("edges"), Tally()
    for _ in range(60):
        compare(Recipe(r, leaves=r.randint(1, 3), nodes=r.randint(1, 3), edges=1.0), tally)
    enough(tally, compared=300, aside=0.5)
    assert tally.not_finite >= 100


@pytest.mark.parametrize("seed", range(2))
def test_smooth_random_graphs_agree_in_the_default_mode(seed):
    r, tally = Random(200 + seed), Tally()
    for _ in range(25):
        recipe = Recipe(r, leaves=r.randint(1, 4), nodes=r.randint(1, 9), operations=SMOOTH, edges=0.0)
        compare(recipe, tally, strict=False)
    enough(tally, compared=200, aside=0.3)


@settings(derandomize=True, deadline=None, max_examples=40, database=None)
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.integers(1, 6))
def test_any_graph_agrees(r, leaves, nodes):
    compare(Recipe(r, leaves, nodes), Tally())


def test_a_dot_reads_what_its_own_loop_has_just_computed():
    # the adjoint of e is dot([1, 1], [cos e, 1/2]): one operand a constant, one made in the same loop
    def f(x):
        e = ops.exp(x)
        out = ops.sin(e) + ops.mean([e, x])
        return [out, *grad(out, [x])]

    e = math.exp(0.7)
    expected = [math.sin(e) + (e + 0.7) / 2, e * (math.cos(e) + 0.5) + 0.5]
    assert jit(f, strict=True).batch([0.7])[0].tolist() == pytest.approx(expected, rel=1e-14)


# --- selection: what was not chosen sends nothing, not 0 x inf


POISONED = {
    "relu(log x)": (lambda x: ops.relu(ops.log(x)), (0.0, 0.5, 2.0, -1.0, 1e-320)),
    "where(x > 0, log x, 0)": (lambda x: ops.where(x > 0, ops.log(x), 0.0), (0.0, 0.5, 2.0, -1.0)),
    "where(x <= 0, 0, sqrt x)": (lambda x: ops.where(x <= 0, 0.0, ops.sqrt(x)), (0.0, 0.5, 2.0, -1.0)),
    "where(x < 1, x, x / (x - 1))": (lambda x: ops.where(x < 2, x, x / (x - 1)), (1.0, 0.0, 3.0)),
    "maximum(log x, -3)": (lambda x: ops.maximum(ops.log(x), -3.0), (0.0, 1e-9, 0.5, 2.0)),
    "minimum(-log x, 3)": (lambda x: ops.minimum(-ops.log(x), 3.0), (0.0, 1e-9, 0.5, 2.0)),
    "clip(log x, -3, 3)": (lambda x: ops.clip(ops.log(x), -3.0, 3.0), (0.0, 1e-9, 0.5, 1e9)),
    "clip(1 / x, -3, 3)": (lambda x: ops.clip(1 / x, -3.0, 3.0), (0.0, -0.0, 1.0, 0.1, -0.1)),
    "pick(step x, [1, sqrt x])": (lambda x: ops.pick(ops.step(x), [x * x, ops.sqrt(x)]), (0.0, 1.0, -1.0, 0.3)),
    "leaky_relu(log x, 0)": (lambda x: x * ops.relu(1 - 1 / x), (0.0, 2.0, 1.0, 0.5)),
    "used by a selected and an unselected path": (
        lambda x: ops.relu(ops.log(x)) + ops.where(x > 0, ops.log(x), x * x), (0.0, 0.5, 2.0, -2.0),
    ),
    "a poisoned node below two selections": (
        lambda x: ops.where(x > 1, ops.maximum(ops.log(x - 1), 0.5), ops.relu(x)), (1.0, 1.5, 5.0, -1.0),
    ),
}  # fmt: skip


def eager_of(f, x):
    leaf = Value(x)
    out = f(leaf)
    (first,) = grad(out, [leaf])
    (second,) = grad(first, [leaf])
    out.backward()
    return out.data, leaf.grad, second.data


each_poison = pytest.mark.parametrize(("f", "points"), POISONED.values(), ids=POISONED.keys())


@each_poison
@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
def test_unselected_infinities_send_nothing_whatever_the_other_lanes_select(f, points, strict):
    def everything(x):
        out = f(x)
        (first,) = grad(out, [x])
        return [out, first, *grad(first, [x])]

    compiled = jit(everything, strict=strict)
    for repeats in 1, 5:
        batch = list(points) * repeats
        for x, got in zip(batch, compiled.batch(batch), strict=True):
            value, first, second = eager_of(f, x)
            assert math.isfinite(first) or not math.isfinite(value)
            for g, e in zip(got, (value, first, second)):
                assert g == pytest.approx(e, rel=1e-14, abs=1e-300, nan_ok=True), f"at {x}: {got}"


@each_poison
@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
def test_unselected_infinities_do_not_reach_the_parameters(f, points, strict):
    w = Value(1.0)
    compiled = jit(lambda x: f(w * x), strict=strict)
    finite = [x for x in points if math.isfinite(eager_of(f, x)[1])]
    assert len(finite) > 1
    mean = ops.mean([f(w * x) for x in finite])
    mean.backward()
    expected, w.grad = w.grad, 0.0
    assert math.isfinite(expected)
    compiled.mean(finite).backward()
    assert w.grad == pytest.approx(expected, rel=1e-13)
    for x in finite:
        w.grad = 0.0
        f(w * x).backward()
        expected, w.grad = w.grad, 0.0
        compiled(x).backward()
        assert w.grad == pytest.approx(expected, rel=1e-14)


def test_a_gradient_that_is_infinite_in_eager_is_not_finite_compiled():
    w = Value(0.0)
    compiled = jit(lambda x: ops.sqrt(w * x))
    assert not math.isfinite(compiled(1.0).local_grads[0])
    assert not math.isfinite(compiled.mean([1.0, 2.0]).local_grads[0])


def test_no_grad_inside_a_compiled_function_changes_no_value():
    def f(x):
        return ops.exp(x) * 2.0

    with no_grad():
        found = jit(f).batch([0.5])
    assert found.tolist() == pytest.approx([2.0 * math.exp(0.5)], rel=1e-15)
