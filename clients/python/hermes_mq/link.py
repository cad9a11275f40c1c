"""The state of one connection, without any input or output of its own: bytes go in, bytes come out, and time is told to it.

The drivers (driver.py, aio_driver.py) open the transport when ``phase`` says so, give it what arrives, write what ``take_output`` gives, close
it when ``hang_up`` is set, and call ``tick`` at ``deadline``. Nothing here waits, and nothing here takes a lock: a program that shares a Link between
threads holds one around every call.
"""

from typing import Any, Callable, List, Optional, Set

from . import packets
from .channels import Channels
from .compression import Deflater
from .connect_failure import ClosedByBroker, connect_failure
from .errors import HermesError, protocol_error
from .greeting import hello, read_welcome
from .options import Settings
from .packets import Fields, PacketReader
from .reconnection import Reconnection
from .types import Status
from .user import NEVER, User, nothing

#: Phases: a transport is wanted at ``retry_at``; the driver is opening it; it's there; none will follow.
WANTED = "wanted"
DIALING = "dialing"
UP = "up"
ENDED = "ended"

#: The broker, or the topic there, is just going away: the same question may be answered a moment later, by a successor.
_PASSING_CODES = ("CLOSED",)
#: Before a channel that the broker has put off is opened anew, in seconds.
_PUT_OFF = 0.05
#: Answers to pings that wait to be written.
_MOST_PONGS = 1000
#: How long the broker is given for what it owes when it's going away, in seconds.
_MOST_GRACE = 2.0


class Link:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.phase = WANTED
        self.retry_at = 0.0
        #: The driver is to close the transport, once it has written what there is, and then to call ``transport_down``.
        self.hang_up = False
        #: Told when there is something to be written that was not before.
        self.on_output: Callable[[], None] = nothing
        #: What the driver is to call once it holds no lock: status events, and results for callers.
        self.calls: List[Callable[[], None]] = []
        #: The first connection was made.
        self.connected_once = False
        self.failure: Optional[HermesError] = None
        self._channels = Channels()
        self._dirty: Set[User] = set()
        self._out: List[bytes] = []
        #: Answers among them: a peer that asks without reading must not fill our memory.
        self._pongs = 0
        self._reader: Optional[PacketReader] = None
        self._welcomed = False
        #: The largest body of a packet on this connection, in bytes.
        self.max_packet = 0
        self._deflater: Optional[Deflater] = None
        #: Whether the broker has groups for its clients.
        self.has_groups = False
        self._server = ""
        self._reconnection = Reconnection(settings)
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
        self._channels.add(user)
        if self.ready:
            self._channels.assign(user)

    def remove(self, user: User) -> None:
        self._dirty.discard(user)
        self._channels.remove(user)

    def renew(self, user: User) -> None:
        """Takes a new channel for a user whose channel has ended."""
        self._channels.forget(user)
        if user in self._channels.users and self.ready:
            self._channels.assign(user)

    def renew_soon(self, user: User, delay: float = _PUT_OFF) -> None:
        """Gives the user a channel anew, ``delay`` seconds later."""
        self._channels.put_off(user, self._now + delay)

    def topic_made(self, topic: str) -> None:
        """A publisher of this connection has opened the topic: it exists."""
        for user in list(self._channels.users):
            user.topic_made(topic)

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
        users = list(self._channels.users)
        self._channels.users.clear()
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
        self._out = [packets.PREAMBLE, packets.json_packet(packets.HELLO, 0, hello(self.settings))]
        self.on_output()

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
                self._reconnection.fault()
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
        self._drain_until = None
        self.hang_up = False
        if self.phase == ENDED:
            return
        cause = self._reason or reason or ClosedByBroker()
        if had:
            self._tell("disconnected", reason=cause)
        self._reconnection.lost(now - self._since if had else 0)
        # The first connection is tried once: the caller learns at once that no broker answers.
        if self._reconnection.is_over(cause) or not self.connected_once:
            self._end(self._as_failure(cause))
            return
        for user in list(self._channels.users):
            user.disconnected()
        delay = self._reconnection.next_delay()
        self._tell("reconnecting", attempt=self._reconnection.attempt, delay=delay)
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
        times.extend(self._channels.due_times())
        times.extend(user.due for user in self._channels.users if user.due != NEVER)
        return min(times)

    def tick(self, now: float) -> None:
        self._now = now
        for user in [user for user in self._channels.users if user.due <= now]:
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
        for user in self._channels.take_due(now):
            # (it may have been given one meanwhile)
            if not self._channels.has_channel(user):
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
            error = packets.parse_error(packets.parse_json(body))
            if error.code == "PROTOCOL":
                self._reconnection.fault()
            self._break_off(error)
        elif kind == packets.DRAIN:
            self._drain(packets.integer_field(packets.parse_json(body), "graceMs", 0, 3_600_000) / 1000)
        elif kind != packets.PONG:
            raise protocol_error(f"A packet of type {kind} belongs to a channel.")

    def _channel_packet(self, kind: int, channel: int, body: bytes) -> None:
        if not self._welcomed:
            raise protocol_error("The first packet of a broker has to be WELCOME.")
        user = self._channels.user_of(channel)
        if kind == packets.ERROR:
            self._channels.end(channel)
            fields = packets.parse_json(body)
            error = packets.parse_error(fields)
            if user is not None:
                self._refused(user, error, fields.get("retry") is True)
        else:
            if kind in (packets.CLOSED, packets.REPLY):
                self._channels.end(channel)
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
        welcome = read_welcome(fields, self.settings)
        self.has_groups = welcome.has_groups
        self._server = welcome.server
        self._deflater = Deflater() if welcome.compresses else None
        if self._reader is not None:
            self._reader.max_body = welcome.max_packet
            self._reader.compression = welcome.compresses
        self.max_packet = welcome.max_packet
        self._welcomed = True
        self._heartbeat = welcome.heartbeat
        self._since = self._now
        self._drain_until = None
        self.connected_once = True
        self._tell("connected", server=welcome.server)
        self._channels.assign_all()

    def _drain(self, grace: float) -> None:
        """The broker is going away: wait for what it owes, then leave."""
        if self._drain_until is None:
            self._drain_until = self._now + min(grace, _MOST_GRACE)
            self._leave_if_drained(self._now)

    def _leave_if_drained(self, now: float) -> None:
        if self._drain_until is None:
            return
        if now >= self._drain_until or all(user.idle for user in self._channels.users):
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
