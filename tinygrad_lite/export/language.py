"""What differs between C and JavaScript: numbers, declarations, and the library of functions."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence

from ..compiler.vector_math import ERF_BOTTOM, ERF_TOP, ERFC_BOTTOM, ERFC_TOP
from .rows import HELPERS

# of <math.h>: those that JavaScript's Math has as well, and the others
_MATH = (
    "exp|expm1|log|log1p|log2|log10|sqrt|cbrt|hypot|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|asinh|acosh|atanh"
    "|floor"
)
_C_ALONE = "fabs|pow|exp2|rint|fmod|copysign|erf"
# no names for a function: words of the languages, and names of the code's own
_TAKEN = (
    "auto|break|case|char|class|const|continue|default|delete|do|double|else|enum|export|extern|false|float|for|"
    "function|goto|if|import|in|inline|inputs|int|let|long|main|new|null|register|restrict|return|short|signed|sizeof|"
    r"static|struct|switch|this|throw|true|try|typedef|typeof|union|unsigned|var|void|volatile|while|with|yield|"
    r"e|i|j|k|m|z|r|x|p|g|n|t|lr|at|[ntuv]\d+|input|state|out|parameters|rows|real|NAN|INFINITY"
)


class C:
    """C99, in numbers of type `real`: double or float."""

    ON_STACK = 8192  # numbers of an array: a larger one is kept between calls

    def __init__(self, real: str) -> None:
        self.real = real

    def number(self, x: float) -> str:
        if self.real == "float":
            try:
                x = float(f"{struct.unpack('f', struct.pack('f', x))[0]:.9g}")
            except OverflowError:
                x = x * float("inf")
        return "NAN" if x != x else ("-" if x < 0 else "") + "INFINITY" if x - x != 0.0 else repr(x)

    def local(self, name: str, expression: str) -> str:
        return f"real {name} = {expression};"

    def loop(self, index: str, count: str) -> str:
        return f"for (int {index} = 0; {index} < {count}; {index}++) {{"

    def memory(self, name: str, size: int) -> str:
        return f"{'static ' if size > self.ON_STACK else ''}real {name}[{size}];"

    def numbers(self, name: str, numbers: Iterable[float]) -> str:
        listed = [self.number(x) for x in numbers]
        return f"static const real {name}[{len(listed)}] = {{{_wrapped(listed)}}};"

    def table(self, name: str, entries: Sequence[int]) -> str:
        return f"static const int {name}[{len(entries)}] = {{{_wrapped(map(str, entries))}}};"

    def finished(self, code: str) -> str:
        """The code in this language's own words, after the helpers that it calls."""
        code = _with_helpers(code, HELPERS)
        if self.real == "float":
            code = re.sub(rf"\b({_MATH}|{_C_ALONE})\(", r"\1f(", code)
            code = re.sub(r"(?<![\w.])(\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+)(?![\w.])", r"\1f", code)
        return re.sub(r"\breal\b", self.real, code)


class JavaScript:
    """An ES module. Numbers are doubles, arrays of them Float64Array."""

    def number(self, x: float) -> str:
        return "NaN" if x != x else ("-" if x < 0 else "") + "Infinity" if x - x != 0.0 else repr(x)

    def local(self, name: str, expression: str) -> str:
        return f"let {name} = {expression};"

    def loop(self, index: str, count: str) -> str:
        return f"for (let {index} = 0; {index} < {count}; {index}++) {{"

    def memory(self, name: str, size: int) -> str:
        return f"const {name} = new Float64Array({size});"

    def numbers(self, name: str, numbers: Iterable[float]) -> str:
        return f"const {name} = new Float64Array([{_wrapped(map(self.number, numbers))}]);"

    def table(self, name: str, entries: Sequence[int]) -> str:
        return f"const {name} = new Int32Array([{_wrapped(map(str, entries))}]);"

    def finished(self, code: str) -> str:
        code = _with_helpers(code, HELPERS | _LIBRARY)
        code = re.sub(r"static (?:real|void) (\w+)\(([^)]*)\)", _header, code)
        code = re.sub(r"\b(?:real|int) (\w+) =", r"let \1 =", code)
        code = re.sub(rf"(?<![\w.])({_MATH})\(", r"Math.\1(", code)
        code = re.sub(r"\bfabs\(", "Math.abs(", code)
        return re.sub(r"\bNAN\b", "NaN", re.sub(r"\bINFINITY\b", "Infinity", code))


def _header(found: re.Match[str]) -> str:
    names = [part.split()[-1].lstrip("*") for part in found[2].split(",")]
    return f"function {found[1]}({', '.join(names)})"


def _polynomial(x: str, coefficients: Sequence[float]) -> str:
    """The sum of coefficients[i] x^i, by Horner's scheme."""
    *lower, highest = coefficients
    text = repr(highest)
    for a in reversed(lower):
        text = f"({text}) * {x} + {a!r}" if " " in text else f"{text} * {x} + {a!r}"
    return text


# what C has and JavaScript has not, or has otherwise
_LIBRARY = {
    "pow": """
static real pow(real x, real n) {
  return x == 1.0 || (x == -1.0 && fabs(n) == INFINITY) ? 1.0 : x ** n;
}""",
    "exp2": """
static real exp2(real x) {
  return 2.0 ** x;
}""",
    "copysign": """
static real copysign(real x, real sign) {
  return sign < 0.0 || 1.0 / sign < 0.0 ? -fabs(x) : fabs(x);
}""",
    "fmod": """
static real fmod(real a, real b) {
  return a % b;
}""",
    "rint": """
static real rint(real x) {
  return fabs(x) < 2.0 ** 52 ? copysign(fabs(x) + 2.0 ** 52 - 2.0 ** 52, x) : x;
}""",
    "erf": f"""
static real erf(real x) {{
  real size = fabs(x) > 6.0 ? 6.0 : fabs(x);
  real s = size * size;
  if (size < 0.84375) {{
    return x + x * (({_polynomial("s", ERF_TOP)}) / ({_polynomial("s", ERF_BOTTOM)}));
  }}
  real ratio = ({_polynomial("size", ERFC_TOP)}) / ({_polynomial("size", ERFC_BOTTOM)});
  return copysign(1.0 - exp(-s) * ratio, x);
}}""",
}


def is_free(name: str) -> bool:
    """Can a function have this name in both languages?"""
    taken = "|".join([_MATH, _C_ALONE, _TAKEN, *HELPERS])
    return bool(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)) and not re.fullmatch(taken, name)


def _with_helpers(code: str, helpers: dict[str, str]) -> str:
    """The code after those helpers that it calls, and those that they call."""
    called = set(re.findall(r"\b(\w+)\(", code))
    while more := {name for h in called & helpers.keys() for name in re.findall(r"\b(\w+)\(", helpers[h])} - called:
        called |= more
    needed = [name for name in helpers if name in called]
    order: list[str] = []
    while needed:  # callees first
        ready = [h for h in needed if not set(re.findall(r"\b(\w+)\(", helpers[h])) & (set(needed) - {h})]
        order += ready
        needed = [h for h in needed if h not in ready]
    return "".join(helpers[name] + "\n" for name in order) + code


def _wrapped(items: Iterable[str]) -> str:
    """Comma-separated, in lines of at most 110 characters where there are more than one."""
    lines = [""]
    for item in items:
        if len(lines[-1]) + len(item) > 108:
            lines.append("")
        lines[-1] += f"{item}, "
    text = "\n  ".join(line.strip() for line in lines)
    return f"\n  {text}\n" if len(lines) > 1 else text.rstrip(", ")
