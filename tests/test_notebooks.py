"""The form of the committed notebooks, and the script that executes them. What they print: test_course.py."""

import importlib.util
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebooks`")
pytest.importorskip("nbclient", reason="notebooks need the extra `notebooks`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebooks`")

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _load_execute():
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


execute = _load_execute()


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def errors(notebook):
    return [out for cell in code_cells(notebook) for out in cell.outputs if out.output_type == "error"]


def written(folder, *cells, name="small.ipynb"):
    """The path of a new notebook, of code cells with these sources; (source, tag) for a tagged one."""
    notebook = nbformat.v4.new_notebook()
    for cell in cells:
        source, *tags = [cell] if isinstance(cell, str) else cell
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata={"tags": tags} if tags else {}))
    path = folder / name
    path.write_text(execute.text(notebook), encoding="utf-8")
    return path


def test_there_are_notebooks():
    assert "01_values_and_graphs" in [path.stem for path in NOTEBOOKS]


@each_notebook
def test_a_committed_notebook_was_executed_from_top_to_bottom_without_error(path):
    committed = nbformat.read(path, as_version=4)
    counts = [cell.execution_count for cell in code_cells(committed)]
    assert counts == list(range(1, len(counts) + 1))
    assert not errors(committed)


@each_notebook
def test_a_committed_notebook_is_in_normal_form(path):
    committed = nbformat.read(path, as_version=4)
    assert execute.text(execute.normalised(committed)).encode() == path.read_bytes()


@each_notebook
def test_a_committed_notebook_is_small(path):
    assert path.stat().st_size < 1_500_000


@each_notebook
def test_a_committed_notebook_says_what_it_was_executed_with(path):
    assert "matplotlib" in nbformat.read(path, as_version=4).metadata.executed_with


# --- the script that executes them


@pytest.mark.long
def test_a_second_run_writes_the_same_bytes(tmp_path, capsys):
    path = written(
        tmp_path,
        "import shutil\nassert shutil.which('dot') is None\nprint({'a', 'b', 'c'})",
        "import os\nfor i in range(3):\n    print(i, flush=True)\nobject()",
        "from matplotlib import pyplot as plt\nplt.plot([1, 3, 2]);",
        "from tinygrad_lite import Value, draw_dot\ndraw_dot((Value(2.0, 'x') * 3).exp())",
    )
    assert execute.main([str(path)]) == 0
    once = path.read_bytes()
    assert execute.main([str(path)]) == 0
    assert path.read_bytes() == once
    assert execute.main(["--check", str(path)]) == 0
    assert "as committed" in capsys.readouterr().out
    kinds = [set(out.get("data", ())) for cell in nbformat.read(path, as_version=4).cells for out in cell.outputs]
    assert {"image/png", "text/plain"} in kinds and {"text/html", "text/plain"} in kinds


@pytest.mark.long
def test_check_sees_a_changed_output_and_writes_nothing_except_where_volatile(tmp_path, capsys):
    path = written(tmp_path, "print(1)", ("import time\nprint(time.time_ns())", "volatile"))
    assert execute.main([str(path)]) == 0
    assert execute.main(["--check", str(path)]) == 0
    changed = path.read_text(encoding="utf-8").replace('"1\\n"', '"2\\n"').replace("numpy ", "numpy 0.")
    path.write_text(changed, encoding="utf-8")
    assert execute.main(["--check", str(path)]) == 1
    said = capsys.readouterr().out
    assert "small.ipynb: outputs differ in cells [1]" in said
    assert f"executed with  {execute.executed_with()}" in said  # where other versions may be the reason
    assert path.read_text(encoding="utf-8") == changed


@pytest.mark.long
def test_a_failing_cell_is_named_and_the_file_stays_as_it_was(tmp_path, capsys):
    path = written(tmp_path, "x = 0", "1 / x", "print('not reached')")
    before = path.read_bytes()
    assert execute.main([str(path)]) == 1
    assert "small.ipynb, cell 2 of 3: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["small.ipynb"]


@pytest.mark.long
def test_a_training_warning_that_was_not_provoked_on_purpose_fails_the_cell(tmp_path, capsys):
    mistake = "opt = optim.SGD([Value(1.0)], 0.1)\nopt.step()"
    path = written(tmp_path, "from tinygrad_lite import Value, optim", mistake)
    assert execute.main([str(path)]) == 1
    assert "small.ipynb, cell 2 of 2: TrainingWarning: no backward pass" in capsys.readouterr().err
    on_purpose = (
        "import warnings\nwith warnings.catch_warnings(record=True):\n    warnings.simplefilter('always')\n    "
    )
    path = written(
        tmp_path, "from tinygrad_lite import Value, optim", on_purpose + "optim.SGD([Value(1.0)], 0.1).step()"
    )
    assert execute.main([str(path)]) == 0


def test_an_unknown_name_lists_the_notebooks_there_are(capsys):
    with pytest.raises(SystemExit):
        execute.main(["no_such_notebook"])
    assert "no notebook 'no_such_notebook'; here are 01_values_and_graphs" in capsys.readouterr().err
