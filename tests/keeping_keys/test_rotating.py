"""A key of a Secret is used from the moment it is there: by the next attempt, without a restart, without a failed call."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from tidegate_testing.configs import config, pool, provider
from tidegate_testing.mount import SecretMount
from tidegate_testing.program import started
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar
from tidegate_testing.tasks import until
from tidegate_testing.wire import ask

from tidegate_cli.simulator.behaviour import Behaviour
from tidegate_cli.simulator.server import Simulator
from tidegate_policy import wire
from tidegate_policy.model import CompiledConfig, CredentialRef, ObjectRef
from tidegate_sidecar.telemetry.rendering import Renderer

OLD, NEW = "sk-canary-old-0123456789abcdef", "sk-canary-new-fedcba9876543210"
KEY = CredentialRef(
    source=ObjectRef(kind="ProviderCredential", namespace="ai-platform", name="prod"), secret_key="openai"
)


def keyed(url: str) -> CompiledConfig:
    return config(pool(provider("only", url, credentials=(KEY,))))


async def test_a_key_rotated_while_calls_run_fails_none_of_them(simulator: Simulator, tmp_path: Path) -> None:
    """The real process, calls without a pause, and a provider that takes either key until all have moved on."""
    mount = SecretMount(tmp_path / "keys", openai=OLD)
    simulator.set_behaviour("only", Behaviour(accepted_keys=frozenset({OLD, NEW}), delay_ms=5))
    path = tmp_path / "config.json"
    path.write_bytes(wire.encode(keyed(f"{simulator.provider_url('only')}/v1")))
    statuses: list[int] = []

    def keys() -> set[str]:
        """Of the newest calls, more than can be in flight."""
        return {it.headers["authorization"].removeprefix("Bearer ") for it in simulator.requests[-8:]}

    async with (
        started(TIDEGATE_CONFIG_FILE=str(path), TIDEGATE_KEYS_DIR=str(mount)) as program,
        aiohttp.ClientSession() as client,
    ):
        await program.logs(b"is in force")
        stop = asyncio.Event()

        async def call_on() -> None:
            while not stop.is_set():
                async with client.post(f"{program.url}/openai/v1/chat/completions", json=ask()) as answer:
                    statuses.append(answer.status)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(call_on())
            await until(lambda: len(statuses) > 40)
            assert keys() == {OLD}
            mount.write({"openai": f"{NEW}\n"})
            await until(lambda: len(simulator.requests) > 8 and keys() == {NEW})
            # from here on the old key is no longer taken, as when its overlap has ended
            simulator.set_behaviour("only", Behaviour(accepted_keys=frozenset({NEW})))
            more = len(statuses) + 40
            await until(lambda: len(statuses) > more)
            stop.set()
        async with client.get(f"{program.admin_url}/metrics") as answer:
            metrics = await answer.text()
        async with client.get(f"{program.admin_url}/config") as answer:
            shown = await answer.text()
        program.process.send_signal(signal.SIGTERM)
        status, records = await program.ended()
    assert (status, set(statuses)) == (0, {200})
    assert {record["ending"] for record in records} == {"served"}
    assert {len(record["attempts"]) for record in records} == {1}
    assert "tidegate_keys_loaded 1.0" in metrics
    assert 'tidegate_keys_reloads_total{result="applied"} 2.0' in metrics
    assert '"secret_key": "openai"' in shown
    for text in (metrics, shown, str(records), program.logged.decode()):
        assert OLD not in text
        assert NEW not in text


async def test_a_call_in_flight_keeps_the_key_it_has_and_the_next_attempt_has_the_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A repetition is an attempt: it takes the key of its own moment."""
    caplog.set_level(logging.INFO)
    mount = SecretMount(tmp_path / "keys", openai=OLD)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def overloaded_once(call: ProviderCall) -> None:
        if call.headers["authorization"] == f"Bearer {OLD}":
            began.set()
            await go_on.wait()
            await call.answer({"error": {"message": f"{OLD} is busy"}}, status=503)
        else:
            await call.answer(COMPLETION)

    async with (
        raw_provider(overloaded_once) as raw,
        running_sidecar(keyed(raw.url), keys_dir=str(mount), reload_interval_ms=1) as sidecar,
        asyncio.TaskGroup() as tasks,
    ):
        call = tasks.create_task(sidecar.chat())
        await began.wait()
        mount.write({"openai": NEW})
        await until(lambda: caplog.text.count("keys read from") > 1)
        go_on.set()
        assert (await call).status == 200
        sent = [it.headers["authorization"] for it in raw.calls]
        assert sent == [f"Bearer {OLD}", f"Bearer {NEW}"]


async def test_a_missing_key_is_named_and_used_as_soon_as_it_is_there(
    simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "keys"
    cfg = keyed(f"{simulator.provider_url('only')}/v1")
    async with running_sidecar(cfg, keys_dir=str(folder), reload_interval_ms=1) as sidecar:
        answer = await sidecar.chat()
        assert (answer.status, answer.code) == (503, "provider_unavailable")
        reason = (
            "ProviderCredential ai-platform/prod: the key 'openai' of the Secret tidegate-keys is missing "
            f"(in {folder}, which has none)"
        )
        assert reason in answer.text
        assert await sidecar.metric("tidegate_keys_loaded") == 0

        mount = SecretMount(folder, openai=NEW)
        await until(lambda: "keys read from" in caplog.text)
        assert (await sidecar.chat()).status == 200
        assert await sidecar.metric("tidegate_keys_loaded") == 1
        assert await sidecar.metric("tidegate_keys_loaded_timestamp_seconds") > 0

        mount.write({"openai": f"{NEW}\n{NEW}"})
        await until(lambda: "openai in" in caplog.text)
        answer = await sidecar.chat()
        assert (
            "the key 'openai' of the Secret tidegate-keys holds characters that no header can carry"
            in answer.text
        )
        records = b"".join(map(Renderer().render, sidecar.records.all)).decode()
        for text in (answer.text, records, caplog.text, (await sidecar.admin("/metrics")).text):
            assert NEW not in text


async def test_a_secret_of_another_name_is_called_by_it(simulator: Simulator, tmp_path: Path) -> None:
    """The chart may choose the name, and refusals must send nobody to a Secret that is not mounted."""
    cfg = keyed(f"{simulator.provider_url('only')}/v1")
    async with running_sidecar(cfg, keys_dir=str(tmp_path), keys_secret="llm-keys") as sidecar:
        assert "the key 'openai' of the Secret llm-keys is missing" in (await sidecar.chat()).text


async def test_another_key_of_the_provider_stands_in_for_a_missing_one(
    simulator: Simulator, tmp_path: Path
) -> None:
    mount = SecretMount(tmp_path / "keys", spare=NEW)
    spare = replace(KEY, secret_key="spare")
    cfg = config(pool(provider("only", f"{simulator.provider_url('only')}/v1", credentials=(KEY, spare))))
    async with running_sidecar(cfg, keys_dir=str(mount)) as sidecar:
        assert (await sidecar.chat()).status == 200
    assert simulator.requests[-1].headers["authorization"] == f"Bearer {NEW}"


async def test_a_folder_that_cannot_be_read_any_more_is_counted_once_and_changes_nothing(
    simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mount = SecretMount(tmp_path / "keys", openai=OLD)
    cfg = keyed(f"{simulator.provider_url('only')}/v1")
    refused = 'tidegate_keys_reloads_total{result="refused"}'
    async with running_sidecar(cfg, keys_dir=str(mount), reload_interval_ms=1) as sidecar:
        mount.folder.rename(tmp_path / "away")
        mount.folder.symlink_to(mount.folder)  # a link to itself can be followed by nobody
        await until(lambda: "those before stay in use" in caplog.text)
        for _ in range(20):
            assert (await sidecar.chat()).status == 200
        assert await sidecar.metric(refused) == 1
        assert caplog.text.count("those before stay in use") == 1
