"""Every operation of the table, compiled, at its edges and at its sample points: as eager."""

import math

import pytest

from tinygrad_lite import OPS, Value, fit, grad, ops, optim
from tinygrad_lite.compiler import jit

from ..operations import EDGES, OPERATIONS
from .error_bounds import error_bounds

np = pytest.importorskip("numpy")

pytestmark = [pytest.mark.sample(5), pytest.mark.usefixtures("backend")]

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


class Case:
    """One function at one point, as eager gives it. bounds: how far compiled results may be away."""

    def __init__(self, text, f, point):
        self.text, self.f, self.point = text, f, point
        self.leaves = [Value(x) for x in point]
        self.out = f(*self.leaves)
        self.out.backward()
        self.gradient = [x.grad for x in self.leaves]
        self.graph = grad(self.out, self.leaves)
        bound = error_bounds([self.out, *self.graph])
        self.value_bound = bound[self.out]
        self.gradient_bounds = [bound[g] for g in self.graph]

    def check_value(self, got):
        assert close(got, self.out.data, self.value_bound), f"{self.text} is {self.out.data!r}, compiled {got!r}"

    def check_signed_value(self, got):
        self.check_value(got)
        if self.out.data == 0.0 == got:
            assert math.copysign(1.0, got) == math.copysign(1.0, self.out.data), f"{self.text}: zero has lost its sign"

    def check_gradient(self, got):
        for i, (ours, eager, bound) in enumerate(zip(got, self.gradient, self.gradient_bounds, strict=True)):
            assert close(ours, eager, bound), f"{self.text}, partial {i} is {eager!r}, compiled {ours!r} (+-{bound})"


def close(got, expected, bound):
    if not math.isfinite(expected):
        return not math.isfinite(got)
    return abs(got - expected) <= bound


def on_flat(op):
    """f(*operands) for an operation on flat operands, whatever its way to take lists is."""
    return lambda *xs: Value.record(op, xs)


def cases(op):
    found = [Case(f"{e.text} at {e.point}", e.f, e.point) for e in EDGES if e.op is op]
    return found + [Case(f"{op.name}{point}", on_flat(op), point) for point in OPERATIONS[op].samples]


def test_an_operation_without_a_lowering_is_refused_by_name_with_what_to_write():
    erfc = ops.Op("erfc", "erfc", math.erfc, (lambda out, x: -2.0 / math.sqrt(math.pi) * ops.exp(-x * x),))
    missing = r"jit cannot compile erfc yet: .*row to compiler/lowerings.py, or write erfc with operations of the table"
    w = Value(0.5)
    for call in (lambda f: f.batch([1.0]), lambda f: f.mean([1.0]), lambda f: f(1.0)):
        with pytest.raises(NotImplementedError, match=missing):
            call(jit(lambda x: erfc(w * x) + 1.0))
    with pytest.raises(NotImplementedError, match=missing):
        fit(lambda x, y: erfc(w * x), optim.SGD([w], 0.1), [1.0], [1.0], epochs=1, compiled=True, progress=False)
    with pytest.warns(RuntimeWarning, match=f"fit runs without the compiler: {missing}"):
        fit(lambda x, y: erfc(w * x), optim.SGD([w], 0.1), [1.0], [1.0], epochs=1, progress=False)
    assert w.data > 0.5
    assert jit(lambda x: erfc(Value(0.0)) * x).batch([2.0]).tolist() == [2.0]  # a constant needs no instructions


@each_op
def test_inputs_as_operands_give_the_eager_value_and_partials(op):
    for case in cases(op):
        n = len(case.point)
        f = case.f

        def everything(*xs, f=f):
            out = f(*xs)
            return [out, *grad(out, xs)]

        columns = [np.array([x] * 3) for x in case.point]
        found = jit(everything, strict=True).batch(*columns)
        assert found.shape == (3, 1 + n)
        for row in found:
            case.check_signed_value(row[0])
            case.check_gradient(row[1:])


@each_op
def test_parameters_as_operands_give_the_eager_value_and_partials(op):
    # an input that changes nothing, so that the operation runs on scalars, before the examples
    for case in cases(op):
        leaves = [Value(x) for x in case.point]
        compiled = jit(lambda: case.f(*leaves), strict=True)
        node = compiled()
        case.check_value(node.data)
        node.backward()
        case.check_gradient([x.grad for x in leaves])
        case.check_signed_value(compiled.batch()[0])


@each_op
def test_derivatives_by_backward_agree_where_operands_come_from_an_example_too(op):
    for case in cases(op):
        leaves = [Value(x) for x in case.point]
        # varies by example as far as the compiler knows, and keeps every number
        compiled = jit(lambda z: case.f(*[ops.where(z, leaf, 0.5) for leaf in leaves]), strict=True)
        mean = compiled.mean([1.0])  # of one example: a mean of three rounds once more
        case.check_value(mean.data)
        mean.backward()
        case.check_gradient([x.grad for x in leaves])


@each_op
def test_arguments_that_are_values_get_the_eager_partials(op):
    for case in cases(op):
        leaves = [Value(x) for x in case.point]
        node = jit(case.f, strict=True)(*leaves)
        case.check_value(node.data)
        node.backward()
        case.check_gradient([x.grad for x in leaves])


def test_one_example_keeps_the_sign_of_zero():
    assert math.copysign(1.0, jit(lambda x: -x, strict=True)(0.0).data) == -1.0


@pytest.mark.parametrize(
    "op",
    OPS,
    ids=lambda op: op.name,
)
def test_constants_as_operands_give_the_eager_value_and_partials(op):
    for case in cases(op):
        for kept in range(len(case.point)):
            # all operands but one are numbers, known when the function is compiled
            def f(x, kept=kept, case=case):
                return case.f(*[x if i == kept else number for i, number in enumerate(case.point)])

            eager = Case(f"{case.text} of operand {kept}", f, (case.point[kept],))

            def both(x, f=f):
                out = f(x)
                return [out, grad(out, [x])[0]]

            found = jit(both, strict=True).batch([case.point[kept]] * 2)[1]
            eager.check_signed_value(found[0])
            eager.check_gradient(found[1:])


@each_op
def test_operands_side_by_side_give_the_values_one_by_one(op):
    """Many members of one group: the loops over scalars and over lanes take several at a time."""
    first = OPERATIONS[op].samples[0]
    points = [point for point in OPERATIONS[op].samples if len(point) == len(first)] * 11
    f = on_flat(op)
    leaves = [[Value(x) for x in point] for point in points]
    of_parameters = jit(lambda: [f(*row) for row in leaves], strict=True).batch()[0]
    of_inputs = jit(lambda rows: [f(*row) for row in rows], strict=True).batch([points] * 2)[1]
    for point, a, b in zip(points, of_parameters, of_inputs, strict=True):
        case = Case(f"{op.name}{point}", f, point)
        case.check_signed_value(a)
        case.check_signed_value(b)


@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + 0.0, lambda x: 0.0 + x, lambda x: x + -0.0, lambda x: x - 0.0, lambda x: x - -0.0,
        lambda x: 0.0 - x, lambda x: x * 0.0, lambda x: -0.0 * x, lambda x: x * 1.0, lambda x: -1.0 * x,
        lambda x: x / 1.0, lambda x: x / -1.0, lambda x: 0.0 / x, lambda x: x / 0.0, lambda x: x - x, lambda x: x / x,
        lambda x: ops.neg(-x), lambda x: x + -x, lambda x: (-x) * (-x), lambda x: x**0, lambda x: x**1, lambda x: x**2,
        lambda x: 1.0**x, lambda x: ops.where(x, x, x), lambda x: ops.where(math.nan, x, 1.0), lambda x: abs(-x),
        lambda x: ops.total([x, 0.0]), lambda x: ops.dot([x], [2.0]),
        lambda x: ops.dot([1.0], [x], 0.0), lambda x: ops.maximum(x), lambda x: ops.maximum(x, x),
        lambda x: ops.minimum(x, 0.0), lambda x: ops.maximum(0.0, x), lambda x: ops.equal(x, x),
        lambda x: ops.less_equal(x, x), lambda x: ops.clip(x, -math.inf, math.inf), lambda x: ops.leaky_relu(x, 1.0),
        lambda x: ops.pick(0, [x, 1.0]), lambda x: ops.sqrt(x * x), lambda x: ops.step(0.0 * x), lambda x: ops.sign(x),
    ],
)  # fmt: skip
def test_no_simplification_forgets_nan_infinity_or_the_sign_of_zero(f, strict):
    points = [0.0, -0.0, 1.0, -1.0, 2.5, math.inf, -math.inf, math.nan, 5e-324, -1e-310, 1e200, -1e308]
    for x, got in zip(points, jit(f, strict=strict).batch(points), strict=True):
        eager = f(Value(x)).data
        assert got == eager or (got != got and eager != eager), f"at {x!r}: eager {eager!r}, compiled {got!r}"
        assert got != 0.0 or math.copysign(1.0, got) == math.copysign(1.0, eager), f"at {x!r}: zero lost its sign"


@pytest.mark.parametrize("f", [ops.total, ops.mean, ops.logsumexp, lambda xs: ops.dot(xs, [1.0])])
def test_a_sum_of_one_negative_zero_is_zero_as_in_eager(f):
    assert (1.0 / f([Value(-0.0)])).data == math.inf
    assert jit(lambda x: 1.0 / f([x])).batch([-0.0]).tolist() == [math.inf]
