"""Matplotlib pictures of training. Each function draws in `ax` (default: a new figure), returns it, and never shows it.

Colours are Okabe and Ito's (2008), which the colour-blind can tell apart, and maps of even lightness; a marker, a
line style or a number says the same again. A figure made here is never transparent, so a dark notebook shows it as
drawn. Looking changes nothing: not .data, not .grad, not the random state.
"""

from .canvas import BLUE, CLASSES, GREEN, GREY, LINES, ON_COLOURS, ORANGE, PURPLE
from .curves import history
from .layers import Watch, activations, digits, gradients
from .network import network
from .plane import decision_boundary, gradient_field, landscape

__all__ = [
    "BLUE", "CLASSES", "GREEN", "GREY", "LINES", "ON_COLOURS", "ORANGE", "PURPLE", "Watch", "activations",
    "decision_boundary", "digits", "gradient_field", "gradients", "history", "landscape", "network",
]  # fmt: skip
