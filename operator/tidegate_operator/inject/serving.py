"""The certificate that is served and the authorities that pods get, followed while the files change."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidegate_operator.certificates.bundle import KeyPair
from tidegate_operator.certificates.files import ServerFiles
from tidegate_operator.certificates.folder import FolderKeeper
from tidegate_operator.certificates.loading import load

_PURPOSE: Final = b"tidegate status annotation\n"
FORMER_S: Final = 600.0
"""How long a pod with the authorities of before is stored: replicas see new files within some minutes of each other."""

_FIRST_S: Final = 0.5
"""Pause between two looks while there is no certificate yet."""


class LiveCertificate:
    """A TLS context that changes its certificate without a new listener, as a mounted Secret changes."""

    def __init__(
        self, folder: Path, on_load: Callable[[KeyPair], None], *, interval_s: float, client_ca: str = ""
    ) -> None:
        """Have no certificate yet.

        Args:
            folder: with the files `tls.crt`, `tls.key` and `ca.crt`.
            on_load: told of each certificate that is served from now on.
            interval_s: pause between two looks.
            client_ca: file with the authorities of clients' certificates; empty: none is asked for.

        Raises:
            OSError: `client_ca` cannot be read, or holds no certificate.
        """
        self._on_load = on_load
        self._served: ServerFiles | None = None
        self._former_trust = ""
        self._former_until_s = 0.0
        self._keeper = FolderKeeper(folder, on_files=self._serve, interval_s=interval_s, first_s=_FIRST_S)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)

    def __repr__(self) -> str:
        return f"<LiveCertificate: {self.problem or self._keeper.files}>"

    @property
    def trust(self) -> str:
        """PEM of the authorities that pods get; empty until there is a certificate."""
        return self._keeper.files.trust if self._keeper.files else ""

    @property
    def former_trust(self) -> str:
        """PEM of the authorities that pods got until a moment ago; empty where that is long ago."""
        return self._former_trust if time.monotonic() < self._former_until_s else ""

    @property
    def key(self) -> bytes:
        """What all replicas have in common and nobody else knows; empty until there is a certificate."""
        files = self._keeper.files
        return b"" if files is None else hashlib.sha256(_PURPOSE + files.leaf.key_pem).digest()

    @property
    def problem(self) -> str:
        """Why the files of now are not used; empty when they are."""
        return self._keeper.problem

    async def wait_loaded(self) -> None:
        """Return once there is a certificate."""
        await self._keeper.wait_ready()

    async def run(self) -> None:
        """Look at the files, for ever."""
        await self._keeper.run()

    async def look(self) -> None:
        """One look. Files that cannot be used change nothing: what is served goes on being served."""
        await self._keeper.look()

    def _serve(self, files: ServerFiles) -> None:
        load(self.context, files.leaf.certificate_pem, files.leaf.key_pem)
        served, self._served = self._served, files
        if served is not None and served.trust != files.trust:
            self._former_trust, self._former_until_s = served.trust, time.monotonic() + FORMER_S
        self._on_load(files.leaf)
