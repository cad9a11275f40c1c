"""A subscriber of the synchronous client."""

import contextlib
import threading
import time
from types import TracebackType
from typing import Any, Iterator, List, Optional, Type, TypeVar

from .codecs import Codec
from .driver import Driver
from .errors import HermesError
from .message_reader import MessageReader
from .options import check_durability, check_integer, check_timeout
from .position import PositionChannel
from .subscribing import SubscriberChannel
from .surface import NO_PLACE, SubscriberSurface
from .types import From, Message, from_to_wire

T = TypeVar("T")


class Subscriber(SubscriberSurface[T]):
    """Reads one topic from a position on; sees every message, in sequence. Made by ``topic.subscriber()``.

    It's an iterator: ``for message in subscriber`` waits for messages and ends when the subscriber is closed. What was not handed out was not consumed: after a
    ``break``, the next loop goes on behind. After a lost connection it goes on where it was.
    """

    def __init__(
        self,
        driver: Driver,
        channel: SubscriberChannel,
        codec: Codec[T],
        skip: bool,
        verify: bool,
        position: Optional[PositionChannel] = None,
        auto: bool = False,
    ) -> None:
        self._driver = driver
        self._channel = channel
        self._condition = driver.condition_of(channel)
        if position is not None:
            position.changed = self._condition.notify_all
        self._progress = position
        self._auto = auto
        self._use = threading.Lock()
        self._reader = MessageReader(channel, codec, skip, verify, driver.lock, position)

    def commit(self, sequence: Optional[int] = None, *, durability: str = "written") -> None:
        """Of a durable subscription: everything up to ``sequence`` (what was handed out, unless given) is done, and the next subscriber of this name goes on behind it.

        Waits for the broker's answer; with ``durability='synced'`` until the position survives a loss of power, too. Raises HermesError LEASE_LOST if another subscriber has taken the name
        over, OUT_OF_RANGE for what was not received yet, UNSUPPORTED without a name.
        """
        position = self._named()
        check_durability(durability)
        upto = self._commit_to(sequence)
        with self._driver.lock:
            self._driver.check_process()
            position.commit(upto)
            self._driver.rouse()
            while not position.reached(upto):
                self._driver.wait(self._condition, 1.0)
            if durability == "synced":
                question = position.ask("sync", {})
                self._driver.rouse()
                while not question.done:
                    self._driver.wait(self._condition, 1.0)
                if question.error is not None:
                    raise question.error.again()

    def _commit_handed_out(self) -> None:
        position = self._progress
        if position is None or not self._auto:
            return
        upto = self._reader.position
        if upto <= position.committed:
            return
        with self._driver.lock:
            position.commit(upto)
            self._driver.rouse()

    def __iter__(self) -> Iterator[Message[T]]:
        return self

    def __next__(self) -> Message[T]:
        """Raises HermesError CORRUPT, BEHIND_RETENTION, DECODE_FAILED (the message counts as consumed), CONNECTION_FAILED, BUSY, …"""
        # (no context manager: this is called for each message)
        if self._driver.is_forked or not self._use.acquire(blocking=False):
            raise self._in_use_error()
        try:
            self._commit_handed_out()
            message = self._reader.next()
            while message is None:
                if not self._wait(None):
                    raise StopIteration
                message = self._reader.next()
            return message
        finally:
            self._use.release()

    def receive(self, timeout: Optional[float] = None) -> Optional[Message[T]]:
        """The next message; None if none has come within ``timeout`` seconds. Raises HermesError as iteration, and CLOSED."""
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._in_use():
            self._commit_handed_out()
            while True:
                self._check_open()
                message = self._reader.next()
                if message is not None or not self._wait(deadline):
                    self._check_open()
                    return message

    def next_batch(self, most: int = 256, timeout: Optional[float] = None) -> List[Message[T]]:
        """What is there, up to ``most`` messages; waits while there is nothing, ``timeout`` seconds at most. Empty if none has come. Raises as ``receive``.

        Cheaper per message than one by one.
        """
        check_integer("most", most, 1, 10_000_000)
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._in_use():
            self._commit_handed_out()
            while True:
                self._check_open()
                batch = self._reader.batch(most)
                if batch or not self._wait(deadline):
                    self._check_open()
                    return batch

    def batches(self, most: int = 256) -> Iterator[List[Message[T]]]:
        """Yields what is there, up to ``most`` messages at once, waiting when there is nothing. Ends when the subscriber is closed."""
        while not self.closed:
            try:
                yield self.next_batch(most)
            except HermesError as error:
                if error.code == "CLOSED" and self.closed:
                    return
                raise

    def seek(self, target: From) -> None:
        """Goes elsewhere, and waits for the broker's answer. Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE (then it stays where it was), CLOSED, TIMED_OUT."""
        wire = from_to_wire("seek()", target)
        with self._in_use(), self._driver.lock:
            self._driver.check_process()
            self._check_open()
            self._driver.check_link()
            before = self._channel.place(self._reader.position)
            try:
                self._go_to(wire)
            except HermesError as error:
                if error.code in NO_PLACE:
                    # (where that fails, the next ``receive`` says why)
                    with contextlib.suppress(HermesError):
                        self._go_to(before)
                raise

    def _go_to(self, target: Any) -> None:
        self._move(target)
        deadline = time.monotonic() + self._driver.link.settings.request_timeout
        while not self._is_placed():
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._unplaced_error()
            self._driver.wait(self._condition, left)
        self._reader.start()

    def _step(self, most: int, end: int) -> Optional[List[Message[T]]]:
        """As ``next_batch``, but also comes back, with nothing, once the position has passed ``end`` over sequences without messages. None: closed."""
        with self._in_use():
            while True:
                batch = self._reader.batch(most)
                if batch or self._reader.position >= end:
                    return batch
                if not self._wait(None):
                    return None

    def _wait(self, deadline: Optional[float]) -> bool:
        """Waits for something to happen. False: the time is over, or it's closed."""
        with self._driver.lock:
            while not self._has_news:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._driver.wait(self._condition, left)
            return not self._channel.closed

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        if self._driver.is_forked or not self._use.acquire(blocking=False):
            raise self._in_use_error()
        try:
            yield
        finally:
            self._use.release()

    def _in_use_error(self) -> HermesError:
        self._driver.check_process()
        return self._busy_error("thread")

    def close(self) -> None:
        """Ends iterations and waits, also those of other threads. Idempotent."""
        if self._driver.is_forked:
            return
        with self._driver.lock:
            self._channel.close()
            position = self._progress
            if position is not None and not position.left:
                position.leave()
                self._driver.rouse()
                deadline = time.monotonic() + 5.0
                while not position.left and time.monotonic() < deadline:
                    self._driver.wait(self._condition, 1.0)
                position.dismiss()

    def __enter__(self) -> "Subscriber[T]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.Subscriber of {self.topic} at {self.position}{' closed' if self.closed else ''}>"
