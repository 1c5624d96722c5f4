"""A provider of which its pool does not say `allowPrivate` is reached at public addresses, whatever its name resolves to."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from tidegate_testing.configs import RETRY, config, pool, provider
from tidegate_testing.provider import COMPLETION, ProviderCall, raw_provider
from tidegate_testing.sidecar import running_sidecar

from tidegate_sidecar.proxy.resolving import NotPublicError, PublicResolver


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


class Names(AbstractResolver):
    """A DNS that says what a test wants."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self.is_closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=it, port=port, family=family, proto=0, flags=0)
            for it in self._addresses
        ]

    async def close(self) -> None:
        self.is_closed = True


PUBLIC = ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808")
PRIVATE = (
    *("127.0.0.1", "10.96.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"),
)


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_without_a_public_address_is_refused(address: str) -> None:
    with pytest.raises(NotPublicError):
        await PublicResolver(Names(address)).resolve("provider.test", 443)


async def test_of_several_addresses_the_public_ones_are_used() -> None:
    resolver = PublicResolver(Names(*PRIVATE, *PUBLIC))
    assert [it["host"] for it in await resolver.resolve("provider.test", 443)] == [*PUBLIC]


async def test_who_is_asked_is_closed_with_it() -> None:
    names = Names()
    await PublicResolver(names).close()
    assert names.is_closed
