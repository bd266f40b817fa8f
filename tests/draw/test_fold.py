"""Folding: true pictures of large graphs."""

import random
import re
import time
from collections import Counter

import pytest

from tinygrad_lite import Value, cos, data, dot, draw_dot, maximum, mean, nn, scope, sin, total
from tinygrad_lite.draw.fold import READABLE, folded
from tinygrad_lite.draw.layout import WIDE, layout
from tinygrad_lite.engine import topological_order

pytestmark = pytest.mark.sample(2)

X, Y = data.moons(100, noise=0.1, seed=0)


def mlp(nouts=(16, 16, 1)):
    return nn.MLP(2, list(nouts), seed=0)


def moons_loss(model, n=100):
    return mean([nn.hinge(model(x), side) for x, side in zip(X[:n], Y[:n])])


def parts(root, fold="auto"):
    return folded(topological_order(root), fold)


def everything(part):
    return [*part.parameters, *part.values]


def edges_of(root):
    """How many scalar edges run between the boxes of a picture and between the copies in one, counted one by one."""
    return lambda found: sum(
        isinstance(x, Value) and (owner[x] is not owner[node] or copy.get(x, copy[node]) != copy[node])
        for owner in [{v: part for part in found for v in everything(part)}]
        for copy in [{v: i * p.copies // len(p.values) for p in found for i, v in enumerate(p.values)}]
        for node in topological_order(root)
        for x in node.args
    )


def drawn_edges(picture):
    """What the arrows between values say that they stand for, without those from and to operations and numbers."""
    kinds = {box.key: box.kind for box in picture.boxes}
    count = 0
    for tail, _, text in picture.arrows:
        if kinds[tail] in ("operation", "constant"):
            continue
        match = re.fullmatch(r"(?:next step )?×([\d,]+)", text)
        count += int(match[1].replace(",", "")) if match else 1
    return count


def random_graph(seed):
    """Modules, scopes and loose operations, values used again and again."""
    r = random.Random(seed)
    modules = [nn.Layer(2, 3, activation=r.choice(["tanh", "silu"]), seed=r), nn.Neuron(2, seed=r), mlp([3, 2])]
    pool = [Value(r.uniform(-1, 1), label=r.choice(["", "x"])) for _ in range(4)]
    for _ in range(40):
        a, b = r.choice(pool), r.choice(pool)
        choice = r.randrange(6)
        if choice == 0:
            out = r.choice(modules)([a, b])
            pool += out if isinstance(out, list) else [out]
        elif choice == 1:
            with scope(r.choice("pq")):
                pool.append(sin(a) * b)
        elif choice == 2:
            pool.append(dot([a, b], [b, 2.0]))
        else:
            pool.append(r.choice([sin, cos])(a) + b)
    return total(pool)


FOLDS = ("auto", 0, 1, 2, 3)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("seed", range(8))
def test_every_value_stands_in_exactly_one_box_after_its_operands_but_for_a_state_that_goes_back(seed, fold):
    root = random_graph(seed)
    found = parts(root, fold)
    seen = Counter(v for part in found for v in everything(part))
    assert seen == Counter(topological_order(root))
    place = {v: i for i, part in enumerate(found) for v in everything(part)}
    back = [(x, v) for v in place for x in v.args if isinstance(x, Value) and place[x] > place[v]]
    assert fold == "auto" or not back
    for part in {place[v] for _, v in back}:  # only into a stack, and not into its first copy
        first = found[part].values[: len(found[part].values) // found[part].copies]
        assert found[part].copies > 1 and not any(v in first for _, v in back)


@pytest.mark.parametrize("fold", FOLDS)
@pytest.mark.parametrize("seed", range(8))
def test_the_arrows_account_for_every_scalar_edge_between_boxes(seed, fold):
    root = random_graph(seed)
    found = parts(root, fold)
    assert drawn_edges(draw_dot(root, fold=fold, limit=10_000).picture) == edges_of(root)(found)


@pytest.mark.parametrize("seed", range(8))
def test_copies_are_equal_in_number_and_operations(seed):
    for part in parts(random_graph(seed), 1):
        each = len(part.values) // part.copies
        assert each * part.copies == len(part.values)
        kinds = [[v.op for v in part.values[i * each : (i + 1) * each]] for i in range(part.copies)]
        assert all(kind == kinds[0] for kind in kinds)


def test_a_small_graph_is_drawn_in_full_and_a_large_one_folds_to_neurons_then_layers():
    small = mlp([3, 1])([1.0, 2.0])
    assert len(topological_order(small)) <= READABLE and all(part.single for part in parts(small))
    neurons = [part.name for part in parts(mlp()([1.0, 2.0]))]
    assert len(neurons) == 33 and neurons[16] == "layers.1.neurons.0"
    assert [part.name for part in parts(mlp([40, 40, 1])([1.0, 2.0]))] == ["layers.0", "layers.1", "layers.2"]
    digits = nn.MLP(64, [32, 10], seed=0)
    assert len(parts(total(digits([0.5] * 64)))) == 3  # 42 neurons would be few enough, their 320 arrows are not


def test_fold_chooses_depth_or_names():
    out = mlp([2, 2])([1.0, 2.0])[0]
    assert [part.name for part in parts(out, 1)] == ["layers.0", "layers.1"]
    assert [part.name for part in parts(out, 2)] == [
        "layers.0.neurons.0", "layers.0.neurons.1", "layers.1.neurons.0",
    ]  # fmt: skip
    chosen = parts(out, ["layers.0"])
    assert [part.name for part in chosen if not part.single] == ["layers.0"]
    assert {v.op.name for part in chosen if part.single for v in part.values if v.op} == {"dot", "relu"} - {"relu"}
    assert all(part.single for part in parts(out, 0))


@pytest.mark.parametrize(
    ("fold", "error", "message"),
    [
        (["layers.7"], ValueError, r"fold names parts of this graph \(layers.0, layers.1, .*got 'layers.7'"),
        (-1, ValueError, "0 or more, got -1"),
        ("neurons", TypeError, "'neurons'"),
        (True, TypeError, "got True"),
        (None, TypeError, "got None"),
    ],
)
def test_a_wrong_fold_says_what_there_is(fold, error, message):
    with pytest.raises(error, match=message):
        draw_dot(mlp([2, 1])([1.0, 2.0]), fold=fold)


def test_examples_are_one_stack_and_shared_parameters_stand_in_it_once():
    model = mlp()
    found = parts(moons_loss(model), 1)
    assert [(part.name, part.copies, len(part.parameters)) for part in found if part.name] == [
        ("layers.0", 100, 48), ("layers.1", 100, 272), ("layers.2", 100, 17),
    ]  # fmt: skip
    loose = [(part.values[0].op.name, part.copies) for part in found if not part.name]
    assert loose == [("mul", 100), ("sub", 100), ("relu", 100), ("mean", 1)]


@pytest.mark.long
def test_examples_stay_one_stack_where_one_box_uses_them_all():
    model = mlp()
    scores = [model(x) for x in X]
    with scope("loss"):
        loss = mean([nn.hinge(score, side) for score, side in zip(scores, Y)])
    found = parts(loss)
    assert [(part.name, part.copies, len(part.values)) for part in found] == [
        ("layers.0", 100, 3200), ("layers.1", 100, 3200), ("layers.2", 100, 100), ("loss", 1, 301),
    ]  # fmt: skip


def test_examples_that_differ_are_not_in_one_stack():
    model = mlp([2, 1])
    half = [nn.hinge(model(x), side) for x, side in zip(X[:30], Y[:30])]
    other = [nn.mse(model(x), side) for x, side in zip(X[30:60], Y[30:60])]
    found = parts(mean(half) + mean(other), 1)
    by_copies = {part.copies: everything(part) for part in found if part.name == "layers.1"}
    assert Counter(part.copies for part in found if part.name == "layers.1") == {30: 2, 1: 1}
    assert by_copies[1] == model.layers[1].parameters()


def test_parameters_of_two_different_boxes_are_drawn_once_on_their_own():
    cell, h = nn.Neuron(2, activation="tanh", seed=0), Value(0.0)

    class Net(nn.Module):
        def __init__(self):
            self.cell = cell

        def __call__(self, xs):
            h = Value(0.0)
            for x in xs:
                h = self.cell([x, h])
            return h

    h = Net()([1.0, 2.0, 3.0])
    found = parts(h, 1)
    assert [(part.name, len(part.values), len(part.parameters)) for part in found if part.name] == [
        ("cell", 3, 0), ("cell", 2, 0), ("cell", 2, 0), ("cell", 2, 0),
    ]  # fmt: skip
    assert "parameters" in draw_dot(h, fold=1).picture.boxes[0].texts[0]


def test_a_part_that_feeds_and_is_fed_by_another_is_opened():
    class Loop(nn.Module):
        def __init__(self):
            self.u, self.v = nn.Neuron(1, seed=0), nn.Neuron(1, seed=1)

        def __call__(self, x):
            # twice through both without a call of theirs: one box for u would feed v and be fed by it
            for _ in range(2):
                x = [dot(self.u.w, x, self.u.b)]
                x = [dot(self.v.w, x, self.v.b)]
            return x[0]

    found = parts(Loop()([1.0]), 1)
    assert [part.values[0].op.name for part in found if part.single and part.values[0].op] == ["dot"] * 4
    assert Counter(v for part in found for v in everything(part)).total() == 8


@pytest.mark.long
def test_a_folded_box_says_what_it_is():
    model = mlp()
    loss = moons_loss(model)
    before = next(box for box in draw_dot(loss).picture.boxes if box.kind == "part")
    assert before.texts[0] == "layers.0 · relu" and before.copies == 100
    assert before.texts[2] == "1,600 × grad -" and before.texts[3] == "48 parameters + 100 × 32 scalars"
    loss.backward()
    box = [box for box in draw_dot(loss).picture.boxes if box.kind == "part"][2]
    outputs = next(part for part in parts(loss, 1) if part.name == "layers.2").outputs
    low, high = min(v.data for v in outputs), max(v.data for v in outputs)
    assert box.texts[:2] == ("layers.2 · linear", f"100 × data {low:.4f} .. {high:.4f}")
    low, high = min(v.grad for v in outputs), max(v.grad for v in outputs)
    assert box.texts[2] == f"100 × grad {low:.4f} .. {high:.4f}"


def test_one_neuron_shows_its_output_and_the_gradient_that_reaches_it():
    model = mlp()
    out = model([1.0, 2.0])
    out.backward()
    (part,) = [part for part in parts(out) if part.name == "layers.1.neurons.3"]
    (box,) = [box for box in draw_dot(out).picture.boxes if box.texts[0].startswith("layers.1.neurons.3 ")]
    (neuron,) = part.outputs
    assert box.texts[1] == f"data {neuron.data:.4f} · grad {neuron.grad:.4f}"
    assert box.texts[2] == "17 parameters + 2 scalars"


def test_nan_in_a_box_is_said():
    layer = nn.Layer(1, 60, activation="linear", seed=0)
    layer.neurons[3].b.data = float("nan")
    (box,) = [box for box in draw_dot(total(layer([1.0])), fold=["neurons.3"]).picture.boxes if box.kind == "part"]
    assert box.texts[1].startswith("data nan")


@pytest.mark.long
def test_numbers_that_many_parts_read_are_one_box():
    out = mlp()([1.0, 2.0])
    constants = [box for box in draw_dot(out).picture.boxes if box.kind == "constant"]
    assert [box.texts for box in constants] == [("1, 2",)]
    examples = [box for box in draw_dot(moons_loss(mlp())).picture.boxes if box.kind == "constant"]
    assert [box.texts for box in examples] == [("100 × 2 numbers",)]


def test_the_pictures_of_the_readme_fit_a_page():
    model = mlp()
    for root in model([1.0, 2.0]), moons_loss(model) + nn.l2(model.parameters(), 1e-4):
        picture = draw_dot(root).picture
        placed = layout(picture)
        assert len(picture.boxes) <= READABLE and placed.width <= WIDE and placed.height <= 1200.0


def test_rankdir_is_chosen_by_what_fits():
    chain = Value(1.0)
    assert draw_dot(sin(chain)).picture.rankdir == "LR"
    for _ in range(12):
        chain = sin(chain)
    assert draw_dot(chain).picture.rankdir == "TB"
    assert draw_dot(chain, rankdir="LR").picture.rankdir == "LR"


@pytest.mark.long
def test_the_same_graph_folds_the_same_way():
    first, second = (draw_dot(moons_loss(mlp())).source for _ in range(2))
    assert first == second


def test_a_picture_with_too_many_boxes_names_the_ways_out():
    v = Value(1.0)
    for i in range(300):
        v = sin(v) if i % 2 else cos(v)
    with pytest.raises(ValueError, match=r'601 boxes .*one neuron.* fold="auto".*limit=601'):
        draw_dot(v, limit=100, fold=0)
    assert len(draw_dot(v, limit=100).picture.boxes) <= READABLE


def test_a_parameter_that_something_before_its_folded_part_uses_stands_on_its_own():
    class Scaled(nn.Module):
        def __init__(self):
            self.p = Value(2.0)

        def __call__(self, x):
            return self.p * x

    scaled = Scaled()
    first = scaled(Value(3.0))
    with scope("again"):
        second = scaled(first)
    for fold in 1, 2:
        found = parts(second, fold)
        place = {v: i for i, part in enumerate(found) for v in everything(part)}
        assert all(place[x] <= place[node] for node in place for x in node.args)
        layout(draw_dot(second, fold=fold).picture)


def test_a_chain_of_ten_thousand_folds_without_recursion():
    v = Value(1.0)
    with scope("chain"):
        for _ in range(10_000):
            v = sin(v)
    (part,) = [part for part in parts(v * 2.0) if part.name]
    assert len(part.values) == 10_000


def drawn(root):
    picture = draw_dot(root).picture
    return [(box.kind, box.copies, box.texts[0]) for box in picture.boxes], picture.arrows


def test_a_sum_is_drawn_alike_however_it_is_spelled():
    """A chain from the left, from the right, a tree, builtin sum, total: the terms stand in one stack."""
    xs = [Value(float(i)) for i in range(64)]

    def squares():
        return [x * x for x in xs]

    def from_the_right():
        out, *rest = reversed(squares())
        for x in rest:
            out = x + out
        return out

    def tree(terms):
        return tree(terms[::2]) + tree(terms[1::2]) if len(terms) > 1 else terms[0]

    one = drawn(sum(squares()))
    assert one[0] == [("part", 64, "inputs"), ("part", 64, "*"), ("part", 1, "sum of 64")]
    assert [arrow.text for arrow in one[1]] == ["×128", "×64"]
    assert drawn(from_the_right()) == drawn(tree(squares())) == one
    assert [box[1] for box in drawn(total(squares()))[0]][:2] == [64, 64]


def test_what_is_subtracted_is_told_from_what_is_added():
    out = Value(0.0)
    for i in range(40):
        out = out + sin(Value(float(i))) if i % 2 else out - sin(Value(float(i)))
    boxes, _ = drawn(out)
    assert sorted(copies for _, copies, text in boxes if text == "sin") == [20, 20]


def test_products_and_maxima_fold_and_a_labelled_link_is_drawn_by_itself():
    xs, product, best = [Value(1.0 + i / 64) for i in range(40)], Value(1.0), Value(0.0)
    for i, x in enumerate(xs):
        product, best = product * x, maximum(best, cos(x))
        if i == 19:
            best.label = "halfway"
    boxes = [box.texts for box in draw_dot(product + best).picture.boxes]
    assert "product of 41" in [texts[0] for texts in boxes]
    assert sorted(texts[1].split(" · ")[0] for texts in boxes if texts[0].startswith("max of 21"))[0] == "halfway"


def test_a_cell_is_drawn_step_by_step_where_a_depth_is_asked_for():
    w, h = Value(0.5, "w"), Value(1.0, "h")
    for _ in range(30):
        h = sin(w * h)
    folded_, picture = parts(h), draw_dot(h).picture
    assert [(part.copies, part.values[0].op.name) for part in folded_ if part.values[0].op] == [
        (30, "mul"), (29, "sin"), (1, "sin"),
    ]  # fmt: skip
    assert [arrow.text for arrow in picture.arrows if "next" in arrow.text] == ["next step ×29"]
    assert len(parts(h, 1)) == 62


@pytest.mark.long
def test_the_loss_of_six_thousand_nodes_folds_in_seconds():
    loss = moons_loss(mlp())
    start = time.process_time()
    draw_dot(loss)
    assert time.process_time() - start < 10.0  # a guard against a slower kind of algorithm; measured: 0.2 s
