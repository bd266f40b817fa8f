"""Gradient descent and its relatives.

rules.py       SGD and its relatives      schedules.py   learning rates over time
optimizer.py   what they share            averages.py    WeightAverage
safety.py      what `step` refuses        clipping.py    clip_grad_norm
"""

from ..mistakes import PATIENCE
from . import schedules
from .averages import WeightAverage
from .clipping import clip_grad_norm
from .optimizer import Optimizer
from .rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "PATIENCE", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "WeightAverage", "clip_grad_norm",
    "schedules",
]  # fmt: skip
