"""A field that has another name now reaches the operator: a server that dropped it would leave an empty list behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tidegate_samples.places import valid_documents

from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.parse import parse_object

if TYPE_CHECKING:
    from tidegate_samples.server import Server


@pytest.mark.parametrize(
    ("kind", "spec", "now"),
    [
        ("AIPolicy", {"providerPools": [{"name": "chat"}]}, "it is poolRefs now"),
        ("ClusterAIPolicy", {"providerPools": [{"name": "chat", "namespace": "ai"}]}, "it is poolRefs now"),
        (
            "ProviderPool",
            {"providers": [{"name": "a", "type": "OpenAI", "credentialRefs": [{"name": "key"}]}]},
            "it is authentication: {type: Credentials, credentialRefs: [...]} now",
        ),
        (
            "ProviderPool",
            {"providers": [{"name": "a", "type": "OpenAI", "callerCredential": True}]},
            "it is authentication: {type: Caller} now",
        ),
    ],
)
def test_what_the_server_stores_still_has_the_earlier_spelling(
    server: Server, kind: str, spec: dict[str, object], now: str
) -> None:
    document = valid_documents(KINDS[kind])[0]
    stored = server.try_out(KINDS[kind], {**document, "spec": {**document["spec"], **spec}}).document
    (problem,) = parse_object(stored).problems
    assert problem.message.endswith(now)
