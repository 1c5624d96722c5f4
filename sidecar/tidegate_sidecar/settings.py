"""What the process is told by its environment: the only reader of it.

Every variable has a default that is right in a pod. `read` reports all that is wrong at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

APP_PORT: Final = 19280
ADMIN_PORT: Final = 19290


class SettingsError(ValueError):
    """One or more variables are wrong; the message has a line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens. Port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process' settings; durations in milliseconds, sizes in bytes."""

    listen: tuple[Address, ...] = (Address(host="127.0.0.1", port=APP_PORT),)
    """For the application: loopback only."""
    admin: tuple[Address, ...] = (Address(host="127.0.0.1", port=ADMIN_PORT),)
    """/healthz, /readyz, /metrics and /config."""
    config_file: str = ""
    """A compiled configuration as `tidegate render` prints it; empty where another source is used."""
    reload_interval_ms: int = 1_000
    """How often files are looked at for a change."""
    grace_ms: int = 25_000
    """How long calls in flight may go on after SIGTERM: five seconds less than Kubernetes' default."""
    body_read_ms: int = 60_000
    """How long an application may take to send a request's body."""
    max_body_bytes: int = 32 * 2**20
    """Larger requests get 413: what is not sent on is not held."""
    max_response_bytes: int = 32 * 2**20
    """How much of one whole (not streamed) answer is held; more than that is relayed as it comes, usage unread."""
    max_calls_in_flight: int = 2_000
    """More calls at once get 503: memory stays bounded whatever the application does."""
    provider_ca_file: str = ""
    """PEM file of further certificate authorities for providers; empty: the system's."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment itself, from which keys of source Environment are read. Never shown."""


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from `environment` (default: the process' own).

    Raises:
        SettingsError: with one line for each variable that is wrong.
    """
    if environment is None:
        environment = dict(os.environ)  # noqa: TID251 - this module is the one reader
    reader = _Reader(environment)
    settings = Settings(
        listen=reader.addresses("TIDEGATE_LISTEN", f"127.0.0.1:{APP_PORT}"),
        admin=reader.addresses("TIDEGATE_ADMIN", f"127.0.0.1:{ADMIN_PORT}"),
        config_file=environment.get("TIDEGATE_CONFIG_FILE", ""),
        reload_interval_ms=reader.integer("TIDEGATE_RELOAD_INTERVAL_MS", 1_000, 10, 3_600_000),
        grace_ms=reader.integer("TIDEGATE_GRACE_MS", 25_000, 0, 3_600_000),
        body_read_ms=reader.integer("TIDEGATE_BODY_READ_MS", 60_000, 100, 3_600_000),
        max_body_bytes=reader.integer("TIDEGATE_MAX_BODY_BYTES", 32 * 2**20, 1_024, 2**30),
        max_response_bytes=reader.integer("TIDEGATE_MAX_RESPONSE_BYTES", 32 * 2**20, 1_024, 2**30),
        max_calls_in_flight=reader.integer("TIDEGATE_MAX_CALLS_IN_FLIGHT", 2_000, 1, 100_000),
        provider_ca_file=environment.get("TIDEGATE_PROVIDER_CA_FILE", ""),
        environment=environment,
    )
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return settings


def parse_address(text: str) -> Address:
    """``127.0.0.1:19280`` or ``[::1]:19280``; `ValueError` with what would be right."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(
            f"{text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:{APP_PORT} or [::1]:{APP_PORT}"
        )
    return Address(host=host, port=int(port))


class _Reader:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self._environment.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            self.problems.append(f"{name}={text!r}: expected an integer from {lowest} to {highest}")
            return default
        return int(text)

    def addresses(self, name: str, default: str) -> tuple[Address, ...]:
        found = []
        for part in (self._environment.get(name) or default).split(","):
            try:
                found.append(parse_address(part.strip()))
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
        return tuple(found)
