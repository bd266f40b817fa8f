"""`jit` as users meet it: what goes in, what comes out, what is refused and in which words."""

import inspect
import math
import random
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest

from tinygrad_lite import Value, anomaly, grad, hessian, nn, no_grad, ops
from tinygrad_lite.compiler import jit, native

np = pytest.importorskip("numpy")
program = pytest.importorskip("tinygrad_lite.compiler.program")
trace_module = pytest.importorskip("tinygrad_lite.compiler.trace")

pytestmark = [pytest.mark.sample(4), pytest.mark.usefixtures("backend")]

X = [[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]]
Y = [1.0, -1.0, 1.0]


@pytest.fixture(autouse=True)
def _no_program_from_another_test(monkeypatch):
    monkeypatch.setattr(program, "cache", {})


def model_and_loss(seed=0, nouts=(4, 1), activation="tanh"):
    model = nn.MLP(2, list(nouts), activation=activation, seed=seed)
    return model, lambda x, y: (model(x) - y) ** 2


def gradient_of(out, parameters):
    for p in parameters:
        p.grad = 0.0
    out.backward()
    found = [p.grad for p in parameters]
    for p in parameters:
        p.grad = 0.0
    return found


def examples(n):
    r = np.random.default_rng(n)
    return r.normal(size=(n, 2)), np.where(r.random(n) < 0.5, -1.0, 1.0)


# --- batches


LENGTHS = (0, 1, 3, 7, 8, 9, 100, 127, 128, 129, 1000, 1797)


def test_every_batch_length_gives_the_results_of_single_examples():
    _, loss = model_and_loss()
    f = jit(loss)
    x, y = examples(max(LENGTHS))
    one_by_one = np.array([f(a, b).data for a, b in zip(x, y)])
    for n in LENGTHS:
        found = f.batch(x[:n], y[:n])
        assert found.shape == (n,)
        assert found == pytest.approx(one_by_one[:n], rel=1e-15)
    eager = [loss(a, b).data for a, b in zip(x[:20].tolist(), y[:20].tolist())]
    assert one_by_one[:20] == pytest.approx(eager, rel=1e-13)


@pytest.mark.parametrize("n", LENGTHS[1:])
def test_mean_and_its_gradient_are_those_of_the_examples(n):
    _, loss = model_and_loss()
    f = jit(loss)
    x, y = examples(n)
    value, gradient = f.value_and_grad(x, y)
    rows = np.array([f(a, b).local_grads for a, b in zip(x, y)])
    assert value == pytest.approx(f.batch(x, y).mean(), rel=1e-13)
    assert gradient == pytest.approx(rows.mean(axis=0), rel=1e-12, abs=1e-15)
    if n == 9:
        eager = ops.mean([loss(a, b) for a, b in zip(x.tolist(), y.tolist())])
        assert gradient == pytest.approx(gradient_of(eager, f.parameters), rel=1e-12)


def test_strict_examples_do_not_depend_on_their_place_in_the_batch():
    def f(x):
        return ops.exp(x[0]) * ops.sin(x[1]) + ops.dot(x, x)

    x, _ = examples(37)
    f = jit(f, strict=True)
    whole = f.batch(x)
    for start in range(20):
        assert f.batch(x[start:]).tolist() == whole[start:].tolist()


@pytest.mark.parametrize("dtype", list("bBhHiIlLefdg?"))
def test_any_real_dtype_is_read_by_value(dtype):
    numbers = np.array([[1, 0], [0, 1], [1, 1]]).astype(dtype)
    f = jit(lambda x: 2 * x[0] + 3 * x[1])
    assert f.batch(numbers).tolist() == [2.0, 3.0, 5.0]


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a.tolist(),
        lambda a: tuple(map(tuple, a.tolist())),
        lambda a: [np.array(row) for row in a],
        np.asfortranarray,
        lambda a: np.repeat(a, 3, axis=0)[::3],
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.ascontiguousarray(a.T).T,
        lambda a: np.broadcast_to(a, (1, *a.shape))[0],
        lambda a: a.astype(">f8"),
    ],
    ids=["lists", "tuples", "rows", "Fortran", "strided rows", "strided columns", "reversed", "transposed", "read-only",
         "big-endian"],
)  # fmt: skip
def test_any_layout_in_memory_is_read_by_value(layout):
    a = np.arange(22.0).reshape(11, 2) / 7
    f = jit(lambda x: 2 * x[0] + ops.sin(x[1]))
    assert f.batch(layout(a)).tolist() == f.batch(a).tolist()
    assert f.mean(layout(a)).data == f.mean(a).data


def test_float32_is_widened_and_not_rounded_on():
    x = np.array([0.1, 0.2], dtype=np.float32)
    assert jit(lambda x: x * 1.5).batch(x).tolist() == [1.5 * float(v) for v in x]


def test_arguments_are_not_changed_and_results_are_not_overwritten():
    f = jit(lambda x: x * 2.0)
    x = np.arange(20.0)
    first = f.batch(x)
    kept = first.copy()
    f.batch(x + 1.0)
    assert x.tolist() == list(range(20)) and first.tolist() == kept.tolist()


def test_a_matrix_argument_is_a_list_of_rows():
    def f(m, v):
        return [ops.dot(row, v) for row in m]

    m, v = np.arange(60.0).reshape(10, 2, 3), np.arange(30.0).reshape(10, 3) - 4
    assert jit(f).batch(m, v) == pytest.approx(np.einsum("nij,nj->ni", m, v), rel=1e-15)
    assert [out.data for out in jit(f)(m[3].tolist(), v[3].tolist())] == (m[3] @ v[3]).tolist()


def test_results_keep_their_structure():
    def f(x):
        return [[x, 2 * x], [3 * x, x * x], [x + 1, x - 1]]

    assert jit(f).batch([3.0, 5.0]).tolist() == [[[3, 6], [9, 9], [4, 2]], [[5, 10], [15, 25], [6, 4]]]
    assert [[v.data for v in row] for row in jit(f)(3.0)] == [[3, 6], [9, 9], [4, 2]]


def test_the_same_result_twice_and_an_input_as_a_result():
    def f(x, y):
        z = x * y
        return [z, x, z, y]

    assert jit(f).batch([2.0, 3.0], [5.0, 7.0]).tolist() == [[10, 2, 10, 5], [21, 3, 21, 7]]


def test_several_arguments_keep_their_order():
    f = jit(lambda a, b, c: 100 * a + 10 * b[1] + c)
    assert f.batch([1, 2], [[0, 3], [0, 4]], [5, 6]).tolist() == [135.0, 246.0]
    assert f(1, [0, 3], 5).data == 135.0


def test_no_inputs_at_all():
    w = Value(3.0)
    f = jit(lambda: w * w)
    assert f().data == 9.0 and f.mean().data == 9.0
    assert gradient_of(f(), [w]) == [6.0]
    w.data = 4.0
    assert f().data == 16.0


def test_no_parameters_at_all():
    f = jit(lambda x: ops.exp(x))
    assert f.batch([0.0]).tolist() == [1.0] and f.parameters == []
    value, gradient = f.value_and_grad([0.0, 0.0])
    assert value == 1.0 and gradient.shape == (0,)
    assert f(0.0).data == 1.0 and f(0.0).args == ()
    assert f.mean([0.0]).args == ()


def test_an_unused_input_is_read_and_ignored():
    assert jit(lambda x, y: y * 2).batch([math.nan, math.inf], [1.0, 2.0]).tolist() == [2.0, 4.0]


# --- one node among others


def test_a_mean_composes_with_eager_terms_over_shared_parameters():
    model, loss = model_and_loss()
    ps = model.parameters()
    compiled = jit(loss).mean(X, Y)
    expected = gradient_of(ops.mean([loss(x, y) for x, y in zip(X, Y)]) * 2 + nn.l2(ps, 0.1), ps)
    assert gradient_of(compiled * 2 + nn.l2(ps, 0.1), ps) == pytest.approx(expected, rel=1e-12)


def test_a_gradient_accumulates_over_two_means():
    w = Value(2.0)
    f = jit(lambda x: w * x)
    f.mean([1.0, 3.0]).backward()
    f.mean([5.0]).backward()
    assert w.grad == 7.0


def test_a_value_made_outside_passes_its_gradient_on():
    a = Value(0.5)
    scale = ops.exp(a)  # eager, before and outside
    f = jit(lambda x: scale * x)
    assert gradient_of(f.mean([1.0, 3.0]), [a]) == pytest.approx([2.0 * math.exp(0.5)], rel=1e-15)
    assert f.parameters == [scale]


def test_values_as_arguments_get_their_gradient():
    w, x, y = Value(3.0), Value(2.0), Value(5.0)
    f = jit(lambda x, y: w * x * y[0] + y[1])
    out = f(x, [y, 7.0])
    assert out.data == 37.0
    assert gradient_of(out, [w, x, y]) == [10.0, 15.0, 6.0]
    assert gradient_of(f(2.0, [y, x]), [w, x, y]) == [10.0, 1.0, 6.0]
    assert gradient_of(f(x, [x, x]), [w, x]) == [4.0, 13.0]


def test_several_results_of_one_example_have_gradients_of_their_own():
    w = Value(3.0)
    a, b = jit(lambda x: [w * x, w * w])(2.0)
    assert (gradient_of(a, [w]), gradient_of(b, [w])) == ([2.0], [6.0])
    assert gradient_of(a * b, [w]) == [2.0 * 9.0 + 6.0 * 6.0]


def test_an_output_that_is_a_parameter_has_gradient_one():
    w = Value(3.0)
    assert gradient_of(jit(lambda x: w).mean([1.0, 2.0, 3.0, 4.0]), [w]) == [1.0]


def test_parameters_are_read_at_each_call():
    w = Value(2.0)
    f = jit(lambda x: w * x)
    for w.data in 2.0, -1.5, math.inf:
        assert f.batch([1.0]).tolist() == [w.data] and f(1.0).data == w.data and f.mean([1.0]).data == w.data


def test_value_and_grad_takes_other_numbers_for_the_parameters():
    a, b = Value(2.0), Value(3.0)
    f = jit(lambda x: a * a * x + b)
    f.batch([1.0])
    assert f.parameters == [a, b]
    value, gradient = f.value_and_grad([2.0], parameters=[5.0, 7.0])
    assert (value, gradient.tolist()) == (57.0, [20.0, 1.0])
    assert (a.data, b.data) == (2.0, 3.0)
    strided = np.array([5.0, 0.0, 7.0, 0.0])[::2]
    assert f.value_and_grad([2.0], parameters=strided)[0] == 57.0
    assert f.value_and_grad([2.0], parameters=np.array([5, 7]))[0] == 57.0
    for wrong in ([5.0], [5.0, 7.0, 9.0], [[5.0, 7.0]], 5.0):
        with pytest.raises(ValueError, match=r"parameters has shape \(.*\), expected \(2,\)"):
            f.value_and_grad([2.0], parameters=wrong)


def test_the_gradient_is_ordered_as_the_parameters_are():
    model, loss = model_and_loss(nouts=(5, 3, 1))
    f = jit(loss)
    _, gradient = f.value_and_grad(X, Y)
    assert set(f.parameters) == set(model.parameters())
    eager = ops.mean([loss(x, y) for x, y in zip(X, Y)])
    assert gradient == pytest.approx(gradient_of(eager, f.parameters), rel=1e-12)


def test_python_numbers_are_baked_in_at_the_first_call():
    rate = [2.0]
    f = jit(lambda x: rate[0] * x)
    assert f.batch([1.0]).tolist() == [2.0]
    rate[0] = 3.0
    assert f.batch([1.0]).tolist() == [2.0]


@pytest.mark.parametrize("fresh", [3.0, 0.0, math.inf, math.nan])
def test_a_value_made_inside_is_a_constant(fresh):
    f = jit(lambda x: ops.maximum(x, Value(fresh)))
    assert f.batch([1.0, 4.0]) == pytest.approx([ops.maximum(x, fresh) for x in (1.0, 4.0)], nan_ok=True)
    assert f.parameters == []


def test_a_comparison_of_parameters_is_recorded_and_not_baked_in():
    w = Value(1.0)
    f = jit(lambda x: ops.where(w > 0.0, x, -x))
    assert f.batch([2.0]).tolist() == [2.0]
    w.data = -1.0
    assert f.batch([2.0]).tolist() == [-2.0]


def test_finite_gradients_whose_sum_overflows_warn_of_nothing():
    a, b = Value(0.0), Value(0.0)
    assert jit(lambda x: (a * 1e308 + b * 1e308) * x).mean([1.0]).local_grads == (1e308, 1e308)


def test_anomaly_names_the_row_of_the_data_that_is_nan():
    w = Value(1.0)
    f = jit(lambda x: ops.exp(w * x))
    with anomaly(), pytest.raises(FloatingPointError, match=r"example 2|row 2"):
        f.mean([1.0, 2.0, math.nan, 4.0])


def test_anomaly_names_the_example_whose_computation_gives_the_first_nan():
    w = Value(1.0)
    f = jit(lambda x: ops.log(w * x))
    with anomaly(), pytest.raises(FloatingPointError, match=r"example 1: nan first appeared .* log\(Value\(-2\)\)"):
        f.mean([1.0, -2.0, 3.0])
    with anomaly(), pytest.raises(FloatingPointError, match=r"example 2: -inf first appeared .* log\(Value\(0\)\)"):
        f.batch([1.0, 2.0, 0.0])
    with anomaly():
        assert f.mean([1.0, math.e]).data == pytest.approx(0.5)


def test_a_compiled_node_takes_part_in_anomaly_detection_of_the_graph_around_it():
    w = Value(1e-300)
    mean = jit(lambda x: w * x).mean([1e308])
    with anomaly(), pytest.raises(FloatingPointError, match="inf first appeared in the backward pass"):
        (mean * 1e5).backward()


@pytest.mark.parametrize("backend", ["native"], indirect=True)
@pytest.mark.parametrize("registers", [16, 32])
@pytest.mark.parametrize("width", [1, 2, 4, 8])
@pytest.mark.parametrize("nouts", [(5, 3, 1), (16, 13, 1)], ids=str)
def test_machines_of_other_registers_compute_the_same(monkeypatch, width, registers, nouts):
    monkeypatch.setattr(native.host(), "width", width)
    monkeypatch.setattr(native.host(), "registers", registers)
    model, loss = model_and_loss(nouts=nouts)
    x, y = examples(21 if nouts[0] == 5 else 150)  # less than a block, and several
    f = jit(loss, strict=True)
    assert f.batch(x, y) == pytest.approx([loss(a, b).data for a, b in zip(x.tolist(), y.tolist())], rel=1e-13)
    assert f.stats.lanes == width
    eager = gradient_of(ops.mean([loss(a, b) for a, b in zip(x.tolist(), y.tolist())]), model.parameters())
    assert f.value_and_grad(x, y)[1] == pytest.approx(eager, rel=1e-11, abs=1e-14)

    def everything(z):
        return [
            ops.exp(z), ops.expm1(z), ops.log(z), ops.log1p(z), ops.sin(z), ops.cos(z), ops.tanh(z), ops.sigmoid(z),
            ops.softplus(z), ops.hypot(z, 2.0), ops.logsumexp([z, 1.0, -z]), ops.pick(1, [z, -z]), ops.sign(z),
        ]  # fmt: skip

    points = [0.25, 1.0, 3.5, 40.0, 1e6]
    found = jit(everything, strict=True).batch(points)
    for row, z in zip(found, points, strict=True):
        assert row == pytest.approx([out.data for out in everything(Value(z))], rel=1e-14)


def test_a_graph_beyond_this_machines_memory_is_refused_while_it_is_recorded(monkeypatch):
    monkeypatch.setattr(trace_module.Budget, "most", 1000)
    f = jit(lambda x: sum((x * i for i in range(10**9)), x))
    with pytest.raises(MemoryError, match="more than 1,000 operands"):
        f.batch([1.0])
    assert jit(lambda x: x + 1.0).batch([1.0]).tolist() == [2.0]  # the next one starts anew


def test_a_graph_that_needs_too_much_working_memory_is_refused_before_it_is_compiled(monkeypatch):
    monkeypatch.setattr(program, "MOST_BYTES", 10_000)
    with pytest.raises(MemoryError, match="GiB of working memory"):
        jit(lambda xs: ops.total([ops.sin(x) for x in xs])).batch([[1.0] * 200])


def test_no_grad_gives_results_that_record_nothing():
    w = Value(3.0)
    f = jit(lambda x: w * x)
    with no_grad():
        assert f.mean([2.0]).args == () and f(2.0).args == ()
    assert f.mean([2.0]).args == (w,)


def test_jit_inside_jit_is_the_same_function():
    w = Value(3.0)
    inner = jit(lambda x: w * ops.sin(x))
    outer = jit(lambda x: inner(x) ** 2 + x)
    inner.batch([0.5])
    assert outer.batch([0.5, 1.0]) == pytest.approx([(3 * math.sin(x)) ** 2 + x for x in (0.5, 1.0)], rel=1e-15)
    assert gradient_of(outer.mean([0.5]), [w]) == pytest.approx([6 * math.sin(0.5) ** 2], rel=1e-15)


def test_derivatives_inside_are_derivatives_of_the_inner_function():
    w = Value(2.0)
    f = jit(lambda x: grad(ops.sin(w * x), [x])[0])
    assert f.batch([0.3]) == pytest.approx([2 * math.cos(0.6)], rel=1e-15)
    assert gradient_of(f.mean([0.3]), [w]) == pytest.approx([math.cos(0.6) - 0.6 * math.sin(0.6)], rel=1e-14)
    h = jit(lambda x, y: hessian(x * x * y, [x, y]))
    assert h.batch([2.0], [3.0]).tolist() == [[[6.0, 4.0], [4.0, 0.0]]]


def test_a_gradient_with_respect_to_parameters_can_be_taken_inside():
    w = Value(2.0)
    f = jit(lambda x: grad(w * w * x, [w])[0])
    assert f.batch([3.0]).tolist() == [12.0]
    w.data = 5.0
    assert f.batch([3.0]).tolist() == [30.0]


# --- the cache


def count_compilations(monkeypatch):
    made = []
    plan = program.plan
    monkeypatch.setattr(program, "plan", lambda *arguments: made.append(1) or plan(*arguments))
    return made


def test_an_equal_graph_is_not_compiled_again(monkeypatch):
    made = count_compilations(monkeypatch)
    results = []
    for seed in 1, 2, 3:
        _, loss = model_and_loss(seed)
        f = jit(loss)
        results.append(f.mean(X, Y).data)
        f.mean(X[:2], Y[:2])
        assert f.mean(X, Y).data == pytest.approx(ops.mean([loss(x, y) for x, y in zip(X, Y)]).data, rel=1e-13)
    assert len(made) == 1 and len(set(results)) == 3


def test_what_differs_in_one_number_shape_mode_or_sign_of_zero_is_another_program(monkeypatch):
    made = count_compilations(monkeypatch)
    for i, f in enumerate((
        jit(lambda x: x + 1.0), jit(lambda x: x + 2.0), jit(lambda x: x + 1.0, strict=True), jit(lambda x: x + 0.0),
        jit(lambda x: x + -0.0), jit(lambda x: 1.0 + x), jit(lambda x: x[0] + x[1]), jit(lambda x, y: x + x),
    ), 1):  # fmt: skip
        f.batch(*([[[1.0, 2.0]]] if i == 7 else [[1.0]] * (2 if i == 8 else 1)))
        assert len(made) == i
    assert math.copysign(1.0, jit(lambda x: x + 0.0).batch([-0.0])[0]) == 1.0
    assert math.copysign(1.0, jit(lambda x: x + -0.0).batch([-0.0])[0]) == -1.0


def test_another_shape_of_arguments_is_recorded_anew():
    f = jit(lambda xs: ops.total(xs))
    assert f.batch([[1.0, 2.0]]).tolist() == [3.0]
    assert f.batch([[1.0, 2.0, 3.0]]).tolist() == [6.0]
    assert f.batch([[5.0, 2.0]]).tolist() == [7.0]


# --- what it became


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_ir_asm_and_stats_tell_of_the_program_compiled_last():
    _, loss = model_and_loss()
    f = jit(loss)
    f.mean(X, Y)
    width = native.host().width
    assert "define void @run(" in f.ir and f"<{width} x double>" in f.ir
    assert "run:" in f.asm and "ret" in f.asm
    s = f.stats
    assert s.lanes == width and s.examples_per_block % width == 0
    assert s.scalars_recorded > 30 and 0 < s.loops <= s.groups and s.instructions > 10
    assert s.compile_seconds > 0.0 and s.bytes > 0
    for text in "scalars recorded", "groups", "loops", "compile time", f"{s.instructions:,}":
        assert text in repr(s)
    assert str(s) == repr(s)


@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_ir_and_stats_tell_of_array_operations_too():
    _, loss = model_and_loss()
    f = jit(loss)
    f.mean(X, Y)
    assert "[4 + 1*4] = dot(scalars[0 + 3*4 + 1*2], lanes[0 + 1*2], scalars[2 + 3*4])" in f.ir
    assert f.ir.count("\n") + 1 == f.stats.groups + 3 and "] += sum of mul(" in f.ir
    with pytest.raises(RuntimeError, match="NumPy runs array operations, see `ir`"):
        _ = f.asm
    assert f.stats.examples_per_block >= 32 and f.stats.bytes > 0
    for text in "scalars recorded", "groups", "examples a block", f"{f.stats.bytes:,}":
        assert text in repr(f.stats)
    assert "machine instructions" not in repr(f.stats)


def test_nothing_is_told_before_the_first_call():
    f = jit(lambda x: x * 2)
    for name in "ir", "asm", "stats":
        with pytest.raises(RuntimeError, match="has not been compiled yet: call it once"):
            getattr(f, name)
    with pytest.raises(RuntimeError, match="has not been recorded yet: call it once"):
        _ = f.parameters


PRODUCTS = {
    "rows by weights": lambda a, b, w: [[ops.dot(x, v) for v in w] for x in a],
    "weights by rows": lambda a, b, w: [[ops.dot(v, x) for x in a] for v in w],
    "rows by rows": lambda a, b, w: [[ops.dot(x, y) for y in b] for x in a],
    "row by row": lambda a, b, w: [ops.dot(x, y) for x, y in zip(a, b)],
    "row by weights": lambda a, b, w: [ops.dot(x, v) for x, v in zip(a, w)],
    "backwards": lambda a, b, w: [[ops.dot(x[::-1], v) for v in w] for x in a],
    "both backwards": lambda a, b, w: [[ops.dot(x[::-1], v[::-1]) for v in w] for x in a],
    "every second": lambda a, b, w: [[ops.dot(x[::2], v[::2]) for v in w] for x in a],
    "in a mixed order": lambda a, b, w: [[ops.dot([x[i] for i in (2, 0, 4, 1)], v[:4]) for v in w] for x in a],
    "one's own among the weights": lambda a, b, w: [ops.dot([*v[:2], x[0], *v[3:]], x) for x, v in zip(a, w)],
    "of weights": lambda a, b, w: [[ops.dot(u, v) * x[0] for v in w] for u, x in zip(w, a)],
    "of weights, and more": lambda a, b, w: [ops.dot([*v, x[0]], [*w[0], x[1]]) for x, v in zip(a, w)],
    "sums": lambda a, b, w: [ops.total([*x, *v]) for x, v in zip(a, w)],
    "means": lambda a, b, w: [ops.mean([*v, *x]) for x, v in zip(a, w)],
}


@pytest.mark.parametrize("product", PRODUCTS.values(), ids=PRODUCTS)
@pytest.mark.parametrize("strict", [False, True], ids=["default", "strict"])
def test_rows_of_any_pattern_are_multiplied(product, strict):
    r = np.random.default_rng(0)
    w = [[Value(x) for x in row] for row in r.normal(size=(4, 5))]
    parameters = [x for row in w for x in row]
    A, B = r.normal(size=(2, 7, 4, 5))

    def f(a, b):
        found = product(a, b, w)
        return found if isinstance(found[0], Value) else [x for row in found for x in row]

    expected = [f([[Value(x) for x in row] for row in a], b.tolist()) for a, b in zip(A, B)]
    found = jit(f, strict=strict).batch(A.tolist(), B.tolist())
    np.testing.assert_allclose(found, [[x.data for x in row] for row in expected], rtol=1e-12, atol=1e-13)
    mean = jit(lambda a, b: ops.mean([x * x for x in f(a, b)]), strict=strict).mean(A.tolist(), B.tolist())
    eager = ops.mean([ops.mean([x * x for x in row]) for row in expected])
    assert mean.data == pytest.approx(eager.data, rel=1e-12)
    assert gradient_of(mean, parameters) == pytest.approx(gradient_of(eager, parameters), rel=1e-11, abs=1e-13)


def test_strict_values_are_the_engines_to_the_last_bit():
    model = nn.MLP(2, [7, 6, 1], activation="relu", seed=3)  # sums and products alone, so that only their order counts
    x, y = examples(50)
    f = jit(lambda x, y: [(model(x) - y) ** 2, ops.total([*x, 1e16, y, -1e16]), ops.mean(x)], strict=True)
    expected = [
        [(model(a) - b).data ** 2, ops.total([*a, 1e16, b, -1e16]), ops.mean(a)] for a, b in zip(x.tolist(), y.tolist())
    ]
    assert f.batch(x, y).tolist() == expected


@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_a_million_examples_take_the_memory_of_a_block():
    model = nn.MLP(2, [16, 16, 1], seed=0)
    f = jit(lambda x, y: nn.hinge(model(x), y))
    x, y = np.tile(np.array(X), (100_000, 1)), np.tile(np.array(Y), 100_000)
    value, gradient = f.value_and_grad(X, Y)
    tracemalloc.start()
    try:
        found, whole = f.value_and_grad(x, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == pytest.approx(value, rel=1e-12) and whole == pytest.approx(gradient, rel=1e-9, abs=1e-12)
    assert peak < 6 * 8 * x.size + 4 * f.stats.bytes  # the examples read, as rows; each would need 170 numbers


@pytest.mark.parametrize("backend", ["native"], indirect=True)
def test_strict_code_has_no_fused_multiply_add_and_default_code_has():
    w = [Value(float(i)) for i in range(5)]

    def f(xs):
        return ops.dot(w, xs)

    strict, default = jit(f, strict=True), jit(f)
    for g in strict, default:
        g.batch([[1.0] * 5])
    assert "llvm.fma" not in strict.ir and "llvm.fma" in default.ir
    assert "vfmadd" not in strict.asm and "fmla" not in strict.asm


def test_no_code_assumes_finite_numbers_or_flushes():
    _, loss = model_and_loss()
    f = jit(loss)
    f.mean(X, Y)
    for flag in "nnan", "ninf", " fast ", "afn", "denormal-fp-math", "reassoc":
        assert flag not in f.ir


@pytest.mark.long
def test_the_code_does_not_grow_with_the_width_of_a_layer():
    sizes = []
    for width in 14, 32, 128:  # none of which tiles of 4 or 6 members fill
        model = nn.MLP(4, [width, width, 1], activation="tanh", seed=0)
        f = jit(lambda x, y: (model(x) - y) ** 2)
        f.mean([[0.1] * 4] * 3, [1.0] * 3)
        sizes.append(len(f.ir.splitlines()))
    assert max(sizes[1:]) <= sizes[0] * 1.1, sizes


@pytest.mark.long
def test_two_thousand_unstructured_operations_compile():
    r = random.Random(5)
    w = Value(0.5)

    def f(x, r=r):
        r.seed(7)
        nodes = [x, w]
        for _ in range(2000):
            op = r.choice((ops.add, ops.mul, ops.sub, ops.tanh, ops.sin, ops.maximum, ops.sigmoid))
            a, b = r.choice(nodes[-30:]), r.choice(nodes)
            nodes.append(op(a) if op in (ops.tanh, ops.sin, ops.sigmoid) else ops.tanh(op(a, b)))
        return nodes[-1]

    x = [0.3, -0.7, 1.1]
    eager = [f(Value(v)) for v in x]
    found = jit(f).mean(x)
    expected = ops.mean(eager)
    assert found.data == pytest.approx(expected.data, rel=1e-9)
    assert gradient_of(found, [w]) == pytest.approx(gradient_of(expected, [w]), rel=1e-6, abs=1e-12)


# --- what is refused


def refused(error, match, f, *arguments):
    with pytest.raises(error, match=match):
        jit(f).batch(*arguments)


def line_of(f, offset=1):
    return f"{inspect.getsourcelines(f)[1] + offset}: "


def test_a_branch_on_a_recorded_value_is_refused_with_the_line_and_the_way_out():
    def branches(x):
        return x if x > 0 else -x

    with pytest.raises(TypeError, match=r"a branch depends on it.*write where\(condition, a, b\)") as error:
        jit(branches).batch([1.0])
    assert line_of(branches) in str(error.value) and "return x if x > 0 else -x" in str(error.value)


@pytest.mark.parametrize(
    ("f", "match"),
    [
        (lambda x: max(x, 0.0) * x, "a branch depends on it"),
        (lambda x: sorted([x, 1.0 * x])[0], "a branch depends on it"),
        (lambda x: x * float(x), r"float\(\) or a function of `math` was applied.*tinygrad_lite.exp"),
        (lambda x: x * math.exp(x), r"float\(\) or a function of `math` was applied"),
        (lambda x: x * int(x), r"int\(\) or an index was made of it.*pick\(k, xs\)"),
        (lambda x: [x, x][x], r"int\(\) or an index was made of it.*pick\(k, xs\)"),
        (lambda x: x * x.data, r"its \.data was asked for"),
        (lambda x: f"{x.data:.3f}", r"its \.data was asked for"),
    ],
)
def test_a_recorded_value_has_no_number(f, match):
    refused(TypeError, f"a recorded value has no number yet, but {match}", f, [1.0, 2.0])


@pytest.mark.parametrize(
    ("result", "match"),
    [
        (1.0, "must return a Value or lists of Values, got 1.0"),
        (None, "must return a Value or lists of Values, got None"),
        ("text", "must return a Value or lists of Values, got 'text'"),
        ([], r"must return at least one Value, got \[\]"),
        ([[], []], "must return at least one Value"),
    ],
)
def test_a_function_that_returns_no_value_is_refused(result, match):
    refused(TypeError, match, lambda x: result, [1.0])


def test_randomness_and_counters_inside_are_refused():
    count = iter(range(100))
    r = random.Random(0)
    again = "records a different graph on its second call.*take random numbers, counters"
    refused(ValueError, again, lambda x: x * next(count), [1.0])
    refused(ValueError, again, lambda x: x * r.random(), [1.0])
    refused(ValueError, again, lambda x: x * Value(r.random()), [1.0])
    refused(ValueError, again, lambda x: ops.sin(x) if next(count) % 2 else ops.cos(x), [1.0])
    refused(ValueError, again, lambda x: [x] * next(count), [1.0])
    zeros = iter([0.0, -0.0])
    refused(ValueError, again, lambda x: x * next(zeros), [1.0])


@pytest.mark.parametrize(
    ("array", "error", "match"),
    [
        ([[1.0, 2.0], [3.0]], ValueError, "argument 0 is ragged: every example needs the same number of numbers"),
        (["a", "b"], TypeError, r"argument 0\[0\] holds 'a' \(str\), expected real numbers"),
        ([1j, 2.0], TypeError, r"argument 0\[0\] holds 1j \(complex\), expected real numbers"),
        ([None, 1.0], TypeError, r"argument 0\[0\] holds None, expected real numbers"),
        (np.array([1.0, 2.0], dtype=object), TypeError, "argument 0 holds numbers as objects"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), TypeError, "argument 0 holds dates, such as 2020-01-01"),
        ([Value(1.0)], TypeError, r"argument 0\[0\] holds Value\(data=1.0"),
        (3.0, TypeError, "argument 0 is 3.0"),
        ({"a": 1}, TypeError, r"argument 0 is a dict: write list\("),
    ],
)
def test_a_batch_of_anything_but_real_numbers_is_refused(array, error, match):
    refused(error, match, lambda x: x * 1.0, array)
    with pytest.raises(error, match=match):
        jit(lambda x: x * 1.0).mean(array)


@pytest.mark.parametrize(
    ("argument", "error", "match"),
    [
        ("a", TypeError, "Value holds one real number, got 'a'"),
        (1j, TypeError, "Value holds one real number, got 1j"),
        (None, TypeError, "Value holds one real number, got None"),
        ([[1.0, 2.0], [3.0]], ValueError, "argument 0 is ragged"),
        ([1.0, [2.0]], ValueError, "argument 0 is ragged"),
    ],
)
def test_an_example_of_anything_but_real_numbers_is_refused(argument, error, match):
    with pytest.raises(error, match=match):
        jit(lambda x: x * 1.0)(argument)


def test_an_example_may_hold_any_real_number():
    f = jit(lambda x: x[0] + x[1] + x[2] + x[3])
    assert f([Fraction(1, 2), True, np.float32(0.25), 3]).data == 4.75
    assert f(np.array([0.5, 1, 0.25, 3])).data == 4.75


def test_batches_of_different_lengths_are_refused():
    f = jit(lambda x, y: x * y)
    with pytest.raises(ValueError, match=r"the arguments hold different numbers of examples: \[2, 3\]"):
        f.batch([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"different numbers of examples: \[0, 3\]"):
        f.mean([], [1.0, 2.0, 3.0])


def test_the_wrong_number_of_arguments_is_refused():
    f = jit(lambda x, y: x * y)
    f.batch([1.0], [2.0])
    with pytest.raises(TypeError, match="takes 2 arguments, got 1"):
        f.batch([1.0])
    with pytest.raises(TypeError, match="takes 2 arguments, got 3"):
        f.batch([1.0], [1.0], [1.0])
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        jit(lambda x, y: x * y).batch([1.0])


def test_an_example_of_the_wrong_width_is_refused_by_the_model():
    _, loss = model_and_loss()
    f = jit(loss)
    f.mean(X, Y)
    with pytest.raises(ValueError, match="expects 2 inputs, got 3"):
        f.mean([[1.0, 2.0, 3.0]], [1.0])
    with pytest.raises(TypeError, match="expects a list of 2 inputs"):
        f.mean([1.0], [1.0])
    assert f.mean(X, Y).data == f.batch(X, Y).mean()


def test_the_mean_of_an_empty_batch_is_refused_and_the_batch_of_one_is_empty():
    _, loss = model_and_loss()
    f = jit(loss)
    for called, empty in enumerate([(np.zeros((0, 2)), np.zeros(0)), ([], [])]):
        if called:  # lists without a number say nothing of an example's width
            assert f.batch(*empty).shape == (0,)
        with pytest.raises(ValueError, match="over an empty batch has no value"):
            f.mean(*empty)
        f.mean(X, Y)


def test_a_mean_of_several_results_is_refused():
    with pytest.raises(TypeError, match=r"a mean needs one result per example.*returns 2"):
        jit(lambda x: [x * 1.0, x * 2.0]).mean([1.0])


def test_a_batch_of_ragged_results_is_refused():
    refused(ValueError, "a batch of ragged results has no array", lambda x: [[x * 1.0], [x * 2.0, x * 3.0]], [1.0])


def test_grad_through_a_compiled_result_says_where_to_differentiate():
    w = Value(2.0)
    with pytest.raises(RuntimeError, match=r"grad cannot look into a compiled function; differentiate inside it, jit"):
        grad(jit(lambda x: w * x).mean([1.0]), [w])


def test_a_target_out_of_its_domain_is_named_with_its_example():
    w = Value(1.0)
    hinge = jit(lambda x, y: nn.hinge(w * x, y))
    with pytest.raises(ValueError, match="example 1: hinge expects the class y as -1 or 1, got 0"):
        hinge.mean([1.0, 2.0, 3.0], [1, 0, 1])
    with pytest.raises(ValueError, match=r"example 2: hinge expects the class y as -1 or 1, got 0\.5"):
        hinge.batch([1.0, 2.0, 3.0], [1, -1, 0.5])
    assert hinge.batch([0.0], [1]).tolist() == [1.0]

    scores = jit(lambda x, k: nn.cross_entropy([w * x] * 10, k))
    for k, text in (10, "10"), (-1, "-1"), (1.5, "1.5"):
        with pytest.raises(ValueError, match=f"example 3: cross_entropy expects a class from 0 to 9, got {text}"):
            scores.mean([1.0] * 4, [0, 9, 3, k])
        assert scores.mean([1.0] * 4, [0, 9, 3, 4]).data == pytest.approx(math.log(10), rel=1e-14)
    bce = jit(lambda x, t: nn.bce_with_logits(w * x, t))
    with pytest.raises(ValueError, match="example 0: bce_with_logits expects a target from 0 to 1, got -1"):
        bce.value_and_grad([1.0], [-1])


def test_a_target_that_is_nan_is_named_with_its_example():
    f = jit(lambda x, y: nn.hinge(x, y))
    with pytest.raises(ValueError, match="example 1: hinge expects the class y as -1 or 1, got nan"):
        f.batch([1.0, 2.0], [1.0, math.nan])


def test_one_example_with_a_target_out_of_its_domain_is_refused_too():
    f = jit(lambda x, y: nn.hinge(x, y))
    with pytest.raises(ValueError, match="hinge expects the class y as -1 or 1, got 0"):
        f(1.0, 0)


def test_pick_beyond_the_list_is_refused_in_a_batch():
    f = jit(lambda x, k: ops.pick(k, [x * 1.0, x * 2.0]))
    assert f.batch([3.0, 3.0], [0, 1]).tolist() == [3.0, 6.0]
    with pytest.raises(ValueError, match="pick expects a whole number from 0 to 1, got 2"):
        f.batch([3.0, 3.0], [0, 2])


def test_a_call_that_fails_leaves_the_function_usable():
    f = jit(lambda x: ops.sqrt(x))
    with pytest.raises(TypeError, match="expected real numbers"):
        f.batch(["a"])
    assert f.batch([4.0]).tolist() == [2.0]


def test_an_error_in_the_function_names_the_users_line_and_recording_ends():
    def broken(x):
        raise KeyError("mine")

    message = r"broken cannot be compiled: KeyError: 'mine', at .*test_jit.py:\d+: raise KeyError\(.mine.\)"
    with pytest.raises(TypeError, match=message) as caught:
        jit(broken).batch([1.0])
    assert isinstance(caught.value.__cause__, KeyError)
    assert (Value(2.0) * 3.0).data == 6.0


# --- the process around


def test_eight_threads_get_the_serial_answers():
    _, loss = model_and_loss(nouts=(8, 8, 1))
    f = jit(loss)
    tasks = [examples(n) for n in (1, 7, 64, 129, 500, 1000, 33, 8)] * 4
    with ThreadPoolExecutor(8) as pool:  # the first calls come while nothing is compiled yet
        together = list(pool.map(lambda xy: (f.value_and_grad(*xy), f.batch(*xy)), tasks))
    for xy, ((value, gradient), each) in zip(tasks, together):
        v, g = f.value_and_grad(*xy)
        assert v == value and g.tolist() == gradient.tolist()
        assert f.batch(*xy).tolist() == each.tolist()


def test_threads_that_compile_different_functions_do_not_disturb_each_other():
    def compile_and_run(k):
        w = Value(float(k))
        return jit(lambda x: ops.sin(w * x) + k).batch([0.5]).tolist()[0]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(compile_and_run, range(24)))
    assert found == pytest.approx([math.sin(k * 0.5) + k for k in range(24)], rel=1e-14)


def test_the_floating_point_mode_of_the_process_is_as_before():
    _, loss = model_and_loss()
    f = jit(loss)
    f.mean(*examples(1000))
    assert 2.2250738585072014e-308 * 0.5 != 0.0
    assert 1e-310 * 1.0 == 1e-310 and 0.1 + 0.2 == 0.30000000000000004
    assert jit(lambda x: x * 0.5).batch([2.2250738585072014e-308])[0] == 1.1125369292536007e-308
    with np.errstate(all="raise"):
        f.mean(*examples(9))


@pytest.mark.parametrize("backend", ["native"], indirect=True)
@pytest.mark.parametrize("missing", ["llvmlite.binding", "llvmlite"])
def test_without_llvmlite_the_error_names_the_extra(monkeypatch, missing):
    native.host.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, "llvmlite.binding", raising=False) if missing == "llvmlite" else None
    with pytest.raises(ImportError, match=r"llvmlite and numpy: pip install 'tinygrad_lite\[jit\]'"):
        jit(lambda x: x, backend="native")
    monkeypatch.undo()


@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
@pytest.mark.parametrize("missing", ["llvmlite.binding", "llvmlite"])
def test_without_llvmlite_numpy_computes(missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None;"
        "from tinygrad_lite import Value, fit, jit, optim;"
        "w = Value(3.0); f = jit(lambda x: (w * x) ** 2);"
        "assert f.value_and_grad([1.0, 2.0])[1].tolist() == [15.0] and '# each block' in f.ir;"
        "fit(lambda x, y: (w * x - y) ** 2, optim.SGD([w], 0.25), [1.0], [1.0], epochs=1, compiled=True);"
        "assert w.data == 2.0"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("backend", ["numpy"], indirect=True)
def test_without_numpy_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['numpy'] = None;"
        "from tinygrad_lite import Value, fit, jit, optim\n"
        "w = Value(3.0)\n"
        "def train(**options):\n"
        "    return fit(lambda x, y: (w * x - y) ** 2, optim.SGD([w], 0.25), [1.0], [1.0], epochs=1, **options)\n"
        "for call in (lambda: jit(lambda x: x), lambda: jit(lambda x: x, backend='numpy'),\n"
        "             lambda: train(compiled=True), lambda: train(backend='numpy')):\n"
        "    try:\n"
        "        call()\n"
        "    except ImportError as error:\n"
        "        assert 'numpy' in str(error) and \"pip install 'tinygrad_lite[jit]'\" in str(error)\n"
        "    else:\n"
        "        raise AssertionError\n"
        "train(progress=False)\n"
        "assert w.data == 2.0"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["llvm", "", 1])
def test_another_backend_is_refused(name):
    with pytest.raises(ValueError, match=f"backend must be 'native', 'numpy' or None, got {name!r}"):
        jit(lambda x: x, backend=name)


def test_importing_the_package_imports_neither_llvmlite_nor_numpy():
    code = (
        "import sys, tinygrad_lite, tinygrad_lite.train, tinygrad_lite.compiler;"
        "assert not {'llvmlite', 'numpy'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_compiled_function_keeps_name_and_docstring():
    def loss(x):
        """The loss."""
        return x * 1.0

    assert (jit(loss).__name__, jit(loss).__doc__) == ("loss", "The loss.")
