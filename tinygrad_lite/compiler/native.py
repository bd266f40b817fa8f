"""Machine code in this process: LLVM compiles text, ctypes calls it."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_host: dict[str, Any] = {}


def _llvm() -> Any:
    try:
        import llvmlite.binding as llvm
    except ImportError:
        raise ImportError("compiling needs llvmlite and numpy: pip install 'tinygrad_lite[jit]'") from None
    return llvm


def host() -> dict[str, Any]:
    """The machine: {"llvm": the binding, "width": doubles in a vector register, "target": ...}."""
    with _lock:
        if not _host:
            llvm = _llvm()
            llvm.initialize_native_target()
            llvm.initialize_native_asmprinter()
            features = llvm.get_host_cpu_features()
            width = 8 if features.get("avx512f") else 4 if features.get("avx2") else 2
            target = llvm.Target.from_default_triple()
            _host.update(llvm=llvm, width=width, target=target, features=features.flatten())
    return _host


@contextmanager
def no_collector() -> Iterator[None]:
    """Without the cycle collector: a graph in the making has no cycles, and a million live nodes that
    the collector would look through again and again."""
    enabled = gc.isenabled()
    try:
        gc.disable()  # in here: Ctrl-C may fall after it
        yield
    finally:
        if enabled:
            gc.enable()


class Library:
    """Compiled functions of one module. ir: optimised LLVM text; asm: the machine's; addresses by name."""

    def __init__(self, text: str, names: list[str]) -> None:
        found = host()
        llvm = found["llvm"]
        # the text is in its final form: LLVM's own passes would double the time for a few percent. Very long
        # texts have no loops worth the better code of level 2
        level = 2 if text.count("\n") < 20_000 else 0
        with _lock:  # LLVM's global context is not for several threads at once
            machine = found["target"].create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=found["features"], opt=level, jit=True
            )
            module = llvm.parse_assembly(text)
            module.verify()
            self._machine, self._module = machine, module
            self._text = str(module)
            self._engine = llvm.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()
            self.addresses = {name: self._engine.get_function_address(name) for name in names}

    @property
    def ir(self) -> str:
        return self._text

    @property
    def asm(self) -> str:
        llvm = host()["llvm"]
        with _lock:
            return str(self._machine.emit_assembly(llvm.parse_assembly(self._text)))

    def function(self, name: str, *kinds: Any) -> Any:
        """The function as a Python callable; it runs without the interpreter lock."""
        return ctypes.CFUNCTYPE(None, *kinds)(self.addresses[name])


def aligned(count: int) -> Any:
    """A NumPy array of so many zeros, on a 64-byte boundary."""
    import numpy as np

    raw = np.zeros(count + 8)
    start = (-raw.ctypes.data // 8) % 8
    return raw[start : start + count]
