"""Names are looked up once for all who ask, believed for ten seconds, and lead where they may."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

import pytest
from aiohappyeyeballs import AddrInfoType
from tidegate_testing.clock import FakeClock

from tidegate_sidecar.upstream.resolver import (
    NAMES_MAX,
    Resolver,
    UnknownHostError,
    is_private_literal,
    public_ones,
    system_lookup,
)


def address(host: str, port: int = 443) -> AddrInfoType:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (host, port)


class Names:
    """A DNS that answers when a test lets it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, asyncio.Future[Sequence[AddrInfoType]]] = {}

    async def __call__(self, host: str, _port: int) -> Sequence[AddrInfoType]:
        self.asked.append(host)
        self.answers[host] = asyncio.get_running_loop().create_future()
        return await self.answers[host]


class At:
    """A DNS that says at once where all names lead."""

    def __init__(self, *found: str) -> None:
        self.found = found
        self.asked = 0

    async def __call__(self, _host: str, port: int) -> Sequence[AddrInfoType]:
        self.asked += 1
        return [address(it, port) for it in self.found]


def resolver(lookup: Names | At) -> tuple[Resolver, FakeClock]:
    clock = FakeClock()
    return Resolver(lookup, lambda: clock.now_ns), clock


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_answer_is_believed_for_ten_seconds() -> None:
    names = At("192.0.2.1")
    it, clock = resolver(names)
    for ms, asked in ((0, 1), (9_999, 1), (1, 2), (0, 2)):
        clock.advance(ms=ms)
        assert await it.resolve("a.test", 443) == [address("192.0.2.1")]
        assert names.asked == asked
    await it.resolve("a.test", 8_443)
    assert names.asked == 3


async def test_who_asks_for_the_same_at_once_is_answered_by_one_look_up() -> None:
    names = Names()
    it, _ = resolver(names)
    asking = [asyncio.get_running_loop().create_task(it.resolve("a.test", 443)) for _ in range(5)]
    await turns()
    assert names.asked == ["a.test"]
    names.answers["a.test"].set_result([address("192.0.2.1")])
    assert await asyncio.gather(*asking) == [[address("192.0.2.1")]] * 5


async def test_one_failure_is_everybodys_and_is_not_remembered() -> None:
    names = Names()
    it, _ = resolver(names)
    asking = [asyncio.get_running_loop().create_task(it.resolve("a.test", 443)) for _ in range(3)]
    await turns()
    names.answers["a.test"].set_exception(socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(error) for error in found] == ["its host name was not found"] * 3
    asking = [asyncio.get_running_loop().create_task(it.resolve("a.test", 443))]
    await turns()
    assert names.asked == ["a.test"] * 2
    names.answers["a.test"].set_result([address("192.0.2.1")])
    await asking[0]


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_who_is_cancelled_takes_the_answer_from_nobody(leaver: int) -> None:
    names = Names()
    it, _ = resolver(names)
    asking = [asyncio.get_running_loop().create_task(it.resolve("a.test", 443)) for _ in range(3)]
    await turns()
    asking[leaver].cancel()
    await turns()
    assert asking[leaver].cancelled()
    assert names.asked == ["a.test"] * (2 if leaver == 0 else 1), "the one who asked is replaced"
    names.answers["a.test"].set_result([address("192.0.2.1")])
    found = await asyncio.gather(*(it for it in asking if it is not asking[leaver]))
    assert found == [[address("192.0.2.1")]] * 2
    assert it._asked == {}


async def test_only_so_many_names_are_remembered() -> None:
    names = At("192.0.2.1")
    it, _ = resolver(names)
    for number in range(NAMES_MAX + 1):
        await it.resolve(f"{number}.test", 443)
    assert len(it._known) == NAMES_MAX
    await it.resolve(f"{NAMES_MAX}.test", 443)
    assert names.asked == NAMES_MAX + 1
    await it.resolve("0.test", 443)
    assert names.asked == NAMES_MAX + 2


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "its host name was not found"),
        (
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            "its host name was not found: Temporary failure in name resolution",
        ),
        (OSError(24, "Too many open files"), "its host name was not found: Too many open files"),
        (UnicodeError("label too long"), "its host name was not found"),
        (None, "its host name was not found"),
    ],
)
async def test_what_leads_nowhere_is_said_in_words(error: Exception | None, reason: str) -> None:
    async def lookup(host: str, port: int) -> Sequence[AddrInfoType]:
        if error is not None:
            raise error
        return []

    it = Resolver(lookup, lambda: 1)
    with pytest.raises(UnknownHostError) as caught:
        await it.resolve("a.test", 443)
    assert str(caught.value) == reason


async def test_the_system_is_asked_for_names_and_knows_addresses() -> None:
    (found,) = await system_lookup("127.0.0.1", 80)
    assert found[4] == ("127.0.0.1", 80)
    assert found[1] == socket.SOCK_STREAM
    assert {str(it[4][0]) for it in await system_lookup("localhost", 80)} <= {"127.0.0.1", "::1"}
    it = Resolver(system_lookup, lambda: 1)
    for name in ("x" * 64 + ".test", "a..test"):
        with pytest.raises(UnknownHostError):
            await it.resolve(name, 80)


PUBLIC = ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808")
PRIVATE = (
    *("127.0.0.1", "10.96.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1", "0.0.0.0", "224.0.0.1"),
    *("::1", "fd00::1", "fe80::1%eth0", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::"),
)


def test_of_several_addresses_the_public_ones_are_chosen() -> None:
    found = public_ones([address(it) for it in (*PRIVATE, *PUBLIC)])
    assert [it[4][0] for it in found] == [*PUBLIC]


@pytest.mark.parametrize("host", PRIVATE)
def test_a_private_address_is_one_however_it_is_written(host: str) -> None:
    assert is_private_literal(host)
    if ":" in host:
        return
    number = int(ipaddress.IPv4Address(host))
    first, _, rest = host.partition(".")
    spellings = [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{first}.{number & 0xFFFFFF}",
        f"{hex(int(first))}.{rest}",
    ]
    for spelling in spellings:
        assert socket.inet_aton(spelling) == socket.inet_aton(host)
        assert is_private_literal(spelling), spelling
        assert is_private_literal(f"{spelling}."), spelling


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "a.localhost"])
def test_this_machine_is_private(host: str) -> None:
    assert is_private_literal(host)


@pytest.mark.parametrize(
    "host", [*PUBLIC, "api.openai.com", "localhost.test", "notlocalhost", "134744072", "\xe9.test"]
)
def test_names_and_public_addresses_are_not_private(host: str) -> None:
    assert not is_private_literal(host)
