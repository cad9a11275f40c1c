"""Requests and replies, with a real broker: both clients, and TypeScript on the other side."""

import asyncio
import signal
import subprocess
import threading
import time
import unittest
from unittest import mock

from .support import PATIENCE, ROOT, BrokerCase, wait_for
from .test_aio import run
from hermes_mq import HermesError, aio, connect
from hermes_mq.calls import CANCEL, REQUEST, Call, CallCodec
from hermes_mq.codecs import json as json_codec
from hermes_mq.responder import Responder

SCRIPT = """
import { open } from '%s/dist/index.js'
const [url, name] = process.argv.slice(2)
const hermes = await open(url)
"""


def typescript(source, *arguments):
    return subprocess.Popen(
        ["node", "--input-type=module", "-", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ), (SCRIPT % ROOT) + source


class Head(unittest.TestCase):
    def test_it_is_that_of_the_specification(self):
        codec = CallCodec(json_codec)
        payload = codec.encode(Call(0x0102030405060708, 9, REQUEST, 1_700_000_000_000, b"[1]"))
        self.assertEqual(
            payload.hex(), "0807060504030201" "0900000000000000" "01000000" "00000000" "0068e5cf8b010000" + b"[1]".hex()
        )
        self.assertEqual(codec.decode(payload).body, b"[1]")
        for bad in (b"", payload[:31], payload[:16] + b"\x00" + payload[17:], payload[:16] + b"\x05" + payload[17:]):
            with self.assertRaises(HermesError) as caught:
                codec.decode(bad)
            self.assertEqual(caught.exception.code, "DECODE_FAILED")


class Calls(BrokerCase):
    def setUp(self):
        super().setUp()
        self.client = connect(self.broker.url)
        self.addCleanup(self.client.close)

    def responder(self, handler, **options):
        responder = self.client.responder(self.name, handler, **options)
        self.addCleanup(responder.close)
        return responder

    def requester(self, **options):
        requester = self.client.requester(self.name, **options)
        self.addCleanup(requester.close)
        return requester

    def test_each_reply_reaches_the_thread_that_asked(self):
        self.responder(lambda value, _: (time.sleep(0.001 * (value % 7)), value * 2)[1])
        asks = [self.requester(), self.requester()]
        wrong = []

        def work(index):
            for n in range(50):
                value = index * 1000 + n
                if asks[index % 2].request(value, PATIENCE) != value * 2:
                    wrong.append(value)

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.assertEqual((wrong, asks[0].pending, asks[1].pending), ([], 0, 0))

    def test_what_the_handler_raises_travels(self):
        def handler(value, _):
            if value == "hermes":
                raise HermesError("NOT_FOUND", "there is no such thing")
            raise KeyError("\ud800" + "x" * 5000)

        self.responder(handler)
        requester = self.requester()
        with self.refused("REQUEST_FAILED", "name", "code", "message"):
            requester.request("other", PATIENCE)
        with self.assertRaises(HermesError) as caught:
            requester.request("hermes", PATIENCE)
        self.assertEqual(
            caught.exception.details, {"name": "HermesError", "code": "NOT_FOUND", "message": "there is no such thing"}
        )

    def test_a_reply_that_can_not_be_sent_is_a_failure(self):
        self.responder(lambda value, _: float("nan") if value == 0 else "x" * value)
        requester = self.requester()
        for value in (0, 100_000):
            with self.refused("REQUEST_FAILED"):
                requester.request(value, PATIENCE)
        self.assertEqual(len(requester.request(60_000, PATIENCE)), 60_000)

    def test_a_request_that_is_late_is_told_to_its_handler_and_to_who_asked(self):
        cancelled, began = threading.Event(), threading.Event()

        def handler(_, context):
            began.set()
            if context.cancelled.wait(PATIENCE):
                cancelled.set()

        self.responder(handler)
        requester = self.requester(timeout=0.5)
        with self.refused("TIMED_OUT", "timeout"):
            requester.request(1)
        self.assertTrue(began.is_set())
        self.assertTrue(cancelled.wait(PATIENCE))
        self.assertEqual(requester.pending, 0)

    def test_no_responder_is_no_reply_and_an_old_request_is_not_handed_out(self):
        requester = self.requester()
        with self.refused("TIMED_OUT"):
            requester.request("old", 0.2)
        seen = []
        self.responder(lambda value, _: seen.append(value))
        requester.request("new", PATIENCE)
        self.assertEqual(seen, ["new"])

    def test_a_requester_that_is_closed_ends_its_waits(self):
        self.responder(lambda _, context: context.cancelled.wait(PATIENCE))
        requester = self.requester()
        failed = []

        def work():
            try:
                requester.request(1, PATIENCE)
            except HermesError as error:
                failed.append(error.code)

        thread = threading.Thread(target=work)
        thread.start()
        wait_for("the request", lambda: requester.pending == 1)
        requester.close()
        thread.join(PATIENCE)
        self.assertEqual(failed, ["CLOSED"])
        with self.refused("CLOSED"):
            requester.request(2)

    def test_a_requester_that_is_closed_tells_the_handlers(self):
        told = threading.Event()
        responder = self.responder(lambda _, context: context.cancelled.wait(PATIENCE) and told.set())
        requester = self.requester()
        thread = threading.Thread(target=lambda: self.assertRaises(HermesError, requester.request, 1, PATIENCE))
        thread.start()
        wait_for("the handler", lambda: responder.running == 1)
        requester.close()
        self.assertTrue(told.wait(PATIENCE))
        thread.join(PATIENCE)

    def test_a_handler_does_not_begin_while_its_responder_closes(self):
        taken, began = threading.Event(), []
        answer = Responder._answer

        def late(responder, job):
            taken.set()
            responder._stop.wait(PATIENCE)
            # (close() tells the handlers next)
            time.sleep(0.2)
            return answer(responder, job)

        def handler(_, context):
            began.append(context)
            context.cancelled.wait(PATIENCE)

        with mock.patch.object(Responder, "_answer", late):
            first = self.client.responder(self.name, handler)
            requester = self.requester()
            answers = []
            thread = threading.Thread(target=lambda: answers.append(requester.request(1, PATIENCE)))
            thread.start()
            self.assertTrue(taken.wait(PATIENCE))
            first.close()
        self.assertEqual(began, [])
        self.responder(lambda _, context: context.deliveries)
        thread.join(PATIENCE)
        self.assertEqual(answers, [1])

    def test_a_request_that_was_given_up_before_its_handler_began_is_passed_over(self):
        began = []

        def handler(value, context):
            began.append(value)
            return context.cancelled.wait(PATIENCE if value == "wait" else 0)

        self.responder(handler, concurrency=2)
        requester = self.requester()
        thread = threading.Thread(target=requester.request, args=("wait", PATIENCE))
        thread.start()
        wait_for("the handler", lambda: began == ["wait"])
        publish = requester._requests.publish
        publish(Call(7, 1, CANCEL, 0))
        # Once its handler has ended, the responder has seen the cancellation before it, too.
        publish(Call(requester._client, 1, CANCEL, 0))
        wait_for("the end of the handler", lambda: requester.pending == 0)
        publish(Call(7, 1, REQUEST, int((time.time() + PATIENCE) * 1000), b'"given up"'))
        self.assertEqual(requester.request("next", PATIENCE), False)
        self.assertEqual(began, ["wait", "next"])
        thread.join(PATIENCE)

    def test_a_responder_that_is_closed_in_the_middle_leaves_its_request_to_others(self):
        began = threading.Event()

        def stopped(_, context):
            began.set()
            context.cancelled.wait(PATIENCE)
            raise RuntimeError("not now")

        first = self.client.responder(self.name, stopped)
        requester = self.requester()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(requester.request(1, PATIENCE)))
        thread.start()
        self.assertTrue(began.wait(PATIENCE))
        first.close()
        self.responder(lambda _, context: context.deliveries)
        thread.join(PATIENCE)
        self.assertEqual(answers, [2])

    def test_a_responder_says_what_has_ended_it(self):
        responder = self.responder(lambda value, _: value)
        self.client.admin.delete_topic(f"{self.name}.requests", force=True)
        with self.assertRaises(HermesError) as caught:
            responder.wait(PATIENCE)
        self.assertIn(caught.exception.code, ("TOPIC_DELETED", "NOT_FOUND"))

    def test_wrong_options_are_refused(self):
        for code, work in (
            ("INVALID_NAME", lambda: self.client.requester("a/b")),
            ("INVALID_ARGUMENT", lambda: self.client.requester("x" * 101)),
            ("INVALID_ARGUMENT", lambda: self.client.requester("x", timeout=0)),
            ("INVALID_ARGUMENT", lambda: self.client.requester("x", max_payload_bytes=0)),
            ("INVALID_ARGUMENT", lambda: self.client.responder("x", None)),
            ("INVALID_ARGUMENT", lambda: self.client.responder("x", print, concurrency=0)),
        ):
            with self.refused(code):
                work()
        self.requester()
        with self.refused("CODEC_MISMATCH"):
            self.client.requester(self.name, request="text")

    def test_asks_a_responder_in_typescript(self):
        process, source = typescript(
            """
            const responder = await hermes.responder(name, (numbers, { deliveries }) => {
              if (numbers.length === 0) throw Object.assign(new RangeError('nothing to add'), { code: 'EMPTY' })
              return { sum: numbers.reduce((a, b) => a + b), deliveries }
            })
            console.log('ready')
            await new Promise((resolve) => process.once('SIGTERM', resolve))
            await hermes.close()
            """,
            self.broker.url,
            self.name,
        )
        self.addCleanup(process.stdout.close)
        process.stdin.write(source)
        process.stdin.close()
        self.assertEqual(process.stdout.readline(), "ready\n")
        requester = self.requester()
        self.assertEqual(requester.request([2, 3], PATIENCE), {"sum": 5, "deliveries": 1})
        with self.assertRaises(HermesError) as caught:
            requester.request([], PATIENCE)
        self.assertEqual(
            caught.exception.details, {"name": "RangeError", "code": "EMPTY", "message": "nothing to add"}
        )
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_answers_a_requester_in_typescript(self):
        self.responder(lambda value, _: value.upper(), request="text", reply="text")
        process, source = typescript(
            """
            const { text } = await import('%s/dist/index.js')
            const requester = await hermes.requester(name, { request: text, reply: text })
            console.log(await requester.request('schön', { timeoutMs: 30000 }))
            const late = await requester.request('a'.repeat(70000)).catch((error) => error.code)
            console.log(late)
            await hermes.close()
            """
            % ROOT,
            self.broker.url,
            self.name,
        )
        out, _ = process.communicate(source, timeout=PATIENCE)
        self.assertEqual(out.split(), ["SCHÖN", "PAYLOAD_TOO_LARGE"])

    def test_asyncio(self):
        async def main():
            async with aio.connect(self.broker.url) as client:
                cancelled = asyncio.Event()

                async def handler(value, context):
                    if value == "fail":
                        raise ValueError("bad")
                    if value == "hang":
                        await context.cancelled.wait()
                        cancelled.set()
                    return value

                async with client.responder(self.name, handler) as responder:
                    async with client.requester(self.name) as requester:
                        got = await asyncio.gather(*(requester.request(n, PATIENCE) for n in range(100)))
                        self.assertEqual(got, list(range(100)))
                        with self.refused("REQUEST_FAILED"):
                            await requester.request("fail", PATIENCE)
                        with self.refused("TIMED_OUT"):
                            await requester.request("hang", 0.3)
                        await asyncio.wait_for(cancelled.wait(), PATIENCE)
                        cancelled.clear()
                        task = asyncio.ensure_future(requester.request("hang", PATIENCE))
                        while responder.running == 0:
                            await asyncio.sleep(0.005)
                        task.cancel()
                        with self.assertRaises(asyncio.CancelledError):
                            await task
                        await asyncio.wait_for(cancelled.wait(), PATIENCE)
                        waiting = asyncio.ensure_future(requester.request("hang", PATIENCE))
                        while requester.pending == 0:
                            await asyncio.sleep(0.005)
                    with self.refused("CLOSED"):
                        await waiting

        run(main())

    def test_asyncio_what_is_given_up_or_closed_is_told_in_time(self):
        async def main():
            began = []
            answer = aio.Responder._answer
            taken = asyncio.Event()

            async def late(responder, job):
                taken.set()
                await responder._stop.wait()
                return await answer(responder, job)

            async def handler(value, context):
                began.append(value)
                if value in ("wait", 1):
                    await asyncio.wait_for(context.cancelled.wait(), PATIENCE)
                return context.deliveries

            async with aio.connect(self.broker.url) as client:
                requester = await client.requester(self.name)
                with mock.patch.object(aio.Responder, "_answer", late):
                    first = await client.responder(self.name, handler)
                    waiting = asyncio.ensure_future(requester.request(1, PATIENCE))
                    await taken.wait()
                    await first.close()
                self.assertEqual(began, [])
                async with client.responder(self.name, lambda value, context: context.deliveries):
                    self.assertEqual(await waiting, 1)
                async with client.responder(self.name, handler) as responder:
                    waiting = asyncio.ensure_future(requester.request("wait", PATIENCE))
                    while responder.running == 0:
                        await asyncio.sleep(0.005)
                    publish = requester._requests.publish
                    await publish(Call(7, 1, CANCEL, 0))
                    await publish(Call(requester._client, 2, CANCEL, 0))
                    await waiting
                    await publish(Call(7, 1, REQUEST, int((time.time() + PATIENCE) * 1000), b'"given up"'))
                    self.assertEqual(await requester.request("next", PATIENCE), 1)
                    self.assertEqual(began, ["wait", "next"])
                    waiting = asyncio.ensure_future(requester.request("wait", PATIENCE))
                    while responder.running == 0:
                        await asyncio.sleep(0.005)
                    await requester.close()
                    with self.refused("CLOSED"):
                        await waiting
                    while responder.running > 0:
                        await asyncio.sleep(0.005)

        run(main())


if __name__ == "__main__":
    unittest.main()
