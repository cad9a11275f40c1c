"""Requests and replies as they travel, without what waits: docs/request-reply.md has the bytes."""

import datetime
import json as _json
import struct as _struct
import time
from typing import Any, Dict, Generic, NamedTuple, TypeVar

from .codecs import Codec, checked_codec, decode_failed, fingerprint_of
from .errors import HermesError, invalid
from .options import check_integer, check_topic_name
from .types import Retention

T = TypeVar("T")

REQUEST, REPLY, FAILURE, CANCEL = 1, 2, 3, 4
#: The responders of all processes are one group: each request goes to one of them.
GROUP_NAME = "responders"
MOST_DELIVERIES = 3

_HEAD = _struct.Struct("<QQIIQ")
_SEGMENT_BYTES = 16 * 1024 * 1024
#: Of each of the two topics: what no requester waits for any more need not be kept.
_KEPT_BYTES = 64 * 1024 * 1024
#: Longer messages are cut: a failure has to fit into the topic.
_MOST_MESSAGE = 2000


class Call(NamedTuple):
    """A request, its reply, or what else is said of it. ``body`` is the encoded value, so that what is for others is passed over without decoding it."""

    client: int
    number: int
    kind: int
    #: When the caller stops waiting for the reply, in ms since 1970.
    deadline_ms: int
    body: bytes = b""


class CallCodec(Codec[Call]):
    """A head of 32 bytes, then a value in the codec ``inner``."""

    def __init__(self, inner: Codec[Any]) -> None:
        self.inner = inner
        self.name = f"call:{inner.name}"
        self.fingerprint = fingerprint_of(f"hermes-call:1:{inner.fingerprint}")
        self.schema = {"format": "hermes-call", "version": 1, **({} if inner.schema is None else {"value": inner.schema})}

    def encode(self, value: Call) -> bytes:
        return _HEAD.pack(value.client, value.number, value.kind, 0, value.deadline_ms) + value.body

    def decode(self, payload: bytes) -> Call:
        if len(payload) >= _HEAD.size:
            client, number, kind, _, deadline_ms = _HEAD.unpack_from(payload)
            if REQUEST <= kind <= CANCEL:
                return Call(client, number, kind, deadline_ms, payload[_HEAD.size :])
        raise decode_failed(self.name, "it has no head of a call.")


class Service(Generic[T]):
    """What both sides have to agree on: the two topics of a service."""

    def __init__(self, client: Any, name: str, request: Any, reply: Any, max_payload_bytes: int) -> None:
        check_topic_name(name)
        if len(name) > 100:
            raise invalid("The name of a service has 100 characters at most, as its topics are called after it.")
        check_integer("max_payload_bytes", max_payload_bytes, 1, 4_000_000)
        self.name = name
        self.request: Codec[Any] = checked_codec(request)
        self.reply: Codec[Any] = checked_codec(reply)

        def topic(suffix: str, inner: Codec[Any]) -> Any:
            return client.topic(
                f"{name}.{suffix}",
                CallCodec(inner),
                segment_bytes=_SEGMENT_BYTES,
                max_payload_bytes=max_payload_bytes + _HEAD.size,
                retention=Retention(bytes=_KEPT_BYTES),
            )

        self.requests = topic("requests", self.request)
        self.replies = topic("replies", self.reply)

    def group_options(self, concurrency: int) -> Dict[str, Any]:
        """Of the group of responders: the same for all of them, in TypeScript too."""
        return {"max_deliveries": MOST_DELIVERIES, "dead_letter": False, "max_in_flight": min(65_536, 2 * concurrency), "create": True}

    def outcome(self, call: Call) -> Any:
        """The value of a reply. Raises HermesError REQUEST_FAILED, DECODE_FAILED."""
        if call.kind == REPLY:
            return self.reply.decode(call.body)
        try:
            failure = _json.loads(call.body.decode("utf-8"))
            details = {key: str(failure[key]) for key in ("name", "code", "message")}
        except (ValueError, KeyError, TypeError) as cause:
            raise decode_failed("json", f"{cause}.") from cause
        raise HermesError("REQUEST_FAILED", f"The handler of '{self.name}' failed: {details['message']}", details)

    def answer(self, call: Call, value: Any) -> Call:
        """The reply. One that can't be encoded is a failure of the handler."""
        try:
            return Call(call.client, call.number, REPLY, 0, self.reply.encode(value))
        except HermesError as error:
            return failure_of(call, error)

    def late_error(self, timeout: float) -> HermesError:
        return HermesError(
            "TIMED_OUT",
            f"'{self.name}' did not reply within {timeout} s. Look whether a responder is there, and how long its handler takes.",
            {"name": self.name, "timeout": timeout},
        )

    def closed_error(self) -> HermesError:
        return HermesError("CLOSED", f"The requester of '{self.name}' is closed. Make a new one with client.requester().")


def failure_of(call: Call, error: BaseException) -> Call:
    """What the requester is told of a handler that has raised."""
    code = error.code if isinstance(error, HermesError) else ""
    message = error.message if isinstance(error, HermesError) else str(error)
    failure = {"name": type(error).__name__[:100], "code": code[:100], "message": message[:_MOST_MESSAGE]}
    # (a lone surrogate would not be UTF-8)
    body = _json.dumps(failure, ensure_ascii=True).encode("ascii")
    return Call(call.client, call.number, FAILURE, 0, body)


def is_awaited(call: Call) -> bool:
    """Whether it is a request whose requester still waits."""
    return call.kind == REQUEST and call.deadline_ms > time.time() * 1000


def deadline_of(call: Call) -> datetime.datetime:
    seconds = min(call.deadline_ms, 253_402_300_799_000) / 1000
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)


def check_reply_timeout(timeout: Any) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout <= 3600:
        raise invalid(f"'timeout' must be a number of seconds up to 3600, not {timeout!r}.")
    return float(timeout)
