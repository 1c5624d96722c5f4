"""TLS contexts of the publisher, for its sidecars and its replicas alone."""

from __future__ import annotations

import ssl


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
