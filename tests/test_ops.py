"""The table of operations: every value and derivative, against mpmath and at every edge."""

import copy
import functools
import itertools
import math
import pickle
from fractions import Fraction
from random import Random

import pytest

import tinygrad_lite
from tinygrad_lite import OPS, Op, Value, grad, hessian, ops
from tinygrad_lite.engine import UNREACHED, topological_order

from . import generated
from .accuracy import error
from .operation import Operation, inf, mp, mpf, nan
from .operations import EDGES, OPERATIONS, missing
from .oracle import random_points

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def same(got, expected):
    """Equal to the bit, but for the payload of a nan."""
    return (got == expected and math.copysign(1.0, got) == math.copysign(1.0, expected)) or (
        math.isnan(got) and math.isnan(expected)
    )


def equal_or_both_nan(got, expected):
    return got == expected or (math.isnan(got) and math.isnan(expected))


# --- derivatives; how accurate they are is the matter of test_oracle.py


@functools.cache
def observed(op):
    """At each sample point and 1,000 random points: (point, backward's gradient, grad's)."""
    found = []
    for point in random_points(op):
        xs = [Value(x) for x in point]
        out = Value.record(op, xs)
        out.backward()
        found.append((point, [x.grad for x in xs], [g.data for g in grad(out, xs)]))
    return found


@each_op
def test_grad_gives_the_gradient_of_backward_to_the_bit(op):
    for point, gradient, got in observed(op):
        assert all(map(equal_or_both_nan, got, gradient)), f"{op} at {point}: {got} and {gradient}"


@each_op
def test_closed_forms_of_the_reference_agree_with_mpmath_diff(op):
    reference = OPERATIONS[op].reference

    def value(*x):
        return reference(*x)[0]

    if OPERATIONS[op].kind == "constant":
        pytest.skip("its derivative is a decision, not a limit")
    for point in OPERATIONS[op].samples:
        x, n = tuple(map(mpf, point)), range(len(point))
        _, gradient, hessian = reference(*x)
        for i in n:
            assert mp.almosteq(mp.diff(value, x, tuple(int(k == i) for k in n)), gradient[i], 1e-20, 1e-20)
            for j in n:
                orders = tuple(int(k == i) + int(k == j) for k in n)
                assert mp.almosteq(mp.diff(value, x, orders), hessian[i][j], 1e-20, 1e-20)


@each_op
def test_value_and_partials_are_about_right_at_the_sample_points(op):
    for point in OPERATIONS[op].samples:
        value, gradient, _ = OPERATIONS[op].reference(*map(mpf, point))
        out = Value.record(op, [Value(x) for x in point])
        partials = [d or 0.0 for d in out.local_grads]  # None: not selected
        for got, true in zip([out.data, *partials], [value, *gradient], strict=True):
            assert mp.almosteq(got, true, 1e-14, 1e-14), f"{op} at {point}"


def test_the_square_is_x_times_x_to_the_bit():
    r = Random("square")
    for x in (
        3.5543694881303063,
        *(r.uniform(-4.0, 4.0) for _ in range(10_000)),
    ):  # glibc's pow differs at one in 1,000
        assert ops.power(x, 2) == (Value(x) ** 2).data == x * x


def test_the_hessian_of_power_is_symmetric_where_the_exponent_is_zero():
    rows = hessian(ops.power(x := Value(4.0), n := Value(0.0)), [x, n])
    assert [[h.data for h in row] for row in rows] == [[0.0, 0.25], [0.25, math.log(4.0) ** 2]]


@pytest.mark.parametrize("n", range(6))
def test_whole_powers_are_smooth_at_zero(n):
    x = Value(0.0)
    derivatives = [x**n]
    for _ in range(5):
        derivatives += grad(derivatives[-1], [x])
    assert [d.data for d in derivatives] == [math.factorial(n) if k == n else 0.0 for k in range(6)]


@pytest.mark.parametrize("k", [-1000, -500, 500, 1020])
def test_hypot_and_atan2_scale_without_overflow_or_underflow(k):
    a, b = Value(math.ldexp(3.0, k)), Value(math.ldexp(4.0, k))
    r, angle = ops.hypot(a, b), ops.atan2(b, a)
    assert r.data == math.ldexp(5.0, k)
    assert r.local_grads == (0.6, 0.8)
    assert angle.local_grads == (math.ldexp(0.12, -k), math.ldexp(-0.16, -k))


# --- edges


each_edge = pytest.mark.parametrize("edge", EDGES, ids=lambda edge: edge.text)


def assert_value(got, expected):
    assert same(got, expected) or (expected != 0.0 and error(got, mpf(expected)) <= 2.0), got


def assert_partials(got, expected):
    for i, (d, e) in enumerate(zip(got, expected)):
        assert d == e if not e else error(d, mpf(e)) <= 4.0, f"partial {i}: got {d!r}, expected {e!r}"


@each_edge
def test_an_edge_has_the_value_and_the_partials_of_the_table(edge):
    xs = [Value(x) for x in edge.point]
    out = edge.f(*xs)
    out.backward()
    assert_value(out.data, edge.value)
    assert_partials([x.grad for x in xs], [e or 0.0 for e in edge.partials])
    assert all(x.grad is UNREACHED for x, e in zip(xs, edge.partials) if e is None)


@each_edge
def test_grad_finds_the_same_partials_at_an_edge(edge):
    xs = [Value(x) for x in edge.point]
    assert_partials([g.data for g in grad(edge.f(*xs), xs)], [e or 0.0 for e in edge.partials])


@each_edge
def test_plain_numbers_meet_the_same_edges(edge):
    if edge.f is not OPERATIONS[edge.op].call:
        pytest.skip("an edge of a Value's operators or methods")
    assert_value(edge.f(*edge.point), edge.value)


KINKED = {
    "abs": abs,
    "relu": ops.relu,
    **{f"leaky_relu, slope {a}": functools.partial(Value.leaky_relu, slope=a) for a in (0.0, 0.01, 0.5, 1.0)},
}


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("f", KINKED.values(), ids=KINKED)
def test_a_kink_takes_the_subgradient_of_least_norm(f, zero):
    x, left, right = Value(zero), Value(-1.0), Value(1.0)
    for v in x, left, right:
        f(v).backward()
    low, high = sorted((left.grad, right.grad))
    assert x.grad == min(max(0.0, low), high)


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("op", [ops.maximum, ops.minimum], ids=lambda op: op.name)
def test_k_equal_operands_share_the_gradient_equally(op, k):
    assert op(*(Value(2.0) for _ in range(k))).local_grads == (1.0 / k,) * k


SPECIAL = [0.0, 0.5, 1.0, 2.0, 3.0, 710.0, 1e16, 1e200, 1.7e308, 5e-324, 1e-310, inf]
SPECIAL += [-x for x in SPECIAL] + [nan]


def special_points(op):
    if (at := OPERATIONS[op].index) is not None:  # it must be one
        points = itertools.product(SPECIAL, repeat=2)
        return [(k, *xs) if at == 0 else (*xs, k) for xs in points for k in (0.0, 1.0)]
    few = [0.0, -0.0, 1.0, -2.0, 1e200, 5e-324, inf, -inf, nan]
    return list(itertools.product(SPECIAL if OPERATIONS[op].operands < 3 else few, repeat=OPERATIONS[op].operands))


@each_op
def test_any_floats_give_a_float_and_never_an_exception_or_a_complex_number(op):
    for point in special_points(op):
        out = op.value(*point)
        assert out.__class__ is float, f"{op}{point} is {out!r}"
        partials = op.local_grads(out, point)
        assert len(partials) == len(point)
        assert {d.__class__ for d in partials} <= {float, type(None)}, f"{op}{point} has partials {partials}"


# not + - * / and neg, which follow IEEE: there the slope of -x is -1 whatever x is
@pytest.mark.parametrize("op", [op for op in OPS if OPERATIONS[op].nan_is_nan], ids=lambda op: op.name)
def test_where_the_value_is_nan_every_partial_is_nan(op):
    nans = [point for point in special_points(op) if math.isnan(op.value(*point))]
    assert nans
    for point in nans:
        partials = op.local_grads(nan, point)
        assert all(d is not None and math.isnan(d) for d in partials), f"{op}{point} has partials {partials}"


# where Python raises, turns complex or forgets a nan
TRAPS = [
    (ops.exp, (710.0,), inf),
    (ops.expm1, (710.0,), inf),
    (ops.sinh, (-711.0,), -inf),
    (ops.cosh, (-711.0,), inf),
    (ops.power, (1e200, 2.0), inf),
    (ops.power, (1e200, 3.0), inf),
    (ops.power, (-1e200, 3.0), -inf),
    (ops.power, (-1e200, 4.0), inf),
    (ops.power, (0.0, -0.5), inf),
    (ops.power, (-0.0, -3.0), -inf),
    (ops.power, (-0.0, -2.0), inf),
    (ops.power, (-2.0, 0.5), nan),
    (ops.mul, (1e200, 1e200), inf),
    (ops.div, (1.0, 0.0), inf),
    (ops.div, (1.0, -0.0), -inf),
    (ops.div, (-1.0, 0.0), -inf),
    (ops.div, (0.0, 0.0), nan),
    (ops.div, (nan, 0.0), nan),
    (ops.log, (0.0,), -inf),
    (ops.log1p, (-1.0,), -inf),
    (ops.log, (-1.0,), nan),
    (ops.sqrt, (-1.0,), nan),
    (ops.asin, (1.5,), nan),
    (ops.sin, (-inf,), nan),
    (ops.maximum, (1.0, nan), nan),
    (ops.maximum, (nan, 1.0), nan),
    (ops.maximum, (1.0, nan, 2.0), nan),
    (ops.minimum, (1.0, nan), nan),
    (ops.minimum, (nan, 1.0), nan),
    (ops.minimum, (2.0, nan, 1.0), nan),
]


@pytest.mark.parametrize(("op", "point", "expected"), TRAPS, ids=lambda x: str(x))
def test_arithmetic_is_ieee_where_pythons_is_not(op, point, expected):
    assert same(op(*point), expected)
    assert same(op(*map(Value, point)).data, expected)


def test_the_operators_of_values_fall_into_no_trap_of_python():
    assert (Value(1e200) ** 2).data == inf
    assert (1.0 / Value(0.0)).data == inf
    assert (Value(-1.0) / 0).data == -inf
    assert math.isnan((Value(-2.0) ** 0.5).data)
    assert math.isnan(((-2.0) ** Value(0.5)).data)


def test_products_underflow_gradually():
    x = Value(2.0**-1022) * 0.5
    assert x.data == 2.0**-1023 != 0.0
    assert (x * 2.0**-51).data == math.ulp(0.0)


# --- the table is whole


def test_nothing_is_missing_for_any_operation():
    assert missing() == []


def test_all_that_a_new_operation_needs_is_told_at_once():
    (line,) = missing((*OPS, Op("erfc", "erfc", math.erfc, (lambda out, x: -ops.exp(-x * x),))))
    assert line.startswith("erfc is in OPS and has no: record in tests/operations.py with two sample points")
    for what in (
        "(samples), random points (draw)", "edge cases (edges)", "a reference in mpmath (reference)",
        "bounds of its error (accuracy)", "a rule for dual numbers (dual)", "another spelling (rewritings)",
        "its name in PyTorch, JAX and CasADi (peers)",
        "no: row in tinygrad_lite/compiler/lowerings.py (LOWERINGS)",
        "no: row in tinygrad_lite/compiler/elementwise.py (ELEMENTWISE)", "no: export in tinygrad_lite/__init__.py",
        "no: method of Value in tinygrad_lite/methods.py (`python tests/generated.py` writes it)",
        "no: row in tests/README.md (`python -m tests.accuracy --write` writes it)",
    ):  # fmt: skip
        assert what in line


def test_a_record_that_lacks_something_is_told_with_all_that_it_lacks(monkeypatch):
    monkeypatch.setitem(OPERATIONS, ops.exp, Operation(op=ops.exp, samples=((1.0,),), draw=lambda r: (r.random(),)))
    (line,) = missing()
    assert line.startswith("exp is in OPS and has no: two sample points (samples); no: edge cases (edges); no: a ")
    assert line.endswith("(vectorised, in its record)")


def test_what_is_elsewhere_and_not_in_the_table_is_told():
    without = tuple(op for op in OPS if op is not ops.tanh)
    assert missing(without) == [
        "tanh is a record of ops.py and is not in OPS",
        "tanh has a record in tests/operations.py and is not in OPS",
        "tanh has a lowering (LOWERINGS) and is not in OPS",
        "tanh has a row for arrays (ELEMENTWISE) and is not in OPS",
        "tanh has a row of C and JavaScript (ROWS) and is not in OPS",
    ]


@each_op
def test_random_points_differ(op):
    assert len({OPERATIONS[op].draw(Random(seed)) for seed in range(20)}) > 1


def test_names_of_operations_and_edges_are_unique():
    assert len({op.name for op in OPS}) == len(OPS)
    assert len({edge.text for edge in EDGES}) == len(EDGES)


OPERATORS = {op: record.operator for op, record in OPERATIONS.items() if record.operator}


def test_every_operation_is_exported_by_its_name_or_is_an_operator():
    exported = {op for op in vars(tinygrad_lite).values() if isinstance(op, Op)}
    assert exported | set(OPERATORS) == set(OPS)
    for op in exported:
        assert getattr(tinygrad_lite, op.name) is op
        assert op.name in tinygrad_lite.__all__


def test_every_record_in_the_module_is_in_the_table_once():
    records = [op for op in vars(ops).values() if isinstance(op, Op)]
    assert len(records) == len(set(records)) == len(OPS)
    assert set(records) == set(OPS)


@each_op
def test_a_copy_or_pickle_of_an_operation_is_the_record_itself(op):
    assert copy.copy(op) is copy.deepcopy(op) is pickle.loads(pickle.dumps(op)) is op


# --- calls


def kinds_of_one():
    numpy = pytest.importorskip("numpy")
    return [1, True, Fraction(1), numpy.float32(1), numpy.float64(1), numpy.int64(1), numpy.uint8(1), numpy.bool_(True)]


@each_op
def test_numbers_of_any_kind_give_a_float(op):
    ones = (1.0,) * OPERATIONS[op].operands
    for one in kinds_of_one():
        out = OPERATIONS[op].call(*(one for _ in ones))
        assert out.__class__ is float
        assert same(out, op.value(*ones)), f"{op} of {one!r}"


@each_op
def test_any_value_among_the_operands_gives_a_value(op):
    for point in OPERATIONS[op].samples:
        out = op.value(*point)
        for values in itertools.product((False, True), repeat=len(point)):
            if not any(values):
                assert OPERATIONS[op].call(*point) == out
                continue
            operands = [Value(x) if is_value else x for x, is_value in zip(point, values)]
            node = OPERATIONS[op].call(*operands)
            assert isinstance(node, Value) and node.op is op and node.data == out
            assert all(a is b or a == b for a, b in zip(node.args, operands, strict=True))
            whole = op.local_grads(out, point)
            assert node.local_grads == tuple([d if is_value else None for d, is_value in zip(whole, values)])


@each_op
def test_every_kind_of_number_beside_a_value_becomes_a_float(op):
    arity = OPERATIONS[op].operands
    for one in kinds_of_one():
        for i in range(arity):
            node = OPERATIONS[op].call(*[Value(1.0) if j == i else one for j in range(arity)])
            assert all(x.__class__ is float for j, x in enumerate(node.args) if j != i)


@pytest.mark.parametrize("op", [op for op in OPS if hasattr(Value, op.name)], ids=lambda op: op.name)
def test_a_method_of_value_records_what_the_operation_records(op):
    for point, *_ in observed(op):
        xs = [Value(x) for x in point]
        method, record = getattr(xs[0], op.name)(*xs[1:]), Value.record(op, xs)
        assert (method.op, method.args, method.data) == (op, record.args, record.data)
        assert method.local_grads == record.local_grads


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: op.name)
def test_an_operator_computes_what_the_operation_does(op):
    for point, *_ in observed(op):
        xs = [Value(x) for x in point]
        out, record = OPERATORS[op](*xs), Value.record(op, xs)
        if op in (ops.less, ops.less_equal):
            assert out is bool(record.data)
            continue
        assert (out.op, out.args, out.data) == (op, record.args, record.data)
        assert all(map(equal_or_both_nan, out.local_grads, record.local_grads))


def test_dot_starts_from_its_third_operand():
    assert ops.dot([1, 2], [3, 4], 5) == 16.0
    out = ops.dot([Value(1.0), 2.0], [3.0, Value(4.0)], Value(5.0))
    assert (out.data, out.local_grads) == (16.0, (3.0, None, None, 2.0, 1.0))


def test_sums_over_nothing_are_zero():
    assert same(ops.total([]), 0.0) and same(ops.dot([], []), 0.0)


def test_lists_may_be_iterators():
    assert ops.total(iter([1, 2])) == ops.dot(iter([1, 1]), iter([1, 2])) == ops.pick(0, iter([3, 1])) == 3.0


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        (lambda: ops.dot([1, 2], [1]), ValueError, "dot expects two lists of one length, got 2 and 1 numbers"),
        (lambda: ops.dot([], [Value(1)]), ValueError, "two lists of one length, got 0 and 1"),
        (
            lambda: ops.dot(1, 2),
            TypeError,
            r"dot takes two lists of numbers, got 1 and 2: write dot\(\[...\], \[...\]\)",
        ),
        (lambda: ops.maximum([1, 2]), TypeError, r"takes its numbers one by one, got a list: write maximum\(\*xs\)"),
        (lambda: ops.minimum((1, 2)), TypeError, r"takes its numbers one by one, got a tuple.*: write minimum\(\*xs\)"),
        (lambda: ops.maximum(), ValueError, r"maximum expects at least one number: write maximum\(a, b, ...\)"),
        (lambda: ops.minimum(), ValueError, r"minimum expects at least one number: write minimum\(a, b, ...\)"),
        (lambda: ops.mean([]), ValueError, "mean expects at least one number, got an empty list"),
        (lambda: ops.logsumexp([]), ValueError, "logsumexp expects at least one number, got an empty list"),
        (lambda: ops.pick(0, []), ValueError, "pick expects at least one number, got an empty list"),
        (lambda: ops.total(3), TypeError, r"total takes one list of numbers, got 3: write total\(\[...\]\)"),
        (lambda: ops.total(Value(3)), TypeError, r"total takes one list of numbers, got Value\(data=3.0"),
        (lambda: ops.mean(2.5), TypeError, "mean takes one list of numbers, got 2.5"),
        (lambda: ops.logsumexp(None), TypeError, "logsumexp takes one list of numbers, got None"),
        (lambda: ops.pick(0, 7), TypeError, "pick takes one list of numbers, got 7"),
        (lambda: ops.total(["a"]), TypeError, "one real number, got 'a'"),
        (lambda: ops.exp("1"), TypeError, "one real number, got '1'"),
        (lambda: ops.exp(1j), TypeError, "one real number, got 1j"),
        (lambda: ops.exp(None), TypeError, "one real number, got None"),
        (lambda: ops.exp([1.0]), TypeError, r"one real number, got \[1.0\] \(list\)"),
        (lambda: ops.add(Value(1), "1"), TypeError, "one real number, got '1'"),
        (lambda: ops.exp(10**400), OverflowError, "a float holds at most 1.8e308, got an integer of 1329 bits"),
    ],
)
def test_a_wrong_call_says_what_was_expected_and_what_was_got(mistake, kind, message):
    with pytest.raises(kind, match=message):
        mistake()


@pytest.mark.parametrize("k", [-1, 3, 1.5, -0.5, nan, inf, -inf])
def test_pick_refuses_an_index_that_is_none(k):
    for xs in [1.0, 2.0, 3.0], [Value(1.0), 2.0, 3.0]:
        with pytest.raises(ValueError, match=f"pick expects a whole number from 0 to 2, got {float(k)!r}"):
            ops.pick(k, xs)
    with pytest.raises(ValueError, match="pick expects a whole number from 0 to 2"):
        ops.pick(Value(k), [1.0, 2.0, 3.0])


def test_pick_takes_its_index_from_any_whole_number():
    numpy = pytest.importorskip("numpy")
    for k in (2, 2.0, Fraction(2), numpy.int64(2), Value(2)):
        out = ops.pick(k, [Value(5.0), 6.0, Value(7.0)])
        assert out.data == 7.0
        assert out.local_grads == (None, None, None, 1.0)


@pytest.mark.parametrize(
    ("f", "point", "local_grads"),
    [
        (ops.relu, (-1.0,), (None,)),
        (ops.where, (1.0, 2.0, 3.0), (None, 1.0, None)),
        (ops.where, (0.0, 2.0, 3.0), (None, None, 1.0)),
        (ops.maximum, (1.0, 3.0, 2.0), (None, 1.0, None)),
        (ops.minimum, (1.0, 3.0, 2.0), (1.0, None, None)),
        (ops.clip, (0.5, 0.0, 1.0), (1.0, None, None)),
        (ops.clip, (-2.0, 0.0, 1.0), (None, 1.0, None)),
        (ops.clip, (2.0, 0.0, 1.0), (None, None, 1.0)),
        (OPERATIONS[ops.pick].call, (1.0, 2.0, 3.0), (None, None, 1.0)),
        (ops.leaky_relu, (2.0, 0.1), (1.0, None)),
        (ops.equal, (2.0, 2.0), (None, None)),
    ],
)
def test_a_selecting_operation_leaves_the_others_unreached(f, point, local_grads):
    xs = [Value(x) for x in point]
    out = f(*xs)
    assert out.local_grads == local_grads
    out.backward()
    assert [x.grad is UNREACHED for x in xs] == [d is None for d in local_grads]


def test_a_plain_number_has_no_partial():
    assert (Value(2.0) ** 3).local_grads == (12.0, None)
    assert ops.where(True, Value(1.0), 2.0).local_grads == (None, 1.0, None)
    assert ops.maximum(Value(1.0), 0.0).local_grads == (1.0, None)


@pytest.mark.parametrize(("text", "shown"), [("x" * 78, f"'{'x' * 78}'"), ("x" * 79, f"'{'x' * 76}...")])
def test_what_is_no_number_is_shown_in_up_to_80_characters(text, shown):
    with pytest.raises(TypeError) as caught:
        Value(text)
    expected = (
        f"Value holds one real number, got {shown} (str); for a text that holds a number write Value(float(text))"
    )
    assert str(caught.value) == expected


def test_an_array_is_no_number_though_it_holds_one_bool():
    np = pytest.importorskip("numpy")
    assert Value(np.bool_(True)).data == 1.0
    with pytest.raises(TypeError, match=r"one real number, got array\(\[ True\]\)"):
        Value(np.array([True]))


@pytest.mark.parametrize("n", [2.0, 0.5, -1.0])
def test_the_derivative_of_a_power_is_a_product_and_a_power_where_it_needs_no_more(n):
    x = Value(3.0)
    (slope,) = grad(x**n, [x])
    assert [node.op.name for node in topological_order(slope) if node.op] == ["power", "mul"]


def test_an_operand_with_a_negative_partial_is_selected():
    assert ops.leaky_relu(Value(-2.0), -0.5).local_grads == (-0.5, None)


@each_op
def test_a_drawing_prints_the_usual_symbol_or_the_name(op):
    assert op.symbol == (OPERATIONS[op].symbol or op.name)
    assert getattr(ops, {"abs": "abs_", "round": "round_"}.get(op.name, op.name)) is op


# --- what follows from the table


def test_methods_of_a_value_follow_from_the_table():
    text = generated.METHODS.read_text(encoding="utf-8")
    assert text == generated.methods(text), "run `python tests/generated.py`: methods.py lags behind the table"


def test_the_package_exports_every_function_of_the_table():
    functions = sorted(op.name for op in OPS if op.name not in ops.OPERATORS)
    listed = sorted(name for name in ops.__all__ if name not in ("OPS", "Op"))
    assert listed == functions, f"list in ops.__all__: {sorted(set(functions) ^ set(listed))}"
    assert all(getattr(tinygrad_lite, name) is getattr(ops, name) for name in listed)
    assert set(ops.__all__) <= set(tinygrad_lite.__all__)
