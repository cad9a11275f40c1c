"""What callers say of a connection and of topics, checked."""

import ipaddress
import os
import random
import re
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, TypeVar, Union
from urllib.parse import urlsplit

from .codecs import described, is_coroutine_function
from .errors import HermesError, invalid
from .types import Retention, Status

DEFAULT_PORT = 9000
#: What threads can wait, in seconds.
MOST_TIMEOUT = min(threading.TIMEOUT_MAX, 1e9)
C = TypeVar("C")
PathOrPem = Union[str, "os.PathLike[str]"]

_TOPIC_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")


@dataclass(frozen=True)
class Settings:
    """Of one connection. Times in seconds, sizes in bytes."""

    url: str
    host: str
    port: int
    token: Optional[str]
    #: None: no TLS.
    tls: Optional[ssl.SSLContext]
    server_hostname: Optional[str]
    connect_timeout: float
    request_timeout: float
    #: Between two attempts to connect again: at first, and at most. None: no second attempt.
    reconnect_min: Optional[float]
    reconnect_max: float
    publish_buffer: int
    subscribe_buffer: int
    compression: str
    on_status: Optional[Callable[[Status], None]]
    #: For tests: the time in nanoseconds since 1970, and a number from 0 to 1.
    clock_ns: Callable[[], int] = time.time_ns
    random: Callable[[], float] = random.random


def _without_user(url: str) -> str:
    """What stands before an @ may be a secret."""
    return re.sub(r"//.*@", "//", url, flags=re.S)[:200]


def check_settings(
    url: str,
    *,
    token: Optional[str],
    ca: Optional[PathOrPem],
    cert: Optional[PathOrPem],
    key: Optional[PathOrPem],
    server_hostname: Optional[str],
    ssl_context: Optional[ssl.SSLContext],
    connect_timeout: float,
    request_timeout: float,
    reconnect: bool,
    reconnect_min: float,
    reconnect_max: float,
    publish_buffer: int,
    subscribe_buffer: int,
    compression: str,
    on_status: Optional[Callable[[Status], None]],
) -> Settings:
    """Raises HermesError INVALID_ARGUMENT."""
    if not isinstance(url, str):
        raise invalid("connect() takes a URL: tcp://host:port or tls://host:port.")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = DEFAULT_PORT if parts.port is None else parts.port
    except ValueError as cause:
        raise invalid(f"{_without_user(url)!r} is no URL: use tcp://host:port or tls://host:port.") from cause
    if parts.scheme not in ("tcp", "tls") or not host or port == 0:
        raise invalid(f"{_without_user(url)!r} has to be tcp://host:port or tls://host:port.")
    extras = [
        *(["something before an '@'; a token is an option"] if "@" in parts.netloc else []),
        *([] if parts.path in ("", "/") else [f"the path {parts.path!r}"]),
        *(["something behind a '?'"] if parts.query else []),
        *(["something behind a '#'"] if parts.fragment else []),
    ]
    if "\0" in host or not is_unicode(host) or max(map(len, host.split("."))) > 63:
        raise invalid(f"{_without_user(url)!r} names no host.")
    if extras:
        address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        raise invalid(f"The address has {', and '.join(extras)}: give {address} and nothing more.")
    if token is not None and (not isinstance(token, str) or not 1 <= len(token) <= 4096 or not is_unicode(token)):
        raise invalid("'token' must be a string of 1 to 4096 characters.")
    check_flag("reconnect", reconnect)
    _check_number("connect_timeout", connect_timeout, 0.001, 3600)
    _check_number("request_timeout", request_timeout, 0.001, 86_400)
    _check_number("reconnect_min", reconnect_min, 0.001, 3600)
    _check_number("reconnect_max", reconnect_max, reconnect_min, 3600)
    check_integer("publish_buffer", publish_buffer, 64 * 1024, 2**30)
    check_integer("subscribe_buffer", subscribe_buffer, 64 * 1024, 2**29)
    if compression not in ("none", "deflate"):
        raise invalid(f"'compression' must be 'none' or 'deflate', not {described(compression)}.")
    if on_status is not None:
        check_callback("'on_status'", on_status)
    for name, path in (("ca", ca), ("cert", cert), ("key", key)):
        if path is not None and (not isinstance(path, (str, os.PathLike)) or path == ""):
            raise invalid(f"'{name}' must be the path of a file{', or PEM text' if name == 'ca' else ''}, not {described(path)}.")
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise invalid(f"'ssl_context' must be an ssl.SSLContext, not {described(ssl_context)}.")
    if server_hostname is not None and (not isinstance(server_hostname, str) or server_hostname == ""):
        raise invalid(f"'server_hostname' must be a name, not {described(server_hostname)}.")
    secure = parts.scheme == "tls"
    given = [name for name, value in (("ca", ca), ("cert", cert), ("key", key), ("ssl_context", ssl_context)) if value]
    if not secure and given:
        raise invalid(f"{given[0]!r} is for tls:// URLs.")
    context = _tls(ca, cert, key, ssl_context) if secure else None
    bracketed = f"[{host}]" if ":" in host else host
    return Settings(
        url=f"{parts.scheme}://{bracketed}:{port}",
        host=host,
        port=port,
        token=token,
        tls=context,
        server_hostname=(server_hostname or host) if secure else None,
        connect_timeout=connect_timeout,
        request_timeout=request_timeout,
        reconnect_min=reconnect_min if reconnect else None,
        reconnect_max=reconnect_max,
        publish_buffer=publish_buffer,
        subscribe_buffer=subscribe_buffer,
        compression=compression,
        on_status=on_status,
    )


def _tls(
    ca: Optional[PathOrPem], cert: Optional[PathOrPem], key: Optional[PathOrPem], given: Optional[ssl.SSLContext]
) -> ssl.SSLContext:
    if given is not None:
        if ca is not None or cert is not None or key is not None:
            raise invalid("Give either 'ssl_context' or 'ca', 'cert' and 'key'.")
        return given
    if (cert is None) != (key is None):
        raise invalid("A client certificate needs both 'cert' and 'key'.")
    for name, path in (("ca", ca), ("cert", cert), ("key", key)):
        if path is not None and not _is_pem(path) and not os.path.isfile(path):
            raise invalid(f"'{name}' is '{os.fspath(path)}', and there is no such file.")
    try:
        context = ssl.create_default_context(cadata=str(ca)) if _is_pem(ca) else ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if cert is not None and key is not None:
            context.load_cert_chain(cert, key)
        return context
    except (OSError, ssl.SSLError, ValueError) as cause:
        raise invalid(f"The TLS certificates can't be used: {cause}.") from cause


def _is_pem(given: Any) -> bool:
    return isinstance(given, str) and "-----BEGIN" in given


def is_unicode(text: str) -> bool:
    """Half a surrogate pair cannot travel."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
        return True
    except ValueError:
        return False


def _check_number(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise invalid(f"'{name}' must be a number of seconds from {least} to {most}, not {described(value)}.")


def check_timeout(timeout: Optional[float]) -> None:
    if timeout is None:
        return
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 <= timeout <= MOST_TIMEOUT:
        raise invalid(
            f"'timeout' must be a number of seconds from 0 to {MOST_TIMEOUT:.0f}, or None for no limit, not {described(timeout)}."
        )


def check_callback(what: str, given: Any, *, is_awaited: bool = False) -> None:
    """Unless what it returns is awaited, a coroutine function would be called and never run."""
    if not callable(given):
        raise invalid(f"{what} must be a function, not {described(given)}.")
    if not is_awaited and is_coroutine_function(given):
        raise invalid(f"{what} must be a plain function: what a coroutine function returns is not awaited here. Write 'def', not 'async def'.")


def check_told(on_error: Optional[C]) -> Optional[C]:
    if on_error is not None:
        check_callback("'on_error'", on_error)
    return on_error


def check_stop(stop: Any, module: str) -> None:
    """Any event will do, as that of multiprocessing, but not its class."""
    if stop is not None and (isinstance(stop, type) or not callable(getattr(stop, "is_set", None))):
        raise invalid(f"'stop' must be an event, as {module}.Event(), not {described(stop)}.")


def check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise invalid(f"'{name}' must be True or False, not {described(value)}.")


def check_integer(name: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise invalid(f"'{name}' must be an integer from {least} to {most}, not {described(value)}.")


def check_topic_name(name: str) -> None:
    """Raises HermesError INVALID_NAME."""
    if isinstance(name, str) and _TOPIC_NAME.match(name):
        return
    shown = repr(str(name))[:200] if type(name) is str else described(name)
    raise HermesError(
        "INVALID_NAME",
        f"{shown} is no valid topic name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - and do not begin with '.' or '-'.",
        {"name": name[:200] if isinstance(name, str) else shown},
    )


def check_durability(durability: str, name: str = "durability") -> None:
    if durability not in ("written", "synced"):
        raise invalid(f"'{name}' must be 'written' or 'synced', not {described(durability)}.")


def check_batch(values: Any) -> None:
    """Raises HermesError INVALID_ARGUMENT for one value that happens to be iterable: the caller never means its characters, bytes or keys."""
    if isinstance(values, (str, bytes, bytearray, memoryview, dict)):
        raise invalid(f"publish_batch() takes an iterable of values, not one {type(values).__name__}: use publish().")
    if not hasattr(type(values), "__iter__") and not hasattr(type(values), "__getitem__"):
        raise invalid(f"publish_batch() takes an iterable of values, not {described(values)}.")


def topic_settings(
    create: bool, segment_bytes: Optional[int], max_payload_bytes: Optional[int], retention: Optional[Retention]
) -> Dict[str, Any]:
    """A topic's settings as they travel, without its codec."""
    if not isinstance(create, bool):
        raise invalid("'create' must be True or False.")
    settings: Dict[str, Any] = {"create": create}
    for name, key, value in (
        ("segment_bytes", "segmentBytes", segment_bytes),
        ("max_payload_bytes", "maxPayloadBytes", max_payload_bytes),
    ):
        if value is not None:
            check_integer(name, value, 1, 2**53 - 1)
            settings[key] = value
    if retention is not None:
        if not isinstance(retention, Retention):
            raise invalid("'retention' must be a hermes_mq.Retention.")
        settings["retention"] = retention_to_wire(retention)
    return settings


def retention_to_wire(retention: Retention) -> Dict[str, int]:
    limits: Dict[str, int] = {}
    for name, key, value in (
        ("bytes", "bytes", retention.bytes),
        ("age_ms", "ageMs", retention.age_ms),
        ("wait_for_groups", "waitForGroups", retention.wait_for_groups),
    ):
        if value is not None:
            check_integer(f"retention.{name}", value, 1, 2**53 - 1)
            limits[key] = value
    return limits
