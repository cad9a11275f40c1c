"""Which requests a responder is answering, and which were given up: for both clients."""

import threading
from collections import OrderedDict
from typing import Callable, Dict, Generic, List, Optional, Protocol, Tuple, TypeVar

#: Given up, and not begun here: most of them are with other responders. Beyond so many the oldest is forgotten, and runs to its end for nothing if it comes.
_MOST_EARLY = 4096

#: Of a request: its requester and its number.
Id = Tuple[int, int]


class _Event(Protocol):
    def set(self) -> None: ...


E = TypeVar("E", bound=_Event)


class Cancellations(Generic[E]):
    """Tells handlers to stop. That a request was given up may be known before its handler begins, and closing may come between."""

    def __init__(self, make: Callable[[], E]) -> None:
        self._make = make
        self._lock = threading.Lock()
        #: More than one of a request if it was lost by its lease and came here again.
        self._running: Dict[Id, List[E]] = {}
        self._count = 0
        self._early: "OrderedDict[Id, None]" = OrderedDict()
        self._is_stopped = False

    @property
    def running(self) -> int:
        return self._count

    def begin(self, request: Id) -> Optional[E]:
        """What tells its handler to stop, until ``end``. None: it is not to begin: it was given up, or all are stopped."""
        with self._lock:
            if self._is_stopped or request in self._early:
                return None
            event = self._make()
            self._running.setdefault(request, []).append(event)
            self._count += 1
            return event

    def end(self, request: Id, event: E) -> None:
        with self._lock:
            events = self._running[request]
            events.remove(event)
            self._count -= 1
            if not events:
                del self._running[request]

    def cancel(self, request: Id) -> None:
        """Nobody waits for its reply any more."""
        with self._lock:
            for event in self._running.get(request, ()):
                event.set()
            self._early[request] = None
            if len(self._early) > _MOST_EARLY:
                self._early.popitem(last=False)

    def stop(self) -> None:
        """Tells all handlers; none begins any more."""
        with self._lock:
            self._is_stopped = True
            for events in self._running.values():
                for event in events:
                    event.set()
