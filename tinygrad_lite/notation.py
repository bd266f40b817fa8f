"""How expressions, paragraphs and tables are written: in plain text and in LaTeX at once."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import ops
from .ops import Op


class Written(NamedTuple):
    """An expression, in Python and in LaTeX. rank: how tightly its outermost operator binds."""

    text: str
    latex: str
    rank: int = 4


ATOM, _POWER, _PRODUCT, _SUM, LOOSE = 4, 3, 2, 1, 0
TIMES, EQUALS = Written("*", r"\cdot"), Written("=", "=")
_GLUE = "\N{NO-BREAK SPACE}"
_RANKS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "**": _POWER}
_SIGNS = {"*": r"\cdot", "==": "=", "<": r"\lt", "<=": r"\le"}
_FUNCTIONS = ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min")  # LaTeX has \exp, ...
_ESCAPED = {
    "\\": r"\backslash{}", "^": r"\wedge{}", "~": r"\sim{}", "<": r"\lt{}", ">": r"\gt{}", " ": r"\ ", ".": "{.}",
    "*": r"\ast{}", "|": r"\vert{}", "`": r"\grave{\ }", "'": r"\prime{}", **{c: f"\\{c}" for c in "{}$&#%_"},
}  # fmt: skip


def written(op: Op, xs: Sequence[Written]) -> Written:
    """op applied to xs: with the operator between two of them where its symbol is one, else as a function."""
    if op is ops.neg:
        x = _inside(xs[0], _PRODUCT, right=True)
        return Written(f"-{x.text}", f"-{x.latex}", _PRODUCT)
    if len(xs) == 2 and not op.symbol[:1].isalpha():
        rank = _RANKS.get(op.symbol, LOOSE)
        a = _inside(xs[0], ATOM if op is ops.power else max(rank, _SUM))
        b = _inside(xs[1], max(rank, _SUM) + (op.symbol in ("-", "/")), right=True)
        if op is ops.power:
            return Written(f"{a.text}**{b.text}", f"{a.latex}^{{{xs[1].latex}}}", rank)
        latex = f"{a.latex} {_SIGNS.get(op.symbol) or escaped(op.symbol)} {b.latex}"
        latex = rf"\frac{{{xs[0].latex}}}{{{xs[1].latex}}}" if op is ops.div else latex
        whole = Written(f"{a.text} {op.symbol} {b.text}", latex, rank)
        return _inside(whole, _SUM)  # y = (a < b), not y = a < b
    texts, latexes, n = [x.text for x in xs], ", ".join(x.latex for x in xs), len(xs) // 2
    text = ", ".join(texts)
    if op is ops.dot:
        text = ", ".join([f"[{', '.join(texts[:n])}], [{', '.join(texts[n : 2 * n])}]", *texts[2 * n :]])
        products = [written(ops.mul, pair) for pair in zip(xs, xs[n : 2 * n])]
        return Written(f"dot({text})", _plus([*products, *xs[2 * n :]]), _SUM)
    if op is ops.pick:
        text = f"{texts[0]}, [{', '.join(texts[1:])}]"
    elif op.pack and op not in (ops.maximum, ops.minimum):
        text = f"[{text}]"
    text = f"{op.name}({text})"
    if op is ops.total:
        return Written(text, _plus(xs), _SUM)
    if op in (ops.sqrt, ops.abs_):
        return Written(text, rf"\sqrt{{{latexes}}}" if op is ops.sqrt else rf"\left|{latexes}\right|")
    return Written(text, rf"{function(op)}\left({latexes}\right)")


def number(x: float) -> Written:
    """Six digits of x."""
    text = f"{x + 0.0:.6g}"  # + 0.0: never -0
    digits, _, exponent = text.partition("e")
    latex = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{nan}"}.get(text, digits)
    latex += rf" \cdot 10^{{{int(exponent)}}}" if exponent else ""
    return Written(text, latex, _PRODUCT if exponent or text[0] == "-" else ATOM)


def _inside(x: Written, rank: int, right: bool = False) -> Written:
    """x in parentheses where it binds less tightly than rank, or has its sign after another one."""
    if x.rank >= rank and not (right and x.text.startswith("-")):
        return x
    return Written(f"({x.text})", rf"\left({x.latex}\right)")


def _plus(xs: Sequence[Written]) -> str:
    return " + ".join(_inside(x, _SUM, right=i > 0).latex for i, x in enumerate(xs)) or "0"


def function(op: Op) -> str:
    return f"\\{op.symbol}" if op.symbol in _FUNCTIONS else rf"\operatorname{{{escaped(op.symbol)}}}"


def escaped(text: str) -> str:
    """Text that LaTeX's mathematics, Markdown and HTML all show as it is: labels are data."""
    return "".join(_ESCAPED.get(c, c) for c in text)


def joined(between: str, *xs: Written) -> Written:
    return Written(between.join(x.text for x in xs), between.join(x.latex for x in xs), LOOSE)


def partial(top: Written, bottom: Written) -> Written:
    top, bottom = _inside(top, ATOM), _inside(bottom, ATOM)
    return Written(f"d {top.text} / d {bottom.text}", rf"\frac{{\partial {top.latex}}}{{\partial {bottom.latex}}}")


def count_of(n: int, what: str) -> str:
    """1 scalar, 1,000 scalars."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def word(text: str) -> Written:
    return Written(text, rf"\text{{{text}}}" if text else "")


def code(text: str) -> Written:
    return Written(text, rf"\mathtt{{{escaped(text)}}}")


def say(template: str, *parts: Any) -> Prose:
    """The template, its {} filled. It must be the same as text, in LaTeX and in Markdown; parts need not."""
    texts = [x.text.replace(" ", _GLUE) if isinstance(x, Written) and len(x.text) < 40 else x for x in parts]
    latex = [f"${x.latex}$" if isinstance(x, Written) else x for x in parts]
    return Prose(template.format(*[getattr(x, "text", x) for x in texts]), template.format(*latex))


def _columns(text: str) -> int:
    """How many columns a terminal gives to text."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def _clip(text: str, most: int) -> str:
    """text, less its middle where it has more columns than that."""
    cut = text
    while _columns(cut) > max(0, most - 4):
        cut = cut[: len(cut) // 2] + cut[len(cut) // 2 + 1 :]
    return text if _columns(text) <= most else f"{cut[: len(cut) // 2]} .. {cut[len(cut) // 2 :]}" if cut else ""


def _padded(gap: str, align: str, text: str, width: int) -> str:
    space = " " * (width - _columns(text))
    return gap + (text + space if align == "l" else space + text)


def _at_points(numbers: Sequence[str]) -> list[str]:
    """The numbers, padded so that, ends aligned, their decimal points are."""
    decimals = [len(x) - re.search(r"[.e]|$", x).start() for x in numbers]  # type: ignore[union-attr]
    return [x + " " * (max(decimals) - n) for x, n in zip(numbers, decimals)]


# --- paragraphs and tables


class Prose(NamedTuple):
    """A paragraph, as text and as LaTeX. A no-break space in the text is one at which no line ends."""

    text: str
    latex: str

    def fitted(self, width: int) -> str:
        lines = textwrap.wrap(self.text, width, break_long_words=False, break_on_hyphens=False)
        return "\n".join(lines).replace(_GLUE, " ")


class Table(NamedTuple):
    """align: l, r (numbers, at their points) or c for each column. last: a row below a line."""

    align: str
    head: tuple[Written, ...]
    rows: Sequence[tuple[Written, ...]]
    last: tuple[Written, ...] | None = None

    def fitted(self, width: int) -> str:
        """Where width is short the first column and the formulas give way, numbers never do."""
        rows = [self.head, *self.rows, *([self.last] if self.last else [])]
        columns = [[row[i].text for row in rows] for i in range(len(self.align))]
        columns = [c[:1] + _at_points(c[1:]) if align == "r" else c for align, c in zip(self.align, columns)]
        gaps = [" " if "c" in self.align[max(0, i - 1) : i + 1] else "  " for i in range(len(self.align))]
        last = len(columns) - 1
        for i, least in (last, 12), (0, 24), (last, 0), (0, 12):
            widths = [max(map(_columns, column)) for column in columns]
            excess = sum(widths) + len("".join(gaps)) - width
            if excess > 0 and self.align[i] == "l":
                columns[i] = [_clip(text, max(least, widths[i] - excess)) for text in columns[i]]
        widths = [max(map(_columns, column)) for column in columns]
        lines = list(zip(*columns))
        if self.last:
            totals = [align == "r" and bool(cell.text) for align, cell in zip(self.align, self.last)]
            lines.insert(-1, tuple("-" * (n * total) for n, total in zip(widths, totals)))
        return "\n".join("".join(map(_padded, gaps, self.align, line, widths)).rstrip() for line in lines)

    @property
    def latex(self) -> str:
        head, *rows = [" & ".join(cell.latex for cell in row) for row in (self.head, *self.rows)]
        lines = [head + r" \\ \hline", *[row + r" \\" for row in rows]]
        if self.last:
            lines += [r"\hline", " & ".join(cell.latex for cell in self.last)]
        return "\n".join(["$$", rf"\begin{{array}}{{{self.align}}}", *lines, r"\end{array}", "$$"])
