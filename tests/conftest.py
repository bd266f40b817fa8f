"""Two speeds, what a new operation lacks, and which tests stay together side by side (`pytest -n 2 --dist loadgroup`)."""

import pytest

# file -> the parameter whose tests share their work, or None for the whole file
TOGETHER = {"test_oracle": "op", "test_course": "run", "browser/test_notebooks": None, "browser/test_player": None}


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="everything, not a sample of it: what .ci/run does")


def pytest_configure(config):
    from . import sampling

    config.addinivalue_line("markers", "long: of the long run only (pytest --long)")
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
    if not config.getoption("--long"):
        long = [item for item in items if item.get_closest_marker("long")]
        items[:] = [item for item in items if not item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
