"""A small reader of Hermes logs, written from docs/log-format.md alone.

It shares no code with Hermes and uses the standard library only. It is slow and strict: a byte that the specification
does not explain is an error.

    python3 log_reader.py <topic folder>        one JSON object per line: segments, messages, voids, padding, the end
"""

import json
import os
import re
import struct
import sys
import zlib

SEGMENT_MAGIC = 0x314745534D524548
CONTROL_MAGIC = 0x314C54434D524548
FRAME_MAGIC = 0x314D5248
CLAIM_TAG = 0xC1
SEGMENT_HEADER = 256
FRAME_HEADER = 32
DATA, PADDING, VOID = 1, 2, 3
RECORD_SALT = 0x48524D5350415245


class LogError(Exception):
    """The bytes are not what the specification says."""


def align8(n):
    return (n + 7) // 8 * 8


def read_control(folder):
    """The control file's fields, or None if there is none: it only holds what can be found out again."""
    path = os.path.join(folder, "control")
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        data = file.read()
    magic, version, size, segment_bytes, max_payload, slots, created_ns, topic_id, zero, crc = struct.unpack_from(
        "<QIIQIIQ16sII", data
    )
    if magic != CONTROL_MAGIC or version != 1:
        raise LogError("no control file of version 1")
    if size != len(data) or size != 40960 or zero != 0 or crc != zlib.crc32(data[:60]):
        raise LogError("the control file is damaged")
    (active,) = struct.unpack_from("<Q", data, 128)
    (first,) = struct.unpack_from("<Q", data, 256)
    positions = {}
    for name, offset in (("checkpoint", 512), ("synced", 640)):
        segment, at, sequence, check = struct.unpack_from("<QQQQ", data, offset)
        if segment != 0 and check == segment ^ at ^ sequence ^ RECORD_SALT:
            positions[name] = {"segment": segment, "offset": at, "sequence": sequence}
    return {
        "segmentBytes": segment_bytes,
        "maxPayload": max_payload,
        "slots": slots,
        "createdNs": created_ns,
        "topicId": topic_id.hex(),
        "active": active,
        "first": first,
        "closedInOrder": struct.unpack_from("<I", data, 912)[0] == 1,
        **positions,
    }


class Segment:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        if len(self.data) < SEGMENT_HEADER:
            raise LogError(f"{path} is too short")
        magic, version, header, number, topic_id, size, created_ns, zero, crc = struct.unpack_from("<QIIQ16sQQII", self.data)
        if magic != SEGMENT_MAGIC or version != 1 or header != SEGMENT_HEADER:
            raise LogError(f"{path} is no segment of version 1")
        if crc != zlib.crc32(self.data[:60]) or zero != 0:
            raise LogError(f"{path} has a damaged header")
        if size != len(self.data) or size % 4096 != 0 or number != int(os.path.basename(path)[:10]):
            raise LogError(f"{path} was truncated or renamed")
        self.number = number
        self.topic_id = topic_id
        self.created_ns = created_ns
        (self.base,) = struct.unpack_from("<Q", self.data, 64)

    def read(self, sequence):
        """Yields what stands in the segment; `sequence` is the one expected at its beginning, or None."""
        if sequence is not None and sequence != self.base:
            raise LogError(f"segment {self.number} begins with {self.base}, not {sequence}")
        sequence = self.base
        offset = SEGMENT_HEADER
        data = self.data
        yield {"kind": "segment", "number": self.number, "baseSequence": self.base, "bytes": len(data)}
        while len(data) - offset >= FRAME_HEADER:
            (word,) = struct.unpack_from("<Q", data, offset)
            if word == 0:
                yield self._end(offset, sequence)
                return
            if word & 0xFF == CLAIM_TAG:
                yield {
                    "kind": "claim",
                    "offset": offset,
                    "sequence": sequence,
                    "slot": word >> 8 & 0x3FF,
                    "count": word >> 18 & 0xFFFF,
                    "bytes": (word >> 34 & 0x7FFFFFF) * 8,
                }
                return
            magic, version, kind, flags, found, timestamp_ns, length, crc = struct.unpack_from("<IBBHQQII", data, offset)
            span = align8(FRAME_HEADER + length)
            if magic != FRAME_MAGIC or version != 1 or offset + span > len(data):
                raise LogError(f"damage at {offset} of segment {self.number}")
            body = offset + FRAME_HEADER
            payload = data[body : body + length]
            covered = {DATA: payload, PADDING: b"", VOID: payload[:8]}.get(kind)
            if covered is None:
                raise LogError(f"unknown frame type {kind} at {offset}")
            if crc != zlib.crc32(covered, zlib.crc32(data[offset + 4 : offset + 28])):
                raise LogError(f"wrong CRC at {offset} of segment {self.number}")
            if found != sequence:
                raise LogError(f"sequence {found} at {offset} of segment {self.number}, not {sequence}")
            frame = {"offset": offset, "sequence": sequence, "timestampNs": timestamp_ns, "bytes": span}
            offset += span
            if kind == DATA:
                if any(data[body + length : offset]):
                    raise LogError(f"the bytes behind the payload of message {sequence} are not zero")
                yield {"kind": "message", **frame, "payload": payload.hex()}
                sequence += 1
            elif kind == VOID:
                count, reason = struct.unpack_from("<II", payload) if length >= 8 else (1, 0)
                yield {"kind": "void", **frame, "count": count, "reason": reason}
                sequence += count
            else:
                if offset != len(data):
                    raise LogError(f"padding that does not end with segment {self.number}")
                yield {"kind": "padding", **frame}
        yield {"kind": "full", "number": self.number, "sequence": sequence}

    def _end(self, offset, sequence):
        if any(self.data[offset:]):
            raise LogError(f"bytes behind the end of the log in segment {self.number}")
        return {"kind": "end", "number": self.number, "offset": offset, "sequence": sequence}


def segments_of(folder):
    names = sorted(name for name in os.listdir(folder) if re.fullmatch(r"\d{10}\.seg", name))
    return [os.path.join(folder, name) for name in names]


def read_log(folder):
    """Yields everything in a topic's folder, in order, as dictionaries."""
    control = read_control(folder)
    sequence = None
    topic_id = bytes.fromhex(control["topicId"]) if control else None
    previous = None
    for path in segments_of(folder):
        segment = Segment(path)
        if topic_id not in (None, segment.topic_id):
            raise LogError(f"{path} belongs to another topic")
        topic_id = segment.topic_id
        if control and segment.number < control["first"]:
            continue
        if segment.base == 0:  # prepared, not in use
            if any(segment.data[SEGMENT_HEADER:]):
                raise LogError(f"bytes in segment {segment.number}, which is not in use")
            continue
        if previous is not None and segment.number != previous + 1:
            raise LogError(f"segment {previous + 1} is missing")
        previous = segment.number
        for item in segment.read(sequence):
            yield item
            sequence = item.get("sequence", sequence)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        control = read_control(sys.argv[1])
        if control:
            print(json.dumps({"kind": "control", **control}))
        for item in read_log(sys.argv[1]):
            print(json.dumps(item))
    except LogError as error:
        print(f"log_reader: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
