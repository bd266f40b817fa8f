"""Exercises that check themselves: gradients worked out by hand, the derivative of one operation, an own engine.

    predict(y, a=18, x=...)      are these the gradients? If not, which mistake leads to this number?
    diagnose(my_mul)             what is wrong with this derivative?
    check_value_class(MyValue)   which idea does this engine lack first?

Each returns a `Report`. What is open (`...`, None, a function without a body) is called open and fails
nothing. A wrong answer is compared with the numbers that typical mistakes lead to, so what the reader is told
is what gives this very number; the right number is not told.
"""

from __future__ import annotations

import dis
import inspect
import math
import os
import sys
import textwrap
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import combinations, islice
from types import CodeType, FrameType
from typing import Any, NamedTuple

from . import ops
from .engine import Value, topological_order
from .ops import Op, as_float
from .parts import names


@dataclass(frozen=True, repr=False)
class Report:
    """What the reader is told. ok: True, False, or None where something is not answered yet."""

    ok: bool | None
    text: str

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        raise TypeError("a Report is neither true nor false, because it may be open: write report.ok")


# --- gradients worked out by hand


def predict(root: Any, answers: Mapping[Any, Any] | None = None, /, **by_label: Any) -> Report:
    """Are these the gradients of root? No backward pass is needed before, and nothing in the graph changes.

    predict(y, a=18, x=...)    d y / d a is 18; `...` or None: not answered yet
    predict(y, {a: 18})        by Value, or by a label that is no Python name: {"x²": 18}
    predict(y)                 what there is to fill in

    ok is True where all that was asked is right, False where something is wrong. A rounded answer counts if its
    digits are right, and at least three.

    >>> x = Value(3.0, "x")
    >>> y = x**2 * x
    >>> predict(y, x=9)
    x = 9  not right yet: the share through x ** 2 is missing. The shares of all uses add up (+=, not =).
    >>> predict(y, x=27)
    x = 27  right.
    """
    if root is None or root is ...:
        return Report(None, "Not answered yet: there is no graph to look at.")
    if not isinstance(root, Value):
        raise TypeError(f"predict expects the Value whose gradients are asked for, got {root!r}")
    if answers is not None and not isinstance(answers, Mapping):
        raise TypeError(f"predict expects answers as in predict(root, a=2) or predict(root, {{a: 2}}), got {answers!r}")
    sheet = _Sheet(root)
    asked = {sheet.find(key): answer for key, answer in [*(answers or {}).items(), *by_label.items()]}
    if not asked:
        return Report(None, sheet.to_fill_in())
    given = {v: sheet.number(v, answer) for v, answer in asked.items() if answer is not None and answer is not ...}
    sheet.answer(given)
    rows: list[tuple[str, bool | None, str]] = []
    for v in sorted(asked, key=sheet.place.__getitem__, reverse=True):
        if v in given:
            rows.append((f"{sheet.name(v)} = {given[v]:.6g}", *sheet.verdict(v)))
        else:
            rows.append((sheet.name(v), None, "not answered yet."))
    width = min(24, max(len(left) for left, _, _ in rows))
    lines = [_fill(f"{left:{width}}  {told}", " " * (width + 2)) for left, _, told in rows]
    verdicts = [ok for _, ok, _ in rows]
    if len(rows) > 1:
        words = {True: "right", False: "not right yet", None: "not answered yet"}
        counts = ", ".join(f"{verdicts.count(ok)} {words[ok]}" for ok in words if ok in verdicts)
        lines.append(f"All {len(rows)} are right." if all(verdicts) else f"Of {len(rows)}: {counts}.")
    return Report(False if False in verdicts else None if None in verdicts else True, "\n".join(lines))


# The rule that a slip breaks, and slips: what is often taken for the local derivative, of (out, *operands).
_RULES: dict[Op, tuple[str, dict[str, Callable[..., float]]]] = {
    ops.add: ("a sum passes on what arrives, as it is", {}),
    ops.sub: ("a - b passes on what arrives, to b with a minus", {}),
    ops.mul: ("for one factor it is the other factor", {}),
    ops.div: ("for a / b it is 1 / b for a, and -a / b**2 for b", {
        "1 / b": lambda out, a, b: ops.div(1.0, b), "-1 / b**2": lambda out, a, b: -ops.power(b, -2.0),
    }),
    ops.power: ("for x**n it is n * x**(n - 1)", {
        "x**(n - 1)": lambda out, x, n: ops.power(x, n - 1.0), "n * x**n": lambda out, x, n: n * out,
        "n * x": lambda out, x, n: n * x,
    }),
    ops.exp: ("exp(x) is its own derivative", {"x * exp(x - 1)": lambda out, x: x * ops.exp(x - 1.0)}),
    ops.log: ("for log(x) it is 1 / x", {}),
    ops.sqrt: ("for sqrt(x) it is 1 / (2 * sqrt(x))", {"1 / sqrt(x)": lambda out, x: ops.div(1.0, out)}),
    ops.sin: ("for sin(x) it is cos(x)", {"-cos(x)": lambda out, x: -ops.cos(x)}),
    ops.cos: ("for cos(x) it is -sin(x)", {"sin(x)": lambda out, x: ops.sin(x)}),
    ops.tanh: ("for t = tanh(x) it is 1 - t**2", {
        "1 - t": lambda t, x: 1.0 - t, "1 - x**2": lambda t, x: 1.0 - x * x, "t**2": lambda t, x: t * t,
    }),
    ops.sigmoid: ("for s = sigmoid(x) it is s * (1 - s)", {
        "1 - s": lambda s, x: 1.0 - s, "x * (1 - x)": lambda s, x: x * (1.0 - x),
    }),
    ops.relu: ("relu passes on what arrives where its operand is above 0, else nothing", {}),
}  # fmt: skip
_INFIX = ops.add, ops.sub, ops.mul, ops.div, ops.power


class _Use(NamedTuple):
    """An arrow on a way from v up to the root: its operand is user.args[place].

    upstream: d root / d user. local: d user / d operand, None where it is not selected. below: d operand / d v.
    """

    user: Value
    place: int
    upstream: float
    local: float | None
    below: float

    @property
    def operand(self) -> Any:
        return self.user.args[self.place]

    def share(self, local: float | None) -> float:
        """What comes to v through this arrow, if this is its local derivative."""
        return 0.0 if local is None else self.upstream * local * self.below


class _Sheet:
    """The graph of a root, its gradients, what its Values are called, and the reader's answers."""

    def __init__(self, root: Value) -> None:
        self.root, self.order = root, topological_order(root)
        self.place = {node: i for i, node in enumerate(self.order)}
        self.labels = {node: str(label) for node, label in names(self.order).items()}
        often, seen = Counter(self.labels.values()), Counter[str]()
        self.called: dict[Value, str] = {}
        for node, label in self.labels.items():
            seen[label] += 1
            self.called[node] = _short(label) + (f"#{seen[label]}" if often[label] > 1 else "")
        self.gradient = self.backward({})

    def answer(self, given: Mapping[Value, float]) -> None:
        self.given, self.carried = given, self.backward(given)

    def backward(self, given: Mapping[Value, float]) -> dict[Value, float]:
        """What arrives at each node, if each given number is passed on in place of what arrived."""
        arrived = {self.root: 1.0}
        for node in reversed(self.order):
            if node in arrived:
                upstream = given.get(node, arrived[node])
                for x, dx in zip(node.args, node.local_grads):
                    if dx is not None:
                        arrived[x] = arrived.get(x, 0.0) + dx * upstream
        return arrived

    def uses(self, v: Value) -> list[_Use]:
        """Every arrow on a way from v to the root that a gradient comes to, operands before users."""
        below, found = {v: 1.0}, []
        for user in self.order[self.place[v] + 1 :]:
            for i, (x, dx) in enumerate(zip(user.args, user.local_grads)):
                if x in below:
                    below[user] = below.get(user, 0.0) + (dx or 0.0) * below[x]
                    if user in self.gradient:
                        found.append(_Use(user, i, self.gradient[user], dx, below[x]))
        return found

    # --- names

    def name(self, v: Value) -> str:
        """Its label, or `root`, or how it was made: `(a * b)`."""
        return self.called.get(v) or ("root" if v is self.root else self.term(v))

    def term(self, x: Any, depth: int = 3, inside: bool = True) -> str:
        """`a`, `2`, `(a * b)`; without the brackets where it does not stand inside an expression."""
        if x in self.called:
            return self.called[x]
        if isinstance(x, Value) and x.op is not None:
            return f"({self.made(x, depth)})" if inside and x.op in _INFIX else self.made(x, depth)
        number = x.data if isinstance(x, Value) else x
        return f"({number:g})" if inside and number < 0.0 else f"{number:g}"

    def made(self, node: Value, depth: int = 3) -> str:
        """`a * b`, `tanh(a)`"""
        op, args = node.op, node.args
        assert op is not None
        if op in _INFIX and depth:
            text = f"{self.term(args[0], depth - 1)} {op.symbol} {self.term(args[1], depth - 1)}"
        else:
            operands = [self.term(x, depth - 1, inside=False) for x in args[:5]] if depth else ["..."]
            text = f"{op.name}({', '.join(operands + ['...'] * (depth > 0 and len(args) > 5))})"
        return text if len(text) <= 40 or not depth else self.made(node, depth - 1)

    def equation(self, user: Value) -> str:
        """`c = a * b`; only `a * b` where c has no name."""
        return _glued(f"{self.called[user]} = {self.made(user)}" if user in self.called else self.made(user))

    def slope(self, above: Value, below: Value) -> str:
        return _glued(f"d {self.name(above)} / d {self.name(below)}")

    def find(self, key: Any) -> Value:
        """The Value of this graph that the reader means by a Value or a label."""
        if isinstance(key, Value):
            if key not in self.place:
                raise ValueError(f"{key!r} is not in this graph: {self.name(self.root)} was not made from it")
            return key
        found = [v for v, label in self.labels.items() if key in (label, self.called[v])]
        if not found:  # Python rewrites keywords in this form: the micro sign arrives as a Greek letter
            found = [v for v, label in self.labels.items() if unicodedata.normalize("NFKC", label) == key]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{len(found)} Values are labelled {key!r}: write predict(root, {{value: number}})")
        known = ", ".join(islice(self.called.values(), 20)) or "no label at all"
        raise ValueError(f"no Value in this graph is labelled {key!r}; there is {known}")

    def number(self, v: Value, answer: Any) -> float:
        try:
            return as_float(answer)
        except TypeError:
            what = f"the answer for {self.name(v)} should be one number, or ... for not yet; got {answer!r}"
            raise TypeError(what) from None

    def to_fill_in(self) -> str:
        labels, root = list(self.called.values())[::-1], self.name(self.root)
        if not labels:
            return "Not answered yet. Nothing here has a label: write predict(root, {a: ..., b: ...}) with your Values."
        if all(map(str.isidentifier, labels)):
            line = f"predict({root}, {', '.join(f'{label}=...' for label in labels)})"
        else:
            line = f"predict(root, {{{', '.join(f'{label!r}: ...' for label in labels)}}})"
        return f"Not answered yet. Put your numbers in place of the dots:\n{_fill(line, '        ')}"

    # --- verdicts

    def verdict(self, v: Value) -> tuple[bool, str]:
        answer, exact, carried = self.given[v], self.gradient.get(v, 0.0), self.carried.get(v, 0.0)
        uses = self.uses(v)
        noise = 1e-12 * math.fsum(abs(use.share(use.local)) for use in uses if use.operand is v)
        if _agrees(answer, exact, noise):
            rounded = math.isfinite(exact) and abs(answer - exact) > max(1e-6 * abs(exact), noise)
            return True, f"right ({exact:.7g} with more digits)." if rounded else "right."
        if _agrees(answer, carried, noise):
            above = {use.user for use in uses}
            wrong = [w for w in self.given if w in above and not _agrees(self.given[w], self.gradient.get(w, 0.0))]
            if not wrong:
                return True, f"right, with the rounded numbers before it ({exact:.7g} with more digits)."
            mend = _and([self.name(w) for w in wrong])
            return False, f"not right yet, but it follows from your answer for {mend}: mend that first."
        why = self.why(v, uses)
        return False, f"not right yet: {why}{'' if why.endswith('?') else '.'}"

    def why(self, v: Value, uses: Sequence[_Use]) -> str:
        """Which mistakes lead to this answer; where none does, what to look at."""
        answer, exact, name, root = self.given[v], self.gradient.get(v, 0.0), self.name(v), self.name(self.root)
        if v is self.root:
            return f"backward starts here. How far does {root} move when {root} itself moves a little? Just as far"
        if not math.isfinite(exact):
            return "no finite number is right here. Look for 0 times infinity, or a division by 0, on the way"
        if not math.isfinite(answer):
            return "all that is multiplied and added on the way is finite, and so is this gradient"
        for w, other in self.given.items():
            if w is not v and _agrees(other, exact) and _agrees(answer, self.gradient.get(w, 0.0)):
                return f"the answers for {name} and {self.name(w)} are swapped"
        last = [(2.0 * exact, "this is twice what it should be"), (0.5 * exact, "this is half of what it should be")]
        for mistakes in (self.near(v, uses), self.far(v, uses), last) if answer else (self.near(v, uses),):
            found = list(dict.fromkeys(words for number, words in mistakes if _agrees(answer, number)))[:3]
            if found:
                return found[0] if len(found) == 1 else f"either {'; or '.join(found)}"
        if answer == 0.0:
            return f"0 would mean that {root} stands still when {name} moves a little; {self.look_at(v, uses)}"
        if abs(answer - exact) < 0.05 * abs(exact):
            return "close, though. If you have rounded, give three digits or more"
        return self.look_at(v, uses)

    def near(self, v: Value, uses: Sequence[_Use]) -> Iterator[tuple[float, str]]:
        """The mistakes that come first to mind: the number that each leads to, and what to say."""
        name, exact, direct = self.name(v), self.gradient.get(v, 0.0), [use for use in uses if use.operand is v]
        yield v.data, f"this is the value of {name}, not its gradient"
        minus = [use for use in uses if use.local is not None and use.local < 0.0]
        hint = f". One local derivative is negative, in {self.equation(minus[0].user)}" if len(minus) == 1 else ""
        yield -exact, f"the size is right, and the sign is wrong{hint}"
        n = len(direct)
        for k in range(1, n) if n <= 6 else (1, n - 1):
            for left_out in combinations(direct, k):
                yield exact - math.fsum(use.share(use.local) for use in left_out), self.left_out(left_out, direct)
        if n == 1 and (local := direct[0].local) is not None:
            use, made, upstream = direct[0], self.equation(direct[0].user), self.slope(self.root, direct[0].user)
            only = "alone. The share is upstream gradient times local derivative"
            yield local, f"this is the local derivative of {made} {only}"
            yield use.upstream, f"this is the upstream gradient, {upstream}, {only}"
            yield use.upstream + local, "this is upstream gradient plus local derivative; they have to be multiplied"
        for use in direct if self.given[v] else ():
            yield from self.slips(use, v, exact)

    def far(self, v: Value, uses: Sequence[_Use]) -> Iterator[tuple[float, str]]:
        """Mistakes further away from v, or in one of several shares."""
        exact, root, direct = self.gradient.get(v, 0.0), self.name(self.root), [u for u in uses if u.operand is v]
        for use in uses:
            what, share = self.local(use), use.share(use.local)
            if use.operand is not v and _agrees(self.given[v], exact - share):  # a path takes time to write down
                yield exact - share, f"the path {self.path(use, v, uses)} is missing. The shares of all paths add up"
            if use.local is not None:
                yield exact - share + use.share(1.0), f"a factor is missing: {what}"
                yield exact - share + use.share(-use.local), f"{what} has the wrong sign"
            if use.operand is not v:
                yield use.below, f"this is {self.slope(use.operand, v)}: the rest of the way up to {root} is missing"
                yield from self.slips(use, v, exact)
        arrows: dict[Value, list[_Use]] = {}
        for use in uses:
            arrows.setdefault(use.user, []).append(use)
        for user, several in arrows.items():
            if len(several) == 1:
                continue  # said above; several are, for example, the 1 / n of a mean
            change = math.fsum(use.share(1.0) - use.share(use.local) for use in several)
            yield exact + change, f"a factor is missing: the local derivatives of {self.equation(user)}"
        locals_, upstreams = [use.local or 0.0 for use in direct], [use.upstream for use in direct]
        yield math.fsum(locals_), "the upstream gradients are missing: this is the sum of the local derivatives"
        yield math.fsum(upstreams), "the local derivatives are missing: this is the sum of the upstream gradients"
        if len(direct) > 1:
            product = math.prod(use.share(use.local) for use in direct)
            yield product, "the shares of several uses add up; this is their product"

    def path(self, use: _Use, v: Value, uses: Sequence[_Use]) -> str:
        """`x -> s -> t -> y`: the way through this arrow, as far as there is only one."""
        nodes = [use.operand, use.user]
        while nodes[0] is not v and len(before := [u.operand for u in uses if u.user is nodes[0]]) == 1:
            nodes.insert(0, before[0])
        while nodes[-1] is not self.root and len(after := [u.user for u in uses if u.operand is nodes[-1]]) == 1:
            nodes.append(after[0])
        return _glued(" -> ".join(map(self.name, nodes)))

    def local(self, use: _Use) -> str:
        return f"the local derivative of {self.equation(use.user)} with respect to {self.term(use.operand)}"

    def slips(self, use: _Use, v: Value, exact: float) -> Iterator[tuple[float, str]]:
        """What comes out with something else in place of the local derivative of this arrow."""
        user, x, op = use.user, self.term(use.operand), use.user.op
        assert op is not None
        if use.local is None:
            closed = f"{x} is not above 0" if op is ops.relu else f"it did not select {x}"
            yield exact + use.share(1.0), f"nothing is sent through {self.equation(user)}, because {closed}"
            return
        data = [x.data if isinstance(x, Value) else x for x in user.args]
        rule, known = _RULES.get(op, ("", {}))
        wrong = [(words, f(user.data, *data)) for words, f in known.items() if op is not ops.power or use.place == 0]
        if use.operand is v:
            wrong += [(self.term(x), data[i]) for i, x in enumerate(user.args) if len(data) <= 2]
            wrong.append((self.name(user), user.data))
        for slip, words in {slip: words for words, slip in reversed(wrong)}.items():
            told = f"this comes out with {words} for {self.local(use)}" + (f". The rule: {rule}" if rule else "")
            yield exact - use.share(use.local) + use.share(slip), told

    def left_out(self, left_out: Sequence[_Use], direct: Sequence[_Use]) -> str:
        """What to say where some of the direct uses are not counted."""
        if len({use.user for use in direct}) == 1:
            counted, times = len(direct) - len(left_out), "twice" if len(direct) == 2 else f"{len(direct)} times"
            used = f"{self.name(direct[0].operand)} is used {times} in {self.equation(direct[0].user)}"
            return f"{used}, and only {counted} of these uses {'is' if counted == 1 else 'are'} counted (+=, not =)"
        users = list(dict.fromkeys(self.equation(use.user) for use in left_out))
        shares = f"the share through {users[0]} is" if len(users) == 1 else f"the shares through {_and(users)} are"
        return f"{shares} missing. The shares of all uses add up (+=, not =)"

    def look_at(self, v: Value, uses: Sequence[_Use]) -> str:
        """Where to start, in symbols."""
        direct, name = [use for use in uses if use.operand is v], self.name(v)
        users = list(dict.fromkeys(use.user for use in direct))
        if not users:
            return f"look for what stops the gradient on the way from {self.name(self.root)} down to {name}"
        if users == [self.root]:
            moves = f"How far does it move when {name} moves a little, and nothing else does?"
            return f"look at {self.equation(self.root)}. {moves}"
        where = _and([self.equation(user) for user in users[:4]] + ["others"] * (len(users) > 4))
        rule = "Each use sends upstream gradient times local derivative, and these shares add up"
        if len(users) == len(direct) <= 3:
            factors = [[(self.root, user), (user, v)] if user is not self.root else [(user, v)] for user in users]
            terms = [" * ".join(self.slope(*ends) for ends in term) for term in factors]
            rule = f"So {self.slope(self.root, v)} = {' + '.join(terms)}"
        return f"look at its users first. {name} is used in {where}. {rule}"


def _agrees(answer: float, exact: float, noise: float = 0.0) -> bool:
    """The same to 1e-6, or to the digits that the reader gave; trailing zeros are not seen, so three count."""
    if answer == exact or (math.isnan(answer) and math.isnan(exact)):
        return True
    if not (math.isfinite(answer) and math.isfinite(exact)):
        return False
    if answer == 0.0 or exact == 0.0:
        return abs(answer - exact) <= noise
    digits = max(3, len(Decimal(repr(answer)).normalize().as_tuple().digits))
    unit = 10.0 ** (math.floor(math.log10(min(abs(answer), abs(exact)))) + 1 - digits)
    return abs(answer - exact) <= max(0.5 * unit * (1.0 + 1e-9), 1e-6 * abs(exact), noise)


# --- the derivative of one operation


class Node:
    """A number and a place for its gradient: all that is needed to write one operation by hand.

    >>> def my_mul(a, b):
    ...     out = Node(a.data * b.data, (a, b))
    ...     def backward():
    ...         a.grad += b.data * out.grad
    ...         b.grad = a.data * out.grad
    ...     out._backward = backward
    ...     return out
    >>> diagnose(my_mul)
    assigned instead of accumulated, for b: another use of b may have sent its share already, and b.grad = ...
    forgets it. Write b.grad += ...
      Example: a = 2, b = 3, out.grad = 1, and b.grad is 10 from another use: b.grad should become 12, and becomes 2.
    """

    def __init__(self, data: float, operands: Sequence[Any] = ()) -> None:
        self.data, self.grad, self._prev = data, 0.0, tuple(operands)
        self._backward: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return f"Node(data={self.data}, grad={self.grad})"


def diagnose(my_op: Any, node: Callable[[float], Any] | None = None) -> Report:
    """What is wrong with the derivative of one operation? The truth is the central difference of its own values.

    diagnose(my_mul)                           a function of Nodes, one for each operand, that returns a Node
    diagnose(MyValue.tanh)                     a method of your own class
    diagnose(lambda x: x ** 3, MyValue)        anything that your class can do
    diagnose(Op("mul", "*", ..., (..., ...)))  a record like those of the table: only its partials can be wrong

    Nodes have .data, .grad and ._backward(), and ._prev where the operation is made of several. Tried are numbers
    of both signs, two upstream gradients, gradients that are not 0 before, and the same node as all operands.

    >>> diagnose(Op("minus", "-", lambda a, b: a - b, (1.0, 1.0)))
    sign, for b: the derivative has the right size and the wrong sign.
      Example: a = 2, b = 3, out.grad = 1: b.grad should become -1, and becomes 1.
    """
    if my_op is None or my_op is ... or _is_stub(my_op):
        return Report(None, "Not answered yet.")
    try:
        return _Rule(my_op, node).report()
    except _Told as told:
        return told.report


class _Told(Exception):  # noqa: N818 - nothing went wrong with us
    """There is nothing more to find out."""

    def __init__(self, ok: bool | None, text: str) -> None:
        self.report = Report(ok, text)


class _Trial(NamedTuple):
    """What happened to one operand at xs. slopes: the true ones of all operands, slope: its own. once, tripled: what
    arrived in its grad, with 1 and with 3 in out.grad. kept: what is there where 10 was before."""

    xs: tuple[float, ...]
    out: float
    slopes: list[float]
    slope: float
    once: float
    tripled: float
    kept: float


_NUMBERS = (2.0, 3.0, -2.0, 0.5, -3.0, 0.25, -0.5, 1.5)  # none where functions usually have a kink: 0, 1


class _Rule:
    """One operation, whichever way it is written: f of nodes, make a node of a number, the operands' names."""

    f: Callable[..., Any]
    make: Callable[[float], Any]

    def __init__(self, my_op: Any, node: Callable[[float], Any] | None) -> None:
        if isinstance(my_op, type):
            raise TypeError(f"diagnose looks at one operation; for a class write check_value_class({my_op.__name__})")
        if isinstance(my_op, Op):
            partials: Any = my_op.partials
            if partials is ...:
                raise _Told(None, "Not answered yet: the partials are still open.")
            self.operands = _operands(my_op.value, None if callable(partials) else len(partials))
            self.f, self.make = _as_function(my_op), Node
        elif callable(my_op):
            self.f, self.make = getattr(my_op, "__func__", my_op), node or _class_of(my_op) or Node
            self.operands = _operands(self.f)
        else:
            raise TypeError(f"diagnose expects an Op or a function of nodes, got {my_op!r}")

    def report(self) -> Report:
        faults: dict[str, list[tuple[str, str, str]]] = {}
        tried = self.trials()
        for i, (x, trials) in enumerate(zip(self.operands, tried)):
            for fault, meaning, example in self.faults(trials, i):
                faults.setdefault(fault, []).append((x, meaning, example))
        if not faults and len(self.operands) > 1:
            for meaning, example in islice(self.used_twice(), 1):
                faults["wrong where the input is used twice"] = [(_and(self.operands), meaning, example)]
        if not faults:
            what = f"{len(tried[0])} points of both signs, out.grad = 1 and 3, gradients that were not 0 before"
            twice = ", the same node in all places" if len(self.operands) > 1 else ""
            return Report(True, _fill(f"No fault found. Tried: {what}{twice}."))
        lines = []
        for fault, found in faults.items():
            (_, meaning, example), whose = found[0], _and([x for x, _, _ in found])
            lines += [_fill(f"{fault}, for {whose}: {meaning}"), _fill(f"  Example: {example}", "  ")]
        return Report(False, "\n".join(lines))

    # --- trying it

    def points(self) -> list[tuple[float, ...]]:
        """The simplest first."""
        n, k = len(self.operands), len(_NUMBERS)
        found = [tuple(_NUMBERS[(i + step * j) % k] for j in range(n)) for step in (1, 2, 3) for i in range(k)]
        return list(dict.fromkeys(found))

    def trials(self) -> list[list[_Trial]]:
        """For each operand, what happens to it at each point where there is a value and a slope."""
        found: list[list[_Trial]] = [[] for _ in self.operands]
        for xs in self.points():
            out, n = self.value(xs), len(xs)
            slopes = [self.slope(xs, [float(i == j) for j in range(n)]) for i in range(n)]
            if all(map(math.isfinite, (out, *slopes))):
                results = zip(slopes, self.backward(xs), self.backward(xs, 3.0), self.backward(xs, before=10.0))
                for trials, result in zip(found, results):
                    trials.append(_Trial(xs, out, slopes, *result))
        if not found[0]:
            self.backward(self.points()[0])  # tells what is raised
            raise _Told(False, "It has no finite value with a slope at any of the numbers that were tried.")
        return found

    def forward(self, nodes: Sequence[Any]) -> Any:
        out = self.f(*nodes)
        if out is None or out is ...:
            raise _Told(False, "It returns no node. Does it end in `return out`?")
        if not hasattr(out, "data"):
            raise _Told(False, f"It returns {_short(repr(out))}, which is no node: it has no .data.")
        if out.data is None or out.data is ...:
            raise _Told(None, "Not answered yet: .data of the result is still open.")
        return out

    def value(self, xs: Sequence[float]) -> float:
        """Its value; nan where it has none."""
        try:
            return float(self.forward([self.make(x) for x in xs]).data)
        except _Told:
            raise
        except Exception:
            return math.nan

    def slope(self, xs: Sequence[float], along: Sequence[float]) -> float:
        """Central difference, extrapolated from two steps; nan where these disagree, as at a kink."""

        def central(h: float) -> float:
            above, below = [self.value([x + side * d for x, d in zip(xs, along)]) for side in (h, -h)]
            return (above - below) / (2.0 * h)

        coarse, fine = central(2e-4), central(1e-4)
        return (4.0 * fine - coarse) / 3.0 if math.isclose(coarse, fine, rel_tol=1e-4, abs_tol=1e-6) else math.nan

    def backward(
        self, xs: Sequence[float], upstream: float = 1.0, before: float = 0.0, same: bool = False
    ) -> list[float]:
        """What is in the operands' grad after the backward step, where it was `before`."""
        try:
            nodes = [self.make(xs[0])] * len(xs) if same else [self.make(x) for x in xs]
            for x in nodes:
                x.grad = before
            out = self.forward(nodes)
            out.grad = upstream
            for node in _users_first(out):
                if hasattr(node, "_backward"):
                    node._backward()
            if not hasattr(out, "_backward"):
                raise _Told(False, "The result has no _backward. Write out._backward = backward.")
            if _is_stub(out._backward) and out._backward.__name__ != "<lambda>":
                raise _Told(None, "Not answered yet: the backward step is still empty.")
            if any(x.grad is None or x.grad is ... for x in nodes):
                raise _Told(None, "Not answered yet: a gradient is still open.")
            return [float(x.grad) for x in nodes]
        except _Told:
            raise
        except Exception as error:
            hint = ""
            if self.make is Node:
                hint = "If it is written for a class of yours: diagnose(my_op, MyValue)."
            elif len(self.operands) > 1:
                hint = "If an operand has to be a plain number, hold it still: diagnose(lambda x: x ** 3, MyValue)."
            raise _told_by(error, hint) from error

    # --- what is wrong

    def faults(self, trials: Sequence[_Trial], i: int) -> Iterator[tuple[str, str, str]]:
        """What is wrong with what operand i is sent: the fault, what it means, the simplest example."""
        x = self.operands[i]

        def always(a: Callable[[_Trial], float], b: Callable[[_Trial], float]) -> bool:
            return all(_close(a(t), b(t)) for t in trials)

        def example(before: str, expected: Callable[[_Trial], float], got: Callable[[_Trial], float]) -> str:
            t = next((t for t in trials if not _close(expected(t), got(t))), trials[0])
            numbers = ", ".join(f"{name} = {number:g}" for name, number in zip(self.operands, t.xs))
            return f"{numbers}, {before}: {x}.grad should become {_plain(expected(t))}, and becomes {_plain(got(t))}."

        local: Callable[[_Trial], float] = lambda t: t.once  # noqa: E731 - what is taken for the local derivative
        if not always(lambda t: t.tripled, lambda t: 3.0 * t.once):
            fault, meaning = "the upstream gradient is misused", "three times out.grad must give three times as much."
            if always(lambda t: t.tripled, lambda t: t.once + 2.0):
                fault, meaning = "the upstream gradient is added", "rates multiply along a path. Write * out.grad."
                local = lambda t: t.once - 1.0  # noqa: E731
            elif always(lambda t: t.tripled, lambda t: t.once):
                fault, meaning = "forgot the upstream gradient", f"{x} is sent the same, whatever out.grad is."
                if always(lambda t: t.once, lambda t: t.slope * t.out):
                    meaning = "it multiplies by out.data, where out.grad is meant."
                    local = lambda t: t.slope  # noqa: E731
            yield fault, meaning, example("out.grad = 3", lambda t: 3.0 * t.slope, lambda t: t.tripled)
        if not always(local, lambda t: t.slope):
            pairs = [(t, local(t)) for t in trials]
            yield *self.wrong_derivative(pairs, i), example("out.grad = 1", lambda t: t.slope, local)
        if not always(lambda t: t.kept, lambda t: 10.0 + t.once):
            fault, written = "assigned instead of accumulated", f"{x}.grad = ... forgets it. Write {x}.grad += ..."
            meaning = f"another use of {x} may have sent its share already, and {written}"
            before = f"out.grad = 1, and {x}.grad is 10 from another use"
            yield fault, meaning, example(before, lambda t: 10.0 + t.once, lambda t: t.kept)

    def wrong_derivative(self, pairs: Sequence[tuple[_Trial, float]], i: int) -> tuple[str, str]:
        """pairs: a trial, and what was taken for the local derivative there."""
        x = self.operands[i]

        def always(guess: Callable[[_Trial], float]) -> bool:
            return all(_close(d, guess(t)) for t, d in pairs)

        if always(lambda t: 0.0):
            return "nothing is sent", f"the result moves when {x} moves, and {x}.grad stays as it was."
        if always(lambda t: -t.slope):
            return "sign", "the derivative has the right size and the wrong sign."
        for j, other in enumerate(self.operands):
            if j != i and always(lambda t: t.slopes[j]):
                return "swapped operands", f"what is sent to {x} belongs to {other}."
        if all(_close(d, t.slope) for t, d in pairs if t.xs[i] > 0.0):
            return "wrong for negative numbers", f"the derivative is right where {x} is above 0, but not below."
        k = next((d / t.slope for t, d in pairs if t.slope), 0.0)
        if always(lambda t: k * t.slope):
            return "a factor", f"the derivative is always {_plain(k)} times what it should be."
        if always(lambda t: t.out):
            return "value instead of derivative", "what is sent is the value of the operation itself."
        return "wrong derivative", "it is not the slope of the operation's own values."

    def used_twice(self) -> Iterator[tuple[str, str]]:
        """Where one node in all places is not sent the slope: what it means, an example."""
        for number in _NUMBERS:
            xs = [number] * len(self.operands)
            slope = self.slope(xs, [1.0] * len(xs))
            if math.isfinite(slope) and not _close(slope, got := self.backward(xs, same=True)[0]):
                where = f"{' = '.join(self.operands)} = {number:g}, one and the same node, out.grad = 1"
                meaning = "where one node stands in all places, it has to get the shares of all, added up."
                yield meaning, f"{where}: its grad should become {_plain(slope)}, and becomes {_plain(got)}."


def _class_of(my_op: Any) -> Any:
    """The class that a method was written in; None for a plain function."""
    if hasattr(my_op, "__func__"):
        return type(my_op.__self__)
    owner, _, name = getattr(my_op, "__qualname__", "").rpartition(".")
    if not owner or owner.endswith("<locals>"):
        return None
    found = getattr(my_op, "__globals__", {}).get(owner)
    if not isinstance(found, type):
        cls = owner.rpartition(".")[2]
        raise TypeError(f"diagnose needs the class of this method too: write diagnose({cls}.{name}, {cls})")
    return found


def _operands(f: Callable[..., Any], count: int | None = None) -> list[str]:
    """The names of the operands of f; letters where it has none."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):  # some built-in functions have no signature
        parameters = []
    positional = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    found = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
    if count is None:
        count = 3 if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(found)
    if not 0 < count <= 8:
        raise TypeError(f"diagnose expects an operation on 1 to 8 operands, got one on {count}")
    return found if len(found) == count else list("abcdefgh"[:count])


def _as_function(op: Op) -> Callable[..., Node]:
    def apply(*nodes: Node) -> Node:
        xs = [x.data for x in nodes]
        out = Node(op.value(*xs), nodes)

        def backward() -> None:
            for x, dx in zip(nodes, op.local_grads(out.data, xs)):
                if dx is not None:
                    x.grad += dx * out.grad

        out._backward = backward
        return out

    return apply


def _users_first(out: Any) -> list[Any]:
    """The nodes that out is made of, as far as ._prev tells; by id, since a reader's nodes may not be hashable."""
    order, seen = [], set()

    def visit(node: Any) -> None:
        if id(node) not in seen:
            seen.add(id(node))
            for x in getattr(node, "_prev", ()):
                visit(x)
            order.append(node)

    visit(out)
    return order[::-1]


# --- a reader's own engine


class _Idea(NamedTuple):
    """What an engine needs. programs: lines, between semicolons, in which V is the reader's class; after them the
    watched numbers are those of Value."""

    name: str
    why: str
    watched: str
    programs: Sequence[str]


_ORDER, _AGAIN = "a topological order", "a second backward pass"
_PAIR, _DIAMOND = "a = V(2.0); b = V(3.0); ", "x = V(3.0); s = x * x; t = s + x; "
_IDEAS = (
    _Idea("a number in a node", "A node keeps its number in .data.", "a.data", ["a = V(2.0)"]),
    _Idea("a gradient that starts at 0", "Nothing has been sent to a new node.", "a.grad", ["a = V(2.0)"]),
    _Idea("addition", "a + b makes a new node. Python calls a.__add__(b).", "c.data", [_PAIR + "c = a + b"]),
    _Idea("multiplication", "a * b makes a new node. Python calls a.__mul__(b).", "c.data", [_PAIR + "c = a * b"]),
    _Idea(
        "numbers on either side",
        "A plain number may stand on the right or on the left. For 2 + a Python calls a.__radd__(2), for 2 * a it "
        "calls a.__rmul__(2).",
        "b.data",
        [f"a = V(3.0); b = {b}" for b in ("a + 2", "a * 2", "2 + a", "2 * a")],
    ),
    _Idea(
        "the local derivative",
        "backward() gives the result itself the gradient 1. Then an operation sends to each operand how fast the "
        "result moves when this operand moves.",
        "c.grad a.grad b.grad",
        [_PAIR + f"c = a {op} b; c.backward()" for op in "+*"],
    ),
    _Idea(
        "the upstream gradient",
        "Along a path, rates multiply. What an operation sends is the local derivative times the gradient of its own "
        "result, which has arrived from above.",
        "a.grad b.grad",
        [_PAIR + f"m = a {op} b; y = m * 4; y.backward()" for op in "+*"],
    ),
    _Idea(
        "shares that accumulate",
        "A node that is used more than once gets a share from each use, and the shares add up: +=, not =.",
        "a.grad",
        [f"a = V(3.0); b = a {op} a; b.backward()" for op in "+*"]
        + [_PAIR + "p = a * b; q = a + b; y = p * q; y.backward()"],
    ),
    _Idea(
        _ORDER,
        "A node passes its gradient on once, when the shares of all its users have arrived. A topological order, "
        "walked backwards, sees to that.",
        "x.grad",
        [_DIAMOND + f"y = {y}; y.backward()" for y in ("s * t", "t * s")]
        + [_DIAMOND + f"u = {u}; y = {y}; y.backward()" for u in ("s * t", "t * s") for y in ("u * s", "s * u")],
    ),
    _Idea(
        "each node once",
        "Following each path by itself is right, and hopeless: these 61 nodes have 2**60 paths. Visit a node once.",
        "x.grad",
        ["x = V(1.0); y = x; for _ in range(60): y = y + y; y.backward()"],
    ),
    _Idea(
        "long chains",
        "A function that calls itself goes as deep as the graph, and Python stops it after some 1,000 calls. A list "
        "used as a stack has no such limit.",
        "x.grad",
        ["x = V(1.0); y = x; for _ in range(5000): y = y + x; y.backward()"],
    ),
    _Idea(
        _AGAIN,
        "A second pass adds to the gradients of the inputs: so one collects those of many examples. The gradients in "
        "between belong to one pass, and start from 0 in each.",
        "a.grad b.grad",
        [_PAIR + "m = a * b; y = m * 4; y.backward(); y.backward()"],
    ),
)
_OPERATORS = {
    "__neg__": "-x", "__abs__": "abs(x)", "__sub__": "x - z", "__rsub__": "2 - x", "__truediv__": "x / z",
    "__rtruediv__": "2 / x", "__pow__": "x ** 3", "exp": "x.exp()", "log": "z.log()", "sqrt": "z.sqrt()",
    "sin": "x.sin()", "cos": "x.cos()", "tanh": "x.tanh()", "sigmoid": "x.sigmoid()", "relu": "x.relu()",
}  # fmt: skip
_MOST_STEPS = 1_000_000  # lines of Python that a program may take


def check_value_class(my_class: Any, upto: str | None = None) -> Report:
    """Which idea does this engine lack first? Small programs, from one node to long chains, run on the reader's
    class and on Value, and must leave the same numbers.

    my_class: MyValue(2.0) is a leaf; it has .data, .grad, + and *, .backward(). What else it has of Value's
    operators and functions is tried at the end. upto: the last idea that is asked for, as in
    upto="a topological order"; None: all. A program that does not end is stopped after a million lines.

    >>> class Half:
    ...     def __init__(self, data):
    ...         self.data, self.grad = data, 0.0
    >>> check_value_class(Half)
    Right so far: a number in a node, a gradient that starts at 0.
    <BLANKLINE>
    The next idea: addition. a + b makes a new node. Python calls a.__add__(b).
    <BLANKLINE>
        a = Half(2.0)
        b = Half(3.0)
        c = a + b
    <BLANKLINE>
    Python says: TypeError: unsupported operand type(s) for +: 'Half' and 'Half'
    """
    if my_class is None or my_class is ...:
        return Report(None, "Not answered yet.")
    if not isinstance(my_class, type):
        raise TypeError(f"check_value_class expects a class, as in check_value_class(MyValue), got {my_class!r}")
    if all(_is_stub(f) for cls in my_class.__mro__[:-1] for f in vars(cls).values() if inspect.isfunction(f)):
        return Report(None, f"Not answered yet: {my_class.__name__} is still empty.")
    more = [term for name, term in _OPERATORS.items() if hasattr(my_class, name)]
    programs = [f"x = V({x}); z = V(4.0); t = {term}; y = t * z; y.backward()" for x in (0.5, -0.5) for term in more]
    why = "They were not asked for, but what is there should be right. To look closer: diagnose(MyValue.tanh)."
    ideas = [*_IDEAS, _Idea("its other operations", why, "t.data x.grad z.grad", programs)]
    known = [idea.name for idea in ideas]
    if upto is not None and upto not in known:
        raise ValueError(f"upto expects one of {', '.join(map(repr, known))}; got {upto!r}")
    asked = ideas[: None if upto is None else known.index(upto) + 1]
    for i, idea in enumerate(asked):
        for program in idea.programs:
            told = _compare(my_class, program.replace("; ", "\n"), idea)
            if told is not None:
                before = f"Right so far: {', '.join(known[:i])}." if i else "Let us start with one node."
                head = f"{'Next to write' if told.ok is None else 'The next idea'}: {idea.name}. {idea.why}"
                shown = program.replace("; ", "\n").replace("V(", f"{my_class.__name__}(")
                parts = _fill(before), _fill(head), textwrap.indent(shown, "    "), told.text
                return Report(told.ok, "\n\n".join(parts))
    there = f"All of it is there: {', '.join(idea.name for idea in asked if idea.programs)}."
    return Report(True, _fill(there))


def _compare(my_class: type, program: str, idea: _Idea) -> Report | None:
    """Runs a program on the reader's class and on Value. None where they agree, else what to tell."""
    called: set[CodeType] = set()
    try:
        found = _limited(lambda: _run(my_class, program, idea.watched), called)
    except _Endless:
        return Report(False, f"It was stopped after {_MOST_STEPS:,} lines of Python.")
    except Exception as error:
        empty = _still_empty(called) if "NoneType" in str(error) else ""
        return Report(None, empty) if empty else _told_by(error).report
    for what, expected, got in zip(idea.watched.split(), _run(Value, program, idea.watched), found):
        if got is ...:
            return Report(None, f"Not answered yet: {what} is still open.")
        number = not isinstance(got, Value) and hasattr(got, "__float__")
        if number and _close(float(got), expected):
            continue
        if (got is None or (number and got == 0.0)) and (empty := _still_empty(called)):
            return Report(None, empty)
        is_ = _plain(float(got)) if number else _short(repr(got))
        remark = _remark(idea, expected, float(got)) if number else ""
        return Report(False, _fill(f"{what} should be {_plain(expected)}, and is {is_}. {remark}"))
    return None


def _run(my_class: type, program: str, watched: str) -> list[Any]:
    namespace: dict[str, Any] = {"V": my_class}
    exec(compile(program, _EXERCISE, "exec"), namespace)
    return [eval(compile(what, _EXERCISE, "eval"), namespace) for what in watched.split()]


class _Endless(BaseException):
    """Out of steps. No Exception, so that no `except Exception` in the reader's code goes on."""


def _limited(run: Callable[[], list[Any]], called: set[CodeType]) -> list[Any]:
    """run(), stopped by _Endless after _MOST_STEPS lines. Adds the code that was called."""
    steps, before = 0, sys.gettrace()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise _Endless
        if event == "call":
            called.add(frame.f_code)
        return trace

    sys.settrace(trace)
    try:
        return run()
    finally:
        sys.settrace(before)


def _remark(idea: _Idea, expected: float, got: float) -> str:
    """What else the two numbers say."""
    if idea.name == _ORDER and 0.0 < got < expected:
        return "That is too little: some node passed its gradient on before all its shares had arrived."
    if idea.name == _ORDER and got > expected:
        return "That is too much: some node passed on the same share more than once."
    if idea.name == _AGAIN and _close(2.0 * got, expected):
        return "The second pass has thrown away what the first one had collected."
    if idea.name == _AGAIN and got > expected:
        return "That is too much: gradients in between were still there from the first pass."
    return ""


# --- the reader's code, and how to say things

_GLUE = "\N{NO-BREAK SPACE}"
_HERE, _EXERCISE = os.path.dirname(__file__), "<exercise>"


def _is_stub(f: Any) -> bool:
    """Is this a function whose body is `...` or `pass`, at most with a docstring?"""
    code = f if isinstance(f, CodeType) else getattr(f, "__code__", None)
    return isinstance(code, CodeType) and all(
        step.argval in (None, ...) if "CONST" in step.opname else step.opname in ("RESUME", "NOP", "RETURN_VALUE")
        for step in dis.get_instructions(code)
    )


def _still_empty(called: set[CodeType]) -> str:
    """Says which functions without a body were called, if any; a lambda may be meant so."""
    stubs = sorted({code.co_name for code in called if code.co_name != "<lambda>" and _is_stub(code)})
    return _fill(f"Not answered yet: {_and(stubs)} {'is' if len(stubs) == 1 else 'are'} still empty.") if stubs else ""


def _told_by(error: Exception, hint: str = "") -> _Told:
    """What an exception in the reader's code means, and the line in which it was raised."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((_HERE, _EXERCISE))]
    where = [f"  in {f.name}, line {f.lineno}: {_short(f.line or '', 80)}" for f in lines[-1:]]
    if isinstance(error, NotImplementedError) or "ellipsis" in str(error):
        return _Told(None, "\n".join(["Not answered yet: there is still something to fill in.", *where]))
    told = _fill(f"Python says: {type(error).__name__}: {_short(str(error), 300)}", "  ")
    return _Told(False, "\n".join([told, *where, *[hint] * bool(hint)]))


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) or (math.isnan(a) and math.isnan(b))


def _plain(x: float) -> str:
    return "0" if abs(x) < 1e-9 else f"{x:.6g}"


def _short(text: str, most: int = 40) -> str:
    """A label is data: one line, and nothing that a terminal obeys."""
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return text if len(text) <= most else f"{text[: most - 16]}...{text[-13:]}"


def _fill(text: str, indent: str = "") -> str:
    filled = textwrap.fill(text, 100, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace(_GLUE, " ")


def _glued(text: str) -> str:
    """No line ends inside; `_fill` makes ordinary blanks of it again."""
    return text.replace(" ", _GLUE)


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
