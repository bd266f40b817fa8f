"""The exercises are checked: right answers pass, each typical mistake is told by its name, open ones fail nothing."""

import contextlib
import math
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_lite import OPS, Op, Value, dot, exp, log, maximum, mean, nn, ops, practice, relu, sigmoid, tanh
from tinygrad_lite.engine import UNREACHED, topological_order
from tinygrad_lite.practice import Node, Report, check_value_class, diagnose, predict

pytestmark = pytest.mark.sample(5)


def told(report):
    """What the reader reads, on one line."""
    return " ".join(repr(report).split())


def named(node, label):
    node.label = label
    return node


def product_of_two_roads():
    """y = (2 x) * x^2 at x = 3: dy/da = 9, dy/db = 6, dy/dx = 18 + 36 = 54."""
    x = Value(3.0, "x")
    a, b = named(2 * x, "a"), named(x**2, "b")
    return named(a * b, "y"), a, b, x


def diamond():
    """s = x^2, t = s + 1, y = s t at x = 3: dy/dx = (10 + 9) * 6 = 114."""
    x = Value(3.0, "x")
    s = named(x**2, "s")
    return named(s * named(s + 1, "t"), "y")


def neuron():
    w, x, b = Value(-3.0, "w"), Value(2.0, "x"), Value(6.9, "b")
    return named(tanh(named(w * x + b, "n")), "o")


# --- reports


def test_a_report_is_not_a_truth_value_because_it_may_be_open():
    with pytest.raises(TypeError, match=r"write report\.ok"):
        bool(Report(True, "right"))


@pytest.mark.parametrize("exercise", [predict, diagnose, check_value_class])
@pytest.mark.parametrize("nothing", [..., None])
def test_an_exercise_without_an_answer_says_so_and_fails_nothing(exercise, nothing):
    report = exercise(nothing)
    assert report.ok is None and told(report).startswith("Not answered yet")


# --- predict: right, open, and how to ask


def test_right_answers_are_right_by_label_by_value_and_in_any_order():
    y, a, _, x = product_of_two_roads()
    for report in (predict(y, x=54, b=6, y=1, a=9), predict(y, {x: 54, "b": 6.0, y: 1, a: 9})):
        assert report.ok is True
        assert [line.split()[0] for line in repr(report).splitlines()] == ["y", "b", "a", "x", "All"]  # users first


def test_open_answers_are_named_and_make_the_whole_open_unless_something_is_wrong():
    y, *_ = product_of_two_roads()
    report = predict(y, a=9, b=..., x=None)
    assert report.ok is None
    assert "b not answered yet." in told(report) and "x not answered yet." in told(report)
    assert "Of 3: 1 right, 2 not answered yet." in told(report)
    assert predict(y, a=10, b=...).ok is False


def test_without_answers_predict_shows_the_line_to_write():
    y, *_ = product_of_two_roads()
    assert "predict(y, y=..., b=..., a=..., x=...)" in told(predict(y))
    x = Value(2.0, "x²")
    assert "predict(root, {'x²': ...})" in told(predict(x * 3))
    assert "{a: ..., b: ...}" in told(predict(Value(2.0) * 3))


def test_nothing_in_the_graph_changes():
    y, *_ = product_of_two_roads()
    predict(y, a=1, b=2, x=3)
    assert all(node.grad is UNREACHED for node in topological_order(y))
    y.backward()
    before = [node.grad for node in topological_order(y)]
    predict(y, a=1, b=2, x=54)
    assert before == [node.grad for node in topological_order(y)]


@pytest.mark.parametrize(
    ("answer", "right"),
    [(0.419974341614026, True), (0.41997, True), (0.42, True), (0.41, False), (0.4199, False)],
)
def test_a_rounded_answer_counts_if_its_digits_are_right_and_at_least_three(answer, right):
    x = Value(1.0, "x")
    assert predict(named(tanh(x), "y"), x=answer).ok is right


def test_answers_worked_out_with_rounded_numbers_are_right():
    x = Value(1.0, "x")
    t = named(tanh(x), "t")
    y = named(t * 2.371, "y")  # dy/dx = 2.371 * 0.419974 = 0.99576; with 2.37: 0.99534
    report = predict(y, t=2.37, x=0.99534)
    assert report.ok is True and "rounded numbers before it" in told(report)


def test_a_rounded_answer_is_told_its_further_digits_and_an_exact_one_is_not():
    x = Value(1.0, "x")
    y = named(tanh(x), "y")
    assert "0.4199743 with more digits" in told(predict(y, x=0.42))
    assert told(predict(y, x=1 - math.tanh(1) ** 2)) == "x = 0.419974 right."


def test_shares_that_cancel_up_to_rounding_give_0():
    x = Value(0.1, "x")
    y = (x * 3.3) * (1 / 3) - x * 1.1
    assert predict(y, x=0).ok is True


# --- predict: what leads to a wrong number


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "this is the value of x, not its gradient"),
        (-54, "the size is right, and the sign is wrong"),
        (18, "the share through b = x**2 is missing"),
        (36, "the share through a = 2 * x is missing"),
        (8, "this is the sum of the local derivatives"),
        (15, "this is the sum of the upstream gradients"),
        (2, "this is d a / d x: the rest of the way up to y is missing"),
        (45, "a factor is missing: the local derivative of a = 2 * x with respect to x"),
        (18 * 36, "the shares of several uses add up; this is their product"),
        (108, "twice what it should be"),
        (27, "half of what it should be"),
        (18 + 6 * 2, "this comes out with 2 for the local derivative of b = x**2"),
        (18 + 6 * 18, "n * x**n"),
        (0, "0 would mean that y stands still when x moves a little"),
        (53.5, "close, though"),
        (1000, "d y / d x = d y / d a * d a / d x + d y / d b * d b / d x"),
        (math.nan, "is finite, and so is this gradient"),
    ],
)
def test_where_two_roads_meet(answer, words):
    y, *_ = product_of_two_roads()
    report = predict(y, x=answer)
    assert report.ok is False
    assert words in told(report)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (6, "this is the local derivative of s = x**2 alone"),
        (19, "this is the upstream gradient, d y / d s, alone"),
        (25, "this is upstream gradient plus local derivative"),
        (60, "the path x -> s -> t -> y is missing"),  # what a walk that does not wait for all users finds
        (54, "the path x -> s -> y is missing"),
        (19 * 3, "this comes out with x**(n - 1) for the local derivative of s = x**2 with respect to x"),
        (-114, "the sign is wrong"),
        (1000, "So d y / d x = d y / d s * d s / d x"),
    ],
)
def test_in_a_diamond(answer, words):
    assert words in told(predict(diamond(), x=answer))


def test_an_operand_used_twice_in_one_operation():
    x = Value(5.0, "x")
    assert "x is used twice in y = x * x, and only 1 of these uses is counted" in told(predict(named(x * x, "y"), x=5))
    cube = named(ops.total([x * 2, x * 2, x * 3]), "y")
    assert "the share through v3 = x * 3 is missing" in told(predict(cube, x=4))


def test_mistakes_that_lead_to_the_same_number_are_all_named():
    x = Value(3.0, "x")
    text = told(predict(named(x * x, "y"), x=3))
    assert "either this is the value of x, not its gradient; or x is used twice" in text


def test_an_answer_that_follows_from_a_wrong_one_is_not_blamed_for_it():
    y, *_ = product_of_two_roads()
    text = told(predict(y, a=10, b=6, x=10 * 2 + 6 * 6))
    assert "x = 56 not right yet, but it follows from your answer for a: fix that first." in text
    assert "b = 6 right." in text


def test_swapped_answers_are_told_only_where_both_are_given():
    y, *_ = product_of_two_roads()
    assert "the answers for a and b are swapped" in told(predict(y, a=6, b=9))
    alone = told(predict(y, a=6, b=...))
    assert "swapped" not in alone and "comes out with a for the local derivative of y = a * b" in alone


@pytest.mark.parametrize(
    ("make", "answer", "words"),
    [
        (lambda x: tanh(x), 1 - math.tanh(2), "comes out with 1 - t"),
        (lambda x: tanh(x), math.tanh(2) ** 2, "comes out with t**2"),
        (lambda x: sigmoid(x), 2 * (1 - 2), "comes out with x * (1 - x)"),
        (lambda x: exp(x), 2 * math.exp(1), "comes out with x * exp(x - 1)"),
        (lambda x: log(x), math.log(2), "comes out with y for the local derivative of y = log(x)"),
        (lambda x: 3 / x, -0.25, "comes out with -1 / b**2"),
        (lambda x: 3 / x, 0.75, "the sign is wrong. One local derivative is negative, in y = 3 / x"),
        (lambda x: x + 5.5, 5.5, "a sum passes on what arrives, as it is"),
        (lambda x: relu(-x), -1, "nothing is sent through y = relu(-x), because -x is not above 0"),
        (lambda x: maximum(x, 3 * x), 4, "nothing is sent through y = maximum(x, 3 * x), because it did not select x"),
    ],
)
def test_slips_in_the_rule_of_an_operation(make, answer, words):
    report = predict(named(make(Value(2.0, "x")), "y"), x=answer)
    assert report.ok is False and words in told(report)


def test_the_forgotten_length_of_a_mean_is_a_missing_factor():
    x = Value(2.0, "x")
    y = named(3 * mean([x * 5, x * 7, 1.0]), "y")
    assert "a factor is missing: the local derivatives of v3 = mean([x * 5, x * 7, 1])" in told(predict(y, x=36))


def test_a_wrong_gradient_of_the_root_is_asked_for_in_words():
    assert "How far does y move when y itself moves a little?" in told(predict(diamond(), y=90))


def test_no_finite_answer_is_right_where_the_gradient_is_not_finite():
    x = Value(0.0, "x")
    y = named((log(x) * 0.0), "y")
    assert predict(y, x=math.nan).ok is True
    assert "no finite number is right here" in told(predict(y, x=0))


# --- predict: what is not told


@given(st.integers(-500_000, 500_000).map(lambda k: k / 1000), st.sampled_from(["n", "w", "x", "b"]))
def test_the_right_numbers_of_wrong_and_open_answers_are_never_told(answer, label):
    o = neuron()
    answers = dict.fromkeys("nwxb", ...) | {label: answer}
    report = predict(o, **answers)
    if not report.ok:
        known = {f"{answer:.6g}"}
        numbers = set(re.findall(r"-?\d+\.\d+", told(report))) - known
        assert report.ok is None or not numbers, report


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=4, max_size=4))
def test_any_numbers_are_judged_without_an_error(answers):
    for root in (product_of_two_roads()[0], diamond(), neuron()):
        nodes = [node for node in topological_order(root) if node.label][:4]
        assert predict(root, dict(zip(nodes, answers))).ok in (True, False)


# --- predict: names


def test_labels_are_data():
    x = Value(2.0, "\x1b[31m\nroot" + "x" * 100)
    text = repr(predict(named(x * 3, "y"), {x: 2}))
    assert "\x1b" not in text and all(len(line) <= 100 for line in text.splitlines())
    self_, root = Value(2.0, "self"), Value(3.0, "root")
    assert predict(self_ * root, self=3, root=2).ok is True  # names of parameters are no obstacle


def test_equal_labels_are_told_apart_by_value_or_number():
    first, second = Value(2.0, "w"), Value(3.0, "w")
    y = first * second
    with pytest.raises(ValueError, match="2 Values are labelled 'w': write predict"):
        predict(y, w=3)
    assert predict(y, {first: 3, second: 2}).ok is True
    assert predict(y, {"w#1": 3, "w#2": 2}).ok is True


def test_a_label_that_python_rewrites_as_a_keyword_is_found():
    mu = Value(2.0, "µ")  # MICRO SIGN; as a keyword it becomes GREEK SMALL LETTER MU
    assert predict(mu * 3, µ=3).ok is True


def test_values_without_labels_are_called_by_their_formula():
    a, b = Value(2.0, "a"), Value(-3.0, "b")
    inner = a * b + 1
    text = told(predict(tanh(inner), {inner: 7, a: ...}))
    assert "a * b + 1 = 7 not right yet" in text and "tanh(a * b + 1)" in text


def test_parameters_of_a_model_are_asked_for_by_their_path():
    model = nn.MLP(2, [3, 1], activation="tanh", seed=1)
    out = model([0.5, -1.0])
    out.backward()
    weight = model.layers[1].neurons[0].w[2]
    assert predict(out, {"layers.1.neurons.0.w.2": weight.grad}).ok is True
    assert "L1.n0.w2 = 99 not right yet" in told(predict(out, {weight: 99}))


def test_a_graph_of_many_arrows_is_judged_in_time():
    x = Value(0.5, "x")
    h = [x * float(i) for i in range(60)]
    for _ in range(2):
        h = [dot([0.01 * i] * len(h), h) for i in range(60)]
    assert predict(sum(h), x=7).ok is False


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: predict(3.0), TypeError, "expects the Value whose gradients"),
        (lambda: predict(diamond(), 5), TypeError, "predict\\(root, a=2\\)"),
        (lambda: predict(diamond(), q=5), ValueError, "no Value in this graph is labelled 'q'; there is"),
        (lambda: predict(diamond(), {Value(1.0): 5}), ValueError, "is not in this graph: y was not made from it"),
        (lambda: predict(diamond(), x="54"), TypeError, "the answer for x .* must be one real number"),
        (lambda: predict(diamond(), x=[54]), TypeError, r"got \[54\]"),
    ],
)
def test_what_cannot_be_asked_is_an_error_with_the_fix(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- diagnose: a function of nodes


def product(write_backward, value=lambda a, b: a * b):
    """An operation on two nodes with this backward step."""

    def my_op(a, b):
        out = Node(value(a.data, b.data), (a, b))
        out._backward = lambda: write_backward(a, b, out)
        return out

    return my_op


def right(a, b, out):
    a.grad += b.data * out.grad
    b.grad += a.data * out.grad


def assigned(a, b, out):
    a.grad = b.data * out.grad
    b.grad = a.data * out.grad


def one_assigned(a, b, out):
    a.grad += b.data * out.grad
    b.grad = a.data * out.grad


def without_upstream(a, b, out):
    a.grad += b.data
    b.grad += a.data


def with_data_for_grad(a, b, out):
    a.grad += b.data * out.data
    b.grad += a.data * out.data


def upstream_added(a, b, out):
    a.grad += b.data + out.grad
    b.grad += a.data + out.grad


def upstream_squared(a, b, out):
    a.grad += b.data * out.grad**2
    b.grad += a.data * out.grad**2


def swapped(a, b, out):
    a.grad += a.data * out.grad
    b.grad += b.data * out.grad


def only_a(a, b, out):
    a.grad += b.data * out.grad


def minus(a, b, out):
    a.grad += b.data * out.grad
    b.grad -= a.data * out.grad


def read_too_early(a, b, out):
    for_a, for_b = a.grad + b.data * out.grad, b.grad + a.data * out.grad
    a.grad, b.grad = for_a, for_b


def as_a_set(a, b, out):
    for x, d in {a: b.data, b: a.data}.items():
        x.grad += d * out.grad


MUL_FAULTS = {
    assigned: ("assigned instead of accumulated, for a and b", "becomes 3"),
    one_assigned: ("assigned instead of accumulated, for b", "it.*should become 12, but becomes 2"),
    without_upstream: (
        "forgot the upstream gradient, for a and b",
        "out.grad = 3: a.grad should become 9, but becomes 3",
    ),
    with_data_for_grad: ("forgot the upstream gradient, for a and b: it multiplies by out.data", "becomes 18"),
    upstream_added: ("the upstream gradient is added, for a and b", "should become 9, but becomes 6"),
    upstream_squared: ("the upstream gradient is misused, for a and b", "should become 9, but becomes 27"),
    swapped: ("swapped operands, for a and b", "should become 3, but becomes 2"),
    only_a: ("nothing is sent, for b", "b.grad should become 2, but becomes 0"),
    minus: ("sign, for b", "b.grad should become 2, but becomes -2"),
    read_too_early: ("wrong where the input is used twice, for a and b", "should become 4, but becomes 2"),
    as_a_set: ("wrong where the input is used twice, for a and b", "should become 4, but becomes 2"),
}


@pytest.mark.parametrize("write_backward", MUL_FAULTS, ids=lambda f: f.__name__)
def test_each_fault_is_called_by_its_name_with_the_smallest_example(write_backward):
    name, example = MUL_FAULTS[write_backward]
    report = diagnose(product(write_backward))
    assert report.ok is False
    assert told(report).startswith(name)
    assert re.search("Example: a = (b = )?2, .*" + example.replace("it.*", ".*"), told(report))


def test_a_right_operation_has_no_fault_and_the_report_says_what_was_tried():
    report = diagnose(product(right))
    assert report.ok is True
    assert told(report).startswith("No fault found. Tried: 24 points of both signs, out.grad = 1 and 3")
    assert "the same node for all operands" in told(report)


def test_several_faults_are_all_told():
    def write_backward(a, b, out):
        a.grad = -b.data
        b.grad += a.data * out.grad

    lines = [line for line in repr(diagnose(product(write_backward))).splitlines() if not line.startswith(" ")]
    found = [line.partition(",")[0] for line in lines if ", for a" in line]
    assert found == ["forgot the upstream gradient", "sign", "assigned instead of accumulated"]


def my_tanh_open(x):
    """The derivative of tanh."""
    out = Node(math.tanh(x.data), (x,))

    def backward():
        x.grad += ...

    out._backward = backward
    return out


def my_tanh_assigns_dots(x):
    out = Node(math.tanh(x.data), (x,))
    out._backward = lambda: setattr(x, "grad", ...)
    return out


def my_tanh_passes(x):
    out = Node(math.tanh(x.data), (x,))

    def backward():
        pass

    out._backward = backward
    return out


def only_a_docstring(x):
    """To do."""


def not_implemented(x):
    raise NotImplementedError


@pytest.mark.parametrize(
    "my_op",
    [
        my_tanh_open, my_tanh_assigns_dots, my_tanh_passes, only_a_docstring, not_implemented,
        lambda x: ..., lambda x: Node(...),
        Op("tanh", "tanh", math.tanh, ...),
        Op("tanh", "tanh", math.tanh, (...,)),
        Op("tanh", "tanh", math.tanh, (lambda out, x: ...,)),
    ],
)  # fmt: skip
def test_an_operation_that_is_still_open_is_not_wrong(my_op):
    report = diagnose(my_op)
    assert report.ok is None and told(report).startswith("Not answered yet")


@pytest.mark.parametrize(
    ("my_op", "words"),
    [
        (lambda a, b: a * b, "unsupported operand type(s) for *: 'Node' and 'Node'"),
        (lambda a, b: a * b, "diagnose(my_op, MyValue)"),
        (lambda a: a.data, "It returns 2.0, which is not a node"),
        (lambda a: a.dat, "AttributeError: 'Node' object has no attribute 'dat' in <lambda>, line"),
        (lambda a: print(end=""), "Does it end in `return out`?"),
        (lambda a: type("Bare", (), {"data": a.data})(), "Write out._backward = backward"),
        (lambda a: Node(math.nan), "no finite value with a slope"),
    ],
)
def test_code_that_does_not_run_is_told_with_its_line(my_op, words):
    report = diagnose(my_op)
    assert report.ok is False and words in told(report)


def test_a_forgotten_out_backward_sends_nothing():
    assert told(diagnose(lambda x: Node(math.tanh(x.data), (x,)))).startswith("nothing is sent, for x")


# --- diagnose: records


# two choose by a whole number, and the derivative of detach is not that of its value
SMOOTH = [op for op in OPS if op not in (ops.pick, ops.cross_entropy, ops.detach)]


@pytest.mark.parametrize("op", SMOOTH, ids=lambda op: op.name)
def test_every_operation_of_the_table_is_without_fault(op):
    assert diagnose(op).ok is True


@pytest.mark.parametrize("op", [ops.mul, ops.tanh, ops.exp, ops.div, ops.sqrt, ops.log], ids=lambda op: op.name)
def test_a_derivative_that_is_off_by_a_thousandth_is_found(op):
    off = lambda d: lambda *xs: 1.001 * d(*xs)  # noqa: E731
    report = diagnose(Op("off", "off", op.value, tuple(off(d) for d in op.partials)))
    assert report.ok is False and "the derivative is always 1.001 times what it should be" in told(report)


@pytest.mark.parametrize(
    ("value", "partials", "words"),
    [
        (lambda a, b: a - b, (1.0, 1.0), "sign, for b"),
        (lambda a, b: a * b, (lambda out, a, b: a, lambda out, a, b: b), "swapped operands, for a and b"),
        (abs, (1.0,), "wrong for negative numbers, for x: the derivative is right where x is above 0"),
        (lambda x: x * x, (lambda out, x: x,), "a factor, for x: the derivative is always 0.5 times"),
        (math.tanh, (lambda out, x: out,), "value instead of derivative, for x"),
        (math.tanh, (lambda out, x: 1 - out,), "wrong derivative, for x"),
        (math.tanh, (0.0,), "nothing is sent, for x"),
        (max, (lambda o, a, b: float(a >= b), lambda o, a, b: float(b >= a)), "wrong where the input is used twice"),
    ],
)
def test_faults_of_a_record(value, partials, words):
    report = diagnose(Op("mine", "mine", value, partials))
    assert report.ok is False and words in told(report)


# --- a reader's own engine


class Engine:
    """What a reader should arrive at."""

    def __init__(self, data, operands=()):
        self.data, self.grad, self._prev = data, 0.0, operands
        self._backward = lambda: None

    def lift(self, other):
        return other if isinstance(other, Engine) else type(self)(other)

    def made(self, data, *shares):
        """A node; shares: of an operand and its local derivative."""
        out = type(self)(data, tuple(x for x, _ in shares))

        def _backward():
            for x, d in shares:
                x.grad += d * out.grad

        out._backward = _backward
        return out

    def __add__(self, other):
        other = self.lift(other)
        return self.made(self.data + other.data, (self, 1.0), (other, 1.0))

    def __mul__(self, other):
        other = self.lift(other)
        return self.made(self.data * other.data, (self, other.data), (other, self.data))

    __radd__, __rmul__ = __add__, __mul__

    def order(self):
        order, seen, stack = [], {self}, [(self, iter(self._prev))]
        while stack:
            for x in stack[-1][1]:
                if x not in seen:
                    seen.add(x)
                    stack.append((x, iter(x._prev)))
                    break
            else:
                order.append(stack.pop()[0])
        return order[::-1]

    def backward(self):
        order = self.order()
        for node in order:
            if node._prev:
                node.grad = 0.0
        self.grad = 1.0
        for node in order:
            node._backward()


class WithMore(Engine):
    def tanh(self):
        t = math.tanh(self.data)
        return self.made(t, (self, 1 - t * t))

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -self.lift(other)

    def __pow__(self, n):
        return self.made(self.data**n, (self, n * self.data ** (n - 1)))


class LeavesNumbersOnTheLeft(Engine):
    __radd__ = __rmul__ = lambda self, other: NotImplemented


class LeavesNumbers(Engine):
    def lift(self, other):
        return other


class WithoutSeed(Engine):
    def backward(self):
        for node in self.order():
            node._backward()


class WithoutUpstream(Engine):
    def made(self, data, *shares):
        out = type(self)(data, tuple(x for x, _ in shares))

        def _backward():
            for x, d in shares:
                x.grad += d

        out._backward = _backward
        return out


class Assigns(Engine):
    def made(self, data, *shares):
        out = type(self)(data, tuple(x for x, _ in shares))

        def _backward():
            for x, d in shares:
                x.grad = d * out.grad

        out._backward = _backward
        return out


class PushesAtOnce(Engine):
    def backward(self, first=True):
        if first:
            self.grad = 1.0
        self._backward()
        for x in self._prev:
            x.backward(False)


class Preorder(Engine):
    def order(self):
        order = []

        def visit(node):
            if node not in order:
                order.append(node)
                for x in node._prev:
                    visit(x)

        visit(self)
        return order


class ByLevels(Engine):
    def order(self):
        order = [self]
        for node in order:
            order += [x for x in node._prev if x not in order]
        return order


class VisitsAgain(Engine):
    def order(self):
        return self.postorder()[::-1]

    def postorder(self):
        return [node for x in self._prev for node in x.postorder()] + [self]


class PathByPath(Engine):
    """Right, and exponential: each share travels on alone."""

    def made(self, data, *shares):
        out = type(self)(data)
        out.shares = shares
        return out

    def backward(self, share=1.0):
        self.grad += share
        for x, d in getattr(self, "shares", ()):
            x.backward(d * share)


class Recursive(Engine):
    def order(self):
        order, seen = [], set()

        def visit(node):
            if node not in seen:
                seen.add(node)
                for x in node._prev:
                    visit(x)
                order.append(node)

        visit(self)
        return order[::-1]


class KeepsGradientsBetween(Engine):
    def backward(self):
        self.grad = 1.0
        for node in self.order():
            node._backward()


class StartsAfresh(Engine):
    def backward(self):
        for node in self.order():
            node.grad = 0.0
        super().backward()


class WrongTanh(WithMore):
    def tanh(self):
        t = math.tanh(self.data)
        return self.made(t, (self, 1 - t))


class Endless(Engine):
    def backward(self):
        waiting = [self]
        while waiting:
            node = waiting[-1]
            node.grad = 1.0


class CatchesAll(Endless):
    def backward(self):
        with contextlib.suppress(Exception):
            super().backward()


class Mistyped(Engine):
    def backward(self):
        self.odrer()


class GradientOne(Engine):
    def __init__(self, data, operands=()):
        super().__init__(data, operands)
        self.grad = 1.0


class NamedValue:
    def __init__(self, value):
        self.value = value


class AddsForTimes(Engine):
    def __mul__(self, other):
        return self + other


LACKS = {
    NamedValue: ("a number in a node", "'NamedValue' object has no attribute 'data'"),
    GradientOne: ("a gradient that starts at 0", "a.grad should be 0, but is 1"),
    AddsForTimes: ("multiplication", "c.data should be 6, but is 5"),
    LeavesNumbers: ("numbers on either side", "has no attribute 'data'"),
    LeavesNumbersOnTheLeft: ("numbers on either side", "unsupported operand type(s) for +: 'int' and"),
    WithoutSeed: ("the local derivative", "c.grad should be 1, but is 0"),
    WithoutUpstream: ("the upstream gradient", "should be 4, but is 1"),
    Assigns: ("shares that accumulate", "b = a + a b.backward() a.grad should be 2, but is 1"),
    PushesAtOnce: ("a topological order", "passed on the same share more than once"),
    Preorder: ("a topological order", "before all its shares had arrived"),
    ByLevels: ("a topological order", "before all its shares had arrived"),
    VisitsAgain: ("a topological order", "passed on the same share more than once"),
    PathByPath: ("each node once", "stopped after 1,000,000 lines"),
    Recursive: ("long chains", "RecursionError"),
    KeepsGradientsBetween: ("a second backward pass", "gradients in between were still there"),
    StartsAfresh: ("a second backward pass", "has thrown away what the first one had collected"),
    WrongTanh: ("its other operations", "t = x.tanh()"),
    Endless: ("the local derivative", "stopped after 1,000,000 lines"),
    CatchesAll: ("the local derivative", "stopped after 1,000,000 lines"),
    Mistyped: ("the local derivative", "AttributeError: 'Mistyped' object has no attribute 'odrer' in backward, line"),
}


@pytest.mark.parametrize("my_class", LACKS, ids=lambda c: c.__name__)
def test_the_first_idea_that_an_engine_lacks_is_named_with_a_small_program(my_class):
    idea, words = LACKS[my_class]
    report = check_value_class(my_class)
    assert report.ok is False
    assert f"The next idea: {idea}." in told(report) and words in told(report)
    assert f"{my_class.__name__}(" in told(report)  # the program is written for the reader's class


@pytest.mark.parametrize("my_class", [Engine, WithMore, Value], ids=["Engine", "WithMore", "Value"])
def test_a_complete_engine_has_all_ideas(my_class):
    report = check_value_class(my_class)
    assert report.ok is True
    assert told(report).startswith("All of it is there: a number in a node")
    assert ("its other operations" in told(report)) == (my_class is not Engine)


def test_what_is_asked_can_end_before_the_last_idea():
    assert check_value_class(Recursive, upto="each node once").ok is True
    assert check_value_class(Recursive, upto="long chains").ok is False
    with pytest.raises(ValueError, match=r"upto expects one of 'a number in a node', .*got 'the moon'"):
        check_value_class(Engine, upto="the moon")


def test_the_number_of_ideas_before_the_first_lack_is_told():
    assert told(check_value_class(AddsForTimes)).startswith(
        "Right so far: a number in a node, a gradient that starts at 0, addition. The next idea: multiplication."
    )
    assert told(check_value_class(NamedValue)).startswith("Let's start with one node. The next idea: a number")


class Nothing: ...


class EmptyInit:
    def __init__(self, data): ...


class EmptyTimes(Engine):
    def __mul__(self, other):
        """a * b"""

    __rmul__ = __mul__


class EmptyBackward(Engine):
    def backward(self):
        pass


class EmptyStep(Engine):
    def made(self, data, *shares):
        out = type(self)(data, tuple(x for x, _ in shares))

        def _backward(): ...

        out._backward = _backward
        return out


class OpenStep(Engine):
    def made(self, data, *shares):
        out = type(self)(data, tuple(x for x, _ in shares))

        def _backward():
            for x, _ in shares:
                x.grad += ...

        out._backward = _backward
        return out


class OpenData(Engine):
    def __init__(self, data, operands=()):
        self.data = ...


class RaisesNotImplemented(Engine):
    def backward(self):
        raise NotImplementedError("your turn")


OPEN = {
    Nothing: "Nothing is still empty",
    EmptyInit: "EmptyInit is still empty",
    EmptyTimes: "Next to write: multiplication. .* __mul__ is still empty",
    EmptyBackward: "Next to write: the local derivative. .* backward is still empty",
    EmptyStep: "Next to write: the local derivative. .* _backward is still empty",
    OpenStep: "there is still something to fill in. in _backward, line",
    OpenData: "a.data is still open",
    RaisesNotImplemented: "there is still something to fill in. in backward, line",
}


@pytest.mark.parametrize("my_class", OPEN, ids=lambda c: c.__name__)
def test_an_engine_that_is_still_open_is_not_wrong(my_class):
    report = check_value_class(my_class)
    assert report.ok is None
    assert re.search(f"Not answered yet: .*{OPEN[my_class]}|{OPEN[my_class]}", told(report))


def test_a_trace_function_that_was_set_before_is_set_again():
    def trace(frame, event, arg):
        return None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check_value_class(Endless)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("given", [Engine(2.0), lambda x: x, 3])
def test_only_a_class_is_an_engine(given):
    with pytest.raises(TypeError, match=r"check_value_class\(MyValue\)"):
        check_value_class(given)


# --- diagnose: operations of a reader's own class


def test_methods_and_expressions_of_an_own_class():
    assert diagnose(WithMore.tanh).ok is True
    assert diagnose(WithMore.__sub__).ok is True  # made of two operations
    assert diagnose(WithMore(2.0).tanh).ok is True
    assert diagnose(lambda x: x**3, WithMore).ok is True
    assert diagnose(lambda x: x * x + x, Value).ok is True
    assert told(diagnose(WrongTanh.tanh)).startswith("wrong derivative, for self")
    assert told(diagnose(Assigns.__mul__, Assigns)).startswith("assigned instead of accumulated, for self and other")
    assert told(diagnose(lambda a, b: a * b, WithoutUpstream)).startswith("forgot the upstream gradient, for a and b")


def test_an_operand_that_has_to_be_a_plain_number_is_held_still():
    report = diagnose(WithMore.__pow__)
    assert report.ok is False and "diagnose(lambda x: x ** 3, MyValue)" in told(report)


def test_a_method_whose_class_cannot_be_found_asks_for_it():
    class Local(WithMore):
        def twice(self):
            return self * 2

    with pytest.raises(TypeError, match=r"write diagnose\(Local.twice, Local\)"):
        diagnose(Local.twice)
    assert diagnose(Local.twice, Local).ok is True


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Engine, r"write check_value_class\(Engine\)"),
        (3.0, "expects an Op or a function"),
        (lambda: 3, "1 to 8 operands"),
    ],
)
def test_what_is_no_operation_is_an_error_with_the_fix(given, message):
    with pytest.raises(TypeError, match=message):
        diagnose(given)


def test_practice_stays_a_room_of_its_own():
    """It imports the engine's rooms and the standard library alone."""
    for path in Path(practice.__file__).parent.glob("*.py"):
        source = path.read_text(encoding="utf-8")
        rooms = {"", "derivatives", "engine", "expect", "ieee", "mistakes", "notation", "op", "ops", "parts"}
        assert set(re.findall(r"^\s*from \.\.(\w*)", source, re.MULTILINE)) <= rooms
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", source, re.MULTILINE))
        assert imported - {"__future__"} <= sys.stdlib_module_names
