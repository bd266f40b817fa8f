"""Who runs a plan: machine code by LLVM, or NumPy where llvmlite is absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import native

if TYPE_CHECKING:
    from .computation import Computation
    from .program import Program


@dataclass(frozen=True)
class Backend:
    """program: of a computation. steps: of training steps, from a computation, the optimiser's `Update`, how many
    parameters move, and whether there is a tol and a longest gradient."""

    name: str
    program: Callable[[Computation], Program]
    steps: Callable[..., Program]

    @classmethod
    def chosen(cls, name: str | None) -> Backend:
        """The one of this name; None: native code where llvmlite is installed, else NumPy's. ImportError where what it
        needs is missing, ValueError for another name."""
        if name not in ("native", "numpy", None):
            raise ValueError(f"backend must be 'native', 'numpy' or None, got {name!r}")
        if name == "native" or (name is None and has_llvm()):
            native.host()
            from .program import NativeProgram
            from .steps import StepProgram

            return cls("native", NativeProgram, StepProgram)
        try:
            from .portable import ArrayProgram, ArraySteps
        except ImportError:
            raise ImportError(
                "compiling needs numpy, and llvmlite for native code: pip install 'tinygrad_lite[jit]'"
            ) from None
        return cls("numpy", ArrayProgram, ArraySteps)


def has_llvm() -> bool:
    """Is native code possible here?"""
    try:
        native.host()
    except ImportError:
        return False
    return True
