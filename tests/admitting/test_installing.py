"""The files in crds/ are what an API server takes without a word: structural, within CEL's cost, named by nobody else."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from tidegate_samples.fixtures import CRDS, DEFINITIONS, apply_crd
from tidegate_samples.sample import Stricter

from tidegate_operator.api.crd import custom_resource_definition
from tidegate_operator.api.kinds import KINDS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidegate_cluster.controlplane import ControlPlane
    from tidegate_samples.server import Reply, Server

TOO_COSTLY = {
    Stricter.HOST: (
        "!has(self.baseURL) || !isIP(url(self.baseURL).getHostname()) "
        "|| ip(url(self.baseURL).getHostname()).isGlobalUnicast()"
    ),
    Stricter.MODEL_NAMES: (
        "!has(self.models) || self.models.all(model, !has(model.aliases) "
        "|| model.aliases.all(alias, !self.models.exists(other, other.name == alias)))"
    ),
}
"""Rules over a provider that would replace a check of our own."""

kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)


def crd_in_force(server: Server, kind: Kind) -> dict[str, Any]:
    return server.send("GET", f"{DEFINITIONS}/{kind.crd_name}").document


@kinds
def test_server_side_apply_gives_no_warning(installation: Mapping[str, Reply], kind: Kind) -> None:
    """A rule beyond the cost budget, or one that does not compile, is refused here."""
    reply = installation[kind.name]
    assert reply.complaints == []
    assert reply.warnings == []


@kinds
def test_the_server_has_nothing_against_the_definition(server: Server, kind: Kind) -> None:
    conditions = {it["type"]: it["status"] for it in crd_in_force(server, kind)["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@kinds
def test_the_schema_in_force_is_that_of_the_models(server: Server, kind: Kind) -> None:
    """So samples derived from the models' schema are about what the server enforces."""
    (ours,) = custom_resource_definition(kind)["spec"]["versions"]
    (theirs,) = crd_in_force(server, kind)["spec"]["versions"]
    assert theirs["schema"] == ours["schema"]
    assert theirs["additionalPrinterColumns"] == ours["additionalPrinterColumns"]


@kinds
def test_applying_again_changes_nothing(server: Server, kind: Kind) -> None:
    before = crd_in_force(server, kind)["metadata"]["resourceVersion"]
    again = apply_crd(server, kind)
    assert again.status == 200
    assert again.document["metadata"]["resourceVersion"] == before


@pytest.mark.parametrize("why", TOO_COSTLY, ids=lambda why: why.name)
def test_what_is_said_to_cost_too_much_does(server: Server, why: Stricter) -> None:
    """Where this fails, the check can move into the schema, and the exception can go."""
    crd = copy.deepcopy(custom_resource_definition(KINDS["ProviderPool"]))
    crd["metadata"]["name"], crd["spec"]["group"] = "providerpools.example.com", "example.com"
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    provider = schema["properties"]["spec"]["properties"]["providers"]["items"]
    provider["x-kubernetes-validations"] = [{"rule": TOO_COSTLY[why], "message": "tried"}]
    reply = server.send("POST", DEFINITIONS, crd, dryRun="All")
    assert "estimated rule cost exceeds budget" in reply.document["message"]


def test_kubectl_applies_the_folder(control_plane: ControlPlane, installation: Mapping[str, Reply]) -> None:
    """As operations pages tell people to do it."""
    printed = control_plane.kubectl("apply", "--server-side", "--warnings-as-errors", f"--filename={CRDS}")
    assert printed.count("serverside-applied") == len(installation)
