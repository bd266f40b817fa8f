"""How numbers, names, expressions, paragraphs and tables are written.

Numbers by `digits` and `decimals`, names by `one_line`, `printable` and `shortened`, paragraphs by `filled`, tables
by `aligned`. What is also shown as mathematics is `Written`, in plain text and in LaTeX at once.
"""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from . import ops
from .ops import Op

# --- numbers


def digits(x: float, n: int = 6) -> str:
    """x to n significant digits: 0.333333, 2, 1e-07."""
    return f"{x:.{n}g}"


def decimals(x: float) -> str:
    """x to four decimals, as in boxes: 0.3333, 2.0000; with an exponent where they would say little: 1.000e-07."""
    return f"{x:.4f}" if x == 0.0 or 1e-3 <= abs(x) < 1e5 or not math.isfinite(x) else f"{x:.3e}"


def span(numbers: Iterable[float]) -> str:
    """One number, or the least and the greatest of several: 1.0000 .. 3.0000."""
    found = list(numbers)
    undefined = sum(map(math.isnan, found))
    if undefined:
        return f"nan in {undefined:,} of {len(found):,}" if len(found) > 1 else "nan"
    low, high = decimals(min(found)), decimals(max(found))
    return low if low == high else f"{low} .. {high}"


def count_of(n: int, what: str) -> str:
    """1 scalar, 1,000 scalars."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


# --- names: data, which may hold anything

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# compiled at the first use: the second one takes as long as a fifth of the package's import
_BREAKS = "\r\n|[\n\r\v\f\x85\u2028\u2029]"
_NOT_XML = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"


def xml_legal(text: str) -> str:
    """The text, with U+FFFD in place of the characters that XML forbids."""
    return re.sub(_NOT_XML, _REPLACEMENT, text)


def one_line(text: str) -> str:
    """The text as pictures show it: a line break as a visible sign, no tabs, no characters that XML forbids."""
    return xml_legal(re.sub(_BREAKS, "\N{RETURN SYMBOL}", text).replace("\t", " "))


def printable(text: str) -> str:
    """The text as terminals show it: on one line, with U+FFFD in place of what is not printable."""
    return "".join(c if c.isprintable() else _REPLACEMENT for c in one_line(text))


def columns(text: str) -> int:
    """How many columns a terminal gives to the text."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def shortened(text: str, most: int = 40) -> str:
    """The text; where it takes more than `most` columns, its ends: encoder...12.w.3. Nothing in fewer than 5."""
    if columns(text) <= most:
        return text
    last = most // 3
    first = max(0, most - last - 3)
    head, tail = text[:first], text[len(text) - last :]
    while columns(head) > first:
        head = head[:-1]
    while columns(tail) > last:
        tail = tail[1:]
    return f"{head}...{tail}" if head else ""


# --- expressions, in plain text and in LaTeX


class Written(NamedTuple):
    """An expression, in Python and in LaTeX. rank: how tightly its outermost operator binds."""

    text: str
    latex: str
    rank: int = 4


ATOM, _POWER, _PRODUCT, _SUM, LOOSE = 4, 3, 2, 1, 0
TIMES, EQUALS = Written("*", r"\cdot"), Written("=", "=")
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
    if is_infix(op, len(xs)):
        return _infix(op, *xs)
    texts, latexes, n = [x.text for x in xs], ", ".join(x.latex for x in xs), len(xs) // 2
    text = ", ".join(texts)
    if op is ops.dot:
        text = ", ".join([f"[{', '.join(texts[:n])}], [{', '.join(texts[n : 2 * n])}]", *texts[2 * n :]])
        products = [written(ops.mul, pair) for pair in zip(xs, xs[n : 2 * n])]
        return Written(f"dot({text})", _plus([*products, *xs[2 * n :]]), _SUM)
    if op is ops.pick:
        text = f"{texts[0]}, [{', '.join(texts[1:])}]"
    elif op is ops.cross_entropy:
        text = f"[{', '.join(texts[:-1])}], {texts[-1]}"
    elif op.pack and op.arity < 0 and op not in (ops.maximum, ops.minimum):
        text = f"[{text}]"
    text = f"{op.name}({text})"
    if op is ops.total:
        return Written(text, _plus(xs), _SUM)
    if op in (ops.sqrt, ops.abs_):
        return Written(text, rf"\sqrt{{{latexes}}}" if op is ops.sqrt else rf"\left|{latexes}\right|")
    return Written(text, rf"{_function(op)}\left({latexes}\right)")


def is_infix(op: Op, operands: int) -> bool:
    """Is it written between its operands?"""
    return operands == 2 and not op.symbol[:1].isalpha()


def _infix(op: Op, a: Written, b: Written) -> Written:
    rank = _RANKS.get(op.symbol, LOOSE)
    left = _inside(a, ATOM if op is ops.power else max(rank, _SUM))
    right = _inside(b, max(rank, _SUM) + (op.symbol in ("-", "/")), right=True)
    if op is ops.power:
        return Written(f"{left.text}**{right.text}", f"{left.latex}^{{{b.latex}}}", rank)
    latex = f"{left.latex} {_SIGNS.get(op.symbol) or escaped(op.symbol)} {right.latex}"
    latex = rf"\frac{{{a.latex}}}{{{b.latex}}}" if op is ops.div else latex
    return _inside(Written(f"{left.text} {op.symbol} {right.text}", latex, rank), _SUM)  # y = (a < b), not y = a < b


def number(x: float) -> Written:
    """x to six digits; never -0."""
    text = digits(x + 0.0)
    mantissa, _, exponent = text.partition("e")
    latex = {"inf": r"\infty", "-inf": r"-\infty", "nan": r"\mathrm{nan}"}.get(text, mantissa)
    latex += rf" \cdot 10^{{{int(exponent)}}}" if exponent else ""
    return Written(text, latex, _PRODUCT if exponent or text[0] == "-" else ATOM)


def _inside(x: Written, rank: int, right: bool = False) -> Written:
    """x in parentheses where it binds less tightly than rank, or has its sign after another one."""
    if x.rank >= rank and not (right and x.text.startswith("-")):
        return x
    return Written(f"({x.text})", rf"\left({x.latex}\right)")


def _plus(xs: Sequence[Written]) -> str:
    return " + ".join(_inside(x, _SUM, right=i > 0).latex for i, x in enumerate(xs)) or "0"


def _function(op: Op) -> str:
    """The operation's name in LaTeX."""
    return f"\\{op.symbol}" if op.symbol in _FUNCTIONS else rf"\operatorname{{{escaped(op.symbol)}}}"


_DOTS = Written("...", r"\ldots")


def elided(op: Op, xs: Sequence[Written]) -> Written:
    """op applied to xs, with `...` for all but the first one of each list: dot([a, ...], [x, ...], b), valid code."""
    n = len(xs) // 2 if op is ops.dot else len(xs)
    lists = [xs[i : i + n] for i in range(0, len(xs), n)]
    return written(op, [x for some in lists for x in ([some[0], _DOTS] if len(some) > 2 else some)])


def named(text: str) -> Written:
    """A name; w1 and w_1 have an index."""
    text = shortened(printable(text))
    short = re.fullmatch(r"([A-Za-z])_?([0-9]*)", text)
    latex = rf"\mathrm{{{escaped(text)}}}" if not short else short[1] + (f"_{{{short[2]}}}" if short[2] else "")
    return Written(text, latex, ATOM if re.fullmatch(r"[\w.#]+", text) else LOOSE)


def escaped(text: str) -> str:
    """Text that LaTeX's mathematics, Markdown and HTML all show as it is: labels are data."""
    return "".join(_ESCAPED.get(c, c) for c in text)


def joined(between: str, *xs: Written) -> Written:
    return Written(between.join(x.text for x in xs), between.join(x.latex for x in xs), LOOSE)


def partial(top: Written, bottom: Written) -> Written:
    top, bottom = _inside(top, ATOM), _inside(bottom, ATOM)
    return Written(f"d {top.text} / d {bottom.text}", rf"\frac{{\partial {top.latex}}}{{\partial {bottom.latex}}}")


def word(text: str) -> Written:
    return Written(text, rf"\text{{{text}}}" if text else "")


def code(text: str) -> Written:
    return Written(text, rf"\mathtt{{{escaped(text)}}}")


# --- paragraphs and tables

_GLUE = "\N{NO-BREAK SPACE}"


def glued(text: str) -> str:
    """The text, in which `filled` ends no line."""
    return text.replace(" ", _GLUE)


def filled(text: str, width: int = 100, indent: str = "") -> str:
    """The text in lines of at most this width, words permitting; indent: what all but the first line begin with."""
    lines = textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return lines.replace(_GLUE, " ")


def aligned(rows: Sequence[Sequence[str]], align: str, gaps: Sequence[str] | None = None) -> list[str]:
    """The rows of a table as lines. align: l or r for each column; gaps: what stands before it, else two spaces."""
    widths = [max(map(columns, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        line = ""
        for text, side, width, gap in zip(row, align, widths, gaps or ["  "] * len(widths)):
            space = " " * (width - columns(text))
            line += gap + (text + space if side == "l" else space + text)
        lines.append(line.rstrip())
    return lines


def _at_points(numbers: Sequence[str]) -> list[str]:
    """The numbers, padded so that, ends aligned, their decimal points are."""
    after = [len(x) - len(re.split("[.e]", x)[0]) for x in numbers]
    return [x + " " * (max(after) - n) for x, n in zip(numbers, after)]


def _in_lines(text: str, width: int) -> list[str]:
    """The text in lines of at most this width; a word that is wider keeps its ends."""
    lines = textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return [shortened(line, width) for line in lines] or [""]


class Prose(NamedTuple):
    """A paragraph, as text and as LaTeX. Where words of the text are `glued`, no line ends."""

    text: str
    latex: str

    def fitted(self, width: int) -> str:
        return filled(self.text, width)


def say(template: str, *parts: Written | str | float) -> Prose:
    """The template, its {} filled. It must be the same as text, in LaTeX and in Markdown; parts need not."""
    texts = [x if not isinstance(x, Written) else glued(x.text) if len(x.text) < 40 else x.text for x in parts]
    latex = [f"${x.latex}$" if isinstance(x, Written) else x for x in parts]
    return Prose(template.format(*texts), template.format(*latex))


class Table(NamedTuple):
    """align: l, r (numbers, at their points) or c for each column. last: a row below a line."""

    align: str
    head: tuple[Written, ...]
    rows: Sequence[tuple[Written, ...]]
    last: tuple[Written, ...] | None = None

    def fitted(self, width: int) -> str:
        """Where width is short the first column takes more lines and formulas give way, numbers never do."""
        texts = [[cell.text for cell in row] for row in (self.head, *self.rows, *([self.last] if self.last else []))]
        cells = [
            [head, *(_at_points(column) if align == "r" else column)]
            for align, (head, *column) in zip(self.align, zip(*texts))
        ]
        gaps = [" " if "c" in self.align[max(0, i - 1) : i + 1] else "  " for i in range(len(self.align))]
        last = len(cells) - 1
        first = [[text] for text in cells[0]]  # lines of each cell
        for i, least in (last, 12), (0, 24), (last, 0), (0, 12):
            widths = [max(map(columns, column)) for column in cells]
            most = max(least, widths[i] - max(0, sum(widths) + len("".join(gaps)) - width))
            if most < widths[i] and self.align[i] == "l":
                if i == 0:
                    first = [_in_lines(text, most) for text in (row[0] for row in texts)]
                    cells[0] = [max(lines, key=columns) for lines in first]
                else:
                    cells[i] = [shortened(text, most) if least else "" for text in cells[i]]
        lines: list[tuple[str, ...]] = []
        for pieces, row in zip(first, zip(*cells[1:])):
            lines += [(piece, *(row if j == 0 else [""] * len(row))) for j, piece in enumerate(pieces)]
        if self.last:
            totals = [align == "r" and bool(cell.text) for align, cell in zip(self.align, self.last)]
            widths = [max(map(columns, column)) for column in cells]
            lines.insert(-len(first[-1]), tuple("-" * (n * total) for n, total in zip(widths, totals)))
        return "\n".join(aligned(lines, self.align, gaps))

    @property
    def latex(self) -> str:
        head, *rows = [" & ".join(cell.latex for cell in row) for row in (self.head, *self.rows)]
        lines = [head + r" \\ \hline", *[row + r" \\" for row in rows]]
        if self.last:
            lines += [r"\hline", " & ".join(cell.latex for cell in self.last)]
        return "\n".join(["$$", rf"\begin{{array}}{{{self.align}}}", *lines, r"\end{array}", "$$"])
