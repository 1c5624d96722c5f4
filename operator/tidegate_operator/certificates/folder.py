"""Follows certificates that somebody else keeps: a folder in which cert-manager's Secret is mounted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tidegate_operator.certificates.bundle import BundleError
from tidegate_operator.certificates.files import NAMES, ServerFiles
from tidegate_operator.certificates.issue import alternative_names

_log = logging.getLogger(__name__)

FIRST_S: Final = 1.0
"""As long as there is no certificate the process cannot serve, so it looks more often."""


class FolderKeeper:
    """`run` is the body of one task, the same on every replica: nothing is ever written."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "",
        on_files: Callable[[ServerFiles], None],
        interval_s: float,
        first_s: float = FIRST_S,
    ) -> None:
        """Know no certificate yet.

        Args:
            folder: with `tls.crt`, `tls.key` and `ca.crt`.
            name: that clients ask for; a certificate without it is told of. Empty: whatever it is for.
            on_files: given each new certificate, to serve it and announce its trust; an `OSError` (it cannot be served)
                is told like files that cannot be read.
            interval_s: pause between two looks.
            first_s: the same while there is no certificate.
        """
        self._folder = folder
        self._name = name
        self._on_files = on_files
        self._interval_s = interval_s
        self._first_s = min(first_s, interval_s)
        self._ready = asyncio.Event()
        self.files: ServerFiles | None = None
        """In use."""
        self.problem = f"no certificate has been read from {folder} yet"
        """Why what is in the folder now is not used; empty when it is."""

    async def run(self) -> None:
        """Look, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._interval_s if self.files is not None else self._first_s)

    async def wait_ready(self) -> None:
        """Return once a certificate is in use."""
        await self._ready.wait()

    async def look(self) -> None:
        """One look. Files that cannot be used change nothing: what is in use stays in use."""
        try:
            files = await asyncio.to_thread(self._read)
            if files != self.files:
                self._on_files(files)
        except (OSError, BundleError) as error:
            # neither quotes what the files hold
            problem = f"the certificate in {self._folder} cannot be used: {error}"
            if problem != self.problem:
                _log.warning("%s%s", problem, "; the former one stays" if self.files is not None else "")
            self.problem = problem
            return
        self.problem = ""
        if files == self.files:
            return
        self.files = files
        self._ready.set()
        _log.info("serving the certificate of %s: %s", self._folder, files.leaf)
        if self._name and self._name not in alternative_names(files.leaf)[0]:
            _log.warning("it is not for %s: who asks for that name cannot verify it", self._name)

    def _read(self) -> ServerFiles:
        return ServerFiles.from_data({name: (self._folder / name).read_bytes() for name in NAMES})
