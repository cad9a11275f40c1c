"""The client for asyncio: the same surface as the synchronous one, awaited. All of a client is used from one event loop.

```python
import asyncio
import hermes_mq

async def main():
    async with hermes_mq.aio.connect("tcp://127.0.0.1:9000") as client:
        async with client.topic("greetings", "text").publisher() as publisher:
            receipt = await publisher.publish_acked("hello")
            print(receipt.sequence)

asyncio.run(main())
```
"""

import asyncio
import contextlib
import ssl
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Dict, Generic, List, Optional, Tuple, Type, TypeVar, Union

from .admin import AioAdministration
from .aio_driver import Driver
from .aio_group import Group
from .aio_pending import Closable, Pending
from .aio_publisher import Publisher
from .aio_requester import Requester
from .aio_responder import RequestContext, Responder
from .aio_subscriber import Subscriber
from .calls import GROUP_NAME, Service, check_reply_timeout
from .codecs import Codec, checked_codec
from .jobs import Key, group_join, position_join
from .lanes import lane_of_group
from .member import MemberChannel
from .options import (
    PathOrPem,
    check_callback,
    check_durability,
    check_flag,
    check_integer,
    check_settings,
    check_topic_name,
    topic_settings,
)
from .position import PositionChannel
from .publishing import PublisherChannel
from .subscribing import SubscriberChannel
from .surface import (
    Bound,
    check_commit,
    check_damage,
    codec_of,
    description,
    topic_names,
    with_codec,
)
from .types import From, Message, Retention, Status, TopicInfo, from_to_wire

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


class Client(Closable):
    """A connection to a broker, made again whenever it's lost. Made by ``connect()``."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        #: Makes, alters and deletes topics, and looks after groups.
        self.admin = AioAdministration(driver)

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

    def requester(
        self,
        name: str,
        *,
        request: Union[Codec[Any], str] = "json",
        reply: Union[Codec[Any], str] = "json",
        max_payload_bytes: int = 65_536,
        timeout: float = 30.0,
    ) -> "Pending[Requester[Any, Any]]":
        """Asks the responders of a service, as ``hermes_mq.Client.requester``."""
        service: Service[Any] = Service(self, name, request, reply, max_payload_bytes)
        within = check_reply_timeout(timeout)

        async def opening() -> "Requester[Any, Any]":
            # First what receives: no reply comes before it listens.
            replies = await service.replies.subscriber("latest", create=True)
            try:
                return Requester(service, await service.requests.publisher(), replies, within)
            except BaseException:
                await replies.close()
                raise

        return Pending(opening)

    def responder(
        self,
        name: str,
        handler: Callable[[Any, RequestContext], Any],
        *,
        request: Union[Codec[Any], str] = "json",
        reply: Union[Codec[Any], str] = "json",
        max_payload_bytes: int = 65_536,
        concurrency: int = 16,
    ) -> "Pending[Responder[Any, Any]]":
        """Answers the requests of a service, as ``hermes_mq.Client.responder``: with a function or a coroutine function, ``concurrency`` at a time in the event loop."""
        service: Service[Any] = Service(self, name, request, reply, max_payload_bytes)
        check_integer("concurrency", concurrency, 1, 10_000)
        check_callback("responder()'s second argument, handler(request, context),", handler, is_awaited=True)

        async def opening() -> "Responder[Any, Any]":
            async with contextlib.AsyncExitStack() as opened:
                replies = await opened.enter_async_context(service.replies.publisher())
                cancels = await opened.enter_async_context(service.requests.subscriber("latest", create=True))
                requests = await service.requests.group(GROUP_NAME, **service.group_options(concurrency))
                opened.pop_all()
                return Responder(service, requests, cancels, replies, handler, concurrency)

        return Pending(opening)

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
        check_flag("exclusive", exclusive)

        async def opening() -> Publisher[T]:
            codec, settings = await self._prepared()
            driver = self._driver
            channel = PublisherChannel(driver.link, self.name, settings, durability, exclusive)
            await driver.open(channel)
            return Publisher(driver, channel, codec)

        return Pending(opening)

    def subscriber(
        self,
        from_: From = "latest",
        *,
        on_damage: str = "stop",
        verify: bool = True,
        create: bool = False,
        name: Optional[str] = None,
        commit: str = "manual",
        lease: Optional[float] = None,
        up_to: str = "written",
    ) -> "Pending[Subscriber[T]]":
        """Opens a subscriber, as ``hermes_mq.Topic.subscriber``."""
        check_damage(on_damage)
        check_flag("verify", verify)
        check_flag("create", create)
        check_durability(up_to, "up_to")
        check_commit(name, commit, lease)
        wire = from_to_wire("'from_'", from_)

        async def opening() -> Subscriber[T]:
            codec, settings = await self._prepared()
            driver = self._driver
            begin = wire
            position: Optional[PositionChannel] = None
            if name is not None:
                join = position_join(self.name, name, settings, from_, lease, create)
                position = PositionChannel(driver.link, self.name, name, join)
                await driver.open(position)
                begin = position.committed
            try:
                channel = SubscriberChannel(driver.link, self.name, settings, begin, create, up_to)
                await driver.open(channel)
            except BaseException:
                if position is not None:
                    position.leave()
                    position.dismiss()
                raise
            return Subscriber(driver, channel, codec, on_damage == "skip", verify, position, commit == "auto")

        return Pending(opening)

    def group(
        self,
        name: str,
        *,
        kind: Optional[str] = None,
        key: Optional[Key] = None,
        from_: From = "earliest",
        max_in_flight: int = 1000,
        lease: Optional[float] = None,
        max_deliveries: Optional[int] = None,
        backoff: Union[None, float, Tuple[float, float]] = None,
        dead_letter: Union[None, str, bool] = None,
        window: Optional[int] = None,
        up_to: Optional[str] = None,
        member: Optional[str] = None,
        create: bool = False,
    ) -> "Pending[Group[T]]":
        """Joins a group, as ``hermes_mq.Topic.group``."""

        async def opening() -> Group[T]:
            codec, settings = await self._prepared()
            driver = self._driver
            join, find = group_join(
                self.name,
                name,
                settings,
                codec,
                kind=kind,
                key=key,
                from_=from_,
                max_in_flight=max_in_flight,
                lease=lease,
                max_deliveries=max_deliveries,
                backoff=backoff,
                dead_letter=dead_letter,
                window=window,
                up_to=up_to,
                member=member,
                create=create,
            )
            channel = MemberChannel(driver.link, self.name, name, join, max_in_flight, find and find.hash_of)
            await driver.open(channel)
            return Group(driver, channel, codec, lane_of_group(join, find and find.hash_of), find and find.check)

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
