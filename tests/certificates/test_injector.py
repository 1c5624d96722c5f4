"""The API server can always verify the injector: trust goes first, and nothing is forgotten while it is served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate_operator.certificates.bundle import Bundle, BundleError, KeyPair, is_signed_by
from tidegate_operator.certificates.files import ServerFiles, authorities
from tidegate_operator.certificates.injector import LAG_S, next_files, wanted_trust
from tidegate_operator.certificates.issue import alternative_names
from tidegate_operator.certificates.plan import Plan, next_step

DAY_S = 86_400
NOW_S = 1_790_000_000
OWN = Plan(names=("operator.svc",), authority_life_s=60 * DAY_S, leaf_life_s=9 * DAY_S, announce_s=2 * DAY_S)
PLAN = replace(OWN, names=("tidegate-injector.tidegate-system.svc",))


def first(now_s: int = NOW_S) -> Bundle:
    bundle = next_step(None, OWN, now_s)
    assert bundle is not None
    return bundle


def made(bundle: Bundle, now_s: int = NOW_S, before: ServerFiles | None = None) -> ServerFiles:
    files = next_files(before, bundle, PLAN, now_s, trusted=(bundle.trust.encode(),))
    assert files is not None
    return files


def verifies(pem: bytes, leaf: KeyPair) -> bool:
    return any(is_signed_by(leaf, authority) for authority in authorities(pem))


def test_the_secret_has_a_leaf_and_the_trust_and_no_authority() -> None:
    bundle = first()
    data = made(bundle).to_data()
    assert set(data) == {"tls.crt", "tls.key", "ca.crt"}
    assert data["ca.crt"].decode() == bundle.trust
    leaf = ServerFiles.from_data(data).leaf
    assert is_signed_by(leaf, bundle.authority)
    assert alternative_names(leaf)[0] == set(PLAN.names)
    assert leaf.certificate.subject.rfc4514_string() == "CN=tidegate injector"
    assert bundle.authority.key_pem not in data.values()


def test_nothing_is_done_while_nothing_is_due() -> None:
    bundle = first()
    files = made(bundle)
    trusted = (bundle.trust.encode(),)
    assert next_files(files, bundle, PLAN, NOW_S + 6 * DAY_S - 1, trusted=trusted) is None
    renewed = next_files(files, bundle, PLAN, NOW_S + 6 * DAY_S, trusted=trusted)
    assert renewed is not None
    assert renewed.leaf != files.leaf


def test_another_service_is_another_leaf() -> None:
    bundle = first()
    other = replace(PLAN, names=("another.svc",))
    files = next_files(made(bundle), bundle, other, NOW_S, trusted=())
    assert files is not None
    assert alternative_names(files.leaf)[0] == {"another.svc"}


@pytest.mark.parametrize("trusted", [b"", b"garbage", first().trust.encode()])
def test_no_leaf_is_made_that_the_api_server_cannot_verify(trusted: bytes) -> None:
    """Also when only one of the entries lags: each of them is called."""
    bundle = first()
    assert next_files(None, bundle, PLAN, NOW_S, trusted=(bundle.trust.encode(), trusted)) is None
    files = made(bundle)
    assert next_files(files, bundle, PLAN, NOW_S + 7 * DAY_S, trusted=(trusted,)) is None


def test_without_a_configuration_nobody_has_to_trust_it_first() -> None:
    assert next_files(None, first(), PLAN, NOW_S, trusted=()) is not None


def test_what_pods_are_to_trust_does_not_wait_for_the_api_server() -> None:
    old, new = first(), first()
    files = made(old)
    after = next_files(files, new, PLAN, NOW_S, trusted=(old.trust.encode(),))
    assert after is not None
    assert (after.leaf, after.trust) == (files.leaf, new.trust)


def test_who_signed_what_is_still_served_is_not_forgotten() -> None:
    """The authority was lost: the injector goes on with the old leaf until the kubelet brings the new one."""
    old, new = first(), first()
    before = made(old)
    both = wanted_trust(new, before, NOW_S + LAG_S, trusted=(old.trust.encode(),))
    assert authorities(both.encode()) == (new.authority.certificate, old.authority.certificate)

    replaced_s = NOW_S + DAY_S
    after = made(new, replaced_s, before)
    assert is_signed_by(after.leaf, new.authority)
    assert wanted_trust(new, after, replaced_s + LAG_S - 1, trusted=(both.encode(),)) == both
    assert wanted_trust(new, after, replaced_s + LAG_S, trusted=(both.encode(),)) == new.trust


@pytest.mark.parametrize("damaged", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_bundle_is_replaced(damaged: bytes) -> None:
    bundle = first()
    assert wanted_trust(bundle, made(bundle), NOW_S, trusted=(damaged,)) == bundle.trust


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt"])
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_damaged_files_are_refused_by_name(name: str, damage: str) -> None:
    data = made(first()).to_data()
    if damage == "missing":
        del data[name]
    else:
        data[name] = b"garbage\xff"
    with pytest.raises(BundleError, match=name.replace(".", r"\.")) as caught:
        ServerFiles.from_data(data)
    assert "PRIVATE" not in str(caught.value)


class World:
    """What is stored at a moment, and when each leaf came into the Secret."""

    def __init__(self) -> None:
        self.now_s = NOW_S
        self.bundle = first()
        self.ca_bundle = b""
        self.files: ServerFiles | None = None
        self.served: list[tuple[int, KeyPair]] = []

    def look(self, *, may_patch: bool, may_write: bool) -> None:
        """What `handlers/webhook_trust.py` does, with an API server that refuses what it likes."""
        trusted = (self.ca_bundle,)
        trust = wanted_trust(self.bundle, self.files, self.now_s, trusted=trusted)
        files = next_files(self.files, self.bundle, PLAN, self.now_s, trusted=trusted)
        if may_patch:
            self.ca_bundle = trust.encode()
        if files is not None and may_write:
            if self.files is None or files.leaf != self.files.leaf:
                self.served.append((self.now_s, files.leaf))
            self.files = files

    def leaves(self) -> list[KeyPair]:
        """Those that the injector may serve: the newest, and what it had within the time that a mount takes."""
        found = [leaf for _, leaf in self.served[-1:]]
        for (_, leaf), (replaced_s, _) in zip(self.served, self.served[1:], strict=False):
            if self.now_s - replaced_s < LAG_S:
                found.append(leaf)
        return [leaf for leaf in found if leaf.until_s > self.now_s]


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([1, 60, LAG_S, 3_600, 20 * 3_600]),
            st.booleans(),
            st.booleans(),
            st.sampled_from(["", "", "", "", "lost"]),
        ),
        min_size=40,
        max_size=80,
    )
)
def test_whatever_fails_and_whenever_the_api_server_can_verify_what_is_served(
    steps: list[tuple[int, bool, bool, str]],
) -> None:
    """Renewals, a new authority that is announced, signs and is dropped, an authority that was lost; writes that fail."""
    world = World()
    world.now_s += 38 * DAY_S
    for pause_s, may_patch, may_write, accident in steps:
        if accident:
            world.bundle = first(world.now_s)
        while (after := next_step(world.bundle, OWN, world.now_s)) is not None:
            world.bundle = after
        world.look(may_patch=may_patch, may_write=may_write)
        assert all(verifies(world.ca_bundle, leaf) for leaf in world.leaves())
        world.now_s += pause_s
    for _ in range(3):
        world.look(may_patch=True, may_write=True)
        world.now_s += LAG_S
    assert world.ca_bundle.decode() == world.bundle.trust
    assert world.files is not None
    assert world.files.trust == world.bundle.trust
    assert is_signed_by(world.files.leaf, world.bundle.authority)
    x509.load_pem_x509_certificates(world.ca_bundle)
