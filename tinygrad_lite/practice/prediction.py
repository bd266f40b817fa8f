"""Gradients worked out by hand: which mistake leads to this number?"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import combinations, islice
from typing import Any, NamedTuple

from .. import expect, ops
from ..derivatives import gradients
from ..engine import Value, topological_order
from ..ieee import same
from ..notation import Written, code, filled, glued, number, partial, word, written
from ..op import Op
from ..parts import called, distinct
from .words import Report, listed, short


def predict(root: object, answers: Mapping[Any, object] | None = None, /, **by_label: object) -> Report:
    """Are these the gradients of root? No backward pass is needed before, and nothing in the graph changes.

    Parameters
    ----------
    answers, by_label : gradients by Value or by label; `...` or None: not answered yet
        predict(y, a=18, x=...) says that d y / d a is 18; predict(y, {a: 18}) too, and {"x²": 18} where a label is no
        Python name. A rounded answer counts if its digits are right, and at least three. predict(y) shows what there
        is to fill in.

    Returns
    -------
    A Report: ok is True where all that was asked is right, False where something is wrong.

    >>> x = Value(3.0, "x")
    >>> y = x**2 * x
    >>> predict(y, x=9)
    x = 9  not right yet: the share through v1 = x**2 is missing. The shares of all uses add up (+=, not =).
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
    sheet.answer(asked)
    rows: list[tuple[str, bool | None, str]] = []
    for v in sorted(asked, key=sheet.place.__getitem__, reverse=True):
        if v in sheet.given:
            rows.append((f"{sheet.name(v)} = {number(sheet.given[v]).text}", *_Answer(sheet, v).verdict()))
        else:
            rows.append((sheet.name(v), None, "not answered yet."))
    width = min(24, max(len(left) for left, _, _ in rows))
    lines = [filled(f"{left:{width}}  {told}", indent=" " * (width + 2)) for left, _, told in rows]
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


class _Use(NamedTuple):
    """An arrow on a way from v up to the root: from an operand, user.args[place], to its user.

    upstream: d root / d user. local: d user / d operand, None where it is not selected. below: d operand / d v.
    """

    user: Value
    place: int
    operand: Value
    upstream: float
    local: float | None
    below: float

    def share(self, local: float | None) -> float:
        """What comes to v through this arrow, if this is its local derivative."""
        return 0.0 if local is None else self.upstream * local * self.below


class _Sheet:
    """The graph of a root, its gradients, what its Values are called, and the reader's answers."""

    def __init__(self, root: Value) -> None:
        self.root, self.order = root, topological_order(root)
        self.place = {node: i for i, node in enumerate(self.order)}
        self.names, self.labels = called(self.order, root)
        given = distinct({node: self.names[node] for node in self.labels})
        self.called = {node: short(name) for node, name in given.items()}
        self.gradient = gradients(self.order)
        self.given: dict[Value, float] = {}

    def answer(self, asked: Mapping[Value, object]) -> None:
        """Reads the reader's answers; `...` and None are none yet."""
        for v, answer in asked.items():
            if answer is not None and answer is not ...:
                self.given[v] = expect.number(f"the answer for {self.name(v)} (or ... for not yet)", answer)
        self.carried = gradients(self.order, self.given)

    def uses(self, v: Value) -> list[_Use]:
        """Every arrow on a way from v to the root that a gradient comes to, operands before users."""
        below, found = {v: 1.0}, []
        for user in self.order[self.place[v] + 1 :]:
            for i, (x, dx) in enumerate(zip(user.args, user.local_grads)):
                if x in below:
                    below[user] = below.get(user, 0.0) + (dx or 0.0) * below[x]
                    if user in self.gradient:
                        found.append(_Use(user, i, x, self.gradient[user], dx, below[x]))
        return found

    # --- names

    def name(self, v: Value) -> str:
        """Its label, or `out` for the root, or how it was made: `a * b`."""
        return self._written(v).text

    def term(self, x: Value | float, depth: int = 3) -> Written:
        """`a`, `2`, `a * b`"""
        if not isinstance(x, Value):
            return number(x)
        return code(self.called[x]) if x in self.called else self.made(x, depth)

    def made(self, node: Value, depth: int = 3) -> Written:
        """`a * b`, `tanh(a)`, as far as that fits into 40 characters; `mean(...)`"""
        if node.op is None:
            return number(node.data)
        if not depth or len(node.args) > 8:
            return word(f"{node.op.name}(...)")
        found = written(node.op, [self.term(x, depth - 1) for x in node.args])
        return found if len(found.text) <= 40 else self.made(node, depth - 1)

    def equation(self, user: Value) -> str:
        """`c = a * b`, `v7 = a * b`"""
        return glued(f"{self.called.get(user, self.names[user])} = {self.made(user).text}")

    def slope(self, above: Value, below: Value) -> str:
        return glued(partial(self._written(above), self._written(below)).text)

    def _written(self, v: Value) -> Written:
        return word(self.names[v]) if v is self.root and v not in self.called else self.term(v)

    def find(self, key: object) -> Value:
        """The Value of this graph that the reader means by a Value or a label."""
        if isinstance(key, Value):
            if key not in self.place:
                raise ValueError(f"{key!r} is not in this graph: {self.name(self.root)} was not made from it")
            return key
        found = [v for v, label in self.labels.items() if key in (label, self.called[v], self.names[v])]
        found = found or [v for v, name in self.names.items() if key == name]
        if not found:  # Python rewrites keywords in this form: the micro sign arrives as a Greek letter
            found = [v for v, label in self.labels.items() if unicodedata.normalize("NFKC", label) == key]
        if len(found) == 1:
            return found[0]
        if found:
            raise ValueError(f"{len(found)} Values are labelled {key!r}: write predict(root, {{value: number}})")
        known = ", ".join(islice(self.called.values(), 20)) or "no label at all"
        raise ValueError(f"no Value in this graph is labelled {key!r}; there is {known}")

    def to_fill_in(self) -> str:
        labels, root = list(self.called.values())[::-1], self.called.get(self.root, "root")
        if not labels:
            return "Not answered yet. Nothing here has a label: write predict(root, {a: ..., b: ...}) with your Values."
        if all(map(str.isidentifier, labels)):
            line = f"predict({root}, {', '.join(f'{label}=...' for label in labels)})"
        else:
            line = f"predict(root, {{{', '.join(f'{label!r}: ...' for label in labels)}}})"
        return f"Not answered yet. Put your numbers in place of the dots:\n{filled(line, indent='        ')}"


class _Answer:
    """The reader's answer for one Value. direct: the uses of this Value itself."""

    def __init__(self, sheet: _Sheet, v: Value) -> None:
        self.sheet, self.v, self.name = sheet, v, sheet.name(v)
        self.given, self.exact = sheet.given[v], sheet.gradient.get(v, 0.0)
        self.uses = sheet.uses(v)
        self.direct = [use for use in self.uses if use.operand is v]

    def verdict(self) -> tuple[bool, str]:
        sheet, exact = self.sheet, self.exact
        noise = 1e-12 * math.fsum(abs(use.share(use.local)) for use in self.direct)
        if _agrees(self.given, exact, noise):
            rounded = math.isfinite(exact) and abs(self.given - exact) > max(1e-6 * abs(exact), noise)
            return True, f"right ({exact:.7g} with more digits)." if rounded else "right."
        if _agrees(self.given, sheet.carried.get(self.v, 0.0), noise):
            above = {use.user for use in self.uses}
            wrong = [w for w, x in sheet.given.items() if w in above and not _agrees(x, sheet.gradient.get(w, 0.0))]
            if not wrong:
                return True, f"right, with the rounded numbers before it ({exact:.7g} with more digits)."
            fix = listed([sheet.name(w) for w in wrong])
            return False, f"not right yet, but it follows from your answer for {fix}: fix that first."
        why = self.why()
        return False, f"not right yet: {why}{'' if why.endswith('?') else '.'}"

    def why(self) -> str:
        """Which mistakes lead to this answer; where none does, what to look at."""
        given, exact, root = self.given, self.exact, self.sheet.name(self.sheet.root)
        if self.v is self.sheet.root:
            return f"backward starts here. How far does {root} move when {root} itself moves a little? Just as far"
        if not math.isfinite(exact):
            return "no finite number is right here. Look for 0 times infinity, or a division by 0, on the way"
        if not math.isfinite(given):
            return "all that is multiplied and added on the way is finite, and so is this gradient"
        for w, other in self.sheet.given.items():
            if w is not self.v and _agrees(other, exact) and _agrees(given, self.sheet.gradient.get(w, 0.0)):
                return f"the answers for {self.name} and {self.sheet.name(w)} are swapped"
        last = [(2.0 * exact, "this is twice what it should be"), (0.5 * exact, "this is half of what it should be")]
        for mistakes in (self.near(), self.far(), last) if given else (self.near(),):
            found = list(dict.fromkeys(words for x, words in mistakes if _agrees(given, x)))[:3]
            if found:
                return found[0] if len(found) == 1 else f"either {'; or '.join(found)}"
        if given == 0.0:
            return f"0 would mean that {root} stands still when {self.name} moves a little; {self.look_at()}"
        if abs(given - exact) < 0.05 * abs(exact):
            return "close, though. If you rounded, give at least three digits"
        return self.look_at()

    def near(self) -> Iterator[tuple[float, str]]:
        """The mistakes that come first to mind: the number that each leads to, and what to say."""
        exact, direct, equation = self.exact, self.direct, self.sheet.equation
        yield self.v.data, f"this is the value of {self.name}, not its gradient"
        minus = [use for use in self.uses if use.local is not None and use.local < 0.0]
        hint = f". One local derivative is negative, in {equation(minus[0].user)}" if len(minus) == 1 else ""
        yield -exact, f"the size is right, and the sign is wrong{hint}"
        n = len(direct)
        for k in range(1, n) if n <= 6 else (1, n - 1):
            for left_out in combinations(direct, k):
                yield exact - math.fsum(use.share(use.local) for use in left_out), self.left_out(left_out)
        if n == 1 and (local := direct[0].local) is not None:
            user, upstream = direct[0].user, direct[0].upstream
            only = "alone. The share is upstream gradient times local derivative"
            yield local, f"this is the local derivative of {equation(user)} {only}"
            yield upstream, f"this is the upstream gradient, {self.sheet.slope(self.sheet.root, user)}, {only}"
            yield upstream + local, "this is upstream gradient plus local derivative; they have to be multiplied"
        for use in direct if self.given else ():
            yield from self.slips(use)

    def far(self) -> Iterator[tuple[float, str]]:
        """Mistakes further away from v, or in one of several shares."""
        exact, sheet, arrows = self.exact, self.sheet, dict[Value, list[_Use]]()
        for use in self.uses:
            arrows.setdefault(use.user, []).append(use)
            what, share, further = self.local(use), use.share(use.local), use.operand is not self.v
            if further and _agrees(self.given, exact - share):  # a path takes time to write down
                yield exact - share, f"the path {self.path(use)} is missing. The shares of all paths add up"
            if use.local is not None:
                yield exact - share + use.share(1.0), f"a factor is missing: {what}"
                yield exact - share + use.share(-use.local), f"{what} has the wrong sign"
            if further:
                slope, root = sheet.slope(use.operand, self.v), sheet.name(sheet.root)
                yield use.below, f"this is {slope}: the rest of the way up to {root} is missing"
                yield from self.slips(use)
        for user, several in arrows.items():
            if len(several) > 1:  # for example, the 1 / n of a mean
                change = math.fsum(use.share(1.0) - use.share(use.local) for use in several)
                yield exact + change, f"a factor is missing: the local derivatives of {sheet.equation(user)}"
        locals_, upstreams = [use.local or 0.0 for use in self.direct], [use.upstream for use in self.direct]
        yield math.fsum(locals_), "the upstream gradients are missing: this is the sum of the local derivatives"
        yield math.fsum(upstreams), "the local derivatives are missing: this is the sum of the upstream gradients"
        if len(self.direct) > 1:
            product = math.prod(use.share(use.local) for use in self.direct)
            yield product, "the shares of several uses add up; this is their product"

    def path(self, use: _Use) -> str:
        """`x -> s -> t -> y`: the way through this arrow, as far as there is only one."""
        nodes = [use.operand, use.user]
        while nodes[0] is not self.v and len(before := [u.operand for u in self.uses if u.user is nodes[0]]) == 1:
            nodes.insert(0, before[0])
        while len(after := [u.user for u in self.uses if u.operand is nodes[-1]]) == 1:
            nodes.append(after[0])
        return glued(" -> ".join(map(self.sheet.name, nodes)))

    def local(self, use: _Use) -> str:
        of = self.sheet.term(use.operand).text
        return f"the local derivative of {self.sheet.equation(use.user)} with respect to {of}"

    def slips(self, use: _Use) -> Iterator[tuple[float, str]]:
        """What comes out with something else in place of the local derivative of this arrow."""
        user, x, op = use.user, self.sheet.term(use.operand).text, use.user.op
        assert op is not None
        if use.local is None:
            closed = f"{x} is not above 0" if op is ops.relu else f"it did not select {x}"
            yield self.exact + use.share(1.0), f"nothing is sent through {self.sheet.equation(user)}, because {closed}"
            return
        data = [x.data if isinstance(x, Value) else x for x in user.args]
        rule, known = _RULES.get(op, ("", {}))
        wrong = [(words, f(user.data, *data)) for words, f in known.items() if op is not ops.power or use.place == 0]
        if use.operand is self.v:
            wrong += [(self.sheet.term(x).text, data[i]) for i, x in enumerate(user.args) if len(data) <= 2]
            wrong.append((self.sheet.name(user), user.data))
        for slip, words in {slip: words for words, slip in reversed(wrong)}.items():
            told = f"this comes out with {words} for {self.local(use)}" + (f". The rule: {rule}" if rule else "")
            yield self.exact - use.share(use.local) + use.share(slip), told

    def left_out(self, left_out: Sequence[_Use]) -> str:
        """What to say where some of the direct uses are not counted."""
        direct, equation = self.direct, self.sheet.equation
        if len({use.user for use in direct}) == 1:
            counted, times = len(direct) - len(left_out), "twice" if len(direct) == 2 else f"{len(direct)} times"
            used = f"{self.name} is used {times} in {equation(direct[0].user)}"
            return f"{used}, and only {counted} of these uses {'is' if counted == 1 else 'are'} counted (+=, not =)"
        users = list(dict.fromkeys(equation(use.user) for use in left_out))
        shares = f"the share through {users[0]} is" if len(users) == 1 else f"the shares through {listed(users)} are"
        return f"{shares} missing. The shares of all uses add up (+=, not =)"

    def look_at(self) -> str:
        """Where to start, in symbols."""
        name, root, sheet = self.name, self.sheet.root, self.sheet
        users = list(dict.fromkeys(use.user for use in self.direct))
        if not users:
            return f"look for what stops the gradient on the way from {sheet.name(root)} down to {name}"
        if users == [root]:
            return f"look at {sheet.equation(root)}. How far does it move when {name} alone moves a little?"
        where = listed([sheet.equation(user) for user in users[:4]] + ["others"] * (len(users) > 4))
        rule = "Each use sends upstream gradient times local derivative, and these shares add up"
        if len(users) == len(self.direct) <= 3:
            factors = [[(root, user), (user, self.v)] if user is not root else [(user, self.v)] for user in users]
            terms = [" * ".join(sheet.slope(*ends) for ends in term) for term in factors]
            rule = f"So {sheet.slope(root, self.v)} = {' + '.join(terms)}"
        return f"look at its users first. {name} is used in {where}. {rule}"


def _agrees(answer: float, exact: float, noise: float = 0.0) -> bool:
    """The same to 1e-6, or to the digits that the reader gave; trailing zeros are not seen, so three count."""
    if same(answer, exact):
        return True
    if not (math.isfinite(answer) and math.isfinite(exact)):
        return False
    if answer == 0.0 or exact == 0.0:
        return abs(answer - exact) <= noise
    digits = max(3, len(Decimal(repr(answer)).normalize().as_tuple().digits))
    unit = 10.0 ** (math.floor(math.log10(min(abs(answer), abs(exact)))) + 1 - digits)
    return abs(answer - exact) <= max(0.5 * unit * (1.0 + 1e-9), 1e-6 * abs(exact), noise)
