"""Ten million nodes. Not of the default run: `pytest tests/long_scale.py`."""

import math
from statistics import linear_regression

import pytest

from .test_scale import backward

SIZES = [10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7]


@pytest.mark.parametrize("shape", ["chain", "ring", "batch"])
def test_ten_million_nodes_fit_into_5_gigabytes_and_backward_takes_linear_time(shape):
    peaks, seconds = zip(*(backward(shape, size, repeats=5) for size in SIZES))
    exponent = linear_regression([math.log(n) for n in SIZES], [math.log(s) for s in seconds]).slope
    print(f"{shape}: {peaks[-1] / 1e9:.2f} GB, {seconds[-1]:.1f} s for the pass, exponent {exponent:.3f}")
    assert peaks[-1] <= 5e9
    assert exponent < 1.1
