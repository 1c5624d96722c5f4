"""TLS contexts of the publisher, and certificates that change while they are in use."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def serving_context() -> ssl.SSLContext:
    """For a server whose clients are all ours; it has no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No client of ours resumes a session, and each ticket would be sent and kept for nothing.
    context.num_tickets = 0
    return context


def trusting_context(trust: str) -> ssl.SSLContext:
    """For a client that trusts the authorities in this PEM and no others.

    Raises:
        ValueError: there are none in it (also as `ssl.SSLError`, an `OSError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if not trust.isascii():
        raise ValueError("authorities to trust are not PEM: they are not ASCII")
    context.load_verify_locations(cadata=trust)
    return context


def load(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    """Serve this certificate to every connection from now on; open ones keep what they have.

    Raises:
        ssl.SSLError: certificate and key cannot be read or do not belong together; the former ones stay.
    """
    # Two passes: a pair that does not fit must not leave half of it in the live context.
    with _file(certificate_pem + b"\n" + key_pem) as path:
        serving_context().load_cert_chain(path)
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
