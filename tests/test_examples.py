"""The one door for examples and targets: whatever holds them, the same numbers or the same refusal everywhere."""

import datetime
import decimal
import fractions
import itertools
import re
import warnings
from array import array
from collections import UserList, deque, namedtuple

import numpy as np
import pytest

from tinygrad_lite import TrainingWarning, Value, data, doctor, examples, fit, jit, nn, optim

pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")

N = 12
POINTS = [[i % 5 - 2.0, (i * i) % 7 - 3.0] for i in range(N)]  # whole numbers, which every dtype holds
SIDES = [1.0 if a + b > 0.0 else -1.0 for a, b in POINTS]
SHUFFLED = list(range(N - 1, -1, -1))  # labels of rows that disagree with their places


class Tensor:
    """What a PyTorch tensor is to the door: no NumPy before detach, cpu; rows are tensors again."""

    def __init__(self, numbers, requires_grad=False, device="cpu", kind=np.float32):
        self.numbers = np.asarray(numbers, dtype=kind)
        self.requires_grad, self.device = requires_grad, device

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, i):
        return Tensor(self.numbers[i], self.requires_grad, self.device, self.numbers.dtype)

    @property
    def ndim(self):
        return self.numbers.ndim

    def detach(self):
        return Tensor(self.numbers, False, self.device, self.numbers.dtype)

    def cpu(self):
        return Tensor(self.numbers, self.requires_grad, "cpu", self.numbers.dtype)

    def double(self):
        return Tensor(self.numbers, self.requires_grad, self.device, np.float64)

    def is_floating_point(self):
        return self.numbers.dtype.kind == "f"

    def tolist(self):
        return self.numbers.tolist()

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if self.device != "cpu":
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
        return self.numbers if dtype is None else self.numbers.astype(dtype)


class Holder:
    def __init__(self, numbers):
        self.numbers = numbers

    def __array__(self, dtype=None, copy=None):
        return np.array(self.numbers, dtype=dtype)


class Dataset:
    """Read by position alone, as PyTorch's map-style data sets."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[range(len(self.rows))[i]]


Point = namedtuple("Point", "a b")


def frame(dtype=float, index=SHUFFLED):
    return pd.DataFrame(np.array(POINTS, dtype=dtype), columns=["a", "b"], index=index)


def series(dtype=float, index=SHUFFLED):
    return pd.Series(np.array(SIDES, dtype=dtype), index=index)


def matrix(numbers):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)
        return np.asmatrix(numbers)


TAKEN = {
    "lists": (POINTS, SIDES),
    "tuples": (tuple(map(tuple, POINTS)), tuple(SIDES)),
    "lists of whole numbers": ([list(map(int, x)) for x in POINTS], list(map(int, SIDES))),
    "named tuples": ([Point(*x) for x in POINTS], SIDES),
    "deque": (deque(POINTS), deque(SIDES)),
    "UserList": (UserList(map(UserList, POINTS)), UserList(SIDES)),
    "array.array": ([array("d", x) for x in POINTS], array("d", SIDES)),
    "memoryview": (memoryview(np.array(POINTS)), memoryview(array("d", SIDES))),
    "a data set": (Dataset(POINTS), Dataset(SIDES)),
    "fractions and decimals": ([list(map(fractions.Fraction, x)) for x in POINTS], list(map(decimal.Decimal, SIDES))),
    "NumPy's numbers in lists": ([list(map(np.int8, x)) for x in POINTS], list(map(np.float16, SIDES))),
    "list of rows": (list(np.array(POINTS, np.float32)), list(np.array(SIDES))),
    "0-d arrays": (POINTS, [np.array(s) for s in SIDES]),
    "float64": (np.array(POINTS), np.array(SIDES)),
    "float32": (np.array(POINTS, np.float32), np.array(SIDES, np.float32)),
    "float16": (np.array(POINTS, np.float16), np.array(SIDES, np.float16)),
    "int8": (np.array(POINTS, np.int8), np.array(SIDES, np.int8)),
    "longdouble": (np.array(POINTS, np.longdouble), np.array(SIDES, np.longdouble)),
    "Fortran order, strided": (np.array(POINTS, order="F"), np.repeat(SIDES, 2)[::2]),
    "(n, 1) targets": (np.array(POINTS), np.array(SIDES)[:, None]),
    "targets of one number each": (POINTS, [np.array([s]) for s in SIDES]),
    "np.matrix": (matrix(POINTS), matrix(SIDES).T),
    "__array__": (Holder(POINTS), Holder(SIDES)),
    "DataFrame and Series": (frame(), series()),
    "DataFrame of integers": (frame(np.int8), series(np.int64)),
    "DataFrame as target": (frame(), series().to_frame()),
    "DataFrame, names twice": (frame().set_axis(["a", "a"], axis=1), series()),
    "DataFrame, nullable": (frame().astype("Int64"), series().astype("Float32")),
    "DataFrame, sparse": (frame().astype(pd.SparseDtype(float)), series()),
    "DataFrame, labels of text": (frame(index=list("abcdefghijkl")), series(index=list("lkjihgfedcba"))),
    "rows of a DataFrame": ([row for _, row in frame().iterrows()], series()),
    "itertuples": (list(frame().itertuples(index=False)), series()),
    "polars": (pl.DataFrame(frame()), pl.Series(SIDES)),
    "polars, integers": (pl.DataFrame(frame(np.int8)), pl.DataFrame({"y": list(map(int, SIDES))})),
    "polars, decimals": (pl.DataFrame(frame()), pl.Series(list(map(decimal.Decimal, SIDES)))),
    "polars, rows": (pl.DataFrame(frame()).rows(), pl.Series(SIDES)),
    "tensors": (Tensor(POINTS, requires_grad=True), Tensor(SIDES, device="cuda:0")),
    "tensors of integers": (Tensor(POINTS, kind=np.int64), Tensor(SIDES, kind=np.int8)),
    "list of tensors": ([Tensor(x, requires_grad=True) for x in POINTS], [Tensor(s) for s in SIDES]),
}


def texts():
    return ["left" if s < 0 else "right" for s in SIDES]


REFUSED = {  # (X, y, what the message says)
    "masked array": (np.ma.array(POINTS, mask=[[i == 3, False] for i in range(N)]), SIDES, "X is a masked array"),
    "list of masked arrays": ([np.ma.array(x) for x in POINTS], SIDES, r"X\[0\] is a masked array"),
    "a masked target": (POINTS, [*SIDES[:-1], np.ma.masked], r"y\[11\] is a masked array"),
    "records": (
        np.array([tuple(x) for x in POINTS], dtype=[("a", float), ("b", float)]), SIDES,
        r"X holds records of \['a', 'b'\]: write np.stack",
    ),
    "object array": (np.array([*POINTS[:-1], [1.0, None]], dtype=object), SIDES, "X holds objects, such as None"),
    "object array of numbers": (np.array(POINTS, dtype=object), SIDES, r"X holds numbers as objects: write \.astype"),
    "a column of objects": (frame().astype({"b": object}), SIDES, r"X\['b'\] holds numbers as objects"),
    "a column of texts": (frame().assign(c=texts()), SIDES, r"X\['c'\] holds texts, such as '(left|right)'"),
    "categories": (frame(), series().map({-1: "left", 1: "right"}).astype("category"), "y holds texts"),
    "dates": (
        frame().assign(when=pd.Timestamp("2020-01-01")), SIDES,
        r"X\['when'\] holds dates, such as 2020.*: write \(x - x\.min",
    ),
    "NaT": (POINTS, np.array(["NaT"] * N, dtype="M8[s]"), "y holds dates, such as NaT"),
    "times": (POINTS, np.array([1] * N, dtype="m8[s]"), "y holds times"),
    "dates in a list": (POINTS, [datetime.date(2020, 1, 1)] * N, r"y\[0\] holds datetime.date\(2020"),
    "complex array": (np.array(POINTS) + 1j, SIDES, r"X holds complex numbers, .*: write z\.real"),
    "complex in a list": (POINTS, [1j] * N, r"y\[0\] holds 1j \(complex\).*: write z\.real"),
    "text labels": (POINTS, texts(), r"y\[0\] holds '(left|right)' \(str\).*: give each class a number"),
    "array of texts": (POINTS, np.array(texts()), "y holds texts"),
    "polars texts": (pl.DataFrame(frame()), pl.Series(texts()), "y holds texts"),
    "polars lists": (pl.Series(POINTS), SIDES, r"X holds objects, such as array.*\.to_list\(\) \(polars\)"),
    "a column of lists": (pd.Series(POINTS), SIDES, r"X holds objects, such as \[.*\.tolist\(\) \(pandas\)"),
    "lazy frame": (pl.DataFrame(frame()).lazy(), SIDES, r"X is a LazyFrame, .*: write \.collect\(\)"),
    "None": (POINTS, [*SIDES[:-1], None], r"y\[11\] holds None, expected real numbers"),
    "pd.NA": (POINTS, [*SIDES[:-1], pd.NA], r"y\[11\] holds <NA>"),
    "a generator": ((x for x in POINTS), SIDES, r"X is a generator, .*: write list\(\.\.\.\)"),
    "zip": (POINTS, zip(SIDES), r"y is a zip, .*: write list"),
    "a set": (POINTS, set(range(N)), "y is a set, which has no order"),
    "a dict": (dict(enumerate(POINTS)), SIDES, r"X is a dict: write list\(d\.values\(\)\)"),
    "values of a dict": (dict(enumerate(POINTS)).values(), SIDES, r"X is a dict_values, .*: write list\(\.\.\.\)"),
    "text": (POINTS, "abcdefghijkl", "y is 'abcdefghijkl'"),
    "bytes": (POINTS, b"abcdefghijkl", "y is b'abcdefghijkl'"),
    "one number": (POINTS, 3.0, r"y is 3\.0 \(float\)"),
    "Values": (POINTS, [Value(s) for s in SIDES], r"y\[0\] holds Value.*: write v\.data"),
    "a list": (POINTS, list, "y is <class 'list'>"),
}  # fmt: skip


def small():
    model = nn.MLP(2, [3, 1], activation="tanh", seed=1)
    return model, lambda x, y: nn.mse(model(x), 2 * y - 1)  # a rule that wraps uint8 and halves lose digits in


def trained(compiled):
    def run(X, y):
        model, loss = small()
        opt = optim.SGD(model.parameters(), 0.05, momentum=0.9)
        history = fit(loss, opt, X, y, epochs=3, batch_size=5, compiled=compiled, progress=False)
        return [*history.loss, *[p.data for p in model.parameters()]]

    return run


def by_default(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return trained(None)(X, y)


def splits(X, y):
    return [np.asarray(part, dtype=float).ravel().tolist() for part in data.split(X, y, test=0.25, seed=3)]


def batches(X, y):
    parts = list(data.batches(X, y, 5, seed=3))
    return [np.asarray(part, dtype=float).ravel().tolist() for pair in parts for part in pair]


def examined(X, y):
    model, loss = small()
    return doctor(model, loss, X, y).loss


def accurate(X, y):
    found = examples.rows(X)  # refuses what is no table of scores
    return [nn.accuracy([float(sum(x)) for x in found], y), nn.accuracy(data.split(X, y)[0], [0.0] * 10)]


def recorded(X, y):
    model, loss = small()
    mean = jit(loss).mean(X, y)
    mean.backward()
    return [mean.data, *[p.grad for p in model.parameters()]]


def watched(X, y):
    pytest.importorskip("matplotlib")
    from tinygrad_lite import plot

    model, loss = small()
    return plot.Watch(model, loss, X, y).gradients[0][0].tolist()


ENTRIES = {
    "fit eager": trained(False),
    "fit compiled": trained(True),
    "fit": by_default,
    "split": splits,
    "batches": batches,
    "doctor": examined,
    "accuracy": accurate,
    "plot.Watch": watched,
    "jit": recorded,
}
COMPILED = {"fit compiled", "fit", "jit"}
COLUMNS = {
    "(n, 1) targets", "targets of one number each", "np.matrix", "DataFrame as target", "polars, integers",
}  # fmt: skip


@pytest.mark.parametrize(("entry", "container"), list(itertools.product(ENTRIES, TAKEN)))
def test_the_same_numbers_come_out_of_every_container(entry, container):
    if entry in COMPILED:
        pytest.importorskip("llvmlite")
    if entry == "jit" and container in COLUMNS:  # which knows of no targets: its function gets what a row holds
        with pytest.raises(ValueError, match=r"mse expects two numbers, or two lists of one length, got .* 1 numbers"):
            ENTRIES[entry](*TAKEN[container])
        return
    expected = ENTRIES[entry](POINTS, SIDES)
    found = ENTRIES[entry](*TAKEN[container])
    assert np.ravel(found[0]).size and all(
        np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(("entry", "container"), list(itertools.product(ENTRIES, REFUSED)))
def test_what_holds_no_real_numbers_is_refused_by_name(entry, container):
    if entry in COMPILED:
        pytest.importorskip("llvmlite")
    if container == "a generator" or container == "zip":
        X, y, message = {"a generator": lambda: ((x for x in POINTS), SIDES), "zip": lambda: (POINTS, zip(SIDES))}[
            container
        ]() + (REFUSED[container][2],)  # fresh ones: they are read up
    else:
        X, y, message = REFUSED[container]
    if entry == "accuracy":
        message = message.replace("y", "(?:y|targets)", 1)
    if entry == "jit":
        message = re.sub("^[Xy]", lambda name: {"X": "argument 0", "y": "argument 1"}[name[0]], message)
    with pytest.raises(TypeError, match=message):
        ENTRIES[entry](X, y)


# --- the kinds one by one


def test_a_shuffled_table_is_paired_by_position():
    """As the issue found it: y[i] is the label i of a Series, and w, b came out as -0.63, 1.22."""
    x = np.linspace(-1.0, 1.0, 40)
    table = pd.DataFrame({"x": x, "y": 3.0 * x + 1.0}).sample(frac=1.0, random_state=0)
    for compiled in False, None:
        w, b = Value(0.0), Value(0.0)
        opt = optim.SGD([w, b], 0.3)
        fit(lambda x, y: (w * x[0] + b - y) ** 2, opt, table[["x"]], table["y"], epochs=200, compiled=compiled,
            progress=False)  # fmt: skip
        assert (w.data, b.data) == pytest.approx((3.0, 1.0), abs=1e-6)


@pytest.mark.parametrize("compiled", [False, None])
def test_unsigned_labels_do_not_wrap(compiled):
    w = Value(0.0)
    labels = np.array([0, 1], dtype=np.uint8)  # 2 * t - 1 would be 255 for 0
    fit(lambda x, t: (w * x - (2 * t - 1)) ** 2, optim.SGD([w], 0.25), np.array([1, 0], dtype=np.uint8), labels,
        epochs=60, compiled=compiled, progress=False)  # fmt: skip
    assert w.data == pytest.approx(-1.0, abs=1e-6)


@pytest.mark.parametrize("compiled", [False, None])
def test_missing_numbers_of_a_table_are_nan_and_named(compiled):
    table = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")})
    w = Value(1.0)
    with pytest.raises(FloatingPointError, match="look for nan in X and y"):
        fit(lambda x, y: (w * x[0] - y) ** 2, optim.SGD([w], 0.1), table, [1.0] * 3, epochs=1, compiled=compiled,
            progress=False)  # fmt: skip


def test_lists_stay_lists_and_arrays_arrays():
    assert examples.rows([[1, 2.0], (3, True)]) == [[1, 2.0], (3, True)]
    assert type(examples.rows([Point(np.int8(1), 2.0)])[0]) is Point
    assert type(examples.rows(range(3))[0]) is int
    rows = examples.rows(np.array(POINTS, np.int8))
    assert rows.dtype == np.float64 and rows.shape == (N, 2)
    ragged = examples.rows([np.zeros(2), np.zeros(3)])
    assert [x.shape for x in ragged] == [(2,), (3,)] and isinstance(ragged, list)
    X_train, y_train, X_test, y_test = data.split(np.array(POINTS), pd.Series(SIDES))
    assert all(isinstance(part, np.ndarray) for part in (X_train, y_train, X_test, y_test))
    assert all(isinstance(part, np.ndarray) for pair in data.batches(X_train, y_train, 4) for part in pair)
    assert all(isinstance(part, list) for part in data.split(POINTS, SIDES))


def test_sparse_matrices_say_what_to_write():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"X is a csr_matrix, a sparse array: write \.toarray\(\)"):
        examples.rows(sparse.csr_matrix(POINTS))
    with pytest.raises(TypeError, match=r"X\[0\] is a csr_matrix, a sparse array"):
        examples.rows([sparse.csr_matrix(POINTS)])


def test_an_integer_that_no_float_holds_is_refused():
    for X in [10**400], [[1.0, 10**400]]:
        with pytest.raises(OverflowError, match=r"a float holds at most 1\.8e308"):
            examples.rows(X)


def test_what_only_looks_like_a_sequence_is_refused():
    with pytest.raises(TypeError, match="X is a DataFrameGroupBy, which cannot be read by position"):
        examples.rows(frame().groupby("a"))
    with pytest.raises(ValueError, match="X is one number"):
        examples.rows(np.array(1.0))


def test_real_tensors_of_pytorch():
    torch = pytest.importorskip("torch")
    points = torch.tensor(POINTS, dtype=torch.bfloat16, requires_grad=True)
    sides = torch.tensor(SIDES, dtype=torch.int64)
    expected = trained(False)(POINTS, SIDES)
    assert trained(False)(points, sides) == trained(False)(list(points), list(sides[:, None])) == expected
    model, _ = small()
    assert model(points[0]).data == model(POINTS[0]).data
    assert nn.accuracy(torch.tensor([[0.1, 0.9]]), torch.tensor([1])) == 1.0


@pytest.mark.parametrize("row", [np.array, np.float16, pd.Series, Tensor, pl.Series, tuple], ids=lambda f: f.__name__)
def test_a_model_takes_one_row_of_anything(row):
    model, _ = small()
    x = row(POINTS[3])
    if isinstance(x, pd.Series):
        x.index = [1, 0]  # labels that disagree with the places
    assert model(x).data == model.layers[1](model.layers[0](x)).data == model(POINTS[3]).data


@pytest.mark.parametrize(
    "outputs",
    [
        [Value(0.3), Value(-2.0), 1.0],
        (0.3, -2.0, 1.0),
        np.array([0.3, -2.0, 1.0], np.float16),
        np.array([[0.3], [-2.0], [1.0]]),
        np.array([Value(0.3), Value(-2.0), Value(1.0)]),
        pd.Series([0.3, -2.0, 1.0], index=[2, 1, 0]),
        Tensor([0.3, -2.0, 1.0], requires_grad=True),
    ],
)
@pytest.mark.parametrize("y", [[1, 1, -1], np.array([1, 1, -1], np.int8), pd.Series([1, 1, -1], index=[1, 2, 0])])
def test_accuracy_reads_outputs_and_targets_by_position(outputs, y):
    assert nn.accuracy(outputs, y) == pytest.approx(1 / 3)


def test_accuracy_of_a_table_of_scores():
    scores = pd.DataFrame({"cat": [0.9, 0.2], "dog": [0.1, 0.8]}, index=[7, 3])
    assert nn.accuracy(scores, pd.Series([0, 0], index=[3, 7])) == 0.5
    with pytest.raises(ValueError, match=r"a class from 0 to 1, got 2\.0"):
        nn.accuracy(scores, np.array([0, 2]))
    with pytest.raises(TypeError, match=r"outputs is a generator, .*: write list"):
        nn.accuracy((s for s in [0.1]), [1])


# --- what a callback changes


def halves(numbers):
    return np.array(numbers, np.float16)


@pytest.mark.parametrize("make", [list, np.array, halves, pd.Series, Tensor], ids=lambda f: f.__name__)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_change_of_the_examples_in_a_callback_counts(make, compiled):
    if compiled:
        pytest.importorskip("llvmlite")
    X, y = make([1.0, 2.0]), [2.0, 4.0]
    w = Value(0.0)

    def change(epoch, history):
        if epoch == 2:
            (X.numbers if isinstance(X, Tensor) else X)[:] = [4.0, 8.0]

    history = fit(
        lambda x, y: (w - x * y) ** 2, optim.SGD([w], 0.0), X, y, epochs=4, every=1, callback=change, progress=False,
        compiled=compiled,
    )  # fmt: skip
    assert history.loss == pytest.approx([(4 + 64) / 2] * 2 + [(64 + 1024) / 2] * 2)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_change_inside_a_row_counts_and_another_length_is_refused(compiled):
    if compiled:
        pytest.importorskip("llvmlite")
    X, y, w = [[1], [2]], [0.0, 0.0], Value(0.0)  # whole numbers: the door copies such a row

    def change(epoch, history):
        X[1][0] = 10
        if epoch == 3:
            X.append([1])
            y.append(0.0)

    options = {"every": 1, "callback": change, "progress": False, "compiled": compiled}
    with pytest.raises(ValueError, match="began with 2 examples, and after a callback there are 3"):
        fit(lambda x, y: (w - x[0]) ** 2, optim.SGD([w], 0.0), X, y, epochs=5, **options)
    X[:], y[:] = [[1], [2]], [0.0, 0.0]
    history = fit(lambda x, y: (w - x[0]) ** 2, optim.SGD([w], 0.0), X, y, epochs=2, **options)
    assert history.loss == [2.5, 50.5]


def test_a_snapshot_knows_what_has_changed():
    for X, change in (
        ([[1.0, 2.0]], lambda X: X[0].__setitem__(1, 3.0)),
        ([np.zeros(2), [1.0]], lambda X: X[0].__setitem__(1, 3.0)),
        ((np.zeros(2),), lambda X: X[0].__setitem__(1, 3.0)),
        (deque([1.0]), lambda X: X.append(2.0)),
        (np.array([1.0, np.nan]), lambda X: X.__setitem__(1, 3.0)),
        ([[1.0], [2.0]], lambda X: X.__setitem__(1, 3.0)),
        (pd.DataFrame({"a": [1, 2]}), lambda X: X.iloc.__setitem__((0, 0), 7)),
    ):
        kept = examples.snapshot(X)
        assert examples.unchanged(X, kept)
        change(X)
        assert not examples.unchanged(X, kept)


def test_no_warning_speaks_of_what_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter("error", TrainingWarning)
        trained(False)(frame(), series())
