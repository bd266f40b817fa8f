"""Every notebook's code, cell by cell, in this process: without Jupyter, and in half of the time of test_course.py."""

import ast
import json
import linecache
import shutil
import warnings
from pathlib import Path

import pytest

from tinygrad_lite import TrainingWarning

FOLDER = Path(__file__).parent.parent / "notebooks"


def shown(value):
    """What a notebook would ask of a cell's last value, in order to show it."""
    return value._repr_mimebundle_() if hasattr(value, "_repr_mimebundle_") else repr(value)


def run(name, source, names):
    """One cell. Its lines can be looked up, as in a notebook."""
    linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
    tree = ast.parse(source, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), names)
    if last is not None and (value := eval(compile(ast.Expression(last.value), name, "eval"), names)) is not None:
        assert source.rstrip().endswith(";") or shown(value)


@pytest.mark.sample(2)
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_cell_of_a_notebook_runs_and_what_it_claims_holds(path, monkeypatch):
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="notebooks need the extra `demo`")
    pytest.importorskip("sklearn", reason="notebooks need the extra `demo`")
    pytest.importorskip("llvmlite", reason="notebooks need the extra `jit`")
    monkeypatch.chdir(FOLDER)
    monkeypatch.setattr(shutil, "which", lambda program: None)  # as committed: our own layout
    names = {"__name__": "__main__"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", TrainingWarning)
        for number, cell in enumerate(json.loads(path.read_text(encoding="utf-8"))["cells"], start=1):
            if cell["cell_type"] == "code" and "volatile" not in cell["metadata"].get("tags", ()):  # it measures time
                run(f"{path.stem}, cell {number}", "".join(cell["source"]), names)
                pyplot.close("all")


def test_a_cell_that_claims_what_does_not_hold_fails():
    names = {}
    run("right", "x = 1\nassert x == 1\nx", names)
    assert names["x"] == 1
    with pytest.raises(AssertionError):
        run("wrong", "assert x == 2", names)
    with pytest.raises(ZeroDivisionError):
        run("a last value that cannot be shown", "x / 0", names)
