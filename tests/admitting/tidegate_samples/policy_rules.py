"""What breaks and what keeps the rules of policies, and of the selectors that all kinds share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidegate_policy.model import KeyType
from tidegate_samples.places import ABSENT
from tidegate_samples.sample import RuleSamples

if TYPE_CHECKING:
    from collections.abc import Mapping

_TARGETS: Final = [{"kind": "Deployment", "name": "chat"}]
_HEADER: Final = {"name": "x-tenant"}
_OTHER_KEYS: Final = [word.value for word in KeyType if word is not KeyType.HEADER]

POLICY_RULES: Final[Mapping[str, RuleSamples]] = {
    (
        "without a group the kind is one of Namespace, ServiceAccount, Deployment, StatefulSet, DaemonSet, Job, CronJob; "
        "an object of another API group names that too"
    ): RuleSamples(
        broken={"an unknown kind without a group": {"group": ABSENT, "kind": "Rollout"}},
        kept={
            "a known kind without a group": {"group": ABSENT, "kind": "Deployment"},
            "a known kind with the group's name": {"group": "apps", "kind": "Deployment"},
            "a kind of another group": {"group": "apps.kruise.io", "kind": "StatefulSet"},
        },
    ),
    "exactly one of targetRefs and selector says which workloads the policy applies to": RuleSamples(
        broken={
            "neither of them": {"targetRefs": ABSENT, "selector": ABSENT},
            "both of them": {"targetRefs": _TARGETS, "selector": {}},
        },
        kept={
            "targetRefs alone": {"targetRefs": _TARGETS, "selector": ABSENT},
            "selector alone": {"targetRefs": ABSENT, "selector": {}},
        },
    ),
    "header is required when type is Header, and forbidden otherwise": RuleSamples(
        broken={
            "type Header without header": {"type": "Header", "header": ABSENT},
            **{f"type {word} with header": {"type": word, "header": _HEADER} for word in _OTHER_KEYS},
        },
        kept={
            "type Header with header": {"type": "Header", "header": _HEADER},
            **{f"type {word} without header": {"type": word, "header": ABSENT} for word in _OTHER_KEYS},
        },
    ),
    "header is required when source is Header, and forbidden otherwise": RuleSamples(
        broken={"source Header without header": {"source": "Header", "header": ABSENT}},
        kept={"source Header with header": {"source": "Header", "header": _HEADER}},
    ),
    "operators In and NotIn need values; Exists and DoesNotExist must not have any": RuleSamples(
        broken={
            "In without values": {"operator": "In", "values": ABSENT},
            "In with an empty list": {"operator": "In", "values": []},
            "NotIn without values": {"operator": "NotIn", "values": ABSENT},
            "Exists with values": {"operator": "Exists", "values": ["gold"]},
            "DoesNotExist with values": {"operator": "DoesNotExist", "values": ["gold"]},
        },
        kept={
            "In with a value": {"operator": "In", "values": ["gold"]},
            "In with 64 values": {"operator": "In", "values": [f"v{index}" for index in range(64)]},
            "NotIn with a value": {"operator": "NotIn", "values": ["gold"]},
            "Exists without values": {"operator": "Exists", "values": ABSENT},
            "Exists with an empty list": {"operator": "Exists", "values": []},
            "DoesNotExist without values": {"operator": "DoesNotExist", "values": ABSENT},
        },
    ),
    "a header that carries credentials cannot tell calls apart: its value would end up in metrics and logs": RuleSamples(
        broken={
            "Authorization": {"name": "Authorization"},
            "a header with a key, in small letters": {"name": "x-api-key"},
        },
        kept={"a header that has the word in its name": {"name": "X-Authorization-Tenant"}},
    ),
    "the keys of matchLabels are label keys such as app or example.com/team": RuleSamples(
        broken={"a space": {"matchLabels": {"a b": "c"}}},
        kept={"a prefix": {"matchLabels": {"example.com/team": "a"}}, "no labels": {"matchLabels": ABSENT}},
        ours={"a space": "expected a label key such as app"},
    ),
    "no part of key may stand there twice": RuleSamples(
        broken={
            "Model twice": {"key": [{"type": "Model"}, {"type": "Pod"}, {"type": "Model"}]},
            "one header twice": {"key": [{"type": "Header", "header": {"name": "x-a"}}] * 2},
        },
        kept={
            "Model and Pod": {"key": [{"type": "Model"}, {"type": "Pod"}]},
            "two headers": {"key": [{"type": "Header", "header": {"name": name}} for name in ("x-a", "x-b")]},
            "no key": {"key": ABSENT},
        },
        ours={
            "Model twice": "this item stands in the list already, as item 0",
            "one header twice": "this item stands in the list already, as item 0",
        },
    ),
}
"""By message."""
