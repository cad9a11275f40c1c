"""Answers requests: for asyncio."""

import asyncio
import datetime
import inspect
import traceback
from typing import Any, Awaitable, Callable, Generic, NamedTuple, Optional, TypeVar, Union

from .aio_group import Group, Job
from .aio_pending import Closable
from .options import check_timeout
from .aio_publisher import Publisher
from .aio_subscriber import Subscriber
from .calls import CANCEL, Call, Service, deadline_of, failure_of, is_awaited
from .cancellations import Cancellations
from .errors import HermesError

Q = TypeVar("Q")
R = TypeVar("R")


class RequestContext(NamedTuple):
    """What a handler is told besides the request: as ``hermes_mq.RequestContext``."""

    cancelled: asyncio.Event
    deadline: datetime.datetime
    deliveries: int


class Responder(Closable, Generic[Q, R]):
    """Answers the requests of a service, together with the responders of other processes. See ``hermes_mq.Responder``."""

    def __init__(
        self,
        service: "Service[Any]",
        requests: "Group[Call]",
        cancels: "Subscriber[Call]",
        replies: "Publisher[Call]",
        handler: Callable[[Any, RequestContext], Union[Any, Awaitable[Any]]],
        concurrency: int,
    ) -> None:
        self.name = service.name
        self._service = service
        self._requests = requests
        self._cancels = cancels
        self._replies = replies
        self._handler = handler
        self._cancellations = Cancellations(asyncio.Event)
        self._stop = asyncio.Event()
        self._error: Optional[BaseException] = None
        loop = asyncio.get_running_loop()
        self._serving = loop.create_task(self._serve(concurrency))
        self._following = loop.create_task(self._follow())

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return self._cancellations.running

    @property
    def error(self) -> Optional[BaseException]:
        """What has ended it, if that was not ``close()``: TOPIC_DELETED, CORRUPT, …"""
        return self._error

    async def wait(self) -> None:
        """Waits until it has ended. Raises what has ended it if that was not ``close()``."""
        await asyncio.shield(self._serving)
        if self._error is not None:
            raise self._error

    async def _serve(self, concurrency: int) -> None:
        try:
            await self._requests.run(self._answer, concurrency=concurrency, stop=self._stop, on_error=self._failed)
        except Exception as error:
            if not self._stop.is_set():
                self._error = error
        finally:
            self._stop.set()

    async def _answer(self, job: "Job[Call]") -> None:
        call = job.value
        if not is_awaited(call):
            return  # handled by passing it over
        request = (call.client, call.number)
        cancelled = self._cancellations.begin(request)
        if cancelled is None:
            if self._stop.is_set():
                await job._release()
            return
        try:
            context = RequestContext(cancelled, deadline_of(call), job.deliveries)
            value = self._handler(self._service.request.decode(call.body), context)
            if inspect.isawaitable(value):
                value = await value
            reply = self._service.answer(call, value)
        except Exception as error:
            if self._stop.is_set() and cancelled.is_set():
                raise  # closed in the middle: another responder may do it
            reply = failure_of(call, error)
        finally:
            self._cancellations.end(request, cancelled)
        try:
            await self._replies.publish(reply)
        except HermesError as error:
            if error.code != "PAYLOAD_TOO_LARGE":
                raise
            await self._replies.publish(failure_of(call, error))

    def _failed(self, error: BaseException, job: "Job[Call]") -> None:
        if not self._stop.is_set():
            traceback.print_exception(type(error), error, error.__traceback__)

    async def _follow(self) -> None:
        try:
            async for message in self._cancels:
                call = message.value
                if call.kind == CANCEL:
                    self._cancellations.cancel((call.client, call.number))
        except HermesError:
            pass  # the group tells of the same

    async def close(self, timeout: Optional[float] = 5.0) -> None:
        """As ``hermes_mq.Responder.close``."""
        check_timeout(timeout)
        self._stop.set()
        self._cancellations.stop()
        done, _ = await asyncio.wait({self._serving}, timeout=timeout)
        await self._cancels.close()
        try:
            await self._requests.close(timeout if done else 0.0)
        finally:
            await self._following
            await self._replies.close()

    async def __aenter__(self) -> "Responder[Q, R]":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Responder {self.name}{' closed' if self._stop.is_set() else ''}>"
