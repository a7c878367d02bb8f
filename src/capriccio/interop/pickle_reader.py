"""Reading pickles without running them: a small machine that knows the opcodes and makes nothing but plain data.

Python's own unpickler imports whatever a file names, and even with a filter on names it can be made to take all memory
or to overflow the stack (a memo index of 2³², a tuple nested a million times as a key, tuples of tuples that double).
Here every object is a number, text, bytes, list, dictionary, tuple, or an inert :class:`Record`; a name is looked up
in a table of constructors that were written for it, and what is not in the table is an error that names it. Every
step costs time and memory bounded by the length of the file.

Source: Python's documentation of ``pickle`` and ``pickletools``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from capriccio.errors import SnapshotError

MAX_STEPS = 4_000_000
"""Most opcodes of one pickle; the largest networks of the field have a tenth of that."""

MAX_INTEGER_BYTES = 16
PROTOCOLS = range(2, 6)


class ForbiddenGlobalError(SnapshotError):
    """A pickle asks for a class or function that no network file needs; it was not looked at."""

    def __init__(self, name: str, file: str = "", more: str = "") -> None:
        """Args: the name asked for; the file, once it is known; what else there is to say about it."""
        where = f"'{file}': " if file else ""
        super().__init__(f"{where}it asks for '{name}', which no network file needs; nothing of it was executed.{more}")
        self.name = name


@dataclass(slots=True, eq=False)
class Record:
    """What stands for an object of a class that is not imported: what it was made from, and its state."""

    kind: str
    """The class's name, module included."""
    made_from: tuple[Any, ...] = ()
    """Arguments of its making."""
    state: Any = None
    """What was set on it afterwards."""
    items: dict[Any, Any] = field(default_factory=dict)
    """Its entries, if it is a kind of dictionary."""


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """A class or function a pickle names; ``make`` is ours, not the one of that name."""

    name: str
    make: Callable[..., Any]


_MARK = object()
_SIZED = (str, bytes, memoryview, list, tuple, dict, set)
_PLAIN_KEYS = (str, int, float, bytes, type(None))


def unpickle(
    data: memoryview,
    allowed: Mapping[str, Callable[..., Any]],
    *,
    start: int = 0,
    persistent: Callable[[Any], Any] | None = None,
) -> tuple[Any, int]:
    """Read one pickle.

    Args:
        data: bytes of the file; long byte strings come back as views into it, not copies.
        allowed: what to call in place of each name a pickle may ask for; takes the arguments, returns plain data.
        start: where the pickle begins.
        persistent: gives the object of a persistent id; None = there may be none.

    Returns: the object, and the position after it.
    Raises: SnapshotError if the pickle is damaged or wants more than plain data; ForbiddenGlobalError, which names
        what it asks for.
    """
    machine = _Machine(data, allowed, start, persistent)
    try:
        return machine.run(), machine.at
    except (IndexError, struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        if isinstance(error, SnapshotError):
            raise
        raise SnapshotError(f"it is a damaged pickle (at byte {machine.at}).") from error


class _Machine:
    def __init__(
        self,
        data: memoryview,
        allowed: Mapping[str, Callable[..., Any]],
        start: int,
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self.data, self.allowed, self.at, self.persistent = data, allowed, start, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.work = 0

    def run(self) -> Any:
        if bytes(self.data[self.at : self.at + 1]) != b"\x80":
            raise SnapshotError("it is not a pickle of protocol 2 to 5.")
        for _ in range(MAX_STEPS):
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return self.stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise SnapshotError(f"it is a damaged pickle (byte {self.at - 1} is no opcode of protocols 2 to 5).")
            step(self)
        raise SnapshotError(f"it has more than {MAX_STEPS:,} opcodes, far more than any network.")

    # ---- bytes

    def take(self, count: int) -> memoryview:
        end = self.at + count
        if end > len(self.data):
            raise SnapshotError("it is truncated: the file ends inside a pickle.")
        part = self.data[self.at : end]
        self.at = end
        return part

    def number(self, form: str) -> int:
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def line(self) -> str:
        end = self.at
        while self.data[end] != 0x0A:
            end += 1
            if end - self.at > 1000:
                raise SnapshotError("it is a damaged pickle (a name of more than 1,000 letters).")
        text = str(self.take(end - self.at), "utf-8")
        self.take(1)
        return text

    def blob(self, form: str) -> memoryview:
        return self.take(self.number(form))

    # ---- objects

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise SnapshotError("it is a damaged pickle (a mark is missing).")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def named(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)) or len(module) + len(name) > 1000:
            raise SnapshotError("it is a damaged pickle (a name that is no text).")
        full = f"{module}.{name}"
        if full not in self.allowed:
            raise ForbiddenGlobalError("".join(c if c.isprintable() else "?" for c in full)[:200])
        self.push(Named(full, self.allowed[full]))

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise SnapshotError("it calls something that has no name.")
        # One long text or list, remembered and given to a million calls, would become a million copies.
        self.work += len(arguments) + sum(len(item) for item in arguments if isinstance(item, _SIZED))
        if self.work > 4 * len(self.data) + 2**20:
            raise SnapshotError("it makes far more than the file holds.")
        self.push(function.make(*arguments))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, Record):
            target.state = state
        elif not (isinstance(target, dict) and isinstance(state, dict)):  # attributes of a dictionary hold no data
            raise SnapshotError("it sets the state of an object that has none.")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        target = target.items if isinstance(target, Record) else target
        if not isinstance(target, dict) or len(items) % 2:
            raise SnapshotError("it sets an entry of something that is no dictionary.")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_plain(key)] = value

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise SnapshotError("it appends to something that is no list.")
        target.extend(items)

    def add(self) -> None:
        items = self.since_mark()
        target = self.stack[-1]
        if not isinstance(target, set):
            raise SnapshotError("it adds to something that is no set.")
        target.update(_plain(item) for item in items)

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def pop_tuple(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count or _MARK in items:
            raise SnapshotError("it is a damaged pickle (a tuple lacks items).")
        self.stack[-count:] = [items]

    def integer(self, form: str) -> None:
        digits = self.blob(form)
        if len(digits) > MAX_INTEGER_BYTES:
            raise SnapshotError(f"it has an integer of {len(digits):,} bytes.")
        self.push(int.from_bytes(digits, "little", signed=True))

    def bytes(self, form: str) -> None:
        part = self.blob(form)
        self.push(bytes(part) if len(part) < 64 else part)

    def text(self, form: str, encoding: str = "utf-8") -> None:
        errors = "surrogatepass" if encoding == "utf-8" else "strict"
        self.push(str(self.blob(form), encoding, errors))

    def persistent_id(self) -> None:
        if self.persistent is None:
            raise SnapshotError("it refers to data outside of itself.")
        self.push(self.persistent(self.stack.pop()))

    def protocol(self) -> None:
        version = self.take(1)[0]
        if version not in PROTOCOLS:
            raise SnapshotError(f"it is a pickle of protocol {version}; protocols 2 to 5 are read.")

    def swap_call(self) -> None:
        arguments = self.stack.pop()
        self.call(self.stack.pop(), arguments)

    def stack_global(self) -> None:
        name = self.stack.pop()
        self.named(self.stack.pop(), name)


def _plain(key: Any) -> Any:
    if not isinstance(key, _PLAIN_KEYS):
        raise SnapshotError("it has a dictionary key or set item that is neither text nor a number.")
    return key


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    ord("("): lambda m: m.push(_MARK),
    ord("0"): lambda m: m.stack.pop(),
    ord("1"): lambda m: m.since_mark(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    0x8A: lambda m: m.integer("<B"),
    0x8B: lambda m: m.integer("<I"),
    ord("G"): lambda m: m.push(m.number(">d")),
    ord("X"): lambda m: m.text("<I"),
    0x8C: lambda m: m.text("<B"),
    0x8D: lambda m: m.text("<Q"),
    ord("T"): lambda m: m.text("<I", "latin-1"),
    ord("U"): lambda m: m.text("<B", "latin-1"),
    ord("B"): lambda m: m.bytes("<I"),
    ord("C"): lambda m: m.bytes("<B"),
    0x8E: lambda m: m.bytes("<Q"),
    0x96: lambda m: m.bytes("<Q"),
    ord(")"): lambda m: m.push(()),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    0x8F: lambda m: m.push(set()),
    ord("t"): lambda m: m.push(tuple(m.since_mark())),
    0x85: lambda m: m.pop_tuple(1),
    0x86: lambda m: m.pop_tuple(2),
    0x87: lambda m: m.pop_tuple(3),
    0x91: lambda m: m.push({_plain(item) for item in m.since_mark()}),
    ord("a"): lambda m: m.append([m.stack.pop()]),
    ord("e"): lambda m: m.append(m.since_mark()),
    ord("s"): lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    ord("u"): lambda m: m.set_items(m.since_mark()),
    0x90: lambda m: m.add(),
    ord("q"): lambda m: m.put(m.number("<B")),
    ord("r"): lambda m: m.put(m.number("<I")),
    0x94: lambda m: m.put(len(m.memo)),
    ord("h"): lambda m: m.push(m.memo[m.number("<B")]),
    ord("j"): lambda m: m.push(m.memo[m.number("<I")]),
    ord("c"): lambda m: m.named(m.line(), m.line()),
    0x93: lambda m: m.stack_global(),
    ord("R"): lambda m: m.swap_call(),
    0x81: lambda m: m.swap_call(),
    ord("b"): lambda m: m.build(),
    ord("Q"): lambda m: m.persistent_id(),
    0x80: lambda m: m.protocol(),
    0x95: lambda m: m.take(8),
}
"""What each opcode does. Protocol 0's text forms, extension codes and buffers outside the file are not among them."""
