"""Manifests of applications that know nothing of Tidegate, of a provider for them, and of the rules that govern them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
DEMO = f"tidegate-demo:{VERSION}"
MODEL = "gpt-5.4-mini"
OTHER_MODEL = "gpt-5.5"
KEYS = "tidegate-keys"
IDLE = ("python3", "-c", "import time; time.sleep(3600)")
"""A program that does nothing."""
ASK = ("python3", "/programs/chat.py", MODEL, "0.5")
"""One that calls twice a second and prints what came of it."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod_spec(name: str, command: Sequence[str], **spec: Any) -> dict[str, Any]:
    """A pod with one container of the demo image; `spec` adds fields to the pod's."""
    container = {"name": name, "image": DEMO, "command": list(command), "securityContext": RESTRICTED}
    return {"terminationGracePeriodSeconds": 30, "containers": [container], **spec}


def deployment(
    name: str, namespace: str, pod: dict[str, Any], *, replicas: int = 1, inject: bool = True
) -> dict[str, Any]:
    """A Deployment; with `inject`, annotated as its team would."""
    labels = {"app": name}
    annotations = {"tidegate.dev/inject": "enabled"} if inject else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def caller(name: str, namespace: str, *, per_second: int, replicas: int = 1, **spec: Any) -> dict[str, Any]:
    """Calls both models all the time."""
    command = ["python3", "/programs/caller.py", str(per_second), MODEL, OTHER_MODEL]
    return deployment(name, namespace, pod_spec(name, command, **spec), replicas=replicas)


def pod(name: str, namespace: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """A pod of its own, which asks for a sidecar; `annotations` are ours, with _ for -."""
    ours = {f"tidegate.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name},
            "annotations": {"tidegate.dev/inject": "enabled", **ours},
        },
        "spec": spec,
    }


def provider(namespace: str) -> list[dict[str, Any]]:
    """The simulated provider as a Service of the namespace; it wants a key."""
    spec = pod_spec("provider", ["tidegate", "simulate", "--listen", "0.0.0.0:19300", "--require-key"])
    spec["terminationGracePeriodSeconds"] = 2
    spec["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": 19300}, "periodSeconds": 1}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "provider", "namespace": namespace},
        "spec": {"selector": {"app": "provider"}, "ports": [{"port": 80, "targetPort": 19300}]},
    }
    return [deployment("provider", namespace, spec, inject=False), service]


def keys(namespace: str, text: str) -> dict[str, Any]:
    """The Secret that sidecars of the namespace read their keys from."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": KEYS, "namespace": namespace},
        "stringData": {"simulated": text},
    }


def rules(
    namespace: str, *limits: dict[str, Any], models: Sequence[str] = (MODEL, OTHER_MODEL)
) -> list[dict[str, Any]]:
    """A credential, a pool and a policy for the whole namespace."""
    credential = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderCredential",
        "metadata": {"name": "simulated", "namespace": namespace},
        "spec": {"source": {"type": "Secret", "secret": {"key": "simulated"}}},
    }
    pool = {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "ProviderPool",
        "metadata": {"name": "models", "namespace": namespace},
        "spec": {
            "providers": [
                {
                    "name": "simulated",
                    "type": "OpenAI",
                    "baseURL": f"http://provider.{namespace}.svc.cluster.local/v1",
                    "allowInsecure": True,
                    "allowPrivate": True,
                    "authentication": {"type": "Credentials", "credentialRefs": [{"name": "simulated"}]},
                    "models": [{"name": MODEL}, {"name": OTHER_MODEL}],
                }
            ]
        },
    }
    return [credential, pool, policy(namespace, *limits, models=models)]


def policy(namespace: str, *limits: dict[str, Any], models: Sequence[str]) -> dict[str, Any]:
    """Which models the namespace's pods may call, and how often."""
    return {
        "apiVersion": "tidegate.dev/v1alpha1",
        "kind": "AIPolicy",
        "metadata": {"name": "all", "namespace": namespace},
        "spec": {
            "targetRefs": [{"kind": "Namespace", "name": namespace}],
            "poolRefs": [{"name": "models"}],
            "allowModels": list(models),
            **({"rateLimits": list(limits)} if limits else {}),
        },
    }
