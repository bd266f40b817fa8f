"""Thirty and more graphs as different hands write them, for the pictures. No tests.

GALLERY: name -> (function that makes the root, the most boxes that its picture may have).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tinygrad_lite import Value, data, dot, exp, grad, log, maximum, nn, sigmoid, sin, tanh, total

GALLERY: dict[str, tuple[Callable[[], Value], int]] = {}
ANY = 50  # boxes of any picture


def hangs(most: int = ANY) -> Callable[[Callable[[], Value]], Callable[[], Value]]:
    """Puts the function into the gallery."""

    def hang(make: Callable[[], Value]) -> Callable[[], Value]:
        GALLERY[make.__name__] = make, most
        return make

    return hang


def mlp() -> nn.MLP:
    return nn.MLP(2, [16, 16, 1], seed=0)


def values(n: int, seed: int = 0, label: str = "") -> list[Value]:
    r = random.Random(seed)
    return [Value(r.uniform(-1, 1), f"{label}{i}" if label else "") for i in range(n)]


def matrix(rows: int, columns: int, seed: int = 0) -> list[list[Value]]:
    flat = values(rows * columns, seed)
    return [flat[i * columns : (i + 1) * columns] for i in range(rows)]


def added(xs: Sequence[Value]) -> Value:
    """As Python's sum adds them."""
    return sum(xs)  # type: ignore[return-value]


# --- the loops of micrograd's readers


@hangs(20)
def hundred_moons_with_sum() -> Value:
    model, (X, y) = mlp(), data.moons(100, noise=0.1, seed=0)
    return added([nn.hinge(model(x), side) for x, side in zip(X, y)]) / len(X)


@hangs(20)
def hundred_moons_and_penalty() -> Value:
    model, (X, y) = mlp(), data.moons(100, noise=0.1, seed=0)
    losses = [(1 + -side * model(x)).relu() for x, side in zip(X, y)]
    return added(losses) * (1.0 / len(losses)) + 1e-4 * added([p * p for p in model.parameters()])


@hangs(20)
def penalty_first() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    reg_loss = 1e-4 * added([p**2 for p in model.parameters()])
    return reg_loss + added([(model(x) - side) ** 2 for x, side in zip(X, y)])


@hangs(20)
def squares_with_sum() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    return added([(model(x) - side) ** 2 for x, side in zip(X, y)])


@hangs(20)
def loss_is_loss_plus() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    loss = Value(0.0)
    for x, side in zip(X, y):
        loss = loss + (model(x) - side) ** 2
    return loss


@hangs(20)
def loss_in_place() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    loss = 0.0
    for x, side in zip(X, y):
        loss += (model(x) - side) ** 2  # type: ignore[assignment]
    return loss / 20  # type: ignore[return-value]


@hangs(20)
def four_examples() -> Value:
    """The lecture's own: 3 inputs, 4 targets."""
    model = nn.MLP(3, [4, 4, 1], seed=0, activation="tanh", output="tanh")
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]
    ypred = [model(x) for x in xs]
    return added([(yout - ygt) ** 2 for ygt, yout in zip(ys, ypred)])


@hangs(20)
def mean_of_a_list() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    errors = [abs(model(x) - side) for x, side in zip(X, y)]
    return added(errors) / len(errors)


@hangs(20)
def loss_total_of_totals() -> Value:
    """Nested sums: over batches, over the examples of each."""
    model, (X, y) = mlp(), data.moons(24, noise=0.1, seed=0)
    batches = [added([(model(x) - side) ** 2 for x, side in zip(X[i : i + 6], y[i : i + 6])]) for i in range(0, 24, 6)]
    return added(batches) / 4


@hangs(20)
def two_losses() -> Value:
    model, (X, y) = mlp(), data.moons(20, noise=0.1, seed=0)
    scores = [model(x) for x in X]
    first = added([(score - side) ** 2 for score, side in zip(scores, y)])
    return first + 0.5 * added([(1 - score * side).relu() for score, side in zip(scores, y)])


@hangs(20)
def cross_entropy_by_hand() -> Value:
    model, (X, y) = nn.MLP(2, [8, 3], seed=0), data.blobs(12, seed=0)
    losses = []
    for x, k in zip(X, y):
        counts = [z.exp() for z in model(x)]
        losses.append(-(counts[int(k) % 3] / added(counts)).log())
    return added(losses) / len(losses)


class Network(nn.Module):
    """A subclass that calls its layers by itself."""

    def __init__(self) -> None:
        self.hidden, self.out = nn.Layer(2, 8, activation="tanh", seed=0), nn.Neuron(8, activation="linear", seed=1)

    def __call__(self, x: Sequence[float]) -> Value:
        return self.out(self.hidden(x))  # type: ignore[no-any-return]


@hangs(20)
def module_subclass() -> Value:
    model, (X, y) = Network(), data.moons(20, noise=0.1, seed=0)
    return added([(model(x) - side) ** 2 for x, side in zip(X, y)])


@hangs(20)
def polynomial_regression() -> Value:
    coefficients, loss = values(4, label="c"), Value(0.0)
    for i in range(21):
        x = i / 10 - 1
        guess = coefficients[0] + coefficients[1] * x + coefficients[2] * x**2 + coefficients[3] * x**3
        loss = loss + (guess - 0.5 * x) ** 2
    return loss / 21


@hangs(20)
def network_by_hand() -> Value:
    """Neurons as loops over lists of Values, without any module."""
    r = random.Random(0)
    w1, w2 = matrix(8, 2, 1), values(8, 2)
    b1, b2 = values(8, 3), Value(0.0, "b2")
    loss = Value(0.0)
    for _ in range(20):
        x, t = [r.uniform(-1, 1), r.uniform(-1, 1)], r.choice([-1.0, 1.0])
        hidden = [added([w * xi for w, xi in zip(row, x)] + [b]).tanh() for row, b in zip(w1, b1)]
        out = added([w * h for w, h in zip(w2, hidden)]) + b2
        loss = loss + (out - t) ** 2
    return loss


# --- repetition in depth


def recurrent(steps: int) -> Value:
    cell, out = nn.Layer(5, 4, activation="tanh", seed=0), nn.Neuron(4, activation="linear", seed=1)
    h: list[Value | float] = [0.0] * 4
    for t in range(steps):
        h = cell([sin(Value(float(t))).data, *h])
    return (out(h) - 1.0) ** 2  # type: ignore[no-any-return]


@hangs(15)
def recurrent_5() -> Value:
    return recurrent(5)


@hangs(15)
def recurrent_12() -> Value:
    return recurrent(12)


@hangs(15)
def recurrent_by_hand() -> Value:
    """Numbers with labels, a loss at every step."""
    wx, wh, b, wy = Value(0.5, "wx"), Value(-0.8, "wh"), Value(0.1, "b"), Value(1.5, "wy")
    h, loss = Value(0.0, "h0"), Value(0.0)
    for t in range(12):
        h = (wx * (t / 12) + wh * h + b).tanh()
        loss = loss + (wy * h - 0.3) ** 2
    return loss


@hangs(35)
def gated_recurrent_unit() -> Value:
    """One unit, by hand, six steps."""
    w, h = values(9, label="w"), Value(0.0, "h0")
    for t in range(6):
        x = Value(t / 6)
        z, r = sigmoid(w[0] * x + w[1] * h + w[2]), sigmoid(w[3] * x + w[4] * h + w[5])
        n = tanh(w[6] * x + r * (w[7] * h) + w[8])
        h = (1 - z) * n + z * h
    return (h - 1.0) ** 2


@hangs(15)
def sequences_through_one_cell() -> Value:
    """Ten sequences of four steps."""
    cell, r, loss = nn.Layer(3, 2, activation="tanh", seed=0), random.Random(0), Value(0.0)
    for _ in range(10):
        h: list[Value | float] = [0.0, 0.0]
        for _ in range(4):
            h = cell([r.uniform(-1, 1), *h])
        loss = loss + (h[0] - h[1]) ** 2  # type: ignore[operator]
    return loss


@hangs(25)
def physics_of_fifty_steps() -> Value:
    x, v, k, dt = Value(1.0, "x"), Value(0.0, "v"), Value(2.0, "k"), 0.05
    for _ in range(50):
        v = v - k * x * dt
        x = x + v * dt
    return 0.5 * k * x**2 + 0.5 * v**2


@hangs(30)
def coupled_equations() -> Value:
    """Lotka and Volterra by Euler's method, without labels, numbers for rates."""
    hares, lynxes = Value(1.0), Value(0.5)
    for _ in range(30):
        born, eaten = 0.1 * hares, 0.02 * hares * lynxes
        hares, lynxes = hares + born - eaten, lynxes + 0.5 * eaten - 0.03 * lynxes
    return hares + lynxes


@hangs()
def newton() -> Value:
    a, x = Value(2.0, "a"), Value(1.0, "x0")
    for _ in range(12):
        x = x - (x * x - a) / (2 * x)
    return x


@hangs()
def descent_through_grad() -> Value:
    """Five steps of gradient descent, unrolled: a graph of gradients of gradients."""
    w, lr = Value(2.0, "w"), Value(0.1, "lr")
    for _ in range(5):
        (slope,) = grad((w**2 - 3) ** 2 + sin(w), [w])
        w = w - lr * slope
    return w**2


@hangs(20)
def geometric_series() -> Value:
    r, term, series = Value(0.5, "r"), Value(1.0), Value(0.0)
    for _ in range(60):
        series = series + term
        term = term * r
    return series


@hangs(20)
def horner() -> Value:
    x, y = Value(0.7, "x"), Value(0.0)
    for c in values(30):
        y = y * x + c
    return y


@hangs()
def sines_and_cosines() -> Value:
    """Nothing but depth."""
    v = Value(1.0)
    for i in range(300):
        v = (v.sin() if i % 2 else v.cos()) if i % 3 else v.exp()
    return v


# --- models and losses by hand


@hangs()
def attention() -> Value:
    """Three tokens of two numbers, one head, weights in lists."""
    tokens = matrix(3, 2, 1)
    q, k, v = ([[dot(row, token) for row in matrix(2, 2, seed)] for token in tokens] for seed in (2, 3, 4))
    mixed = []
    for query in q:
        scores = [dot(query, key) / 2**0.5 for key in k]
        weights = [exp(s) for s in scores]
        whole = added(weights)
        mixed.append([added([w / whole * row[j] for w, row in zip(weights, v)]) for j in range(2)])
    return added([x**2 for row in mixed for x in row])


@hangs(20)
def k_means() -> Value:
    centres, r, loss = matrix(3, 2), random.Random(0), Value(0.0)
    for _ in range(30):
        p = [r.uniform(-1, 1), r.uniform(-1, 1)]
        loss = loss + min((c[0] - p[0]) ** 2 + (c[1] - p[1]) ** 2 for c in centres)
    return loss / 30


@hangs(20)
def rosenbrock() -> Value:
    xs = values(20)
    return added([100 * (b - a**2) ** 2 + (1 - a) ** 2 for a, b in zip(xs, xs[1:])])


@hangs(20)
def likelihood() -> Value:
    """A product of sixty probabilities."""
    p, product = Value(0.3, "p"), Value(1.0)
    for i in range(60):
        product = product * (p if i % 3 else 1 - p)
    return -log(product)


@hangs(20)
def log_likelihood() -> Value:
    mu, sigma = Value(0.0, "mu"), Value(1.0, "sigma")
    return -added([-(((x.data - mu) / sigma) ** 2) / 2 - log(sigma) for x in values(40)])


@hangs(20)
def largest_of_a_list() -> Value:
    model = nn.MLP(2, [8, 1], seed=0)
    best = model([0.0, 0.0])
    for x in data.moons(20, noise=0.1, seed=0)[0]:
        best = maximum(best, model(x))
    return best  # type: ignore[no-any-return]


@hangs()
def builtin_max() -> Value:
    model = nn.MLP(2, [8, 1], seed=0)
    scores = [model(x) for x in data.moons(20, noise=0.1, seed=0)[0]]
    return max(scores) - min(scores)  # type: ignore[no-any-return]


@hangs(20)
def matrix_product() -> Value:
    a, b = matrix(4, 5, 1), matrix(5, 3, 2)
    product = [[added([a[i][k] * b[k][j] for k in range(5)]) for j in range(3)] for i in range(4)]
    return added([x for row in product for x in row])


@hangs(20)
def convolution() -> Value:
    image, kernel = matrix(7, 7, 1), matrix(3, 3, 2)
    at = range(5)
    out = [[added([image[i + a][j + b] * kernel[a][b] for a in range(3) for b in range(3)]) for j in at] for i in at]
    return added([x.relu() for row in out for x in row])


@hangs(20)
def siamese() -> Value:
    """One encoder on both sides of a difference."""
    encoder, (X, _) = nn.MLP(2, [8, 4], seed=0), data.moons(20, noise=0.1, seed=0)
    pairs = [(encoder(a), encoder(b)) for a, b in zip(X[::2], X[1::2])]
    return added([added([(u - v) ** 2 for u, v in zip(a, b)]) for a, b in pairs])


@hangs()
def residual_connections() -> Value:
    blocks = [nn.Layer(4, 4, activation="tanh", seed=i) for i in range(4)]
    h: list[Value] = values(4, label="x")
    for block in blocks:
        h = [a + b for a, b in zip(h, block(h))]
    return added(h)


@hangs(25)
def batch_normalisation() -> Value:
    layer, gamma, beta = nn.Neuron(2, activation="linear", seed=0), Value(1.0, "gamma"), Value(0.0, "beta")
    hs = [layer(x) for x in data.moons(20, noise=0.1, seed=0)[0]]
    centre = added(hs) / len(hs)
    variance = added([(h - centre) ** 2 for h in hs]) / len(hs)
    normal = [gamma * (h - centre) / (variance + 1e-5) ** 0.5 + beta for h in hs]
    return added([tanh(h) for h in normal])


@hangs(20)
def softmax_by_hand() -> Value:
    zs = values(20)
    counts = [z.exp() for z in zs]
    whole = added(counts)
    return -(counts[3] / whole).log()


@hangs(20)
def many_labels() -> Value:
    """A hundred named inputs."""
    return total([w * x for w, x in zip(values(100, 1, "w"), values(100, 2, "x"))]).tanh()
