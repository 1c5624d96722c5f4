"""What the publisher has to be told about the cluster: who signs tokens, whether one still holds, which pod it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from tidegate_operator.index.snapshot import Workload
from tidegate_policy.model import WorkloadIdentity


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """With what the cluster signs ServiceAccount tokens.

    Attributes:
        issuers: values of `iss` that are right, as /.well-known/openid-configuration says; more than one while an API
            server changes its issuer.
        jwks: the document of /openid/v1/jwks.
    """

    issuers: tuple[str, ...]
    jwks: Mapping[str, object]


class KeySource(Protocol):
    """Reads the cluster's signing keys."""

    async def keys(self) -> KeySet:
        """The keys of now. Any exception means that they cannot be had, and is logged by whoever asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewed:
    """The API server vouches for a token.

    Attributes:
        pod_name: of the pod that the token is bound to; empty when it is bound to none.
        pod_uid: the same.
        expires: seconds since the epoch; 0: the token says it itself.
    """

    namespace: str
    service_account: str
    pod_name: str = ""
    pod_uid: str = ""
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server does not vouch for a token, e.g. since its pod was deleted; `why` never quotes the token."""

    why: str


class TokenReviewer(Protocol):
    """Asks the API server about a token."""

    async def review(self, token: str) -> Reviewed | Refused:
        """One TokenReview for our audience. Any exception means that the API server could not be asked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """A pod as the operator itself sees it; nothing in here is the pod's own word."""

    name: str
    uid: str
    workload: Workload
    service_account: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> WorkloadIdentity:
        """What its sidecar is told about itself."""
        return WorkloadIdentity(
            namespace=self.workload.namespace,
            workload_kind=self.workload.kind,
            workload_name=self.workload.name,
            service_account=self.service_account,
            pod=self.name,
            labels=tuple(sorted(self.labels.items())),
        )


class PodDirectory(Protocol):
    """The pods that are watched."""

    def find(self, namespace: str, name: str, uid: str) -> PodFacts | None:
        """The pod of this name and uid; None when it was deleted or has not been seen yet."""
        ...


@dataclass(frozen=True, slots=True, order=True)
class ServiceAccount:
    """A ServiceAccount by name."""

    namespace: str
    name: str
