"""What a forged or broken sidecar comes to: it is set right when the injector is asked, and refused at the very end."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from injecting_shapes.platform import PLATFORM, TEMPLATE, ask, injected
from injecting_shapes.pods import container, pod, pods

from tidegate_operator.inject.names import (
    CA_VOLUME,
    CONTAINER,
    KEYS_VOLUME,
    STATE_VOLUME,
    STATUS,
    TOKEN_VOLUME,
)
from tidegate_operator.inject.response import Result
from tidegate_operator.inject.review import MENDED, Entry
from tidegate_operator.inject.sealing import Given, seal
from tidegate_operator.inject.template import Authorities

EVIL = "registry.example/any:1"


def verified(document: dict[str, Any], platform: Any = PLATFORM) -> Any:
    return ask(document, Entry.VERIFIED_PODS, platform)


def sidecar_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(it for it in document["spec"]["initContainers"] if it["name"] == CONTAINER)
    return found


def set_value(name: str, value: str) -> Any:
    def change(sidecar: dict[str, Any]) -> None:
        for entry in sidecar["env"]:
            if entry["name"] == name:
                entry["value"] = value

    return change


BROKEN = {
    "image": (lambda it: it.update(image=EVIL), "has the image 'registry.example/any:1'"),
    "command": (lambda it: it.update(command=["sleep"]), "has command ['sleep']"),
    "arguments": (lambda it: it.update(args=["--help"]), "has args"),
    "no restart policy": (lambda it: it.pop("restartPolicy"), "has restartPolicy None in place of 'Always'"),
    "a hook": (lambda it: it.update(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}), "has lifecycle"),
    "our variable changed": (
        set_value("TIDEGATE_OPERATOR_URL", "https://evil:1"),
        "has lost or changed TIDEGATE_OPERATOR_URL",
    ),
    "our variables gone": (lambda it: it.pop("env"), "has lost or changed TIDEGATE_ADMIN"),
    "a variable given twice": (
        lambda it: it["env"].append({"name": "TIDEGATE_STATE_DIR", "value": "/x"}),
        "has lost or changed TIDEGATE_STATE_DIR",
    ),
    "a variable like ours": (
        lambda it: it["env"].append({"name": "TIDEGATE_CONFIG_FILE", "value": "/x"}),
        "has got TIDEGATE_CONFIG_FILE",
    ),
    "another program": (
        lambda it: it["env"].append({"name": "PYTHONPATH", "value": "/x"}),
        "has got PYTHONPATH",
    ),
    "variables from a source": (
        lambda it: it.update(envFrom=[{"configMapRef": {"name": "c"}}]),
        "has envFrom",
    ),
    "a mount gone": (lambda it: it["volumeMounts"].pop(0), "has another mount at /run/secrets/tidegate.dev"),
    "a mount over ours": (
        lambda it: it["volumeMounts"].append({"name": "x", "mountPath": "/run/secrets/tidegate.dev/token"}),
        "has a mount at /run/secrets/tidegate.dev/token",
    ),
    "a mount over the program": (
        lambda it: it["volumeMounts"].append({"name": "x", "mountPath": "/opt/tidegate/bin/"}),
        "has a mount at /opt/tidegate/bin",
    ),
    "root": (lambda it: it["securityContext"].update(runAsUser=0), "runAsUser"),
    "more rights": (
        lambda it: it["securityContext"]["capabilities"].update(add=["NET_ADMIN"]),
        "has a weaker securityContext: capabilities",
    ),
    "no security context": (lambda it: it.pop("securityContext"), "allowPrivilegeEscalation"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_a_later_webhook_broke_is_set_right_and_told(name: str) -> None:
    change, words = BROKEN[name]
    once = injected(pod())
    broken = copy.deepcopy(once)
    change(sidecar_of(broken))
    outcome = ask(broken)
    assert (outcome.result, outcome.reason) == (Result.INJECTED, MENDED)
    assert any(words in it for it in outcome.warnings)
    mended = injected(broken)
    assert ask(mended).patch == ()
    for field in ("image", "command", "restartPolicy", "securityContext"):
        assert sidecar_of(mended)[field] == sidecar_of(once)[field]
    assert verified(mended).allowed


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_at_the_end_is_refused_with_the_cause(name: str) -> None:
    change, words = BROKEN[name]
    broken = injected(pod())
    change(sidecar_of(broken))
    outcome = verified(broken)
    assert (outcome.result, outcome.reason) == (Result.DENIED, "SidecarChanged")
    assert words in outcome.message
    assert "a webhook that is called after Tidegate's did this" in outcome.message


@pytest.mark.parametrize(
    "name",
    [
        "GCONV_PATH",
        "GLIBC_TUNABLES",
        "LD_AUDIT",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "OPENSSL_CONF",
        "OPENSSL_MODULES",
        "PATH",
        "PYTHONHOME",
        "PYTHONINSPECT",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
        "PYTHONUSERBASE",
        "SSLKEYLOGFILE",
    ],
)
def test_no_variable_loads_other_code_or_writes_down_the_keys_of_connections(name: str) -> None:
    broken = injected(pod())
    sidecar_of(broken)["env"].append({"name": name, "value": "/x"})
    assert f"has got {name}, which would change what it does" in verified(broken).message
    assert verified(injected(broken)).allowed


@pytest.mark.parametrize(
    "path",
    ["/", "/etc", "/etc/ld.so.cache", "/etc/ld.so.preload", "/lib64", "/opt", "/opt/tidegate/bytecode"],
)
def test_nothing_is_mounted_over_what_the_program_is_made_of(path: str) -> None:
    broken = injected(pod())
    sidecar_of(broken)["volumeMounts"].append({"name": "x", "mountPath": path})
    assert f"has a mount at {path}, over what is Tidegate's" in verified(broken).message
    assert verified(injected(broken)).allowed


@settings(deadline=None)
@given(pods())
def test_what_the_injector_makes_is_always_let_through(document: dict[str, Any]) -> None:
    outcome = ask(document)
    assert not outcome.allowed or verified(injected(document)).allowed


def test_a_copied_status_and_a_container_of_our_name_buy_nothing() -> None:
    """Whoever reads the status of any pod can put it on their own."""
    status = injected(pod())["metadata"]["annotations"][STATUS]
    forged = pod(
        annotations={STATUS: status},
        initContainers=[{"name": CONTAINER, "image": EVIL, "restartPolicy": "Always"}],
        volumes=[{"name": TOKEN_VOLUME, "emptyDir": {}}],
    )
    plain = injected(pod())
    found = injected(forged)
    ours, theirs = sidecar_of(plain), sidecar_of(found)
    assert theirs == {key: ours[key] for key in theirs}
    assert found["spec"]["volumes"] == plain["spec"]["volumes"]
    assert verified(forged).reason == "SidecarChanged"


def test_a_status_lets_no_other_container_mount_what_is_the_sidecars() -> None:
    status = injected(pod())["metadata"]["annotations"][STATUS]
    mount = {"name": TOKEN_VOLUME, "mountPath": "/t"}
    outcome = ask(pod(container(volumeMounts=[mount]), annotations={STATUS: status}))
    assert (outcome.result, outcome.reason) == (Result.DENIED, "VolumeTaken")
    assert "container app mounts volume tidegate-token, which is the sidecar's alone" in outcome.message


def test_a_container_that_was_taken_away_is_put_back() -> None:
    """Its volumes are still there, and are not somebody else's."""
    once = injected(pod())
    broken = copy.deepcopy(once)
    broken["spec"]["initContainers"] = []
    assert injected(broken) == once
    outcome = verified(broken)
    assert outcome.reason == "SidecarMissing"
    assert "the container tidegate-sidecar was taken away" in outcome.message


def test_a_pod_that_opted_in_too_late_is_told_what_to_change() -> None:
    outcome = verified(pod())
    assert (outcome.result, outcome.reason) == (Result.DENIED, "SidecarMissing")
    assert (
        "a webhook that sets tidegate.dev/inject needs a configuration whose name sorts before"
        in outcome.message
    )


def test_a_sidecar_that_was_moved_among_the_containers_is_named_as_that() -> None:
    broken = injected(pod())
    broken["spec"]["containers"].append(broken["spec"]["initContainers"].pop())
    assert "stands among `containers`" in ask(broken).message


def test_what_others_add_and_what_the_api_server_fills_in_stays() -> None:
    stored = injected(pod())
    sidecar = sidecar_of(stored)
    sidecar["resources"] = {"limits": {"memory": "1Gi"}}
    sidecar["livenessProbe"]["httpGet"] = {"path": "/app-health/x", "port": 15020}
    sidecar["env"].append({"name": "OTEL_SERVICE_NAME", "value": "chat"})
    sidecar["volumeMounts"].append({"name": "agent", "mountPath": "/var/run/agent"})
    sidecar["securityContext"]["seLinuxOptions"] = {"level": "s0:c1,c2"}
    sidecar["resizePolicy"] = [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]
    for volume in stored["spec"]["volumes"]:
        if "projected" in volume:
            volume["projected"]["defaultMode"] = 420
    assert verified(stored).allowed
    again = injected(stored)
    assert sidecar_of(again)["volumeMounts"] == sidecar["volumeMounts"]
    assert sidecar_of(again)["resources"] == sidecar["resources"]


@pytest.mark.parametrize(
    ("image", "is_taken"),
    [
        ("mirror.example/tidegate/sidecar@sha256:1", True),
        ("mirror.example/tidegate/sidecar@sha256:2", False),
        ("mirror.example/tidegate/sidecar:0.1.0", False),
        ("elsewhere.example/tidegate/sidecar@sha256:1", False),
    ],
)
def test_a_mirror_is_taken_when_it_is_allowed_and_keeps_the_digest(image: str, is_taken: bool) -> None:
    platform = replace(PLATFORM, template=replace(TEMPLATE, image="registry.example/sidecar@sha256:1"))
    stored = injected(pod(), platform=platform)
    sidecar_of(stored)["image"] = image
    assert verified(stored, platform).allowed is is_taken
    assert (sidecar_of(injected(stored, platform=platform))["image"] == image) is is_taken


def test_a_foreign_volume_under_our_name_is_replaced_and_refused() -> None:
    stored = injected(pod())
    stored["spec"]["volumes"] = [
        {"name": it["name"], "hostPath": {"path": "/"}} if it["name"] == STATE_VOLUME else it
        for it in stored["spec"]["volumes"]
    ]
    assert "has another volume tidegate-state" in verified(stored).message
    assert verified(injected(stored)).allowed


OLDER = replace(
    PLATFORM,
    key=b"k",
    template=replace(
        TEMPLATE,
        image="registry.example/old:1",
        user=None,
        https_proxy="http://proxy.example:3128",
        environment=(("TIDEGATE_LOG_LEVEL", ""), ("REGION", "eu")),
        authorities=Authorities(kind="configMap", name="authorities", key="ca"),
    ),
)
NEWER = replace(PLATFORM, key=b"k")
"""While replicas are replaced one injects and the other has the last word."""


def volume_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(it for it in document["spec"]["volumes"] if it["name"] == name)
    return found


def as_stored(document: dict[str, Any]) -> dict[str, Any]:
    """With what the API server writes and leaves out."""
    for volume in document["spec"]["volumes"]:
        for source in ("projected", "secret", "configMap"):
            if source in volume:
                volume[source]["defaultMode"] = 420
    for entry in sidecar_of(document)["env"]:
        if not entry["value"]:
            del entry["value"]
    return document


def forget_volume(document: dict[str, Any]) -> None:
    """Somebody lets the status say less, so that the volume would be nobody's."""
    status = json.loads(document["metadata"]["annotations"][STATUS])
    status["volumes"].remove(KEYS_VOLUME)
    document["metadata"]["annotations"][STATUS] = json.dumps(status)
    volume_of(document, KEYS_VOLUME)["secret"]["secretName"] = "another"


NOT_AS_GIVEN = "is not what the injector has put there"
BROKEN_OF_ANOTHER_RELEASE = {
    "image": (lambda it: sidecar_of(it).update(image=EVIL), "has the image"),
    "command": (lambda it: sidecar_of(it).update(command=["sleep"]), NOT_AS_GIVEN),
    "arguments": (lambda it: sidecar_of(it).update(args=["--help"]), "has args"),
    "ports": (lambda it: sidecar_of(it).pop("ports"), NOT_AS_GIVEN),
    "our variable changed": (
        lambda it: set_value("TIDEGATE_OPERATOR_URL", "https://evil:1")(sidecar_of(it)),
        NOT_AS_GIVEN,
    ),
    "the platform's variable changed": (
        lambda it: set_value("REGION", "us")(sidecar_of(it)),
        NOT_AS_GIVEN,
    ),
    "the platform's variable given twice": (
        lambda it: sidecar_of(it)["env"].append({"name": "HTTPS_PROXY", "value": "http://evil:1"}),
        NOT_AS_GIVEN,
    ),
    "a variable without a value got one": (
        lambda it: set_value("TIDEGATE_LOG_LEVEL", "DEBUG")(sidecar_of(it)),
        NOT_AS_GIVEN,
    ),
    "our variables gone": (lambda it: sidecar_of(it).pop("env"), NOT_AS_GIVEN),
    "the authorities": (
        lambda it: set_value("TIDEGATE_OPERATOR_CA", "of somebody")(sidecar_of(it)),
        "has another TIDEGATE_OPERATOR_CA",
    ),
    "the authorities without a value": (
        lambda it: next(one for one in sidecar_of(it)["env"] if one["name"] == "TIDEGATE_OPERATOR_CA").pop(
            "value"
        ),
        "has another TIDEGATE_OPERATOR_CA",
    ),
    "no restart policy": (lambda it: sidecar_of(it).pop("restartPolicy"), "has restartPolicy None"),
    "more rights": (
        lambda it: sidecar_of(it)["securityContext"].update(privileged=True),
        "has a weaker securityContext: privileged",
    ),
    "another program": (
        lambda it: sidecar_of(it)["env"].append({"name": "PATH", "value": "/x"}),
        "has got PATH",
    ),
    "a mount gone": (lambda it: sidecar_of(it)["volumeMounts"].pop(0), NOT_AS_GIVEN),
    "a mount moved": (
        lambda it: sidecar_of(it)["volumeMounts"][0].update(mountPath="/elsewhere"),
        NOT_AS_GIVEN,
    ),
    "a mount over ours": (
        lambda it: sidecar_of(it)["volumeMounts"].append(
            {"name": "x", "mountPath": "/run/secrets/tidegate.dev/token"}
        ),
        "has a mount at /run/secrets/tidegate.dev/token",
    ),
    "a mount over the program": (
        lambda it: sidecar_of(it)["volumeMounts"].append({"name": "x", "mountPath": "/opt/tidegate/bin"}),
        "has a mount at /opt/tidegate/bin",
    ),
    "a volume changed": (
        lambda it: volume_of(it, KEYS_VOLUME)["secret"].update(secretName="another"),
        NOT_AS_GIVEN,
    ),
    "a volume that only the older release has": (
        lambda it: volume_of(it, CA_VOLUME)["configMap"].update(name="another"),
        NOT_AS_GIVEN,
    ),
    "a volume gone": (
        lambda it: it["spec"]["volumes"].remove(volume_of(it, STATE_VOLUME)),
        NOT_AS_GIVEN,
    ),
    "a volume and a status that says nothing of it": (forget_volume, NOT_AS_GIVEN),
}


@pytest.mark.parametrize("name", BROKEN_OF_ANOTHER_RELEASE)
def test_a_sidecar_of_another_release_that_somebody_changed_is_refused(name: str) -> None:
    change, words = BROKEN_OF_ANOTHER_RELEASE[name]
    broken = as_stored(injected(pod(), platform=OLDER))
    assert verified(broken, NEWER).allowed
    change(broken)
    outcome = verified(broken, NEWER)
    assert outcome.reason == "SidecarChanged"
    assert words in outcome.message
    assert verified(injected(broken, platform=NEWER), NEWER).allowed, (
        "asked again, the injector makes its own"
    )


@pytest.mark.parametrize(("by", "to"), [(OLDER, NEWER), (NEWER, OLDER)], ids=["upgrade", "rollback"])
def test_replicas_of_two_releases_trust_each_others_sidecars_and_no_others(by: Any, to: Any) -> None:
    stored = as_stored(injected(pod(), platform=by))
    assert verified(stored, to).allowed
    other_installation = replace(to, key=b"another")
    assert NOT_AS_GIVEN in verified(stored, other_installation).message


def test_what_others_add_to_a_sidecar_of_another_release_stays() -> None:
    stored = as_stored(injected(pod(volumes=[{"name": "tidegate-notes", "emptyDir": {}}]), platform=OLDER))
    sidecar = sidecar_of(stored)
    sidecar["resources"] = {"limits": {"memory": "1Gi"}}
    sidecar["env"].append({"name": "OTEL_SERVICE_NAME", "value": "chat"})
    sidecar["volumeMounts"].append({"name": "agent", "mountPath": "/var/run/agent"})
    volume_of(stored, "tidegate-notes")["emptyDir"] = {"medium": "Memory"}
    set_value("TIDEGATE_GRACE_MS", "1")(sidecar)
    assert verified(stored, NEWER).allowed


def test_a_volume_that_only_another_release_knows_is_the_sidecars_alone() -> None:
    """Such as one that a later release adds: the older one refuses what the later one would."""
    given = Given(volumes=frozenset({"later"}))
    stored = injected(pod(container(volumeMounts=[{"name": "later", "mountPath": "/x"}])), platform=OLDER)
    volumes, sidecar = stored["spec"]["volumes"], sidecar_of(stored)
    status = json.loads(stored["metadata"]["annotations"][STATUS])
    status |= {
        "volumes": ["later"],
        "variables": [],
        "seal": seal(b"k", OLDER.template.image, sidecar, volumes, given),
    }
    stored["metadata"]["annotations"][STATUS] = json.dumps(status)
    assert "shares its volume later with container app" in verified(stored, NEWER).message


def test_replicas_that_know_other_authorities_agree_while_they_share_one() -> None:
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    one, two = pem.format("one"), pem.format("two")
    stored = injected(pod(), platform=replace(PLATFORM, trust=one))
    assert verified(stored, replace(PLATFORM, trust=one + two)).allowed
    assert not verified(stored, replace(PLATFORM, trust=two)).allowed


def test_a_pod_whose_authorities_were_made_new_a_moment_ago_is_stored() -> None:
    """They were lost, and a pod was admitted between two looks at the files: what it was given was right then."""
    pem = "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n"
    former, now = pem.format("former"), pem.format("now")
    stored = injected(pod(), platform=replace(PLATFORM, trust=former))
    assert not verified(stored, replace(PLATFORM, trust=now)).allowed
    assert verified(stored, replace(PLATFORM, trust=now, former_trust=former)).allowed


def test_the_grace_period_may_change_after_the_injector_was_asked() -> None:
    stored = injected(pod())
    stored["spec"]["terminationGracePeriodSeconds"] = 300
    assert verified(stored).allowed
    mended = sidecar_of(injected(stored))
    assert {"name": "TIDEGATE_GRACE_MS", "value": "295000"} in mended["env"]


def test_a_pod_without_a_sidecar_for_a_reason_is_let_through() -> None:
    assert verified(pod(hostNetwork=True)).allowed


def test_the_sidecar_does_not_count_among_the_most_containers() -> None:
    full = injected(pod(*(container(f"c{number}") for number in range(256))))
    assert ask(full).allowed
    assert verified(full).allowed
