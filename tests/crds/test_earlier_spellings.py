"""Whoever writes a field by its earlier name is told the new one, and nothing of what was meant is dropped in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.earlier import ITEM, RETIRED_WORDS, RetiredWord, in_new_words
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.providerpool import AuthenticationType
from tidegate_operator.index.last_good import LastGood
from tidegate_policy.model import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidegate_operator.api.parse import Parsed


VOCABULARY = Path(__file__).parent / "vocabulary.txt"
"""Each field and word that a release has taken in a spec: `KIND FIELD`, or `KIND FIELD WORD`."""


@pytest.mark.parametrize(
    ("kind", "spec", "problem"),
    [
        (
            "AIPolicy",
            "{selector: {}, providerPools: [{name: chat}]}",
            "spec.providerPools: an earlier spelling, which is not read; it is poolRefs now",
        ),
        (
            "ClusterAIPolicy",
            "{namespaceSelector: {}, providerPools: [{}]}",
            "spec.providerPools: an earlier spelling, which is not read; it is poolRefs now",
        ),
        (
            "ProviderPool",
            "{providers: [{name: a, type: OpenAI, credentialRefs: [{name: key}]}]}",
            (
                "spec.providers[0].credentialRefs: an earlier spelling, which is not read; "
                "it is authentication: {type: Credentials, credentialRefs: [...]} now"
            ),
        ),
        (
            "ProviderPool",
            "{providers: [{name: a, type: OpenAI, callerCredential: true}]}",
            (
                "spec.providers[0].callerCredential: an earlier spelling, which is not read; "
                "it is authentication: {type: Caller} now"
            ),
        ),
    ],
)
def test_an_earlier_spelling_is_refused_with_the_new_word(
    problems: Callable[[str, str], list[str]], kind: str, spec: str, problem: str
) -> None:
    assert problems(kind, spec) == [problem]


def test_what_an_earlier_release_stored_by_itself_is_no_mistake(
    parse: Callable[[str, str], Parsed],
) -> None:
    """Nobody has written it, so nobody can take it away."""
    parsed = parse("ProviderPool", "{providers: [{name: a, type: OpenAI, callerCredential: false}]}")
    assert parsed.problems == ()


def last_good(kind: str, spec: dict[str, Any]) -> Any:
    """The spec of the last valid form, as an earlier release has persisted it."""
    forms = LastGood()
    forms.read({"uid": f"{kind} 3 {json.dumps(spec)}"})
    stored = forms.form(ObjectRef(kind=kind, namespace="team", name="it"), "uid")
    assert stored is not None
    return stored.spec


def test_the_last_valid_form_is_read_in_its_earlier_spelling() -> None:
    """What was in force stays in force, while the condition says what to change."""
    policy = last_good("AIPolicy", {"selector": {}, "providerPools": [{"name": "chat"}]})
    assert [it.name for it in policy.pool_refs] == ["chat"]
    provider = {"name": "a", "type": "OpenAI", "callerCredential": False}
    pool = last_good(
        "ProviderPool",
        {
            "providers": [
                {**provider, "credentialRefs": [{"name": "key"}]},
                {**provider, "name": "b", "callerCredential": True},
                {**provider, "name": "c"},
            ]
        },
    )
    assert [it.authentication.type for it in pool.providers] == [
        AuthenticationType.CREDENTIALS,
        AuthenticationType.CALLER,
        AuthenticationType.NONE,
    ]
    assert [it.name for it in pool.providers[0].authentication.credential_refs] == ["key"]


def test_a_word_that_is_gone_is_read_in_forms_that_were_valid_with_it() -> None:
    retired = {
        "AIPolicy": (
            RetiredWord(path=("rateLimits", ITEM, "key", ITEM), word="Tenant", now="Namespace"),
            RetiredWord(path=("mode",), word="Audit", now="Shadow"),
            RetiredWord(path=("absent", ITEM, "field"), word="Audit", now="Shadow"),
        )
    }
    spec: dict[str, Any] = {
        "mode": "Audit",
        "rateLimits": [{"key": ["Tenant", "Model"], "name": "Tenant"}, {"key": "Tenant"}, 7],
    }
    in_new_words("AIPolicy", spec, retired)
    assert spec == {
        "mode": "Shadow",
        "rateLimits": [{"key": ["Namespace", "Model"], "name": "Tenant"}, {"key": "Tenant"}, 7],
    }
    unchanged = {"mode": "Audit"}
    in_new_words("ProviderPool", unchanged, retired)
    assert unchanged == {"mode": "Audit"}


def vocabulary() -> Iterator[str]:
    """What specs can say now, earlier spellings included."""
    for kind in KINDS.values():
        (version,) = custom_resource_definition(kind)["spec"]["versions"]
        root = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
        yield from (f"{kind.name} {line}" for line in said(root, "spec"))


def said(schema: dict[str, Any], path: str) -> Iterator[str]:
    yield path
    yield from (f"{path} {word}" for word in schema.get("enum", ()))
    for name, inner in schema.get("properties", {}).items():
        yield from said(inner, f"{path}.{name}")
    if "items" in schema:
        yield from said(schema["items"], f"{path}[]")


def test_no_field_and_no_word_is_forgotten() -> None:
    """Objects that use one that is gone would be refused after an upgrade: their last valid form could not be read any more."""
    taken = set(VOCABULARY.read_text(encoding="utf-8").splitlines())
    retired = {
        f"{kind} {'.'.join(('spec', *word.path)).replace('.[]', '[]')} {word.word}"
        for kind, words in RETIRED_WORDS.items()
        for word in words
    }
    now = set(vocabulary())
    assert sorted(taken - now - retired) == [], (
        "gone from the API: a field needs a row in EARLIER of api/earlier.py, a word one in RETIRED_WORDS"
    )
    assert sorted(now - taken) == [], (
        f"new in the API: add these lines to {VOCABULARY.name}, which stays sorted"
    )
