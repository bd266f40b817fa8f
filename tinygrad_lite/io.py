"""Models in files: safetensors, with PyTorch's names and shapes, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import secrets
import stat
import struct
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .nn import Module, shape
from .nn.sequences import in_sequence
from .parts import printable

if TYPE_CHECKING:
    from numpy import ndarray

_CHECKSUM = "tinygrad_lite.sha256"
_MOST_HEADER = 10_000_000  # bytes, and 1,000 for each tensor of the model


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Writes model's parameters to a safetensors file: one float64 tensor per weight and bias, named and shaped as
    in PyTorch ("layers.0.weight", (nout, nin)), with a checksum.

    Atomic: the file is written beside path, flushed to disk and renamed, so that path always holds the old model
    or the new one. A file that is replaced passes on its permissions; a symbolic link is followed. OSError where it
    cannot be written, or where path is a folder, a device, a pipe or a socket. ValueError where two parameters would
    have one name.
    """
    np, safetensors = _libraries()
    _check_model("save", model)
    arrays = {name: np.array(numbers, dtype="<f8") for name, numbers in model.state_dict().items()}
    write_whole(path, _encode(safetensors, arrays))


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file, atomically: see `save`."""
    old = _regular(path)
    path = Path(os.path.realpath(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            if old is not None:
                _pass_on(old, temporary)
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
    or PyTorch's (float64, float32 or float16), also of an nn.Sequential, whose layers are taken in order.

    ValueError, and model unchanged, where the file is damaged, truncated, of another kind, or made for
    another model: before more is read than the model has room for. OSError where path is none or no file. Nothing in
    the file is executed.
    """
    _, safetensors = _libraries()
    _check_model("load", model)
    _regular(path)
    expected = {name: shape(tensor) for name, tensor in model.tensors().items()}
    content, metadata = _read(Path(path), expected)
    try:
        dtypes = {name: part["dtype"] for name, part in safetensors.deserialize(content)}
    except Exception as error:  # safetensors has an exception class of its own for each version
        raise _not_whole(path, error) from None
    for name, dtype in dtypes.items():
        if dtype not in ("F64", "F32", "F16"):
            raise ValueError(
                f"{path}: {_shown(name)} holds {dtype} numbers, expected float64, float32 or float16; in PyTorch "
                "convert the model by .double() before it is saved"
            )
    arrays = safetensors.load(content)
    # also where a flipped bit renamed the key
    ours = _CHECKSUM in metadata or any(re.fullmatch("[0-9a-f]{64}", text) for text in metadata.values())
    if ours and _encode(safetensors, arrays) != content:  # what `save` would write, bit for bit
        raise ValueError(f"{path} is damaged: its content does not match its checksum; copy it again")
    got = {name: array.shape for name, array in arrays.items()}
    if expected != got and in_sequence(expected, got) is None:
        raise _another_model(path, expected, got)
    model.load_state_dict({name: array.astype(float).tolist() for name, array in arrays.items()})


def _check_model(who: str, model: object) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{who} expects a model, an nn.Module, and then a path, got {model!r}")


def _regular(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What the system says of a file; None where there is none. OSError where something else has its name."""
    try:
        found = os.stat(path)  # follows links
    except FileNotFoundError:
        return None
    if stat.S_ISREG(found.st_mode):
        return found
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{path} is a directory, expected a file in it, such as {Path(path, 'm.safetensors')}")
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    raise OSError(f"{path} is {kinds.get(stat.S_IFMT(found.st_mode), 'a device')}, expected a file")


def _pass_on(old: os.stat_result, path: Path) -> None:
    """Gives a new file owner and permissions of the old one, as far as the system lets this user."""
    if hasattr(os, "chown") and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
        with suppress(PermissionError):
            os.chown(path, old.st_uid, old.st_gid)
    os.chmod(path, stat.S_IMODE(old.st_mode))


def _encode(safetensors: ModuleType, arrays: dict[str, ndarray]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}\0{array.dtype}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return bytes(safetensors.save(arrays, {_CHECKSUM: digest.hexdigest()}))


def _read(path: Path, expected: dict[str, tuple[int, ...]]) -> tuple[bytes, dict[str, str]]:
    """The file's bytes and its metadata, after a look at its first eight and at its header: errors that name the
    likely mistake, and no numbers read where there are more than the model's shapes have room for."""
    with open(path, "rb") as file:
        start = file.read(8)
        size = os.fstat(file.fileno()).st_size
        header = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= header <= min(size - 8, _MOST_HEADER + 1000 * len(expected)):
            if start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"):
                raise ValueError(
                    f"{path} is a pickle (as torch.save writes), which could run code; save it with "
                    "safetensors.torch.save_file instead"
                )
            raise _not_whole(path, f"{size} bytes, header of {header}")
        try:
            parts = json.loads(file.read(header), object_pairs_hook=_each_once)
            metadata = parts.pop("__metadata__", None) or {}
            got = {name: tuple(part["shape"]) for name, part in parts.items()}
            end = 8 + header + max([part["data_offsets"][1] for part in parts.values()], default=0)
        except Exception as error:
            raise _not_whole(path, error) from None
        too_long = end - 8 - header > 8 * sum(map(math.prod, expected.values()))
        if end != size or (too_long and got == expected):
            raise _not_whole(path, f"{size} bytes, which its header does not describe")
        if too_long:
            raise _another_model(path, expected, got)
        file.seek(0)
        return file.read(size), metadata


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, part in pairs:
        if name in found:
            raise ValueError(f"{name} appears twice in its header")
        found[name] = part
    return found


def _not_whole(path: object, why: object) -> ValueError:
    return ValueError(f"{path} is not a whole safetensors file: {_shown(str(why))}; copy or download it again")


def _another_model(path: object, expected: dict[str, tuple[int, ...]], got: dict[str, tuple[int, ...]]) -> ValueError:
    return ValueError(
        f"make the model as the one that was saved: {path} holds another model: expected {_shapes(expected)}; "
        f"got {_shapes(got)}"
    )


def _shapes(shapes: dict[str, tuple[int, ...]]) -> str:
    listed = [f"{_shown(name)} {_shown(str(shape))}" for name, shape in sorted(shapes.items())]
    more = f", ... {len(listed) - 6} more" if len(listed) > 6 else ""
    return ", ".join(listed[:6]) + more or "nothing"


def _shown(text: str) -> str:
    """The content of a file is data: no line breaks or control codes in a message, and no pages of it."""
    return printable(text if len(text) <= 200 else f"{text[:150]}...{text[-40:]}")


def _libraries() -> tuple[ModuleType, ModuleType]:
    try:
        import numpy
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f"{error.name} is missing: pip install 'tinygrad_lite[files]'") from None
    return numpy, safetensors.numpy
