"""Wheels for builds that reach no package index: fetched here, held to the lock files' hashes there."""

import hashlib
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_images.catalogue import BUILD_LOCK, IMAGES, PYTHON_VERSION, ROOT
from tidegate_images.commands import run

FOLDER = ROOT / "build" / "wheels"
_NEWEST_GLIBC_MINOR = 36  # Debian 12's


def fetch_wheels(report: Callable[[str], None]) -> None:
    """Have the wheels of all images in `FOLDER`, and no others.

    Raises:
        ImageError: one cannot be fetched, has another hash, or exists as source alone.
    """
    locks = [*(image.lock for image in IMAGES), BUILD_LOCK]
    digest = hashlib.sha256(b"\0".join(lock.read_bytes() for lock in locks)).hexdigest()
    mark = FOLDER / ".complete"
    if mark.exists() and mark.read_text(encoding="ascii") == digest:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    report("Fetching wheels")
    for lock in locks:
        run([*_download(), "--requirement", lock], folder=ROOT)
    mark.write_text(digest, encoding="ascii")


def _download() -> list[str | Path]:
    machine = platform.machine()
    platforms = [f"--platform=manylinux_2_{minor}_{machine}" for minor in range(5, _NEWEST_GLIBC_MINOR + 1)]
    platforms += [f"--platform=manylinux{year}_{machine}" for year in (1, 2010, 2014)]
    return [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary=:all:", "--dest", FOLDER),
        *(f"--python-version={PYTHON_VERSION}", "--implementation=cp", *platforms),
    ]
