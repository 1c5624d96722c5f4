"""Which headers may be constant, and which may tell calls apart.

Keys have their own place (authentication), where they are rotated and never shown; headers of the connection and our
own are written by the sidecar, and a second one would make two readers of one request disagree.
"""

from __future__ import annotations

from typing import Final

CREDENTIAL_HEADERS: Final = frozenset(
    {
        "api-key",
        "authorization",
        "cookie",
        "ocp-apim-subscription-key",
        "proxy-authorization",
        "set-cookie",
        "x-amz-security-token",
        "x-api-key",
        "x-auth-token",
        "x-goog-api-key",
    }
)

TRANSPORT_HEADERS: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

OWN_PREFIX: Final = "x-tidegate-"

NO_CREDENTIAL_NAME_CEL: Final = f"!(self.name.lowerAscii() in {sorted(CREDENTIAL_HEADERS)})"
"""That a header which tells calls apart is none that carries credentials."""

CREDENTIAL_NAME_MESSAGE: Final = (
    "a header that carries credentials cannot tell calls apart: its value would end up in metrics and logs"
)

NO_RESERVED_HEADERS_CEL: Final = (
    "!has(self.headers) || !self.headers.exists(name, name.lowerAscii() in "
    f"{sorted(CREDENTIAL_HEADERS | TRANSPORT_HEADERS)} || name.lowerAscii().startsWith('{OWN_PREFIX}'))"
)
"""The same for the API server, so that a key in the wrong place is not even stored."""

ONE_SPELLING_CEL: Final = (
    "!has(self.headers) || self.headers.all(name, "
    "self.headers.exists_one(other, other.lowerAscii() == name.lowerAscii()))"
)
"""That no header stands there in two spellings."""


def carries_credentials(name: str) -> bool:
    """Whether a header's value is a secret, by its name in any case."""
    return name.lower() in CREDENTIAL_HEADERS


def constant_header_problem(name: str) -> str | None:
    """Why a provider cannot be given this header; None when it can."""
    lowered = name.lower()
    if carries_credentials(name):
        return f"{name!r} carries credentials; name a ProviderCredential in authentication instead"
    if lowered in TRANSPORT_HEADERS:
        return f"{name!r} belongs to the connection and is written by the sidecar; remove it"
    if lowered.startswith(OWN_PREFIX):
        return f"{name!r} is Tidegate's own (x-tidegate-…); choose another name"
    return None
