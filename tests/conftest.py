"""Two speeds; what a new operation lacks; which tests stay together side by side (`pytest -n 2 --dist loadgroup`)."""

from random import Random

import hypothesis
import pytest

# the same examples each time, however slow the machine is, and nothing is left behind
hypothesis.settings.register_profile("tests", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("tests")

# file -> the parameter whose tests share their work, or None for the whole file
TOGETHER = {
    "test_oracle": "op", "test_course": "run",
    "browser/test_notebooks": None, "browser/test_outputs": None, "browser/test_player": None,
}  # fmt: skip
SETS = 8  # of a test's parameters, in the quick run


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="everything, not a sample of it: what .ci/run does")


def pytest_configure(config):
    from . import sampling

    config.addinivalue_line("markers", "long: of the long run only (pytest --long)")
    config.addinivalue_line("markers", "sample(n): n of its parameter sets, not 8; all in the long run")
    sampling.LONG = config.getoption("--long")


def pytest_sessionstart():
    """One message for all that an operation lacks, before many tests fail by it."""
    from .operations import missing

    if lines := missing():
        pytest.exit("\n".join(lines), returncode=pytest.ExitCode.TESTS_FAILED)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(config, items):
    for item in items:
        for file, parameter in TOGETHER.items():
            if item.path.with_suffix("").as_posix().endswith(f"tests/{file}"):
                shared = getattr(item, "callspec", None) and item.callspec.params.get(parameter)
                if parameter is None or shared is not None:
                    item.add_marker(pytest.mark.xdist_group(f"{file}-{shared}"))
    items.sort(key=lambda item: item.path.stem != "test_cells")  # the longest first: no worker waits for one at the end
    if not config.getoption("--long"):
        long = left_to_the_long_run(items)
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)


def left_to_the_long_run(items):
    """Tests marked long, and a test's parameter sets beyond those it draws: SETS, or n by its mark sample(n)."""
    long = {item for item in items if item.get_closest_marker("long")}
    groups = {}
    for item in items:
        if hasattr(item, "callspec") and item not in long:
            marker = item.get_closest_marker("sample")
            groups.setdefault((item.path, item.originalname, marker.args[0] if marker else SETS), []).append(item)
    for (path, name, n), group in groups.items():  # by its name: other tests draw others of the same parameters
        long.update(Random(f"{path.stem} {name}").sample(group, max(0, len(group) - n)))
    return long
