"""Every input that is kept, through every target, without Atheris; and the targets object to what is wrong."""

from pathlib import Path
from xml.etree.ElementTree import ParseError

import numpy as np
import pytest
import safetensors.numpy

from tinygrad_lite import notation
from tinygrad_lite.draw import dot, svg

from . import targets
from .fuzz import NAMES

pytestmark = pytest.mark.sample(30)

CORPUS = sorted(path for path in (Path(__file__).parent / "corpus").rglob("*") if path.is_file())


def call(name, data):
    if name == "dot":
        pytest.importorskip("pydot")
    targets.TARGETS[name](data)


# pydot takes a tenth of a second for a graph: it reads those that were kept for it
PAIRS = [(name, path) for name in targets.TARGETS for path in CORPUS if name != "dot" or path.parent.name == "dot"]


@pytest.mark.parametrize(("name", "path"), PAIRS, ids=[f"{name}-{p.parent.name}-{p.name[:8]}" for name, p in PAIRS])
def test_every_kept_input_passes_every_target(name, path):
    call(name, path.read_bytes())


def unescaped(text, quote=True):
    return text


# one leaf 1.0 with the label <b>x</b>; before it rankdir and fold, and for draw_dot expand and edges
LABEL = bytes([0, 2, 69])
OPTIONS = bytes([0, 1])


@pytest.mark.parametrize(
    ("name", "data", "module", "function"),
    [
        ("dot", OPTIONS + bytes(2) + LABEL, dot, "_escaped"),
        ("svg", OPTIONS + bytes(2) + LABEL, svg.ElementTree, "_escape_cdata"),
        ("player", OPTIONS + LABEL, svg.ElementTree, "_escape_cdata"),
        ("explain", LABEL, notation, "escaped"),
    ],
)
def test_a_target_objects_to_a_label_that_is_not_escaped(name, data, module, function, monkeypatch):
    call(name, data)
    monkeypatch.setattr(module, function, unescaped)
    with pytest.raises((AssertionError, ParseError)):
        call(name, data)


@pytest.mark.parametrize(("factor", "error"), [(2.0, AssertionError), ("no number", TypeError)])
def test_the_target_objects_to_numbers_that_are_not_those_in_the_file(factor, error, monkeypatch):
    data = safetensors.numpy.save({"w": np.array([1.0]), "b": np.array(2.0)})
    load_model = targets.load_model

    def wrong(model, path):
        load_model(model, path)
        model.b.data *= factor

    call("load", data)
    monkeypatch.setattr(targets, "load_model", wrong)
    with pytest.raises(error):
        call("load", data)


def test_the_command_knows_every_target():
    assert list(NAMES) == list(targets.TARGETS)
