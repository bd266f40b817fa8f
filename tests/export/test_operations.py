"""Every operation of the table in C and JavaScript, at its edges and at its sample points: as eager."""

import pytest

from tinygrad_lite import OPS, Value, export, grad

from ..compiler.error_bounds import error_bounds
from ..compiler.test_lowerings import cases
from ..random_graphs import block
from ..sampling import sample
from .running import by_node, call, compiled

each_op = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)


def functions(op):
    """The cases of an operation, in groups that one function evaluates."""
    found = {}
    for case in cases(op):
        key = id(case.f) if " at " in case.text else "the operation alone", len(case.point)
        found.setdefault(key, []).append(case)
    return list(found.values())


def check(case, got):
    case.check_signed_value(got[0])
    case.check_gradient(got[1:])


@pytest.mark.sample(2)
@each_op
def test_c_gives_the_eager_value_and_partials(op, tmp_path):
    groups = functions(op)
    sources = [export.c(group[0].f, *group[0].point, gradient="inputs", name=f"f{i}") for i, group in enumerate(groups)]
    library = compiled(tmp_path, *sources)
    for i, group in enumerate(groups):
        for case in group:
            check(case, call(library, f"f{i}", sources[i], list(case.point)))


@pytest.mark.sample(3)
@each_op
def test_javascript_gives_the_eager_value_and_partials(op):
    groups = functions(op)
    jobs = [
        (export.javascript(group[0].f, *group[0].point, gradient="inputs"), "f", [[list(case.point)] for case in group])
        for group in groups
    ]
    answers = iter(by_node(*jobs))
    for group in groups:
        for case in group:
            check(case, next(answers)[0])


@pytest.mark.parametrize("b", range(sample(1, 20)))
def test_random_graphs_agree(b, tmp_path):
    recipes = block(b)[: sample(3, 100)]
    functions = [lambda *xs, r=r: [out := r.scalar(xs), *grad(out, xs)] for r in recipes]
    options = [{"name": f"f{i}"} for i in range(len(recipes))]
    c = [export.c(f, *r.point, **o) for f, r, o in zip(functions, recipes, options)]
    library = compiled(tmp_path, *c)
    javascript = [(export.javascript(f, *r.point), "f", [[r.point]]) for f, r in zip(functions, recipes)]
    answers = by_node(*javascript)
    compared = 0
    for i, (recipe, (answer, *_)) in enumerate(zip(recipes, answers)):
        leaves = [Value(x) for x in recipe.point]
        out = recipe.scalar(leaves)
        graph = [out, *grad(out, leaves)]
        bounds = error_bounds(graph)
        in_c = call(library, f"f{i}", c[i], recipe.point)
        for node, *got in zip(graph, in_c, answer, strict=True):
            for language, found in zip(("C", "JavaScript"), got):
                if bounds[node] < float("inf") and abs(node.data) < float("inf"):
                    compared += 1
                    assert abs(found - node.data) <= bounds[node], f"{language}: {found!r}, not {node.data!r}\n{recipe}"
    assert compared > len(recipes)
