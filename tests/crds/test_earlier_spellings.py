"""Whoever writes a field by its earlier name is told the new one, and nothing of what was meant is dropped in silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tidegate_operator.api.providerpool import AuthenticationType
from tidegate_operator.index.last_good import LastGood
from tidegate_policy.model import ObjectRef

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.api.parse import Parsed


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
