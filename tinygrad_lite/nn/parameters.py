"""How the parameters of a module are found in it, in which order, and by which names and shapes they are saved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import cast

from ..contents import (
    ATOMS,
    CODE,
    attributes,
    class_attributes,
    entries,
    is_a,
    is_own,
    items,
    leading_to,
    reached,
    unnamed,
)
from ..engine import Value
from .tensors import Tensor, flat, shape

Place = tuple[str, object]  # the path of what is around a part, and its own name
Held = Iterable[tuple[object, object]]  # (name, part)
Names = tuple[object, ...]

_PACKAGE = f"{__name__.partition('.')[0]}."
_SIMPLE = {list, tuple, set, frozenset}  # hold nothing beside their entries


class Part:
    """Base of Module: what is found beside Values."""

    __slots__ = ()

    def stacked(self) -> dict[str, Tensor]:
        """Tensors to be saved by these names, in place of the Values that they are made of: a Layer's weight and
        bias."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters as PyTorch names and shapes them: name -> a Value, or nested lists of Values.

        ValueError where two would have one name, or a name cannot stand in a file.
        """
        return tensors(self)


def path(place: Place) -> str:
    """How to get from the whole to a part, such as layers.0.neurons.3.w.1; to the whole itself, nothing."""
    around, name = place
    return f"{around}.{name}" if around else str(name)


# --- finding


def parameters(root: Part, checked: bool = True) -> dict[Value, Place]:
    """Every leaf in root, in order, and where it was found first.

    checked: TypeError where one is held in a way that has no names and no order, so that it would be neither trained
    nor saved.
    """
    found: dict[Value, Place] = {}
    hidden: list[tuple[Place, object]] = []
    for place, part in walk(root, hidden if checked else None):
        if isinstance(part, Value) and part.op is None and part not in found:
            found[part] = place
    for place, holder in hidden:
        for x in reached(unnamed(holder), _is_no_part, lambda x: () if isinstance(x, Value) else leading_to(x)):
            if isinstance(x, Value) and x.op is None and x not in found:
                raise TypeError(
                    f"{path(place)} is a {type(holder).__name__} that holds a Value where it is neither trained nor "
                    "saved: keep it in an attribute, in a list or as the value of a dict"
                )
    return found


def walk(
    root: object, hidden: list[tuple[Place, object]] | None = None, entered: dict[int, object] | None = None
) -> Iterator[tuple[Place, Part | Value]]:
    """(place, part) for every module and Value in root, itself first, depth first and in order. Each module and
    each container is entered once; a Value is given as often as it is held.

    Parameters
    ----------
    hidden : takes the containers that may hold something by no name.
    entered : containers that are not to be entered, by id.
    """
    entered = {} if entered is None else entered  # the containers themselves: else another might get the id of one
    stack: list[tuple[str, Iterator[tuple[object, object]]]] = [("", iter([("", root)]))]  # explicit: chains are long
    while stack:
        around, held = stack[-1]
        for name, part in held:
            kind: type = type(part)
            if type(part) is Value:
                yield (around, name), part
                continue
            if kind in ATOMS or _is_no_part(kind) or id(part) in entered:
                continue
            if is_a(part, Value):
                yield (around, name), part
                continue
            if is_a(part, Part):
                yield (around, name), part
            entered[id(part)] = part
            if (type(part) is list or type(part) is tuple) and ATOMS.issuperset(map(type, part)):
                continue  # as examples are, which may be many
            if hidden is not None and not _names_all(kind):
                hidden.append(((around, name), part))
            stack.append((path((around, name)), chain(*_held((around, name), part, entered))))
            break
        else:
            stack.pop()


@lru_cache(maxsize=1024)
def _is_no_part(kind: type) -> bool:
    """Is an object of this class no part of a model? Code and classes are none, nor are this package's own objects:
    optimisers, jitted functions and their placeholders know parameters, and do not hold them."""
    if issubclass(kind, (Value, Part)):
        return issubclass(kind, Value) and kind is not Value and kind.__module__.startswith(_PACKAGE)
    return kind in CODE or issubclass(kind, type) or is_own(kind)


@lru_cache(maxsize=1024)
def _names_all(kind: type) -> bool:
    """Does a container of this class hold nothing but what `_held` names? This package's modules are such."""
    return kind in _SIMPLE or (issubclass(kind, Part) and kind.__module__.startswith(_PACKAGE))


def _held(place: Place, part: object, entered: dict[int, object]) -> tuple[Held, Held]:
    """What a part holds, by name: in the usual places, the attributes of modules, lists and dicts; and elsewhere."""
    if type(part) is list or type(part) is tuple:
        return enumerate(part), ()
    kind: type = type(part)
    if _names_all(kind) and issubclass(kind, Part):
        return vars(part).items(), ()
    own = attributes(part)
    others = chain(own, class_attributes(part, dict(own)))
    if issubclass(kind, Part):
        return vars(part).items(), (x for x in others if x[0] not in vars(part))
    if is_a(part, list, tuple):
        return enumerate(part), others
    if is_a(part, dict):
        return part.items(), others
    if is_a(part, set, frozenset):
        return (), chain(enumerate(_in_order(place, part, entered)), others)
    return (), chain(enumerate(entries(part) or ()), items(part), others)


def _in_order(place: Place, members: Iterable[object], entered: dict[int, object]) -> list[object]:
    """Those members of a set that hold parameters, in the order in which the parameters were made. TypeError where
    that is not known."""
    made: list[tuple[list[int], object]] = []
    for member in members:
        found = [member] if type(member) is Value else [part for _, part in walk(member, entered=dict(entered))]
        serials = [getattr(part, "serial", -1) for part in found if isinstance(part, Value) and part.op is None]
        if serials:
            made.append((serials, member))
    made.sort(key=itemgetter(0))
    if any(a == b or -1 in a for (a, _), (b, _) in zip(made, made[1:])):
        raise TypeError(f"{path(place)} is a set of Values of which it is not known which was made first: write a list")
    return [member for _, member in made]


# --- naming


def tensors(root: Part) -> dict[str, Tensor]:
    """What `Part.tensors` promises: first what is in the usual places, then what is elsewhere alone."""
    found: dict[str, Tensor] = {}
    missing = dict(parameters(root))
    for everywhere in (False, True):
        for names, tensor, usual in _named_tensors(root, everywhere) if missing else ():
            values = list(flat([tensor]))
            if usual is not everywhere and (usual or any(value in missing for value in values)):
                _enter(found, names, tensor)
                for value in values:
                    missing.pop(value, None)
    return found


def _enter(found: dict[str, Tensor], names: Names, tensor: Tensor) -> None:
    """Enters a tensor by its name, or says why it cannot have that."""
    name = ".".join(map(str, names))
    for part in names:
        if not _is_name(part):
            raise ValueError(
                f"the parameter {name!r} cannot be saved: {part!r} is no name for it in a file; use a text or a whole "
                "number for a key"
            )
    if name == "__metadata__":
        raise ValueError("a parameter cannot be saved as __metadata__, a name of the file's own: rename it")
    if name in found:
        raise ValueError(
            f'two parameters would both be saved as {name}: a dot in a key reads as a step, and 0 as "0"; rename one'
        )
    found[name] = tensor


def _is_name(key: object) -> bool:
    """Does a key read the same in another run, and can a file hold it?"""
    text = str(key)
    lone = any("\ud800" <= character <= "\udfff" for character in text)  # half of a character
    return bool(text) and not lone and " at 0x" not in text and not isinstance(key, (Value, Part, frozenset))


def _named_tensors(root: Part, everywhere: bool) -> Iterator[tuple[Names, Tensor, bool]]:
    """(names, tensor, usual) of each tensor in root. usual: is it in the usual places? everywhere: look also
    elsewhere, and in modules that name tensors themselves.

    A module that is held twice is given twice, as in PyTorch; one that leads back to what it is in only once.
    """
    around: dict[int, object] = {}  # what is being listed, the whole first
    looped: dict[int, object] = {}  # what leads back
    stack: list[tuple[Names, Iterator[tuple[object, object, bool]], object]] = [((), iter([("", root, True)]), None)]
    while stack:
        names, held, owner = stack[-1]
        for name, part, usual in held:
            tensor = _tensor(part)
            if tensor is not None:
                yield (*names, name), tensor, usual
            if _is_whole(part, tensor):
                continue
            if id(part) in around:
                above = list(around)
                looped.update((i, around[i]) for i in above[above.index(id(part)) :])
            if id(part) in looped:
                continue
            inner = () if part is root else (*names, name)
            own = _own_tensors(part, part is root)
            yield from (((*inner, n), t, usual) for n, t in own.items())
            if everywhere or not own:
                around[id(part)] = part
                stack.append((inner, _with_usual(part, usual and not own, everywhere, tensor is None), part))
                break
        else:
            stack.pop()
            around.pop(id(owner), None)


def _is_whole(part: object, tensor: Tensor | None) -> bool:
    """Is there nothing to be found inside a part, beside the tensor that it is?"""
    kind: type = type(part)
    return kind in ATOMS or _is_no_part(kind) or issubclass(kind, Value) or (tensor is not None and kind in _SIMPLE)


def _own_tensors(part: object, is_root: bool) -> dict[str, Tensor]:
    """What a module names itself: in `tensors`, where a user's class has its own, or in `stacked`."""
    if not isinstance(part, Part):
        return {}
    if not is_root and type(part).tensors is not Part.tensors:
        return part.tensors()
    return {name: tensor for name, stack in part.stacked().items() if (tensor := _tensor(stack)) is not None}


def _with_usual(part: object, usual: bool, everywhere: bool, whole: bool) -> Iterator[tuple[object, object, bool]]:
    """(name, held, usual) of what a part holds. whole: else its attributes alone."""
    first, second = _held(("", type(part).__name__), part, {id(part): part})
    if whole:
        yield from ((name, inner, usual) for name, inner in first)
    if everywhere:
        yield from ((name, inner, False) for name, inner in second)


def _tensor(part: object, inside: tuple[int, ...] = ()) -> Tensor | None:
    """part where it is a parameter, or nested lists of them where it is rows of one shape, all the way down."""
    kind: type = type(part)
    if kind in ATOMS or _is_no_part(kind):
        return None
    if isinstance(part, Value):
        return part if part.op is None else None
    rows = None if id(part) in inside else entries(part)
    if rows and set(map(type, rows)) == {Value}:  # the usual case
        values = cast(Sequence[Value], rows)
        return list(values) if {x.op for x in values} == {None} else None
    found = []
    for row in rows or ():
        tensor = _tensor(row, (*inside, id(part)))
        if tensor is None:
            return None
        found.append(tensor)
    return found if len(set(map(shape, found))) == 1 else None
