"""The README is a tested document: every block runs, every printed number holds."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from tinygrad_lite.__main__ import main
from tinygrad_lite.draw.layout import svg

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_python_blocks_run_in_order_and_print_what_their_comments_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    assert len(blocks("python")) >= 6
    for block in blocks("python"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(block, "README.md", "exec"), namespace)
        expected = re.findall(r"print\(.*\)  # (\[.*\]|[-\d.]+)", block)
        assert out.getvalue().split("\n")[:-1] == expected
    assert (tmp_path / "neuron.svg").exists()


def test_the_picture_is_what_the_block_draws():
    namespace = {}
    (block,) = [b for b in blocks("python") if "draw_dot(out)" in b]
    exec(block.replace('.render("neuron", format="svg")', ""), namespace)
    drawn = svg(namespace["draw_dot"](namespace["out"]).picture)
    assert drawn == (ROOT / "notebooks/pictures/neuron.svg").read_text(encoding="utf-8")


def test_the_two_commands_install_what_they_need_and_name_things_that_exist(tmp_path, monkeypatch):
    demo, tests = re.findall(r"<!-- the (?:demo|tests) -->\n```bash\n(.*?)```", README, flags=re.S)
    assert "'.[dev]'" in tests
    assert shlex.split(tests)[-2:] == ["-m", "pytest"]
    arguments = shlex.split(demo.split(" -m tinygrad_lite ")[1])
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("sklearn")
    assert arguments == ["demo", "digits"]
    assert main([*arguments, "--epochs", "1"]) == 0


def test_relative_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
