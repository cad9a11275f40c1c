"""The position of a durable subscription, behind a broker.

It belongs to the connection; docs/wire-protocol.md specifies what it says there. REQUIRES: the driver's lock is held around every call.
"""

from collections import deque
from typing import Any, Deque, Dict, Optional

from . import packets
from .errors import HermesError, protocol_error
from .link import Link
from .membership import BEATS, MembershipChannel
from .questions import Question

#: Of a position that was this subscriber's: that it was reset or taken over, and that it was deleted.
_ENDS = ("LEASE_LOST", "NOT_FOUND")


class PositionChannel(MembershipChannel):
    def __init__(self, link: Link, topic: str, name: str, join: Dict[str, Any]) -> None:
        super().__init__(link, topic, join)
        self.name = name
        self.committed = 1
        self._commits: Deque[int] = deque()

    @property
    def lost(self) -> Optional[HermesError]:
        """Why the position is no longer this subscriber's: it was reset, deleted or taken over. A lost connection the subscriber tells itself."""
        failure = self.failure
        return failure if failure is not None and self._has_joined and failure.code in _ENDS else None

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
        return self._ask(Question(op, fields, False))

    def leave(self) -> None:
        if not self.closed:
            self._leave()

    def dismiss(self) -> None:
        self.failed(HermesError("CLOSED", f"The subscription '{self.name}' of topic '{self.topic}' is closed."))
        self._link.remove(self)

    def connected(self, channel: int) -> None:
        self._send_join(channel, 0, 0, 0)

    def disconnected(self) -> None:
        self._gone()

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
            f"This subscriber no longer has the durable subscription '{self.name}' of topic '{self.topic}': while it was not heard of, another one has taken it "
            "over, or it was reset. Open it again.",
            {"topic": self.topic, "name": self.name},
        )

    def tick(self, now: float) -> None:
        if self._is_joined:
            self.due = now + self._lease / BEATS
            self._send_demand(0, 0, 0)

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
            # Another subscriber had it meanwhile, and has moved it.
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
        self._ask_again()

    def _committed(self, sequence: int) -> None:
        if sequence not in self._commits:
            raise protocol_error("The broker has committed what it was not asked to.")
        self.committed = sequence
        while self._commits.popleft() != sequence:
            pass
