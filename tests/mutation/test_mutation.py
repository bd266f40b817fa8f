"""The mutants that `python tests/mutation` makes, and that it tells the dead from the living."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_lite

from .mutants import mutants

HERE = Path(__file__).parent
CORE = Path(tinygrad_lite.__file__).parent


def changes(source):
    return [mutant.change for mutant in mutants(source)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a - b", ["a [- → +] b"]),
        ("a * b", ["a [* → /] b", "a [* → +] b"]),
        ("a += b", ["a [+ → -]= b", "a [+ → *]= b"]),
        ("a < b", ["a [< → >=] b", "a [< → <=] b", "a [< → !=] b"]),
        ("a is None", ["a is [ → not ]None"]),
        ("a in b", ["a [ → not ]in b"]),
        ("a and b", ["a [and → or] b", "[a and  → ]b", "a[ and b → ]"]),
        ("not a", ["not [ → not ]a"]),
        ("-a", ["-[ → -]a"]),
        ("a = True", ["a = [True → False]"]),
        ("a = 7", ["a = [7 → 8]", "a = [7 → 6]"]),
        ("a = 1e300", []),
        ("a['key']", ["a['[key → key_]']"]),
        ("f(a)", ["[f(a) → pass]"]),
        ("while a:\n    break", ["while [ → not ]a:", "[break → continue]"]),
        ("for a in b:\n    continue", ["for a in [b → []]:", "[continue → break]"]),
        ("def f():\n    return a", ["return [a → None]"]),
        ("lambda: a", ["lambda: [a → None]"]),
        ("@g\n@h\ndef f(): ...", ["@[g; @ → ]h", "[@h;  → ]def f():"]),
        ("raise TypeError('an a')", ["raise [TypeError → Exception]('an a')"]),
        ("try:\n    a\nexcept E:\n    b", ["except [E → ()]:"]),
        ("try:\n    a\nexcept (E, F):\n    b", ["except ([E, F → F,]):", "except (E,[ F → ]):"]),
        ("[a for a in b if c]", ["[a for a in b[ if c → ]]"]),
        ('"""A text."""\na: "Text" = b\nf"a text {b}"', []),
    ],
)
def test_a_slip_of_each_kind_is_made(source, expected):
    assert changes(source) == expected


@pytest.mark.long
def test_every_mutant_of_a_module_is_a_program_of_its_own():
    source = (CORE / "io.py").read_text()
    made = [mutant.source for mutant in mutants(source)]
    assert len(set(made) | {ast.unparse(ast.parse(source))}) == len(made) + 1 > 100
    for text in made:
        compile(text, "io.py", "exec")


def units(source):
    return {mutant.unit for mutant in mutants(source)}


def test_a_function_is_the_same_wherever_it_stands_and_however_it_is_worded():
    here = """
def f(x: float) -> float:
    \"\"\"Once.\"\"\"
    if x < 0.0:
        raise ValueError(f"f takes what is positive, got {x}")
    y: int = 3
    return x + y
"""
    there = """
y = a < b

class C:
    @property
    def other(self):
        return self.y - 1

    def f(x: Any):
        if x < 0.0:
            raise ValueError(f"f expects a positive number, got {x}")
        y = 3
        return x + y
"""
    assert len(units(here)) > 8
    assert units(here) < units(there)
    assert not units(here) & units(here.replace("x < 0.0", "x <= 0.0"))


TOY = """
def emptied(text):
    while text:
        text = text[1:]
    return text
"""
TOYS_TEST = """
from tinygrad_lite.optim import emptied

def test_emptied():
    assert emptied("abc") == ""
"""
USERS = "test_train", "test_mistakes", "test_faults", "compiler/test_training"
REPORT = """\
| room | mutants | killed | of these at the time limit | survived | share killed |
|---|---|---|---|---|---|
| optim | 4 | 3 | 1 | 1 | 75.0% |
| all | 4 | 3 | 1 | 1 | 75.0% |
- optim.py, line 4: `text = text[[1 → 2]:]`"""


@pytest.mark.long
def test_killed_late_and_surviving_mutants_are_told_apart_and_measured_once(tmp_path):
    files = {
        "tinygrad_lite/__init__.py": "",
        "tinygrad_lite/optim.py": TOY,
        "tests/README.md": "",
        "notebooks/README.md": "",
        "tests/test_optim.py": TOYS_TEST,
        **{f"tests/{user}.py": "def test_nothing(): pass" for user in USERS},
        "tests/conftest.py": "def pytest_addoption(parser): parser.addoption('--long', action='store_true')",
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copytree(HERE, tmp_path / "tests" / "mutation")

    def run():
        command = [sys.executable, "tests/mutation", "optim", "--jobs", "1", "--patience", "0"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    first = run()
    assert "4 mutants, 4 to test" in first.stderr
    assert (first.returncode, first.stdout) == (1, REPORT + " (not in tests/README.md)\n")
    (tmp_path / "tests" / "README.md").write_text("- `text = text[[1 → 2]:]`: only that this test can see it survive")
    second = run()
    assert "4 mutants, 0 to test" in second.stderr
    assert (second.returncode, second.stdout) == (1, REPORT + "\n")


def test_what_only_moved_counts_as_the_readme_said_it_did(tmp_path):
    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", *identity, *command], cwd=tmp_path, capture_output=True, text=True, check=True)

    def known():
        command = [sys.executable, "tests/mutation", "optim", "nn", "--since", "HEAD"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    survivor = "- optim: `text = text[[1 → 2]:]`: any would do"
    readme = f"# Mutants\n{REPORT.splitlines()[2]}\n{survivor}\n| nn | 1 | 1 | 0 | 0 | 100.0% |\n"
    for name, text in {"optim": TOY, "nn": "x = a + b", "io": "y = c + d"}.items():
        (tmp_path / "tinygrad_lite").mkdir(exist_ok=True)
        (tmp_path / "tinygrad_lite" / f"{name}.py").write_text(text)
    shutil.copytree(HERE, tmp_path / "tests" / "mutation")
    (tmp_path / "tests" / "README.md").write_text(readme)
    git("init")
    git("add", ".")
    git("commit", "-m", "as measured")
    (tmp_path / "tinygrad_lite" / "optim").mkdir()
    (tmp_path / "tinygrad_lite" / "optim" / "rules.py").write_text("class Rule:" + TOY.replace("\n", "\n    "))
    (tmp_path / "tinygrad_lite" / "optim.py").unlink()
    moved = known()
    assert "6 mutants, 0 to test" in moved.stderr
    assert "| optim | 4 | 3 | 0 | 1 | 75.0% |" in moved.stdout and "| nn | 2 | 2 | 0 | 0 | 100.0% |" in moved.stdout
    assert "- optim/rules.py, line 4: `text = text[[1 → 2]:]`\n" in moved.stdout + "\n"
