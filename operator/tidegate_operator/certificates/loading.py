"""Giving a certificate to a TLS context that is in use: the one place where keys pass to the library that wants a file."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def load(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    """Serve this certificate to every connection from now on; open ones keep what they have.

    Call it in the loop that serves: between certificate and key the context has two that do not fit, and a handshake in
    that moment would fail.

    Raises:
        ssl.SSLError: certificate and key cannot be read or do not belong together; the former ones stay.
    """
    with _file(certificate_pem + b"\n" + key_pem) as path:
        # Tried elsewhere first: a pair that does not fit must not leave half of it in the live context.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        context.load_cert_chain(path)


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
