"""A member of a group, for asyncio. See ``hermes_mq.Group``; the waits are awaited, and the event loop has to turn for the lease to be renewed."""

import asyncio
import contextlib
import inspect
import traceback
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Hashable, List, Optional, Sequence, Set, Type, TypeVar, Union

from .aio_driver import Driver
from .aio_pending import Closable
from .codecs import Codec
from .errors import HermesError, invalid
from .jobs import MOST_BATCH, Ahead, GroupSurface, JobBase, delay_ms, report_of
from .lanes import Lanes
from .member import MemberChannel
from .options import check_callback, check_integer, check_stop, check_timeout, check_told
from .questions import Question
from .settlements import DONE, RELEASED, RETURNED, Settling

T = TypeVar("T")

class Job(JobBase[T]):
    """A message that this member is to handle. Settle each job once, by ``ack``, ``nack`` or ``reject``."""

    __slots__ = ()
    _group: "Group[T]"

    async def ack(self) -> None:
        """The message is handled. Raises HermesError LEASE_LOST if another member has it by now, INVALID_ARGUMENT, CLOSED, CONNECTION_FAILED."""
        await self._group.ack([self])

    async def nack(self, delay: Optional[float] = None) -> None:
        """The message could not be handled: it comes again, after ``delay`` seconds, or after the group's back-off."""
        await self._group._settled([self], RETURNED, delay_ms(delay))

    async def reject(self, reason: str) -> None:
        """The message can never be handled: it goes into the dead-letter topic."""
        await self._group._rejected(self, reason)

    def extend(self) -> None:
        """The member's lease begins anew: only for who keeps the event loop busy for longer than the lease."""
        if self.is_settled:
            raise invalid(f"Message {self.sequence} is settled already.")
        self._group._channel.beat()

    async def _release(self) -> None:
        """It was not begun: it comes again, as if it had not been delivered."""
        await self._group._settled([self], RELEASED, 0)


class Group(Closable, GroupSurface[T]):
    """One member of a group: ``async for job in group``. See ``hermes_mq.Group``."""

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
        self._signal = driver.signal_of(channel)
        self._is_used = False
        self._fault: Optional[HermesError] = None

    def __aiter__(self) -> AsyncIterator[Job[T]]:
        return self

    async def __anext__(self) -> Job[T]:
        jobs = await self._take(1, None)
        if not jobs:
            raise StopAsyncIteration
        return jobs[0]

    async def receive(self, timeout: Optional[float] = None) -> Optional[Job[T]]:
        """The next job; None if none has come within ``timeout`` seconds, or the group is closed."""
        jobs = await self._take(1, timeout)
        return jobs[0] if jobs else None

    async def next_batch(self, most: int = MOST_BATCH, timeout: Optional[float] = None) -> List[Job[T]]:
        """What is there, up to ``most`` jobs; waits while there is nothing. ``group.ack(jobs)`` settles them together."""
        check_integer("most", most, 1, MOST_BATCH)
        return await self._take(most, timeout)

    async def batches(self, most: int = MOST_BATCH) -> AsyncIterator[List[Job[T]]]:
        """Yields what is there, up to ``most`` jobs at once, waiting when there is nothing. Ends when the group is closed."""
        while True:
            jobs = await self.next_batch(most)
            if not jobs:
                return
            yield jobs

    async def _take(self, most: int, timeout: Optional[float]) -> List[Job[T]]:
        self._driver.check_process()
        check_timeout(timeout)
        if self._is_used:
            raise self._busy_error("task")
        self._is_used = True
        deadline = None if timeout is None else self._driver.loop.time() + timeout
        try:
            while True:
                fault = self._fault
                if fault is not None:
                    self._fault = None
                    raise fault
                if self._channel.closed:
                    return []
                claims = self._claims(most)
                if not claims and not await self._wait(lambda: self._channel.has_news, deadline):
                    return []
                jobs, self._fault = self._decoded(claims, lambda claim, value: Job(self, claim, value))
                if jobs:
                    return jobs
        finally:
            self._is_used = False

    async def _wait(self, is_done: Callable[[], bool], deadline: Optional[float]) -> bool:
        """Waits until it's so. False: the time is over."""
        channel = self._channel
        while not is_done():
            now = self._driver.loop.time()
            if channel.due <= now:
                channel.tick(now)
                continue
            if deadline is not None and now >= deadline:
                return False
            await self._signal.wait(now + 1.0 if deadline is None else min(now + 1.0, deadline))
        return True

    async def ack(self, jobs: Sequence[Job[T]]) -> None:
        """Settles jobs together. Raises HermesError LEASE_LOST with those in ``details['sequences']`` that another member has; the others are settled."""
        await self._settled(jobs, DONE, 0)

    async def _settled(self, jobs: Sequence[Job[T]], outcome: int, delay: int) -> None:
        self._driver.check_process()
        settling: Settling = self._settle(jobs, outcome, delay)
        self._signal.notify()
        await self._wait(lambda: settling.done, None)
        self._outcome(settling)

    async def _rejected(self, job: Job[T], reason: str) -> None:
        answer = await self._answer(self._reject(job, reason))
        if answer.get("mine") is not True:
            raise self._late([job.sequence])

    async def _answer(self, question: Question) -> Dict[str, Any]:
        timeout = self._driver.link.settings.request_timeout
        if not await self._wait(lambda: question.done, self._driver.loop.time() + timeout):
            raise HermesError("TIMED_OUT", f"The broker did not answer '{question.op}' within {timeout} s.")
        if question.error is not None:
            raise question.error.again()
        return question.answer or {}

    async def run(
        self,
        handler: Callable[[Job[T]], Union[Any, Awaitable[Any]]],
        *,
        concurrency: int = 1,
        stop: Optional[asyncio.Event] = None,
        on_error: Optional[Callable[[BaseException, Job[T]], Any]] = None,
    ) -> None:
        """Handles messages as they come, ``concurrency`` at a time (in a keyed group one of each key, in an exclusive one no two): one for which the handler returns is acknowledged, one for which it raises is returned.

        ``handler`` is a coroutine function, or a function that does not wait; ``on_error`` is a function.
        Returns when ``stop`` is set or the group is closed, once the handlers that are under way have ended. ``on_error`` as of ``hermes_mq.Group.run``.
        """
        check_callback("the handler of run()", handler, is_awaited=True)
        check_integer("concurrency", concurrency, 1, 10_000)
        check_stop(stop, "asyncio")
        told = check_told(on_error) or _print
        running: "Set[asyncio.Task[None]]" = set()
        lanes: "Lanes[Job[T]]" = Lanes(self._lane_of)

        async def work(first: Job[T]) -> None:
            job: Optional[Job[T]] = first
            while job is not None:
                await handle(job)
                following, back = lanes.after(job)
                while back:
                    await self._give_back(back)
                    following, back = lanes.after(job)
                job = following

        async def handle(job: Job[T]) -> None:
            try:
                outcome = handler(job)
                if inspect.isawaitable(outcome):
                    await outcome
                if not job.is_settled:
                    await job.ack()
            except Exception as error:
                _tell(told, error, job)
                if not job.is_settled:
                    try:
                        await job.nack()
                    except HermesError as second:
                        _tell(told, second, job)

        try:
            while stop is None or not stop.is_set():
                if len(running) >= concurrency:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    continue
                turn = lanes.turn
                job = await self.receive(0.1)
                if job is None and self.closed:
                    return
                if job is None:
                    continue
                if stop is not None and stop.is_set():
                    await self._give_back([job])
                    return
                begins, back = lanes.enter(job, turn)
                if begins:
                    running.add(self._driver.loop.create_task(work(job)))
                await self._give_back(back)
        finally:
            await self._give_back(lanes.close())
            if running:
                await asyncio.wait(running)

    async def _give_back(self, jobs: "List[Job[T]]") -> None:
        """They were not begun. One that cannot be given back any more is with another member."""
        if jobs:
            with contextlib.suppress(HermesError):
                await self._settled(jobs, RELEASED, 0)

    async def describe(self) -> Dict[str, Any]:
        """What the group and its members are doing: the fields of ``GroupReport`` in the TypeScript package, as they travel."""
        self._check_open()
        return report_of(await self._answer(self._channel.ask("describe", {})))

    async def sync(self) -> None:
        """Waits until everything that was acknowledged before is on stable storage."""
        self._check_open()
        await self._answer(self._channel.ask("sync", {}))

    async def close(self, timeout: Optional[float] = 5.0) -> None:
        """Ends iterations, waits for jobs that are not settled, ``timeout`` seconds at most, and leaves the group. Idempotent. Raises HermesError TIMED_OUT as ``hermes_mq.Group.close``."""
        check_timeout(timeout)
        channel = self._channel
        if channel.left:
            return
        loop = self._driver.loop
        channel.release_ahead()
        await self._wait(lambda: channel.held == 0 or channel.failure is not None, None if timeout is None else loop.time() + timeout)
        left = channel.held
        channel.leave()
        await self._wait(lambda: channel.left, loop.time() + 5.0)
        failed = channel.failure is not None
        channel.dismiss()
        if left > 0 and not failed:
            raise self._unsettled_error(left)

    async def _leave(self, failed: bool) -> None:
        # What was not settled comes again: who leaves by an error knows.
        with contextlib.suppress(HermesError):
            await self.close(0.0 if failed else 5.0)

    async def __aenter__(self) -> "Group[T]":
        return self

    async def __aexit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        await self._leave(error is not None)

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Group {self.name} of {self.topic}{' closed' if self.closed else ''}>"


def _tell(told: Callable[[BaseException, Any], Any], error: BaseException, job: Any) -> None:
    """What the callback raises must not end the others' work."""
    try:
        told(error, job)
    except Exception:
        traceback.print_exc()


def _print(error: BaseException, job: Any) -> None:
    print(f"{job!r} was not handled:")
    traceback.print_exception(type(error), error, error.__traceback__)
