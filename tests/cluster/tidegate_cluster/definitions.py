"""Kinds of others: their CustomResourceDefinitions, out of the Go modules that carry them.

The folder `definitions` beside this package pins the modules' versions and digests; `go` downloads and verifies them, and what is
needed is kept in the cache, where it appears complete or not at all.
"""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from tidegate_cluster.builder import build_lock
from tidegate_cluster.errors import BuildFailedError
from tidegate_cluster.settings import Settings
from tidegate_cluster.toolchain import find_go, go_environment

FILES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "github.com/cert-manager/cert-manager": (
            "deploy/crds/cert-manager.io_certificates.yaml",
            "deploy/crds/cert-manager.io_issuers.yaml",
        ),
        "github.com/prometheus-operator/prometheus-operator": (
            "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        ),
    }
)
"""What is taken from each module."""

_FOLDER = Path(__file__).resolve().parent.parent / "definitions"
_GO = (1, 26, 0)
_DOWNLOAD_LIMIT_S = 600


def provide_definitions(settings: Settings, report: Callable[[str], None]) -> Path:
    """Return a folder with the definitions, one file per kind, downloading their modules once.

    Raises:
        BuildFailedError: a module could not be downloaded, differs from go.sum, or lacks a file.
    """
    folder = settings.cache / f"definitions-{_digest()}"
    if not folder.is_dir():
        with build_lock(settings, report):
            if not folder.is_dir():
                _fetch(folder, settings, report)
    return folder


def _fetch(folder: Path, settings: Settings, report: Callable[[str], None]) -> None:
    report(f"definitions: downloading {', '.join(FILES)}")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for module, root in _download(find_go(_GO, settings, report), settings).items():
            for name in FILES[module]:
                try:
                    shutil.copy(root / name, partial)
                except FileNotFoundError as error:
                    raise BuildFailedError(f"{module} has no file {name}: correct definitions.py") from error
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(go: Path, settings: Settings) -> dict[str, Path]:
    """Folder of each module in Go's own cache."""
    command = [str(go), "mod", "download", "-json", *FILES]
    try:
        result = subprocess.run(
            command,
            cwd=_FOLDER,
            env=go_environment(settings),
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = (
            (error.stdout or "") + (error.stderr or "")
            if isinstance(error, subprocess.CalledProcessError)
            else ""
        )
        raise BuildFailedError(
            f"The modules with definitions could not be downloaded: {error}\n{output.strip()}\n"
            "Check the network and `go env GOPROXY`."
        ) from error
    decoder, text, found = json.JSONDecoder(), result.stdout.strip(), {}
    while text:  # one object after the other
        document, end = decoder.raw_decode(text)
        found[str(document["Path"])] = Path(document["Dir"])
        text = text[end:].lstrip()
    return found


def _digest() -> str:
    content = "\0".join((_FOLDER / name).read_text(encoding="utf-8") for name in ("go.mod", "go.sum"))
    return hashlib.sha256(f"{content}\0{sorted(FILES.items())}".encode()).hexdigest()[:12]
