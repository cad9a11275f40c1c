"""A publisher for asyncio."""

import asyncio
import contextlib
from types import TracebackType
from typing import Iterable, Optional, Sequence, Type, TypeVar

from .aio_driver import Driver
from .aio_pending import Closable
from .codecs import Codec
from .errors import HermesError
from .options import check_durability, check_timeout
from .publishing import PublisherChannel
from .surface import Groups, PublisherSurface, sync_is_done
from .types import Receipt

T = TypeVar("T")


class Publisher(Closable, PublisherSurface[T]):
    """Publishes messages to one topic, in the order of the calls. See ``hermes_mq.Publisher``."""

    def __init__(self, driver: Driver, channel: PublisherChannel, codec: Codec[T]) -> None:
        self._driver = driver
        self._channel = channel
        self._codec = codec
        self._signal = driver.signal_of(channel)

    @property
    def pending(self) -> int:
        """How many messages were accepted and aren't acknowledged."""
        return self._channel.pending

    async def publish(self, value: T) -> None:
        """Accepts one message, or raises. Waits while ``publish_buffer`` is full, and lets no other task run otherwise."""
        await self._admit((self._encoded(value),))

    async def publish_acked(self, value: T) -> Receipt:
        """Publishes one message, and returns its receipt once it has reached the publisher's durability. Many may be under way: ``asyncio.gather`` them."""
        await self._admit((self._encoded(value),))
        future: "asyncio.Future[Receipt]" = self._driver.loop.create_future()

        def settled(receipt: Optional[Receipt], error: Optional[HermesError]) -> None:
            if future.done():
                return
            if receipt is not None:
                future.set_result(receipt)
            elif error is not None:
                future.set_exception(error)

        self._channel.when_settled(settled)
        return await future

    async def publish_batch(self, values: Iterable[T]) -> int:
        """Accepts many messages, as ``hermes_mq.Publisher.publish_batch``."""
        groups = Groups(values, self._codec.encode)
        with groups.counted():
            for payloads in groups:
                await self._admit(payloads)
        return groups.accepted

    async def _admit(self, payloads: Sequence[bytes]) -> None:
        channel = self._channel
        self._driver.check_process()
        self._check(payloads)
        while not channel.has_room:
            await self._signal.wait(None)
            channel.check()
        channel.append(payloads)

    async def flush(self, durability: Optional[str] = None) -> None:
        """Waits until everything accepted so far has reached ``durability`` (the publisher's own unless given)."""
        if durability is not None:
            check_durability(durability)
        self._driver.check_process()
        channel = self._channel
        upto = channel.accepted
        while not channel.reached(upto):
            await self._signal.wait(None)
        if durability == "synced" and channel.durability != "synced" and upto > 0:
            sync = channel.sync()
            while not sync_is_done(sync):
                await self._signal.wait(None)

    async def close(self, timeout: Optional[float] = 30.0) -> None:
        """Waits until everything has reached the publisher's durability, ``timeout`` seconds at most, then gives its place back. Idempotent.

        Raises HermesError as ``flush``, and TIMED_OUT; it's closed all the same.
        """
        check_timeout(timeout)
        channel = self._channel
        if channel.closed:
            return
        try:
            await asyncio.wait_for(self._finish(), timeout)
        except asyncio.TimeoutError:
            raise channel.given_up(f"{timeout} s have passed") from None
        finally:
            channel.dismiss()
            self._driver.run_calls()

    async def _finish(self) -> None:
        channel = self._channel
        try:
            await self.flush()
        finally:
            if not channel.closed:
                channel.leave()
        while not channel.left:
            await self._signal.wait(None)

    async def _leave(self, failed: bool) -> None:
        if not failed:
            await self.close()
            return
        # The error that is under way says more than one about its consequences.
        with contextlib.suppress(HermesError):
            await self.close(timeout=1.0)

    async def __aenter__(self) -> "Publisher[T]":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self._leave(error is not None)

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Publisher of {self.topic}{' closed' if self.closed else ''}>"
