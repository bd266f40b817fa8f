"""What learners trip over: the category of our warnings, and the line of their program that one speaks of."""

from __future__ import annotations

import linecache
import sys
import warnings
from types import FrameType
from typing import Any


class TrainingWarning(UserWarning):
    """A training that runs, and probably does not do what was meant.

    Shown once per place. Silence it, or make it an error that stops there, as any warning:
    `warnings.filterwarnings("ignore", category=TrainingWarning)`; "error" instead of "ignore".
    """


_first: dict[tuple[str, int, str], str] = {}  # (file, line, mistake) -> what was said there first


def warn(mistake: str, message: str, category: type[Warning] = TrainingWarning) -> None:
    """A warning at the user's line; the same mistake there is no news when it names another parameter."""
    frame, depth = _user_frame()
    shown = frame.f_globals.setdefault("__warningregistry__", {})  # the standard filters' notes
    first = _first.setdefault((frame.f_code.co_filename, frame.f_lineno, mistake), message)
    if shown.get((first, category, frame.f_lineno)):
        shown[message, category, frame.f_lineno] = True
    warnings.warn(message, category, stacklevel=depth)


def not_a_loss(value: Any) -> str:
    """What a loss returned instead of one Value, and what to write."""
    if value is None:
        return "None: is there a `return`?"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}: write `return mean(...)`"
    return f"{value!r}; compute it from the model's outputs, not from their .data"


def user_line() -> str:
    """File, line and text of the innermost frame outside this package."""
    frame, _ = _user_frame()
    file, number = frame.f_code.co_filename, frame.f_lineno
    return f"{file}:{number}: {linecache.getline(file, number).strip()}"


def _user_frame() -> tuple[FrameType, int]:
    """The innermost frame outside this package, and how many frames it lies above our caller, itself 1."""
    frame, depth = sys._getframe(1), 1
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        frame, depth = frame.f_back, depth + 1
    return frame, depth
