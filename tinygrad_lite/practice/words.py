"""What a reader is told, and in which words."""

from __future__ import annotations

import dis
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import CodeType

from ..ieee import same
from ..mistakes import raised_at
from ..notation import digits, filled, printable, shortened


@dataclass(frozen=True, repr=False)
class Report:
    """What the reader is told. ok: True, False, or None where something is not answered yet."""

    ok: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        raise TypeError("a Report is neither true nor false, because it may be open: write report.ok")


class Told(Exception):  # noqa: N818 - nothing went wrong with us
    """There is nothing more to find out."""

    def __init__(self, ok: bool | None, text: str) -> None:
        self.report = Report(ok, text)


EXERCISE = "<exercise>"


def is_stub(f: object) -> bool:
    """Is this a function whose body is `...` or `pass`, at most with a docstring?"""
    code = f if isinstance(f, CodeType) else getattr(f, "__code__", None)
    return isinstance(code, CodeType) and all(
        step.argval in (None, ...) if "CONST" in step.opname else step.opname in ("RESUME", "NOP", "RETURN_VALUE")
        for step in dis.get_instructions(code)
    )


def still_empty(called: set[CodeType]) -> str:
    """Says which functions without a body were called, if any; a lambda may be meant so."""
    stubs = sorted({code.co_name for code in called if code.co_name != "<lambda>" and is_stub(code)})
    be = "is" if len(stubs) == 1 else "are"
    return filled(f"Not answered yet: {listed(stubs)} {be} still empty.") if stubs else ""


def told_by(error: Exception, hint: str = "") -> Told:
    """What an exception in the reader's code means, and the line in which it was raised."""
    f = raised_at(error, besides=EXERCISE)
    where = [f"  in {f.name}, line {f.lineno}: {short(f.line or '', 80)}"] if f else []
    if isinstance(error, NotImplementedError) or "ellipsis" in str(error):
        return Told(None, "\n".join(["Not answered yet: there is still something to fill in.", *where]))
    told = filled(f"Python says: {type(error).__name__}: {short(str(error), 300)}", indent="  ")
    return Told(False, "\n".join([told, *where, *[hint] * bool(hint)]))


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) or same(a, b)


def plain(x: float) -> str:
    """x without the noise of a difference quotient."""
    return "0" if abs(x) < 1e-9 else digits(x)


def short(text: str, most: int = 40) -> str:
    """A label is data: one line, and nothing that a terminal obeys."""
    return shortened(printable(text), most)


def listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
