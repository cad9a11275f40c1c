"""The synchronous client: a thread of its own drives the connection, and callers wait for it.

Thread safety: a client, its topics and publishers may be used by several threads at once; a subscriber by one at a time (else BUSY).
"""

import contextlib
import ssl
import threading
import time
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Callable, Dict, Generic, Iterable, Iterator, List, Optional, Type, TypeVar, Union

from .codecs import Codec, checked_codec
from .driver import Driver
from .errors import HermesError
from .options import (
    PathOrPem,
    Settings,
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
) -> "Client":
    """Connects to a broker at ``tcp://host:port`` or ``tls://host:port`` (port 9000 unless given).

    ``ca``: the authorities to trust, a file or PEM text; else the system's. ``cert`` and ``key``: files of a certificate of our own.
    ``connect_timeout``: for the first connection, and for a connection while there is none. ``request_timeout``: for an answer of the broker,
    which may have to recover a topic first. ``reconnect_min``, ``reconnect_max``: between two attempts, at first and at most, less a random part.
    ``publish_buffer``: bytes that a publisher holds until they're acknowledged; beyond, ``publish`` waits. ``subscribe_buffer``: bytes that are sent
    to a subscriber ahead of its reading. ``compression='deflate'`` compresses batches of a kilobyte and more, where the broker does too. ``on_status`` is called by the connection's own thread. Times are in seconds.

    Raises HermesError CONNECTION_FAILED, UNAUTHORIZED, VERSION_MISMATCH, PROTOCOL, INVALID_ARGUMENT.
    """
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
    return Client(settings)


class Client:
    """A connection to a broker, made again whenever it's lost. Made by ``connect()``."""

    def __init__(self, settings: Settings) -> None:
        self._driver = Driver(settings)
        self._driver.start()

    @property
    def url(self) -> str:
        return self._driver.link.settings.url

    @property
    def closed(self) -> bool:
        """Whether it was closed, or no connection will follow."""
        return self._driver.link.closed

    def topics(self) -> List[str]:
        """The names of all topics that this client may use, sorted."""
        return topic_names(self._driver.request({"op": "topics"}))

    def info(self, topic: str) -> TopicInfo:
        """What is known of a topic. Raises HermesError NOT_FOUND."""
        check_topic_name(topic)
        return description(self._driver.request({"op": "info", "topic": topic}))

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
        """A topic by its name. Nothing is asked of the broker until a publisher or a subscriber is opened, with one exception:

        Without a ``codec``, that of the topic is used, which has to exist then. With ``create``, the first publisher makes a topic that does not
        exist, with these settings; subscribers wait for it. Raises HermesError INVALID_NAME, NOT_FOUND, INVALID_ARGUMENT, UNSUPPORTED (msgpack, or a custom codec that wasn't given).
        """
        check_topic_name(name)
        settings = topic_settings(create, segment_bytes, max_payload_bytes, retention)
        chosen = self._codec_of(name) if codec is None else checked_codec(codec)
        return Topic(self._driver, name, chosen, settings)

    def _codec_of(self, topic: str) -> Codec[Any]:
        return codec_of(self.info(topic))

    def close(self) -> None:
        """Ends the connection at once, with all publishers and subscribers. Close a publisher, or ``flush()`` it, to have everything acknowledged first. Idempotent."""
        self._driver.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.Client {self.url}{' closed' if self.closed else ''}>"


class Topic(Generic[T]):
    """Made by ``client.topic()``."""

    def __init__(self, driver: Driver, name: str, codec: Codec[T], settings: Dict[str, Any]) -> None:
        self._driver = driver
        self.name = name
        self.codec = codec
        self._settings = with_codec(codec, settings)

    def publisher(self, *, durability: str = "written", exclusive: bool = False) -> "Publisher[T]":
        """Opens a publisher. ``durability``: what an acknowledgement means: ``'written'`` (survives the broker's end) or ``'synced'`` (survives
        power loss). An ``exclusive`` one tolerates no other on the topic.

        Raises HermesError CODEC_MISMATCH, CONFIG_MISMATCH, EXCLUSIVE_HELD, NOT_FOUND, UNAUTHORIZED, CONNECTION_FAILED, …
        """
        check_durability(durability)
        driver = self._driver
        channel = PublisherChannel(driver.link, self.name, self._settings, durability, exclusive)
        driver.open(channel)
        return Publisher(driver, channel, self.codec)

    def subscriber(
        self, from_: From = "latest", *, on_damage: str = "stop", verify: bool = True, create: bool = False
    ) -> "Subscriber[T]":
        """Opens a subscriber, which begins at ``'earliest'``, ``'latest'``, a sequence, or a datetime (the first message stamped then or later).

        A topic that does not exist is waited for: its first publisher says what it is. With ``create=True`` the subscriber makes it, with the topic's settings;
        where the topic was given ``create=False``, it raises NOT_FOUND.

        ``on_damage='skip'`` passes over damaged messages in place of CORRUPT. Without ``verify``, checksums are not looked at.
        Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE, CODEC_MISMATCH, NOT_FOUND, UNAUTHORIZED, CONNECTION_FAILED, …
        """
        check_damage(on_damage)
        check_create(create)
        driver = self._driver
        channel = SubscriberChannel(driver.link, self.name, self._settings, from_to_wire("'from_'", from_), create)
        driver.open(channel)
        return Subscriber(driver, channel, self.codec, on_damage == "skip", verify)

    def replay(
        self, from_: From = "earliest", until: Optional[From] = None, *, on_damage: str = "stop", batch: int = 256
    ) -> Iterator[Message[T]]:
        """Yields what is there and then ends: the messages from ``from_`` on, up to those that came after the call, or before ``until``.

        ``until`` is a sequence or a datetime: the first message that is not wanted any more. Never waits for messages that aren't there yet.
        Raises HermesError as ``subscriber`` and its iteration.
        """
        bound = Bound(until)
        check_integer("batch", batch, 1, 1_000_000)
        with self.subscriber(from_, on_damage=on_damage) as subscriber:
            end = bound.end(subscriber._channel.next_sequence())
            while subscriber.position < end:
                messages = subscriber._step(batch, end)
                if messages is None:
                    return
                for message in messages:
                    if bound.is_behind(message, end):
                        return
                    yield message

    def info(self) -> TopicInfo:
        return description(self._driver.request({"op": "info", "topic": self.name}))

    def __repr__(self) -> str:
        return f"<hermes_mq.Topic {self.name} {self.codec!r}>"


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


class Subscriber(SubscriberSurface[T]):
    """Reads one topic from a position on; sees every message, in sequence. Made by ``topic.subscriber()``.

    It's an iterator: ``for message in subscriber`` waits for messages and ends when the subscriber is closed. What was not handed out was not consumed: after a
    ``break``, the next loop goes on behind. After a lost connection it goes on where it was.
    """

    def __init__(self, driver: Driver, channel: SubscriberChannel, codec: Codec[T], skip: bool, verify: bool) -> None:
        self._driver = driver
        self._channel = channel
        self._condition = driver.condition_of(channel)
        self._use = threading.Lock()
        self._consumer = Consumer(channel, codec, skip, verify, driver.lock)

    def __iter__(self) -> Iterator[Message[T]]:
        return self

    def __next__(self) -> Message[T]:
        """Raises HermesError CORRUPT, BEHIND_RETENTION, DECODE_FAILED (the message counts as consumed), CONNECTION_FAILED, BUSY, …"""
        # (no context manager: this is called for each message)
        if self._driver.is_forked or not self._use.acquire(blocking=False):
            raise self._in_use_error()
        try:
            message = self._consumer.next()
            while message is None:
                if not self._wait(None):
                    raise StopIteration
                message = self._consumer.next()
            return message
        finally:
            self._use.release()

    def receive(self, timeout: Optional[float] = None) -> Optional[Message[T]]:
        """The next message; None if none has come within ``timeout`` seconds. Raises HermesError as iteration, and CLOSED."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._in_use():
            while True:
                self._check_open()
                message = self._consumer.next()
                if message is not None or not self._wait(deadline):
                    self._check_open()
                    return message

    def next_batch(self, most: int = 256, timeout: Optional[float] = None) -> List[Message[T]]:
        """What is there, up to ``most`` messages; waits while there is nothing, ``timeout`` seconds at most. Empty if none has come. Raises as ``receive``.

        Cheaper per message than one by one.
        """
        check_integer("most", most, 1, 10_000_000)
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._in_use():
            while True:
                self._check_open()
                batch = self._consumer.batch(most)
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
        """Goes elsewhere, and waits for the broker's answer. Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE (``seek`` again, then), CLOSED, TIMED_OUT."""
        wire = from_to_wire("seek()", target)
        channel = self._channel
        with self._in_use(), self._driver.lock:
            self._driver.check_process()
            self._check_open()
            self._driver.check_link()
            channel.move(wire)
            self._consumer.restart()
            deadline = time.monotonic() + self._driver.link.settings.request_timeout
            while not self._is_placed():
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._unplaced_error()
                self._driver.wait(self._condition, left)
            self._consumer.start()

    def _step(self, most: int, end: int) -> Optional[List[Message[T]]]:
        """As ``next_batch``, but also comes back, with nothing, once the position has passed ``end`` over sequences without messages. None: closed."""
        with self._in_use():
            while True:
                batch = self._consumer.batch(most)
                if batch or self._consumer.position >= end:
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

    def __enter__(self) -> "Subscriber[T]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.Subscriber of {self.topic} at {self.position}{' closed' if self.closed else ''}>"
