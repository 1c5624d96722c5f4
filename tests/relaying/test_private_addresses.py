"""A provider of which its pool does not say `allowPrivate` is reached at public addresses, whatever its name resolves to."""

from __future__ import annotations

from urllib.parse import urlsplit

from tidegate_testing.configs import RETRY, config, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar


async def well(call: ProviderCall) -> None:
    await call.answer(COMPLETION)


async def test_a_name_that_leads_into_the_machine_is_not_connected_to() -> None:
    async with raw_provider(well) as raw:
        url = f"http://localhost:{urlsplit(raw.url).port}"
        public, free = provider("public", url, public_only=True), provider("free", url, priority=1)
        async with running_sidecar(config(pool(public))) as sidecar:
            answer = await sidecar.chat()
            assert (answer.status, answer.code) == (502, "provider_unreachable")
            assert "its host name leads to no public address" in answer.text
            assert "allowPrivate" in answer.text
            assert raw.calls == []
        async with running_sidecar(config(pool(public, free, retry=RETRY))) as sidecar:
            assert (await sidecar.chat()).status == 200
            attempts = [(it.provider, it.result) for it in sidecar.records.last.attempts]
            assert attempts == [("public", "ConnectFailure"), ("free", "ok")]
            assert not sidecar.records.last.attempts[0].sent
