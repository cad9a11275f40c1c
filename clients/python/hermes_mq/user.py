"""What has a channel of a connection: the contract between a Link and its publishers, subscribers, members and requests."""

from typing import Callable, Optional

from .errors import HermesError

NEVER = float("inf")


def nothing() -> None:
    pass


class User:
    """The owner of a channel: a publisher, a subscriber or a request. It gets a new one with every connection."""

    #: 0 = no channel.
    channel = 0
    #: Why there is no channel, and won't be by itself.
    failure: Optional[HermesError] = None
    #: When ``tick`` wants to be called, in the driver's time.
    due = NEVER

    def __init__(self) -> None:
        #: Notified of every change that a call may wait for.
        self.changed: Callable[[], None] = nothing

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
