"""Injected pods, and the workload that each belongs to.

Of a pod only its metadata, its ServiceAccount and whether its sidecar has begun are kept. A pod names the object that
made it, and where that is a ReplicaSet or a Job, what made that one has to be looked up: `unknown_owners` says which,
`learn` takes the answers, and until then the pod belongs to nobody. Pure: nothing here asks the API server.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tidegate_operator.api.workloads import WORKLOADS, qualified_kind
from tidegate_operator.index.snapshot import Workload

INJECTED_LABEL: Final = "tidegate.dev/injected"
"""What the injector puts on the pods that it changes, with the value `true`."""

SIDECAR_CONTAINER: Final = "tidegate-sidecar"
"""The container that the injector adds."""

MAX_IDLE_OWNERS: Final = 20_000
"""Answers about owners that no pod has at the moment: of these, the ones used last are kept; each is some two hundred bytes."""

_PER_POD_LABELS: Final = frozenset(
    {
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/controller-uid",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "controller-revision-hash",
        "controller-uid",
        "job-name",
        "pod-template-generation",
        "pod-template-hash",
        "statefulset.kubernetes.io/pod-name",
    }
)
"""Labels that controllers add; without them, all pods of one template are one workload with the same labels."""

_ENDED = ("Succeeded", "Failed")
NOT_ENDED: Final = ",".join(f"status.phase!={phase}" for phase in _ENDED)
"""A field selector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The controller of an object; `api` is its apiVersion."""

    api: str
    kind: str
    name: str
    uid: str

    @property
    def qualified_kind(self) -> str:
        """The kind, with its group where it is neither Kubernetes' own nor of the core: `StatefulSet.apps.kruise.io`."""
        group, slash, _ = self.api.partition("/")
        return qualified_kind(group if slash else "", self.kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What is kept of a pod.

    Attributes:
        owner: None for a pod that nobody controls.
        has_begun: whether its sidecar runs, or ever ran: one that never did enforces nothing and lets nothing pass.
    """

    uid: str
    namespace: str
    name: str
    version: int
    labels: Mapping[str, str]
    service_account: str
    owner: Owner | None
    has_begun: bool


class Pods:
    """The injected pods that run or will."""

    def __init__(self, *, idle_owners: int = MAX_IDLE_OWNERS) -> None:
        """Nothing is known yet; `idle_owners` answers are kept of owners that no pod has."""
        self._most_idle = idle_owners
        self._pods: dict[str, Pod] = {}
        self._owners: dict[str, Owner | None] = {}
        self._uses: Counter[str] = Counter()
        """Uid of an owner to the number of its pods: their answers stay, or each look-up would push out another one."""
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._gone: dict[str, int] = {}
        self._begun: dict[str, None] = {}
        self.is_listed = False

    def __repr__(self) -> str:
        return f"<Pods {len(self._pods)}, owners known: {len(self._owners)}>"

    def __len__(self) -> int:
        return len(self._pods)

    def seen(self, document: Mapping[str, Any]) -> bool:
        """Take in a form of a pod; whether a workload may have changed by it."""
        pod = read_pod(document)
        before = self._pods.get(pod.uid)
        if self._gone.get(pod.uid, 0) >= pod.version or (
            before is not None and before.version >= pod.version
        ):
            return False
        if not is_injected(document) or has_ended(document):
            return self._remove(pod.uid)
        self._use(pod.owner)
        self._leave(before)
        self._pods[pod.uid] = pod
        # Those of the first list have begun some time or other; one that is new later has begun since the last look.
        is_news = self.is_listed if before is None else not before.has_begun
        if pod.has_begun and is_news:
            self._begun[pod.uid] = None
        return before is None or _essence(before) != _essence(pod)

    def gone(self, document: Mapping[str, Any]) -> bool:
        """Take in that a pod was deleted; whether it was known."""
        metadata = document["metadata"]
        uid = str(metadata["uid"])
        self._gone[uid] = int(metadata["resourceVersion"])
        return self._remove(uid)

    def lacks(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a list has a newer form of a pod than is known."""
        uid, version = str(metadata["uid"]), int(metadata["resourceVersion"])
        pod = self._pods.get(uid)
        return self._gone.get(uid, 0) < version and (pod is None or pod.version < version)

    def relisted(
        self, documents: Iterable[Mapping[str, Any]], version: int, unchanged: Iterable[str] = ()
    ) -> bool:
        """Take in all injected pods as they were at `version`: forms, and the uids of known ones; whether something changed."""
        present, is_changed = set(unchanged), not self.is_listed
        for document in documents:
            present.add(str(document["metadata"]["uid"]))
            is_changed |= self.seen(document)
        for uid in [
            pod.uid for pod in self._pods.values() if pod.uid not in present and pod.version <= version
        ]:
            is_changed |= self._remove(uid)
        self._gone = {uid: at for uid, at in self._gone.items() if at > version}
        self.is_listed = True
        return is_changed

    def successor(self) -> Pods:
        """Pods of which nothing is known yet but what owners belong to: these answers hold in any history of the cluster."""
        others = Pods(idle_owners=self._most_idle)
        # one that was gone may be there again
        others._owners = {uid: owner for uid, owner in self._owners.items() if owner is not None}
        others._idle = OrderedDict.fromkeys(others._owners)
        return others

    def become(self, others: Pods) -> tuple[str, ...]:
        """Hold what `others`, a successor, holds; uids of the pods that are known no more."""
        gone = tuple(self._pods.keys() - others._pods.keys())
        waiting = {uid for uid, pod in self._pods.items() if not pod.has_begun}
        begun = {uid: None for uid, pod in others._pods.items() if pod.has_begun and uid in waiting}
        self._pods, self._gone, self._begun = others._pods, others._gone, self._begun | begun
        self._owners, self._uses, self._idle = others._owners, others._uses, others._idle
        for uid in gone:
            self._begun.pop(uid, None)
        return gone

    def get(self, uid: str) -> Pod | None:
        """One pod."""
        return self._pods.get(uid)

    def take_begun(self) -> tuple[str, ...]:
        """Uids of the pods whose sidecar has begun since the last call; not of those that had when all were first listed."""
        begun, self._begun = tuple(self._begun), {}
        return begun

    def unknown_owners(self) -> tuple[tuple[str, Owner], ...]:
        """Owners that have to be looked up, each with its namespace, once."""
        owners = {
            pod.owner.uid: (pod.namespace, pod.owner)
            for pod in self._pods.values()
            if pod.owner is not None and self._needs_look_up(pod.owner)
        }
        return tuple(owners.values())

    def learn(self, uid: str, owner: Owner | None) -> None:
        """The controller of the owner with this uid; None when it has none, or is gone."""
        self._owners[uid] = owner
        if not self._uses[uid]:
            self._rest(uid)

    def workload(self, pod: Pod) -> Workload | None:
        """What a pod belongs to; None while its owner's owner is not known."""
        if pod.owner is not None and self._needs_look_up(pod.owner):
            return None
        return workload_of(pod, self._owners.get(pod.owner.uid) if pod.owner else None)

    def by_workload(self) -> Mapping[Workload, tuple[Pod, ...]]:
        """All workloads that have injected pods, with these."""
        workloads: dict[Workload, list[Pod]] = {}
        for pod in self._pods.values():
            workload = self.workload(pod)
            if workload is not None:
                workloads.setdefault(workload, []).append(pod)
        return {workload: tuple(pods) for workload, pods in workloads.items()}

    def _remove(self, uid: str) -> bool:
        self._begun.pop(uid, None)
        pod = self._pods.pop(uid, None)
        self._leave(pod)
        return pod is not None

    def _use(self, owner: Owner | None) -> None:
        if owner is not None:
            self._uses[owner.uid] += 1
            self._idle.pop(owner.uid, None)

    def _leave(self, pod: Pod | None) -> None:
        if pod is None or pod.owner is None:
            return
        self._uses[pod.owner.uid] -= 1
        if not self._uses[pod.owner.uid]:
            del self._uses[pod.owner.uid]
            self._rest(pod.owner.uid)

    def _rest(self, uid: str) -> None:
        """Keep the answer for pods that may come, for as long as there is room."""
        if uid in self._owners:
            self._idle[uid] = None
            self._idle.move_to_end(uid)
        while len(self._idle) > self._most_idle:
            gone, _ = self._idle.popitem(last=False)
            del self._owners[gone]

    def _needs_look_up(self, owner: Owner) -> bool:
        own = WORKLOADS.get(owner.qualified_kind)
        return own is not None and own.maker != "" and owner.uid not in self._owners


def workload_of(pod: Pod, above: Owner | None) -> Workload:
    """The workload: what made the pod's owner, else the owner, else the pod itself."""
    top = above or pod.owner
    return Workload(
        namespace=pod.namespace,
        kind=top.qualified_kind if top else "Pod",
        name=top.name if top else pod.name,
        labels=template_labels(pod.labels),
        service_account=pod.service_account,
    )


def template_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels that all pods of a template have in common."""
    return {key: value for key, value in labels.items() if key not in _PER_POD_LABELS}


def controller_of(document: Mapping[str, Any]) -> Owner | None:
    """The object that made this one and takes care of it."""
    for owner in document["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return Owner(
                api=str(owner["apiVersion"]),
                kind=str(owner["kind"]),
                name=str(owner["name"]),
                uid=str(owner["uid"]),
            )
    return None


def read_pod(document: Mapping[str, Any]) -> Pod:
    """What is kept of a pod."""
    metadata = document["metadata"]
    spec = document.get("spec") or {}
    return Pod(
        uid=str(metadata["uid"]),
        namespace=str(metadata["namespace"]),
        name=str(metadata["name"]),
        version=int(metadata["resourceVersion"]),
        labels={str(key): str(value) for key, value in (metadata.get("labels") or {}).items()},
        service_account=str(spec.get("serviceAccountName") or "default"),
        owner=controller_of(document),
        has_begun=has_begun(document),
    )


def is_injected(document: Mapping[str, Any]) -> bool:
    """Whether the injector has put a sidecar into the pod."""
    return (document["metadata"].get("labels") or {}).get(INJECTED_LABEL) == "true"


def has_begun(document: Mapping[str, Any]) -> bool:
    """Whether the pod's sidecar runs, or ran before; as the kubelet says, who says nothing of a container that waits for its image."""
    status = document.get("status") or {}
    every = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return any(
        _container_began(container) for container in every if container.get("name") == SIDECAR_CONTAINER
    )


def has_ended(document: Mapping[str, Any]) -> bool:
    """Whether the pod's containers have ended for good."""
    return (document.get("status") or {}).get("phase") in _ENDED


def _container_began(status: Mapping[str, Any]) -> bool:
    states = (status.get("state") or {}, status.get("lastState") or {})
    return bool(status.get("restartCount")) or any(
        "running" in state or "terminated" in state for state in states
    )


def _essence(pod: Pod) -> tuple[object, ...]:
    return (pod.namespace, pod.name, pod.labels, pod.service_account, pod.owner)
