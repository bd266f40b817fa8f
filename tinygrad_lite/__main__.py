"""python -m tinygrad_lite demo digits|moons: train a network made of scalars, here and now."""

from __future__ import annotations

import argparse
import importlib.util
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from . import __version__, data, nn, optim, plot
from .compiler import jit
from .engine import no_grad
from .io import save
from .train import History, Loss, fit

if TYPE_CHECKING:
    from distributed import Client

DEFAULT_LR, DEFAULT_EPOCHS = {"digits": 0.2, "moons": 0.4}, {"digits": 8, "moons": 100}
SHOWN = 40  # of the misread digits


class Guessing(NamedTuple):
    """What comes of answering each class alike."""

    accuracy: float
    loss: float


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    options = _parse(arguments)
    out = Path(options.out)
    try:
        _demand_extra(options)
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except ImportError as error:
        return _failed(1, str(error))
    except OSError as error:
        return _failed(2, f"cannot write into {out}: {error.strerror}")
    try:
        (_digits if options.what == "digits" else _moons)(options, out)
    except FloatingPointError:
        return _failed(1, f"training failed: the numbers grew beyond all bounds. {_advice(options)}")
    except KeyboardInterrupt:
        return _failed(130, "stopped")
    return 0


def _failed(status: int, message: str) -> int:
    print(f"\ntinygrad_lite demo: {message}" if status == 130 else f"tinygrad_lite demo: {message}", file=sys.stderr)
    return status


def _demand_extra(options: argparse.Namespace) -> None:
    """ImportError that names the extra, before anything is made."""
    needed: dict[str, tuple[str, ...]] = {"demo": ("matplotlib", "sklearn", "tqdm", "safetensors")}
    if options.workers:
        needed["dask"] = ("distributed", "llvmlite")
    for extra, names in needed.items():
        if lacking := [name for name in names if not importlib.util.find_spec(name)]:
            raise ImportError(f"the demo needs {', '.join(lacking)}: pip install 'tinygrad_lite[{extra}]'")
    import matplotlib

    matplotlib.use("Agg")


def _advice(options: argparse.Namespace) -> str:
    """Which learning rate to try."""
    usual = DEFAULT_LR[options.what]
    lr = options.lr or usual
    too = f"The learning rate {lr:g} is too {'large' if lr > usual else 'small'}: try" if lr != usual else "Try"
    return f"{too} --lr {usual if lr != usual else usual / 10:g}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(prog="tinygrad_lite", description="Neural networks made of scalars, to look into.")
    parser.add_argument("--version", action="version", version=f"tinygrad_lite {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="demo")
    demo = commands.add_parser(
        "demo",
        help="train a network on real digits or on two moons",
        description=(
            "Trains a small neural network in which every weight, product and sum is one Value, shows how "
            "the loss falls, and writes pictures and the trained model into a folder."
        ),
        epilog="Nothing is downloaded: the digits come with scikit-learn, the moons are computed.",
    )
    demo.add_argument(
        "what",
        metavar="digits|moons",
        choices=["digits", "moons"],
        help="what to learn. digits: 1,797 real handwritten digits, 8 x 8 pixels, ten classes; "
        "moons: 100 points on two interleaved half circles, two classes",
    )
    demo.add_argument("--epochs", type=_whole, metavar="N", help="passes over the data (default: digits 8, moons 100)")
    demo.add_argument(
        "--lr",
        type=_positive,
        metavar="RATE",
        help="learning rate: how far a step goes (default: digits 0.2, moons 0.4)",
    )
    demo.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed of the random weights and shuffles (default: 0)"
    )
    demo.add_argument(
        "--out", type=_folder, metavar="FOLDER", help="for pictures and model (default: demo-digits or demo-moons)"
    )
    demo.add_argument(
        "--workers", type=_whole, metavar="N", help="so many processes compute the gradients (needs the extra dask)"
    )
    options = parser.parse_args(arguments)
    options.out = options.out or f"demo-{options.what}"
    return options


def _digits(options: argparse.Namespace, out: Path) -> None:
    X, y, X_test, y_test = data.split(*data.digits(), seed=options.seed)
    model = nn.MLP(64, [32, 10], activation="tanh", seed=options.seed)
    print(f"{model}\ntraining on {len(X)} digits, {len(X_test)} held out")
    lr, epochs, size = options.lr or DEFAULT_LR["digits"], options.epochs or DEFAULT_EPOCHS["digits"], 32
    schedule = optim.schedules.cosine(lr, epochs * -(-len(X) // size))
    opt = optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    loss = lambda x, k: nn.cross_entropy(model(x), k)  # noqa: E731
    history = _train(model, loss, opt, X, y, epochs, options, batch_size=size, schedule=schedule)
    scores = _scores(model, X_test)
    guesses = [s.index(max(s)) for s in scores]
    _report(model, history, nn.accuracy(scores, y_test), Guessing(0.1, math.log(10.0)), options, out)
    _confusion(y_test, guesses, out)
    wrong = [i for i, (guess, k) in enumerate(zip(guesses, y_test)) if guess != k]
    shown = wrong[:SHOWN]
    plot.digits([X_test[i] for i in shown], [f"{y_test[i]}, read as {guesses[i]}" for i in shown], columns=6)
    part = f", the first {SHOWN} of them" if len(wrong) > SHOWN else ""
    _save_figure(out / "misread.png", f"{len(wrong)} of {len(y_test)} held-out digits misread{part}")
    plot.network(model, X_test[0])
    _save_figure(out / "network.png", f"the network reads a {y_test[0]}")
    _farewell("nn.MLP(64, [32, 10], activation='tanh')", out)


def _moons(options: argparse.Namespace, out: Path) -> None:
    X, y = data.moons(100, noise=0.1, seed=options.seed)
    X_test, y_test = data.moons(400, noise=0.1, seed=options.seed + 1)
    model = nn.MLP(2, [16, 16, 1], seed=options.seed)
    print(f"{model}\ntraining on {len(X)} points, {len(X_test)} held out")
    lr, epochs = options.lr or DEFAULT_LR["moons"], options.epochs or DEFAULT_EPOCHS["moons"]
    parameters = model.parameters()
    schedule = optim.schedules.linear(lr, epochs, end=lr / 10)
    opt = optim.SGD(parameters, lr=lr, momentum=0.9)
    loss = lambda x, side: nn.hinge(model(x), side)  # noqa: E731
    penalty = lambda: nn.l2(parameters, 1e-4)  # noqa: E731
    history = _train(model, loss, opt, X, y, epochs, options, schedule=schedule, penalty=penalty)
    _report(model, history, nn.accuracy(_scores(model, X_test), y_test), Guessing(0.5, 1.0), options, out)
    plot.decision_boundary(model, X, y)
    _save_figure(out / "decision_boundary.png", "two moons: where the score is 0")
    plot.network(model, X[0], units=16)
    _save_figure(out / "network.png", "the network and its first point")
    _farewell("nn.MLP(2, [16, 16, 1])", out)


def _train(
    model: nn.MLP,
    loss: Loss,
    opt: optim.Optimizer,
    X: Sequence[list[float]],
    y: Sequence[float],
    epochs: int,
    options: argparse.Namespace,
    **how: Any,
) -> History:
    """fit, with a bar that also shows the accuracy on (a part of) the training data."""
    from tqdm import tqdm

    every = -(-len(X) // 200)
    with _cluster(options.workers) as client, tqdm(total=epochs, unit="epoch") as bar:

        def show(epoch: int, history: History) -> None:
            accuracy = nn.accuracy(_scores(model, X[::every]), y[::every])
            bar.set_postfix(loss=f"{history.loss[-1]:.4f}", accuracy=f"{accuracy:.1%}", refresh=False)
            bar.update(epoch - bar.n)

        how |= {"epochs": epochs, "seed": options.seed, "client": client}
        return fit(loss, opt, X, y, callback=show, progress=False, **how)


@contextmanager
def _cluster(workers: int | None) -> Iterator[Client | None]:
    """So many processes of this machine, as a Dask cluster would have them on many."""
    if workers is None:
        yield None
        return
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        print(f"{workers} worker processes compute the gradients")
        yield client


def _scores(model: nn.MLP, X: Sequence[list[float]]) -> list[Any]:
    """What the model says of every point: compiled where that is possible, else scalar by scalar."""
    if importlib.util.find_spec("numpy"):
        return list(jit(model).batch(X).tolist())
    with no_grad():
        return [model(x) for x in X]


def _report(
    model: nn.MLP, history: History, accuracy: float, guessing: Guessing, options: argparse.Namespace, out: Path
) -> None:
    print(f"held-out accuracy {accuracy:.1%} after {history.steps} steps in {history.seconds:.1f} s")
    if accuracy < 1.3 * guessing.accuracy:
        print(f"It has learned nothing: guessing gives {guessing.accuracy:.0%}. {_advice(options)}")
    elif history.loss[-1] > guessing.loss:
        print(f"A loss of {history.loss[-1]:.3g} is more than guessing has ({guessing.loss:.3g}). {_advice(options)}")
    plot.history(history)
    _save_figure(out / "loss.png", "training loss, epoch by epoch")
    save(model, out / "model.safetensors")
    print(f"wrote {out / 'model.safetensors'}")


def _confusion(y: Sequence[int], guesses: Sequence[int], out: Path) -> None:
    from sklearn.metrics import ConfusionMatrixDisplay

    display = ConfusionMatrixDisplay.from_predictions(y, guesses, cmap="Blues", colorbar=False)
    display.ax_.set(xlabel="read as", ylabel="written")
    _save_figure(out / "confusion.png", "how often each digit was read as which")


def _farewell(made: str, out: Path) -> None:
    path = str(out / "model.safetensors")
    print(
        f"\nTo go on in Python:\n"
        f"  from tinygrad_lite import draw_dot, load, nn\n"
        f"  model = {made}\n"
        f"  load(model, {path!r})\n"
        f"The notebooks explain each step, 01_values_and_graphs.ipynb first."
    )


def _save_figure(path: Path, title: str) -> None:
    """Writes the figure drawn last, and closes it."""
    from matplotlib import pyplot

    pyplot.suptitle(title, fontsize=11)
    pyplot.savefig(path, dpi=130)
    pyplot.close()
    print(f"wrote {path}")


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _folder(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected the name of a folder, got an empty text")
    return text


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
