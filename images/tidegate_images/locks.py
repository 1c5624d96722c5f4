"""The lock files: every version and hash that an image installs, for any processor, without a registry's address."""

import sys
from collections.abc import Callable
from pathlib import Path

from tidegate_images.catalogue import BUILD_LOCK, IMAGES, PYTHON_VERSION, ROOT
from tidegate_images.commands import run
from tidegate_images.errors import ImageError


def write_locks(*, upgrade: bool, report: Callable[[str], None]) -> None:
    """Write all of them from pyproject.toml. Versions stay where they still fit, unless `upgrade`.

    Raises:
        ImageError: the requirements contradict each other, or the package index cannot be reached.
    """
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise ImageError(f"uv is not installed beside {sys.executable}: pip install uv")
    for image in IMAGES:
        _compile(uv, image.lock, ["pyproject.toml", f"--extra={image.extra}", *image.inputs], upgrade=upgrade)
        report(f"{image.lock.relative_to(ROOT)}: {_count(image.lock)} distributions")
    _compile(uv, BUILD_LOCK, [BUILD_LOCK.with_suffix(".in")], upgrade=upgrade)
    report(f"{BUILD_LOCK.relative_to(ROOT)}: {_count(BUILD_LOCK)} distributions")


def _compile(uv: Path, lock: Path, inputs: list[str | Path], *, upgrade: bool) -> None:
    command = [
        *(uv, "pip", "compile", *(it if isinstance(it, str) else it.relative_to(ROOT) for it in inputs)),
        *("--output-file", lock.relative_to(ROOT), "--quiet"),
        *("--generate-hashes", "--python-version", PYTHON_VERSION, "--python-platform", "linux"),
        # Where the index is differs between machines and is nobody's business.
        *("--no-emit-index-url", "--no-emit-find-links", "--custom-compile-command", "make image-locks"),
        *("--no-config", "--native-tls"),
    ]
    run([*command, *(["--upgrade"] if upgrade else [])], folder=ROOT)


def _count(lock: Path) -> int:
    return sum("==" in line for line in lock.read_text(encoding="utf-8").splitlines())
