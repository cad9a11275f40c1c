"""The client for asyncio: the same surface as the synchronous one, awaited. All of a client is used from one event loop.

    async with hermes_mq.aio.connect("tcp://127.0.0.1:9000") as client:
        async with client.topic("greetings", "text").publisher() as publisher:
            receipt = await publisher.publish_acked("hello")
"""

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
    Dict,
    Generator,
    Generic,
    Iterable,
    List,
    Optional,
    Sequence,
    Type,
    TypeVar,
    Union,
)

from .aio_driver import Driver
from .codecs import Codec, checked_codec
from .errors import HermesError
from .options import (
    PathOrPem,
    check_durability,
    check_integer,
    check_settings,
    check_topic_name,
    topic_settings,
)
from .publishing import PublisherChannel
from .subscribing import Consumer, SubscriberChannel
from .surface import (
    Bound,
    Groups,
    PublisherSurface,
    SubscriberSurface,
    check_create,
    check_damage,
    codec_of,
    description,
    sync_is_done,
    topic_names,
    with_codec,
)
from .types import From, Message, Receipt, Retention, Status, TopicInfo, from_to_wire

T = TypeVar("T")
R = TypeVar("R", bound="_Closable")

class _Closable:
    async def close(self) -> None:
        raise NotImplementedError

    async def _leave(self, failed: bool) -> None:
        await self.close()


class Pending(Awaitable[R]):
    """What is being opened: ``await`` it, or enter it with ``async with``, which closes it at the end."""

    def __init__(self, opening: Callable[[], Awaitable[R]]) -> None:
        self._opening = opening
        self._opened: Optional[R] = None

    def __await__(self) -> Generator[Any, None, R]:
        return self._opening().__await__()

    async def __aenter__(self) -> R:
        self._opened = await self._opening()
        return self._opened

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        if self._opened is not None:
            await self._opened._leave(error is not None)


def connect(
    url: str,
    *,
    token: Optional[str] = None,
    ca: Optional[PathOrPem] = None,
    cert: Optional[PathOrPem] = None,
    key: Optional[PathOrPem] = None,
    server_hostname: Optional[str] = None,
    ssl_context: Optional[ssl.SSLContext] = None,
    connect_timeout: float = 10.0,
    request_timeout: float = 30.0,
    reconnect: bool = True,
    reconnect_min: float = 0.05,
    reconnect_max: float = 5.0,
    publish_buffer: int = 8 * 1024 * 1024,
    subscribe_buffer: int = 4 * 1024 * 1024,
    compression: str = "none",
    on_status: Optional[Callable[[Status], None]] = None,
) -> "Pending[Client]":
    """Connects to a broker. The options and errors are those of ``hermes_mq.connect``. ``on_status`` is called in the event loop."""
    settings = check_settings(
        url,
        token=token,
        ca=ca,
        cert=cert,
        key=key,
        server_hostname=server_hostname,
        ssl_context=ssl_context,
        connect_timeout=connect_timeout,
        request_timeout=request_timeout,
        reconnect=reconnect,
        reconnect_min=reconnect_min,
        reconnect_max=reconnect_max,
        publish_buffer=publish_buffer,
        subscribe_buffer=subscribe_buffer,
        compression=compression,
        on_status=on_status,
    )

    async def opening() -> Client:
        driver = Driver(settings, asyncio.get_running_loop())
        await driver.start()
        return Client(driver)

    return Pending(opening)


class Client(_Closable):
    """A connection to a broker, made again whenever it's lost. Made by ``connect()``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def url(self) -> str:
        return self._driver.link.settings.url

    @property
    def closed(self) -> bool:
        return self._driver.link.closed

    async def topics(self) -> List[str]:
        """The names of all topics that this client may use, sorted."""
        return topic_names(await self._driver.request({"op": "topics"}))

    async def info(self, topic: str) -> TopicInfo:
        """What is known of a topic. Raises HermesError NOT_FOUND."""
        check_topic_name(topic)
        return description(await self._driver.request({"op": "info", "topic": topic}))

    def topic(
        self,
        name: str,
        codec: Union[Codec[T], str, None] = None,
        *,
        create: bool = True,
        segment_bytes: Optional[int] = None,
        max_payload_bytes: Optional[int] = None,
        retention: Optional[Retention] = None,
    ) -> "Topic[T]":
        """A topic by its name, as ``hermes_mq.Client.topic``. Without a ``codec``, that of the topic is asked for when a publisher or subscriber is opened."""
        check_topic_name(name)
        settings = topic_settings(create, segment_bytes, max_payload_bytes, retention)
        return Topic(self, name, None if codec is None else checked_codec(codec), settings)

    async def close(self) -> None:
        """Ends the connection at once, with all publishers and subscribers. Idempotent."""
        await self._driver.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Client {self.url}{' closed' if self.closed else ''}>"


class Topic(Generic[T]):
    """Made by ``client.topic()``."""

    def __init__(self, client: Client, name: str, codec: Optional[Codec[T]], settings: Dict[str, Any]) -> None:
        self._client = client
        self._driver = client._driver
        self.name = name
        self.codec = codec
        self._settings = settings

    async def _prepared(self) -> "tuple[Codec[T], Dict[str, Any]]":
        codec = self.codec
        if codec is None:
            codec = self.codec = codec_of(await self.info())
        return codec, with_codec(codec, self._settings)

    def publisher(self, *, durability: str = "written", exclusive: bool = False) -> "Pending[Publisher[T]]":
        """Opens a publisher, as ``hermes_mq.Topic.publisher``."""
        check_durability(durability)

        async def opening() -> Publisher[T]:
            codec, settings = await self._prepared()
            driver = self._driver
            channel = PublisherChannel(driver.link, self.name, settings, durability, exclusive)
            await driver.open(channel)
            return Publisher(driver, channel, codec)

        return Pending(opening)

    def subscriber(
        self, from_: From = "latest", *, on_damage: str = "stop", verify: bool = True, create: bool = False
    ) -> "Pending[Subscriber[T]]":
        """Opens a subscriber, as ``hermes_mq.Topic.subscriber``."""
        check_damage(on_damage)
        check_create(create)
        wire = from_to_wire("'from_'", from_)

        async def opening() -> Subscriber[T]:
            codec, settings = await self._prepared()
            driver = self._driver
            channel = SubscriberChannel(driver.link, self.name, settings, wire, create)
            await driver.open(channel)
            return Subscriber(driver, channel, codec, on_damage == "skip", verify)

        return Pending(opening)

    async def replay(
        self, from_: From = "earliest", until: Optional[From] = None, *, on_damage: str = "stop", batch: int = 256
    ) -> AsyncIterator[Message[T]]:
        """Yields what is there and then ends, as ``hermes_mq.Topic.replay``."""
        bound = Bound(until)
        check_integer("batch", batch, 1, 1_000_000)
        async with self.subscriber(from_, on_damage=on_damage) as subscriber:
            end = bound.end(subscriber._channel.next_sequence())
            while subscriber.position < end:
                messages = await subscriber._step(batch, end)
                if messages is None:
                    return
                for message in messages:
                    if bound.is_behind(message, end):
                        return
                    yield message

    async def info(self) -> TopicInfo:
        return await self._client.info(self.name)

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Topic {self.name} {self.codec!r}>"


class Publisher(_Closable, PublisherSurface[T]):
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


class Subscriber(_Closable, SubscriberSurface[T]):
    """Reads one topic from a position on: ``async for message in subscriber``. See ``hermes_mq.Subscriber``."""

    def __init__(self, driver: Driver, channel: SubscriberChannel, codec: Codec[T], skip: bool, verify: bool) -> None:
        self._driver = driver
        self._channel = channel
        self._signal = driver.signal_of(channel)
        self._consumer = Consumer(channel, codec, skip, verify, contextlib.nullcontext())
        self._is_used = False

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        return self

    async def __anext__(self) -> Message[T]:
        message = None if self._is_used else self._consumer.next()
        if message is not None:
            return message
        with self._in_use():
            while True:
                message = self._consumer.next()
                if message is not None:
                    return message
                if not await self._wait(None):
                    raise StopAsyncIteration

    async def receive(self, timeout: Optional[float] = None) -> Optional[Message[T]]:
        """The next message; None if none has come within ``timeout`` seconds."""
        with self._in_use():
            deadline = self._deadline(timeout)
            while True:
                self._check_open()
                message = self._consumer.next()
                if message is not None or not await self._wait(deadline):
                    self._check_open()
                    return message

    async def next_batch(self, most: int = 256, timeout: Optional[float] = None) -> List[Message[T]]:
        """What is there, up to ``most`` messages; waits while there is nothing, ``timeout`` seconds at most. Empty if none has come."""
        check_integer("most", most, 1, 10_000_000)
        with self._in_use():
            deadline = self._deadline(timeout)
            while True:
                self._check_open()
                batch = self._consumer.batch(most)
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
        """Goes elsewhere, and waits for the broker's answer. Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE (``seek`` again, then), CLOSED, TIMED_OUT."""
        wire = from_to_wire("seek()", target)
        channel = self._channel
        with self._in_use():
            self._check_open()
            link = self._driver.link
            if link.failure is not None:
                raise link.failure.again()
            channel.move(wire)
            self._consumer.restart()
            deadline = self._deadline(link.settings.request_timeout)
            while not self._is_placed():
                if not await self._signal.wait(deadline):
                    raise self._unplaced_error()
            self._consumer.start()

    async def close(self) -> None:
        """Ends iterations and waits, also those of other tasks. Idempotent."""
        self._channel.close()

    async def _step(self, most: int, end: int) -> Optional[List[Message[T]]]:
        with self._in_use():
            while True:
                batch = self._consumer.batch(most)
                if batch or self._consumer.position >= end:
                    return batch
                if not await self._wait(None):
                    return None

    def _deadline(self, timeout: Optional[float]) -> Optional[float]:
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
