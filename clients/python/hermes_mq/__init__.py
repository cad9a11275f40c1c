"""Client of the Hermes message broker: publish, subscribe and replay over TCP and TLS.

``connect()`` is the synchronous client, ``hermes_mq.aio.connect()`` that for asyncio.

```python
import hermes_mq

with hermes_mq.connect("tcp://127.0.0.1:9000") as client:
    topic = client.topic("greetings", "text")
    with topic.publisher() as publisher:
        publisher.publish("hello")
    for message in topic.replay():
        print(message.sequence, message.value)
```
"""

from . import aio
from .client import Client, Topic, connect
from .codecs import Codec, custom, json, raw, text
from .errors import ERROR_CODES, HermesError
from .group import Group, Job
from .publisher import Publisher
from .requester import Requester
from .responder import RequestContext, Responder
from .structs import StructCodec, struct
from .subscriber import Subscriber
from .types import CodecInfo, Message, Receipt, Retention, Status, TopicInfo, Watermarks
from .version import __version__

__all__ = [
    "ERROR_CODES",
    "Client",
    "Codec",
    "CodecInfo",
    "Group",
    "HermesError",
    "Job",
    "Message",
    "Publisher",
    "Receipt",
    "RequestContext",
    "Requester",
    "Responder",
    "Retention",
    "Status",
    "StructCodec",
    "Subscriber",
    "Topic",
    "TopicInfo",
    "Watermarks",
    "__version__",
    "aio",
    "connect",
    "custom",
    "json",
    "raw",
    "struct",
    "text",
]
