"""Messages that a member of a group has claimed, and how they arrive."""

from struct import error as StructError
from typing import List, NamedTuple, Tuple
from zlib import crc32

from . import frames, packets
from .errors import protocol_error


class Claim(NamedTuple):
    """One message that was claimed. ``number`` is that of the claim, ``membership`` which one of this member's it was."""

    sequence: int
    timestamp_ns: int
    payload: bytes
    deliveries: int
    number: int
    membership: int


def read_messages(body: bytes) -> List[Tuple[int, int, bytes]]:
    """Sequence, time and payload of each frame of a MESSAGES or UNKEYED. What is wrong with one was damaged on the way."""
    found: List[Tuple[int, int, bytes]] = []
    size = len(body)
    at = packets.DELIVER_HEAD_BYTES
    unpack = frames.HEADER.unpack_from
    while at < size:
        try:
            magic, version, kind, _, sequence, timestamp, length, crc = unpack(body, at)
        except StructError as cause:
            raise protocol_error("The broker sent messages that are damaged.") from cause
        start = at + frames.HEADER_BYTES
        payload = body[start : start + length]
        if (
            magic != frames.MAGIC
            or version != 1
            or kind != frames.DATA
            or len(payload) != length
            or crc32(payload, crc32(body[at + 4 : at + 28])) != crc
        ):
            raise protocol_error("The broker sent messages that are damaged.")
        found.append((sequence, timestamp, payload))
        at = start + length + (-length & 7)
    return found
