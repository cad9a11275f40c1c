"""Why there is no connection, in words that say what to do. The text of the system or of OpenSSL stays with the cause."""

import errno
import socket
import ssl

from .errors import HermesError
from .options import Settings

_UNKNOWN_AUTHORITY = (
    "the broker's certificate is not signed by an authority that this program trusts. "
    "Give the authority's certificate with ca=... (a self-signed certificate is its own authority)."
)
_CLEAR_TEXT = (
    "what answers there does not speak TLS. If the broker has no certificate (--tls-cert), connect to tcp:// in place of tls://; else look at the port."
)
_CERTIFICATE_REFUSED = (
    "the broker did not accept our client certificate. Give one with cert=... and key=... that has not expired, signed by the authority that the broker trusts."
)
_CERTIFICATE_WANTED = (
    "the broker asks for a client certificate, and none was given. Give one with cert=... and key=..., signed by the authority that the broker trusts."
)
_NO_COMMON_PROTOCOL = "the two sides have no version or cipher of TLS in common. Hermes needs TLS 1.2 or later on both sides."

#: What OpenSSL fails with, by its name for the reason.
_REASONS = {
    "WRONG_VERSION_NUMBER": _CLEAR_TEXT,
    "UNKNOWN_PROTOCOL": _CLEAR_TEXT,
    "PACKET_LENGTH_TOO_LONG": _CLEAR_TEXT,
    "RECORD_LAYER_FAILURE": _CLEAR_TEXT,
    "HTTP_REQUEST": _CLEAR_TEXT,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _CERTIFICATE_WANTED,
    "TLSV1_ALERT_UNKNOWN_CA": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _CERTIFICATE_REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": _CERTIFICATE_REFUSED,
    "TLSV1_ALERT_PROTOCOL_VERSION": _NO_COMMON_PROTOCOL,
    "UNSUPPORTED_PROTOCOL": _NO_COMMON_PROTOCOL,
    "NO_PROTOCOLS_AVAILABLE": _NO_COMMON_PROTOCOL,
}

#: X509_V_ERR_… of OpenSSL.
_NOT_YET_VALID = 9
_EXPIRED = 10
_OTHER_NAME = (62, 64)


class ClosedByBroker(ConnectionError):
    """The other side has ended the connection, without a word."""

    def __init__(self) -> None:
        super().__init__("the broker closed the connection")


def connect_failure(cause: BaseException, settings: Settings) -> HermesError:
    failure = HermesError("CONNECTION_FAILED", f"No connection to {settings.url}: {_meaning(cause, settings)}", {"url": settings.url})
    failure.__cause__ = cause
    return failure


def _meaning(cause: BaseException, settings: Settings) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _of_certificate(cause, settings)
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or ""
        return _REASONS.get(reason) or f"the TLS handshake failed ({reason or cause.strerror or type(cause).__name__})."
    if isinstance(cause, socket.gaierror):
        return f"the name '{settings.host}' leads to no address ({cause.strerror})."
    if isinstance(cause, ConnectionRefusedError):
        return "nothing listens there. Start a broker with `hermes serve`, or look at host and port."
    if isinstance(cause, (TimeoutError, socket.timeout)):
        return "no answer came in time. Look at host and port, and at what lies between."
    if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
        return f"{cause.strerror}. Close some, or raise the limit (`ulimit -n`)."
    text = f"{cause or type(cause).__name__}."
    if not isinstance(cause, (ClosedByBroker, ConnectionResetError, BrokenPipeError)):
        return text
    if settings.tls is None:
        return f"{text} If it is a broker with a certificate (--tls-cert), connect to tls:// in place of tcp://."
    return f"{text} If the broker takes only clients with a certificate of its authority, give one with cert=... and key=...."


def _of_certificate(cause: ssl.SSLCertVerificationError, settings: Settings) -> str:
    code = getattr(cause, "verify_code", 0)
    if code in _OTHER_NAME:
        return (
            f"the broker's certificate is not for '{settings.server_hostname}'. "
            "Connect by a name that it has, or say with server_hostname=... which name it has."
        )
    if code == _EXPIRED:
        return "the broker's certificate has expired. Renew it at the broker; if it is valid, look at this machine's clock."
    if code == _NOT_YET_VALID:
        return "the broker's certificate is not valid yet. Look at this machine's clock, and at the broker's when the certificate was made."
    return _UNKNOWN_AUTHORITY
