"""The chain rule at one Value: what it is, where it came from, and its gradient as a sum over its users.

`explain` reads a graph and changes nothing: gradients are computed once more on the side. The formulas
of derivatives are the partials of `ops.py`, called on terms that write down what is done to them.
Everything is said in two notations at once, plain text and LaTeX.
"""

from __future__ import annotations

import functools
import heapq
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from . import notation, ops
from .derivatives import gradients
from .engine import UNREACHED, Value, topological_order
from .ieee import same
from .mistakes import has_changed
from .notation import Prose, Table, Written, joined, named, number, partial, say, word, written
from .op import Op, as_float
from .parts import called, distinct

MOST = 8  # rows of a table: the largest contributions, the largest paths


class Contribution(NamedTuple):
    """What a user sends back to its operand user.args[place]: upstream x local = product.

    upstream: d root / d user, None where no gradient came to the user. local: d user / d operand, None
    where the operand was not selected. product: None where nothing is sent.
    """

    user: Value
    place: int
    upstream: float | None
    local: float | None

    @property
    def operand(self) -> Value:
        return cast(Value, self.user.args[self.place])

    @property
    def product(self) -> float | None:
        return None if self.upstream is None or self.local is None else self.local * self.upstream


class Path(NamedTuple):
    """nodes: each an operand of the next. local_grads: of the steps between them; product: theirs."""

    nodes: tuple[Value, ...]
    local_grads: tuple[float, ...]
    product: float


@dataclass(frozen=True, repr=False, eq=False)
class Explanation:
    """What `explain` found: prints as text that fits the terminal, shows as mathematics in a notebook.

    blocks         the explanation's paragraphs and tables.
    contributions  what the users of the Value send to it. sent: what it sends to its operands.
    gradient       d root / d value, the sum of the contributions; None where nothing is sent.
    paths          from wrt to the value, the MOST with the largest products. path_count: of how many, an
                   int, or inf beyond 1e308. derivative: d value / d wrt, the sum over all of them.
    """

    blocks: tuple[Prose | Table, ...]
    contributions: tuple[Contribution, ...] = ()
    sent: tuple[Contribution, ...] = ()
    gradient: float | None = None
    paths: tuple[Path, ...] = ()
    path_count: float = 0
    derivative: float | None = None

    @property
    def text(self) -> str:
        """Plain text of at most 100 columns."""
        return self.fitted(100)

    @property
    def latex(self) -> str:
        """Paragraphs and arrays, the mathematics between dollar signs: LaTeX, and Markdown for notebooks."""
        return "\n\n".join(block.latex for block in self.blocks)

    def fitted(self, width: int) -> str:
        """Plain text of at most `width` columns, of which it needs about 50."""
        return "\n\n".join(block.fitted(width) for block in self.blocks)

    def __repr__(self) -> str:
        return self.fitted(shutil.get_terminal_size().columns)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/markdown": self.latex}


def explain(v: Value, root: Value | None = None, wrt: Value | None = None) -> Explanation:
    """What v is, where it came from, and where its gradient comes from.

    Parameters
    ----------
    v : Value
        Alone: how it was made, its local derivatives, and what it sends to its operands.
    root : Value, optional
        Where backward() was called. Then also d root / d v as the sum over the users of v of upstream x local
        derivative, and why it is 0, nan or else. A Value knows its operands, not its users: they are found from root.
    wrt : Value, optional
        Then d v / d wrt as the sum over the paths from wrt to v.

    Raises
    ------
    TypeError
        For what is no Value, such as a list of them.

    Examples
    --------
    >>> w, x = Value(3.0, "w"), Value(0.5, "x")
    >>> y = w * x + w
    >>> print(explain(w, y).text)
    w = 3 is a leaf: no operation made it.
    <BLANKLINE>
    d out / d w = 1.5 is the sum over the 2 users of w: upstream d out / d user times local derivative.
    <BLANKLINE>
      user          upstream   local   contribution  local is
      v1 = w * x           1 *   0.5 =          0.5  x
      out = v1 + w         1 *   1   =          1    1
                                       ------------
      sum                                       1.5
    <BLANKLINE>
    w.grad is still 0: no backward pass has reached w. out.backward() would add 1.5 to it.
    """
    for role, given in ("v", v), ("root", root), ("wrt", wrt):
        if not isinstance(given, Value) and (role == "v" or given is not None):
            hint = "one Value at a time, for example explain(model.layers[0].neurons[0].b, loss)"
            raise TypeError(f"explain expects a Value as {role}, got {given!r}; {hint}")
    return _explanation(v, root, wrt)


def _explanation(v: Value, root: Value | None, wrt: Value | None) -> Explanation:
    below = topological_order(v)
    order = below if root is None else topological_order(root)
    words = _Words([*order, *below, *([] if wrt is None else [wrt])], v if root is None else root)
    blocks: list[Prose | Table] = [*_origin(words, below)]
    uses: list[Contribution] = []
    upstream = None if v.grad is UNREACHED else v.grad
    if root is not None:
        flow = _Flow(words, order)
        upstream, uses = flow.adjoint.get(v), flow.uses(v)
        blocks += flow.gradient(v, uses)
    sent = [Contribution(v, i, upstream, v.local_grads[i]) for i, x in enumerate(v.args) if isinstance(x, Value)]
    paths, count, derivative = list[Path](), 0.0, None
    if wrt is not None:
        flow = _Flow(words, below)
        paths, count = _largest_paths(below, wrt)
        derivative = flow.adjoint.get(wrt)
        blocks += flow.paths(wrt, paths, count)
    elif sent:
        blocks += _sent(words, v, sent)
    if root is None and wrt is None:
        blocks.append(_grad_without_users(words, v))
    if words.changed:
        text = "Some .data changed after the graph was recorded, as a step of an optimiser does. Local derivatives "
        blocks.append(say(text + "belong to the recorded forward pass: run it again for those of the new numbers."))
    gradient = None if root is None else upstream
    return Explanation(tuple(blocks), tuple(uses), tuple(sent), gradient, tuple(paths), count, derivative)


# --- the sections of an explanation


class _Flow:
    """What flows back from one root, the last of order, and why."""

    def __init__(self, words: _Words, order: Sequence[Value]) -> None:
        self.words, self.order, self.root = words, order, order[-1]
        self.adjoint = gradients(order)

    def uses(self, v: Value) -> list[Contribution]:
        """What the users of v send to it."""
        users = [user for user in self.order if v in user.args]
        return [self.use(user, i) for user in users for i, x in enumerate(user.args) if x is v]

    def use(self, user: Value, i: int) -> Contribution:
        return Contribution(user, i, self.adjoint.get(user), user.local_grads[i])

    def gradient(self, v: Value, uses: Sequence[Contribution]) -> Iterator[Prose | Table]:
        """d root / d v as the sum over the users of v."""
        words, root, total = self.words, self.root, self.adjoint.get(v)
        name, whole = words.name(v), words.name(root)
        if not uses and v is not root:
            text = "There is no path from {} to {}: {} is not among the Values that {} was made from. A path also ends "
            text += "where a number is taken out of the graph, by .data or under {}."
            yield say(text, name, whole, name, whole, notation.code("no_grad()"))
            if root in topological_order(v):
                yield say("The other way round there is one: explain({}, {}).", whole, name)
        elif v is root:
            yield say("{} = 1: backward() starts here.", partial(whole, name))
        elif total is None:
            yield say("Nothing is sent to {}:", name)
        else:
            slope, upstream = joined(" = ", partial(whole, name), number(total)), partial(whole, word("user"))
            users = len({use.user for use in uses})
            comes = "is the sum over the {1:,} users of {2}" if users > 1 else "comes from the only user of {2}"
            yield say(f"{{0}} {comes}: upstream {{3}} times local derivative.", slope, users, name, upstream)
        if uses:
            yield _table(words, "user", uses, "contribution", total if len(uses) > 1 else None)
        yield from self._agreement(v, uses)
        yield from self._why(v, [use.product or 0.0 for use in uses])
        if v.data == 0.0 and v is not root and total and math.isfinite(total):
            text = "That {} is 0 does not matter: its gradient says how {} changes when {} moves."
            if all(use.local == 1.0 for use in uses):
                text += " Here it is only added, so every local derivative is 1."
            yield say(text, name, whole, name)

    def paths(self, x: Value, paths: Sequence[Path], count: float) -> Iterator[Prose | Table]:
        """d root / d x as the sum over the paths from x to the root."""
        words, total = self.words, self.adjoint.get(x)
        start, end = words.name(x), words.name(self.root)
        if total is None:
            yield say("There is no path from {} to {} on which anything is sent.", start, end)
            if self.root in topological_order(x):
                yield say("The other way round there may be one: explain({}, wrt={}).", start, end)
        else:
            many = "more than 1e308" if count == math.inf else f"{int(count):,}"
            over = f"is the sum over {many} paths: each" if count > 1 else "comes along the only path: it"
            slope = joined(" = ", partial(end, start), number(total))
            yield say(f"{{}} {over} sends the product of its local derivatives.", slope)
            blank = word("")
            rows = [(words.path(path), words.factors(path), notation.EQUALS, number(path.product)) for path in paths]
            if count > len(paths):
                rest = total - _added(path.product for path in paths)
                if abs(rest) < 1e-12 * sum(_size(path.product) for path in paths):
                    rest = 0.0  # rounding left it
                others = "all others" if count == math.inf else f"{int(count) - len(paths):,} more"
                rows.append((word(f"and {others}, together"), blank, blank, number(rest)))
            last = (word("sum"), blank, blank, number(total)) if len(rows) > 1 else None
            yield Table("llcr", (word("path"), blank, blank, word("product")), rows, last)
        yield from self._why(x, [path.product for path in paths])

    def _agreement(self, v: Value, uses: Sequence[Contribution]) -> Iterator[Prose]:
        """Whether v.grad is this gradient; if not, what else it may be."""
        total, name, whole = self.adjoint.get(v), self.words.name(v), self.words.name(self.root)
        if v.grad is UNREACHED:
            if total is not None:
                text = "{}.grad is still 0: no backward pass has reached {}. {}.backward() would add {} to it."
                yield say(text, name, name, whole, number(total))
            return
        expected = total or 0.0
        tolerance = 1e-9 * sum(abs(use.product or 0.0) for use in uses)
        if _same(v.grad, expected) or abs(v.grad - expected) <= tolerance:
            return
        passes = v.grad / expected if expected else 0.0
        if v.op is not None:
            text = "But {}.grad is {}: the last backward pass to reach it did not start from {}."
            yield say(text, name, number(v.grad), whole)
        elif 1.5 < passes < 1e9 and _same(passes, round(passes)):
            text = "But {}.grad is {}, {:,} times as much: backward passes add up in a leaf until {} is called."
            yield say(text, name, number(v.grad), round(passes), notation.code("zero_grad()"))
        else:
            text = "But {}.grad is {}. Other backward passes have added to it, it was changed by hand, or "
            text += "{}.backward() has not been called since {}."
            yield say(text, name, number(v.grad), whole, notation.code("zero_grad()"))

    def _why(self, v: Value, terms: Sequence[float]) -> Iterator[Prose]:
        """What made d root / d v nothing, 0, tiny, infinite or nan: the places on the way down from the root."""
        words, total, size = self.words, self.adjoint.get(v), sum(map(_size, terms))
        if not total and not size:
            way = list(self._on_the_way(v))
            lost = [use for use in way if use.upstream and not use.product]
            for use in lost[:3]:
                yield _reason(words, use)
            if len(lost) > 3:
                text = "It is also lost in {} on the way to {}."
                yield say(text, notation.count_of(len(lost) - 3, "other place"), words.name(v))
            cancelled = dict.fromkeys(use.operand for use in way if use.product and not self.adjoint[use.operand])
            for x in list(cancelled)[:3]:
                yield say("The contributions to the gradient of {} are not 0, but they cancel.", words.name(x))
        elif not total or abs(total) < 1e-9 * size:
            yield say("The contributions are not 0, but they cancel: their sizes add up to {}.", number(size))
        elif not math.isfinite(total):
            yield from self._first_not_finite(v)
        elif abs(total) < 1e-6:
            small = [use for use in self._on_the_way(v) if use.local and abs(use.local) < 1e-3]
            for use in heapq.nsmallest(3, small, key=lambda use: abs(use.local or 0.0)):
                text = "{} is almost flat at {}: its local derivative is {}."
                yield say(text, words.equation(use.user), words.valued(use.operand), words.local(use))

    def _first_not_finite(self, v: Value) -> Iterator[Prose]:
        firsts: dict[str, Contribution] = {}
        for use in self._on_the_way(v):
            if use.upstream is None or use.product is None or math.isfinite(use.product):
                continue
            if math.isnan(use.product) and not math.isnan(use.upstream):
                firsts.setdefault("nan", use)
            elif math.isfinite(use.upstream):
                firsts.setdefault("infinity", use)
        for kind, use in firsts.items():
            assert use.upstream is not None and use.product is not None
            yield say(
                "The first {} on the way back is sent by {} to {}: upstream {} times local derivative {} is {}.",
                *(kind, self.words.equation(use.user), self.words.valued(use.operand)),
                *(number(use.upstream), self.words.local(use), number(use.product)),
            )
        if math.isnan(self.adjoint[v]) and "nan" not in firsts:
            yield say("Then inf and -inf are added, which gives nan.")
        elif not firsts:
            yield say("No single product is infinite, but on the way a sum of them overflows.")

    def _on_the_way(self, v: Value) -> Iterator[Contribution]:
        """Every use on a way from the root down to v that a gradient comes to, users first."""
        above: set[Value | float] = {v}
        for node in self.order:
            if not above.isdisjoint(node.args):
                above.add(node)
        for user in reversed(self.order):
            if user in self.adjoint:
                yield from (self.use(user, i) for i, x in enumerate(user.args) if x in above)


def _sent(words: _Words, v: Value, sent: Sequence[Contribution]) -> Iterator[Prose | Table]:
    """The local derivatives of v, and what it sends to its operands."""
    name, slope = words.name(v), partial(words.name(v), word("operand"))
    if sent[0].upstream is None:
        yield say("The local derivatives {}:", slope)
    else:
        yield say("To each operand {} sends its own gradient times the local derivative {}:", name, slope)
    yield _table(words, "operand", sent, "sent")
    if not any(use.local for use in sent):
        yield _reason(words, sent[0])


def _grad_without_users(words: _Words, v: Value) -> Prose:
    name = words.name(v)
    if v.grad is UNREACHED:
        return say("{}.grad is still 0: no backward pass has reached {}.", name, name)
    one = "If backward() was called on {0}, this 1 is where it started. Else it " if v.op and v.grad == 1.0 else "It "
    return say(
        "{0}.grad is {1}. " + one + "came from the users of {0}. A Value knows its operands, not its users: "
        "explain({0}, root) finds them, where root is the Value on which backward() was called.",
        *(name, number(v.grad)),
    )


def _reason(words: _Words, use: Contribution) -> Prose:
    """Why this user sends nothing, or 0, to its operand."""
    user, x, op, equation = use.user, use.operand, use.user.op, words.equation(use.user)
    assert op is not None
    if use.local is None:
        if op is ops.relu:
            return say("{} is dead: {} is not above 0, so nothing is sent back.", equation, words.valued(x))
        if not any(map(callable, op.partials if isinstance(op.partials, tuple) else (op.partials,))):
            return say("{} is piecewise constant, so nothing is sent to {}.", equation, words.name(x))
        text = "{} = {} took its value from elsewhere: {} was not selected, so nothing is sent to it."
        return say(text, equation, number(user.data), words.valued(x))
    if use.local:
        text = "{} sends 0: upstream {} times local derivative {} is too small for a float."
        return say(text, equation, number(use.upstream or 0.0), number(use.local))
    if op is ops.mul or op is ops.dot:
        n = len(user.args) // 2
        partner = user.args[use.place + n if use.place < n else use.place - n]
        return say("{} multiplies {} by {}, so it sends 0 back.", equation, words.name(x), words.valued(partner))
    near = [x.data + d * max(1.0, abs(x.data)) for d in (-0.1, 0.1)] if len(user.args) == 1 else [math.nan]
    if words.formula(use) != number(0.0) and all(_value(op, [moved], math.nan) == user.data for moved in near):
        text = "{} is saturated: it stays {} when {} moves; its local derivative is {}."
        return say(text, equation, number(user.data), words.valued(x), words.local(use))
    return say("{} is flat at {}: its local derivative is {}.", equation, words.valued(x), words.local(use))


def _origin(words: _Words, below: Sequence[Value]) -> Iterator[Prose]:
    """How the last of these Values was made; where it is infinite or nan, also the first node that is."""
    v = below[-1]
    path = "" if v.label else words.full.get(v, "")
    if v.op:
        yield say("{}", words.computation(v))
    elif path:
        yield say("{} ({}) = {} is a leaf: no operation made it.", words.name(v), named(path), number(v.data))
    else:
        yield say("{} is a leaf: no operation made it.", words.computation(v))

    def first(bad: Callable[[float], bool]) -> Value:
        trail = {v}
        for node in reversed(below):
            if node in trail:
                trail.update(x for x in node.args if isinstance(x, Value) and bad(x.data))
        return next(node for node in below if node in trail)

    found = [] if math.isfinite(v.data) else [first(lambda data: not math.isfinite(data))]
    if math.isnan(v.data) and not math.isnan(found[0].data):  # nan came later
        found.append(first(math.isnan))
    for node in found:
        kind = "nan" if math.isnan(node.data) else "infinity"
        yield say("The first {} on the way to {} is {}.", kind, words.name(v), words.computation(node))


def _table(words: _Words, head: str, uses: Sequence[Contribution], what: str, total: float | None = None) -> Table:
    """Of each use: who | upstream * local = product | formula; the largest ones, the rest summed up, the total."""
    silent = [use for use in uses if use.product is None] if head == "user" else []
    silent = silent if len(silent) > 1 else []
    shown, rest = [use for use in uses if use not in silent], list[Contribution]()
    if len(uses) > MOST:
        shown.sort(key=lambda use: 1.0 if use.product is None else -_size(use.product))
        shown, rest = shown[:MOST], shown[MOST:]
    often, nothing, blank = Counter(use.user for use in uses), Written("-", "-"), word("")
    rows: list[tuple[Written, ...]] = []
    for use in shown:
        who = words.valued(use.operand)
        if head == "user":
            who = words.equation(use.user)
            if often[use.user] > 1:
                who = joined("", who, word(f" (operand {use.place + 1})"))
        numbers = [nothing if x is None else number(x) for x in (use.upstream, use.local, use.product)]
        rows.append((who, numbers[0], notation.TIMES, numbers[1], notation.EQUALS, numbers[2], words.formula(use)))
    if rest:
        zeros = sum(not use.product for use in rest)
        zero = f" ({'all' if zeros == len(rest) else f'{zeros:,} of them'} 0)" if zeros else ""
        together = number(_added(use.product for use in rest))
        rows.append((word(f"and {len(rest):,} more, together{zero}"), *[blank] * 4, together, blank))
    if silent:
        rows.append((word(f"{len(silent):,} users send nothing"), *[blank] * 4, nothing, blank))
    columns = tuple(map(word, (head, "upstream", "", "local", "", what, "local is")))
    if all(use.upstream is None for use in uses) and what == "sent":  # no backward pass: local derivatives alone
        return Table("lrl", columns[::3], [row[::3] for row in rows])
    last = None if total is None else (word("sum"), *[blank] * 4, number(total), blank)
    return Table("lrcrcrl", columns, rows, last)


def _largest_paths(order: Sequence[Value], x: Value) -> tuple[list[Path], float]:
    """The MOST paths from x to the last of order with the largest |product|, and how many paths there are.

    Each node keeps the MOST best paths to it, so the time does not depend on how many there are.
    """
    root, count = order[-1], dict[Value, float]({x: 1})
    # best first: |product|, minus the place of the operand that the path comes through, minus the place in its list
    best: dict[Value, list[tuple[float, int, int]]] = {x: [(1.0, 0, 0)]}
    for node in order:
        edges = [
            (i, a, dx) for i, (a, dx) in enumerate(zip(node.args, node.local_grads)) if dx is not None and a in best
        ]
        if edges:
            ways = [(_size(dx * way[0]), -i, -k) for i, a, dx in edges for k, way in enumerate(best[a])]
            best[node] = heapq.nlargest(MOST, ways)
            counts = [count[a] for _, a, _ in edges]
            count[node] = math.inf if math.inf in counts or sum(counts) > 1e308 else sum(counts)
    found: list[Path] = []
    for place in range(len(best.get(root, ()))):
        nodes, local_grads, k = [root], list[float](), -place
        while nodes[-1] is not x:
            user = nodes[-1]
            _, i, k = best[user][-k]
            nodes.append(user.args[-i])
            local_grads.append(user.local_grads[-i] or 0.0)
        found.append(Path(tuple(nodes[::-1]), tuple(local_grads[::-1]), math.prod(local_grads[::-1], start=1.0)))
    return found, count.get(root, 0)


def _size(x: float) -> float:
    """|x|; nan counts as the largest, because it is what to look at first."""
    return math.inf if math.isnan(x) else abs(x)


def _same(a: float, b: float) -> bool:
    return same(a, b) or math.isclose(a, b, rel_tol=1e-9)


def _added(xs: Iterable[float | None]) -> float:
    return float(ops.total([x or 0.0 for x in xs]))  # the builtin sum compensates from Python 3.12 on


# --- terms: derivatives that write themselves down


class _Term(Value):
    """A number that knows how it is written: partials, called on terms, write down their formula.

    Of what is piecewise they write the piece that the numbers select, so that guards for edges stay out
    of sight; 1 x is written as x, x x as x**2, and c x**-0.5 as c / sqrt(x).
    """

    __slots__ = ("below", "written")
    __eq__, __hash__ = object.__eq__, object.__hash__  # a term of 1 is not the number 1, which is left out
    written: Written
    below: Written | None  # of a term 1 / below

    def __init__(self, data: float, written: Written, below: Written | None = None) -> None:
        super().__init__(data)
        self.written = written if len(written.text) < 300 else Written("(...)", r"(\ldots)")
        self.below = below

    @classmethod
    def record(cls, op: Op, operands: Sequence[Any]) -> Any:
        data = [x.data if isinstance(x, Value) else as_float(x) for x in operands]
        if op is ops.where:
            return operands[1] if data[0] else operands[2]
        if op is ops.exp_difference:
            return cls.record(ops.exp, [cls.record(ops.sub, operands)])
        out = op.value(*data)
        if op in (ops.equal, ops.less, ops.less_equal):
            return out
        xs = [x if isinstance(x, cls) else d for x, d in zip(operands, data)]
        if op is ops.mul:
            return cls._product(out, *xs)
        if op is ops.power and isinstance(xs[1], float):
            return cls._power(out, xs[0], xs[1])
        return cls(out, written(op, [_write(x) for x in xs]), _write(xs[1]) if op is ops.div and xs[0] == 1.0 else None)

    @classmethod
    def _product(cls, out: float, a: _Term | float, b: _Term | float) -> _Term | float:
        if 1.0 in (a, b):
            return b if a == 1.0 else a
        if 0.0 in (a, b) and out == 0.0:
            return 0.0
        if a is b:
            return cls(out, written(ops.power, [_write(a), number(2.0)]))
        if isinstance(b, _Term) and b.below:
            return cls(out, written(ops.div, [_write(a), b.below]))
        return cls(out, written(ops.mul, [_write(a), _write(b)]))

    @classmethod
    def _power(cls, out: float, x: _Term | float, n: float) -> _Term | float:
        if n in (0.0, 1.0):
            return x if n else 1.0
        if n < 0.0:
            below = _write(cls.record(ops.power, [x, -n]))
            return cls(out, written(ops.div, [number(1.0), below]), below)
        return cls(out, written(ops.sqrt, [_write(x)]) if n == 0.5 else written(ops.power, [_write(x), number(n)]))


def _softmax_less_one(out: _Term, *xs_k: Any) -> list[Any]:
    *xs, k = xs_k
    i = int(k.data if isinstance(k, Value) else k)
    return [*(ops.exp(-out) - 1.0 if j == i else ops.exp(x - xs[i] - out) for j, x in enumerate(xs)), None]


# partials that take care of their last digits, in few words
_TEXTBOOK: dict[Op, Callable[..., Sequence[Any]]] = {
    ops.erf: lambda out, x: [2.0 / math.sqrt(math.pi) * ops.exp(-(x * x))],
    ops.logsumexp: lambda out, *xs: [ops.exp(x - out) for x in xs],
    ops.cross_entropy: _softmax_less_one,
}


def _as_in_a_textbook(op: Op, out: _Term, inputs: Sequence[Any]) -> Sequence[Any]:
    """The formula of a textbook, with the number that the operation's own gives."""
    numbers = [x.data if isinstance(x, Value) else x for x in inputs]
    found = _TEXTBOOK[op](out, *inputs)
    for term, exact in zip(found, op.local_grads(out.data, numbers)):
        if isinstance(term, _Term):
            term.data = exact
    return found


def formulas(node: Value, name: Callable[[Value], Written]) -> Sequence[_Term | float | None]:
    """d node / d operand for each operand: a term, or a number where there is nothing to write, or None."""
    assert node.op is not None
    terms = {x: _Term(x.data, name(x)) for x in node.args if isinstance(x, Value)}
    inputs = [terms[x] if isinstance(x, Value) else x for x in node.args]
    out = _Term(_value(node.op, _data(node), node.data), name(node))
    try:
        if node.op in _TEXTBOOK:
            return _as_in_a_textbook(node.op, out, inputs)
        return node.op.local_grads(out, inputs, [isinstance(x, Value) for x in node.args])
    except Exception:  # partials may be written for floats alone, or be known only as recorded, like those of `jit`
        return node.local_grads


def _value(op: Op, data: Sequence[float], otherwise: float) -> float:
    """op.value(*data); otherwise where op cannot say, like that of `jit`."""
    try:
        return op.value(*data)
    except Exception:
        return otherwise


# --- names


class _Words:
    """What the Values are called in one explanation, as in a picture of root; labels that several have are numbered.
    `changed`: whether .data was seen that is not that of the recording."""

    def __init__(self, nodes: Iterable[Value], root: Value) -> None:
        text, self.full = called(dict.fromkeys(nodes), root)
        self.changed = False
        self._formulas: dict[Value, Sequence[_Term | float | None]] = {}
        self._called = text | distinct({node: text[node] for node in self.full})

    def name(self, node: Value) -> Written:
        return named(self._called[node])

    def valued(self, x: Value | float) -> Written:
        """`x = 2`, or only the number where x is one."""
        return joined(" = ", self.name(x), number(x.data)) if isinstance(x, Value) else number(x)

    def equation(self, node: Value) -> Written:
        """`v3 = a * b`"""
        return joined(" = ", self.name(node), self._expression(node)) if node.op else self.valued(node)

    def computation(self, node: Value) -> Written:
        """`v3 = a * b = 2 * (-3) = -6`"""
        if node.op is None:
            return self.valued(node)
        parts = [self.equation(node)]
        if len(node.args) <= 4:
            parts.append(written(node.op, [number(x) for x in _data(node)]))
        self.changed |= has_changed(node)
        return joined(" = ", *parts, number(node.data))

    def formula(self, use: Contribution) -> Written:
        """`1 - v3**2`"""
        if use.local is None:
            return word("not selected")
        if use.user not in self._formulas:
            self._formulas[use.user] = formulas(use.user, self.name)
            self.changed |= has_changed(use.user)
        formula = self._formulas[use.user][use.place]
        now = formula.data if isinstance(formula, Value) else formula
        self.changed |= now is None or not _same(now, use.local)
        return formula.written if isinstance(formula, _Term) else number(use.local)

    def local(self, use: Contribution) -> Written:
        """`1 - v3**2 = 0.42`"""
        formula, value = self.formula(use), number(use.local or 0.0)
        return value if formula == value else joined(" = ", formula, value)

    def path(self, path: Path) -> Written:
        """`x -> v3 -> v7`"""
        first, last = [self.name(node) for node in path.nodes[:12]], self.name(path.nodes[-1])
        if len(path.nodes) > 12 or (len(path.nodes) > 3 and sum(len(x.text) + 4 for x in first) > 80):
            while len(first) > 2 and sum(len(x.text) + 4 for x in first) > 56:
                first.pop()
            first += [word(f"({len(path.nodes) - len(first) - 1:,} more)"), last]
        return Written(" -> ".join(x.text for x in first), r" \to ".join(x.latex for x in first))

    def factors(self, path: Path) -> Written:
        """`2 * (-3)`, where these are few."""
        if not 1 <= len(path.local_grads) <= 4:
            return word("")
        return functools.reduce(lambda a, b: written(ops.mul, [a, b]), map(number, path.local_grads))

    def _expression(self, node: Value) -> Written:
        assert node.op is not None
        xs = [self.name(x) if isinstance(x, Value) else number(x) for x in node.args]
        whole = written(node.op, xs) if len(xs) <= 7 else None
        return whole if whole and (len(whole.text) <= 48 or len(xs) <= 3) else notation.elided(node.op, xs)


def _write(x: _Term | float) -> Written:
    return x.written if isinstance(x, _Term) else number(x)


def _data(node: Value) -> list[float]:
    return [x.data if isinstance(x, Value) else x for x in node.args]
