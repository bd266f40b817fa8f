"""Models in files: safetensors, with PyTorch's names and shapes, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import struct
from pathlib import Path
from typing import Any

from .nn import Module, shape

_CHECKSUM = "tinygrad_lite.sha256"


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Writes model's parameters to a safetensors file, one float64 tensor per weight and bias, named
    and shaped as in PyTorch ("layers.0.weight", (nout, nin)), with a checksum.

    Atomic: a new file is written beside it, flushed to disk and renamed, so that path holds the old
    model or the new one, whatever happens. OSError where it cannot be written.
    """
    np, safetensors = _libraries()
    path = Path(path)
    arrays = {name: np.array(numbers, dtype="<f8") for name, numbers in model.state_dict().items()}
    content = _encode(safetensors, arrays)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the rename itself must reach the disk
        folder = os.open(path.parent, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def load(model: Module, path: str | os.PathLike[str]) -> None:
    """Reads the parameters of model from a safetensors file: one of `save`'s, whose checksum must hold,
    or PyTorch's (float64, float32 or float16).

    ValueError, and model unchanged, where the file is damaged, truncated, of another kind, or made for
    another model. Nothing in the file is executed.
    """
    _, safetensors = _libraries()
    content = _read(Path(path))
    try:
        dtypes = {name: part["dtype"] for name, part in safetensors.deserialize(content)}
        metadata = _metadata(content)
    except Exception as error:  # safetensors has an exception class of its own for each version
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from None
    for name, dtype in dtypes.items():
        if dtype not in ("F64", "F32", "F16"):
            raise ValueError(f"{path}: {name} holds {dtype} numbers, expected float64, float32 or float16")
    arrays = safetensors.load(content)
    # also where a flipped bit renamed the key
    ours = _CHECKSUM in metadata or any(re.fullmatch("[0-9a-f]{64}", text) for text in metadata.values())
    if ours and _encode(safetensors, arrays) != content:  # what `save` would write, to the last bit
        raise ValueError(f"{path} is damaged: its content does not match its checksum")
    expected = {name: shape(tensor) for name, tensor in model.tensors().items()}
    got = {name: array.shape for name, array in arrays.items()}
    if expected != got:
        raise ValueError(f"{path} holds another model: expected {_shapes(expected)}; got {_shapes(got)}")
    model.load_state_dict({name: array.astype(float).tolist() for name, array in arrays.items()})


def _encode(safetensors: Any, arrays: dict[str, Any]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return bytes(safetensors.save(arrays, {_CHECKSUM: digest.hexdigest()}))


def _read(path: Path) -> bytes:
    """The file's bytes, after a look at its first ten: errors that name the likely mistake."""
    with open(path, "rb") as file:
        start = file.read(10)
        if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"):
            raise ValueError(
                f"{path} is a pickle (as torch.save writes), which could run code; save it with "
                "safetensors.torch.save_file instead"
            )
        size = os.fstat(file.fileno()).st_size
        header = struct.unpack("<Q", start[:8])[0] if len(start) >= 8 else 0
        if not 2 <= header <= size - 8:
            raise ValueError(f"{path} is not a whole safetensors file: {size} bytes, header of {header}")
        file.seek(0)
        return file.read()


def _metadata(content: bytes) -> dict[str, str]:
    (size,) = struct.unpack("<Q", content[:8])
    found = json.loads(content[8 : 8 + size], object_pairs_hook=_each_once).get("__metadata__", {})
    return found if isinstance(found, dict) else {}


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)} stands twice in its header")
    return found


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    listed = [f"{name} {shape}" for name, shape in sorted(shapes.items())]
    more = f", ... {len(listed) - 6} more" if len(listed) > 6 else ""
    return ", ".join(listed[:6]) + more or "nothing"


def _libraries() -> tuple[Any, Any]:
    try:
        import numpy
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'tinygrad_lite[files]'") from None
    return numpy, safetensors.numpy
