"""Struct codecs, made of the schema that TypeScript exports (``Trade.schema``, ``hermes info TOPIC --schema``)."""

import json as _json
import re
from os import PathLike
from pathlib import Path
from struct import Struct
from typing import Any, List, Mapping, Optional, Tuple, Union

from .codecs import Codec, described, fingerprint_of
from .errors import HermesError, invalid
from .struct_arrays import Array, Trailing
from .struct_record import MAX_STRUCT_BYTES, Entry, Record
from .struct_types import INTEGERS, MISSING, Bool, Bytes, Enum, Float, Integer, Refused, Text, Type, Value, no_schema

SchemaSource = Union[str, "PathLike[str]", Mapping[str, Any]]

MAX_FIELDS = 1024
MAX_NESTING = 16
MAX_LABELS = 4096
MAX_LABEL_LENGTH = 256


class StructCodec(Codec[Value]):
    """A fixed binary layout. Takes any mapping with the struct's fields (others are ignored), yields a new dict."""

    name = "struct"

    def __init__(self, layout: Record) -> None:
        self._layout = layout
        self._struct = Struct("<" + layout.format)
        if self._struct.size != layout.size:
            raise AssertionError("the format and the layout differ in size")
        shape = layout.shape()
        self.fingerprint = fingerprint_of(_compact(shape))
        head: Value = {"format": "hermes-struct", "version": 2 if _has_grown(layout) else 1}
        if layout.name is not None:
            head["name"] = layout.name
        self.schema: Value = {**head, "fingerprint": self.fingerprint, **shape}
        self._title = layout.name or "struct"
        # The common case at the cost of one dict: every value is what it's read as.
        flat = layout.trailing is None and all(kind.plain for _, _, kind in layout.placed)
        self._names = tuple(field for field, _, _ in layout.placed) if flat else None
        self._template = layout.template() if layout.has_grown else b""

    @property
    def byte_length(self) -> int:
        """The size of the fixed part in bytes. A payload has exactly this size, or more if the struct has a trailing part."""
        return self._layout.size

    def place_of(self, field: str) -> "Optional[Tuple[int, int]]":
        """Where a field is in every payload: offset and bytes. None if it's in the trailing part, or was added later. Raises HermesError INVALID_ARGUMENT."""
        layout = self._layout
        for name, offset, kind in layout.placed:
            if name == field:
                return None if name in layout.fallbacks else (offset, kind.size)
        if layout.trailing is not None and layout.trailing[0] == field:
            return None
        raise invalid(f"The struct has no field {field!r} to be the key.")

    def encode(self, value: Mapping[str, Any]) -> bytes:
        layout = self._layout
        flat: List[Any] = []
        try:
            layout.write(value, flat)
            if layout.trailing is None:
                return self._struct.pack(*flat)
            field, trailing = layout.trailing
            try:
                rest = trailing.write(value.get(field, MISSING))
            except Refused as refused:
                raise refused.inside(field) from None
            return self._struct.pack(*flat) + rest
        except Refused as refused:
            where = refused.where()
            subject = "the value" if where == "" else f"field '{where}'"
            raise HermesError(
                "ENCODE_FAILED",
                f"Can't encode {self._title}: {subject} {refused.reason}.",
                {"codec": "struct", "struct": self._title, "field": where},
            ) from None
        except HermesError:
            raise
        except Exception as cause:  # the value's own code
            raise HermesError(
                "ENCODE_FAILED",
                f"Can't encode {self._title}: the value's own code raised {described(cause)}.",
                {"codec": "struct", "struct": self._title, "field": ""},
            ) from cause

    def decode(self, payload: bytes) -> Value:
        layout = self._layout
        size = layout.size
        if layout.trailing is None:
            if len(payload) != size:
                payload = self._of_this_size(payload)
            values = self._struct.unpack(payload)
            if self._names is not None:
                return dict(zip(self._names, values))
            return layout.read(iter(values))
        field, trailing = layout.trailing
        if len(payload) < size or (len(payload) - size) % trailing.stride != 0:
            raise self._wrong_length(len(payload))
        value = layout.read(iter(self._struct.unpack_from(payload)))
        value[field] = trailing.read(payload[size:])
        return value

    def _of_this_size(self, payload: bytes) -> bytes:
        """The known front of a payload of a struct that has grown further, or an older payload with the fallbacks behind it."""
        layout = self._layout
        length = len(payload)
        if length > layout.size and length % layout.align == 0:
            return payload[: layout.size]
        if length in layout.sizes:
            return bytes(payload) + self._template[length:]
        raise self._wrong_length(length)

    def _wrong_length(self, length: int) -> HermesError:
        trailing = self._layout.trailing
        expected = " or ".join(f"{size} bytes" for size in self._layout.sizes) or "0 bytes"
        if trailing is not None:
            expected += " and more" + (f", in steps of {trailing[1].stride}" if trailing[1].stride > 1 else "")
        return HermesError(
            "DECODE_FAILED",
            f"Can't decode {self._title}: a payload has {expected}, and this one {length}.",
            {"codec": "struct", "struct": self._title, "size": self._layout.size, "length": length},
        )


def struct(schema: SchemaSource) -> StructCodec:
    """Makes a codec of a schema: a mapping, JSON text (it begins with ``{``) or the path of a file.

    The schema may come from anywhere: sizes, offsets and the fingerprint are worked out anew, and one that differs is refused.
    Raises HermesError INVALID_ARGUMENT, NOT_FOUND.

    ```python
    quotes = client.topic("quotes", hermes_mq.struct("quote.schema.json"))
    with quotes.publisher() as publisher:
        publisher.publish({"symbol": "BTC", "bid": 49_990.0})
    ```
    """
    try:
        return StructCodec(_layout(_loaded(schema)))
    except HermesError:
        raise
    except Exception as cause:  # a mapping's own code
        raise no_schema(f"its own code raised {described(cause)}") from cause


def _loaded(schema: SchemaSource) -> Any:
    if isinstance(schema, Mapping):
        return schema
    if not isinstance(schema, (str, PathLike)):
        raise invalid(f"struct() takes a schema: a dict, JSON text or a path; got {described(schema)}.")
    if isinstance(schema, str) and schema.lstrip().startswith("{"):
        text = schema
    else:
        try:
            text = Path(schema).read_text("utf-8")
        except FileNotFoundError as cause:
            raise HermesError("NOT_FOUND", f"There is no file {str(schema)!r}.", {"file": str(schema)}) from cause
        except (OSError, ValueError) as cause:
            raise invalid(f"Can't read {str(schema)!r}: {cause}.") from cause
    try:
        return _json.loads(text)
    except (ValueError, RecursionError) as cause:
        raise invalid(f"The schema is not JSON: {cause}.") from cause


class _Budget:
    """How many more fields may be parsed: checked before the work, not after."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def take(self, fields: int) -> None:
        if fields > self.left:
            raise no_schema(f"it has more than {MAX_FIELDS} fields")
        self.left -= fields


def _layout(schema: Any) -> Record:
    top = _object(schema, "the schema")
    if top.get("format") != "hermes-struct":
        raise no_schema(f"its format is {described(top.get('format'))}, and 'hermes-struct' was expected")
    if top.get("version") not in (1, 2) or isinstance(top.get("version"), bool):
        raise no_schema(f"its version is {described(top.get('version'))}, and this package reads versions 1 and 2")
    name = top.get("name")
    if "name" in top and not isinstance(name, str):
        raise no_schema(f"its name is {described(name)}")
    layout = _record(top, name, "", _Budget(), 0)
    if layout.fields() > MAX_FIELDS:
        raise no_schema(f"it has more than {MAX_FIELDS} fields")
    if layout.depth() > MAX_NESTING:
        raise no_schema(f"it is nested more than {MAX_NESTING} deep")
    _compare("version", top.get("version"), 2 if _has_grown(layout) else 1, "the schema")
    fingerprint = fingerprint_of(_compact(layout.shape()))
    if top.get("fingerprint") != fingerprint:
        raise no_schema(f"its fingerprint is {described(top.get('fingerprint'))}, and its layout has {fingerprint}")
    return layout


def _record(given: Mapping[str, Any], name: Optional[str], path: str, budget: _Budget, depth: int) -> Record:
    where = path or "the schema"
    if depth > MAX_NESTING:
        raise no_schema(f"{where} is nested more than {MAX_NESTING} deep")
    entries = given.get("fields")
    if not isinstance(entries, list):
        raise no_schema(f"the fields of {where} are {described(entries)}")
    budget.take(len(entries))
    fields: List[Entry] = []
    for entry in entries:
        one = _object(entry, f"a field of {where}")
        field = one.get("name")
        if not isinstance(field, str):
            raise no_schema(f"a field of {where} has the name {described(field)}")
        kind = _any_type(one, f"{path}.{field}" if path else field, budget, depth)
        fields.append((field, kind, _fallback(one, kind, f"field {field} of {where}")))
    sizes = given.get("sizes") if "sizes" in given else None
    layout = Record(name, _steps(fields, entries, sizes, where))
    if "sizes" in given and layout.sizes != sizes:
        raise no_schema(f"the sizes of {where} are {described(sizes)}, and {layout.sizes} follow from its types")
    _compare("size", given.get("size"), layout.size, where)
    _compare("align", given.get("align"), layout.align, where)
    for entry, (field, offset, _) in zip(entries, layout.placed):
        _compare("offset", entry.get("offset"), offset, f"field {field} of {where}")
    if layout.trailing is not None:
        _compare("offset", entries[-1].get("offset"), layout.size, f"field {layout.trailing[0]} of {where}")
    return layout


def _has_grown(kind: Union[Type, Trailing, None]) -> bool:
    if isinstance(kind, (Array, Trailing)):
        return _has_grown(kind.element)
    if not isinstance(kind, Record):
        return False
    trailing = kind.trailing
    return kind.has_grown or any(_has_grown(one) for _, _, one in kind.placed) or (trailing is not None and _has_grown(trailing[1]))


def _fallback(given: Mapping[str, Any], kind: Union[Type, Trailing], where: str) -> Optional[bytes]:
    """The bytes that stand for the field where a payload does not have it; None for one that was there from the beginning."""
    if "fallback" not in given:
        return None
    written = given["fallback"]
    if isinstance(kind, Trailing) or (isinstance(kind, Record) and kind.trailing is not None):
        raise no_schema(f"{where} was added later and has no fixed size")
    if not isinstance(written, str) or len(written) != 2 * kind.size or not re.fullmatch("[0-9a-f]+", written):
        raise no_schema(f"the fallback of {where} is {described(written)}, and {kind.size} bytes in hexadecimal were expected")
    fallback = bytes.fromhex(written)
    try:
        kind.read(iter(Struct("<" + kind.format).unpack(fallback)))
    except HermesError as error:
        raise no_schema(f"the fallback of {where} is no value of it ({error})") from None
    return fallback


def _steps(fields: List[Entry], entries: List[Any], sizes: Any, where: str) -> List[List[Entry]]:
    """The fields by the steps in which they came."""
    if sizes is None:
        for field, _, fallback in fields:
            if fallback is not None:
                raise no_schema(f"field {field} of {where} has a fallback, and nothing says that it was added")
        return [fields]
    if not isinstance(sizes, list) or not 2 <= len(sizes) <= len(fields) or not all(_is_integer(size) for size in sizes):
        raise no_schema(f"the sizes of {where} are {described(sizes)}")
    steps: List[List[Entry]] = []
    at = 0
    for size in sizes:
        first = at
        while at < len(fields) and _is_integer(entries[at].get("offset")) and entries[at]["offset"] < size:
            at += 1
        steps.append(fields[first:at])
    if at < len(fields):
        raise no_schema(f"fields of {where} lie behind its size")
    for number, step in enumerate(steps):
        for field, kind, fallback in step:
            if (fallback is None) != (number == 0) or (number > 0 and isinstance(kind, Trailing)):
                raise no_schema(f"the fallback of field {field} of {where} does not fit the step in which it came")
    return steps


def _any_type(given: Mapping[str, Any], path: str, budget: _Budget, depth: int) -> Union[Type, Trailing]:
    kind = given.get("type")
    if kind in ("varBytes", "varUtf8"):
        return Trailing(str(kind))
    if kind == "varArray":
        return Trailing("varArray", _element(given, path, budget, depth))
    fixed = _fixed(kind, given, path, budget, depth)
    _compare("size", given.get("size"), fixed.size, path)
    return fixed


def _fixed(kind: Any, given: Mapping[str, Any], path: str, budget: _Budget, depth: int) -> Type:
    if kind in ("ascii", "utf8", "bytes"):
        size = _count(given.get("size"), f"the size of {path}")
        return Bytes(size) if kind == "bytes" else Text(str(kind), size)
    if kind == "enum":
        return Enum(_labels(given.get("labels"), path))
    if kind == "array":
        count = _count(given.get("count"), f"the count of {path}")
        element = _element(given, path, budget, depth)
        if element.size * count > MAX_STRUCT_BYTES:
            raise no_schema(f"{path} is larger than {MAX_STRUCT_BYTES} bytes")
        return Array(element, count)
    if kind == "struct":
        return _record(given, None, path, budget, depth + 1)
    if isinstance(kind, str) and kind in INTEGERS:
        return Integer(kind)
    if kind in ("f32", "f64"):
        return Float(str(kind))
    if kind == "bool":
        return Bool()
    raise no_schema(f"field {path} has the type {described(kind)}, which this package does not know")


def _element(given: Mapping[str, Any], path: str, budget: _Budget, depth: int) -> Type:
    if depth >= MAX_NESTING:
        raise no_schema(f"{path} is nested more than {MAX_NESTING} deep")
    budget.take(1)
    element = _any_type(_object(given.get("element"), f"the element of {path}"), f"{path}[]", budget, depth + 1)
    if isinstance(element, Trailing) or (isinstance(element, Record) and element.trailing is not None):
        raise no_schema(f"the elements of {path} have no fixed size")
    return element


def _labels(value: Any, path: str) -> List[str]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_LABELS:
        raise no_schema(f"the labels of {path} are no list of 1 to {MAX_LABELS} strings")
    for label in value:
        if not isinstance(label, str) or label == "" or _units(label) > MAX_LABEL_LENGTH:
            raise no_schema(f"{path} has the label {described(label)}")
    if len(set(value)) != len(value):
        raise no_schema(f"{path} has a label twice")
    return list(value)


def _units(text: str) -> int:
    """The length as JavaScript counts it: characters beyond U+FFFF are two."""
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)


def _count(value: Any, what: str) -> int:
    if not _is_integer(value) or not 1 <= value <= MAX_STRUCT_BYTES:
        raise no_schema(f"{what} is {described(value)}, and should be from 1 to {MAX_STRUCT_BYTES}")
    return int(value)


def _is_integer(value: Any) -> bool:
    """JSON knows one kind of number: 1.0 is the 1 that JavaScript reads."""
    return type(value) is int or (type(value) is float and value.is_integer())


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise no_schema(f"{what} is {described(value)}, and an object was expected")


def _compare(what: str, given: Any, expected: int, where: str) -> None:
    if not _is_integer(given) or given != expected:
        raise no_schema(f"the {what} of {where} is {described(given)}, and {expected} follows from its types")


def _compact(shape: Value) -> str:
    """As JSON.stringify writes it: half surrogate pairs are escaped, everything else but ``"``, ``\\`` and controls stays."""
    written = _json.dumps(shape, separators=(",", ":"), ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match.group()):04x}", written)
