"""Mutation testing of the core: `python tests/mutation` (or `python tests/mutation optim io --jobs 2`).

Every mutant is written into a copy of the tree and tested there: by its module's own quick tests and, where these
pass, by all of them and those of the module's users. What no test notices has survived: mend the tests, or say in
tests/README.md why it may.

The test processes are forked from this one, which has imported pytest and the libraries, but not tinygrad_lite.
Results go to build/mutants.jsonl as they come, and are not measured again: what was killed stays so, what survived
is tried again when a test or a module has changed, unless --keep is given. --fresh forgets them all. A mutant is known
by the text of its function, without annotations, docstrings and the wording of messages: what only moves to another
file or class stays known. --since COMMIT also knows what tests/README.md said there: all were killed but those listed.
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
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import llvmlite.binding  # noqa: F401
import mpmath  # noqa: F401  imported once, for all that are forked
import numpy  # noqa: F401
import pytest
import safetensors.numpy  # noqa: F401
from mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]


class Room(NamedTuple):
    """Modules that share their tests (patterns of paths in the package), and who uses them: its tests run where the
    room's own, test_ROOM.py and the modules' examples, pass."""

    modules: tuple[str, ...]
    users: tuple[str, ...]


ROOMS = {
    "optim": Room(("optim.py", "optim/*.py"), ("train", "mistakes", "faults", "compiler/training")),
    "io": Room(("io.py",), ("nn", "faults")),
    "ops": Room(("ops.py", "op.py", "ieee.py"), ("selection", "oracle", "check", "engine", "nn", "compiler/lowerings")),
    "nn": Room(("nn.py", "nn/*.py"), ("io", "optim", "train", "mistakes", "parts", "compiler/training")),
    "engine": Room(
        ("engine.py", "fast.py", "modes.py", "derivatives.py", "methods.py", "protocols.py"),
        ("check", "selection", "nn", "optim", "train", "mistakes", "parts", "compiler/jit"),
    ),
    "mistakes": Room(("mistakes.py",), ("engine", "optim", "train", "faults")),
    "expect": Room(("expect.py",), ("nn", "optim", "train", "io", "data", "engine", "compiler/training")),
}
MEMORY = 6 << 30  # bytes of address space for one test process
GOAL = 0.95  # of the mutants are to be killed
README = Path("tests", "README.md")
Order = dict[str, tuple[bool, int]]  # test -> whether it is slow, and a number that is lower where it killed later


class Job(NamedTuple):
    room: str
    module: str  # its path from the root
    mutant: Mutant
    key: str  # the same as long as the function is, wherever it stands


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
        return int(pytest.main(["-x", "-q", "--long", "-W", imported_before, *tests], plugins=[self]))

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


def modules_of(room: str) -> list[str]:
    """Their paths, from the root."""
    return [
        path.relative_to(ROOT).as_posix()
        for pattern in ROOMS[room].modules
        for path in sorted((ROOT / "tinygrad_lite").glob(pattern))
    ]


def stages(room: str) -> tuple[list[str], list[str]]:
    """A room's own tests; these and its users'."""
    paths = [Path("tests", name).with_name(f"test_{Path(name).name}.py") for name in (room, *ROOMS[room].users)]
    tests = [str(path) for path in paths if (ROOT / path).exists()]
    own = tests[:1] + modules_of(room)
    return own, own + tests[1:]


def prepare(folders: list[Path], rooms: list[str]) -> tuple[dict[str, list[float]], list[str]]:
    """A copy of the tree in each folder; the seconds that each stage of each room takes there without a mutant, and
    the names of slow tests. The tests run in every folder, because byte code knows where it was compiled."""
    modules = [module for room in rooms for module in modules_of(room)]
    for folder in folders:
        for name in ("tinygrad_lite", "tests", "notebooks", "pyproject.toml"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)
        for module in modules:  # as the mutants will be written, so that nothing else differs
            path = folder / module
            path.write_text(ast.unparse(ast.parse(path.read_text())))
        (folder / "slow").touch()
    seconds: dict[str, list[float]] = {}
    for room in rooms:
        for tests in stages(room):
            runs = [Run(folder, tests, cpu=3600.0, wall=3600.0) for folder in folders]
            for run in runs:
                while (outcome := run.outcome()) is None:
                    time.sleep(0.01)
                if outcome != "survived":
                    raise SystemExit(f"the tests fail without a mutant:\n{(run.folder / 'output').read_text()}")
            seconds.setdefault(room, []).append(time.monotonic() - runs[0].start)
    for folder in folders:
        for module in modules:  # a .pyc is valid by date and length, which a mutant may share
            for path in (folder / module).parent.glob(f"__pycache__/{Path(module).stem}.*.pyc"):
                path.unlink()
    return seconds, sorted({name for folder in folders for name in (folder / "slow").read_text().splitlines()})


def test(
    jobs: list[Job],
    folders: list[Path],
    seconds: dict[str, list[float]],
    patience: float,
    order: Order,
) -> Iterator[tuple[Job, str, Run]]:
    """(job, outcome, last run) of each, as they end: what passes its room's own tests waits for the others.

    A test that kills moves to the front of the quick or of the slow ones: neighbours tend to die of the same one.
    """
    waiting = deque((job, 0) for job in jobs)
    running: list[tuple[Job, int, Run]] = []
    free, kills = list(folders), count(1)
    try:
        while waiting or running:
            if waiting and free:
                job, stage = waiting.popleft()
                folder, usual = free.pop(), seconds[job.room][stage]
                path = folder / job.module
                shutil.copy(path, folder / "unmutated")
                path.write_text(job.mutant.source)
                run = Run(
                    folder,
                    stages(job.room)[stage],
                    cpu=patience + 3.0 * usual,
                    wall=10.0 * (patience + usual),
                    order=order,
                    quick=stage == 0,
                )
                running.append((job, stage, run))
            for entry in running[:]:
                job, stage, run = entry
                if (outcome := run.outcome()) is None:
                    continue
                running.remove(entry)
                shutil.copy(run.folder / "unmutated", run.folder / job.module)
                free.append(run.folder)
                if outcome == "survived" and stage == 0:
                    waiting.append((job, 1))
                    tell(f"not killed by the tests of {job.room}", job)
                else:
                    killer = run.killer.read_text()
                    order[killer] = order.get(killer, (False, 0))[0], -next(kills)
                    yield job, outcome, run
            time.sleep(0.005)
    finally:
        for *_, run in running:
            run.stop()


def tell(outcome: str, job: Job) -> None:
    print(f"\r{outcome}: {job.module}:{job.mutant.line}: {job.mutant.change}", file=sys.stderr)


def write_bytecode(yes: bool) -> None:
    sys.dont_write_bytecode = not yes
    os.environ["PYTHONDONTWRITEBYTECODE"] = "" if yes else "1"


def digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def jobs_of(sources: Iterable[tuple[str, str, str]]) -> list[Job]:
    """Every mutant of these (room, path, source); functions of equal text are told apart by their order."""
    before: Counter[str] = Counter()
    jobs = []
    for room, module, source in sources:
        for mutant in mutants(source):
            before[mutant.unit] += 1
            jobs.append(Job(room, module, mutant, digest(mutant.unit, str(before[mutant.unit]))))
    return jobs


def measured_at(commit: str) -> dict[str, dict[str, Any]]:
    """The outcomes that tests/README.md told at that commit: of its table's rooms all were killed but those listed."""

    def git(*command: str) -> str:
        return subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    explained = git("show", f"{commit}:{README}")
    names = git("ls-tree", "-r", "--name-only", commit, "tinygrad_lite").split()
    files = [Path(name).relative_to("tinygrad_lite") for name in names]
    sources = [
        (room, f"tinygrad_lite/{path}", git("show", f"{commit}:tinygrad_lite/{path}"))
        for room in ROOMS
        if f"\n| {room} |" in explained
        for pattern in ROOMS[room].modules
        for path in files
        if path.match(pattern) and path.parts[:-1] == Path(pattern).parts[:-1]
    ]
    return {
        job.key: {"outcome": "survived" if job.mutant.change in explained else "killed", "tree": commit}
        for job in jobs_of(sources)
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("rooms", nargs="*", metavar="room", help=f"of {', '.join(ROOMS)}; all by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants side by side")
    parser.add_argument("--patience", type=float, default=5.0, help="CPU seconds beyond three times the usual")
    parser.add_argument("--keep", action="store_true", help="do not try again what survived older tests")
    parser.add_argument("--fresh", action="store_true", help="forget the results so far")
    parser.add_argument("--since", metavar="COMMIT", help="believe what tests/README.md said there of what only moved")
    parser.add_argument("--results", type=Path, default=ROOT / "build" / "mutants.jsonl")
    options = parser.parse_args()
    if unknown := set(options.rooms) - set(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}")
    rooms = [room for room in options.rooms or ROOMS if modules_of(room)]
    if options.fresh:
        options.results.unlink(missing_ok=True)
    options.results.parent.mkdir(exist_ok=True)

    every = jobs_of((room, module, (ROOT / module).read_text()) for room in ROOMS for module in modules_of(room))
    every = [job for job in every if job.room in rooms]
    sources = [*(ROOT / "tinygrad_lite").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    tree = digest(*(path.read_text() for path in sorted(sources)))
    known = measured_at(options.since) if options.since else {}
    believed = set(known)
    if options.results.exists():
        for line in options.results.read_text().splitlines():
            result = json.loads(line)
            known[result["mutant"]] = result

    def is_known(job: Job) -> bool:
        result = known.get(job.key)
        up_to_date = job.key in believed or options.keep or (result is not None and result["tree"] == tree)
        return result is not None and (result["outcome"] != "survived" or up_to_date)

    waiting = [job for job in every if not is_known(job)]
    print(f"{len(every)} mutants, {len(waiting)} to test", file=sys.stderr)
    if waiting:
        with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as top:
            folders = [Path(top) / str(i) for i in range(options.jobs)]
            for folder in folders:
                folder.mkdir()
            write_bytecode(True)
            seconds, slow = prepare(folders, sorted({job.room for job in waiting}))
            write_bytecode(False)
            order = dict.fromkeys(slow, (True, 0))
            tested = test(waiting, folders, seconds, options.patience, order)
            for done, (job, outcome, run) in enumerate(tested, 1):
                result = {
                    "module": job.module, "line": job.mutant.line, "change": job.mutant.change, "outcome": outcome,
                    "by": run.killer.read_text(), "mutant": job.key, "tree": tree,
                }  # fmt: skip
                known[job.key] = result
                with options.results.open("a") as file:
                    file.write(json.dumps(result, ensure_ascii=False) + "\n")
                if outcome != "killed":
                    tell(outcome, job)
                print(f"\r{done} of {len(waiting)}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
    return report(rooms, every, known)


def report(rooms: list[str], every: list[Job], known: dict[str, dict[str, Any]]) -> int:
    """Prints the table and the survivors; 1 where fewer than GOAL are killed, or a survivor has no reason."""
    explained = (ROOT / README).read_text()
    print("| room | mutants | killed | of these at the time limit | survived | share killed |")
    print("|---|---|---|---|---|---|")
    failed = False
    rows = {room: Counter(known[job.key]["outcome"] for job in every if job.room == room) for room in rooms}
    rows["all"] = sum(rows.values(), Counter())
    for name, counts in rows.items():
        survived, late = counts["survived"], counts["timed out"]
        share = 1 - survived / counts.total()
        failed |= share < GOAL
        cells = name, counts.total(), counts.total() - survived, late, survived, f"{share:.1%}"
        print("| " + " | ".join(map(str, cells)) + " |")
    for job in every:
        if known[job.key]["outcome"] == "survived":
            missing = job.mutant.change not in explained
            failed |= missing
            where = f"{job.module.removeprefix('tinygrad_lite/')}, line {job.mutant.line}"
            print(f"- {where}: `{job.mutant.change}`" + (" (not in tests/README.md)" if missing else ""))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
