"""Jobs that were handed out and wait for those before them, where order counts: for the ``run()`` of both clients."""

import threading
from collections import deque
from typing import Any, Callable, Deque, Dict, Generic, Hashable, List, Optional, Tuple, TypeVar

J = TypeVar("J", bound=Any)


def lane_of_group(join: Dict[str, Any], hash_of: Optional[Callable[[bytes], int]]) -> Optional[Callable[[bytes], Hashable]]:
    """Messages of one lane are handled in their order: those of a key, or of an exclusive group. None: there is no order."""
    if join["kind"] == "shared":
        return None
    if join["kind"] == "exclusive":
        return lambda payload: 0
    if hash_of is not None:
        return hash_of
    offset, size = join["rules"]["key"]["offset"], join["rules"]["key"]["bytes"]
    return lambda payload: payload[offset : offset + size]


class Lanes(Generic[J]):
    """Of each lane (a key; or the group, if it is exclusive) one job is handled at a time.

    Once one of them was returned, those that wait behind it are to be given back, without a delivery that counts: they come again after it.
    """

    def __init__(self, lane_of: Optional[Callable[[bytes], Hashable]]) -> None:
        self._lane_of = lane_of
        self._lock = threading.Lock()
        #: What waits, of each lane in which one is being handled.
        self._waiting: Dict[Hashable, Deque[J]] = {}
        #: When one of a lane was returned last, and its sequence, until nothing can come that was taken before.
        self._returned: Dict[Hashable, Tuple[int, int]] = {}
        self._is_closed = False
        #: Moves on with each job that was returned.
        self.turn = 0

    def enter(self, job: J, turn: int) -> Tuple[bool, List[J]]:
        """Whether the job may be handled now (else ``after`` returns it when its turn has come), and what is to be given back.

        ``turn``: that before it was taken. One that was taken before another one of its lane was returned, and enters after that, belongs behind it.
        """
        if self._lane_of is None:
            return True, []
        lane = job.lane = self._lane_of(job._claim.payload)
        with self._lock:
            at, sequence = self._returned.get(lane, (0, 0))
            # (the one that was returned may be here again by now)
            is_stale = at > turn and job.sequence > sequence
            self._returned = {one: last for one, last in self._returned.items() if last[0] > turn}
            waiting = self._waiting.get(lane)
            if waiting is not None:
                waiting.append(job)
                return False, []
            if is_stale or self._is_closed:
                return False, [job]
            self._waiting[lane] = deque()
            return True, []

    def after(self, job: J) -> Tuple[Optional[J], List[J]]:
        """What comes after a job whose handling has ended, and what is to be given back first: then ask again."""
        if self._lane_of is None:
            return None, []
        lane = job.lane
        with self._lock:
            waiting = self._waiting[lane]
            if job.was_returned:
                self.turn += 1
                self._returned[lane] = (self.turn, job.sequence)
            back = [one for one in waiting if self._is_closed or (job.was_returned and one.sequence > job.sequence)]
            if back:
                for one in back:
                    waiting.remove(one)
                # (the lane stays taken until they are given back: one that comes meanwhile is behind them)
                return None, back
            if waiting:
                return waiting.popleft(), []
            del self._waiting[lane]
            return None, []

    def close(self) -> List[J]:
        """What waits, to be given back."""
        with self._lock:
            self._is_closed = True
            back = [job for waiting in self._waiting.values() for job in waiting]
            for waiting in self._waiting.values():
                waiting.clear()
            return back
