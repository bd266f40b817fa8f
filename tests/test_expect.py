"""Checks of arguments: what they let through, and in which words they refuse the rest."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from tinygrad_lite import Value, expect, nn


@pytest.mark.parametrize(
    "x", [2, 2.0, True, Fraction(5, 2), Decimal("2.5"), np.float32(2.5), np.bool_(True), np.array(2)]
)
def test_a_number_of_any_kind_becomes_a_float(x):
    assert type(expect.number("lr", x)) is float and expect.number("lr", x) == x


@pytest.mark.parametrize("x", ["2", None, [2.0], 1j, np.array([2.0])], ids=repr)
def test_what_is_no_number_is_refused_by_name(x):
    with pytest.raises(TypeError) as caught:
        expect.number("lr", x)
    assert str(caught.value) == f"lr must be one real number, got {x!r}"


def test_a_value_as_a_setting_says_how_to_write_the_number():
    with pytest.raises(TypeError, match=r"lr must be one real number, got Value.*: write v.data"):
        expect.number("lr", Value(0.1))


def refused(check, x):
    try:
        check("x", x)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("check", "allowed", "not_allowed", "message"),
    [
        (
            expect.not_negative,
            [0, 5e-324, 1.7e308],
            [-5e-324, math.inf, math.nan],
            "x must be a finite number of at least 0",
        ),
        (expect.learning_rate, [0, 0.1], [-0.1, math.inf, math.nan], "lr must be a finite number of at least 0"),
        (expect.below_one, [0, 0.5, 1 - 2**-53], [-5e-324, 1, 1.5, math.nan], "x must be at least 0 and below 1"),
    ],
)
def test_a_number_has_to_lie_within_its_bounds(check, allowed, not_allowed, message):
    call = (lambda name, x: check(x)) if check is expect.learning_rate else check
    assert [call("x", x) for x in allowed] == allowed
    assert [refused(call, x) for x in not_allowed] == [f"{message}, got {x!r}" for x in not_allowed]


@pytest.mark.parametrize(("n", "least"), [(0, 0), (1, 1), (7, 1), (np.int64(3), 3), (True, 1)])
def test_a_whole_number_of_any_kind_becomes_an_int(n, least):
    assert type(expect.whole("n", n, least)) is int and expect.whole("n", n, least) == n


@pytest.mark.parametrize(("n", "least"), [(-1, 0), (0, 1), (2, 3), (1.0, 1), ("3", 1), (None, 0)])
def test_what_is_no_whole_number_or_too_small_is_refused(n, least):
    with pytest.raises(ValueError) as caught:
        expect.whole("n", n, least)
    assert str(caught.value) == f"n must be a whole number of at least {least}, got {n!r}"
    with pytest.raises(ValueError, match=f"n must be a whole number of steps, at least {least}, got "):
        expect.whole("n", n, least, of="steps")


def test_one_is_the_least_whole_number_unless_told_otherwise():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        expect.whole("n", 0)


def test_one_of_some_names_is_given_back_and_others_see_the_list():
    assert expect.one_of("fold", "auto", ["auto", "none"], "a depth") == "auto"
    for other in "all", ["auto"], None:
        with pytest.raises(ValueError) as caught:
            expect.one_of("fold", other, {"auto": 1, "none": 2}, "a depth")
        assert str(caught.value) == f"fold must be one of auto, none, or a depth; got {other!r}"


def test_a_demand_is_asked_of_a_number_now_and_of_a_value_by_itself():
    asked = []

    class Later(Value):
        def demand(self, holds, message):
            asked.append((holds(2.0), holds(0.0), message(0.0)))

    def demand(x):
        return expect.demand("t", x, lambda t: t > 1.0, "above 1, got {:g}".format)

    assert demand(2) == 2.0 and type(demand(2)) is float
    value, later = Value(2.0), Later(0.0)
    assert demand(value) is value and demand(later) is later and asked == [(True, False, "above 1, got 0")]
    for x in 1, Value(1.0):
        with pytest.raises(ValueError, match=r"^above 1, got 1$"):
            demand(x)


MODEL, W = nn.MLP(1, [1], seed=0), Value(1.0, "w")


def test_a_list_of_values_may_come_in_any_order_that_can_be_walked():
    for values in [W], (W,), iter([W]), {W: 1}:
        assert expect.listed("l1", values) == [W]
    assert expect.parameters("SGD", (W,)) == [W]
    assert expect.listed("l1", []) == []


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (MODEL, "got one MLP: write model.parameters()"),
        (MODEL.parameters, "got one method: write model.parameters()"),
        (W, "got one Value: write [v]"),
        (2.0, "got one float: write [v]"),
    ],
)
def test_what_is_no_list_says_what_to_write(one, message):
    for check in expect.listed, expect.parameters:
        with pytest.raises(TypeError) as caught:
            check("SGD", one)
        assert str(caught.value) == f"SGD expects a list of Values, {message}"


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([], ValueError, "SGD got no parameters: write model.parameters()"),
        ([W, 2.0], TypeError, "SGD expects a list of Values, got 2.0 at index 1"),
        ([W, W * 2.0], ValueError, "parameter 1 was computed by mul, so moving it changes nothing: "),
        ([Value(2.0), W, W], ValueError, "parameter 2 appears twice in the list and would be updated twice; "),
    ],
)
def test_parameters_are_leaves_and_each_is_there_once(values, error, message):
    with pytest.raises(error) as caught:
        expect.parameters("SGD", values)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("x", [[1.0, 2.0], (1, 2), [W, 1.0]], ids=lambda x: type(x).__name__)
def test_the_inputs_of_one_example_come_back_as_they_are(x):
    assert expect.inputs("Layer", 2, x) is x


def test_an_array_of_inputs_comes_back_as_a_list_of_floats_which_is_quicker_to_read():
    assert expect.inputs("Layer", 2, np.ones(2)) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (1.0, TypeError, "Layer expects a list of 2 inputs, got 1.0; for one input write [x]"),
        (W, TypeError, f"Layer expects a list of 2 inputs, got {W!r}; for one input write [x]"),
        ("ab", TypeError, "Layer expects a list of 2 inputs, got 'ab'; for one input write [x]"),
        (
            [[1.0], [2.0]],
            TypeError,
            "Layer expects 2 inputs, got 2 lists; for many examples write [model(x) for x in X]",
        ),
        ([1.0], ValueError, "Layer expects 2 inputs, got 1"),
        ([], ValueError, "Layer expects 2 inputs, got 0"),
        (["a", "b", "c"], ValueError, "Layer expects 2 inputs, got 3"),
    ],
    ids=repr,
)
def test_other_inputs_are_refused(x, error, message):
    with pytest.raises(error) as caught:
        expect.inputs("Layer", 2, x)
    assert str(caught.value) == message


@pytest.mark.parametrize(("X", "y"), [([1.0], [1, 2]), ([1.0, 2.0], [1]), ([], []), (np.zeros((0, 2)), [])], ids=str)
def test_examples_come_with_as_many_targets(X, y):
    expect.pairs("fit", [1.0, 2.0], [0, 1])
    with pytest.raises(ValueError) as caught:
        expect.pairs("fit", X, y, "points")
    assert str(caught.value) == f"fit expects as many points as targets, and at least one; got {len(X)} and {len(y)}"


def test_predictions_and_targets_are_paired():
    assert expect.matched("mse", 1.0, W) == [(1.0, W)]
    assert expect.matched("mse", [1.0, 2.0], (3.0, W)) == expect.matched("mse", np.array([1.0, 2.0]), [3.0, W])
    assert expect.matched("mse", np.array(1.0), 2.0) == [(1.0, 2.0)]


@pytest.mark.parametrize(
    ("prediction", "target", "got"),
    [
        ([1.0], [1.0, 2.0], "1 numbers and 2 numbers"), ([1.0], 1.0, "1 numbers and 1.0"),
        (1.0, np.ones(2), "1.0 and 2 numbers"), ([], [], "0 numbers and 0 numbers"),
    ],
)  # fmt: skip
def test_predictions_and_targets_that_do_not_match_are_refused(prediction, target, got):
    with pytest.raises(ValueError) as caught:
        expect.matched("mse", prediction, target)
    assert str(caught.value) == f"mse expects two numbers, or two lists of one length, got {got}"


def test_one_score_or_several_are_told_apart():
    assert expect.one_score("hinge", W) is W and expect.scores("softmax", (W, 1.0)) == [W, 1.0]
    for several in [1.0, 2.0], (1.0, 2.0):
        with pytest.raises(
            TypeError, match=r"^hinge expects one score, got a list of 2; for several classes use cross_"
        ):
            expect.one_score("hinge", several)
    with pytest.raises(
        TypeError, match=r"^softmax expects a list of scores, one per class, got 1.0; for one score use b"
    ):
        expect.scores("softmax", 1.0)


@pytest.mark.parametrize("k", [0, 2, 1.0, True, np.int64(2), np.float32(1.0)])
def test_a_class_is_a_whole_number_of_any_kind(k):
    assert expect.one_class("cross_entropy", k, 3) == k


@pytest.mark.parametrize(
    ("k", "error", "message"),
    [
        (3, ValueError, "cross_entropy expects a class from 0 to 2, got 3"),
        (-1, ValueError, "cross_entropy expects a class from 0 to 2, got -1"),
        (0.5, ValueError, "cross_entropy expects a class from 0 to 2, got 0.5"),
        (
            [0, 1],
            TypeError,
            "cross_entropy expects the class as one number, got [0, 1]; of a one-hot list it is k.index(1)",
        ),
        (
            (0, 1),
            TypeError,
            "cross_entropy expects the class as one number, got [0, 1]; of a one-hot list it is k.index(1)",
        ),
        (
            np.zeros(0),
            TypeError,
            "cross_entropy expects the class as one number, got []; of a one-hot list it is k.index(1)",
        ),
    ],
    ids=repr,
)
def test_what_is_no_class_is_refused(k, error, message):
    with pytest.raises(error) as caught:
        expect.one_class("cross_entropy", k, 3)
    assert str(caught.value) == message


def test_a_schedule_in_place_of_a_rate_says_where_it_goes():
    with pytest.raises(
        TypeError, match=r"^lr must be a number, got a function of the step: write fit\(..., schedule=f\)"
    ):
        expect.learning_rate(lambda t: 0.1)
