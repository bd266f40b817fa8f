"""The example of micrograd's README, which more than one test computes."""

from tinygrad_lite import Value


def micrograds_example():
    """(a, b, g), forward only; g is 24.7041."""
    a, b = Value(-4.0), Value(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return a, b, g
