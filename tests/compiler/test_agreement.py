"""Random graphs over all operations: eager and compiled agree in value, gradient and Hessian."""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lite import Value, grad, hessian, no_grad, ops
from tinygrad_lite.compiler import jit

from ..random_graphs import TAME, THOUSANDS, Recipe, block
from ..sampling import sample
from .error_bounds import Tally, error_bounds, may_choose_otherwise

np = pytest.importorskip("numpy")

pytestmark = [pytest.mark.sample(6), pytest.mark.usefixtures("backend")]

inf = math.inf


@pytest.fixture(autouse=True)
def few_programs_are_kept(monkeypatch):
    from tinygrad_lite.compiler import program

    monkeypatch.setattr(program, "MOST_PROGRAMS", 2)  # of a hundred graphs each


def results(recipe, leaves, second):
    """The outputs and their total, its gradient, and its Hessian where the second derivatives are wanted."""
    outputs = recipe.build(leaves)
    rows = hessian(outputs[-1], leaves) if second else []
    return [*outputs, *grad(outputs[-1], leaves), *(h for row in rows for h in row)]


def compare(recipes, tally, strict=True, second=True):
    """All recipes compiled as one function of all leaves, its gradients computed inside."""
    expected = []
    for recipe in recipes:
        nodes = results(recipe, [Value(x) for x in recipe.point], second)
        bound = error_bounds(nodes, strict=strict)
        if may_choose_otherwise(nodes[: len(recipe.outputs) + 1], bound):
            bound |= {node: inf for node in nodes[len(recipe.outputs) + 1 :] if node.args}
        expected += [(node.data, bound[node], recipe) for node in nodes]
    starts = np.cumsum([0, *(recipe.leaves for recipe in recipes)])

    def everything(xs):
        return [
            result
            for recipe, at in zip(recipes, starts)
            for result in results(recipe, xs[at : at + recipe.leaves], second)
        ]

    point = np.concatenate([recipe.point for recipe in recipes])
    # three examples, the other two of other numbers: lanes must not mix
    batch = np.stack([np.full_like(point, 0.5), point, np.full_like(point, -1.0)])
    with np.errstate(all="ignore"):
        found = jit(everything, strict=strict).batch(batch)[1].tolist()
    for got, (eager, bound, recipe) in zip(found, expected, strict=True):
        tally.check("compiled", got, eager, bound, recipe)


def compare_parameters(recipes, tally, strict=True):
    """All recipes compiled as one function of parameters, with the gradient that the compiler adds."""
    parameters = [[Value(x) for x in recipe.point] for recipe in recipes]
    compiled = jit(lambda: [recipe.scalar(ps) for recipe, ps in zip(recipes, parameters)], strict=strict)
    found = compiled() if len(recipes) > 1 else [compiled.mean()]
    for recipe, ps, got in zip(recipes, parameters, found, strict=True):
        leaves = [Value(x) for x in recipe.point]
        outputs = recipe.build(leaves)
        gradient = grad(outputs[-1], leaves)
        bound = error_bounds([*outputs, *gradient], strict=strict)
        tally.check("value", got.data, outputs[-1].data, bound[outputs[-1]], recipe)
        if may_choose_otherwise(outputs, bound):
            continue
        got.backward()
        outputs[-1].backward()
        for i, (p, x, g) in enumerate(zip(ps, leaves, gradient)):
            # lanes without an example have seed 0, and 0 * inf is nan: an infinity may come out as one
            tally.check(f"backward {i}", p.grad, x.grad, 2.0 * bound[g], recipe, same_order=False)


@pytest.mark.parametrize("seed", range(sample(1, 5)))
def test_random_graphs_agree_in_value_gradient_and_hessian(seed):
    r, tally = Random(seed), Tally()
    recipes = [Recipe(r, leaves=r.randint(1, 4), nodes=r.randint(1, 9)) for _ in range(sample(10, 30))]
    compare(recipes, tally)
    compare_parameters(recipes, tally)
    tally.enough(0.8)


@pytest.mark.parametrize("seed", range(sample(1, 4)))
def test_larger_random_graphs_agree_in_value_and_gradient(seed):
    r, tally = Random(100 + seed), Tally()
    recipes = [Recipe(r, leaves=r.randint(1, 6), nodes=r.randint(10, 30), edges=0.05) for _ in range(sample(5, 15))]
    compare(recipes, tally, second=False)
    compare_parameters(recipes, tally)
    tally.enough(0.7)


@pytest.mark.long
def test_graphs_of_edge_values_agree():
    r, tally = Random("edges"), Tally()
    recipes = [Recipe(r, leaves=r.randint(1, 3), nodes=r.randint(1, 3), edges=1.0) for _ in range(100)]
    compare(recipes, tally)
    compare_parameters(recipes, tally)
    tally.enough(0.7)
    assert tally.counts["not finite"] >= 100, tally


@pytest.mark.parametrize("seed", range(sample(1, 2)))
def test_smooth_random_graphs_agree_in_the_default_mode(seed):
    r, tally = Random(200 + seed), Tally()
    recipes = [Recipe(r, r.randint(1, 4), r.randint(1, 9), operations=TAME, edges=0.0) for _ in range(sample(8, 25))]
    compare(recipes, tally, strict=False)
    compare_parameters(recipes, tally, strict=False)
    tally.enough(0.8)


@pytest.mark.parametrize("blocks", THOUSANDS, ids=lambda blocks: f"{100 * blocks[0]}-")
def test_thousands_of_graphs_agree_in_value_and_gradient(blocks):
    tally = Tally()
    for b in blocks:
        compare(block(b), tally, strict=b // 4 % 2 == 0, second=False)
    tally.enough(0.9)


@pytest.mark.parametrize("b", range(sample(1, 4)))
def test_graphs_without_an_infinity_agree_by_the_quicker_gradient(b):
    def is_finite(recipe):
        return all(math.isfinite(node.data) for node in results(recipe, [Value(x) for x in recipe.point], False))

    tally = Tally()  # one infinity among the results and all are computed again, with masks
    compare_parameters([recipe for recipe in block(b)[:50] if is_finite(recipe)], tally, strict=False)
    tally.enough(0.9)


@settings(max_examples=sample(5, 40))
@given(st.randoms(use_true_random=False), st.integers(1, 3), st.integers(1, 6), st.booleans())
def test_any_graph_agrees(r, leaves, nodes, strict):
    recipe = Recipe(r, leaves, nodes)
    compare([recipe], Tally(), strict=strict)
    compare_parameters([recipe], Tally(), strict=strict)


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
