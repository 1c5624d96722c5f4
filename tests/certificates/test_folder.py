"""Certificates that somebody else keeps: followed when they change, and a working one never goes for one that is broken."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tidegate_operator.certificates.bundle import KeyPair
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.certificates.folder import FolderKeeper
from tidegate_operator.certificates.plan import Plan, next_step

NAME = "operator.svc"


def files(*names: str) -> ServerFiles:
    bundle = next_step(None, Plan(names=names or (NAME,)), int(time.time()))
    assert bundle is not None
    return ServerFiles(leaf=bundle.leaf, trust=bundle.trust)


def mount(folder: Path, found: ServerFiles, *left_out: str) -> None:
    """As the kubelet does: a new folder, and a link that changes to it in one step."""
    data = folder / f"data-{len(list(folder.iterdir()))}"
    data.mkdir()
    for name, content in found.to_data().items():
        if name not in left_out:
            (data / name).write_bytes(content)
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(folder / "..data" / name)
    new = folder / "..new"
    new.symlink_to(data)
    new.rename(folder / "..data")


class Server:
    """A keeper, and what it has handed over."""

    def __init__(self, folder: Path) -> None:
        self.taken: list[ServerFiles] = []
        self.fails: OSError | None = None
        self.keeper = FolderKeeper(folder, name=NAME, on_files=self.take, interval_s=0.001)

    def take(self, found: ServerFiles) -> None:
        if self.fails is not None:
            raise self.fails
        self.taken.append(found)


async def test_what_is_mounted_is_served_and_followed(tmp_path: Path) -> None:
    server, first, second = Server(tmp_path), files(), files()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.keeper.run())
        mount(tmp_path, first)
        await server.keeper.wait_ready()
        mount(tmp_path, second)
        while len(server.taken) < 2:  # noqa: ASYNC110 - what is tested is that it comes by itself
            await asyncio.sleep(0)
        running.cancel()
    assert server.taken == [first, second]


async def test_the_same_files_are_given_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    mount(tmp_path, files())
    await server.keeper.look()
    await server.keeper.look()
    assert len(server.taken) == 1


@pytest.mark.parametrize("damage", ["tls.crt", "tls.key", "ca.crt", "another key"])
async def test_files_that_cannot_be_used_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    server, good = Server(tmp_path), files()
    mount(tmp_path, good)
    await server.keeper.look()
    other = files()
    if damage == "another key":
        pair = KeyPair(certificate_pem=other.leaf.certificate_pem, key_pem=good.leaf.key_pem)
        mount(tmp_path, replace(other, leaf=pair))
    else:
        mount(tmp_path, other, damage)
    await server.keeper.look()
    await server.keeper.look()
    assert server.keeper.files == good
    assert (
        "tls.key is not the key of tls.crt" if damage == "another key" else damage
    ) in server.keeper.problem
    assert caplog.text.count("the former one stays") == 1
    assert "PRIVATE" not in caplog.text

    mount(tmp_path, other)
    await server.keeper.look()
    assert (server.keeper.files, server.keeper.problem) == (other, "")


async def test_a_certificate_that_cannot_be_served_is_tried_again(tmp_path: Path) -> None:
    server = Server(tmp_path)
    mount(tmp_path, files())
    server.fails = OSError("no")
    await server.keeper.look()
    assert server.keeper.files is None
    server.fails = None
    await server.keeper.look()
    assert len(server.taken) == 1


async def test_a_certificate_for_other_names_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(tmp_path)
    mount(tmp_path, files("other.svc"))
    await server.keeper.look()
    assert f"it is not for {NAME}" in caplog.text


async def test_a_chain_and_an_rsa_key_are_as_good(tmp_path: Path) -> None:
    """What other issuers make: the leaf first, then intermediate authorities."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    ca = files()
    leaf = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ca.leaf.certificate.not_valid_before_utc)
        .not_valid_after(ca.leaf.certificate.not_valid_after_utc)
        .sign(key, hashes.SHA256())
    )
    pem = leaf.public_bytes(serialization.Encoding.PEM)
    pair = KeyPair(
        certificate_pem=pem + ca.trust.encode(),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )
    mount(tmp_path, ServerFiles(leaf=pair, trust=ca.trust))
    server = Server(tmp_path)
    await server.keeper.look()
    assert [it.leaf.certificate for it in server.taken] == [leaf]
