"""The README is a tested document: every block runs, every printed number holds."""

import contextlib
import io
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from tinygrad_lite import __version__, draw_dot
from tinygrad_lite.__main__ import main

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


@pytest.mark.parametrize(("name", "root"), [("neuron", "out"), ("loss", "loss")])
def test_a_picture_is_what_its_block_draws(name, root, monkeypatch):
    namespace = {"draw_dot": draw_dot}
    (block,) = [b for b in blocks("python") if f'.render("{name}", format="svg")' in b]
    monkeypatch.setattr(shutil, "which", lambda program: None)  # our own layout, whatever is installed
    call = block.replace(f'.render("{name}", format="svg")', "")
    exec(call.replace("draw_dot(" + root, "drawn = draw_dot(" + root), namespace)
    drawn = namespace["drawn"].svg()
    assert drawn == (ROOT / f"notebooks/pictures/{name}.svg").read_text(encoding="utf-8")


def test_the_two_commands_install_what_they_need_and_name_things_that_exist(tmp_path, monkeypatch):
    demo, tests = re.findall(r"<!-- the (?:demo|tests) -->\n```bash\n(.*?)```", README, flags=re.S)
    assert "'.[test]'" in tests
    assert shlex.split(tests)[-6:] == ["-m", "pytest", "-n", "auto", "--dist", "loadgroup"]
    arguments = shlex.split(demo.split(" -m tinygrad_lite ")[1])
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("sklearn")
    assert arguments == ["demo", "digits"]
    assert main([*arguments, "--epochs", "1"]) == 0


def test_what_runs_the_checks_runs_steps_of_one_script():
    known = set(re.findall(r"^(\w+)\(\) \{", (ROOT / ".ci/run").read_text(encoding="utf-8"), flags=re.M))
    assert known == {"install", "lint", "types", "quick", "tests"}
    for caller in (".github/workflows/check.yml", ".pre-commit-config.yaml", "CONTRIBUTING.md"):
        called = re.findall(r"\.ci/run((?: \w+)*)", (ROOT / caller).read_text(encoding="utf-8"))
        assert called and {step for steps in called for step in steps.split()} <= known, caller


def test_the_quick_tests_need_no_jupyter():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    def needed(extra):
        for name in extras[extra]:
            others = re.match(r"tinygrad_lite\[(.*)\]", name)
            yield from (x for other in others[1].split(",") for x in needed(other)) if others else [name]

    assert not [name for name in needed("test") if re.match("jupyter|ipykernel|nb", name)]
    assert set(needed("test")) < set(needed("dev"))


def test_every_file_that_names_the_version_names_the_same():
    assert (
        re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), flags=re.M)[1] == __version__
    )
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M)
    assert headings[0] == "Unreleased" or headings[0] == __version__


def test_relative_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
