"""HTTPS_PROXY: who goes through it, what it is asked, and what its answers mean."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from upstream_testing.heard import Heard
from upstream_testing.networks import Authority, HttpProxy, http_proxy
from upstream_testing.places import Leg, Place, leg, listening, send

from tidegate_sidecar.upstream.connector import OriginKey
from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind
from tidegate_sidecar.upstream.http_proxy import (
    ANSWER_MAX,
    ProxyError,
    connect_request,
    is_direct,
    is_tunnel,
    proxy_for,
    read_proxy,
)
from tidegate_sidecar.upstream.origins import Origins
from tidegate_sidecar.upstream.tls import TlsSettings

PROXY = "http://me:pa%40ss@proxy.test:3128"


@asynccontextmanager
async def behind_a_proxy(tmp_path: Path, **more: Any) -> AsyncIterator[tuple[Place, HttpProxy, Leg]]:
    authority = Authority(tmp_path)
    key = {
        "scheme": "https",
        "host": "provider.test",
        "tls": TlsSettings(ca_file=str(authority.file)),
        **more,
    }
    login = key.pop("login", "")
    async with (
        listening(authority.server_context("provider.test")) as place,
        http_proxy(lambda: (place.host, place.port)) as proxy,
        leg(place, proxy=proxy.url.replace("//", f"//{login}"), **key) as it,
    ):
        yield place, proxy, it


async def fault_of(it: Leg) -> ConnectionFault:
    with pytest.raises(ConnectError) as caught:
        await it.connect()
    assert it.origin.open_count == 0
    return caught.value.fault


async def served(it: Leg, place: Place) -> None:
    connection, heard = await it.connect(), Heard()
    send(connection, heard)
    await (await place.peer()).answer()
    await heard.end()
    assert (heard.body, connection.is_idle) == (b"hi", True)


async def test_tls_is_spoken_with_the_place_and_not_with_the_proxy(tmp_path: Path) -> None:
    """The name is the proxy's to resolve: here it leads nowhere."""
    async with behind_a_proxy(tmp_path) as (place, proxy, it):
        await served(it, place)
        target = f"provider.test:{place.port}"
        assert proxy.heads == [f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode()]


async def test_a_proxy_may_be_told_who_we_are(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, login="me:pa%40ss@") as (place, proxy, it):
        await served(it, place)
        assert base64.b64encode(b"me:pa@ss") in proxy.heads[0]
        assert "pa" not in repr(it.origin)


async def test_a_place_without_tls_is_reached_by_a_tunnel_too(tmp_path: Path) -> None:
    async with (
        listening() as place,
        http_proxy(lambda: (place.host, place.port)) as proxy,
        leg(place, host="provider.test", proxy=proxy.url) as it,
    ):
        await served(it, place)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", "the proxy would not lead to it (status 407)"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>secret", "the proxy would not lead to it (status 502)"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "the proxy would not lead to it (status 100)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the proxy's answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "the proxy's answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\n\x15\x03\x01", "the proxy's answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * ANSWER_MAX, "the proxy's answer is too long"),
        (b"HTTP/1.1 407", "the proxy closed the connection"),
        (b"", "the proxy closed the connection"),
    ],
)  # fmt: skip
async def test_a_proxy_that_does_not_lead_there_is_a_failure(
    tmp_path: Path, answer: bytes, reason: str
) -> None:
    async with behind_a_proxy(tmp_path, login="me:secret@") as (place, proxy, it):
        proxy.answer = answer.replace(b" 200 OK", b" 201 OK")
        fault = await fault_of(it)
        assert (fault.kind, fault.reason, fault.sent) == (FaultKind.PROXY, reason, False)
        assert place.peers == []


async def test_a_proxy_that_is_not_there_is_a_failure() -> None:
    async with leg(Place(), host="provider.test", proxy="http://127.0.0.1:1") as it:
        fault = await fault_of(it)
        assert fault.kind is FaultKind.PROXY
        assert fault.reason == "the proxy was not reached: the connection failed: Connection refused"
    async with leg(Place(), host="provider.test", proxy="http://me:secret@proxy.invalid:3128") as it:
        fault = await fault_of(it)
        assert (fault.kind, fault.reason) == (FaultKind.PROXY, "the proxy's host name was not found")


async def test_a_proxy_that_says_nothing_is_given_up_in_time() -> None:
    async with (
        listening() as place,
        leg(place, host="provider.test", proxy=f"http://127.0.0.1:{place.port}") as it,
    ):
        with pytest.raises(ConnectError) as caught:
            await it.connect(50)
        assert caught.value.fault.kind is FaultKind.CONNECT_TIMEOUT
        await (await place.peer()).gone()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "2130706433", "0x7f.1", "::1", "localhost", "169.254.169.254"]
)
async def test_private_addresses_are_not_asked_of_a_proxy_where_only_public_ones_may_be(
    tmp_path: Path, host: str
) -> None:
    async with behind_a_proxy(tmp_path, host=host, public_only=True) as (_, proxy, it):
        assert (await fault_of(it)).kind is FaultKind.NOT_PUBLIC
        assert proxy.heads == []


async def test_names_are_asked_of_a_proxy_where_only_public_addresses_may_be(tmp_path: Path) -> None:
    async with behind_a_proxy(tmp_path, public_only=True) as (place, _, it):
        await served(it, place)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://proxy.test:3128", ("proxy.test", 3128, b"")),
        ("http://proxy.test", ("proxy.test", 80, b"")),
        ("http://proxy.test/", ("proxy.test", 80, b"")),
        ("proxy.test:3128", ("proxy.test", 3128, b"")),
        ("http://[::1]:3128", ("::1", 3128, b"")),
        (PROXY, ("proxy.test", 3128, b"Basic " + base64.b64encode(b"me:pa@ss"))),
        ("http://me@proxy.test", ("proxy.test", 80, b"Basic " + base64.b64encode(b"me:"))),
    ],
)
def test_a_proxy_is_a_url(url: str, expected: tuple[str, int, bytes]) -> None:
    assert tuple(read_proxy(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        *("https://me:secret@proxy.test", "socks5://me:secret@proxy.test", "http://", "http://me:secret@", "http://me:secret@:80"),
        *("http://me:secret@proxy.test:port", "http://me:secret@proxy.test/path", "http://me:secret@proxy.test?x", "http://me:secret@a b"),
        *("http://me:secret@proxy.test:99999", "http://me:secret@[::1", "http://me:secret@a\r\nb: c"),
    ],
)  # fmt: skip
def test_what_is_no_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="the proxy's URL") as caught:
        read_proxy(url)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="the proxy's URL"):
        Origins().get(OriginKey("http", "provider.test", 80, proxy=url))


def test_no_repr_shows_a_password() -> None:
    key = OriginKey("https", "provider.test", 443, proxy=PROXY)
    for shown in (repr(read_proxy(PROXY)), repr(key), str(key), f"{key}", repr(Origins().get(key))):
        assert "pa%40ss" not in shown
        assert "pa@ss" not in shown
        assert base64.b64encode(b"me:pa@ss").decode() not in shown


def test_a_scheme_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be http or https"):
        Origins().get(OriginKey("ftp", "provider.test", 21))


@pytest.mark.parametrize(
    ("host", "shown"), [("provider.test", "provider.test:443"), ("2001:db8::1", "[2001:db8::1]:443")]
)
def test_what_a_proxy_is_asked_is_a_request_for_h11(host: str, shown: str) -> None:
    server = h11.Connection(h11.SERVER)
    server.receive_data(connect_request(host, 443, read_proxy(PROXY)))
    request = server.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (b"CONNECT", shown.encode())
    assert dict(request.headers) == {
        b"host": shown.encode(),
        b"proxy-authorization": b"Basic " + base64.b64encode(b"me:pa@ss"),
    }


@given(st.integers(0, 60), st.binary(max_size=3))
def test_where_an_answer_of_a_proxy_is_cut_changes_nothing(at: int, behind: bytes) -> None:
    answer = b"HTTP/1.1 200 Connection established\r\nvia: \xe9\r\n\r\n"
    at = min(at, len(answer) - 1)
    assert not is_tunnel(answer[:at])
    if behind:
        with pytest.raises(ProxyError):
            is_tunnel(answer + behind)
    else:
        assert is_tunnel(answer)


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "expected"),
    [
        ("", "api.openai.com", 443, False),
        ("*", "api.openai.com", 443, True),
        (" , *", "api.openai.com", 443, True),
        ("api.openai.com", "api.openai.com", 443, True),
        ("API.OpenAI.com", "api.openai.COM.", 443, True),
        ("openai.com", "api.openai.com", 443, True),
        ("openai.com", "openai.com", 443, True),
        ("openai.com", "notopenai.com", 443, False),
        (".openai.com", "api.openai.com", 443, True),
        (".openai.com", "openai.com", 443, False),
        ("*.openai.com", "api.openai.com", 443, True),
        ("*.openai.com", "openai.com", 443, False),
        ("openai", "api.openai.com", 443, False),
        ("a.test,b.test , c.test", "c.test", 443, True),
        ("a.test b.test", "b.test", 443, False),
        ("api.openai.com:443", "api.openai.com", 443, True),
        ("api.openai.com:443", "api.openai.com", 8443, False),
        (".openai.com:443", "api.openai.com", 443, True),
        (":443", "api.openai.com", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.1/8", "10.1.2.3", 443, True),
        ("10.0.0.0/99", "10.1.2.3", 443, False),
        ("10.0.0.0/8", "ten.test", 443, False),
        ("10.1.2.3", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 80, False),
        ("10.1.2", "10.1.2.3", 443, False),
        ("2.3", "10.1.2.3", 443, False),
        ("2001:db8::/32", "2001:db8::1", 443, True),
        ("2001:db8::1", "2001:db8:0::1", 443, True),
        ("[2001:db8::1]", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 443, True),
        ("[2001:db8::1]:443", "2001:db8::1", 80, False),
        ("10.0.0.0/8", "2001:db8::1", 443, False),
        ("", "localhost", 443, True),
        ("", "127.0.0.1", 443, True),
        ("", "127.8.8.8", 443, True),
        ("", "::1", 443, True),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(no_proxy: str, host: str, port: int, expected: bool) -> None:
    assert is_direct(host, port, no_proxy) is expected
    assert proxy_for("https", host, port, https_proxy=PROXY, no_proxy=no_proxy) == ("" if expected else PROXY)


def test_only_https_goes_through_the_proxy_for_it() -> None:
    assert proxy_for("http", "a.test", 80, https_proxy=PROXY, no_proxy="") == ""
    assert proxy_for("https", "a.test", 443, https_proxy="", no_proxy="") == ""


@given(st.text(max_size=30), st.sampled_from(["a.test", "10.0.0.1", "2001:db8::1"]))
def test_any_text_is_a_no_proxy(no_proxy: str, host: str) -> None:
    assert is_direct(host, 443, no_proxy) in {True, False}
