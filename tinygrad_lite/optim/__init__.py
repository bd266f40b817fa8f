"""Gradient descent and its relatives.

rules.py       SGD and its relatives      schedules.py   learning rates over time
optimizer.py   what they share            averages.py    WeightAverage
safety.py      what `step` refuses
"""

from ..mistakes import PATIENCE
from . import schedules
from .averages import WeightAverage
from .optimizer import Optimizer
from .rules import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = ["PATIENCE", "SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop", "WeightAverage", "schedules"]
