"""The synchronous client: a thread of its own drives the connection, and callers wait for it.

Thread safety: a client, its topics and publishers may be used by several threads at once; a subscriber by one at a time (else BUSY).
"""

import contextlib
import ssl
from types import TracebackType
from typing import Any, Callable, Dict, Generic, Iterator, List, Optional, Tuple, Type, TypeVar, Union

from .admin import Administration
from .calls import GROUP_NAME, Service, check_reply_timeout
from .codecs import Codec, checked_codec
from .driver import Driver
from .group import Group
from .jobs import Key, group_join, position_join
from .lanes import lane_of_group
from .member import MemberChannel
from .options import (
    PathOrPem,
    Settings,
    check_callback,
    check_durability,
    check_flag,
    check_integer,
    check_settings,
    check_topic_name,
    topic_settings,
)
from .position import PositionChannel
from .publisher import Publisher
from .publishing import PublisherChannel
from .requester import Requester
from .responder import RequestContext, Responder
from .subscriber import Subscriber
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
        #: Makes, alters and deletes topics, and looks after groups.
        self.admin = Administration(self._driver)
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

    def requester(
        self,
        name: str,
        *,
        request: Union[Codec[Any], str] = "json",
        reply: Union[Codec[Any], str] = "json",
        max_payload_bytes: int = 65_536,
        timeout: float = 30.0,
    ) -> "Requester[Any, Any]":
        """Asks the responders of a service, over the topics ``<name>.requests`` and ``<name>.replies``, which are made where they are missing.

        ``request`` and ``reply`` (codecs) and ``max_payload_bytes`` have to be those of the responders, in TypeScript too. ``timeout`` (seconds): how long a reply is waited for, unless the
        request says otherwise. Raises HermesError INVALID_NAME, INVALID_ARGUMENT, CODEC_MISMATCH, CONFIG_MISMATCH, UNAUTHORIZED, CONNECTION_FAILED, …
        """
        service: Service[Any] = Service(self, name, request, reply, max_payload_bytes)
        within = check_reply_timeout(timeout)
        # First what receives: no reply comes before it listens.
        replies = service.replies.subscriber("latest", create=True)
        try:
            return Requester(service, service.requests.publisher(), replies, within)
        except BaseException:
            replies.close()
            raise

    def responder(
        self,
        name: str,
        handler: Callable[[Any, RequestContext], Any],
        *,
        request: Union[Codec[Any], str] = "json",
        reply: Union[Codec[Any], str] = "json",
        max_payload_bytes: int = 65_536,
        concurrency: int = 16,
    ) -> "Responder[Any, Any]":
        """Answers the requests of a service with ``handler(request, context)``, in up to ``concurrency`` threads of its own. What it returns travels to the requester, and so does what it raises.

        At least once: a request whose responder dies goes to another one, three times at most. The other options and the errors are those of ``requester``.
        """
        service: Service[Any] = Service(self, name, request, reply, max_payload_bytes)
        check_integer("concurrency", concurrency, 1, 1000)
        check_callback("responder()'s second argument, handler(request, context),", handler)
        with contextlib.ExitStack() as opened:
            replies = opened.enter_context(service.replies.publisher())
            cancels = opened.enter_context(service.requests.subscriber("latest", create=True))
            requests = service.requests.group(GROUP_NAME, **service.group_options(concurrency))
            opened.pop_all()
            return Responder(service, requests, cancels, replies, handler, concurrency)

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
        check_flag("exclusive", exclusive)
        driver = self._driver
        channel = PublisherChannel(driver.link, self.name, self._settings, durability, exclusive)
        driver.open(channel)
        return Publisher(driver, channel, self.codec)

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
    ) -> "Subscriber[T]":
        """Opens a subscriber, which begins at ``'earliest'``, ``'latest'``, a sequence, or a datetime (the first message stamped then or later).

        A topic that does not exist is waited for: its first publisher says what it is. With ``create=True`` the subscriber makes it, with the topic's settings;
        where the topic was given ``create=False``, it raises NOT_FOUND.

        ``name`` makes it a durable subscription: it goes on where it has committed, and ``from_`` only says where a new name begins. One subscriber at a time holds a name
        (EXCLUSIVE_HELD); one that isn't heard of for ``lease`` seconds (30) loses it. ``commit='auto'`` commits what was handed out when more is asked for.

        With ``up_to='synced'`` nothing is handed out that a loss of power could take back; of use where publishers sync.

        ``on_damage='skip'`` passes over damaged messages in place of CORRUPT. Without ``verify``, checksums are not looked at.
        Raises HermesError BEHIND_RETENTION, OUT_OF_RANGE, CODEC_MISMATCH, NOT_FOUND, UNAUTHORIZED, CONNECTION_FAILED, …
        """
        check_damage(on_damage)
        check_flag("verify", verify)
        check_flag("create", create)
        check_durability(up_to, "up_to")
        check_commit(name, commit, lease)
        driver = self._driver
        begin = from_to_wire("'from_'", from_)
        position: Optional[PositionChannel] = None
        if name is not None:
            join = position_join(self.name, name, self._settings, from_, lease, create)
            position = PositionChannel(driver.link, self.name, name, join)
            driver.open(position)
            begin = position.committed
        try:
            channel = SubscriberChannel(driver.link, self.name, self._settings, begin, create, up_to)
            driver.open(channel)
        except BaseException:
            if position is not None:
                with driver.lock:
                    position.leave()
                    position.dismiss()
                    driver.rouse()
            raise
        return Subscriber(driver, channel, self.codec, on_damage == "skip", verify, position, commit == "auto")

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
    ) -> "Group[T]":
        """Joins a group of the topic, and makes the group if there is none: its members share the topic's messages. Each is handled by one of them at least once.

        ``kind``: ``'shared'`` (any member any message), ``'exclusive'`` (one member has all, another one takes over) or ``'keyed'`` (needs ``key``, the name of a field or a function: the
        messages of one key are with one member at a time, in order). ``from_``: where a new group begins. ``max_in_flight``: what this member may hold, not settled. ``lease`` (30 s): a
        member that isn't heard of for so long loses what it holds. ``max_deliveries`` (5; 0: without limit), then a message goes into ``dead_letter`` (``<topic>.dead``; False: nowhere).
        ``backoff`` ((1.0, 60.0)): before a message comes again, at first and at most. ``window``, ``up_to``: as of the TypeScript package.

        Raises HermesError NOT_FOUND, CONFIG_MISMATCH (the group was made with other options), UNAUTHORIZED, UNSUPPORTED (an older broker), LIMIT, …
        """
        join, find = group_join(
            self.name,
            name,
            self._settings,
            self.codec,
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
        driver = self._driver
        channel = MemberChannel(driver.link, self.name, name, join, max_in_flight, find and find.hash_of)
        driver.open(channel)
        return Group(driver, channel, self.codec, lane_of_group(join, find and find.hash_of), find and find.check)

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
