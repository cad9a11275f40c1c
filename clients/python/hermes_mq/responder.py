"""Answers requests: for the synchronous client."""

import datetime
import threading
import traceback
from types import TracebackType
from typing import Any, Callable, Generic, NamedTuple, Optional, Type, TypeVar

from .calls import CANCEL, Call, Service, deadline_of, failure_of, is_awaited
from .cancellations import Cancellations
from .errors import HermesError
from .group import Group, Job
from .options import check_timeout
from .publisher import Publisher
from .subscriber import Subscriber

Q = TypeVar("Q")
R = TypeVar("R")


class RequestContext(NamedTuple):
    """What a handler is told besides the request."""

    #: Is set when no requester waits for the reply any more, and when the responder is closed.
    cancelled: threading.Event
    #: When no requester will wait any more. By the requester's clock.
    deadline: datetime.datetime
    #: How often the request was handed out, this time included: more than once if a responder died with it.
    deliveries: int


class Responder(Generic[Q, R]):
    """Answers the requests of a service in threads of its own, together with the responders of other processes. Made by ``client.responder()``."""

    def __init__(
        self,
        service: "Service[Any]",
        requests: "Group[Call]",
        cancels: "Subscriber[Call]",
        replies: "Publisher[Call]",
        handler: Callable[[Any, RequestContext], Any],
        concurrency: int,
    ) -> None:
        self.name = service.name
        self._service = service
        self._requests = requests
        #: Follows all requests for those that are given up: a group would hand such a message to any member.
        self._cancels = cancels
        self._replies = replies
        self._handler = handler
        self._cancellations = Cancellations(threading.Event)
        self._stop = threading.Event()
        self._error: Optional[BaseException] = None
        self._threads = [
            threading.Thread(target=self._serve, args=(concurrency,), name=f"hermes responder {self.name}", daemon=True),
            threading.Thread(target=self._follow, name=f"hermes responder {self.name} (cancels)", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def running(self) -> int:
        """How many requests are being answered."""
        return self._cancellations.running

    @property
    def error(self) -> Optional[BaseException]:
        """What has ended it, if that was not ``close()``: TOPIC_DELETED, CORRUPT, …"""
        return self._error

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Waits until it has ended, ``timeout`` seconds at most. Raises what has ended it if that was not ``close()``."""
        check_timeout(timeout)
        self._threads[0].join(timeout)
        if self._error is not None:
            raise self._error
        return not self._threads[0].is_alive()

    def _serve(self, concurrency: int) -> None:
        try:
            self._requests.run(self._answer, concurrency=concurrency, stop=self._stop, on_error=self._failed)
        except BaseException as error:
            if not self._stop.is_set():
                self._error = error
        finally:
            self._stop.set()

    def _answer(self, job: "Job[Call]") -> None:
        call = job.value
        if not is_awaited(call):
            return  # handled by passing it over
        request = (call.client, call.number)
        cancelled = self._cancellations.begin(request)
        if cancelled is None:
            if self._stop.is_set():
                job._release()
            return
        try:
            context = RequestContext(cancelled, deadline_of(call), job.deliveries)
            value = self._handler(self._service.request.decode(call.body), context)
            reply = self._service.answer(call, value)
        except Exception as error:
            if self._stop.is_set() and cancelled.is_set():
                raise  # closed in the middle: another responder may do it
            reply = failure_of(call, error)
        finally:
            self._cancellations.end(request, cancelled)
        try:
            self._replies.publish(reply)
        except HermesError as error:
            if error.code != "PAYLOAD_TOO_LARGE":
                raise
            self._replies.publish(failure_of(call, error))

    def _failed(self, error: BaseException, job: "Job[Call]") -> None:
        if not self._stop.is_set():
            traceback.print_exception(type(error), error, error.__traceback__)

    def _follow(self) -> None:
        try:
            for message in self._cancels:
                call = message.value
                if call.kind == CANCEL:
                    self._cancellations.cancel((call.client, call.number))
        except HermesError:
            pass  # the group tells of the same

    def close(self, timeout: Optional[float] = 5.0) -> None:
        """Takes no more requests, tells the handlers that are under way, waits for them, ``timeout`` seconds at most, and closes: what was not answered goes to other responders. Idempotent.

        Raises HermesError TIMED_OUT if a handler has not ended by then. The responder is closed all the same.
        """
        check_timeout(timeout)
        self._stop.set()
        self._cancellations.stop()
        try:
            if threading.current_thread() not in self._threads:
                self._threads[0].join(timeout)
            self._cancels.close()
        finally:
            try:
                self._requests.close(0.0 if self._threads[0].is_alive() else timeout)
            finally:
                self._replies.close()

    def __enter__(self) -> "Responder[Q, R]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.Responder {self.name}{' closed' if self._stop.is_set() else ''}>"
