"""Acks reach the leader: batched, tried again, told whole to a new leader, and bounded while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tidegate_testing.publisher import Cluster, Observer, Publisher, a_pod, a_report, running_publisher

from tidegate_operator.publish.forward import Forwarder, ForwardSettings, Leader
from tidegate_operator.publish.reports import PodReport

QUICK = ForwardSettings(interval_s=0.005, retry_max_s=0.02, request_s=5, batch=10, pending=50)


def leader_of(publisher: Publisher) -> Leader:
    return Leader(url=publisher.url, server_name="localhost")


class Setting:
    """A forwarder, and what a test changes around it."""

    def __init__(self, cluster: Cluster) -> None:
        self.leader: Leader | None = None
        self.token = cluster.operator_token()
        self.trust = ""
        self.heard: tuple[PodReport, ...] = ()
        self.observer = Observer()
        self.forwarder = Forwarder(
            leader=lambda: self.leader,
            token=lambda: self.token,
            trust=lambda: self.trust,
            heard=lambda: self.heard,
            settings=QUICK,
            observer=self.observer,
            monotonic_ns=lambda: 0,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Forwarder]:
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.forwarder.run())
            yield self.forwarder
            task.cancel()


@pytest.fixture
def setting(cluster: Cluster) -> Setting:
    return Setting(cluster)


async def until(publisher: Publisher, predicate: Callable[[], bool]) -> None:
    while not predicate():
        await publisher.observer.until(lambda it, seen=dict(publisher.observer.results): it.results != seen)  # type: ignore[misc] # mypy reads no defaults of lambdas


async def test_acks_reach_the_leader_in_batches(publisher: Publisher, setting: Setting) -> None:
    setting.leader, setting.trust = leader_of(publisher), publisher.bundle.trust
    async with setting.running() as forwarder:
        for number in range(25):
            forwarder.offer(a_report(pod_uid=f"pod-{number}", digest="d"))
        await until(publisher, lambda: len(publisher.book) == 25)
        assert publisher.observer.results["acks"] == 3
        await setting.observer.until(lambda it: it.results.get("taken") == 3)
        await setting.observer.until(lambda _: forwarder.pending == 0)


async def test_what_did_not_get_there_is_sent_again(publisher: Publisher, setting: Setting) -> None:
    good, setting.token = setting.token, "nonsense"
    setting.leader, setting.trust = leader_of(publisher), publisher.bundle.trust
    async with setting.running() as forwarder:
        forwarder.offer(a_report(pod_uid="a", digest="old"))
        await setting.observer.until(lambda it: it.results.get("failed", 0) >= 2)
        forwarder.offer(a_report(pod_uid="a", digest="new"))
        assert forwarder.pending == 1
        setting.token = good
        await until(publisher, lambda: len(publisher.book) == 1)
    report = publisher.book.get("a")
    assert report is not None
    ack = report.ack
    assert ack.digest == "new"


async def test_a_new_leader_is_told_everything(
    publisher: Publisher, setting: Setting, cluster: Cluster
) -> None:
    setting.trust = publisher.bundle.trust
    setting.heard = (a_report(pod_uid="a", digest="d"), a_report(pod_uid="b", digest="d"))
    async with (
        running_publisher(cluster, bundle=publisher.bundle) as successor,
        setting.running() as forwarder,
    ):
        setting.leader = leader_of(publisher)
        await until(publisher, lambda: len(publisher.book) == 2)
        setting.leader = leader_of(successor)
        await until(successor, lambda: len(successor.book) == 2)
        await setting.observer.until(lambda _: forwarder.pending == 0)


async def test_a_leader_that_cannot_be_trusted_gets_nothing(publisher: Publisher, setting: Setting) -> None:
    setting.leader = leader_of(publisher)
    for trust in ("", "nonsense"):
        setting.trust = trust
        async with setting.running() as forwarder:
            forwarder.offer(a_report(pod_uid="a"))
            failed = setting.observer.results.get("failed", 0)
            await setting.observer.until(lambda it, failed=failed: it.results.get("failed", 0) > failed)  # type: ignore[misc] # the same
    assert len(publisher.book) == 0


async def test_without_a_leader_there_is_a_bound(setting: Setting) -> None:
    for number in range(500):
        setting.forwarder.offer(a_report(pod_uid=f"pod-{number}"))
    assert setting.forwarder.pending == 50


async def test_the_leader_itself_forwards_nothing(setting: Setting) -> None:
    async with setting.running() as forwarder:
        forwarder.offer(a_report(pod_uid="a"))
        while forwarder.pending:  # noqa: ASYNC110 - nobody is told that nothing was sent
            await asyncio.sleep(0)
    assert setting.observer.results == {}


async def test_a_pod_is_not_mistaken_for_a_replica(publisher: Publisher, setting: Setting) -> None:
    setting.leader, setting.trust = leader_of(publisher), publisher.bundle.trust
    setting.token = publisher.cluster.token(a_pod())
    async with setting.running() as forwarder:
        forwarder.offer(a_report(pod_uid="a"))
        await publisher.observer.until(lambda it: "not_an_operator" in it.results)
    assert len(publisher.book) == 0
