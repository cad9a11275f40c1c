"""Looking after topics and groups with a real broker."""

import asyncio
import unittest

from .support import PATIENCE, BrokerCase
from hermes_mq import HermesError, Retention, aio, connect


class Administration(BrokerCase):
    def setUp(self):
        super().setUp()
        self.client = connect(self.broker.url)
        self.addCleanup(self.client.close)

    def fails(self, code, work, *args, **options):
        with self.assertRaises(HermesError) as caught:
            work(*args, **options)
        self.assertEqual(caught.exception.code, code)

    def test_topics_are_made_altered_and_deleted(self):
        admin = self.client.admin
        kept = Retention(bytes=1 << 20, wait_for_groups=1 << 22)
        info = admin.create_topic(self.name, "text", segment_bytes=65_536, max_payload_bytes=1024, retention=kept)
        self.assertEqual((info.name, info.codec.name, info.segment_bytes, info.retention), (self.name, "text", 65_536, kept))
        self.assertEqual(admin.alter_topic(self.name, Retention(age_ms=1000)).retention, Retention(age_ms=1000))
        with self.client.topic(self.name, "text").publisher() as publisher:
            publisher.publish_acked("a").result(PATIENCE)
            self.fails("BUSY", admin.delete_topic, self.name)
        admin.delete_topic(self.name)
        self.assertNotIn(self.name, self.client.topics())
        self.fails("NOT_FOUND", admin.delete_topic, self.name)
        self.fails("INVALID_NAME", admin.create_topic, ".x")
        self.fails("INVALID_ARGUMENT", admin.alter_topic, self.name, {"bytes": 1})
        self.fails("INVALID_ARGUMENT", admin.delete_topic, self.name, force=1)

    def test_who_uses_a_topic_that_is_deleted_by_force_is_told(self):
        topic = self.client.topic(self.name, "text")
        publisher = topic.publisher()
        publisher.publish_acked("a").result(PATIENCE)
        subscriber = topic.subscriber(from_="earliest")
        self.assertEqual(subscriber.receive(PATIENCE).value, "a")
        self.client.admin.delete_topic(self.name, force=True)
        self.fails("TOPIC_DELETED", subscriber.receive, PATIENCE)

        def publish():
            while True:
                publisher.publish_acked("b").result(PATIENCE)

        self.fails("TOPIC_DELETED", publish)

    def test_groups_are_described_reset_and_deleted(self):
        admin = self.client.admin
        topic = self.client.topic(self.name, "text")
        with topic.publisher() as publisher:
            for value in "abc":
                publisher.publish_acked(value).result(PATIENCE)
        with topic.subscriber(name="engine", from_="earliest") as subscriber:
            subscriber.receive(PATIENCE)
            subscriber.commit()
            self.fails("BUSY", admin.reset_group, self.name, "engine", "latest")
        self.assertEqual([(one["name"], one["lag"]["messages"]) for one in admin.groups(self.name)], [("engine", 2)])
        described = admin.describe_group(self.name, "engine")
        self.assertEqual((described["kind"], described["floor"], described["end"]), ("durable", 2, 4))
        self.assertEqual(admin.reset_group(self.name, "engine", 3), 3)
        self.fails("OUT_OF_RANGE", admin.reset_group, self.name, "engine", 9)
        admin.delete_group(self.name, "engine")
        self.fails("NOT_FOUND", admin.describe_group, self.name, "engine")

    def test_what_is_not_synced_is_not_handed_out(self):
        topic = self.client.topic(self.name, "text", segment_bytes=1024 * 1024)
        self.fails("INVALID_ARGUMENT", topic.subscriber, up_to="later")
        with topic.publisher() as publisher:
            publisher.publish_acked("a").result(PATIENCE)
            with topic.subscriber(from_="earliest", up_to="synced") as subscriber:
                self.assertIsNone(subscriber.receive(0.3))
                publisher.flush(durability="synced")
                self.assertEqual(subscriber.receive(PATIENCE).value, "a")

    def test_asyncio_has_the_same(self):
        async def work():
            async with await aio.connect(self.broker.url) as client:
                info = await client.admin.create_topic(self.name, "text", segment_bytes=65_536, max_payload_bytes=1024)
                self.assertEqual(info.next_sequence, 1)
                self.assertEqual(await client.admin.groups(self.name), [])
                await client.admin.alter_topic(self.name, Retention(bytes=1 << 20))
                await client.admin.delete_topic(self.name)
                self.assertNotIn(self.name, await client.topics())

        asyncio.run(work())


if __name__ == "__main__":
    unittest.main()
