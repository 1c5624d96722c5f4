"""The copy on disk: enforced at once after a restart, whole or not at all, never with secrets, never in the way."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tidegate_testing import configs
from tidegate_testing.following import Pod, until
from tidegate_testing.publisher import CHAT, Cluster, edition, first_bundle, running_publisher

from tidegate_policy import wire
from tidegate_policy.envelope import AsOf, Envelope, Secrets
from tidegate_policy.model import WorkloadIdentity
from tidegate_sidecar.config.last_known_good import LastKnownGood

FIRST = configs.config(configs.pool(configs.provider("one", "http://one.test")))
SECOND = configs.config(configs.pool(configs.provider("two", "http://two.test")))
ENVELOPE = Envelope(
    config=FIRST,
    identity=WorkloadIdentity(namespace="team-a", pod="chat-0"),
    secrets=Secrets(generation="hidden-generation"),
    as_of=AsOf.of(1, {"AIPolicy": 7}),
    trust="pem",
)


def copy(folder: Path) -> tuple[LastKnownGood, list[str]]:
    failures: list[str] = []
    return LastKnownGood(folder, failures.append), failures


def test_what_is_kept_is_read_back_without_its_secrets(tmp_path: Path) -> None:
    kept, failures = copy(tmp_path / "state")
    assert kept.write(ENVELOPE)
    found = kept.read()
    assert found is not None
    assert found.envelope == ENVELOPE.without_secrets()
    assert found.digest == wire.digest(FIRST)
    path = tmp_path / "state" / "config"
    assert b"hidden-generation" not in path.read_bytes()
    assert (path.stat().st_mode & 0o777, [*path.parent.iterdir()]) == (0o600, [path])
    assert failures == []


def test_nothing_kept_is_no_failure(tmp_path: Path) -> None:
    kept, failures = copy(tmp_path / "state")
    assert (kept.read(), failures) == (None, [])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    kept, failures = copy(tmp_path)
    kept.write(ENVELOPE)
    path = tmp_path / "config"
    content = bytearray(path.read_bytes())
    where = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[where] ^= data.draw(st.integers(1, 255))
    else:
        del content[where:]
    path.write_bytes(bytes(content))
    assert kept.read() is None
    assert failures == ["read"]


def test_a_copy_of_another_release_is_ignored(tmp_path: Path) -> None:
    kept, failures = copy(tmp_path)
    kept.write(replace(ENVELOPE, config=replace(FIRST, schema_version=9)))
    assert kept.read() is None
    assert failures == ["read"]


def test_a_write_that_is_cut_leaves_the_former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, failures = copy(tmp_path)
    kept.write(ENVELOPE)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert not kept.write(replace(ENVELOPE, config=SECOND))
    monkeypatch.undo()
    found = kept.read()
    assert found is not None
    assert (found.envelope.config, failures) == (FIRST, ["write"])


async def test_a_restarted_sidecar_enforces_what_it_had_before_anybody_answers(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))
    os.utime(pod.state_dir / "config", (1, 1))
    async with pod.following(operator.url, operator.bundle.trust) as follower:
        assert (await follower.loaded()).config == FIRST
        assert follower.metric("tidegate_operator_connected") == 0
        await until(lambda: (follower.metric("tidegate_config_age_seconds") or 0) > 10**9)
        assert "the last known good configuration is in force until the operator answers" in caplog.text


async def test_after_a_restart_the_rest_of_the_envelope_is_asked_for(cluster: Cluster, pod: Pod) -> None:
    """The copy acknowledges its configuration and lacks the secrets: the operator sends the whole envelope."""
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        for times in (1, 2):
            async with pod.following(operator.url, operator.bundle.trust) as follower:
                assert (await follower.loaded()).config == FIRST
                await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))
                await operator.observer.until(lambda it, times=times: it.results.get("sent") == times)  # type: ignore[misc] # mypy reads no defaults of lambdas
                await operator.until_idle(1)
                assert follower.count == 1, "the same configuration is no change"
            await operator.until_idle(0)


async def test_a_copy_is_not_followed_by_something_older(cluster: Cluster, pod: Pod) -> None:
    async with running_publisher(cluster, wait_s=0.01) as operator:
        operator.board.publish(edition((CHAT, FIRST), AIPolicy=7))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))
        operator.board.publish(edition((CHAT, SECOND), AIPolicy=6))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            assert (await follower.loaded()).config == FIRST
            await operator.observer.until(lambda it: it.results.get("behind", 0) >= 2)
            operator.board.publish(edition((CHAT, SECOND), AIPolicy=8))
            assert (await follower.loaded()).config == SECOND


async def test_a_copy_that_cannot_be_used_is_left_alone(cluster: Cluster, pod: Pod) -> None:
    """An older sidecar finds what a newer one kept: it asks as if there were nothing."""
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            await follower.loaded()
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))
        verdicts = iter(["no such dialect", ""])
        async with pod.following(
            operator.url, operator.bundle.trust, verdict=lambda _: next(verdicts)
        ) as follower:
            assert (await follower.loaded()).config == FIRST
            assert (await follower.loaded()).config == FIRST
            await operator.ack(lambda ack: ack.digest == "")
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))


async def test_a_damaged_copy_is_counted_and_replaced(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    pod.state_dir.mkdir()
    (pod.state_dir / "config").write_bytes(b"garbage")
    async with running_publisher(cluster) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, operator.bundle.trust) as follower:
            assert (await follower.loaded()).config == FIRST
            sample = follower.metrics.registry.get_sample_value(
                "tidegate_last_known_good_failures_total", {"operation": "read"}
            )
            assert sample == 1
            assert "its checksum is wrong" in caplog.text
            await operator.ack(lambda ack: ack.digest == wire.digest(FIRST))
    kept, _ = copy(pod.state_dir)
    found = await asyncio.to_thread(kept.read)
    assert found is not None
    assert found.envelope.config == FIRST


async def test_a_folder_that_cannot_be_written_keeps_nobody_from_enforcing(
    cluster: Cluster, pod: Pod, caplog: pytest.LogCaptureFixture
) -> None:
    pod.state_dir.write_text("a file where the folder should be")
    bundle = first_bundle()
    async with running_publisher(cluster, bundle=bundle) as operator:
        operator.board.publish(edition((CHAT, FIRST)))
        async with pod.following(operator.url, bundle.trust) as follower:
            await follower.loaded()
            operator.board.publish(edition((CHAT, SECOND)))
            assert (await follower.loaded()).config == SECOND
            await operator.ack(lambda ack: ack.digest == wire.digest(SECOND))
    assert "cannot be kept" in caplog.text
