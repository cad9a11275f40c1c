"""What the synchronous client and that for asyncio have in common: everything that waits for nothing. The two differ in how they wait."""

import contextlib
from typing import Any, Callable, Dict, Generic, Iterable, Iterator, List, Optional, Sequence, TypeVar

from .codecs import Codec, described, no_msgpack
from .codecs import codec_named as _codec_named
from .errors import HermesError, invalid, protocol_error
from .message_reader import MessageReader
from .options import check_batch
from .position import PositionChannel
from .publishing import PublisherChannel, Sync
from .request import Request
from .structs import struct as _struct
from .subscribing import SubscriberChannel
from .types import From, Message, Receipt, TopicInfo, from_to_wire, topic_info

T = TypeVar("T")

#: Of a seek: there is no such place.
NO_PLACE = ("OUT_OF_RANGE", "BEHIND_RETENTION")

#: Values of publish_batch() that become visible together, at most.
GROUP = 256


def topic_names(request: Request) -> List[str]:
    """What the broker has answered when it was asked for its topics."""
    topics = (request.reply or {}).get("topics")
    if not isinstance(topics, list) or not all(isinstance(one, str) for one in topics):
        raise protocol_error("The broker sent no list of topics.")
    return topics


def description(request: Request) -> TopicInfo:
    """What the broker has answered when it was asked for a topic."""
    info = (request.reply or {}).get("info")
    if not isinstance(info, dict):
        raise protocol_error("The broker sent no description of the topic.")
    return topic_info(info)


def codec_of(info: TopicInfo) -> Codec[Any]:
    """The codec of a topic that exists. Raises HermesError UNSUPPORTED."""
    name = info.codec.name
    if name == "struct":
        return _struct(info.codec.schema)
    if name == "msgpack":
        raise no_msgpack(f"Topic '{info.name}' holds")
    if name in ("raw", "text", "json"):
        return _codec_named(name)
    raise HermesError("UNSUPPORTED", f"Topic '{info.name}' has the codec '{name}': give it, made by custom().", {"codec": name})


def with_codec(codec: Codec[Any], settings: Dict[str, Any]) -> Dict[str, Any]:
    """The settings of a topic, as the broker is told them."""
    return {"codec": {"name": codec.name, "fingerprint": codec.fingerprint, "schema": codec.schema}, **settings}


def check_commit(name: Optional[str], commit: str, lease: Optional[float]) -> None:
    if commit not in ("manual", "auto"):
        raise invalid(f"'commit' must be 'manual' or 'auto', not {commit!r}.")
    if name is None and (commit != "manual" or lease is not None):
        raise invalid("'commit' and 'lease' are for a durable subscription: give it a 'name', too.")


def check_damage(on_damage: str) -> None:
    if on_damage not in ("stop", "skip"):
        raise invalid(f"'on_damage' must be 'stop' or 'skip', not {described(on_damage)}.")


class Bound:
    """Where a replay ends."""

    def __init__(self, until: Optional[From]) -> None:
        if until is not None:
            wire = from_to_wire("'until'", until)
            if isinstance(wire, str):
                raise invalid("'until' takes a sequence or a datetime; leave it out for all that is there.")
        self._sequence = until if isinstance(until, int) else None
        self._time_ns = wire["timeMs"] * 1_000_000 if until is not None and self._sequence is None else None

    def end(self, present: int) -> int:
        return present if self._sequence is None else min(present, self._sequence)

    def is_behind(self, message: Message[Any], end: int) -> bool:
        """Whether the replay ends before this message."""
        return message.sequence >= end or (self._time_ns is not None and message.timestamp_ns >= self._time_ns)


def sync_is_done(sync: Sync) -> bool:
    if sync.error is not None:
        raise sync.error.again()
    return sync.done


class Groups(Generic[T]):
    """The values of publish_batch(), encoded, in groups that become visible together. A group counts as accepted when the next one is asked for."""

    def __init__(self, values: Iterable[T], encode: Callable[[T], bytes]) -> None:
        check_batch(values)
        self.accepted = 0
        self._values = values
        self._encode = encode

    def __iter__(self) -> Iterator[List[bytes]]:
        encode = self._encode
        payloads: List[bytes] = []
        for value in self._values:
            payloads.append(encode(value))
            if len(payloads) == GROUP:
                yield payloads
                self.accepted += GROUP
                payloads = []
        if payloads:
            yield payloads
            self.accepted += len(payloads)

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Has errors say how many values were accepted before."""
        try:
            yield
        except HermesError as error:
            error.details["accepted"] = self.accepted
            raise


class PublisherSurface(Generic[T]):
    """A publisher, but for what waits."""

    _channel: PublisherChannel
    _codec: Codec[T]

    @property
    def topic(self) -> str:
        return self._channel.topic

    @property
    def durability(self) -> str:
        return self._channel.durability

    @property
    def closed(self) -> bool:
        return self._channel.closed

    @property
    def last_receipt(self) -> Optional[Receipt]:
        """Of the newest message that was acknowledged; None before the first."""
        return self._channel.last_receipt

    def _encoded(self, value: T) -> bytes:
        """Why nothing can be published comes before what is wrong with the value."""
        if self._channel.closed:
            raise self._channel.closed_error()
        return self._codec.encode(value)

    def _check(self, payloads: Sequence[bytes]) -> None:
        """Whether these can be accepted at all. Raises HermesError CLOSED, PAYLOAD_TOO_LARGE, …"""
        channel = self._channel
        channel.check()
        for payload in payloads:
            channel.check_size(payload)


class SubscriberSurface(Generic[T]):
    """A subscriber, but for what waits."""

    _channel: SubscriberChannel
    _reader: MessageReader[T]
    #: Of a durable subscription.
    _progress: Optional[PositionChannel]

    @property
    def committed(self) -> int:
        """Of a durable subscription: the sequence that the next subscriber of this name begins with. Raises HermesError UNSUPPORTED."""
        return self._named().committed

    def _named(self) -> PositionChannel:
        if self._progress is None:
            raise HermesError(
                "UNSUPPORTED",
                f"This subscriber of '{self.topic}' has no name to remember its position by: open it with topic.subscriber(name=…).",
                {"topic": self.topic},
            )
        return self._progress

    def _commit_to(self, sequence: Optional[int]) -> int:
        """The sequence behind what is done. Raises INVALID_ARGUMENT, OUT_OF_RANGE."""
        if sequence is not None and (type(sequence) is not int or sequence < 1):
            raise invalid("commit() takes the sequence of the last message that is done.")
        position = self._reader.position
        if sequence is None:
            return position
        if sequence >= position:
            raise HermesError(
                "OUT_OF_RANGE",
                f"Message {sequence} of topic '{self.topic}' was not received yet: the subscriber is at {position}.",
                {"topic": self.topic, "sequence": sequence, "position": position},
            )
        return sequence + 1

    @property
    def topic(self) -> str:
        return self._channel.topic

    @property
    def closed(self) -> bool:
        return self._channel.closed

    @property
    def position(self) -> int:
        """The sequence of the next message to come."""
        return self._reader.position

    @property
    def lag(self) -> int:
        """How many sequences are still to come, as far as the broker has told: 0 means caught up."""
        return max(0, self._channel.next_sequence() - self._reader.position)

    def _check_open(self) -> None:
        if self._channel.closed:
            raise HermesError("CLOSED", f"The subscriber of '{self.topic}' is closed. Make a new one with topic.subscriber().")

    @property
    def _has_news(self) -> bool:
        """Whether there is something to hand out or to tell."""
        channel = self._channel
        position = self._progress
        return channel.has_piece or channel.failure is not None or channel.closed or (position is not None and position.lost is not None)

    def _is_placed(self) -> bool:
        """Whether the broker has said where a seek leads. Raises HermesError why it leads nowhere."""
        channel = self._channel
        if channel.placed:
            return True
        if channel.failure is not None:
            raise channel.failure.again()
        self._check_open()
        return False

    def _move(self, target: Any) -> None:
        self._channel.move(target)
        self._reader.restart()

    def _unplaced_error(self) -> HermesError:
        return HermesError("TIMED_OUT", f"The broker did not say where '{self.topic}' goes on.", {"topic": self.topic})

    def _busy_error(self, other: str) -> HermesError:
        return HermesError("BUSY", f"The subscriber of '{self.topic}' is in use by another {other}. Make another subscriber.")
