"""The state of a member of a group (``MemberChannel``): what it was sent, what it has handed out, and what it has settled.

It belongs to the connection; docs/wire-protocol.md specifies what it says there. REQUIRES: the driver's lock is held around every call.
"""

import secrets
from collections import deque
from struct import Struct
from struct import error as StructError
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Set, Tuple
from zlib import crc32

from . import frames, packets
from .errors import HermesError, protocol_error
from .link import Link, User, parse_error

#: A member shows that it lives so often while its lease lasts.
_BEATS = 4
#: Messages and entries of one SETTLE, at most.
_MOST_SETTLED = 16_384
_MOST_ENTRIES = 2048

_HEAD = Struct("<IIIIQQ")
_DEMAND = Struct("<QQII")
_SETTLE_HEAD = Struct("<QQ")
_SETTLE_ENTRY = Struct("<QIIIIII")
_PAIR = Struct("<QQ")
_U64 = Struct("<Q")

DONE = 0
RETURNED = 1
RELEASED = 2
#: A delay that stands for the group's back-off.
BACK_OFF = 0xFFFF_FFFF


class Claim(NamedTuple):
    """One message that was claimed. ``number`` is that of the claim, ``membership`` which one of this member's it was."""

    sequence: int
    timestamp_ns: int
    payload: bytes
    deliveries: int
    number: int
    membership: int


class Settling:
    """What a call has settled: ``done`` once the broker has answered, or never will."""

    __slots__ = ("done", "late", "error")

    def __init__(self) -> None:
        self.done = False
        #: Sequences that were settled too late.
        self.late: List[int] = []
        self.error: Optional[HermesError] = None


class _Batch:
    """One SETTLE."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: first sequence, count, deliveries, claim number, outcome, delay
        self.entries: List[List[int]] = []
        self.messages = 0
        self.is_sent = False
        self.parts: List[Tuple[Settling, List[int]]] = []


class Question:
    """An ASK, and its answer."""

    def __init__(self, op: str, fields: Dict[str, Any], is_once: bool) -> None:
        self.op = op
        self.fields = fields
        #: It has an effect, and may not be asked anew of another membership.
        self.is_once = is_once
        self.answer: Optional[packets.Fields] = None
        self.error: Optional[HermesError] = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class Questions:
    """What a member asks its broker for, and has no answer to yet."""

    def __init__(self) -> None:
        self._waiting: Dict[int, Question] = {}
        self._next = 1

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def add(self, question: Question) -> packets.Fields:
        """Returns the ASK."""
        self._waiting[self._next] = question
        self._next += 1
        return self._content(self._next - 1)

    def _content(self, id_: int) -> packets.Fields:
        question = self._waiting[id_]
        return {"id": id_, "done": next(iter(self._waiting)) - 1, "op": question.op, **question.fields}

    def answered(self, content: packets.Fields) -> None:
        question = self._waiting.pop(packets.integer_field(content, "id", 1), None)
        if question is None:
            return
        error = content.get("error")
        if error is None:
            question.answer = content
        elif isinstance(error, dict):
            question.error = parse_error(error)
        else:
            raise protocol_error("The broker sent an error that is none.")

    def again(self) -> List[packets.Fields]:
        return [self._content(id_) for id_ in self._waiting]

    def anew(self, error: HermesError) -> None:
        """Another membership."""
        waiting = list(self._waiting.values())
        self._waiting.clear()
        self._next = 1
        for question in waiting:
            if question.is_once:
                question.error = error
            else:
                self._waiting[self._next] = question
                self._next += 1

    def fail(self, error: HermesError) -> None:
        for question in self._waiting.values():
            question.error = error
        self._waiting.clear()


class MemberChannel(User):
    """A member of a group, behind a broker. What it has handed out is its own until it settles it, also over a lost connection, if it's back in time."""

    def __init__(self, link: Link, topic: str, group: str, join: Dict[str, Any], max_in_flight: int, key: Optional[Callable[[bytes], int]]) -> None:
        super().__init__()
        self._link = link
        self.topic = topic
        self.group = group
        self._join = join
        self._max_in_flight = max_in_flight
        self._key = key
        self._token = secrets.token_hex(16)
        self.closed = False
        #: CLOSED has come, or no answer will.
        self.left = False
        self.max_deliveries = 5
        #: Which membership it is, from 0 on.
        self.membership = 0
        self._is_joined = False
        self._has_joined = False
        self._is_opened = False
        self._lease = 30.0
        self._grace = 0.0
        self._lost_at: Optional[float] = None
        self._arrived: Deque[Claim] = deque()
        self._unkeyed: Optional[bytes] = None
        self._errors: Deque[HermesError] = deque()
        self._taken = 0
        self._received = 0
        self._limit = 0
        self._epoch = 0
        self.held = 0
        self._batches: Deque[_Batch] = deque()
        self._open: Optional[_Batch] = None
        self._next = 1
        self._answered = 0
        self._questions = Questions()

    @property
    def opened(self) -> bool:
        return self._is_opened

    @property
    def idle(self) -> bool:
        return not self._batches and self._open is None and self._questions.is_empty

    @property
    def ahead(self) -> int:
        return len(self._arrived)

    # ---- what members do ----

    @property
    def has_news(self) -> bool:
        # (what was asked for ahead may have been given back meanwhile, or be lost with a connection)
        asks = self._is_joined and self._limit == self._taken and self.held < self._max_in_flight
        return bool(asks or self._arrived or self._errors or self._unkeyed is not None or self.failure is not None or self.closed)

    def take(self, most: int, ahead: int) -> List[Claim]:
        """What is there, up to ``most`` messages. Asks for more, by what ``ahead`` says. Raises what the member is to be told."""
        if self._errors:
            raise self._errors.popleft()
        if self.failure is not None:
            raise self.failure.again()
        if self._unkeyed is not None:
            self._find_keys(self._unkeyed)
        arrived = self._arrived
        room = self._max_in_flight - self.held
        taken = [arrived.popleft() for _ in range(min(most, len(arrived), max(0, room)))]
        self._taken += len(taken)
        self.held += len(taken)
        window = min(2 * max(most, ahead), self._max_in_flight - self.held)
        if window > 0 and self._limit - self._taken <= window // 2:
            self._limit = self._taken + window
            self.beat()
        return taken

    def beat(self) -> None:
        """Tells how far it is; shows that it lives."""
        if self._is_joined:
            self.due = self._link.now + self._lease / _BEATS
            self._link.send(packets.packet(packets.DEMAND, self.channel, _DEMAND.pack(self._taken, self._limit, self._epoch, 0)))

    def release_ahead(self) -> None:
        """What was not handed out goes to whoever comes next: it does not count as delivered."""
        if self._limit == self._taken:
            return
        # What was settled before comes before.
        self.flush()
        self._drop_arrived()
        self._epoch += 1
        self.beat()

    def settle(self, claims: "List[Claim]", outcome: int, delay_ms: int) -> Settling:
        settling = Settling()
        if self.failure is not None:
            settling.error = self.failure.again()
            settling.done = True
            return settling
        own = [claim for claim in claims if claim.membership == self.membership]
        settling.late = [claim.sequence for claim in claims if claim.membership != self.membership]
        self.held = max(0, self.held - len(own))
        if not own:
            settling.done = True
            return settling
        at = 0
        while at < len(own):
            batch = self._batch()
            room = _MOST_SETTLED - batch.messages
            some = own[at : at + room]
            taken = self._put(batch, some, outcome, delay_ms)
            batch.parts.append((settling, [claim.sequence for claim in some[:taken]]))
            at += taken
        # (``done`` with the last of them: answers come in order)
        self._link.wants_flush(self)
        return settling

    def _batch(self) -> _Batch:
        if self._open is not None and (self._open.messages >= _MOST_SETTLED or len(self._open.entries) >= _MOST_ENTRIES):
            self._close_batch()
        if self._open is None:
            self._open = _Batch(self._next)
            self._next += 1
        return self._open

    @staticmethod
    def _put(batch: _Batch, claims: "List[Claim]", outcome: int, delay_ms: int) -> int:
        """Consecutive messages of one claim are one entry."""
        entries = batch.entries
        taken = 0
        for claim in claims:
            last = entries[-1] if entries else None
            tail = [claim.deliveries, claim.number, outcome, delay_ms]
            if last is not None and last[0] + last[1] == claim.sequence and last[2:] == tail:
                last[1] += 1
            elif len(entries) >= _MOST_ENTRIES:
                break
            else:
                entries.append([claim.sequence, 1, *tail])
            taken += 1
        batch.messages += taken
        return taken

    def _close_batch(self) -> None:
        if self._open is not None:
            self._batches.append(self._open)
            self._open = None

    def ask(self, op: str, fields: Dict[str, Any], is_once: bool = False) -> Question:
        question = Question(op, fields, is_once)
        if self.failure is not None:
            question.error = self.failure.again()
            return question
        self.flush()
        self._send_ask(self._questions.add(question))
        return question

    def _send_ask(self, content: packets.Fields) -> None:
        if self._is_joined:
            self._link.send(packets.json_packet(packets.ASK, self.channel, content))

    def leave(self) -> None:
        """Begins to leave the group; ``left`` says when that is done."""
        if self.closed:
            return
        self.release_ahead()
        self.flush()
        self.closed = True
        self.left = not self._is_joined
        if self._is_joined:
            self._link.send(packets.packet(packets.CLOSE, self.channel))
        self.changed()

    def dismiss(self) -> None:
        """It has left, or nobody waits for that any more."""
        self._fail(HermesError("CLOSED", f"This member of group '{self.group}' has left. Join again with topic.group()."))
        self._link.remove(self)

    def _find_keys(self, body: bytes) -> None:
        if self._key is None:
            raise protocol_error("The broker asks for keys that it should find itself.")
        key = self._key
        hashes = [key(payload) for _, _, payload in _messages(body)]
        self._unkeyed = None
        if self._is_joined:
            self._link.send(packets.packet(packets.KEYS, self.channel, Struct(f"<{len(hashes)}I").pack(*hashes)))

    def _drop_arrived(self) -> None:
        self._arrived.clear()
        self._unkeyed = None
        self._received = self._taken
        self._limit = self._taken

    # ---- what the link tells ----

    def connected(self, channel: int) -> None:
        if not self._link.has_groups:
            self.failed(self._link.no_groups())
            return
        self.channel = channel
        self._is_joined = False
        self._epoch = 0
        self._drop_arrived()
        join = {
            **self._join,
            "token": self._token,
            "taken": self._taken,
            "limit": self._limit,
            "settled": self._answered,
        }
        if self._link.settings.reconnect_min is None:
            join["graceMs"] = 0
        self._link.send(packets.json_packet(packets.JOIN, channel, join))

    def _joined(self, fields: packets.Fields) -> None:
        rules = packets.object_field(fields, "rules")
        self.max_deliveries = packets.integer_field(rules, "maxDeliveries", 0, 254)
        self._lease = packets.integer_field(rules, "leaseMs", 100, 86_400_000) / 1000
        self._grace = min(packets.integer_field(fields, "graceMs", 0, 3_600_000) / 1000, self._lease)
        if packets.integer_field(fields, "maxPayloadBytes", 1, 2**30) > self._link.max_packet:
            raise protocol_error("The broker has a topic with messages that are larger than its packets.")
        self._is_joined = True
        self._lost_at = None
        if fields.get("resumed") is True:
            self._settled_up_to(packets.integer_field(fields, "settled", 0), _pairs(fields.get("lost")))
            for batch in self._batches:
                batch.is_sent = False
        else:
            if self._has_joined:
                self._membership_over(self._uncertain())
            self._taken = 0
            self._received = 0
            self._limit = 0
        for content in self._questions.again():
            self._send_ask(content)
        self._has_joined = True
        self._is_opened = True
        self.beat()
        self.flush()
        self.changed()

    def disconnected(self) -> None:
        self._gone()
        if self._has_joined and self._lost_at is None:
            self._lost_at = self._link.now
            self.due = self._link.now + self._grace

    def interrupted(self, reason: HermesError) -> None:
        if reason.code != "LEASE_LOST":
            self.disconnected()
            return
        # The broker has given up what this member held, and ignores what it had not carried out by then.
        self._gone()
        self._membership_over(None)
        self._has_joined = False
        self.changed()

    def _gone(self) -> None:
        self.channel = 0
        self._is_joined = False
        self.due = float("inf")
        if self.closed:
            self.left = True
            self.changed()

    def tick(self, now: float) -> None:
        if self._is_joined:
            self.beat()
            # (the link's time may be that of long ago)
            self.due = now + self._lease / _BEATS
            return
        self.due = float("inf")
        if self._lost_at is not None and now - self._lost_at >= self._grace:
            # There was no connection for so long that others have by now what this member held.
            self._lost_at = None
            self._membership_over(self._uncertain())
            self._has_joined = False
            self._token = secrets.token_hex(16)
            self.changed()

    def _membership_over(self, uncertain: Optional[HermesError]) -> None:
        """``uncertain``: what was sent may have been carried out; None: it was not."""
        self.membership += 1
        self._close_batch()
        for batch in self._batches:
            for settling, sequences in batch.parts:
                if batch.is_sent and uncertain is not None:
                    settling.error = uncertain
                else:
                    settling.late.extend(sequences)
                settling.done = True
        self._batches.clear()
        self._next = 1
        self._answered = 0
        self._questions.anew(self._uncertain())
        self._taken = 0
        self.held = 0
        self._lost_at = None
        self._drop_arrived()

    def _uncertain(self) -> HermesError:
        return HermesError(
            "CONNECTION_FAILED",
            f"The connection was lost, and was not there again before the grace of this member of group '{self.group}' was over: whether what it settled "
            "last is settled is not known. If not, another member has it.",
            {"topic": self.topic, "group": self.group},
        )

    def failed(self, error: HermesError) -> None:
        self._gone()
        self._fail(error)

    def _fail(self, error: HermesError) -> None:
        self.channel = 0
        self._is_joined = False
        self.due = float("inf")
        if self.failure is None:
            self.failure = error
        self._close_batch()
        for batch in self._batches:
            for settling, _ in batch.parts:
                settling.error = error
                settling.done = True
        self._batches.clear()
        self._questions.fail(error)
        self.left = True
        self.changed()

    def flush(self) -> None:
        if not self._is_joined:
            return
        self._close_batch()
        for batch in self._batches:
            if batch.is_sent:
                continue
            batch.is_sent = True
            body = [_SETTLE_HEAD.pack(batch.number, self._answered)]
            body.extend(_SETTLE_ENTRY.pack(*entry, 0) for entry in batch.entries)
            self._link.send(packets.packet(packets.SETTLE, self.channel, b"".join(body)))

    def packet(self, kind: int, body: bytes) -> None:
        if kind == packets.MESSAGES:
            self._messages(body)
        elif kind == packets.SETTLED:
            if (len(body) - 8) % 16 != 0:
                raise protocol_error("A SETTLED holds half an entry.")
            self._settled_up_to(packets.read_sequence(body), list(_PAIR.iter_unpack(body[8:])))
            self.changed()
        elif kind == packets.JOINED:
            self._joined(packets.parse_json(body))
        elif kind == packets.ANSWER:
            self._answer(packets.parse_json(body))
            self.changed()
        elif kind == packets.UNKEYED:
            self._unkeyed = body
            self.changed()
        elif kind == packets.CLOSED:
            self.left = True
            self.changed()
        else:
            raise protocol_error(f"A packet of type {kind} came for a member of a group.")

    def _messages(self, body: bytes) -> None:
        epoch, count, deliveries, number, ordinal, _ = _HEAD.unpack_from(body)
        if epoch != self._epoch or self.closed:
            return
        if ordinal != self._received + 1 or self._received + count > self._limit:
            raise protocol_error(f"The broker sent message {ordinal} of a member, where {self._received + 1} was due.")
        messages = _messages(body)
        if len(messages) != count:
            raise protocol_error("The broker sent a wrong count of messages.")
        membership = self.membership
        self._arrived.extend(
            Claim(sequence, timestamp, payload, deliveries, number, membership) for sequence, timestamp, payload in messages
        )
        self._received += count
        self.changed()

    def _settled_up_to(self, number: int, late: List[Tuple[int, int]]) -> None:
        if number < self._answered or number >= self._next:
            raise protocol_error("The broker has settled what it was not asked to.")
        self._answered = number
        batches = self._batches
        while batches and batches[0].number <= number:
            batch = batches.popleft()
            own: Set[int] = {sequence for settle, sequence in late if settle == batch.number}
            for settling, sequences in batch.parts:
                if own:
                    settling.late.extend(one for one in sequences if one in own)
                settling.done = True

    def _answer(self, content: packets.Fields) -> None:
        if packets.integer_field(content, "id", 0) > 0:
            self._questions.answered(content)
        elif not self._errors:
            self._errors.append(parse_error(packets.object_field(content, "error")))


def _pairs(value: Any) -> List[Tuple[int, int]]:
    if not isinstance(value, list) or not all(
        isinstance(one, list) and len(one) == 2 and all(type(part) is int and part >= 1 for part in one) for one in value
    ):
        raise protocol_error("The field 'lost' should be a list of pairs.")
    return [(one[0], one[1]) for one in value]


def _messages(body: bytes) -> List[Tuple[int, int, bytes]]:
    """Sequence, time and payload of each frame of a MESSAGES or UNKEYED. What is wrong with one was damaged on the way."""
    found: List[Tuple[int, int, bytes]] = []
    size = len(body)
    at = packets.DELIVER_HEAD_BYTES
    unpack = frames.HEADER.unpack_from
    while at < size:
        try:
            magic, version, kind, _, sequence, timestamp, length, crc = unpack(body, at)
        except StructError as cause:
            raise protocol_error("The broker sent messages that are damaged.") from cause
        start = at + frames.HEADER_BYTES
        payload = body[start : start + length]
        if (
            magic != frames.MAGIC
            or version != 1
            or kind != frames.DATA
            or len(payload) != length
            or crc32(payload, crc32(body[at + 4 : at + 28])) != crc
        ):
            raise protocol_error("The broker sent messages that are damaged.")
        found.append((sequence, timestamp, payload))
        at = start + length + (-length & 7)
    return found


class PositionChannel(User):
    """The position of a durable subscription, behind a broker."""

    def __init__(self, link: Link, topic: str, name: str, join: Dict[str, Any]) -> None:
        super().__init__()
        self._link = link
        self.topic = topic
        self.name = name
        self._join = join
        self._token = secrets.token_hex(16)
        self.committed = 1
        self._commits: Deque[int] = deque()
        self._questions = Questions()
        self._is_joined = False
        self._has_joined = False
        self._lease = 30.0
        self.closed = False
        self.left = False

    @property
    def opened(self) -> bool:
        return self._has_joined

    @property
    def idle(self) -> bool:
        return not self._commits and self._questions.is_empty

    def commit(self, sequence: int) -> None:
        """Everything before it is done. Raises why it can't be committed; ``reached`` says when it is."""
        if self.failure is not None:
            raise self.failure.again()
        if self._commits and self._commits[-1] == sequence:
            return
        self._commits.append(sequence)
        self._send_commit(sequence)

    def reached(self, sequence: int) -> bool:
        """Whether the broker has answered for this commit. Raises why it will not."""
        if self.failure is not None:
            raise self.failure.again()
        return sequence not in self._commits

    def _send_commit(self, sequence: int) -> None:
        if self._is_joined:
            self._link.send(packets.u64_packet(packets.COMMIT, self.channel, sequence))

    def ask(self, op: str, fields: Dict[str, Any]) -> Question:
        question = Question(op, fields, False)
        if self.failure is not None:
            question.error = self.failure.again()
            return question
        content = self._questions.add(question)
        if self._is_joined:
            self._link.send(packets.json_packet(packets.ASK, self.channel, content))
        return question

    def leave(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.left = not self._is_joined
        if self._is_joined:
            self._link.send(packets.packet(packets.CLOSE, self.channel))
        self.changed()

    def dismiss(self) -> None:
        self.failed(HermesError("CLOSED", f"The subscription '{self.name}' of topic '{self.topic}' is closed."))
        self._link.remove(self)

    def connected(self, channel: int) -> None:
        if not self._link.has_groups:
            self.failed(self._link.no_groups())
            return
        self.channel = channel
        self._is_joined = False
        join = {**self._join, "token": self._token, "taken": 0, "limit": 0, "settled": 0}
        if self._link.settings.reconnect_min is None:
            join["graceMs"] = 0
        self._link.send(packets.json_packet(packets.JOIN, channel, join))

    def disconnected(self) -> None:
        self.channel = 0
        self._is_joined = False
        self.due = float("inf")
        if self.closed:
            self.left = True
            self.changed()

    def failed(self, error: HermesError) -> None:
        if self._has_joined and error.code == "EXCLUSIVE_HELD":
            error = self._overtaken()
        self.disconnected()
        if self.failure is None:
            self.failure = error
        self._commits.clear()
        self._questions.fail(error)
        self.left = True
        self.changed()

    def _overtaken(self) -> HermesError:
        return HermesError(
            "LEASE_LOST",
            f"Another subscriber has taken the durable subscription '{self.name}' of topic '{self.topic}' over: this one was not heard of for too long. "
            "Open it again.",
            {"topic": self.topic, "name": self.name},
        )

    def tick(self, now: float) -> None:
        if self._is_joined:
            self.due = now + self._lease / _BEATS
            self._link.send(packets.packet(packets.DEMAND, self.channel, _DEMAND.pack(0, 0, 0, 0)))

    def packet(self, kind: int, body: bytes) -> None:
        if kind == packets.JOINED:
            self._joined(packets.parse_json(body))
        elif kind == packets.COMMITTED:
            self._committed(packets.read_sequence(body))
        elif kind == packets.ANSWER:
            content = packets.parse_json(body)
            if packets.integer_field(content, "id", 0) > 0:
                self._questions.answered(content)
        elif kind == packets.CLOSED:
            self.left = True
        else:
            raise protocol_error(f"A packet of type {kind} came for a durable subscription.")
        self.changed()

    def _joined(self, fields: packets.Fields) -> None:
        committed = packets.integer_field(fields, "committed", 1)
        rules = packets.object_field(fields, "rules")
        self._lease = packets.integer_field(rules, "leaseMs", 100, 86_400_000) / 1000
        resumed = fields.get("resumed") is True
        if self._has_joined and not resumed and committed != self.committed and committed not in self._commits:
            # Somebody else had it meanwhile, and has got on.
            self._link.send(packets.packet(packets.CLOSE, self.channel))
            self.failed(self._overtaken())
            self._link.remove(self)
            return
        if not resumed:
            self._questions.anew(self._overtaken())
        self._has_joined = True
        self._is_joined = True
        self.committed = committed
        self.tick(self._link.now)
        for sequence in self._commits:
            self._send_commit(sequence)
        for content in self._questions.again():
            self._link.send(packets.json_packet(packets.ASK, self.channel, content))

    def _committed(self, sequence: int) -> None:
        if sequence not in self._commits:
            raise protocol_error("The broker has committed what it was not asked to.")
        self.committed = sequence
        while self._commits.popleft() != sequence:
            pass
