"""Asks responders: for the synchronous client."""

import secrets
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as _TimeoutError
from types import TracebackType
from typing import Any, Dict, Generic, Optional, Type, TypeVar

from .calls import CANCEL, REPLY, FAILURE, REQUEST, Call, Service, check_reply_timeout
from .errors import HermesError
from .options import check_timeout
from .publisher import Publisher
from .subscriber import Subscriber

Q = TypeVar("Q")
R = TypeVar("R")


class Requester(Generic[Q, R]):
    """Asks responders, and gives each reply to the thread that waits for it. Made by ``client.requester()``. Any number of threads may ask at once.

    ```python
    with client.responder("sums", lambda numbers, context: sum(numbers)):
        with client.requester("sums") as sums:
            print(sums.request([2, 3], timeout=10.0))
    ```
    """

    def __init__(self, service: "Service[Any]", requests: "Publisher[Call]", replies: "Subscriber[Call]", timeout: float) -> None:
        self.name = service.name
        self._service = service
        self._requests = requests
        self._replies = replies
        self._timeout = timeout
        #: Tells this requester's replies from those of others, in all processes.
        self._client = secrets.randbits(64)
        self._lock = threading.Lock()
        self._waiting: "Dict[int, Future[R]]" = {}
        self._number = 0
        self._error: Optional[HermesError] = None
        self._thread = threading.Thread(target=self._receive, name=f"hermes requester {self.name}", daemon=True)
        self._thread.start()

    @property
    def pending(self) -> int:
        """How many requests wait for their replies."""
        return len(self._waiting)

    @property
    def closed(self) -> bool:
        return self._error is not None

    def request(self, value: Q, timeout: Optional[float] = None) -> R:
        """Asks, and waits for the reply of one responder: ``timeout`` seconds at most, or what ``requester()`` was given.

        Raises HermesError REQUEST_FAILED if the handler failed (``details`` has the ``name``, ``code`` and ``message`` of its error), TIMED_OUT (the handler is told), CLOSED, and what
        publishing raises: ENCODE_FAILED, PAYLOAD_TOO_LARGE, …
        """
        within = self._timeout if timeout is None else check_reply_timeout(timeout)
        until = time.monotonic() + within
        body = self._service.request.encode(value)
        future: "Future[R]" = Future()
        with self._lock:
            if self._error is not None:
                raise self._error.again()
            self._number += 1
            number = self._number
            self._waiting[number] = future
        try:
            deadline_ms = int((time.time() + within) * 1000)
            self._requests.publish(Call(self._client, number, REQUEST, deadline_ms, body), within)
            return future.result(max(0.0, until - time.monotonic()))
        except _TimeoutError:
            self._give_up(number)
            raise self._service.late_error(within) from None
        except BaseException as error:
            # A failure of the handler is a reply; anything else, as Ctrl-C, ends the wait.
            if not future.done():
                self._give_up(number)
            raise error.again() if isinstance(error, HermesError) and future.done() else error
        finally:
            with self._lock:
                self._waiting.pop(number, None)

    def _give_up(self, number: int) -> None:
        """The handler may stop."""
        try:
            self._requests.publish(Call(self._client, number, CANCEL, 0), 0.0)
        except HermesError:
            pass  # it runs to its end for nothing

    def _receive(self) -> None:
        error: Optional[BaseException] = None
        try:
            for message in self._replies:
                call = message.value
                if call.client == self._client and call.kind in (REPLY, FAILURE):
                    self._received(call)
        except BaseException as cause:
            error = cause
        self._end(error if isinstance(error, HermesError) else self._service.closed_error())

    def _received(self, call: Call) -> None:
        with self._lock:
            # (none for a second reply, of a responder that was taken for dead; or one that came too late)
            future = self._waiting.pop(call.number, None)
        if future is None:
            return
        try:
            future.set_result(self._service.outcome(call))
        except Exception as error:
            future.set_exception(error)

    def _end(self, error: HermesError) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
            waiting, self._waiting = self._waiting, {}
        for number, future in waiting.items():
            future.set_exception(error.again())
            self._give_up(number)

    def close(self, timeout: Optional[float] = 30.0) -> None:
        """Ends all waits (CLOSED), of which the handlers are told. ``timeout``: for requests that are not acknowledged. Idempotent. Raises as ``Publisher.close``."""
        check_timeout(timeout)
        self._end(self._service.closed_error())
        self._replies.close()
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)
        self._requests.close(timeout)

    def __enter__(self) -> "Requester[Q, R]":
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<hermes_mq.Requester {self.name}{' closed' if self.closed else ''}>"
