"""Last good forms, kept in ConfigMaps of the operator's namespace.

Every replica reads them, before its first compile and whenever an object is not valid; the holder of the Lease writes
them. A ConfigMap holds one shard; a write is conditional on the version that was read, and what another holder has
written meanwhile is taken in first, so the forms of two of them are never lost for each other.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from tidegate_operator.cluster.client import ClusterClient, object_path
from tidegate_operator.cluster.errors import ConflictError, NotFoundError
from tidegate_operator.index.last_good import SHARDS, LastGood, Shard
from tidegate_operator.telemetry.metrics import Metrics

_NAME: Final = "tidegate-last-good"
_TRIES = 3
_log = logging.getLogger(__name__)


def shard_names() -> tuple[str, ...]:
    """Names of the ConfigMaps."""
    return tuple(f"{_NAME}-{number}" for number in range(SHARDS))


class LastGoodStore:
    """Reads and writes the forms."""

    def __init__(self, client: ClusterClient, namespace: str, metrics: Metrics) -> None:
        """Nothing is read yet."""
        self._client = client
        self._namespace = namespace
        self._metrics = metrics
        self._documents: dict[int, dict[str, Any]] = {}
        """Each shard as it was last read or written."""

    async def read(self, forms: LastGood) -> bool:
        """Take all persisted forms in; whether one of them is newer than what was known.

        Raises:
            ClusterError: they could not be read.
        """
        is_news = False
        for number in range(SHARDS):
            is_news |= await self._read(number, forms)
        return is_news

    async def write(self, forms: LastGood) -> None:
        """Persist what differs from what is persisted.

        Raises:
            ClusterError: not everything could be written; writing again goes on from there.
        """
        left_out = 0
        for number in range(SHARDS):
            for _ in range(_TRIES):
                shard = forms.shard(number)
                if self._is_written(number, shard):
                    break
                try:
                    await self._write(number, shard)
                    break
                except (ConflictError, NotFoundError):
                    await self._read(number, forms)
            left_out += len(shard.left_out)
        self._metrics.last_good_left_out.set(left_out)
        if left_out:
            _log.warning("%d last good forms are too large to be persisted", left_out)

    def _is_written(self, number: int, shard: Shard) -> bool:
        document = self._documents.get(number)
        return (document.get("data") or {} if document else {}) == shard.data

    async def _read(self, number: int, forms: LastGood) -> bool:
        document = await self._client.find(self._path(number))
        if document is None:
            self._documents.pop(number, None)
            return False
        self._documents[number] = document
        return forms.read(document.get("data") or {})

    async def _write(self, number: int, shard: Shard) -> None:
        known = self._documents.get(number)
        metadata: dict[str, Any] = {"name": shard_names()[number], "namespace": self._namespace}
        if known is not None:
            metadata["resourceVersion"] = known["metadata"]["resourceVersion"]
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(shard.data)}
        if known is None:
            path = object_path("v1", "configmaps", self._namespace)
            self._documents[number] = await self._client.request("POST", path, body=body)
        else:
            self._documents[number] = await self._client.request("PUT", self._path(number), body=body)

    def _path(self, number: int) -> str:
        return object_path("v1", "configmaps", self._namespace, shard_names()[number])
