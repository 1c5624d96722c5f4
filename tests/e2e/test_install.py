"""From `helm install` to a governed call: pods, images, chart, webhook, operator and sidecar as users have them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tidegate_node.access import Cluster

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
VERSION = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["version"]
DEMO = f"tidegate-demo:{VERSION}"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
REQUESTS_PER_HOUR = 3


def deployment(name: str, namespace: str, container: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 2,
                    "containers": [{"name": name, "image": DEMO, "securityContext": RESTRICTED, **container}],
                },
            },
        },
    }


def provider(namespace: str) -> list[dict[str, Any]]:
    """The simulated provider as a Service of the namespace."""
    container = {
        "args": ["simulate", "--listen", "0.0.0.0:19300", "--require-key"],
        "readinessProbe": {"tcpSocket": {"port": 19300}, "periodSeconds": 1},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "provider", "namespace": namespace},
        "spec": {"selector": {"app": "provider"}, "ports": [{"port": 80, "targetPort": 19300}]},
    }
    return [deployment("provider", namespace, container), service]


def rules(namespace: str) -> list[dict[str, Any]]:
    """One model, and three calls an hour."""
    pool = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderPool",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {
            "providers": [
                {
                    "name": "simulated",
                    "type": "OpenAI",
                    "baseURL": f"http://provider.{namespace}.svc.cluster.local/providers/simulated/v1",
                    "allowInsecure": True,
                    "allowPrivate": True,
                    "callerCredential": True,
                    "models": [{"name": "gpt-5.4-mini"}],
                }
            ]
        },
    }
    policy = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIPolicy",
        "metadata": {"name": "chat", "namespace": namespace},
        "spec": {
            "targetRefs": [{"kind": "Deployment", "name": "chat"}],
            "providerPools": [{"name": "models"}],
            "rateLimits": [
                {"name": "all", "requests": REQUESTS_PER_HOUR, "per": "1h", "key": [{"type": "Workload"}]}
            ],
        },
    }
    return [pool, policy]


def application(namespace: str) -> dict[str, Any]:
    """An unmodified SDK that calls once a second; it has a key, and no word about Tidegate."""
    container = {
        "command": ["python3", "/programs/chat.py", "gpt-5.4-mini", "1"],
        "env": [{"name": "OPENAI_API_KEY", "value": "sk-example"}],
    }
    return deployment("chat", namespace, container)


@pytest.fixture
def chat(installed: Cluster, pod_namespace: str) -> Callable[[], list[dict[str, Any]]]:
    """The application with its sidecar; gives what it has printed so far."""
    cluster, namespace = installed, pod_namespace
    cluster.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    cluster.apply(*provider(namespace), *rules(namespace))
    cluster.wait_for_rollout(namespace, "deployment/provider")
    cluster.apply(application(namespace))
    cluster.kubectl(
        "annotate", "deployment", "chat", f"--namespace={namespace}", "tidegate.dev/inject=enabled"
    )
    cluster.wait_for_rollout(namespace, "deployment/chat")

    def printed() -> list[dict[str, Any]]:
        (pod,) = cluster.pods(namespace, "app=chat,tidegate.dev/injected=true")
        lines = cluster.logs(namespace, pod["metadata"]["name"], "chat").splitlines()
        return [json.loads(line) for line in lines]

    return printed


def test_one_annotation_puts_an_unmodified_application_under_policy(
    installed: Cluster, pod_namespace: str, chat: Callable[[], list[dict[str, Any]]]
) -> None:
    installed.wait_until(
        lambda: 429 in [it["status"] for it in chat()], namespace=pod_namespace, what="refusal of a call"
    )
    answers = chat()
    assert [it["status"] for it in answers].count(200) == REQUESTS_PER_HOUR
    refused = next(it for it in answers if it["status"] == 429)
    assert "rateLimits" in refused["message"] or "all" in refused["message"], refused


def test_conditions_say_that_the_policy_is_enforced(
    installed: Cluster, pod_namespace: str, chat: Callable[[], list[dict[str, Any]]]
) -> None:
    def is_ready() -> bool:
        policy = installed.get("aipolicies.tidegate.dev", "chat", pod_namespace)
        conditions = policy.get("status", {}).get("conditions", [])
        return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)

    installed.wait_until(is_ready, namespace=pod_namespace, what="Ready of the AIPolicy")
    policy = installed.get("aipolicies.tidegate.dev", "chat", pod_namespace)
    assert policy["status"]["sidecars"]["programmed"] == policy["status"]["sidecars"]["desired"] == 1
