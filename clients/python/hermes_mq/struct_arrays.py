"""A struct's fields of many elements: arrays of a fixed count, and the part of variable length at the end."""

from itertools import islice
from struct import Struct
from typing import AbstractSet, Any, Iterator, List, Mapping, Optional

from .codecs import decode_failed, octets_of
from .struct_types import Missing, Refused, Type, Value, refuse


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
    if isinstance(value, (str, Mapping, AbstractSet, Missing)) or (count is None and not hasattr(type(value), "__len__")):
        refuse(expected, value)
    try:
        elements = list(value if count is None else islice(value, count + 1))
    except TypeError:
        refuse(expected, value)
    if count is not None and len(elements) != count:
        refuse(expected, value)
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
                refuse("bytes (varBytes)", value)
            return octets_of(value)
        if not isinstance(value, str):
            refuse("a string (varUtf8)", value)
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
