"""Writes what follows from the table of operations: `python tests/generated.py` brings the package up to date.

tests/test_ops.py holds the files against these texts.
"""

from __future__ import annotations

from pathlib import Path

from tinygrad_lite import ops

METHODS = Path(__file__).parent.parent / "tinygrad_lite" / "methods.py"
BEGIN, END = "    # <generated>\n", "    # </generated>\n"


def unary():
    """The operations that are methods of a Value: functions of one operand."""
    return [op for op in ops.OPS if op.arity == 1 and op.name not in ops.OPERATORS]


def methods(text: str) -> str:
    """methods.py with the block between its marks as the table has it."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    block = "".join(
        f"    def {op.name}(self: Value) -> Value:\n        return ops.{op.name}(self)\n\n" for op in unary()
    )
    return f"{before}{BEGIN}\n{block}{END}{after}"


if __name__ == "__main__":
    METHODS.write_text(methods(METHODS.read_text()))
