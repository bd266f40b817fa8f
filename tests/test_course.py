"""The course keeps its promises: every lecture item has its cell, what is committed comes out of a fresh kernel,
and every exercise knows a right answer from a wrong one."""

import ast
import re

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebooks`")
nbclient = pytest.importorskip("nbclient", reason="notebooks need the extra `notebooks`")
pytest.importorskip("ipykernel", reason="notebooks need the extra `notebooks`")

from .test_notebooks import FOLDER, errors, execute  # noqa: E402

NOTEBOOKS = {path.stem: nbformat.read(path, as_version=4) for path in sorted(FOLDER.glob("*.ipynb"))}
README = (FOLDER / "README.md").read_text(encoding="utf-8")
LECTURES = ("000", "001", "002", "003", "004")
MARK = re.compile(r"^# lecture (\d{3}): (.+?)\s*$", flags=re.M)
ROW = re.compile(r"^\| (\d{3}) \| (.+?) \| .* \| \[(\w+), cell (\d+)\]\((\w+)\.ipynb\) \|$", flags=re.M)

# a typical wrong answer to each exercise: what stands in the solution, what the reader writes instead, what is said
WRONG = {
    "01_values_and_graphs": [
        ("a=-24", "a=24", "the size is right, and the sign is wrong"),
        ("a=21", "a=15", "the share through q = a + b is missing"),
        ("a.grad += 1 /", "a.grad = 1 /", "assigned instead of accumulated, for a"),
        ("self.grad += other.data * out.grad", "self.grad += other.data", "the next idea: the upstream gradient"),
        ("-2.0 * x * out", "-2.0 * x", "wrong derivative, for x"),
    ],
    "02_from_perceptron_to_mlp": [
        ("-1.5", "-0.5", "at [(0, 0), (0, 1), (1, 0), (1, 1)] it says [0, 1, 1, 1]"),
        ("w2=0.75", "w2=0.25", "this is the upstream gradient"),
        ("10, 64, 650", "64, 10, 640", "look again at rows and columns and parameters"),
        ("4, 3, -1", "4, 3, -4", "look at (x1, x2) = (0, 0)"),
        ("1 / (1 + abs(z)) ** 2", "1 / (1 + z) ** 2", "wrong for negative numbers"),
        ("math.sqrt(0.99)", "0.99", "the slope there is 0.0199"),
        ("math.log(2)", "2.0", "these give [0.787, 0.107, 0.107]"),
    ],
    "03_representing_functions": [
        ("-2000, 8000", "2000, -8000", "its sign is the direction"),
        ("W10=0", "W10=1.25", "w10 = 1.25 not right yet"),
        ("-0.5", "-1.5", "it fails where the units say [1, 0, 0]"),
        ("-1 - 5", "-1", "at x = 10 it is 4.00, but should be -1"),
        ("319", "320", "find the smallest n"),
        ("20, 1023", "10, 1024", "each fold doubles the pieces"),
    ],
    "04_backpropagation": [
        ("z2=0.36", "z2=0.18", "the rule: for x**n it is n * x**(n - 1)"),
        ("eta = 0.2", "eta = 0.05", "you move by"),
        ("1 / 3", "0.5", "|delta| can be larger"),
        ("g * v * (1 - v)", "g * (1 - v * v)", "not quite: gradients of the weights"),
        ("2 * 1e6", "1e6", "two forward passes for each parameter"),
        ("3162", "1000", "1000 gives p = 100,000,000"),
    ],
    "05_gradient_descent": [
        ("-1.0, 1.0", "1.0, 3.0", "where does the graph have a hump?"),
        ("-1, -1", "1, 1", "the size is right, and the sign is wrong"),
        ("(10, 784)", "(784, 10)", "how long is a row?"),
        ("2 / 6", "1 / 6", "a little above it, descent still converges"),
        ("math.ceil(math.log(1e-6) / math.log(0.9))", "131", "the error can still be larger"),
        ('"saddle"', '"minimum"', "what is f at (0.1, -0.1)"),
    ],
    "06_sgd_and_momentum": [
        ("math.exp(-2)", "math.exp(-1)", "what is the chance of that?"),
        ("(3 / 0.1) ** 2", "3 / 0.1", "solve 3 / sqrt(n') = 0.1"),
        ("range(60)", "range(1, 60)", "add the step sizes"),
        ("0.75**2", "0.75", "a factor is missing"),
        ("0.95**k", "0.05**k", "add gamma (1 - gamma)^k"),
    ],
    "07_classification": [
        ("4 / 3", "1 / 0.6", "which example does it meet first?"),
        ("-3, 1, -1", "3, -1, 1", "the size is right, and the sign is wrong"),
        ("1 / 3, 1 / 3, -2 / 3", "1 / 3, 1 / 3, 1 / 3", "the share through pick(2, z0, z1, z2) is missing"),
        ("math.exp(z - max(zs))", "math.exp(z)", "for [1000.0, 1001.0] it fails"),
        ("confusion[i][8]", "confusion[8][i]", "is a column of the matrix"),
    ],
    "08_when_training_goes_wrong": [
        ("dw = dz * 2.0", "dw = dz", "this is the upstream gradient, d root / d z, alone"),
        ("math.ceil(math.log(0.001) / math.log(0.7))", "19", "0.7 to the power 19 is 0.0011"),
        ("1 / (0.5 * math.sqrt(400))", "1 / math.sqrt(400)", "would be 0.25"),
        ("1.0 if x > 0 else 0.1", "1.0 if x > 0 else 0.0", "wrong for negative numbers"),
        ("(9 - center) /", "9 /", "subtract the mean"),
        ("8, 5", "8, 8", "note the best so far"),
        ("        w.zero_grad()  # else the gradients add up\n", "", "w ends at"),
    ],
    "09_from_graph_to_machine_code": [
        ("left = 4", "left = 5", "cross out what was there before"),
        ("180, 2", "179, 6", "the last vector need not be full"),
        ("256", "128", "times what one of them does in a lane"),
        ("abs(e) - 0.5", "abs(e)", "for -3.0 the value is 3.0"),
    ],
}


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


def exercises(notebook):
    return [number for number, cell in enumerate(notebook.cells) if "exercise" in cell.metadata.get("tags", ())]


def solutions(cell):
    return re.findall(r"```python\n(.*?)```", cell.source, flags=re.S)


def told(outputs):
    """What a cell says to the reader, in lower case, in one line."""
    said = "".join(out.get("text", "") + str(out.get("data", {}).get("text/plain", "")) for out in outputs)
    return " ".join(said.lower().split())


def is_right(said):
    """Is the whole answer right? Not "right so far", nor "right" for a part of it."""
    return re.search(r"(^|\. )right(:|,|$)|all \d+ are right\.$", said) is not None


def answering(answers):
    """A client that runs answers to an exercise right after it and then puts the notebook's names back.
    answers: number of the exercise -> sources; each is replaced by what the reader is told."""

    class Answering(nbclient.NotebookClient):
        async def async_execute_cell(self, cell, cell_index, **options):
            executed, count = await super().async_execute_cell(cell, cell_index, **options), self.code_cells_executed
            for i, source in enumerate(answers.get(cell_index, ())):
                answer = nbformat.v4.new_code_cell("__import__('builtins').kept = dict(globals())\n" + source)
                await super().async_execute_cell(answer, cell_index, store_history=False)
                answers[cell_index][i] = told(answer.outputs)
                back = nbformat.v4.new_code_cell("(lambda names: [names.clear(), names.update(kept)])(globals());")
                await super().async_execute_cell(back, cell_index, store_history=False)
            self.nb.cells[cell_index], self.code_cells_executed = executed, count
            return executed

    return Answering


@pytest.fixture(scope="module", params=NOTEBOOKS)
def run(request):
    """(name, the notebook after a run, {number of an exercise: what is said to the solution and to a wrong answer})"""
    name, notebook, answers = request.param, NOTEBOOKS[request.param], {}
    for number, (right, wrong, _) in zip(exercises(notebook), WRONG[name], strict=True):
        (solution,) = solutions(notebook.cells[number + 1])
        assert right in solution, (name, right)
        answers[number] = [solution, solution.replace(right, wrong, 1)]
    return name, execute.run(FOLDER / f"{name}.ipynb", answering(answers)), answers


@pytest.mark.long
def test_a_notebook_runs_from_a_fresh_kernel(run):
    _, executed, _ = run
    assert not errors(executed)


@pytest.mark.long
def test_what_is_committed_is_what_a_fresh_kernel_prints(run):
    name, executed, _ = run
    with_what = NOTEBOOKS[name].metadata.get("executed_with")
    if executed.metadata.executed_with != with_what:
        pytest.skip(f"last digits and pixels may differ here: committed with {with_what}")
    assert execute.changed_cells(NOTEBOOKS[name], executed) == []


@pytest.mark.long
def test_every_solution_is_right(run):
    name, _, answers = run
    for number, (said, _) in answers.items():
        assert is_right(said), f"{name}, cell {number + 1} says {said!r}"


@pytest.mark.long
def test_a_typical_wrong_answer_is_told_what_is_wrong(run):
    name, _, answers = run
    for (number, (_, said)), (_, wrong, expected) in zip(answers.items(), WRONG[name], strict=True):
        assert expected in said and not is_right(said), f"{name}, cell {number + 1} says to {wrong!r}: {said!r}"


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
    assert len(exercises(notebook)) >= 4
    for number in exercises(notebook):
        below = notebook.cells[number + 1]
        assert "solution" in below.metadata.tags and below.cell_type == "markdown"
        assert below.source.startswith("<details>") and below.source.rstrip().endswith("</details>")
        assert len(solutions(below)) == 1


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_an_unanswered_exercise_says_so_and_fails_nothing(name):
    for number in exercises(NOTEBOOKS[name]):
        cell = NOTEBOOKS[name].cells[number]
        assert "..." in cell.source
        assert "not answered yet" in told(cell.outputs), f"{name}, cell {number + 1}"
