"""Random graphs: backward, grad, forward mode, 50 digits, PyTorch, JAX and other spellings of a graph agree.

`GRAPHS=100000 pytest tests/test_agreement.py -rP` compares more of them; -rP prints what stood aside and why.
"""

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lite import OPS, Value, grad, hessian, ops

pytest.importorskip("numpy")

from . import peers
from .compiler.error_bounds import Tally, error_bounds, may_choose_otherwise, nodes_below
from .dual_numbers import FiftyDigits, Floats, derive
from .operations import OPERATIONS
from .random_graphs import THOUSANDS, Recipe, block
from .rewritings import as_written, permuted, rewritten
from .sampling import sample

FLOATS, DIGITS = Floats(), FiftyDigits()
STEP = DIGITS.number(1e-20)
NORMAL = 2.2250738585072014e-308  # below it numbers have fewer digits


class Eager:
    """A recipe at its point: its leaves, the nodes of its outputs and their total, those of the total's gradient."""

    def __init__(self, recipe, apply=Value.record):
        self.recipe = recipe
        self.leaves = [Value(x) for x in recipe.point]
        self.outputs = recipe.build(self.leaves, apply)
        self.gradient = grad(self.outputs[-1], self.leaves)
        self.nodes = [*self.outputs, *self.gradient]
        self.names = [f"output {i}" for i in range(len(self.outputs))]
        self.names += [f"gradient {i}" for i in range(len(self.leaves))]

    def bounds(self):
        """How far each number may be from the true one."""
        bound = error_bounds(self.nodes, strict=False)
        gradient = [bound[g] for g in self.gradient]
        if may_choose_otherwise(self.outputs, bound):
            gradient = [math.inf for _ in gradient]
        # a gradient that is a number: `grad` has added up to 80 numbers, which its graph doesn't show
        gradient = [e if g.args else e + 80 * math.ulp(g.data) for e, g in zip(gradient, self.gradient)]
        return [bound[y] for y in self.outputs] + gradient

    def is_finite(self):
        return all(math.isfinite(node.data) for node in nodes_below(self.nodes))


def sign_of_zero_decides(recipe):
    return any(op is ops.atan2 and xs[0] == 0.0 >= xs[1] for op, xs, _ in recipe.trace())


def equal_or_both_nan(a, b):
    return a == b or (a != a and b != b)


# --- the laws: (recipe, tally) -> AssertionError where the recipe breaks it


def backward_on_operators_is_grad_on_records_to_the_bit(recipe, tally):
    found = Eager(recipe)
    leaves = [Value(x) for x in recipe.point]
    outputs = recipe.build(leaves, as_written)
    outputs[-1].backward()
    numbers = [*(x.data for x in outputs), *(x.grad for x in leaves)]
    for name, node, got in zip(found.names, found.nodes, numbers, strict=True):
        assert equal_or_both_nan(got, node.data), f"{name}: backward {got!r}, grad {node.data!r}\n{recipe}"
        tally.counts["compared"] += 1


def forward_mode_gives_the_same_gradient(recipe, tally):
    found = Eager(recipe)
    values, gradient = derive(FLOATS, recipe, recipe.point)
    for name, node, bound, got in zip(found.names, found.nodes, found.bounds(), [*values, *gradient], strict=True):
        tally.check(name, float(got), node.data, 2.0 * bound, recipe, same_order=name.startswith("output"))


def at_50_digits_only_rounding_is_wrong(recipe, tally):
    found = Eager(recipe)
    try:
        values, gradient = derive(DIGITS, recipe, recipe.point)
    except ArithmeticError:
        tally.aside("not finite on the way", len(found.nodes))
        return
    if sign_of_zero_decides(recipe):
        tally.aside("atan2(-0.0, x), which is atan2(0.0, x) in mpmath", len(found.nodes))
        return
    for name, node, bound, true in zip(found.names, found.nodes, found.bounds(), [*values, *gradient], strict=True):
        tally.check(name, node.data, float(true), bound + math.ulp(float(true)) + NORMAL, recipe, same_order=False)


def has_no_mixed_partial(recipe):
    """Does a step stand where its second derivative by both operands does not exist?"""
    return any(OPERATIONS[op].one_sided(*xs) for op, xs, _ in recipe.trace())


def the_hessian_is_symmetric(recipe, tally):
    found = Eager(recipe)
    rows = hessian(found.outputs[-1], found.leaves)
    bound = error_bounds([h for row in rows for h in row], strict=False)
    for i in range(recipe.leaves):
        for j in range(i):
            a, b = rows[i][j], rows[j][i]
            if a.data != b.data and has_no_mixed_partial(recipe):
                tally.aside("leaky_relu(0, slope) or 0 ** n with n <= 1")
            elif not (math.isfinite(a.data) and math.isfinite(b.data)):
                tally.aside("not finite")
            else:
                tally.check(f"Hessian {i}, {j}", a.data, b.data, bound[a] + bound[b], recipe)


def the_hessian_is_the_slope_of_the_gradient_at_50_digits(recipe, tally):
    found = Eager(recipe)
    rows = hessian(found.outputs[-1], found.leaves)
    bound = error_bounds([h for row in rows for h in row], strict=False)
    point = [DIGITS.number(x) for x in recipe.point]

    def moved(j, far):
        return derive(DIGITS, recipe, [x + far if i == j else x for i, x in enumerate(point)])[1]

    if any(op is ops.detach for op, _, _ in recipe.trace()):
        tally.aside("a detached number, which changes and has no slope", recipe.leaves**2)
        return
    if any(abs(x) > 1e10 for x in recipe.point):
        tally.aside("too large for steps of 1e-20", recipe.leaves**2)
        return
    for j in range(recipe.leaves):
        try:
            here, up, down = moved(j, 0), moved(j, STEP), moved(j, -0.37 * STEP)
        except ArithmeticError:
            tally.aside("not finite on the way", recipe.leaves)
            continue
        for i, row in enumerate(rows):
            right, left = (up[i] - here[i]) / STEP, (here[i] - down[i]) / (0.37 * STEP)
            if not abs(right - left) < 1e-6 * (1 + abs(left)):
                tally.aside("a kink or a pole")
                continue
            true = float((0.37 * right + left) / 1.37)  # of a smooth function, but for a square of the step
            tally.check(f"Hessian {i}, {j}", row[j].data, true, bound[row[j]] + math.ulp(true) + 1e-18, recipe)


def the_order_of_operands_changes_nothing_beyond_rounding(recipe, tally):
    one, other = Eager(recipe), Eager(recipe, permuted(Random(repr(recipe))))
    bounds = map(sum, zip(one.bounds(), other.bounds()))
    for name, a, b, bound in zip(one.names, one.nodes, other.nodes, bounds, strict=True):
        tally.check(name, b.data, a.data, bound, recipe)


def another_spelling_changes_nothing_beyond_rounding(recipe, tally):
    one, other = Eager(recipe), Eager(recipe, rewritten(Random(repr(recipe))))
    if not one.is_finite():
        tally.aside("not finite", len(one.nodes))
    elif sign_of_zero_decides(recipe):
        tally.aside("atan2(-0.0, x)", len(one.nodes))
    elif not other.is_finite():
        tally.aside("the other spelling overflows", len(one.nodes))
    else:
        bounds = map(sum, zip(one.bounds(), other.bounds()))
        for name, a, b, bound in zip(one.names, one.nodes, other.nodes, bounds, strict=True):
            tally.check(name, b.data, a.data, bound, recipe)


LAWS = {  # the share of numbers that must be finite and compared
    backward_on_operators_is_grad_on_records_to_the_bit: 1.0,
    forward_mode_gives_the_same_gradient: 0.9,
    at_50_digits_only_rounding_is_wrong: 0.75,
    the_hessian_is_symmetric: 0.9,
    the_order_of_operands_changes_nothing_beyond_rounding: 0.9,
    another_spelling_changes_nothing_beyond_rounding: 0.75,
}
each_thousand = pytest.mark.parametrize("blocks", THOUSANDS, ids=lambda blocks: f"{100 * blocks[0]}-")


@each_thousand
@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_random_graphs(law, blocks):
    tally = Tally()
    for b in blocks:
        for recipe in block(b):
            law(recipe, tally)
    tally.enough(LAWS[law])


@each_thousand
def test_the_hessian_of_every_tenth_hundred(blocks):
    tally = Tally()
    for recipe in block(blocks[blocks[0] // 10 % len(blocks)]):  # of one leaf, of four, three, two
        the_hessian_is_the_slope_of_the_gradient_at_50_digits(recipe, tally)
    tally.enough(0.7)


@settings(max_examples=sample(20, 100))
@given(st.randoms(use_true_random=False), st.integers(1, 4), st.integers(1, 8), st.sampled_from((0.0, 0.1, 1.0)))
def test_any_graph(r, leaves, nodes, edges):
    recipe = Recipe(r, leaves, nodes, edges=edges)
    for law in LAWS:
        law(recipe, Tally())


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_every_rewriting_is_the_same_function(op):
    for point in OPERATIONS[op].samples:
        one = Eager(OneStep(op, point))
        for spelling in OPERATIONS[op].rewritings:
            other = Eager(OneStep(op, point), lambda _, xs, spelling=spelling: spelling(*xs))
            for a, b, bound in zip(one.nodes, other.nodes, map(sum, zip(one.bounds(), other.bounds()))):
                assert abs(a.data - b.data) <= bound, f"{op}{point}: {a.data!r}, {b.data!r}"


class OneStep:
    """A recipe of one operation on leaves."""

    def __init__(self, op, point):
        self.op, self.point = op, point

    def build(self, leaves, apply):
        return [apply(self.op, list(leaves))]


def test_x_to_the_zero_is_constant_by_grad_too_where_x_is_nan():
    x, n = Value(math.nan), Value(0.0)
    out = x**n
    out.backward()
    assert (out.data, x.grad) == (1.0, 0.0)
    assert grad(out, [x])[0].data == 0.0


# --- peers: where PyTorch or JAX say otherwise, mpmath decides, else a row of the table of edge cases


def documented(peer, recipe, numbers):
    """Why the peer may say otherwise where mpmath has no answer. numbers: ours, and the peer's."""
    steps = list(recipe.trace())
    results = [*recipe.point, *(x for _, xs, out in steps for x in (*xs, out))]
    if any(x != x for x in results):
        return "nan: what is undefined stays so"
    if any(abs(x) == math.inf for x in results):
        return "an infinity on the way"
    if peer == "torch" and any(op is ops.softplus and xs[0] > 20.0 for op, xs, _ in steps):
        return "softplus beyond the threshold"
    if peer == "jax" and any(0.0 < abs(x) <= NORMAL for x in results):
        return "subnormal numbers, flushed to 0"
    if at_kink(recipe):
        return "a kink, where conventions differ"
    if all(map(math.isfinite, numbers)):
        return None
    if any(op.selects and OPERATIONS[op].kind != "comparison" for op, _, _ in steps):
        return "0 x inf where nothing was selected"
    if any(OPERATIONS[op].kind == "jump" for op, _, _ in steps):
        return "0 x inf behind a jump"
    return None


def at_kink(recipe):
    """Does a step stand where the table of edge cases chooses a subgradient?"""
    return any(OPERATIONS[op].kink(*xs) for op, xs, _ in recipe.trace())


@pytest.mark.parametrize("peer", ["torch", "jax"])
@each_thousand
def test_peers_agree_or_are_known_to_be_wrong(peer, blocks):
    if peer not in peers.INSTALLED:
        pytest.skip(f"{peer} is not installed")
    tally = Tally()
    for b in blocks:
        recipes = block(b)
        for recipe, (values, gradient) in zip(recipes, peers.derive(peer, recipes), strict=True):
            found = Eager(recipe)
            for i, (node, bound, got) in enumerate(zip(found.nodes, found.bounds(), [*values, *gradient], strict=True)):
                if bound == math.inf or equal_or_both_nan(got, node.data) or abs(got - node.data) <= 2.0 * bound:
                    tally.check(found.names[i], got, node.data, 2.0 * bound, recipe)
                    continue
                try:
                    true = [float(x) for part in derive(DIGITS, recipe, recipe.point) for x in part][i]
                except ArithmeticError:
                    true = math.nan
                if math.isfinite(true):
                    assert abs(node.data - true) <= bound + NORMAL, (
                        f"{found.names[i]}: {node.data!r}, in truth {true!r}\n{recipe}"
                    )
                    tally.aside("a kink, where conventions differ" if at_kink(recipe) else "decided by mpmath")
                else:
                    reason = documented(peer, recipe, (node.data, got))
                    assert reason, f"{found.names[i]}: {node.data!r}, {peer} {got!r}\n{recipe}"
                    tally.aside(reason)
    tally.enough(0.9)
