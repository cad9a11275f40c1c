"""Groups: what the synchronous client and that for asyncio have in common: options, jobs, and everything that waits for nothing."""

import os
import sys
import time
from collections.abc import Sequence as SequenceType
from typing import Any, Callable, Dict, Generic, Hashable, List, NamedTuple, Optional, Sequence, Tuple, TypeVar, Union
from zlib import crc32

from .claims import Claim
from .codecs import Codec, described
from .errors import HermesError, invalid
from .member import MemberChannel
from .options import check_callback, check_flag, check_integer, check_topic_name, is_unicode
from .packets import Fields
from .settlements import BACK_OFF, DONE, RETURNED, Settling
from .structs import StructCodec
from .types import From, from_to_wire

T = TypeVar("T")

class Key_(NamedTuple):
    """How a message's key is found by the program."""

    hash_of: Callable[[bytes], int]
    #: Raises for a value without a key.
    check: Callable[[Any], None]


Key = Union[str, Callable[[Any], Union[str, int]]]

#: Messages that a member asks for at once, at most.
MOST_BATCH = 256
#: A member asks ahead for what it handles in about this time, in seconds, so that no message waits at a slow member while others have nothing to do.
_AHEAD = 0.01
_MOST_SECONDS = 86_400


def check_seconds(name: str, value: float, least: float, most: float = _MOST_SECONDS) -> int:
    """In milliseconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise invalid(f"'{name}' must be a number of seconds from {least} to {most}, not {described(value)}.")
    return int(value * 1000)


def check_group_name(name: str) -> None:
    try:
        check_topic_name(name)
    except HermesError as error:
        raise HermesError(error.code, error.message.replace("topic name", "group name"), error.details) from None


def member_name(name: Optional[str]) -> str:
    if name is None:
        return f"{os.path.basename(sys.argv[0] or 'python')} {os.getpid()}"
    if not isinstance(name, str) or len(name) > 300 or not is_unicode(name):
        raise invalid(f"'member' must be a string of 300 characters at most, not {described(name)}.")
    return name


def group_join(
    topic: str,
    group: str,
    settings: Dict[str, Any],
    codec: Codec[Any],
    *,
    kind: Optional[str],
    key: Optional[Key],
    from_: From,
    max_in_flight: int,
    lease: Optional[float],
    max_deliveries: Optional[int],
    backoff: Union[None, float, Tuple[float, float]],
    dead_letter: Union[None, str, bool],
    window: Optional[int],
    up_to: Optional[str],
    member: Optional[str],
    create: bool,
) -> "Tuple[Dict[str, Any], Optional[Key_]]":
    """What JOIN says, and how keys are found that the broker can't find. Raises HermesError INVALID_ARGUMENT, INVALID_NAME."""
    check_group_name(group)
    check_flag("create", create)
    chosen = kind if kind is not None else ("shared" if key is None else "keyed")
    if chosen not in ("shared", "exclusive", "keyed"):
        raise invalid(f"'kind' must be 'shared', 'exclusive' or 'keyed', not {kind!r}.")
    if (chosen == "keyed") != (key is not None):
        raise invalid("'key' and the kind 'keyed' go together: the name of a field, or a function.")
    check_integer("max_in_flight", max_in_flight, 1, 65_536)
    rules: Dict[str, Any] = {}
    if lease is not None:
        rules["leaseMs"] = check_seconds("lease", lease, 0.1)
    if max_deliveries is not None:
        check_integer("max_deliveries", max_deliveries, 0, 254)
        rules["maxDeliveries"] = max_deliveries
    if backoff is not None:
        if isinstance(backoff, tuple) and len(backoff) != 2:
            raise invalid(f"'backoff' takes one number or two, a tuple of the first delay and the longest one, in seconds, not {described(backoff)}.")
        first, most = backoff if isinstance(backoff, tuple) else (backoff, backoff)
        rules["backoffMs"] = check_seconds("backoff", first, 0)
        rules["maxBackoffMs"] = check_seconds("backoff", most, first)
    place, find = _key(codec, key)
    if place is not None:
        rules["key"] = place
    join: Dict[str, Any] = {
        "topic": topic,
        "settings": joining_settings(settings, create),
        "group": group,
        "kind": chosen,
        "from": from_to_wire("'from_'", from_),
        "rules": rules,
        "member": member_name(member),
    }
    if window is not None:
        check_integer("window", window, 64, 1_048_576)
        if window & (window - 1):
            raise invalid(f"'window' must be a power of two from 64 to 1,048,576, not {window}.")
        join["window"] = window
    if up_to is not None:
        if up_to not in ("written", "synced"):
            raise invalid(f"'up_to' must be 'written' or 'synced', not {up_to!r}.")
        join["upToSynced"] = up_to == "synced"
    if dead_letter is not None:
        if dead_letter is not False:
            check_topic_name(dead_letter)  # type: ignore[arg-type]
        join["deadLetter"] = dead_letter or ""
    return join, find


def joining_settings(settings: Dict[str, Any], create: bool) -> Dict[str, Any]:
    """What the topic is, and how much of it is kept, is for its publishers to say."""
    return {**{name: value for name, value in settings.items() if create or name != "retention"}, "create": create}


def position_join(
    topic: str, name: str, settings: Dict[str, Any], from_: From, lease: Optional[float], create: bool
) -> Dict[str, Any]:
    check_group_name(name)
    rules = {} if lease is None else {"leaseMs": check_seconds("lease", lease, 0.1)}
    return {
        "topic": topic,
        "settings": joining_settings(settings, create),
        "group": name,
        "kind": "durable",
        "from": from_to_wire("'from_'", from_),
        "rules": rules,
        "member": member_name(None),
    }


def _key(codec: Codec[Any], key: Optional[Key]) -> "Tuple[Optional[Dict[str, int]], Optional[Key_]]":
    """A field of a struct is found by the broker; for anything else the value is decoded here."""
    if key is None:
        return None, None
    if callable(key):
        check_callback("'key'", key)
        find: Callable[[Any], Any] = key
    elif isinstance(key, str):
        if isinstance(codec, StructCodec):
            place = codec.place_of(key)
            if place is not None:
                return {"offset": place[0], "bytes": place[1]}, None
        name = key

        def find(value: Any) -> Any:
            return value[name]

    else:
        raise invalid(f"'key' must be the name of a field or a function, not {key!r}.")

    def hash_of(payload: bytes) -> int:
        try:
            return crc32(key_text(find(codec.decode(payload))).encode("utf-8"))
        except Exception:
            # The member that claims a message without a key gets an error; such a message blocks only others without a key.
            return 0

    def check(value: Any) -> None:
        try:
            found = find(value)
        except Exception as cause:
            raise HermesError("VALIDATION_FAILED", f"its key can't be found: {cause!r}.") from cause
        key_text(found)

    return None, Key_(hash_of, check)


def key_text(found: Any) -> str:
    """Raises HermesError VALIDATION_FAILED for what is no key."""
    if isinstance(found, bool) or not isinstance(found, (str, int)):
        raise HermesError("VALIDATION_FAILED", f"its key has to be a string or an integer, not {found!r}.")
    return str(found)


class JobBase(Generic[T]):
    """A message that this member of a group is to handle. No other member gets it as long as this one is alive."""

    __slots__ = ("_claim", "_group", "is_settled", "lane", "value", "was_returned")

    def __init__(self, group: Any, claim: Claim, value: T) -> None:
        self._group = group
        self._claim = claim
        #: What the topic's codec made of the payload. Yours to keep.
        self.value = value
        #: ``ack``, ``nack`` or ``reject`` was called.
        self.is_settled = False
        #: It comes again.
        self.was_returned = False
        #: Of ``run()``: jobs of one lane are handled in their order.
        self.lane: Hashable = None

    @property
    def sequence(self) -> int:
        """Dense per topic, from 1."""
        return self._claim.sequence

    @property
    def timestamp_ns(self) -> int:
        """Nanoseconds since 1970, by the publisher's clock."""
        return self._claim.timestamp_ns

    @property
    def deliveries(self) -> int:
        """How often the message was delivered, this time included: 2 or more tells of a redelivery. 255 stands for 255 or more."""
        return self._claim.deliveries

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {self.sequence}, delivery {self.deliveries}>"


class Ahead:
    """How many messages to ask for ahead: those that were handled in the last 10 ms, twice as many as before at most."""

    def __init__(self) -> None:
        self.count = 1
        self._since = time.monotonic()
        self._handled = 0

    def note(self, messages: int) -> None:
        self._handled += messages
        took = time.monotonic() - self._since
        if took < _AHEAD and self._handled < 2 * self.count:
            return
        fits = int(self._handled * _AHEAD / max(took, 1e-6))
        self.count = max(1, min(MOST_BATCH, fits, 2 * self.count))
        self._since = time.monotonic()
        self._handled = 0


class GroupSurface(Generic[T]):
    """A member of a group, but for what waits. REQUIRES: the driver's lock is held around what begins with an underscore."""

    _channel: MemberChannel
    _codec: Codec[T]
    _lane_of: Optional[Callable[[bytes], Hashable]]
    _ahead: Ahead
    _check_key: Optional[Callable[[Any], None]]

    @property
    def topic(self) -> str:
        return self._channel.topic

    @property
    def name(self) -> str:
        return self._channel.group

    @property
    def closed(self) -> bool:
        return self._channel.closed

    @property
    def in_flight(self) -> int:
        """How many messages this member holds that are not settled, those included that were sent ahead."""
        return self._channel.held + self._channel.ahead

    def _check_open(self) -> None:
        if self._channel.closed:
            raise HermesError("CLOSED", f"This member of group '{self.name}' has left. Join again with topic.group().")

    def _busy_error(self, other: str) -> HermesError:
        return HermesError("BUSY", f"This member of group '{self.name}' is in use by another {other}. Join once more.")

    def _claims(self, most: int) -> List[Claim]:
        """What is there, up to ``most``; messages that were delivered too often are put aside."""
        channel = self._channel
        claims = channel.take(most, self._ahead.count)
        self._ahead.note(len(claims))
        limit = channel.max_deliveries
        if limit == 0 or all(claim.deliveries <= limit for claim in claims):
            return claims
        kept = []
        for claim in claims:
            if claim.deliveries <= limit:
                kept.append(claim)
            else:
                # This claim only moves it: it was not handed to a handler.
                times = claim.deliveries - 1
                self._bury(claim, f"delivered {times} {'time' if times == 1 else 'times'} without being handled", times)
        return kept

    def _bury(self, claim: Claim, reason: str, delivered: int) -> Any:
        channel = self._channel
        channel.held = max(0, channel.held - 1)
        fields = {
            "sequence": claim.sequence,
            "deliveries": claim.deliveries,
            "number": claim.number,
            "reason": reason[:1000],
            "delivered": delivered,
        }
        return channel.ask("reject", fields, is_once=True)

    def _decoded(self, claims: Sequence[Claim], make: Callable[[Claim, T], Any]) -> "Tuple[List[Any], Optional[HermesError]]":
        """Jobs. One that can't be decoded is returned, as another member may be able to: with its error, behind those before it."""
        jobs = []
        decode = self._codec.decode
        check = self._check_key
        for index, claim in enumerate(claims):
            try:
                value = decode(claim.payload)
                if check is not None:
                    check(value)
                jobs.append(make(claim, value))
            except HermesError as error:
                self._channel.settle([claim], RETURNED, BACK_OFF)
                rest = list(claims[index + 1 :])
                more, _ = self._decoded(rest, make)
                jobs.extend(more)
                told = HermesError(
                    error.code,
                    f"Message {claim.sequence} of topic '{self.topic}': {error.message}",
                    {**error.details, "topic": self.topic, "group": self.name, "sequence": claim.sequence},
                )
                return jobs, told
        return jobs, None

    def _settle(self, jobs: Sequence[JobBase[Any]], outcome: int, delay_ms: int) -> Settling:
        """Raises INVALID_ARGUMENT, CLOSED."""
        if self._channel.left and self._channel.closed:
            raise self._channel.failure.again() if self._channel.failure else HermesError("CLOSED", "This member has left.")
        if not isinstance(jobs, SequenceType) or not all(isinstance(job, JobBase) for job in jobs):
            raise invalid(f"ack() takes a list of this group's jobs, not {described(jobs)}: one job has job.ack().")
        if len({id(job) for job in jobs}) != len(jobs):
            raise invalid("A job stands in the list twice.")
        for job in jobs:
            if job.is_settled:
                raise invalid(f"Message {job.sequence} was settled already: a job is acknowledged, returned or rejected once.")
        for job in jobs:
            job.is_settled = True
            job.was_returned = outcome != DONE
        settling = self._channel.settle([job._claim for job in jobs], outcome, delay_ms)
        if outcome != DONE and self._lane_of is not None:
            # Nothing behind it goes before it.
            self._channel.release_ahead()
        return settling

    def _outcome(self, settling: Settling) -> None:
        """Raises LEASE_LOST, CONNECTION_FAILED, …"""
        if settling.error is not None:
            raise settling.error.again()
        if settling.late:
            raise self._late(settling.late)

    def _late(self, sequences: Sequence[int]) -> HermesError:
        return HermesError(
            "LEASE_LOST",
            f"{len(sequences)} messages of topic '{self.topic}', the first one {sequences[0]}, are no longer with this member of group '{self.name}': "
            "its lease was over, or the group was reset. Another member handles them again.",
            {"topic": self.topic, "group": self.name, "sequences": list(sequences)[:100]},
        )

    def _reject(self, job: JobBase[Any], reason: str) -> Any:
        if not isinstance(reason, str):
            raise invalid("reject() takes a reason: a string.")
        if job.is_settled:
            raise invalid(f"Message {job.sequence} was settled already: a job is acknowledged, returned or rejected once.")
        if job._claim.membership != self._channel.membership:
            raise self._late([job.sequence])
        job.is_settled = True
        return self._bury(job._claim, reason, job._claim.deliveries)

    def _unsettled_error(self, left: int) -> HermesError:
        return HermesError(
            "TIMED_OUT",
            f"{left} messages of topic '{self.topic}' were not settled when the member left group '{self.name}': they come again.",
            {"topic": self.topic, "group": self.name, "unsettled": left},
        )


def delay_ms(delay: Optional[float]) -> int:
    return BACK_OFF if delay is None else check_seconds("delay", delay, 0)


def report_of(answer: Fields) -> Dict[str, Any]:
    report = answer.get("report")
    return report if isinstance(report, dict) else {}
