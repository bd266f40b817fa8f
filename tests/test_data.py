"""Toy data, the real data and mini-batches: what design.md section 4 promises of `data`."""

import hashlib
import json
import math
import os
import random
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lite
from tinygrad_lite import data

ROOT = Path(tinygrad_lite.__file__).parents[1]
TWO_CLASSES = [data.moons, data.circles, data.spirals, data.xor]
GENERATORS = [*TWO_CLASSES, data.blobs, data.linear]
examples = settings(max_examples=60)


# --- shapes and targets


@pytest.mark.parametrize("n", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("make", GENERATORS)
def test_n_points_of_floats_and_n_targets(make, n):
    X, y = make(n)
    assert (type(X), type(y), len(X), len(y)) == (list, list, n, n)
    width = 1 if make is data.linear else 2
    assert all(type(x) is list and len(x) == width for x in X)
    assert all(type(a) is float and math.isfinite(a) for x in X for a in x)


@pytest.mark.parametrize("n", [2, 7, 40, 100])
@pytest.mark.parametrize("make", TWO_CLASSES)
def test_two_classes_are_minus_one_and_one_in_equal_parts(make, n):
    _, y = make(n)
    assert all(type(k) is float for k in y)
    counts = Counter(y)
    assert counts.keys() == {-1.0, 1.0}
    assert abs(counts[-1.0] - counts[1.0]) <= 1


@pytest.mark.parametrize("centers", [1, 2, 3, 5])
def test_blobs_have_whole_classes_from_zero_in_equal_parts(centers):
    _, y = data.blobs(32, centers=centers)
    counts = Counter(y)
    assert all(type(k) is int for k in y)
    assert sorted(counts) == list(range(centers))
    assert max(counts.values()) - min(counts.values()) <= 1


def test_every_generator_has_the_same_defaults():
    for make in GENERATORS:
        assert make() == make(100, 0.1, 0)


# --- geometry without noise


def test_moons_are_two_half_circles():
    X, y = data.moons(200, noise=0.0)
    for (a, b), k in zip(X, y):
        centre, side = ((0.0, 0.0), 1.0) if k < 0 else ((1.0, 0.5), -1.0)
        assert math.hypot(a - centre[0], b - centre[1]) == pytest.approx(1.0, abs=1e-12)
        assert side * (b - centre[1]) >= -1e-12
    ends = [x for (x, k) in zip(X, y) if k < 0][:: len(X) // 2 - 1]
    assert [v for x in ends for v in x] == pytest.approx([1.0, 0.0, -1.0, 0.0], abs=1e-12)


def test_circles_have_radius_one_and_one_half():
    X, y = data.circles(100, noise=0.0)
    assert [math.hypot(*x) for x in X] == pytest.approx([1.0 if k < 0 else 0.5 for k in y], rel=1e-12)
    angles = sorted(math.atan2(b, a) for (a, b), k in zip(X, y) if k < 0)
    gaps = [b - a for a, b in pairwise(angles)]
    assert max(gaps) < 0.2  # all the way round


def test_circles_have_no_point_twice():
    X, _ = data.circles(20, noise=0.0)
    assert min(math.dist(p, q) for i, p in enumerate(X) for q in X[:i]) > 0.01


def test_spirals_run_one_and_a_half_turns_out_to_radius_one():
    X, y = data.spirals(400, noise=0.0)
    for side in (-1.0, 1.0):
        arm = [x for x, k in zip(X, y) if k == side]
        radii = [math.hypot(*x) for x in arm]
        assert radii == sorted(radii)
        assert radii[0] < 0.1 and radii[-1] == pytest.approx(1.0, rel=1e-12)
        turned = sum(
            math.atan2(a * d - b * c, a * c + b * d) for (a, b), (c, d) in pairwise(arm[1:])
        )  # the angle between neighbours, the first at the centre has none
        assert turned == pytest.approx(3 * math.pi, rel=0.01)


def test_spirals_are_each_other_turned_by_half_a_turn():
    X, y = data.spirals(40, noise=0.0)
    first, second = ([x for x, k in zip(X, y) if k == side] for side in (-1.0, 1.0))
    assert [-v for x in first for v in x] == pytest.approx([v for x in second for v in x], abs=1e-12)


def test_spirals_without_noise_can_be_separated():
    X, y = data.spirals(40, noise=0.0)
    assert {tuple(x) for x, k in zip(X, y) if k < 0}.isdisjoint(tuple(x) for x, k in zip(X, y) if k > 0)


def test_xor_is_the_sign_of_minus_the_product():
    X, y = data.xor(80, noise=0.0)
    assert Counter(map(tuple, X)) == {(a, b): 20 for a in (-1.0, 1.0) for b in (-1.0, 1.0)}
    assert [-a * b for a, b in X] == y


def test_blobs_stand_on_the_unit_circle_at_equal_distances():
    X, y = data.blobs(8, noise=0.0, centers=4)
    corners = [(1, 0), (0, 1), (-1, 0), (0, -1)]
    assert [v for x in X for v in x] == pytest.approx([v for k in y for v in corners[k]], abs=1e-12)


def test_linear_is_two_x_minus_one():
    X, y = data.linear(200, noise=0.0)
    assert y == [2.0 * x - 1.0 for (x,) in X]
    assert -1.0 <= min(X)[0] < -0.95 and 0.95 < max(X)[0] <= 1.0


@pytest.mark.parametrize(("make", "scale"), [(make, 0.2 if make is data.spirals else 1.0) for make in TWO_CLASSES])
def test_noise_is_the_standard_deviation_of_each_coordinate(make, scale):
    clean, _ = make(2000, noise=0.0)
    noisy, _ = make(2000, noise=0.3, seed=1)
    differences = np.array(noisy) - np.array(clean)
    assert differences.std(axis=0) == pytest.approx(np.full(2, 0.3 * scale), rel=0.06)
    assert abs(differences.mean(axis=0)).max() < 4 * 0.3 * scale / math.sqrt(2000)


# --- seeds


@pytest.mark.parametrize("make", GENERATORS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(make):
    random.seed(1)
    first = make(20, 0.1, 5)
    random.seed(2)
    state = random.getstate()
    assert make(20, 0.1, 5) == first
    assert make(20, 0.1, 6) != first
    assert random.getstate() == state  # the global generator is nobody's business


GOLDEN = "0ca01053f22f469682b77438589e309bf95015039d3042b2e51ec41c5477047e"
SCRIPT = """
import json
from tinygrad_lite import data
sets = [make(20, 0.1, 3) for make in (data.moons, data.circles, data.spirals, data.blobs, data.xor, data.linear)]
exact = [list(data.batches(*data.linear(10, 0.0, 3), 4, seed=8, replace=r)) for r in (False, True)]
print(json.dumps([sets, exact, data.split(*data.linear(10, 0.0, 3))]))
"""


def test_data_do_not_depend_on_the_hash_seed_and_are_those_of_the_first_release():
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }  # fmt: skip
    assert len(outputs) == 1
    # without noise, `linear` is additions and products alone: no libm that could differ between machines
    _, exact, parts = json.loads(outputs.pop())
    assert hashlib.sha256(json.dumps([exact, parts]).encode()).hexdigest() == GOLDEN


# --- what is refused


@pytest.mark.parametrize("make", GENERATORS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n must be a whole number of points, at least 1, got 0"),
        ((-3,), "n must be a whole number of points, at least 1, got -3"),
        ((2.5,), "n must be a whole number of points, at least 1, got 2.5"),
        (("10",), "n must be a whole number of points, at least 1, got '10'"),
        ((10, math.nan), "noise must be a finite number of at least 0, got nan"),
    ],
)
def test_a_size_or_noise_that_is_none_is_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(*arguments)


@pytest.mark.parametrize(
    "make",
    [
        *(make for make in GENERATORS if make is not data.spirals),
        data.spirals,
    ],
)
def test_negative_noise_is_refused_and_named_as_it_was_given(make):
    with pytest.raises(ValueError, match=r"noise must be a finite number of at least 0, got -0\.1"):
        make(10, -0.1)


@pytest.mark.parametrize("centers", [0, -1])
def test_blobs_without_a_center_are_refused(centers):
    with pytest.raises(ValueError, match=f"centers must be a whole number of at least 1, got {centers}"):
        data.blobs(10, centers=centers)


# --- the real ones


def test_digits_are_1797_images_of_64_pixels_from_zero_to_one():
    pytest.importorskip("sklearn")
    X, y = data.digits()
    assert (len(X), len(y), {len(x) for x in X}) == (1797, 1797, {64})
    pixels = {v for x in X for v in x}
    assert (min(pixels), max(pixels), {type(v) for v in pixels}) == (0.0, 1.0, {float})
    assert {type(k) for k in y} == {int} and sorted(set(y)) == list(range(10))
    assert min(Counter(y).values()) == 174


def test_irises_are_150_flowers_of_4_lengths():
    pytest.importorskip("sklearn")
    X, y = data.iris()
    assert (len(X), {len(x) for x in X}, Counter(y)) == (150, {4}, {0: 50, 1: 50, 2: 50})
    assert X[0] == [5.1, 3.5, 1.4, 0.2]  # Fisher's first flower
    assert {type(v) for x in X for v in x} == {float} and {type(k) for k in y} == {int}


@pytest.mark.parametrize("make", [data.digits, data.iris])
def test_without_scikit_learn_the_error_names_the_extra(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"come with scikit-learn: pip install 'tinygrad_lite\[demo\]'"):
        make()


# --- split and batches


def numbered(n):
    """Examples that tell where they came from."""
    return [[float(i)] for i in range(n)], [-i for i in range(n)]


def belong_together(X, y):
    return all(x == [float(-k)] for x, k in zip(X, y)) and len(X) == len(y)


@examples
@given(n=st.integers(2, 60), seed=st.integers(-5, 2**64), share=st.floats(0.05, 0.95))
def test_split_is_a_partition(n, seed, share):
    X, y = numbered(n)
    if not 0 < round(n * share) < n:
        share = 0.5
    X_train, y_train, X_test, y_test = data.split(X, y, test=share, seed=seed)
    assert len(X_test) == round(n * share)
    assert sorted(X_train + X_test) == X
    assert belong_together(X_train, y_train) and belong_together(X_test, y_test)


def test_split_shuffles_and_follows_its_seed():
    X, y = numbered(50)
    assert data.split(X, y, seed=1) == data.split(X, y, seed=1) != data.split(X, y, seed=2)
    assert data.split(X, y)[2] not in (X[:10], X[-10:])
    assert len(data.split(X, y)[2]) == 10  # a fifth, if not said otherwise


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01, 0.99, -0.5, 2.0])
def test_a_split_that_leaves_one_side_empty_is_refused(share):
    with pytest.raises(ValueError, match=f"a share that leaves examples on both sides, got {share} of 10"):
        data.split(*numbered(10), test=share)


@examples
@given(n=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(-5, 2**64))
def test_batches_hold_every_example_once_and_the_last_may_be_smaller(n, size, seed):
    X, y = numbered(n)
    parts = list(data.batches(X, y, size, seed))
    assert [len(bx) for bx, _ in parts[:-1]] == [size] * (len(parts) - 1)
    assert len(parts[-1][0]) == (n - 1) % size + 1
    assert sorted(x for bx, _ in parts for x in bx) == X
    assert all(belong_together(bx, by) for bx, by in parts)


def test_batches_are_shuffled_and_follow_their_seed():
    X, y = numbered(50)
    first = list(data.batches(X, y, 8, seed=1))
    assert first == list(data.batches(X, y, 8, seed=1))
    assert first != list(data.batches(X, y, 8, seed=2))
    assert [x for bx, _ in first for x in bx] != X


def test_batches_leave_the_data_as_they_are():
    X, y = numbered(10)
    assert len(list(data.batches(X, y, 3))) == 4
    assert (X, y) == numbered(10)


def test_batches_take_arrays_too():
    X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    parts = list(data.batches(X, y, 2))
    assert sorted(float(x[0]) for bx, _ in parts for x in bx) == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert all(x[0] == 2.0 * k for bx, by in parts for x, k in zip(bx, by))


def test_with_replacement_each_example_is_drawn_independently():
    n = 200
    X, y = numbered(n)
    parts = list(data.batches(X, y, 32, seed=3, replace=True))
    assert [len(bx) for bx, _ in parts] == [32] * 6 + [8]
    assert all(belong_together(bx, by) for bx, by in parts)
    # (1 - 1/n)^n of the examples are not drawn: 63.2 % are, with a standard deviation of 2.2 %
    assert len({x[0] for bx, _ in parts for x in bx}) / n == pytest.approx(1 - math.exp(-1), abs=0.09)


def test_draws_with_replacement_are_uniform():
    X, y = numbered(5)
    counts = Counter(x[0] for seed in range(400) for bx, _ in data.batches(X, y, 5, seed, replace=True) for x in bx)
    assert chi_squared(counts, 5, 2000) < 18.5  # 4 degrees of freedom: p = 0.001


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: data.batches([[1.0]], [1, 2], 1),
            "batches expects as many examples as targets, and at least one; got 1 and 2",
        ),
        (lambda: data.batches([], [], 1), "batches expects as many examples as targets, and at least one; got 0 and 0"),
        (lambda: data.batches([[1.0]], [1], 0), "size must be a whole number of examples, at least 1, got 0"),
        (lambda: data.batches([[1.0]], [1], -2), "size must be a whole number of examples, at least 1, got -2"),
        (
            lambda: data.split([[1.0]], [1, 2]),
            "split expects as many examples as targets, and at least one; got 1 and 2",
        ),
        (lambda: data.split([], []), "split expects as many examples as targets, and at least one; got 0 and 0"),
    ],
)
def test_data_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        list(make())


# --- the generator


def test_splitmix64_gives_the_published_numbers():
    state, outputs = 0, []
    for _ in range(3):
        state, bits = data.splitmix64(state)
        outputs.append(bits)
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("state", [0, 1, 2**63, 2**64 - 1, -1])
def test_splitmix64_stays_within_64_bits(state):
    for _ in range(50):
        state, bits = data.splitmix64(state)
        assert 0 <= state < 2**64 and 0 <= bits < 2**64


@examples
@given(n=st.integers(0, 200), seed=st.integers(0, 2**64))
def test_shuffled_is_a_permutation(n, seed):
    order, _ = data.shuffled(n, seed)
    assert sorted(order) == list(range(n))


def test_shuffled_hands_on_a_state_that_shuffles_anew():
    first, state = data.shuffled(20, 0)
    second, last = data.shuffled(20, state)
    assert first != second and len({0, state, last}) == 3


def test_every_order_of_four_is_equally_likely():
    state, counts = 12345, Counter()
    for _ in range(4800):
        order, state = data.shuffled(4, state)
        counts[tuple(order)] += 1
    assert chi_squared(counts, 24, 4800) < 49.7  # 23 degrees of freedom: p = 0.001


def test_first_shuffles_of_neighbouring_seeds_are_uniform_too():
    counts = Counter(tuple(data.shuffled(4, seed)[0]) for seed in range(4800))
    assert chi_squared(counts, 24, 4800) < 49.7


def chi_squared(counts, kinds, draws):
    expected = draws / kinds
    assert counts.total() == draws and len(counts) <= kinds
    return sum((count - expected) ** 2 for count in counts.values()) / expected + (kinds - len(counts)) * expected
