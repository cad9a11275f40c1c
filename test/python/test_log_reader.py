"""Checks the independent reader against a committed log and, where it is built, against the native core's own words."""

import os
import shutil
import struct
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(__file__))

import log_reader  # noqa: E402

VECTORS = os.path.join(os.path.dirname(__file__), "..", "vectors", "log-v1")
MASK = (1 << 64) - 1


def expected_payload(producer, number, length):
    """What the native tests write as message `number` of `producer`."""
    state = (producer * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 1) & MASK
    out = bytearray()
    for _ in range(length):
        state ^= state << 13 & MASK
        state ^= state >> 7
        state ^= state << 17 & MASK
        out.append(state >> 32 & 0xFF)
    if length >= 16:
        out[:16] = struct.pack("<QQ", producer, number)
    return bytes(out)


class TheCommittedLog(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.items = list(log_reader.read_log(VECTORS))
        cls.messages = [item for item in cls.items if item["kind"] == "message"]

    def test_has_every_message_byte_for_byte(self):
        lengths = [0, 1, 7, 8, 9, 31, 32, 33, 63, 64, 100, 255, 1000, 4000, 16000, 20, 21, 22, 23, 24]
        lengths += [None, None, 16000, 16000, None, 15000, 15000, 15000, 15000, 15000, 10]
        self.assertEqual([m["sequence"] for m in self.messages], [s for s in range(1, 32) if s not in (12, 21, 22)])
        for m in self.messages:
            payload = bytes.fromhex(m["payload"])
            if lengths[m["sequence"] - 1] is not None:
                self.assertEqual(len(payload), lengths[m["sequence"] - 1])
            self.assertEqual(payload, expected_payload(1, m["sequence"], len(payload)))

    def test_has_a_batch_with_one_time(self):
        self.assertEqual(len({m["timestampNs"] for m in self.messages if 16 <= m["sequence"] <= 20}), 1)

    def test_has_a_void_for_each_hole(self):
        voids = [(v["sequence"], v["count"], v["reason"], v["bytes"]) for v in self.items if v["kind"] == "void"]
        self.assertEqual(voids, [(12, 1, 2, 288), (21, 2, 1, 104)])

    def test_ends_segments_with_and_without_padding(self):
        shape = [(i["kind"], i.get("number")) for i in self.items if i["kind"] in ("segment", "padding", "full", "end")]
        self.assertEqual(
            shape,
            [("segment", 1), ("full", 1), ("segment", 2), ("padding", None), ("full", 2), ("segment", 3), ("end", 3)],
        )
        last = [i for i in self.items if i["kind"] == "message" and i["sequence"] == 25][0]
        self.assertEqual(last["offset"] + last["bytes"], 65536 - 24)

    def test_agrees_with_the_control_file(self):
        control = log_reader.read_control(VECTORS)
        end = self.items[-1]
        self.assertEqual(control["active"], 3)
        self.assertEqual(control["first"], 1)
        self.assertTrue(control["closedInOrder"])
        self.assertEqual(
            control["checkpoint"], {"segment": 3, "offset": end["offset"], "sequence": end["sequence"]}
        )

    def test_keeps_the_damaged_bytes_in_quarantine(self):
        with open(os.path.join(VECTORS, "quarantine", "0000000001-%d.bin" % self.offset_of_void(12)), "rb") as file:
            kept = file.read()
        self.assertEqual(len(kept), 288)
        wrong = [i for i, (a, b) in enumerate(zip(kept[32:287], expected_payload(1, 12, 255))) if a != b]
        self.assertEqual(wrong, [3])

    def offset_of_void(self, sequence):
        return [v["offset"] for v in self.items if v["kind"] == "void" and v["sequence"] == sequence][0]


class DamagedLogs(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.log = os.path.join(self.folder, "log")
        shutil.copytree(VECTORS, self.log)

    def tearDown(self):
        shutil.rmtree(self.folder)

    def change(self, name, offset, value):
        with open(os.path.join(self.log, name), "r+b") as file:
            file.seek(offset)
            file.write(value)

    def assert_refused(self, why):
        with self.assertRaisesRegex(log_reader.LogError, why):
            list(log_reader.read_log(self.log))

    def test_a_changed_payload_is_refused(self):
        self.change("0000000001.seg", 256 + 32 + 32, b"\xff")
        self.assert_refused("wrong CRC")

    def test_a_changed_header_is_refused(self):
        self.change("0000000001.seg", 256 + 8, b"\x02")
        self.assert_refused("wrong CRC")

    def test_a_foreign_first_word_is_refused(self):
        self.change("0000000001.seg", 256, b"\x01")
        self.assert_refused("damage")

    def test_a_truncated_segment_is_refused(self):
        os.truncate(os.path.join(self.log, "0000000002.seg"), 8192)
        self.assert_refused("truncated")

    def test_a_missing_segment_is_refused(self):
        os.remove(os.path.join(self.log, "0000000002.seg"))
        self.assert_refused("missing")

    def test_bytes_behind_the_end_are_refused(self):
        self.change("0000000003.seg", 60000, b"x")
        self.assert_refused("behind the end")

    def test_a_claim_ends_the_log(self):
        end = list(log_reader.read_log(self.log))[-1]
        self.change("0000000003.seg", end["offset"], struct.pack("<Q", 0xC1 | 7 << 8 | 1 << 18 | 5 << 34))
        self.assertEqual(
            list(log_reader.read_log(self.log))[-1],
            {"kind": "claim", "offset": end["offset"], "sequence": 32, "slot": 7, "count": 1, "bytes": 40},
        )

    def test_the_log_is_readable_without_its_control_file(self):
        os.remove(os.path.join(self.log, "control"))
        self.assertEqual(len([i for i in log_reader.read_log(self.log) if i["kind"] == "message"]), 28)


if __name__ == "__main__":
    unittest.main()
