"""Neural networks of Values, and the losses that train them.

layers.py   Neuron, Layer, MLP        activations.py, initialisers.py   what they are given by name
losses.py   of one example            module.py, parameters.py, tensors.py   parameters: found, named, saved, loaded
"""

from .activations import ACTIVATIONS, Activation, activation_name, elu, gelu, linear, silu
from .initialisers import INITS, Init
from .layers import MLP, Layer, Neuron
from .losses import accuracy, bce_with_logits, cross_entropy, half_squared_error, hinge, huber, l1, l2, mse, softmax
from .module import Module
from .tensors import flat, shape

__all__ = [
    "ACTIVATIONS", "INITS", "MLP", "Activation", "Init", "Layer", "Module", "Neuron",
    "accuracy", "activation_name", "bce_with_logits", "cross_entropy", "elu", "flat", "gelu", "half_squared_error",
    "hinge", "huber", "l1", "l2", "linear", "mse", "shape", "silu", "softmax",
]  # fmt: skip
