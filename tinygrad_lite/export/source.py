"""One file of C or JavaScript, as text."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from ..engine import Value
from ..io import write_whole
from .language import C, JavaScript, is_free
from .recording import Recorded
from .writer import Writer


class Source(str):
    """The text of a file, with what a program that uses it may ask.

    header : C's declarations for other files. inputs, results : what each number that goes in and comes out is.
    parameters : the Values in the order of the array `parameters`; tensors : their names and shapes in it.
    """

    __slots__ = ("header", "inputs", "parameters", "results", "tensors")
    header: str
    inputs: list[str]
    results: list[str]
    parameters: list[Value]
    tensors: dict[str, tuple[int, ...]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the file, and C's header beside it, each whole or not at all; OSError as of `save`."""
        write_whole(path, self.encode())
        if self.header:
            write_whole(Path(path).with_suffix(".h"), self.header.encode())


def source(found: Recorded, language: C | JavaScript, name: str, constant: bool) -> Source:
    """The file with one function. constant: the parameters are in it, else they are an argument."""
    if not is_free(name):
        raise ValueError(f"name must be a name that C and JavaScript leave free, such as net, got {name!r}")
    constant = constant and not found.update and found.parameters > 0
    writer = Writer(language, found)
    writer.write()
    if isinstance(language, C):
        text = _c(writer, language, found, name, constant)
    else:
        text = _javascript(writer, language, found, name, constant)
    whole = Source(text)
    whole.inputs, whole.results = found.arguments, found.meanings
    whole.parameters, whole.tensors = found.values, found.tensors
    whole.header = ""
    if isinstance(language, C):
        guard = f"{name.upper()}_H"
        declared = _sizes(found, name) + f"{_prototype(found, language, name, constant)};\n"
        usage = f"/* {_about(found, name, constant)}\n*/\n"
        whole.header = f"{usage}#ifndef {guard}\n#define {guard}\n{declared}#endif\n".replace(
            "real ", f"{language.real} "
        )
    return whole


def _sizes(found: Recorded, name: str) -> str:
    """What a program that calls the function has room for."""
    sizes = {"INPUTS": found.inputs, "PARAMETERS": found.parameters}
    sizes |= {"STATE": found.state_size * found.moved} if found.update else {"RESULTS": len(found.results)}
    return "".join(f"#define {name.upper()}_{what} {size}\n" for what, size in sizes.items())


def _arguments(found: Recorded, constant: bool) -> list[str]:
    """The arguments with their types in C."""
    parameters = [] if constant or not found.parameters else [f"{'' if found.update else 'const '}real *parameters"]
    if found.update:
        state = ["real *state"] if found.state_size else []
        return [*parameters, *state, "const real *rows", "int n", "real lr", "real t"]
    return [*(["const real *input"] if found.inputs else []), *parameters, "real *out"]


def _prototype(found: Recorded, language: C, name: str, constant: bool) -> str:
    return f"{'real' if found.update else 'void'} {name}({', '.join(_arguments(found, constant))})"


def _about(found: Recorded, name: str, constant: bool) -> str:
    """The first comment, after the usage."""
    lines = [f"{name}: written by tinygrad_lite."]
    if found.update:
        lines.append(f"One training step on n examples, {found.inputs} numbers each in a row: moves parameters")
        lines.append("(and state, which starts at 0) at the learning rate lr; t counts the steps from 1.")
        lines.append("Returns the mean loss before it; where that is not finite, nothing moves.")
    else:
        lines += [f"input, {found.inputs} numbers: {_listed(found.arguments)}"] if found.inputs else []
        lines.append(f"out, {len(found.results)} numbers: {_listed(found.meanings)}")
    if found.parameters:
        lines.append(f"parameters, {found.parameters} numbers{', constants below' if constant else ''}:")
        at = 0
        for tensor, shape in list(found.tensors.items())[:40]:
            lines.append(f"  from {at}: {tensor} {list(shape) or ''}".rstrip())
            at += math.prod(shape)
        lines += [f"  and {len(found.tensors) - 40} more"] if len(found.tensors) > 40 else []
    # a label is data: neither end nor beginning of a comment, and no trigraph
    return re.sub(r"\*(?=/)|/(?=\*)|\?(?=\?)", r"\g<0> ", "\n   ".join(lines))


def _listed(names: Sequence[str]) -> str:
    names = [re.sub(r"\s+", " ", name) for name in names]
    return ", ".join(names if len(names) <= 6 else [*names[:3], "...", names[-1]])


def _c(writer: Writer, language: C, found: Recorded, name: str, constant: bool) -> str:
    memory = writer.memory()
    bytes_ = sum(memory.values()) * (8 if language.real == "double" else 4)
    kept = ", kept between calls: for one thread at a time" if max(memory.values(), default=0) > C.ON_STACK else ""
    usage = (
        f"double loss = {name}(parameters, {'state, ' if found.state_size else ''}rows, n, 0.1, t);"
        if found.update
        else f"{language.real} {f'input[{found.inputs}] = {{0}}, ' if found.inputs else ''}out[{len(found.results)}]; "
        f"{name}({'input, ' if found.inputs else ''}{'' if constant or not found.parameters else 'parameters, '}out);"
    )
    about = _about(found, name, constant)
    head = [
        f"/* {about}\n   Usage: {usage}",
        f"   Works in {bytes_:,} bytes{kept}. C99; link with -lm, without -ffast-math: nan and infinity count. */",
        "#include <math.h>",
        _sizes(found, name),
    ]
    body = [f"{_prototype(found, language, name, constant)} {{"]
    aliases = {"x": "rows" if found.update else "input", "p": "parameters", "g": "out"}
    body += [f"  {language.memory(array, size)}" for array, size in memory.items()]
    given = " ".join(_arguments(found, constant))
    for short, long in aliases.items():
        if short not in memory and writer.uses(short) and re.search(rf"\b{long}\b", given):
            moved = found.update is not None and short == "p"
            body.append(f"  {'' if moved or short == 'g' else 'const '}real *{short} = {long};")
        elif re.search(rf"\*{long}\b", given):
            body.append(f"  (void){long};")
    if constant and writer.uses("p"):
        body.append(f"  const real *p = {name}_parameters;")
    if found.update:
        body += [f"  (void){unused};" for unused in ("lr", "t") if not writer.uses(unused)]
    tables = [text.replace("t#", f"t{k}", 1) for k, text in enumerate(writer.tables)]
    if constant:
        tables.append(language.numbers(f"{name}_parameters", [v.data for v in found.values]))
    code = "\n".join([*tables, *body, *writer.lines, "}"]) + "\n"
    return "\n".join(head) + language.finished(code)


def _javascript(writer: Writer, language: JavaScript, found: Recorded, name: str, constant: bool) -> str:
    memory = writer.memory()
    tables = [text.replace("t#", f"t{k}", 1) for k, text in enumerate(writer.tables)]
    tables += [language.memory(array, size) for array, size in memory.items()]
    parameters = "parameters"
    if constant:
        tables.append("export " + language.numbers("parameters", [v.data for v in found.values]))
        parameters = "p = parameters"
    short = {"input": "x", "rows": "x", "parameters": "p"}
    names = [part.split()[-1].lstrip("*") for part in _arguments(found, constant)]
    names = [f"g = new Float64Array({len(found.results)})" if n == "out" else short.get(n, n) for n in names]
    if constant:
        names.insert(-1, parameters)
    sizes = {"inputs": found.inputs, "state": found.state_size * found.moved}
    head = [
        f"/* {_about(found, name, constant)}",
        f"   Usage: import {{ {name} }} from './{name}.mjs'; {name}({', '.join(n.split(' ')[0] for n in names)})",
        "   x input or rows, p parameters, g out: arrays of numbers. */",
        *[f"export const {what} = {size};" for what, size in sizes.items() if size and what != name],
    ]
    body = [f"export function {name}({', '.join(names)}) {{", *writer.lines]
    body += [] if found.update else ["  return g;"]
    return "\n".join(head) + "\n" + language.finished("\n".join([*tables, *body, "}"]) + "\n")
