"""When a replica takes the Lease, and until when it may believe that it holds it, by a clock that the test moves."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from tidegate_operator.cluster.client import ClusterClient
from tidegate_operator.cluster.elector import Elector
from tidegate_operator.cluster.errors import ConflictError
from tidegate_operator.cluster.lease import Record, Terms, held, read_record
from tidegate_operator.cluster.replicas import annotation, named_in
from tidegate_operator.telemetry.metrics import Metrics

S_NS = 1_000_000_000
TERMS = Terms(duration_ms=15_000, renew_ms=10_000, retry_ms=2_000)
NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)


class LeaseOnly:
    """A Lease as the API server keeps it. An answer takes `slow_ns` on the way back."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * S_NS
        self.slow_ns = 0
        self.conflicts = 0
        """Writes of a whole Lease that somebody else comes before."""
        self.document: dict[str, Any] | None = None

    def renewed_by(self, holder: str) -> None:
        """Another replica takes or renews it."""
        record = Record(holder=holder, duration_ms=TERMS.duration_ms)
        when = datetime.fromtimestamp(self.now_ns / S_NS, UTC)
        self.document = held(
            self.document, "home", record, when, named=annotation(holder, (), str(self.now_ns))
        )

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.find(path)
        assert answer is not None
        return answer

    async def find(self, _: str) -> dict[str, Any] | None:
        answer = self.document
        self.now_ns += self.slow_ns
        return answer

    async def request(self, method: str, _: str, *, body: Mapping[str, Any], content_type: str = "") -> Any:
        assert (method == "PATCH") == bool(content_type)
        if method == "PATCH":
            assert self.document is not None
            metadata = self.document["metadata"]
            merged = {**metadata["annotations"], **body["metadata"]["annotations"]}
            self.document = {**self.document, "metadata": {**metadata, "annotations": merged}}
        elif self.conflicts:
            self.conflicts -= 1
            raise ConflictError(method, 409, "Conflict", "the object has been modified")
        else:
            self.document = dict(body)
        return self.document


def elector(lease: LeaseOnly, name: str = "me") -> Elector:
    return Elector(
        client=cast("ClusterClient", lease),
        namespace="home",
        identity=name,
        address="",
        terms=TERMS,
        metrics=Metrics(),
        kinds=frozenset({"AIPolicy"}),
        monotonic_ns=lambda: lease.now_ns,
    )


async def test_the_time_that_an_answer_takes_is_no_time_in_which_the_holder_was_silent() -> None:
    lease = LeaseOnly()
    lease.renewed_by("other")
    me = elector(lease)
    lease.slow_ns = 10 * S_NS
    await me.look()  # asked at 0 s, known from 10 s on
    lease.slow_ns, lease.now_ns = 0, lease.now_ns + 6 * S_NS
    await me.look()  # 16 s after it was asked for, and 6 s after it was read
    assert not me.is_leading
    lease.now_ns += 10 * S_NS
    await me.look()
    assert me.is_leading


async def test_a_holder_counts_its_time_from_before_its_request() -> None:
    lease = LeaseOnly()
    me = elector(lease)
    lease.slow_ns = 4 * S_NS
    await me.look()
    assert me.is_leading
    lease.now_ns += 6 * S_NS  # 10 s after the request, 6 s after the answer
    assert not me.is_leading


async def test_before_what_cannot_be_undone_the_cluster_is_asked_again() -> None:
    lease = LeaseOnly()
    me = elector(lease)
    await me.look()
    assert await me.confirm()
    lease.now_ns += 9_500_000_000
    assert me.is_leading
    assert not await me.confirm(), "it has half a second left"
    await me.look()
    lease.renewed_by("other")
    assert me.is_leading
    assert not await me.confirm(), "somebody else has it"


async def test_a_replica_that_names_itself_does_not_cost_the_holder_its_lease() -> None:
    lease = LeaseOnly()
    me, other = elector(lease), elector(lease, "other")
    for _ in range(20):
        await me.look()
        await other.look()
        lease.now_ns += 2 * S_NS
        assert me.is_leading
        assert not other.is_leading
    assert lease.document is not None
    assert len(named_in(lease.document)) == 2
    await other.release()
    assert len(named_in(lease.document)) == 1
    assert read_record(lease.document).holder == "me"


async def test_a_holder_that_is_dead_is_followed_by_another_though_others_name_themselves() -> None:
    lease = LeaseOnly()
    lease.renewed_by("dead")
    me, other = elector(lease), elector(lease, "other")
    for _ in range(10):
        await me.look()
        await other.look()
        lease.now_ns += 2 * S_NS
    assert [me.is_leading, other.is_leading].count(True) == 1


async def test_a_lease_is_given_back_though_others_name_themselves_in_that_moment() -> None:
    lease = LeaseOnly()
    me = elector(lease)
    await me.look()
    lease.conflicts = 2
    await me.release()
    assert lease.document is not None
    assert read_record(lease.document).holder == ""
    other = elector(lease, "other")
    await other.look()
    assert other.is_leading


async def test_an_epoch_that_somebody_has_seen_is_raised_above_only_where_the_lease_does_not_know_it() -> (
    None
):
    """A sidecar tells of an epoch before this replica has read the Lease again: that is no backup."""
    lease = LeaseOnly()
    first = elector(lease, "first")
    await first.look()
    second = elector(lease, "second")
    await second.look()
    first.raise_epoch()
    await first.look()
    raised = first.epoch
    assert raised > second.epoch

    second.raise_epoch(above=raised)
    second.raise_epoch()
    await first.release()
    await second.look()
    assert second.is_leading
    assert second.epoch == raised

    second.raise_epoch(above=raised + 1_000)
    await second.look()
    assert second.epoch > raised + 1_000
