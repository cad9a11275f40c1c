"""The greeting: what the client offers with HELLO, and what it takes of the broker's WELCOME."""

import platform
from typing import Any, Dict, List, NamedTuple

from . import packets
from .errors import protocol_error
from .options import Settings
from .packets import Fields
from .version import __version__


class Welcome(NamedTuple):
    server: str
    #: In seconds.
    heartbeat: float
    #: The largest body of a packet, in bytes.
    max_packet: int
    #: Whether frames may be compressed.
    compresses: bool
    #: Whether the broker has groups for its clients.
    has_groups: bool


def hello(settings: Settings) -> Dict[str, Any]:
    content: Dict[str, Any] = {
        "versions": [packets.PROTOCOL_VERSION, packets.PROTOCOL_VERSION],
        "features": _offered(settings),
        "client": f"hermes-mq/{__version__} python/{platform.python_version()}",
    }
    if settings.token is not None:
        content["token"] = settings.token
    return content


def read_welcome(fields: Fields, settings: Settings) -> Welcome:
    """Raises HermesError PROTOCOL."""
    offered = _offered(settings)
    features = fields.get("features")
    if not isinstance(features, list) or not all(one in offered for one in features):
        raise protocol_error(f"The field 'features' should be some of those that were offered: {', '.join(offered)}.")
    packets.integer_field(fields, "version", 1, 1)
    server = packets.text_field(fields, "server", 200)
    heartbeat = packets.integer_field(fields, "heartbeatMs", 10, 3_600_000) / 1000
    limits = packets.object_field(fields, "limits")
    max_packet = packets.integer_field(limits, "maxPacketBytes", 1024, packets.MOST_PACKET_BYTES)
    packets.integer_field(limits, "maxBatchBytes", 64, 2**30)
    packets.integer_field(limits, "maxChannels", 1)
    return Welcome(server, heartbeat, max_packet, packets.DEFLATE in features, packets.GROUPS in features)


def _offered(settings: Settings) -> List[str]:
    return [packets.DEFLATE, packets.GROUPS] if settings.compression == "deflate" else [packets.GROUPS]
