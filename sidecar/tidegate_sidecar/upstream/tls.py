"""TLS to providers: whom to trust, who we are, and what a failed handshake means in words."""

from __future__ import annotations

import logging
import os
import ssl
from typing import Final, NamedTuple

_ALPN: Final = ["http/1.1"]
_CONTEXTS_MAX: Final = 64
"""Contexts that are kept; a configuration has a handful."""

_log = logging.getLogger(__name__)


class TlsSettings(NamedTuple):
    """What differs from TLS as the system has it. Empty: as the system has it.

    Attributes:
        ca_file: PEM of authorities that are trusted besides the system's.
        cert_file: PEM of the certificate (with its chain) that we show when a server asks for one.
        key_file: PEM of its key, without a password; empty where `cert_file` holds it too.
        server_name: is asked for (SNI) and expected in the certificate instead of the host.
    """

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    server_name: str = ""


class TlsFileError(Exception):
    """A file of the settings cannot be used. The message names it and quotes nothing of it."""


class TlsContexts:
    """Contexts by settings. Making one reads the system's authorities, which takes tens of milliseconds.

    Files are looked at whenever a connection is made, so that a certificate that was replaced is used from then on. What
    cannot be used then is told in the log, once, and what was there before is used on.
    """

    def __init__(self) -> None:
        self._contexts: dict[TlsSettings, tuple[_Stamp, ssl.SSLContext]] = {}

    def get(self, settings: TlsSettings) -> ssl.SSLContext:
        """The context for `settings`; those that differ in the server's name share one.

        Raises:
            TlsFileError: a file cannot be used, and never could.
        """
        settings = settings._replace(server_name="")
        stamp = _stamp(settings)
        known = self._contexts.get(settings)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            context = client_context(settings)
        except TlsFileError as error:
            if known is None:
                raise
            _log.warning("the TLS files of before are used on: %s", error)
            context = known[1]
        if known is None and len(self._contexts) >= _CONTEXTS_MAX:
            del self._contexts[next(iter(self._contexts))]
        self._contexts[settings] = (stamp, context)
        return context


def client_context(settings: TlsSettings) -> ssl.SSLContext:
    """TLS 1.2 or 1.3, with the certificate and its name verified.

    Raises:
        TlsFileError: a file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    if settings.ca_file:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except ssl.SSLError as error:
            raise TlsFileError(f"the CA file {settings.ca_file!r} holds no certificate in PEM") from error
        except OSError as error:
            raise TlsFileError(_unreadable("CA", settings.ca_file, error)) from error
    if settings.cert_file:
        key_file = settings.key_file or settings.cert_file
        for kind, path in (("certificate", settings.cert_file), ("key", key_file)):
            try:
                with open(path, "rb"):  # noqa: PTH123 - only to learn which of the two cannot be
                    pass
            except OSError as error:
                raise TlsFileError(_unreadable(kind, path, error)) from error
        try:
            # Without a password it would ask for one at the terminal.
            context.load_cert_chain(settings.cert_file, key_file, password="")
        except (OSError, ValueError) as error:
            raise TlsFileError(
                f"the certificate in {settings.cert_file!r} and the key in {key_file!r} are not readable PEM without a "
                "password, or do not belong together"
            ) from error
    return context


def handshake_problem(error: Exception) -> str:
    """What went wrong, in words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"the TLS handshake failed: {error.reason.lower().replace('_', ' ')}"
    return "the TLS handshake failed"


_Stamp = tuple[tuple[int, int, int] | None, ...]


def _stamp(settings: TlsSettings) -> _Stamp:
    """What changes when one of the files does."""
    return tuple(_file_stamp(path) for path in settings if path)


def _file_stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - a path in settings is text
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _unreadable(kind: str, path: str, error: OSError) -> str:
    return f"the {kind} file {path!r} cannot be read: {error.strerror or type(error).__name__}"
