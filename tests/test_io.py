"""Models in files: what design.md section 4 promises of `save` and `load`."""

import json
import math
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tinygrad_lite
from tinygrad_lite import Value, load, nn, save

ROOT = Path(tinygrad_lite.__file__).parents[1]


def bits(model):
    return [(path, struct.pack("<d", p.data)) for path, p in model.named_parameters()]


def fill(model, numbers):
    for p, number in zip(model.parameters(), numbers, strict=True):
        p.data = number
    return model


def raw(header, body=b""):
    """A safetensors file of our own making: length, header, numbers."""
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + body


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.safetensors"


def refuse(model, path, message, error=ValueError):
    """load raises with this message, names the file, and leaves every parameter as it was."""
    before = bits(model)
    with pytest.raises(error, match=message) as caught:
        load(model, path)
    assert str(path) in str(caught.value)
    assert bits(model) == before


# --- there and back

NUMBERS = [
    0.0, -0.0, 1.0, 0.1, 1 / 3, math.pi, 5e-324, -2.2250738585072009e-308, 2.2250738585072014e-308,
    1.7976931348623157e308,
    math.inf, -math.inf, math.nan, -math.nan, struct.unpack("<d", bytes.fromhex("0100000000 00f87f"))[0],
]  # fmt: skip


class Nested(nn.Module):
    def __init__(self):
        self.scale = Value(1.0)
        self.matrix = [[Value(4.0), Value(5.0)], [Value(6.0), Value(7.0)]]
        self.parts = {"first": nn.Neuron(3, seed=0), "../outside": nn.Layer(1, 2, seed=1)}


def test_every_kind_of_float_comes_back_bit_for_bit(path):
    model = fill(nn.Neuron(len(NUMBERS) - 1), NUMBERS)
    save(model, path)
    other = nn.Neuron(len(NUMBERS) - 1)
    load(other, path)
    assert bits(other) == bits(model)


def test_random_bit_patterns_come_back_bit_for_bit(path):
    rng = random.Random(0)
    numbers = struct.unpack("<3001d", rng.randbytes(8 * 3001))
    model, other = fill(nn.Neuron(3000), numbers), nn.Neuron(3000)
    save(model, path)
    load(other, path)
    assert bits(other) == bits(model)


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: nn.Neuron(1, seed=seed),
        lambda seed: nn.Layer(3, 2, seed=seed),
        lambda seed: nn.MLP(2, [16, 16, 1], seed=seed),
        lambda seed: fill(Nested(), [seed + i / 7 for i in range(13)]),
        lambda seed: nn.Module(),
    ],
    ids=["Neuron", "Layer", "MLP", "Nested", "empty"],
)
def test_a_loaded_model_has_the_saved_ones_numbers(make, path):
    model, other = make(1), make(2)
    save(model, path)
    load(other, path)
    assert bits(other) == bits(model)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_path_may_be_a_string_and_have_no_folder(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, other = nn.Neuron(2, seed=0), nn.Neuron(2, seed=1)
    save(model, kind("m.safetensors"))
    load(other, kind("m.safetensors"))
    assert bits(other) == bits(model)
    assert os.listdir(tmp_path) == ["m.safetensors"]


def test_saving_changes_neither_numbers_nor_gradients(path):
    model = nn.MLP(2, [3, 1], activation="tanh", seed=0)
    model([1.0, 2.0]).backward()
    before, grads = bits(model), [p.grad for p in model.parameters()]
    save(model, path)
    assert (bits(model), [p.grad for p in model.parameters()]) == (before, grads)


def test_saving_the_same_model_twice_gives_the_same_bytes(tmp_path):
    contents = set()
    for i in range(10):
        save(nn.MLP(2, [4, 4, 1], seed=0), tmp_path / f"{i}.safetensors")
        contents.add((tmp_path / f"{i}.safetensors").read_bytes())
    assert len(contents) == 1


def test_a_file_says_nothing_about_when_or_where_it_was_made(path, tmp_path):
    save(nn.Neuron(1, seed=0), path)
    (size,) = struct.unpack("<Q", path.read_bytes()[:8])
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert set(header) == {"__metadata__", "w", "b"}
    assert list(header["__metadata__"]) == ["tinygrad_lite.sha256"]


# --- other people's programs


def test_safetensors_numpy_reads_pytorchs_names_and_shapes(path):
    model = nn.MLP(2, [3, 1], seed=0)
    save(model, path)
    arrays = safetensors.numpy.load_file(path)
    assert {name: (array.shape, array.dtype) for name, array in arrays.items()} == {
        "layers.0.weight": ((3, 2), np.float64),
        "layers.0.bias": ((3,), np.float64),
        "layers.1.weight": ((1, 3), np.float64),
        "layers.1.bias": ((1,), np.float64),
    }
    assert {name: array.tolist() for name, array in arrays.items()} == model.state_dict()


def torch_mlp(torch):
    class Torch(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 3), torch.nn.Linear(3, 1)])

        def forward(self, x):
            return self.layers[1](torch.relu(self.layers[0](x)))

    torch.manual_seed(0)
    return Torch()


def test_pytorch_takes_over_a_saved_model(path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    model, theirs = nn.MLP(2, [3, 1], seed=0), torch_mlp(torch).double()
    save(model, path)
    theirs.load_state_dict(load_file(path))
    score = theirs(torch.tensor([0.3, -1.7], dtype=torch.float64)).item()
    assert score == pytest.approx(model([0.3, -1.7]).data, rel=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["bare", "format"])
def test_a_file_written_by_pytorch_loads(dtype, metadata, path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    theirs, model = torch_mlp(torch).to(getattr(torch, dtype)), nn.MLP(2, [3, 1], seed=0)
    save_file(theirs.state_dict(), path, metadata)
    load(model, path)
    assert model.state_dict() == {name: tensor.double().tolist() for name, tensor in theirs.state_dict().items()}


LAYER = {"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])}  # a Layer(2, 1)


def test_a_foreign_file_with_metadata_of_its_own_loads(path):
    safetensors.numpy.save_file(LAYER, path, metadata={"format": "pt", "epoch": "3"})
    layer = nn.Layer(2, 1)
    load(layer, path)
    assert layer.state_dict() == {"weight": [[1.0, 2.0]], "bias": [3.0]}


# --- whole or not at all


def raising(*arguments, **options):
    raise OSError(5, "Input/output error")


def interrupting(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(("fault", "error"), [(raising, OSError), (interrupting, KeyboardInterrupt)])
@pytest.mark.parametrize("there", [True, False], ids=["over an old file", "a new file"])
def test_a_save_that_fails_leaves_the_old_file_and_no_other(call, fault, error, there, path, tmp_path, monkeypatch):
    if there:
        save(nn.Neuron(2, seed=0), path)
    before = {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)}
    monkeypatch.setattr(os, call, fault)
    with pytest.raises(error):
        save(nn.Neuron(2, seed=1), path)
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == before


def test_a_disk_that_is_full_leaves_the_old_file_and_no_other(path, tmp_path):
    resource = pytest.importorskip("resource")
    save(nn.Neuron(2, seed=0), path)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the write itself fails, however it is made
    try:
        with pytest.raises(OSError, match="File too large"):
            save(nn.Neuron(2, seed=1), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


KILLED = """
import os, signal, sys
from tinygrad_lite import nn, save
setattr(os, sys.argv[2], lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
save(nn.Neuron(2, seed=1), sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_process_killed_while_saving_leaves_the_old_file(call, path):
    save(nn.Neuron(2, seed=0), path)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), call], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == -9, done.stderr
    assert path.read_bytes() == before


def test_the_file_is_on_disk_before_it_gets_its_name(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a)))
    save(nn.Neuron(2, seed=0), path)
    assert calls[:2] == ["fsync", "replace"]


def test_saving_over_a_file_replaces_it(path, tmp_path):
    model = nn.Neuron(2, seed=1)
    save(nn.MLP(2, [16, 1], seed=0), path)
    save(model, path)
    other = nn.Neuron(2)
    load(other, path)
    assert bits(other) == bits(model)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_new_file_has_the_permissions_of_any_new_file(path, tmp_path):
    (tmp_path / "any").touch()
    save(nn.Neuron(1), path)
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "any").stat().st_mode)


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing-folder"):
        save(nn.Neuron(1), tmp_path / "missing-folder" / "m.safetensors")
    assert os.listdir(tmp_path) == []


def test_a_folder_in_the_files_place_is_left_alone(tmp_path):
    folder = tmp_path / "m.safetensors"
    folder.mkdir()
    with pytest.raises(OSError, match=r"m\.safetensors"):
        save(nn.Neuron(1), folder)
    assert os.listdir(tmp_path) == [folder.name]
    refuse(nn.Neuron(1), folder, "directory|denied", OSError)


def test_names_that_look_like_paths_write_nothing_elsewhere(path, tmp_path):
    save(Nested(), path)
    assert os.listdir(tmp_path) == [path.name]
    assert "parts.../outside.weight" in safetensors.numpy.load_file(path)


def test_a_model_that_cannot_be_saved_leaves_the_old_file(path, tmp_path):
    save(nn.Neuron(1, seed=0), path)
    before = path.read_bytes()
    model = nn.Module()
    model.v = Value(1.0)
    model.v.data = "no number"
    with pytest.raises(ValueError, match="could not convert string to float"):
        save(model, path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


# --- damaged files

NOT_WHOLE = "is not a whole safetensors file"
SMALL = {"Neuron": lambda seed: nn.Neuron(1, seed=seed), "Layer": lambda seed: nn.Layer(1, 1, seed=seed)}


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_every_truncation_is_refused(make, path):
    save(make(1), path)
    content, model = path.read_bytes(), make(2)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refuse(model, path, NOT_WHOLE)


def test_every_truncation_of_a_foreign_file_is_refused(path):
    safetensors.numpy.save_file(LAYER, path)
    content, layer = path.read_bytes(), nn.Layer(2, 1, seed=0)
    for length in range(len(content)):
        path.write_bytes(content[:length])
        refuse(layer, path, NOT_WHOLE)


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_every_flipped_bit_is_refused(make, path):
    save(make(1), path)
    content, model = path.read_bytes(), make(2)
    with open(path, "r+b", buffering=0) as file:  # in place: making thousands of files takes seconds
        for i, byte in enumerate(content):
            for bit in range(8):
                file.seek(i)
                file.write(bytes([byte ^ 1 << bit]))
                refuse(model, path, f"{NOT_WHOLE}|is damaged: its content does not match its checksum")
            file.seek(i)
            file.write(bytes([byte]))
    load(model, path)
    assert bits(model) == bits(make(1))


@pytest.mark.parametrize("extra", [b"\0", b"\0" * 8, b"more"])
def test_bytes_after_the_end_are_refused(extra, path):
    save(nn.Neuron(1, seed=1), path)
    path.write_bytes(path.read_bytes() + extra)
    refuse(nn.Neuron(1, seed=2), path, NOT_WHOLE)


def test_two_numbers_that_changed_places_are_noticed(path):
    save(nn.Neuron(2, seed=1), path)
    content = path.read_bytes()
    path.write_bytes(content[:-16] + content[-8:] + content[-16:-8])
    refuse(nn.Neuron(2, seed=2), path, "is damaged: its content does not match its checksum")


# --- files of another kind


def entry(dtype, shape, start, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


THREE = struct.pack("<3d", 1.0, 2.0, 3.0)
WEIGHT = '"weight":' + json.dumps(entry("F64", [1, 2], 0, 16))
BIAS = '"bias":' + json.dumps(entry("F64", [1], 16, 24))
OTHER_MODEL = r"holds another model: expected bias \(1,\), weight \(1, 2\); got "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", f"{NOT_WHOLE}: 0 bytes"),
        (b"\0" * 8, f"{NOT_WHOLE}: 8 bytes, header of 0"),
        (b"\0" * 100, f"{NOT_WHOLE}: 100 bytes, header of 0"),
        (b"weights: 1.0 2.0\nbias: 3.0\n", f"{NOT_WHOLE}: 27 bytes"),
        (b'{"weight": [[1.0, 2.0]], "bias": [3.0]}', NOT_WHOLE),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, NOT_WHOLE),
        *(
            (pickle.dumps(LAYER, protocol), "is a pickle .* which could run code; save it with")
            for protocol in (2, 3, 4, 5)
        ),
        (pickle.dumps({"weight": 1.0}, 0), NOT_WHOLE),
        (struct.pack("<Q", 2**60) + b"{}" * 20, f"{NOT_WHOLE}: 48 bytes, header of {2**60}"),
        (struct.pack("<Q", 2**64 - 1) + b"{}" * 20, f"{NOT_WHOLE}: 48 bytes, header of {2**64 - 1}"),
        (raw(b"not json"), NOT_WHOLE),
        (raw(b"[]"), NOT_WHOLE),
        (raw(b"[" * 100_000), NOT_WHOLE),
        (raw(b"\xff\xfe" * 10), NOT_WHOLE),
        (raw({"weight": 1.0}), NOT_WHOLE),
        (raw({"weight": entry("F64", [1, 2], 0, 16), "bias": entry("F64", [1], 8, 16)}, THREE[:16]), NOT_WHOLE),
        (raw({"weight": entry("F64", [1, 2], 0, 16), "bias": entry("F64", [2], 16, 24)}, THREE), NOT_WHOLE),
        (raw({"weight": entry("F64", [-1, -2], 0, 16)}, THREE[:16]), NOT_WHOLE),
        (raw({"weight": entry("F64", [2**62, 2**62], 0, 16)}, THREE[:16]), NOT_WHOLE),
        (raw({"weight": entry("F99", [1, 2], 0, 16)}, THREE[:16]), NOT_WHOLE),
        (raw({}), OTHER_MODEL + "nothing"),
        (raw({"weight": entry("F64", [1, 2], 0, 16)}, THREE[:16]), OTHER_MODEL + r"weight \(1, 2\)$"),
        (
            raw({"weight": entry("F64", [2, 1], 0, 16), "bias": entry("F64", [1], 16, 24)}, THREE),
            OTHER_MODEL + r".*\(2, 1\)",
        ),
        (
            raw({"weight": entry("F64", [1, 2], 0, 16), "bias": entry("F64", [], 16, 24)}, THREE),
            OTHER_MODEL + r"bias \(\)",
        ),
        (
            raw({"weights": entry("F64", [1, 2], 0, 16), "bias": entry("F64", [1], 16, 24)}, THREE),
            OTHER_MODEL + r".*weights",
        ),
        (
            raw({"../weight": entry("F64", [1, 2], 0, 16), "bias": entry("F64", [1], 16, 24)}, THREE),
            OTHER_MODEL + r"\.\./w",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused_and_changes_nothing(content, message, path):
    path.write_bytes(content)
    refuse(nn.Layer(2, 1, seed=0), path, message)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_is_refused_with_the_function_to_use(zipped, path):
    torch = pytest.importorskip("torch")
    torch.save(torch_mlp(torch).state_dict(), path, _use_new_zipfile_serialization=zipped)
    refuse(nn.MLP(2, [3, 1], seed=0), path, r"is a pickle .* save it with safetensors\.torch\.save_file")


def test_a_pickle_is_not_run(path):
    class Bomb:
        def __reduce__(self):
            return (exec, (f"open({str(path.with_name('run'))!r}, 'w').close()",))

    path.write_bytes(pickle.dumps(Bomb()))
    refuse(nn.Neuron(1), path, "is a pickle")
    assert not path.with_name("run").exists()


@pytest.mark.parametrize(
    ("dtype", "size"),
    [
        ("I64", 8), ("I32", 4), ("U8", 1), ("BOOL", 1),
        ("BF16", 2), ("F8_E4M3", 1),
    ],
)  # fmt: skip
def test_numbers_that_are_no_floats_are_refused(dtype, size, path):
    header = {"weight": entry(dtype, [1, 2], 0, 2 * size), "bias": entry(dtype, [1], 2 * size, 3 * size)}
    path.write_bytes(raw(header, b"\1" * 3 * size))
    refuse(nn.Layer(2, 1, seed=0), path, r"float64, float32 or float16")


def test_a_name_that_stands_twice_in_the_header_is_refused(path):
    path.write_bytes(raw(f"{{{WEIGHT},{BIAS},{BIAS}}}".encode(), THREE))
    refuse(nn.Layer(2, 1, seed=0), path, "bias")


@pytest.mark.parametrize(
    ("saved", "loaded"),
    [
        (nn.MLP(2, [3, 1]), nn.MLP(2, [4, 1])),
        (nn.MLP(2, [3, 1]), nn.MLP(3, [3, 1])),
        (nn.MLP(2, [3, 1]), nn.MLP(2, [3, 1, 1])),
        (nn.MLP(2, [3, 1, 1]), nn.MLP(2, [3, 1])),
        (nn.Layer(2, 1), nn.Neuron(2)),
        (nn.Neuron(2), nn.Neuron(3)),
        (nn.Neuron(2), nn.Module()),
        (nn.Module(), nn.Neuron(2)),
    ],
    ids=lambda m: " ".join(repr(m).split()),
)
def test_a_model_of_another_shape_is_refused_and_left_alone(saved, loaded, path):
    save(saved, path)
    refuse(loaded, path, "holds another model: expected .*; got ")


def test_the_error_about_a_large_model_stays_short(path):
    save(nn.MLP(1, [1] * 20), path)
    refuse(nn.MLP(1, [1] * 30), path, r"\.\.\. 54 more; got .*\.\.\. 34 more$")


def test_a_file_that_is_missing_is_named(path):
    refuse(nn.Neuron(1), path, "No such file", FileNotFoundError)


@pytest.mark.parametrize("missing", ["numpy", "safetensors"])
@pytest.mark.parametrize("function", [save, load])
def test_without_its_libraries_the_error_names_the_extra(function, missing, path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"{missing}.* is missing: pip install 'tinygrad_lite\[files\]'"):
        function(nn.Neuron(1), path)
    assert not path.exists()
