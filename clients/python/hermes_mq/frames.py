"""The 32-byte frame: the same bytes lie in the log, travel on TCP and are read by every client. docs/log-format.md specifies it."""

from struct import Struct
from typing import NamedTuple
from zlib import crc32

HEADER_BYTES = 32
DATA = 1
VOID = 3

MAGIC = b"HRM1"
#: magic, version, type, flags, sequence, timestamp, payload length, CRC
HEADER = Struct("<4sBBHQQII")
#: What the checksum covers of the header: bytes 4 to 27.
CHECKED = Struct("<BBHQQI")
U32 = Struct("<I")
#: The zeros behind a payload, by its length modulo 8.
PADDING = tuple(bytes(-length % 8) for length in range(8))


def frame_bytes(payload_length: int) -> int:
    """The bytes that a frame takes with its header and its padding."""
    return HEADER_BYTES + payload_length + (-payload_length % 8)


def data_frame(payload: bytes, number: int, sequence: int = 0) -> bytes:
    """A data frame as publishers send it."""
    length = len(payload)
    head = CHECKED.pack(1, DATA, 0, sequence, number, length)
    # (the fastest way of putting bytes together)
    return b"%b%b%b%b%b" % (MAGIC, head, U32.pack(crc32(payload, crc32(head))), payload, PADDING[length & 7])


class FrameHead(NamedTuple):
    """What a reader needs to know of a frame."""

    kind: int
    sequence: int
    timestamp_ns: int
    length: int
    crc: int


class DamagedFrame(Exception):
    """The bytes are no whole, valid frame. ``size`` is what its header says that it takes; 0 = not known."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size


def read_head(bytes_: bytes, at: int, max_payload: int) -> FrameHead:
    """Reads and checks the head of the frame at ``at``. Raises DamagedFrame."""
    if at + HEADER_BYTES > len(bytes_):
        raise DamagedFrame(0)
    magic, version, kind, _flags, sequence, timestamp, length, crc = HEADER.unpack_from(bytes_, at)
    if magic != MAGIC:
        raise DamagedFrame(0)
    end = at + frame_bytes(length)
    size = end - at if end <= len(bytes_) else 0
    if size == 0 or version != 1 or (kind != DATA and kind != VOID) or (kind == DATA and length > max_payload):
        raise DamagedFrame(size)
    return FrameHead(kind, sequence, timestamp, length, crc)


def checksum(bytes_: bytes, at: int, head: FrameHead) -> int:
    """The checksum that the frame should carry: over its payload if it's data, at most 8 bytes of it if it's void."""
    covered = head.length if head.kind == DATA else min(head.length, 8)
    start = at + HEADER_BYTES
    return crc32(bytes_[start : start + covered], crc32(bytes_[at + 4 : at + 28]))


def void_count(bytes_: bytes, at: int, length: int) -> int:
    """How many sequences a void frame stands for."""
    count: int = U32.unpack_from(bytes_, at + HEADER_BYTES)[0] if length >= 8 else 1
    return count
