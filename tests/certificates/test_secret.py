"""A bundle in a Secret: read back to the same, refused when damaged, and silent about its keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tidegate_operator.certificates.bundle import LEAF, LEAF_KEY, TRUST, Bundle, BundleError, Former
from tidegate_operator.certificates.issue import new_authority
from tidegate_operator.certificates.plan import Plan, next_step

NOW_S = 1_790_000_000
PLAN = Plan(names=("localhost",))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    made = next_step(None, PLAN, NOW_S)
    assert made is not None
    former = new_authority(NOW_S, 1_000)
    return replace(
        made,
        successor=new_authority(NOW_S, 1_000),
        former=(Former(certificate_pem=former.certificate_pem, until_s=NOW_S + 5),),
    )


def test_a_bundle_survives_its_secret(bundle: Bundle) -> None:
    data = bundle.to_data()
    assert Bundle.from_data(data) == bundle
    assert data[TRUST].decode().count("BEGIN CERTIFICATE") == 3
    plain = replace(bundle, successor=None, former=())
    assert Bundle.from_data(plain.to_data()) == plain


def test_no_key_is_shown(bundle: Bundle) -> None:
    assert "PRIVATE" not in repr(bundle)
    assert "key hidden" in repr(bundle)


@pytest.mark.parametrize("name", [LEAF, LEAF_KEY, "authority.crt", "authority.key", "successor.key"])
@pytest.mark.parametrize("damage", ["missing", "garbage", "other"])
def test_a_damaged_secret_is_refused_by_the_name_of_the_key(bundle: Bundle, name: str, damage: str) -> None:
    data = bundle.to_data()
    other = new_authority(NOW_S, 1_000)
    if damage == "missing":
        del data[name]
    else:
        another = other.key_pem if name.endswith(".key") else other.certificate_pem
        data[name] = b"garbage" if damage == "garbage" else another
    with pytest.raises(BundleError) as caught:
        Bundle.from_data(data)
    assert name in str(caught.value) or name.replace(".crt", ".key") in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize(
    "former", [b"{", b"{}x", b'[{"until_s": 1}]', b'[{"certificate": "x", "until_s": 1}]', b"7"]
)
def test_a_damaged_list_of_former_authorities_is_refused(bundle: Bundle, former: bytes) -> None:
    with pytest.raises(BundleError, match=r"former\.json"):
        Bundle.from_data({**bundle.to_data(), "former.json": former})


def test_a_leaf_of_another_authority_is_refused(bundle: Bundle) -> None:
    other = next_step(None, PLAN, NOW_S)
    assert other is not None
    with pytest.raises(BundleError, match=r"tls\.crt is not signed by authority\.crt"):
        Bundle.from_data({**bundle.to_data(), LEAF: other.leaf.certificate_pem, LEAF_KEY: other.leaf.key_pem})
