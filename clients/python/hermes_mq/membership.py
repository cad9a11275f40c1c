"""What a member of a group and the position of a durable subscription have in common: joining, showing that they live, asking and leaving."""

import secrets
from struct import Struct
from typing import Any, Dict

from . import packets
from .link import Link
from .questions import Question, Questions
from .user import NEVER, User

#: A member shows that it lives so often while its lease lasts.
BEATS = 4

_DEMAND = Struct("<QQII")


class MembershipChannel(User):
    def __init__(self, link: Link, topic: str, join: Dict[str, Any]) -> None:
        super().__init__()
        self._link = link
        self.topic = topic
        self._join = join
        self._token = secrets.token_hex(16)
        self._questions = Questions()
        #: On this connection, and on any.
        self._is_joined = False
        self._has_joined = False
        self._lease = 30.0
        self.closed = False
        #: CLOSED has come, or no answer will.
        self.left = False

    def _send_join(self, channel: int, taken: int, limit: int, settled: int) -> None:
        if not self._link.has_groups:
            self.failed(self._link.no_groups())
            return
        self.channel = channel
        self._is_joined = False
        join = {**self._join, "token": self._token, "taken": taken, "limit": limit, "settled": settled}
        if self._link.settings.reconnect_min is None:
            join["graceMs"] = 0
        self._link.send(packets.json_packet(packets.JOIN, channel, join))

    def _send_demand(self, taken: int, limit: int, epoch: int) -> None:
        self._link.send(packets.packet(packets.DEMAND, self.channel, _DEMAND.pack(taken, limit, epoch, 0)))

    def _ask(self, question: Question) -> Question:
        if self.failure is not None:
            question.error = self.failure.again()
        else:
            self._send_ask(self._questions.add(question))
        return question

    def _ask_again(self) -> None:
        """Asks on a new connection what has no answer."""
        for content in self._questions.again():
            self._send_ask(content)

    def _send_ask(self, content: packets.Fields) -> None:
        if self._is_joined:
            self._link.send(packets.json_packet(packets.ASK, self.channel, content))

    def _leave(self) -> None:
        self.closed = True
        self.left = not self._is_joined
        if self._is_joined:
            self._link.send(packets.packet(packets.CLOSE, self.channel))
        self.changed()

    def _gone(self) -> None:
        """There is no channel any more."""
        self.channel = 0
        self._is_joined = False
        self.due = NEVER
        if self.closed:
            self.left = True
            self.changed()
