"""What the process is told by its environment: the only reader of it.

Every variable has a default that is right in a pod. `read` reports all that is wrong at once. Periods are
milliseconds; each default says why it is what it is.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from tidegate_operator.compile.unmatched import REFUSE, UNMATCHED, parse_base_urls, pass_through
from tidegate_operator.setting_groups import (
    INJECTOR_NAME,
    WEBHOOK_CONFIGURATION,
    ApiServerSettings,
    CertificateSettings,
    CompileSettings,
    InjectorSettings,
    LeaseSettings,
    ListSettings,
    SidecarSettings,
    StatusSettings,
    WatchSettings,
    bounds_of,
    number,
)

CONFIG_PORT: Final = 8443
HEALTH_PORT: Final = 8080
SERVICE_ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
DEFAULT_NAMESPACE: Final = "default"
OWN_NAME: Final = "tidegate-operator"
NONE: Final = "none"
"""Says that something is not wanted, where an empty variable means the default."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process' settings. `variables` has the variable of each field."""

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
    grace_ms: int = number(10_000, 0, 600_000)
    """How long requests in flight may go on after SIGTERM."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    api_server: ApiServerSettings = field(default_factory=ApiServerSettings)
    lists: ListSettings = field(default_factory=ListSettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    lease: LeaseSettings = field(default_factory=LeaseSettings)
    compile: CompileSettings = field(default_factory=CompileSettings)
    status: StatusSettings = field(default_factory=StatusSettings)
    sidecars: SidecarSettings = field(default_factory=SidecarSettings)
    certificates: CertificateSettings = field(default_factory=CertificateSettings)
    injector: InjectorSettings = field(default_factory=InjectorSettings)


_GROUPS: Final[Mapping[str, type]] = {
    "api_server": ApiServerSettings,
    "lists": ListSettings,
    "watch": WatchSettings,
    "lease": LeaseSettings,
    "compile": CompileSettings,
    "status": StatusSettings,
    "sidecars": SidecarSettings,
    "certificates": CertificateSettings,
    "injector": InjectorSettings,
}
_PREFIXES: Final[Mapping[str, str]] = {"watch": "WATCH_", "lease": "LEASE_", "status": "STATUS_"}
"""Groups whose variables have their name in front."""


_NOT_READ: Final = ("in_cluster", "kubeconfig")
"""Fields that have no variable of ours."""


def variables() -> Mapping[str, tuple[str, Field[Any]]]:
    """Each variable with its group (empty: none) and its field."""
    found = {}
    for group, kind in {"": Settings, **_GROUPS}.items():
        for item in fields(kind):
            if not group and item.name in (*_GROUPS, *_NOT_READ):
                continue
            name = item.metadata.get("variable") or f"{_PREFIXES.get(group, '')}{item.name.upper()}"
            found[f"TIDEGATE_{name}"] = (group, item)
    return found


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
    configuration = environment.get("TIDEGATE_WEBHOOK_CONFIGURATION") or WEBHOOK_CONFIGURATION
    numbers = reader.numbers()
    settings = Settings(
        namespace=environment.get("TIDEGATE_NAMESPACE") or home,
        service=environment.get("TIDEGATE_SERVICE") or OWN_NAME,
        service_account=environment.get("TIDEGATE_SERVICE_ACCOUNT") or OWN_NAME,
        identity=environment.get("TIDEGATE_IDENTITY") or socket.gethostname(),
        in_cluster=in_cluster,
        kubeconfig=""
        if in_cluster
        else environment.get("KUBECONFIG") or str(Path.home() / ".kube" / "config"),
        listen=reader.address("TIDEGATE_LISTEN", Address(host=host, port=CONFIG_PORT)),
        health=reader.address("TIDEGATE_HEALTH", Address(host=host, port=HEALTH_PORT)),
        advertise=environment.get("TIDEGATE_ADVERTISE", ""),
        log_level=reader.word("TIDEGATE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        **numbers[""],
        api_server=ApiServerSettings(**numbers["api_server"]),
        lists=ListSettings(**numbers["lists"]),
        watch=WatchSettings(**numbers["watch"]),
        lease=LeaseSettings(**numbers["lease"]),
        compile=CompileSettings(
            unmatched=reader.unmatched(),
            pass_through_urls=environment.get("TIDEGATE_PASS_THROUGH_URLS", ""),
            **numbers["compile"],
        ),
        status=StatusSettings(**numbers["status"]),
        sidecars=SidecarSettings(
            peer_token_file=environment.get("TIDEGATE_PEER_TOKEN_FILE", ""), **numbers["sidecars"]
        ),
        certificates=CertificateSettings(
            folder=environment.get("TIDEGATE_CERTIFICATES", ""), **numbers["certificates"]
        ),
        injector=InjectorSettings(
            service=environment.get("TIDEGATE_INJECTOR_SERVICE") or INJECTOR_NAME,
            webhook_configuration="" if configuration == NONE else configuration,
            excluded_namespaces=reader.names("TIDEGATE_EXCLUDED_NAMESPACES"),
            **numbers["injector"],
        ),
    )
    watch, lease = settings.watch, settings.lease
    if watch.silent_ms <= watch.length_ms + watch.inactivity_ms:
        reader.problems.append(
            f"TIDEGATE_WATCH_SILENT_MS={watch.silent_ms}: must be above TIDEGATE_WATCH_LENGTH_MS + "
            "TIDEGATE_WATCH_INACTIVITY_MS, or a quiet watch would count as dead"
        )
    if lease.renew_ms >= lease.duration_ms:
        reader.problems.append(
            f"TIDEGATE_LEASE_RENEW_MS={lease.renew_ms}: must be below TIDEGATE_LEASE_DURATION_MS="
            f"{lease.duration_ms}, or two replicas could write at once"
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

    def numbers(self) -> dict[str, dict[str, int]]:
        """The numbers of each group."""
        found: dict[str, dict[str, int]] = {group: {} for group in ("", *_GROUPS)}
        for name, (group, item) in variables().items():
            bounds = bounds_of(item)
            if bounds is not None:
                found[group][item.name] = self.integer(name, *bounds)
        return found

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
