"""A folder that changes as the kubelet changes the mount of a Secret."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from itertools import count
from pathlib import Path

_NUMBERS = count(1)


class SecretMount:
    """Each `write` makes all keys new at once: a folder of its own, and the link `..data` swapped to it."""

    def __init__(self, folder: Path, **keys: str | bytes) -> None:
        self.folder = folder
        folder.mkdir()
        if keys:
            self.write(keys)

    def __str__(self) -> str:
        return str(self.folder)

    def write(self, keys: Mapping[str, str | bytes]) -> None:
        """Put these keys in the place of all that are there, in the kubelet's own order of steps."""
        data = self.folder / "..data"
        former = data.readlink() if data.is_symlink() else None
        fresh = self.folder / f"..2026_11_21_10_00_00.{next(_NUMBERS)}"
        fresh.mkdir()
        for name, content in keys.items():
            (fresh / name).write_bytes(content.encode() if isinstance(content, str) else content)
        beside = self.folder / "..data_tmp"
        beside.symlink_to(fresh.name)
        beside.replace(data)
        for name in keys:
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")
        for name in os.listdir(self.folder):  # noqa: PTH208 - names alone
            if not name.startswith("..") and name not in keys:
                (self.folder / name).unlink()
        if former is not None:
            shutil.rmtree(self.folder / former)
