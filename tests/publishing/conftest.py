"""One replica of the operator with one pod, and a client that speaks the protocol by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tidegate_testing.publisher import Cluster, Poller, Publisher, a_pod, running_publisher


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(a_pod())


@pytest.fixture
async def publisher(cluster: Cluster) -> AsyncIterator[Publisher]:
    async with running_publisher(cluster) as publisher:
        yield publisher


@pytest.fixture
async def poller(publisher: Publisher) -> AsyncIterator[Poller]:
    async with Poller(publisher) as poller:
        yield poller


@pytest.fixture
def token(cluster: Cluster) -> str:
    return cluster.token(a_pod())
