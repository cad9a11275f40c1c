"""The client for asyncio: the same surface as the synchronous one, awaited. All of a client is used from one event loop.

    async with hermes_mq.aio.connect("tcp://127.0.0.1:9000") as client:
        async with client.topic("greetings", "text").publisher() as publisher:
            receipt = await publisher.publish_acked("hello")
"""

import asyncio
import contextlib
import os
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
    Set,
    Type,
    TypeVar,
    Union,
    cast,
)

from .client import GROUP, Bound, check_create, check_damage, codec_of, sync_is_done
from .codecs import Codec, checked_codec
from .errors import HermesError, protocol_error
from .link import ENDED, WANTED, Link, Opening, Request, User
from .options import (
    PathOrPem,
    Settings,
    check_batch,
    check_durability,
    check_integer,
    check_settings,
    check_topic_name,
    topic_settings,
)
from .publishing import PublisherChannel
from .subscribing import Consumer, SubscriberChannel
from .types import From, Message, Receipt, Retention, Status, TopicInfo, from_to_wire, topic_info

T = TypeVar("T")
R = TypeVar("R", bound="_Closable")

#: How long the transport may take to write its last words when a connection is ended, in seconds.
_LAST_WORDS = 1.0


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
        driver = _Driver(settings, asyncio.get_running_loop())
        await driver.start()
        return Client(driver)

    return Pending(opening)


class Client(_Closable):
    """A connection to a broker, made again whenever it's lost. Made by ``connect()``."""

    def __init__(self, driver: "_Driver") -> None:
        self._driver = driver

    @property
    def url(self) -> str:
        return self._driver.link.settings.url

    @property
    def closed(self) -> bool:
        return self._driver.link.closed

    async def topics(self) -> List[str]:
        """The names of all topics that this client may use, sorted."""
        topics = (await self._driver.request({"op": "topics"})).get("topics")
        if not isinstance(topics, list) or not all(isinstance(one, str) for one in topics):
            raise protocol_error("The broker sent no list of topics.")
        return topics

    async def info(self, topic: str) -> TopicInfo:
        """What is known of a topic. Raises HermesError NOT_FOUND."""
        check_topic_name(topic)
        info = (await self._driver.request({"op": "info", "topic": topic})).get("info")
        if not isinstance(info, dict):
            raise protocol_error("The broker sent no description of the topic.")
        return topic_info(info)

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
        described = {"name": codec.name, "fingerprint": codec.fingerprint, "schema": codec.schema}
        return codec, {"codec": described, **self._settings}

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
                    if message.sequence >= end or bound.is_reached(message):
                        return
                    yield message

    async def info(self) -> TopicInfo:
        return await self._client.info(self.name)

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Topic {self.name} {self.codec!r}>"


class Publisher(_Closable, Generic[T]):
    """Publishes messages to one topic, in the order of the calls. See ``hermes_mq.Publisher``."""

    def __init__(self, driver: "_Driver", channel: PublisherChannel, codec: Codec[T]) -> None:
        self._driver = driver
        self._channel = channel
        self._codec = codec
        self._signal = driver.signal_of(channel)

    @property
    def topic(self) -> str:
        return self._channel.topic

    @property
    def durability(self) -> str:
        return self._channel.durability

    @property
    def closed(self) -> bool:
        return self._channel.closed

    @property
    def pending(self) -> int:
        """How many messages were accepted and aren't acknowledged."""
        return self._channel.pending

    @property
    def last_receipt(self) -> Optional[Receipt]:
        """Of the newest message that was acknowledged; None before the first."""
        return self._channel.last_receipt

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
        check_batch(values)
        accepted = 0
        encode = self._codec.encode
        payloads: List[bytes] = []
        try:
            for value in values:
                payloads.append(encode(value))
                if len(payloads) == GROUP:
                    await self._admit(payloads)
                    accepted += GROUP
                    payloads = []
            if payloads:
                await self._admit(payloads)
                accepted += len(payloads)
        except HermesError as error:
            error.details["accepted"] = accepted
            raise
        return accepted

    def _encoded(self, value: T) -> bytes:
        """Why nothing can be published comes before what is wrong with the value."""
        if self._channel.closed:
            raise self._channel.closed_error()
        return self._codec.encode(value)

    async def _admit(self, payloads: Sequence[bytes]) -> None:
        channel = self._channel
        self._driver.check_process()
        channel.check()
        for payload in payloads:
            channel.check_size(payload)
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


class Subscriber(_Closable, Generic[T]):
    """Reads one topic from a position on: ``async for message in subscriber``. See ``hermes_mq.Subscriber``."""

    def __init__(self, driver: "_Driver", channel: SubscriberChannel, codec: Codec[T], skip: bool, verify: bool) -> None:
        self._driver = driver
        self._channel = channel
        self._signal = driver.signal_of(channel)
        self._consumer = Consumer(channel, codec, skip, verify, contextlib.nullcontext())
        self._is_used = False

    @property
    def topic(self) -> str:
        return self._channel.topic

    @property
    def closed(self) -> bool:
        return self._channel.closed

    @property
    def position(self) -> int:
        """The sequence of the next message to come."""
        return self._consumer.position

    @property
    def lag(self) -> int:
        """How many sequences are still to come, as far as the broker has told: 0 means caught up."""
        return max(0, self._channel.next_sequence() - self._consumer.position)

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
            while not channel.placed:
                if channel.failure is not None:
                    raise channel.failure.again()
                self._check_open()
                if not await self._signal.wait(deadline):
                    raise HermesError("TIMED_OUT", f"The broker did not say where '{self.topic}' goes on.", {"topic": self.topic})
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
        channel = self._channel
        while not channel.has_piece and channel.failure is None and not channel.closed:
            if not await self._signal.wait(deadline):
                return False
        return not channel.closed

    @contextlib.contextmanager
    def _in_use(self) -> Generator[None, None, None]:
        self._driver.check_process()
        if self._is_used:
            raise HermesError("BUSY", f"The subscriber of '{self.topic}' is in use by another task. Make another subscriber.")
        self._is_used = True
        try:
            yield
        finally:
            self._is_used = False

    def _check_open(self) -> None:
        if self._channel.closed:
            raise HermesError("CLOSED", f"The subscriber of '{self.topic}' is closed.")

    async def __aenter__(self) -> "Subscriber[T]":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Subscriber of {self.topic} at {self.position}{' closed' if self.closed else ''}>"


class _Signal:
    """Wakes all who wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: "Set[asyncio.Future[None]]" = set()

    def notify(self) -> None:
        waiting = self._waiting
        self._waiting = set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, deadline: Optional[float]) -> bool:
        """False: nobody has notified before the deadline, in the loop's time."""
        future: "asyncio.Future[None]" = self._loop.create_future()
        self._waiting.add(future)
        try:
            if deadline is None:
                await future
                return True
            left = deadline - self._loop.time()
            if left <= 0:
                return False
            done, _ = await asyncio.wait({future}, timeout=left)
            return bool(done)
        finally:
            self._waiting.discard(future)


class _Driver(asyncio.Protocol):
    """Moves bytes between a Link and an asyncio transport."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.link = Link(settings)
        self._pid = os.getpid()
        self._transport: Optional[asyncio.Transport] = None
        self._dialing: "Optional[asyncio.Task[None]]" = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self._is_scheduled = False
        self._is_paused = False
        self._is_hanging_up = False
        self._begun = _Signal(loop)
        self._gone = _Signal(loop)
        self.link.on_output = self._schedule

    async def start(self) -> None:
        """Makes the first connection. Raises HermesError CONNECTION_FAILED, UNAUTHORIZED, …"""
        self._step()
        try:
            while not self.link.connected_once and self.link.failure is None:
                await self._begun.wait(None)
        except BaseException:
            await self.close()
            raise
        if self.link.failure is not None:
            raise self.link.failure.again()

    def signal_of(self, user: User) -> _Signal:
        signal = _Signal(self.loop)
        user.changed = signal.notify
        return signal

    async def open(self, user: User) -> None:
        """Adds a user and waits until it's open."""
        self.check_process()
        signal = self.signal_of(user)
        self.link.add(user)
        opening = Opening(self.link, user, self.loop.time())
        try:
            while not opening.check(self.loop.time()):
                # (the channel may be lost and given again without anybody being told)
                now = self.loop.time()
                await signal.wait(now + min(1.0, opening.remaining(now) + 0.001))
        except BaseException:
            self.link.remove(user)
            raise

    async def request(self, content: Dict[str, Any]) -> Dict[str, Any]:
        request = Request(self.link, content)
        await self.open(request)
        return request.reply or {}

    def check_process(self) -> None:
        if self._pid != os.getpid():
            raise HermesError("FORKED", "This connection belongs to the process that this one was forked from. Connect anew.")

    def run_calls(self) -> None:
        """Calls what the link wants to be called, in its order."""
        while self.link.calls:
            calls = self.link.calls
            self.link.calls = []
            for call in calls:
                try:
                    call()
                except Exception as error:
                    # A listener's fault is not the connection's: let it be seen as what it is.
                    self.loop.call_exception_handler({"message": "a callback of hermes_mq failed", "exception": error})

    async def close(self) -> None:
        self.link.close()
        self.run_calls()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dialing is not None:
            self._dialing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dialing
        self._step()
        if self._transport is not None:
            await self._gone.wait(self.loop.time() + 2 * _LAST_WORDS)

    def _schedule(self) -> None:
        """There is something to be written: at the end of this turn, so that what is small goes together."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._scheduled_step)

    def _scheduled_step(self) -> None:
        self._is_scheduled = False
        self._step()

    def _step(self) -> None:
        """Does what is due."""
        link = self.link
        now = self.loop.time()
        if link.phase == WANTED and self._dialing is None and now >= link.retry_at:
            self._dialing = self.loop.create_task(self._dial())
        link.tick(now)
        transport = self._transport
        if transport is not None:
            if not self._is_paused and not self._is_hanging_up:
                out = link.take_output(now)
                if out:
                    transport.write(b"".join(out))
            if link.hang_up and not self._is_hanging_up:
                self._is_hanging_up = True
                transport.close()
                # Whoever does not take the last words doesn't keep us.
                self.loop.call_later(_LAST_WORDS, transport.abort)
        self.run_calls()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = None if self._dialing is not None else self.link.deadline()
        if deadline is not None and self.link.phase != ENDED:
            self._timer = self.loop.call_at(max(deadline, self.loop.time() + 0.001), self._step)

    async def _dial(self) -> None:
        link = self.link
        settings = link.settings
        link.dialing(self.loop.time())
        try:
            await asyncio.wait_for(
                self.loop.create_connection(
                    lambda: self, settings.host, settings.port, ssl=settings.tls, server_hostname=settings.server_hostname
                ),
                settings.connect_timeout,
            )
        except (OSError, asyncio.TimeoutError, ssl.CertificateError, UnicodeError) as error:
            self._dialing = None
            if self._transport is not None:
                # It was there just before the time was over: its end will be told by connection_lost.
                return
            slow = isinstance(error, asyncio.TimeoutError)
            reason = TimeoutError(f"it did not answer within {settings.connect_timeout} s") if slow else error
            self._down(reason)
        finally:
            self._dialing = None

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_paused = False
        self._is_hanging_up = False
        # (asyncio sets TCP_NODELAY by itself)
        self.link.transport_up(self.loop.time())
        self._dialing = None
        self._step()

    def data_received(self, data: bytes) -> None:
        self.link.received(data, self.loop.time())
        if self.link.connected_once:
            self._begun.notify()
        if self.link.calls:
            self.run_calls()
        if self.link.hang_up:
            self._step()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._schedule()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        self._gone.notify()
        self._down(exc)

    def _down(self, reason: Optional[BaseException]) -> None:
        self.link.transport_down(reason, self.loop.time())
        self._begun.notify()
        self._step()


