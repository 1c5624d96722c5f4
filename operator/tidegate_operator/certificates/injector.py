"""The injector's certificate, and whom the API server has to trust when it calls it (PURE but for the keys that are made).

The same authorities sign as for the operator, and the same order holds: an authority is trusted, then it signs, and it is
forgotten when nobody serves what it has signed. Here trust is the `caBundle` of the webhook configuration, which the API
server follows at once, and the leaf is a Secret that is mounted, which the injector follows within minutes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tidegate_operator.certificates.bundle import Bundle, is_signed_by
from tidegate_operator.certificates.files import ServerFiles, authorities
from tidegate_operator.certificates.issue import SKEW_S, new_leaf
from tidegate_operator.certificates.plan import Plan, leaf_is_due

LAG_S: Final = 600
"""How long the injector may serve a leaf that the Secret does not have any more: the kubelet brings the new one within
about two minutes, and a node that is busy has the rest."""

_HOLDER: Final = "tidegate injector"


def next_files(
    before: ServerFiles | None, bundle: Bundle, plan: Plan, now_s: int, *, trusted: Collection[bytes]
) -> ServerFiles | None:
    """The injector's files after the change that is due; None when none is, or when it has to wait.

    Args:
        before: as they are in the Secret; None: there are none that can be used.
        bundle: the authorities.
        plan: what leaf there is to be.
        now_s: seconds since the epoch.
        trusted: PEM that the API server has as `caBundle`, of each entry by which it calls the injector. A leaf of an
            authority that is not in all of them would fail calls, and is not made.
    """
    leaf = None if before is None else before.leaf
    if leaf is None or not is_signed_by(leaf, bundle.authority) or leaf_is_due(leaf, plan, now_s):
        authority = bundle.authority.certificate
        if all(authority in authorities(it) for it in trusted):
            leaf = new_leaf(
                bundle.authority, plan.names, plan.addresses, now_s, plan.leaf_life_s, holder=_HOLDER
            )
    if leaf is None:
        return None
    # What pods get does not wait for a leaf: it is about the operator's certificate, which has its own announcement.
    after = ServerFiles(leaf=leaf, trust=bundle.trust)
    return None if after == before else after


def wanted_trust(bundle: Bundle, files: ServerFiles | None, now_s: int, *, trusted: Collection[bytes]) -> str:
    """PEM for `caBundle`: the trust, and whoever else it has that may have signed what the injector still serves.

    Args:
        bundle: the authorities.
        files: the injector's, as they are in the Secret.
        now_s: seconds since the epoch.
        trusted: what `caBundle` is now, of each entry.
    """
    known = authorities(bundle.trust.encode("ascii"))
    present = dict.fromkeys(certificate for pem in trusted for certificate in authorities(pem))
    others = [it for it in present if it not in known]
    if files is not None and now_s - (files.leaf.from_s + SKEW_S) >= LAG_S:
        others = [it for it in others if is_signed_by(files.leaf, it)]
    return bundle.trust + "".join(_pem(it) for it in others)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
