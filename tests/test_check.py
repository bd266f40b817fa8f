"""The checker is checked: it accepts every operation of the table, and objects to broken ones."""

import ast
import math
import subprocess
import sys
from pathlib import Path

import pytest

from tinygrad_lite import OPS, Op, Value, check, check_op, grad, gradcheck, ops

from .operations import OPERATIONS

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)

# an operand that is a label: between whole numbers `pick` has no value, so no difference can be taken
HELD = {op: record.index for op, record in OPERATIONS.items() if record.index is not None}
DIFFERENTIATED = [op for op, record in OPERATIONS.items() if record.kind != "constant"]  # detach has no slope at all
each_differentiated = pytest.mark.parametrize("op", DIFFERENTIATED, ids=lambda op: op.name)


def altered(op, i, change):
    """The operation with its i-th partial d replaced by change(d)."""

    def partials(out, *xs):
        found = list(op.partials(out, *xs)) if callable(op.partials) else list(op.partials)
        found = [d(out, *xs) if callable(d) else d for d in found]
        found[i] = change(found[i])
        return found

    return Op(op.name, op.symbol, op.value, partials)


def broken(name, value, *partials):
    return Op(name, name, value, partials)


def recorded(op, point, at=None):
    """The operation as a function of its flat operands, and their numbers; the label at this place is held fixed."""
    if at is None:
        return lambda *xs: Value.record(op, xs), point
    at %= len(point)
    return lambda *xs: Value.record(op, (*xs[:at], point[at], *xs[at:])), point[:at] + point[at + 1 :]


# --- what is right is accepted


@each_differentiated
def test_every_operation_of_the_table_passes_at_its_sample_points(op):
    for point in OPERATIONS[op].samples:
        if op not in HELD:
            assert check_op(op, point)
            continue
        f, rest = recorded(op, point, HELD[op])
        assert gradcheck(f, rest)
        for i in range(len(rest)):
            assert gradcheck(lambda *xs: grad(f(*xs), xs)[i], rest)


def test_a_detached_number_has_a_slope_only_in_differences():
    with pytest.raises(AssertionError, match=r"backward gives 0.0, the central difference (1.0|0.99)"):
        check_op(ops.detach, [0.3])


@pytest.mark.parametrize("op", [op for op in DIFFERENTIATED if op not in HELD], ids=lambda op: op.name)
def test_third_derivatives_pass_too(op):
    for point in OPERATIONS[op].samples:
        assert check_op(op, point, order=3)


SMOOTH = {
    "a polynomial": (lambda x: x**3 - 2 * x + 1, [0.7]),
    "far from 1": (lambda x: x * x * x, [1e12]),
    "near 0": (lambda x: x * x * x, [1e-9]),
    "two users": (lambda x, y: x * y + (x * y).tanh(), [0.5, -1.0]),
    "a neuron": (lambda w, x, b: ops.tanh(ops.dot([w], [x], b)), [0.5, -1.0, 0.1]),
    "an input unused": (lambda x, y: x.exp(), [0.5, -1.0]),
    "a constant": (lambda x: Value(3.0), [0.5]),
    "an operation inside `grad`": (lambda x: grad(x.sin() * x, [x])[0], [0.8]),
    "no value at all": (lambda x: x.log(), [-1.0]),
}


@pytest.mark.parametrize(("f", "inputs"), SMOOTH.values(), ids=SMOOTH)
def test_smooth_functions_pass(f, inputs):
    assert gradcheck(f, inputs) is True


def test_integers_are_inputs_too():
    assert gradcheck(lambda x, y: x * y, [2, -3])


# --- what is wrong is caught


@each_op
def test_a_partial_that_is_off_by_a_thousandth_is_caught_whatever_the_operation(op):
    for point in OPERATIONS[op].samples:
        places = [i for i in range(len(point)) if op not in HELD or i != HELD[op] % len(point)]
        for i, place in enumerate(places):
            wrong = altered(op, place, lambda d: d + 0.001)
            with pytest.raises(AssertionError, match=f"d f / d input {i} at "):
                gradcheck(*recorded(wrong, point, HELD.get(op)))


BROKEN = {
    "0.1 % too large": (broken("sin", math.sin, lambda out, x: 1.001 * ops.cos(x)), [0.5]),
    "0.1 % too small": (broken("exp", math.exp, lambda out, x: 0.999 * out), [-1.0]),
    "wrong sign": (broken("cos", math.cos, lambda out, x: ops.sin(x)), [0.5]),
    "swapped": (broken("mul", lambda a, b: a * b, lambda out, a, b: a, lambda out, a, b: b), [2.0, 3.0]),
    "swapped, one sign": (broken("sub", lambda a, b: a - b, -1.0, 1.0), [2.0, 3.0]),
    "an operand forgotten": (broken("mul", lambda a, b: a * b, lambda out, a, b: b, 0.0), [2.0, 3.0]),
    "a factor forgotten": (broken("square", lambda x: x * x, lambda out, x: x), [3.0]),
    "of another function": (broken("tanh", math.tanh, lambda out, x: out * (1.0 - out)), [0.5]),
    "nan": (broken("exp", math.exp, math.nan), [0.5]),
    "infinite": (broken("exp", math.exp, math.inf), [0.5]),
}


@pytest.mark.parametrize(("op", "point"), BROKEN.values(), ids=BROKEN)
def test_a_broken_operation_is_caught_at_first_order(op, point):
    with pytest.raises(AssertionError, match="the central difference"):
        check_op(op, point, order=1)


def frozen(x):
    """The number of x alone: what flows through it is forgotten."""
    return x.data if isinstance(x, Value) else x


SECOND_ORDER = {
    "inner derivative forgotten": (broken("tanh", math.tanh, lambda out, x: 1.0 - frozen(out) * frozen(out)), [0.3]),
    "half of it forgotten": (broken("tanh", math.tanh, lambda out, x: 1.0 - out * frozen(out)), [0.3]),
    "through one operand only": (
        broken("div", lambda a, b: a / b, lambda out, a, b: 1.0 / b, lambda out, a, b: -frozen(out) / b),
        [2.0, 3.0],
    ),
}


@pytest.mark.parametrize(("op", "point"), SECOND_ORDER.values(), ids=SECOND_ORDER)
def test_an_inner_derivative_that_is_forgotten_is_caught_at_second_order_only(op, point):
    assert check_op(op, point, order=1)
    with pytest.raises(AssertionError, match="the central difference"):
        check_op(op, point)


def test_order_says_how_many_derivatives_are_checked():
    cube = broken("cube", lambda x: x**3, lambda out, x: 3.0 * ops.mul(x, x))
    assert check_op(cube, [0.7], order=4)
    square = broken("square", lambda x: x * x, lambda out, x: 2.0 * frozen(x))
    cube = broken("cube", lambda x: x**3, lambda out, x: 3.0 * square(x))
    assert check_op(cube, [0.7], order=2)
    with pytest.raises(AssertionError, match="the central difference"):
        check_op(cube, [0.7], order=3)


def test_a_partial_that_differs_between_floats_and_values_is_caught_in_grad():
    op = broken("sin", math.sin, lambda out, x: ops.cos(x) if isinstance(x, float) else 2.0 * ops.cos(x))
    with pytest.raises(AssertionError, match="grad gives"):
        gradcheck(op, [0.5])


def test_the_objection_names_the_input_what_was_got_and_what_was_expected():
    op = broken("mul", lambda a, b: a * b, lambda out, a, b: b, lambda out, a, b: 2.0 * a)
    message = r"d f / d input 1 at \[2.0, 3.0\]: backward gives 4.0, the central difference (2.0|1.99)"
    with pytest.raises(AssertionError, match=message):
        gradcheck(op, [2.0, 3.0])


def test_h_is_in_the_units_of_the_input():
    assert gradcheck(ops.log, [1e-6], h=1e-10)
    with pytest.raises(AssertionError, match="the central difference nan"):  # the usual step leads below 0
        gradcheck(ops.log, [1e-6])


def test_a_kink_at_the_point_is_no_smooth_point():
    with pytest.raises(AssertionError, match=r"backward gives 0.0, the central difference 0.5"):
        gradcheck(ops.relu, [0.0])


@pytest.mark.parametrize(("rtol", "atol", "passes"), [(1e-6, 1e-8, False), (2e-3, 0.0, True), (0.0, 2e-3, True)])
def test_tolerances_decide_what_is_close(rtol, atol, passes):
    def run():
        return gradcheck(broken("sin", math.sin, lambda out, x: 1.001 * ops.cos(x)), [0.5], rtol=rtol, atol=atol)

    if passes:
        assert run()
    else:
        with pytest.raises(AssertionError, match="input 0"):
            run()


def test_a_function_that_returns_no_value_is_refused():
    with pytest.raises(TypeError, match=r"gradcheck expects a function that returns one Value, got 1\.5"):
        gradcheck(lambda x: 1.5, [1.0])
    with pytest.raises(TypeError, match=r"one Value, got \[Value"):
        gradcheck(lambda x: [x], [1.0])


# --- without `assert`


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        (
            lambda: gradcheck(ops.exp, 2.0),
            TypeError,
            "gradcheck expects a function and a list of numbers, got exp and 2.0",
        ),
        (lambda: gradcheck(3.0, [2.0]), TypeError, "gradcheck expects a function and a list of numbers, got 3.0 and"),
        (lambda: check_op(ops.exp, 2.0), TypeError, "check_op expects an Op and a list of numbers, got exp and 2.0"),
        (lambda: check_op("exp", [2.0]), TypeError, "check_op expects an Op and a list of numbers, got 'exp' and"),
        (lambda: check_op(ops.exp, [1.0, 2.0]), ValueError, "exp takes 1 operands, got 2 numbers"),
        (lambda: check_op(ops.hypot, [1.0]), ValueError, "hypot takes 2 operands, got 1 numbers"),
    ],
)
def test_what_cannot_be_checked_is_told(mistake, kind, message):
    with pytest.raises(kind, match=message):
        mistake()


def test_no_check_of_the_package_is_an_assert():
    """python -O skips them. What may stay tells a type checker that something is not None."""
    package = Path(check.__file__).parent
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                parts = node.test.values if isinstance(node.test, ast.BoolOp) else [node.test]
                for part in parts:
                    assert ast.unparse(part).endswith(" is not None"), f"{file}:{node.lineno}: {ast.unparse(node)}"


def test_what_is_wrong_is_found_under_python_o_too():
    program = """
from tinygrad_lite import Value, check_op, gradcheck
from tinygrad_lite.ops import Op
assert False  # skipped under -O: so this is it
wrong = Op("square", "square", lambda x: x * x, (lambda out, x: 2.001 * x,))
for broken in (lambda: gradcheck(lambda x: wrong(x), [3.0]), lambda: check_op(wrong, [3.0])):
    try:
        broken()
    except AssertionError as error:
        print(str(error)[:25])
"""
    done = subprocess.run([sys.executable, "-O", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "d f / d input 0 at [3.0]:\n" * 2


def test_the_leaves_of_the_compilers_terms_are_no_operations():
    simplify = pytest.importorskip("tinygrad_lite.compiler.simplify")
    assert not simplify.LEAVES & set(OPS)
