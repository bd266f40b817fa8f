"""What the committed notebooks show, in a page of its own: without JupyterLab, which test_notebooks.py opens."""

import html
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


def shown(output):
    """An output as HTML, of its richest kind as a browser would choose it."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        return f'<img src="data:image/png;base64,{data["image/png"]}">'
    return f"<pre>{html.escape(data.get('text/plain') or ''.join(output['text']))}</pre>"


@pytest.mark.sample(1)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_blank_or_broken_and_nothing_is_asked_of_a_network(path, tab, tmp_path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    outputs = [shown(output) for cell in cells for output in cell.get("outputs", ())]
    page = tmp_path / "outputs.html"
    page.write_text("<!DOCTYPE html>" + "".join(f"<div class='out'>{out}</div>" for out in outputs), encoding="utf-8")
    one = tab(page.as_uri())
    one.page.goto(page.as_uri())
    one.page.wait_for_load_state()
    assert one.page.locator(".out").count() == len(outputs) > 10
    heights = one.page.locator(".out").evaluate_all("outs => outs.map(out => out.getBoundingClientRect().height)")
    assert min(heights) > 0
    widths = one.page.locator("img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) > 2 and min(widths) > 0
    assert one.errors == []
