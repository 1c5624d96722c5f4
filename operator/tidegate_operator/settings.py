"""What the process is told by its environment: the only reader of it.

Every variable has a default that is right in a pod. `read` reports all that is wrong at once. Periods are
milliseconds; each default says why it is what it is.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Final

from tidegate_operator.compile.unmatched import (
    PASS_THROUGH,
    REFUSE,
    UNMATCHED,
    PassThrough,
    parse_base_urls,
    pass_through,
)

CONFIG_PORT: Final = 8443
HEALTH_PORT: Final = 8080
SERVICE_ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE: Final = "default"
OWN_NAME: Final = "tidegate-operator"
INJECTOR_NAME: Final = "tidegate-injector"
WEBHOOK_CONFIGURATION: Final = "ai-tidegate-injector"
"""Webhooks are called in the order of these names: a mesh that comes after us sees the sidecar's ports and probes."""
NONE: Final = "none"
"""Says that something is not wanted, where an empty variable means the default."""

_HOUR_MS: Final = 3_600_000
_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class SettingsError(ValueError):
    """One or more variables are wrong; the message has a line for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens. Port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def of(cls, pair: tuple[str, int]) -> Address:
        """The address that a socket gives."""
        return cls(host=pair[0], port=pair[1])

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _period(default_ms: int, lowest_ms: int = 10, highest_ms: int = _HOUR_MS) -> int:
    """A field whose variable is an integer within bounds; the type is what the field holds."""
    value: int = field(default=default_ms, metadata={"bounds": (lowest_ms, highest_ms)})
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process' settings. The field `lease_retry_ms` is the variable `TIDEGATE_LEASE_RETRY_MS`, and so on."""

    namespace: str = DEFAULT_NAMESPACE
    """Where the operator's own objects are: Lease, last good forms, certificates. In a pod its own namespace."""
    service: str = OWN_NAME
    """The Service that sidecars reach all replicas by; its names are in the certificate."""
    service_account: str = OWN_NAME
    """The operator's own ServiceAccount: from it alone replicas take acknowledgements."""
    identity: str = ""
    """This replica's name in the Lease. Default: the host's name, which is the pod's; each start adds a random part."""
    kubeconfig: str = ""
    """`KUBECONFIG`: how to reach the API server outside a cluster; inside, the pod's ServiceAccount is used."""
    in_cluster: bool = False
    """Whether this is a pod."""
    listen: Address = Address(host="127.0.0.1", port=CONFIG_PORT)
    """Where sidecars get their configuration. In a pod all addresses, elsewhere loopback alone."""
    health: Address = Address(host="127.0.0.1", port=HEALTH_PORT)
    """/healthz, /readyz and /metrics. In a pod all addresses, elsewhere loopback alone."""
    advertise: str = ""
    """`HOST:PORT` where other replicas reach this one, in a pod its address. Default: `listen`."""
    peer_token_file: str = ""
    """The operator's own token with the audience of sidecars, to bring acknowledgements to the holder of the Lease.
    Empty: they are not brought, which is right for one replica alone."""

    debounce_ms: int = _period(100, 0)
    """Quiet time before a compile: a burst of changes is one compile, and one change is not held up noticeably."""
    debounce_max_ms: int = _period(2_000, 0)
    """A compile waits no longer than this for quiet, however long a burst lasts."""
    relist_ms: int = _period(600_000, 100)
    """Each kind is listed again this often, whatever its watch says: the net under the watches."""
    relist_pause_ms: int = _period(1_000, 10)
    """Least time between two lists of one kind that something asked for (a replica behind, a gap in a watch)."""
    owners_ms: int = _period(15_000, 50)
    """How often targets that had no pod are looked for again."""

    request_ms: int = _period(5_000, 100)
    """One call to the API server, answer included."""
    requests_at_once: int = field(default=8, metadata={"bounds": (1, 64)})
    """Calls to the API server at the same time; each occupies a thread."""
    watch_length_ms: int = _period(240_000, 1_000)
    """The server ends a watch after this time, and the next begins: each connection proves that watching works."""
    watch_inactivity_ms: int = _period(70_000, 500)
    """A watch that brings nothing for so long, not even the bookmark of each minute, is taken for dead."""
    watch_silent_ms: int = _period(360_000, 1_000)
    """A kind without any sign of life for so long makes the replica unready; it is longer than a watch's length."""
    retry_max_ms: int = _period(10_000, 10)
    """Longest pause between tries to reach the API server; the first are short, and each doubles."""

    lease_duration_ms: int = _period(15_000, 100)
    """A Lease that its holder has not renewed for so long is free."""
    lease_renew_ms: int = _period(10_000, 50)
    """A holder that could not renew for so long stops writing; shorter than the duration, so that two never write."""
    lease_retry_ms: int = _period(2_000, 10)
    """How often the Lease is renewed, or looked at by the others."""

    acks_ms: int = _period(250, 10)
    """How often what sidecars acknowledged is summed up; a sum that changed is a status to write."""
    hearing_ms: int = _period(20_000, 0)
    """How long a sidecar may be silent before its silence counts: from its start, and from when this replica began to lead."""
    status_burst: int = field(default=3, metadata={"bounds": (1, 100)})
    """Status writes that one object may get at once: the state as found, as compiled, as acknowledged."""
    status_interval_ms: int = _period(5_000, 0)
    """Time in which an object earns another status write: counts of sidecars may change a thousand times a minute."""
    status_retry_ms: int = _period(1_000, 10)
    """Pause after a status write that failed."""
    last_good_ms: int = _period(500, 0)
    """How long valid forms are gathered before they are persisted: a burst is one write."""

    connections_per_address: int = field(default=512, metadata={"bounds": (8, 100_000)})
    """Connections of sidecars from one address. Pods of the host's network, and those behind one translated address, share theirs."""

    certificates: str = ""
    """Folder with `tls.crt`, `tls.key` and `ca.crt` that somebody else keeps, as cert-manager does: these are served, and
    followed when they change. Empty: the holder of the Lease makes certificates, the injector's as well."""
    certificates_ms: int = _period(60_000, 50)
    """How often certificates are looked at."""
    injector_service: str = INJECTOR_NAME
    """The Service that the API server reaches the injector by; its names are in the injector's certificate."""
    webhook_configuration: str = WEBHOOK_CONFIGURATION
    """The MutatingWebhookConfiguration whose `caBundle` is kept. `none`: no configuration is ever touched."""
    coverage_ms: int = _period(60_000, 50)
    """How often pods are counted that should have a sidecar and have none."""
    excluded_namespaces: tuple[str, ...] = ()
    """`NAME,NAME`: where the webhook configuration lets nothing be injected, so that pods there lack nothing."""
    grace_ms: int = _period(10_000, 0, 600_000)
    """How long requests in flight may go on after SIGTERM."""
    unmatched: str = REFUSE
    """Calls of pods under no policy: `Refuse` denies them, `PassThrough` lets them go out as they are."""
    pass_through_urls: str = ""
    """Where they go then: `OpenAI=URL,Anthropic=URL`; a type that is not named goes to its provider's public address."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @property
    def pass_through(self) -> PassThrough | None:
        """What workloads under no policy get; None: a denial."""
        return (
            pass_through(parse_base_urls(self.pass_through_urls)) if self.unmatched == PASS_THROUGH else None
        )


def read(environment: Mapping[str, str] | None = None, *, folder: Path = SERVICE_ACCOUNT_FOLDER) -> Settings:
    """Settings from `environment` (default: the process' own).

    Args:
        environment: variables by name.
        folder: where a pod finds its ServiceAccount; it tells whether this is a pod.

    Raises:
        SettingsError: with one line for each variable that is wrong.
    """
    if environment is None:
        environment = dict(os.environ)  # noqa: TID251 - this module is the one reader
    reader = _Reader(environment)
    in_cluster = (folder / "token").exists()
    host = "0.0.0.0" if in_cluster else "127.0.0.1"
    own = folder / "namespace"
    home = own.read_text(encoding="ascii").strip() if own.exists() else DEFAULT_NAMESPACE
    numbers = {
        item.name: reader.integer(
            f"TIDEGATE_{item.name.upper()}", int(item.default), *item.metadata["bounds"]
        )
        for item in fields(Settings)
        if "bounds" in item.metadata and item.default is not MISSING
    }
    configuration = environment.get("TIDEGATE_WEBHOOK_CONFIGURATION") or WEBHOOK_CONFIGURATION
    settings = Settings(
        namespace=environment.get("TIDEGATE_NAMESPACE") or home,
        service=environment.get("TIDEGATE_SERVICE") or OWN_NAME,
        service_account=environment.get("TIDEGATE_SERVICE_ACCOUNT") or OWN_NAME,
        identity=environment.get("TIDEGATE_IDENTITY") or socket.gethostname(),
        in_cluster=in_cluster,
        advertise=environment.get("TIDEGATE_ADVERTISE", ""),
        peer_token_file=environment.get("TIDEGATE_PEER_TOKEN_FILE", ""),
        certificates=environment.get("TIDEGATE_CERTIFICATES", ""),
        injector_service=environment.get("TIDEGATE_INJECTOR_SERVICE") or INJECTOR_NAME,
        webhook_configuration="" if configuration == NONE else configuration,
        kubeconfig=""
        if in_cluster
        else environment.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"),
        listen=reader.address("TIDEGATE_LISTEN", Address(host=host, port=CONFIG_PORT)),
        health=reader.address("TIDEGATE_HEALTH", Address(host=host, port=HEALTH_PORT)),
        excluded_namespaces=reader.names("TIDEGATE_EXCLUDED_NAMESPACES"),
        unmatched=reader.unmatched(),
        pass_through_urls=environment.get("TIDEGATE_PASS_THROUGH_URLS", ""),
        log_level=reader.word("TIDEGATE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        **numbers,
    )
    if settings.watch_silent_ms <= settings.watch_length_ms + settings.watch_inactivity_ms:
        reader.problems.append(
            f"TIDEGATE_WATCH_SILENT_MS={settings.watch_silent_ms}: must be above TIDEGATE_WATCH_LENGTH_MS + "
            "TIDEGATE_WATCH_INACTIVITY_MS, or a quiet watch would count as dead"
        )
    if settings.lease_renew_ms >= settings.lease_duration_ms:
        reader.problems.append(
            f"TIDEGATE_LEASE_RENEW_MS={settings.lease_renew_ms}: must be below TIDEGATE_LEASE_DURATION_MS="
            f"{settings.lease_duration_ms}, or two replicas could write at once"
        )
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return settings


def parse_address(text: str) -> Address:
    """``127.0.0.1:8443`` or ``[::1]:8443``; `ValueError` with what would be right."""
    host, separator, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not separator or not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:  # noqa: PLR2004
        raise ValueError(f"{text!r} is not an address; write HOST:PORT, e.g. 127.0.0.1:{CONFIG_PORT}")
    return Address(host=host, port=int(port))


class _Reader:
    """Reads variables and gathers what is wrong with them; an empty variable counts as not set."""

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

    def address(self, name: str, default: Address) -> Address:
        text = self._environment.get(name, "")
        if not text:
            return default
        try:
            return parse_address(text)
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return default

    def names(self, name: str) -> tuple[str, ...]:
        found = tuple(it.strip() for it in self._environment.get(name, "").split(",") if it.strip())
        for it in found:
            if not _DNS_LABEL.fullmatch(it):
                self.problems.append(f"{name}: {it!r} is not the name of a namespace; write NAME,NAME")
        return found

    def unmatched(self) -> str:
        word = self._environment.get("TIDEGATE_UNMATCHED", "") or REFUSE
        if word not in UNMATCHED:
            self.problems.append(f"TIDEGATE_UNMATCHED={word!r}: expected one of {', '.join(UNMATCHED)}")
        try:
            pass_through(parse_base_urls(self._environment.get("TIDEGATE_PASS_THROUGH_URLS", "")))
        except ValueError as error:
            self.problems.append(f"TIDEGATE_PASS_THROUGH_URLS: {error}")
        return word

    def word(self, name: str, default: str, known: tuple[str, ...]) -> str:
        text = self._environment.get(name, "") or default
        if text.upper() not in known:
            self.problems.append(f"{name}={text!r}: expected one of {', '.join(known)}")
        return text.upper()
