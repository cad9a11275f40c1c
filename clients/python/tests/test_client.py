"""The synchronous client with a real broker."""

import json as plain_json
import os
import threading
import time
import unittest
from concurrent.futures import Future
from datetime import datetime, timedelta, timezone

from .support import COMMAND, PATIENCE, ROOT, BrokerCase, FakeBroker, node, wait_for
import hermes_mq
from hermes_mq import HermesError, Retention, connect, frames, json, packets, raw, struct, text

SMALL = {"segment_bytes": 1024 * 1024, "max_payload_bytes": 4096}


class WithClient(BrokerCase):
    def setUp(self):
        super().setUp()
        self.client = connect(self.broker.url)
        self.addCleanup(self.client.close)

    def topic(self, codec="text", **options):
        return self.client.topic(self.name, codec, **{**SMALL, **options})


class PublishAndSubscribe(WithClient):
    def test_every_codec_carries_its_values(self):
        for codec, values in (
            (raw, [b"", b"\0\xff" * 100]),
            (text, ["", "gr\u00fc\u00df \U0001f600"]),
            (json, [None, {"a": [1, 2.5, "x"]}, []]),
        ):
            topic = self.client.topic(f"{self.name}.{codec.name}", codec, **SMALL)
            with topic.subscriber() as subscriber, topic.publisher() as publisher:
                publisher.publish_batch(values)
                self.assertEqual([subscriber.receive(PATIENCE).value for _ in values], values)

    def test_acknowledgements_say_sequence_and_time(self):
        with self.topic().publisher() as publisher:
            before = time.time_ns()
            futures = [publisher.publish_acked(f"m{n}") for n in range(2000)]
            receipts = [future.result(PATIENCE) for future in futures]
            self.assertEqual([receipt.sequence for receipt in receipts], list(range(1, 2001)))
            times = [receipt.timestamp_ns for receipt in receipts]
            self.assertEqual(times, sorted(set(times)))
            self.assertGreaterEqual(times[0], before)
            self.assertEqual(publisher.last_receipt, receipts[-1])
            self.assertFalse(futures[0].cancel())
        messages = list(self.topic().replay())
        self.assertEqual([(m.value, m.sequence, m.timestamp_ns) for m in messages][:2], [(f"m{n}", n + 1, times[n]) for n in range(2)])
        self.assertEqual(len(messages), 2000)

    def test_synced_publishers_and_flushes_reach_the_disk(self):
        with self.topic().publisher(durability="synced") as publisher:
            publisher.publish_acked("a").result(PATIENCE)
            self.assertEqual(self.topic().info().synced_sequence, 2)
        with self.topic().publisher() as publisher:
            publisher.publish("b")
            publisher.flush("synced", PATIENCE)
            self.assertEqual(self.topic().info().synced_sequence, 3)
            publisher.flush("written")
            publisher.flush()

    def test_batches_are_accepted_in_order_whatever_their_size(self):
        topic = self.topic(raw)
        values = [b"%05d" % n + bytes(n % 4000) for n in range(3000)]
        with topic.publisher() as publisher:
            self.assertEqual(publisher.publish_batch(iter(values)), 3000)
            self.assertEqual(publisher.publish_batch([]), 0)
        self.assertEqual([message.value for message in topic.replay()], values)

    def test_a_batch_with_a_wrong_value_says_how_many_were_accepted(self):
        with self.topic().publisher() as publisher:
            with self.assertRaises(HermesError) as caught:
                publisher.publish_batch([*("x" * 600), 5])
            self.assertEqual((caught.exception.code, caught.exception.details["accepted"]), ("ENCODE_FAILED", 512))
            publisher.flush()
            self.assertEqual(self.topic().info().next_sequence, 513)

    def test_one_value_is_no_batch_and_a_closed_publisher_says_so_first(self):
        with self.topic().publisher() as publisher:
            for one in ("abc", b"abc", {"a": 1}, 5, None):
                with self.subTest(one=one), self.refused("INVALID_ARGUMENT"):
                    publisher.publish_batch(one)
            self.assertEqual(publisher.pending, 0)
        with self.refused("CLOSED"):
            publisher.publish(5)

    def test_a_payload_over_the_limit_is_refused_and_publishing_goes_on(self):
        with self.topic(raw).publisher() as publisher:
            publisher.publish(bytes(4096))
            with self.refused("PAYLOAD_TOO_LARGE", "maxPayloadBytes"):
                publisher.publish(bytes(4097))
            self.assertEqual(publisher.publish_acked(b"x").result(PATIENCE).sequence, 2)

    def test_publish_waits_while_the_buffer_is_full(self):
        with connect(self.broker.url, publish_buffer=65_536) as client:
            topic = client.topic(self.name, "raw", **SMALL)
            with topic.publisher() as publisher:
                for n in range(500):
                    publisher.publish(bytes(4000), timeout=PATIENCE)
            self.assertEqual(topic.info().next_sequence, 501)

    def test_an_iterator_ends_when_the_subscriber_is_closed_by_another_thread(self):
        subscriber = self.topic().subscriber()
        got = []
        thread = threading.Thread(target=lambda: got.extend(subscriber))
        thread.start()
        with self.topic().publisher() as publisher:
            publisher.publish("one")
        wait_for("the message", lambda: got)
        subscriber.close()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertEqual([message.value for message in got], ["one"])
        self.assertEqual(list(subscriber), [])
        self.assertEqual(list(subscriber.batches()), [])

    def test_what_was_not_handed_out_was_not_consumed(self):
        with self.topic().publisher() as publisher:
            publisher.publish_batch(str(n) for n in range(100))
        subscriber = self.topic().subscriber("earliest")
        for message in subscriber:
            if message.sequence == 10:
                break
        self.assertEqual((subscriber.position, subscriber.lag), (11, 90))
        self.assertEqual([m.sequence for m in subscriber.next_batch(5)], [11, 12, 13, 14, 15])
        for batch in subscriber.batches(7):
            self.assertLessEqual(len(batch), 7)
            if batch[-1].sequence == 100:
                break
        self.assertIsNone(subscriber.receive(0.05))
        self.assertEqual(subscriber.next_batch(10, 0.05), [])

    def test_more_than_the_window_comes_through(self):
        with connect(self.broker.url, subscribe_buffer=65_536) as client:
            topic = client.topic(self.name, "raw", **SMALL)
            with topic.publisher() as publisher:
                publisher.publish_batch(b"%06d" % n + bytes(1000) for n in range(2000))
            with topic.subscriber("earliest") as subscriber:
                got = []
                while len(got) < 2000:
                    got += subscriber.next_batch(256, PATIENCE) or self.fail("nothing came")
        self.assertEqual([int(m.value[:6]) for m in got], list(range(2000)))

    def test_a_subscriber_is_told_that_it_lags(self):
        events = []
        with connect(self.broker.url, subscribe_buffer=65_536, on_status=events.append) as client:
            topic = client.topic(self.name, "raw", **SMALL)
            with topic.subscriber("earliest") as subscriber, topic.publisher() as publisher:
                publisher.publish_batch([bytes(1000)] * 1000)
                publisher.flush()
                lagging = wait_for("the event", lambda: [event for event in events if event.type == "lagging"])
                self.assertGreater(lagging[0].details["behind"], 0)
                self.assertEqual(subscriber.lag, 1000)
        self.assertEqual(events[0].type, "connected")

    def test_a_value_that_cannot_be_decoded_counts_as_consumed(self):
        odd = hermes_mq.custom("odd", "1", lambda value: value, lambda payload: int(payload))
        topic = self.topic(odd)
        with topic.publisher() as publisher:
            publisher.publish_batch([b"1", b"2", b"x", b"4"])
        with topic.subscriber("earliest") as subscriber:
            self.assertEqual([m.value for m in subscriber.next_batch(10, PATIENCE)], [1, 2])
            with self.refused("DECODE_FAILED"):
                subscriber.next_batch(10, PATIENCE)
            self.assertEqual([m.value for m in subscriber.next_batch(10, PATIENCE)], [4])

    def test_several_threads_publish_each_in_its_order(self):
        topic = self.topic()
        with topic.publisher() as publisher:

            def work(name):
                for n in range(500):
                    publisher.publish(f"{name}:{n}")

            threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE)
        values = [message.value for message in topic.replay()]
        for name in "abc":
            self.assertEqual([v for v in values if v.startswith(name)], [f"{name}:{n}" for n in range(500)])

    def test_two_threads_do_not_use_one_subscriber(self):
        subscriber = self.topic().subscriber()
        thread = threading.Thread(target=lambda: list(subscriber))
        thread.start()
        try:
            wait_for("the other thread", lambda: subscriber._use.locked())
            for use in (lambda: subscriber.receive(0), lambda: next(subscriber), lambda: subscriber.seek("earliest")):
                with self.refused("BUSY"):
                    use()
        finally:
            subscriber.close()
            thread.join(PATIENCE)

    def test_a_callback_that_waits_for_its_own_thread_is_refused(self):
        with self.topic().publisher() as publisher:
            outcome: "Future[str]" = Future()

            def callback(_):
                try:
                    publisher.publish("two")
                    publisher.flush()
                except HermesError as error:
                    outcome.set_result(error.code)

            publisher.publish_acked("one").add_done_callback(callback)
            self.assertEqual(outcome.result(PATIENCE), "BUSY")
            publisher.flush()
            self.assertEqual(self.topic().info().next_sequence, 3)


class Places(WithClient):
    def fill(self, count=100, **options):
        topic = self.topic(**options)
        with topic.publisher() as publisher:
            publisher.publish_batch(str(n) for n in range(1, count + 1))
        return topic

    def test_subscribers_begin_where_they_want_to(self):
        topic = self.fill()
        for from_, first in (("earliest", 1), (50, 50), (101, None), ("latest", None)):
            with topic.subscriber(from_) as subscriber:
                message = subscriber.receive(PATIENCE if first else 0.05)
                self.assertEqual(message and message.sequence, first, from_)
        with self.refused("OUT_OF_RANGE", "nextSequence"):
            topic.subscriber(500)

    def test_a_time_leads_to_the_first_message_stamped_then_or_later(self):
        topic = self.topic()
        with topic.publisher() as publisher:
            publisher.publish_acked("before").result(PATIENCE)
            time.sleep(0.02)
            noon = datetime.now(timezone.utc)
            time.sleep(0.02)
            publisher.publish_acked("after").result(PATIENCE)
        elsewhere = noon.astimezone(timezone(timedelta(hours=5)))
        self.assertEqual([m.value for m in topic.replay(elsewhere)], ["after"])
        self.assertEqual([m.value for m in topic.replay(until=noon)], ["before"])
        self.assertEqual(list(topic.replay(noon, until=noon)), [])

    def test_a_time_to_come_passes_over_what_is_stamped_before_it(self):
        topic = self.topic()
        with topic.publisher() as publisher:
            publisher.publish_acked("long before").result(PATIENCE)
            wanted = datetime.now(timezone.utc) + timedelta(seconds=1)
            from_ns = int(wanted.timestamp() * 1000) * 1_000_000
            with topic.subscriber(wanted) as subscriber:
                expected = None
                while expected is None:
                    receipt = publisher.publish_acked("x").result(PATIENCE)
                    if receipt.timestamp_ns >= from_ns:
                        expected = receipt.sequence
                    time.sleep(0.02)
                self.assertEqual(subscriber.receive(PATIENCE).sequence, expected)

    def test_seek_goes_anywhere_and_says_what_is_not_there(self):
        with self.fill().subscriber("earliest") as subscriber:
            self.assertEqual(subscriber.receive(PATIENCE).sequence, 1)
            subscriber.seek(90)
            self.assertEqual((subscriber.position, subscriber.receive(PATIENCE).value), (90, "90"))
            subscriber.seek("latest")
            self.assertEqual((subscriber.position, subscriber.lag), (101, 0))
            with self.refused("OUT_OF_RANGE"):
                subscriber.seek(1000)
            self.assertEqual(subscriber.position, 101)
            self.assertIsNone(subscriber.receive(0.1))
            subscriber.seek("earliest")
            self.assertEqual(len(subscriber.next_batch(1000, PATIENCE)), 100)

    def test_a_seek_that_is_refused_changes_nothing(self):
        with self.fill().subscriber("earliest") as subscriber:
            self.assertEqual([subscriber.receive(PATIENCE).sequence for _ in range(3)], [1, 2, 3])
            for _ in range(2):
                with self.refused("OUT_OF_RANGE"):
                    subscriber.seek(1000)
                self.assertEqual((subscriber.position, subscriber.lag), (4, 97))
            with self.assertRaises(HermesError):
                subscriber.seek("nowhere")
            self.assertEqual([message.sequence for message in subscriber.next_batch(2, PATIENCE)], [4, 5])
            self.assertEqual(subscriber.position, 6)

    def test_replay_ends_at_the_present_or_at_its_bound(self):
        topic = self.fill()
        self.assertEqual([m.sequence for m in topic.replay()], list(range(1, 101)))
        self.assertEqual([m.sequence for m in topic.replay(10, 13)], [10, 11, 12])
        self.assertEqual([m.sequence for m in topic.replay(99, 1000)], [99, 100])
        self.assertEqual(list(topic.replay(50, 50)), [])
        self.assertEqual(list(topic.replay("latest")), [])
        with topic.publisher() as publisher:
            replay = topic.replay(98, batch=1)
            self.assertEqual(next(replay).sequence, 98)
            publisher.publish_acked("101").result(PATIENCE)
            self.assertEqual([m.sequence for m in replay], [99, 100])

    def test_a_position_behind_retention_says_where_the_topic_begins(self):
        topic = self.topic(retention=Retention(bytes=2 * 1024 * 1024))
        with topic.publisher() as publisher:
            publisher.publish_batch(["x" * 4000] * 1500)
        first = wait_for("retention", lambda: topic.info().first_sequence > 1 and topic.info().first_sequence)
        with self.assertRaises(HermesError) as caught:
            topic.subscriber(1)
        self.assertEqual(caught.exception.code, "BEHIND_RETENTION")
        with topic.subscriber(caught.exception.details["firstSequence"]) as subscriber:
            self.assertGreaterEqual(subscriber.receive(PATIENCE).sequence, first)

    def test_an_address_that_is_none_says_what_is_wrong_and_no_secret(self):
        for url, says in (
            ("tcp://host:9000/quotes", "The address has the path '/quotes': give tcp://host:9000 and nothing more."),
            ("tcp://secret@host:9000?x=1", "something before an '@'; a token is an option, and something behind a '?'"),
            ("tcp://secret@host:99999", "'tcp://host:99999' is no URL"),
            ("http://secret@host", "'http://host' has to be tcp://host:port"),
        ):
            with self.subTest(url), self.assertRaises(HermesError) as caught:
                hermes_mq.connect(url)
            self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
            self.assertIn(says, str(caught.exception))
            self.assertNotIn("secret", str(caught.exception))

    def test_places_that_are_none_are_refused(self):
        topic = self.topic()
        for wrong in (0, -1, 1.5, True, "first", None, datetime(2020, 1, 1), 2**53, datetime(1960, 1, 1, tzinfo=timezone.utc)):
            with self.subTest(wrong), self.refused("INVALID_ARGUMENT"):
                topic.subscriber(wrong)
        with self.refused("INVALID_ARGUMENT"):
            next(topic.replay(until="latest"))
        with self.assertRaises(HermesError) as caught:
            topic.subscriber("begin")
        self.assertIn("or a datetime since 1970, not 'begin' (str).", str(caught.exception))

    def test_times_and_flags_that_are_none_are_refused(self):
        topic = self.topic()
        with topic.publisher() as publisher, topic.subscriber() as subscriber:
            for wrong in ("2", -1, float("nan"), True, object()):
                for use in (
                    lambda: subscriber.receive(wrong),
                    lambda: subscriber.next_batch(5, wrong),
                    lambda: publisher.publish("x", wrong),
                    lambda: publisher.publish_acked("x", wrong),
                    lambda: publisher.publish_batch(["x"], wrong),
                    lambda: publisher.flush(timeout=wrong),
                    lambda: publisher.close(wrong),
                ):
                    with self.subTest(wrong), self.refused("INVALID_ARGUMENT"):
                        use()
            # (and it is not closed)
            publisher.publish_acked("x", 5).result(PATIENCE)
        for use in (
            lambda: topic.publisher(exclusive="no"),
            lambda: topic.subscriber(verify="no"),
            lambda: topic.subscriber(create=1),
        ):
            with self.refused("INVALID_ARGUMENT"):
                use()


class Topics(WithClient):
    def test_topics_and_their_descriptions(self):
        with self.refused("NOT_FOUND"):
            self.client.info(self.name)
        with self.topic(retention=Retention(age_ms=3_600_000)).publisher() as publisher:
            publisher.publish("x")
            publisher.flush()
            info = self.client.info(self.name)
            self.assertIn(self.name, self.client.topics())
            self.assertEqual((info.name, info.codec.name, info.codec.fingerprint), (self.name, "text", text.fingerprint))
            self.assertEqual((info.first_sequence, info.next_sequence, info.publishers), (1, 2, 1))
            self.assertEqual((info.segment_bytes, info.max_payload_bytes), (1024 * 1024, 4096))
            self.assertEqual((info.retention, info.disk_alarm), (Retention(age_ms=3_600_000), False))

    def test_another_codec_is_refused(self):
        self.topic("text").publisher().close()
        for open_ in (self.topic("json").publisher, self.topic("raw").subscriber):
            with self.refused("CODEC_MISMATCH"):
                open_()

    def test_another_fixed_setting_is_refused(self):
        self.topic().publisher().close()
        with self.refused("CONFIG_MISMATCH"):
            self.topic(max_payload_bytes=100).publisher()

    def test_a_topic_that_may_not_be_made_is_not_found(self):
        for open_ in (self.topic(create=False).publisher, self.topic(create=False).subscriber):
            with self.refused("NOT_FOUND"):
                open_()

    def test_a_subscriber_waits_for_its_topic_and_does_not_define_it(self):
        named = self.topic("text", retention=Retention(bytes=2 * 1024 * 1024))
        with named.subscriber("latest") as subscriber, named.subscriber("earliest") as other:
            self.assertNotIn(self.name, self.client.topics())
            self.assertIsNone(subscriber.receive(timeout=0.1))
            self.assertEqual((subscriber.position, subscriber.lag), (1, 0))
            with self.refused("OUT_OF_RANGE"):
                subscriber.seek(7)
            subscriber.seek("earliest")
            with connect(self.broker.url) as client:
                publisher = client.topic(self.name, "text", **SMALL).publisher()
                publisher.publish("the first of all")
                for one in (subscriber, other):
                    message = one.receive(timeout=30)
                    self.assertEqual((message.value, message.sequence), ("the first of all", 1))
                info = client.info(self.name)
                # Not the retention of those who read.
                self.assertEqual(info.retention, Retention())
                publisher.close()
        with self.refused("OUT_OF_RANGE"):
            self.client.topic(f"{self.name}-none", "text").subscriber(7)
        made = self.client.topic(f"{self.name}-made", "text")
        made.subscriber(create=True).close()
        self.assertIn(made.name, self.client.topics())
        for wrong in (1, None, "yes"):
            with self.refused("INVALID_ARGUMENT"):
                made.subscriber(create=wrong)

    def test_a_subscriber_that_names_another_retention_does_not_change_it(self):
        with self.topic(retention=Retention(age_ms=3_600_000)).publisher():
            self.topic(retention=Retention(age_ms=1_000_000)).subscriber().close()
            self.assertEqual(self.topic().info().retention, Retention(age_ms=3_600_000))

    def test_without_a_codec_the_topic_s_own_is_used(self):
        with self.refused("NOT_FOUND"):
            self.client.topic(self.name)
        with self.topic("json").publisher() as publisher:
            publisher.publish({"a": 1})
        self.assertEqual([m.value for m in self.client.topic(self.name).replay()], [{"a": 1}])

    def test_an_exclusive_publisher_tolerates_no_other(self):
        with self.topic().publisher(exclusive=True):
            with self.refused("EXCLUSIVE_HELD"):
                self.topic().publisher()
        self.topic().publisher().close()

    def test_arguments_that_are_none_are_refused(self):
        for name in ("", "../x", "x" * 300, ".a", "a/b", "a b", "\u00fc", None, "a\n"):
            with self.refused("INVALID_NAME"):
                self.client.topic(name, "text")
            with self.refused("INVALID_NAME"):
                self.client.info(name)
        for options in ({"segment_bytes": 0}, {"max_payload_bytes": "1"}, {"retention": 5}, {"retention": Retention(bytes=0)}, {"create": 1}):
            with self.subTest(options), self.refused("INVALID_ARGUMENT"):
                self.client.topic(self.name, "text", **options)
        for use in (
            lambda: self.topic().publisher(durability="fast"),
            lambda: self.topic().subscriber(on_damage="ignore"),
            lambda: self.topic().publisher().flush("fast"),
            lambda: self.topic().subscriber().next_batch(0),
            lambda: self.client.topic(self.name, 5),
        ):
            with self.refused("INVALID_ARGUMENT"):
                use()


class WithTypeScript(WithClient):
    """The same topics, used by the TypeScript package over TCP and in the broker's own directory."""

    SOURCE = """
import { open, struct, ascii, f64, u32, varUtf8, enumeration, text, json, msgpack } from './dist/index.js'
const [place, name, job] = process.argv.slice(2)
const codecs = { text, json, msgpack, trade: struct({ symbol: ascii(8), side: enumeration(['buy', 'sell']), price: f64, size: u32, note: varUtf8() }, { name: 'Trade' }) }
const hermes = await open(place)
const [verb, codec] = job.split(' ')
const topic = hermes.topic(name, { codec: codecs[codec], segmentBytes: 1048576, maxPayloadBytes: 4096 })
if (verb === 'make') await (await topic.publisher()).close()
if (verb === 'schema') process.stdout.write(JSON.stringify(codecs[codec].schema))
if (verb === 'write') {
  const publisher = await topic.publisher()
  for (let n = 0; n < 100; n++) publisher.publish(codec === 'trade' ? { symbol: 'S' + n, side: n % 2 ? 'buy' : 'sell', price: n / 4, size: n, note: 'gr\\u00fc\\u00df ' + n } : codec === 'json' ? { n } : 'm' + n)
  await publisher.close()
}
if (verb === 'read') {
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const { nextSequence } = await topic.info()
  const values = []
  if (nextSequence > 1) for await (const { value, sequence } of subscriber) { values.push(value); if (sequence === nextSequence - 1) break }
  process.stdout.write(JSON.stringify(values))
}
await hermes.close()
"""

    def typescript(self, job, place=None):
        return node(self.SOURCE, place or self.broker.url, self.name, job)

    @staticmethod
    def trade(n):
        return {"symbol": f"S{n}", "side": "buy" if n % 2 else "sell", "price": n / 4, "size": n, "note": f"gr\u00fc\u00df {n}"}

    def test_a_struct_topic_is_shared_through_its_schema(self):
        schema = plain_json.loads(self.typescript("schema trade"))
        trades = [self.trade(n) for n in range(100)]
        topic = self.topic(struct(schema))
        with topic.publisher() as publisher:
            publisher.publish_batch(trades)
        self.assertEqual(plain_json.loads(self.typescript("read trade")), trades)
        self.assertEqual(plain_json.loads(self.typescript("read trade", self.broker.dir)), trades)
        self.typescript("write trade", self.broker.dir)
        self.typescript("write trade")
        self.assertEqual([m.value for m in topic.replay()], trades * 3)
        # What the topic keeps is enough to read it.
        self.assertEqual([m.value for m in self.client.topic(self.name).replay(101, 103)], trades[:2])

    def test_the_schema_that_the_command_line_prints_is_taken(self):
        import subprocess

        self.typescript("write trade")
        command = ["node", COMMAND, "--dir", self.broker.dir, "info", self.name, "--schema"]
        printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True, cwd=ROOT).stdout
        path = os.path.join(self.broker.folder, "trade.schema.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(printed)
        self.assertEqual([m.value for m in self.topic(struct(path)).replay(1, 2)], [self.trade(0)])

    def test_another_layout_is_refused(self):
        self.typescript("write trade")
        other = {"size": 8, "align": 8, "fields": [{"name": "price", "offset": 0, "type": "f64", "size": 8}]}
        fingerprint = hermes_mq.codecs.fingerprint_of(plain_json.dumps(other, separators=(",", ":")))
        codec = struct({"format": "hermes-struct", "version": 1, "fingerprint": fingerprint, **other})
        with self.refused("CODEC_MISMATCH"):
            self.topic(codec).subscriber("earliest")

    def test_text_and_json_go_both_ways(self):
        for codec, values in (("text", [f"m{n}" for n in range(100)]), ("json", [{"n": n} for n in range(100)])):
            self.name = f"both.{codec}"
            self.typescript(f"write {codec}")
            with self.topic(codec).publisher() as publisher:
                publisher.publish_batch(values)
            self.assertEqual([m.value for m in self.topic(codec).replay()], values * 2)
            self.assertEqual(plain_json.loads(self.typescript(f"read {codec}")), values * 2)

    def test_a_msgpack_topic_is_refused_with_the_reason(self):
        self.typescript("make msgpack")
        with self.assertRaises(HermesError) as caught:
            self.client.topic(self.name)
        self.assertEqual(caught.exception.code, "UNSUPPORTED")
        self.assertIn("MessagePack", caught.exception.message)


class AfterTheEnd(WithClient):
    def test_everything_may_be_closed_twice_and_is_refused_afterwards(self):
        topic = self.topic()
        publisher, subscriber = topic.publisher(), topic.subscriber()
        publisher.close()
        publisher.close()
        subscriber.close()
        subscriber.close()
        self.assertTrue(publisher.closed and subscriber.closed)
        for use in (
            lambda: publisher.publish("x"),
            lambda: publisher.publish_acked("x"),
            lambda: publisher.publish_batch(["x"]),
            lambda: subscriber.receive(1),
            lambda: subscriber.next_batch(1, 1),
            lambda: subscriber.seek("earliest"),
        ):
            with self.refused("CLOSED"):
                use()
        publisher, subscriber = topic.publisher(), topic.subscriber()
        self.client.close()
        self.client.close()
        self.assertTrue(self.client.closed)
        for use in (
            self.client.topics,
            lambda: self.client.info("t"),
            topic.publisher,
            topic.subscriber,
            lambda: publisher.publish("x"),
            lambda: subscriber.receive(1),
            lambda: subscriber.seek("earliest"),
        ):
            with self.refused("CLOSED"):
                use()
        publisher.close()
        subscriber.close()

    def test_closing_a_publisher_waits_for_its_acknowledgements_and_gives_the_place_back(self):
        publisher = self.topic().publisher(exclusive=True)
        for n in range(1000):
            publisher.publish(str(n))
        publisher.close()
        self.assertEqual(self.topic().info().next_sequence, 1001)
        self.assertEqual(self.topic().info().publishers, 0)

    def test_closing_the_client_fails_what_is_under_way(self):
        subscriber = self.topic().subscriber()
        failures = []

        def wait():
            try:
                subscriber.receive(PATIENCE)
            except HermesError as error:
                failures.append(error.code)

        thread = threading.Thread(target=wait)
        thread.start()
        wait_for("the wait", lambda: subscriber._use.locked())
        self.client.close()
        thread.join(PATIENCE)
        self.assertEqual(failures, ["CLOSED"])
        self.assertEqual([t.name for t in threading.enumerate() if t.name == f"hermes {self.broker.url}"], [])

    @unittest.skipUnless(hasattr(os, "fork"), "there is no fork here")
    def test_a_forked_child_is_refused_and_the_parent_goes_on(self):
        publisher = self.topic().publisher()
        subscriber = self.topic().subscriber()
        child = os.fork()
        if child == 0:
            codes = []
            for use in (lambda: publisher.publish("x"), lambda: subscriber.receive(1), self.client.topics):
                try:
                    use()
                except HermesError as error:
                    codes.append(error.code)
            publisher.close()
            self.client.close()
            os._exit(0 if codes == ["FORKED"] * 3 else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        publisher.publish("still here")
        self.assertEqual(subscriber.receive(PATIENCE).value, "still here")


class Connecting(BrokerCase):
    def test_urls_that_are_none_are_refused_without_showing_secrets(self):
        for url in ("", "host", "http://host", "tcp://", "tcp://host:99999", "tcp://host:x", "tcp://host/path", "tcp://host?x=1", "tcp://host:0", 5, "tls://user:geheim@host", "tcp://[::1"):
            with self.subTest(url), self.assertRaises(HermesError) as caught:
                connect(url)
            self.assertEqual(caught.exception.code, "INVALID_ARGUMENT")
            self.assertNotIn("geheim", str(caught.exception))
        with self.assertRaises(HermesError) as caught:
            connect("127.0.0.1:9000")
        self.assertIn("'127.0.0.1:9000' has to be tcp://host:port", str(caught.exception))

    def test_options_that_are_none_are_refused(self):
        for options in (
            {"token": ""},
            {"token": 5},
            {"connect_timeout": 0},
            {"connect_timeout": "1"},
            {"reconnect_min": 2, "reconnect_max": 1},
            {"publish_buffer": 1},
            {"subscribe_buffer": 1.5},
            {"on_status": 5},
            {"compression": "zip"},
            {"reconnect": "never"},
            {"ca": "/x"},
            {"cert": "/x"},
        ):
            with self.subTest(options), self.refused("INVALID_ARGUMENT"):
                connect(self.broker.url, **options)
        for options in ({"ca": "/nowhere.pem"}, {"cert": "/nowhere.pem"}, {"cert": "/a", "key": "/nowhere"}, {"ca": "-----BEGIN nothing"}):
            with self.subTest(options), self.refused("INVALID_ARGUMENT"):
                connect("tls://127.0.0.1:1", **options)

    def test_nobody_there_is_said_at_once(self):
        import socket

        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        with self.assertRaises(HermesError) as caught:
            connect(f"tcp://127.0.0.1:{port}")
        self.assertEqual(caught.exception.code, "CONNECTION_FAILED")
        self.assertIn("url", caught.exception.details)
        self.assertIsInstance(caught.exception.__cause__, ConnectionRefusedError)

    def test_what_is_to_be_said_is_said_at_once_however_far_apart_the_heartbeats_are(self):
        def script(peer):
            peer.greet(heartbeatMs=3_600_000)
            for _ in range(3):
                channel, _ = peer.expect(packets.REQUEST)
                peer.send(packets.json_packet(packets.REPLY, channel, {"topics": ["a"]}))
            peer.linger()

        with FakeBroker(script) as broker, connect(broker.url, request_timeout=5) as client:
            for _ in range(3):
                self.assertEqual(client.topics(), ["a"])

    def test_what_a_callback_publishes_is_sent_at_once_too(self):
        def script(peer):
            peer.greet(heartbeatMs=3_600_000)
            channel, _ = peer.expect(packets.OPEN_PUBLISHER)
            answer = {"stored": "0", "runs": [], "maxPayloadBytes": 1024, "maxBatchBytes": 262_144, "nextSequence": 1}
            peer.send(packets.json_packet(packets.PUBLISHER_OPENED, channel, answer))
            for sequence in range(1, 21):
                _, body = peer.expect(packets.PUBLISH)
                number = frames.read_head(body, 16, 1024).timestamp_ns
                peer.send(packets.ack_packet(channel, [packets.Run(number, 1, sequence)]))
            peer.linger()

        last: "Future[int]" = Future()
        with FakeBroker(script) as broker, connect(broker.url) as client:
            publisher = client.topic("t", "text").publisher()

            def callback(future):
                if future.result().sequence == 20:
                    last.set_result(20)
                else:
                    publisher.publish_acked("again").add_done_callback(callback)

            publisher.publish_acked("once").add_done_callback(callback)
            self.assertEqual(last.result(PATIENCE), 20)

    def test_batches_go_compressed_where_both_sides_do(self):
        values = [f"{n} of many that are alike" for n in range(5000)]
        with connect(self.broker.url, compression="deflate") as client:
            topic = client.topic(self.name, "text", **SMALL)
            with topic.subscriber() as subscriber, topic.publisher() as publisher:
                publisher.publish_batch(values)
                got = []
                while len(got) < 5000:
                    got += subscriber.next_batch(5000, PATIENCE) or self.fail("nothing came")
        self.assertEqual([m.value for m in got], values)
        with connect(self.broker.url) as client:
            self.assertEqual([m.value for m in client.topic(self.name).replay()], values)

    def test_a_client_that_says_nothing_stays_connected(self):
        events = []
        with connect(self.broker.url, on_status=events.append) as client:
            # (the broker's heartbeats are half a second apart, and it ends a silent connection after 1.25)
            time.sleep(2)
            self.assertEqual(client.topics(), client.topics())
        self.assertEqual([event.type for event in events], ["connected"])


if __name__ == "__main__":
    unittest.main()
