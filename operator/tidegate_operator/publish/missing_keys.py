"""Which credentials have no key in which sidecars (PURE): what pods report, for the status of credentials and pools.

A pod is believed for its own configuration alone: it can name no credential that its configuration does not use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tidegate_operator.publish.reports import ReportBook
from tidegate_operator.status.model import MissingKey
from tidegate_policy.model import CompiledConfig, ObjectRef

MAX_PODS_NAMED: Final = 3

CREDENTIAL: Final = "ProviderCredential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A pod, and who needs a key in it.

    Attributes:
        uses: credentials of its configuration, each with the pools that use it.
    """

    pod_uid: str
    namespace: str
    name: str
    uses: Mapping[ObjectRef, tuple[ObjectRef, ...]]


def uses_of(config: CompiledConfig) -> dict[ObjectRef, tuple[ObjectRef, ...]]:
    """The credentials of a configuration, each with the pools that use it."""
    uses: dict[ObjectRef, dict[ObjectRef, None]] = {}
    for pool in config.pools:
        for provider in pool.providers:
            for credential in provider.credentials:
                uses.setdefault(credential.source, {})[pool.source] = None
    return {credential: tuple(pools) for credential, pools in uses.items()}


def missing_keys(book: ReportBook, holders: Iterable[Holder]) -> dict[ObjectRef, tuple[MissingKey, ...]]:
    """What is missing, for each credential and for each pool that uses it."""
    groups: dict[tuple[ObjectRef, str, str], list[str]] = {}
    pools: dict[ObjectRef, dict[ObjectRef, None]] = {}
    for holder in holders:
        report = book.get(holder.pod_uid)
        for lacking in report.keys.lacking if report is not None else ():
            credential = ObjectRef(kind=CREDENTIAL, namespace=lacking.namespace, name=lacking.name)
            if credential in holder.uses:
                groups.setdefault((credential, holder.namespace, lacking.problem), []).append(holder.name)
                pools.setdefault(credential, {}).update(dict.fromkeys(holder.uses[credential]))
    found: dict[ObjectRef, list[MissingKey]] = {}
    for (credential, namespace, problem), names in sorted(groups.items()):
        missing = MissingKey(
            credential, namespace, problem, len(names), tuple(sorted(names)[:MAX_PODS_NAMED])
        )
        for ref in (credential, *pools[credential]):
            found.setdefault(ref, []).append(missing)
    return {ref: tuple(each) for ref, each in found.items()}
