"""What a caller gives by mistake is refused at once, with an error that says so: a broker, and both clients."""

import asyncio
import functools
import threading

from .support import BrokerCase, PATIENCE
from .test_aio import run
from hermes_mq import aio, connect, custom


def asynchronous(test):
    """A test that is a coroutine function."""
    return functools.wraps(test)(lambda self: run(test(self)))


async def coroutine_function(*_):
    pass


class Asynchronous:
    async def __call__(self, *_):
        pass


#: No functions; and what a plain caller would never await.
NOT_CALLABLE = [None, 0, "handle", [], (), {}, object()]
NEVER_AWAITED = [coroutine_function, functools.partial(coroutine_function, 1), Asynchronous()]


class Callbacks(BrokerCase):
    def setUp(self):
        super().setUp()
        self.client = connect(self.broker.url)
        self.addCleanup(self.client.close)

    def filled(self):
        topic = self.client.topic(self.name, "text", segment_bytes=1024 * 1024, max_payload_bytes=4096)
        with topic.publisher() as publisher:
            publisher.publish("one")
        return topic

    def check_untouched(self, group):
        report = group.describe()
        self.assertEqual((report["next"], report["totals"]["rejected"]), (1, 0))

    def test_run_takes_what_can_be_called(self):
        group = self.filled().group("g")
        for handler in NOT_CALLABLE + NEVER_AWAITED:
            with self.subTest(handler=handler), self.refused("INVALID_ARGUMENT"):
                group.run(handler, stop=threading.Event())
        for on_error in NOT_CALLABLE[1:] + NEVER_AWAITED:
            with self.subTest(on_error=on_error), self.refused("INVALID_ARGUMENT"):
                group.run(print, on_error=on_error)
        for stop in (True, 5, asyncio.Event, "stop"):
            with self.subTest(stop=stop), self.refused("INVALID_ARGUMENT"):
                group.run(print, stop=stop)
        self.check_untouched(group)
        group.close()

    @asynchronous
    async def test_run_of_asyncio_takes_what_can_be_called(self):
        self.filled()
        async with aio.connect(self.broker.url) as client, client.topic(self.name, "text").group("g") as group:
            for handler in NOT_CALLABLE:
                with self.subTest(handler=handler), self.refused("INVALID_ARGUMENT"):
                    await group.run(handler, stop=asyncio.Event())
            for on_error in NOT_CALLABLE[1:] + NEVER_AWAITED:
                with self.subTest(on_error=on_error), self.refused("INVALID_ARGUMENT"):
                    await group.run(coroutine_function, on_error=on_error)
            for stop in (True, 5, asyncio.Event, "stop"):
                with self.subTest(stop=stop), self.refused("INVALID_ARGUMENT"):
                    await group.run(coroutine_function, stop=stop)
            report = await group.describe()
            self.assertEqual((report["next"], report["totals"]["rejected"]), (1, 0))

            # A plain function handles the message, too.
            stop, seen, errors = asyncio.Event(), [], []

            def handle(job):
                seen.append(job.value)
                stop.set()

            await asyncio.wait_for(group.run(handle, stop=stop, on_error=lambda error, job: errors.append(error)), PATIENCE)
            self.assertEqual((seen, errors), (["one"], []))
            self.assertEqual((await group.describe())["totals"]["settled"], 1)

    def test_other_callbacks(self):
        for given in NOT_CALLABLE[1:] + NEVER_AWAITED:
            with self.subTest(on_status=given), self.refused("INVALID_ARGUMENT"):
                connect(self.broker.url, on_status=given).close()
            with self.subTest(encode=given), self.refused("INVALID_ARGUMENT"):
                custom("mine", "1", given, bytes)
            with self.subTest(decode=given), self.refused("INVALID_ARGUMENT"):
                custom("mine", "1", bytes, given)
        for handler in NOT_CALLABLE + NEVER_AWAITED:
            with self.subTest(handler=handler), self.refused("INVALID_ARGUMENT"):
                self.client.responder(self.name, handler).close()
        topic = self.filled()
        for key in (0, [], object(), *NEVER_AWAITED):
            with self.subTest(key=key), self.refused("INVALID_ARGUMENT"):
                topic.group("keyed", key=key).close()

    @asynchronous
    async def test_responder_of_asyncio(self):
        async with aio.connect(self.broker.url) as client:
            for handler in NOT_CALLABLE:
                with self.subTest(handler=handler), self.refused("INVALID_ARGUMENT"):
                    await client.responder(self.name, handler)
