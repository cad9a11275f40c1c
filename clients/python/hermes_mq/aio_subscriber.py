"""A subscriber for asyncio."""

import contextlib
from types import TracebackType
from typing import Any, AsyncIterator, Generator, List, Optional, Type, TypeVar

from .aio_driver import Driver
from .aio_pending import Closable
from .codecs import Codec
from .errors import HermesError
from .message_reader import MessageReader
from .options import check_durability, check_integer, check_timeout
from .position import PositionChannel
from .subscribing import SubscriberChannel
from .surface import NO_PLACE, SubscriberSurface
from .types import From, Message, from_to_wire

T = TypeVar("T")


class Subscriber(Closable, SubscriberSurface[T]):
    """Reads one topic from a position on: ``async for message in subscriber``. See ``hermes_mq.Subscriber``."""

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
        self._signal = driver.signal_of(channel)
        if position is not None:
            position.changed = self._signal.notify
        self._progress = position
        self._auto = auto
        self._reader = MessageReader(channel, codec, skip, verify, contextlib.nullcontext(), position)
        self._is_used = False

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return self

    async def commit(self, sequence: Optional[int] = None, *, durability: str = "written") -> None:
        """Of a durable subscription: everything up to ``sequence`` is done, as ``hermes_mq.Subscriber.commit``."""
        position = self._named()
        check_durability(durability)
        upto = self._commit_to(sequence)
        position.commit(upto)
        while not position.reached(upto):
            await self._signal.wait(self._driver.loop.time() + 1.0)
        if durability == "synced":
            question = position.ask("sync", {})
            while not question.done:
                await self._signal.wait(self._driver.loop.time() + 1.0)
            if question.error is not None:
                raise question.error.again()

    def _commit_handed_out(self) -> None:
        position = self._progress
        if position is not None and self._auto and self._reader.position > position.committed:
            position.commit(self._reader.position)

    async def __anext__(self) -> Message[T]:
        if self._auto:
            self._commit_handed_out()
        message = None if self._is_used else self._reader.next()
        if message is not None:
            return message
        with self._in_use():
            while True:
                message = self._reader.next()
                if message is not None:
                    return message
                if not await self._wait(None):
                    raise StopAsyncIteration

    async def receive(self, timeout: Optional[float] = None) -> Optional[Message[T]]:
        """The next message; None if none has come within ``timeout`` seconds."""
        with self._in_use():
            self._commit_handed_out()
            deadline = self._deadline(timeout)
            while True:
                self._check_open()
                message = self._reader.next()
                if message is not None or not await self._wait(deadline):
                    self._check_open()
                    return message

    async def next_batch(self, most: int = 256, timeout: Optional[float] = None) -> List[Message[T]]:
        """What is there, up to ``most`` messages; waits while there is nothing, ``timeout`` seconds at most. Empty if none has come."""
        check_integer("most", most, 1, 10_000_000)
        with self._in_use():
            self._commit_handed_out()
            deadline = self._deadline(timeout)
            while True:
                self._check_open()
                batch = self._reader.batch(most)
                if batch or not await self._wait(deadline):
                    self._check_open()
                    return batch

    async def batches(self, most: int = 256) -> AsyncIterator[List[Message[T]]]:
        """Yields what is there, up to ``most`` messages at once, waiting when there is nothing. Ends when the subscriber is closed."""
        while not self.closed:
            try:
                batch = await self.next_batch(most)
            except HermesError as error:
                if error.code == "CLOSED" and self.closed:
                    return
                raise
            yield batch

    async def seek(self, target: From) -> None:
        """Goes elsewhere, and waits for the broker's answer. Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE (then it stays where it was), CLOSED, TIMED_OUT."""
        wire = from_to_wire("seek()", target)
        with self._in_use():
            self._check_open()
            link = self._driver.link
            if link.failure is not None:
                raise link.failure.again()
            before = self._channel.place(self._reader.position)
            try:
                await self._go_to(wire)
            except HermesError as error:
                if error.code in NO_PLACE:
                    # (where that fails, the next ``receive`` says why)
                    with contextlib.suppress(HermesError):
                        await self._go_to(before)
                raise

    async def _go_to(self, target: Any) -> None:
        self._move(target)
        deadline = self._deadline(self._driver.link.settings.request_timeout)
        while not self._is_placed():
            if not await self._signal.wait(deadline):
                raise self._unplaced_error()
        self._reader.start()

    async def close(self) -> None:
        """Ends iterations and waits, also those of other tasks. Idempotent."""
        self._channel.close()
        position = self._progress
        if position is not None and not position.left:
            position.leave()
            deadline = self._driver.loop.time() + 5.0
            while not position.left and await self._signal.wait(deadline):
                pass
            position.dismiss()

    async def _step(self, most: int, end: int) -> Optional[List[Message[T]]]:
        with self._in_use():
            while True:
                batch = self._reader.batch(most)
                if batch or self._reader.position >= end:
                    return batch
                if not await self._wait(None):
                    return None

    def _deadline(self, timeout: Optional[float]) -> Optional[float]:
        check_timeout(timeout)
        return None if timeout is None else self._driver.loop.time() + timeout

    async def _wait(self, deadline: Optional[float]) -> bool:
        """Waits for something to happen. False: the time is over, or it's closed."""
        while not self._has_news:
            if not await self._signal.wait(deadline):
                return False
        return not self._channel.closed

    @contextlib.contextmanager
    def _in_use(self) -> Generator[None, None, None]:
        self._driver.check_process()
        if self._is_used:
            raise self._busy_error("task")
        self._is_used = True
        try:
            yield
        finally:
            self._is_used = False

    async def __aenter__(self) -> "Subscriber[T]":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Subscriber of {self.topic} at {self.position}{' closed' if self.closed else ''}>"
