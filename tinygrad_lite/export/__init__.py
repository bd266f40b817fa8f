"""Models and functions as source code: C and JavaScript, ONNX, and PyTorch's modules.

recording.py  what is handed over, as terms of the compiler        rows.py      each operation: one row
writer.py     groups of terms as loops                             language.py  what differs between the two languages
source.py     one file as text
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

try:
    import numpy  # noqa: F401
except ImportError:
    raise ImportError("export needs NumPy, as the compiler does: pip install 'tinygrad_lite[jit]'") from None

from ..nn import MLP, Layer
from ..optim import Optimizer
from .language import C, JavaScript
from .recording import Gradient, recorded
from .source import Source, source

__all__ = ["Source", "c", "javascript", "onnx", "torch"]


def c(
    f: object, *example: object, gradient: Gradient = False, nodes: bool = False, optimizer: Optimizer | None = None,
    name: str = "f", real: str = "double", parameters: str = "const",
) -> Source:  # fmt: skip
    """One self-contained C99 file, without allocation. Its first comment says how to call it, `.header` declares it.

    Parameters
    ----------
    f : a Value, whose leaves become arguments; a model; or a function of one example, as for `jit`. Python numbers
        in it are fixed, and the targets of a loss are not checked.
    example : arguments of f, for their shapes alone; not needed for a model.
    gradient : also the gradient, by the parameters, or by the leaves of a Value; "inputs": by the example's numbers.
    nodes : of a Value, every node's number, every node's gradient, and every local derivative.
    optimizer : f is a loss: a training step on some examples, by this optimiser's rule as `fit` records it. Parameters
        that f does not use are left out.
    name : of the function.
    real : "double" or "float".
    parameters : "const" arrays in the file, in PyTorch's layout, or an "argument", as a training step always has them.

    Raises
    ------
    NotImplementedError : an operation that has no row; it says what to write. TypeError : no Value comes out, or not
    one where a gradient is asked for. ValueError : more operations that are not alike than a compiler can take.

    >>> from tinygrad_lite import Value
    >>> w = Value(3.0)
    >>> [line for line in c(lambda x: (w * x).tanh(), 0.0).splitlines() if "tanh" in line]
    ['  double v1 = tanh(v0);']
    """
    if real not in ("double", "float"):
        raise ValueError(f'real must be "double" or "float", got {real!r}')
    return _written(C(real), f, example, gradient, nodes, optimizer, name, parameters)


def javascript(
    f: object, *example: object, gradient: Gradient = False, nodes: bool = False, optimizer: Optimizer | None = None,
    name: str = "f", parameters: str = "const",
) -> Source:  # fmt: skip
    """One ES module without dependencies, for Node or a page. Parameters and errors as for `c`; numbers are doubles.

    >>> from tinygrad_lite import nn
    >>> print(javascript(nn.MLP(2, [3, 1], seed=0)).splitlines()[-2])
      return g;
    """
    return _written(JavaScript(), f, example, gradient, nodes, optimizer, name, parameters)


def onnx(f: object, path: str | os.PathLike[str], *example: object) -> None:
    """Writes a model or a feed-forward function of one example as an ONNX file of doubles, whole or not at all.

    Its one input is `input`, (examples, numbers of an example), its one output `output`, (examples, results). Needs the
    extra `onnx`.

    Parameters
    ----------
    f, example : as for `c`.

    Raises
    ------
    NotImplementedError : an operation that onnxruntime does not have for doubles, by name. ValueError : a result that
    depends on no number of an example. OSError : as of `save`.
    """
    from ..io import write_whole
    from .onnx_model import Graph

    write_whole(path, Graph(recorded(f, example, False, False, None)).model())


def torch(model: MLP | Layer) -> Any:
    """PyTorch's nn.Sequential of a model, in float64: a Linear module for each layer, and its activation.

    ImportError where torch is missing; NotImplementedError for an activation that PyTorch has no module for.
    `nn.MLP.from_torch(sequential)` is the way back.
    """
    from .torch_model import sequential

    return sequential(model)


def _written(
    language: C | JavaScript, f: object, example: Sequence[object], gradient: Gradient, nodes: bool,
    optimizer: Optimizer | None, name: str, parameters: str,
) -> Source:  # fmt: skip
    if parameters not in ("const", "argument"):
        raise ValueError(f'parameters must be "const" or "argument", got {parameters!r}')
    return source(recorded(f, example, gradient, nodes, optimizer), language, name, parameters == "const")
