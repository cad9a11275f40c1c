"""Struct codecs, made of the schema that TypeScript exports (``Trade.schema``, ``hermes info TOPIC --schema``)."""

import json as _json
import re
from os import PathLike
from pathlib import Path
from struct import Struct
from typing import Any, List, Mapping, Optional, Tuple, Union

from .codecs import Codec, described, fingerprint_of
from .errors import HermesError, invalid
from .struct_types import (
    INTEGERS,
    MAX_STRUCT_BYTES,
    MISSING,
    Array,
    Bool,
    Bytes,
    Enum,
    Float,
    Integer,
    Record,
    Refused,
    Text,
    Trailing,
    Type,
    Value,
    no_schema,
)

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
        head: Value = {"format": "hermes-struct", "version": 1}
        if layout.name is not None:
            head["name"] = layout.name
        self.schema: Value = {**head, "fingerprint": self.fingerprint, **shape}
        self._title = layout.name or "struct"
        # The common case at the cost of one dict: every value is what it's read as.
        flat = layout.trailing is None and all(kind.plain for _, _, kind in layout.placed)
        self._names = tuple(field for field, _, _ in layout.placed) if flat else None

    @property
    def byte_length(self) -> int:
        """The size of the fixed part in bytes. A payload has exactly this size, or more if the struct has a trailing part."""
        return self._layout.size

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

    def decode(self, payload: bytes) -> Value:
        layout = self._layout
        size = layout.size
        if layout.trailing is None:
            if len(payload) != size:
                raise self._wrong_length(len(payload))
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

    def _wrong_length(self, length: int) -> HermesError:
        trailing = self._layout.trailing
        expected = f"{self._layout.size} bytes"
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
    """
    return StructCodec(_layout(_loaded(schema)))


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
    if top.get("version") != 1 or isinstance(top.get("version"), bool):
        raise no_schema(f"its version is {described(top.get('version'))}, and this package reads version 1")
    name = top.get("name")
    if "name" in top and not isinstance(name, str):
        raise no_schema(f"its name is {described(name)}")
    layout = _record(top, name, "", _Budget(), 0)
    if layout.fields() > MAX_FIELDS:
        raise no_schema(f"it has more than {MAX_FIELDS} fields")
    if layout.depth() > MAX_NESTING:
        raise no_schema(f"it is nested more than {MAX_NESTING} deep")
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
    fields: List[Tuple[str, Union[Type, Trailing]]] = []
    for entry in entries:
        one = _object(entry, f"a field of {where}")
        field = one.get("name")
        if not isinstance(field, str):
            raise no_schema(f"a field of {where} has the name {described(field)}")
        fields.append((field, _any_type(one, f"{path}.{field}" if path else field, budget, depth)))
    layout = Record(name, fields)
    _compare("size", given.get("size"), layout.size, where)
    _compare("align", given.get("align"), layout.align, where)
    for entry, (field, offset, _) in zip(entries, layout.placed):
        _compare("offset", entry.get("offset"), offset, f"field {field} of {where}")
    if layout.trailing is not None:
        _compare("offset", entries[-1].get("offset"), layout.size, f"field {layout.trailing[0]} of {where}")
    return layout


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
