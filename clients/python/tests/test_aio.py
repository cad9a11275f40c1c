"""The client for asyncio with a real broker, and with scripted ones."""

import asyncio
import signal
import unittest
from datetime import datetime, timezone

from .support import PATIENCE, Broker, BrokerCase, FakeBroker, refused, welcome
from hermes_mq import HermesError, aio, packets, raw

SMALL = {"segment_bytes": 1024 * 1024, "max_payload_bytes": 4096}


def run(work):
    """Runs a coroutine; nothing may be left behind in the loop."""

    async def whole():
        await asyncio.wait_for(work, 2 * PATIENCE)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            raise AssertionError(f"left behind: {left}")

    asyncio.run(whole(), debug=False)


async def until(what, condition):
    for _ in range(int(PATIENCE / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited in vain for {what}")


class Asynchronous(BrokerCase):
    def topic(self, client, codec="text", **options):
        return client.topic(self.name, codec, **{**SMALL, **options})

    def test_publishes_and_subscribes(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = self.topic(client)
                async with topic.subscriber() as subscriber, topic.publisher() as publisher:
                    receipt = await publisher.publish_acked("one")
                    self.assertEqual(receipt.sequence, 1)
                    await publisher.publish("two")
                    self.assertEqual(await publisher.publish_batch(["three", "four"]), 2)
                    await publisher.flush("synced")
                    self.assertEqual((publisher.pending, publisher.last_receipt.sequence), (0, 4))
                    self.assertEqual((await subscriber.receive(PATIENCE)).value, "one")
                    async for message in subscriber:
                        self.assertEqual((message.value, message.sequence), ("two", 2))
                        break
                    self.assertEqual([m.value for m in await subscriber.next_batch(10, PATIENCE)], ["three", "four"])
                    self.assertIsNone(await subscriber.receive(0.02))
                    self.assertEqual(await subscriber.next_batch(5, 0.02), [])
                    self.assertEqual((subscriber.position, subscriber.lag), (5, 0))
                self.assertTrue(publisher.closed and subscriber.closed)
                self.assertEqual((await topic.info()).next_sequence, 5)
                self.assertEqual(await client.topics(), sorted(await client.topics()))

        run(work())

    def test_a_thousand_acknowledgements_are_under_way_at_once(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                async with self.topic(client).publisher() as publisher:
                    receipts = await asyncio.gather(*(publisher.publish_acked(str(n)) for n in range(1000)))
                self.assertEqual([receipt.sequence for receipt in receipts], list(range(1, 1001)))
                values = [message.value async for message in self.topic(client).replay()]
                self.assertEqual(values, [str(n) for n in range(1000)])

        run(work())

    def test_replays_and_seeks(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = self.topic(client)
                async with topic.publisher() as publisher:
                    await publisher.publish_batch(str(n) for n in range(1, 101))
                    await publisher.flush()
                    await asyncio.sleep(0.02)
                    later = datetime.now(timezone.utc)
                    await asyncio.sleep(0.02)
                    await publisher.publish_acked("later")
                self.assertEqual([m.sequence async for m in topic.replay(98)], [98, 99, 100, 101])
                self.assertEqual([m.value async for m in topic.replay(later)], ["later"])
                self.assertEqual([m.sequence async for m in topic.replay(100, until=later)], [100])
                self.assertEqual([m.sequence async for m in topic.replay(5, 7)], [5, 6])
                # Its own codec, found out by asking.
                self.assertEqual([m.value async for m in client.topic(self.name).replay(101)], ["later"])
                async with topic.subscriber("earliest") as subscriber:
                    await subscriber.seek(50)
                    self.assertEqual((await subscriber.receive(PATIENCE)).sequence, 50)
                    with self.refused("OUT_OF_RANGE"):
                        await subscriber.seek(1000)
                    self.assertEqual(subscriber.position, 51)
                    self.assertEqual((await subscriber.receive(PATIENCE)).sequence, 51)
                    await subscriber.seek("latest")
                    self.assertEqual(subscriber.position, 102)
                async with topic.subscriber("earliest") as subscriber:
                    sizes = []
                    async for batch in subscriber.batches(10):
                        sizes.append(len(batch))
                        if sum(sizes) == 101:
                            await subscriber.close()
                    self.assertLessEqual(max(sizes), 10)

        run(work())

    def test_publishing_waits_for_room_and_reading_for_messages(self):
        async def work():
            async with aio.connect(self.broker.url, publish_buffer=65_536, subscribe_buffer=65_536) as client:
                topic = self.topic(client, raw)

                async def read():
                    got = []
                    async with topic.subscriber("earliest") as subscriber:
                        async for message in subscriber:
                            got.append(int(message.value[:6]))
                            if len(got) == 2000:
                                return got

                async with topic.publisher() as publisher:
                    reading = asyncio.ensure_future(read())
                    for n in range(2000):
                        await publisher.publish(b"%06d" % n + bytes(1000))
                    self.assertEqual(await reading, list(range(2000)))

        run(work())

    def test_one_task_at_a_time_uses_a_subscriber(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                async with self.topic(client).subscriber() as subscriber:
                    first = asyncio.ensure_future(subscriber.receive())
                    await asyncio.sleep(0)
                    for use in (subscriber.receive, subscriber.next_batch, subscriber.__anext__):
                        with self.refused("BUSY"):
                            await use()
                    first.cancel()
                    with self.assertRaises(asyncio.CancelledError):
                        await first
                    self.assertIsNone(await subscriber.receive(0.01))

        run(work())

    def test_iterations_end_and_uses_are_refused_after_the_end(self):
        async def work():
            client = await aio.connect(self.broker.url)
            topic = self.topic(client)
            subscriber = await topic.subscriber()
            publisher = await topic.publisher()

            async def collect():
                return [message async for message in subscriber]

            waiting = asyncio.ensure_future(collect())
            await asyncio.sleep(0.01)
            await subscriber.close()
            self.assertEqual(await waiting, [])
            await subscriber.close()
            await publisher.close()
            await publisher.close()
            for use in (subscriber.receive, subscriber.next_batch, lambda: subscriber.seek(1), lambda: publisher.publish("x")):
                with self.refused("CLOSED"):
                    await use()
            subscriber = await topic.subscriber()
            waiting = asyncio.ensure_future(subscriber.receive())
            await asyncio.sleep(0.01)
            await client.close()
            await client.close()
            with self.refused("CLOSED"):
                await waiting
            for use in (client.topics, lambda: topic.publisher(), lambda: topic.subscriber(), lambda: client.info("x")):
                with self.refused("CLOSED"):
                    await use()

        run(work())

    def test_arguments_that_are_none_are_refused(self):
        async def work():
            for url in ("", "http://x", "tcp://"):
                with self.refused("INVALID_ARGUMENT"):
                    aio.connect(url)
            async with aio.connect(self.broker.url) as client:
                with self.refused("INVALID_NAME"):
                    client.topic("../x", "text")
                with self.refused("UNSUPPORTED"):
                    client.topic("x", "msgpack")
                with self.refused("INVALID_ARGUMENT"):
                    self.topic(client).subscriber(0)
                with self.refused("NOT_FOUND"):
                    await client.topic("nothing-here").subscriber()
                with self.refused("INVALID_ARGUMENT"):
                    self.topic(client).publisher(exclusive="no")
                with self.refused("INVALID_ARGUMENT"):
                    self.topic(client).subscriber(verify=1)
                async with self.topic(client).subscriber() as subscriber:
                    for wrong in ("2", -1, float("nan"), True):
                        with self.refused("INVALID_ARGUMENT"):
                            await subscriber.receive(wrong)
                        with self.refused("INVALID_ARGUMENT"):
                            await subscriber.next_batch(5, wrong)
                async with self.topic(client).publisher() as publisher:
                    with self.refused("INVALID_ARGUMENT"):
                        await publisher.close("2")
                    with self.refused("ENCODE_FAILED", "accepted"):
                        await publisher.publish_batch([5])
                    with self.refused("PAYLOAD_TOO_LARGE"):
                        await publisher.publish("x" * 5000)

        run(work())


class AsynchronousUnderFaults(unittest.TestCase):
    def test_a_broker_that_is_killed_loses_and_doubles_nothing(self):
        broker = Broker()
        self.addCleanup(broker.close)

        async def work():
            loop = asyncio.get_running_loop()
            async with aio.connect(broker.url, reconnect_min=0.005, reconnect_max=0.05) as client:
                topic = client.topic("t", "text", **SMALL)
                publisher = await topic.publisher()
                subscriber = await topic.subscriber("earliest")
                acknowledged = []
                seen = []
                stop = asyncio.Event()

                async def write():
                    while not stop.is_set():
                        start = len(acknowledged)
                        values = [str(n) for n in range(start, start + 50)]
                        await asyncio.gather(*(publisher.publish_acked(value) for value in values))
                        acknowledged.extend(values)

                async def read():
                    async for message in subscriber:
                        seen.append(message.value)

                writing, reading = asyncio.ensure_future(write()), asyncio.ensure_future(read())
                for _ in range(2):
                    before = len(acknowledged)
                    await until("more", lambda before=before: len(acknowledged) > before + 500)
                    await loop.run_in_executor(None, broker.kill)
                    await loop.run_in_executor(None, broker.start)
                before = len(acknowledged)
                await until("more", lambda: len(acknowledged) > before)
                stop.set()
                await writing
                await publisher.close()
                await until("the last message", lambda: len(seen) >= len(acknowledged))
                await subscriber.close()
                await reading
                self.assertEqual(seen, acknowledged)
                self.assertEqual([m.value async for m in topic.replay()], acknowledged)

        run(work())

    def test_a_broker_that_drains_is_left_and_found_again(self):
        broker = Broker()
        self.addCleanup(broker.close)

        async def work():
            loop = asyncio.get_running_loop()
            async with aio.connect(broker.url, reconnect_min=0.01, reconnect_max=0.05) as client:
                publisher = await client.topic("t", "text", **SMALL).publisher()
                await publisher.publish_acked("before")
                await loop.run_in_executor(None, broker.kill, signal.SIGTERM)
                await publisher.publish("meanwhile")
                await loop.run_in_executor(None, broker.start)
                self.assertEqual((await publisher.publish_acked("after")).sequence, 3)
                await publisher.close()

        run(work())

    def test_hostile_brokers_end_in_an_error(self):
        def flips(peer):
            peer.preamble()
            answer = bytearray(welcome())
            answer[20] ^= 1
            peer.send(bytes(answer))
            peer.linger()

        def mute(peer):
            peer.linger()

        def early(peer):
            peer.preamble()
            peer.send(packets.u64_packet(packets.PING, 0, 1))
            peer.linger()

        for script, code in ((flips, "PROTOCOL"), (mute, "CONNECTION_FAILED"), (early, "PROTOCOL")):
            with self.subTest(script.__name__), FakeBroker(script) as broker:

                async def work(url=broker.url, code=code):
                    with refused(self, code):
                        await aio.connect(url, connect_timeout=0.5)

                run(work())

    def test_nobody_there_is_said_at_once_and_a_cancelled_connect_leaves_nothing(self):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

        async def work():
            with self.assertRaises(HermesError) as caught:
                await aio.connect(f"tcp://127.0.0.1:{port}")
            self.assertEqual(caught.exception.code, "CONNECTION_FAILED")

        run(work())
        with FakeBroker(lambda peer: peer.linger()) as broker:

            async def cancelled():
                async def connecting():
                    await aio.connect(broker.url)

                task = asyncio.ensure_future(connecting())
                await asyncio.sleep(0.05)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task

            run(cancelled())

    def test_a_callback_that_throws_does_not_end_the_connection(self):
        broker = Broker()
        self.addCleanup(broker.close)
        reports = []

        def boom(status):
            raise ValueError(status.type)

        async def work():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context["exception"]))
            async with aio.connect(broker.url, on_status=boom) as client:
                self.assertEqual(await client.topics(), [])

        run(work())
        self.assertEqual([str(report) for report in reports], ["connected"])


if __name__ == "__main__":
    unittest.main()
