"""How a sidecar asks for its envelope and answers for it: paths, headers and what stands in them.

`GET /v1/config` waits until there is something new, at most as long as `Prefer: wait=SECONDS` says. `If-None-Match`
names what the sidecar has and is its acknowledgement; `REFUSED` names what it could not use and why; `KEYS` names the
credentials whose keys it lacks. Header values come from another process and are bounded before they are read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Tag
from tidegate_policy.errors import DecodeError
from tidegate_policy.keys import KeyReport

AUDIENCE: Final = "tidegate.dev/config"
"""Whom the ServiceAccount token must be meant for."""

CONFIG_PATH: Final = "/v1/config"
ACKS_PATH: Final = "/v1/acks"

SCHEMA_VERSIONS: Final = "x-tidegate-schema-versions"
"""Request: versions that the sidecar reads, `1, 2`."""

AS_OF: Final = "x-tidegate-as-of"
"""Request: of what moment the sidecar's configuration is; the answer is never older. Response: the replica's own."""

REFUSED: Final = "x-tidegate-refused"
"""Request: tag and reason of an envelope that the sidecar could not use."""

KEYS: Final = "x-tidegate-keys"
"""Request: the credentials of the configuration in force that have no usable key in the sidecar; absent: all have one."""

MAX_WAIT_S: Final = 55
"""Longest wait of a poll: below the idle timeout (60 s) of whatever stands in between."""

MAX_HEADER_CHARS: Final = 4_096
MAX_KEYS_CHARS: Final = 1_024
"""Of a `KEYS` header: about ten credentials. The operator keeps it for each pod; what is mended makes room for the next ones."""
_MAX_WHY_BYTES: Final = 300
_MAX_VERSIONS: Final = 16
_WAIT: Final = re.compile(r"(?:^|[,;\s])wait=([0-9]{1,5})(?:$|[,;\s])")


@dataclass(frozen=True, slots=True)
class Nack:
    """An envelope that a sidecar could not use, and why."""

    tag: Tag
    why: str

    def __str__(self) -> str:
        # Percent-encoded: the reason quotes configurations, and a header holds ASCII on one line.
        why = self.why.encode()[:_MAX_WHY_BYTES].decode(errors="ignore")
        return f"{self.tag.digest}-{self.tag.generation} {quote(why, safe=' ')}"

    @classmethod
    def parse(cls, text: str) -> Nack:
        """The nack in a header; the reason comes out on one line, with nothing that moves a terminal.

        Raises:
            DecodeError: it is not of that form.
        """
        tag, _, why = _bounded(text).partition(" ")
        printable = "".join(char if char.isprintable() else " " for char in unquote(why, errors="replace"))
        return cls(Tag.parse(tag), printable[:_MAX_WHY_BYTES])


def format_as_of(as_of: AsOf) -> str:
    """The value of an `AS_OF` header."""
    return wire.encode(as_of).decode()


def parse_as_of(text: str, on_unknown: Callable[[str], None] = lambda _: None) -> AsOf:
    """The moment in an `AS_OF` header; `DecodeError` when it is none. What a later release adds is passed over and told."""
    return wire.decode_message(AsOf, _bounded(text).encode(), on_unknown)


def format_keys(report: KeyReport) -> str:
    """The value of a `KEYS` header: as many credentials as fit, and how many more there are."""
    total = len(report.lacking) + report.left_out
    low, high = 0, len(report.lacking)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_first(report, middle, total)) <= MAX_KEYS_CHARS:
            low = middle
        else:
            high = middle - 1
    return _first(report, low, total)


def _first(report: KeyReport, count: int, total: int) -> str:
    return wire.encode(KeyReport(lacking=report.lacking[:count], left_out=total - count)).decode()


def parse_keys(text: str, on_unknown: Callable[[str], None] = lambda _: None) -> KeyReport:
    """The report in a `KEYS` header; `DecodeError` when it is none. What a later release adds is passed over and told."""
    if len(text) > MAX_KEYS_CHARS:
        raise DecodeError("", f"a header of {len(text)} characters; at most {MAX_KEYS_CHARS} are read")
    return wire.decode_message(KeyReport, text.encode(), on_unknown)


def format_versions(versions: Iterable[int]) -> str:
    """The value of a `SCHEMA_VERSIONS` header."""
    return ", ".join(str(version) for version in versions)


def parse_versions(text: str) -> tuple[int, ...]:
    """The versions in a `SCHEMA_VERSIONS` header; `DecodeError` when there are none or they are no numbers."""
    parts = [part.strip() for part in _bounded(text).split(",")]
    if len(parts) > _MAX_VERSIONS or not all(re.fullmatch(r"[0-9]{1,6}", part) for part in parts):
        raise DecodeError("", f"{text[:100]!r} is no list of schema versions; expected e.g. 1, 2")
    return tuple(int(part) for part in parts)


def parse_wait(text: str) -> int:
    """Seconds in a `Prefer` header (RFC 7240), at most `MAX_WAIT_S`; 0 when it does not say."""
    match = _WAIT.search(text[:MAX_HEADER_CHARS])
    return min(int(match[1]), MAX_WAIT_S) if match else 0


def _bounded(text: str) -> str:
    if len(text) > MAX_HEADER_CHARS:
        raise DecodeError("", f"a header of {len(text)} characters; at most {MAX_HEADER_CHARS} are read")
    return text
