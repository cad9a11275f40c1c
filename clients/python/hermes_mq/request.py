"""A question to the broker, and how long a caller waits for an answer or a channel."""

from typing import Optional

from . import packets
from .errors import HermesError, protocol_error
from .link import Link
from .packets import Fields
from .user import User


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
