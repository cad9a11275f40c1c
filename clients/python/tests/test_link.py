"""The state of a connection without any network: bytes and times are given to it, and what it says is looked at."""

import json
import unittest

from .support import refused, welcome
from hermes_mq import HermesError, frames, packets, raw
from hermes_mq.link import ENDED, UP, WANTED, Link
from hermes_mq.message_reader import MessageReader
from hermes_mq.options import check_settings
from hermes_mq.packets import DeliverHead, Run
from hermes_mq.publishing import PublisherChannel
from hermes_mq.request import Request
from hermes_mq.subscribing import SubscriberChannel

SETTINGS = {"create": True}


def settings(**changes):
    options = {
        "token": None,
        "ca": None,
        "cert": None,
        "key": None,
        "server_hostname": None,
        "ssl_context": None,
        "connect_timeout": 10.0,
        "request_timeout": 60.0,
        "reconnect": True,
        "reconnect_min": 0.1,
        "reconnect_max": 1.0,
        "publish_buffer": 64 * 1024,
        "subscribe_buffer": 64 * 1024,
        "compression": "none",
        "on_status": None,
    }
    options.update(changes)
    return check_settings("tcp://broker:9000", **options)


def reply(kind, channel, **content):
    return packets.json_packet(kind, channel, content)


def opened(channel, stored=0, runs=(), max_payload=1024):
    return reply(
        packets.PUBLISHER_OPENED,
        channel,
        stored=str(stored),
        runs=[[str(first), count, sequence] for first, count, sequence in runs],
        maxPayloadBytes=max_payload,
        maxBatchBytes=4096,
        nextSequence=1,
    )


def subscribed(channel, sequence, epoch=0, max_payload=1024):
    return reply(
        packets.SUBSCRIBED, channel, epoch=epoch, sequence=sequence, nextSequence=sequence, maxPayloadBytes=max_payload
    )


def deliver(channel, sequence, payloads, epoch=0):
    run = b"".join(frames.data_frame(payload, 1000 + n, sequence + n) for n, payload in enumerate(payloads))
    end = sequence + len(payloads)
    return packets.deliver_packet(channel, DeliverHead(epoch, len(payloads), sequence, end, end), run)


class Conversation:
    """A link, and what it says."""

    def __init__(self, **changes):
        self.events = []
        self.link = Link(settings(on_status=self.events.append, **changes))
        self.now = 100.0

    def connect(self, **changes):
        self.link.dialing(self.now)
        self.link.transport_up(self.now)
        greeting = b"".join(self.link.take_output(self.now))
        assert greeting.startswith(packets.PREAMBLE)
        self.link.received(welcome(heartbeatMs=1000, **changes), self.now)
        return self

    def say(self, *answers):
        for answer in answers:
            self.link.received(answer, self.now)

    def heard(self):
        """The packets that the link has sent: type, channel, body."""
        got = []
        reader = packets.PacketReader(lambda *packet: got.append(packet), 2**24, from_server=False)
        reader.push(b"".join(self.link.take_output(self.now)))
        return got

    def lose(self, reason=None):
        self.link.transport_down(reason, self.now)

    def status(self):
        for call in self.link.calls:
            call()
        self.link.calls = []
        return [event.type for event in self.events]

    def publisher(self, **options):
        channel = PublisherChannel(self.link, "t", SETTINGS, options.get("durability", "written"), False)
        self.link.add(channel)
        self.heard()
        self.say(opened(channel._open_channel))
        return channel


class Connections(unittest.TestCase):
    def test_hello_says_versions_and_token(self):
        link = Link(settings(token="secret"))
        link.dialing(0)
        link.transport_up(0)
        out = b"".join(link.take_output(0))
        hello = json.loads(out[8 + 16 :])
        self.assertEqual((hello["versions"], hello["features"], hello["token"]), ([1, 1], ["groups"], "secret"))

    def test_pings_when_it_has_said_nothing_and_ends_when_nothing_was_heard(self):
        talk = Conversation().connect()
        self.assertEqual(talk.link.deadline(), 101.0)
        talk.now = 101.0
        talk.link.tick(talk.now)
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.PING])
        talk.link.tick(talk.now)
        self.assertEqual(talk.heard(), [])
        talk.now = 102.4
        talk.link.tick(talk.now)
        self.assertFalse(talk.link.hang_up)
        talk.now = 102.5
        talk.link.tick(talk.now)
        self.assertTrue(talk.link.hang_up)

    def test_answers_pings_with_their_own_bytes(self):
        talk = Conversation().connect()
        talk.say(packets.u64_packet(packets.PING, 0, 77))
        self.assertEqual(talk.heard(), [(packets.PONG, 0, (77).to_bytes(8, "little"))])

    def test_a_broker_that_asks_without_listening_does_not_fill_the_memory(self):
        talk = Conversation().connect()
        for _ in range(20):
            talk.say(packets.u64_packet(packets.PING, 0, 1) * 100)
            talk.heard()
        self.assertFalse(talk.link.hang_up)
        for _ in range(11):
            talk.say(packets.u64_packet(packets.PING, 0, 1) * 100)
        self.assertTrue(talk.link.hang_up)

    def test_what_waited_for_a_lost_connection_is_sent_over_the_next_one(self):
        asked = []
        talk = Conversation().connect()
        publisher = talk.publisher()
        talk.link.on_output = lambda: asked.append(True)
        publisher.append([b"waiting"])
        talk.lose()
        talk.connect()
        ((_, channel, _),) = talk.heard()
        asked.clear()
        talk.say(opened(channel))
        self.assertTrue(asked, "the driver is told that there is something to be written")
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.PUBLISH])

    def test_gives_up_a_broker_that_does_not_greet(self):
        talk = Conversation(connect_timeout=3)
        talk.link.dialing(talk.now)
        talk.link.transport_up(talk.now)
        self.assertEqual(talk.link.deadline(), 103.0)
        talk.now = 103.0
        talk.link.tick(talk.now)
        self.assertTrue(talk.link.hang_up)
        talk.lose()
        self.assertEqual((talk.link.phase, talk.link.failure.code), (ENDED, "CONNECTION_FAILED"))

    def test_waits_longer_after_each_failure_and_never_all_of_it_by_chance(self):
        delays = []
        talk = Conversation().connect()
        for _ in range(8):
            talk.lose(OSError("gone"))
            self.assertEqual(talk.link.phase, WANTED)
            delays.append(talk.link.retry_at - talk.now)
            talk.now = talk.link.retry_at
            talk.link.dialing(talk.now)
        ceilings = [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
        for delay, ceiling in zip(delays, ceilings):
            self.assertGreaterEqual(delay, ceiling / 2 - 1e-9)
            self.assertLessEqual(delay, ceiling + 1e-9)
        self.assertGreater(len(set(delays[4:])), 1)
        # A connection that lasts makes it quick again.
        talk.connect()
        talk.now += 2
        talk.lose(OSError("gone"))
        self.assertLessEqual(talk.link.retry_at - talk.now, 0.1)
        self.assertEqual(talk.status()[-2:], ["disconnected", "reconnecting"])

    def test_the_first_connection_is_tried_once(self):
        talk = Conversation()
        talk.link.dialing(talk.now)
        talk.lose(ConnectionRefusedError("refused"))
        self.assertEqual(talk.link.failure.code, "CONNECTION_FAILED")
        with refused(self, "CONNECTION_FAILED"):
            talk.link.add(Request(talk.link, {}))

    def test_an_unknown_token_ends_it_for_good(self):
        talk = Conversation().connect()
        talk.lose()
        talk.now = talk.link.retry_at
        talk.link.dialing(talk.now)
        talk.link.transport_up(talk.now)
        talk.say(reply(packets.ERROR, 0, code="UNAUTHORIZED", message="no"))
        talk.lose()
        self.assertEqual((talk.link.phase, talk.link.failure.code), (ENDED, "UNAUTHORIZED"))

    def test_a_broker_that_breaks_the_protocol_time_and_again_is_given_up(self):
        talk = Conversation()
        for _ in range(3):
            talk.connect()
            self.assertEqual(talk.link.phase, UP)
            talk.say(b"\xff" * 64)
            self.assertTrue(talk.link.hang_up)
            talk.lose()
        self.assertEqual((talk.link.phase, talk.link.failure.code), (ENDED, "PROTOCOL"))

    def test_a_code_that_is_not_known_is_a_protocol_error(self):
        talk = Conversation().connect()
        request = Request(talk.link, {"op": "topics"})
        talk.link.add(request)
        talk.say(reply(packets.ERROR, request.channel, code="NEW_IN_VERSION_9", message="?"))
        self.assertEqual(request.failure.code, "PROTOCOL")

    def test_a_request_is_asked_again_over_the_next_connection(self):
        talk = Conversation().connect()
        request = Request(talk.link, {"op": "topics"})
        talk.link.add(request)
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.REQUEST])
        talk.lose()
        talk.connect()
        ((kind, channel, _),) = talk.heard()
        self.assertEqual(kind, packets.REQUEST)
        talk.say(reply(packets.REPLY, channel, topics=[]))
        self.assertEqual(request.reply, {"topics": []})

    def test_a_welcome_that_chooses_what_was_not_offered_is_refused(self):
        for changes in ({"features": ["zip"]}, {"version": 2}, {"heartbeatMs": 0}, {"limits": {}}, {"server": 5}):
            talk = Conversation()
            talk.link.dialing(0)
            talk.link.transport_up(0)
            talk.say(welcome(**changes))
            self.assertTrue(talk.link.hang_up, changes)
            talk.lose()
            self.assertEqual(talk.link.failure.code, "PROTOCOL")

    def test_leaves_a_broker_that_drains_once_it_owes_nothing(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([b"one"])
        ((_, channel, body),) = talk.heard()
        talk.say(reply(packets.DRAIN, 0, reason="shutdown", graceMs=5000))
        self.assertFalse(talk.link.hang_up)
        publisher.append([b"two"])
        self.assertEqual(talk.heard(), [], "nothing new is sent to a broker that drains")
        first = frames.read_head(body, 16, 1024).timestamp_ns
        talk.say(packets.ack_packet(channel, [Run(first, 1, 1)]))
        self.assertTrue(talk.link.hang_up)
        talk.lose()
        talk.connect()
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.OPEN_PUBLISHER])
        self.assertEqual(publisher.pending, 1)


class Publishing(unittest.TestCase):
    def test_what_comes_before_the_transport_takes_it_goes_in_one_batch(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        for n in range(5):
            publisher.append([b"%d" % n])
        ((kind, _, body),) = talk.heard()
        self.assertEqual((kind, int.from_bytes(body[8:12], "little")), (packets.PUBLISH, 5))
        numbers = [frames.read_head(body, 16 + 40 * n, 1024).timestamp_ns for n in range(5)]
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))

    def test_numbers_grow_also_when_the_clock_steps_back(self):
        clock = iter([1000, 10, 10, 5000])
        talk = Conversation()
        object.__setattr__(talk.link.settings, "clock_ns", lambda: next(clock))
        talk.connect()
        publisher = talk.publisher()
        numbers = []
        for count in (3, 1, 1, 1):
            publisher.append([b"x"] * count)
            ((_, _, body),) = talk.heard()
            numbers.append(frames.read_head(body, 16, 1024).timestamp_ns)
        self.assertEqual(numbers, [1000, 1003, 1004, 5000])

    def test_a_batch_keeps_within_the_broker_s_limits(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([bytes(1000)] * 20)
        for _ in range(3):
            publisher.append([bytes(900)])
        sent = talk.heard()
        for kind, _, body in sent:
            self.assertEqual(kind, packets.PUBLISH)
            self.assertLessEqual(len(body) - 16, 4096)
        self.assertEqual(sum(int.from_bytes(body[8:12], "little") for _, _, body in sent), 23)

    def test_what_was_stored_is_not_sent_again_and_the_rest_as_it_was(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        settled = []
        sent = []
        for n in range(4):
            publisher.append([b"m%d" % n])
            publisher.when_settled(lambda receipt, error: settled.append((receipt and receipt.sequence, error)))
            ((_, channel, body),) = talk.heard()
            sent.append(body)
        first = [frames.read_head(body, 16, 1024).timestamp_ns for body in sent]
        talk.say(packets.ack_packet(channel, [Run(first[0], 1, 50)]))
        talk.lose()
        publisher.append([b"m4"])
        talk.connect()
        ((kind, channel, body),) = talk.heard()
        again = json.loads(body)
        self.assertEqual(kind, packets.OPEN_PUBLISHER)
        self.assertEqual((again["producer"], again["acked"]), (publisher.producer, str(first[0])))
        talk.say(opened(channel, stored=first[1], runs=[(first[1], 1, 60)]))
        resent = talk.heard()
        self.assertEqual([body[16:] for _, _, body in resent[:2]], [body[16:] for body in sent[2:]])
        self.assertEqual(len(resent), 3)
        talk.status()
        self.assertEqual(settled, [(50, None), (60, None)])

    def test_what_is_stored_somewhere_is_acknowledged_without_a_sequence(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([b"m"])
        ((_, _, body),) = talk.heard()
        number = frames.read_head(body, 16, 1024).timestamp_ns
        talk.lose()
        talk.connect()
        ((_, channel, _),) = talk.heard()
        talk.say(opened(channel, stored=number))
        self.assertEqual((publisher.pending, publisher.last_receipt.sequence), (0, 0))

    def test_a_full_disk_is_told_once_and_publishing_goes_on(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        settled = []
        publisher.append([b"m"])
        publisher.when_settled(lambda receipt, error: settled.append(error.code))
        ((_, channel, _),) = talk.heard()
        talk.say(reply(packets.ERROR, channel, code="DISK_FULL", message="full"))
        talk.status()
        self.assertEqual(settled, ["DISK_FULL"])
        with refused(self, "DISK_FULL"):
            publisher.reached(1)
        with refused(self, "DISK_FULL"):
            publisher.check()
        publisher.check()
        ((kind, channel, _),) = talk.heard()
        self.assertEqual(kind, packets.OPEN_PUBLISHER)
        publisher.append([b"n"])
        publisher.when_settled(lambda receipt, error: settled.append(receipt.sequence))
        talk.say(opened(channel))
        ((_, channel, body),) = talk.heard()
        talk.say(packets.ack_packet(channel, [Run(frames.read_head(body, 16, 1024).timestamp_ns, 1, 9)]))
        talk.status()
        self.assertEqual(settled, ["DISK_FULL", 9])
        self.assertTrue(publisher.reached(2))

    def test_a_topic_that_is_just_going_away_is_opened_again_a_little_later(self):
        talk = Conversation().connect()
        publisher = PublisherChannel(talk.link, "t", SETTINGS, "written", False)
        subscriber = SubscriberChannel(talk.link, "t", SETTINGS, "latest")
        request = Request(talk.link, {"op": "topics"})
        users = (publisher, subscriber, request)
        for user in users:
            talk.link.add(user)
        asked = [channel for _, channel, _ in talk.heard()]
        for channel in asked:
            talk.say(reply(packets.ERROR, channel, code="CLOSED", message="the topic is being closed"))
        self.assertEqual([user.failure for user in users], [None, None, None])
        self.assertEqual(talk.heard(), [])
        talk.now = talk.link.deadline()
        talk.link.tick(talk.now)
        again = [channel for _, channel, _ in talk.heard()]
        self.assertEqual(len(again), 3)
        self.assertFalse(set(again) & set(asked))
        talk.say(opened(again[0]))
        self.assertTrue(publisher.opened)

    def test_a_topic_that_is_not_there_is_waited_for_once_a_publisher_makes_it_no_longer(self):
        talk = Conversation().connect()
        subscriber = SubscriberChannel(talk.link, "t", {"create": True, "retention": {"bytes": 1}}, "latest")
        talk.link.add(subscriber)
        ((_, channel, body),) = talk.heard()
        self.assertEqual(json.loads(body)["settings"], {"create": False})
        talk.say(reply(packets.ERROR, channel, code="NOT_FOUND", message="no such topic"))
        self.assertEqual((subscriber.opened, subscriber.settled, subscriber.failure), (True, False, None))
        publisher = PublisherChannel(talk.link, "t", SETTINGS, "written", False)
        talk.link.add(publisher)
        ((_, at, _),) = talk.heard()
        talk.say(opened(at))
        ((kind, _, body),) = talk.heard()
        # From its first message on: it was waited for before there was any. And once: the later look is not made.
        self.assertEqual((kind, json.loads(body)["from"]), (packets.SUBSCRIBE, "earliest"))
        talk.now += 1
        talk.link.tick(talk.now)
        self.assertNotIn(packets.SUBSCRIBE, [kind for kind, _, _ in talk.heard()])

    def test_closing_too_early_says_how_many_are_not_acknowledged(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([b"a", b"b", b"c"])
        error = publisher.given_up("1 s have passed")
        self.assertEqual((error.code, error.details), ("TIMED_OUT", {"topic": publisher.topic, "unacknowledged": 3}))
        self.assertIn("3 messages that are not acknowledged", error.message)

    def test_a_topic_that_the_broker_opens_anew_gets_another_channel_and_what_was_not_acknowledged(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([b"m"])
        ((_, channel, body),) = talk.heard()
        number = frames.read_head(body, 16, 1024).timestamp_ns
        talk.say(packets.ack_packet(channel, [Run(number, 1, 1)]))
        sync = publisher.sync()
        talk.heard()
        publisher.append([b"n"])
        ((_, _, body),) = talk.heard()
        talk.say(reply(packets.ERROR, channel, code="IO_FAILED", message="a sync failed", retry=True))
        # What was written and not synced is uncertain.
        self.assertEqual((sync.done, sync.error.code), (True, "IO_FAILED"))
        self.assertEqual(talk.heard(), [])
        talk.now = talk.link.deadline()
        talk.link.tick(talk.now)
        ((kind, channel, _),) = talk.heard()
        self.assertEqual(kind, packets.OPEN_PUBLISHER)
        talk.say(opened(channel, stored=number))
        ((kind, channel, again),) = talk.heard()
        self.assertEqual((kind, again[16:]), (packets.PUBLISH, body[16:]))
        second = frames.read_head(body, 16, 1024).timestamp_ns
        talk.say(packets.ack_packet(channel, [Run(second, 1, 2)]))
        # Nobody asked when it failed again: told with the next question, once.
        talk.say(reply(packets.ERROR, channel, code="IO_FAILED", message="a sync failed", retry=True))
        with refused(self, "IO_FAILED"):
            publisher.sync()
        self.assertFalse(publisher.sync().done)

    def test_each_of_several_failures_is_told_to_those_who_wait_for_its_messages(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        for n in range(3):
            publisher.append([b"m"])
            talk.say(reply(packets.ERROR, publisher.channel, code="DISK_FULL", message=f"full {n}"))
            with refused(self, "DISK_FULL"):
                publisher.check()
            ((_, channel, _),) = talk.heard()[-1:]
            talk.say(opened(channel))
        publisher.append([b"m"])
        ((_, channel, body),) = talk.heard()
        talk.say(packets.ack_packet(channel, [Run(frames.read_head(body, 16, 1024).timestamp_ns, 1, 1)]))
        for upto in (1, 2, 3):
            with self.assertRaises(HermesError) as caught:
                publisher.reached(upto)
            self.assertEqual(caught.exception.message, f"full {upto - 1}")
        self.assertTrue(publisher.reached(4))

    def test_a_fenced_publisher_stays_so(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        talk.say(reply(packets.ERROR, publisher.channel, code="FENCED", message="another one"))
        for _ in range(2):
            with refused(self, "FENCED"):
                publisher.check()

    def test_lost_messages_that_were_only_written_fail_a_wait_for_the_disk(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        publisher.append([b"m"])
        ((_, channel, body),) = talk.heard()
        number = frames.read_head(body, 16, 1024).timestamp_ns
        talk.say(packets.ack_packet(channel, [Run(number, 1, 1)]))
        sync = publisher.sync()
        talk.lose()
        talk.connect()
        ((_, channel, _),) = talk.heard()
        talk.say(opened(channel, stored=0))
        self.assertEqual((sync.done, sync.error.code), (True, "IO_FAILED"))

    def test_holds_no_more_than_its_buffer_and_no_more_batches_than_the_broker_remembers(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        while publisher.has_room:
            publisher.append([bytes(1000)])
            talk.heard()
        self.assertLessEqual(publisher._buffer.held_bytes, 64 * 1024 + 1032)
        talk = Conversation(publish_buffer=2**26).connect()
        publisher = talk.publisher()
        batches = 0
        while publisher.has_room:
            publisher.append([b"x"])
            batches += len(talk.heard())
        self.assertEqual(batches, 1000)

    def test_a_broker_that_opens_a_publisher_twice_is_left(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        talk.say(opened(publisher.channel))
        self.assertTrue(talk.link.hang_up)

    def test_a_broker_that_ends_a_channel_which_nobody_has_closed_is_left(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        talk.say(packets.packet(packets.CLOSED, publisher.channel))
        self.assertTrue(talk.link.hang_up)
        talk = Conversation().connect()
        channel = SubscriberChannel(talk.link, "t", SETTINGS, "earliest")
        talk.link.add(channel)
        talk.say(subscribed(channel.channel, 1), packets.packet(packets.CLOSED, channel.channel))
        self.assertTrue(talk.link.hang_up)

    def test_messages_that_are_larger_than_a_packet_can_be_are_not_believed(self):
        talk = Conversation().connect()
        channel = PublisherChannel(talk.link, "t", SETTINGS, "written", False)
        talk.link.add(channel)
        talk.say(opened(channel._open_channel, max_payload=2**30))
        self.assertTrue(talk.link.hang_up)
        self.assertFalse(channel.opened)
        talk = Conversation().connect()
        subscriber = SubscriberChannel(talk.link, "t", SETTINGS, "earliest")
        talk.link.add(subscriber)
        talk.say(subscribed(subscriber.channel, 1, max_payload=2**30))
        self.assertTrue(talk.link.hang_up)

    def test_packets_for_somebody_else_are_refused(self):
        talk = Conversation().connect()
        publisher = talk.publisher()
        talk.say(subscribed(publisher.channel, 1))
        self.assertTrue(talk.link.hang_up)


class Subscribing(unittest.TestCase):
    def subscribe(self, talk, from_="earliest", skip=False, sequence=1):
        channel = SubscriberChannel(talk.link, "t", SETTINGS, from_)
        talk.link.add(channel)
        talk.heard()
        talk.say(subscribed(channel.channel, sequence))
        import contextlib

        return channel, MessageReader(channel, raw, skip, True, contextlib.nullcontext())

    def values(self, consumer, most=1000):
        return [(message.sequence, message.value) for message in consumer.batch(most)]

    def test_gives_credit_at_first_and_again_when_a_quarter_was_read(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        self.assertEqual([(kind, int.from_bytes(body, "little")) for kind, _, body in talk.heard()], [(packets.CREDIT, 65_536)])
        piece = [bytes(1000)] * 8
        talk.say(deliver(channel.channel, 1, piece))
        self.assertEqual(len(consumer.batch(100)), 8)
        self.assertEqual(talk.heard(), [])
        talk.say(deliver(channel.channel, 9, piece))
        self.assertEqual(talk.heard(), [], "what lies here unread gives no credit")
        consumer.batch(100)
        self.assertEqual([int.from_bytes(body, "little") for _, _, body in talk.heard()], [2 * 8 * 1032])

    def test_more_than_was_granted_ends_the_connection(self):
        talk = Conversation().connect()
        channel, _ = self.subscribe(talk)
        for n in range(8):
            talk.say(deliver(channel.channel, 1 + 8 * n, [bytes(1000)] * 8))
        self.assertTrue(talk.link.hang_up)

    def test_a_time_to_come_is_asked_for_again_until_a_message_has_come(self):
        talk = Conversation().connect()
        time = {"timeMs": 5000}
        channel = SubscriberChannel(talk.link, "t", SETTINGS, time)
        talk.link.add(channel)
        talk.say(subscribed(channel.channel, 5))
        void = frames.data_frame((3).to_bytes(4, "little") + (3).to_bytes(4, "little"), 0, 5)
        void = void[:5] + bytes([frames.VOID]) + void[6:]
        talk.say(packets.deliver_packet(channel.channel, DeliverHead(0, 0, 5, 8, 8), void))
        self.assertEqual(channel.next_sequence(), 8)

        def asked_again():
            talk.lose()
            talk.connect()
            return [json.loads(body)["from"] for kind, _, body in talk.heard() if kind == packets.SUBSCRIBE]

        self.assertEqual(asked_again(), [time])
        talk.say(subscribed(channel.channel, 8), deliver(channel.channel, 8, [b"a"]))
        self.assertEqual(asked_again(), [9])

    def test_a_piece_without_frames_ends_the_connection(self):
        # (it costs no credit, so there could be any number of them)
        talk = Conversation().connect()
        channel = SubscriberChannel(talk.link, "t", SETTINGS, "earliest")
        talk.link.add(channel)
        talk.say(subscribed(channel.channel, 1))
        talk.say(packets.deliver_packet(channel.channel, DeliverHead(0, 0, 1, 5, 5), b""))
        self.assertTrue(talk.link.hang_up)

    def test_goes_on_behind_what_it_has_received(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        talk.say(deliver(channel.channel, 1, [b"a", b"b", b"c"]))
        self.assertEqual(self.values(consumer, 1), [(1, b"a")])
        talk.lose()
        talk.connect()
        ((_, number, body),) = talk.heard()
        self.assertEqual(json.loads(body)["from"], 4)
        talk.say(subscribed(number, 4), deliver(number, 4, [b"d"]))
        self.assertEqual(self.values(consumer), [(2, b"b"), (3, b"c")])
        self.assertEqual(self.values(consumer), [(4, b"d")])
        self.assertEqual(consumer.position, 5)

    def test_a_broker_that_goes_on_elsewhere_is_refused(self):
        for wrong in (3, 5):
            talk = Conversation().connect()
            channel, _ = self.subscribe(talk, sequence=4)
            talk.say(deliver(channel.channel, wrong, [b"x"]))
            self.assertTrue(talk.link.hang_up)
            talk.lose()
            talk.connect()
            ((_, number, _),) = talk.heard()
            talk.say(subscribed(number, wrong))
            self.assertTrue(talk.link.hang_up)

    def test_deliveries_of_an_older_epoch_are_thrown_away_and_give_credit(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        talk.heard()
        channel.move(100)
        consumer.restart()
        ((kind, _, body),) = talk.heard()
        self.assertEqual((kind, json.loads(body)), (packets.SEEK, {"epoch": 1, "from": 100}))
        for n in range(3):
            talk.say(deliver(channel.channel, 1 + 8 * n, [bytes(1000)] * 8))
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.CREDIT])
        talk.say(subscribed(channel.channel, 100, epoch=1), deliver(channel.channel, 100, [b"x"], epoch=1))
        consumer.start()
        self.assertEqual(self.values(consumer), [(100, b"x")])

    def test_deliveries_of_an_epoch_that_is_not_ours_are_not_read(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        talk.say(deliver(channel.channel, 1, [b"not ours"], epoch=7), deliver(channel.channel, 1, [b"ours"]))
        self.assertEqual(self.values(consumer), [(1, b"ours")])

    def test_a_seek_before_the_answer_is_made_after_it(self):
        talk = Conversation().connect()
        channel = SubscriberChannel(talk.link, "t", SETTINGS, "latest")
        talk.link.add(channel)
        talk.heard()
        channel.move("earliest")
        self.assertEqual(talk.heard(), [])
        talk.say(subscribed(channel.channel, 7))
        self.assertEqual([kind for kind, _, _ in talk.heard()], [packets.CREDIT, packets.SEEK])
        talk.say(subscribed(channel.channel, 1, epoch=1))
        self.assertEqual(channel.start_sequence, 1)

    def test_a_channel_that_failed_comes_back_with_a_seek(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        talk.say(reply(packets.ERROR, channel.channel, code="BEHIND_RETENTION", message="gone", details={"firstSequence": 9}))
        for _ in range(2):
            with refused(self, "BEHIND_RETENTION", "firstSequence"):
                consumer.batch(1)
        talk.heard()
        channel.move(9)
        consumer.restart()
        ((kind, _, body),) = talk.heard()
        self.assertEqual((kind, json.loads(body)["from"]), (packets.SUBSCRIBE, 9))

    def test_voids_are_passed_over(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        void = bytearray(frames.data_frame((3).to_bytes(4, "little") + bytes(4), 5, 2))
        void[5] = frames.VOID
        void[28:32] = frames.checksum(bytes(void), 0, frames.read_head(bytes(void), 0, 1024)).to_bytes(4, "little")
        run = frames.data_frame(b"a", 1, 1) + bytes(void) + frames.data_frame(b"b", 1, 5)
        talk.say(packets.deliver_packet(channel.channel, DeliverHead(0, 2, 1, 6, 6), run))
        self.assertEqual(self.values(consumer) + self.values(consumer), [(1, b"a"), (5, b"b")])
        self.assertEqual(consumer.position, 6)

    def damaged(self, talk, skip, harm):
        channel, consumer = self.subscribe(talk, skip=skip)
        parts = [bytearray(frames.data_frame(b"message %d" % n, 1, n)) for n in (1, 2, 3)]
        harm(parts[1])
        talk.say(packets.deliver_packet(channel.channel, DeliverHead(0, 3, 1, 4, 4), b"".join(parts)))
        return consumer

    def test_damage_stops_a_reader_or_is_passed_over_as_it_was_told(self):
        def payload(frame):
            frame[33] ^= 1

        def magic(frame):
            frame[0] ^= 1

        def length(frame):
            frame[24:28] = b"\xff\xff\xff\x7f"

        def sequence(frame):
            frame[8] = 9

        for harm in (payload, magic, length, sequence):
            with self.subTest(harm.__name__):
                consumer = self.damaged(Conversation().connect(), False, harm)
                self.assertEqual(self.values(consumer), [(1, b"message 1")])
                for _ in range(2):
                    with refused(self, "CORRUPT", "sequence"):
                        consumer.batch(10)
                self.assertEqual(consumer.position, 2)
                consumer = self.damaged(Conversation().connect(), True, harm)
                self.assertEqual(self.values(consumer) + self.values(consumer), [(1, b"message 1"), (3, b"message 3")])

    def test_frames_that_end_short_of_what_was_announced_are_damage(self):
        talk = Conversation().connect()
        channel, consumer = self.subscribe(talk)
        talk.say(packets.deliver_packet(channel.channel, DeliverHead(0, 2, 1, 3, 3), frames.data_frame(b"a", 1, 1)))
        self.assertEqual(self.values(consumer), [(1, b"a")])
        with refused(self, "CORRUPT", "sequence"):
            consumer.batch(1)

    def test_an_end_that_nobody_closed_fails_what_is_open(self):
        talk = Conversation(reconnect=False).connect()
        channel, consumer = self.subscribe(talk)
        talk.say(deliver(channel.channel, 1, [b"last"]))
        talk.lose(OSError("gone"))
        self.assertEqual(self.values(consumer), [(1, b"last")])
        with refused(self, "CONNECTION_FAILED"):
            consumer.batch(1)

    def test_one_error_does_not_collect_the_tracebacks_of_many(self):
        error = HermesError("LIMIT", "x", {"a": 1})
        self.assertIsNot(error.again(), error)
        self.assertEqual((error.again().code, error.again().details), ("LIMIT", {"a": 1}))


if __name__ == "__main__":
    unittest.main()
