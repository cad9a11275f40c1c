"""What callers receive, and what they may say of a place in a topic."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Dict, Generic, Mapping, Optional, TypeVar, Union

from .codecs import described, plain_text
from .errors import invalid, protocol_error
from .packets import MAX_SEQUENCE

T = TypeVar("T")

#: ``'earliest'``, ``'latest'``, a sequence, or a time: the first message stamped then or later. Times count in whole milliseconds.
From = Union[str, int, datetime]


class Message(Generic[T]):
    """One message of a topic."""

    __slots__ = ("value", "sequence", "timestamp_ns")

    #: What the topic's codec made of the payload. Yours to keep.
    value: T
    #: Dense per topic, from 1.
    sequence: int
    #: Nanoseconds since 1970, by the publisher's clock.
    timestamp_ns: int

    def __init__(self, value: T, sequence: int, timestamp_ns: int) -> None:
        self.value = value
        self.sequence = sequence
        self.timestamp_ns = timestamp_ns

    def __repr__(self) -> str:
        return f"Message(value={self.value!r}, sequence={self.sequence}, timestamp_ns={self.timestamp_ns})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        return (self.value, self.sequence, self.timestamp_ns) == (other.value, other.sequence, other.timestamp_ns)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Receipt:
    """What a message got when it was published."""

    #: Dense per topic, from 1. 0 if the broker was asked again after a lost connection, and can't tell any more.
    sequence: int
    #: Nanoseconds since 1970.
    timestamp_ns: int


@dataclass(frozen=True)
class Retention:
    """What is kept, by whole segments, oldest removed first. Unlimited where None."""

    bytes: Optional[int] = None
    age_ms: Optional[int] = None
    #: Keep what groups have not settled all the same, as long as the topic takes no more than so many bytes.
    wait_for_groups: Optional[int] = None


@dataclass(frozen=True)
class CodecInfo:
    name: str
    fingerprint: str
    #: For struct topics: what ``hermes_mq.struct()`` takes.
    schema: Any


@dataclass(frozen=True)
class Watermarks:
    """How far a topic is, by what a message has behind it."""

    #: Behind the last message for which a publisher has taken room, whether it has put the message there yet or not.
    claimed: int
    #: The first sequence that is not committed: readers come this far.
    written: int
    #: The first sequence that is not known to be on stable storage.
    synced: int


@dataclass(frozen=True)
class TopicInfo:
    """What is known of a topic."""

    name: str
    codec: CodecInfo
    created_ms: int
    #: The first message that is still there (or would be, if the topic is empty).
    first_sequence: int
    #: What the next message will get: everything before is committed.
    next_sequence: int
    #: Everything before is on stable storage.
    synced_sequence: int
    segments: int
    #: Bytes in files, the unused rest of the newest segment included.
    bytes: int
    segment_bytes: int
    max_payload_bytes: int
    retention: Retention
    #: Publishers that are open now, in all processes.
    publishers: int
    #: Publishing is refused for want of disk room.
    disk_alarm: bool
    #: None: the broker is too old to tell.
    watermarks: Optional[Watermarks] = None
    #: Of ``bytes``, those that messages and headers take. None: the broker is too old to tell.
    used_bytes: Optional[int] = None
    #: The errno of a failed sync that was not made good ("ENOSPC"); None if there is none.
    sync_failure: Optional[str] = None


def topic_info(fields: Mapping[str, Any]) -> TopicInfo:
    """Makes a TopicInfo of what the broker sent. Raises HermesError PROTOCOL."""
    try:
        codec = fields["codec"]
        retention = fields.get("retention") or {}
        marks = fields.get("watermarks")
        return TopicInfo(
            name=str(fields["name"]),
            codec=CodecInfo(str(codec["name"]), str(codec["fingerprint"]), codec.get("schema")),
            created_ms=int(fields["createdMs"]),
            first_sequence=int(fields["firstSequence"]),
            next_sequence=int(fields["nextSequence"]),
            synced_sequence=int(fields["syncedSequence"]),
            segments=int(fields["segments"]),
            bytes=int(fields["bytes"]),
            segment_bytes=int(fields["segmentBytes"]),
            max_payload_bytes=int(fields["maxPayloadBytes"]),
            retention=Retention(retention.get("bytes"), retention.get("ageMs"), retention.get("waitForGroups")),
            publishers=int(fields["publishers"]),
            disk_alarm=bool(fields["diskAlarm"]),
            used_bytes=None if fields.get("usedBytes") is None else int(fields["usedBytes"]),
            sync_failure=fields.get("syncFailure"),
            watermarks=marks and Watermarks(int(marks["claimed"]), int(marks["written"]), int(marks["synced"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as cause:
        raise protocol_error("The broker sent no description of the topic.") from cause


@dataclass(frozen=True)
class Status:
    """What happens to the connection, as it happens."""

    #: ``connected``, ``disconnected``, ``reconnecting`` or ``lagging`` (a subscriber is behind, and takes nothing).
    type: str
    url: str
    #: By type: ``server``; ``reason``; ``attempt`` and ``delay`` in seconds; ``topic`` and ``behind``.
    details: Dict[str, Any] = field(default_factory=dict)


def from_to_wire(where: str, target: From) -> Any:
    """A place as it travels. Raises HermesError INVALID_ARGUMENT."""
    if isinstance(target, str) and plain_text(target) in ("earliest", "latest"):
        return plain_text(target)
    if type(target) is int and 1 <= target <= MAX_SEQUENCE:
        return target
    if isinstance(target, datetime):
        if datetime.tzinfo.__get__(target) is None:
            raise invalid(f"{where} takes a datetime with a time zone, such as datetime.now(timezone.utc).")
        try:
            milliseconds = int(datetime.timestamp(target) * 1000)
        except Exception:  # (of its time zone, or beyond what a date can be)
            milliseconds = -1
        if milliseconds >= 0:
            return {"timeMs": milliseconds}
    raise invalid(
        f"{where} takes 'earliest', 'latest', a sequence from 1 on, or a datetime since 1970, not {described(target)}."
    )
