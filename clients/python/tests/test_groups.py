"""Groups and durable subscriptions, with a real broker: the synchronous client and that for asyncio."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
import unittest

from .support import PATIENCE, ROOT, Broker, BrokerCase, FakeBroker, node, refused, wait_for
from .test_aio import run
from hermes_mq import HermesError, aio, connect, custom, packets, struct
from hermes_mq.jobs import Ahead
from hermes_mq.lanes import Lanes

SMALL = {"segment_bytes": 1024 * 1024, "max_payload_bytes": 4096}


class Groups(BrokerCase):
    def setUp(self):
        super().setUp()
        self.client = connect(self.broker.url)
        self.addCleanup(self.client.close)

    def topic(self, codec="text", **options):
        return self.client.topic(self.name, codec, **{**SMALL, **options})

    def filled(self, *values, codec="text"):
        topic = self.topic(codec)
        with topic.publisher() as publisher:
            publisher.publish_batch(values)
        return topic

    def test_members_share_the_messages(self):
        values = [str(n) for n in range(2000)]
        topic = self.filled(*values)
        groups = [topic.group("g", max_in_flight=50) for _ in range(3)]
        seen = [[], [], []]
        done = threading.Event()

        def work(index):
            for jobs in groups[index].batches(20):
                seen[index].extend(job.value for job in jobs)
                groups[index].ack(jobs)
                if sum(map(len, seen)) >= len(values):
                    done.set()
                    return
                time.sleep(0.001)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
        for thread in threads:
            thread.start()
        self.assertTrue(done.wait(PATIENCE))
        report = wait_for("all to be settled", lambda: self.settled(groups[0], 2000))
        for group in groups:
            group.close()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual(sorted(sum(seen, []), key=int), values)
        self.assertTrue(all(seen))
        self.assertEqual((report["kind"], report["totals"]["redelivered"], len(report["members"])), ("shared", 0, 3))

    @staticmethod
    def settled(group, count):
        report = group.describe()
        return report if report["totals"]["settled"] == count else None

    def test_several_threads_keep_the_order(self):
        schema = node(
            f"""import {{ struct, u32 }} from '{ROOT}/dist/index.js'
            console.log(JSON.stringify(struct({{ key: u32, n: u32 }}).schema))"""
        )
        steps = struct(json.loads(schema))
        for index, (codec, options, most) in enumerate((
            ("json", {"key": lambda value: value["key"]}, 4),
            (steps, {"key": "key"}, 4),
            ("json", {"kind": "exclusive"}, 1),
        )):
            with self.subTest(index):
                topic = self.client.topic(f"{self.name}-{index}", codec, **SMALL)
                with topic.publisher() as publisher:
                    publisher.publish_batch([{"key": n % 8, "n": n} for n in range(300)])
                stop, lock, running, done, wrong, beside = threading.Event(), threading.Lock(), set(), [], [], []

                def handle(job):
                    lane = job.value["key"] if "key" in options else 0
                    with lock:
                        if lane in running:
                            wrong.append(job)
                        running.add(lane)
                        beside.append(len(running))
                    # Later ones would overtake this one, if they could.
                    time.sleep(job.value["n"] * 7 % 5 / 1000)
                    with lock:
                        running.discard(lane)
                        done.append((lane, job.value["n"]))
                        if len(done) == 300:
                            stop.set()

                with topic.group("g", **options) as group:
                    group.run(handle, concurrency=4, stop=stop)
                    totals = group.describe()["totals"]
                self.assertEqual((wrong, len(done), max(beside)), ([], 300, most))
                for lane in {lane for lane, _ in done}:
                    numbers = [n for one, n in done if one == lane]
                    self.assertEqual(numbers, sorted(numbers))
                self.assertEqual((totals["settled"], totals["redelivered"]), (300, 0))

    def test_a_message_that_is_returned_goes_before_those_of_its_key_that_were_handed_out_behind_it(self):
        topic = self.filled(*({"key": n % 3, "n": n} for n in range(60)), codec="json")
        stop, lock, done = threading.Event(), threading.Lock(), []

        def handle(job):
            n = job.value["n"]
            if job.deliveries == 1 and n == 9:
                raise RuntimeError("no")
            if job.deliveries == 1 and n == 22:
                job.nack()
                return
            with lock:
                done.append((job.value["key"], n, job.deliveries))
                if len(done) == 60:
                    stop.set()

        with topic.group("g", key="key", backoff=0.02) as group:
            group.run(handle, concurrency=8, stop=stop, on_error=lambda error, job: None)
        for key in range(3):
            self.assertEqual([n for one, n, _ in done if one == key], list(range(key, 60, 3)))
        self.assertEqual(sorted(n for _, n, deliveries in done if deliveries > 1), [9, 22])

    def test_what_waits_behind_others_when_run_ends_is_given_back_at_once(self):
        topic = self.filled(*({"n": n} for n in range(20)), codec="json")
        stop, finish, seen = threading.Event(), threading.Event(), []

        def handle(job):
            seen.append(job.value["n"])
            finish.wait(PATIENCE)

        with topic.group("g", kind="exclusive", max_in_flight=20) as group:
            thread = threading.Thread(target=group.run, args=(handle,), kwargs={"concurrency": 8, "stop": stop})
            thread.start()
            wait_for("all of them", lambda: group._channel.held == 20)
            stop.set()
            wait_for("them to go back", lambda: group.describe()["claimed"] == 1)
            finish.set()
            thread.join(PATIENCE)
            totals = group.describe()["totals"]
        self.assertEqual((seen, totals["settled"], totals["redelivered"]), ([0], 1, 0))

    def test_a_returned_message_comes_again_and_is_given_up_in_the_end(self):
        topic = self.filled("bad", "good", "ugly")
        seen = []
        with topic.group("g", max_deliveries=2, backoff=0.0) as group:
            while len(seen) < 4:
                job = group.receive(PATIENCE)
                seen.append((job.value, job.deliveries))
                if job.value == "bad":
                    job.nack()
                elif job.value == "ugly":
                    job.reject("not nice")
                else:
                    job.ack()
            self.assertEqual(sorted(seen), [("bad", 1), ("bad", 2), ("good", 1), ("ugly", 1)])
            # The third delivery is for the dead-letter topic, which happens by itself.
            self.assertIsNone(group.receive(0.5))
            report = wait_for("the message to be given up", lambda: self.settled(group, 3))
            self.assertEqual(report["totals"]["rejected"], 2)
        self.assertEqual(self.client.info(self.name + ".dead").next_sequence, 3)

    def test_a_job_is_settled_once(self):
        topic = self.filled("a", "b")
        group = topic.group("g")
        job = group.receive(PATIENCE)
        self.assertEqual((job.sequence, job.deliveries, job.is_settled), (1, 1, False))
        self.assertGreater(job.timestamp_ns, 0)
        job.extend()
        job.ack()
        for again in (job.ack, job.nack, job.extend, lambda: job.reject("x"), lambda: group.ack([job])):
            with self.refused("INVALID_ARGUMENT"):
                again()
        with self.refused("INVALID_ARGUMENT"):
            group.receive(PATIENCE).nack(-1)
        with self.refused("TIMED_OUT", "unsettled"):
            group.close(0.01)
        self.assertIsNone(group.receive(0.1))
        with self.refused("CLOSED"):
            group.describe()
        again = topic.group("g").receive(PATIENCE)
        self.assertEqual((again.value, again.deliveries), ("b", 2))

    def test_a_member_holds_no_more_than_it_may(self):
        topic = self.filled(*map(str, range(50)))
        group = topic.group("g", max_in_flight=3)
        held = [group.receive(PATIENCE) for _ in range(3)]
        self.assertIsNone(group.receive(0.1))
        self.assertEqual(group.in_flight, 3)
        held[1].ack()
        self.assertIsNotNone(group.receive(PATIENCE))

    def test_handlers_run_side_by_side(self):
        values = [str(n) for n in range(40)]
        topic = self.filled(*values)
        stop = threading.Event()
        lock = threading.Lock()
        done, failed, now, most = [], [], [0], [0]

        def handle(job):
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.01)
            with lock:
                now[0] -= 1
                if job.value == "7" and job.deliveries == 1:
                    raise ValueError("at first")
                done.append(job.value)
                if len(done) == len(values):
                    stop.set()

        with topic.group("g", backoff=0.0) as group:
            group.run(handle, concurrency=8, stop=stop, on_error=lambda error, job: failed.append((job.value, str(error))))
            self.assertEqual(self.settled(group, 40)["floor"], 41)
        self.assertEqual(sorted(done, key=int), values)
        self.assertEqual(failed, [("7", "at first")])
        self.assertGreater(most[0], 3)

    def test_what_was_taken_when_run_was_stopped_is_given_back(self):
        stop, began = threading.Event(), []

        def decode(payload):
            stop.set()
            return payload

        codec = custom("stopping", "1", bytes, decode)
        topic = self.client.topic(self.name, codec)
        with topic.publisher() as publisher, topic.group("workers", max_deliveries=1) as group:
            publisher.publish(b"x")
            group.run(began.append, stop=stop)
            self.assertEqual((began, group._channel.held), ([], 0))
            with topic.group("workers", max_deliveries=1) as other:
                group.close(0.0)
                job = other.receive(PATIENCE)
                self.assertEqual(job.deliveries, 1)
                job.ack()

    def test_each_key_keeps_its_order(self):
        orders = [{"account": n % 7, "number": n} for n in range(300)]
        topic = self.filled(*orders, codec="json")
        for name, key in (("field", "account"), ("function", lambda order: f"a{order['account']}")):
            members = [topic.group(name, key=key, backoff=0.0, max_in_flight=20) for _ in range(3)]
            seen = {}
            lock = threading.Lock()
            left = [len(orders)]

            def work(index):
                for job in members[index]:
                    number = job.value["number"]
                    time.sleep(number % 3 / 1000)
                    if number % 50 == index and job.deliveries == 1:
                        job.nack()
                        continue
                    with lock:
                        seen.setdefault(job.value["account"], []).append(number)
                        left[0] -= 1
                    job.ack()

            threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
            for thread in threads:
                thread.start()
            wait_for("all orders", lambda: left[0] == 0, 2 * PATIENCE)
            for member in members:
                member.close()
            for thread in threads:
                thread.join(PATIENCE)
            self.assertEqual(sorted(sum(seen.values(), [])), list(range(300)))
            for numbers in seen.values():
                self.assertEqual(numbers, sorted(numbers))

    def test_keys_that_the_broker_has_asked_for_stay_due_when_messages_are_given_back(self):
        topic = self.filled({"number": 1}, codec="json")
        with topic.group("g", key=lambda value: str(value["number"]), backoff=0.0) as group:
            group.receive(PATIENCE).ack()
            channel = group._channel
            # As if it had come after the last look. The broker claims nothing for the member until it is answered.
            asked = b"what the broker asks"
            channel._unkeyed = asked
            channel._limit = channel._taken + 1
            channel.release_ahead()
            self.assertIs(channel._unkeyed, asked)
            channel._unkeyed = None

    def test_what_can_not_be_decoded_is_returned(self):
        def decode(payload):
            if payload == b"bad":
                raise HermesError("DECODE_FAILED", "no")
            return payload.decode()

        codec = custom("mine", "mine", lambda value: value.encode(), decode)
        topic = self.filled("bad", "good", codec=codec)
        group = topic.group("g", max_deliveries=1, backoff=0.0)
        told = []

        def given_up():
            try:
                job = group.receive(0.05)
                if job is not None:
                    job.ack()
            except HermesError as error:
                told.append((error.code, error.details["sequence"], error.details["group"]))
            return self.settled(group, 2)

        report = wait_for("the message to be given up", given_up)
        self.assertEqual((told, report["totals"]["rejected"]), ([("DECODE_FAILED", 1, "g")], 1))

    def test_it_says_what_is_wrong_with_its_options(self):
        topic = self.filled("a")
        for options in (
            {"kind": "any"},
            {"kind": "keyed"},
            {"kind": "shared", "key": "a"},
            {"key": 5},
            {"max_in_flight": 0},
            {"lease": 0.01},
            {"backoff": (5.0, 4.0)},
            {"window": 100},
            {"up_to": "now"},
            {"from_": 0},
            {"create": 1},
        ):
            with self.refused("INVALID_ARGUMENT"):
                topic.group("g", **options)
        with self.refused("INVALID_NAME"):
            topic.group("../g")
        with self.refused("INVALID_NAME"):
            topic.group("g", dead_letter="/")
        with self.refused("NOT_FOUND"):
            self.client.topic("none-of-this-name", "text").group("g")
        topic.group("g", max_deliveries=3)
        with self.refused("CONFIG_MISMATCH", "setting"):
            topic.group("g", max_deliveries=4)

    def test_only_one_thread_iterates(self):
        group = self.topic(create=True).group("g", create=True)
        thread = threading.Thread(target=lambda: list(group))
        thread.start()
        wait_for("the thread to wait", group._use.locked)
        with self.refused("BUSY"):
            group.receive(0)
        group.close()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())

    def test_a_stopped_process_loses_its_work_when_its_lease_is_over(self):
        topic = self.filled("a")
        program = (
            "import sys, time; sys.path.insert(0, sys.argv[1]); import hermes_mq\n"
            "group = hermes_mq.connect(sys.argv[2]).topic(sys.argv[3], 'text').group('g', lease=0.5)\n"
            "job = group.receive(30); print('has', job.value, flush=True); sys.stdin.readline()\n"
            "try:\n    job.ack(); print('settled', flush=True)\n"
            "except hermes_mq.HermesError as error: print(error.code, flush=True)\n"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", program, ROOT + "/clients/python", self.broker.url, self.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self.assertEqual(child.stdout.readline(), "has a\n")
            child.send_signal(signal.SIGSTOP)
            job = topic.group("g").receive(PATIENCE)
            self.assertEqual((job.value, job.deliveries), ("a", 2))
            child.send_signal(signal.SIGCONT)
            child.stdin.write("\n")
            child.stdin.flush()
            self.assertEqual(child.stdout.readline(), "LEASE_LOST\n")
        finally:
            child.kill()
            child.communicate()

    def test_an_older_broker_is_told_of(self):
        def script(peer):
            peer.greet()
            peer.linger()

        with FakeBroker(script) as broker, connect(broker.url) as client:
            with self.refused("UNSUPPORTED", "server"):
                client.topic("t", "text").group("g")
            with self.refused("UNSUPPORTED", "server"):
                client.topic("t", "text").subscriber(name="n")

    def test_a_broker_that_sends_more_than_was_asked_for_is_left(self):
        def script(peer):
            peer.greet(features=["groups"])
            channel, _ = peer.expect(packets.JOIN)
            rules = {"maxDeliveries": 5, "leaseMs": 30_000, "backoffMs": 0, "maxBackoffMs": 0}
            joined = {"resumed": False, "rules": rules, "graceMs": 0, "maxPayloadBytes": 4096, "settled": 0, "lost": []}
            peer.send(packets.json_packet(packets.JOINED, channel, joined))
            peer.expect(packets.DEMAND)
            body = packets._U64.pack(7) + packets._U64.pack(1) + packets._U64.pack(2)
            peer.send(packets.packet(packets.SETTLED, channel, body))
            peer.linger()

        with FakeBroker(script) as broker, connect(broker.url, reconnect=False) as client:
            group = client.topic("t", "text").group("g")
            with self.refused("PROTOCOL"):
                group.receive(PATIENCE)

    # ---- durable subscriptions ----

    def test_a_durable_subscription_goes_on_where_it_has_committed(self):
        topic = self.filled(*map(str, range(20)))
        with topic.subscriber("earliest", name="engine") as subscriber:
            self.assertEqual([message.value for message in subscriber.next_batch(5, PATIENCE)], ["0", "1", "2", "3", "4"])
            subscriber.commit(3)
            self.assertEqual(subscriber.committed, 4)
            with self.refused("OUT_OF_RANGE"):
                subscriber.commit(6)
            with self.refused("INVALID_ARGUMENT"):
                subscriber.commit(0)
            with self.refused("EXCLUSIVE_HELD"):
                topic.subscriber(name="engine")
        with topic.subscriber(name="engine") as subscriber:
            self.assertEqual(subscriber.receive(PATIENCE).value, "3")
            subscriber.commit(durability="synced")
        with topic.subscriber(name="engine") as subscriber:
            self.assertEqual(subscriber.position, 5)
        with topic.subscriber() as subscriber, self.refused("UNSUPPORTED"):
            subscriber.commit()
        with self.refused("INVALID_ARGUMENT"):
            topic.subscriber(commit="auto")

    def test_who_waits_is_told_that_the_subscription_was_reset_or_deleted(self):
        topic = self.filled("0", "1", "2")
        admin = self.client.admin
        for code, change in (
            ("LEASE_LOST", lambda: admin.reset_group(topic.name, "engine", 2, force=True)),
            ("NOT_FOUND", lambda: admin.delete_group(topic.name, "engine", force=True)),
        ):
            for use in (next, lambda it: it.receive(PATIENCE), lambda it: it.next_batch(9, PATIENCE), lambda it: next(it.batches())):
                with topic.subscriber("earliest", name="engine") as subscriber:
                    while subscriber.position < 4:
                        subscriber.receive(PATIENCE)
                    errors = []

                    def wait():
                        try:
                            use(subscriber)
                        except HermesError as error:
                            errors.append(error)

                    thread = threading.Thread(target=wait)
                    thread.start()
                    change()
                    thread.join(PATIENCE)
                    self.assertEqual([error.code for error in errors], [code])
                    self.assertIn("Open it again", str(errors[0]))
                    with self.refused(code):
                        subscriber.receive(PATIENCE)
                    with self.refused(code):
                        subscriber.commit()

    def test_commits_by_itself_if_it_is_told_to(self):
        topic = self.filled(*map(str, range(20)))
        with topic.subscriber("earliest", name="auto", commit="auto") as subscriber:
            for message in subscriber:
                if message.value == "4":
                    break
            # The fifth may not have been handled: its turn was left.
            wait_for("the commit", lambda: subscriber.committed == 5)
        with topic.subscriber(name="auto") as subscriber:
            self.assertEqual(subscriber.position, 5)


class OverLostConnections(unittest.TestCase):
    def test_a_member_keeps_its_work_over_a_restart_of_nothing_but_the_connection(self):
        # (long enough for a machine that has much else to do)
        broker = Broker(limits={"heartbeatMs": 500, "memberReturnMs": 5000})
        self.addCleanup(broker.close)
        with connect(broker.url, reconnect_min=0.01, reconnect_max=0.05) as client:
            topic = client.topic("t", "text", **SMALL)
            with topic.publisher() as publisher:
                publisher.publish_batch(["a", "b"])
            group = topic.group("g")
            job = group.receive(PATIENCE)
            with client._driver.lock:
                client._driver.link._break_off(ConnectionError("for the test"))
                client._driver.rouse()
            job.ack()
            other = group.receive(PATIENCE)
            self.assertEqual((other.value, other.deliveries), ("b", 1))
            other.ack()
            totals = group.describe()["totals"]
            self.assertEqual((totals["settled"], totals["late"], totals["redelivered"]), (2, 0, 0))
            group.close()

    def test_what_was_held_is_lost_with_the_broker(self):
        broker = Broker()
        self.addCleanup(broker.close)
        with connect(broker.url, reconnect_min=0.01, reconnect_max=0.05) as client:
            topic = client.topic("t", "text", **SMALL)
            with topic.publisher() as publisher:
                publisher.publish("a")
            group = topic.group("g")
            job = group.receive(PATIENCE)
            broker.kill()
            broker.start()
            again = group.receive(PATIENCE)
            self.assertEqual((again.value, again.deliveries), ("a", 2))
            with refused(self, "LEASE_LOST"):
                job.ack()
            again.ack()
            group.close()


class Asynchronous(BrokerCase):
    def topic(self, client, codec="text"):
        return client.topic(self.name, codec, **SMALL)

    async def filled(self, client, *values):
        topic = self.topic(client)
        async with topic.publisher() as publisher:
            await publisher.publish_batch(values)
        return topic

    def test_members_share_the_messages(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                values = [str(n) for n in range(500)]
                topic = await self.filled(client, *values)
                async with topic.group("g", max_in_flight=20) as one, topic.group("g", max_in_flight=20) as two:
                    seen = []

                    async def member(group):
                        async for jobs in group.batches(10):
                            seen.extend(job.value for job in jobs)
                            await group.ack(jobs)
                            if len(seen) == len(values):
                                return

                    await asyncio.wait([asyncio.ensure_future(member(one)), asyncio.ensure_future(member(two))], return_when=asyncio.FIRST_COMPLETED)
                    self.assertEqual(sorted(seen, key=int), values)
                    await one.sync()
                    self.assertEqual((await two.describe())["kind"], "shared")

        run(work())

    def test_handlers_run_side_by_side(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = await self.filled(client, *map(str, range(30)))
                stop = asyncio.Event()
                done, failed = [], []

                async def handle(job):
                    await asyncio.sleep(0.01)
                    if job.value == "3" and job.deliveries == 1:
                        raise ValueError("at first")
                    if job.value == "4":
                        await job.reject("never")
                    done.append(job.value)
                    if len(done) == 30:
                        stop.set()

                async with topic.group("g", backoff=0.0) as group:
                    await group.run(handle, concurrency=8, stop=stop, on_error=lambda error, job: failed.append(job.value))
                    totals = (await group.describe())["totals"]
                    self.assertEqual((totals["settled"], totals["rejected"], totals["redelivered"]), (30, 1, 1))
                self.assertEqual((sorted(done, key=int), failed), (list(map(str, range(30))), ["3"]))

        run(work())

    def test_several_handlers_keep_the_order(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                for options, most in (({"key": "key"}, 4), ({"kind": "exclusive"}, 1)):
                    topic = client.topic(f"{self.name}-{most}", "json", **SMALL)
                    async with topic.publisher() as publisher:
                        await publisher.publish_batch([{"key": n % 3 if most == 1 else n % 8, "n": n} for n in range(300)])
                    stop, running, done, wrong, beside, again = asyncio.Event(), set(), [], [], [], []

                    async def handle(job):
                        lane = job.value["key"] if "key" in options else 0
                        if lane in running:
                            wrong.append(job)
                        running.add(lane)
                        beside.append(len(running))
                        await asyncio.sleep(job.value["n"] * 7 % 5 / 1000)
                        running.discard(lane)
                        if job.deliveries == 1 and job.value["n"] == 9:
                            raise RuntimeError("no")
                        done.append((lane, job.value["n"]))
                        if job.deliveries > 1:
                            again.append((job.value["n"], job.deliveries))
                        if len(done) == 300:
                            stop.set()

                    async with topic.group("g", backoff=0.0, **options) as group:
                        await group.run(handle, concurrency=4, stop=stop, on_error=lambda error, job: None)
                        totals = (await group.describe())["totals"]
                    self.assertEqual((wrong, len(done), max(beside)), ([], 300, most))
                    for lane in {lane for lane, _ in done}:
                        numbers = [n for one, n in done if one == lane]
                        self.assertEqual(numbers, sorted(numbers))
                    self.assertEqual((totals["settled"], again), (300, [(9, 2)]))

        run(work())

    def test_what_was_taken_when_run_was_stopped_is_given_back(self):
        async def work():
            stop, began = asyncio.Event(), []

            def decode(payload):
                stop.set()
                return payload

            async def handle(job):
                began.append(job)

            async with aio.connect(self.broker.url) as client:
                topic = client.topic(self.name, custom("stopping", "1", bytes, decode))
                async with topic.publisher() as publisher, topic.group("workers") as group:
                    await publisher.publish(b"x")
                    await group.run(handle, stop=stop)
                    self.assertEqual((began, group._channel.held), ([], 0))
                    await group.close(0.0)
                    async with topic.group("workers") as other:
                        job = await other.receive(PATIENCE)
                        self.assertEqual(job.deliveries, 1)
                        await job.ack()

        run(work())

    def test_a_durable_subscription(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = await self.filled(client, *map(str, range(10)))
                async with topic.subscriber("earliest", name="n") as subscriber:
                    self.assertEqual(len(await subscriber.next_batch(4, PATIENCE)), 4)
                    await subscriber.commit(durability="synced")
                    with self.refused("EXCLUSIVE_HELD"):
                        await topic.subscriber(name="n")
                async with topic.subscriber(name="n", commit="auto") as subscriber:
                    self.assertEqual(subscriber.position, 5)
                    async for message in subscriber:
                        if message.sequence == 7:
                            break
                async with topic.subscriber(name="n") as subscriber:
                    self.assertEqual(subscriber.position, 7)

        run(work())

    def test_who_waits_is_told_that_the_subscription_was_reset_or_deleted(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = await self.filled(client, "0", "1", "2")
                admin = client.admin
                for code, change in (
                    ("LEASE_LOST", lambda: admin.reset_group(topic.name, "engine", 2, force=True)),
                    ("NOT_FOUND", lambda: admin.delete_group(topic.name, "engine", force=True)),
                ):
                    for use in (lambda it: it.__anext__(), lambda it: it.receive(PATIENCE), lambda it: it.next_batch(9, PATIENCE)):
                        async with topic.subscriber("earliest", name="engine") as subscriber:
                            while subscriber.position < 4:
                                await subscriber.receive(PATIENCE)
                            waiting = asyncio.ensure_future(use(subscriber))
                            await change()
                            with self.refused(code):
                                await asyncio.wait_for(waiting, PATIENCE)
                            with self.refused(code):
                                await subscriber.commit()

        run(work())

    def test_a_loop_that_stands_still_loses_its_work(self):
        async def work():
            async with aio.connect(self.broker.url) as client:
                topic = await self.filled(client, "a")
                group = await topic.group("g", lease=0.3)
                job = await group.receive(PATIENCE)
                taken = []

                def other():
                    with connect(self.broker.url) as second:
                        taken.append(second.topic(self.name, "text").group("g").receive(PATIENCE).deliveries)

                thread = threading.Thread(target=other)
                thread.start()
                # The event loop does not turn meanwhile.
                thread.join(PATIENCE)
                self.assertEqual(taken, [2])
                with self.refused("LEASE_LOST"):
                    await job.ack()
                await group.close(0)

        run(work())


class TakingTurns(unittest.TestCase):
    class Job:
        def __init__(self, lane, sequence):
            self._claim = type("Claim", (), {"payload": lane})
            self.sequence = sequence
            self.was_returned = False

    def test_what_was_taken_before_another_one_was_returned_goes_behind_it(self):
        lanes = Lanes(lambda payload: payload)
        first, late, other, later = (self.Job(*one) for one in zip("aaba", (1, 2, 3, 4)))
        self.assertEqual(lanes.enter(first, lanes.turn), (True, []))
        turn = lanes.turn
        first.was_returned = True
        self.assertEqual(lanes.after(first), (None, []))
        # (taken before that, and entering now)
        self.assertEqual(lanes.enter(late, turn), (False, [late]))
        self.assertEqual(lanes.enter(other, turn), (True, []))
        self.assertEqual(lanes.enter(later, lanes.turn), (True, []))

    def test_a_lane_stays_taken_until_those_behind_are_given_back(self):
        lanes = Lanes(lambda payload: payload)
        first, second, third = (self.Job("a", sequence) for sequence in (1, 2, 3))
        self.assertEqual([lanes.enter(job, 0) for job in (first, second)], [(True, []), (False, [])])
        first.was_returned = True
        self.assertEqual(lanes.after(first), (None, [second]))
        self.assertEqual(lanes.enter(third, 0), (False, []))
        self.assertEqual(lanes.after(first), (None, [third]))
        self.assertEqual(lanes.after(first), (None, []))
        self.assertEqual(lanes.enter(third, lanes.turn), (True, []))
        self.assertEqual(lanes.close(), [])

    def test_one_that_was_returned_and_is_here_again_is_the_next(self):
        lanes = Lanes(lambda payload: payload)
        first, second, again = (self.Job("a", sequence) for sequence in (1, 2, 1))
        turn = lanes.turn
        for job in (first, second, again):
            lanes.enter(job, turn)
        first.was_returned = True
        self.assertEqual(lanes.after(first), (None, [second]))
        self.assertEqual(lanes.after(first), (again, []))
        self.assertEqual(lanes.after(again), (None, []))
        self.assertEqual(lanes.enter(again, turn), (True, []))


class AskingAhead(unittest.TestCase):
    def test_grows_with_what_is_handled(self):
        ahead = Ahead()
        for _ in range(20):
            ahead.note(ahead.count * 2)
        self.assertEqual(ahead.count, 256)


if __name__ == "__main__":
    unittest.main()
