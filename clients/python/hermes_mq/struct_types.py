"""The types of a struct's fields: how each takes its values from a flat list, and puts them there.

The byte layout is specified in docs/codecs.md. A fixed part is read and written by one call of ``struct.Struct`` over all its values.
"""

import json as _json
import math
import operator
import re
from itertools import islice
from struct import Struct, error as StructError
from typing import AbstractSet, Any, Callable, Dict, Iterator, List, Mapping, NoReturn, Optional, Tuple, Union

from .codecs import decode_failed, described, octets_of, plain_text
from .errors import HermesError, invalid

Value = Dict[str, Any]

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
_SAFE = 2**53 - 1


class Refused(Exception):
    """A value that can't be written. The path grows outwards as the exception passes the fields that hold the value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: List[Union[str, int]] = []

    def inside(self, key: Union[str, int]) -> "Refused":
        self.path.insert(0, key)
        return self

    def where(self) -> str:
        text = ""
        for key in self.path:
            text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
        return text


def no_schema(reason: str) -> HermesError:
    return invalid(f"This is no struct schema that can be used: {reason}.")


class _Missing:
    pass


MISSING = _Missing()


def _refuse(expected: str, value: Any) -> NoReturn:
    if isinstance(value, _Missing):
        raise Refused(f"is missing: expected {expected}")
    raise Refused(f"expects {expected}, got {described(value)}")


class Type:
    """A field's type. The flat values that it takes are as many as its ``format`` has items."""

    size: int
    align: int
    format: str
    items: int = 1
    #: Whether the flat value is the value itself, as it's read.
    plain = False

    def write(self, value: Any, out: List[Any]) -> None:
        """Adds the flat values of ``value``. Raises Refused."""
        raise NotImplementedError

    def read(self, flat: Iterator[Any]) -> Any:
        """Takes its values from the front. Raises HermesError DECODE_FAILED."""
        raise NotImplementedError

    def schema(self) -> Value:
        """Its part of the schema, with the keys in the order that the fingerprint wants."""
        raise NotImplementedError

    def fields(self) -> int:
        return 1

    def depth(self) -> int:
        return 0


#: The format character, the size, and what it takes.
INTEGERS: Dict[str, Tuple[str, int, int, int]] = {
    "u8": ("B", 1, 0, 0xFF),
    "i8": ("b", 1, -0x80, 0x7F),
    "u16": ("H", 2, 0, 0xFFFF),
    "i16": ("h", 2, -0x8000, 0x7FFF),
    "u32": ("I", 4, 0, 0xFFFF_FFFF),
    "i32": ("i", 4, -0x8000_0000, 0x7FFF_FFFF),
    "u64": ("Q", 8, 0, 2**64 - 1),
    "i64": ("q", 8, -(2**63), 2**63 - 1),
    "u53": ("Q", 8, 0, _SAFE),
    "i53": ("q", 8, -_SAFE, _SAFE),
}


class Integer(Type):
    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.format, self.size, self.low, self.high = INTEGERS[kind]
        self.align = self.size
        self.plain = kind not in ("u53", "i53")

    def write(self, value: Any, out: List[Any]) -> None:
        if type(value) is int:
            if self.low <= value <= self.high:
                out.append(value)
                return
        elif not isinstance(value, (bool, _Missing)):
            try:
                # (a subclass of int compares as it likes)
                number = int.__add__(operator.index(value), 0)
            except TypeError:
                number = self.high + 1
            if self.low <= number <= self.high:
                out.append(number)
                return
        _refuse(f"an integer from {self.low} to {self.high} ({self.kind})", value)

    def read(self, flat: Iterator[Any]) -> Any:
        value = next(flat)
        if not self.plain and not self.low <= value <= self.high:
            raise decode_failed("struct", "a u53 or i53 field holds an integer beyond 2^53 - 1; declare it as u64 or i64 to read it.")
        return value

    def schema(self) -> Value:
        return {"type": self.kind, "size": self.size}


class Float(Type):
    plain = True

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.format, self.size = ("f", 4) if kind == "f32" else ("d", 8)
        self.align = self.size
        self._single = Struct("<f") if kind == "f32" else None

    def write(self, value: Any, out: List[Any]) -> None:
        kind = type(value)
        if kind is not float and (kind is bool or not (hasattr(kind, "__float__") or hasattr(kind, "__index__"))):
            _refuse(f"a number ({self.kind})", value)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            _refuse(f"a number ({self.kind})", value)
        if self._single is not None and math.isfinite(number):
            try:
                self._single.pack(number)
            except (OverflowError, StructError):
                _refuse("a number from -3.4028234663852886e38 to 3.4028234663852886e38, or an infinity (f32)", value)
        out.append(number)

    def read(self, flat: Iterator[Any]) -> Any:
        return next(flat)

    def schema(self) -> Value:
        return {"type": self.kind, "size": self.size}


class Bool(Type):
    size = align = 1
    format = "?"
    plain = True

    def write(self, value: Any, out: List[Any]) -> None:
        if value is not True and value is not False:
            _refuse("True or False (bool)", value)
        out.append(value)

    def read(self, flat: Iterator[Any]) -> Any:
        return next(flat)

    def schema(self) -> Value:
        return {"type": "bool", "size": 1}


class Text(Type):
    """``ascii`` and ``utf8``: zeros fill it up."""

    align = 1

    def __init__(self, kind: str, size: int) -> None:
        self.kind = kind
        self.encoding = "ascii" if kind == "ascii" else "utf-8"
        self.size = size
        self.format = f"{size}s"

    def write(self, value: Any, out: List[Any]) -> None:
        if isinstance(value, str):
            try:
                written = str.encode(value, self.encoding)
                if len(written) <= self.size and b"\0" not in written:
                    out.append(written)
                    return
            except UnicodeEncodeError:
                if self.kind == "utf8":
                    raise Refused("holds half of a surrogate pair, which UTF-8 cannot express") from None
        what = "ASCII characters" if self.kind == "ascii" else "bytes of UTF-8"
        _refuse(f"a string of at most {self.size} {what} without U+0000 ({self.kind}({self.size}))", value)

    def read(self, flat: Iterator[Any]) -> Any:
        try:
            text: str = next(flat).rstrip(b"\0").decode(self.encoding)
        except UnicodeDecodeError as cause:
            raise decode_failed("struct", f"a field of type {self.kind} does not hold valid {self.encoding.upper()}.") from cause
        if "\0" in text:
            raise decode_failed("struct", f"a field of type {self.kind} holds zeros with other bytes behind them.")
        return text

    def schema(self) -> Value:
        return {"type": self.kind, "size": self.size}


class Bytes(Type):
    align = 1
    plain = True

    def __init__(self, size: int) -> None:
        self.size = size
        self.format = f"{size}s"

    def write(self, value: Any, out: List[Any]) -> None:
        octets = octets_of(value) if isinstance(value, (bytes, bytearray, memoryview)) else None
        if octets is None or len(octets) != self.size:
            _refuse(f"exactly {self.size} bytes (bytes({self.size}))", value)
        out.append(octets)

    def read(self, flat: Iterator[Any]) -> Any:
        return next(flat)

    def schema(self) -> Value:
        return {"type": "bytes", "size": self.size}


class Enum(Type):
    def __init__(self, labels: List[str]) -> None:
        self.labels = labels
        self.indexes = {label: index for index, label in enumerate(labels)}
        self.size = self.align = 1 if len(labels) <= 256 else 2
        self.format = "B" if self.size == 1 else "H"

    def write(self, value: Any, out: List[Any]) -> None:
        index = self.indexes.get(plain_text(value)) if isinstance(value, str) else None
        if index is None:
            shown = ", ".join(_json.dumps(label) for label in self.labels[:8])
            more = f", ... ({len(self.labels)} labels)" if len(self.labels) > 8 else ""
            _refuse(f"one of {shown}{more}", value)
        out.append(index)

    def read(self, flat: Iterator[Any]) -> Any:
        index = next(flat)
        if index >= len(self.labels):
            raise decode_failed("struct", f"an enum field holds {index}, and it has {len(self.labels)} labels.")
        return self.labels[index]

    def schema(self) -> Value:
        return {"type": "enum", "size": self.size, "labels": list(self.labels)}


class Array(Type):
    def __init__(self, element: Type, count: int) -> None:
        self.element = element
        self.count = count
        self.size = element.size * count
        self.align = element.align
        self.items = element.items * count
        single = len(element.format) == 1
        self.format = f"{count}{element.format}" if single else element.format * count

    def write(self, value: Any, out: List[Any]) -> None:
        elements = _elements(value, self.count)
        _write_elements(self.element, elements, out)

    def read(self, flat: Iterator[Any]) -> Any:
        read = self.element.read
        return [read(flat) for _ in range(self.count)]

    def schema(self) -> Value:
        return {"type": "array", "size": self.size, "count": self.count, "element": self.element.schema()}

    def fields(self) -> int:
        return 1 + self.element.fields()

    def depth(self) -> int:
        return 1 + self.element.depth()


def _elements(value: Any, count: Optional[int]) -> List[Any]:
    expected = "a list" if count is None else f"a list of exactly {count}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = octets_of(value)
    # (What has no length may yield for ever. A set has no order.)
    if isinstance(value, (str, Mapping, AbstractSet, _Missing)) or (count is None and not hasattr(type(value), "__len__")):
        _refuse(expected, value)
    try:
        elements = list(value if count is None else islice(value, count + 1))
    except TypeError:
        _refuse(expected, value)
    if count is not None and len(elements) != count:
        _refuse(expected, value)
    return elements


def _write_elements(element: Type, elements: List[Any], out: List[Any]) -> None:
    for index, one in enumerate(elements):
        try:
            element.write(one, out)
        except Refused as refused:
            raise refused.inside(index) from None


class Trailing:
    """The part of variable length at the end: its length is what remains of the payload."""

    def __init__(self, kind: str, element: Optional[Type] = None) -> None:
        self.kind = kind
        self.element = element
        self.stride = 1 if element is None else element.size
        self.align = 1 if element is None else element.align
        self._one = None if element is None else Struct("<" + element.format)

    def write(self, value: Any) -> bytes:
        if self.element is not None and self._one is not None:
            parts = []
            for index, one in enumerate(_elements(value, None)):
                flat: List[Any] = []
                try:
                    self.element.write(one, flat)
                except Refused as refused:
                    raise refused.inside(index) from None
                parts.append(self._one.pack(*flat))
            return b"".join(parts)
        if self.kind == "varBytes":
            if not isinstance(value, (bytes, bytearray, memoryview)):
                _refuse("bytes (varBytes)", value)
            return octets_of(value)
        if not isinstance(value, str):
            _refuse("a string (varUtf8)", value)
        try:
            return str.encode(value, "utf-8")
        except UnicodeEncodeError:
            raise Refused("holds half of a surrogate pair, which UTF-8 cannot express") from None

    def read(self, payload: bytes) -> Any:
        if self.element is not None and self._one is not None:
            read = self.element.read
            return [read(iter(flat)) for flat in self._one.iter_unpack(payload)]
        if self.kind == "varBytes":
            return payload
        try:
            return payload.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise decode_failed("struct", "a field of type varUtf8 does not hold valid UTF-8.") from cause

    def schema(self) -> Value:
        return {"type": self.kind} if self.element is None else {"type": self.kind, "element": self.element.schema()}


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
        formats = []
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
            _refuse(f"a dict with the fields of {self.name or 'the struct'}", value)
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
