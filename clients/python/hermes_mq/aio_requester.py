"""Asks responders: for asyncio."""

import asyncio
import secrets
import time
from typing import Any, Dict, Generic, Optional, TypeVar

from .aio_pending import Closable
from .aio_publisher import Publisher
from .aio_subscriber import Subscriber
from .calls import CANCEL, FAILURE, REPLY, REQUEST, Call, Service, check_reply_timeout
from .errors import HermesError
from .options import check_timeout

Q = TypeVar("Q")
R = TypeVar("R")


class Requester(Closable, Generic[Q, R]):
    """Asks responders: ``await requester.request(value)``. See ``hermes_mq.Requester``. Any number of requests may be under way."""

    def __init__(self, service: "Service[Any]", requests: "Publisher[Call]", replies: "Subscriber[Call]", timeout: float) -> None:
        self.name = service.name
        self._service = service
        self._requests = requests
        self._replies = replies
        self._timeout = timeout
        self._client = secrets.randbits(64)
        self._waiting: "Dict[int, asyncio.Future[R]]" = {}
        self._number = 0
        self._error: Optional[HermesError] = None
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._receive())

    @property
    def pending(self) -> int:
        """How many requests wait for their replies."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._error is not None

    async def request(self, value: Q, timeout: Optional[float] = None) -> R:
        """Asks, and waits for the reply of one responder. Cancelling it tells the handler. Raises as ``hermes_mq.Requester.request``."""
        within = self._timeout if timeout is None else check_reply_timeout(timeout)
        if self._error is not None:
            raise self._error.again()
        body = self._service.request.encode(value)
        self._number += 1
        number = self._number
        future: "asyncio.Future[R]" = self._loop.create_future()
        self._waiting[number] = future
        try:
            return await asyncio.wait_for(self._ask(number, within, body, future), within)
        except asyncio.TimeoutError:
            await self._give_up(number)
            raise self._service.late_error(within) from None
        except asyncio.CancelledError:
            await self._give_up(number)
            raise
        finally:
            self._waiting.pop(number, None)

    async def _ask(self, number: int, within: float, body: bytes, future: "asyncio.Future[R]") -> R:
        deadline_ms = int((time.time() + within) * 1000)
        await self._requests.publish(Call(self._client, number, REQUEST, deadline_ms, body))
        return await future

    async def _give_up(self, number: int) -> None:
        """The handler may stop."""
        try:
            await asyncio.wait_for(self._requests.publish(Call(self._client, number, CANCEL, 0)), 0.1)
        except (HermesError, asyncio.TimeoutError):
            pass  # it runs to its end for nothing

    async def _receive(self) -> None:
        error: Optional[BaseException] = None
        try:
            async for message in self._replies:
                call = message.value
                if call.client == self._client and call.kind in (REPLY, FAILURE):
                    self._received(call)
        except Exception as cause:
            error = cause
        self._end(error if isinstance(error, HermesError) else self._service.closed_error())

    def _received(self, call: Call) -> None:
        future = self._waiting.pop(call.number, None)
        if future is None or future.done():
            return
        try:
            future.set_result(self._service.outcome(call))
        except Exception as error:
            future.set_exception(error)

    def _end(self, error: HermesError) -> "Dict[int, asyncio.Future[R]]":
        if self._error is None:
            self._error = error
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(error.again())
        return waiting

    async def close(self, timeout: Optional[float] = 30.0) -> None:
        """Ends all waits (CLOSED), of which the handlers are told. Idempotent. Raises as ``Publisher.close``."""
        check_timeout(timeout)
        waiting = self._end(self._service.closed_error())
        await asyncio.gather(*(self._give_up(number) for number in waiting))
        await self._replies.close()
        await self._task
        await self._requests.close(timeout)

    async def __aenter__(self) -> "Requester[Q, R]":
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.aio.Requester {self.name}{' closed' if self.closed else ''}>"
