"""PyTorch's names for the layers of a sequence, 0.weight, 0.bias, 2.weight, ..., matched to a model's own in order."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LAYER = re.compile(r"(.*?)(\d+)\.(weight|bias)")


def in_sequence(expected: Mapping[str, tuple[int, ...]], got: Mapping[str, tuple[int, ...]]) -> dict[str, str] | None:
    """Our name -> the other one, where both are layers in one sequence of the same shapes; None where the names are
    none of a sequence, or already ours.

    ValueError where there is more than one sequence of such names, so that their order says nothing.

    >>> in_sequence({"layers.0.weight": (1, 2), "layers.0.bias": (1,)}, {"2.weight": (1, 2), "2.bias": (1,)})
    {'layers.0.weight': '2.weight', 'layers.0.bias': '2.bias'}
    """
    if expected.keys() == got.keys():
        return None
    ours, theirs = _sequence(expected), _sequence(got)
    if ours is None or theirs is None or len({name for name, *_ in ours}) != 1:
        return None
    prefixes = sorted({prefix for prefix, *_ in theirs})
    if len(prefixes) > 1 and sorted(expected.values()) == sorted(got.values()):
        raise ValueError(
            f"which layer comes first is ambiguous: the names begin with {', '.join(map(repr, prefixes))}; rename them "
            f"to {', '.join(list(expected)[:2])}, ..."
        )
    found = {a[-1]: b[-1] for a, b in zip(ours, theirs)}
    alike = len(ours) == len(theirs) and all(a[2] == b[2] for a, b in zip(ours, theirs))
    return found if alike and all(expected[name] == got[other] for name, other in found.items()) else None


def _sequence(names: Mapping[str, object]) -> list[tuple[str, int, str, str]] | None:
    """(what comes before the number, number, weight or bias, name), in order; None unless all names are such."""
    found = []
    for name in names:
        match = _LAYER.fullmatch(name)
        if not match:
            return None
        found.append((match[1], int(match[2]), match[3], name))
    return sorted(found, key=lambda layer: (layer[0], layer[1], layer[2] == "bias"))
