"""Definitions have a release of their own where people want one, and nothing takes away a field that stored objects use."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from charting_site.helm import CHART, CRDS_CHART, NAME, Helm, HelmError
from tidegate_cluster.errors import KubectlFailedError
from tidegate_cluster.fixtures import temporary_namespace
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import Cluster, policy

from tidegate_operator.api.crd import SCHEMA_ANNOTATION, SCHEMAS
from tidegate_operator.api.kinds import KINDS
from tidegate_operator.api.yamltext import to_yaml

if TYPE_CHECKING:
    from tidegate_cluster.controlplane import ControlPlane
    from tidegate_cluster.settings import Settings

CRDS = "tidegate-crds"
NEWER = max(SCHEMAS.values()) + 1
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
AIPOLICIES = f"{DEFINITIONS}/aipolicies.tidegate.dev"


@pytest.fixture(scope="module")
def control_plane_of_definitions(
    cluster_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """Of its own: definitions are the whole cluster's. Nobody's pods are made, so it has no controllers."""
    from tidegate_cluster.builder import provide  # noqa: PLC0415 - pytest has to import plugins first
    from tidegate_cluster.controlplane import ControlPlane  # noqa: PLC0415 - the same
    from tidegate_cluster.ledger import Ledger, Purpose  # noqa: PLC0415 - the same
    from tidegate_cluster.programs import CONTROL_PLANE_PROGRAMS  # noqa: PLC0415 - the same

    programs = provide(CONTROL_PLANE_PROGRAMS, cluster_settings, print)
    folder = tmp_path_factory.mktemp("control-plane-for-definitions")
    ledger = Ledger(cluster_settings.cache, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=folder, ledger=ledger) as started:
        yield started


@pytest.fixture
def site(helm: Helm, control_plane_of_definitions: ControlPlane, tmp_path: Path) -> Iterator[DefinitionsSite]:
    """A cluster without Tidegate, and one again afterwards."""
    with temporary_namespace(control_plane_of_definitions) as namespace:
        site = DefinitionsSite(helm.at(control_plane_of_definitions), control_plane_of_definitions, namespace)
        site.newer_charts = {chart.name: newer(chart, tmp_path) for chart in (CHART, CRDS_CHART)}
        try:
            yield site
        finally:
            site.clear()


class DefinitionsSite:
    """Both charts in one cluster, each as it is and as a newer release would be."""

    newer_charts: dict[str, str]

    def __init__(self, helm: Helm, control_plane: ControlPlane, namespace: str) -> None:
        self._helm = helm
        self.control_plane = control_plane
        self.namespace = namespace
        self.cluster = Cluster(control_plane)

    def helm(self, *arguments: str) -> str:
        return self._helm(*arguments, namespace=self.namespace)

    def definition(self) -> dict[str, Any]:
        """That of AIPolicies, as it is stored."""
        answer = self.control_plane.request("GET", AIPOLICIES)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def schema(self) -> int:
        return int(self.definition()["metadata"]["annotations"][SCHEMA_ANNOTATION])

    def owner(self) -> str:
        """The release that has the definition."""
        return str(self.definition()["metadata"]["annotations"]["meta.helm.sh/release-name"])

    def identities(self) -> set[str]:
        """What would be others if a definition or the policy had been deleted and made again."""
        items = self.control_plane.request("GET", DEFINITIONS).json()["items"]
        found = {it["metadata"]["uid"] for it in items if it["spec"]["group"] == "tidegate.dev"}
        assert len(found) == len(KINDS)
        return found | {self.policy()["metadata"]["uid"]}

    def policy(self) -> dict[str, Any]:
        return self.cluster.get("AIPolicy", self.namespace, "chat")

    def store_policy(self, **spec: Any) -> None:
        """Once the API server serves the kind as it is defined now."""
        self.control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        document = policy(self.namespace, **spec)

        def is_stored() -> bool:
            try:
                self.cluster.apply(document)
            except (AssertionError, KubectlFailedError):
                return False
            return self.policy()["spec"].keys() >= spec.keys()

        wait_until(is_stored, within_s=30, what="an AIPolicy with the fields of its definition")

    def write_policy(self, word: str) -> None:
        """A write of the whole object by somebody who knows nothing of newer fields: what is dropped is dropped now."""
        self.control_plane.kubectl(
            "annotate", "--overwrite", "aipolicy", "chat", f"word={word}", f"--namespace={self.namespace}"
        )

    def wait_for_guard(self) -> None:
        """The API server asks a policy some time after it has stored it."""

        def refuses() -> bool:
            lower = f'{{"metadata": {{"annotations": {{"{SCHEMA_ANNOTATION}": "0"}}}}}}'
            try:
                self.control_plane.kubectl(
                    "patch",
                    "crd",
                    "aipolicies.tidegate.dev",
                    "--dry-run=server",
                    "--type=merge",
                    f"--patch={lower}",
                )
            except KubectlFailedError:
                return True
            return False

        wait_until(refuses, within_s=30, what="the guard of the definitions")

    def clear(self) -> None:
        self.helm("uninstall", CRDS, "--ignore-not-found")
        self.helm("uninstall", NAME, "--ignore-not-found")
        if self.control_plane.request("GET", AIPOLICIES).status == 200:
            self.cluster.clear(self.namespace)
            self.control_plane.kubectl("delete", "crd", "--selector=app.kubernetes.io/part-of=tidegate")


def newer(chart: Path, folder: Path) -> str:
    """A copy of a chart, of a release whose policies have one field more."""
    copy = folder / chart.name
    shutil.copytree(chart, copy)
    for path in (copy / "files").rglob("tidegate.dev_*.yaml"):
        definition = yaml.safe_load(path.read_text())
        definition["metadata"]["annotations"][SCHEMA_ANNOTATION] = str(NEWER)
        schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        schema["properties"]["spec"]["properties"]["newer"] = {"type": "string", "maxLength": 64}
        path.write_text(to_yaml(definition))
    return str(copy)


def test_definitions_move_from_one_chart_to_the_other_and_back_and_nothing_is_deleted(
    site: DefinitionsSite,
) -> None:
    site.helm("install", NAME, str(CHART))
    site.store_policy()
    before = site.identities()
    assert site.owner() == NAME

    site.helm("upgrade", NAME, str(CHART), "--set=crds.install=false")
    assert site.identities() == before
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        site.helm("install", CRDS, str(CRDS_CHART))
    site.helm("install", CRDS, str(CRDS_CHART), "--take-ownership")
    assert (site.owner(), site.identities()) == (CRDS, before)
    site.helm("upgrade", CRDS, str(CRDS_CHART))
    site.helm("upgrade", NAME, str(CHART), "--set=crds.install=false")
    assert (site.owner(), site.identities()) == (CRDS, before)

    site.helm("uninstall", CRDS)
    assert site.identities() == before
    site.helm("upgrade", NAME, str(CHART), "--set=crds.install=true", "--take-ownership")
    assert (site.owner(), site.identities()) == (NAME, before)
    site.helm("uninstall", NAME)
    assert site.identities() == before


def test_a_rollback_loses_no_field_that_the_newer_release_has_stored(site: DefinitionsSite) -> None:
    site.helm("install", CRDS, str(CRDS_CHART))
    site.helm("install", NAME, str(CHART), "--set=crds.install=false")
    site.helm("upgrade", CRDS, site.newer_charts[CRDS])
    site.helm("upgrade", NAME, site.newer_charts[NAME], "--set=crds.install=false")
    site.store_policy(newer="kept")
    site.wait_for_guard()

    site.helm("rollback", NAME, "1")
    site.write_policy("after the rollback")
    assert (site.schema(), site.policy()["spec"]["newer"]) == (NEWER, "kept")

    lower = f"has schema {NEWER} in this cluster and schema {NEWER - 1} in this chart"
    with pytest.raises(HelmError, match=lower) as caught:
        site.helm("upgrade", CRDS, str(CRDS_CHART))
    assert "older releases of Tidegate work with it" in str(caught.value)
    with pytest.raises(HelmError, match=f"schema {NEWER} is not replaced by schema {NEWER - 1}"):
        site.helm("rollback", CRDS, "1")
    site.write_policy("after what was refused")
    assert (site.schema(), site.policy()["spec"]["newer"]) == (NEWER, "kept")


def test_a_rollback_to_a_revision_from_before_the_move_loses_no_field_either(site: DefinitionsSite) -> None:
    """Helm refuses it by itself, with words of its own: definitions are there that the current revision does not have."""
    site.helm("install", NAME, str(CHART))
    site.helm("upgrade", NAME, str(CHART), "--set=crds.install=false")
    site.helm("install", CRDS, site.newer_charts[CRDS], "--take-ownership")
    site.store_policy(newer="kept")
    site.wait_for_guard()
    with pytest.raises(HelmError, match="cannot patch"):
        site.helm("rollback", NAME, "1")
    site.helm("rollback", NAME, "2")
    site.write_policy("after the rollback")
    assert (site.schema(), site.policy()["spec"]["newer"]) == (NEWER, "kept")


def test_the_chart_that_contains_definitions_refuses_lower_ones_and_says_how_to_go_back(
    site: DefinitionsSite,
) -> None:
    site.helm("install", NAME, site.newer_charts[NAME])
    site.store_policy(newer="kept")
    with pytest.raises(HelmError, match=f"has schema {NEWER} in this cluster") as caught:
        site.helm("upgrade", NAME, str(CHART))
    assert "Set crds.install=false" in str(caught.value)
    site.helm("upgrade", NAME, str(CHART), "--set=crds.install=false")
    site.write_policy("after the way back")
    assert (site.schema(), site.policy()["spec"]["newer"]) == (NEWER, "kept")
