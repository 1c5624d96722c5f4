"""What a person asks first of objects that the operator has looked at: is it ready, where is it in force, of what is it made."""

import re
from collections.abc import Callable

from tidegate_testing.operators import Cluster, OperatorProcess, injected_pod, policy, pool
from tidegate_testing.polling import PollingSidecar

Operators = Callable[..., OperatorProcess]


def shown(cluster: Cluster, team: str, kind: str) -> dict[str, dict[str, str]]:
    """What `kubectl get` prints: by name, then by column; of the age nothing."""
    printed = cluster.kubectl("get", kind, f"--namespace={team}")
    header, *lines = (re.split(r"\s{2,}", line.strip()) for line in printed.splitlines())
    assert (header[0], header[-1]) == ("NAME", "AGE")
    return {line[0]: dict(zip(header[1:-1], line[1:-1], strict=True)) for line in lines}


def in_force(sidecars: str, ready: str = "True", **more: str) -> dict[str, str]:
    """A row of something that so many sidecars enforce, all that should."""
    return {"READY": ready, "PROGRAMMED": sidecars, "DESIRED": sidecars} | more


def test_get_tells_targets_and_providers_of_every_shape(
    cluster: Cluster, operator: Operators, team: str, home: str
) -> None:
    """Several targets, labels of pods, all pods; several providers; and a pool that is switched off."""
    providers = [{"name": name, "type": "OpenAI"} for name in ("main", "spare", "last", "fourth")]
    targets = [{"kind": "Namespace", "name": team}, {"kind": "ServiceAccount", "name": "chat"}]
    expression = {"key": "tier", "operator": "In", "values": ["web", "api"]}
    cluster.apply(
        pool(team, providers=providers),
        pool(team, "off", suspend=True),
        policy(team, "listed", targetRefs=targets),
        policy(team, "labelled", selector={"matchLabels": {"app": "chat"}, "matchExpressions": [expression]}),
        policy(team, "every-pod", selector={}, poolRefs=[{"name": "off"}]),
        {
            "apiVersion": "tidegate.dev/v1alpha1",
            "kind": "ClusterAIPolicy",
            "metadata": {"name": team},
            "spec": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": team}},
                "poolRefs": [{"name": "models", "namespace": team}],
            },
        },
        injected_pod(team, "chat-0"),
    )
    cluster.run_sidecar(team, "chat-0")
    replica = operator().wait_ready()
    sidecar = PollingSidecar(cluster, home, team, "chat-0")
    sidecar.has(replica)

    programmed = {
        ("aipolicy", "listed"): 1,
        ("aipolicy", "labelled"): 0,
        ("aipolicy", "every-pod"): 1,
        ("clusteraipolicy", team): 1,
        ("providerpool", "models"): 0,
        ("providerpool", "off"): 1,
    }

    def found() -> dict[tuple[str, str], int]:
        sidecar.poll(replica)  # with which it says that the configuration is in force
        statuses = {
            (kind, name): cluster.get(kind, "" if name == team else team, name)["status"]
            for kind, name in programmed
        }
        return {it: status.get("sidecars", {}).get("programmed", -1) for it, status in statuses.items()}

    replica.until(lambda: found() == programmed, "the sidecar to be counted")
    assert shown(cluster, team, "aipolicies") == {
        "listed": in_force("1", TARGETS=f"Namespace/{team}, ServiceAccount/chat"),
        "labelled": in_force("0", TARGETS="app=chat,tier in (web,api)"),
        "every-pod": in_force("1", "False", TARGETS="all pods"),
    }
    assert shown(cluster, team, "clusteraipolicies") == {
        team: in_force("1", NAMESPACES=f"kubernetes.io/metadata.name={team}")
    }
    assert shown(cluster, team, "providerpools") == {
        "models": in_force("0", PROVIDERS="main, spare, last and 1 more"),
        "off": in_force("1", "False", PROVIDERS="openai"),
    }
    refused = cluster.conditions("aipolicy", team, "every-pod")["ResolvedRefs"]
    assert (refused["status"], refused["reason"]) == ("False", "RefSuspended")
    assert f"ProviderPool {team}/off is suspended: calls through it are refused" in refused["message"]
