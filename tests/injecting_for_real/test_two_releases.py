"""While replicas are replaced, the API server asks one release to inject and another for the last word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from injecting_site.injector import CONFIGURATIONS, IMAGE, VERIFYING, InjectorProcess, configurations
from injecting_site.objects import Namespace, has_sidecar, opted_in
from injecting_site.others import other_webhook
from tidegate_cluster.controlplane import ControlPlane

from tidegate_operator.inject.configuration import NAME
from tidegate_operator.inject.names import CONTAINER

ANOTHER_IMAGE = "registry.example/tidegate/sidecar:0.0.9"
ANOTHER = {
    "SIDECAR_IMAGE": ANOTHER_IMAGE,
    "SIDECAR_AUDIENCES": "https://vault.example",
    "SIDECAR_CA": "configMap/authorities/ca.crt",
    "SIDECAR_HTTPS_PROXY": "http://proxy.example:3128",
    "SIDECAR_ENV": json.dumps({"REGION": "", "TIDEGATE_LOG_LEVEL": ""}),
}
"""What the other release asks for, beyond what the session's does."""


class Roles(NamedTuple):
    """Who is asked for what.

    Attributes:
        injects: changes pods.
        verifies: has the last word.
        image: of the sidecars that the first one makes.
    """

    injects: InjectorProcess
    verifies: InjectorProcess
    image: str


def lead_to(control_plane: ControlPlane, injects: InjectorProcess, verifies: InjectorProcess) -> None:
    """Whom the API server asks from now on."""
    for path, injector in ((CONFIGURATIONS, injects), (VERIFYING, verifies)):
        answer = control_plane.request(
            "PATCH",
            f"{path}/{NAME}",
            body={"webhooks": configurations(injector)[path]["webhooks"]},
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.status == 200, answer.text


def image_of(document: dict[str, Any]) -> str:
    """Of the sidecar; empty where there is none."""
    found = document.get("spec", {}).get("initContainers", [])
    return next((it["image"] for it in found if it["name"] == CONTAINER), "")


@pytest.fixture(params=["upgrade", "rollback"])
def roles(
    request: pytest.FixtureRequest,
    control_plane_with_controllers: ControlPlane,
    injector: InjectorProcess,
    team: Namespace,
    tmp_path: Path,
) -> Iterator[Roles]:
    """One of each release: the other one injects, or has the last word."""
    other = InjectorProcess(tmp_path, injector.bundle, **ANOTHER)
    other.start()
    roles = (
        Roles(other, injector, ANOTHER_IMAGE) if request.param == "upgrade" else Roles(injector, other, IMAGE)
    )
    try:
        lead_to(control_plane_with_controllers, roles.injects, roles.verifies)
        asked = roles.verifies.asked("verified-pods")
        team.until(
            lambda: (
                image_of(team.create(opted_in("probe"), dry_run=True)[1]) == roles.image
                and roles.verifies.asked("verified-pods") > asked
            ),
            "both to be asked",
        )
        yield roles
    finally:
        lead_to(control_plane_with_controllers, injector, injector)
        asked = injector.asked("verified-pods")
        team.until(
            lambda: (
                image_of(team.create(opted_in("probe"), dry_run=True)[1]) == IMAGE
                and injector.asked("verified-pods") > asked
            ),
            "the session's own to be asked",
        )
        other.stop()
        assert "Traceback" not in other.log, other.log


def mounts_over_the_program(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Insists on it, however often it is asked."""
    return [
        {
            "op": "add",
            "path": f"/spec/initContainers/{index}/volumeMounts/-",
            "value": {"name": "tidegate-state", "mountPath": "/opt/tidegate/bin"},
        }
        for index, it in enumerate(document["spec"].get("initContainers", []))
        if it["name"] == CONTAINER
        and all(mount["mountPath"] != "/opt/tidegate/bin" for mount in it["volumeMounts"])
    ]


def exchanges_a_volume(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The keys of somebody else."""
    return [
        {"op": "replace", "path": f"/spec/volumes/{index}/secret/secretName", "value": "others"}
        for index, it in enumerate(document["spec"].get("volumes", []))
        if it["name"] == "tidegate-keys"
    ]


def test_the_one_takes_what_the_other_has_given(team: Namespace, roles: Roles) -> None:
    """With all that the API server fills in and leaves out."""
    stored = team.stored(opted_in())
    assert has_sidecar(stored)
    assert image_of(stored) == roles.image


@pytest.mark.parametrize("change", [mounts_over_the_program, exchanges_a_volume])
def test_what_somebody_changed_afterwards_is_refused(
    team: Namespace, roles: Roles, tmp_path: Path, change: Any
) -> None:
    assert roles.verifies.runs
    with other_webhook(team.control_plane, tmp_path, team.name, "zz-others", change, again="IfNeeded"):
        team.until(lambda: team.create(opted_in(), dry_run=True)[0] != 201, "the other webhook")
        status, answer = team.create(opted_in())
    assert status == 400
    assert "verified-pods.inject.tidegate.dev" in answer["message"]
    assert "is not what the injector has put there" in answer["message"]
