"""Exported sources, compiled by gcc and run by Node. No tests."""

import ctypes
import json
import shutil
import struct
import subprocess

import pytest

FLAGS = "-std=c99 -Wall -Wextra -Werror -pedantic -Wconversion -Wsign-conversion -Wshadow -O1".split()  # noqa: SIM905


def compiled(folder, *sources, flags=()):
    """The C sources as one shared library."""
    if shutil.which("gcc") is None:
        pytest.skip("these tests need a C compiler: apt-get install gcc")
    files = []
    for i, source in enumerate(sources):
        files.append(folder / f"file{i}.c")
        files[-1].write_text(source)
    library = folder / f"library{len(list(folder.glob('*.so')))}.so"  # a name is loaded once
    command = ["gcc", *FLAGS, *flags, "-shared", "-fPIC", *files, "-o", library, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return ctypes.CDLL(library)


def call(library, name, source, *inputs, kind=ctypes.c_double):
    """The results of a function of numbers."""
    out = (kind * len(source.results))()
    arrays = [(kind * len(numbers))(*numbers) for numbers in inputs if numbers]
    getattr(library, name)(*arrays, out)
    return list(out)


_SCRIPT = """
const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const bits = text => new Float64Array(new Uint8Array(Buffer.from(text, "hex")).buffer);
const answers = [];
for (const [code, name, calls] of JSON.parse(Buffer.concat(chunks))) {
  const module = await import("data:text/javascript;base64," + Buffer.from(code).toString("base64"));
  for (const inputs of calls) {
    const given = inputs.map(x => typeof x === "string" ? bits(x) : x);
    const found = module[name](...given);
    const arrays = [Float64Array.of(...(typeof found === "number" ? [found] : found)), ...given.filter(x => x.buffer)];
    answers.push(arrays.map(a => Buffer.from(a.buffer).toString("hex")));
  }
}
console.log(JSON.stringify(answers));
"""


def by_node(*jobs):
    """For each (source, name, list of arguments) what the function returns and what became of its arrays, call by
    call. A list is an array of numbers, a number a number."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("these tests need Node: apt-get install nodejs")
    text = json.dumps([
        [code, name, [[_hex(x) if isinstance(x, list) else x for x in arguments] for arguments in calls]]
        for code, name, calls in jobs
    ])  # fmt: skip
    command = [node, "--input-type=module", "-e", _SCRIPT]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return [[_numbers(array) for array in arrays] for arrays in json.loads(done.stdout)]


def _hex(numbers):
    return struct.pack(f"<{len(numbers)}d", *numbers).hex()


def _numbers(text):
    return list(struct.unpack(f"<{len(text) // 16}d", bytes.fromhex(text)))
