import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tidegate_cluster.builder import provide
from tidegate_cluster.ledger import Entry, read_entries
from tidegate_cluster.proc import end_process, is_alive, mark_process
from tidegate_cluster.programs import API_SERVER_PROGRAMS
from tidegate_cluster.settings import Settings
from tidegate_cluster.waiting import wait_until


class Person:
    """Somebody with a cache of their own, and programs from an assets folder."""

    def __init__(self, folder: Path, programs: Mapping[str, Path]) -> None:
        self.cache = folder / "cache" / "tidegate" / "cluster"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        assets = folder / "assets"
        assets.mkdir()
        for name, path in programs.items():
            (assets / name).symlink_to(path)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(Path(__file__).parent),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "KUBEBUILDER_ASSETS": str(assets),
            "TMPDIR": str(self.temporary),
        }
        self._log = folder / "up.log"

    def up(self) -> subprocess.Popen[bytes]:
        """Start `up` and wait until it says that it is ready."""
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                self._command("up", "--api-server-only"), env=self._environment, stdout=log, stderr=log
            )
        wait_until(
            lambda: "Ready. Ctrl-C ends it." in self.printed() or process.poll() is not None,
            within_s=60,
            what="readiness of `up`",
        )
        assert process.poll() is None, self.printed()
        return process

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*arguments),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def printed(self) -> str:
        return self._log.read_text()

    def entry(self) -> Entry:
        (entry,) = read_entries(self.cache)
        return entry

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "tidegate_cluster", *arguments]


@pytest.fixture
def person(tmp_path: Path, cluster_settings: Settings) -> Iterator[Person]:
    person = Person(tmp_path, provide(API_SERVER_PROGRAMS, cluster_settings, lambda _: None))
    yield person
    person.run("down")


def test_up_stays_until_interrupted_and_leaves_nothing(person: Person) -> None:
    up = person.up()
    entry = person.entry()
    assert f"export KUBECONFIG={entry.folder}/admin.kubeconfig\n" in person.printed()
    assert [process.name for process in entry.processes] == ["etcd", "kube-apiserver"]

    up.send_signal(signal.SIGINT)

    assert up.wait(timeout=60) == 0
    assert not any(is_alive(process) for process in entry.processes)
    assert read_entries(person.cache) == []
    assert list(person.temporary.iterdir()) == []


def test_a_second_up_is_refused_and_down_ends_the_first(person: Person) -> None:
    up = person.up()

    second = person.run("up")
    assert second.returncode == 1
    assert f"is up already (process {up.pid}). End it with `python -m tidegate_cluster down`" in second.stderr
    down = person.run("down")

    assert down.returncode == 0
    assert up.wait(timeout=60) == 0
    assert read_entries(person.cache) == []


def test_down_ends_what_a_killed_up_left_behind(person: Person) -> None:
    up = person.up()
    entry = person.entry()
    up.kill()
    up.wait(timeout=60)
    assert all(is_alive(process) for process in entry.processes)

    again = person.run("up")
    assert again.returncode == 1
    assert "An earlier `up` was killed and left etcd" in again.stderr
    down = person.run("down")

    assert down.returncode == 0
    assert "Ending kube-apiserver" in down.stderr
    assert not any(is_alive(process) for process in entry.processes)
    assert list(person.temporary.iterdir()) == []


def test_up_ends_with_an_error_when_a_server_dies(person: Person) -> None:
    up = person.up()
    (apiserver,) = (process for process in person.entry().processes if process.name == "kube-apiserver")

    end_process(apiserver, grace_s=20)

    assert up.wait(timeout=60) == 1
    assert "kube-apiserver ended by itself" in person.printed()
    assert read_entries(person.cache) == []


def test_down_with_nothing_running_says_so(person: Person) -> None:
    down = person.run("down")

    assert down.returncode == 0
    assert down.stderr == "Nothing is running.\n"


def test_a_process_that_took_over_an_id_is_not_ended() -> None:
    me = mark_process("me", os.getpid())
    assert me is not None
    assert is_alive(me)
    earlier = type(me)(name="me", pid=me.pid, started_ticks=me.started_ticks - 1, boot_id=me.boot_id)

    assert not is_alive(earlier)
    end_process(earlier, grace_s=1)
