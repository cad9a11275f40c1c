"""The state of a member of a group (``MemberChannel``): what it was sent, what it has handed out, and what it has settled.

It belongs to the connection; docs/wire-protocol.md specifies what it says there. REQUIRES: the driver's lock is held around every call.
"""

import secrets
from collections import deque
from struct import Struct
from typing import Any, Callable, Deque, Dict, List, Optional

from . import packets
from .claims import Claim, read_messages
from .errors import HermesError, protocol_error
from .link import Link
from .membership import BEATS, MembershipChannel
from .questions import Question
from .settlements import Settlements, Settling
from .user import NEVER

_HEAD = Struct("<IIIIQQ")


class MemberChannel(MembershipChannel):
    """A member of a group, behind a broker. What it has handed out is its own until it settles it, also over a lost connection, if it's back in time."""

    def __init__(self, link: Link, topic: str, group: str, join: Dict[str, Any], max_in_flight: int, key: Optional[Callable[[bytes], int]]) -> None:
        super().__init__(link, topic, join)
        self.group = group
        self._max_in_flight = max_in_flight
        self._key = key
        self.max_deliveries = 5
        #: Which membership it is, from 0 on.
        self.membership = 0
        self._is_opened = False
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
        self._settlements = Settlements()

    @property
    def opened(self) -> bool:
        return self._is_opened

    @property
    def idle(self) -> bool:
        return self._settlements.is_empty and self._questions.is_empty

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
            self.due = self._link.now + self._lease / BEATS
            self._send_demand(self._taken, self._limit, self._epoch)

    def release_ahead(self) -> None:
        """Messages that were not handed out go to the next member: they do not count as delivered."""
        if self._limit == self._taken:
            return
        # What was settled before comes before.
        self.flush()
        # (Keys that the broker has asked for stay due: it claims nothing for this member until it has them.)
        unkeyed = self._unkeyed
        self._drop_arrived()
        self._unkeyed = unkeyed
        self._epoch += 1
        self.beat()

    def settle(self, claims: List[Claim], outcome: int, delay_ms: int) -> Settling:
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
        self._settlements.add(own, outcome, delay_ms, settling)
        self._link.wants_flush(self)
        return settling

    def ask(self, op: str, fields: Dict[str, Any], is_once: bool = False) -> Question:
        if self.failure is None:
            self.flush()
        return self._ask(Question(op, fields, is_once))

    def leave(self) -> None:
        """Begins to leave the group; ``left`` says when that is done."""
        if self.closed:
            return
        self.release_ahead()
        self.flush()
        self._leave()

    def dismiss(self) -> None:
        """It has left, or no call waits for that any more."""
        self._fail(HermesError("CLOSED", f"This member of group '{self.group}' has left. Join again with topic.group()."))
        self._link.remove(self)

    def _find_keys(self, body: bytes) -> None:
        if self._key is None:
            raise protocol_error("The broker asks for keys that it should find itself.")
        key = self._key
        hashes = [key(payload) for _, _, payload in read_messages(body)]
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
        self._epoch = 0
        self._drop_arrived()
        self._send_join(channel, self._taken, self._limit, self._settlements.answered)

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
            self._settlements.resumed(fields)
        else:
            if self._has_joined:
                self._membership_over(self._uncertain())
            self._taken = 0
            self._received = 0
            self._limit = 0
        self._ask_again()
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

    def tick(self, now: float) -> None:
        if self._is_joined:
            self.beat()
            # (the link's time may be that of long ago)
            self.due = now + self._lease / BEATS
            return
        self.due = NEVER
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
        self._settlements.over(uncertain)
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
        self.due = NEVER
        if self.failure is None:
            self.failure = error
        self._settlements.fail(error)
        self._questions.fail(error)
        self.left = True
        self.changed()

    def flush(self) -> None:
        if not self._is_joined:
            return
        for packet in self._settlements.take_packets(self.channel):
            self._link.send(packet)

    def packet(self, kind: int, body: bytes) -> None:
        if kind == packets.MESSAGES:
            self._messages(body)
        elif kind == packets.SETTLED:
            self._settlements.settled(body)
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
        messages = read_messages(body)
        if len(messages) != count:
            raise protocol_error("The broker sent a wrong count of messages.")
        membership = self.membership
        self._arrived.extend(
            Claim(sequence, timestamp, payload, deliveries, number, membership) for sequence, timestamp, payload in messages
        )
        self._received += count
        self.changed()

    def _answer(self, content: packets.Fields) -> None:
        if packets.integer_field(content, "id", 0) > 0:
            self._questions.answered(content)
        elif not self._errors:
            self._errors.append(packets.parse_error(packets.object_field(content, "error")))
