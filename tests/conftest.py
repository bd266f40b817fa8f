"""Tests that share work stay together when they run side by side (`pytest -n 2 --dist loadgroup`)."""

import pytest

# file -> the parameter whose tests share their work, or None for the whole file
TOGETHER = {"test_oracle": "op", "test_course": "run", "browser/test_notebooks": None, "browser/test_player": None}


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items):
    for item in items:
        for file, parameter in TOGETHER.items():
            if item.path.with_suffix("").as_posix().endswith(f"tests/{file}"):
                shared = getattr(item, "callspec", None) and item.callspec.params.get(parameter)
                if parameter is None or shared is not None:
                    item.add_marker(pytest.mark.xdist_group(f"{file}-{shared}"))
