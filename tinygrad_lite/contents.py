"""What an object holds: its entries in order, its attributes by name, and whatever can be reached from it."""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections import UserDict, UserList, deque
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from contextlib import suppress
from functools import lru_cache
from typing import TypeGuard, TypeVar

T = TypeVar("T")

CODE = frozenset({types.FunctionType, classmethod, property, staticmethod})
# Numbers, texts and code hold no parameters, and a weak reference does not hold what it refers to.
ATOMS = frozenset({
    str, int, float, bool, complex, bytes, bytearray, range, memoryview, type(None), type(...), type, types.CodeType,
    types.FrameType, types.ModuleType, types.TracebackType, *CODE,
    weakref.CallableProxyType, weakref.ProxyType, weakref.ReferenceType,
    weakref.WeakKeyDictionary, weakref.WeakMethod, weakref.WeakSet, weakref.WeakValueDictionary,
})  # fmt: skip
_PACKAGE = __name__.partition(".")[0]


def is_own(kind: type) -> bool:
    """Is it a class of this package, or made from one?"""
    return any(_root(base) == _PACKAGE for base in kind.__mro__)


def _root(kind: type) -> str:
    """The package in which a class is defined."""
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def is_a(part: object, *kinds: type[T]) -> TypeGuard[T]:
    """isinstance by the class alone: the `__class__` of a proxy may be anything, and run code."""
    return issubclass(type(part), kinds)


def entries(part: object) -> Sequence[object] | None:
    """The entries of a list, or of what is like one and has an order; None of everything else.

    >>> entries(deque([1, 2])), entries({"a": 3}.values()), entries("text")
    (deque([1, 2]), [3], None)
    """
    if is_a(part, list, tuple, deque):
        return part
    if is_a(part, UserList):
        return part.data
    if is_a(part, KeysView) or is_a(part, ValuesView) or is_a(part, ItemsView):
        return list(part)
    numpy = sys.modules.get("numpy")
    if not numpy or not is_a(part, numpy.ndarray, numpy.void) or not part.dtype.hasobject:
        return None
    return list(part) if getattr(part, "ndim", 0) else [part.item()]


def items(part: object) -> Iterable[tuple[object, object]]:
    """(key, value) of a dict, or of what is like one; nothing of everything else."""
    if is_a(part, dict, types.MappingProxyType):
        return part.items()
    return part.data.items() if is_a(part, UserDict) else ()


def attributes(part: object) -> list[tuple[str, object]]:
    """(name, value) of each attribute that the object itself has, also in `__slots__`; not of its class."""
    if type(part) is types.MethodType or type(part) is types.BuiltinMethodType:
        return [("__self__", part.__self__)]
    kind: type = type(part)
    found: list[tuple[str, object]] = list(getattr(part, "__dict__", {}).items())
    if issubclass(kind, (UserDict, UserList)):
        found = [(name, value) for name, value in found if name != "data"]
    for name, slot in _slots(kind):
        with suppress(AttributeError):  # not set
            found.append((name, slot.__get__(part, kind)))
    return found


@lru_cache(maxsize=1024)
def _slots(kind: type) -> tuple[tuple[str, types.MemberDescriptorType], ...]:
    """The slots of a class and of its bases, theirs first."""
    bases = [vars(base) for base in reversed(kind.__mro__)]
    return tuple([(name, x) for base in bases for name, x in base.items() if isinstance(x, types.MemberDescriptorType)])


def class_attributes(part: object, without: Iterable[str]) -> Iterator[tuple[str, object]]:
    """(name, value) of those attributes of an object's class that may hold something and are not hidden by these."""
    seen = set(without)
    for base in type(part).__mro__:
        if _root(base) != _PACKAGE and _root(base) not in sys.stdlib_module_names:
            for name, value in vars(base).items():
                kind = type(value)
                if kind in ATOMS or name in seen or name.startswith("__") or hasattr(kind, "__get__"):
                    continue
                seen.add(name)
                yield name, value


def unnamed(part: object) -> list[object]:
    """What an object holds otherwise: the keys of a dict, what an iterator or a queue written in C goes through."""
    named = [part, type(part), getattr(part, "__dict__", None), *(entries(part) or ())]
    named += [value for _, value in (*items(part), *attributes(part))]
    known = set(map(id, named))
    return [x for x in gc.get_referents(part) if type(x) not in ATOMS and id(x) not in known]


def reached(
    start: Iterable[object], skip: Callable[[type], bool], leads_to: Callable[[object], Iterable[object]],
    most: int = 100_000,
) -> Iterator[object]:  # fmt: skip
    """Every object that can be reached from these, each once, the nearest first; not through modules of Python's,
    classes and weak references.

    Parameters
    ----------
    skip : of which classes objects are left out.
    leads_to : from an object to others, like `leading_to`.
    most : how many objects are looked at, where something leads to half of the interpreter.
    """
    seen: dict[int, object] = {}
    queue = deque(start)
    while queue and len(seen) < most:
        part = queue.popleft()
        kind = type(part)
        if id(part) in seen or issubclass(kind, type) or (kind in ATOMS and kind not in CODE) or skip(kind):
            continue
        seen[id(part)] = part
        yield part
        queue.extend(leads_to(part))


def leading_to(part: object) -> Iterable[object]:
    """What an object holds; of a function what it closes over, its defaults, and the globals that its code names."""
    if type(part) is not types.FunctionType:
        return gc.get_referents(part) or entries(part) or ()  # the collector does not look into arrays
    found = [part.__defaults__, part.__kwdefaults__, vars(part)]
    for cell in part.__closure__ or ():
        with suppress(ValueError):  # not set yet
            found.append(cell.cell_contents)
    codes = [part.__code__]
    for code in codes:  # and of the functions inside it
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
        found += [part.__globals__[name] for name in code.co_names if name in part.__globals__]
    return found
