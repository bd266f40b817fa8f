"""How far the results of each operation are from the truth, and how far they may be. No tests.

`python -m tests.accuracy` prints the promise as tests/README.md shows it; with --write it writes it there.
"""

from __future__ import annotations

import functools
import math
import re
import sys
from pathlib import Path

from .operation import inf, mp, mpf
from .operations import OPERATIONS

# --- the measure


def error(got, exact, unit=0):
    """|got - exact| in ulp of exact, or in 2^-52 x unit where that is larger. Of what is not finite, 0 or inf."""
    nearest = float(exact)
    if not math.isfinite(nearest) or not math.isfinite(got):
        return 0.0 if got == nearest or (got != got and nearest != nearest) else inf
    ulp = mpf(math.ulp(nearest))
    if unit and mp.isfinite(unit):
        ulp = max(ulp, mpf(unit) * mpf(2) ** -52)
    return float(mp.fabs(mpf(got) - exact) / ulp)


def misses(op, order, point, i, got, exact, bound):
    """How far part i of this order is off, in its units; 0 where the promise ends and the answer is as stated there."""
    off = error(got, exact)
    accuracy = OPERATIONS[op].accuracy
    if off > bound and any(allows(end, order, point, got) for end in accuracy.beyond):
        return 0.0
    if off > bound and order in accuracy.units:
        return error(got, exact, units(op, order, point)[i])
    return off


def allows(end, order, point, got):
    """Is this result as stated beyond the end of the promise?"""
    return order >= end.order and end.where(*point) and (end.instead is None or error(got, end.instead) == 0.0)


@functools.cache
def units(op, order, point):
    try:
        return OPERATIONS[op].accuracy.units[order][0](*map(mpf, point))
    except ZeroDivisionError:  # a pole
        return [0] * len(point) ** order


# --- for the reader

ORDERS = "value", "first", "second"


def table():
    """The lines of the table in tests/README.md."""
    lines = [
        "| operation | eager | compiled | counted in | nothing is promised for |",
        "|---|---|---|---|---|",
    ]
    for op, record in OPERATIONS.items():
        row = record.accuracy
        eager, compiled = (" / ".join(f"{bound:g}" for bound in bounds) for bounds in (row.eager, row.compiled))
        same = "same" if compiled == eager else compiled
        units = [f"{ORDERS[order]}: {text}" for order, (_, text) in row.units.items()]
        ends = [
            f"{ORDERS[order]}: " + ", or ".join(end.why for end in row.beyond if end.order == order)
            for order in sorted({end.order for end in row.beyond})
        ]
        cells = op.name, eager, same, "; ".join(units) or "ulp", "; ".join(ends)
        lines.append(" | ".join(cell.replace("|", "\\|") for cell in ("", *cells, "")).strip())
    return lines


README = Path(__file__).parent / "README.md"

if __name__ == "__main__":
    if "--write" in sys.argv:
        old = README.read_text(encoding="utf-8")
        shown = re.compile(r"\| operation \| eager \|.*?\n(?=\n)", flags=re.S)
        README.write_text(shown.sub(lambda _: "\n".join([*table(), ""]), old), encoding="utf-8")
    else:
        print(*table(), sep="\n")
