"""Packets and frames against the golden vectors, both ways, and against bytes that are none."""

import json
import random
import unittest
from zlib import crc32

from .support import refused, vectors
from hermes_mq import HermesError, claims, frames, member, membership, packets, settlements
from hermes_mq.compression import Deflater
from hermes_mq.packets import DeliverHead, PacketReader, Run

#: Types whose packets a client sends.
FROM_CLIENT = {
    packets.HELLO,
    packets.CLOSE,
    packets.REQUEST,
    packets.OPEN_PUBLISHER,
    packets.PUBLISH,
    packets.SYNC,
    packets.SUBSCRIBE,
    packets.CREDIT,
    packets.SEEK,
    packets.JOIN,
    packets.DEMAND,
    packets.SETTLE,
    packets.ASK,
    packets.KEYS,
    packets.COMMIT,
}


def read(data, from_server, max_body=2**24, step=None, compression=False):
    got = []
    reader = PacketReader(lambda *packet: got.append(packet), max_body, from_server=from_server)
    reader.compression = compression
    for at in range(0, len(data), step or len(data)):
        reader.push(data[at : at + (step or len(data))])
    return got, reader


def payloads_of(data):
    """The messages and the voids in back-to-back frames."""
    found = []
    at = 0
    while at < len(data):
        head = frames.read_head(data, at, 65_536)
        assert frames.checksum(data, at, head) == head.crc
        payload = data[at + 32 : at + 32 + head.length]
        found.append((head.kind, head.sequence, head.timestamp_ns, payload))
        at += frames.frame_bytes(head.length)
    return found


class GoldenPackets(unittest.TestCase):
    def setUp(self):
        self.vectors = vectors()

    def test_the_preamble_is_the_golden_one(self):
        self.assertEqual(packets.PREAMBLE.hex(), self.vectors["preambleHex"])

    def test_every_packet_is_read_as_what_it_is(self):
        for vector in self.vectors["packets"]:
            with self.subTest(vector["name"]):
                data = bytes.fromhex(vector["hex"])
                for step in (None, 1, 7):
                    got, reader = read(data, vector["type"] not in FROM_CLIENT, step=step)
                    self.assertEqual(len(got), 1)
                    kind, channel, body = got[0]
                    self.assertEqual((kind, channel), (vector["type"], vector["channel"]))
                    self.assertEqual(reader.pending_bytes, 0)
                self._check_body(vector, body)

    def _check_body(self, vector, body):
        kind = vector["type"]
        if "json" in vector:
            self.assertEqual(packets.parse_json(body), vector["json"])
        elif "runs" in vector:
            runs = [Run(int(first), count, sequence) for first, count, sequence in vector["runs"]]
            self.assertEqual(packets.read_ack(body), runs)
        elif kind == packets.DELIVER:
            head = packets.read_deliver_head(body)
            wanted = [vector[key] for key in ("epoch", "messages", "sequence", "endSequence", "nextSequence")]
            self.assertEqual(list(head), wanted)
            found = payloads_of(body[32:])
            texts = [payload.decode() for frame, _, _, payload in found if frame == frames.DATA]
            self.assertEqual(texts, vector["payloads"])
            self.assertEqual([sequence for _, sequence, _, _ in found], [43, 44, 45])
            self.assertEqual(frames.void_count(body, 32 + 88, 8), 3)
        elif kind in (packets.MESSAGES, packets.UNKEYED):
            found = claims.read_messages(body)
            self.assertEqual([payload.decode() for _, _, payload in found], vector["payloads"])
            self.assertEqual(list(member._HEAD.unpack_from(body))[:5], [vector[key] for key in ("epoch", "messages", "deliveries", "number", "ordinal")])
        elif kind == packets.CREDIT:
            self.assertEqual(int.from_bytes(body, "little"), int(vector["value"]))
        elif "value" in vector:
            self.assertEqual(packets.read_u64(body), int(vector["value"]))

    def test_every_packet_is_written_byte_for_byte(self):
        for vector in self.vectors["packets"]:
            with self.subTest(vector["name"]):
                self.assertEqual(self._written(vector).hex(), vector["hex"])

    def _written(self, vector):
        kind, channel = vector["type"], vector["channel"]
        if "json" in vector:
            return packets.json_packet(kind, channel, vector["json"])
        if "runs" in vector:
            return packets.ack_packet(channel, [Run(int(first), count, at) for first, count, at in vector["runs"]])
        if kind == packets.CREDIT:
            return packets.credit_packet(channel, int(vector["value"]))
        if "value" in vector:
            return packets.u64_packet(kind, channel, int(vector["value"]))
        if kind == packets.PUBLISH:
            first = int(vector["first"])
            batch = b"".join(frames.data_frame(text.encode(), first + n) for n, text in enumerate(vector["payloads"]))
            head = packets.publish_head(int(vector["acked"]), len(vector["payloads"]))
            return packets.publish_start(channel, head, len(batch)) + batch
        if kind == packets.DELIVER:
            # (frames of the log are made by brokers alone)
            body = bytes.fromhex(vector["hex"])[16:]
            return packets.deliver_packet(channel, packets.read_deliver_head(body), body[32:])
        if kind in (packets.MESSAGES, packets.UNKEYED):
            # (brokers alone make them)
            body = bytes.fromhex(vector["hex"])[16:]
            head = packets.DeliverHead(*packets._DELIVER_HEAD.unpack_from(body))
            packed = packets._HEAD.pack(len(body), kind, 0, 0, channel)
            return packed + packets._CRC.pack(crc32(packets._DELIVER_HEAD.pack(*head), crc32(packed))) + body
        if kind == packets.DEMAND:
            return packets.packet(kind, channel, membership._DEMAND.pack(vector["taken"], vector["limit"], vector["epoch"], 0))
        if kind == packets.SETTLE:
            entries = [
                (first, count, deliveries, number, ("done", "returned", "released").index(outcome), delay % 2**32, 0)
                for first, count, deliveries, number, outcome, delay in vector["entries"]
            ]
            body = settlements._SETTLE_HEAD.pack(vector["settle"], vector["answered"])
            return packets.packet(kind, channel, body + b"".join(settlements._SETTLE_ENTRY.pack(*entry) for entry in entries))
        if kind == packets.SETTLED:
            body = packets._U64.pack(vector["settle"]) + b"".join(settlements._PAIR.pack(*pair) for pair in vector["late"])
            return packets.packet(kind, channel, body)
        if kind == packets.KEYS:
            return packets.packet(kind, channel, b"".join(packets._U32.pack(key) for key in vector["keys"]))
        return packets.packet(kind, channel)

    def test_packets_are_cut_out_of_a_stream_at_any_place(self):
        stream = b"".join(bytes.fromhex(one["hex"]) for one in self.vectors["packets"] if one["type"] not in FROM_CLIENT)
        whole, _ = read(stream, True)
        self.assertGreater(len(whole), 8)
        for seed in range(20):
            chooser = random.Random(seed)
            got = []
            reader = PacketReader(lambda *packet, got=got: got.append(packet), 2**24)
            at = 0
            while at < len(stream):
                size = chooser.choice((1, 3, 16, 100, 1000))
                reader.push(stream[at : at + size])
                at += size
            self.assertEqual(got, whole)


class CompressedPackets(unittest.TestCase):
    def setUp(self):
        content = vectors()
        self.plain = {one["name"]: bytes.fromhex(one["hex"]) for one in content["packets"]}
        self.compressed = {one["name"]: bytes.fromhex(one["hex"]) for one in content["compressed"]}

    def test_they_are_handed_out_as_if_they_had_come_as_they_are(self):
        self.assertEqual(set(self.compressed), {"PUBLISH", "DELIVER"})
        for name, data in self.compressed.items():
            wanted, _ = read(self.plain[name], name == "DELIVER")
            for step in (None, 1):
                got, _ = read(data, name == "DELIVER", compression=True, step=step)
                self.assertEqual(got, wanted)

    def test_they_are_refused_where_nobody_has_agreed(self):
        for name, data in self.compressed.items():
            with refused(self, "PROTOCOL"):
                read(data, name == "DELIVER")
        with refused(self, "PROTOCOL"):
            read(b"\x08\0\0\0\x03\x01\0\0" + bytes(16), True, compression=True)

    def test_what_is_compressed_comes_back(self):
        body = self.plain["PUBLISH"][16:]
        frames_ = body[16:] * 50
        stream = Deflater().deflate(frames_)
        made = packets.compressed_packet(packets.PUBLISH, 3, body[:16], len(frames_), stream)
        self.assertLess(len(made), len(frames_) // 4)
        self.assertEqual(read(made, False, compression=True)[0], [(packets.PUBLISH, 3, body[:16] + frames_)])

    def test_what_does_not_shrink_goes_as_it_is_for_a_while(self):
        deflater = Deflater()
        noise = random.Random(1).getrandbits(8 * 4096).to_bytes(4096, "little")
        self.assertIsNone(deflater.deflate(bytes(1000)))
        self.assertIsNone(deflater.deflate(noise))
        self.assertEqual([deflater.deflate(bytes(4096)) is None for _ in range(16)], [True] * 15 + [False])

    def test_streams_that_lie_are_refused(self):
        head = bytes(16)
        sound = Deflater().deflate(bytes(4096))
        for length, stream, code in (
            (4088, sound, "PROTOCOL"),
            (4104, sound, "PROTOCOL"),
            (0, sound, "PROTOCOL"),
            (4095, sound, "PROTOCOL"),
            (2**20 + 8, sound, "LIMIT"),
            (2**32 - 8, sound, "LIMIT"),
            (4096, sound[:-1], "PROTOCOL"),
            (4096, sound + b"x", "PROTOCOL"),
            (4096, b"\xff" * 20, "PROTOCOL"),
            # A bomb: a mebibyte of zeros, said to be little.
            (4096, Deflater().deflate(bytes(2**20)), "PROTOCOL"),
        ):
            with self.subTest(length=length, stream=stream[:8]), refused(self, code):
                read(packets.compressed_packet(packets.PUBLISH, 1, head, length, stream), False, compression=True)


class BytesThatAreNoPackets(unittest.TestCase):
    def test_a_flipped_bit_anywhere_in_what_is_checked_is_refused(self):
        for vector in vectors()["packets"]:
            data = bytes.fromhex(vector["hex"])
            checked = {packets.PUBLISH: 32, packets.DELIVER: 48, packets.MESSAGES: 48, packets.UNKEYED: 48}.get(vector["type"], len(data))
            from_server = vector["type"] not in FROM_CLIENT
            for at in range(checked):
                for bit in range(8):
                    broken = bytearray(data)
                    broken[at] ^= 1 << bit
                    try:
                        got, reader = read(bytes(broken), from_server)
                    except HermesError as error:
                        self.assertIn(error.code, ("PROTOCOL", "LIMIT"))
                        continue
                    # A larger length is a packet whose rest has not arrived.
                    self.assertEqual(got, [])
                    self.assertLess(at, 4)

    def test_an_absurd_length_is_refused_before_anything_is_set_aside(self):
        head = (2**31).to_bytes(4, "little") + bytes([packets.DELIVER, 0, 0, 0]) + bytes(8)
        with refused(self, "LIMIT", "most"):
            read(head, True, max_body=2**20)

    def test_lengths_that_a_type_cannot_have_are_refused(self):
        for kind, length in ((packets.PING, 7), (packets.ACK, 25), (packets.DELIVER, 33), (packets.TAIL, 0)):
            with refused(self, "PROTOCOL"):
                read(length.to_bytes(4, "little") + bytes([kind, 0, 0, 0]) + bytes(8), True)

    def test_types_of_the_wrong_side_and_unknown_ones_are_refused(self):
        for kind in (0, 11, packets.HELLO, packets.PUBLISH, packets.SUBSCRIBE, 255):
            with refused(self, "PROTOCOL"):
                read(packets.packet(kind, 0, bytes(8)), True)

    def test_nothing_is_handed_out_after_a_stop(self):
        got = []

        def handler(*packet):
            got.append(packet)
            reader.stop()

        reader = PacketReader(handler)
        reader.push(packets.u64_packet(packets.PING, 0, 1) * 3)
        self.assertEqual(len(got), 1)

    def test_json_that_is_none_is_refused(self):
        for body in (b"", b"[]", b"1", b"{", b'{"a":\xff}', b"[" * 100_000, b'"x"'):
            with refused(self, "PROTOCOL"):
                packets.parse_json(body)

    def test_fields_of_another_kind_are_refused(self):
        fields = json.loads('{"text":"long","number":1.5,"flag":true,"decimal":"18446744073709551616","minus":"-1","other":"\u0663"}')
        for check in (
            lambda: packets.text_field(fields, "text", 3),
            lambda: packets.text_field(fields, "number", 3),
            lambda: packets.integer_field(fields, "number", 0),
            lambda: packets.integer_field(fields, "flag", 0),
            lambda: packets.integer_field(fields, "missing", 0),
            lambda: packets.decimal_field(fields, "decimal"),
            lambda: packets.decimal_field(fields, "minus"),
            lambda: packets.decimal_field(fields, "other"),
            lambda: packets.object_field(fields, "text"),
            lambda: packets.runs_field({"runs": [["1", 0, 1]]}, "runs"),
            lambda: packets.runs_field({"runs": [["1", 1]]}, "runs"),
        ):
            with refused(self, "PROTOCOL"):
                check()

    def test_sequences_beyond_the_exact_numbers_are_refused(self):
        with refused(self, "PROTOCOL"):
            packets.read_sequence((2**53).to_bytes(8, "little"))
        head = DeliverHead(0, 0, 1, 2**53, 1)
        with refused(self, "PROTOCOL"):
            packets.read_deliver_head(packets.deliver_packet(1, head, b"")[16:])


class BytesThatAreNoFrames(unittest.TestCase):
    def test_a_flipped_bit_in_a_frame_does_not_go_unseen(self):
        frame = frames.data_frame(b"some payload", 1234, 7)
        for at in range(32 + 12):
            for bit in range(8):
                broken = bytearray(frame)
                broken[at] ^= 1 << bit
                try:
                    head = frames.read_head(bytes(broken), 0, 65_536)
                except frames.DamagedFrame:
                    continue
                self.assertNotEqual(frames.checksum(bytes(broken), 0, head), head.crc, (at, bit))

    def test_a_frame_takes_whole_words(self):
        self.assertEqual([frames.frame_bytes(length) for length in (0, 1, 7, 8, 9)], [32, 40, 40, 40, 48])
        for length in range(20):
            self.assertEqual(len(frames.data_frame(bytes(length), 1)), frames.frame_bytes(length))


if __name__ == "__main__":
    unittest.main()
