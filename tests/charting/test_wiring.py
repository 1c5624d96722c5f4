"""Objects of the chart find each other, and what the programs are made for: names, ports, labels, audiences."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import pytest
from charting_site.helm import NAMESPACE, PROFILES, Helm, Objects, environment_of

from tidegate_operator.cluster.secrets import INJECTOR_CERTIFICATES
from tidegate_operator.inject.container import NO_OVERRIDES, PodFacts, container
from tidegate_operator.inject.settings import CERTIFICATES_FOLDER
from tidegate_operator.inject.settings import read as read_injector
from tidegate_operator.setting_groups import INJECTOR_NAME
from tidegate_operator.settings import OWN_NAME
from tidegate_policy.poll import AUDIENCE

NAMES = (OWN_NAME, INJECTOR_NAME)
INJECTED = {"tidegate.dev/injected": "true"}


def pod_of(objects: Objects, name: str) -> dict[str, Any]:
    found: dict[str, Any] = objects["Deployment", name]["spec"]["template"]
    return found


def ports_of(pod: dict[str, Any]) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for it in pod["spec"]["containers"] for port in it["ports"]}


@pytest.mark.parametrize("profile", PROFILES)
def test_everything_that_selects_pods_selects_these(helm: Helm, profile: str) -> None:
    objects = helm.render(profile=profile)
    for name in NAMES:
        pod = pod_of(objects, name)
        labels = pod["metadata"]["labels"].items()
        deployment, service = objects["Deployment", name]["spec"], objects["Service", name]["spec"]
        selectors = [deployment["selector"]["matchLabels"], service["selector"]]
        selectors.append(objects["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"])
        if ("NetworkPolicy", name) in objects:
            policy = objects["NetworkPolicy", name]["spec"]
            selectors.append(policy["podSelector"]["matchLabels"])
            named = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
            assert named <= set(ports_of(pod))
        if ("PodMonitor", "tidegate") in objects:
            monitor = objects["PodMonitor", "tidegate"]["spec"]
            selectors.append(monitor["selector"]["matchLabels"])
            assert {it["port"] for it in monitor["podMetricsEndpoints"]} <= set(ports_of(pod))
        if ("ServiceMonitor", "tidegate") in objects:
            monitor = objects["ServiceMonitor", "tidegate"]["spec"]
            assert (
                monitor["selector"]["matchLabels"].items()
                <= objects["Service", name]["metadata"]["labels"].items()
            )
            assert {it["port"] for it in monitor["endpoints"]} <= {port["name"] for port in service["ports"]}
        assert all(selector.items() <= labels for selector in selectors)
        assert {port["targetPort"] for port in service["ports"]} <= set(ports_of(pod))
        probed = {
            it["httpGet"]["port"] for key, it in pod["spec"]["containers"][0].items() if key.endswith("Probe")
        }
        assert probed == {"health"}


def test_addresses_are_those_that_programs_know(helm: Helm) -> None:
    objects = helm.render()
    template = read_injector(environment_of(objects["Deployment", INJECTOR_NAME])).template
    port, _ = objects["Service", OWN_NAME]["spec"]["ports"]
    assert template.operator_url == f"https://{OWN_NAME}.{NAMESPACE}.svc:{port['port']}"
    port, _ = objects["Service", INJECTOR_NAME]["spec"]["ports"]
    for entry in objects["MutatingWebhookConfiguration", "ai-tidegate-injector"]["webhooks"]:
        service = entry["clientConfig"]["service"]
        assert (service["namespace"], service["name"], service["port"]) == (
            NAMESPACE,
            INJECTOR_NAME,
            port["port"],
        )


def test_replicas_have_a_token_for_each_other(helm: Helm) -> None:
    deployment = helm.render()["Deployment", OWN_NAME]
    spec = deployment["spec"]["template"]["spec"]
    path = PurePosixPath(environment_of(deployment)["TIDEGATE_PEER_TOKEN_FILE"])
    (mount,) = (it for it in spec["containers"][0]["volumeMounts"] if it["mountPath"] == str(path.parent))
    (volume,) = (it for it in spec["volumes"] if it["name"] == mount["name"])
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == AUDIENCE
    assert source["serviceAccountToken"]["path"] == path.name


@pytest.mark.parametrize("profile", PROFILES)
def test_certificates_come_from_where_they_are_made(helm: Helm, profile: str) -> None:
    objects = helm.render(profile=profile)
    mounted = {
        name: volume["secret"]["secretName"]
        for name in NAMES
        for volume in pod_of(objects, name)["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted[INJECTOR_NAME] == INJECTOR_CERTIFICATES
    made = {name: it["spec"]["secretName"] for (kind, name), it in objects.items() if kind == "Certificate"}
    if made:
        assert {name: made[name] for name in NAMES} == mounted
        for name in NAMES:
            names = objects["Certificate", name]["spec"]["dnsNames"]
            assert names[0] == f"{name}.{NAMESPACE}.svc"
    else:
        assert OWN_NAME not in mounted
    for name in mounted:
        mounts = pod_of(objects, name)["spec"]["containers"][0]["volumeMounts"]
        assert CERTIFICATES_FOLDER in [it["mountPath"] for it in mounts]


@pytest.mark.parametrize("profile", ["everything", "ha"])
def test_sidecars_are_found_by_what_the_injector_writes(helm: Helm, profile: str) -> None:
    objects = helm.render(profile=profile)
    template = read_injector(environment_of(objects["Deployment", INJECTOR_NAME])).template
    (port,) = container(template, "", NO_OVERRIDES, PodFacts())["ports"]
    monitor = objects["PodMonitor", "tidegate-sidecars"]["spec"]
    assert monitor["selector"]["matchLabels"] == INJECTED
    assert [it["port"] for it in monitor["podMetricsEndpoints"]] == [port["name"]]


def test_sidecars_may_call_the_operator(helm: Helm) -> None:
    callers = helm.render(profile="everything")["NetworkPolicy", OWN_NAME]["spec"]["ingress"][0]["from"]
    assert {"namespaceSelector": {}, "podSelector": {"matchLabels": INJECTED}} in callers


def test_the_default_is_what_the_page_says(helm: Helm) -> None:
    """docs/operations/install.md lists it."""
    assert Counter(kind for kind, _ in helm.render_all()) == {
        "Deployment": 2,
        "PodDisruptionBudget": 2,
        "Service": 2,
        "ServiceAccount": 2,
        "ClusterRole": 1 + 4,
        "ClusterRoleBinding": 1,
        "Role": 1,
        "RoleBinding": 1,
        "CustomResourceDefinition": 4,
        "MutatingWebhookConfiguration": 1,
        "ValidatingWebhookConfiguration": 1,
    }
