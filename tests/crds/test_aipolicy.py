"""AIPolicy and ClusterAIPolicy: samples that are accepted, and samples that are refused with what is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate_operator.api.aipolicy import AIPolicySpec
from tidegate_policy.model import KeyType, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidegate_operator.api.parse import Parsed

TARGET = "targetRefs: [{kind: Deployment, name: chat}]"

FULL = """
suspend: false
mode: Shadow
targetRefs: [{kind: Deployment, name: chat}, {kind: Namespace, name: default}]
poolRefs: [{name: chat, namespace: ai-platform}, {name: chat}]
allowModels: ["gpt-4o*", "claude-*"]
rateLimits:
- name: per-consumer
  mode: Enforce
  requests: 60
  per: 1m
  burst: 20
  key: [{type: Consumer}, {type: Header, header: {name: X-Tenant}}]
  models: ["*"]
identity: {consumer: {source: Header, header: {name: x-user-id, onMissing: Anonymous}}}
timeouts: {connect: 1s, firstToken: 10s, streamIdle: 10s, request: 30m, stream: 2h}
retry: {maxAttempts: 2}
"""


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("AIPolicy", FULL),
        ("AIPolicy", f"{{{TARGET}}}"),
        ("AIPolicy", "{selector: {}}"),
        (
            "AIPolicy",
            "{selector: {matchLabels: {app: chat}, matchExpressions: [{key: tier, operator: Exists}]}}",
        ),
        ("ClusterAIPolicy", "{namespaceSelector: {}}"),
        ("ClusterAIPolicy", "{namespaceSelector: {}, poolRefs: [{name: chat, namespace: ai-platform}]}"),
    ],
)
def test_accepted(problems: Callable[[str, str], list[str]], kind: str, spec: str) -> None:
    assert problems(kind, spec) == []


def test_what_is_not_written_has_the_documented_value(parse: Callable[[str, str], Parsed]) -> None:
    stored = parse("AIPolicy", f"{{{TARGET}, rateLimits: [{{name: a, requests: 60, per: 1m}}]}}").stored
    assert stored is not None
    spec = stored.spec
    assert isinstance(spec, AIPolicySpec)
    assert spec.mode is Mode.ENFORCE
    limit = spec.rate_limits[0]
    assert (limit.mode, limit.burst, limit.models) == (None, None, ("*",))
    assert [part.type for part in limit.key] == [KeyType.WORKLOAD]
    assert (spec.allow_models, spec.pool_refs, spec.identity, spec.timeouts, spec.retry) == (None,) * 5


def limit(rest: str) -> str:
    return f"{{{TARGET}, rateLimits: [{{name: a, requests: 60, per: 1m, {rest}}}]}}"


EITHER = "spec: exactly one of targetRefs and selector says which workloads the policy applies to"
SECRET_HEADER = (
    "a header that carries credentials cannot tell calls apart: its value would end up in metrics and logs"
)
HEADER_KEY = (
    "spec.rateLimits[0].key[0].header: header is required when type is Header, and forbidden otherwise"
)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param("{}", EITHER, id="no target"),
        pytest.param(f"{{{TARGET}, selector: {{}}}}", EITHER, id="two kinds of target"),
        pytest.param(
            "{targetRefs: []}",
            "spec.targetRefs: expected at least 1 item, found none; remove the field if it is not meant",
            id="empty targets",
        ),
        pytest.param(
            "{targetRefs: [{kind: Deployment, name: a}, {kind: Deployment, name: a}]}",
            "spec.targetRefs[1].kind: kind 'Deployment' and name 'a' stands in the list already, as item 0",
            id="the same target twice",
        ),
        pytest.param(
            "{targetRefs: [{kind: ReplicaSet, name: a}]}",
            "spec.targetRefs[0].kind: without a group the kind is one of Namespace, ServiceAccount, Deployment, "
            "StatefulSet, DaemonSet, Job, CronJob; an object of another API group names that too",
            id="unknown target kind",
        ),
        pytest.param(
            "{targetRefs: {kind: Deployment, name: a}}",
            "spec.targetRefs: expected a list, found an object; begin each item with '- '",
            id="object instead of list",
        ),
        pytest.param(
            "{selector: {app: chat}}",
            "spec.selector.app: unknown field; the fields here are matchExpressions, matchLabels",
            id="labels without matchLabels",
        ),
        pytest.param(
            "{selector: {matchLabels: {app: on}}}",
            None,
            id="YAML 1.2 reads on as a word",
        ),
        pytest.param(
            "{selector: {matchLabels: {app: true}}}",
            "spec.selector.matchLabels.app: expected a string, found true; put the word in quotes",
            id="boolean label",
        ),
        pytest.param(
            "{selector: {matchLabels: {'a b': c}}}",
            "spec.selector.matchLabels.a b: expected a label key such as app or example.com/team, found 'a b'",
            id="label key with a space",
        ),
        pytest.param(
            "{selector: {matchExpressions: [{key: a, operator: In}]}}",
            "spec.selector.matchExpressions[0].values: operators In and NotIn need values; Exists and DoesNotExist "
            "must not have any",
            id="In without values",
        ),
        pytest.param(
            f"{{{TARGET}, mode: Off}}",
            "spec.mode: expected one of Enforce, Shadow, found 'Off'",
            id="mode Off",
        ),
        pytest.param(
            f"{{{TARGET}, suspend: 'true'}}",
            "spec.suspend: expected true or false, found 'true'; remove the quotes",
            id="suspend in quotes",
        ),
        pytest.param(
            f"{{{TARGET}, allowModels: []}}",
            "spec.allowModels: expected at least 1 item, found none; remove the field if it is not meant",
            id="empty allow-list",
        ),
        pytest.param(
            f"{{{TARGET}, allowModels: }}",
            "spec.allowModels: found nothing; write a value or remove the field",
            id="allow-list whose items are commented out",
        ),
        pytest.param(
            f"{{{TARGET}, allowModels: gpt-4o}}",
            "spec.allowModels: expected a list, found 'gpt-4o'; begin each item with '- '",
            id="word instead of list",
        ),
        pytest.param(
            f"{{{TARGET}, poolRefs: [{{name: a}}, {{name: a}}]}}",
            "spec.poolRefs[1].name: name 'a' stands in the list already, as item 0",
            id="the same pool twice",
        ),
        pytest.param(
            f"{{{TARGET}, rateLimits: [{{name: a, requests: 1, per: 1m}}, {{name: a, requests: 2, per: 1h}}]}}",
            "spec.rateLimits[1].name: name 'a' stands in the list already, as item 0",
            id="two rules of one name",
        ),
        pytest.param(
            f"{{{TARGET}, rateLimits: [{{name: a, per: 1m}}]}}",
            "spec.rateLimits[0].requests: missing; this field is required",
            id="limit without count",
        ),
        pytest.param(
            f"{{{TARGET}, rateLimits: [{{name: a, requests: 0, per: 1m}}]}}",
            "spec.rateLimits[0].requests: expected a number from 1 to 1000000000, found 0",
            id="limit of zero",
        ),
        pytest.param(
            f"{{{TARGET}, rateLimits: [{{name: a, requests: 1, per: minute}}]}}",
            "spec.rateLimits[0].per: 'minute' is not a duration; write positive numbers with their units, "
            "the largest first: 250ms, 30s, 1h30m, 90d; did you mean 1m?",
            id="per minute",
        ),
        pytest.param(
            limit("burst: '5'"),
            "spec.rateLimits[0].burst: expected a whole number, found '5'; remove the quotes",
            id="burst in quotes",
        ),
        pytest.param(
            limit("tokens: 40000"),
            "spec.rateLimits[0].tokens: unknown field; the fields here are burst, key, mode, models, name, per, requests",
            id="a limit of a later release",
        ),
        pytest.param(
            limit("key: [{type: Cluster}]"),
            "spec.rateLimits[0].key[0].type: expected one of Namespace, Workload, Pod, ServiceAccount, Consumer, Model, "
            "Provider, Header, found 'Cluster'",
            id="a key that needs a shared store",
        ),
        pytest.param(limit("key: [{type: Header}]"), HEADER_KEY, id="Header without header"),
        pytest.param(
            limit("key: [{type: Model, header: {name: x}}]"), HEADER_KEY, id="header without Header"
        ),
        pytest.param(
            limit("key: [{type: Model}, {type: Model}]"),
            "spec.rateLimits[0].key[1]: this item stands in the list already, as item 0",
            id="the same key twice",
        ),
        pytest.param(
            limit("models: ['a b']"),
            "spec.rateLimits[0].models[0]: expected a model name such as gpt-4o-mini, or a pattern such as 'gpt-4o*', "
            "without spaces or quotes, found 'a b'",
            id="model pattern with a space",
        ),
        pytest.param(
            f"{{{TARGET}, identity: {{consumer: {{source: Header}}}}}}",
            "spec.identity.consumer.header: header is required when source is Header, and forbidden otherwise",
            id="consumer header without name",
        ),
        pytest.param(
            f"{{{TARGET}, identity: {{consumer: {{source: Token, header: {{name: x}}}}}}}}",
            "spec.identity.consumer.source: expected Header, found 'Token'",
            id="unknown consumer source",
        ),
        pytest.param(
            f"{{{TARGET}, identity: {{consumer: {{source: Header, header: {{name: Authorization}}}}}}}}",
            f"spec.identity.consumer.header.name: {SECRET_HEADER}",
            id="a key as consumer",
        ),
        pytest.param(
            limit("key: [{type: Header, header: {name: X-API-Key}}]"),
            f"spec.rateLimits[0].key[0].header.name: {SECRET_HEADER}",
            id="a key as limit key",
        ),
        pytest.param(
            f"{{{TARGET}, retry: {{retryOn: [Timeout]}}}}",
            "spec.retry.retryOn: unknown field; the fields here are maxAttempts",
            id="retry beyond what policies may change",
        ),
        pytest.param(
            f"{{{TARGET}, timeouts: {{request: 400d}}}}",
            "spec.timeouts.request: '400d' is too long; a duration is at most 366d",
            id="a timeout beyond a year",
        ),
        pytest.param(
            f"{{{TARGET}, namespaceSelector: {{}}}}",
            "spec.namespaceSelector: unknown field; the fields here are allowModels, identity, mode, poolRefs, "
            "rateLimits, retry, selector, suspend, targetRefs, timeouts",
            id="field of the other kind",
        ),
    ],
)
def test_rejected(problems: Callable[[str, str], list[str]], spec: str, said: str | None) -> None:
    assert problems("AIPolicy", spec) == ([said] if said else [])


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        pytest.param(
            "{}",
            "spec.namespaceSelector: missing; this field is required",
            id="no selector is not every namespace",
        ),
        pytest.param(
            "{namespaceSelector: {}, poolRefs: [{name: chat}]}",
            "spec.poolRefs[0].namespace: missing; this field is required",
            id="pool without namespace",
        ),
        pytest.param(
            "{namespaceSelector: {}, targetRefs: [{kind: Deployment, name: a}]}",
            "spec.targetRefs: unknown field; the fields here are allowModels, identity, mode, namespaceSelector, "
            "poolRefs, rateLimits, retry, suspend, timeouts",
            id="targets in a cluster-scoped policy",
        ),
    ],
)
def test_cluster_policy_rejected(problems: Callable[[str, str], list[str]], spec: str, said: str) -> None:
    assert problems("ClusterAIPolicy", spec) == [said]


def test_all_problems_are_told_at_once(problems: Callable[[str, str], list[str]]) -> None:
    """Whoever mends a file wants to mend it once."""
    said = problems(
        "AIPolicy",
        "{mode: On, allowModels: , rateLimits: [{name: A, requests: -1, per: 1}], selector: {matchLabels: 5}}",
    )
    assert [line.partition(": ")[0] for line in said] == [
        "spec.allowModels",
        "spec.mode",
        "spec.rateLimits[0].name",
        "spec.rateLimits[0].requests",
        "spec.rateLimits[0].per",
        "spec.selector.matchLabels",
    ]
