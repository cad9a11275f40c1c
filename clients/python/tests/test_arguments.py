"""What a caller gives by mistake is refused at once, with an error that says so: a broker, and both clients."""

import asyncio
import functools
import threading

from .support import BrokerCase, PATIENCE
from .test_aio import run
from hermes_mq import HermesError, Retention, aio, connect, custom


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


NAN, INFINITY = float("nan"), float("inf")
#: What is no number of seconds, or none that can be waited for.
NO_SECONDS = ["5", (5,), [], {}, object(), True, NAN, -1, 10**400, 1e300, INFINITY]
#: What is no positive integer.
NO_COUNT = ["5", (5,), object(), True, NAN, -1, 1.5, 10**400]
NO_NAME = [0, b"g", (), object(), "", "a b", "\ud800"]


class Options(BrokerCase):
    """Nothing but HermesError comes of a wrong option."""

    def check(self, call, table):
        for option, values in table.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    with self.assertRaises(HermesError) as caught:
                        call(**{option: value})
                    self.assertIn(caught.exception.code, ("INVALID_ARGUMENT", "INVALID_NAME"))

    GROUP = {
        "kind": [0, "both", ("shared",), []],
        "from_": [None, 0, -1, NAN, "first", (), True],
        "max_in_flight": [None, 0, *NO_COUNT],
        "lease": [0, *NO_SECONDS],
        "max_deliveries": NO_COUNT,
        "backoff": [*NO_SECONDS, (), (1, 2, 3), (2, 1), (None, None), (1, "2"), (NAN, 1), (1, NAN), [1]],
        "dead_letter": [True, *NO_NAME],
        "window": [0, 63, 65, *NO_COUNT],
        "up_to": [0, "all", ()],
        "member": [0, (), object(), "m" * 301, "\ud800"],
        "create": [None, 0, "yes"],
    }

    def test_of_groups_and_subscribers(self):
        with connect(self.broker.url) as client:
            topic = client.topic(self.name, "text")
            self.check(lambda **options: topic.group("g", **options).close(), self.GROUP)
            self.check(lambda **options: topic.group(**options).close(), {"name": [None, *NO_NAME]})
            with self.assertRaisesRegex(HermesError, "one number or two"):
                topic.group("g", backoff=(5,))
            self.check(
                lambda **options: topic.subscriber(**options).close(),
                {
                    "from_": self.GROUP["from_"],
                    "on_damage": [None, 0, "go", ()],
                    "verify": [None, 0, "yes"],
                    "create": [None, 0, "yes"],
                    "name": NO_NAME,
                    "commit": [None, 0, "auto", ()],
                    "lease": [5, *NO_SECONDS],
                    "up_to": [None, *self.GROUP["up_to"]],
                },
            )
            self.check(lambda **options: topic.subscriber(name="d", **options).close(), {"lease": [0, *NO_SECONDS]})
            self.check(
                lambda **options: next(topic.replay(**options)),
                {"until": [0, NAN, "earliest", ()], "batch": [None, 0, *NO_COUNT], "from_": self.GROUP["from_"]},
            )
            self.check(lambda **options: topic.publisher(**options).close(), {"durability": [None, 0, ()], "exclusive": [None, 0, ""]})

    def test_of_topics_and_services(self):
        with connect(self.broker.url) as client:
            sizes = {"segment_bytes": [0, *NO_COUNT], "max_payload_bytes": [0, *NO_COUNT], "retention": [0, {}, (), "all"]}
            self.check(lambda **options: client.topic(self.name, **options), {"codec": [0, (), b"", "xml"], "create": [None, 0], **sizes})
            self.check(lambda **options: client.admin.create_topic(self.name, **options), {"codec": [None, 0, ()], **sizes})
            for field in ("bytes", "age_ms", "wait_for_groups"):
                self.check(lambda **options: client.topic(self.name, "text", retention=Retention(**options)), {field: [0, *NO_COUNT]})
            service = {"name": [None, *NO_NAME, "s" * 101], "request": [None, 0, ()], "reply": [None, 0, ()], "max_payload_bytes": [None, *NO_COUNT]}
            named = lambda make: lambda **options: make(**{"name": self.name, **options}).close()  # noqa: E731
            self.check(named(client.requester), {**service, "timeout": [None, 0, *NO_SECONDS]})
            self.check(named(functools.partial(client.responder, handler=print)), {**service, "concurrency": [None, 0, *NO_COUNT]})

    def test_of_connections(self):
        file = {"ca": [0, 1, b"x", (), object(), ""], "cert": [0, b"x", (), ""], "key": [0, b"x", (), ""]}
        seconds = [None, 0, *NO_SECONDS]
        self.check(
            lambda **options: connect(**{"url": self.broker.url, **options}).close(),
            {
                "url": [None, 0, (), b"tcp://a", "", "tcp://a\0b:1", "tcp://\ud800:1", "tcp://" + "a" * 70 + ":1"],
                "token": [0, (), b"t", "", "\ud800"],
                "connect_timeout": seconds,
                "request_timeout": seconds,
                "reconnect_min": seconds,
                "reconnect_max": seconds,
                "reconnect": [None, 0, ""],
                "publish_buffer": [None, 0, *NO_COUNT],
                "subscribe_buffer": [None, 0, *NO_COUNT],
                "compression": [None, 0, (), "zip"],
                "ssl_context": [0, "x"],
                **file,
            },
        )
        secure = {"server_hostname": [0, b"x", (), ""], "ssl_context": [0, "x", ()], **file}
        self.check(lambda **options: connect("tls://127.0.0.1:1", **options).close(), secure)

    def test_of_calls(self):
        with connect(self.broker.url) as client:
            topic = client.topic(self.name, "text")
            publisher = topic.publisher()
            publisher.publish("one")
            subscriber, group = topic.subscriber("earliest"), topic.group("g")
            job = group.receive(PATIENCE)
            asked = {"timeout": NO_SECONDS}
            counted = {"most": [None, 0, *NO_COUNT], **asked}
            for call in (publisher.flush, publisher.close, subscriber.receive, group.receive, group.close):
                self.check(call, asked)
            self.check(subscriber.next_batch, counted)
            self.check(group.next_batch, counted)
            self.check(job.nack, {"delay": NO_SECONDS})
            self.check(job.reject, {"reason": [None, 0, b"", ()]})
            self.check(group.ack, {"jobs": [None, 0, job, [None], [5], "jobs"]})
            # The mistakes have left all of them usable.
            self.assertEqual(subscriber.receive(PATIENCE).value, "one")
            job.ack()
            publisher.publish("two")
            group.receive(PATIENCE).ack()
            group.close()
            responder = client.responder(self.name, print)
            requester = client.requester(self.name)
            for call in (responder.wait, responder.close, requester.close):
                self.check(call, asked)
            self.assertFalse(requester.closed)
            requester.close()
            responder.close()

    @asynchronous
    async def test_of_calls_of_asyncio(self):
        async with aio.connect(self.broker.url) as client:
            topic = client.topic(self.name, "text")
            publisher = await topic.publisher()
            await publisher.publish("one")
            subscriber, group = await topic.subscriber("earliest"), await topic.group("g")
            job = await group.receive(PATIENCE)
            responder = await client.responder(self.name, print)
            for call in (publisher.close, subscriber.receive, group.receive, subscriber.next_batch, group.next_batch, group.close, responder.close):
                for timeout in NO_SECONDS:
                    with self.subTest(call=call, timeout=timeout), self.refused("INVALID_ARGUMENT"):
                        await call(timeout=timeout)
            for jobs in (None, 0, job, [None], [5], "jobs"):
                with self.subTest(jobs=jobs), self.refused("INVALID_ARGUMENT"):
                    await group.ack(jobs)
            self.assertEqual((await subscriber.receive(PATIENCE)).value, "one")
            await job.ack()
            await publisher.publish("two")
            await (await group.receive(PATIENCE)).ack()
            await group.close()
            await responder.close()
