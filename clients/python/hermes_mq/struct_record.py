"""A struct as a whole: where its fields lie, and how it has grown."""

import re
from struct import Struct
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from .codecs import described
from .struct_arrays import Trailing
from .struct_types import MISSING, Refused, Type, Value, no_schema, refuse

MAX_STRUCT_BYTES = 65_536

_FIELD_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]{0,63}\Z")
_STRUCT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")
#: Names that the TypeScript package can't have: methods of its views, and the properties of every object there.
_RESERVED_NAMES = frozenset(
    (
        "toObject",
        "toJSON",
        "constructor",
        "hasOwnProperty",
        "isPrototypeOf",
        "propertyIsEnumerable",
        "toLocaleString",
        "toString",
        "valueOf",
        "__proto__",
        "__defineGetter__",
        "__defineSetter__",
        "__lookupGetter__",
        "__lookupSetter__",
    )
)

#: Stands in front of each step.
_BEGIN = b"begin"
_STEP: Tuple[str, Any, Optional[bytes]] = ("", None, _BEGIN)

#: A field of a struct. The bytes stand for it where a payload or a value does not have it; only fields that were added later have them.
Entry = Tuple[str, Union[Type, Trailing], Optional[bytes]]


class Record(Type):
    """A struct: fields in their order, each at the next multiple of its alignment.

    One that has grown has several ``steps``. Each lies behind the end of what was there before, so that the length of a payload
    tells which of them it has.
    """

    def __init__(self, name: Optional[str], steps: List[List[Entry]]) -> None:
        title = "the struct" if name is None else f"struct {described(name)}"
        if name is not None and not _STRUCT_NAME.match(name):
            raise no_schema(f"a struct can't have the name {described(name)}")
        if not all(steps):
            raise no_schema(f"{title} has no fields")
        self.name = name
        self.fallbacks: Dict[str, bytes] = {}
        #: What a missing field adds to the flat values.
        self._missing: Dict[str, Tuple[Any, ...]] = {}
        #: The size of the fixed part after each step.
        self.sizes: List[int] = []
        self.placed: List[Tuple[str, int, Type]] = []
        self.trailing: Optional[Tuple[str, Trailing]] = None
        self.align = 1
        formats: List[str] = []
        seen = set()
        at = 0
        for field, kind, fallback in (entry for step in steps for entry in (_STEP, *step)):
            if fallback is _BEGIN:
                at = self._end_step(at, formats)
                continue
            if not _FIELD_NAME.match(field) or field in _RESERVED_NAMES:
                raise no_schema(f"{title} can't have a field of the name {described(field)}")
            if field in seen:
                raise no_schema(f"{title} has two fields called {field}")
            seen.add(field)
            if self.trailing is not None:
                raise no_schema(f"{title}: {self.trailing[0]} has variable length, so no field can follow it")
            self.align = max(self.align, kind.align)
            if isinstance(kind, Trailing):
                self.trailing = (field, kind)
                continue
            if isinstance(kind, Record) and kind.trailing is not None:
                raise no_schema(f"{title}: field {field} is a struct of variable length, which can't be nested")
            offset = -(-at // kind.align) * kind.align
            if offset > at:
                formats.append(f"{offset - at}x")
            formats.append(kind.format)
            self.placed.append((field, offset, kind))
            if fallback is not None:
                self.fallbacks[field] = fallback
                self._missing[field] = Struct("<" + kind.format).unpack(fallback)
            at = offset + kind.size
            if at > MAX_STRUCT_BYTES:
                raise no_schema(f"{title} is larger than {MAX_STRUCT_BYTES} bytes, from field {field} on")
        self.size = self._end_step(at, formats)
        self.format = "".join(formats)
        self.items = sum(kind.items for _, _, kind in self.placed)
        self._readers: List[Tuple[str, Callable[[Iterator[Any]], Any]]] = [(field, kind.read) for field, _, kind in self.placed]

    def _end_step(self, at: int, formats: List[str]) -> int:
        """Pads what there is up to a multiple of its alignment. Returns its size."""
        size = -(-at // self.align) * self.align
        if size > at:
            formats.append(f"{size - at}x")
        if size > 0:
            self.sizes.append(size)
        return size

    @property
    def has_grown(self) -> bool:
        return len(self.sizes) > 1

    def template(self) -> bytes:
        """A payload in which every added field has its fallback."""
        payload = bytearray(self.size)
        for field, offset, kind in self.placed:
            if field in self.fallbacks:
                payload[offset : offset + kind.size] = self.fallbacks[field]
        return bytes(payload)

    def write(self, value: Any, out: List[Any]) -> None:
        if not isinstance(value, Mapping):
            refuse(f"a dict with the fields of {self.name or 'the struct'}", value)
        for field, _, kind in self.placed:
            if field in self._missing and field not in value:
                out.extend(self._missing[field])
                continue
            try:
                kind.write(value.get(field, MISSING), out)
            except Refused as refused:
                raise refused.inside(field) from None

    def read(self, flat: Iterator[Any]) -> Value:
        return {field: read(flat) for field, read in self._readers}

    def shape(self) -> Value:
        """What the fingerprint covers: everything but the name."""
        fields: List[Value] = []
        for field, offset, kind in self.placed:
            fallback = {"fallback": self.fallbacks[field].hex()} if field in self.fallbacks else {}
            fields.append({"name": field, "offset": offset, **kind.schema(), **fallback})
        if self.trailing is not None:
            fields.append({"name": self.trailing[0], "offset": self.size, **self.trailing[1].schema()})
        sizes = {"sizes": list(self.sizes)} if self.has_grown else {}
        return {"size": self.size, "align": self.align, **sizes, "fields": fields}

    def schema(self) -> Value:
        return {"type": "struct", **self.shape()}

    def fields(self) -> int:
        count = sum(kind.fields() for _, _, kind in self.placed)
        if self.trailing is not None:
            element = self.trailing[1].element
            count += 1 + (0 if element is None else element.fields())
        return count

    def depth(self) -> int:
        inner = [kind.depth() for _, _, kind in self.placed]
        if self.trailing is not None and self.trailing[1].element is not None:
            inner.append(1 + self.trailing[1].element.depth())
        return 1 + max([0, *inner])
