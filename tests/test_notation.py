"""notation: numbers, names, paragraphs and tables as every room writes them."""

import math
import time

import pytest

from tinygrad_lite import Value, ops
from tinygrad_lite.notation import (
    Table,
    aligned,
    columns,
    count_of,
    decimals,
    digits,
    elided,
    escaped,
    filled,
    glued,
    named,
    number,
    one_line,
    printable,
    shortened,
    span,
    word,
    written,
)
from tinygrad_lite.parts import distinct, numbered


@pytest.mark.parametrize(
    ("x", "six", "two", "four_decimals"),
    [
        (1 / 3, "0.333333", "0.33", "0.3333"),
        (2.0, "2", "2", "2.0000"),
        (-0.0, "-0", "-0", "-0.0000"),
        (1e-7, "1e-07", "1e-07", "1.000e-07"),
        (1e-3, "0.001", "0.001", "0.0010"),
        (123456.0, "123456", "1.2e+05", "1.235e+05"),
        (math.inf, "inf", "inf", "inf"),
        (math.nan, "nan", "nan", "nan"),
    ],
)
def test_numbers_have_significant_digits_in_text_and_decimals_in_boxes(x, six, two, four_decimals):
    assert (digits(x), digits(x, 2), decimals(x)) == (six, two, four_decimals)
    assert number(x).text == six.removeprefix("-")  # no -0 in mathematics


def test_a_span_is_one_number_or_two_and_says_how_many_are_nan():
    assert span([3.0]) == span([3.0, 3.00001]) == "3.0000"
    assert span(iter([3.0, 1.0, 2.0])) == "1.0000 .. 3.0000"
    assert (span([math.nan]), span([1.0, math.nan])) == ("nan", "nan in 1 of 2")


def test_counts_have_their_plural_and_thousands():
    assert [count_of(n, "scalar") for n in (0, 1, 1000)] == ["0 scalars", "1 scalar", "1,000 scalars"]


@pytest.mark.parametrize("text", ["", "w1", "layers.0.neurons.3.w.1", "漢字" * 8, "a" * 39, "a" * 40, "e\u0301" * 40])
@pytest.mark.parametrize("most", [0, 1, 3, 4, 12, 40])
def test_a_shortened_text_is_the_text_or_its_two_ends_in_as_many_columns(text, most):
    short = shortened(text, most)
    assert columns(short) <= most
    if columns(text) <= most:
        assert short == text
    elif most > 4:
        head, _, tail = short.partition("...")
        assert head and tail and text.startswith(head) and text.endswith(tail)
    else:
        assert short == ""


def test_a_shortened_path_keeps_what_tells_it_apart():
    assert shortened("encoder.layers.0.neurons.12.w.3", 24) == "encoder.layer...s.12.w.3"


def test_shortening_takes_time_in_proportion_to_the_text():
    begin = time.process_time()
    assert 37 <= columns(shortened("漢" * 1_000_000)) <= 40
    assert time.process_time() - begin < 5.0


@pytest.mark.parametrize(
    ("text", "line", "terminal"),
    [
        ("a\nb\r\nc\u2028d", "a⏎b⏎c⏎d", "a⏎b⏎c⏎d"),
        ("a\tb", "a b", "a b"),
        ("x\x00\x1b[31m", "x\ufffd\ufffd[31m", "x\ufffd\ufffd[31m"),
        ("\ud800\ufffe", "\ufffd\ufffd", "\ufffd\ufffd"),
        ("\u202eright to left", "\u202eright to left", "\ufffdright to left"),
        ("naïve ∂ 漢字", "naïve ∂ 漢字", "naïve ∂ 漢字"),
    ],
)
def test_a_name_is_one_line_and_for_terminals_printable(text, line, terminal):
    assert (one_line(text), printable(text)) == (line, terminal)
    assert printable(text).isprintable()


def test_no_line_ends_inside_what_is_glued():
    text = f"one two three {glued('a * b = 6')} four"
    assert filled(text, 16, "  ") == "one two three\n  a * b = 6 four"


def test_tables_are_aligned_by_columns_of_the_terminal_not_by_characters():
    lines = aligned([("name", "n"), ("漢字", "10"), ("e\u0301", "7")], "lr")
    assert lines == ["  name   n", "  漢字  10", "  e\u0301      7"]
    assert aligned([("a", "b")], "lr", ["", " | "]) == ["a | b"]


def test_a_table_that_is_too_wide_shortens_its_first_column_and_its_formulas_and_no_number():
    row = tuple(map(word, ("v1 = maximum(a, b, c)", "12345.6789", "exp(v1) * (1 - tanh(v2)**2)")))
    table = Table("lrl", tuple(map(word, ("who", "value", "formula"))), [row])
    for width in 64, 50, 40, 30:
        lines = table.fitted(width).splitlines()
        assert max(map(columns, lines)) <= width and "12345.6789" in lines[1]
    assert "..." not in table.fitted(100) and "exp(v1...**2)" in table.fitted(50) and "formula" not in table.fitted(40)


def test_a_name_with_a_number_has_an_index():
    assert [named(text).latex for text in ("x", "w1", "w_12")] == ["x", "w_{1}", "w_{12}"]
    assert named("my loss").latex == r"\mathrm{my\ loss}"
    assert written(ops.mul, [named("a b"), named("c")]).text == "(a b) * c"


def test_operands_that_are_not_shown_are_dots_in_valid_code():
    names = [named(f"w{i}") for i in range(1000)] + [named(f"x{i}") for i in range(1000)] + [named("b")]
    assert elided(ops.dot, names).text == "dot([w0, ...], [x0, ...], b)"
    assert elided(ops.total, names[:1000]).text == "total([w0, ...])"
    for op in ops.dot, ops.total, ops.maximum, ops.logsumexp:
        compile(elided(op, names[:-1]).text, "", "eval")


def test_labels_are_data_in_latex():
    assert escaped("a_b<c>$\\") == r"a\_b\lt{}c\gt{}\$\backslash{}"


def test_values_without_a_name_are_numbered_and_names_that_several_have_too():
    a, b, c, d = values = [Value(float(i)) for i in range(4)]
    names = {a: "x", c: "v1", d: "x"}
    assert numbered(values, names) == {a: "x", b: "v2", c: "v1", d: "x"}
    assert distinct(names) == {a: "x#1", c: "v1", d: "x#2"}
