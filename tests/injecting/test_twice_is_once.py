"""The API server calls again after other webhooks (`reinvocationPolicy: IfNeeded`): a second time changes nothing."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from injecting_shapes.platform import PLATFORM, TEMPLATE, TRUST, ask, injected
from injecting_shapes.pods import container, environment_of, pod, pods

from tidegate_operator.inject.container import volumes
from tidegate_operator.inject.names import CONTAINER, VOLUMES
from tidegate_operator.inject.pod import Platform
from tidegate_operator.inject.response import Result


def sidecars(document: dict[str, Any]) -> int:
    spec = document["spec"]
    return sum(it["name"] == CONTAINER for it in [*spec.get("initContainers", []), *spec["containers"]])


@settings(deadline=None)
@given(pods())
def test_injecting_twice_is_injecting_once(document: dict[str, Any]) -> None:
    once = injected(document)
    outcome = ask(once)
    assert (outcome.result, outcome.reason, outcome.patch) == (Result.SKIPPED, "AlreadyInjected", ())


@settings(deadline=None)
@given(pods(), pods())
def test_a_pod_never_gets_a_second_sidecar(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Whatever another webhook does to the containers in between."""
    once = injected(document)
    changed = copy.deepcopy(once)
    for key in ("containers", "initContainers"):
        known = {
            it["name"] for kind in ("containers", "initContainers") for it in changed["spec"].get(kind, [])
        }
        added = [it for it in other["spec"].get(key, []) if it["name"] not in known]
        changed["spec"][key] = added[::2] + changed["spec"].get(key, []) + added[1::2]
    again = injected(changed)
    assert sidecars(again) == 1
    assert sum(volume["name"] in VOLUMES for volume in again["spec"]["volumes"]) == len(volumes(TEMPLATE))
    assert ask(again).patch == ()


@settings(deadline=None)
@given(pods())
def test_what_the_user_wrote_stays(document: dict[str, Any]) -> None:
    """Containers keep every field and every variable that they had; only what is ours is new."""
    after = injected(document)["spec"]
    for key in ("containers", "initContainers"):
        kept = [it for it in after.get(key, []) if it["name"] != CONTAINER]
        before = document["spec"].get(key, [])
        assert [{**it, "env": None} for it in kept] == [{**it, "env": None} for it in before]
        for old, new in zip(before, kept, strict=True):
            assert new.get("env", [])[: len(old.get("env", []))] == old.get("env", [])


@settings(deadline=None)
@given(pods())
def test_the_users_own_variables_are_never_hidden(document: dict[str, Any]) -> None:
    """Of entries of one name the last counts: no entry of ours follows one of the user's, but for what envFrom brings."""
    after = injected(document)
    for kind in ("containers", "initContainers"):
        for before in document["spec"].get(kind, []):
            own = {
                entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in before.get("env", [])
            }
            found = environment_of(after, before["name"])
            assert {name: found[name] for name in own} == own


def test_containers_that_another_webhook_adds_get_the_variables_too() -> None:
    once = injected(pod())
    once["spec"]["containers"].append(container("late"))
    again = injected(once)
    assert environment_of(again, "late") == environment_of(again, "app")
    assert sidecars(again) == 1


def test_the_sidecar_goes_behind_a_mesh_that_was_added_after_it() -> None:
    once = injected(pod(initContainers=[container("migrate")]))
    once["spec"]["initContainers"].append(container("linkerd-proxy", restartPolicy="Always"))
    again = injected(once)
    assert [it["name"] for it in again["spec"]["initContainers"]] == ["migrate", "linkerd-proxy", CONTAINER]
    # nobody answers there before the sidecar has started
    assert environment_of(again, "migrate") == {}
    assert environment_of(again, "app") == environment_of(once, "app")


def test_what_others_did_to_the_sidecar_stays() -> None:
    """Istio leads its probes through the proxy, a resource recommender sets its resources."""
    once = injected(pod())
    sidecar = once["spec"]["initContainers"][0]
    sidecar["livenessProbe"]["httpGet"] = {"path": "/app-health/tidegate-sidecar/livez", "port": 15020}
    sidecar["resources"]["requests"]["cpu"] = "77m"
    sidecar["env"].append({"name": "OTHER", "value": "1"})
    assert ask(once).patch == ()


@settings(deadline=None)
@given(pods(), st.booleans())
def test_a_copy_of_an_older_pod_gets_the_sidecar_of_now(document: dict[str, Any], keys: bool) -> None:
    older = Platform(
        template=replace(TEMPLATE, image="registry.example/old:1", keys_secret="k" if keys else ""),
        trust="older\n",
    )
    assume("tidegate.dev/image" not in document["metadata"]["annotations"])
    copied = injected(document, platform=older)
    assert injected(copied)["spec"]["initContainers"] == injected(document)["spec"]["initContainers"]
    assert ask(injected(copied)).patch == ()


def test_a_copy_of_a_pod_trusts_the_authorities_of_now() -> None:
    copied = injected(pod(), platform=replace(PLATFORM, trust="former\n"))
    variables = environment_of(injected(copied), CONTAINER)
    assert variables["TIDEGATE_OPERATOR_CA"] == TRUST
