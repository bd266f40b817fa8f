"""Where the boxes and arrows of a picture go: the layered drawing of Sugiyama, Tagawa and Toda (1981).

Four steps, in the order of Gansner, Koutsofios, North and Vo (1993), who wrote `dot`: give every box a rank, order the
ranks so that few arrows cross, place the boxes of each rank, route the arrows. A long arrow passes through every rank
between its ends as a waypoint (a dummy node), and an arrow's text is a waypoint as large as the text. Waypoints get
places of their own, as boxes do: hence no arrow runs over a box and no text covers anything, whatever the picture.

`along` is the direction of the ranks (x for "LR", y for "TB"), `across` the other. Lengths are in px.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from math import inf, sqrt
from typing import NamedTuple

from ..notation import one_line
from .picture import Box, Picture

Point = tuple[float, float]


class Rectangle(NamedTuple):
    """x, y: the upper left corner; y grows downwards."""

    x: float
    y: float
    width: float
    height: float


class Route(NamedTuple):
    """One arrow, from border to border through `points`; its text stands in the middle of `plate`.

    scale: 1, or less where so many arrows arrive at its head that only small ones keep apart. back: does it lead
    to an earlier rank?"""

    points: tuple[Point, ...]
    plate: Rectangle | None
    scale: float
    back: bool = False


class Layout(NamedTuple):
    """boxes: by key, in the picture's order. arrows: one route per arrow, in the picture's order."""

    width: float
    height: float
    boxes: dict[str, Rectangle]
    arrows: tuple[Route, ...]


MARGIN = 8.0
HEAD = 8.0  # length of an arrowhead
PLATE_HEIGHT = 16.0  # under the text of an arrow

# --- texts: how wide they are, in a browser that nobody can ask

_CLASSES = {
    4.4: " ',.ijl", 5.6: '!"()-/:;IJ[\\]frt|', 8.8: "ABCKRSUVXZ", 10.4: "#&+<=>^~DGHMNOQw", 13.0: "%@Wm"
}  # fmt: skip
_WIDTHS = {character: width for width, characters in _CLASSES.items() for character in characters}


def text_width(text: str) -> float:
    """Width at 12 px, no less than in DejaVu Sans or Verdana; signs, CJK and emoji (U+2300 on) count 17."""
    return sum(_WIDTHS.get(c, 7.7 if c < "\x7f" else 13.0 if c < "\u2300" else 17.0) for c in text)


LINE = 16.0  # from line to line of a part
CARD = 4.0  # how far a card of a stack stands out behind the one before


def cell_widths(box: Box) -> list[float]:
    """How wide the box's cells are; an empty box has an empty cell."""
    return [text_width(one_line(text)) + 14.0 for text in box.texts or [""]]


def turned(a: float, b: float, rankdir: str) -> Point:
    """(x, y) as (along, across), and (along, across) as (x, y)."""
    return (a, b) if rankdir == "LR" else (b, a)


def _size(box: Box, fan_in: int, rankdir: str) -> Point:
    """Extent along and across; an operation grows with its fan-in, so that arrows arrive side by side."""
    widths = cell_widths(box)
    if box.kind == "part":
        cards = 2 * CARD if box.copies > 1 else 0.0
        # the title is bold: an eighth wider
        return turned(max(1.125 * widths[0], *widths) + cards, LINE * len(widths) + 10.0 + cards, rankdir)
    width = sum(widths)
    if box.kind != "operation":
        return turned(width, 22.0 if box.kind == "constant" else 26.0, rankdir)
    # 1.1: the corners of the text, too, lie inside the ellipse
    along, across = turned(max(32.0, 1.1 * width), 32.0, rankdir)
    return along, max(across, min(8.0 * fan_in, 64.0 + 2.0 * fan_in))


# --- the network: boxes and waypoints in ranks


@dataclass(eq=False, slots=True, repr=False)
class _Node:
    """A box or a waypoint. depth: longest path from a leaf; where two collide, the shallower gives way."""

    rank: int
    along: float
    across: float
    depth: float
    box: Box | None = None
    operands: list[_Node] = field(default_factory=list)
    users: list[_Node] = field(default_factory=list)
    order: int = -1  # among the nodes of its rank
    centre: float = 0.0  # across
    start: float = 0.0  # along

    def gap(self, other: _Node) -> float:
        """Least distance between the centres of two neighbours of a rank; round ones need less between them."""
        square = all(node.box and node.box.kind != "operation" for node in (self, other))
        return (self.across + other.across) / 2 + (14.0 if square else 8.0)


def _ranks(operands: Sequence[Sequence[int]], users: Sequence[Sequence[int]]) -> list[int]:
    """Longest-path ranks: as late as the users allow, so that a leaf stands close to its first user; then
    as early as the operands allow wherever that shortens at least as many arrows as it lengthens. An
    operation and its result, each the other's only neighbour on that side, move together."""
    rank = [0] * len(users)
    outgoing = [len(u) for u in users]  # of the whole chain that moves with a box
    joined = [False] * len(users)  # to its one operand
    for v in reversed(range(len(users))):
        rank[v] = min((rank[u] for u in users[v]), default=0) - 1
        if len(users[v]) == 1 == len(operands[users[v][0]]):
            outgoing[v], joined[users[v][0]] = outgoing[users[v][0]], True
    for v in range(len(users)):
        if joined[v] or len(operands[v]) >= max(outgoing[v], 1):
            rank[v] = max(rank[u] for u in operands[v]) + 1
    lowest = min(rank, default=0)
    return [r - lowest for r in rank]


def _network(picture: Picture) -> tuple[list[_Node], list[list[_Node]]]:
    """All nodes, the boxes first; and for every arrow its nodes, one per rank from tail to head."""
    index = {box.key: i for i, box in enumerate(picture.boxes)}
    if len(index) < len(picture.boxes):
        (key, count), *_ = Counter(box.key for box in picture.boxes).most_common(1)
        raise ValueError(f"every box needs a key of its own, got {count} boxes with the key {key!r}")
    operands: list[list[int]] = [[] for _ in index]
    users: list[list[int]] = [[] for _ in index]
    for arrow in picture.arrows:
        tail, head = index.get(arrow.tail), index.get(arrow.head)
        if tail is None or head is None or tail == head:
            raise ValueError(f"an arrow runs from a box to another box of the picture, got {arrow!r}")
        operands[head].append(tail)
        users[tail].append(head)

    # Boxes take even ranks, so that a text finds an odd one before its head; ranks unused then close up.
    # A text needs a waypoint of its own, and so do parallel arrows (x * x), which would coincide.
    parallel = Counter((arrow.tail, arrow.head) for arrow in picture.arrows)
    own = [bool(arrow.text) or parallel[arrow.tail, arrow.head] > 1 for arrow in picture.arrows]
    rank = [2 * r for r in _ranks(operands, users)]
    used = {*rank, *(rank[index[arrow.head]] - 1 for arrow, o in zip(picture.arrows, own, strict=True) if o)}
    column = {r: i for i, r in enumerate(sorted(used))}

    nodes: list[_Node] = []
    for i, box in enumerate(picture.boxes):
        depth = max((nodes[u].depth + 1 for u in operands[i]), default=0.0)
        nodes.append(_Node(column[rank[i]], *_size(box, len(operands[i]), picture.rankdir), depth, box))

    chains: list[list[_Node]] = []
    copies: Counter[tuple[str, str]] = Counter()
    waypoints: dict[tuple[str, int, int, str | None], _Node] = {}
    for arrow, o in zip(picture.arrows, own, strict=True):
        chain, end = [nodes[index[arrow.tail]]], nodes[index[arrow.head]]
        copy = copies[arrow.tail, arrow.head]
        copies[arrow.tail, arrow.head] += 1
        for r in range(chain[0].rank + 1, end.rank):
            last = o and r == end.rank - 1
            place = (arrow.tail, copy, r, arrow.head if last else None)  # arrows of one tail share their way
            if place not in waypoints:
                plate = (text_width(one_line(arrow.text)) + 8.0, PLATE_HEIGHT) if last and arrow.text else (0.0, 0.0)
                waypoints[place] = _Node(r, *turned(*plate, picture.rankdir), 0.0)
                _link(chain[-1], waypoints[place])
            chain.append(waypoints[place])
            # half a step more on a longest path: there the line stays straight and others bend
            step = 0.5 if chain[0].depth + 1 == end.depth else 0.0
            chain[-1].depth = max(chain[-1].depth, chain[0].depth + step)
        _link(chain[-1], end)
        chains.append([*chain, end])
    return nodes + list(waypoints.values()), chains


def _link(operand: _Node, user: _Node) -> None:
    operand.users.append(user)
    user.operands.append(operand)


# --- order: few crossings


def _ordered(nodes: Sequence[_Node], patience: int = 8) -> list[list[_Node]]:
    """The nodes rank by rank, in the best order that two searches see. Each begins with a depth-first order and
    then, to and fro, sorts rank after rank by the barycenters of the neighbours' places, until `patience` sweeps
    in a row have found nothing better."""
    best: list[list[_Node]] = []
    fewest = inf
    for from_leaves in (False, True):
        layers, least, idle = _depth_first(nodes, from_leaves), inf, 0
        for sweep in range(100):
            crossings = _crossings(layers)
            if crossings < fewest:
                best, fewest = [layer[:] for layer in layers], crossings
            least, idle = (crossings, 0) if crossings < least else (least, idle + 1)
            if not fewest or idle == patience:
                break
            forward = sweep % 2 == 0
            for layer in layers if forward else reversed(layers):
                near = {node: node.operands if forward else node.users for node in layer}
                moved = [node for node in layer if near[node]]
                if sweep % 4 > 1:
                    moved.reverse()  # ties change places: it may free two ranks that hold each other
                moved.sort(key=lambda node: sum(other.order for other in near[node]) / len(near[node]))
                slots = iter(moved)
                _reorder(layer, [next(slots) if near[node] else node for node in layer])
            _exchange(layers)
    for layer in best:
        _reorder(layer, layer[:])
    pairs = [(a, b) for a, b in pairwise(sorted(nodes, key=lambda node: node.rank)) if b.box and a.rank == b.rank]
    if 2 * sum(a.order > b.order for a, b in pairs) > len(pairs):
        for layer in best:  # the mirror image shows more boxes in the picture's order
            _reorder(layer, layer[::-1])
    return best


def _depth_first(nodes: Sequence[_Node], from_leaves: bool) -> list[list[_Node]]:
    """The ranks in depth-first order: from the results, which draws a tree without a crossing; or, for another
    start, from the leaves with the last user first."""
    layers: list[list[_Node]] = [[] for _ in range(1 + max((node.rank for node in nodes), default=-1))]
    stack = [node for node in reversed(nodes) if not (node.operands if from_leaves else node.users)]
    found = set()
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            node.order = len(layers[node.rank])
            layers[node.rank].append(node)
            stack.extend(node.users if from_leaves else reversed(node.operands))
    return layers


def _exchange(layers: Sequence[list[_Node]]) -> None:
    """Neighbours change places wherever fewer arrows cross then, until that is nowhere (the `transpose` of
    Gansner et al.). The first time round they do so, too, where as many cross: a way off a plateau."""
    even, undone = True, 1
    while undone:
        undone = 0
        for layer in layers:
            for i in range(1, len(layer)):
                a, b = layer[i - 1], layer[i]
                fewer = _fewer(a.operands, b.operands) + _fewer(a.users, b.users)
                if fewer > 0 or (even and fewer == 0):
                    layer[i - 1], layer[i] = b, a
                    b.order, a.order = i - 1, i
                    undone += fewer
        even = False


def _fewer(near: Sequence[_Node], others: Sequence[_Node]) -> int:
    """By how much the crossings of the arrows from two neighbours of a rank to these nodes of the next one
    become fewer when the two change places."""
    if len(near) == 1 == len(others):
        return (near[0].order > others[0].order) - (near[0].order < others[0].order)
    orders = sorted(other.order for other in others)
    return sum(bisect_left(orders, n.order) + bisect_right(orders, n.order) - len(orders) for n in near)


def _reorder(layer: list[_Node], nodes: Sequence[_Node]) -> None:
    layer[:] = nodes
    for order, node in enumerate(layer):
        node.order = order


def _crossings(layers: Sequence[Sequence[_Node]]) -> int:
    """Pairs of arrows that cross: between two ranks, the inversions among the heads in order of tails."""
    count = 0
    for layer in layers:
        heads: list[int] = []
        for node in layer:
            for order in sorted(user.order for user in node.users):
                count += len(heads) - bisect_right(heads, order)
                insort(heads, order)
    return count


# --- places


def _spread(wanted: Sequence[float], weights: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Positions nearest to the wanted ones (weighted least squares) with y[i+1] - y[i] >= gaps[i].

    Less the gaps before them the positions must not decrease: isotonic regression, solved exactly by
    pooling adjacent violators (Ayer et al. 1955) in linear time."""
    offsets = list(accumulate(gaps, initial=0.0))
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for y, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, count = y - offset, 1
        while pools and pools[-1][0] > mean:
            before, heft, more = pools.pop()
            mean = (mean * weight + before * heft) / (weight + heft)
            weight, count = weight + heft, count + more
        pools.append((mean, weight, count))
    means = (mean for mean, _, count in pools for _ in range(count))
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]


def _place(layers: Sequence[Sequence[_Node]], sweeps: int = 9) -> None:
    """Sets every centre, rank after rank: forward a node wants to be level with its deepest operands,
    backward with its deepest users, so that the longest chain through a picture is straight."""
    for sweep in range(sweeps):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            wanted = []
            for node in layer:
                near = node.operands if forward else node.users
                if forward and not node.box and len(near[0].users) > 1:
                    near = node.users  # a text beside the operation it belongs to, not beside its siblings
                deepest = max((other.depth for other in near), default=0.0)
                centres = [other.centre for other in near if other.depth == deepest] or [node.centre]
                wanted.append(sum(centres) / len(centres))
            deepest = max(node.depth for node in layer)
            weights = [1e4 ** max(node.depth - deepest, -20.0) for node in layer]
            gaps = [a.gap(b) for a, b in pairwise(layer)]
            for node, centre in zip(layer, _spread(wanted, weights, gaps), strict=True):
                node.centre = centre


def _free(node: _Node, layers: Sequence[Sequence[_Node]]) -> tuple[float, float]:
    """The least and the greatest centre that its neighbours leave to the node."""
    layer, i = layers[node.rank], node.order
    low = layer[i - 1].centre + node.gap(layer[i - 1]) if i else -inf
    high = layer[i + 1].centre - node.gap(layer[i + 1]) if i + 1 < len(layer) else inf
    return low, high


def _straighten(nodes: Sequence[_Node], layers: Sequence[Sequence[_Node]]) -> None:
    """Operations stand in line with their results, and long arrows bend as seldom as what is beside them allows:
    from the head backwards, the waypoints keep a level as long as the gaps they pass have one in common (greedy
    stabbing: the fewest pieces). The last piece is level with the tail if it can be; a leaf with one user is
    part of its arrow."""
    for node in (*nodes, *reversed(nodes)):  # to and fro: each makes room for the next
        if node.box and len(node.users) == 1 == len(node.users[0].operands) and node.users[0].box:
            low, high = _free(node, layers)
            node.centre = max(low, min(node.users[0].centre, high))

    runs: dict[_Node | None, list[_Node]] = {}  # from head to tail, by the node at the tail
    for node in reversed(nodes):
        if not node.box or (not node.operands and len(node.users) == 1):
            ahead = max((user for user in node.users if user in runs), key=lambda user: len(runs[user]), default=None)
            runs[node] = runs.pop(ahead, [])
            runs[node].append(node)
    for run in runs.values():
        pieces: list[tuple[list[_Node], float, float]] = []
        for node in run:
            low, high = _free(node, layers)
            if pieces and max(low, pieces[-1][1]) <= min(high, pieces[-1][2]):
                piece, least, most = pieces.pop()
                piece.append(node)
                pieces.append((piece, max(low, least), min(high, most)))
            else:
                pieces.append(([node], low, high))
        level, tails = run[0].centre, [tail for tail in run[-1].operands if tail.box and len(run) > 1]
        for piece, low, high in pieces:
            level = tails[0].centre if tails and piece[-1] is run[-1] else level
            level = max(low, min(level, high))
            for node in piece:
                node.centre = level


def _ports(head: _Node) -> tuple[dict[_Node, float], float]:
    """Where on the head's border each arrow arrives, from its centre: level with where it comes from, if
    that is possible, and apart from the others; and how far apart, at least."""
    near = sorted(head.operands, key=lambda node: node.order)
    cards = 2 * CARD if head.box and head.box.copies > 1 else 0.0  # there only cards behind stand out
    reach = min(head.across / 2 - 4.0 - cards, max(10.0, 4.0 * (len(near) - 1)))
    gap = min(HEAD, 2 * reach / max(len(near) - 1, 1))
    slack = 2 * reach - (len(near) - 1) * gap
    ports = {}
    for i, node in enumerate(near):
        ports[node] = min(max(node.centre - head.centre, i * gap - reach), i * gap - reach + slack)
    return ports, gap


@lru_cache(maxsize=4)  # whoever chooses a direction by the size draws the same picture next
def layout(picture: Picture) -> Layout:
    """Places the picture, always alike; the time grows with the total length of the arrows in ranks.

    An arrow to an earlier box, as of a repetition, is placed the other way round and then turned.
    """
    index = {box.key: i for i, box in enumerate(picture.boxes)}
    back = [index.get(arrow.tail, 0) > index.get(arrow.head, 0) for arrow in picture.arrows]
    arrows = [a._replace(tail=a.head, head=a.tail) if b else a for a, b in zip(picture.arrows, back)]
    placed = _placed(picture._replace(arrows=tuple(arrows)))
    routes = [r._replace(points=r.points[::-1], back=True) if b else r for r, b in zip(placed.arrows, back)]
    return placed._replace(arrows=tuple(routes))


def _placed(picture: Picture) -> Layout:
    """Places a picture whose arrows all run from a box to a later one."""
    nodes, chains = _network(picture)
    layers = _ordered(nodes)
    _place(layers)
    _straighten(nodes, layers)

    left: list[float] = []  # the edges of each rank
    right: list[float] = []
    edge = MARGIN
    for layer in layers:
        if left:
            steepest = max((abs(v.centre - u.centre) for v in layer for u in v.operands), default=0.0)
            edge += 13.0 + min(0.1 * steepest, 90.0)
            edge += HEAD if any(node.box and node.operands for node in layer) else 0.0
        left.append(edge)
        edge += max(node.along for node in layer)
        right.append(edge)
    for node in nodes:  # leaves stand at their users' side of the rank, all else in its middle
        free = right[node.rank] - left[node.rank] - node.along
        node.start = left[node.rank] + (free if node.users and not node.operands else free / 2)
    top = min((node.centre - node.across / 2 for node in nodes), default=0.0) - MARGIN
    bottom = max((node.centre + node.across / 2 for node in nodes), default=0.0) + MARGIN

    def point(along: float, across: float) -> Point:
        return turned(round(along, 1), round(across - top, 1), picture.rankdir)

    def rectangle(node: _Node) -> Rectangle:
        size = turned(round(node.along, 1), round(node.across, 1), picture.rankdir)
        return Rectangle(*point(node.start, node.centre - node.across / 2), *size)

    ports = {node: _ports(node) for node in nodes if node.box and node.operands}
    routes = []
    for arrow, (tail, *way, head) in zip(picture.arrows, chains, strict=True):
        points = [point(tail.start + tail.along, tail.centre), point(right[tail.rank], tail.centre)]
        for node in way:
            points += [point(left[node.rank], node.centre), point(right[node.rank], node.centre)]
        places, gap = ports[head]
        port = places[(way or [tail])[-1]]
        inset = 0.0
        if head.box and head.box.kind == "operation":
            inset = head.along / 2 * (1 - sqrt(1 - (2 * port / head.across) ** 2))
        points.append(point(left[head.rank] - HEAD, head.centre + port))
        points.append(point(head.start + inset, head.centre + port))
        plate = rectangle(way[-1]) if arrow.text else None
        routes.append(Route(_without_detours(points), plate, gap / HEAD))
    boxes = {node.box.key: rectangle(node) for node in nodes if node.box}
    return Layout(*point(edge + MARGIN, bottom), boxes, tuple(routes))


def _without_detours(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points less those in the middle of a straight horizontal or vertical run."""
    kept: list[Point] = []
    for point in points:
        if len(kept) > 1 and any(kept[-2][i] == kept[-1][i] == point[i] for i in (0, 1)):
            kept.pop()
        if not kept or kept[-1] != point:
            kept.append(point)
    return tuple(kept)


WIDE = 1100.0  # px: what a notebook's cell of about 900 px still shows at a legible size


def arranged(picture: Picture, rankdir: str) -> Picture:
    """The picture in the direction rankdir, "LR" or "TB"; "auto" is from left to right where that fits a page."""
    sideways, down = picture._replace(rankdir="LR"), picture._replace(rankdir="TB")
    if rankdir == "auto":
        width = layout(sideways).width
        rankdir = "LR" if width <= WIDE or width <= layout(down).width else "TB"
    return sideways if rankdir == "LR" else down
