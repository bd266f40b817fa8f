"""The course keeps its promises: every lecture item has its cell, every exercise its solution."""

import ast
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebooks`")
pytest.importorskip("nbclient", reason="notebooks need the extra `notebooks`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebooks`")

from .test_notebooks import FOLDER, execute  # noqa: E402

NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted(FOLDER.glob("*.ipynb"))}
README = (FOLDER / "README.md").read_text(encoding="utf-8")
LECTURES = ("000", "001", "002", "003", "004")
MARK = re.compile(r"^# lecture (\d{3}): (.+?)\s*$", flags=re.M)
ROW = re.compile(r"^\| (\d{3}) \| (.+?) \| .* \| \[(\w+), cell (\d+)\]\((\w+)\.ipynb\) \|$", flags=re.M)


def rows():
    """(lecture, item, notebook, number of the cell) of the table."""
    return [(lecture, item, name, int(cell)) for lecture, item, name, cell, _ in ROW.findall(README)]


def marks():
    """The same, as the notebooks' cells say it."""
    return [
        (lecture, item, name, number)
        for name, notebook in NOTEBOOKS.items()
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "code"
        for lecture, item in MARK.findall(cell.source)
    ]


def tagged(notebook, tag):
    return [number for number, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", ())]


def solutions(cell):
    return re.findall(r"```python\n(.*?)```", cell.source, flags=re.S)


def test_the_table_and_the_cells_name_the_same_items():
    table = rows()
    assert len(table) == README.count("\n| 0")  # no row that the pattern passes over
    assert sorted(table) == sorted(marks())
    assert {lecture for lecture, *_ in table} == set(LECTURES)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_readme_shows_a_picture_of_each_notebook(name):
    suffix, picture = execute.cover(NOTEBOOKS[name])
    assert (FOLDER / "pictures" / f"{name}{suffix}").read_bytes() == picture
    assert f'src="notebooks/pictures/{name}{suffix}"' in (FOLDER.parent / "README.md").read_text(encoding="utf-8")


def test_links_of_the_table_lead_to_the_notebook_they_name():
    for _, _, name, _, target in ROW.findall(README):
        assert name == target and (FOLDER / f"{target}.ipynb").is_file()


@pytest.mark.parametrize(("lecture", "item", "name", "cell"), marks())
def test_a_lecture_item_is_decided_by_an_assertion(lecture, item, name, cell):
    tree = ast.parse(NOTEBOOKS[name].cells[cell - 1].source)
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree)), f"lecture {lecture}: {item}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_has_four_exercises_with_a_solution_folded_below(name):
    notebook = NOTEBOOKS[name]
    exercises = tagged(notebook, "exercise")
    assert len(exercises) >= 4
    for number in exercises:
        below = notebook.cells[number + 1]
        assert "solution" in below.metadata.tags and below.cell_type == "markdown"
        assert below.source.startswith("<details>") and below.source.rstrip().endswith("</details>")
        assert len(solutions(below)) == 1


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_unanswered_exercise_says_so_and_fails_nothing(name):
    for number in tagged(NOTEBOOKS[name], "exercise"):
        cell = NOTEBOOKS[name].cells[number]
        assert "..." in cell.source
        said = "".join(out.get("text", "") + str(out.get("data", {}).get("text/plain", "")) for out in cell.outputs)
        assert "not answered yet" in said.lower(), f"{name}, cell {number + 1} says {said!r}"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_solution_is_right(name, tmp_path):
    notebook = nbformat.from_dict(NOTEBOOKS[name])
    exercises = tagged(notebook, "exercise")
    for number in exercises:
        (notebook.cells[number].source,) = solutions(notebook.cells[number + 1])
    twin = tmp_path / f"{name}.ipynb"
    twin.write_text(execute.text(notebook), encoding="utf-8")
    solved = execute.run(twin)
    for number in exercises:
        out = solved.cells[number].outputs
        said = "".join(o.get("text", "") + str(o.get("data", {}).get("text/plain", "")) for o in out).lower()
        assert "right" in said and "not answered" not in said, f"{name}, cell {number + 1} says {said!r}"
