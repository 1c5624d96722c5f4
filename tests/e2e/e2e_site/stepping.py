"""A sidecar image in which the wall clock can be stepped: ours, with libfaketime loaded before everything else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from e2e_site.applications import ROOT, VERSION

REFERENCE = f"tidegate-sidecar:{VERSION}-stepping"
STEP_FILE = "/var/lib/tidegate/step"
_ARCHIVE = ROOT / "build" / "images" / "tidegate-sidecar.tar"
_LIBRARY = "libfaketime.so.1"
_LIMIT_S = 300
# The monotonic clock stays what it is: nobody steps that one.
_DOCKERFILE = f"""\
FROM oci-archive:{_ARCHIVE}
COPY {_LIBRARY} /usr/local/lib/{_LIBRARY}
ENV LD_PRELOAD=/usr/local/lib/{_LIBRARY} FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 \\
    FAKETIME_TIMESTAMP_FILE={STEP_FILE}
"""


class MissingError(Exception):
    """Something is not installed; the text says how."""


def build(folder: Path) -> Path:
    """An archive with the image `REFERENCE`.

    Raises:
        MissingError: libfaketime or buildah is not installed.
    """
    library = next(Path("/usr/lib").glob(f"*/faketime/{_LIBRARY}"), None)
    if library is None:
        raise MissingError("libfaketime is missing; on Debian: apt-get install -y libfaketime")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library, folder / _LIBRARY)
    (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="ascii")
    program = shutil.which("buildah")
    if program is None:
        raise MissingError("buildah is missing; on Debian: apt-get install -y buildah")
    store = ["--storage-driver=vfs", f"--root={folder / 'storage'}", f"--runroot={folder / 'run'}"]
    archive = folder / "stepping.tar"
    for command in (
        ["bud", "--quiet", "--isolation=chroot", "--format=oci", "--tag=stepping", str(folder)],
        ["push", "--quiet", "stepping", f"oci-archive:{archive}:docker.io/library/{REFERENCE}"],
    ):
        done = subprocess.run(
            [program, *store, *command], capture_output=True, text=True, timeout=_LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
    shutil.rmtree(folder / "storage")
    return archive
