"""Something that speaks the protocol, and is no broker: no call of either client hangs, and nothing is raised but a HermesError."""

import asyncio
import json
import os
import random
import struct
import time
import unittest

from .support import WELCOME, FakeBroker
from hermes_mq import HermesError, aio, connect, frames, packets
from hermes_mq.packets import DeliverHead, Run

ROUNDS = int(os.environ.get("HERMES_FALSE_ROUNDS", "40"))
SEED = int(os.environ.get("HERMES_FALSE_SEED", str(time.time_ns() % 100_000)))
#: No call takes longer, in seconds.
BOUND = 15.0

PUBLISHER_OPENED = {"stored": "0", "runs": [], "maxPayloadBytes": 4096, "maxBatchBytes": 1 << 18, "nextSequence": 1}
SUBSCRIBED = {"epoch": 0, "sequence": 1, "nextSequence": 1, "maxPayloadBytes": 4096}


def honest(kind, channel, body):
    """What a broker of an empty topic would say."""
    if kind == packets.HELLO:
        return packets.json_packet(packets.WELCOME, 0, {**WELCOME, "heartbeatMs": 60_000})
    if kind == packets.OPEN_PUBLISHER:
        return packets.json_packet(packets.PUBLISHER_OPENED, channel, PUBLISHER_OPENED)
    if kind == packets.PUBLISH:
        first, count = struct.unpack_from("<Q", body, 32)[0], struct.unpack_from("<I", body, 8)[0]
        return packets.ack_packet(channel, [Run(first, count, 1)])
    if kind == packets.SYNC:
        return packets.packet(packets.SYNCED, channel, body)
    if kind == packets.SUBSCRIBE:
        return packets.json_packet(packets.SUBSCRIBED, channel, SUBSCRIBED)
    if kind == packets.SEEK:
        return packets.json_packet(packets.SUBSCRIBED, channel, {**SUBSCRIBED, "epoch": json.loads(body)["epoch"]})
    if kind == packets.REQUEST:
        topics = json.loads(body)["op"] == "topics"
        return packets.json_packet(packets.REPLY, channel, {"topics": ["t"]} if topics else {"info": {"nextSequence": 1}})
    if kind == packets.CLOSE:
        return packets.packet(packets.CLOSED, channel)
    if kind == packets.PING:
        return packets.packet(packets.PONG, channel, body)
    return b""


def anything(chance):
    """A valid packet of a broker, with any content."""
    channel = chance.randrange(4)
    number = chance.choice((0, 1, 2, 2**31, 2**53 - 1, 5))
    kind = chance.randrange(15)
    if kind >= 13:
        sealed = bytearray(b"".join(frames.data_frame(b"12345678", 1, 1) for _ in range(chance.randrange(3))))
        if sealed and chance.randrange(2) == 0:
            sealed[chance.randrange(len(sealed))] = chance.randrange(256)
        head = DeliverHead(chance.choice((0, 0, 1)), 1, 1, 1 + chance.randrange(3), number)
        return packets.deliver_packet(channel, head, bytes(sealed))
    return (
        lambda: packets.json_packet(packets.WELCOME, 0, WELCOME),
        lambda: packets.u64_packet(packets.PING, channel, 1),
        lambda: packets.u64_packet(packets.PONG, channel, 1),
        lambda: packets.json_packet(packets.ERROR, channel, {"code": "CLOSED", "message": "x"}),
        lambda: packets.json_packet(packets.ERROR, channel, {"code": "DISK_FULL", "message": "x", "retry": chance.random() < 0.5}),
        lambda: packets.json_packet(packets.DRAIN, 0, {"reason": "x", "graceMs": number % 3_600_000}),
        lambda: packets.packet(packets.CLOSED, channel),
        lambda: packets.json_packet(packets.REPLY, channel, {"topics": number}),
        lambda: packets.json_packet(packets.PUBLISHER_OPENED, channel, {**PUBLISHER_OPENED, "stored": str(number)}),
        lambda: packets.json_packet(packets.PUBLISHER_OPENED, channel, {**PUBLISHER_OPENED, "runs": [["1", 2**32 - 1, number]]}),
        lambda: packets.ack_packet(channel, [Run(number, 2**32 - 1, number)]),
        lambda: packets.u64_packet(packets.SYNCED, channel, 2**64 - 1),
        lambda: packets.json_packet(packets.SUBSCRIBED, channel, {**SUBSCRIBED, "epoch": number % 3, "sequence": max(1, number)}),
    )[kind]()


class Spoiler:
    """Says something else in place of one packet, or of many."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.at = self.chance.randrange(12)
        self.kind = self.chance.randrange(7)
        self.index = 0
        self.silent = False

    def say(self, peer, said):
        chance = self.chance
        if self.silent or said == b"":
            return
        self.index += 1
        if self.index != self.at + 1 and not (self.kind == 6 and chance.random() < 0.3):
            peer.send(said)
        elif self.kind == 0:
            self.silent = True
        elif self.kind == 1:
            peer.send(said[: chance.randrange(len(said))])
            raise EOFError
        elif self.kind == 2:
            peer.send(bytes(chance.randrange(256) for _ in range(200)))
        elif self.kind == 3:
            flipped = bytearray(said)
            flipped[chance.randrange(len(said))] = chance.randrange(256)
            peer.send(bytes(flipped))
        elif self.kind == 4:
            peer.send(anything(chance))
        elif self.kind == 5:
            peer.send(said + b"".join(anything(chance) for _ in range(50)))
        else:
            peer.send(anything(chance) + said)

    def script(self, peer):
        peer.preamble()
        while True:
            self.say(peer, honest(*peer.packet()))


OPTIONS = {"connect_timeout": 0.15, "request_timeout": 0.15, "reconnect_min": 0.005, "reconnect_max": 0.02}


def use_blocking(case, url, codes):
    def call(work):
        begin = time.monotonic()
        try:
            return work()
        except HermesError as error:
            codes.add(error.code)
            return None
        finally:
            case.assertLess(time.monotonic() - begin, BOUND)

    client = call(lambda: connect(url, **OPTIONS))
    if client is None:
        return
    topic = client.topic("t", "text")
    call(client.topics)
    call(lambda: client.info("t"))
    publisher = call(topic.publisher)
    if publisher is not None:
        call(lambda: publisher.publish("x", 0.15))
        call(lambda: publisher.flush("synced", 0.15))
    subscriber = call(lambda: topic.subscriber("earliest", on_damage="skip"))
    if subscriber is not None:
        call(lambda: subscriber.receive(0.1))
        call(lambda: subscriber.seek("earliest"))
        call(lambda: subscriber.next_batch(5, 0.1))
    if publisher is not None:
        call(lambda: publisher.close(0.15))
    if subscriber is not None:
        call(subscriber.close)
    call(client.close)


async def use_asyncio(case, url, codes):
    async def call(work, patience=BOUND):
        begin = time.monotonic()
        try:
            return await asyncio.wait_for(work(), patience)
        except HermesError as error:
            codes.add(error.code)
            return None
        except asyncio.TimeoutError:
            # Where the call has no bound of its own, waiting is right.
            case.assertLess(patience, BOUND, "a call did not end")
            return None
        finally:
            case.assertLess(time.monotonic() - begin, BOUND)

    async def opening(pending):
        return await pending

    client = await call(lambda: opening(aio.connect(url, **OPTIONS)))
    if client is None:
        return
    topic = client.topic("t", "text")
    await call(client.topics)
    await call(lambda: client.info("t"))
    publisher = await call(lambda: opening(topic.publisher()))
    if publisher is not None:
        await call(lambda: publisher.publish("x"), 0.15)
        await call(lambda: publisher.publish_acked("y"), 0.15)
        await call(lambda: publisher.flush("synced"), 0.15)
    subscriber = await call(lambda: opening(topic.subscriber("earliest", on_damage="skip")))
    if subscriber is not None:
        await call(lambda: subscriber.receive(0.1))
        await call(lambda: subscriber.seek("earliest"))
        await call(lambda: subscriber.next_batch(5, 0.1))
    if publisher is not None:
        await call(lambda: publisher.close(0.15))
    if subscriber is not None:
        await call(subscriber.close)
    await call(client.close)


class FalseBroker(unittest.TestCase):
    def survive(self, use):
        codes = set()
        for seed in range(SEED, SEED + ROUNDS):
            with self.subTest(seed=seed), FakeBroker(Spoiler(seed).script) as broker:
                use(broker.url, codes)
        # That it was spoiled at all. How many kinds of errors that makes, the seed decides.
        self.assertTrue(codes, f"seed {SEED}")

    def test_the_blocking_client_survives_it(self):
        self.survive(lambda url, codes: use_blocking(self, url, codes))

    def test_the_asyncio_client_survives_it(self):
        errors = []

        def use(url, codes):
            async def work():
                # What is thrown in a callback reaches nobody else.
                asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
                await use_asyncio(self, url, codes)

            asyncio.run(work())
            self.assertEqual(errors, [])

        self.survive(use)
