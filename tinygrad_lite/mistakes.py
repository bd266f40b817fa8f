"""What learners trip over: the category of our warnings, and the line of their program that one speaks of."""

from __future__ import annotations

import linecache
import sys
import warnings
from types import FrameType


class TrainingWarning(UserWarning):
    """A training that runs, and probably does not do what was meant.

    Shown once per place. Silence it, or make it an error that stops there, as any warning:
    `warnings.filterwarnings("ignore", category=TrainingWarning)`; "error" instead of "ignore".
    """


def warn(message: str) -> None:
    """A TrainingWarning at the user's line."""
    _, depth = _user_frame()
    warnings.warn(message, TrainingWarning, stacklevel=depth)


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
