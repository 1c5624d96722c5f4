"""Makes keys and certificates: ECDSA on P-256, which every client of ours verifies in microseconds."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tidegate_operator.certificates.bundle import KeyPair

SKEW_S: Final = 300
"""A certificate is valid from so long before it was made: clocks of nodes differ."""


def new_authority(now_s: int, life_s: int) -> KeyPair:
    """A new authority that signs itself, valid for `life_s` seconds from now on."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Each has a name of its own: while two are trusted, a client finds the right one by its name.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"tidegate authority {serial:040x}"[:60])])
    certificate = (
        _builder(name, name, key.public_key(), serial=serial, now_s=now_s, until_s=now_s + life_s)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def new_leaf(
    authority: KeyPair,
    names: Iterable[str],
    addresses: Iterable[str],
    now_s: int,
    life_s: int,
    *,
    holder: str = "tidegate operator",
) -> KeyPair:
    """A serving certificate for DNS names and IP addresses, valid for `life_s` seconds or until the authority ends.

    `holder` is its common name, for people alone.
    """
    signer = serialization.load_pem_private_key(authority.key_pem, password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - all keys are made above
    issuer = authority.certificate
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName(
        [
            *(x509.DNSName(name) for name in names),
            *(x509.IPAddress(ip_address(address)) for address in addresses),
        ]
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, holder)])
    until_s = min(now_s + life_s, authority.until_s)
    certificate = (
        _builder(
            name,
            issuer.subject,
            key.public_key(),
            serial=x509.random_serial_number(),
            now_s=now_s,
            until_s=until_s,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    return _pair(certificate, key)


def alternative_names(leaf: KeyPair) -> tuple[frozenset[str], frozenset[str]]:
    """DNS names and IP addresses of a serving certificate."""
    try:
        extension = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return frozenset(), frozenset()
    names = extension.value.get_values_for_type(x509.DNSName)
    addresses = extension.value.get_values_for_type(x509.IPAddress)
    return frozenset(names), frozenset(str(address) for address in addresses)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    serial: int,
    now_s: int,
    until_s: int,
) -> x509.CertificateBuilder:
    begin = datetime.fromtimestamp(now_s, UTC) - timedelta(seconds=SKEW_S)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(datetime.fromtimestamp(until_s, UTC))
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
