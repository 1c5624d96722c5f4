"""Compilation: what a compile yields, with enough left of the reasoning to explain it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING

from tidegate_policy.model import CompiledConfig, ObjectRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_operator.compile.diagnostics import Diagnostic, FieldPath
    from tidegate_operator.index.snapshot import Workload


class Level(IntEnum):
    """How closely a policy is attached to a workload; of single-valued settings the closest one holds."""

    CLUSTER = 0
    NAMESPACE = 1
    SELECTOR = 2
    SERVICE_ACCOUNT = 3
    WORKLOAD = 4

    @property
    def words(self) -> str:
        """The level in a sentence: "attached to …"."""
        return _LEVEL_WORDS[self]


_LEVEL_WORDS = {
    Level.CLUSTER: "the cluster",
    Level.NAMESPACE: "the namespace",
    Level.SELECTOR: "the pod labels",
    Level.SERVICE_ACCOUNT: "the service account",
    Level.WORKLOAD: "the workload",
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ClassKey:
    """What makes two workloads the same to a compile: they share one configuration.

    Attributes:
        policies: what applies, sorted.
        levels: how each of them is attached, since that decides which one wins.
        namespace: of the workloads, where the result depends on it (a pool that a ClusterAIPolicy names may allow
            some namespaces alone); otherwise empty.
    """

    policies: tuple[ObjectRef, ...] = ()
    levels: tuple[Level, ...] = ()
    namespace: str = ""
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # a key is looked up in every pass, and hashing its references each time would cost more than the passes
        object.__setattr__(self, "_hash", hash((self.policies, self.levels, self.namespace)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A value that an object sets and that does not hold, and why."""

    source: ObjectRef
    path: FieldPath
    value: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing that is decided for a class of workloads.

    Attributes:
        name: `poolRefs`, `timeouts`, `retry` and `identity` once each; `allowModels` and `rateLimits` as often
            as there are such rules, since all of them hold.
        value: in words, as a person would write it; empty when nothing sets it.
        source: the object that sets it; None when nothing does, and the pools' own values hold.
        path: the field of that object.
        lost: other values, the closest first.
    """

    name: str
    value: str = ""
    source: ObjectRef | None = None
    path: FieldPath = ()
    lost: tuple[Lost, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """Everything that is known after a compile.

    Attributes:
        configs: a configuration for each class of workloads.
        workloads: the class of each workload of the snapshot.
        diagnostics: what there is to say about the objects, sorted by object and field.
        settings: where the values of each class come from.
        unadvised: objects of which advice is still being worked out: there may be more to say about them.
    """

    configs: Mapping[ClassKey, CompiledConfig]
    workloads: Mapping[Workload, ClassKey]
    diagnostics: tuple[Diagnostic, ...]
    settings: Mapping[ClassKey, tuple[Setting, ...]] = field(default_factory=dict)
    unadvised: frozenset[ObjectRef] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a workload is told what it is told.

    Attributes:
        workload: whom it is about.
        policies: what applies and how it is attached, the closest first.
        settings: each decision with its source and what lost against it.
        config: the result; its denials, if there are any, answer every call.
    """

    workload: Workload
    policies: tuple[tuple[ObjectRef, Level], ...]
    settings: tuple[Setting, ...]
    config: CompiledConfig


def config_for(compilation: Compilation, workload: Workload) -> CompiledConfig:
    """The configuration of one workload.

    Raises:
        KeyError: the workload was not in the snapshot.
    """
    return compilation.configs[compilation.workloads[workload]]


def explain(compilation: Compilation, workload: Workload) -> Explanation:
    """Where each value of a workload's configuration comes from.

    Raises:
        KeyError: the workload was not in the snapshot.
    """
    key = compilation.workloads[workload]
    attached = sorted(zip(key.policies, key.levels, strict=True), key=lambda pair: (-pair[1], pair[0]))
    return Explanation(
        workload=workload,
        policies=tuple(attached),
        settings=compilation.settings[key],
        config=compilation.configs[key],
    )
