"""Secrets of the operator's namespace, by name: its certificates, the injector's, keys of seals. No other Secret is ever read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

from tidegate_operator.cluster.client import ClusterClient, object_path
from tidegate_operator.cluster.errors import ConflictError

CERTIFICATES: Final = "tidegate-certificates"
INJECTOR_CERTIFICATES: Final = "tidegate-injector-certificates"
"""What the injector mounts; no authority's key is in it."""

SEALS: Final = "tidegate-seals"
"""Keys by which replicas know what they have told sidecars."""

_TYPE: Final = "Opaque"
"""Of Secrets that are made here."""


class SecretStore:
    """Reads and replaces the data of one Secret; what it means is for others to know."""

    def __init__(self, client: ClusterClient, namespace: str, name: str = CERTIFICATES) -> None:
        """Nothing is read yet."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._metadata: dict[str, Any] = {}
        self._type = _TYPE

    async def read(self) -> tuple[Mapping[str, bytes], str] | None:
        """Data and resourceVersion; None when there is no such Secret.

        Raises:
            ClusterError: it could not be read.
        """
        document = await self._client.find(self._path())
        if document is None:
            return None
        self._metadata = document["metadata"]
        self._type = str(document.get("type") or _TYPE)
        data = {str(key): _decoded(value) for key, value in (document.get("data") or {}).items()}
        return data, str(self._metadata["resourceVersion"])

    async def write(self, data: Mapping[str, bytes], version: str) -> str | None:
        """Replace the data if the Secret still has `version` (empty: if there is none); the new version.

        None: somebody else was faster, and nothing was written.

        Raises:
            ClusterError: it could not be written, or nobody knows whether it was.
        """
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if version:
            # somebody's labels stay
            metadata = {**self._metadata, **metadata, "resourceVersion": version}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            # It can never be changed: a Secret that cert-manager has made is of another one, and stays that.
            "type": self._type if version else _TYPE,
            "metadata": metadata,
            "data": {key: base64.b64encode(value).decode("ascii") for key, value in sorted(data.items())},
        }
        try:
            if version:
                document = await self._client.request("PUT", self._path(), body=body)
            else:
                document = await self._client.request("POST", self._collection(), body=body)
        except ConflictError:
            return None
        self._metadata = document["metadata"]
        return str(self._metadata["resourceVersion"])

    def _collection(self) -> str:
        return object_path("v1", "secrets", self._namespace)

    def _path(self) -> str:
        return object_path("v1", "secrets", self._namespace, self._name)


def _decoded(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
