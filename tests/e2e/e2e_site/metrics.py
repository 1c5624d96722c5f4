"""Metrics of pods, read through the API server."""

from __future__ import annotations

import math

from tidegate_node.access import Cluster

MIB = 2**20


def metric(cluster: Cluster, namespace: str, pod: str, port: int, sample: str) -> float:
    """The value of one line, labels being part of `sample`; NaN where there is none."""
    text = cluster.kubectl("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics")
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name == sample:
            return float(value)
    return math.nan


def memory_mib(cluster: Cluster, namespace: str, pod: str, port: int) -> float:
    """Resident memory of the process behind a metrics port."""
    return metric(cluster, namespace, pod, port, "process_resident_memory_bytes") / MIB
