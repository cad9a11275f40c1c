"""The types of a struct's fields: how each takes its values from a flat list, and puts them there.

The byte layout is specified in docs/codecs.md. A fixed part is read and written by one call of ``struct.Struct`` over all its values.
"""

import json as _json
import math
import operator
from struct import Struct, error as StructError
from typing import Any, Dict, Iterator, List, NoReturn, Tuple, Union

from .codecs import decode_failed, described, octets_of, plain_text
from .errors import HermesError, invalid

Value = Dict[str, Any]

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


class Missing:
    pass


MISSING = Missing()


def refuse(expected: str, value: Any) -> NoReturn:
    if isinstance(value, Missing):
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
        elif not isinstance(value, (bool, Missing)):
            try:
                # (a subclass of int compares as it likes)
                number = int.__add__(operator.index(value), 0)
            except TypeError:
                number = self.high + 1
            if self.low <= number <= self.high:
                out.append(number)
                return
        refuse(f"an integer from {self.low} to {self.high} ({self.kind})", value)

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
            refuse(f"a number ({self.kind})", value)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            refuse(f"a number ({self.kind})", value)
        if self._single is not None and math.isfinite(number):
            try:
                self._single.pack(number)
            except (OverflowError, StructError):
                refuse("a number from -3.4028234663852886e38 to 3.4028234663852886e38, or an infinity (f32)", value)
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
            refuse("True or False (bool)", value)
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
        refuse(f"a string of at most {self.size} {what} without U+0000 ({self.kind}({self.size}))", value)

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
            refuse(f"exactly {self.size} bytes (bytes({self.size}))", value)
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
            refuse(f"one of {shown}{more}", value)
        out.append(index)

    def read(self, flat: Iterator[Any]) -> Any:
        index = next(flat)
        if index >= len(self.labels):
            raise decode_failed("struct", f"an enum field holds {index}, and it has {len(self.labels)} labels.")
        return self.labels[index]

    def schema(self) -> Value:
        return {"type": "enum", "size": self.size, "labels": list(self.labels)}
