"""What the hook before an uninstall runs, against a real API server: configurations of these names go, others stay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tidegate_operator.cluster.client import Access, ClusterClient
from tidegate_operator.webhook_removal import main, remove

if TYPE_CHECKING:
    from pathlib import Path

    from tidegate_cluster.controlplane import ControlPlane

NAMES = ("removal-first", "removal-second", "removal-stays")
COLLECTION = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"


def there(cluster: ControlPlane, kind: str) -> set[str]:
    answer = cluster.request("GET", COLLECTION.format(kind))
    return {item["metadata"]["name"] for item in answer.json()["items"]} & {*NAMES}


@pytest.fixture
def configurations(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """One of each kind of these names, which ask for nothing."""
    for kind in ("Mutating", "Validating"):
        for name in NAMES:
            document = {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": f"{kind}WebhookConfiguration",
                "metadata": {"name": name},
                "webhooks": [],
            }
            control_plane.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(document))
    yield control_plane
    for kind in ("mutating", "validating"):
        control_plane.kubectl("delete", "--ignore-not-found", f"{kind}webhookconfiguration", *NAMES)


def test_configurations_of_both_kinds_are_deleted_by_their_names(configurations: ControlPlane) -> None:
    arguments = [f"--kubeconfig={configurations.kubeconfig}", *NAMES[:2]]
    assert main(arguments) == 0
    assert there(configurations, "mutating") == there(configurations, "validating") == {NAMES[2]}
    assert main(arguments) == 0, "what is gone already is no error"


def test_who_may_not_delete_them_is_told(
    configurations: ControlPlane, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig: Path = configurations.kubeconfig_for("nobody")
    assert main([f"--kubeconfig={kubeconfig}", NAMES[0]]) == 1
    assert f"{NAMES[0]} cannot be deleted: DELETE" in capsys.readouterr().err
    assert NAMES[0] in there(configurations, "mutating")


async def test_an_api_server_that_is_away_is_waited_for_until_the_deadline(
    configurations: ControlPlane, tmp_path: Path
) -> None:
    kubeconfig = tmp_path / "away.kubeconfig"
    text = configurations.kubeconfig.read_text(encoding="utf-8")
    kubeconfig.write_text(text.replace(configurations.server, "https://127.0.0.1:1"), encoding="utf-8")
    client = ClusterClient(Access(str(kubeconfig)), request_ms=1_000, at_once=1)
    with pytest.raises(TimeoutError):
        await remove(client, [NAMES[0]], deadline_s=0.2)
    client.close()
