"""Which header lines go on, in either direction (PURE).

A name is looked at once and remembered with what becomes of it, so that a call costs one look-up for each of its lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from tidegate_policy.keys import PLACEHOLDER_KEY
from tidegate_sidecar.dialects.base import Dialect, RawHeaders

MAX_NAMES: Final = 512
"""Names that one table remembers; applications and providers can make up names without end."""

MAX_NAME_BYTES: Final = 128
"""A longer name is not remembered."""

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
"""RFC 9110 section 7.6.1 and RFC 9113 section 3.1: these speak of one connection, not of the message."""

FRAMING: Final = frozenset({b"content-length", b"content-encoding", b"accept-encoding", b"expect", b"host"})
"""Said anew for each attempt, since it is a message of ours."""

NOT_SENT: Final = frozenset(
    {
        b"cdn-loop",
        b"client-ip",
        b"cookie",
        b"cookie2",
        b"fastly-client-ip",
        b"forwarded",
        b"from",
        b"origin",
        b"referer",
        b"true-client-ip",
        b"via",
        b"x-azure-clientip",
        b"x-azure-socketip",
        b"x-client-ip",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-forwarded",
        b"x-original-forwarded-for",
        b"x-original-host",
        b"x-originating-ip",
        b"x-real-ip",
        b"x-remote-addr",
        b"x-remote-ip",
    }
)
"""Who asked, from where and by way of whom: no business of a provider. docs/privacy.md lists them for users."""

NOT_SENT_PREFIXES: Final = (
    b"cf-",
    b"cloudfront-",
    b"sec-",
    b"x-amzn-oidc-",
    b"x-auth-request-",
    b"x-forwarded-",
    b"x-goog-authenticated-user-",
    b"x-goog-iap-",
    b"x-ms-client-principal",
    b"x-tidegate-",
)
"""The same, by the beginning of a name."""

CREDENTIALS: Final = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
"""Headers that carry a key, in any dialect that is built in, and in some that are not."""

NOT_RETURNED: Final = frozenset({b"content-length", b"set-cookie", b"server"})
"""A provider's headers that the application does not see, beside those of its connection."""

_LEAST_KEY: Final = 16
"""A shorter key is none that opens anything, and would be found in half of all words."""

_KEPT_CONNECTION: Final = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})

_MAX_SHOWN: Final = 80
"""Characters of a provider's own words in a message of ours."""

_CONTROLS: Final = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
"""What RFC 9110 section 5.5 does not allow in a value: control characters other than a tab."""

_UNSAFE: Final = re.compile(b"[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f]")
"""The same without the two that end a line."""


class HeaderNames:
    """Names seen so far, and the beginning of the line that goes on; nothing for one that is dropped."""

    __slots__ = ("_lines",)

    def __init__(self, dropped: frozenset[bytes], prefixes: tuple[bytes, ...] = ()) -> None:
        """Drop these names (lower case), and those that begin so."""
        self._lines = _Lines(dropped, prefixes)

    def lines(self, headers: RawHeaders) -> list[bytes]:
        """The lines that go on, with their line ends; values as they came."""
        known = self._lines
        lines = [b"%b%b\r\n" % (line, value) for name, value in headers if (line := known[name])]
        if known.connections and not _KEPT_CONNECTION.issuperset(
            [value for name, value in headers if name in known.connections]
        ):
            named = named_by_connection(headers)
            return [
                b"%b%b\r\n" % (line, value)
                for name, value in headers
                if (line := known[name]) and name.lower() not in named
            ]
        return lines


class _Lines(dict[bytes, bytes]):
    """The beginnings of lines by name, each made when its name is seen for the first time."""

    def __init__(self, dropped: frozenset[bytes], prefixes: tuple[bytes, ...]) -> None:
        self._dropped = dropped
        self._prefixes = prefixes
        self.connections: set[bytes] = set()
        """Spellings of Connection that were seen: its value may name further headers of one connection."""

    def __missing__(self, name: bytes) -> bytes:
        lower = name.lower()
        is_dropped = lower in self._dropped or lower.startswith(self._prefixes)
        line = b"" if is_dropped else lower + b": "
        if len(name) > MAX_NAME_BYTES:
            return line
        if len(self) >= MAX_NAMES:
            self.clear()
        if lower == b"connection":
            self.connections.add(name)
        self[name] = line
        return line


class HeaderView(Mapping[str, str]):
    """Headers by lower-case name, as text, made when somebody asks. Of a name given twice the last value counts."""

    __slots__ = ("_made", "_raw")

    def __init__(self, raw: RawHeaders) -> None:
        self._raw = raw
        self._made: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, str]:
        if self._made is None:
            self._made = {
                name.decode("latin-1").lower(): value.decode("utf-8", "surrogateescape")
                for name, value in self._raw
            }
        return self._made


def request_names(
    constants: Iterable[str], private: Iterable[str], *, is_callers_credential: bool
) -> HeaderNames:
    """The table for requests to one provider.

    Args:
        constants: names of the provider's own headers, which take the place of the application's.
        private: names that say who calls or what a limit counts, between the application and us.
        is_callers_credential: the key that the application sent is passed on.
    """
    own = {name.lower().encode("latin-1") for name in (*constants, *private)}
    credentials = frozenset() if is_callers_credential else CREDENTIALS
    return HeaderNames(
        HOP_BY_HOP | FRAMING | NOT_SENT | credentials | own,
        NOT_SENT_PREFIXES,
    )


def answer_names() -> HeaderNames:
    """The table for answers of providers."""
    return HeaderNames(HOP_BY_HOP | NOT_RETURNED, (b"x-tidegate-",))


def safe_lines(lines: list[bytes]) -> bytes:
    """The lines of `HeaderNames.lines` as a client's parser takes them: obs-text stays, control characters go."""
    joined = b"".join(lines)
    if joined.count(b"\r") == joined.count(b"\n") == len(lines) and not _UNSAFE.search(joined):
        return joined
    return b"".join([line.translate(None, _CONTROLS) + b"\r\n" for line in lines])


def values_of(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    """All values of a header, by its lower-case name."""
    size = len(wanted)
    return [value for name, value in headers if len(name) == size and name.lower() == wanted]


def value_of(headers: RawHeaders, wanted: bytes) -> bytes:
    """The first value of a header, by its lower-case name; empty where there is none."""
    size = len(wanted)
    for name, value in headers:
        if len(name) == size and name.lower() == wanted:
            return value
    return b""


def media_type(headers: RawHeaders) -> bytes:
    """The media type without its parameters, lower case; empty where there is none."""
    return value_of(headers, b"content-type").partition(b";")[0].strip().lower()


def labelled(headers: RawHeaders, encoding: str) -> str:
    """How an answer is labelled, in words: its media type, and the encoding that it was in."""
    media = media_type(headers).decode("latin-1")
    label = f"labelled {media[:_MAX_SHOWN]!r}" if media else "without a content-type"
    return f"{label} in {encoding[:_MAX_SHOWN]}" if encoding else label


def named_by_connection(headers: RawHeaders) -> frozenset[bytes]:
    """Headers that the sender declares to be for this connection alone (RFC 9110 section 7.6.1), lower case."""
    return frozenset(
        token.strip().lower() for value in values_of(headers, b"connection") for token in value.split(b",")
    )


def without_placeholder(headers: RawHeaders, dialect: Dialect) -> RawHeaders | None:
    """The application's headers without the key that opens nothing; None where it has no other key."""
    placeholder = PLACEHOLDER_KEY.encode()
    keys = {name for name, _ in headers if is_credential(name, dialect)}
    placeholders = {name for name, value in headers if name in keys and _key(value) == placeholder}
    kept = [it for it in headers if it[0] not in placeholders]
    return kept if not placeholders or any(name in keys for name, _ in kept) else None


def own_keys(headers: RawHeaders, dialect: Dialect) -> list[bytes]:
    """The application's keys, as far as they are long enough to be taken out of an answer."""
    return [
        key
        for name, value in headers
        if is_credential(name, dialect) and len(key := _key(value)) >= _LEAST_KEY
    ]


def is_credential(name: bytes, dialect: Dialect) -> bool:
    """Whether a header carries a key, of `dialect` or of one of the known ones."""
    name = name.lower()
    return name in CREDENTIALS or name in dialect.credential_headers


def _key(value: bytes) -> bytes:
    """The key in a credential's value: what follows the scheme, where there is one."""
    return value.strip().rpartition(b" ")[2]
