"""Whom the sidecar takes for the operator: the authorities that the pod was given, and those announced since.

A pod's environment never changes, and it may outlive the authority that it was started with. So what the operator
announces over a connection that is trusted already is trusted as well, and kept on disk. What the pod was given stays
trusted for as long as the pod lives: it is the way back if the operator's certificates are restored from a copy.
"""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

from tidegate_sidecar.config.last_known_good import replace

_log = logging.getLogger(__name__)

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_MAX_PEM_BYTES: Final = 2**20


class TrustError(ValueError):
    """There is no authority to trust; the message says where one was looked for."""


class OperatorTrust:
    """TLS contexts for the connection to the operator."""

    def __init__(self, given: str, folder: Path) -> None:
        """Trust `given` (PEM, or the path of a file with it) and what was announced and kept in `folder`."""
        self._given = given
        self._path = folder / "operator-ca.pem"
        self._announced = self._read_announced()
        self._made: tuple[str, ssl.SSLContext] | None = None

    @property
    def announced(self) -> str:
        """PEM that the operator has announced; empty: none so far."""
        return self._announced

    def context(self) -> ssl.SSLContext:
        """The same object for as long as the authorities are the same, so that connections are reused.

        Raises:
            TrustError: the given authorities cannot be read.
        """
        pem = self._read_given() + "\n" + self._announced
        if self._made is None or self._made[0] != pem:
            try:
                self._made = (pem, _context(pem))
            except (ssl.SSLError, ValueError) as error:
                raise TrustError(f"TIDEGATE_OPERATOR_CA holds no certificates in PEM: {error}") from error
        return self._made[1]

    def announce(self, pem: str) -> None:
        """Trust these as well, in the place of what was announced before, and keep them. Nonsense is ignored."""
        if not pem or pem == self._announced:
            return
        if not _is_usable(pem):
            _log.warning("the operator announces authorities that cannot be read: they are ignored")
            return
        self._announced = pem
        _log.info("authorities that the operator announces: %d", pem.count(_BEGIN))
        try:
            replace(self._path, pem.encode("ascii"))
        except OSError as error:
            _log.warning("announced authorities cannot be kept: %s", error)

    def _read_given(self) -> str:
        if _BEGIN in self._given:
            return self._given
        try:
            # Read each time: a file that is mounted changes while the pod runs.
            return Path(self._given).read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise TrustError(f"TIDEGATE_OPERATOR_CA={self._given[:200]}: {error}") from error

    def _read_announced(self) -> str:
        try:
            with self._path.open("rb") as file:
                pem = file.read(_MAX_PEM_BYTES).decode("ascii")
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            _log.warning("announced authorities cannot be read and are ignored: %s", error)
            return ""
        if not _is_usable(pem):
            _log.warning("announced authorities on disk are damaged and ignored")
            return ""
        return pem


def _context(pem: str) -> ssl.SSLContext:
    if not pem.isascii():
        raise ValueError("not PEM: it is not ASCII")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=pem)
    return context


def _is_usable(pem: str) -> bool:
    try:
        _context(pem)
    except (ssl.SSLError, ValueError):
        return False
    return True
