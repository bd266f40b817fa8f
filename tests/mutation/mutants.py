"""Mutants: a module's source with one small slip in it, which some test should notice.

Not mutated: annotations, which are never evaluated; docstrings; and the wording of messages, that is the text of
f-strings, strings in a `raise`, and strings with a blank in them. What a message computes is mutated.
"""

import ast
import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

ARITHMETIC: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub, ast.Mult),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div, ast.Add),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Div, ast.Mult),
    ast.Mod: (ast.FloorDiv, ast.Mult),
    ast.Pow: (ast.Mult,),
}
# The negation, and of the other relations those two that tests must tell apart in order to tell apart all
# (Kaminski, Ammann and Offutt 2013).
RELATIONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.GtE, ast.LtE, ast.NotEq),
    ast.LtE: (ast.Gt, ast.Lt, ast.Eq),
    ast.Gt: (ast.LtE, ast.GtE, ast.NotEq),
    ast.GtE: (ast.Lt, ast.Gt, ast.Eq),
    ast.Eq: (ast.NotEq, ast.LtE, ast.GtE),
    ast.NotEq: (ast.Eq, ast.Lt, ast.Gt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


class Mutant(NamedTuple):
    line: int
    change: str  # as in "if n [== → !=] 2.0:"
    source: str
    unit: str  # the function (or the statement outside of functions) before and after, wherever it stands


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module, from top to bottom, none twice."""
    tree = ast.parse(source)
    original = ast.unparse(tree)
    seen = {original}
    for line, unit, node, field, value in _edits(tree):
        before = getattr(node, field)
        setattr(node, field, value)
        mutated, became = ast.unparse(tree), unit and _bare(unit)
        setattr(node, field, before)
        if mutated not in seen:
            seen.add(mutated)
            change = _change(original, mutated)
            yield Mutant(line, change, mutated, f"{_bare(unit)} → {became}" if unit else change)


def _bare(unit: ast.AST) -> str:
    """A unit's text without what is not mutated: annotations, docstrings and the wording of messages."""
    return ast.unparse(_Bare().visit(copy.deepcopy(unit)))


class _Bare(ast.NodeTransformer):
    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            node = ast.Assign([node.target], node.value, lineno=node.lineno)
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        for field, part in ast.iter_fields(node):
            if field == "body" and isinstance(part, list):
                node.body = [x for x in part if not (isinstance(x, ast.Expr) and _is_text(x.value))] or [ast.Pass()]
        return super().generic_visit(node)

    def visit(self, node: ast.AST) -> ast.AST:
        wording = isinstance(node, (ast.Raise, ast.JoinedStr))
        for part in ast.walk(node) if wording else [node]:
            if _is_text(part) and (wording or " " in part.value):
                part.value = ""
        return super().visit(node)


def _edits(
    node: ast.AST, line: int = 1, wording: bool = False, unit: ast.AST | None = None
) -> Iterator[tuple[int, ast.AST | None, ast.AST, str, Any]]:
    """(line, unit, node, field, new value) for node and all below it."""
    line = getattr(node, "lineno", line)
    if unit is None and isinstance(node, ast.stmt) and not isinstance(node, ast.ClassDef):
        unit = node
    wording |= isinstance(node, (ast.Raise, ast.JoinedStr))
    for field, value in _slips(node):
        if not (wording and isinstance(value, (str, bytes))):
            yield line, unit, node, field, value
    for field, child in ast.iter_fields(node):
        if field not in ("annotation", "returns", "format_spec"):
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.AST) and not (isinstance(part, ast.Expr) and _is_text(part.value)):
                    yield from _edits(part, line, wording, unit)


def _slips(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """(field, new value): what may be mistaken at this node itself."""
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op):
            yield from (("op", other()) for other in ARITHMETIC.get(type(op), ()))
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield from (("ops", [*ops[:i], other(), *ops[i + 1 :]]) for other in RELATIONS[type(op)])
        case ast.BoolOp(op=op, values=values):
            yield "op", ast.And() if isinstance(op, ast.Or) else ast.Or()
            yield from (("values", rest) for rest in _without_each(values))
        case ast.UnaryOp(op=ast.Not() | ast.USub() as op, operand=operand):
            yield "operand", ast.UnaryOp(op, operand)  # twice is not at all
        case ast.Constant(value=bool(value)):
            yield "value", not value
        case ast.Constant(value=int(value) | float(value)):
            yield from (("value", other) for other in (value + 1, value - 1) if other != value)
        case ast.Constant(value=str(value)) if " " not in value:
            yield "value", value + "_"
        case ast.Constant(value=bytes(value)):
            yield "value", value + b"_"
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
            if not isinstance(test, (ast.Compare, ast.UnaryOp)):  # their own negation does the same
                yield "test", ast.UnaryOp(ast.Not(), test)
        case ast.comprehension(ifs=[_, *_] as ifs):
            yield from (("ifs", rest) for rest in _without_each(ifs))
        case ast.For():
            yield "iter", ast.List([])
        case ast.Return(value=ast.expr()):
            yield "value", ast.Constant(None)
        case ast.Lambda():
            yield "body", ast.Constant(None)
        case ast.Raise(exc=ast.Call(func=ast.Name())):
            yield "exc", ast.Call(ast.Name("Exception"), node.exc.args, node.exc.keywords)
        case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
            yield from (("type", ast.Tuple(rest)) for rest in _without_each(kinds))
        case ast.ExceptHandler(type=ast.expr()):
            yield "type", ast.Tuple([])
        case ast.FunctionDef(decorator_list=decorators) | ast.ClassDef(decorator_list=decorators):
            yield from (("decorator_list", rest) for rest in _without_each(decorators))
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(node, field, [])
        for i, statement in enumerate(statements if isinstance(statements, list) else []):
            match statement:
                case ast.Break():
                    other = ast.Continue()
                case ast.Continue():
                    other = ast.Break()
                case ast.Expr(value=ast.Call()):
                    other = ast.Pass()
                case _:
                    continue
            yield field, [*statements[:i], other, *statements[i + 1 :]]


def _without_each(parts: list[Any]) -> Iterator[list[Any]]:
    yield from ([*parts[:i], *parts[i + 1 :]] for i in range(len(parts)))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _change(old: str, new: str, context: int = 48) -> str:
    """The line where new differs from old: "if n [== → !=] 2.0:"."""
    olds, news = old.split("\n"), new.split("\n")
    above, below = _shared(olds, news)
    if above + below == len(news):  # what only went, shows with the line below it
        below -= 1
    old, new = ("; ".join(map(str.strip, lines[above : len(lines) - below])) for lines in (olds, news))
    olds, news = (re.findall(r"[\d.]+(?:e-?\d+)?|\w+|[<>=!]+|.", line) for line in (old, new))
    start, end = _shared(olds, news)
    before, after = "".join(olds[:start]), "".join(olds[len(olds) - end :])
    was, now = ("".join(words[start : len(words) - end]) for words in (olds, news))
    before = "..." + before[-context:] if len(before) > context else before
    after = after[:context] + "..." if len(after) > context else after
    return f"{before}[{was} → {now}]{after}"


def _shared(olds: list[str], news: list[str]) -> tuple[int, int]:
    """How many entries two lists share at their start, and then at their end."""
    start = next((i for i, (old, new) in enumerate(zip(olds, news)) if old != new), min(len(olds), len(news)))
    rest = zip(reversed(olds[start:]), reversed(news[start:]))
    end = next((i for i, (old, new) in enumerate(rest) if old != new), min(len(olds), len(news)) - start)
    return start, end
