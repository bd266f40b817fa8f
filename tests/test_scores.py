"""softmax, cross_entropy and logsumexp: right to a few units in the last place of the probability, at every scale of
the scores, in value, gradient and Hessian, eager and compiled."""

import math
from random import Random

import pytest

from tinygrad_lite import Value, grad, jit, logsumexp, nn

from . import sampling
from .accuracy import error
from .operation import MPContext

pytest.importorskip("llvmlite")
np = pytest.importorskip("numpy")

SCALES = 1e-3, 1.0, 10.0, 100.0, 700.0, 1e3, 1e6, 1e16, 1e100, 1e300
LOG_2 = math.log(2.0)
mp = MPContext()
mp.dps = 700  # scores of 1e300 and their small differences together


def scores(r, n, scale):
    """n scores of this scale: anywhere, close together far from 0, or some of them equal."""
    anywhere = [r.uniform(-1.0, 1.0) * scale for _ in range(n)]
    if r.random() < 0.3:
        return anywhere
    far = r.uniform(-10.0, 10.0) * scale
    near = [far + r.uniform(-1.0, 1.0) * r.choice((1e-3, 3.0, 40.0)) for _ in range(n)]
    return near if r.random() < 0.7 else [near[0]] * (n - 1) + near[-1:]


def everything(zs, k):
    """Probabilities; the loss and its gradient; its Hessian, row by row."""
    loss = nn.cross_entropy(zs, k)
    gradient = grad(loss, zs)
    return [*nn.softmax(zs), loss, *gradient, *(h for g in gradient for h in grad(g, zs))]


def truth(zs, k):
    """The same numbers in exact arithmetic, and what their errors are counted in; 0: in their own last place."""
    xs = list(map(mp.mpf, zs))
    top = max(xs)
    powers = [mp.exp(x - top) for x in xs]
    p = [e / mp.fsum(powers) for e in powers]
    n = range(len(p))
    others = mp.fsum(p[i] for i in n if i != k)
    rest = mp.fsum(e for i, e in enumerate(powers) if i != xs.index(top))
    values = [*p, top - xs[k] + mp.log1p(rest), *(-others if i == k else p[i] for i in n)]
    hessian = [p[i] * ((i == j) - p[j]) for i in n for j in n]
    units = [p[i] * (1 + p[i]) if i == j else 2 * p[i] * p[j] for i in n for j in n]
    return [*values, *hessian], [0] * len(values) + units


def eager(points):
    return [[node.data for node in everything([Value(z) for z in zs], k)] for zs, k in points]


def compiled(points):
    return jit(everything).batch([zs for zs, _ in points], [float(k) for _, k in points]).tolist()


@pytest.mark.parametrize("way", [eager, compiled], ids=lambda way: way.__name__)
@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_every_number_is_right_to_four_units_in_the_last_place_at_every_scale(n, way):
    r = Random(n)
    points = [(scores(r, n, scale), r.randrange(n)) for scale in SCALES for _ in range(sampling.sample(8, 200))]
    worst = 0.0, ""
    for (zs, k), found in zip(points, way(points), strict=True):
        assert math.isclose(math.fsum(found[:n]), 1.0, rel_tol=n * 2.0**-52)
        for i, (got, true, unit) in enumerate(zip(found, *truth(zs, k), strict=True)):
            if true == 0 or abs(true) > 1e-300:  # below, the numbers themselves have fewer digits
                worst = max(worst, (error(got, true, unit), f"scores {zs}, class {k}, number {i}: {got!r}"))
    assert worst[0] <= 4.0, f"{worst[1]} is off by {worst[0]:.4g} units"


def test_backward_sends_what_grad_gives():
    r = Random("backward")
    for scale in SCALES:
        for n in 1, 2, 5:
            zs = [Value(z) for z in scores(r, n, scale)]
            loss = nn.cross_entropy(zs, r.randrange(n))
            loss.backward()
            assert [g.data for g in grad(loss, zs)] == [z.grad for z in zs]


@pytest.mark.parametrize("z", [0.0, 1e16, -1e16, 1e300])
def test_two_equal_scores_share_the_probability_at_any_height(z):
    zs = [Value(z), Value(z)]
    loss = nn.cross_entropy(zs, 0)
    loss.backward()
    assert nn.softmax([z, z]) == [0.5, 0.5] and nn.cross_entropy([z, z], 0) == LOG_2
    assert (loss.data, [x.grad for x in zs]) == (LOG_2, [-0.5, 0.5])
    assert logsumexp([z, z]) == z + LOG_2


def test_two_equal_scores_share_the_probability_compiled():
    parameters = [Value(1e16), Value(1e16)]
    value, gradient = jit(lambda: nn.cross_entropy(parameters, 0)).value_and_grad()
    assert (value, gradient.tolist()) == (LOG_2, [-0.5, 0.5])
    assert jit(lambda zs: nn.softmax(zs)).batch([[1e16, 1e16], [0.0, 0.0]]).tolist() == [[0.5, 0.5]] * 2


def test_a_computed_class_is_differentiated_as_a_plain_one():
    zs, k = [Value(0.5), Value(-1.0), Value(2.0)], Value(1.0)
    by_number, by_value = nn.cross_entropy(zs, 1), nn.cross_entropy(zs, k)
    assert by_number.data == by_value.data
    assert by_number.local_grads[:3] == by_value.local_grads[:3] and by_value.local_grads[3] is None
    assert [g.data for g in grad(by_number, zs)] == [g.data for g in grad(by_value, zs)]
    assert grad(by_value, [k])[0].data == 0.0
