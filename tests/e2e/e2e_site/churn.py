"""Pods that are made all the time, by dry runs: each is admitted by the injector or tells that it was not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tidegate_cluster.errors import KubectlFailedError
from tidegate_node.access import Cluster

_PAUSE_S = 0.1


class Churn:
    """What has become of them; the thread that makes them is the only one that writes."""

    def __init__(self, cluster: Cluster, document: dict[str, Any], sidecar: str) -> None:
        self._cluster = cluster
        self._document = json.dumps(document)
        self._sidecar = sidecar
        self._over = threading.Event()
        self.admitted = 0
        self.refused: list[str] = []

    @contextmanager
    def going_on(self) -> Iterator[Churn]:
        """Until the block ends, or `stop` is called."""
        thread = threading.Thread(target=self._run, name="pods")
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def stop(self) -> None:
        """Make no more; the one under way is still counted."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(_PAUSE_S):
            try:
                answer = self._cluster.kubectl(
                    "create", "--dry-run=server", "--output=json", "-f", "-", stdin=self._document
                )
            except KubectlFailedError as error:
                self.refused.append(str(error))
                continue
            names = [it["name"] for it in json.loads(answer)["spec"].get("initContainers", [])]
            if self._sidecar in names:
                self.admitted += 1
            else:
                self.refused.append(f"a pod without a sidecar: {names}")
