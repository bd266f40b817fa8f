"""The course as a reader sees it who has just cloned it: in JupyterLab, not trusted, from top to bottom."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="notebooks need the extra `notebooks`")

NOTEBOOKS = {
    path.stem: nbformat.read(path, as_version=4)
    for path in sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
}
PATIENCE = 60_000  # ms until what must be there counts as missing

# Of each cell: pictures and formulas still to come, pictures and formulas that failed, outputs without height,
# outputs. cells: how many outputs each has, and whether it has formulas; the page gets the time to show them.
# walk: from cell to cell by arrow key.
LOOK = """async ([cells, walk, patience]) => {
    const state = (cell, formulas) => {
        const pictures = [...cell.querySelectorAll('img')];
        const outputs = [...cell.querySelectorAll('.jp-OutputArea-output')];
        return {
            loading: pictures.filter(x => !x.complete).length + cell.querySelectorAll('.jp-mod-rendering').length
                + (formulas && !cell.querySelector('mjx-container') ? 1 : 0),
            broken: pictures.filter(x => x.complete && !x.naturalWidth).length
                + cell.querySelectorAll('mjx-merror, mtext[mathcolor="red"]').length,  // the second: an unknown command
            blank: outputs.filter(x => !x.getBoundingClientRect().height).length,
            shown: outputs.length,
        };
    };
    const states = [];
    for (const [index, [count, formulas]] of cells.entries()) {
        const place = `${walk ? '.jp-mod-active' : ''}[data-windowed-list-index="${index}"]`;
        const deadline = Date.now() + patience;
        let now;
        do {
            if (now) await new Promise(requestAnimationFrame);
            const cell = document.querySelector('.jp-Notebook .jp-Cell' + place);
            now = cell ? state(cell, formulas) : {};
        } while (Date.now() < deadline && !(now.loading === 0 && now.shown >= count));
        states.push(now);
        const down = {key: 'ArrowDown', keyCode: 40, bubbles: true, cancelable: true};
        if (walk) document.activeElement.dispatchEvent(new KeyboardEvent('keydown', down));
    }
    return states;
}"""


def has_formulas(cell):
    """In what a reader sees of it as text, not as code."""
    texts = [out.get("data", {}).get("text/markdown", "") for out in cell.get("outputs", ())]
    texts += [cell.source] if cell.cell_type == "markdown" else []
    return any("$" in re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.S) for text in texts)


def look(lab, tab, name, windowing, walk):
    """Opens a notebook; every cell must be whole. windowing: JupyterLab's windowingMode, what it keeps in the page."""
    settings = lab.notebooks.parent / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "tracker.jupyterlab-settings").write_text(f'{{"windowingMode": "{windowing}"}}')
    (lab.notebooks / f"{name}.ipynb").write_text(nbformat.writes(NOTEBOOKS[name]), encoding="utf-8")
    one = lab.open(tab, name)
    one.page.locator(".jp-Notebook .jp-Cell").first.click()
    one.page.keyboard.press("Escape")
    cells = [(len(cell.get("outputs", ())), has_formulas(cell)) for cell in NOTEBOOKS[name].cells]
    for number, (state, (count, _)) in enumerate(zip(one.page.evaluate(LOOK, [cells, walk, PATIENCE]), cells), start=1):
        assert state == {"loading": 0, "broken": 0, "blank": 0, "shown": count}, f"cell {number}"
    assert sorted(set(one.errors) - set(lab.usual_errors)) == []


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_output_of_a_notebook_is_blank_or_broken(lab, tab, name):
    look(lab, tab, name, windowing="none", walk=False)


@pytest.mark.long
def test_whoever_goes_down_a_notebook_by_arrow_key_meets_every_output(lab, tab):
    shortest = min(NOTEBOOKS, key=lambda name: len(NOTEBOOKS[name].cells))
    look(lab, tab, shortest, windowing="full", walk=True)  # the default: only what is on the screen is in the page
