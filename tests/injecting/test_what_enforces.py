"""Whatever a pod says of itself, and whatever others did to it: what enforces is the platform's, and all else is theirs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from injecting_shapes.platform import PLATFORM, TEMPLATE, ask, injected
from injecting_shapes.pods import container, environment_of, pod

from tidegate_operator.inject.container import volumes
from tidegate_operator.inject.decide import DenyReason
from tidegate_operator.inject.enforcing import compare
from tidegate_operator.inject.names import CONTAINER, STATUS, VOLUMES
from tidegate_operator.inject.response import Result

Change = Callable[[dict[str, Any]], None]


def sidecar_of(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = (it for it in document["spec"]["initContainers"] if it["name"] == CONTAINER)
    return found


def changed(change: Change, once: dict[str, Any] | None = None) -> dict[str, Any]:
    """An injected pod whose sidecar somebody has changed."""
    document = copy.deepcopy(once or injected(pod()))
    change(sidecar_of(document))
    return document


HARMFUL: dict[str, Change] = {
    "image": lambda it: it.update(image="evil.example/sidecar:1"),
    "command": lambda it: it.update(command=["sleep", "infinity"]),
    "args": lambda it: it.update(args=["--nothing"]),
    "restartPolicy": lambda it: it.pop("restartPolicy"),
    "envFrom": lambda it: it.update(envFrom=[{"configMapRef": {"name": "mine"}}]),
    "lifecycle": lambda it: it.update(lifecycle={"postStart": {"exec": {"command": ["true"]}}}),
    "env": lambda it: it["env"][0].update(value="https://elsewhere.example:1"),
    "env, twice": lambda it: it["env"].append(
        {"name": "TIDEGATE_OPERATOR_URL", "value": "https://elsewhere.example:1"}
    ),
    "env, a setting that is not ours": lambda it: it["env"].append(
        {"name": "TIDEGATE_CONFIG_FILE", "value": "/mine"}
    ),
    "env, taken away": lambda it: it["env"].pop(0),
    "volumeMounts": lambda it: it["volumeMounts"].pop(0),
    "volumeMounts, hidden": lambda it: it["volumeMounts"].append(
        {"name": "mine", "mountPath": it["volumeMounts"][0]["mountPath"] + "/"}
    ),
    "ports": lambda it: it.pop("ports"),
    "securityContext": lambda it: it["securityContext"].update(privileged=True),
    "securityContext, taken away": lambda it: it.pop("securityContext"),
    "securityContext, capabilities": lambda it: it["securityContext"].update(
        capabilities={"add": ["NET_ADMIN"]}
    ),
}


@pytest.mark.parametrize("what", HARMFUL)
def test_what_enforces_is_put_right_when_the_injector_is_asked_again(what: str) -> None:
    once = injected(pod())
    broken = changed(HARMFUL[what])
    wanted = sidecar_of(once)
    assert compare(sidecar_of(broken), wanted, TEMPLATE).problems
    again = injected(broken)
    assert compare(sidecar_of(again), wanted, TEMPLATE).problems == ()
    assert ask(again).patch == ()


def test_what_others_add_or_tune_stays() -> None:
    def tune(it: dict[str, Any]) -> None:
        it["resources"]["requests"]["cpu"] = "77m"
        it["livenessProbe"]["httpGet"] = {"path": "/app-health/tidegate-sidecar/livez", "port": 15020}
        it["env"].append({"name": "OTEL_SERVICE_NAME", "value": "chat"})
        it["volumeMounts"].append({"name": "certificates", "mountPath": "/etc/ssl/mine"})
        it["securityContext"]["seLinuxOptions"] = {"level": "s0"}
        it["terminationMessagePath"] = "/dev/termination-log"

    tuned = changed(tune)
    assert ask(tuned).patch == ()
    broken = changed(HARMFUL["restartPolicy"], tuned)
    assert sidecar_of(injected(broken)) == sidecar_of(tuned)


def test_a_mirror_that_the_platform_allows_may_serve_the_same_image() -> None:
    digest = "sha256:" + "a" * 64
    template = replace(TEMPLATE, image=f"registry.example/tidegate/sidecar@{digest}")
    wanted = {**sidecar_of(injected(pod())), "image": template.image}
    allowed = {**wanted, "image": f"mirror.example/tidegate/sidecar@{digest}"}
    assert compare(allowed, wanted, template).value is allowed
    for image in (
        f"elsewhere.example/tidegate/sidecar@{digest}",
        f"mirror.example/tidegate/sidecar@sha256:{'b' * 64}",
        "mirror.example/tidegate/sidecar:0.1.0",
    ):
        compared = compare({**wanted, "image": image}, wanted, template)
        assert compared.value["image"] == template.image


def test_a_status_that_was_copied_buys_nothing() -> None:
    """Its author knows what a status looks like, and writes one beside a container of their own with our name."""
    status = injected(pod())["metadata"]["annotations"][STATUS]
    forged = pod(
        container("app"),
        annotations={STATUS: status},
        initContainers=[{"name": CONTAINER, "image": "evil.example/sidecar:1", "restartPolicy": "Always"}],
    )
    after = injected(forged)
    assert compare(sidecar_of(after), sidecar_of(injected(pod())), TEMPLATE).problems == ()
    assert {it["name"] for it in after["spec"]["volumes"]} >= {it["name"] for it in volumes(TEMPLATE)}
    assert environment_of(after, "app") == environment_of(injected(pod(container("app"))), "app")


@pytest.mark.parametrize("what", ["taken away", "changed"])
def test_volumes_of_ours_are_put_right(what: str) -> None:
    once = injected(pod())
    broken = copy.deepcopy(once)
    ours = next(it for it in broken["spec"]["volumes"] if it["name"] == VOLUMES[0])
    if what == "taken away":
        broken["spec"]["volumes"].remove(ours)
    else:
        ours["projected"]["sources"][0]["serviceAccountToken"]["audience"] = "elsewhere"
    again = injected(broken)
    assert sorted(again["spec"]["volumes"], key=str) == sorted(once["spec"]["volumes"], key=str)
    assert ask(again).patch == ()


def test_what_the_api_server_fills_in_is_no_change() -> None:
    filled = copy.deepcopy(injected(pod()))
    for volume in filled["spec"]["volumes"]:
        if "projected" in volume:
            volume["projected"]["defaultMode"] = 420
        if "secret" in volume:
            volume["secret"]["defaultMode"] = 420
    sidecar_of(filled)["ports"][0]["hostPort"] = 0
    assert ask(filled).patch == ()


def test_a_sidecar_that_a_later_webhook_took_away_comes_back() -> None:
    once = injected(pod())
    broken = copy.deepcopy(once)
    broken["spec"]["initContainers"] = [
        it for it in broken["spec"]["initContainers"] if it["name"] != CONTAINER
    ]
    outcome = ask(broken)
    assert outcome.result is Result.INJECTED
    assert sidecar_of(injected(broken)) == sidecar_of(once)


def test_a_sidecar_that_was_moved_is_named_as_what_it_is() -> None:
    broken = injected(pod())
    broken["spec"]["containers"].append(broken["spec"]["initContainers"].pop(0))
    outcome = ask(broken)
    assert (outcome.result, outcome.reason) == (Result.DENIED, DenyReason.NAME_TAKEN)
    assert "stands among `containers`" in outcome.message
    assert "another webhook has moved it" in outcome.message


def test_the_authorities_are_those_of_now() -> None:
    former = injected(pod(), platform=replace(PLATFORM, trust="former\n"))
    assert environment_of(injected(former), CONTAINER)["TIDEGATE_OPERATOR_CA"] == PLATFORM.trust
