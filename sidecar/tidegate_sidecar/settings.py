"""What the process is told by its environment: the only reader of it.

Every variable has a default that is right in a pod. `read` reports all that is wrong at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tidegate_policy.keys import KEYS_SECRET
from tidegate_sidecar.upstream.http_proxy import read_proxy

APP_PORT: Final = 19280
ADMIN_PORT: Final = 19290
MAX_PORT: Final = 65_535

TOKEN_FILE: Final = "/var/run/secrets/tidegate.dev/token"  # noqa: S105 - a path
STATE_DIR: Final = "/var/lib/tidegate"

# Underscores: DNS has none in names of hosts, but Compose has.
_HOST_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9_])?")


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
class OperatorSettings:
    """How configurations come from the operator; durations in milliseconds."""

    url: str
    """`https://HOST:PORT`; HOST may have several addresses, one per replica."""
    ca: str = field(repr=False)
    """PEM of the authorities to trust, or the path of a file with it."""
    token_file: Path = Path(TOKEN_FILE)
    """The projected ServiceAccount token, read for each poll since it is replaced while the pod runs."""
    state_dir: Path = Path(STATE_DIR)
    """An emptyDir: the last known good configuration and authorities that the operator has announced."""
    poll_wait_ms: int = 55_000
    """How long the operator holds a poll when nothing is new: below the idle timeout of whatever is in between."""
    answer_ms: int = 30_000
    """How long connecting may take, and an answer beyond its wait: long enough when all sidecars come at once."""
    reconnect_ms: int = 5_000
    """After a first failure the next poll is at any moment within this time; each further failure doubles it."""
    reconnect_max_ms: int = 60_000
    """The longest such time, where somebody listens at least; where nobody does it does not grow beyond the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process' settings; durations in milliseconds, sizes in bytes."""

    listen: tuple[Address, ...] = (Address(host="127.0.0.1", port=APP_PORT),)
    """For the application: loopback only."""
    allow_hosts: tuple[str, ...] = ()
    """Names and addresses beyond those of loopback and of `listen` by which applications may call, at any port: lower case,
    without port or brackets."""
    admin: tuple[Address, ...] = (Address(host="127.0.0.1", port=ADMIN_PORT),)
    """/healthz, /readyz, /metrics and /config."""
    config_file: str = ""
    """A compiled configuration as `tidegate render` prints it; empty where another source is used."""
    operator: OperatorSettings | None = None
    """Where configurations come from in a pod; None where another source is used."""
    reload_interval_ms: int = 1_000
    """How often files are looked at for a change."""
    grace_ms: int = 25_000
    """How long calls in flight may go on after SIGTERM: five seconds less than Kubernetes' default."""
    head_read_ms: int = 10_000
    """How long an application may take to send a request's head."""
    body_read_ms: int = 60_000
    """How long an application may take to send a request's body."""
    app_stall_ms: int = 60_000
    """An application that takes nothing of its answer for so long is cut off: it holds a provider's connection."""
    max_body_bytes: int = 32 * 2**20
    """Larger requests get 413: what is not sent on is not held."""
    max_response_bytes: int = 32 * 2**20
    """How much of one whole (not streamed) answer is held; more than that is relayed as it comes, usage unread."""
    max_calls_in_flight: int = 2_000
    """More calls at once get 503: memory stays bounded whatever the application does."""
    max_idle_app_connections: int = 1_024
    """Connections of the application that may stand idle; above that the one that has been idle longest is closed."""
    max_held_bytes: int = 256 * 2**20
    """Bytes of bodies, requests and whole answers, that all calls together may hold; further requests get 503, and answers
    are relayed as they come. Memory follows it: some four times as much. In a pod the injector plans it from the limit."""
    keys_dir: str = ""
    """Folder with provider keys, one file each, as the Secret `tidegate-keys` is mounted in a pod; empty: there is none."""
    keys_secret: str = KEYS_SECRET
    """Name of that Secret, for messages."""
    provider_ca_file: str = ""
    """PEM file of further certificate authorities for providers; empty: the system's."""
    provider_client_cert_file: str = ""
    """PEM file with the certificate that is shown to providers which ask for one; empty: none is."""
    provider_client_key_file: str = ""
    """PEM file with the key of that certificate; empty: it stands in the same file."""
    https_proxy: str = field(default="", repr=False)
    """`http://[USER:PASSWORD@]HOST:PORT`, through which https providers are reached by CONNECT; empty: directly."""
    no_proxy: str = field(default="", repr=False)
    """What NO_PROXY says: the hosts that are reached directly."""
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
        allow_hosts=reader.hosts("TIDEGATE_ALLOW_HOSTS"),
        config_file=environment.get("TIDEGATE_CONFIG_FILE", ""),
        operator=_operator(environment, reader),
        reload_interval_ms=reader.integer("TIDEGATE_RELOAD_INTERVAL_MS", 1_000, 10, 3_600_000),
        grace_ms=reader.integer("TIDEGATE_GRACE_MS", 25_000, 0, 3_600_000),
        head_read_ms=reader.integer("TIDEGATE_HEAD_READ_MS", 10_000, 100, 3_600_000),
        body_read_ms=reader.integer("TIDEGATE_BODY_READ_MS", 60_000, 100, 3_600_000),
        app_stall_ms=reader.integer("TIDEGATE_APP_STALL_MS", 60_000, 100, 3_600_000),
        max_body_bytes=reader.integer("TIDEGATE_MAX_BODY_BYTES", 32 * 2**20, 1_024, 2**30),
        max_response_bytes=reader.integer("TIDEGATE_MAX_RESPONSE_BYTES", 32 * 2**20, 1_024, 2**30),
        max_calls_in_flight=reader.integer("TIDEGATE_MAX_CALLS_IN_FLIGHT", 2_000, 1, 100_000),
        max_idle_app_connections=reader.integer("TIDEGATE_MAX_IDLE_APP_CONNECTIONS", 1_024, 1, 100_000),
        max_held_bytes=reader.integer("TIDEGATE_MAX_HELD_BYTES", 256 * 2**20, 2**10, 2**40),
        keys_dir=environment.get("TIDEGATE_KEYS_DIR", ""),
        keys_secret=environment.get("TIDEGATE_KEYS_SECRET") or KEYS_SECRET,
        provider_ca_file=environment.get("TIDEGATE_PROVIDER_CA_FILE", ""),
        provider_client_cert_file=environment.get("TIDEGATE_PROVIDER_CLIENT_CERT_FILE", ""),
        provider_client_key_file=environment.get("TIDEGATE_PROVIDER_CLIENT_KEY_FILE", ""),
        https_proxy=reader.proxy("HTTPS_PROXY"),
        no_proxy=reader.shared("NO_PROXY"),
        environment=environment,
    )
    if settings.provider_client_key_file and not settings.provider_client_cert_file:
        reader.problems.append(
            "TIDEGATE_PROVIDER_CLIENT_KEY_FILE is set, and TIDEGATE_PROVIDER_CLIENT_CERT_FILE is not: "
            "give the file with the key's certificate too"
        )
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return settings


def parse_address(text: str) -> Address:
    """``127.0.0.1:19280`` or ``[::1]:19280``; `ValueError` with what would be right."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > MAX_PORT:
        raise ValueError(
            f"{text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:{APP_PORT} or [::1]:{APP_PORT}"
        )
    return Address(host=host, port=int(port))


def parse_host(text: str) -> str:
    """A host's name or address in the form of `Settings.allow_hosts`; `ValueError` with what would be right."""
    host = text.strip().lower()
    try:
        return str(ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host))
    except ValueError:
        if _HOST_NAME.fullmatch(host):
            return host
    raise ValueError(f"{text!r} is no host; write its name or address alone, e.g. gateway.internal") from None


def _operator(environment: Mapping[str, str], reader: _Reader) -> OperatorSettings | None:
    url = environment.get("TIDEGATE_OPERATOR_URL", "").rstrip("/")
    if not url:
        return None
    if environment.get("TIDEGATE_CONFIG_FILE"):
        reader.problems.append("TIDEGATE_OPERATOR_URL and TIDEGATE_CONFIG_FILE are both set: take one away")
    if not _is_https(url):
        reader.problems.append(f"TIDEGATE_OPERATOR_URL={url!r}: expected https://HOST:PORT")
    ca = environment.get("TIDEGATE_OPERATOR_CA", "")
    if not ca:
        reader.problems.append(
            "TIDEGATE_OPERATOR_CA is not set: give the operator's authorities as PEM, or the path of a file with it"
        )
    return OperatorSettings(
        url=url,
        ca=ca,
        token_file=Path(environment.get("TIDEGATE_TOKEN_FILE") or TOKEN_FILE),
        state_dir=Path(environment.get("TIDEGATE_STATE_DIR") or STATE_DIR),
        poll_wait_ms=reader.integer("TIDEGATE_POLL_WAIT_MS", 55_000, 1_000, 55_000),
        answer_ms=reader.integer("TIDEGATE_ANSWER_MS", 30_000, 100, 300_000),
        reconnect_ms=reader.integer("TIDEGATE_RECONNECT_MS", 5_000, 10, 300_000),
        reconnect_max_ms=reader.integer("TIDEGATE_RECONNECT_MAX_MS", 60_000, 10, 3_600_000),
    )


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.path == "" and parts.port != 0
    except ValueError:
        return False


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

    def shared(self, name: str) -> str:
        """A variable that other programs read too: its name in lower case goes before, as curl and Python have it."""
        return (self._environment.get(name.lower()) or self._environment.get(name, "")).strip()

    def proxy(self, name: str) -> str:
        url = self.shared(name)
        try:
            if url:
                read_proxy(url)
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
        return url

    def hosts(self, name: str) -> tuple[str, ...]:
        found = []
        for part in self._environment.get(name, "").split(","):
            try:
                if part.strip():
                    found.append(parse_host(part))
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
        return tuple(found)

    def addresses(self, name: str, default: str) -> tuple[Address, ...]:
        found = []
        for part in (self._environment.get(name) or default).split(","):
            try:
                found.append(parse_address(part.strip()))
            except ValueError as error:
                self.problems.append(f"{name}: {error}")
        return tuple(found)
