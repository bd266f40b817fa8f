"""The writer of instructions: one function in LLVM's language, line by line.

Values are names of LLVM registers, and hold one number or a vector of them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Function = Callable[..., str]  # (code, *operands) -> value
Shared = dict[tuple[str, int, int], Function]  # (name, operands, width) -> the function


class Code:
    """Instructions of one function, in order.

    width: numbers in a value. lanes: of the widest value. fused: may a * b + c round once?
    shared: collects the long functions to be called; None: they are written out instead.
    """

    def __init__(self, width: int, fused: bool, shared: Shared | None = None) -> None:
        self.lanes = self.width = width
        self.fused = fused
        self.lines: list[str] = []
        self.declared: dict[str, str] = {}
        self.shared = shared
        self._count = 0
        self._labels = 0
        self._block = "entry"
        self._wholes: set[str] = set()  # values that are integers

    @contextmanager
    def at_width(self, width: int) -> Iterator[None]:
        """`with code.at_width(1):` values hold this many numbers."""
        before, self.width = self.width, width
        yield
        self.width = before

    # --- the letters of the language

    @property
    def type(self) -> str:
        return self.vector_of("double")

    def vector_of(self, kind: str) -> str:
        return kind if self.width == 1 else f"<{self.width} x {kind}>"

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

    # --- numbers

    def number(self, x: float) -> str:
        literal = f"0x{struct.unpack('<Q', struct.pack('<d', x))[0]:016X}"
        return literal if self.width == 1 else f"splat (double {literal})"

    def whole(self, k: int) -> str:
        return str(k) if self.width == 1 else f"splat (i64 {k})"

    def add(self, a: str, b: str) -> str:
        return self.emit(f"fadd {self.type} {a}, {b}")

    def sub(self, a: str, b: str) -> str:
        return self.emit(f"fsub {self.type} {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        return self.emit(f"fmul {self.type} {a}, {b}")

    def div(self, a: str, b: str) -> str:
        return self.emit(f"fdiv {self.type} {a}, {b}")

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

    def floor(self, a: str) -> str:
        return self._intrinsic("floor", a)

    def nearest(self, a: str) -> str:
        """The nearest whole number, of two the even one."""
        return self._intrinsic("roundeven", a)

    def _intrinsic(self, name: str, *args: str) -> str:
        full = f"@llvm.{name}.f64" if self.width == 1 else f"@llvm.{name}.v{self.width}f64"
        self.declared[full] = f"declare {self.type} {full}({', '.join([self.type] * len(args))})"
        return self.emit(f"call {self.type} {full}({', '.join(f'{self.type} {a}' for a in args)})")

    # --- conditions

    def compare(self, how: str, a: str, b: str) -> str:
        return self.emit(f"fcmp {how} {self.type} {a}, {b}")

    def select(self, condition: str, a: str, b: str) -> str:
        whole = a in self._wholes or b in self._wholes
        kind = self.vector_of("i64" if whole else "double")
        text = f"select {self.vector_of('i1')} {condition}, {kind} {a}, {kind} {b}"
        return self._whole(text) if whole else self.emit(text)

    def truth(self, condition: str) -> str:
        """1.0 where the condition holds, else 0.0."""
        return self.select(condition, self.number(1.0), self.number(0.0))

    def both(self, a: str, b: str) -> str:
        return self.emit(f"and {self.vector_of('i1')} {a}, {b}")

    def differ(self, a: str, b: str) -> str:
        return self.emit(f"xor {self.vector_of('i1')} {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.emit(f"or {self.vector_of('i1')} {a}, {b}")

    def in_any_lane(self, condition: str) -> str:
        if self.width == 1:
            return condition
        name = f"@llvm.vector.reduce.or.v{self.width}i1"
        self.declared[name] = f"declare i1 {name}(<{self.width} x i1>)"
        return self.emit(f"call i1 {name}(<{self.width} x i1> {condition})")

    # --- integers

    def bits(self, x: str) -> str:
        return self._whole(f"bitcast {self.type} {x} to {self.vector_of('i64')}")

    def from_bits(self, k: str) -> str:
        return self.emit(f"bitcast {self.vector_of('i64')} {k} to {self.type}")

    def integer(self, name: str, k: str, constant: int) -> str:
        return self.integers(name, k, self.whole(constant))

    def integers(self, name: str, a: str, b: str) -> str:
        return self._whole(f"{name} {self.vector_of('i64')} {a}, {b}")

    def _whole(self, text: str) -> str:
        found = self.emit(text)
        self._wholes.add(found)
        return found

    def is_zero(self, k: str) -> str:
        return self.emit(f"icmp eq {self.vector_of('i64')} {k}, {self.whole(0)}")

    def plus(self, a: str, b: str) -> str:
        """The sum of two single integers, known or not."""
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

    def smaller(self, a: str, b: str) -> str:
        """The smaller one of two single integers."""
        self.declared["@llvm.smin.i64"] = "declare i64 @llvm.smin.i64(i64, i64)"
        return self.emit(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    # --- functions

    def call(self, name: str, function: Function, *args: str) -> str:
        """A long function: written out, or called where many are needed."""
        if self.shared is None:
            return function(self, *args)
        self.shared[name, len(args), self.width] = function
        arguments = ", ".join(f"{self.type} {a}" for a in args)
        return self.emit(f"call {self.type} @{name}.{self.width}({arguments})")

    def per_lane(self, name: str, *args: str) -> str:
        """A function of the C library, called for each lane."""
        kinds = ", ".join(["double"] * len(args))
        self.declared[f"@{name}"] = f"declare double @{name}({kinds}) nounwind willreturn memory(none)"
        if self.width == 1:
            return self.emit(f"call double @{name}({', '.join(f'double {a}' for a in args)})")
        result = "poison"
        for lane in range(self.width):
            parts = [self.lane(a, lane) for a in args]
            called = self.emit(f"call double @{name}({', '.join(f'double {p}' for p in parts)})")
            result = self.emit(f"insertelement {self.type} {result}, double {called}, i32 {lane}")
        return result

    # --- memory

    def address(self, base: str, index: str, kind: str = "double") -> str:
        return self.emit(f"getelementptr {kind}, ptr {base}, i64 {index}")

    def load(self, pointer: str) -> str:
        return self.emit(f"load {self.type}, ptr {pointer}, align 8")

    def store(self, value: str, pointer: str) -> None:
        self.do(f"store {self.type} {value}, ptr {pointer}, align 8")

    def load_one(self, pointer: str) -> str:
        """One number, however wide values are."""
        return self.emit(f"load double, ptr {pointer}, align 8")

    def load_whole(self, base: str, index: str) -> str:
        """One integer of an array of 64-bit integers."""
        return self.emit(f"load i64, ptr {self.address(base, index, 'i64')}")

    def load_entry(self, table: str, index: str) -> str:
        """One integer of a `constant_table`."""
        entry = self.emit(f"load i32, ptr {self.address(table, index, 'i32')}")
        return self.emit(f"sext i32 {entry} to i64")

    # --- vectors

    def broadcast(self, scalar: str) -> str:
        if self.width == 1:
            return scalar
        one = self.emit(f"insertelement {self.type} poison, double {scalar}, i32 0")
        return self.emit(f"shufflevector {self.type} {one}, {self.type} poison, <{self.width} x i32> zeroinitializer")

    def lane(self, vector: str, m: int) -> str:
        return self.emit(f"extractelement {self.type} {vector}, i32 {m}") if self.width > 1 else vector

    def shuffle(self, a: str, b: str, lanes: Sequence[int]) -> str:
        """A vector of these lanes of a, 0 .. width - 1, and of b, from width on."""
        mask = ", ".join(f"i32 {m}" for m in lanes)
        return self.emit(f"shufflevector {self.type} {a}, {self.type} {b}, <{self.width} x i32> <{mask}>")

    def sum_lanes(self, vectors: Sequence[str]) -> str:
        """Up to `width` vectors -> one vector, its lane m the sum of the lanes of vectors[m].

        A butterfly: each round adds neighbouring halves of two vectors, log2(width) rounds in all.
        """
        w = self.width
        work = [*vectors, *[self.number(-0.0)] * (w - len(vectors))]
        span = 1
        while len(work) > 1:
            low = [(i // span % 2) * w + (i // (2 * span)) * 2 * span + i % span for i in range(w)]
            work = [
                self.add(self.shuffle(a, b, low), self.shuffle(a, b, [m + span for m in low]))
                for a, b in zip(work[::2], work[1::2])
            ]
            span *= 2
        return work[0]

    def transpose(self, rows: Sequence[str]) -> list[str]:
        """width vectors -> their columns, by exchanging halves, quarters, ..."""
        w, work, span = self.width, list(rows), self.width // 2
        while span:
            following = list(work)
            for a in range(w):
                if a & span:
                    continue
                b = a | span
                following[a] = self.shuffle(work[a], work[b], [m if not m & span else w + (m ^ span) for m in range(w)])
                following[b] = self.shuffle(work[a], work[b], [m | span if not m & span else w + m for m in range(w)])
            work, span = following, span // 2
        return work

    # --- loops and branches

    def loop(self, start: str, stop: str, step: int, body: Callable[[str], None]) -> None:
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

    def when(self, condition: str, body: Callable[[], None], leaves: bool = False) -> None:
        """if condition: body(). leaves: it ends the function."""
        n = self._labels
        self._labels += 1
        self.do(f"br i1 {condition}, label %then{n}, label %end{n}")
        self.label(f"then{n}")
        body()
        if not leaves:
            self.do(f"br label %end{n}")
        self.label(f"end{n}")

    def choose(self, condition: str, rare: Callable[[], str], usual: str) -> str:
        """rare() if condition else usual"""
        before = self._block
        taken: list[str] = []
        self.when(condition, lambda: taken.append(f"[ {rare()}, %{self._block} ]"))
        return self.emit(f"phi {self.type} [ {usual}, %{before} ], {taken[0]}")


class Module:
    """Functions, and what they refer to.

    shared: may long functions be called, rather than written out?
    """

    def __init__(self, width: int, fused: bool, shared: bool) -> None:
        self.width, self.fused = width, fused
        self.shared: Shared | None = {} if shared else None
        self.tables: list[str] = []
        self.declared: dict[str, str] = {}
        self.functions: list[str] = []

    def function(self, name: str, parameters: str, body: Callable[[Code], None], linkage: str = "") -> None:
        """define void @name(parameters) with this body."""
        code = Code(self.width, self.fused, self.shared)
        body(code)
        self.functions.append(self._definition(code, f"{linkage}void @{name}({parameters}) nounwind", "ret void"))

    def table(self, entries: Sequence[int], name: str = "") -> str:
        """The name of an array of 32-bit integers, for `Code.load_entry`."""
        name = name or f"@table{len(self.tables)}"
        listed = ", ".join(f"i32 {x}" for x in entries)
        self.tables.append(f"{name} = private constant [{len(entries)} x i32] [{listed}]")
        return name

    def text(self) -> str:
        """All of it, with the long functions that were called."""
        functions = list(self.functions)
        for (name, count, width), function in sorted((self.shared or {}).items(), key=lambda item: item[0]):
            code = Code(width, self.fused)
            arguments = [f"%x{i}" for i in range(count)]
            parameters = ", ".join(f"{code.type} {x}" for x in arguments)
            value = function(code, *arguments)
            head = f"internal {code.type} @{name}.{width}({parameters}) nounwind noinline"
            functions.append(self._definition(code, head, f"ret {code.type} {value}"))
        return "\n".join([*self.tables, *self.declared.values(), *functions])

    def _definition(self, code: Code, head: str, last: str) -> str:
        self.declared |= code.declared
        return "\n".join([f"define {head} {{", "entry:", *code.lines, f"  {last}", "}", ""])
