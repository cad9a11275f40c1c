"""What the tests share: a real broker in a process of its own, a scripted one, and the golden packets."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "clients", "python"))

from hermes_mq import HermesError  # noqa: E402
from hermes_mq import packets  # noqa: E402

#: No wait of a test takes longer, in seconds, unless something is wrong.
PATIENCE = 30.0
COMMAND = os.path.join(ROOT, "dist", "cli", "main.js")


def vectors():
    with open(os.path.join(ROOT, "test", "vectors", "wire.json"), encoding="utf-8") as file:
        return json.load(file)


def node(source, *arguments):
    """Runs a module in Node and returns what it prints."""
    done = subprocess.run(
        ["node", "--input-type=module", "-", *arguments],
        input=source,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"node failed: {done.stderr}")
    return done.stdout


def wait_for(what, condition, patience=PATIENCE):
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience} s in vain for {what}")
        time.sleep(0.005)


class Broker:
    """``hermes serve`` in a process of its own. It may be killed and started again at the same port."""

    def __init__(self, env=None, arguments=(), **config):
        self.folder = tempfile.mkdtemp(prefix="hermes-python-")
        self.dir = os.path.join(self.folder, "data")
        self._log = os.path.join(self.folder, "log")
        self._config = os.path.join(self.folder, "config.json")
        config.setdefault("limits", {"heartbeatMs": 500, "maxHandshakesPerSecond": 100_000})
        with open(self._config, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("HERMES_TOKEN")}
        self._env.update(env or {})
        self._arguments = list(arguments)
        self.port = 0
        self.url = ""
        self._process = None
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def start(self):
        command = ["node", COMMAND, "--dir", self.dir, "--json", "serve", "--port", str(self.port)]
        with open(self._log, "a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*command, "--config", self._config, *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._env,
                text=True,
            )
        line = self._process.stdout.readline()
        if line == "":
            self._process.wait()
            raise AssertionError(f"the broker did not start: {self.log()}")
        self.url = json.loads(line)["url"]
        self.port = int(re.search(r":(\d+)$", self.url).group(1))

    def log(self):
        with open(self._log, encoding="utf-8") as file:
            return file.read()

    def kill(self, how=signal.SIGKILL):
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def close(self):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class BrokerCase(unittest.TestCase):
    """Tests with one broker for all of a class. Each has a topic of its own."""

    broker: Broker
    options = {}

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker(**cls.options)
        cls.addClassCleanup(cls.broker.close)

    def setUp(self):
        self.name = self.id().rsplit(".", 1)[-1][:100]

    def refused(self, code, *details):
        return refused(self, code, *details)


@contextlib.contextmanager
def refused(case, code, *details):
    """The block raises a HermesError of this code, with these keys among its details."""
    with case.assertRaises(HermesError) as caught:
        yield
    case.assertEqual(caught.exception.code, code, str(caught.exception))
    for key in details:
        case.assertIn(key, caught.exception.details)


WELCOME = {
    "version": 1,
    "features": [],
    "server": "fake",
    "instance": "00",
    "heartbeatMs": 10_000,
    "limits": {"maxPacketBytes": 16_777_328, "maxBatchBytes": 262_144, "maxChannels": 1024},
}


def welcome(**changes):
    return packets.json_packet(packets.WELCOME, 0, {**WELCOME, **changes})


class FakeBroker:
    """Listens, and lets ``script(connection)`` speak to each client."""

    def __init__(self, script):
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.failures = []
        self._closed = False
        self._sockets = []
        self._threads = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        with sock:
            try:
                self._script(Peer(sock))
            except (OSError, EOFError):
                pass
            except BaseException as error:
                if not self._closed:
                    self.failures.append(error)

    def close(self):
        self._closed = True
        # (close alone does not end an accept that is under way)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in [self._accepting, *self._threads]:
            thread.join(PATIENCE)
        if self.failures:
            raise self.failures[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Peer:
    """A client, as a scripted broker sees it."""

    def __init__(self, sock):
        self.sock = sock
        self._queue = []
        self._reader = packets.PacketReader(lambda *packet: self._queue.append(packet), 2**24, from_server=False)

    def preamble(self):
        got = b""
        while len(got) < 8:
            got += self._receive(8 - len(got))
        if got != packets.PREAMBLE:
            raise AssertionError(f"the client began with {got!r}")

    def packet(self):
        """The client's next packet: type, channel and body."""
        while not self._queue:
            self._reader.push(self._receive(65_536))
        return self._queue.pop(0)

    def expect(self, kind):
        while True:
            got, channel, body = self.packet()
            if got == kind:
                return channel, body
            if got not in (packets.PING, packets.CREDIT):
                raise AssertionError(f"the client sent a packet of type {got} where {kind} was due")

    def greet(self, **changes):
        """Reads HELLO and answers it."""
        self.preamble()
        _, body = self.expect(packets.HELLO)
        self.send(welcome(**changes))
        return json.loads(body)

    def _receive(self, most):
        data = self.sock.recv(most)
        if data == b"":
            raise EOFError
        return data

    def send(self, data):
        self.sock.sendall(data)

    def linger(self):
        """Until the client goes."""
        while self.sock.recv(65_536):
            pass
