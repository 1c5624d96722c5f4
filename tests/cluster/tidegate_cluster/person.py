"""The one control plane that a person keeps running, and ending what was left behind."""

import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from threading import Event
from types import FrameType

from tidegate_cluster.builder import provide
from tidegate_cluster.controlplane import ControlPlane
from tidegate_cluster.errors import AlreadyRunningError, ClusterError
from tidegate_cluster.ledger import Entry, Ledger, Purpose, read_entries
from tidegate_cluster.proc import end_process, is_alive
from tidegate_cluster.programs import API_SERVER_PROGRAMS, CONTROL_PLANE_PROGRAMS
from tidegate_cluster.settings import Settings

_FOLDER_PREFIX = "tidegate-cluster-"
_OWNER_GRACE_S = 75.0  # it may need 20 s for each of three servers before it has to kill them
_SERVER_GRACE_S = 20.0
_LOOK_EVERY_S = 1.0
_END_IT = "End it with `python -m tidegate_cluster down`."


class Extent(StrEnum):
    """How much of a control plane."""

    API_SERVER = "api-server"
    WITH_CONTROLLERS = "with-controllers"


def keep_up(
    extent: Extent,
    settings: Settings,
    report: Callable[[str], None],
    ready: Callable[[ControlPlane, Path], None],
) -> None:
    """Run a control plane until SIGINT, SIGTERM or SIGHUP, then end it.

    `ready` is called once, with the control plane and the path of kubectl.

    Raises:
        AlreadyRunningError: one runs already or was left behind.
        ClusterError: it could not be built or started, or one of its servers ended by itself.
    """
    with _only_one(settings):
        _refuse_or_sweep(settings)
        names = API_SERVER_PROGRAMS if extent is Extent.API_SERVER else CONTROL_PLANE_PROGRAMS
        programs = provide(names, settings, report)
        asked_to_end = event_on_signals()
        with tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX) as folder:
            ledger = Ledger(settings.cache, Purpose.UP)
            control_plane = ControlPlane(programs=programs, folder=Path(folder), ledger=ledger)
            report("Starting the API server")
            with control_plane:
                if extent is Extent.WITH_CONTROLLERS:
                    control_plane.start_controllers()
                ready(control_plane, programs["kubectl"])
                while not asked_to_end.wait(_LOOK_EVERY_S):
                    if failures := control_plane.failures():
                        raise ClusterError("\n".join(failures))
                report("Ending")


def end_leftovers(settings: Settings, report: Callable[[str], None]) -> None:
    """End the control plane that `up` runs or left behind, and those of test runs that are gone.

    Processes are signalled only where id, start time and boot are the recorded ones. Running tests keep theirs.

    Raises:
        ClusterError: a record on disk is unreadable, or the process that `up` is does not end.
    """
    entries = read_entries(settings.cache)
    for entry in entries:
        if is_alive(entry.owner):
            if entry.purpose is Purpose.TESTS:
                report(f"A test run uses one (process {entry.owner.pid}): left alone")
                continue
            report(f"Ending `up` (process {entry.owner.pid})")
            end_process(entry.owner, grace_s=_OWNER_GRACE_S)
            if is_alive(entry.owner):
                raise ClusterError(f"Process {entry.owner.pid} does not end, not even by SIGKILL.")
        _sweep(entry, report)
    if not entries:
        report("Nothing is running.")


def _sweep(entry: Entry, report: Callable[[str], None]) -> None:
    for process in reversed(entry.processes):
        if is_alive(process):
            report(f"Ending {process.name} (process {process.pid})")
            end_process(process, grace_s=_SERVER_GRACE_S)
    if entry.purpose is Purpose.UP and _is_our_folder(entry.folder):  # pytest tidies its own folders
        shutil.rmtree(entry.folder)
    entry.path.unlink(missing_ok=True)


def _is_our_folder(folder: Path) -> bool:
    """Never remove anything else because of what a file says."""
    if folder.is_symlink() or not folder.is_dir() or not folder.name.startswith(_FOLDER_PREFIX):
        return False
    return folder.stat().st_uid == os.getuid()


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    settings.cache.mkdir(parents=True, exist_ok=True)
    with (settings.cache / "up.lock").open("w") as lock:  # freed with the file or the process
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owners = [e.owner.pid for e in read_entries(settings.cache) if e.purpose is Purpose.UP]
            who = f"process {owners[0]}" if owners else "it is still building or starting"
            raise AlreadyRunningError(f"A control plane is up already ({who}). {_END_IT}") from error
        yield


def _refuse_or_sweep(settings: Settings) -> None:
    """Whoever holds the lock knows that the owner of any entry for a person is gone: look what it left."""
    for entry in read_entries(settings.cache):
        if entry.purpose is Purpose.UP:
            alive = [f"{process.name} ({process.pid})" for process in entry.processes if is_alive(process)]
            if alive:
                raise AlreadyRunningError(
                    f"An earlier `up` was killed and left {', '.join(alive)} running. {_END_IT}"
                )
            _sweep(entry, lambda _: None)


def event_on_signals() -> Event:
    """Let signals ask for the end instead of interrupting: a start or a stop is then never cut in half."""
    event = Event()

    def ask(_number: int, _frame: FrameType | None) -> None:
        event.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask)
    return event
