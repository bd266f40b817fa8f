"""Groups of terms as nodes of ONNX: a tensor (examples, members) for each, so that a layer is MatMul, Add, Tanh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import ops
from ..compiler.computation import needed_terms
from ..compiler.plan import Group, Operand, plan
from ..compiler.simplify import CONSTANT, PARAMETER
from ..op import Op
from .recording import Recorded
from .rows import IN_ROWS, SUMS
from .writer import slots_of

OPSET, VERSION = 17, 8  # of 2022: what runtimes of these years read
Array = np.ndarray

# an ONNX operator, or (graph, *operands) -> a tensor: as far as onnxruntime has them for doubles
Row = str | Callable[..., str]
ONNX: dict[Op, Row] = {
    ops.add: "Add", ops.sub: "Sub", ops.mul: "Mul", ops.div: "Div", ops.neg: "Neg", ops.abs_: "Abs", ops.power: "Pow",
    ops.exp: "Exp", ops.log: "Log", ops.sqrt: "Sqrt", ops.sin: "Sin", ops.cos: "Cos", ops.tanh: "Tanh",
    ops.sigmoid: "Sigmoid", ops.relu: "Relu", ops.sign: "Sign", ops.floor: "Floor", ops.round_: "Round",
    ops.log1p: lambda g, x: _log1p(g, x),
    ops.softplus: lambda g, x: g.node("Add", g.node("Relu", x), _log1p(g, _exp_of_minus_size(g, x))),
    ops.expm1: lambda g, x: g.node("Sub", g.node("Exp", x), g.number(1.0)),
    ops.exp2: lambda g, x: g.node("Pow", g.number(2.0), x),
    ops.hypot: lambda g, a, b: g.node("Sqrt", g.node("Add", g.node("Mul", a, a), g.node("Mul", b, b))),
    ops.exp_difference: lambda g, a, b: g.node("Exp", g.node("Sub", a, b)),
    ops.step: lambda g, x: g.truth("Less", g.number(0.0), x),
    ops.less: lambda g, a, b: g.truth("Less", a, b),
    ops.less_equal: lambda g, a, b: g.truth("LessOrEqual", a, b),
    ops.equal: lambda g, a, b: g.truth("Equal", a, b),
    ops.where: lambda g, c, a, b: g.node("Where", g.node("Cast", c, to=g.bool), a, b),
    ops.leaky_relu: lambda g, x, slope: g.node("Where", g.node("Less", g.number(0.0), x), x, g.node("Mul", slope, x)),
    ops.clip: lambda g, x, low, high: g.node("Min", g.node("Max", x, low), high),
}  # fmt: skip
_FOLDS = {ops.maximum: ("ReduceMax", "Max"), ops.minimum: ("ReduceMin", "Min")}


def _log1p(g: Graph, x: str) -> str:
    return g.node("Log", g.node("Add", x, g.number(1.0)))


def _exp_of_minus_size(g: Graph, x: str) -> str:
    return g.node("Exp", g.node("Neg", g.node("Abs", x)))


class Graph:
    """The nodes in the making. Tensors of the lanes are (examples, members); of numbers, (members,)."""

    def __init__(self, found: Recorded) -> None:
        try:
            import onnx
        except ImportError:
            raise ImportError("onnx is missing: pip install 'tinygrad_lite[onnx]'") from None
        self.onnx, self.bool, self.found = onnx, onnx.TensorProto.BOOL, found
        self.plan = plan(found, IN_ROWS)
        self.nodes: list[Any] = []
        self.kept: dict[bytes, str] = {}
        self.initializers: list[Any] = []
        self.numbers = self._scalars()
        self.owners = [("input", 0, self.plan.inputs)]  # tensor, its first slot, and how many

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def truth(self, kind: str, *inputs: str) -> str:
        return self.node("Cast", self.node(kind, *inputs), to=self.onnx.TensorProto.DOUBLE)

    def constant(self, array: Array) -> str:
        key = array.tobytes() + f"{array.dtype} {array.shape}".encode()
        if key not in self.kept:
            self.kept[key] = f"c{len(self.kept)}"
            self.initializers.append(self.onnx.numpy_helper.from_array(array, self.kept[key]))
        return self.kept[key]

    def number(self, x: float) -> str:
        return self.constant(np.array(x))

    def _scalars(self) -> Array:
        """The number in each slot that is the same for all examples."""
        terms, values = self.found.terms, self.found.values
        known: dict[int, float] = {}
        groups = [*self.plan.before]
        for i in needed_terms(terms, [i for group in groups for i in group.terms]):
            op, args = terms.ops[i], terms.args[i]
            if op is CONSTANT or op is PARAMETER:
                known[i] = args[0] if op is CONSTANT else values[args[0]].data
            else:
                known[i] = op.value(*[known[a] for a in args])
        slots: Array = np.zeros(self.plan.scalars)
        slots[: len(values)] = [v.data for v in values]
        for slot, number in self.plan.constants.items():
            slots[slot] = number
        for group in groups:
            slots[group.base : group.base + len(group.terms)] = [known[i] for i in group.terms]
        return slots

    # --- operands

    def slots(self, group: Group, o: Operand) -> Array:
        """(members, operands in the row)"""
        found: Array = np.array(slots_of(group, o))
        return found.reshape(len(group.terms), o.count)

    def taken(self, slots: Array) -> str:
        """The lanes' numbers in these slots: a tensor (examples, *slots.shape)."""
        needed = [x for x in self.owners if ((slots >= x[1]) & (slots < x[1] + x[2])).any()]
        places: Array = slots.astype(np.int64)
        at = 0
        for _, first, count in needed:
            inside = (slots >= first) & (slots < first + count)
            places = np.where(inside, slots - first + at, places)
            at += count
        whole = needed[0][0] if len(needed) == 1 else self.node("Concat", *[name for name, _, _ in needed], axis=1)
        if places.ndim == 1 and np.array_equal(places, np.arange(at)):
            return whole
        return self.node("Gather", whole, self.constant(places), axis=1)

    def operand(self, group: Group, o: Operand) -> str:
        """One operand of each member."""
        if o.number is not None:
            return self.number(o.number)
        slots = self.slots(group, o)[:, 0]
        return self.taken(slots) if o.lanes else self.constant(self.numbers[slots])

    def row(self, group: Group, o: Operand, begin: int, count: int) -> str:
        """A row of operands of each member: (examples, members, count), or (members, count) of numbers."""
        if o.number is not None:
            return self.constant(np.full((1, count), o.number))
        slots = self.slots(group, o)[:, begin : begin + count]
        return self.taken(slots) if o.lanes else self.constant(self.numbers[slots])

    # --- groups

    def group(self, group: Group) -> str:
        op = group.op
        if op in SUMS:
            terms = [self.products(group, run.operands, run.count) for run in group.runs]
            if group.start is not None:
                terms.append(self.operand(group, group.start))
            whole = terms[0]
            for term in terms[1:]:
                whole = self.node("Add", whole, term)
            return whole if op is not ops.mean else self.node("Div", whole, self.number(float(group.length)))
        if op in _FOLDS or op is ops.logsumexp:
            return self.fold(group)
        if op not in ONNX:
            raise NotImplementedError(
                f"export.onnx cannot write {op.name}: onnxruntime has no such operator for doubles; write it with "
                f"{', '.join(sorted(known.name for known in ONNX))}, dot, total, mean, maximum, minimum, logsumexp"
            )
        row, operands = ONNX[op], [self.operand(group, o) for o in group.operands]
        return self.node(row, *operands) if isinstance(row, str) else row(self, *operands)

    def products(self, group: Group, operands: Sequence[tuple[Operand, int]], count: int) -> str:
        """The sum of a stretch of a row, or of the products of two: a MatMul where all members read the same row."""
        axes = self.constant(np.array([-1]))
        for (w, i), (x, k) in [tuple(operands), tuple(operands[::-1])] if len(operands) == 2 else []:
            if not w.lanes and x.lanes:
                shared = self.slots(group, x)[:, k : k + count]
                if (shared == shared[0]).all():
                    numbers = np.broadcast_to(np.array(w.number), (len(group.terms), count))
                    if w.number is None:
                        numbers = self.numbers[self.slots(group, w)[:, i : i + count]]
                    return self.node("MatMul", self.taken(shared[0]), self.constant(np.ascontiguousarray(numbers.T)))
        parts = [self.row(group, o, begin, count) for o, begin in operands]
        return self.node("ReduceSum", self.node("Mul", *parts) if len(parts) == 2 else parts[0], axes, keepdims=0)

    def fold(self, group: Group) -> str:
        """The largest or smallest of a row, or its logsumexp."""
        reduce, combine = _FOLDS.get(group.op, _FOLDS[ops.maximum])
        parts = [self.row(group, run.operands[0][0], run.operands[0][1], run.count) for run in group.runs]
        best = [self.node(reduce, part, axes=[-1], keepdims=0) for part in parts]
        whole = best[0] if len(best) == 1 else self.node(combine, *best)
        if group.op in _FOLDS:
            return whole
        axes, sums = self.constant(np.array([-1])), []
        for part in parts:
            differences = self.node("Sub", part, self.node("Unsqueeze", whole, axes))
            sums.append(self.node("ReduceSum", self.node("Exp", differences), axes, keepdims=0))
        total = sums[0]
        for more in sums[1:]:
            total = self.node("Add", total, more)
        return self.node("Add", whole, self.node("Log", total))

    def model(self) -> bytes:
        """The whole as a file: `input` (examples, inputs) -> `output` (examples, results)."""
        if not all(varying for varying, _ in self.plan.results):
            raise ValueError("export.onnx writes what depends on an example, and a result here does not: leave it out")
        for group in self.plan.blocks:
            self.owners.append((self.group(group), group.base, len(group.terms)))
        outputs = self.taken(np.array([slot for _, slot in self.plan.results]))
        self.nodes.append(self.onnx.helper.make_node("Identity", [outputs], ["output"]))
        helper, double = self.onnx.helper, self.onnx.TensorProto.DOUBLE
        graph = helper.make_graph(
            self.nodes, "tinygrad_lite",
            [helper.make_tensor_value_info("input", double, ["examples", self.plan.inputs])],
            [helper.make_tensor_value_info("output", double, ["examples", len(self.plan.results)])],
            self.initializers,
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=VERSION, producer_name="tinygrad_lite"
        )
        self.onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString(deterministic=True))
