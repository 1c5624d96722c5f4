"""A sidecar follows the operator: it takes what is new, says what became of it, and outlives its operator."""

from __future__ import annotations

import logging

import pytest
from tidegate_testing import configs
from tidegate_testing.following import Pod, until
from tidegate_testing.publisher import (
    CHAT,
    Cluster,
    a_pod,
    edition,
    first_bundle,
    running_publisher,
)

from tidegate_policy import wire
from tidegate_sidecar.config.source import Loaded

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))
THIRD = configs.config(configs.pool(configs.provider("three", "http://three.test")))


async def test_what_is_published_is_taken_and_acknowledged(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            loaded = await follower.loaded()
            assert loaded.config == FIRST
            assert (loaded.identity.namespace, loaded.identity.pod) == ("team-a", "chat-0")
            for config in (SECOND, THIRD, FIRST):
                operator.board.publish(edition((CHAT, config)))
                assert (await follower.loaded()).config == config
                await operator.ack(lambda ack, config=config: ack.digest == wire.digest(config))  # type: ignore[misc] # mypy reads no defaults of lambdas
            assert follower.metric("tidegate_operator_connected") == 1
            assert (follower.metric("tidegate_config_age_seconds") or 9) < 5


async def test_what_cannot_be_used_is_refused_once_and_said_why(cluster: Cluster, pod: Pod) -> None:
    """The operator hears of it, the former configuration stays, and nobody turns in circles."""

    def verdict(loaded: Loaded) -> str:
        return "no such dialect: größer" if loaded.config == SECOND else ""

    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust, verdict=verdict) as follower:
            await follower.loaded()
            operator.board.publish(edition((CHAT, SECOND)))
            assert (await follower.loaded()).config == SECOND
            ack = await operator.ack(lambda ack: bool(ack.refused))
            assert (ack.digest, ack.refused) == (wire.digest(FIRST), wire.digest(SECOND))
            assert ack.why == "no such dialect: größer"
            await operator.until_idle(1)
            assert operator.observer.results["sent"] == 2
            operator.board.publish(edition((CHAT, THIRD)))
            assert (await follower.loaded()).config == THIRD
            ack = await operator.ack(lambda ack: ack.digest == wire.digest(THIRD))
            assert not ack.refused


async def test_a_refused_configuration_that_is_withdrawn_is_no_problem_any_more(
    cluster: Cluster, pod: Pod
) -> None:
    def verdict(loaded: Loaded) -> str:
        return "no" if loaded.config == SECOND else ""

    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust, verdict=verdict) as follower:
            await follower.loaded()
            operator.board.publish(edition((CHAT, SECOND)))
            await follower.loaded()
            await operator.ack(lambda ack: bool(ack.refused))
            await operator.until_idle(1)
            operator.board.publish(edition((CHAT, FIRST)))
            assert (await follower.loaded()).config == FIRST, "once more, so that its problem ends"
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST) and not ack.refused)


async def test_another_rest_of_the_envelope_is_no_new_configuration(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.until_idle(1)
            operator.board.announce(first_bundle().trust)
            await operator.observer.until(lambda it: it.results.get("sent") == 2)
            await operator.until_idle(1)
            assert follower.count == 1
            operator.board.publish(edition((CHAT, SECOND)))
            assert (await follower.loaded()).config == SECOND


async def test_new_labels_of_the_pod_are_a_new_identity(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.until_idle(1)
            cluster.pods["uid-chat-0"] = a_pod(labels={"tier": "gold"})
            operator.board.wake_all()
            assert (await follower.loaded()).identity.labels == (("tier", "gold"),)


async def test_the_token_is_read_for_each_poll(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            pod.token_file.write_text(cluster.token(a_pod()))
            operator.board.publish(edition((CHAT, SECOND)))
            await follower.loaded()
            await operator.ack(lambda ack: ack.digest == wire.digest(SECOND))
            assert cluster.reviews == 2


async def test_a_sidecar_outlives_its_operator(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    """One replica stops, another takes its place: what changed meanwhile is taken, and nothing in between is lost."""
    caplog.set_level(logging.INFO)
    bundle = first_bundle()
    async with running_publisher(cluster, bundle=bundle) as operator:
        operator.board.publish(edition((CHAT, FIRST), AIPolicy=1))
        port = int(operator.url.rpartition(":")[2])
        async with pod.following(operator.url, bundle.trust) as follower:
            await follower.loaded()
            await operator.until_idle(1)
            await operator.server.stop(5)
            await until(lambda: follower.metric("tidegate_operator_connected") == 0)
            assert "the operator answers 503 stopping" in caplog.text
            async with running_publisher(cluster, bundle=bundle, port=port) as successor:
                successor.board.publish(edition((CHAT, SECOND), AIPolicy=2))
                assert (await follower.loaded()).config == SECOND
                await successor.ack(lambda ack: ack.digest == wire.digest(SECOND))
                assert follower.metric("tidegate_operator_connected") == 1
            assert "the operator answers as it should again" in caplog.text


async def test_a_replica_that_has_just_started_is_asked_again(cluster: Cluster, pod: Pod) -> None:
    async with (
        running_publisher(cluster, wait_s=0) as operator,
        pod.following(operator.url, operator.bundle.trust) as follower,
    ):
        await operator.observer.until(lambda it: it.results.get("not_compiled", 0) >= 2)
        operator.board.publish(edition((CHAT, FIRST)))
        while True:
            # A sidecar that has nothing says why in the meantime.
            update = await follower.next()
            if isinstance(update, Loaded):
                break
        assert update.config == FIRST
