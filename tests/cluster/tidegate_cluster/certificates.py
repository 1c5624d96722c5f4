"""Keys and certificates of one short-lived cluster: made afresh on each start, valid for a week."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVICE_CLUSTER_IP_RANGE = "10.96.0.0/16"

SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
# The second is the first address of the Service range: that of the `kubernetes` Service.
SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")
_VALIDITY = timedelta(days=7)
_CLOCK_SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate with its private key, both as PEM."""

    certificate_pem: bytes
    key_pem: bytes

    def __repr__(self) -> str:
        """Show no key material."""
        return f"KeyPair({len(self.certificate_pem)} bytes of certificate, key hidden)"


class CertificateAuthority:
    """The cluster's only authority: it signs servers and clients alike."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tidegate test cluster")])
        public_key = self._key.public_key()
        self._certificate = (
            _builder(self._name, self._name, public_key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate_pem(self) -> bytes:
        """What clients and servers trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """For the controller-manager alone, which signs CertificateSigningRequests with it."""
        return private_key_pem(self._key)

    def server(
        self, names: Iterable[str] = SERVER_NAMES, addresses: Iterable[str] = SERVER_ADDRESSES
    ) -> KeyPair:
        """Sign a serving certificate for DNS names and IP addresses."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
        alternatives = x509.SubjectAlternativeName(
            [
                *(x509.DNSName(name) for name in names),
                *(x509.IPAddress(ip_address(address)) for address in addresses),
            ]
        )
        return self._issue(subject, ExtendedKeyUsageOID.SERVER_AUTH, alternatives)

    def client(self, user: str, groups: Iterable[str] = ()) -> KeyPair:
        """Sign a client certificate, which the API server reads as this user in these groups."""
        subject = x509.Name(
            [
                *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
                x509.NameAttribute(NameOID.COMMON_NAME, user),
            ]
        )
        return self._issue(subject, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def _issue(
        self,
        subject: x509.Name,
        usage: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, self._name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            # Python's strict verification (the default from 3.13) wants the authority named by its key.
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(
            certificate_pem=certificate.public_bytes(serialization.Encoding.PEM), key_pem=private_key_pem(key)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """The files that the servers' flags name, all in one folder."""

    authority: Path
    authority_key: Path
    serving: Path
    serving_key: Path
    service_account_key: Path
    """Private key that signs ServiceAccount tokens."""
    service_account_public_key: Path
    """Public key that verifies them."""


def write_certificate_files(
    authority: CertificateAuthority, folder: Path, *, addresses: Iterable[str] = ()
) -> CertificateFiles:
    """Write what the servers need into `folder`, readable by this user alone.

    `addresses` are those that the API server has beside the usual ones.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    serving = authority.server(addresses=dict.fromkeys((*SERVER_ADDRESSES, *addresses)))
    signer = ec.generate_private_key(ec.SECP256R1())
    files = CertificateFiles(
        authority=folder / "ca.crt",
        authority_key=folder / "ca.key",
        serving=folder / "serving.crt",
        serving_key=folder / "serving.key",
        service_account_key=folder / "service-account.key",
        service_account_public_key=folder / "service-account.pub",
    )
    write_private(files.authority, authority.certificate_pem)
    write_private(files.authority_key, authority.key_pem)
    write_private(files.serving, serving.certificate_pem)
    write_private(files.serving_key, serving.key_pem)
    write_private(files.service_account_key, private_key_pem(signer))
    write_private(
        files.service_account_public_key,
        signer.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )
    return files


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user can read, from its first moment on."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(content)


def private_key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Encode a key in PKCS #8, without a password."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALIDITY)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
