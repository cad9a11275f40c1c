"""The state of one connection, without any input or output of its own: bytes go in, bytes come out, and time is told to it.

The drivers (driver.py, aio_driver.py) open the transport when ``phase`` says so, give it what arrives, write what ``take_output`` gives, close
it when ``hang_up`` is set, and call ``tick`` at ``deadline``. Nothing here waits, and nothing here takes a lock: whoever shares a Link between
threads holds one around every call.
"""

import platform
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

from . import packets
from .connect_failure import ClosedByBroker, connect_failure
from .errors import ERROR_CODES, HermesError, protocol_error
from .options import Settings
from .packets import Fields, PacketReader
from .types import Status
from .version import __version__

#: Phases: a transport is wanted at ``retry_at``; the driver is opening it; it's there; none will follow.
WANTED = "wanted"
DIALING = "dialing"
UP = "up"
ENDED = "ended"

#: After these there is no sense in trying again.
_FINAL_CODES = ("UNAUTHORIZED", "VERSION_MISMATCH")
#: The broker, or the topic there, is just going away: the same question may be answered a moment later, by a successor.
_PASSING_CODES = ("CLOSED",)
#: Before a channel that the broker has put off is opened anew, in seconds.
_PUT_OFF = 0.05
#: How often in a row one side may find fault with what the other one says.
_MOST_FAULTS = 3
#: Answers to pings that wait to be written.
_MOST_PONGS = 1000
#: A connection that has lasted so long, in seconds, was a good one.
_STABLE = 1.0
_NEVER = float("inf")
#: How long the broker is given for what it owes when it's going away, in seconds.
_MOST_GRACE = 2.0


class User:
    """A publisher, a subscriber or a request: whoever has a channel. It gets a new one with every connection."""

    #: 0 = no channel.
    channel = 0
    #: Why there is no channel, and won't be by itself.
    failure: Optional[HermesError] = None
    #: When ``tick`` wants to be called, in the driver's time.
    due = _NEVER

    def __init__(self) -> None:
        #: Told of every change that somebody may wait for.
        self.changed: Callable[[], None] = _nothing

    @property
    def opened(self) -> bool:
        raise NotImplementedError

    @property
    def idle(self) -> bool:
        """Whether it waits for nothing that it has sent."""
        return True

    def connected(self, channel: int) -> None:
        """There is a connection: open the channel."""
        raise NotImplementedError

    def disconnected(self) -> None:
        """The connection is lost; another one will follow."""
        raise NotImplementedError

    def interrupted(self, reason: HermesError) -> None:
        """The broker opens the topic anew, as it has failed there; the user gets another channel."""
        self.disconnected()

    def packet(self, kind: int, body: bytes) -> None:
        """Raises HermesError PROTOCOL: then the connection ends."""
        raise NotImplementedError

    def failed(self, error: HermesError) -> None:
        """The broker has ended the channel, or no connection will follow."""
        raise NotImplementedError

    def flush(self) -> None:
        """The link asks for what is ready to be sent."""

    def tick(self, now: float) -> None:
        """It's ``due``."""

    def topic_made(self, topic: str) -> None:
        """There is a topic of this name from now on."""


def _nothing() -> None:
    pass


class Link:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.phase = WANTED
        self.retry_at = 0.0
        #: The driver is to close the transport, once it has written what there is, and then to call ``transport_down``.
        self.hang_up = False
        #: Told when there is something to be written that was not before.
        self.on_output: Callable[[], None] = _nothing
        #: What the driver is to call once it holds no lock: status events, and results for callers.
        self.calls: List[Callable[[], None]] = []
        #: The first connection was made.
        self.connected_once = False
        self.failure: Optional[HermesError] = None
        self._users: Dict[User, None] = {}
        self._channels: Dict[int, User] = {}
        self._dirty: Set[User] = set()
        #: Who is to get another channel, and when.
        self._again: List[Tuple[float, User]] = []
        self._out: List[bytes] = []
        #: Answers among them: whoever asks without listening is not to fill our memory.
        self._pongs = 0
        self._reader: Optional[PacketReader] = None
        self._welcomed = False
        #: The largest body of a packet on this connection, in bytes.
        self.max_packet = 0
        self._deflater: Optional[packets.Deflater] = None
        #: Whether the broker has groups for its clients.
        self.has_groups = False
        self._server = ""
        self._next_channel = 1
        self._attempt = 0
        self._faults = 0
        self._reason: Optional[BaseException] = None
        self._heartbeat = 0.0
        self._dialed_at = 0.0
        self._since = 0.0
        self._received_at = 0.0
        self._sent_at = 0.0
        self._now = 0.0
        self._drain_until: Optional[float] = None

    # ---- users ----

    @property
    def ready(self) -> bool:
        """Whether packets may be sent: not while the broker is going away."""
        return self._welcomed and self._drain_until is None and not self.hang_up

    @property
    def closed(self) -> bool:
        return self.phase == ENDED

    def add(self, user: User) -> None:
        """Gives the user a channel, now or as soon as there is a connection. Raises HermesError CLOSED, CONNECTION_FAILED, …"""
        if self.failure is not None:
            raise self.failure.again()
        self._users[user] = None
        if self.ready:
            self._assign(user)

    def remove(self, user: User) -> None:
        self._users.pop(user, None)
        self._dirty.discard(user)
        self._forget_channels(user)

    def renew(self, user: User) -> None:
        """Takes a new channel for a user whose channel has ended."""
        self._forget_channels(user)
        if user in self._users and self.ready:
            self._assign(user)

    def renew_soon(self, user: User, delay: float = _PUT_OFF) -> None:
        """Gives the user a channel anew, ``delay`` seconds later."""
        self._again.append((self._now + delay, user))

    def topic_made(self, topic: str) -> None:
        """A publisher of this connection has opened the topic: it exists."""
        for user in list(self._users):
            user.topic_made(topic)

    def _forget_channels(self, user: User) -> None:
        for channel in [channel for channel, one in self._channels.items() if one is user]:
            del self._channels[channel]

    def _assign(self, user: User) -> None:
        channel = self._next_channel
        self._next_channel += 1
        self._channels[channel] = user
        user.connected(channel)

    def send(self, packet: bytes, *more: bytes) -> None:
        if not self._welcomed or self.hang_up:
            return
        self._out.append(packet)
        self._out.extend(more)
        self.on_output()

    def wants_flush(self, user: User) -> None:
        """The user has something that may be sent with whatever else comes until the transport takes more."""
        if user not in self._dirty:
            self._dirty.add(user)
            self.on_output()

    def close(self) -> None:
        """Ends everything. The driver closes the transport."""
        if self.phase == ENDED:
            return
        self._end(HermesError("CLOSED", f"The connection to {self.settings.url} was closed."))
        self.hang_up = True
        self.on_output()

    def _end(self, error: HermesError) -> None:
        self.phase = ENDED
        self.failure = error
        users = list(self._users)
        self._users.clear()
        self._channels.clear()
        self._dirty.clear()
        for user in users:
            user.failed(error)

    # ---- what drivers call ----

    def dialing(self, now: float) -> None:
        self.phase = DIALING
        self.hang_up = False
        self._dialed_at = now
        self._now = now
        self._reason = None
        self._out = []
        self._pongs = 0
        self._reader = None

    def transport_up(self, now: float) -> None:
        """The transport is there: greets the broker."""
        self._now = now
        self._received_at = now
        self._sent_at = now
        if self.phase != DIALING:
            self.hang_up = True
            return
        self.phase = UP
        self._reader = PacketReader(self._packet)
        hello: Dict[str, Any] = {
            "versions": [packets.PROTOCOL_VERSION, packets.PROTOCOL_VERSION],
            "features": self._offered,
            "client": f"hermes-mq/{__version__} python/{platform.python_version()}",
        }
        if self.settings.token is not None:
            hello["token"] = self.settings.token
        self._out = [packets.PREAMBLE, packets.json_packet(packets.HELLO, 0, hello)]
        self.on_output()

    @property
    def _offered(self) -> List[str]:
        return [packets.DEFLATE, packets.GROUPS] if self.settings.compression == "deflate" else [packets.GROUPS]

    def no_groups(self) -> HermesError:
        return HermesError(
            "UNSUPPORTED",
            f"The broker at {self.settings.url} is {self._server}, which has no groups and durable subscriptions for its clients. Have it upgraded.",
            {"url": self.settings.url, "server": self._server},
        )

    @property
    def now(self) -> float:
        """The time of the last call of the driver's."""
        return self._now

    def deflate(self, frames: bytes) -> Optional[bytes]:
        """The frames compressed, where that was agreed on and is worth it."""
        return None if self._deflater is None else self._deflater.deflate(frames)

    def received(self, data: bytes, now: float) -> None:
        self._now = now
        self._received_at = now
        if self.hang_up or self._reader is None:
            return
        try:
            self._reader.push(data)
        except HermesError as error:
            if error.code in ("PROTOCOL", "LIMIT"):
                self._faults += 1
            self._break_off(error)

    def take_output(self, now: float) -> List[bytes]:
        """What is to be written now. Asked for once everything before was taken, so that what is small goes together."""
        self._now = now
        if self._dirty and self.ready:
            dirty = self._dirty
            self._dirty = set()
            for user in dirty:
                user.flush()
        out = self._out
        if out:
            self._out = []
            self._pongs = 0
            self._sent_at = now
        return out

    @property
    def has_output(self) -> bool:
        return bool(self._out) or (bool(self._dirty) and self.ready)

    def transport_down(self, reason: Optional[BaseException], now: float) -> None:
        """The transport is gone, or there never was one."""
        self._now = now
        had = self._welcomed
        self._welcomed = False
        self._reader = None
        self._out = []
        self._dirty.clear()
        self._channels.clear()
        self._again.clear()
        self._drain_until = None
        self.hang_up = False
        if self.phase == ENDED:
            return
        cause = self._reason or reason or ClosedByBroker()
        settings = self.settings
        if had:
            self._tell("disconnected", reason=cause)
        stable = had and now - self._since > _STABLE
        # Bytes may be damaged on the way; who is misunderstood time and again says something wrong, and would for ever.
        if stable:
            self._faults = 0
        final = self._faults >= _MOST_FAULTS or (isinstance(cause, HermesError) and cause.code in _FINAL_CODES)
        # The first connection is made once: whoever connects learns at once that there is nobody.
        if final or settings.reconnect_min is None or not self.connected_once:
            self._end(self._as_failure(cause))
            return
        for user in list(self._users):
            user.disconnected()
        # One that is lost again at once counts as a failed attempt.
        if stable:
            self._attempt = 0
        ceiling = min(settings.reconnect_max, settings.reconnect_min * 2.0 ** min(self._attempt, 20))
        # At least half of it, so that nobody hammers; the rest at random, so that not all come at once.
        delay = ceiling * (0.5 + settings.random() / 2)
        self._attempt += 1
        self._tell("reconnecting", attempt=self._attempt, delay=delay)
        self.phase = WANTED
        self.retry_at = now + delay

    def deadline(self) -> Optional[float]:
        """When ``tick`` wants to be called, at the latest."""
        if self.phase == WANTED:
            return self.retry_at
        if self.phase != UP or self.hang_up:
            return None
        if not self._welcomed:
            return self._dialed_at + self.settings.connect_timeout
        times = [self._received_at + 2.5 * self._heartbeat, self._sent_at + self._heartbeat]
        if self._drain_until is not None:
            times.append(self._drain_until)
        times.extend(at for at, _ in self._again)
        times.extend(user.due for user in self._users if user.due != _NEVER)
        return min(times)

    def tick(self, now: float) -> None:
        self._now = now
        for user in [user for user in self._users if user.due <= now]:
            user.tick(now)
        if self.phase != UP or self.hang_up:
            return
        if not self._welcomed:
            timeout = self.settings.connect_timeout
            if now - self._dialed_at >= timeout:
                self._break_off(TimeoutError(f"it did not answer within {timeout} s"))
            return
        if now - self._received_at >= 2.5 * self._heartbeat:
            self._break_off(TimeoutError("the broker has said nothing for too long"))
            return
        if now - self._sent_at >= self._heartbeat:
            self._sent_at = now
            self.send(packets.u64_packet(packets.PING, 0, 0))
        due = [user for at, user in self._again if at <= now]
        self._again = [(at, user) for at, user in self._again if at > now]
        for user in due:
            # (it may have been given one meanwhile)
            if user not in self._channels.values():
                self.renew(user)
        self._leave_if_drained(now)

    def lagging(self, topic: str, behind: int) -> None:
        self._tell("lagging", topic=topic, behind=behind)

    # ---- packets ----

    def _packet(self, kind: int, channel: int, body: bytes) -> None:
        if not self._welcomed and kind not in (packets.WELCOME, packets.ERROR):
            raise protocol_error("The first packet of a broker has to be WELCOME.")
        if channel != 0:
            self._channel_packet(kind, channel, body)
        elif kind == packets.WELCOME:
            self._welcome(packets.parse_json(body))
        elif kind == packets.PING:
            self._pongs += 1
            if self._pongs > _MOST_PONGS:
                raise HermesError("LIMIT", "The broker asks for more signs of life than it takes.")
            self.send(packets.packet(packets.PONG, 0, body))
        elif kind == packets.ERROR:
            error = parse_error(packets.parse_json(body))
            if error.code == "PROTOCOL":
                self._faults += 1
            self._break_off(error)
        elif kind == packets.DRAIN:
            self._drain(packets.integer_field(packets.parse_json(body), "graceMs", 0, 3_600_000) / 1000)
        elif kind != packets.PONG:
            raise protocol_error(f"A packet of type {kind} belongs to a channel.")

    def _channel_packet(self, kind: int, channel: int, body: bytes) -> None:
        if not self._welcomed:
            raise protocol_error("The first packet of a broker has to be WELCOME.")
        user = self._channels.get(channel)
        if kind == packets.ERROR:
            self._channels.pop(channel, None)
            fields = packets.parse_json(body)
            error = parse_error(fields)
            if user is not None:
                self._refused(user, error, fields.get("retry") is True)
        else:
            if kind in (packets.CLOSED, packets.REPLY):
                self._channels.pop(channel, None)
            if user is not None:
                user.packet(kind, body)
        if self._drain_until is not None:
            self._leave_if_drained(self._now)

    def _refused(self, user: User, error: HermesError, retry: bool) -> None:
        """The broker has ended a channel, or not opened it. What passes is asked for again: on the next connection if this one is about to end."""
        passes = retry or error.code in _PASSING_CODES
        if not passes or self.settings.reconnect_min is None:
            user.failed(error)
            return
        if retry:
            user.interrupted(error)
        else:
            user.disconnected()
        self.renew_soon(user)

    def _welcome(self, fields: Fields) -> None:
        if self._welcomed:
            raise protocol_error("WELCOME came twice.")
        features = fields.get("features")
        if not isinstance(features, list) or not all(one in self._offered for one in features):
            offered = ", ".join(self._offered) or "none"
            raise protocol_error(f"The field 'features' should be some of those that were offered: {offered}.")
        packets.integer_field(fields, "version", 1, 1)
        server = packets.text_field(fields, "server", 200)
        heartbeat = packets.integer_field(fields, "heartbeatMs", 10, 3_600_000) / 1000
        limits = packets.object_field(fields, "limits")
        max_packet = packets.integer_field(limits, "maxPacketBytes", 1024, packets.MOST_PACKET_BYTES)
        packets.integer_field(limits, "maxBatchBytes", 64, 2**30)
        packets.integer_field(limits, "maxChannels", 1)
        compresses = packets.DEFLATE in features
        self.has_groups = packets.GROUPS in features
        self._server = server
        self._deflater = packets.Deflater() if compresses else None
        if self._reader is not None:
            self._reader.max_body = max_packet
            self._reader.compression = compresses
        self.max_packet = max_packet
        self._welcomed = True
        self._heartbeat = heartbeat
        self._since = self._now
        self._drain_until = None
        self._next_channel = 1
        self.connected_once = True
        self._tell("connected", server=server)
        for user in list(self._users):
            self._assign(user)

    def _drain(self, grace: float) -> None:
        """The broker is going away: wait for what it owes, then leave."""
        if self._drain_until is None:
            self._drain_until = self._now + min(grace, _MOST_GRACE)
            self._leave_if_drained(self._now)

    def _leave_if_drained(self, now: float) -> None:
        if self._drain_until is None:
            return
        if now >= self._drain_until or all(user.idle for user in self._users):
            self._break_off(ConnectionError("the broker is going away"))

    def _break_off(self, reason: BaseException) -> None:
        """Ends this connection: the driver closes the transport and says so."""
        if self._reason is None:
            self._reason = reason
        if self._reader is not None:
            self._reader.stop()
        self.hang_up = True
        self.on_output()

    def _as_failure(self, cause: BaseException) -> HermesError:
        if isinstance(cause, HermesError):
            return cause.again()
        return connect_failure(cause, self.settings)

    def _tell(self, type_: str, **details: Any) -> None:
        on_status = self.settings.on_status
        if on_status is not None:
            status = Status(type_, self.settings.url, details)
            self.calls.append(lambda: on_status(status))


class Request(User):
    """A question to the broker. Asked again if the connection is lost before the answer."""

    def __init__(self, link: Link, content: Fields) -> None:
        super().__init__()
        self._link = link
        self._content = content
        self.reply: Optional[Fields] = None

    @property
    def opened(self) -> bool:
        return self.reply is not None

    @property
    def idle(self) -> bool:
        return False

    def connected(self, channel: int) -> None:
        self.channel = channel
        self._link.send(packets.json_packet(packets.REQUEST, channel, self._content))

    def disconnected(self) -> None:
        self.channel = 0

    def failed(self, error: HermesError) -> None:
        self.channel = 0
        self.failure = error
        self.changed()

    def packet(self, kind: int, body: bytes) -> None:
        if kind != packets.REPLY:
            raise protocol_error(f"A packet of type {kind} came in place of a reply.")
        self.reply = packets.parse_json(body)
        self._link.remove(self)
        self.changed()


class Opening:
    """How long a caller waits for a user to be open: not long without a connection, longer for the broker's answer."""

    def __init__(self, link: Link, user: User, now: float) -> None:
        self._link = link
        self._user = user
        self._started = now

    def remaining(self, now: float) -> float:
        """Seconds until ``check`` may say otherwise."""
        settings = self._link.settings
        timeout = settings.request_timeout if self._user.channel else settings.connect_timeout
        return max(0.0, self._started + timeout - now)

    def check(self, now: float) -> bool:
        """Whether it's open. Raises the failure, CONNECTION_FAILED or TIMED_OUT."""
        user = self._user
        if user.opened:
            return True
        if user.failure is not None:
            raise user.failure.again()
        if self.remaining(now) > 0:
            return False
        settings = self._link.settings
        url = settings.url
        if user.channel:
            raise HermesError("TIMED_OUT", f"{url} did not answer within {settings.request_timeout} s.", {"url": url})
        raise HermesError("CONNECTION_FAILED", f"There was no connection to {url} for {settings.connect_timeout} s.", {"url": url})


def parse_error(fields: Fields) -> HermesError:
    """Makes the broker's error one of this process."""
    code = packets.text_field(fields, "code", 100)
    message = packets.text_field(fields, "message", 4000)
    details = fields.get("details")
    return HermesError(code if code in ERROR_CODES else "PROTOCOL", message, details if isinstance(details, dict) else {})


