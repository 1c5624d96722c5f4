"""Pods by hand and by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tidegate_operator.inject.environment import OURS
from tidegate_operator.inject.names import INJECT


def pod(
    *containers: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod that opted in by annotation."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "chat", "annotations": {INJECT: "enabled"} | (annotations or {})},
        "spec": {"containers": list(containers) or [container()], **spec},
    }


def container(name: str = "app", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example/app:1", **more}


def environment_of(document: dict[str, Any], name: str = "app") -> dict[str, Any]:
    """Variables of a container, each with what counts: the last entry of its name."""
    spec = document["spec"]
    found = next(it for it in [*spec.get("initContainers", []), *spec["containers"]] if it["name"] == name)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in found.get("env", [])}


MESH = ["istio-proxy", "linkerd-proxy"]
VARIABLES = [
    *OURS,
    "OPENAI_API_BASE",
    "OPENAI_API_VERSION",
    "ANTHROPIC_AUTH_TOKEN",
    "HTTP_PROXY",
    "NO_PROXY",
    "HOME",
]


def _entries() -> st.SearchStrategy[list[dict[str, Any]]]:
    literal = st.builds(
        lambda name, value: {"name": name, "value": value},
        st.sampled_from(VARIABLES),
        st.sampled_from(["", "mine", "http://proxy:3128", *OURS.values()]),
    )
    reference = st.builds(
        lambda name: {"name": name, "valueFrom": {"secretKeyRef": {"name": "mine", "key": "a"}}},
        st.sampled_from(VARIABLES),
    )
    return st.lists(literal | reference, max_size=5)


def _sources() -> st.SearchStrategy[list[dict[str, Any]]]:
    source = st.builds(
        lambda kind, name, prefix: {f"{kind}Ref": {"name": name}} | ({"prefix": prefix} if prefix else {}),
        st.sampled_from(["configMap", "secret"]),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["", "OPENAI_", "OPENAI_BASE_URL", "DB_"]),
    )
    return st.lists(source, max_size=3)


def _resources() -> st.SearchStrategy[dict[str, Any]]:
    amounts = st.sampled_from(
        [{"cpu": "1", "memory": "1Gi"}, {"cpu": "1000m", "memory": "1024Mi"}, {"cpu": "1"}, {}]
    )
    return st.fixed_dictionaries({}, optional={"limits": amounts, "requests": amounts})


def _containers(names: list[str], least: int) -> st.SearchStrategy[list[dict[str, Any]]]:
    one = st.fixed_dictionaries(
        {"name": st.sampled_from(names), "image": st.just("a")},
        optional={
            "env": _entries(),
            "envFrom": _sources(),
            "resources": _resources(),
            "restartPolicy": st.just("Always"),
        },
    )
    return st.lists(one, min_size=least, max_size=4, unique_by=lambda it: it["name"])


def pods() -> st.SearchStrategy[dict[str, Any]]:
    """Pods that may be injected, of any shape that the decision depends on."""
    annotations = st.fixed_dictionaries(
        {INJECT: st.just("enabled")},
        optional={
            "tidegate.dev/cpu-request": st.sampled_from(["100m", "2"]),
            "tidegate.dev/memory-limit": st.sampled_from(["64Mi", "1Gi"]),
            "tidegate.dev/exclude-env": st.sampled_from(
                ["OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT, GEMINI_API_KEY"]
            ),
            "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes": st.sampled_from(
                ["", "cache", "a,b"]
            ),
        },
    )
    spec = st.fixed_dictionaries(
        {"containers": _containers(["app", "worker", "vault-agent", *MESH], 1)},
        optional={
            "initContainers": _containers(["app-0", "init", "istio-init", *MESH], 0),
            "volumes": st.lists(st.just({"name": "cache", "emptyDir": {}}), max_size=1),
            "imagePullSecrets": st.lists(st.sampled_from([{"name": "own"}]), max_size=1),
            "terminationGracePeriodSeconds": st.integers(0, 100_000),
            "resources": _resources(),
        },
    )
    metadata = st.fixed_dictionaries(
        {"annotations": annotations}, optional={"labels": st.dictionaries(st.just("app"), st.just("chat"))}
    )
    return st.builds(_pod, metadata, spec)


def _pod(metadata: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes has each container's name once in a pod."""
    taken = {it["name"] for it in spec["containers"]}
    if "initContainers" in spec:
        spec["initContainers"] = [it for it in spec["initContainers"] if it["name"] not in taken]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
