"""A member of a group, for the synchronous client."""

import concurrent.futures
import contextlib
import threading
import time
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, Hashable, Iterator, List, Optional, Sequence, Type, TypeVar

from .codecs import Codec
from .driver import Driver
from .errors import HermesError, invalid
from .jobs import MOST_BATCH, Ahead, GroupSurface, JobBase, delay_ms, report_of
from .lanes import Lanes
from .member import MemberChannel
from .options import check_callback, check_integer, check_stop, check_timeout, check_told
from .questions import Question
from .settlements import DONE, RELEASED, RETURNED, Settling

T = TypeVar("T")

class Job(JobBase[T]):
    """A message that this member is to handle. Settle each job once, by ``ack``, ``nack`` or ``reject``; from any thread."""

    __slots__ = ()
    _group: "Group[T]"

    def ack(self) -> None:
        """The message is handled: it does not come again. Raises HermesError LEASE_LOST if another member has it by now, INVALID_ARGUMENT, CLOSED, CONNECTION_FAILED."""
        self._group.ack([self])

    def nack(self, delay: Optional[float] = None) -> None:
        """The message could not be handled: it comes again, to any member: after ``delay`` seconds, or after the group's back-off. Raises as ``ack``."""
        self._group._settled([self], RETURNED, delay_ms(delay))

    def reject(self, reason: str) -> None:
        """The message can never be handled: it goes into the dead-letter topic. Raises as ``ack``, and what publishing there raises."""
        self._group._rejected(self, reason)

    def extend(self) -> None:
        """The member's lease begins anew. As long as the process runs, the client's own thread renews it."""
        if self.is_settled:
            raise invalid(f"Message {self.sequence} is settled already.")
        self._group._renew()

    def _release(self) -> None:
        """It was not begun: it comes again, as if it had not been delivered."""
        self._group._settled([self], RELEASED, 0)


class Group(GroupSurface[T]):
    """One member of a group: the members of all processes share the topic's messages. Made by ``topic.group()``.

    It's an iterator of jobs: ``for job in group`` waits for messages, and ends when the group is closed. One thread at a time iterates; any may settle.

    ```python
    with client.topic("mails", "json").group("senders") as group:
        for job in group:
            try:
                send(job.value)
                job.ack()
            except OSError:
                job.nack(delay=5.0)
    ```
    """

    def __init__(
        self,
        driver: Driver,
        channel: MemberChannel,
        codec: Codec[T],
        lane_of: Optional[Callable[[bytes], Hashable]],
        check_key: Optional[Callable[[Any], None]] = None,
    ) -> None:
        self._driver = driver
        self._channel = channel
        self._codec = codec
        self._lane_of = lane_of
        self._ahead = Ahead()
        self._check_key = check_key
        self._condition = driver.condition_of(channel)
        self._use = threading.Lock()
        self._fault: Optional[HermesError] = None

    def __iter__(self) -> Iterator[Job[T]]:
        return self

    def __next__(self) -> Job[T]:
        """Raises HermesError POSITION_LOST (once; go on), NOT_FOUND if the group was deleted, CORRUPT, DECODE_FAILED (the message is returned), CONNECTION_FAILED, BUSY."""
        jobs = self._take(1, None)
        if not jobs:
            raise StopIteration
        return jobs[0]

    def receive(self, timeout: Optional[float] = None) -> Optional[Job[T]]:
        """The next job; None if none has come within ``timeout`` seconds, or the group is closed. Raises as iteration."""
        jobs = self._take(1, timeout)
        return jobs[0] if jobs else None

    def next_batch(self, most: int = MOST_BATCH, timeout: Optional[float] = None) -> List[Job[T]]:
        """What is there, up to ``most`` jobs; waits while there is nothing. ``group.ack(jobs)`` settles them together."""
        check_integer("most", most, 1, MOST_BATCH)
        return self._take(most, timeout)

    def batches(self, most: int = MOST_BATCH) -> Iterator[List[Job[T]]]:
        """Yields what is there, up to ``most`` jobs at once, waiting when there is nothing. Ends when the group is closed."""
        while True:
            jobs = self.next_batch(most)
            if not jobs:
                return
            yield jobs

    def _take(self, most: int, timeout: Optional[float]) -> List[Job[T]]:
        check_timeout(timeout)
        if self._driver.is_forked or not self._use.acquire(blocking=False):
            self._driver.check_process()
            raise self._busy_error("thread")
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while True:
                fault = self._fault
                if fault is not None:
                    self._fault = None
                    raise fault
                with self._driver.lock:
                    if self._channel.closed:
                        return []
                    claims = self._claims(most)
                    self._driver.rouse()
                    if not claims and not self._wait(lambda: self._channel.has_news, deadline):
                        return []
                jobs, self._fault = self._decoded_here(claims)
                if jobs:
                    return jobs
        finally:
            self._use.release()

    def _decoded_here(self, claims: Any) -> Any:
        if not claims:
            return [], None
        with self._driver.lock:
            return self._decoded(claims, lambda claim, value: Job(self, claim, value))

    def _wait(self, is_done: Callable[[], bool], deadline: Optional[float]) -> bool:
        """Waits until it's so. False: the time is over. REQUIRES: the lock is held."""
        channel = self._channel
        while not is_done():
            now = time.monotonic()
            if channel.due <= now:
                # (while there is no connection nothing else checks it)
                channel.tick(now)
                continue
            left = 1.0 if deadline is None else min(1.0, deadline - now)
            if left <= 0:
                return False
            self._driver.wait(self._condition, left)
        return True

    # ---- settling ----

    def ack(self, jobs: Sequence[Job[T]]) -> None:
        """Settles jobs together. Raises HermesError LEASE_LOST with those in ``details['sequences']`` that another member has; the others are settled."""
        self._settled(jobs, DONE, 0)

    def _settled(self, jobs: Sequence[Job[T]], outcome: int, delay: int) -> None:
        with self._driver.lock:
            self._driver.check_process()
            settling: Settling = self._settle(jobs, outcome, delay)
            self._driver.rouse()
            self._wait(lambda: settling.done, None)
            self._condition.notify_all()
        self._outcome(settling)

    def _rejected(self, job: Job[T], reason: str) -> None:
        with self._driver.lock:
            question = self._reject(job, reason)
        answer = self._answer(question)
        if answer.get("mine") is not True:
            raise self._late([job.sequence])

    def _answer(self, question: Question) -> Dict[str, Any]:
        self._driver.rouse()
        timeout = self._driver.link.settings.request_timeout
        with self._driver.lock:
            if not self._wait(lambda: question.done, time.monotonic() + timeout):
                raise HermesError("TIMED_OUT", f"The broker did not answer '{question.op}' within {timeout} s.")
        if question.error is not None:
            raise question.error.again()
        return question.answer or {}

    def _renew(self) -> None:
        with self._driver.lock:
            self._check_open()
            self._channel.beat()

    def run(
        self,
        handler: Callable[[Job[T]], Any],
        *,
        concurrency: int = 1,
        stop: Optional[threading.Event] = None,
        on_error: Optional[Callable[[BaseException, Job[T]], Any]] = None,
    ) -> None:
        """Handles messages as they come, in ``concurrency`` threads (in a keyed group one of each key, in an exclusive one no two): one for which the handler returns is acknowledged, one for which it raises is returned.

        Returns when ``stop`` is set or the group is closed, once the handlers that are under way have ended. ``on_error`` is told of each handler that failed and of each
        acknowledgement that came too late; by default a traceback is printed. Raises what iteration raises.
        """
        check_callback("the handler of run()", handler)
        check_integer("concurrency", concurrency, 1, 1000)
        check_stop(stop, "threading")
        told = check_told(on_error) or _print
        slots = threading.Semaphore(concurrency)
        lanes: "Lanes[Job[T]]" = Lanes(self._lane_of)

        def handle(job: Job[T]) -> None:
            try:
                handler(job)
                if not job.is_settled:
                    job.ack()
            except BaseException as error:
                _tell(told, error, job)
                if not job.is_settled:
                    try:
                        job.nack()
                    except HermesError as second:
                        _tell(told, second, job)

        def work(first: Job[T]) -> None:
            job: Optional[Job[T]] = first
            try:
                while job is not None:
                    handle(job)
                    following, back = lanes.after(job)
                    while back:
                        self._give_back(back)
                        following, back = lanes.after(job)
                    job = following
            finally:
                slots.release()

        with concurrent.futures.ThreadPoolExecutor(concurrency) as pool:
            try:
                while stop is None or not stop.is_set():
                    if not slots.acquire(timeout=0.1):
                        continue
                    begins = False
                    try:
                        turn = lanes.turn
                        job = self.receive(0.1)
                        if job is None and self.closed:
                            return
                        if job is not None and stop is not None and stop.is_set():
                            self._give_back([job])
                        elif job is not None:
                            begins, back = lanes.enter(job, turn)
                            self._give_back(back)
                            if begins:
                                pool.submit(work, job)
                    finally:
                        if not begins:
                            slots.release()
            finally:
                self._give_back(lanes.close())

    def _give_back(self, jobs: "List[Job[T]]") -> None:
        """They were not begun. One that cannot be given back any more is with another member."""
        if jobs:
            with contextlib.suppress(HermesError):
                self._settled(jobs, RELEASED, 0)

    def describe(self) -> Dict[str, Any]:
        """What the group and its members are doing: the fields of ``GroupReport`` in the TypeScript package, as they travel."""
        with self._driver.lock:
            self._check_open()
            question = self._channel.ask("describe", {})
        return report_of(self._answer(question))

    def sync(self) -> None:
        """Waits until everything that was acknowledged before is on stable storage."""
        with self._driver.lock:
            self._check_open()
            question = self._channel.ask("sync", {})
        self._answer(question)

    def close(self, timeout: Optional[float] = 5.0) -> None:
        """Ends iterations, waits for jobs that are not settled, ``timeout`` seconds at most, and leaves the group: what is still not settled goes to the others. Idempotent.

        Raises HermesError TIMED_OUT if jobs were not settled by then. The group is closed all the same.
        """
        check_timeout(timeout)
        if self._driver.is_forked:
            return
        channel = self._channel
        with self._driver.lock:
            if channel.left:
                return
            channel.release_ahead()
            self._driver.rouse()
            deadline = None if timeout is None else time.monotonic() + timeout
            self._wait(lambda: channel.held == 0 or channel.failure is not None, deadline)
            left = channel.held
            channel.leave()
            self._driver.rouse()
            self._wait(lambda: channel.left, time.monotonic() + 5.0)
            failed = channel.failure is not None
            channel.dismiss()
        if left > 0 and not failed:
            raise self._unsettled_error(left)

    def __enter__(self) -> "Group[T]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        # What was not settled comes again: who leaves by an error knows.
        with contextlib.suppress(HermesError):
            self.close(0.0 if error is not None else 5.0)

    def __repr__(self) -> str:
        return f"<hermes_mq.Group {self.name} of {self.topic}{' closed' if self.closed else ''}>"


def _tell(told: Callable[[BaseException, Any], Any], error: BaseException, job: Any) -> None:
    """What the callback raises must not end the others' work."""
    try:
        told(error, job)
    except Exception:
        traceback.print_exc()


def _print(error: BaseException, job: Any) -> None:
    print(f"{job!r} was not handled:")
    traceback.print_exception(type(error), error, error.__traceback__)
