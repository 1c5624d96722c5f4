"""Whom a sidecar takes for the operator, for as long as its pod lives and through changes of the authority."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from tidegate_testing import configs
from tidegate_testing.following import Pod, until
from tidegate_testing.publisher import (
    CHAT,
    PLAN,
    Cluster,
    edition,
    first_bundle,
    running_publisher,
)

from tidegate_operator.certificates.issue import new_authority
from tidegate_operator.certificates.plan import next_step
from tidegate_policy import wire
from tidegate_sidecar.config.operator_trust import OperatorTrust, TrustError

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))


async def test_a_pod_outlives_the_authority_that_it_was_started_with(cluster: Cluster, pod: Pod) -> None:
    """Announced while it polls, kept on disk, and trusted after a restart when the first authority is gone."""
    now_s = int(time.time())
    plan = replace(PLAN, authority_life_s=30 * 86_400, leaf_life_s=10 * 86_400, announce_s=60)
    bundle = next_step(next_step(None, plan, now_s - 21 * 86_400), plan, now_s)
    assert bundle is not None
    given = bundle.trust
    async with running_publisher(cluster, bundle=bundle) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, given) as follower:
            await follower.loaded()
            announced = next_step(bundle, plan, now_s)
            assert announced is not None
            await operator.until_idle(1)
            operator.use(announced)
            await until(lambda: _kept(pod) == announced.trust)
            used = next_step(announced, plan, now_s + 61)
            assert used is not None
            assert used.authority == announced.successor
            operator.use(used)
            await until(lambda: _kept(pod) == used.trust)
    gone = replace(used, former=())
    async with running_publisher(cluster, bundle=gone) as operator:
        operator.board.publish(edition((CHAT, SECOND)))
        async with pod.following(operator.url, given) as follower:
            assert (await follower.loaded()).config == FIRST
            assert (await follower.loaded()).config == SECOND
            await operator.ack(lambda ack: ack.digest == wire.digest(SECOND))


async def test_an_operator_of_another_authority_is_nobody(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        running_publisher(cluster) as operator,
        pod.following(operator.url, first_bundle().trust) as follower,
    ):
        problem = await follower.refused()
    assert "shows a certificate that is not of the operator's authorities" in problem
    assert "CERTIFICATE_VERIFY_FAILED" in problem
    assert cluster.key_reads == 0, "no token was sent"
    assert problem in caplog.text


async def test_an_operator_of_another_name_is_nobody(cluster: Cluster, pod: Pod) -> None:
    plan = replace(PLAN, names=("other.svc",), addresses=())
    bundle = next_step(None, plan, int(time.time()))
    async with (
        running_publisher(cluster, bundle=bundle) as operator,
        pod.following(operator.url, operator.bundle.trust) as follower,
    ):
        assert "Hostname mismatch" in await follower.refused()


def test_authorities_are_text_or_a_file_that_may_change(pod: Pod) -> None:
    one, two = (new_authority(int(time.time()), 1_000).certificate_pem.decode() for _ in range(2))
    assert OperatorTrust(one, pod.state_dir).context() is not None
    path = pod.folder / "ca.crt"
    path.write_text(one)
    trust = OperatorTrust(str(path), pod.state_dir)
    context = trust.context()
    assert trust.context() is context, "connections are reused for as long as nothing changes"
    path.write_text(two)
    assert trust.context() is not context


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense", "ü"])
def test_authorities_that_cannot_be_read_are_named(pod: Pod, content: str) -> None:
    path = pod.folder / "ca.crt"
    path.write_text(content)
    with pytest.raises(TrustError, match="TIDEGATE_OPERATOR_CA"):
        OperatorTrust(str(path), pod.state_dir).context()


@pytest.mark.parametrize("content", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense", "ü"])
def test_announced_nonsense_is_ignored(pod: Pod, content: str) -> None:
    given = new_authority(int(time.time()), 1_000).certificate_pem.decode()
    trust = OperatorTrust(given, pod.state_dir)
    trust.announce(content)
    assert trust.announced == ""
    pod.state_dir.mkdir()
    (pod.state_dir / "operator-ca.pem").write_text(content)
    damaged = OperatorTrust(given, pod.state_dir)
    assert damaged.announced == ""
    assert damaged.context() is not None


def _kept(pod: Pod) -> str:
    path = pod.state_dir / "operator-ca.pem"
    return path.read_text() if path.exists() else ""
