"""Which nodes there are on this machine: one record each, written before anything is made, removed after everything."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tidegate_cluster.errors import ClusterError
from tidegate_cluster.ledger import Purpose
from tidegate_cluster.proc import ProcessMark, is_alive, mark_process

from tidegate_node.plan import MAX_NODES, Plan

_FOLDER = Path("/run/tidegate-node")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One node, as its owner wrote it down."""

    plan: Plan
    purpose: Purpose
    owner: ProcessMark
    folder: Path
    sysctls: Mapping[str, str]
    """Settings of the machine that the kubelet changes, as they were before."""

    @property
    def is_owned(self) -> bool:
        """Whether the process that started it still lives."""
        return is_alive(self.owner)


def claim(purpose: Purpose, folder: Path, sysctls: Mapping[str, str]) -> Record:
    """Take the lowest free number and write it down.

    Raises:
        ClusterError: all numbers are taken.
    """
    owner = mark_process("owner", os.getpid())
    if owner is None:
        raise ClusterError("This needs Linux: /proc tells nothing about this process")
    _FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MAX_NODES):
        plan = Plan(number)
        record = Record(plan=plan, purpose=purpose, owner=owner, folder=folder, sysctls=sysctls)
        content = {
            "purpose": purpose,
            "owner": asdict(owner),
            "folder": str(folder),
            "sysctls": dict(sysctls),
        }
        partial = _FOLDER / f".{number}.{os.getpid()}.partial"
        partial.write_text(json.dumps(content, indent=2), encoding="utf-8")
        try:
            os.link(partial, _path(plan))  # it appears complete or, where one is there, not at all
        except FileExistsError:
            continue
        finally:
            partial.unlink()
        return record
    raise ClusterError(f"All {MAX_NODES} nodes are taken. End some with `python -m tidegate_node down`.")


def forget(record: Record) -> None:
    """Remove a record; nothing happens where it is gone."""
    _path(record.plan).unlink(missing_ok=True)


def read_records() -> list[Record]:
    """Read all of them, whether their owners live or not.

    Raises:
        ClusterError: a file is not as `claim` writes it.
    """
    found = []
    for path in sorted(_FOLDER.glob("[0-9]*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            found.append(
                Record(
                    plan=Plan(int(path.stem)),
                    purpose=Purpose(content["purpose"]),
                    owner=ProcessMark(**content["owner"]),
                    folder=Path(content["folder"]),
                    sysctls=dict(content["sysctls"]),
                )
            )
        except FileNotFoundError:
            continue  # its owner ended meanwhile
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"The record {path} cannot be read ({error!r}). End its processes by hand, if any, and remove it."
            ) from error
    return found


def _path(plan: Plan) -> Path:
    return _FOLDER / f"{plan.number}.json"
