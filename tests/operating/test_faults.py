"""The API server and the network in between, at their worst: nothing is lost, and nothing has to be restarted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidegate_testing.operators import ROOT, Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar
from tidegate_testing.proxy import Proxy

Operators = Callable[..., OperatorProcess]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """Between an operator and the API server."""
    proxy = Proxy.before(cluster.control_plane.server)
    yield proxy
    proxy.close()


@pytest.fixture
def proxied(proxy: Proxy, account: Path, tmp_path: Path) -> Path:
    """A kubeconfig that leads through the proxy."""
    return proxy.kubeconfig(account, tmp_path)


def limited(namespace: str, requests: int) -> dict[str, object]:
    return policy(namespace, rateLimits=[{"name": "all", "requests": requests, "per": "1m"}])


def test_a_stopped_api_server_is_waited_out_and_sidecars_are_served_meanwhile(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"], limits={"all": 5})
    pid = replica.process.pid

    cluster.control_plane.stop_apiserver()
    try:
        replica.until(lambda: "Lease" in replica.log and not replica.leads, "the Lease to be lost")
        assert not sidecar.poll(replica)
        assert sidecar.status == 304
        assert replica.get("/healthz").status == 200  # type: ignore[union-attr]
    finally:
        cluster.control_plane.start_apiserver()
    cluster.apply(limited(team, 6))

    replica.until(lambda: sidecar.poll(replica) and sidecar.limits == {"all": 6}, "the change to be served")
    replica.until(lambda: replica.leads, "the Lease")
    replica.until(
        lambda: cluster.get("aipolicy", team, "chat").get("status", {}).get("observedGeneration") == 2,
        "the status",
    )
    replica.until(replica.is_ready, "readiness")
    assert replica.process.pid == pid


def test_a_frozen_api_server_is_waited_out(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    replica = operator().wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"], limits={"all": 5})

    with cluster.control_plane.frozen():
        replica.until(lambda: not replica.leads, "the Lease to be lost")
        replica.until(
            lambda: "nothing has been heard" in str(replica.facts().get("problems")),
            "a replica that hears nothing to say so",
        )
        assert not replica.is_ready()
        assert replica.get("/healthz").status == 200  # type: ignore[union-attr]
        assert not sidecar.poll(replica)
        assert sidecar.status == 304

    cluster.apply(limited(team, 6))
    replica.until(lambda: sidecar.poll(replica), "the change to be served")
    replica.until(replica.is_ready, "readiness")


def test_what_went_away_while_history_was_lost_is_noticed(
    cluster: Cluster, operator: Operators, team: str, home: str, proxy: Proxy, proxied: Path
) -> None:
    """410 Gone: the watch begins anew with a list, which tells what is there and not what is there no more."""
    replica = operator(kubeconfig=proxied).wait_ready()
    cluster.apply(
        pool(team), limited(team, 5), policy(team, "leaving", suspend=True), injected_pod(team, "chat-0")
    )
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    replica.until(lambda: sidecar.poll(replica) and sidecar.denials == ["suspended"], "the kill switch")

    proxy.cut()
    cluster.delete("aipolicy", team, "leaving")
    cluster.apply(limited(team, 6))
    cluster.control_plane.compact_etcd()
    cluster.control_plane.stop_apiserver()
    cluster.control_plane.start_apiserver()
    proxy.mend()

    replica.until(lambda: sidecar.poll(replica) and sidecar.limits == {"all": 6}, "the change to be served")
    replica.until(lambda: sidecar.poll(replica) or sidecar.denials == [], "the deletion to be served")
    assert replica.metric('objects{kind="AIPolicy"}') == 1


def test_a_watch_that_dies_without_a_sound_is_begun_anew(
    cluster: Cluster, operator: Operators, team: str, home: str, proxy: Proxy, proxied: Path
) -> None:
    replica = operator(kubeconfig=proxied).wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"], limits={"all": 5})

    assert proxy.swallow() > 0
    cluster.apply(limited(team, 6))

    replica.until(lambda: sidecar.poll(replica), "the change to be served")
    replica.until(lambda: replica.is_ready() and replica.leads, "readiness")


def test_what_a_watch_has_lost_a_list_finds_and_tells(
    cluster: Cluster, operator: Operators, team: str, home: str, proxy: Proxy, proxied: Path
) -> None:
    """The net under the watch: it would be silent for minutes, the list comes before."""
    replica = operator(
        kubeconfig=proxied,
        TIDEGATE_RELIST_MS="3000",
        TIDEGATE_WATCH_INACTIVITY_MS="600000",
        TIDEGATE_WATCH_LENGTH_MS="600000",
        TIDEGATE_WATCH_SILENT_MS="3600000",
    ).wait_ready()
    cluster.apply(pool(team), limited(team, 5), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"], limits={"all": 5})

    proxy.swallow()
    cluster.apply(limited(team, 6))

    replica.until(lambda: sidecar.poll(replica), "the change to be served")
    replica.until(
        lambda: replica.metric('watch_missed_total{kind="AIPolicy"}') >= 1, "what was missed to be counted"
    )
    assert f"the watch of AIPolicy had missed: AIPolicy {team}/chat changed" in replica.log


def test_when_a_kind_is_taken_away_others_are_served_and_the_watching_is_begun_again(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    """kopf ends as a whole on errors that it does not expect, and with it the watches of all other kinds."""
    replica = operator().wait_ready()
    replica.may_fail = True
    cluster.apply(pool(team), policy(team), injected_pod(team, "chat-0"))
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica, pools=["models"])
    cluster.kubectl("delete", "-f", str(ROOT / "crds" / "tidegate.dev_providercredentials.yaml"))
    try:
        replica.until(lambda: replica.metric("watch_restarts_total") >= 1, "the watching to be begun again")
        assert "the watching ended" in replica.log
        assert "configurations go on being served" in replica.log
        replica.until(
            lambda: "the watching ended" in str(replica.facts()["watching"]), "the probe to tell of it"
        )
        assert not sidecar.poll(replica)
        assert sidecar.status == 304
        cluster.apply(policy(team, suspend=True))
        replica.until(
            lambda: sidecar.poll(replica) and sidecar.denials == ["suspended"], "a kill switch meanwhile"
        )
    finally:
        cluster.install()

    replica.until(lambda: replica.facts()["watching"] == "as it should", "the watching to go on")
    cluster.apply(policy(team))
    replica.until(lambda: sidecar.poll(replica) and not sidecar.denials, "a change after it")
    assert replica.is_ready()


def test_rights_that_are_missing_are_named_and_the_replica_is_not_ready(
    cluster: Cluster, operator: Operators
) -> None:
    """403 at the start is retried by kopf for ever: the process would look alive and watch nothing."""
    nobody = cluster.control_plane.kubeconfig_for("somebody-without-rights")
    replica = operator(kubeconfig=nobody)

    replica.until(
        lambda: 'User "somebody-without-rights" cannot' in replica.log, "the log to say who may not"
    )
    replica.until(lambda: replica.get("/healthz") is not None, "its health port")
    assert not replica.is_ready()
