"""Mutation testing of the core: `python tests/mutation` (or `python tests/mutation optim io --jobs 2`).

Every mutant is written into a copy of the tree and tested there: by its module's own quick tests and, where these
pass, by all of them and those of the module's users. What no test notices has survived: mend the tests, or say in
tests/README.md why it may.

The test processes are forked from this one, which has imported pytest and the libraries, but not tinygrad_lite.
Results go to build/mutants.jsonl as they come, and are not measured again: what was killed stays so, what survived
is tried again when a test or a module has changed, unless --keep is given. --fresh forgets them all.
"""

import argparse
import ast
import contextlib
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import llvmlite.binding  # noqa: F401
import mpmath  # noqa: F401  imported once, for all that are forked
import numpy  # noqa: F401
import pytest
import safetensors.numpy  # noqa: F401
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
# module -> who else uses it: their tests run where the module's own pass
USERS = {
    "optim": ("train", "mistakes", "faults", "compiler/training"),
    "io": ("nn", "faults"),
    "ops": ("selection", "oracle", "check", "engine", "nn", "compiler/lowerings"),
    "nn": ("io", "optim", "train", "mistakes", "parts", "compiler/training"),
    "engine": ("check", "selection", "nn", "optim", "train", "mistakes", "parts", "compiler/jit"),
}
MEMORY = 6 << 30  # bytes of address space for one test process
GOAL = 0.95  # of the mutants are to be killed
Order = dict[str, tuple[bool, int]]  # test -> whether it is slow, and a number that is lower where it killed later


class Run:
    """One process that runs tests in a copy of the tree."""

    def __init__(
        self,
        folder: Path,
        tests: list[str],
        cpu: float,
        wall: float,
        order: Order | None = None,
        quick: bool = False,
    ) -> None:
        self.folder, self.start, self.deadline = folder, time.monotonic(), time.monotonic() + wall
        self.order, self.quick = order or {}, quick
        shutil.rmtree(folder / "tmp", ignore_errors=True)
        (folder / "tmp").mkdir(exist_ok=True)
        self.killer = folder / "killer"
        self.killer.write_text("")
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = pytest.ExitCode.INTERNAL_ERROR
            try:
                status = self._child(tests, cpu)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)

    def _child(self, tests: list[str], cpu: float) -> int:
        os.setsid()
        with open(self.folder / "output", "wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.chdir(self.folder)
        sys.path[0] = os.environ["PYTHONPATH"] = str(self.folder)
        os.environ["TMPDIR"] = tempfile.tempdir = str(self.folder / "tmp")
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(cpu), resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # no mutant dies by luck, and a failure need not be made small
        phases = [hypothesis.Phase.explicit, hypothesis.Phase.generate]
        hypothesis.settings.register_profile("mutation", derandomize=True, database=None, phases=phases)
        hypothesis.settings.load_profile("mutation")
        imported_before = "ignore::pytest.PytestAssertRewriteWarning"
        return int(pytest.main(["-x", "-q", "-W", imported_before, *tests], plugins=[self]))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        if self.quick:
            items[:] = [item for item in items if not self.order.get(item.nodeid, (False, 0))[0]]
        items.sort(key=lambda item: self.order.get(item.nodeid, (False, 0)))

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.killer.write_text(report.nodeid)
        if report.duration > 0.5:
            with open(self.folder / "slow", "a") as file:
                print(report.nodeid, file=file)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.killer.write_text(f"import of {report.nodeid}")

    def outcome(self) -> str | None:
        """None while it runs; then "survived", "killed" or "timed out"."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            if time.monotonic() < self.deadline:
                return None
            self.stop()
            os.waitpid(self.pid, 0)
            return "timed out"
        self.stop()  # what it may have started
        if os.WIFSIGNALED(status):
            return "timed out" if os.WTERMSIG(status) == signal.SIGXCPU else "killed"
        if os.WEXITSTATUS(status) in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
            raise RuntimeError(f"no tests were run:\n{(self.folder / 'output').read_text()}")
        return "killed" if os.WEXITSTATUS(status) else "survived"

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def stages(module: str) -> tuple[list[str], list[str]]:
    """A module's own tests; these and its users'."""
    tests = [str(Path("tests", name).with_name(f"test_{Path(name).name}.py")) for name in (module, *USERS[module])]
    own = [tests[0], f"tinygrad_lite/{module}.py"]
    return own, own + tests[1:]


def prepare(folders: list[Path], modules: list[str]) -> tuple[dict[str, list[float]], list[str]]:
    """A copy of the tree in each folder; the seconds that each stage of each module takes there without a mutant, and
    the names of slow tests. The tests run in every folder, because byte code knows where it was compiled."""
    for folder in folders:
        for name in ("tinygrad_lite", "tests", "notebooks", "pyproject.toml"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        for module in modules:  # as the mutants will be written, so that nothing else differs
            path = folder / "tinygrad_lite" / f"{module}.py"
            path.write_text(ast.unparse(ast.parse(path.read_text())))
        (folder / "slow").touch()
    seconds: dict[str, list[float]] = {}
    for module in modules:
        for tests in stages(module):
            runs = [Run(folder, tests, cpu=3600.0, wall=3600.0) for folder in folders]
            for run in runs:
                while (outcome := run.outcome()) is None:
                    time.sleep(0.01)
                if outcome != "survived":
                    raise SystemExit(f"the tests fail without a mutant:\n{(run.folder / 'output').read_text()}")
            seconds.setdefault(module, []).append(time.monotonic() - runs[0].start)
    for folder in folders:
        for module in modules:  # a .pyc is valid by date and length, which a mutant may share
            for path in (folder / "tinygrad_lite" / "__pycache__").glob(f"{module}.*.pyc"):
                path.unlink()
    return seconds, sorted({name for folder in folders for name in (folder / "slow").read_text().splitlines()})


def test(
    jobs: list[tuple[str, Mutant]],
    folders: list[Path],
    seconds: dict[str, list[float]],
    patience: float,
    order: Order,
) -> Iterator[tuple[str, Mutant, str, Run]]:
    """(module, mutant, outcome, last run) of each, as they end: what passes its own tests waits for the others.

    A test that kills moves to the front of the quick or of the slow ones: neighbours tend to die of the same one.
    """
    waiting = deque((module, mutant, 0) for module, mutant in jobs)
    running: list[tuple[str, Mutant, int, Run]] = []
    free, kills = list(folders), count(1)
    try:
        while waiting or running:
            if waiting and free:
                module, mutant, stage = waiting.popleft()
                folder, usual = free.pop(), seconds[module][stage]
                path = folder / "tinygrad_lite" / f"{module}.py"
                shutil.copy(path, folder / "unmutated")
                path.write_text(mutant.source)
                run = Run(
                    folder,
                    stages(module)[stage],
                    cpu=patience + 3.0 * usual,
                    wall=10.0 * (patience + usual),
                    order=order,
                    quick=stage == 0,
                )
                running.append((module, mutant, stage, run))
            for entry in running[:]:
                module, mutant, stage, run = entry
                if (outcome := run.outcome()) is None:
                    continue
                running.remove(entry)
                shutil.copy(run.folder / "unmutated", run.folder / "tinygrad_lite" / f"{module}.py")
                free.append(run.folder)
                if outcome == "survived" and stage == 0:
                    waiting.append((module, mutant, 1))
                    tell(f"not killed by test_{module}.py", module, mutant)
                else:
                    killer = run.killer.read_text()
                    order[killer] = order.get(killer, (False, 0))[0], -next(kills)
                    yield module, mutant, outcome, run
            time.sleep(0.005)
    finally:
        for *_, run in running:
            run.stop()


def tell(outcome: str, module: str, mutant: Mutant) -> None:
    print(f"\r{outcome}: {module}.py:{mutant.line}: {mutant.change}", file=sys.stderr)


def write_bytecode(yes: bool) -> None:
    sys.dont_write_bytecode = not yes
    os.environ["PYTHONDONTWRITEBYTECODE"] = "" if yes else "1"


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="module", help=f"of {', '.join(USERS)}; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants side by side")
    parser.add_argument("--patience", type=float, default=5.0, help="CPU seconds beyond three times the usual")
    parser.add_argument("--keep", action="store_true", help="do not try again what survived older tests")
    parser.add_argument("--fresh", action="store_true", help="forget the results so far")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "mutants.jsonl")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(USERS):
        parser.error(f"no such module: {', '.join(sorted(unknown))}")
    modules = options.modules or list(USERS)
    if options.fresh:
        options.results.unlink(missing_ok=True)
    options.results.parent.mkdir(exist_ok=True)

    every = [
        (module, mutant)
        for module in modules
        for mutant in mutants((ROOT / "tinygrad_lite" / f"{module}.py").read_text())
    ]
    sources = [*(ROOT / "tinygrad_lite").rglob("*.py"), *(ROOT / "tests").rglob("test_*.py")]
    tree = digest(*(path.read_text() for path in sorted(sources)))
    known: dict[str, dict[str, Any]] = {}
    if options.results.exists():
        for line in options.results.read_text().splitlines():
            result = json.loads(line)
            known[result["mutant"]] = result

    def is_known(mutant: Mutant) -> bool:
        result = known.get(digest(mutant.source))
        return result is not None and (result["outcome"] != "survived" or options.keep or result["tree"] == tree)

    waiting = [(module, mutant) for module, mutant in every if not is_known(mutant)]
    print(f"{len(every)} mutants, {len(waiting)} to test", file=sys.stderr)
    if waiting:
        with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as top:
            folders = [Path(top) / str(i) for i in range(options.jobs)]
            for folder in folders:
                folder.mkdir()
            write_bytecode(True)
            seconds, slow = prepare(folders, sorted({module for module, _ in waiting}))
            write_bytecode(False)
            order = dict.fromkeys(slow, (True, 0))
            tested = test(waiting, folders, seconds, options.patience, order)
            for done, (module, mutant, outcome, run) in enumerate(tested, 1):
                result = {
                    "module": module, "line": mutant.line, "change": mutant.change, "outcome": outcome,
                    "by": run.killer.read_text(), "mutant": digest(mutant.source), "tree": tree,
                }  # fmt: skip
                known[result["mutant"]] = result
                with options.results.open("a") as file:
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
                if outcome != "killed":
                    tell(outcome, module, mutant)
                print(f"\r{done} of {len(waiting)}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    return report(modules, every, known)


def report(modules: list[str], every: list[tuple[str, Mutant]], known: dict[str, dict[str, Any]]) -> int:
    """Prints the table and the survivors; 1 where fewer than GOAL are killed, or a survivor has no reason."""
    explained = (ROOT / "tests" / "README.md").read_text()
    print("| module | mutants | killed | of these at the time limit | survived | share killed |")
    print("|---|---|---|---|---|---|")
    failed = False
    rows = {
        module: Counter(known[digest(m.source)]["outcome"] for name, m in every if name == module) for module in modules
    }
    rows["all"] = sum(rows.values(), Counter())
    for name, counts in rows.items():
        survived, late = counts["survived"], counts["timed out"]
        share = 1 - survived / counts.total()
        failed |= share < GOAL
        cells = name, counts.total(), counts.total() - survived, late, survived, f"{share:.1%}"
        print("| " + " | ".join(map(str, cells)) + " |")
    for module, mutant in every:
        if known[digest(mutant.source)]["outcome"] == "survived":
            missing = mutant.change not in explained
            failed |= missing
            print(
                f"- {module}.py, line {mutant.line}: `{mutant.change}`"
                + (" (not in tests/README.md)" if missing else "")
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
