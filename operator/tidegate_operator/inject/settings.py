"""What `tidegate-injector` is told by its environment: the only reader of it.

Every variable but `TIDEGATE_SIDECAR_IMAGE` has a default that is right in a pod of the chart. `read` reports all that is
wrong at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from tidegate_operator.inject.configuration import WEBHOOK_PORT
from tidegate_operator.inject.quantity import parse_quantity
from tidegate_operator.inject.template import (
    FAMILIES,
    KEYS_SECRET,
    MESH_PROXIES,
    SIDECAR_USER,
    Authorities,
    Family,
    Resources,
    Startup,
    Template,
)
from tidegate_operator.settings import (
    CONFIG_PORT,
    DEFAULT_NAMESPACE,
    HEALTH_PORT,
    OWN_NAME,
    SERVICE_ACCOUNT_FOLDER,
    Address,
    SettingsError,
    parse_address,
)

CERTIFICATES_FOLDER: Final = "/etc/tidegate/certificates"
PLATFORM: Final = "platform"
"""Value of `TIDEGATE_SIDECAR_USER`: no user is written into pods."""

_Word = TypeVar("_Word", bound=StrEnum)

_LISTEN: Final = Address(host="127.0.0.1", port=WEBHOOK_PORT)
_HEALTH: Final = Address(host="127.0.0.1", port=HEALTH_PORT)
_IN_POD: Final = "KUBERNETES_SERVICE_HOST"
"""Every pod has it, also one without a ServiceAccount's token, which the injector does not need."""
_SOURCES: Final = ("configMap", "secret")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_MAX_USER: Final = 2**31 - 1
_MAX_FILE_NAME: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process' settings. The field `drain_ms` is the variable `TIDEGATE_DRAIN_MS`, and so on; times in milliseconds."""

    namespace: str = DEFAULT_NAMESPACE
    """Tidegate's own, where the operator is. In a pod with a ServiceAccount's token its own namespace."""
    listen: Address = _LISTEN
    """Where the API server calls. In a pod all addresses, elsewhere loopback alone."""
    health: Address = _HEALTH
    """/healthz, /readyz and /metrics. In a pod all addresses, elsewhere loopback alone."""
    certificates: Path = Path(CERTIFICATES_FOLDER)
    """Folder with `tls.crt`, `tls.key`, and `ca.crt`, which pods get: a mounted Secret, of which no other key is needed."""
    client_ca: str = ""
    """File with the authorities (PEM) of the certificate that the API server shows to webhooks. Empty: it shows none, as on
    EKS, GKE and AKS, where it cannot be told to."""
    reload_ms: int = 10_000
    """How often the folder is looked at. The kubelet brings changes within about a minute."""
    drain_ms: int = 5_000
    """How long reviews are answered after SIGTERM: until every API server has heard that this replica is going."""
    grace_ms: int = 5_000
    """How long reviews in flight may then go on: as long as the API server waits for them."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""
    template: Template
    """`TIDEGATE_OPERATOR_URL` (default: the Service `tidegate-operator` of `namespace`) and all `TIDEGATE_SIDECAR_…`:
    IMAGE, IMAGES, PULL_POLICY, PULL_SECRETS, USER (a number, or `platform`), CPU_REQUEST, CPU_LIMIT, MEMORY_REQUEST,
    MEMORY_LIMIT (`none`: left out), EPHEMERAL_STORAGE_REQUEST, EPHEMERAL_STORAGE_LIMIT, ENV (a JSON object), CA
    (`configMap/NAME/KEY` or `secret/NAME/KEY`), HTTPS_PROXY, NO_PROXY, STARTUP, AUDIENCES, KEYS_SECRET (`none`: never mounted), IP_FAMILIES, MESH_PROXIES.
    Lists are separated by commas; `Template` says what each is for."""


def read(environment: Mapping[str, str] | None = None, *, folder: Path = SERVICE_ACCOUNT_FOLDER) -> Settings:
    """Settings from `environment` (default: the process' own).

    Args:
        environment: variables by name.
        folder: where a pod finds its ServiceAccount, if it has one.

    Raises:
        SettingsError: with one line for each variable that is wrong.
    """
    if environment is None:
        environment = dict(os.environ)  # noqa: TID251 - this module is the one reader
    reader = _Reader(environment)
    own = folder / "namespace"
    home = own.read_text(encoding="ascii").strip() if own.exists() else DEFAULT_NAMESPACE
    namespace = reader.text("NAMESPACE", home)
    host = "0.0.0.0" if own.exists() or environment.get(_IN_POD) else _LISTEN.host
    settings = Settings(
        namespace=namespace,
        listen=reader.address("LISTEN", Address(host=host, port=WEBHOOK_PORT)),
        health=reader.address("HEALTH", Address(host=host, port=HEALTH_PORT)),
        certificates=Path(reader.text("CERTIFICATES", CERTIFICATES_FOLDER)),
        client_ca=reader.text("CLIENT_CA", ""),
        reload_ms=reader.integer("RELOAD_MS", 10_000, 10, 3_600_000),
        drain_ms=reader.integer("DRAIN_MS", 5_000, 0, 600_000),
        grace_ms=reader.integer("GRACE_MS", 5_000, 0, 600_000),
        log_level=reader.word("LOG_LEVEL", "INFO", _LOG_LEVELS),
        template=_template(reader, namespace),
    )
    if reader.problems:
        raise SettingsError("\n".join(reader.problems))
    return settings


def _template(reader: _Reader, namespace: str) -> Template:
    image = reader.text("SIDECAR_IMAGE", "")
    if not image:
        reader.problems.append("TIDEGATE_SIDECAR_IMAGE is not set: give the image of the sidecar")
    url = reader.text("OPERATOR_URL", f"https://{OWN_NAME}.{namespace}.svc:{CONFIG_PORT}").rstrip("/")
    if not _is_https(url):
        reader.problems.append(f"TIDEGATE_OPERATOR_URL={url!r}: expected https://HOST:PORT")
    audiences = reader.words("SIDECAR_AUDIENCES")
    if long := [it for it in audiences if len(quote(it, safe="")) > _MAX_FILE_NAME]:
        reader.problems.append(
            f"TIDEGATE_SIDECAR_AUDIENCES={long[0]!r}: too long, each becomes the name of a file"
        )
    families = tuple(
        reader.member("SIDECAR_IP_FAMILIES", it, Family) for it in reader.words("SIDECAR_IP_FAMILIES")
    )
    return Template(
        version=version("tidegate"),
        image=image,
        operator_url=url,
        images=reader.words("SIDECAR_IMAGES"),
        pull_policy=reader.word("SIDECAR_PULL_POLICY", "IfNotPresent", _PULL_POLICIES),
        pull_secrets=reader.words("SIDECAR_PULL_SECRETS"),
        user=reader.user("SIDECAR_USER"),
        resources=_resources(reader),
        startup=reader.member("SIDECAR_STARTUP", reader.text("SIDECAR_STARTUP", Startup.START), Startup),
        audiences=audiences,
        keys_secret=reader.unless_none("SIDECAR_KEYS_SECRET", KEYS_SECRET),
        environment=reader.variables("SIDECAR_ENV"),
        authorities=reader.authorities("SIDECAR_CA"),
        https_proxy=reader.text("SIDECAR_HTTPS_PROXY", ""),
        no_proxy=reader.text("SIDECAR_NO_PROXY", ""),
        families=families or FAMILIES,
        mesh_proxies=reader.words("SIDECAR_MESH_PROXIES") or MESH_PROXIES,
    )


def _resources(reader: _Reader) -> Resources:
    defaults = Resources()
    found = Resources(
        cpu_request=reader.quantity("SIDECAR_CPU_REQUEST", defaults.cpu_request),
        cpu_limit=reader.quantity("SIDECAR_CPU_LIMIT", defaults.cpu_limit),
        memory_request=reader.quantity("SIDECAR_MEMORY_REQUEST", defaults.memory_request),
        memory_limit=reader.quantity("SIDECAR_MEMORY_LIMIT", defaults.memory_limit),
        storage_request=reader.quantity("SIDECAR_EPHEMERAL_STORAGE_REQUEST", ""),
        storage_limit=reader.quantity("SIDECAR_EPHEMERAL_STORAGE_LIMIT", ""),
    )
    for what, request, limit in (
        ("CPU", found.cpu_request, found.cpu_limit),
        ("MEMORY", found.memory_request, found.memory_limit),
        ("EPHEMERAL_STORAGE", found.storage_request, found.storage_limit),
    ):
        asked, bound = parse_quantity(request), parse_quantity(limit)
        if asked is not None and bound is not None and asked > bound:
            reader.problems.append(
                f"TIDEGATE_SIDECAR_{what}_REQUEST={request!r}: must not be above TIDEGATE_SIDECAR_{what}_LIMIT={limit!r}"
            )
    return found


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.path == "" and parts.port != 0
    except ValueError:
        return False


class _Reader:
    """Reads variables, named without their prefix, and gathers what is wrong; an empty variable counts as not set."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def text(self, name: str, default: str) -> str:
        return self._environment.get(f"TIDEGATE_{name}", "").strip() or default

    def unless_none(self, name: str, default: str) -> str:
        found = self.text(name, default)
        return "" if found == "none" else found

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for part in self.text(name, "").split(",") if (word := part.strip()))

    def word(self, name: str, default: str, known: tuple[str, ...]) -> str:
        found = self.text(name, default)
        if found not in known:
            self._wrong(name, found, f"one of {', '.join(known)}")
        return found

    def member(self, name: str, text: str, known: type[_Word]) -> _Word:
        for member in known:
            if member.value == text:
                return member
        self._wrong(name, text, f"one of {', '.join(it.value for it in known)}")
        return next(iter(known))

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        text = self.text(name, str(default))
        if not (text.isascii() and text.isdigit() and lowest <= int(text) <= highest):
            self._wrong(name, text, f"an integer from {lowest} to {highest}")
            return default
        return int(text)

    def user(self, name: str) -> int | None:
        if self.text(name, "") == PLATFORM:
            return None
        # 0 would be refused by the container's own runAsNonRoot
        return self.integer(name, SIDECAR_USER, 1, _MAX_USER)

    def quantity(self, name: str, default: str) -> str:
        found = self.unless_none(name, default)
        value = parse_quantity(found) if found else None
        if found and (value is None or value <= 0):
            self._wrong(name, found, "a quantity such as 100m or 64Mi, or none")
        return found

    def variables(self, name: str) -> tuple[tuple[str, str], ...]:
        text = self.text(name, "{}")
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, dict) and all(key and isinstance(it, str) for key, it in found.items()):
            return tuple(sorted(found.items()))
        self._wrong(name, text, 'a JSON object of texts, such as {"NAME": "value"}')
        return ()

    def authorities(self, name: str) -> Authorities | None:
        text = self.text(name, "")
        kind, _, rest = text.partition("/")
        of_name, _, key = rest.partition("/")
        if text and not (kind in _SOURCES and of_name and key):
            self._wrong(name, text, "configMap/NAME/KEY or secret/NAME/KEY")
            return None
        return Authorities(kind=kind, name=of_name, key=key) if text else None

    def address(self, name: str, default: Address) -> Address:
        text = self.text(name, "")
        if not text:
            return default
        try:
            return parse_address(text)
        except ValueError as error:
            self.problems.append(f"TIDEGATE_{name}: {error}")
            return default

    def _wrong(self, name: str, found: str, expected: str) -> None:
        self.problems.append(f"TIDEGATE_{name}={found!r}: expected {expected}")
