"""The channels of one connection: which user has which number, and which user gets another one when."""

from typing import Dict, List, Optional, Tuple

from .user import User


class Channels:
    def __init__(self) -> None:
        #: In the order in which they came. They stay from one connection to the next; their channels do not.
        self.users: Dict[User, None] = {}
        self._by_number: Dict[int, User] = {}
        self._next = 1
        #: The users that get another channel, and when.
        self._again: List[Tuple[float, User]] = []

    def add(self, user: User) -> None:
        self.users[user] = None

    def remove(self, user: User) -> None:
        self.users.pop(user, None)
        self.forget(user)

    def assign(self, user: User) -> None:
        """Gives the user the next number, and tells it so."""
        number = self._next
        self._next += 1
        self._by_number[number] = user
        user.connected(number)

    def assign_all(self) -> None:
        """There is a new connection: its numbers begin at 1."""
        self._next = 1
        for user in list(self.users):
            self.assign(user)

    def forget(self, user: User) -> None:
        for number in [number for number, one in self._by_number.items() if one is user]:
            del self._by_number[number]

    def end(self, number: int) -> None:
        """The broker has ended this channel."""
        self._by_number.pop(number, None)

    def user_of(self, number: int) -> Optional[User]:
        return self._by_number.get(number)

    def has_channel(self, user: User) -> bool:
        return user in self._by_number.values()

    def clear(self) -> None:
        """The connection is gone, and all its channels with it."""
        self._by_number.clear()
        self._again.clear()

    def put_off(self, user: User, until: float) -> None:
        self._again.append((until, user))

    def due_times(self) -> List[float]:
        """When ``take_due`` returns a user."""
        return [at for at, _ in self._again]

    def take_due(self, now: float) -> List[User]:
        """Who was put off until now, and has got no channel meanwhile."""
        due = [user for at, user in self._again if at <= now]
        self._again = [(at, user) for at, user in self._again if at > now]
        return due
