"""TLS to providers: who is trusted, who we are, what is said where it fails; and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tidegate_testing.tasks import until
from upstream_testing.heard import Heard
from upstream_testing.networks import Authority, Names
from upstream_testing.places import ANSWER, Leg, Place, leg, listening, send

from tidegate_sidecar.upstream.connector import OriginKey
from tidegate_sidecar.upstream.faults import ConnectError, ConnectionFault, FaultKind
from tidegate_sidecar.upstream.origins import Origins
from tidegate_sidecar.upstream.tls import TlsContexts, TlsFileError, TlsSettings, client_context

NO_LENGTH = b"HTTP/1.1 200 OK\r\n\r\nhalf and half"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def trusting(authority: Authority, **more: str) -> TlsSettings:
    return TlsSettings(ca_file=str(authority.file), **more)


async def served(it: Leg, place: object) -> ssl.SSLObject:
    """One request is answered; what TLS the connection had."""
    connection, heard = await it.connect(), Heard()
    send(connection, heard)
    await (await place.peer()).answer()  # type: ignore[attr-defined]
    await heard.end()
    assert (heard.status, heard.body) == (200, b"hi")
    assert connection.is_idle
    assert connection._transport is not None
    found: ssl.SSLObject = connection._transport.get_extra_info("ssl_object")
    return found


async def fault_of(it: Leg) -> ConnectionFault:
    with pytest.raises(ConnectError) as caught:
        await it.connect()
    assert caught.value.fault.kind is FaultKind.TLS
    return caught.value.fault


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_certificate_of_an_authority_of_ours_is_trusted(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.server_context("localhost")
    context.minimum_version = context.maximum_version = version
    async with (
        listening(context) as place,
        leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
    ):
        tls = await served(it, place)
        assert tls.version() == ("TLSv1.2" if version is ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
        assert tls.selected_alpn_protocol() == "http/1.1"


def test_nothing_older_than_1_2_is_spoken_and_certificates_are_verified() -> None:
    context = client_context(TlsSettings())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


async def test_an_address_is_trusted_by_its_certificate(authority: Authority) -> None:
    async with (
        listening(authority.server_context()) as place,
        leg(place, scheme="https", tls=trusting(authority)) as it,
    ):
        await served(it, place)


async def test_the_name_is_said_and_expected(authority: Authority) -> None:
    """The host's, without the dot behind a full name; or the one that the settings say."""
    said: list[str | None] = []
    context = authority.server_context("localhost", "other.test")
    context.sni_callback = lambda _, name, __: said.append(name)
    async with listening(context) as place:
        for host, name in (("localhost", ""), ("localhost.", ""), ("127.0.0.1", "other.test")):
            settings = trusting(authority, server_name=name)
            names = Names("127.0.0.1")
            async with leg(place, scheme="https", host=host, tls=settings, lookup=names) as it:
                await served(it, place)
    assert said == ["localhost", "localhost", "other.test"]


async def test_a_certificate_of_an_unknown_authority_is_not_trusted(authority: Authority) -> None:
    async with (
        listening(authority.server_context("localhost")) as place,
        leg(place, scheme="https", host="localhost") as it,
    ):
        fault = await fault_of(it)
        assert fault.reason == "its certificate is not trusted: unable to get local issuer certificate"
        assert not fault.sent
        assert it.origin.open_count == 0


@pytest.mark.parametrize(
    ("host", "name", "mismatch"),
    [
        ("localhost", "", "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("127.0.0.1", "", "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ("localhost", "another.test", "Hostname mismatch, certificate is not valid for 'another.test'"),
    ],
)
async def test_a_certificate_of_somebody_else_is_not_trusted(
    authority: Authority, host: str, name: str, mismatch: str
) -> None:
    async with (
        listening(authority.server_context("other.test", addresses=())) as place,
        leg(place, scheme="https", host=host, tls=trusting(authority, server_name=name)) as it,
    ):
        assert (await fault_of(it)).reason == f"its certificate is not trusted: {mismatch}"


async def test_a_server_without_tls_is_a_failure(authority: Authority) -> None:
    async with listening() as place, leg(place, scheme="https", tls=trusting(authority)) as it:
        making = asyncio.get_running_loop().create_task(fault_of(it))
        await (await place.peer()).send(ANSWER)
        assert (await making).reason in {
            "the TLS handshake failed: wrong version number",
            "the TLS handshake failed: packet length too long",
        }


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_server_that_closes_in_the_handshake_is_a_failure(authority: Authority, how: str) -> None:
    async with listening() as place, leg(place, scheme="https", tls=trusting(authority)) as it:
        making = asyncio.get_running_loop().create_task(fault_of(it))
        getattr(await place.peer(), how)()
        assert (await making).reason == "the TLS handshake failed"


async def test_a_host_that_no_certificate_can_name_is_a_failure(authority: Authority) -> None:
    async with listening(authority.server_context("localhost")) as place:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # uvloop tells it there, too
        async with leg(place, scheme="https", tls=trusting(authority, server_name=".test")) as it:
            assert (await fault_of(it)).reason == "the TLS handshake failed"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_server_may_ask_who_we_are(authority: Authority, version: ssl.TLSVersion) -> None:
    context = authority.server_context("localhost", clients=authority)
    context.minimum_version = context.maximum_version = version
    cert, key = authority.write("client", authority.client("tidegate"))
    async with listening(context) as place:
        settings = trusting(authority, cert_file=cert, key_file=key)
        async with leg(place, scheme="https", host="localhost", tls=settings) as it:
            await served(it, place)


async def test_a_certificate_and_its_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    pair, both = authority.client("tidegate"), tmp_path / "both.pem"
    both.write_bytes(pair.key_pem + pair.certificate_pem)
    async with listening(authority.server_context("localhost", clients=authority)) as place:
        settings = trusting(authority, cert_file=str(both))
        async with leg(place, scheme="https", host="localhost", tls=settings) as it:
            await served(it, place)


def demanding(listener: socket.socket, context: ssl.SSLContext) -> None:
    """A server in a thread, since asyncio's own closes without a word where a handshake fails."""
    with suppress(OSError):
        peer, _ = listener.accept()
        with peer, context.wrap_socket(peer, server_side=True):
            pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
async def test_a_server_that_does_not_get_our_certificate_is_a_failure_of_tls(
    authority: Authority, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 says so only behind the handshake, when the request may be on its way."""
    context = authority.server_context("localhost", clients=authority)
    context.minimum_version = context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        key = {"scheme": "https", "port": listener.getsockname()[1], "tls": trusting(authority)}
        serving = threading.Thread(target=demanding, args=(listener, context))
        serving.start()
        async with leg(Place(), **key) as it:
            if version is ssl.TLSVersion.TLSv1_2:
                reason = (await fault_of(it)).reason
            else:
                connection, heard = await it.connect(), Heard()
                await until(lambda: connection.is_closed or connection.has_unread())
                send(connection, heard)
                fault = await heard.failure()
                assert not fault.answer_began
                reason = fault.reason
                assert fault.kind in {FaultKind.TLS, FaultKind.CLOSED}
        serving.join()
    if version is ssl.TLSVersion.TLSv1_2:
        assert reason.startswith("the TLS handshake failed: ")
    else:
        assert reason in {
            "the TLS handshake failed: tlsv13 alert certificate required",
            "it closed the connection",
        }


class TestFiles:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"ca_file": "none.pem"}, "the CA file '{}/none.pem' cannot be read: No such file or directory"),
            ({"ca_file": "empty.pem"}, "the CA file '{}/empty.pem' holds no certificate in PEM"),
            ({"ca_file": "text.pem"}, "the CA file '{}/text.pem' holds no certificate in PEM"),
            ({"cert_file": "none.pem"}, "the certificate file '{}/none.pem' cannot be read: No such file or directory"),
            ({"cert_file": "a.crt", "key_file": "none.pem"}, "the key file '{}/none.pem' cannot be read: No such file"),
            ({"cert_file": "a.crt", "key_file": "b.key"}, "the certificate in '{}/a.crt' and the key in '{}/b.key' are not"),
            ({"cert_file": "a.crt"}, "the certificate in '{}/a.crt' and the key in '{}/a.crt' are not"),
            ({"cert_file": "a.crt", "key_file": "locked.key"}, "are not readable PEM without a password, or do not belong"),
            ({"cert_file": "text.pem", "key_file": "a.key"}, "the certificate in '{}/text.pem' and the key in"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_used_is_named_and_not_quoted(
        self, authority: Authority, tmp_path: Path, settings: dict[str, str], message: str
    ) -> None:
        for name in "ab":
            authority.write(name, authority.client(name))
        (tmp_path / "empty.pem").write_bytes(b"")
        (tmp_path / "text.pem").write_text("secret words")
        key = serialization.load_pem_private_key((tmp_path / "a.key").read_bytes(), None)
        (tmp_path / "locked.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )
        found = TlsSettings(**{name: str(tmp_path / file) for name, file in settings.items()})
        with pytest.raises(TlsFileError) as caught:
            client_context(found)
        assert message.replace("{}", str(tmp_path)) in str(caught.value)
        assert "secret words" not in str(caught.value)

    def test_they_are_read_before_anything_is_connected_to(self, tmp_path: Path) -> None:
        settings = TlsSettings(ca_file=str(tmp_path / "none.pem"))
        with pytest.raises(TlsFileError):
            Origins().get(OriginKey("https", "provider.test", 443, tls=settings))

    def test_settings_share_what_they_have_in_common(self, authority: Authority) -> None:
        contexts = TlsContexts()
        first = contexts.get(trusting(authority))
        assert contexts.get(trusting(authority, server_name="other.test")) is first
        assert contexts.get(TlsSettings()) is not first
        assert contexts.get(trusting(authority)) is first

    async def test_a_certificate_that_is_replaced_is_used_from_then_on(
        self, authority: Authority, tmp_path: Path
    ) -> None:
        clients = Authority(tmp_path, "clients")
        cert, key = authority.write("client", authority.client("of the wrong authority"))
        async with listening(authority.server_context("localhost", clients=clients)) as place:
            settings = trusting(authority, cert_file=cert, key_file=key)
            async with leg(place, scheme="https", host="localhost", tls=settings) as it:
                connection, heard = await it.connect(), Heard()
                send(connection, heard)
                await heard.failure()
                clients.write("client", clients.client("of the right one"))
                await served(it, place)

    def test_what_is_replaced_by_something_useless_is_used_on(
        self, authority: Authority, caplog: pytest.LogCaptureFixture
    ) -> None:
        contexts, settings = TlsContexts(), trusting(authority)
        first = contexts.get(settings)
        authority.file.write_text("secret words")
        with caplog.at_level(logging.WARNING):
            assert contexts.get(settings) is first
            assert contexts.get(settings) is first
        assert [it.getMessage() for it in caplog.records] == [
            f"the TLS files of before are used on: the CA file {str(authority.file)!r} holds no certificate in PEM"
        ]
        authority.file.unlink()
        assert contexts.get(settings) is first
        authority.file.write_bytes(authority.certificate_pem)
        assert contexts.get(settings) is not first

    def test_only_so_many_are_kept(self, authority: Authority, tmp_path: Path) -> None:
        contexts = TlsContexts()
        for number in range(70):
            path = tmp_path / f"{number}.pem"
            path.write_bytes(authority.certificate_pem)
            contexts.get(TlsSettings(ca_file=str(path)))
        assert len(contexts._contexts) == 64


class TestBytes:
    async def test_a_byte_on_an_idle_connection_ends_it(self, authority: Authority) -> None:
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection, peer = await it.used(place)
            it.clock.advance(ms=1_001)
            assert it.take() is connection, "nothing of TLS lies unread behind an answer"
            connection._pool.give_back(connection)
            await peer.send(b"\n")
            await until(lambda: connection.is_closed)
            assert it.take() is None

    async def test_an_answer_without_a_length_ends_with_its_connection(self, authority: Authority) -> None:
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection, heard = await it.connect(), Heard()
            send(connection, heard)
            peer = await place.peer()
            await peer.answer(NO_LENGTH)
            peer.close()
            await heard.end()
            assert heard.body == b"half and half"
            assert connection.is_closed

    async def test_what_comes_before_the_end_is_told_however_slowly_it_is_read(
        self, authority: Authority
    ) -> None:
        """The provider writes all and closes, while nobody reads: not a byte may be lost."""
        body = bytes(range(256)) * 400
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection = await it.connect()
            heard = Heard(lambda what: connection.pause() if what in {"head", "body"} else None)
            send(connection, heard)
            peer = await place.peer()
            await peer.answer(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
            )
            await until(lambda: heard.status)
            for at in range(0, len(body), 20_000):
                peer.writer.write(body[at : at + 20_000])
                for _ in range(5):
                    await asyncio.sleep(0)
            peer.writer.transport.abort()
            for _ in range(20):
                await asyncio.sleep(0)
            while not heard.is_over.is_set():
                connection.resume()
                await asyncio.sleep(0)
            await heard.end()
            assert heard.body == body

    async def test_what_nobody_wants_yet_is_not_read(self, authority: Authority) -> None:
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection = await it.connect()
            heard = Heard(lambda what: connection.pause() if what == "body" else None)
            send(connection, heard)
            peer = await place.peer()
            body = bytes(32 * 2**20)
            await peer.answer(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body))
            peer.writer.write(body)
            await until(lambda: heard.pieces)
            transport = connection._transport
            assert transport is not None
            for _ in range(10):
                pieces = len(heard.pieces)
                for _ in range(50):
                    await asyncio.sleep(0)
                assert len(heard.pieces) == pieces
                assert len(heard.pieces[-1]) <= 2**20
                assert transport.get_read_buffer_size() <= 2**19  # type: ignore[attr-defined]
                connection.resume()
                await until(lambda: len(heard.pieces) > pieces)  # noqa: B023 - it is awaited here
            connection.close()

    async def test_a_large_request_is_written_as_fast_as_it_is_taken(self, authority: Authority) -> None:
        body = bytes(range(256)) * 4 * 6 * 1_024
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection, heard = await it.connect(), Heard()
            send(connection, heard, body)
            transport = connection._transport
            assert transport is not None
            for _ in range(100):
                await asyncio.sleep(0)
                assert transport.get_write_buffer_size() <= 1_024 * 1_024
            peer = await place.peer()
            assert await peer.request() == body
            await peer.send(ANSWER)
            await heard.end()
            assert connection.is_idle

    async def test_an_early_answer_to_a_large_request_is_told(self, authority: Authority) -> None:
        async with (
            listening(authority.server_context("localhost")) as place,
            leg(place, scheme="https", host="localhost", tls=trusting(authority)) as it,
        ):
            connection, heard = await it.connect(), Heard()
            send(connection, heard, bytes(6 * 2**20))
            peer = await place.peer()
            await peer.reader.readuntil(b"\r\n\r\n")
            await peer.send(b"HTTP/1.1 413 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            await heard.end()
            assert heard.status == 413
            assert connection.is_closed
