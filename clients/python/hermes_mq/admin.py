"""Looking after topics and groups: what ``client.admin`` does, for both clients. Descriptions of groups are as docs/api.md has them."""

from typing import Any, Callable, Dict, List, Optional

from .aio_driver import Driver as AioDriver
from .codecs import checked_codec
from .driver import Driver
from .errors import invalid, protocol_error
from .request import Request
from .options import check_flag, check_topic_name, retention_to_wire, topic_settings
from .packets import Fields
from .surface import description, with_codec
from .types import From, Retention, TopicInfo, from_to_wire


def creation(
    topic: str, codec: Any, segment_bytes: Optional[int], max_payload_bytes: Optional[int], retention: Optional[Retention]
) -> Fields:
    check_topic_name(topic)
    settings = topic_settings(True, segment_bytes, max_payload_bytes, retention)
    return {"op": "create-topic", "topic": topic, "settings": with_codec(checked_codec(codec), settings)}


def alteration(topic: str, retention: Retention) -> Fields:
    check_topic_name(topic)
    if not isinstance(retention, Retention):
        raise invalid("'retention' must be a hermes_mq.Retention.")
    return {"op": "alter-topic", "topic": topic, "retention": retention_to_wire(retention)}


def deletion(topic: str, force: bool) -> Fields:
    check_topic_name(topic)
    check_flag("force", force)
    return {"op": "delete-topic", "topic": topic, "force": force}


def of_group(op: str, topic: str, group: str, **more: Any) -> Fields:
    check_topic_name(topic)
    check_topic_name(group)
    if "force" in more:
        check_flag("force", more["force"])
    return {"op": op, "topic": topic, "group": group, **more}


def groups_in(request: Request) -> List[Dict[str, Any]]:
    groups = (request.reply or {}).get("groups")
    if not isinstance(groups, list) or not all(isinstance(one, dict) for one in groups):
        raise protocol_error("The broker sent no list of groups.")
    return groups


def group_in(request: Request) -> Dict[str, Any]:
    group = (request.reply or {}).get("group")
    if not isinstance(group, dict):
        raise protocol_error("The broker sent no description of the group.")
    return group


def sequence_in(request: Request) -> int:
    sequence = (request.reply or {}).get("sequence")
    if type(sequence) is not int:
        raise protocol_error("The broker did not say where the group is now.")
    return sequence


def groups_of(topic: str) -> Fields:
    check_topic_name(topic)
    return {"op": "groups", "topic": topic}


class Administration:
    """Makes, alters and deletes topics, and looks after groups. Needs an access entry with "administer"; to list and describe groups, the right to subscribe."""

    def __init__(self, driver: Driver) -> None:
        self._ask: Callable[[Fields], Request] = driver.request

    def create_topic(
        self,
        topic: str,
        codec: Any = "json",
        *,
        segment_bytes: Optional[int] = None,
        max_payload_bytes: Optional[int] = None,
        retention: Optional[Retention] = None,
    ) -> TopicInfo:
        """Makes a topic. One that is there has to be of this codec and these sizes. Raises HermesError CODEC_MISMATCH, CONFIG_MISMATCH, UNAUTHORIZED, INVALID_ARGUMENT, …"""
        return description(self._ask(creation(topic, codec, segment_bytes, max_payload_bytes, retention)))

    def alter_topic(self, topic: str, retention: Retention) -> TopicInfo:
        """Replaces what the topic keeps. Raises HermesError NOT_FOUND, UNAUTHORIZED, INVALID_ARGUMENT."""
        return description(self._ask(alteration(topic, retention)))

    def delete_topic(self, topic: str, *, force: bool = False) -> None:
        """Deletes a topic with its messages and groups. Raises HermesError BUSY while it is in use; with ``force``, those who use it get TOPIC_DELETED. NOT_FOUND, UNAUTHORIZED."""
        self._ask(deletion(topic, force))

    def groups(self, topic: str) -> List[Dict[str, Any]]:
        """The groups and durable subscriptions of a topic, each as a dict with its lag."""
        return groups_in(self._ask(groups_of(topic)))

    def describe_group(self, topic: str, group: str) -> Dict[str, Any]:
        """What a group and its members are doing. Raises HermesError NOT_FOUND."""
        return group_in(self._ask(of_group("group", topic, group)))

    def reset_group(self, topic: str, group: str, to: From, *, force: bool = False) -> int:
        """Has a group go on elsewhere; returns the sequence. Raises HermesError BUSY while it has members, unless ``force``; OUT_OF_RANGE, NOT_FOUND, UNAUTHORIZED."""
        return sequence_in(self._ask(of_group("reset-group", topic, group, to=from_to_wire("reset_group()", to), force=force)))

    def delete_group(self, topic: str, group: str, *, force: bool = False) -> None:
        """Forgets a group. Raises HermesError BUSY while it has members, unless ``force``; NOT_FOUND, UNAUTHORIZED."""
        self._ask(of_group("delete-group", topic, group, force=force))


class AioAdministration:
    """As ``Administration``, for asyncio."""

    def __init__(self, driver: AioDriver) -> None:
        self._driver = driver

    async def create_topic(
        self,
        topic: str,
        codec: Any = "json",
        *,
        segment_bytes: Optional[int] = None,
        max_payload_bytes: Optional[int] = None,
        retention: Optional[Retention] = None,
    ) -> TopicInfo:
        return description(await self._driver.request(creation(topic, codec, segment_bytes, max_payload_bytes, retention)))

    async def alter_topic(self, topic: str, retention: Retention) -> TopicInfo:
        return description(await self._driver.request(alteration(topic, retention)))

    async def delete_topic(self, topic: str, *, force: bool = False) -> None:
        await self._driver.request(deletion(topic, force))

    async def groups(self, topic: str) -> List[Dict[str, Any]]:
        return groups_in(await self._driver.request(groups_of(topic)))

    async def describe_group(self, topic: str, group: str) -> Dict[str, Any]:
        return group_in(await self._driver.request(of_group("group", topic, group)))

    async def reset_group(self, topic: str, group: str, to: From, *, force: bool = False) -> int:
        fields = of_group("reset-group", topic, group, to=from_to_wire("reset_group()", to), force=force)
        return sequence_in(await self._driver.request(fields))

    async def delete_group(self, topic: str, group: str, *, force: bool = False) -> None:
        await self._driver.request(of_group("delete-group", topic, group, force=force))
