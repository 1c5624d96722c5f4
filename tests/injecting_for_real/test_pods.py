"""What is stored when the API server has admitted a pod: by PodSecurity, by its own validation, with its own defaults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from injecting_site.injector import InjectorProcess
from injecting_site.objects import Namespace, has_sidecar, opted_in, pod
from injecting_site.others import other_webhook

from tidegate_operator.inject.names import CONTAINER, INJECT

BAD = {
    "cpu-request": ("fast", "expected a quantity such as 100m or 0.5, at least 1m"),
    "cpu-limit": ("0", "expected a quantity such as 100m or 0.5, at least 1m"),
    "memory-request": ("64", "expected a quantity such as 128Mi, at least 16Mi"),
    "memory-limit": ("1 Gi", "expected a quantity such as 128Mi, at least 16Mi"),
    "image": (
        "evil.example/a:1",
        "this platform allows registry.example/tidegate/sidecar:0.1.0, mirror.example/*",
    ),
    "startup": ("Later", "allowed are Start or Wait"),
    "exclude-env": ("PATH", "variables that can be excluded are OPENAI_BASE_URL, "),
    "inject": ("yes", "allowed are enabled or disabled"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_every_bad_annotation_is_refused_with_what_is_allowed(team: Namespace, name: str) -> None:
    value, allowed = BAD[name]
    status, found = team.create(opted_in(**{name: value}))
    assert status == 400
    assert f"annotation tidegate.dev/{name} is '{value}'" in found["message"]
    assert allowed in found["message"]
    assert not team.exists("Pod")


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"cpu-request": "1", "memory-limit": "1Gi"},
        {"image": "mirror.example/sidecar:1", "startup": "Wait"},
        {"exclude-env": "OPENAI_BASE_URL,AZURE_OPENAI_ENDPOINT"},
    ],
)
def test_a_pod_is_taken_with_its_sidecar_where_everything_is_restricted(
    team: Namespace, annotations: dict[str, str]
) -> None:
    assert has_sidecar(team.stored(opted_in(**annotations)))


def let_privileged_pods_in(team: Namespace) -> None:
    """PodSecurity reads the namespace from a cache, which learns of the label a moment later."""
    team.control_plane.kubectl(
        "label", "--overwrite", "namespace", team.name, "pod-security.kubernetes.io/enforce=privileged"
    )
    bystander = pod("bystander")
    bystander["spec"]["hostNetwork"] = True
    team.until(lambda: team.create(bystander, dry_run=True)[0] == 201, "the label to count")


def test_every_shape_of_the_golden_files_is_taken(team: Namespace) -> None:
    """What the files say is what a real API server validates, defaults and stores."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - for this alone

    folder = Path(__file__).parent.parent / "injecting" / "golden"
    let_privileged_pods_in(team)
    paths = sorted(folder.glob("*.out.yaml"))
    assert paths
    for path in paths:
        answer, document = YAML(typ="safe").load_all(path)
        if answer["result"] != "injected" or "ownerReferences" in document["metadata"]:
            continue
        # a Secret of ServiceAccount tokens that this cluster's admission makes itself
        document["spec"].pop("serviceAccountName", None)
        document["metadata"].setdefault("name", "generated")
        status, found = team.create(document, dry_run=True)
        assert (path.name, status) == (path.name, 201), found


def test_the_servers_defaults_change_nothing_of_ours(team: Namespace, injector: InjectorProcess) -> None:
    """A stored pod that is sent again, as copies are, is left as it is."""
    stored = team.stored(opted_in())
    copy = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "copy"}, "spec": stored["spec"]}
    copy["metadata"] |= {key: stored["metadata"][key] for key in ("labels", "annotations")}
    before = injector.admissions().get(("pods", "skipped", "AlreadyInjected"), 0)
    found = team.stored(copy)
    assert found["spec"]["initContainers"] == stored["spec"]["initContainers"]
    assert found["spec"]["containers"] == stored["spec"]["containers"]
    assert injector.admissions()[("pods", "skipped", "AlreadyInjected")] == before + 1


def test_the_sidecar_does_not_get_the_applications_token_for_the_api_server(team: Namespace) -> None:
    """Kubernetes mounts it into every container in which nothing else stands in its place."""
    spec = team.stored(opted_in())["spec"]
    where = "/var/run/secrets/kubernetes.io/serviceaccount"

    def mounted(container: dict[str, Any]) -> list[str]:
        return [it["name"] for it in container["volumeMounts"] if it["mountPath"] == where]

    (app,), (sidecar,) = spec["containers"], spec["initContainers"]
    assert mounted(app)[0].startswith("kube-api-access")
    assert mounted(sidecar) == ["tidegate-state"]


def test_a_pod_of_class_guaranteed_stays_so(team: Namespace) -> None:
    document = opted_in()
    document["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2", "memory": "1Gi"}}
    assert team.stored(document)["status"]["qosClass"] == "Guaranteed"


def test_hostnetwork_is_let_through_without_a_sidecar_and_counted(
    team: Namespace, injector: InjectorProcess
) -> None:
    document = opted_in()
    document["spec"]["hostNetwork"] = True
    before = injector.admissions().get(("pods", "skipped", "HostNetwork"), 0)
    let_privileged_pods_in(team)
    assert not has_sidecar(team.stored(document))
    assert injector.admissions()[("pods", "skipped", "HostNetwork")] == before + 1


def test_a_base_url_of_the_user_stays(team: Namespace) -> None:
    document = opted_in()
    document["spec"]["containers"][0]["env"] = [{"name": "OPENAI_BASE_URL", "value": "http://vllm:8000/v1"}]
    stored = team.stored(document)
    values = [it["value"] for it in stored["spec"]["containers"][0]["env"] if it["name"] == "OPENAI_BASE_URL"]
    assert values == ["http://vllm:8000/v1"]


def adds_a_container(document: dict[str, Any]) -> list[dict[str, Any]]:
    names = [it["name"] for it in document["spec"]["containers"]]
    late = {**document["spec"]["containers"][0], "name": "late"}
    late.pop("env", None)
    return [] if "late" in names else [{"op": "add", "path": "/spec/containers/0", "value": late}]


def test_containers_that_another_webhook_adds_later_find_the_sidecar_too(
    team: Namespace, tmp_path: Path
) -> None:
    with other_webhook(team.control_plane, tmp_path, team.name, "zz-agents", adds_a_container):
        team.until(
            lambda: len(team.create(pod(), dry_run=True)[1]["spec"]["containers"]) == 2, "the other webhook"
        )
        stored = team.stored(opted_in())
    containers = {it["name"]: it for it in stored["spec"]["containers"]}
    assert containers["late"]["env"] == containers["app"]["env"]
    assert has_sidecar(stored)


def like_istio(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Puts its proxy first and leads all probes through it."""
    spec = document["spec"]
    before = spec.get("initContainers", [])
    if any(it["name"] == "istio-proxy" for it in before):
        return []
    security = spec["containers"][0]["securityContext"]
    mesh = [
        {"name": "istio-validation", "image": "registry.example/proxyv2:1", "securityContext": security},
        {
            "name": "istio-proxy",
            "image": "registry.example/proxyv2:1",
            "restartPolicy": "Always",
            "securityContext": security,
        },
    ]
    rewritten = [
        it | {"livenessProbe": {"httpGet": {"path": f"/app-health/{it['name']}/livez", "port": 15020}}}
        if "livenessProbe" in it
        else it
        for it in before
    ]
    return [{"op": "add", "path": "/spec/initContainers", "value": mesh + rewritten}]


def like_a_mesh_that_comes_last(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]
    if any(it["name"] == "linkerd-proxy" for it in spec.get("initContainers", [])):
        return []
    proxy = {
        "name": "linkerd-proxy",
        "image": "registry.example/proxy:1",
        "restartPolicy": "Always",
        "securityContext": spec["containers"][0]["securityContext"],
    }
    return [{"op": "add", "path": "/spec/initContainers", "value": [*spec.get("initContainers", []), proxy]}]


@pytest.mark.parametrize(
    ("name", "mesh", "order"),
    [
        ("istio-sidecar-injector", like_istio, ["istio-validation", "istio-proxy", CONTAINER]),
        ("linkerd-proxy-injector-webhook-config", like_a_mesh_that_comes_last, ["linkerd-proxy", CONTAINER]),
        ("aa-mesh", like_a_mesh_that_comes_last, ["linkerd-proxy", CONTAINER]),
    ],
)
def test_the_sidecar_starts_after_a_meshs_proxy(
    team: Namespace, tmp_path: Path, name: str, mesh: Any, order: list[str]
) -> None:
    with other_webhook(team.control_plane, tmp_path, team.name, name, mesh):
        team.until(lambda: "initContainers" in team.create(pod(), dry_run=True)[1]["spec"], "the mesh")
        stored = team.stored(opted_in())
    assert [it["name"] for it in stored["spec"]["initContainers"]] == order
    sidecar = stored["spec"]["initContainers"][-1]
    if mesh is like_istio:
        assert sidecar["livenessProbe"]["httpGet"]["port"] == 15020
    assert "env" not in stored["spec"]["initContainers"][0]


def test_a_namespace_opts_all_its_pods_in(team: Namespace) -> None:
    team.control_plane.kubectl("label", "namespace", team.name, f"{INJECT}=enabled")
    team.until(lambda: has_sidecar(team.create(pod("probe"), dry_run=True)[1]), "the namespace's word")
    assert has_sidecar(team.stored(pod("one")))
    assert not has_sidecar(team.stored(pod("other", annotations={INJECT: "disabled"})))


def breaks_the_sidecar(document: dict[str, Any]) -> list[dict[str, Any]]:
    """An agent that knows no sidecars: it takes the restart policy away, once."""
    return [
        {"op": "remove", "path": f"/spec/initContainers/{index}/restartPolicy"}
        for index, it in enumerate(document["spec"].get("initContainers", []))
        if it["name"] == CONTAINER
        and "restartPolicy" in it
        and "tampered" not in document["metadata"]["annotations"]
    ] and [
        {"op": "add", "path": "/metadata/annotations/tampered", "value": "1"},
        {"op": "remove", "path": "/spec/initContainers/0/restartPolicy"},
    ]


def changes_the_image(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Insists on an image of its own, however often it is asked."""
    return [
        {"op": "replace", "path": f"/spec/initContainers/{index}/image", "value": "registry.example/any:1"}
        for index, it in enumerate(document["spec"].get("initContainers", []))
        if it["name"] == CONTAINER
    ]


def test_a_sidecar_that_another_webhook_breaks_once_is_set_right(team: Namespace, tmp_path: Path) -> None:
    with other_webhook(team.control_plane, tmp_path, team.name, "zz-breaks", breaks_the_sidecar):
        team.until(
            lambda: "tampered" in team.create(opted_in(), dry_run=True)[1]["metadata"].get("annotations", {}),
            "the other webhook",
        )
        stored = team.stored(opted_in())
    assert has_sidecar(stored)
    assert stored["spec"]["initContainers"][0]["restartPolicy"] == "Always"


def test_a_sidecar_that_another_webhook_changes_for_good_is_refused(team: Namespace, tmp_path: Path) -> None:
    others = other_webhook(
        team.control_plane, tmp_path, team.name, "zz-images", changes_the_image, again="IfNeeded"
    )
    with others:
        team.until(lambda: team.create(opted_in(), dry_run=True)[0] != 201, "the other webhook")
        status, answer = team.create(opted_in())
    assert status == 400
    assert "verified-pods.inject.tidegate.dev" in answer["message"]
    assert "has the image 'registry.example/any:1'" in answer["message"]
