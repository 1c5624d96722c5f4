import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tidegate_cluster.arguments import SERVICE_ACCOUNT_ISSUER
from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import KubectlFailedError, StartFailedError
from tidegate_cluster.ledger import Ledger, Purpose, read_entries
from tidegate_cluster.loopback import UNREACHABLE
from tidegate_cluster.proc import end_process
from tidegate_cluster.programs import API_SERVER_PROGRAMS, KUBERNETES
from tidegate_cluster.settings import Settings
from tidegate_cluster.waiting import wait_until


def test_the_api_server_is_ready_and_knows_its_version(
    control_plane: ControlPlane, cluster_settings: Settings
) -> None:
    assert control_plane.is_ready()
    version = control_plane.request("GET", "/version").json()
    assert version["major"] == "1"
    if cluster_settings.assets is None:
        assert version["gitVersion"] == KUBERNETES.version
        client = json.loads(control_plane.kubectl("version", "-o=json"))["clientVersion"]
        assert client["gitVersion"] == KUBERNETES.version


def test_an_applied_object_is_read_back(control_plane: ControlPlane, namespace: str) -> None:
    printed = control_plane.kubectl(
        "apply", "-f", "-", stdin=_config_map(namespace, "applied", {"key": "value"})
    )

    assert printed == "configmap/applied created\n"
    assert _data(control_plane, namespace, "applied") == {"key": "value"}


def test_a_refused_call_says_what_kubectl_printed(control_plane: ControlPlane, namespace: str) -> None:
    with pytest.raises(
        KubectlFailedError, match=r'get configmap absent.*code 1: .*configmaps "absent" not found'
    ):
        control_plane.kubectl("get", "configmap", "absent", f"--namespace={namespace}")


def test_a_pod_is_admitted_in_a_new_namespace(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=_pod(namespace, "first"))

    pod = control_plane.request("GET", f"/api/v1/namespaces/{namespace}/pods/first").json()
    assert pod["spec"]["serviceAccountName"] == "default"


def test_a_stopped_server_is_gone_and_a_started_one_has_its_objects(
    control_plane: ControlPlane, namespace: str
) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=_config_map(namespace, "kept", {"key": "value"}))
    before = control_plane.server

    control_plane.stop_apiserver()
    try:
        assert not control_plane.is_ready()
        with pytest.raises(ConnectionRefusedError):
            control_plane.request("GET", "/version")
    finally:
        control_plane.start_apiserver()

    assert control_plane.server == before
    assert _data(control_plane, namespace, "kept") == {"key": "value"}
    assert control_plane.failures() == []


def test_a_frozen_server_answers_nobody_until_it_is_thawed(control_plane: ControlPlane) -> None:
    with control_plane.frozen():
        with pytest.raises(UNREACHABLE):
            control_plane.request("GET", "/readyz", timeout_s=0.5)
        assert not control_plane.is_ready(timeout_s=0.5)

    assert control_plane.is_ready()


def test_a_frozen_server_can_be_stopped(control_plane: ControlPlane) -> None:
    control_plane.freeze()
    control_plane.stop_apiserver()
    control_plane.start_apiserver()

    assert control_plane.is_ready()


def test_after_compaction_and_a_restart_an_old_revision_is_gone(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    control_plane.kubectl("apply", "-f", "-", stdin=_config_map(namespace, "old", {"key": "1"}))
    old = control_plane.request("GET", path).json()["metadata"]["resourceVersion"]
    control_plane.kubectl("apply", "-f", "-", stdin=_config_map(namespace, "old", {"key": "2"}))

    revision = control_plane.compact_etcd()
    control_plane.stop_apiserver()
    control_plane.start_apiserver()

    assert revision > int(old)
    answer = control_plane.request("GET", f"{path}?resourceVersion={old}&resourceVersionMatch=Exact")
    assert answer.status == 410
    assert _data(control_plane, namespace, "old") == {"key": "2"}


def test_compaction_may_be_asked_for_twice(control_plane: ControlPlane) -> None:
    first = control_plane.compact_etcd()

    assert control_plane.compact_etcd() >= first


def test_a_serviceaccount_token_holds_for_its_audience_alone(
    control_plane: ControlPlane, namespace: str
) -> None:
    token = control_plane.token(namespace, "default", "tidegate")

    status = _review(control_plane, token, "tidegate")
    assert status["authenticated"] is True
    assert status["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    assert status["audiences"] == ["tidegate"]
    assert "authenticated" not in _review(control_plane, token, SERVICE_ACCOUNT_ISSUER)


def test_a_token_bound_to_a_pod_names_it(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=_pod(namespace, "holder"))
    token = control_plane.token(namespace, "default", "tidegate", pod="holder")

    extra = _review(control_plane, token, "tidegate")["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["holder"]


def test_another_user_has_what_rbac_gives(control_plane: ControlPlane, namespace: str) -> None:
    kubeconfig = control_plane.kubeconfig_for("ada", ["readers"])
    as_ada = (f"--kubeconfig={kubeconfig}", f"--namespace={namespace}")
    with pytest.raises(KubectlFailedError, match='User "ada" cannot list resource "configmaps"'):
        control_plane.kubectl("get", "configmaps", *as_ada)

    in_namespace = f"--namespace={namespace}"
    control_plane.kubectl("create", "role", "read", "--verb=list", "--resource=configmaps", in_namespace)
    control_plane.kubectl("create", "rolebinding", "read", "--role=read", "--group=readers", in_namespace)

    def may_read() -> bool:  # the authorizer watches bindings, so a moment later
        try:
            return control_plane.kubectl("get", "configmaps", "-o=name", *as_ada) == ""
        except KubectlFailedError:
            return False

    _eventually(may_read, "access by the new binding")


def test_a_deployment_makes_pods_where_controllers_run(
    control_plane_with_controllers: ControlPlane, namespace_with_controllers: str
) -> None:
    namespace = namespace_with_controllers
    kubectl = control_plane_with_controllers.kubectl
    kubectl(
        "create", "deployment", "web", "--image=example.test/web", "--replicas=2", f"--namespace={namespace}"
    )

    def has_two_pods() -> bool:
        return len(kubectl("get", "pods", "-o=name", f"--namespace={namespace}").splitlines()) == 2

    _eventually(has_two_pods, "creation of two pods")


def test_a_stop_does_not_wait_for_clients_that_watch(control_plane_with_controllers: ControlPlane) -> None:
    started = time.monotonic()
    control_plane_with_controllers.stop_apiserver()  # the controllers hold dozens of watches
    took_s = time.monotonic() - started
    control_plane_with_controllers.start_apiserver()

    assert took_s < 15, "it was killed after 20 s, or waited for the watches"


def test_a_deleted_namespace_goes_where_controllers_run(control_plane_with_controllers: ControlPlane) -> None:
    kubectl = control_plane_with_controllers.kubectl
    kubectl("create", "namespace", "passing")
    kubectl("delete", "namespace", "passing", "--wait=false")

    path = "/api/v1/namespaces/passing"
    _eventually(
        lambda: control_plane_with_controllers.request("GET", path).status == 404, "end of the namespace"
    )


def test_a_server_that_cannot_start_shows_its_log_and_leaves_nothing(
    cluster_settings: Settings, tmp_path: Path
) -> None:
    programs = provide(API_SERVER_PROGRAMS, cluster_settings, lambda _: None)
    broken = ControlPlane(programs=programs, folder=tmp_path, apiserver_extra=["--no-such-flag"])

    with pytest.raises(
        StartFailedError, match=r"kube-apiserver ended with code 1(?s:.)*unknown flag: --no-such-flag"
    ):
        broken.start()

    assert list(tmp_path.glob("etcd-*.data")) == []
    assert "etcd: pid" not in repr(broken)


def test_a_server_that_died_is_told_with_the_failed_call(cluster_settings: Settings, tmp_path: Path) -> None:
    programs = provide(API_SERVER_PROGRAMS, cluster_settings, lambda _: None)
    entries = tmp_path / "cache"
    ledger = Ledger(entries, Purpose.TESTS)
    with ControlPlane(programs=programs, folder=tmp_path / "cluster", ledger=ledger) as control_plane:
        (entry,) = read_entries(entries)
        (apiserver,) = (process for process in entry.processes if process.name == "kube-apiserver")
        end_process(apiserver, grace_s=20)

        with pytest.raises(KubectlFailedError, match=r"refused(?s:.)*kube-apiserver ended by itself"):
            control_plane.kubectl("get", "namespaces")

    assert read_entries(entries) == []


def _eventually(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, within_s=120, what=what)


def _config_map(namespace: str, name: str, data: dict[str, str]) -> str:
    metadata = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


def _pod(namespace: str, name: str) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"containers": [{"name": "app", "image": "example.test/app"}]},
        }
    )


def _data(control_plane: ControlPlane, namespace: str, name: str) -> Any:  # as the API has it
    return control_plane.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/{name}").json()["data"]


def _review(control_plane: ControlPlane, token: str, audience: str) -> dict[str, Any]:
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [audience]},
    }
    answer = control_plane.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
    assert answer.status == 201, answer.text
    status: dict[str, Any] = answer.json()["status"]
    return status
