"""One MutatingWebhookConfiguration, by name: whom the API server trusts when it calls the injector."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.cluster.client import STRATEGIC_PATCH, ClusterClient, object_path
from tidegate_operator.cluster.errors import ConflictError, NotFoundError

_API: Final = "admissionregistration.k8s.io/v1"
_PLURAL: Final = "mutatingwebhookconfigurations"
WEBHOOK_CONFIGURATIONS: Final = object_path(_API, _PLURAL, "")
"""Path of the collection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trusting:
    """Our entries as they are stored.

    Attributes:
        version: resourceVersion of the object.
        bundles: name of the entry to its `caBundle`, decoded; empty where there is none.
    """

    version: str
    bundles: Mapping[str, bytes]


class WebhookStore:
    """Reads `caBundle`, and changes it alone."""

    def __init__(self, client: ClusterClient, name: str) -> None:
        """Nothing is read yet."""
        self._client = client
        self._path = object_path(_API, _PLURAL, "", name)

    async def read(self, names: Collection[str]) -> Trusting | None:
        """The entries of these names; None when the object is not there or has none of them.

        Raises:
            ClusterError: it could not be read.
        """
        document = await self._client.find(self._path)
        if document is None:
            return None
        bundles = {
            str(entry["name"]): _decoded((entry.get("clientConfig") or {}).get("caBundle"))
            for entry in document.get("webhooks") or ()
            if entry["name"] in names
        }
        version = str(document["metadata"]["resourceVersion"])
        return Trusting(version=version, bundles=bundles) if bundles else None

    async def patch(self, change: Mapping[str, Any], version: str) -> bool:
        """Send a strategic merge patch if the object still has `version`; False when it has not, or is gone.

        Raises:
            ClusterError: it could not be written, or nobody knows whether it was.
        """
        body = {**change, "metadata": {"resourceVersion": version}}
        try:
            await self._client.request("PATCH", self._path, body=body, content_type=STRATEGIC_PATCH)
        except (ConflictError, NotFoundError):
            return False
        return True


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value or ""), validate=True)
    except (binascii.Error, ValueError):
        return b""
