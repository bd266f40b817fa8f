"""The course as a reader sees it who has just cloned it: in JupyterLab, not trusted, from top to bottom."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"

# of the cell that is selected: pictures still loading, pictures and formulas that failed, outputs without height
STATE = """() => {
    const cell = document.querySelector('.jp-Notebook .jp-Cell.jp-mod-active');
    const pictures = [...cell.querySelectorAll('img')];
    const outputs = [...cell.querySelectorAll('.jp-OutputArea-output')];
    return {
        loading: pictures.filter(x => !x.complete).length + cell.querySelectorAll('.jp-mod-rendering').length,
        broken: pictures.filter(x => x.complete && !x.naturalWidth).length
            + cell.querySelectorAll('mjx-merror, .katex-error').length,
        blank: outputs.filter(x => !x.getBoundingClientRect().height).length,
        shown: outputs.length,
    };
}"""


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_output_of_a_notebook_is_blank_or_broken(lab, tab, path):
    nbformat = pytest.importorskip("nbformat")
    cells = nbformat.read(path, as_version=4).cells
    (lab.notebooks / path.name).write_bytes(path.read_bytes())
    one = lab.open(tab, path.stem)
    one.page.locator(".jp-Notebook .jp-Cell").first.click()
    one.page.keyboard.press("Escape")
    for number, cell in enumerate(cells, start=1):
        active = one.page.locator(f'.jp-Notebook .jp-Cell.jp-mod-active[data-windowed-list-index="{number - 1}"]')
        active.wait_for()
        one.page.wait_for_function(f"() => !({STATE})().loading")
        state = one.page.evaluate(STATE)
        assert not state["broken"] and not state["blank"], f"cell {number}: {state}"
        if cell.cell_type == "code":
            assert state["shown"] == len(cell.outputs), f"cell {number}: {state}"
        one.page.keyboard.press("ArrowDown")
    assert sorted(set(one.errors) - set(lab.usual_errors)) == []
