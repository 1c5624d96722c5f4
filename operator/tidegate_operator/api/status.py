"""What the operator writes into the status of objects. These models are schema alone: nothing reads them back."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from tidegate_operator.api.fields import APIGroup, Items, KindName, Name, ObjectName, Text, Whole
from tidegate_operator.api.section import Section

Timestamp = Annotated[
    str,
    Text(
        expected="a time such as 2026-11-21T10:00:00Z",
        pattern=(
            r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$"
        ),
        time=True,
        max_length=35,
    ),
]
# As in metav1.Condition: what any controller may write into a status that it shares with us.
CONDITION_TYPE: Final = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
CONDITION_REASON: Final = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"
_TYPE_WORDS: Final = (
    "the type of a condition such as Ready or example.com/Audited: letters, digits, '-', '_' and '.'"
)
_REASON_WORDS: Final = (
    "a reason in one word such as NoSidecars: letters, digits and '_', beginning with a letter"
)
Generation = Annotated[int, Whole(0, 2**53 - 1)]
UNSEEN: Final = -1
"""`observedGeneration` of an object that no operator has looked at yet: tools that wait for an object take one without a
status for settled."""
PodCount = Annotated[int, Whole(0, 1_000_000)]


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Section):
    """One aspect of the object's state."""

    type: Annotated[str, Text(expected=_TYPE_WORDS, pattern=CONDITION_TYPE, max_length=316)]
    """Accepted: the object is valid and applies to something. ResolvedRefs: what it names exists and may be used. Programmed: all sidecars concerned enforce it. Degraded: something outside is out of order. Ready: the summary."""
    status: ConditionStatus
    """Whether it holds."""
    observed_generation: Generation | None = None
    """metadata.generation of the object that the condition is about."""
    last_transition_time: Timestamp
    """When the status last changed."""
    reason: Annotated[str, Text(expected=_REASON_WORDS, pattern=CONDITION_REASON, max_length=1024)]
    """Why, in one word."""
    message: Annotated[str, Text(expected="a message", min_length=0, max_length=32_768)]
    """Why, for people."""


class SidecarCounts(Section):
    """How many sidecars the object concerns."""

    desired: PodCount = 0
    """Sidecars that should enforce the object, without those that are starting."""
    programmed: PodCount = 0
    """Sidecars that do."""
    rejected: PodCount = 0
    """Sidecars that refused the configuration."""


class TargetStatus(Section):
    """One target of a policy."""

    group: APIGroup = ""
    """API group of the target, as the policy has it."""
    kind: KindName
    """Kind of the target."""
    name: ObjectName
    """Name of the target."""
    pods: PodCount
    """Injected pods that the target has."""


class ProviderState(StrEnum):
    """How a provider is doing."""

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    OPEN = "Open"


class ProviderStatus(Section):
    """One provider of the pool, as the sidecars see it."""

    name: Name
    """Name of the provider."""
    state: ProviderState
    """Healthy; Degraded: some sidecars leave it alone; Open: all of them do."""
    latency_ms: Annotated[int, Whole(0, 86_400_000)] | None = None
    """Median time to the first byte, in milliseconds."""
    error_percent: Annotated[int, Whole(0, 100)] | None = None
    """Share of failed attempts."""
    since: Timestamp | None = None
    """When the state began."""


Shown = Annotated[str, Text(expected="a few words", min_length=0, max_length=256)]


class ObjectStatus(Section):
    """The fields that every status has."""

    observed_generation: Annotated[int, Whole(UNSEEN, 2**53 - 1)] | None = None
    """metadata.generation of the object that the status is about; -1 until it has been looked at."""
    conditions: Annotated[tuple[Condition, ...], Items(max_items=64, keys=("type",))] = ()
    """The state of the object."""


class ProviderPoolStatus(ObjectStatus):
    """What became of the pool."""

    providers: Annotated[tuple[ProviderStatus, ...], Items(max_items=32, keys=("name",))] = ()
    """The providers, as the sidecars see them."""
    provider_names: Shown = ""
    """The names of the providers in one line, for `kubectl get`."""
    sidecars: SidecarCounts | None = None
    """How many sidecars use the pool."""


class AIPolicyStatus(ObjectStatus):
    """What became of the policy."""

    targets: Annotated[tuple[TargetStatus, ...], Items(max_items=16, keys=("group", "kind", "name"))] = ()
    """What the policy applies to."""
    applies_to: Shown = ""
    """What the policy applies to in one line, for `kubectl get`: targets, or a selector as kubectl writes it."""
    sidecars: SidecarCounts | None = None
    """How many sidecars enforce the policy."""


class ClusterAIPolicyStatus(ObjectStatus):
    """What became of the policy."""

    applies_to: Shown = ""
    """The namespaces that the policy applies to in one line, for `kubectl get`: a selector as kubectl writes it."""
    sidecars: SidecarCounts | None = None
    """How many sidecars enforce the policy."""


class ProviderCredentialStatus(ObjectStatus):
    """What became of the credential."""
