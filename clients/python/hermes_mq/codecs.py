"""Codecs turn values into payload bytes and back. Name and fingerprint are kept with the topic; docs/codecs.md describes them."""

import hashlib
import inspect
import json as _json
import re
from typing import Any, Callable, Dict, Generic, NoReturn, TypeVar, Union

from .errors import HermesError, invalid

T = TypeVar("T")


def fingerprint_of(text: str) -> str:
    """16 hex digits: the first 8 bytes of SHA-256 over the UTF-8 bytes of ``text``."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]


class Codec(Generic[T]):
    """Values of type T as bytes. Codecs hold no state, so one may serve many topics and threads."""

    name: str
    fingerprint: str
    #: A JSON description of the layout, or None when the bytes describe themselves.
    schema: Any = None

    def encode(self, value: T) -> bytes:
        """The payload. Raises HermesError ENCODE_FAILED."""
        raise NotImplementedError

    def decode(self, payload: bytes) -> T:
        """The value. Raises HermesError DECODE_FAILED."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<codec {self.name} {self.fingerprint}>"


def encode_failed(codec: str, reason: str) -> HermesError:
    return HermesError("ENCODE_FAILED", f"Can't encode {codec}: {reason}", {"codec": codec})


def decode_failed(codec: str, reason: str) -> HermesError:
    return HermesError("DECODE_FAILED", f"Can't decode {codec}: {reason}", {"codec": codec})


def described(value: Any) -> str:
    """A value in a message: its type, and the beginning of it."""
    if value is None:
        return "None"
    try:
        shown = repr(value)
    except Exception:  # (its own code)
        return f"a value of {type(value).__name__}"
    return f"{shown if len(shown) <= 60 else shown[:57] + '...'} ({type(value).__name__})"


def is_coroutine_function(given: Any) -> bool:
    return inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__)


def octets_of(value: Union[bytes, bytearray, memoryview]) -> bytes:
    """The bytes that are there, whatever a subclass says of itself. Raises ValueError for a memoryview that was released."""
    return value if type(value) is bytes else memoryview(value).tobytes()


def plain_text(value: str) -> str:
    """The characters that are there: a subclass hashes and compares as it likes."""
    return value if type(value) is str else str.__add__(value, "")


class RawCodec(Codec[bytes]):
    """Bytes as they are. Takes any bytes-like object, yields ``bytes``."""

    name = "raw"
    fingerprint = fingerprint_of("hermes-codec:raw:1")

    def encode(self, value: Union[bytes, bytearray, memoryview]) -> bytes:
        if type(value) is bytes:
            return value
        if isinstance(value, (bytes, bytearray, memoryview)):
            try:
                return octets_of(value)
            except ValueError as cause:
                raise encode_failed("raw", f"{cause}.") from cause
        raise encode_failed("raw", f"expected bytes, got {described(value)}.")

    def decode(self, payload: bytes) -> bytes:
        return payload


class TextCodec(Codec[str]):
    """Strings as UTF-8. Strings that UTF-8 can't express (lone surrogates) are refused."""

    name = "text"
    fingerprint = fingerprint_of("hermes-codec:text:1")

    def encode(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise encode_failed("text", f"expected a string, got {described(value)}.")
        try:
            return str.encode(value, "utf-8")
        except UnicodeEncodeError as cause:
            raise encode_failed("text", "the string holds half of a surrogate pair.") from cause

    def decode(self, payload: bytes) -> str:
        try:
            return payload.decode("utf-8")
        except UnicodeDecodeError as cause:
            raise decode_failed("text", "the payload is not valid UTF-8.") from cause


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class JsonCodec(Codec[Any]):
    """JSON in UTF-8. NaN and infinities are refused. Integers are exact here, but beyond 2^53 they aren't for readers in JavaScript."""

    name = "json"
    fingerprint = fingerprint_of("hermes-codec:json:1")

    def encode(self, value: Any) -> bytes:
        try:
            written = _json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
            return written.encode("utf-8")
        except Exception as cause:  # (of json, or of the value's own code)
            raise encode_failed("json", f"{cause}.") from cause

    def decode(self, payload: bytes) -> Any:
        try:
            return _json.loads(payload.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as cause:
            raise decode_failed("json", f"{cause}.") from cause


_RESERVED = ("raw", "text", "json", "msgpack", "struct")
_CUSTOM_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}\Z")


class _CustomCodec(Codec[T]):
    def __init__(self, name: str, fingerprint: str, encode: Callable[[T], bytes], decode: Callable[[bytes], T]) -> None:
        self.name = name
        self.fingerprint = fingerprint_of(f"hermes-codec:{name}:custom:{fingerprint}")
        self._encode = encode
        self._decode = decode

    def encode(self, value: T) -> bytes:
        try:
            payload = self._encode(value)
        except HermesError:
            raise
        except Exception as cause:
            raise encode_failed(self.name, f"{cause}") from cause
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            raise encode_failed(self.name, f"its encode() must return bytes, and returned {described(payload)}.")
        try:
            return octets_of(payload)
        except ValueError as cause:
            raise encode_failed(self.name, f"{cause}.") from cause

    def decode(self, payload: bytes) -> T:
        try:
            return self._decode(payload)
        except HermesError:
            raise
        except Exception as cause:
            raise decode_failed(self.name, f"{cause}") from cause


def custom(name: str, fingerprint: str, encode: Callable[[T], bytes], decode: Callable[[bytes], T]) -> Codec[T]:
    """A codec of two functions: for protobuf and the like.

    ``fingerprint`` is any text that changes with the meaning of the bytes. Name and fingerprint have to be those of ``custom()`` in
    TypeScript for both to use one topic. Raises HermesError INVALID_ARGUMENT.
    """
    if not isinstance(name, str) or not _CUSTOM_NAME.match(name) or name in _RESERVED:
        raise invalid(
            "custom() takes a name of 1 to 32 of a-z 0-9 . _ - that begins with a letter and is none of "
            f"{', '.join(_RESERVED)}; got {described(name)}."
        )
    if not isinstance(fingerprint, str) or fingerprint == "":
        raise invalid(f"custom() takes a fingerprint: a text that changes with the format; got {described(fingerprint)}.")
    for given in (encode, decode):
        if not callable(given) or is_coroutine_function(given):
            raise invalid(f"custom() takes the plain functions encode(value) and decode(payload), not {described(given)}.")
    return _CustomCodec(name, fingerprint, encode, decode)


raw: Codec[bytes] = RawCodec()
text: Codec[str] = TextCodec()
json: Codec[Any] = JsonCodec()

_BY_NAME: Dict[str, Codec[Any]] = {"raw": raw, "text": text, "json": json}


def no_msgpack(where: str) -> HermesError:
    return HermesError(
        "UNSUPPORTED",
        f"{where} MessagePack, which Python's standard library can't read or write. Use a topic of json, struct, text or raw.",
        {"codec": "msgpack"},
    )


def codec_named(name: str) -> Codec[Any]:
    """The codec of this name. Raises HermesError UNSUPPORTED for msgpack, INVALID_ARGUMENT for others that aren't there."""
    if name == "msgpack":
        raise no_msgpack("The codec 'msgpack' stands for")
    if name == "struct":
        raise invalid("A struct codec is made of its schema: use hermes_mq.struct(schema).")
    known = _BY_NAME.get(name)
    if known is None:
        raise invalid(f"There is no codec {described(name)}: use 'raw', 'text', 'json', struct(schema) or custom(…).")
    return known


def checked_codec(codec: Any) -> Codec[Any]:
    """What a caller gave as a codec, as one. Raises HermesError INVALID_ARGUMENT, UNSUPPORTED."""
    if isinstance(codec, str):
        return codec_named(codec)
    if isinstance(codec, Codec):
        return codec
    raise invalid(f"'codec' must be raw, text, json, struct(schema) or custom(…); got {described(codec)}.")
