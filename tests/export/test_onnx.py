"""ONNX files, opened and run by onnxruntime: as Python computes them."""

import sys

import pytest

from tinygrad_lite import Value, dot, export, nn, ops
from tinygrad_lite.ops import OPS

np = pytest.importorskip("numpy")
pytest.importorskip("onnx", reason="these tests need the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="these tests need onnxruntime: pip install onnxruntime")


def run(path, X):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": np.array(X, dtype=np.float64)})
    return found


def check(path, f, X, *example):
    export.onnx(f, path, *example)
    found = run(path, X)
    for x, row in zip(X, found, strict=True):
        expected = f(x)
        expected = [v.data for v in (expected if isinstance(expected, list) else [expected])]
        assert row == pytest.approx(expected, rel=1e-12, abs=1e-12)


X = [[0.3, -0.7, 1.9], [2.5, 0.1, -0.4], [-1.0, -2.0, -3.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu", "elu", "sin"])
def test_a_network_is_equal_to_1e_12(activation, tmp_path):
    check(tmp_path / "m.onnx", nn.MLP(3, [16, 8, 2], activation=activation, seed=0), X)


def test_a_layer_is_a_matrix_product_a_sum_and_its_activation(tmp_path):
    import onnx

    export.onnx(nn.MLP(3, [16, 8, 2], activation="tanh", seed=0), tmp_path / "m.onnx")
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds == ["MatMul", "Add", "Tanh", "MatMul", "Add", "Tanh", "MatMul", "Add", "Identity"]


def test_any_feed_forward_graph_of_supported_operations(tmp_path):
    w = [Value(0.5), Value(-1.5), Value(0.25)]

    def f(x):
        h = [ops.maximum(a * b, b, 0.1) for a, b in zip(w, x)]
        shares = nn.softmax(h)
        inner = dot(x, h, w[0] * w[1])  # both differ from example to example
        return [ops.logsumexp([*h, inner, w[2]]), ops.mean([*shares, 2.0]), ops.where(inner < 0.5, inner, h[1] * h[2]),
                ops.minimum(*x, inner) + ops.total(shares)]  # fmt: skip

    check(tmp_path / "m.onnx", f, X, [0.0] * 3)


ELEMENTWISE = {
    "unary": (ops.neg, ops.abs_, ops.exp, ops.expm1, ops.exp2, ops.sin, ops.cos, ops.tanh, ops.sigmoid, ops.softplus,
              ops.relu, ops.sign, ops.step, ops.floor, ops.round_),
    "positive": (ops.log, ops.log1p, ops.sqrt),
    "binary": (ops.add, ops.sub, ops.mul, ops.div, ops.hypot, ops.exp_difference, ops.less, ops.less_equal, ops.equal,
               ops.leaky_relu),
}  # fmt: skip


@pytest.mark.parametrize("kind", ELEMENTWISE)
def test_each_operation_alone(kind, tmp_path):
    def f(x):
        found = []
        for op in ELEMENTWISE[kind]:
            operands = [ops.abs_(x[0]) + 0.5] if kind == "positive" else x[: 1 if kind == "unary" else 2]
            found.append(op(*operands))
        return [*found, ops.clip(x[0], -0.5, x[2] * x[2]), ops.power(x[0] * x[0] + 0.1, x[1])]

    check(tmp_path / "m.onnx", lambda x: [v if isinstance(v, Value) else Value(v) for v in f(x)], X[:3], [0.0] * 3)


def test_what_onnxruntime_lacks_is_refused_by_name(tmp_path):
    from tinygrad_lite.export.onnx_model import ONNX

    with pytest.raises(
        NotImplementedError, match=r"cannot write erf: onnxruntime has no such .* write it with abs, add"
    ):
        export.onnx(nn.MLP(2, [2, 1], activation="gelu"), tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    assert set(ONNX) < set(OPS)
    with pytest.raises(ValueError, match="depends on an example"):
        export.onnx(lambda x: [x, Value(3.0) + 1.0], tmp_path / "m.onnx", 0.0)


def test_without_onnx_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"tinygrad_lite\[onnx\]"):
        export.onnx(nn.MLP(1, [1]), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_the_same_model_gives_the_same_bytes(tmp_path):
    for name in ("a.onnx", "b.onnx"):
        export.onnx(nn.MLP(3, [4, 1], seed=0), tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
