"""From a checkout to measured archives."""

import fcntl
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tidegate_images.archive import Sizes, measure
from tidegate_images.base import provide_base
from tidegate_images.buildah import Buildah
from tidegate_images.catalogue import ROOT, Image
from tidegate_images.commands import run
from tidegate_images.errors import ImageError
from tidegate_images.wheels import fetch_wheels

# How container runtimes spell a name that has no registry in it: what `image: tidegate-sidecar:...` means to a node.
_NO_REGISTRY = "docker.io/library"
_MEGABYTE = 1_000_000
_OTHERS_LIMIT_S = 1_800


def build_images(
    images: Sequence[Image], output: Path, cache: Path, report: Callable[[str], None]
) -> list[Path]:
    """Build images into `output`, one OCI archive each, and return their paths.

    Raises:
        ImageError: a build failed, or an image has grown beyond its limit; its archive is there then.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, report):
        return _build_images(images, output, cache, report)


@contextmanager
def _alone(cache: Path, report: Callable[[str], None]) -> Iterator[None]:
    """One build at a time: they share wheels and the store, and each clears away what no image needs any more."""
    # Closing the file, or the end of the process, frees the lock.
    with (cache / "build.lock").open("w") as lock:
        deadline = time.monotonic() + _OTHERS_LIMIT_S
        has_told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise ImageError(f"Another build holds {lock.name} for too long") from error
                if not has_told:
                    report("Another build is running; waiting for it")
                    has_told = True
                time.sleep(1)
        yield


def _build_images(
    images: Sequence[Image], output: Path, cache: Path, report: Callable[[str], None]
) -> list[Path]:
    started = time.monotonic()
    buildah = Buildah(cache)
    base = provide_base(buildah, cache, report)
    fetch_wheels(report)
    output.mkdir(parents=True, exist_ok=True)
    report(f"Base and wheels are there after {time.monotonic() - started:.0f} s")
    base_layers = buildah.layers(base)
    arguments = {
        "BASE_IMAGE": base,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/source/build/wheels",
        "VERSION": version(),
        "REVISION": _revision(),
    }
    archives, problems = [], []
    for image in images:
        started = time.monotonic()
        name = f"localhost/{image.repository}:{version()}"
        buildah.build(image.folder / "Dockerfile", ROOT, name, arguments)
        archive = output / f"{image.repository}.tar"
        partial = archive.with_suffix(".partial")
        buildah.save(name, partial, f"{_NO_REGISTRY}/{image.repository}:{version()}")
        sizes = measure(partial, base_layers=base_layers)
        partial.replace(archive)  # whoever loads it meanwhile has the old one or the new one, whole
        report(f"{_told(archive, sizes)}; {time.monotonic() - started:.0f} s")
        if sizes.own_unpacked > image.max_own_bytes:
            problems.append(
                f"{image.name}: {sizes.own_unpacked / _MEGABYTE:.1f} MB beyond its base, "
                f"{image.max_own_bytes / _MEGABYTE:.0f} are allowed (images/tidegate_images/catalogue.py)"
            )
        archives.append(archive)
    buildah.prune()
    if problems:
        raise ImageError("\n".join(problems))
    return archives


def version() -> str:
    """The project's version, which is the images' tag."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def _told(archive: Path, sizes: Sizes) -> str:
    own = f"{sizes.own_unpacked / _MEGABYTE:.1f} MB ({sizes.own_packed / _MEGABYTE:.1f} packed)"
    total = f"{sizes.total_unpacked / _MEGABYTE:.1f} MB ({sizes.total_packed / _MEGABYTE:.1f} packed)"
    return f"{archive.name}: own layers {own}, with base {total}"


def _revision() -> str:
    try:
        return run(["git", "rev-parse", "HEAD"], folder=ROOT).strip()
    except ImageError:
        return "unknown"  # a source archive has no history
