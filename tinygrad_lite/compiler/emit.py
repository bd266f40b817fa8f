"""From a plan to LLVM's language, as text.

`Code` emits instructions one by one for a width: 1, or as many lanes as a vector register holds.
`LOWERINGS` says how each operation of the table becomes instructions. Everything here is a value on
floats: derivatives arrive as operations like any other.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from .. import ops
from ..ops import Op
from . import vector_math

Body = Callable[[str], None]


class Code:
    """Instructions of one function, in order. width: lanes of a value; fused: may a * b + c round once?"""

    def __init__(self, width: int, fused: bool, shared: set[tuple[str, int, int]] | None = None) -> None:
        self.lanes = width
        self.width = width
        self.fused = fused
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.shared = shared  # long functions (name, operands, width) to be called, not written out here
        self._count = 0
        self._labels = 0
        self._block = "entry"
        self._wholes: set[str] = set()  # values that are integers

    # --- the letters of the language

    @property
    def type(self) -> str:
        return "double" if self.width == 1 else f"<{self.width} x double>"

    @property
    def whole_type(self) -> str:
        return "i64" if self.width == 1 else f"<{self.width} x i64>"

    def emit(self, text: str) -> str:
        name = f"%t{self._count}"
        self._count += 1
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append(f"  {text}")

    def label(self, name: str) -> None:
        self.lines.append(f"{name}:")
        self._block = name

    def declare(self, name: str, signature: str) -> None:
        self.declared[name] = signature

    # --- numbers

    def number(self, x: float) -> str:
        literal = f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"
        return literal if self.width == 1 else f"splat (double {literal})"

    def whole(self, k: int) -> str:
        return str(k) if self.width == 1 else f"splat (i64 {k})"

    def _binary(self, name: str, a: str, b: str) -> str:
        return self.emit(f"{name} {self.type} {a}, {b}")

    def add(self, a: str, b: str) -> str:
        return self._binary("fadd", a, b)

    def sub(self, a: str, b: str) -> str:
        return self._binary("fsub", a, b)

    def mul(self, a: str, b: str) -> str:
        return self._binary("fmul", a, b)

    def div(self, a: str, b: str) -> str:
        return self._binary("fdiv", a, b)

    def negative(self, a: str) -> str:
        return self.emit(f"fneg {self.type} {a}")

    def fma(self, a: str, b: str, c: str) -> str:
        """a * b + c, rounded once where the machine can."""
        return self._intrinsic("fma", a, b, c)

    def multiply_add(self, a: str, b: str, c: str) -> str:
        """a * b + c as a user's program wrote it: fused only where that is allowed."""
        return self.fma(a, b, c) if self.fused else self.add(c, self.mul(a, b))

    def absolute(self, a: str) -> str:
        return self._intrinsic("fabs", a)

    def copysign(self, a: str, b: str) -> str:
        return self._intrinsic("copysign", a, b)

    def sqrt(self, a: str) -> str:
        return self._intrinsic("sqrt", a)

    def _intrinsic(self, name: str, *args: str) -> str:
        suffix = "f64" if self.width == 1 else f"v{self.width}f64"
        full = f"@llvm.{name}.{suffix}"
        self.declare(full, f"declare {self.type} {full}({', '.join([self.type] * len(args))})")
        return self.emit(f"call {self.type} {full}({', '.join(f'{self.type} {a}' for a in args)})")

    def compare(self, how: str, a: str, b: str) -> str:
        return self.emit(f"fcmp {how} {self.type} {a}, {b}")

    def select(self, condition: str, a: str, b: str) -> str:
        kind = "i1" if self.width == 1 else f"<{self.width} x i1>"
        whole = any(x in self._wholes for x in (a, b))
        what = self.whole_type if whole else self.type
        found = self.emit(f"select {kind} {condition}, {what} {a}, {what} {b}")
        if whole:
            self._wholes.add(found)
        return found

    def truth(self, condition: str) -> str:
        """1.0 where the condition holds, else 0.0."""
        return self.select(condition, self.number(1.0), self.number(0.0))

    def either(self, a: str, b: str) -> str:
        kind = "i1" if self.width == 1 else f"<{self.width} x i1>"
        return self.emit(f"or {kind} {a}, {b}")

    def bits(self, x: str) -> str:
        return self._whole(f"bitcast {self.type} {x} to {self.whole_type}")

    def from_bits(self, k: str) -> str:
        return self.emit(f"bitcast {self.whole_type} {k} to {self.type}")

    def integer(self, name: str, k: str, constant: int) -> str:
        return self._whole(f"{name} {self.whole_type} {k}, {self.whole(constant)}")

    def integers(self, name: str, a: str, b: str) -> str:
        return self._whole(f"{name} {self.whole_type} {a}, {b}")

    def _whole(self, text: str) -> str:
        found = self.emit(text)
        self._wholes.add(found)
        return found

    def is_zero(self, k: str) -> str:
        return self.emit(f"icmp eq {self.whole_type} {k}, {self.whole(0)}")

    def math(self, name: str, *args: str) -> str:
        """A long function: written out, or called where many are needed."""
        if self.shared is None:
            return long_function(self, name, *args)
        self.shared.add((name, len(args), self.width))
        arguments = ", ".join(f"{self.type} {a}" for a in args)
        return self.emit(f"call {self.type} @{name}.{self.width}({arguments})")

    def per_lane(self, name: str, *args: str) -> str:
        """A function of the C library, called for each lane."""
        self.declare(
            f"@{name}", f"declare double @{name}({', '.join(['double'] * len(args))}) nounwind willreturn memory(none)"
        )
        if self.width == 1:
            return self.emit(f"call double @{name}({', '.join(f'double {a}' for a in args)})")
        result = "poison"
        for lane in range(self.width):
            parts = [self.emit(f"extractelement {self.type} {a}, i32 {lane}") for a in args]
            called = self.emit(f"call double @{name}({', '.join(f'double {p}' for p in parts)})")
            result = self.emit(f"insertelement {self.type} {result}, double {called}, i32 {lane}")
        return result

    def smaller(self, a: str, b: str) -> str:
        """The smaller one of two single integers."""
        self.declare("@llvm.smin.i64", "declare i64 @llvm.smin.i64(i64, i64)")
        return self.emit(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    # --- memory, addressed in doubles

    def address(self, base: str, index: str) -> str:
        return self.emit(f"getelementptr double, ptr {base}, i64 {index}")

    def load(self, pointer: str) -> str:
        return self.emit(f"load {self.type}, ptr {pointer}, align 8")

    def store(self, value: str, pointer: str) -> None:
        self.do(f"store {self.type} {value}, ptr {pointer}, align 8")

    def broadcast(self, scalar: str) -> str:
        if self.width == 1:
            return scalar
        one = self.emit(f"insertelement {self.type} poison, double {scalar}, i32 0")
        return self.emit(f"shufflevector {self.type} {one}, {self.type} poison, <{self.width} x i32> zeroinitializer")

    def plus(self, a: str, b: str) -> str:
        if a == "0":
            return b
        if b == "0":
            return a
        if a.lstrip("-").isdigit() and b.lstrip("-").isdigit():
            return str(int(a) + int(b))
        return self.emit(f"add i64 {a}, {b}")

    def times(self, a: str, factor: int) -> str:
        if factor == 0:
            return "0"
        if a.lstrip("-").isdigit():
            return str(int(a) * factor)
        return a if factor == 1 else self.emit(f"mul i64 {a}, {factor}")

    # --- loops

    def loop(self, start: str, stop: str, step: int, body: Body) -> None:
        """for i in range(start, stop, step): body(i)"""

        def carrying_nothing(i: str, _: list[str]) -> list[str]:
            body(i)
            return []

        self.fold(start, stop, step, [], carrying_nothing)

    def fold(
        self, start: str, stop: str, step: int, initial: Sequence[str], body: Callable[[str, list[str]], list[str]]
    ) -> list[str]:
        """A loop that carries values: body(i, values) -> the next values; returns the last ones."""
        n = self._labels
        self._labels += 1
        before = self._block
        self.do(f"br label %head{n}")
        self.label(f"head{n}")
        index = f"%i{n}"
        phi_at = len(self.lines)
        carried = [f"%c{n}_{m}" for m in range(len(initial))]
        more = self.emit(f"icmp slt i64 {index}, {stop}")
        self.do(f"br i1 {more}, label %body{n}, label %exit{n}")
        self.label(f"body{n}")
        following = body(index, carried)
        self.do(f"%n{n} = add i64 {index}, {step}")
        self.do(f"br label %head{n}")
        end = self._block
        phis = [f"  {index} = phi i64 [ {start}, %{before} ], [ %n{n}, %{end} ]"]
        for name, first, then in zip(carried, initial, following):
            phis.append(f"  {name} = phi {self.type} [ {first}, %{before} ], [ {then}, %{end} ]")
        self.lines[phi_at:phi_at] = phis
        self.label(f"exit{n}")
        return carried

    def when(self, condition: str, body: Callable[[], None]) -> None:
        """if condition: body()"""
        n = self._labels
        self._labels += 1
        self.do(f"br i1 {condition}, label %then{n}, label %end{n}")
        self.label(f"then{n}")
        body()
        self.do(f"br label %end{n}")
        self.label(f"end{n}")

    def when_return(self, condition: str, leave: Callable[[], None]) -> None:
        """if condition: leave(), which ends the function"""
        n = self._labels
        self._labels += 1
        self.do(f"br i1 {condition}, label %then{n}, label %end{n}")
        self.label(f"then{n}")
        leave()
        self.label(f"end{n}")

    def choose(self, condition: str, rare: Callable[[], str], usual: str) -> str:
        """rare() if condition else usual"""
        n = self._labels
        self._labels += 1
        before = self._block
        self.do(f"br i1 {condition}, label %then{n}, label %end{n}")
        self.label(f"then{n}")
        value = rare()
        end = self._block
        self.do(f"br label %end{n}")
        self.label(f"end{n}")
        return self.emit(f"phi {self.type} [ {usual}, %{before} ], [ {value}, %{end} ]")

    def sum_lanes(self, vectors: Sequence[str]) -> str:
        """Up to `width` vectors -> one vector, its lane m the sum of the lanes of vectors[m].

        A butterfly: each round adds neighbouring halves of two vectors, log2(width) rounds in all.
        """
        w = self.width
        work = [*vectors, *[self.number(-0.0)] * (w - len(vectors))]
        span = 1
        while len(work) > 1:
            low = [(i // span % 2) * w + (i // (2 * span)) * 2 * span + i % span for i in range(w)]
            masks = [", ".join(f"i32 {m + shift}" for m in low) for shift in (0, span)]
            halves = []
            for a, b in zip(work[::2], work[1::2]):
                parts = [
                    self.emit(f"shufflevector {self.type} {a}, {self.type} {b}, <{w} x i32> <{mask}>") for mask in masks
                ]
                halves.append(self.add(*parts))
            work, span = halves, 2 * span
        return work[0]

    def lane(self, vector: str, m: int) -> str:
        return self.emit(f"extractelement {self.type} {vector}, i32 {m}") if self.width > 1 else vector


# --- how each operation becomes instructions: (code, its operands) -> its value


def _relu(c: Code, x: str) -> str:
    return c.select(c.compare("ole", x, c.number(0.0)), c.number(0.0), x)


def _step(c: Code, x: str) -> str:
    not_positive = c.select(c.compare("ole", x, c.number(0.0)), c.number(0.0), x)  # nan stays
    return c.select(c.compare("ogt", x, c.number(0.0)), c.number(1.0), not_positive)


def _sign(c: Code, x: str) -> str:
    return c.select(c.compare("one", x, c.number(0.0)), c.copysign(c.number(1.0), x), x)


def _where(c: Code, condition: str, a: str, b: str) -> str:
    return c.select(c.compare("une", condition, c.number(0.0)), a, b)


def _leaky_relu(c: Code, x: str, slope: str) -> str:
    return c.select(c.compare("ogt", x, c.number(0.0)), x, c.mul(slope, x))


def _extreme(how: str) -> Callable[..., str]:
    def lower(c: Code, *xs: str) -> str:
        found = xs[0]
        for x in xs[1:]:
            found = c.select(c.either(c.compare(how, x, found), c.compare("uno", x, x)), x, found)
        return found

    return lower


def _clip(c: Code, x: str, low: str, high: str) -> str:
    return _extreme("olt")(c, _extreme("ogt")(c, x, low), high)


def _power(c: Code, x: str, n: str) -> str:
    return c.select(c.compare("oeq", n, c.number(2.0)), c.mul(x, x), c.math("pow", x, n))


def _pick(c: Code, k: str, *xs: str) -> str:
    found = c.number(float("nan"))  # of a computed index that is none
    for i, x in enumerate(xs):
        found = c.select(c.compare("oeq", k, c.number(float(i))), x, found)
    return found


def larger(c: Code, x: str, largest: str) -> str:
    """The larger one, nan if either is."""
    return c.select(c.either(c.compare("ogt", x, largest), c.compare("uno", x, x)), x, largest)


def add_exp(c: Code, x: str, largest: str, rest: str, seen: str) -> list[str]:
    """rest + exp(x - largest), but for the first x that is the largest; seen: 1.0 once it has come by."""
    this = c.truth(c.compare("oeq", x, largest))
    first = c.compare("ogt", this, seen)
    e = c.select(first, c.number(0.0), c.math("exp", c.sub(x, largest)))
    return [c.add(rest, e), c.select(c.compare("ogt", this, seen), this, seen)]


def log_sum(c: Code, largest: str, rest: str) -> str:
    """largest + log(1 + rest): without the largest in the sum a small rest is not rounded away."""
    finite = c.compare("oeq", c.sub(largest, largest), c.number(0.0))
    return c.select(finite, c.add(largest, c.math("log1p", rest)), largest)


def _logsumexp(c: Code, *xs: str) -> str:
    largest = _extreme("ogt")(c, *xs)
    rest, seen = c.number(0.0), c.number(0.0)
    for x in xs:
        rest, seen = add_exp(c, x, largest, rest, seen)
    return log_sum(c, largest, rest)


def _sine(c: Code, name: str, x: str) -> str:
    """The fast one, unless a lane needs the C library's argument reduction."""
    fast = getattr(vector_math, name)(c, x)
    far = c.compare("ogt", c.absolute(x), c.number(vector_math.LARGEST_ANGLE))
    some = far
    if c.width > 1:
        reduce = f"@llvm.vector.reduce.or.v{c.width}i1"
        c.declare(reduce, f"declare i1 {reduce}(<{c.width} x i1>)")
        some = c.emit(f"call i1 {reduce}(<{c.width} x i1> {far})")
    slow = c.choose(some, lambda: c.per_lane(name, x), fast)
    return c.select(far, slow, fast)  # lane by lane: a result does not depend on its neighbours


def long_function(c: Code, name: str, *args: str) -> str:
    """The instructions of a function by its name: ours where there is one, else the C library's."""
    if name in ("sin", "cos"):
        return _sine(c, name, *args)
    ours = getattr(vector_math, name, None)
    return str(ours(c, *args)) if ours else c.per_lane(name, *args)


def _call(name: str) -> Callable[..., str]:
    return lambda c, *xs: c.math(name, *xs)


def _sum(c: Code, *xs: str) -> str:
    found = c.number(0.0)
    for x in xs:
        found = c.add(found, x)
    return found


def _dot(c: Code, *ws_xs: str) -> str:
    n = len(ws_xs) // 2
    found = ws_xs[-1] if len(ws_xs) % 2 else c.number(0.0)
    for w, x in zip(ws_xs[:n], ws_xs[n:]):
        found = c.multiply_add(w, x, found)
    return found


LOWERINGS: dict[Op, Callable[..., str]] = {
    ops.add: Code.add, ops.sub: Code.sub, ops.mul: Code.mul, ops.div: Code.div,
    ops.neg: Code.negative, ops.abs_: Code.absolute, ops.power: _power, ops.sqrt: Code.sqrt,
    ops.exp: _call("exp"), ops.expm1: _call("expm1"), ops.log: _call("log"),
    ops.log1p: _call("log1p"), ops.hypot: _call("hypot"),
    ops.sin: _call("sin"), ops.cos: _call("cos"), ops.tan: _call("tan"),
    ops.asin: _call("asin"), ops.acos: _call("acos"), ops.atan: _call("atan"), ops.atan2: _call("atan2"),
    ops.sinh: _call("sinh"), ops.cosh: _call("cosh"),
    ops.tanh: _call("tanh"), ops.sigmoid: _call("sigmoid"), ops.softplus: _call("softplus"),
    ops.relu: _relu, ops.leaky_relu: _leaky_relu, ops.sign: _sign, ops.step: _step,
    ops.equal: lambda c, a, b: c.truth(c.compare("oeq", a, b)),
    ops.less: lambda c, a, b: c.truth(c.compare("olt", a, b)),
    ops.less_equal: lambda c, a, b: c.truth(c.compare("ole", a, b)),
    ops.where: _where, ops.clip: _clip, ops.maximum: _extreme("ogt"), ops.minimum: _extreme("olt"),
    ops.pick: _pick, ops.dot: _dot, ops.total: _sum,
    ops.mean: lambda c, *xs: c.div(_sum(c, *xs), c.number(float(len(xs)))),
    ops.logsumexp: _logsumexp,
}  # fmt: skip
