"""The command line, as a newcomer would type it."""

import importlib.util
import re
import subprocess
import sys
import textwrap

import pytest

import tinygrad_lite
from tinygrad_lite import load, nn
from tinygrad_lite.__main__ import main

pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")
PNG = b"\x89PNG\r\n\x1a\n"


def test_demo_moons_trains_and_writes_pictures_and_a_model_that_loads(tmp_path, capsys):
    assert (
        main(["demo", "moons", "--epochs", "3", "--lr", "0.1", "--seed", "5", "--out", str(tmp_path / "new" / "out")])
        == 0
    )
    out = capsys.readouterr()
    assert "337" in out.out
    assert re.search(r"held-out accuracy \d+\.\d% after 3 steps in \d+\.\d s", out.out)
    assert "loss=" in out.err
    assert "accuracy=" in out.err
    files = {p.name for p in (tmp_path / "new" / "out").iterdir()}
    assert files == {"decision_boundary.png", "loss.png", "model.safetensors", "network.png"}
    assert (tmp_path / "new/out/loss.png").read_bytes().startswith(PNG)
    load(nn.MLP(2, [16, 16, 1]), tmp_path / "new/out/model.safetensors")


@pytest.mark.long
def test_demo_digits_writes_the_misread_ones(tmp_path, capsys):
    assert main(["demo", "digits", "--epochs", "1", "--out", str(tmp_path)]) == 0
    accuracy = float(re.search(r"held-out accuracy (\d+\.\d)%", capsys.readouterr().out)[1])
    assert accuracy > 85
    pictures = {"confusion.png", "loss.png", "misread.png", "network.png"}
    assert {p.name for p in tmp_path.iterdir()} == pictures | {"model.safetensors"}


@pytest.mark.long
def test_the_same_seed_gives_the_same_model(tmp_path):
    for name in "a", "b":
        assert main(["demo", "moons", "--epochs", "2", "--seed", "3", "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert main(["demo", "moons", "--epochs", "2", "--seed", "4", "--out", str(tmp_path / "c")]) == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() != (tmp_path / "c/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "cats"], "invalid choice: 'cats'"),
        (["demo"], "required: digits|moons"),
        (["demo", "moons", "--out", ""], "expected the name of a folder, got an empty text"),
        ([], "required: demo"),
        (["demo", "moons", "--epochs", "0"], "expected a whole number of at least 1, got '0'"),
        (["demo", "moons", "--epochs", "many"], "expected a whole number of at least 1, got 'many'"),
        (["demo", "moons", "--lr", "-1"], "expected a number above 0, got '-1'"),
        (["demo", "moons", "--lr", "nan"], "expected a number above 0, got 'nan'"),
        (["demo", "moons", "--speed", "9"], "unrecognized arguments"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert message in error


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_2(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", "moons", "--out", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_learning_rate_that_is_too_high_is_one_line_and_exit_1(tmp_path, capsys):
    assert main(["demo", "moons", "--lr", "1e200", "--epochs", "5", "--out", str(tmp_path)]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "training failed" in last and "The learning rate 1e+200 is too large: try --lr 0.4" in last
    assert "anomaly" not in last


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("what", "lr", "said"),
    [
        ("digits", "50", "It has learned nothing: guessing gives 10%. The learning rate 50 is too large: try --lr 0.2"),
        ("digits", "1e9", "is more than guessing has (2.3). The learning rate 1e+09 is too large"),
        (
            "moons",
            "1e-9",
            "It has learned nothing: guessing gives 50%. The learning rate 1e-09 is too small: try --lr 0.4",
        ),
    ],
)
def test_a_training_that_learns_nothing_says_so(what, lr, said, tmp_path, capsys):
    assert main(["demo", what, "--lr", lr, "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert said in capsys.readouterr().out


@pytest.mark.long
def test_a_demo_that_learns_complains_of_nothing_and_says_how_to_go_on(tmp_path, capsys):
    assert main(["demo", "moons", "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "guessing" not in out
    program = out[out.index("  from tinygrad_lite") : out.index("The notebooks")]
    names = {}
    exec(textwrap.dedent(program), names)
    assert names["model"].layers[0].neurons[0].w[0].data != 0.0


def test_without_matplotlib_the_message_names_the_extra_and_no_folder_is_left(tmp_path, capsys, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    assert main(["demo", "moons", "--out", str(tmp_path / "new")]) == 1
    assert capsys.readouterr().err == (
        "tinygrad_lite demo: the demo needs matplotlib: pip install 'tinygrad_lite[demo]'\n"
    )
    assert not (tmp_path / "new").exists()


@pytest.mark.long
def test_workers_train_the_same_model(tmp_path, capsys):
    pytest.importorskip("distributed", reason="needs the extra dask")
    assert main(["demo", "moons", "--epochs", "3", "--workers", "2", "--out", str(tmp_path)]) == 0
    assert "2 worker processes compute the gradients" in capsys.readouterr().out


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"tinygrad_lite {tinygrad_lite.__version__}\n"


def test_help_is_for_a_newcomer():
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lite", "demo", "--help"], capture_output=True, text=True, check=True
    )
    for word in "digits", "moons", "--epochs", "--lr", "--seed", "--out", "learning rate", "default":
        assert word in done.stdout
