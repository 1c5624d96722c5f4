"""Two replicas and more: all serve, one writes, and sidecars never see time go backwards."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tidegate_testing.operators import STEADY, Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar
from tidegate_testing.proxy import Proxy

Operators = Callable[..., OperatorProcess]

PATIENT = {"TIDEGATE_LEASE_DURATION_MS": "10000", "TIDEGATE_LEASE_RENEW_MS": "8000"}
"""A Lease that runs out within the test, and not because the machine is busy."""

WHOLE: dict[str, Any] = {"pools": ["models"], "limits": {"all": 5}}


def limited(namespace: str, requests: int) -> dict[str, object]:
    return policy(namespace, rateLimits=[{"name": "all", "requests": requests, "per": "1m"}])


def observed(cluster: Cluster, namespace: str) -> int:
    status = cluster.get("aipolicy", namespace, "chat").get("status") or {}
    return int(status.get("observedGeneration", 0))


def test_all_replicas_serve_the_same_and_one_leads(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replicas = [operator(**STEADY).wait_ready(), operator(**STEADY).wait_ready()]
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))

    sidecars = [PollingSidecar(cluster, home, team, "chat-0") for _ in replicas]
    envelopes = [sidecar.has(replica, **WHOLE) for sidecar, replica in zip(sidecars, replicas, strict=True)]

    assert envelopes[0].config == envelopes[1].config
    assert sidecars[0].tag == sidecars[1].tag
    replicas[0].until(lambda: [replica.leads for replica in replicas].count(True) == 1, "one of them to lead")


def test_a_leader_that_is_killed_is_replaced(cluster: Cluster, operator: Operators, team: str) -> None:
    first = operator().wait_ready()
    second = operator().wait_ready()
    cluster.apply(pool(team), limited(team, 5))
    first.until(lambda: observed(cluster, team) == 1, "the first status")

    first.kill()
    cluster.apply(limited(team, 6))

    second.until(lambda: observed(cluster, team) == 2, "the status by the second replica")
    second.until(lambda: second.leads, "the second replica to lead")


def test_a_new_leader_hears_the_sidecars_before_it_says_that_they_are_silent(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    """Else each upgrade of the operator would show every object as not ready for a while."""
    patient = {"TIDEGATE_HEARING_MS": "600000", **PATIENT}
    first = operator(**patient).wait_ready()
    second = operator(**patient).wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    cluster.run_sidecar(team, "chat-0")
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(first, **WHOLE)
    assert not sidecar.poll(first)

    def programmed() -> str:
        status = cluster.get("aipolicy", team, "chat").get("status") or {}
        counted = status.get("sidecars", {}).get("programmed", 0)
        return f"{cluster.condition('aipolicy', team, 'chat', 'Programmed')} {counted}"

    first.until(lambda: programmed() == "True/Programmed 1", "the sidecar's word")
    first.kill()
    second.until(lambda: second.leads, "the second replica to lead")
    # An object that concerns nobody is told of at once: the new leader writes, and has looked at everything.
    cluster.apply(policy(team, "nobody", targetRefs=[{"kind": "Deployment", "name": "none"}]))
    second.until(
        lambda: cluster.condition("aipolicy", team, "nobody", "Accepted") != "", "a status by the new leader"
    )
    assert programmed() == "True/Programmed 1"

    second.until(
        lambda: sidecar.poll(second) or sidecar.status == 304, "the sidecar's word to the new leader"
    )
    cluster.apply(limited(team, 6))
    second.until(
        lambda: sidecar.poll(second) and sidecar.limits == {"all": 6}, "the change by the new leader"
    )
    assert not sidecar.poll(second)
    second.until(
        lambda: observed(cluster, team) == 2 and programmed() == "True/Programmed 1",
        "the status of one whose sidecars have all been heard",
    )


def test_a_leader_that_is_told_to_stop_hands_over_at_once(operator: Operators) -> None:
    """Released, not run out: with a Lease of a minute the second replica would come too late otherwise."""
    first = operator(**STEADY).wait_ready()
    second = operator(**STEADY).wait_ready()
    first.until(lambda: first.leads, "the first replica to lead")

    assert first.stop() == 0

    second.until(lambda: second.leads, "the second replica to lead", within_s=20)
    assert "the Lease was given back" in first.log


def test_a_leader_that_was_frozen_does_not_write_when_it_wakes(
    cluster: Cluster, operator: Operators, team: str
) -> None:
    """Two leaders for a moment: the one that sleeps past its Lease still thinks that it holds it."""
    first = operator(**PATIENT).wait_ready()
    second = operator(**PATIENT).wait_ready()
    cluster.apply(pool(team), limited(team, 5))
    first.until(lambda: observed(cluster, team) == 1, "the first status")

    # None is under way when it is frozen.
    pools = 'status_writes_total{kind="ProviderPool",result="written"}'
    first.until(lambda: first.metric(pools) >= 1 and first.metric("status_waiting") == 0, "all statuses")
    failed = 'status_writes_total{kind="AIPolicy",result="failed"}'
    before = first.metric(failed)

    first.freeze()
    cluster.apply(limited(team, 6))
    second.until(lambda: observed(cluster, team) == 2, "the status by the second replica")
    writes = first.log.count("status of")
    first.thaw()

    first.until(lambda: first.get("/readyz") is not None and not first.leads, "the first to step back")
    cluster.apply(limited(team, 7))
    second.until(lambda: observed(cluster, team) == 3, "the next status")
    second.until(lambda: second.leads, "the second replica to lead")
    assert not first.leads
    assert first.log.count("status of") == writes
    assert first.metric(failed) == before


def test_a_sidecar_is_never_given_something_older_by_a_replica_that_lags(
    cluster: Cluster, operator: Operators, team: str, home: str, account: Path, tmp_path: Path
) -> None:
    proxy = Proxy.before(cluster.control_plane.server)
    try:
        current = operator().wait_ready()
        lagging = operator(kubeconfig=proxy.kubeconfig(account, tmp_path)).wait_ready()
        cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
        sidecar = PollingSidecar(cluster, home, team, "chat-0")
        sidecar.has(lagging, **WHOLE)
        current.until(lambda: sidecar.poll(current) or sidecar.status == 304, "both to serve")

        proxy.cut()
        cluster.apply(limited(team, 6))
        current.until(
            lambda: sidecar.poll(current) and sidecar.limits == {"all": 6},
            "the change by the current replica",
        )

        for _ in range(5):
            assert not sidecar.poll(lagging)
            assert sidecar.status == 304
        assert "this replica has seen less than a sidecar" in lagging.log

        proxy.mend()
        cluster.apply(limited(team, 7))
        lagging.until(lambda: sidecar.poll(lagging) and sidecar.limits == {"all": 7}, "it to catch up")
    finally:
        proxy.close()


def test_a_replica_that_started_later_serves_sidecars_that_have_seen_more(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    """A list knows a later version than the events that the others have seen: who is behind looks again at once."""
    first = operator().wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    PollingSidecar(cluster, home, team, "chat-0").has(first, **WHOLE)
    cluster.kubectl("create", "configmap", "noise", f"--namespace={home}")
    second = operator().wait_ready()
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(second, **WHOLE)

    cluster.apply(limited(team, 6))

    first.until(
        lambda: sidecar.poll(first) and sidecar.limits == {"all": 6},
        "the change by the first replica",
        within_s=20,
    )
