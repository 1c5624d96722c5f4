"""What the platform says about every sidecar: the chart's values as one value (PURE)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tidegate_operator.inject.environment import SERVED
from tidegate_policy import keys
from tidegate_policy.provider_types import Sdk

SIDECAR_USER: Final = 65_532
"""The image's own user; "nonroot" in many images."""


KEYS_SECRET: Final = keys.KEYS_SECRET
MESH_PROXIES: Final = ("istio-proxy", "linkerd-proxy", "kuma-sidecar", "consul-dataplane")


class Startup(StrEnum):
    """When the application starts."""

    START = "Start"
    """As soon as its sidecar listens; until there is a configuration, calls get 503 `config_pending`."""
    WAIT = "Wait"
    """When its sidecar has a configuration."""


class Family(StrEnum):
    """An IP family that pods have."""

    IPV4 = "IPv4"
    IPV6 = "IPv6"


FAMILIES: Final = (Family.IPV4,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Quantities as Kubernetes writes them; empty: left out."""

    cpu_request: str = "50m"
    """At 100 microseconds a call, 500 calls a second."""
    cpu_limit: str = "1"
    """As much as one process of Python can use. With half of it, a start takes 1.25 s instead of 0.65, and pods wait for it."""
    memory_request: str = "64Mi"
    """What it takes with some pools and no load."""
    memory_limit: str = "256Mi"
    storage_request: str = ""
    """Ephemeral storage, for clusters that demand it of every container."""
    storage_limit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """Where authorities of providers' certificates are, in the pod's own namespace."""

    kind: str
    """`configMap` or `secret`."""
    name: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """What all sidecars of this platform have in common."""

    version: str
    """Of Tidegate, for people to read in the status of a pod."""
    image: str
    operator_url: str
    """`https://HOST:PORT`, where sidecars get their configurations."""
    images: tuple[str, ...] = ()
    """Other images that a pod may ask for: exact, or a beginning followed by `*`."""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Secrets of the pod's own namespace with which the image is pulled."""
    user: int | None = SIDECAR_USER
    """User and group; None: the platform chooses, as OpenShift insists on."""
    resources: Resources = Resources()
    startup: Startup = Startup.START
    sdks: tuple[Sdk, ...] = SERVED
    """Whose base URLs applications get."""
    audiences: tuple[str, ...] = ()
    """Each gets a ServiceAccount token of its own: for Vault, for exchanges of tokens."""
    keys_secret: str = KEYS_SECRET
    """Secret of the pod's own namespace with provider keys, where there is one. Empty: never mounted."""
    environment: tuple[tuple[str, str], ...] = ()
    """Further variables of sidecars; those that the injector itself gives go before them."""
    authorities: Authorities | None = None
    """For providers, in place of the public ones. Pods of a namespace without them do not start."""
    https_proxy: str = ""
    """`http://HOST:PORT` through which providers are reached. Empty: directly."""
    no_proxy: str = ""
    """Hosts that are reached directly all the same, separated by commas."""
    families: tuple[Family, ...] = FAMILIES
    """Of pods: where the sidecar listens."""
    mesh_proxies: tuple[str, ...] = MESH_PROXIES
    """Containers through which a mesh leads all traffic of a pod: sidecars start after them."""

    def allows_image(self, image: str) -> bool:
        """Whether a pod may ask for `image`."""
        return image == self.image or any(
            image.startswith(allowed[:-1]) if allowed.endswith("*") else image == allowed
            for allowed in self.images
        )
