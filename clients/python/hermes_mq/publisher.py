"""A publisher of the synchronous client."""

import contextlib
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Callable, Iterable, Optional, Type, TypeVar

from .codecs import Codec
from .driver import Driver
from .errors import HermesError
from .options import check_durability, check_timeout
from .publishing import PublisherChannel
from .surface import Groups, PublisherSurface, sync_is_done
from .types import Receipt

T = TypeVar("T")


class Publisher(PublisherSurface[T]):
    """Publishes messages to one topic, in the order of the calls. Made by ``topic.publisher()``.

    What was accepted is sent at once, many messages in one packet where there are many, and kept until it's acknowledged. If the connection is lost, it's
    sent again over the next one, and stored once.
    """

    def __init__(self, driver: Driver, channel: PublisherChannel, codec: Codec[T]) -> None:
        self._driver = driver
        self._channel = channel
        self._codec = codec
        self._condition = driver.condition_of(channel)

    @property
    def pending(self) -> int:
        """How many messages were accepted and aren't acknowledged."""
        with self._driver.lock:
            return self._channel.pending

    def publish(self, value: T, timeout: Optional[float] = None) -> None:
        """Accepts one message, or raises. Waits while ``publish_buffer`` is full, ``timeout`` seconds at most, then raises BACK_PRESSURE.

        Raises HermesError ENCODE_FAILED, PAYLOAD_TOO_LARGE, CLOSED, DISK_FULL, FENCED, CONNECTION_FAILED (retrying was given up), …
        """
        payload = self._encoded(value)
        with self._driver.lock:
            self._admit((payload,), timeout)

    def publish_acked(self, value: T, timeout: Optional[float] = None) -> "Future[Receipt]":
        """Accepts one message as ``publish`` does. The future has its receipt once the message has reached the publisher's durability. Many may be under way: call
        this many times, then ``result()``. Callbacks of the future run in the connection's thread and must not wait for it.
        """
        payload = self._encoded(value)
        future: "Future[Receipt]" = Future()
        # It can't be cancelled: the message is on its way.
        future.set_running_or_notify_cancel()

        def settled(receipt: Optional[Receipt], error: Optional[HermesError]) -> None:
            if receipt is not None:
                future.set_result(receipt)
            else:
                future.set_exception(error)

        with self._driver.lock:
            self._admit((payload,), timeout)
            self._channel.when_settled(settled)
        return future

    def publish_batch(self, values: Iterable[T], timeout: Optional[float] = None) -> int:
        """Accepts many messages with less work for each; returns how many. Groups of up to 256 become visible together, if they fit into 128 KiB.

        Raises HermesError as ``publish``. Then nothing of the group with the offending value was accepted; ``details['accepted']`` says how many before it were.
        """
        groups = Groups(values, self._codec.encode)
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        with groups.counted():
            for payloads in groups:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                with self._driver.lock:
                    self._admit(payloads, left)
        return groups.accepted

    def _admit(self, payloads: Any, timeout: Optional[float]) -> None:
        """REQUIRES: the lock is held."""
        channel = self._channel
        if timeout is not None:
            check_timeout(timeout)
        self._driver.check_process()
        self._check(payloads)
        if not channel.has_room:
            deadline = None if timeout is None else time.monotonic() + timeout
            while not channel.has_room:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise HermesError(
                        "BACK_PRESSURE",
                        f"As many messages of the publisher of '{channel.topic}' wait to be acknowledged as it may hold.",
                        {"topic": channel.topic, "pending": channel.accepted - channel.acknowledged},
                    )
                self._driver.wait(self._condition, left)
                channel.check()
        channel.append(payloads)

    def flush(self, durability: Optional[str] = None, timeout: Optional[float] = None) -> None:
        """Waits until everything accepted so far has reached ``durability`` (the publisher's own unless given).

        Raises HermesError CLOSED, TIMED_OUT, IO_FAILED, and why messages were not stored.
        """
        if durability is not None:
            check_durability(durability)
        channel = self._channel
        check_timeout(timeout)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._driver.lock:
            self._driver.check_process()
            upto = channel.accepted
            self._wait(lambda: channel.reached(upto), deadline)
            if durability == "synced" and channel.durability != "synced" and upto > 0:
                sync = channel.sync()
                self._wait(lambda: sync_is_done(sync), deadline)

    def _wait(self, is_done: Callable[[], bool], deadline: Optional[float]) -> None:
        while not is_done():
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise self._channel.too_late()
            self._driver.wait(self._condition, left)

    def close(self, timeout: Optional[float] = 30.0) -> None:
        """Waits until everything has reached the publisher's durability, ``timeout`` seconds at most, then gives its place back. Idempotent.

        Raises HermesError as ``flush``; ``details['unacknowledged']`` of TIMED_OUT says of how many messages it is not known whether they are in the topic.
        It's closed all the same.
        """
        check_timeout(timeout)
        channel = self._channel
        if channel.closed or self._driver.is_forked:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            self.flush(timeout=timeout)
        except HermesError as error:
            if error.code != "TIMED_OUT":
                raise
            with self._driver.lock:
                raise channel.given_up(f"{timeout} s have passed") from error
        finally:
            with self._driver.lock:
                if not channel.closed:
                    channel.leave()
                    while not channel.left and (deadline is None or time.monotonic() < deadline):
                        self._driver.wait(
                            self._condition, None if deadline is None else max(0.0, deadline - time.monotonic())
                        )
                    channel.dismiss()
                    self._driver.rouse()

    def __enter__(self) -> "Publisher[T]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if error is None:
            self.close()
            return
        # The error that is under way says more than one about its consequences.
        with contextlib.suppress(HermesError):
            self.close(timeout=1.0)

    def __repr__(self) -> str:
        return f"<hermes_mq.Publisher of {self.topic}{' closed' if self.closed else ''}>"
