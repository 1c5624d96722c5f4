"""The two webhook configurations of one name: whom the API server trusts when it calls the injector."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.cluster.client import STRATEGIC_PATCH, ClusterClient, object_path
from tidegate_operator.cluster.errors import ConflictError, NotFoundError

_API: Final = "admissionregistration.k8s.io/v1"
_RESOURCES: Final = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
WEBHOOK_CONFIGURATIONS: Final = tuple(object_path(_API, resource, "") for resource in _RESOURCES)
"""Paths of the collections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusting:
    """Our entries as they are stored.

    Attributes:
        version: of the objects, for `patch`.
        bundles: name of the entry to its `caBundle`, decoded; empty where there is none.
    """

    version: str
    bundles: Mapping[str, bytes]


class WebhookStore:
    """Reads `caBundle`, and changes it alone."""

    def __init__(self, client: ClusterClient, name: str) -> None:
        """Nothing is read yet."""
        self._client = client
        self._entries: dict[str, frozenset[str]] = {
            object_path(_API, resource, "", name): frozenset() for resource in _RESOURCES
        }
        """Names of our entries in each of the objects, as they were read last."""

    async def read(self, names: Collection[str]) -> Trusting | None:
        """The entries of these names in both objects; None when there is none of them.

        Raises:
            ClusterError: it could not be read.
        """
        bundles: dict[str, bytes] = {}
        versions = []
        for path in self._entries:
            document = await self._client.find(path) or {}
            found = {
                str(entry["name"]): _decoded((entry.get("clientConfig") or {}).get("caBundle"))
                for entry in document.get("webhooks") or ()
                if entry["name"] in names
            }
            self._entries[path] = frozenset(found)
            bundles |= found
            versions.append(str(document["metadata"]["resourceVersion"]) if document else "")
        return Trusting(version=",".join(versions), bundles=bundles) if bundles else None

    async def patch(self, change: Mapping[str, Any], version: str) -> bool:
        """Send each object its part of a strategic merge patch if it still has `version`; False when one has not, or is gone.

        Raises:
            ClusterError: it could not be written, or nobody knows whether it was.
        """
        for (path, names), of_object in zip(self._entries.items(), version.split(","), strict=True):
            entries = [it for it in change["webhooks"] if it["name"] in names]
            if not entries:
                continue
            body = {"webhooks": entries, "metadata": {"resourceVersion": of_object}}
            try:
                await self._client.request("PATCH", path, body=body, content_type=STRATEGIC_PATCH)
            except (ConflictError, NotFoundError):
                return False
        return True


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value or ""), validate=True)
    except (binascii.Error, ValueError):
        return b""
