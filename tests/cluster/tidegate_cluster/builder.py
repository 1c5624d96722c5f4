"""Providing programs: from `KUBEBUILDER_ASSETS`, from the cache, or built and then cached.

A lock file lets one process build at a time; the others wait and find the result in the cache. A program appears
in the cache complete or not at all.
"""

import fcntl
import shlex
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tidegate_cluster.errors import BuildFailedError, DeadlinePassedError
from tidegate_cluster.programs import API_SERVER_PROGRAMS, Program, program_named
from tidegate_cluster.settings import Settings
from tidegate_cluster.toolchain import find_go, go_environment
from tidegate_cluster.waiting import wait_until

_BUILD_LIMIT_S = 3600
_PROGRESS_EVERY_S = 30
_TERMINATE_LIMIT_S = 10
_SHOWN_LINES = 15
_COMPILER_FLAGS = "-gcflags=all=-dwarf=false"
"""No tables for debuggers, which the linker leaves out: making them is a tenth of the compiler's work."""

_ADVICE = (
    (
        "no space left on device",
        "Make room: the build needs about 4 GB in Go's caches (see `go env GOCACHE GOMODCACHE`).",
    ),
    (
        "signal: killed",
        "The system ended the compiler, most likely for want of memory: linking takes up to 3 GB.",
    ),
    (
        "checksum mismatch",
        "A downloaded module differs from go.sum: run `go clean -modcache`, then check GOPROXY.",
    ),
    (
        "missing go.sum entry",
        "go.mod and go.sum do not fit together: run `go mod tidy` in the module's folder.",
    ),
    ("dial tcp", "Go could not reach its module proxy: check the network and `go env GOPROXY`."),
    ("module lookup disabled", "Go may fetch no modules: check `go env GOPROXY`."),
    ("proxyconnect", "Go could not reach the HTTP proxy: check HTTPS_PROXY."),
    ("permission denied", "Go may not write to its caches: check the owner of `go env GOCACHE GOMODCACHE`."),
)
_ADVICE_OTHERWISE = "Try the command above by hand, or set KUBEBUILDER_ASSETS to a folder with the programs."


def provide(names: Iterable[str], settings: Settings, report: Callable[[str], None]) -> dict[str, Path]:
    """Return an executable for each name, building those that are neither in the assets nor cached.

    `report` gets one line of text per step, for a person to see; nothing when nothing needs building.

    Raises:
        BuildFailedError: a build failed, or the assets folder lacks etcd, kube-apiserver or kubectl.
        ClusterError: a name is unknown.
    """
    programs = [program_named(name) for name in names]
    found = {program.name: _present(program, settings) for program in programs}
    missing = [program for program in programs if found[program.name] is None]
    if missing:
        report(f"To build, once for this user, into {settings.cache}: {', '.join(p.name for p in missing)}")
        with build_lock(settings, report):
            for program in missing:
                found[program.name] = _present(program, settings) or _build(program, settings, report)
    return {name: path for name, path in found.items() if path is not None}


def _present(program: Program, settings: Settings) -> Path | None:
    if settings.assets is not None:
        asset = settings.assets / program.name
        if asset.is_file():
            return asset
        # What envtest's archives hold must be there, or versions would be mixed unnoticed. The rest is ours.
        if program.name in API_SERVER_PROGRAMS:
            raise BuildFailedError(
                f"KUBEBUILDER_ASSETS is {settings.assets}, but there is no {program.name} in it. "
                "Correct it, or unset it to have the programs built."
            )
    cached = _cached(program, settings)
    return cached if cached.is_file() else None


def _cached(program: Program, settings: Settings) -> Path:
    return settings.cache / program.module.key / "bin" / program.name


@contextmanager
def build_lock(settings: Settings, report: Callable[[str], None]) -> Iterator[None]:
    settings.cache.mkdir(parents=True, exist_ok=True)
    path = settings.cache / "build.lock"
    with path.open("w") as lock:  # closing the file, or the end of the process, frees the lock

        def is_taken_by_us() -> bool:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not is_taken_by_us():
            report("Another process is building; waiting for it")
            try:
                wait_until(
                    is_taken_by_us, within_s=_BUILD_LIMIT_S, every_s=1, what="the end of another build"
                )
            except DeadlinePassedError as error:
                raise BuildFailedError(f"{error}. See who holds {path} (`fuser {path}`).") from error
        yield


def _build(program: Program, settings: Settings, report: Callable[[str], None]) -> Path:
    go = find_go(program.module.minimum_go, settings, report)
    destination = _cached(program, settings)
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = destination.with_name(f".{program.name}.partial")
    log = destination.parent.parent / f"{program.name}.log"
    command = [str(go), "build", "-trimpath", "-buildvcs=false", _COMPILER_FLAGS]
    command += ["-ldflags", program.module.ldflags, "-o", str(partial), program.package]

    report(f"{program.name} {program.module.version}: building")
    started = time.monotonic()
    try:
        code = _run_with_progress(program, command, log, settings, report)
        if code != 0:
            raise BuildFailedError(_failure(program, command, log, f"`go build` ended with code {code}"))
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)
    report(f"{program.name} {program.module.version}: built in {time.monotonic() - started:.0f} s")
    return destination


def _run_with_progress(
    program: Program, command: list[str], log: Path, settings: Settings, report: Callable[[str], None]
) -> int:
    started = time.monotonic()
    with (
        log.open("w", encoding="utf-8") as output,
        subprocess.Popen(
            command,
            cwd=program.module.folder,
            env=go_environment(settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            while (elapsed_s := time.monotonic() - started) < _BUILD_LIMIT_S:
                try:
                    return process.wait(timeout=_PROGRESS_EVERY_S)
                except subprocess.TimeoutExpired:
                    report(f"{program.name}: still building, {elapsed_s + _PROGRESS_EVERY_S:.0f} s")
            raise BuildFailedError(_failure(program, command, log, f"no end within {_BUILD_LIMIT_S} s"))
        finally:
            if process.poll() is None:  # interrupted: leave no compiler running, nor one that still writes
                process.terminate()
                try:
                    process.wait(timeout=_TERMINATE_LIMIT_S)
                except subprocess.TimeoutExpired:
                    process.kill()


def _failure(program: Program, command: list[str], log: Path, what: str) -> str:
    with log.open(encoding="utf-8", errors="replace") as lines:
        tail = "".join(deque(lines, maxlen=_SHOWN_LINES))
    advice = next((text for sign, text in _ADVICE if sign in tail), _ADVICE_OTHERWISE)
    return (
        f"{program.name} could not be built: {what}.\n"
        f"  cd {program.module.folder} && CGO_ENABLED=0 {shlex.join(command)}\n"
        f"{tail.rstrip()}\n"
        f"{advice} The whole output: {log}"
    )
