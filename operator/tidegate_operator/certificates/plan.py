"""What has to change about the certificates, and when (PURE but for the keys that are made).

A new authority passes through three states, and at no moment does a client meet a leaf that it cannot verify:
announced (trusted, signs nothing), in use (signs the leaf), former (trusted until the last leaf it has signed ends).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Final

from tidegate_operator.certificates.bundle import Bundle, Former, KeyPair
from tidegate_operator.certificates.issue import SKEW_S, alternative_names, new_authority, new_leaf

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What certificates there are to be; times in seconds. Each is renewed when two thirds of its life are over.

    Attributes:
        names: DNS names of the leaf.
        addresses: its IP addresses.
        authority_life_s: ten years.
        leaf_life_s: ninety days.
        announce_s: how long a new authority is trusted before it signs: a week, in which every sidecar that is
            connected at all hears of it.
    """

    names: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    authority_life_s: int = 3_650 * _DAY_S
    leaf_life_s: int = 90 * _DAY_S
    announce_s: int = 7 * _DAY_S

    def __post_init__(self) -> None:
        """Refuse lives that leave no time for an announcement, with `ValueError`."""
        if self.announce_s + self.leaf_life_s // 3 > self.authority_life_s // 3:
            raise ValueError(
                f"an authority of {self.authority_life_s} s is renewed a third of its life ahead: too late for an "
                f"announcement of {self.announce_s} s and a leaf of {self.leaf_life_s} s"
            )

    @property
    def alternatives(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names and addresses as `issue.alternative_names` reads them in a leaf."""
        return frozenset(self.names), frozenset(str(ip_address(address)) for address in self.addresses)


def next_step(bundle: Bundle | None, plan: Plan, now_s: int) -> Bundle | None:
    """The bundle after the one change that is due; None when none is.

    Ask again with the result: several changes can be due after a long time. Each result is written before the next one,
    so that whoever reads sees every state.
    """
    if bundle is None or (bundle.successor is None and now_s >= bundle.authority.until_s):
        # Nobody can verify anything of an authority that has ended: there is nothing left to overlap with.
        return _begin(plan, now_s)
    if bundle.successor is not None and _may_sign(bundle, bundle.successor, plan, now_s):
        return _succeed(bundle, bundle.successor, plan, now_s)
    if any(now_s >= former.until_s for former in bundle.former):
        return replace(bundle, former=tuple(former for former in bundle.former if now_s < former.until_s))
    if leaf_is_due(bundle.leaf, plan, now_s):
        leaf = new_leaf(bundle.authority, plan.names, plan.addresses, now_s, plan.leaf_life_s)
        return replace(bundle, leaf=leaf)
    if bundle.successor is None and _is_due(bundle.authority, now_s):
        return replace(bundle, successor=new_authority(now_s, plan.authority_life_s))
    return None


def leaf_is_due(leaf: KeyPair, plan: Plan, now_s: int) -> bool:
    """Whether a leaf is to be replaced: two thirds of its life are over, or its names are not those of the plan."""
    return _is_due(leaf, now_s) or alternative_names(leaf) != plan.alternatives


def _begin(plan: Plan, now_s: int) -> Bundle:
    authority = new_authority(now_s, plan.authority_life_s)
    return Bundle(
        authority=authority, leaf=new_leaf(authority, plan.names, plan.addresses, now_s, plan.leaf_life_s)
    )


def _succeed(bundle: Bundle, authority: KeyPair, plan: Plan, now_s: int) -> Bundle:
    """Let the successor sign; the authority before it is trusted for as long as its last leaf could be served."""
    former = Former(certificate_pem=bundle.authority.certificate_pem, until_s=bundle.leaf.until_s)
    return Bundle(
        authority=authority,
        leaf=new_leaf(authority, plan.names, plan.addresses, now_s, plan.leaf_life_s),
        former=(*bundle.former, former),
    )


def _may_sign(bundle: Bundle, successor: KeyPair, plan: Plan, now_s: int) -> bool:
    """Whether it was announced for long enough, or the authority is so near its end that waiting would be worse."""
    announced_s = now_s - (successor.from_s + SKEW_S)
    return announced_s >= plan.announce_s or bundle.authority.until_s - now_s < plan.leaf_life_s // 3


def _is_due(pair: KeyPair, now_s: int) -> bool:
    begin_s = pair.from_s + SKEW_S
    return (now_s - begin_s) * 3 >= (pair.until_s - begin_s) * 2
