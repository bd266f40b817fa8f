"""How far two evaluations of one graph may lie apart, when each operation errs by some ulp. No tests."""

from __future__ import annotations

import collections
import itertools
import math
from typing import Any

from tinygrad_lite import Value, ops

from ..operations import OPERATIONS

inf = math.inf
TINY = math.ulp(0.0)


def error_bounds(roots: list[Value], ulps: float = 4.0, strict: bool = True) -> dict[Value, float]:
    """For every node below roots: an absolute bound on the difference, inf where a point lies within its
    bound of a jump, a pole or an overflow.

    A forward analysis: the operands' bounds, carried through the operation by evaluating it at their
    ends, plus `ulps` units in the last place of the result (of the sum of |terms| for dot, total, mean).
    strict: what IEEE 754 rounds correctly is the same bit for bit as long as its operands are.
    """
    bound: dict[Any, float] = {}
    same: set[Any] = set()  # of equal bits in both evaluations
    jumps: set[Any] = set()  # a maximum or clip whose choice is not certain
    for node in nodes_below(roots):
        if not node.args:
            bound[node] = 0.0
            same.add(node)
            continue
        xs = [x.data if isinstance(x, Value) else x for x in node.args]
        es = [bound.get(x, 0.0) if isinstance(x, Value) else 0.0 for x in node.args]
        if all(not isinstance(x, Value) or x in same for x in node.args) and strict and OPERATIONS[node.op].same_bits:
            same.add(node)
        bound[node] = _bound(node, xs, es, ulps, node in same, jumps)
    return bound


def may_choose_otherwise(roots: list[Value], bound: dict[Value, float]) -> bool:
    """Is there a selection below roots that another honest evaluation might make differently? Its value may be
    certain all the same, as relu's near 0, but not its derivative."""
    for node in nodes_below(roots):
        xs = [x.data if isinstance(x, Value) else x for x in node.args]
        es = [bound[x] if isinstance(x, Value) else 0.0 for x in node.args]
        record = OPERATIONS[node.op] if node.op else None
        if record is None:
            continue
        if record.turns_at_0 and es[0] and not abs(xs[0]) > es[0]:
            return True
        if record.index is not None and es[record.index]:
            return True
        if record.kind == "extreme" and not _one_wins(node, xs, es):
            return True
        if node.op is ops.clip and not _apart(xs, es):
            return True
    return False


def nodes_below(roots: list[Value]) -> list[Value]:
    order: dict[Value, None] = {}
    for root in roots:
        stack = [(root, False)]
        while stack:
            node, done = stack.pop()
            if node in order:
                continue
            if done:
                order[node] = None
            else:
                stack.append((node, True))
                stack.extend((x, False) for x in node.args if isinstance(x, Value))
    return list(order)


def _bound(node: Value, xs: list[float], es: list[float], ulps: float, same: bool, jumps: set[Any]) -> float:
    record, out = OPERATIONS[node.op], node.data
    op, kind = node.op, record.kind
    if kind == "comparison":
        return _comparison(node, xs, es, same, jumps)
    if kind == "choice":
        if record.index is not None:
            return inf if es[record.index] else es[1 + int(xs[0])]
        certain = not es[0] or abs(xs[0]) > es[0]
        return es[1 if xs[0] else 2] if certain else inf
    if inf in es or record.near_pole(xs, es, out) or record.near_jump(xs, es):
        return inf
    if record.index is not None and es[record.index]:
        return inf
    if out == 0.0 and record.true_zero(xs, es):
        return 0.0
    if kind == "jump" and not abs(out) > 2.0**53:  # of whole numbers
        return 0.0
    if kind == "extreme":
        if not same and op is ops.clip and not _apart(xs, es):
            jumps.add(node)
        if not same and not _one_wins(node, xs, es):
            jumps.add(node)
        return max(es) if any(es) else 0.0
    if not math.isfinite(out):
        # a rounding cannot make a sum finite again, unless the largest of the terms is at the very end
        return 0.0 if all(not math.isfinite(x) or not e for x, e in zip(xs, es)) else inf
    if kind == "sum":
        return _sum(op, xs, es, ulps)
    carried = 0.0
    if any(es):
        if len(xs) > 3:  # logsumexp, cross_entropy: no partial derivative exceeds 1
            carried = sum(es)
        else:
            ends = [(x, x - e, x + e) if e else (x,) for x, e in zip(xs, es)]
            for point in itertools.product(*ends):
                off = abs(op.value(*point) - out)
                carried = max(carried, off if off == off else inf)
            # a turning point inside the interval
            carried += sum(abs(d) * e for d, e in zip(node.local_grads, es) if d is not None and e)
        if carried != carried or not math.isfinite(abs(out) + carried):
            return inf
    scale = record.scale(xs, out)
    scale = scale if math.isfinite(scale) else abs(out)
    if same and out == 0.0 and not any(es):
        return 0.0 if op is not ops.mul else ulps * TINY
    return carried + ulps * math.ulp(scale)


def _comparison(node: Value, xs: list[float], es: list[float], same: bool, jumps: set[Any]) -> float:
    if same or node.args[0] is node.args[1]:
        return 0.0
    for this, other in (node.args, node.args[::-1]):
        # a maximum is one of its operands, to the bit: which one, was asked before
        if isinstance(this, Value) and is_extreme(this) and any(x is other for x in this.args):
            return inf if this in jumps else 0.0
    difference = abs(xs[0] - xs[1])
    return 0.0 if difference != difference or difference > sum(es) or not any(es) else inf


def is_extreme(node: Value) -> bool:
    return node.op is not None and OPERATIONS[node.op].kind == "extreme"


def _apart(xs: list[float], es: list[float]) -> bool:
    return abs(xs[0] - xs[1]) > es[0] + es[1] or not (es[0] or es[1])


def _one_wins(node: Value, xs: list[float], es: list[float]) -> bool:
    if node.data != node.data:
        return True
    winner = xs.index(node.data)
    return all(
        x is node.args[winner] or abs(xs[i] - xs[winner]) > es[i] + es[winner] or not (es[i] or es[winner])
        for i, x in enumerate(node.args)
        if i != winner
    )


def _sum(op: Any, xs: list[float], es: list[float], ulps: float) -> float:
    n, carried = len(xs), 0.0
    if op is ops.dot:
        half = n // 2
        pairs = list(zip(xs[:half], xs[half : 2 * half], es[:half], es[half : 2 * half]))
        size = sum(abs(a * b) for a, b, _, _ in pairs) + sum(map(abs, xs[2 * half :]))
        for a, b, ea, eb in pairs:
            if ea or eb:
                carried += abs(a) * eb + abs(b) * ea + ea * eb if eb and ea else (abs(a) * eb if eb else abs(b) * ea)
        carried += sum(es[2 * half :])
    else:
        size, carried = sum(map(abs, xs)), sum(es)
    if op is ops.mean:
        size, carried = size / n, carried / n
    bound = carried + max(ulps, float(n)) * (2.0**-52 * size + n * TINY)
    return bound if math.isfinite(bound) else inf


class Tally:
    """How many numbers were compared, and how many stood aside for which reason."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()

    def check(
        self, what: str, got: float, expected: float, bound: float, recipe: object, same_order: bool = True
    ) -> None:
        """got is expected, within a bound that is inf where two honest evaluations may differ by anything.

        same_order: of the operations. In another order, (a + b) * inf and a * inf + b * inf, an inf may be a nan.
        """
        if bound == inf:
            self.aside("near a jump, a pole or an overflow")
        elif math.isfinite(expected):
            self.counts["compared"] += 1
            assert abs(got - expected) <= bound, (
                f"{what}: expected {expected!r}, got {got!r}, {abs(got - expected) / max(bound, TINY):.3g} bounds away"
                f"\n{recipe}"
            )
        else:
            self.counts["not finite"] += 1
            alike = got == expected or (got != got and expected != expected)
            assert alike or not (same_order or math.isfinite(got)), (
                f"{what}: expected {expected!r}, got {got!r}\n{recipe}"
            )

    def aside(self, reason: str, count: int = 1) -> None:
        self.counts[f"aside, {reason}"] += count

    def enough(self, share: float) -> None:
        """At least this share of the numbers were finite and compared."""
        print(self)
        assert self.counts["compared"] >= share * self.counts.total(), self

    def __repr__(self) -> str:
        return ", ".join(f"{reason}: {count:,}" for reason, count in self.counts.most_common())
