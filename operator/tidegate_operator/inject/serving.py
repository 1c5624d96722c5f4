"""The certificate that is served and the authorities that pods get, followed while the files change."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tidegate_operator.certificates.bundle import LEAF, LEAF_KEY, TRUST, KeyPair

_log = logging.getLogger(__name__)

FIRST_LOOK_S: Final = 0.5
"""Pause between two looks while there is no certificate yet."""


class _Found(NamedTuple):
    """Files that can be used."""

    pair: KeyPair
    trust: str
    signature: tuple[object, ...]


class LiveCertificate:
    """A TLS context that changes its certificate without a new listener, as a mounted Secret changes."""

    def __init__(self, folder: Path, on_load: Callable[[KeyPair], None]) -> None:
        """Have no certificate yet.

        Args:
            folder: with the files `tls.crt`, `tls.key` and `ca.crt`.
            on_load: told of each certificate that is served from now on.
        """
        self._folder = folder
        self._on_load = on_load
        self._seen: tuple[object, ...] = ()
        self._loaded = asyncio.Event()
        self.context = _serving_context()
        self.trust = ""
        """PEM of the authorities that pods get; empty until there is a certificate."""
        self.problem = f"no certificate has been read from {folder} yet"
        """Why the files of now are not used; empty when they are."""

    def __repr__(self) -> str:
        return f"<LiveCertificate of {self._folder}{f': {self.problem}' if self.problem else ''}>"

    async def wait_loaded(self) -> None:
        """Return once there is a certificate."""
        await self._loaded.wait()

    async def run(self, interval_s: float) -> None:
        """Look at the files, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(interval_s if self._loaded.is_set() else min(FIRST_LOOK_S, interval_s))

    async def look(self) -> None:
        """One look. Files that cannot be used change nothing: what is served goes on being served."""
        try:
            found = await asyncio.to_thread(self._read_if_changed)
            if found is None:
                return
            # Not in the thread: between certificate and key the context has two that do not fit, and a handshake that
            # the loop made in this moment would fail.
            with _file(found.pair.certificate_pem + b"\n" + found.pair.key_pem) as path:
                self.context.load_cert_chain(path)
        except (OSError, ValueError) as error:
            # ssl.SSLError is an OSError; neither it nor ValueError quotes what the files hold
            problem = f"the certificate in {self._folder} cannot be used: {error}"
            if problem != self.problem:
                _log.warning("%s%s", problem, "; the former one stays" if self._loaded.is_set() else "")
            self.problem = problem
            return
        self.trust, self._seen, self.problem = found.trust, found.signature, ""
        self._on_load(found.pair)
        self._loaded.set()
        _log.info("serving the certificate of %s: %s", self._folder, found.pair)

    def _read_if_changed(self) -> _Found | None:
        signature = tuple(_signature(self._folder / name) for name in (LEAF, LEAF_KEY, TRUST))
        if signature == self._seen:
            return None
        pair = KeyPair(
            certificate_pem=(self._folder / LEAF).read_bytes(), key_pem=(self._folder / LEAF_KEY).read_bytes()
        )
        trust = (self._folder / TRUST).read_text(encoding="ascii")
        # Raises where there is no authority in it: pods made with it would never find the operator.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=trust)
        with _file(pair.certificate_pem + b"\n" + pair.key_pem) as path:
            # Tried elsewhere first: a pair that does not fit must not leave half of it in the live context.
            _serving_context().load_cert_chain(path)
        return _Found(pair, trust, signature)


def _serving_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _signature(path: Path) -> tuple[int, int, int]:
    """Differs when the file is another one: the kubelet replaces the folder behind a link."""
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A path with `content`, for a library that reads keys from files alone; where possible it is on no disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tidegate-certificate")
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory(prefix="tidegate-") as folder:
        path = Path(folder) / "certificate.pem"
        path.touch(mode=0o600)
        path.write_bytes(content)
        yield str(path)
