"""What a publisher has accepted and the broker has not acknowledged, in the form in which it is sent."""

from collections import deque
from typing import Callable, Deque, List, NamedTuple, Sequence

from .frames import HEADER_BYTES, data_frame, frame_bytes

#: Frames of one batch, in bytes, unless one message is larger.
_BATCH_BYTES = 128 * 1024
_MOST_FRAMES = 65_535
#: The broker remembers where 1,024 batches of a publisher stand: with no more under way, it can always tell the sequences.
_MOST_BATCHES = 1000


class Batch(NamedTuple):
    """Frames that were sent, or would be if there were a connection, and are not acknowledged."""

    frames: bytes
    messages: int
    first: int
    #: How many messages of this publisher came before.
    before: int

    @property
    def last(self) -> int:
        return self.first + self.messages - 1


class SendBuffer:
    def __init__(self, most_bytes: int, clock_ns: Callable[[], int], sealed: Callable[[Batch], None]) -> None:
        """``sealed`` is told of each batch that is complete."""
        self._most_bytes = most_bytes
        self._clock_ns = clock_ns
        self._sealed = sealed
        #: Complete, oldest first.
        self.batches: Deque[Batch] = deque()
        #: Their bytes.
        self._used = 0
        self._capacity = 0
        # The batch that is being filled.
        self._parts: List[bytes] = []
        self._filled = 0
        self._first = 0
        self._number = 0
        #: How many messages came before it.
        self._before = 0

    def limit(self, max_batch: int, max_payload: int) -> None:
        """What the broker takes in one batch, in bytes, and in one message."""
        self._capacity = max(min(_BATCH_BYTES, max_batch - max_batch % 8), frame_bytes(max_payload))

    @property
    def is_filling(self) -> bool:
        """Whether there are messages that ``seal`` would send."""
        return bool(self._parts)

    @property
    def is_full(self) -> bool:
        """Whether the batch that is being filled is to be sealed now."""
        return self._filled >= self._capacity

    @property
    def may_seal(self) -> bool:
        return bool(self._parts) and len(self.batches) < _MOST_BATCHES

    @property
    def held_bytes(self) -> int:
        return self._used + self._filled

    @property
    def has_room(self) -> bool:
        """Whether ``append`` may be called. It may go beyond the bound by what one call appends."""
        if self.held_bytes >= self._most_bytes:
            return False
        return len(self.batches) < _MOST_BATCHES or self._filled < self._capacity // 2

    def append(self, payloads: Sequence[bytes]) -> None:
        """REQUIRES: ``has_room``. May seal what there is before."""
        # (at most: what fills the frames up is guessed, as this is done for each message)
        size = sum(map(len, payloads)) + (HEADER_BYTES + 7) * len(payloads)
        # Together in one batch, if that is possible: a subscriber sees a batch as a whole or not at all.
        if self._parts and (self._filled + size > self._capacity or len(self._parts) + len(payloads) > _MOST_FRAMES):
            self.seal()
        parts = self._parts
        number = self._number
        if not parts:
            number = self._first = max(self._clock_ns(), number + 1)
        else:
            number += 1
        for payload in payloads:
            if parts and size > self._capacity and self._filled + frame_bytes(len(payload)) > self._capacity:
                self._number = number - 1
                self.seal()
                parts = self._parts
                number = self._first = max(self._clock_ns(), number)
            frame = data_frame(payload, number)
            parts.append(frame)
            self._filled += len(frame)
            number += 1
        self._number = number - 1

    def seal(self) -> None:
        """Completes the batch that is being filled. REQUIRES: ``is_filling``."""
        count = len(self._parts)
        batch = Batch(b"".join(self._parts), count, self._first, self._before)
        self._parts = []
        self._filled = 0
        self._before += count
        self.batches.append(batch)
        self._used += len(batch.frames)
        self._sealed(batch)

    def take(self) -> Batch:
        """Removes the oldest batch: it was acknowledged."""
        batch = self.batches.popleft()
        self._used -= len(batch.frames)
        return batch

    def drop(self) -> None:
        """Removes all: it will not be acknowledged."""
        self._before += len(self._parts)
        self.batches.clear()
        self._parts = []
        self._filled = 0
        self._used = 0
