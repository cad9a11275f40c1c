"""How the frames that a SubscriberChannel holds become messages.

It takes whole pieces of the log and reads them by itself, so that decoding holds up neither the connection nor its other users.
"""

from struct import error as StructError
from typing import Any, ContextManager, Generic, List, Optional, TypeVar
from zlib import crc32

from . import frames
from .codecs import Codec
from .errors import HermesError
from .frames import DamagedFrame, frame_bytes
from .position import PositionChannel
from .subscribing import Piece, SubscriberChannel
from .types import Message

T = TypeVar("T")


class MessageReader(Generic[T]):
    """Reads messages. One at a time may use it; ``lock`` is held around what it does with the channel."""

    def __init__(
        self,
        channel: SubscriberChannel,
        codec: Codec[T],
        skip_damage: bool,
        verify: bool,
        lock: ContextManager[Any],
        position: Optional[PositionChannel] = None,
    ) -> None:
        self._channel = channel
        #: Of a durable subscription.
        self._position = position
        self._codec = codec
        self._skip_damage = skip_damage
        self._verify = verify
        self._lock = lock
        self._piece: Optional[Piece] = None
        self._at = 0
        #: The sequence of the next frame to be read.
        self._sequence = channel.start_sequence
        #: Decoded and not handed out; those before the index were.
        self._ready: List[Message[T]] = []
        self._index = 0
        #: To be raised once everything before it was handed out.
        self._fault: Optional[HermesError] = None

    @property
    def position(self) -> int:
        """The sequence of the next message to be handed out."""
        if self._index < len(self._ready):
            return self._ready[self._index].sequence
        return self._sequence

    def restart(self) -> None:
        """The channel was moved: forgets what it was reading. The bytes were given back by the channel. The position is the old one until ``start``."""
        self._sequence = self.position
        self._piece = None
        self._ready = []
        self._index = 0
        self._fault = None

    def start(self) -> None:
        """The broker has said where reading begins."""
        self._sequence = self._channel.start_sequence

    def next(self) -> Optional[Message[T]]:
        """The next message, if it's there. Raises as ``batch``."""
        if self._index >= len(self._ready):
            self._ready = []
            self._index = 0
            self._ready = self._fetch(256)
            if not self._ready:
                return None
        message = self._ready[self._index]
        self._index += 1
        return message

    def batch(self, most: int) -> List[Message[T]]:
        """What is there, up to ``most`` messages. Raises CORRUPT, BEHIND_RETENTION, DECODE_FAILED (the message counts as consumed), CLOSED, …"""
        if self._index < len(self._ready):
            taken = self._ready[self._index : self._index + most]
            self._index += len(taken)
            return taken
        return self._fetch(most)

    def _fetch(self, most: int) -> List[Message[T]]:
        channel = self._channel
        while True:
            if self._fault is not None:
                fault = self._fault
                self._fault = None
                raise fault
            piece = self._piece
            if piece is None:
                with self._lock:
                    if channel.closed:
                        return []
                    lost = None if self._position is None else self._position.lost
                    if lost is not None:
                        raise lost.again()
                    try:
                        piece = channel.take_piece()
                    except HermesError as error:
                        if not self._skip_damage or error.code != "CORRUPT":
                            raise
                        channel.move("damage")
                        return []
                if piece is None:
                    return []
                self._piece = piece
                self._at = 0
                self._sequence = piece.sequence
            batch = self._scan(piece, most)
            if self._at >= len(piece.frames):
                self._piece = None
                with self._lock:
                    channel.finished(len(piece.frames))
                if self._sequence != piece.end_sequence:
                    # What was read is handed out first.
                    if not self._skip_damage:
                        self._fault = self._damaged(self._sequence)
                    self._sequence = piece.end_sequence
            if batch:
                return batch

    def _scan(self, piece: Piece, most: int) -> List[Message[T]]:
        """Decodes frames from the position on. A message that can't be decoded is not consumed: the messages before it are handed out first."""
        bytes_ = piece.frames
        size = len(bytes_)
        at = self._at
        sequence = self._sequence
        max_payload = self._channel.max_payload_bytes
        decode = self._codec.decode
        unpack = frames.HEADER.unpack_from
        magic = frames.MAGIC
        verify = self._verify
        batch: List[Message[T]] = []
        append = batch.append
        while at < size and len(batch) < most:
            try:
                found, version, kind, _, number, timestamp, length, crc = unpack(bytes_, at)
            except StructError:
                found = b""
            start = at + 32
            end = start + length if found == magic else 0
            if end == 0 or end > size or number != sequence or kind != 1 or version != 1 or length > max_payload:
                # A void, or no frame at all.
                self._at, self._sequence = at, sequence
                if batch:
                    return batch
                self._pass(piece)
                at, sequence = self._at, self._sequence
                continue
            payload = bytes_[start:end]
            if verify and crc32(payload, crc32(bytes_[at + 4 : at + 28])) != crc:
                self._at, self._sequence = at, sequence
                if batch:
                    return batch
                self._pass(piece)
                at, sequence = self._at, self._sequence
                continue
            try:
                value = decode(payload)
            except Exception:
                self._at, self._sequence = at, sequence
                if batch:
                    return batch
                self._at = at + frame_bytes(length)
                self._sequence = sequence + 1
                raise
            append(Message(value, sequence, timestamp))
            at = end + (-length & 7)
            sequence += 1
        self._at, self._sequence = at, sequence
        return batch

    def _pass(self, piece: Piece) -> None:
        """Goes behind what stands at the position: a void, or damage. Raises CORRUPT unless damage is to be skipped."""
        bytes_ = piece.frames
        at = self._at
        try:
            head = frames.read_head(bytes_, at, self._channel.max_payload_bytes)
            size = frame_bytes(head.length)
            sound = head.sequence == self._sequence and (not self._verify or frames.checksum(bytes_, at, head) == head.crc)
            if not sound:
                raise DamagedFrame(size)
            if head.kind != frames.VOID:
                raise AssertionError("a sound data frame was not taken")
            self._at = at + size
            self._sequence += frames.void_count(bytes_, at, head.length)
        except DamagedFrame as damage:
            if not self._skip_damage:
                raise self._damaged(self._sequence) from None
            self._resynchronise(piece, at + (damage.size or 8))

    def _resynchronise(self, piece: Piece, at: int) -> None:
        """Looks for the next whole frame with a later sequence."""
        bytes_ = piece.frames
        while True:
            at = bytes_.find(frames.MAGIC, at)
            if at < 0:
                self._at = len(bytes_)
                self._sequence = piece.end_sequence
                return
            if at % 8 == 0:
                try:
                    head = frames.read_head(bytes_, at, self._channel.max_payload_bytes)
                    later = self._sequence < head.sequence < piece.end_sequence
                    if later and frames.checksum(bytes_, at, head) == head.crc:
                        self._at = at
                        self._sequence = head.sequence
                        return
                except DamagedFrame:
                    pass
            at += 4

    def _damaged(self, sequence: int) -> HermesError:
        topic = self._channel.topic
        return HermesError(
            "CORRUPT",
            f"Topic '{topic}' is damaged at sequence {sequence}. Go on behind it with seek(), or subscribe with on_damage='skip'.",
            {"topic": topic, "sequence": sequence},
        )
