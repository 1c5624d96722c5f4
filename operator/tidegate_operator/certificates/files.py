"""ServerFiles: what a server has that keeps no authority, as one value, as the data of a Secret, and as a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from tidegate_operator.certificates.bundle import LEAF, LEAF_KEY, TRUST, BundleError, KeyPair, read_pair

NAMES: Final = (LEAF, LEAF_KEY, TRUST)
"""The keys of the Secret, and the files of the folder that it is mounted at; cert-manager writes the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """A leaf and whom to trust.

    Attributes:
        leaf: is served; its PEM may go on with intermediate authorities.
        trust: PEM of every authority whose leaf may be served now or next.
    """

    leaf: KeyPair
    trust: str

    def to_data(self) -> dict[str, bytes]:
        """What stands in the Secret: these keys and no others, above all no authority's."""
        return {
            LEAF: self.leaf.certificate_pem,
            LEAF_KEY: self.leaf.key_pem,
            TRUST: self.trust.encode("ascii"),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, bytes]) -> ServerFiles:
        """Read them.

        Raises:
            BundleError: something is missing, cannot be read, or does not belong together.
        """
        leaf = read_pair(data)
        if not authorities(data.get(TRUST, b"")):
            raise BundleError(f"{TRUST} holds no certificate in PEM")
        try:
            return cls(leaf=leaf, trust=data[TRUST].decode("ascii"))
        except UnicodeDecodeError:
            raise BundleError(f"{TRUST} is not ASCII") from None


def authorities(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM; none where it cannot be read, as in a `caBundle` that somebody has damaged."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError:
        return ()
