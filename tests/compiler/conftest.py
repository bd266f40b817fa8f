"""Both backends take the same tests."""

import pytest

from tinygrad_lite.compiler import backends


@pytest.fixture(params=["native", "numpy"])
def backend(request, monkeypatch):
    """`jit` and compiled `fit` run by native code, then as where llvmlite is absent."""
    pytest.importorskip("numpy")
    if request.param == "native":
        pytest.importorskip("llvmlite")
    monkeypatch.setattr(backends, "has_llvm", lambda: request.param == "native")
    return request.param
