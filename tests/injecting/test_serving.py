"""The shell over real TLS: reviews come in, certificates change while they do, and the process goes without losing one."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from injecting_shapes.platform import TEMPLATE, review
from injecting_shapes.pods import container, pod
from tidegate_cluster.loopback import free_port

from tidegate_operator.certificates.bundle import Bundle
from tidegate_operator.certificates.plan import Plan, next_step
from tidegate_operator.inject.app import Injector, Listening
from tidegate_operator.inject.serving import LiveCertificate
from tidegate_operator.inject.settings import Settings
from tidegate_operator.settings import Address
from tidegate_runtime.connections import Connections

LONG_S = 400 * 86_400
LOOPBACK = Address(host="127.0.0.1", port=0)


def bundle(before: Bundle | None = None, *, age_s: int = 0) -> Bundle:
    """The next bundle, made `age_s` seconds ago: clients look at the real clock."""
    plan = Plan(names=("localhost",), addresses=("127.0.0.1",), leaf_life_s=LONG_S)
    after = next_step(before, plan, int(time.time()) - age_s)
    assert after is not None
    return after


def write(folder: Path, found: Bundle) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in found.to_data().items():
        if name in ("ca.crt", "tls.crt", "tls.key"):
            (folder / name).write_bytes(content)


@dataclass
class Running:
    """An injector and a client that speaks to it as the API server does."""

    listening: Listening
    session: aiohttp.ClientSession
    stopping: asyncio.Event

    async def ask(self, entry: str, body: bytes, trust: str, *, certificate: str = "") -> tuple[int, bytes]:
        context = ssl.create_default_context(cadata=trust)
        if certificate:
            context.load_cert_chain(certificate)
        url = f"https://{self.listening.webhook}/{entry}"
        async with self.session.post(url, data=io.BytesIO(body), ssl=context) as response:
            return response.status, await response.read()

    async def health(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"http://{self.listening.health}/{path}") as response:
            return response.status, await response.text()

    async def serial(self) -> int:
        """Of the certificate that a new connection meets."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        address = self.listening.webhook
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            await writer.wait_closed()
        return x509.load_der_x509_certificate(der).serial_number


@asynccontextmanager
async def running(folder: Path, *, drain_ms: int = 0, client_ca: str = "") -> AsyncIterator[Running]:
    settings = Settings(
        client_ca=client_ca,
        listen=LOOPBACK,
        health=LOOPBACK,
        certificates=folder,
        reload_ms=10,
        drain_ms=drain_ms,
        template=TEMPLATE,
    )
    stopping = asyncio.Event()
    listening: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(60), aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(Injector(settings).run(stopping, listening.set_result))
        try:
            yield Running(await listening, session, stopping)
        finally:
            stopping.set()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "certificates"


async def test_a_review_is_answered_counted_and_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    found = bundle()
    write(folder, found)
    async with running(folder) as injector:
        secret = container(env=[{"name": "OWN", "value": "a-secret-of-the-user"}])
        status, body = await injector.ask("pods", review(pod(secret)), found.trust)
        response = orjson.loads(body)["response"]
        assert (status, response["allowed"], response["patchType"]) == (200, True, "JSONPatch")
        _, metrics = await injector.health("metrics")
    assert 'tidegate_admissions_total{decision="injected",entry="pods",reason=""} 1.0' in metrics
    assert 'tidegate_admission_duration_seconds_count{entry="pods"} 1.0' in metrics
    (expiry,) = re.findall(r"^tidegate_injector_certificate_expiry_seconds (.+)$", metrics, re.MULTILINE)
    assert float(expiry) == found.leaf.until_s
    assert "injected Pod team-a/chat entry=pods" in caplog.text
    assert "a-secret-of-the-user" not in caplog.text


async def test_two_hundred_reviews_at_once_from_one_address_are_answered(folder: Path) -> None:
    """All reviews of a cluster come from a few API servers, in bursts."""
    found = bundle()
    write(folder, found)
    body = review(pod())
    async with running(folder) as injector, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(injector.ask("pods", body, found.trust)) for _ in range(200)]
        assert {(await it)[0] for it in asked} == {200}


async def test_connections_beyond_the_most_are_cut_and_those_before_go_on(folder: Path) -> None:
    found = bundle()
    write(folder, found)
    certificate = LiveCertificate(folder, lambda _: None, interval_s=600)
    await certificate.look()
    connections = Connections(asyncio.Protocol, most=2)
    server = await asyncio.get_running_loop().create_server(
        connections, "127.0.0.1", 0, ssl=certificate.context
    )
    port = server.sockets[0].getsockname()[1]
    trusting = ssl.create_default_context(cadata=found.trust)
    opened = [
        await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
        for _ in range(3)
    ]
    with suppress(ConnectionError):
        assert await opened[2][0].read() == b""
    assert not opened[0][0].at_eof()
    assert len(connections) == 2
    for _, writer in opened:
        writer.transport.abort()
    server.close()
    await connections.wait_closed(10)


def client_certificate(folder: Path) -> tuple[str, str]:
    """Files with a certificate for a client, signed by itself, and with it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    (folder / "client-ca.pem").write_bytes(pem)
    (folder / "client.pem").write_bytes(
        pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return str(folder / "client-ca.pem"), str(folder / "client.pem")


async def test_where_clients_have_to_show_a_certificate_none_is_served_without(
    folder: Path, tmp_path: Path
) -> None:
    authority, shown = client_certificate(tmp_path)
    found = bundle()
    write(folder, found)
    async with running(folder, client_ca=authority) as injector:
        with pytest.raises(aiohttp.ClientError):
            await injector.ask("pods", review(pod()), found.trust)
        assert (await injector.ask("pods", review(pod()), found.trust, certificate=shown))[0] == 200


async def test_every_reason_is_counted(folder: Path) -> None:
    found = bundle()
    write(folder, found)
    async with running(folder) as injector:
        await injector.ask("pods", review(pod(hostNetwork=True)), found.trust)
        await injector.ask("pods", review(pod(annotations={"tidegate.dev/startup": "x"})), found.trust)
        _, metrics = await injector.health("metrics")
    assert '{decision="skipped",entry="pods",reason="HostNetwork"} 1.0' in metrics
    assert '{decision="denied",entry="pods",reason="WrongOverride"} 1.0' in metrics


@pytest.mark.parametrize(
    ("entry", "body", "status", "said"),
    [
        ("pods", b"{}", 400, "expected AdmissionReview"),
        ("workloads", review(pod()), 400, "/workloads is for Deployment"),
        ("anything", b"{}", 404, "Served are: POST /pods"),
        ("pods", b" " * (9 * 2**20), 400, "expected at most 8388608 bytes"),
    ],
)
async def test_what_is_no_review_of_ours_is_told(
    folder: Path, entry: str, body: bytes, status: int, said: str
) -> None:
    found = bundle()
    write(folder, found)
    async with running(folder) as injector:
        answered, text = await injector.ask(entry, body, found.trust)
        assert (answered, said in text.decode()) == (status, True)
        assert (await injector.ask("pods", review(pod()), found.trust))[0] == 200


async def test_a_review_that_breaks_us_is_refused_with_a_reason(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The API server never sends a container that is no object within another; if it did, nothing would be let through."""
    found = bundle()
    write(folder, found)
    broken = pod(container(env=["broken"]))
    async with running(folder) as injector:
        _, body = await injector.ask("pods", review(broken), found.trust)
    response = orjson.loads(body)["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 500)
    assert "the review failed" in caplog.text


async def test_new_connections_meet_a_new_certificate(folder: Path) -> None:
    first = bundle(age_s=LONG_S * 2 // 3 + 10)
    write(folder, first)
    async with running(folder) as injector:
        assert await injector.serial() == first.leaf.certificate.serial_number
        second = bundle(first)
        assert second.leaf != first.leaf
        write(folder, second)
        while await injector.serial() != second.leaf.certificate.serial_number:
            assert (await injector.ask("pods", review(pod()), first.trust))[0] == 200
        assert (await injector.ask("pods", review(pod()), second.trust))[0] == 200


async def test_no_handshake_fails_while_certificates_change(folder: Path) -> None:
    """Certificate and key go into the live context one after the other: nothing may meet it in between."""
    bundles = [bundle(), bundle()]
    write(folder, bundles[0])
    serials = {it.leaf.certificate.serial_number for it in bundles}
    async with running(folder) as injector:
        met: list[int] = []

        async def connect() -> None:
            while len(set(met[-40:])) < 2 or len(met) < 300:
                met.append(await injector.serial())

        async with asyncio.TaskGroup() as tasks:
            connecting = [tasks.create_task(connect()) for _ in range(4)]
            while not all(it.done() for it in connecting):
                bundles.reverse()
                await asyncio.to_thread(write, folder, bundles[0])
    assert set(met) == serials


async def test_pods_get_the_authorities_of_now(folder: Path) -> None:
    first = bundle()
    write(folder, first)
    other = bundle()
    async with running(folder) as injector:
        (folder / "ca.crt").write_text(first.trust + other.trust)
        patch = b""
        while b"CERTIFICATE" not in patch or patch.count(b"BEGIN CERTIFICATE") < 2:
            _, body = await injector.ask("pods", review(pod()), first.trust)
            patch = base64.b64decode(orjson.loads(body)["response"]["patch"])


@pytest.mark.parametrize(
    ("name", "content"),
    [("tls.key", b"no key"), ("tls.crt", b"half of a certificate"), ("ca.crt", b"nobody"), ("tls.key", None)],
)
async def test_files_that_cannot_be_used_change_nothing(
    folder: Path, name: str, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor do a certificate and a key that do not belong together."""
    first = bundle()
    write(folder, first)
    live = LiveCertificate(folder, lambda _: None, interval_s=60)
    await live.look()
    assert (live.problem, live.trust) == ("", first.trust)
    if content is None:
        content = bundle().leaf.key_pem
    (folder / name).write_bytes(content)
    await live.look()
    assert "cannot be used" in live.problem
    assert live.trust == first.trust
    assert "the former one stays" in caplog.text
    write(folder, first)
    await live.look()
    assert live.problem == ""


async def test_it_waits_for_a_certificate_and_says_so(folder: Path) -> None:
    """The operator's leader may still have to make it: the Secret is mounted before it has anything to say."""
    health = Address(host="127.0.0.1", port=free_port())
    settings = Settings(
        listen=LOOPBACK, health=health, certificates=folder, reload_ms=10, drain_ms=0, template=TEMPLATE
    )
    stopping, listening = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(60), aiohttp.ClientSession() as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(Injector(settings).run(stopping, lambda _: listening.set()))
        status, text = 0, ""
        while not status:
            try:
                async with session.get(f"http://{health}/readyz") as response:
                    status, text = response.status, await response.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0)
        assert (status, "certificate" in text) == (503, True)
        async with session.get(f"http://{health}/healthz") as response:
            assert response.status == 200
        write(folder, bundle())
        await listening.wait()
        async with session.get(f"http://{health}/readyz") as response:
            assert response.status == 200
        stopping.set()


async def test_who_goes_still_answers_and_sends_the_next_one_elsewhere(folder: Path) -> None:
    found = bundle()
    write(folder, found)
    async with running(folder, drain_ms=3_000) as injector:
        assert (await injector.health("readyz"))[0] == 200
        injector.stopping.set()
        context = ssl.create_default_context(cadata=found.trust)
        url = f"https://{injector.listening.webhook}/pods"
        async with injector.session.post(url, data=review(pod()), ssl=context) as response:
            assert response.status == 200
            assert response.headers["connection"] == "close"
        status, text = await injector.health("readyz")
        assert (status, "stopping" in text) == (503, True)
