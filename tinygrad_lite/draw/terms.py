"""A graph by its structure and not by its spelling: a chain of + is one sum, however it was written.

`sum(xs)`, `loss = loss + x`, `total(xs)` and a tree of + and - all become one sum of their terms; chains of `*` one
product; `maximum` and `minimum` likewise. The Values stay as they are: this is how a picture reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .. import ops
from ..engine import Number, Value
from ..op import Op


class Term(NamedTuple):
    """How one Value is computed. op: None for a leaf. operands: (role, operand), in the order of the program.
    links: the other Values of the chain that ends here, operands first; they are drawn in one box with it."""

    op: Op | None
    operands: tuple[tuple[int, Number], ...]
    links: tuple[Value, ...] = ()

    @property
    def commutes(self) -> bool:
        """May operands of the same role change places?"""
        return bool(self.links) or self.op is ops.total


_CHAINS: dict[Op | None, Op] = dict.fromkeys((ops.add, ops.sub, ops.neg, ops.total), ops.total)
_CHAINS |= {op: op for op in (ops.mul, ops.maximum, ops.minimum)}


def terms(order: Sequence[Value], together: Callable[[Value, Value], bool]) -> dict[Value, Term]:
    """The terms of a graph, less the links that chains take in; operands before users.

    order: all its Values, as of `topological_order`. together: may a Value be drawn in one box with its only user?
    """
    uses = Counter(x for node in order for x in node.args)
    links = {
        x
        for node in order
        if node.op in _CHAINS
        for x in node.args
        if isinstance(x, Value) and _CHAINS.get(x.op) is _CHAINS[node.op]
        if uses[x] == 1 and not x.label and together(x, node)
    }
    return {
        node: term(node) if links.isdisjoint(node.args) else _chain(node, links) for node in order if node not in links
    }


def term(node: Value) -> Term:
    """A Value by itself, as it is spelled."""
    return Term(node.op, tuple([(_role(node, k), x) for k, x in enumerate(node.args)]))


def _chain(end: Value, links: set[Value]) -> Term:
    """All that a chain adds up (or multiplies), each with its sign as its role."""
    found: list[tuple[int, Number]] = []
    inside: list[Value] = []
    stack: list[tuple[int, Number]] = [(1, end)]  # explicit: a chain may be as long as the graph
    while stack:
        sign, x = stack.pop()
        if not isinstance(x, Value) or (x is not end and x not in links):
            found.append((sign, x))
            continue
        inside.append(x)
        signs = [-sign] if x.op is ops.neg else [sign, -sign] if x.op is ops.sub else [sign] * len(x.args)
        stack.extend(reversed(list(zip(signs, x.args))))
    return Term(_CHAINS[end.op], tuple(found), tuple(inside[:0:-1]))


def _role(node: Value, k: int) -> int:
    """What the k-th operand is to its operation: where any number of operands is taken, most are alike."""
    if node.op is None or not callable(node.op.partials):
        return k
    if node.op is ops.dot:
        return k // (len(node.args) // 2)
    return min(k, 1) if node.op is ops.pick else 0
