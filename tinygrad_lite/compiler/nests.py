"""Loop nests: which groups of a plan are computed in one loop over their members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .. import ops
from .lowerings import LOWERINGS
from .plan import Group

LONGEST = 256  # operations in one straight piece of code: beyond, LLVM's time per operation grows


@dataclass
class Nest:
    """Groups computed in one loop over their members. tiled: a dot of long rows is among them. long: a function of
    many instructions is."""

    rows: int
    columns: int
    groups: list[Group] = field(default_factory=list)
    tiled: bool = False
    long: bool = False


def nested(groups: Sequence[Group]) -> list[Nest]:
    """Puts each group into the loop of its operands, where it has as many members and each needs only its own."""
    nests: list[Nest] = []
    nest_of: dict[int, int] = {}

    def fits(group: Group, n: int) -> bool:
        nest = nests[n]
        if group.reduce or nest.groups[0].reduce or len(nest.groups) >= LONGEST:
            return False
        # operands from the same loop are this very member's, and not part of a row, which is read from memory
        inside = [o for o in group.operands if any(nest_of.get(g) == n for g in o.makers)]
        own = not inside or (all(o.source >= 0 for o in inside) and not group.in_rows)
        return own and (nest.rows, nest.columns) == (group.rows, group.columns)

    for group in groups:
        tiled = group.op is ops.dot and any(o.count > 4 for o in group.operands)
        long = LOWERINGS[group.op].long
        latest = max((nest_of[g] for g in group.makers if g in nest_of), default=-1)
        for n in latest, len(nests) - 1:
            if n >= 0 and fits(group, n) and not (nests[n].tiled and long) and not (tiled and nests[n].long):
                break
        else:
            n = len(nests)
            nests.append(Nest(group.rows, group.columns))
        nests[n].groups.append(group)
        nests[n].tiled |= tiled
        nests[n].long |= long
        nest_of[group.index] = n
    return nests


def kept_groups(nests: Sequence[Nest]) -> set[int]:
    """Groups whose results go to memory; those that are used only inside their own loop stay in registers."""
    kept = {group.index for nest in nests for group in nest.groups if group.wanted}
    for nest in nests:
        inside = {group.index for group in nest.groups}
        kept.update(*[group.makers - inside for group in nest.groups])
    return kept
