"""What a member of a group has settled and the broker has not answered for: SETTLE, and SETTLED."""

from collections import deque
from struct import Struct
from typing import Any, Deque, List, Optional, Set, Tuple

from . import packets
from .claims import Claim
from .errors import HermesError, protocol_error

DONE = 0
RETURNED = 1
RELEASED = 2
#: A delay that stands for the group's back-off.
BACK_OFF = 0xFFFF_FFFF

#: Messages and entries of one SETTLE, at most.
_MOST_SETTLED = 16_384
_MOST_ENTRIES = 2048

_SETTLE_HEAD = Struct("<QQ")
_SETTLE_ENTRY = Struct("<QIIIIII")
_PAIR = Struct("<QQ")


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


class Settlements:
    def __init__(self) -> None:
        self._batches: Deque[_Batch] = deque()
        self._open: Optional[_Batch] = None
        self._next = 1
        #: The newest SETTLE that the broker has answered for.
        self.answered = 0

    @property
    def is_empty(self) -> bool:
        return not self._batches and self._open is None

    def add(self, claims: List[Claim], outcome: int, delay_ms: int, settling: Settling) -> None:
        """``settling`` is done with the last of them, as answers come in order."""
        at = 0
        while at < len(claims):
            batch = self._open_batch()
            room = _MOST_SETTLED - batch.messages
            some = claims[at : at + room]
            taken = self._put(batch, some, outcome, delay_ms)
            batch.parts.append((settling, [claim.sequence for claim in some[:taken]]))
            at += taken

    def _open_batch(self) -> _Batch:
        if self._open is not None and (self._open.messages >= _MOST_SETTLED or len(self._open.entries) >= _MOST_ENTRIES):
            self.close()
        if self._open is None:
            self._open = _Batch(self._next)
            self._next += 1
        return self._open

    @staticmethod
    def _put(batch: _Batch, claims: List[Claim], outcome: int, delay_ms: int) -> int:
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

    def close(self) -> None:
        if self._open is not None:
            self._batches.append(self._open)
            self._open = None

    def take_packets(self, channel: int) -> List[bytes]:
        """SETTLE for all that was not sent on this connection."""
        self.close()
        taken = []
        for batch in self._batches:
            if batch.is_sent:
                continue
            batch.is_sent = True
            body = [_SETTLE_HEAD.pack(batch.number, self.answered)]
            body.extend(_SETTLE_ENTRY.pack(*entry, 0) for entry in batch.entries)
            taken.append(packets.packet(packets.SETTLE, channel, b"".join(body)))
        return taken

    def settled(self, body: bytes) -> None:
        """A SETTLED has come."""
        if (len(body) - 8) % 16 != 0:
            raise protocol_error("A SETTLED holds half an entry.")
        self._settled_up_to(packets.read_sequence(body), [(settle, sequence) for settle, sequence in _PAIR.iter_unpack(body[8:])])

    def resumed(self, fields: packets.Fields) -> None:
        """The broker goes on with this membership, and says how far it has got."""
        self._settled_up_to(packets.integer_field(fields, "settled", 0), _pairs(fields.get("lost")))
        for batch in self._batches:
            batch.is_sent = False

    def _settled_up_to(self, number: int, late: List[Tuple[int, int]]) -> None:
        if number < self.answered or number >= self._next:
            raise protocol_error("The broker has settled what it was not asked to.")
        self.answered = number
        batches = self._batches
        while batches and batches[0].number <= number:
            batch = batches.popleft()
            own: Set[int] = {sequence for settle, sequence in late if settle == batch.number}
            for settling, sequences in batch.parts:
                if own:
                    settling.late.extend(one for one in sequences if one in own)
                settling.done = True

    def over(self, uncertain: Optional[HermesError]) -> None:
        """The membership has ended. ``uncertain``: what was sent may have been carried out; None: it was not."""
        self.close()
        for batch in self._batches:
            for settling, sequences in batch.parts:
                if batch.is_sent and uncertain is not None:
                    settling.error = uncertain
                else:
                    settling.late.extend(sequences)
                settling.done = True
        self._batches.clear()
        self._next = 1
        self.answered = 0

    def fail(self, error: HermesError) -> None:
        self.close()
        for batch in self._batches:
            for settling, _ in batch.parts:
                settling.error = error
                settling.done = True
        self._batches.clear()


def _pairs(value: Any) -> List[Tuple[int, int]]:
    if not isinstance(value, list) or not all(
        isinstance(one, list) and len(one) == 2 and all(type(part) is int and part >= 1 for part in one) for one in value
    ):
        raise protocol_error("The field 'lost' should be a list of pairs.")
    return [(one[0], one[1]) for one in value]
