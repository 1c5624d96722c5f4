"""The one node that a person keeps running, and taking away what was left behind."""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tidegate_cluster.builder import provide
from tidegate_cluster.errors import AlreadyRunningError, ClusterError
from tidegate_cluster.ledger import Purpose, read_entries
from tidegate_cluster.person import event_on_signals
from tidegate_cluster.proc import end_process, is_alive
from tidegate_cluster.programs import NODE_PROGRAMS
from tidegate_cluster.settings import Settings

from tidegate_node.node import Node
from tidegate_node.packages import check_machine
from tidegate_node.records import Record, read_records
from tidegate_node.remains import remove

FOLDER_PREFIX = "tidegate-node-"
_OWNER_GRACE_S = 180.0
_SERVER_GRACE_S = 20.0
_LOOK_EVERY_S = 1.0


def keep_up(
    archives: Sequence[Path],
    settings: Settings,
    report: Callable[[str], None],
    ready: Callable[[Node, Path], None],
) -> None:
    """Run a node until SIGINT, SIGTERM or SIGHUP, then end it.

    `archives` are images to load; `ready` is called once, with the node and the path of kubectl.

    Raises:
        AlreadyRunningError: one runs already.
        ClusterError: it could not be built or started, or one of its programs ended by itself.
    """
    check_machine()
    sweep_orphans(settings, report)
    for record in read_records():
        if record.purpose is Purpose.UP:
            raise AlreadyRunningError(
                f"A node is up already (process {record.owner.pid}). End it with `make node-down`."
            )
    programs = provide_programs(settings, report)
    asked_to_end = event_on_signals()
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    node = Node(programs=programs, folder=folder, cache=settings.cache, purpose=Purpose.UP, report=report)
    started = time.monotonic()
    with node:
        report(f"That took {time.monotonic() - started:.0f} s")
        for archive in archives:
            report(f"Loading {archive}")
            node.load(archive)
        ready(node, programs["kubectl"])
        while not asked_to_end.wait(_LOOK_EVERY_S):
            if failures := node.failures():
                raise ClusterError("\n".join(failures))
        report("Ending")
    shutil.rmtree(folder)  # only after a good end: otherwise its logs are wanted


def provide_programs(settings: Settings, report: Callable[[str], None]) -> dict[str, Path]:
    """Return all programs of a node, built where they are not cached.

    `KUBEBUILDER_ASSETS` does not count: a kubelet may not be newer than its API server.

    Raises:
        BuildFailedError: one could not be built.
    """
    return provide(NODE_PROGRAMS, replace(settings, assets=None), report)


def end_all(settings: Settings, report: Callable[[str], None]) -> None:
    """End the node that `up` runs, and whatever owners that are gone have left. Running tests keep theirs.

    Raises:
        ClusterError: a record is unreadable, or something does not go away.
    """
    records = read_records()
    for record in records:
        if not record.is_owned:
            continue
        if record.purpose is Purpose.TESTS:
            report(f"A test run uses {record.plan.name} (process {record.owner.pid}): left alone")
            continue
        report(f"Ending `up` (process {record.owner.pid})")
        end_process(record.owner, grace_s=_OWNER_GRACE_S)
    sweep_orphans(settings, report)
    if not records:
        report("Nothing is running.")


def sweep_orphans(settings: Settings, report: Callable[[str], None]) -> None:
    """Take away what nodes left whose owner is gone.

    Raises:
        ClusterError: something does not go away.
    """
    for record in read_records():
        if not record.is_owned:
            report(f"Taking away what is left of {record.plan.name}")
            _end_control_plane(record, settings, report)
            remove(record)
            if record.folder.name.startswith(FOLDER_PREFIX) and not record.folder.is_symlink():
                shutil.rmtree(record.folder, ignore_errors=True)


def _end_control_plane(record: Record, settings: Settings, report: Callable[[str], None]) -> None:
    for entry in read_entries(settings.cache):
        if entry.folder == record.folder:
            for process in reversed(entry.processes):
                if is_alive(process):
                    report(f"Ending {process.name} (process {process.pid})")
                    end_process(process, grace_s=_SERVER_GRACE_S)
            entry.path.unlink(missing_ok=True)
