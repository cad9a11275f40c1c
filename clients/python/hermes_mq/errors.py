"""The one error class, and its codes: those of the TypeScript package. docs/errors.md says for each what happened and what to do."""

from typing import Any, Dict, FrozenSet, Mapping, Optional

#: Codes are added, never renamed or given another meaning.
ERROR_CODES: FrozenSet[str] = frozenset(
    (
        "INVALID_ARGUMENT",
        "UNKNOWN_OPTION",
        "INVALID_NAME",
        "UNSUPPORTED",
        "CLOSED",
        "ABORTED",
        "BUSY",
        "PAYLOAD_TOO_LARGE",
        "ENCODE_FAILED",
        "DECODE_FAILED",
        "VALIDATION_FAILED",
        "CODEC_MISMATCH",
        "NOT_FOUND",
        "ACCESS_DENIED",
        "NOT_A_DIRECTORY",
        "NOT_HERMES",
        "VERSION_MISMATCH",
        "CONFIG_MISMATCH",
        "NATIVE_UNAVAILABLE",
        "CORRUPT",
        "BEHIND_RETENTION",
        "OUT_OF_RANGE",
        "DISK_FULL",
        "IO_FAILED",
        "EXCLUSIVE_HELD",
        "TOO_MANY_PUBLISHERS",
        "BACK_PRESSURE",
        "FORKED",
        "PEER_DEAD",
        "TIMED_OUT",
        "LEASE_LOST",
        "TOPIC_DELETED",
        "POSITION_LOST",
        "REQUEST_FAILED",
        "CONNECTION_FAILED",
        "PROTOCOL",
        "UNAUTHORIZED",
        "FENCED",
        "LIMIT",
        "SLOW_CONSUMER",
    )
)


class HermesError(Exception):
    """Every failure that Hermes reports. Tell errors apart by ``code``, never by the text of ``message``."""

    code: str
    message: str
    #: Facts for programs: the sequence, the topic, the limit.
    details: Dict[str, Any]

    def __init__(self, code: str, message: str, details: Optional[Mapping[str, Any]] = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.details = dict(details) if details is not None else {}

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def again(self) -> "HermesError":
        """The same error, to be raised in another place: one object must not collect the tracebacks of several raises."""
        copy = HermesError(self.code, self.message, self.details)
        copy.__cause__ = self.__cause__
        return copy

    def __reduce__(self) -> Any:
        return (HermesError, (self.code, self.message, self.details))


def invalid(message: str, **details: Any) -> HermesError:
    return HermesError("INVALID_ARGUMENT", message, details)


def protocol_error(message: str, **details: Any) -> HermesError:
    return HermesError("PROTOCOL", message, details)
