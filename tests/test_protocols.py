"""What people write with a Value: Python's operators and built-ins, NumPy's functions, numbers of other types, and what
it says to the rest. Eager and compiled."""

import copy
import math
from decimal import Decimal
from fractions import Fraction

import pytest

from tinygrad_lite import (
    OPS,
    Op,
    Value,
    clip,
    cross_entropy,
    detach,
    dot,
    grad,
    hessian,
    hvp,
    jacobian,
    jit,
    leaky_relu,
    logsumexp,
    maximum,
    mean,
    nn,
    ops,
    tanh,
    total,
    where,
)

from .operation import mp, mpf

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

# --- forms: how it is written, at x, its value, its slope

FORMS = {
    "+v": (lambda v: +v, 2.5, 2.5, 1.0),
    "v % 2": (lambda v: v % 2, 2.5, 0.5, 1.0),
    "v % -2": (lambda v: v % -2, 2.5, -1.5, 1.0),
    "7 % v": (lambda v: 7 % v, 2.5, 2.0, -2.0),
    "v // 2": (lambda v: v // 2, -2.5, -2.0, 0.0),
    "7 // v": (lambda v: 7 // v, 2.5, 2.0, 0.0),
    "divmod(v, 2)": (lambda v: total(divmod(v, 2)), 2.5, 1.5, 1.0),
    "divmod(7, v)": (lambda v: total(divmod(7, v)), 2.5, 4.0, -2.0),
    "round(v)": (lambda v: v * round(v), 2.5, 5.0, 2.0),
    "round(v, 2)": (lambda v: v + round(v, 2), 2.567, 5.137, 1.0),
    "math.floor(v)": (lambda v: v * math.floor(v), -2.5, 7.5, -3.0),
    "math.ceil(v)": (lambda v: v * math.ceil(v), -2.5, 5.0, -2.0),
    "math.trunc(v)": (lambda v: v * math.trunc(v), -2.5, 5.0, -2.0),
    "round(v, -1)": (lambda v: v + round(v, -1), 27.0, 57.0, 1.0),
    "np.round(v, 1)": (lambda v: v + np.round(v, 1), 2.56, 5.16, 1.0),
    "np.ceil(v)": (lambda v: v * np.ceil(v), 2.5, 7.5, 3.0),
    "np.trunc(v)": (lambda v: v * np.trunc(v), -2.5, 5.0, -2.0),
    "np.square(v)": (lambda v: np.square(v), 2.5, 6.25, 5.0),
    "np.reciprocal(v)": (lambda v: np.reciprocal(v), 2.0, 0.5, -0.25),
    "np.sum(v)": (lambda v: v * np.sum(v), 2.5, 6.25, 5.0),
    "np.sum([...])": (lambda v: np.sum([v, v * v]), 2.5, 8.75, 6.0),
    "np.mean([...])": (lambda v: np.mean([v, v * v]), 2.5, 4.375, 3.0),
    "np.var([...])": (lambda v: np.var([v, 2.0 * v]), 2.0, 1.0, 1.0),
    "np.std([...])": (lambda v: np.std([v, 3.0 * v]), 2.0, 2.0, 1.0),
    "v.floor()": (lambda v: v - v.floor(), -2.25, 0.75, 1.0),
    "np.exp(v)": (lambda v: np.exp(v), 0.0, 1.0, 1.0),
    "np.log2(v)": (lambda v: np.log2(v), 8.0, 3.0, 1.0 / 8.0 / math.log(2.0)),
    "np.maximum(v, 1.0)": (lambda v: np.maximum(v, 1.0), 2.5, 2.5, 1.0),
    "np.arctan2(v, 1.0)": (lambda v: np.arctan2(v, 1.0), 0.0, 0.0, 1.0),
    "np.rint(v)": (lambda v: v * np.rint(v), 3.5, 14.0, 4.0),
    "np.remainder(v, 2)": (lambda v: np.remainder(v, 2), 2.5, 0.5, 1.0),
    "np.float64(2) * v": (lambda v: np.float64(2) * v, 2.5, 5.0, 2.0),
    "v * np.float64(2)": (lambda v: v * np.float64(2), 2.5, 5.0, 2.0),
    "np.float32(2) - v": (lambda v: np.float32(2) - v, 2.5, -0.5, -1.0),
    "np.int8(2) ** v": (lambda v: np.int8(2) ** v, 3.0, 8.0, 8.0 * math.log(2.0)),
    "v + Decimal('0.5')": (lambda v: v + Decimal("0.5"), 2.5, 3.0, 1.0),
    "Fraction(1, 2) * v": (lambda v: Fraction(1, 2) * v, 2.5, 1.25, 0.5),
    "detach(v)": (lambda v: v * detach(v), 2.5, 6.25, 2.5),
    "v.detach()": (lambda v: v * v.detach(), 2.5, 6.25, 2.5),
    "where(v == 2.5, ...)": (lambda v: where(v == 2.5, 2 * v, v), 2.5, 5.0, 2.0),
    "where(v != 1, ...)": (lambda v: where(v != 1, 2 * v, v), 2.5, 5.0, 2.0),
    "(v > 0) & (v < 1)": (lambda v: where((v > 0) & (v < 1), 2 * v, v), 0.5, 1.0, 2.0),
    "(v > 0) | (v < 1)": (lambda v: where((v > 0) | (v < -1), 2 * v, v), 0.5, 1.0, 2.0),
    "~(v > 0)": (lambda v: where(~(v > 1), 2 * v, v), 0.5, 1.0, 2.0),
    "leaky_relu(v)": (lambda v: leaky_relu(v), -2.0, -0.2, 0.1),
    "v.leaky_relu()": (lambda v: v.leaky_relu(), -2.0, -0.2, 0.1),
}


@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")
@pytest.mark.parametrize(("f", "x", "value", "slope"), FORMS.values(), ids=FORMS)
def test_a_form_means_the_same_eager_and_compiled(f, x, value, slope):
    v = Value(x)
    out = f(v)
    assert isinstance(out, Value) and out.data == pytest.approx(value, rel=1e-15)
    out.backward()
    assert v.grad == pytest.approx(slope, rel=1e-15)
    assert grad(f(v), [v])[0].data == v.grad
    assert jit(f).batch([x, x]).tolist() == pytest.approx([value] * 2, rel=1e-15)
    parameter = Value(x)
    got, gradient = jit(lambda: f(parameter)).value_and_grad()
    assert (got, gradient.tolist()) == (pytest.approx(value, rel=1e-15), pytest.approx([slope], rel=1e-15))


# --- conditions

CONDITIONS = {
    "c & d": lambda c, d: c & d,
    "c | d": lambda c, d: c | d,
    "c ^ d": lambda c, d: c ^ d,
    "~c": lambda c, d: ~c,
    "~~c": lambda c, d: ~~c,
    "~c & ~d": lambda c, d: ~c & ~d,
    "~c | d": lambda c, d: ~c | d,
    "~(c & ~d)": lambda c, d: ~(c & ~d),
    "~(c ^ d)": lambda c, d: ~(c ^ d),
    "True & c": lambda c, d: True & c,
    "c & False": lambda c, d: c & False,
    "False | d": lambda c, d: False | d,
    "np.bool_ ^ c": lambda c, d: np.bool_(True) ^ c,
    "c == d": lambda c, d: c == d,
    "c != d": lambda c, d: c != d,
    "np.logical_and": lambda c, d: np.logical_and(c, d),
    "np.logical_or": lambda c, d: np.logical_or(c, d),
    "np.logical_not": lambda c, d: np.logical_not(c),
}


@pytest.mark.sample(len(CONDITIONS))
@pytest.mark.filterwarnings("ignore:Bitwise inversion:DeprecationWarning")  # of Python's own, from 3.12 on
@pytest.mark.parametrize("combined", CONDITIONS.values(), ids=CONDITIONS)
def test_conditions_combine_eager_and_recorded_alike(combined):
    points = [(x, y) for x in (-1.0, 0.5, 1.0, math.nan) for y in (-1.0, 0.5, 2.0, math.nan)]
    comparisons = (lambda x, y: (x > 0, y <= 1)), (lambda x, y: (x == 0.5, y != 2.0)), (lambda x, y: (y >= x, x < 1))
    for compared in comparisons:

        def f(x, y, compared=compared):
            return where(combined(*compared(x, y)), 1.0, 0.0)

        expected = [float(bool(combined(*map(np.bool_, compared(x, y))))) for x, y in points]  # of which ~ is `not`
        assert [f(Value(x), Value(y)) for x, y in points] == expected
        assert jit(f).batch(*zip(*points)).tolist() == expected


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda v: v & v, r"& combines conditions, and a Value is a number: compare it, as in \(v > 0\) & \(w > 0\)"),
        (lambda v: 1 & v, "& combines conditions, and a Value is a number"),
        (lambda v: v | (v > 0), r"\| combines conditions, and a Value is a number"),
        (lambda v: ~v, r"~ combines conditions, .* as in ~\(v > 0\)"),
        (lambda v: v ^ 2, r"for a power write v \*\* 2"),
        (lambda v: 2 ^ v, r"for a power write v \*\* 2"),
    ],
)
def test_a_number_is_no_condition(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake(Value(2.0))
    with pytest.raises(TypeError, match=message):
        jit(mistake).batch([2.0])


@pytest.mark.parametrize("digits", [0, 1, 2, 15, 17, 300, 400, -1, -2, -300, -400])
def test_rounding_to_digits_is_numpys_and_never_overflows(digits):
    points = [
        0.0,
        -0.0,
        2.5,
        -0.125,
        4.35,
        1234.5678,
        1e-300,
        1e300,
        -1e300,
        2.0**52 + 1.0,
        math.inf,
        -math.inf,
        math.nan,
    ]
    found = [round(Value(x), digits) for x in points]
    assert jit(lambda x: round(x, digits)).batch(points).tolist() == pytest.approx([r.data for r in found], nan_ok=True)
    for x, r in zip(points, found, strict=True):
        expected = (
            float(np.round(np.float64(x), digits))
            if abs(digits) < 20 and abs(x) < 1e100
            else round(x, digits)
            if (math.isfinite(x))
            else x
        )
        assert r.data == pytest.approx(expected, rel=1e-15, abs=1e-300, nan_ok=True)
        r.backward()
    with pytest.raises(TypeError, match="cannot be interpreted as an integer"):
        round(Value(1.0), 1.5)


def test_plus_v_is_v():
    v = Value(2.0)
    assert +v is v


def test_a_detached_copy_is_a_constant():
    v = Value(3.0)
    c = v.detach()
    (c * c).backward()
    assert c.data == 3.0 and v.grad == 0.0
    assert detach(3) == 3.0 and c is not v


# --- comparison with ==: a number is compared, a node is itself


def test_a_value_equals_its_number_and_no_other_node():
    v = Value(2.5)
    for number in (2.5, np.float64(2.5), np.float32(2.5), Fraction(5, 2), Decimal("2.5"), np.array(2.5)):
        assert (v == number, number == v, v != number, number != v) == (True, True, False, False)
    for number in (1.0, 1, True, np.float64(2.0), math.nan):
        assert (v == number, number == v, v != number, number != v) == (False, False, True, True)
    for other in (Value(2.5), "2.5", None, [2.5], (2.5,), object()):
        assert (v == other, v != other) == (False, True)
    same = v
    assert (v == same, v != same) == (True, False)
    assert Value(1.0) == 1 and Value(0.0) == -0.0 and Value(math.nan) != math.nan


def test_membership_and_counting_compare_numbers():
    v = Value(2.5)
    assert v in [1.0, 2.5] and v not in [1.0, 2.0] and [1.0, v].index(2.5) == 1
    assert sum(x == 1.0 for x in [Value(1.0), Value(2.0), Value(1.0)]) == 2


def test_the_hash_of_a_value_is_that_of_the_node():
    v, w = Value(2.5), Value(2.5)
    assert len({v, w}) == 2 and {v: "v", w: "w"}[v] == "v" and v in {v, w}
    before = hash(v)
    v.data = 7.0
    assert hash(v) == before


def test_a_branch_on_a_recorded_comparison_is_refused():
    for f in (lambda v: v if v == 1.0 else -v, lambda v: v if v in [1.0, 2.0] else -v, lambda v: v if v != 1 else -v):
        assert isinstance(f(Value(1.0)), Value)
        with pytest.raises(TypeError, match=r"write where\(condition, a, b\)"):
            jit(f).batch([1.0])


# --- numbers of other types, in .data


CONSUMERS = {
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "x * x": lambda x: x * x,
    "x / 3": lambda x: x / 3,
    "3.0 / x": lambda x: 3.0 / x,
    "x ** 2": lambda x: x**2,
    "1.01 ** x": lambda x: 1.01**x,
    "x % 3": lambda x: x % 3,
    "x // 3": lambda x: x // 3,
    "-x": lambda x: -x,
    "abs(x)": abs,
    "round(x)": round,
    "tanh(x)": tanh,
    "x.exp()": lambda x: (0.01 * x).exp(),
    "x.relu()": lambda x: x.relu(),
    "x.detach()": lambda x: x.detach(),
    "dot": lambda x: dot([x, Value(2.0)], [3.0, x]),
    "a neuron's weight": lambda x: unit([Value(2.0)], x, Value(1.0)),
    "a neuron's bias": lambda x: unit([Value(2.0)], Value(1.0), x),
    "a neuron's input": lambda x: unit([x], Value(2.0), Value(1.0)),
    "total": lambda x: total([x, x, 1.0]),
    "mean": lambda x: mean([x, 1.0]),
    "maximum": lambda x: maximum(x, 1.5),
    "logsumexp": lambda x: logsumexp([x, 1.0]),
    "cross_entropy": lambda x: cross_entropy([x, 1.0], 0),
    "where": lambda x: where(x, x, 1.0),
    "clip": lambda x: clip(x, 0.0, 1000.0),
}


def unit(x, w, b):
    """A linear neuron, whose dot is computed with those of its layer."""
    layer = nn.Layer(1, 1, activation="linear")
    layer.neurons[0].w[0], layer.neurons[0].b = w, b
    return layer(x)


each_consumer = pytest.mark.parametrize("f", CONSUMERS.values(), ids=CONSUMERS)


@pytest.mark.filterwarnings("ignore:overflow encountered")  # NumPy's own, of int8: it is computed again
@each_consumer
@pytest.mark.parametrize(
    "number",
    [np.float32(0.1), np.float16(0.1), np.int8(100), np.uint8(200), np.float64(0.1), np.array(2.0), Fraction(1, 10)],
    ids=lambda x: f"{type(x).__name__}({x})",
)
def test_a_number_of_another_type_in_data_is_computed_as_a_float(f, number):
    x, usual = Value(1.0), Value(float(number))
    x.data = number
    out, expected = f(x), f(usual)
    assert out.data.__class__ is float and out.data == expected.data
    out.backward()
    expected.backward()
    assert x.grad == usual.grad and x.grad.__class__ is float


@pytest.mark.parametrize("number", [3, True])
@each_consumer
def test_pythons_whole_numbers_in_data_are_computed_as_floats_too(f, number):
    x, usual = Value(1.0), Value(number)
    x.data = number
    out, expected = f(x), f(usual)
    out.backward()
    expected.backward()
    assert out.data.__class__ is float and (out.data, x.grad) == (expected.data, usual.grad)


@each_consumer
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("1.5", r"one real number, got '1.5' \(str\); for a text that holds a number write Value\(float\(text\)\)"),
        (None, "one real number, got None"),
        (1j, "one real number, got 1j"),
        ([1.0], r"one real number, got \[1.0\]"),
        (np.array([2.0]), "one real number, got array"),
        (Value(2.0), r"the data of w=2 is a Value, not a number: write p.data -= lr \* p.grad"),
    ],
    ids=["str", "None", "complex", "list", "array", "Value"],
)
def test_what_is_no_number_in_data_is_refused_where_it_is_next_used(f, wrong, message):
    x = Value(1.0, label="w")
    x.data = wrong
    with pytest.raises(TypeError, match=message):
        f(x)


@pytest.mark.parametrize("number", [np.float32(0.1), np.int8(100), 3])
def test_a_number_of_another_type_in_data_is_read_by_compiled_code(number):
    x, z = Value(1.0), 0.25
    compiled = jit(lambda z: x * z)
    x.data = number
    assert compiled.batch([z]).tolist() == [float(number) * z]
    assert compiled(z).data == float(number) * z


@pytest.mark.parametrize("wrong", ["1.5", None, Value(2.0)])
def test_what_is_no_number_in_data_is_refused_by_compiled_code(wrong):
    x = Value(1.0)
    compiled = jit(lambda z: x * z)
    x.data = wrong
    with pytest.raises(TypeError, match=r"one real number|is a Value, not a number"):
        compiled.batch([0.25])


@pytest.mark.parametrize("x", [5e-324, -5e-324, 1e-310, 5.5e-309, 2.3e-308, 0.0, -0.0])
def test_a_number_to_a_power_of_zero_is_constant_though_its_inverse_overflows(x):
    v, n = Value(x), Value(0.0)
    out = v**n
    out.backward()
    assert (out.data, v.grad) == (1.0, 0.0)
    assert grad(v**n, [v])[0].data == 0.0
    assert jit(lambda v, n: grad(v**n, [v])[0]).batch([x, 2.0], [0.0, 3.0]).tolist() == [0.0, 12.0]


# --- Value(...)


class Tensor:
    """What a PyTorch tensor is to us: a float if it has no dimensions, and no Real."""

    dtype = "torch.float32"

    def __init__(self, number, shape=()):
        self.number, self.shape, self.ndim = number, shape, len(shape)

    def __float__(self):
        if self.shape:
            raise ValueError("only one element tensors can be converted to Python scalars")
        return self.number

    def __repr__(self):
        return f"tensor({self.number})"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (np.array(2.0), 2.0), (np.array(3), 3.0), (Decimal("1.5"), 1.5), (Tensor(1.0), 1.0), (np.float16(0.5), 0.5),
        (np.bool_(True), 1.0), (Fraction(1, 4), 0.25), (True, 1.0), (7, 7.0),
    ],
)  # fmt: skip
def test_one_real_number_of_any_type_is_a_value(number, expected):
    for v in (
        Value(number),
        Value(1.0) * number,
        number * Value(1.0) if not isinstance(number, Tensor) else Value(1.0),
    ):
        assert v.data.__class__ is float
    assert Value(number).data == expected == (Value(0.0) + number).data == (Value(1.0) * number).data


HINTS = {
    "a complex number": (1j, r"got 1j \(complex\); for its size write Value\(abs\(z\)\)"),
    "NumPy's complex number": (np.complex128(1), r"\(complex128\); for its size write Value\(abs\(z\)\)"),
    "None": (None, r"got None \(NoneType\): is there a `return`\?"),
    "a list": ([1.0, 2.0], r"got \[1.0, 2.0\] \(list\); for a vector write \[Value\(v\) for v in xs\]"),
    "a tuple": ((1.0,), r"\(tuple\); for a vector write \[Value\(v\) for v in xs\]"),
    "an array": (np.array([1.0, 2.0]), r"\(ndarray\); for a vector write \[Value\(v\) for v in xs\]"),
    "an array of one": (np.array([2.0]), r"got array\(\[2.\]\) \(ndarray\); for a vector write"),
    "a tensor of three": (Tensor(1.5, (3,)), r"got tensor\(1.5\) \(Tensor\); for a vector write"),
    "a text": ("1.5", r"got '1.5' \(str\); for a text that holds a number write Value\(float\(text\)\)"),
    "a Value": (Value(1.0), r"for a constant copy of a Value write Value\(v.data\) or v.detach\(\)"),
    "a date": (np.datetime64("2020-01-01"), r"got .*datetime64"),
    "a span of time": (np.timedelta64(3), r"got .*timedelta64"),
    "a masked number": (np.ma.masked, r"got masked \(MaskedConstant\)$"),
    "an object": (object(), r"got <object object at .*> \(object\)$"),
}


@pytest.mark.parametrize(("wrong", "message"), HINTS.values(), ids=HINTS)
def test_what_is_no_real_number_is_refused_with_what_to_write(wrong, message):
    with pytest.raises(TypeError, match="Value holds one real number, .*" + message):
        Value(wrong)


def test_a_vector_is_suggested_for_nothing_but_vectors():
    for wrong in (1j, None, "a", object(), Value(1.0)):
        with pytest.raises(TypeError) as caught:
            Value(wrong)
        assert "vector" not in str(caught.value)


MICROGRADS = {
    "Value(t, (self,), 'tanh')": lambda v: Value(0.5, (v,), "tanh"),
    "Value(t, (self,))": lambda v: Value(0.5, (v,)),
    "Value(t, {self})": lambda v: Value(0.5, {v}),
    "Value(t, _children=(self,))": lambda v: Value(0.5, _children=(v,)),
    "Value(t, _children=..., _op=...)": lambda v: Value(0.5, _children=(v,), _op="tanh"),
    "Value(t, _op='tanh')": lambda v: Value(0.5, _op="tanh"),
    "out._prev = {self}": lambda v: setattr(v, "_prev", {v}),
    "out._op = '+'": lambda v: setattr(v, "_op", "+"),
    "def _backward(self)": lambda v: type("Mine", (type(v),), {"_backward": lambda self: None}),
    "_backward = None": lambda v: type("Mine", (type(v),), {"_backward": None}),
    "a slot _backward": lambda v: type("Mine", (type(v),), {"__slots__": ("_backward",)}),
    "out._backward = f": lambda v: setattr(v, "_backward", lambda: None),
}


class Labelled(Value):
    """A subclass as people write them, with attributes of its own."""


@pytest.mark.parametrize("cls", [Value, Labelled])
@pytest.mark.parametrize("f", MICROGRADS.values(), ids=MICROGRADS)
def test_micrograds_way_to_add_an_operation_names_op_and_shows_the_lines(f, cls):
    with pytest.raises(TypeError) as caught:
        f(cls(0.3))
    lines = str(caught.value).splitlines()
    assert lines[-2:] == ['    cube = Op("cube", "^3", lambda x: x**3, (lambda out, x: 3 * x**2,))', "    y = cube(x)"]
    scope = {"Op": Op, "x": Value(2.0)}
    exec("\n".join(line.strip() for line in lines[-2:]), scope)  # what is shown works
    scope["y"].backward()
    assert (scope["y"].data, scope["x"].grad) == (8.0, 12.0)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: Value(1.0, foo=3, bar=4), "Value takes data and label, got bar, foo"),
        (lambda: Value(1.0, label=3), "the label of a Value is a string, got 3; a Value holds one number"),
        (lambda: Value(1.0, 2.0), "the label of a Value is a string, got 2.0; a Value holds one number"),
    ],
)
def test_other_arguments_are_refused_by_name(mistake, message):
    with pytest.raises(TypeError, match=message):
        mistake()


# --- calls of operations


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        (lambda: ops.exp(), TypeError, "exp takes 1 number, got 0 arguments"),
        (lambda: ops.exp(Value(1.0), 2), TypeError, "exp takes 1 number, got 2 arguments"),
        (lambda: ops.hypot(1, 2, 3), TypeError, "hypot takes 2 numbers, got 3 arguments"),
        (lambda: ops.where(Value(1.0), 1), TypeError, r"where takes \(condition, a, b\), got 2 arguments"),
        (lambda: maximum([1, 2]), TypeError, r"takes its numbers one by one, got a list: write maximum\(\*xs\)"),
        (lambda: maximum(np.ones(2)), TypeError, r"one by one, got a ndarray: write maximum\(\*xs\)"),
        (lambda: ops.minimum(x for x in [1.0]), TypeError, r"one by one, got a generator: write minimum\(\*xs\)"),
        (lambda: mean(), TypeError, r"mean takes \(xs\), one list of numbers: write mean\(\[a, b, ...\]\), got 0"),
        (lambda: mean([]), ValueError, "mean expects at least one number, got an empty list"),
        (lambda: dot([1.0], [1.0, 2.0]), ValueError, "dot expects two lists of one length, got 1 and 2 numbers"),
        (lambda: Value(1.0) + 10**400, OverflowError, "a float holds at most 1.8e308, got an integer of 1329 bits"),
        (lambda: 10**400 - Value(1.0), OverflowError, "a float holds at most 1.8e308, got an integer of 1329 bits"),
        (lambda: clip(Value(1.0)), TypeError, "clip takes 3 numbers, got 1 argument$"),
        (lambda: leaky_relu(), TypeError, r"leaky_relu takes \(x, slope\), got 0 arguments"),
        (
            lambda: mean(Value(1.0), Value(2.0)), TypeError,
            r"mean takes \(xs\), one list of numbers: write mean\(\[a, b, ...\]\), got 2 arguments",
        ),
        (lambda: total(1, 2), TypeError, r"one list of numbers: write total\(\[a, b, ...\]\), got 2 arguments"),
        (lambda: dot([1.0]), TypeError, r"dot takes \(ws, xs, start\), got 1 argument$"),
        (lambda: ops.pick(0), TypeError, r"pick takes \(k, xs\), got 1 argument$"),
        (lambda: ops.pick(0, 7), TypeError, r"pick takes one list of numbers, got 7: write pick\(k, \[...\]\)"),
        (
            lambda: cross_entropy(Value(1.0), 0), TypeError,
            r"cross_entropy takes one list of numbers, got Value.*: write cross_entropy\(\[...\], k\)",
        ),
        (lambda: cross_entropy([1.0, 2.0]), TypeError, r"cross_entropy takes \(xs, k\), got 1 argument$"),
        (
            lambda: cross_entropy([1.0, Value(2.0)], 2), ValueError,
            "cross_entropy expects a whole number from 0 to 1, got 2.0",
        ),
        (lambda: np.spacing(Value(1.0)), TypeError, "np.spacing has no counterpart for Values: see tinygrad_lite.OPS"),
        (
            lambda: np.array([1.0, 2.0]) * Value(1.0), TypeError,
            r"np.multiply of an array and a Value: .* Write \[v \* x for x in xs\]",
        ),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_the_operation_takes(mistake, kind, message):
    with pytest.raises(kind, match=message):
        mistake()


FORGOTTEN = {
    "the comma": (lambda: Op("cube", "^3", lambda x: x**3, (lambda out, x: 3 * x**2)), "got a function"),
    "the tuple": (lambda: Op("cube", "^3", lambda x: x**3, 3.0), "got 3.0"),
    "the partials": (lambda: Op("cube", "^3", lambda x: x**3, None), "got None"),
}


@pytest.mark.parametrize(("make", "got"), FORGOTTEN.values(), ids=FORGOTTEN)
def test_partials_without_their_comma_are_told_where_the_operation_is_made(make, got):
    with pytest.raises(TypeError) as caught:
        make()
    assert str(caught.value).startswith("the partials of cube are a tuple, one for each operand, ")
    assert got in str(caught.value) and str(caught.value).endswith("write (f,)")


def given_two(value):
    return Op("two", "two", value, (lambda out, x, y: y, lambda out, x, y: x))


def returns_none(out, x):
    """Its `return` was forgotten."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Op("f", "f", lambda x: x, (1.0, 1.0)), "f has 2 partials, and its value takes another"),
        (lambda: Op("f", "f", lambda x, y: x * y, (lambda out, x, y: y,)), "f has 1 partial, and its value"),
        (lambda: Op("f", "f", lambda x: x, ()), "f has 0 partials"),
        (lambda: Op("f", "f", lambda x: x * x, (lambda x: 2 * x,)), "takes the result and the operands"),
        (lambda: Op("f", "f", lambda x: x, ("1",)), r"a partial of f is a number or a function of \(out"),
        (lambda: Op("f", "f", lambda x: x, (None,)), r"a partial of f is a number or a function .*, got None"),
        (lambda: Op("f", "f", 3.0, (1.0,)), "the value of f is a function of floats, got 3.0"),
        (lambda: Op("f", "f", lambda x: x, (returns_none,))(Value(1.0)), r"a partial of f returned None"),
        (lambda: Op("f", "f", lambda x: x, (lambda o, x: (x,),))(Value(1.0)), r"a partial of f must .*\(1.0,\)$"),
        (lambda: Op("f", "f", lambda x: None, (1.0,))(Value(1.0)), r"got None: is there a `return`"),
        (lambda: Op("f", "f", lambda x: None, (1.0,))(1.0), r"got None: is there a `return`"),
        (lambda: Op("f", "f", lambda x: [x], (1.0,))(Value(1.0)), r"value of f must be one real number, got \[1.0\]$"),
    ],
)  # fmt: skip
def test_an_operation_that_cannot_be_right_is_told(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_numbers_of_any_type_that_an_operation_returns_are_floats():
    x = Value(2.0)
    for out in (
        Op("f", "f", np.sin, (lambda out, x: np.cos(x),))(x),
        Op("f", "f", lambda x: int(x), (1,))(x),
        Op("f", "f", lambda x: np.float32(x), (lambda out, x: np.array(3),))(x),
        given_two(lambda x, y, scale=1: scale * x * y)(x, 3),
    ):
        assert out.data.__class__ is float and {d.__class__ for d in out.local_grads} <= {float, type(None)}
    assert Op("f", "f", np.exp, (lambda out, x: out,))(0.0).__class__ is float


def test_a_list_of_partials_will_do():
    cube = Op("cube", "^3", lambda x: x**3, [lambda out, x: 3 * x**2])
    x = Value(2.0)
    cube(x).backward()
    assert (x.grad, cube.arity) == (12.0, 1)
    with pytest.raises(TypeError, match="cube takes 1 number, got 2 arguments"):
        cube(x, x)


@pytest.mark.parametrize(
    ("partials", "message"),
    [
        (lambda out, *xs: 1.0, r"got 1.0, not a tuple: for one operand write \(f,\), with its comma"),
        (lambda out, *xs: (1.0,), "got 1 of them for 2 operands"),
        (lambda out, *xs: [1.0] * 3, "got 3 of them for 2 operands"),
    ],
)
def test_partials_of_any_number_of_operands_give_one_for_each(partials, message):
    largest = Op("largest", "largest", max, partials)
    with pytest.raises(TypeError, match="the partials of largest must give d out / d input for each input, " + message):
        largest(Value(1.0), 2.0)


# --- derivatives of several outputs, and of second order, without the whole Hessian


def sample(x, y, z):
    return [ops.exp(x * y) + ops.sin(z), x / y - ops.log(z), y**3 * z]


def exact(x, y, z):
    return [mp.exp(x * y) + mp.sin(z), x / y - mp.log(z), y**3 * z]


AT = 0.5, -1.25, 2.0


def test_the_jacobian_is_that_of_mpmath():
    xs = [Value(x) for x in AT]
    rows = jacobian(sample(*xs), xs)
    for i, row in enumerate(rows):
        for j, got in enumerate(row):
            true = mp.diff(lambda *at, i=i: exact(*at)[i], tuple(map(mpf, AT)), tuple(int(k == j) for k in range(3)))
            assert got.data == pytest.approx(float(true), rel=1e-14)
    assert [[g.data for g in row] for row in rows] == [[g.data for g in grad(out, xs)] for out in sample(*xs)]
    flat = jit(lambda x, y, z: jacobian(sample(x, y, z), [x, y, z])).batch(*[[x] for x in AT])
    assert flat[0] == pytest.approx(np.array([[g.data for g in row] for row in rows]), rel=1e-14)


def test_the_hessian_times_a_vector_is_what_the_hessian_gives():
    xs, vector = [Value(x) for x in AT], [0.3, -2.0, 1.5]
    out = ops.dot(sample(*xs), sample(*xs))
    expected = [sum(h.data * v for h, v in zip(row, vector)) for row in hessian(out, xs)]
    assert [h.data for h in hvp(out, xs, vector)] == pytest.approx(expected, rel=1e-13)

    def along(*at):
        return hvp(ops.dot(sample(*at), sample(*at)), at, vector)

    assert jit(along).batch(*[[x] for x in AT])[0] == pytest.approx(expected, rel=1e-13)
    h = mpf(10) ** -20  # and by differences of mpmath's gradient
    for i, got in enumerate(hvp(out, xs, vector)):

        def slope(*at, i=i):
            return mp.diff(lambda *p: mp.fsum(f**2 for f in exact(*p)), at, tuple(int(k == i) for k in range(3)))

        up, down = ([mpf(x) + s * h * v for x, v in zip(AT, vector)] for s in (1, -1))
        assert got.data == pytest.approx(float((slope(*up) - slope(*down)) / (2 * h)), rel=1e-12)


def test_a_vector_of_values_is_differentiated_through():
    x, v = Value(2.0), Value(3.0)
    (h,) = hvp(x**3, [x], [v])
    assert h.data == 36.0 and grad(h, [v])[0].data == 12.0


@pytest.mark.parametrize(
    ("mistake", "kind", "message"),
    [
        (lambda x: jacobian(x * x, [x]), TypeError, r"list of Values to differentiate: write jacobian\(\[out\], wrt\)"),
        (lambda x: jacobian([x * x], x), TypeError, r"grad expects a list of Values: write grad\(out, \[x\]\)"),
        (lambda x: jacobian([1.0], [x]), TypeError, "grad expects a Value to differentiate, got 1.0"),
        (
            lambda x: hvp(x * x, [x], [1.0, 2.0]), ValueError,
            "hvp expects one number of the vector for each of 1 Values, got 2",
        ),
        (lambda x: hvp(x * x, x, [1.0]), TypeError, r"grad expects a list of Values"),
        (lambda x: hvp(x * x, [x], 1.0), TypeError, "hvp expects the vector as a list of numbers, got 1.0"),
        (lambda x: hvp(x * x, [x], "a"), TypeError, "hvp expects the vector as a list of numbers, got 'a'"),
    ],
)  # fmt: skip
def test_what_cannot_be_differentiated_is_told(mistake, kind, message):
    with pytest.raises(kind, match=message):
        mistake(Value(2.0))


def test_copies_keep_what_a_subclass_adds():
    v = Labelled(2.0, label="v")
    assert isinstance(copy.deepcopy(v * 3.0).args[0], Labelled)


def test_every_function_of_numpy_that_we_know_by_name_gives_our_operation():
    v = Value(0.4)
    for op in OPS:
        ufunc = getattr(np, op.name, None)
        if op.arity == 1 and isinstance(ufunc, np.ufunc):
            assert ufunc(v).op is op
