"""Bundle: everything there is to know about the certificates, as one value and as the data of one Secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes, PublicKeyTypes

TRUST: Final = "ca.crt"
"""All authorities to trust: what the injector gives to pods, and what goes into a `caBundle`."""
LEAF: Final = "tls.crt"
LEAF_KEY: Final = "tls.key"
_AUTHORITY: Final = ("authority.crt", "authority.key")
_SUCCESSOR: Final = ("successor.crt", "successor.key")
_FORMER: Final = "former.json"


class BundleError(ValueError):
    """A Secret does not hold what it should; the message names the key, never its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, as PEM. Its repr shows neither."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        return f"KeyPair(until {datetime.fromtimestamp(self.until_s, UTC):%Y-%m-%d}, key hidden)"

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, read."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    @property
    def from_s(self) -> int:
        """When it begins to be valid, in seconds since the epoch."""
        return int(self.certificate.not_valid_before_utc.timestamp())

    @property
    def until_s(self) -> int:
        """When it ends to be valid."""
        return int(self.certificate.not_valid_after_utc.timestamp())


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """An authority that signs no more, and is trusted until its last leaf cannot be served any longer."""

    certificate_pem: bytes
    until_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The certificates at one moment.

    Attributes:
        authority: signs leaves.
        leaf: is served.
        successor: will sign; it is trusted first, for as long as `Plan.announce_s`.
        former: signed once. Their keys are gone.
    """

    authority: KeyPair
    leaf: KeyPair
    successor: KeyPair | None = None
    former: tuple[Former, ...] = ()

    @property
    def trust(self) -> str:
        """PEM of every authority whose leaf may be served now or next."""
        parts = [self.authority.certificate_pem]
        if self.successor is not None:
            parts.append(self.successor.certificate_pem)
        parts.extend(former.certificate_pem for former in self.former)
        return "".join(part.decode("ascii").strip() + "\n" for part in parts)

    def to_data(self) -> dict[str, bytes]:
        """What stands in the Secret."""
        former = [
            {"certificate": former.certificate_pem.decode("ascii"), "until_s": former.until_s}
            for former in self.former
        ]
        data = {
            TRUST: self.trust.encode("ascii"),
            LEAF: self.leaf.certificate_pem,
            LEAF_KEY: self.leaf.key_pem,
            _AUTHORITY[0]: self.authority.certificate_pem,
            _AUTHORITY[1]: self.authority.key_pem,
            _FORMER: json.dumps(former).encode("ascii"),
        }
        if self.successor is not None:
            data[_SUCCESSOR[0]] = self.successor.certificate_pem
            data[_SUCCESSOR[1]] = self.successor.key_pem
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> Bundle:
        """Read a Secret.

        Raises:
            BundleError: something is missing, cannot be read, or does not belong together.
        """
        bundle = cls(
            authority=read_pair(data, *_AUTHORITY),
            leaf=read_pair(data, LEAF, LEAF_KEY),
            successor=read_pair(data, *_SUCCESSOR) if _SUCCESSOR[0] in data else None,
            former=_former(data),
        )
        if not is_signed_by(bundle.leaf, bundle.authority):
            raise BundleError(f"{LEAF} is not signed by {_AUTHORITY[0]}")
        return bundle


def is_signed_by(leaf: KeyPair, authority: KeyPair | x509.Certificate) -> bool:
    """Whether a client that trusts `authority` trusts `leaf`, times left aside."""
    signer = authority.certificate if isinstance(authority, KeyPair) else authority
    try:
        leaf.certificate.verify_directly_issued_by(signer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def read_pair(data: Mapping[str, bytes], certificate: str = LEAF, key: str = LEAF_KEY) -> KeyPair:
    """A certificate and its key by the names that they have in a Secret or a folder.

    Raises:
        BundleError: one is missing, cannot be read, or they do not belong together.
    """
    for name in (certificate, key):
        if name not in data:
            raise BundleError(f"{name} is missing")
    pair = KeyPair(certificate_pem=data[certificate], key_pem=data[key])
    try:
        public_key = pair.certificate.public_key()
    except ValueError as error:
        raise BundleError(f"{certificate} is no certificate in PEM") from error
    try:
        private_key = serialization.load_pem_private_key(pair.key_pem, password=None)
    except (ValueError, TypeError) as error:
        # Without the cause: a parser's message may quote what it has read.
        raise BundleError(f"{key} is no private key in PEM ({type(error).__name__})") from None
    if _public_bytes(public_key) != _public_bytes(private_key.public_key()):
        raise BundleError(f"{key} is not the key of {certificate}")
    return pair


def _former(data: Mapping[str, bytes]) -> tuple[Former, ...]:
    try:
        found = json.loads(data.get(_FORMER, b"[]"))
        former = tuple(
            Former(certificate_pem=str(item["certificate"]).encode("ascii"), until_s=int(item["until_s"]))
            for item in found
        )
        for item in former:
            x509.load_pem_x509_certificate(item.certificate_pem)
    except (ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{_FORMER} is no list of former authorities") from error
    return former


def _public_bytes(key: CertificatePublicKeyTypes | PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
