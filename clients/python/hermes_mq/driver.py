"""Moves bytes between a Link and a socket, in a thread of its own."""

import contextlib
import os
import select
import selectors
import socket
import ssl
import sys
import threading
import time
import traceback
import weakref
from typing import Any, Dict, List, Optional

from .errors import HermesError
from .link import ENDED, WANTED, Link
from .options import Settings
from .request import Opening, Request
from .user import User

_READ_BYTES = 256 * 1024
#: Small buffers are joined up to so many bytes before they're written.
_JOIN_BYTES = 64 * 1024

_drivers: "weakref.WeakSet[Driver]" = weakref.WeakSet()


def _forked() -> None:
    for driver in list(_drivers):
        driver.is_forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


class Driver:
    """Moves bytes between a Link and a socket, in a thread of its own."""

    def __init__(self, settings: Settings) -> None:
        self.link = Link(settings)
        self.lock = threading.RLock()
        self.is_forked = False
        self._begun = threading.Condition(self.lock)
        self._waker, self._wake = socket.socketpair()
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        self._is_woken = False
        self._thread = threading.Thread(target=self._run, name=f"hermes {settings.url}", daemon=True)
        self._has_begun = False
        self.link.on_output = self.rouse
        _drivers.add(self)

    def start(self) -> None:
        """Makes the first connection. Raises HermesError CONNECTION_FAILED, UNAUTHORIZED, …"""
        self._thread.start()
        with self.lock:
            while not self.link.connected_once and self.link.failure is None:
                self._begun.wait()
            failure = self.link.failure
        if failure is not None:
            self._thread.join()
            raise failure.again()

    def condition_of(self, user: User) -> threading.Condition:
        condition = threading.Condition(self.lock)
        with self.lock:
            user.changed = condition.notify_all
        return condition

    def open(self, user: User) -> None:
        """Adds a user and waits until it's open."""
        self.check_process()
        condition = self.condition_of(user)
        with self.lock:
            self.link.add(user)
            opening = Opening(self.link, user, time.monotonic())
            try:
                while not opening.check(time.monotonic()):
                    # (the channel may be lost and given again without a notification)
                    self.wait(condition, min(1.0, opening.remaining(time.monotonic()) + 0.001))
            except BaseException:
                self.link.remove(user)
                raise

    def request(self, content: Dict[str, Any]) -> Request:
        """Asks the broker, and waits for the answer."""
        request = Request(self.link, content)
        self.open(request)
        return request

    def wait(self, condition: threading.Condition, timeout: Optional[float]) -> None:
        if threading.current_thread() is self._thread:
            raise HermesError("BUSY", "The connection's own thread can't wait for itself: a callback may only do what does not wait.")
        condition.wait(timeout)

    def check_process(self) -> None:
        if self.is_forked:
            raise HermesError("FORKED", "This connection belongs to the process that this one was forked from. Connect anew.")

    def check_link(self) -> None:
        if self.link.failure is not None:
            raise self.link.failure.again()

    def rouse(self) -> None:
        """There is something to be written."""
        if not self._is_woken and threading.current_thread() is not self._thread:
            self._is_woken = True
            with contextlib.suppress(OSError):
                self._wake.send(b"\0")

    def _run_calls(self) -> None:
        """Calls what the link wants to be called outside of the lock, in its order. In the thread only."""
        with self.lock:
            calls = self.link.calls
            if not calls:
                return
            self.link.calls = []
        for call in calls:
            try:
                call()
            except Exception:
                # A listener's fault is not the connection's: let it be seen as what it is.
                traceback.print_exc(file=sys.stderr)

    def close(self) -> None:
        if self.is_forked:
            return
        with self.lock:
            self.link.close()
        self.rouse()
        if threading.current_thread() is not self._thread:
            # (it may be within a name look-up or an attempt to connect, which nothing can interrupt)
            self._thread.join(2.0)

    # ---- the thread ----

    def _run(self) -> None:
        try:
            while True:
                with self.lock:
                    phase = self.link.phase
                    wait = self.link.retry_at - time.monotonic()
                if phase == ENDED:
                    break
                if wait > 0:
                    self._sleep(wait)
                    continue
                self._connection()
        finally:
            with self.lock:
                self.link.close()
                self._begun.notify_all()
            self._run_calls()
            self._waker.close()
            self._wake.close()

    def _sleep(self, seconds: float) -> None:
        select.select([self._waker], [], [], seconds)
        self._woken()

    def _woken(self) -> None:
        with contextlib.suppress(OSError):
            self._waker.recv(64)
        # In this order: a thread that still sees it set has put its output where it is looked for next.
        self._is_woken = False

    def _connection(self) -> None:
        """One connection, from its making to its end."""
        with self.lock:
            if self.link.phase != WANTED:
                return
            self.link.dialing(time.monotonic())
        reason: Optional[BaseException] = None
        sock: Optional[socket.socket] = None
        try:
            sock = self._dial()
            with self.lock:
                self.link.transport_up(time.monotonic())
            self._pump(sock)
        except (OSError, ssl.CertificateError, UnicodeError) as error:
            # (UnicodeError: a host name that can't be one)
            reason = error
        finally:
            if sock is not None:
                sock.close()
        with self.lock:
            self.link.transport_down(reason, time.monotonic())
            self._begun.notify_all()
        self._run_calls()

    def _dial(self) -> socket.socket:
        settings = self.link.settings
        sock = socket.create_connection((settings.host, settings.port), settings.connect_timeout)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings.tls is not None:
                sock = settings.tls.wrap_socket(sock, server_hostname=settings.server_hostname)
            sock.setblocking(False)
            return sock
        except BaseException:
            sock.close()
            raise

    def _pump(self, sock: socket.socket) -> None:
        link = self.link
        pending: List[memoryview] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._waker, selectors.EVENT_READ)
            interest = selectors.EVENT_READ
            selector.register(sock, interest)
            while True:
                # First: a callback may publish.
                self._run_calls()
                with self.lock:
                    now = time.monotonic()
                    link.tick(now)
                    if not pending:
                        pending = _joined(link.take_output(now))
                    hang_up = link.hang_up
                    more = link.has_output
                    deadline = link.deadline()
                _write(sock, pending)
                if hang_up:
                    return
                if more and not pending:
                    continue
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0)
                if wanted != interest:
                    selector.modify(sock, wanted)
                    interest = wanted
                timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
                for key, events in selector.select(timeout):
                    if key.fileobj is self._waker:
                        self._woken()
                    elif events & selectors.EVENT_READ and not self._read(sock):
                        return

    def _read(self, sock: socket.socket) -> bool:
        """Takes what has arrived. False: the broker has ended the connection."""
        while True:
            try:
                data = sock.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not data:
                return False
            with self.lock:
                self.link.received(data, time.monotonic())
                if self.link.connected_once and not self._has_begun:
                    self._has_begun = True
                    self._begun.notify_all()
                if self.link.hang_up:
                    return True
            self._run_calls()
            # (TLS may hold more that select does not know of)
            if not isinstance(sock, ssl.SSLSocket) and len(data) < _READ_BYTES:
                return True


def _joined(buffers: List[bytes]) -> List[memoryview]:
    """What is small goes together: a call for each would cost more than the copy."""
    out: List[memoryview] = []
    group: List[bytes] = []
    size = 0
    for buffer in buffers:
        group.append(buffer)
        size += len(buffer)
        if size >= _JOIN_BYTES:
            out.append(memoryview(b"".join(group)))
            group = []
            size = 0
    if group:
        out.append(memoryview(b"".join(group)))
    return out


def _write(sock: socket.socket, pending: List[memoryview]) -> None:
    """Writes from the front of ``pending``, as much as the socket takes now."""
    while pending:
        try:
            sent = sock.send(pending[0])
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        if sent == len(pending[0]):
            pending.pop(0)
        else:
            pending[0] = pending[0][sent:]


