"""Scalar graphs at machine speed: `jit(function)` traces, differentiates and compiles.

For any backend:
trace.py        runs the function on placeholders and keeps its graph
arrays.py       a row of an array while it holds placeholders
simplify.py     merges common subexpressions and folds constants
computation.py  gradients, and sums over a batch
plan.py         isomorphic terms become groups over slots of memory
batches.py      examples as columns and rows
program.py      what a backend makes of a plan, and the cache;  loop.py  the same for training steps
backends.py     chooses one of the two

Native code:
code.py         writes LLVM's language;  vector_math.py  exp, log, sin, ... on vectors
lowerings.py    each operation as instructions: one row for each
nests.py        groups that share a loop;  kernel.py  the loops, with tiles in registers
native.py       LLVM and ctypes;  program.py  all of these in order
steps.py        the loop over training steps, with the optimiser's rule

NumPy, where llvmlite is absent:
elementwise.py  each operation on arrays: one row for each
portable.py     one array operation for a group;  the loop over training steps

compiled.py     what `jit` returns;  training.py  whole epochs of `fit`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = ["Compiled", "jit"]


def jit(
    function: Callable[..., object], strict: bool = False, check: bool = True, backend: str | None = None
) -> Compiled:
    """Compiles a function of ONE example: its arguments are numbers, lists or tuples of numbers (also nested), or rows
    of an array, and stay what they are; its result is a Value or lists of Values.

    Python numbers in the function are fixed when it is first called, also a parameter's .data (write detach(p)); what
    only a known number can answer, such as a branch on an argument or its place in a dict, is a TypeError. Parameters
    are read at every call. Batches are what `fit` takes as X, but for a column of shape (n, 1): each of its examples
    is a row of one number. Needs NumPy, and for native code llvmlite (the extra `jit`): ImportError otherwise.

    Parameters
    ----------
    strict : no fused multiply-add and no reordering, each example as the engine computes it.
    check : before compiled code is used for the first time, up to four examples are computed by the engine as well,
        value and gradient; ValueError where they differ. False leaves the comparison out.
    backend : "native" is machine code by LLVM, "numpy" an array operation for each group of scalars that are computed
        alike, some ten times slower. None: native where llvmlite is installed.

    >>> from tinygrad_lite import Value
    >>> w = Value(3.0)
    >>> f = jit(lambda x: (w * x).tanh())
    >>> f.batch([0.0, 1.0]).round(6).tolist()
    [0.0, 0.995055]
    """
    from .backends import Backend

    Backend.chosen(backend)  # which says what is missing, where NumPy is: `Compiled` needs it
    from .compiled import Compiled

    return Compiled(function, strict, check, backend)


def __getattr__(name: str) -> type:
    """`Compiled` is loaded at its first use: it needs NumPy."""
    if name != "Compiled":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .compiled import Compiled

    return Compiled
