"""What is not selected sends nothing, whatever it holds; what is selected is never hidden. Eager, `grad` of `grad`,
compiled for each example, compiled over a batch, and in the compiled loop of `fit`."""

import math
from random import Random

import pytest

from tinygrad_lite import Value, fit, grad, ops, optim
from tinygrad_lite.compiler import jit
from tinygrad_lite.engine import UNREACHED, gradients, topological_order

np = pytest.importorskip("numpy")
pytest.importorskip("llvmlite")

pytestmark = pytest.mark.sample(4)

inf, nan = math.inf, math.nan

# name: (function of y, y where its value or a derivative is infinite or nan)
POISONS = {
    "log 0": (ops.log, 0.0),
    "log -0": (ops.log, -0.0),
    "log -1": (ops.log, -1.0),
    "sqrt 0": (ops.sqrt, 0.0),
    "sqrt -1": (ops.sqrt, -1.0),
    "1 / 0": (lambda y: 1.0 / y, 0.0),
    "0 / 0": (lambda y: y / y, 0.0),
    "0 x infinity": (lambda y: y * inf, 0.0),
    "infinity - infinity": (lambda y: (y + inf) - (y + inf), 0.0),
    "0 ** -1": (lambda y: y**-1, 0.0),
    "0 ** 1.5, whose second derivative is infinite": (lambda y: y**1.5, 0.0),
    "(-1) ** 0.5": (lambda y: y**0.5, -1.0),
    "exp 710": (ops.exp, 710.0),
    "exp exp 10": (lambda y: ops.exp(ops.exp(y)), 10.0),
    "asin 1": (ops.asin, 1.0),
    "asin 2": (ops.asin, 2.0),
    "atan2(0, 0)": (lambda y: ops.atan2(y, y), 0.0),
    "logsumexp(-infinity)": (lambda y: ops.logsumexp([y, y]), -inf),
    "nan added": (lambda y: y + nan, 0.5),
    "nan times": (lambda y: y * nan, 0.5),
    "tan infinity": (ops.tan, inf),
}


def low(p):
    return -abs(p)


def high(p):
    return 3.0 + abs(p)


# name: (f(x, p), which is x + a constant wherever x is 2 and p is not selected; how to make p one that is not)
UNSELECTED = {
    "where, first": (lambda x, p: ops.where(ops.less(x, 0.0), p, x), None),
    "where, second": (lambda x, p: ops.where(ops.less(0.0, x), x, p), None),
    "where, condition": (lambda x, p: ops.where(p, x, x + 1.0), None),
    "where of a where": (lambda x, p: ops.where(x, ops.where(x, x, p), p), None),
    "leaky_relu, slope": (lambda x, p: ops.leaky_relu(x, p), None),
    "pick, first": (lambda x, p: ops.pick(1, [p, x]), None),
    "pick, last, by a recorded index": (lambda x, p: ops.pick(ops.less(x, 0.0), [x, p]), None),
    "equal": (lambda x, p: x + ops.equal(p, 3.0), None),
    "less": (lambda x, p: x + ops.less(p, 3.0), None),
    "less_equal": (lambda x, p: x + ops.less_equal(3.0, p), None),
    "relu": (lambda x, p: x + ops.relu(p), low),
    "relu, as a method": (lambda x, p: x + p.relu(), low),
    "relu of a maximum": (lambda x, p: ops.relu(ops.maximum(p, x)), low),
    "leaky_relu of a minimum": (lambda x, p: ops.leaky_relu(ops.minimum(x, p), p), high),
    "maximum, first": (lambda x, p: ops.maximum(p, x), low),
    "maximum, last of three": (lambda x, p: ops.maximum(x, 1.0, p), low),
    "minimum, first": (lambda x, p: ops.minimum(p, x), high),
    "minimum, last of three": (lambda x, p: ops.minimum(x, 3.0, p), high),
    "clip, operand below": (lambda x, p: ops.clip(p, x, 5.0), low),
    "clip, operand above": (lambda x, p: ops.clip(p, -5.0, x), high),
    "clip, lower bound": (lambda x, p: ops.clip(x, p, 5.0), low),
    "clip, upper bound": (lambda x, p: ops.clip(x, -5.0, p), high),
    "clip, both bounds": (lambda x, p: ops.clip(x, low(p), high(p)), high),
}

each_selector = pytest.mark.parametrize("name", UNSELECTED)


def harmless(name, poison):
    """Can this selector leave this poison out? nan is never smaller or larger, so maximum and the like choose it."""
    f, at = POISONS[poison]
    return UNSELECTED[name][1] is None or f(Value(at)).data == f(Value(at)).data


def case(name, poison):
    """f(x, y), which does not select the poison of y at x = 2."""
    (select, make), (spoil, _) = UNSELECTED[name], POISONS[poison]
    return lambda x, y: select(x, spoil(y) if make is None else make(spoil(y)))


def cases(name):
    return [(case(name, poison), POISONS[poison][1]) for poison in POISONS if harmless(name, poison)]


def everything(out, wrt, parts=None):
    """[out, *gradient, *Hessian] as Values, or the first parts of it."""
    first = grad(out, wrt)
    if parts == 1 + len(wrt):
        return [out, *first]
    return [out, *first, *(h for g in first for h in grad(g, wrt))]


def test_every_poison_spoils_what_selects_it():
    for name, (spoil, at) in POISONS.items():
        y = Value(at)
        parts = [part.data for part in everything(spoil(y), [y])]
        assert not all(map(math.isfinite, parts)), name


@each_selector
def test_backward_leaves_what_was_not_selected_unreached(name):
    for f, at in cases(name):
        x, y = Value(2.0), Value(at)
        out = f(x, y)
        out.backward()
        assert math.isfinite(out.data) and x.grad == 1.0 and y.grad is UNREACHED


@each_selector
def test_grad_and_its_grad_are_zero_for_what_was_not_selected(name):
    for f, at in cases(name):
        x, y = Value(2.0), Value(at)
        assert [part.data for part in everything(f(x, y), [x, y])[1:]] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]


@each_selector
def test_compiled_derivatives_are_zero_for_what_was_not_selected(name):
    """All poisons in one program, each with a number of its own; other lanes hold other numbers."""
    some = list(UNSELECTED).index(name) % 3  # second derivatives of a third of them: they take longest to compile
    for parts, chosen in (3, cases(name)), (7, cases(name)[some::3]):
        fs, ats = zip(*chosen)

        def each(x, ys, fs=fs, parts=parts):
            return [everything(f(x, y), [x, y], parts) for f, y in zip(fs, ys)]

        lanes = np.array([ats, [0.5] * len(ats), ats, [3.0] * len(ats), ats])
        found = jit(each).batch(np.full(len(lanes), 2.0), lanes)
        assert np.isfinite(found[::2, :, 0]).all()
        assert (found[::2, :, 1:] == [1.0, *[0.0] * (parts - 2)]).all()


@each_selector
def test_compiled_gradients_of_parameters_get_nothing_from_what_was_not_selected(name):
    fs, ats = zip(*cases(name)[(list(UNSELECTED).index(name) + 1) % 3 :: 3])
    w, ws = Value(2.0), [Value(at) for at in ats]
    mean = jit(lambda x: ops.mean([f(w * x, v) for f, v in zip(fs, ws)]))
    value, gradient = mean.value_and_grad([1.0] * 5)
    assert math.isfinite(value)
    by_parameter = dict(zip(mean.parameters, gradient))
    assert by_parameter[w] == pytest.approx(1.0, rel=1e-14)
    assert all(by_parameter.get(v, 0.0) == 0.0 for v in ws)  # the compiler may see that one is never selected
    mean(1.0).backward()
    assert w.grad == pytest.approx(1.0, rel=1e-14) and all(v.grad == 0.0 for v in ws)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_training_moves_nothing_that_was_not_selected(compiled):
    every_third = [pair for i, name in enumerate(UNSELECTED) for pair in cases(name)[i % 3 :: 3]]
    fs, ats = zip(*((f, at) for f, at in every_third if math.isfinite(at)))
    w, ws = Value(2.0), [Value(at) for at in ats]

    def loss(x, y):
        return ops.mean([f(w * x, v) for f, v in zip(fs, ws)]) - y

    steps = [w.data]
    fit(
        loss, optim.SGD([w, *ws], lr=0.0625), [1.0, 1.0], [0.0, 0.0], epochs=2, compiled=compiled, progress=False,
        callback=lambda *_: steps.append(w.data),
    )  # fmt: skip
    assert [v.data.hex() for v in ws] == [at.hex() for at in ats]
    assert steps == pytest.approx([2.0, 2.0 - 0.0625, 2.0 - 0.125], rel=1e-14)


def test_an_unselected_operand_still_hears_from_its_other_users():
    y = Value(0.0)
    root = ops.sqrt(y)
    out = ops.where(0.0, root, 1.0) + root
    out.backward()
    assert y.grad == inf
    assert grad(out, [y])[0].data == inf


# --- what is selected is never hidden

# f(x, p), which is p wherever x is 2; of an infinite p the same sign, of nan none is asked
SELECTED = {
    "where, first": lambda x, p: ops.where(x, p, 1.0),
    "where, second": lambda x, p: ops.where(ops.less(x, 0.0), 1.0, p),
    "where of a nan": lambda x, p: ops.where(x * nan, p, 1.0),
    "pick": lambda x, p: ops.pick(ops.less(0.0, x), [x, p]),
    "relu of a pick": lambda x, p: ops.pick(0, [p, ops.relu(x)]),
    "maximum": lambda x, p: ops.maximum(-inf, p),
    "minimum of three": lambda x, p: ops.minimum(inf, p, inf),
    "clip": lambda x, p: ops.clip(p, -inf, inf),
    "clip, lower bound": lambda x, p: ops.clip(-inf, p, inf),
    "leaky_relu of slope 1": lambda x, p: ops.leaky_relu(p, 1.0),
}


@pytest.mark.parametrize("f", SELECTED.values(), ids=SELECTED)
def test_a_selected_infinity_or_nan_is_never_hidden(f):
    at = [at for _, at in POISONS.values()]
    expected = []
    for spoil, y in POISONS.values():
        x, y, alone = Value(2.0), Value(y), Value(y)
        value, slope = (part.data for part in everything(spoil(alone), [alone], 2))
        out = f(x, spoil(y))
        out.backward()
        for got in (out.data, y.grad), [part.data for part in everything(out, [y], 2)]:
            assert agree(got[0], value)
            # infinities beside infinity are ties, nan has no slope but nan
            assert agree(got[1], slope) or abs(value) == inf or got[1] != got[1]
        expected.append((out.data, y.grad))
    compiled = jit(lambda x, ys: [everything(f(x, spoil(y)), [y], 2) for (spoil, _), y in zip(POISONS.values(), ys)])
    found = compiled.batch([0.5, 2.0, 3.0], [[0.5] * len(at), at, [2.0] * len(at)])[1]
    for got, (value, slope) in zip(found.tolist(), expected, strict=True):
        assert agree(got[0], value) and agree(got[1], slope)


@pytest.mark.parametrize("name", POISONS)
def test_one_poisoned_example_of_a_batch_is_not_hidden(name):
    spoil, at = POISONS[name]
    w, x = Value(1.0), Value(at)
    parts = [part.data for part in everything(spoil(w * x), [w, x], 3)]
    value, gradient = jit(lambda x: ops.where(x + 1e9, spoil(w * x), x)).value_and_grad([0.25, at, 0.25])
    assert math.isfinite(value) == math.isfinite(parts[0])
    assert math.isfinite(gradient[0]) == math.isfinite(parts[1])


# --- random graphs: a selection is the operand that it selects


class Graph:
    """A random graph of poisons, sums, products and selections over three numbers.

    build(xs) selects; build(xs, resolve=True), of numbers that are known, takes the selected operand itself instead.
    """

    POINTS = (0.0, 0.0, -0.0, 1.0, 1.0, -1.0, 2.0, 0.5, 10.0, 710.0, inf, -inf, nan)

    def __init__(self, seed):
        r = self.r = Random(seed)
        self.steps = []
        for n in range(3, r.randint(8, 14)):
            kind = r.choice(("poison", "plain", "select", "select", "select"))
            operands = [r.randrange(max(0, n - 5), n) for _ in range(3)]
            if kind == "poison":
                self.steps.append((kind, r.choice(list(POISONS)), operands[:1]))
            elif kind == "plain":
                self.steps.append((kind, r.choice((ops.add, ops.sub, ops.mul)), operands[:2]))
            else:
                self.steps.append((kind, r.choice(list(SELECTIONS)), operands))

    def points(self, n):
        return [tuple(self.r.choice(self.POINTS) for _ in range(3)) for _ in range(n)]

    def build(self, xs, resolve=False):
        nodes = list(xs)
        for kind, name, operands in self.steps:
            f = POISONS[name][0] if kind == "poison" else SELECTIONS[name][resolve] if kind == "select" else name
            nodes.append(f(*[nodes[i] for i in operands]))
        return nodes[-1]

    def __repr__(self):
        return "\n".join(f"v{n} = {name} of {operands}" for n, (_, name, operands) in enumerate(self.steps, 3))


def spoiled(*xs):
    """What a choice among numbers is when one of them is nan: nan, with every derivative."""
    return ops.total([x * nan for x in xs])


def extreme(op):
    """The winners alone: of k equal ones each has its share."""

    def resolve(*xs):
        if any(x.data != x.data for x in xs):
            return spoiled(*xs)
        best = op(*(x.data for x in xs))
        return op(*(x for x in xs if x.data == best))

    return resolve


def clipped(x, low, high):
    if any(v.data != v.data for v in (x, low, high)):
        return spoiled(x, low, high)
    return high if high.data < low.data else low if x.data < low.data else high if high.data < x.data else x


# name: (a selection of three operands, what it comes to when their numbers are known)
SELECTIONS = {
    "where(a, b, c)": (ops.where, lambda a, b, c: b if a.data else c),
    "where(a < b, b, c)": (
        lambda a, b, c: ops.where(ops.less(a, b), b, c), lambda a, b, c: b if a.data < b.data else c,
    ),
    "where(a <= 0, b, c b)": (
        lambda a, b, c: ops.where(ops.less_equal(a, 0.0), b, c * b), lambda a, b, c: b if a.data <= 0.0 else c * b,
    ),
    "where(a == b, c, a)": (
        lambda a, b, c: ops.where(ops.equal(a, b), c, a), lambda a, b, c: c if a.data == b.data else a,
    ),
    "pick(a < c, [a, b])": (
        lambda a, b, c: ops.pick(ops.less(a, c), [a, b]), lambda a, b, c: b if a.data < c.data else a,
    ),
    "relu(a) + b": (
        lambda a, b, c: ops.relu(a) + b,
        lambda a, b, c: (a if a.data > 0.0 else 0.0 if a.data <= 0.0 else spoiled(a)) + b,
    ),
    "leaky_relu(a) - c": (
        lambda a, b, c: ops.leaky_relu(a, 0.25) - c,
        lambda a, b, c: (a if a.data > 0.0 else 0.25 * a if a.data <= 0.0 else spoiled(a)) - c,
    ),
    "maximum(a, b, c)": (ops.maximum, extreme(ops.maximum)),
    "minimum(a, b, c)": (ops.minimum, extreme(ops.minimum)),
    "clip(a, b, c)": (ops.clip, clipped),
}  # fmt: skip


def tame(out):
    """Is every number on the way to out and back far from an overflow?"""
    order = topological_order(out)
    local = [dx for node in order for dx in node.local_grads if dx is not None]
    return all(abs(x) < 1e100 for x in (*gradients(order).values(), *(node.data for node in order), *local))


def path_weights(out):
    """For each node the sum over all paths to out of |local derivatives multiplied|: what rounding is relative to."""
    order = topological_order(out)
    weight = {out: 1.0}
    for node in reversed(order):
        for x, dx in zip(node.args, node.local_grads):
            if dx is not None and node in weight:
                weight[x] = weight.get(x, 0.0) + abs(dx) * weight[node]
    return weight


def agree(got, expected):
    """Equal up to rounding, also of terms that cancel; infinities and nan to the letter."""
    return got == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(16))
def test_a_selection_is_its_selected_operand(seed):
    graph = Graph(seed)
    points = graph.points(25)
    compiled = jit(lambda *xs: everything(graph.build(xs), xs), strict=True).batch(*np.array(points).T)
    for point, native in zip(points, compiled.tolist()):
        xs, ys = [Value(x) for x in point], [Value(x) for x in point]
        resolved = graph.build(ys, resolve=True)
        expected = [part.data for part in everything(resolved, ys)]
        if not tame(resolved):  # 0 x infinity in the second derivative of what was selected is nan, and honest
            expected = expected[:4]
        eager = [part.data for part in everything(graph.build(xs), xs)]
        graph.build(xs).backward()
        for way, got in ("grad", eager), ("backward", [expected[0], *(x.grad for x in xs)]), ("compiled", native):
            for i, (g, e) in enumerate(zip(got, expected)):
                assert agree(g, e), f"{way} at {point}, part {i}: {g}, of the selected operand {e}\n{graph}"


@pytest.mark.parametrize("seed", range(16))
def test_the_gradient_of_a_mean_is_that_of_the_selected_operands(seed):
    graph, ws = Graph(seed), [Value(1.0) for _ in range(3)]
    points, sums, sizes = [], [0.0] * 3, [0.0] * 3
    for point in graph.points(25):
        xs = [Value(x) for x in point]
        resolved = graph.build(xs, resolve=True)
        if tame(resolved):
            points.append(point)
            back, weight = gradients(topological_order(resolved)), path_weights(resolved)
            for i, x in enumerate(xs):
                sums[i] += back[x] * x.data if x in back else 0.0
                sizes[i] += weight[x] * abs(x.data) if x in weight else 0.0
    mean = jit(lambda *xs: graph.build([w * x for w, x in zip(ws, xs)]) + ops.dot(ws, [0.0] * 3))
    _, gradient = mean.value_and_grad(*np.array(points or [(1.0,) * 3]).T)
    for i, w in enumerate(ws if points else ()):
        got = gradient[mean.parameters.index(w)] * len(points)
        assert abs(got - sums[i]) <= 1e-12 * sizes[i], f"gradient {i}: {got}, expected {sums[i]}\n{graph}"


def test_the_random_graphs_hide_many_poisons_and_show_some():
    hidden = shown = 0
    for graph in map(Graph, range(16)):
        for point in graph.points(25):
            resolved = graph.build([Value(x) for x in point], resolve=True)
            shown += not math.isfinite(resolved.data)
            hidden += tame(resolved) and not tame(graph.build([Value(x) for x in point]))
    assert hidden >= 20 and shown >= 100
