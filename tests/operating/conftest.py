import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.waiting import wait_until
from tidegate_testing.operators import WITHIN_S, Cluster, OperatorProcess
from tidegate_testing.prepared import PreparedProgram

from tidegate_operator.cluster.rights import OPERATOR, account_manifests

OF_THE_LOOP = re.compile(
    r"^.* ERROR asyncio Fatal error on SSL protocol.*\n(?:(?!\d{4}-).*\n)*", re.MULTILINE
)
"""uvloop's own words for a peer that was gone before an answer could be written, as after a thaw."""


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.import_plugin("tidegate_cluster.fixtures")


@pytest.fixture(scope="session")
def installed(control_plane: ControlPlane) -> Cluster:
    """The session's control plane, with Tidegate's kinds."""
    cluster = Cluster(control_plane)
    cluster.install()
    return cluster


@pytest.fixture
def cluster(installed: Cluster) -> Iterator[Cluster]:
    """The same, and afterwards it runs, is thawed and has nothing of a test's cluster-scoped objects."""
    yield installed
    installed.objects.delete("clusteraipolicies", "")


@pytest.fixture
def team(cluster: Cluster) -> Iterator[str]:
    """A namespace for a test's own objects."""
    from tidegate_cluster.fixtures import temporary_namespace  # noqa: PLC0415 - pytest has to import plugins first

    with temporary_namespace(cluster.control_plane) as name:
        yield name
        cluster.clear(name)


@pytest.fixture
def home(cluster: Cluster) -> Iterator[str]:
    """A namespace for the operator's own objects: each test has its own Lease."""
    from tidegate_cluster.fixtures import temporary_namespace  # noqa: PLC0415 - pytest has to import plugins first

    with temporary_namespace(cluster.control_plane) as name:
        yield name


@pytest.fixture
def account(cluster: Cluster, home: str) -> Path:
    """A kubeconfig of the operator's ServiceAccount, with the rights that deploy/rbac gives and no others."""
    cluster.apply(*account_manifests(OPERATOR, home))
    user = f"system:serviceaccount:{home}:{OPERATOR.name}"
    # the authorizer watches bindings: of the cluster-wide one and of the namespace's own it learns a moment later
    for asked in (
        {"verb": "list", "resource": "pods"},
        {"verb": "create", "resource": "secrets", "namespace": home},
    ):
        wait_until(
            lambda asked=asked: cluster.lets(user, **asked), within_s=WITHIN_S, what=f"rights of {user}"
        )
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{home}")
    return cluster.control_plane.kubeconfig_for(user, groups)


@pytest.fixture(scope="session")
def program() -> Iterator[PreparedProgram]:
    with PreparedProgram("tidegate_operator") as prepared:
        yield prepared


@pytest.fixture
def operator(
    program: PreparedProgram, account: Path, home: str, tmp_path: Path
) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts replicas; those that still run at the end of the test must end well by SIGTERM."""
    started: list[OperatorProcess] = []

    def start(
        kubeconfig: Path | None = None, program: PreparedProgram = program, **settings: str
    ) -> OperatorProcess:
        process = OperatorProcess(
            kubeconfig=kubeconfig or account,
            namespace=home,
            folder=tmp_path,
            settings=settings,
            program=program,
        )
        started.append(process)
        return process.start()

    yield start
    codes = [process.stop() for process in started if process.runs]
    assert codes == [0] * len(codes), "\n".join(process.log for process in started)
    for process in started:
        assert process.may_fail or "Traceback" not in OF_THE_LOOP.sub("", process.log), process.log
