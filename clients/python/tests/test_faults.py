"""Killed brokers, cut connections, and brokers that say what none would."""

import os
import random
import signal
import socket
import threading
import time
import unittest

from .support import PATIENCE, Broker, FakeBroker, refused, wait_for, welcome
from hermes_mq import HermesError, connect, frames, packets
from hermes_mq.packets import DeliverHead, Run

SMALL = {"segment_bytes": 1024 * 1024, "max_payload_bytes": 4096}
QUICK = {"reconnect_min": 0.005, "reconnect_max": 0.05}
ROUNDS = int(os.environ.get("HERMES_FAULT_ROUNDS", 4))
SEED = int(os.environ.get("HERMES_FAULT_SEED", time.time_ns() % 100_000))


class Writer(threading.Thread):
    """Publishes without end, and notes what was acknowledged, and as what."""

    def __init__(self, name, publisher):
        super().__init__(daemon=True)
        self.label = name
        self.publisher = publisher
        self.sent = 0
        self.acknowledged = {}
        self.failures = []
        self.stop = threading.Event()

    def run(self):
        while not self.stop.is_set():
            for _ in range(20):
                value = f"{self.label}:{self.sent}"
                self.sent += 1
                self.publisher.publish_acked(value).add_done_callback(lambda future, value=value: self._settle(value, future))
            time.sleep(0.001)
        self.publisher.close(PATIENCE)

    def _settle(self, value, future):
        error = future.exception()
        if error is None:
            self.acknowledged[value] = future.result().sequence
        else:
            self.failures.append(error)


class Reader(threading.Thread):
    """Notes all that it sees."""

    def __init__(self, subscriber):
        super().__init__(daemon=True)
        self.subscriber = subscriber
        self.seen = []
        self.failures = []

    def run(self):
        try:
            for message in self.subscriber:
                self.seen.append((message.sequence, message.value))
        except HermesError as error:
            self.failures.append(error)


class Cutter:
    """Stands between a client and a broker, and cuts their connections in the middle of what is being said."""

    def __init__(self, port, chooser):
        self._port = port
        self._chooser = chooser
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0
        self.faulty = True
        self._pairs = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                client.close()
                continue
            pair = (client, broker)
            self._pairs.append(pair)
            left = [self._chooser.randrange(100_000) if self.faulty else 2**60]
            for one, other in (pair, pair[::-1]):
                thread = threading.Thread(target=self._pass, args=(one, other, left, pair), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _pass(self, one, other, left, pair):
        try:
            while True:
                data = one.recv(self._chooser.choice((10, 1000, 65_536)))
                if not data:
                    break
                left[0] -= len(data)
                if left[0] <= 0 and self.faulty:
                    self.cuts += 1
                    other.sendall(data[: self._chooser.randrange(len(data))])
                    break
                other.sendall(data)
        except OSError:
            pass
        self._end(pair)

    def _end(self, pair):
        for sock in pair:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        for pair in list(self._pairs):
            self._end(pair)
        for thread in self._threads:
            thread.join(PATIENCE)
        for pair in self._pairs:
            for sock in pair:
                sock.close()


class RealFaults(unittest.TestCase):
    def setUp(self):
        self.broker = Broker()
        self.addCleanup(self.broker.close)

    def start(self, url):
        client = connect(url, **QUICK)
        self.addCleanup(client.close)
        topic = client.topic("t", "text", **SMALL)
        writers = [Writer(name, topic.publisher()) for name in "ab"]
        reader = Reader(topic.subscriber("earliest"))
        for thread in (*writers, reader):
            thread.start()
        return writers, reader

    def finish(self, writers, reader):
        for writer in writers:
            writer.stop.set()
        for writer in writers:
            writer.join(2 * PATIENCE)
            self.assertFalse(writer.is_alive(), "a writer did not come to its end")
            self.assertEqual(writer.failures, [])
            self.assertEqual(len(writer.acknowledged), writer.sent, "something was never acknowledged")
        with connect(self.broker.url) as client:
            stored = [(m.sequence, m.value) for m in client.topic("t", "text", **SMALL).replay()]
        wait_for("the reader", lambda: reader.failures or len(reader.seen) >= len(stored))
        reader.subscriber.close()
        reader.join(PATIENCE)
        self.assertEqual(reader.failures, [])
        # Dense, as everybody else sees it, without gap or duplicate.
        self.assertEqual(reader.seen, stored)
        self.assertEqual([sequence for sequence, _ in stored], list(range(1, len(stored) + 1)))
        for writer in writers:
            own = [value for _, value in stored if value.startswith(writer.label)]
            self.assertEqual(own, [f"{writer.label}:{n}" for n in range(writer.sent)], f"seed {SEED}")
            at = {value: sequence for sequence, value in stored}
            told = {value: sequence for value, sequence in writer.acknowledged.items() if sequence != 0}
            self.assertEqual(told, {value: at[value] for value in told})

    def test_a_broker_that_is_killed_under_load_loses_and_doubles_nothing(self):
        writers, reader = self.start(self.broker.url)
        for _ in range(ROUNDS):
            before = [len(writer.acknowledged) for writer in writers]
            wait_for("more", lambda before=before: all(len(w.acknowledged) > n + 300 for w, n in zip(writers, before)))
            self.broker.kill()
            time.sleep(0.05)
            self.broker.start()
        before = [len(writer.acknowledged) for writer in writers]
        wait_for("more", lambda: all(len(w.acknowledged) > n for w, n in zip(writers, before)))
        self.finish(writers, reader)

    def test_connections_cut_in_the_middle_of_a_word_lose_and_double_nothing(self):
        network = Cutter(self.broker.port, random.Random(SEED))
        self.addCleanup(network.close)
        network.faulty = False
        writers, reader = self.start(network.url)
        network.faulty = True
        for pair in list(network._pairs):
            network._end(pair)
        wait_for("cuts", lambda: network.cuts >= 15)
        network.faulty = False
        self.finish(writers, reader)

    def test_a_broker_that_is_stopped_in_order_is_found_again(self):
        writers, reader = self.start(self.broker.url)
        wait_for("more", lambda: all(len(w.acknowledged) > 300 for w in writers))
        self.broker.kill(signal.SIGTERM)
        self.broker.start()
        before = [len(writer.acknowledged) for writer in writers]
        wait_for("more", lambda: all(len(w.acknowledged) > n for w, n in zip(writers, before)))
        self.finish(writers, reader)

    def test_without_reconnection_everything_fails_and_says_why(self):
        with connect(self.broker.url, reconnect=False) as client:
            topic = client.topic("t", "text", **SMALL)
            publisher, subscriber = topic.publisher(), topic.subscriber()
            self.broker.kill()
            with refused(self, "CONNECTION_FAILED", "url"):
                subscriber.receive(PATIENCE)
            with refused(self, "CONNECTION_FAILED"):
                publisher.publish("x")
            with refused(self, "CONNECTION_FAILED"):
                client.topics()
            self.assertTrue(client.closed)

    def test_while_there_is_no_broker_waits_end_in_time(self):
        with connect(self.broker.url, connect_timeout=0.3, publish_buffer=65_536, **QUICK) as client:
            topic = client.topic("t", "raw", **SMALL)
            publisher = topic.publisher()
            self.broker.kill()
            wait_for("the loss", lambda: publisher._channel.channel == 0)
            with refused(self, "CONNECTION_FAILED"):
                client.topics()
            publisher.publish(b"x")
            with refused(self, "TIMED_OUT"):
                publisher.flush(timeout=0.1)
            with refused(self, "BACK_PRESSURE"):
                for _ in range(100):
                    publisher.publish(bytes(4000), timeout=0.1)
            with refused(self, "TIMED_OUT"):
                publisher.close(timeout=0.1)
            self.assertTrue(publisher.closed)

    def test_status_events_tell_the_story(self):
        events = []
        with connect(self.broker.url, on_status=events.append, **QUICK) as client:
            self.broker.kill()
            wait_for("attempts", lambda: len([event for event in events if event.type == "reconnecting"]) >= 3)
            self.broker.start()
            wait_for("the connection", lambda: events[-1].type == "connected")
            self.assertEqual(client.topics(), [])
        kinds = [event.type for event in events]
        self.assertEqual(kinds[:3], ["connected", "disconnected", "reconnecting"])
        self.assertEqual([event.details["attempt"] for event in events if event.type == "reconnecting"][:3], [1, 2, 3])


def opened(peer, max_payload=1024):
    """Greets a client and opens its publisher or subscriber."""
    peer.greet()
    while True:
        kind, channel, _ = peer.packet()
        if kind == packets.OPEN_PUBLISHER:
            answer = {"stored": "0", "runs": [], "maxPayloadBytes": max_payload, "maxBatchBytes": 262_144, "nextSequence": 1}
            peer.send(packets.json_packet(packets.PUBLISHER_OPENED, channel, answer))
            return channel
        if kind == packets.SUBSCRIBE:
            answer = {"epoch": 0, "sequence": 1, "nextSequence": 1, "maxPayloadBytes": max_payload}
            peer.send(packets.json_packet(packets.SUBSCRIBED, channel, answer))
            return channel


class HostileBrokers(unittest.TestCase):
    """None of these may make a client hang, or end in anything but a HermesError."""

    GREETINGS = {
        "nothing and the end": (lambda: b"", True, ("CONNECTION_FAILED",)),
        "nothing at all": (lambda: b"", False, ("CONNECTION_FAILED",)),
        "half a packet and the end": (lambda: welcome()[:-3], True, ("CONNECTION_FAILED",)),
        "half a packet": (lambda: welcome()[:20], False, ("CONNECTION_FAILED",)),
        "another protocol": (lambda: b"HTTP/1.1 400 Bad Request\r\n\r\n", False, ("PROTOCOL",)),
        "noise": (lambda: bytes(range(256)) * 20, False, ("PROTOCOL",)),
        "a wrong checksum": (lambda: welcome()[:12] + b"\0\0\0\0" + welcome()[16:], False, ("PROTOCOL",)),
        "an absurd length": (lambda: b"\xff\xff\xff\xff" + welcome()[4:], False, ("LIMIT",)),
        "no json": (lambda: packets.packet(packets.WELCOME, 0, b"{]"), False, ("PROTOCOL",)),
        "missing fields": (lambda: packets.json_packet(packets.WELCOME, 0, {}), False, ("PROTOCOL",)),
        "a ping before the greeting": (lambda: packets.u64_packet(packets.PING, 0, 1), False, ("PROTOCOL",)),
        "an error": (
            lambda: packets.json_packet(packets.ERROR, 0, {"code": "LIMIT", "message": "full"}),
            False,
            ("LIMIT",),
        ),
        "an error that is none": (lambda: packets.json_packet(packets.ERROR, 0, {"code": 5}), False, ("PROTOCOL",)),
        "another version": (
            lambda: packets.json_packet(packets.ERROR, 0, {"code": "VERSION_MISMATCH", "message": "2"}),
            False,
            ("VERSION_MISMATCH",),
        ),
    }

    def test_greetings_that_are_none(self):
        for name, (answer, ends, codes) in self.GREETINGS.items():

            def script(peer, answer=answer, ends=ends):
                peer.preamble()
                peer.expect(packets.HELLO)
                peer.send(answer())
                if not ends:
                    peer.linger()

            with self.subTest(name), FakeBroker(script) as broker:
                before = time.monotonic()
                with self.assertRaises(HermesError) as caught:
                    connect(broker.url, connect_timeout=0.5).close()
                self.assertIn(caught.exception.code, codes)
                self.assertLess(time.monotonic() - before, PATIENCE)

    def against(self, script, use, *codes):
        """What ``use(client)`` ends in, with a broker that follows the script at each connection."""
        with FakeBroker(script) as broker:
            with connect(broker.url, connect_timeout=0.5, request_timeout=0.5, reconnect_min=0.001, reconnect_max=0.01) as client:
                with self.assertRaises(HermesError) as caught:
                    use(client)
                self.assertIn(caught.exception.code, codes, str(caught.exception))
            return broker

    def test_a_broker_that_greets_and_then_talks_nonsense(self):
        for name, nonsense in {
            "noise": b"\xee" * 100,
            "a second welcome": welcome(),
            "an absurd length": (2**32 - 1).to_bytes(4, "little") + bytes([packets.DELIVER, 0, 0, 0]) + bytes(8),
            "a flag": b"\x08\0\0\0\x03\x01\0\0" + bytes(16),
            "a client's packet": packets.packet(packets.CLOSE, 1),
            "a channel's packet on channel 0": packets.packet(packets.CLOSED, 0),
        }.items():

            def script(peer, nonsense=nonsense):
                peer.greet()
                peer.send(nonsense)
                peer.linger()

            with self.subTest(name):
                broker = self.against(script, lambda client: client.topics(), "PROTOCOL", "LIMIT")
                self.assertEqual(broker.connections, 3)

    def test_a_broker_that_greets_and_leaves(self):
        self.against(lambda peer: peer.greet(), lambda client: client.topics(), "CONNECTION_FAILED", "TIMED_OUT")

    def test_a_broker_that_never_answers(self):
        def script(peer):
            peer.greet()
            peer.linger()

        self.against(script, lambda client: client.topics(), "TIMED_OUT")
        self.against(script, lambda client: client.topic("t", "text").publisher(), "TIMED_OUT")
        self.against(script, lambda client: client.topic("t", "text").subscriber(), "TIMED_OUT")

    def test_replies_that_are_none(self):
        for content in ({}, {"topics": "a"}, {"topics": [1]}, {"info": []}, {"info": {"name": "t"}}, {"info": {"codec": 5}}):

            def script(peer, content=content):
                peer.greet()
                channel, _ = peer.expect(packets.REQUEST)
                peer.send(packets.json_packet(packets.REPLY, channel, content))
                peer.linger()

            with self.subTest(content):
                self.against(script, lambda client: client.info("t") if "info" in content else client.topics(), "PROTOCOL")

    def test_a_packet_that_never_ends_is_given_up(self):
        def script(peer):
            peer.greet(heartbeatMs=100)
            peer.expect(packets.REQUEST)
            peer.send((10_000_000).to_bytes(4, "little") + bytes([packets.REPLY, 0, 0, 0]) + bytes(8))
            peer.linger()

        self.against(script, lambda client: client.topics(), "TIMED_OUT", "CONNECTION_FAILED")

    def read(self, client):
        with client.topic("t", "raw").subscriber("earliest") as subscriber:
            while True:
                subscriber.receive(PATIENCE)

    def test_deliveries_that_are_none(self):
        sound = frames.data_frame(b"payload", 1, 1)

        def head(count=1, sequence=1, end=2, epoch=0):
            return DeliverHead(epoch, count, sequence, end, end)

        for name, (make, codes) in {
            "a frame with a wrong checksum": (lambda c: packets.deliver_packet(c, head(), sound[:32] + b"PAYLOAD\0"), ("CORRUPT",)),
            "no frame": (lambda c: packets.deliver_packet(c, head(), b"\xab" * 40), ("CORRUPT",)),
            "half a frame": (lambda c: packets.deliver_packet(c, head(), sound[:32]), ("CORRUPT",)),
            "a frame too few": (lambda c: packets.deliver_packet(c, head(end=3), sound), ("CORRUPT",)),
            "another sequence": (lambda c: packets.deliver_packet(c, head(sequence=5, end=6), sound), ("PROTOCOL",)),
            "an end before the beginning": (lambda c: packets.deliver_packet(c, head(end=0), sound), ("PROTOCOL",)),
            "more than was granted": (lambda c: packets.deliver_packet(c, head(), bytes(4 * 1024 * 1024 + 8)), ("PROTOCOL",)),
            "an absurd payload": (
                lambda c: packets.deliver_packet(c, head(), sound[:24] + b"\xff\xff\xff\x7f" + sound[28:]),
                ("CORRUPT",),
            ),
            "an acknowledgement": (lambda c: packets.ack_packet(c, [Run(1, 1, 1)]), ("PROTOCOL",)),
        }.items():

            def script(peer, make=make):
                channel = opened(peer)
                peer.send(make(channel))
                peer.linger()

            with self.subTest(name):
                self.against(script, self.read, *codes)

    def test_acknowledgements_of_what_was_never_sent(self):
        """They end the connection, and the message is sent again over the next one."""
        answers = [Run(2**64 - 1, 2**32 - 1, 5), None]

        def script(peer):
            channel = opened(peer)
            _, body = peer.expect(packets.PUBLISH)
            number = frames.read_head(body, 16, 1024).timestamp_ns
            peer.send(packets.ack_packet(channel, [answers.pop(0) or Run(number, 1, 7)]))
            peer.linger()

        with FakeBroker(script) as broker, connect(broker.url) as client:
            publisher = client.topic("t", "text").publisher()
            self.assertEqual(publisher.publish_acked("x").result(PATIENCE).sequence, 7)
            self.assertEqual(broker.connections, 2)

    def test_random_flips_and_cuts_of_a_whole_conversation(self):
        """A recorded conversation, damaged at random: an error, or what was meant; never a hang, never another exception."""
        chooser = random.Random(SEED)
        payloads = [b"message %d" % n for n in range(1, 4)]
        run = b"".join(frames.data_frame(payload, 1, n) for n, payload in enumerate(payloads, 1))
        subscribed = {"epoch": 0, "sequence": 1, "nextSequence": 4, "maxPayloadBytes": 1024}
        whole = (
            welcome(heartbeatMs=200)
            + packets.json_packet(packets.SUBSCRIBED, 1, subscribed)
            + packets.deliver_packet(1, DeliverHead(0, 3, 1, 4, 4), run)
        )
        outcomes = set()
        for _ in range(40):
            broken = bytearray(whole)
            if chooser.random() < 0.7:
                at = chooser.randrange(len(broken))
                broken[at] ^= 1 << chooser.randrange(8)
            else:
                del broken[chooser.randrange(len(broken)) :]

            def script(peer, broken=bytes(broken)):
                peer.preamble()
                at = 0
                while at < len(broken):
                    size = chooser.randrange(1, 200)
                    peer.send(broken[at : at + size])
                    at += size
                peer.linger()

            with FakeBroker(script) as broker:
                try:
                    with connect(broker.url, connect_timeout=0.2, request_timeout=0.2, reconnect=False) as client:
                        with client.topic("t", "raw").subscriber("earliest") as subscriber:
                            got = [message.value for message in subscriber.next_batch(3, 0.3)]
                            self.assertEqual(got, payloads[: len(got)], f"seed {SEED}")
                            outcomes.add("read")
                except HermesError as error:
                    outcomes.add(error.code)
        self.assertIn("PROTOCOL", outcomes)
        self.assertGreater(len(outcomes), 1)


class NoThreadIsLeft(unittest.TestCase):
    def test_every_connection_s_thread_ends(self):
        self.assertEqual([t.name for t in threading.enumerate() if t.name.startswith("hermes ")], [])


if __name__ == "__main__":
    unittest.main()
