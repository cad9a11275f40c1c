"""Packets: the unit of the TCP protocol. docs/wire-protocol.md specifies them. What comes in may be hostile: every length is checked before it is used."""

import json
from struct import Struct
from typing import Any, Callable, Dict, Iterable, List, NamedTuple
from zlib import crc32

from .compression import inflated
from .errors import ERROR_CODES, HermesError, protocol_error

#: What a client sends first.
PREAMBLE = b"HERMESW1"
PROTOCOL_VERSION = 1
HEADER_BYTES = 16
#: The largest JSON body that a client may send, and the limit for a broker's until it has said WELCOME.
MAX_JSON_BYTES = 65_536
PUBLISH_HEAD_BYTES = 16
DELIVER_HEAD_BYTES = 32
MAX_SEQUENCE = 2**53 - 1
#: A larger packet is taken from no broker, whatever it says: what arrives of one is kept until it is whole.
MOST_PACKET_BYTES = 64 * 1024 * 1024

HELLO = 1
WELCOME = 2
PING = 3
PONG = 4
ERROR = 5
DRAIN = 6
CLOSE = 7
CLOSED = 8
REQUEST = 9
REPLY = 10
OPEN_PUBLISHER = 16
PUBLISHER_OPENED = 17
PUBLISH = 18
ACK = 19
SYNC = 20
SYNCED = 21
SUBSCRIBE = 32
SUBSCRIBED = 33
DELIVER = 34
CREDIT = 35
SEEK = 36
TAIL = 37
JOIN = 48
JOINED = 49
MESSAGES = 50
DEMAND = 51
SETTLE = 52
SETTLED = 53
ASK = 54
ANSWER = 55
UNKEYED = 56
KEYS = 57
COMMIT = 58
COMMITTED = 59

#: A flag of PUBLISH and DELIVER, where both sides have agreed on the feature: the frames are compressed.
COMPRESSED = 1
#: The feature's name in HELLO and WELCOME.
DEFLATE = "deflate"
#: That of groups and durable subscriptions.
GROUPS = "groups"
_HEAD = Struct("<IBBHI")
_CRC = Struct("<I")
_U32 = Struct("<I")
_U64 = Struct("<Q")
_ACK_ENTRY = Struct("<QQII")
_PUBLISH_HEAD = Struct("<QII")
_DELIVER_HEAD = Struct("<IIQQQ")

_ANY = -1


class _Shape(NamedTuple):
    """Least and most bytes of a type's body (_ANY: the connection's limit), and what has to divide its length."""

    least: int
    most: int
    #: Bytes that the packet's checksum covers; _ANY: all.
    checked: int = _ANY
    multiple: int = 1


_JSON = _Shape(2, MAX_JSON_BYTES)
_BIG_JSON = _Shape(2, _ANY)

_FROM_SERVER: Dict[int, _Shape] = {
    WELCOME: _JSON,
    PING: _Shape(8, 8),
    PONG: _Shape(8, 8),
    ERROR: _JSON,
    DRAIN: _JSON,
    CLOSED: _Shape(0, 0),
    REPLY: _BIG_JSON,
    PUBLISHER_OPENED: _BIG_JSON,
    ACK: _Shape(24, _ANY, _ANY, 24),
    SYNCED: _Shape(8, 8),
    SUBSCRIBED: _JSON,
    DELIVER: _Shape(DELIVER_HEAD_BYTES, _ANY, DELIVER_HEAD_BYTES, 8),
    TAIL: _Shape(8, 8),
    JOINED: _BIG_JSON,
    MESSAGES: _Shape(DELIVER_HEAD_BYTES, _ANY, DELIVER_HEAD_BYTES, 8),
    SETTLED: _Shape(8, _ANY, _ANY, 8),
    ANSWER: _BIG_JSON,
    UNKEYED: _Shape(DELIVER_HEAD_BYTES, _ANY, DELIVER_HEAD_BYTES, 8),
    COMMITTED: _Shape(8, 8),
}

_FROM_CLIENT: Dict[int, _Shape] = {
    HELLO: _JSON,
    PING: _Shape(8, 8),
    PONG: _Shape(8, 8),
    CLOSE: _Shape(0, 0),
    REQUEST: _JSON,
    OPEN_PUBLISHER: _JSON,
    PUBLISH: _Shape(PUBLISH_HEAD_BYTES, _ANY, PUBLISH_HEAD_BYTES, 8),
    SYNC: _Shape(8, 8),
    SUBSCRIBE: _JSON,
    CREDIT: _Shape(4, 4),
    SEEK: _JSON,
    JOIN: _JSON,
    DEMAND: _Shape(24, 24),
    SETTLE: _Shape(48, 16 + 2048 * 32, _ANY, 16),
    ASK: _JSON,
    KEYS: _Shape(4, 4 * 256, _ANY, 4),
    COMMIT: _Shape(8, 8),
}

PacketHandler = Callable[[int, int, bytes], None]


class PacketReader:
    """Cuts a stream of bytes into packets."""

    def __init__(self, handler: PacketHandler, max_body: int = MAX_JSON_BYTES, from_server: bool = True) -> None:
        self._handler = handler
        self._shapes = _FROM_SERVER if from_server else _FROM_CLIENT
        #: The largest body in bytes, where the type has no limit of its own.
        self.max_body = max_body
        #: Whether the other side may compress frames. The handler gets them as if they had come as they are.
        self.compression = False
        self._pending = bytearray()
        self._stopped = False

    @property
    def pending_bytes(self) -> int:
        return len(self._pending)

    def stop(self) -> None:
        """No packet is handed out any more, not even the rest of the chunk that is being read."""
        self._stopped = True

    def push(self, chunk: bytes) -> None:
        """Takes what has arrived. Raises HermesError PROTOCOL or LIMIT; the reader is of no more use then."""
        pending = self._pending
        pending += chunk
        have = len(pending)
        at = 0
        view = memoryview(pending)
        try:
            while have - at >= HEADER_BYTES and not self._stopped:
                length, kind, flags, zero, channel = _HEAD.unpack_from(pending, at)
                shape = self._shapes.get(kind)
                if shape is None:
                    raise protocol_error(f"A packet has the unknown type {kind}.")
                compressed = flags == COMPRESSED and self.compression and kind in (PUBLISH, DELIVER)
                if flags != 0 and not compressed:
                    raise protocol_error(f"A packet has the flags {flags}, which were not agreed on.")
                if zero != 0:
                    raise protocol_error("A packet header has bytes that should be zero and are not.")
                most = self.max_body if shape.most == _ANY else shape.most
                if length > most:
                    raise HermesError(
                        "LIMIT",
                        f"A packet of type {kind} announces {length} bytes; {most} are allowed.",
                        {"most": most},
                    )
                least = shape.least + 5 if compressed else shape.least
                if length < least or (length % shape.multiple != 0 and not compressed):
                    raise protocol_error(f"A packet of type {kind} can't have {length} bytes.")
                body = at + HEADER_BYTES
                end = body + length
                if end > have:
                    break
                checked = length if shape.checked == _ANY or compressed else shape.checked
                crc = crc32(view[body : body + checked], crc32(view[at : at + 12]))
                if crc != _CRC.unpack_from(pending, at + 12)[0]:
                    raise protocol_error(f"A packet of type {kind} has a wrong checksum.")
                at = end
                whole = bytes(view[body:end])
                self._handler(kind, channel, inflated(whole, shape.checked) if compressed else whole)
        finally:
            view.release()
        del pending[:at]


def compressed_packet(kind: int, channel: int, head: bytes, frame_bytes: int, stream: bytes) -> bytes:
    """A PUBLISH or DELIVER whose frames were compressed. ``head`` is the fixed head of its body."""
    body = b"".join((head, _U32.pack(frame_bytes), stream))
    start = _HEAD.pack(len(body), kind, COMPRESSED, 0, channel)
    return b"".join((start, _CRC.pack(crc32(body, crc32(start))), body))


def packet(kind: int, channel: int, body: bytes = b"") -> bytes:
    """A packet whose checksum covers the whole body."""
    head = _HEAD.pack(len(body), kind, 0, 0, channel)
    return b"".join((head, _CRC.pack(crc32(body, crc32(head))), body))


def json_packet(kind: int, channel: int, content: Any) -> bytes:
    return packet(kind, channel, json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode("utf-8"))


def u64_packet(kind: int, channel: int, value: int) -> bytes:
    """A packet whose body is one u64: PING, PONG, SYNC, SYNCED, TAIL."""
    return packet(kind, channel, _U64.pack(value))


def credit_packet(channel: int, credit: int) -> bytes:
    return packet(CREDIT, channel, _U32.pack(credit))


def publish_head(acked: int, count: int) -> bytes:
    """The fixed head of a PUBLISH."""
    return _PUBLISH_HEAD.pack(acked, count, 0)


def publish_start(channel: int, body: bytes, frame_bytes: int) -> bytes:
    """Packet header and head of a PUBLISH: 32 bytes, in front of the frames."""
    head = _HEAD.pack(PUBLISH_HEAD_BYTES + frame_bytes, PUBLISH, 0, 0, channel)
    return b"".join((head, _CRC.pack(crc32(body, crc32(head))), body))


class Run(NamedTuple):
    """Messages that have reached their durability: ``messages`` numbers from ``first`` on, in the topic from ``sequence`` on (0 = not known)."""

    first: int
    messages: int
    sequence: int


def ack_packet(channel: int, runs: Iterable[Run]) -> bytes:
    return packet(ACK, channel, b"".join(_ACK_ENTRY.pack(run.first, run.sequence, run.messages, 0) for run in runs))


def read_ack(body: bytes) -> List[Run]:
    return [Run(first, count, _sequence(sequence)) for first, sequence, count, _ in _ACK_ENTRY.iter_unpack(body)]


def read_u64(body: bytes) -> int:
    value: int = _U64.unpack_from(body)[0]
    return value


def read_sequence(body: bytes) -> int:
    return _sequence(read_u64(body))


class DeliverHead(NamedTuple):
    epoch: int
    messages: int
    sequence: int
    end_sequence: int
    next_sequence: int


def deliver_packet(channel: int, head: DeliverHead, frames: bytes) -> bytes:
    packed = _HEAD.pack(DELIVER_HEAD_BYTES + len(frames), DELIVER, 0, 0, channel)
    body = _DELIVER_HEAD.pack(*head)
    return b"".join((packed, _CRC.pack(crc32(body, crc32(packed))), body, frames))


def read_deliver_head(body: bytes) -> DeliverHead:
    head = DeliverHead(*_DELIVER_HEAD.unpack_from(body))
    for sequence in head[2:]:
        _sequence(sequence)
    return head


def _sequence(value: int) -> int:
    if value > MAX_SEQUENCE:
        raise protocol_error("A sequence is beyond 2^53 - 1.")
    return value


# ---- fields of JSON bodies, which come from a stranger ----

Fields = Dict[str, Any]


def parse_json(body: bytes) -> Fields:
    try:
        content = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as cause:
        raise protocol_error("A JSON packet holds no JSON.") from cause
    if not isinstance(content, dict):
        raise protocol_error("A JSON packet holds no object.")
    return content


def text_field(fields: Fields, name: str, most: int) -> str:
    value = fields.get(name)
    if isinstance(value, str) and len(value) <= most:
        return value
    raise _bad(name, f"a string of {most} characters at most")


def integer_field(fields: Fields, name: str, least: int, most: int = MAX_SEQUENCE) -> int:
    value = fields.get(name)
    if type(value) is int and least <= value <= most:
        return value
    raise _bad(name, f"an integer from {least} to {most}")


def decimal_field(fields: Fields, name: str) -> int:
    """A u64 as decimal text: JSON numbers are not exact that far everywhere."""
    return _decimal(name, fields.get(name))


def object_field(fields: Fields, name: str) -> Fields:
    value = fields.get(name)
    if isinstance(value, dict):
        return value
    raise _bad(name, "an object")


def parse_error(fields: Fields) -> HermesError:
    """Makes the broker's error one of this process."""
    code = text_field(fields, "code", 100)
    message = text_field(fields, "message", 4000)
    details = fields.get("details")
    return HermesError(code if code in ERROR_CODES else "PROTOCOL", message, details if isinstance(details, dict) else {})


def runs_field(fields: Fields, name: str) -> List[Run]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise _bad(name, "a list")
    runs = []
    for entry in value:
        if not isinstance(entry, list) or len(entry) != 3:
            raise _bad(name, "a list of triples")
        triple = {"count": entry[1], "sequence": entry[2]}
        count = integer_field(triple, "count", 1, 0xFFFF_FFFF)
        runs.append(Run(_decimal(name, entry[0]), count, integer_field(triple, "sequence", 0)))
    return runs


def _decimal(name: str, value: Any) -> int:
    if isinstance(value, str) and 1 <= len(value) <= 20 and value.isascii() and value.isdigit():
        number = int(value)
        if number < 2**64:
            return number
    raise _bad(name, "a 64-bit number in decimal text")


def _bad(name: str, wanted: str) -> HermesError:
    return protocol_error(f"The field '{name}' should be {wanted}.")
