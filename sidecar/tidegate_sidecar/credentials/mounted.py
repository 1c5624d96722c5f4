"""Keys in a folder, one file for each: a mounted Secret, or the folder that `tidegate run --keys` names.

The kubelet writes all keys into a new folder and then swaps the link `..data` to it, so that they change at once. What
is read is of one such moment; a folder that changes meanwhile is read again. Keys are in memory alone: what is said
about them has the name of a file, never what is in it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Final

from tidegate_policy.keys import KEYS_SECRET, KeyProblem
from tidegate_sidecar.clock import Clock
from tidegate_sidecar.telemetry.metrics import Metrics

_log = logging.getLogger(__name__)

MAX_KEY_BYTES: Final = 16_384
"""A longer file is no key: no provider takes such a header."""

MAX_FILES: Final = 1_024
"""A folder with more files is not the mount of a Secret, and not read."""

_TRIES: Final = 3
"""How often a folder that changes while it is read is read anew before it has to wait for the next look."""

_SHOWN: Final = 8
"""Names of keys in one message."""

_DATA: Final = "..data"
_NAME: Final = re.compile(r"\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}")
"""What Kubernetes takes as a key of a Secret. What begins with two dots is the kubelet's own."""


class Look(StrEnum):
    """What came of a look at the folder."""

    SAME = "same"
    APPLIED = "applied"
    REFUSED = "refused"
    """It cannot be read as it is now; the keys before stay in use."""


@dataclass(frozen=True, slots=True)
class _State:
    """What tells that a folder has changed. The link's target is part of `root`."""

    root: Path
    files: tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Content:
    """Keys by the name of their file, and why other files hold none."""

    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    unusable: Mapping[str, str] = field(default_factory=dict)


class MountedKeys:
    """The keys of one folder. `look` reads what has changed; `find` touches no disk."""

    def __init__(self, folder: str = "", secret: str = KEYS_SECRET) -> None:
        """Have no keys yet.

        Args:
            folder: where they are; empty: there is none, and never will be.
            secret: what messages call the Secret that is mounted there.
        """
        self.folder = folder
        self.secret = secret
        self.problem = ""
        """Why what is in the folder now is not in use; empty when it is."""
        self._content = _Content()
        self._seen: _State | None = None

    def __repr__(self) -> str:
        return f"<MountedKeys {len(self)} of {self.folder or 'no folder'}>"

    def __len__(self) -> int:
        return len(self._content.keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the files with a usable key, sorted."""
        return tuple(sorted(self._content.keys))

    @property
    def unusable(self) -> Mapping[str, str]:
        """The other files, and why they hold no key."""
        return self._content.unusable

    def find(self, name: str) -> tuple[str, str]:
        """The key in the file `name` and nothing, or nothing and why there is none."""
        text = self._content.keys.get(name, "")
        if text:
            return text, ""
        if not self.folder:
            return "", "there is no folder with keys: TIDEGATE_KEYS_DIR names it, or `tidegate run --keys`"
        reason = self._content.unusable.get(name) or self.problem
        return (
            "",
            f"{reason} (in {self.folder})"
            if reason
            else f"is missing (in {self.folder}, which has {self._shown()})",
        )

    def problem_of(self, name: str) -> KeyProblem | None:
        """Why there is no key in the file `name`, in one word; None: there is one."""
        if self._content.keys.get(name):
            return None
        if not self.folder:
            return KeyProblem.NOT_MOUNTED
        return KeyProblem.UNUSABLE if name in self._content.unusable or self.problem else KeyProblem.MISSING

    def _shown(self) -> str:
        """Names of usable keys, for somebody who may have mistyped one."""
        names = self.names
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        return ", ".join(names[:_SHOWN]) + more or "none"

    def look(self) -> Look:
        """Read the folder if it is not as it was. One that is not there has no keys; it may come later."""
        problem = ""
        for _ in range(_TRIES):
            try:
                state = _state(self.folder)
                if state == self._seen and not self.problem:
                    return Look.SAME
                content = _content(state)
                if _state(self.folder) == state:
                    self._content, self._seen, self.problem = content, state, ""
                    return Look.APPLIED
                problem = "it changes faster than it can be read"
            except OSError as error:
                problem = error.strerror or type(error).__name__
        self.problem = f"cannot be read: {problem}"
        return Look.REFUSED


async def follow(keys: MountedKeys, interval_ms: int, metrics: Metrics, clock: Clock) -> None:
    """Look at the folder every `interval_ms` milliseconds, for ever."""
    while True:
        await asyncio.sleep(interval_ms / 1_000)
        look(keys, metrics, clock)


def look(keys: MountedKeys, metrics: Metrics, clock: Clock) -> None:
    """Look once; count and say what has changed."""
    known, said = keys.unusable, keys.problem
    outcome = keys.look()
    if outcome is Look.SAME:
        return
    if outcome is Look.REFUSED:
        if keys.problem != said:
            metrics.keys_reloads.labels(outcome.value).inc()
            _log.error("the keys in %s %s; those before stay in use", keys.folder, keys.problem)
        return
    metrics.keys_reloads.labels(outcome.value).inc()
    metrics.keys_loaded.set(len(keys))
    metrics.keys_loaded_at.set(clock.wall_ns() / 1e9)
    _log.info("keys read from %s: %s", keys.folder, ", ".join(keys.names) or "none")
    for name, reason in keys.unusable.items():
        if known.get(name) != reason:
            _log.warning("%s in %s %s", name, keys.folder, reason)


def _state(folder: str) -> _State | None:
    """What the folder looks like; None where it is not there.

    Raises:
        OSError: nobody can say.
    """
    top = Path(folder)
    try:
        top.stat()
    except FileNotFoundError:
        return None
    data = top / _DATA
    root = Path(os.path.realpath(data)) if data.is_symlink() else top
    files: list[tuple[str, int, int, int, int]] = []
    with os.scandir(root) as entries:
        for entry in islice(entries, MAX_FILES + 1):
            if len(files) == MAX_FILES:
                raise OSError(errno.EFBIG, f"it has more than {MAX_FILES} files")
            if _NAME.fullmatch(entry.name):
                files.append(_file(root, entry.name))
    return _State(root, tuple(sorted(files)))


def _file(root: Path, name: str) -> tuple[str, int, int, int, int]:
    try:
        found = (root / name).stat()
    except OSError as error:
        return (name, -1, error.errno or 0, 0, 0)  # a link to nowhere is a file without a key
    return (name, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _content(state: _State | None) -> _Content:
    if state is None:
        return _Content()
    keys, unusable = {}, {}
    for name, *_ in state.files:
        text, reason = _key(state.root / name)
        if reason:
            unusable[name] = reason
        else:
            keys[name] = text
    return _Content(keys, unusable)


def _key(path: Path) -> tuple[str, str]:
    """The key in a file and nothing, or nothing and why it holds none."""
    try:
        # Without waiting: a pipe of that name would hold up everything until somebody writes into it.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            return "", "is a folder, not a file" if stat.S_ISDIR(mode) else "is not a file"
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        return "", f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    if len(data) > MAX_KEY_BYTES:
        return "", f"is longer than {MAX_KEY_BYTES} bytes"
    return usable(data.decode("latin-1"))


def usable(text: str) -> tuple[str, str]:
    """What a header can carry of a key as it was written, and nothing; or nothing and why it is no key."""
    # A trailing line break is what `kubectl create secret --from-file` and `export KEY=$(cat file)` leave behind.
    text = text.strip()
    if not text:
        return "", "is empty"
    if not (text.isascii() and text.isprintable()):
        return "", "holds characters that no header can carry"
    return text, ""
