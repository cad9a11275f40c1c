"""A subscriber's state on a connection: where it stands, what has come and was not read, and how much the broker may send."""

from collections import deque
from typing import Any, Deque, Dict, NamedTuple, Optional

from . import packets
from .errors import HermesError, protocol_error
from .frames import frame_bytes
from .link import Link
from .user import User


class Piece(NamedTuple):
    """Whole frames, with the sequence expected at the first one and the one behind the last."""

    frames: bytes
    sequence: int
    end_sequence: int


#: Between two looks for a topic that does not exist yet, in seconds: at first, and at most.
_FIRST_LOOK = 0.02
_MOST_LOOK = 0.5


class SubscriberChannel(User):
    """Without ``create``, the subscriber waits for a topic that does not exist: the subscriber is open, and asks again now and then."""

    def __init__(self, link: Link, topic: str, settings: Dict[str, Any], from_: Any, create: bool = False, up_to: str = "written") -> None:
        super().__init__()
        self._up_to = up_to
        self._link = link
        self.topic = topic
        # What the topic is, and how much of it is kept, is for its publishers to say.
        self._settings = {name: value for name, value in settings.items() if create or name != "retention"}
        self._settings["create"] = create
        #: A topic that is not there is waited for; and it was not there.
        self._awaits = bool(settings["create"]) and not create
        self._is_absent = False
        self._look = _FIRST_LOOK
        #: Where to begin on the next connection, as it travels.
        self._from = from_
        #: Go there as soon as the broker has answered: it was asked for another place meanwhile.
        self._again: Optional[Any] = None
        self.closed = False
        self.max_payload_bytes = 0
        #: The broker has said where we stand.
        self.settled = False
        #: What SUBSCRIBED said: where reading begins.
        self.start_sequence = 1
        self._is_opened = False
        self._is_subscribed = False
        #: The time of the first message that is wanted, as long as none has come: those before it are passed over.
        self._awaited = from_ if isinstance(from_, dict) else None
        self._epoch = 0
        self._pieces: Deque[Piece] = deque()
        #: Received and not given back: also what a reader has taken and not finished.
        self._unread = 0
        self._tail_sequence = 1
        self._known_next = 1
        self._window = 0
        self._owed = 0
        #: How much the broker may still send.
        self._allowed = 0

    @property
    def opened(self) -> bool:
        return self._is_opened

    # ---- what readers do ----

    @property
    def placed(self) -> bool:
        """Whether it's known where reading goes on; if the topic does not exist yet, at its first message."""
        return self.settled or self._is_absent

    @property
    def has_piece(self) -> bool:
        return bool(self._pieces)

    def take_piece(self) -> Optional[Piece]:
        """The next one, if it's there. Raises why none will come."""
        if self._pieces:
            return self._pieces.popleft()
        if self.failure is not None:
            raise self.failure.again()
        return None

    def finished(self, size: int) -> None:
        """A piece of so many bytes was read."""
        self._unread -= size
        self._credit(size)

    def next_sequence(self) -> int:
        """What the topic's next message will get, as far as it's known."""
        return max(self._known_next, self._tail_sequence)

    def place(self, position: int) -> Any:
        """Where a reader at this position goes on, as it travels: a time, as long as the first message of then is awaited."""
        return position if self._awaited is None else self._awaited

    def move(self, target: Any) -> None:
        """Goes elsewhere. ``target`` is a place as it travels, or ``'damage'``: behind the damage at the position. Raises HermesError OUT_OF_RANGE."""
        if self._is_absent:
            self._check_absent(target)
        dropped = self._unread
        self._pieces.clear()
        failed = self.failure is not None
        self.failure = None
        self._from = self._tail_sequence if target == "damage" else target
        if target != "damage":
            self._awaited = target if isinstance(target, dict) else None
        self.settled = False
        self._unread = 0
        self._credit(dropped)
        if self.channel and self._is_subscribed:
            self._epoch += 1
            self._link.send(packets.json_packet(packets.SEEK, self.channel, {"epoch": self._epoch, "from": target}))
            return
        self._again = target if target == "damage" or self.channel else None
        if failed:
            self._link.renew(self)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        if self.channel:
            self._link.send(packets.packet(packets.CLOSE, self.channel))
        self._link.remove(self)
        self._pieces.clear()
        self.channel = 0
        self.changed()

    def _credit(self, size: int) -> None:
        """
        Credit goes back in quarters of the window, as a packet for every read would cost more than the read. No frame takes more than half of the
        window, so the broker never has too little for the next one.
        """
        if not self.channel or not self._is_subscribed:
            return
        self._owed += size
        if self._owed >= self._window // 4:
            self._grant(self._owed)
            self._owed = 0

    def _grant(self, size: int) -> None:
        self._allowed += size
        self._link.send(packets.credit_packet(self.channel, size))

    # ---- what the link tells ----

    def connected(self, channel: int) -> None:
        self.channel = channel
        self._is_subscribed = False
        self._epoch = 0
        self._allowed = 0
        if self._awaited is not None and self.settled:
            # Only voids have come, which stand for what is earlier.
            self._unread -= sum(len(piece.frames) for piece in self._pieces)
            self._pieces.clear()
            self.settled = False
            self._from = self._awaited
        self._link.send(
            packets.json_packet(
                packets.SUBSCRIBE,
                channel,
                {
                    "topic": self.topic,
                    "settings": self._settings,
                    "from": self._tail_sequence if self.settled else self._from,
                    "credit": 0,
                    **({} if self._up_to == "written" else {"upTo": self._up_to}),
                },
            )
        )

    def disconnected(self) -> None:
        self.channel = 0
        self._is_subscribed = False

    def topic_made(self, topic: str) -> None:
        if self._is_absent and topic == self.topic and not self.channel:
            self._link.renew(self)

    def _check_absent(self, target: Any) -> None:
        if isinstance(target, int) and target > 1:
            raise HermesError(
                "OUT_OF_RANGE",
                f"Sequence {target} of topic '{self.topic}' does not exist yet: nothing was published there.",
                {"topic": self.topic, "sequence": target, "nextSequence": 1},
            )

    def _await_topic(self) -> None:
        """The topic does not exist yet: its first message is published from now on."""
        self.disconnected()
        try:
            self._check_absent(self._from)
        except HermesError as error:
            self._awaits = False
            self.failed(error)
            return
        if self._from == "latest":
            self._from = "earliest"
        self._again = None
        self._is_absent = True
        self._is_opened = True
        self._link.renew_soon(self, self._look)
        self._look = min(self._look * 1.5, _MOST_LOOK)
        self.changed()

    def failed(self, error: HermesError) -> None:
        if self._awaits and error.code == "NOT_FOUND" and not self.closed:
            self._await_topic()
            return
        self._is_absent = False
        self.channel = 0
        self._is_subscribed = False
        self.failure = error
        self.changed()

    def packet(self, kind: int, body: bytes) -> None:
        if self.closed:
            return
        if kind == packets.DELIVER:
            self._deliver(body)
        elif kind == packets.SUBSCRIBED:
            self._subscribed(packets.parse_json(body))
        elif kind == packets.TAIL:
            self._known_next = max(self._known_next, packets.read_sequence(body))
            self._link.lagging(self.topic, self._known_next - self._tail_sequence)
        else:
            raise protocol_error(f"A packet of type {kind} came for a subscriber.")

    def _subscribed(self, fields: packets.Fields) -> None:
        epoch = packets.integer_field(fields, "epoch", 0, 0xFFFF_FFFF)
        sequence = packets.integer_field(fields, "sequence", 1)
        next_sequence = packets.integer_field(fields, "nextSequence", 1)
        max_payload = packets.integer_field(fields, "maxPayloadBytes", 1, 2**30)
        if max_payload > self._link.max_packet:
            raise protocol_error("The broker has a topic with messages that are larger than its packets.")
        if self._up_to == "synced" and fields.get("upTo") != "synced":
            raise protocol_error("The broker does not know up_to='synced'. Use a newer one, or leave it out.")
        self._awaits = False
        self._is_absent = False
        if not self._is_subscribed:
            self._is_subscribed = True
            self.max_payload_bytes = max_payload
            self._window = max(self._link.settings.subscribe_buffer, 2 * frame_bytes(max_payload))
            # Not for what still lies here unread.
            self._owed = 0
            credit = self._window - self._unread
            if credit > 0:
                self._grant(credit)
        if epoch != self._epoch:
            return
        if self._again is not None:
            again = self._again
            self._again = None
            self.move(again)
            return
        self._known_next = next_sequence
        if not self.settled:
            self.settled = True
            self._tail_sequence = sequence
            self.start_sequence = sequence
        elif sequence != self._tail_sequence:
            raise protocol_error("The broker has gone on at another place than it was asked to.")
        self._is_opened = True
        self.changed()

    def _deliver(self, body: bytes) -> None:
        head = packets.read_deliver_head(body)
        size = len(body) - packets.DELIVER_HEAD_BYTES
        if size == 0:
            raise protocol_error("The broker sent a piece of the log without frames.")
        if size > self._allowed:
            raise protocol_error("The broker sent more than it had credit for.")
        self._allowed -= size
        if head.epoch != self._epoch or not self.settled:
            self._credit(size)
            return
        if head.sequence != self._tail_sequence or head.end_sequence < head.sequence:
            raise protocol_error(f"The broker sent sequence {head.sequence} where {self._tail_sequence} was due.")
        self._pieces.append(Piece(body[packets.DELIVER_HEAD_BYTES :], head.sequence, head.end_sequence))
        self._unread += size
        self._tail_sequence = head.end_sequence
        if head.messages > 0:
            self._awaited = None
        self._known_next = max(self._known_next, head.next_sequence)
        self.changed()
