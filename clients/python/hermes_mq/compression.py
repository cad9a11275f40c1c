"""Compressed frames of PUBLISH and DELIVER: what is compressed, and what is believed of a compressed packet."""

from struct import Struct
from typing import Optional
from zlib import DEFLATED, MAX_WBITS, Z_BEST_SPEED, compressobj, decompressobj, error as ZlibError

from .errors import HermesError, protocol_error

#: Frames of one compressed packet, in bytes: what its receiver has to make room for, whatever the few bytes that have arrived say.
MOST_INFLATED_BYTES = 1024 * 1024
#: Below this many bytes compressing costs more than it saves.
_LEAST_DEFLATED_BYTES = 1024
#: After frames that did not get smaller, this many packets go as they are: such data seldom comes alone.
_REST_PACKETS = 15

_U32 = Struct("<I")


def inflated(body: bytes, head: int) -> bytes:
    """The body of a packet whose frames behind its first ``head`` bytes are compressed, as it is without. Raises HermesError LIMIT or PROTOCOL."""
    length: int = _U32.unpack_from(body, head)[0]
    if length > MOST_INFLATED_BYTES:
        raise HermesError(
            "LIMIT",
            f"A packet holds {length} bytes of compressed frames; {MOST_INFLATED_BYTES} are allowed.",
            {"most": MOST_INFLATED_BYTES},
        )
    if length == 0 or length % 8 != 0:
        raise protocol_error(f"Frames can't have {length} bytes.")
    inflater = decompressobj(-MAX_WBITS)
    try:
        # One byte more than there should be, so that too many are seen.
        frames = inflater.decompress(body[head + 4 :], length + 1)
    except ZlibError as cause:
        raise protocol_error("The compressed frames of a packet can't be read.") from cause
    if len(frames) != length or not inflater.eof or inflater.unused_data:
        raise protocol_error(f"A packet holds other frames than the {length} bytes that it says.")
    return body[:head] + frames


class Deflater:
    """Decides what of one connection's output is compressed, and does it."""

    def __init__(self) -> None:
        self._rest = 0

    def deflate(self, frames: bytes) -> Optional[bytes]:
        """The compressed frames; None if they should travel as they are."""
        if not _LEAST_DEFLATED_BYTES <= len(frames) <= MOST_INFLATED_BYTES:
            return None
        if self._rest > 0:
            self._rest -= 1
            return None
        deflater = compressobj(Z_BEST_SPEED, DEFLATED, -MAX_WBITS)
        stream = deflater.compress(frames) + deflater.flush()
        if len(stream) + 4 < len(frames) - len(frames) // 8:
            return stream
        self._rest = _REST_PACKETS
        return None
