"""Moves bytes between a Link and an asyncio transport."""

import asyncio
import contextlib
import os
import ssl
from typing import Any, Dict, Optional, Set, cast

from .errors import HermesError
from .link import ENDED, WANTED, Link
from .options import Settings
from .request import Opening, Request
from .user import User

#: How long the transport may take to write its last words when a connection is ended, in seconds.
_LAST_WORDS = 1.0


class Signal:
    """Wakes all who wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: "Set[asyncio.Future[None]]" = set()

    def notify(self) -> None:
        waiting = self._waiting
        self._waiting = set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, deadline: Optional[float]) -> bool:
        """False: no notification came before the deadline, in the loop's time."""
        future: "asyncio.Future[None]" = self._loop.create_future()
        self._waiting.add(future)
        try:
            if deadline is None:
                await future
                return True
            left = deadline - self._loop.time()
            if left <= 0:
                return False
            done, _ = await asyncio.wait({future}, timeout=left)
            return bool(done)
        finally:
            self._waiting.discard(future)


class Driver(asyncio.Protocol):
    """Moves bytes between a Link and an asyncio transport."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.link = Link(settings)
        self._pid = os.getpid()
        self._transport: Optional[asyncio.Transport] = None
        self._dialing: "Optional[asyncio.Task[None]]" = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self._is_scheduled = False
        self._is_paused = False
        self._is_hanging_up = False
        self._begun = Signal(loop)
        self._gone = Signal(loop)
        self.link.on_output = self._schedule

    async def start(self) -> None:
        """Makes the first connection. Raises HermesError CONNECTION_FAILED, UNAUTHORIZED, …"""
        self._step()
        try:
            while not self.link.connected_once and self.link.failure is None:
                await self._begun.wait(None)
        except BaseException:
            await self.close()
            raise
        if self.link.failure is not None:
            raise self.link.failure.again()

    def signal_of(self, user: User) -> Signal:
        signal = Signal(self.loop)
        user.changed = signal.notify
        return signal

    async def open(self, user: User) -> None:
        """Adds a user and waits until it's open."""
        self.check_process()
        signal = self.signal_of(user)
        self.link.add(user)
        opening = Opening(self.link, user, self.loop.time())
        try:
            while not opening.check(self.loop.time()):
                # (the channel may be lost and given again without a notification)
                now = self.loop.time()
                await signal.wait(now + min(1.0, opening.remaining(now) + 0.001))
        except BaseException:
            self.link.remove(user)
            raise

    async def request(self, content: Dict[str, Any]) -> Request:
        request = Request(self.link, content)
        await self.open(request)
        return request

    def check_process(self) -> None:
        if self._pid != os.getpid():
            raise HermesError("FORKED", "This connection belongs to the process that this one was forked from. Connect anew.")

    def run_calls(self) -> None:
        """Calls what the link wants to be called, in its order."""
        while self.link.calls:
            calls = self.link.calls
            self.link.calls = []
            for call in calls:
                try:
                    call()
                except Exception as error:
                    # A listener's fault is not the connection's: let it be seen as what it is.
                    self.loop.call_exception_handler({"message": "a callback of hermes_mq failed", "exception": error})

    async def close(self) -> None:
        self.link.close()
        self.run_calls()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dialing is not None:
            self._dialing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._dialing
        self._step()
        if self._transport is not None:
            await self._gone.wait(self.loop.time() + 2 * _LAST_WORDS)

    def _schedule(self) -> None:
        """There is something to be written: at the end of this turn, so that what is small goes together."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self.loop.call_soon(self._scheduled_step)

    def _scheduled_step(self) -> None:
        self._is_scheduled = False
        self._step()

    def _step(self) -> None:
        """Does what is due."""
        link = self.link
        now = self.loop.time()
        if link.phase == WANTED and self._dialing is None and now >= link.retry_at:
            self._dialing = self.loop.create_task(self._dial())
        link.tick(now)
        transport = self._transport
        if transport is not None:
            if not self._is_paused and not self._is_hanging_up:
                out = link.take_output(now)
                if out:
                    transport.write(b"".join(out))
            if link.hang_up and not self._is_hanging_up:
                self._is_hanging_up = True
                transport.close()
                # A broker that does not read the last packets does not delay the close.
                self.loop.call_later(_LAST_WORDS, transport.abort)
        self.run_calls()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = None if self._dialing is not None else self.link.deadline()
        if deadline is not None and self.link.phase != ENDED:
            self._timer = self.loop.call_at(max(deadline, self.loop.time() + 0.001), self._step)

    async def _dial(self) -> None:
        link = self.link
        settings = link.settings
        link.dialing(self.loop.time())
        try:
            await asyncio.wait_for(
                self.loop.create_connection(
                    lambda: self, settings.host, settings.port, ssl=settings.tls, server_hostname=settings.server_hostname
                ),
                settings.connect_timeout,
            )
        except (OSError, asyncio.TimeoutError, ssl.CertificateError, UnicodeError) as error:
            self._dialing = None
            if self._transport is not None:
                # It was there just before the time was over: its end will be told by connection_lost.
                return
            slow = isinstance(error, asyncio.TimeoutError)
            reason = TimeoutError(f"it did not answer within {settings.connect_timeout} s") if slow else error
            self._down(reason)
        finally:
            self._dialing = None

    # ---- what asyncio calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._is_paused = False
        self._is_hanging_up = False
        # (asyncio sets TCP_NODELAY by itself)
        self.link.transport_up(self.loop.time())
        self._dialing = None
        self._step()

    def data_received(self, data: bytes) -> None:
        self.link.received(data, self.loop.time())
        if self.link.connected_once:
            self._begun.notify()
        if self.link.calls:
            self.run_calls()
        if self.link.hang_up:
            self._step()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._schedule()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._transport = None
        self._gone.notify()
        self._down(exc)

    def _down(self, reason: Optional[BaseException]) -> None:
        self.link.transport_down(reason, self.loop.time())
        self._begun.notify()
        self._step()


