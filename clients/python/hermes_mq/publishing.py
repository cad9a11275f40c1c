"""A publisher's state. What was accepted is kept, in the form in which it's sent, until the broker has acknowledged it; after a lost
connection it's sent again as it was, and the broker recognises what it has stored already."""

import os
from collections import deque
from typing import Any, Callable, Deque, Dict, List, NamedTuple, Optional, Sequence

from . import packets
from .errors import HermesError, protocol_error
from .link import Link
from .packets import Run
from .send_buffer import Batch, SendBuffer
from .types import Receipt
from .user import User

#: Failures of one publisher whose messages are remembered, for those who wait for them.
_MOST_DROPS = 64

#: Called with the receipt of a message, or with the reason why it is unknown.
Settled = Callable[[Optional[Receipt], Optional[HermesError]], None]


class _Waiter(NamedTuple):
    upto: int
    settled: Settled


class _Drop(NamedTuple):
    """The messages from the one behind ``after`` to ``upto`` were refused, or their outcome is unknown."""

    after: int
    upto: int
    reason: HermesError


class Sync:
    """A wait for stable storage."""

    def __init__(self, number: int, upto: int = 0) -> None:
        self.number = number
        self.upto = upto
        self.done = False
        self.error: Optional[HermesError] = None


class PublisherChannel(User):
    def __init__(self, link: Link, topic: str, settings: Dict[str, Any], durability: str, exclusive: bool) -> None:
        super().__init__()
        self._link = link
        self.topic = topic
        self._settings = settings
        self.durability = durability
        self._exclusive = exclusive
        self.producer = os.urandom(8).hex()
        self.closed = False
        #: The broker has answered a CLOSE, or can't any more.
        self.left = False
        #: How many messages were accepted, and how many of them were acknowledged.
        self.accepted = 0
        self.acknowledged = 0
        self.last_receipt: Optional[Receipt] = None
        self.max_payload_bytes = 0
        self._is_opened = False
        self._open_channel = 0
        self._failure_stays = False
        self._dropped = 0
        self._drops: Deque[_Drop] = deque(maxlen=_MOST_DROPS)
        self._buffer = SendBuffer(link.settings.publish_buffer, link.settings.clock_ns, self._sealed)
        self._sent = 0
        #: The highest number that any connection was given.
        self._sent_number = 0
        self._acked_number = 0
        self._waiters: Deque[_Waiter] = deque()
        self._syncs: List[Sync] = []
        #: So many of the first messages are on stable storage for certain.
        self._safe = 0
        #: The outcome of others is not known, and the caller was not told yet: a sync has failed at the broker.
        self._doubt: Optional[HermesError] = None

    @property
    def opened(self) -> bool:
        return self._is_opened

    @property
    def idle(self) -> bool:
        return self.acknowledged >= self._sent and not self._syncs

    # ---- what callers do ----

    def check(self) -> None:
        """Raises why nothing can be published: CLOSED, DISK_FULL (once: the next attempt may succeed), …"""
        failure = self.failure
        if failure is not None:
            if not self._failure_stays:
                self.failure = None
                self._link.renew(self)
            raise failure.again()
        if self.closed:
            raise self.closed_error()

    def closed_error(self) -> HermesError:
        return HermesError("CLOSED", f"The publisher of '{self.topic}' is closed. Make a new one with topic.publisher().")

    def check_size(self, payload: bytes) -> None:
        if len(payload) > self.max_payload_bytes:
            raise HermesError(
                "PAYLOAD_TOO_LARGE",
                f"A payload of {len(payload)} bytes is larger than the {self.max_payload_bytes} that topic '{self.topic}' takes.",
                {"topic": self.topic, "bytes": len(payload), "maxPayloadBytes": self.max_payload_bytes},
            )

    @property
    def pending(self) -> int:
        """How many messages were accepted, and neither acknowledged nor given up."""
        return self.accepted - max(self.acknowledged, self._dropped)

    def given_up(self, why: str) -> HermesError:
        """What a close says that has not waited for everything."""
        return HermesError(
            "TIMED_OUT",
            f"The publisher of '{self.topic}' was closed with {self.pending} messages that are not acknowledged: {why}. "
            "They may be in the topic or not; close(timeout=...) says how long to wait.",
            {"topic": self.topic, "unacknowledged": self.pending},
        )

    def too_late(self) -> HermesError:
        """What a flush says that has waited as long as it may."""
        return HermesError(
            "TIMED_OUT",
            f"flush() of the publisher of '{self.topic}' has waited as long as it may; {self.pending} messages are not acknowledged. "
            "They may still be: what was published stays published.",
            {"topic": self.topic, "unacknowledged": self.pending},
        )

    @property
    def has_room(self) -> bool:
        """Whether ``append`` may be called. It may go beyond the bound by what one call appends."""
        return self._buffer.has_room

    def append(self, payloads: Sequence[bytes]) -> None:
        """Accepts them. REQUIRES: ``check``, ``check_size``, ``has_room``."""
        self._buffer.append(payloads)
        self.accepted += len(payloads)
        if self._buffer.is_full:
            self._buffer.seal()
        elif self.channel:
            self._link.wants_flush(self)

    def when_settled(self, settled: Settled) -> None:
        """Calls back once the newest message has reached the publisher's durability."""
        self._waiters.append(_Waiter(self.accepted, settled))

    def reached(self, upto: int) -> bool:
        """Whether the first ``upto`` messages have reached the publisher's durability. Raises why they won't."""
        for drop in self._drops:
            if drop.after < upto <= drop.upto:
                raise drop.reason.again()
        if self.acknowledged >= upto:
            return True
        if self.closed:
            raise HermesError("CLOSED", f"The publisher of '{self.topic}' was closed during the wait.")
        return False

    def sync(self) -> Sync:
        """Asks for everything acknowledged so far to be put on stable storage."""
        if self.failure is not None:
            raise self.failure.again()
        if self._doubt is not None:
            doubt, self._doubt = self._doubt, None
            raise doubt.again()
        sync = Sync(self._acked_number, self.acknowledged)
        if self.durability == "synced" or self._acked_number == 0:
            sync.done = True
            return sync
        self._syncs.append(sync)
        if self.channel and self._link.ready:
            self._link.send(packets.u64_packet(packets.SYNC, self.channel, sync.number))
        return sync

    def leave(self) -> None:
        """Gives the place back: ``left`` once it's done."""
        self.closed = True
        if self.channel and self._link.ready and self.failure is None:
            # The broker must have freed the slot before the program learns that this one is closed.
            self._link.send(packets.packet(packets.CLOSE, self.channel))
        else:
            self.left = True

    def dismiss(self) -> None:
        """The end, whether the broker has answered or not."""
        self.closed = True
        self.left = True
        self.channel = 0
        self._link.remove(self)
        self._settle_all(HermesError("CLOSED", f"The publisher of '{self.topic}' was closed during the wait."))
        self.changed()

    # ---- what the link tells ----

    def connected(self, channel: int) -> None:
        self._open_channel = channel
        self.channel = 0 if self._is_opened else channel
        self._link.send(
            packets.json_packet(
                packets.OPEN_PUBLISHER,
                channel,
                {
                    "topic": self.topic,
                    "settings": self._settings,
                    "exclusive": self._exclusive,
                    "durability": self.durability,
                    "producer": self.producer,
                    "acked": str(self._acked_number),
                },
            )
        )

    def disconnected(self) -> None:
        self.channel = 0
        self._open_channel = 0
        self._sent = 0
        if self.closed:
            # The broker gives the place away by itself once it notices.
            self.left = True
            self.changed()

    def interrupted(self, reason: HermesError) -> None:
        # What was acknowledged as written and not synced may be lost: a later sync must not be taken for one of that.
        if self.durability == "written" and self.acknowledged > self._safe:
            if not self._syncs:
                self._doubt = reason
            for sync in self._syncs:
                sync.error = reason
                sync.done = True
            self._syncs = []
            self._safe = self.acknowledged
        self.disconnected()
        self.changed()

    def failed(self, error: HermesError) -> None:
        self.channel = 0
        self._open_channel = 0
        self.failure = error
        # Messages that did not fit may fit later; anything else will not get better by itself.
        self._failure_stays = error.code != "DISK_FULL" or not self._is_opened or self.closed
        self._drops.append(_Drop(max(self.acknowledged, self._dropped), self.accepted, error))
        self._dropped = self.accepted
        self._buffer.drop()
        self._sent = 0
        self.left = self.left or self.closed
        self._settle_all(error)
        self.changed()

    def packet(self, kind: int, body: bytes) -> None:
        if kind == packets.ACK:
            for run in packets.read_ack(body):
                self._acknowledge(run)
            if self._buffer.is_filling:
                self._link.wants_flush(self)
        elif kind == packets.PUBLISHER_OPENED:
            self._reopened(packets.parse_json(body))
        elif kind == packets.SYNCED:
            number = packets.read_u64(body)
            for sync in self._syncs:
                sync.done = sync.done or sync.number <= number
                if sync.done:
                    self._safe = max(self._safe, sync.upto)
            self._syncs = [sync for sync in self._syncs if not sync.done]
        elif kind == packets.CLOSED and self.closed:
            self.left = True
        else:
            raise protocol_error(f"A packet of type {kind} came for a publisher.")
        self.changed()

    def flush(self) -> None:
        if self._buffer.may_seal and self.channel and self._is_opened:
            self._buffer.seal()

    # ---- within ----

    def _reopened(self, fields: packets.Fields) -> None:
        stored = packets.decimal_field(fields, "stored")
        runs = packets.runs_field(fields, "runs")
        max_payload = packets.integer_field(fields, "maxPayloadBytes", 1, 2**30)
        max_batch = packets.integer_field(fields, "maxBatchBytes", 40, 2**30)
        if max_payload > self._link.max_packet:
            raise protocol_error("The broker has a topic with messages that are larger than its packets.")
        if self._is_opened and self.channel:
            raise protocol_error("The broker has opened a publisher twice.")
        if stored > self._sent_number:
            raise protocol_error("The broker has stored what it was never sent.")
        if not self._is_opened:
            self._is_opened = True
            self.max_payload_bytes = max_payload
            self._buffer.limit(max_batch, max_payload)
            self._link.topic_made(self.topic)
        if stored < self._acked_number:
            lost = HermesError(
                "IO_FAILED",
                f"The broker has lost messages of '{self.topic}' that were written but not synced: its machine went down.",
            )
            for sync in self._syncs:
                sync.error = lost
                sync.done = True
            self._syncs = []
        self.channel = self._open_channel
        for run in runs:
            self._acknowledge(run)
        # Stored, and the broker can't tell any more where.
        batches = self._buffer.batches
        while batches and batches[0].last <= stored:
            head = batches[0]
            self._acknowledge(Run(head.first, head.messages, 0))
        for batch in batches:
            self._transmit(batch)
        for sync in self._syncs:
            self._link.send(packets.u64_packet(packets.SYNC, self.channel, sync.number))
        if self._buffer.is_filling:
            self._link.wants_flush(self)

    def _sealed(self, batch: Batch) -> None:
        if self.channel and self._is_opened and self._link.ready:
            self._transmit(batch)

    def _transmit(self, batch: Batch) -> None:
        head = packets.publish_head(self._acked_number, batch.messages)
        size = len(batch.frames)
        stream = self._link.deflate(batch.frames)
        if stream is None:
            self._link.send(packets.publish_start(self.channel, head, size), batch.frames)
        else:
            self._link.send(packets.compressed_packet(packets.PUBLISH, self.channel, head, size, stream))
        self._sent = batch.before + batch.messages
        self._sent_number = max(self._sent_number, batch.last)

    def _acknowledge(self, run: Run) -> None:
        """Everything up to the run's end is stored."""
        last = run.first + run.messages - 1
        if last > self._sent_number:
            raise protocol_error("The broker acknowledged what it was never sent.")
        batches = self._buffer.batches
        while batches and batches[0].last <= last:
            batch = self._buffer.take()
            self.acknowledged = batch.before + batch.messages
            self._acked_number = batch.last
            known = run.sequence > 0 and batch.first >= run.first
            sequence = run.sequence + batch.first - run.first if known else 0
            self.last_receipt = Receipt(sequence + batch.messages - 1 if known else 0, batch.last)
            while self._waiters and self._waiters[0].upto <= self.acknowledged:
                upto, settled = self._waiters.popleft()
                index = upto - batch.before - 1
                receipt = Receipt(sequence + index if known else 0, batch.first + index)
                self._later(settled, receipt, None)

    def _settle_all(self, error: HermesError) -> None:
        waiters = self._waiters
        self._waiters = deque()
        for waiter in waiters:
            self._later(waiter.settled, None, error.again())
        for sync in self._syncs:
            sync.error = error
            sync.done = True
        self._syncs = []

    def _later(self, settled: Settled, receipt: Optional[Receipt], error: Optional[HermesError]) -> None:
        self._link.calls.append(lambda: settled(receipt, error))
