"""Models in files: what design.md section 4 promises of `save` and `load`."""

import contextlib
import errno
import io
import itertools
import json
import math
import os
import pickle
import random
import re
import shutil
import signal
import socket
import stat
import struct
import sys
import tempfile
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import tinygrad_lite
from tinygrad_lite import Value, load, nn, save

from .interrupts import interrupted

pytestmark = pytest.mark.sample(10)


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


STEPS = ("open", "write", "flush", "fsync", "close", "replace", "open folder", "fsync folder", "close folder")
MOMENTS = [(step, when) for step in STEPS for when in ("before", "after")]


class Steps:
    """What `save` asks of the system, one after the other. `fault` strikes before or after one of them."""

    def __init__(self, monkeypatch, moment=None, fault=None):
        self.seen, self.moment, self.fault = [], moment, fault
        monkeypatch.setattr(tinygrad_lite.io, "open", lambda *a: self.take("open", File, self, *a), raising=False)
        for name, of_file, of_folder in ("open", "", "open folder"), ("fsync", "fsync", "fsync folder"), (
            "close", "", "close folder"
        ):  # fmt: skip
            real = getattr(os, name)
            monkeypatch.setattr(
                os,
                name,
                lambda *a, f=of_file, d=of_folder, real=real: self.take(d if "replace" in self.seen else f, real, *a),
            )
        replace = os.replace
        monkeypatch.setattr(os, "replace", lambda *a: self.take("replace", replace, *a))

    def take(self, step, act, *arguments):
        self.seen.append(step)
        self.strike(step, "before")
        result = act(*arguments)
        self.strike(step, "after")
        return result

    def strike(self, step, when):
        if self.moment == (step, when):
            self.moment = None
            self.fault()


class File(io.FileIO):
    """A file whose calls are steps; a fault before `write` finds half of the content written."""

    def __init__(self, steps, path, mode):
        super().__init__(path, mode)
        self.steps = steps

    def write(self, content):
        half = len(content) // 2
        return super().write(content[:half]) + self.steps.take("write", super().write, content[half:])

    def flush(self):
        self.steps.take("flush", super().flush)

    def close(self):
        if not self.closed:
            self.steps.take("close", super().close)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(params=[True, False], ids=["over an old file", "a new file"])
def saving(request, path, tmp_path, monkeypatch):
    """(model to save, folder before, folder after): whether the file is there before or not."""
    monkeypatch.setattr(os, "fsync", lambda file: None)  # no disk is asked to hurry, a thousand times
    model = nn.Neuron(2, seed=1)
    save(model, path)
    after = contents(tmp_path)
    path.unlink()
    if request.param:
        save(nn.Neuron(2, seed=0), path)
    return model, contents(tmp_path), after


def renamed(moment):
    """Does the file have its name by then?"""
    return MOMENTS.index(moment) >= MOMENTS.index(("replace", "after"))


def test_the_file_is_whole_and_on_disk_before_it_gets_its_name(path, monkeypatch):
    steps = Steps(monkeypatch)
    save(nn.Neuron(2, seed=0), path)
    assert [step for step in dict.fromkeys(steps.seen) if step] == list(STEPS)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.parametrize("moment", MOMENTS, ids=" ".join)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, None], ids=errno.errorcode.get)
def test_a_save_that_fails_leaves_the_old_file_or_the_new_one_and_no_other(
    error, moment, saving, path, tmp_path, monkeypatch
):
    model, before, after = saving

    def fault():
        raise OSError(error, os.strerror(error), str(path)) if error else KeyboardInterrupt

    with monkeypatch.context() as patch:
        Steps(patch, moment, fault)
        with pytest.raises(OSError if error else KeyboardInterrupt, match=os.strerror(error) if error else None):
            save(model, path)
    assert contents(tmp_path) == (after if renamed(moment) else before)
    save(model, path)
    assert contents(tmp_path) == after


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("moment", MOMENTS, ids=" ".join)
def test_a_process_killed_while_saving_leaves_the_old_file_or_the_new_one(moment, saving, path, tmp_path, monkeypatch):
    model, before, after = saving
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there may be threads: the child needs none
        child = os.fork()
    if not child:
        try:
            Steps(monkeypatch, moment, lambda: os.kill(os.getpid(), signal.SIGKILL))
            save(model, path)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    found = contents(tmp_path)
    stray = found.keys() - {path.name}  # nobody was left to remove it
    assert len(stray) == (not renamed(moment) and moment != ("open", "before"))
    assert {name: found[name] for name in found.keys() - stray} == (after if renamed(moment) else before)
    save(model, path)
    assert {name: content for name, content in contents(tmp_path).items() if name not in stray} == after


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # between open() and `with`
def test_ctrl_c_at_every_moment_of_a_save_leaves_the_old_file_or_the_new_one_and_no_other(saving, path, tmp_path):
    model, before, after = saving
    reached = set()
    for moment in itertools.count():
        stopped = interrupted(lambda: save(model, path), [tinygrad_lite.io], moment)
        found = contents(tmp_path)
        if not stopped:
            break
        assert found in (before, after), moment
        reached.add(found == after)
        path.unlink(missing_ok=True)
        for content in before.values():
            path.write_bytes(content)
    assert found == after and moment > 20 and reached == {True, False}


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_folder_that_is_read_only_keeps_the_old_file():
    folder = Path(tempfile.mkdtemp())  # not tmp_path, into which another user cannot look
    path = folder / "m.safetensors"
    user = os.geteuid()
    try:
        save(nn.Neuron(2, seed=0), path)
        before = contents(folder)
        folder.chmod(0o555)
        if user == 0:
            os.seteuid(65534)  # root may write everywhere
        for name in path.name, "new.safetensors":
            with pytest.raises(PermissionError, match="Permission denied"):
                save(nn.Neuron(2, seed=1), folder / name)
        os.seteuid(user)
        assert contents(folder) == before
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


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


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666, 0o755])
def test_a_file_that_is_replaced_passes_its_permissions_on(mode, path):
    save(nn.Neuron(1, seed=0), path)
    path.chmod(mode)
    save(model := nn.Neuron(1, seed=1), path)
    assert stat.S_IMODE(path.stat().st_mode) == mode
    path.chmod(0o600)
    load(twin := nn.Neuron(1), path)
    assert bits(twin) == bits(model)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_a_file_that_root_replaces_stays_its_owners(path):
    save(nn.Neuron(1, seed=0), path)
    os.chown(path, 65534, 65534)
    path.chmod(0o600)
    save(nn.Neuron(1, seed=1), path)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o600)


@pytest.fixture
def link(tmp_path):
    """A symbolic link beside the test's folder, to a file that is not there yet."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link.safetensors"
    try:
        link.symlink_to(Path("elsewhere") / "m.safetensors")
    except OSError:
        pytest.skip("no symbolic links here")
    return link


def test_a_symbolic_link_is_followed_and_stays(link, tmp_path):
    further = tmp_path / "further"
    further.symlink_to(link)
    for seed, way in enumerate((link, further)):  # the first makes the file, the second replaces it
        save(model := nn.Neuron(1, seed=seed), way)
        assert link.is_symlink() and further.is_symlink()
        assert os.listdir(tmp_path / "elsewhere") == ["m.safetensors"]
        load(twin := nn.Neuron(1), further)
        assert bits(twin) == bits(model)
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "further", "link.safetensors"]


def test_a_link_to_itself_or_into_a_missing_folder_is_refused(link, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    nowhere = tmp_path / "nowhere"
    nowhere.symlink_to(tmp_path / "missing-folder" / "m.safetensors")
    for refused, message in (loop, "symbolic links"), (nowhere, "there is no folder .*missing-folder"):
        with pytest.raises(OSError, match=message):
            save(nn.Neuron(1), refused)
        assert refused.is_symlink()


def device(folder):
    """A device that may be replaced by mistake: root has one of its own, nobody else may replace the system's."""
    path = Path("/dev/null")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        path = folder / "device"
        try:
            os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except OSError:
            pytest.skip("no devices may be made here")
    return path if path.exists() else pytest.skip("there are no devices here")


@pytest.fixture(params=["pipe", "socket", "device", "link to a device", "directory"])
def no_file(request, tmp_path):
    """(path, what it is): something that is no file."""
    kind, path = request.param, tmp_path / "m.safetensors"
    if kind == "pipe":
        os.mkfifo(path) if hasattr(os, "mkfifo") else pytest.skip("there are no pipes here")
    elif kind == "socket":
        if not hasattr(socket, "AF_UNIX"):
            pytest.skip("there are no such sockets here")
        with contextlib.chdir(tmp_path), socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)  # a short one: a socket's path has 108 bytes
    elif kind == "link to a device":
        path.symlink_to(device(tmp_path))
    elif kind == "device":
        path = device(tmp_path)
    else:
        path.mkdir()
    return path, kind.split()[-1]


def test_what_is_no_file_is_refused_and_left_alone(no_file):
    path, kind = no_file
    before, around = os.stat(path), os.listdir(path.parent)
    for refused in save, load:  # at once: a pipe would wait for a writer
        with pytest.raises(OSError, match=f"{re.escape(str(path))} is a {kind}, expected a file"):
            refused(nn.Neuron(1, seed=0), path)
    after = os.stat(path)
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)
    assert os.listdir(path.parent) == around


@pytest.mark.parametrize("function", [save, load])
def test_a_path_in_place_of_the_model_says_so(function, path):
    with pytest.raises(TypeError, match=r"expects a model, an nn\.Module, and then a path"):
        function(path, nn.Neuron(1))


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


def test_a_name_as_long_as_the_system_allows_can_be_saved(tmp_path):
    path = tmp_path / ("m" * (os.pathconf(tmp_path, "PC_NAME_MAX") if hasattr(os, "pathconf") else 200))
    save(nn.Neuron(1, seed=0), path)
    load(nn.Neuron(1), path)
    assert os.listdir(tmp_path) == [path.name]


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
    model = make(2)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        refuse(model, path, NOT_WHOLE)


def test_every_truncation_of_a_foreign_file_is_refused(path):
    safetensors.numpy.save_file(LAYER, path)
    layer = nn.Layer(2, 1, seed=0)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        refuse(layer, path, NOT_WHOLE)


def flipped(path):
    """Yields the place of each byte eight times, with another bit of it flipped. In place: making thousands of
    files takes seconds."""
    with open(path, "r+b", buffering=0) as file:
        for place, byte in enumerate(path.read_bytes()):
            for changed in *(byte ^ 1 << bit for bit in range(8)), byte:
                file.seek(place)
                file.write(bytes([changed]))
                if changed != byte:
                    yield place


@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_every_flipped_bit_is_refused(make, path):
    save(make(1), path)
    model = make(2)
    for _ in flipped(path):
        refuse(model, path, f"{NOT_WHOLE}|is damaged: its content does not match its checksum")
    load(model, path)
    assert bits(model) == bits(make(1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_a_flipped_bit_of_a_foreign_file_is_refused_or_changes_the_one_number_that_it_is_in(dtype, path):
    arrays = {"w": np.array([1.0, -2.0], dtype), "b": np.array(3.0, dtype)}
    safetensors.numpy.save_file(arrays, path, metadata={"format": "pt"})
    begin = path.stat().st_size - 3 * arrays["b"].itemsize  # of the numbers, which nothing guards
    for place in flipped(path):
        model = nn.Neuron(2, seed=0)
        expected = [p.data for p in model.parameters()]
        try:
            load(model, path)
        except ValueError:
            assert place < begin
        else:
            b, *w = np.frombuffer(path.read_bytes()[begin:], dtype).astype(float).tolist()
            expected = [*w, b]
            assert (expected == [1.0, -2.0, 3.0]) == (place < begin)
        assert repr([p.data for p in model.parameters()]) == repr(expected)


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


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # between open() and `with`
@pytest.mark.parametrize("damage", [False, True], ids=["whole", "damaged"])
def test_ctrl_c_at_every_moment_of_a_load_leaves_the_old_numbers_or_the_new_ones(damage, path):
    make = SMALL["Neuron"]
    save(make(1), path)
    if damage:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    def act():
        with contextlib.suppress(ValueError):
            load(model, path)

    reached = set()
    for moment in itertools.count():
        model = make(2)
        stopped = interrupted(act, [tinygrad_lite.io, nn], moment)
        reached.add(bits(model) == bits(make(1)))
        assert bits(model) in (bits(make(1)), bits(make(2))), moment
        if not stopped:
            break
    assert moment > 50 and reached == ({False} if damage else {False, True})


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
        (raw({}), OTHER_MODEL + "nothing$"),
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


def test_the_files_of_another_kind_are_told_from_one_that_loads(path):
    path.write_bytes(raw(f"{{{WEIGHT},{BIAS}}}".encode(), THREE))
    layer = nn.Layer(2, 1, seed=0)
    load(layer, path)
    assert layer.state_dict() == {"weight": [[1.0, 2.0]], "bias": [3.0]}


def header(weight=None, bias=None, **more):
    """The header of a Layer(2, 1), with some of its entries changed."""
    return {
        "weight": entry("F64", [1, 2], 0, 16) | (weight or {}),
        "bias": entry("F64", [1], 16, 24) | (bias or {}),
    } | more


HOSTILE = {
    "offsets that overlap": header(bias={"data_offsets": [8, 24]}),
    "offsets that leave a hole": header(bias={"data_offsets": [17, 24]}),
    "offsets in disorder": header(bias={"data_offsets": [24, 16]}),
    "negative offsets": header(weight={"data_offsets": [-16, 16]}),
    "an offset of 2**63": header(bias={"data_offsets": [16, 2**63]}),
    "an offset of 2**64 + 24": header(bias={"data_offsets": [16, 2**64 + 24]}),
    "an offset of a thousand digits": header(bias={"data_offsets": [16, 10**999]}),
    "offsets that are no whole numbers": header(bias={"data_offsets": [16.0, 24.0]}),
    "offsets that are true": header(weight={"data_offsets": [False, 16]}),
    "three offsets": header(bias={"data_offsets": [16, 24, 24]}),
    "one offset": header(bias={"data_offsets": [16]}),
    "no offsets": {"weight": {"dtype": "F64", "shape": [1, 2]}},
    "a negative shape": header(weight={"shape": [-1, -2]}),
    "a shape whose product is 2**64 + 2": header(weight={"shape": [2, 2**63 + 1]}),
    "a shape whose product overflows to what is there": header(weight={"shape": [2**32, 2**32, 2]}),
    "a shape of a thousand digits": header(weight={"shape": [10**999, 0]}),
    "a shape of true": header(weight={"shape": [True, 2]}),
    "a shape that is a number": header(weight={"shape": 2}),
    "a shape that is a text": header(weight={"shape": "12"}),
    "a shape of nan": header(weight={"shape": [math.nan, 2]}),
    "a shape of infinity": header(weight={"shape": [1, math.inf]}),
    "a dtype in small letters": header(weight={"dtype": "f64"}),
    "a dtype that is a number": header(weight={"dtype": 64}),
    "metadata that is a list": header(__metadata__=["format", "pt"]),
    "metadata that holds numbers": header(__metadata__={"epoch": 3}),
    "an entry that is a text": header() | {"bias": "F64"},
    "an entry that is null": header() | {"bias": None},
    "an entry a hundred thousand lists deep": json.dumps(header(more=0)).replace(
        '"more": 0', f'"more": {"[" * 100_000}{"]" * 100_000}'
    ),
    "a comment": json.dumps(header()).replace("}", "} // the end"),
    "a byte order mark": "\ufeff" + json.dumps(header()),
    "bytes that are no UTF-8": json.dumps(header()).encode().replace(b"bias", b"\xff\xfe"),
    "a name in half a surrogate": json.dumps(header()).replace("bias", "\\ud800"),
    "UTF-16": json.dumps(header()).encode("utf-16"),
    "a zero byte after the header": json.dumps(header()).encode() + b"\0",
    "two values": json.dumps(header()) + "{}",
    "a dtype twice": json.dumps(header()).replace('"dtype"', '"dtype": "F64", "dtype"', 1),
    "metadata twice": json.dumps(header()).replace("{", '{"__metadata__": {}, "__metadata__": {}, ', 1),
    "nothing": b"  ",
    "null": b"null",
    "a number": b"1e400",
    "a text": b'"weight"',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_header_that_breaks_the_rules_of_the_format_is_refused(content, path):
    content = content if isinstance(content, (bytes, dict)) else content.encode()
    path.write_bytes(raw(content, THREE))
    refuse(nn.Layer(2, 1, seed=0), path, f"{NOT_WHOLE}: .*; copy or download it again$")


@pytest.mark.parametrize("padding", [0, 1, 7, 8, 1000])
@pytest.mark.parametrize("metadata", [{}, {"__metadata__": {}}, {"__metadata__": None}, {"__metadata__": {"a": "\0"}}])
def test_spaces_after_the_header_and_metadata_of_any_kind_are_read_over(padding, metadata, path):
    path.write_bytes(raw(json.dumps(header(**metadata)).encode() + b" " * padding, THREE))
    layer = nn.Layer(2, 1, seed=0)
    load(layer, path)
    assert layer.state_dict() == {"weight": [[1.0, 2.0]], "bias": [3.0]}


@pytest.mark.parametrize(
    "name",
    ["../weight", "/etc/passwd", "C:\\weight", "weight\0", "\x1b[2Jweight", "a\nb", "\u202eweight", "w" * 10_000],
    ids=lambda name: ascii(name)[:20],
)
def test_a_name_in_a_file_is_data_and_its_message_is_one_short_line(name, path, tmp_path):
    path.write_bytes(raw({name: entry("F64", [1, 2], 0, 16), "bias": entry("F64", [1], 16, 24)}, THREE))
    layer = nn.Layer(2, 1, seed=0)
    refuse(layer, path, "make the model as the one that was saved: .* holds another model: expected bias .*; got ")
    with pytest.raises(ValueError) as caught:
        load(layer, path)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 600 + len(str(path))
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580, 0x4B50])
def test_a_header_as_long_as_the_first_bytes_of_a_pickle_or_zip_file_are_as_a_number_loads(length, path):
    def make(n):
        model = nn.Module()
        setattr(model, "n" * n, Value(1.0))
        return model

    save(make(1), path)
    (short,) = struct.unpack("<Q", path.read_bytes()[:8])
    model = make(1 + length - short)
    save(model, path)
    assert struct.unpack("<Q", path.read_bytes()[:8]) == (length,)
    (p,) = model.parameters()
    p.data = 2.0
    load(model, path)
    assert p.data == 1.0


# --- before much is read

MUCH = 2**40  # bytes; the files are sparse and take up none


@pytest.mark.parametrize(
    ("content", "size", "message"),
    [
        (struct.pack("<Q", 2**63) + b"{}", MUCH, f"{NOT_WHOLE}: {MUCH} bytes, header of {2**63}"),
        (struct.pack("<Q", MUCH - 8) + b"{}", MUCH, f"{NOT_WHOLE}: {MUCH} bytes, header of {MUCH - 8}"),
        (struct.pack("<Q", 50_000_000) + b"{}", 50_000_008, f"{NOT_WHOLE}: 50000008 bytes, header of 50000000"),
        (raw({"weight": entry("F64", [2**37], 0, MUCH)}), MUCH, r"holds another model: .* weight \(137438953472,\)$"),
        (raw(header(bias={"data_offsets": [16, MUCH]})), MUCH, NOT_WHOLE),
        (raw(header()), MUCH, f"{NOT_WHOLE}: {MUCH} bytes, which its header does not describe"),
    ],
    ids=["a header of 2**63", "a header of all", "a header of 50 MB", "numbers", "a row of numbers", "nothing to see"],
)
def test_a_file_that_is_too_large_is_refused_before_it_is_read(content, size, message, path):
    (length,) = struct.unpack("<Q", content[:8])
    with open(path, "wb") as file:
        file.write(content)
        file.truncate(size + (8 + length if size == MUCH and length < 1000 else 0))
    layer = nn.Layer(2, 1, seed=0)
    tracemalloc.start()
    try:
        refuse(layer, path, message.replace(str(MUCH), str(path.stat().st_size)) if length < 1000 else message)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


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


# --- limits, to the byte


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "2 bytes, header of 0;"),
        (raw(b"{"), "9 bytes, header of 1;"),
        (raw(b"{}")[:-1], "9 bytes, header of 2;"),
        (b"PK\3\4" + b"\0" * 30, "is a pickle"),
    ],
)
def test_a_header_that_is_none_or_ends_after_the_file_is_told_by_its_length(content, message, path):
    path.write_bytes(content)
    refuse(nn.Layer(2, 1, seed=0), path, message)


def test_a_header_may_have_a_thousand_bytes_more_for_each_tensor_of_the_model(path, monkeypatch):
    monkeypatch.setattr(tinygrad_lite.io, "_MOST_HEADER", 500)
    text, layer = json.dumps(header()).encode(), nn.Layer(2, 1, seed=0)
    path.write_bytes(raw(text.ljust(2501), THREE))
    refuse(layer, path, "header of 2501;")
    path.write_bytes(raw(text.ljust(2500), THREE))
    load(layer, path)
    assert layer.state_dict() == {"weight": [[1.0, 2.0]], "bias": [3.0]}


def test_a_header_may_have_ten_million_bytes_and_no_more(path):
    text, layer = json.dumps(header()).encode(), nn.Layer(2, 1, seed=0)  # of two tensors
    path.write_bytes(raw(text.ljust(10_002_001), THREE))
    refuse(layer, path, "header of 10002001;")
    path.write_bytes(raw(text.ljust(10_002_000), THREE))
    load(layer, path)
    assert layer.state_dict() == {"weight": [[1.0, 2.0]], "bias": [3.0]}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (0, "expected nothing; got p0 ()"),
        (6, "expected p0 (), p1 (), p2 (), p3 (), p4 (), p5 (); got nothing"),
        (7, "expected p0 (), p1 (), p2 (), p3 (), p4 (), p5 (), ... 1 more; got nothing"),
    ],
)
def test_six_tensors_are_named_and_the_rest_counted(tensors, message, path):
    def make(n):
        model = nn.Module()
        vars(model).update({f"p{i}": Value(1.0) for i in range(n)})
        return model

    save(make(tensors == 0), path)
    refuse(make(tensors), path, re.escape(message) + "$")


@pytest.mark.parametrize(
    ("length", "shown"),
    [(200, "0123456789" * 20), (201, "x" + "0123456789" * 14 + "012345678...0123456789" + "0123456789" * 3)],
)
def test_a_name_of_up_to_200_characters_is_shown_whole(length, shown, path):
    name = ("x" if length % 10 else "") + "0123456789" * (length // 10)
    path.write_bytes(raw({name: entry("F64", [1, 2], 0, 16)}, THREE[:16]))
    refuse(nn.Layer(2, 1, seed=0), path, re.escape(f"got {shown} (1, 2)") + "$")
