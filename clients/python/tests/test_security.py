"""Tokens, TLS and client certificates, with a real broker."""

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile
import unittest

from .support import PATIENCE, Broker, refused
from hermes_mq import HermesError, aio, connect

TOKEN = "a-token-of-some-length"
READER = "another-token-for-reading"
SMALL = {"segment_bytes": 1024 * 1024, "max_payload_bytes": 4096}


def openssl(*arguments, folder):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


def certificates(folder):
    """An authority, a certificate for 127.0.0.1 and localhost, one for a client, and one of nobody."""
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    # (newer Pythons ask for what RFC 5280 asks for)
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl(*new, *usage, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", folder=folder)
    with open(os.path.join(folder, "names"), "w", encoding="utf-8") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\nauthorityKeyIdentifier=keyid,issuer\nsubjectKeyIdentifier=hash\n")
    for name, subject, extra in (("server", "/CN=localhost", ["-extfile", "names"]), ("client", "/CN=python", [])):
        request = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl(*request, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject, folder=folder)
        sign = ["x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"]
        openssl(*sign, "-out", f"{name}.pem", *extra, folder=folder)
    openssl(*new, "-keyout", "stranger.key", "-out", "stranger.pem", "-subj", "/CN=stranger", folder=folder)


class Tokens(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        access = [{"name": "reader", "token": READER, "subscribe": ["open.*"], "administer": False}]
        cls.broker = Broker(env={"HERMES_TOKEN": TOKEN}, access=access)
        cls.addClassCleanup(cls.broker.close)

    def test_no_token_and_wrong_ones_are_refused_for_good(self):
        for token in (None, "wrong-token-wrong-token", TOKEN[:-1]):
            with refused(self, "UNAUTHORIZED"):
                connect(self.broker.url, token=token)

        async def asynchronous():
            with refused(self, "UNAUTHORIZED"):
                await aio.connect(self.broker.url, token="wrong-token-wrong-token")
            async with aio.connect(self.broker.url, token=TOKEN) as client:
                await client.topics()

        asyncio.run(asynchronous())

    def test_each_token_does_what_it_may_and_nothing_else(self):
        with connect(self.broker.url, token=TOKEN) as boss, connect(self.broker.url, token=READER) as reader:
            for name in ("open.a", "secret"):
                with boss.topic(name, "text", **SMALL).publisher() as publisher:
                    publisher.publish("x")
            self.assertEqual([m.value for m in reader.topic("open.a", "text").replay()], ["x"])
            self.assertEqual(reader.topics(), ["open.a"])
            for use in (
                lambda: reader.topic("open.a", "text").publisher(),
                lambda: reader.topic("secret", "text").subscriber(),
                lambda: reader.info("secret"),
            ):
                with refused(self, "UNAUTHORIZED"):
                    use()
            with refused(self, "NOT_FOUND"):
                reader.topic("open.new", "text").subscriber(create=True)
            # Who does not ask for the topic to be made waits for it.
            with reader.topic("open.new", "text").subscriber() as subscriber:
                self.assertIsNone(subscriber.receive(timeout=0.1))
                self.assertNotIn("open.new", boss.topics())
                with boss.topic("open.new", "text", **SMALL).publisher() as publisher:
                    publisher.publish("first")
                self.assertEqual(subscriber.receive(timeout=30).value, "first")

    def test_the_token_stays_out_of_what_is_shown(self):
        with connect(self.broker.url, token=TOKEN) as client:
            self.assertNotIn(TOKEN, repr(client))


@unittest.skipUnless(shutil.which("openssl"), "needs the openssl command")
class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="hermes-python-tls-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        certificates(cls.folder)
        tls = {"key": cls.path("server.key"), "cert": cls.path("server.pem")}
        cls.plain = Broker(tls=tls)
        cls.addClassCleanup(cls.plain.close)
        access = [{"name": "python", "certificate": "python", "administer": True}]
        cls.mutual = Broker(tls={**tls, "ca": cls.path("ca.pem")}, access=access)
        cls.addClassCleanup(cls.mutual.close)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    def exchange(self, url, name, **options):
        """Enough that TLS has records left over after a read."""
        with connect(url, **options) as client:
            topic = client.topic(name, "raw", **SMALL)
            with topic.publisher() as publisher, topic.subscriber("earliest") as subscriber:
                publisher.publish_batch(b"%06d" % n + bytes(2000) for n in range(2000))
                got = []
                while len(got) < 2000:
                    got += subscriber.next_batch(1000, PATIENCE) or self.fail("nothing came")
            self.assertEqual([int(m.value[:6]) for m in got], list(range(2000)))

    def test_messages_go_through_tls(self):
        self.assertTrue(self.plain.url.startswith("tls://"))
        self.exchange(self.plain.url, "t", ca=self.path("ca.pem"))

    def test_the_authority_may_be_given_as_text_or_in_a_context(self):
        with open(self.path("ca.pem"), encoding="ascii") as file:
            connect(self.plain.url, ca=file.read()).close()
        connect(self.plain.url, ssl_context=ssl.create_default_context(cafile=self.path("ca.pem"))).close()
        connect(self.plain.url, ca=self.path("ca.pem"), server_hostname="localhost").close()

    def test_what_tls_fails_with_is_told_in_plain_words(self):
        ca = self.path("ca.pem")
        cases = [
            (self.plain.url, {}, "not signed by an authority that this program trusts"),
            (self.plain.url, {"ca": ca, "server_hostname": "elsewhere.example"}, "not for 'elsewhere.example'"),
            (self.plain.url.replace("tls:", "tcp:"), {}, "connect to tls://"),
            ("tcp://127.0.0.1:9", {}, "nothing listens there"),
            ("tcp://nosuch.invalid:9000", {}, "leads to no address"),
        ]
        for url, options, text in cases:
            with self.subTest(url=url, text=text), self.assertRaises(HermesError) as caught:
                connect(url, connect_timeout=20, **options)
            self.assertEqual(caught.exception.code, "CONNECTION_FAILED")
            self.assertIn(text, str(caught.exception))
            self.assertNotRegex(str(caught.exception), r"\[SSL|_ssl\.c|Errno")
            self.assertIsNotNone(caught.exception.__cause__)

    def test_a_file_that_is_not_there_is_named(self):
        with refused(self, "INVALID_ARGUMENT"):
            connect(self.plain.url, ca="nosuch.pem")
        with self.assertRaisesRegex(HermesError, "'ca' is 'nosuch.pem'"):
            connect(self.plain.url, ca="nosuch.pem")

    def test_asyncio_goes_through_tls_too(self):
        async def work():
            async with aio.connect(self.plain.url, ca=self.path("ca.pem")) as client:
                topic = client.topic("asynchronous", "raw", **SMALL)
                async with topic.publisher() as publisher:
                    await publisher.publish_batch([bytes(2000)] * 1000)
                self.assertEqual(len([m async for m in topic.replay()]), 1000)

        asyncio.run(asyncio.wait_for(work(), 2 * PATIENCE))

    def test_a_broker_that_is_not_who_it_should_be_is_refused(self):
        for options in ({}, {"ca": self.path("stranger.pem")}, {"ca": self.path("ca.pem"), "server_hostname": "example.com"}):
            with self.subTest(options), refused(self, "CONNECTION_FAILED"):
                connect(self.plain.url, **options)

    def test_a_plain_connection_to_a_tls_port_ends_in_an_error(self):
        with refused(self, "CONNECTION_FAILED", "url"):
            connect(self.plain.url.replace("tls:", "tcp:"), connect_timeout=2)

    def test_a_client_certificate_opens_where_one_is_asked_for(self):
        own = {"cert": self.path("client.pem"), "key": self.path("client.key")}
        self.exchange(self.mutual.url, "t", ca=self.path("ca.pem"), **own)
        with refused(self, "INVALID_ARGUMENT"):
            connect(self.mutual.url, ca=self.path("ca.pem"), cert=own["cert"])

    def test_no_certificate_or_a_stranger_s_is_refused(self):
        stranger = {"cert": self.path("stranger.pem"), "key": self.path("stranger.key")}
        for options in ({}, stranger):
            with self.subTest(options), refused(self, "CONNECTION_FAILED"):
                connect(self.mutual.url, ca=self.path("ca.pem"), connect_timeout=5, **options)


if __name__ == "__main__":
    unittest.main()
