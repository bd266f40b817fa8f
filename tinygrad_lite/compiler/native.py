"""Machine code in this process: LLVM compiles text, ctypes calls it."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from llvmlite.binding import Target

    Array: TypeAlias = np.ndarray

# Held while anything is traced or compiled: LLVM's global context is not for several threads at once, and a process
# that is forked meanwhile would inherit a half of it.
lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)


@dataclass
class Host:
    """This machine. width: doubles in a vector register. registers: how many of those there are."""

    width: int
    registers: int
    features: str
    llvm: ModuleType  # llvmlite.binding
    target: Target


@functools.cache
def host() -> Host:
    """The machine that is compiled for. ImportError where llvmlite or NumPy is missing."""
    try:
        import llvmlite.binding as llvm
        import numpy  # noqa: F401
    except ImportError:
        raise ImportError("compiling needs llvmlite and numpy: pip install 'tinygrad_lite[jit]'") from None
    with lock:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        width = 8 if features.get("avx512f") else 4 if features.get("avx2") else 2
        registers = 32 if features.get("avx512f") or features.get("neon") else 16
        return Host(width, registers, features.flatten(), llvm, llvm.Target.from_default_triple())


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

    def __init__(self, text: str, names: Iterable[str]) -> None:
        machine, llvm = host(), host().llvm
        # the text is in its final form: LLVM's own passes would double the time for a few percent. Very long
        # texts have no loops worth the better code of level 2
        level = 2 if text.count("\n") < 20_000 else 0
        with lock:  # LLVM's global context is not for several threads at once
            self._machine = machine.target.create_target_machine(
                cpu=llvm.get_host_cpu_name(), features=machine.features, opt=level, jit=True
            )
            module = llvm.parse_assembly(text)
            module.verify()
            self.ir = str(module)
            self._engine = llvm.create_mcjit_compiler(module, self._machine)
            self._engine.finalize_object()
            self.addresses = {name: self._engine.get_function_address(name) for name in names}

    @property
    def asm(self) -> str:
        with lock:
            return str(self._machine.emit_assembly(host().llvm.parse_assembly(self.ir)))

    def function(self, name: str, *kinds: type) -> Callable[..., None]:
        """The function as a Python callable; it runs without the interpreter lock."""
        return ctypes.CFUNCTYPE(None, *kinds)(self.addresses[name])


def aligned(count: int) -> Array:
    """A NumPy array of `count` zeros, on a 64-byte boundary."""
    import numpy as np

    raw = np.zeros(count + 8)
    start = (-raw.ctypes.data // 8) % 8
    return raw[start : start + count]
