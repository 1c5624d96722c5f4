"""ServiceAccount tokens: the keys that they are signed with, and what the API server says about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.cluster.client import ClusterClient

_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCOUNT: Final = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What the API server says about a token.

    Attributes:
        problem: why it does not vouch for it; empty when it does. The rest then says whom it stands for.
        pod_name: of the pod that the token is bound to, empty when it is bound to none.
        pod_uid: the same.
    """

    problem: str = ""
    namespace: str = ""
    service_account: str = ""
    pod_name: str = ""
    pod_uid: str = ""


async def review(client: ClusterClient, token: str, audience: str) -> Review:
    """Ask about a token that is meant for `audience`.

    Raises:
        ClusterError: the API server could not be asked.
    """
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }
    answer = await client.request("POST", _REVIEWS, body=body)
    return read_review(answer.get("status") or {}, audience)


def read_review(status: Mapping[str, Any], audience: str) -> Review:
    """The status of a TokenReview as a value."""
    if not status.get("authenticated"):
        return Review(problem=str(status.get("error") or "not authenticated"))
    if audience not in (status.get("audiences") or ()):
        # an authenticator that knows nothing of audiences vouches for any token that it knows
        return Review(problem=f"not meant for {audience}")
    user = status.get("user") or {}
    name = str(user.get("username") or "")
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if not name.startswith(_ACCOUNT) or not account:
        return Review(problem="the token of a user, not of a ServiceAccount")
    extra = user.get("extra") or {}
    return Review(
        namespace=namespace,
        service_account=account,
        pod_name=_first(extra, _POD_NAME),
        pod_uid=_first(extra, _POD_UID),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs tokens: the value of `iss`, and the keys as a JSON Web Key Set."""

    name: str
    jwks: Mapping[str, Any]


async def issuer(client: ClusterClient) -> Issuer:
    """Read who signs tokens now.

    Raises:
        ClusterError: the API server could not be asked.
    """
    configuration = await client.get("/.well-known/openid-configuration")
    # the path of this API server, and not the `jwks_uri` of the document: that may lead out of the cluster
    jwks = await client.get("/openid/v1/jwks", accept="application/jwk-set+json")
    return Issuer(name=str(configuration["issuer"]), jwks=jwks)


def _first(extra: Mapping[str, Any], name: str) -> str:
    values = extra.get(name) or ()
    return str(values[0]) if values else ""
