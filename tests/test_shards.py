"""Examples in shards: the bits of one process, whoever computes them, and nothing lost with a worker."""

import os
import signal
import time

import pytest

from tinygrad_lite import Value, data, fit, jit, nn, optim

np = pytest.importorskip("numpy")
pytest.importorskip("llvmlite")
X, y = data.moons(103, seed=0)


def network():
    return nn.MLP(2, [4, 1], seed=0)


def hinge(model):
    return lambda x, side: nn.hinge(model(x), side)


def trained(examples, client=None, **options):
    """The numbers of a model after ten epochs."""
    model = network()
    opt = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    options = {"epochs": 10, "progress": False} | options
    history = fit(hinge(model), opt, *examples, client=client, **options)
    return [p.data for p in model.parameters()], history


# --- in this process


def test_shards_hold_every_example_once_in_order():
    shards = data.shard(X, y)
    assert len(shards) == 103 and len(shards.parts) == 8 and sum(shards.counts) == 103
    assert [list(x) for rows, _ in shards.parts for x in rows] == X
    assert [t for _, targets in shards.parts for t in targets] == y
    assert len(data.shard(X, y, shards=3).parts) == 3
    assert len(data.shard(X[:2], y[:2]).parts) == 2
    assert repr(shards) == "103 examples in 8 shards in this process"


def test_the_mean_and_its_gradient_are_those_of_all_examples():
    model = network()
    loss = jit(hinge(model))
    value, gradient = loss.value_and_grad(X, y)
    for count in 1, 8, 103:
        of_shards, gradient_of_shards = loss.value_and_grad(data.shard(X, y, shards=count))
        assert of_shards == pytest.approx(value, rel=1e-13)
        np.testing.assert_allclose(gradient_of_shards, gradient, rtol=1e-12, atol=1e-15)
    loss.mean(data.shard(X, y)).backward()
    np.testing.assert_allclose([p.grad for p in loss.parameters], gradient, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("options", [{}, {"batch_size": 20, "seed": 3}], ids=["all at once", "batches"])
def test_fit_on_shards_is_fit_on_the_examples(options):
    numbers, history = trained([data.shard(X, y)], **options)
    expected, eager = trained([X, y], compiled=False, **options)
    assert numbers == pytest.approx(expected, rel=1e-9)
    assert history.steps == eager.steps and history.loss == pytest.approx(eager.loss, rel=1e-9)


def test_penalty_schedule_clipping_and_the_end_are_as_ever():
    options = {
        "penalty": lambda: Value(0.5) * 2.0, "schedule": lambda t: 0.1 / (t + 1), "clip_grad_norm": 0.1,
        "callback": lambda epoch, history: epoch == 4, "every": 1,
    }  # fmt: skip
    numbers, history = trained([data.shard(X, y)], **options)
    expected, eager = trained([X, y], compiled=False, **options)
    assert numbers == pytest.approx(expected, rel=1e-9)
    assert history.stopped == eager.stopped and history.lr == eager.lr


def test_places_are_found_in_their_shards():
    shards = data.shard(X, y, shards=3)
    some = shards.taken([102, 0, 34, 33, 35])
    assert len(some) == 5
    found = [shards.parts[i][1][k] for i, places in enumerate(some.places) for k in places]
    assert found == [y[k] for k in (0, 33, 34, 35, 102)]


def test_a_function_of_one_argument_takes_shards_without_targets():
    w = Value(2.0)
    value, gradient = jit(lambda x: w * x[0]).value_and_grad(data.shard(X))
    assert value == pytest.approx(2.0 * gradient[0], rel=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.shard([], []), "at least one"),
        (lambda: data.shard(X, y[1:]), "as many examples as targets"),
        (lambda: data.shard(X, y, shards=0), "shards must be a whole number"),
        (lambda: data.shard(X, y, timeout=0.0), "timeout must be"),
        (lambda: trained([data.shard(X, y), y]), "shards hold their targets"),
    ],
)
def test_what_cannot_be_sharded_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


# --- on workers


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield cluster, client


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"batch_size": 20}], ids=["all at once", "batches"])
def test_workers_give_the_bits_of_one_process(cluster, options):
    _, client = cluster
    assert trained([X, y], client, **options)[0] == trained([data.shard(X, y)], **options)[0]


@pytest.mark.long
def test_nothing_is_lost_with_a_worker(cluster):
    cluster, client = cluster

    def kill(epoch, history):
        if epoch == 3:
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

    assert trained([X, y], client, callback=kill, every=1)[0] == trained([data.shard(X, y)])[0]


class Sleeper:
    """A function that never answers on a worker."""

    __name__ = "sleeper"

    def __init__(self, home):
        self.home = home

    def __call__(self, x, side):
        if os.getpid() != self.home:
            time.sleep(3600)
        return Value(1.0) * x[0]


@pytest.mark.long
def test_a_worker_that_never_answers_is_an_error_and_the_parameters_stay():
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        shards = data.shard(X, y, client, timeout=5.0)
        with pytest.raises(TimeoutError, match=r"8 of 8 shards gave no answer in 5 s, and nothing was updated"):
            jit(Sleeper(os.getpid())).value_and_grad(shards)


@pytest.mark.long
def test_chunks_of_dask_are_the_shards(cluster):
    _, client = cluster
    array = pytest.importorskip("dask.array")
    bag = pytest.importorskip("dask.bag")
    loss = jit(hinge(network()))
    expected = loss.value_and_grad(data.shard(X[:100], y[:100], shards=4))
    arrays = array.from_array(np.array(X[:100]), chunks=(25, 1)), array.from_array(np.array(y[:100]), chunks=25)
    bags = bag.from_sequence(X[:100], npartitions=4), bag.from_sequence(y[:100], npartitions=4)
    for collections in arrays, bags:
        found = loss.value_and_grad(data.shard(*collections, client))
        assert found[0] == expected[0] and (found[1] == expected[1]).all()
    with pytest.raises(ValueError, match="pairs the chunks of X with those of y, got 4 and 2"):
        data.shard(arrays[0], arrays[1].rechunk(50), client)
    with pytest.raises(TypeError, match="both as Dask collections"):
        data.shard(arrays[0], y[:100], client)
    with pytest.raises(ValueError, match=r"write data.shard\(X, y, client\)"):
        data.shard(*arrays)


@pytest.mark.long
def test_tables_of_dask_are_the_shards(cluster):
    _, client = cluster
    frames, pandas = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    table = pandas.DataFrame(X[:100], columns=["a", "b"]).assign(y=y[:100])
    parts = frames.from_pandas(table, npartitions=4)
    found = jit(hinge(network())).value_and_grad(data.shard(parts[["a", "b"]], parts["y"], client))
    assert found[0] == pytest.approx(jit(hinge(network())).value_and_grad(X[:100], y[:100])[0], rel=1e-12)
