"""Last valid forms: known by uid and generation, the higher one wins, and a damaged or huge one harms no other."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tidegate_testing.operators import pool

from tidegate_operator.api.parse import parse_object
from tidegate_operator.index import last_good
from tidegate_operator.index.last_good import SHARDS, LastGood, shard_of
from tidegate_policy.model import ObjectRef

REF = ObjectRef(kind="ProviderPool", namespace="team", name="models")


def remembered(forms: LastGood, uid: str, generation: int, **spec: Any) -> LastGood:
    document = pool("team", **spec)
    stored = parse_object(document).stored
    assert stored is not None
    forms.remember(REF, uid, generation, document["spec"], stored)
    return forms


def persisted(forms: LastGood) -> dict[str, str]:
    return {uid: text for number in range(SHARDS) for uid, text in forms.shard(number).data.items()}


def test_a_form_survives_being_persisted() -> None:
    forms = remembered(LastGood(), "uid", 3, suspend=True)
    later = LastGood()
    assert later.read(persisted(forms))
    found = later.form(REF, "uid")
    assert found is not None
    assert (found.ref, found.generation, found.spec.suspend) == (REF, 3, True)
    assert found.spec == forms.form(REF, "uid").spec  # type: ignore[union-attr]
    assert persisted(later) == persisted(forms)


@settings(deadline=None)
@given(st.permutations([1, 2, 3, 4]))
def test_the_highest_generation_holds_whoever_saw_it(order: list[int]) -> None:
    forms = LastGood()
    for generation in order:
        if generation % 2:
            remembered(forms, "uid", generation, suspend=generation == 3)
        else:
            forms.read(persisted(remembered(LastGood(), "uid", generation, suspend=generation == 4)))
    found = forms.form(REF, "uid")
    assert found is not None
    assert (found.generation, found.spec.suspend) == (4, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ProviderPool",
        "ProviderPool 3",
        "ProviderPool x {}",
        "ProviderPool 3 {",
        'ProviderPool 3 {"providers": 7}',
        'ProviderPool 3 {"providers": [], "colour": "red"}',
    ],
)
def test_a_damaged_form_counts_as_none(text: str) -> None:
    forms = LastGood()
    forms.read({"uid": text})
    assert forms.form(REF, "uid") is None


def test_what_a_release_has_accepted_stays_in_force_where_a_later_one_is_stricter() -> None:
    """Too many items and entries, a number and a text out of bounds, and a rule between fields that is not kept."""
    former = {
        "providers": [
            {
                "name": "In Capitals",
                "type": "OpenAI",
                "baseURL": "https://10.1.2.3/v1",
                "weight": 5_000,
                "headers": {f"x-{number}": "y" for number in range(100)},
                "models": [{"name": f"model-{number}"} for number in range(100)],
            }
        ]
    }
    parsed = parse_object(pool("team", **former))
    assert parsed.stored is not None
    assert parsed.stored.spec is None
    assert {problem.path[-1] for problem in parsed.problems} == {"name", "headers", "weight", "models"}
    forms = LastGood()
    forms.read({"uid": f"ProviderPool 1 {json.dumps(former)}"})
    found = forms.form(REF, "uid")
    assert found is not None
    (provider,) = found.spec.providers
    assert (provider.name, provider.weight, len(provider.models)) == ("In Capitals", 5_000, 100)
    assert len(provider.headers) == 100


def test_a_form_of_another_kind_is_not_taken_for_ours() -> None:
    forms = LastGood()
    forms.read({"uid": "AIPolicy 1 " + json.dumps(pool("team")["spec"])})
    assert forms.form(REF, "uid") is None


def test_what_is_gone_is_not_persisted_any_more() -> None:
    forms = LastGood()
    for number in range(20):
        remembered(forms, f"uid-{number}", 1)
    forms.keep({"uid-3", "uid-7"})
    assert persisted(forms).keys() == {"uid-3", "uid-7"}
    forms.forget("uid-3")
    assert persisted(forms).keys() == {"uid-7"}


def test_the_largest_forms_are_left_out_where_a_part_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_good, "MAX_SHARD_BYTES", 2_000)
    forms = LastGood()
    uids = [uid for uid in (f"uid-{number}" for number in range(400)) if shard_of(uid) == 0][:20]
    for place, uid in enumerate(uids):
        remembered(forms, uid, 1, **({"retry": {"maxAttempts": 3}} if place == 0 else {}))

    shard = forms.shard(0)
    assert uids[0] in shard.left_out
    assert {*shard.data, *shard.left_out} == set(uids)
    assert sum(len(uid) + len(text) for uid, text in shard.data.items()) <= 2_000
