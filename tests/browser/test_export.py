"""An exported ES module in a real browser: as Python computes it."""

import json

import pytest

from tinygrad_lite import export, nn

SCRIPT = """<!DOCTYPE html><meta charset="utf-8"><p id="out"></p><script type="module">
const text = {code}, blob = new Blob([text], {{type: "text/javascript"}});
const {{ net }} = await import(URL.createObjectURL(blob));
document.getElementById("out").textContent = JSON.stringify({points}.map(x => [...net(x)]));
</script>"""


def test_a_page_computes_value_and_gradient_as_python_does(tab, tmp_path):
    model = nn.MLP(3, [8, 4], activation="gelu", seed=0)

    def loss(x, k):
        return nn.cross_entropy(model(x), k)

    source = export.javascript(loss, [0.0] * 3, 0, gradient=True, name="net")
    points = [[0.5, -1.0, 2.0, 1.0], [-0.25, 0.125, 3.0, 3.0]]
    page = tmp_path / "page.html"
    page.write_text(SCRIPT.format(code=json.dumps(source), points=json.dumps(points)), encoding="utf-8")
    one = tab(page.as_uri())
    one.page.goto(page.as_uri())
    one.page.wait_for_function("document.getElementById('out').textContent")
    for point, found in zip(points, json.loads(one.page.locator("#out").text_content()), strict=True):
        model.zero_grad()
        out = loss(point[:3], int(point[3]))
        out.backward()
        assert found == pytest.approx([out.data, *[p.grad for p in source.parameters]], rel=1e-12, abs=1e-13)
    assert one.errors == []
