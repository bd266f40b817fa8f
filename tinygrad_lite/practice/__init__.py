"""Exercises that check themselves: gradients worked out by hand, the derivative of one operation, an own engine.

    predict(y, a=18, x=...)      are these the gradients? If not, which mistake leads to this number?
    diagnose(my_mul)             what is wrong with this derivative?
    check_value_class(MyValue)   which idea does this engine lack first?

Each returns a `Report`. What is open (`...`, None, a function without a body) is called open and fails
nothing. A wrong answer is compared with the numbers that typical mistakes lead to, so what the reader is told
is what gives this very number; the right number is not told.
"""

from .diagnosis import Node, diagnose
from .engines import check_value_class
from .prediction import predict
from .words import Report

__all__ = ["Node", "Report", "check_value_class", "diagnose", "predict"]
